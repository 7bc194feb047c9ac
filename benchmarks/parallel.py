"""Two ranks against one, a thread each: how much of a step they save, and how long their sums take.

    python benchmarks/parallel.py [--ranks 1 2] [--steps 20] [--repetitions 3]

Writes benchmarks/results/parallel.json and .md. The network is 784-1024-1024-10, a batch has 8 parts. Strong scaling:
the batch stays, and the ranks share its passes; weak: it grows with the ranks. The weights after some steps are
compared first: any number of ranks must have the same bits. The time of the sums includes waiting for the slowest rank.
Needs the extra mpi, and cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl as dl
from benchmarks import machine
from benchmarks.turns import Disagreement
from minidl.parallel import Team
from minidl.training.team import TeamStep
from minidl.utils.files import write_whole

RESULTS = Path(__file__).parent / "results"
BATCHES = (512, 2048)
PARTS = 8


class TimedTeam(Team):
    """A team that notes how long its sums take, without the leaves."""

    seconds = 0.0

    def sum(self, name: str, leaves: int, size: int, dtype: Any, leaf: Any) -> np.ndarray:
        inside = 0.0

        def timed(i: int, out: np.ndarray) -> None:
            nonlocal inside
            start = time.perf_counter()
            leaf(i, out)
            inside += time.perf_counter() - start

        start = time.perf_counter()
        result = super().sum(name, leaves, size, dtype, timed)
        self.seconds += time.perf_counter() - start - inside
        return result


def steps_of(team: TimedTeam | None, batch: int, steps: int) -> dict[str, Any]:
    """Seconds of a step and of its sums, and the weights after the steps; without a team as `fit` makes them alone."""
    layers = dl.Dense(784, 1024), dl.ReLU(), dl.Dense(1024, 1024), dl.ReLU(), dl.Dense(1024, 10)
    model, loss, optimizer = dl.Sequential(*layers, seed=0, backend="cpu"), dl.SoftmaxCrossEntropy(), dl.SGD(0.01)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(batch, 784)).astype(np.float32), rng.integers(0, 10, batch)
    if team is None:
        step = dl.TrainingStep(model, loss, optimizer, graph=False)
    else:
        step = TeamStep(team, model, loss, optimizer, clip=None)
    for _ in range(3):
        step(x, labels)
    digest = hashlib.sha256(b"".join(parameter.value.tobytes() for parameter in model.parameters())).hexdigest()
    if team is not None:
        team.from_all(None)
        team.seconds = 0.0
    start = time.perf_counter()
    for _ in range(steps):
        step(x, labels)
    seconds = (time.perf_counter() - start) / steps
    return {"step": seconds, "sums": team.seconds / steps if team else 0.0, "weights": digest}


def work(steps: int) -> None:
    """Measure as one of the ranks; rank 0 prints."""
    from mpi4py import MPI  # here, because the process that starts the ranks must not be one

    team = TimedTeam(MPI.COMM_WORLD, PARTS)
    found: dict[str, Any] = {"strong": {}, "weak": {}, "alone": {}}
    for batch in BATCHES:
        found["strong"][batch] = steps_of(team, batch, steps)
        found["weak"][batch] = steps_of(team, batch * team.size, steps)
        if team.size == 1:
            found["alone"][batch] = steps_of(None, batch, steps)
    if team.rank == 0:
        print(json.dumps(found))


def measure(ranks: list[int], steps: int, repetitions: int) -> dict[str, Any]:
    """What each number of ranks takes, in turns; Disagreement if their weights differ."""
    start, runs = machine.describe(), {number: [] for number in ranks}
    for _ in range(repetitions):
        for number in ranks:
            command = ["mpiexec", "-n", str(number), sys.executable, "-m", "mpi4py", __file__, "--work", str(steps)]
            environment = {**os.environ, "MINIDL_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            runs[number].append(json.loads(done.stdout))
    for batch in map(str, BATCHES):
        if len({run["strong"][batch]["weights"] for each in runs.values() for run in each}) > 1:
            raise Disagreement(f"steps of {batch} rows: ranks have other weights than one another")
    return {
        "date": date.today().isoformat(), "machine": start, "versions": machine.versions("numpy", "mpi4py", "mpich"),
        "settings": {"steps": steps, "repetitions": repetitions, "parts": PARTS}, "runs": runs,
    }  # fmt: skip


def markdown(result: dict[str, Any]) -> str:
    """The medians as a table."""

    def median(ranks: Any, kind: str, batch: int, what: str) -> float:
        return statistics.median(run[kind][str(batch)][what] for run in result["runs"][ranks]) * 1e3

    one, *others = result["runs"]
    load = result["machine"]["load_average_before"]
    lines = [
        "# Ranks of MPI",
        "",
        f"A step of 784-1024-1024-10 in {result['settings']['parts']} parts, with a thread for each rank, on "
        f"{result['machine']['cpu']}, {result['date']}; load before {load}. Medians of "
        f"{result['settings']['repetitions']} runs of {result['settings']['steps']} steps. Strong: the batch is that "
        "of the row; weak: it is that for each rank. The sums are those over the parts, with waiting.",
        "",
        "| batch | without a team | ranks | strong | faster than 1 rank | of it sums | weak | of linear |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for batch in BATCHES:
        alone, first = median(one, "alone", batch, "step"), median(one, "strong", batch, "step")
        for ranks in (one, *others):
            strong, weak = median(ranks, "strong", batch, "step"), median(ranks, "weak", batch, "step")
            sums = median(ranks, "strong", batch, "sums")
            lines.append(
                f"| {batch} | {alone:.1f} ms | {ranks} | {strong:.1f} ms | {first / strong:.2f} × | "
                f"{sums / strong:.0%} | {weak:.1f} ms | {first / weak:.0%} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--work", type=int, metavar="STEPS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work)
        return
    result = measure(options.ranks, options.steps, options.repetitions)
    print(markdown(result))
    for name, text in (("parallel.json", machine.as_json(result) + "\n"), ("parallel.md", markdown(result))):
        with write_whole(RESULTS / name, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
