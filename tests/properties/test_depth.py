"""What many layers do: the variance over samples, residual blocks, dropout, and the choice of Dense(init="auto")."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as dl
from minidl.scalar.activations import ACTIVATIONS
from tests.properties import bounds, distributions
from tests.properties.activations import FORMULAS, PARAMETERS, second_moment, text
from tests.properties.bounds import Interval
from tests.properties.strategies import batches, seeds

Z, P = distributions.NORMAL.z, distributions.NORMAL.probabilities


def network(layers, seed) -> dl.Sequential:
    return dl.Sequential(*layers, backend="cpu", seed=seed, dtype="float64")


# He + ReLU keeps the second moment, not the variance over samples ----------------------------------------------------

NETWORKS, WIDTH, ROWS, LAYERS = 100, 64, 16, 20


def relu_stack(seed: int, batchnorm: bool) -> tuple[list[float], list[np.ndarray]]:
    """The second moment of the input and behind each ReLU, and what goes into each ReLU, in a deep network."""
    x = np.random.default_rng(seed).standard_normal((ROWS, WIDTH))
    block = 3 if batchnorm else 2
    layers = [
        part
        for _ in range(LAYERS)
        for part in (dl.Dense(WIDTH, WIDTH), *([dl.BatchNorm(WIDTH)] if batchnorm else []), dl.ReLU())
    ]
    model = network(layers, seed)
    model.forward(x, training=True)
    moments = [float(np.mean(a**2)) for a in (x, *model.outputs[block - 1 :: block])]
    return moments, model.outputs[block - 2 :: block]


def share_of_variance(z: np.ndarray) -> float:
    """The variance over the samples as a share of the second moment, both as means over the units: from 0 to 1."""
    return float(z.var(axis=0).mean() / np.mean(z**2))


def test_he_keeps_the_second_moment_while_the_variance_over_samples_falls():
    """Samples become more alike with each ReLU (Cho & Saul 2009, eq. 6; Luther & Seung 2019).

    The share of variance is 1 - 1/16 = 0.94 in 16 independent samples. In layer 20 of networks of width 64 it is 0.15
    on average (0.147 ± 0.004 in 200 networks of plain NumPy; 0.07 at width 512), and would stay 0.94 without the ReLU.
    It lies between 0 and 1, so Hoeffding's inequality bounds the mean over 100 networks, whatever its distribution:
    0.47 is never reached for right code, and always for code whose variance does not fall.
    """
    runs = [relu_stack(seed, batchnorm=False) for seed in range(NETWORKS)]

    deviation = bounds.hoeffding(np.ones(NETWORKS)) / NETWORKS
    first, last = (float(np.mean([share_of_variance(z[i]) for _, z in runs])) for i in (0, -1))
    assert first >= 0.94 - deviation, f"in the first layer {first:.2f} of the second moment is variance, not about 0.94"
    assert last <= 0.15 + deviation, (
        f"in layer {LAYERS} {last:.2f} of the second moment is variance over samples; it falls to about 0.15 "
        f"where each ReLU makes samples more alike, and {NETWORKS} networks allow {0.15 + deviation:.2f}"
    )

    # Each ratio is, given the layers before, a mean over 64 independent units: 128,000 draws in all.
    draws = NETWORKS * LAYERS * WIDTH
    ratio = float(np.mean([after / before for moments, _ in runs for before, after in itertools.pairwise(moments)]))
    allowed = bounds.chernoff(2 * np.maximum(Z, 0) ** 2, P, draws)
    assert ratio in allowed, (
        f"He and ReLU multiply the second moment by {ratio:.4f} in each layer; "
        f"{draws:,} draws allow {allowed.low:.4f} to {allowed.high:.4f}"
    )


@given(seed=seeds)
def test_batch_norm_stops_the_fall(seed):
    _, inputs = relu_stack(seed, batchnorm=True)
    for depth, z in enumerate(inputs, start=1):
        share = share_of_variance(z)
        assert share > 0.999, f"behind the batch norm of layer {depth} only {share:.4f} is variance over samples"
        np.testing.assert_allclose(np.mean(z**2), 1, atol=0.01, err_msg=f"second moment behind batch norm {depth}")


# Residual blocks -----------------------------------------------------------------------------------------------------


@st.composite
def blocks(draw, width: int, activations=(dl.ReLU, dl.Tanh, dl.LeakyReLU)):
    """The layers of a residual branch that ends in a dense layer or a batch norm."""
    inner = draw(st.integers(1, 12))
    middle = [dl.BatchNorm(inner)] if draw(st.booleans()) else []
    activation = draw(st.sampled_from(activations))()
    kind = draw(st.sampled_from([dl.Dense, dl.CenteredDense])) if inner > 1 else dl.Dense
    last = kind(inner, width, bias=draw(st.booleans()))
    end = [dl.BatchNorm(width)] if draw(st.booleans()) else []
    return [dl.Dense(width, inner), *middle, activation, last, *end]


@given(data=st.data(), width=st.integers(2, 12), depth=st.integers(1, 8), training=st.booleans(), seed=seeds)
def test_residual_blocks_that_start_at_zero_change_nothing(data, width, depth, training, seed):
    layers = [dl.Residual(*data.draw(blocks(width), label="block"), zero_init=True) for _ in range(depth)]
    model = network(layers, seed)
    x = np.random.default_rng(seed).standard_normal((5, width))
    np.testing.assert_array_equal(model.forward(x, training), x)
    if training:
        dy = np.random.default_rng(seed + 1).standard_normal((5, width))
        np.testing.assert_array_equal(model.backward(dy), dy, err_msg="backward")


@given(data=st.data(), width=st.integers(2, 12), seed=seeds)
def test_residual_blocks_that_start_at_zero_learn(data, width, seed):
    layers = data.draw(blocks(width, (dl.Tanh, dl.LeakyReLU)), label="block")  # of so few ReLUs all may be dead
    block = dl.Residual(*layers, zero_init=True)
    model = network([block], seed)
    x, dy = np.random.default_rng(seed).standard_normal((2, 8, width))
    optimizer = dl.SGD(0.1)
    for _ in range(2):
        model.forward(x, training=True)
        model.backward(dy)
        optimizer.step(model.parameters())
    assert not np.array_equal(model.forward(x), x), "two steps did not move the block away from the identity"


def test_residual_blocks_start_at_zero_by_their_last_layer_that_multiplies():
    first, last = dl.Dense(3, 3), dl.Dense(3, 3)
    network([dl.Residual(first, dl.Sequential(dl.ReLU(), last, dl.Tanh()), dl.Dropout(0.5), zero_init=True)], 0)
    assert np.all(last.weight.value == 0) and np.all(first.weight.value != 0)
    last, norm = dl.Dense(3, 3), dl.BatchNorm(3)
    network([dl.Residual(last, norm, zero_init=True)], 0)
    assert np.all(norm.gamma.value == 0) and np.all(last.weight.value != 0)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([dl.ReLU()], "^zero_init got True; expected a Dense or BatchNorm layer in the block that can start at 0$"),
        ([dl.Dense(3, 3), dl.Sequential(dl.Sigmoid())], r"ends before Sigmoid\(\), which is not 0 at 0$"),
        ([dl.Dense(3, 3), dl.Dropout(0.5), dl.ReLU()], r"ends before ReLU\(\), which lets no gradient through at 0"),
    ],
)
def test_a_block_that_cannot_start_at_zero_and_leave_it_is_refused(layers, message):
    dl.Residual(*layers)
    with pytest.raises(ValueError, match=message):
        dl.Residual(*layers, zero_init=True)


@given(data=st.data(), depth=st.integers(1, 12), seed=seeds)
def test_residual_blocks_that_do_not_start_at_zero_add_variance_each(data, depth, seed):
    """y = x + h W for a branch h that ends in normal weights: given x and h,  E Σy² = Σx² + σ² units Σh².

    Two parts are random: the sum of squares of h W, with its bound, and 2 Σ x (h W), which is normal with variance
    4 σ² Σ_j |hᵀx_j|² over the columns x_j of x.
    """
    width = 256
    x = data.draw(batches(4, width), label="x")
    branch = [
        [dl.Dense(width, width, init="he_normal"), dl.ReLU(), dl.Dense(width, width, init="lecun_normal")]
        for _ in range(depth)
    ]
    model = network([dl.Residual(*layers) for layers in branch], seed)
    y = model.forward(x)
    start = np.mean(x**2)
    for i, (block, layers) in enumerate(zip(model.layers, branch, strict=True), start=1):
        y, h = model.outputs[i - 1], block.outputs[1]
        added = _sum_of_squares(h, width, 1 / width)
        deviation = 2 * math.sqrt(np.sum((h.T @ x) ** 2) / width) * bounds.normal_mean(1).high
        before, after = np.sum(x**2), np.sum(y**2)
        assert added.low - deviation <= after - before <= added.high + deviation, (
            f"block {i}, with {layers[-1].init}: the second moment grows by {(after - before) / before:.3g} of itself; "
            f"allowed is {(added.low - deviation) / before:.3g} to {(added.high + deviation) / before:.3g}"
        )
        x = y
    if depth >= 6:  # a factor of 2 on average from each: 64 in all, with a spread of about 1.2
        assert np.mean(y**2) > start, f"{depth} blocks did not make the second moment grow"


def _sum_of_squares(h: np.ndarray, units: int, variance: float) -> Interval:
    return bounds.normal_sum_of_squares(np.maximum(np.linalg.eigvalsh(h @ h.T), 0.0) * variance, units)


# Dropout -------------------------------------------------------------------------------------------------------------


@given(data=st.data(), rate=st.floats(0.0, 0.95), seed=seeds)
def test_inverted_dropout_multiplies_the_second_moment(data, rate, seed):
    x = data.draw(batches(32, 512), label="x")
    y = dl.Dropout(rate).build("cpu", seed, "float64").forward(x, training=True)
    # Σ y² is a sum of independent numbers, each 0 or x² / (1 - rate)²: Hoeffding, for any x.
    found, expected = float(np.sum(y**2)), float(np.sum(x**2)) / (1 - rate)
    deviation = bounds.hoeffding(x**2) / (1 - rate) ** 2
    assert abs(found - expected) <= deviation + 1e-12 * expected, (
        f"dropout of {rate:.3g} multiplies the second moment by {found / np.sum(x**2):.4g}, not by "
        f"1/(1-rate) = {1 / (1 - rate):.4g}; {x.size:,} elements allow {deviation / np.sum(x**2):.3g} more or less"
    )


@given(
    name=st.sampled_from(sorted(FORMULAS.keys() - {"linear"})),
    slope=distributions.slopes,
    rate=st.floats(0.0, 0.9),
    seed=seeds,
)
def test_dropout_adjusted_takes_out_activation_and_dropout(name, slope, rate, seed):
    """z with E z² = 1 → φ → dropout → weights: the second moment is 1 again."""
    rows, units = 32, 256
    kind = dl.ACTIVATION_LAYERS[ACTIVATIONS[name].layer]
    init = f"dropout_adjusted(rate={rate!r}, activation={text(name, slope)!r})"
    activation = kind(slope) if name in PARAMETERS else kind()
    model = network([activation, dl.Dropout(rate), dl.Dense(units, units, init=init)], seed)
    z = np.random.default_rng(seed).standard_normal((rows, units))

    found = float(np.mean(model.forward(z, training=True) ** 2))

    keep, dropped = 1 - rate, model.outputs[1]
    # What goes into the dense layer: independent draws of φ(z)² / keep² or 0, each over its expectation.
    values = np.append(FORMULAS[name][0](Z, slope) ** 2 / keep**2, 0.0) * keep / second_moment(name, slope)
    first = bounds.chernoff(values, np.append(keep * P, rate), z.size)
    # What comes out of it, for exactly that input.
    eigenvalues = np.maximum(np.linalg.eigvalsh(dropped @ dropped.T), 0.0)
    second = bounds.subgaussian_sum_of_squares(eigenvalues, units).scaled(1 / (units * float(eigenvalues.sum())))
    allowed = Interval(first.low * second.low, first.high * second.high)
    assert found in allowed, (
        f"{text(name, slope)}, dropout of {rate:.3g} and {init}: the second moment is {found:.4g} instead of 1; "
        f"{z.size:,} draws and {units} units allow {allowed.low:.4g} to {allowed.high:.4g}"
    )


# Dense(init="auto") --------------------------------------------------------------------------------------------------

# What is in front of the activation, and what of it Dense sees through.
TRANSPARENT = {
    "nothing": lambda width: [],
    "batch norm": lambda width: [dl.BatchNorm(width)],
    "dropout": lambda width: [dl.Dropout(0.1)],
    "both": lambda width: [dl.BatchNorm(width), dl.Dropout(0.5)],
    "a nested batch norm": lambda width: [dl.Sequential(dl.Sequential(dl.BatchNorm(width)), dl.Dropout(0.5))],
}


def computed(make, name, parameter=0.0):
    """LeCun with the gain that makes up for the activation."""
    moment = second_moment(name, parameter)
    return (
        make,
        f"lecun_normal(gain={round(moment**-0.5, 6)!r})",
        distributions.NORMAL,
        lambda fan_in, fan_out: 1 / moment / fan_in,
    )


# The activation that follows; the initializer in the summary; the distribution of the weights and their variance.
CHOICES = {
    "ReLU": (dl.ReLU, "he_normal", distributions.NORMAL, lambda fan_in, fan_out: 2 / fan_in),
    "LeakyReLU": (
        dl.LeakyReLU, "he_normal(slope=0.01)", distributions.NORMAL, lambda fan_in, fan_out: 2 / (1 + 0.01**2) / fan_in
    ),
    "a steep LeakyReLU": (
        lambda: dl.LeakyReLU(0.7), "he_normal(slope=0.7)", distributions.NORMAL,
        lambda fan_in, fan_out: 2 / (1 + 0.7**2) / fan_in,
    ),
    "Tanh": (dl.Tanh, "glorot_uniform", distributions.UNIFORM, lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    "Sigmoid": (
        dl.Sigmoid, "glorot_uniform(gain=4.0)", distributions.UNIFORM,
        lambda fan_in, fan_out: 32 / (fan_in + fan_out),
    ),
    "Softplus": computed(dl.Softplus, "softplus"),
    "ELU": computed(dl.ELU, "elu", 1.0),
    "an ELU of half the size": computed(lambda: dl.ELU(0.5), "elu", 0.5),
    "GELU": computed(dl.GELU, "gelu"),
    "SiLU": computed(dl.SiLU, "silu"),
    "SELU": (dl.SELU, "lecun_normal", distributions.NORMAL, lambda fan_in, fan_out: 1 / fan_in),
    "nothing": (lambda: None, "lecun_normal", distributions.NORMAL, lambda fan_in, fan_out: 1 / fan_in),
    "another Dense": (lambda: "dense", "lecun_normal", distributions.NORMAL, lambda fan_in, fan_out: 1 / fan_in),
    "a Residual": (lambda: "residual", "lecun_normal", distributions.NORMAL, lambda fan_in, fan_out: 1 / fan_in),
}  # fmt: skip


def test_every_activation_has_its_choice():
    assert dl.ACTIVATION_LAYERS.keys() <= CHOICES.keys(), "say what Dense(init='auto') is before the new activation"


@pytest.mark.parametrize("following", CHOICES)
@given(
    between=st.sampled_from(sorted(TRANSPARENT)),
    narrow=st.integers(32, 64),
    seed=seeds,
    swapped=st.booleans(),
    nested=st.booleans(),
)
def test_auto_is_chosen_by_the_activation_that_follows(following, between, narrow, seed, swapped, nested):
    make, name, distribution, variance = CHOICES[following]
    fan_in, fan_out = (4 * narrow, narrow) if swapped else (narrow, 4 * narrow)
    made = make()
    if made == "dense":
        made = dl.Sequential(dl.Dense(fan_out, 2), dl.ReLU())
    elif made == "residual":
        made = dl.Residual(dl.ReLU())
    dense = dl.Dense(fan_in, fan_out)
    layers = [dense, *TRANSPARENT[between](fan_out), *([made] if made else [])]
    model = network([dl.Sequential(layers[0]), *layers[1:]] if nested else layers, seed)

    distributions.assert_follows(dense.weight.value, distribution, math.sqrt(variance(fan_in, fan_out)), name)
    lines = [line for line in model.summary().splitlines() if f"Dense({fan_in}, {fan_out})" in line]
    assert lines and lines[-1].endswith(f"{name}, std {np.std(dense.weight.value):.4g}"), "\n".join(lines)


def test_the_summary_shows_the_initializer_that_was_asked_for():
    model = network([dl.Dense(300, 200, init="glorot_truncated_normal(gain=2.0)"), dl.ReLU(), dl.Dense(200, 2)], 0)
    lines = model.summary().splitlines()
    assert lines[2].endswith(f"glorot_truncated_normal(gain=2.0), std {np.std(model.layers[0].weight.value):.4g}")
    assert "weights start as" in lines[0]
    assert lines[3].split() == ["1", "ReLU()", "(batch,", "200)"]


def test_the_summary_shows_the_weights_that_are_used():
    centered, last = dl.CenteredDense(2, 300), dl.Dense(300, 300)
    model = network([centered, dl.Residual(dl.ReLU(), last, zero_init=True)], 0)
    model.forward(np.ones((2, 2)))
    lines = model.summary().splitlines()
    assert lines[2].endswith(f"lecun_normal, std {np.std(centered.weight.value):.4g}")
    assert lines[5].endswith("zeros, std 0") and not last.weight.value.any()
