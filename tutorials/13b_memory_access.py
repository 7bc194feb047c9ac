r"""
What a kernel asks of the memory
================================

A kernel that is right may still be slow, mostly because of how its threads walk through memory. A GPU moves more bytes
than they want if neighbours do not read neighbours, and it makes them wait if they all want the same bank. The emulator
counts both, on the CPU.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numba import cuda, float32

import minidl as dl

figures = Path("runs", "tutorials")
figures.mkdir(parents=True, exist_ok=True)
claims = []  # (row, what the number is, the documented number or None, ours)
BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
# Coalesced and strided access
# ----------------------------
#
# A GPU runs 32 threads, a warp, in step. A warp makes the accesses of its threads together, and the memory answers in
# sectors of 32 bytes, which hold 8 float32. 32 neighbours are 4 sectors. The further apart the elements are, the more
# sectors are moved, until each thread moves 32 bytes for the 4 that it wants.


@cuda.jit
def gather(x, stride, y):
    i = cuda.grid(1)
    y[i] = x[stride * i]


strides = [1, 2, 4, 8, 16]
sectors = []
for stride in strides:
    found = dl.emulator.trace(gather, 1, 32, np.zeros(32 * stride, np.float32), stride, np.zeros(32, np.float32))
    read, _ = found.lines()
    sectors.append(read.sectors)

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
bars = axes.bar([str(stride) for stride in strides], sectors, color=BLUE)
axes.bar_label(bars, [f"{n} sectors\n{4 / n:.1%} used" for n in sectors], fontsize=8, padding=2)
axes.axhline(4, color=ORANGE, linestyle="--", label="side by side")
axes.set(xlabel="elements from one thread to the next", ylabel="sectors of 32 bytes", ylim=(0, 38))
axes.set_title("A warp reads 32 numbers: far apart costs up to 8 times")
axes.legend(loc="upper left")
figure.savefig(figures / "13b_memory_access_sectors.png")

# CUDA C++ Best Practices Guide, Strided accesses: a stride of 2 uses half of what is moved.
claims += [
    ("coalescing", "sectors of a warp that reads 32 neighbours", 4, sectors[0]),
    ("coalescing", "share of the bytes used, stride 2", 0.5, sectors[0] / sectors[1]),
    ("coalescing", "sectors of a warp, stride 8 and more", 32, sectors[-1]),
]

# %%
# Bank conflicts
# --------------
#
# To transpose a matrix, one must walk down a column: either in reading or in writing, a warp touches 32 sectors.


@cuda.jit
def transpose(x, y):
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    y[tx, ty] = x[ty, tx]


# %%
# Unless the walk takes place in shared memory, which has no sectors. A tile is read in rows, turned there, and written
# in rows.


def transpose_through_a_tile(width):
    @cuda.jit
    def transpose(x, y):
        tile = cuda.shared.array((32, width), float32)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        tile[ty, tx] = x[ty, tx]
        cuda.syncthreads()
        y[ty, tx] = tile[tx, ty]

    return transpose


# %%
# But shared memory has a rule of its own: its words of 4 bytes are dealt out to 32 banks in turn, and a bank gives one
# word at a time. In rows of 32 numbers a column lies in a single bank, and the warp waits 32 times. A column of
# padding, never used, moves each row on by one bank, and the conflict is gone.

matrix = np.arange(32 * 32, dtype=np.float32).reshape(32, 32)
ways = {
    "straight": transpose,
    "tile 32 wide": transpose_through_a_tile(32),
    "tile 33 wide": transpose_through_a_tile(33),
}
transposed = {}
for name, kernel in ways.items():
    turned = np.zeros_like(matrix)
    transposed[name] = dl.emulator.trace(kernel, 1, (32, 32), matrix, turned)
    assert (turned == matrix.T).all()
print(transposed["tile 32 wide"])

# %%
# The table has a row for each access in the source, with its sectors and its worst bank conflict. In the picture of the
# tile a colour is a bank, and the frame is what a warp reads at once.

figure, row = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
for axes, width in zip(row, (32, 33), strict=True):
    bank = np.arange(32 * width).reshape(32, width) % 32
    image = axes.imshow(bank, cmap="cividis", extent=(-0.5, width - 0.5, 31.5, -0.5))
    axes.add_patch(plt.Rectangle((3.5, -0.5), 1, 32, fill=False, edgecolor="white", linewidth=2.5))
    if width == 33:
        axes.add_patch(plt.Rectangle((31.5, -0.5), 1, 32, fill=False, edgecolor="black", hatch="////"))
        axes.text(30.5, 16, "padding", va="center", ha="right", backgroundcolor="white")
    rounds, banks = transposed[f"tile {width} wide"].conflict, len(set(bank[:, 4]))
    axes.set(xlabel="column of the tile", title=f"{width} wide: {banks} of 32 banks, rounds: {rounds}")
row[0].set_ylabel("row of the tile")
figure.colorbar(image, ax=row, label="bank")
figure.suptitle("A column of padding deals out the elements of each column to 32 banks")
figure.savefig(figures / "13b_memory_access_banks.png")

for name, found in transposed.items():
    claims += [
        ("bank conflicts", f"sectors, {name}", 4 * 32 + (32 if name == "straight" else 4) * 32, found.sectors),
        ("bank conflicts", f"rounds of the worst shared access, {name}", None, found.conflict),
    ]

# %%
# In short
# --------
#
# Let neighbouring threads have neighbouring elements, and pad tiles that are walked through in columns. The next
# tutorial makes a matrix product fast with exactly this.

for row_name, what, documented, ours in claims:
    print(
        f"{row_name:>16}: {what:<52}{ours:10.4g}" + (f"   documented {documented:g}" if documented is not None else "")
    )

# %%
# Break it
# --------
#
# 1. In ``ways``, call ``transpose_through_a_tile(34)`` for the padded tile: 34 = 2 mod 32, so a column lies in 16
#    banks. The title of the last picture says 2 rounds, and
#    ``tests/tutorials/test_13b_memory_access.py::test_padding_ends_the_bank_conflicts`` fails.
# 2. In ``minidl/emulator/tracing.py``, set ``SECTOR`` to 64. The bars of the picture of sectors shrink, and
#    ``tests/emulator/test_tracing.py::test_a_walk_down_a_column_touches_32_sectors`` fails.
