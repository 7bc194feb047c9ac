"""Exercises for a course: functions of minidl without their bodies, and checks of what a student writes there.

catalogue.py      the exercises, and the text that students read
cutting.py        removes the bodies from minidl's own code, which is also the solution
folders.py        the folder of an exercise: `start` writes it, `check` checks it
checking.py       runs the checks; student.py has the tools to write them
*_checks.py       the checks of a solution, in the order of the statement
"""

from minidl.exercises.catalogue import EXERCISES
from minidl.exercises.folders import check, start

__all__ = ["EXERCISES", "check", "start"]
