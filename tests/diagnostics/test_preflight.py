"""preflight: each planted fault is found by its check, sound data and networks pass, and the model stays as it was."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

import minidl as dl
from minidl.diagnostics import data_figures
from minidl.diagnostics.preflight import CHECKS

pytestmark = pytest.mark.usefixtures("unspaced_figures")


def network(*layers, **options):
    layers = layers or (dl.Dense(2, 32), dl.ReLU(), dl.Dense(32, 2))
    return dl.Sequential(*layers, **{"backend": "cpu", "seed": 0, **options})


@pytest.fixture
def train():
    return dl.data.spiral(400, seed=0)


@pytest.fixture
def validation():
    return dl.data.spiral(200, seed=1)


def found(result, name):
    return result[name].verdict, result[name].found


def with_targets(x, y):
    return dl.data.Dataset(x, y)


# Green


def test_the_digits_and_a_sensible_network_pass():
    train, test = dl.data.digits()
    model = network(
        dl.Dense(784, 256, bias=False), dl.BatchNorm(256), dl.ReLU(), dl.Dropout(0.5), dl.Dense(256, 10)
    )  # fmt: skip
    result = dl.preflight(model, train, test)
    assert [check.name for check in result.checks] == list(CHECKS)
    assert {check.name: check.verdict for check in result.checks} == dict.fromkeys(CHECKS, "ok"), str(result)
    assert result.ok and not any(check.advice for check in result.checks)


@pytest.mark.parametrize("toy", [dl.data.gaussians, dl.data.circles, dl.data.xor, dl.data.spiral])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_toy_problems_pass(toy, seed):
    result = dl.preflight(network(seed=seed), toy(seed=seed), toy(seed=seed + 1))
    assert {check.verdict for check in result.checks} == {"ok"}, str(result)


def test_regression_passes_what_there_is_to_ask(rng):
    x = rng.normal(size=(200, 5))
    model = network(dl.Dense(5, 32), dl.Tanh(), dl.Dense(32, 2))
    result = dl.preflight(model, with_targets(x, x[:, :2] ** 2), loss=dl.MeanSquaredError())
    verdicts = {check.name: check.verdict for check in result.checks}
    skipped = ("labels", "labels fit inputs", "leakage", "first loss")
    assert verdicts == {name: "skipped" if name in skipped else "ok" for name in CHECKS}
    assert result.ok


def test_several_heads(rng):
    x = rng.normal(size=(100, 5))
    model = network(dl.Dense(5, 32), dl.ReLU(), dl.Heads(a=dl.Dense(32, 3), b=dl.Dense(32, 1)))
    data = with_targets(x, {"a": rng.integers(0, 3, 100), "b": x[:, :1]})
    loss = dl.MultiTask(model.layers[-1], a=dl.SoftmaxCrossEntropy(), b=dl.MeanSquaredError())
    result = dl.preflight(model, data, data[:0:-1], loss=loss)
    assert result["leakage"].verdict == "failed" and result["20 samples"].verdict == "ok", str(result)


def test_one_output_tells_two_classes_apart(train):
    model = network(dl.Dense(2, 32), dl.ReLU(), dl.Dense(32, 1))
    result = dl.preflight(model, train, loss=dl.BinaryCrossEntropy())
    assert {check.verdict for check in result.checks} == {"ok", "skipped"} and result["leakage"].verdict == "skipped"
    assert "0.6931 is that of a network that knows nothing" in result["first loss"].found


def test_one_output_and_one_class(train):
    result = dl.preflight(network(dl.Dense(2, 1)), with_targets(train.x, train.y * 0), loss=dl.BinaryCrossEntropy())
    assert found(result, "labels") == ("failed", "all labels are 0")


# Each fault by its check


def test_labels_that_do_not_fit_the_outputs(train, validation):
    result = dl.preflight(network(), with_targets(train.x, train.y + 1), validation)
    assert found(result, "labels") == (
        "failed",
        f"train.y got 2 at index {np.argmax(train.y)}; expected labels from 0 to 1",
    )
    assert result["first loss"].verdict == result["20 samples"].verdict == "skipped"
    assert not result.ok
    result = dl.preflight(network(), train, with_targets(validation.x, validation.y + 1))
    assert result["labels"].verdict == "failed" and "validation.y got 2" in result["labels"].found


def test_classes_that_are_missing(train):
    model = network(dl.Dense(2, 32), dl.ReLU(), dl.Dense(32, 5))
    assert found(dl.preflight(model, train), "labels") == ("warning", "no sample has the label 2, 3, 4")
    model = network(dl.Dense(2, 32), dl.ReLU(), dl.Dense(32, 3))
    from_1 = with_targets(train.x, train.y + 1)
    assert found(dl.preflight(model, from_1), "labels") == ("warning", "no sample has the label 0")


def test_a_single_class(train):
    result = dl.preflight(network(), with_targets(train.x, np.ones(400, int)))
    assert found(result, "labels") == ("failed", "all labels are 1")
    assert result["labels fit inputs"].verdict == "skipped"


@pytest.mark.parametrize(("rare", "verdict"), [(36, "warning"), (37, "ok")])
def test_classes_of_unequal_size(rare, verdict, rng):
    data = with_targets(rng.normal(size=(400, 2)), (np.arange(400) < rare).astype(int))
    check = dl.preflight(network(), data)["labels"]
    assert check.verdict == verdict and check.found == f"2 classes with {rare} to {400 - rare} samples"
    assert (f"to say 0 always is right for {1 - rare / 400:.0%}" in check.advice) == (verdict == "warning")


def test_shuffled_labels(rng):
    train, _ = dl.data.digits()
    model = network(dl.Dense(784, 10))
    check = dl.preflight(model, with_targets(train.x, rng.permutation(train.y)))["labels fit inputs"]
    assert check.verdict == "warning" and check.found.endswith("by chance it would in 10%")
    assert "shuffled apart" in check.advice


def test_the_nearest_neighbour_is_the_nearest_other_row(rng):
    """Pairs of points far from all others, with the same label in three pairs of four; classes of one size."""
    x = np.repeat(rng.normal(size=(100, 3)), 2, axis=0) + 1e-3 * rng.normal(size=(200, 3))
    y = np.concatenate([np.repeat(np.arange(75) % 2, 2), np.tile([0, 1], 25)])
    check = dl.preflight(network(dl.Dense(3, 2)), with_targets(x, y))["labels fit inputs"]
    assert (check.verdict, check.found) == (
        "ok",
        "the nearest neighbour has the same label in 75%, by chance it would in 50%",
    )


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        (lambda x: x, "ok", ""),
        (lambda x: 255 * x, "warning", "x / 255 for pixels"),
        (lambda x: 1e-3 * x, "warning", "bring the inputs to about 1"),
        (lambda x: x + 5, "warning", "subtract the mean"),
        (lambda x: x - 5, "warning", "subtract the mean"),
        (lambda x: x * np.float32([1, 20, 0.1]), "ok", ""),
        (lambda x: x * np.float32([0.01, 8, 0.01]), "warning", "one feature drowns the others"),
        (lambda x: x * 0 + 1, "failed", "all rows are the same"),
    ],
    ids=range(8),
)
def test_the_scale_of_the_inputs(change, verdict, words, rng):
    x = change(rng.normal(size=(400, 3)).astype(np.float32))
    check = dl.preflight(network(dl.Dense(3, 2)), with_targets(x, rng.integers(0, 2, 400)))["scale of inputs"]
    assert check.verdict == verdict and words in check.advice, str(check)
    if verdict != "failed":
        assert check.found.startswith(f"mean {x.mean(dtype=float):.3g}, std {x.std(dtype=float):.3g}")


def test_constant_features_are_counted(train):
    x = np.column_stack([train.x, np.ones((400, 3), np.float32)])
    check = dl.preflight(network(dl.Dense(5, 2)), with_targets(x, train.y))["scale of inputs"]
    assert check.verdict == "ok" and check.found.endswith("; 3 of 5 features are constant")


def test_equal_rows_with_other_targets(train):
    copies = dl.data.concatenate(train, train[:30])
    check = dl.preflight(network(), copies)["conflicts"]
    assert (check.verdict, check.found) == ("ok", "30 of 430 rows are copies, none with another target")
    y = copies.y.copy()
    y[400:410] = 1 - y[400:410]
    check = dl.preflight(network(), with_targets(copies.x, y))["conflicts"]
    assert (check.verdict, check.found) == ("warning", "20 of 430 rows equal another one that has another target")


def test_equal_rows_of_which_each_has_the_label_of_another_task(rng):
    model = dl.Sequential(dl.Dense(2, 4), dl.Heads(a=dl.Dense(4, 2), b=dl.Dense(4, 2)), backend="cpu")
    loss = dl.MultiTask(model.layers[-1], a=dl.SoftmaxCrossEntropy(), b=dl.SoftmaxCrossEntropy())
    x = np.repeat(rng.normal(size=(20, 2)), 2, axis=0)
    y = {"a": np.tile([1, -1], 20), "b": np.tile([-1, 0], 20)}
    check = dl.preflight(model, dl.data.Dataset(x, y), loss=loss)["conflicts"]
    assert (check.verdict, check.found) == ("ok", "20 of 40 rows are copies, none with another target")
    y["a"][1] = 0
    check = dl.preflight(model, dl.data.Dataset(x, y), loss=loss)["conflicts"]
    assert (check.verdict, check.found) == ("warning", "2 of 40 rows equal another one that has another target")


def test_zeros_of_either_sign_are_equal(train):
    x = train.x.copy()
    x[0], x[1] = (0.0, 0.5), (-0.0, 0.5)
    check = dl.preflight(network(), with_targets(x, np.arange(400) % 2))["conflicts"]
    assert check.found.startswith("2 of 400 rows equal another")


def test_validation_rows_among_the_training_rows(train, validation):
    leaking = dl.data.concatenate(validation, train[100:103])
    result = dl.preflight(network(), train, leaking)
    assert found(result, "leakage") == ("failed", "3 of 203 validation rows are in the training data")
    assert not result.ok


@pytest.mark.parametrize(("std", "verdict"), [(0.01, "ok"), (1.0, "warning"), (5.0, "failed")])
def test_a_last_layer_of_the_wrong_scale(std, verdict):
    train, _ = dl.data.digits()
    model = network(dl.Dense(784, 64), dl.ReLU(), dl.Dense(64, 10, init=f"normal(std={std})"))
    check = dl.preflight(model, train)["first loss"]
    assert check.verdict == verdict, str(check)
    assert check.found.endswith(", and 2.303 is that of a network that knows nothing")
    assert bool(check.advice) == (verdict != "ok")


class Normalized(dl.Layer):
    """A softmax of one's own, under another name than Softmax."""

    def forward(self, x, training=False):
        return dl.softmax(self.begin_forward(x, training))

    def backward(self, dy):
        return dy


def test_probabilities_where_the_loss_takes_logits(train, rng):
    network = dl.Sequential(dl.Dense(2, 3), dl.Sigmoid(), seed=0)
    result = dl.preflight(network, train[:200])
    assert result["outputs"].verdict == "failed" and "leave that out" in result["outputs"].found
    assert result["20 samples"].verdict == "skipped" and not result.ok
    result = dl.preflight(dl.Sequential(dl.Dense(2, 3), Normalized(), seed=0), train[:200])
    assert result["outputs"].verdict == "failed" and "each row sums to 1" in result["outputs"].found
    assert result["outputs"].advice == "the loss computes the softmax itself: leave yours out"
    network = dl.Sequential(dl.Dense(2, 3), dl.Sigmoid(), seed=0)
    targets = dl.data.Dataset(train.x[:200], dl.data.one_hot(train.y[:200], 3))
    assert dl.preflight(network, targets, loss=dl.MeanSquaredError())["outputs"].verdict == "ok"


def test_a_network_that_was_trained_before(train):
    model = network(dl.Dense(2, 64), dl.ReLU(), dl.Dense(64, 64), dl.ReLU(), dl.Dense(64, 2))
    dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(0.01), epochs=30, progress=False)
    check = dl.preflight(model, train)["first loss"]
    assert check.verdict == "warning" and "was it trained before" in check.advice


def test_weights_that_are_not_finite(train):
    model = network()
    model.layers[0].weight.value[0] = np.inf
    result = dl.preflight(model, train)
    assert found(result, "first loss") == ("failed", "nan")
    assert result["regularization"].verdict == result["20 samples"].verdict == "failed"


def test_zero_weights_neither_regularize_nor_learn(train):
    model = network(dl.Dense(2, 32, init="zeros"), dl.ReLU(), dl.Dense(32, 2, init="zeros"))
    result = dl.preflight(model, train)
    assert result["first loss"].verdict == "ok"
    assert found(result, "regularization") == ("failed", "L2(strength=0.01) adds 0 to the loss")
    assert result["20 samples"].verdict == "failed"
    assert "% on 20 samples after 400 steps of Adam(0.001)" in result["20 samples"].found


def test_what_the_penalty_adds(train):
    model = network(dl.Dense(2, 32), dl.ReLU(), dl.Dense(32, 2))
    squares = sum(float((parameter.value.astype(float) ** 2).sum()) for parameter in model.parameters())
    assert found(dl.preflight(model, train), "regularization") == (
        "ok", f"L2(strength=0.01) adds {0.005 * squares:.4g} to the loss",
    )  # fmt: skip
    own = dl.preflight(network(penalty=dl.L2(0.02)), train)
    assert found(own, "regularization") == ("ok", f"the model's own penalty adds {0.01 * squares:.4g} to the loss")


def test_a_model_without_weights(train):
    result = dl.preflight(network(dl.Tanh()), train)
    assert result["regularization"].verdict == result["20 samples"].verdict == "skipped"


def test_twenty_samples_and_not_more_are_learned(train):
    """Labels at random: 20 can be learned by heart, 400 in the plane could not."""
    data = with_targets(train.x, np.random.default_rng(0).integers(0, 2, 400))
    model = network(dl.Dense(2, 64), dl.ReLU(), dl.Dense(64, 64), dl.ReLU(), dl.Dense(64, 2))
    assert dl.preflight(model, data)["20 samples"].found.startswith("20 learned by heart in")
    assert dl.preflight(model, data[:7])["20 samples"].found.startswith("7 learned by heart in")
    too_small = network(dl.Dense(2, 2))
    assert dl.preflight(too_small, data)["20 samples"].verdict == "failed"


# The model stays, the report, the figure


def test_the_model_is_as_it_was(any_backend, train, validation):
    layers = dl.Dense(2, 8), dl.BatchNorm(8), dl.ReLU(), dl.Dropout(0.5), dl.Residual(dl.Dense(8, 8)), dl.Dense(8, 2)
    model, loss = network(*layers, backend=any_backend.name), dl.SoftmaxCrossEntropy()
    before = {name: array.copy() for name, array in model.snapshot().items()}
    dl.preflight(model, train, validation, loss=loss)
    for name, array in model.snapshot().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    with pytest.raises(RuntimeError, match="needs a forward pass"):
        _ = loss.value


def test_it_says_the_same_again(train, validation):
    assert str(dl.preflight(network(), train, validation)) == str(dl.preflight(network(), train, validation))


def test_the_report_has_a_line_for_each_check_and_one_for_each_advice(train):
    result = dl.preflight(network(), with_targets(255 * train.x, train.y))
    lines = str(result).splitlines()
    assert lines[0] == "ok       labels: 2 classes with 200 to 200 samples"
    at = next(i for i, line in enumerate(lines) if line.startswith("warning  scale of inputs: mean"))
    assert lines[at + 1].startswith("         → bring the inputs to about 1")
    assert len(lines) == len(CHECKS) + sum(bool(check.advice) for check in result.checks)


@pytest.mark.parametrize(
    ("features", "targets", "rows"),
    [
        (2, "labels", 100), (2, "floats", 3), (7, "labels", 3), (7, "heads", 100), (25, "labels", 3),
        (25, "labels", 100), (75, "floats", 3), (4, "labels", 100),
    ],
)  # fmt: skip
def test_the_figure(features, targets, rows, rng, tmp_path):
    x = rng.normal(size=(rows, features))
    y = {
        "labels": rng.permutation(np.arange(rows) % 15),
        "floats": rng.normal(size=(rows, 15)),
        "heads": {"a": rng.integers(0, 15, rows), "b": rng.normal(size=(rows, 1))},
    }[targets]
    model = network(dl.Dense(features, 15))
    loss = dl.SoftmaxCrossEntropy() if targets == "labels" else dl.MeanSquaredError()
    dl.preflight(model, with_targets(x, y), loss=loss).plot(tmp_path / "preflight.png")
    assert matplotlib.image.imread(tmp_path / "preflight.png").shape[:2] == (750, 1650)


def test_colour_pictures_have_their_channels_at_the_right_pixels(rng):
    """A row of x is red, then green, then blue, each from left to right and from the top down."""
    x = rng.uniform(size=(2, 3 * 5 * 5))
    panels = Figure().subplots(1, 2)
    data_figures._draw_images(panels, with_targets(x, [3, 8]), (3, 5, 5))
    for row, axes in zip(x, panels, strict=True):
        (image,) = axes.images
        shown = np.asarray(image.get_array())
        scaled = (row - row.min()) / np.ptp(row)
        for channel, i, j in np.ndindex(3, 5, 5):
            assert shown[i, j, channel] == pytest.approx(scaled[channel * 25 + i * 5 + j])
        assert image.origin == "upper"
    assert [axes.get_title() for axes in panels] == ["3", "8"]


def test_grey_pictures_and_rows_show_the_first_sample_at_the_top(rng):
    x = rng.normal(size=(3, 25))
    panels = Figure().subplots(1, 3)
    data_figures._draw_images(panels, with_targets(x, [0, 1, 2]), (5, 5))
    for row, axes in zip(x, panels, strict=True):
        np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), row.reshape(5, 5))
    axes = Figure().subplots()
    data_figures._draw_rows(axes, with_targets(x, [2, 0, 1]))
    (mesh,) = axes.collections
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(3, 25), x)
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "0", "1"]
    np.testing.assert_array_equal(axes.get_yticks(), [0.5, 1.5, 2.5])


SMALL = dl.data.spiral(10)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((dl.Dense(2, 2), SMALL), {}, TypeError, r"^model got Dense\(2, 2\); expected a minidl Sequential$"),
        ((network(), SMALL.x), {}, TypeError, "^train got an array .*; expected a minidl Dataset$"),
        ((network(), SMALL, SMALL.x), {}, TypeError, "^validation got an array .*; expected a minidl Dataset or None$"),
        ((network(), SMALL), {"loss": "mse"}, TypeError, "^loss got 'mse'; expected a minidl.Loss or None$"),
        ((network(dl.Dense(3, 2)), SMALL), {}, ValueError, "^train.x got 2 features; the model expects 3$"),
        (
            (network(), SMALL, with_targets(np.ones((2, 3)), [0, 1])),
            {},
            ValueError,
            "^validation.x got 3 features; the",
        ),
    ],
    ids=range(6),
)
def test_bad_arguments_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        dl.preflight(*arguments, **options)


def test_a_check_that_is_not_there(train):
    with pytest.raises(ValueError, match="^name got 'leak'; expected one of .*; did you mean 'leakage'"):
        dl.preflight(network(), train)["leak"]
