"""The benchmarks measure what they say, and stop where results disagree. No test asserts a time."""

from __future__ import annotations

import json
import sys
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import cpu_report, cpu_speed, fresh, limits, machine, parallel, products, turns
from benchmarks.elementwise import with_minidl as our_operations
from benchmarks.elementwise import with_numpy as numpy_operations
from benchmarks.elementwise.given import OPERATIONS, Given
from benchmarks.peers import with_minidl, with_numpy
from benchmarks.peers.problem import Problem
from benchmarks.turns import Disagreement
from tests.ranks import Threads

BENCHMARKS = Path(cpu_speed.__file__).parent
TINY = (12, 8, 4, 3)
SETTINGS = cpu_speed.Settings(threads=1, repetitions=2, turn_seconds=0.0, quick=True, mnist=None)


@pytest.fixture
def alone(monkeypatch):
    """As if none of the other frameworks were installed, and with small networks."""
    for package, module in (("torch", "torch"), ("jax", "jax"), ("sklearn", "sklearn")):
        monkeypatch.setitem(sys.modules, package, None)
        for folder in ("peers", "elementwise"):
            monkeypatch.delitem(sys.modules, f"benchmarks.{folder}.with_{module}", raising=False)
    monkeypatch.setattr(cpu_speed, "DIGITS", TINY)
    monkeypatch.setattr(limits, "fma_peak", lambda: 1e11)


# The workloads --------------------------------------------------------------------------------------------------------


def test_training_steps_are_measured_without_the_other_frameworks(alone):
    result = {
        "date": "today", "versions": {}, "settings": {"repetitions": 2, "turn_seconds": 0.0, "quick": True},
        "machine": cpu_speed.machine.describe(), "runs": [cpu_speed.work(["step", "normalized"], SETTINGS)],
    }  # fmt: skip
    table = result["runs"][0]["workloads"]["step"]
    assert [row["case"] for row in table["rows"]] == ["batch 1", "batch 128"]
    for row in table["rows"]:
        assert {name: len(times) for name, times in row["measured"].items()} == {
            "NumPy": 2, "minidl": 2, "minidl by hand": 2,
        }  # fmt: skip
        assert min(times for name in row["measured"] for times in row["measured"][name]) > 0
    assert table["missing"] == {"JAX jit": "jax is not installed", "PyTorch": "torch is not installed"}
    row = table["rows"][0]["measured"]
    result = cpu_report.medians(result)
    text = cpu_report.markdown(result)
    assert "PyTorch: torch is not installed." in text
    assert text.count("| batch 128 |") == 2
    (axes,) = cpu_report.figure([result]).axes
    assert [line.get_label() for line in axes.get_lines()] == ["minidl", "NumPy"]
    page = cpu_report.overview({"here": result, "there": result})
    assert page.count(f"| {result['machine']['processor']}, 1 thread ") == 2
    assert "batch 128 | " in page and "JAX" not in page.partition("|---")[2]
    ratio = sum(row["NumPy"]) / sum(row["minidl"])  # of two turns the median is the mean
    np.testing.assert_allclose(axes.get_lines()[1].get_ydata()[0], ratio, rtol=1e-5)
    assert f"(× {ratio:.2f}) |" in text


def test_the_figures_that_are_kept_give_the_pages_that_are_kept():
    results = BENCHMARKS / "results"
    kept = {}
    for path in sorted((results / "cpu_speed").glob("*.json")):
        kept[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        assert kept[path.stem]["machine"]["processor"] == path.stem
        assert cpu_report.markdown(kept[path.stem]) == path.with_suffix(".md").read_text(encoding="utf-8")
    assert len(kept) >= 2, "of one processor only"
    assert cpu_report.overview(kept) == (results / "cpu_speed.md").read_text(encoding="utf-8")
    assert cpu_report.medians({"measured": {"minidl": [3.0, 1.0, 2.0000001]}, "rest": [1]}) == {
        "measured": {"minidl": 2.0}, "rest": [1],
    }  # fmt: skip


def test_json_is_written_with_an_inner_object_on_a_line():
    value = {"machine": {"cores": 2, "cpu": "é"}, "runs": [{"x": [1.5] * 100}]}
    text = machine.as_json(value)
    assert json.loads(text) == value
    assert text.splitlines()[:3] == ["{", ' "machine": {"cores": 2, "cpu": "é"},', ' "runs": [']
    assert text.count("\n") > 100  # the long list


def test_the_rest_is_skipped_with_a_reason_where_mnist_is_missing(alone, tmp_path):
    settings = cpu_speed.replace(SETTINGS, mnist=str(tmp_path))
    for workload in (cpu_speed.epoch, cpu_speed.memory):
        table = workload(settings)
        assert table["rows"] == []
        assert "train-images-idx3-ubyte.gz is missing" in table["note"]


def test_a_wrong_update_stops_the_benchmark(alone, monkeypatch):
    monkeypatch.setattr(with_numpy, "MOMENTUM", 0.89)
    with pytest.raises(Disagreement, match="batch 1, parameter 0: NumPy and minidl differ"):
        cpu_speed.plain(SETTINGS)


@pytest.mark.parametrize(
    "options", [{}, {"activation": "tanh"}, {"batch_norm": True, "optimizer": "adam"}], ids=["relu", "tanh", "adam"]
)
def test_ten_steps_of_numpy_and_minidl_end_with_the_same_weights(options):
    problem = Problem((20, 16, 12, 5), 32, **options)
    peers = {"NumPy": with_numpy.Peer(problem), **with_minidl.peers(problem)}
    assert cpu_speed.compare("step", problem, peers) == {}


def test_dropout_keeps_its_share_in_the_numpy_step():
    problem = Problem((20, 400, 5), 64, dropout=0.2)
    peer = with_numpy.Peer(problem)
    peer.run(1)
    mask = peer._masks[0]
    np.testing.assert_allclose(np.unique(mask), [0, 1.25])
    assert abs((mask > 0).mean() - 0.8) < 0.02


def test_the_arithmetic_of_a_step_counts_three_products_and_two_in_the_first_layer():
    assert Problem((7, 5, 3), 2).flops == 2 * 2 * (2 * 7 * 5 + 3 * 5 * 3)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_numpy_and_minidl_compute_the_same_operation(operation):
    given = Given(256 * 40)
    ours, theirs = (module.prepare(operation, given) for module in (our_operations, numpy_operations))
    for _ in range(3):  # optimizers go on from where they are
        results = {name: given.comparable(operation, call()) for name, call in (("NumPy", theirs), ("minidl", ours))}
        turns.agree(operation, results, tolerance=1e-4)


@pytest.mark.parametrize("kind", products.KINDS)
def test_the_products_of_a_dense_layer(kind):
    product = products.Product(kind, 5, 7, 3)
    a, b, _ = products.operands(product)
    expected = {"forward": lambda: a @ b, "weight gradient": lambda: a.T @ b, "input gradient": lambda: a @ b.T}[kind]()
    for prepare in (products.by_minidl, products.by_numpy):
        compute, c = prepare(product)
        compute()
        np.testing.assert_allclose(c, expected, rtol=1e-5, atol=1e-6)
    with products.other_kernels("") as other:  # "": the kernels that OpenBLAS chooses by itself
        np.testing.assert_allclose(other.take(product), expected, rtol=1e-5, atol=1e-6)
        other.run(3)


def test_the_loop_for_the_peak_computes_what_it_says():
    values = np.full(limits.LANES[0], 3.0, np.float32)
    limits._fma_kernel(limits.LANES[0])(values, 100)
    # a ← a/2 + 3 ends at 6, from wherever it starts; each lane gets the sum of its accumulators.
    np.testing.assert_allclose(values, 6 * limits.ACCUMULATORS, rtol=1e-6)


# Comparing and taking turns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [[1.0, 2.0, 3.1], [1.0, 2.0, np.nan], [1.0, 2.0], [[1.0, 2.0, 3.0]]], ids=["value", "nan", "size", "shape"]
)
def test_a_wrong_result_is_a_disagreement(wrong):
    right = np.array([1.0, 2.0, 3.0])
    turns.agree("x", {"a": [right], "b": [right + 1e-6]})
    with pytest.raises(Disagreement):
        turns.agree("x", {"a": [right], "b": [right], "c": [np.array(wrong)]})


def test_a_reference_that_is_not_finite_is_a_disagreement():
    with pytest.raises(Disagreement):
        turns.agree("x", {"a": [np.array([np.nan])]})


def test_weights_may_differ_by_one_percent_of_what_they_have_learned():
    start, learned = np.zeros(1000), np.full(1000, 1e-3)
    turns.trained_alike("w", [start], {"a": [learned], "b": [1.009 * learned]})
    one_unit = learned.copy()
    one_unit[0] *= 1.25  # a ReLU that was open in one and closed in the other
    turns.trained_alike("w", [start], {"a": [learned], "b": [one_unit]})
    for wrong in (1.011 * learned, -learned, start, np.full(1000, np.nan)):
        with pytest.raises(Disagreement):
            turns.trained_alike("w", [start], {"a": [learned], "b": [wrong]})
    with pytest.raises(Disagreement):  # nothing was learned: nothing was compared
        turns.trained_alike("w", [start], {"a": [start], "b": [start]})
    with pytest.raises(Disagreement):  # more than 1e-4, though it is less than 1 %
        turns.trained_alike("w", [start], {"a": [100 * learned], "b": [100.2 * learned]})


def test_contenders_take_turns_and_each_is_first_in_its_turn(monkeypatch):
    calls = []
    clock = cycle([0.0, 0.5])  # each call takes half a second
    monkeypatch.setattr(turns.time, "perf_counter", lambda: next(clock))
    contenders = {name: lambda steps, name=name: calls.append((name, steps)) for name in "abc"}
    taken = turns.in_turns(contenders, repetitions=3, seconds=10.0, at_least=4)
    measured = calls[6:]  # after the first steps and one that says how many fit into a turn
    assert [name for name, _ in measured] == list("abcbcacab")
    assert {steps for _, steps in measured} == {20}
    assert taken == {name: [0.5 / 20] * 3 for name in "abc"}


# Processes ------------------------------------------------------------------------------------------------------------


def test_a_quick_run_writes_tables_and_a_picture(tmp_path, capsys):
    """It starts its file again as a program, for each number of threads."""
    command = ["--quick", "--threads", "1", "--repetitions", "1", "--only", "normalized"]
    assert cpu_speed.main([*command, "--out", str(tmp_path / "speed")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "speed.md", "speed.png"]
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert text.strip() == capsys.readouterr().out.strip()
    assert "A quick run" in text
    (run,) = json.loads((tmp_path / "speed.json").read_text())["runs"]
    assert run["threads"] == 1
    assert all(pool.endswith(": 1") for pool in run["thread_pools"])


@pytest.mark.parametrize("threads", [1, 2])
def test_every_library_is_told_its_number_of_threads(threads):
    variables = cpu_speed.environment(threads)
    for name in ("OMP", "OPENBLAS", "MKL", "NUMBA", "MINIDL"):
        assert variables[f"{name}_NUM_THREADS"] == str(threads)
    assert ("eigen=false" in variables["XLA_FLAGS"]) == (threads == 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not count the memory of a process this way")
def test_the_memory_of_a_process_is_its_own(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((256, 784), np.float32))
    np.save(tmp_path / "labels.npy", np.zeros(256, np.int64))
    ballast = np.ones(1 << 26)  # half a gigabyte in the process that asks
    peaks = {peer: cpu_speed.fresh(peer, "--epoch", str(tmp_path))["bytes"] for peer in ("nothing", "minidl")}
    assert 1 << 24 < peaks["nothing"] < peaks["minidl"] < ballast.nbytes
    assert fresh.memory_peak() > ballast.nbytes


@pytest.mark.parametrize("peer", ["numpy", "minidl"])
def test_the_first_step_in_a_process_is_timed(peer):
    seconds = cpu_speed.fresh(peer)
    assert seconds.keys() == {"import", "first step"}
    assert min(seconds.values()) > 0


# Ranks ----------------------------------------------------------------------------------------------------------------


def test_ranks_are_compared_with_one_and_with_linear():
    def run(strong, weak, **alone):
        taken = {"strong": strong, "weak": weak, **alone}
        return [{kind: {str(b): {"step": t, "sums": t / 10} for b in parallel.BATCHES} for kind, t in taken.items()}]

    result = {
        "date": "today", "machine": {"cpu": "this", "load_average_before": 0.1},
        "settings": {"steps": 1, "repetitions": 1, "parts": 8},
        "runs": {1: run(0.2, 0.2, alone=0.1), 2: run(0.1, 0.25)},
    }  # fmt: skip
    rows = parallel.markdown(result).splitlines()
    assert "| 512 | 100.0 ms | 1 | 200.0 ms | 1.00 × | 10% | 200.0 ms | 100% |" in rows
    assert "| 2048 | 100.0 ms | 2 | 100.0 ms | 2.00 × | 10% | 250.0 ms | 80% |" in rows


def test_ranks_with_other_weights_are_not_timed(monkeypatch):
    weights = iter("ab")

    def answer(*arguments, **options):
        result = {"strong": {str(b): {"weights": found} for found in next(weights) for b in parallel.BATCHES}}
        return SimpleNamespace(stdout=json.dumps(result))

    monkeypatch.setattr(parallel.subprocess, "run", answer)
    with pytest.raises(Disagreement, match="steps of 512 rows: ranks have other weights than one another"):
        parallel.measure([1, 2], steps=1, repetitions=1)


def test_the_time_of_sums_is_that_beside_the_leaves():
    (found,) = Threads(1).run(lambda comm: parallel.steps_of(parallel.TimedTeam(comm, 4), 8, 1))
    assert 0 < found["sums"] < found["step"]
