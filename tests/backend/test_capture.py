"""A capture belongs to the thread that makes it: others compute, capture and train meanwhile as if they were alone."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minidl as dl
from minidl.backend import capture
from minidl.backend.capture import CaptureError
from minidl.cpu.engine import parallel
from minidl.cpu.engine.parallel import CallList


def fit(seed, backend="cpu", graph=None, batch_size=8):
    """The losses and weights of a short run that is all its own."""
    rng = np.random.default_rng(seed)
    rows = 6 * batch_size + 2
    train = dl.data.Dataset(rng.normal(size=(rows, 5)).astype(np.float32), rng.integers(0, 3, rows))
    model = dl.Sequential(dl.Dense(5, 4), dl.ReLU(), dl.Dense(4, 3), seed=seed, backend=backend)
    options = {} if graph is None else {"graph": graph}
    history = dl.fit(
        model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(0.01), batch_size=batch_size, epochs=2,
        progress=False, **options,
    )  # fmt: skip
    return [*history["loss"], *(parameter.value.tobytes() for parameter in model.parameters())]


def assert_nothing_is_captured():
    assert parallel._capture.value is None
    assert capture._captured.value is None


@pytest.mark.parametrize("graph", [None, True])
@pytest.mark.parametrize("threads", [2, 4])
def test_fits_in_several_threads_give_the_numbers_of_one_after_another(threads, graph):
    seeds = range(12)
    expected = [fit(seed, graph=graph) for seed in seeds]
    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(lambda seed: fit(seed, graph=graph), seeds)) == expected
        list(pool.map(lambda _: assert_nothing_is_captured(), seeds))
    assert_nothing_is_captured()


@pytest.mark.parametrize("graph", [None, True])
def test_fits_on_different_backends_run_side_by_side(graph):
    kinds = ["cpu", "emulator", "cpu", "emulator"]
    expected = [fit(seed, backend, graph, batch_size=2) for seed, backend in enumerate(kinds)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda given: fit(*given, graph, batch_size=2), enumerate(kinds))) == expected


IN_A_FRESH_PROCESS = """
from concurrent.futures import ThreadPoolExecutor
from tests.backend.test_capture import fit
with ThreadPoolExecutor(4) as pool:
    side_by_side = list(pool.map(fit, range(8)))
assert side_by_side == [fit(seed) for seed in range(8)]
"""


def test_the_first_fits_of_a_process_may_be_in_several_threads():
    """All threads load or compile the same loops at the same time, and create the backend."""
    subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS], check=True, timeout=300)


def test_predictions_in_other_threads_are_right_while_one_captures():
    backend, x = dl.backend.get("cpu"), np.ones((2, 3), np.float32)
    model = dl.Sequential(dl.Dense(3, 2), dl.Tanh(), seed=1, backend="cpu")
    expected, found, y = model.predict(x), [], np.zeros_like(x)

    def calls():
        backend.operations.add(x, x, y)
        others = [threading.Thread(target=lambda: found.append(model.predict(x)))]
        for _ in range(20):  # a thread may get the number of one that has ended
            others.append(threading.Thread(target=lambda: found.append(model.predict(x))))
            others[-1].start()
            others[-1].join()
        others[0].start()
        others[0].join()

    replay = backend.capture(calls)
    assert len(replay) == 1
    assert len(found) == 21
    for prediction in found:
        np.testing.assert_array_equal(prediction, expected)
    replay()
    np.testing.assert_array_equal(y, 2 * x)


def test_after_captures_in_threads_nothing_grows():
    model, x = dl.Sequential(dl.Dense(3, 2), seed=1, backend="cpu"), np.ones((2, 3), np.float32)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fit, range(4)))
    del pool
    gc.collect()
    lists = [thing for thing in gc.get_objects() if type(thing) is CallList]
    lengths = [len(calls) for calls in lists]
    workers = [threading.Thread(target=model.predict, args=(x,)) for _ in range(50)]
    for worker in workers:
        worker.start()
        worker.join()
    assert [len(calls) for calls in lists] == lengths
    gc.collect()
    assert sum(type(thing) is CallList for thing in gc.get_objects()) == len(lists)


@pytest.mark.parametrize("name", ["cpu", "emulator"])
def test_captures_in_two_threads_may_overlap(name):
    backend, turns = dl.backend.get(name), threading.Barrier(2, timeout=60)

    def calls(number):
        x = np.full((2, 3), 1 + number, np.float32)
        y = np.zeros_like(x)

        def function(x):
            turns.wait()
            for _ in range(number + 1):
                backend.operations.add(x, y, y)
            turns.wait()

        replay = backend.capture(function, x)
        replay(10 * x)
        return len(replay), y[0, 0]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(calls, range(2))) == [(1, 11.0), (2, 44.0)]


def test_a_captured_step_keeps_the_memory_for_its_partial_sums(any_backend, rng):
    if not any_backend.can_capture:
        pytest.skip("this backend captures nothing")
    x, sums = any_backend.array(np.zeros((600, 5)), np.float32), any_backend.zeros((5,), np.float32)
    any_backend.operations.column_sums(x, sums)
    replay = any_backend.capture(lambda x: any_backend.operations.column_sums(x, sums), x)
    for rows in (300, 600, 5000):  # others use such memory in between
        more = any_backend.array(np.ones((rows, 5)), np.float32)
        any_backend.operations.column_sums(more, any_backend.zeros((5,), np.float32))
        values = rng.integers(-9, 9, (600, 5))
        any_backend.copy_into(x, values.astype(np.float32))
        replay(x)
        np.testing.assert_array_equal(any_backend.to_numpy(sums), values.sum(axis=0))


def test_a_recording_inside_a_recording_is_refused():
    backend = dl.backend.get("cpu")
    x, y = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    with pytest.raises(CaptureError, match="a step that captures another one cannot be captured"):
        backend.capture(lambda: backend.capture(lambda: backend.operations.add(x, x, y)))
    assert_nothing_is_captured()
    assert backend.empty((2,), np.float32).shape == (2,)


def test_another_backend_may_be_used_inside_a_capture():
    cpu, emulator = dl.backend.get("cpu"), dl.backend.get("emulator")
    x, y, z = (np.full((2, 3), value, np.float32) for value in (1, 0, 0))

    def function(x):
        cpu.operations.add(x, x, y)
        z[...] = emulator.to_numpy(emulator.array(np.ones((2, 3)), np.float32))

    cpu.capture(function, x)(3 * x)
    np.testing.assert_array_equal(y, 6)
    np.testing.assert_array_equal(z, 1)
