"""Exercises for a course: functions of minidl without their bodies, and checks of what a student writes there.

catalogue.py      what there is to solve, and what the student is told
cutting.py        takes the bodies out of minidl's own code, which is also the solution
folders.py        the folder of an exercise: `start` writes it, `check` checks it
checking.py       goes through the checks; student.py has what they are written with
*_checks.py       what a right solution does, in the order in which it is asked for
"""

from minidl.exercises.catalogue import EXERCISES
from minidl.exercises.folders import check, start

__all__ = ["EXERCISES", "check", "start"]
