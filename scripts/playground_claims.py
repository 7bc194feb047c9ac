"""What each experiment of the playground must show, in the numbers of its picture.

`scripts/check_playground.py` reads them from the page, `tests/playground` from the server, with other seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

Picture = dict[str, Any]


def of(picture: Picture, name: str) -> list[float]:
    """One row of the table, without the output layer."""
    return [column[name] for column in picture["columns"][:-1]]


def falls(values: list[float], factor: float) -> bool:
    """Whether each value is smaller than the one before by at least `factor`."""
    return all(after * factor < before for before, after in itertools.pairwise(values))


def rises(values: list[float], factor: float) -> bool:
    return falls(values[::-1], factor)


def zeros(p: Picture) -> bool:
    still = not any(of(p, "std") + of(p, "gradient_norm") + of(p, "update"))
    return still and p["columns"][-1]["gradient_norm"] > 0 and abs(p["train"]["loss"] - math.log(2)) < 0.02


def learns(p: Picture) -> bool:
    return not p["ended"] and p["train"]["accuracy"] > 0.75


CLAIMS: dict[str, Callable[[Picture], bool]] = {
    "zeros": zeros,
    "small": lambda p: falls(of(p, "std"), 7) and rises(of(p, "gradient_norm"), 5) and rises(of(p, "delta"), 5),
    "large": lambda p: min(of(p, "saturated")[2:]) > 0.7 and falls(of(p, "gradient_norm"), 1.3),
    "lecun": lambda p: 0.3 < of(p, "std")[-1] / of(p, "std")[0] < 0.7 and max(of(p, "saturated")) < 0.01,
    "glorot-relu": lambda p: of(p, "second_moment")[-1] < 1e-3 * of(p, "second_moment")[0],
    "he-relu": lambda p: 0.2 < of(p, "second_moment")[-1] / of(p, "second_moment")[0] < 5,
    "he-variance": lambda p: (
        of(p, "sample_variance")[-1] / of(p, "second_moment")[-1]
        < 0.5 * of(p, "sample_variance")[0] / of(p, "second_moment")[0]
    ),
    "staircase": lambda p: rises(of(p, "delta"), 2),
    "sigmoid-glorot": lambda p: p["test"]["accuracy"] < 0.2,
    "sigmoid-four": lambda p: p["test"]["accuracy"] > 0.6,
    "dying": lambda p: sum(of(p, "dead")) / len(of(p, "dead")) > 0.2 and learns(p),
    "leaky": lambda p: max(of(p, "dead")) == 0 and learns(p),
    "large-trained": lambda p: min(of(p, "saturated")) > 0.8 and p["train"]["accuracy"] < 0.65,
    "batch-norm": lambda p: max(of(p, "saturated")) < 0.1 and p["train"]["accuracy"] > 0.95,
    "exploding": lambda p: p["ended"].startswith("the loss became") and p["steps"] < 200,
    "clipping": learns,
    "overfitting": lambda p: p["train"]["accuracy"] == 1 and p["test"]["loss"] > 1.5,
    "overfitting-dropout": lambda p: p["train"]["loss"] > 0.03 and p["test"]["loss"] < 2,
    "overfitting-l2": lambda p: p["test"]["loss"] < math.log(2),
    "overfitting-data": lambda p: p["test"]["loss"] < math.log(2) and p["test"]["loss"] < p["train"]["loss"] + 0.25,
    "first-loss": lambda p: abs(p["train"]["loss"] - math.log(10)) < 0.001,
    "first-loss-large": lambda p: p["train"]["loss"] > 200 * math.log(10),
    "residual": lambda p: (
        rises(of(p, "second_moment")[1:], 1.1) and of(p, "second_moment")[-1] > 1000 * of(p, "second_moment")[0]
    ),
    "residual-zeroed": lambda p: max(of(p, "second_moment")) < 1.001 * min(of(p, "second_moment")),
}
