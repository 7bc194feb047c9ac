"""Writes docs/regularization.md and its two pictures: what each regularizer does to an overfitting network.

python docs/_generate/regularization_study.py [--seeds 5] [--epochs 40] [--processes 2]
python docs/_generate/regularization_study.py --draw      page and pictures again, from the results

Every setting trains 784-512-512-10 with ReLU on the digits that ship with minidl, five times from different seeds.
The strengths were chosen beforehand, as usual values, and not by their test error.
"""

from __future__ import annotations

import argparse
import json
import os
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


@dataclass(frozen=True)
class Setting:
    """One regularizer: what it changes in the model, the loss and the call of fit."""

    name: str
    dropout: float = 0.0
    penalty: dl.Penalty | None = None
    loss: Callable[[], dl.Loss] = dl.SoftmaxCrossEntropy
    fit: Callable[[], dict[str, Any]] = field(default=dict)
    held_out: float = 0.0  # share of the training samples that is kept for validation


SETTINGS = [
    Setting("none"),
    Setting("L2, 1e-4", penalty=dl.L2(1e-4)),
    Setting("L1, 1e-5", penalty=dl.L1(1e-5)),
    Setting("dropout 0.5", dropout=0.5),
    Setting("label smoothing 0.1", loss=lambda: dl.SoftmaxCrossEntropy(label_smoothing=0.1)),
    Setting("mixup, α = 0.2", fit=lambda: {"augmentation": dl.data.Augmentation(dl.data.Mixup(0.2))}),
    Setting("shifts up to 2 pixels", fit=lambda: {"augmentation": dl.data.Augmentation(dl.data.Shift(2))}),
    Setting(
        "early stopping",
        fit=lambda: {"callbacks": [dl.EarlyStopping("validation_loss", patience=5)]},
        held_out=0.1,
    ),
]
WITH_CURVES = [SETTINGS[0], SETTINGS[3], SETTINGS[6]]


def network(setting: Setting, seed: int) -> dl.Sequential:
    dropout = [dl.Dropout(setting.dropout)] if setting.dropout else []
    again = [dl.Dropout(setting.dropout)] if setting.dropout else []
    return dl.Sequential(
        dl.Dense(784, 512), dl.ReLU(), *dropout,
        dl.Dense(512, 512), dl.ReLU(), *again,
        dl.Dense(512, 10),
        backend="cpu", seed=seed, penalty=setting.penalty,
    )  # fmt: skip


def train_one(number: int, seed: int, epochs: int) -> dict[str, Any]:
    """Train a setting from one seed; errors are shares of wrong answers, losses plain cross-entropy."""
    setting = SETTINGS[number]
    train, test = dl.data.digits()
    options, validation = setting.fit(), test
    if setting.held_out:  # the choice of the epoch must not see the test samples
        train, validation = dl.data.split(train, 1 - setting.held_out, setting.held_out, seed=seed)
    model = network(setting, seed)
    history = dl.fit(
        model, train, validation=validation, loss=setting.loss(), optimizer=dl.Adam(1e-3), epochs=epochs,
        progress=False, **options,
    )  # fmt: skip
    result: dict[str, Any] = {"setting": setting.name, "seed": seed, "epochs": len(history)}
    for name, data in (("train", train), ("test", test)):
        evaluation = dl.evaluate(model, data, loss=dl.SoftmaxCrossEntropy())
        result[f"{name}_error"] = 1 - evaluation.accuracy
        result[f"{name}_loss"] = evaluation.loss
    if setting in WITH_CURVES:
        result["curves"] = {name: [float(f"{x:.5g}") for x in history[name]] for name in ("loss", "validation_loss")}
    return result


def study(seeds: int, epochs: int, processes: int) -> list[dict[str, Any]]:
    with ProcessPoolExecutor(processes) as pool:
        jobs = [
            pool.submit(train_one, number, seed, epochs) for seed in range(seeds) for number in range(len(SETTINGS))
        ]
        return [job.result() for job in jobs]


def of(results: list[dict[str, Any]], setting: Setting, figure: str) -> np.ndarray:
    return np.array([result[figure] for result in results if result["setting"] == setting.name])


def draw_errors(results: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    order = sorted(SETTINGS, key=lambda setting: -of(results, setting, "test_error").mean())
    for row, setting in enumerate(order):
        for name, color, marker, shift in (("test", ORANGE, "s", 0.14), ("train", BLUE, "o", -0.14)):
            errors = of(results, setting, f"{name}_error")
            axes.plot(errors, np.full(len(errors), row + shift), marker, color=color, alpha=0.45, markersize=4)
            label = f"{name}: mean and {len(errors)} seeds" if row == 0 else None
            axes.plot(errors.mean(), row + shift, "|", color=color, markersize=14, markeredgewidth=2.5, label=label)
    best, none = order[-1], SETTINGS[0]
    axes.set_title(
        f"best: {best.name}, test error {of(results, best, 'test_error').mean():.1%}; "
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
    for axes, setting in zip(figure.subplots(1, len(WITH_CURVES), sharey=True), WITH_CURVES, strict=True):
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
    figure.suptitle("overfitting: the two curves move apart; a regularizer keeps them together", fontsize="medium")
    return figure


def page(results: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    train, test = dl.data.digits()
    seeds = len(of(results, SETTINGS[0], "seed"))
    rows = []
    for setting in SETTINGS:
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
            f"{len(test):,} test samples: mean ± standard deviation over the seeds. The strengths are usual values, "
            "chosen beforehand.",
            "",
            "| regularizer | training error | test error | test loss |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Early stopping holds a tenth of the training samples out and stopped after {stopped.min()} to "
            f"{stopped.max()} epochs. One test sample is {1 / len(test):.2%}: differences as small as the spread mean "
            "nothing.",
            "",
            "![Training and test error of each setting](images/regularizers.png)",
            "",
            "![Training and test loss over the epochs](images/overfitting.png)",
            "",
            f"Made by `python docs/_generate/regularization_study.py` in {settings['minutes']:.0f} minutes on "
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
        results = study(options.seeds, options.epochs, options.processes)
        minutes = (time.perf_counter() - start) / 60
        settings = {
            "seeds": options.seeds,
            "epochs": options.epochs,
            "processes": options.processes,
            "minutes": minutes,
        }
        with write_whole(path, "w") as file:
            lines = ",\n".join(json.dumps(result, ensure_ascii=False) for result in results)
            file.write(f'{{"settings": {json.dumps(settings)}, "results": [\n{lines}\n]}}\n')
    saved = json.loads(path.read_text(encoding="utf-8"))
    results, settings = saved["results"], saved["settings"]
    save_figure(draw_errors(results), DOCS / "images" / "regularizers.png")
    save_figure(draw_curves(results), DOCS / "images" / "overfitting.png")
    with write_whole(DOCS / "regularization.md", "w") as file:
        file.write(page(results, settings))


if __name__ == "__main__":
    main()
