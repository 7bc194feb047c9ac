"""Normal numbers from random bits (Box and Muller, "A note on the generation of random normal deviates", 1958)."""

from __future__ import annotations

import math

from minidl.scalar.constants import HALF, ONE, TWO

QUARTER_OF_PI = math.pi / 4
TERMS = 8  # of Taylor's series: enough for float64 up to π/4


def box_muller(word_0, word_1, real):
    """√(-2 log u) · (cos θ, sin θ): two independent standard normal numbers from two random words of 32 bits.

    u = (word_0 + ½) / 2³², which is never 0, and θ = 2π word_1 / 2³². `real` is the dtype to compute in.
    """
    # A float32 cannot hold a u close to 1, but it can hold 1 - u: normal numbers near 0 keep all their digits.
    if word_0 < 0x80000000:
        log_u = math.log((real(word_0) + HALF) * real(2.0**-32))
    else:
        log_u = math.log1p(-(real(0xFFFFFFFF - word_0) + HALF) * real(2.0**-32))
    # On CUDA math.cos and math.sin contain float64 for angles beyond 10⁵, also where none is as large. So here is
    # Taylor's series at (θ - π) / 4, which lies in [-π/4, π/4], and then the formulas for the double angle, twice.
    angle = (real(word_1) * real(2.0**-31) - ONE) * real(QUARTER_OF_PI)
    square, cosine, sine = angle * angle, ONE, ONE
    for k in range(2 * TERMS, 0, -2):
        cosine = ONE - square / real(k * (k - 1)) * cosine
        sine = ONE - square / real(k * (k + 1)) * sine
    sine *= angle
    for _ in range(2):
        cosine, sine = cosine * cosine - sine * sine, TWO * cosine * sine
    radius = math.sqrt(-TWO * log_u)
    return -radius * cosine, -radius * sine  # the minus signs turn θ - π back into θ
