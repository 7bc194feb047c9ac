"""The table that `Sequential.summary` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minidl.layers.base import Layer
from minidl.layers.tree import is_chained
from minidl.utils.reports import Text
from minidl.utils.tables import aligned

HEADINGS = ("layer", "output", "parameters", "multiply-adds", "weights start as")


def summary(model: Layer) -> str:
    """Return a table of the layers: output, parameters, multiply-adds for one row of x, and how the weights start."""
    model.parameters()  # builds a model that has no backend yet
    total = f"{model.backend.name}, {model.dtype}, seed {model.streams.seed}"
    lines = aligned([HEADINGS, *_rows("", model, model.n_in), (total, "", *_counts(model), "")], "<<>><")
    rule = "-" * max(map(len, lines))
    return Text("\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]))


def _rows(prefix: str, parent: Layer, features: Any) -> Iterator[tuple[str, str, str, str, str]]:
    given = features
    for name, layer in parent.named_children().items():
        features = features if is_chained(name) else given
        n_out = layer.n_out or features
        output = f"(batch, {n_out or '?'})"
        if layer.named_children():
            yield f"{prefix}{name}  {layer.heading()}", output, "", "", ""
            yield from _rows(f"{prefix}{name}.", layer, layer.n_in or features)
        else:
            yield f"{prefix}{name}  {layer!r}", output, *_counts(layer), layer.init_summary()
        features = n_out


def _counts(layer: Layer) -> tuple[str, str]:
    counts = sum(parameter.size for parameter in layer.parameters()), layer.multiply_adds()
    parameters, products = (f"{count:,}" if count else "" for count in counts)
    return parameters, products
