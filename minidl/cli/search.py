"""What `minidl sweep` does: a search for hyperparameters, in one process or several."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from typing import Any

import minidl as dl
from minidl.cli import sources
from minidl.cli.commands import FAILED, INTERRUPTED, announce_compiling
from minidl.cli.results import claimed_folder
from minidl.sweeps.result import quoted
from minidl.sweeps.space import HYPERPARAMETERS
from minidl.utils import checks
from minidl.utils.reprs import without_password

OUTPUTS = ("sweep.png", "trials.jsonl")
JOURNAL = "sweep.journal"
WORDS = {"yes": True, "true": True, "no": False, "false": False}


def run(options: argparse.Namespace) -> int:
    """Search, print what was found and write it to a folder."""
    name = sources.name_of(options.data)
    with claimed_folder(name, OUTPUTS, options.out, options.overwrite) as folder:
        data = sources.parts(options)
        sources.loss_of(options, data.train)  # which says whether the options fit the targets
        storage = options.storage or folder / JOURNAL
        print(f"writing to {folder}")
        print(f"{name}: {data}")
        shown = quoted(without_password(str(storage)))
        print(f"to join, or to go on later: the same command with --storage {shown}", flush=True)
        announce_compiling(options.backend)

        result = dl.sweep(
            data.train,
            data.validation,
            space=_space(options.space) if options.space else None,
            trials=options.trials,
            sampler=options.sampler,
            pruner=options.pruner,
            storage=storage,
            jobs=options.jobs,
            epochs=options.epochs,
            label_smoothing=options.label_smoothing,
            backend=options.backend,
            dtype=options.dtype,
            seed=options.seed,
        )
        result = replace(result, data=_data_options(options))

        result.save(folder / "trials.jsonl")
        if result.trials:
            result.plot(folder / "sweep.png")
        print(result)
        print(f"wrote {', '.join(name for name in OUTPUTS if (folder / name).exists())} to {folder}")
    return INTERRUPTED if result.interrupted else 0 if result.best else FAILED


def _data_options(options: argparse.Namespace) -> str:
    """Return the options that name the data, as text."""
    words: list[str] = []
    for option in ("data", "target", "features", "task", "delimiter"):
        if (value := getattr(options, option)) is not None:
            words += [f"--{option}", *map(quoted, value if isinstance(value, list) else [value])]
    return " ".join(words)


def _space(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in entries]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--space got {name!r} twice; expected each name once")
    return dict(entries)


def entry(text: str) -> tuple[str, Any]:
    """Return a name and values for the space: NAME=LOW:HIGH, NAME=A,B,C or NAME=VALUE."""
    name, equals, values = text.partition("=")
    name = checks.one_of("the option", name.replace("-", "_"), HYPERPARAMETERS)
    if not (equals and values):
        raise ValueError(f"the option got {text!r}; expected {name}=LOW:HIGH, {name}=A,B,C or {name}=VALUE")
    if ":" in values:
        return name, tuple(map(_value, values.split(":")))
    listed = [_value(each) for each in re.split(r",(?![^(]*\))", values)]
    return name, listed if len(listed) > 1 else listed[0]


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return WORDS.get(text.lower(), text)
