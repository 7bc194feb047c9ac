"""The inner loop of the matrix product, in LLVM's vector instructions.

A processor adds and multiplies whole vectors: with AVX-512, 16 float32 numbers at once, twice in a cycle. The numbers
must be in registers for that, and there are only 32 (16 before AVX-512). So a block of C, a few rows by a few vectors,
stays in registers while k runs over the full depth of the product:

    for k:                          for AVX-512 and float32, with 6 rows and 4 vectors:
        load 4 vectors of row k of B                       4 loads
        for each of 6 rows i:
            copy A[i, k] into all lanes of a vector        6 loads
            C[i] += A[i, k] · B[k]                        24 multiply-adds

24 multiply-adds take 12 cycles: longer than the 10 loads, and longer than the 4 cycles before a result can be added to
again. Python and Numba have no such vectors, but Numba lets a function emit LLVM's instructions, and this file does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from minidl.utils import processor

INT = ir.IntType(64)


def _features() -> set[str]:
    """Return the vector instructions that Numba compiles for: those of this machine, or of NUMBA_CPU_FEATURES."""
    if processor.ARM:
        return {"neon"}  # each has it, but LLVM finds no features of a Mac
    chosen = getattr(config, "CPU_FEATURES", None)
    if chosen is not None:
        return {name[1:] for name in chosen.split(",") if name.startswith("+")}
    return {name for name, present in llvmlite.binding.get_host_cpu_features().items() if present}


FEATURES = _features()
# Bytes of a vector, and the number of vector registers.
if "avx512f" in FEATURES:
    VECTOR_BYTES, REGISTERS = 64, 32
elif "avx2" in FEATURES and "fma" in FEATURES:
    VECTOR_BYTES, REGISTERS = 32, 16
elif "neon" in FEATURES:
    VECTOR_BYTES, REGISTERS = 16, 32
else:
    VECTOR_BYTES, REGISTERS = 16, 16
FUSED = bool(FEATURES & {"fma", "neon", "avx512f"})  # otherwise a fused multiply-add is a slow function call
PANEL = 4 if REGISTERS == 32 else 2  # vectors of C side by side: with more, too few rows share the loads of B


def block_rows(vectors: int) -> int:
    """Return the number of rows of C that fit into the registers together with `vectors` vectors of B and one of A."""
    return min((REGISTERS - vectors - 1) // vectors, 14)


def micro_kernel(rows: int, vectors: int, partial: bool) -> Callable:
    """Return an intrinsic that computes a block of C.

        C[i, j] = start[j] + Σₖ A[i, k] B[k, j]

    Its arguments are flat arrays, each with the index of its first element and its strides, then the depth of the sum
    and `columns`, the number of lanes of the last vector that are in the matrix. Every element is one chain of
    additions in the order of k, so it does not depend on the block that contains it.

    Args:
        rows: Rows of the block.
        vectors: Vectors in each row.
        partial: Whether the last vector may extend past the edge of the matrix; if not, `columns` is ignored.
    """

    @intrinsic
    def kernel(typing, a, a_at, a_row, a_k, b, b_at, b_k, start, start_at, c, c_at, c_row, depth, columns):
        index = types.int64
        signature = types.void(a, index, index, index, a, index, index, a, index, a, index, index, index, index)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = _Emitter(context, builder, signature.args[0], partial)
            a, a_at, a_row, a_k, b, b_at, b_k, start, start_at, c, c_at, c_row, depth, emit.columns = arguments
            a, b, start, c = map(emit.pointer, (a, b, start, c), (a_at, b_at, start_at, c_at))
            emit.block(rows, vectors, a, a_row, a_k, b, b_k, start, c, c_row, depth)
            return context.get_dummy_value()

        return signature, generate

    return kernel


def macro_kernel(vectors: int, partial: bool) -> Callable:
    """Return an intrinsic that computes so many vectors of columns, in blocks as tall as the registers allow.

    The name is that of BLIS (Van Zee & van de Geijn 2015). The loop over blocks is emitted here as well: in Python,
    Numba would have to understand the call of each block.
    """
    tall = block_rows(vectors)

    @intrinsic
    def kernel(typing, a, a_row, a_k, b, b_at, b_k, start, c, c_row, column, rows, depth, columns):
        index = types.int64
        signature = types.void(a, index, index, a, index, index, a, a, index, index, index, index, index)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = _Emitter(context, builder, signature.args[0], partial)
            a, a_row, a_k, b, b_at, b_k, start, c, c_row, column, rows, depth, emit.columns = arguments
            a, b, start, c = map(emit.pointer, (a, b, start, c), (INT(0), b_at, column, column))
            first = INT(0)
            for height in (tall, 4, 2, 1):
                left = builder.srem(builder.sub(rows, first), INT(height))
                stop = builder.sub(rows, left)
                if height == 6 and vectors > 1:
                    # A block of two rows does too little work for the vectors of B that it loads. Batches of 8, 32, 128
                    # or 512 rows would end with one: there, two blocks of four replace the last tall block and it.
                    two = builder.icmp_signed("==", left, INT(2))
                    better_as_fours = builder.and_(two, builder.icmp_signed(">", rows, INT(2)))
                    stop = builder.select(better_as_fours, builder.sub(stop, INT(6)), stop)
                with cgutils.for_range_slice(builder, first, stop, INT(height)) as (i, _):
                    block_of_a, block_of_c = (
                        builder.gep(matrix, [builder.mul(i, row)]) for matrix, row in ((a, a_row), (c, c_row))
                    )
                    emit.block(height, vectors, block_of_a, a_row, a_k, b, b_k, start, block_of_c, c_row, depth)
                first = stop
            return context.get_dummy_value()

        return signature, generate

    return kernel


def transpose_kernel(partial: bool) -> Callable:
    """Return an intrinsic that sets target[j, i] = source[i, j] for a square block, as wide as a vector has lanes.

    The block is read into one vector per row. Then neighbours exchange every second number, vectors two apart every
    second pair, and so on: log₂(lanes) steps of shuffles inside registers, where a plain loop would write one number at
    a time, each into another cache line.

    Its arguments are two flat arrays, each with the index of the first element and the distance between rows, then the
    count of numbers to read and to write in each row.

    Args:
        partial: Whether a row may be shorter than a vector; if not, both counts are ignored.
    """

    @intrinsic
    def kernel(typing, source, source_at, source_row, target, target_at, target_row, read, written):
        integer = types.int64
        signature = types.void(source, integer, integer, target, integer, integer, integer, integer)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = _Emitter(context, builder, signature.args[0], partial)
            source, source_at, source_row, target, target_at, target_row, read, written = arguments
            source, target = emit.pointer(source, source_at), emit.pointer(target, target_at)
            emit.columns = read
            rows = [emit.load(source, emit.plus(source_row, i), 0, True) for i in range(emit.lanes)]
            distance = 1
            while distance < emit.lanes:
                for i in range(emit.lanes):
                    if not i & distance:
                        rows[i], rows[i + distance] = emit.exchange(rows[i], rows[i + distance], distance)
                distance *= 2
            emit.columns = written
            for j, row in enumerate(rows):
                emit.store(row, target, emit.plus(target_row, j), 0, True)
            return context.get_dummy_value()

        return signature, generate

    return kernel


def copy_kernel(vectors: int) -> Callable:
    """Return an intrinsic that copies `depth` rows of so many vectors, and leaves no gap between them.

    Its arguments are two flat arrays, the first with the index of its first element and the distance between rows, and
    `depth`.
    """

    @intrinsic
    def kernel(typing, source, source_at, source_row, target, depth):
        integer = types.int64
        signature = types.void(source, integer, integer, target, integer)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = _Emitter(context, builder, signature.args[0], False)
            source, source_at, source_row, target, depth = arguments
            source, target = emit.pointer(source, source_at), emit.pointer(target, INT(0))
            with cgutils.for_range(builder, depth) as loop:
                row, to = (builder.mul(loop.index, step) for step in (source_row, INT(vectors * emit.lanes)))
                for j in range(vectors):
                    emit.store(emit.load(source, row, j, False), target, to, j, False)
            return context.get_dummy_value()

        return signature, generate

    return kernel


class _Emitter:
    """Loads, stores and arithmetic of one vector type, emitted into the function that Numba is compiling."""

    def __init__(self, context: Any, builder: Any, array: Any, partial: bool):
        self.context, self.builder, self.array, self.partial = context, builder, array, partial
        self.number = context.get_value_type(array.dtype)
        self.bytes = array.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.vector = ir.VectorType(self.number, self.lanes)
        self.name = f"v{self.lanes}f{array.dtype.bitwidth}"
        self.columns: Any = None

    def block(
        self,
        rows: int,
        vectors: int,
        a: Any,
        a_row: Any,
        a_k: Any,
        b: Any,
        b_k: Any,
        start: Any,
        c: Any,
        c_row: Any,
        depth: Any,
    ) -> None:
        """Compute a block of C, as described at `micro_kernel`."""
        builder, block = self.builder, [(i, j) for i in range(rows) for j in range(vectors)]
        first = [self.load(start, INT(0), j, j == vectors - 1) for j in range(vectors)]
        for i, j in block:  # written when the loop ends: by then it is in the second-level cache
            self.prefetch(c, self.plus(c_row, i), j)

        before = builder.block
        loop, after = builder.append_basic_block("k"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(INT)
        k.add_incoming(INT(0), before)
        sums = [builder.phi(self.vector) for _ in block]
        for (_, j), phi in zip(block, sums, strict=True):
            phi.add_incoming(first[j], before)
        row_of_b = builder.mul(k, b_k)
        b_vectors = [self.load(b, row_of_b, j, j == vectors - 1) for j in range(vectors)]
        column_of_a = builder.mul(k, a_k)
        a_scalars = [self.broadcast(a, builder.add(self.plus(a_row, i), column_of_a)) for i in range(rows)]
        totals = [self.multiply_add(a_scalars[i], b_vectors[j], sums[i * vectors + j]) for i, j in block]
        for phi, value in zip(sums, totals, strict=True):
            phi.add_incoming(value, loop)
        following = builder.add(k, INT(1))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)

        builder.position_at_end(after)
        for (i, j), value in zip(block, totals, strict=True):
            self.store(value, c, self.plus(c_row, i), j, j == vectors - 1)

    def pointer(self, array: Any, at: Any) -> Any:
        data = self.context.make_array(self.array)(self.context, self.builder, value=array).data
        return self.builder.gep(data, [at])

    def plus(self, stride: Any, count: int) -> Any:
        return self.builder.mul(stride, INT(count))

    def _vector_at(self, pointer: Any, offset: Any, j: int) -> Any:
        offset = self.builder.add(offset, INT(j * self.lanes))
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.vector.as_pointer())

    def load(self, pointer: Any, offset: Any, j: int, last: bool) -> Any:
        at = self._vector_at(pointer, offset, j)
        if self.partial and last:
            operands = [at, ir.IntType(32)(self.bytes), self._mask(), self.vector(None)]
            return self._call(f"llvm.masked.load.{self.name}.p0", self.vector, operands)
        return self.builder.load(at, align=self.bytes)

    def store(self, value: Any, pointer: Any, offset: Any, j: int, last: bool) -> None:
        at = self._vector_at(pointer, offset, j)
        if self.partial and last:
            operands = [value, at, ir.IntType(32)(self.bytes), self._mask()]
            self._call(f"llvm.masked.store.{self.name}.p0", ir.VoidType(), operands)
        else:
            self.builder.store(value, at, align=self.bytes)

    def prefetch(self, pointer: Any, offset: Any, j: int) -> None:
        at = self.builder.bitcast(self._vector_at(pointer, offset, j), ir.IntType(8).as_pointer())
        self._call("llvm.prefetch.p0", ir.VoidType(), [at, *map(ir.IntType(32), (0, 2, 1))])  # read, level 2, data

    def broadcast(self, pointer: Any, offset: Any) -> Any:
        return self._spread(self.builder.load(self.builder.gep(pointer, [offset])), self.vector)

    def _spread(self, value: Any, vector: ir.VectorType) -> Any:
        nothing, first = vector(ir.Undefined), ir.IntType(32)(0)
        one_lane = self.builder.insert_element(nothing, value, first)
        zeros = ir.VectorType(ir.IntType(32), self.lanes)([0] * self.lanes)
        return self.builder.shuffle_vector(one_lane, nothing, zeros)

    def exchange(self, a: Any, b: Any, distance: int) -> tuple[Any, Any]:
        """Swap the lanes of `a` whose number has the bit `distance` with the lanes of `b` whose number lacks it."""
        numbers = range(self.lanes)
        low = [lane if not lane & distance else self.lanes + lane - distance for lane in numbers]
        high = [lane + distance if not lane & distance else self.lanes + lane for lane in numbers]
        picks = ir.VectorType(ir.IntType(32), self.lanes)
        return self.builder.shuffle_vector(a, b, picks(low)), self.builder.shuffle_vector(a, b, picks(high))

    def _mask(self) -> Any:
        """Return a mask of the lanes in the matrix: those whose number is less than `columns`."""
        integers = ir.VectorType(INT, self.lanes)
        numbers = integers([INT(lane) for lane in range(self.lanes)])
        return self.builder.icmp_signed("<", numbers, self._spread(self.columns, integers))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        if not FUSED:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        return self._call(f"llvm.fma.{self.name}", self.vector, [a, b, c])

    def _call(self, name: str, result: Any, operands: list[Any]) -> Any:
        module = self.builder.module
        if name not in module.globals:
            ir.Function(module, ir.FunctionType(result, [operand.type for operand in operands]), name)
        return self.builder.call(module.globals[name], operands)
