"""What Hypothesis chooses from: fans, seeds, batches, networks."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**63 - 1)


@st.composite
def fans(draw, narrowest: int = 1, widest: int = 128, least: int = 4096) -> tuple[int, int]:
    """(fan_in, fan_out) of at least `least` weights, one of them at least twice the other.

    With fewer draws, or with a square, a wrong factor or the wrong fan would not show.
    """
    narrow = draw(st.integers(narrowest, widest))
    wide = draw(st.integers(max(2 * narrow, -(-least // narrow)), max(4 * narrow, -(-least // narrow) + 64)))
    return draw(st.sampled_from([(narrow, wide), (wide, narrow)]))


def _rank_one(rng, rows, features):
    return np.outer(rng.standard_normal(rows), rng.standard_normal(features))


def _constant_columns(rng, rows, features):
    return np.tile(rng.standard_normal(features), (rows, 1))


def _one_hot(rng, rows, features):
    return np.eye(features)[rng.integers(0, features, rows)]


def _uneven_columns(rng, rows, features):
    return rng.standard_normal((rows, features)) * 10.0 ** rng.uniform(-6, 6, features)


def _uneven_rows(rng, rows, features):
    return rng.standard_normal((rows, features)) * 10.0 ** rng.uniform(-6, 6, (rows, 1))


def _shifted(rng, rows, features):
    return 100.0 + rng.standard_normal((rows, features))


def _even(rng, rows, features):
    return rng.standard_normal((rows, features))


KINDS = (_even, _rank_one, _constant_columns, _one_hot, _uneven_columns, _uneven_rows, _shifted)


@st.composite
def batches(draw, rows: int, features: int) -> np.ndarray:
    """Up to `rows` rows, as ill-conditioned as Hypothesis likes, and of any scale whose squares stay in range."""
    kind = draw(st.sampled_from(KINDS))
    rng = np.random.default_rng(draw(seeds))
    return kind(rng, draw(st.integers(1, rows)), features) * 10.0 ** draw(st.integers(-40, 40))
