"""Draws docs/images/digits.png, the picture at the head of the README, from a run of the network shown there.

python docs/_generate/readme_picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minidl as dl
from minidl.training.curves import draw_accuracy
from minidl.utils.figures import save_figure

DOCS = Path(__file__).parent.parent
ROWS, COLUMNS = 3, 6


def main() -> None:
    train, test = dl.data.digits()
    model = dl.Sequential(
        dl.Dense(784, 256, init="he_normal"),
        dl.BatchNorm(256),
        dl.ReLU(),
        dl.Dropout(0.2),
        dl.Dense(256, 10),
        backend="cpu",
        seed=0,
    )
    history = dl.fit(model, train, validation=test, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(1e-3))
    probabilities = dl.softmax(model.predict(test.x))
    answers = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answers != test.y)
    # One row of mistakes under two rows of what the network gets right.
    right = np.flatnonzero(answers == test.y)[: (ROWS - 1) * COLUMNS]
    chosen = [*right, *wrong[np.argsort(-probabilities[wrong, answers[wrong]])][:COLUMNS]]

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, middle = figure.subfigures(1, 2, width_ratios=[5, 5])
    for axes, index in zip(left.subplots(ROWS, COLUMNS).flat, chosen, strict=True):
        axes.imshow(test.x[index].reshape(28, 28), cmap="gray_r")
        mistake = answers[index] != test.y[index]
        title = f"{answers[index]}, is {test.y[index]}" if mistake else f"{answers[index]}"
        axes.set_title(title, fontsize=9, color="#D55E00" if mistake else "black", pad=2)
        axes.axis("off")
    left.suptitle("What the network says; last row: its most confident mistakes", fontsize=10)
    draw_accuracy(middle.subplots(), history)
    save_figure(figure, DOCS / "images" / "digits.png")


if __name__ == "__main__":
    main()
