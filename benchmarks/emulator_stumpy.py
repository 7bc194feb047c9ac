"""The emulator against Numba's CUDA simulator on stumpy's kernels: the matrix profile of a time series.

    python benchmarks/emulator_stumpy.py [--length 64] [--repetitions 3] [--out benchmarks/results/emulator_stumpy]

Needs stumpy (`pip install stumpy`), whose `gpu_stump` starts one kernel for each window. The two run in turns, each in
a process of its own; a first call, which infers types, is not timed. Before anything is timed, both must agree with
`stumpy.stump`.

Writes OUT.json and OUT.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

from benchmarks import machine
from minidl.utils.files import write_whole

RESULTS = Path(__file__).resolve().parent / "results"
CONTENDERS = ("emulator", "simulator")
WINDOW, THREADS = 8, 32


def work(contender: str, length: int) -> float:
    """The seconds of one call in this process, after one that is not timed."""
    with contextlib.ExitStack() as stack:
        if contender == "emulator":
            from minidl.emulator import active

            stack.enter_context(active())
        import stumpy

        stumpy.config.STUMPY_THREADS_PER_BLOCK = THREADS
        series = np.random.default_rng(0).normal(size=length).cumsum()
        expected, found = stumpy.stump(series, WINDOW), stumpy.gpu_stump(series, WINDOW)
        np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=0, atol=1e-6)
        start = time.perf_counter()
        stumpy.gpu_stump(series, WINDOW)
        return time.perf_counter() - start


def ask(contender: str, length: int) -> float:
    """The same in a process of its own."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    if contender == "simulator":
        environment["NUMBA_ENABLE_CUDASIM"] = "1"
    command = [sys.executable, __file__, "--work", contender, "--length", str(length)]
    return float(json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout))


def markdown(result: dict[str, Any]) -> str:
    """The result for readers."""
    seconds, where = result["seconds"], result["machine"]
    used = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    rows = [
        f"| {name} | {statistics.median(times):.2f} | {min(times):.2f} to {max(times):.2f} |"
        for name, times in seconds.items()
    ]
    return "\n".join(
        [
            "# stumpy's gpu_stump, on the emulator and on Numba's simulator",
            "",
            f"Matrix profile of {result['length']} numbers, windows of {WINDOW}, blocks of {THREADS} threads. Both "
            "agree with `stumpy.stump` to 1e-6.",
            "",
            "| | median, s | range, s |",
            "|---|---|---|",
            *rows,
            "",
            f"The emulator is **{result['ratio']:.0f} times** as fast.",
            "",
            f"{where['cpu']}, {where['cores']} cores, {where['system']}, load average "
            f"{result['load_average_at_the_end']} at the end (others used the machine, too, if it is above 1); "
            f"repetitions: {len(seconds['emulator'])}; {used}; {result['date']}.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time stumpy's GPU functions on the emulator and the simulator.")
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "emulator_stumpy", help="without suffix")
    parser.add_argument("--work", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        print(json.dumps(work(options.work, options.length)))
        return 0
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(options.repetitions):
        for name in CONTENDERS:
            seconds[name].append(ask(name, options.length))
            print(f"{name} {seconds[name][-1]:.3f} s", flush=True)
    ours, theirs = (statistics.median(times) for times in seconds.values())
    result = {
        "what": "wall time of stumpy.gpu_stump, run on the CPU",
        "length": options.length,
        "window": WINDOW,
        "ratio": theirs / ours,
        "seconds": seconds,
        "date": date.today().isoformat(),
        "machine": {"cpu": machine.cpu_model(), "cores": os.cpu_count(), "system": platform.system()},
        "load_average_at_the_end": machine.load_average(),
        "versions": machine.versions("minidl", "stumpy", "numba", "numpy", "greenlet"),
    }
    with write_whole(options.out.with_suffix(".json"), "w") as file:
        file.write(machine.as_json(result) + "\n")
    with write_whole(options.out.with_suffix(".md"), "w") as file:
        file.write(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
