"""Rows that count more or less: the loss, its gradient, and what training makes of them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minidl as dl
from tests.conftest import each
from tests.test_losses import CLOSED_FORMS, draw, on

LOSSES = list(CLOSED_FORMS)


def weighted(targets, weight):
    return {"target": targets, "weight": np.asarray(weight)[:, None]}


def row_by_row(kind, outputs, targets, weight):
    """Mean of wᵢ lᵢ and its gradient, from the closed form for each row alone, in float64."""
    rows = [CLOSED_FORMS[kind][0](outputs[i : i + 1], targets[i : i + 1]) for i in range(len(outputs))]
    values, gradients = np.array([value for value, _ in rows]), np.concatenate([gradient for _, gradient in rows])
    return np.mean(weight * values), weight[:, None] * gradients / len(outputs)


@each("kind", LOSSES)
@each("shape", [(1, 1), (7, 5), (33, 70), (257, 3)])
def test_the_mean_of_weighted_row_losses_and_its_gradient(any_backend, kind, shape, rng):
    outputs, targets = draw(kind, rng, shape)
    weight = rng.uniform(0, 3, shape[0])
    value, gradient = on(any_backend, dl.Weighted(kind()), outputs, weighted(targets, weight))
    expected, expected_gradient = row_by_row(kind, outputs, targets, weight)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-11, atol=1e-15)


@each("kind", LOSSES)
def test_float32_stays_float32_and_close(any_backend, kind, rng):
    outputs, targets = draw(kind, rng, dtype=np.float32)
    weight = rng.uniform(0, 3, len(outputs))
    value, gradient = on(any_backend, dl.Weighted(kind()), outputs, weighted(targets, weight))
    expected, expected_gradient = row_by_row(kind, outputs.astype(float), targets, weight)
    assert gradient.dtype == np.float32
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


@each("kind", LOSSES)
def test_the_gradient_matches_central_differences(kind, rng):
    outputs, targets = draw(kind, rng)
    identity = dl.Dense(outputs.shape[1], outputs.shape[1], init="identity", bias=False)
    loss = dl.Weighted(kind())
    dl.check_gradients(identity, outputs, loss, weighted(targets, rng.uniform(0, 3, len(outputs))), raises=True)


@each("kind", LOSSES)
def test_a_whole_weight_is_a_row_that_often(any_backend, kind, rng):
    outputs, targets = draw(kind, rng)
    times = np.array([1, 3, 0, 2, 1, 1, 4])
    value, gradient = on(any_backend, dl.Weighted(kind()), outputs, weighted(targets, times))
    often = np.repeat(np.arange(len(times)), times)
    expected, repeated = on(any_backend, kind(), outputs[often], targets[often])
    assert value * len(times) == pytest.approx(expected * times.sum(), rel=1e-12)
    summed = np.zeros_like(gradient)
    np.add.at(summed, often, repeated * times.sum() / len(times))
    np.testing.assert_allclose(gradient, summed, rtol=1e-12, atol=1e-15)


@each("kind", LOSSES)
def test_without_weights_each_row_counts_once(any_backend, kind, rng):
    outputs, targets = draw(kind, rng)
    value, gradient = on(any_backend, dl.Weighted(kind()), outputs, targets)
    expected, expected_gradient = on(any_backend, kind(), outputs, targets)
    assert value == expected
    np.testing.assert_array_equal(gradient, expected_gradient)


def test_a_row_of_weight_0_is_not_there_even_where_its_loss_is_infinite(any_backend):
    outputs = np.array([[1e30], [1.0]], np.float32)
    targets = weighted(np.zeros((2, 1), np.float32), [0, 1])
    value, gradient = on(any_backend, dl.Weighted(dl.MeanSquaredError()), outputs, targets)
    assert value == 0.5
    np.testing.assert_array_equal(gradient, [[0], [1]])


def test_a_batch_may_have_no_row_that_counts(any_backend, rng):
    outputs, labels = draw(dl.SoftmaxCrossEntropy, rng)
    value, gradient = on(any_backend, dl.Weighted(dl.SoftmaxCrossEntropy()), outputs, weighted(labels, np.zeros(7)))
    assert value == 0 and not gradient.any()


def test_classes_and_rows_have_weights_that_are_multiplied(any_backend, rng):
    outputs, labels = draw(dl.SoftmaxCrossEntropy, rng, (9, 3))
    by_class, by_row = np.array([0.5, 2.0, 0.0]), rng.uniform(0, 3, 9)
    loss = dl.Weighted(dl.SoftmaxCrossEntropy(label_smoothing=0.1), class_weight=[0.5, 2, 0])
    plain = dl.Weighted(dl.SoftmaxCrossEntropy(label_smoothing=0.1))
    for targets, weight in ((labels, by_class[labels]), (weighted(labels, by_row), by_row * by_class[labels])):
        value, gradient = on(any_backend, loss, outputs, targets)
        expected, expected_gradient = on(any_backend, plain, outputs, weighted(labels, weight))
        assert value == pytest.approx(expected, rel=1e-14)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-14)


def test_one_output_tells_two_classes_apart(rng):
    outputs, labels = rng.normal(size=(6, 1)), np.array([0, 1, 1, 0, 0, 0])
    loss = dl.Weighted(dl.BinaryCrossEntropy(), class_weight={0: 1, 1: 5})
    value = loss.forward(outputs, labels)
    expected, _ = row_by_row(dl.BinaryCrossEntropy, outputs, labels[:, None].astype(float), np.where(labels, 5.0, 1.0))
    assert value == pytest.approx(expected, rel=1e-12)


def test_balanced_weights_give_each_class_the_same_sum():
    labels = np.array([0] * 90 + [1] * 9 + [2])
    weights = dl.data.balanced_class_weight(labels)
    sums = np.bincount(labels, weights=np.array(weights)[labels])
    np.testing.assert_allclose(sums, 100 / 3, rtol=1e-14)


@each("labels, message", [
    ([0, 2], "labels got no row of class 1; expected each class from 0 to 2"),
    ([1, 1], "labels got no row of class 0; expected each class from 0 to 1"),
    (np.zeros(0, int), "labels got no rows"),
])  # fmt: skip
def test_balanced_weights_need_all_classes(labels, message):
    with pytest.raises(ValueError, match=message):
        dl.data.balanced_class_weight(labels)


def problem(seed=0, rows=201):
    """Two classes of which 30 % have the wrong label, and weights that know which."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.int64)
    wrong = rng.random(rows) < 0.3
    return x, np.where(wrong, 1 - labels, labels), np.where(wrong, 0.0, 1.0), labels


def network(backend="cpu", seed=0):
    return dl.Sequential(dl.Dense(2, 32), dl.ReLU(), dl.Dense(32, 2), seed=seed, backend=backend)


def train(model, x, y, loss, epochs=3, **more):
    data = dl.data.Dataset(x, y)
    return dl.fit(model, data, loss=loss, optimizer=dl.Adam(0.01), epochs=epochs, batch_size=32, progress=False, **more)


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_weight_0_do_not_teach(seed):
    """Training that is told which labels are wrong is training without these rows."""
    x, noisy, weight, labels = problem(seed)
    right = dl.data.Dataset(x, labels)
    model = network(seed=seed)
    train(model, x, weighted(noisy, weight), dl.Weighted(dl.SoftmaxCrossEntropy()), epochs=80)
    misled = network(seed=seed)
    train(misled, x, noisy, dl.SoftmaxCrossEntropy(), epochs=80)
    told, untold = (dl.evaluate(each, right, loss=dl.SoftmaxCrossEntropy()).accuracy for each in (model, misled))
    assert told > 0.97 and told > untold + 0.05


@pytest.mark.parametrize("name", ["cpu", "numpy", "emulator"])
def test_a_run_is_the_loop_by_hand(name, tmp_path):
    """Captured or not, interrupted and resumed or not: the same bits; and evaluation weighs the rows, too."""
    x, labels, _, _ = problem(rows=70)
    weight = np.random.default_rng(1).uniform(0, 2, 70)
    y, loss = weighted(labels, weight), dl.Weighted(dl.SoftmaxCrossEntropy(), class_weight=[1, 3])
    model = network(name)
    data, optimizer = dl.data.Dataset(x, y), dl.Adam(0.01)
    loss.use(model.backend)
    for _ in range(2):
        for rows, targets in data.batches(32):
            loss.forward(model.forward(model.backend.array(rows, rows.dtype), training=True), targets)
            model.backward(loss.backward())
            optimizer.step(model.parameters())
    value, accuracy = dl.evaluate(model, data, loss=loss)
    losses = [dl.SoftmaxCrossEntropy().forward(model.predict(x)[i : i + 1], labels[i : i + 1]) for i in range(70)]
    assert value == pytest.approx(np.mean(weight * np.where(labels, 3, 1) * losses), rel=1e-4)
    assert accuracy == pytest.approx(np.mean(model.predict(x).argmax(axis=1) == labels))
    for graph in (True, False) if name == "cpu" else (False,):
        other = network(name)
        train(other, x, y, dl.Weighted(dl.SoftmaxCrossEntropy(), [1, 3]), 2, shuffle=False, graph=graph)
        np.testing.assert_array_equal(other.predict(x), model.predict(x))
    resumed, file = network(name), tmp_path / "run.npz"
    train(resumed, x, y, loss, 1, shuffle=False, checkpoint=file)
    resumed = network(name)
    train(resumed, x, y, loss, 2, shuffle=False, resume=file)
    np.testing.assert_array_equal(resumed.predict(x), model.predict(x))
    with pytest.raises(ValueError, match="resume"):  # other weights are other data
        train(network(name), x, weighted(labels, weight[::-1]), loss, 2, shuffle=False, resume=file)


def test_copies_pickles_and_reprs_build_the_same_loss(rng):
    outputs, labels = draw(dl.SoftmaxCrossEntropy, rng, (9, 3))
    loss = dl.Weighted(dl.SoftmaxCrossEntropy(label_smoothing=0.1), class_weight=(1, 2, 3))
    value = loss.forward(outputs, labels)
    assert repr(loss) == "Weighted(SoftmaxCrossEntropy(label_smoothing=0.1), class_weight=[1.0, 2.0, 3.0])"
    for other in (loss.new(), copy.copy(loss), pickle.loads(pickle.dumps(loss)), eval(repr(loss), vars(dl))):
        assert other.forward(outputs, labels) == value and other.loss is not loss.loss


def test_augmentations_keep_the_weights_and_pass_no_bad_label():
    x, labels, weight, _ = problem(rows=40)
    y, loss = weighted(labels, weight), dl.Weighted(dl.SoftmaxCrossEntropy())
    train(network(), x, y, loss, 1, augmentation=dl.data.Augmentation(dl.data.Noise(0.1), shape=(1, 2)))
    for part, wrong in (("target", np.full(32, -1)), ("target", np.full(32, 2)), ("weight", np.ones(32, np.float32))):
        with pytest.raises((ValueError, TypeError), match="the targets of augmentation got"):
            train(network(), x, y, loss, 1, augmentation=lambda x, y, rng: (x, {**y, part: wrong}))  # noqa: B023
    wrong = "got -0.5 in 'weight'; expected numbers of at least 0"
    with pytest.raises(ValueError, match=f"the targets of augmentation {wrong}"):
        train(network(), x, y, loss, 1, augmentation=lambda x, y, rng: (x, {**y, "weight": 0 * y["weight"] - 0.5}))
    with pytest.raises(ValueError, match="the targets of augmentation got nan"):
        train(network(), x, y, loss, 1, augmentation=lambda x, y, rng: (x, {**y, "weight": y["weight"] + np.nan}))
    with pytest.raises(ValueError, match="expected a loss without weights, because targets are mixed"):
        train(network(), x, y, loss, 1, augmentation=dl.data.Augmentation(dl.data.Mixup(0.2), shape=(1, 2)))


def test_preflight_asks_the_questions_that_it_asks_without_weights():
    x, labels, _, _ = problem(rows=300)
    weight = np.random.default_rng(0).uniform(0, 2, 300)
    plain = dl.preflight(network(), dl.data.Dataset(x, labels), dl.data.Dataset(x[:9], labels[:9]))
    data = dl.data.Dataset(x, weighted(labels, weight))
    loss = dl.Weighted(dl.SoftmaxCrossEntropy(), [1, 9])
    assert dl.preflight(network(), data, data[:9], loss=loss).checks == plain.checks
    assert plain["leakage"].verdict == "failed" and plain["first loss"].verdict == "ok"


def test_weights_need_a_loss_that_takes_them():
    x, labels, weight, _ = problem(rows=40)
    with pytest.raises(TypeError, match="train.y got a dict with 'target', 'weight'; expected integer class"):
        train(network(), x, weighted(labels, weight), dl.SoftmaxCrossEntropy())


def test_a_sigmoid_before_logits_is_refused_here_too():
    x, labels, _, _ = problem(rows=40)
    model = dl.Sequential(dl.Dense(2, 1), dl.Sigmoid(), seed=0)
    with pytest.raises(ValueError, match="BinaryCrossEntropy, which takes logits"):
        train(model, x, labels, dl.Weighted(dl.BinaryCrossEntropy()))


@each("targets, message", [
    ({"target": [0, 1]}, "targets got a dict with 'target'; expected one with 'target' and 'weight'"),
    ({"target": [0, 1], "weight": [1, 1], "more": 1}, "expected one with 'target' and 'weight'"),
    ({"target": [0, 1], "weight": [1, -0.5]}, r"targets\['weight'\] got -0.5; expected weights of at least 0"),
    ({"target": [0, 1], "weight": [1, np.nan]}, r"targets\['weight'\] got nan"),
    ({"target": [0, 1], "weight": [1, 1, 1]}, r"targets\['weight'\] got shape \(3,\); expected \(2, 1\)"),
    ({"target": [0, 3], "weight": [1, 1]}, r"targets\['target'\] got 3 at index 1; expected labels from 0 to 2"),
    ({"target": [0, 1], "weight": [1, 1e300]}, "times class_weight got inf"),
    (np.full((2, 3), 1 / 3), "expected integer class labels"),
])  # fmt: skip
def test_bad_targets_are_refused(targets, message):
    loss = dl.Weighted(dl.SoftmaxCrossEntropy(), class_weight=[1, 1e300, 1])
    with pytest.raises((TypeError, ValueError), match=message):
        loss.forward(np.zeros((2, 3)), targets)


@each("arguments, message", [
    ((None,), "loss got None; expected a loss for one task"),
    ((dl.SoftmaxCrossEntropy,), "expected a loss for one task"),
    ((dl.SoftmaxCrossEntropy(), [1, -1]), r"class_weight\[1\] got -1"),
    ((dl.SoftmaxCrossEntropy(), [0, 0]), r"class_weight got \[0.0, 0.0\]; expected at least one weight above 0"),
    ((dl.SoftmaxCrossEntropy(), 3), "class_weight got 3; expected a list of weights, one for each class"),
    ((dl.SoftmaxCrossEntropy(), "balanced"),
        r"class_weight got 'balanced'; expected a list of weights, such as dl.data.balanced_class_weight\(train.y\)"),
    ((dl.SoftmaxCrossEntropy(), {3, 1, 2}), "class_weight got {1, 2, 3}; expected a list of weights, one for each"),
    ((dl.SoftmaxCrossEntropy(), {1: 2}), r"class_weight got weights of \['1'\]; expected classes 0, 1, ..."),
    ((dl.Weighted(dl.SoftmaxCrossEntropy()),), "expected a loss for one task"),
])  # fmt: skip
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        dl.Weighted(*arguments)


def test_the_number_of_class_weights_is_that_of_the_classes():
    with pytest.raises(
        ValueError, match="class_weight got 2 weights; expected 3, one for each class, as outputs has 3 columns"
    ):
        dl.Weighted(dl.SoftmaxCrossEntropy(), [1, 2]).forward(np.zeros((2, 3)), np.array([0, 1]))


def test_several_tasks_take_no_weighted_losses():
    heads = dl.Heads(a=dl.Dense(2, 2), b=dl.Dense(2, 1))
    losses = {"a": dl.Weighted(dl.SoftmaxCrossEntropy()), "b": dl.MeanSquaredError()}
    with pytest.raises(TypeError, match="a got .*; expected a loss for that head"):
        dl.MultiTask(heads, **losses)
    with pytest.raises(TypeError, match="expected a loss for one task"):
        dl.Weighted(dl.MultiTask(heads, a=dl.SoftmaxCrossEntropy(), b=dl.MeanSquaredError()))


def test_preflight_finds_what_fit_refuses():
    x, labels, _, _ = problem(rows=40)
    negative = dl.data.Dataset(x, weighted(labels, -np.ones(40)))
    for data, loss in (
        (negative, dl.Weighted(dl.SoftmaxCrossEntropy())),
        (dl.data.Dataset(x, labels), dl.Weighted(dl.SoftmaxCrossEntropy(), [1, 2, 3])),
    ):
        assert dl.preflight(network(), data, loss=loss)["labels"].verdict == "failed"


def test_a_loss_without_accuracy_has_none_with_weights():
    loss = dl.Weighted(dl.MeanSquaredError())
    loss.forward(np.zeros((2, 1)), np.ones((2, 1)))
    assert loss.mean_so_far() == (1.0, None)


def test_weights_that_multiply_to_nothing_are_refused():
    loss = dl.Weighted(dl.SoftmaxCrossEntropy(), [1e-30, 1e-30])
    with pytest.raises(ValueError, match="times class_weight got numbers of at most 1e-60, which are all 0 in float32"):
        loss.forward(np.zeros((2, 2), np.float32), weighted(np.array([0, 1]), [1e-30, 1e-30]))


@each("seed", range(3))
def test_rows_with_weights_are_split_with_equal_shares_of_the_classes(seed):
    x, labels, weight, _ = problem(seed)
    alike = dl.data.split(dl.data.Dataset(x, labels), 0.5, 0.3, 0.2, seed=seed)
    parts = dl.data.split(dl.data.Dataset(x, weighted(labels, weight)), 0.5, 0.3, 0.2, seed=seed)
    for part, same in zip(parts, alike, strict=True):
        np.testing.assert_array_equal(part.y["target"], same.y)


def test_a_loss_is_not_called():
    with pytest.raises(TypeError, match=r"value = loss.forward\(y, targets\), then model.backward\(loss.backward"):
        dl.SoftmaxCrossEntropy()(np.zeros((2, 2)), np.array([0, 1]))
