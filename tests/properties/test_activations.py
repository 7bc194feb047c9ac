"""The second moment on its way through an activation: its expectation by quadrature, and real layers to depth 50."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as dl
from minidl.initializers import gains
from minidl.scalar.activations import ACTIVATIONS
from tests.properties import bounds, distributions
from tests.properties.activations import FORMULAS, PARAMETERS, second_moment, slope_second_moment, text
from tests.properties.strategies import batches, seeds

every_activation = pytest.mark.parametrize("name", sorted(FORMULAS.keys() - {"linear"}))

DEPTH = 50
Z, P = distributions.NORMAL.z, distributions.NORMAL.probabilities


def layer(name: str, slope: float) -> dl.Layer:
    kind = dl.ACTIVATION_LAYERS[ACTIVATIONS[name].layer]
    return kind(slope) if name in PARAMETERS else kind()


def test_every_activation_has_its_formula_here():
    missing = ACTIVATIONS.keys() - FORMULAS.keys()
    assert not missing, f"no formula is stated for {sorted(missing)}: add it to tests/properties/activations.py"
    assert FORMULAS.keys() == {"linear", *ACTIVATIONS}


# Moments by quadrature


@pytest.mark.parametrize("name", sorted(FORMULAS))
@given(slope=distributions.slopes)
def test_moments_and_gain_agree_with_another_quadrature(name, slope):
    expected = second_moment(name, slope)
    assert gains.second_moment(text(name, slope)) == pytest.approx(expected, rel=1e-10)
    assert gains.gain(text(name, slope)) == pytest.approx(1 / math.sqrt(expected), rel=1e-10)
    expected = slope_second_moment(name, slope)
    assert gains.slope_second_moment(text(name, slope)) == pytest.approx(expected, rel=1e-10)


@given(slope=st.floats(-100, 100))
def test_the_gain_of_a_leaky_relu_is_that_of_he(slope):
    assert gains.gain(f"leaky_relu(slope={slope!r})") == pytest.approx(math.sqrt(2 / (1 + slope**2)), rel=1e-10)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("linear", 1.0), ("tanh", 1.5925), ("sigmoid", 1.8462), ("relu", 1.4142), ("leaky_relu", 1.4141), ("selu", 1.0)],
)
def test_known_gains(activation, expected):
    assert round(gains.gain(activation), 4) == expected


def test_without_a_slope_the_leaky_relu_has_that_of_its_layer():
    assert gains.gain("leaky_relu") == gains.gain(f"leaky_relu(slope={dl.LeakyReLU().slope})")


def test_conventional_gains():
    he = math.sqrt(2 / (1 + 0.01**2))
    table = {
        "linear": {"lectures": 1, "pytorch": 1},
        "sigmoid": {"lectures": 4, "pytorch": 1},
        "tanh": {"lectures": 1, "pytorch": 5 / 3},
        "relu": {"lectures": math.sqrt(2), "pytorch": math.sqrt(2)},
        "leaky_relu": {"lectures": pytest.approx(he), "pytorch": pytest.approx(he)},
        "selu": {"pytorch": 0.75},
    }
    assert table == gains.CONVENTIONAL_GAINS


@pytest.mark.parametrize(
    ("activation", "error", "message"),
    [
        ("tanhh", ValueError, "^activation got 'tanhh'; expected one of 'linear', .*; did you mean 'tanh'[?]$"),
        ("relu(slope=0.1)", ValueError, r"^activation got 'relu\(slope=0.1\)'; relu has no parameter$"),
        ("leaky_relu(slop=0.1)", ValueError, "leaky_relu has the parameter slope$"),
        ("leaky_relu(slope='a')", TypeError, "^slope got 'a'; expected a finite number$"),
        ("leaky_relu(0.1)", ValueError, "expected parameters by name"),
        ("linear(slope=1)", ValueError, r"^activation got 'linear\(slope=1\)'; linear has no parameter$"),
        (3, TypeError, "^activation got 3; expected a name"),
    ],
)
def test_a_wrong_activation_is_refused(activation, error, message):
    for function in (gains.gain, gains.second_moment, gains.slope_second_moment):
        with pytest.raises(error, match=message):
            function(activation)


# Through one layer


def assert_mean(found: float, values: np.ndarray, probabilities: np.ndarray, n: int, what: str) -> None:
    expected, allowed = float(probabilities @ values), bounds.chernoff(values, probabilities, n)
    assert found in allowed, (
        f"{what}: the second moment is {found:.4g}, {found / expected:.4g} of its expectation; {n:,} draws "
        f"allow {allowed.low / expected:.4g} to {allowed.high / expected:.4g}"
    )


@every_activation
@given(slope=distributions.slopes, std=st.floats(0.01, 30.0), rows=st.integers(16, 128), seed=seeds)
def test_activations_of_normal_inputs_have_the_second_moment_of_the_quadrature(name, slope, std, rows, seed):
    value, derivative = FORMULAS[name]
    x = np.random.default_rng(seed).normal(0.0, std, (rows, 256))
    activation = layer(name, slope).build("cpu", 0, "float64")
    y = activation.forward(x, training=True)
    assert_mean(np.mean(y**2), value(std * Z, slope) ** 2, P, x.size, f"{text(name, slope)} at std {std:g}")
    dx = activation.backward(np.ones_like(x))
    slopes = derivative(std * Z, slope) ** 2
    assert_mean(np.mean(dx**2), slopes, P, x.size, f"slopes of {text(name, slope)} at std {std:g}")


@every_activation
@given(data=st.data(), slope=distributions.slopes, seed=seeds)
def test_the_gain_gives_back_what_the_activation_takes(name, data, slope, seed):
    """A batch whose rows have second moment 1, as the outputs of a layer before it: φ, then weights with its gain."""
    units = 512
    z = np.random.default_rng(seed).standard_normal((16, units))
    init = f"lecun_normal(gain={gains.gain(text(name, slope))!r})"
    model = dl.Sequential(
        layer(name, slope), dl.Dense(units, units, init=init), backend="cpu", seed=seed, dtype="float64"
    )
    found = float(np.mean(model.forward(z) ** 2))
    # Two steps, each with its own bound: the activations of z, and the weights for the batch that they make.
    first = bounds.chernoff(FORMULAS[name][0](Z, slope) ** 2, P, z.size).scaled(1 / second_moment(name, slope))
    activations = model.outputs[0]
    second = bounds.normal_sum_of_squares(np.linalg.eigvalsh(activations @ activations.T), units)
    second = second.scaled(1 / (units * np.sum(activations**2)))
    allowed = bounds.Interval(first.low * second.low, first.high * second.high)
    assert found in allowed, (
        f"{text(name, slope)} and {init}: the second moment is {found:.4g} instead of 1; "
        f"{z.size:,} draws and {units} units allow {allowed.low:.4g} to {allowed.high:.4g}"
    )


# Layer by layer


def matching(name: str, slope: float) -> tuple[str, float]:
    """The initializer for layers before the activation, and the variance of its weights times fan_in."""
    if name in ("relu", "leaky_relu"):
        return f"he_normal(slope={slope!r})" if name == "leaky_relu" else "he_normal", 1 / second_moment(name, slope)
    if name == "sigmoid":
        return "glorot_normal(gain=4.0)", 16.0  # in layers of one width Glorot is LeCun
    moment = second_moment(name, slope)
    return f"lecun_normal(gain={1 / math.sqrt(moment)!r})", 1 / moment


@given(
    name=st.sampled_from(sorted(FORMULAS.keys() - {"linear"})), slope=st.floats(-1.5, 1.5),
    data=st.data(), width=st.integers(96, 128), seed=seeds,
)  # fmt: skip
def test_layer_by_layer_to_depth_50(name, slope, data, width, seed):
    """Given its actual input a, a layer's outputs are independent normal units of known variance, whatever a is.

    Over many layers the product of what each does is heavy-tailed, and a bound on it says little; so each layer is
    checked given its input. That the bounds hold given the past makes the mean of all 50 ratios as sharp as one layer
    with 50 times as many units.
    """
    value = FORMULAS[name][0]
    init, factor = matching(name, slope)
    x = data.draw(batches(3, width), label="x")
    x *= 1 / math.sqrt(np.mean(x**2))
    layers = [part for _ in range(DEPTH) for part in (dl.Dense(width, width, init=init), layer(name, slope))]
    model = dl.Sequential(*layers, backend="cpu", seed=seed, dtype="float64")
    model.forward(x)

    ratios, a = [], x
    for depth, (z, y) in enumerate(zip(model.outputs[::2], model.outputs[1::2], strict=True), start=1):
        what = f"{text(name, slope)} layer {depth} of {DEPTH}"
        variances = factor * np.mean(a**2, axis=1)  # of the units, for each row
        eigenvalues = np.maximum(np.linalg.eigvalsh(a @ a.T), 0.0) * factor / width
        expected = width * float(eigenvalues.sum())
        ratios.append(float(np.sum(z**2)) / expected)
        allowed = bounds.normal_sum_of_squares(eigenvalues, width).scaled(1 / expected)
        assert ratios[-1] in allowed, (
            f"{what}: z = a W has {ratios[-1]:.4g} of the second moment it should have; "
            f"{width} units allow {allowed.low:.4g} to {allowed.high:.4g}"
        )
        values = np.concatenate([value(math.sqrt(variance) * Z, slope) ** 2 for variance in variances])
        assert_mean(np.mean(y**2), values, np.tile(P / len(a), len(a)), width, f"{what}, φ(z)")
        a = y
    mean, allowed = float(np.mean(ratios)), bounds.chernoff(Z**2, P, DEPTH * width)
    assert mean in allowed, (
        f"{text(name, slope)}: over {DEPTH} layers z = a W has {mean:.4g} of the second moment it should have; "
        f"{DEPTH * width:,} units allow {allowed.low:.4g} to {allowed.high:.4g}"
    )


@given(slope=st.floats(-1.5, 1.5), data=st.data(), width=st.integers(96, 128), seed=seeds)
def test_he_keeps_the_second_moment_through_dense_and_leaky_relu(slope, data, width, seed):
    """E[y²] behind the activation is E[a²] before the dense layer, at each of 50 layers: the mean ratio is 1."""
    x = data.draw(batches(3, width), label="x")
    layers = [
        part
        for _ in range(DEPTH)
        for part in (dl.Dense(width, width, init=f"he_normal(slope={slope!r})"), dl.LeakyReLU(slope))
    ]
    model = dl.Sequential(*layers, backend="cpu", seed=seed, dtype="float64")
    model.forward(x)
    moments = [float(np.mean(a**2)) for a in (x, *model.outputs[1::2])]
    ratio = float(np.mean([after / before for before, after in itertools.pairwise(moments)]))
    allowed = bounds.chernoff(FORMULAS["leaky_relu"][0](Z, slope) ** 2, P, DEPTH * width)
    allowed = allowed.scaled(1 / second_moment("leaky_relu", slope))
    assert ratio in allowed, (
        f"he_normal(slope={slope:g}): a layer multiplies the second moment by {ratio:.4g} on average; "
        f"{DEPTH * width:,} units allow {allowed.low:.4g} to {allowed.high:.4g}"
    )
