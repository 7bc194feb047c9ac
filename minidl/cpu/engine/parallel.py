"""Compiled functions as Python calls them, and lists of such calls that are replayed.

`@parallel`, `@serial` and `@plain` turn a function into an operation of the engine: a loop in chunks that threads
share, a loop for one thread, and a Python function on NumPy arrays. Calls of all three can be captured.

Read the engine in this order: jit, work_queue, thread_pool, parallel; then product, microkernel, vector_math.

Python needs one or two microseconds to call a compiled function, because Numba looks at every argument; a small
operation takes no longer than that. A training step makes the same calls with the same arrays every time. So a
`CallList` keeps, for each call, the address of the function and the arguments as they lie in memory, and replays all of
them in one go, without Python between them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numba
import numpy as np

from minidl.cpu.engine import thread_pool, work_queue
from minidl.cpu.engine.jit import jit
from minidl.utils.block_local import Block, BlockLocal

_capture = BlockLocal()  # the CallList to which the calls of this thread are appended


def parallel(function: Any) -> Callable:
    """Turn a compiled function(index, chunks, *arguments), which does one chunk of a loop, into the whole loop.

    The result is called with `arguments`, the first of them an array over which the loop goes once.
    """
    run_chunks = chunked(function)

    @functools.wraps(function.py_func)
    def run(*arguments):
        run_chunks(thread_pool.chunks_of_loop(arguments[0].size), *arguments)

    signature = inspect.signature(function.py_func)
    run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[2:])  # type: ignore[attr-defined]
    run.compiled = function  # type: ignore[attr-defined]
    return run


def chunked(function: Any) -> Callable:
    """Turn a compiled function(index, chunks, *arguments) into a loop whose caller chooses the number of chunks.

    The result is called with (chunks, *arguments). Several threads run the chunks side by side. It raises MemoryError
    if a chunk cannot allocate its memory.
    """
    task = _Task(function, first=1)

    @functools.wraps(function.py_func)
    def run(chunks, *arguments):
        if _capture.value is not None and (calls := _capture.get()) is not None:
            calls.append(task, chunks, (chunks, *arguments))
        if chunks == 1:
            function(0, 1, *arguments)
        else:
            task.run(chunks, (chunks, *arguments))

    run.compiled = function  # type: ignore[attr-defined]
    return run


def serial(function: Any) -> Callable:
    """Turn a compiled function(*arguments) into an operation that one thread does."""
    task = _Task(function, first=0)

    @functools.wraps(function.py_func)
    def run(*arguments):
        if _capture.value is not None and (calls := _capture.get()) is not None:
            calls.append(task, 1, arguments)
        function(*arguments)

    run.compiled = function  # type: ignore[attr-defined]
    return run


def plain(function: Callable[..., None]) -> Callable[..., None]:
    """Turn a Python function on NumPy arrays into an operation that can be captured, though not sped up."""

    @functools.wraps(function)
    def run(*arguments):
        if _capture.value is not None and (calls := _capture.get()) is not None:
            calls.append_plain(function, arguments)
        function(*arguments)

    return run


class _Task:
    """A compiled function that workers and replays call by its address.

    So its machine code exists once: Numba's wrapper for Python calls it without inlining it. A copy inside another
    compiled function would be free to round differently, because the compiler chooses which products and sums it fuses.

    Args:
        function: The compiled function.
        first: 1 if the function takes the index of a chunk before its arguments, else 0.
    """

    def __init__(self, function: Any, first: int):
        self._function, self._first = function, first

    def run(self, chunks: int, arguments: Sequence[Any]) -> None:
        """Do the task together with the workers."""
        _check(self._with_callee(thread_pool.queue(), chunks, arguments))

    def store(self, address: int, arguments: Sequence[Any]) -> int:
        """Store the arguments at `address`, and return the address of the function that takes them."""
        return self._with_callee(address, work_queue.STORE, arguments)

    def _with_callee(self, address: int, chunks: int, arguments: Sequence[Any]) -> int:
        result = self._call(address, chunks, *arguments)
        if result == work_queue.NO_CALLEE:
            self._set_callee(arguments)
            result = self._call(address, chunks, *arguments)
        return result

    @functools.cached_property
    def _call(self) -> Any:  # on demand, because it takes a third of a millisecond and few are needed
        work_queue.share_run()
        function, call_of_task = self._function, work_queue.call_of(self._first)

        @jit
        def call(address, chunks, *arguments):
            return call_of_task(function, address, chunks, arguments)

        return call

    def _set_callee(self, arguments: Sequence[Any]) -> None:
        """Compile the function for arguments of these types, and let `call` for these types know its address."""
        types = (numba.int64,) * self._first + tuple(numba.typeof(argument) for argument in arguments)
        self._call(work_queue.address_of(self._function, types), work_queue.SET_CALLEE, *arguments)


def _check(failed: int) -> None:
    if failed:
        raise MemoryError(f"{failed} chunks of a loop could not allocate their memory")


class CallList:
    """Calls in order. Calling the list replays them.

    A replay takes other inputs of the same shapes and dtypes, in C order, in place of those that were captured, or of
    views of them.

    Raises:
        ValueError: For inputs of another number, size or type. Nothing is called then.
    """

    def __init__(self, inputs: Sequence[np.ndarray]):
        self._inputs = inputs
        self._alive: list[Any] = []  # arguments of compiled calls: an address alone keeps no array alive
        self._tasks: list[tuple[int, int, int]] = []  # those since the last plain call
        self._patches: list[tuple[int, int, int]] = []
        self._runs: list[Callable[..., int]] = []  # a run of compiled calls, or one plain call
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, task: Any, chunks: int, arguments: Sequence[Any]) -> None:
        """Append a compiled call."""
        memory = np.empty(work_queue.ARGUMENT_BYTES // 8 + work_queue.MAX_ARGUMENTS, np.int64)
        entry = task.store(memory.ctypes.data, arguments)
        addresses = memory[work_queue.ARGUMENT_BYTES // 8 :].tolist()
        for argument, address in zip(arguments, addresses, strict=False):
            for number, offset in self._inputs_of(argument):
                self._patches.append((address, number, offset))
        self._alive.append((memory, arguments))
        self._tasks.append((entry, memory.ctypes.data, chunks))
        self._length += 1

    def append_plain(self, function: Callable[..., None], arguments: Sequence[Any]) -> None:
        """Append a call of a Python function."""
        self.finish()
        captured, given = self._inputs, self._in_place_of(tuple(arguments))

        def run(*inputs: np.ndarray) -> int:
            for new, old in zip(inputs, captured, strict=True):
                if new.shape != old.shape or new.dtype != old.dtype or not new.flags.c_contiguous:
                    return -1
            function(*given(inputs))
            return 0

        self._runs.append(run)
        self._length += 1

    def _in_place_of(self, argument: Any) -> Callable[[Sequence[np.ndarray]], Any]:
        """Return a function that gives for other inputs what `argument`, perhaps a tuple, is for those captured."""
        if isinstance(argument, tuple):
            parts = [self._in_place_of(part) for part in argument]
            return lambda inputs: tuple(part(inputs) for part in parts)
        for number, offset in self._inputs_of(argument):
            kind = argument.shape, argument.dtype
            return lambda inputs: np.ndarray(*kind, inputs[number], offset, argument.strides)
        return lambda inputs: argument

    def _inputs_of(self, argument: Any) -> Iterator[tuple[int, int]]:
        """Yield the number of each input that `argument` is a view of, and where in it, in bytes, the view begins."""
        for number, given in enumerate(self._inputs):
            if isinstance(argument, np.ndarray) and np.may_share_memory(argument, given):
                yield number, argument.ctypes.data - given.ctypes.data

    def finish(self) -> None:
        """Make one run of the compiled calls since the last plain one."""
        if not self._tasks:
            return
        tasks, patches = (np.array(rows, np.int64).reshape(-1, 3) for rows in (self._tasks, self._patches))
        self._tasks, self._patches = [], []
        expected = work_queue.describe(*self._inputs)

        def run(*inputs: np.ndarray) -> int:
            return work_queue.replay(thread_pool.queue(), tasks, patches, expected, *inputs)

        self._runs.append(run)

    def __call__(self, *inputs: np.ndarray) -> None:
        if len(inputs) != len(self._inputs):
            raise ValueError(f"inputs got {len(inputs)} arrays; expected {len(self._inputs)}, as captured")
        for run in self._runs:
            failed = run(*inputs)
            if failed < 0:
                got, expected = ([f"{a.dtype} {a.shape}" for a in arrays] for arrays in (inputs, self._inputs))
                raise ValueError(f"inputs got {', '.join(got)}; expected {', '.join(expected)} in C order, as captured")
            _check(failed)


class capture_calls(Block):
    """Append the calls that this thread makes in the block to a new `CallList`. Other threads go on as before."""

    def __init__(self, inputs: Sequence[np.ndarray]):
        super().__init__(_capture, CallList(inputs))

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if error == (None, None, None):
            self.value.finish()
