"""What a sweep varies: ranges, choices and values, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minidl.perceptron import Settings
from minidl.sweeps.space import HYPERPARAMETERS, SPACE, Choices, Range, grid, read_space, with_values
from tests.conftest import each


def test_a_tuple_is_a_range_a_list_has_choices_and_the_rest_is_fixed():
    domains, fixed = read_space(
        {"learning_rate": (1e-3, 1), "dropout": [0, 0.5], "activation": "tanh", "depth": (0, 2)}
    )
    assert domains == {
        "learning_rate": Range(1e-3, 1.0, log=True, integer=False),
        "dropout": Choices((0.0, 0.5)),
        "depth": Range(0, 2, log=False, integer=True),
    }
    assert fixed == {"activation": "tanh"}


def test_numbers_of_numpy_become_plain():
    domains, fixed = read_space({"learning_rate": np.logspace(-3, -1, 3), "width": np.int64(8)})
    assert [type(value) for value in domains["learning_rate"].values] == [float] * 3
    assert type(fixed["width"]) is int


def test_the_default_space_is_one():
    domains, fixed = read_space(SPACE)
    assert domains.keys() == SPACE.keys() == HYPERPARAMETERS.keys() - {"l1", "batch_size"}
    assert not fixed


def test_a_logarithmic_range_has_as_many_draws_below_its_geometric_mean_as_above(rng):
    rate, width = Range(1e-4, 1.0, log=True, integer=False), Range(8, 128, log=True, integer=True)
    for domain in (rate, width):
        draws = np.array([domain.draw(rng) for _ in range(4000)])
        assert domain.low <= draws.min() <= draws.max() <= domain.high
        middle = math.sqrt(domain.low * domain.high)
        assert np.mean(draws < middle) + np.mean(draws == middle) / 2 == pytest.approx(0.5, abs=0.03)


def test_integers_of_a_linear_range_are_equally_likely(rng):
    draws = [Range(0, 3, log=False, integer=True).draw(rng) for _ in range(4000)]
    assert {type(draw) for draw in draws} == {int}
    assert np.bincount(draws) / 4000 == pytest.approx(np.full(4, 0.25), abs=0.03)


def test_choices_are_equally_likely(rng):
    draws = [Choices(("a", "b")).draw(rng) for _ in range(4000)]
    assert draws.count("a") / 4000 == pytest.approx(0.5, abs=0.03)


def test_a_grid_has_all_combinations():
    domains, _ = read_space({"width": [4, 8], "activation": ["relu", "tanh", "gelu"]})
    points = grid(domains)
    assert len({tuple(point.items()) for point in points}) == len(points) == 6
    assert all(point.keys() == {"width", "activation"} for point in points)


def test_width_and_depth_make_the_layers():
    assert with_values(Settings(), {"width": 8, "depth": 3}, 100).layers == (8, 8, 8)
    assert with_values(Settings(), {"width": 8}, 100).layers == (8,)
    assert with_values(Settings(), {"depth": 2}, 100).layers == (512, 512)
    assert with_values(Settings(), {"depth": 0}, 100).layers == ()


def test_no_batch_has_one_row_where_there_is_batch_norm():
    assert with_values(Settings(), {"batch_size": 3}, 13).batch_size == 5  # 4 would leave one, too
    assert with_values(Settings(), {"batch_size": 1}, 12).batch_size == 2
    assert with_values(Settings(), {"batch_size": 3, "batch_norm": False}, 13).batch_size == 3


@each(
    "space, message",
    [
        ([], r"^space got \[\]; expected a dict such as {'learning_rate': \(1e-4, 0.1\)}$"),
        ({}, r"^space got {}; expected a range \(low, high\) or a list of choices for at least one hyperparameter$"),
        ({"width": 3}, "^space got {'width': 3}; expected a range"),
        ({"learnin_rate": (1, 2)}, "^a name in space got 'learnin_rate'; .* did you mean 'learning_rate'[?]$"),
        ({"lr": (1, 2)}, "^a name in space got 'lr'; .* did you mean 'learning_rate'[?]$"),
        ({3: (1, 2)}, "^a name in space got 3; expected one of 'learning_rate'"),
        ({"dropout": (0.5, 0.1)}, r"^space\['dropout'\] got \(0.5, 0.1\); expected \(low, high\) with low < high$"),
        ({"dropout": (0.0, 1.1)}, r"^space\['dropout'\] got 1.1; expected a finite number, at least 0 and at most 1$"),
        ({"l2": (0.0, 0.1)}, r"^space\['l2'\] got \(0.0, 0.1\); expected low above 0, for a logarithmic scale$"),
        ({"width": (1.5, 3)}, r"^space\['width'\] got 1.5; expected an integer of at least 1$"),
        ({"width": (1, 2, 3)}, r"^space\['width'\] got \(1, 2, 3\); expected a range \(low, high\) or a list"),
        ({"init": ("auto", "zeros")}, r"^space\['init'\] got \('auto', 'zeros'\); expected a list of choices$"),
        ({"init": ["he_norml"]}, r"^space\['init'\]: init got 'he_norml'; .* did you mean 'he_normal'[?]$"),
        ({"activation": []}, r"^space\['activation'\] got \[\]; expected at least one choice, and each once$"),
        ({"activation": ["relu", "relu"]}, r"^space\['activation'\] got \['relu', 'relu'\]; expected at least one"),
        ({"activation": ["rleu"]}, r"^space\['activation'\] got 'rleu'; .* did you mean 'relu'[?]$"),
        ({"batch_norm": [0, 1]}, r"^space\['batch_norm'\] got 0; expected True or False$"),
        ({"learning_rate": [[1], [2]]}, r"^space\['learning_rate'\] got \[1\]; expected a finite number"),
    ],
)
def test_what_is_no_space_is_refused_by_name(space, message):
    with pytest.raises((TypeError, ValueError), match=message):
        read_space(space)


def test_a_grid_takes_no_range():
    domains, _ = read_space({"width": (4, 8), "activation": ["relu", "tanh"]})
    with pytest.raises(ValueError, match=r"^space\['width'\] got a range from 4 to 8; the sampler 'grid' expects"):
        grid(domains)
