"""Waiting for another thread without going to sleep: a sleeping thread takes 10 to 20 µs to wake up."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.cpu.jit import jit

PATIENCE = 3000  # looks at the flag, about 50 µs: longer than a thread computes between two products of a step
# What tells the processor that this is a waiting loop, so that it lets the other thread of its core work: LLVM's name
# for the instruction, and its argument if it has one.
_PAUSE: tuple[str, list] = ("llvm.x86.sse2.pause", [])
_YIELD = ("llvm.aarch64.hint", [ir.IntType(32)(1)])
HINT = {"x86_64": _PAUSE, "amd64": _PAUSE, "aarch64": _YIELD, "arm64": _YIELD}.get(platform.machine().lower())


@intrinsic
def _look(typing, flags, index):
    """flags[index], read from memory each time: a compiler would keep it in a register."""
    signature = types.int64(flags, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        flags, index = arguments
        data = context.make_array(signature.args[0])(context, builder, value=flags).data
        if HINT:
            name, operands = HINT
            kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)
        return builder.load_atomic(builder.gep(data, [index]), "acquire", 8)

    return signature, generate


@jit
def wait_for(flags, index, value, patience):
    """Whether flags[index] (int64) is at least `value` at one of `patience` looks. Runs without the global lock."""
    while patience > 0 and _look(flags, index) < value:
        patience -= 1
    return patience > 0
