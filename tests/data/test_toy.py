"""Toy problems: their form, their geometry, and that a seed decides everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import Dataset, circles, gaussians, spiral, xor

PROBLEMS = [gaussians, circles, xor, spiral]
WITH_CLASSES = [gaussians, spiral]


def nearest_neighbour_accuracy(train: Dataset, test: Dataset) -> float:
    distance = ((test.x[:, None, :] - train.x[None, :, :]) ** 2).sum(axis=2)
    return float(np.mean(train.y[distance.argmin(axis=1)] == test.y))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_form(problem):
    dataset = problem()
    assert dataset.x.shape == (400, 2) and dataset.x.dtype == np.float32
    assert dataset.y.shape == (400,) and dataset.y.dtype == np.int64
    assert dataset.classes == 2
    assert np.bincount(dataset.y).tolist() == [200, 200]
    assert np.abs(dataset.x).max() < 3


@pytest.mark.parametrize("problem", PROBLEMS)
@given(n=st.integers(2, 50), seed=st.integers(0, 2**70), noise=st.floats(0, 10))
def test_any_size_is_balanced(problem, n, seed, noise):
    dataset = problem(n, noise=noise, seed=seed)
    counts = np.bincount(dataset.y, minlength=2)
    assert len(dataset) == n and counts.sum() == n
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("problem", WITH_CLASSES)
@given(classes=st.integers(2, 9), surplus=st.integers(0, 20))
def test_any_number_of_classes_is_balanced(problem, classes, surplus):
    dataset = problem(classes + surplus, classes=classes)
    counts = np.bincount(dataset.y, minlength=classes)
    assert dataset.classes == classes == len(counts)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_seed_decides_everything(problem):
    first, again, other = problem(60, seed=3), problem(60, seed=3), problem(60, seed=4)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.y, other.y)
    assert not np.array_equal(first.x, other.x)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_global_generator_is_left_alone(problem):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    problem(10)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("problem", PROBLEMS)
def test_rows_are_shuffled(problem):
    y = problem(400).y
    changes = np.count_nonzero(np.diff(y))
    assert 150 < changes < 250  # 399/2 = 199.5 expected, standard deviation 10; sorted would be 1, alternating 399


@pytest.mark.parametrize("problem", PROBLEMS)
def test_noise_moves_the_same_points(problem):
    clean, some, more = (problem(500, noise=noise, seed=1) for noise in (0, 0.1, 0.2))
    np.testing.assert_array_equal(clean.y, more.y)
    step = some.x - clean.x
    np.testing.assert_allclose(more.x - clean.x, 2 * step, atol=1e-6)
    assert step.std() == pytest.approx(0.1, rel=0.12)  # 1,000 draws: relative standard error 2.2 %


def test_gaussians_sit_on_the_unit_circle():
    dataset = gaussians(4000, classes=4, noise=0.1)
    centres = np.array([dataset.x[dataset.y == label].mean(axis=0) for label in range(4)])
    np.testing.assert_allclose(centres, [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=0.02)  # standard error 0.003


def test_circles_have_two_radii():
    dataset = circles(200, noise=0)
    np.testing.assert_allclose(np.hypot(*dataset.x.T), np.where(dataset.y == 0, 0.5, 1.0), rtol=1e-6)
    turned = circles(4000, noise=0).x.mean(axis=0)
    np.testing.assert_allclose(turned, 0, atol=0.06)  # the angles go all the way round


def test_xor_is_the_sign_of_the_product():
    dataset = xor(400, noise=0)
    np.testing.assert_array_equal(dataset.y, (dataset.x.prod(axis=1) < 0).astype(int))
    assert np.abs(dataset.x).min() >= 0.1 and np.abs(dataset.x).max() <= 1
    quadrants = np.bincount((dataset.x > 0) @ [1, 2])
    assert quadrants.min() > 60  # 100 expected, standard deviation 7


def test_xor_has_no_linear_solution():
    dataset = xor(4000)
    design = np.column_stack([dataset.x, np.ones(len(dataset))])
    weights = np.linalg.lstsq(design, 2.0 * dataset.y - 1, rcond=None)[0]
    assert np.mean((design @ weights > 0) == dataset.y) < 0.6


@pytest.mark.parametrize(("classes", "turns"), [(2, 1), (3, 0.5), (5, 2.5)])
def test_spiral_arms_follow_their_angle(classes, turns):
    dataset = spiral(300, classes=classes, turns=turns, noise=0)
    radius = np.hypot(*dataset.x.T)
    assert radius.min() >= 0.099 and radius.max() <= 1.001
    angle = 2 * np.pi * (turns * radius + dataset.y / classes)
    expected = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    np.testing.assert_allclose(dataset.x, expected, atol=1e-5)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_default_noise_leaves_a_problem_that_can_be_solved(problem):
    assert nearest_neighbour_accuracy(problem(seed=0), problem(seed=1)) > 0.95


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"n": 1}, ValueError, "^n got 1; expected an integer of at least 2$"),
        ({"n": 10.0}, TypeError, "^n got 10.0; expected an integer"),
        ({"n": True}, TypeError, "^n got True; expected an integer"),
        ({"noise": -0.1}, ValueError, "^noise got -0.1; expected a finite number, at least 0 and at most 1e.30$"),
        ({"noise": np.nan}, ValueError, "^noise got nan"),
        ({"noise": "a lot"}, TypeError, "^noise got 'a lot'"),
        ({"seed": -1}, ValueError, "^seed got -1; expected an integer of at least 0$"),
        ({"seed": None}, TypeError, "^seed got None"),
    ],
)
def test_arguments_are_checked(problem, arguments, error, match):
    with pytest.raises(error, match=match):
        problem(**arguments)


@pytest.mark.parametrize("problem", WITH_CLASSES)
def test_classes_are_checked(problem):
    with pytest.raises(ValueError, match="^classes got 1; expected an integer of at least 2$"):
        problem(classes=1)
    with pytest.raises(TypeError, match="^classes got 3.0"):
        problem(classes=3.0)
    with pytest.raises(ValueError, match="^n got 4; expected an integer of at least 5$"):
        problem(4, classes=5)


@pytest.mark.parametrize("turns", [0, -1, np.inf])
def test_turns_are_checked(turns):
    with pytest.raises(
        ValueError, match=rf"^turns got {turns}; expected a finite number, greater than 0 and at most 1e.30$"
    ):
        spiral(turns=turns)
