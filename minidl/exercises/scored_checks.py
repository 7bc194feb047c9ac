"""Checks of the exercises about kernels that have a score: the trace of a launch, beside the best known one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.emulator import launch, race_detector
from minidl.exercises.student import Student


def saxpy(student: Student) -> Iterator[str]:
    """Check y += a x."""
    threads = 4

    def arrays(n: int) -> tuple[Any, ...]:
        rng = np.random.default_rng(n)
        return np.float32(3), *(rng.integers(1, 10, n).astype(np.float32) for _ in range(2))

    def check(n: int, blocks: int) -> None:
        a, x, y = arrays(n)
        before, old = x.copy(), y.copy()
        student.calls(f"saxpy[{blocks}, {threads}](a, x ({n},), y ({n},))")
        with race_detector():
            launch(student.saxpy, (blocks,), (threads,), a, x, y)
        right = a * x + old
        mistakes = {
            "nothing is written": old,
            "a is left out": x + old,
            "y is not added": a * x,
            "x is not added": a * old,
            "a multiplies y instead of x": x + a * old,
            "the last element is left out": np.append(right[:-1], old[-1]),
            "only the first block does something": np.append(right[:threads], old[threads:]),
            "only the first thread of each block does something": np.where(np.arange(n) % threads == 0, right, old),
        }
        student.expect("y", y, right, mistakes)
        student.expect("x, which must not change,", x, before)

    yield "one block"
    check(threads, 1)
    yield "several blocks"
    check(3 * threads, 3)
    yield "more threads than elements"
    for n, blocks in ((1, 1), (threads - 1, 1), (2 * threads + 1, 3), (5, 4)):
        check(n, blocks)
    yield "its trace"
    student.scores("saxpy of 90 elements, 3 blocks of 32 threads", student.saxpy, 3, 32, *arrays(90))


def histogram(student: Student) -> Iterator[str]:
    """Check the counts of values, and that blocks count in shared memory."""
    bins, threads = student.BINS, 16

    def check(values: Any, blocks: int) -> None:
        values = np.asarray(values, np.int32)
        counts = np.zeros(bins, np.int32)
        student.calls(f"histogram[{blocks}, {threads}](values {values.shape}, counts ({bins},))")
        with race_detector():
            launch(student.histogram, (blocks,), (threads,), values, counts)

        def count(some: Any) -> Any:
            return np.bincount(some, minlength=bins)

        all_threads = blocks * threads
        mistakes = {
            "nothing is counted": np.zeros(bins),
            "each thread counts one value only; there may be more values than threads": count(values[:all_threads]),
            "only the threads of the first block count": count(values[np.arange(values.size) % all_threads < threads]),
            "every block counts all values": count(values) * blocks,
            "the values are added up instead of counted": count(values) * np.arange(bins),
            "only the last value that arrives counts: 1 is written, not added": count(values) > 0,
        }
        student.expect("counts", counts, count(values), mistakes)

    rng = np.random.default_rng(0)
    yield "one value for each thread"
    check(rng.integers(0, bins, threads), 1)
    yield "all values in one bin"
    check(np.full(threads, bins - 1), 1)
    yield "several blocks"
    check(rng.integers(0, bins, 3 * threads), 3)
    yield "more values than threads"
    check(rng.integers(0, bins, 5 * threads + 3), 2)
    yield "fewer values than threads"
    check(rng.integers(0, bins, threads + 1), 3)
    yield "each block counts in shared memory first"
    blocks, values = 2, rng.integers(0, bins, 256, np.int32)
    arguments = student.histogram, blocks, 32, values, np.zeros(bins, np.int32)
    found = student.scores(f"histogram of 256 values, {blocks} blocks of 32 threads", *arguments)
    if (atomics := found.count("global", "atomic")) > blocks * bins:
        raise student.mistake(
            f"{atomics} atomics change global memory; one for each block and bin is {blocks * bins} at most.\n"
            f"{student.advice(found)}"
        )


def row_softmax(student: Student) -> Iterator[str]:
    """Check the softmax of rows, with one warp for each."""
    warps, lanes = student.WARPS, student.WARP

    def grid(x: np.ndarray) -> int:
        return -(-len(x) // warps)

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def run(x: np.ndarray) -> np.ndarray:
        y = np.full_like(x, np.nan)
        student.calls(f"row_softmax of x {x.shape}, {grid(x)} blocks of ({lanes}, {warps}) threads")
        with race_detector():
            launch(student.row_softmax, (grid(x),), (lanes, warps), x, y)
        return y

    def by_lanes(x: np.ndarray, combine: Any) -> np.ndarray:
        """Combine what one lane has alone."""
        found = np.empty_like(x)
        for lane in range(min(lanes, x.shape[1])):
            found[:, lane::lanes] = combine(x[:, lane::lanes], axis=1, keepdims=True)
        return found

    for what, shapes in (
        ("rows of one number", [(1, 1), (5, 1)]),
        ("rows no longer than a warp", [(3, 7), (warps + 1, lanes)]),
        ("rows longer than a warp", [(2, lanes + 1), (3, 2 * lanes + 6)]),
    ):
        yield what
        for shape in shapes:
            x = 2 * np.random.default_rng(shape[1]).standard_normal(shape)
            e, shifted = np.exp(x), np.exp(x - x.max(axis=1, keepdims=True))
            own = np.exp(x - by_lanes(x, np.max))
            mistakes = {
                "nothing is divided by the sum of the row": e,
                "nothing is divided by the sum of the row, though the largest logit is subtracted": shifted,
                "the columns are normalized instead of the rows": e / e.sum(axis=0),
                "the whole matrix is normalized at once": e / e.sum(),
                "each lane divides by the sum of its own columns: add up over the warp": e / by_lanes(e, np.sum),
                "each lane subtracts the largest of its own columns: it must be that of the row": own
                / own.sum(axis=1, keepdims=True),
                "the logarithm is written": x - np.log(e.sum(axis=1, keepdims=True)),
            }
            student.expect("y", run(x), softmax(x), mistakes)

    for what, large, reason in (
        ("logits as large as 1000", {0: 1000.0}, "exp(1000) overflows: subtract the largest logit of the row first."),
        (
            "the largest logit far to the right",
            {lanes + 8: 1000.0},
            "exp(1000) overflows: the logit that is subtracted must be the largest of all columns, not only of the "
            "first ones.",
        ),
        (
            "all logits near -1000",
            dict.fromkeys(range(lanes + 9), -1000.0),
            "exp(-1000) is 0, and 0/0 is nan: the largest logit of this row is negative. Does the search for it begin "
            "at 0?",
        ),
    ):
        yield what
        x = np.zeros((1, lanes + 9))
        for column, number in large.items():
            x[0, column] = number
        y = run(x)
        if not np.isfinite(y).all():
            raise student.mistake(f"y has {np.count_nonzero(~np.isfinite(y))} numbers that are not finite.\n{reason}")
        student.expect("y", y, softmax(x))
    yield "its trace"
    x = np.random.default_rng(0).standard_normal((warps, 3 * lanes)).astype(np.float32)
    student.scores(f"row_softmax of x {x.shape}", student.row_softmax, grid(x), (lanes, warps), x, np.zeros_like(x))


def prefix_sum(student: Student) -> Iterator[str]:
    """Check the inclusive prefix sum, by one block."""
    threads = student.THREADS

    def check(n: int) -> None:
        x = np.random.default_rng(n).integers(1, 10, n).astype(np.float32)
        y = np.full_like(x, np.nan)
        student.calls(f"prefix_sum[1, {threads}](x ({n},), y ({n},))")
        with race_detector():
            launch(student.prefix_sum, (1,), (threads,), x, y)
        right = x.cumsum()
        window = right - np.append(np.zeros(threads // 2), right)[:n]
        of_blocks = [part.cumsum() for part in np.split(x, range(threads, n, threads))]
        mistakes = {
            "the sum is exclusive: y[i] must have x[i] in it": right - x,
            "the sum is exclusive of the first": right - x[0],
            "the sum goes from the end": x[::-1].cumsum()[::-1],
            "nothing is added": x,
            "only the neighbour is added": x + np.append(0, x[:-1]),
            "the last step is left out: the distance must come up to half of the threads": window,
            f"every {threads} numbers begin anew: what comes before them is missing": np.concatenate(of_blocks),
            "all have the sum of everything": np.full(n, right[-1]),
        }
        student.expect("y", y, right, mistakes if n > 1 else {})

    for what, sizes in (
        ("as many numbers as threads", [threads]),
        ("fewer numbers than threads", [1, 2, threads - 1]),
        ("more numbers than threads", [2 * threads, threads + 1, 3 * threads + 5, 9 * threads + 1]),
    ):
        yield what
        for n in sizes:
            check(n)
    yield "its trace"
    x = np.ones(7 * threads, np.float32)
    student.scores(f"prefix_sum of {x.size} numbers", student.prefix_sum, 1, threads, x, np.zeros_like(x))


def transpose(student: Student) -> Iterator[str]:
    """Check the transpose by tiles, and that it touches as few sectors and banks as can be."""
    side, rows = student.SIDE, student.ROWS

    def grid(x: np.ndarray) -> tuple[int, int]:
        return -(-x.shape[1] // side), -(-x.shape[0] // side)

    def tiles(x: np.ndarray) -> np.ndarray:
        """Transpose each tile of a matrix where it is."""
        height, width = (n // side for n in x.shape)
        return x.reshape(height, side, width, side).transpose(0, 3, 2, 1).reshape(x.shape)

    def check(*shape: int) -> None:
        x = np.arange(1, 1 + shape[0] * shape[1], dtype=np.float32).reshape(shape)
        y = np.full(shape[::-1], np.nan, np.float32)
        student.calls(f"transpose of x {shape}, {grid(x)} blocks of ({side}, {rows}) threads")
        with race_detector():
            launch(student.transpose, grid(x), (side, rows), x, y)
        mistakes = {}
        if shape[0] == shape[1]:
            mistakes["nothing is transposed"] = x
        if shape[0] % side == shape[1] % side == 0:
            mistakes["the tiles change places, but what is in them is not transposed"] = tiles(x.T)
            if shape[0] == shape[1]:
                mistakes["what is in the tiles is transposed, but they do not change places"] = tiles(x)
        student.expect("y", y, x.T, mistakes)

    yield "one tile"
    check(side, side)
    yield "several tiles"
    check(2 * side, 2 * side)
    yield "shapes that are no multiple of the tile"
    for shape in ((1, 1), (5, side + 1), (side + 3, 2)):
        check(*shape)
    x = np.zeros((side, 2 * side), np.float32)
    arguments = student.transpose, grid(x), (side, rows), x, np.zeros(x.shape[::-1], np.float32)
    yield "reads and writes are side by side"
    found = student.scores(f"transpose of x {x.shape}", *arguments)
    if found.sectors > found.ideal_sectors:
        raise student.mistake(
            f"{found.sectors} sectors move; side by side it would be {found.ideal_sectors}.\n{student.advice(found)}"
        )
    yield "no bank conflict"
    if found.conflict > 1:
        raise student.mistake(f"The worst bank conflict is {found.conflict}-way.\n{student.advice(found)}")


def batchnorm_forward(student: Student) -> Iterator[str]:
    """Check batch normalization."""
    columns, rows = student.COLUMNS, student.ROWS

    def arrays(x: np.ndarray) -> tuple[Any, ...]:
        real, rng = x.dtype.type, np.random.default_rng(x.size)
        gamma, beta = rng.uniform(1, 2, (2, x.shape[1])).astype(real)
        return x, gamma, beta, real(1 / len(x)), real(0.1), np.full_like(x, np.nan)

    def run(arguments: tuple[Any, ...]) -> None:
        x = arguments[0]
        blocks = -(-x.shape[1] // columns)
        student.calls(f"batchnorm_forward of x {x.shape}, {blocks} blocks of ({columns}, {rows}) threads")
        with race_detector():
            launch(student.batchnorm_forward, (blocks,), (columns, rows), *arguments)

    def check(*shape: int) -> None:
        x, gamma, beta, _, epsilon, y = arguments = arrays(np.random.default_rng(shape[0]).standard_normal(shape) + 2)
        run(arguments)
        centred, variance = x - x.mean(axis=0), x.var(axis=0)
        root = np.sqrt(variance + epsilon)
        right = gamma * centred / root + beta
        of_a_row = x - x.mean(axis=1, keepdims=True), np.sqrt(x.var(axis=1, keepdims=True) + epsilon)
        mistakes = {
            "the variance is divided by rows - 1": gamma * centred / np.sqrt(x.var(axis=0, ddof=1) + epsilon) + beta,
            "ε stands outside the root": gamma * centred / (np.sqrt(variance) + epsilon) + beta,
            "ε is left out": gamma * centred / np.sqrt(variance) + beta,
            "the root is left out": gamma * centred / (variance + epsilon) + beta,
            "the mean of x² is taken for the variance": gamma * centred / np.sqrt((x**2).mean(axis=0) + epsilon) + beta,
            "the variance is not divided by the rows": gamma * centred / np.sqrt(variance * len(x) + epsilon) + beta,
            "the mean is not subtracted": gamma * x / root + beta,
            "γ is left out": centred / root + beta,
            "β is left out": gamma * centred / root,
            "γ and β are exchanged": beta * centred / root + gamma,
            "the rows are normalized instead of the columns": gamma * of_a_row[0] / of_a_row[1] + beta,
        }
        student.expect("y", y, right, mistakes)

    yield "no more rows than the block has"
    for shape in ((4, 1), (5, 3)):
        check(*shape)
    yield "more rows than the block has"
    for shape in ((rows + 1, 2), (3 * rows - 1, 3)):
        check(*shape)
    yield "more columns than the block has"
    check(3, columns + 1)
    yield "float32, and a mean of 4096"
    x = (np.random.default_rng(0).standard_normal((21, 3)) + 4096).astype(np.float32)
    _, gamma, beta, _, epsilon, y = arguments = arrays(x)
    run(arguments)
    exact = x.astype(np.float64)
    expected = gamma * (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + epsilon) + beta
    off = float(np.abs(np.nan_to_num(y - expected, nan=np.inf)).max())
    if off > 0.02:
        raise student.mistake(
            f"y is off by {off:.3g}; by other ways it is off by less than 0.01.\n"
            f"E[x²] - E[x]² is the small difference of two large numbers, and float32 has seven digits. Find the mean "
            f"first, then the mean of (x - mean)²."
        )
    yield "its trace"
    arguments = arrays(np.random.default_rng(1).standard_normal((4 * rows, columns)).astype(np.float32))
    what = f"batchnorm_forward of x {arguments[0].shape}"
    student.scores(what, student.batchnorm_forward, 1, (columns, rows), *arguments)
