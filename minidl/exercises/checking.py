"""Run the checks of an exercise until one fails, and print advice that a student can act on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from minidl.exercises import array_checks, kernel_checks, rule_checks
from minidl.exercises.catalogue import Exercise
from minidl.exercises.student import Mistake, Student, Unfinished

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
    print(f"  ok     {doing}\n\nSolved. minidl's own solution is in {exercise.module}.")
    return True
