"""minidl's own kernels: as they are the emulator has nothing to say, and with a fault planted it does."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

import minidl.cuda
from minidl.cuda import (
    activations,
    batchnorm,
    clipping,
    dense,
    elementwise,
    losses,
    optimizers,
    penalties,
    pooling,
    reduce,
)
from minidl.cuda.engine import edges
from minidl.emulator import BarrierError, OutOfBoundsError, UninitializedReadError, launch, race_detector
from minidl.emulator.launch import Device
from minidl.emulator.observer import Observer, watching
from scripts.kernel_examples import examples
from tests.conftest import execute

dropout = importlib.import_module("minidl.cuda.dropout")  # minidl.cuda has an operation of the same name
OPERATIONS = sorted({example.operation for example in examples("float32")})
WRONG = "a wrong result"


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [(2, 1), (5, 37), (67, 16)], ids=str)
def test_no_kernel_of_minidl_is_refused_and_every_output_is_written(operation, shape, dtype):
    for example in examples(dtype, *shape):
        if example.operation == operation:
            getattr(minidl.cuda, operation)(launch, *example.arguments.values())
            for name, argument in example.arguments.items():
                assert not isinstance(argument, np.ndarray) or np.isfinite(argument).all(), f"{example}: {name}"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_kernel_of_minidl_races(operation, monkeypatch):
    monkeypatch.setattr(reduce, "FEW_ROWS", 8)  # nine are for two blocks
    with race_detector():
        for example in examples("float32", 9, 37):
            if example.operation == operation:
                getattr(minidl.cuda, operation)(launch, *example.arguments.values())


class Counting(Observer):
    counts_operations = True


@pytest.mark.parametrize("operation", OPERATIONS)
def test_float32_kernels_compute_in_float32(operation):
    """As `scripts/compile_kernels.py` requires of the machine code, but without a compiler."""
    device, doubles = Device(), []

    def counted(value, operations):
        if isinstance(value, float):  # float64 is one, float32 is not
            doubles.append(f"{value} in {device.where()}")
        return value

    device.counted = counted
    with watching(Counting()):
        for example in examples("float32"):
            if example.operation == operation:
                getattr(minidl.cuda, operation)(device.launch, *example.arguments.values())
    assert operation in ("mean_loss", "penalty_cost") or not doubles  # these two have totals in float64


# Planted faults -------------------------------------------------------------------------------------------------------


def altered(module, old, new):
    """A copy of a module, compiled from its source with `old` replaced by `new`, which may be in any of its kernels."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert old in source, f"{module.__name__} has no {old!r} any more: plant the fault elsewhere"
    return execute(source.replace(old, new), f"{module.__name__} with {new!r}")


def call(module, operation):
    """Call the first example of the operation; returns the example's arguments."""
    example = next(example for example in examples("float64", 67, 21) if example.operation == operation)
    getattr(module, operation)(launch, *example.arguments.values())
    return example.arguments


def expect(kind, module, operation, original):
    """The faulty module must be refused with that kind of error, or give results that differ."""
    if kind is not WRONG:
        with pytest.raises(kind):
            call(module, operation)
        return
    faulty, right = call(module, operation), call(original, operation)
    arrays = [name for name, value in right.items() if isinstance(value, np.ndarray)]
    assert any(not np.allclose(faulty[name], right[name], equal_nan=True) for name in arrays)


WAIT = "            cuda.syncthreads()\n"
FIRST_FETCH = "        four_a, four_b = fetch_a(a, top, 0)"
AFTER_LOAD = "            store_b(four_b, tile_b)\n"
AFTER_USE = """            if k < stop:
                multiply_part(tile_a, tile_b, my_slice * part, 4 * ty, 4 * tx, column_of_a, row_of_b, sums)
"""

FAULTS = {
    # The products.
    "no barrier before the tiles are used":
        (dense, AFTER_LOAD + WAIT, AFTER_LOAD, "dense_forward", UninitializedReadError),
    "no barrier before the tiles are overwritten":
        (dense, AFTER_USE + WAIT, AFTER_USE, "dense_backward_weight", WRONG),
    "a tile reads one column too far":
        (edges, "column < matrix.shape[1] else", "column <= matrix.shape[1] else", "dense_forward", OutOfBoundsError),
    "a tile does not look at the last row":
        (edges, "if row < matrix.shape[0] and column < matrix.shape[1] else", "if column < matrix.shape[1] else",
         "dense_forward", OutOfBoundsError),
    "a tile begins one row too early":
        (dense, "matrix, start + t // 2 % extent", "matrix, start - 1 + t // 2 % extent", "dense_forward",
         OutOfBoundsError),
    "a slice is too wide":
        (dense, "_unrolled(multiply, part)", "_unrolled(multiply, 2 * part)", "dense_backward_weight",
         OutOfBoundsError),
    "a slice is too narrow":
        (dense, "_unrolled(multiply, part)", "_unrolled(multiply, part // 2)", "dense_forward", WRONG),
    "a slice too few is added":
        (dense, "range(1, slices)", "range(2, slices)", "dense_forward", WRONG),
    "a slice too many is added":
        (dense, "range(1, slices)", "range(1, slices + 1)", "dense_forward", OutOfBoundsError),
    "the next step is the same again":
        (dense, "fetch_a(a, top, k + depth)", "fetch_a(a, top, k)", "dense_backward_weight", WRONG),
    "the result is stored outside":
        (dense, "if row < c.shape[0]:", "if True:", "dense_forward", OutOfBoundsError),
    "threads outside the result leave before the barriers":
        (dense, FIRST_FETCH, "        if not mine:\n            return\n" + FIRST_FETCH, "dense_forward", BarrierError),
    "two rows of the transposed tile change places":
        (dense, "tile[k, i], tile[k + 1, i]", "tile[k + 1, i], tile[k, i]", "dense_forward", WRONG),
    "the grid is rounded down":
        (dense, "-(-columns // extent)", "columns // extent", "dense_forward", WRONG),
    # Column sums.
    "no barrier before the partial sums are added":
        (reduce, "] = value\n        cuda.syncthreads()\n", "] = value\n", "batchnorm_training",
         UninitializedReadError),
    "no barrier before the partial sums are overwritten":
        (reduce, "    cuda.syncthreads()  # no thread may overwrite `partial` before all", "    # nothing before all",
         "batchnorm_training", WRONG),
    "one partial sum too many":
        (reduce, "range(1, ROWS)", "range(1, ROWS + 1)", "batchnorm_training", OutOfBoundsError),
    "one partial sum twice":
        (reduce, "range(1, ROWS)", "range(ROWS)", "batchnorm_training", WRONG),
    "only threads inside the matrix take part in the sum":
        (batchnorm, "    centre = block_column", "    if inside:\n        centre = block_column", "batchnorm_training",
         BarrierError),
    "one feature too many":
        (batchnorm, "j < x.shape[1]", "j <= x.shape[1]", "batchnorm_inference", OutOfBoundsError),
    # Warps.
    "lanes without a column leave before the exchange":
        (losses, "if row >= x.shape[0]:", "if row >= x.shape[0] or cuda.threadIdx.x >= x.shape[1]:", "softmax",
         BarrierError),
    "one row too many":
        (losses, "if row >= x.shape[0]:", "if row > x.shape[0]:", "softmax", OutOfBoundsError),
    "the lanes do not add up":
        (losses, "return warp_sum(total)", "return total", "softmax", WRONG),
    # Sums over a whole array.
    "no barriers in the tree of additions":
        (reduce, "        cuda.syncthreads()\n        if t < half", "        if t < half", "mean_loss",
         UninitializedReadError),
    "a barrier for one half of the tree":
        (reduce, "            partial[t] +=", WAIT + "            partial[t] +=", "mean_loss", BarrierError),
    "the tree begins too high":
        (reduce, "half = partial.size // 2", "half = partial.size", "mean_loss", OutOfBoundsError),
    "every block begins at the same element":
        (clipping, "(cuda.blockIdx.x * ROWS + cuda.threadIdx.y)", "cuda.threadIdx.y", "norm", WRONG),
    "one partial sum for two blocks":
        (penalties, "partials[cuda.blockIdx.x] =", "partials[cuda.blockIdx.x // 2] =", "penalty_cost", WRONG),
    "only threads inside the matrix take part in the norm":
        (clipping, "    norm = block_c", "    if not inside:\n        return\n    norm = block_c", "max_norm",
         BarrierError),
    # Elements of their own.
    "four elements too many":
        (activations, "if i < x.size", "if i <= x.size + 3", "activation_forward", OutOfBoundsError),
    "no look at the size":
        (optimizers, "    if i < value.size:\n        old, slope =", "    if True:\n        old, slope =", "sgd_update",
         OutOfBoundsError),
    "one pixel too many":
        (pooling, "if index < dx.size", "if index <= dx.size", "max_pool_backward", OutOfBoundsError),
    "a region is read in the image below":
        (pooling, "pixel = image + row * width", "pixel = image + (row + height) * width", "max_pool_forward",
         OutOfBoundsError),
    "one row too many is copied":
        (elementwise, "if r < source.shape[0]", "if r <= source.shape[0]", "copy_columns", OutOfBoundsError),
    "the last four normal numbers are not cut":
        (elementwise, "            if first + k < vector.size:\n", "            if True:\n", "gaussian_noise",
         OutOfBoundsError),
    "the last four are read as they stand":
        (elementwise, "min(first + 3, last)]", "first + 3]", "dropout", OutOfBoundsError),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_shows(fault):
    module, old, new, operation, kind = FAULTS[fault]
    if not hasattr(module, operation):  # the faulty function in the kernels that use it
        functions = vars(altered(module, old, new))
        module = importlib.import_module(getattr(minidl.cuda, operation).__module__)
        faulty = altered(module, "", "")
        vars(faulty).update({name: function for name, function in functions.items() if hasattr(function, "py_func")})
    else:
        faulty = altered(module, old, new)
    expect(kind, faulty, operation, module)
