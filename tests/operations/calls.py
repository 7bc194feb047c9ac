"""How the tests call an operation, and how they compare its results.

Every array is a window in a larger buffer. Floating-point outputs start as NaN, and so does what lies around inputs:
an element that is never written, or one outside that is read, shows in the result. Around outputs lie numbers, so that
even a NaN that is written there shows. Inputs must come back with every bit as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from minidl.backend import Backend
from minidl.cuda import reduce

GUARD = 3  # rows (elements of a vector) before and behind each window

seeds = st.integers(0, 2**32 - 1)

# The fixtures any_backend and dtype are constants of a test, so that all examples may share them.
drawn = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@dataclass
class InOut:
    """An argument that the operation writes to."""

    start: np.ndarray


def out(dtype: Any, *shape: int) -> InOut:
    """An argument that the operation must fill."""
    return InOut(np.full(shape, np.nan, dtype))


def inout(values: np.ndarray) -> InOut:
    """An argument that the operation updates."""
    return InOut(values)


def run(backend: Backend, name: str, *arguments: Any) -> Any:
    """Call the operation; returns what it wrote, an array for each `out` and `inout` argument, in their order."""
    call, watched = [], []
    for argument in arguments:
        may_change = isinstance(argument, InOut)
        array = argument.start if may_change else argument
        if not isinstance(array, np.ndarray):
            call.append(argument)
            continue
        around = np.nan if array.dtype.kind == "f" and not may_change else 77
        before = np.full((len(array) + 2 * GUARD, *array.shape[1:]), around, array.dtype)
        before[GUARD:-GUARD] = array
        buffer = backend.array(before, array.dtype)
        call.append(buffer[GUARD : GUARD + len(array)])
        watched.append((len(call) - 1, may_change, before, buffer))
    with np.errstate(all="ignore"):  # compiled code does not warn either
        getattr(backend.operations, name)(*call)
    written = []
    for position, may_change, before, buffer in watched:
        after = backend.to_numpy(buffer)
        if may_change:
            written.append(after[GUARD:-GUARD].copy())
            after[GUARD:-GUARD] = before[GUARD:-GUARD]
        what = f"memory around argument {position}" if may_change else f"argument {position}, an input,"
        assert after.tobytes() == before.tobytes(), f"{name} changed the {what} on {backend.name}"
    return written[0] if len(written) == 1 else tuple(written)


def eps(dtype: Any) -> float:
    """The distance from 1 to the next number: twice the largest relative error u of one rounding.

    The error bounds of the tests count roundings of the operation in u and allow as many to the reference, which
    matters where the operation runs in float64 too: n roundings make n · eps.
    """
    return float(np.finfo(dtype).eps)


def roundings_of_sum(backend: Backend, size: int, dtype: Any) -> int:
    """How often a number on its way into the sum over a whole array of `size` numbers is rounded."""
    if backend.name in ("numpy", "cpu"):
        return size if dtype == np.float64 else 1  # at most, in whatever order; and float64 for float32 arrays too
    # Those of its thread one after another, 8 levels of the tree of its block, 8 of the tree over the blocks.
    return -(-size // (256 * reduce.PARTIALS)) + 16


def huge(dtype: Any) -> float:
    """A number that leaves room for sums only."""
    return 1e30 if dtype == np.float32 else 1e300


def assert_close(actual: np.ndarray, expected: Any, error: Any) -> None:
    """|actual - expected| <= error in each element; NaN and infinities are where they are expected and nowhere else.

    Below the smallest normal number relative accuracy ends, so that much is always allowed.
    """
    assert actual.shape == np.shape(expected)
    with np.errstate(all="ignore"):
        rounded = np.asarray(expected).astype(actual.dtype)  # too large for float32 is infinity there
        regular = np.isfinite(rounded)
        np.testing.assert_array_equal(actual[~regular], rounded[~regular])
        allowed = np.broadcast_to(error, actual.shape) + np.finfo(actual.dtype).tiny
        wrong = regular & ~(np.abs(actual.astype(np.float64) - expected) <= allowed)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{wrong.sum()} of {wrong.size} elements are off; the first is {at}: got {actual[at]!r}, "
            f"expected {np.asarray(expected)[at]!r} within {allowed[at]:.3g}"
        )


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    assert actual.tobytes() == expected.tobytes(), f"got {actual!r}, expected {expected!r}"
