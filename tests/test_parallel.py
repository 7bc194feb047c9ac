"""Sums over ranks: the same bits however many ranks there are."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from minidl import parallel
from minidl.parallel import over
from tests.conftest import each
from tests.ranks import Rank, Threads


def sums(ranks, leaves, size=5, dtype=np.float32):
    """The sum of random leaves, as each rank has it."""
    numbers = np.random.default_rng(0).normal(size=(leaves, size)).astype(dtype)

    def leaf(i, out):
        out[...] = numbers[i]

    def program(comm):
        return over(comm, max(leaves, ranks)).sum("test", leaves, size, dtype, leaf).copy()

    return numbers, Threads(ranks).run(program)


@each("leaves", [1, 2, 3, 5, 7, 8, 13, 16])
def test_any_number_of_ranks_has_the_same_bits(leaves):
    numbers, (expected,) = sums(1, leaves)
    np.testing.assert_allclose(expected, numbers.sum(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-6)
    for ranks in (2, 3, 4, 6, 8):
        for found in sums(ranks, leaves)[1]:
            assert found.tobytes() == expected.tobytes(), ranks


def test_there_may_be_more_ranks_than_numbers_and_than_leaves():
    (expected,) = sums(1, 3, size=2)[1]
    assert {found.tobytes() for found in sums(7, 3, size=2)[1]} == {expected.tobytes()}


def test_a_sum_from_left_to_right_would_have_other_bits():
    numbers, (found,) = sums(1, 16, size=100)
    assert found.tobytes() != np.add.accumulate(numbers)[-1].tobytes()


def test_two_ranks_add_their_halves():
    numbers, found = sums(2, 4, size=3)
    assert (found[0] == (numbers[0] + numbers[1]) + (numbers[2] + numbers[3])).all()


def test_a_sum_may_be_taken_again_with_another_size():
    def program(comm):
        team = over(comm, 4)
        return [team.sum("a", leaves, size, float, lambda i, out: out.fill(i)).copy() for leaves, size in SIZES]

    SIZES = [(4, 3), (2, 5), (4, 5), (3, 1)]
    for results in Threads(2).run(program):
        for (leaves, size), result in zip(SIZES, results, strict=True):
            assert result.tolist() == [sum(range(leaves))] * size


def test_ranks_own_all_leaves_in_order():
    teams = Threads(3).run(lambda comm: over(comm, 8))
    assert [*teams[0].own(8), *teams[1].own(8), *teams[2].own(8)] == list(range(8))
    assert repr(teams[1]) == "<rank 1 of 3, with 8 parts for each batch>"


def test_wrong_arguments():
    nobodys = type("Comm", (), {"Alltoallv": None, "__bool__": lambda self: False})()  # as MPI.COMM_NULL
    for comm in (3, "world", [1], nobodys):
        with pytest.raises(TypeError, match="comm got .*; expected a communicator such as mpi4py.MPI.COMM_WORLD"):
            over(comm)
    with pytest.raises(ValueError, match="parts got 2 for 4 ranks; expected at least one part for each rank"):
        Threads(4).run(lambda comm: over(comm, parts=2))
    with pytest.raises(ValueError, match="parts got 0; expected an integer of at least 1"):
        over(Rank(Threads(1), 0), parts=0)
    with pytest.raises(ValueError, match="leaves got 0; expected an integer of at least 1"):
        sums(1, 0)
    with pytest.raises(TypeError, match="parts got 2.0"):
        over(Rank(Threads(1), 0), parts=2.0)


def test_without_mpi4py_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"training on several ranks needs MPI: pip install 'minidl\[mpi\]'"):
        parallel.over()
