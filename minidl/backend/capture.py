"""Floor 3: recordings. What a function does on a backend, as a list of operations that can be done again.

A training step is the same operations on the same memory every time. Doing the list again saves everything between
them: on the CPU all Python, because there the list becomes a tape (`cpu/calls.py`); on a GPU the launches, because
there it is a CUDA graph.

Only operations are recorded. So while a recording is made, the backend refuses to allocate, to copy and to let the host
read: none of these would happen again, and a CUDA graph cannot hold them.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

REFUSED = {
    "empty": "allocates memory",
    "array": "allocates memory",
    "zeros": "allocates memory",
    "wrap": "copies an array",
    "copy_into": "copies an array",
    "to_numpy": "reads from the device",
}
_one_at_a_time = threading.RLock()


class RecordingError(RuntimeError):
    """The function does something that a recording cannot hold."""


class Recording:
    """Operations with their arguments, in order. Calling it does them again.

    `inputs` were the arrays that the recorded function was given; a call takes the arrays in their place. `count` says
    how much another recording holds that is made at the same time.
    """

    def __init__(self, inputs: Sequence[Any], count: Callable[[], int] = lambda: 0):
        self.inputs = inputs
        self._count = count
        self._counts: list[int] = []
        self.calls: list[tuple[Callable, list[Any]]] = []
        self._places: list[tuple[list[Any], int, int]] = []  # argument list, position there, number of the input

    def note(self, operation: Callable, arguments: Sequence[Any]) -> None:
        kept = list(arguments)
        for position, argument in enumerate(kept):
            for number, given in enumerate(self.inputs):
                if argument is given:
                    self._places.append((kept, position, number))
                elif _may_overlap(argument, given):
                    raise RecordingError("an operation takes a part of an input, which the next call would not replace")
        self.calls.append((operation, kept))
        self._counts.append(self._count())

    def all_made(self, count: int) -> bool:
        """Whether every operation has added something to the other recording, which now holds so much."""
        return all(before < after for before, after in itertools.pairwise([*self._counts, count]))

    def __call__(self, *inputs: Any) -> None:
        for arguments, position, number in self._places:
            arguments[position] = inputs[number]
        for operation, arguments in self.calls:
            operation(*arguments)


def _may_overlap(a: Any, b: Any) -> bool:
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b)


@contextlib.contextmanager
def recording(backend: Any, inputs: Sequence[Any], count: Callable[[], int] = lambda: 0) -> Iterator[Recording]:
    """Note what this thread does on `backend`. Raises RecordingError where that is more than operations."""
    noted, owner, operations = Recording(inputs, count), threading.get_ident(), backend.operations

    def noting(operation: Callable) -> Callable:
        def note_and_do(*arguments: Any) -> None:
            if threading.get_ident() == owner:
                noted.note(operation, arguments)
            operation(*arguments)

        return note_and_do

    def refusing(name: str) -> Callable:
        method = getattr(backend, name)

        def refuse(*arguments: Any) -> Any:
            if threading.get_ident() == owner:
                raise RecordingError(f"a step that {REFUSED[name]} cannot be recorded")
            return method(*arguments)

        return refuse

    with _one_at_a_time:
        before = [(vars(thing), dict(vars(thing))) for thing in (operations, backend)]
        vars(operations).update({name: noting(operation) for name, operation in vars(operations).items()})
        vars(backend).update({name: refusing(name) for name in REFUSED})
        try:
            yield noted
        finally:
            for attributes, values in before:
                attributes.clear()
                attributes.update(values)
