"""The experiments of the lectures, as settings of the playground."""

from __future__ import annotations

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """An experiment.

    Attributes:
        name: In the address of the page.
        title: In its list.
        sentence: What there is to see.
        tutorial: The number of the tutorial that has it in full.
        settings: Those that are not the defaults.
        steps: For how many steps the page trains; 0 shows the network before training.
    """

    name: str
    title: str
    sentence: str
    tutorial: str
    settings: dict[str, Any]
    steps: int = 0


# With as many rows of one class as of the other δ of the last bias, a mean over the rows, would cancel.
TANH: dict[str, Any] = {"rows": 199, "layers": 10, "units": 100, "activation": "tanh"}
RELU_16: dict[str, Any] = {"data": "digits", "layers": 16, "units": 128, "activation": "relu"}
SIGMOID: dict[str, Any] = {"data": "digits", "rows": 1000, "layers": 4, "units": 30, "activation": "sigmoid"}
FAST: dict[str, Any] = {"rows": 500, "units": 64, "optimizer": "adam", "learning_rate": 0.03}
LARGE: dict[str, Any] = {"layers": 10, "units": 64, "activation": "tanh", "init": "normal", "gain": 1.0}
EXPLODING: dict[str, Any] = {"layers": 10, "units": 64, "activation": "relu", "init": "he_normal", "gain": 1.5}
FEW: dict[str, Any] = {
    "data": "circles", "noise": 0.25, "rows": 40, "layers": 3, "units": 128, "activation": "relu", "optimizer": "adam",
    "learning_rate": 0.003,
}  # fmt: skip
FIRST_LOSS: dict[str, Any] = {"data": "digits", "rows": 500, "layers": 3, "units": 64, "activation": "relu"}
BLOCKS: dict[str, Any] = {"layers": 12, "units": 64, "activation": "relu"}

PRESETS = (
    Preset(
        "zeros", "All weights zero",
        "Every output is 0, and no gradient reaches the layers below: after 200 steps only the last bias has moved.",
        "03", {"init": "zeros"}, 200,
    ),
    Preset(
        "small", "Small weights: std 0.01 with tanh",
        "The signal shrinks by the same factor in each layer, and so does the gradient on its way back.",
        "03", {**TANH, "init": "normal", "gain": 0.01},
    ),
    Preset(
        "large", "Large weights: std 1 with tanh",
        "Most units saturate at -1 and 1, and the gradient grows on its way back.",
        "03c", {**TANH, "init": "normal", "gain": 1.0},
    ),
    Preset(
        "lecun", "1/√n with tanh",
        "The signal gets through ten layers and shrinks only slowly, and nothing saturates.",
        "03", {**TANH, "init": "lecun_normal"},
    ),
    Preset(
        "glorot-relu", "Glorot behind ReLU, 16 layers",
        "A ReLU takes half of E[y²], and Glorot gives nothing for it: each layer's output is smaller.",
        "04", {**RELU_16, "init": "glorot_normal"},
    ),
    Preset(
        "he-relu", "He behind ReLU, 16 layers",
        "Twice the variance makes up for the half: E[y²] of layer 16 is about that of layer 1.",
        "04", {**RELU_16, "init": "he_normal"},
    ),
    Preset(
        "he-variance", "He keeps E[y²], not the variance over the rows",
        "E[y²] stays, but the rows grow alike: beside it the variance of each unit over the rows (var of rows) falls.",
        "04", {**RELU_16, "init": "he_normal", "rows": 200},
    ),
    Preset(
        "staircase", "Sigmoids: ‖δ‖ is a staircase",
        "The speed of learning grows from layer to layer, so the first layer learns most slowly.",
        "05", {**SIGMOID, "init": "lecun_normal"},
    ),
    Preset(
        "sigmoid-glorot", "Sigmoids with Glorot's weights",
        "After 300 steps four layers of sigmoids still answer by chance.",
        "03b", {**SIGMOID, "init": "glorot_uniform", "learning_rate": 1.0}, 300,
    ),
    Preset(
        "sigmoid-four", "Sigmoids with four times as large weights",
        "The lectures' factor for sigmoids: with the same rate and steps the network learns.",
        "03b", {**SIGMOID, "init": "glorot_uniform", "gain": 4.0, "learning_rate": 1.0}, 300,
    ),
    Preset(
        "dying", "Dying ReLUs",
        "At a large rate many units end up at 0 for all rows; no gradient passes, so they stay grey for ever.",
        "02b", {**FAST, "activation": "relu"}, 300,
    ),
    Preset(
        "leaky", "The cure: leaky ReLUs",
        "The same rate; a small slope on the left lets the gradient through, and no unit dies.",
        "02b", {**FAST, "activation": "leaky_relu"}, 300,
    ),
    Preset(
        "large-trained", "Std 1 without batch norm",
        "Saturated from the start, after 200 steps the network is no better than a coin.",
        "06", LARGE, 200,
    ),
    Preset(
        "batch-norm", "Batch norm rescues std 1",
        "The same weights, rate and steps, with batch norm in front of each tanh: the spiral is learned.",
        "06", {**LARGE, "batch_norm": "before"}, 200,
    ),
    Preset(
        "exploding", "Exploding gradients",
        "Weights half as large again as He's: within some steps a number overflows, and the loss is NaN.",
        "05", EXPLODING, 200,
    ),
    Preset(
        "clipping", "Clipping",
        "The same network and rate, with gradients scaled to a norm of at most 1: it learns.",
        "05", {**EXPLODING, "clip": 1.0}, 200,
    ),
    Preset(
        "overfitting", "Overfitting with 40 points",
        "All training points are right, and the loss on the test points grows and grows.",
        "07", FEW, 1500,
    ),
    Preset(
        "overfitting-dropout", "Overfitting: 40 points with dropout",
        "The same points and steps, with half of the units dropped: the test loss is much lower.",
        "08", {**FEW, "dropout": 0.5}, 1500,
    ),
    Preset(
        "overfitting-l2", "Overfitting: 40 points with L2",
        "The same points and steps, with a penalty on the weights: a smooth border, and a test loss below chance.",
        "07", {**FEW, "l2": 0.03}, 1500,
    ),
    Preset(
        "overfitting-data", "Overfitting: 1,000 points instead of 40",
        "The same network with 1,000 points: training and test loss end close together.",
        "07b", {**FEW, "rows": 1000}, 1500,
    ),
    Preset(
        "first-loss", "The first loss is near log C",
        "Ten classes: with small weights the loss before the first step is log 10 = 2.303.",
        "11", {**FIRST_LOSS, "init": "lecun_normal", "gain": 0.1},
    ),
    Preset(
        "first-loss-large", "The first loss with large weights",
        "With std 1 the network is sure of wrong answers before it has seen one: the loss is hundreds of times log 10.",
        "11", {**FIRST_LOSS, "init": "normal", "gain": 1.0},
    ),
    Preset(
        "residual", "Residual blocks add their variance",
        "About twice E[y²] after each block: after eleven of them it is more than a thousand times as large.",
        "09", {**BLOCKS, "residual": "sum"},
    ),
    Preset(
        "residual-zeroed", "Residual blocks that start at zero",
        "With the last weights of each block at 0 a block passes on what it gets, and E[y²] is the same everywhere.",
        "09", {**BLOCKS, "residual": "zeroed"},
    ),
)  # fmt: skip
