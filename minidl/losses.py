"""Losses: means over the batch, computed from logits where there are probabilities.

The forward pass returns the loss, the backward pass its gradient with respect to the outputs of the network.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl.backend import Backend
from minidl.backend.buffers import Buffers
from minidl.data.targets import map_targets, one_hot
from minidl.utils import checks
from minidl.utils.reprs import Configurable


class Loss(Configurable):
    """A number that says how far outputs of shape (batch, n_out) are from their targets.

    The two passes by hand:   value = loss.forward(outputs, targets);   doutputs = loss.backward()

    A training loop that must not wait for the device calls `compute` and `count` instead of `forward`, and reads
    `mean_so_far` now and then. A loss runs on the CPU until `use` gives it another backend; `fit` does.

    Raises:
        TypeError, ValueError: For an argument out of its range, and for outputs and targets that do not fit.
    """

    has_accuracy = True
    takes_dict = False  # of targets, with several arrays
    lowest_label = 0

    def __init__(self) -> None:
        self._backend: Any = None
        self._outputs: Any = None
        self._mean: Any = None
        self._totals: Any = None
        self._rows_so_far = 0

    # For subclasses to fill in ---------------------------------------------------------------------------------------

    def check_targets(self, argument: str, targets: Any, rows: int, n_out: int, dtype: np.dtype) -> np.ndarray:
        """Return the targets as the operations take them, so that no operation sees a bad label.

        Args:
            argument: The name of the targets in messages.
            targets: What the user gave.
            rows: Rows of the outputs.
            n_out: Columns of the outputs.
            dtype: Of the outputs.

        Raises:
            TypeError, ValueError: If the targets do not fit.
        """
        targets = checks.finite(argument, checks.matrix(argument, targets, dtype))
        if targets.shape != (rows, n_out):
            raise ValueError(f"{argument} got shape {targets.shape}; expected {(rows, n_out)}, that of the outputs")
        return targets

    def mixable(self, targets: Any, n_out: int, dtype: np.dtype) -> Any:
        """Return checked targets in a form whose weighted means make sense, for mixup: labels as probabilities."""
        return one_hot(targets, n_out, dtype) if targets.ndim == 1 else targets

    def _forward(self, outputs: Any, targets: Any, row_losses: Any, row_correct: Any) -> None:
        raise NotImplementedError

    def _backward(self, outputs: Any, targets: Any, doutputs: Any) -> None:
        raise NotImplementedError

    # For everybody ---------------------------------------------------------------------------------------------------

    def new(self) -> Loss:
        """Return a loss with the same arguments and no results yet."""
        return type(self)(**self.get_config())

    def show(self, other: Loss) -> None:
        """Take the results of `other`: a run measures with a `new` loss of its own, as threads may share this one."""
        vars(self).update(vars(other))

    def forward(self, outputs: Any, targets: Any) -> float:
        """Return the mean loss over the batch.

        Args:
            outputs: Of the network, shape (batch, n_out).
            targets: As the loss takes them; their shape is in its description.

        Raises:
            TypeError, ValueError: If the targets do not fit the outputs.
        """
        self.compute(outputs, targets)
        self.count(self._outputs.shape[0])
        return self.value

    def backward(self) -> Any:
        """Return dL/doutputs of the last forward pass, shape (batch, n_out); the next pass reuses the memory."""
        if self._outputs is None:
            raise RuntimeError(f"{self!r}: backward needs a forward pass before it")
        doutputs = self._buffers.get("doutputs", self._outputs.shape, self._outputs.dtype)
        self._backward(self._outputs, self._targets, doutputs)
        return doutputs

    def use(self, backend: Backend) -> None:
        """Run on `backend` from now on."""
        if backend is not self._backend:
            self._backend = checks.instance("backend", backend, Backend)
            self._buffers = Buffers(backend)
            self._mean = self._totals = self._outputs = None

    def compute(self, outputs: Any, targets: Any) -> None:
        """Do `forward(outputs, targets)` without waiting for the result, which `value` and `mean_so_far` read."""
        on_host = not hasattr(outputs, "__cuda_array_interface__")
        if self._backend is None or self._backend.on_host != on_host:
            self.use(backends.get("cpu" if on_host else "cuda"))
        if on_host:
            outputs = self._backend.wrap(checks.matrix("outputs", outputs))
        rows, n_out = outputs.shape
        targets = self.check_targets("targets", targets, rows, n_out, outputs.dtype)
        self.compute_unchecked(outputs, map_targets(self._backend.wrap, targets))

    def compute_unchecked(self, outputs: Any, targets: Any) -> None:
        """Do the operations of the forward pass, on arrays of the backend that are known to fit."""
        self._compute(outputs, targets)

    def _compute(self, outputs: Any, targets: Any, labels: Any = None) -> None:
        """Do the same; rows whose entry in `labels` is negative count as rows with loss 0."""
        self._outputs, self._targets = outputs, targets
        rows, dtype = outputs.shape[0], outputs.dtype
        if self._mean is None or self._mean.dtype != dtype:
            self._mean = self._backend.zeros((1,), dtype)
            self._totals = self._backend.zeros((2,), np.float64)
            self._rows_so_far = 0
        row_losses = self._buffers.get("row_losses", (rows,), dtype)
        row_correct = self._buffers.get("row_correct", (rows,), dtype)
        self._forward(outputs, targets, row_losses, row_correct)
        for each in (row_losses, row_correct) if labels is not None else ():
            self._ops.mask_rows(labels, each, each)
        self._ops.mean_loss(row_losses, row_correct, self._mean, self._totals)

    def count(self, rows: int) -> None:
        """Count rows whose losses `compute` has added to the totals."""
        if type(rows) is not int:
            rows = checks.integer("rows", rows, minimum=0)
        self._rows_so_far += rows

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that a forward pass writes, by name."""
        return {"loss": self._mean, "totals of the loss": self._totals}

    @property
    def _ops(self) -> Any:
        return self._backend.operations

    @property
    def value(self) -> float:
        """The mean loss of the last batch; reading it waits for the device."""
        self._check_started("value")
        return float(self._backend.to_numpy(self._mean)[0])

    def __call__(self, *arguments: Any) -> Any:
        raise TypeError("a loss is no function: value = loss.forward(y, targets), then model.backward(loss.backward())")

    def _check_started(self, what: str) -> None:
        if self._mean is None:
            raise RuntimeError(f"{self!r}: {what} needs a forward pass before it")

    def restart(self) -> None:
        """Start a new average for `mean_so_far`."""
        self._rows_so_far = 0
        if self._mean is not None:
            self._backend.copy_into(self._totals, np.zeros(2, self._totals.dtype))

    def mean_so_far(self) -> tuple[float, float | None]:
        """Return the mean loss and accuracy over all rows since `restart`; None for a loss without accuracy."""
        self._check_started("mean_so_far")
        loss, correct = self._backend.to_numpy(self._totals).astype(float) / max(self._rows_so_far, 1)
        return float(loss), float(correct) if self.has_accuracy else None

    def loss_at_random(self, n_out: int) -> float | None:
        """Return the expected loss of a uniform prediction, to compare the first step with; None if unknown."""
        return None


class SoftmaxCrossEntropy(Loss):
    """L = mean over the batch of -Σⱼ tⱼ log softmax(z)ⱼ, for logits z (batch, classes).

    Targets are integer labels (batch,), with t = 1 for the label and 0 elsewhere, or probabilities t (batch, classes).
    Accuracy counts rows whose largest logit is at the (largest) target.
    Backward:  dz = (softmax(z) - t) / batch.

        >>> loss = SoftmaxCrossEntropy()
        >>> round(loss.forward(np.zeros((2, 4)), np.array([0, 2])), 3)  # log 4
        1.386
        >>> loss.backward().round(3).tolist()
        [[-0.375, 0.125, 0.125, 0.125], [0.125, 0.125, -0.375, 0.125]]

    Args:
        label_smoothing: ε in [0, 1): t becomes (1-ε) t + ε/classes (Szegedy et al. 2016), at evaluation too.
    """

    label_smoothing: Any = checks.Checked(checks.real, 0.0, below=1.0)

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    def check_targets(self, argument: str, targets: Any, rows: int, n_out: int, dtype: np.dtype) -> np.ndarray:
        array = checks.as_array(argument, targets, "integer class labels or probabilities")
        if array.ndim == 2 and array.dtype.kind == "f":
            probabilities = checks.probabilities(argument, targets, rows, n_out, dtype)
        else:
            targets = checks.labels(argument, targets, rows, classes=n_out)
            if not self.label_smoothing:
                return targets
            probabilities = one_hot(targets, n_out, dtype)
        if not self.label_smoothing:
            return probabilities
        return (1 - self.label_smoothing) * probabilities + np.asarray(self.label_smoothing / n_out, dtype)

    def _forward(self, outputs: Any, targets: Any, row_losses: Any, row_correct: Any) -> None:
        self._probabilities = self._buffers.get("probabilities", outputs.shape, outputs.dtype)
        forward = self._ops.softmax_cross_entropy_forward if targets.ndim == 1 else self._ops.soft_cross_entropy_forward
        forward(outputs, targets, self._probabilities, row_losses, row_correct)

    def _backward(self, outputs: Any, targets: Any, doutputs: Any) -> None:
        hard = targets.ndim == 1
        backward = self._ops.softmax_cross_entropy_backward if hard else self._ops.soft_cross_entropy_backward
        backward(self._probabilities, targets, doutputs)

    def loss_at_random(self, n_out: int) -> float:
        return math.log(n_out)


class BinaryCrossEntropy(Loss):
    """L = mean over batch and outputs of -t log σ(z) - (1-t) log(1-σ(z)), for logits z and targets t in [0, 1].

    Targets have the shape of the logits, (batch, n_out); for one output, integer labels 0 and 1 of shape (batch,) will
    do. Accuracy counts outputs on the right side of 1/2.
    Backward:  dz = (σ(z) - t) / (batch · n_out).
    """

    def check_targets(self, argument: str, targets: Any, rows: int, n_out: int, dtype: np.dtype) -> np.ndarray:
        given = checks.as_array(argument, targets, "probabilities from 0 to 1")
        if n_out == 1 and given.dtype.kind in "iub":
            targets = checks.labels(argument, targets, rows, classes=2)[:, None].astype(dtype)
        elif given.ndim == 1 and given.dtype.kind in "iub":
            raise ValueError(
                f"{argument} got shape {given.shape}; expected {(rows, n_out)}, a probability for each output: for "
                f"class labels use minidl.data.one_hot(y, {n_out})"
            )
        targets = super().check_targets(argument, targets, rows, n_out, dtype)
        wrong = (targets < 0) | (targets > 1)
        if wrong.any():
            raise ValueError(f"{argument} got {checks.exact(targets[wrong][0])}; expected probabilities from 0 to 1")
        return targets

    def _forward(self, outputs: Any, targets: Any, row_losses: Any, row_correct: Any) -> None:
        self._ops.binary_cross_entropy_forward(outputs, targets, row_losses, row_correct)

    def _backward(self, outputs: Any, targets: Any, doutputs: Any) -> None:
        self._ops.binary_cross_entropy_backward(outputs, targets, doutputs)

    def loss_at_random(self, n_out: int) -> float:
        return math.log(2)


class MeanSquaredError(Loss):
    """L = mean over batch and outputs of (y - t)².

    Backward:  dy = 2 (y - t) / (batch · n_out).
    """

    has_accuracy = False

    def _forward(self, outputs: Any, targets: Any, row_losses: Any, row_correct: Any) -> None:
        self._ops.mean_squared_error_forward(outputs, targets, row_losses, row_correct)

    def _backward(self, outputs: Any, targets: Any, doutputs: Any) -> None:
        self._ops.mean_squared_error_backward(outputs, targets, doutputs)


def softmax(logits: Any) -> np.ndarray:
    """Return probabilities from logits: eᶻ / Σ eᶻ over each row, as a NumPy array of shape (rows, classes).

        >>> softmax(np.array([[1.0, 1.0], [1000.0, 0.0]])).round(3).tolist()
        [[0.5, 0.5], [1.0, 0.0]]

    Args:
        logits: z, shape (rows, classes).

    Raises:
        TypeError, ValueError: If `logits` is not a finite (rows, classes) array of floats.
    """
    logits = checks.finite("logits", checks.matrix("logits", logits))
    probabilities = np.empty_like(logits)
    cpu = backends.get("cpu")
    cpu.operations.softmax(cpu.wrap(logits), probabilities)
    return probabilities
