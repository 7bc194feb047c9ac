"""Floor 5: the training loop.

One step is the four lines that every lecture shows:

    y = model.forward(x, training=True)
    loss.forward(y, labels)
    model.backward(loss.backward())
    optimizer.step(model.parameters())

`fit` puts around them the order of the samples, validation, the display, and the two ways in which a run ends early.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from minidl import checks
from minidl.backend import Backend
from minidl.data.dataset import Dataset
from minidl.history import Epoch, History
from minidl.layers.base import Layer
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.optimizers import Optimizer

EVALUATION_BATCH = 1024


class DivergenceError(ArithmeticError):
    """The loss became NaN or infinite. `layer` is the first layer whose output was not finite, or None;
    `history` has the epochs before."""

    layer: Layer | None = None
    history: History


class Evaluation(NamedTuple):
    """Mean loss and accuracy over a data set; the accuracy is None for a loss that has none."""

    loss: float
    accuracy: float | None

    def __str__(self) -> str:
        return f"loss {self.loss:.4f}" + (f", accuracy {self.accuracy:.2%}" if self.accuracy is not None else "")


def fit(
    model: Sequential,
    train: Dataset,
    *,
    loss: Loss,
    optimizer: Optimizer,
    validation: Dataset | None = None,
    epochs: int = 10,
    batch_size: int = 128,
    shuffle: bool = True,
    progress: bool = True,
) -> History:
    """Train `model` on `train` and return what happened in each epoch.

    loss, optimizer   what is made small, and how
    validation        a data set to evaluate after each epoch
    epochs            passes over the data
    batch_size        rows for each step; a last, smaller batch is used too
    shuffle           whether each epoch takes the rows in a new random order, drawn from the model's seed
    progress          whether to show a bar (on stderr, if that is a terminal) and print a line for each epoch

    Ctrl-C ends the run after the current step: the model keeps what it has learned, and `history.interrupted` is true.
    A second fit of the same model with the same optimizer goes on where the first one stopped.

    Raises TypeError or ValueError for arguments that do not fit together, before the first step; `DivergenceError`
    when the loss becomes NaN or infinite.
    """
    _check("model", model, Sequential)
    _check("loss", loss, Loss)
    _check("optimizer", optimizer, Optimizer)
    checks.integer("epochs", epochs)
    checks.integer("batch_size", batch_size)
    checks.boolean("shuffle", shuffle)
    checks.boolean("progress", progress)
    model.parameters()  # settles a model that has no backend yet
    x, targets = _prepare("train", model, train, loss)
    if validation is not None:
        _prepare("validation", model, validation, loss)
    last = len(x) % batch_size or batch_size
    if last < model.smallest_batch:
        raise ValueError(
            f"batch_size got {batch_size}, which leaves a last batch of {last} row out of {len(x)}; batch "
            f"normalization expects at least {model.smallest_batch}: choose another batch_size"
        )

    history = History()
    loss.use(model.backend)
    batches = _Batches(model.backend, x, targets, batch_size)
    with _interrupt_between_steps() as interrupted:
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            order = _order(model, len(x)) if shuffle else np.arange(len(x))
            _train_one_epoch(model, loss, optimizer, batches, order, epoch, epochs, progress, interrupted, history)
            if interrupted:
                break
            model.epochs_trained += 1
            mean_loss, accuracy = loss.mean_so_far()
            held_out: Any = evaluate(model, validation, loss=loss) if validation is not None else (None, None)
            if held_out[0] is not None and not math.isfinite(held_out[0]):
                raise _divergence(model, "validation loss", held_out[0], f"after epoch {epoch}", history)
            seconds = time.perf_counter() - start
            history.epochs.append(
                Epoch(
                    epoch,
                    mean_loss,
                    accuracy,
                    held_out[0],
                    held_out[1],
                    learning_rate=optimizer.learning_rate,
                    seconds=seconds,
                )
            )
            if progress:
                print(history.epochs[-1], flush=True)
            if interrupted:
                break
    if interrupted:
        history.interrupted = True
        if progress:
            print(f"interrupted; whole epochs: {len(history)}. The model keeps what it has learned", flush=True)
    return history


def _train_one_epoch(model, loss, optimizer, batches, order, epoch, epochs, progress, interrupted, history):
    parameters = model.parameters()
    interval = model.backend.readback_interval
    steps = -(-len(order) // batches.size)
    loss.restart()
    with tqdm(
        total=steps, desc=f"epoch {epoch}/{epochs}", leave=False, disable=None if progress else True, file=sys.stderr
    ) as bar:
        for step, (x, targets) in enumerate(batches.in_order(order), start=1):
            outputs = model.forward(x, training=True)
            loss.compute(outputs, targets)
            if step % interval == 0 or step == steps:
                value = loss.value
                if not math.isfinite(value):
                    raise _divergence(model, "loss", value, f"in epoch {epoch}, step {step}", history)
                if not bar.disable:
                    mean, accuracy = loss.mean_so_far()
                    bar.set_postfix_str(str(Evaluation(mean, accuracy)), refresh=False)
            model.backward_parameters(loss.backward())
            optimizer.step(parameters)
            bar.update()
            if interrupted:
                return


def evaluate(model: Sequential, data: Dataset, *, loss: Loss) -> Evaluation:
    """Mean loss and accuracy of `model` on `data`, at inference.

    Raises TypeError or ValueError if the data do not fit the model or the loss.
    """
    _check("model", model, Sequential)
    _check("loss", loss, Loss)
    model.parameters()
    x, targets = _prepare("data", model, data, loss)
    loss.use(model.backend)
    loss.restart()
    for batch, batch_targets in _Batches(model.backend, x, targets, EVALUATION_BATCH).in_order(np.arange(len(x))):
        loss.compute(model.forward(batch), batch_targets)
    return Evaluation(*loss.mean_so_far())


class _Batches:
    """The rows of a data set in any order, batch by batch, as arrays of the backend."""

    def __init__(self, backend: Backend, x: np.ndarray, targets: np.ndarray, size: int):
        self.backend, self.x, self.targets = backend, x, targets
        self.size = min(size, len(x))
        self._x = np.empty((self.size, *x.shape[1:]), x.dtype)
        self._targets = np.empty((self.size, *targets.shape[1:]), targets.dtype)

    def in_order(self, order: np.ndarray) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(order), self.size):
            rows = order[start : start + self.size]
            x, targets = self._x[: len(rows)], self._targets[: len(rows)]
            np.take(self.x, rows, axis=0, out=x, mode="clip")  # `clip` writes straight into `out`; rows are in range
            np.take(self.targets, rows, axis=0, out=targets, mode="clip")
            yield self.backend.wrap(x), self.backend.wrap(targets)


def _order(model: Sequential, rows: int) -> np.ndarray:
    """A random order of the rows, a function of the model's seed and of the number of epochs it has seen."""
    return model.streams.generator(f"{model.name}.order.{model.epochs_trained}").permutation(rows)


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


def _check(argument: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        hint = f"; did you mean {value.__name__}()?" if isinstance(value, type) and issubclass(value, kind) else ""
        raise TypeError(f"{argument} got {checks.describe(value)}; expected a minidl.{kind.__name__}{hint}")


def _divergence(model: Sequential, what: str, value: float, when: str, history: History) -> DivergenceError:
    layer = model.first_not_finite()
    where = f"the first layer with a non-finite output is {layer.label}" if layer else "all layer outputs are finite"
    error = DivergenceError(
        f"the {what} became {value} {when}; {where}. "
        f"Try a smaller learning rate, another initializer, or batch normalization"
    )
    error.layer, error.history = layer, history
    return error


class _Flag:
    """Becomes true when Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.raised = False

    def __bool__(self) -> bool:
        return self.raised


@contextlib.contextmanager
def _interrupt_between_steps() -> Iterator[_Flag]:
    """Turn the first Ctrl-C into a flag, so that no step is left half done; a second one interrupts at once."""
    flag = _Flag()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield flag
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        flag.raised = True
        signal.signal(signal.SIGINT, before)

    if before is not signal.default_int_handler:  # somebody else handles it: leave that alone
        yield flag
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
