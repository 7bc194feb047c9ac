"""The weights of a model under PyTorch's names, as `torch.nn.Module.state_dict` has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minidl import layers
from minidl.export.states import restore
from minidl.layers.base import Layer
from minidl.layers.sequential import Sequential
from minidl.utils import checks

LINEAR = {"weight": "weight", "bias": "bias"}
# For each class of layers, PyTorch's name of each of its arrays.
NAMES: dict[type[Layer], dict[str, str]] = {
    layers.Dense: LINEAR,
    layers.CenteredDense: LINEAR,  # of its effective weight
    layers.DropConnect: LINEAR,
    layers.NoisyDense: LINEAR,
    layers.PReLU: {"slope": "weight"},
    layers.BatchNorm: {
        "gamma": "weight",
        "beta": "bias",
        "running_mean": "running_mean",
        "running_variance": "running_var",
    },
}
COUNTER = "num_batches_tracked"  # of a batch norm; PyTorch uses it only without a momentum, and minidl has none


def to_torch_state(model: Sequential) -> dict[str, np.ndarray]:
    """Return the weights as a `torch.nn.Sequential` of the same layers has them; PyTorch itself is not needed.

        net = torch.nn.Sequential(torch.nn.Linear(784, 64), torch.nn.BatchNorm1d(64), torch.nn.ReLU(), ...)
        net.load_state_dict({name: torch.from_numpy(array) for name, array in dl.export.to_torch_state(model).items()})

    A `Dense` is a `Linear`, whose weight has shape (n_out, n_in), and so are its relatives. `BatchNorm(n, decay,
    epsilon)` is `BatchNorm1d(n, eps=epsilon, momentum=1 - decay)`; its running variance is the unbiased one in both.
    Each layer needs its place: an `Identity` for noise; a `Sequential` of `Unflatten`, `MaxPool2d` and `Flatten` for a
    `MaxPool`. PyTorch's `Dropout` is the inverted one. A `Residual` or `Heads` is a module of your own, whose children
    have the names that they have here: "2.0.weight", "2.projection.weight", "4.digit.weight".

    Args:
        model: A `Sequential`.

    Returns:
        Copies, by name, in the dtype of the model.

    Raises:
        TypeError, ValueError: For a layer of your own with arrays, which PyTorch has no names for.
    """
    checks.instance("model", model, Sequential)
    with model.lock:
        state = {}
        for layer, prefix in _layers(model):
            own = _own_arrays(layer)
            if isinstance(layer, layers.CenteredDense):
                own["weight"] = layer.effective_weight(False).value
            for mine, theirs in NAMES[type(layer)].items():
                if mine in own:  # without a bias there is none
                    state[prefix + theirs] = np.array(layer.backend.to_numpy(own[mine]).T, order="C")
            if isinstance(layer, layers.BatchNorm):
                state[prefix + COUNTER] = np.array(0)
    return state


def from_torch_state(model: Sequential, state: Mapping[str, Any]) -> None:
    """Take the weights from the state of a `torch.nn.Sequential` of the same layers: `net.state_dict()`.

    Args:
        model: A `Sequential`.
        state: Arrays or tensors, with the names and shapes that `to_torch_state` gives. Of a tensor that NumPy cannot
            take, as on a GPU or in bfloat16, `tensor.detach().float().cpu()`.

    Raises:
        TypeError, ValueError: If an array is missing, unexpected, of another shape, not finite or a negative variance,
            or for a `CenteredDense`, whose weight is made of others; the message names the array, and the model stays
            as it was.
    """
    checks.instance("model", model, Sequential)
    state = checks.keys("state", dict(state) if isinstance(state, Mapping) else state)
    with model.lock:
        names: dict[str, str | None] = {}
        for layer, prefix in _layers(model):
            if isinstance(layer, layers.CenteredDense):
                raise ValueError(f"model got layer {layer.label}, whose weight is made of others; expected none in it")
            own = _own_arrays(layer)
            names.update({prefix + theirs: prefix + mine for mine, theirs in NAMES[type(layer)].items() if mine in own})
            if isinstance(layer, layers.BatchNorm):
                names[prefix + COUNTER] = None
        restore("state", model, state, names, transposed=True)


def _layers(layer: Layer, prefix: str = "") -> Iterator[tuple[Layer, str]]:
    """Yield each layer that PyTorch has names for, with what they begin with."""
    if type(layer) in NAMES:
        yield layer, prefix
    elif _own_arrays(layer).keys() - {"step"}:  # of a stochastic layer, which counts its draws
        raise ValueError(f"model got layer {layer.label}, whose arrays have no names in PyTorch; expected others")
    for name, child in layer.named_children().items():
        yield from _layers(child, f"{prefix}{name}.")


def _own_arrays(layer: Layer) -> dict[str, Any]:
    return {name: array for name, array in layer.arrays() if "." not in name}
