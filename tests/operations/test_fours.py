"""Operations on element after element give the same bits wherever arrays begin and end, and leave what lies around.

Their kernels move four numbers at a time where they may.
"""

from __future__ import annotations

import numpy as np

from scripts.kernel_examples import examples
from tests.conftest import each
from tests.operations.calls import assert_same_bits

OPERATIONS = [
    "activation_forward", "activation_backward", "add", "sgd_update", "momentum_update", "nesterov_update",
    "rmsprop_update", "adam_update", "dropout", "row_dropout", "gaussian_noise", "penalty_gradient", "clip_values",
    "scale_to_norm", "mask_rows", "scale_rows", "copy_columns", "gather_rows", "softmax_cross_entropy_backward",
    "soft_cross_entropy_backward", "binary_cross_entropy_backward", "mean_squared_error_backward",
]  # fmt: skip
AROUND = 8  # elements before and behind each array


def results(backend, example, first):
    """What the call leaves in its arrays, if each begins `first` elements behind a multiple of 16 bytes."""
    arguments, buffers = [], []
    for value in example.arguments.values():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            memory, start = np.full(value.size + 2 * AROUND, 77, value.dtype), AROUND + first
            memory[start : start + value.size] = value.reshape(-1)
            buffers.append((backend.array(memory, memory.dtype), slice(start, start + value.size)))
            value = buffers[-1][0][buffers[-1][1]].reshape(value.shape)
        elif isinstance(value, np.ndarray):
            value = backend.array(value, value.dtype)
        arguments.append(value)
    getattr(backend.operations, example.operation)(*arguments)
    found = []
    for buffer, place in buffers:
        after = backend.to_numpy(buffer)
        found.append(after[place].copy())
        after[place] = 77
        assert (after == 77).all(), f"{example} changed the memory around an array"
    return found


@each("shape", [(2, 1), (3, 1), (2, 2), (5, 1), (3, 7), (23, 45)])
@each("name", OPERATIONS)
def test_it_does_not_matter_where_an_array_begins(any_backend, dtype, name, shape):
    for example in examples(dtype, *shape):
        if example.operation == name:
            expected = results(any_backend, example, 0)
            for first in (1, 2, 3):
                for one, other in zip(expected, results(any_backend, example, first), strict=True):
                    assert_same_bits(one, other)
