"""What the commands do. Each takes the options and returns an exit code."""

from __future__ import annotations

import argparse
import copy
import csv
import importlib.metadata
import json
import os
import platform
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

import minidl as dl
from minidl import backend as backends
from minidl.cli import sources
from minidl.cli.results import claimed_folder, refuse_to_replace
from minidl.cpu.engine.jit import is_compiled
from minidl.cpu.engine.thread_pool import thread_count
from minidl.data import Dataset
from minidl.data.dataset import check_same_names
from minidl.perceptron import OPTIMIZERS, Settings, outputs_for
from minidl.playground import serve
from minidl.utils import checks
from minidl.utils.code_cache import cache_path

OUTPUTS = ("curves.png", "history.jsonl", "model.npz")
INSPECTION, PREFLIGHT = "inspection.png", "preflight.png"
EXPORTS = {".onnx": dl.export.to_onnx, ".safetensors": dl.export.save_safetensors}
FAILED, WRONG, INTERRUPTED = 1, 2, 130


def train(options: argparse.Namespace) -> int:
    """Train the network that the options describe, print the result and write it to a folder."""
    team = _team(options)
    if team is not None and team.rank > 0:  # rank 0 prints and writes
        data = sources.parts(options)
        return INTERRUPTED if _fit(options, build_model(options, data.train), data, team).interrupted else 0
    name = sources.name_of(options.data)
    with claimed_folder(name, OUTPUTS, options.out, options.overwrite) as folder:
        data = sources.parts(options)
        model = build_model(options, data.train)
        print(f"writing to {folder}")
        print(f"{name}: {data}")
        print(model.summary(), flush=True)
        announce_compiling(options.backend)

        history = _fit(options, model, data, team)
        judged = _judge(model, data.test, data.columns)

        sources.save(model, data.columns, folder / "model.npz")
        history.save(folder / "history.jsonl")
        if len(history):
            history.plot(folder / "curves.png")
        print(f"test {judged}")
        print(f"wrote {', '.join(name for name in OUTPUTS if (folder / name).exists())} to {folder}")
    return INTERRUPTED if history.interrupted else 0


def _team(options: argparse.Namespace) -> dl.parallel.Team | None:
    """Return the ranks that share the training; None for a process that trains alone."""
    if options.parts is not None:
        return dl.parallel.over(parts=options.parts, sync_batch_norm=options.sync_batch_norm)
    if options.sync_batch_norm:
        raise ValueError("--sync-batch-norm got no parts to synchronize; expected --parts N beside it")
    if (ranks := dl.parallel.started_ranks()) > 1:
        raise ValueError(
            f"--parts got nothing, so each of {ranks} ranks would train a model of its own; expected --parts N, with N "
            f"at least {ranks}, for one model that they train together"
        )
    return None


def announce_compiling(backend: str) -> None:
    """Print why the first step takes long, if it compiles."""
    if backends.get(backend).name == "cpu" and not is_compiled():
        print("compiling for this processor, once (about 10 s)", flush=True)


def _fit(
    options: argparse.Namespace, model: dl.Sequential, data: sources.Parts, team: dl.parallel.Team | None
) -> dl.History:
    settings = settings_of(options).for_rows(len(data.train))
    return dl.fit(
        model,
        data.train,
        validation=data.validation,
        loss=sources.loss_of(options, data.train),
        optimizer=settings.new_optimizer(len(data.train)),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        checkpoint=options.checkpoint,
        resume=options.resume,
        team=team,
    )


def predict(options: argparse.Namespace) -> int:
    """Print what a model says about each row of a file, as CSV."""
    model, columns = sources.load(options.model, options.backend)
    outputs = model.predict(sources.new_inputs(options.file, columns, options.delimiter))
    table = csv.writer(sys.stdout, lineterminator="\n")
    if columns.classes is not None:
        table.writerow([columns.target, "probability"])
        for row in dl.softmax(outputs):
            table.writerow([columns.classes[row.argmax()], f"{row.max():.4f}"])
        return 0
    numbered = [f"{columns.target}_{k}" for k in range(outputs.shape[1])]
    table.writerow(numbered if len(numbered) > 1 else [columns.target])
    table.writerows([f"{value:.7g}" for value in row] for row in columns.values(outputs))
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print how good the predictions of a model are for a file that has the targets, too."""
    model, columns = sources.load(options.model, options.backend)
    data = sources.new_data(options.file, columns, options.delimiter)
    print(f"{len(data):,} rows")
    print(_judge(model, data, columns))
    if options.confusion:
        if columns.classes is None:
            raise ValueError(f"--confusion: the model predicts numbers, {columns.target}; expected one of classes")
        print(dl.confusion_matrix(data.y, model.predict(data.x), columns.classes))
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a model for other programs."""
    target = checks.file_path("--to", options.to)
    suffix = checks.one_of("the suffix of --to", target.suffix.lower(), EXPORTS)
    model, columns = sources.read(options.model, "numpy")
    if target.exists() and target.samefile(options.model):
        raise ValueError(f"--to got {options.to!r}, which is the file of the model; expected another")
    refuse_to_replace("--to", [target], options.overwrite)
    described = {} if columns is None else asdict(columns)
    inside = columns.standardization() if columns is not None and suffix == ".onnx" else {}
    if inside:
        described = {name: described[name] for name in ("target", "features", "classes")}
    with sources.errors_naming("--to"):
        EXPORTS[suffix](model, options.to, metadata={"data": json.dumps(described)} if described else None, **inside)
    print(f"wrote {options.to}")
    if inside:
        print("it takes float64 numbers as they are in the table, and standardizes them itself")
    elif columns is not None and columns.standardization():
        print('inputs, and outputs that are numbers, are standardized; "data" in its metadata has mean and scale')
    return 0


def inspect(options: argparse.Namespace) -> int:
    """Show one training pass of a network, layer by layer."""
    name = sources.name_of(options.data)
    with claimed_folder(name, [INSPECTION], options.out, options.overwrite) as folder:
        data = sources.parts(options).train
        batch = data[: options.rows]
        inspection = dl.inspect(_model(options, data), *batch, loss=sources.loss_of(options, data))
        print(f"{name}: the first {len(batch):,} training samples")
        print(inspection)
        _write_picture(inspection, folder / INSPECTION)
    return 0


def preflight(options: argparse.Namespace) -> int:
    """Check data and network before training."""
    with claimed_folder(sources.name_of(options.data), [PREFLIGHT], options.out, options.overwrite) as folder:
        data = sources.parts(options)
        loss = sources.loss_of(options, data.train)
        result = dl.preflight(_model(options, data.train), data.train, data.validation, loss=loss)
        print(result)
        _write_picture(result, folder / PREFLIGHT)
    return 0 if result.ok else FAILED


def _judge(model: dl.Sequential, data: Dataset, columns: sources.Columns) -> str:
    """Return how good the predictions are: accuracy and loss, or the error in the units of the targets."""
    if columns.classes is not None:
        result = dl.evaluate(model, data, loss=dl.SoftmaxCrossEntropy())
        return f"accuracy {result.accuracy:.2%}, loss {result.loss:.4f}"
    targets = columns.values(data.y)
    error, constant = (
        np.sqrt(np.square(targets - values).mean())
        for values in (columns.values(model.predict(data.x)), columns.target_mean)
    )
    return f"error {error:.4g} (root mean square, in units of {columns.target}; {constant:.4g} for a constant)"


def _model(options: argparse.Namespace, data: Dataset) -> dl.Sequential:
    """Load the network in the file of --model, or build the one that the other options describe."""
    if not options.model:
        return build_model(options, data)
    model, names = dl.load(options.model, options.backend), data.class_names
    if names and model.class_names and names == model.class_names[: len(names)]:
        model.class_names = None  # labels mean the same where only the last classes have no rows
    check_same_names("--data", data, model)
    return model


def _write_picture(drawable: Any, path: Path) -> None:
    drawable.plot(path)
    print(f"wrote {path.name} to {path.parent}")


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings among the options of a command."""
    return Settings(**{field.name: getattr(options, field.name) for field in fields(Settings) if field.name in options})


def build_model(options: argparse.Namespace, data: Dataset) -> dl.Sequential:
    """Build the network that the options describe."""
    return settings_of(options).model(data.x.shape[1], outputs_for(data))


def playground(options: argparse.Namespace) -> int:
    """Serve the playground until Ctrl-C."""
    if not is_compiled():
        print("compiling for this processor, once (about 10 s)", flush=True)
    serve(options.port, options.open)
    return 0


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


def warmup(options: argparse.Namespace) -> int:
    """Compile what `minidl train` may need on the CPU, so that nobody waits for it later."""
    if cache_path() is None:
        raise OSError("no folder can be written to keep compiled code in; set NUMBA_CACHE_DIR to one that can")
    print("compiling for this processor; this takes a minute or two", flush=True)
    start = time.perf_counter()
    images = dl.data.digits()[0][:256]
    numbers = Dataset(images.x, images.y[:, None].astype("float32"))
    activations = [kind() for kind in dl.ACTIVATION_LAYERS.values()]
    hidden = [layer for kind in activations for layer in (dl.Dense(512, 512), dl.BatchNorm(512), kind, dl.Dropout(0.5))]
    for dtype in ("float32", "float64"):
        for data, loss, optimizer in [
            *((images, dl.SoftmaxCrossEntropy(), kind(1e-3)) for kind in OPTIMIZERS.values()),
            (numbers, dl.MeanSquaredError(), dl.Adam(1e-3)),
        ]:
            layers = [dl.Dense(784, 512), *copy.deepcopy(hidden), dl.Dense(512, data.classes or 1)]
            model = dl.Sequential(*layers, backend="cpu", seed=0, dtype=dtype, penalty=dl.ElasticNet(1e-6, 1e-6))
            dl.fit(model, data, validation=data, loss=loss, optimizer=optimizer, epochs=1, progress=False)
    print(f"compiled in {time.perf_counter() - start:.0f} s; kept in {cache_path()}")
    return 0


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} not installed"
