"""A step that is captured and done again: the same bits as the step as it is written, or no capture at all."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minidl as dl
from minidl.backend.capture import CaptureError
from minidl.cpu.engine import product, thread_pool
from minidl.cpu.engine.parallel import CallList
from tests.conftest import backend_or_skip, copies
from tests.layers.conftest import EXAMPLES, FEATURES

STEPS = 6  # the first warms up, the second is captured, the third is verified


def batches(features, classes, rows=7, seed=3, steps=STEPS):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        yield rng.normal(size=(rows, features)).astype(np.float32), rng.integers(0, classes, rows)


def problem():
    rng = np.random.default_rng(0)
    return dl.data.Dataset(rng.normal(size=(100, 5)).astype(np.float32), rng.integers(0, 3, 100))


def state(step):
    return step._results()


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


def network(*layers, backend="cpu"):
    return dl.Sequential(dl.Dense(5, FEATURES), *layers, dl.Dense(layers[-1].n_out or FEATURES, 3), backend=backend)


def both_ways(make, backend, optimizer=lambda: dl.Momentum(0.1), number=STEPS, **options):
    """Steps as they are written, and captured ones."""
    backend_or_skip(backend)
    steps = [
        dl.TrainingStep(make(backend), dl.SoftmaxCrossEntropy(), optimizer(), graph=graph, **options)
        for graph in (False, True)
    ]
    for x, labels in batches(5, 3, steps=number):
        for step in steps:
            step(x, labels)
    return steps


@pytest.mark.parametrize("backend", ["cpu", "emulator", "cuda"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_a_recorded_step_gives_the_same_bits(example, backend):
    number = STEPS - 2 if backend == "emulator" else STEPS  # a launch there is slow, and one replay is like the next
    written, captured = both_ways(lambda on: network(EXAMPLES[example](), backend=on), backend, number=number)
    assert captured.why_not is None
    (halves,) = captured._graphs.values()
    if backend == "cpu" and not product.BLAS:
        assert all(isinstance(half, CallList) for half in halves)
    assert_same_bits(state(captured), state(written))
    assert captured.loss.mean_so_far() == written.loss.mean_so_far()
    assert captured.optimizer.steps == written.optimizer.steps == number


@pytest.mark.parametrize("backend", ["cpu", "emulator", "cuda"])
def test_a_larger_batch_in_between_brings_other_arrays_and_the_same_bits(backend):
    """On a GPU a graph works on the arrays that it was captured with; a larger batch replaces them."""
    backend_or_skip(backend)

    def make(graph):
        model = network(dl.BatchNorm(FEATURES), dl.ReLU(), backend=backend)
        return dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Adam(0.01), graph=graph)

    written, captured = make(False), make(True)
    for rows in [4, 4, 4, 4, 9, 4, 9, 9, 4, 9, 4, 4, 12, 4]:
        ((x, labels),) = batches(5, 3, rows=rows, seed=rows, steps=1)
        for step in (written, captured):
            step(x, labels)
        captured.model.predict(np.zeros((30 + rows, 5), np.float32))  # the layers get larger arrays, too
    assert captured.why_not is None
    assert_same_bits(state(captured), state(written))


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_an_augmentation_may_change_the_number_of_rows(backend):
    backend_or_skip(backend)

    def doubled_now_and_then(x, labels, rng):
        times = int(rng.integers(1, 3))
        return np.concatenate([x] * times), np.concatenate([labels] * times)

    found = []
    for graph in (False, True):
        model, data = network(dl.ReLU(), backend=backend), problem()
        options = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Adam(0.01), "batch_size": 8, "epochs": 3}
        dl.fit(model, data, validation=data, augmentation=doubled_now_and_then, graph=graph, progress=False, **options)
        found.append(model.snapshot())
    assert_same_bits(*found)


@pytest.mark.parametrize("example", EXAMPLES)
def test_threads_that_share_every_loop_give_the_same_bits(example, monkeypatch, set_thread_count):
    def make(backend):
        return network(EXAMPLES[example](), backend=backend)

    monkeypatch.setattr(thread_pool, "MIN_PARALLEL", 0)
    found = []
    for number in (1, 3):
        set_thread_count(number)
        found += both_ways(make, "cpu", dl.Adam)
    for step in found[1:]:
        assert_same_bits(state(step), state(found[0]))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: dl.SGD(dl.schedules.Cosine(0.1, 5)),
        lambda: dl.Nesterov(0.1),
        lambda: dl.RMSProp(0.01),
        lambda: dl.AdamW(dl.schedules.WarmUp(3, dl.schedules.Constant(0.01))),
    ],
)
@pytest.mark.parametrize("clip", [None, dl.ClipNorm(0.1), dl.ClipValue(0.01)], ids=str)
def test_every_optimizer_and_clip_can_be_captured(optimizer, clip):
    written, captured = both_ways(lambda backend: network(dl.ReLU(), backend=backend), "cpu", optimizer, clip=clip)
    assert captured.why_not is None
    assert_same_bits(state(captured), state(written))
    assert captured.optimizer.learning_rate == written.optimizer.learning_rate


def test_from_the_fourth_step_on_no_layer_is_asked(monkeypatch):
    step = dl.TrainingStep(network(dl.ReLU()), dl.SoftmaxCrossEntropy(), dl.SGD(0.1), graph=True)
    calls, forward = [], step.model.forward
    monkeypatch.setattr(step.model, "forward", lambda x, training: (calls.append(len(x)), forward(x, training))[1])
    for x, labels in batches(5, 3):
        step(x, labels)
    assert len(calls) == 4  # warm-up; capture and the second step; the third, which the replay is compared with


def test_on_the_cpu_auto_runs_the_step_as_it_is_written():
    assert not dl.TrainingStep(network(dl.ReLU()), dl.SoftmaxCrossEntropy(), dl.SGD(0.1)).graph


def test_each_size_of_a_batch_has_a_capture():
    steps = [
        dl.TrainingStep(network(dl.BatchNorm(FEATURES)), dl.SoftmaxCrossEntropy(), dl.SGD(0.1), graph=graph)
        for graph in (False, True)
    ]
    for _ in range(2):
        for rows in (7, 4):
            for x, labels in batches(5, 3, rows):
                for step in steps:
                    step(x, labels)
    assert len(steps[1]._graphs) == 2
    assert_same_bits(state(steps[1]), state(steps[0]))


def test_several_heads_can_be_captured():
    def make():
        heads = dl.Heads(digit=dl.Dense(4, 3), size=dl.Dense(4, 1))
        loss = dl.MultiTask(heads, {"size": 0.5}, digit=dl.SoftmaxCrossEntropy(), size=dl.MeanSquaredError())
        return dl.Sequential(dl.Dense(5, 4), dl.Tanh(), heads, backend="cpu"), loss

    steps = [dl.TrainingStep(*make(), dl.Adam(0.01), graph=graph) for graph in (False, True)]
    for x, labels in batches(5, 3):
        for step in steps:
            step(x, {"digit": labels, "size": x[:, :1]})
    assert steps[1].why_not is None
    assert_same_bits(state(steps[1]), state(steps[0]))
    assert steps[1].loss.by_head() == steps[0].loss.by_head()


def test_the_heads_may_come_in_another_order():
    def make():
        heads = dl.Heads(left=dl.Dense(5, 3), right=dl.Dense(5, 3))
        loss = dl.MultiTask(heads, left=dl.SoftmaxCrossEntropy(), right=dl.SoftmaxCrossEntropy())
        return dl.Sequential(heads, backend="cpu", seed=0), loss

    steps = [dl.TrainingStep(*make(), dl.SGD(0.1), graph=graph) for graph in (False, True)]
    for order in (["right", "left"], ["left", "right"]):
        for x, labels in batches(5, 3):
            targets = {"left": labels, "right": 2 - labels}
            for step in steps:
                step.forward(x, {head: targets[head] for head in order})
                step.update()
    assert len(steps[1]._graphs) == 1
    assert_same_bits(state(steps[1]), state(steps[0]))


def test_a_head_may_get_labels_in_one_step_and_probabilities_in_the_next():
    def make():
        heads = dl.Heads(size=dl.Dense(4, 1), digit=dl.Dense(4, 3))
        loss = dl.MultiTask(heads, size=dl.MeanSquaredError(), digit=dl.SoftmaxCrossEntropy())
        return dl.Sequential(dl.Dense(5, 4), dl.Tanh(), heads, backend="cpu"), loss

    steps = [dl.TrainingStep(*make(), dl.SGD(0.01), graph=graph) for graph in (False, True)]
    for _ in range(2):
        for one_hot in (False, True):
            for x, labels in batches(5, 3):
                digit = np.eye(3, dtype=np.float32)[labels] if one_hot else labels
                for step in steps:
                    step(x, {"size": x[:, :1], "digit": digit})
    assert steps[1].why_not is None
    assert_same_bits(state(steps[1]), state(steps[0]))


def test_a_hyperparameter_may_be_changed_at_any_time():
    written, captured = (
        dl.TrainingStep(network(dl.ReLU()), dl.SoftmaxCrossEntropy(), dl.Momentum(0.1), graph=graph)
        for graph in (False, True)
    )
    for momentum in (0.9, 0.5):
        for x, labels in batches(5, 3):
            for step in (written, captured):
                step.optimizer.momentum = momentum
                step(x, labels)
    assert_same_bits(state(captured), state(written))


def test_a_scheduled_momentum_is_not_captured():
    def optimizer():
        return dl.Momentum(0.1, momentum=dl.schedules.Exponential(0.9, 0.9, 1))

    written, captured = both_ways(lambda backend: network(dl.ReLU(), backend=backend), "cpu", optimizer)
    assert not captured._graphs
    assert_same_bits(state(captured), state(written))


@pytest.mark.parametrize("backend", ["cpu", "emulator"])
@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_after_a_step_that_failed_the_next_ones_go_on(backend, failing):
    """The first step warms up, the second is captured, the third is verified, the fourth is replayed."""

    def clip(parameters):
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise KeyboardInterrupt

    calls, fails_at = 0, 0
    model = network(dl.Dropout(0.5), backend=backend)
    step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Momentum(0.1), clip=clip, graph=True)
    for number, (x, labels) in enumerate(batches(5, 3), start=1):
        fails_at = calls + 1 if number == failing else 0
        before = step.optimizer.steps
        try:
            step(x, labels)
        except KeyboardInterrupt:
            assert number == failing and step.optimizer.steps == before
    assert step.optimizer.steps == STEPS - (failing < 4)  # a replay calls no clip
    assert step.why_not is None and len(step._graphs) == 1


def test_after_an_input_that_was_refused_the_next_one_counts_as_the_first():
    step = dl.TrainingStep(network(dl.BatchNorm(FEATURES)), dl.SoftmaxCrossEntropy(), dl.SGD(0.1), graph=True)
    for _ in range(4):
        with pytest.raises(ValueError, match="x got a training batch of 1 row"):
            step(np.ones((1, 5), np.float32), np.zeros(1, int))
    for x, labels in batches(5, 3):
        step(x, labels)
    assert len(step._graphs) == 1


def test_a_backend_that_records_nothing_is_refused_before_the_first_step():
    with pytest.raises(ValueError, match="graph got True; expected 'auto' or False on <backend numpy>"):
        dl.TrainingStep(network(dl.ReLU(), backend="numpy"), dl.SoftmaxCrossEntropy(), dl.SGD(0.1), graph=True)


@pytest.mark.parametrize("backend", ["cpu", "emulator"])
@pytest.mark.parametrize("look", [False, True])
def test_a_step_that_is_forgotten_in_the_middle_is_made(backend, look):
    """Without a look, a captured step has not begun when `forward` has returned."""
    steps = [
        dl.TrainingStep(network(dl.Tanh(), backend=backend), dl.SoftmaxCrossEntropy(), dl.SGD(0.1), graph=graph)
        for graph in (False, True)
    ]
    for number, (x, labels) in enumerate(batches(5, 3, steps=8)):
        for step in steps:
            step.forward(x, labels, look)
            if number > 3:
                step.forget()
            step.update()
        assert_same_bits(state(steps[1]), state(steps[0]))
    for x, labels in batches(5, 3):
        for step in steps:
            step(x, labels)
    assert steps[1].why_not is None and len(steps[1]._graphs) == 1
    assert_same_bits(state(steps[1]), state(steps[0]))


def test_after_forget_a_changed_layer_counts():
    dropout = [dl.Dropout(0.5), dl.Dropout(0.5)]
    steps = [
        dl.TrainingStep(network(layer), dl.SoftmaxCrossEntropy(), dl.SGD(0.1), graph=graph)
        for layer, graph in zip(dropout, (False, True), strict=True)
    ]
    for rate in (0.5, 0.1):
        for layer, step in zip(dropout, steps, strict=True):
            layer.rate = rate
            step.forget()
            for x, labels in batches(5, 3):
                step(x, labels)
    assert_same_bits(state(steps[1]), state(steps[0]))


# What cannot be captured


class Plain(dl.Layer):
    """y = x, by the operations; the classes below do something more."""

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        y = self.buffer("y", *x.shape)
        self.ops.activation_forward("leaky_relu", x, self.dtype.type(1), y)
        self.extra(x, y)
        return y

    def backward(self, dy):
        return self.begin_backward(dy)[1]

    def extra(self, x, y):
        pass


class Allocating(Plain):
    def extra(self, x, y):
        self.backend.zeros((2,), self.dtype)


class Copying(Plain):
    def extra(self, x, y):
        self.backend.copy_into(y, self.backend.to_numpy(x))


class Reading(Plain):
    def extra(self, x, y):
        float(self.backend.to_numpy(y)[0, 0])


class ByNumPy(Plain):
    def extra(self, x, y):
        y *= 2  # no operation: nobody would do it again


class Random(Plain):
    def extra(self, x, y):
        y += np.random.default_rng(id(object())).normal(size=y.shape)


class OfAPart(Plain):
    def extra(self, x, y):
        self.ops.activation_forward("relu", x[:3], self.dtype.type(0), y[:3])


REASONS = {
    Allocating: "a step that allocates memory cannot be captured",
    Copying: "a step that (reads from the device|copies an array) cannot be captured",
    Reading: "a step that reads from the device cannot be captured",
    ByNumPy: "comes out differently when the operations are done again",
    Random: "comes out differently when the operations are done again",
}


@pytest.mark.parametrize("layer", REASONS)
@pytest.mark.parametrize("backend", ["cpu", "emulator"])
def test_what_is_more_than_operations_is_found(layer, backend):
    step = dl.TrainingStep(network(layer(), backend=backend), dl.SoftmaxCrossEntropy(), dl.Momentum(0.1), graph=True)
    with pytest.raises(RuntimeError, match=f"^graph got True, but this step cannot be captured: .*{REASONS[layer]}"):
        for x, labels in batches(5, 3):
            step(x, labels)


@pytest.mark.parametrize("layer", [Allocating, Copying, Reading, ByNumPy])
def test_where_nobody_insists_the_step_is_made_as_it_is_written(layer):
    written, captured = (
        dl.TrainingStep(network(layer(), dl.BatchNorm(FEATURES)), dl.SoftmaxCrossEntropy(), dl.Adam(0.1), graph=graph)
        for graph in (False, True)
    )
    captured._graph_required = False  # what "auto" does on a GPU
    for x, labels in batches(5, 3):
        written(x, labels)
        captured(x, labels)
    assert captured.why_not
    assert_same_bits(state(captured), state(written))
    assert captured.loss.mean_so_far() == written.loss.mean_so_far()


@pytest.mark.parametrize("backend", ["cpu", "emulator", "cuda"])
def test_an_operation_on_a_part_of_the_input_can_be_captured(backend):
    written, captured = both_ways(
        lambda backend: dl.Sequential(OfAPart(), dl.Dense(5, 3), backend=backend), backend, clip=None
    )
    assert captured.why_not is None
    assert_same_bits(state(captured), state(written))


@pytest.mark.skipif(product.BLAS, reason="the products come from the BLAS anyway")
def test_products_of_the_blas_are_recorded_between_compiled_loops(monkeypatch):
    monkeypatch.setattr(product, "BLAS", True)
    written, captured = both_ways(lambda backend: network(dl.ReLU(), dl.BatchNorm(FEATURES), backend=backend), "cpu")
    assert captured.why_not is None
    assert_same_bits(state(captured), state(written))


def test_the_backend_is_as_before_after_a_recording_that_failed():
    backend = dl.backend.get("cpu")
    before = dict(vars(backend)), dict(vars(backend.operations))

    def allocate():
        backend.empty((1,), np.float32)

    with pytest.raises(CaptureError):
        backend.capture(allocate)
    assert (dict(vars(backend)), dict(vars(backend.operations))) == before
    assert backend.empty((2,), np.float32).shape == (2,)


def test_a_second_step_in_another_thread_is_made_as_it_is_written():
    backend_or_skip("cuda")
    ((x, labels),) = batches(FEATURES, 3, rows=300, steps=1)  # so many rows are summed up in parts
    model = dl.Sequential(dl.BatchNorm(FEATURES), dl.Dense(FEATURES, 3), seed=0, backend="cuda")
    step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Momentum(0.1))
    step(x, labels)
    failures = []

    def elsewhere():
        try:
            step(x, labels)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    step(x, labels)
    assert not failures and "must run once in the thread" in step.why_not


def test_other_threads_are_neither_recorded_nor_refused():
    backend, x = dl.backend.get("cpu"), np.ones((2, 3), np.float32)
    failures = []

    def elsewhere():
        try:
            dl.Sequential(dl.Dense(3, 2), backend="cpu").predict(x)
        except Exception as error:
            failures.append(error)

    def here():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        backend.operations.add(x, x, y)

    y = np.zeros_like(x)
    replay = backend.capture(here)
    assert not failures
    assert len(replay) == 1
    replay()
    np.testing.assert_array_equal(y, 2 * x)


# The arguments


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ({"model": dl.Dense(2, 2)}, TypeError, r"^model got Dense\(2, 2.*expected a minidl.Sequential$"),
        ({"loss": dl.SoftmaxCrossEntropy}, TypeError, r"did you mean SoftmaxCrossEntropy\(\)\?$"),
        ({"optimizer": 0.1}, TypeError, "^optimizer got 0.1; expected a minidl.Optimizer$"),
        ({"clip": 1.0}, TypeError, "^clip got 1.0; expected something that can be called$"),
        ({"graph": "always"}, TypeError, "^graph got 'always'"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(wrong, error, message):
    arguments = {"model": network(dl.ReLU()), "loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.SGD(0.1), **wrong}
    with pytest.raises(error, match=message):
        dl.TrainingStep(**arguments)


@pytest.mark.parametrize(
    "x, labels, message",
    [
        (np.ones((4, 5), np.float32), [0, 1, 2, 3], "^targets got"),
        (np.ones((4, 5), np.float32), [0, 1, 2], "^targets got"),
        (np.ones((4, 6), np.float32), [0, 1, 2, 0], "^x got 6 features"),
        ("x", [0, 1, 2, 0], "^x got dtype <U1"),
    ],
)
def test_a_recorded_step_still_checks_its_batch(x, labels, message):
    step = dl.TrainingStep(network(dl.ReLU()), dl.SoftmaxCrossEntropy(), dl.SGD(0.1), graph=True)
    for good in batches(5, 3, rows=4):
        step(*good)
    before = state(step)
    with pytest.raises((TypeError, ValueError), match=message):
        step(x, labels)
    assert_same_bits(state(step), before)


# In fit


@pytest.mark.parametrize("backend", ["cpu", "emulator", "cuda"])
@pytest.mark.parametrize("augmentation", [None, lambda x, targets, rng: (x + rng.random(), targets)])
def test_fit_gives_the_same_bits_with_and_without_capture(backend, augmentation):
    backend_or_skip(backend)
    # Five steps and more for each epoch: after validation each epoch captures anew, and replays from the fourth on.
    train, epochs, batch_size = (problem()[:14], 2, 3) if backend == "emulator" else (problem(), 3, 16)
    results = []
    for graph in (False, True):
        model = network(dl.BatchNorm(FEATURES), dl.ReLU(), dl.Dropout(0.2), backend=backend)
        loss, optimizer = dl.SoftmaxCrossEntropy(), dl.Adam(dl.schedules.Cosine(0.01, 18))
        history = dl.fit(
            model, train, validation=train[: len(train) // 5], loss=loss, optimizer=optimizer, epochs=epochs,
            batch_size=batch_size, graph=graph, augmentation=augmentation, clip=dl.ClipNorm(1.0), progress=False,
        )  # fmt: skip
        results.append((copies(model), [history[column] for column in ("loss", "accuracy", "validation_loss")]))
    assert_same_bits(results[1][0], results[0][0])
    assert results[1][1] == results[0][1]


def test_a_callback_that_follows_the_steps_is_not_left_out():
    class Follower(dl.Callback):
        follows_steps = True
        seen = 0

        def on_step_end(self, run):
            self.seen += 1

    train = problem()
    arguments = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.SGD(0.1), "epochs": 1, "batch_size": 10}
    follower = Follower()
    dl.fit(network(dl.ReLU()), train, callbacks=[follower], progress=False, **arguments)
    assert follower.seen == 10
    with pytest.raises(ValueError, match="^graph got True; expected 'auto' or False beside .*Follower"):
        dl.fit(network(dl.ReLU()), train, callbacks=[follower], graph=True, progress=False, **arguments)


def test_a_layer_that_a_callback_changed_counts_in_the_next_epoch():
    class Less(dl.Callback):
        def on_epoch_end(self, run):
            run.model.layers[1].rate = 0.1

    train = problem()
    results = []
    for graph in (False, True):
        model = network(dl.Dropout(0.5))
        dl.fit(
            model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=2, batch_size=10,
            callbacks=[Less()], graph=graph, progress=False,
        )  # fmt: skip
        results.append({name: array.copy() for name, array in model.arrays()})
    assert_same_bits(results[1], results[0])
