"""The tutorial on activations: slopes, saturation, and the zig-zag."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


def test_figures_are_written(figures):
    assert figures == ["depth", "slopes", "zigzag"]


def test_every_activation_is_shown_with_its_slope(names):
    z, values, slopes = names["z"], names["values"], names["slopes"]
    assert set(values) == set(slopes) == set(dl.ACTIVATION_LAYERS)
    for name in values:
        differences = np.gradient(values[name], z)
        smooth = np.abs(z) > 0.05  # away from the kinks
        np.testing.assert_allclose(slopes[name][smooth][1:-1], differences[smooth][1:-1], atol=1e-3, err_msg=name)


def test_the_slope_of_the_sigmoid_is_at_most_a_quarter(names):
    assert names["slopes"]["Sigmoid"].max() == names["slopes"]["Sigmoid"][500] == 0.25
    assert names["z"][500] == 0


def test_saturation_and_centring(names):
    slope, mean = names["slope_at_5"], names["mean_output"]
    assert slope["Sigmoid"] < 0.01 and slope["Tanh"] < 0.001 and slope["ReLU"] == 1
    assert mean["Sigmoid"] == pytest.approx(0.5, abs=1e-6) and mean["Tanh"] == pytest.approx(0, abs=1e-12)
    assert mean["ReLU"] == pytest.approx(1 / np.sqrt(2 * np.pi), abs=1e-3)


def test_four_sigmoid_layers_leave_less_than_one_in_256(names):
    left = names["left"]
    assert (np.array(left["Sigmoid"]) <= 0.25 ** names["depths"]).all()
    assert left["Sigmoid"][3] > 4.0**-4 / 2
    assert left["ReLU"][3] == pytest.approx(0.25, abs=0.05)  # half of the units in each layer: (1/√2)⁴
    assert left["Tanh"][3] > 10 * left["Sigmoid"][3]


def test_the_gradient_of_the_first_bias_is_a_product_of_weights_and_slopes():
    model = dl.Sequential(
        *(part for _ in range(4) for part in (dl.Dense(1, 1, init="normal(std=2.0)"), dl.Sigmoid())),
        backend="cpu", seed=0, dtype="float64",
    )  # fmt: skip
    outputs = model.forward(np.array([[0.7]]), training=True)
    model.backward(np.ones_like(outputs))
    weights = [layer.weight.value.item() for layer in model.layers[::2]]
    slopes = [h.item() * (1 - h.item()) for h in model.outputs[1::2]]
    product = np.prod(slopes) * np.prod(weights[1:])
    assert model.layers[0].bias.gradient.item() == pytest.approx(product, rel=1e-12) and product != 0


def test_all_positive_inputs_make_a_detour(names):
    assert names["one_sign"]["inputs from 0 to 1"] == 1
    assert names["one_sign"]["centred inputs"] == pytest.approx(0.5, abs=0.15)
    assert names["detour"]["inputs from 0 to 1"] > 1.7 * names["detour"]["centred inputs"]
    for name, detours in names["detours"].items():
        assert len(detours) == 5
        if name != "inputs from 0 to 1":
            assert max(detours) < min(names["detours"]["inputs from 0 to 1"]) - 0.4, name
    for path in names["paths"].values():
        assert np.linalg.norm(path[-1] - names["goal"]) < 0.1


def test_a_batch_mixes_the_signs(names):
    assert names["one_sign"]["0 to 1, batches"] < 0.3
    assert names["detour"]["0 to 1, batches"] < 1.4


def test_centring_without_making_inputs_smaller_helps_nearly_as_much(names):
    detour = names["detour"]
    assert detour["centred inputs"] < detour["centred, same size"] < 0.7 * detour["inputs from 0 to 1"]


def test_claims_stand_beside_the_lecture(names):
    for row, figure, lecture, ours in names["claims"]:
        assert np.isfinite(ours), (row, figure)
        if lecture is not None and "at most" not in figure:
            assert ours == pytest.approx(lecture, abs=1e-9), (row, figure)
