"""A model as an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from minidl.export.onnx_nodes import Graph
from minidl.export.packages import needed_by, texts
from minidl.layers.sequential import Sequential
from minidl.utils import checks
from minidl.utils.files import write_whole
from minidl.utils.version import VERSION

OPSET, IR_VERSION = 22, 10  # which onnxruntime reads since 1.21
LARGEST = 2**31 - 1  # bytes of the format


def to_onnx(
    model: Sequential, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> None:  # fmt: skip
    """Write the network as it is at inference to an ONNX file, which onnxruntime and others run.

        import onnxruntime

        session = onnxruntime.InferenceSession("model.onnx")
        (y,) = session.run(None, {"x": test.x})  # what model.predict(test.x) gives

    The input is "x", shape (batch, n_in) for any batch, and the output "y", shape (batch, n_out), both in the dtype of
    the model. Dropout and noise pass on what they get. onnxruntime has no float64 for `LeakyReLU`, `PReLU`, `Softplus`,
    `ELU`, `SELU` and `GELU`: a file with those is right, but it runs such models in float32 only.

    Args:
        model: A `Sequential`. For layers of your own, `NODES` needs an entry.
        path: The file; written whole or not at all.
        metadata: Texts by name, which go into the file.

    Raises:
        ImportError: Without the package onnx.
        TypeError, ValueError: For a layer that has no entry in `NODES`, or weights of more than 2 GiB.
    """
    checks.instance("model", model, Sequential)
    checks.file_path("path", path)
    metadata = texts("metadata", metadata)
    with needed_by("to_onnx"):
        from onnx import TensorProto, helper, numpy_helper

    graph = Graph()
    with model.lock:
        last = graph.add(model, "x")
        if last == "x":  # no layer changes it, and an output needs another name
            last = graph.node(model, "Identity", "x")
    size = sum(array.nbytes for array in graph.constants.values())
    if size > LARGEST:
        raise ValueError(f"model got weights of {size:,} bytes; expected at most {LARGEST:,}, which a file can hold")

    names = {last: "y"}
    nodes = [
        helper.make_node(
            node.kind, [names.get(name, name) for name in node.inputs], [names.get(node.output, node.output)],
            name=node.output, **node.attributes,
        )
        for node in graph.nodes
    ]  # fmt: skip
    kind = TensorProto.FLOAT if model.dtype == "float32" else TensorProto.DOUBLE
    ends = [
        helper.make_tensor_value_info(name, kind, ["batch", features or "features"])
        for name, features in (("x", model.n_in), ("y", model.n_out))
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    whole = helper.make_model(
        helper.make_graph(nodes, "model", ends[:1], ends[1:], constants),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="minidl", producer_version=VERSION, doc_string=repr(model),
    )  # fmt: skip
    helper.set_model_props(whole, metadata)
    with write_whole(path) as file:
        file.write(whole.SerializeToString())
