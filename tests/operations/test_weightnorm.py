"""Centered weight normalization, on every backend against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.operations import reference
from tests.operations.calls import assert_close, eps, out, run

# (n_in, n_out): a block has 32 columns and 8 rows of threads.
SHAPES = [(2, 1), (7, 32), (8, 33), (9, 31), (37, 5), (64, 65)]


@pytest.fixture(params=SHAPES, ids=str)
def arrays(request, dtype, rng):
    """v, gain and dW of a layer."""
    n_in, n_out = request.param
    return [rng.normal(0.3, 1.0, shape).astype(dtype) for shape in ((n_in, n_out), (n_out,), (n_in, n_out))]


def forward(backend, dtype, v, gain):
    shape, columns = v.shape, v.shape[1]
    return run(
        backend, "centered_weight", v, gain, out(dtype, *shape), out(dtype, columns), out(dtype, *shape)
    )  # fmt: skip


def test_columns_are_centred_and_as_long_as_their_gain(any_backend, dtype, arrays):
    v, gain, _ = arrays
    unit, norm, weight = forward(any_backend, dtype, v, gain)
    expected_unit, expected_norm, expected_weight = reference.centered_weight(v, gain)
    # Two sums over the rows, each entry at most the column's largest; a root and a quotient halve and add.
    error = 8 * len(v) * eps(dtype) * (1.0 + np.abs(v).max() / expected_norm.min())
    assert_close(unit, expected_unit, error)
    assert_close(norm, expected_norm, error * expected_norm.max())
    assert_close(weight, expected_weight, error * np.abs(gain).max())


def test_backward_agrees_with_the_chain_rule_step_by_step(any_backend, dtype, arrays):
    v, gain, dweight = arrays
    unit, norm, _ = reference.centered_weight(v, gain)
    expected_dv, expected_dgain = reference.centered_weight_backward(v, gain, dweight)
    _, dv, dgain = run(
        any_backend, "centered_weight_backward",
        dweight, unit.astype(dtype), gain, norm.astype(dtype),
        out(dtype, v.shape[1]), out(dtype, *v.shape), out(dtype, v.shape[1]),
    )  # fmt: skip
    size = np.abs(dweight).sum(axis=0).max()
    assert_close(dgain, expected_dgain, 8 * len(v) * eps(dtype) * size)
    assert_close(dv, expected_dv, 16 * len(v) * eps(dtype) * size * np.abs(gain / norm).max())


def test_a_column_of_equal_entries_has_no_direction(any_backend, dtype):
    v = np.full((4, 2), 0.5, dtype)
    v[:, 1] = [1.0, -1.0, 1.0, -1.0]
    gain = np.array([3.0, 4.0], dtype)
    unit, norm, weight = forward(any_backend, dtype, v, gain)
    np.testing.assert_array_equal(norm, [0.0, 2.0])
    np.testing.assert_array_equal(unit, v * [0.0, 0.5])
    np.testing.assert_array_equal(weight, v * [0.0, 2.0])
    dweight = np.ones((4, 2), dtype)
    dweight[0] = 2.0
    outputs = out(dtype, 2), out(dtype, 4, 2), out(dtype, 2)
    _, dv, dgain = run(any_backend, "centered_weight_backward", dweight, unit, gain, norm, *outputs)
    np.testing.assert_array_equal(dv[:, 0], np.zeros(4))
    np.testing.assert_array_equal(dgain, [0.0, 0.5])


@pytest.mark.parametrize("rows", [2, 3, 7, 33])
@pytest.mark.parametrize("constant", [0.1, -3.7, 1e30])  # whose mean, as their sum by the number, is rounded
def test_equal_entries_whose_sum_is_rounded_have_no_direction_either(any_backend, dtype, constant, rows):
    unit, norm, weight = forward(any_backend, dtype, np.full((rows, 33), constant, dtype), np.ones(33, dtype))
    assert not norm.any() and not unit.any() and not weight.any()
