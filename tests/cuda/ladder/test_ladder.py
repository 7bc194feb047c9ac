"""The ladder of the matrix product, and the variants of the dense one: all rungs, odd sizes, races, planted faults."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from minidl.cuda import dense, ladder
from minidl.cuda.ladder import RUNGS, tensor_cores
from minidl.emulator import EmulatorError, RaceError, UninitializedReadError, launch, race_detector, trace
from tests.conftest import execute

# (m, k, n): ones, primes, one past a tile of 32 or 64, multiples of 4, where loads are wide.
SIZES = [(1, 1, 1), (2, 67, 3), (13, 17, 33), (65, 5, 7), (20, 36, 12)]
EVERY_RUNG = [(name, dtype) for name, rung in RUNGS.items() for dtype in rung.dtypes]
STEPS = {name: tiling.depth for name, tiling in dense.TILINGS.items()} | dict.fromkeys(
    dense.MULTIPLY_ADD, tensor_cores.DEPTH
)
EVERY_VARIANT = [(name, dtype) for name, variant in dense.VARIANTS.items() for dtype in variant.dtypes]
# What goes through memory as float32 or TF32 does has two of the sizes, and float64 one of its own: there a row of 6 is
# aligned, and a wide load of four at its end would go over its edge.
FEWER_SIZES = {"float64": (SIZES[1], SIZES[4], (2, 66, 6)), "3xtf32": (SIZES[2], SIZES[4])}


def each_in_sizes(every):
    return [
        (name, dtype, size)
        for name, dtype in every
        for size in FEWER_SIZES.get(dtype) or FEWER_SIZES.get(name.lower(), SIZES)
    ]


# Relative to |A| |B|: what k roundings may do (Higham, 3.1), and what the factors lose on tensor cores.
LOST = {"tf32": 2.0**-10, "3xTF32": 2.0**-21, "3xtf32": 2.0**-21}


def tolerance(name, dtype, a, b):
    """The most that the product of a and b may be off, element by element."""
    scale = np.abs(a).astype(np.float64) @ np.abs(b)
    return (a.shape[1] * np.finfo(dtype).eps + LOST.get(name, 0)) * scale


def matrix(rng, rows, columns, dtype, shift=0):
    """Normal numbers, `shift` elements behind an address that is a multiple of 16."""
    memory = np.empty(rows * columns + shift + 16 // np.dtype(dtype).itemsize, dtype)
    start = -memory.ctypes.data % 16 // memory.itemsize + shift
    view = memory[start : start + rows * columns].reshape(rows, columns)
    view[...] = rng.normal(size=(rows, columns))
    return view


@pytest.mark.parametrize(("name", "dtype", "size"), each_in_sizes(EVERY_RUNG), ids=str)
def test_every_rung_is_right(rng, name, dtype, size):
    m, k, n = size
    a, b, c = matrix(rng, m, k, dtype), matrix(rng, k, n, dtype), np.full((m, n), np.nan, dtype)
    ladder.product(launch, name, a, b, c)
    assert (np.abs(c - a.astype(np.float64) @ b) <= tolerance(name, dtype, a, b)).all()


@pytest.mark.parametrize(("name", "dtype"), EVERY_RUNG)
@pytest.mark.parametrize("shift", [(0, 0, 1), (1, 0, 0), (0, 1, 0)], ids=str)
def test_matrices_may_begin_anywhere(rng, name, dtype, shift):
    shapes = (12, 8), (8, 20), (12, 20)
    a, b, c = (matrix(rng, *shape, dtype, elements) for shape, elements in zip(shapes, shift, strict=True))
    ladder.product(launch, name, a, b, c)
    assert (np.abs(c - a.astype(np.float64) @ b) <= tolerance(name, dtype, a, b)).all()


def all_products(rng, dtype, size):
    """The four products of a dense layer; returns the results, the right ones, |bias| and the factors."""
    m, k, n = size
    a, b, bias = matrix(rng, m, k, dtype), matrix(rng, k, n, dtype), rng.normal(size=n).astype(dtype)
    c = np.full((4, m, n), np.nan, dtype)
    dense.dense_forward(launch, a, b, None, c[0])
    dense.dense_forward(launch, a, b, bias, c[1])
    dense.dense_backward_input(launch, a, np.ascontiguousarray(b.T), c[2])
    dense.dense_backward_weight(launch, np.ascontiguousarray(a.T), b, c[3])
    expected = a.astype(np.float64) @ b
    added = np.outer([0, 1, 0, 0], bias)[:, None]  # to every row, in the second product
    return c, expected + added, np.abs(bias), a, b


@pytest.mark.parametrize(("name", "dtype", "size"), each_in_sizes(EVERY_VARIANT), ids=str)
def test_every_way_of_the_dense_products_is_right(monkeypatch, rng, name, dtype, size):
    monkeypatch.setattr(dense, "choose_variant", lambda c, inner: name)
    found, expected, bias, a, b = all_products(rng, dtype, size)
    allowed = tolerance(name, dtype, a, b) + 2 * np.finfo(dtype).eps * bias
    assert (np.abs(found - expected) <= allowed).all()


@pytest.mark.parametrize(("name", "dtype"), [way for way in EVERY_VARIANT if way[0] in STEPS])
@pytest.mark.parametrize("columns", [6, 8])
def test_products_of_several_whole_steps(monkeypatch, rng, name, dtype, columns):
    monkeypatch.setattr(dense, "choose_variant", lambda c, inner: name)
    # Two whole steps and the rest. A row of six has no group of four at its end, and in float64 it is aligned.
    size = 5, 3 * STEPS[name] + 4, columns
    with race_detector():
        found, expected, bias, a, b = all_products(rng, dtype, size)
    assert (np.abs(found - expected) <= tolerance(name, dtype, a, b) + 2 * np.finfo(dtype).eps * bias).all()


@pytest.mark.parametrize("name", STEPS)
def test_whole_steps_and_the_others_give_the_same_bits(monkeypatch, rng, name):
    monkeypatch.setattr(dense, "choose_variant", lambda c, inner: name)
    depth = STEPS[name]
    a, b = matrix(rng, 5, 3 * depth, "float32"), matrix(rng, 3 * depth, 8, "float32")
    c = np.empty((2, 5, 8), np.float32)
    dense.dense_forward(launch, a, b, None, c[0])
    elsewhere = matrix(rng, 5, 3 * depth, "float32", shift=1)  # not aligned
    elsewhere[...] = a
    dense.dense_forward(launch, elsewhere, b, None, c[1])
    assert c[0].tobytes() == c[1].tobytes()


@pytest.mark.parametrize("name", dense.VARIANTS)
def test_no_way_of_the_dense_products_races(monkeypatch, rng, name):
    monkeypatch.setattr(dense, "choose_variant", lambda c, inner: name)
    # Two steps use one buffer twice, three use the first of two again.
    depth = dense.TILINGS[name].depth + 1 if name in dense.TILINGS else 2 * tensor_cores.DEPTH + 1
    with race_detector():
        all_products(rng, "float32", (5, depth, 6))


def test_the_way_with_the_largest_tiles_that_fill_a_gpu(monkeypatch):
    def variant(rows, columns, dtype="float32", inner=784):
        return dense.choose_variant(np.empty((rows, columns), dtype), inner)

    assert [variant(4096, 4096), variant(1024, 1024), variant(896, 1024)] == ["large", "large", "small"]
    assert [variant(128, 512), variant(128, 256), variant(784, 512), variant(128, 10)] == [
        "small",
        "tiny",
        "small",
        "tiny",
    ]
    assert [variant(4096, 4096, "float64"), variant(128, 256, "float64")] == ["small", "tiny"]
    assert [variant(16, 16, inner=64), variant(16, 16, inner=65), variant(1, 1)] == ["plain", "tiny", "plain"]
    for name in ("tf32", "3xtf32"):
        monkeypatch.setattr(dense, "TF32", name)
        assert [variant(512, 512), variant(128, 512), variant(512, 512, "float64")] == [name, "small", "small"]


def test_tf32_is_off_unless_asked_for():
    assert dense.TF32 == "off"


# Accuracy of the tensor cores -----------------------------------------------------------------------------------------


def worst_error(name, a, b):
    """The largest error relative to |A| |B|."""
    c = np.empty((len(a), b.shape[1]), np.float32)
    ladder.product(launch, name, a, b, c)
    exact = a.astype(np.float64) @ b
    return float((np.abs(c - exact) / (np.abs(a).astype(np.float64) @ np.abs(b))).max())


@pytest.mark.parametrize("depth", [16, 144])
def test_3xtf32_is_as_accurate_as_float32_and_tf32_is_not(rng, depth):
    # All of one sign, so that the sums grow: what a tensor core cuts off then points in one direction.
    a, b = (rng.uniform(1, 2, shape).astype(np.float32) for shape in ((16, depth), (depth, 8)))
    float32, tf32, three = (worst_error(name, a, b) for name in ("coalesced", "tf32", "3xTF32"))
    assert three < max(2 * float32, 4e-7)
    # Rounding errors of either sign average out; those of numbers that are cut off would not.
    assert 1e-6 < tf32 < 2e-3 / math.sqrt(depth)


# Planted faults -------------------------------------------------------------------------------------------------------

FOLDER = Path(ladder.__file__).parent
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py") if path.stem != "__init__"}
WAIT, COPIES = "cuda.syncthreads()", "wait_for_copies(1)"
BARRIERS = [(name, n) for name, source in sorted(SOURCES.items()) for n in range(source.count(WAIT))]


def without(name, text, number, instead="pass"):
    """The module of a rung without the n-th occurrence of a line."""
    parts = SOURCES[name].split(text)
    source = text.join(parts[: number + 1]) + instead + text.join(parts[number + 1 :])
    return execute(source, f"{name} without {text} {number}")


def run(module, m=12, k=40, n=10):
    """Every kernel of a rung, in several steps along k; their results must be right."""
    rng = np.random.default_rng(0)
    kernels = [value for key, value in vars(module).items() if key.startswith("product")]
    assert kernels
    for kernel in kernels:
        a, b, c = (rng.normal(size=shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n)))
        launch(kernel, (-(-n // module.TILE[1]), -(-m // module.TILE[0])), module.BLOCK, a, b, c)
        assert np.abs(c - a @ b).max() < 0.02


def test_there_are_two_barriers_in_each_rung_with_shared_memory():
    assert {name for name, _ in BARRIERS} == SOURCES.keys() - {"naive", "coalesced"}
    assert len(BARRIERS) == 10


@pytest.mark.parametrize("name", SOURCES)
def test_no_fault_in_the_rungs_as_they_are(name):
    with race_detector():
        run(without(name, "no such text", 0, instead=""))


@pytest.mark.parametrize(("name", "number"), BARRIERS)
def test_a_barrier_that_is_missing_is_found(name, number):
    with race_detector(), pytest.raises(RaceError, match="no barrier orders the two"):
        run(without(name, WAIT, number))


@pytest.mark.parametrize("name", [name for name in sorted(SOURCES) if COPIES in SOURCES[name]])
@pytest.mark.parametrize("instead", ["pass", "wait_for_copies(2)"])
def test_a_wait_for_copies_that_is_missing_or_too_short_is_found(name, instead):
    with pytest.raises(UninitializedReadError, match="the copy into it has not been waited for"):
        run(without(name, COPIES, SOURCES[name].count(COPIES) - 1, instead))


def test_waiting_for_all_copies_is_right_but_no_better_than_one_buffer():
    run(without("double_buffer", COPIES, SOURCES["double_buffer"].count(COPIES) - 1, "wait_for_copies(0)"))


@pytest.mark.parametrize("name", [name for name in sorted(SOURCES) if "alignment=16" in SOURCES[name]])
def test_a_tile_that_is_not_aligned_is_found(name):
    module = execute(re.sub(", alignment=16", "", SOURCES[name]), name)
    with pytest.raises(EmulatorError, match=r"tile_[ab]\[.*\] does not lie at a multiple of 16 bytes"):
        run(module)


# What the heads of the files say --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def traces():
    """A launch of each rung where nothing hangs over an edge, of as few blocks and steps as show it."""
    rng, found = np.random.default_rng(0), {}
    for name, rung in RUNGS.items():
        side, depth = (32, 32) if name in ("naive", "coalesced", "shared tile") else (64, 16 if "32" in name else 8)
        a, b, c = (matrix(rng, *shape, np.float32) for shape in ((side, depth), (depth, side), (side, side)))
        found[name] = side * side * depth, trace(rung.kernel, rung.grid(c), rung.block, a, b, c)
    return found


def test_operations_are_those_of_the_formula(traces):
    for name in list(RUNGS)[:6]:
        products, found = traces[name]
        assert found.flops == 2 * products
    # On tensor cores, and an addition of each sum for every step of 16.
    assert traces["tf32"][1].flops == 2 * 64 * 64 * 16 + 64 * 64
    assert traces["3xTF32"][1].flops > 3 * 2 * 64 * 64 * 16


def test_loads_for_each_multiply_add(traces):
    loads = {
        name: [found.count(space, "read") / products for space in ("global", "shared")]
        for name, (products, found) in traces.items()
    }
    assert loads["naive"] == loads["coalesced"] == [2, 0]
    assert loads["shared tile"] == [2 / 32, 2]
    for name in ("register tile", "128-bit loads", "double buffer"):
        assert loads[name] == [2 / 64, 16 / 64]
    instructions = {
        name: sum(w.accesses[0][3:7:3] == ("shared", "read") for w in found.warp_accesses) * 32 / products
        for name, (products, found) in traces.items()
    }
    assert instructions["register tile"] == 16 / 64
    assert instructions["128-bit loads"] == 4 / 64
    assert instructions["double buffer"] == 10 / 64


def test_coalescing_and_bank_conflicts(traces):
    found = {name: found for name, (_, found) in traces.items()}
    assert 6 < found["naive"].sectors / found["coalesced"].sectors < 7
    assert [trace.conflict for trace in found.values()] == [0, 0, 1, 1, 1, 1, 1, 1]
    for name in list(RUNGS)[1:6]:
        assert found[name].sectors == found[name].ideal_sectors


@pytest.mark.parametrize(("name", "dtype"), [pair for pair in EVERY_VARIANT if pair[1] == "float32"])
@pytest.mark.parametrize("table", ["FORWARD_WITH_BIAS", "BACKWARD_INPUT", "BACKWARD_WEIGHT"])
def test_the_dense_products_have_no_bank_conflicts(rng, name, dtype, table):
    variant = dense.VARIANTS[name]
    extent, depth = variant.extent, 8 if name == "large" else 16  # one step of its loop
    c = matrix(rng, extent, extent, dtype)
    a = matrix(rng, depth, extent, dtype) if table == "BACKWARD_WEIGHT" else matrix(rng, extent, depth, dtype)
    b = matrix(rng, extent, depth, dtype) if table == "BACKWARD_INPUT" else matrix(rng, depth, extent, dtype)
    bias = c[0].copy() if table == "FORWARD_WITH_BIAS" else 0
    found = trace(getattr(dense, table)[name], (1, 1), variant.threads, a, b, depth, bias, c)
    assert found.conflict == (0 if name == "plain" else 1)  # 0: nothing is shared
    assert math.isclose(found.flops, 2 * depth * extent**2, rel_tol=0.6) or name == "3xtf32"


def test_a_rung_that_does_not_exist():
    with pytest.raises(ValueError, match="rung got 'tf23'; .* did you mean 'tf32'"):
        ladder.product(launch, "tf23", *np.zeros((3, 1, 1)))
