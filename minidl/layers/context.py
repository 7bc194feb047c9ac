"""What a model tells each of its layers before it allocates."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl.backend import Backend
from minidl.penalties import Penalty
from minidl.utils import checks
from minidl.utils.random_streams import RandomStreams

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Context:
    """What a model gives each of its layers: where it runs, its name, and what stands around it.

    Attributes:
        next_activation: The activation that the output of the layer goes into, such as "leaky_relu(slope=0.1)".
        penalty: For weights whose layer has no penalty of its own.
        lock: Held while numbers pass through the model, because its layers keep their results in buffers.
    """

    backend: Backend
    dtype: np.dtype
    streams: RandomStreams
    name: str = ""
    next_activation: str | None = None
    penalty: Penalty | None = None
    lock: Any = field(default_factory=threading.RLock, compare=False, repr=False)

    def __reduce__(self) -> Any:  # a copy has a lock of its own
        return Context, (self.backend, self.dtype, self.streams, self.name, self.next_activation, self.penalty)

    @classmethod
    def of(cls, backend: str, seed: int, dtype: str) -> Context:
        """Return the context of a layer that stands alone."""
        dtype = checks.one_of("dtype", getattr(dtype, "__name__", getattr(dtype, "name", dtype)), DTYPES)
        return cls(backends.get(backend), np.dtype(dtype), RandomStreams(seed))
