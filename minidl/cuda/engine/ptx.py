"""Instructions of the GPU that Numba has no Python for: 128-bit accesses, copies that nobody waits for, tensor cores.

Each is a small `@intrinsic` that emits LLVM's instructions or PTX, NVIDIA's assembly language.

What an instruction does is written a second time in `minidl/emulator/instructions.py`, in Python and under the same
name; that is what the emulator runs. Source: PTX ISA 8.5, sections "ld", "cp.async", "cvt" and "mma.sync.m16n8k8".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.scalar.constants import HALF_TF32_BIT, TF32_BITS, VECTOR_BYTES

INT32, INT64, FLOAT, BYTE = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.IntType(8)
SHARED = 3  # LLVM's number for the address space of shared memory


def instruction(define: Callable) -> Any:
    """Make an intrinsic that the emulator knows too: its device has a method of the same name."""
    made: Any = intrinsic(prefer_literal=True)(define)
    made.emulated = define.__name__
    return made


def _assembly(builder: Any, result: Any, text: str, constraints: str, *arguments: Any, moves: bool = False) -> Any:
    """Emit one instruction of PTX; `moves` says that it may be moved or left out like an addition."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=not moves), arguments)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index_type: Any, index: Any) -> Any:
    """Return the address of an element; its index is a tuple."""
    keys = cgutils.unpack_tuple(builder, index)
    keys = [context.cast(builder, key, kind, types.intp) for key, kind in zip(keys, index_type, strict=True)]
    made = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, made, keys)


def _address_in_shared(builder: Any, pointer: Any) -> Any:
    """Return the 32-bit address that instructions for shared memory take."""
    return builder.ptrtoint(builder.addrspacecast(pointer, ir.PointerType(BYTE, SHARED)), INT32)


# 128-bit accesses -----------------------------------------------------------------------------------------------------


@instruction
def aligned(typing, array):
    """Return whether the vector, or every row of the matrix, begins at a multiple of 16 bytes: for 128-bit accesses."""

    def generate(context, builder, signature, arguments):
        (kind,), (value,) = signature.args, arguments
        made = context.make_array(kind)(context, builder, value)
        places = builder.ptrtoint(made.data, INT64)
        if kind.ndim > 1:
            places = builder.or_(places, cgutils.unpack_tuple(builder, made.strides)[0])
        return builder.icmp_unsigned("==", builder.and_(places, INT64(VECTOR_BYTES - 1)), INT64(0))

    return types.boolean(array), generate


@instruction
def load_four(typing, array, index):
    """Read array[index] and the three elements after it as a tuple: one 128-bit access for float32, two for float64.

    `index` is a tuple; the address must be a multiple of 16 bytes.
    """

    def generate(context, builder, signature, arguments):
        (kind, index_kind), (value, index) = signature.args, arguments
        pointer = _pointer(context, builder, kind, value, index_kind, index)
        vector = ir.VectorType(context.get_data_type(kind.dtype), 4)
        loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()), align=VECTOR_BYTES)
        return cgutils.pack_array(builder, [builder.extract_element(loaded, INT32(i)) for i in range(4)])

    return types.UniTuple(array.dtype, 4)(array, index), generate


@instruction
def store_four(typing, array, index, values):
    """Write a tuple of four `values` to array[index] and the three elements after it: `load_four` reversed."""

    def generate(context, builder, signature, arguments):
        (kind, index_kind, _), (value, index, values) = signature.args, arguments
        pointer = _pointer(context, builder, kind, value, index_kind, index)
        vector = ir.VectorType(context.get_data_type(kind.dtype), 4)(ir.Undefined)
        for i, number in enumerate(cgutils.unpack_tuple(builder, values)):
            vector = builder.insert_element(vector, number, INT32(i))
        builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer()), align=VECTOR_BYTES)
        return context.get_dummy_value()

    return types.void(array, index, types.UniTuple(array.dtype, 4)), generate


# Copies from global to shared memory that go past the registers; compute capability 8.0 -------------------------------


@instruction
def copy_four_async(typing, shared, at, matrix, index):
    """Begin to copy matrix[index] and the three elements after it to shared[at] and after; both aligned."""

    def generate(context, builder, signature, arguments):
        (shared_kind, at_kind, kind, index_kind), (shared, at, matrix, index) = signature.args, arguments
        target = _address_in_shared(builder, _pointer(context, builder, shared_kind, shared, at_kind, at))
        source = _pointer(context, builder, kind, matrix, index_kind, index)
        for start in range(0, 4 * kind.dtype.bitwidth // 8, VECTOR_BYTES):
            text = f"cp.async.cg.shared.global [$0 + {start}], [$1 + {start}], {VECTOR_BYTES};"
            _assembly(builder, ir.VoidType(), text, "r,l,~{memory}", target, builder.ptrtoint(source, INT64))
        return context.get_dummy_value()

    return types.void(shared, at, matrix, index), generate


@instruction
def copy_async(typing, shared, at, matrix, index, inside):
    """Begin to copy matrix[index] to shared[at]; where `inside` is False, a zero, and nothing is read."""

    def generate(context, builder, signature, arguments):
        (shared_kind, at_kind, kind, index_kind, _), (shared, at, matrix, index, inside) = signature.args, arguments
        target = _address_in_shared(builder, _pointer(context, builder, shared_kind, shared, at_kind, at))
        source = builder.ptrtoint(_pointer(context, builder, kind, matrix, index_kind, index), INT64)
        size = kind.dtype.bitwidth // 8
        read = builder.select(inside, INT32(size), INT32(0))
        text = f"cp.async.ca.shared.global [$0], [$1], {size}, $2;"  # what is not read is filled with zeros
        _assembly(builder, ir.VoidType(), text, "r,l,r,~{memory}", target, source, read)
        return context.get_dummy_value()

    return types.void(shared, at, matrix, index, types.boolean), generate


@instruction
def commit_copies(typing):
    """Make a group of the copies that this thread has begun since the last commit."""

    def generate(context, builder, signature, arguments):
        _assembly(builder, ir.VoidType(), "cp.async.commit_group;", "~{memory}")
        return context.get_dummy_value()

    return types.void(), generate


@instruction
def wait_for_copies(typing, newest):
    """Wait until all groups of this thread's copies have arrived, except the `newest` ones: a literal number."""
    if not isinstance(newest, types.IntegerLiteral):
        return None

    def generate(context, builder, signature, arguments):
        _assembly(builder, ir.VoidType(), f"cp.async.wait_group {newest.literal_value};", "~{memory}")
        return context.get_dummy_value()

    return types.void(newest), generate


# Tensor cores; compute capability 8.0 ---------------------------------------------------------------------------------


@instruction
def to_tf32(typing, x):
    """Round x to the 10 bits of mantissa that tensor cores multiply, to the nearest, ties away from zero."""

    def generate(context, builder, signature, arguments):
        rounded = _assembly(builder, INT32, "cvt.rna.tf32.f32 $0, $1;", "=r,f", arguments[0], moves=True)
        return builder.bitcast(builder.and_(rounded, INT32(TF32_BITS)), FLOAT)  # PTX leaves the other bits open

    return types.float32(types.float32), generate


@instruction
def split_tf32(typing, x):
    """Return `to_tf32(x)` and what is left of x, of which a tensor core drops at most the last bit.

    In three instructions: `to_tf32` alone takes more, because it keeps every NaN. Here only the second number does.
    """

    def generate(context, builder, signature, arguments):
        bits = builder.add(builder.bitcast(arguments[0], INT32), INT32(HALF_TF32_BIT))
        leading = builder.bitcast(builder.and_(bits, INT32(TF32_BITS)), FLOAT)
        return cgutils.pack_array(builder, [leading, builder.fsub(arguments[0], leading)])

    return types.UniTuple(types.float32, 2)(types.float32), generate


@instruction
def multiply_add_tf32(typing, a, b, c):
    """Compute D = A B + C on the tensor cores, by the 32 lanes of a warp: A is 16 × 8, B 8 × 8, C and D 16 × 8.

    Each lane holds parts of all three, tuples of 4, 2 and 4 float32. With lane = 4 g + t they are

        A[g, t], A[g + 8, t], A[g, t + 4], A[g + 8, t + 4]
        B[t, g], B[t + 4, g]
        C[g, 2t], C[g, 2t + 1], C[g + 8, 2t], C[g + 8, 2t + 1], and the same of D, the result

    Of A and B the hardware takes the leading 10 bits of the mantissa and drops the others: round or split them before.
    """

    def generate(context, builder, signature, arguments):
        factors = [number for factor in arguments[:2] for number in cgutils.unpack_tuple(builder, factor)]
        bits = [builder.bitcast(number, INT32) for number in factors]
        text = (
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
            "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
        )
        sums, result = cgutils.unpack_tuple(builder, arguments[2]), ir.LiteralStructType([FLOAT] * 4)
        constraints = ",".join(["=f"] * 4 + ["r"] * 6 + ["f"] * 4)
        made = _assembly(builder, result, text, constraints, *bits, *sums)
        return cgutils.pack_array(builder, [builder.extract_value(made, i) for i in range(4)])

    four, two = types.UniTuple(types.float32, 4), types.UniTuple(types.float32, 2)
    return four(four, two, four), generate
