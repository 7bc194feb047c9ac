"""Jobs that threads share, in compiled code: how a job is put up, how its parts are taken, how everybody waits.

A job is one function with its arguments, in several parts: function(0, parts, ...), function(1, parts, ...) and so on.
The thread that has one writes on the board, which all threads see, the address of the function, the address of its
arguments, and a ticket: the number of the job, and which of its parts are left.

    ticket 17|0|4                       parts 0 to 3 of job 17 are left
    17|0|4 is exchanged for 17|1|4      by the thread that has put the job up: it does part 0 now
    17|1|4 is exchanged for 17|1|3      by a helper, which does part 3

The exchange is one atomic step, which fails where the ticket has changed since the thread looked. So no part is done
twice; a thread that is slow takes fewer parts, and one that sleeps takes none. Whoever put the job up waits only for
parts that others have begun. A thread that looked at the board during job 16 and then was interrupted takes no part of
job 17 for one of job 16: the number in the ticket is another. Helpers begin at the other end, so that in one operation
after the other a thread finds the same part of the data in its own cache.

None of this needs Python's global lock. To hand over a job takes less than a microsecond; a thread that Python must
wake up, or that waits for the global lock, needs 10 to 20.
"""

from __future__ import annotations

import platform
import zlib
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.cpu.engine.jit import jit

TICKET, FUNCTION, ARGUMENTS = 0, 1, 2
DONE, FAILED = 8, 9  # in another cache line: they change while others look at the ticket
MOST_PARTS = (1 << 16) - 1
ONE_FROM_BELOW, NEXT_JOB = 1 << 16, 1 << 32  # what is added to a ticket

INT = ir.IntType(64)
# What tells the processor that this is a waiting loop, so that it lets the other thread of its core work: LLVM's name
# for the instruction, and its argument if it has one.
_PAUSE: tuple[str, list] = ("llvm.x86.sse2.pause", [])
_YIELD = ("llvm.aarch64.hint", [ir.IntType(32)(1)])
HINT = {"x86_64": _PAUSE, "amd64": _PAUSE, "aarch64": _YIELD, "arm64": _YIELD}.get(platform.machine().lower())


def new_board() -> np.ndarray:
    """Memory for a board. The functions below take its address: an array would have to be unpacked in each call."""
    return np.zeros(16, np.int64)


@jit
def lead(board, function, arguments, parts):
    """Put a job up, take parts of it, and return when all are done: how many of them have failed."""
    _store(board, FUNCTION, function)
    _store(board, ARGUMENTS, arguments)
    _store(board, DONE, 0)
    _store(board, FAILED, 0)
    _store(board, TICKET, (_load(board, TICKET) // NEXT_JOB + 1) * NEXT_JOB + parts)
    _take_parts(board, True)
    while _load(board, DONE) < parts:
        _pause()
    return _load(board, FAILED)


@jit
def serve(board, patience):
    """Take parts of the jobs that are put up, until none has come for `patience` looks at the board."""
    looks = patience
    while looks > 0:
        _pause()
        looks = patience if _take_parts(board, False) else looks - 1


@jit
def _take_parts(board, from_below):
    """Do parts of the present job until none is left. Whether there was one."""
    helped = False
    while True:
        ticket = _load(board, TICKET)
        first, beyond = (ticket >> 16) & MOST_PARTS, ticket & MOST_PARTS
        if first == beyond:
            return helped
        function, arguments = _load(board, FUNCTION), _load(board, ARGUMENTS)
        if _exchange(board, TICKET, ticket, ticket + ONE_FROM_BELOW if from_below else ticket - 1):
            if _call(function, first if from_below else beyond - 1, arguments):
                _add(board, FAILED, 1)
            _add(board, DONE, 1)
            helped = True


@jit
def do(board, function, arguments, parts):
    """Do a job: together where there is a board, else alone. Returns how many parts have failed."""
    if parts > 1 and board != 0:
        return lead(board, function, arguments, parts)
    failed = 0
    for index in range(parts):
        if _call(function, index, arguments):
            failed += 1
    return failed


@jit
def describe(*arrays):
    """(n, 3) int64: for each array where its data begin, how many bytes they have, and a number for its type."""
    described = np.empty((len(arrays), 3), np.int64)
    _describe(arrays, described)
    return described


@jit
def do_all(board, jobs, places, expected, *inputs):
    """Do jobs, one after the other, with other inputs. Returns how many parts have failed.

    jobs       (n, 3) int64: function, arguments and parts of each, as `do` takes them
    places     (m, 3) int64: an address among the arguments where the address of an array stands, the number of an
               input, and how many bytes behind the beginning of this input the array begins
    expected   `describe` of other inputs; where these differ in size or type, nothing is done, and -1 comes back
    inputs     arrays
    """
    described = describe(*inputs)
    for i in range(len(expected)):
        if described[i, 1] != expected[i, 1] or described[i, 2] != expected[i, 2]:
            return -1
    for m in range(len(places)):
        _store(places[m, 0], 0, described[places[m, 1], 0] + places[m, 2])
    failed = 0
    for n in range(len(jobs)):
        failed += do(board, jobs[n, 0], jobs[n, 1], jobs[n, 2])
    return failed


# Functions and arguments as addresses ---------------------------------------------------------------------------------

ENTRY = ir.FunctionType(ir.IntType(1), [INT, INT])  # (index of the part, address of the arguments) -> has it failed?
ROOM, MOST_ARGUMENTS = 4096, 32  # bytes for the arguments of a call that is kept, and how many they can be


@intrinsic
def entry_of_part(typing, function, arguments):
    """The address of a function (index, address) that calls the compiled `function`(index, *arguments)."""
    return _entry(typing, function, (types.int64,), arguments)


@intrinsic
def entry_of_whole(typing, function, arguments):
    """The address of a function (index, address) that calls the compiled `function`(*arguments)."""
    return _entry(typing, function, (), arguments)


def _entry(typing: Any, function: Any, first: tuple[Any, ...], arguments: Any) -> Any:
    signature = typing.resolve_function_type(function, (*first, *arguments.types), {})

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        compiled = function.dispatcher.overloads[signature.args]
        context.active_code_library.add_linking_library(compiled.library)
        entry = ir.Function(builder.module, ENTRY, builder.module.get_unique_name("entry"))
        entry.linkage = "internal"
        index, address = entry.args
        inner = ir.IRBuilder(entry.append_basic_block())
        kept = inner.load(inner.inttoptr(address, context.get_value_type(arguments).as_pointer()))
        values = [index, *cgutils.unpack_tuple(inner, kept)][1 - len(first) :]
        *named, last = signature.args
        if isinstance(last, types.BaseTuple):  # what the function calls *arguments
            values = [*values[: len(named)], context.make_tuple(inner, last, values[len(named) :])]
        callee = context.declare_function(builder.module, compiled.fndesc)
        status, _ = context.call_conv.call_function(inner, callee, signature.return_type, signature.args, values)
        inner.ret(status.is_error)
        return builder.ptrtoint(entry, INT)

    return types.int64(function, arguments), generate


@intrinsic
def address_of(typing, arguments):
    """Where the tuple `arguments` lies in memory, until the function that asks returns."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ptrtoint(cgutils.alloca_once_value(builder, given[0]), INT)

    return types.int64(arguments), generate


@intrinsic
def keep(typing, arguments, room, places):
    """Write the tuple `arguments` to the address `room`, which has ROOM bytes.

    places   the address of as many int64 as there are arguments: for each array, at which address its address stands
             in the room; 0 for other arguments

    The arrays do not belong to the copy: whoever keeps it has to keep them.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        values, room, places = given
        kind = context.get_value_type(arguments)
        if context.get_abi_sizeof(kind) > ROOM or len(arguments.types) > MOST_ARGUMENTS:
            raise NotImplementedError(f"arguments {arguments} do not fit into {ROOM} bytes")
        room, places = builder.inttoptr(room, kind.as_pointer()), builder.inttoptr(places, INT.as_pointer())
        for i, argument in enumerate(arguments.types):
            value, place = builder.extract_value(values, i), INT(0)
            if isinstance(argument, types.Array):
                array = context.make_array(argument)(context, builder, value=value)
                array.meminfo = cgutils.get_null_value(array.meminfo.type)
                array.parent = cgutils.get_null_value(array.parent.type)
                value = array._getvalue()
                data = context.data_model_manager[argument].get_field_position("data")
                place = builder.ptrtoint(cgutils.gep_inbounds(builder, room, 0, i, data), INT)
            builder.store(value, cgutils.gep_inbounds(builder, room, 0, i))
            builder.store(place, cgutils.gep_inbounds(builder, places, i))
        return context.get_dummy_value()

    return types.void(arguments, room, places), generate


@intrinsic
def _describe(typing, arrays, described):
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        target = context.make_array(described)(context, builder, value=given[1]).data
        for i, kind in enumerate(arrays.types):
            array = context.make_array(kind)(context, builder, value=builder.extract_value(given[0], i))
            size, number = builder.mul(array.nitems, array.itemsize), INT(zlib.crc32(str(kind).encode()))
            for j, value in enumerate((builder.ptrtoint(array.data, INT), size, number)):
                builder.store(value, cgutils.gep_inbounds(builder, target, 3 * i + j))
        return context.get_dummy_value()

    return types.void(arrays, described), generate


@intrinsic
def _call(typing, entry, index, address):
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        entry, index, address = given
        return builder.call(builder.inttoptr(entry, ENTRY.as_pointer()), [index, address])

    return types.boolean(entry, index, address), generate


# Memory that several threads change -----------------------------------------------------------------------------------


def _place(builder: Any, board: Any, index: Any) -> Any:
    return builder.gep(builder.inttoptr(board, INT.as_pointer()), [index])


@intrinsic
def _load(typing, board, index):
    """board[index], read from memory each time: a compiler would keep it in a register."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load_atomic(_place(builder, *given), "acquire", 8)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def _store(typing, board, index, value):
    """board[index] = value, after everything that this thread has stored before."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        *place, value = given
        builder.store_atomic(value, _place(builder, *place), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def _add(typing, board, index, value):
    """board[index] += value, in one step."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        *place, value = given
        return builder.atomic_rmw("add", _place(builder, *place), value, "acq_rel")

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def _exchange(typing, board, index, old, new):
    """board[index] = new if it is `old`, in one step; returns whether it was."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        *place, old, new = given
        return builder.extract_value(builder.cmpxchg(_place(builder, *place), old, new, "acq_rel", "acquire"), 1)

    return types.boolean(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def _pause(typing):
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        if HINT:
            name, operands = HINT
            kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), operands)
        return context.get_dummy_value()

    return types.void(), generate
