"""A check of the contract of layers, on which `Sequential`, `fit` and model files rely."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl.diagnostics.gradients import check_gradients
from minidl.layers import load
from minidl.layers.base import Layer
from minidl.layers.loading import build_layer, layer_classes
from minidl.layers.sequential import Sequential
from minidl.layers.unlisted import check_children
from minidl.optimizers import SGD
from minidl.utils import checks
from minidl.utils.reports import Report, Table

ROWS = 6
FEATURES = 7  # for layers that take any number


class ContractError(AssertionError):
    """A layer breaks the contract; the message is the report."""


@dataclass(frozen=True, repr=False)
class ContractReport(Report):
    """The findings of `check_layer`; `print(report)` lists them.

    Attributes:
        layer: The layer as the call that builds it.
        clauses: For each clause of the contract "", or what is wrong.
    """

    layer: str
    clauses: dict[str, str]

    @property
    def ok(self) -> bool:
        """True if the layer keeps every clause."""
        return not any(self.clauses.values())

    def __bool__(self) -> bool:
        return self.ok

    def headline(self) -> str:
        broken = [name for name, wrong in self.clauses.items() if wrong]
        return f"{self.layer}, " + (f"broken: {', '.join(broken)}" if broken else f"{len(self.clauses)} clauses ok")

    def parts(self) -> Iterator[str | Table]:
        yield self.layer
        for name, wrong in self.clauses.items():
            yield f"{'BROKEN' if wrong else 'ok':<8}{name}{wrong and f': {wrong}'}"

    def raise_if_broken(self) -> None:
        """Raise `ContractError`, with the report as its message, if a clause is broken."""
        if not self.ok:
            raise ContractError(str(self))


def check_layer(layer: Layer, *, backend: str = "cpu", seed: int = 0, raises: bool = False) -> ContractReport:
    """Check that a layer of your own keeps the contract of `minidl.Layer`.

    The clauses: arguments build the layer again; layers inside are children; shapes; gradients (float64, differences,
    random cotangent); inputs stay unchanged; gradients are overwritten; buffers are reused and belong to one layer
    only; a shorter batch; training and inference; the same seed gives the same numbers; a step moves every parameter;
    a copy trains like the original; float32 agrees with float64; an empty batch and a backward pass without forward
    are errors; save and load give the same predictions.

    Args:
        layer: An unused example of the layer; its arguments build the copies that are checked.
        backend: Where to run it; a layer that uses only `self.ops` runs on every backend.
        seed: Seed of the weights, the inputs and the cotangent.
        raises: Raise `ContractError` if a clause is broken, instead of only reporting it.

    Returns:
        The `ContractReport`, with an entry for each clause.

    Raises:
        TypeError, ValueError: If `layer` is not an unused layer.
        ContractError: If a clause is broken and `raises` is set.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"layer got {checks.describe(layer)}; expected a layer")
    backends.get(backend)  # a name that is wrong is not the fault of the layer
    checks.seed(seed)
    checks.boolean("raises", raises)
    if layer.context is not None:
        raise ValueError(f"layer got {layer.label}, which already belongs to a model; expected a new one")
    contract = _Contract(layer, backend, seed)
    clauses = {}
    for name, clause in contract.clauses():
        try:
            clause()
            clauses[name] = ""
        except Exception as error:  # a wrong layer may raise anything; that is the finding
            text = str(error).strip()
            clauses[name] = text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}"
    report = ContractReport(repr(layer), clauses)
    if raises:
        report.raise_if_broken()
    return report


class _Contract:
    def __init__(self, layer: Layer, backend: str, seed: int):
        self.example, self.backend, self.seed = layer, backend, seed
        self.classes = layer_classes(type(inner) for inner in layer.walk())
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((ROWS, layer.n_in or FEATURES))
        self.dy = rng.standard_normal((ROWS, layer.n_out or self.x.shape[1]))

    def clauses(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "arguments build the layer again", self.arguments
        yield "layers inside are children", lambda: check_children(self.new(), self.train)
        yield "shapes of y and dx", self.shapes
        yield "gradients agree with differences", self.gradients
        yield "x and dy stay unchanged", self.inputs
        yield "gradients are overwritten, not added up", self.overwritten
        yield "buffers are reused, and not shared with another layer", self.buffers
        yield "a shorter batch gives the same rows", self.shorter_batch
        yield "inference is repeatable and changes no state", self.inference
        yield "the same seed gives the same numbers", self.repeatable
        yield "a step of an optimizer moves every parameter", self.moved
        yield "a copy trains like the original", self.copied
        yield "float32 agrees with float64", self.float32
        yield "an empty batch is an error", self.empty_batch
        yield "backward without a training pass is an error", self.backward_first
        yield "save and load give the same predictions", self.saved

    # Helpers ---------------------------------------------------------------------------------------------------------

    def new(self, dtype: str = "float64") -> Layer:
        return self.copy().build(self.backend, self.seed, dtype)

    def copy(self) -> Layer:
        return build_layer(self.example.description(), self.classes)

    def numpy(self, layer: Layer, array: Any) -> np.ndarray:
        return layer.backend.to_numpy(array)

    def forward(self, layer: Layer, training: bool, rows: int = ROWS) -> np.ndarray:
        x = np.ascontiguousarray(self.x[:rows], layer.dtype)
        return self.numpy(layer, layer.forward(layer.backend.wrap(x), training))

    def train(self, layer: Layer) -> list[np.ndarray]:
        """Return y, dx and the gradients of one training step."""
        y = self.forward(layer, training=True)
        dx = self.numpy(layer, layer.backward(layer.backend.wrap(self.dy.astype(layer.dtype))))
        return [y, dx, *(self.numpy(layer, parameter.gradient) for parameter in layer.parameters())]

    # Clauses ---------------------------------------------------------------------------------------------------------

    def arguments(self) -> None:
        again = repr(self.copy())
        assert again == repr(self.example), f"{self.example!r} became {again}"

    def shapes(self) -> None:
        y, dx, *_ = self.train(self.new())
        assert y.shape == self.dy.shape, f"y has shape {y.shape}; expected {self.dy.shape}"
        assert dx.shape == self.x.shape, f"dx has shape {dx.shape}; expected {self.x.shape}, that of x"
        assert y.dtype == dx.dtype == np.float64, (
            f"y and dx are {y.dtype} and {dx.dtype}; expected the dtype of the layer"
        )

    def gradients(self) -> None:
        check_gradients(self.new(), self.x, seed=self.seed, raises=True)

    def inputs(self) -> None:
        layer = self.new()
        x, dy = layer.backend.wrap(self.x.copy()), layer.backend.wrap(self.dy.copy())
        layer.forward(x, training=True)
        layer.backward(dy)
        for name, array, before in (("x", x, self.x), ("dy", dy, self.dy)):
            assert np.array_equal(self.numpy(layer, array), before), f"{name} was changed"

    def overwritten(self) -> None:
        layer = self.new()
        first = self.train(layer)
        dy = layer.backend.wrap(self.dy.copy())
        layer.backward(dy)
        for parameter, gradient in zip(layer.parameters(), first[2:], strict=True):
            again = self.numpy(layer, parameter.gradient)
            assert np.array_equal(again, gradient), f"a second backward pass changed the gradient of {parameter.name}"

    def buffers(self) -> None:
        first, second = self.new(), self.new()
        x = first.backend.wrap(self.x.copy())
        y, other = first.forward(x, training=True), second.forward(x, training=True)
        dx = first.backward(first.backend.wrap(self.dy.copy()))
        again = first.forward(x, training=True)
        assert again is y or _same_memory(y, again), "a second forward pass made a new y"
        passed_on = y is x  # a layer may return x itself, and then dy as dx
        for name, a, b in (("y", y, other), ("y and x", y, x), ("y and dx", y, dx)):
            assert passed_on or not _same_memory(a, b), f"{name} share memory"

    def shorter_batch(self) -> None:
        layer = self.new()
        full = self.forward(layer, training=False)
        short = self.forward(layer, training=False, rows=2)
        assert np.allclose(short, full[:2], rtol=1e-12, atol=1e-12), "two rows alone give other outputs than in a batch"
        assert np.array_equal(self.forward(layer, training=False), full), "a full batch after a short one is wrong"

    def inference(self) -> None:
        layer = self.new()
        self.train(layer)
        before = [self.numpy(layer, array) for _, array in layer.arrays()]
        first, second = self.forward(layer, training=False), self.forward(layer, training=False)
        after = [self.numpy(layer, array) for _, array in layer.arrays()]
        assert np.array_equal(first, second), "two inference passes differ"
        assert all(map(np.array_equal, before, after)), "an inference pass changed parameters or state"

    def repeatable(self) -> None:
        for a, b in zip(self.train(self.new()), self.train(self.new()), strict=True):
            assert np.array_equal(a, b), "two layers with the same seed differ"

    def moved(self) -> None:
        layer = self.new()
        if not layer.parameters():
            return
        before, optimizer = [self.numpy(layer, parameter.value) for parameter in layer.parameters()], SGD(0.1)
        for _ in range(3):  # behind weights that start at 0, the first gradient is 0
            self.train(layer)
            optimizer.step(layer.parameters())
        for parameter, value in zip(layer.parameters(), before, strict=True):
            assert not np.array_equal(self.numpy(layer, parameter.value), value), f"{parameter.name} stayed as it was"

    def copied(self) -> None:
        layer = self.new()
        self.train(layer)
        self.forward(layer, training=False)  # which leaves attributes that training sets in another way
        again = deepcopy(layer)
        for one in (layer, again):
            self.train(one)
            if one.parameters():
                SGD(0.01).step(one.parameters())
        for a, b in zip(self.train(layer), self.train(again), strict=True):
            assert np.array_equal(a, b), "copy.deepcopy of the layer does not train like the layer"

    def float32(self) -> None:
        for a, b in zip(self.train(self.new("float32")), self.train(self.new()), strict=True):
            assert a.dtype == np.float32, f"a layer in float32 gave {a.dtype}"
            assert np.allclose(a, b, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(b).max(initial=0.0)))), (
                f"float32 is off by {np.abs(a - b).max():.2g}"
            )

    def empty_batch(self) -> None:
        layer = self.new()
        try:
            layer.forward(self.x[:0], training=False)
        except ValueError:
            return
        raise AssertionError("forward took a batch without rows; expected a ValueError")

    def backward_first(self) -> None:
        for training in (None, False):
            layer = self.new()
            if training is not None:
                self.forward(layer, training)
            try:
                layer.backward(layer.backend.wrap(self.dy.copy()))
            except RuntimeError:
                continue
            raise AssertionError(
                "backward ran without a training pass before it; expected a RuntimeError (call self.begin_backward)"
            )

    def saved(self) -> None:
        model = Sequential(self.copy(), backend=self.backend, seed=self.seed, dtype="float64")
        layer = model.layers[0]
        self.train(layer)  # running estimates and counters now differ from their start
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.npz")
            model.save(path)
            again = load(path, backend=self.backend, layers=self.classes.values())
        assert np.array_equal(again.predict(self.x), model.predict(self.x)), "a loaded model predicts something else"
        names = [name for name, _ in layer.arrays()]
        assert len(set(names)) == len(names), f"two arrays have the same name: {names}"


def _same_memory(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.shares_memory(a, b)
    pointers = [array.__cuda_array_interface__["data"][0] for array in (a, b)]
    return pointers[0] == pointers[1]
