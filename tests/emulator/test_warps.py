"""What threads do together beyond shuffles: votes of a block, matches of a warp, barriers of the grid."""

from __future__ import annotations

import numpy as np
import pytest
from numba import cuda, int32

from minidl.emulator import BarrierError, EmulatorError, RaceError, launch, race_detector, trace

ALL = 0xFFFFFFFF

# Blocks ---------------------------------------------------------------------------------------------------------------


@cuda.jit
def block_votes(x, y):
    i = cuda.grid(1)
    y[i, 0] = cuda.syncthreads_count(x[i])
    y[i, 1] = cuda.syncthreads_and(x[i])
    y[i, 2] = cuda.syncthreads_or(x[i])


def test_votes_of_a_block():
    x, y = np.zeros((3, 45), np.int32), np.zeros((3, 45, 3), np.int32)
    x[1, [3, 7, 44]] = 5
    x[2] = -1
    launch(block_votes, 3, 45, x.ravel(), y.reshape(-1, 3))
    assert (y == y[:, :1]).all()
    assert y[:, 0].tolist() == [[0, 0, 0], [3, 0, 1], [45, 1, 1]]


@cuda.jit
def half_of_a_block_votes(y):
    t = cuda.threadIdx.x
    if t < 20:
        y[t] = cuda.syncthreads_count(1)


def test_a_vote_that_some_threads_never_join():
    with pytest.raises(BarrierError, match=r"waits at syncthreads_count on .*, but thread \(20, 0, 0\)"):
        launch(half_of_a_block_votes, 1, 45, np.zeros(45))


# Warps ----------------------------------------------------------------------------------------------------------------


@cuda.jit
def matches(x, y):
    t = cuda.threadIdx.x
    y[t, 0] = cuda.match_any_sync(-1, x[t])
    mask, same = cuda.match_all_sync(-1, x[t])
    y[t, 1] = mask
    y[t, 2] = same
    y[t, 3] = cuda.eq_sync(-1, x[t] > 1)
    y[t, 4] = cuda.lanemask_lt()


@cuda.jit
def predicates_that_are_numbers(x, y):
    t = cuda.threadIdx.x
    y[t, 0] = cuda.eq_sync(-1, x[t])
    y[t, 1] = cuda.all_sync(-1, x[t])
    y[t, 2] = cuda.any_sync(-1, x[t])


@pytest.mark.parametrize(("first", "others", "votes"), [(1, 2, [1, 1, 1]), (0, 2, [0, 0, 1]), (0, 0, [1, 0, 0])])
def test_a_predicate_holds_for_every_number_but_0(first, others, votes):
    x, y = np.full(32, others, np.int32), np.zeros((32, 3), np.int32)
    x[0] = first
    launch(predicates_that_are_numbers, 1, 32, x, y)
    assert (y == votes).all()


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float32, np.float64])
def test_matches_of_a_warp(kind):
    lanes = np.arange(32)
    x, y = (lanes % 3).astype(kind), np.zeros((32, 5), np.int64)
    launch(matches, 1, 32, x, y)
    bits = 2**lanes
    for lane in lanes:
        expected = [bits[x == x[lane]].sum(), 0, 0, 0, bits[:lane].sum()]
        assert (y[lane] % 2**32).tolist() == expected
    x[:] = 4
    launch(matches, 1, 32, x, y)
    assert (y[:, :4] % 2**32 == [2**32 - 1, 2**32 - 1, 1, 1]).all()


def test_matches_compare_bits():
    x, y = np.full(32, np.nan, np.float32), np.zeros((32, 5), np.int64)
    x[:2] = 0.0, -0.0
    launch(matches, 1, 32, x, y)
    assert (y[:4, 0] % 2**32).tolist() == [1, 2, 2**32 - 4, 2**32 - 4]


@cuda.jit
def segments(mode, index, clamp, y, inside):
    t = cuda.threadIdx.x
    value, came = cuda.shfl_sync_intrinsic(-1, mode, t, index, clamp)
    y[t] = value
    inside[t] = came


def test_shuffles_inside_segments():
    lane = np.arange(32)
    y, inside = np.zeros(32, np.int32), np.zeros(32, np.int32)
    eight = 0x18 << 8  # segments of eight lanes
    source = {
        0: lane // 8 * 8 + 3,
        1: np.where(lane % 8 >= 3, lane - 3, lane),
        2: np.where(lane % 8 < 5, lane + 3, lane),
        3: lane ^ 3,
    }
    for mode, expected in source.items():
        launch(segments, 1, 32, mode, 3, eight | (0 if mode == 1 else 31), y, inside)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(inside, (expected != lane) | (mode == 0))
    with pytest.raises(EmulatorError, match="mode got 4; expected 0, 1, 2 or 3"):
        launch(segments, 1, 32, 4, 3, 31, y, inside)


@cuda.jit
def vote(mode, x, ballots, holds):
    t = cuda.threadIdx.x
    ballot, held = cuda.vote_sync_intrinsic(-1, mode, x[t] > 0)
    ballots[t] = ballot
    holds[t] = held


@pytest.mark.parametrize("ones", [0, 5, 32])
def test_votes_by_mode(ones):
    x, ballots, holds = np.arange(32) < ones, np.zeros(32, np.int64), np.zeros(32, np.int64)
    for mode, expected in enumerate([ones == 32, ones > 0, ones != 5]):
        launch(vote, 1, 32, mode, x.astype(np.int32), ballots, holds)
        assert (holds == expected).all() and (ballots == 0).all()
    launch(vote, 1, 32, 3, x.astype(np.int32), ballots, holds)
    assert (ballots % 2**32 == 2**ones - 1).all()


@cuda.jit
def shuffles_by_more_than_a_warp(y):
    t = cuda.threadIdx.x
    y[0, t] = cuda.shfl_up_sync(-1, t, 33)
    y[1, t] = cuda.shfl_down_sync(-1, t, 33)
    y[2, t] = cuda.shfl_xor_sync(-1, t, 33)
    y[3, t] = cuda.shfl_sync(-1, t, 33)


def test_shuffles_take_five_bits_of_their_offset():
    y, lane = np.zeros((4, 32), np.int32), np.arange(32)
    launch(shuffles_by_more_than_a_warp, 1, 32, y)
    np.testing.assert_array_equal(y, [np.maximum(lane - 1, 0), np.minimum(lane + 1, 31), lane ^ 1, np.full(32, 1)])


@cuda.jit
def active_lanes(y):
    t = cuda.threadIdx.x
    if t % 3 == 0:
        y[t] = cuda.activemask()
    cuda.syncwarp()
    if t % 3 == 1:
        y[t] = cuda.activemask()


def test_active_are_the_lanes_that_come_to_the_same_call():
    y = np.zeros(40, np.int64)
    launch(active_lanes, 1, 40, y)
    for t in range(40):
        same = [lane for lane in range(t // 32 * 32, min(t // 32 * 32 + 32, 40)) if lane % 3 == t % 3]
        assert y[t] == (sum(1 << lane % 32 for lane in same) if t % 3 < 2 else 0)


# Grids ----------------------------------------------------------------------------------------------------------------


@cuda.jit
def sum_of_all_blocks(x, partial, y):
    i, t = cuda.grid(1), cuda.threadIdx.x
    tile = cuda.shared.array(40, dtype=int32)
    tile[t] = x[i]
    cuda.syncthreads()
    if t == 0:
        total = 0
        for j in range(cuda.blockDim.x):
            total += tile[j]
        partial[cuda.blockIdx.x] = total
    grid = cuda.cg.this_grid()
    grid.sync()
    total = 0
    for block in range(cuda.gridDim.x):
        total += partial[block]
    y[i] = total + tile[cuda.blockDim.x - 1 - t]  # shared memory outlives the barrier
    grid.sync()
    if t == 0:
        partial[cuda.blockIdx.x] = -1


@pytest.mark.parametrize(("grid", "block"), [(1, 1), (3, 7), (4, 40)])
def test_a_barrier_of_the_grid(grid, block):
    x = np.arange(grid * block, dtype=np.int32) ** 2
    expected = x.sum() + x.reshape(grid, block)[:, ::-1].ravel()
    for watched in (False, True):
        partial, y = np.zeros(grid, np.int32), np.zeros_like(x)
        if watched:
            with race_detector():
                launch(sum_of_all_blocks, grid, block, x, partial, y)
        else:
            launch(sum_of_all_blocks, grid, block, x, partial, y)
        np.testing.assert_array_equal(y, expected)
        assert (partial == -1).all()


def test_a_trace_of_a_kernel_with_a_barrier_of_the_grid():
    x, partial, y = np.ones(80, np.int32), np.zeros(2, np.int32), np.zeros(80, np.int32)
    traced = trace(sum_of_all_blocks, 2, 40, x, partial, y)
    steps = {(a.block, a.array, a.kind): a.step for a in traced.accesses}
    assert all(steps[(block, 0, 0), "y", "write"] == 2 for block in (0, 1))
    reads = [w for w in traced.warp_accesses if w.accesses[0].array == "x"]
    assert [len(w.accesses) for w in reads] == [32, 8, 32, 8]


@cuda.jit
def races_in_spite_of_the_barrier(y):
    cuda.cg.this_grid().sync()
    y[0] = cuda.blockIdx.x


def test_a_race_between_blocks_after_a_barrier_of_the_grid():
    with race_detector(), pytest.raises(RaceError, match="nothing orders two blocks"):
        launch(races_in_spite_of_the_barrier, 2, 1, np.zeros(1, np.int32))


@cuda.jit
def only_one_block_waits(y):
    if cuda.blockIdx.x == 1:
        cuda.cg.this_grid().sync()  # HERE
    y[0] = 1


@cuda.jit
def only_one_thread_waits(y):
    if cuda.threadIdx.x == 0:
        cuda.cg.this_grid().sync()
    y[0] = 1


def test_a_barrier_of_the_grid_that_some_never_reach():
    with pytest.raises(
        BarrierError,
        match=r"kernel only_one_block_waits: block \(1, 0, 0\) waits at this_grid\(\)\.sync on test_warps\.py:\d+, "
        r"but block \(0, 0, 0\) has ended",
    ):
        launch(only_one_block_waits, 3, 5, np.zeros(1))
    with pytest.raises(BarrierError, match=r"thread \(1, 0, 0\) of the same block has ended"):
        launch(only_one_thread_waits, 3, 5, np.zeros(1))
    test_a_barrier_of_the_grid(3, 7)
