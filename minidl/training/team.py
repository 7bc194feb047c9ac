"""A training run that is shared among the ranks of a team (`minidl.parallel`).

Every rank has the whole data set and the whole model. A batch is cut into parts, rows that follow one another, and each
rank makes the two passes for its parts. Then gradients, losses, penalties and running estimates are added along one
tree, and every rank updates its weights, which so stay the same bits everywhere.

Batch normalization sees a part, "ghost batches" (Hoffer et al. 2017), or on request the whole batch
(`sync_batch_norm.py`). Each part starts from the same running estimates, and their mean over the parts, weighted by
rows, is that of the batch. A layer that draws counts a draw for each part, so that masks depend on the place of a row
in the batch.
"""

from __future__ import annotations

import contextlib
import math
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
from minidl.parallel import Team, end_all
from minidl.training.batches import Batches
from minidl.training.callbacks import Checkpoint, Log
from minidl.training.divergence import check_finite
from minidl.training.evaluation import Evaluation
from minidl.training.interrupts import Flag, interrupt_between_steps
from minidl.training.run import Run
from minidl.training.step import TrainingStep, inputs_of
from minidl.training.sync_batch_norm import copy_for_part, run_together
from minidl.utils import checks, storage
from minidl.utils.output import say

ONE_PROGRAM = "one program with one seed and the same data on all ranks"
SAME = "weights that only training changes, on processors of one kind, and so the same"


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
        self.training_step.keeps_copies = not self.step_callbacks  # which may change a layer
        self.settings["parts"] = f"{team.parts} with sync_batch_norm" if team.sync_batch_norm else team.parts
        start = {"epochs": self.epochs, **self.settings, **self.data_digests, "backend": self.model.backend.name}
        self._check_same({**start, "weights": storage.checksum(self.model.snapshot())})

    def _check_same(self, values: dict[str, Any], expected: str = ONE_PROGRAM) -> None:
        """Refuse ranks that do not all have the same values."""
        first, *others = self.team.from_all(values)
        for rank, other in enumerate(others, start=1):
            if wrong := [name for name in first if other[name] != first[name]]:
                raise ValueError(f"{wrong[0]} got other values on rank {rank} than on rank 0; expected {expected}")

    @contextlib.contextmanager
    def interruption(self) -> Iterator[Flag]:
        """Turn Ctrl-C on any rank into a flag that all of them see after the same step."""
        with interrupt_between_steps() as pressed, self._exit_of_all():
            self.training_step.pressed = pressed
            yield self.training_step.interrupted

    @contextlib.contextmanager
    def _exit_of_all(self) -> Iterator[None]:
        """Let `sys.exit` on one rank, of which the others would know nothing, end all of them when it has ended."""
        try:
            yield
        except SystemExit as left:
            say(f"rank {self.team.rank} has left the training by sys.exit, so all ranks end")
            code = left.code if isinstance(left.code, int) else 1
            end_all(code & 0xFF or 1)  # of 256 systems would make 0
            raise

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
        during = event not in ("on_start", "on_end")  # the time of `interruption`
        with contextlib.nullcontext() if during else self._exit_of_all():
            for callback in self.callbacks:
                if self.team.rank == 0 or not isinstance(callback, (Checkpoint, Log)):
                    getattr(callback, event)(self)
        if event == "on_epoch_end":
            self._check_same({"weights": storage.checksum(self.model.snapshot())}, f"{SAME} after epoch {len(epochs)}")
        if event in ("on_start", "on_epoch_end"):
            step = self.training_step
            reasons, pressed = zip(*self.team.from_all((self.stopped, bool(step.pressed))), strict=True)
            self.stopped = next(filter(None, reasons), None)
            step.interrupted.raised = any(pressed)

    def check_loss(self, step: int) -> None:
        """Raise DivergenceError on all ranks, which have the same loss; it names the first layer in any part."""
        if not math.isfinite(self.loss.value):
            wrong = set().union(*self.team.from_all(self.training_step.not_finite))
            layer = next((layer for layer in self.model.walk() if layer.label in wrong), None)
            when = f"in epoch {self.epoch}, step {step}"
            check_finite(self.model, self.history, "loss", self.loss.value, when, layer)

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
        keeps_copies: Whether copies of the model, for `sync_batch_norm`, serve more than one step.
        not_finite: Of each own part with a NaN or an infinity in the last step, the first layer that had it.
    """

    keeps_copies = True

    def __init__(self, team: Team, model: Sequential, loss: Loss, optimizer: Optimizer, **options: Any):
        super().__init__(model, loss, optimizer, **options)
        self.team, self.pressed, self.interrupted = team, Flag(), Flag()
        self._views: dict[tuple[int, int, int], tuple[Any, Any]] = {}  # of arrays on a GPU: the array and its rows
        self._own = Place(model, loss)
        self._shares: dict[int, float] = {}
        self.not_finite: set[str] = set()
        if team.sync_batch_norm:
            if self._graph_required:
                raise ValueError("graph got True; expected 'auto' or False with sync_batch_norm, which waits in a pass")
            self.graph = False

    def forget(self) -> None:
        super().forget()
        self._copies: dict[int, Place] = {}  # with `sync_batch_norm`: for each part

    @np.errstate(all="ignore")  # what is not finite is found in the results
    def forward(self, x: Any, targets: Any, look: bool = True) -> None:
        """Make both passes for the own parts, and add the results of all ranks; the update is always on its own."""
        backend, loss, sync = self.backend, self.loss, self.team.sync_batch_norm
        heads, inputs = inputs_of(x, targets)
        self.optimizer.prepare(self.parameters)  # which refuses a model without weights
        rows, smallest = x.shape[0], self.model.smallest_batch
        parts = max(1, min(self.team.parts, rows // smallest))
        cuts = [rows * i // parts for i in range(parts + 1)]
        if not all(array is not None for array in loss.arrays().values()):  # they are made in the first pass
            with Snapshot(backend, [*self._own.states, *self._own.costs]):
                self._forward(heads, *(array[:smallest] for array in inputs))
            loss.restart()

        before = [backend.to_numpy(array) for array in self._own.arrays()]
        averaged, sizes = len(self._own.averaged()), [values.size for values in before]
        starts: dict[int, list[np.ndarray]] = {}
        results: dict[int, np.ndarray] = {}
        self.not_finite = set()

        def passes(i: int) -> None:
            place, own = self._place(i), slice(cuts[i], cuts[i + 1])
            self._shares[i] = (own.stop - own.start) / rows
            starts[i] = place.start(i, before)
            self._begin(tuple(self._rows(array, own) for array in inputs), both := partial(place.passes, heads))
            (self._replay[0] if self._replay else both)(*self._inputs)
            self._end()

        def part(i: int, out: np.ndarray) -> None:
            if not sync:
                passes(i)
            place, share = self._place(i), self._shares[i]
            np.multiply(backend.on_the_host(place.model.gradients()), out.dtype.type(share), out=out)
            ends = [backend.on_the_host(array) for array in place.arrays()]
            means = [share * end for end in ends[:averaged]]
            changes = [end - start for end, start in zip(ends[averaged:], starts[i][averaged:], strict=True)]
            results[i] = np.concatenate([*map(np.ravel, means + changes), [bool(self.pressed)]], dtype=np.float64)
            if not np.isfinite(results[i]).all() and (layer := place.model.first_not_finite()):
                self.not_finite.add(layer.label)

        def result(i: int, out: np.ndarray) -> None:
            out[...] = results[i]

        if sync:
            self._copies = self._copies if self.keeps_copies else {}
            run_together(self.team, parts, passes)
        gradients = self.model.gradients()
        backend.copy_into(gradients, self.team.sum("gradients", parts, gradients.shape[0], self.model.dtype, part))
        numbers = self.team.sum("results", parts, sum(sizes) + 1, np.float64, result)
        *ends, (pressed,) = np.split(numbers, np.cumsum(sizes))
        for number, (array, start, end) in enumerate(zip(self._own.arrays(), before, ends, strict=True)):
            end = end.reshape(start.shape).astype(start.dtype)
            backend.copy_into(array, end if number < averaged else start + end)
        self.interrupted.raised = bool(pressed)
        loss.count(rows)
        self._begin((), self._update)

    def _backward(self) -> None:
        """Apply the clip alone, to the gradients of the whole batch: the passes are made."""
        if self.clip is not None:
            self.clip(self.parameters)

    def _arrays(self) -> dict[str, Any]:
        # A clip changes the gradients, and no pass makes them anew.
        return {**super()._arrays(), "gradients": self.model.gradients()}

    def _place(self, i: int) -> Place:
        """Return where the passes of part i are made."""
        if not self.team.sync_batch_norm:
            return self._own
        if i not in self._copies:
            self._copies[i] = Place(*copy_for_part(self.model, self.loss, lambda: self._shares[i]))
        return self._copies[i]

    def _rows(self, array: Any, rows: slice) -> Any:
        """Return these rows: on a GPU the same view each time, as a graph is captured for it."""
        if self.backend.on_host:
            return array[rows]
        view = self._views.get(key := (id(array), rows.start, rows.stop))
        if view is None or view[0] is not array:
            view = self._views[key] = array, array[rows]
        return view[1]


class Place:
    """Where passes of parts are made: a model with its loss, and what a pass changes in them beside the gradients."""

    def __init__(self, model: Sequential, loss: Loss):
        self.model, self.loss, self.backend = model, loss, model.backend
        self.states = [array for layer in model.walk() for array in layer.state_arrays()]
        self.draws = {id(layer.step) for layer in model.walk() if isinstance(layer, Stochastic)}
        self.costs = [layer.cost for layer in model.walk() if layer.cost is not None]

    def averaged(self) -> list[Any]:
        """Return the arrays whose mean over the parts, weighted by rows, counts; a boolean: any."""
        return [*_arrays_of(self.loss, 1), *_of_kind("fb", self.states), *self.costs]

    def arrays(self) -> list[Any]:
        """Return these, and the arrays whose changes are added up."""
        return [*self.averaged(), *_arrays_of(self.loss, 2), *_of_kind("iu", self.states)]

    def start(self, i: int, before: list[np.ndarray]) -> list[np.ndarray]:
        """Set the arrays to where part i starts from, and return that."""
        for array, values in zip(self.arrays(), before, strict=True):
            self.backend.copy_into(array, values + np.uint32(i) if id(array) in self.draws else values)
        for array in _arrays_of(self.loss, 2):
            self.backend.copy_into(array, np.zeros(2))
        return [self.backend.to_numpy(array) for array in self.arrays()]

    def passes(self, heads: list[str] | None, x: Any, *targets: Any) -> None:
        """Make both passes."""
        by_head = dict(zip(heads, targets, strict=True)) if heads else targets[0]
        self.loss.compute_unchecked(self.model.forward(x, training=True), by_head)
        self.model.backward_parameters(self.loss.backward())


def _arrays_of(loss: Loss, size: int) -> list[Any]:
    """Return the arrays of a loss that have one number, the mean of the batch, or two, sums since `restart`."""
    return [array for array in loss.arrays().values() if array is not None and array.shape == (size,)]


def _of_kind(kinds: str, arrays: list[Any]) -> list[Any]:
    return [array for array in arrays if array.dtype.kind in kinds]
