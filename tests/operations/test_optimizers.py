"""Optimizer updates, on every backend against float64 and against what their papers promise."""

from __future__ import annotations

import numpy as np

from minidl import backend
from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, eps, huge, inout, run

# Blocks have 256 threads.
sizes = each("size", [1, 2, 31, 256, 257, 523, 1025])  # a thread has four, and a block 1024
epsilons = each("epsilon", [1e-8, 0.1])  # the second is large enough to show where it is added

RATE = 0.3


def wide(*arrays):
    return [np.asarray(array, np.float64) for array in arrays]


def rate(dtype, value=RATE):
    return np.array([value], dtype)


def exact(dtype, *values):
    """The numbers that `values` become in `dtype`, as Python floats."""
    return [float(dtype.type(value)) for value in values]


def normal(dtype, rng, size):
    return rng.normal(size=size).astype(dtype)


def positive(dtype, rng, size):
    return rng.uniform(0.01, 2, size).astype(dtype)


def extreme(dtype):
    """Gradients from nothing to as much as can be squared."""
    info = np.finfo(dtype)
    largest = np.sqrt(huge(dtype))
    x = np.array([0.0, info.smallest_subnormal, info.tiny, 1e-30, 1 / largest, 1e-3, 1e3, largest], dtype)
    return np.concatenate([x, -x])


def gradients(dtype, rng, size):
    """Random ones, and the extreme ones too where there is room."""
    g = normal(dtype, rng, size)
    if size > 100:
        g[-16:] = extreme(dtype)
    return g


@sizes
def test_sgd(any_backend, dtype, rng, size):
    w, g = normal(dtype, rng, size), gradients(dtype, rng, size)
    new = run(any_backend, "sgd_update", inout(w), g, rate(dtype))
    w, g, (eta,) = *wide(w, g), exact(dtype, RATE)
    assert_close(new, w - eta * g, eps(dtype) * (np.abs(w) + 2 * np.abs(eta * g)))


def momentum_expected(w, g, velocity, eta, mu, nesterov):
    """The new weight and velocity, with the sizes of their terms."""
    new_velocity, size = mu * velocity + g, np.abs(mu * velocity) + np.abs(g)
    direction, direction_size = new_velocity, size
    if nesterov:
        # A look ahead: the gradient enters once more, on top of the velocity that the next step would use.
        direction, direction_size = g + mu * new_velocity, np.abs(g) + mu * size
    return w - eta * direction, new_velocity, np.abs(w) + eta * direction_size, size


@sizes
@each("name", ["momentum_update", "nesterov_update"])
@each("mu", [0.0, 0.9])
def test_momentum_and_nesterov(any_backend, dtype, rng, name, mu, size):
    w, velocity, g = normal(dtype, rng, size), normal(dtype, rng, size), gradients(dtype, rng, size)
    new_w, new_velocity = run(any_backend, name, inout(w), g, inout(velocity), rate(dtype), dtype.type(mu))
    expected_w, expected_velocity, w_size, velocity_size = momentum_expected(
        *wide(w, g, velocity), *exact(dtype, RATE, mu), nesterov=name == "nesterov_update"
    )
    # A product and a sum make the velocity, two more of each the weight.
    assert_close(new_velocity, expected_velocity, 2 * eps(dtype) * velocity_size)
    assert_close(new_w, expected_w, 6 * eps(dtype) * w_size)


def test_a_steady_gradient_is_followed_ten_times_as_fast_with_momentum_0_9(any_backend, dtype):
    w, velocity, g, steps = np.zeros(1, dtype), np.zeros(1, dtype), np.ones(1, dtype), 200
    (mu,) = exact(dtype, 0.9)
    for _ in range(steps):
        before = w
        w, velocity = run(any_backend, "momentum_update", inout(w), g, inout(velocity), rate(dtype, 1), dtype.type(0.9))
    limit = np.array([(1 - mu**steps) / (1 - mu)])
    # Each of two roundings in a step is itself followed ten times; w is near 2000 and rounded there.
    assert_close(velocity, limit, 20 * eps(dtype) * limit)
    assert_close(before - w, limit, 2000 * eps(dtype) + 20 * eps(dtype) * limit)


@epsilons
@sizes
def test_rmsprop(any_backend, dtype, rng, size, epsilon):
    w, mean_square, g = normal(dtype, rng, size), positive(dtype, rng, size), gradients(dtype, rng, size)
    scalars = [dtype.type(0.9), dtype.type(epsilon)]
    new_w, new_mean_square = run(any_backend, "rmsprop_update", inout(w), g, inout(mean_square), rate(dtype), *scalars)
    (w, mean_square, g), (eta, rho, epsilon) = wide(w, mean_square, g), exact(dtype, RATE, 0.9, epsilon)
    expected = rho * mean_square + (1 - rho) * g**2
    step = eta * g / (np.sqrt(expected) + epsilon)
    # All terms are positive: three roundings, of which the root keeps half; then root, sum, product, quotient.
    assert_close(new_mean_square, expected, 3 * eps(dtype) * expected)
    assert_close(new_w, w - step, eps(dtype) * (np.abs(w) + 6 * np.abs(step)))


BETAS = (0.9, 0.999)


@each("betas", [BETAS, (0.5, 0.25), (0.0, 0.0)])
def test_the_corrections_are_one_minus_a_power(any_backend, dtype, betas):
    correction = np.zeros(2, dtype)
    for t in range(1, 31):
        correction = run(any_backend, "adam_advance", inout(correction), *map(dtype.type, betas))
        expected = reference.adam_corrections(*exact(dtype, *betas), t)
        # Three roundings in each step, none of which cancels; none at all to the reference.
        assert_close(correction, expected, 2 * t * eps(dtype) * expected)


def adam_expected(w, g, first, second, t, eta, beta1, beta2, epsilon, weight_decay):
    """New weight and moments, and the sizes that their errors go by."""
    new_first, first_size = beta1 * first + (1 - beta1) * g, np.abs(beta1 * first) + np.abs((1 - beta1) * g)
    new_second = beta2 * second + (1 - beta2) * g**2
    correction1, correction2 = reference.adam_corrections(beta1, beta2, t)
    root = np.sqrt(new_second / correction2) + epsilon
    step = eta * new_first / correction1 / root + eta * weight_decay * w
    size = np.abs(w) * (1 + eta * weight_decay) + eta * first_size / correction1 / root
    return w - step, new_first, new_second, size, first_size


def update(backend, w, g, first, second, correction, epsilon, weight_decay, eta=RATE):
    scalars = [w.dtype.type(value) for value in (*BETAS, epsilon, weight_decay)]
    arrays = [inout(w), g, inout(first), inout(second), correction, rate(w.dtype, eta)]
    return run(backend, "adam_update", *arrays, *scalars)


@epsilons
@each("weight_decay", [0.0, 0.1])
@sizes
def test_adam_for_three_steps(any_backend, dtype, rng, size, epsilon, weight_decay):
    """Each step is compared with a float64 step from the same state; the step number goes in as a power."""
    w, correction = normal(dtype, rng, size), np.zeros(2, dtype)
    first = second = np.zeros(size, dtype)
    hyper = exact(dtype, RATE, *BETAS, epsilon, weight_decay)
    for t in (1, 2, 3):
        g = gradients(dtype, rng, size)
        correction = run(any_backend, "adam_advance", inout(correction), *map(dtype.type, BETAS))
        old = wide(w, g, first, second)
        w, first, second = update(any_backend, w, g, first, second, correction, epsilon, weight_decay)
        expected_w, expected_first, expected_second, w_size, first_size = adam_expected(*old, t, *hyper)
        assert_close(first, expected_first, 2 * eps(dtype) * first_size)
        assert_close(second, expected_second, 3 * eps(dtype) * expected_second)
        # Either moment, either correction (2 t roundings), root, sum, and the products and quotients around them.
        assert_close(w, expected_w, (8 + 3 * t) * eps(dtype) * w_size)


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate(any_backend, dtype):
    g = np.array([1e-3, 1.0, -1e3, -1e-3], dtype)
    zeros = np.zeros(4, dtype)
    correction = run(any_backend, "adam_advance", inout(np.zeros(2, dtype)), *map(dtype.type, BETAS))
    w, _, _ = update(any_backend, zeros, g, zeros, zeros, correction, epsilon=1e-12, weight_decay=0)
    # |g| is left out by a quotient of g and √g²; ε matters by 1e-12 / |g|.
    assert_close(w, -RATE * np.sign(g, dtype=np.float64), RATE * (20 * eps(dtype) + 2e-9))


def test_weight_decay_of_adam_is_not_scaled_by_the_gradient(any_backend, dtype):
    w, zeros, ones = np.array([2.0, -4.0], dtype), np.zeros(2, dtype), np.ones(2, dtype)
    new, _, _ = update(any_backend, w, zeros, zeros, ones, ones, epsilon=1e-8, weight_decay=0.125, eta=0.5)
    assert_same_bits(new, w - w / 16)  # w (1 - 0.5 · 0.125): powers of two, so exact


# Every update as (name, how many moments, the scalars behind the learning rate).
UPDATES = [
    ("sgd_update", 0, []),
    ("momentum_update", 1, [0.9]),
    ("nesterov_update", 1, [0.9]),
    ("rmsprop_update", 1, [0.9, 1e-8]),
    ("adam_update", 2, [*BETAS, 1e-8, 0.0]),
]


@each("name, moments, scalars", UPDATES)
def test_no_gradient_no_step_and_nan_stays_where_it_is(any_backend, dtype, rng, name, moments, scalars):
    w, g = normal(dtype, rng, 6), np.array([0, -0.0, np.nan, 0, -0.0, 0], dtype)
    state = [inout(np.zeros(6, dtype)) for _ in range(moments)]
    correction = [np.full(2, 0.1, dtype)] if name == "adam_update" else []
    results = run(any_backend, name, inout(w), g, *state, *correction, rate(dtype), *map(dtype.type, scalars))
    new, *state = results if moments else (results,)
    assert_same_bits(np.delete(new, 2), np.delete(w, 2))
    for array in (new, *state):
        np.testing.assert_array_equal(np.isnan(array), np.isnan(g))


# Moments that decay ---------------------------------------------------------------------------------------------------


@each("update", ["momentum", "nesterov", "rmsprop", "adam"])
def test_on_the_cpu_what_has_decayed_is_no_subnormal_number(dtype, update):
    """With those a processor is slow, and without a gradient 0.9 times the smallest would stay for ever."""
    info, half = np.finfo(dtype), dtype.type(0.5)
    start = np.array([info.tiny, 1.5 * info.tiny, 2 * info.tiny, -info.tiny, -4 * info.tiny, 1.0, np.nan], dtype)
    g, w = np.zeros_like(start), np.ones_like(start)
    scalars = {
        "momentum": [half],
        "nesterov": [half],
        "rmsprop": [half, dtype.type(1e-8)],
        "adam": [half, half, dtype.type(1e-8), dtype.type(0)],
    }[update]
    positive = np.abs(start)
    moments = {"rmsprop": [positive], "adam": [start, positive]}.get(update, [start])
    before = [np.ones(2, dtype)] if update == "adam" else []
    cpu = backend.get("cpu")
    _, *new = run(cpu, f"{update}_update", inout(w), g, *map(inout, moments), *before, rate(dtype), *scalars)
    for moment, found in zip(moments, new, strict=True):
        expected = moment / 2
        expected[np.abs(expected) < info.tiny] = 0
        assert_same_bits(np.abs(found), np.abs(expected.astype(dtype)))
