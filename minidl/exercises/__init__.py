"""Exercises for a course: functions of minidl without their bodies, and checks of what a student writes there.

catalogue.py      the exercises, and the text that students read
cutting.py        removes the bodies from minidl's own code, which is also the solution
kernels.py        solutions that minidl has no other use for; plain.py, too
folders.py        the folder of an exercise: `start` writes it, `check` checks it
checking.py       runs the checks; student.py has the tools to write them
*_checks.py       the checks of a solution, in the order of the statement
grading.py        points for a class, each solution in a process with the limits of limited.py
notebooks.py      an exercise as a notebook, with a cell for each point, for Jupyter and nbgrader
testing.py        a student's tests, on right code and on that of wrong.py
"""

from minidl.exercises.catalogue import EXERCISES
from minidl.exercises.folders import check, start
from minidl.exercises.grading import assess, grade, progress
from minidl.exercises.notebooks import check_cell, notebook
from minidl.exercises.testing import try_tests

__all__ = ["EXERCISES", "assess", "check", "check_cell", "grade", "notebook", "progress", "start", "try_tests"]
