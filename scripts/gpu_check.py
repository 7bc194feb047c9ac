"""Check minidl on a machine with an NVIDIA GPU, and measure it there.

    pip install -e '.[test,cuda13]'      # and torch, if the measurements shall have something to compare with
    python scripts/gpu_check.py [--out benchmarks/results/gpu.json] [--skip-tests]

Three things, whose results go into one JSON file, written whole or not at all:

    tests        the project's test suite, in which the tests of the backend cuda are no longer skipped
    comparison   every operation on the GPU against the same call on the CPU in float64, on random arguments; outputs
                 start as NaN, so an element that the kernel leaves out shows
    benchmarks   GPU time between CUDA events, medians over repetitions in which the contenders take turns:
                 a training step of a 784-512-256-10 network with ReLU at batch 128 with Adam (batch on the device, loss
                 not read back) against PyTorch eager, and products of square matrices against PyTorch's, which is
                 cuBLAS: that of a dense layer at 4096, and every rung of the ladder at 1024 and 4096. All in float32
                 without TF32, but for the rungs of that name. A ratio above 1 means that minidl is faster.

Exits with 0 if tests and comparison passed, 1 if not, and 2 if there is no GPU, with the reason.

This script has been tested with stand-ins only. It has never run on a GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl as dl
from minidl.backend import Backend
from minidl.cuda import device
from minidl.cuda.ladder import RUNGS
from minidl.cuda.ladder import product as ladder_product
from minidl.files import write_whole
from scripts.kernel_examples import WORKING_MEMORY, Example, examples

ROOT = Path(__file__).resolve().parent.parent
WHAT = {
    "tests": "the project's test suite on this machine",
    "comparison": "every operation on the GPU against the CPU in float64; random arguments, outputs start as NaN",
    "benchmarks": "milliseconds of GPU time between CUDA events, float32 without TF32; ratio = torch / minidl",
    "ladder": "each rung on square matrices of normal numbers; outputs start as NaN, errors are relative to |A| |B|",
}
SHAPES = [(3, 1), (5, 37), (33, 64), (128, 257)]
# What rounding may do, relative to the largest element of the result: sums of some hundred terms.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
STEPS, REPETITIONS = 50, 20
MATRIX, LADDER_SIZES = 4096, (1024, 4096)


# Tests ----------------------------------------------------------------------------------------------------------------


def run_tests(arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run pytest in a process of its own; returns the counts and the names of the tests that failed."""
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", f"--junitxml={xml}", *arguments]
        code = subprocess.run(command, cwd=ROOT).returncode
        if not xml.exists():
            return {"exit_code": code, "passed": 0, "failed": ["pytest wrote no results"]}
        return {"exit_code": code, **read_junit(xml)}


def read_junit(path: Path) -> dict[str, Any]:
    """Counts and names from the results that pytest writes."""
    suite = ElementTree.parse(path).getroot().find("testsuite")
    assert suite is not None
    failed = [
        f"{case.get('classname')}.{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = [case for case in suite.iter("testcase") if case.find("skipped") is not None]
    count = int(suite.get("tests", 0))
    return {
        "passed": count - len(failed) - len(skipped),
        "skipped": len(skipped),
        "failed": failed,
        "seconds": float(suite.get("time", 0)),
    }


# Comparison -----------------------------------------------------------------------------------------------------------


def compare_all(backend: Backend, shapes: Sequence[tuple[int, int]] = SHAPES, seed: int = 0) -> list[dict[str, Any]]:
    """Every operation on `backend` against the CPU in float64: what was compared, the largest error, and whether
    that is all right."""
    return [
        compare(backend, example, dtype, shape)
        for dtype in TOLERANCE
        for number, shape in enumerate(shapes)
        for example in examples(dtype, *shape, seed=seed + number)
    ]


def compare(backend: Backend, example: Example, dtype: str, shape: tuple[int, int]) -> dict[str, Any]:
    """Run one example on `backend` and on the CPU in float64, and compare the arrays afterwards."""
    reference = [_in_float64(argument) for argument in example.arguments.values()]
    getattr(dl.backend.get("cpu").operations, example.operation)(*reference)
    given = [_on(backend, argument) for argument in example.arguments.values()]
    getattr(backend.operations, example.operation)(*given)
    largest = 0.0
    for name, expected, array in zip(example.arguments, reference, given, strict=True):
        if isinstance(expected, np.ndarray) and name not in WORKING_MEMORY:
            got = backend.to_numpy(array).astype(np.float64)
            error = np.abs(got - expected).max() / max(1.0, np.abs(expected).max())
            largest = max(largest, float(error) if np.isfinite(error) else np.inf)
    return {
        "operation": str(example),
        "dtype": dtype,
        "rows": shape[0],
        "columns": shape[1],
        "largest_error": largest,
        "tolerance": TOLERANCE[dtype],
        "passed": largest <= TOLERANCE[dtype],
    }


def _in_float64(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return argument.astype(np.float64) if argument.dtype.kind == "f" else argument.copy()
    return np.float64(argument) if isinstance(argument, np.floating) else argument


def _on(backend: Backend, argument: Any) -> Any:
    return backend.array(argument, argument.dtype) if isinstance(argument, np.ndarray) else argument


# Benchmarks -----------------------------------------------------------------------------------------------------------


def take_turns(contenders: dict[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Call each measurement in turn, again and again; the first round warms up and does not count."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for repetition in range(repetitions + 1):
        for name, measure in contenders.items():
            figure = measure()
            if repetition:
                figures[name].append(figure)
    return figures


def summary(milliseconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians of what `take_turns` measured, and how many times as fast minidl is."""
    medians = {name: statistics.median(figures) for name, figures in milliseconds.items()}
    ratio = medians["torch"] / medians["minidl"] if "torch" in medians else None
    return {"median_milliseconds": medians, "ratio": ratio, "milliseconds": milliseconds}


def between_events(new_event: Callable[[], Any], run: Callable[[], Any], steps: int) -> Callable[[], float]:
    """A measurement: GPU milliseconds of one `run`, averaged over `steps` of them between two events."""

    def measure() -> float:
        start, end = new_event(), new_event()
        start.record()
        for _ in range(steps):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / steps

    return measure


def benchmark_step(
    cuda: Any, torch: Any, backend: str = "cuda", steps: int = STEPS, repetitions: int = REPETITIONS
) -> dict[str, Any]:
    """A training step of a 784-512-256-10 network at batch 128 with Adam."""
    contenders = {"minidl": between_events(cuda.event, minidl_step(backend)[0], steps)}
    if torch:
        contenders["torch"] = between_events(torch_event(torch), torch_step(torch), steps)
    return {"network": "784-512-256-10, ReLU", "batch": 128, **summary(take_turns(contenders, repetitions))}


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((128, 784), np.float32), rng.integers(0, 10, 128)


def minidl_step(backend: str) -> tuple[Callable[[], None], dl.Sequential]:
    """The step, and the model that it trains."""
    dense = dl.Dense(784, 512), dl.Dense(512, 256), dl.Dense(256, 10)
    model = dl.Sequential(dense[0], dl.ReLU(), dense[1], dl.ReLU(), dense[2], backend=backend, seed=0)
    loss, optimizer, parameters = dl.SoftmaxCrossEntropy(), dl.Adam(1e-3), model.parameters()
    loss.use(model.backend)
    x, labels = map(model.backend.wrap, batch())

    def step() -> None:
        loss.compute(model.forward(x, training=True), labels)
        model.backward_parameters(loss.backward())
        optimizer.step(parameters)

    return step, model


def torch_step(torch: Any) -> Callable[[], None]:
    nn = torch.nn
    layers = nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    model, loss = nn.Sequential(*layers).cuda(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, labels = (torch.from_numpy(array).cuda() for array in batch())

    def step() -> None:
        optimizer.zero_grad()
        loss(model(x), labels).backward()
        optimizer.step()

    return step


def benchmark_product(
    cuda: Any, torch: Any, backend: str = "cuda", size: int = MATRIX, repetitions: int = REPETITIONS
) -> dict[str, Any]:
    """C = A B for square matrices."""
    place, rng = dl.backend.get(backend), np.random.default_rng(0)
    on_host = [rng.random((size, size), np.float32) for _ in range(2)]
    a, b = map(place.wrap, on_host)
    c = place.empty((size, size), np.float32)
    contenders = {"minidl": between_events(cuda.event, lambda: place.operations.dense_forward(a, b, None, c), 3)}
    if torch:
        x, y = (torch.from_numpy(array).cuda() for array in on_host)
        z = torch.empty_like(x)
        contenders["torch"] = between_events(torch_event(torch), lambda: torch.matmul(x, y, out=z), 3)
    result = summary(take_turns(contenders, repetitions))
    teraflops = {name: 2 * size**3 / ms / 1e9 for name, ms in result["median_milliseconds"].items()}
    return {"size": size, "teraflop_per_second": teraflops, **result}


def benchmark_ladder(
    cuda: Any,
    torch: Any,
    launch: Callable[..., None] = device.launch,
    backend: str = "cuda",
    sizes: Sequence[int] = LADDER_SIZES,
    repetitions: int = REPETITIONS,
) -> dict[str, Any]:
    """Every rung on square matrices: TFLOP/s, the share of PyTorch's, and the error relative to |A| |B|."""
    return {str(size): _rungs(cuda, torch, launch, dl.backend.get(backend), size, repetitions) for size in sizes}


def _rungs(cuda: Any, torch: Any, launch: Any, place: Backend, size: int, repetitions: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    on_host = [rng.normal(size=(size, size)).astype(np.float32) for _ in range(2)]
    a, b = map(place.wrap, on_host)
    results = {name: place.array(np.full((size, size), np.nan), np.float32) for name in RUNGS}
    contenders = {
        name: between_events(cuda.event, partial(ladder_product, launch, name, a, b, c), 3)
        for name, c in results.items()
    }
    if torch:
        x, y = (torch.from_numpy(array).cuda() for array in on_host)
        z = torch.empty_like(x)
        contenders["torch"] = between_events(torch_event(torch), lambda: torch.matmul(x, y, out=z), 3)
    medians = {name: statistics.median(times) for name, times in take_turns(contenders, repetitions).items()}
    # A few rows are enough: an element that is left out is NaN in any of them.
    rows = rng.choice(size, min(size, 64), replace=False)
    exact = on_host[0][rows].astype(np.float64) @ on_host[1]
    scale = np.abs(on_host[0][rows]).astype(np.float64) @ np.abs(on_host[1])
    return {
        name: {
            "milliseconds": milliseconds,
            "teraflop_per_second": 2 * size**3 / milliseconds / 1e9,
            "share_of_torch": medians["torch"] / milliseconds if torch else None,
            "error": float((np.abs(place.to_numpy(results[name])[rows] - exact) / scale).max())
            if name in results
            else None,
        }
        for name, milliseconds in medians.items()
    }


def torch_event(torch: Any) -> Callable[[], Any]:
    return lambda: torch.cuda.Event(enable_timing=True)


def import_torch() -> Any:
    """PyTorch with TF32 off, or None where it is missing or sees no GPU."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    torch.set_float32_matmul_precision("highest")
    return torch


# The machine and the file ---------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """GPU, driver and versions; None for what cannot be found out."""
    from numba import cuda

    return {
        "gpu": _or_none(device.name),
        "compute_capability": _or_none(lambda: ".".join(map(str, cuda.get_current_device().compute_capability))),
        "driver": _or_none(driver_version),
        "cuda_runtime": _or_none(lambda: ".".join(map(str, cuda.runtime.get_version()))),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions("minidl", "numba", "numba-cuda", "numpy", "torch"),
    }


def driver_version() -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.split()[0]


def versions(*packages: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:
        return None


def write_json(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path, "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")


def passed(result: dict[str, Any]) -> bool:
    tests = result["tests"]
    tests_passed = tests is None or (tests["exit_code"] == 0 and not tests["failed"])
    return tests_passed and all(row["passed"] for row in result["comparison"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check and measure minidl on a machine with an NVIDIA GPU.")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    parser.add_argument("--skip-tests", action="store_true", help="compare and measure only")
    options = parser.parse_args(arguments)
    reason = dl.backend.available()["cuda"]
    if reason:
        print(f"no GPU to check: {reason}", file=sys.stderr)
        return 2
    from numba import cuda

    torch, seed = import_torch(), int.from_bytes(os.urandom(4), "little")
    result: dict[str, Any] = {
        "what": WHAT,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "tests": None if options.skip_tests else run_tests(),
        "comparison": compare_all(dl.backend.get("cuda"), seed=seed),
        "seed": seed,
        "benchmarks": {"training_step": benchmark_step(cuda, torch), "matrix_product": benchmark_product(cuda, torch)},
        "ladder": benchmark_ladder(cuda, torch),
    }
    write_json(options.out, result)
    for row in result["comparison"]:
        if not row["passed"]:
            print(f"{row['operation']} in {row['dtype']} is off by {row['largest_error']:.2g}", file=sys.stderr)
    for size, rungs in result["ladder"].items():
        for name, figures in rungs.items():
            print(f"{size} × {size}, {name}: {figures['teraflop_per_second']:.2f} TFLOP/s")
    for name, benchmark in result["benchmarks"].items():
        print(f"{name}: {benchmark['median_milliseconds']} ms, ratio {benchmark['ratio']}")
    print(f"wrote {options.out}: {'passed' if passed(result) else 'FAILED'}")
    return 0 if passed(result) else 1


if __name__ == "__main__":
    sys.exit(main())
