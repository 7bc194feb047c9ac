"""scripts/gpu_check.py and benchmarks/gpu_*.py without a GPU, with stand-ins for the device, the clock and PyTorch."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import minidl as dl
from benchmarks import gpu_elementwise, gpu_limits, gpu_products, gpu_report, gpu_step, gpu_timing, gpu_ways
from benchmarks.elementwise import with_numpy
from benchmarks.elementwise.given import OPERATIONS
from benchmarks.gpu_timing import Place, Taken, between_events, medians, take_turns
from benchmarks.peers.problem import Problem
from minidl import backend as backends
from minidl.cuda.engine import device
from minidl.cuda.ladder import RUNGS
from minidl.emulator import launch
from minidl.operations import NAMES
from scripts import gpu_check

SMALL = [(2, 1), (3, 33)]


def test_without_a_gpu_it_gives_the_reason_and_writes_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(backends, "available", lambda: {"cuda": "the reason"})
    assert gpu_check.main(["--out", str(tmp_path / "gpu.json")]) == 2
    assert capsys.readouterr().err == "no GPU to check: the reason\n"
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path):
    reason = backends.available()["cuda"]
    if reason is None:
        pytest.skip("there is a GPU, and the command would run for minutes")
    command = [sys.executable, gpu_check.__file__, "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == f"no GPU to check: {reason}\n"


# Comparison -----------------------------------------------------------------------------------------------------------


def test_every_operation_passes_in_the_emulator():
    rows = gpu_check.compare_all(backends.get("emulator"), SMALL, seed=11)
    assert not [row for row in rows if not row["passed"]]
    assert {row["operation"].split()[0] for row in rows} == set(NAMES)
    assert {(row["dtype"], row["rows"], row["columns"]) for row in rows} == {
        (dtype, *shape) for dtype in ("float32", "float64") for shape in SMALL
    }


def wrong_value(x, sums):
    sums[:] = x.sum(axis=0) * np.float32(1.001)


def one_element_left_out(x, sums):
    sums[1:] = x.sum(axis=0)[1:]


def changes_its_input(x, sums):
    sums[:] = x.sum(axis=0)
    x[0, 0] += 1


@pytest.mark.parametrize("column_sums", [wrong_value, one_element_left_out, changes_its_input])
def test_a_wrong_operation_does_not_pass(column_sums):
    class Faulty(backends.Emulator):
        def __init__(self):
            super().__init__()
            self.operations.column_sums = column_sums

    rows = gpu_check.compare_all(Faulty(), SMALL)
    assert {row["operation"] for row in rows if not row["passed"]} == {"column_sums"}


# The measurements -----------------------------------------------------------------------------------------------------


class Clock:
    """GPU time: it passes when something runs, and a little with every event."""

    def __init__(self, tick=0.0):
        self.milliseconds, self.tick = 0.0, tick

    def run(self, milliseconds):
        self.milliseconds += milliseconds

    def event(self):
        return Event(self)


class Event:
    def __init__(self, clock):
        self.clock, self.time, self.reached = clock, None, False

    def record(self):
        self.clock.run(self.clock.tick)
        self.time = self.clock.milliseconds

    def synchronize(self):
        self.reached = True

    def elapsed_time(self, end):
        assert end.reached
        return end.time - self.time


def copy(target, source):
    target[...] = source


def place_with(clock, backend="emulator", launch=launch):
    """A place whose kernels run in the emulator, whose time is `clock`, and where a graph is a function."""
    return Place(backends.get(backend), launch, clock.event, lambda function: function, copy)


class Peer:
    """NumPy in the place of PyTorch, on the same clock."""

    def __init__(self, clock):
        self.event, self.capture, self.to_numpy = clock.event, lambda function: function, np.array

    def step_contenders(self, problem):
        twin = gpu_step.our_contenders(place_with(Clock(), "cpu"), problem)[gpu_step.BY_HAND]

        def broken():
            raise RuntimeError("no compiler\nand a long story")

        def wrong():
            contender = twin()
            return contender._replace(parameters=lambda: [1.02 * array for array in contender.parameters()])

        return {
            "PyTorch eager": lambda: twin()._replace(event=self.event),
            "torch.compile": broken,
            "PyTorch graph": lambda: wrong()._replace(event=self.event),
        }

    def product(self, a, b):
        c = np.empty((len(a), b.shape[1]), np.float32)
        return lambda: np.matmul(a, b, out=c), c

    def prepare(self, operation, given):
        return with_numpy.prepare(operation, given)


def test_a_measurement_is_the_average_of_its_calls_and_restarting_is_free():
    clock, calls = Clock(), []

    def restart():
        calls.append("restart")
        clock.run(1000)

    taken = between_events(clock.event, partial(clock.run, 4), 10, restart)()
    assert taken.gpu == 4 and 0 < taken.wall < 1000
    assert calls == ["restart"]


def test_the_clock_of_the_host_waits_for_the_device(monkeypatch):
    now = [0.0]

    class Slow(Event):
        def synchronize(self):
            now[0] += 2.0
            super().synchronize()

    clock = Clock()
    monkeypatch.setattr(gpu_timing.time, "perf_counter", lambda: now[0])
    taken = between_events(lambda: Slow(clock), lambda: None, 4)()
    assert taken.wall == 500  # the first wait is for what ran before, and does not count


def test_what_is_captured_runs_once_before_and_then_all_calls_at_once():
    clock, captured = Clock(), []

    def capture(function):
        captured.append(clock.milliseconds)
        return function

    measure = between_events(clock.event, partial(clock.run, 3), 5, capture=capture)
    assert captured == [3]
    assert measure().gpu == 3 and clock.milliseconds == 3 + 5 * 3


def test_contenders_take_turns_and_the_first_round_does_not_count():
    calls = []
    figures = iter(range(100))

    def measure(name):
        calls.append(name)
        return Taken(next(figures), 7.0)

    found = take_turns({"a": partial(measure, "a"), "b": partial(measure, "b")}, repetitions=3)
    assert calls == ["a", "b"] * 4
    assert [times.gpu for times in found["a"]] == [2, 4, 6]
    assert medians(found) == {"a": 4, "b": 5} and medians(found, "wall") == {"a": 7, "b": 7}


def test_the_kernel_for_the_peak_computes_what_it_says():
    values = gpu_limits.chain_values(3)
    values = np.concatenate([values[:3], values[-2:]]).astype(np.float32)
    launch(gpu_limits.multiply_add, (1,), (3,), values, 4)
    np.testing.assert_allclose(values[:3], 6 * gpu_limits.CHAINS, rtol=1e-5)
    assert list(values[3:]) == [0.5, 3.0]


def test_the_peak_counts_two_operations_for_each_multiply_add():
    launched = []
    place = place_with(Clock(tick=2), "cpu", lambda kernel, *arguments: launched.append(arguments))
    found = gpu_limits.fma_peak(place, repetitions=2, blocks=5, rounds=7)
    (grid, block, values, rounds) = launched[0]
    assert (grid, block, rounds, values.size) == ((5,), (256,), 7, 5 * 256 + 2)
    operations = 2 * 16 * 8 * 7 * 5 * 256  # chains, unrolled, rounds, threads
    assert found == pytest.approx(operations / 2e-3 / 1e12)


@pytest.mark.parametrize("way", ["by_kernel", "by_driver"])
def test_a_copy_copies(way):
    copies = gpu_limits.Copy(place_with(Clock()), 1031)
    copies.target[...] = np.nan
    getattr(copies, way)()
    np.testing.assert_array_equal(copies.target, copies.source)
    assert copies.bytes == 2 * 4 * 1028 and np.all(copies.source != 0)


def test_the_bandwidth_of_a_copy_counts_reading_and_writing():
    found = gpu_limits.copy_bandwidth(place_with(Clock(tick=6)), 100, repetitions=1, calls=3)
    assert found == {name: pytest.approx(800 / 2e-3 / 1e9) for name in ("copy by kernel", "copy by driver")}


TINY = Problem((6, 5, 4, 3), 4, optimizer="adam")


def test_the_step_is_captured_and_by_hand_and_both_train():
    found = gpu_step.training_step(place_with(Clock(tick=8), "cpu"), None, TINY, steps=2, repetitions=3)
    assert found["gpu"] == {"minidl": 4, "minidl by hand": 4}
    assert found["missing"] == found["disagreeing"] == {}
    assert [len(turns) for turns in found["turns"].values()] == [3, 3]


def test_the_captured_step_is_replayed_while_it_is_timed():
    made = gpu_step.our_contenders(place_with(Clock()), TINY)["minidl"]()
    (step,) = [cell.cell_contents for cell in made.step.__closure__ if isinstance(cell.cell_contents, dl.TrainingStep)]
    for _ in range(gpu_step.WARM_UP):
        made.step()
    assert step._replay is not None


@pytest.mark.parametrize("name", ["minidl", "minidl by hand"])
def test_a_restart_forgets_weights_and_moments(name):
    made = gpu_step.our_contenders(place_with(Clock(), "cpu"), TINY)[name]()
    first = gpu_step._after_some_steps(made)
    assert not np.array_equal(first[0], TINY.start()[0])
    for a, b in zip(first, gpu_step._after_some_steps(made), strict=True):
        np.testing.assert_array_equal(a, b)


def test_who_cannot_run_or_ends_elsewhere_is_left_out_with_the_reason():
    clock = Clock(tick=1)
    found = gpu_step.training_step(place_with(clock, "cpu"), Peer(clock), TINY, steps=1, repetitions=1)
    assert found["gpu"].keys() == {"minidl", "minidl by hand", "PyTorch eager"}
    assert found["missing"] == {"torch.compile": "RuntimeError: no compiler"}
    assert "minidl by hand and PyTorch graph differ" in found["disagreeing"]["PyTorch graph"]


@pytest.fixture
def few_calls(monkeypatch):
    """Two calls in the place of 50, which the emulator would make one by one, and one in the place of three."""

    def measured(event, run, calls, **options):
        assert calls >= 2
        return between_events(event, run, 2, **options)

    monkeypatch.setattr(gpu_elementwise, "between_events", measured)
    monkeypatch.setattr(gpu_limits, "between_events", measured)
    monkeypatch.setattr(gpu_products, "CALLS", 1)


def test_every_rung_and_the_dense_product_are_measured_and_compared(few_calls):
    clock = Clock(tick=2)
    found = gpu_products.products(place_with(clock), Peer(clock), (20,), repetitions=1, peak=1e-5)
    assert found.keys() == {"20"} and found["20"].keys() == {"dense layer", "cuBLAS", *RUNGS}
    for name, figures in found["20"].items():
        rate = 2 * 20**3 / 2e-3 / 1e12
        assert figures["milliseconds"] == 2 and figures["share_of_cublas"] == 1
        assert figures["teraflop_per_second"] == pytest.approx(rate)
        assert figures["share_of_peak"] == pytest.approx(rate / 1e-5)
        assert figures["error"] < (1e-3 if name == "tf32" else 1e-6)


def test_what_a_gpu_has_no_instructions_for_is_left_out(few_calls):
    found = gpu_products.products(place_with(Clock(tick=2)), None, (3,), 1, capability=(7, 5))["3"]
    assert {*RUNGS} - found.keys() == {"double buffer", "tf32", "3xTF32"} and "128-bit loads" in found


def test_every_way_of_a_product_is_measured_and_compared(few_calls, monkeypatch):
    monkeypatch.setattr(gpu_ways, "CALLS", 2)
    found = gpu_ways.ways(place_with(Clock(tick=2)), [(5, 6, 7), (3, 20, 36)], repetitions=1)
    assert found["shapes"].keys() == {"5 × 6 × 7", "3 × 20 × 36"} and not found["disagreeing"]
    for row in found["shapes"].values():
        assert row["milliseconds"] == dict.fromkeys(gpu_ways.WAYS, 1.0) and row["chosen"] == "plain"
        assert row["error"].keys() == {*gpu_ways.WAYS} and max(row["error"].values()) < 1e-6
    assert found["now"] == found["best"] == {"ENOUGH_BLOCKS": 64, "LITTLE": 16384, "cost": 1.0}  # all take as long
    nothing = place_with(Clock(tick=2), "cpu", lambda *arguments: None)
    found = gpu_ways.ways(nothing, [(5, 6, 7)], repetitions=1)
    assert len(found["disagreeing"]) == len(gpu_ways.WAYS) and found["disagreeing"]["tiny of (5, 6, 7)"] == "error nan"


def test_the_limits_whose_choices_cost_least():
    fast, slow = {"plain": 4.0, "tiny": 3.0, "small": 1.0, "large": 2.0}, {"plain": 1.0, "tiny": 2.0, "small": 2.0}
    times = {(128, 256, 784): fast, (16, 16, 16): slow}  # the first has 32 small tiles, the second 4096 multiply-adds
    assert gpu_ways.cost(times, 64, 16384) == (3 + 1) / 2
    assert gpu_ways.cost(times, 32, 16384) == 1
    assert gpu_ways.cost(times, 32, 2048) == (1 + 2) / 2
    assert gpu_ways.cost(times, 1, 16384) == (2 + 1) / 2
    assert gpu_ways.cost(times, 1, 2048) == (2 + 2) / 2  # a way that was not tried counts as the slowest


def test_a_rung_that_writes_nothing_has_no_finite_error():
    place = place_with(Clock(tick=6), "cpu", lambda *arguments: None)
    found = gpu_products.products(place, None, sizes=(3,), repetitions=1)
    assert np.isnan(found["3"]["naive"]["error"])
    assert np.isfinite(found["3"]["dense layer"]["error"]) and found["3"]["naive"]["share_of_cublas"] is None


def test_every_operation_is_measured_beside_a_copy_of_as_many_bytes(few_calls):
    found = gpu_elementwise.elementwise(place_with(Clock(tick=100)), None, (80,), repetitions=1, features=8)
    assert found["missing"] == found["disagreeing"] == {}
    rows = found["sizes"]["80"]
    assert rows.keys() == OPERATIONS.keys()
    for name, row in rows.items():
        assert row["bytes"] == OPERATIONS[name] * 80 * 4
        assert row["share"] == {"minidl": 1, "copy by kernel": 1, "copy by driver": 1}


@pytest.mark.parametrize("operation", ["gelu backward", "batch norm backward", "softmax cross-entropy forward", "adam"])
def test_the_other_framework_is_compared_and_measured(operation, few_calls):
    clock = Clock(tick=50)
    arguments = place_with(clock), Peer(clock), (80,), 1, (operation,), 8
    assert gpu_elementwise.elementwise(*arguments)["sizes"]["80"][operation]["share"]["PyTorch"] == 1


def test_an_operation_that_differs_is_not_measured_and_one_that_cannot_be_captured_is_alone(monkeypatch, few_calls):
    clock = Clock(tick=1)
    peer = Peer(clock)
    monkeypatch.setitem(with_numpy.FORWARD, "relu", np.abs)
    arguments = place_with(clock), peer, (80,), 1, ("relu forward", "sgd"), 8

    def refuse(function):
        raise RuntimeError("not while capturing")

    peer.capture = refuse
    found = gpu_elementwise.elementwise(*arguments)
    assert found["disagreeing"].keys() == {"relu forward"} and found["missing"] == {
        "sgd": "RuntimeError: not while capturing"
    }
    assert found["sizes"]["80"].keys() == {"sgd"}
    assert "PyTorch" not in found["sizes"]["80"]["sgd"]["share"]


def test_pytorch_on_the_cpu_trains_and_computes_like_minidl(monkeypatch, few_calls):
    pytest.importorskip("torch")
    from benchmarks import gpu_torch

    clock = Clock(tick=1)
    monkeypatch.setattr(gpu_torch, "DEVICE", "cpu")
    monkeypatch.setattr(gpu_torch, "event", clock.event)
    monkeypatch.setattr(gpu_torch, "capture", lambda function: function)
    made = gpu_torch.step_contenders
    monkeypatch.setattr(
        gpu_torch, "step_contenders", lambda problem: {name: made(problem)[name] for name in ("PyTorch eager",)}
    )
    found = gpu_step.training_step(place_with(clock, "cpu"), gpu_torch, TINY, steps=1, repetitions=1)
    assert found["gpu"].keys() == {"minidl", "minidl by hand", "PyTorch eager"}
    names = [name for name in OPERATIONS if name != "dropout"]  # too few numbers here to count the dropped ones
    operations = gpu_elementwise.elementwise(place_with(clock), gpu_torch, (80,), 1, names, 8)
    assert operations["missing"] == operations["disagreeing"] == {}
    assert gpu_products.products(place_with(clock), gpu_torch, (20,), 1)["20"]["cuBLAS"]["error"] < 1e-6


def test_without_pytorch_the_rest_is_measured(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "benchmarks.gpu_torch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert gpu_check.import_peer() is None
    assert capsys.readouterr().out == "without PyTorch: torch is not installed\n"


def test_the_large_size_is_halved_until_it_fits():
    assert gpu_elementwise.large(139 * 2**30) == 2**26
    assert gpu_elementwise.large(80 * 2**25) == 2**25 and gpu_elementwise.large(80 * 2**25 - 1) == 2**24
    assert gpu_elementwise.large(0) == gpu_elementwise.SMALL


# The page -------------------------------------------------------------------------------------------------------------


def made_up_result():
    """A GPU on which most targets are met."""
    rows = {
        name: {
            "bytes": 2**29,
            "milliseconds": {"minidl": 2.0, "PyTorch": 3.0},
            "share": {"minidl": 0.9, "PyTorch": 0.6},
        }
        for name in OPERATIONS
    }
    rows["gelu backward"]["share"]["minidl"] = 0.84
    product = {"milliseconds": 3.0, "teraflop_per_second": 45.8, "share_of_cublas": 0.8, "share_of_peak": 0.75}
    products = {
        "dense layer": {**product, "error": 2e-7},
        "3xTF32": {**product, "share_of_cublas": 1.3, "error": 3e-7},
        "cuBLAS": {**product, "share_of_cublas": 1.0, "error": 2e-7},
    }
    step = {
        "network": "784-512-256-10",
        "batch": 128,
        "missing": {"torch.compile": "RuntimeError: no compiler"},
        "disagreeing": {},
        "gpu": {"minidl": 0.05, "PyTorch eager": 0.2, "PyTorch graph": 0.06, "PyTorch graph fused": 0.04},
        "wall": {"minidl": 0.1, "PyTorch eager": 0.2, "PyTorch graph": 0.1, "PyTorch graph fused": 0.2},
    }
    versions = {"minidl": "0.1.0", "torch": None}
    machine = {"gpu": "A GPU", "compute_capability": "9.0", "driver": "580", "cuda_runtime": "13.0", "cores": 16}
    results = {
        "tests": {"exit_code": 1, "passed": 3, "skipped": 1, "failed": ["test_it"]},
        "comparison": {"seed": 1, "count": 400, "largest_error": {"float32": 1e-6, "float64": 1e-15}, "wrong": []},
        "sanitizer": {"missing": None, "tools": {"memcheck": {"exit_code": 0, "last_lines": []}}},
        "limits": {"fma_teraflop_per_second": 61.2, "copy_gigabyte_per_second": {"copy by driver": 4321.4}},
        "step": step,
        "products": {"4096": products},
        "ways": {
            "shapes": {
                "128 × 512 × 784": {
                    "milliseconds": {"tiny": 0.008, "small": 0.004},
                    "chosen": "tiny",
                    "fastest": "small",
                    "error": {},
                }
            },
            "now": {"ENOUGH_BLOCKS": 64, "LITTLE": 16384, "cost": 2.0},
            "best": {"ENOUGH_BLOCKS": 32, "LITTLE": 8192, "cost": 1.0},
            "disagreeing": {},
        },
        "elementwise": {"missing": {}, "disagreeing": {}, "sizes": {"67108864": rows}},
    }
    return {
        "date": "today",
        "quick": False,
        "machine": {**machine, "system": "Linux", "versions": versions},
        "parts": {name: {"date": "today", "seconds": 1.0, "result": found} for name, found in results.items()},
    }


def test_the_page_has_the_machine_all_parts_and_the_targets_as_numbers():
    text = gpu_report.markdown(made_up_result())
    for line in (
        "A GPU, compute capability 9.0, driver 580, CUDA 13.0; 16 cores, Linux; minidl 0.1.0; today.",
        "| target | wanted | measured | verdict | note |",
        "| product 4096³ in float32, times cuBLAS | ≥ 0.95 | 0.800 | missed |  |",
        "| product 4096³ with 3xTF32 at float32 accuracy, times cuBLAS | ≥ 1.6 | 1.300 | missed | "
        "error 3.0e-07, cuBLAS 2.0e-07 |",
        "| elementwise, least share of the copy bandwidth | ≥ 0.9 | 0.840 | missed | gelu backward |",
        "| batch norm, least share of the copy bandwidth | ≥ 0.8 | 0.900 | met | batch norm forward |",
        "| step, 40 µs over its time between events | ≥ 1 | 0.800 | missed |  |",
        "| step, times PyTorch eager, between events | ≥ 3 | 4.000 | met |  |",
        "| step, times PyTorch with CUDA graphs, between events | ≥ 1 | 0.800 | missed |  |",
        "| step, times PyTorch eager, by the clock of the host | ≥ 3 | 2.000 | missed |  |",
        "| step, times PyTorch with CUDA graphs, by the clock of the host | ≥ 1 | 1.000 | met |  |",
        "3 passed, 1 skipped, 1 failed: test_it.",
        "400 calls against the CPU in float64, 0 wrong; largest error 1.0e-06 in float32, 1.0e-15 in float64.",
        "- memcheck: nothing found",
        "float32 multiply-adds 61.2 TFLOP/s; copy by driver 4,321 GB/s, read and written.",
        "| PyTorch eager | 200 µs | 4.00 | 200 µs | 2.00 |",
        "torch.compile is left out: RuntimeError: no compiler.",
        "| dense layer | 3 ms | 45.8 | 0.80 | 75% | 2.0e-07 |",
        "| 128 × 512 × 784 | 8 µs | 4 µs | tiny | small |",
        "| gelu backward | 512 MiB | 2 ms | 84% | 3 ms | 60% | 1.50 |",
    ):
        assert line in text.splitlines(), line
    assert "A quick run" not in text
    assert (
        "take 2.00 times as long as by the fastest ways, on average; with ENOUGH_BLOCKS = 32 and LITTLE = 8192" in text
    )
    result = made_up_result()
    result["parts"]["ways"]["result"]["best"]["cost"] = 1.99  # of 2: that much comes and goes
    result["parts"]["ways"]["result"]["disagreeing"] = {"plain of (1, 2, 3)": "error 1.0e-02"}
    text = gpu_report.markdown(result)
    assert "no other limits that were tried cost noticeably less. Nothing is to be done." in text
    assert "**plain of (1, 2, 3) disagrees: error 1.0e-02.**" in text


def test_what_was_not_measured_is_neither_met_nor_missed():
    result = made_up_result()
    del result["parts"]["products"]
    result["parts"]["step"] = {"date": "today", "seconds": 1.0, "error": "RuntimeError: out of memory"}
    del result["parts"]["elementwise"]["result"]["sizes"]["67108864"]["adam"]
    result["quick"] = True
    text = gpu_report.markdown(result)
    assert "**step broke off: RuntimeError: out of memory.**" in text and "A quick run" in text
    assert "| optimizers, least share of the copy bandwidth | ≥ 0.9 |  | not measured |" in text
    assert text.count("not measured") == 8 and "## Training step" not in text


def test_what_the_sanitizer_found_is_on_the_page():
    result = made_up_result()
    found = result["parts"]["sanitizer"]["result"]
    found["tools"]["racecheck"] = {"exit_code": 99, "last_lines": ["a race at 0x10"]}
    assert "- racecheck: exit code 99\n      a race at 0x10\n" in gpu_report.markdown(result)
    found["missing"] = "no such program"
    assert "Not run: no such program." in gpu_report.markdown(result)


def test_a_wrong_product_does_not_meet_the_target():
    result = made_up_result()
    result["parts"]["products"]["result"]["4096"]["dense layer"]["error"] = 1e-3
    assert gpu_report.targets(result["parts"])[0].met is False


@pytest.mark.parametrize("error", [5e-7, float("nan")])
def test_tensor_cores_that_are_not_accurate_do_not_meet_the_target(error):
    result = made_up_result()
    result["parts"]["products"]["result"]["4096"]["3xTF32"]["error"] = error
    (target,) = [target for target in gpu_report.targets(result["parts"]) if "3xTF32" in target.what]
    assert target.measured == 1.3 and target.met is False


# Tests and the file ---------------------------------------------------------------------------------------------------


def test_the_results_of_a_test_run_are_counted(tmp_path):
    file = tmp_path / "test_some.py"
    file.write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "def test_left_out(): pytest.skip()\n"
        "@pytest.fixture\n"
        "def broken(): raise ValueError\n"
        "def test_error(broken): pass\n"
    )
    found = gpu_check.run_tests([str(file), "-n", "0", "-p", "no:cacheprovider"])
    assert found["exit_code"] == 1
    assert (found["passed"], found["skipped"]) == (1, 1)
    assert sorted(name.rpartition(".")[2] for name in found["failed"]) == ["test_bad", "test_error"]
    assert found["seconds"] > 0


def test_pytest_that_does_not_start_is_a_failure():
    found = gpu_check.run_tests(["--no-such-option", "--noconftest"])
    assert found["exit_code"] != 0 and found["failed"]


@pytest.fixture
def on_a_gpu(monkeypatch):
    """All parts replaced, as if there were a GPU on which everything passes."""
    monkeypatch.setattr(backends, "available", lambda: {"cuda": None})
    monkeypatch.setattr(gpu_timing, "gpu", lambda: None)
    monkeypatch.setattr(gpu_check, "import_peer", lambda: None)
    for name, part in made_up_result()["parts"].items():
        monkeypatch.setitem(gpu_check.PARTS, name, lambda run, found=part["result"]: found)
    return partial(monkeypatch.setitem, gpu_check.PARTS)


GOOD = {"exit_code": 0, "passed": 3, "skipped": 0, "failed": []}


def test_the_files_say_what_was_measured_and_where(on_a_gpu, tmp_path, capsys):
    out = tmp_path / "new" / "gpu.json"
    on_a_gpu("tests", lambda run: GOOD)
    assert gpu_check.main(["--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result.keys() == {"date", "machine", "quick", "parts", "not_run"} and not result["not_run"]
    assert list(result["parts"]) == list(gpu_check.PARTS)
    assert {"gpu", "driver", "cuda_runtime", "versions"} <= result["machine"].keys()
    assert result["machine"]["versions"]["numpy"] == np.__version__
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert page == gpu_report.markdown(result) and page in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("tests", {**GOOD, "exit_code": 1, "failed": ["test_it"]}),
        ("tests", {**GOOD, "exit_code": 3}),
        ("comparison", {"wrong": [{"operation": "softmax"}]}),
        ("sanitizer", {"tools": {"memcheck": {"exit_code": 0}, "racecheck": {"exit_code": 99}}}),
        ("step", {"missing": {}, "disagreeing": {"PyTorch eager": "differs"}}),
        ("step", {"missing": {"minidl": "RuntimeError"}, "disagreeing": {}}),
        ("ways", {"disagreeing": {"tiny of (1, 2, 3)": "error nan"}}),
        ("elementwise", {"disagreeing": {"adam": "differs"}}),
        ("products", {"1024": {"naive": {"error": 1e-4}}}),
        ("products", {"1024": {"naive": {"error": 1e-7}, "tf32": {"error": float("nan")}}}),
    ],
)
def test_what_differs_fails(name, found):
    assert not gpu_check.passed(name, {"result": found})
    good = {
        "tests": GOOD,
        "comparison": {"wrong": []},
        "sanitizer": {"tools": {}},
        "products": {"1024": {"tf32": {"error": 1e-4}}},
    }
    assert gpu_check.passed(name, {"result": good.get(name, {"missing": {"torch.compile": ""}, "disagreeing": {}})})


def test_a_part_that_breaks_off_fails_and_the_others_run(on_a_gpu, tmp_path, capsys):
    def broken(run):
        raise RuntimeError("out of memory")

    out = tmp_path / "gpu.json"
    on_a_gpu("limits", broken)
    assert gpu_check.main(["--out", str(out), "--only", "elementwise", "limits"]) == 1
    parts = json.loads(out.read_text())["parts"]
    assert parts["limits"]["error"] == "RuntimeError: out of memory" and "result" in parts["elementwise"]
    printed = capsys.readouterr()
    assert "limits: FAILED" in printed.out and "in broken" in printed.err


def test_a_run_that_is_cut_off_leaves_what_it_has(on_a_gpu, tmp_path):
    def cut_off(run):
        raise KeyboardInterrupt

    out = tmp_path / "gpu.json"
    on_a_gpu("step", cut_off)
    with pytest.raises(KeyboardInterrupt):
        gpu_check.main(["--out", str(out)])
    assert list(json.loads(out.read_text())["parts"]) == ["comparison", "limits"]
    assert "## Limits" in out.with_suffix(".md").read_text(encoding="utf-8")


def wait(run):
    with contextlib.suppress(Exception):  # a part may take an exception for a result
        time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no alarms")
def test_when_the_time_is_over_the_rest_is_not_run_and_named(on_a_gpu, tmp_path, capsys):
    out, before = tmp_path / "gpu.json", signal.getsignal(signal.SIGALRM)
    on_a_gpu("step", wait)
    assert gpu_check.main(["--out", str(out), "--minutes", "0.02"]) == 3
    result, late = json.loads(out.read_text()), ["step", "products", "elementwise", "tests", "ways", "sanitizer"]
    assert list(result["parts"]) == ["comparison", "limits"] and result["not_run"] == late
    printed = capsys.readouterr().out
    assert "step: not run: out of time" in printed and f"--minutes 0.04 --only {' '.join(late)}" in printed
    assert "Not run: out of time: step, products" in out.with_suffix(".md").read_text(encoding="utf-8")
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_what_failed_before_the_time_was_over_counts_more(on_a_gpu, tmp_path):
    on_a_gpu("tests", lambda run: {**GOOD, "exit_code": 1})
    on_a_gpu("ways", wait)
    assert gpu_check.main(["--out", str(tmp_path / "gpu.json"), "--minutes", "0.02"]) == 1


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_minutes_are_more_than_0(minutes, capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(["--minutes", minutes])
    assert f"--minutes got {minutes}; expected more than 0" in capsys.readouterr().err


def test_only_some_parts_are_added_to_the_earlier_ones_of_the_same_machine(on_a_gpu, tmp_path, monkeypatch):
    out = tmp_path / "gpu.json"
    gpu_check.main(["--out", str(out), "--only", "step"])
    gpu_check.main(["--out", str(out), "--only", "limits"])
    assert list(json.loads(out.read_text())["parts"]) == ["limits", "step"]
    gpu_check.main(["--out", str(out), "--only", "products", "--quick"])
    assert list(json.loads(out.read_text())["parts"]) == ["products"]
    monkeypatch.setattr(gpu_check.device, "name", lambda: "another GPU")
    gpu_check.main(["--out", str(out), "--only", "limits", "--quick"])
    assert list(json.loads(out.read_text())["parts"]) == ["limits"]


def test_the_products_know_the_gpu_and_the_peak_that_was_measured(on_a_gpu, tmp_path, monkeypatch):
    known = []
    monkeypatch.setattr(gpu_products, "products", lambda *arguments: known.append(arguments[4:]) or {})
    monkeypatch.setattr(gpu_check.device, "capability", lambda: (7, 5))
    on_a_gpu("products", gpu_check.products)
    for only in ("products", "limits", "products"):
        gpu_check.main(["--out", str(tmp_path / "gpu.json"), "--only", only])
    assert known == [(None, (7, 5)), (61.2, (7, 5))]


def test_results_that_cannot_be_written_leave_the_old_files(on_a_gpu, tmp_path):
    out = tmp_path / "gpu.json"
    out.write_text("old")
    out.with_suffix(".md").write_text("old")
    found = made_up_result()["parts"]["comparison"]["result"]
    on_a_gpu("comparison", lambda run: {**found, "seed": object()})
    with pytest.raises(TypeError):
        gpu_check.main(["--out", str(out)])
    assert out.read_text() == out.with_suffix(".md").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json", "gpu.md"]


def test_the_parts_run_on_stand_ins(monkeypatch):
    clock = Clock(tick=1)
    run = gpu_check.Run(place_with(clock, "cpu"), None, seed=3, sizes=gpu_check.QUICK)
    found = gpu_check.comparison(run)
    assert found["wrong"] == [] and found["largest_error"].keys() == {"float32", "float64"} and found["seed"] == 3
    assert 0 < found["largest_error"]["float32"] < 2e-5
    taken = []
    monkeypatch.setattr(gpu_step, "training_step", lambda *arguments: taken.append(arguments[2:]))
    monkeypatch.setattr(gpu_elementwise, "elementwise", lambda *arguments, **options: taken.append(arguments[2:]))
    monkeypatch.setattr(gpu_limits, "fma_peak", lambda *arguments: taken.append(arguments[1:]))
    monkeypatch.setattr(gpu_limits, "copy_bandwidth", lambda *arguments: taken.append(arguments[1:]))
    monkeypatch.setattr(gpu_check.device, "free_memory", lambda: 0)
    for sizes in (gpu_check.QUICK, gpu_check.WHOLE):
        run = gpu_check.Run(run.place, None, 3, sizes)
        for part in (gpu_check.step, gpu_check.elementwise, gpu_check.limits):
            part(run)
    quick, whole = taken[:4], taken[4:]
    assert quick == [(gpu_check.QUICK.problem, 2, 1), ((2**10,), 1), (1, 2, 1), (2**10, 1)]
    # What a GPU has no memory for is as small as can be.
    assert whole == [(gpu_step.PROBLEM, 50, 20), ((2**17, 2**17), 10), (20, 4096, 256), (2**17, 20)]


def test_every_tool_of_the_sanitizer_runs_the_comparison(monkeypatch):
    commands = []

    def run(command, **options):
        assert options["stderr"] == subprocess.STDOUT  # where the comparison says why it broke off
        commands.append(command)
        return SimpleNamespace(returncode=99 * ("racecheck" in command), stdout="before\n" * 30 + "a race\n")

    monkeypatch.setattr(gpu_check.subprocess, "run", run)
    monkeypatch.setattr(gpu_check.shutil, "which", lambda program: None)
    assert "not on the path" in gpu_check.run_sanitizer()["missing"] and not commands
    monkeypatch.setattr(gpu_check.shutil, "which", lambda program: f"/bin/{program}")
    found = gpu_check.run_sanitizer()["tools"]
    assert list(found) == ["memcheck", "racecheck", "initcheck", "synccheck"]
    assert [command[:5] for command in commands] == [
        ["/bin/compute-sanitizer", "--tool", tool, "--error-exitcode", "99"] for tool in found
    ]
    assert all({"--quick", "comparison"} <= {*command} for command in commands)
    assert found["memcheck"] == {"exit_code": 0, "last_lines": []}
    assert found["racecheck"]["exit_code"] == 99
    assert found["racecheck"]["last_lines"] == ["before"] * 19 + ["a race"]


@pytest.mark.skipif(device.why_not() is not None, reason="no GPU")
def test_all_parts_but_the_tests_run_on_cuda(tmp_path):
    out = tmp_path / "gpu.json"
    parts = [name for name in gpu_check.PARTS if name not in ("tests", "sanitizer")]
    command = [sys.executable, gpu_check.__file__, "--quick", "--out", str(out), "--only", *parts]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(json.loads(out.read_text())["parts"]) == parts
