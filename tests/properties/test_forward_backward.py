"""The second moment on its way through a dense layer, forward and backward, for any batch that Hypothesis chooses.

For a fixed batch X the second moment of X W is random only through W. Its expectation is that of X times fan_in Var(w);
the bounds of `bounds.py` say how far it may be from there, whatever X is. The layers are those of minidl.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as dl
from tests.properties import bounds, distributions
from tests.properties.activations import second_moment
from tests.properties.bounds import Interval
from tests.properties.strategies import batches, fans, seeds

every_distribution = pytest.mark.parametrize("name", distributions.WEIGHTS)

# Wide enough that even one row, or many that are multiples of one, shows a factor of 2 on its fan.
shapes = fans(narrowest=256, widest=320, least=0)


def dense(init, seed, fan_in, fan_out) -> dl.Dense:
    return dl.Dense(fan_in, fan_out, init=init, bias=False).build("cpu", seed, "float64")


def text(name, parameters) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in parameters.items())})" if parameters else name


def allowed_ratio(x: np.ndarray, units: int, distribution: distributions.Distribution) -> Interval:
    """Of the second moment of x W over its expectation, for W with `units` independent columns of that distribution."""
    eigenvalues = np.maximum(np.linalg.eigvalsh(x @ x.T), 0.0)
    bound = bounds.normal_sum_of_squares if distribution is distributions.NORMAL else bounds.subgaussian_sum_of_squares
    return bound(eigenvalues, units).scaled(1.0 / (units * float(eigenvalues.sum())))


def assert_ratio(found: float, expected: float, allowed: Interval, what: str, units: int) -> None:
    ratio = found / expected
    assert ratio in allowed, (
        f"{what}: the second moment is {ratio:.4g} of what the variance of the weights makes of it; "
        f"{units} units allow {allowed.low:.4g} to {allowed.high:.4g}"
    )


@every_distribution
@given(data=st.data(), fans=shapes, seed=seeds)
def test_forward(name, data, fans, seed):
    fan_in, fan_out = fans
    parameters = data.draw(distributions.WEIGHTS[name].drawn(), label="parameters")
    x = data.draw(batches(6, fan_in), label="x")
    distribution, std = distributions.WEIGHTS[name].distribution(fan_in, fan_out, **parameters)

    z = dense(text(name, parameters), seed, fan_in, fan_out).forward(x)

    expected = fan_in * std**2 * np.mean(x**2)
    assert_ratio(np.mean(z**2), expected, allowed_ratio(x, fan_out, distribution), f"forward, {name}", fan_out)


@every_distribution
@given(data=st.data(), fans=shapes, seed=seeds)
def test_backward(name, data, fans, seed):
    fan_in, fan_out = fans
    parameters = data.draw(distributions.WEIGHTS[name].drawn(), label="parameters")
    dy = data.draw(batches(6, fan_out), label="dy")
    distribution, std = distributions.WEIGHTS[name].distribution(fan_in, fan_out, **parameters)

    layer = dense(text(name, parameters), seed, fan_in, fan_out)
    layer.forward(np.ones((len(dy), fan_in)), training=True)
    dx = layer.backward(dy)

    expected = fan_out * std**2 * np.mean(dy**2)
    assert_ratio(np.mean(dx**2), expected, allowed_ratio(dy, fan_in, distribution), f"backward, {name}", fan_in)


FACTORS = {  # what a layer does to the second moment, forward and backward
    "lecun": lambda fan_in, fan_out: (1, fan_out / fan_in),
    "he": lambda fan_in, fan_out: (2, 2 * fan_out / fan_in),
    "glorot": lambda fan_in, fan_out: (2 * fan_in / (fan_in + fan_out), 2 * fan_out / (fan_in + fan_out)),
}


@pytest.mark.parametrize("family", FACTORS)
@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
@given(data=st.data(), fans=shapes, seed=seeds)
def test_what_is_kept(family, distribution, data, fans, seed):
    """LeCun keeps the second moment forward, He doubles it for the ReLU to halve; backward each changes it by
    fan_out / fan_in as well. Glorot shares out the difference: its two factors add up to 2, whatever the fans."""
    fan_in, fan_out = fans
    x = data.draw(batches(6, fan_in), label="x")
    dy = np.random.default_rng(seed).standard_normal((len(x), fan_out))
    forward, backward = FACTORS[family](fan_in, fan_out)
    if family == "glorot":
        assert forward + backward == pytest.approx(2)
        assert min(1, fan_out / fan_in) < backward < max(1, fan_out / fan_in), "between what keeps one and the other"

    layer = dense(f"{family}_{distribution}", seed, fan_in, fan_out)
    z = layer.forward(x, training=True)
    dx = layer.backward(dy)

    distribution = {
        "normal": distributions.NORMAL,
        "uniform": distributions.UNIFORM,
        "truncated_normal": distributions.truncated(2.0),
    }[distribution]
    what = f"{family}_{distribution}, {fan_in} to {fan_out} units"
    assert_ratio(
        np.mean(z**2) / np.mean(x**2), forward, allowed_ratio(x, fan_out, distribution), f"{what}, forward", fan_out
    )
    assert_ratio(
        np.mean(dx**2) / np.mean(dy**2), backward, allowed_ratio(dy, fan_in, distribution), f"{what}, backward", fan_in
    )


@given(data=st.data(), fans=shapes, seed=seeds, rate=st.floats(0.0, 0.95))
def test_forward_of_dropout_adjusted(data, fans, seed, rate):
    fan_in, fan_out = fans
    x = data.draw(batches(6, fan_in), label="x")
    z = dense(f"dropout_adjusted(rate={rate!r}, activation='tanh')", seed, fan_in, fan_out).forward(x)
    expected = np.mean(x**2) * (1 - rate) / second_moment("tanh")
    # Columns evenly from a sphere: no normal weights, but the bound for those like them holds.
    assert_ratio(
        np.mean(z**2), expected, allowed_ratio(x, fan_out, distributions.sphere(fan_in)), "dropout_adjusted", fan_out
    )


@given(data=st.data(), narrow=st.integers(1, 40), more=st.integers(0, 40), gain=distributions.positive, seed=seeds)
def test_orthogonal_keeps_every_length_one_way(data, narrow, more, gain, seed):
    x = data.draw(batches(6, narrow), label="x")
    init = f"orthogonal(gain={gain!r})"
    lengths = gain * np.linalg.norm(x, axis=1)
    forward = dense(init, seed, narrow, narrow + more).forward(x)
    np.testing.assert_allclose(np.linalg.norm(forward, axis=1), lengths, rtol=1e-9)
    layer = dense(init, seed, narrow + more, narrow)
    layer.forward(np.ones((len(x), narrow + more)), training=True)
    np.testing.assert_allclose(np.linalg.norm(layer.backward(x), axis=1), lengths, rtol=1e-9)


@pytest.mark.parametrize(
    "distribution", [distributions.NORMAL, distributions.UNIFORM], ids=lambda distribution: distribution.name
)
def test_the_bounds_have_power_even_for_a_single_row(distribution):
    # A single row has the widest bounds of all batches. Half and twice the right variance are seen even there, with
    # four standard deviations to spare.
    allowed = allowed_ratio(np.ones((1, 4)), 640, distribution)
    spread = math.sqrt(2 / 640)
    assert 0.5 * (1 + 4 * spread) < allowed.low and allowed.high < 2 * (1 - 4 * spread)
