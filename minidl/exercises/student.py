"""What the checks of the exercises are written with: a student's file, calls of it, and comparisons with a message.

A message says what was called with what, what came, what was expected, and, where the result is that of a known
mistake, which one.
"""

from __future__ import annotations

import contextlib
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl.emulator import BarrierError, OutOfBoundsError, RaceError, UninitializedReadError

TOLERANCE = 1e-9  # of float64 results, relative to the largest one


class Mistake(Exception):
    """Something is wrong with the student's solution; the message is for the student."""


class Unfinished(Mistake):
    """There is no solution yet."""


class Student:
    """A student's file. Its functions are attributes.

    doing     what is being called, for messages
    results   the arrays that it should have written to
    """

    def __init__(self, path: Path):
        """Run the file. Raises Mistake if that fails."""
        self.path, self.doing, self.results = path, "", set[str]()
        self.module = types.ModuleType(path.stem)
        self.module.__file__ = str(path)
        with self.explained():
            source = path.read_text(encoding="utf-8-sig")  # some editors put a mark at the beginning
            self.lines = source.splitlines()
            exec(compile(source, str(path), "exec"), vars(self.module))

    def __getattr__(self, name: str) -> Any:
        if name not in vars(self.module):
            raise Mistake(f"{self.path.name} has no {name} any more; put it back, or start the exercise anew elsewhere")
        return vars(self.module)[name]

    def calls(self, what: str, results: Iterable[str] = ()) -> None:
        """Remember what is called next."""
        self.doing, self.results = what, set(results)

    def mistake(self, text: str) -> Mistake:
        """What to raise if the present call shows a mistake."""
        return Mistake(f"{self.doing}:\n{text}" if self.doing else text)

    def fill(self, name: str, arguments: Mapping[str, np.ndarray | tuple[int, ...]]) -> dict[str, np.ndarray]:
        """Call a function that writes into arrays, given by their shapes; returns them by name."""
        arrays = {
            key: np.full(value, np.nan) if isinstance(value, tuple) else value.copy()
            for key, value in arguments.items()
        }  # fmt: skip
        results = [key for key, value in arguments.items() if isinstance(value, tuple)]
        self.calls(f"{name}({', '.join(f'{key} {array.shape}' for key, array in arrays.items())})", results)
        getattr(self, name)(*arrays.values())
        for key, value in arguments.items():
            if key not in results and not np.array_equal(arrays[key], value):
                raise self.mistake(f"{key} has changed, but it is an input; only the results may be written to.")
        return {key: arrays[key] for key in results}

    def expect(self, what: str, got: Any, expected: Any, mistakes: Mapping[str, Any] | None = None) -> None:
        """Raise Mistake if `got` is not `expected`; `mistakes` says by what mistakes other results come out."""
        expected = np.asarray(expected, np.float64)
        if got is None:
            raise self.mistake(f"{what} is None; is a `return` missing?")
        try:
            values = np.asarray(got, np.float64)
        except (TypeError, ValueError):
            raise self.mistake(f"{what} is {got!r}; expected numbers.") from None
        if values.shape != expected.shape:
            raise self.mistake(f"{what} has shape {values.shape}; expected {expected.shape}.")
        if what in self.results and np.isnan(values).all():
            raise self.mistake(
                f"{what} is as it was, all nan. Write into the array, as in {what}[...] = ...; `{what} = ...` only "
                f"gives its name to something else, and `{what} += ...` adds to the nan."
            )
        allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))

        def distance(reference: Any) -> np.ndarray:
            return np.nan_to_num(np.abs(values - reference), nan=np.inf)

        off = distance(expected)
        if off.max() <= allowed:
            return
        worst = tuple(map(int, np.unravel_index(int(off.argmax()), off.shape)))
        entry = f"{what}[{', '.join(map(str, worst))}]" if worst else what
        digits = 6 if f"{values[worst]:.6g}" != f"{expected[worst]:.6g}" else 17
        message = f"{entry} is {values[worst]:.{digits}g}; expected {expected[worst]:.{digits}g}"
        if off.size > 1:
            message += f" ({np.count_nonzero(off > allowed)} of {off.size} entries are wrong, this one most)"
        reasons = [reason for reason, result in (mistakes or {}).items() if distance(result).max() <= allowed]
        if reasons:
            message += f".\nThis is what comes out if {reasons[0]}"
        elif np.isnan(values[worst]):
            message += ".\nA nan stays where nothing is written, and comes from 0/0, ∞ - ∞ or a missing `return`"
        raise self.mistake(f"{message}.")

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn whatever the student's code raises into a Mistake that names the line."""
        try:
            yield
        except Mistake:
            raise
        except SyntaxError as error:
            line = (error.text or "").strip()
            raise Mistake(f"{self.path.name}, line {error.lineno}: `{line}` is not Python: {error.msg}") from None
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            place = self._place(error)
            if place is None and isinstance(error, AssertionError):  # from a check of minidl: its text is the finding
                said = str(error)
            elif place:
                number, line = place
                if isinstance(error, NotImplementedError) and "raise NotImplementedError" in line:
                    raise Unfinished(f"{error}. It stands on line {number} of {self.path}.") from None
                said = f"{self.path.name}, line {number}: `{line}` raised {said}"
            advice = "".join(f"\n{advice}" for kind, advice in ADVICE.items() if isinstance(error, kind))
            raise self.mistake(f"{said}{advice}") from None

    def _place(self, error: BaseException) -> tuple[int, str] | None:
        """The number and the text of the line of the student's file that raised the error."""
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename == str(self.path):
                return frame.lineno or 0, self.lines[(frame.lineno or 1) - 1].strip()
        return None


ADVICE = {
    RaceError: "On a GPU the two threads come in any order. A barrier, cuda.syncthreads(), must stand between them.",
    BarrierError: "A barrier must be reached by all threads of the block: keep it out of any `if` on the thread.",
    OutOfBoundsError: "The grid may be larger than the array: a thread outside must neither read nor write it.",
    UninitializedReadError: "A thread read shared memory before another one wrote it: is a barrier missing?",
}


@contextlib.contextmanager
def in_place_of(owner: Any, **functions: Callable[..., Any]) -> Iterator[None]:
    """Put functions in the place of those of a module, for as long as the block lasts."""
    originals = {name: getattr(owner, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(owner, name, function)
        yield
    finally:
        for name, original in originals.items():
            setattr(owner, name, original)
