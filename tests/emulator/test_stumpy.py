"""stumpy's functions for GPUs, which nobody here wrote, against its functions for CPUs, where stumpy is installed."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.emulator import active

SERIES = np.random.default_rng(0).normal(size=40).cumsum()
OTHER = np.random.default_rng(1).normal(size=30).cumsum()
WINDOW = 6


@pytest.fixture(scope="module")
def stumpy():
    with active():  # stumpy asks for a GPU when it is imported
        stumpy = pytest.importorskip("stumpy")
        threads, stumpy.config.STUMPY_THREADS_PER_BLOCK = stumpy.config.STUMPY_THREADS_PER_BLOCK, 16
        yield stumpy
        stumpy.config.STUMPY_THREADS_PER_BLOCK = threads


@pytest.mark.parametrize("arguments", [{}, {"k": 3}, {"T_B": OTHER, "ignore_trivial": False}], ids=str)
@pytest.mark.parametrize("name", ["stump", "aamp"])
def test_the_matrix_profile_is_that_of_the_cpu(stumpy, name, arguments):
    expected = getattr(stumpy, name)(SERIES, WINDOW, **arguments)
    found = getattr(stumpy, f"gpu_{name}")(SERIES, WINDOW, **arguments)
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=0, atol=1e-6)


def test_the_distance_is_that_of_the_cpu(stumpy):
    assert stumpy.gpu_mpdist(SERIES, OTHER, WINDOW) == pytest.approx(stumpy.mpdist(SERIES, OTHER, WINDOW), abs=1e-6)


def test_the_pan_matrix_profile_is_that_of_the_cpu(stumpy):
    on_cpu, on_gpu = (
        make(SERIES, min_m=4, max_m=6, **more)
        for make, more in ((stumpy.stimp, {"percentage": 1.0}), (stumpy.gpu_stimp, {}))
    )
    for _ in range(3):
        on_cpu.update()
        on_gpu.update()
    np.testing.assert_allclose(on_gpu.PAN_, on_cpu.PAN_, rtol=0, atol=1e-6)
