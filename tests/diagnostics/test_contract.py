"""dl.check_layer: our own layers keep the contract, and each way to break it is found."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minidl as dl
from minidl.diagnostics import contract
from minidl.diagnostics.contract import ContractError
from tests.layers.conftest import EXAMPLES


class Scale(dl.Layer):
    """A layer as a reader would write it: y = s x with a learned s for each feature. On NumPy arrays only."""

    def __init__(self, features: int, start: float = 1.0):
        self.n_in = self.n_out = self.features = features
        self.start = start

    def allocate(self):
        self.s = self.parameter("s", np.full(self.features, self.start))

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        y = self.buffer("y", *x.shape)
        np.multiply(x, self.s.value, out=y)
        return y

    def backward(self, dy):
        x, dy = self.begin_backward(dy)
        self.s.gradient[...] = (dy * x).sum(axis=0)
        dx = self.buffer("dx", *x.shape)
        np.multiply(dy, self.s.value, out=dx)
        return dx


class ForgetsAnArgument(Scale):
    def __init__(self, features: int, start: float = 1.0):
        super().__init__(features, start)
        self.start = 2 * start


class WrongShape(Scale):
    def forward(self, x, training=False):
        return super().forward(x, training)[:, :-1]


class WrongGradient(Scale):
    def backward(self, dy):
        dx = super().backward(dy)
        self.s.gradient[...] /= len(dy)
        return dx


class EditsItsInput(Scale):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        x *= 0.5
        return y


class EditsDy(Scale):
    def backward(self, dy):
        dx = super().backward(dy)
        dy *= 0.5
        return dx


class AddsUpGradients(Scale):
    def backward(self, dy):
        before = self.s.gradient.copy()
        dx = super().backward(dy)
        self.s.gradient[...] += before
        return dx


class NewOutputEachTime(Scale):
    def forward(self, x, training=False):
        return super().forward(x, training).copy()


SHARED = np.zeros((100, 4))


class SharesItsBuffer(Scale):
    def forward(self, x, training=False):
        y = SHARED[: len(x)]
        y[...] = super().forward(x, training)
        return y


class MixesRows(Scale):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        y -= y.mean()
        return y


class RandomAtInference(Scale):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        if not training:
            y += np.random.default_rng().normal(size=y.shape)
        return y


class RandomStart(Scale):
    def allocate(self):
        self.s = self.parameter("s", np.random.default_rng().normal(size=self.features))


class NeverLearns(Scale):
    def backward(self, dy):
        self.s._gradient = np.zeros(4)  # where no optimizer looks
        return super().backward(dy)


class UsesNoParameter(Scale):
    """Right in every pass; s is not in it, so it stays as it is."""

    def forward(self, x, training=False):
        return np.add(self.begin_forward(x, training), 1.0, out=self.buffer("y", *x.shape))

    def backward(self, dy):
        x, dy = self.begin_backward(dy)
        self.s.gradient = np.zeros_like(self.s.value)
        return np.multiply(dy, 1.0, out=self.buffer("dx", *x.shape))


class TornByInference(Scale):
    """A copy that is made after an inference pass keeps its own view."""

    def forward(self, x, training=False):
        if not training:
            self.seen = self.s.value
        x = self.begin_forward(x, training)
        return np.multiply(x, vars(self).get("seen", self.s.value), out=self.buffer("y", *x.shape))


class HoldsALock(Scale):
    def allocate(self):
        super().allocate()
        self.lock = threading.Lock()


class AlwaysDouble(Scale):
    def forward(self, x, training=False):
        return super().forward(x, training).astype(np.float64)


class TakesEmptyBatches(Scale):
    def forward(self, x, training=False):
        return x if len(x) == 0 else super().forward(x, training)


class BackwardWithoutForward(Scale):
    def backward(self, dy):
        return dy * self.s.value if self.x is None else super().backward(dy)


class HiddenState(Scale):
    """Changes in training, but is not among the arrays that are saved."""

    offset = 0.0

    def forward(self, x, training=False):
        y = super().forward(x, training)
        y += self.offset
        self.offset += 0.5 * training
        return y


class HidesALayer(Scale):
    """Trains and saves s, but not the weights of what it holds."""

    def __init__(self, features: int, start: float = 1.0):
        super().__init__(features, start)
        self.inner = dl.Dense(features, features)

    def forward(self, x, training=False):
        return self.inner.forward(super().forward(x, training), training)

    def backward(self, dy):
        return super().backward(self.inner.backward(dy))


BROKEN = {
    ForgetsAnArgument: "arguments build the layer again",
    HidesALayer: "layers inside are children",
    WrongShape: "shapes of y and dx",
    WrongGradient: "gradients agree with differences",
    EditsItsInput: "x and dy stay unchanged",
    EditsDy: "x and dy stay unchanged",
    AddsUpGradients: "gradients are overwritten, not added up",
    NewOutputEachTime: "buffers are reused, and not shared with another layer",
    SharesItsBuffer: "buffers are reused, and not shared with another layer",
    MixesRows: "a shorter batch gives the same rows",
    RandomAtInference: "inference is repeatable and changes no state",
    RandomStart: "the same seed gives the same numbers",
    NeverLearns: "a step of an optimizer moves every parameter",
    UsesNoParameter: "a step of an optimizer moves every parameter",
    TornByInference: "a copy trains like the original",
    HoldsALock: "a copy trains like the original",
    AlwaysDouble: "float32 agrees with float64",
    TakesEmptyBatches: "an empty batch is an error",
    BackwardWithoutForward: "backward without a training pass is an error",
    HiddenState: "save and load give the same predictions",
}


def test_inference_that_only_changes_state_breaks_the_contract():
    """Both passes give the same outputs, so nothing but the state tells."""

    class CountsPredictions(dl.Dropout):
        def forward(self, x, training=False):
            y = super().forward(x, training)
            if not training:
                self.step[...] += 1  # the next training pass drops other units
            return y

    broken = {name: wrong for name, wrong in dl.check_layer(CountsPredictions(0.4)).clauses.items() if wrong}
    assert broken == {"inference is repeatable and changes no state": "an inference pass changed parameters or state"}


def all_numbers(layer, x, dy):
    """y, dx, gradients and costs of two training steps."""
    get, found = layer.backend.to_numpy, []
    for _ in range(2):
        found += [get(layer.forward(x, training=True)), get(layer.backward(dy))]
        found += [get(parameter.gradient) for parameter in layer.parameters()]
        found += [get(inner.cost) for inner in layer.walk() if inner.cost is not None]
    return found


@pytest.mark.parametrize("backend", ["numpy", "cpu", "emulator"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_our_own_layers_keep_the_contract(name, backend, monkeypatch):
    def agree_with_numpy(layer, x, seed, raises):
        """Differences take a hundred passes, which are slow in the emulator; with NumPy's gradients they agree."""
        twin = EXAMPLES[name]().build("numpy", seed, "float64")
        dy = np.random.default_rng(seed).normal(size=twin.forward(x).shape)
        for found, expected in zip(all_numbers(layer, x, dy), all_numbers(twin, x, dy), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    if backend == "emulator":
        monkeypatch.setattr(contract, "check_gradients", agree_with_numpy)
    dl.check_layer(EXAMPLES[name](), backend=backend, raises=True)


def test_a_layer_of_the_readers_own_keeps_it():
    report = dl.check_layer(Scale(4, start=0.5))
    assert report.ok, str(report)
    assert str(report).splitlines()[0] == "Scale(4, start=0.5)"
    assert len(report.clauses) == 16


@pytest.mark.parametrize(("layer", "clause"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_each_broken_clause_is_found(layer, clause):
    report = dl.check_layer(layer(4))
    assert report.clauses[clause], str(report)
    assert f"BROKEN  {clause}: " in str(report)
    with pytest.raises(ContractError, match=clause):
        report.raise_if_broken()
    with pytest.raises(ContractError, match=clause):
        dl.check_layer(layer(4), raises=True)


def in_allocate(layer, inner):
    layer.inner = inner.build("cpu", 0, "float64")


def in_a_list(layer, inner):
    layer.inner = [None, inner]


def in_a_dict_of_tuples(layer, inner):
    layer.inner = {"a": (3, inner)}


class Holds(Scale):
    """Keeps another layer in some way, without naming it as a child."""

    way = (in_allocate,)

    def allocate(self):
        super().allocate()
        self.way[0](self, dl.Dense(4, 4))


@pytest.mark.parametrize("way", [in_allocate, in_a_list, in_a_dict_of_tuples])
def test_the_attribute_of_a_layer_that_is_not_listed_is_named(way, monkeypatch):
    monkeypatch.setattr(Holds, "way", (way,))
    for layer in (Holds(4), dl.Sequential(dl.Tanh(), Holds(4))):
        wrong = {name: text for name, text in dl.check_layer(layer).clauses.items() if text}
        assert wrong == {
            "layers inside are children": "inner of Holds(4) holds Dense(4, 4), which is neither trained "
            "nor saved; expected it among the named_children, set up by setup_children"
        }


class Tied(Scale):
    """Refers to a layer that lives beside it, and reads it in each pass."""

    other = None

    def forward(self, x, training=False):
        assert isinstance(self.other, dl.Dense)
        return super().forward(x, training)


class Pair(dl.Sequential):
    """A dense layer, and a layer that refers to it and to the pair."""

    def __init__(self, features: int):
        super().__init__(dl.Dense(features, features), Tied(features))
        self.features = features
        self.layers[1].other, self.layers[1].parents = self.layers[0], [self]

    def get_config(self):
        return {"features": self.features}


def test_a_layer_may_refer_to_one_that_lives_elsewhere_in_the_model():
    report = dl.check_layer(Pair(4))
    assert report.clauses["layers inside are children"] == "", str(report)
    assert report.ok, str(report)


def test_every_clause_has_a_layer_that_breaks_it():
    assert set(BROKEN.values()) == set(dl.check_layer(Scale(4)).clauses)


def test_a_layer_in_use_is_refused():
    model = dl.Sequential(dl.Dense(4, 3), backend="cpu")
    with pytest.raises(ValueError, match=r"already belongs to a model; expected a new one"):
        dl.check_layer(model.layers[0])
    with pytest.raises(TypeError, match=r"layer got 3; expected a layer"):
        dl.check_layer(3)
