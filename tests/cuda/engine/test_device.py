"""minidl/cuda/engine/device.py and the backend cuda without a GPU.

Two stand-ins take the place of the hardware. Numba's CUDA simulator, in a process of its own, runs whole training steps
through the backend: arrays, views, copies and launches are Numba's, only the memory is the host's. What it cannot run,
warp shuffles and 128-bit loads, is done otherwise. Recorders in place of `numba.cuda` show what is launched, and what
`why_not` says in each situation.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import subprocess
import sys
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from minidl import backend as backends
from minidl.cuda.engine import device
from minidl.cuda.engine.launches import Launch, note_launches

ROOT = Path(__file__).resolve().parents[3]

TRAINING = """
import json
import numpy as np
import minidl as dl
from benchmarks import emulator_speed

users = dl.backend.get("auto").name, dl.backend.available()["cuda"]


def product(launch, rung, a, b, c):  # threads beside the result only take time
    launch(dl.cuda.ladder.RUNGS[rung].kernel, (1, 1), c.shape[::-1], a, b, c)


emulator_speed.product = product
cuda = emulator_speed.use_simulator()
assert dl.backend.get("auto") is cuda


def train(backend):
    # No bias before the batch norm: its gradient is zero but for rounding, which Adam would make as large as any.
    layers = dl.Dense(6, 5, bias=False), dl.BatchNorm(5), dl.ReLU(), dl.Dropout(0.3), dl.Dense(5, 3)
    model = dl.Sequential(*layers, backend=backend, seed=3)
    loss, optimizer = dl.SoftmaxCrossEntropy(), dl.Adam(0.01)
    loss.use(model.backend)
    rng = np.random.default_rng(5)
    losses = []
    for rows in (7, 4):  # the shorter batch uses views of the buffers of the longer one
        x, labels = rng.normal(size=(rows, 6)).astype("float32"), rng.integers(0, 3, rows)
        losses.append(loss.forward(model.forward(x, training=True), labels))
        model.backward(loss.backward())
        optimizer.learning_rate *= 0.5  # a copy into an array of one element
        optimizer.step(model.parameters())
    arrays = {name: model.backend.to_numpy(array) for name, array in model.arrays()}
    arrays |= {f"{p.name} gradient": model.backend.to_numpy(p.gradient) for p in model.parameters()}
    arrays |= {"losses": np.array(losses), "predictions": model.predict(x)}
    return model, arrays


model, on_cuda = train("cuda")
assert cuda.owns(model.layers[0].weight.value) and not isinstance(model.layers[0].weight.value, np.ndarray)
assert not cuda.owns(np.zeros(3))
_, in_numpy = train("numpy")  # what the operations are defined by, and nothing to compile
assert on_cuda.keys() == in_numpy.keys()
differences = {name: float(np.abs(on_cuda[name] - in_numpy[name]).max()) for name in in_numpy}
print(json.dumps({"users": users, "differences": differences}))
"""


def run_python(program, *options, **variables):
    """Run a program in a new interpreter; returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def in_the_simulator():
    # The simulator's numbers are NumPy's, which warn where unsigned words wrap around.
    return json.loads(run_python(TRAINING, "-W", "ignore", NUMBA_ENABLE_CUDASIM="1"))


def test_training_steps_in_the_simulator_agree_with_numpy(in_the_simulator):
    differences = in_the_simulator["differences"]
    assert {"0.weight", "1.running_mean", "3.step", "4.Dense.bias gradient", "losses", "predictions"} <= set(
        differences
    )
    assert not {name: error for name, error in differences.items() if not error <= 2e-6}


def test_the_simulator_is_no_device_for_users(in_the_simulator):
    name, reason = in_the_simulator["users"]
    assert name == "cpu"
    if importlib.util.find_spec("numba_cuda"):
        assert "NUMBA_ENABLE_CUDASIM is set" in reason and "emulator" in reason


CLEAN = """
import numpy as np
import minidl as dl

for backend in ("cpu", "emulator"):
    model = dl.Sequential(dl.Dense(4, 3), dl.BatchNorm(3), dl.Tanh(), dl.Dropout(0.5), backend=backend, seed=0)
    loss, optimizer = dl.SoftmaxCrossEntropy(), dl.SGD(0.1)
    loss.forward(model.forward(np.ones((2, 4), "float32"), training=True), np.array([0, 1]))
    model.backward(loss.backward())
    optimizer.step(model.parameters())
print(dl.backend.available()["cuda"])
"""


def test_import_and_training_give_no_warning():
    printed = run_python(CLEAN, "-W", "error")
    if sys.platform != "darwin" and importlib.util.find_spec("numba_cuda") is None:
        assert "pip install 'minidl[cuda13]'" in printed


# What why_not says ----------------------------------------------------------------------------------------------------

INSTALLED = SimpleNamespace(find_spec=lambda name: object())
MISSING = SimpleNamespace(find_spec=lambda name: None)


def reason(monkeypatch, cuda, platform="linux", util=INSTALLED, simulator=0, version=(0, 30), tf32="off"):
    """What `why_not` says where `numba.cuda` is `cuda`."""
    monkeypatch.setattr(device, "cuda", cuda)
    monkeypatch.setattr(device, "config", SimpleNamespace(ENABLE_CUDASIM=simulator))
    monkeypatch.setattr(device, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(device, "importlib", SimpleNamespace(util=util))
    monkeypatch.setattr(device, "_numba_cuda_version", lambda: version)
    monkeypatch.setattr(device, "_lowest_capability", lambda: (7, 5))
    monkeypatch.setenv("MINIDL_TF32", tf32)
    return device.why_not.__wrapped__()


def present(*capability):
    gpu = SimpleNamespace(compute_capability=capability or (9, 0))
    return SimpleNamespace(is_available=lambda: True, get_current_device=lambda: gpu)


def absent(error):
    return SimpleNamespace(is_available=lambda: False, cuda_error=lambda: error)


def test_nothing_is_wrong_where_there_is_a_gpu(monkeypatch):
    assert reason(monkeypatch, present()) is None
    assert reason(monkeypatch, present(7, 5)) is None
    assert reason(monkeypatch, present(8, 0), tf32="3xtf32") is None
    assert reason(monkeypatch, present(), version=(1, 0)) is None


def test_a_version_is_read_from_the_package(monkeypatch):
    monkeypatch.setattr(device.metadata, "version", {"numba-cuda": "0.28.2"}.__getitem__)
    assert device._numba_cuda_version() == (0, 28)


@pytest.mark.parametrize(("arguments", "expected"), [
    ({"cuda": present(), "platform": "darwin"}, "CUDA does not exist on macOS"),
    ({"cuda": present(), "util": MISSING}, "pip install 'minidl[cuda13]'"),
    ({"cuda": present(), "simulator": 1}, "NUMBA_ENABLE_CUDASIM is set"),
    ({"cuda": absent("\nno libcuda\nfound ")}, "(no libcuda found); nvidia-smi should list a GPU"),
    ({"cuda": present(), "version": (0, 28)}, "numba-cuda 0.28 captures no CUDA graphs; for 0.29 or newer run pip"),
    ({"cuda": present(7, 0)}, "the GPU has compute capability 7.0, and the installed CUDA toolkit compiles for 7.5"),
    ({"cuda": present(7, 5), "tf32": "tf32"}, "capability 7.5, and the instructions of MINIDL_TF32 need 8.0; unset"),
    ({"cuda": absent(None)}, "no NVIDIA GPU and driver were found; nvidia-smi"),
    ({"cuda": SimpleNamespace(is_available=lambda: False)}, "no NVIDIA GPU and driver were found; nvidia-smi"),
    ({"cuda": SimpleNamespace(is_available=lambda: 1 / 0)}, "(division by zero); nvidia-smi"),
])  # fmt: skip
def test_every_other_case_has_a_reason_in_one_sentence(monkeypatch, arguments, expected):
    found = reason(monkeypatch, **arguments)
    assert expected in found
    assert "\n" not in found


def test_a_backend_that_cannot_be_used_says_why(monkeypatch):
    monkeypatch.setattr(device, "why_not", lambda: "the reason")
    assert backends.available() == {"numpy": None, "cpu": None, "emulator": None, "cuda": "the reason"}
    assert backends.get("auto").name == "cpu"
    with pytest.raises(RuntimeError, match="backend got 'cuda', which cannot be used here: the reason"):
        backends.get("cuda")


# What is launched -----------------------------------------------------------------------------------------------------


class RecordingKernel:
    """Notes how it is configured and called. Like Numba, it warns of small grids, with a warning class of its own."""

    py_func = staticmethod(lambda: None)  # in a file that no digest knows, so nothing of it is kept

    def __init__(self):
        self.configured, self.calls = [], []

    def __getitem__(self, grid_and_block):
        warnings.warn("Grid size 1 will likely result in GPU under-utilization due to low occupancy.", stacklevel=2)
        self.configured.append(grid_and_block)
        return lambda *arguments: self.calls.append((*grid_and_block, *arguments))


def test_a_launch_is_configured_once_for_each_grid_and_does_not_warn():
    kernel, other = RecordingKernel(), RecordingKernel()
    for _ in range(2):
        device.launch(kernel, (1,), (256,), "x", 1)
        device.launch(kernel, (2, 3), (16, 16), "y")
        device.launch(other, (1,), (256,))
    assert kernel.configured == [((1,), (256,)), ((2, 3), (16, 16))]
    assert kernel.calls == [((1,), (256,), "x", 1), ((2, 3), (16, 16), "y")] * 2
    assert other.configured == [((1,), (256,))]


class FakeCore(ModuleType):
    """`cuda.core`, whose graphs are lists of what was launched while they were built."""

    def __init__(self):
        super().__init__("cuda.core")
        self.launched = []

    class Stream:
        from_handle = staticmethod(lambda handle: ("stream", handle))

    def Device(self):
        def end():
            self.launched.append("end")

        graph = SimpleNamespace(launch=lambda stream: self.launched.append(("graph", stream)))
        builder = SimpleNamespace(end_building=end, complete=lambda: graph)
        builder.begin_building = lambda: self.launched.append("begin") or builder
        self.builder = builder
        return SimpleNamespace(set_current=lambda: None, create_graph_builder=lambda: builder)


def test_launches_are_made_before_they_are_captured_and_the_graph_keeps_their_arrays(monkeypatch):
    core, kernel = FakeCore(), RecordingKernel()
    monkeypatch.setitem(sys.modules, "cuda.core", core)
    in_context = partial(core.launched.append, "context")
    numba = SimpleNamespace(defer_cleanup=contextlib.nullcontext, current_context=in_context)
    monkeypatch.setattr(device, "cuda", numba)
    array = np.ones(3)
    replay = device.capture([Launch(kernel, (1,), (256,), (array, 1)), Launch(kernel, (2,), (256,), ("y",))])
    plain = [((1,), (256,), array, 1), ((2,), (256,), "y")]
    assert kernel.calls == [*plain, *((*call[:2], core.builder, *call[2:]) for call in plain)]  # and no warning
    assert core.launched == ["begin", "end"]
    replay()
    replay()
    assert core.launched[2:] == ["context", ("graph", ("stream", 0))] * 2
    reference = weakref.ref(array)
    del array, plain
    kernel.calls.clear()
    gc.collect()
    assert reference() is not None
    del replay
    gc.collect()
    assert reference() is None


def test_a_capture_that_fails_ends(monkeypatch):
    class Fails(RecordingKernel):
        def __getitem__(self, configuration):
            if len(configuration) == 3:
                raise RuntimeError("no")
            return super().__getitem__(configuration)

    core = FakeCore()
    monkeypatch.setitem(sys.modules, "cuda.core", core)
    monkeypatch.setattr(device, "cuda", SimpleNamespace(defer_cleanup=contextlib.nullcontext))
    with pytest.raises(RuntimeError, match="no"):
        device.capture([Launch(Fails(), (1,), (256,), ())])
    assert core.launched == ["begin", "end"]


def test_other_warnings_of_a_launch_come_through():
    class Warns(RecordingKernel):
        def __getitem__(self, grid_and_block):
            warnings.warn("something else", stacklevel=2)

    with pytest.warns(UserWarning, match="something else"):
        device._configured(Warns(), (1,), (1,))


def test_numba_warns_of_small_grids_in_the_words_that_are_looked_for():
    """If Numba ever words it otherwise, every launch on a GPU would warn."""
    spec = importlib.util.find_spec("numba_cuda")
    if spec is None:
        pytest.skip("numba-cuda is not installed")
    sources = Path(spec.origin).parent / "numba" / "cuda" / "dispatcher.py"
    assert 'f"Grid size {grid_size} will likely' in sources.read_text(encoding="utf-8")


class RecordingCuda:
    """Device arrays that are lists of what happened."""

    class Array:
        __cuda_ndarray__ = True

        def __init__(self, log):
            self.log = log

        def copy_to_device(self, values):
            self.log.append(("to device", values.tolist()))

        def copy_to_host(self):
            self.log.append("to host")
            return np.zeros(2)

    def __init__(self):
        self.log = []

    def device_array(self, shape, dtype):
        self.log.append(("new", shape, dtype))
        return self.Array(self.log)

    def to_device(self, array):
        assert array.flags.c_contiguous
        self.log.append(("upload", array.tolist(), array.dtype))
        return self.Array(self.log)

    def get_current_device(self):
        return SimpleNamespace(name=b"A GPU")


def test_arrays_are_made_and_copied_by_numba(monkeypatch):
    cuda = RecordingCuda()
    monkeypatch.setattr(device, "cuda", cuda)
    backend = backends.CUDA()
    backend.empty((2, 3), np.float32)
    backend.array([[1, 2], [3, 4]], np.float64)
    backend.zeros((2,), np.uint32)
    backend.wrap(np.arange(6.0)[::2])
    array = backend.array([0.0], np.float32)
    target = SimpleNamespace(dtype=np.float32, shape=(1, 1), copy_to_device=array.copy_to_device)
    backend.copy_into(target, np.array([7]))
    backend.to_numpy(array)
    assert cuda.log == [
        ("new", (2, 3), np.float32),
        ("upload", [[1, 2], [3, 4]], np.float64),
        ("upload", [0, 0], np.uint32),
        ("upload", [0, 2, 4], np.float64),
        ("upload", [0], np.float32),
        ("to device", [[7]]),
        "to host",
    ]
    assert backend.owns(array) and not backend.owns(np.zeros(1)) and not backend.owns([1])
    assert device.name() == "A GPU"


def test_scratch_is_the_same_memory_for_every_call_of_a_thread(monkeypatch):
    cuda = RecordingCuda()
    monkeypatch.setattr(device, "cuda", cuda)
    monkeypatch.setattr(device, "_of_thread", threading.local())
    matrix = SimpleNamespace(__cuda_ndarray__=True, shape=(300, 7), dtype=np.dtype("float32"))
    wide = SimpleNamespace(__cuda_ndarray__=True, shape=(300, 7), dtype=np.dtype("float64"))
    first = device.scratch(matrix, 3, 0)
    others = [device.scratch(matrix, 3, 1), device.scratch(matrix, 2, 0), device.scratch(wide, 3, 0)]
    with ThreadPoolExecutor(1) as pool:
        others.append(pool.submit(device.scratch, matrix, 3, 0).result())
    assert device.scratch(matrix, 3, 0) is first
    assert len({id(array) for array in [first, *others]}) == 5 == len(cuda.log)
    assert cuda.log[0] == ("new", (3, 7), np.float32)
    with note_launches():
        own = [device.scratch(matrix, 3, 0) for _ in range(2)]
    assert len({id(array) for array in [first, *others, *own]}) == 7  # each launch that is noted has its own
    assert device.scratch(matrix, 3, 0) is first


def test_scratch_ends_with_its_thread(monkeypatch):
    monkeypatch.setattr(device, "empty", lambda shape, dtype: np.empty(shape, dtype))
    monkeypatch.setattr(device, "_of_thread", threading.local())
    matrix = SimpleNamespace(__cuda_ndarray__=True, shape=(300, 7), dtype=np.dtype("float32"))
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(lambda: weakref.ref(device.scratch(matrix, 3, 0))).result()
        assert made() is pool.submit(device.scratch, matrix, 3, 0).result()
    gc.collect()
    assert made() is None


def test_scratch_on_the_host_is_a_new_array():
    matrix = np.zeros((300, 7), np.float32)
    one, other = device.scratch(matrix, 3, 0), device.scratch(matrix, 3, 0)
    assert one.shape == (3, 7) and one.dtype == np.float32 and not np.shares_memory(one, other)
