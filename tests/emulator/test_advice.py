"""The advice of a trace: it names what the numbers show, and who follows it pays less."""

from __future__ import annotations

import numpy as np
import pytest
from numba import cuda, float32, float64

from minidl.cuda import ladder
from minidl.cuda.engine.ptx import load_four, store_four
from minidl.emulator import trace
from tests.conftest import each
from tests.emulator.test_tracing import tile_kernel

NOTHING = "side by side, nothing to gain."


def advice(found, array):
    """The text for one array."""
    (text,) = [text for _, name, text in found.advice() if name == array]
    return text


def vectors(*sizes, dtype=np.float32):
    return [np.arange(size, dtype=dtype) for size in sizes]


@cuda.jit
def copy(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i]


@cuda.jit
def copy_strided(x, y, stride):
    i = cuda.grid(1)
    y[i] = x[stride * i]


@cuda.jit
def copy_backwards(x, y):
    i = cuda.grid(1)
    y[i] = x[x.size - 1 - i]


@cuda.jit
def pick(x, indices, y):
    i = cuda.grid(1)
    y[i] = x[indices[i]]


@cuda.jit
def copy_matrix(x, y):
    j, i = cuda.grid(2)
    y[i, j] = x[i, j]


@cuda.jit
def inside(x, y):
    j, i = cuda.grid(2)
    if i < x.shape[0] and j < x.shape[1]:
        y[i, j] = x[i, j]


def blocks(count, size):
    return -(-count // size)


@cuda.jit
def copy_matrix_by_columns(x, y):
    i, j = cuda.grid(2)
    y[i, j] = x[i, j]


@cuda.jit
def transpose(x, y):
    j, i = cuda.grid(2)
    y[j, i] = x[i, j]


@each("dtype, fill", [(np.float32, 8), (np.float64, 4)])
def test_what_is_side_by_side_is_left_alone(dtype, fill):
    for kernel in (copy, copy_backwards):
        found = trace(kernel, 2, 48, *vectors(96, 96, dtype=dtype))
        assert [str(sentence) for sentence in found.advice()] == [f"x (global): {NOTHING}", f"y (global): {NOTHING}"]
        assert str(found).endswith(f"\nwhat to do next\nx (global): {NOTHING}\ny (global): {NOTHING}")
    found = trace(copy, 1, 32, np.zeros(40, dtype)[1:33], np.zeros(32, dtype))
    assert f"from the middle of a sector on: {found.lines()[0].sectors} sectors where" in advice(found, "x")
    assert advice(found, "x").endswith(
        f"Begin at a multiple of {fill} elements: {found.lines()[0].ideal_sectors} sectors."
    )


@each("dtype", [np.float32, np.float64])
@each("stride", [2, 3, 32])
def test_a_stride_is_named_and_without_it_there_is_nothing_to_gain(stride, dtype):
    found = trace(copy_strided, 1, 32, *vectors(32 * stride, 32, dtype=dtype), stride)
    read = found.lines()[0]
    assert f"neighbouring threads lie {stride} elements apart, {read.sectors} sectors where" in advice(found, "x")
    assert f"where {read.ideal_sectors} would do. Let threadIdx.x count" in advice(found, "x")
    assert advice(trace(copy_strided, 1, 32, *vectors(32, 32, dtype=dtype), 1), "x") == NOTHING


def test_a_view_is_told_from_a_stride():
    memory, y = vectors(64, 32)
    found = trace(copy, 1, 32, memory[::2], y)
    assert "neighbours of a view, which lie 2 elements apart in memory: 8 sectors where 4" in advice(found, "x")
    assert advice(trace(copy, 1, 32, np.ascontiguousarray(memory[::2]), y), "x") == NOTHING
    x, y = np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)
    assert "neighbours of a view, which lie 32 elements" in advice(trace(copy_matrix, (1, 32), (32, 1), x.T, y), "x")
    assert advice(trace(copy_matrix_by_columns, (1, 32), (32, 1), x.T, y.T), "x") == NOTHING


def test_scattered_elements():
    x, y = vectors(256, 32)
    indices = np.random.default_rng(0).permutation(256)[:32]
    found = trace(pick, 1, 32, x, indices, y)
    assert f"scattered elements, {found.lines()[1].sectors} sectors where 4 would do" in advice(found, "x")
    followed = trace(pick, 1, 32, x, np.arange(32), y)
    assert advice(followed, "x") == NOTHING and followed.sectors < found.sectors


@cuda.jit
def some_copy(x, y, stride):
    i = cuda.grid(1)
    if i % 3 != 1:
        y[stride * i] = x[stride * i]


def test_lanes_that_are_left_out_are_no_scattered_elements():
    x, y = vectors(128, 128)
    text = advice(trace(some_copy, 1, 32, x, y, 1), "x")
    assert text.startswith("side by side, but some lanes take no part: 4 sectors where 3 would do. Nothing to gain")
    assert "neighbouring threads lie 4 elements apart" in advice(trace(some_copy, 1, 32, x, y, 4), "x")


def test_a_vector_read_by_two_rows_of_threads_from_the_middle_of_a_sector():
    """Fewer warps would read it if y counted lanes, but that is not what is wrong with it."""
    x, y, mean = *np.zeros((2, 16, 32), np.float32), np.zeros(40, np.float32)[1:33]

    @cuda.jit
    def subtract(x, mean, y):
        j, i = cuda.grid(2)
        y[i, j] = x[i, j] - mean[j]

    assert "side by side, but from the middle of a sector on" in advice(
        trace(subtract, 1, (32, 16), x, mean, y), "mean"
    )


def test_padded_rows_are_advised_where_they_help():
    y = np.zeros((8, 64), np.float32)
    for columns, block in ((33, (32, 4)), (60, (64, 2))):
        grid = blocks(columns, block[0]), blocks(8, block[1])
        narrow, padded = np.zeros((8, columns), np.float32), np.zeros((8, 64), np.float32)[:, :columns]
        found, followed = (trace(inside, grid, block, x, y) for x in (narrow, padded))
        read = sum(line.sectors for line in followed.lines() if line.array == "x")
        assert "side by side, but from the middle of a sector on" in advice(found, "x")
        assert advice(found, "x").endswith(f"multiple of 8 elements and pad the rows to one: {read} sectors.")
        assert advice(followed, "x") == NOTHING
    found = trace(inside, (1, 1), (12, 8), np.zeros((8, 20), np.float32)[:, :12], y)  # one and a half sectors
    assert advice(found, "x").endswith("Nothing to gain by another beginning of the rows.")


def test_pieces_that_do_not_fill_a_sector():
    x, y = np.zeros((2, 8, 64), np.float32)
    found = trace(copy_matrix, (1, 1), (4, 8), x, y)
    assert "in pieces of 4 elements, 8 sectors where 4 would do. Let at least 8" in advice(found, "x")
    assert advice(trace(copy_matrix, (1, 1), (8, 8), x, y), "x") == NOTHING


def test_exchanged_threads_are_advised_where_they_help_and_a_tile_where_they_do_not():
    x, y = np.zeros((2, 32, 32), np.float32)
    found, followed = (trace(kernel, 1, (32, 8), x, y) for kernel in (copy_matrix_by_columns, copy_matrix))
    for array in ("x", "y"):
        text = advice(found, array)
        assert "down the columns, 256 sectors where 32 would do. Exchange the parts of threadIdx.x" in text
        assert f"then move {followed.sectors} sectors instead of {found.sectors}." in text
        assert advice(followed, array) == NOTHING
    found, followed = trace(transpose, 1, (32, 32), x, y), trace(tile_kernel(33, float32), 1, (32, 32), x, y)
    assert advice(found, "x") == NOTHING
    assert "would cost more: pass a tile through shared memory" in advice(found, "y")
    assert followed.sectors == found.ideal_sectors


@cuda.jit
def copy_images_by_columns(x, y):
    t = cuda.threadIdx
    y[t.z, t.x, t.y] = x[t.z, t.x, t.y]


@cuda.jit
def copy_images(x, y):
    t = cuda.threadIdx
    y[t.z, t.y, t.x] = x[t.z, t.y, t.x]


def test_what_exchanged_threads_cost_in_a_block_of_three_dimensions():
    """54 pixels do not fill warps, so that the second one goes on in the next image."""
    x, y = np.zeros((2, 5, 6, 9), np.float32)
    found, followed = trace(copy_images_by_columns, 1, (6, 9, 5), x, y), trace(copy_images, 1, (9, 6, 5), x, y)
    assert f"then move {followed.sectors} sectors instead of {found.sectors}." in advice(found, "x")


def test_the_first_rungs_of_the_ladder_are_advised_to_take_the_next():
    """naive: exchange x and y; coalesced: share in the block; shared tile: nothing."""
    a, b, c = (np.ones(shape, np.float32) for shape in ((32, 8), (8, 32), (32, 32)))
    found = {
        name: trace(ladder.RUNGS[name].kernel, ladder.RUNGS[name].grid(c), ladder.RUNGS[name].block, a, b, c)
        for name in ("naive", "coalesced", "shared tile")
    }
    assert "Exchange the parts of threadIdx.x" in advice(found["naive"], "a")
    assert f"then move {found['coalesced'].sectors} sectors instead of" in advice(found["naive"], "c")
    for array in "ab":
        assert "a block moves each of its sectors 8 times" in advice(found["coalesced"], array)
        assert "copy once to shared memory" in advice(found["coalesced"], array)
    assert found["shared tile"].sectors < found["coalesced"].sectors
    assert all("nothing to gain" in text for _, _, text in found["shared tile"].advice())


# Memory that is accessed again ----------------------------------------------------------------------------------------


@cuda.jit
def sum_of_own(x, y):
    i = cuda.grid(1)
    for k in range(4):
        y[i] += x[i] * k


@cuda.jit
def alone(x, y):
    if cuda.threadIdx.x == 0:
        for i in range(x.size):
            y[0] += x[i]


def test_what_a_thread_has_for_itself_belongs_in_a_variable():
    found = trace(sum_of_own, 1, 32, *vectors(32, 32))
    assert "accesses each 8 times. Keep them in local variables" in advice(found, "y")
    assert "accesses each 4 times" in advice(found, "x")


def test_a_thread_that_walks_alone_through_sectors():
    text = advice(trace(alone, 1, 64, *vectors(64, 1)), "x")
    assert text.startswith("a block moves each of its sectors 8 times, a part at a time")
    assert text.endswith("take neighbouring elements together: 8 sectors instead of 64.")


@cuda.jit
def scale(x, factor, y):
    i = cuda.grid(1)
    y[i] = factor[0] * x[i]


def test_one_element_for_all_lanes_is_no_fault():
    assert advice(trace(scale, 2, 64, *vectors(128, 1, 128)), "factor").startswith("one element for all lanes")


# Atomics --------------------------------------------------------------------------------------------------------------


@cuda.jit
def add_all(x, total):
    cuda.atomic.add(total, 0, x[cuda.grid(1)])


@cuda.jit
def histogram(x, counts):
    cuda.atomic.add(counts, x[cuda.grid(1)], 1)


@cuda.jit
def histogram_by_blocks(x, counts):
    own = cuda.shared.array(4, float32)
    t = cuda.threadIdx.x
    if t < 4:
        own[t] = 0
    cuda.syncthreads()
    cuda.atomic.add(own, x[cuda.grid(1)], 1)
    cuda.syncthreads()
    if t < 4:
        cuda.atomic.add(counts, t, own[t])


def test_atomics_on_one_element_and_on_few():
    x, total, counts = np.arange(128) % 4, np.zeros(1), np.zeros(4)
    text = advice(trace(add_all, 2, 64, x.astype(float), total), "total")
    assert text.startswith("128 atomics change one element, one after another.")
    assert text.endswith("have one atomic for each element and block: 2.")
    found, followed = trace(histogram, 2, 64, x, counts), trace(histogram_by_blocks, 2, 64, x, np.zeros(4))
    assert "128 atomics change 4 elements" in advice(found, "counts")
    assert f"block: {followed.count('global', 'atomic')}." in advice(found, "counts")
    assert advice(followed, "counts") == NOTHING and followed.sectors < found.sectors
    assert advice(trace(histogram, 1, 64, np.arange(64), np.zeros(64)), "counts") == NOTHING


@cuda.jit
def add_in_shared_memory(x, total):
    own = cuda.shared.array(1, float32)
    t = cuda.threadIdx.x
    if t == 0:
        own[0] = 0
    cuda.syncthreads()
    cuda.atomic.add(own, 0, x[t])
    cuda.syncthreads()
    if t == 0:
        total[0] = own[0]


def test_atomics_of_a_warp_on_one_element_of_shared_memory():
    found = trace(add_in_shared_memory, 1, 64, *vectors(64, 1))
    assert "one atomic for each warp: 2 instead of 64." in advice(found, "own")


# Shared memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "width", "conflict"), [
    (float32, 32, 32), (float32, 34, 2), (float32, 36, 4), (float64, 32, 16)
])  # fmt: skip
def test_padded_rows_have_no_conflict(dtype, width, conflict):
    x, y = np.zeros((2, 32, 32), dtype.name)
    text = advice(trace(tile_kernel(width, dtype), 1, (32, 32), x, y), "tile")
    assert f"reads with a {conflict}-way bank conflict: the elements of neighbouring threads lie {width}" in text
    assert text.endswith(f"Pad its rows by one column, to the shape (32, {width + 1}): no conflict is left.")
    followed = trace(tile_kernel(width + 1, dtype), 1, (32, 32), x, y)
    assert followed.conflict == 1
    assert advice(followed, "tile") == "no bank conflict, nothing to gain."


def strided(dtype, stride):
    size = 32 * stride

    @cuda.jit
    def through_a_vector(x, y):
        tile = cuda.shared.array(size, dtype)
        t = cuda.threadIdx.x
        tile[stride * t] = x[t]
        y[t] = tile[stride * t]

    return through_a_vector


@each("dtype", [float32, float64])
@each("stride", [2, 8, 32])
def test_an_odd_distance_has_no_conflict(dtype, stride):
    x, y = np.zeros((2, 32), dtype.name)
    text = advice(trace(strided(dtype, stride), 1, 32, x, y), "tile")
    assert f"neighbouring threads lie {stride} elements apart" in text
    assert text.endswith("be side by side or an odd number of them apart: no conflict is left.")
    for better in (1, stride + 1):
        assert trace(strided(dtype, better), 1, 32, x, y).conflict == 1


@cuda.jit
def one_pair_collides(x):
    tile = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    tile[32 if t == 7 else t] = x[t]


def test_a_conflict_without_an_order():
    text = advice(trace(one_pair_collides, 1, 32, *vectors(32)), "tile")
    assert "2-way bank conflict, in no regular order. Padded rows do not help" in text


# Accesses of 128 bits -------------------------------------------------------------------------------------------------


def wide(width):
    @cuda.jit
    def through_a_tile(x, y):
        tile = cuda.shared.array((32, width), x.dtype, alignment=16)
        t = cuda.threadIdx.x
        store_four(tile, (t, 0), load_four(x, (t, 0)))
        cuda.syncthreads()
        store_four(y, (t, 0), load_four(tile, (t, 0)))

    return through_a_tile


def test_accesses_of_128_bits():
    memory, y = np.zeros((32, 32), np.float32), np.zeros((32, 4), np.float32)
    found = trace(wide(4), 1, 32, np.zeros((32, 4), np.float32), y)
    assert all("nothing to gain" in text for _, _, text in found.advice())
    found = trace(wide(32), 1, 32, memory, y)
    assert "lie 32 elements apart, 32 sectors where 16 would do" in advice(found, "x")
    assert "8-way bank conflict" in advice(found, "tile")
    assert advice(found, "tile").endswith("Pad its rows by 4 columns, to the shape (32, 36): no conflict is left.")
    assert trace(wide(36), 1, 32, memory, y).conflict == 1  # 4 are the fewest that keep the rows aligned
