"""Leaving with a model: to ONNX and safetensors files, and to PyTorch and back.

    dl.export.to_onnx(model, "model.onnx")  # the whole network, at inference, for onnxruntime and others
    dl.export.save_safetensors(model, "model.safetensors")  # its arrays alone
    state = dl.export.to_torch_state(model)  # the weights under PyTorch's names

The files need the packages of the extra `export`: `pip install 'minidl[export]'`.
"""

from minidl.export.onnx_file import to_onnx
from minidl.export.onnx_nodes import NODES, Graph
from minidl.export.safetensors_file import load_safetensors, save_safetensors
from minidl.export.torch_state import from_torch_state, to_torch_state

__all__ = ["NODES", "Graph", "from_torch_state", "load_safetensors", "save_safetensors", "to_onnx", "to_torch_state"]
