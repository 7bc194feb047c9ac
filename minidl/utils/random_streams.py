"""Named random streams: everything random comes from one seed.

A stream is a pure function of (seed, name): adding a layer or an epoch does not move the random numbers of another,
and two streams with different names never share one. NumPy's `SeedSequence` mixes seed and name.
"""

from __future__ import annotations

import numpy as np

from minidl.utils import checks


class RandomStreams:
    """The random streams of one seed.

    >>> streams = RandomStreams(seed=7)
    >>> first, again = (streams.generator("0.weight").normal(size=3) for _ in range(2))
    >>> bool((first == again).all())
    True
    """

    def __init__(self, seed: int = 0):
        self.seed = checks.seed(seed)

    def __repr__(self) -> str:
        return f"RandomStreams(seed={self.seed})"

    def _sequence(self, name: str) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.seed, spawn_key=tuple(name.encode()))

    def generator(self, name: str) -> np.random.Generator:
        """Return a NumPy generator for the stream `name`; the same name gives the same numbers again."""
        return np.random.default_rng(self._sequence(name))

    def key(self, name: str) -> np.ndarray:
        """Return the key of the counter-based generator (`scalar/philox.py`) for the stream: two uint32 words."""
        return self._sequence(name).generate_state(2, np.uint32)
