"""The commonest mistake that no number tells: probabilities where a loss takes logits."""

from __future__ import annotations

from minidl.layers.activations import Sigmoid
from minidl.layers.base import Layer
from minidl.layers.heads import Heads
from minidl.layers.residual import Residual
from minidl.layers.sequential import Sequential
from minidl.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy

PROBABILITIES = {BinaryCrossEntropy: "scipy.special.expit", SoftmaxCrossEntropy: "dl.softmax"}


def check_logits(layer: Layer, loss: Loss) -> None:
    """Refuse a sigmoid or a softmax at the end of a model whose loss takes logits.

    Such a model trains and its loss falls, but its answers stay wrong: every output of a sigmoid is a logit above 0.

    Raises:
        ValueError: If the last layer, or that of a head, is a `Sigmoid`, or a layer of your own called Softmax.
    """
    loss = getattr(loss, "loss", loss)  # of a Weighted
    if isinstance(layer, Sequential) and not isinstance(layer, Residual):
        check_logits(layer.layers[-1], loss)
    elif isinstance(layer, Heads):
        for name, part in getattr(loss, "losses", {}).items():  # of a MultiTask
            check_logits(layer.heads[name], part)
    elif type(loss) in PROBABILITIES and (isinstance(layer, Sigmoid) or type(layer).__name__ == "Softmax"):
        raise ValueError(
            f"loss got {type(loss).__name__}, which takes logits; the model ends with {layer!r}: leave that out, and "
            f"compute probabilities by {PROBABILITIES[type(loss)]}(model.predict(x))"
        )
