"""The grids of all launches are within what CUDA allows, however high or wide the arrays are."""

import numpy as np

from minidl import backend, cuda
from minidl.cuda import reduce
from minidl.emulator.launch import MAX_GRID
from scripts.kernel_examples import examples
from tests.conftest import each
from tests.operations.calls import assert_same_bits

ROWS, COLUMNS = 5, 37
MANY = 2_200_000  # more than 65535 tiles of 32, the largest that no kind of product avoids


def stretched(value, side):
    """Give an array without contents as many entries along each axis of length `side` as no grid has blocks."""
    if not isinstance(value, np.ndarray) or side not in value.shape:
        return value
    return np.empty([MANY if length == side else length for length in value.shape], value.dtype)


@each("side", [ROWS, COLUMNS])
@each("example", range(len(examples("float32", ROWS, COLUMNS))))
def test_a_grid_has_a_place_for_every_array(dtype, example, side):
    operation, arguments = examples(dtype, ROWS, COLUMNS)[example]
    grids = []
    arrays = {name: stretched(value, side) for name, value in arguments.items()}
    getattr(cuda, operation)(lambda kernel, grid, block, *arguments: grids.append(grid), *arrays.values())
    assert grids
    for grid in grids:
        assert all(1 <= blocks <= most for blocks, most in zip(grid, MAX_GRID, strict=False)), grid


@each("operation", ["batchnorm_training", "batchnorm_inference", "batchnorm_backward", "prelu_forward"])
def test_few_blocks_go_down_all_rows(dtype, operation, monkeypatch):
    emulator, results = backend.get("emulator"), []
    for most in (1, 5, reduce.MOST_BLOCKS):  # a row of blocks takes all rows; two share them; there are enough for each
        monkeypatch.setattr(reduce, "MOST_BLOCKS", most)
        (example,) = (example for example in examples(dtype, 150, COLUMNS) if example.operation == operation)
        getattr(emulator.operations, operation)(*example.arguments.values())
        results.append([value for value in example.arguments.values() if isinstance(value, np.ndarray)])
    for found in zip(*results, strict=True):
        for other in found[1:]:
            assert np.isfinite(other).all()
            assert_same_bits(found[0], other)


@each("rows", [1, 255, 256, 257, 32768, 32769, 65536, MANY])
@each("columns", [1, 32, 33, 1024])
def test_every_row_has_one_block(rows, columns):
    (across, down), height = reduce.blocks_for_rows(np.empty((rows, columns), np.int8))
    assert across == -(-columns // reduce.COLUMNS)
    assert (down - 1) * height < rows <= down * height
    assert down <= reduce.PARTIALS <= reduce.FEW_ROWS  # so the partial sums need one block
    assert (down == 1) == (rows <= reduce.FEW_ROWS)


def test_a_large_batch_has_blocks_for_a_whole_gpu():
    multiprocessors, blocks_at_once = 132, 8  # of an H200; 256 threads each
    (across, down), _ = reduce.blocks_for_rows(np.empty((65536, 1024), np.int8))
    assert across * down >= 3 * multiprocessors * blocks_at_once
