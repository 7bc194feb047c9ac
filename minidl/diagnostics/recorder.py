"""The statistics of `inspect` over a training run, and the size of the steps relative to the weights."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from minidl.backend.parameters import Parameter
from minidl.diagnostics.inspection import Inspection, Probe, relative_change
from minidl.diagnostics.layer_figures import draw_recording
from minidl.training.run import Callback, Run
from minidl.utils import checks
from minidl.utils.figures import finish


class Record(NamedTuple):
    """The record of one step.

    Attributes:
        step: Number of steps that the run had made before.
        inspection: Of the model before the step.
        updates: ‖ΔW‖ / ‖W‖ of the step, by the name of the weights, such as "0.Dense.weight".
    """

    step: int
    inspection: Inspection
    updates: dict[str, float]


class Recorder(Callback):
    """Inspect the model on a fixed batch during training, without changing a bit of the run.

    `recorder["std"]` is one column of `inspect` over time by layer, and `recorder.plot(path)` draws the records. A new
    run starts with none; a resumed run keeps the records from before.

    Args:
        x: The batch, shape (rows, n_in): a few hundred rows of the training or validation data.
        labels: Targets as the loss of the run takes them; without them gradients are not measured.
        every: Steps from one record to the next; the first is taken before the first step.

    Attributes:
        records: A `Record` for each recorded step.

    Raises:
        TypeError, ValueError: For x that is no matrix of finite floats, or an argument that does not fit it.
    """

    follows_steps = True
    writes = True  # it changes nothing, so a resumed run may leave it out or add it

    every: Any = checks.Checked(checks.integer)

    def __init__(self, x: Any, labels: Any = None, *, every: int = 10):
        self.probe = Probe(x, labels)
        self.every = every
        self.records: list[Record] = []
        self._before: list[tuple[Parameter, np.ndarray]] = []
        self._inspection: Any = None

    def __repr__(self) -> str:
        return f"Recorder(every={self.every})"

    def on_start(self, run: Run) -> None:
        self.probe.use(run.loss)
        self.records = [record for record in self.records if record.step < run.step]
        self._before, self._inspection = [], None  # those of a step that an exception ended

    def on_step_start(self, run: Run) -> None:
        if run.step % self.every == 0:
            self._inspection = self.probe.inspect(run.model)
            self._before = [(weights, _float64(weights)) for weights in run.parameters if weights.decays]

    def on_step_end(self, run: Run) -> None:
        if self._inspection is not None:
            updates = {weights.name: relative_change(before, _float64(weights)) for weights, before in self._before}
            self.records.append(Record(run.step - 1, self._inspection, updates))
            self._inspection, self._before = None, []

    @property
    def steps(self) -> list[int]:
        """The step of each record."""
        return [record.step for record in self.records]

    @property
    def updates(self) -> dict[str, list[float]]:
        """‖ΔW‖ / ‖W‖ over the records, by the name of the weights; about 0.001 is a good size."""
        names = self.records[0].updates if self.records else ()
        return {name: [record.updates[name] for record in self.records] for name in names}

    def __getitem__(self, column: str) -> dict[str, list[Any]]:
        """Return a column of `inspect` over the records, by the name of the layer, for the layers that have it."""
        columns = [record.inspection[column] for record in self.records]
        layers = self.records[0].inspection["layer"] if self.records else []
        over_time = dict(zip(layers, map(list, zip(*columns, strict=True)), strict=True))
        return {layer: values for layer, values in over_time.items() if values[0] is not None}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw histograms, dead units, ‖δ‖ and the size of the steps over time, into a file or, without, a figure.

        The suffix of `path` chooses the format.

        Raises:
            ValueError: If nothing was recorded.
        """
        if not self.records:
            raise ValueError("nothing was recorded: give the recorder to fit, in its callbacks")
        columns = {name: self[name] for name in ("outputs", "std", "dead", "delta")}
        rows = self.records[0].inspection.rows
        return finish(draw_recording(rows, columns, self.updates, self.steps, self.every), path)


def _float64(weights: Parameter) -> np.ndarray:
    return weights.backend.to_numpy(weights.value).astype(np.float64)
