"""What all layers with a random part share: new numbers in each training pass, none at inference, all from the seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import minidl as dl

N_IN, N_OUT, ROWS = 6, 3, 5
KEEP = 0.7
PASSES = 4000
ALPHA = 1e-9  # chance of a false alarm, if the numbers are as random as they say

MAKERS = {
    "Dropout": lambda: dl.Dropout(1 - KEEP),
    "classic Dropout": lambda: dl.Dropout(1 - KEEP, inverted=False),
    "DropConnect": lambda: dl.DropConnect(N_IN, N_OUT, 1 - KEEP),
    "NoisyDense": lambda: dl.NoisyDense(N_IN, N_OUT, 0.5),
    "StochasticDepth": lambda: dl.StochasticDepth(1 - KEEP),
    "GaussianNoise": lambda: dl.GaussianNoise(0.5),
}
DROPPING = [name for name in MAKERS if name not in ("NoisyDense", "GaussianNoise")]


@pytest.fixture(params=MAKERS)
def name(request):
    return request.param


@pytest.fixture(params=DROPPING)
def dropping(request):
    return request.param


def built(name, backend="cpu", seed=0, dtype="float64"):
    return MAKERS[name]().build(backend, seed, dtype)


def draw(layer, rng, rows=ROWS):
    x, dy = rng.normal(size=(rows, N_IN)), rng.normal(size=(rows, layer.n_out or N_IN))
    return x.astype(layer.dtype), dy.astype(layer.dtype)


def outputs(layer, x, passes):
    """Of the next training passes."""
    return np.array([layer.backend.to_numpy(layer.forward(x, training=True)) for _ in range(passes)])


# Expectations


def deviations(name, layer, x):
    """σ of each output, so that E exp(t (y - E y)) ≤ exp(t² σ²/2) for every t.

    Noise is normal with this σ. An independent term that is 0 or c has σ = |c|/2 at most (Hoeffding's lemma), and
    squares of independent terms add up.
    """
    if name == "NoisyDense":
        return np.repeat(0.5 * np.linalg.norm(x, axis=1, keepdims=True), N_OUT, axis=1)
    if name == "GaussianNoise":
        return np.full(x.shape, 0.5)
    if name == "DropConnect":
        return np.sqrt(x**2 @ layer.weight.value**2) / KEEP / 2
    return np.abs(x) / (1.0 if name == "classic Dropout" else KEEP) / 2


def test_inference_is_the_expectation_of_the_training_passes(name, rng):
    """Chernoff: the mean of n passes is off by more than σ √(2 log(2/α) / n) with a chance of at most α per output."""
    layer = built(name)
    x, _ = draw(layer, rng)
    expected = layer.forward(x).copy()
    allowed = deviations(name, layer, x) * math.sqrt(2 * math.log(2 * expected.size / ALPHA) / PASSES)
    off = np.abs(outputs(layer, x, PASSES).mean(axis=0) - expected)
    assert (off <= allowed).all(), f"{(off / allowed).max():.3g} times what chance allows"


@pytest.mark.parametrize("name", ["NoisyDense", "GaussianNoise"])
def test_the_noise_is_normal_with_the_standard_deviation_asked_for(name, dtype):
    """Dvoretzky, Kiefer, Wolfowitz and Massart: sup |F_n - F| > s with a chance of at most 2 exp(-2 n s²)."""
    layer = (dl.NoisyDense(50, 40, 0.3) if name == "NoisyDense" else dl.GaussianNoise(0.3)).build("cpu", 0, str(dtype))
    x = np.eye(50, dtype=dtype)
    noise = np.sort((outputs(layer, x, 20) - layer.forward(x)).ravel()) / 0.3
    cdf, steps = stats.norm.cdf(noise), np.arange(noise.size + 1) / noise.size
    distance = max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max())
    assert distance < math.sqrt(math.log(2 / ALPHA) / (2 * noise.size))


def test_noise_on_the_inputs_of_a_linear_layer_is_a_penalty(rng):
    """Bishop (1995). The mean over passes is off by more than 6 of its standard errors once in 5e8 seeds."""
    std, n_out = 0.3, 4
    noise, dense = dl.GaussianNoise(std), dl.Dense(N_IN, n_out, init="normal(std=1.0)")
    model = dl.Sequential(noise, dense, backend="cpu", dtype="float64")
    x, loss = rng.normal(size=(50, N_IN)), dl.MeanSquaredError()
    targets = model.forward(x) + 0.1 * rng.normal(size=(50, n_out))
    without = loss.forward(model.forward(x), targets)
    found = np.array([loss.forward(model.forward(x, training=True), targets) for _ in range(PASSES)])
    penalty = 2 * std**2 / n_out / 2 * np.sum(dense.weight.value**2)
    error = found.std() / math.sqrt(PASSES)
    assert abs(found.mean() - without - penalty) < 6 * error < 0.05 * penalty


# Drawings


def test_every_training_pass_draws_anew(name, rng):
    layer = built(name)
    x, _ = draw(layer, rng, rows=64)
    drawn = outputs(layer, x, 10)
    for i in range(10):
        for j in range(i):
            assert not np.array_equal(drawn[i], drawn[j])


def test_the_seed_decides_what_is_drawn(name, rng):
    x = rng.normal(size=(64, N_IN))
    first, again, other = (
        outputs(layer, x, 3) - layer.forward(x) for layer in (built(name, seed=s) for s in (1, 1, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_two_layers_of_a_model_draw_from_streams_of_their_own(name, rng):
    first, second = MAKERS[name](), MAKERS[name]()
    dl.Sequential(first, dl.Sequential(*([dl.Dense(N_OUT, N_IN)] if first.n_out else []), second), backend="cpu")
    assert not np.array_equal(first.key, second.key)


def test_every_backend_draws_the_same(name, any_backend, dtype, rng):
    layer, mine = built(name, any_backend.name, dtype=str(dtype)), built(name, dtype=str(dtype))
    x, dy = draw(layer, rng)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for _ in range(3):
        y, expected = layer.forward(x, training=True), mine.forward(x, training=True)
        np.testing.assert_allclose(any_backend.to_numpy(y), expected, atol=tolerance)
        np.testing.assert_allclose(any_backend.to_numpy(layer.backward(dy)), mine.backward(dy), atol=tolerance)


def test_both_precisions_draw_the_same(name, rng):
    x = rng.normal(size=(ROWS, N_IN))
    single, double = built(name, dtype="float32"), built(name)
    np.testing.assert_allclose(outputs(single, x.astype(np.float32), 3), outputs(double, x, 3), atol=2e-6)


def test_inference_has_no_noise_and_draws_nothing(name, any_backend, rng):
    layer, twin = built(name, any_backend.name), built(name, any_backend.name)
    x, _ = draw(layer, rng)
    expected = x
    if isinstance(layer, dl.Dense):
        expected = dl.Dense(N_IN, N_OUT).build(any_backend.name, 0, "float64").forward(x)
    elif name == "classic Dropout":
        expected = KEEP * x
    for _ in range(2):
        np.testing.assert_allclose(any_backend.to_numpy(layer.forward(x)), expected, rtol=1e-15)
    np.testing.assert_array_equal(outputs(layer, x, 2), outputs(twin, x, 2))


def test_the_number_of_the_drawing_is_saved(name, tmp_path, rng):
    model = dl.Sequential(MAKERS[name](), backend="cpu", dtype="float64")
    x = rng.normal(size=(64, N_IN))
    outputs(model, x, 3)
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(outputs(dl.load(tmp_path / "model.npz", "cpu"), x, 2), outputs(model, x, 2))


# The backward pass


def test_backward_uses_the_numbers_of_its_forward_pass(name, any_backend, rng):
    """With its numbers fixed each layer is a map y = x A + c, and dx = dy Aᵀ: so (y - c) · dy = x · dx."""
    layer = built(name, any_backend.name)
    get = any_backend.to_numpy
    x, dy = draw(layer, rng)
    for _ in range(3):
        y = get(layer.forward(x, training=True))
        c = y - x if name == "GaussianNoise" else 0.0
        for _ in range(2):  # a second backward pass is no second drawing
            assert np.sum(x * get(layer.backward(dy))) == pytest.approx(np.sum((y - c) * dy), rel=1e-12)


def test_the_gradient_of_dropped_weights_is_zero_and_of_the_others_scaled(any_backend, rng):
    """y is linear in W as well: what is dropped gets no gradient, and dW · W = dy · (y - b)."""
    layer = built("DropConnect", any_backend.name)
    x, dy = draw(layer, rng)
    get = any_backend.to_numpy
    for _ in range(3):
        y = get(layer.forward(x, training=True))
        layer.backward(dy)
        gradient = get(layer.weight.gradient)
        assert np.sum(gradient * get(layer.weight.value)) == pytest.approx(np.sum(dy * y), rel=1e-12)
        kept = gradient != 0
        assert 0 < kept.sum() < kept.size
        np.testing.assert_allclose(gradient[kept], (x.T @ dy)[kept] / KEEP, rtol=1e-12)


def test_noisy_weights_have_the_gradient_of_a_dense_layer(any_backend, rng):
    layer = built("NoisyDense", any_backend.name)
    x, dy = draw(layer, rng)
    layer.forward(x, training=True)
    layer.backward(dy)
    np.testing.assert_allclose(any_backend.to_numpy(layer.weight.gradient), x.T @ dy, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(any_backend.to_numpy(layer.bias.gradient), dy.sum(axis=0), rtol=1e-12)


# Masks of weights and of rows


def test_dropconnect_drops_weights_at_its_rate_for_the_whole_batch():
    n, rate, passes = 60, 0.3, 20
    layer = dl.DropConnect(n, 50, rate, bias=False).build("cpu", 0, "float64")
    x = np.vstack([np.eye(n), np.eye(n)])
    drawn = outputs(layer, x, passes)
    np.testing.assert_array_equal(drawn[:, :n], drawn[:, n:])
    dropped = drawn[:, :n] == 0
    trials = dropped.size
    assert abs(dropped.sum() - rate * trials) < 6 * math.sqrt(trials * rate * (1 - rate))
    np.testing.assert_allclose(
        drawn[:, :n][~dropped], np.tile(layer.weight.value / (1 - rate), (passes, 1, 1))[~dropped]
    )


def test_stochastic_depth_drops_whole_rows_at_its_rate(any_backend, rng):
    rows, passes = (2000, 5) if any_backend.name == "cpu" else (60, 3)
    layer = dl.StochasticDepth(0.3).build(any_backend.name, 0, "float64")
    x = rng.normal(size=(rows, N_IN))
    drawn = outputs(layer, x, passes)
    kept = (drawn != 0).any(axis=2)
    for y, rows_kept in zip(drawn, kept, strict=True):
        np.testing.assert_allclose(y[rows_kept], x[rows_kept] / 0.7, rtol=1e-15)
        np.testing.assert_array_equal(y[~rows_kept], 0)
    trials = rows * passes
    assert abs(kept.sum() - 0.7 * trials) < 6 * math.sqrt(trials * 0.3 * 0.7)


def test_classic_dropout_learns_at_full_size_and_is_scaled_at_inference(any_backend, dtype, rng):
    layer = dl.Dropout(0.2, inverted=False).build(any_backend.name, 0, str(dtype))
    x = rng.normal(size=(64, 10)).astype(dtype)
    y = any_backend.to_numpy(layer.forward(x, training=True))
    kept = y != 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_array_equal(y[kept], x[kept])
    np.testing.assert_array_equal(any_backend.to_numpy(layer.backward(x)), y)
    np.testing.assert_array_equal(any_backend.to_numpy(layer.forward(x)), x * dtype.type(0.8))


def test_both_forms_of_dropout_drop_the_same_and_differ_by_a_factor(rng):
    x = rng.normal(size=(64, 10))
    inverted, classic = (outputs(built(name), x, 3) for name in ("Dropout", "classic Dropout"))
    np.testing.assert_allclose(KEEP * inverted, classic, rtol=1e-15)


# Rates


def at_rate(name, rate, backend="cpu"):
    layer = MAKERS[name]()
    layer.rate = rate
    return layer.build(backend, 0, "float64")


def test_a_rate_is_exact_to_a_random_word(dropping):
    """A count of dropped elements would notice a rate that is off by a hundredth, but none much smaller."""
    for rate in (0.0, 1e-9, 0.1, 1 / 3, 0.5, 0.999, 1.0):
        words_below = int(at_rate(dropping, rate).threshold)  # of the 2³² words
        assert abs(words_below - rate * 2**32) <= 0.5


def test_rate_zero_changes_nothing(dropping, any_backend, rng):
    layer, get = at_rate(dropping, 0.0, any_backend.name), any_backend.to_numpy
    x, dy = draw(layer, rng)
    y = get(layer.forward(x, training=True))
    dx = get(layer.backward(dy))
    np.testing.assert_array_equal(get(layer.forward(x)), y)
    if dropping == "DropConnect":
        np.testing.assert_allclose(y, x @ get(layer.weight.value), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(dx, dy @ get(layer.weight.value).T, rtol=1e-13, atol=1e-14)
    else:
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(dx, dy)


def test_rate_one_gives_zeros_and_zero_gradients(dropping, any_backend, rng):
    layer, get = at_rate(dropping, 1.0, any_backend.name), any_backend.to_numpy
    x, dy = draw(layer, rng)
    np.testing.assert_array_equal(get(layer.forward(x, training=True)), np.zeros(dy.shape))
    np.testing.assert_array_equal(get(layer.backward(dy)), np.zeros(x.shape))
    if dropping == "DropConnect":
        np.testing.assert_array_equal(get(layer.weight.gradient), np.zeros((N_IN, N_OUT)))
    if dropping == "classic Dropout":
        np.testing.assert_array_equal(get(layer.forward(x)), np.zeros(x.shape))


@pytest.mark.parametrize("maker", [lambda: dl.NoisyDense(N_IN, N_OUT, 0.0), lambda: dl.GaussianNoise(0)])
def test_noise_without_spread_is_none(maker, rng):
    layer = maker().build("cpu", 0, "float64")
    x, _ = draw(layer, rng)
    np.testing.assert_array_equal(layer.forward(x, training=True).copy(), layer.forward(x))


def test_a_new_rate_takes_effect_with_the_next_pass(dropping, rng):
    """The layer goes on as one that has had this rate from the beginning, and its text says so."""
    layer, other = at_rate(dropping, 0.2), at_rate(dropping, 0.8)
    x, dy = draw(layer, rng, rows=64)
    outputs(layer, x, 2), outputs(other, x, 2)
    layer.rate = 0.8
    np.testing.assert_array_equal(outputs(layer, x, 1), outputs(other, x, 1))
    np.testing.assert_array_equal(layer.backward(dy), other.backward(dy))
    assert repr(layer) == repr(other)
    with pytest.raises(ValueError, match="^rate got 1.5; expected a finite number, at least 0 and at most 1$"):
        layer.rate = 1.5
    np.testing.assert_array_equal(outputs(layer, x, 1), outputs(other, x, 1))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dl.StochasticDepth(-0.1), ValueError, "^rate got -0.1; expected .*, at least 0 and at most 1$"),
        (lambda: dl.DropConnect(2, 3, 1.1), ValueError, "^rate got 1.1; expected .*, at least 0 and at most 1$"),
        (lambda: dl.DropConnect(0, 3, 0.5), ValueError, "^n_in got 0; expected an integer of at least 1$"),
        (lambda: dl.DropConnect(2, 3, "he_normal"), TypeError, "^rate got 'he_normal'; expected a finite number"),
        (lambda: dl.NoisyDense(2, 3, -1), ValueError, "^std got -1; expected a finite number, at least 0$"),
        (lambda: dl.NoisyDense(2, 3, math.nan), ValueError, "^std got nan; expected a finite number, at least 0$"),
        (lambda: dl.GaussianNoise(-0.1), ValueError, "^std got -0.1; expected a finite number, at least 0$"),
        (lambda: dl.GaussianNoise(True), TypeError, "^std got True; expected a finite number, at least 0$"),
        (lambda: dl.Dropout(0.5, 1), TypeError, "^inverted got 1; expected True or False$"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
