"""What a sweep has found: its trials, as a table, as pictures, and the best one as a command and as a program."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from minidl.perceptron import Settings
from minidl.sweeps.figures import count_of, draw_sweep
from minidl.utils.figures import finish
from minidl.utils.files import write_whole
from minidl.utils.reports import Report, Table

SHOWN = 10  # of the best trials
COLUMNS = ("trial", "loss", "epochs", "state")


@dataclass(frozen=True)
class Trial:
    """One training run of a sweep.

    Attributes:
        number: From 1.
        state: "complete", "pruned" (stopped early, because others were better) or "diverged".
        loss: Validation loss after the last epoch; infinite if it diverged.
        values: What was varied, by name.
        settings: All settings, the seed included: `minidl train` with them gives the same bits.
        losses: Validation loss after each epoch.
    """

    number: int
    state: str
    loss: float
    values: dict[str, Any]
    settings: Settings
    losses: Sequence[float]

    def row(self) -> list[str]:
        """Return the trial as a row of a table, whose columns are `COLUMNS` and what was varied."""
        values = (shown(value) for value in self.values.values())
        return [str(self.number), f"{self.loss:.4f}", str(len(self.losses)), self.state, *values]

    def options(self) -> str:
        """Return the options of `minidl train` that differ from the defaults, as text."""
        words: list[str] = []
        for field in fields(Settings):
            value, option = getattr(self.settings, field.name), field.name.replace("_", "-")
            if value == field.default:
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                words += [f"--{option}", *map(quoted, value if isinstance(value, (list, tuple)) else [value])]
        return " ".join(words)


@dataclass(frozen=True, repr=False)
class Sweep(Report):
    """The result of `minidl.sweep`.

    Attributes:
        trials: All trials, in order.
        importance: For each hyperparameter the share that it had in what made the best quarter of the trials good, by
            PED-ANOVA (Watanabe et al. 2023); empty where fewer than four complete trials differ.
        interrupted: Whether Ctrl-C ended the sweep.
        rows: Of the training data.
        n_in: Features.
        n_out: Outputs of the networks.
        classification: Whether the targets are classes.
        data: The options of `minidl train` that name the data.
    """

    trials: Sequence[Trial]
    importance: dict[str, float]
    interrupted: bool
    rows: int
    n_in: int
    n_out: int
    classification: bool
    data: str = "--data FILE"

    @property
    def best(self) -> Trial | None:
        """The complete trial with the smallest loss; None where each diverged or none is complete."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return min(complete, key=lambda trial: trial.loss, default=None)

    def command(self) -> str:
        """Return the best setting as a command, which gives the same bits with the same data."""
        return f"minidl train {self.data} {self._winner().options()}".rstrip()

    def python(self) -> str:
        """Return the best setting as a program; `train` and `validation` are the data."""
        settings = self._winner().settings
        options = [f"seed={settings.seed}"]
        for name, default in (("backend", "auto"), ("dtype", "float32")):
            if (value := getattr(settings, name)) != default:
                options.append(f"{name}={value!r}")
        model = settings.model(self.n_in, self.n_out)
        if model.penalty is not None:
            options.append(f"penalty=dl.{model.penalty}")
        loss = "MeanSquaredError()"
        if self.classification:
            loss = f"SoftmaxCrossEntropy({settings.label_smoothing or ''})"
        optimizer = settings.new_optimizer(self.rows)
        (rate,) = optimizer.schedules.values() or [settings.learning_rate]
        rate_text = f"dl.schedules.{rate!r}" if optimizer.schedules else repr(rate)
        return "\n".join(
            [
                "model = dl.Sequential(",
                *(f"    dl.{layer!r}," for layer in model.layers),
                f"    {', '.join(options)},",
                ")",
                "dl.fit(",
                f"    model, train, validation=validation, loss=dl.{loss},",
                f"    optimizer=dl.{type(optimizer).__name__}({rate_text}), epochs={settings.epochs}, "
                f"batch_size={settings.batch_size},",
                ")",
            ]
        )

    def _winner(self) -> Trial:
        if self.best is None:
            raise ValueError(f"none of {count_of(self.trials)} is complete, so there is no best setting")
        return self.best

    def headline(self) -> str:
        best = "" if self.best is None else f", the best: loss {self.best.loss:.4f}"
        return f"{count_of(self.trials)}{best}"

    def parts(self) -> Iterator[str | Table]:
        states = [trial.state for trial in self.trials]
        counts = (f"{states.count(state)} {state}" for state in ("complete", "pruned", "diverged") if state in states)
        yield f"{count_of(self.trials)}: {', '.join(counts)}" if self.trials else "no trial was finished"
        if not self.trials:
            return
        names = [*self.trials[0].values]
        yield Table([[*COLUMNS, *names], *(trial.row() for trial in best_first(self.trials))], sides(names))
        if self.importance:
            ordered = sorted(self.importance.items(), key=lambda item: -item[1])
            yield "importance: " + ", ".join(f"{name} {share:.0%}" for name, share in ordered)
        if self.best is not None:
            yield ""
            yield "The best setting again:"
            yield self.command()
            yield ""
            yield self.python()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON object for each trial, a line each, with an infinite loss as null; whole or not at all."""
        with write_whole(path, "w") as file:
            for trial in self.trials:
                record = {**asdict(trial), "loss": trial.loss if math.isfinite(trial.loss) else None}
                file.write(json.dumps(record) + "\n")

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw loss over trials, importance, and loss against each hyperparameter, into a file or, without, a figure.

        The suffix of `path` chooses the format.

        Raises:
            ValueError: If no trial was finished, or matplotlib does not write that format.
        """
        if not self.trials:
            raise ValueError("no trial was finished, so there is nothing to draw")
        return finish(draw_sweep(self.trials, self.importance), path)


def best_first(trials: Sequence[Trial]) -> list[Trial]:
    """Return the ten best trials, the complete ones first."""
    return sorted(trials, key=lambda trial: (trial.state != "complete", trial.loss))[:SHOWN]


def sides(names: Sequence[str]) -> str:
    """Return on which side the cells of each column stand."""
    return ">>><" + ">" * len(names)


def shown(value: Any) -> str:
    """Return a value as text for a table."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def quoted(value: Any) -> str:
    """Return a value as a word of a command, for the shells of all systems."""
    text = value if isinstance(value, str) else repr(value)
    if os.name != "nt" and re.search(r'["$`\\!]', text):  # which have a meaning between double quotes there
        return shlex.quote(text)
    return text if re.fullmatch(r"[\w@%+=:,./\\-]+", text) else f'"{text}"'
