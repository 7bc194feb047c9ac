"""The command line.

    minidl train       train a network and write curves.png, history.jsonl and model.npz
    minidl inspect     show one training pass layer by layer, as a table and inspection.png
    minidl preflight   check data and network before training; writes preflight.png
    minidl exercise    list, start and check the exercises of a course
    minidl doctor      show which backends work on this machine, and how to get the others

Exit codes: 0 done, 1 the loss diverged, a check failed or an exercise is not solved, 2 wrong arguments or missing
files, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import math
import os
import platform
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import minidl as dl
from minidl import exercises
from minidl.cpu.engine.jit import cache_path
from minidl.cpu.engine.thread_pool import thread_count
from minidl.data import Dataset
from minidl.initializers import INITIALIZERS
from minidl.scalar.activations import ACTIVATIONS
from minidl.utils import checks
from minidl.utils.files import naming
from minidl.utils.output import Output

DATA: dict[str, Callable[[int], tuple[Dataset, Dataset]]] = {
    "digits": lambda seed: dl.data.digits(),
    "mnist": lambda seed: dl.data.mnist(),
    "fashion_mnist": lambda seed: dl.data.fashion_mnist(),
    "gaussians": lambda seed: (dl.data.gaussians(1000, seed=seed), dl.data.gaussians(1000, seed=seed + 1)),
    "circles": lambda seed: (dl.data.circles(1000, seed=seed), dl.data.circles(1000, seed=seed + 1)),
    "xor": lambda seed: (dl.data.xor(1000, seed=seed), dl.data.xor(1000, seed=seed + 1)),
    "spiral": lambda seed: (dl.data.spiral(1000, seed=seed), dl.data.spiral(1000, seed=seed + 1)),
}
OPTIMIZERS: dict[str, type[dl.Optimizer]] = {
    "sgd": dl.SGD,
    "momentum": dl.Momentum,
    "nesterov": dl.Nesterov,
    "rmsprop": dl.RMSProp,
    "adam": dl.Adam,
    "adamw": dl.AdamW,
}
OUTPUTS = ("curves.png", "history.jsonl", "model.npz")
INSPECTION, PREFLIGHT = "inspection.png", "preflight.png"
FAILED = DIVERGED = UNSOLVED = 1
WRONG, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: Command-line arguments; None for those of the process.
    """
    with contextlib.redirect_stdout(Output(sys.stdout)), contextlib.redirect_stderr(Output(sys.stderr)):
        try:
            try:
                options = _parser().parse_args(arguments)
                return options.command(options)
            finally:
                sys.stdout.flush()  # here, where it is told if the report cannot be written
        except dl.DivergenceError as error:
            print(f"minidl: {error}", file=sys.stderr)
            return DIVERGED
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            print(f"minidl: error: {error}", file=sys.stderr)
            return WRONG
        except KeyboardInterrupt:
            print("minidl: interrupted", file=sys.stderr)
            return INTERRUPTED


def train(options: argparse.Namespace) -> int:
    """Train the network that the options describe, print the result and write it to a folder."""
    folder = _output_folder(options, OUTPUTS)
    train_data, test_data = DATA[options.data](options.seed)
    model = build_model(options, train_data)
    loss = dl.SoftmaxCrossEntropy(options.label_smoothing)
    optimizer = OPTIMIZERS[options.optimizer](options.learning_rate)
    print(f"{options.data}: {len(train_data):,} training and {len(test_data):,} test samples")
    print(model.summary(), flush=True)

    history = dl.fit(
        model,
        train_data,
        validation=test_data,
        loss=loss,
        optimizer=optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        checkpoint=options.checkpoint,
        resume=options.resume,
    )
    result = dl.evaluate(model, test_data, loss=loss)

    _make(folder)
    model.save(folder / "model.npz")
    history.save(folder / "history.jsonl")
    if len(history):
        history.plot(folder / "curves.png")
    print(f"test accuracy {result.accuracy:.2%}, test loss {result.loss:.4f}")
    print(f"wrote {', '.join(name for name in OUTPUTS if (folder / name).exists())} to {folder}")
    return INTERRUPTED if history.interrupted else 0


def inspect(options: argparse.Namespace) -> int:
    """Show one training pass of a network, layer by layer."""
    folder = _output_folder(options, (INSPECTION,))
    train_data, _ = DATA[options.data](options.seed)
    batch = train_data[: options.rows]
    inspection = dl.inspect(_model(options, train_data), *batch, loss=dl.SoftmaxCrossEntropy(options.label_smoothing))
    print(f"{options.data}: the first {len(batch):,} training samples")
    print(inspection)
    _write_picture(inspection, folder, INSPECTION)
    return 0


def preflight(options: argparse.Namespace) -> int:
    """Check data and network before training."""
    folder = _output_folder(options, (PREFLIGHT,))
    train_data, test_data = DATA[options.data](options.seed)
    loss = dl.SoftmaxCrossEntropy(options.label_smoothing)
    result = dl.preflight(_model(options, train_data), train_data, test_data, loss=loss)
    print(result)
    _write_picture(result, folder, PREFLIGHT)
    return 0 if result.ok else FAILED


def _model(options: argparse.Namespace, data: Dataset) -> dl.Sequential:
    """Load the network in the file of --model, or build the one that the other options describe."""
    return dl.load(options.model, options.backend) if options.model else build_model(options, data)


def _write_picture(drawable: Any, folder: Path, name: str) -> None:
    _make(folder)
    drawable.plot(folder / name)
    print(f"wrote {name} to {folder}")


def build_model(options: argparse.Namespace, data: Dataset) -> dl.Sequential:
    """Build the network that the options describe: dense, batch norm, activation, dropout for each hidden layer."""
    activation = dl.ACTIVATION_LAYERS[ACTIVATIONS[options.activation].layer]
    layers: list[dl.Layer] = []
    features = data.x.shape[1]
    for width in options.layers:
        # Batch norm subtracts the mean, and with it any bias of the layer before.
        layers.append(dl.Dense(features, width, init=options.init, bias=not options.batch_norm))
        if options.batch_norm:
            layers.append(dl.BatchNorm(width))
        layers.append(activation())
        if options.dropout:
            layers.append(dl.Dropout(options.dropout))
        features = width
    layers.append(dl.Dense(features, data.classes or 1, init=options.init))
    penalty = dl.ElasticNet(options.l1, options.l2) if options.l1 or options.l2 else None
    return dl.Sequential(
        *layers, backend=options.backend, seed=options.seed, dtype=options.dtype, penalty=penalty
    )  # fmt: skip


def _output_folder(options: argparse.Namespace, outputs: Sequence[str]) -> Path:
    """Return the folder to write to, which can be made. Earlier results are overwritten only with --overwrite."""
    if options.out is None:
        number = 1
        while Path("runs", f"{options.data}-{number}").exists():
            number += 1
        folder = Path("runs", f"{options.data}-{number}")
    else:
        folder = checks.path("--out", options.out)
    with naming("--out", folder, "a folder that can be written"):
        there = [name for name in outputs if (folder / name).exists()]
    if there and not options.overwrite:
        raise ValueError(f"--out got {folder}, which already has {', '.join(there)}; add --overwrite to replace them")
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise ValueError(f"--out got {folder}; expected a folder, but {existing} is a file")
    if not os.access(existing, os.W_OK):
        raise ValueError(f"--out got {folder}; expected a folder that can be written, but {existing} is read-only")
    return folder


def _make(folder: Path) -> None:
    with naming("--out", folder, "a folder that can be made"):
        folder.mkdir(parents=True, exist_ok=True)


def doctor(options: argparse.Namespace) -> int:
    """Show which backends work on this machine, and how to get the others."""
    print(f"minidl {dl.__version__} on Python {platform.python_version()}, {platform.platform()}")
    print(f"  CPU cores   {os.cpu_count()}, threads for long loops {thread_count()} (MINIDL_NUM_THREADS)")
    print(f"  packages    {', '.join(map(_version, ('numpy', 'numba', 'scipy', 'matplotlib', 'numba-cuda')))}")
    print(f"  cache       {cache_path() or 'none: no folder can be written, so every run compiles again'}")
    print("backends")
    for name, reason in dl.backend.available().items():
        print(f"  {name:<10}  {'ready' if reason is None else f'not here: {reason}'}")
    print(f"  auto        means {dl.backend.get('auto').name}")
    return 0


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} not installed"


def list_exercises(options: argparse.Namespace) -> int:
    """List the exercises."""
    for exercise in exercises.EXERCISES.values():
        print(f"{exercise.name:<22}  {exercise.title}")
    return 0


def start_exercise(options: argparse.Namespace) -> int:
    """Write the folder of an exercise."""
    print(f"wrote {exercises.start(options.name, options.folder)}; begin with the README.md in it")
    return 0


def check_exercise(options: argparse.Namespace) -> int:
    """Check the solution in the folder of an exercise."""
    return 0 if exercises.check(options.name, options.folder, options.timeout) else UNSOLVED


# Arguments -----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minidl",
        description="Train deep networks and see what happens inside.",
        epilog="Exit codes: 0 done, 1 the loss diverged, a check failed or an exercise is not solved, 2 wrong "
        "arguments or missing files, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"minidl {dl.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_train(commands.add_parser("train", help="train a network and write curves.png, history.jsonl and model.npz"))
    command = commands.add_parser("inspect", help="show one training pass layer by layer, write inspection.png")
    _add_inspect(command)
    command = commands.add_parser("preflight", help="check data and network before training, write preflight.png")
    _add_preflight(command)
    _add_exercise(commands.add_parser("exercise", help="list, start and check the exercises of a course"))
    command = commands.add_parser("doctor", help="show which backends work here, and how to get the others")
    command.set_defaults(command=doctor)
    return parser


def _add_train(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=train)
    _add_network(command)
    _choose(command, "--optimizer", OPTIMIZERS, "adam")
    _add(command, "--learning-rate", type=_number(0.0, None), default=1e-3, metavar="RATE", help="greater than 0")
    _add(command, "--epochs", type=_integer(1), default=12, metavar="N", help="passes over the training data")
    _add(command, "--batch-size", type=_integer(1), default=128, metavar="ROWS", help="samples for each step")
    _add(command, "--checkpoint", metavar="FILE", help="after each epoch, write a checkpoint for --resume")
    _add(command, "--resume", metavar="FILE", help="continue from a checkpoint, with the same options, up to --epochs")
    _add_output(command)


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=inspect)
    _add_network(command)
    _add(command, "--model", metavar="FILE", help="a saved model or checkpoint, instead of a new network")
    _add(command, "--rows", type=_integer(1), default=500, metavar="N", help="number of training samples in the pass")
    _add_output(command)


def _add_preflight(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=preflight)
    _add_network(command)
    _add(command, "--model", metavar="FILE", help="a saved model or checkpoint, instead of a new network")
    _add_output(command)


def _add_exercise(exercise: argparse.ArgumentParser) -> None:
    actions = exercise.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list the exercises").set_defaults(command=list_exercises)
    for action, function, does in (
        ("start", start_exercise, "write a folder with a function to complete"),
        ("check", check_exercise, "check the function in that folder"),
    ):
        command = actions.add_parser(action, help=does)
        command.set_defaults(command=function)
        name = _name_from(exercises.EXERCISES)
        command.add_argument("name", type=name, metavar="NAME", help=f"one of {', '.join(exercises.EXERCISES)}")
        _add(command, "--folder", default=".", metavar="FOLDER", help="parent of the folder of the exercise")
    timeout = {"type": _number(0.0, None), "default": 60.0, "metavar": "SECONDS"}
    _add(command, "--timeout", help="time limit of the check", **timeout)


def _add_network(command: argparse.ArgumentParser) -> None:
    """Add the options for the data and a new network."""
    _choose(command, "--data", DATA, "digits")
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
    _add(
        command, "--label-smoothing", type=_number(0.0, 1.0), default=0.0, metavar="SHARE",
        help="share of the target that is spread over all classes",
    )  # fmt: skip
    _choose(command, "--backend", ["auto", "numpy", "cpu", "cuda", "emulator"], "auto")
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


def _integer(minimum: int) -> Callable[[str], object]:
    def check(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"the option got {text!r}; expected an integer of at least {minimum}") from None
        return checks.integer("the option", value, minimum)

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


_initializer = _argument(lambda text: text if text == "auto" else str(dl.initializers.get(text)))


if __name__ == "__main__":
    sys.exit(main())
