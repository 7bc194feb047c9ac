"""Philox4x32-10: random bits from a counter instead of a state (Salmon et al., SC 2011).

Four random words are a pure function of (counter, key). A dropout mask needs no memory: forward and backward
compute the same bits from the same counter, on every backend, in any order and with any number of threads.
Every integer operation is written with its width, because Numba would otherwise widen or sign it.
"""

from __future__ import annotations

from numba import uint32, uint64

MULTIPLIER_0 = 0xD2511F53
MULTIPLIER_1 = 0xCD9E8D57
WEYL_0 = 0x9E3779B9  # golden ratio
WEYL_1 = 0xBB67AE85  # sqrt(3) - 1
ROUNDS = 10


def philox(c0, c1, c2, c3, k0, k1, word=uint32):
    """Return four random words for a counter of four words and a key of two, all uint32.

    On the CPU, a `word` of uint64 spares vectors the way from 32 to 64 bits and back, twice in a round.
    """
    for _ in range(ROUNDS):
        product_0 = uint64(MULTIPLIER_0) * uint64(c0)
        product_1 = uint64(MULTIPLIER_1) * uint64(c2)
        c0 = word(word(product_1 >> uint64(32)) ^ c1 ^ k0)
        c1 = word(product_1 & uint64(0xFFFFFFFF))
        c2 = word(word(product_0 >> uint64(32)) ^ c3 ^ k1)
        c3 = word(product_0 & uint64(0xFFFFFFFF))
        k0 = uint32(k0 + uint32(WEYL_0))
        k1 = uint32(k1 + uint32(WEYL_1))
    return c0, c1, c2, c3


def pick(lane, word_0, word_1, word_2, word_3):
    """Return the word of that number, 0 to 3."""
    return word_0 if lane == 0 else word_1 if lane == 1 else word_2 if lane == 2 else word_3
