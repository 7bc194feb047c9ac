"""Run the checks of an exercise until one fails, and print advice that a student can act on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from minidl.emulator import Trace
from minidl.exercises import array_checks, kernel_checks, rule_checks, scored_checks
from minidl.exercises.catalogue import Exercise, Score
from minidl.exercises.student import Mistake, Student, Unfinished
from minidl.utils.tables import aligned

CHECKS: dict[str, Callable[[Student], Iterator[str]]] = {
    "dense-backward": array_checks.dense_backward,
    "relu-backward": array_checks.relu_backward,
    "batchnorm-backward": array_checks.batchnorm_backward,
    "glorot": rule_checks.glorot,
    "dropout": array_checks.dropout,
    "softmax-cross-entropy": array_checks.softmax_cross_entropy,
    "adam": rule_checks.adam,
    "tiled-product": kernel_checks.tiled_product,
    "reduction": kernel_checks.reduction,
    "saxpy": scored_checks.saxpy,
    "histogram": scored_checks.histogram,
    "row-softmax": scored_checks.row_softmax,
    "prefix-sum": scored_checks.prefix_sum,
    "transpose": scored_checks.transpose,
    "batchnorm-kernel": scored_checks.batchnorm_forward,
}


def examine(exercise: Exercise, path: Path) -> bool:
    """Check a student's file, print the result, and return True if it is solved."""
    print(f"{exercise.name}: {exercise.title}", flush=True)
    doing = f"{path.name} can be read"
    try:
        student = Student(path)
        with student.explained(), np.errstate(all="ignore"):  # an overflow shows in the result
            for next_ in CHECKS[exercise.name](student):
                print(f"  ok     {doing}", flush=True)
                doing = next_
    except Mistake as mistake:
        verdict = "to do" if isinstance(mistake, Unfinished) else "WRONG"
        print(f"  {verdict}  {doing}\n\n{mistake}")
        return False
    print(f"  ok     {doing}\n\n{_scores(exercise, student)}Solved. minidl's own solution is in {exercise.module}.")
    print("".join(f"    {formula}\n" for formula in exercise.formulas), end="")
    return True


def _scores(exercise: Exercise, student: Student) -> str:
    """Return the score beside the best known one, as text, with advice where it is worse; "" without a score."""
    if student.trace is None or exercise.best is None:
        return ""
    rows = [("", "sectors", "side by side", "bank conflict", "operations")]
    yours = score(student.trace)
    for whose, found in (("yours", yours), ("best known", exercise.best)):
        conflict = "none" if found.conflict <= 1 else f"{found.conflict}-way"
        rows.append((whose, str(found.sectors), str(found.ideal_sectors), conflict, str(found.operations)))
    text = "\n".join([f"{student.doing} costs", *aligned(rows, "<>>>>")])
    if yours.sectors > exercise.best.sectors or yours.conflict > max(exercise.best.conflict, 1):
        text += f"\n{student.advice(student.trace)}".rstrip()
    return f"{text}\n\n"


def score(trace: Trace) -> Score:
    """Return the score of a launch."""
    return Score(trace.sectors, trace.ideal_sectors, trace.conflict, trace.flops)
