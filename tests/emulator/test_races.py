"""The race detector: silent on what is ordered, loud on what is not, and never fooled by the order of the emulator."""

from __future__ import annotations

import inspect
import threading
from pathlib import Path

import numpy as np
import pytest
from numba import cuda, float32, int64

import minidl as dl
import minidl.cuda
from minidl.cuda.ladder.shared_tile import product
from minidl.emulator import (
    BarrierError,
    EmulatorError,
    OutOfBoundsError,
    RaceError,
    UninitializedReadError,
    launch,
    race_detector,
)
from scripts.kernel_examples import examples
from tests.conftest import execute

ALL = 0xFFFFFFFF
EVEN, ODD, LOWER, UPPER = 0x55555555, 0xAAAAAAAA, 0x0000FFFF, 0xFFFF0000


# minidl's own kernels -------------------------------------------------------------------------------------------------


OPERATIONS = sorted({example.operation for example in examples("float32")})


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 1), "float32"), ((5, 37), "float32"), ((5, 37), "float64"), ((33, 19), "float32"), ((67, 3), "float32")],
    ids=str,
)
def test_no_kernel_of_minidl_races(operation, shape, dtype):
    for example in examples(dtype, *shape):
        if example.operation == operation:
            with race_detector():
                getattr(minidl.cuda, operation)(launch, *example.arguments.values())


def test_a_training_run_does_not_race():
    rng = np.random.default_rng(0)
    layers = [dl.Dense(5, 18), dl.BatchNorm(18), dl.ReLU(), dl.Dropout(0.25), dl.Dense(18, 3)]
    model = dl.Sequential(*layers, backend="emulator", seed=0)
    x, labels = rng.normal(size=(34, 5)).astype(np.float32), rng.integers(0, 3, 34)
    with race_detector():
        loss, adam = dl.SoftmaxCrossEntropy(), dl.Adam()
        dl.fit(model, dl.data.Dataset(x, labels), loss=loss, optimizer=adam, epochs=1, batch_size=17)
        model.predict(x)


SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in Path(minidl.cuda.__file__).parent.glob("*.py")}
WAIT = "cuda.syncthreads()"
BARRIERS = [(name, n) for name, source in sorted(SOURCES.items()) for n in range(source.count(WAIT))]


def test_the_barriers_of_minidl_are_found():
    assert {"dense", "reduce"} <= {name for name, _ in BARRIERS}
    assert len(BARRIERS) >= 6


def without_barrier(name, number):
    """The module without one of its barriers."""
    before, after = SOURCES[name].split(WAIT)[: number + 1], SOURCES[name].split(WAIT)[number + 1 :]
    return execute(WAIT.join(before) + "pass" + WAIT.join(after), f"{name} without barrier {number}")


def rebuilt(name, device_functions):
    """A copy of a module that calls other device functions where it imports them."""
    module = execute(SOURCES[name], name)
    vars(module).update({key: value for key, value in device_functions.items() if key in vars(module)})
    return module


@pytest.mark.parametrize(("name", "number"), BARRIERS)
def test_every_barrier_of_minidl_is_missed_when_it_is_gone(name, number):
    faulty = without_barrier(name, number)
    vars(faulty).update(LITTLE=0)  # the products of the examples take the tiles, though they are little
    changed = {key: value for key, value in vars(faulty).items() if hasattr(value, "py_func")}
    with race_detector(), pytest.raises(RaceError, match="no barrier orders the two"):
        # The smallest first, because the first race ends the test. Those of products with whole steps are the last.
        for example in sorted(
            [*examples("float32", 67, 5), *examples("float32", 32, 128)],
            key=lambda example: sum(map(np.size, example.arguments.values())),
        ):
            home = getattr(minidl.cuda, example.operation).__module__.rpartition(".")[2]
            module = faulty if home == name else rebuilt(home, changed)
            if not vars(module).keys().isdisjoint(changed):
                getattr(module, example.operation)(launch, *example.arguments.values())


# Kernels that race ----------------------------------------------------------------------------------------------------


@cuda.jit
def neighbour_is_read(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    tile[t] = x[t]
    x[t] = tile[(t + 1) % 64]


@cuda.jit
def neighbour_before_is_read(x):  # in the order of the emulator every read finds what it should
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    tile[t] = x[t]
    x[t] = tile[max(t - 1, 0)]


@cuda.jit
def overwritten_too_early(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    for _ in range(2):
        tile[t] = x[t]
        cuda.syncthreads()
        x[t] = tile[63 - t]  # and no barrier before the next round


@cuda.jit
def all_write_one(x):
    total = cuda.shared.array(1, float32)
    total[0] = cuda.threadIdx.x
    cuda.syncthreads()
    x[cuda.threadIdx.x] = total[0]


@cuda.jit
def all_write_the_same(x):
    flag = cuda.shared.array(1, float32)
    flag[0] = 1
    cuda.syncthreads()
    x[cuda.threadIdx.x] = flag[0]


@cuda.jit
def all_add_to_one_shared(x):
    total = cuda.shared.array(1, float32)
    if cuda.threadIdx.x == 0:
        total[0] = 0
    cuda.syncthreads()
    total[0] += x[cuda.threadIdx.x]


@cuda.jit
def result_read_without_a_barrier(x):
    total = cuda.shared.array(1, float32)
    if cuda.threadIdx.x == 0:
        total[0] = x.size
    x[cuda.threadIdx.x] = total[0]


@cuda.jit
def shift_in_place(x):
    t = cuda.threadIdx.x
    x[t] = x[min(t + 1, 63)]


@cuda.jit
def histogram(x):
    x[cuda.grid(1) % 4] += 1


@cuda.jit
def blocks_write_one(x):
    if cuda.threadIdx.x == 0:
        x[0] = cuda.blockIdx.x


@cuda.jit
def block_reads_what_another_wrote(x):
    x[cuda.grid(1)] = x[0]


@cuda.jit
def block_writes_what_another_read(x):
    t, b = cuda.threadIdx.x, cuda.blockIdx.x
    if b == 0:
        x[64 + t] = x[t]
    else:
        x[t] = 1


@cuda.jit
def all_read_what_the_last_block_writes(x):
    value = x[0]
    cuda.syncthreads()
    if cuda.grid(1) == 64:
        x[0] = value


@cuda.jit
def barriers_do_not_order_blocks(x):
    cuda.syncthreads()
    if cuda.threadIdx.x == cuda.blockIdx.x:
        x[5] += 1
    cuda.syncthreads()


@cuda.jit
def lanes_without_syncwarp(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    tile[t] = x[t]
    x[t] = tile[t ^ 1]


@cuda.jit
def warps_with_syncwarp_only(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    tile[t] = x[t]
    cuda.syncwarp()
    x[t] = tile[63 - t]


@cuda.jit
def syncwarp_of_the_wrong_lanes(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    tile[t] = x[t]
    cuda.syncwarp(EVEN if t % 2 == 0 else ODD)
    x[t] = tile[t ^ 1]


@cuda.jit
def a_shuffle_orders_no_memory(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    tile[t] = x[t]
    cuda.shfl_xor_sync(ALL, x[t], 1)
    x[t] = tile[t ^ 1]


@cuda.jit
def written_after_the_syncwarp(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    cuda.syncwarp()
    tile[t] = x[t]
    x[t] = tile[t ^ 1]


@cuda.jit
def read_next_to_an_atomic(x):
    cuda.atomic.add(x, 0, 1)
    x[1 + cuda.threadIdx.x % 32] = x[0]


@cuda.jit
def atomic_next_to_a_write(x):
    if cuda.threadIdx.x == 0:
        x[0] = 0
    cuda.atomic.add(x, 0, 1)


@cuda.jit
def read_after_an_atomic(x):
    if cuda.threadIdx.x == 0:
        cuda.atomic.add(x, 0, 1)
    else:
        x[cuda.threadIdx.x] = x[0]


@cuda.jit
def written_after_an_atomic(x):
    if cuda.threadIdx.x == 0:
        cuda.atomic.add(x, 0, 1)
    else:
        x[0] = 0


@cuda.jit
def tree_without_barriers(x):
    t = cuda.threadIdx.x
    half = 32
    while half > 0:
        if t < half:
            x[t] += x[t + half]
        half //= 2


@cuda.jit(device=True)
def store(target, i, value):
    target[i] = value


@cuda.jit
def race_in_a_device_function(x):
    store(x, cuda.threadIdx.x // 2, 1)


RACES = {
    neighbour_is_read: "shared array tile[1] is written, and thread (0, 0, 0) of the same block read it",
    neighbour_before_is_read: "shared array tile[0] is read, and thread (0, 0, 0) of the same block wrote it",
    overwritten_too_early: "shared array tile[",
    all_write_one: "shared array total[0] is written, and thread (0, 0, 0) of the same block wrote it",
    all_write_the_same: "the same value, but a race all the same",
    all_add_to_one_shared: "thread (1, 0, 0), test_races.py",
    result_read_without_a_barrier: "total[0] is read, and thread (0, 0, 0) of the same block wrote it",
    shift_in_place: "x[1] is written, and thread (0, 0, 0) of the same block read it",
    histogram: "x[0] is read, and thread (0, 0, 0) of the same block wrote it",
    blocks_write_one: "block (1, 0, 0), thread (0, 0, 0)",
    block_reads_what_another_wrote: "x[0] is read, and thread (0, 0, 0) of the same block wrote it",
    block_writes_what_another_read: "x[0] is written, and thread (0, 0, 0) of block (0, 0, 0) read it",
    all_read_what_the_last_block_writes: "x[0] is written, and thread (0, 0, 0) of block (0, 0, 0) read it",
    barriers_do_not_order_blocks: "x[5] is read, and thread (0, 0, 0) of block (0, 0, 0) wrote it",
    lanes_without_syncwarp: "tile[1] is written, and thread (0, 0, 0) of the same block read it",
    warps_with_syncwarp_only: "tile[63] is",
    syncwarp_of_the_wrong_lanes: "tile[1] is read, and thread (1, 0, 0) of the same block wrote it",
    a_shuffle_orders_no_memory: "tile[1] is read, and thread (1, 0, 0) of the same block wrote it",
    written_after_the_syncwarp: "tile[1] is written, and thread (0, 0, 0)",
    read_next_to_an_atomic: "x[0] is changed by an atomic, and thread (0, 0, 0) of the same block read it",
    atomic_next_to_a_write: "x[0] is changed by an atomic, and thread (0, 0, 0) of the same block wrote it",
    read_after_an_atomic: "x[0] is read, and thread (0, 0, 0) of the same block changed it",
    written_after_an_atomic: "x[0] is written, and thread (0, 0, 0) of the same block changed it",
    tree_without_barriers: "x[1] is written, and thread (0, 0, 0) of the same block read it",
    race_in_a_device_function: "x[0] is written, and thread (0, 0, 0) of the same block wrote it",
}


@pytest.mark.parametrize("kernel", RACES, ids=lambda kernel: kernel.py_func.__name__)
def test_a_race_is_found(kernel):
    with race_detector(), pytest.raises(RaceError) as info:
        launch(kernel, (2,), (64,), np.ones(128, np.float32))
    message = str(info.value)
    assert RACES[kernel] in message
    assert message.startswith(f"kernel {kernel.py_func.__name__}, block (")
    assert "orders the two" in message or "nothing orders two blocks" in message


@cuda.jit
def reads_ahead(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array((2, 4), float32)
    tile[1, t] = x[t]  # HERE
    x[t] = tile[1, 3 - t]  # THERE


def line(kernel, mark):
    lines, first = inspect.getsourcelines(kernel.py_func)
    (number,) = [first + i for i, text in enumerate(lines) if f"# {mark}" in text]
    return f"test_races.py:{number}"


def test_the_message_names_both_accesses():
    with race_detector(), pytest.raises(RaceError) as info:
        launch(reads_ahead, (1, 3), (4,), np.ones(4, np.float32))
    assert str(info.value) == (
        f"kernel reads_ahead, block (0, 0, 0), thread (2, 0, 0), {line(reads_ahead, 'HERE')}: shared array tile[1, 2] "
        f"is written, and thread (1, 0, 0) of the same block read it on {line(reads_ahead, 'THERE')}; "
        f"no barrier orders the two"
    )


@cuda.jit
def copy_along(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = x[i]


def test_two_arguments_may_be_one_memory():
    memory = np.arange(9.0)
    with race_detector():
        launch(copy_along, (1,), (4,), memory[:4], memory[5:])
        launch(copy_along, (2,), (4,), memory, memory)  # each thread on its own element
        launch(copy_along, (2,), (4,), memory[:-1:2], memory[1::2])
        with pytest.raises(RaceError, match="nothing orders two blocks|no barrier orders"):
            launch(copy_along, (2,), (4,), memory[:-1], memory[1:])


# Kernels that do not --------------------------------------------------------------------------------------------------


@cuda.jit
def with_barriers(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    for _ in range(3):
        tile[t] = x[t]
        cuda.syncthreads()
        x[t] = tile[63 - t]
        cuda.syncthreads()


@cuda.jit
def with_syncwarp(x):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    for shift in range(1, 5):
        tile[t] = x[t]
        cuda.syncwarp()
        x[t] = tile[t ^ shift]
        cuda.syncwarp()


@cuda.jit
def order_is_passed_on(x):
    t = cuda.threadIdx.x  # 0 writes, meets 1..15; then 15 meets 16..31: they know of 0 through 15
    tile = cuda.shared.array(64, float32)
    if t == 0:
        tile[0] = 7
    if t < 16:
        cuda.syncwarp(LOWER)
    if 15 <= t < 32:
        cuda.syncwarp(UPPER | 1 << 15)
        x[t] = tile[0]


@cuda.jit
def reads_race_with_nobody(x):
    t = cuda.threadIdx.x
    total = float32(0)
    for i in range(64):
        total += x[i]
    x[64 + t + 64 * cuda.blockIdx.x] = total


@cuda.jit
def atomics(x):
    counts = cuda.shared.array(4, int64)
    t = cuda.threadIdx.x
    if t < 4:
        counts[t] = 0
    cuda.syncthreads()
    cuda.atomic.add(counts, t % 4, 1)
    cuda.syncthreads()
    if t < 4:
        cuda.atomic.add(x, t, counts[t])


@cuda.jit
def two_arrays(x):
    t = cuda.threadIdx.x
    there, back = cuda.shared.array(64, float32), cuda.shared.array(64, float32)
    there[t] = x[cuda.grid(1)]
    back[63 - t] = there[t]


@cuda.jit
def own_elements(x):
    for _ in range(3):
        x[cuda.grid(1)] += 1


@pytest.mark.parametrize(
    "kernel",
    [with_barriers, with_syncwarp, order_is_passed_on, reads_race_with_nobody, atomics, two_arrays, own_elements],
    ids=lambda kernel: kernel.py_func.__name__,
)
def test_what_is_ordered_does_not_race(kernel):
    blocks = 1 if kernel in (with_barriers, with_syncwarp, order_is_passed_on) else 2
    with race_detector():
        launch(kernel, (blocks,), (64,), np.ones(256, np.float32))


# The other errors, and the detector itself ----------------------------------------------------------------------------


@cuda.jit
def nobody_writes(x):
    tile = cuda.shared.array(4, float32)
    x[cuda.threadIdx.x] = tile[cuda.threadIdx.x]
    cuda.syncthreads()


@cuda.jit
def waits_for_a_flag(x):
    flag = cuda.shared.array(1, float32)
    while flag[0] == 0:
        x[0] = 1


@cuda.jit
def outside(x):
    tile = cuda.shared.array(4, float32)
    tile[0] = x[0]
    x[1] = tile[4]


@cuda.jit
def leaves(x):
    if cuda.threadIdx.x < 2:
        cuda.syncthreads()


@cuda.jit
def lane_never_comes(x):
    if cuda.threadIdx.x < 3:
        cuda.syncwarp(0b1111)


@pytest.mark.parametrize(("kernel", "kind", "message"), [
    (nobody_writes, UninitializedReadError, "thread (0, 0, 0), test_races.py:"),
    (waits_for_a_flag, UninitializedReadError, "shared array flag[0] is read, but no thread has written it"),
    (outside, OutOfBoundsError, "shared array tile[4] is outside the array"),
    (leaves, BarrierError, "thread (2, 0, 0) of the same block has ended"),
    (lane_never_comes, BarrierError, "thread (3, 0, 0) of the same warp has ended"),
], ids=lambda value: getattr(getattr(value, "py_func", None), "__name__", ""))  # fmt: skip
def test_the_other_errors_are_found_as_well(kernel, kind, message):
    with race_detector(), pytest.raises(EmulatorError) as info:
        launch(kernel, (1,), (4,), np.ones(4, np.float32))
    assert type(info.value) is kind
    assert message in str(info.value)


def test_outside_the_context_nothing_is_watched():
    x = np.ones(128, np.float32)
    launch(histogram, (2,), (64,), x)
    with race_detector(), race_detector(), pytest.raises(RaceError):
        launch(histogram, (2,), (64,), x)
    launch(histogram, (2,), (64,), x)
    with race_detector():
        other = threading.Thread(target=launch, args=(histogram, (2,), (64,), x))
        other.start()
        other.join()
    assert x[0] >= 3 * 32


def test_launches_are_ordered():
    x = np.ones(64, np.float32)
    with race_detector():
        launch(own_elements, (1,), (64,), x)
        launch(own_elements, (2,), (32,), x)
    np.testing.assert_array_equal(x, 7)


TABLE = np.array([2.0, 3.0])


@cuda.jit
def uses_table(x):
    x[cuda.threadIdx.x] = TABLE[cuda.threadIdx.x]


def test_constants_and_local_memory_are_not_watched():
    x = np.zeros(2)
    with race_detector():
        launch(uses_table, (1,), (2,), x)
    launch(uses_table, (1,), (2,), x)
    np.testing.assert_array_equal(x, TABLE)


def test_results_are_those_of_a_plain_launch():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((32, 64), (64, 32)))
    plain, watched = np.zeros((2, 32, 32), np.float32)
    launch(product, (1, 1), (32, 32), a, b, plain)
    with race_detector():
        launch(product, (1, 1), (32, 32), a, b, watched)
    np.testing.assert_array_equal(plain, watched)
