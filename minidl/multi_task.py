"""A loss for several tasks on shared layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.backend import Backend
from minidl.layers.heads import Heads
from minidl.losses import Loss
from minidl.utils import checks


class MultiTask(Loss):
    """Several tasks on shared layers: L = Σ wᵢ Lᵢ, with a loss Lᵢ and a weight wᵢ for each head of a `Heads` layer.

    Args:
        heads: The `Heads` layer at the end of the model.
        weights: wᵢ by name of the head, greater than 0; 1 where it is left out.
        losses: A loss for each head, by name.

    Targets are a dict with those of each head, as in `Dataset(x, {"digit": labels, "parity": odd})`. The accuracy is
    the mean over the heads that have one; `by_head` tells them apart.
    """

    def __init__(self, heads: Heads, weights: dict[str, float] | None = None, **losses: Loss):
        super().__init__()
        if not isinstance(heads, Heads):
            raise TypeError(f"heads got {checks.describe(heads)}; expected the minidl.Heads layer of the model")
        weights = {} if weights is None else weights
        if not isinstance(weights, dict):
            raise TypeError(f"weights got {checks.describe(weights)}; expected a dict with numbers by name of the head")
        for argument, names in (("losses", losses), ("weights", weights)):
            for name in names:
                checks.one_of(f"a name in {argument}", name, heads.heads)
        for name in heads.heads:
            if not isinstance(losses.get(name), Loss):
                raise TypeError(f"{name} got {checks.describe(losses.get(name))}; expected a loss for that head")
        if len({id(loss) for loss in losses.values()}) < len(losses):
            raise ValueError("losses got one loss for two heads; make a new loss for each")
        self.heads = heads
        self.losses = {name: losses[name] for name in heads.heads}
        self.widths = {name: columns.stop - columns.start for name, columns in heads.columns.items()}
        self.weights = {
            name: checks.real(f"weights[{name!r}]", weights.get(name, 1.0), above=0.0) for name in heads.heads
        }
        self.has_accuracy = any(loss.has_accuracy for loss in losses.values())

    def __repr__(self) -> str:
        losses = ", ".join(f"{name}={loss!r}" for name, loss in self.losses.items())
        return f"MultiTask({self.heads!r}, weights={self.weights!r}, {losses})"

    def new(self) -> MultiTask:
        return MultiTask(self.heads, self.weights, **{name: loss.new() for name, loss in self.losses.items()})

    def check_targets(self, argument: str, targets: Any, rows: int, n_out: int, dtype: np.dtype) -> Any:
        if not isinstance(targets, dict) or targets.keys() != self.losses.keys():
            got = f"targets for {', '.join(map(repr, targets))}" if isinstance(targets, dict) else "no dict"
            raise ValueError(f"{argument} got {got}; expected a dict with targets for {', '.join(self.losses)}")
        if n_out != self.heads.n_out:
            raise ValueError(f"the model gives {n_out} outputs; the heads of the loss have {self.heads.n_out}")
        return {
            name: loss.check_targets(f"{argument}[{name!r}]", targets[name], rows, self.widths[name], dtype)
            for name, loss in self.losses.items()
        }

    def mixable(self, targets: Any, n_out: int, dtype: np.dtype) -> Any:
        return {name: loss.mixable(targets[name], self.widths[name], dtype) for name, loss in self.losses.items()}

    def use(self, backend: Backend) -> None:
        if backend is not self._backend:
            super().use(backend)
            for loss in self.losses.values():
                loss.use(backend)

    def compute_unchecked(self, outputs: Any, targets: Any) -> None:
        self._outputs = outputs
        rows, one = outputs.shape[0], outputs.dtype.type(1)
        for name, loss in self.losses.items():
            part = self._buffers.get(name, (rows, self.widths[name]), outputs.dtype)
            self._ops.copy_columns(outputs, self.heads.columns[name].start, one, part, 0, self.widths[name])
            loss.compute_unchecked(part, targets[name])

    def backward(self) -> Any:
        outputs = self._outputs
        if outputs is None:
            raise RuntimeError(f"{type(self).__name__}: backward needs a forward pass before it")
        doutputs = self._buffers.get("doutputs", outputs.shape, outputs.dtype)
        for name, loss in self.losses.items():
            dpart, weight = loss.backward(), checks.in_dtype(f"weights[{name!r}]", self.weights[name], outputs.dtype)
            start = self.heads.columns[name].start
            self._ops.copy_columns(dpart, 0, weight, doutputs, start, dpart.shape[1])
        return doutputs

    @property
    def value(self) -> float:
        return sum(self.weights[name] * loss.value for name, loss in self.losses.items())

    def restart(self) -> None:
        for loss in self.losses.values():
            loss.restart()

    def mean_so_far(self) -> tuple[float, float | None]:
        means = self.by_head()
        accuracies = [accuracy for _, accuracy in means.values() if accuracy is not None]
        loss = sum(self.weights[name] * mean for name, (mean, _) in means.items())
        return loss, sum(accuracies) / len(accuracies) if accuracies else None

    def count(self, rows: int) -> None:
        for loss in self.losses.values():
            loss.count(rows)

    def arrays(self) -> dict[str, Any]:
        return {f"{name}: {what}": array for name, loss in self.losses.items() for what, array in loss.arrays().items()}

    def by_head(self) -> dict[str, tuple[float, float | None]]:
        """Return the mean loss and accuracy of each head over all rows since `restart`."""
        return {name: loss.mean_so_far() for name, loss in self.losses.items()}

    def loss_at_random(self, n_out: int) -> float | None:
        total = 0.0
        for name, loss in self.losses.items():
            part = loss.loss_at_random(self.widths[name])
            if part is None:
                return None
            total += self.weights[name] * part
        return total
