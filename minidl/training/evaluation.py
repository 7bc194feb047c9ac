"""Mean loss and accuracy over a data set, and the check that data fit a model and a loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.data.dataset import Dataset, check_same_names
from minidl.layers.guards import check_features
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.training.batches import Batches
from minidl.training.logits import check_logits
from minidl.utils import checks
from minidl.utils.guide import guided

EVALUATION_BATCH = 1024


class Evaluation(NamedTuple):
    """Mean loss and accuracy over a data set.

    Attributes:
        loss: Mean over all rows, without penalties.
        accuracy: Share of right answers, from 0 to 1; None for a loss that has no accuracy.
    """

    loss: float
    accuracy: float | None

    def __str__(self) -> str:
        return f"loss {self.loss:.4f}" + (f", accuracy {self.accuracy:.2%}" if self.accuracy is not None else "")


@guided
def evaluate(model: Sequential, data: Dataset, *, loss: Loss) -> Evaluation:
    """Return the mean loss and the accuracy of `model` on `data`, at inference.

    Args:
        model: A `Sequential`.
        data: Inputs x, shape (rows, n_in), and targets.
        loss: What measures outputs against targets; penalties of the model are not added.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the data do not fit the model or the loss.
    """
    checks.instance("model", model, Sequential)
    given, loss = loss, checks.instance("loss", loss, Loss).new()
    with model.lock:  # which gives a model without one its backend
        loss.use(model.backend)
        batches = Batches(model.backend, *prepare("data", model, data, loss), EVALUATION_BATCH)
        result = evaluate_batches(model, batches, loss)
    given.show(loss)
    return result


def evaluate_batches(model: Sequential, batches: Batches, loss: Loss) -> Evaluation:
    """Evaluate on data that `prepare` has checked."""
    with model.lock:
        loss.restart()
        for x, targets in batches.in_order(np.arange(batches.rows)):
            loss.compute_unchecked(model.forward(x), targets)
            loss.count(x.shape[0])
        return Evaluation(*loss.mean_so_far())


def prepare(argument: str, model: Sequential, data: Dataset, loss: Loss) -> tuple[np.ndarray, Any]:
    """Check data once for a whole run; return x in the model's dtype and targets in the form that the loss takes."""
    if not isinstance(data, Dataset):
        raise TypeError(f"{argument} got {checks.describe(data)}; expected a minidl.data.Dataset(x, y)")
    x = checks.finite(f"{argument}.x", np.ascontiguousarray(data.x, model.dtype))
    check_features(f"{argument}.x", model, x.shape[1])
    check_same_names(argument, data, model)
    n_out = model.n_out or x.shape[1]
    check_logits(model, loss)
    return x, loss.check_targets(f"{argument}.y", data.y, len(x), n_out, model.dtype)
