"""The three matrix products of a dense layer as CUDA kernels.

The products are the rung "128-bit loads" of `minidl/cuda/ladder` plus what a layer needs: either factor may be
transposed, a bias may be added at the end, and the tiles come in three sizes. 256 threads compute a square tile of C:

    fetch     each thread reads four elements of each factor into registers, one step before they are used; as long as
              all of them exist, by `fetch_whole`, with two instructions
    store     it writes them to shared memory, with k from top to bottom for both factors, transposed or not
    multiply  each thread multiplies a column of four or eight elements by a row of the same length, for each k
    write     the sums pass through shared memory, where the slices are added, to C

A very small product uses one thread for each element and no tiles. A batch of 128 rows makes too few large tiles for a
GPU with more than a hundred multiprocessors. So there are small tiles, in which the threads form slices that share the
inner dimension: slice s takes the s-th part of every step, and the partial sums are added in the order of s. That order
is fixed, so the same input gives the same bits.

Whatever is no multiply-add takes time from the multiply-adds. So whole steps have a loop of their own that looks for no
edges, and the multiply-adds of a step stand in the code one after the other, without a loop that counts.

Large float32 products run on tensor cores (compute capability 8.0) only on request.
MINIDL_TF32=tf32 rounds the factors to 10 bits of mantissa, a relative error of up to 1e-3 in each product;
MINIDL_TF32=3xtf32 computes three products for one and is about as accurate as float32, but an infinite factor
gives NaN. `tensor_cores.py` of the ladder explains both.
"""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple

from numba import config, cuda

from minidl.cuda.engine.edges import get_four, tile_of_block
from minidl.cuda.engine.ptx import aligned, load_four, store_four
from minidl.cuda.ladder import tensor_cores
from minidl.scalar.constants import BLOCK_OF_TERMS, ZERO
from minidl.utils import checks

TF32 = checks.one_of("MINIDL_TF32", os.environ.get("MINIDL_TF32", "off"), ["off", "tf32", "3xtf32"])
LITTLE = 16384  # multiply-adds; tiles do not pay for smaller products
ENOUGH_BLOCKS = 64  # half of the multiprocessors of an H200; smaller tiles would load more than the idle half gains
ROWS_AT_ONCE = 4 * BLOCK_OF_TERMS  # of a batch, in one product; the large tiles have few registers for a second sum
PADDING = 4  # columns added to a tile that is written transposed, so that the lanes of a warp use different banks


class Variant(NamedTuple):
    """How a product is divided among blocks."""

    extent: int  # rows and columns of C that a block computes
    threads: int
    blocks: int | None = None  # that a multiprocessor must have registers for, where the compiler would take more
    dtypes: tuple[str, ...] = ("float32", "float64")
    capability: tuple[int, int] = (7, 5)  # the lowest compute capability


class Tiling(NamedTuple):
    """How the threads of a block share its work."""

    side: int  # rows and columns of C that a thread computes, in groups of four
    slices: int  # groups of threads that share the inner dimension
    depth: int  # of the part of the inner dimension in shared memory at a time: four elements for each thread


VARIANTS = {
    "plain": Variant(16, 256),
    "large": Variant(128, 256, blocks=2, dtypes=("float32",)),  # 64 sums of float64 leave a thread no registers
    "small": Variant(32, 256),
    "tiny": Variant(16, 256),
    "tf32": Variant(64, 128, blocks=4, dtypes=("float32",), capability=(8, 0)),
    "3xtf32": Variant(64, 128, blocks=4, dtypes=("float32",), capability=(8, 0)),
}
TILINGS = {"large": Tiling(8, 1, 8), "small": Tiling(4, 4, 32), "tiny": Tiling(4, 16, 64)}
MULTIPLY_ADD = {"tf32": tensor_cores.multiply_add_once, "3xtf32": tensor_cores.multiply_add_thrice}


def _straight(extent):
    """Return `fetch`, `fetch_whole` and `store` for a factor with k from row to row: B in A B, A in Aᵀ B."""
    quads = extent // 4

    @cuda.jit(device=True)
    def fetch(matrix, start, k):
        t = cuda.threadIdx.x
        return get_four(matrix, k + t // quads, start + t % quads * 4, False)

    @cuda.jit(device=True)
    def fetch_whole(matrix, start, k):
        t = cuda.threadIdx.x  # beyond the last column any element will do: what becomes of it is never written
        return load_four(matrix, (k + t // quads, min(start + t % quads * 4, matrix.shape[1] - 4)))

    @cuda.jit(device=True)
    def store(four, tile):
        t = cuda.threadIdx.x
        store_four(tile, (t // quads, t % quads * 4), four)

    return fetch, fetch_whole, store, extent


def _transposed(extent):
    """Return `fetch`, `fetch_whole` and `store` for a factor with k along each row: A in A B, B in A Bᵀ.

    Two neighbouring threads read 32 bytes of a row, one sector; the 16 pairs of a warp read 16 rows.
    """

    @cuda.jit(device=True)
    def fetch(matrix, start, k):
        t = cuda.threadIdx.x
        return get_four(matrix, start + t // 2 % extent, k + (t // (2 * extent) * 2 + t % 2) * 4, False)

    @cuda.jit(device=True)
    def fetch_whole(matrix, start, k):
        t = cuda.threadIdx.x
        row = min(start + t // 2 % extent, matrix.shape[0] - 1)
        return load_four(matrix, (row, k + (t // (2 * extent) * 2 + t % 2) * 4))

    @cuda.jit(device=True)
    def store(four, tile):
        t = cuda.threadIdx.x
        i, k = t // 2 % extent, (t // (2 * extent) * 2 + t % 2) * 4
        tile[k, i], tile[k + 1, i], tile[k + 2, i], tile[k + 3, i] = four

    return fetch, fetch_whole, store, extent + PADDING


# What becomes of the total of an element of C before it is written; `more` is the bias where there is one.


@cuda.jit(device=True)
def _alone(total, more, c, row, column):
    return total


@cuda.jit(device=True)
def _with_bias(total, more, c, row, column):
    return total + more[column]


@cuda.jit(device=True)
def _added(total, more, c, row, column):
    return total + c[row, column]


def _unrolled(multiply, count):
    """Return `multiply` for `count` numbers of k, one after the other."""
    if count == 1:
        return multiply
    half = count // 2
    multiply_half = _unrolled(multiply, half)

    @cuda.jit(device=True)
    def multiply_all(tile_a, tile_b, k, row, column, column_of_a, row_of_b, sums):
        multiply_half(tile_a, tile_b, k, row, column, column_of_a, row_of_b, sums)
        multiply_half(tile_a, tile_b, k + half, row, column, column_of_a, row_of_b, sums)

    return multiply_all


def _kernel_of(variant):
    """Return `cuda.jit` for a kernel of this variant. (Numba's simulator does not know `launch_bounds`.)"""
    _, threads, blocks, *_ = VARIANTS[variant]
    bounded = blocks and not getattr(config, "ENABLE_CUDASIM", False)
    return cuda.jit(launch_bounds=(threads, blocks)) if bounded else cuda.jit()


def _tiled(variant, load_a, load_b, finish):
    (extent, threads, *_), (side, slices, depth) = VARIANTS[variant], TILINGS[variant]
    fetch_a, fetch_whole_a, store_a, pitch_a = load_a(extent)
    fetch_b, fetch_whole_b, store_b, pitch_b = load_b(extent)
    groups = side // 4  # a thread's rows are groups of four, `stride` apart, and so are its columns
    stride = extent // groups
    across = stride // 4  # threads side by side
    patches = across * across
    part = depth // slices  # depth of one slice in a step

    @cuda.jit(device=True)
    def fragment(tile, k, first, numbers):
        for g in range(groups):
            found = load_four(tile, (k, g * stride + first))
            numbers[4 * g], numbers[4 * g + 1], numbers[4 * g + 2], numbers[4 * g + 3] = found

    @cuda.jit(device=True)
    def multiply(tile_a, tile_b, k, row, column, column_of_a, row_of_b, sums):
        fragment(tile_a, k, row, column_of_a)
        fragment(tile_b, k, column, row_of_b)
        for i in range(side):
            for j in range(side):
                sums[i, j] += column_of_a[i] * row_of_b[j]

    multiply_part = _unrolled(multiply, part)

    @_kernel_of(variant)
    def product(a, b, inner, more, c):
        tile_a = cuda.shared.array((depth, pitch_a), c.dtype, alignment=16)
        tile_b = cuda.shared.array((depth, pitch_b), c.dtype, alignment=16)
        partial = cuda.shared.array((slices, across, extent), c.dtype, alignment=16)
        column_of_a = cuda.local.array(side, c.dtype)
        row_of_b = cuda.local.array(side, c.dtype)
        sums = cuda.local.array((side, side), c.dtype)
        top, left = tile_of_block(c, extent)
        t = cuda.threadIdx.x
        my_slice, ty, tx = t // patches, t % patches // across, t % across
        mine = top + 4 * ty < c.shape[0] and left + 4 * tx < c.shape[1]
        stop = inner - my_slice * part if mine else 0
        for i in range(side):
            for j in range(side):
                sums[i, j] = ZERO

        four_a, four_b = fetch_a(a, top, 0), fetch_b(b, left, 0)
        k = 0
        # Where every group of four is aligned and lies inside or outside as a whole:
        if aligned(a) and aligned(b) and a.shape[1] % 4 == 0 and b.shape[1] % 4 == 0:
            while k + 2 * depth <= inner:
                store_a(four_a, tile_a)
                store_b(four_b, tile_b)
                cuda.syncthreads()
                # The next step's elements are on their way while this one's are multiplied.
                four_a, four_b = fetch_whole_a(a, top, k + depth), fetch_whole_b(b, left, k + depth)
                if mine:
                    multiply_part(tile_a, tile_b, my_slice * part, 4 * ty, 4 * tx, column_of_a, row_of_b, sums)
                cuda.syncthreads()
                k += depth
        while k < inner:
            store_a(four_a, tile_a)
            store_b(four_b, tile_b)
            cuda.syncthreads()
            if k + depth < inner:
                four_a, four_b = fetch_a(a, top, k + depth), fetch_b(b, left, k + depth)
            if k < stop:
                multiply_part(tile_a, tile_b, my_slice * part, 4 * ty, 4 * tx, column_of_a, row_of_b, sums)
            cuda.syncthreads()
            k += depth

        x = t % extent
        for i in range(side):  # row i of every thread
            for g in range(groups):
                four = sums[i, 4 * g], sums[i, 4 * g + 1], sums[i, 4 * g + 2], sums[i, 4 * g + 3]
                store_four(partial, (my_slice, ty, g * stride + 4 * tx), four)
            cuda.syncthreads()
            if left + x < c.shape[1]:
                for y in range(t // extent, across, threads // extent):
                    row = top + i // 4 * stride + 4 * y + i % 4
                    if row < c.shape[0]:
                        total = partial[0, y, x]
                        for s in range(1, slices):
                            total += partial[s, y, x]
                        c[row, left + x] = finish(total, more, c, row, left + x)
            cuda.syncthreads()

    return product


@cuda.jit(device=True)
def _at(matrix, i, k):
    return matrix[i, k]


@cuda.jit(device=True)
def _at_transposed(matrix, i, k):
    return matrix[k, i]


def _plain(element_a, element_b, finish):
    """Return a kernel with one thread for each element of C and no shared memory."""
    extent = VARIANTS["plain"].extent

    @cuda.jit
    def product(a, b, inner, more, c):
        t = cuda.threadIdx.x
        top, left = tile_of_block(c, extent)
        row, column = top + t // extent, left + t % extent
        if row < c.shape[0] and column < c.shape[1]:
            total = ZERO
            for k in range(inner):
                total += element_a(a, row, k) * element_b(b, column, k)
            c[row, column] = finish(total, more, c, row, column)

    return product


def _on_tensor_cores(variant, factor_a, factor_b, finish):
    compute = tensor_cores.block_of_products(MULTIPLY_ADD[variant], factor_a, factor_b, finish)
    extent = VARIANTS[variant].extent

    @_kernel_of(variant)
    def product(a, b, inner, more, c):
        top, left = tile_of_block(c, extent)
        compute(a, b, inner, more, c, top, left)

    return product


class Product(NamedTuple):
    """What a kernel computes, and how: `along_a` and `along_b` say whether k runs along each row of the factor."""

    variant: str
    along_a: bool
    along_b: bool
    finish: Any

    def kernel(self):
        both = self.along_a, self.along_b
        if self.variant in TILINGS:
            kernel = _tiled(self.variant, *[_transposed if along else _straight for along in both], self.finish)
        elif self.variant in MULTIPLY_ADD:
            factors = [tensor_cores.along() if along else tensor_cores.across() for along in both]
            kernel = _on_tensor_cores(self.variant, *factors, self.finish)
        else:
            kernel = _plain(*[_at if along else _at_transposed for along in both], self.finish)
        PRODUCTS[kernel] = self
        return kernel


PRODUCTS: dict[Any, Product] = {}  # by their kernels


def _variants(along_a, along_b, finish=_alone):
    return {variant: Product(variant, along_a, along_b, finish).kernel() for variant in VARIANTS}


@functools.cache
def handing_on(kernel, take):
    """Return a kernel like this one, whose elements of C go to `take(element, row, column, ...)` when they are known.

    Its argument `more` is a tuple: that of `kernel`, and what `take` gets besides.
    """
    product = PRODUCTS[kernel]
    finish = product.finish

    @cuda.jit(device=True)
    def finish_and_hand_on(total, more, c, row, column):
        element = finish(total, more[0], c, row, column)
        take(element, row, column, *more[1:])
        return element

    return product._replace(finish=finish_and_hand_on).kernel()


FORWARD = _variants(True, False)  # C = A B
FORWARD_WITH_BIAS = _variants(True, False, _with_bias)  # C = A B, and a row added to each
BACKWARD_INPUT = _variants(True, True)  # C = A Bᵀ
BACKWARD_WEIGHT = _variants(False, False)  # C = Aᵀ B
BACKWARD_WEIGHT_ADDED = _variants(False, False, _added)  # C += Aᵀ B


def _tiles(variant, c):
    rows, columns = c.shape
    extent = VARIANTS[variant].extent
    return -(-rows // extent) * -(-columns // extent)


def choose_variant(c, inner):
    """Return the variant with the largest tiles that still make enough blocks to occupy a GPU.

    A very small product uses "plain", which has no tiles.
    """
    if c.size * inner <= LITTLE:
        return "plain"
    large = "large" if TF32 == "off" else TF32
    if c.dtype.itemsize == 4 and _tiles(large, c) >= ENOUGH_BLOCKS:
        return large
    return "small" if _tiles("small", c) >= ENOUGH_BLOCKS else "tiny"


def _launch_product(launch, kernels, a, b, inner, more, c):
    variant = choose_variant(c, inner)
    launch(kernels[variant], (_tiles(variant, c),), (VARIANTS[variant].threads,), a, b, inner, more, c)


def dense_forward(launch, x, weight, bias, y):
    if bias is None:
        _launch_product(launch, FORWARD, x, weight, x.shape[1], 0, y)
    else:
        _launch_product(launch, FORWARD_WITH_BIAS, x, weight, x.shape[1], bias, y)


def dense_backward_input(launch, dy, weight, dx):
    _launch_product(launch, BACKWARD_INPUT, dy, weight, dy.shape[1], 0, dx)


def dense_backward_weight(launch, x, dy, dweight):
    for start in range(0, x.shape[0], ROWS_AT_ONCE):
        a, b = x[start : start + ROWS_AT_ONCE], dy[start : start + ROWS_AT_ONCE]
        kernels = BACKWARD_WEIGHT_ADDED if start else BACKWARD_WEIGHT
        _launch_product(launch, kernels, a, b, a.shape[0], 0, dweight)
