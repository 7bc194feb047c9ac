"""Several tasks on shared layers: the loss of each head, its weight, its accuracy, and what they send back."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl
from minidl.losses import map_targets

ROWS = 8
WEIGHTS = {"digit": 2.0, "odd": 0.5, "size": 3.0}


def make_losses():
    return {"digit": dl.SoftmaxCrossEntropy(), "odd": dl.BinaryCrossEntropy(), "size": dl.MeanSquaredError()}


def make(backend="cpu", weights=WEIGHTS, dtype="float64"):
    """A model with a trunk and three heads, and its loss."""
    heads = dl.Heads(digit=dl.Dense(5, 4), odd=dl.Sequential(dl.Dense(5, 1)), size=dl.Dense(5, 2))
    model = dl.Sequential(dl.Dense(3, 5), dl.Tanh(), heads, backend=backend, dtype=dtype)
    return model, dl.MultiTask(heads, weights, **make_losses())


def draw(rng, rows=ROWS):
    targets = {
        "digit": rng.integers(0, 4, rows),
        "odd": rng.integers(0, 2, rows),
        "size": rng.normal(size=(rows, 2)),
    }
    return rng.normal(size=(rows, 3)), targets


def test_loss_and_gradients_are_the_weighted_sum_of_separate_models_with_the_same_weights(any_backend, rng):
    get = any_backend.to_numpy
    model, loss = make(any_backend.name)
    loss.use(any_backend)
    x, targets = draw(rng)
    value = loss.forward(model.forward(x, training=True), targets)
    model.backward(loss.backward())
    trunk = [np.zeros(p.shape) for p in model.layers[0].parameters()]
    total = 0.0
    for name, alone_loss in make_losses().items():
        other = make(any_backend.name)[0]
        alone = dl.Sequential(
            dl.Dense(3, 5), dl.Tanh(), eval(repr(other.layers[2].heads[name]), dict(vars(dl))),
            backend=any_backend.name, dtype="float64",
        )  # fmt: skip
        mine = [*model.layers[0].parameters(), *model.layers[2].heads[name].parameters()]
        for its, parameter in zip(alone.parameters(), mine, strict=True):
            any_backend.copy_into(its.value, get(parameter.value))
        alone_loss.use(any_backend)
        total += WEIGHTS[name] * alone_loss.forward(alone.forward(x, training=True), targets[name])
        alone.backward(alone_loss.backward())
        gradients = [WEIGHTS[name] * get(p.gradient) for p in alone.parameters()]
        trunk = [a + b for a, b in zip(trunk, gradients[:2], strict=True)]
        for parameter, gradient in zip(mine[2:], gradients[2:], strict=True):
            np.testing.assert_allclose(get(parameter.gradient), gradient, rtol=1e-12, err_msg=parameter.name)
    assert value == pytest.approx(total, rel=1e-13)
    for parameter, gradient in zip(model.layers[0].parameters(), trunk, strict=True):
        np.testing.assert_allclose(get(parameter.gradient), gradient, rtol=1e-12, atol=1e-15)


def test_the_gradient_matches_central_differences(rng):
    model, loss = make()
    x, targets = draw(rng)
    dl.check_gradients(model, x, loss, targets, raises=True)


def test_left_out_weights_are_one(rng):
    x, targets = draw(rng)
    model, loss = make(weights={"odd": 3.0})
    assert loss.weights == {"digit": 1.0, "odd": 3.0, "size": 1.0}
    model, ones = make(weights=None)
    assert loss.forward(model.forward(x), targets) > ones.forward(model.forward(x), targets)


def test_by_head_tells_the_heads_apart_over_batches_of_unequal_size(any_backend, rng):
    model, loss = make(any_backend.name)
    loss.use(any_backend)
    x, targets = draw(rng, 20)
    outputs = model.predict(x)
    loss.restart()  # before the first batch too
    loss.forward(model.forward(x[:2]), {name: part[:2] for name, part in targets.items()})
    loss.restart()
    for rows in (slice(0, 9), slice(9, 17), slice(17, 20)):
        loss.forward(model.forward(x[rows]), {name: part[rows] for name, part in targets.items()})
    expected = {}
    for name, alone in make_losses().items():
        mean = alone.forward(np.ascontiguousarray(model.layers[2].split(outputs)[name]), targets[name])
        expected[name] = mean, alone.mean_so_far()[1]
    found = loss.by_head()
    assert expected["digit"][1] == np.mean(outputs[:, :4].argmax(axis=1) == targets["digit"])
    assert expected["odd"][1] == np.mean((outputs[:, 4] > 0) == targets["odd"])
    assert found["size"][1] is None
    for name, (mean, accuracy) in expected.items():
        assert found[name] == (pytest.approx(mean, rel=1e-12), accuracy and pytest.approx(accuracy, rel=1e-12))
    mean, accuracy = loss.mean_so_far()
    assert mean == pytest.approx(sum(WEIGHTS[name] * expected[name][0] for name in WEIGHTS), rel=1e-12)
    assert accuracy == pytest.approx((expected["digit"][1] + expected["odd"][1]) / 2, rel=1e-12)


def test_without_a_loss_that_has_an_accuracy_there_is_none(rng):
    heads = dl.Heads(a=dl.Dense(3, 1), b=dl.Dense(3, 1))
    loss = dl.MultiTask(heads, a=dl.MeanSquaredError(), b=dl.MeanSquaredError())
    loss.forward(rng.normal(size=(4, 2)), {"a": np.zeros((4, 1)), "b": np.zeros((4, 1))})
    assert not loss.has_accuracy and loss.mean_so_far()[1] is None


def test_the_order_of_the_targets_does_not_matter(rng):
    model, loss = make()
    x, targets = draw(rng)
    value = loss.forward(model.forward(x), targets)
    assert loss.forward(model.forward(x), dict(reversed(targets.items()))) == value


def test_float32_stays_float32(rng):
    model, loss = make(dtype="float32")
    double, exact = make()
    x, targets = draw(rng)
    value = loss.forward(model.forward(x.astype(np.float32), training=True), targets)
    assert loss.backward().dtype == np.float32
    assert value == pytest.approx(exact.forward(double.forward(x), targets), rel=1e-5)


def test_one_network_learns_two_tasks_by_hand():
    x = np.random.default_rng(0).normal(size=(200, 2))
    targets = {"sign": (x[:, 0] > 0).astype(int), "sum": x.sum(axis=1, keepdims=True)}
    heads = dl.Heads(sign=dl.Dense(16, 2), sum=dl.Dense(16, 1))
    model = dl.Sequential(dl.Dense(2, 16), dl.Tanh(), heads, backend="cpu", dtype="float64")
    loss = dl.MultiTask(heads, sign=dl.SoftmaxCrossEntropy(label_smoothing=0.05), sum=dl.MeanSquaredError())
    optimizer = dl.Adam(0.02)
    for _ in range(200):
        loss.restart()
        loss.forward(model.forward(x, training=True), targets)
        model.backward_parameters(loss.backward())
        optimizer.step(model.parameters())
    (_, accuracy), (error, _) = loss.by_head().values()
    assert accuracy > 0.95 and error < 0.05


def test_the_loss_at_random_is_the_weighted_sum_or_unknown():
    _, loss = make()
    assert loss.loss_at_random(7) is None
    heads = dl.Heads(a=dl.Dense(3, 10), b=dl.Dense(3, 4))
    loss = dl.MultiTask(heads, {"b": 2.0}, a=dl.SoftmaxCrossEntropy(), b=dl.BinaryCrossEntropy())
    assert loss.loss_at_random(14) == pytest.approx(math.log(10) + 2 * math.log(2))


def test_repr_shows_heads_weights_and_losses():
    heads = dl.Heads(a=dl.Dense(3, 2), b=dl.Dense(3, 1))
    loss = dl.MultiTask(heads, {"b": 2.0}, a=dl.SoftmaxCrossEntropy(0.1), b=dl.MeanSquaredError())
    assert repr(loss) == (
        "MultiTask(Heads(a=Dense(3, 2), b=Dense(3, 1)), weights={'a': 1.0, 'b': 2.0}, "
        "a=SoftmaxCrossEntropy(label_smoothing=0.1), b=MeanSquaredError())"
    )
    assert repr(eval(repr(loss), dict(vars(dl)))) == repr(loss)


def test_map_targets_goes_into_each_head():
    assert map_targets(lambda a: a + 1, 1) == 2
    assert map_targets(lambda a, b: a - b, {"a": 5, "b": 7}, {"b": 1, "a": 2}) == {"a": 3, "b": 6}


# Unknown labels


def unknown_here_and_there(targets, digit=(0, 3, 4), odd=(1, 3)):
    partial = {name: part.copy() for name, part in targets.items()}
    partial["digit"][list(digit)] = -1
    partial["odd"][list(odd)] = -1
    return partial


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_row_sends_nothing_from_a_head_whose_label_is_unknown(any_backend, dtype, rng, smoothing):
    get = any_backend.to_numpy
    heads = dl.Heads(digit=dl.Dense(5, 4), odd=dl.Dense(5, 1), size=dl.Dense(5, 2))
    losses = {**make_losses(), "digit": dl.SoftmaxCrossEntropy(smoothing)}
    loss = dl.MultiTask(heads, WEIGHTS, **losses)
    loss.use(any_backend)
    outputs = rng.normal(size=(ROWS, 7)).astype(dtype)
    _, targets = draw(rng)
    targets["size"] = -np.abs(targets["size"]).astype(dtype)  # a negative number is a number
    partial = unknown_here_and_there(targets)
    value = loss.forward(any_backend.wrap(outputs), partial)
    doutputs = get(loss.backward())
    expected, total = np.zeros((ROWS, 7)), 0.0
    accuracy = {}
    for name, alone in losses.items():
        alone = alone.new()
        columns = heads.columns[name]
        known = np.flatnonzero(partial[name] >= 0) if name != "size" else np.arange(ROWS)
        mean = alone.forward(np.ascontiguousarray(outputs[known, columns]), targets[name][known])
        total += WEIGHTS[name] * mean * len(known) / ROWS
        expected[known, columns] = WEIGHTS[name] * alone.backward() * len(known) / ROWS
        by_head = loss.by_head()[name]
        assert by_head == (pytest.approx(mean, rel=1e-5), accuracy.setdefault(name, alone.mean_so_far()[1]))
    assert value == pytest.approx(total, rel=1e-5)
    np.testing.assert_allclose(doutputs, expected, rtol=1e-4, atol=1e-6)
    assert (doutputs[[0, 3, 4], :4] == 0).all() and (doutputs[[1, 3], 4] == 0).all()
    mean, overall = loss.mean_so_far()
    assert mean == pytest.approx(total, rel=1e-5)
    assert overall == pytest.approx((accuracy["digit"] + accuracy["odd"]) / 2)


def test_the_gradient_with_unknown_labels_matches_central_differences(rng):
    model, loss = make()
    x, targets = draw(rng)
    dl.check_gradients(model, x, loss, unknown_here_and_there(targets), raises=True)


def test_known_labels_are_counted_over_batches_and_a_head_without_any_has_no_accuracy(any_backend, rng):
    _, loss = make(any_backend.name)
    loss.use(any_backend)
    outputs = rng.normal(size=(ROWS, 7))
    _, targets = draw(rng)
    for digit in ((), range(ROWS), (0, 1)):
        loss.forward(any_backend.wrap(outputs), unknown_here_and_there(targets, digit, ()))
    right = outputs[:, :4].argmax(axis=1) == targets["digit"]
    assert loss.by_head()["digit"][1] == pytest.approx((right.sum() + right[2:].sum()) / (2 * ROWS - 2))
    loss.restart()
    loss.forward(any_backend.wrap(outputs), unknown_here_and_there(targets, range(ROWS), ()))
    mean, accuracy = loss.by_head()["digit"]
    assert math.isnan(mean) and accuracy is None
    assert loss.mean_so_far()[1] == loss.by_head()["odd"][1]


@pytest.mark.parametrize("graph", [False, True])
def test_rows_with_the_label_of_one_task_train_as_two_data_sets_do(graph, rng):
    """Batches of digits alone and of odd alone, one after the other, are what one data set with -1 in it says."""
    x, targets = draw(rng, 12)
    first, second = slice(0, 6), slice(6, 12)
    partial = unknown_here_and_there(targets, range(6, 12), range(6))
    together, loss = make()
    data = dl.data.Dataset(x, partial)
    history = dl.fit(
        together, data, validation=data, loss=loss, optimizer=dl.SGD(0.1), batch_size=6, epochs=5, shuffle=False,
        graph=graph, progress=False,
    )  # fmt: skip
    by_hand, other = make()
    for start, copy in zip(make()[0].parameters(), by_hand.parameters(), strict=True):
        assert start.value.tobytes() == copy.value.tobytes()
    optimizer = dl.SGD(0.1)
    for _ in range(5):
        for rows, name in ((first, "digit"), (second, "odd")):
            other.forward(by_hand.forward(x[rows], training=True), {n: part[rows] for n, part in partial.items()})
            doutputs = other.backward()
            others = [columns for head, columns in by_hand.layers[-1].columns.items() if head not in (name, "size")]
            assert (doutputs[:, others[0]] == 0).all()
            by_hand.backward_parameters(doutputs)
            optimizer.step(by_hand.parameters())
    for one, other_one in zip(together.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(one.value, other_one.value, rtol=1e-10, atol=1e-12)
    assert 0 <= history["accuracy"][-1] <= 1 and 0 <= history["validation_accuracy"][-1] <= 1


def test_unknown_labels_pass_an_augmentation_that_mixes_nothing(rng):
    heads = dl.Heads(a=dl.Dense(9, 3), b=dl.Dense(9, 2))
    model = dl.Sequential(heads, backend="cpu")
    data = dl.data.Dataset(rng.random((6, 9), np.float32), {"a": [0, 1, -1, 2, -1, 0], "b": [-1, 0, 1, 1, 0, -1]})
    options = {"optimizer": dl.SGD(0.1), "batch_size": 3, "epochs": 1, "progress": False}
    loss = dl.MultiTask(heads, a=dl.SoftmaxCrossEntropy(), b=dl.SoftmaxCrossEntropy())
    shift = dl.data.Augmentation(dl.data.Shift(1), shape=(3, 3))
    assert math.isfinite(dl.fit(model, data, loss=loss, augmentation=shift, **options)["loss"][-1])
    mixup = dl.data.Augmentation(dl.data.Mixup(0.2), shape=(3, 3))
    with pytest.raises(ValueError, match=r"^targets\['a'\] got -1; expected all labels, because targets are mixed$"):
        dl.fit(model, data, loss=loss, augmentation=mixup, **options)


def test_the_loss_at_random_counts_known_labels_only(rng):
    heads = dl.Heads(a=dl.Dense(3, 10), b=dl.Dense(3, 2))
    loss = dl.MultiTask(heads, {"b": 2.0}, a=dl.SoftmaxCrossEntropy(), b=dl.SoftmaxCrossEntropy())
    loss.forward(np.zeros((4, 12)), {"a": [1, -1, -1, -1], "b": [0, 1, 1, -1]})
    assert loss.loss_at_random(12) == pytest.approx(math.log(10) / 4 + 2 * math.log(2) * 3 / 4)
    assert loss.value == pytest.approx(loss.loss_at_random(12))


def test_another_dtype_starts_another_average_of_known_labels(rng):
    heads = dl.Heads(a=dl.Dense(3, 3), b=dl.Dense(3, 1))
    loss = dl.MultiTask(heads, a=dl.SoftmaxCrossEntropy(), b=dl.BinaryCrossEntropy())
    for dtype in (np.float64, np.float32):
        loss.forward(np.zeros((2, 4), dtype), {"a": [0, -1], "b": [-1, -1]})
    (of_a, accuracy), of_b = loss.by_head()["a"], loss.by_head()["b"]
    assert of_a == pytest.approx(math.log(3)) and accuracy == 1
    assert math.isnan(of_b[0]) and of_b[1] is None
    assert loss.mean_so_far() == (pytest.approx(math.log(3) / 2), 1)


# Errors


@pytest.mark.parametrize("call", [lambda loss: loss.backward(), lambda loss: loss.value, lambda loss: loss.by_head()])
def test_there_is_no_result_before_a_forward_pass(call):
    with pytest.raises(RuntimeError, match="needs a forward pass before it$"):
        call(make()[1])


HEADS = dl.Heads(a=dl.Dense(3, 2), b=dl.Dense(3, 1))


def losses(**others):
    return {"a": dl.SoftmaxCrossEntropy(), "b": dl.MeanSquaredError(), **others}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dl.MultiTask({"a": 1}, **losses()), TypeError, "^heads got {'a': 1}; expected the minidl.Heads layer"),
        (lambda: dl.MultiTask(HEADS, a=dl.MeanSquaredError()), TypeError, "^b got None; expected a loss for that head"),
        (lambda: dl.MultiTask(HEADS, **losses(b="mse")), TypeError, "^b got 'mse'; expected a loss for that head$"),
        (
            lambda: dl.MultiTask(HEADS, **losses(c=dl.MeanSquaredError())),
            ValueError,
            "^a name in losses got 'c'; expected one of 'a', 'b'",
        ),
        (lambda: dl.MultiTask(HEADS, {"c": 1.0}, **losses()), ValueError, "^a name in weights got 'c'; expected one"),
        (lambda: dl.MultiTask(HEADS, {"a": 0}, **losses()), ValueError, r"^weights\['a'\] got 0; expected .* than 0$"),
        (lambda: dl.MultiTask(HEADS, {"b": "1"}, **losses()), TypeError, r"^weights\['b'\] got '1'; expected a finite"),
        (lambda: dl.MultiTask(HEADS, [1, 2], **losses()), TypeError, r"^weights got \[1, 2\]; expected a dict"),
        (
            lambda: dl.MultiTask(HEADS, **dict.fromkeys("ab", dl.MeanSquaredError())),
            ValueError,
            "^losses got one loss for two heads; make a new loss for each$",
        ),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


GOOD = {"a": np.array([0, 1]), "b": np.zeros((2, 1))}


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, "^targets got no dict; expected a dict with targets for a, b$"),
        ({"a": GOOD["a"]}, ValueError, "^targets got targets for 'a'; expected a dict with targets for a, b$"),
        ({**GOOD, "c": 1}, ValueError, "^targets got targets for 'a', 'b', 'c'; expected a dict with targets for a, b"),
        ({**GOOD, "a": [0, 2]}, ValueError, r"^targets\['a'\] got 2 at index 1; expected labels from 0 to 1$"),
        ({**GOOD, "a": [0, -2]}, ValueError, r"^targets\['a'\] got -2 at index 1; expected labels from 0 to 1$"),
        ({**GOOD, "a": [-1, 2]}, ValueError, r"^targets\['a'\] got 2 at index 1; expected labels from 0 to 1$"),
        ({**GOOD, "b": [-1, 0]}, TypeError, r"^targets\['b'\] got dtype int64; expected float32 or float64"),
        ({**GOOD, "b": [[0.0]]}, ValueError, r"^targets\['b'\] got shape \(1, 1\); expected \(2, 1\)"),
    ],
)
def test_bad_targets_name_their_head(targets, error, message):
    with pytest.raises(error, match=message):
        dl.MultiTask(HEADS, **losses()).forward(np.zeros((2, 3)), targets)


def test_outputs_of_another_model_are_refused():
    with pytest.raises(ValueError, match="^the model gives 4 outputs; the heads of the loss have 3$"):
        dl.MultiTask(HEADS, **losses()).forward(np.zeros((2, 4)), GOOD)
