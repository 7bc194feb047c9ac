"""Clipping: by value and by norm, on each backend, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl


def make(backend="cpu", dtype="float32"):
    return dl.Sequential(dl.Dense(5, 4), dl.Tanh(), dl.Dense(4, 3), backend=backend, seed=0, dtype=dtype)


def set_gradients(model, rng, scale=1.0):
    """Random gradients; returns them in float64."""
    values = [(scale * rng.normal(size=p.shape)).astype(model.dtype) for p in model.parameters()]
    for parameter, value in zip(model.parameters(), values, strict=True):
        model.backend.copy_into(parameter.gradient, value)
    return [value.astype(float) for value in values]


def gradients(model):
    return [model.backend.to_numpy(parameter.gradient) for parameter in model.parameters()]


def norm(arrays):
    return math.sqrt(sum(float((array.astype(float) ** 2).sum()) for array in arrays))


def test_every_entry_is_clipped_to_the_limit(any_backend, dtype, rng):
    model = make(any_backend.name, str(dtype))
    before = set_gradients(model, rng)
    dl.ClipValue(0.5)(model.parameters())
    for found, expected in zip(gradients(model), before, strict=True):
        np.testing.assert_array_equal(found, np.clip(expected, -0.5, 0.5))
    assert any((abs(array) == 0.5).any() and (abs(array) < 0.5).any() for array in gradients(model))


def test_all_gradients_are_scaled_by_one_factor_to_one_norm(any_backend, dtype, rng):
    model = make(any_backend.name, str(dtype))
    before = set_gradients(model, rng)
    dl.ClipNorm(0.5)(model.parameters())
    after = gradients(model)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    assert norm(after) == pytest.approx(0.5, rel=tolerance)
    for found, expected in zip(after, before, strict=True):  # the direction of all parameters together is kept
        np.testing.assert_allclose(found, expected * (0.5 / norm(before)), rtol=tolerance)


def test_the_norm_is_that_of_all_parameters_together(any_backend):
    model = make(any_backend.name, "float64")
    for parameter, value in zip(model.parameters(), (3.0, 0.0, 4.0, 0.0), strict=True):
        gradient = np.zeros(parameter.shape)
        gradient.flat[0] = value
        model.backend.copy_into(parameter.gradient, gradient)
    dl.ClipNorm(4.5)(model.parameters())  # neither 3 nor 4 is too long, but 5 is
    assert [array.flat[0] for array in gradients(model)] == pytest.approx([2.7, 0, 3.6, 0])


@pytest.mark.parametrize("kind", [dl.ClipNorm, dl.ClipValue])
def test_below_the_limit_nothing_changes_bit_for_bit(kind, any_backend, dtype, rng):
    model = make(any_backend.name, str(dtype))
    set_gradients(model, rng)
    before = gradients(model)
    limit = norm(before) * 1.001 if kind is dl.ClipNorm else max(abs(array).max() for array in before)
    kind(limit)(model.parameters())
    for found, expected in zip(gradients(model), before, strict=True):
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", [dl.ClipNorm, dl.ClipValue])
def test_zero_gradients_stay_zero_and_weights_are_left_alone(kind, any_backend):
    model = make(any_backend.name)
    weights = model.snapshot()
    kind(1.0)(model.parameters())
    assert norm(gradients(model)) == 0
    assert all(np.array_equal(weights[name], array) for name, array in model.snapshot().items())


def test_one_clip_may_serve_models_of_different_sizes(any_backend, rng):
    clip = dl.ClipNorm(0.5)
    small = dl.Sequential(dl.Dense(2, 2), backend=any_backend.name)
    for model in (make(any_backend.name), small, make(any_backend.name, "float64"), small):
        set_gradients(model, rng)
        clip(model.parameters())
        assert norm(gradients(model)) == pytest.approx(0.5, rel=1e-5)
    clip([])


def fit(clip, rows=40, **options):
    x = np.random.default_rng(0).normal(size=(rows, 5)).astype(np.float32)
    model = make()
    train = dl.data.Dataset(x, x[:, :3].argmax(axis=1))
    dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.5), epochs=2, batch_size=10, clip=clip,
           shuffle=False, progress=False, **options)  # fmt: skip
    return model, train


@pytest.mark.parametrize("kind", [dl.ClipNorm, dl.ClipValue])
def test_fit_clips_between_the_backward_pass_and_the_step(kind):
    by_fit, train = fit(kind(0.05))
    model, loss, optimizer, clip = make(), dl.SoftmaxCrossEntropy(), dl.SGD(0.5), kind(0.05)
    for start in [0, 10, 20, 30] * 2:
        loss.forward(model.forward(train.x[start : start + 10], training=True), train.y[start : start + 10])
        model.backward(loss.backward())
        clip(model.parameters())
        optimizer.step(model.parameters())
    for name, array in model.snapshot().items():
        np.testing.assert_array_equal(by_fit.snapshot()[name], array, err_msg=name)
    unclipped, _ = fit(None)
    assert not np.array_equal(unclipped.snapshot()["0.weight"], by_fit.snapshot()["0.weight"])


def test_any_function_of_the_parameters_clips():
    seen = []
    model, _ = fit(lambda parameters: seen.append([parameter.name for parameter in parameters]))
    assert seen == [[parameter.name for parameter in model.parameters()]] * 8


@pytest.mark.parametrize("kind", [dl.ClipNorm, dl.ClipValue])
def test_a_limit_that_makes_no_sense_is_refused(kind):
    for limit, error in [(0, ValueError), (-1.0, ValueError), (math.nan, ValueError), ("1", TypeError)]:
        with pytest.raises(error, match="^limit got .*; expected a finite number, greater than 0$"):
            kind(limit)
    assert repr(kind(0.5)) == f"{kind.__name__}(0.5)"


def test_fit_refuses_what_it_cannot_call():
    with pytest.raises(TypeError, match="^clip got 1.0; expected something that can be called$"):
        fit(1.0)
