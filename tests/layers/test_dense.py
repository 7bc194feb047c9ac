"""The fully connected layer: y = x W + b."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minidl as dl
from minidl.utils.random_streams import RandomStreams


def test_forward_and_backward_are_the_three_products_and_a_sum(any_backend, rng):
    layer = dl.Dense(5, 3).build(any_backend.name, 0, "float64")
    get = any_backend.to_numpy
    any_backend.copy_into(layer.bias.value, rng.normal(size=3))
    x, dy = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))
    weight, bias = get(layer.weight.value), get(layer.bias.value)

    np.testing.assert_allclose(get(layer.forward(x, training=True)), x @ weight + bias, atol=1e-13)
    np.testing.assert_allclose(get(layer.backward(dy)), dy @ weight.T, atol=1e-13)
    np.testing.assert_allclose(get(layer.weight.gradient), x.T @ dy, atol=1e-13)
    np.testing.assert_allclose(get(layer.bias.gradient), dy.sum(axis=0), atol=1e-13)


def test_inference_and_training_give_the_same_output(rng):
    layer = dl.Dense(5, 3).build("cpu")
    x = rng.normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_array_equal(layer.forward(x).copy(), layer.forward(x, training=True))


def test_a_row_does_not_depend_on_its_batch(rng):
    layer = dl.Dense(40, 30).build("cpu", 0, "float64")
    x = rng.normal(size=(3000, 40))
    whole = layer.forward(x).copy()
    np.testing.assert_allclose(layer.forward(x[1234:1241]), whole[1234:1241], atol=1e-13)


def test_without_bias_there_is_only_the_weight(rng):
    layer = dl.Dense(5, 3, bias=False).build("cpu", 0, "float64")
    x = rng.normal(size=(7, 5))
    np.testing.assert_allclose(layer.forward(x), x @ layer.weight.value, atol=1e-13)
    assert [p.name for p in layer.parameters()] == ["weight"]
    assert layer.bias is None


def test_the_weight_comes_before_the_bias_and_only_the_weight_decays():
    layer = dl.Dense(5, 3).build("cpu")
    assert [(p.name, p.shape, p.decays) for p in layer.parameters()] == [
        ("weight", (5, 3), True),
        ("bias", (3,), False),
    ]


@pytest.mark.parametrize("init", ["glorot_uniform", "he_normal", "he_normal(slope=0.1)", dl.initializers.lecun_normal])
def test_the_weight_starts_as_the_initializer_draws_it_and_the_bias_at_zero(init):
    layer = dl.Dense(50, 30, init=init).build("cpu", seed=3, dtype="float64")
    drawn = dl.initializers.get(init)(RandomStreams(3).generator(".weight"), 50, 30)
    np.testing.assert_array_equal(layer.weight.value, drawn)
    np.testing.assert_array_equal(layer.bias.value, np.zeros(30))


def test_both_precisions_start_at_the_same_weights():
    single, double = (dl.Dense(50, 30).build("cpu", 0, dtype) for dtype in ("float32", "float64"))
    np.testing.assert_array_equal(single.weight.value, double.weight.value.astype(np.float32))


def test_two_layers_of_a_model_never_share_weights():
    first, second = dl.Dense(20, 20), dl.Dense(20, 20)
    inner_first, inner_second = dl.Dense(20, 20), dl.Dense(20, 20)
    dl.Sequential(first, second, dl.Sequential(inner_first, inner_second), backend="cpu", seed=0)
    weights = [layer.weight.value for layer in (first, second, inner_first, inner_second)]
    for i in range(4):
        for j in range(i):
            correlation = np.corrcoef(weights[i].ravel(), weights[j].ravel())[0, 1]
            assert abs(correlation) < 0.3, "400 independent pairs correlate less than 6 standard deviations"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3), ValueError, "^n_in got 0; expected an integer of at least 1"),
        ((3, -1), ValueError, "^n_out got -1; expected an integer of at least 1"),
        ((3.0, 3), TypeError, "^n_in got 3.0; expected an integer"),
        ((3, True), TypeError, "^n_out got True; expected an integer"),
        ((3, 3, "he_norml"), ValueError, "^init got 'he_norml'; expected .*; did you mean 'he_normal'"),
        ((3, 3, "he_normal(slop=1)"), TypeError, "unknown parameter 'slop'; expected slope"),
        ((3, 3, None), TypeError, "^init got None; expected a name or an initializer"),
        ((3, 3, "zeros", 1), TypeError, "^bias got 1; expected True or False"),
    ],
)
def test_bad_arguments_are_refused_at_construction(arguments, error, message):
    with pytest.raises(error, match=message):
        dl.Dense(*arguments).build("cpu")


@pytest.mark.parametrize("init", ["normal(std=1e-50)", "uniform(limit=1e-50)", "constant(value=-1e-50)"])
@pytest.mark.parametrize("kind", [dl.Dense, dl.CenteredDense, lambda *a, **k: dl.NoisyDense(*a, 0.1, **k)])
def test_weights_that_the_dtype_makes_0_are_refused(kind, init):
    message = rf"^init {re.escape(init)} got numbers of at most \S+, which are all 0 in float32; expected larger"
    with pytest.raises(ValueError, match=message):
        dl.Sequential(kind(3, 2, init=init), backend="cpu")
    dl.Sequential(kind(3, 2, init=init), backend="cpu", dtype="float64")
    dl.Sequential(dl.Dense(3, 2, init="normal(std=0.0)"), backend="cpu")


def test_an_initializer_of_ones_own_is_entered_in_the_table_first(monkeypatch):
    monkeypatch.setattr(dl.initializers.table, "INITIALIZERS", dict(dl.initializers.INITIALIZERS))

    def ones(rng, fan_in, fan_out, value=1.0):
        return np.full((fan_in, fan_out), value)

    with pytest.raises(ValueError, match=r"^init got ones, which is not in the table; enter it with @minidl"):
        dl.Dense(3, 2, init=dl.initializers.Initializer(ones))
    entered = dl.initializers.initializer(ones)
    layer = dl.Dense(3, 2, init=entered(value=2.0)).build("cpu")
    np.testing.assert_array_equal(layer.weight.value, np.full((3, 2), 2.0))
    assert repr(layer) == "Dense(3, 2, init='ones(value=2.0)')"


def test_a_subclass_may_replace_the_gradients_alone(rng):
    """`backward` makes its gradients by `backward_parameters`, so that overriding one counts in both."""

    class Doubled(dl.Dense):
        def backward_parameters(self, dy):
            super().backward_parameters(dy)
            self.weight.gradient[...] *= 2

    x, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    for kind, factor in ((dl.Dense, 1), (Doubled, 2)):
        layer = kind(3, 2).build("cpu", dtype="float64")
        layer.forward(x, training=True)
        layer.backward(dy)
        np.testing.assert_allclose(layer.weight.gradient, factor * x.T @ dy)
