r"""
The matrix product, rung by rung
================================

Most of the time of training goes into matrix products, and a product written as the formula reads leaves most of a GPU
idle. This tutorial climbs the ladder of ``minidl/cuda/ladder``: kernels of a page or less, each one idea faster than
the one before. No GPU is needed. The emulator runs them on a small product and counts what decides their speed: what
they move, what they compute, and how exact they are. It measures no times.
"""

import inspect
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as dl
from minidl.cuda.ladder import RUNGS

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row, what the number is, the number by hand or from a document or None, ours)
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %%
# The product
# -----------
#
# C = A B with A of 64 × 32 and B of 32 × 64. That is m k n = 131,072 multiplications, each with an addition. Every rung
# is launched once; ``trace`` keeps what its threads did.

m, k, n = 64, 32, 64
products = m * k * n
rng = np.random.default_rng(0)
a, b = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
exact = a.astype(np.float64) @ b
scale = np.abs(a).astype(np.float64) @ np.abs(b)  # errors are relative to this: what the roundings act on

traces, errors = {}, {}
for name, rung in RUNGS.items():
    c = np.full((m, n), np.nan, np.float32)
    traces[name] = dl.emulator.trace(rung.kernel, rung.grid(c), rung.block, a, b, c)
    errors[name] = np.abs(c - exact) / scale

# %%
# What is counted, for each multiply-add where it says so:
#
# - **read**: elements that threads read from global memory. **sectors**: the 32-byte pieces that these reads move, were
#   there no cache. A launch also writes C, once, which hardly matters in a larger product.
# - **shared**: accesses to shared memory as instructions, in relation to the instructions that the multiply-adds take.
#   **conflict**: the rounds of the worst of them; 1 is free of bank conflicts.
# - **flops**: additions and multiplications. **intensity**: the flops of the formula, 2 m k n, for each byte that is
#   read.
# - **error**: the largest, against NumPy in float64.


def sectors_read(trace):
    return sum(line.sectors for line in trace.lines() if line.kind == "read")


def shared_accesses(trace):
    """Of all warps, for 32 multiply-adds, which are one instruction of a warp."""
    return 32 / products * sum(access.conflict > 0 for access in trace.warp_accesses)


reads = {name: trace.count("global", "read") / products for name, trace in traces.items()}
sectors = {name: sectors_read(trace) for name, trace in traces.items()}
shared = {name: shared_accesses(trace) for name, trace in traces.items()}
intensity = {name: 2 * products / (32 * count) for name, count in sectors.items()}
worst = {name: error.max() for name, error in errors.items()}

print(f"{'':>14}{'read':>9}{'sectors':>9}{'shared':>9}{'conflict':>10}{'flops':>9}{'intensity':>11}{'error':>10}")
for name, trace in traces.items():
    print(
        f"{name:>14}{reads[name]:9.4f}{sectors[name]:9}{shared[name]:9.3f}{trace.conflict:10}{trace.flops:9}"
        f"{intensity[name]:11.2f}{worst[name]:10.1e}"
    )

# %%
# Naive and coalesced
# -------------------
#
# A thread for each element of C, as the formula reads:

print(inspect.getsource(RUNGS["naive"].kernel.py_func))

# %%
# For each multiply-add a thread reads two numbers. ``threadIdx.x`` runs fastest, and here it counts rows, so the 32
# threads of a warp read 32 rows of A: a sector for each. The second rung exchanges ``x`` and ``y``. Then they read one
# element of A, the same for all, and 32 neighbours of B, which are four sectors. Nothing else is different.

claims += [
    ("naive", "elements read for a multiply-add", 2, reads["naive"]),
    ("coalesced", "elements read for a multiply-add", 2, reads["coalesced"]),
    ("naive", "sectors for 32 multiply-adds", 32 + 1, 32 * sectors["naive"] / products),
    ("coalesced", "sectors for 32 multiply-adds", 1 + 4, 32 * sectors["coalesced"] / products),
]

# %%
# Tiles in shared memory, and in registers
# ----------------------------------------
#
# A block of 32 × 32 threads needs 32 rows of A and 32 columns of B. Each thread copies one element of both to shared
# memory, and all use it:

print(inspect.getsource(RUNGS["shared tile"].kernel.py_func))

# %%
# An element that was read from global memory now serves 32 threads. But from shared memory each multiply-add still
# takes two loads, and now these decide. The cure is the same once more, one floor higher: a thread computes 8 × 8
# elements of C. It takes 8 numbers of A and 8 of B into registers, and makes 64 multiply-adds of 16 loads.

claims += [
    ("shared tile", "elements read for a multiply-add", 2 / 32, reads["shared tile"]),
    ("register tile", "elements read for a multiply-add", 2 / 64, reads["register tile"]),
]

# %%
# Wide loads and double buffering
# -------------------------------
#
# A thread can move four neighbouring numbers with one instruction of 128 bits: the same bytes, a quarter of the
# instructions. And while it multiplies one tile, the next can be on its way: ``cp.async`` copies from global to shared
# memory, and nobody waits for it until ``wait_for_copies``. That saves waiting and not traffic, so hardly any column of
# the table shows it; a copy cannot transpose, which costs some wide loads. In the emulator a copy arrives at the wait
# and not before, so that a wait that somebody forgot is found.

names = list(RUNGS)
colors = [ORANGE, ORANGE, BLUE, BLUE, BLUE, BLUE, GREEN, GREEN]
hatches = ["", "", "//", "//", "//", "//", "xx", "xx"]  # the same three groups in black and white
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
for axes, values, form in ((left, sectors, "{:,.0f}"), (right, shared, "{:.2f}")):
    bars = axes.barh(names, list(values.values()), color=colors, edgecolor="white", hatch=hatches)
    axes.bar_label(bars, [form.format(value) if value else "none" for value in values.values()], padding=3)
left.set(xscale="log", xlabel="sectors read from global memory, logarithmic", xlim=(300, 900_000))
left.invert_yaxis()
right.set(xlabel="accesses to shared memory for each multiply-add", xlim=(0, 2.5))
figure.suptitle("Shared tiles spare global memory, register tiles and wide loads spare shared memory")
figure.savefig(figures / "14_matrix_product_traffic.png")

claims += [("ladder", f"flops, {name}", 2 * products, traces[name].flops) for name in names[:6]] + [
    ("ladder", "rounds of the worst shared access of all rungs", 1, max(trace.conflict for trace in traces.values()))
]

# %%
# The roofline
# ------------
#
# How much of this pays depends on the machine. By its data sheet an H200 computes 67 TFLOP/s in float32, 495 on tensor
# cores with tf32 (half of what the sheet says, which counts on zeros in the data), and reads 4.8 TB/s. A kernel of
# intensity I cannot do more than
#
# .. math::
#
#    \min(\text{peak},\; I \cdot \text{bandwidth})
#
# (Williams, Waterman & Patterson 2009). This is arithmetic with numbers of a data sheet; nothing here was measured.
# Caches, which are left out, help the rungs on the left a good deal.

PEAK, TF32_PEAK, BANDWIDTH = 67.0, 495.0, 4.8  # TFLOP/s, TFLOP/s, TB/s
tensor = {"tf32": TF32_PEAK, "3xTF32": TF32_PEAK / 3}
bound = {name: min(tensor.get(name, PEAK), intensity[name] * BANDWIDTH) for name in names}

figure, axes = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
x = np.geomspace(0.03, 300, 200)
axes.loglog(x, np.minimum(PEAK, x * BANDWIDTH), color=BLUE, label="float32: 67 TFLOP/s")
axes.loglog(
    x, np.minimum(TF32_PEAK, x * BANDWIDTH), "--", color=GREEN, label="tf32 on tensor cores: 495 TFLOP/s", zorder=0
)
for name in ("naive", "coalesced", "shared tile"):
    axes.plot(intensity[name], bound[name], "o", color=BLUE, markersize=8)
    axes.annotate(f"{name}\n{bound[name]:.2g}", (intensity[name], bound[name]), (0, -34), textcoords="offset points")
axes.plot(intensity["register tile"], bound["register tile"], "o", color=BLUE, markersize=8)
axes.annotate(
    f"register tile, 128-bit loads,\ndouble buffer: {bound['register tile']:.2g}",
    (intensity["register tile"], bound["register tile"]), (14, -24), textcoords="offset points",
)  # fmt: skip
axes.plot(intensity["tf32"], bound["tf32"], "s", color=GREEN, markersize=8)
axes.annotate(
    f"tf32, 3xTF32: {bound['tf32']:.2g}", (intensity["tf32"], bound["tf32"]), (-110, 12), textcoords="offset points"
)
axes.set(xlabel="intensity: flops for each byte read, no caches", ylabel="at most TFLOP/s", ylim=(0.04, 1000))
axes.set_title("H200 by its data sheet, not measured: tiles of 64 reach the roof of float32")
axes.legend(loc="upper left")
axes.grid(alpha=0.3)
figure.savefig(figures / "14_matrix_product_roofline.png")

ridge = PEAK / BANDWIDTH
claims += [
    ("roofline", "intensity, shared tile of 32", 32 / 4, intensity["shared tile"]),
    ("roofline", "intensity, register tile of 64", 64 / 4, intensity["register tile"]),
    ("roofline", "intensity from which float32 is the limit, H200", None, ridge),
]

# %%
# Tensor cores
# ------------
#
# A tensor core multiplies small matrices with one instruction: 1024 multiply-adds for a warp, where an ordinary one
# does 32. The price is precision. Of each factor it takes 10 bits of mantissa instead of 23, which is called tf32. The
# picture shows the errors of all 4096 elements of C.
#
# 3xTF32 buys the bits back. Each factor is split into its leading 11 bits and the next 11, :math:`a = a_1 + a_2`, and
#
# .. math::
#
#    a\,b \approx a_1 b_1 + a_1 b_2 + a_2 b_1
#
# which are three products for one (Ootomo & Yokota 2022). minidl uses neither unless ``MINIDL_TF32`` asks for it.

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
bins = np.geomspace(1e-11, 1e-3, 60)
for name, style, color in (("coalesced", "-", BLUE), ("3xTF32", "--", GREEN), ("tf32", "-.", ORANGE)):
    label = "float32 (coalesced)" if name == "coalesced" else name
    counts, _ = np.histogram(np.clip(errors[name], bins[0], None), bins)
    axes.stairs(counts, bins, linestyle=style, color=color, linewidth=1.8, label=label)
axes.set(xscale="log", xlabel="error of an element, relative to |A| |B|", ylabel="elements")
axes.set_title("TF32 loses three digits, and 3xTF32 has them again")
axes.legend(loc="upper left")
figure.savefig(figures / "14_matrix_product_errors.png")

typical = {name: np.sqrt(np.mean(error**2)) for name, error in errors.items()}
claims += [
    ("precision", "largest error, float32", None, worst["coalesced"]),
    ("precision", "largest error, tf32", None, worst["tf32"]),
    ("precision", "largest error, 3xTF32", None, worst["3xTF32"]),
    ("precision", "root mean square error, tf32 over float32", None, typical["tf32"] / typical["coalesced"]),
    ("precision", "root mean square error, 3xTF32 over float32", None, typical["3xTF32"] / typical["coalesced"]),
]

# %%
# On the CPU
# ----------
#
# The CPU has the same ladder with other names: the order of the loops is the coalescing, registers are registers, and
# ``minidl/cpu/engine/microkernel.py`` is the last rung. ``benchmarks/results/cpu_product.md`` has its times. On the
# machine that it names, exchanging two of the three loops made the product some 40 times faster, and keeping a block of
# C in registers some 150 times.

# %%
# In short
# --------
#
# Let neighbours read neighbours; use what was loaded more than once, first in shared memory, then in registers; move
# four numbers at a time, and do not wait. ``docs/ladder.md`` has what the compiler makes of each rung.

for row, what, by_hand, ours in claims:
    print(f"{row:>14}: {what:<50}{ours:12.4g}" + (f"   by hand {by_hand:g}" if by_hand is not None else ""))

# %%
# Break it
# --------
#
# 1. In ``minidl/cuda/ladder/shared_tile.py``, replace the second ``cuda.syncthreads()`` by ``pass``. The results here
#    stay right, by luck; ``tests/cuda/ladder/test_ladder.py::test_no_fault_in_the_rungs_as_they_are`` finds the race.
# 2. In ``minidl/cuda/ladder/naive.py``, exchange ``cuda.threadIdx.x`` and ``cuda.threadIdx.y``, and the two numbers of
#    ``BLOCK``. Its bar in the first picture shrinks, and
#    ``tests/tutorials/test_14_matrix_product.py::test_traffic_is_what_it_is_by_hand`` fails.
# 3. In ``minidl/cuda/ladder/wide_loads.py``, take the padding away: ``PITCH = EXTENT``. The table shows a conflict, and
#    ``tests/cuda/ladder/test_ladder.py::test_coalescing_and_bank_conflicts`` fails.
# 4. In ``multiply_add_thrice`` of ``minidl/cuda/ladder/tensor_cores.py``, leave out the product of ``a2`` and ``b1``.
#    The errors of 3xTF32 in the last picture move to those of tf32, and
#    ``tests/cuda/ladder/test_ladder.py::test_3xtf32_is_as_accurate_as_float32_and_tf32_is_not`` fails.
