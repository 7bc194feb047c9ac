"""The same inputs give the same bits, twice, for every operation on every backend."""

from __future__ import annotations

import numpy as np
import pytest

import minidl.cpu
from tests.operations.calls import assert_same_bits, run
from tests.operations.examples import EXAMPLES, Data


@pytest.mark.parametrize("name", minidl.cpu.__all__)
def test_the_same_inputs_give_the_same_bits(any_backend, dtype, name):
    first, second = (run(any_backend, name, *EXAMPLES[name](Data(dtype))) for _ in range(2))
    if not isinstance(first, tuple):
        first, second = (first,), (second,)
    for one, other in zip(first, second, strict=True):
        assert np.isfinite(one).all()
        assert_same_bits(one, other)
