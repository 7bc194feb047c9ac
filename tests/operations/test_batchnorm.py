"""Batch normalization: statistics, running estimates, inference and the backward pass against float64."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, drawn, eps, inout, out, run, seeds

# (rows, features): blocks have 8 rows of threads and 32 features, and share more than 256 rows; a row alone has no
# variance.
SHAPES = [(2, 1), (2, 33), (3, 31), (7, 32), (8, 5), (9, 64), (17, 33), (37, 40), (256, 2), (257, 3), (521, 34)]
EPSILONS = [1e-5, 0.25]  # the second is large enough to show where it is added
DECAY = 0.9

shapes = each("shape", SHAPES)
epsilons = each("epsilon", EPSILONS)


def batch(dtype, rng, rows, features):
    """Features with means and spreads of different size."""
    spread, mean = 10 ** rng.uniform(-2, 2, features), rng.normal(scale=5, size=features)
    return (mean + spread * rng.normal(size=(rows, features))).astype(dtype)


def train(backend, x, gamma, beta, running_mean, running_variance, epsilon, decay=DECAY):
    """mean, variance, inverse_std, y, and the new running estimates."""
    dtype, features = x.dtype, x.shape[1]
    state = [inout(running_mean), inout(running_variance)]
    outputs = [out(dtype, features), out(dtype, features), out(dtype, features), out(dtype, *x.shape)]
    results = run(backend, "batchnorm_training", x, gamma, beta, *state, decay, epsilon, *outputs)
    return *results[2:], *results[:2]


class Expected:
    """The training pass in float64, and how far each result may be off (in units of eps, as calls.eps says)."""

    def __init__(self, x, gamma, beta, epsilon):
        dtype, (rows, _) = x.dtype, x.shape
        x, gamma, beta = (a.astype(np.float64) for a in (x, gamma, beta))
        epsilon = float(dtype.type(epsilon))
        self.mean, self.variance, self.unbiased = reference.batch_statistics(x)
        self.inverse_std = 1 / np.sqrt(self.variance + epsilon)
        self.normalized = (x - self.mean) * self.inverse_std
        self.y = gamma * self.normalized + beta

        # mean = x[0] + Σ (x - x[0]) / rows: the sum rounds `rows` times on the scale of the spread, the rest once.
        spread = np.abs(x - x[0]).mean(axis=0)
        self.mean_error = eps(dtype) * ((rows + 3) * spread + 2 * np.abs(self.mean))
        # A mean that is off by δ makes the mean square deviation too large by exactly δ²; the rest is one sum.
        self.variance_error = eps(dtype) * (rows + 6) * self.variance + self.mean_error**2
        # The root halves relative errors.
        relative = self.variance_error / (2 * (self.variance + epsilon)) + 2 * eps(dtype)
        self.inverse_std_error = relative * self.inverse_std
        self.normalized_error = self.mean_error * self.inverse_std + np.abs(self.normalized) * (relative + eps(dtype))
        self.y_error = np.abs(gamma) * self.normalized_error
        self.y_error += 2 * eps(dtype) * (np.abs(gamma * self.normalized) + np.abs(beta))


def check_training(backend, x, rng, epsilon):
    dtype, (_, features) = x.dtype, x.shape
    gamma, beta, running_mean = (rng.normal(size=features).astype(dtype) for _ in range(3))
    running_variance = rng.uniform(0.5, 2, features).astype(dtype)
    mean, variance, inverse_std, y, new_mean, new_variance = train(
        backend, x, gamma, beta, running_mean, running_variance, epsilon
    )
    expected = Expected(x, gamma, beta, epsilon)
    assert_close(mean, expected.mean, expected.mean_error)
    assert_close(variance, expected.variance, expected.variance_error)
    assert_close(inverse_std, expected.inverse_std, expected.inverse_std_error)
    assert_close(y, expected.y, expected.y_error)
    check_running(new_mean, running_mean, expected.mean, expected.mean_error)
    unbiased_error = expected.variance_error * 2  # the factor rows / (rows - 1) is 2 at most
    check_running(new_variance, running_variance, expected.unbiased, unbiased_error)


def check_running(new, old, batch_value, error):
    """A step from the old estimate towards the value of the batch."""
    decay, old = float(new.dtype.type(DECAY)), old.astype(np.float64)
    terms = decay * np.abs(old) + (1 - decay) * np.abs(batch_value)
    assert_close(new, decay * old + (1 - decay) * batch_value, (1 - decay) * error + 3 * eps(new.dtype) * terms)


@epsilons
@shapes
def test_training(any_backend, dtype, rng, shape, epsilon):
    check_training(any_backend, batch(dtype, rng, *shape), rng, epsilon)


@drawn
@given(rows=st.integers(2, 20), features=st.integers(1, 35), seed=seeds)
def test_training_in_any_shape(any_backend, dtype, rows, features, seed):
    rng = np.random.default_rng(seed)
    check_training(any_backend, batch(dtype, rng, rows, features), rng, 1e-3)


@each("scale", [1e-18, 1e-12, 1e12, 1e18])
def test_training_at_extreme_scales(any_backend, dtype, rng, scale):
    check_training(any_backend, (scale * rng.normal(size=(13, 5))).astype(dtype), rng, 1e-5)


def test_a_large_mean_leaves_the_variance_its_digits(any_backend, dtype, rng):
    # E[x²] - E[x]² in one pass is off by a tenth here in float32.
    x = rng.normal(1000, 3, (257, 5)).astype(dtype)
    variance = train(any_backend, x, *np.ones((4, 5), dtype), 1e-5)[1]
    _, expected, _ = reference.batch_statistics(x.astype(np.float64))
    assert np.abs(variance / expected - 1).max() < 1e-5
    check_training(any_backend, x, rng, 1e-5)


@each("rows", [9, 257, 600])
def test_the_variance_is_right_to_a_few_roundings(any_backend, rng, rows):
    """In blocks of rows and in one, wherever the mean lies and in whatever order the rows come."""
    normal = rng.normal(size=(rows, 8))
    normal[:, 0] += 10_000
    normal[0, 1], normal[-1, 2], normal[rows // 2, 3] = 1000, 1000, 1e4
    normal[:, 4] = np.sort(normal[:, 4])
    normal[:, 5] += np.arange(rows)
    normal[:, 6] = np.arange(rows) >= rows // 2
    normal[:, 7] = 0.1
    x = normal.astype(np.float32)
    mean, variance, *_ = train(any_backend, x, *np.ones((4, 8), np.float32), 1e-5)
    expected_mean, expected, _ = reference.batch_statistics(x.astype(np.float64))
    np.testing.assert_allclose(variance, expected, rtol=2e-6)
    sizes = np.abs(expected_mean) + 2 * np.abs(x[0]) + 10 * np.sqrt(expected)  # sums are of x - x[0]
    assert_close(mean, expected_mean, eps(x.dtype) * sizes)


@each("rows", [2, 9, 264, 300])
def test_a_feature_whose_squares_overflow_is_normalized(any_backend, dtype, rng, rows):
    x = rng.uniform(-1, 1, (rows, 3)).astype(dtype)
    scale = dtype.type(2) ** (3 * np.finfo(dtype).maxexp // 4)  # exact, so the reference needs none
    mean, variance, _, y, *_ = train(any_backend, x * scale, *np.tile([[1], [0], [1], [1]], 3).astype(dtype), 1e-5)
    expected = (x - x.mean(axis=0, dtype=np.float64)) / x.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean / scale, x.mean(axis=0, dtype=np.float64), atol=20 * eps(dtype))
    assert (variance == np.inf).all()
    np.testing.assert_allclose(y, expected, rtol=200 * eps(dtype), atol=200 * eps(dtype))


@each("value", [0.0, -0.0, 0.1, 1000.1, 1e30])
@each("rows", [37, 300])
def test_a_constant_feature_is_exactly_beta(any_backend, dtype, rng, rows, value):
    x = np.full((rows, 3), value, dtype)
    gamma, beta = rng.normal(size=(2, 3)).astype(dtype)
    mean, variance, inverse_std, y, _, new_variance = train(any_backend, x, gamma, beta, *np.ones((2, 3), dtype), 1e-5)
    assert (mean == x[0]).all() and (variance == 0).all()
    assert_close(inverse_std, np.full(3, 1 / np.sqrt(1e-5)), 3 * eps(dtype) / np.sqrt(1e-5))
    np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))
    assert_close(new_variance, np.full(3, 0.9), 2 * eps(dtype))


@each("decay", [0.0, 1.0])
def test_decay_0_takes_the_batch_and_decay_1_keeps_the_old_estimates(any_backend, dtype, rng, decay):
    x, old_mean, old_variance = batch(dtype, rng, 9, 4), *rng.uniform(1, 2, (2, 4)).astype(dtype)
    gamma = beta = np.ones(4, dtype)
    mean, variance, _, _, new_mean, new_variance = train(
        any_backend, x, gamma, beta, old_mean, old_variance, 1e-5, decay
    )
    if decay == 1:
        assert_same_bits(new_mean, old_mean)
        assert_same_bits(new_variance, old_variance)
    else:
        assert_same_bits(new_mean, mean)
        assert_close(new_variance, variance.astype(np.float64) * 9 / 8, 2 * eps(dtype) * variance)


@each("rows, row", [(9, 4), (300, 0), (300, 4), (300, 299)])
def test_nan_spoils_its_feature_and_no_other(any_backend, dtype, rng, rows, row):
    x = batch(dtype, rng, rows, 34)
    x[row, 32] = np.nan
    for result in train(any_backend, x, *np.ones((4, 34), dtype), 1e-5):
        assert np.isnan(result[..., 32]).all()
        assert np.isfinite(np.delete(result, 32, axis=-1)).all()


@epsilons
@each("shape", [(1, 1), (1, 33), *SHAPES])
def test_inference(any_backend, dtype, rng, shape, epsilon):
    x = batch(dtype, rng, *shape)
    gamma, beta, mean = (rng.normal(size=shape[1]).astype(dtype) for _ in range(3))
    variance = rng.uniform(0, 2, shape[1]).astype(dtype)
    y = run(any_backend, "batchnorm_inference", x, gamma, beta, mean, variance, epsilon, out(dtype, *shape))
    std = np.sqrt(variance.astype(np.float64) + float(dtype.type(epsilon)))
    scaled = gamma.astype(np.float64) * (x.astype(np.float64) - mean) / std
    # Subtraction, sum, root, quotient, product and sum: six roundings of the first term, one of the second.
    assert_close(y, scaled + beta, eps(dtype) * (6 * np.abs(scaled) + np.abs(beta)))


def check_backward(backend, x, dy, gamma, epsilon):
    dtype, rows = x.dtype, len(x)
    forward = Expected(x, gamma, gamma, epsilon)
    mean, inverse_std = forward.mean.astype(dtype), forward.inverse_std.astype(dtype)
    features = x.shape[1]
    dgamma, dbeta, dx = run(
        backend, "batchnorm_backward", x, dy, gamma, mean, inverse_std,
        out(dtype, features), out(dtype, features), out(dtype, *x.shape),
    )  # fmt: skip
    expected_dx, expected_dgamma, expected_dbeta = reference.batchnorm_backward(
        x, dy, gamma, float(dtype.type(epsilon))
    )

    dy, gamma, unit = np.abs(dy.astype(np.float64)), np.abs(gamma.astype(np.float64)), eps(dtype)
    normalized = np.abs(forward.normalized)
    # x̂ from a mean and a 1/σ that are rounded once each.
    normalized_error = unit * (np.abs(forward.mean) * forward.inverse_std + 3 * normalized)
    dbeta_error = rows * unit * dy.sum(axis=0)
    dgamma_error = (dy * normalized_error).sum(axis=0) + (rows + 1) * unit * (dy * normalized).sum(axis=0)
    assert_close(dbeta, expected_dbeta, dbeta_error)
    assert_close(dgamma, expected_dgamma, dgamma_error)
    # dx = γ/σ (dy - (dβ + x̂ dγ) / rows): the errors of the parts, and six roundings of the sum of their sizes.
    dbeta, dgamma = np.abs(expected_dbeta), np.abs(expected_dgamma)
    parts = (dbeta_error + normalized * dgamma_error + normalized_error * dgamma) / rows
    sizes = dy + (dbeta + normalized * dgamma) / rows
    assert_close(dx, expected_dx, gamma * forward.inverse_std * (parts + 6 * unit * sizes))


@epsilons
@shapes
def test_backward_walks_back_through_the_graph(any_backend, dtype, rng, shape, epsilon):
    x, dy = batch(dtype, rng, *shape), rng.normal(size=shape).astype(dtype)
    check_backward(any_backend, x, dy, rng.normal(size=shape[1]).astype(dtype), epsilon)


@drawn
@given(rows=st.integers(2, 20), features=st.integers(1, 35), seed=seeds)
def test_backward_in_any_shape(any_backend, dtype, rows, features, seed):
    rng = np.random.default_rng(seed)
    x, dy = batch(dtype, rng, rows, features), rng.normal(1, 1, (rows, features)).astype(dtype)
    check_backward(any_backend, x, dy, rng.normal(size=features).astype(dtype), 1e-3)


def test_backward_of_a_constant_feature(any_backend, dtype, rng):
    # x̂ is 0, so dx is dy less its mean, times γ / √ε.
    x, dy = np.full((9, 3), 0.1, dtype), rng.normal(size=(9, 3)).astype(dtype)
    check_backward(any_backend, x, dy, rng.normal(size=3).astype(dtype), 1e-5)
