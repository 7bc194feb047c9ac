r"""
A first CUDA kernel
===================

A GPU runs one function in thousands of threads at once. That takes a page to explain and a long time to get right: what
goes wrong gives no message, and often even the right result. minidl's emulator runs the same kernels on the CPU, one
thread after the other, and says what is wrong and where. This tutorial writes kernels with Numba and breaks them in the
four usual ways. It needs no GPU.
"""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numba import cuda, float32

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row, what the number is, the documented number or None, ours)

# %%
# A thread for each number
# ------------------------
#
# A kernel is written for one thread, and the first thing that it asks is: which one am I? Threads come in blocks, and
# blocks in a grid. With blocks of 4, thread 1 of block 2 is number 2 · 4 + 1 = 9; ``cuda.grid(1)`` computes that.


@cuda.jit
def double_unchecked(x, y):
    i = cuda.grid(1)
    y[i] = 2 * x[i]


# %%
# 10 numbers in blocks of 4 take 3 blocks, and they have 12 threads. The last two find no element. On a GPU they would
# read and overwrite whatever lies there; the emulator tells on them.


def complaint(kernel, *arguments):
    """What the emulator says about a launch."""
    try:
        dl.emulator.launch(kernel, *arguments)
    except dl.emulator.EmulatorError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


x = np.arange(10, dtype=np.float32)
y = np.zeros_like(x)
out_of_bounds = complaint(double_unchecked, 3, 4, x, y)
print(textwrap.fill(out_of_bounds, 90))

# %%
# So nearly every kernel begins with a bounds check.


@cuda.jit
def double(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = 2 * x[i]


doubled = dl.emulator.trace(double, 3, 4, x, y)
print(y)

# %%
# ``trace`` launches a kernel and keeps every access. On a machine with a GPU the same kernel would be launched by
# ``double[3, 4](x, y)``.

figure, axes = plt.subplots(figsize=(8, 2.2), layout="constrained")
for access in doubled.accesses:
    if access.kind == "write":
        (i,), block, thread = access.element, access.block[0], access.thread[0]
        axes.barh(0, 1, left=i, color=("#9AD0F0", "white", "#F5C56B")[block], edgecolor="black")
        axes.text(i + 0.5, 0, f"block {block}\nthread {thread}", ha="center", va="center", fontsize=8)
for i in (10, 11):
    axes.barh(0, 1, left=i, color="white", edgecolor="0.5", linestyle=":", hatch="//")
    axes.text(i + 0.5, 0, f"block 2\nthread {i - 8}", ha="center", va="center", fontsize=8, backgroundcolor="white")
axes.set(xticks=np.arange(10) + 0.5, xticklabels=range(10), yticks=[], xlabel="element of y", xlim=(-0.1, 12.1))
axes.set_title("12 threads write 10 elements: the bounds check stops the last two")
figure.savefig(figures / "13_first_cuda_kernel_threads.png")

claims.append(("bounds check", "threads that write, of 12", 10, len(doubled.per_thread("global", "write"))))

# %%
# A sum, and a race
# -----------------
#
# The threads of a block can work together: they share a small memory, which is much faster than the large one. Here
# each puts its number there, and the last thread adds them up.


@cuda.jit
def sum_with_race(x, total):
    tile = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    tile[t] = x[t]
    if t == 63:
        s = float32(0)
        for i in range(64):
            s += tile[i]
        total[0] = s


x = np.random.default_rng(0).normal(size=64).astype(np.float32)
total = np.zeros(1, np.float32)
dl.emulator.launch(sum_with_race, 1, 64, x, total)
lucky = abs(total[0] - x.sum(dtype=np.float64))
print(f"kernel {total[0]:.5f}, NumPy {x.sum(dtype=np.float64):.5f}")

# %%
# Right, and yet wrong: nobody said that thread 63 has to wait for the others. The emulator runs it last, so it found
# all numbers. A GPU runs 32 threads, a warp, in step, and the two warps in any order: often the sum would be right
# there, too, and sometimes not. The race detector does not look at results. It asks whether anything puts two accesses
# to one element in order, one of them a write.

with dl.emulator.race_detector():
    race = complaint(sum_with_race, 1, 64, x, total)
print(textwrap.fill(race, 90))

# %%
# The cure is a barrier: no thread goes on before all of the block have come to it.
#
# A thread that adds 64 numbers while 63 others wait is no good use of them, either. As a tree, the sum takes
# :math:`\log_2 64 = 6` steps: 32 threads add 32 pairs, then 16 add 16 pairs, and so on. Each step reads what other
# threads have written in the one before, so each needs a barrier.


@cuda.jit
def tree_sum(x, total):
    tile = cuda.shared.array(64, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    tile[t] = x[i] if i < x.size else float32(0)
    n = cuda.blockDim.x // 2
    while n > 0:
        cuda.syncthreads()
        if t < n:
            tile[t] += tile[t + n]
        n //= 2
    if t == 0:
        total[cuda.blockIdx.x] = tile[0]


with dl.emulator.race_detector():
    no_race = complaint(tree_sum, 1, 64, x, total)
tree_error = abs(total[0] - x.sum(dtype=np.float64))
print(f"complaint: {no_race}; kernel {total[0]:.5f}")
claims += [
    ("race", "sum without a barrier, in the emulator: off by", None, lucky),
    ("race", "sum as a tree: off by", None, tree_error),
]

# %%
# With 8 threads the tree can be drawn. The picture shows each stretch between two barriers: which elements are touched,
# and by which thread. After each barrier half as many threads add.

tree = dl.emulator.trace(tree_sum, 1, 8, x[:8], total)
tree.plot(figures / "13_first_cuda_kernel_tree.png")
steps = 1 + max(access.step for access in tree.accesses)
claims.append(("barriers", "stretches between barriers, a tree of 8", 1 + 3, steps))

# %%
# A barrier that some never reach
# -------------------------------
#
# Only ``t < n`` threads add, so why should the others wait? Because a barrier counts all threads of the block. Put it
# inside the ``if``, and on a GPU the block hangs, or goes on in a way that nobody has promised.


@cuda.jit
def barrier_for_some(x, total):
    tile = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    tile[t] = x[t]
    n = 32
    while n > 0:
        if t < n:
            cuda.syncthreads()
            tile[t] += tile[t + n]
        n //= 2
    if t == 0:
        total[0] = tile[0]


hanging = complaint(barrier_for_some, 1, 64, x, total)
print(textwrap.fill(hanging, 90))

# %%
# Reading what nobody has written
# -------------------------------
#
# Shared memory begins with whatever the block before has left in it. ``tree_sum`` puts zeros where x has ended; this
# kernel forgets them. Over 50 numbers, threads 50 to 63 leave their elements unwritten, and others add them.


@cuda.jit
def sum_without_zeros(x, total):
    tile = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    if t < x.size:
        tile[t] = x[t]
    n = 32
    while n > 0:
        cuda.syncthreads()
        if t < n:
            tile[t] += tile[t + n]
        n //= 2
    if t == 0:
        total[0] = tile[0]


unwritten = complaint(sum_without_zeros, 1, 64, x[:50], total)
print(textwrap.fill(unwritten, 90))

# %%
# minidl's own kernels
# --------------------
#
# ``backend="emulator"`` trains with the kernels of ``minidl/cuda``, every launch in the emulator. Under the race
# detector, that is also how they are tested. The results are those of the compiled loops of the CPU, up to rounding.

images = np.random.default_rng(0).normal(size=(8, 20)).astype(np.float32)
labels = np.arange(8) % 3
losses = {}
with dl.emulator.race_detector():
    for backend in ("cpu", "emulator"):
        model = dl.Sequential(dl.Dense(20, 16), dl.BatchNorm(16), dl.ReLU(), dl.Dense(16, 3), backend=backend, seed=0)
        step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), dl.Adam(1e-2))
        for _ in range(3):
            step(images, labels)
        losses[backend] = step.loss.value
difference = abs(losses["cpu"] - losses["emulator"])
print(f"loss of the third step: {losses}")
claims.append(("minidl's kernels", "loss of the third step, CPU minus emulator", None, difference))

# %%
# In short
# --------
#
# Check bounds, put a barrier between writing and reading what threads share, let all threads come to it, and write
# before you read. The second part, :doc:`13b_memory_access`, counts what a kernel that is right asks of the memory.

for row_name, what, documented, ours in claims:
    print(
        f"{row_name:>16}: {what:<52}{ours:10.4g}" + (f"   documented {documented:g}" if documented is not None else "")
    )

# %%
# Break it
# --------
#
# 1. In ``tree_sum``, move ``cuda.syncthreads()`` from the loop to the line before it. The race detector complains, and
#    ``tests/tutorials/test_13_first_cuda_kernel.py::test_the_tree_has_no_race_and_the_first_sum_has`` fails.
# 2. In ``minidl/cuda/reduce.py``, replace the first ``cuda.syncthreads()`` by ``pass``. Training above ends with a
#    ``RaceError``, and ``tests/emulator/test_races.py::test_a_training_run_does_not_race`` fails.
