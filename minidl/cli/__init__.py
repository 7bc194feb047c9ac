"""The command line.

    minidl train       train a network and write curves.png, history.jsonl and model.npz
    minidl sweep       search for good hyperparameters
    minidl predict     print what a trained network says about each row of a file
    minidl evaluate    print how good its predictions are for a file with the answers
    minidl export      write a trained network for other programs
    minidl inspect     show one training pass layer by layer, as a table and inspection.png
    minidl preflight   check data and network before training; writes preflight.png
    minidl exercise    list, start, check and grade the exercises of a course
    minidl tutorial    list the tutorials, or write one as a notebook
    minidl playground  serve a page that shows the lectures' experiments, live
    minidl doctor      show which backends work on this machine, and how to get the others
    minidl warmup      compile what training on the CPU needs

Exit codes: 0 done, 1 the loss diverged, a check failed or an exercise is not solved, 2 wrong arguments or missing
files, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Sequence

import minidl as dl
from minidl.cli.commands import FAILED, INTERRUPTED, WRONG
from minidl.cli.options import parser
from minidl.utils.output import Output


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: Command-line arguments; None for those of the process.
    """
    if arguments is None:
        gc.freeze()  # what is imported stays: no collection, of many while Numba compiles, has to look at it again
    with contextlib.redirect_stdout(Output(sys.stdout)), contextlib.redirect_stderr(Output(sys.stderr)):
        try:
            try:
                options = parser().parse_args(arguments)
                return options.command(options)
            finally:
                sys.stdout.flush()  # here, where it is told if the report cannot be written
        except dl.DivergenceError as error:
            return _failed(str(error), FAILED)
        except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
            return _failed(f"error: {error}", WRONG)
        except KeyboardInterrupt:
            return _failed("interrupted", INTERRUPTED)


def _failed(message: str, code: int) -> int:
    print(f"minidl: {message}\n", end="", file=sys.stderr, flush=True)  # in one piece: other ranks write there, too
    dl.parallel.end_all(code)
    return code
