"""Pooling: the larger of two pixels, and where a side of an image is cut into regions."""

from __future__ import annotations

from numba import int64, uint64


def beats(value, best):
    """Return whether `value` replaces `best`, which was found before it: the first of equal pixels stays.

    The first NaN replaces every number, so that it shows in the result.
    """
    return value > best or (value != value and best == best)


def cut(i, pixels, regions, word):
    """⌊(i n + r) / m⌋, where the i-th of m = `regions` neighbouring regions along n = `pixels` begins.

    The random 32-bit word chooses r evenly from 0 ... m - 1, so cut 0 is 0 and cut m is n. With α = n/m that is
    ⌊α i + c⌋ for c in [0, 1), the pseudorandom sequence of Graham (2014) in whole numbers.
    """
    shift = int64((uint64(word) * uint64(regions)) >> uint64(32))
    return (i * pixels + shift) // regions
