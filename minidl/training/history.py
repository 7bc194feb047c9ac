"""The record of a training run, epoch by epoch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from minidl.training.curves import draw_curves
from minidl.utils import checks
from minidl.utils.figures import finish
from minidl.utils.files import write_whole
from minidl.utils.guide import Guided
from minidl.utils.reports import Report, Table


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean training loss over the epoch, while the weights moved, without penalties.
        accuracy: The same for the accuracy; None for a loss that has none.
        validation_loss: Loss on the validation data after the epoch; None without them.
        validation_accuracy: The same for the accuracy.
        learning_rate: That of the last step.
        seconds: Wall time, with validation.
        penalty: Mean over the steps of what the penalties of the model added to the cost.
        cost: loss + penalty.
    """

    epoch: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    penalty: float = 0.0

    @property
    def cost(self) -> float:
        return self.loss + self.penalty

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch:>3}", f"loss {self.loss:.4f}"]
        if self.penalty:
            parts.append(f"cost {self.cost:.4f}")
        if self.accuracy is not None:
            parts.append(f"accuracy {self.accuracy:.2%}")
        if self.validation_loss is not None:
            parts.append(f"validation loss {self.validation_loss:.4f}")
        if self.validation_accuracy is not None:
            parts.append(f"validation accuracy {self.validation_accuracy:.2%}")
        return "   ".join([*parts, f"{self.seconds:.2f} s"])


COLUMNS = (*(field.name for field in fields(Epoch)), "cost")


class History(Guided, Report):
    """The epochs of a run, in order. `print(history)` shows them; `history["loss"]` is one column as a list.

    Attributes:
        epochs: One `Epoch` for each pass over the data.
        interrupted: Whether Ctrl-C ended the run.
    """

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.interrupted = False

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, column: str) -> list[Any]:
        checks.key("column", column, COLUMNS)
        return [getattr(epoch, column) for epoch in self.epochs]

    def headline(self) -> str:
        return f"{len(self)} epochs" + (f", the last: {self.epochs[-1]}" if self.epochs else "")

    def parts(self) -> Iterator[str | Table]:
        yield from map(str, self.epochs) if self.epochs else ["no epoch was finished"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON object for each epoch, a line each; the file `path` is written whole or not at all."""
        with write_whole(path, "w") as file:
            for epoch in self.epochs:
                file.write(json.dumps(asdict(epoch)) + "\n")

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw loss and accuracy, training and validation, into a file or, without, a figure.

        The suffix of `path` chooses the format.

        Raises:
            ValueError: If no epoch was finished, or matplotlib does not write that format.
        """
        if not self.epochs:
            raise ValueError("the history is empty: no epoch was finished, so there is nothing to draw")
        return finish(draw_curves({column: self[column] for column in COLUMNS}), path)
