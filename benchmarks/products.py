"""Matrix products: minidl's three, NumPy as it was installed, and OpenBLAS with kernels for AVX-512.

OpenBLAS chooses its kernels by the processor when it is loaded, and does not know every processor. The choice can be
forced by an environment variable, in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np

from minidl import cpu

CORE_TYPE = "SkylakeX"


class Product(NamedTuple):
    """One of the three products of a dense layer: "forward", "weight gradient" or "input gradient"."""

    kind: str
    batch: int
    n_in: int
    n_out: int

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.n_in * self.n_out

    def __str__(self) -> str:
        return f"{self.kind} {self.batch} × {self.n_in} × {self.n_out}"


KINDS = ("forward", "weight gradient", "input gradient")


def operands(product: Product) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two factors as the dense layer has them, and the array for the result."""
    rng = np.random.default_rng(0)
    kind, batch, n_in, n_out = product
    x, weight, dy = (rng.standard_normal(shape, np.float32) for shape in ((batch, n_in), (n_in, n_out), (batch, n_out)))
    if kind == "forward":
        return x, weight, np.empty_like(dy)
    if kind == "weight gradient":
        return x, dy, np.empty_like(weight)
    return dy, weight, np.empty_like(x)


def by_minidl(product: Product) -> tuple[Callable[[], None], np.ndarray]:
    """A function that computes the product, and the array where it puts it."""
    a, b, c = operands(product)
    if product.kind == "forward":
        return lambda: cpu.dense_forward(a, b, None, c), c
    backward = cpu.dense_backward_weight if product.kind == "weight gradient" else cpu.dense_backward_input
    return lambda: backward(a, b, c), c


def by_numpy(product: Product) -> tuple[Callable[[], None], np.ndarray]:
    a, b, c = operands(product)
    if product.kind == "weight gradient":
        a = a.T
    elif product.kind == "input gradient":
        b = b.T

    def compute() -> None:
        np.matmul(a, b, out=c)

    return compute, c


# NumPy with other kernels, in another process -------------------------------------------------------------------------


class OtherKernels:
    """NumPy in a process whose OpenBLAS has the kernels of another processor."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def take(self, product: Product) -> np.ndarray:
        """Compute the product once; `run` repeats it."""
        self._connection.send(product)
        return self._connection.recv()

    def run(self, steps: int) -> None:
        self._connection.send(steps)
        self._connection.recv()


@contextmanager
def other_kernels(core_type: str = CORE_TYPE):
    """Starts the process and ends it; waiting for work, it uses no time."""
    before = os.environ.get("OPENBLAS_CORETYPE")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    os.environ["OPENBLAS_CORETYPE"] = core_type
    try:
        process.start()
    finally:
        if before is None:
            del os.environ["OPENBLAS_CORETYPE"]
        else:
            os.environ["OPENBLAS_CORETYPE"] = before
    theirs.close()  # so that the end of the process is an error here, and not a wait without end
    try:
        yield OtherKernels(ours)
    finally:
        ours.close()
        process.join()


def _serve(connection: Connection) -> None:
    """Answer a product with its result, and a number by computing the last product so many times."""
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if isinstance(request, Product):
            compute, c = by_numpy(request)
            compute()
            connection.send(c)
        else:
            for _ in range(request):
                compute()
            connection.send(None)
