"""The pictures of data show them: points, regions, mistakes and classes where they are. Images: test_preflight.py."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

import minidl as dl
from minidl.diagnostics import data_figures
from minidl.utils.figures import COLOURS

pytestmark = pytest.mark.usefixtures("unspaced_figures")

X = np.array([[0.0, 1.0], [2.0, 0.5], [3.0, 1.5], [1.0, 0.0], [2.5, 1.0]])
LABELS, SAID = np.array([0, 2, 0, 0, 2]), np.array([0, 2, 2, 0, 2])
NAMES = ["left", "nowhere", "right"]


@pytest.fixture
def data():
    """Five points of the classes 0 and 2; nobody is of class 1."""
    return dl.data.Dataset(X, LABELS, class_names=NAMES, feature_names=["width", "height"])


@pytest.fixture
def boundary(data):
    """A picture in which class 2 begins at x₁ = 1.5, on a grid of 7 times 4 points; so row 2 is taken for it."""
    grid = np.linspace(0, 3, 7), np.linspace(0, 1.5, 4)
    regions = np.where(np.broadcast_to(grid[0], (4, 7)) > 1.4, 2, 0)
    return grid, regions, data_figures.draw_decision_boundary(grid, regions, data, SAID).axes[0]


def points(axes):
    """The points that are scattered under each name."""
    found = {artist.get_label(): artist.get_offsets().tolist() for artist in axes.collections}
    return {label: where for label, where in found.items() if not label.startswith("_")}


def test_each_point_lies_at_its_features_under_the_name_of_its_class(boundary):
    _, _, axes = boundary
    drawn = points(axes)
    assert drawn["class left"] == X[LABELS == 0].tolist() and drawn["class right"] == X[LABELS == 2].tolist()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("width", "height")


def test_what_is_taken_for_another_class_is_marked_and_the_title_counts_the_rest(boundary):
    _, _, axes = boundary
    assert points(axes)["wrong: 1"] == [X[2].tolist()]
    assert axes.get_title() == "On the right side of the boundary: 80.0% of 5 points"


def test_the_region_of_a_class_has_its_colour_wherever_the_model_says_the_class(boundary):
    (x1, x2), regions, axes = boundary
    grid = np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)
    areas = [artist for artist in axes.collections if isinstance(artist, ContourSet) and artist.filled]
    for area, label in zip(areas, (0, 2), strict=True):
        (path,) = area.get_paths()
        np.testing.assert_array_equal(path.contains_points(grid, radius=1e-9), regions.ravel() == label)
        assert tuple(area.get_facecolor()[0][:3]) == to_rgb(COLOURS[label])


def test_two_features_and_a_label_are_points_and_everything_else_is_a_row_of_numbers(data):
    numbers = dl.data.Dataset(X, X)
    three = dl.data.Dataset(np.hstack([X, X[:, :1]]), LABELS)
    pictures = [data_figures.draw_preflight(each, "mean 1.2") for each in (data, numbers, three)]
    titles = [picture.subfigs[0].get_suptitle() for picture in pictures]
    assert titles == ["Do the labels fit? 5 of 5 points", *2 * ["Do the targets fit? The first 5 of 5 samples"]]
    assert points(pictures[0].axes[0]).keys() == {"class left", "class right"}
    for picture, shown in zip(pictures[1:], (numbers, three), strict=True):
        (mesh,) = picture.axes[0].collections
        np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(shown.x.shape), shown.x)


def test_the_bar_of_a_class_is_as_high_as_the_class_is_large(data):
    axes = Figure().subplots()
    data_figures._draw_classes(axes, data)
    bars = {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in axes.patches}
    assert bars == {0: 3, 2: 2}
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert dict(zip(axes.get_xticks(), names, strict=True)) == {0: "left", 2: "right"}
    assert axes.get_title() == "2 classes of 2 to 3 samples"


def test_the_histogram_counts_every_input(data):
    axes = Figure().subplots()
    data_figures._draw_inputs(axes, data.x, "mean 1.2; and more that is not for a title")
    assert sum(bar.get_height() for bar in axes.patches) == X.size
    at_zero, *_ = axes.patches
    assert at_zero.get_height() == 2 and axes.get_title() == "Inputs: mean 1.2"
