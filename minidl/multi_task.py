"""A loss for several tasks on shared layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.backend import Backend
from minidl.layers.heads import Heads
from minidl.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy
from minidl.utils import checks

UNKNOWN = -1  # the label of a row that has none for a head
OF_LABELS = SoftmaxCrossEntropy, BinaryCrossEntropy  # the losses whose targets may be labels


class MultiTask(Loss):
    """Several tasks on shared layers: L = Σ wᵢ Lᵢ, with a loss Lᵢ and a weight wᵢ for each head of a `Heads` layer.

    A row need not have all labels: where a head's label is -1, "unknown", its loss is 0 and it sends no gradient. Lᵢ
    stays a mean over all rows of the batch, so that each label counts alike whatever its batch; a head with few labels
    may need a larger weight.

    Args:
        heads: The `Heads` layer at the end of the model.
        weights: wᵢ by name of the head, greater than 0; 1 where it is left out.
        losses: A loss for each head, by name.

    Targets are a dict with those of each head, as in `Dataset(x, {"digit": labels, "parity": odd})`. The accuracy is
    the mean over the heads that have one, each over the rows whose label is known; `by_head` tells them apart.

    Raises:
        TypeError, ValueError: If a head has no loss, a loss serves two heads, or a weight is not above 0.
    """

    takes_dict = True
    lowest_label = UNKNOWN

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
            if not isinstance(loss := losses.get(name), Loss) or loss.takes_dict:
                raise TypeError(f"{name} got {checks.describe(loss)}; expected a loss for that head")
        if len({id(loss) for loss in losses.values()}) < len(losses):
            raise ValueError("losses got one loss for two heads; make a new loss for each")
        self.heads = heads
        self.losses = {name: losses[name] for name in heads.heads}
        self.widths = {name: columns.stop - columns.start for name, columns in heads.columns.items()}
        self.weights = {
            name: checks.real(f"weights[{name!r}]", weights.get(name, 1.0), above=0.0) for name in heads.heads
        }
        self._known: dict[str, Any] = {}  # by head: the number of labels that are known, twice, since `restart`
        self._ones: Any = None
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
        return {name: self._check_head(argument, name, targets[name], rows, dtype) for name in self.losses}

    def _check_head(self, argument: str, name: str, targets: Any, rows: int, dtype: np.dtype) -> np.ndarray:
        argument, loss, width = f"{argument}[{name!r}]", self.losses[name], self.widths[name]
        given = checks.as_array(argument, targets, "targets") if isinstance(loss, OF_LABELS) else None
        if given is None or given.dtype.kind != "i" or given.ndim != 1 or UNKNOWN not in given:
            return loss.check_targets(argument, targets, rows, width, dtype)
        unknown = given == UNKNOWN
        checked = loss.check_targets(argument, np.where(unknown, 0, given), rows, width, dtype).copy()
        checked[unknown] = UNKNOWN
        return checked

    def mixable(self, targets: Any, n_out: int, dtype: np.dtype) -> Any:
        for name, loss in self.losses.items():
            if isinstance(loss, OF_LABELS) and (targets[name] < 0).any():
                raise ValueError(f"targets[{name!r}] got {UNKNOWN}; expected all labels, because targets are mixed")
        return {name: loss.mixable(targets[name], self.widths[name], dtype) for name, loss in self.losses.items()}

    def use(self, backend: Backend) -> None:
        if backend is not self._backend:
            super().use(backend)
            self._known, self._ones = {}, None
            for loss in self.losses.values():
                loss.use(backend)

    def compute_unchecked(self, outputs: Any, targets: Any) -> None:
        if self._outputs is not None and self._outputs.dtype != outputs.dtype:
            self._known, self._ones = {}, None  # the losses of the heads begin anew, too
        self._outputs, self._targets = outputs, targets
        rows, one = outputs.shape[0], outputs.dtype.type(1)
        for name, loss in self.losses.items():
            part = self._buffers.get(name, (rows, self.widths[name]), outputs.dtype)
            self._ops.copy_columns(outputs, self.heads.columns[name].start, one, part, 0, self.widths[name])
            if isinstance(loss, OF_LABELS):
                loss._compute(part, self._without_unknown(name, targets[name]), targets[name])
            else:
                loss.compute_unchecked(part, targets[name])

    def _without_unknown(self, name: str, labels: Any) -> Any:
        """Return labels with 0 for those that nobody knows, and count the others."""
        rows, dtype = labels.shape[0], self._outputs.dtype
        if self._ones is None or self._ones.shape[0] < rows:
            self._ones = self._backend.array(np.ones(rows, dtype), dtype)
        if name not in self._known:
            self._known[name] = self._backend.zeros((2,), np.float64)
        known, mean = self._buffers.get("known", (rows,), dtype), self._buffers.get("mean", (1,), dtype)
        self._ops.mask_rows(labels, self._ones[:rows], known)
        self._ops.mean_loss(known, known, mean, self._known[name])
        clean = self._buffers.get(f"{name} labels", labels.shape, labels.dtype)
        self._ops.mask_rows(labels, labels, clean)
        return clean

    def backward(self) -> Any:
        outputs = self._outputs
        if outputs is None:
            raise RuntimeError(f"{type(self).__name__}: backward needs a forward pass before it")
        doutputs = self._buffers.get("doutputs", outputs.shape, outputs.dtype)
        for name, loss in self.losses.items():
            dpart, weight = loss.backward(), checks.in_dtype(f"weights[{name!r}]", self.weights[name], outputs.dtype)
            start = self.heads.columns[name].start
            if isinstance(loss, OF_LABELS):
                self._ops.mask_rows(self._targets[name], dpart, dpart)
            self._ops.copy_columns(dpart, 0, weight, doutputs, start, dpart.shape[1])
        return doutputs

    @property
    def value(self) -> float:
        return sum(self.weights[name] * loss.value for name, loss in self.losses.items())

    def restart(self) -> None:
        for loss in self.losses.values():
            loss.restart()
        for known in self._known.values():
            self._backend.copy_into(known, np.zeros(2))

    def mean_so_far(self) -> tuple[float, float | None]:
        mean = sum(self.weights[name] * loss.mean_so_far()[0] for name, loss in self.losses.items())
        accuracies = [accuracy for _, accuracy in self.by_head().values() if accuracy is not None]
        return mean, sum(accuracies) / len(accuracies) if accuracies else None

    def count(self, rows: int) -> None:
        for loss in self.losses.values():
            loss.count(rows)

    def arrays(self) -> dict[str, Any]:
        arrays = {f"{name}: known labels": known for name, known in self._known.items()}
        for name, loss in self.losses.items():
            arrays |= {f"{name}: {what}": array for what, array in loss.arrays().items()}
        return arrays

    def by_head(self) -> dict[str, tuple[float, float | None]]:
        """Return the mean loss and accuracy of each head since `restart`, over the rows whose label is known.

        Where no label is known, the loss is NaN and the accuracy None.
        """
        means = {}
        for name, loss in self.losses.items():
            mean, accuracy = loss.mean_so_far()
            share = self._known_share(name)
            if accuracy is not None:
                accuracy = accuracy / share if share else None
            means[name] = mean / share if share else math.nan, accuracy
        return means

    def _known_share(self, name: str) -> float:
        """Return the share of the rows since `restart` whose label is known."""
        rows = self.losses[name]._rows_so_far
        if name not in self._known or not rows:
            return 1.0
        return float(self._backend.to_numpy(self._known[name])[0]) / rows

    def loss_at_random(self, n_out: int) -> float | None:
        total = 0.0
        for name, loss in self.losses.items():
            part = loss.loss_at_random(self.widths[name])
            if part is None:
                return None
            total += self.weights[name] * part * self._known_share(name)
        return total
