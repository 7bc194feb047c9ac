"""fit and evaluate: the loop, the order of the samples, the display, divergence, Ctrl-C, the same bits again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

import minidl as dl
from minidl import penalties
from minidl.training import run
from minidl.training.step import TrainingStep
from tests.conftest import copies

posix = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of this kind exist on POSIX only")


def data(rows=100, features=6, classes=3, seed=0):
    """A problem that a small network can learn: the class is the largest of the first features."""
    x = np.random.default_rng(seed).normal(size=(rows, features)).astype(np.float32)
    return dl.data.Dataset(x, x[:, :classes].argmax(axis=1))


def make(seed=0, backend="cpu", dtype="float32"):
    return dl.Sequential(
        dl.Dense(6, 12, init="he_normal"),
        dl.BatchNorm(12),
        dl.ReLU(),
        dl.Dropout(0.1),
        dl.Dense(12, 3),
        backend=backend,
        seed=seed,
        dtype=dtype,
    )


def plain(seed=0):
    """A network whose output does not depend on `training` or on the rest of the batch."""
    return dl.Sequential(dl.Dense(6, 8), dl.Tanh(), dl.Dense(8, 3), backend="cpu", seed=seed)


def fit(model, train=None, **options):
    defaults = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Adam(0.01), "epochs": 3, "batch_size": 16}
    return dl.fit(model, data() if train is None else train, **{**defaults, "progress": False, **options})


def assert_same_arrays(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


class AfterStep:
    """An optimizer that runs `action(number of the step)` after each step of another."""

    def __init__(self, monkeypatch, optimizer, action):
        self.steps = 0
        step = optimizer.step

        def observed(parameters):
            step(parameters)
            self.steps += 1
            action(self.steps)

        monkeypatch.setattr(optimizer, "step", observed)


class AfterUpdate:
    """Runs `action(number of the step)` after each update, of steps as they are written and of replayed ones."""

    def __init__(self, monkeypatch, action):
        self.steps = 0
        update = TrainingStep.update

        def observed(step):
            update(step)
            self.steps += 1
            action(self.steps)

        monkeypatch.setattr(TrainingStep, "update", observed)


GRAPH = pytest.mark.parametrize("graph", [False, True], ids=["written", "replayed"])


# The loop


def test_fit_learns(any_backend):
    rows = 300 if any_backend.name != "emulator" else 64
    model = make(backend=any_backend.name)
    history = fit(model, data(rows), epochs=8, optimizer=dl.Adam(0.03))
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > history["accuracy"][0]
    assert [epoch.epoch for epoch in history] == list(range(1, 9))
    assert model.epochs_trained == 8


def test_the_four_lines_by_hand_give_the_same_bits_as_fit(dtype):
    by_fit, by_hand, train = make(dtype=str(dtype)), make(dtype=str(dtype)), data()
    history = fit(by_fit, train, shuffle=False, epochs=2)

    model, loss, optimizer = by_hand, dl.SoftmaxCrossEntropy(), dl.Adam(0.01)
    means = []
    for _ in range(2):
        loss.restart()
        for start in range(0, 100, 16):
            x, labels = train.x[start : start + 16], train.y[start : start + 16]
            y = model.forward(x, training=True)
            loss.forward(y, labels)
            model.backward(loss.backward())
            optimizer.step(model.parameters())
        means.append(loss.mean_so_far())
    assert_same_arrays(copies(by_hand), copies(by_fit))
    assert means == list(zip(history["loss"], history["accuracy"], strict=True))


def test_the_averages_of_an_epoch_weigh_every_row_alike():
    # Steps too small to move a weight: the averages over batches of 16, ..., 16, 4 rows are those of the whole set.
    model, train = plain(), data()
    (epoch,) = fit(model, train, optimizer=dl.SGD(1e-30), epochs=1)
    whole = dl.evaluate(model, train, loss=dl.SoftmaxCrossEntropy())
    assert epoch.loss == pytest.approx(whole.loss, rel=1e-6)
    assert epoch.accuracy == pytest.approx(whole.accuracy, rel=1e-6)


def test_the_gradient_of_the_last_smaller_batch_is_used():
    model, train = plain(), data(17)
    before = copies(model)
    fit(model, train, epochs=1, optimizer=dl.SGD(0.1), shuffle=False)
    after_both = copies(model)
    model = plain()
    fit(model, train[:16], epochs=1, optimizer=dl.SGD(0.1), shuffle=False)
    assert not np.array_equal(copies(model)["0.weight"], before["0.weight"])
    assert not np.array_equal(copies(model)["0.weight"], after_both["0.weight"])


def test_a_batch_larger_than_the_data_is_the_data():
    large, exact = make(), make()
    fit(large, batch_size=1000)
    fit(exact, batch_size=100)
    assert_same_arrays(copies(large), copies(exact))


def test_validation_is_evaluated_after_each_epoch():
    model, test = make(), data(50, seed=1)
    history = fit(model, validation=test)
    final = dl.evaluate(model, test, loss=dl.SoftmaxCrossEntropy())
    assert (history["validation_loss"][-1], history["validation_accuracy"][-1]) == final
    assert len(set(history["validation_loss"])) == 3


def test_validation_does_not_change_the_training():
    with_validation, without = make(), make()
    first = fit(with_validation, validation=data(50, seed=1))
    second = fit(without)
    assert_same_arrays(copies(with_validation), copies(without))
    assert first["loss"] == second["loss"]
    assert second["validation_loss"] == second["validation_accuracy"] == [None] * 3


def test_a_second_fit_goes_on_where_the_first_one_stopped():
    once, twice = make(), make()
    fit(once, epochs=4)
    optimizer = dl.Adam(0.01)
    for _ in range(2):
        history = fit(twice, epochs=2, optimizer=optimizer)
    assert_same_arrays(copies(twice), copies(once))
    assert (twice.epochs_trained, len(history)) == (4, 2)


def test_fit_changes_neither_data_nor_optimizer_settings():
    train = data()
    x, y = train.x.copy(), train.y.copy()
    optimizer = dl.Adam(0.01)
    fit(make(), train, optimizer=optimizer)
    np.testing.assert_array_equal(train.x, x)
    np.testing.assert_array_equal(train.y, y)
    assert repr(optimizer) == repr(dl.Adam(0.01))


def test_read_only_data_and_the_other_precision_are_fine():
    x = data().x.astype(np.float64)
    x.flags.writeable = False
    given, plain_model = make(), make()
    fit(given, dl.data.Dataset(x, data().y))
    fit(plain_model)
    assert_same_arrays(copies(given), copies(plain_model))


def test_a_loss_without_accuracy_has_none_in_the_history():
    x = data().x
    model = dl.Sequential(dl.Dense(6, 2), backend="cpu")
    train = dl.data.Dataset(x, x[:, :2] * 3)
    history = fit(model, train, validation=train, loss=dl.MeanSquaredError(), epochs=20, optimizer=dl.Adam(0.1))
    assert history["loss"][-1] < 0.01 * history["loss"][0]
    assert history["accuracy"] == history["validation_accuracy"] == [None] * 20
    assert dl.evaluate(model, train, loss=dl.MeanSquaredError()).accuracy is None


def test_a_binary_problem_takes_integer_labels():
    x = data().x
    model = dl.Sequential(dl.Dense(6, 1), backend="cpu")
    train = dl.data.Dataset(x, (x[:, 0] > 0).astype(int))
    history = fit(model, train, loss=dl.BinaryCrossEntropy(), epochs=30, optimizer=dl.Adam(0.1))
    assert history["accuracy"][-1] > 0.9


def test_the_learning_rate_of_each_epoch_is_in_the_history(monkeypatch):
    optimizer = dl.SGD(0.1)

    def halve(step):
        if step % 7 == 0:  # 7 batches of 16 rows or less
            optimizer.learning_rate /= 2

    AfterStep(monkeypatch, optimizer, halve)
    assert fit(make(), optimizer=optimizer)["learning_rate"] == [0.05, 0.025, 0.0125]


def test_a_model_without_options_is_built_in_fit():
    model = dl.Sequential(dl.Dense(6, 3))
    assert len(fit(model)) == 3
    assert dl.evaluate(dl.Sequential(dl.Dense(6, 3)), data(), loss=dl.SoftmaxCrossEntropy()).loss > 0


@pytest.mark.parametrize("backend", ["numpy", "cpu", "emulator"])
def test_nothing_is_allocated_inside_a_step_after_the_first(backend, monkeypatch):
    model, optimizer = make(backend=backend), dl.Adam(0.01)
    calls, at_step = [], {}
    for name in ("empty", "array", "zeros"):
        function = getattr(model.backend, name)
        monkeypatch.setattr(
            model.backend, name, lambda *a, function=function, name=name: (calls.append(name), function(*a))[1]
        )
    AfterStep(monkeypatch, optimizer, lambda step: at_step.setdefault(step, len(calls)))
    fit(model, data(36), epochs=2, optimizer=optimizer)  # batches of 16, 16 and 4 rows
    assert at_step[1] > 0
    assert at_step[6] == at_step[1], calls[at_step[1] :]


def test_a_step_allocates_no_temporary_arrays_either(monkeypatch):
    optimizer, peaks = dl.AdamW(), []

    def measure(step):
        if tracemalloc.is_tracing():
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        if step in (3, 4):  # the second batch is captured, and the third is the first to be replayed
            tracemalloc.start()

    AfterStep(monkeypatch, optimizer, measure)
    fit(make(), data(20_000), optimizer=optimizer, epochs=1, batch_size=4000)
    assert len(peaks) == 2
    assert max(peaks) < 4000 * 4, "one column of the batch would be as large"


def test_fit_leaves_out_the_input_gradient_of_the_first_layer(monkeypatch):
    model = make()
    monkeypatch.setattr(model.layers[0], "backward", None)
    fit(model)


# Penalties


def penalized(number, *more):
    """Five layers, of which the first `number` have a penalty, each of another kind."""
    kinds = [dl.L2(0.3), dl.L1(0.2), dl.ElasticNet(0.1, 0.4), dl.L2(0.7), dl.L1(0.5)]
    layers = [dl.Dense(6, 6, penalty=penalty) for penalty in kinds[:number]]
    return dl.Sequential(*layers, *(dl.Dense(6, 6) for _ in kinds[number:]), *more, backend="cpu", seed=0)


def penalty_by_hand(model):
    total = 0.0
    for layer in model.layers:
        w = layer.weight.value.astype(float)
        if layer.penalty is not None:
            penalty = penalties.get(layer.penalty)
            total += penalty.l1 * np.abs(w).sum() + penalty.l2 * (w**2).sum() / 2
    return total


@GRAPH
@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_every_penalty_counts_once_in_each_step(number, graph):
    model = penalized(number)
    history = fit(model, data(60, classes=6), optimizer=dl.SGD(1e-30), graph=graph)  # which moves no weight
    expected = penalty_by_hand(model)
    assert (expected > 0) == (number > 0)
    assert history["penalty"] == pytest.approx([expected] * 3, rel=1e-5)
    assert history["cost"] == [epoch.loss + epoch.penalty for epoch in history]


@pytest.mark.parametrize("activity", [False, True])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_replayed_penalties_are_those_of_the_written_steps(number, activity):
    results = []
    for graph in (False, True):
        model = penalized(number, *([dl.ActivityPenalty(dl.L1(0.1)), dl.ActivityPenalty(dl.L2(0.1))] * activity))
        history = fit(model, data(60, classes=6), validation=data(20, classes=6), graph=graph)
        results.append((history["penalty"], history["cost"], history["loss"], history["validation_loss"]))
    assert results[0] == results[1]
    assert len(set(results[0][0])) == 3 and min(results[0][0]) > 0


# The order of the samples


def batches_of_fit(monkeypatch, train, seed=0, **options):
    """The numbers of the rows in each training batch; the first feature of a row is its number."""
    model = dl.Sequential(dl.Dense(2, 2), backend="cpu", seed=seed)
    forward, seen = model.forward, []

    def observed(x, training=False):
        if training:
            seen.append([int(number) for number in x[:, 0]])
        return forward(x, training)

    monkeypatch.setattr(model, "forward", observed)
    fit(model, train, optimizer=dl.SGD(1e-6), **options)
    return seen


@pytest.fixture
def numbered():
    x = np.stack([np.arange(50), np.zeros(50)], axis=1).astype(np.float32)
    return dl.data.Dataset(x, np.arange(50) % 2)


def test_every_epoch_takes_every_row_once_in_a_new_order(monkeypatch, numbered):
    seen = batches_of_fit(monkeypatch, numbered, epochs=3)
    assert [len(batch) for batch in seen] == [16, 16, 16, 2] * 3
    epochs = [[row for batch in seen[i : i + 4] for row in batch] for i in (0, 4, 8)]
    for order in epochs:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in [*epochs, range(50)]}) == 4


def test_the_order_follows_the_seed(monkeypatch, numbered):
    first = batches_of_fit(monkeypatch, numbered, seed=1)
    assert batches_of_fit(monkeypatch, numbered, seed=1) == first
    assert batches_of_fit(monkeypatch, numbered, seed=2) != first


def test_without_shuffling_the_rows_come_as_they_stand(monkeypatch, numbered):
    seen = batches_of_fit(monkeypatch, numbered, epochs=2, shuffle=False)
    assert [row for batch in seen for row in batch] == [*range(50), *range(50)]


def test_targets_stay_with_their_rows(monkeypatch):
    # The label is in the data: only a network that sees rows and labels in the same order learns it perfectly.
    x = np.eye(4, dtype=np.float32)[np.arange(80) % 4]
    model = dl.Sequential(dl.Dense(4, 4), backend="cpu")
    fit(model, dl.data.Dataset(x, np.arange(80) % 4), epochs=30, optimizer=dl.Adam(0.1))
    np.testing.assert_array_equal(model.predict(np.eye(4, dtype=np.float32)).argmax(axis=1), range(4))


# The same bits again


def test_the_same_seed_gives_the_same_bits(dtype):
    first, second, other = (make(seed=seed, dtype=str(dtype)) for seed in (1, 1, 2))
    histories = [fit(model, validation=data(30, seed=1)) for model in (first, second, other)]
    assert_same_arrays(copies(first), copies(second))
    assert histories[0]["loss"] == histories[1]["loss"] != histories[2]["loss"]


FIVE_STEPS = """
import hashlib, itertools, json
import numpy as np
import minidl as dl

train, _ = dl.data.digits()
digests = {}
for dtype, batch_size, graph in itertools.product(("float32", "float64"), (1, 7, 128), (False, True)):
    normalize = [dl.BatchNorm(256)] if batch_size > 1 else []
    model = dl.Sequential(
        dl.Dense(784, 256), *normalize, dl.ReLU(), dl.Dropout(0.2), dl.Dense(256, 10),
        backend="cpu", seed=3, dtype=dtype,
    )
    rows = train[np.arange(5 * batch_size) % len(train)]
    dl.fit(model, rows, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(), epochs=1, batch_size=batch_size,
           graph=graph, progress=False)
    digest = hashlib.sha256()
    for _, array in model.arrays():
        digest.update(array.tobytes())
    name = f"{dtype}, batches of {batch_size}"
    assert digests.setdefault(name, digest.hexdigest()) == digest.hexdigest(), f"{name}: captured is not by hand"
print(json.dumps(digests))
"""


def start_five_steps(threads):
    libraries = ("MINIDL", "OPENBLAS", "MKL", "OMP")
    names = (*(f"{library}_NUM_THREADS" for library in libraries), "VECLIB_MAXIMUM_THREADS")
    environment = {**os.environ, **{name: str(threads) for name in names}}
    return subprocess.Popen([sys.executable, "-c", FIVE_STEPS], env=environment, stdout=subprocess.PIPE, text=True)


def test_fresh_processes_and_an_old_one_give_the_same_bits_with_one_thread_and_with_two(set_thread_count, capsys):
    digests = []
    for threads in (1, 2):  # in this process, which has done much before
        set_thread_count(threads)
        exec(FIVE_STEPS, {})
        digests.append(json.loads(capsys.readouterr().out))
    for process in [start_five_steps(threads) for threads in (1, 2)]:  # by now all is compiled
        with process:
            output, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        digests.append(json.loads(output))
    with_one_here, with_two_here, with_one, with_two = digests
    assert with_one_here == with_two_here
    assert with_one == with_two == with_one_here


# Evaluation


def test_evaluate_is_the_mean_over_all_rows():
    model, test = plain(), data(2500)  # more than two batches of an evaluation
    result = dl.evaluate(model, test, loss=dl.SoftmaxCrossEntropy())
    p = dl.softmax(model.predict(test.x).astype(np.float64))
    assert result.loss == pytest.approx(-np.log(p[np.arange(2500), test.y]).mean(), rel=1e-5)
    assert result.accuracy == pytest.approx(np.mean(p.argmax(axis=1) == test.y), rel=1e-6)
    assert result == (result.loss, result.accuracy)


def test_evaluate_changes_nothing():
    model = make()
    before = copies(model)
    first = dl.evaluate(model, data(), loss=dl.SoftmaxCrossEntropy())
    assert dl.evaluate(model, data(), loss=dl.SoftmaxCrossEntropy()) == first
    assert_same_arrays(copies(model), before)


def test_evaluation_prints_its_numbers_by_name():
    from minidl.training.evaluation import Evaluation

    assert str(Evaluation(0.12345, 0.9876)) == "loss 0.1235, accuracy 98.76%"
    assert str(Evaluation(0.5, None)) == "loss 0.5000"
    assert Evaluation(0.5, 0.75).loss == 0.5 and Evaluation(0.5, 0.75).accuracy == 0.75


# The display

QUICK = """
import numpy as np, minidl as dl
x = np.random.default_rng(0).normal(size=({rows}, 6)).astype(np.float32)
train = dl.data.Dataset(x, x[:, :3].argmax(axis=1))
model = dl.Sequential(dl.Dense(6, 12), dl.ReLU(), dl.Dense(12, 3), backend="cpu", seed=0)
history = dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(), epochs={epochs}, batch_size=16)
"""


def test_progress_false_is_silent(capfd):
    fit(make(), validation=data(20), progress=False)
    assert capfd.readouterr() == ("", "")


def test_progress_prints_one_line_for_each_epoch(capfd):
    fit(make(), validation=data(20), progress=True)
    out, err = capfd.readouterr()
    number, share = r"\d+\.\d{4}", r"\d+\.\d\d%"
    for i, line in enumerate(out.splitlines(), start=1):
        expected = (
            rf"epoch   {i}   loss {number}   accuracy {share}   validation loss {number}"
            rf"   validation accuracy {share}   \d+\.\d\d s"
        )
        assert re.fullmatch(expected, line)
    assert (i, err) == (3, "")


def test_in_a_pipe_there_are_only_the_lines():
    result = subprocess.run(
        [sys.executable, "-c", QUICK.format(rows=5000, epochs=3)], capture_output=True, timeout=300, check=True
    )
    lines = result.stdout.replace(os.linesep.encode(), b"\n").decode().splitlines()
    assert [line.split("   loss")[0] for line in lines] == ["epoch   1", "epoch   2", "epoch   3"]
    assert b"\r" not in result.stdout.replace(os.linesep.encode(), b"")
    assert result.stderr == b""


@posix
def test_on_a_terminal_a_bar_shows_loss_and_accuracy():
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # a terminal has a size
    command = [sys.executable, "-c", QUICK.format(rows=40000, epochs=1)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(ours)
        stdout, _ = process.communicate(timeout=300)
    assert re.search(rb"\repoch 1/1: .*loss \d\.\d{4}, accuracy \d+\.\d\d%", shown)
    assert stdout.startswith(b"epoch   1   loss ") and stdout.count(b"\n") == 1


# Divergence


def spoil(model, monkeypatch, optimizer, at_step, array):
    """Put an infinity into a weight after a step, and keep what the weights are then."""
    kept = {}

    def action(step):
        if step == at_step:
            array[0] = np.inf
        kept.update({parameter.name: parameter.value.copy() for parameter in model.parameters()})

    AfterStep(monkeypatch, optimizer, action)
    return kept


def test_divergence_names_the_layer_keeps_the_weights_and_carries_the_history(monkeypatch, capsys):
    model, optimizer = make(), dl.Adam(0.01)
    kept = spoil(model, monkeypatch, optimizer, 10, model.layers[4].weight.value)
    with pytest.raises(dl.DivergenceError) as caught:
        fit(model, optimizer=optimizer, progress=True)
    assert re.search(
        r"^the loss became (nan|inf) in epoch 2, step 4; "
        r"the first layer with a non-finite output is 4 Dense\(12, 3\)\. Try a smaller learning rate",
        str(caught.value),
    )
    assert caught.value.layer is model.layers[4]
    assert len(caught.value.history) == 1
    assert isinstance(caught.value, ArithmeticError)
    for parameter in model.parameters():
        np.testing.assert_array_equal(parameter.value, kept[parameter.name], err_msg=parameter.name)


def test_the_first_of_the_layers_is_named_even_inside_another_model(monkeypatch):
    inner = dl.Sequential(dl.Dense(6, 5), dl.Tanh())  # a tanh turns the infinity into 1: the output is finite
    model, optimizer = dl.Sequential(inner, dl.Softplus(), dl.Dense(5, 3), backend="cpu"), dl.SGD(0.01)
    weight = model.layers[2].weight.value

    def action(step):
        inner.layers[0].bias.value[0] = np.inf
        weight[0] = np.inf

    AfterStep(monkeypatch, optimizer, action)
    with pytest.raises(dl.DivergenceError, match=r"step 2; .* output is 0.Sequential.0 Dense\(6, 5\)\. ") as caught:
        fit(model, optimizer=optimizer)
    assert caught.value.layer is inner.layers[0]


def test_a_learning_rate_that_is_far_too_large_diverges_without_numpy_warnings():
    model = dl.Sequential(dl.Dense(6, 12), dl.ReLU(), dl.Dense(12, 2), backend="cpu")
    train = dl.data.Dataset(data().x, data().x[:, :2].copy())
    with pytest.raises(dl.DivergenceError, match="the first layer with a non-finite output is 2 Dense"):
        fit(model, train, loss=dl.MeanSquaredError(), optimizer=dl.SGD(1e30))


FLOATS = [name for name, array in make().arrays() if array.dtype.kind == "f"]


@GRAPH
@pytest.mark.parametrize("epochs", [2, 3])  # the bad step is the last of the run, or an epoch follows
@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", FLOATS)
def test_what_becomes_nan_in_the_last_step_of_an_epoch_is_reported(
    name, value, validated, epochs, graph, monkeypatch, tmp_path
):
    model, log, checkpoint = make(), tmp_path / "run.csv", tmp_path / "run.npz"

    def spoil_one(step):
        if step == 2 * 4:
            dict(model.arrays())[name].flat[-1] = value

    observed = AfterUpdate(monkeypatch, spoil_one)
    with pytest.raises(dl.DivergenceError) as caught:
        fit(model, data(60), validation=data(20) if validated else None, epochs=epochs, graph=graph, log=log,
            checkpoint=checkpoint)  # fmt: skip
    if validated and str(caught.value).startswith("the validation loss became "):
        assert " after epoch 2; " in str(caught.value)
    else:
        assert str(caught.value).startswith(f"the {name} became {value} in the last step of epoch 2; ")
    assert observed.steps == 8
    assert len(caught.value.history) == 1 and len(log.read_text().splitlines()) == 2
    assert dl.load(checkpoint, "cpu").epochs_trained == 1, "the checkpoint is the last good one"


@GRAPH
def test_an_activation_that_hides_it_from_the_loss_does_not_help(graph, monkeypatch):
    model = plain()  # its tanh makes 1 of an infinity
    AfterUpdate(monkeypatch, lambda step: model.layers[0].bias.value.fill(np.inf) if step == 4 else None)
    with pytest.raises(dl.DivergenceError, match=r"^the 0.bias became inf in the last step of epoch 1; "):
        fit(model, data(60), validation=data(20), graph=graph)


@GRAPH
def test_nan_in_a_step_that_ctrl_c_made_the_last_is_reported(python_handles_interrupts, graph, monkeypatch):
    model = make()

    def spoil_and_interrupt(step):
        if step == 6:
            model.layers[4].weight.value[0, 0] = np.nan
            signal.raise_signal(signal.SIGINT)

    AfterUpdate(monkeypatch, spoil_and_interrupt)
    with pytest.raises(dl.DivergenceError, match=r"^the 4.weight became nan in step 2 of epoch 2; ") as caught:
        fit(model, data(60), graph=graph)
    assert len(caught.value.history) == 1


def test_where_looks_are_seldom_the_last_step_of_an_epoch_gets_one(monkeypatch):
    model = plain()
    monkeypatch.setattr(model.backend, "readback_interval", 50, raising=False)
    batches = []

    def spoil_the_last(x, targets, rng):
        batches.append(x)
        return x * np.float32(np.inf if len(batches) == 7 else 1), targets

    with pytest.raises(dl.DivergenceError, match="^the loss became nan in epoch 1, step 7; .* 0 Dense"):
        fit(model, augmentation=spoil_the_last)


def test_a_loss_that_overflows_on_finite_outputs_says_so():
    train = dl.data.Dataset(data().x, np.full((100, 3), 1e30, np.float32))
    model = plain()
    before = copies(model)
    with pytest.raises(
        dl.DivergenceError, match="^the loss became inf in epoch 1, step 1; all layer outputs are finite"
    ) as caught:
        fit(model, train, loss=dl.MeanSquaredError())
    assert caught.value.layer is None
    assert len(caught.value.history) == 0
    assert_same_arrays(copies(model), before)


# Ctrl-C


def interrupt_at(monkeypatch, optimizer, step, times=1):
    def action(number):
        if number == step:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return AfterStep(monkeypatch, optimizer, action)


def test_an_interrupt_ends_the_run_after_the_step_and_keeps_what_was_learned(
    python_handles_interrupts, monkeypatch, capsys
):
    model, optimizer, kept = make(), dl.Adam(0.01), {}

    def action(number):
        kept.update(copies(model))
        if number == 10:
            signal.raise_signal(signal.SIGINT)

    observed = AfterStep(monkeypatch, optimizer, action)
    history = fit(model, optimizer=optimizer, progress=True)
    assert (history.interrupted, len(history), observed.steps) == (True, 1, 10)
    assert_same_arrays(copies(model), kept)
    assert model.epochs_trained == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1:] == ["interrupted; whole epochs: 1. The model keeps what it has learned"]
    assert np.isfinite(model.predict(data().x)).all()
    assert len(fit(model, optimizer=optimizer)) == 3, "training goes on"


def number_of_lines(path):
    return len(path.read_text(encoding="utf-8").splitlines()) - 1 if path.exists() else 0


@pytest.mark.parametrize(
    ("backend", "graph", "step"),  # epochs have 3 steps; 9 is the last of the run
    [
        *(("cpu", graph, step) for graph in (False, True) for step in (1, 2, 3, 4, 5, 6, 8, 9)),
        ("emulator", False, 2),
        ("emulator", True, 3),
    ],
)
def test_an_interrupt_in_any_step_keeps_what_was_learned(
    python_handles_interrupts, backend, graph, step, monkeypatch, tmp_path
):
    def build():
        layers = dl.Dense(6, 4), dl.BatchNorm(4), dl.Dropout(0.2), dl.Dense(4, 3)
        return dl.Sequential(*layers, backend=backend, seed=0)

    options = {"train": data(20), "validation": data(10), "batch_size": 8, "graph": graph}
    model, after, log, checkpoint = build(), {}, tmp_path / "run.csv", tmp_path / "run.npz"

    def interrupt(number):
        if number == step:
            after.update(copies(model))
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        observed = AfterUpdate(patch, interrupt)
        history = fit(model, log=log, checkpoint=checkpoint, **options)
    whole = step // 3
    assert (observed.steps, len(history), history.interrupted) == (step, whole, True)
    assert_same_arrays(copies(model), after)
    assert model.epochs_trained == number_of_lines(log) == whole
    assert checkpoint.exists() == (whole > 0)
    if whole:
        assert dl.load(checkpoint, backend).epochs_trained == whole
        without = build()
        expected = fit(without, **{**options, "epochs": whole})
        assert history["validation_loss"] == expected["validation_loss"] and history["loss"] == expected["loss"]
        if step % 3 == 0:
            assert_same_arrays(copies(model), copies(without))
    if whole and backend == "cpu":
        resumed, undisturbed = build(), build()
        fit(resumed, resume=checkpoint, **options)
        fit(undisturbed, **options)
        assert_same_arrays(copies(resumed), copies(undisturbed))


@pytest.mark.parametrize("event", ["on_epoch_start", "on_epoch_end", "write"])
def test_an_interrupt_between_two_steps_loses_no_epoch(python_handles_interrupts, event, tmp_path):
    class Interrupt(dl.Callback):
        writes = True

        def on_start(self, run):
            setattr(self, event, lambda run: signal.raise_signal(signal.SIGINT) if len(run.history) == 1 else None)

    model, checkpoint = make(), tmp_path / "run.npz"
    history = fit(model, data(60), callbacks=[Interrupt()], checkpoint=checkpoint)
    assert (history.interrupted, len(history), model.epochs_trained) == (True, 1, 1)
    assert dl.load(checkpoint, "cpu").epochs_trained == 1
    if event != "on_epoch_start":  # which is followed by one step
        once = make()
        fit(once, data(60), epochs=1)
        assert_same_arrays(copies(model), copies(once))


def test_an_interrupted_run_has_an_end(python_handles_interrupts, monkeypatch):
    ends = []

    class Listener(dl.Callback):
        def on_end(self, run):
            ends.append((run.history.interrupted, run.step))

    AfterUpdate(monkeypatch, lambda step: signal.raise_signal(signal.SIGINT) if step == 5 else None)
    fit(make(), data(60), callbacks=[Listener()])
    assert ends == [(True, 5)]


def test_a_run_that_nobody_interrupts_is_not_marked_as_such(python_handles_interrupts):
    assert fit(make()).interrupted is False


@GRAPH
@pytest.mark.parametrize("step", [1, 3, 7, 9])  # the first, one inside, the last of an epoch, one of the next
def test_a_second_interrupt_stops_at_once(python_handles_interrupts, step, graph, monkeypatch):
    def twice(number):
        if number == step:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    model = make()
    observed = AfterUpdate(monkeypatch, twice)
    with pytest.raises(KeyboardInterrupt):
        fit(model, graph=graph)
    assert observed.steps == step and model.epochs_trained == (step - 1) // 7
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("way", ["to the end", "interrupted", "diverging", "refused"])
def test_the_signal_handler_is_restored(python_handles_interrupts, monkeypatch, way):
    model, optimizer, during = make(), dl.Adam(0.01), []
    AfterStep(monkeypatch, optimizer, lambda step: during.append(signal.getsignal(signal.SIGINT)))
    if way == "interrupted":
        interrupt_at(monkeypatch, optimizer, 2)
        fit(model, optimizer=optimizer)
    elif way == "diverging":
        spoil(model, monkeypatch, optimizer, 2, model.layers[4].weight.value)
        with pytest.raises(dl.DivergenceError):
            fit(model, optimizer=optimizer)
    elif way == "refused":
        fit(model, optimizer=optimizer)
        with pytest.raises(ValueError):
            fit(make(), optimizer=optimizer)  # it belongs to the other model
    else:
        fit(model, optimizer=optimizer)
    assert during[0] is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_users_own_is_left_alone(monkeypatch):
    calls = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        optimizer = dl.Adam(0.01)
        interrupt_at(monkeypatch, optimizer, 2)
        history = fit(make(), optimizer=optimizer)
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [signal.SIGINT]
    assert (history.interrupted, len(history)) == (False, 3)


def test_fit_works_in_a_thread(python_handles_interrupts):
    in_thread, in_main, histories = make(), make(), []
    thread = threading.Thread(target=lambda: histories.append(fit(in_thread)))
    thread.start()
    thread.join()
    fit(in_main)
    assert len(histories[0]) == 3
    assert_same_arrays(copies(in_thread), copies(in_main))


@posix
def test_ctrl_c_in_a_terminal_ends_the_program_cleanly(tmp_path):
    program = (  # a shell that starts tests in the background makes them, and this program, ignore Ctrl-C
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        + QUICK.format(rows=2000, epochs=10**6)
        + "model.save('model.npz'); print(history.interrupted, len(history) > 0, model.predict(x).shape)"
    )
    command = [sys.executable, "-u", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout.readline().startswith("epoch   1 ")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()  # nobody else ends a million epochs
    assert process.returncode == 0, err
    *_, message, last = out.splitlines()
    assert re.fullmatch(r"interrupted; whole epochs: \d+. The model keeps what it has learned", message)
    assert last == "True True (2000, 3)"
    assert (tmp_path / "model.npz").exists()
    assert err == "finishing this step; press Ctrl-C again to stop at once\n"


# Arguments


def not_a_number_for(position):
    x = data().x.copy()
    train = dl.data.Dataset(x, data().y)
    x[position] = np.nan  # after the Dataset has looked at it
    return train


REFUSED = [
    ({"train": [1, 2]}, TypeError, r"^train got \[1, 2\]; expected a minidl.data.Dataset\(x, y\)$"),
    ({"train": data().x}, TypeError, r"^train got an array of shape \(100, 6\) .*; expected a minidl.data.Dataset"),
    ({"validation": (1, 2)}, TypeError, r"^validation got \(1, 2\); expected a minidl.data.Dataset\(x, y\)$"),
    ({"train": data(features=5)}, ValueError, r"^train.x got 5 features; layer 0 Dense\(6, 12, .*\) expects 6$"),
    ({"validation": data(features=5)}, ValueError, r"^validation.x got 5 features; layer 0 Dense"),
    ({"train": not_a_number_for((3, 1))}, ValueError, r"^train.x got nan at row 3, column 1 \(1 such in all\)"),
    ({"validation": not_a_number_for((0, 5))}, ValueError, "^validation.x got nan at row 0, column 5"),
    ({"train": data(classes=4)}, ValueError, r"^train.y got 3 at index \d+; expected labels from 0 to 2$"),
    ({"validation": data(classes=4)}, ValueError, r"^validation.y got 3 at index \d+; expected labels from 0 to 2$"),
    (
        {"train": dl.data.Dataset(data().x, data().x[:, :3])},
        ValueError,
        r"^train.y got -?[\d.]+; expected probabilities from 0 to 1$",
    ),
    ({"loss": dl.MeanSquaredError()}, TypeError, "^train.y got dtype int64; expected float32 or float64"),
    ({"loss": dl.SoftmaxCrossEntropy}, TypeError, r"^loss got <class .*; expected a minidl.Loss; did you mean Softmax"),
    ({"loss": "mse"}, TypeError, r"^loss got 'mse'; expected a minidl.Loss; did you mean dl.MeanSquaredError\(\)\?$"),
    ({"optimizer": dl.Adam}, TypeError, r"^optimizer got <class .*>; expected a minidl.Optimizer; did you mean Adam\("),
    ({"optimizer": "adam"}, TypeError, r"^optimizer got 'adam'; expected a minidl.Optimizer; did you mean dl.Adam\("),
    ({"model": dl.Dense(6, 3)}, TypeError, r"^model got Dense\(6, 3\); expected a minidl.Sequential$"),
    ({"epochs": 0}, ValueError, "^epochs got 0; expected an integer of at least 1$"),
    ({"epochs": 1.5}, TypeError, "^epochs got 1.5; expected an integer of at least 1$"),
    ({"batch_size": 0}, ValueError, "^batch_size got 0; expected an integer of at least 1$"),
    ({"batch_size": "16"}, TypeError, "^batch_size got '16'; expected an integer of at least 1$"),
    ({"shuffle": 1}, TypeError, "^shuffle got 1; expected True or False$"),
    (
        {"batch_size": 99},
        ValueError,
        "^batch_size got 99, which leaves a last batch of 1 row out of 100; batch normalization expects at least 2: "
        "choose another batch_size$",
    ),
    ({"batch_size": 1}, ValueError, "^batch_size got 1, which leaves a last batch of 1 row out of 100; batch norm"),
    ({"train": data(1)}, ValueError, "^batch_size got 16, which leaves a last batch of 1 row out of 1; batch norm"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), REFUSED)
def test_what_does_not_fit_together_is_refused_before_the_first_step(wrong, error, message):
    model = make()
    before = copies(model)
    with pytest.raises(error, match=message):
        fit(**{"model": model, "train": data(), **wrong})
    assert_same_arrays(copies(model), before)


def test_a_last_batch_of_one_row_is_fine_without_batch_normalization():
    assert len(fit(plain(), batch_size=99)) == len(fit(plain(), batch_size=1)) == 3


def test_a_batch_normalization_deep_inside_counts():
    model = dl.Sequential(dl.Dense(6, 3), dl.Sequential(dl.Sequential(dl.BatchNorm(3))), backend="cpu")
    with pytest.raises(ValueError, match="last batch of 1 row out of 100"):
        fit(model, batch_size=33)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data": [1]}, r"^data got \[1\]; expected a minidl.data.Dataset\(x, y\)$"),
        ({"model": dl.ReLU()}, r"^model got ReLU\(\); expected a minidl.Sequential$"),
        ({"loss": None}, "^loss got None; expected a minidl.Loss$"),
    ],
)
def test_evaluate_checks_its_arguments(wrong, message):
    with pytest.raises(TypeError, match=message):
        dl.evaluate(**{"model": make(), "data": data(), "loss": dl.SoftmaxCrossEntropy(), **wrong})


def test_a_validation_loss_that_is_not_finite_ends_the_run(monkeypatch, rng):
    model, optimizer = make(), dl.SGD(0.1)

    def overflow(step):
        if step == 2:  # the last step of the first epoch: only the validation can notice
            model.parameters()[0].value[...] = np.inf

    AfterStep(monkeypatch, optimizer, overflow)
    with pytest.raises(
        dl.DivergenceError, match=r"^the validation loss became nan after epoch 1; the first layer .* 0 "
    ):
        fit(model, data(20), validation=data(10), optimizer=optimizer, epochs=3, batch_size=10)


@pytest.mark.usefixtures("python_handles_interrupts")
def test_ctrl_c_during_validation_ends_the_run_after_the_epoch(monkeypatch, capsys):
    real = run.Run.evaluate

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(run.Run, "evaluate", staticmethod(interrupted))
    history = fit(make(), data(20), validation=data(10), epochs=3, batch_size=10, progress=True)
    assert history.interrupted
    assert len(history) == 1
    assert "interrupted; whole epochs: 1." in capsys.readouterr().out


# Several tasks


def two_tasks(rows=200):
    """Which class, and whether it is an odd one."""
    one = data(rows)
    return dl.data.Dataset(one.x, {"which": one.y, "odd": one.y % 2})


def shared_network(seed=0):
    heads = dl.Heads(which=dl.Dense(12, 3), odd=dl.Sequential(dl.Dense(12, 4), dl.Tanh(), dl.Dense(4, 1)))
    model = dl.Sequential(dl.Dense(6, 12), dl.ReLU(), heads, backend="cpu", seed=seed)
    losses = {"which": dl.SoftmaxCrossEntropy(), "odd": dl.BinaryCrossEntropy()}
    return model, dl.MultiTask(heads, weights={"odd": 0.5}, **losses)


def test_several_tasks_are_learned_on_shared_layers():
    model, loss = shared_network()
    train = two_tasks()
    history = dl.fit(
        model, train, validation=train, loss=loss, optimizer=dl.Adam(0.01), epochs=40, batch_size=32, progress=False
    )
    result = dl.evaluate(model, train, loss=loss)
    heads = loss.by_head()
    assert result.loss == pytest.approx(heads["which"][0] + 0.5 * heads["odd"][0])
    assert result.accuracy == pytest.approx((heads["which"][1] + heads["odd"][1]) / 2)
    assert result.loss == history["validation_loss"][-1] < 0.3 * history["loss"][0]
    assert heads["which"][1] > 0.9 and heads["odd"][1] > 0.9


def test_targets_without_a_head_are_refused_before_the_first_step():
    model, loss = shared_network()
    one = data(20)
    with pytest.raises(ValueError, match=r"^train.y got no dict; expected a dict with targets for which, odd$"):
        dl.fit(model, one, loss=loss, optimizer=dl.SGD(0.1), progress=False)
    wrong = dl.data.Dataset(one.x, {"which": one.y, "old": one.y})
    with pytest.raises(ValueError, match=r"^train.y got targets for 'which', 'old'; expected"):
        dl.fit(model, wrong, loss=loss, optimizer=dl.SGD(0.1), progress=False)


# Augmentation


def test_augmentation_is_drawn_anew_in_each_epoch_from_the_seed():
    seen = []

    def spy(x, targets, rng):
        seen.append(rng.normal())
        return x + 0, targets

    def losses(seed):
        model = dl.Sequential(dl.Dense(6, 3), backend="cpu", seed=seed)
        history = dl.fit(
            model, data(64), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=2, batch_size=32,
            augmentation=spy, progress=False,
        )  # fmt: skip
        return history["loss"]

    assert losses(0) == losses(0)
    assert seen[:4] == seen[4:]
    assert len(set(seen[:4])) == 4
    losses(1)
    assert not set(seen[8:]) & set(seen[:4])


def test_mixed_targets_reach_the_loss_as_probabilities():
    def half_and_half(x, targets, rng):
        assert targets.shape == (len(x), 3) and set(np.unique(targets)) <= {0.0, 1.0}
        return x, np.ascontiguousarray((targets + targets[::-1]) / 2)

    half_and_half.mixes_targets = True
    model = dl.Sequential(dl.Dense(6, 3), backend="cpu", seed=0)
    history = dl.fit(
        model, data(64), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=5, batch_size=32,
        augmentation=half_and_half, progress=False,
    )  # fmt: skip
    assert history["loss"][-1] < history["loss"][0]
    assert history["loss"][-1] > 0.4  # half-and-half targets cannot be predicted with certainty
