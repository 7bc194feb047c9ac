"""Settings of every test: Hypothesis profiles, who runs what, and the backends with the reason why one is skipped."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import inspect
import linecache
import os
import re
import signal
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# There is a test process for each core already; NumPy reads this only when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Some containers set it; then each process that a test starts would compile every module of minidl again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from xdist.scheduler import LoadScopeScheduling

from minidl import backend
from minidl.cpu.engine import thread_pool

# There is a process for each core already. Tests of threads set their number themselves.
if "MINIDL_NUM_THREADS" not in os.environ:
    os.environ["MINIDL_NUM_THREADS"] = "1"
    thread_pool.set_thread_count(1)

# deadline=None everywhere: the first example of a test compiles kernels, which is slow once and says nothing.
settings.register_profile("dev", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
# For wrong programs, where only the first failure counts: no search for a smaller one.
settings.register_profile("sabotage", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("thorough", settings.get_profile("dev"), max_examples=2000)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


# The first worker compiles every operation and leaves the code in the cache, while the second one runs what compiles
# nothing. Short files come last, so that no worker waits long for the other.
FIRST = ["operations", "emulator", "cuda", "exercises", "tutorials", "training", "cpu", "robustness", "sabotage"]


class ByFile(LoadScopeScheduling):
    """Give a worker whole files, so that it makes what their tests share once.

    All operations are one file here, and so are the tests of one tutorial: its own, and its lines of the table.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = re.match("tests/operations/", nodeid)
        tutorial = re.match("tests/tutorials/.*?([0-9]{2}[a-z]?_[a-z_]+)", nodeid)
        return tutorial[1] if tutorial else folder[0] if folder else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        folder = item.nodeid.split("/")[1]
        return FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Do not search thousands of collected tests and all modules for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def execute(source: str, name: str) -> types.ModuleType:
    """Run the source of a module as if it were a file, in which the emulator reads a kernel again."""
    file = f"<{name}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    module = types.ModuleType(name)
    exec(compile(source, file, "exec"), vars(module))
    return module


def backend_or_skip(name: str) -> backend.Backend:
    """The backend of that name; skips the test, with the reason, where it cannot be used."""
    reason = backend.available()[name]
    if reason:
        pytest.skip(f"{name}: {reason}")
    return backend.get(name)


EACH_BACKEND = {"any_backend": ["numpy", "cpu", "emulator", "cuda"], "compiled_backend": ["cpu", "emulator", "cuda"]}
_said: set[str] = set()  # the files that have a test which is skipped with the reason why there is no GPU


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each backend; without a GPU, only the first test of a file is skipped for it, and says why."""
    for fixture, names in EACH_BACKEND.items():
        if fixture in metafunc.fixturenames:
            if backend.available()["cuda"] and metafunc.module.__name__ in _said:
                names = [name for name in names if name != "cuda"]
            _said.add(metafunc.module.__name__)
            metafunc.parametrize(fixture, names, indirect=True)


def each(names: str, values: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for each of the values, as `pytest.mark.parametrize` does, but as one test.

    For values in great number: pytest and xdist take 3 ms for each test, which is longer than most of these run. Not
    for tests that need a new fixture for each value.
    """
    keys, values = names.split(", "), list(values)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            for value in values:
                case = dict(zip(keys, value if len(keys) > 1 else [value], strict=True))
                own = {"rng": copy.deepcopy(fixtures["rng"])} if "rng" in fixtures else {}  # the same numbers for each
                try:
                    test(**{**fixtures, **own, **case})
                except Exception as error:
                    raise AssertionError(f"with {case}: {error}") from error

        signature = inspect.signature(test)
        others = [parameter for name, parameter in signature.parameters.items() if name not in keys]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate


def copies(model: Any) -> dict[str, np.ndarray]:
    """A copy of each array that the model is saved with, by name."""
    return {name: model.backend.to_numpy(array) for name, array in model.arrays()}


@pytest.fixture
def any_backend(request: pytest.FixtureRequest) -> backend.Backend:
    """Each backend in turn."""
    return backend_or_skip(request.param)


@pytest.fixture
def compiled_backend(request: pytest.FixtureRequest) -> backend.Backend:
    """Each backend that runs functions of one number as they stand in `minidl.scalar`."""
    return backend_or_skip(request.param)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    """Both precisions in turn."""
    return np.dtype(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture
def set_thread_count() -> Iterator[Callable[[int], None]]:
    """`thread_pool.set_thread_count`, until the end of the test."""
    before = thread_pool.thread_count()
    yield thread_pool.set_thread_count
    thread_pool.set_thread_count(before)


@contextlib.contextmanager
def without_layout() -> Iterator[pytest.MonkeyPatch]:
    """Draw figures without making room for their labels first, which takes longer than drawing."""
    from matplotlib.figure import Figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "get_layout_engine", lambda figure: None)
        yield patch


@pytest.fixture(scope="module")
def unspaced_figures() -> Iterator[None]:
    """Draw all figures of a file so."""
    with without_layout():
        yield


@pytest.fixture
def python_handles_interrupts() -> Iterator[None]:
    """The handler that Python starts with: pytest may have set another one, and a background job has none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
