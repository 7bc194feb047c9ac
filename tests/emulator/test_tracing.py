"""The trace of a launch, on kernels whose numbers are known by hand."""

from __future__ import annotations

import gc
import inspect
import math
import operator
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from numba import cuda, float32, float64
from numba.extending import intrinsic

import minidl as dl
from minidl.cuda import ladder
from minidl.cuda.engine.ptx import load_four, store_four
from minidl.cuda.ladder.coalesced import product as naive
from minidl.cuda.ladder.shared_tile import product
from minidl.emulator import EmulatorError, launch, trace
from minidl.emulator.access_figure import STYLES
from minidl.emulator.tracing import Recorder
from tests.conftest import each


def matrices(count, n, dtype=np.float32):
    return [np.arange(n * n, dtype=dtype).reshape(n, n) + i for i in range(count)]


@cuda.jit
def naive_product(a, b, c):
    j, i = cuda.grid(2)
    total = float32(0)
    for k in range(a.shape[1]):
        total += a[i, k] * b[k, j]
    c[i, j] = total


def test_a_naive_product_reads_two_elements_for_each_product():
    c, inner = np.zeros((32, 32), np.float32), 8
    a, b = np.arange(32.0 * inner, dtype=np.float32).reshape(32, inner), np.ones((inner, 32), np.float32)
    found = trace(naive_product, (1, 2), (32, 16), a, b, c)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5)
    assert found.count("global", "read") == 2 * inner * 32**2 == len(found.accesses) - 32**2
    assert found.count("global", "write") == 32**2
    assert found.count("shared", "read") == found.count("global", "atomic") == 0
    assert set(found.per_thread("global", "read").values()) == {2 * inner}
    assert len(found.per_thread("global", "read")) == 32**2
    # A warp is a row of c: all lanes read one element of a and 32 neighbours in b.
    warps = 32
    by_array = {line.array: line for line in found.lines()}
    assert {name: line.warp_accesses for name, line in by_array.items()} == {
        "a": inner * warps,
        "b": inner * warps,
        "c": warps,
    }
    assert {name: line.sectors for name, line in by_array.items()} == {
        "a": inner * warps,
        "b": 4 * inner * warps,
        "c": 4 * warps,
    }
    assert found.sectors == found.ideal_sectors == (inner + 4 * inner + 4) * warps
    assert found.bytes_moved == 32 * found.sectors
    assert found.conflict == 0


def test_a_tiled_product_reads_32_times_less():
    a, b, c = (np.ones(shape, np.float32) for shape in ((32, 64), (64, 32), (32, 32)))
    found = trace(product, (1, 1), (32, 32), a, b, c)
    assert found.count("global", "read") == 2 * 32 * 64 * 32 / 32
    assert found.count("shared", "write") == found.count("global", "read")
    assert found.count("shared", "read") == 2 * 32 * 64 * 32
    assert max(access.step for access in found.accesses) == 4


@cuda.jit
def transposed_copy(x, y):
    j, i = cuda.grid(2)
    y[j, i] = x[i, j]


@pytest.mark.parametrize(("dtype", "ideal"), [(np.float32, 4), (np.float64, 8)])
def test_a_walk_down_a_column_touches_32_sectors(dtype, ideal):
    found = trace(transposed_copy, 1, (32, 4), *matrices(2, 32, dtype))
    read, write = found.lines()
    assert (read.kind, read.sectors, read.ideal_sectors) == ("read", 4 * ideal, 4 * ideal)
    assert (write.kind, write.sectors, write.ideal_sectors) == ("write", 4 * 32, 4 * ideal)


def tile_kernel(width, dtype):
    @cuda.jit
    def through_a_tile(x, y):
        tile = cuda.shared.array((32, width), dtype)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        tile[ty, tx] = x[ty, tx]
        cuda.syncthreads()
        y[ty, tx] = tile[tx, ty]

    return through_a_tile


@pytest.mark.parametrize(("width", "dtype", "conflict"), [
    (32, float32, 32),
    (33, float32, 1),  # the padding shifts each row by one bank
    (34, float32, 2),
    (36, float32, 4),
    (32, float64, 16),
    (33, float64, 1),  # two halves of a warp are no conflict
])  # fmt: skip
def test_padding_removes_bank_conflicts(width, dtype, conflict):
    x, y = matrices(2, 32, dtype.name)
    found = trace(tile_kernel(width, dtype), 1, (32, 32), x, y)
    np.testing.assert_array_equal(y, x.T)
    write, read = [line for line in found.lines() if line.space == "shared"]
    assert (write.kind, write.conflict, read.kind, read.conflict) == ("write", 1, "read", conflict)
    assert found.conflict == conflict
    assert all(len(w.colliding) == (32 if w.conflict > 1 else 0) for w in found.warp_accesses)


@cuda.jit
def one_pair_collides(x):
    tile = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    tile[32 if t == 7 else t] = x[t]  # the bank of lane 0


def test_the_lanes_that_collide_are_named():
    found = trace(one_pair_collides, 1, 32, np.zeros(32, np.float32))
    (write,) = [w for w in found.warp_accesses if w.accesses[0].space == "shared"]
    assert write.conflict == 2
    assert [access.thread for access in write.colliding] == [(0, 0, 0), (7, 0, 0)]


@cuda.jit
def broadcast(x, y):
    tile = cuda.shared.array(4, float32)
    tile[0] = x[5]
    y[cuda.threadIdx.x] = tile[0]


def test_one_element_for_all_lanes_is_one_sector_and_no_conflict():
    found = trace(broadcast, 1, 32, np.zeros(8, np.float32), np.zeros(32, np.float32))
    assert [line.sectors for line in found.lines()] == [1, 0, 0, 4]
    assert [line.ideal_sectors for line in found.lines()] == [1, 0, 0, 4]
    assert found.conflict == 1


@cuda.jit
def copy(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = x[i]


def test_views_lie_where_they_are_in_their_array():
    memory = np.arange(256, dtype=np.float32)
    shifted, strided = trace(copy, 1, 32, memory[1:33], memory[64:96]), trace(copy, 1, 32, memory[:64:2], memory[64:96])
    assert [(line.sectors, line.ideal_sectors) for line in shifted.lines()] == [(5, 4), (4, 4)]
    assert [(line.sectors, line.ideal_sectors) for line in strided.lines()] == [(8, 4), (4, 4)]


def test_arrays_of_the_backend_begin_at_a_sector():
    backend = dl.backend.get("emulator")
    arrays = [backend.empty((32,), np.float32) for _ in range(64)]
    for array in arrays:
        array[...] = 0
    assert {trace(copy, 1, 32, x, y).sectors for x, y in zip(arrays[::2], arrays[1::2], strict=True)} == {8}


@cuda.jit
def with_a_barrier_between(x):
    tile = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    for i in range(3):
        if i < 1 or t < 16 or i > 1:
            tile[t + i % 2] = x[t]
        cuda.syncthreads()


def test_accesses_with_a_barrier_between_them_are_never_made_together():
    found = trace(with_a_barrier_between, 1, 32, np.zeros(32, np.float32))
    assert [len(w.accesses) for w in found.warp_accesses if w.accesses[0].space == "shared"] == [32, 16, 32]


def test_lanes_that_take_no_part_count_for_nothing():
    found = trace(copy, 2, 48, np.zeros(72, np.float32), np.zeros(72, np.float32))
    reads = [w for w in found.warp_accesses if w.accesses[0].kind == "read"]
    assert [len(w.accesses) for w in reads] == [32, 16, 24]
    assert [w.sectors for w in reads] == [4, 2, 3]
    assert found.lines()[0].accesses == 72


@cuda.jit(device=True)
def double(x, i):
    x[i] *= 2  # THERE


@cuda.jit
def steps(x, counts):
    t = cuda.threadIdx.x
    tile = cuda.shared.array((1, 2), float32)
    tile[0, t] = x[t]  # HERE
    cuda.syncthreads()
    double(x, 1 - t)
    cuda.atomic.add(counts, 0, 1)  # AND HERE


def line(kernel, mark):
    lines, first = inspect.getsourcelines(kernel.py_func)
    (number,) = [first + i for i, text in enumerate(lines) if text.rstrip().endswith(f"# {mark}")]
    return f"test_tracing.py:{number}"


def test_accesses_come_in_order_with_thread_line_element_and_step():
    x, counts = np.ones(2, np.float32), np.zeros(1, np.int32)
    found = trace(steps, 1, 2, x, counts)
    here, there, add = line(steps, "HERE"), line(double, "THERE"), line(steps, "AND HERE")
    expected = []
    for t in range(2):
        expected.append(((t, 0, 0), here, "global", "x", (t,), "read", 0))
        expected.append(((t, 0, 0), here, "shared", "tile", (0, t), "write", 0))
    for t in range(2):
        expected.append(((t, 0, 0), there, "global", "x", (1 - t,), "read", 1))
        expected.append(((t, 0, 0), there, "global", "x", (1 - t,), "write", 1))
        expected.append(((t, 0, 0), add, "global", "counts", (0,), "atomic", 1))
    assert [access[1:] for access in found.accesses] == expected
    assert {access.block for access in found.accesses} == {(0, 0, 0)}
    assert x.tolist() == [2, 2] and counts[0] == 2
    assert found.per_thread("global", "atomic") == {((0, 0, 0), (t, 0, 0)): 1 for t in range(2)}


def test_the_table_has_a_row_for_each_line_and_array():
    x, y = matrices(2, 32)
    first = inspect.getsourcelines(tile_kernel)[1]
    assert str(trace(tile_kernel(32, float32), 1, (32, 32), x, y)).splitlines() == [
        "kernel through_a_tile: 8192 bytes in 256 sectors; side by side it would be 256",
        "0 floating-point operations, 0 for each byte",
        "line                memory  array  kind   accesses  by warps  sectors  ideal  bank conflict",
        f"test_tracing.py:{first + 5}  global  x      read       1024        32      128    128",
        f"test_tracing.py:{first + 5}  shared  tile   write      1024        32                           none",
        f"test_tracing.py:{first + 7}  shared  tile   read       1024        32                         32-way",
        f"test_tracing.py:{first + 7}  global  y      write      1024        32      128    128",
        "what to do next",
        "x (global): side by side, nothing to gain.",
        f"tile (shared): test_tracing.py:{first + 7} reads with a 32-way bank conflict: the elements of neighbouring "
        "threads lie 32",
        "  elements apart, 32 words. Pad its rows by one column, to the shape (32, 33): no conflict is left.",
        "y (global): side by side, nothing to gain.",
    ]


def test_bad_input():
    found = trace(copy, 1, 4, np.zeros(4), np.zeros(4))
    with pytest.raises(ValueError, match="space got 'local'; expected one of 'global', 'shared'"):
        found.count("local", "read")
    with pytest.raises(ValueError, match="kind got 'writes'; .*did you mean 'write'"):
        found.per_thread("global", "writes")
    with pytest.raises(EmulatorError, match=re.escape("y[3] is outside the array")):
        trace(copy, 1, 4, np.zeros(4), np.zeros(3))
    launch(copy, 1, 4, np.zeros(4), np.zeros(4))
    assert len(found.accesses) == 8  # the trace hears of its own launch only


def test_the_picture(tmp_path):
    found = trace(one_pair_collides, 1, 32, np.zeros(32, np.float32))
    found.plot(tmp_path / "tile.png")
    assert (tmp_path / "tile.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"block got \(1, 0, 0\); kernel one_pair_collides accesses no memory there"):
        found.plot(tmp_path / "none.png", block=(1,))
    with pytest.raises(ValueError, match="suffix of path"):
        found.plot(tmp_path / "tile.txt")


def text_of(found, path, **options):
    """What an SVG picture says, text as text."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        found.plot(path, **options)
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def test_the_picture_says_what_it_shows(tmp_path):
    found = trace(one_pair_collides, 2, 32, np.zeros(32, np.float32))
    text = text_of(found, tmp_path / "pair.svg", block=(1, 0, 0))
    assert "Kernel one_pair_collides, block (1, 0, 0): the thread at each element, step by step" in text
    assert "Step 0, global x" in text
    assert any(title.startswith("Step 0, shared tile") and title.endswith(": 2-way bank conflict") for title in text)
    assert {"read", "written", "read and written", "bank conflict"} <= set(text)
    broadcasted = trace(broadcast, 1, 48, np.zeros(8, np.float32), np.zeros(48, np.float32))
    text = text_of(broadcasted, tmp_path / "broadcast.svg")
    assert "48×" in text and "Step 0, global y (part)" in text and "47" not in text


def test_cells_with_a_bank_conflict_have_a_frame():
    figure = trace(one_pair_collides, 1, 32, np.zeros(32, np.float32)).plot()
    edge = to_rgba(STYLES["bank conflict"]["edgecolor"])
    framed = {
        axes.get_title("left"): [patch.get_xy() for patch in axes.patches if patch.get_edgecolor() == edge]
        for axes in figure.axes
    }
    (shared,) = (title for title in framed if "shared" in title)
    assert framed.pop(shared) == [(-0.5, -0.5)]  # element 0; number 32, the other one, lies behind the panel
    assert not any(framed.values())


@cuda.jit
def only_computes(x):
    y = x * x
    y += 1.0


def test_a_kernel_that_accesses_no_memory_has_a_trace_too():
    found = trace(only_computes, 1, 2, np.float32(3))
    assert math.isnan(found.intensity) and found.sectors == 0 and found.flops == 2 * 2
    assert "0 bytes in 0 sectors" in str(found)


@cuda.jit
def writes_its_number(x):
    t, size = cuda.threadIdx, cuda.blockDim
    number = (t.z * size.y + t.y) * size.x + t.x
    x[number] = number


def test_threads_of_a_block_with_three_dimensions_are_counted_along_x_then_y_then_z():
    found = trace(writes_its_number, 1, (3, 2, 7), np.zeros(42))
    elements = [[access.element[0] for access in together.accesses] for together in found.warp_accesses]
    assert elements == [[*range(32)], [*range(32, 42)]]  # two warps
    (panel,) = (axes for axes in found.plot().axes if axes.get_title("left"))
    numbers = {text.get_position()[0]: text.get_text() for text in panel.texts}
    assert numbers == {number: str(number) for number in range(32)}  # as many cells as a panel has


@cuda.jit
def reads_writes_and_both(x):
    t = cuda.threadIdx.x
    if t < 3:
        x[8] = x[t]  # three are read, one is written
    else:
        x[t] += 1.0  # two are read and written


def test_the_colours_of_a_picture_tell_reads_from_writes(tmp_path):
    path = tmp_path / "colours.svg"
    trace(reads_writes_and_both, 1, 5, np.zeros(9)).plot(path)
    drawing = path.read_text(encoding="utf-8").lower()
    found = {label: drawing.count(f"fill: {style['facecolor'].lower()}") for label, style in STYLES.items()}
    # Three cells, the boxes of their numbers, and the legend; what is hatched has the plain colour in the boxes only.
    assert (found["read"], found["written"], found["read and written"]) == (3 + 3 + 1, 1, 2)


@cuda.jit
def many_barriers(x):
    for i in range(9):
        x[i] = i
        cuda.syncthreads()


def test_a_long_kernel_is_drawn_in_part(tmp_path):
    text = text_of(trace(many_barriers, 1, 1, np.zeros(9)), tmp_path / "long.svg")
    assert any(title.endswith("6 of 9 steps between barriers") for title in text)
    assert sum(title.startswith("Step ") for title in text) == 6


@cuda.jit
def sum_of_eight(x, total):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(8, float32)
    tile[t] = x[t]
    cuda.syncthreads()
    if t == 0:
        for i in range(8):
            total[0] += tile[i]


def test_all_cells_have_one_size_and_arrays_of_different_steps_share_a_column():
    figure = trace(sum_of_eight, 1, 8, np.zeros(8, np.float32), np.zeros(1, np.float32)).plot()
    figure.draw_without_rendering()
    panels = {axes.get_title("left"): axes for axes in figure.axes if axes.get_visible() and axes.get_title("left")}
    assert list(panels) == ["Step 0, global x", "Step 0, shared tile", "Step 1, global total", "Step 1, shared tile"]
    cells = [np.diff(axes.transData.transform([(0, 0), (1, 1)]), axis=0)[0] for axes in panels.values()]
    np.testing.assert_allclose(np.abs(cells), np.abs(cells[0][0]), rtol=0.02)
    assert panels["Step 1, global total"].get_position().x0 == panels["Step 0, global x"].get_position().x0
    assert all(len(axes.get_yticks()) == 0 for axes in panels.values())  # each array is one row


# Operations -----------------------------------------------------------------------------------------------------------


@each("shape", [(1, 1, 1), (3, 5, 7), (33, 4, 2)])
@each("dtype", [np.float32, np.float64])
def test_a_naive_product_does_two_operations_for_each_of_its_products(shape, dtype):
    m, k, n = shape
    a, b, c = np.ones((m, k), dtype), np.ones((k, n), dtype), np.zeros((m, n), dtype)
    found = trace(naive, ladder.RUNGS["coalesced"].grid(c), (32, 8), a, b, c)
    assert found.flops == 2 * m * k * n
    assert found.intensity == found.flops / found.bytes_moved
    assert f"{found.flops} floating-point operations, {found.intensity:.3g} for each byte" in str(found)
    np.testing.assert_array_equal(c, k)


@cuda.jit
def of_every_kind(x, y, i, scale):
    tile, own = cuda.shared.array(1, float32), cuda.local.array(1, float64)
    tile[0] = x[0] * scale  # 1: a multiplication
    own[0] = -x[1]  # a change of sign is none
    y[0] = float32(own[0]) - tile[0] / x[2]  # 2
    y[1] = math.sqrt(x[3]) + math.erf(x[0])  # 3
    y[2] = max(abs(x[0]), x[1])  # none
    y[3] = x[i + 2 * i] if x[0] < x[1] else x[i]  # none: a comparison, and integers
    y[4] = 2 + scale * scale  # 2
    cuda.atomic.add(y, 5, x[0])  # 1
    y[6] = cuda.shfl_sync(0xFFFFFFFF, x[0], 0) + x[0]  # 1


@cuda.jit
def every_operator(x, c, y):
    a, b = x[0], x[1]
    y[0], y[1], y[2], y[3], y[4], y[5], y[6] = a + c, a - c, a * c, a / c, a // c, a % c, a**c
    y[7], y[8], y[9], y[10], y[11], y[12], y[13] = c + a, c - a, c * a, c / a, c // a, c % a, c**a
    for i in range(14, 21):
        y[i] = a
    y[14] += c
    y[15] -= c
    y[16] *= c
    y[17] /= c
    y[18] //= c
    y[19] %= c
    y[20] **= c
    y[21], y[22], y[23], y[24] = (c + a) * b, (c - a) * b, (c * a) * b, (c / a) * b
    y[25], y[26], y[27] = (c // a) * b, (c % a) * b, (c**a) * b
    y[28] = operator.add(a, c) - operator.imul(c, a)


@cuda.jit
def every_comparison(x, c, y):
    a = x[0]
    y[0], y[1], y[2], y[3], y[4], y[5] = a < c, a <= c, a == c, a != c, a > c, a >= c
    y[6], y[7], y[8], y[9], y[10], y[11] = c < a, c <= a, c == a, c != a, c > a, c >= a
    y[12] = a < c < a


# What may stand on the other side of a traced number: an integer, or another number.
OTHERS = {"int": 3, "float": 1.5, "float32": np.float32(1.5), "float64": np.float64(1.5)}


@each("dtype", [np.float32, np.float64])
@each("other", OTHERS)
def test_every_operator_counts_once_on_both_sides_and_its_result_still_counts(other, dtype):
    a, b = np.array([2.5, 0.75], dtype)
    c = OTHERS[other]
    plain, traced = np.zeros((2, 29))
    launch(every_operator, 1, 1, np.array([a, b]), c, plain)
    assert trace(every_operator, 1, 1, np.array([a, b]), c, traced).flops == 21 + 2 * 7 + 3
    np.testing.assert_array_equal(traced, plain)
    a, b, c = 2.5, 0.75, float(c)
    once = [a + c, a - c, a * c, a / c, a // c, a % c, a**c]
    swapped = [c + a, c - a, c * a, c / a, c // a, c % a, c**a]
    expected = [*once, *swapped, *once, *(value * b for value in swapped), a + c - a * c]
    np.testing.assert_allclose(plain, expected, rtol=1e-6)


@each("dtype", [np.float32, np.float64])
@each("other", OTHERS)
def test_comparisons_count_nothing_on_either_side(other, dtype):
    x, c, y = np.array([2.5], dtype), OTHERS[other], np.zeros(13)
    assert trace(every_comparison, 1, 1, x, c, y).flops == 0
    less = c > 2.5
    assert y.tolist() == [less, less, 0, 1, not less, not less, not less, not less, 0, 1, less, less, 0]


def count(compute, dtype):
    """The operations that a trace counts for compute(a, b) with two elements of an array."""
    compute = cuda.jit(device=True)(compute)

    @cuda.jit
    def kernel(x, y):
        y[0] = compute(x[0], x[1])

    return trace(kernel, 1, 1, np.array([2.5, 0.75], dtype), np.zeros(1)).flops


@each("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "change",
    [
        operator.neg, operator.pos, abs, float32, float64,
        cuda.jit(device=True)(lambda a: max(a, 1)), cuda.jit(device=True)(lambda a: min(3, a)),
        math.fabs, math.floor, math.ceil, math.trunc,
    ],
)  # fmt: skip
def test_signs_choices_and_conversions_count_nothing_but_what_follows_does(change, dtype):
    @cuda.jit
    def kernel(x, y):
        y[0] = change(x[0])
        if x.size > 1:
            y[0] = 2.0 * change(x[0]) - x[1]

    for x, flops in ((np.array([-2.5], dtype), 0), (np.array([2.5, 0.75], dtype), 2)):
        assert trace(kernel, 1, 1, x, np.zeros(1)).flops == flops


@each("dtype", [np.float32, np.float64])
def test_a_multiply_add_counts_two(dtype):
    assert count(lambda a, b: a * b + a, dtype) == 2
    assert count(lambda a, b: a - 2.0 * b, dtype) == 2
    assert count(lambda a, b: 1 / (1 + a**2), dtype) == 3


def test_what_counts_as_an_operation():
    x, plain, traced = np.array([1, 2, 4, 9], np.float32), *np.zeros((2, 7), np.float32)
    arguments = 1, np.float32(0.5)
    launch(of_every_kind, 1, 1, x, plain, *arguments)
    assert trace(of_every_kind, 1, 1, x, traced, *arguments).flops == 10
    np.testing.assert_array_equal(traced, plain)


@cuda.jit
def four_at_once(x, y):
    t = cuda.threadIdx.x
    tile = cuda.shared.array((32, 4), x.dtype, alignment=16)
    store_four(tile, (t, 0), load_four(x, (t, 0)))
    cuda.syncthreads()
    store_four(y, (t, 0), load_four(tile, (31 - t, 0)))


def test_an_access_of_128_bits_is_one_of_the_warp():
    x, y = np.arange(128, dtype=np.float32).reshape(32, 4), np.zeros((32, 4), np.float32)
    found = trace(four_at_once, 1, 32, x, y)
    np.testing.assert_array_equal(y, x[::-1])
    assert [(line.accesses, line.warp_accesses) for line in found.lines()] == [(128, 1)] * 4
    assert (found.sectors, found.ideal_sectors, found.conflict) == (32, 32, 1)
    found = trace(four_at_once, 1, 32, x.astype(np.float64), y.astype(np.float64))
    assert [(line.accesses, line.warp_accesses) for line in found.lines()] == [(128, 2)] * 4


def test_a_wide_access_must_be_aligned():
    x = np.zeros(140, np.float32)
    start = -x.ctypes.data % 16 // 4 + 1
    with pytest.raises(EmulatorError, match=re.escape("x[0, 0] does not lie at a multiple of 16 bytes")):
        launch(four_at_once, 1, 32, x[start : start + 128].reshape(32, 4), np.zeros((32, 4), np.float32))


@intrinsic
def unheard_of(typing, x):
    return x(x), None


@cuda.jit
def with_an_intrinsic(x):
    x[0] = unheard_of(x[0])


def test_an_intrinsic_of_somebody_else():
    with pytest.raises(EmulatorError, match="the emulator does not know the intrinsic unheard_of"):
        launch(with_an_intrinsic, 1, 1, np.zeros(1))


@cuda.jit
def four_operations(x, y):
    i = cuda.grid(1)
    y[i] = (x[i] + 1) * 2 - x[i] / 3


def test_a_trace_is_not_kept_by_the_kernel():
    def kept():
        trace(four_operations, 1, 8, *np.ones((2, 8)))
        gc.collect()
        return sum(isinstance(found, Recorder) for found in gc.get_objects())

    assert kept() == kept() == kept()  # that of the last launch
