"""The pictures of `inspect` and of the recorder show their columns, each under its own name."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

import minidl as dl
from minidl.diagnostics.layer_figures import _in_bins
from tests.conftest import each

pytestmark = pytest.mark.usefixtures("unspaced_figures")


@pytest.fixture
def batch(rng):
    return rng.normal(size=(50, 4)), rng.integers(0, 3, 50)


def network():
    """Large weights saturate the tanh, and a bias far below 0 kills one unit of the ReLU."""
    layers = dl.Dense(4, 6, init="normal(std=2.0)"), dl.Tanh(), dl.Dense(6, 5), dl.ReLU(), dl.Dense(5, 3)
    model = dl.Sequential(*layers, backend="cpu", seed=1)
    layers[2].bias.value[0] = -100.0
    return model


def curves(axes):
    """The coordinates of each line by its name in the legend."""
    return {line.get_label(): line.get_xydata() for line in axes.lines}


@each("labels", [True, False])
def test_an_inspection_has_a_line_for_each_figure(labels, batch):
    x, y = batch
    inspection = dl.inspect(network(), x, y if labels else None)
    panels = inspection.plot().axes
    shown = {"std of outputs": "std", "variance over the samples": "sample_variance"}
    gradients = {"gradient ‖dL/dy‖": "gradient_norm", "‖δ‖": "delta"} if labels else {}
    for axes, columns in zip(panels, (shown, gradients), strict=False):
        for name, column in columns.items():
            values = [(i, value) for i, value in enumerate(inspection[column]) if value]
            np.testing.assert_allclose(curves(axes)[name], values)
            assert [label.get_text() for label in axes.get_xticklabels()] == inspection["layer"]
            assert axes.get_yscale() == "log"
    first, last = inspection.rows[0], inspection.rows[-1]
    assert panels[0].get_title() == f"Std of outputs: {first.std:.2g} in 0.Dense, {last.std:.2g} in 4.Dense"
    if labels:
        norms = f"{first.gradient_norm:.2g} in 0.Dense, {last.gradient_norm:.2g} in 4.Dense"
        assert panels[1].get_title() == f"Gradient ‖dL/dy‖: {norms}"


@each("labels", [True, False])
def test_an_inspection_has_the_histograms_of_each_layer(labels, batch):
    x, y = batch
    inspection = dl.inspect(network(), x, y if labels else None)
    titled = {axes.get_title(loc="left"): axes for axes in inspection.plot().axes if axes.get_title(loc="left")}
    expected = {}
    for row in inspection.rows:
        shares = {"saturated": row.saturated, "dead": row.dead}
        notes = "".join(f", {share:.0%} {name}" for name, share in shares.items() if share)
        expected[f"{row.layer}: std {row.std:.3g}{notes}"] = row.outputs
        if labels:
            expected[f"{row.layer}: ‖dL/dy‖ {row.gradient_norm:.3g}"] = row.gradients
    assert any("saturated" in title for title in expected) and any("20% dead" in title for title in expected)
    assert titled.keys() == expected.keys()
    for title, histogram in expected.items():
        for steps in titled[title].patches:
            np.testing.assert_array_equal(steps.get_data().values, histogram.counts)
            np.testing.assert_array_equal(steps.get_data().edges, histogram.edges)


@pytest.fixture
def recorder(batch):
    """A run of twelve steps that kills units, recorded at every second one."""
    x, y = batch
    recorder, model = dl.Recorder(x, y, every=2), network()
    model.layers[2].bias.value[1] = 0.5
    dl.fit(
        model, dl.data.Dataset(x, y), loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(0.1), epochs=3, batch_size=13,
        callbacks=[recorder], progress=False,
    )  # fmt: skip
    return recorder


def test_a_map_has_a_column_of_counts_for_each_record_in_order(recorder):
    assert recorder.steps == [0, 2, 4, 6, 8, 10]
    maps = {axes.get_title().partition(":")[0]: axes for axes in recorder.plot().axes}
    for layer in ("1.Tanh", "3.ReLU", "4.Dense"):
        axes = maps[f"Outputs of {layer}"]
        (mesh,) = (artist for artist in axes.collections if isinstance(artist, QuadMesh))
        corners = mesh.get_coordinates()
        np.testing.assert_array_equal(corners[0, :, 0], [0, 2, 4, 6, 8, 10, 12])
        shown = np.ma.filled(mesh.get_array(), np.nan).reshape(len(corners) - 1, 6)
        for column, histogram in zip(shown.T, recorder["outputs"][layer], strict=True):
            counts = _in_bins(histogram, corners[:, 0, 1])
            np.testing.assert_allclose(np.nan_to_num(column), np.where(counts > 0, counts, 0))
        first, *_, last = recorder["std"][layer]
        assert axes.get_title() == f"Outputs of {layer}: std {first:.2g} → {last:.2g}"


def test_the_lines_of_a_recording_are_its_columns_and_the_titles_say_their_ends(recorder):
    titled = {axes.get_title().rpartition(":")[0]: axes for axes in recorder.plot().axes}
    ends = {}
    for title, columns in (
        ("Dead units", recorder["dead"]),
        ("‖δ‖ at the end", recorder["delta"]),
        ("‖ΔW‖ / ‖W‖ at the end", recorder.updates),
    ):
        drawn = curves(titled[title])
        for name, values in columns.items():
            np.testing.assert_allclose(drawn[name], np.stack([recorder.steps, values], axis=1))
        ends[title] = {name: values[-1] for name, values in columns.items()}
    worst = max(ends["Dead units"].values())
    assert worst > min(ends["Dead units"].values())
    assert titled["Dead units"].yaxis.get_major_formatter().format_pct(0.5, 1.0) == "50%"
    assert titled["Dead units"].get_title() == f"Dead units: at the end at most {worst:.0%} of a layer"
    deltas = "{:.2g} in 0.Dense, {:.2g} in 4.Dense".format(*(ends["‖δ‖ at the end"][f"{i}.Dense"] for i in (0, 4)))
    assert titled["‖δ‖ at the end"].get_title() == f"‖δ‖ at the end: {deltas}"
    sizes = sorted(ends["‖ΔW‖ / ‖W‖ at the end"].values())
    updates = titled["‖ΔW‖ / ‖W‖ at the end"]
    assert updates.get_title() == f"‖ΔW‖ / ‖W‖ at the end: {sizes[0]:.2g} to {sizes[-1]:.2g}"
    assert curves(updates)["0.001, a good size"][:, 1].tolist() == [1e-3, 1e-3]
