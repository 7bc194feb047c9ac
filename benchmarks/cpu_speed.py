"""minidl on the CPU against JAX, PyTorch, scikit-learn and NumPy, and against what the processor can do.

    pip install -e ".[bench]"
    python benchmarks/cpu_speed.py [--threads 1 2] [--only NAME ...] [--repetitions 7] [--mnist FOLDER] [--quick]

Everybody computes in float32 with the same data, which are in memory, on the same cores: for each number of threads
there is one process, which may run on so many cores only and tells every library so before it is imported. Results are
compared first, and the benchmark stops where they disagree. Then the contenders take turns of many steps each; tables
show the median over the turns.

A whole run writes its figures to benchmarks/results/cpu_speed/, where each kind of processor keeps its last run, and
all kinds side by side to benchmarks/results/cpu_speed.md and docs/images/cpu_speed.png. With --only or --quick it
prints the tables, and writes them where --out says. A package that is not installed is left out, and the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import numpy as np
from threadpoolctl import threadpool_info

import minidl as dl
from benchmarks import cpu_report, limits, machine, products
from benchmarks.elementwise.given import OPERATIONS, Given
from benchmarks.peers.problem import Problem
from benchmarks.products import KINDS, Product
from benchmarks.turns import Disagreement, Run, agree, in_turns, repeated, trained_alike
from minidl.utils.figures import save_figure
from minidl.utils.files import write_whole

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
COMPARED_STEPS = 10
PEERS = {"minidl": "minidl", "jax": "JAX jit", "torch": "PyTorch", "sklearn": "scikit-learn", "numpy": "NumPy"}
NEEDS_COMPILER = "torch.compile"


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure: repetitions, about how long a turn takes, and where MNIST is."""

    threads: int
    repetitions: int
    turn_seconds: float
    quick: bool
    mnist: str | None

    @property
    def pause(self) -> float:
        """Threads that wait for work in a loop take time from the next contender; after a moment they sleep."""
        return 0.0 if self.threads == 1 else 0.2

    def time(self, contenders: dict[str, Run], **options: Any) -> dict[str, list[float]]:
        return in_turns(contenders, self.repetitions, self.turn_seconds, pause=self.pause, **options)


Table = dict[str, Any]


def table(title: str, unit: str, rows: list[dict[str, Any]], missing: dict[str, str], note: str = "") -> Table:
    """What a workload measured.

    unit      of the numbers: "s", "bytes"; or "flop/s" and "byte/s", where each row has the work and its limit
    rows      each with a "case" and, in "measured", the number of each repetition for each contender
    missing   why a contender is not there
    """
    return {"title": title, "unit": unit, "note": note, "missing": missing, "rows": rows}


def modules(package: str, *names: str) -> tuple[dict[str, ModuleType], dict[str, str]]:
    """The modules with_NAME of a package that can be imported, and why the others cannot."""
    found, missing = {}, {}
    for name in names:
        try:
            found[name] = importlib.import_module(f"benchmarks.{package}.with_{name}")
        except ModuleNotFoundError as error:
            missing[PEERS[name]] = f"{error.name} is not installed"
    return found, missing


# Training steps -------------------------------------------------------------------------------------------------------


def step_row(case: str, problem: Problem, settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
    """One row of a table of training steps, and who is missing in it."""
    found, missing = modules("peers", "numpy", "minidl", "jax", "torch")
    without_masks = replace(problem, dropout=0.0)  # random masks differ
    missing |= compare(case, without_masks, peers_of(without_masks, found))
    contenders = {name: peer for name, peer in peers_of(problem, found).items() if name not in missing}
    measured = settings.time({name: peer.run for name, peer in contenders.items()})
    peak = limits.fma_peak() * settings.threads
    return {"case": case, "measured": measured, "arithmetic": problem.flops / peak}, missing


def peers_of(problem: Problem, found: dict[str, ModuleType]) -> dict[str, Any]:
    return {name: peer for module in found.values() for name, peer in module.peers(problem).items()}


def compare(case: str, problem: Problem, contenders: dict[str, Any]) -> dict[str, str]:
    """Let all train for ten steps; raises Disagreement if they end with different weights. Returns who cannot run."""
    results, missing = {}, {}
    for name, peer in contenders.items():
        try:
            peer.run(COMPARED_STEPS)
        except Exception as error:
            if name != NEEDS_COMPILER:  # it needs a C++ compiler that PyTorch can work with
                raise
            missing[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        results[name] = peer.parameters()
    trained_alike(case, problem.start(), results)
    return missing


def steps(title: str, problems: dict[str, Problem], settings: Settings) -> Table:
    rows, missing = [], {}
    for case, problem in problems.items():
        row, missing = step_row(case, problem, settings)
        rows.append(row)
    return table(title, "s", rows, missing)


DIGITS = (784, 256, 128, 10)


def plain(settings: Settings) -> Table:
    sizes = (1, 128) if settings.quick else (1, 32, 128, 512)
    problems = {f"batch {batch}": Problem(DIGITS, batch) for batch in sizes}
    return steps("One training step: 784-256-128-10, ReLU, softmax cross-entropy, momentum", problems, settings)


def normalized(settings: Settings) -> Table:
    problem = Problem(DIGITS, 128, batch_norm=True, dropout=0.2, optimizer="adam")
    title = "One training step: the same with batch norm, dropout 0.2 and Adam"
    return steps(title, {"batch 128": problem}, settings)


def deep(settings: Settings) -> Table:
    problem = Problem((500,) * 11 + (10,), 128, activation="tanh")
    title = "One training step: 10 hidden layers of 500 with tanh, softmax cross-entropy, momentum"
    return steps(title, {"batch 128": problem}, settings)


def wide(settings: Settings) -> Table:
    sizes = (784, 512, 512, 10) if settings.quick else (784, 4096, 4096, 10)
    title = f"One training step: {'-'.join(map(str, sizes))}, ReLU, softmax cross-entropy, momentum"
    return steps(title, {"batch 512": Problem(sizes, 512)}, settings)


# Epochs ---------------------------------------------------------------------------------------------------------------


def mnist(settings: Settings) -> tuple[np.ndarray, np.ndarray] | str:
    """x and labels of the training images, or why there are none."""
    try:
        train, _ = dl.data.mnist(settings.mnist)
    except FileNotFoundError as error:
        return str(error)
    rows = 6_400 if settings.quick else len(train)
    return np.ascontiguousarray(train.x[:rows]), np.ascontiguousarray(train.y[:rows])


def epoch(settings: Settings) -> Table:
    title = "One epoch of MNIST, order and batches included: 784-256-128-10, batch 128, momentum"
    data = mnist(settings)
    if isinstance(data, str):
        return table(title, "s", [], {}, f"skipped: {data}")
    found, missing = modules("peers", "minidl", "sklearn", "torch")
    contenders = {PEERS[name]: module.Epochs(Problem(DIGITS, 128), *data) for name, module in found.items()}
    for contender in contenders.values():
        contender.run(2)
    accuracies = {name: contender.accuracy() for name, contender in contenders.items()}
    if max(accuracies.values()) - min(accuracies.values()) > 0.03:  # they see the images in different orders
        raise Disagreement(f"after two epochs the accuracies are {accuracies}")
    measured = settings.time({name: contender.run for name, contender in contenders.items()}, at_least=1)
    after = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in accuracies.items())
    row = {"case": f"{len(data[0]):,} images", "measured": measured}
    return table(title, "s", [row], missing, f"Accuracy on these images after two epochs: {after}.")


# Parts of a step ------------------------------------------------------------------------------------------------------


def matrix_products(settings: Settings) -> Table:
    links, batches = [(784, 256), (256, 128), (128, 10), (500, 500)], (1, 32, 128, 512)
    shapes = [(batch, *link) for link in links for batch in batches] + [(512, 784, 512), (1024, 1024, 1024)]
    if settings.quick:
        shapes = [(1, 784, 256), (128, 784, 256)]
    rows, missing = [], {}
    with contextlib.ExitStack() as stack:
        other = None
        if machine.has_avx512():
            other = stack.enter_context(products.other_kernels())
        else:
            missing[f"OpenBLAS {products.CORE_TYPE}"] = "not available: the processor has no AVX-512"
        peak = limits.fma_peak() * settings.threads
        for shape in shapes:
            for kind in KINDS:
                product = Product(kind, *shape)
                rows.append({"case": str(product), "work": product.flops, "limit": peak})
                rows[-1]["measured"] = time_product(product, other, settings)
    note = f"In brackets the share of the {peak / 1e9:.0f} GFLOP/s that multiply-adds in registers reach."
    return table("Matrix products, batch × n_in × n_out", "flop/s", rows, missing, note)


def time_product(
    product: Product, other: products.OtherKernels | None, settings: Settings
) -> dict[str, list[float]]:  # fmt: skip
    results, contenders = {}, {}
    for name, prepare in (("NumPy", products.by_numpy), ("minidl", products.by_minidl)):
        compute, c = prepare(product)
        compute()
        results[name], contenders[name] = [c], repeated(compute)
    if other is not None:
        name = f"OpenBLAS {products.CORE_TYPE}"
        results[name], contenders[name] = [other.take(product)], other.run
    agree(str(product), results)
    return settings.time(contenders)


def elementwise(settings: Settings) -> Table:
    found, missing = modules("elementwise", "numpy", "minidl", "torch")
    rows, notes = [], []
    for batch, features in ((128, 512), (512, 256) if settings.quick else (4096, 1024)):
        shape, numbers = f"{batch} × {features}", batch * features
        bandwidth = limits.copy_bandwidth(numbers)
        notes.append(f"{bandwidth / 1e9:.0f} GB/s for {shape} ({4 * numbers >> 10} KiB an array)")
        given = Given(numbers, features)
        for operation in OPERATIONS:
            row = {"case": f"{operation}, {shape}", "work": given.bytes(operation), "limit": bandwidth}
            rows.append({**row, "measured": time_operation(operation, given, found, settings)})
    note = (
        f"In brackets the share of what a copy in one thread reaches: {', '.join(notes)}. An array that is changed in "
        "place counts twice, read and written, and takes less time than reading one and writing another."
    )
    return table("Elementwise operations", "byte/s", rows, missing, note)


def time_operation(
    operation: str, given: Given, found: dict[str, ModuleType], settings: Settings
) -> dict[str, list[float]]:  # fmt: skip
    calls = {PEERS[name]: module.prepare(operation, given) for name, module in found.items()}
    results = {name: given.comparable(operation, call()) for name, call in calls.items()}
    agree(operation, results, tolerance=1e-4)
    return settings.time({name: repeated(call) for name, call in calls.items()}, at_least=2)


# In fresh processes ---------------------------------------------------------------------------------------------------


def startup(settings: Settings) -> Table:
    """Import and first step: with nothing compiled yet, and with what the process before has left."""
    _, missing = modules("peers", "jax", "torch")
    contenders = {"minidl cold": "minidl", "minidl": "minidl", "NumPy": "numpy", "PyTorch": "torch", "JAX jit": "jax"}
    measured: dict[str, dict[str, list[float]]] = {"import": {}, "first step": {}, "whole process": {}}
    for _ in range(1 if settings.quick else settings.repetitions):
        with tempfile.TemporaryDirectory() as cache:  # empty for the first of them, and full for the second
            for name, peer in contenders.items():
                if PEERS[peer] in missing:
                    continue
                start = time.perf_counter()
                seconds = fresh(peer, NUMBA_CACHE_DIR=cache)
                seconds["whole process"] = time.perf_counter() - start
                for part, times in measured.items():
                    times.setdefault(name, []).append(seconds[part])
    rows = [{"case": part, "measured": times} for part, times in measured.items()]
    note = "Cold: nothing is compiled yet. NumPy compiles nothing, and JAX by default keeps nothing between processes."
    return table("Start in a fresh process", "s", rows, missing, note)


def memory(settings: Settings) -> Table:
    title = "The most memory that a process has, for one epoch of MNIST"
    data = mnist(settings)
    if isinstance(data, str) or sys.platform == "win32":
        reason = data if isinstance(data, str) else "Windows does not count it this way"
        return table(title, "bytes", [], {}, f"skipped: {reason}")
    _, missing = modules("peers", "torch", "sklearn")
    measured: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "x.npy"), data[0])
        np.save(Path(folder, "labels.npy"), data[1])
        for _ in range(1 if settings.quick else 3):
            for peer, name in {"nothing": "NumPy and the data", **PEERS}.items():
                if peer not in ("jax", "numpy") and name not in missing:
                    measured.setdefault(name, []).append(fresh(peer, "--epoch", folder)["bytes"])
    return table(title, "bytes", [{"case": f"{len(data[0]):,} images", "measured": measured}], missing)


def fresh(peer: str, *arguments: str, **environment: str) -> dict[str, float]:
    """What benchmarks/fresh.py says."""
    command = [sys.executable, str(HERE / "fresh.py"), peer, *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}, check=True)
    return json.loads(result.stdout.splitlines()[-1])


WORKLOADS: dict[str, Callable[[Settings], Table]] = {
    "step": plain,
    "normalized": normalized,
    "deep": deep,
    "wide": wide,
    "epoch": epoch,
    "products": matrix_products,
    "elementwise": elementwise,
    "startup": startup,
    "memory": memory,
}


# A process for each number of threads ---------------------------------------------------------------------------------


def environment(threads: int) -> dict[str, str]:
    """What tells each library how many threads it has."""
    variables = ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMBA", "MINIDL")
    flags = "" if threads > 1 else "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    xla = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    counts = {f"{name}_NUM_THREADS": str(threads) for name in variables if name != "VECLIB"}
    return {**os.environ, **counts, "VECLIB_MAXIMUM_THREADS": str(threads), "XLA_FLAGS": xla, "JAX_PLATFORMS": "cpu"}


@contextlib.contextmanager
def cores(count: int) -> Iterator[None]:
    """Processes that are started meanwhile may run on so many cores only, where the system can be told."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    if count > len(before):
        raise SystemExit(f"--threads got {count}; there are {len(before)} cores")
    os.sched_setaffinity(0, sorted(before)[-count:])  # the last ones: the system does its own work on the first
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def work(names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Run the workloads in this process."""
    tables = {}
    for name in names:
        print(f"{name}, {settings.threads} threads ...", file=sys.stderr, flush=True)
        tables[name] = WORKLOADS[name](settings)
    pools = [f"{pool['prefix']} {pool.get('architecture', '')}: {pool['num_threads']}" for pool in threadpool_info()]
    return {"threads": settings.threads, "thread_pools": pools, "workloads": tables}


def run_with(settings: Settings, names: Sequence[str]) -> dict[str, Any]:
    """The same in a process that knows from its start how many threads it has."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "result.json")
        job = json.dumps({"out": str(out), "names": list(names), "settings": asdict(settings)})
        command = [sys.executable, __file__, "--work", job]
        with cores(settings.threads):
            code = subprocess.run(command, env=environment(settings.threads)).returncode
        if code:
            raise SystemExit(f"the process with {settings.threads} threads has stopped with code {code}: see above")
        return json.loads(out.read_text())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time minidl on the CPU against other frameworks.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="one process for each number")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=[], metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument("--repetitions", type=int, help="turns of each contender (7; with --quick 3)")
    parser.add_argument("--mnist", metavar="FOLDER", help="of the MNIST files (default: where dl.data.mnist looks)")
    parser.add_argument("--quick", action="store_true", help="short turns and few shapes, to see that it works")
    parser.add_argument("--out", type=Path, help="where to write, without suffix")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        job = json.loads(options.work)
        Path(job["out"]).write_text(json.dumps(work(job["names"], Settings(**job["settings"]))))
        return 0
    whole = not (options.only or options.quick)
    names = options.only or list(WORKLOADS)
    settings = Settings(
        threads=1,
        repetitions=options.repetitions or (3 if options.quick else 7),
        turn_seconds=0.02 if options.quick else 0.2,
        quick=options.quick,
        mnist=options.mnist and str(Path(options.mnist).resolve()),
    )
    result = {
        "date": date.today().isoformat(),
        "machine": machine.describe(),
        "versions": machine.versions("minidl", "numpy", "numba", "torch", "jax", "scikit-learn"),
        "settings": {
            "repetitions": settings.repetitions,
            "turn_seconds": settings.turn_seconds,
            "quick": options.quick,
        },
        "runs": [run_with(replace(settings, threads=threads), names) for threads in options.threads],
    }
    result = cpu_report.medians(result)
    text = cpu_report.markdown(result)
    print(text)
    if whole and options.out is None:
        write(result, text, RESULTS / "cpu_speed" / result["machine"]["processor"])
        write_overview()
    elif options.out:
        write(result, text, options.out)
        draw([result], options.out.with_suffix(".png"))
    return 0


def write(result: dict[str, Any], text: str, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(out.with_suffix(".json"), "w") as file:
        file.write(machine.as_json(result) + "\n")
    with write_whole(out.with_suffix(".md"), "w") as file:
        file.write(text)


def write_overview() -> None:
    """Write the page and the picture of all processors of which figures are kept."""
    kept = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((RESULTS / "cpu_speed").glob("*.json"))}
    with write_whole(RESULTS / "cpu_speed.md", "w") as file:
        file.write(cpu_report.overview(kept))
    draw(list(kept.values()), HERE.parent / "docs" / "images" / "cpu_speed.png")


def draw(results: Sequence[dict[str, Any]], picture: Path) -> None:
    figure = cpu_report.figure(results)
    if figure is not None:
        save_figure(figure, picture)


if __name__ == "__main__":
    sys.exit(main())
