"""Functions of one number run on whole arrays."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from minidl.scalar import activations, clipping, losses, optimizers, penalties
from minidl.scalar.activations import ACTIVATIONS
from minidl.scalar.arrays import vectorized
from minidl.scalar.constants import ONE, ZERO

FUNCTIONS = [
    *(function for entry in ACTIVATIONS.values() for function in (entry.value, entry.slope)),
    activations.leaky_relu_by_alpha,
    clipping.clip,
    *(value for module in (losses, optimizers, penalties) for value in vars(module).values()
      if inspect.isfunction(value) and value.__module__ == module.__name__),
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_each_element_is_what_the_function_gives_for_it(function, rng):
    arguments = rng.uniform(0.1, 0.9, (len(inspect.signature(function).parameters), 4, 5))
    arguments[0] = rng.normal(scale=3, size=(4, 5))
    found = vectorized(function)(*arguments)
    for number, array in enumerate(found if isinstance(found, tuple) else (found,)):
        for i in np.ndindex(4, 5):
            alone = function(*(argument[i] for argument in arguments))
            expected = alone[number] if isinstance(alone, tuple) else alone
            np.testing.assert_allclose(np.broadcast_to(array, (4, 5))[i], expected, rtol=1e-6, atol=1e-6)


def pieces(z, alpha):
    """A function that has to be asked for each number."""
    if z < ZERO:
        return alpha
    return ONE if z > ZERO and z < alpha else ZERO


def test_a_function_with_statements_is_called_for_each_element(dtype):
    z = np.array([[-1.0, 0.0, 0.5], [1.0, 5.0, np.nan]], dtype)
    result = vectorized(pieces)(z, dtype.type(2))
    np.testing.assert_array_equal(result, [[2, 0, 1], [1, 0, 0]])


def test_float32_stays_float32():
    z = np.linspace(-3, 3, 7, dtype=np.float32)
    for entry in ACTIVATIONS.values():
        assert vectorized(entry.value)(z, np.float32(0.1)).dtype == np.float32


def test_the_side_that_is_not_chosen_gives_no_warning():
    assert vectorized(activations.elu)(np.array([1e4]), 1.0) == 1e4  # warnings are errors here


def test_a_debugger_finds_the_lines_of_the_function():
    code = vectorized(activations.sigmoid).__wrapped__.__code__
    assert code.co_filename == activations.__file__
    assert code.co_firstlineno == activations.sigmoid.__code__.co_firstlineno
