"""What `minidl.check_gradients` has found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minidl.utils.reports import Report, Table


class GradientError(AssertionError):
    """A gradient is wrong; the message is the report."""


@dataclass(frozen=True)
class GradientCheck:
    """The worst entry of one array.

    Attributes:
        name: Name of the parameter, or "x" for the input.
        shape: Shape of the array.
        index: Index of the worst entry; None if the derivative along a random direction is worst.
        analytic: Derivative from the backward pass.
        numeric: Derivative from differences of the forward pass.
        error: |analytic - numeric| relative to the larger of them, or to what rounding allows where that is more.
            NaN if one of the two is not finite.
        checked: Number of entries compared.
        skipped: Number of entries at a kink.
        lost: Number of entries whose derivative is lost in the rounding of L.
        ok: Whether the error of every entry is at most the tolerance.
    """

    name: str
    shape: tuple[int, ...]
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    checked: int
    skipped: int
    ok: bool
    lost: int = 0


@dataclass(frozen=True, repr=False)
class GradientReport(Report):
    """The result of `check_gradients`; `print(report)` shows it as a table.

    Attributes:
        checks: One `GradientCheck` for the input and one for each parameter.
        tolerance: Largest relative error that counts as right.
    """

    checks: list[GradientCheck]
    tolerance: float

    @property
    def ok(self) -> bool:
        """True if every gradient is right."""
        return all(check.ok for check in self.checks)

    def __bool__(self) -> bool:
        return self.ok

    def headline(self) -> str:
        wrong = [check.name for check in self.checks if not check.ok]
        return f"not right: {', '.join(wrong)}" if wrong else f"{len(self.checks)} gradients ok"

    def parts(self) -> Iterator[str | Table]:
        rows = [("gradient of", "shape", "worst at", "backward", "differences", "error", "")]
        for check in self.checks:
            where = "a direction" if check.index is None else str(list(check.index))
            verdict = "ok" if check.ok else "WRONG" if check.checked else "NOTHING COMPARED"
            verdict += f", {check.skipped} at a kink left out" if check.skipped else ""
            verdict += f", {check.lost} lost in rounding left out" if check.lost else ""
            figures = (f"{check.analytic:.6g}", f"{check.numeric:.6g}", f"{check.error:.1e}")
            rows.append((check.name, str(check.shape), where, *figures, verdict))
        yield Table(rows, "<" * len(rows[0]))

    def raise_if_wrong(self) -> None:
        """Raise GradientError, with the table as its message, if a gradient is wrong."""
        if not self.ok:
            wrong = ", ".join(check.name for check in self.checks if check.checked and not check.ok)
            unknown = ", ".join(check.name for check in self.checks if not check.checked)
            said = [f"the gradient of {wrong} is wrong (tolerance {self.tolerance:g})"] if wrong else []
            reason = "is lost in rounding" if any(check.lost for check in self.checks) else "stands on a kink"
            said += [f"every entry of {unknown} {reason}, so nothing could be compared"] if unknown else []
            raise GradientError("; ".join(said) + f"\n{self}")
