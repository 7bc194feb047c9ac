"""A training run: the arguments of `fit` and what changes from step to step, as callbacks see it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset, check_same_names
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.optimizers import Optimizer
from minidl.training.augmented import checked_augmentation
from minidl.training.batches import Batches
from minidl.training.divergence import check_arrays, check_finite
from minidl.training.evaluation import EVALUATION_BATCH, evaluate_batches, prepare
from minidl.training.history import History
from minidl.training.interrupts import interrupt_between_steps
from minidl.training.progress import Progress
from minidl.training.step import TrainingStep
from minidl.utils import checks, storage
from minidl.utils.guide import Guided
from minidl.utils.reprs import without_address


class Callback(Guided):
    """Base class of callbacks: does nothing at any event. `minidl.training.callbacks` says when each comes.

    Attributes:
        follows_steps: Whether it needs `on_step_start` and `on_step_end`; steps are then never replayed from a graph.
        writes: Whether it only writes or records. A resumed run may add such callbacks, or leave them out.
    """

    follows_steps = False
    writes = False

    def __repr__(self) -> str:
        """Show what changes the training: a resumed run must have the same callbacks, compared by their repr."""
        return f"{type(self).__name__}()"

    def on_start(self, run: Run) -> None: ...

    def on_epoch_start(self, run: Run) -> None: ...

    def on_step_start(self, run: Run) -> None: ...

    def on_step_end(self, run: Run) -> None: ...

    def on_epoch_end(self, run: Run) -> None: ...

    def write(self, run: Run) -> None: ...

    def on_end(self, run: Run) -> None: ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what a checkpoint keeps of this callback: a description in JSON, and arrays by name."""
        return {}, {}

    def restore(self, run: Run, description: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take back a state. The model is not yet restored.

        Raises:
            ValueError: If the state does not fit the run.
        """


class Run:
    """A training run: the arguments of `fit` under their names, and where the run is.

    Attributes:
        history: The epochs so far.
        epoch: The number of the present epoch, from 1.
        step: How many steps the run has made.
        stopped: Why the run ends after this epoch, or None.
        training_step: The `TrainingStep` that makes the steps.
        parameters: The parameters of the model.
    """

    evaluate, interruption = staticmethod(evaluate_batches), staticmethod(interrupt_between_steps)  # a team: together
    new_step: Callable[..., Any] = TrainingStep

    def __init__(
        self,
        model: Sequential,
        train: Dataset,
        loss: Loss,
        optimizer: Optimizer,
        *,
        validation: Dataset | None = None,
        epochs: int = 10,
        batch_size: int = 128,
        shuffle: bool = True,
        augmentation: Callable[..., Any] | None = None,
        clip: Callable[..., Any] | None = None,
        callbacks: Sequence[Callback] = (),
        graph: bool | str = "auto",
        progress: bool = True,
    ):
        if augmentation is not None:
            checks.function("augmentation", augmentation)
        if not isinstance(callbacks, (list, tuple)):
            raise TypeError(f"callbacks got {checks.describe(callbacks)}; expected a list of minidl.Callback")
        for callback in callbacks:
            checks.instance("callbacks", callback, Callback)
        self.step_callbacks = [callback for callback in callbacks if callback.follows_steps]
        self.given_loss, loss = loss, checks.instance("loss", loss, Loss).new()
        self.training_step = self.new_step(model, loss, optimizer, clip=clip, graph=graph)
        if self.step_callbacks and not isinstance(graph, str) and graph:
            raise ValueError(
                f"graph got True; expected 'auto' or False beside {self.step_callbacks[0]!r}, which follows the steps"
            )
        self.training_step.graph &= not self.step_callbacks
        self.model, self.train, self.loss, self.optimizer, self.validation = model, train, loss, optimizer, validation
        self.epochs = checks.integer("epochs", epochs)
        self.batch_size = checks.integer("batch_size", batch_size)
        self.shuffle = checks.boolean("shuffle", shuffle)
        self.progress = checks.boolean("progress", progress)
        self.progress_bar = Progress(self.progress)
        self.augmentation, self.clip, self.callbacks = augmentation, clip, callbacks
        self.history = History()
        self.step = 0
        self.stopped: str | None = None
        self.parameters = self.training_step.parameters
        self.batches, self._validation_batches = self._prepare_data()
        # What a resumed run must share with the one before it. Taken now: a schedule may change the rate of a layer.
        start = model.model_description()
        self.settings: dict[str, Any] = {
            **{name: start[name] for name in ("model", "seed", "dtype")},
            "loss": repr(loss),
            "optimizer": repr(optimizer),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "augmentation": without_address(augmentation),
            "clip": without_address(clip),
            "callbacks": [without_address(callback) for callback in callbacks if not callback.writes],
        }

    def _prepare_data(self) -> tuple[Batches, Batches | None]:
        """Check the data once, before the first step; return training and validation data in batches."""
        model, loss = self.model, self.loss
        x, targets = prepare("train", model, self.train, loss)
        if getattr(self.augmentation, "mixes_targets", False):
            targets = loss.mixable(targets, model.n_out or x.shape[1], model.dtype)
        last = len(x) % self.batch_size or self.batch_size
        if last < model.smallest_batch:
            raise ValueError(
                f"batch_size got {self.batch_size}, which leaves a last batch of {last} row out of {len(x)}; batch "
                f"normalization expects at least {model.smallest_batch}: choose another batch_size"
            )
        batches = Batches(model.backend, x, targets, self.batch_size)
        if self.validation is None:
            return batches, None
        held_out = prepare("validation", model, self.validation, loss)
        check_same_names("validation", self.validation, self.train, "train")
        return batches, Batches(model.backend, *held_out, EVALUATION_BATCH)

    @functools.cached_property
    def data_digests(self) -> dict[str, int | None]:
        """Checksums of the data, which a resumed run must share, too; only runs with checkpoints compute them."""
        data = {"train": self.batches, "validation": self._validation_batches}
        return {name: None if batches is None else storage.checksum(batches.arrays) for name, batches in data.items()}

    @property
    def epoch(self) -> int:
        return len(self.history) + 1

    def stop(self, reason: str) -> None:
        """End the run after this epoch."""
        self.stopped = reason

    def notify(self, event: str) -> None:
        """Call the method `event` of each callback."""
        for callback in self.callbacks:
            getattr(callback, event)(self)

    # One epoch -------------------------------------------------------------------------------------------------------

    def begin_epoch(self) -> Iterator[tuple[Any, Any]]:
        """Reset the averages, and return the batches of this epoch in a new random order."""
        if self.callbacks or self.validation is not None:
            self.training_step.forget()  # a callback may have changed a layer, and evaluation has used the buffers
        self.loss.restart()
        self.model.keep_names(self.train)
        for cost in self._penalties():
            self.model.backend.copy_into(cost, np.zeros(2))
        rows = self.batches.rows
        order = self._generator("order").permutation(rows) if self.shuffle else np.arange(rows)
        if self.augmentation is None:
            return self.batches.in_order(order)
        rng = self._generator("augmentation")
        return self.batches.augmented(order, checked_augmentation(self.augmentation, rng, self.loss, self.model.n_out))

    def _generator(self, name: str) -> np.random.Generator:
        """Return the random numbers of this epoch: the same however often the run was stopped and resumed."""
        return self.model.streams.generator(f"{self.model.name}.{name}.{self.model.epochs_trained}")

    def validate(self) -> tuple[float | None, float | None]:
        """Return loss and accuracy on the validation data; (None, None) without them."""
        if self._validation_batches is None:
            return None, None
        held_out = self.evaluate(self.model, self._validation_batches, self.loss)
        check_finite(self.model, self.history, "validation loss", held_out.loss, f"after epoch {self.epoch}")
        return held_out

    def mean_penalty(self, steps: int) -> float:
        """Return what the penalties of the model added to the cost, as a mean over the steps of this epoch."""
        return sum(float(self.model.backend.to_numpy(cost)[1]) for cost in self._penalties()) / steps

    def _penalties(self) -> list[Any]:
        """Return, for each layer with a penalty, its last value and the sum over the steps."""
        return [layer.cost for layer in self.model.walk() if layer.cost is not None]

    def check_loss(self, step: int) -> None:
        """Raise DivergenceError if the loss of the last forward pass is NaN or infinite."""
        if not math.isfinite(self.loss.value):
            check_finite(self.model, self.history, "loss", self.loss.value, f"in epoch {self.epoch}, step {step}")

    def check_arrays(self, when: str) -> None:
        """Raise DivergenceError if a weight, a running statistic or a moment of the optimizer is NaN or infinite."""
        check_arrays(self.model, self.optimizer, self.history, f"in {when} of epoch {self.epoch}")
