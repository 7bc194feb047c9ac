"""ONNX files: onnxruntime computes with them what the model predicts, layer by layer."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minidl as dl
from minidl.export.onnx_file import IR_VERSION, OPSET
from tests.conftest import each
from tests.layers.conftest import EXAMPLES, FEATURES

onnx = pytest.importorskip("onnx", reason="ONNX files need the extra export")
onnxruntime = pytest.importorskip("onnxruntime", reason="what runs the files needs the extra test")

# onnxruntime has no kernels for float64 of these; if it gets them, the docstring of `to_onnx` changes.
ONLY_FLOAT32 = {"LeakyReLU", "PReLU", "Softplus", "ELU", "SELU", "GELU"}
# Layers that the examples of the contract do not have, or not in every way.
MORE = {
    "LeakyReLU(0.3)": lambda: dl.LeakyReLU(0.3),
    "ELU(0.7)": lambda: dl.ELU(0.7),
    "MaxPool of colours": lambda: dl.MaxPool((3, 7, 5), size=(2, 3), stride=(2, 1)),
    "MaxPool with pixels left over": lambda: dl.MaxPool((5, 7), size=2),
    "FractionalMaxPool of colours": lambda: dl.FractionalMaxPool((2, 9, 7), ratio=1.41),
    "FractionalMaxPool with three rows in a region": lambda: dl.FractionalMaxPool((5, 3), ratio=2.0),
}


def made(make, dtype="float32", backend="numpy"):
    """A model of the layer whose arrays are not as they started."""
    model = dl.Sequential(make(), backend=backend, seed=0, dtype=dtype)
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.value = rng.normal(0.5, 0.5, parameter.shape)
    for layer in model.walk():
        if isinstance(layer, dl.BatchNorm):
            layer.running_mean = rng.normal(0, 3, layer.features)
            layer.running_variance = rng.uniform(0.2, 2, layer.features)
    return model


def inputs(model, rows=7):
    x = 4 * np.random.default_rng(2).normal(size=(rows, model.n_in or FEATURES))
    return x.astype(model.dtype)


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return y


def agrees(model, path, x):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    y, expected = run(path, x), model.predict(x)
    assert y.dtype == expected.dtype and y.shape == expected.shape
    assert np.abs(y - expected).max() <= 3e-6 * np.abs(expected).max()


@each("name, dtype", [(name, dtype) for name in {**EXAMPLES, **MORE} for dtype in ("float32", "float64")])
def test_onnxruntime_computes_what_the_model_predicts(name, dtype, tmp_path):
    model = made({**EXAMPLES, **MORE}[name], dtype)
    dl.export.to_onnx(model, tmp_path / "model.onnx")
    if dtype == "float64" and type(model.layers[0]).__name__ in ONLY_FLOAT32:
        onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
        with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
            run(tmp_path / "model.onnx", inputs(model))
    else:
        for rows in (1, 7):
            agrees(model, tmp_path / "model.onnx", inputs(model, rows))


@each("dtype", ["float32", "float64"])
def test_the_file_standardizes_as_the_training_data_were(dtype, tmp_path):
    """In float64, where a float32 would hold no difference from the mean."""
    rng = np.random.default_rng(0)
    x, y = 1e9 + 3 * rng.normal(size=(50, 2)), 1e6 + rng.normal(size=(50, 3))
    inputs, outputs = dl.data.Standardize().fit(x), dl.data.Standardize().fit(y)
    model = dl.Sequential(dl.Dense(2, 3), dl.Tanh(), backend="numpy", seed=0, dtype=dtype)
    statistics = {"inputs": (inputs.mean, inputs.scale), "outputs": (outputs.mean, outputs.scale)}
    for given in ({}, {"inputs": statistics["inputs"]}, {"outputs": statistics["outputs"]}, statistics):
        dl.export.to_onnx(model, tmp_path / "model.onnx", **given)
        onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
        scaled = inputs.transform(x).astype(dtype)
        expected = model.predict(scaled).astype(np.float64)
        expected = outputs.inverse_transform(expected) if "outputs" in given else expected
        found = run(tmp_path / "model.onnx", x if "inputs" in given else scaled)
        assert found.dtype == ("float64" if "outputs" in given else dtype)
        assert np.abs(found - expected).max() <= 3e-6


def test_a_network_without_layers_of_its_own_can_be_standardized(tmp_path):
    model = dl.Sequential(dl.Dropout(0.5), backend="numpy")
    dl.export.to_onnx(model, tmp_path / "model.onnx", inputs=([1.0, 2.0], [2.0, 4.0]))
    assert run(tmp_path / "model.onnx", np.array([[3.0, 2.0]])).tolist() == [[1.0, 0.0]]
    with pytest.raises(
        ValueError, match=r"^the mean of outputs got shape \(3,\); expected \(2,\), one for each column"
    ):
        dl.export.to_onnx(model, tmp_path / "model.onnx", inputs=([1, 2], [2, 4]), outputs=([1, 2, 3], [1, 1, 1]))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"inputs": np.ones((2, 2))}, TypeError, "^inputs got an array .* expected mean and scale"),
        ({"inputs": ([1.0, 2.0],)}, TypeError, "^inputs got .* expected mean and scale"),
        ({"inputs": ([1.0], [1.0])}, ValueError, r"^the mean of inputs got shape \(1,\); expected \(2,\), one"),
        ({"inputs": ([1.0, 2.0], [1.0])}, ValueError, r"^the scale of inputs got shape \(1,\); expected \(2,\)"),
        ({"outputs": ([1, 2, 3], [1, 0, 1])}, ValueError, "^the scale of outputs got 0; expected numbers greater"),
        ({"outputs": ([1, np.nan, 3], [1, 1, 1])}, ValueError, "^the mean of outputs "),
        ({"outputs": (["a"] * 3, [1, 1, 1])}, TypeError, "^the mean of outputs "),
    ],
)
def test_statistics_that_do_not_fit_are_refused(given, error, message, tmp_path):
    with pytest.raises(error, match=message):
        dl.export.to_onnx(dl.Sequential(dl.Dense(2, 3), backend="numpy"), tmp_path / "model.onnx", **given)
    assert not (tmp_path / "model.onnx").exists()


def test_every_layer_is_in_the_table_and_compared():
    """Layers of minidl that ONNX cannot express would be listed here, as refused; there are none."""
    kinds = set(dl.layers.LAYERS.values())
    assert set(dl.export.NODES) == kinds
    assert {type(make()) for make in EXAMPLES.values()} >= kinds - {type(make()) for make in MORE.values()}


@each("backend", ["cpu", "emulator"])
def test_a_network_of_everything(backend, tmp_path):
    layers = (
        dl.GaussianNoise(0.3), dl.MaxPool((4, 6)), dl.CenteredDense(6, 8), dl.BatchNorm(8), dl.SiLU(),
        dl.Residual(dl.Dense(8, 8), dl.BatchNorm(8), dl.ReLU(), dl.Residual(dl.Dense(8, 4), dl.GELU()), dl.Dense(4, 5)),
        dl.Dropout(0.4, inverted=False),
        dl.Heads(a=dl.Dense(5, 2), b=dl.Sequential(dl.DropConnect(5, 3, 0.5), dl.Tanh(), dl.NoisyDense(3, 1, 0.1))),
    )  # fmt: skip
    model = made(lambda: dl.Sequential(*layers), backend=backend)
    dl.export.to_onnx(model, tmp_path / "model.onnx")
    agrees(model, tmp_path / "model.onnx", inputs(model))


def test_numbers_that_a_float32_sum_would_lose(tmp_path):
    """Batch norm subtracts the mean first; activations have no overflow and no cancellation far from 0."""
    model = dl.Sequential(dl.BatchNorm(3), backend="numpy")
    model.layers[0].running_mean = np.full(3, 1e4)
    dl.export.to_onnx(model, tmp_path / "model.onnx")
    agrees(model, tmp_path / "model.onnx", 1e4 + inputs(model))
    for kind in dl.ACTIVATION_LAYERS.values():
        model = dl.Sequential(kind(), backend="numpy")
        dl.export.to_onnx(model, tmp_path / "model.onnx")
        for scale in (0.1, 30.0, 1e4):
            agrees(model, tmp_path / "model.onnx", scale * inputs(model))


def test_a_model_that_changes_nothing(tmp_path):
    model = dl.Sequential(dl.Dropout(0.5), dl.Sequential(dl.GaussianNoise(0.1)), backend="numpy")
    dl.export.to_onnx(model, tmp_path / "model.onnx")
    agrees(model, tmp_path / "model.onnx", inputs(model))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [one.shape for one in (*session.get_inputs(), *session.get_outputs())] == [["batch", "features"]] * 2


def test_what_stands_in_the_file(tmp_path):
    model = dl.Sequential(dl.Dense(3, 2), dl.ReLU(), dl.Dropout(0.5), backend="numpy", seed=0)
    dl.export.to_onnx(model, tmp_path / "model.onnx", metadata={"classes": "no, yes"})
    file = onnx.load(tmp_path / "model.onnx")
    assert (file.producer_name, file.producer_version, file.doc_string) == ("minidl", dl.__version__, repr(model))
    assert file.ir_version == IR_VERSION and [(one.domain, one.version) for one in file.opset_import] == [("", OPSET)]
    assert {one.key: one.value for one in file.metadata_props} == {"classes": "no, yes"}
    assert [node.op_type for node in file.graph.node] == ["Gemm", "Relu"]
    weight = next(array for array in file.graph.initializer if array.name == "0.Dense.weight")
    assert (onnx.numpy_helper.to_array(weight) == model.layers[0].weight.value).all()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    ends = [(one.name, one.shape, one.type) for one in (*session.get_inputs(), *session.get_outputs())]
    assert ends == [("x", ["batch", 3], "tensor(float)"), ("y", ["batch", 2], "tensor(float)")]


class Doubled(dl.Layer):
    """y = 2 x."""

    def forward(self, x, training=False):
        return np.multiply(self.begin_forward(x, training), 2, out=self.buffer("y", *x.shape))


class Other(dl.Dense):
    """A subclass, which may compute anything."""


@each("layer, name", [(Doubled, "1 Doubled()"), (lambda: Other(3, 3), "1 Other(3, 3)")])
def test_a_layer_of_ones_own_is_refused_by_name_and_leaves_no_file(layer, name, tmp_path):
    model = dl.Sequential(dl.Dense(3, 3), layer(), backend="numpy")
    message = f"model got layer {name}, for which there is no ONNX; expected layers of minidl, or an entry for "
    with pytest.raises(ValueError, match=re.escape(message)):
        dl.export.to_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_an_entry_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setitem(dl.export.NODES, Doubled, lambda graph, layer, x: graph.node(layer, "Add", x, x))
    model = dl.Sequential(dl.Dense(3, 3), Doubled(), backend="numpy")
    dl.export.to_onnx(model, tmp_path / "model.onnx")
    agrees(model, tmp_path / "model.onnx", inputs(model))


def test_a_file_that_was_there_stays_if_anything_goes_wrong(tmp_path, monkeypatch):
    path, model = tmp_path / "model.onnx", dl.Sequential(dl.Dense(3, 2), backend="numpy")
    path.write_text("mine")
    monkeypatch.setattr(dl.export.onnx_file, "LARGEST", 31)
    with pytest.raises(ValueError, match="^model got weights of 32 bytes; expected at most 31"):
        dl.export.to_onnx(model, path)
    assert path.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
