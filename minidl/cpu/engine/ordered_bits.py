"""Numbers as integers of the same order, so that a loop that looks for the largest becomes a vector loop."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minidl.cpu.engine.vector_math import FORMATS, Format


def _signed_magnitude(builder: Any, bits: Any, form: Format) -> Any:
    """Invert the magnitude bits of negative numbers; doing it twice restores them."""
    integer = bits.type
    mask = builder.lshr(builder.ashr(bits, integer(form.bits - 1)), integer(1))
    return builder.xor(bits, mask)


@intrinsic
def ordered_bits(typing, x):
    """Return an integer for x such that integers have the order of the numbers, with NaN above them all.

    Their maximum is a plain comparison, so a loop over them becomes a vector loop; NaN prevents that in floats.
    """
    form = FORMATS[x]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _signed_magnitude(builder, builder.bitcast(arguments[0], ir.IntType(form.bits)), form)

    return types.Integer.from_bitwidth(form.bits)(x), generate


@intrinsic
def from_ordered_bits(typing, integer):
    """Return the number that has these `ordered_bits`."""
    real = {types.int32: types.float32, types.int64: types.float64}[integer]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = _signed_magnitude(builder, arguments[0], FORMATS[real])
        return builder.bitcast(bits, context.get_value_type(real))

    return real(integer), generate
