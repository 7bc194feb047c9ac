"""inspect: every column against NumPy, layers that saturate, die or overflow, and a model that stays as it was."""

from __future__ import annotations

import itertools
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

import minidl as dl
from minidl.diagnostics.inspection import COLUMNS
from minidl.diagnostics.layer_statistics import Histogram

pytestmark = pytest.mark.usefixtures("unspaced_figures")

ROWS = 40


def model(*layers, backend="cpu", dtype="float64", **options):
    return dl.Sequential(*layers, backend=backend, dtype=dtype, seed=3, **options)


def everything(backend="cpu"):
    """One of each kind of layer that keeps something from pass to pass, in float32."""
    return model(
        dl.Dense(6, 8),
        dl.BatchNorm(8),
        dl.ReLU(),
        dl.Dropout(0.3),
        dl.Residual(dl.Dense(8, 8), dl.Tanh(), dl.DropConnect(8, 4, 0.2)),
        dl.ActivityPenalty("L1(strength=0.1)"),
        dl.Heads(a=dl.Dense(4, 2), b=dl.Sequential(dl.Sigmoid(), dl.CenteredDense(4, 1))),
        backend=backend,
        dtype="float32",
        penalty=dl.L2(0.1),
    )


def everything_of(network):
    """All numbers that a pass could change: what is saved, gradients, costs."""
    gradients = (parameter.gradient for parameter in network.parameters())
    costs = (layer.cost for layer in network.walk() if layer.cost is not None)
    return [*network.snapshot().values(), *(network.backend.to_numpy(array) for array in (*gradients, *costs))]


@pytest.fixture
def batch(rng):
    return rng.normal(size=(ROWS, 6)), rng.integers(0, 3, ROWS)


# Every column by hand


@pytest.fixture
def by_hand(batch):
    """A sigmoid network of two layers with an L2 penalty, its inspection, and y and dL/dy of each layer by NumPy."""
    x, labels = batch
    network = model(dl.Dense(6, 5, init="normal(std=2.0)"), dl.Sigmoid(), dl.Dense(5, 3), penalty=dl.L2(0.1))
    first, _, last = network.layers
    z = x @ first.weight.value
    a = 1 / (1 + np.exp(-z))
    logits = a @ last.weight.value
    exp = np.exp(logits)
    probabilities = exp / exp.sum(axis=1, keepdims=True)
    dlogits = (probabilities - np.eye(3)[labels]) / ROWS
    da = dlogits @ last.weight.value.T
    dz = da * a * (1 - a)
    weights = {"0.Dense": (first.weight.value, x.T @ dz), "2.Dense": (last.weight.value, a.T @ dlogits)}
    loss = -np.mean(np.log(probabilities[np.arange(ROWS), labels]))
    return dl.inspect(network, x, labels), (z, a, logits), (dz, da, dlogits), weights, loss


def test_outputs(by_hand):
    inspection, outputs, _, _, loss = by_hand
    assert inspection["layer"] == ["0.Dense", "1.Sigmoid", "2.Dense"]
    for row, y in zip(inspection.rows, outputs, strict=True):
        assert row.mean == pytest.approx(y.mean(), rel=1e-12)
        assert row.std == pytest.approx(y.std(), rel=1e-12)
        assert row.second_moment == pytest.approx((y**2).mean(), rel=1e-12)
        per_unit = [np.mean((column - column.mean()) ** 2) for column in y.T]
        assert row.sample_variance == pytest.approx(sum(per_unit) / len(per_unit), rel=1e-12)
        assert row.sample_variance < 0.99 * row.std**2, "the means of the units differ, so this is another figure"
        assert row.not_finite == 0
    assert inspection.loss == pytest.approx(loss, rel=1e-12)


def test_gradients(by_hand):
    inspection, _, gradients, weights, _ = by_hand
    for row, dy in zip(inspection.rows, gradients, strict=True):
        assert row.gradient_norm == pytest.approx(np.sqrt((dy**2).sum()), rel=1e-10)
        assert row.gradient_second_moment == pytest.approx((dy**2).mean(), rel=1e-10)
        dense = row.layer in weights
        assert row.delta == (pytest.approx(np.linalg.norm(dy.sum(axis=0)), rel=1e-10) if dense else None)
        if dense:
            value, gradient = weights[row.layer]
            gradient = gradient + 0.1 * value  # the penalty is part of the cost
            assert row.weight_norm == pytest.approx(np.linalg.norm(value), rel=1e-12)
            assert row.weight_gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-10)
            assert row.weight_ratio == pytest.approx(np.linalg.norm(gradient) / np.linalg.norm(value), rel=1e-10)
        else:
            assert row.weight_norm is row.weight_gradient_norm is row.weight_ratio is None


def test_saturated_and_dead(by_hand):
    inspection, (_, a, _), _, _, _ = by_hand
    row = inspection.rows[1]
    share = np.mean(a * (1 - a) < 0.05 / 4)
    assert 0.1 < share < 0.9 and row.saturated == share
    assert row.dead == 0
    assert inspection.rows[0].saturated is inspection.rows[0].dead is None


def test_histograms_count_everything_between_the_smallest_and_the_largest(by_hand):
    inspection, outputs, gradients, _, _ = by_hand
    for row, y, dy in zip(inspection.rows, outputs, gradients, strict=True):
        for values, histogram in ((y, row.outputs), (dy, row.gradients)):
            assert histogram.counts.shape == (60,) and histogram.edges.shape == (61,)
            assert histogram.counts.sum() == values.size
            np.testing.assert_allclose(histogram.edges[[0, -1]], [values.min(), values.max()], rtol=1e-9)
            np.testing.assert_array_equal(histogram.counts, np.histogram(values, histogram.edges)[0])


def test_delta_is_the_gradient_of_the_bias(batch):
    x, labels = batch
    network = model(dl.Dense(6, 5), dl.Tanh(), dl.Dense(5, 3))
    loss = dl.SoftmaxCrossEntropy()
    loss.forward(network.forward(x, training=True), labels)
    network.backward(loss.backward())
    expected = [np.linalg.norm(network.layers[i].bias.gradient) for i in (0, 2)]
    delta = dl.inspect(network, x, labels)["delta"]
    np.testing.assert_allclose([delta[0], delta[2]], expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_front_of_a_batch_norm_delta_is_rounding_and_not_shown(dtype, rng):
    layers = [
        *(dl.Dense(6, 5), dl.BatchNorm(5), dl.Tanh(), dl.Dense(5, 4), dl.LeakyReLU(), dl.BatchNorm(4)),
        *(dl.Sequential(dl.Dense(4, 4)), dl.Sequential(dl.BatchNorm(4), dl.Tanh())),
        *(dl.Residual(dl.Dense(4, 4), dl.Tanh(), dl.Dense(4, 4)), dl.BatchNorm(4)),
        *(dl.Dense(4, 4), dl.Residual(dl.BatchNorm(4), dl.Tanh(), dl.Dense(4, 4)), dl.Dense(4, 3)),
    ]
    network = dl.Sequential(*layers, backend="cpu", seed=0, dtype=dtype)
    loss, (x, labels) = dl.SoftmaxCrossEntropy(), (rng.normal(size=(40, 6)), rng.integers(0, 3, 40))
    loss.forward(network.forward(x.astype(dtype), training=True), labels)
    network.backward(loss.backward())
    delta = dict(zip((found := dl.inspect(network, x, labels))["layer"], found["delta"], strict=True))
    for layer in network.walk():
        if isinstance(layer, dl.Dense):
            exact = np.linalg.norm(layer.bias.gradient.astype(float))
            if exact < 1e-3:
                assert delta[layer.name] is None
            else:
                assert delta[layer.name] == pytest.approx(exact, rel=1e-3)
    assert sum(isinstance(layer, dl.Dense) for layer in network.walk()) == 8
    assert sum(value is not None for value in delta.values()) == 5


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_early_layers_learn_slowly_as_nielsen_measured(depth):
    """Nielsen (2015), chapter 5: ‖δ‖ of 784-30-...-10 on 1000 digits, all sigmoids, bias ~ N(0, 1)."""
    published = {2: [0.07, 0.31], 3: [0.012, 0.060, 0.283], 4: [0.003, 0.017, 0.070, 0.285]}[depth]
    train, _ = dl.data.digits()
    probe = train.x[:1000], np.eye(10)[train.y[:1000]]
    sizes, found = [784, *depth * [30], 10], []
    for seed in range(20):
        layers = [dl.Dense(n_in, n_out, init="lecun_normal") for n_in, n_out in itertools.pairwise(sizes)]
        chain = [part for layer in layers for part in (layer, dl.Sigmoid())][:-1]
        network = dl.Sequential(*chain, backend="cpu", seed=seed)
        rng = np.random.default_rng(seed)
        for layer in layers:
            layer.bias.value[...] = rng.normal(size=layer.n_out)
        inspection = dl.inspect(network, *probe, loss=dl.BinaryCrossEntropy())
        # His loss is a sum over the ten outputs, ours a mean.
        found.append([10 * norm for norm in inspection["delta"] if norm is not None])
    # His is one network, and those of single seeds differ by a factor of two; what each layer loses differs less.
    speeds = np.array(found)[:, :depth]
    assert (np.abs(np.log(np.median(speeds, axis=0) / published)) < np.log(2)).all()
    factors = np.median(speeds[:, 1:] / speeds[:, :-1], axis=0)
    assert (factors > 3.5).all() and (factors < 6.5).all()


# Layers that are in trouble


def test_equal_units_and_dead_ends_of_constant_weights(batch):
    inspection = dl.inspect(model(dl.Dense(6, 5, init="zeros"), dl.ReLU(), dl.Dense(5, 3, init="zeros")), *batch)
    dense, relu, last = inspection.rows
    assert dense.std == dense.second_moment == dense.weight_norm == dense.gradient_norm == 0
    assert relu.dead == 1 and np.isnan(dense.weight_ratio)
    assert last.gradient_norm > 0 and last.weight_gradient_norm == 0
    assert inspection.loss == pytest.approx(np.log(3))


@pytest.mark.parametrize("activation", [dl.Sigmoid, dl.Tanh])
def test_large_weights_saturate(activation, batch):
    rows = dl.inspect(model(dl.Dense(6, 5, init="normal(std=1000.0)"), activation()), batch[0]).rows
    assert rows[1].saturated > 0.98
    rows = dl.inspect(model(dl.Dense(6, 5, init="normal(std=0.01)"), activation()), batch[0]).rows
    assert rows[1].saturated == rows[1].dead == 0


@pytest.mark.parametrize(("activation", "border"), [(dl.Sigmoid(), 4.357), (dl.Tanh(), 2.1783)])
def test_saturation_begins_where_the_slope_is_a_twentieth_of_its_largest(activation, border):
    x = np.array([[border - 0.001, -border + 0.001, border + 0.001, -border - 0.001, 0.0]])
    assert dl.inspect(model(activation), x).rows[0].saturated == 0.4


def test_the_share_that_is_saturated_is_that_of_all_elements(rng):
    """And no mean of the rounded shares of the units: 0.84 is not 0.8400000000000001."""
    for units in range(1, 20):
        x = rng.normal(size=(ROWS, units), scale=3.0)
        (row,) = dl.inspect(model(dl.Tanh()), x).rows
        assert row.saturated == np.mean(1 - np.tanh(x) ** 2 < 0.05), units


@pytest.mark.parametrize("layer", [dl.ReLU(), dl.LeakyReLU(), dl.ELU(), dl.SELU(), dl.GELU(), dl.SiLU(), dl.Softplus()])
def test_what_is_not_flat_at_both_ends_does_not_saturate(layer):
    row = dl.inspect(model(layer), np.array([[-1.0, 2.0]])).rows[0]
    assert row.saturated is None and row.dead == (0.5 if isinstance(layer, dl.ReLU) else 0)


def test_dead_units_are_counted(batch):
    network = model(dl.Dense(6, 8), dl.ReLU(), dl.Dense(8, 3))
    network.layers[0].bias.value[:3] = -1e3
    network.layers[0].bias.value[3] = 1e3
    row = dl.inspect(network, *batch).rows[1]
    assert row.dead == 3 / 8


def test_he_keeps_the_second_moment_and_not_the_sample_variance(rng):
    """Luther & Seung (2019): the samples become more and more alike."""
    layers = [part for _ in range(20) for part in (dl.Dense(256, 256, init="he_normal"), dl.ReLU())]
    rows = dl.inspect(model(*layers), rng.normal(size=(100, 256))).rows
    dense = [row for row in rows if "Dense" in row.layer]
    assert 0.4 < dense[-1].second_moment / dense[0].second_moment < 2.5
    assert dense[-1].sample_variance < 0.3 * dense[0].sample_variance


@pytest.mark.parametrize("any_dtype", ["float32", "float64"])
def test_what_is_not_finite_is_told_and_no_crash(any_dtype, batch, tmp_path):
    network = model(dl.Dense(6, 5), dl.ReLU(), dl.Dense(5, 3), dtype=any_dtype)
    network.layers[2].weight.value[0] = np.inf
    x, labels = batch
    inspection = dl.inspect(network, x.astype(any_dtype), labels)
    assert inspection["not_finite"][:2] == [0, 0] and inspection["not_finite"][2] > 0.2
    assert inspection.first_not_finite == "2.Dense"
    assert str(inspection).endswith("\nthe first layer whose output is not finite is 2.Dense")
    inspection.plot(tmp_path / "inspection.png")
    network.layers[0].weight.value[...] = np.nan
    inspection = dl.inspect(network, x.astype(any_dtype), labels)
    assert inspection["not_finite"] == [1, 1, 1] and inspection.rows[0].outputs.counts.sum() == 0
    inspection.plot(tmp_path / "inspection.png")


def test_huge_and_nearly_equal_numbers_have_histograms():
    for values in ([1e300, -1e300], [1e149, -1e149], [1.0, 1.0 + 2e-16], [5e-324, 0.0], [7.0, 7.0]):
        histogram = dl.inspect(model(dl.LeakyReLU(1.0)), np.array([values])).rows[0].outputs
        assert isinstance(histogram, Histogram) and histogram.counts.sum() == (0 if abs(values[0]) > 1e150 else 2)
        assert np.isfinite(histogram.edges).all() and (np.diff(histogram.edges) > 0).all()


# Layers inside layers, backends, and what stays


def test_layers_inside_layers_have_rows_of_their_own(rng):
    network, x = everything(), rng.normal(size=(ROWS, 6)).astype(np.float32)
    losses = {"a": dl.SoftmaxCrossEntropy(), "b": dl.MeanSquaredError()}
    labels = {"a": rng.integers(0, 2, ROWS), "b": rng.normal(size=(ROWS, 1))}
    inspection = dl.inspect(network, x, labels, loss=dl.MultiTask(network.layers[-1], **losses))
    assert inspection["layer"] == [
        "0.Dense", "1.BatchNorm", "2.ReLU", "3.Dropout", "4.Residual", "4.Residual.0.Dense", "4.Residual.1.Tanh",
        "4.Residual.2.DropConnect", "4.Residual.projection.Dense", "5.ActivityPenalty", "6.Heads", "6.Heads.a.Dense",
        "6.Heads.b.Sequential", "6.Heads.b.Sequential.0.Sigmoid", "6.Heads.b.Sequential.1.CenteredDense",
    ]  # fmt: skip
    rows = dict(zip(inspection["layer"], inspection.rows, strict=True))
    network.forward(x, training=True)  # the same pass
    y, block = network.outputs[4], network.layers[4]
    assert rows["4.Residual"].std == pytest.approx(y.std(), rel=1e-5)
    assert rows["4.Residual.2.DropConnect"].std == pytest.approx(block.outputs[2].std(), rel=1e-5)
    assert rows["4.Residual"].gradient_norm == rows["4.Residual.2.DropConnect"].gradient_norm
    assert rows["4.Residual"].weight_norm is None and rows["6.Heads.b.Sequential.1.CenteredDense"].weight_norm > 0
    assert all(row.gradient_norm > 0 for row in inspection.rows)


def test_the_model_is_as_it_was(any_backend, rng):
    network, x = everything(any_backend.name), rng.normal(size=(8, 6)).astype(np.float32)
    y = network.forward(x, training=True)
    network.backward(np.ones_like(any_backend.to_numpy(y)))
    before = everything_of(network)
    labels = {"a": rng.integers(0, 2, 8), "b": rng.normal(size=(8, 1))}
    losses = {"a": dl.SoftmaxCrossEntropy(), "b": dl.MeanSquaredError()}
    loss = dl.MultiTask(network.layers[-1], **losses)
    inspection = dl.inspect(network, x, labels, loss=loss)
    assert all(np.array_equal(a, b) for a, b in zip(before, everything_of(network), strict=True))
    assert not any({"forward", "backward", "backward_parameters"} & vars(layer).keys() for layer in network.walk())
    with pytest.raises(RuntimeError, match="needs a forward pass"):
        _ = losses["a"].value  # a loss of our own was used
    assert str(dl.inspect(network, x, labels, loss=loss)) == str(inspection), "the same drawings of dropout again"


def test_an_error_in_a_pass_leaves_no_traces(batch):
    network = model(dl.Dense(6, 5), dl.BatchNorm(5))
    with pytest.raises(ValueError, match="a training batch of 1 row"):
        dl.inspect(network, batch[0][:1])
    assert not any("forward" in vars(layer) for layer in network.walk())


def test_the_backends_agree(any_backend, rng):
    x, labels = rng.normal(size=(8, 6)), rng.integers(0, 3, 8)
    tables = []
    for backend in ("cpu", any_backend.name):
        network = model(dl.Dense(6, 5), dl.Tanh(), dl.BatchNorm(5), dl.Dropout(0.5), dl.Dense(5, 3), backend=backend)
        tables.append(dl.inspect(network, x, labels))
    for column in COLUMNS:
        if column == "active":
            np.testing.assert_array_equal(tables[1][column][1], tables[0][column][1])
        elif column not in ("layer", "outputs", "gradients"):
            ours, theirs = (np.array(table[column], float) for table in tables)
            np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-12, err_msg=column)


def test_active_is_the_share_of_the_rows_in_which_a_unit_lets_a_gradient_through(rng):
    x = rng.normal(size=(50, 4)) * [1.0, 5.0, 0.1, 1.0] + [0.0, 0.0, 0.0, -100.0]
    relu, tanh, softplus = (dl.inspect(model(kind(), dl.Dense(4, 2)), x)["active"][0] for kind in KINDS)
    np.testing.assert_allclose(relu, (x > 0).mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(tanh, (1 - np.tanh(x) ** 2 >= 0.05).mean(axis=0), atol=1e-15)
    assert relu[3] == tanh[3] == 0 and 0.2 < tanh[1] < 0.9 and tanh[2] == 1
    np.testing.assert_array_equal(softplus, 1)  # its slope is small at -100, and not 0


KINDS = dl.ReLU, dl.Tanh, dl.Softplus


def test_without_labels_there_are_no_figures_about_gradients(batch):
    inspection = dl.inspect(model(dl.Dense(6, 5), dl.Tanh(), dl.Dense(5, 3)), batch[0])
    assert inspection.loss is None
    for column in ("gradient_norm", "gradient_second_moment", "gradients", "delta", "weight_ratio"):
        assert set(inspection[column]) == {None}
    assert inspection["weight_norm"][0] > 0
    heading = str(inspection).splitlines()[0]
    assert heading.split("  ")[0] == "layer" and "sample var" in heading and "dL/dy" not in heading


def test_the_table_has_a_line_for_each_layer(by_hand):
    inspection = by_hand[0]
    lines = str(inspection).splitlines()
    assert lines[0].split() == [
        "layer", "mean", "std", "E[y²]", "sample", "var", "saturated", "dead", "‖dL/dy‖", "E[(dL/dy)²]", "‖δ‖",
        "‖dW‖/‖W‖",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:4]] == inspection["layer"]
    assert f"{inspection.rows[1].saturated:.1%}" in lines[2] and f"{inspection.rows[1].std:.3g}" in lines[2]
    assert lines[4:] == [f"loss {inspection.loss:.4f}"]


def test_a_column_that_is_not_there(by_hand):
    with pytest.raises(KeyError, match="column got 'size'; expected one of 'layer', 'mean'"):
        by_hand[0]["size"]


@pytest.mark.parametrize(("depth", "labels"), [(1, True), (1, False), (20, True)])
def test_the_figure(labels, depth, batch, tmp_path):
    x, y = batch
    layers = [part for i in range(depth) for part in (dl.Dense(6 if i == 0 else 5, 5), dl.Tanh())]
    dl.inspect(model(*layers), x, y if labels else None).plot(tmp_path / "inspection.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "inspection.png").shape
    assert width == (1620 if labels else 810) and 600 < height < 3000


def test_importing_minidl_does_not_import_matplotlib():
    program = "import sys, minidl; print('matplotlib' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert result.stdout.strip() == "False"


X = np.ones((2, 4))
NETWORK = dl.Sequential(dl.Dense(4, 3))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((dl.Dense(4, 3), X), {}, TypeError, r"^model got Dense\(4, 3\); expected a minidl.Sequential$"),
        ((NETWORK, X[:, :3]), {}, ValueError, "^x got 3 features; .* expects 4$"),
        ((NETWORK, X * np.nan), {}, ValueError, "^x got nan at row 0, column 0"),
        ((NETWORK, X, [0, 3]), {}, ValueError, "^labels got 3 at index 1; expected labels from 0 to 2$"),
        ((NETWORK, X, [0]), {}, ValueError, r"^labels got shape \(1,\); expected \(2,\)"),
        ((NETWORK, X, [0, 1]), {"loss": "mse"}, TypeError, "^loss got 'mse'; expected a minidl.Loss or None$"),
        ((NETWORK, X), {"loss": dl.MeanSquaredError()}, ValueError, "^loss got .* and labels None; expected labels"),
    ],
    ids=range(7),
)
def test_bad_arguments_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        dl.inspect(*arguments, **options)
