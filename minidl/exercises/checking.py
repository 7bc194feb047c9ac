"""Run the checks of an exercise until one fails, and print advice that a student can act on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from minidl.emulator import Trace
from minidl.exercises import array_checks, kernel_checks, plain_checks, rule_checks, scored_checks
from minidl.exercises.catalogue import Exercise, Score
from minidl.exercises.student import Mistake, Student, Unfinished
from minidl.statistics.distributions import NORMAL, UNIFORM
from minidl.utils.tables import aligned

Check = Callable[[Student], Iterator[str]]

# Each exercise has a check, or several that do not depend on each other.
CHECKS: dict[str, tuple[Check, ...]] = {
    "dense-forward": (array_checks.dense_forward,),
    "relu-backward": (array_checks.relu_backward,),
    "dropout-forward": (plain_checks.dropout_forward,),
    "weight-decay": (rule_checks.penalty, rule_checks.penalty_slope),
    "dense-backward": (
        array_checks.dense_backward_input,
        array_checks.dense_backward_weight,
        array_checks.column_sums,
        array_checks.dense_layer,
    ),
    "training-loop": (plain_checks.training_loop,),
    "glorot": (
        partial(rule_checks.glorot, name="glorot_normal", distribution=NORMAL),
        partial(rule_checks.glorot, name="glorot_uniform", distribution=UNIFORM),
    ),
    "softmax-cross-entropy": (
        array_checks.softmax_cross_entropy_forward,
        array_checks.softmax_cross_entropy_backward,
        array_checks.softmax_cross_entropy,
    ),
    "adam": (rule_checks.adam,),
    "batchnorm-forward": (array_checks.batchnorm_training, array_checks.batchnorm_inference),
    "dropout": (array_checks.dropout,),
    "batchnorm-backward": (
        *(partial(array_checks.batchnorm_gradient, name=name) for name in ("dbeta", "dgamma", "dx")),
        array_checks.batchnorm_layer,
    ),
    "reduction": (kernel_checks.reduction,),
    "tiled-product": (kernel_checks.tiled_product,),
    "saxpy": (scored_checks.saxpy,),
    "histogram": (scored_checks.histogram,),
    "row-softmax": (scored_checks.row_softmax,),
    "prefix-sum": (scored_checks.prefix_sum,),
    "transpose": (scored_checks.transpose,),
    "batchnorm-kernel": (scored_checks.batchnorm_forward,),
}


class Clause(NamedTuple):
    """One thing that a solution must do, and the mistake if it does not."""

    name: str
    mistake: Mistake | None = None


def clauses(exercise: Exercise, student: Student) -> Iterator[Clause]:
    """Yield what a solution does and what it does not.

    Each check goes from the simple to the whole and ends at its first mistake; the next one begins all the same.
    """
    for check in CHECKS[exercise.name]:
        doing = ""
        try:
            with student.explained(), np.errstate(all="ignore"):  # an overflow shows in the result
                for next_ in check(student):
                    if doing:
                        yield Clause(doing)
                    doing = next_
                yield Clause(doing)
        except Mistake as mistake:
            yield Clause(doing or "all that was given is there", mistake)


def examine(exercise: Exercise, path: Path) -> bool:
    """Check a student's file until the first mistake, print the result, and return True if it is solved."""
    print(f"{exercise.name}: {exercise.title}", flush=True)
    doing = f"{path.name} can be read"
    try:
        student = Student(path)
        print(f"  ok     {doing}", flush=True)
        for doing, mistake in clauses(exercise, student):
            if mistake:
                raise mistake
            print(f"  ok     {doing}", flush=True)
    except Mistake as mistake:
        verdict = "to do" if isinstance(mistake, Unfinished) else "WRONG"
        print(f"  {verdict}  {doing}\n\n{mistake}")
        return False
    print(f"\n{_scores(exercise, student)}Solved. minidl's own solution is in {exercise.module}.")
    print("".join(f"    {formula}\n" for formula in exercise.formulas), end="")
    return True


def record(exercise: Exercise, path: Path, stream: IO[str]) -> bool:
    """Check a student's file to the end, write each clause as a line of JSON, and return True if it is solved."""
    kept = True

    def write(name: str, mistake: Mistake | None) -> None:
        clause = {"clause": name, "points": int(mistake is None), "message": str(mistake or "")}
        print(json.dumps(clause), file=stream, flush=True)

    try:
        student = Student(path)
    except Mistake as mistake:
        write(f"{path.name} can be read", mistake)
        return False
    for clause in clauses(exercise, student):
        write(*clause)
        kept = kept and clause.mistake is None
    return kept


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
