"""The ladder of the matrix product: C = A B on a GPU, from three lines to tensor cores, one short file for each rung.

All matrices are row-major and may have any size. Each rung computes the same as the one before it, faster; the top of
its file says what changes and why that helps. docs/ladder.md shows what the compiler makes of each rung and how it uses
memory. The last two do not compute in float32 throughout, and say what they give up.

    ladder.product(minidl.emulator.launch, "shared tile", a, b, c)

Read them in the order of `RUNGS`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minidl.cuda.ladder import (
    coalesced,
    double_buffer,
    naive,
    register_tile,
    shared_tile,
    tensor_cores,
    wide_loads,
)
from minidl.utils import checks

__all__ = ["RUNGS", "Rung", "product"]


class Rung(NamedTuple):
    """A kernel (a, b, c) that computes C = A B, and how to launch it."""

    kernel: Any
    block: tuple[int, ...]
    tile: tuple[int, int]  # rows and columns of C that a block computes
    dtypes: tuple[str, ...] = ("float32", "float64")
    capability: tuple[int, int] = (7, 5)  # the lowest compute capability

    def grid(self, c: Any) -> tuple[int, int]:
        """Return the grid that covers `c` with one block for each tile."""
        rows, columns = c.shape
        return (-(-columns // self.tile[1]), -(-rows // self.tile[0]))


def _rung(module: Any, **limits: Any) -> Rung:
    return Rung(module.product, module.BLOCK, module.TILE, **limits)


def _tensor_rung(kernel: Any) -> Rung:
    return Rung(kernel, tensor_cores.BLOCK, tensor_cores.TILE, dtypes=("float32",), capability=(8, 0))


RUNGS = {
    "naive": _rung(naive),
    "coalesced": _rung(coalesced),
    "shared tile": _rung(shared_tile),
    "register tile": _rung(register_tile),
    "128-bit loads": _rung(wide_loads),
    "double buffer": _rung(double_buffer, capability=(8, 0)),
    "tf32": _tensor_rung(tensor_cores.product_tf32),
    "3xTF32": _tensor_rung(tensor_cores.product_3xtf32),
}


def product(launch: Any, rung: str, a: Any, b: Any, c: Any) -> None:
    """Compute C = A B with one rung.

    Args:
        launch: Launches the kernel: `device.launch` or `emulator.launch`.
        rung: A name in `RUNGS`.
        a: A, shape (m, k), of one of the dtypes of the rung.
        b: B, shape (k, n), likewise.
        c: Receives C, shape (m, n), likewise.
    """
    checks.one_of("rung", rung, RUNGS)
    step = RUNGS[rung]
    launch(step.kernel, step.grid(c), step.block, a, b, c)
