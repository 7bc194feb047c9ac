"""The arrays of a model in a safetensors file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from minidl.export.packages import needed_by, texts
from minidl.export.states import restore
from minidl.layers.sequential import Sequential
from minidl.utils import checks
from minidl.utils.files import open_to_read, write_whole
from minidl.utils.version import VERSION


def save_safetensors(
    model: Sequential, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> None:  # fmt: skip
    """Write all arrays of a model, under minidl's names and in its shapes: "0.weight" of a `Dense` is (n_in, n_out).

    Of the layers it says only `repr(model)`, in the metadata; `model.save` writes what `load` builds a model from. With
    PyTorch's names and shapes: `safetensors.numpy.save_file(dl.export.to_torch_state(model), path)`.

    Args:
        model: A `Sequential`.
        path: The file; written whole or not at all.
        metadata: More texts by name, which go into the file.

    Raises:
        ImportError: Without the package safetensors.
        TypeError, ValueError: For wrong arguments.
    """
    checks.instance("model", model, Sequential)
    checks.file_path("path", path)
    own = {"producer": "minidl", "producer_version": VERSION, "model": repr(model)}
    metadata = {**own, **texts("metadata", metadata)}
    with needed_by("save_safetensors"):
        from safetensors.numpy import save
    with model.lock:
        arrays = model.snapshot()
    with write_whole(path) as file:
        file.write(save(arrays, metadata))


def load_safetensors(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Read the arrays of a safetensors file into a model of the same layers.

    Args:
        model: A `Sequential`.
        path: A file that `save_safetensors` wrote, or one with the same names and shapes.

    Raises:
        ImportError: Without the package safetensors.
        FileNotFoundError: If there is no such file.
        TypeError, ValueError: If it is damaged, has dtypes that NumPy has not, such as BF16, or an array is missing,
            unexpected, of another shape, not finite or a negative variance; the message names the array, and the model
            stays as it was.
    """
    checks.instance("model", model, Sequential)
    with needed_by("load_safetensors"):
        from safetensors.numpy import load
    with open_to_read("path", path) as file:
        try:
            arrays = load(file.read())
        except KeyError as error:
            expected = "dtypes that NumPy has, such as F32: convert the arrays, in PyTorch with .float()"
            raise ValueError(f"{path} got arrays of dtype {error.args[0]}; expected {expected}") from error
        except Exception as error:  # of damaged bytes
            raise ValueError(f"{path} is not a safetensors file, or it is damaged ({error})") from error
    with model.lock:
        restore(str(path), model, arrays, {name: name for name, _ in model.arrays()})
