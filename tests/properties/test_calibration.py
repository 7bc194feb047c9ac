"""Weights that are fitted to data: LSUV, within-layer normalization, and centered weight normalization."""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as dl
from minidl.calibration import Calibration
from tests.properties.strategies import seeds

INITS = [
    "auto",
    "he_normal",
    "glorot_uniform(gain=4.0)",
    "normal(std=1.0)",
    "uniform(limit=0.001)",
    "sparse",
    "identity",
]
CONSTANT = "its output does not vary"
NO_BIAS = "no bias, so the means stay"


@st.composite
def networks(draw, features: int = 5, bias: bool | None = None) -> dl.Sequential:
    """A network of any layers: dense ones, activations, batch norm, dropout, blocks, chains, heads."""

    def dense(n_in: int, n_out: int) -> dl.Layer:
        kind = dl.CenteredDense if n_in > 1 and draw(st.integers(0, 3)) == 0 else dl.Dense
        init = draw(st.sampled_from(INITS[:5] if kind is dl.CenteredDense else INITS))
        return kind(n_in, n_out, init=init, bias=draw(st.booleans()) if bias is None else bias)

    def others(n: int) -> list[dl.Layer]:
        makers = [dl.Tanh, dl.LeakyReLU, dl.Softplus, dl.Sigmoid, lambda: dl.BatchNorm(n), lambda: dl.Dropout(0.5)]
        return [draw(st.sampled_from(makers))() for _ in range(draw(st.integers(0, 2)))]

    layers: list[dl.Layer] = []
    for _ in range(draw(st.integers(1, 5))):
        n = draw(st.integers(2, 9))
        chain = [dense(features, n), *others(n)]
        wrap = draw(st.sampled_from(["none", "none", "chain", "block"]))
        if wrap == "block":
            n_out = draw(st.sampled_from([features, features + 2]))  # another size than before needs a projection
            layers.append(dl.Residual(*chain, dense(n, n_out), zero_init=draw(st.booleans())))
            features = n_out
        else:
            layers += [dl.Sequential(*chain)] if wrap == "chain" else chain
            features = n
    if draw(st.booleans()):
        layers.append(dl.Heads(a=dense(features, 2), b=dl.Sequential(dense(features, 3), dl.Tanh())))
    return dl.Sequential(*layers, backend="cpu", seed=draw(seeds), dtype="float64")


@st.composite
def inputs(draw, features: int = 5) -> np.ndarray:
    """A batch with different rows, of a moderate scale and mean."""
    rng = np.random.default_rng(draw(seeds))
    rows, scale, mean = draw(st.integers(2, 30)), 10.0 ** draw(st.integers(-2, 2)), draw(st.sampled_from([0.0, 1.0]))
    return scale * (mean + rng.standard_normal((rows, features)))


def dense_layers(model: dl.Sequential) -> list[dl.Dense]:
    return [layer for layer in model.walk() if isinstance(layer, dl.Dense)]


def outputs(model: dl.Sequential, x: np.ndarray) -> list[np.ndarray]:
    """What each dense layer gives when `x` goes through the model, found by passing it on by hand."""
    found: list[np.ndarray] = []

    def through(layer: dl.Layer, x: np.ndarray) -> np.ndarray:
        if isinstance(layer, dl.Sequential):
            y = x
            for child in layer.layers:
                y = through(child, y)
            if not isinstance(layer, dl.Residual):
                return y
            return y + (x if layer.projection is None else through(layer.projection, x))
        if isinstance(layer, dl.Heads):
            return np.hstack([through(head, x) for head in layer.heads.values()])
        y = layer.forward(x).copy()
        if isinstance(layer, dl.Dense):
            found.append(y)
        return y

    y = through(model, x.astype(model.dtype))
    np.testing.assert_allclose(y, model.forward(x.astype(model.dtype)), rtol=1e-6, atol=1e-6)
    return found


# LSUV ----------------------------------------------------------------------------------------------------------------


@given(data=st.data(), tolerance=st.floats(1e-9, 0.5), orthogonal=st.booleans())
def test_lsuv_gives_every_dense_layer_variance_1(data, tolerance, orthogonal):
    model, x = data.draw(networks(), label="model"), data.draw(inputs(), label="x")
    reports = dl.calibration.lsuv(model, x, tolerance=tolerance, orthogonal=orthogonal)

    layers, found = dense_layers(model), outputs(model, x)
    assert [report.layer for report in reports] == [layer.label for layer in layers]
    for layer, report, z in zip(layers, reports, found, strict=True):
        variance = float(np.var(z))
        if report.note:
            assert report.note == CONSTANT and math.sqrt(variance) < 1e-6, str(report)
            assert report.iterations == 0
            continue
        assert abs(variance - 1) <= tolerance * (1 + 1e-6), (
            f"{layer.label}: the variance is {variance:.6g}, more than {tolerance:g} from 1; {report}"
        )
        assert report.std_after == pytest.approx(math.sqrt(variance), rel=1e-6)
        assert 0 <= report.iterations <= 10
        assert (report.iterations == 0) == (abs(report.std_before**2 - 1) <= tolerance)


def test_lsuv_in_float32(rng):
    layers = [part for _ in range(6) for part in (dl.Dense(20, 20), dl.Tanh())]
    model, x = dl.Sequential(*layers, backend="cpu"), rng.standard_normal((50, 20)).astype(np.float32)
    assert all(not report.note for report in dl.calibration.lsuv(model, x, tolerance=1e-4))
    assert all(abs(np.var(z) - 1) < 2e-4 for z in outputs(model, x))


@given(n_in=st.integers(1, 12), n_out=st.integers(1, 12), seed=seeds)
def test_lsuv_starts_from_orthogonal_weights_or_from_those_there_are(n_in, n_out, seed):
    x = np.random.default_rng(seed).standard_normal((40, n_in))

    def calibrated(orthogonal: bool) -> tuple[np.ndarray, np.ndarray]:
        layer = dl.Dense(n_in, n_out, init="normal(std=0.3)")
        model = dl.Sequential(layer, backend="cpu", seed=seed, dtype="float64")
        before = layer.weight.value.copy()
        dl.calibration.lsuv(model, x, orthogonal=orthogonal)
        return before, layer.weight.value

    _, weights = calibrated(orthogonal=True)
    product = weights.T @ weights if n_in >= n_out else weights @ weights.T
    np.testing.assert_allclose(product, product[0, 0] * np.eye(len(product)), atol=1e-9 * product[0, 0])
    before, weights = calibrated(orthogonal=False)
    factor = weights[0, 0] / before[0, 0]
    np.testing.assert_allclose(weights, factor * before, rtol=1e-9)


@given(n_out=st.integers(1, 6), rows=st.integers(2, 9))
def test_lsuv_leaves_layers_alone_whose_output_does_not_vary(n_out, rows):
    """Behind dead units there is nothing to scale by: that is in the report, and the layer is as it was."""
    dead = dl.Dense(4, 3, init="he_normal")
    behind = dl.Dense(3, n_out, init="normal(std=0.5)")
    model = dl.Sequential(dead, dl.ReLU(), behind, backend="cpu", dtype="float64")
    dead.bias.value[:] = -1e6
    before = behind.weight.value.copy()
    reports = dl.calibration.lsuv(model, np.random.default_rng(rows).standard_normal((rows, 4)), orthogonal=False)
    # The first layer is scaled with its bias, so its units stay dead.
    assert [report.note for report in reports] == ["", CONSTANT]
    assert (reports[1].std_before, reports[1].std_after, reports[1].iterations) == (0.0, 0.0, 0)
    np.testing.assert_array_equal(behind.weight.value, before)


def test_lsuv_of_an_input_of_zeros_is_reported():
    model = dl.Sequential(dl.Dense(3, 4), dl.Tanh(), dl.Dense(4, 2), backend="cpu")
    assert [report.note for report in dl.calibration.lsuv(model, np.zeros((5, 3), np.float32))] == [CONSTANT] * 2


@given(scale=st.floats(1e-300, 1e-8), seed=seeds)
def test_lsuv_does_not_blow_up_what_hardly_varies(scale, seed):
    layer = dl.Dense(3, 4)
    model = dl.Sequential(layer, backend="cpu", seed=seed, dtype="float64")
    x = scale * np.random.default_rng(seed).standard_normal((6, 3))
    (report,) = dl.calibration.lsuv(model, x)
    assert report.note == CONSTANT and report.std_after < 1e-6
    assert np.abs(layer.weight.value).max() <= 1


RESCALED = {
    "Dense": lambda **bias: dl.Dense(5, 4, **bias),
    "CenteredDense": lambda **bias: dl.CenteredDense(5, 4, **bias),
    "DropConnect": lambda **bias: dl.DropConnect(5, 4, 0.3, **bias),
    "NoisyDense": lambda **bias: dl.NoisyDense(5, 4, 0.5, **bias),
}


def test_every_dense_layer_is_rescaled_here():
    assert set(RESCALED) == {
        kind.__name__ for kind in vars(dl).values() if isinstance(kind, type) and issubclass(kind, dl.Dense)
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [0.25, 3.0, np.array([0.5, 2.0, -4.0, 1.0])], ids=["down", "up", "units"])
@pytest.mark.parametrize("kind", RESCALED)
def test_rescale_changes_the_outputs_and_not_only_the_weights(kind, scale, dtype):
    """The bias is part of the output: `scale` times what it was, and then the shift."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 5)).astype(dtype)
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-12}
    for shift in (None, 0.75, rng.standard_normal(4)):
        layer = RESCALED[kind]().build("cpu", 0, dtype)
        layer.bias.value[:] = rng.standard_normal(4) + 2
        before = layer.forward(x).copy()
        layer.rescale(scale, shift)
        np.testing.assert_allclose(layer.forward(x), scale * before + (0 if shift is None else shift), **close)
    layer = RESCALED[kind](bias=False).build("cpu", 0, dtype)
    before = layer.forward(x).copy()
    layer.rescale(scale)
    np.testing.assert_allclose(layer.forward(x), scale * before, **close)


@pytest.mark.parametrize("kind", RESCALED)
def test_a_bias_that_is_not_zero_is_calibrated_too(kind):
    x = np.random.default_rng(1).standard_normal((200, 5))
    for calibrate in (dl.calibration.lsuv, dl.calibration.within_layer):
        layer = RESCALED[kind]()
        model = dl.Sequential(layer, backend="cpu", dtype="float64")
        model.parameters()
        layer.bias.value[:] = (5.0, -3.0, 0.5, 10.0)
        calibrate(model, x)
        outputs = model.predict(x)
        if calibrate is dl.calibration.within_layer:
            np.testing.assert_allclose(outputs.mean(axis=0), 0.0, atol=1e-12)
            np.testing.assert_allclose(outputs.std(axis=0), 1.0, rtol=1e-12)
        else:
            assert np.var(outputs) == pytest.approx(1.0, abs=0.01)


class Stubborn(dl.Dense):
    """A layer that takes only part of each correction."""

    def rescale(self, scale, shift=None):
        super().rescale(scale**0.5, shift)


@given(iterations=st.integers(1, 5), tolerance=st.floats(1e-3, 1e-2))
def test_lsuv_tries_as_often_as_it_may_and_says_what_is_left(iterations, tolerance):
    x = np.random.default_rng(iterations).standard_normal((60, 5))
    model = dl.Sequential(Stubborn(5, 4, init="normal(std=10.0)"), backend="cpu", dtype="float64")
    (report,) = dl.calibration.lsuv(model, x, tolerance=tolerance, max_iterations=iterations)
    # Each try leaves the root of the factor: std ** (1/2) ** iterations.
    expected = report.std_before ** (0.5**iterations)
    assert report.iterations == iterations
    assert report.std_after == pytest.approx(expected, rel=1e-9) == pytest.approx(np.std(model.predict(x)), rel=1e-9)
    assert report.note == f"variance {report.std_after**2:.4g} after {iterations} iterations"


def test_lsuv_stops_as_soon_as_it_is_near_enough():
    x = np.random.default_rng(0).standard_normal((60, 5))
    model = dl.Sequential(Stubborn(5, 4, init="normal(std=10.0)"), backend="cpu", dtype="float64")
    (report,) = dl.calibration.lsuv(model, x, tolerance=0.1, max_iterations=50)
    assert 2 <= report.iterations <= 8 and not report.note
    again = dl.calibration.lsuv(model, x, tolerance=0.1, orthogonal=False)
    assert again == [Calibration("0 " + repr(model.layers[0]), report.std_after, report.std_after, 0)]


def test_lsuv_is_repeatable():
    def weights(seed):
        model = dl.Sequential(dl.Dense(4, 3), dl.Tanh(), dl.Dense(3, 3), backend="cpu", seed=seed)
        dl.calibration.lsuv(model, np.random.default_rng(0).standard_normal((9, 4)))
        return np.concatenate([parameter.value.ravel() for parameter in model.parameters()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_a_report_is_one_line():
    assert str(Calibration("0 Dense(4, 3)", 3.14159, 1.0, 1)) == "0 Dense(4, 3): std 3.142 → 1 in 1"
    assert str(Calibration("2 Dense(4, 3)", 0.0, 0.0, 0, CONSTANT)).endswith(f"in 0 ({CONSTANT})")


def test_lsuv_reaches_projections_heads_and_noisy_layers(rng):
    """Layers that draw are scaled by what they give at inference, and keep the weights that they started with."""
    model = dl.Sequential(
        dl.DropConnect(5, 8, 0.3, init="normal(std=3.0)"),
        dl.Residual(dl.Dense(8, 6), dl.Tanh(), dl.Dense(6, 4), dl.StochasticDepth(0.5)),
        dl.GaussianNoise(0.1),
        dl.Heads(a=dl.NoisyDense(4, 2, 0.1), b=dl.Sequential(dl.Dropout(0.5), dl.Dense(4, 3))),
        backend="cpu",
        dtype="float64",
    )
    before = model.layers[0].weight.value.copy()
    reports = dl.calibration.lsuv(model, rng.normal(size=(50, 5)), tolerance=1e-6)
    assert [report.layer.split()[0] for report in reports] == [
        "0", "1.Residual.0", "1.Residual.2", "1.Residual.projection", "3.Heads.a", "3.Heads.b.Sequential.1",
    ]  # fmt: skip
    assert all(abs(report.std_after**2 - 1) <= 1e-6 and not report.note for report in reports)
    factor = model.layers[0].weight.value[0, 0] / before[0, 0]
    np.testing.assert_allclose(model.layers[0].weight.value, factor * before, rtol=1e-9)


# Within-layer normalization ------------------------------------------------------------------------------------------


@given(data=st.data())
def test_within_layer_gives_every_unit_mean_0_and_variance_1(data):
    model, x = data.draw(networks(bias=True), label="model"), data.draw(inputs(), label="x")
    reports = dl.calibration.within_layer(model, x)
    for layer, report, z in zip(dense_layers(model), reports, outputs(model, x), strict=True):
        varies = z.std(axis=0) > 0.5
        if layer.has_bias:
            np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6, err_msg=f"means of {layer.label}")
        np.testing.assert_allclose(z.var(axis=0)[varies], 1, atol=1e-6, err_msg=f"variances of {layer.label}")
        constant = np.count_nonzero(~varies)
        notes = [f"{constant} units do not vary"] * bool(constant) + [NO_BIAS] * (not layer.has_bias)
        assert report.note == "; ".join(notes), str(report)
        assert report.std_after == pytest.approx(np.std(z), abs=1e-6)
        assert report.iterations == 1 and report.layer == layer.label


@given(n_out=st.integers(1, 6), seed=seeds)
def test_without_bias_within_layer_keeps_the_means_and_says_so(n_out, seed):
    layer = dl.Dense(4, n_out, init="normal(std=2.0)", bias=False)
    model = dl.Sequential(layer, backend="cpu", seed=seed, dtype="float64")
    x = 1.0 + np.random.default_rng(seed).standard_normal((20, 4))
    before = layer.forward(x).copy()
    (report,) = dl.calibration.within_layer(model, x)
    assert report.note == NO_BIAS
    np.testing.assert_allclose(layer.forward(x), before / before.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize("bias", [True, False])
def test_within_layer_keeps_the_scale_of_units_that_do_not_vary(bias):
    layer = dl.Dense(3, 4, init="normal(std=1.0)", bias=bias)
    model = dl.Sequential(layer, backend="cpu", dtype="float64")
    before = layer.weight.value.copy()
    (report,) = dl.calibration.within_layer(model, np.ones((6, 3)))
    assert report.note == "4 units do not vary" + ("" if bias else "; no bias, so the means stay")
    np.testing.assert_array_equal(layer.weight.value, before)


# Running statistics of batch norm ------------------------------------------------------------------------------------


def test_running_statistics_are_those_of_inference(any_backend, rng):
    """Mean and unbiased variance of what each batch norm gets with dropout off, behind the calibrated one before it."""
    model = dl.Sequential(
        dl.Dropout(0.5), dl.Dense(6, 5), dl.BatchNorm(5), dl.ReLU(),
        dl.Residual(dl.Dense(5, 5), dl.BatchNorm(5), dl.Tanh(), dl.Dense(5, 5)),
        backend=any_backend.name, dtype="float64",
    )  # fmt: skip
    x = rng.normal(2.0, 3.0, (40, 6))
    model.forward(x, training=True)
    before = {parameter.name: any_backend.to_numpy(parameter.value) for parameter in model.parameters()}
    reports = dl.calibration.running_statistics(model, x)
    for parameter in model.parameters():
        np.testing.assert_array_equal(any_backend.to_numpy(parameter.value), before[parameter.name])

    def check(norm, z):
        np.testing.assert_allclose(any_backend.to_numpy(norm.running_mean), z.mean(axis=0), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(any_backend.to_numpy(norm.running_variance), z.var(axis=0, ddof=1), rtol=1e-10)

    first, block = model.layers[2], model.layers[4]
    check(first, any_backend.to_numpy(model.layers[1].forward(x)))
    inner = [layer for layer in block.walk() if isinstance(layer, (dl.Dense, dl.BatchNorm))][:2]
    stream = x
    for layer in [*model.layers[:4], inner[0]]:
        stream = layer.forward(stream)
    check(inner[1], any_backend.to_numpy(stream))
    assert [report.layer for report in reports] == [first.label, inner[1].label]
    assert all(not report.note and report.iterations == 1 for report in reports)
    assert reports[0].std_after == pytest.approx(np.sqrt(39 / 40), rel=1e-3)
    assert abs(reports[0].std_before - 1) > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_statistics_take_out_what_dropout_adds_to_the_variance(dtype, rng):
    model = dl.Sequential(dl.Dropout(0.5), dl.Dense(100, 50), dl.BatchNorm(50), backend="cpu", dtype=dtype)
    for _ in range(60):
        model.forward(rng.standard_normal((128, 100)).astype(dtype), training=True)
    x = rng.standard_normal((2000, 100)).astype(dtype)
    (report,) = dl.calibration.running_statistics(model, x)
    assert report.std_before == pytest.approx(np.sqrt(0.5), abs=0.03)
    assert report.std_after == pytest.approx(1.0, abs=1e-3)
    assert report.std_after == pytest.approx(model.predict(x).astype(float).std(), abs=1e-6)


def test_a_model_without_batch_norm_has_no_running_statistics(rng):
    assert dl.calibration.running_statistics(dl.Sequential(dl.Dense(3, 2), backend="cpu"), rng.random((4, 3))) == []


def test_a_variance_that_overflows_is_refused_and_changes_nothing():
    model = dl.Sequential(dl.BatchNorm(2), backend="cpu")
    before = model.snapshot()
    with pytest.raises(ValueError, match=r"^the variance of what goes into layer 0 BatchNorm\(2\) got inf at index 0"):
        dl.calibration.running_statistics(model, np.array([[1e30, 0], [-1e30, 1]], np.float32))
    for name, array in model.snapshot().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("function", [dl.calibration.running_statistics, dl.calibration.lsuv])
def test_another_thread_waits_until_a_model_is_calibrated(function, monkeypatch, rng):
    """Its `predict` would write into the same buffers."""
    model = dl.Sequential(dl.Dense(3, 2), dl.BatchNorm(2), backend="cpu")
    free, output = [], dl.calibration._output

    def asked(layer, x):
        with ThreadPoolExecutor(1) as pool:
            free.append(pool.submit(model.lock.acquire, blocking=False).result())
        return output(layer, x)

    monkeypatch.setattr(dl.calibration, "_output", asked)
    function(model, rng.random((4, 3)))
    assert free and not any(free)


# Bad arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "calibrate",
    [dl.calibration.lsuv, dl.calibration.within_layer, dl.calibration.running_statistics],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (dl.Dense(3, 2), np.ones((4, 3)), TypeError, r"^model got Dense\(3, 2\); expected a minidl.Sequential$"),
        (None, np.ones((4, 3)), TypeError, "^model got None; expected a minidl.Sequential$"),
        ("model", np.ones((1, 3)), ValueError, "^x got 1 row; expected at least 2, because one has no variance$"),
        ("model", np.ones(3), ValueError, r"^x got shape \(3,\); expected two dimensions"),
        ("model", np.ones((4, 3), int), TypeError, "^x got dtype int64; expected float32 or float64"),
        ("model", np.full((4, 3), np.nan), ValueError, "^x got nan at row 0, column 0"),
        ("model", np.ones((4, 5)), ValueError, r"^x got 5 features; layer 0 Dense\(3, 2\) expects 3$"),
    ],
)
def test_a_wrong_model_or_batch_is_refused(calibrate, model, x, error, message):
    if model == "model":
        model = dl.Sequential(dl.Dense(3, 2), backend="cpu")
    with pytest.raises(error, match=message):
        calibrate(model, x)


@pytest.mark.parametrize("calibrate", [dl.calibration.lsuv, dl.calibration.within_layer], ids=lambda f: f.__name__)
def test_an_output_that_overflows_is_refused(calibrate):
    model = dl.Sequential(dl.Dense(3, 2, init="constant(value=1.0)"), backend="cpu")
    x = np.full((4, 3), 3e38, np.float32)
    if calibrate is dl.calibration.lsuv:
        calibrate = functools.partial(calibrate, orthogonal=False)
    with pytest.raises(ValueError, match=r"^the output of layer 0 Dense\(3, 2, .*\) got inf at row 0, column 0"):
        calibrate(model, x)


@pytest.mark.parametrize("calibrate", [dl.calibration.lsuv, dl.calibration.within_layer], ids=lambda f: f.__name__)
def test_a_calibration_that_is_refused_leaves_the_model_as_it_was(calibrate):
    second = dl.Dense(3, 2, init="constant(value=1e30)", bias=False)
    layers = dl.Dense(3, 3, init="normal(std=2.0)"), dl.LeakyReLU(slope=1e30), second
    model = dl.Sequential(*layers, backend="cpu")
    second.weight.value = np.full((3, 2), 3e38)
    before = model.snapshot()
    options = {"orthogonal": False} if calibrate is dl.calibration.lsuv else {}
    with pytest.raises(ValueError, match=r"^the output of layer 2 Dense\(3, 2, .*\) got -?(inf|nan) at row "):
        calibrate(model, np.random.default_rng(0).standard_normal((9, 3)), **options)
    for name, array in model.snapshot().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("calibrate", [dl.calibration.lsuv, dl.calibration.within_layer], ids=lambda f: f.__name__)
@pytest.mark.parametrize("scale", [1e155, 1e160, 1e300])
def test_inputs_whose_squares_overflow_are_calibrated_as_others_are(calibrate, scale, rng):
    model = dl.Sequential(dl.Dense(4, 8), dl.ReLU(), dl.Dense(8, 2), backend="cpu", dtype="float64")
    x = scale * rng.standard_normal((50, 4))
    reports = calibrate(model, x)
    assert reports[0].std_before > scale / 10
    for report, layer, y in zip(reports, dense_layers(model), outputs(model, x), strict=True):
        assert layer.weight.value.any()
        assert report.std_after == pytest.approx(1.0, rel=0.01) == y.std()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tolerance": 0.0}, ValueError, "^tolerance got 0; expected a finite number, greater than 0$"),
        ({"tolerance": "small"}, TypeError, "^tolerance got 'small'; expected a finite number"),
        ({"max_iterations": 0}, ValueError, "^max_iterations got 0; expected an integer of at least 1$"),
        ({"max_iterations": 1.5}, TypeError, "^max_iterations got 1.5; expected an integer"),
        ({"orthogonal": "yes"}, TypeError, "^orthogonal got 'yes'; expected True or False$"),
    ],
)
def test_wrong_options_of_lsuv_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        dl.calibration.lsuv(dl.Sequential(dl.Dense(3, 2), backend="cpu"), np.ones((4, 3)), **options)


# Centered weight normalization ---------------------------------------------------------------------------------------


@given(n_in=st.integers(2, 9), n_out=st.integers(1, 7), seed=seeds, bias=st.booleans())
def test_columns_of_centered_weights_have_mean_0_and_the_length_of_their_gain(n_in, n_out, seed, bias):
    """At the start, where W is the drawn matrix less its means, and wherever training takes the parameters."""
    rng = np.random.default_rng(seed)
    layer = dl.CenteredDense(n_in, n_out, init="he_normal", bias=bias).build("cpu", seed, "float64")
    plain = dl.Dense(n_in, n_out, init="he_normal").build("cpu", seed, "float64")
    x = rng.standard_normal((6, n_in))
    layer.forward(x)
    drawn = plain.weight.value
    np.testing.assert_allclose(layer.weight.value, drawn - drawn.mean(axis=0), atol=1e-12)

    optimizer = dl.Adam(0.1)
    for step in range(4):
        y = layer.forward(x, training=True)
        weights, gain = layer.weight.value, layer.gain.value
        np.testing.assert_allclose(weights.mean(axis=0), 0, atol=1e-12, err_msg=f"means after {step} steps")
        np.testing.assert_allclose(np.linalg.norm(weights, axis=0), np.abs(gain), rtol=1e-9, err_msg="lengths")
        np.testing.assert_allclose(y, x @ weights + (layer.bias.value if bias else 0), atol=1e-9)
        layer.backward(rng.standard_normal((6, n_out)))
        optimizer.step(layer.parameters())


@given(n_in=st.integers(2, 9), n_out=st.integers(1, 7), seed=seeds, shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
def test_centered_weights_do_not_depend_on_mean_and_length_of_their_direction(n_in, n_out, seed, shift, scale):
    rng = np.random.default_rng(seed)
    layer = dl.CenteredDense(n_in, n_out).build("cpu", seed, "float64")
    x = rng.standard_normal((6, n_in))
    before = layer.forward(x).copy()
    layer.direction.value[...] = scale * layer.direction.value + shift
    np.testing.assert_allclose(layer.forward(x), before, rtol=1e-7, atol=1e-9)
    # So adding the same number to all of the input changes nothing either, and the gradient has no such part.
    np.testing.assert_allclose(layer.forward(x + shift), before, rtol=1e-7, atol=1e-7)
    layer.forward(x, training=True)
    layer.backward(rng.standard_normal((6, n_out)))
    gradient, unit = layer.direction.gradient, layer.weight.value / layer.gain.value
    largest = np.abs(gradient).max()
    np.testing.assert_allclose(gradient.mean(axis=0), 0, atol=1e-9 * (1 + largest))
    np.testing.assert_allclose((gradient * unit).sum(axis=0), 0, atol=1e-9 * (1 + largest))


def test_one_input_cannot_be_centered():
    with pytest.raises(ValueError, match="^n_in got 1; expected an integer of at least 2$"):
        dl.CenteredDense(1, 3)


def test_lsuv_leaves_a_block_that_starts_at_zero_as_it_is():
    block = dl.Residual(dl.Dense(8, 8), dl.ReLU(), dl.Dense(8, 8), zero_init=True)
    model = dl.Sequential(dl.Dense(8, 8), block, backend="cpu", dtype="float64")
    reports = dl.calibration.lsuv(model, np.random.default_rng(0).normal(size=(50, 8)))
    assert not block.layers[2].weight.value.any()
    assert [report.note for report in reports] == ["", "", "its output does not vary"]
