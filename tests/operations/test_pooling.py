"""Max pooling over any grid of regions, and the random grid of fractional pooling, on every backend."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, drawn, eps, huge, inout, out, run, seeds

KEY = np.array([0xDEADBEEF, 0x01234567], np.uint32)


def windows(pixels, size, stride):
    """The slices of windows of `size` in steps of `stride`."""
    return [slice(start, start + size) for start in range(0, pixels - size + 1, stride)]


# (batch, channels, (height, width), rows, columns): blocks have 256 threads.
GRIDS = {
    "one pixel": (1, 1, (1, 1), windows(1, 1, 1), windows(1, 1, 1)),
    "the whole image": (3, 2, (5, 7), [slice(0, 5)], [slice(0, 7)]),
    "side by side": (5, 3, (6, 4), windows(6, 2, 2), windows(4, 2, 2)),
    "a rest at the end": (2, 1, (7, 5), windows(7, 2, 2), windows(5, 3, 3)),
    "overlapping": (4, 2, (7, 9), windows(7, 3, 2), windows(9, 4, 1)),
    "with gaps": (3, 2, (9, 8), windows(9, 2, 3), windows(8, 1, 3)),
    "of unequal size": (7, 2, (6, 5), [slice(0, 1), slice(1, 4), slice(3, 6)], [slice(0, 3), slice(3, 5)]),
    "many blocks": (33, 3, (9, 11), windows(9, 3, 1), windows(11, 2, 1)),
}


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


def bounds(rows, columns):
    """The four arrays of bounds."""
    values = [[getattr(s, end) for s in slices] for slices in (rows, columns) for end in ("start", "stop")]
    return [np.array(value, np.int32) for value in values]


def forward(backend, x, shape, rows, columns):
    """y and winner."""
    cells = len(x), x.shape[1] // (shape[0] * shape[1]) * len(rows) * len(columns)
    winner = inout(np.full(cells, -1, np.int32))
    return run(backend, "max_pool_forward", x, *shape, *bounds(rows, columns), out(x.dtype, *cells), winner)


def check_forward(backend, x, channels, shape, rows, columns):
    y, winner = forward(backend, x, shape, rows, columns)
    expected_y, expected_winner = reference.max_pool(x, channels, *shape, rows, columns)
    assert_same_bits(y, expected_y)
    np.testing.assert_array_equal(winner, expected_winner)
    return winner


def check_both(backend, dtype, rng, batch, channels, shape, rows, columns):
    pixels = channels * shape[0] * shape[1]
    # Whole numbers: many ties.
    for x in (rng.normal(size=(batch, pixels)), rng.integers(-2, 2, (batch, pixels))):
        winner = check_forward(backend, x.astype(dtype), channels, shape, rows, columns)
        dy = rng.normal(size=winner.shape).astype(dtype)
        dx = run(
            backend, "max_pool_backward", dy, winner, *shape, *bounds(rows, columns), out(dtype, batch, pixels)
        )  # fmt: skip
        expected, size = reference.max_pool_backward(dy, winner, pixels)
        assert_close(dx, expected, len(rows) * len(columns) * eps(dtype) * size)


def test_forward_and_backward(any_backend, dtype, rng, grid):
    check_both(any_backend, dtype, rng, *grid)


@drawn
@given(
    batch=st.integers(1, 4), channels=st.integers(1, 3),
    sides=st.tuples(*[st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))] * 2), seed=seeds,
)  # fmt: skip
def test_windows_of_any_kind(any_backend, dtype, batch, channels, sides, seed):
    rows, columns = (windows(pixels, min(size, pixels), stride) for pixels, size, stride in sides)
    shape = sides[0][0], sides[1][0]
    check_both(any_backend, dtype, np.random.default_rng(seed), batch, channels, shape, rows, columns)


def test_the_first_of_equals_wins(any_backend, dtype):
    x = np.array([[1, 3, 3, 3]], dtype)
    nans = np.array([[1, np.nan, np.inf, np.nan]], dtype)
    for value, first in ((x, 1), (np.zeros_like(x), 0), (np.full_like(x, -np.inf), 0), (nans, 1)):
        _, winner = forward(any_backend, value, (2, 2), windows(2, 2, 2), windows(2, 2, 2))
        assert winner.tolist() == [[first]]


def test_extreme_numbers_come_out_as_they_are(any_backend, dtype):
    info = np.finfo(dtype)
    values = [-np.inf, -info.max, -1, -info.tiny, -info.smallest_subnormal, 0.0, info.tiny, huge(dtype), np.inf]
    pairs = np.array(list(itertools.permutations(values, 2)), dtype)
    check_forward(any_backend, pairs, 1, (1, 2), windows(1, 1, 1), windows(2, 2, 2))


@each("at", range(4))
def test_a_nan_comes_out_wherever_it_stands_in_its_window(any_backend, dtype, at):
    x = np.array([[1, np.inf, -1, 0] * 2], dtype)
    x[0, at] = np.nan
    y, winner = forward(any_backend, x, (2, 2), windows(2, 2, 2), windows(2, 2, 2))
    assert np.isnan(y[0, 0]) and y[0, 1] == np.inf
    assert winner.tolist() == [[at, 5]]


def test_overlapping_windows_add_up_at_their_common_winner(any_backend, dtype):
    x = np.array([[0, 9, 0]], dtype)
    rows, columns = windows(1, 1, 1), windows(3, 2, 1)
    _, winner = forward(any_backend, x, (1, 3), rows, columns)
    dy = np.array([[0.25, 2.0]], dtype)
    dx = run(any_backend, "max_pool_backward", dy, winner, 1, 3, *bounds(rows, columns), out(dtype, 1, 3))
    assert dx.tolist() == [[0, 2.25, 0]]


# Fractional regions --------------------------------------------------------------------------------------------------


def cut(backend, shape, regions, key=KEY, step=0):
    """The cuts of rows and columns; the regions between them must be neighbours."""
    arrays = [inout(np.full(count, -1, np.int32)) for count in regions for _ in range(2)]
    found = run(backend, "fractional_regions", key, np.array([step], np.uint32), *shape, *arrays)
    for start, stop in (found[:2], found[2:]):
        np.testing.assert_array_equal(start[1:], stop[:-1])
    return [[*start.tolist(), int(stop[-1])] for start, stop in (found[:2], found[2:])]


@drawn
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), data=st.data(), key=st.tuples(seeds, seeds), step=seeds)
def test_cuts_are_those_of_the_reference(any_backend, shape, data, key, step):
    regions = tuple(data.draw(st.integers(1, pixels)) for pixels in shape)
    words = reference.philox((0, step, 0, 0), key)
    expected = [reference.fractional_cuts(*side, word) for *side, word in zip(shape, regions, words, strict=False)]
    assert cut(any_backend, shape, regions, np.array(key, np.uint32), step) == expected


@each("regions", [(700, 2), (2, 700), (257, 256), (256, 257), (300, 600)])
def test_more_regions_than_a_block_has_threads(any_backend, regions):
    """Down, across, or both: the grid must have a thread for each region of the longer side."""
    shape = tuple(count + count // 2 for count in regions)
    words = reference.philox((0, 5, 0, 0), KEY)
    expected = [reference.fractional_cuts(*side) for side in zip(shape, regions, words, strict=False)]
    assert cut(any_backend, shape, regions, step=5) == expected


def test_regions_cover_the_image_and_differ_by_one_pixel_at_most(any_backend):
    for pixels, regions in ((28, 19), (25, 17), (7, 7), (5, 3), (5, 1)):
        for step in range(10):
            for cuts in cut(any_backend, (pixels, pixels), (regions, regions), step=step):
                sizes = np.diff(cuts)
                assert (cuts[0], cuts[-1]) == (0, pixels)
                assert set(sizes.tolist()) <= {pixels // regions, -(-pixels // regions)}


def test_all_offsets_occur_and_rows_and_columns_have_their_own(any_backend):
    """Three offsets for 4 pixels in 3 regions: 60 draws miss one of the nine pairs with a probability of 9 (8/9)^60."""
    found = {str(cut(any_backend, (4, 4), (3, 3), step=step)) for step in range(60)}
    sides = [[0, 1, 2, 4], [0, 1, 3, 4], [0, 2, 3, 4]]
    assert found == {str([a, b]) for a in sides for b in sides}
