"""scripts/gpu_check.py as far as it goes without a GPU: its parts with stand-ins for the device and the clock."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from minidl import backend as backends
from minidl.cuda.ladder import RUNGS
from minidl.emulator import launch
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
    assert {row["operation"].split()[0] for row in rows} == set(backends.minidl.cuda.__all__)
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


# Benchmarks -----------------------------------------------------------------------------------------------------------


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


def test_a_measurement_is_the_average_of_its_steps():
    clock = Clock()
    assert gpu_check.between_events(clock.event, partial(clock.run, 4), steps=10)() == 4


def test_contenders_take_turns_and_the_first_round_does_not_count():
    calls = []
    figures = iter(range(100))

    def measure(name):
        calls.append(name)
        return next(figures)

    found = gpu_check.take_turns({"a": partial(measure, "a"), "b": partial(measure, "b")}, repetitions=3)
    assert calls == ["a", "b"] * 4
    assert found == {"a": [2, 4, 6], "b": [3, 5, 7]}


def test_the_ratio_says_how_many_times_as_fast_minidl_is():
    assert gpu_check.summary({"minidl": [9.0, 2.0, 1.0], "torch": [3.0, 30.0, 3.0]})["ratio"] == 1.5
    alone = gpu_check.summary({"minidl": [1.0, 2.0]})
    assert alone["ratio"] is None and alone["median_milliseconds"] == {"minidl": 1.5}


def test_the_benchmarks_run_on_any_backend():
    step = gpu_check.benchmark_step(Clock(tick=8), None, backend="cpu", steps=2, repetitions=3)
    assert step["milliseconds"] == {"minidl": [4, 4, 4]} and step["ratio"] is None
    product = gpu_check.benchmark_product(Clock(tick=6), None, backend="cpu", size=100, repetitions=2)
    assert product["milliseconds"] == {"minidl": [2, 2]}  # three products between two events
    assert product["teraflop_per_second"] == {"minidl": pytest.approx(2e6 / 2e-3 / 1e12)}


def test_every_rung_of_the_ladder_is_measured_and_compared():
    found = gpu_check.benchmark_ladder(Clock(tick=6), None, launch, backend="emulator", sizes=(20,), repetitions=1)
    assert found.keys() == {"20"} and found["20"].keys() == RUNGS.keys()
    for name, figures in found["20"].items():
        assert figures["milliseconds"] == 2 and figures["share_of_torch"] is None
        assert figures["teraflop_per_second"] == pytest.approx(2 * 20**3 / 2e-3 / 1e12)
        assert figures["error"] < (1e-3 if name == "tf32" else 1e-6)


def test_a_rung_that_writes_nothing_has_no_finite_error():
    launch = lambda *arguments: None  # noqa: E731
    found = gpu_check.benchmark_ladder(Clock(tick=6), None, launch, backend="cpu", sizes=(3,), repetitions=1)
    assert np.isnan(found["3"]["naive"]["error"])


def test_the_training_step_trains():
    step, model = gpu_check.minidl_step("cpu")
    before = model.parameters()[0].value.copy()
    step()
    assert not np.array_equal(model.parameters()[0].value, before)


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
    found = gpu_check.run_tests(["--no-such-option"])
    assert found["exit_code"] != 0 and found["failed"]


@pytest.fixture
def on_a_gpu(monkeypatch):
    """All parts replaced, as if there were a GPU on which everything passes."""
    benchmark = {"median_milliseconds": {"minidl": 1.0}, "ratio": None, "milliseconds": {"minidl": [1.0]}}
    monkeypatch.setattr(backends, "available", lambda: {"cuda": None})
    monkeypatch.setattr(backends, "get", lambda name: None)
    monkeypatch.setattr(gpu_check, "import_torch", lambda: None)
    monkeypatch.setattr(gpu_check, "run_tests", lambda: {"exit_code": 0, "passed": 3, "failed": []})
    monkeypatch.setattr(gpu_check, "compare_all", lambda backend, seed: [{"operation": "softmax", "passed": True}])
    monkeypatch.setattr(gpu_check, "benchmark_step", lambda cuda, torch: benchmark)
    monkeypatch.setattr(gpu_check, "benchmark_product", lambda cuda, torch: benchmark)
    rungs = {"naive": {"milliseconds": 1.0, "teraflop_per_second": 1.0, "share_of_torch": None, "error": 0.0}}
    monkeypatch.setattr(gpu_check, "benchmark_ladder", lambda cuda, torch: {"1024": rungs})
    return monkeypatch


def test_the_file_says_what_was_measured_and_where(on_a_gpu, tmp_path):
    out = tmp_path / "new" / "gpu.json"
    assert gpu_check.main(["--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result.keys() == {"what", "date", "machine", "tests", "comparison", "seed", "benchmarks", "ladder"}
    assert result["what"].keys() == {"tests", "comparison", "benchmarks", "ladder"}
    assert result["benchmarks"].keys() == {"training_step", "matrix_product"}
    assert {"gpu", "driver", "cuda_runtime", "versions"} <= result["machine"].keys()
    assert result["machine"]["versions"]["numpy"] == np.__version__


def test_a_failed_test_or_a_wrong_operation_fails(on_a_gpu, tmp_path, capsys):
    out = tmp_path / "gpu.json"
    on_a_gpu.setattr(gpu_check, "run_tests", lambda: {"exit_code": 1, "passed": 3, "failed": ["test_it"]})
    assert gpu_check.main(["--out", str(out)]) == 1
    assert json.loads(out.read_text())["tests"]["failed"] == ["test_it"]
    assert gpu_check.main(["--out", str(out), "--skip-tests"]) == 0
    wrong = {"operation": "softmax", "dtype": "float32", "largest_error": 0.5, "passed": False}
    on_a_gpu.setattr(gpu_check, "compare_all", lambda backend, seed: [wrong])
    assert gpu_check.main(["--out", str(out), "--skip-tests"]) == 1
    assert "softmax in float32 is off by 0.5" in capsys.readouterr().err


def test_a_run_that_breaks_off_leaves_the_old_file(on_a_gpu, tmp_path):
    out = tmp_path / "gpu.json"
    out.write_text("old")
    on_a_gpu.setattr(gpu_check, "benchmark_product", lambda cuda, torch: {"ratio": object()})
    with pytest.raises(TypeError):
        gpu_check.main(["--out", str(out)])
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]
