"""What the emulator refuses, and that the message says where: kernel, line, block, thread, array and index."""

from __future__ import annotations

import inspect
import math as math_module  # under another name: the emulator must find it by what it is
from pathlib import Path

import numpy as np
import pytest
from numba import cuda, float32, int64
from numba.core.errors import TypingError

from minidl.emulator import BarrierError, EmulatorError, OutOfBoundsError, UninitializedReadError, launch

ALL = 0xFFFFFFFF


def line(kernel, mark="HERE"):
    """ "test_rejects.py:12" of the line in the source of `kernel` that has the mark."""
    lines, first = inspect.getsourcelines(kernel.py_func)
    (number,) = [first + i for i, text in enumerate(lines) if f"# {mark}" in text]
    return f"test_rejects.py:{number}"


def refusal(kind, kernel, *arguments, grid=(1,), block=(1,)):
    """The message of the error of that very kind with which the launch ends."""
    with pytest.raises(kind) as info:
        launch(kernel, grid, block, *arguments)
    assert type(info.value) is kind
    return str(info.value)


# Indices --------------------------------------------------------------------------------------------------------------


@cuda.jit
def read_vector(x, i, y):
    y[0] = x[i]  # HERE


@cuda.jit
def write_vector(x, i, y):
    x[i] = y[0]  # HERE


@cuda.jit
def read_matrix(x, r, j, y):
    y[0] = x[r, j]  # HERE


@cuda.jit
def write_matrix(x, r, j, y):
    x[r, j] = y[0]  # HERE


@pytest.mark.parametrize("kernel", [read_vector, write_vector])
@pytest.mark.parametrize("index", [5, 6, 10**9, -1, -5, -6])
def test_an_index_outside_a_vector(kernel, index):
    message = refusal(OutOfBoundsError, kernel, np.ones(5), index, np.ones(1))
    name = kernel.py_func.__name__
    assert message == (
        f"kernel {name}, block (0, 0, 0), thread (0, 0, 0), {line(kernel)}: x[{index}] is outside the array, "
        f"whose shape is (5,)"
    )


@pytest.mark.parametrize("kernel", [read_matrix, write_matrix])
@pytest.mark.parametrize("index", [(3, 0), (0, 4), (0, 11), (-1, 0), (0, -1), (-3, -4), (2, -1)])
def test_an_index_outside_a_matrix(kernel, index):
    message = refusal(OutOfBoundsError, kernel, np.ones((3, 4)), *index, np.ones(1))
    assert f"{line(kernel)}: x[{index[0]}, {index[1]}] is outside the array, whose shape is (3, 4)" in message


def test_the_same_for_three_dimensions():
    @cuda.jit
    def read(x, y):
        y[0] = x[1, 2, -1]

    message = refusal(OutOfBoundsError, read, np.ones((2, 3, 4)), np.ones(1))
    assert "x[1, 2, -1] is outside the array, whose shape is (2, 3, 4)" in message


@cuda.jit
def index_block_arrays(which, write, i):
    tile = cuda.shared.array((2, 3), float32)
    row = cuda.local.array(4, float32)
    line_buffer = cuda.shared.array(5, float32)
    if which == 0 and write:
        tile[1, i] = float32(1)
    if which == 0:
        line_buffer[0] = tile[1, i]
    if which == 1 and write:
        row[i] = float32(1)
    if which == 1:
        line_buffer[0] = row[i]
    if which == 2 and write:
        line_buffer[i] = float32(1)
    if which == 2:
        line_buffer[0] = line_buffer[i]


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(("which", "index", "expected"), [
    (0, 3, "shared array tile[1, 3] is outside the array, whose shape is (2, 3)"),
    (0, -1, "shared array tile[1, -1] is outside the array, whose shape is (2, 3)"),
    (1, 4, "local array row[4] is outside the array, whose shape is (4,)"),
    (1, -1, "local array row[-1] is outside the array, whose shape is (4,)"),
    (2, 5, "shared array line_buffer[5] is outside the array, whose shape is (5,)"),
    (2, -5, "shared array line_buffer[-5] is outside the array, whose shape is (5,)"),
])  # fmt: skip
def test_an_index_outside_shared_or_local_memory(which, write, index, expected):
    assert expected in refusal(OutOfBoundsError, index_block_arrays, which, write, index)


@cuda.jit
def fails_in_one_thread(x):
    i, j = cuda.grid(2)
    if i == 7 and j == 4:
        x[7] = 0  # HERE
    else:
        x[0] = 1


def test_the_message_names_block_and_thread():
    message = refusal(OutOfBoundsError, fails_in_one_thread, np.zeros(3), grid=(2, 3), block=(4, 2))
    assert (
        f"kernel fails_in_one_thread, block (1, 2, 0), thread (3, 0, 0), {line(fails_in_one_thread)}: x[7]" in message
    )


@cuda.jit(device=True)
def reads_too_far(vector, i):
    return vector[i + 1]  # HERE


@cuda.jit
def calls_it(x, tile_size, y):
    scratch = cuda.shared.array(4, float32)
    for i in range(tile_size):
        scratch[i] = x[i]
    y[0] = reads_too_far(scratch, 2) + reads_too_far(scratch, 3)


def test_the_line_is_that_of_the_device_function_and_the_array_that_of_its_origin():
    message = refusal(OutOfBoundsError, calls_it, np.ones(4), 4, np.ones(1))
    assert f"kernel calls_it, block (0, 0, 0), thread (0, 0, 0), {line(reads_too_far)}: " in message
    assert "shared array scratch[4] is outside" in message


def test_numba_refuses_a_wrong_number_of_indices_or_a_wrong_kind():
    @cuda.jit
    def two_for_one(x):
        x[0, 0] = 1  # HERE

    @cuda.jit
    def fraction(x):
        x[1.5] = 1  # HERE

    @cuda.jit
    def shared_fraction(x):
        tile = cuda.shared.array((2, 2), float32)
        tile[0, 0.5] = x[0]  # HERE

    for kernel in (two_for_one, fraction, shared_fraction):
        number = line(kernel).rpartition(":")[2]
        with pytest.raises(TypingError, match=rf'test_rejects\.py", line {number}') as found:
            launch(kernel, 1, 1, np.ones(2))
        assert "_typed" not in str(found.value) and found.value.__suppress_context__  # said once, in the words of Numba
        assert "numba" not in {Path(entry.path).parent.name for entry in found.traceback}


def test_an_index_outside_a_global_table():
    table = np.ones(3)

    @cuda.jit
    def reads_table(y):
        y[0] = table[-1]

    assert "table[-1] is outside" in refusal(OutOfBoundsError, reads_table, np.ones(1))


# Reading what nobody wrote --------------------------------------------------------------------------------------------


@cuda.jit
def read_unwritten(kind, y):
    tile = cuda.shared.array((2, 3), float32)
    row = cuda.local.array(4, float32)
    tile[0, 1] = row[2] = float32(1)
    if kind == 0:
        y[0] = tile[1, 1]  # HERE
    else:
        y[0] = row[3]


def test_a_read_before_any_write():
    message = refusal(UninitializedReadError, read_unwritten, 0, np.ones(1))
    assert message == (
        f"kernel read_unwritten, block (0, 0, 0), thread (0, 0, 0), {line(read_unwritten)}: "
        f"shared array tile[1, 1] is read, but no thread has written it since the block began"
    )
    assert "local array row[3] is read" in refusal(UninitializedReadError, read_unwritten, 1, np.ones(1))


@cuda.jit
def only_block_0_writes(y):
    tile = cuda.shared.array(1, float32)
    if cuda.blockIdx.x == 0:
        tile[0] = float32(1)
    y[cuda.blockIdx.x] = tile[0]


@cuda.jit
def only_thread_0_writes(y):
    mine = cuda.local.array(1, float32)
    if cuda.threadIdx.x == 0:
        mine[0] = float32(1)
    y[cuda.threadIdx.x] = mine[0]


def test_what_another_block_or_thread_wrote_does_not_count():
    assert "block (1, 0, 0)" in refusal(UninitializedReadError, only_block_0_writes, np.ones(2), grid=(2,))
    assert "thread (1, 0, 0)" in refusal(UninitializedReadError, only_thread_0_writes, np.ones(2), block=(2,))


# Barriers -------------------------------------------------------------------------------------------------------------


@cuda.jit
def early_return(x):
    i = cuda.grid(1)
    if i >= x.size:
        return
    cuda.syncthreads()  # HERE
    x[i] += 1


@cuda.jit
def barrier_in_one_branch(x):
    if cuda.threadIdx.x < 2:
        cuda.syncthreads()  # HERE
    x[cuda.threadIdx.x] += 1


@cuda.jit
def barriers_in_both_branches(x):
    if cuda.threadIdx.x < 2:
        cuda.syncthreads()  # HERE
    else:
        cuda.syncthreads()  # THERE
    x[cuda.threadIdx.x] += 1


@cuda.jit
def loops_of_different_length(x):
    for _ in range(cuda.threadIdx.x + 1):
        cuda.syncthreads()  # HERE
    x[cuda.threadIdx.x] += 1


def test_a_barrier_that_some_threads_never_reach():
    message = refusal(BarrierError, early_return, np.zeros(6), grid=(2,), block=(4,))
    assert message == (
        f"kernel early_return, block (1, 0, 0): thread (0, 0, 0) waits at syncthreads on {line(early_return)}, but "
        f"thread (2, 0, 0) of the same block has ended; all of them must reach it"
    )
    message = refusal(BarrierError, barrier_in_one_branch, np.zeros(4), block=(4,))
    assert f"(0, 0, 0) waits at syncthreads on {line(barrier_in_one_branch)}" in message
    assert "(2, 0, 0) of the same block has ended" in message
    message = refusal(BarrierError, loops_of_different_length, np.zeros(3), block=(3,))
    assert f"(1, 0, 0) waits at syncthreads on {line(loops_of_different_length)}" in message
    assert "(0, 0, 0) of the same block has ended" in message


def test_two_barriers_in_two_branches_are_not_one():
    message = refusal(BarrierError, barriers_in_both_branches, np.zeros(4), block=(4,))
    assert f"thread (0, 0, 0) waits at syncthreads on {line(barriers_in_both_branches)}" in message
    there = line(barriers_in_both_branches, "THERE")
    assert f"thread (2, 0, 0) of the same block waits at syncthreads on {there}" in message


@cuda.jit(device=True)
def wait_if(condition):
    if condition:
        cuda.syncthreads()  # HERE


@cuda.jit
def hidden_barrier(x):
    wait_if(cuda.threadIdx.x != 1)
    x[cuda.threadIdx.x] += 1


def test_a_barrier_in_a_device_function():
    message = refusal(BarrierError, hidden_barrier, np.zeros(4), block=(4,))
    assert f"waits at syncthreads on {line(wait_if)}, but thread (1, 0, 0)" in message


def test_block_that_just_fits_passes():
    x = np.zeros(8)
    launch(early_return, (2,), (4,), x)
    np.testing.assert_array_equal(x, 1)


# Warps ----------------------------------------------------------------------------------------------------------------


@cuda.jit
def lane_leaves(x):
    i = cuda.grid(1)
    if i >= x.size:
        return
    x[i] = cuda.shfl_xor_sync(ALL, x[i], 1)  # HERE


@cuda.jit
def lane_waits_elsewhere(x):
    i = cuda.threadIdx.x
    if i < 16:
        x[i] = cuda.shfl_down_sync(ALL, x[i], 1)  # HERE
    else:
        cuda.syncthreads()  # THERE


@cuda.jit
def different_exchanges(x):
    i = cuda.threadIdx.x
    if i % 2:
        x[i] = cuda.shfl_up_sync(ALL, x[i], 1)  # HERE
    else:
        x[i] = cuda.shfl_down_sync(ALL, x[i], 1)  # THERE


@cuda.jit
def different_masks(x):
    i = cuda.threadIdx.x
    x[i] = cuda.shfl_sync(0xFFFF if i < 16 else ALL, x[i], 0)


@cuda.jit
def mask_without_itself(x):
    i = cuda.threadIdx.x
    x[i] = cuda.shfl_sync(0xFFFF, x[i], 0)


@cuda.jit
def reads_from_nobody(x):
    i = cuda.threadIdx.x
    x[i] = cuda.shfl_xor_sync(ALL, x[i], 16)


def test_an_exchange_that_a_lane_never_reaches():
    message = refusal(BarrierError, lane_leaves, np.zeros(40), block=(64,))
    assert message == (
        f"kernel lane_leaves, block (0, 0, 0): thread (32, 0, 0) waits at shfl_xor_sync on {line(lane_leaves)} with "
        f"mask 0xffffffff, but thread (40, 0, 0) of the same warp has ended; all of them must reach it"
    )
    message = refusal(BarrierError, lane_waits_elsewhere, np.zeros(32), block=(32,))
    assert f"(0, 0, 0) waits at shfl_down_sync on {line(lane_waits_elsewhere)} with mask 0xffffffff" in message
    assert f"(16, 0, 0) of the same warp waits at syncthreads on {line(lane_waits_elsewhere, 'THERE')}" in message
    message = refusal(BarrierError, different_exchanges, np.zeros(32), block=(32,))
    assert "(0, 0, 0) waits at shfl_down_sync" in message
    assert "(1, 0, 0) of the same warp waits at shfl_up_sync" in message


def test_lanes_with_different_masks():
    message = refusal(BarrierError, different_masks, np.zeros(32), block=(32,))
    assert "waits at shfl_sync" in message and "mask 0xffff" in message and "mask 0xffffffff" in message


def test_a_mask_that_leaves_out_the_lane_itself():
    message = refusal(BarrierError, mask_without_itself, np.zeros(32), block=(32,))
    assert "thread (16, 0, 0) waits at shfl_sync" in message and "leaves out its own lane" in message


def test_a_value_from_a_lane_that_does_not_exist():
    message = refusal(EmulatorError, reads_from_nobody, np.zeros(8), block=(8,))
    assert "thread (0, 0, 0)" in message and "reads from lane 16, which takes no part" in message


# Launches and names ---------------------------------------------------------------------------------------------------


def test_a_launch_that_no_gpu_takes():
    x = np.zeros(1)
    for block in [(2048,), (32, 33), (1, 1, 65)]:
        with pytest.raises(ValueError, match="block got"):
            launch(early_return, (1,), block, x)
    for grid in [(1, 65536), (0,), (), (1, 1, 1, 1), (1.5,)]:
        with pytest.raises(ValueError, match="grid got"):
            launch(early_return, grid, (1,), x)


def test_a_wrong_number_of_arguments():
    for arguments in [(), (np.zeros(1), 2)]:
        expected = f"kernel early_return got {len(arguments)} arguments; expected x"
        with pytest.raises(TypeError, match=expected):
            launch(early_return, (1,), (1,), *arguments)


def test_something_that_is_no_kernel():
    with pytest.raises(TypeError, match="kernel got .*expected a function decorated with @cuda.jit"):
        launch(lambda x: None, (1,), (1,), np.zeros(1))


def test_names_that_the_emulator_does_not_know():
    @cuda.jit
    def unknown_function(x):
        x[0] = cuda.textures(x.size)

    @cuda.jit
    def unknown_atomic(x):
        cuda.atomic.mul(x, 0, 1)

    @cuda.jit
    def dictionary(x):
        table = {0: 1}
        x[0] = table[0]

    @cuda.jit
    def unknown_math(x):
        x[0] = math_module.no_such_function(x[0])

    @cuda.jit
    def unknown_method(x):
        x[0] = x.astype(np.int32)[0]  # HERE

    found = refusal(EmulatorError, unknown_method, np.zeros(1))
    assert found == f"{line(unknown_method)}: the emulator does not know astype of an array"
    assert "does not know '{0: 1}' in a kernel" in refusal(EmulatorError, dictionary, np.zeros(1))
    assert "does not know cuda.textures" in refusal(EmulatorError, unknown_function, np.zeros(1))
    assert "does not know cuda.atomic.mul" in refusal(EmulatorError, unknown_atomic, np.zeros(1))
    assert "does not know math_module.no_such_function" in refusal(EmulatorError, unknown_math, np.zeros(1))


def test_functions_that_numba_does_not_know_and_what_is_not_defined():
    @cuda.jit(device=True)
    def undefined(x):
        return no_such_name + x  # noqa: F821  # HERE

    @cuda.jit
    def calls(x):
        x[0] = undefined(1)

    @cuda.jit
    def unknown_to_numba(x):
        x[0] = math_module.gcd(4, 6)  # HERE

    found = refusal(TypingError, unknown_to_numba, np.zeros(1))
    assert f"{line(unknown_to_numba)}: a kernel cannot use math_module.gcd: it is not defined, or unknown to" in found
    assert f"{line(undefined)}: a kernel cannot use no_such_name" in refusal(TypingError, calls, np.zeros(1))


def test_a_mistake_beside_functions_that_call_each_other():
    @cuda.jit(device=True)
    def even(n):
        return True if n == 0 else odd(n - 1)

    @cuda.jit(device=True)
    def odd(n):
        return False if n == 0 else even(n - 1)

    @cuda.jit
    def kernel(x):
        x[0] = "text" if even(4) else 1.0

    assert "text" in refusal(TypingError, kernel, np.zeros(1))


def test_more_shared_memory_than_a_block_has():
    @cuda.jit
    def takes_too_much(y):
        a = cuda.shared.array((64, 64), float32)
        b = cuda.shared.array((64, 65), int64)
        y[0] = a.size + b.size

    message = refusal(EmulatorError, takes_too_much, np.zeros(1))
    assert "49664 bytes of shared memory; a block has 49152" in message
