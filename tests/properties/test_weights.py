"""Every initializer draws what it says: second moment, mean, support and shape of the weights, or their structure.

`distributions.py` states the distributions again; nothing is compared with a formula that minidl computed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from minidl import initializers
from tests.properties import bounds, distributions
from tests.properties.activations import FORMULAS, second_moment, slope_second_moment, text
from tests.properties.strategies import fans, seeds

few = st.integers(1, 40)
gains = st.floats(-10.0, 10.0)

EXACT = {"constant", "zeros", "identity"}
STRUCTURED = {"orthogonal", "sparse", "dropout_adjusted"}
RANDOM = sorted(STRUCTURED | distributions.WEIGHTS.keys())

every_distribution = pytest.mark.parametrize("name", distributions.WEIGHTS)


def draw(name, seed, fan_in, fan_out, **parameters):
    weights = initializers.INITIALIZERS[name](np.random.default_rng(seed), fan_in, fan_out, **parameters)
    assert weights.shape == (fan_in, fan_out), f"{name}: the shape is {weights.shape}, not (fan_in, fan_out)"
    assert weights.dtype == np.float64
    return weights


def test_every_initializer_has_a_distribution():
    untested = initializers.INITIALIZERS.keys() - EXACT - STRUCTURED - distributions.WEIGHTS.keys()
    assert not untested, (
        f"no distribution is stated for {sorted(untested)}: add it to tests/properties/distributions.py"
    )
    assert len(initializers.INITIALIZERS) == len(EXACT) + len(STRUCTURED) + len(distributions.WEIGHTS)


# Independent weights


@every_distribution
@given(data=st.data(), fans=fans(), seed=seeds)
def test_weights_follow_their_distribution(name, data, fans, seed):
    parameters = data.draw(distributions.WEIGHTS[name].drawn(), label="parameters")
    distribution, std = distributions.WEIGHTS[name].distribution(*fans, **parameters)
    event(distribution.name.split(" cut")[0])
    distributions.assert_follows(draw(name, seed, *fans, **parameters), distribution, std, name)


@every_distribution
@pytest.mark.parametrize("swapped", [False, True])
def test_a_standard_deviation_that_is_off_by_one_percent_would_show(name, swapped):
    fans = (2**16, 2**4) if swapped else (2**4, 2**16)
    distribution, std = distributions.WEIGHTS[name].distribution(*fans)
    n = fans[0] * fans[1]
    assert n >= bounds.draws_to_see(0.01, distribution.kurtosis), "so many draws miss 1 % once in a million times"
    assert n >= bounds.draws_to_see(-0.01, distribution.kurtosis)
    distributions.assert_follows(draw(name, 2024, *fans), distribution, std, name)


@pytest.mark.parametrize("activation", ["linear", "relu"])
@given(fan_in=st.integers(1, 10), seed=seeds)
def test_random_walk_in_narrow_layers(activation, fan_in, seed):
    """Its gain differs from that of others in narrow layers only; so many draws show 3 % of the standard deviation."""
    fan_out = bounds.draws_to_see(0.03, kurtosis=3.0) // fan_in + 1
    distribution, std = distributions.WEIGHTS["random_walk"].distribution(fan_in, fan_out, activation=activation)
    distributions.assert_follows(
        draw("random_walk", seed, fan_in, fan_out, activation=activation), distribution, std, "random_walk"
    )


@pytest.mark.parametrize("name, parameter", [("normal", "std"), ("uniform", "limit"), ("lecun_normal", "gain")])
def test_a_scale_of_zero_gives_zeros(name, parameter):
    np.testing.assert_array_equal(draw(name, 0, 5, 3, **{parameter: 0.0}), np.zeros((5, 3)))


@every_distribution
@given(fans=fans(), seed=seeds)
def test_neighbours_have_no_correlation(name, fans, seed):
    _, std = distributions.WEIGHTS[name].distribution(*fans)
    z = draw(name, seed, *fans) / std
    for side, products in (("columns", z[:, :-1:2] * z[:, 1::2]), ("rows", z[:-1:2] * z[1::2])):
        n = products.size
        if n:
            most, correlation = bounds.mean_of_products(n), float(products.mean())
            assert abs(correlation) <= most, (
                f"{name}: neighbouring {side} have a correlation of {correlation:.3g}; {n:,} pairs allow {most:.3g}"
            )


# The same number or none at all


@given(fan_in=few, fan_out=few, value=st.floats(-1e6, 1e6), gain=gains, seed=seeds)
def test_constant_zeros_and_identity_are_exact(fan_in, fan_out, value, gain, seed):
    np.testing.assert_array_equal(
        draw("constant", seed, fan_in, fan_out, value=value), np.full((fan_in, fan_out), value)
    )
    np.testing.assert_array_equal(draw("constant", seed, fan_in, fan_out), np.zeros((fan_in, fan_out)))
    np.testing.assert_array_equal(draw("zeros", seed, fan_in, fan_out), np.zeros((fan_in, fan_out)))
    rows, columns = np.indices((fan_in, fan_out))
    np.testing.assert_array_equal(draw("identity", seed, fan_in, fan_out), np.where(rows == columns, 1.0, 0.0))
    scaled = draw("identity", seed, fan_in, fan_out, gain=gain)
    np.testing.assert_array_equal(scaled, np.where(rows == columns, gain, 0.0))


# Structure


@given(fan_in=st.integers(1, 80), fan_out=st.integers(1, 80), gain=gains, seed=seeds)
def test_orthogonal_is_orthogonal(fan_in, fan_out, gain, seed):
    for factor, weights in (
        (1.0, draw("orthogonal", seed, fan_in, fan_out)),
        (gain, draw("orthogonal", seed, fan_in, fan_out, gain=gain)),
    ):
        product = weights.T @ weights if fan_in >= fan_out else weights @ weights.T
        error = np.abs(product - factor**2 * np.eye(len(product))).max()
        side = "WᵀW" if fan_in >= fan_out else "WWᵀ"
        assert error <= 1e-12 * max(1.0, factor**2), f"{side} is off gain² I by {error:.3g} at gain {factor:g}"


@given(data=st.data(), fan_in=st.integers(1, 8), fan_out=st.integers(2, 8), swapped=st.booleans(), seed=seeds)
def test_orthogonal_is_drawn_evenly_from_all_orthogonal_matrices(data, fan_in, fan_out, swapped, seed):
    # Each column (row) of the longer side is then even on a sphere, so each entry is a coordinate of one. The Q of a
    # plain QR fails this: its diagonal leans to one sign.
    if swapped:
        fan_in, fan_out = fan_out, fan_in
    row = data.draw(st.integers(0, fan_in - 1), label="row")
    column = data.draw(st.integers(0, fan_out - 1), label="column")
    rng, longest = np.random.default_rng(seed), max(fan_in, fan_out)
    orthogonal = initializers.INITIALIZERS["orthogonal"]
    entries = np.array([orthogonal(rng, fan_in, fan_out)[row, column] for _ in range(400)])
    distributions.assert_follows(
        entries, distributions.sphere(longest), 1 / math.sqrt(longest), f"entry {row}, {column} of orthogonal"
    )


@pytest.mark.parametrize("gain", [1.0, -2.5])
def test_a_row_keeps_its_length_through_orthogonal_weights(gain, rng):
    x = rng.standard_normal((7, 30))
    lengths = np.linalg.norm(x @ draw("orthogonal", 0, 30, 90, gain=gain), axis=1)
    np.testing.assert_allclose(lengths, abs(gain) * np.linalg.norm(x, axis=1), rtol=1e-12)


@st.composite
def sparse_shapes(draw):
    connections = draw(st.integers(1, 40))
    return draw(st.integers(1, 120)), -(-4096 // connections) + draw(st.integers(0, 500)), connections


@given(shape=sparse_shapes(), gain=distributions.positive, seed=seeds)
@example(shape=(50, 400, None), gain=None, seed=1)
@example(shape=(7, 600, 15), gain=1.0, seed=2)
def test_sparse_has_its_connections_and_no_more(shape, gain, seed):
    fan_in, fan_out, connections = shape
    parameters = {"connections": connections, "gain": gain}
    weights = draw("sparse", seed, fan_in, fan_out, **{k: v for k, v in parameters.items() if v is not None})
    expected = min(connections or 15, fan_in)
    connected = weights != 0.0
    per_unit = connected.sum(axis=0)
    assert (per_unit == expected).all(), f"a unit has {per_unit.min()} to {per_unit.max()} weights, not {expected}"
    distributions.assert_follows(
        weights[connected], distributions.NORMAL, (gain or 1.0) / math.sqrt(expected), "sparse"
    )
    # Each unit chooses a given input with probability expected / fan_in, independently of other units.
    allowed = bounds.binomial(fan_out, expected / fan_in, bounds.ALPHA / fan_in)
    per_input = connected.sum(axis=1)
    assert allowed.low <= per_input.min() and per_input.max() <= allowed.high, (
        f"inputs have {per_input.min()} to {per_input.max()} connections; "
        f"{fan_out} units allow {allowed.low:g} to {allowed.high:g}"
    )


def test_one_percent_would_show_in_sparse_weights():
    weights = draw("sparse", 1, 256, 2**13, connections=128)
    assert np.count_nonzero(weights) >= bounds.draws_to_see(0.01, kurtosis=3.0)
    distributions.assert_follows(weights[weights != 0.0], distributions.NORMAL, 1 / math.sqrt(128), "sparse")


@given(
    data=st.data(), activation=st.sampled_from(sorted(FORMULAS)), slope=distributions.slopes, rate=st.floats(0.0, 0.99),
    backward=st.booleans(), fan_in=st.integers(2, 60), seed=seeds,
)  # fmt: skip
def test_dropout_adjusted_columns_are_directions_of_the_right_length(
    data, activation, slope, rate, backward, fan_in, seed
):
    # Hendrycks & Gimpel 2016, §2.2, with p the probability to keep.
    p = 1 - rate
    divisor = second_moment(activation, slope) / p
    if backward:
        divisor += p * slope_second_moment(activation, slope)
    fan_out = max(2**16 // fan_in, 2**12)  # enough to tell a sphere from a cube whose corners are pulled in
    weights = draw(
        "dropout_adjusted", seed, fan_in, fan_out, rate=rate, activation=text(activation, slope), backward=backward
    )
    lengths = np.linalg.norm(weights, axis=0)
    np.testing.assert_allclose(lengths, 1 / math.sqrt(divisor), rtol=1e-9, err_msg="length of the columns")
    row = data.draw(st.integers(0, fan_in - 1), label="row")
    name = f"row {row} of dropout_adjusted"
    distributions.assert_follows(weights[row], distributions.sphere(fan_in), 1 / math.sqrt(divisor * fan_in), name)


def test_dropout_adjusted_is_for_half_of_a_relu_unless_told_otherwise():
    # E[relu(z)²] = 1/2 over p = 1/2 is 1: what the ReLU takes, dropout adds.
    np.testing.assert_allclose(np.linalg.norm(draw("dropout_adjusted", 0, 9, 5), axis=0), 1.0, rtol=1e-12)
    backward = draw("dropout_adjusted", 0, 9, 5, backward=True)
    np.testing.assert_allclose(np.linalg.norm(backward, axis=0), 1 / math.sqrt(1 + 1 / 4), rtol=1e-12)


# Functions of (rng, fan_in, fan_out)


@pytest.mark.parametrize("name", sorted(initializers.INITIALIZERS))
@given(fan_in=few, fan_out=few, seed=seeds)
def test_the_same_generator_gives_the_same_weights_in_memory_of_their_own(name, fan_in, fan_out, seed):
    first, second = draw(name, seed, fan_in, fan_out), draw(name, seed, fan_in, fan_out)
    np.testing.assert_array_equal(first, second)
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("name", RANDOM)
@given(fan_in=few, fan_out=st.integers(3, 40), seed=st.integers(0, 2**63 - 2))
def test_another_generator_gives_other_weights(name, fan_in, fan_out, seed):
    if fan_in == 1 and name == "dropout_adjusted":
        fan_in = 2  # the sphere in one dimension has two points only
    assert not np.array_equal(draw(name, seed, fan_in, fan_out), draw(name, seed + 1, fan_in, fan_out))


@pytest.mark.parametrize("name", RANDOM)
def test_two_draws_from_one_generator_differ(name, rng):
    initializer = initializers.INITIALIZERS[name]
    assert not np.array_equal(initializer(rng, 8, 6), initializer(rng, 8, 6))


# Names and parameters


PARAMETERS = {
    **{name: weights.drawn() for name, weights in distributions.WEIGHTS.items()},
    "constant": st.fixed_dictionaries({}, optional={"value": st.floats(-10, 10) | st.integers(-3, 3)}),
    "zeros": st.just({}),
    "identity": st.fixed_dictionaries({}, optional={"gain": gains}),
    "orthogonal": st.fixed_dictionaries({}, optional={"gain": gains}),
    "sparse": st.fixed_dictionaries({}, optional={"connections": st.integers(1, 30), "gain": distributions.positive}),
    "dropout_adjusted": st.fixed_dictionaries(
        {},
        optional={
            "rate": st.floats(0, 0.99),
            "activation": st.sampled_from(["relu", "tanh", "linear", "leaky_relu(slope=0.3)"]),
            "backward": st.booleans(),
        },
    ),
}


@pytest.mark.parametrize("name", sorted(initializers.INITIALIZERS))
@given(data=st.data(), seed=seeds)
def test_a_text_names_an_initializer_with_its_parameters(name, data, seed):
    parameters = data.draw(PARAMETERS[name], label="parameters")
    made = getattr(initializers, name)(**parameters)
    read = initializers.get(str(made))
    assert read == made and hash(read) == hash(made) and initializers.get(made) is made
    assert str(read) == str(made)
    weights = made(np.random.default_rng(seed), 6, 4)
    np.testing.assert_array_equal(weights, read(np.random.default_rng(seed), 6, 4))
    np.testing.assert_array_equal(weights, draw(name, seed, 6, 4, **parameters), err_msg="at the call, or before it")


def test_names_and_factories_are_the_same_thing():
    assert initializers.get("he_normal(slope=0.1)") == initializers.he_normal(slope=0.1)
    assert initializers.get("he_normal") is initializers.he_normal
    assert initializers.he_normal(slope=0.1) != initializers.he_normal
    assert initializers.he_normal(slope=0.1) != initializers.he_uniform(slope=0.1)
    assert initializers.he_normal != "he_normal"
    assert str(initializers.he_normal(slope=0.1)) == "he_normal(slope=0.1)"


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        ("he_norml", ValueError, "^init got 'he_norml'; expected one of 'constant', .*; did you mean 'he_normal'[?]$"),
        ("", ValueError, "^init got ''; expected one of"),
        ("he_normal(slop=0.1)", TypeError, "^he_normal got an unknown parameter 'slop'; expected slope$"),
        ("zeros(gain=1)", TypeError, "^zeros got an unknown parameter 'gain'; expected no parameters$"),
        ("he_normal(0.1)", ValueError, r"^init got 'he_normal\(0.1\)'; expected parameters by name, as in"),
        ("he_normal(slope=0.1", ValueError, "expected parameters by name"),
        ("he_normal(slope=open('x'))", ValueError, "expected parameters by name"),
        (
            "he_normal(slope='steep')",
            TypeError,
            "^slope got 'steep'; expected a finite number, at least -1e.30 and at most 1e.30$",
        ),
        (
            "he_normal(slope=1e999)",
            ValueError,
            "^slope got inf; expected a finite number, at least -1e.30 and at most 1e.30$",
        ),
        ("normal(std=-1)", ValueError, "^std got -1; expected a finite number, at least 0 and at most 1e.30$"),
        ("uniform(limit=-1)", ValueError, "^limit got -1; expected a finite number, at least 0 and at most 1e.30$"),
        (
            "glorot_uniform(gain=-1)",
            ValueError,
            "^gain got -1; expected a finite number, at least 0 and at most 1e.30$",
        ),
        (
            "he_truncated_normal(cut=0)",
            ValueError,
            "^cut got 0; expected a finite number, at least 0.01 and at most 8$",
        ),
        ("variance_scaling(mode='fan_inn')", ValueError, "^mode got 'fan_inn'; .*; did you mean 'fan_in'[?]$"),
        ("variance_scaling(distribution='cauchy')", ValueError, "^distribution got 'cauchy'; expected one of 'normal'"),
        (
            "variance_scaling(scale=-1)",
            ValueError,
            "^scale got -1; expected a finite number, at least 0 and at most 1e.30$",
        ),
        ("sparse(connections=0)", ValueError, "^connections got 0; expected an integer of at least 1$"),
        ("random_walk(activation='tanh')", ValueError, "^activation got 'tanh'; expected one of 'linear', 'relu'$"),
        (
            "dropout_adjusted(rate=1.0)",
            ValueError,
            "^rate got 1; expected a finite number, at least 0 and less than 1$",
        ),
        ("dropout_adjusted(activation='rely')", ValueError, "^activation got 'rely'; .* did you mean 'relu'[?]$"),
        ("dropout_adjusted(backward=1)", TypeError, "^backward got 1; expected True or False$"),
        (None, TypeError, "^init got None; expected a name or an initializer"),
        (np.zeros((3, 3)), TypeError, "^init got an array of shape"),
    ],
)
def test_a_wrong_name_or_parameter_is_refused(init, error, message):
    with pytest.raises(error, match=message):
        initializers.get(init)


@pytest.mark.parametrize("name", sorted(initializers.INITIALIZERS))
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3, 3), TypeError, "^rng got 0; expected a numpy.random.Generator$"),
        ((None, 3, 3), TypeError, "^rng got None; expected a numpy.random.Generator$"),
        ((np.random, 3, 3), TypeError, "^rng got <module"),
        ((np.random.default_rng(0), 0, 3), ValueError, "^fan_in got 0; expected an integer of at least 1$"),
        ((np.random.default_rng(0), 3, -1), ValueError, "^fan_out got -1; expected an integer of at least 1$"),
        ((np.random.default_rng(0), 3.0, 3), TypeError, "^fan_in got 3.0; expected an integer of at least 1$"),
        ((np.random.default_rng(0), 3, True), TypeError, "^fan_out got True; expected an integer"),
        ((np.random.default_rng(0), 3), TypeError, "^fan_out got None; expected an integer"),
    ],
)
def test_a_wrong_generator_or_fan_is_refused(name, arguments, error, message):
    with pytest.raises(error, match=message):
        initializers.INITIALIZERS[name](*arguments)
