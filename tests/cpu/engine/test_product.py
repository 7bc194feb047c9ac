"""The matrix product of the CPU: every edge of its blocks, the same bits for any number of threads, all processors."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from minidl.cpu.engine import microkernel, product, thread_pool
from minidl.cpu.engine.microkernel import PANEL, VECTOR_BYTES, block_rows

DTYPES = [np.float32, np.float64]
FORMS = ["a b", "a b + row", "aᵀ b", "a bᵀ"]


@pytest.fixture(autouse=True)
def one_thread(set_thread_count):
    set_thread_count(1)


def multiply(form, a, b, row):
    """A B in one of the forms, written into memory full of NaN with a guard around it."""
    guarded = np.full((len(a) + 2, b.shape[1]), np.nan, a.dtype)
    c = guarded[1:-1]
    if form == "a b":
        product.product(a, b, c)
    elif form == "a b + row":
        product.product(a, b, c, row)
    elif form == "aᵀ b":
        product.product_of_transposed(np.ascontiguousarray(a.T), b, c)
    else:
        product.product_with_transposed(a, np.ascontiguousarray(b.T), c)
    assert np.isnan(guarded[[0, -1]]).all(), "written outside of C"
    return c


def matrices(rng, m, k, n, dtype):
    return (rng.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n), (n,)))


def assert_product(form, a, b, row, c):
    """Each element is a sum of k products: k + 1 roundings, of at most half an eps of Σ |a b| each."""
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    if form == "a b + row":
        exact, size = exact + row, size + np.abs(row)
    # As many for the reference, where it has no more digits than the product.
    bound = (a.shape[1] + 1) * np.finfo(a.dtype).eps * size
    assert (np.abs(c - exact) <= bound).all(), f"off by up to {np.abs(c - exact).max():.3g}"


LANES = {np.float32: VECTOR_BYTES // 4, np.float64: VECTOR_BYTES // 8}
ROWS = sorted(
    {1, 2, 3, 4, 5, 7, 13, *(block_rows(vectors) + more for vectors in range(1, PANEL + 1) for more in (0, 1))}
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_edge_of_the_blocks(form, dtype, rng):
    lanes = LANES[dtype]
    widths = sorted(
        {1, *(lanes * count + more for count in range(PANEL + 2) for more in (-1, 0, 1)), 4 * PANEL * lanes}
    )
    for m, n in itertools.product(ROWS, [width for width in widths if width > 0]):
        for k in (1, lanes - 1, lanes + 3):
            a, b, row = matrices(rng, m, max(k, 1), n, dtype)
            assert_product(form, a, b, row, multiply(form, a, b, row))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(66, 70, 1100), (130, 300, 257), (3, 1000, 9), (512, 771, 65)])
def test_large_ones(form, dtype, shape, rng):
    a, b, row = matrices(rng, *shape, dtype)
    assert_product(form, a, b, row, multiply(form, a, b, row))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bits_do_not_depend_on_the_number_of_threads(form, dtype, rng, monkeypatch):
    monkeypatch.setattr(thread_pool, "MIN_PARALLEL", 0)
    for m, k, n in [
        (1, 5, 300),
        (7, 33, 65),
        (40, 20, 500),
        (130, 61, 17),
        (200, 64, 129),
        (64, 9, 1100),
        (512, 771, 65),
    ]:
        a, b, row = matrices(rng, m, k, n, dtype)
        alone = multiply(form, a, b, row).tobytes()
        for count in (2, 3, 5):
            thread_pool.set_thread_count(count)
            assert multiply(form, a, b, row).tobytes() == alone
        thread_pool.set_thread_count(1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wide_product_leaves_those_after_it_as_small_as_before(form, dtype, rng, monkeypatch):
    monkeypatch.setattr(product, "_zero_rows", {})

    def peak():
        tracemalloc.start()
        multiply(form, *deep)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    deep = tuple(matrices(rng, 4, 4000, 3, dtype))  # cut into blocks of terms
    multiply(form, *deep)  # compiles, and makes the zeros
    before = peak()
    multiply(form, *matrices(rng, 2, 3, 50_000, dtype))
    assert peak() < before + 50_000


@pytest.mark.skipif(product.BLAS, reason="a BLAS chooses its order of addition by the number of rows")
def test_a_row_does_not_depend_on_the_rows_around_it(rng):
    for n in (10, 70, 300, 450):
        a, b, row = matrices(rng, 140, 100, n, np.float32)
        whole = multiply("a b + row", a, b, row)
        for first, last in [(0, 1), (3, 8), (11, 40), (50, 140)]:  # from 64 rows on, panels of B are copied
            np.testing.assert_array_equal(multiply("a b + row", a[first:last], b, row), whole[first:last])


@pytest.mark.parametrize("dtype", DTYPES)
def test_to_transpose_first_changes_no_bit(dtype, rng, monkeypatch):
    for m, k, n in [(67, 128, 64), (30, 1100, 100), (256, 200, 300)]:
        a, b, row = matrices(rng, m, k, n, dtype)
        found = []
        for cache in (2 * a.nbytes, a.nbytes, 0):  # as it is; transposed at once; 64 rows at a time
            monkeypatch.setattr(product, "LEVEL_2_CACHE", cache)
            found.append(multiply("aᵀ b", a, b, row).tobytes())
        assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("form", FORMS)
def test_a_column_does_not_depend_on_the_columns_beside_it(form, rng):
    a, b, row = matrices(rng, 140, 100, 64 + 60, np.float32)  # the second panel begins within the first
    whole = multiply(form, a, b, row)
    for last in (64, 80, 99, 123):
        some = multiply(form, a, np.ascontiguousarray(b[:, :last]), row[:last])
        np.testing.assert_array_equal(some, whole[:, :last])


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_finite_stays_in_its_row_and_column(form, rng):
    for m in (3, 20):
        a, b, row = matrices(rng, m, 30, 40, np.float32)
        a[1, 4], b[5, 7], a[2, 9] = np.nan, np.inf, 1e30
        c = multiply(form, a, b, row)
        assert np.isnan(c[1]).all()
        assert not np.isfinite(c[:, 7]).any()
        assert np.isfinite(np.delete(np.delete(c, 1, axis=0), 7, axis=1)).all()


def test_nothing_is_read_outside_the_matrices(rng):
    """A NaN behind the end would show, if it were added to something that counts."""
    memory = np.full(3000, np.nan, np.float32)
    a, b = memory[1000 : 1000 + 7 * 10].reshape(7, 10), memory[2000 : 2000 + 10 * 21].reshape(10, 21)
    a[:], b[:] = rng.normal(size=a.shape), rng.normal(size=b.shape)
    for form in FORMS[:1]:
        assert_product(form, a, b, None, multiply(form, a, b, None))


# In a process of its own: what is read from the environment once


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


CHECK = """
import json, numpy as np
from minidl.cpu.engine import product, thread_pool
from minidl.cpu.engine.microkernel import VECTOR_BYTES, PANEL, FUSED
rng, worst = np.random.default_rng(0), 0.0
for m in (1, 2, 5, 6, 7, 15, 29):
    for n in (1, 3, 4, 8, 9, 17, 33, 64, 70):
        a, b = rng.normal(size=(m, 19)), rng.normal(size=(19, n))
        c = np.full((3, m, n), np.nan)
        product.product(a, b, c[0])
        product.product_of_transposed(a.T.copy(), b, c[1])
        product.product_with_transposed(a, b.T.copy(), c[2])
        worst = max(worst, float(np.abs(c - a @ b).max()))
print(json.dumps([worst, VECTOR_BYTES, FUSED, product.BLAS, thread_pool.thread_count()]))
"""


@pytest.mark.skipif("avx2" not in microkernel.FEATURES, reason="this processor has no AVX2")
@pytest.mark.parametrize(
    ("features", "vector", "fused"), [("+avx,+avx2,+fma,+sse4.2,+64bit", 32, True), ("+sse4.2,+64bit", 16, False)]
)
def test_other_processors(features, vector, fused, tmp_path):
    worst, *found, _ = run(
        CHECK, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES=features, NUMBA_CACHE_DIR=str(tmp_path), MINIDL_BLAS="0"
    )
    assert worst < 1e-13
    assert found == [vector, fused, False]


A_MAC = """
from unittest import mock
from llvmlite.binding.targets import FeatureMap
none = mock.patch("llvmlite.binding.get_host_cpu_features", FeatureMap)
with none, mock.patch("platform.machine", lambda: "arm64"):
    from minidl.cpu.engine import work_queue
work_queue.HINT = None  # an instruction of ARM processors, which this one may not have
"""


def test_a_mac_computes_its_products_itself(tmp_path):
    """LLVM finds no features there, and once that meant: no fused multiply-add, so leave all products to a BLAS."""
    worst, *found, _ = run(A_MAC + CHECK, NUMBA_CACHE_DIR=str(tmp_path))
    assert worst < 1e-13
    assert found == [16, True, False]


def test_the_blas_and_the_number_of_threads_can_be_asked_for():
    worst, _, _, uses_blas, count = run(CHECK, MINIDL_BLAS="1", MINIDL_NUM_THREADS="3")
    assert worst < 1e-13 and uses_blas
    assert count == 3
    with pytest.raises(AssertionError, match="MINIDL_NUM_THREADS got 'many'; expected an integer of at least 1"):
        run("import minidl.cpu.engine.thread_pool", MINIDL_NUM_THREADS="many")
