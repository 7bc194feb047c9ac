"""Sums inside a block or a warp, in a fixed order: the same input gives the same bits on every run."""

from __future__ import annotations

import math

from numba import cuda, uint32

from minidl.cuda.engine import device
from minidl.cuda.engine.edges import put
from minidl.scalar.clipping import SMALLEST_SQUARES
from minidl.scalar.constants import ALL_LANES, WARP, ZERO

COLUMNS, ROWS = 32, 8  # a block of column sums: x along the features (coalesced reads), y along the rows
BLOCK = (COLUMNS, ROWS)
WARPS = 8  # rows for each block if one warp has one row
ROW_BLOCK = (WARP, WARPS)
AT_ONCE = 8  # rows of a thread whose loads are all on their way before the first is needed
REACH = ROWS * AT_ONCE  # rows of a block in this time
FEW_ROWS = 256  # for one block; a second kernel for the partial sums would take longer than fewer rows save
MOST_BLOCKS = 2048  # that share an elementwise operation: more than a GPU runs at a time
PARTIALS = 128  # the most blocks that share the sum over an array or its rows, and so the most partial sums


def blocks_down_the_columns(matrix):
    """Return a grid whose blocks go down the columns of `matrix`, 64 rows at a time."""
    rows, columns = matrix.shape
    across = -(-columns // COLUMNS)
    return (across, max(1, min(-(-rows // REACH), MOST_BLOCKS // across)))


def one_block_for_32_columns(matrix):
    """Return the grid in which each block owns 32 whole columns of `matrix`."""
    return (-(-matrix.shape[1] // COLUMNS),)


def blocks_for_rows(matrix):
    """Return the grid in which blocks share the rows of each 32 columns, and the number of rows of each block.

    Both depend on the shape alone, and so does the order of a sum: every GPU gets the same bits.
    """
    rows, columns = matrix.shape
    height = max(FEW_ROWS, -(-rows // PARTIALS))
    return (-(-columns // COLUMNS), -(-rows // height)), height


def results_of_blocks(matrix, blocks, *results):
    """Return an array (blocks, columns) for each of `results` (columns,): scratch, or itself if it is for one block."""
    if blocks == 1:
        return [result.reshape(1, -1) for result in results]
    return [device.scratch(matrix, blocks, number) for number in range(len(results))]


def launch_sums(launch, kernel, x, arguments, *sums):
    """Launch a kernel that adds up the rows of `x`; where blocks share them, add up their partial sums.

    The kernel takes the arguments, the number of rows of a block, and an array (blocks, columns) for each of `sums`.
    """
    grid, height = blocks_for_rows(x)
    partials = results_of_blocks(x, grid[1], *sums)
    launch(kernel, grid, BLOCK, *arguments, height, *partials)
    if grid[1] > 1:
        for partial, total in zip(partials, sums, strict=True):
            column_sums(launch, partial, total)


@cuda.jit(device=True)
def _sum(a, b):
    return a + b


@cuda.jit(device=True)
def _hypot(a, b):
    """√(a² + b²): the norm of two parts, of which each may be the norm of many."""
    return math.hypot(a, b)


@cuda.jit(device=True)
def lane_and_warp():
    """Return which thread of its warp this one is, and which warp of the block, be the block 256 wide or (32, 8)."""
    t = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    return t % WARP, t // WARP


@cuda.jit(device=True)
def rows_of_thread(matrix, height):
    """Return the first row of this thread, and where those of its block end; it has every eighth row in between."""
    start = cuda.blockIdx.y * height
    return start + lane_and_warp()[1], min(start + height, matrix.shape[0])


@cuda.jit(device=True)
def read_rows(matrix, start, stop, column, values):
    """Read this thread's next eight rows of a column; behind the last one, that one again.

    No load depends on another, nor on a branch, so all eight are on their way at the same time. An unsigned index saves
    the instructions with which Numba looks for negative ones.
    """
    for i in range(AT_ONCE):
        r = start + i * ROWS
        values[i] = matrix[uint32(r if r < stop else stop - 1), uint32(column)]


@cuda.jit(device=True)
def write_row(matrix, row, stop, column, value):
    """Write an element of a row before `stop`."""
    if row < stop:
        matrix[uint32(row), uint32(column)] = value


@cuda.jit(device=True)
def safe_to_add(squares):
    """Return whether no square has overflowed or vanished."""
    return SMALLEST_SQUARES < squares < math.inf


def _over_rows(combine):
    @cuda.jit(device=True)
    def over_rows(partial, value):
        """Combine `value` over the warps; every thread of a (COLUMNS, ROWS) block gets the result of its column.

        `partial` is shared memory of shape (ROWS, COLUMNS). All threads of the block must call this.
        """
        lane, warp = lane_and_warp()
        partial[warp, lane] = value
        cuda.syncthreads()
        total = partial[0, lane]
        for i in range(1, ROWS):
            total = combine(total, partial[i, lane])
        cuda.syncthreads()  # no thread may overwrite `partial` before all have read it
        return total

    return over_rows


block_column_total = _over_rows(_sum)
block_column_norm = _over_rows(_hypot)


@cuda.jit
def column_sums_kernel(x, height, sums):
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    lane, warp = lane_and_warp()
    column = cuda.blockIdx.x * COLUMNS + lane
    first, stop = rows_of_thread(x, height)
    values = cuda.local.array(AT_ONCE, x.dtype)
    total = ZERO
    if column < x.shape[1]:
        for start in range(first, stop, REACH):
            read_rows(x, start, stop, column, values)
            part = ZERO
            for i in range(AT_ONCE):
                if start + i * ROWS < stop:
                    part += values[i]
            total += part
    total = block_column_total(partial, total)
    if warp == 0:
        put(sums, cuda.blockIdx.y, column, total)


def column_sums(launch, x, sums):
    launch_sums(launch, column_sums_kernel, x, (x,), sums)


def blocks_for_a_sum(count, threads):
    """Return the number of blocks that share a sum over `count` elements, at most PARTIALS; each has a partial sum."""
    return min(PARTIALS, -(-count // threads))


def one_warp_for_a_row(matrix):
    """Return the grid of (WARP, WARPS) blocks with one warp for each row of `matrix`."""
    return (-(-matrix.shape[0] // WARPS),)


@cuda.jit(device=True)
def block_total(partial, value):
    """Add up `value` over all threads of a block by a tree of additions; thread 0 gets the sum.

    `partial` is shared memory with one element for each thread, a power of two. All threads must call this.
    """
    t = cuda.threadIdx.x
    partial[t] = value
    half = partial.size // 2
    while half > 0:
        cuda.syncthreads()
        if t < half:
            partial[t] += partial[t + half]
        half //= 2
    total = partial[t]  # the sum in thread 0; its own element is the only one that a thread may read without a barrier
    cuda.syncthreads()  # no thread may overwrite `partial` before thread 0 has read it
    return total


@cuda.jit(device=True)
def array_total(partial, values):
    """Add up an array with one block: each of n threads sums every n-th element, `block_total` adds the n sums."""
    total = ZERO
    for i in range(cuda.threadIdx.x, values.size, partial.size):
        total += values[i]
    return block_total(partial, total)


@cuda.jit(device=True)
def warp_sum(value):
    """Add up `value` over the 32 lanes of a warp by a butterfly of exchanges; every lane gets the sum."""
    shift = WARP // 2
    while shift > 0:
        value += cuda.shfl_xor_sync(ALL_LANES, value, shift)
        shift >>= 1
    return value


@cuda.jit(device=True)
def block_norm(partial, value):
    """Return √(Σ value²) over all threads of a (COLUMNS, ROWS) block, whose rows are warps; every thread gets it."""
    value = block_column_norm(partial, value)
    shift = WARP // 2
    while shift > 0:
        value = math.hypot(value, cuda.shfl_xor_sync(ALL_LANES, value, shift))
        shift >>= 1
    return value


@cuda.jit(device=True)
def warp_max(value):
    """Find the largest value of the 32 lanes; every lane gets it."""
    shift = WARP // 2
    while shift > 0:
        value = max(value, cuda.shfl_xor_sync(ALL_LANES, value, shift))
        shift >>= 1
    return value


@cuda.jit(device=True)
def warp_min(value):
    """Find the smallest value of the 32 lanes; every lane gets it."""
    shift = WARP // 2
    while shift > 0:
        value = min(value, cuda.shfl_xor_sync(ALL_LANES, value, shift))
        shift >>= 1
    return value
