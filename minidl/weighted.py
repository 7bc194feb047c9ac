"""A loss in which rows count more or less."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.backend import Backend
from minidl.losses import Loss
from minidl.utils import checks

PARTS = ("target", "weight")


def _weights(argument: str, value: Any) -> list[float]:
    """Return a list of numbers of at least 0, not all 0; a dict has them by class, from 0."""
    if isinstance(value, dict):
        if value.keys() != set(range(len(value))):
            raise ValueError(
                f"{argument} got weights of {sorted(map(str, value))}; expected classes 0, 1, ... and no other"
            )
        value = [value[label] for label in range(len(value))]
    if isinstance(value, str):
        expected = "a list of weights, such as dl.data.balanced_class_weight(train.y)"
        raise TypeError(f"{argument} got {value!r}; expected {expected}")
    listed = checks.listed(argument, value, "weights, one for each class")
    weights = [checks.real(f"{argument}[{i}]", weight, 0.0) for i, weight in enumerate(listed)]
    if not any(weights):
        raise ValueError(f"{argument} got {weights}; expected at least one weight above 0")
    return weights


class Weighted(Loss):
    """Rows that count more or less: L = mean over the batch of wᵢ lᵢ, where `loss` alone is the mean of lᵢ.

    wᵢ is the weight of the row, times that of its class. The mean divides by the rows of the batch, not by Σ wᵢ, so
    that a row counts alike whatever its batch; weights whose mean is 1 leave the size of the loss as it is.
    Backward:  doutputs[i] = wᵢ times that of `loss`. The accuracy counts rows without weights.

        >>> from minidl import MeanSquaredError
        >>> loss = Weighted(MeanSquaredError())
        >>> loss.forward(np.array([[1.0], [2.0]]), {"target": np.zeros((2, 1)), "weight": np.array([3, 1])})
        3.5
        >>> loss.backward().tolist()
        [[3.0], [2.0]]

    Args:
        loss: For one task, such as `SoftmaxCrossEntropy()`.
        class_weight: A weight of at least 0 for each class, in a list or as {0: 1, 1: 5}; see
            `minidl.data.balanced_class_weight`. Targets must be labels then.

    Targets are a dict {"target": those of `loss`, "weight": floats of at least 0, shape (rows, 1)}, as in
    `Dataset(x, {"target": y, "weight": weight[:, None]})`; or those of `loss` alone, whose rows have weight 1.

    Raises:
        TypeError, ValueError: If `loss` is no loss for one task, or a weight is below 0 or not finite.
    """

    takes_dict = True
    nonnegative = ("weight",)  # parts of the targets that an augmentation must keep so
    class_weight: Any = checks.Checked(checks.optional, _weights)

    def __init__(self, loss: Loss, class_weight: Any = None):
        super().__init__()
        if not isinstance(loss, Loss) or loss.takes_dict:
            raise TypeError(f"loss got {checks.describe(loss)}; expected a loss for one task, as SoftmaxCrossEntropy()")
        self.loss, self.class_weight = loss, class_weight
        self.has_accuracy = loss.has_accuracy

    def new(self) -> Weighted:
        return Weighted(self.loss.new(), self.class_weight)

    def use(self, backend: Backend) -> None:
        super().use(backend)
        self.loss.use(backend)

    def check_targets(self, argument: str, targets: Any, rows: int, n_out: int, dtype: np.dtype) -> Any:
        weight = np.ones((rows, 1), dtype)
        if isinstance(targets, dict):
            if targets.keys() != set(PARTS):
                got = ", ".join(map(repr, targets))
                raise ValueError(f"{argument} got a dict with {got}; expected one with 'target' and 'weight'")
            weight = self._row_weights(f"{argument}['weight']", targets["weight"], rows, dtype)
            argument, targets = f"{argument}['target']", targets["target"]
        self.widths = dict(zip(PARTS, (n_out, 1), strict=True))  # of the columns that an augmentation must keep
        checked = self.loss.check_targets(argument, targets, rows, n_out, dtype)
        if self.class_weight is not None:
            classes = max(n_out, 2)  # one output tells two classes apart
            if len(self.class_weight) != classes:
                got = f"class_weight got {len(self.class_weight)} weights; expected {classes}"
                raise ValueError(f"{got}, one for each class, as outputs has {n_out} columns")
            labels = checks.labels(argument, targets, rows, classes)
            by_class = checks.reals("class_weight", self.class_weight, np.float64)
            with np.errstate(over="ignore"):
                product = weight * by_class[labels, None]
            weight = checks.reals(f"{argument} times class_weight", product, dtype)
        return {"target": checked, "weight": weight}

    def _row_weights(self, argument: str, weight: Any, rows: int, dtype: np.dtype) -> np.ndarray:
        weight = checks.reals(argument, weight, dtype)
        if weight.shape not in ((rows,), (rows, 1)):
            raise ValueError(f"{argument} got shape {weight.shape}; expected {(rows, 1)}, one for each row of x")
        if weight.size and weight.min() < 0:
            raise ValueError(f"{argument} got {checks.exact(weight.min())}; expected weights of at least 0")
        return np.ascontiguousarray(weight.reshape(rows, 1))

    def mixable(self, targets: Any, n_out: int, dtype: np.dtype) -> Any:
        raise ValueError(f"loss got {self!r}; expected a loss without weights, because targets are mixed")

    def _forward(self, outputs: Any, targets: Any, row_losses: Any, row_correct: Any) -> None:
        self.loss._forward(outputs, targets["target"], row_losses, row_correct)
        self._ops.scale_rows(targets["weight"], row_losses, row_losses)

    def _backward(self, outputs: Any, targets: Any, doutputs: Any) -> None:
        self.loss._backward(outputs, targets["target"], doutputs)
        self._ops.scale_rows(targets["weight"], doutputs, doutputs)
