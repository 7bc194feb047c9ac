"""What the processor can do at most: fused multiply-adds of one core, and bytes to and from memory."""

from __future__ import annotations

import time

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = (4, 8, 16)  # float32 numbers in a vector register: NEON and SSE, AVX2, AVX-512
ACCUMULATORS = 12  # independent sums: more than units times latency, fewer than the 16 registers of AVX2


def fma_peak(seconds: float = 0.5) -> float:
    """float32 operations a second of one core, a multiply-add counted as two.

    The best of many short runs: everything that comes between makes a run slower, nothing makes it faster.
    """
    fastest = 0.0
    for lanes in LANES:
        kernel, rounds = _fma_kernel(lanes), 200_000
        values = np.ones(lanes, np.float32)  # of 0, half and half again would become a subnormal number, which is slow
        kernel(values, rounds)
        end = time.perf_counter() + seconds / len(LANES)
        while (start := time.perf_counter()) < end:
            kernel(values, rounds)
            operations = 2 * lanes * ACCUMULATORS * rounds
            fastest = max(fastest, operations / (time.perf_counter() - start))
    return fastest


def _fma_kernel(lanes: int):
    """A compiled loop of multiply-adds that stay in registers: aᵢ ← aᵢ x + y for ACCUMULATORS vectors aᵢ."""

    @intrinsic
    def multiply_add(context, values, rounds):
        vector = ir.VectorType(ir.FloatType(), lanes)

        def generate(context, builder, signature, arguments):
            data = context.make_array(signature.args[0])(context, builder, value=arguments[0]).data
            pointer = builder.bitcast(data, vector.as_pointer())
            y = builder.load(pointer, align=4)  # read from memory, so that the compiler cannot foresee the result
            name, kind = f"llvm.fma.v{lanes}f32", ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, name)
            before = builder.block
            loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
            builder.branch(loop)
            builder.position_at_end(loop)
            count = builder.phi(arguments[1].type)
            count.add_incoming(ir.Constant(arguments[1].type, 0), before)
            sums = [builder.phi(vector) for _ in range(ACCUMULATORS)]
            x = ir.Constant(vector, [0.5] * lanes)
            for i, total in enumerate(sums):
                total.add_incoming(ir.Constant(vector, [float(i)] * lanes), before)
                total.add_incoming(builder.call(fma, [total, x, y]), loop)
            following = builder.add(count, ir.Constant(count.type, 1))
            count.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed("<", following, arguments[1]), loop, after)
            builder.position_at_end(after)
            total = sums[0]
            for other in sums[1:]:
                total = builder.fadd(total, other)
            builder.store(total, pointer, align=4)
            return context.get_dummy_value()

        return types.void(values, rounds), generate

    @njit
    def kernel(values, rounds):
        multiply_add(values, rounds)

    return kernel


def copy_bandwidth(numbers: int, repetitions: int = 9) -> float:
    """Bytes a second, read and written, of copying so many float32 numbers; the best of the repetitions."""
    source, target = np.ones(numbers, np.float32), np.zeros(numbers, np.float32)
    calls = max(1, (1 << 22) // numbers)  # a copy that fits into a cache takes microseconds: time many
    best = float("inf")
    for _ in range(repetitions):
        start = time.perf_counter()
        for _ in range(calls):
            np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes * calls / best
