"""The queue from which threads take work, in compiled code.

A task is one function with its arguments, in several chunks: function(0, chunks, ...), function(1, chunks, ...) and so
on. The thread that owns the task writes to the queue, which all threads see, the address of the function, the address
of its arguments, and a state: the number of the task, and which of its chunks are left.

    state 17|0|4                        chunks 0 to 3 of task 17 are left
    17|0|4 is exchanged for 17|1|4      by the owner, which runs chunk 0 now
    17|1|4 is exchanged for 17|1|3      by a worker, which runs chunk 3

The exchange is one atomic step, which fails where the state has changed since the thread looked. So no chunk runs
twice, and a slow thread runs fewer chunks, a sleeping one none. The owner waits only for chunks that others have begun.
A thread that read the state during task 16 and was interrupted cannot claim a chunk of task 17 with that stale state:
the task number differs. Workers begin at the other end, so that in one operation after the other a thread finds the
same part of the data in its own cache.

None of this needs Python's global lock. To hand over a task takes less than a microsecond; a thread that Python must
wake up, or that waits for the global lock, needs 10 to 20.
"""

from __future__ import annotations

import functools
import platform
import zlib
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.cpu.engine.jit import helper, inline, jit
from minidl.utils.processor import ARM

STATE, FUNCTION, ARGUMENTS = 0, 1, 2
DONE, FAILED = 8, 9  # in another cache line: they change while others look at the state
OWNED = 10  # 1 while a thread has the workers: others of the program run their tasks alone
MAX_CHUNKS = (1 << 16) - 1
ONE_FROM_BELOW, NEXT_TASK = 1 << 16, 1 << 32  # what is added to a state

INT = ir.IntType(64)
# The instruction by which a waiting loop lets the other thread of its core work: LLVM's name, and its argument if any.
_PAUSE: tuple[str, list] = ("llvm.x86.sse2.pause", [])
_YIELD = ("llvm.aarch64.hint", [ir.IntType(32)(1)])
HINT = _YIELD if ARM else _PAUSE if platform.machine().lower() in {"x86_64", "amd64"} else None


def new_queue() -> np.ndarray:
    """Return memory for a queue. Functions take its address, because each call would have to unpack an array."""
    return np.zeros(16, np.int64)


@jit
def run(queue, function, arguments, chunks):
    """Run a task, with the workers if they are free, and return how many of its chunks failed when all are done.

    The workers are taken and given back in compiled code, where no exception, such as that of Ctrl-C, comes between.
    """
    if chunks == 1 or not _take(queue):
        return _run_alone(function, arguments, chunks)
    failed = _run_shared(queue, function, arguments, chunks)
    _give_back(queue)
    return failed


@inline
def _take(queue):
    return queue != 0 and _exchange(queue, OWNED, 0, 1)


@inline
def _give_back(queue):
    store(queue, OWNED, 0)


@inline
def _run_alone(function, arguments, chunks):
    failed = 0
    for index in range(chunks):
        if _call(function, index, arguments):
            failed += 1
    return failed


@helper
def _run_shared(queue, function, arguments, chunks):
    store(queue, FUNCTION, function)
    store(queue, ARGUMENTS, arguments)
    store(queue, DONE, 0)
    store(queue, FAILED, 0)
    store(queue, STATE, (load(queue, STATE) // NEXT_TASK + 1) * NEXT_TASK + chunks)
    _run_chunks(queue, True)
    while load(queue, DONE) < chunks:
        _pause()
    return load(queue, FAILED)


@jit
def worker_loop(queue, spin_limit):
    """Run chunks of the tasks that come, until none has come for `spin_limit` looks at the queue."""
    looks = spin_limit
    while looks > 0:
        _pause()
        looks = spin_limit if _run_chunks(queue, False) else looks - 1


@helper
def _run_chunks(queue, from_below):
    """Run chunks of the present task until none is left. Returns whether there was one."""
    helped = False
    while True:
        state = load(queue, STATE)
        first, stop = (state >> 16) & MAX_CHUNKS, state & MAX_CHUNKS
        if first == stop:
            return helped
        function, arguments = load(queue, FUNCTION), load(queue, ARGUMENTS)
        if _exchange(queue, STATE, state, state + ONE_FROM_BELOW if from_below else state - 1):
            if _call(function, first if from_below else stop - 1, arguments):
                _add(queue, FAILED, 1)
            _add(queue, DONE, 1)
            helped = True


@jit
def describe(*arrays):
    """Return (n, 3) int64: for each array the address of its data, its size in bytes, and a number for its type."""
    described = np.empty((len(arrays), 3), np.int64)
    _describe(arrays, described)
    return described


@jit
def replay(queue, tasks, patches, expected, *inputs):
    """Run tasks in order, with other inputs. Returns how many chunks failed.

    Args:
        queue: Address of the queue, or 0.
        tasks: (n, 3) int64: addresses of the function and of the arguments, and the number of chunks.
        patches: (m, 3) int64: an address among the arguments where the address of an array is stored, the number of an
            input, and by how many bytes the array begins behind the beginning of this input.
        expected: `describe` of other inputs. Where these differ in size or type nothing runs, and the result is -1.
        inputs: Arrays.
    """
    described = np.empty((len(inputs), 3), np.int64)
    _describe(inputs, described)
    for i in range(len(expected)):
        if described[i, 1] != expected[i, 1] or described[i, 2] != expected[i, 2]:
            return -1
    for m in range(len(patches)):
        store(patches[m, 0], 0, described[patches[m, 1], 0] + patches[m, 2])
    owned, failed = _take(queue), 0
    for n in range(len(tasks)):
        function, arguments, chunks = tasks[n, 0], tasks[n, 1], tasks[n, 2]
        if owned and chunks > 1:
            failed += _run_shared(queue, function, arguments, chunks)
        else:
            failed += _run_alone(function, arguments, chunks)
    if owned:
        _give_back(queue)
    return failed


# Functions and arguments as addresses ---------------------------------------------------------------------------------

ENTRY = ir.FunctionType(ir.IntType(1), [INT, INT])  # (index of the chunk, address of the arguments) -> has it failed?
ARGUMENT_BYTES, MAX_ARGUMENTS = 4096, 32  # room for the arguments of a captured call
STORE, SET_CALLEE = 0, -1  # in place of a number of chunks
NO_CALLEE = -1  # in place of a number of failures, or of an address
RUN = "minidl.run"  # the name by which compiled code finds `run`


@functools.cache
def share_run() -> None:
    """Compile `run` and let the code of calls find it: a copy in each would have to be compiled with each."""
    llvmlite.binding.add_symbol(RUN, address_of(run, (types.int64,) * 4))


def address_of(function: Any, arguments: tuple[Any, ...]) -> int:
    """Return the address of a compiled function for arguments of these types."""
    _, _, arguments, _ = function.get_call_template(arguments, {})  # compiles, or loads from the cache
    compiled = function.overloads[arguments]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def call_of(first: int) -> Any:
    """Return an intrinsic that runs the task of a compiled function and returns how many of its chunks failed.

    With STORE in place of chunks, it only stores the arguments at `address`, and returns the function that takes them;
    with SET_CALLEE, `address` is the function to call with arguments of these types. Numba takes several times as long
    for the same in Python.

    Args:
        first: 1 if the function takes the index of a chunk before its arguments, else 0.
    """

    @intrinsic
    def call(typing, function, address, chunks, arguments):
        entry_signature = typing.resolve_function_type(function, (types.int64,) * first + arguments.types, {})

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            _, address, chunks, values = given
            callee, result = _callee_of(builder.module), cgutils.alloca_once_value(builder, INT(NO_CALLEE))
            entry = builder.ptrtoint(_entry(context, builder.module, entry_signature, first, arguments), INT)
            setting, storing = (builder.icmp_signed("==", chunks, INT(value)) for value in (SET_CALLEE, STORE))
            with builder.if_then(setting):
                builder.store_atomic(address, callee, "release", 8)
                builder.store(INT(0), result)
            known = cgutils.is_not_null(builder, builder.load_atomic(callee, "acquire", 8))
            with builder.if_then(builder.and_(storing, known)):
                _store_arguments(context, builder, arguments, values, address)
                builder.store(entry, result)
            with builder.if_then(builder.and_(builder.not_(builder.or_(setting, storing)), known)):
                kept = builder.ptrtoint(cgutils.alloca_once_value(builder, values), INT)
                convention, four = context.call_conv, (types.int64,) * 4
                kind = convention.get_function_type(types.int64, four)
                run = cgutils.get_or_insert_function(builder.module, kind, RUN)
                operands = address, entry, kept, chunks
                builder.store(convention.call_function(builder, run, types.int64, four, operands)[1], result)
            return builder.load(result)

        return types.int64(function, types.int64, types.int64, arguments), generate

    return call


def _entry(context: Any, module: Any, signature: Any, first: int, arguments: Any) -> Any:
    """Return a function (index, address) that calls the callee with the index, if `first` is 1, and the arguments."""
    entry = ir.Function(module, ENTRY, module.get_unique_name("entry"))
    entry.linkage = "internal"
    index, address = entry.args
    inner = ir.IRBuilder(entry.append_basic_block())
    kept = inner.load(inner.inttoptr(address, context.get_value_type(arguments).as_pointer()))
    values = [index, *cgutils.unpack_tuple(inner, kept)][1 - first :]
    *named, last = signature.args
    if isinstance(last, types.BaseTuple):  # the *arguments of the function
        values = [*values[: len(named)], context.make_tuple(inner, last, values[len(named) :])]
    kind = context.call_conv.get_function_type(signature.return_type, signature.args)
    callee = inner.inttoptr(inner.load(_callee_of(module)), kind.as_pointer())
    status, _ = context.call_conv.call_function(inner, callee, signature.return_type, signature.args, values)
    inner.ret(status.is_error)
    return entry


def _callee_of(module: Any) -> Any:
    """Return the variable of a module that holds the address of the function its entries call, or 0 until it is set."""
    if "callee" in module.globals:
        return module.globals["callee"]
    variable = ir.GlobalVariable(module, INT, "callee")
    variable.linkage, variable.initializer = "internal", INT(0)
    return variable


def _store_arguments(context: Any, builder: Any, arguments: Any, values: Any, address: Any) -> None:
    """Write the tuple of arguments to `address`, and behind their ARGUMENT_BYTES an int64 for each.

    For each array, its number there becomes the address where the address of the array's data is stored; for other
    arguments it becomes 0. The copy does not own the arrays: the caller must keep them alive.
    """
    kind = context.get_value_type(arguments)
    if context.get_abi_sizeof(kind) > ARGUMENT_BYTES or len(arguments.types) > MAX_ARGUMENTS:
        raise NotImplementedError(f"arguments {arguments} do not fit into {ARGUMENT_BYTES} bytes")
    memory = builder.inttoptr(address, kind.as_pointer())
    addresses = builder.inttoptr(builder.add(address, INT(ARGUMENT_BYTES)), INT.as_pointer())
    for i, argument in enumerate(arguments.types):
        value, data_address = builder.extract_value(values, i), INT(0)
        if isinstance(argument, types.Array):
            array = context.make_array(argument)(context, builder, value=value)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            array.parent = cgutils.get_null_value(array.parent.type)
            value = array._getvalue()
            data = context.data_model_manager[argument].get_field_position("data")
            data_address = builder.ptrtoint(cgutils.gep_inbounds(builder, memory, 0, i, data), INT)
        builder.store(value, cgutils.gep_inbounds(builder, memory, 0, i))
        builder.store(data_address, cgutils.gep_inbounds(builder, addresses, i))


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


def _element(builder: Any, queue: Any, index: Any) -> Any:
    return builder.gep(builder.inttoptr(queue, INT.as_pointer()), [index])


@intrinsic
def load(typing, queue, index):
    """Read queue[index] from memory each time: a compiler would keep it in a register."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load_atomic(_element(builder, *given), "acquire", 8)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def store(typing, queue, index, value):
    """Store queue[index] = value, after everything that this thread has stored before."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        *element, value = given
        builder.store_atomic(value, _element(builder, *element), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def _add(typing, queue, index, value):
    """Add value to queue[index] in one atomic step."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        *element, value = given
        return builder.atomic_rmw("add", _element(builder, *element), value, "acq_rel")

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def _exchange(typing, queue, index, old, new):
    """Store queue[index] = new if it is `old`, in one atomic step. Returns whether it was."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        *element, old, new = given
        return builder.extract_value(builder.cmpxchg(_element(builder, *element), old, new, "acq_rel", "acquire"), 1)

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
