"""Check minidl on a machine with an NVIDIA GPU, and measure it there.

    python3 -m venv .venv && .venv/bin/pip install -e '.[test,cuda13]' torch
    .venv/bin/python scripts/gpu_check.py [--out benchmarks/results/gpu.json] [--only NAME ...] [--minutes 8] [--quick]

cuda13 is for an NVIDIA driver of version 580 or newer, cuda12 for 525 to 579. Without torch there is nothing to compare
with, and the rest is measured. torch.compile needs a C compiler as well; where it fails, the page has the reason.

The parts, in their order:

    comparison   every operation on the GPU against the same call on the CPU in float64, on random arguments; outputs
                 start as NaN, so an element that the kernel leaves out shows
    limits       multiply-adds in registers, and copies: what this GPU can do at most
    step         a training step of 784-512-256-10 with ReLU and Adam at batch 128, captured and by hand, beside
                 PyTorch: eager, with a fused optimizer, compiled, as CUDA graphs; first all make ten steps, and whose
                 weights differ is not timed
    products     of square matrices, that of a dense layer and every rung of the ladder, beside PyTorch's, which is
                 cuBLAS
    elementwise  activations, dropout, batch norm, losses and optimizers beside PyTorch, as a share of the bandwidth of
                 a copy; results are compared first
    tests        the project's tests of the backend cuda, which are skipped elsewhere
    ways         each way of a dense product at the shapes of layers, and the limits between the ways that cost least
    sanitizer    the comparison once more under NVIDIA's compute-sanitizer, where the CUDA toolkit has put it: accesses
                 outside of arrays, races in shared memory, reads of memory that nobody has written, wrong barriers

After 8 minutes, or as many as --minutes says, the part that runs is broken off (not on Windows, and not in the middle
of a kernel), and those that are left are not begun: the page names them, and --only adds them.

Times are medians over repetitions in which the contenders take turns, on random numbers, in float32 without TF32 but
for the rungs of that name. After each part the JSON file and, beside it, a page of Markdown are written, whole or not
at all, so a run that is cut off leaves what it has. With --only, what the file has of other parts stays in it, if it
was made on the same machine with the same versions.

Exits with 0 if all went well, 1 if a test failed, results differ or a part broke off, 2 if there is no GPU, with the
reason, and 3 if the time was over before all parts were done. A target that is missed is no error.

With --quick the sizes are so small that all parts run in minutes on an interpreter of kernels that takes the place of a
GPU: times then mean nothing, and there is no limit to them but that of --minutes.

This script has been tested with stand-ins only. It has never run on a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl as dl
from benchmarks import gpu_elementwise, gpu_limits, gpu_products, gpu_report, gpu_step, gpu_timing, gpu_ways
from benchmarks.peers.problem import Problem
from minidl.backend import Backend
from minidl.cuda.engine import device
from minidl.utils.files import write_whole
from scripts.kernel_examples import WORKING_MEMORY, Example, examples

ROOT = Path(__file__).resolve().parent.parent
# What rounding may do, relative to the largest element of the result: sums of some hundred terms.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


class Sizes(NamedTuple):
    """How much each part does."""

    tests: tuple[str, ...]  # arguments of pytest
    shapes: tuple[tuple[int, int], ...]  # of the comparison
    repetitions: int
    chains: tuple[int, int]  # blocks and rounds of multiply-adds
    copy: int  # numbers
    problem: Problem
    steps: int
    products: tuple[int, ...]
    ways: tuple[tuple[int, int, int], ...]
    elementwise: tuple[tuple[int, ...], int, int]  # numbers, features, and calls between two looks at the clock


MINUTES = 8.0
CUDA_TESTS = "-k", "cuda and not compile"
WHOLE = Sizes(
    tests=CUDA_TESTS,
    shapes=((3, 1), (5, 37), (33, 64), (128, 257), (521, 34)),
    repetitions=20,
    chains=(gpu_limits.BLOCKS, gpu_limits.ROUNDS),
    copy=2**26,
    problem=gpu_step.PROBLEM,
    steps=50,
    products=(1024, 4096),
    ways=gpu_ways.SHAPES,
    elementwise=((gpu_elementwise.SMALL, 2**26), gpu_elementwise.FEATURES, 50),
)
QUICK = Sizes(
    tests=("-n0", *CUDA_TESTS, "tests/backend", "tests/training"),
    shapes=((3, 1), (5, 37)),
    repetitions=1,
    chains=(2, 1),
    copy=2**10,
    problem=Problem((19, 12, 8, 4), 16, optimizer="adam"),
    steps=2,
    products=(70,),
    ways=((5, 6, 7), (33, 10, 40)),
    elementwise=((2**10,), 64, 1),
)


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


def compare_all(
    backend: Backend, shapes: Sequence[tuple[int, int]] = WHOLE.shapes, seed: int = 0
) -> list[dict[str, Any]]:
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


# Sanitizer ------------------------------------------------------------------------------------------------------------

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
FOUND = 99  # the exit code of a tool that has found something


def run_sanitizer() -> dict[str, Any]:
    """Compare in a process of its own under each tool; return exit codes, and the last lines where one is not 0."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return {"missing": "compute-sanitizer is not on the path", "tools": {}}
    found = {}
    for tool in TOOLS:
        with tempfile.TemporaryDirectory() as folder:
            check = [sys.executable, __file__, "--quick", "--only", "comparison", "--out", f"{folder}/gpu.json"]
            command = [program, "--tool", tool, "--error-exitcode", str(FOUND), *check]
            ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        last = ended.stdout.splitlines()[-20:] if ended.returncode else []
        found[tool] = {"exit_code": ended.returncode, "last_lines": last}
    return {"missing": None, "tools": found}


# The parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What the parts work with: the GPU, PyTorch or None, the seed of the comparison, and the sizes."""

    place: gpu_timing.Place
    peer: Any
    seed: int
    sizes: Sizes
    parts: dict[str, Any] = field(default_factory=dict)  # those that are finished


def tests(run: Run) -> dict[str, Any]:
    return run_tests(run.sizes.tests)


def comparison(run: Run) -> dict[str, Any]:
    rows = compare_all(run.place.backend, run.sizes.shapes, run.seed)
    largest = {
        dtype: max(row["largest_error"] for row in rows if row["dtype"] == dtype)
        for dtype in dict.fromkeys(row["dtype"] for row in rows)
    }
    wrong = [row for row in rows if not row["passed"]]
    return {"seed": run.seed, "count": len(rows), "largest_error": largest, "wrong": wrong}


def sanitizer(run: Run) -> dict[str, Any]:
    return run_sanitizer()


def limits(run: Run) -> dict[str, Any]:
    sizes, numbers = run.sizes, min(run.sizes.copy, gpu_elementwise.large(device.free_memory()))
    return {
        "fma_teraflop_per_second": gpu_limits.fma_peak(run.place, sizes.repetitions, *sizes.chains),
        "copied_numbers": numbers,
        "copy_gigabyte_per_second": gpu_limits.copy_bandwidth(run.place, numbers, sizes.repetitions),
    }


def step(run: Run) -> dict[str, Any]:
    return gpu_step.training_step(run.place, run.peer, run.sizes.problem, run.sizes.steps, run.sizes.repetitions)


def products(run: Run) -> dict[str, Any]:
    peak = (run.parts.get("limits", {}).get("result") or {}).get("fma_teraflop_per_second")
    sizes, capability = run.sizes, device.capability()
    return gpu_products.products(run.place, run.peer, sizes.products, sizes.repetitions, peak, capability)


def ways(run: Run) -> dict[str, Any]:
    return gpu_ways.ways(run.place, run.sizes.ways, run.sizes.repetitions)


def elementwise(run: Run) -> dict[str, Any]:
    numbers, features, calls = run.sizes.elementwise
    largest = gpu_elementwise.large(device.free_memory())
    numbers = tuple(min(size, largest) for size in numbers)
    repetitions = -(-run.sizes.repetitions // 2)
    return gpu_elementwise.elementwise(run.place, run.peer, numbers, repetitions, features=features, calls=calls)


PARTS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "comparison": comparison,
    "limits": limits,
    "step": step,
    "products": products,
    "elementwise": elementwise,
    "tests": tests,
    "ways": ways,
    "sanitizer": sanitizer,
}


class OutOfTime(BaseException):
    """Raised in the part that runs when the time is over. No Exception: parts take those for results."""


@contextlib.contextmanager
def until(deadline: float) -> Iterator[None]:
    """Raise OutOfTime in the block at that time of the clock `time.monotonic`, at once if it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTime
    if left == float("inf") or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def passed(name: str, part: dict[str, Any]) -> bool:
    """Whether a part went well: whatever is compared agrees, and minidl could run."""
    if "error" in part:
        return False
    found = part["result"]
    if name == "tests":
        return found["exit_code"] == 0 and not found["failed"]
    if name == "sanitizer":
        return all(tool["exit_code"] == 0 for tool in found["tools"].values())
    if name == "step":
        return not found["disagreeing"] and gpu_step.OURS not in found["missing"]
    if name == "products":
        return gpu_products.accurate(found)
    return not found.get("wrong") and not found.get("disagreeing")


def take(name: str, run: Run, deadline: float) -> dict[str, Any] | None:
    """One part, with its date and how long it took; None if the time is over before its end.

    An error is a result as well, because the other parts shall run.
    """
    began = time.perf_counter()
    print(f"{name} ...", flush=True)
    part: dict[str, Any] = {"date": now()}
    try:
        with until(deadline):
            part["result"] = PARTS[name](run)
    except OutOfTime:
        print(f"{name}: not run: out of time", flush=True)
        return None
    except Exception as error:
        traceback.print_exc()
        part["error"] = f"{type(error).__name__}: {error}"
    part["seconds"] = round(time.perf_counter() - began, 1)
    print(f"{name}: {'passed' if passed(name, part) else 'FAILED'} after {part['seconds']} s", flush=True)
    return part


def import_peer() -> Any:
    """What measures PyTorch, or None where it is missing or sees no GPU."""
    try:
        peer = importlib.import_module("benchmarks.gpu_torch")
    except ModuleNotFoundError as error:
        print(f"without PyTorch: {error.name} is not installed", flush=True)
        return None
    if not peer.available():
        print("without PyTorch: it sees no GPU", flush=True)
        return None
    return peer


# The machine and the file ---------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """GPU, driver and versions; None for what cannot be found out."""
    from numba import cuda

    return {
        "gpu": _or_none(device.name),
        "compute_capability": _or_none(lambda: ".".join(map(str, device.capability()))),
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


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write(out: Path, result: dict[str, Any]) -> None:
    """The JSON file and the page beside it. Both are made before the first is written."""
    texts = {out: json.dumps(result, indent=2) + "\n", out.with_suffix(".md"): gpu_report.markdown(result)}
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        with write_whole(path, "w") as file:
            file.write(text)


def earlier_parts(out: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The parts in the file of an earlier run, if it was made on the same machine, as thoroughly."""
    if not out.exists():
        return {}
    before = json.loads(out.read_text(encoding="utf-8"))
    same = all(before.get(key) == result[key] for key in ("machine", "quick"))
    return before["parts"] if same else {}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check and measure minidl on a machine with an NVIDIA GPU.")
    parser.add_argument("--out", type=Path, help="the JSON file (default: benchmarks/results/gpu.json)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[], metavar="NAME", help=", ".join(PARTS))
    parser.add_argument(
        "--minutes", type=float, help=f"after which no part goes on (default: {MINUTES:g}; not --quick)"
    )
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, to see that it works")
    options = parser.parse_args(arguments)
    name = "gpu_quick.json" if options.quick else "gpu.json"  # a quick run does not overwrite a whole one
    out: Path = options.out or ROOT / "benchmarks" / "results" / name
    if out.suffix != ".json":
        parser.error(f"--out got {out}; expected a name that ends with .json")
    if options.minutes is not None and not options.minutes > 0:
        parser.error(f"--minutes got {options.minutes:g}; expected more than 0")
    reason = dl.backend.available()["cuda"]
    if reason:
        print(f"no GPU to check: {reason}", file=sys.stderr)
        return 2

    result: dict[str, Any] = {"date": now(), "machine": machine(), "quick": options.quick}
    parts = result["parts"] = earlier_parts(out, result) if options.only else {}
    seed = int.from_bytes(os.urandom(4), "little")
    run = Run(gpu_timing.gpu(), import_peer(), seed, QUICK if options.quick else WHOLE, parts)
    names = [name for name in PARTS if name in options.only or not options.only]
    minutes = options.minutes or (float("inf") if options.quick else MINUTES)
    deadline = time.monotonic() + 60 * minutes
    late = result["not_run"] = []
    for name in names:
        part = take(name, run, deadline)
        if part is None:
            late.append(name)
        else:
            parts[name] = part
        result["parts"] = {known: parts[known] for known in PARTS if known in parts}
        write(out, result)
    print(gpu_report.markdown(result))
    print(f"wrote {out} and {out.with_suffix('.md').name}")
    if not all(passed(name, parts[name]) for name in names if name not in late):
        return 1
    if late:
        print(f"out of time after {minutes:g} minutes; the rest: --minutes {2 * minutes:g} --only {' '.join(late)}")
    return 3 if late else 0


if __name__ == "__main__":
    sys.exit(main())
