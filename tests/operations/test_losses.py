"""Softmax, the losses with their gradients, and the mean over the batch, on every backend against float64."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from minidl.backend import get
from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, drawn, eps, huge, inout, out, run, seeds

# (rows, columns): a warp of 32 lanes has a row, a block has 4 rows.
SHAPES = [(1, 1), (1, 33), (2, 31), (3, 32), (4, 2), (5, 65), (7, 10), (8, 3), (13, 5)]

shapes = each("shape", SHAPES)
many_rows = each("shape", [(4099, 1), (1399, 3)])  # the CPU takes 4096 numbers at once
any_shape = given(rows=st.integers(1, 9), columns=st.integers(1, 70), seed=seeds)

# exp, log and log1p have 2 ulp on the CPU (`vector_math`), and up to 4 elsewhere, where they come from the platform.
ULPS = 4


# Softmax and its cross-entropy ---------------------------------------------------------------------------------------


def forward(backend, logits, labels):
    """probabilities, row_losses, row_correct."""
    rows, dtype = len(logits), logits.dtype
    outputs = [out(dtype, *logits.shape), out(dtype, rows), out(dtype, rows)]
    return run(backend, "softmax_cross_entropy_forward", logits, labels, *outputs)


def softmax_errors(logits):
    """How far the probabilities may be off, relative to themselves, and the losses.

    z - max z is rounded by eps |z - max z|, which is the relative error that its exponential takes over. In the sum
    of the exponentials each term weighs as much as its probability, and there are as many roundings as columns.
    """
    unit, wide = eps(logits.dtype), logits.astype(np.float64)
    below = np.minimum(wide.max(axis=1, keepdims=True) - wide, 1e9)  # where it is infinite, the probability is 0
    total = (reference.softmax(logits) * below).sum(axis=1) + ULPS + logits.shape[1]
    return unit * (below + ULPS + 1 + total[:, None]), unit * (total + ULPS * np.log(logits.shape[1]))


def check_softmax(backend, logits, labels):
    dtype, rows = logits.dtype, np.arange(len(logits))
    expected, expected_losses = reference.softmax(logits), reference.softmax_cross_entropy(logits, labels)
    relative, loss_error = softmax_errors(logits)
    probabilities, losses, correct = forward(backend, logits, labels)
    assert_close(probabilities, expected, relative * expected)
    assert_close(run(backend, "softmax", logits, out(dtype, *logits.shape)), expected, relative * expected)
    below = logits.max(axis=1).astype(np.float64) - logits[rows, labels]
    assert_close(losses, expected_losses, loss_error + eps(dtype) * 2 * below)
    np.testing.assert_array_equal(correct, np.argmax(logits, axis=1) == labels)


@shapes
def test_softmax_and_loss(any_backend, dtype, rng, shape):
    logits = rng.normal(scale=3, size=shape).astype(dtype)
    for labels in (rng.integers(0, shape[1], shape[0]), logits.argmax(axis=1), np.full(shape[0], shape[1] - 1)):
        check_softmax(any_backend, logits, labels)


@many_rows
def test_softmax_and_loss_of_many_rows(dtype, rng, shape):
    logits = rng.normal(size=shape).astype(dtype)
    check_softmax(get("cpu"), logits, rng.integers(0, shape[1], shape[0]))


@drawn
@any_shape
def test_softmax_and_loss_in_any_shape(any_backend, dtype, rows, columns, seed):
    rng = np.random.default_rng(seed)
    check_softmax(any_backend, rng.normal(size=(rows, columns)).astype(dtype), rng.integers(0, columns, rows))


@each("size", [1e-30, 1e4, np.inf])
def test_logits_of_any_size_give_a_loss_that_is_finite_and_right(any_backend, dtype, size):
    size = min(size, huge(dtype))
    # The label has the largest, the smallest, and one of two equal logits.
    logits = (size * np.array([[1, -1, 0], [1, -1, 0], [1, 1, -1], [-1, -1, -1]])).astype(dtype)
    labels = np.array([0, 1, 1, 2])
    check_softmax(any_backend, logits, labels)
    _, losses, _ = forward(any_backend, logits, labels)
    if size > 1:
        assert_close(losses, np.array([0, 2 * float(logits[0, 0]), np.log(2), np.log(3)]), 8 * eps(dtype) * losses)


@each("column", [0, 1, 31, 32, 64])
def test_the_largest_logit_is_found_in_any_column(any_backend, dtype, column):
    # If it is not subtracted, its exponential is infinite.
    logits, labels = np.zeros((2, 65), dtype), np.array([column, 2])
    logits[:, column] = 1e4
    probabilities, losses, correct = forward(any_backend, logits, labels)
    np.testing.assert_array_equal(probabilities, reference.onehot([column, column], 65))
    assert losses.tolist() == [0, 1e4]
    assert correct.tolist() == [1, 0]


@each("columns", [1, 10, 33])
@each("value", [0.0, -0.0, 1e4, -1e4])
def test_equal_logits_mean_equal_probabilities(any_backend, dtype, columns, value):
    logits, labels = np.full((3, columns), value, dtype), np.array([0, columns // 2, columns - 1])
    probabilities, losses, correct = forward(any_backend, logits, labels)
    # exp(0) = 1 and sums of ones are exact, so only the quotient and the logarithm round.
    assert_close(probabilities, np.full(logits.shape, 1 / columns), eps(dtype) / columns)
    assert_close(losses, np.full(3, np.log(columns)), ULPS * eps(dtype) * np.log(columns))
    np.testing.assert_array_equal(correct, labels == 0)


@each("first, second", [(0, 1), (2, 33), (31, 32), (5, 37), (1, 64)])
def test_the_first_of_two_largest_logits_is_the_answer(any_backend, dtype, first, second):
    # Columns 32 apart belong to the same lane; 33 belongs to a lane before that of 2.
    logits = np.zeros((3, 65), dtype)
    logits[:, [first, second]] = 7
    _, _, correct = forward(any_backend, logits, np.array([first, second, 3]))
    assert correct.tolist() == [1, 0, 0]


def test_a_logit_of_minus_infinity_is_impossible(any_backend, dtype):
    logits = np.array([[0, -np.inf, 1], [-np.inf, 2, 2], [-np.inf, 0, -np.inf]], dtype)
    labels = np.array([0, 0, 1])
    probabilities, losses, correct = forward(any_backend, logits, labels)
    assert (probabilities[np.isneginf(logits)] == 0).all()
    assert_close(probabilities, reference.softmax(logits), 8 * eps(dtype))
    assert_close(losses, np.array([np.log1p(np.e), np.inf, 0]), 8 * eps(dtype))
    assert correct.tolist() == [0, 0, 1]


@each("column", [0, 3, 33])
@each("value", [np.nan, np.inf])
def test_nan_spoils_its_row_and_no_other(any_backend, dtype, rng, column, value):
    # The same for +inf: inf / inf has no value.
    logits, labels = rng.normal(size=(6, 34)).astype(dtype), np.zeros(6, np.int64)
    logits[4, column] = value
    probabilities, losses, _ = forward(any_backend, logits, labels)
    spoilt = np.arange(6) == 4
    np.testing.assert_array_equal(np.isnan(losses), spoilt)
    np.testing.assert_array_equal(np.isnan(probabilities).any(axis=1), spoilt)
    if np.isnan(value):
        assert np.isnan(probabilities[4]).all()


def check_softmax_backward(backend, dtype, rng, rows, columns):
    labels = rng.integers(0, columns, rows)
    probabilities = reference.softmax(rng.normal(scale=3, size=(rows, columns))).astype(dtype)
    gradient = run(backend, "softmax_cross_entropy_backward", probabilities, labels, out(dtype, rows, columns))
    expected = (probabilities.astype(np.float64) - reference.onehot(labels, columns)) / rows
    # A difference, a rounded 1 / rows, and a product.
    assert_close(gradient, expected, 3 * eps(dtype) * np.abs(expected))


@each("nan", [np.nan, -np.nan])
@each("column", [0, 1, 2])
def test_where_the_loss_is_nan_no_label_is_correct(any_backend, dtype, column, nan):
    logits = np.array([[1, 1, 1], [2, 3, 4], [4, 3, 2], [2, 4, 3], [0, 3, 1]], dtype)
    logits[:4, column] = nan
    for label in range(3):
        labels = np.array([label] * 4 + [1])
        targets = reference.onehot(labels, 3).astype(dtype)
        for _, losses, correct in (forward(any_backend, logits, labels), soft_forward(any_backend, logits, targets)):
            assert np.isnan(losses[:4]).all() and correct.tolist() == [0, 0, 0, 0, 1]


@shapes
def test_gradient_of_softmax_cross_entropy(any_backend, dtype, rng, shape):
    check_softmax_backward(any_backend, dtype, rng, *shape)


@many_rows
def test_gradient_of_softmax_cross_entropy_of_many_rows(dtype, rng, shape):
    check_softmax_backward(get("cpu"), dtype, rng, *shape)


# Soft targets --------------------------------------------------------------------------------------------------------


def soft_forward(backend, logits, targets):
    """probabilities, row_losses, row_correct."""
    outputs = [out(logits.dtype, *logits.shape), *row_outputs(logits)]
    return run(backend, "soft_cross_entropy_forward", logits, targets, *outputs)


def check_soft_cross_entropy(backend, logits, targets):
    dtype, (rows, columns) = logits.dtype, logits.shape
    wide_z, wide_t = logits.astype(np.float64), targets.astype(np.float64)
    relative, log_error = softmax_errors(logits)
    probabilities, losses, correct = soft_forward(backend, logits, targets)
    softmax, expected = reference.softmax(logits), reference.soft_cross_entropy(logits, targets)
    assert_close(probabilities, softmax, relative * softmax)
    # A class has the error of the logarithm and of two differences; then a product, and a sum over the columns.
    below = wide_z.max(axis=1, keepdims=True) - wide_z
    terms = np.where(wide_t == 0, 0, wide_t * np.where(wide_t == 0, 0, below + np.log(columns))).sum(axis=1)
    assert_close(losses, expected, log_error * wide_t.sum(axis=1) + eps(dtype) * (columns + 3) * terms)
    np.testing.assert_array_equal(correct, np.argmax(logits, axis=1) == np.argmax(targets, axis=1))
    gradient = run(backend, "soft_cross_entropy_backward", probabilities, targets, out(dtype, rows, columns))
    difference = (probabilities.astype(np.float64) - wide_t) / rows
    assert_close(gradient, difference, 3 * eps(dtype) * np.abs(difference))


def distributions(dtype, rng, rows, columns):
    """Random targets, a third of them 0 wherever that leaves one."""
    targets = rng.exponential(size=(rows, columns)) * (rng.random((rows, columns)) < 2 / 3)
    targets[:, columns // 2] += 0.1
    return (targets / targets.sum(axis=1, keepdims=True)).astype(dtype)


@shapes
def test_soft_cross_entropy(any_backend, dtype, rng, shape):
    logits = rng.normal(scale=3, size=shape).astype(dtype)
    check_soft_cross_entropy(any_backend, logits, distributions(dtype, rng, *shape))
    check_soft_cross_entropy(any_backend, logits, np.full(shape, 1 / shape[1], dtype))


@drawn
@any_shape
def test_soft_cross_entropy_in_any_shape(any_backend, dtype, rows, columns, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, columns)).astype(dtype)
    check_soft_cross_entropy(any_backend, logits, distributions(dtype, rng, rows, columns))


@shapes
def test_a_certain_target_is_a_label(any_backend, dtype, rng, shape):
    logits, labels = rng.normal(scale=3, size=shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    targets = reference.onehot(labels, shape[1]).astype(dtype)
    soft, hard = soft_forward(any_backend, logits, targets), forward(any_backend, logits, labels)
    for one, other in zip(soft, hard, strict=True):
        assert_same_bits(one, other)
    gradients = [
        run(any_backend, name, hard[0], target, out(dtype, *shape))
        for name, target in (("soft_cross_entropy_backward", targets), ("softmax_cross_entropy_backward", labels))
    ]
    assert_same_bits(*gradients)


@each("size", [1e-30, 1e4, np.inf])
def test_soft_targets_and_logits_of_any_size(any_backend, dtype, size):
    size = min(size, huge(dtype))
    logits = (size * np.array([[1, -1, 0], [1, -1, 0], [1, 1, -1], [-1, -1, -1]])).astype(dtype)
    targets = np.array([[1, 0, 0], [0.25, 0.5, 0.25], [0.5, 0.5, 0], [0.5, 0.25, 0.25]], dtype)
    check_soft_cross_entropy(any_backend, logits, targets)


@each("impossible", [-1.0, -np.inf])
def test_a_class_that_never_occurs_costs_nothing(any_backend, dtype, impossible):
    impossible = max(impossible * huge(dtype), -np.inf)
    logits = np.array([[0, impossible, 1], [impossible, 2, 2]], dtype)
    targets = np.array([[0.5, 0, 0.5], [0, 0.25, 0.75]], dtype)
    _, losses, correct = soft_forward(any_backend, logits, targets)
    assert_close(losses, np.array([np.log1p(np.e) - 0.5, np.log(2)]), 8 * eps(dtype))
    assert correct.tolist() == [0, 0]


@each("first, second", [(0, 1), (2, 33), (31, 32), (5, 37), (1, 64)])
def test_the_first_of_two_largest_targets_is_the_answer(any_backend, dtype, first, second):
    logits, targets = np.zeros((3, 65), dtype), np.zeros((3, 65), dtype)
    targets[:, [first, second]] = 0.5
    logits[[0, 1, 2], [first, second, 3]] = 7
    _, _, correct = soft_forward(any_backend, logits, targets)
    assert correct.tolist() == [1, 0, 0]


@each("where", [0, 1])
@each("column", [0, 33])
def test_nan_in_soft_targets_or_logits_spoils_its_row_and_no_other(any_backend, dtype, rng, where, column):
    arrays = rng.normal(size=(6, 34)).astype(dtype), np.full((6, 34), 1 / 34, dtype)
    arrays[where][4, column] = np.nan
    _, losses, _ = soft_forward(any_backend, *arrays)
    np.testing.assert_array_equal(np.isnan(losses), np.arange(6) == 4)


# Losses that are a mean over outputs ---------------------------------------------------------------------------------


def error_of_mean(sizes, dtype, roundings):
    """The mean of each row, where a term of size s is off by `roundings` · eps · s and the sum rounds once a term."""
    return eps(dtype) * (sizes.shape[1] + 2 + roundings) * sizes.mean(axis=1)


def row_outputs(x):
    return out(x.dtype, len(x)), out(x.dtype, len(x))


def check_binary_cross_entropy(backend, z, t):
    losses, correct = run(backend, "binary_cross_entropy_forward", z, t, *row_outputs(z))
    gradient = run(backend, "binary_cross_entropy_backward", z, t, out(z.dtype, *z.shape))
    wide_z, wide_t = z.astype(np.float64), t.astype(np.float64)
    # The loss is a difference, max(z, 0) - z t + log(1 + e^-|z|): errors go by the size of its terms.
    terms = np.maximum(wide_z, 0) + np.abs(wide_z * wide_t) + np.log1p(np.exp(-np.abs(wide_z)))
    assert_close(losses, reference.binary_cross_entropy(z, t).mean(axis=1), error_of_mean(terms, z.dtype, 2 * ULPS))
    share = np.mean((wide_z > 0) == (wide_t > 0.5), axis=1)
    assert_close(correct, share, 2 * eps(z.dtype) * share)
    probability = special.expit(wide_z)
    # σ has an exponential, a sum and a quotient; then a difference, a rounded 1 / size, and a product.
    error = (ULPS + 3) * probability + 3 * np.abs(probability - wide_t)
    assert_close(gradient, (probability - wide_t) / z.size, eps(z.dtype) * error / z.size)


@shapes
def test_binary_cross_entropy(any_backend, dtype, rng, shape):
    z = rng.normal(scale=4, size=shape).astype(dtype)
    check_binary_cross_entropy(any_backend, z, rng.integers(0, 2, shape).astype(dtype))
    check_binary_cross_entropy(any_backend, z, rng.random(shape).astype(dtype))


@many_rows
def test_binary_cross_entropy_of_many_rows(dtype, rng, shape):
    check_binary_cross_entropy(get("cpu"), rng.normal(size=shape).astype(dtype), rng.random(shape).astype(dtype))


@drawn
@any_shape
def test_binary_cross_entropy_in_any_shape(any_backend, dtype, rows, columns, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, columns)).astype(dtype)
    check_binary_cross_entropy(any_backend, z, rng.random((rows, columns)).astype(dtype))


@each("size", [0.0, 1e-40, 1e-30, 50.0, 100.0, 1000.0, np.inf])
def test_binary_cross_entropy_at_extremes(any_backend, dtype, size):
    size = min(size, huge(dtype))
    z = np.array([[size, size, -size, -size, size, -size]], dtype).T
    t = np.array([[0, 1, 0, 1, 0.5, 0.25]], dtype).T
    check_binary_cross_entropy(any_backend, z, t)
    losses, _ = run(any_backend, "binary_cross_entropy_forward", z, t, *row_outputs(z))
    if size >= 1000:  # certain and wrong costs |z|, certain and right nothing
        assert losses[:4].tolist() == [z[0, 0], 0, 0, z[0, 0]]


def test_an_output_on_the_fence_counts_as_no(any_backend, dtype):
    z, t = np.array([[0.0], [0.0], [0.0], [1.0]], dtype), np.array([[0.0], [1.0], [0.5], [0.5]], dtype)
    _, correct = run(any_backend, "binary_cross_entropy_forward", z, t, *row_outputs(z))
    assert correct.tolist() == [1, 0, 1, 0]


def check_mean_squared_error(backend, y, t):
    losses, correct = run(backend, "mean_squared_error_forward", y, t, *row_outputs(y))
    gradient = run(backend, "mean_squared_error_backward", y, t, out(y.dtype, *y.shape))
    difference = y.astype(np.float64) - t
    assert_close(losses, (difference**2).mean(axis=1), error_of_mean(difference**2, y.dtype, 3))
    assert (correct == 0).all()
    # A difference, a rounded 1 / size, and a product; doubling is exact.
    assert_close(gradient, 2 * difference / y.size, 3 * eps(y.dtype) * np.abs(2 * difference / y.size))


@shapes
@each("scale", [1e-15, 1.0, 1e15])
def test_mean_squared_error(any_backend, dtype, rng, shape, scale):
    y, t = (scale * rng.normal(size=(2, *shape))).astype(dtype)
    check_mean_squared_error(any_backend, y, t)


@drawn
@any_shape
def test_mean_squared_error_in_any_shape(any_backend, dtype, rows, columns, seed):
    y, t = np.random.default_rng(seed).normal(size=(2, rows, columns)).astype(dtype)
    check_mean_squared_error(any_backend, y, t)


@each("loss", ["binary_cross_entropy", "mean_squared_error"])
def test_nan_in_outputs_spoils_its_row_and_no_other(any_backend, dtype, rng, loss):
    x, t = rng.random((2, 6, 34)).astype(dtype)
    x[4, 33] = np.nan
    losses, _ = run(any_backend, f"{loss}_forward", x, t, *row_outputs(x))
    np.testing.assert_array_equal(np.isnan(losses), np.arange(6) == 4)
    gradient = run(any_backend, f"{loss}_backward", x, t, out(dtype, 6, 34))
    np.testing.assert_array_equal(np.isnan(gradient), np.isnan(x))


# The mean over the batch ---------------------------------------------------------------------------------------------


def check_mean_loss(backend, losses, correct, before):
    mean, totals = run(backend, "mean_loss", losses, correct, out(losses.dtype, 1), inout(before))
    unit, size = eps(losses.dtype), len(losses)
    losses, correct, before = (a.astype(np.float64) for a in (losses, correct, before))
    assert_close(mean, losses.mean(keepdims=True), unit * (size + 2) * np.abs(losses).mean())
    expected = before + np.array([losses.sum(), correct.sum()])
    scale = np.abs(before) + np.array([np.abs(losses).sum(), np.abs(correct).sum()])
    assert_close(totals, expected, unit * (size + 1) * scale)


# One block of 256 threads takes all rows.
@each("rows", [1, 2, 3, 31, 127, 128, 129, 255, 256, 257, 511, 512, 600])
def test_mean_loss(any_backend, dtype, rng, rows):
    losses, before = rng.exponential(size=rows).astype(dtype), rng.uniform(1, 9, 2)
    check_mean_loss(any_backend, losses, rng.random(rows).astype(dtype), before)


@drawn
@given(rows=st.integers(1, 600), seed=seeds)
def test_mean_loss_of_integers_is_exact(any_backend, dtype, rows, seed):
    rng = np.random.default_rng(seed)
    losses, correct = rng.integers(0, 1000, rows), rng.integers(0, 2, rows)
    before = np.array([17.0, 4.0])
    mean, totals = run(
        any_backend, "mean_loss", losses.astype(dtype), correct.astype(dtype), out(dtype, 1), inout(before)
    )
    assert totals.tolist() == [17 + losses.sum(), 4 + correct.sum()]
    assert_close(mean, losses.mean(keepdims=True), 2 * eps(dtype) * losses.mean())


@each("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_shows_in_the_mean(any_backend, dtype, value):
    losses = np.ones(300, dtype)
    losses[299] = value
    mean, totals = run(any_backend, "mean_loss", losses, np.ones(300, dtype), out(dtype, 1), inout(np.zeros(2)))
    np.testing.assert_array_equal(mean, [value])
    np.testing.assert_array_equal(totals, [value, 300])


def test_more_rows_are_counted_than_float32_has_whole_numbers(any_backend, dtype):
    before = np.full(2, 2.0**24)
    _, totals = run(any_backend, "mean_loss", np.ones(1, dtype), np.ones(1, dtype), out(dtype, 1), inout(before))
    np.testing.assert_array_equal(totals, before + 1)
