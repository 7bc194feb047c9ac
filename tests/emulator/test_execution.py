"""What a correct kernel finds in the emulator: indices, memory, barriers, warps, arithmetic."""

from __future__ import annotations

import gc
import math
import sys
import threading
import warnings

import numpy as np
import pytest
from numba import cuda, float32, float64, int64, uint32

from minidl.emulator import EmulatorError, launch

ALL = 0xFFFFFFFF

GRIDS = [
    ((3,), (5,)),
    ((3, 2), (4, 2)),
    ((2, 3, 2), (3, 2, 4)),
]


# Indices --------------------------------------------------------------------------------------------------------------


@cuda.jit
def note_indices(blocks, threads, sizes, visits):
    x, y, z = cuda.grid(3)
    blocks[x, y, z, 0], blocks[x, y, z, 1], blocks[x, y, z, 2] = cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
    threads[x, y, z, 0], threads[x, y, z, 1], threads[x, y, z, 2] = cuda.threadIdx.x, cuda.threadIdx.y, cuda.threadIdx.z
    visits[x, y, z] += 1
    sizes[0], sizes[1], sizes[2] = cuda.gridDim.x, cuda.gridDim.y, cuda.gridDim.z
    sizes[3], sizes[4], sizes[5] = cuda.blockDim.x, cuda.blockDim.y, cuda.blockDim.z


@pytest.mark.parametrize(("grid", "block"), GRIDS)
def test_every_thread_of_the_grid_runs_once_with_its_indices(grid, block):
    grid3, block3 = np.array([*grid, 1, 1][:3]), np.array([*block, 1, 1][:3])
    shape = tuple(grid3 * block3)
    blocks, threads = np.full((*shape, 3), -1), np.full((*shape, 3), -1)
    sizes, visits = np.zeros(6, int), np.zeros(shape, int)
    launch(note_indices, grid, block, blocks, threads, sizes, visits)
    assert (visits == 1).all()
    assert sizes.tolist() == [*grid3, *block3]
    position = np.moveaxis(np.indices(shape), 0, -1)
    np.testing.assert_array_equal(blocks, position // block3)
    np.testing.assert_array_equal(threads, position % block3)


@cuda.jit
def note_grid_1(positions, sizes):
    positions[cuda.grid(1)] = cuda.threadIdx.x + cuda.blockIdx.x * cuda.blockDim.x
    sizes[0] = cuda.gridsize(1)


@cuda.jit
def note_grid_2(positions, sizes):
    x, y = cuda.grid(2)
    positions[x, y] = 100 * x + y
    sizes[0], sizes[1] = cuda.gridsize(2)


@cuda.jit
def note_grid_3(positions, sizes):
    x, y, z = cuda.grid(3)
    positions[x, y, z] = 100 * x + 10 * y + z
    sizes[0], sizes[1], sizes[2] = cuda.gridsize(3)


@pytest.mark.parametrize(("kernel", "config", "weights"), [
    (note_grid_1, GRIDS[0], [1]),
    (note_grid_2, GRIDS[1], [100, 1]),
    (note_grid_3, GRIDS[2], [100, 10, 1]),
])  # fmt: skip
def test_grid_and_gridsize(kernel, config, weights):
    grid, block = config
    shape = tuple(np.multiply(grid, block))
    positions, sizes = np.full(shape, -1), np.zeros(len(shape), int)
    launch(kernel, grid, block, positions, sizes)
    assert tuple(sizes) == shape
    np.testing.assert_array_equal(positions, sum(w * axis for w, axis in zip(weights, np.indices(shape), strict=True)))


@cuda.jit
def note_lanes(lanes):
    linear = (cuda.threadIdx.z * cuda.blockDim.y + cuda.threadIdx.y) * cuda.blockDim.x + cuda.threadIdx.x
    lanes[linear] = 100 * cuda.warpsize + cuda.laneid


def test_lanes_count_along_x_then_y_then_z():
    lanes = np.zeros(70, int)
    launch(note_lanes, (1,), (7, 5, 2), lanes)
    np.testing.assert_array_equal(lanes, 3200 + np.arange(70) % 32)


@cuda.jit
def keep_the_index_object(y):
    index = cuda.threadIdx
    cuda.syncthreads()
    y[index.x] = index.x


def test_an_index_kept_over_a_barrier_stays_that_of_the_thread():
    y = np.zeros(40, int)
    launch(keep_the_index_object, (1,), (40,), y)
    np.testing.assert_array_equal(y, np.arange(40))


# Memory ---------------------------------------------------------------------------------------------------------------


@cuda.jit
def two_arrays_on_one_line(y):
    a, b = cuda.shared.array(8, float32), cuda.shared.array(8, float32)  # Numba's simulator gives one array for both
    t = cuda.threadIdx.x
    a[t] = t
    b[t] = 10 * t
    cuda.syncthreads()
    y[t] = a[7 - t] + b[7 - t]


def test_two_shared_arrays_on_one_line_are_two():
    y = np.zeros(8, np.float32)
    launch(two_arrays_on_one_line, (1,), (8,), y)
    np.testing.assert_array_equal(y, 11 * np.arange(8)[::-1])


@cuda.jit
def one_array_for_each_call(y):
    t = cuda.threadIdx.x
    for i in range(3):
        tile = cuda.shared.array(4, int64)  # one array, made when the kernel is compiled, as often as the line runs
        if i == 0:
            tile[t] = t
        cuda.syncthreads()
        y[i, t] = tile[3 - t]
        cuda.syncthreads()


def test_a_shared_array_in_a_loop_is_one_array():
    y = np.zeros((3, 4), int)
    launch(one_array_for_each_call, (1,), (4,), y)
    np.testing.assert_array_equal(y, np.tile([3, 2, 1, 0], (3, 1)))


@cuda.jit
def array_in_a_branch(y):
    t = cuda.threadIdx.x
    if t < 2:
        extra = cuda.shared.array(2, int64)
        extra[t] = -1
    tile = cuda.shared.array(4, int64)
    tile[t] = t
    cuda.syncthreads()
    y[t] = tile[3 - t]


def test_a_shared_array_that_only_some_threads_ask_for_shifts_no_other():
    y = np.zeros(4, int)
    launch(array_in_a_branch, (1,), (4,), y)
    np.testing.assert_array_equal(y, [3, 2, 1, 0])


@cuda.jit
def shared_by_block(y):
    total = cuda.shared.array(1, int64)
    if cuda.threadIdx.x == 0:
        total[0] = 0
    cuda.syncthreads()
    total[0] += 1
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        y[cuda.blockIdx.x] = total[0]


def test_shared_memory_belongs_to_one_block():
    y = np.zeros(5, int)
    launch(shared_by_block, (5,), (33,), y)
    np.testing.assert_array_equal(y, 33)


@cuda.jit
def local_by_thread(y):
    mine = cuda.local.array((2, 2), float64)
    t = cuda.threadIdx.x
    mine[0, 1] = t
    cuda.syncthreads()
    y[t] = mine[0, 1]


def test_local_memory_belongs_to_one_thread():
    y = np.zeros(6)
    launch(local_by_thread, (1,), (6,), y)
    np.testing.assert_array_equal(y, np.arange(6))


@cuda.jit
def ask_arrays(x, y):
    tile = cuda.shared.array((3, 5), x.dtype)
    y[0], y[1], y[2], y[3] = x.shape[0], x.shape[1], x.size, x.ndim
    y[4], y[5], y[6], y[7] = tile.shape[0], tile.shape[1], tile.size, tile.ndim
    y[8], y[9] = len(x), len(tile)


def test_arrays_know_their_shape():
    y = np.zeros(10, int)
    launch(ask_arrays, (1,), (1,), np.zeros((2, 7), np.float32), y)
    assert y.tolist() == [2, 7, 14, 2, 3, 5, 15, 2, 2, 3]


@cuda.jit
def sum_by_iteration(x, y):
    tile = cuda.shared.array(3, float32)
    for i in range(3):
        tile[i] = i + 1
    for value in x:
        y[0] += value
    for value in tile:
        y[0] += value


def test_arrays_can_be_walked_over():
    y = np.zeros(1, np.float32)
    launch(sum_by_iteration, (1,), (1,), np.array([10, 20], np.float32), y)
    assert y[0] == 36


@cuda.jit
def copy_rows(x, y):
    j, r = cuda.grid(2)
    if r < x.shape[0] and j < x.shape[1]:
        y[r, j] = x[r, j]


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]])
def test_arrays_of_any_layout(layout):
    x = np.arange(15.0).reshape(3, 5)
    y = layout(np.zeros((3, 5)))
    launch(copy_rows, (1, 1), (8, 8), layout(x), y)
    np.testing.assert_array_equal(y, x)


def test_a_read_only_array_is_not_written():
    y = np.zeros((2, 2))
    y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        launch(copy_rows, (1, 1), (2, 2), np.ones((2, 2)), y)


# Barriers and warps ---------------------------------------------------------------------------------------------------


@cuda.jit
def reverse(x):
    tile = cuda.shared.array(200, float64)
    t = cuda.threadIdx.x
    tile[t] = x[t]
    cuda.syncthreads()
    x[t] = tile[199 - t]


def test_after_a_barrier_every_thread_has_written():
    x = np.arange(200.0)
    launch(reverse, (1,), (200,), x)
    np.testing.assert_array_equal(x, np.arange(200.0)[::-1])


@cuda.jit
def shuffles(y):
    t = cuda.threadIdx.x
    value = 10 * t
    y[0, t] = cuda.shfl_sync(ALL, value, 3)
    y[1, t] = cuda.shfl_xor_sync(ALL, value, 5)
    y[2, t] = cuda.shfl_up_sync(ALL, value, 2)
    y[3, t] = cuda.shfl_down_sync(ALL, value, 2)


def test_shuffles_exchange_inside_a_warp():
    y = np.zeros((4, 64), int)
    launch(shuffles, (1,), (64,), y)
    lane, first = np.arange(64) % 32, np.arange(64) // 32 * 32
    np.testing.assert_array_equal(y[0], 10 * (first + 3))
    np.testing.assert_array_equal(y[1], 10 * (first + (lane ^ 5)))
    np.testing.assert_array_equal(y[2], 10 * (first + np.where(lane < 2, lane, lane - 2)))
    np.testing.assert_array_equal(y[3], 10 * (first + np.where(lane > 29, lane, lane + 2)))


@cuda.jit
def half_warps(y):
    t = cuda.threadIdx.x
    if t < 16:
        y[t] = cuda.shfl_xor_sync(0x0000FFFF, t, 1)
    else:
        y[t] = cuda.shfl_xor_sync(0xFFFF0000, 100 * t, 2)


def test_the_halves_of_a_warp_may_exchange_on_their_own():
    y = np.zeros(32, int)
    launch(half_warps, (1,), (32,), y)
    t = np.arange(32)
    np.testing.assert_array_equal(y, np.where(t < 16, t ^ 1, 100 * (t ^ 2)))


@cuda.jit
def through_syncwarp(y):
    tile = cuda.shared.array(32, int64)
    t = cuda.threadIdx.x
    tile[t] = t
    cuda.syncwarp()
    y[t] = tile[31 - t]


def test_after_syncwarp_every_lane_has_written():
    y = np.zeros(32, int)
    launch(through_syncwarp, (1,), (32,), y)
    np.testing.assert_array_equal(y, np.arange(32)[::-1])


@cuda.jit
def warps_of_different_length(y):
    total = cuda.shared.array(3, float32)
    warp, value = cuda.threadIdx.y, float32(1)
    for _ in range(warp):  # warp w exchanges w times before it comes to the barrier
        value += cuda.shfl_xor_sync(ALL, value, 1)
    if cuda.threadIdx.x == 0:
        total[warp] = value
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        y[warp] = total[2 - warp]


def test_warps_may_exchange_at_their_own_pace_between_barriers():
    y = np.zeros(3, np.float32)
    launch(warps_of_different_length, (1,), (32, 3), y)
    np.testing.assert_array_equal(y, [4, 2, 1])


# Functions ------------------------------------------------------------------------------------------------------------


@cuda.jit(device=True)
def twice(value):
    return value + value


@cuda.jit(device=True)
def four_times(value):
    return twice(twice(value))


@cuda.jit(device=True)
def swap_with_neighbour(tile):
    t = cuda.threadIdx.x
    cuda.syncthreads()
    return tile[t ^ 1]


@cuda.jit
def calls_device_functions(y):
    tile = cuda.shared.array(8, int64)
    t = cuda.threadIdx.x
    tile[t] = four_times(t)
    y[t] = swap_with_neighbour(tile)


def test_device_functions_may_call_others_and_wait():
    y = np.zeros(8, int)
    launch(calls_device_functions, (1,), (8,), y)
    np.testing.assert_array_equal(y, 4 * (np.arange(8) ^ 1))


def kernel_for(function, constant):
    @cuda.jit
    def apply(y):
        t = cuda.grid(1)
        y[t] = function(t) + constant

    return apply


def test_a_kernel_keeps_what_it_closes_over():
    y, z = np.zeros(4, int), np.zeros(4, int)
    launch(kernel_for(twice, 100), (1,), (4,), y)
    launch(kernel_for(four_times, 7), (1,), (4,), z)
    np.testing.assert_array_equal(y, 2 * np.arange(4) + 100)
    np.testing.assert_array_equal(z, 4 * np.arange(4) + 7)


# Arithmetic -----------------------------------------------------------------------------------------------------------

HALF = np.float32(0.5)


@cuda.jit
def typed_math(x, scale, y):
    i = cuda.grid(1)
    value = x[i] * HALF
    value = math.exp(value) + math.sqrt(value) + math.log1p(value) + math.tanh(value) + math.erf(value)
    y[i] = value * scale
    y[i] = math.pow(value, HALF) - value * scale


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic_and_math_keep_the_dtype(dtype):
    x, y = np.array([1.5], dtype), np.zeros(1, dtype)
    launch(typed_math, (1,), (1,), x, dtype(3), y)
    value = dtype(0.75)
    value = np.exp(value) + np.sqrt(value) + np.log1p(value) + np.tanh(value) + dtype(math.erf(value))
    assert y[0] == np.power(value, HALF) - value * dtype(3)


@cuda.jit
def note_type(argument, y):
    y[0] = (float32(1) / float32(3)) * argument


def test_a_python_float_argument_is_a_float64_as_on_the_gpu():
    y = np.zeros(1)
    launch(note_type, (1,), (1,), 1.0, y)
    assert y[0] == np.float64(np.float32(1) / np.float32(3))
    launch(note_type, (1,), (1,), 1 + 2**-40, y)  # float32 would lose the second term
    assert y[0] != np.float64(np.float32(1) / np.float32(3))


@cuda.jit
def wrap_around(word, wait, y):
    if wait:
        cuda.syncthreads()
    y[0] = uint32(word + uint32(5))
    y[1] = uint32(word * word)
    y[2] = uint32(uint32(3) - word)


@cuda.jit
def overflow(y):
    y[0] = math.exp(float32(1000))
    y[1] = float32(1) / y[2]
    y[3] = math.log(y[2] - float32(1))


@pytest.mark.parametrize("wait", [False, True])  # inside a greenlet too
def test_unsigned_words_wrap_around_without_a_warning(wait):
    y = np.zeros(3, np.uint32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        launch(wrap_around, (1,), (1,), np.uint32(2**32 - 2), wait, y)
    assert y.tolist() == [3, 4, 5]


def test_overflow_and_division_by_zero_give_infinity_and_nan_without_a_warning():
    y = np.zeros(4, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        launch(overflow, (1,), (1,), y)
    np.testing.assert_array_equal(y, np.array([np.inf, np.inf, 0, np.nan], np.float32))


def test_the_caller_keeps_its_own_settings_for_warnings():
    with np.errstate(over="raise"):
        launch(overflow, (1,), (1,), np.zeros(4, np.float32))
        with pytest.raises(FloatingPointError):
            np.float32(1e30) * np.float32(1e30)


# The emulator itself --------------------------------------------------------------------------------------------------


@cuda.jit
def fails_in_the_middle(x, y):
    t = cuda.threadIdx.x
    y[t] = 1
    cuda.syncthreads()
    if t == 3:
        y[t] = x[99]
    cuda.syncthreads()


def test_an_error_leaves_the_emulator_usable():
    for _ in range(3):
        with pytest.raises(EmulatorError):
            launch(fails_in_the_middle, (1,), (40,), np.zeros(4), np.zeros(40))
        test_after_a_barrier_every_thread_has_written()
        test_shuffles_exchange_inside_a_warp()


@cuda.jit
def divides(x, y):
    cuda.syncthreads()
    if x == 0:
        raise ZeroDivisionError("x is 0")
    y[0] = 1 // x


def test_an_error_of_python_itself_comes_through():
    with pytest.raises(ZeroDivisionError):
        launch(divides, (1,), (4,), 0, np.zeros(1, int))
    test_after_a_barrier_every_thread_has_written()


def test_launches_from_several_threads_do_not_mix():
    failures = []

    def work():
        try:
            for _ in range(5):
                test_after_a_barrier_every_thread_has_written()
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_no_array_is_kept_alive():
    collected = []

    class Watched(np.ndarray):
        def __del__(self):
            collected.append(self.shape)

    x = np.arange(200.0).view(Watched)
    launch(reverse, (1,), (200,), x)
    del x
    gc.collect()
    assert (200,) in collected


def test_a_global_array_is_a_constant_of_the_kernel():
    y = np.zeros(3)
    launch(uses_table, (1,), (3,), y)
    np.testing.assert_array_equal(y, TABLE)


TABLE = np.array([2.0, 3.0, 5.0])


@cuda.jit
def uses_table(y):
    t = cuda.threadIdx.x
    y[t] = TABLE[t]


# A debugger -----------------------------------------------------------------------------------------------------------


def test_a_kernel_stops_at_its_breakpoint(monkeypatch):
    @cuda.jit
    def kernel(x):
        i = cuda.grid(1)
        if i == 1:
            breakpoint()
        x[i] += i

    seen = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(sys._getframe(1)))
    x = np.zeros(3)
    launch(kernel, 1, 3, x)
    (frame,) = seen
    assert (frame.f_code.co_name, frame.f_code.co_filename, frame.f_locals["i"]) == ("kernel", __file__, 1)
    assert x.tolist() == [0, 1, 2]
