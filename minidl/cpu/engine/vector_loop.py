"""What LLVM is told about a loop that computes with vectors.

On Intel processors LLVM takes vectors of 8 float32 numbers where registers have room for 16, because the first
processors with such registers slowed down for them. And it computes one vector after the other where a loop is long,
although a formula such as tanh is a chain of steps, each of which waits four cycles for the one before.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDEST = 512  # bits; where registers are narrower, this changes nothing
SIDE_BY_SIDE = 4  # vectors at once: where they need more registers than there are, constants are read from memory


@intrinsic
def vector_loop(typing):
    """Let the loops before this call, in the same function, have the widest vectors, and several side by side."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        module, function = builder.module, builder.function
        set.add(function.attributes, f'"prefer-vector-width"="{WIDEST}"')  # llvmlite's own add takes no values
        count = ir.MetaDataString(module, "llvm.loop.interleave.count"), ir.IntType(32)(SIDE_BY_SIDE)
        loop = module.add_metadata([ir.MetaDataString(module, function.name)])
        loop.operands = (loop, module.add_metadata(count))  # LLVM wants its first entry to be itself
        for number, block in enumerate(function.blocks):
            jump = block.terminator
            if isinstance(jump, ir.Branch) and jump.operands[0] in function.blocks[: number + 1]:  # back to the start
                jump.set_metadata("llvm.loop", loop)
        return context.get_dummy_value()

    return types.void(), generate
