"""Writes docs/regularization.md and its two pictures: what each regularizer does to an overfitting network.

python docs/_generate/regularization_study.py [--seeds 5] [--epochs 40] [--processes 2]
python docs/_generate/regularization_study.py --draw      page and pictures again, from the results

Every setting trains 784-512-512-10 with ReLU on the digits that ship with minidl, five times from different seeds.
Before that, each strength of a family is tried on four fifths of the training digits, from two other seeds, and the one
with the lowest loss on the last fifth is studied; the test digits choose nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

import minidl as dl
from minidl.utils.figures import save_figure
from minidl.utils.files import write_whole

DOCS = Path(__file__).parent.parent
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe & Ito


SWEEP_SEEDS = 100, 101


@dataclass(frozen=True)
class Setting:
    """One regularizer: what it changes in the model, the loss and the call of fit."""

    name: str
    family: str  # settings of one family differ in their strength
    dropout: float = 0.0
    batch_norm: bool = False
    penalty: dl.Penalty | None = None
    loss: Callable[[], dl.Loss] = dl.SoftmaxCrossEntropy
    fit: Callable[[], dict[str, Any]] = field(default=dict)
    held_out: float = 0.0  # share of the training samples that is kept for validation
    usual: bool = False  # studied also where another strength of the family has a lower loss


def smoothing(strength: float) -> Callable[[], dl.Loss]:
    return lambda: dl.SoftmaxCrossEntropy(label_smoothing=strength)


def augmentation(step: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"augmentation": dl.data.Augmentation(step)}


SETTINGS = [
    Setting("none", "none"),
    *(Setting(f"L2, {a}", "L2", penalty=dl.L2(float(a))) for a in ("1e-5", "3e-5", "1e-4", "3e-4", "1e-3")),
    *(Setting(f"L1, {a}", "L1", penalty=dl.L1(float(a))) for a in ("1e-6", "3e-6", "1e-5", "3e-5", "1e-4")),
    *(Setting(f"dropout {p}", "dropout", dropout=p, usual=p == 0.5) for p in (0.2, 0.5, 0.7, 0.8, 0.9)),
    Setting("batch norm", "batch norm", batch_norm=True),
    *(
        Setting(f"batch norm, dropout {p}", "batch norm, dropout", dropout=p, batch_norm=True)
        for p in (0.2, 0.5, 0.7, 0.8, 0.9)
    ),
    *(Setting(f"label smoothing {e}", "label smoothing", loss=smoothing(e)) for e in (0.001, 0.003, 0.01, 0.03, 0.1)),
    *(Setting(f"mixup, α = {a}", "mixup", fit=augmentation(dl.data.Mixup(a))) for a in (0.1, 0.2, 0.5, 1.0)),
    *(Setting(f"shifts up to {n} pixels", "shifts", fit=augmentation(dl.data.Shift(n))) for n in (1, 2, 3)),
    Setting(
        "early stopping",
        "early stopping",
        fit=lambda: {"callbacks": [dl.EarlyStopping("validation_loss", patience=5)]},
        held_out=0.1,
    ),
]  # fmt: skip
FAMILIES = list(dict.fromkeys(setting.family for setting in SETTINGS))
WITH_CURVES = "none", "dropout", "shifts"


def of_family(family: str) -> list[Setting]:
    return [setting for setting in SETTINGS if setting.family == family]


def network(setting: Setting, seed: int) -> dl.Sequential:
    layers: list[dl.Layer] = []
    for fan_in in (784, 512):
        layers += [dl.Dense(fan_in, 512), *([dl.BatchNorm(512)] if setting.batch_norm else []), dl.ReLU()]
        layers += [dl.Dropout(setting.dropout)] if setting.dropout else []
    return dl.Sequential(*layers, dl.Dense(512, 10), backend="cpu", seed=seed, penalty=setting.penalty)


def fit(setting: Setting, seed: int, epochs: int, train: dl.data.Dataset, validation: dl.data.Dataset) -> Any:
    model = network(setting, seed)
    history = dl.fit(
        model, train, validation=validation, loss=setting.loss(), optimizer=dl.Adam(1e-3), epochs=epochs,
        progress=False, **setting.fit(),
    )  # fmt: skip
    return model, history


def validate(number: int, seed: int, epochs: int) -> dict[str, Any]:
    """Train a setting on four fifths of the training samples; the loss is that on the others."""
    setting = SETTINGS[number]
    train, validation = dl.data.split(dl.data.digits()[0], 0.8, 0.2, seed=seed)
    model, _ = fit(setting, seed, epochs, train, validation)
    evaluation = dl.evaluate(model, validation, loss=dl.SoftmaxCrossEntropy())
    return {"setting": setting.name, "seed": seed, "validation_loss": evaluation.loss}


def train_one(number: int, seed: int, epochs: int) -> dict[str, Any]:
    """Train a setting from one seed; errors are shares of wrong answers, losses plain cross-entropy."""
    setting = SETTINGS[number]
    train, test = dl.data.digits()
    validation = test
    if setting.held_out:  # the choice of the epoch must not see the test samples
        train, validation = dl.data.split(train, 1 - setting.held_out, setting.held_out, seed=seed)
    model, history = fit(setting, seed, epochs, train, validation)
    result: dict[str, Any] = {"setting": setting.name, "seed": seed, "epochs": len(history)}
    for name, data in (("train", train), ("test", test)):
        evaluation = dl.evaluate(model, data, loss=dl.SoftmaxCrossEntropy())
        result[f"{name}_error"] = 1 - evaluation.accuracy
        result[f"{name}_loss"] = evaluation.loss
    if setting.family in WITH_CURVES:
        result["curves"] = {name: [float(f"{x:.5g}") for x in history[name]] for name in ("loss", "validation_loss")}
    return result


def study(seeds: int, epochs: int, processes: int) -> dict[str, Any]:
    with ProcessPoolExecutor(processes) as pool:
        tried = [number for number, setting in enumerate(SETTINGS) if len(of_family(setting.family)) > 1]
        jobs = [pool.submit(validate, number, seed, epochs) for seed in SWEEP_SEEDS for number in tried]
        sweep = [job.result() for job in jobs]
        chosen = [best(family, sweep) for family in FAMILIES]
        numbers = [number for number, setting in enumerate(SETTINGS) if setting.usual or setting in chosen]
        jobs = [pool.submit(train_one, number, seed, epochs) for seed in range(seeds) for number in numbers]
        return {"sweep": sweep, "results": [job.result() for job in jobs]}


def best(family: str, sweep: list[dict[str, Any]]) -> Setting:
    """The strength with the lowest mean validation loss."""
    return min(of_family(family), key=lambda setting: sum(of(sweep, setting, "validation_loss")))


def studied(results: list[dict[str, Any]]) -> list[Setting]:
    """The settings that have results, in their order."""
    names = {result["setting"] for result in results}
    return [setting for setting in SETTINGS if setting.name in names]


def of(results: list[dict[str, Any]], setting: Setting, figure: str) -> np.ndarray:
    return np.array([result[figure] for result in results if result["setting"] == setting.name])


def draw_errors(results: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    order = sorted(studied(results), key=lambda setting: -of(results, setting, "test_error").mean())
    for row, setting in enumerate(order):
        for name, color, marker, shift in (("test", ORANGE, "s", 0.14), ("train", BLUE, "o", -0.14)):
            errors = of(results, setting, f"{name}_error")
            axes.plot(errors, np.full(len(errors), row + shift), marker, color=color, alpha=0.45, markersize=4)
            label = f"{name}: mean and {len(errors)} seeds" if row == 0 else None
            axes.plot(errors.mean(), row + shift, "|", color=color, markersize=14, markeredgewidth=2.5, label=label)
    first, none = order[-1], SETTINGS[0]
    axes.set_title(
        f"Best: {first.name}, test error {of(results, first, 'test_error').mean():.1%}; "
        f"with nothing {of(results, none, 'test_error').mean():.1%}",
        fontsize="medium",
    )
    axes.set_yticks(range(len(order)), [setting.name for setting in order])
    axes.set_xlabel("error: share of wrong answers")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlim(left=-0.001)
    axes.grid(alpha=0.3, axis="x")
    axes.legend()
    return figure


def draw_curves(results: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    shown = [setting for setting in studied(results) if setting.family in WITH_CURVES]
    for axes, setting in zip(figure.subplots(1, len(shown), sharey=True), shown, strict=True):
        curves = [result["curves"] for result in results if result["setting"] == setting.name]
        for name, key, color, style in (("training", "loss", BLUE, "-"), ("test", "validation_loss", ORANGE, "--")):
            values = np.array([curve[key] for curve in curves])
            epochs = np.arange(1, values.shape[1] + 1)
            axes.plot(epochs, values.mean(axis=0), style, color=color, label=name)
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, linewidth=0)
        axes.set_yscale("log")
        axes.set_title(setting.name, fontsize="medium")
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("mean loss (band: all seeds)")
    figure.axes[0].legend()
    figure.suptitle("Overfitting: the two curves move apart; a regularizer keeps them together", fontsize="medium")
    return figure


def conclusion(results: list[dict[str, Any]], figure: str, what: str) -> str:
    """Say which settings differ from none by more than two standard errors of the difference."""
    none = of(results, SETTINGS[0], figure)
    better, worse, unclear = [], [], []
    for setting in studied(results)[1:]:
        values = of(results, setting, figure)
        difference = values.mean() - none.mean()
        error = np.sqrt(values.var(ddof=1) / len(values) + none.var(ddof=1) / len(none))
        (unclear if abs(difference) <= 2 * error else better if difference < 0 else worse).append(setting.name)
    groups = ("is lower with", better), ("is higher with", worse), ("is not clearly different with", unclear)
    return " ".join(f"The {what} {says} {'; '.join(names)}." for says, names in groups if names)


def apart(results: list[dict[str, Any]]) -> str:
    """Name the seeds whose test loss is more than half as large again as that of every other seed of their setting."""
    said = []
    for setting in studied(results):
        *others, last = of(results, setting, "test_loss").argsort()
        losses, errors = of(results, setting, "test_loss"), of(results, setting, "test_error")
        if losses[last] > 1.5 * losses[others].max():
            said.append(
                f"One seed of {setting.name} stands apart, with a test error of {errors[last]:.2%} and of "
                f"{of(results, setting, 'train_error')[last]:.2%} on the training samples; the other "
                f"{len(others)} have {errors[others].mean():.2%} and a test loss of {losses[others].mean():.3f} on "
                "average."
            )
    if any("L2" in each for each in said):
        said.append("With L2 the training loss jumps up now and then and comes back; that run ended in a jump.")
    return " ".join(said)


def how_strong(sweep: list[dict[str, Any]]) -> str:
    if not sweep:
        return "The strengths are usual values, chosen beforehand; these results were made before the study swept them."
    tried = [family for family in FAMILIES if len(of_family(family)) > 1]
    edges = [family for family in tried if best(family, sweep) in (of_family(family)[0], of_family(family)[-1])]
    grids = [f"{family} {', '.join(map(strength, of_family(family)))}" for family in tried]
    text = (
        f"Of the strengths of each family ({'; '.join(grids)}) the one with the lowest loss on a fifth of the training "
        f"samples, {len(SWEEP_SEEDS)} other seeds, is shown, and {' and '.join(s.name for s in SETTINGS if s.usual)}, "
        "because the lowest loss need not mean the fewest errors."
    )
    return text + (f" At an edge of what was tried: {'; '.join(edges)}." if edges else "")


def strength(setting: Setting) -> str:
    return re.findall(r"[\d.]+(?:e-\d)?", setting.name)[-1]


def page(results: list[dict[str, Any]], sweep: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    train, test = dl.data.digits()
    seeds = len(of(results, SETTINGS[0], "seed"))
    rows = []
    for setting in studied(results):
        cells = [setting.name]
        for figure in ("train_error", "test_error"):
            values = of(results, setting, figure)
            cells.append(f"{values.mean():.2%} ± {values.std(ddof=1):.2%}")
        losses = of(results, setting, "test_loss")
        cells.append(f"{losses.mean():.3f} ± {losses.std(ddof=1):.3f}")
        rows.append("| " + " | ".join(cells) + " |")
    stopped = of(results, SETTINGS[-1], "epochs")
    return "\n".join(
        [
            "# What regularizers do",
            "",
            "A network 784-512-512-10 with ReLU, Adam with learning rate 1e-3 and batches of 128, on the "
            f"{len(train):,} training digits that ship with minidl; {settings['epochs']} epochs, {seeds} seeds. "
            "Errors are shares of wrong answers on the training samples (without augmentation or dropout) and on "
            f"{len(test):,} test samples: mean ± standard deviation over the seeds. " + how_strong(sweep),
            "",
            "| regularizer | training error | test error | test loss |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Early stopping holds a tenth of the training samples out and stopped after {stopped.min()} to "
            f"{stopped.max()} epochs. One test sample is {1 / len(test):.2%}: differences as small as the spread mean "
            "nothing. " + apart(results),
            "",
            "A difference from nothing counts as clear from two of its standard errors on. "
            + " ".join(
                conclusion(results, f, what) for f, what in (("test_error", "test error"), ("test_loss", "test loss"))
            )
            + " Label smoothing asks for unsure answers, so that its plain loss says little. What strengths do to a "
            "small network is in [the tutorial](../tutorials/07b_bias_and_variance.py).",
            "",
            "![Training and test error of each setting](images/regularizers.png)",
            "",
            "![Training and test loss over the epochs](images/overfitting.png)",
            "",
            f"Made by `python docs/_generate/regularization_study.py` in about {settings['minutes']:.0f} minutes on "
            f"{settings['processes']} cores.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--draw", action="store_true", help="train nothing, draw the results of the last study again")
    options = parser.parse_args()
    path = DOCS / "_generate" / "regularization.json"
    if not options.draw:
        start = time.perf_counter()
        made = study(options.seeds, options.epochs, options.processes)
        minutes = (time.perf_counter() - start) / 60
        settings = {
            "seeds": options.seeds,
            "epochs": options.epochs,
            "processes": options.processes,
            "minutes": minutes,
        }
        with write_whole(path, "w") as file:
            parts = [
                f'"{name}": [\n' + ",\n".join(json.dumps(result, ensure_ascii=False) for result in part) + "\n]"
                for name, part in made.items()
            ]
            file.write(f'{{"settings": {json.dumps(settings)}, {", ".join(parts)}}}\n')
    saved = json.loads(path.read_text(encoding="utf-8"))
    results, sweep, settings = saved["results"], saved.get("sweep", []), saved["settings"]
    save_figure(draw_errors(results), DOCS / "images" / "regularizers.png")
    save_figure(draw_curves(results), DOCS / "images" / "overfitting.png")
    with write_whole(DOCS / "regularization.md", "w") as file:
        file.write(page(results, sweep, settings))


if __name__ == "__main__":
    main()
