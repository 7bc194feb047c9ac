"""What a model can do beside its two passes: predict, be shown, be written to a file, and be put back."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from minidl.backend.parameters import valid_state
from minidl.data import frames
from minidl.data.dataset import Dataset, check_names, valid_names
from minidl.layers.base import Layer
from minidl.layers.summary import summary
from minidl.utils import checks, storage

PREDICT_BATCH = 1024
OTHER_FORMATS = {
    ".onnx": "dl.export.to_onnx(model, path)",
    ".safetensors": "dl.export.save_safetensors(model, path)",
    ".pt": "dl.export.to_torch_state(model)",
    ".pth": "dl.export.to_torch_state(model)",
}
_BUILDING = threading.RLock()  # two threads may ask for the first prediction of a model at the same time


class FeatureNames(checks.Checked):
    """A name for each input of the model, or None."""

    def __set__(self, owner: Any, value: Any) -> None:
        names = valid_names(self.name, value)
        if names is not None and owner.n_in not in (None, len(names)):
            raise ValueError(f"{self.name} got {len(names)} names; expected {owner.n_in}, one for each input")
        vars(owner)[self.name] = names


class Model(Layer):
    """A layer that may stand alone as a whole model. `Sequential` adds the layers and the two passes."""

    layers: tuple[Layer, ...]
    outputs: list[Any]  # of each layer, in the last forward pass
    penalty: str | None
    # Numbers the random order of each epoch, so that a second fit draws new ones.
    epochs_trained: Any = checks.Checked(checks.integer, 0)
    # Of the columns and the classes that the model was trained on; None where they had none.
    feature_names: Any = FeatureNames(valid_names)
    class_names: Any = checks.Checked(valid_names)

    @property
    def lock(self) -> Any:
        """What `predict`, `evaluate`, `inspect` and each step of `fit` hold, so that threads can share a model.

        The passes by hand, `forward` and `backward`, do not: hold it around them.
        """
        with _BUILDING:
            if self.context is None:
                self.build()
        assert self.context is not None  # now it is built
        return self.context.lock

    def predict(self, x: Any) -> np.ndarray:
        """Return the output for each row of `x` at inference, as a NumPy array of shape (rows, n_out).

        Raises:
            TypeError, ValueError: If `x` is no finite (rows, n_in) array of floats, nor a data frame of such columns,
                with the names that the model was trained on.
        """
        with self.lock:
            x = checks.finite("x", checks.matrix("x", self.unnamed(x), self.dtype))
            batches = [x[i : i + PREDICT_BATCH] for i in range(0, len(x), PREDICT_BATCH)]
            return np.concatenate([self.backend.to_numpy(self.forward(batch)) for batch in batches])

    def unnamed(self, x: Any) -> Any:
        """Return a data frame as an array, after a look at the names of its columns; all else as it is."""
        if isinstance(x, Dataset):
            raise TypeError(f"x got {x!r}; expected its inputs alone, such as test.x")
        x, names = frames.inputs("x", x)
        got = None if names is None else (*names,)
        check_names("the columns of x", got, self.feature_names)
        return x

    def keep_names(self, data: Dataset) -> None:
        """Keep the names of columns and classes that the model is trained on, where data have any."""
        self.feature_names = data.feature_names or self.feature_names
        self.class_names = data.class_names or self.class_names

    def gradients(self) -> Any:
        """Return the gradients of all parameters as one array of the backend, shape (size,), for sums over machines.

        It is no copy: each `parameter.gradient` is a view of its part, which backward passes overwrite. Weights come
        first, then parameters without weight decay (biases, γ, β, slopes), both in the order of `parameters()`. Each
        begins at a cache line of 64 bytes; the gaps are 0.

        Raises:
            ValueError: If the model has no parameters, or belongs to another one, whose array holds its gradients, too.
        """
        parameters = self.parameters()
        if not parameters or self.name:
            what = f"it belongs to another model, as {self.name}: ask that one" if self.name else "it has no parameters"
            raise ValueError(f"the model has no array of all gradients, because {what}")
        return parameters[0].slice.storage.gradients

    def first_not_finite(self) -> Layer | None:
        """Return the first layer whose output in the last forward pass has a NaN or an infinity, or None."""
        for layer, output in zip(self.layers, self.outputs, strict=False):
            # Asked first: an infinity inside may be gone at the end, where a tanh makes it 1.
            inner = layer.first_not_finite() if isinstance(layer, Model) else None
            if inner or not np.isfinite(self.backend.to_numpy(output)).all():
                return inner or layer
        return None

    def summary(self) -> str:
        """Return a table of the layers: output, parameters, multiply-adds for one row of x, how the weights start."""
        return summary(self)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options().items())
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))}{options})"

    def heading(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options().items())
        return f"{type(self).__name__}({options})"

    def _options(self) -> dict[str, Any]:
        options = {} if self.penalty is None else {"penalty": self.penalty}
        if not self.context or self.context.name:  # an inner Sequential has the others of the model around it
            return options
        return {"backend": self.backend.name, "seed": self.streams.seed, "dtype": str(self.dtype), **options}

    # Files and snapshots ---------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to the npz file `path`: arrays, and a description that `load` builds the layers from."""
        if instead := OTHER_FORMATS.get(checks.file_path("path", path).suffix):
            raise ValueError(f"path got {str(path)!r}; expected that of an npz file, which save writes: use {instead}")
        storage.write(path, storage.MODEL, self.model_description(), self.snapshot())

    def model_description(self) -> dict[str, Any]:
        """Return what `save` writes beside the arrays, as JSON."""
        self.parameters()
        return {
            "model": self.description(),
            "seed": self.streams.seed,
            "dtype": str(self.dtype),
            "epochs_trained": self.epochs_trained,
            "feature_names": self.feature_names,
            "class_names": self.class_names,
        }

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return NumPy copies of everything that the model has learned and counted, by name."""
        self.parameters()
        return {name: self.backend.to_numpy(array) for name, array in self.arrays()}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Put the arrays of a snapshot back.

        Raises:
            ValueError: If they do not fit; then nothing is changed.
        """
        arrays = self.check_snapshot(snapshot)
        for name, target in self.arrays():
            self.backend.copy_into(target, arrays[name])

    def check_snapshot(self, snapshot: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the arrays; ValueError if they are not those of this model."""
        self.parameters()
        arrays = checks.arrays("snapshot", snapshot, dict(self.arrays()))
        return {name: valid_state(f"snapshot[{name!r}]", name, array) for name, array in arrays.items()}
