"""Tools for the checks of exercises: a student's file, calls of its functions, and comparisons with a message.

A message gives the call, the result and the expected result; if the result is that of a known mistake, it names the
mistake.
"""

from __future__ import annotations

import contextlib
import copy
import re
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numba.core.errors import TypingError

from minidl.emulator import BarrierError, OutOfBoundsError, RaceError, Trace, UninitializedReadError, trace

TOLERANCE = 1e-9  # of float64 results, relative to the largest one


class Mistake(Exception):
    """Something is wrong with the student's solution; the message is for the student."""


class Unfinished(Mistake):
    """The student has not written a solution yet."""


class Student:
    """A student's file, whose functions are attributes.

    Args:
        path: The file, which is run.

    Attributes:
        doing: The current call, for messages.
        results: Names of the arrays into which the call should write.
        returned: Whether that call returned something instead.
        trace: The launch that gives the score, if the exercise has one.

    Raises:
        Mistake: If the file cannot be run.
    """

    def __init__(self, path: Path):
        self.path, self.doing, self.results, self.returned = path, "", set[str](), False
        self.trace: Trace | None = None
        self.module = types.ModuleType(path.stem)
        self.module.__file__ = str(path)
        with self.explained():
            source = path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
            self.lines = source.splitlines()
            exec(compile(source, str(path), "exec"), vars(self.module))

    def __getattr__(self, name: str) -> Any:
        if name not in vars(self.module):
            raise Mistake(f"{self.path.name} has no {name} any more; put it back, or start the exercise anew elsewhere")
        return vars(self.module)[name]

    def calls(self, what: str, results: Iterable[str] = ()) -> None:
        """Remember the next call, for messages, and the names of the arrays into which it should write."""
        self.doing, self.results, self.returned = what, set(results), False

    def scores(self, what: str, kernel: Any, grid: Any, block: Any, *arguments: Any) -> Trace:
        """Launch a kernel whose trace is the score; `what` describes the launch."""
        self.calls(what)
        self.trace = trace(kernel, grid, block, *arguments)
        return self.trace

    def advice(self, found: Trace) -> str:
        """Return what the trace advises, without the arrays where nothing is to be gained."""
        return "\n".join(str(advice) for advice in found.advice() if "nothing to gain" not in advice.text)

    def mistake(self, text: str) -> Mistake:
        """Return the `Mistake` to raise for the current call."""
        return Mistake(f"{self.doing}:\n{text}" if self.doing else text)

    def fill(self, name: str, arguments: Mapping[str, Any], moves: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """Call a function that writes into arrays.

        Args:
            name: Name of the function.
            arguments: Its arguments in order: an array, a number or None for an input, the shape of an array for a
                result.
            moves: Names of inputs that the function changes where they are.

        Returns:
            The results and the changed inputs by name; where the function wrote no result it is NaN.

        Raises:
            Mistake: If the function changed an input.
        """
        arrays = {
            key: np.full(value, np.nan) if isinstance(value, tuple) else copy.copy(value)
            for key, value in arguments.items()
        }  # fmt: skip
        results = [key for key, value in arguments.items() if isinstance(value, tuple)]
        shown = (f"{key} {array.shape if isinstance(array, np.ndarray) else array}" for key, array in arrays.items())
        self.calls(f"{name}({', '.join(shown)})", results)
        self.returned = getattr(self, name)(*arrays.values()) is not None
        for key, value in arguments.items():
            if key not in (*results, *moves) and not np.array_equal(arrays[key], value):
                raise self.mistake(f"{key} has changed, but it is an input; only the results may be written to.")
        return {key: arrays[key] for key in (*results, *moves)}

    def expect(self, what: str, got: Any, expected: Any, mistakes: Mapping[str, Any] | None = None) -> None:
        """Raise `Mistake` if a result is not the expected one.

        Args:
            what: Name of the result in messages.
            got: The student's result.
            expected: The right result.
            mistakes: Results of known mistakes, by a description of the mistake.
        """
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
            if self.returned:
                raise self.mistake(
                    f"{what} is as it was, all nan: the function returned its result instead of writing it into the "
                    f"array that it was given. Write {what}[...] = ... in place of `return ...`."
                )
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
        """Turn any exception of the student's code into a `Mistake` that names the line."""
        try:
            yield
        except Mistake:
            raise
        except SyntaxError as error:
            where = f", line {error.lineno}: `{(error.text or '').strip()}`" if error.lineno else ""
            advice = f"\n{MAGIC}" if (error.text or "").lstrip().startswith(("%", "!")) else ""
            raise Mistake(f"{self.path.name}{where} is not Python: {error.msg}{advice}") from None
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            place = self._place(error)
            if place is None and isinstance(error, AssertionError):  # from a check of minidl: its message says it all
                said = each_mistake_once(str(error))
            elif place:
                number, line = place
                if isinstance(error, NotImplementedError) and "raise NotImplementedError" in line:
                    file = self.path if self.path.suffix else self.path.name  # the cell of a notebook has no path
                    raise Unfinished(f"{error}. It stands on line {number} of {file}.") from None
                said = f"{self.path.name}, line {number}: `{line}` raised {said}"
            advice = "".join(f"\n{advice}" for kind, advice in ADVICE.items() if isinstance(error, kind))
            if isinstance(error, ValueError) and re.search("matmul|not aligned|broadcast", said):
                advice = f"\n{SHAPES}"
            if found := re.search(r"NameError: name '(\w+)' is not defined", said):  # also one that Numba reports
                advice = f"\n{MAGIC if found[1] == 'get_ipython' else MISSING}"
            if isinstance(error, RaceError) and "two blocks" in said:
                advice = f"\n{BETWEEN_BLOCKS}"
            raise self.mistake(f"{said}{advice}") from None

    def _place(self, error: BaseException) -> tuple[int, str] | None:
        """Return number and text of the line of the student's file that raised the error."""
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename == str(self.path):
                return frame.lineno or 0, self.lines[(frame.lineno or 1) - 1].strip()
        return None


def each_mistake_once(report: str) -> str:
    """Return the report of `check_layer`; where one mistake breaks many clauses, the first, and how many more."""
    lines = report.splitlines()
    mistakes = [line.partition(": ")[2] for line in lines if line.startswith("BROKEN")]
    shown, told = [], set[str]()
    for line in lines:
        mistake = line.partition(": ")[2] if line.startswith("BROKEN") else ""
        more = mistakes.count(mistake) - 1
        if not mistake or more == 0:
            shown.append(line)
        elif mistake not in told:
            shown.append(f"{line} (and {more} more for the same reason)")
        told.add(mistake)
    return "\n".join(shown)


ADVICE = {
    UnicodeDecodeError: "Is the file saved as UTF-8?",
    TypingError: "Numba finds no type for it, so it would not compile. (Without a `return` a result is none, and the "
    "shape of a shared array must be of constants: 33, or a name defined outside of the kernel, but not SIDE + 1.)",
    ImportError: "Did another version of minidl write this file? Start it anew elsewhere, and copy your work.",
    RaceError: "On a GPU the two threads come in any order. A barrier, cuda.syncthreads(), must stand between them. "
    "Where many threads add to one element, use cuda.atomic.add.",
    BarrierError: "A barrier must be reached by all threads of the block: keep it out of any `if` on the thread.",
    OutOfBoundsError: "The grid may be larger than the array: a thread outside must neither read nor write it. "
    "Negative indices are outside, too.",
    UninitializedReadError: "A thread read shared memory before another one wrote it: is a barrier missing?",
}

SHAPES = (
    "Write the shape below each factor: a product takes (a, b) and (b, c) and gives (a, c). Which order of the "
    "factors, and which of them transposed, gives the shape of the result?"
)

MAGIC = "Remove the line that begins with % or !: Jupyter understands it, but Python does not."
MISSING = "All that your functions need, imports too, must stand in the same file, in a notebook in the same cell."

BETWEEN_BLOCKS = (
    "On a GPU blocks run in any order, and no barrier orders them. Give each block elements of its own, as by "
    "cuda.grid(1), which counts the threads of all blocks; where many threads add to one element, use cuda.atomic.add."
)


@contextlib.contextmanager
def in_place_of(owner: Any, **functions: Callable[..., Any]) -> Iterator[None]:
    """Replace functions of a module until the end of the block."""
    originals = {name: getattr(owner, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(owner, name, function)
        yield
    finally:
        for name, original in originals.items():
            setattr(owner, name, original)
