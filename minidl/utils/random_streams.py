"""Everything random comes from one seed, through streams with names.

A stream is a pure function of (seed, name): adding a layer or an epoch does not move the random numbers of another,
and two streams with different names never share one. NumPy's `SeedSequence` mixes seed and name.
"""

from __future__ import annotations

import numpy as np

from minidl.utils import checks


class RandomStreams:
    """The random streams that belong to one seed."""

    def __init__(self, seed: int = 0):
        self.seed = checks.integer("seed", seed, minimum=0)

    def __repr__(self) -> str:
        return f"RandomStreams(seed={self.seed})"

    def _sequence(self, name: str) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.seed, spawn_key=tuple(name.encode()))

    def generator(self, name: str) -> np.random.Generator:
        """A NumPy generator for the stream `name`; the same name gives the same numbers again."""
        return np.random.default_rng(self._sequence(name))

    def key(self, name: str) -> np.ndarray:
        """Two uint32 words that key the counter-based generator (`scalar/philox.py`) for the stream `name`."""
        return self._sequence(name).generate_state(2, np.uint32)
