"""The same inputs give the same bits, twice, for every operation on every backend."""

from __future__ import annotations

import numpy as np

from minidl.operations import NAMES
from scripts.kernel_examples import examples
from tests.conftest import each
from tests.operations.calls import assert_same_bits

# Several tiles, blocks and warps, and more rows than the threads that add up a loss or one block of column sums.
ROWS, COLUMNS = 300, 35
OF_MANY_ROWS = {"mean_loss", "column_sums", "batchnorm_training", "batchnorm_backward", "prelu_backward"}


@each("name", NAMES)
def test_the_same_inputs_give_the_same_bits(any_backend, dtype, name):
    runs = []
    for _ in range(2):
        results = []
        for example in examples(dtype, ROWS if name in OF_MANY_ROWS else 37, COLUMNS):
            if example.operation == name:
                arguments = [
                    any_backend.array(value, value.dtype) if isinstance(value, np.ndarray) else value
                    for value in example.arguments.values()
                ]
                getattr(any_backend.operations, name)(*arguments)
                results += [any_backend.to_numpy(value) for value in arguments if any_backend.owns(value)]
        runs.append(results)
    assert runs[0]
    for one, other in zip(*runs, strict=True):
        assert np.isfinite(one).all()
        assert_same_bits(one, other)
