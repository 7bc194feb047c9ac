"""The emulator against Numba's CUDA simulator: one training step of a small network, by the same kernels.

    python benchmarks/emulator_speed.py [--repetitions 7] [--out benchmarks/results/emulator_speed]

Both run the kernels of `minidl.cuda` on the CPU, one CUDA thread at a time. The simulator is switched on by an
environment variable for a whole process, so each of the two runs in a process of its own. They take turns, one step
each, while the other one waits; before anything is timed, both train for two steps and must agree on every parameter.

The simulator knows neither warp shuffles, which the softmax kernels use, nor aligned shared memory and 128-bit loads,
which the matrix products use. In both processes the forward pass of the loss is therefore computed by the CPU backend,
and the products by the rung `coalesced` of the ladder, on copies of transposed factors that NumPy makes. All other
kernels of the step run: column sums, batch normalization, ReLU, the gradient and the mean of the loss, Adam.

The simulator switches threads of the system, the emulator greenlets: how fast the simulator is depends on the machine
much more.

Writes OUT.json and OUT.md, and exits with 1 if the emulator is less than 40 times as fast.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl as dl
from benchmarks import machine
from minidl import backend as backends
from minidl.cuda import elementwise
from minidl.cuda.engine import device
from minidl.cuda.ladder import product
from minidl.emulator import launch
from minidl.utils.files import write_whole

RESULTS = Path(__file__).resolve().parent / "results"
TARGET = 40
N_IN, HIDDEN, CLASSES, BATCH = 64, 32, 10, 32
NETWORK = f"Dense({N_IN}, {HIDDEN}), BatchNorm({HIDDEN}), ReLU(), Dense({HIDDEN}, {CLASSES}), SoftmaxCrossEntropy, Adam"
LEFT_OUT = ["softmax_kernel", "softmax_losses"]
CONTENDERS = ("emulator", "simulator")


# In a process of its own: one contender ------------------------------------------------------------------------------


def use_simulator() -> backends.Backend:
    """The backend cuda on Numba's simulator, for a process that was started with NUMBA_ENABLE_CUDASIM=1."""
    device.why_not = lambda: None  # it says why the simulator is not for users
    # In the simulator `kernel[grid, block]` is the kernel itself, which knows its last grid only: nothing may be kept.
    device._configured = device._configured.__wrapped__
    elementwise.aligned = lambda vector: False  # it has no 128-bit accesses
    simulated = backends.get("cuda")
    with_simple_kernels(simulated, device.launch)
    return simulated


def with_simple_kernels(backend: backends.Backend, launch: Callable[..., None]) -> None:
    """Other ways for the operations of the step whose kernels the simulator cannot run."""

    def softmax_cross_entropy_forward(*arrays: Any) -> None:
        on_host = [backend.to_numpy(array) for array in arrays]
        backends.get("cpu").operations.softmax_cross_entropy_forward(*on_host)
        for array, values in zip(arrays[2:], on_host[2:], strict=True):  # after logits and labels come the results
            backend.copy_into(array, values)

    def transposed(matrix: Any) -> Any:
        return backend.array(backend.to_numpy(matrix).T, matrix.dtype)

    def dense_forward(x: Any, weight: Any, bias: Any, y: Any) -> None:
        product(launch, "coalesced", x, weight, y)
        if bias is not None:
            backend.copy_into(y, backend.to_numpy(y) + backend.to_numpy(bias))

    def dense_backward_input(dy: Any, weight: Any, dx: Any) -> None:
        product(launch, "coalesced", dy, transposed(weight), dx)

    def dense_backward_weight(x: Any, dy: Any, dweight: Any) -> None:
        product(launch, "coalesced", transposed(x), dy, dweight)

    for operation in (softmax_cross_entropy_forward, dense_forward, dense_backward_input, dense_backward_weight):
        setattr(backend.operations, operation.__name__, operation)


def training_step(backend: str) -> tuple[Callable[[], float], dl.Sequential]:
    """A step of training, which returns the loss, and the model that it trains."""
    layers = dl.Dense(N_IN, HIDDEN), dl.BatchNorm(HIDDEN), dl.ReLU(), dl.Dense(HIDDEN, CLASSES)
    model = dl.Sequential(*layers, backend=backend, seed=0)
    loss, optimizer, rng = dl.SoftmaxCrossEntropy(), dl.Adam(), np.random.default_rng(0)
    x = model.backend.wrap(rng.normal(size=(BATCH, N_IN)).astype(np.float32))
    labels = model.backend.wrap(rng.integers(0, CLASSES, BATCH))
    loss.use(model.backend)

    def step() -> float:
        loss.compute(model.forward(x, training=True), labels)
        model.backward(loss.backward())
        optimizer.step(model.parameters())
        return loss.value

    return step, model


def work(contender: str) -> None:
    """Answer each line on standard input with a line of JSON: the seconds of one step, or the parameters."""
    if contender == "simulator":
        use_simulator()
    else:
        with_simple_kernels(backends.get("emulator"), launch)
    step, model = training_step("cuda" if contender == "simulator" else "emulator")
    for request in sys.stdin:
        if request.strip() == "parameters":
            answer: Any = [model.backend.to_numpy(parameter.value).tolist() for parameter in model.parameters()]
        else:
            start = time.perf_counter()
            step()
            answer = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


# In the process that compares -----------------------------------------------------------------------------------------


class Contender:
    """A worker process that does one step whenever it is asked."""

    def __init__(self, name: str):
        self._name = name
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        environment.pop("NUMBA_ENABLE_CUDASIM", None)
        if name == "simulator":
            environment["NUMBA_ENABLE_CUDASIM"] = "1"
        command = [sys.executable, __file__, "--work", name]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def ask(self, request: str) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{request}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of the {self._name} has ended: see its message above")
        return json.loads(answer)

    def close(self) -> None:
        self._process.communicate()  # the end of its input ends it


def measure(repetitions: int) -> dict[str, Any]:
    """Seconds of each step and how far the results are apart."""
    # Programs that run beside the benchmark slow the emulator down more than the simulator, which mostly waits.
    load = machine.load_average()
    contenders = {name: Contender(name) for name in CONTENDERS}
    try:
        for contender in contenders.values():  # the first step compiles; the second runs what the first one left
            contender.ask("step")
            contender.ask("step")
        ours, theirs = (contender.ask("parameters") for contender in contenders.values())
        difference = max(float(np.abs(np.subtract(a, b)).max()) for a, b in zip(ours, theirs, strict=True))
        if not difference < 1e-5:
            raise SystemExit(f"after two steps the parameters differ by {difference}: nothing to time")
        seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        for repetition in range(1, repetitions + 1):
            for name, contender in contenders.items():
                seconds[name].append(contender.ask("step"))
            print(f"{repetition}: " + ", ".join(f"{name} {seconds[name][-1]:.3f} s" for name in CONTENDERS), flush=True)
    finally:
        for contender in contenders.values():
            contender.close()
    return {"largest_difference_of_a_parameter": difference, "seconds": seconds, "load_average_before": load}


def report(measured: dict[str, Any]) -> dict[str, Any]:
    """What goes into the JSON file."""
    medians = {name: statistics.median(times) for name, times in measured["seconds"].items()}
    return {
        "what": "wall time of one training step by the same CUDA kernels, run on the CPU",
        "network": NETWORK,
        "batch": BATCH,
        "dtype": "float32",
        "kernels_left_out": LEFT_OUT,
        "ratio": medians["simulator"] / medians["emulator"],
        "target": TARGET,
        "median_seconds": medians,
        **measured,
        "date": date.today().isoformat(),
        "machine": {"cpu": machine.cpu_model(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": machine.versions("minidl", "numba", "numba-cuda", "numpy", "greenlet"),
    }


def markdown(result: dict[str, Any]) -> str:
    """The same for readers."""
    rows = [
        f"| {name} | {result['median_seconds'][name]:.3f} | {min(times):.3f} to {max(times):.3f} |"
        for name, times in result["seconds"].items()
    ]
    difference = result["largest_difference_of_a_parameter"]
    agreement = (
        f"parameters differ by at most {difference:.1e}" if difference else "all parameters are equal bit for bit"
    )
    where, used = result["machine"], ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return "\n".join(
        [
            "# The emulator against Numba's CUDA simulator",
            "",
            f"One training step: {result['network']}; batch {result['batch']}, {result['dtype']}.",
            "",
            "| | median, s | range, s |",
            "|---|---|---|",
            *rows,
            "",
            f"The emulator is **{result['ratio']:.0f} times** as fast (target: {result['target']}). "
            f"{len(result['seconds']['emulator'])} repetitions, taking turns. "
            f"After two training steps {agreement}.",
            "",
            f"The simulator knows no warp shuffles: {' and '.join(result['kernels_left_out'])} are replaced by the CPU "
            "backend in both.",
            "",
            f"{where['cpu']}, {where['cores']} cores, {where['system']}, "
            f"load average {result['load_average_before']} before the start; {used}; {result['date']}.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time the emulator against Numba's CUDA simulator.")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS / "emulator_speed", help="without suffix")
    parser.add_argument("--work", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options.work)
        return 0
    result = report(measure(options.repetitions))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(options.out.with_suffix(".json"), "w") as file:
        file.write(machine.as_json(result) + "\n")
    with write_whole(options.out.with_suffix(".md"), "w") as file:
        file.write(markdown(result))
    print(f"the emulator is {result['ratio']:.1f} times as fast as the simulator (target: {TARGET})")
    return 0 if result["ratio"] >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
