"""Writing models to files, and taking their arrays back."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minidl.layers.base import Layer
from minidl.utils import checks, storage


class SavedLayer(Layer):
    """A layer that can be written to a file of its own, with the layers inside it; `loading` reads the file."""

    epochs_trained = 0  # numbers the random order of each epoch, so that a second fit draws new ones

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to an npz file: the arrays of its layers and a description that `load` builds it from."""
        storage.write(path, storage.MODEL, self.model_description(), self.snapshot())

    def model_description(self) -> dict[str, Any]:
        """Return what `save` writes beside the arrays, as JSON."""
        self.parameters()
        return {
            "model": self.description(),
            "seed": self.streams.seed,
            "dtype": str(self.dtype),
            "epochs_trained": self.epochs_trained,
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
        self.check_snapshot(snapshot)
        for name, target in self.arrays():
            self.backend.copy_into(target, snapshot[name])

    def check_snapshot(self, snapshot: dict[str, np.ndarray]) -> None:
        """Raise ValueError if these are not the arrays of this model."""
        self.parameters()
        targets = dict(self.arrays())
        if targets.keys() != snapshot.keys():
            raise ValueError(f"its arrays {sorted(snapshot)} are not those of the layers, {sorted(targets)}")
        for name, target in targets.items():
            if snapshot[name].shape != target.shape or snapshot[name].dtype != target.dtype:
                raise ValueError(f"its array {name} is {checks.describe(snapshot[name])}, not of shape {target.shape}")
