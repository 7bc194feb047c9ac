"""The recorder: it changes nothing, and what it keeps is what inspect and the weights say at that step."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest

import minidl as dl
from minidl.diagnostics.layer_figures import _in_bins

pytestmark = pytest.mark.usefixtures("unspaced_figures")


def data(rows=30, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    return dl.data.Dataset(x, x[:, :3].argmax(axis=1))


PROBE = data(16, seed=1)


def make(backend="cpu"):
    layers = dl.Dense(4, 6), dl.BatchNorm(6), dl.ReLU(), dl.Dropout(0.3), dl.Dense(6, 5), dl.Tanh(), dl.Dense(5, 3)
    return dl.Sequential(*layers, backend=backend, seed=0, penalty=dl.L2(1e-2))


def fit(model, *callbacks, **options):
    defaults = {
        "loss": dl.SoftmaxCrossEntropy(),
        "optimizer": dl.Adam(0.02),
        "epochs": 3,
        "batch_size": 10,
        "progress": False,
    }
    return dl.fit(model, data(), validation=data(20), callbacks=callbacks, **{**defaults, **options})


def weights(model):
    return [parameter.value.copy() for parameter in model.parameters() if parameter.decays]


class Copies(dl.Callback):
    """The whole model before each step."""

    follows_steps = True

    def __init__(self):
        self.before = []

    def on_step_start(self, run):
        self.before.append(run.model.snapshot())


def test_a_run_with_a_recorder_is_the_same_bit_for_bit(any_backend):
    alone = make(any_backend.name)
    plain = fit(alone, epochs=2)
    for every in [2] if any_backend.name == "emulator" else [1, 2, 5]:
        watched = make(any_backend.name)
        recorded = fit(watched, dl.Recorder(*PROBE, every=every), epochs=2)
        for column in ("loss", "penalty", "accuracy", "validation_loss"):
            assert plain[column] == recorded[column]
        for a, b in zip(alone.snapshot().values(), watched.snapshot().values(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("every", "steps"), [(1, list(range(9))), (2, [0, 2, 4, 6, 8]), (4, [0, 4, 8]), (99, [0])])
def test_it_records_every_so_many_steps_and_the_start(every, steps):
    recorder = dl.Recorder(*PROBE, every=every)
    fit(make(), recorder)
    assert recorder.steps == steps == [record.step for record in recorder.records]


def test_each_record_is_what_inspect_says_before_that_step():
    recorder, copies, model = dl.Recorder(*PROBE, every=4), Copies(), make()
    fit(model, copies, recorder)
    for step, record in zip((0, 4, 8), recorder.records, strict=True):
        model.restore(copies.before[step])
        assert str(record.inspection) == str(dl.inspect(model, *PROBE))
    assert recorder["std"]["4.Dense"] == [record.inspection.rows[4].std for record in recorder.records]
    assert list(recorder["dead"]) == ["2.ReLU", "5.Tanh"]
    assert list(recorder["delta"]) == ["4.Dense", "6.Dense"]  # a batch norm follows the first


def test_updates_are_relative_to_the_weights_before_the_step():
    recorder, copies, model = dl.Recorder(*PROBE, every=2), Copies(), make()
    fit(model, copies, recorder)
    snapshots = [*copies.before, model.snapshot()]
    assert list(recorder.updates) == ["0.Dense.weight", "4.Dense.weight", "6.Dense.weight"]
    for i, step in enumerate(recorder.steps):
        for name in ("0", "4", "6"):
            before, after = (snapshots[step + k][f"{name}.weight"].astype(float) for k in (0, 1))
            expected = np.linalg.norm(after - before) / np.linalg.norm(before)
            assert recorder.updates[f"{name}.Dense.weight"][i] == pytest.approx(expected, rel=1e-12)


def test_the_best_rate_of_a_short_run_has_longer_steps_than_a_thousandth():
    """The rule of thumb is for long runs: at a thousandth, five epochs lead to several times the loss."""
    train, losses, steps = dl.data.digits()[0][:500], {}, {}
    for rate in (0.0015, 0.05, 0.5):
        recorder, model = (
            dl.Recorder(train.x[:50], train.y[:50], every=5),
            dl.Sequential(dl.Dense(784, 16), dl.ReLU(), dl.Dense(16, 10), backend="cpu", seed=0),
        )
        options = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Momentum(rate), "epochs": 5, "batch_size": 25}
        losses[rate] = dl.fit(model, train, callbacks=[recorder], progress=False, **options)["loss"][-1]
        steps[rate] = [float(np.median(sizes)) for sizes in recorder.updates.values()]
    assert min(losses, key=losses.get) == 0.05 and losses[0.0015] > 3 * losses[0.05]
    assert all(3e-4 < step < 3e-3 for step in steps[0.0015]) and all(3e-3 < step < 3e-2 for step in steps[0.05])


def test_the_loss_is_that_of_the_run():
    model, probe = dl.Sequential(dl.Dense(4, 3), backend="cpu"), (PROBE.x, np.eye(3, dtype=np.float32)[PROBE.y])
    recorder, loss = dl.Recorder(*probe, every=99), dl.MeanSquaredError()
    expected = dl.inspect(model, *probe, loss=dl.MeanSquaredError()).loss
    train = dl.data.Dataset(data().x, np.eye(3, dtype=np.float32)[data().y])
    dl.fit(model, train, loss=loss, optimizer=dl.SGD(), epochs=1, callbacks=[recorder], progress=False)
    assert recorder.records[0].inspection.loss == pytest.approx(expected, rel=1e-6)


def test_a_second_run_starts_anew_and_a_resumed_one_goes_on(tmp_path):
    recorder, whole = dl.Recorder(*PROBE, every=2), dl.Recorder(*PROBE, every=2)
    fit(make(), recorder)
    fit(make(), recorder, epochs=2, checkpoint=tmp_path / "run.npz")
    assert recorder.steps == [0, 2, 4]
    fit(make(), recorder, resume=tmp_path / "run.npz")
    fit(make(), whole)
    assert recorder.steps == whole.steps
    assert recorder.updates == whole.updates and recorder["std"] == whole["std"]
    fit(make(), resume=tmp_path / "run.npz")  # it may be left out


def test_a_run_that_diverges_leaves_its_records(tmp_path):
    recorder = dl.Recorder(*PROBE, every=1)
    model = dl.Sequential(dl.Dense(4, 3), backend="cpu")
    targets = dl.data.Dataset(data().x, np.full((30, 3), 1e15, np.float32))
    recorder_without_labels = dl.Recorder(PROBE.x, every=1)
    with pytest.raises(dl.DivergenceError):
        dl.fit(model, targets, loss=dl.MeanSquaredError(), optimizer=dl.SGD(1e12), epochs=9, batch_size=10,
               callbacks=[recorder_without_labels], progress=False)  # fmt: skip
    assert recorder_without_labels.steps
    recorder_without_labels.plot(tmp_path / "recording.png")
    assert recorder.steps == [] and recorder.updates == recorder["std"] == {}


def test_weights_of_zero_have_no_relative_size(tmp_path):
    model = dl.Sequential(dl.Dense(4, 5, init="zeros"), dl.ReLU(), dl.Dense(5, 3, init="zeros"), backend="cpu")
    recorder = dl.Recorder(*PROBE, every=1)
    fit(model, recorder)
    assert all(np.isnan(recorder.updates["0.Dense.weight"]))
    assert recorder["dead"]["1.ReLU"] == [1.0] * 9
    recorder.plot(tmp_path / "recording.png")


def test_counts_in_other_bins_stay_the_same_in_the_sum():
    histogram = dl.inspect(make(), *PROBE).rows[0].outputs
    low, high = histogram.edges[0], histogram.edges[-1]
    np.testing.assert_allclose(_in_bins(histogram, histogram.edges), histogram.counts, atol=1e-9)
    wider = _in_bins(histogram, np.linspace(low - 1, high + 2, 61))
    assert wider.sum() == pytest.approx(histogram.counts.sum()) and wider[0] == wider[-1] == 0
    halves = _in_bins(histogram, np.array([low, (low + high) / 2, high]))
    np.testing.assert_allclose(halves, [histogram.counts[:30].sum(), histogram.counts[30:].sum()])


@pytest.mark.parametrize(("depth", "labels"), [(0, True), (0, False), (2, False), (12, True)])
def test_the_figure(depth, labels, tmp_path):
    layers = [part for _ in range(depth) for part in (dl.Dense(4, 4), dl.Tanh())]
    recorder = dl.Recorder(PROBE.x, PROBE.y if labels else None, every=2)
    fit(dl.Sequential(*layers, dl.Dense(4, 3), backend="cpu"), recorder)
    recorder.plot(tmp_path / "recording.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "recording.png").shape
    # Half a pixel is rounded up or down, as Matplotlib's version has it.
    assert (width, height) == (1950, pytest.approx({0: 975, 2: 975, 12: 1844.5}[depth], abs=0.5))


def test_a_figure_needs_records(tmp_path):
    with pytest.raises(ValueError, match="^nothing was recorded: give the recorder to fit"):
        dl.Recorder(*PROBE).plot(tmp_path / "recording.png")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": PROBE.x[:, :3], "labels": PROBE.y}, ValueError, "^x got 3 features; .* expects 4$"),
        ({"x": PROBE.x, "labels": PROBE.y[:5]}, ValueError, r"^labels got shape \(5,\); expected \(16,\)"),
        ({"x": PROBE.x, "labels": PROBE.y + 1}, ValueError, "^labels got 3 at index"),
        ({"x": PROBE.x, "labels": PROBE.y, "every": 0}, ValueError, "^every got 0; expected an integer of at least 1"),
        ({"x": PROBE.x[0]}, ValueError, "^x got shape"),
    ],
    ids=range(5),
)
def test_bad_arguments_are_refused_before_the_first_step(arguments, error, message):
    model = make()
    before = weights(model)
    with pytest.raises(error, match=message):
        fit(model, dl.Recorder(**arguments))
    assert all(np.array_equal(a, b) for a, b in zip(before, weights(model), strict=True))
