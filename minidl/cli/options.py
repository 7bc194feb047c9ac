"""The options of each command."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Callable, Collection
from typing import Any, NoReturn

import minidl as dl
from minidl import exercises
from minidl.cli import commands, course, search, sources, tutorials
from minidl.exercises.folders import TIMEOUT
from minidl.exercises.grading import LEAST_MEMORY, MEMORY
from minidl.initializers import INITIALIZERS
from minidl.perceptron import SCHEDULES, STEPS
from minidl.playground.server import PORT
from minidl.scalar.activations import ACTIVATIONS
from minidl.sweeps.search import PRUNERS, SAMPLERS, TRIALS
from minidl.sweeps.space import HYPERPARAMETERS
from minidl.utils import checks, habits

BACKENDS = ("auto", "numpy", "cpu", "cuda", "emulator")


class _Parser(argparse.ArgumentParser):
    """Errors are one line each, with the nearest option; --help shows all of them."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            option = unknown[0].partition("=")[0]
            options = self._option_string_actions
            meant = habits.OPTIONS.get(option, option)
            nearest = [meant] if meant in options else difflib.get_close_matches(meant, options, n=1, cutoff=0.7)
            self.error(f"there is no {option} here" + (f"; did you mean {nearest[0]}?" if nearest else ""))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        if wrong := re.fullmatch(r"""argument ([A-Z]+): invalid choice: ['"](.*)['"] \(choose from (.*)\)""", message):
            try:
                checks.one_of(wrong[1], wrong[2], re.findall(r"[\w-]+", wrong[3]))
            except ValueError as error:
                message = str(error)
        message = re.sub(r"^argument (\S+): (the option|init) got", r"\1 got", message)
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser. What it returns has the function of the command as `command`."""
    whole = _Parser(
        prog="minidl",
        description="Train deep networks and see what happens inside.",
        epilog="Exit codes: 0 done, 1 the loss diverged, a check failed or an exercise is not solved, 2 wrong "
        "arguments or missing files, 130 interrupted.",
    )
    whole.add_argument("--version", action="version", version=f"minidl {dl.__version__}")
    actions = whole.add_subparsers(required=True, metavar="COMMAND")

    _add_train(actions.add_parser("train", help="train a network and write curves.png, history.jsonl and model.npz"))
    _add_sweep(actions.add_parser("sweep", help="search for hyperparameters and write sweep.png and trials.jsonl"))
    command = actions.add_parser("predict", help="print what a trained network says about each row of a file, as CSV")
    _add_use(command, commands.predict, "a .csv with the columns that it was trained on, or an .npz with an array x")
    command = actions.add_parser("evaluate", help="print how good its predictions are for a file with the answers")
    _add_use(command, commands.evaluate, "such a file with the targets, too")
    _add(command, "--confusion", action="store_true", help="print which classes it takes for which, too")
    command = actions.add_parser("export", help="write a trained network for other programs")
    command.set_defaults(command=commands.export)
    command.add_argument("model", metavar="MODEL", help="a saved model or checkpoint")
    _add(command, "--to", required=True, metavar="FILE", help=f"a {' or '.join(commands.EXPORTS)} file")
    _add(command, "--overwrite", action="store_true", help="replace a file that is there")
    command = actions.add_parser("inspect", help="show one training pass layer by layer, write inspection.png")
    _add_inspect(command)
    command = actions.add_parser("preflight", help="check data and network before training, write preflight.png")
    _add_preflight(command)
    _add_exercise(actions.add_parser("exercise", help="list, start, check and grade the exercises of a course"))
    _add_tutorial(actions.add_parser("tutorial", help="list the tutorials, or write one as a notebook"))
    command = actions.add_parser("playground", help="serve a page that shows the lectures' experiments, live")
    command.set_defaults(command=commands.playground)
    port = _integer(0, 65535)
    _add(command, "--port", type=port, default=PORT, metavar="N", help="of the address; 0 for one that is free")
    _add(command, "--open", action="store_true", help="open the page in a browser")
    command = actions.add_parser("doctor", help="show which backends work here, and how to get the others")
    command.set_defaults(command=commands.doctor)
    command = actions.add_parser("warmup", help="compile what training on the CPU needs, which takes a minute, once")
    command.set_defaults(command=commands.warmup)
    return whole


def _add_train(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=commands.train)
    _add_network(command)
    _choose(command, "--optimizer", commands.OPTIMIZERS, "adam")
    _add(command, "--learning-rate", type=_number(0.0, None), default=1e-3, metavar="RATE", help="greater than 0")
    _choose(command, "--schedule", SCHEDULES, "constant")
    _add(
        command, "--epochs", type=_integer(1), metavar="N",
        help=f"passes over the training data (default: 12, or more for {STEPS} steps)",
    )  # fmt: skip
    _add(
        command, "--batch-size", type=_integer(1), metavar="ROWS",
        help="samples for each step (default: a twentieth of them, from 8 to 128)",
    )  # fmt: skip
    _add(command, "--checkpoint", metavar="FILE", help="after each epoch, write a checkpoint for --resume")
    _add(
        command, "--parts", type=_integer(1), metavar="N",
        help="with `mpiexec -n RANKS minidl train`: parts of each batch, which the ranks share",
    )  # fmt: skip
    _add(
        command, "--sync-batch-norm", action="store_true",
        help="with --parts: batch norm takes mean and variance over the whole batch, not over each part",
    )  # fmt: skip
    _add(command, "--resume", metavar="FILE", help="continue from a checkpoint, with the same options, up to --epochs")
    _add_output(command)


def _add_sweep(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=search.run)
    _add_data(command)
    _add(
        command, "--space", type=_argument(search.entry), nargs="+", metavar="NAME=VALUES",
        help="what to vary: NAME=LOW:HIGH, or NAME=A,B,C; NAME=VALUE for all trials. The names are "
        f"{', '.join(HYPERPARAMETERS)}; those left out are as in `minidl train` (default: all but l1 and batch_size)",
    )  # fmt: skip
    _add(
        command, "--trials", type=_integer(1), metavar="N",
        help=f"how many, with those that the storage has (default: {TRIALS}, or the grid)",
    )  # fmt: skip
    _choose(command, "--sampler", SAMPLERS, "tpe")
    _choose(command, "--pruner", PRUNERS, "median")
    _add(
        command, "--storage", metavar="FILE|URL",
        help=f"where the trials are kept, for others to join (default: {search.JOURNAL} in the folder of --out)",
    )  # fmt: skip
    _add(command, "--jobs", type=_integer(1), default=1, metavar="N", help="processes to start here")
    _add(
        command, "--epochs", type=_integer(1), metavar="N",
        help=f"of each trial (default: 12, or more for {STEPS} steps)",
    )  # fmt: skip
    _add_run(command)
    _add_output(command)


def _add_use(command: argparse.ArgumentParser, function: Callable[..., int], file: str) -> None:
    command.set_defaults(command=function)
    command.add_argument("model", metavar="MODEL", help="a model.npz that `minidl train` wrote")
    command.add_argument("file", metavar="FILE", help=file)
    _add(command, "--delimiter", metavar="CHARACTER", help="between the fields of a .csv (default: a comma)")
    _choose(command, "--backend", BACKENDS, "auto")


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=commands.inspect)
    _add_network(command)
    _add(command, "--model", metavar="FILE", help="a saved model or checkpoint, instead of a new network")
    _add(command, "--rows", type=_integer(1), default=500, metavar="N", help="number of training samples in the pass")
    _add_output(command)


def _add_preflight(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=commands.preflight)
    _add_network(command)
    _add(command, "--model", metavar="FILE", help="a saved model or checkpoint, instead of a new network")
    _add_output(command)


def _add_exercise(exercise: argparse.ArgumentParser) -> None:
    actions = exercise.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list the exercises").set_defaults(command=course.show)
    start = actions.add_parser("start", help="write a folder with a function to complete")
    notebook = actions.add_parser("notebook", help="write it as a notebook, for Jupyter and nbgrader")
    check = actions.add_parser("check", help="check the function in that folder")
    progress = actions.add_parser("progress", help="show which exercises are solved, tried and open")
    grade = actions.add_parser("grade", help="show the points of a class, a row for each student and exercise")
    tests = actions.add_parser("check-tests", help="show which wrong initializers the tests in a file find")
    tests.add_argument("file", metavar="FILE", help="a file with functions whose names begin with test")
    every = [*exercises.EXERCISES]
    for command, choices in ((start, every), (notebook, every), (check, [*every, course.ALL])):
        name = _name_from(choices)
        command.add_argument("name", type=name, metavar="NAME", help=f"one of {', '.join(choices)}")
    for command in (start, notebook, check, progress):
        _add(command, "--folder", default=".", metavar="FOLDER", help="parent of the folder of the exercise")
    grade.add_argument("folder", metavar="FOLDER", help="a folder with a folder for each student")
    timeout = {"type": _number(0.0, None), "default": TIMEOUT, "metavar": "SECONDS"}
    for command in (check, progress, grade, tests):
        _add(command, "--timeout", help="time limit of a check", **timeout)
    _add(check, "--json", action="store_true", help="print every clause and its points as JSON")
    _add(grade, "--exercise", type=_name_from(every), metavar="NAME", help="only this one, also without its folder")
    _add(grade, "--csv", action="store_true", help="print the rows as CSV, with what went wrong")
    memory = {"type": _integer(LEAST_MEMORY), "default": MEMORY, "metavar": "MIB"}
    _add(grade, "--memory", help="memory limit of a check, where the system has one", **memory)
    start.set_defaults(command=course.start)
    notebook.set_defaults(command=course.notebook)
    check.set_defaults(command=course.check)
    progress.set_defaults(command=course.progress)
    grade.set_defaults(command=course.grade)
    tests.set_defaults(command=course.check_tests)


def _add_tutorial(tutorial: argparse.ArgumentParser) -> None:
    actions = tutorial.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list the tutorials").set_defaults(command=tutorials.show)
    command = actions.add_parser("open", help="write a tutorial as a notebook, to be opened with Jupyter")
    command.set_defaults(command=tutorials.open_)
    help = "its number in the list, such as 01 or 03b"
    command.add_argument("number", type=_argument(tutorials.number), metavar="NUMBER", help=help)
    _add(command, "--folder", default=".", metavar="FOLDER", help="where to write it")
    _add(command, "--script", action="store_true", help="write the script instead")
    _add(command, "--overwrite", action="store_true", help="replace a file that is there")


def _add_data(command: argparse.ArgumentParser) -> None:
    _add(
        command, "--data", type=_data, default="digits", metavar="NAME|FILE",
        help=f"one of {', '.join(sources.DATA)}, a .csv table with a header, or an .npz with arrays x and y",
    )  # fmt: skip
    _add(command, "--target", metavar="COLUMN", help="what to predict from a .csv; of an .npz the array (default: y)")
    _add(command, "--features", nargs="+", metavar="COLUMN", help="what to predict it from (default: all others)")
    _add(
        command, "--task", type=_name_from(("classification", "regression")), metavar="NAME",
        help="classification or regression (default: by the target; text and whole numbers are classes)",
    )  # fmt: skip
    _add(command, "--delimiter", metavar="CHARACTER", help="between the fields of a .csv (default: a comma)")


def _add_network(command: argparse.ArgumentParser) -> None:
    """Add the options for the data and a new network."""
    _add_data(command)
    _add(
        command, "--layers", type=_integer(1), nargs="*", default=[512], metavar="WIDTH",
        help="widths of the hidden layers",
    )  # fmt: skip
    _choose(command, "--activation", ACTIVATIONS, "relu")
    _add(
        command, "--init", type=_initializer, default="auto", metavar="NAME",
        help=f"auto, to match the activation, or one of {', '.join(INITIALIZERS)}, with or without parameters: "
        f"'he_normal(slope=0.1)'",
    )  # fmt: skip
    yes_or_no = argparse.BooleanOptionalAction
    _add(command, "--batch-norm", action=yes_or_no, default=True, help="normalize before each activation")
    _add(command, "--dropout", type=_number(0.0, 1.0), default=0.5, metavar="RATE", help="probability to drop, 0 to 1")
    _add(command, "--l1", type=_number(0.0, math.inf), default=0.0, metavar="STRENGTH", help="L1 penalty on |w|")
    _add(command, "--l2", type=_number(0.0, math.inf), default=0.0, metavar="STRENGTH", help="L2 penalty on w²/2")
    _add_run(command)


def _add_run(command: argparse.ArgumentParser) -> None:
    _add(
        command, "--label-smoothing", type=_number(0.0, 1.0), default=0.0, metavar="SHARE",
        help="share of the target that is spread over all classes",
    )  # fmt: skip
    _choose(command, "--backend", BACKENDS, "auto")
    _choose(command, "--dtype", ["float32", "float64"], "float32")
    _add(
        command, "--seed", type=_integer(0), default=0, metavar="N",
        help="seed of the weights, dropout and the order of the samples",
    )  # fmt: skip


def _add_output(command: argparse.ArgumentParser) -> None:
    _add(command, "--out", metavar="FOLDER", help="where to write the results (default: the next free runs/DATA-N)")
    _add(command, "--overwrite", action="store_true", help="replace results that --out already has")


def _add(command: argparse.ArgumentParser, option: str, *, help: str, **options: Any) -> None:
    default = " (default: %(default)s)" if "default" in options else ""
    command.add_argument(option, help=help + default, **options)


def _choose(command: argparse.ArgumentParser, option: str, choices: Collection[str], default: str) -> None:
    help = f"one of {', '.join(choices)}"
    _add(command, option, type=_name_from(choices), default=default, metavar="NAME", help=help)


def _argument(check: Callable[[str], object]) -> Callable[[str], object]:
    """Turn a check that raises into a type that argparse reports with the option's name."""

    def convert(text: str) -> object:
        try:
            return check(text)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _name_from(choices: Collection[str]) -> Callable[[str], object]:
    return _argument(lambda text: checks.one_of("the option", text, choices))


def _integer(minimum: int, maximum: int | None = None) -> Callable[[str], object]:
    def check(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"the option got {text!r}; expected an integer of at least {minimum}") from None
        return checks.integer("the option", value, minimum, maximum)

    return _argument(check)


def _number(minimum: float, maximum: float | None) -> Callable[[str], object]:
    def check(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"the option got {text!r}; expected a number") from None
        if maximum is None:
            return checks.real("the option", value, above=minimum)
        return checks.real("the option", value, minimum, maximum)

    return _argument(check)


def _data_set(text: str) -> str:
    if text.lower().endswith(sources.SUFFIXES):
        return text
    if re.search(r"[./\\]", text):  # the name of a file
        raise ValueError(f"the option got {text!r}; expected a file whose name ends in {' or '.join(sources.SUFFIXES)}")
    return checks.one_of("the option", text, [*sources.DATA, *(f"FILE{suffix}" for suffix in sources.SUFFIXES)])


_data = _argument(_data_set)
_initializer = _argument(lambda text: text if text == "auto" else str(dl.initializers.get(text)))
