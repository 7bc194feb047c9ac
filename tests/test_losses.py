"""Losses: means over the batch, closed forms, labels that never reach compiled code, running averages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special

import minidl as dl
from minidl.losses import one_hot


def cross_entropy(z, labels):
    n = np.arange(len(z))
    gradient = scipy.special.softmax(z, axis=1)
    gradient[n, labels] -= 1
    return np.mean(scipy.special.logsumexp(z, axis=1) - z[n, labels]), gradient / len(z)


def binary_cross_entropy(z, t):
    return np.mean(np.logaddexp(0, z) - z * t), (scipy.special.expit(z) - t) / z.size


def squared_error(y, t):
    return np.mean((y - t) ** 2), 2 * (y - t) / y.size


CLOSED_FORMS = {
    dl.SoftmaxCrossEntropy: (cross_entropy, lambda rng, shape: rng.integers(0, shape[1], shape[0])),
    dl.BinaryCrossEntropy: (binary_cross_entropy, lambda rng, shape: rng.random(shape)),
    dl.MeanSquaredError: (squared_error, lambda rng, shape: rng.normal(size=shape)),
}


@pytest.fixture(params=CLOSED_FORMS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def draw(kind, rng, shape=(7, 5), dtype=np.float64):
    """Outputs of a network and targets for them."""
    targets = CLOSED_FORMS[kind][1](rng, shape)
    return rng.normal(scale=2, size=shape).astype(dtype), targets if targets.ndim == 1 else targets.astype(dtype)


def on(backend, loss, outputs, targets):
    """Loss and gradient, with the outputs where the backend keeps them."""
    loss.use(backend)
    value = loss.forward(backend.array(outputs, outputs.dtype), targets)
    return value, backend.to_numpy(loss.backward())


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (33, 70)])
def test_loss_and_gradient_are_the_closed_forms(kind, any_backend, shape, rng):
    outputs, targets = draw(kind, rng, shape)
    value, gradient = on(any_backend, kind(), outputs, targets)
    expected, expected_gradient = CLOSED_FORMS[kind][0](outputs, targets)
    assert value == pytest.approx(expected, rel=1e-13, abs=1e-15)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-15)


def test_the_gradient_matches_central_differences(kind, rng):
    outputs, targets = draw(kind, rng)
    features = outputs.shape[1]
    identity = dl.Dense(features, features, init="identity", bias=False)  # its outputs are its inputs
    dl.check_gradients(identity, outputs, kind(), targets, raises=True)


def test_float32_stays_float32_and_close(kind, any_backend, rng):
    outputs, targets = draw(kind, rng, dtype=np.float32)
    value, gradient = on(any_backend, kind(), outputs, targets)
    expected, expected_gradient = CLOSED_FORMS[kind][0](outputs.astype(float), targets)
    assert gradient.dtype == np.float32
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


def test_twice_the_same_batch_has_the_same_mean(kind, rng):
    outputs, targets = draw(kind, rng)
    once = kind().forward(outputs, targets)
    assert kind().forward(np.tile(outputs, (2, 1)), np.concatenate([targets, targets])) == pytest.approx(once)


@pytest.mark.parametrize("kind", [dl.SoftmaxCrossEntropy, dl.BinaryCrossEntropy], ids=lambda kind: kind.__name__)
def test_huge_logits_give_finite_losses_and_gradients(kind, any_backend, dtype):
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    for targets, expected in (([0, 1], 0.0), ([1, 0], 2e4 if kind is dl.SoftmaxCrossEntropy else 1e4)):
        given = np.array(targets) if kind is dl.SoftmaxCrossEntropy else np.eye(2, dtype=dtype)[targets]
        value, gradient = on(any_backend, kind(), z, given)
        assert value == pytest.approx(expected)
        assert np.isfinite(gradient).all()


def test_neither_pass_changes_outputs_or_targets(kind, rng):
    outputs, targets = draw(kind, rng)
    before = outputs.copy(), targets.copy()
    loss = kind()
    loss.forward(outputs, targets)
    loss.backward()
    np.testing.assert_array_equal(outputs, before[0])
    np.testing.assert_array_equal(targets, before[1])


def test_any_layout_of_outputs_and_targets_gives_the_same_bits(kind, rng):
    outputs, targets = draw(kind, rng)
    expected = kind().forward(outputs, targets)
    read_only = outputs.copy()
    read_only.flags.writeable = False
    for same in (np.asfortranarray(outputs), np.repeat(outputs, 2, axis=1)[:, ::2], read_only, outputs.tolist()):
        assert kind().forward(same, targets) == expected
    read_only = np.repeat(targets, 2, axis=0)[::2]
    read_only.flags.writeable = False
    assert kind().forward(outputs, read_only) == expected
    assert kind().forward(outputs, targets.tolist()) == expected


def test_buffers_are_reused_and_shorter_batches_are_views(kind, rng, monkeypatch):
    loss = kind()
    outputs, targets = draw(kind, rng)
    loss.forward(outputs, targets)
    first = loss.backward()
    monkeypatch.setattr(dl.backend.get("cpu"), "empty", None)
    for rows in (7, 3, 5, 7):
        value = loss.forward(outputs[:rows], targets[:rows])
        gradient = loss.backward()
        expected, expected_gradient = CLOSED_FORMS[kind][0](outputs[:rows], targets[:rows])
        assert value == pytest.approx(expected)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-15)
        assert np.shares_memory(gradient, first)


# Averages over batches


def test_the_average_over_batches_of_unequal_size_is_the_mean_over_rows(kind, any_backend, dtype, rng):
    loss = kind()
    outputs, targets = draw(kind, rng, (23, 4), dtype)
    loss.use(any_backend)
    loss.restart()
    for rows in (slice(0, 10), slice(10, 20), slice(20, 22), slice(22, 23)):
        loss.forward(any_backend.array(outputs[rows], dtype), targets[rows])
    mean, accuracy = loss.mean_so_far()
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert mean == pytest.approx(CLOSED_FORMS[kind][0](outputs.astype(float), targets)[0], rel=tolerance)
    expected = {
        dl.SoftmaxCrossEntropy: lambda: np.mean(outputs.argmax(axis=1) == targets),
        dl.BinaryCrossEntropy: lambda: np.mean((outputs > 0) == (targets > 0.5)),
        dl.MeanSquaredError: lambda: None,
    }[kind]()
    assert accuracy == (None if expected is None else pytest.approx(expected, rel=tolerance))


def test_restart_begins_a_new_average(kind, rng):
    loss = kind()
    loss.restart()  # before the first batch too
    loss.forward(*draw(kind, rng))
    loss.restart()
    value = loss.forward(*draw(kind, rng))
    assert loss.mean_so_far()[0] == pytest.approx(value)
    assert loss.value == value


def test_a_change_of_precision_begins_a_new_average(kind, rng):
    loss = kind()
    loss.forward(*draw(kind, rng))
    value = loss.forward(*draw(kind, rng, (3, 5), np.float32))
    assert loss.mean_so_far()[0] == pytest.approx(value)


def test_the_first_of_two_equal_logits_counts():
    loss = dl.SoftmaxCrossEntropy()
    z = np.array([[1.0, 2.0, 2.0]] * 2)
    loss.forward(z, np.array([1, 2]))
    assert loss.mean_so_far()[1] == 0.5


def test_the_loss_at_random_is_that_of_equal_logits():
    assert dl.SoftmaxCrossEntropy().loss_at_random(10) == math.log(10)
    assert dl.BinaryCrossEntropy().loss_at_random(3) == math.log(2)
    assert dl.MeanSquaredError().loss_at_random(3) is None
    zeros = np.zeros((4, 10))
    assert dl.SoftmaxCrossEntropy().forward(zeros, np.arange(4)) == pytest.approx(math.log(10))
    assert dl.BinaryCrossEntropy().forward(zeros, zeros) == pytest.approx(math.log(2))


# Order of calls


@pytest.mark.parametrize(
    "call", [lambda loss: loss.backward(), lambda loss: loss.value, lambda loss: loss.mean_so_far()]
)
def test_there_is_no_result_before_a_forward_pass(kind, call):
    with pytest.raises(RuntimeError, match=rf"^{kind.__name__}\(\): .* needs a forward pass before it$"):
        call(kind())


def test_another_backend_needs_a_forward_pass_of_its_own(kind, rng):
    loss = kind()
    loss.forward(*draw(kind, rng))
    loss.use(dl.backend.get("emulator"))
    with pytest.raises(RuntimeError, match="backward needs a forward pass"):
        loss.backward()


def test_a_refused_batch_leaves_the_pass_before_it_usable(kind, rng):
    loss = kind()
    outputs, targets = draw(kind, rng)
    loss.forward(outputs, targets)
    expected = loss.backward().copy()
    with pytest.raises(ValueError):
        loss.forward(outputs, targets[:3])
    np.testing.assert_array_equal(loss.backward(), expected)


# Targets: a wrong one never reaches compiled code, where an index would read foreign memory


@pytest.fixture
def no_kernels(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a kernel was called")

    for kind in CLOSED_FORMS:
        monkeypatch.setattr(kind, "_forward", refuse)


WRONG_LABELS = [
    ([0, 1, 3], ValueError, "^targets got 3 at index 2; expected labels from 0 to 2$"),
    ([0, -1, 2], ValueError, "^targets got -1 at index 1; expected labels from 0 to 2$"),
    (np.array([0, 1, 2**63], np.uint64), ValueError, "^targets got 9223372036854775808 at index 2; expected labels"),
    ([2**62, 0, 1], ValueError, "^targets got 4611686018427387904 at index 0; expected labels"),
    ([0.0, 1.0, 2.0], TypeError, "^targets got dtype float64; expected integer class labels$"),
    ([True, False, True], TypeError, "^targets got dtype bool; expected integer class labels$"),
    (["0", "1", "2"], TypeError, "^targets got dtype <U1; expected integer class labels$"),
    ([None, 1, 2], TypeError, "^targets got dtype object; expected integer class labels$"),
    ([[0], [1, 2], [2]], TypeError, r"^targets got \[\[0\], \[1, 2\], \[2\]\]; expected integer class labels or prob"),
    (None, TypeError, "^targets got dtype object; expected integer class labels$"),
    ([0, 1], ValueError, r"^targets got shape \(2,\); expected \(3,\), one label for each row of x$"),
    (
        [0, 1, 2, 0],
        ValueError,
        r"^targets got shape \(4,\); expected \(3,\), one label for each row of x$",
    ),
    (
        [[0], [1], [2]],
        ValueError,
        r"^targets got shape \(3, 1\); expected \(3,\), one label for each row of x: use y\[:, 0\]$",
    ),
    (1, ValueError, r"^targets got shape \(\); expected \(3,\)"),
]


@pytest.mark.parametrize(("labels", "error", "message"), WRONG_LABELS)
def test_a_wrong_label_never_reaches_a_kernel(no_kernels, labels, error, message):
    with pytest.raises(error, match=message):
        dl.SoftmaxCrossEntropy().forward(np.zeros((3, 3)), labels)


@pytest.mark.parametrize("integer", [np.int8, np.uint8, np.int32, np.uint64, np.int64])
def test_labels_of_every_integer_type_are_accepted(integer, rng):
    z = rng.normal(size=(300, 200))
    labels = rng.integers(0, 128, 300)
    expected = dl.SoftmaxCrossEntropy().forward(z, labels)
    assert dl.SoftmaxCrossEntropy().forward(z, labels.astype(integer)) == expected


@pytest.mark.parametrize("kind", [dl.BinaryCrossEntropy, dl.MeanSquaredError], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"^targets got shape \(2, 3\); expected \(3, 2\), that of the outputs$"),
        (np.zeros((3, 1)), ValueError, r"^targets got shape \(3, 1\); expected \(3, 2\), that of the outputs$"),
        (np.zeros(3), ValueError, r"^targets got shape \(3,\); expected two dimensions"),
        (np.zeros((3, 2), int), TypeError, "^targets got dtype int64; expected float32 or float64"),
        (np.zeros((3, 2), bool), TypeError, "^targets got dtype bool; expected float32 or float64"),
        (np.array([[0, 0], [0, np.nan], [0, 0]]), ValueError, "^targets got nan at row 1, column 1"),
        (np.array([[0, 0], [0, 0], [-np.inf, 0]]), ValueError, "^targets got -inf at row 2, column 0"),
    ],
)
def test_a_wrong_target_never_reaches_a_kernel(no_kernels, kind, targets, error, message):
    with pytest.raises(error, match=message):
        kind().forward(np.zeros((3, 2)), targets)


@pytest.mark.parametrize("wrong", [-0.01, 1.01])
def test_probabilities_outside_zero_to_one_never_reach_a_kernel(no_kernels, wrong):
    with pytest.raises(ValueError, match=f"^targets got {wrong}; expected probabilities from 0 to 1$"):
        dl.BinaryCrossEntropy().forward(np.zeros((2, 2)), np.array([[0.0, 1.0], [0.5, wrong]]))


@pytest.mark.parametrize(
    ("kind", "columns", "targets", "message"),
    [
        (dl.BinaryCrossEntropy, 1, np.zeros(4), r"got shape \(4,\); .*; use y\[:, None\] for one output$"),
        (dl.MeanSquaredError, 1, np.zeros(4), r"got shape \(4,\); .*; use y\[:, None\] for one output$"),
        (
            dl.BinaryCrossEntropy,
            3,
            np.zeros(4, int),
            r"got shape .* expected \(4, 3\), .*: .* use minidl.data.one_hot\(y, 3\)$",
        ),
        (
            dl.BinaryCrossEntropy,
            3,
            np.zeros(4, bool),
            r"got shape .* expected \(4, 3\), .*: .* use minidl.data.one_hot\(y, 3\)$",
        ),
        (dl.BinaryCrossEntropy, 1, np.zeros((4, 1), int), r"got shape .*: use y\[:, 0\]$"),
        (dl.BinaryCrossEntropy, 1, np.zeros(4, bool), "got dtype bool; expected integer class labels$"),
        (dl.MeanSquaredError, 3, np.zeros((4, 3), bool), r"got dtype bool; .* \(use y.astype\('float32'\)\)$"),
        (dl.BinaryCrossEntropy, 1, np.float32([[0], [1], [1], [1.0000001]]), "got 1.0000001; expected probabilities"),
        (dl.SoftmaxCrossEntropy, 1, np.float32([[1], [1], [1], [1.0000001]]), "got 1.0000001; expected probabilities"),
    ],
)
def test_what_is_said_about_targets_leads_to_targets_that_fit(kind, columns, targets, message):
    with pytest.raises((TypeError, ValueError), match=f"^targets {message}"):
        kind().forward(np.zeros((4, columns), np.float32), targets)


def test_targets_of_a_head_are_no_pixels():
    with pytest.raises(TypeError, match=r"^y\['a'\] got dtype int64; .* \(use y.astype\('float32'\)\)$"):
        dl.data.Dataset(np.zeros((4, 2)), {"a": np.zeros((4, 2), int)})


def test_binary_cross_entropy_takes_labels_for_one_output(rng):
    z, labels = rng.normal(size=(6, 1)), np.array([0, 1, 1, 0, 1, 0])
    expected = dl.BinaryCrossEntropy().forward(z, labels[:, None].astype(float))
    assert dl.BinaryCrossEntropy().forward(z, labels) == expected
    assert dl.BinaryCrossEntropy().forward(z, labels.tolist()) == expected
    with pytest.raises(ValueError, match="^targets got 2 at index 5; expected labels from 0 to 1$"):
        dl.BinaryCrossEntropy().forward(z, np.array([0, 1, 1, 0, 1, 2]))
    with pytest.raises(TypeError, match=r"^targets got \[\[0\], \[1, 1\]\]; expected probabilities from 0 to 1$"):
        dl.BinaryCrossEntropy().forward(z, [[0], [1, 1]])


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        (np.zeros((3, 2), int), TypeError, "^outputs got dtype int64; expected float32 or float64"),
        (np.zeros(3), ValueError, r"^outputs got shape \(3,\); expected two dimensions"),
        (np.zeros((0, 2)), ValueError, r"^outputs got shape \(0, 2\); expected at least one row"),
        (None, TypeError, "^outputs got dtype object; expected float32 or float64"),
    ],
)
def test_wrong_outputs_never_reach_a_kernel(no_kernels, kind, outputs, error, message):
    with pytest.raises(error, match=message):
        kind().forward(outputs, [0, 0, 0])


# Probabilities as targets, and label smoothing


def soft_cross_entropy(z, t):
    return -np.mean(np.sum(t * scipy.special.log_softmax(z, axis=1), axis=1)), (scipy.special.softmax(z, 1) - t) / len(
        z
    )


def smoothed(t, smoothing):
    """Szegedy et al. (2016): the label keeps 1 - ε, and all classes, the label too, share ε."""
    return (1 - smoothing) * t + smoothing / t.shape[1]


def draw_soft(rng, shape=(7, 5), dtype=np.float64):
    """Logits, probabilities as targets, and labels."""
    z = rng.normal(scale=2, size=shape).astype(dtype)
    return z, rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype), rng.integers(0, shape[1], shape[0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("shape", [(1, 2), (7, 5), (33, 70)])
def test_probabilities_as_targets_follow_the_closed_form(any_backend, shape, smoothing, rng):
    z, t, labels = draw_soft(rng, shape)
    for targets, given in ((t, t), (labels, np.eye(shape[1])[labels])):
        value, gradient = on(any_backend, dl.SoftmaxCrossEntropy(smoothing), z, targets)
        expected, expected_gradient = soft_cross_entropy(z, smoothed(given, smoothing))
        assert value == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-15)


def test_soft_targets_in_float32_stay_float32_and_close(any_backend, rng):
    z, t, _ = draw_soft(rng, dtype=np.float32)
    value, gradient = on(any_backend, dl.SoftmaxCrossEntropy(0.1), z, t)
    expected, expected_gradient = soft_cross_entropy(z.astype(float), smoothed(t.astype(float), 0.1))
    assert gradient.dtype == np.float32
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_of_soft_targets_matches_central_differences(smoothing, rng):
    z, t, labels = draw_soft(rng)
    for targets in (t, labels):
        identity = dl.Dense(5, 5, init="identity", bias=False)
        dl.check_gradients(identity, z, dl.SoftmaxCrossEntropy(smoothing), targets, raises=True)


def test_one_hot_targets_are_labels(any_backend, rng):
    z, _, labels = draw_soft(rng)
    value, gradient = on(any_backend, dl.SoftmaxCrossEntropy(), z, one_hot(labels, 5, np.float64))
    expected, expected_gradient = on(any_backend, dl.SoftmaxCrossEntropy(), z, labels)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-14, atol=1e-17)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_smallest_where_the_network_gives_its_targets(smoothing, rng):
    """There it is the entropy of the targets, its gradient is 0, and every other answer costs more."""
    _, t, _ = draw_soft(rng)
    goal, loss = smoothed(t, smoothing), dl.SoftmaxCrossEntropy(smoothing)
    smallest = loss.forward(np.log(goal), t)
    assert smallest == pytest.approx(-np.mean(np.sum(goal * np.log(goal), axis=1)), rel=1e-13)
    np.testing.assert_allclose(loss.backward(), 0, atol=1e-15)
    for _ in range(20):
        assert loss.forward(np.log(goal) + 0.1 * rng.normal(size=t.shape), t) > smallest


def test_smoothing_one_label_by_hand():
    """ε = 0.3, three classes: 0.8 for the label and 0.1 for each other. Equal logits cost log 3, smoothed or not."""
    loss = dl.SoftmaxCrossEntropy(0.3)
    p = np.array([[0.5, 0.25, 0.25]])
    assert loss.forward(np.log(p), [0]) == pytest.approx(-0.8 * math.log(0.5) - 0.2 * math.log(0.25), rel=1e-14)
    np.testing.assert_allclose(loss.backward(), [[-0.3, 0.15, 0.15]], atol=1e-15)
    assert loss.forward(np.zeros((1, 3)), [0]) == pytest.approx(math.log(3), rel=1e-14)


def test_accuracy_with_soft_targets_asks_for_the_largest(any_backend):
    z = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 2.0], [0.0, 1.0, 0.5]])
    t = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0.0, 0.4, 0.6]])
    for smoothing, targets in ((0.0, t), (0.5, t), (0.5, t.argmax(axis=1))):
        loss = dl.SoftmaxCrossEntropy(smoothing)
        on(any_backend, loss, z, targets)
        assert loss.mean_so_far()[1] == 0.5


def test_hard_and_soft_batches_may_alternate(rng):
    z, t, labels = draw_soft(rng)
    loss = dl.SoftmaxCrossEntropy()
    for targets in (labels, t, labels, t):
        assert loss.forward(z, targets) == pytest.approx(dl.SoftmaxCrossEntropy().forward(z, targets), rel=1e-15)
        expected = soft_cross_entropy(z, np.eye(5)[labels] if targets is labels else t)[1]
        np.testing.assert_allclose(loss.backward(), expected, atol=1e-15)


def test_soft_targets_stay_as_they_are(rng):
    z, t, _ = draw_soft(rng)
    before = t.copy()
    dl.SoftmaxCrossEntropy(0.2).forward(z, t)
    np.testing.assert_array_equal(t, before)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([[0.5, 0.6], [1.0, 0.0]], ValueError, "^targets got a sum of 1.1 in row 0; expected probabilities that sum"),
        ([[1.0, 0.0], [0.4, 0.4]], ValueError, "^targets got a sum of 0.8 in row 1; expected probabilities that sum"),
        ([[1.5, -0.5], [1.0, 0.0]], ValueError, "^targets got -0.5; expected probabilities from 0 to 1$"),
        ([[1.0, 0.0], [0.0, 1.2]], ValueError, "^targets got 1.2; expected probabilities from 0 to 1$"),
        ([[1.0, 0.0], [np.nan, 1.0]], ValueError, "^targets got nan at row 1, column 0"),
        ([[1.0, 0.0]], ValueError, r"^targets got shape \(1, 2\); expected \(2, 2\), a probability for each class$"),
        ([[1.0], [1.0]], ValueError, r"^targets got shape \(2, 1\); expected \(2, 2\), a probability for each class$"),
        (np.ones((2, 2), np.float16) / 2, TypeError, "^targets got dtype float16; expected float32 or float64"),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_what_are_no_probabilities_never_reaches_a_kernel(no_kernels, smoothing, targets, error, message):
    with pytest.raises(error, match=message):
        dl.SoftmaxCrossEntropy(smoothing).forward(np.zeros((2, 2)), targets)


@pytest.mark.parametrize(("labels", "error", "message"), WRONG_LABELS)
def test_a_wrong_label_is_not_smoothed(no_kernels, labels, error, message):
    with pytest.raises(error, match=message):
        dl.SoftmaxCrossEntropy(0.1).forward(np.zeros((3, 3)), labels)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_smoothing_outside_zero_to_one_is_refused(smoothing):
    with pytest.raises(ValueError, match="^label_smoothing got .*; expected a finite number, at least 0 and less than"):
        dl.SoftmaxCrossEntropy(smoothing)


def test_repr_shows_the_smoothing():
    assert repr(dl.SoftmaxCrossEntropy(0.1)) == "SoftmaxCrossEntropy(label_smoothing=0.1)"


def test_one_hot_rows(dtype):
    rows = one_hot(np.array([2, 0, 2]), 3, dtype)
    assert rows.dtype == dtype
    np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 0, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="^labels got 3 at index 1; expected labels from 0 to 2$"):
        one_hot(np.array([0, 3]), 3)
    with pytest.raises(TypeError, match="^labels got dtype float64; expected integer class labels$"):
        one_hot(np.array([0.0, 1.0]), 3)


# Probabilities


def test_softmax_gives_probabilities(dtype, rng):
    z = rng.normal(scale=5, size=(50, 10)).astype(dtype)
    before = z.copy()
    p = dl.softmax(z)
    assert type(p) is np.ndarray and p.dtype == dtype
    np.testing.assert_allclose(p, scipy.special.softmax(z.astype(float), axis=1), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(z, before)
    assert not np.shares_memory(p, dl.softmax(z))


def test_softmax_does_not_overflow_and_takes_any_layout():
    np.testing.assert_array_equal(dl.softmax(np.array([[1e4, 0.0, -1e4]])), [[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(dl.softmax(np.full((2, 4), 1e30, np.float32)), 0.25)
    np.testing.assert_allclose(
        dl.softmax(np.asfortranarray(np.log([[1.0, 3.0], [2.0, 2.0]]))), [[0.25, 0.75], [0.5, 0.5]]
    )
    np.testing.assert_allclose(dl.softmax([[0.0, 0.0]]), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("logits", "error", "message"),
    [
        (np.zeros((2, 2), int), TypeError, "^logits got dtype int64; expected float32 or float64"),
        (np.zeros(2), ValueError, r"^logits got shape \(2,\); expected two dimensions"),
        (np.array([[0.0, np.nan]]), ValueError, "^logits got nan at row 0, column 1"),
    ],
)
def test_softmax_refuses_what_are_not_logits(logits, error, message):
    with pytest.raises(error, match=message):
        dl.softmax(logits)


def test_repr_is_the_call(kind):
    assert repr(kind()) == f"{kind.__name__}()"


@pytest.mark.parametrize(
    "loss", [dl.SoftmaxCrossEntropy(0.1), dl.BinaryCrossEntropy(), dl.MeanSquaredError()], ids=repr
)
def test_a_new_loss_has_the_same_arguments_and_has_measured_nothing(loss):
    loss.forward(np.zeros((2, 2)), np.eye(2))
    new = loss.new()
    assert repr(new) == repr(loss)
    with pytest.raises(RuntimeError, match="needs a forward pass"):
        _ = new.value
