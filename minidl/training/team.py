"""A training run that is shared among the ranks of a team (`minidl.parallel`).

Every rank has the whole data set and the whole model. A batch is cut into parts, rows that follow one another, and each
rank makes the two passes for its parts. Then gradients, losses, penalties and running estimates are added along one
tree, and every rank updates its weights, which so stay the same bits everywhere.

Batch normalization sees a part: "ghost batches" (Hoffer et al. 2017). Each part starts from the same running estimates,
and their mean over the parts, weighted by rows, is that of the batch. A layer that draws counts a draw for each part,
so that masks depend on the place of a row in the batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minidl.backend.snapshot import Snapshot
from minidl.layers.sequential import Sequential
from minidl.layers.stochastic import Stochastic
from minidl.losses import Loss
from minidl.optimizers import Optimizer
from minidl.parallel import Team
from minidl.training.batches import Batches
from minidl.training.callbacks import Checkpoint, Log
from minidl.training.evaluation import Evaluation
from minidl.training.interrupts import Flag, interrupt_between_steps
from minidl.training.run import Run
from minidl.training.step import TrainingStep
from minidl.utils import checks, storage


def run_of(team: Team | None) -> Callable[..., Run]:
    """Return what makes the run of `minidl.fit`: a `Run`, or for a team a `TeamRun`."""
    if team is not None and not isinstance(team, Team):
        raise TypeError(f"team got {checks.describe(team)}; expected one such as minidl.parallel.over(parts=8)")
    return Run if team is None else partial(TeamRun, team)


class TeamRun(Run):
    """A run of which each rank of a team makes a share.

    All decide alike: they have the same figures, stop if one of them is told to, and take the time of rank 0.

    Raises:
        ValueError: If the ranks do not have the same model, data, settings and backend.
    """

    training_step: TeamStep

    def __init__(self, team: Team, *arguments: Any, progress: bool = True, **options: Any):
        checks.boolean("progress", progress)
        self.team, self.new_step = team, partial(TeamStep, team)
        super().__init__(*arguments, progress=progress and team.rank == 0, **options)
        self.settings["parts"] = team.parts
        start = {"epochs": self.epochs, **self.settings, **self.data_digests, "backend": self.model.backend.name}
        self._check_same({**start, "weights": storage.checksum(self.model.snapshot())})

    def _check_same(self, start: dict[str, Any]) -> None:
        """Refuse ranks that do not all begin with the same values."""
        first, *others = self.team.from_all(start)
        for rank, other in enumerate(others, start=1):
            if wrong := [name for name in first if other[name] != first[name]]:
                raise ValueError(
                    f"{wrong[0]} got other values on rank {rank} than on rank 0; expected one program with one seed "
                    f"and the same data on all ranks"
                )

    @contextlib.contextmanager
    def interruption(self) -> Iterator[Flag]:
        """Turn Ctrl-C on any rank into a flag that all of them see after the same step."""
        with interrupt_between_steps() as pressed:
            self.training_step.pressed = pressed
            yield self.training_step.interrupted

    def notify(self, event: str) -> None:
        """Call the callbacks; rank 0 alone writes files."""
        epochs = self.history.epochs
        if event == "on_start":  # each rank has read the checkpoint to resume, if there is one
            optimizer, moments = self.optimizer.snapshot() if self.optimizer.steps else ({}, {})
            place = {"resume": len(epochs), "epochs_trained": self.model.epochs_trained, "optimizer": optimizer}
            arrays = {"weights": self.model.snapshot(), "moments": moments}
            self._check_same({**place, **{name: storage.checksum(array) for name, array in arrays.items()}})
        if event == "on_epoch_end":
            epochs[-1] = replace(epochs[-1], seconds=self.team.from_all(epochs[-1].seconds)[0])
        for callback in self.callbacks:
            if self.team.rank == 0 or not isinstance(callback, (Checkpoint, Log)):
                getattr(callback, event)(self)
        if event in ("on_start", "on_epoch_end"):
            step = self.training_step
            reasons, pressed = zip(*self.team.from_all((self.stopped, bool(step.pressed))), strict=True)
            self.stopped = next(filter(None, reasons), None)
            step.interrupted.raised = any(pressed)

    def evaluate(self, model: Sequential, batches: Batches, loss: Loss) -> Evaluation:
        """Evaluate with the batches shared among the ranks."""
        numbered = enumerate(batches.in_order(np.arange(batches.rows)))

        def batch(i: int, out: np.ndarray) -> None:
            x, targets = next(batch for number, batch in numbered if number == i)
            loss.restart()
            loss.compute_unchecked(model.forward(x), targets)
            out[...] = np.concatenate([model.backend.to_numpy(array) for array in _arrays_of(loss, 2)])

        with model.lock:
            totals = self.team.sum("evaluation", batches.steps, 2 * len(_arrays_of(loss, 2)), np.float64, batch)
            loss.restart()
            for array, total in zip(_arrays_of(loss, 2), totals.reshape(-1, 2), strict=True):
                model.backend.copy_into(array, total)
            loss.count(batches.rows)
            return Evaluation(*loss.mean_so_far())


class TeamStep(TrainingStep):
    """A step whose batch is cut into parts, which are shared among the ranks of a team.

    Both passes of a part are captured together, and the update is captured on its own: the sum between them is none of
    the backend's operations. The parts of one size have one capture; on a GPU, where a graph knows the addresses of its
    arrays, each part has its own. No rank needs to know what another one captures.

    Attributes:
        pressed: Whether Ctrl-C was pressed on this rank.
        interrupted: Whether it was pressed on any rank when the last step was made.
    """

    def __init__(self, team: Team, model: Sequential, loss: Loss, optimizer: Optimizer, **options: Any):
        super().__init__(model, loss, optimizer, **options)
        self.team, self.pressed, self.interrupted = team, Flag(), Flag()
        self._views: dict[tuple[int, int, int], tuple[Any, Any]] = {}  # of arrays on a GPU: the array and its rows
        self._states = [array for layer in model.walk() for array in layer.state_arrays()]
        self._draws = {id(layer.step) for layer in model.walk() if isinstance(layer, Stochastic)}
        self._costs = [layer.cost for layer in model.walk() if layer.cost is not None]

    @np.errstate(all="ignore")  # what is not finite is found in the results
    def forward(self, x: Any, targets: Any) -> None:
        """Make both passes for the own parts, and add the results of all ranks."""
        backend, loss = self.backend, self.loss
        heads = list(targets) if isinstance(targets, dict) else None
        inputs = (x, *targets.values()) if heads else (x, targets)
        self.optimizer.prepare(self.parameters)  # which refuses a model without weights
        rows, smallest = x.shape[0], self.model.smallest_batch
        parts = max(1, min(self.team.parts, rows // smallest))
        cuts = [rows * i // parts for i in range(parts + 1)]
        if not all(array is not None for array in loss.arrays().values()):  # they are made in the first pass
            with Snapshot(backend, [*self._states, *self._costs]):
                self._forward(heads, *(array[:smallest] for array in inputs))
            loss.restart()

        averaged = [*_arrays_of(loss, 1), *_of_kind("fb", self._states), *self._costs]  # a boolean: any
        added = [*_arrays_of(loss, 2), *_of_kind("iu", self._states)]
        before = Snapshot(backend, [*averaged, *added])
        gradients = self.model.gradients()
        results: dict[int, np.ndarray] = {}

        def passes(*arrays: Any) -> None:
            self._forward(heads, *arrays)
            self.model.backward_parameters(loss.backward())

        def part(i: int, out: np.ndarray) -> None:
            own = slice(cuts[i], cuts[i + 1])
            share = (own.stop - own.start) / rows
            starts = self._start_part(i, before)
            self._begin(tuple(self._rows(array, own) for array in inputs), passes)
            (self._replay[0] if self._replay else passes)(*self._inputs)
            self._end()
            np.multiply(self.backend.on_the_host(gradients), out.dtype.type(share), out=out)
            means = [share * self.backend.on_the_host(array).reshape(-1) for array in averaged]
            changes = [
                self.backend.on_the_host(array) - start
                for array, start in zip(added, starts[len(means) :], strict=True)
            ]
            results[i] = np.concatenate([*means, *map(np.ravel, changes), [bool(self.pressed)]], dtype=np.float64)

        def result(i: int, out: np.ndarray) -> None:
            out[...] = results[i]

        total = self.team.sum("gradients", parts, gradients.shape[0], self.model.dtype, part)
        backend.copy_into(gradients, total)
        sizes = [values.size for _, values in before.values]
        numbers = self.team.sum("results", parts, sum(sizes) + 1, np.float64, result)
        *ends, (pressed,) = np.split(numbers, np.cumsum(sizes))
        for (array, start), end in zip(before.values, ends, strict=True):
            end = end.reshape(start.shape).astype(start.dtype)
            backend.copy_into(array, end if any(array is each for each in averaged) else start + end)
        self.interrupted.raised = bool(pressed)
        loss.count(rows)
        self._begin((), self._update)

    def _backward(self) -> None:
        """Apply the clip alone, to the gradients of the whole batch: the passes are made."""
        if self.clip is not None:
            self.clip(self.parameters)

    def _arrays(self) -> dict[str, Any]:
        return {**super()._arrays(), "gradients": self.model.gradients()}  # which a clip changes and no pass makes anew

    def _rows(self, array: Any, rows: slice) -> Any:
        """Return these rows: on a GPU the same view each time, as a graph is captured for it."""
        if self.backend.on_host:
            return array[rows]
        view = self._views.get(key := (id(array), rows.start, rows.stop))
        if view is None or view[0] is not array:
            view = self._views[key] = array, array[rows]
        return view[1]

    def _start_part(self, i: int, before: Snapshot) -> list[np.ndarray]:
        """Set what a step changes to where part i starts from, and return that."""
        before.restore()
        for array in _arrays_of(self.loss, 2):
            self.backend.copy_into(array, np.zeros(2))
        for array, values in before.values:
            if id(array) in self._draws:
                self.backend.copy_into(array, values + np.uint32(i))
        return [self.backend.to_numpy(array) for array, _ in before.values]


def _arrays_of(loss: Loss, size: int) -> list[Any]:
    """Return the arrays of a loss that have one number, the mean of the batch, or two, sums since `restart`."""
    return [array for array in loss.arrays().values() if array is not None and array.shape == (size,)]


def _of_kind(kinds: str, arrays: list[Any]) -> list[Any]:
    return [array for array in arrays if array.dtype.kind in kinds]
