"""Data, network and training run from the settings: each is a call that is made here, and shown in the program."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from minidl import initializers
from minidl.data import circles, digits, gaussians, spiral, xor
from minidl.data.dataset import Dataset
from minidl.layers import ACTIVATION_LAYERS, BatchNorm, Dense, Dropout, Residual, Sequential
from minidl.losses import SoftmaxCrossEntropy
from minidl.penalties import ElasticNet
from minidl.perceptron import OPTIMIZERS
from minidl.playground.settings import Settings
from minidl.scalar.activations import ACTIVATIONS
from minidl.training.clipping import ClipNorm
from minidl.training.run import Run

TOY = {function.__name__: function for function in (gaussians, circles, xor, spiral)}
TEST_ROWS = 200
INSPECTED = 200  # rows of the training data


@dataclass(frozen=True)
class Call:
    """A call, to be made or to be read. An argument may be another one."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        given = (value.make() if isinstance(value, Call) else value for value in self.arguments)
        return self.function(*given, **self.options)

    def __str__(self) -> str:
        given = [str(value) if isinstance(value, Call) else repr(value) for value in self.arguments]
        given += [f"{name}={value!r}" for name, value in self.options.items()]
        module = "dl.data" if self.function in TOY.values() else "dl"
        return f"{module}.{self.function.__name__}({', '.join(given)})"


# Data ----------------------------------------------------------------------------------------------------------------


def _toy(settings: Settings, rows: int, seed: int) -> Call:
    return Call(TOY[settings.data], (rows,), {"noise": settings.noise, "seed": seed})


@functools.cache
def _digits() -> tuple[Dataset, Dataset]:
    return digits()


def datasets(settings: Settings) -> tuple[Dataset, Dataset]:
    """Return training and test data. They are the same for every seed, which is that of the network."""
    if settings.data == "digits":
        train, test = _digits()
        return train[: settings.rows], test[:TEST_ROWS]
    return _toy(settings, settings.rows, 0).make(), _toy(settings, TEST_ROWS, 1).make()


# Network -------------------------------------------------------------------------------------------------------------


@functools.lru_cache(100)  # each layer asks for the same
def scaled(init: initializers.Initializer, gain: float) -> str:
    """Return the text of `init` with weights `gain` times as large.

    >>> scaled(initializers.he_normal, 0.5)
    'lecun_normal(gain=0.707107)'
    """
    parameters, names = init.parameters, init.parameter_names
    if "slope" in names and gain != 1.0:  # He's is LeCun's with the gain of the leaky ReLU
        lecun = initializers.INITIALIZERS[init.name.replace("he_", "lecun_")]
        he = math.sqrt(2.0 / (1.0 + parameters.get("slope", 0.0) ** 2))
        return str(lecun.with_parameters(gain=round(he * gain, 6)))
    for name in ("std", "limit"):
        if name in names:
            return str(init.with_parameters(**{name: gain}))
    if "gain" in names and gain != 1.0:
        return str(init.with_parameters(gain=round(parameters.get("gain", 1.0) * gain, 6)))
    return str(init)


def _dense(settings: Settings, n_in: int, n_out: int | None, following: str | None, **options: Any) -> Call:
    """Return a dense layer in front of the activation with the text `following`, or of none."""
    if settings.init != "auto":
        options["init"] = scaled(initializers.get(settings.init), settings.gain)
    elif settings.gain != 1.0:
        options["init"] = scaled(initializers.automatic(following), settings.gain)
    return Call(Dense, (n_in, n_out), options)


def hidden(settings: Settings, n_in: int) -> list[list[Call]]:
    """Return the layers of each hidden layer: dense, and what stands behind it."""
    units, activation = settings.units, Call(ACTIVATION_LAYERS[ACTIVATIONS[settings.activation].layer])
    following = activation.make().first_activation(None)
    norm = [Call(BatchNorm, (units,))]
    before, after = norm * (settings.batch_norm == "before"), norm * (settings.batch_norm == "after")
    dropout = [Call(Dropout, (settings.dropout,))] * (settings.dropout > 0)
    # Batch norm subtracts the mean, and with it any bias of the layer before.
    bias: dict[str, Any] = {"bias": False} if before else {}
    behind = [*before, activation, *after, *dropout]
    layers = [[_dense(settings, n_in, units, following, **bias), *behind]]
    for _ in range(settings.layers - 1):
        dense = _dense(settings, units, units, following, **bias)
        if settings.residual == "none":
            layers.append([dense, *behind])
        else:
            zeroed = {"zero_init": True} if settings.residual == "zeroed" else {}
            layers.append([Call(Residual, (dense, *behind, _dense(settings, units, units, None)), zeroed)])
    return layers


def network(settings: Settings, n_in: int, n_out: int | None) -> tuple[list[list[Call]], dict[str, Any]]:
    """Return the layers of a network in groups, one for each hidden layer and one for the last, and its options."""
    last = [_dense(settings, settings.units, n_out, None)]
    options = {"backend": "cpu", "seed": settings.seed}
    return [*hidden(settings, n_in), last], options


def build(settings: Settings, train: Dataset) -> Sequential:
    """Return the network, with a penalty also where it is 0, so that it can change under way."""
    groups, options = network(settings, train.x.shape[1], train.classes)
    layers = (layer.make() for layer in itertools.chain(*groups))
    return Sequential(*layers, **options, penalty=ElasticNet(settings.l1, settings.l2))


def training(settings: Settings) -> dict[str, Any]:
    """Return the arguments of the training run but for model and data, as calls."""
    clip = {"clip": Call(ClipNorm, (settings.clip,))} if settings.clip else {}
    return {
        "loss": Call(SoftmaxCrossEntropy),
        "optimizer": Call(OPTIMIZERS[settings.optimizer], (settings.learning_rate,)),
        "batch_size": settings.batch_size,
        **clip,
    }


def begin(settings: Settings, model: Sequential, train: Dataset, optimizer: Any = None) -> Run:
    """Return a run that trains `model`, with a new optimizer or with the one that it had before."""
    arguments = {name: value.make() if isinstance(value, Call) else value for name, value in training(settings).items()}
    if optimizer is not None:
        arguments["optimizer"] = optimizer
    return Run(model, train, progress=False, **arguments)


# The program ---------------------------------------------------------------------------------------------------------


def program(settings: Settings, epochs: int, changed: bool = False) -> str:
    """Return the same as a program, which gives the numbers of the page after `epochs` epochs.

    Args:
        settings: What the page shows.
        epochs: Passes over the data; without any, the program looks at the network before training.
        changed: Whether the settings were others before, so that the program gives other numbers.
    """
    if settings.data == "digits":
        n_in, n_out = 784, 10
        data = [
            "train, test = dl.data.digits()",
            f"train, test = train[:{settings.rows}], test[:{TEST_ROWS}]",
        ]
    else:
        n_in, n_out = 2, 2
        data = [f"train = {_toy(settings, settings.rows, 0)}", f"test = {_toy(settings, TEST_ROWS, 1)}"]
    groups, options = network(settings, n_in, n_out)
    if settings.l1 or settings.l2:
        options["penalty"] = Call(ElasticNet, (settings.l1, settings.l2))
    lines = [line for group, times in _repeated(groups) for line in _lines(group, times)]
    arguments = {**training(settings), "epochs": epochs}
    others = ["# The settings were changed under way; here they are the present ones from the first step."] * changed
    look = f"print(dl.inspect(model, *train[:{INSPECTED}]))"
    fit = ["", *others, "history = dl.fit(", f"    model, train, validation=test, {_options(arguments)}", ")", look]
    return "\n".join([
        "import minidl as dl", "", *data, "",
        "model = dl.Sequential(", *(f"    {line}," for line in lines), f"    {_options(options)},", ")",
        look, *(fit if epochs else []), "",
    ])  # fmt: skip


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value if isinstance(value, Call) else repr(value)}" for name, value in options.items())


def _repeated(groups: list[list[Call]]) -> Iterator[tuple[list[str], int]]:
    """Yield each group as text, and how often it comes in a row."""
    for group, same in itertools.groupby([str(layer) for layer in group] for group in groups):
        yield group, len(list(same))


def _lines(group: list[str], times: int) -> list[str]:
    if times == 1:
        return group
    if len(group) == 1:
        return [f"*({group[0]} for _ in range({times}))"]
    return [f"*(layer for _ in range({times}) for layer in ({', '.join(group)}))"]
