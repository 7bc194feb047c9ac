"""The weights under PyTorch's names: round trips and refusals, and the same outputs where PyTorch is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import UserDict
from types import MappingProxyType

import numpy as np
import pytest

import minidl as dl
from tests.conftest import copies, each
from tests.layers.conftest import EXAMPLES, FEATURES

X = np.random.default_rng(0).normal(size=(6, FEATURES))
CENTERED = {name for name in EXAMPLES if name.startswith("CenteredDense")}


def made(make, seed=0, dtype="float32"):
    """A model of the layer, after some passes, so that no array is as it started."""
    model = dl.Sequential(make(), backend="numpy", seed=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.value = rng.normal(0.5, 0.5, parameter.shape)
    for _ in range(3):
        model.forward(rng.normal(3, 2, (9, FEATURES)).astype(dtype), training=True)
    return model


def network(**options):
    layers = (
        dl.Dense(FEATURES, 3),
        dl.BatchNorm(3),
        dl.Residual(dl.Dense(3, 2), dl.PReLU(2)),
        dl.Dense(2, 1, bias=False),
    )
    return made(lambda: dl.Sequential(*layers), **options)


def test_names_and_shapes():
    found = {name: (array.shape, array.dtype) for name, array in dl.export.to_torch_state(network()).items()}
    float32, int64 = np.dtype("float32"), np.dtype("int64")
    assert found == {
        "0.0.weight": ((3, 4), float32), "0.0.bias": ((3,), float32),
        "0.1.weight": ((3,), float32), "0.1.bias": ((3,), float32), "0.1.running_mean": ((3,), float32),
        "0.1.running_var": ((3,), float32), "0.1.num_batches_tracked": ((), int64),
        "0.2.0.weight": ((2, 3), float32), "0.2.0.bias": ((2,), float32), "0.2.1.weight": ((2,), float32),
        "0.2.projection.weight": ((2, 3), float32),
        "0.3.weight": ((1, 2), float32),
    }  # fmt: skip


def test_each_array_has_the_name_that_pytorch_has_for_it():
    model = made(lambda: dl.Sequential(dl.BatchNorm(FEATURES), dl.PReLU(FEATURES), dl.CenteredDense(FEATURES, 3)))
    batch_norm, prelu, centered = model.layers[0].layers
    state = dl.export.to_torch_state(model)
    for name, array in {
        "0.0.weight": batch_norm.gamma.value,
        "0.0.bias": batch_norm.beta.value,
        "0.0.running_mean": batch_norm.running_mean,
        "0.0.running_var": batch_norm.running_variance,
        "0.1.weight": prelu.slope.value,
        "0.2.bias": centered.bias.value,
    }.items():
        assert (state[name] == array).all(), name
    x = X.astype("float32")
    np.testing.assert_allclose(x @ state["0.2.weight"].T + state["0.2.bias"], centered.forward(x), rtol=1e-5, atol=1e-5)


def test_a_centered_weight_is_that_of_its_parameters_not_of_the_last_pass():
    model = made(lambda: dl.CenteredDense(FEATURES, 2))
    model.layers[0].direction.value = np.array([[4, 1], [0, 2], [4, 1], [0, 2]])
    model.layers[0].gain.value = np.array([2, 4])
    expected = [[1, -1, 1, -1], [-2, 2, -2, 2]]
    np.testing.assert_allclose(dl.export.to_torch_state(model)["0.weight"], expected, rtol=1e-6)


def test_the_arrays_are_copies_of_ones_own():
    model = network()
    before = copies(model)
    for array in dl.export.to_torch_state(model).values():
        assert array.flags.c_contiguous and array.flags.writeable and array.flags.owndata
        array[...] = 7
    assert all((before[name] == array).all() for name, array in copies(model).items())


@each("name, dtype", [(name, dtype) for name in EXAMPLES for dtype in ("float32", "float64")])
def test_there_and_back(name, dtype):
    model, other = made(EXAMPLES[name], 0, dtype), made(EXAMPLES[name], 1, dtype)
    state = dl.export.to_torch_state(model)
    if name in CENTERED:
        with pytest.raises(ValueError, match=r"^model got layer 0 CenteredDense\(.*\), whose weight is made of others"):
            dl.export.from_torch_state(other, state)
        return
    dl.export.from_torch_state(other, state)
    assert (other.predict(X) == model.predict(X)).all()
    again = dl.export.to_torch_state(other)
    assert list(again) == list(state) and all((again[name] == state[name]).all() for name in state)


def changed(change):
    state = dl.export.to_torch_state(network())
    change(state)
    return state


@each("change, message", [
    (lambda s: s.pop("0.0.bias"), "state got no '0.0.bias' (1 missing); expected the 12 arrays of the"),
    (lambda s: s.pop("0.1.num_batches_tracked"), "state got no '0.1.num_batches_tracked' (1 missing)"),
    (lambda s: s.update(more=X), "state got 'more', which the model has not (1 unexpected); expected"),
    (lambda s: s.update({1: X}), "state got 1, which the model has not"),
    (lambda s: s.update({"0.0.weight": X}), "state['0.0.weight'] got shape (6, 4); expected (3, 4)"),
    (lambda s: s.update({"0.0.weight": s["0.0.weight"].T}), "['0.0.weight'] got shape (4, 3);"),
    (lambda s: s.update({"0.0.bias": "abc"}), "state['0.0.bias'] got 'abc'; expected numbers of shape"),
    (lambda s: s.update({"0.0.bias": np.array([0, np.inf, 0])}), "state['0.0.bias'] got inf at index"),
    (lambda s: s.update({"0.1.running_var": np.full(3, 1e300)}), "state['0.1.running_var'] got 1e+300"),
    (lambda s: s.update({"0.1.running_var": np.array([1, 1, -0.5])}), "state['0.1.running_var'] got -0.5; expect"),
])  # fmt: skip
def test_what_does_not_fit_is_named_and_changes_nothing(change, message):
    model = network(seed=1)
    before = copies(model)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        dl.export.from_torch_state(model, changed(change))
    assert all((before[name] == array).all() for name, array in copies(model).items())


class Tensor:
    """A tensor that NumPy cannot take."""

    def __array__(self, *arguments, **options):
        raise TypeError("Got unsupported ScalarType BFloat16")

    def __repr__(self):
        return "tensor"

    def detach(self):
        return self


def test_a_tensor_that_numpy_cannot_take_is_named_and_the_way_out_is_told():
    state = {**dl.export.to_torch_state(network()), "0.0.bias": Tensor()}
    message = "state['0.0.bias'] got tensor; expected numbers of shape (3,): of a tensor .detach().float().cpu()"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        dl.export.from_torch_state(network(), state)


@each("kind", [UserDict, MappingProxyType])
def test_the_state_may_be_any_mapping(kind):
    model, other = network(), network(seed=1)
    dl.export.from_torch_state(other, kind(dl.export.to_torch_state(model)))
    assert (other.predict(X) == model.predict(X)).all()


class Scale(dl.Layer):
    """y = s x."""

    def __init__(self, features):
        self.n_in = self.n_out = self.features = features

    def allocate(self):
        self.s = self.parameter("s", np.ones(self.features))


def test_a_layer_of_ones_own_with_arrays_is_refused_by_name():
    model = dl.Sequential(dl.Dense(FEATURES, 3), dl.Residual(Scale(3)), backend="numpy")
    message = r"^model got layer 1.Residual.0 Scale\(3\), whose arrays have no names in PyTorch; expected"
    for call in (dl.export.to_torch_state, lambda model: dl.export.from_torch_state(model, {})):
        with pytest.raises(ValueError, match=message):
            call(model)


def test_neither_pytorch_nor_the_packages_of_the_extra_are_imported():
    code = (
        "import minidl as dl, sys; model = dl.Sequential(dl.Dense(3, 2), backend='numpy'); "
        "dl.export.from_torch_state(model, dl.export.to_torch_state(model)); "
        "print({name.partition('.')[0] for name in sys.modules} & {'torch', 'onnx', 'onnxruntime', 'safetensors'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "set()\n"


# With PyTorch --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch comes with the extra bench")


def counterpart(torch, layer):
    """The module of PyTorch that a layer is, written as a user would."""
    nn = torch.nn

    class Residual(nn.Sequential):
        def forward(self, x):
            y = x
            for name, module in self.named_children():
                y = y if name == "projection" else module(y)
            return y + (self.projection(x) if hasattr(self, "projection") else x)

    class Heads(nn.ModuleDict):
        def forward(self, x):
            return torch.cat([head(x) for head in self.values()], dim=1)

    if isinstance(layer, dl.Dense):
        return nn.Linear(layer.n_in, layer.n_out, bias=layer.bias is not None)
    if isinstance(layer, dl.BatchNorm):
        return nn.BatchNorm1d(layer.features, eps=layer.epsilon, momentum=1 - layer.decay)
    if isinstance(layer, dl.PReLU):
        return nn.PReLU(layer.features)
    if isinstance(layer, dl.MaxPool):
        stride = layer.stride or layer.size
        return nn.Sequential(nn.Unflatten(1, (1, *layer.shape)), nn.MaxPool2d(layer.size, stride), nn.Flatten())
    inner = {name: counterpart(torch, child) for name, child in layer.named_children().items()}
    if isinstance(layer, dl.Heads):
        return Heads(inner)
    if isinstance(layer, dl.Sequential):
        module = Residual() if isinstance(layer, dl.Residual) else nn.Sequential()
        for name, child in inner.items():
            module.add_module(name, child)
        return module
    if isinstance(layer, (dl.Dropout, dl.StochasticDepth, dl.GaussianNoise, dl.ActivityPenalty)):
        return nn.Identity()
    return getattr(nn, type(layer).__name__)(*layer.get_config().values())


NOT_IN_PYTORCH = {"FractionalMaxPool", "classic Dropout"}


@each(
    "name, dtype",
    [(name, dtype) for name in EXAMPLES if name not in NOT_IN_PYTORCH for dtype in ("float32", "float64")],
)
def test_pytorch_computes_what_the_model_predicts(name, dtype, torch):
    model = made(EXAMPLES[name], dtype=dtype)
    net = counterpart(torch, model).to(getattr(torch, dtype)).eval()
    net.load_state_dict({name: torch.from_numpy(array) for name, array in dl.export.to_torch_state(model).items()})
    with torch.inference_mode():
        y = net(torch.from_numpy(X.astype(dtype))).numpy()
    tolerance = 3e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(y, model.predict(X), rtol=0, atol=tolerance * np.abs(y).max())

    if name not in CENTERED:
        other = made(EXAMPLES[name], seed=1, dtype=dtype)
        dl.export.from_torch_state(other, net.state_dict())
        assert (other.predict(X) == model.predict(X)).all()


def test_a_network_trained_in_pytorch_comes_back(torch):
    """Ten steps of SGD in both, with batch norm: weights, running mean and running variance stay together."""

    def make():
        return dl.Sequential(dl.Dense(FEATURES, 8), dl.BatchNorm(8, decay=0.8, epsilon=1e-3), dl.Tanh(), dl.Dense(8, 3))

    model = made(make, dtype="float64")
    net = counterpart(torch, model).double()
    net.load_state_dict({name: torch.from_numpy(array) for name, array in dl.export.to_torch_state(model).items()})
    labels = np.arange(6) % 3
    loss, optimizer = dl.SoftmaxCrossEntropy(), dl.SGD(0.1)
    their_loss, their_optimizer = torch.nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(10):
        loss.forward(model.forward(X, training=True), labels)
        model.backward(loss.backward())
        optimizer.step(model.parameters())
        their_optimizer.zero_grad()
        their_loss(net(torch.from_numpy(X)), torch.from_numpy(labels)).backward()
        their_optimizer.step()
    ours, theirs = dl.export.to_torch_state(model), net.state_dict()
    for name in ours.keys() - {"0.1.num_batches_tracked"}:
        np.testing.assert_allclose(ours[name], theirs[name].numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
    back = made(make, seed=1, dtype="float64")
    dl.export.from_torch_state(back, theirs)
    net.eval()
    with torch.inference_mode():
        np.testing.assert_allclose(back.predict(X), net(torch.from_numpy(X)).numpy(), rtol=1e-12)


def test_a_tensor_that_needs_a_gradient_is_named(torch):
    state = dl.export.to_torch_state(network())
    state["0.0.bias"] = torch.zeros(3, requires_grad=True)
    with pytest.raises(
        TypeError, match=r"^state\['0.0.bias'\] got tensor.*; expected .*: of a tensor .detach\(\).float\(\).cpu\(\)$"
    ):
        dl.export.from_torch_state(network(), state)
