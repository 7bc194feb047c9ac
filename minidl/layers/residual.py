"""Residual blocks (He et al. 2016)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import initializers
from minidl.layers.activations import ActivationLayer
from minidl.layers.base import Layer
from minidl.layers.batchnorm import BatchNorm
from minidl.layers.centered_dense import CenteredDense
from minidl.layers.context import Context
from minidl.layers.dense import Dense
from minidl.layers.guards import check_result
from minidl.layers.sequential import Sequential
from minidl.utils import checks


class Residual(Sequential):
    """y = x + F(x), where F is a chain of layers; y = x P + F(x) with learned weights P if F changes the size.

    Backward:  dx = dy + F.backward(dy), or dy Pᵀ + F.backward(dy).

    Args:
        layers: The layers of F; end it with a `StochasticDepth` layer to skip F at random.
        zero_init: Whether F starts as zero: its last weight matrix is 0, or the γ of a batch norm after it. Then the
            block starts as the identity and Var(y) = Var(x); otherwise the variance grows with each block.
            An activation after that layer must map 0 to 0 and have a slope other than 0 there, unlike the ReLU.
    """

    def __init__(self, *layers: Layer, zero_init: bool = False):
        super().__init__(*layers)
        self.zero_init = checks.boolean("zero_init", zero_init)
        # He et al. (2016), equation 2: a linear map without bias, only where the sizes differ.
        self.projection = Dense(self.n_in, self.n_out, bias=False) if self.n_in != self.n_out else None
        if self.zero_init:
            self._check_zero_init()

    def named_children(self) -> dict[str, Layer]:
        inner = super().named_children()
        return inner if self.projection is None else {**inner, "projection": self.projection}

    def _check_zero_init(self) -> None:
        if self._last_scale() is None:
            raise ValueError("zero_init got True; expected a Dense or BatchNorm layer in the block that can start at 0")
        for layer in self._behind_last_scale():
            if isinstance(layer, ActivationLayer):
                phi, alpha = layer.activation, layer.parameter_value
                y = phi.value(0.0, alpha)
                if y != 0.0 or phi.slope(0.0, y, alpha) == 0.0:
                    problem = "is not 0 at 0" if y != 0.0 else "lets no gradient through at 0, so it would stay there"
                    raise ValueError(
                        f"zero_init got True; expected a block that ends before {layer!r}, which {problem}"
                    )

    def setup(self, context: Context) -> None:
        super().setup(context)
        layer = self._last_scale()
        if self.zero_init and layer is not None:
            # The weight matrix or γ. Centered weights need a direction even at length 0, or they would never leave it.
            scale = layer.gain if isinstance(layer, CenteredDense) else layer.parameters()[0]
            scale.start = np.zeros_like(scale.start)
            if isinstance(layer, Dense):
                layer.initializer, layer.initial_std = initializers.zeros, 0.0

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        shortcut = self.projection.forward(x, training) if self.projection else x
        y = self.buffer("y", *shortcut.shape)
        self.ops.add(shortcut, self.forward_chain(x, training), y)
        return y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        shortcut = self.projection.backward(dy) if self.projection else dy
        dx = self.buffer("dx", *x.shape)
        inner = check_result(self.layers[0], "dx", self.backward_chain(dy), x.shape)
        self.ops.add(shortcut, inner, dx)
        return dx

    def backward_parameters(self, dy: Any) -> None:
        _, dy = self.begin_backward(dy)
        if self.projection:
            self.projection.backward_parameters(dy)
        super().backward_parameters(dy)

    def first_activation(self, following: str | None) -> str | None:
        return None  # the input of a block also goes past it, unchanged

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "zero_init": self.zero_init}

    def _options(self) -> dict[str, Any]:
        return {"zero_init": True} if self.zero_init else {}

    def _last_scale(self) -> Layer | None:
        """Return the last layer of F with a scale: if that is 0 and the layers after it map 0 to 0, F is zero."""
        return next((layer for layer in _backwards(self) if isinstance(layer, (Dense, BatchNorm))), None)

    def _behind_last_scale(self) -> Iterator[Layer]:
        last = self._last_scale()
        return itertools.takewhile(lambda layer: layer is not last, _backwards(self))


def _backwards(chain: Sequential) -> Iterator[Layer]:
    """Yield the layers of a chain from last to first, including those of nested chains, but not of nested blocks."""
    for layer in reversed(chain.layers):
        if isinstance(layer, Sequential) and not isinstance(layer, Residual):
            yield from _backwards(layer)
        else:
            yield layer
