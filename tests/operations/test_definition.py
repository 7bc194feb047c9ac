"""`minidl.operations`: every backend computes what is defined there, and a layer is few steps away from it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl import cli
from minidl.backend.capture import CaptureError
from minidl.operations import NAMES, Operations
from scripts.kernel_examples import WORKING_MEMORY, examples
from tests.conftest import each
from tests.operations.calls import eps

PACKAGE = Path(dl.__file__).parent


def widened(value):
    """A number or an array in float64, if it is floating-point; always a copy."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.astype(np.float64) if value.dtype.kind == "f" else value.copy()
    return value


@each("name", NAMES)
def test_every_backend_computes_what_is_defined(any_backend, dtype, name):
    """With the definition in float64. How far each result may be off, and what happens at extremes, other files say."""
    for example in examples(dtype, 7, 5):
        if example.operation == name:
            arguments = [
                any_backend.array(value, value.dtype) if isinstance(value, np.ndarray) else value
                for value in example.arguments.values()
            ]
            expected = [widened(value) for value in example.arguments.values()]
            getattr(any_backend.operations, name)(*arguments)
            getattr(Operations(), name)(*expected)
            for argument, got, wanted in zip(example.arguments, arguments, expected, strict=True):
                if isinstance(wanted, np.ndarray) and argument not in WORKING_MEMORY:
                    error = 100 * eps(dtype) * (1 + np.abs(wanted).max())
                    np.testing.assert_allclose(any_backend.to_numpy(got), wanted, 0, error, err_msg=str(example))


def test_where_a_number_overflows_no_backend_warns(any_backend):
    data = dl.data.Dataset(np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32), np.arange(32) % 3)
    model = dl.Sequential(dl.Dense(4, 3), dl.BatchNorm(3), dl.PReLU(3), backend=any_backend.name)
    with pytest.raises(dl.DivergenceError):
        dl.fit(
            model, data, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Momentum(3e38), clip=dl.ClipNorm(1e38), epochs=9,
            batch_size=16, progress=False,
        )  # fmt: skip


# From a layer to the definition ---------------------------------------------------------------------------------------


def calls_of(function):
    """(file, function) of each Python call inside minidl that `function()` makes."""
    found = []

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            found.append((path.relative_to(PACKAGE).as_posix(), frame.f_code.co_name))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return found


def test_dense_is_few_files_away_from_its_definition():
    layer, x = dl.Dense(5, 3).build("numpy"), np.ones((2, 5), np.float32)
    layer.forward(x)  # the first call makes the buffers
    calls = calls_of(lambda: layer.forward(x))
    assert calls[0] == ("layers/dense.py", "forward") and ("operations.py", "dense_forward") in calls
    assert {file for file, _ in calls} <= {
        "layers/dense.py", "layers/base.py", "backend/__init__.py", "backend/buffers.py", "operations.py"
    }  # fmt: skip
    assert len(calls) <= 7


# The backend "numpy" --------------------------------------------------------------------------------------------------


def model_of(backend="numpy"):
    return dl.Sequential(dl.Dense(6, 5), dl.ReLU(), dl.Dropout(0.2), dl.Dense(5, 3), seed=3, backend=backend)


def train(model, rng, **options):
    data = dl.data.Dataset(rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 3, 40))
    return dl.fit(model, data, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(0.01), progress=False, **options)


def test_a_model_trains_saves_and_loads(tmp_path, rng):
    model = model_of()
    history = train(model, rng, epochs=3, batch_size=8)
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "model.npz")
    x = rng.normal(size=(4, 6)).astype(np.float32)
    for backend in ("numpy", "cpu"):
        loaded = dl.load(tmp_path / "model.npz", backend=backend)
        np.testing.assert_allclose(loaded.predict(x), model.predict(x), rtol=1e-5, atol=1e-6)


def test_recording_is_refused_with_a_word(rng):
    backend = dl.backend.get("numpy")
    with pytest.raises(CaptureError, match="^the backend 'numpy' runs every step as it is written"):
        backend.capture(lambda: None)
    with pytest.raises(ValueError, match="^graph got True; expected 'auto' or False on <backend numpy>"):
        train(model_of(), rng, epochs=3, graph=True)
    train(model_of(), rng, epochs=3, graph="auto")


def test_doctor_lists_it(capsys):
    assert cli.main(["doctor"]) == 0
    assert "numpy" in capsys.readouterr().out


def test_auto_never_chooses_it():
    assert dl.backend.get("auto").name in ("cpu", "cuda")
