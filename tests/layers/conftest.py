"""One example of every layer, for the contract that all of them keep."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import minidl as dl

FEATURES = 4  # that each example takes

EXAMPLES: dict[str, Callable[[], dl.Layer]] = {
    "Dense": lambda: dl.Dense(FEATURES, 3, init="he_normal"),
    "Dense without bias": lambda: dl.Dense(FEATURES, 3, bias=False),
    "Dense with penalty and max_norm": lambda: dl.Dense(
        FEATURES, 3, penalty=dl.ElasticNet(l1=0.2, l2=0.3), max_norm=0.8
    ),
    "BatchNorm": lambda: dl.BatchNorm(FEATURES),
    "CenteredDense": lambda: dl.CenteredDense(FEATURES, 3),
    "CenteredDense with penalty": lambda: dl.CenteredDense(FEATURES, 3, penalty=dl.ElasticNet(l1=0.2, l2=0.3)),
    "DropConnect": lambda: dl.DropConnect(FEATURES, 3, 0.4, penalty=dl.L2(0.3)),
    "NoisyDense": lambda: dl.NoisyDense(FEATURES, 3, 0.5, penalty=dl.L1(0.2)),
    "Dropout": lambda: dl.Dropout(0.4),
    "PReLU": lambda: dl.PReLU(FEATURES),
    "MaxPool": lambda: dl.MaxPool((2, 2), size=(1, 2)),
    "MaxPool with overlapping windows": lambda: dl.MaxPool((1, FEATURES), size=(1, 2), stride=1),
    "FractionalMaxPool": lambda: dl.FractionalMaxPool((1, FEATURES), ratio=1.3),
    "classic Dropout": lambda: dl.Dropout(0.4, inverted=False),
    "StochasticDepth": lambda: dl.StochasticDepth(0.4),
    "GaussianNoise": lambda: dl.GaussianNoise(0.5),
    "ActivityPenalty": lambda: dl.ActivityPenalty(dl.ElasticNet(l1=0.2, l2=0.3)),
    "Residual": lambda: dl.Residual(dl.Dense(FEATURES, 6), dl.Tanh(), dl.Dense(6, FEATURES)),
    "Residual with projection": lambda: dl.Residual(dl.Dense(FEATURES, 6), dl.Tanh(), dl.Dense(6, 3)),
    "Residual with stochastic depth": lambda: dl.Residual(
        dl.Dense(FEATURES, 2), dl.Tanh(), dl.Dense(2, FEATURES), dl.StochasticDepth(0.4)
    ),
    "Residual that starts as zero": lambda: dl.Residual(
        dl.Dense(FEATURES, 5), dl.Tanh(), dl.Dense(5, FEATURES), zero_init=True
    ),
    "Heads": lambda: dl.Heads(
        one=dl.Dense(FEATURES, 3, penalty=dl.L2(0.3)),
        other=dl.Sequential(dl.Dense(FEATURES, 2), dl.Tanh(), dl.Dense(2, 1)),
    ),
    **dl.layers.ACTIVATION_LAYERS,
    "Sequential": lambda: dl.Sequential(
        dl.Dense(FEATURES, 2), dl.BatchNorm(2), dl.Sequential(dl.Tanh(), dl.Dropout(0.3)), dl.Dense(2, 3)
    ),
    "Sequential with penalty": lambda: dl.Sequential(
        dl.Dense(FEATURES, 2), dl.Tanh(), dl.Dense(2, 3, penalty=dl.L1(0.2)), penalty=dl.L2(0.3)
    ),
}


@pytest.fixture(params=EXAMPLES)
def new_layer(request: pytest.FixtureRequest) -> Callable[[], dl.Layer]:
    """A function that makes the same layer again and again, for each example in turn."""
    return EXAMPLES[request.param]
