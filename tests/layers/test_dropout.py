"""Dropout: a mask that is computed again instead of stored."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl

SHAPE = (64, 50)


def built(rate, backend="cpu", seed=0, dtype="float64"):
    return dl.Dropout(rate).build(backend, seed, dtype)


def masks(layer, passes=1, shape=SHAPE):
    """Which elements each of the next training passes keeps."""
    ones = np.ones(shape, layer.dtype)
    return [layer.backend.to_numpy(layer.forward(ones, training=True)) > 0 for _ in range(passes)]


def test_kept_elements_are_divided_by_what_is_kept_and_the_others_are_zero(any_backend, dtype, rng):
    layer = built(0.2, any_backend.name, dtype=str(dtype))
    x = rng.normal(size=SHAPE).astype(dtype)
    y = any_backend.to_numpy(layer.forward(x, training=True))
    kept = y != 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_array_equal(y[kept], x[kept] * dtype.type(1 / 0.8))


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_the_share_of_dropped_elements_is_the_rate(rate):
    n, passes = math.prod(SHAPE), 20
    dropped = n * passes - np.sum(masks(built(rate), passes))
    deviation = math.sqrt(n * passes * rate * (1 - rate))
    assert abs(dropped - rate * n * passes) < 5 * deviation


def test_every_position_is_dropped_sometimes():
    kept = np.mean(masks(built(0.5), 100), axis=0)
    assert kept.min() > 0.1 and kept.max() < 0.9, "100 fair coins: 8 standard deviations"


def test_rate_zero_keeps_everything(any_backend, rng):
    layer, x = built(0.0, any_backend.name), rng.normal(size=SHAPE)
    np.testing.assert_array_equal(any_backend.to_numpy(layer.forward(x, training=True)), x)
    np.testing.assert_array_equal(any_backend.to_numpy(layer.backward(x)), x)


def test_rate_one_gives_zeros_and_a_zero_gradient(any_backend, rng):
    layer, x = built(1.0, any_backend.name), rng.normal(size=SHAPE)
    np.testing.assert_array_equal(any_backend.to_numpy(layer.forward(x, training=True)), np.zeros(SHAPE))
    np.testing.assert_array_equal(any_backend.to_numpy(layer.backward(x)), np.zeros(SHAPE))


def test_inference_changes_nothing_and_draws_no_mask(any_backend, rng):
    layer, twin, x = built(0.5, any_backend.name), built(0.5, any_backend.name), rng.normal(size=SHAPE)
    np.testing.assert_array_equal(any_backend.to_numpy(layer.forward(x)), x)
    np.testing.assert_array_equal(masks(layer), masks(twin))


def test_backward_uses_the_mask_of_the_last_forward_pass(any_backend):
    layer, ones = built(0.3, any_backend.name), np.ones(SHAPE)
    for _ in range(3):
        y = any_backend.to_numpy(layer.forward(ones, training=True))
        np.testing.assert_array_equal(any_backend.to_numpy(layer.backward(ones)), y)
        np.testing.assert_array_equal(any_backend.to_numpy(layer.backward(ones)), y)


def test_every_pass_draws_another_mask():
    drawn = masks(built(0.5), 10)
    for i in range(10):
        for j in range(i):
            assert_independent(drawn[i], drawn[j])


def test_two_layers_of_a_model_never_share_a_mask():
    layers = [dl.Dropout(0.5) for _ in range(4)]
    dl.Sequential(*layers[:2], dl.Sequential(*layers[2:]), backend="cpu", seed=0)
    drawn = [mask for layer in layers for mask in masks(layer, 3)]
    for i in range(len(drawn)):
        for j in range(i):
            assert_independent(drawn[i], drawn[j])


def assert_independent(a, b):
    """Two independent masks with rate 1/2 agree on half of the elements, up to 6 standard deviations."""
    assert abs(np.mean(a == b) - 0.5) < 6 * 0.5 / math.sqrt(a.size)


def test_the_seed_decides_the_masks():
    np.testing.assert_array_equal(masks(built(0.5, seed=1), 3), masks(built(0.5, seed=1), 3))
    assert_independent(masks(built(0.5, seed=1))[0], masks(built(0.5, seed=2))[0])


def test_both_precisions_draw_the_same_masks():
    np.testing.assert_array_equal(masks(built(0.3, dtype="float32"), 3), masks(built(0.3, dtype="float64"), 3))


def test_a_higher_rate_drops_all_that_a_lower_one_drops():
    some, more = masks(built(0.3))[0], masks(built(0.6))[0]
    assert not (more & ~some).any()


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, math.inf, 10**400])
def test_a_rate_outside_zero_to_one_is_refused(rate):
    with pytest.raises(ValueError, match="^rate got .*; expected a finite number, at least 0 and at most 1$"):
        dl.Dropout(rate)


@pytest.mark.parametrize("rate", ["0.5", None, True, 0.5j])
def test_a_rate_that_is_not_a_number_is_refused(rate):
    with pytest.raises(TypeError, match="^rate got .*; expected a finite number, at least 0 and at most 1$"):
        dl.Dropout(rate)
