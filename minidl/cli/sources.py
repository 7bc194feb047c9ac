"""The data that a command learns from, in three parts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import minidl as dl
from minidl.data import Dataset

DATA: dict[str, Callable[[int], tuple[Dataset, Dataset]]] = {
    "digits": lambda seed: dl.data.digits(),
    "mnist": lambda seed: dl.data.mnist(),
    "fashion_mnist": lambda seed: dl.data.fashion_mnist(),
    "gaussians": lambda seed: (dl.data.gaussians(1000, seed=seed), dl.data.gaussians(1000, seed=seed + 1)),
    "circles": lambda seed: (dl.data.circles(1000, seed=seed), dl.data.circles(1000, seed=seed + 1)),
    "xor": lambda seed: (dl.data.xor(1000, seed=seed), dl.data.xor(1000, seed=seed + 1)),
    "spiral": lambda seed: (dl.data.spiral(1000, seed=seed), dl.data.spiral(1000, seed=seed + 1)),
}


class Parts(NamedTuple):
    """What the weights are learned from, what is looked at during training, and what judges the result, once."""

    train: Dataset
    validation: Dataset
    test: Dataset

    def __str__(self) -> str:
        train, validation, test = map(len, self)
        return f"{train:,} training, {validation:,} validation and {test:,} test samples"


def parts(options: argparse.Namespace) -> Parts:
    """Return the data that the options name. A tenth of the training rows is for validation."""
    train, test = DATA[options.data](options.seed)
    train, validation = dl.data.split(train, 0.9, 0.1, seed=options.seed)
    return Parts(train, validation, test)
