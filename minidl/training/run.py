"""Floor 5: the training loop.

One step is the four lines that every lecture shows:

    y = model.forward(x, training=True)
    loss.forward(y, labels)
    model.backward(loss.backward())
    optimizer.step(model.parameters())

`fit` puts around them the order of the samples, augmentation, clipping, validation, the display, callbacks, and the
ways in which a run ends early and goes on later.
"""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from minidl.data.dataset import Dataset
from minidl.layers.base import Layer
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.optimizers import Optimizer
from minidl.training.batches import Batches
from minidl.training.history import Epoch, History
from minidl.training.interrupts import Flag, interrupt_between_steps
from minidl.training.step import TrainingStep
from minidl.utils import checks, storage
from minidl.utils.reprs import without_address

EVALUATION_BATCH = 1024


class DivergenceError(ArithmeticError):
    """The loss or the weights became NaN or infinite. `layer` is the first layer whose output was not finite, or None;
    `history` has the epochs before."""

    layer: Layer | None = None
    history: History


class Evaluation(NamedTuple):
    """Mean loss and accuracy over a data set; the accuracy is None for a loss that has none."""

    loss: float
    accuracy: float | None

    def __str__(self) -> str:
        return f"loss {self.loss:.4f}" + (f", accuracy {self.accuracy:.2%}" if self.accuracy is not None else "")


class Callback:
    """Does nothing at any event; the module says when each comes."""

    follows_steps = False
    writes = False  # whether it only writes or records: a resumed run may add such callbacks, or leave them out

    def __repr__(self) -> str:
        """A resumed run must have the same callbacks, told by their repr: show what changes the training."""
        return f"{type(self).__name__}()"

    def on_start(self, run: Run) -> None: ...

    def on_epoch_start(self, run: Run) -> None: ...

    def on_step_start(self, run: Run) -> None: ...

    def on_step_end(self, run: Run) -> None: ...

    def on_epoch_end(self, run: Run) -> None: ...

    def write(self, run: Run) -> None: ...

    def on_end(self, run: Run) -> None: ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a checkpoint keeps of this callback: a description in JSON, and arrays by name."""
        return {}, {}

    def restore(self, run: Run, description: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take a state back. Raises ValueError for one that does not fit the run; the model is not yet restored."""


class Run:
    """A training run, as callbacks see it: the arguments of `fit` under their names, and

    history   the epochs so far
    epoch     the number of the present epoch, from 1
    step      how many steps the run has made
    stopped   why the run ends after this epoch, or None
    """

    def __init__(
        self, model, train, loss, optimizer, validation, epochs, batch_size, shuffle, augmentation, clip, callbacks,
        graph, progress,
    ):  # fmt: skip
        checks.instance("model", model, Sequential)
        checks.instance("loss", loss, Loss)
        checks.instance("optimizer", optimizer, Optimizer)
        checks.function("augmentation", augmentation)
        followers = [callback for callback in callbacks if callback.follows_steps]
        if followers and graph is True:
            raise ValueError(
                f"graph got True; expected 'auto' or False beside {followers[0]!r}, which follows the steps"
            )
        self.training_step = TrainingStep(model, loss, optimizer, clip=clip, graph=graph)
        if followers:
            self.training_step.graph = False
        self.model, self.loss, self.optimizer, self.validation = model, loss, optimizer, validation
        self.epochs = checks.integer("epochs", epochs)
        self.batch_size = checks.integer("batch_size", batch_size)
        self.shuffle = checks.boolean("shuffle", shuffle)
        self.callbacks, self.progress = callbacks, progress
        self.augmentation = augmentation
        self.history = History()
        self.step = 0
        self.stopped: str | None = None
        self.parameters = self.training_step.parameters
        x, targets = _prepare("train", model, train, loss)
        if getattr(augmentation, "mixes_targets", False):
            targets = loss.mixable(targets, model.n_out or x.shape[1], model.dtype)
        held_out = None if validation is None else _prepare("validation", model, validation, loss)
        last = len(x) % batch_size or batch_size
        if last < model.smallest_batch:
            raise ValueError(
                f"batch_size got {batch_size}, which leaves a last batch of {last} row out of {len(x)}; batch "
                f"normalization expects at least {model.smallest_batch}: choose another batch_size"
            )
        self.batches = Batches(model.backend, x, targets, batch_size)
        self._data = {"train": (x, targets), "validation": held_out}
        # What a resumed run must share with the one before it, to be the same run. Some of it changes on the way: a
        # schedule may drive the rate of a layer.
        at_start = model.model_description()
        self.settings: dict[str, Any] = {
            "model": at_start["model"],
            "seed": at_start["seed"],
            "dtype": at_start["dtype"],
            "loss": repr(loss),
            "optimizer": repr(optimizer),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "augmentation": without_address(augmentation),
            "clip": without_address(clip),
            "callbacks": [without_address(callback) for callback in callbacks if not callback.writes],
        }

    @functools.cached_property
    def data_digests(self) -> dict[str, int | None]:
        """Checksums of the data, which a resumed run must share, too; only runs with checkpoints pay for them."""
        return {name: None if data is None else _checksum(*data) for name, data in self._data.items()}

    @property
    def epoch(self) -> int:
        return len(self.history) + 1

    def stop(self, reason: str) -> None:
        """End the run after this epoch."""
        self.stopped = reason

    def go(self) -> None:
        """Train to the last epoch, or until somebody stops the run."""
        self._tell("on_start")
        with interrupt_between_steps() as interrupted:
            while self.epoch <= self.epochs and not self.stopped and not interrupted:
                self._train_one_epoch(interrupted)
        self.history.interrupted = bool(interrupted)
        self._tell("on_end")
        if self.progress and self.stopped:
            print(f"stopped: {self.stopped}", flush=True)
        if self.progress and interrupted:
            print(
                f"interrupted; whole epochs: {len(self.history)}. The model keeps what it has learned", flush=True
            )  # fmt: skip

    def _tell(self, event: str) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self)

    def _train_one_epoch(self, interrupted: Flag) -> None:
        start = time.perf_counter()
        model = self.model
        rows = self.batches.rows
        order = self._rng("order").permutation(rows) if self.shuffle else np.arange(rows)
        batches = self.batches.in_order(order)
        if self.augmentation is not None:
            batches = self.batches.augmented(order, self._augmenter())
        self._tell("on_epoch_start")
        if self.callbacks or self.validation is not None:
            self.training_step.forget()  # a callback may have changed something; validation has used the buffers
        steps = self._steps(batches, -(-rows // self.batches.size), interrupted)
        if steps is None:
            return
        model.epochs_trained += 1
        mean_loss, accuracy = self.loss.mean_so_far()
        penalty = sum(float(model.backend.to_numpy(cost)[1]) for cost in self._costs()) / steps
        held_out: Any = (None, None)
        if self.validation is not None:
            held_out = evaluate(model, self.validation, loss=self.loss)
            if not math.isfinite(held_out.loss):
                raise self._divergence("validation loss", held_out.loss, f"after epoch {self.epoch}")
        self._check_weights()
        self.history.epochs.append(
            Epoch(
                self.epoch,
                mean_loss,
                accuracy,
                held_out[0],
                held_out[1],
                learning_rate=self.optimizer.learning_rate,
                seconds=time.perf_counter() - start,
                penalty=penalty,
            )
        )
        if self.progress:
            print(self.history.epochs[-1], flush=True)
        self._tell("on_epoch_end")
        self._tell("write")

    def _rng(self, what: str) -> np.random.Generator:
        """For this epoch: the same numbers however often the run was stopped."""
        return self.model.streams.generator(f"{self.model.name}.{what}.{self.model.epochs_trained}")

    def _augmenter(self) -> Callable:
        rng = self._rng("augmentation")
        return lambda x, targets: self.augmentation(x, targets, rng)

    def _steps(self, batches: Iterator[tuple[Any, Any]], steps: int, interrupted: Flag) -> int | None:
        """One pass over the data; the number of steps, or None if it was interrupted before its end."""
        model, loss, interval = self.model, self.loss, self.model.backend.readback_interval
        before = [callback.on_step_start for callback in self.callbacks if callback.follows_steps]
        after = [callback.on_step_end for callback in self.callbacks if callback.follows_steps]
        loss.restart()
        for cost in self._costs():
            model.backend.copy_into(cost, np.zeros(2))
        description = f"epoch {self.epoch}/{self.epochs}"
        hidden = None if self.progress else True  # None: only where stderr is a terminal
        with tqdm(total=steps, desc=description, leave=False, disable=hidden, file=sys.stderr) as bar:
            for step, (x, targets) in enumerate(batches, start=1):
                for tell in before:
                    tell(self)
                self.training_step.forward(x, targets)
                if step % interval == 0 or step == steps:
                    self._look(f"in epoch {self.epoch}, step {step}", bar)
                self.training_step.update()
                self.step += 1
                for tell in after:
                    tell(self)
                bar.update()
                if interrupted and step < steps:
                    return None
        return steps

    def _look(self, when: str, bar: tqdm) -> None:
        if not math.isfinite(self.loss.value):
            raise self._divergence("loss", self.loss.value, when)
        if not bar.disable:
            bar.set_postfix_str(str(Evaluation(*self.loss.mean_so_far())), refresh=False)

    def _costs(self) -> list[Any]:
        return [layer.cost for layer in self.model.walk() if layer.cost is not None]

    def _check_weights(self) -> None:
        for parameter in self.parameters:
            values = self.model.backend.to_numpy(parameter.value)
            if not np.isfinite(values).all():
                wrong = values[~np.isfinite(values)][0]
                raise self._divergence(parameter.name, wrong, f"in the last step of epoch {self.epoch}")

    def _divergence(self, what: str, value: float, when: str) -> DivergenceError:
        layer = self.model.first_not_finite()
        where = (
            f"the first layer with a non-finite output is {layer.label}" if layer else "all layer outputs are finite"
        )
        error = DivergenceError(
            f"the {what} became {value} {when}; {where}. "
            f"Try a smaller learning rate, another initializer, or batch normalization"
        )
        error.layer, error.history = layer, self.history
        return error


def evaluate(model: Sequential, data: Dataset, *, loss: Loss) -> Evaluation:
    """Mean loss and accuracy of `model` on `data`, at inference.

    Raises TypeError or ValueError if the data do not fit the model or the loss.
    """
    checks.instance("model", model, Sequential)
    checks.instance("loss", loss, Loss)
    model.parameters()
    x, targets = _prepare("data", model, data, loss)
    loss.use(model.backend)
    loss.restart()
    for batch, batch_targets in Batches(model.backend, x, targets, EVALUATION_BATCH).in_order(np.arange(len(x))):
        loss.compute(model.forward(batch), batch_targets)
    return Evaluation(*loss.mean_so_far())


def _checksum(x: np.ndarray, targets: Any) -> int:
    heads = targets if isinstance(targets, dict) else {"": targets}
    return storage.checksum({"x": x, **{f"y {head}": part for head, part in heads.items()}})


def _prepare(argument: str, model: Sequential, data: Dataset, loss: Loss) -> tuple[np.ndarray, np.ndarray]:
    """x in the model's dtype and targets as the loss takes them, checked once for the whole run."""
    if not isinstance(data, Dataset):
        raise TypeError(f"{argument} got {checks.describe(data)}; expected a minidl.data.Dataset(x, y)")
    x = checks.finite(f"{argument}.x", np.ascontiguousarray(data.x, model.dtype))
    if model.n_in is not None and x.shape[1] != model.n_in:
        layer = model.demanding("n_in")
        raise ValueError(f"{argument}.x got {x.shape[1]} features; layer {layer.label} expects {model.n_in}")
    n_out = model.n_out or x.shape[1]
    return x, loss.check_targets(f"{argument}.y", data.y, len(x), n_out, model.dtype)
