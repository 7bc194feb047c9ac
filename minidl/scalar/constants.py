"""Constants as float32, for the reason that `minidl.scalar` gives.

The small ones are exact in binary. A constant that is not, such as √½, is a `Split`: three float32 numbers that add up
to it, and `times` multiplies with it in whatever type its argument has. In float32 the second and third part vanish in
the rounding; in float64 they bring the digits that float32 cannot hold.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)

# What all GPUs have in common: threads of a warp, the mask of all of them, the bytes of a thread's widest access, and
# the bits that a tensor core takes of a float32: sign, exponent and the 10 leading bits of the mantissa; and half of
# the last one.
WARP, ALL_LANES = 32, 0xFFFFFFFF
VECTOR_BYTES = 16
TF32_BITS, HALF_TF32_BIT = 0xFFFFE000, 0x1000

# A float32 sum of a million terms, one after another, is 1 % off. So a sum over the rows of a batch has blocks of this
# many terms, whose sums are added up in turn.
BLOCK_OF_TERMS = 1024

Split = tuple[np.float32, np.float32, np.float32]


def split(constant: float) -> Split:
    """Return three float32 numbers that add up to `constant` > 0, the largest first.

    Each is rounded down, so none is negative and an infinity times them is one infinity, not the NaN of ∞ - ∞.
    """
    parts = []
    for _ in range(3):
        part = np.float32(constant)
        if float(part) > constant:
            part = np.nextafter(part, ZERO)
        parts.append(part)
        constant -= float(part)
    return parts[0], parts[1], parts[2]


@register_jitable
def times(x, constant):
    """Multiply x by a `Split`, to a rounding or two in the type of x."""
    first, second, third = constant
    return x * first + (x * second + x * third)


@register_jitable
def vanishing(z, factor):
    """Multiply z by a factor that goes to 0 faster than z grows; where it has become 0, ∞ · 0 is 0 and not NaN."""
    return ZERO if factor == ZERO else z * factor


SQRT_HALF = split(0.7071067811865476)
INVERSE_SQRT_TWO_PI = split(0.3989422804014327)
SELU_SCALE = split(1.0507009873554804934193349852946)  # λ of Klambauer et al. 2017
SELU_SCALE_ALPHA = split(1.7580993408473768599402175208123)  # λ α
