"""What can be set in the playground."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from minidl.perceptron import OPTIMIZERS
from minidl.scalar.activations import ACTIVATIONS
from minidl.utils import checks


class Choice(NamedTuple):
    """A setting that is one of some names."""

    label: str
    default: str
    choices: tuple[str, ...]
    live: bool = False

    def check(self, name: str, value: Any) -> str:
        return checks.one_of(name, checks.text(name, value), self.choices)


class Number(NamedTuple):
    """A setting that is a number from `low` to `high`, with a slider that is "linear", "log" or "cubic"."""

    label: str
    default: float
    low: float
    high: float
    scale: str = "linear"
    live: bool = False

    def check(self, name: str, value: Any) -> float:
        if isinstance(self.default, int):
            return checks.integer(name, value, int(self.low), int(self.high))
        return checks.real(name, value, self.low, self.high)


INITIALIZERS = (
    "auto", "zeros", "normal", "uniform", "lecun_normal", "lecun_uniform", "glorot_normal", "glorot_uniform",
    "he_normal", "he_uniform", "orthogonal",
)  # fmt: skip

# Those that are `live` act on a run that is under way; after a change of the others a new one begins.
CONTROLS: dict[str, Choice | Number] = {
    "data": Choice("data", "spiral", ("gaussians", "circles", "xor", "spiral", "digits")),
    "rows": Number("training rows", 200, 20, 2000, scale="log"),
    "noise": Number("noise", 0.05, 0.0, 0.5),
    "layers": Number("hidden layers", 4, 1, 20),
    "units": Number("units in each", 16, 1, 128),
    "activation": Choice("activation", "tanh", (*ACTIVATIONS,)),
    "init": Choice("initializer", "auto", INITIALIZERS),
    "gain": Number("× gain", 1.0, 0.01, 10.0, scale="log"),
    "batch_norm": Choice("batch norm", "none", ("none", "before", "after")),
    "residual": Choice("residual blocks", "none", ("none", "sum", "zeroed")),
    "dropout": Number("dropout", 0.0, 0.0, 0.9),
    "clip": Number("clip ‖gradient‖ at", 0.0, 0.0, 10.0, scale="cubic"),
    "l1": Number("L1", 0.0, 0.0, 0.1, scale="cubic", live=True),
    "l2": Number("L2", 0.0, 0.0, 0.1, scale="cubic", live=True),
    "optimizer": Choice("optimizer", "sgd", (*OPTIMIZERS,), live=True),
    "learning_rate": Number("learning rate", 0.1, 1e-5, 100.0, scale="log", live=True),
    "batch_size": Number("batch size", 20, 2, 512, scale="log", live=True),
    "seed": Number("seed", 0, 0, 9999),
}


class Settings(NamedTuple):
    """A value for each of `CONTROLS`."""

    data: str
    rows: int
    noise: float
    layers: int
    units: int
    activation: str
    init: str
    gain: float
    batch_norm: str
    residual: str
    dropout: float
    clip: float
    l1: float
    l2: float
    optimizer: str
    learning_rate: float
    batch_size: int
    seed: int

    @property
    def fixed(self) -> tuple[Any, ...]:
        """The values that no run changes under way."""
        return tuple(value for name, value in self._asdict().items() if not CONTROLS[name].live)


def checked(given: Any) -> Settings:
    """Return the settings that a request gives by name; those that it leaves out have their defaults.

    Raises:
        TypeError, ValueError: For a name that is none, or a value out of its bounds.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"settings got {checks.describe(given)}; expected an object with a value for each name")
    for name in given:
        checks.one_of("settings", name, CONTROLS)
    values = [control.check(name, given.get(name, control.default)) for name, control in CONTROLS.items()]
    return Settings._make(values)
