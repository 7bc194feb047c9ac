"""`active`: kernels and device arrays of `numba.cuda` as people use them, on the emulator."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda, float32, int32
from numba.core.errors import TypingError
from numba.cuda import to_device as to_device_by_name

from minidl.emulator import (
    BarrierError,
    EmulatorError,
    OutOfBoundsError,
    RaceError,
    active,
    launch,
    race_detector,
    tracing,
)


@cuda.jit
def double(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = x[i] * 2


@cuda.jit
def add(x, a):
    i = cuda.grid(1)
    if i < x.size:
        x[i] += a


@cuda.jit
def all_write_one(x):
    x[0] = cuda.threadIdx.x


@cuda.jit
def outside(x):
    x[x.size] = 1


@pytest.fixture
def on():
    with active():
        yield


def contents():
    return dict(vars(cuda)), dict(vars(type(double))), dict(vars(cuda.cudadrv.devicearray)), dict(globals())


# What is replaced and put back ----------------------------------------------------------------------------------------


def test_everything_is_put_back():
    with active():  # loads modules
        pass
    before = contents()
    with active(), active():
        assert cuda.to_device is not before[0]["to_device"]
        assert to_device_by_name is cuda.to_device
    with pytest.raises(ZeroDivisionError), active():
        1 / 0  # noqa: B018
    for then, now in zip(before, contents(), strict=True):
        assert {name for name in {*then, *now} if then.get(name) is not now.get(name)} == set()


def test_it_lasts_until_the_last_has_left():
    real = cuda.to_device
    with active():
        with active():
            pass
        assert cuda.to_device is not real
    assert cuda.to_device is real


def test_another_thread_sees_it_and_launches(on):
    x = cuda.to_device(np.zeros(4, np.float32))
    threads = [threading.Thread(target=lambda: add[1, 4](x, 1)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert x.copy_to_host().tolist() == [3] * 4


def test_a_name_imported_inside_is_put_back():
    with active():
        exec("from numba.cuda import device_array", globals())
        assert globals()["device_array"] is cuda.device_array
    assert globals().pop("device_array") is cuda.device_array


def test_a_process_with_the_simulator_is_told():
    program = "import minidl.emulator as e\nwith e.active(): pass"
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert "EmulatorError: NUMBA_ENABLE_CUDASIM is set; expected to be unset" in done.stderr


def test_it_is_a_decorator():
    @active()
    def use():
        return cuda.is_available()

    assert use()


# Launches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("configuration", [(2, 8), ((2,), (8,)), ([2, 1], [8, 1]), (2, 8, 0), (2, 8, 0, 0)])
def test_arrays_of_the_host_are_written_back(on, configuration):
    x, y = np.arange(10, dtype=np.float32), np.zeros(10, np.float32)
    double[configuration](x, y)
    assert y.tolist() == list(range(0, 20, 2))


def test_forall(on):
    for n in (1, 33, 1000):
        x, y = cuda.to_device(np.arange(n)), cuda.device_array(n, np.int64)
        double.forall(n)(x, y)
        assert y.copy_to_host().tolist() == list(range(0, 2 * n, 2))
    double.forall(0)(x, y)
    with pytest.raises(ValueError, match="negative task count: -1"):
        double.forall(-1)


def test_a_kernel_decorated_inside(on):
    @cuda.jit
    def triple(x):
        x[cuda.grid(1)] *= 3

    x = np.ones(4)
    triple[1, 4](x)
    assert x.tolist() == [3] * 4


@pytest.mark.parametrize("configuration", [(), (1,), (1, 2, 3, 4, 5)])
def test_a_configuration_of_another_length_is_refused(on, configuration):
    with pytest.raises(ValueError, match="must specify at least the griddim and blockdim"):
        double[configuration]


def test_calls_without_configuration_and_of_device_functions_are_refused(on):
    with pytest.raises(ValueError, match="Kernel launch configuration was not specified"):
        double(1, 2)

    @cuda.jit(device=True)
    def helper(x):
        return x

    with pytest.raises(EmulatorError, match="helper is one; expected a kernel"):
        helper[1, 1](2)


def test_arguments_are_copied_one_by_one_as_for_a_gpu(on):
    x = np.arange(4.0)
    double[1, 4](x, x)
    assert x.tolist() == [0, 2, 4, 6]
    y = np.ones(4)
    double[1, 4](x, cuda.In(y))
    assert y.tolist() == [1] * 4
    double[1, 4](cuda.In(x), cuda.Out(y))
    assert y.tolist() == [0, 4, 8, 12]


def test_a_read_only_array_is_refused_by_name(on):
    x = np.arange(4.0)
    x.flags.writeable = False
    y = np.zeros(4)
    with pytest.raises(ValueError, match=r"^x got a read-only array; expected .* or cuda.In\(x\)"):
        double[1, 4](x, y)
    double[1, 4](cuda.In(x), y)
    assert y.tolist() == [0, 2, 4, 6]


def test_an_array_with_gaps_is_refused(on):
    with pytest.raises(ValueError, match="non-contiguous buffer"):
        add[1, 4](np.zeros((4, 4))[:, 1], 1)


def test_a_kernel_that_returns_something_is_refused(on):
    @cuda.jit
    def first(x):
        if cuda.grid(1) < x.size:
            return x[0]

    for run in (first[1, 1], lambda x: launch(first, 1, 1, x)):
        with pytest.raises(TypingError, match=r"^kernel first returns .*float64.*; expected nothing to be returned"):
            run(np.zeros(1))


@pytest.mark.parametrize("value", [[1.0, 2.0], {1.0}, "ab", b"ab", None, (1, [2.0]), slice(3)], ids=str)
def test_what_numba_gives_to_no_kernel_is_refused_by_name(on, value):
    @cuda.jit
    def second(x, y):
        pass

    with pytest.raises(TypeError, match=r"^y got .*; expected an array, a number, a record, or a tuple of these"):
        second[1, 1](np.zeros(1), value)


def test_a_kernel_that_links_cuda_c_is_refused(on):
    kernel = cuda.jit(link=["some.cu"])(double.py_func)
    with pytest.raises(EmulatorError, match="kernel double links CUDA C or PTX"):
        kernel[1, 1](np.zeros(1), np.zeros(1))


def test_errors_name_the_place(on):
    with pytest.raises(OutOfBoundsError, match=r"kernel outside, block \(0, 0, 0\).*test_active.py:\d+: x\[4\]"):
        outside[1, 1](np.zeros(4))


@cuda.jit
def two_lanes_stay(x):
    i = cuda.threadIdx.x
    if i < 2:
        x[i] += x[i + 2]
        cuda.syncwarp()
        if i == 0:
            x[0] += x[1]


def test_lanes_that_have_ended_are_not_waited_for(on):
    """As CUDA says and cuda.reduce relies on; `launch` refuses it."""
    x = np.arange(32.0)
    two_lanes_stay[1, 32](x)
    assert x[0] == 0 + 1 + 2 + 3
    with pytest.raises(BarrierError, match=r"thread \(2, 0, 0\) of the same warp has ended"):
        launch(two_lanes_stay, 1, 32, np.arange(32.0))


@cuda.jit
def some_return_before_the_barriers(x, counts):
    i = cuda.threadIdx.x
    if i >= x.size:
        return
    shared = cuda.shared.array(64, np.int64)
    shared[i] = x[i]
    cuda.syncthreads()
    counts[i] = cuda.syncthreads_count(shared[x.size - 1 - i] // 4)
    cuda.cg.this_grid().sync()
    if i == 0:
        x[0] = 10


def test_threads_that_have_returned_are_not_waited_for(on):
    """A barrier of CUDA waits "for all non-exited threads" since compute capability 7.0; `launch` refuses it."""
    x, counts = np.arange(40), np.zeros(40, np.int64)
    some_return_before_the_barriers[2, 64](x, counts)
    assert (counts == 36).all() and x[0] == 10
    with pytest.raises(BarrierError, match=r"thread \(40, 0, 0\) of the same block has ended"):
        launch(some_return_before_the_barriers, 1, 64, x, counts)


def test_the_race_detector_watches(on):
    all_write_one[1, 4](np.zeros(1))
    with race_detector(), pytest.raises(RaceError, match="thread"):
        all_write_one[1, 4](np.zeros(1))


def test_each_launch_is_traced(on):
    x = cuda.to_device(np.zeros((32, 32), np.float32))
    with tracing() as traces:
        add[1, 32](x[0], 1)
        add[1, 32](x.reshape(1024)[::32], 1)
        all_write_one[2, 4](np.zeros(1))
    assert [trace.kernel for trace in traces] == ["add", "add", "all_write_one"]
    assert [trace.block_shape for trace in traces] == [(32, 1, 1), (32, 1, 1), (4, 1, 1)]
    assert [trace.sectors for trace in traces] == [8, 64, 2]


# Signatures -----------------------------------------------------------------------------------------------------------


def test_arguments_become_what_the_signature_says(on):
    @cuda.jit("void(float32[:], int32)")
    def kernel(x, n):
        x[0] = n

    x = np.zeros(1, np.float32)
    kernel[1, 1](x, 2**32 + 7)
    assert x[0] == 7
    for arguments, message in [
        ((np.zeros(1), 1), "x got an array of shape .* and dtype float64; expected array"),
        ((x, 1.5), "n got 1.5; expected int32, as in the signature of the kernel"),
        ((x,), "kernel kernel got 1 arguments; expected 2"),
    ]:
        with pytest.raises(TypeError, match=message):
            kernel[1, 1](*arguments)


def test_one_of_several_signatures_is_chosen(on):
    @cuda.jit([(float32[:], float32), (int32[:], int32)])
    def kernel(x, a):
        x[0] = a

    for dtype in (np.float32, np.int32):
        x = np.zeros(1, dtype)
        kernel[1, 1](x, 3)
        assert x[0] == 3
    assert len(kernel.overloads) == 2
    assert kernel.overloads[float32[:], float32].max_cooperative_grid_blocks(32) > 0
    with pytest.raises(TypeError, match=r"^No matching definition .* expects \(array\(float32"):
        kernel[1, 1](np.zeros(1), 3)


def test_the_best_signature_is_chosen(on):
    @cuda.jit(["(float64[:], float32)", "(float64[:], float64)"])
    def kernel(x, a):
        x[0] = a

    x = np.zeros(1)
    kernel[1, 1](x, 1 + 2**-30)
    assert x[0] == 1 + 2**-30


def test_types_of_launches_are_counted(on):
    kernel = cuda.jit(double.py_func)
    for _ in range(2):
        kernel[1, 1](np.zeros(1), np.zeros(1))
        kernel[1, 1](cuda.to_device(np.zeros(1)), np.zeros(1))
    assert len(kernel.overloads) == 1
    special = kernel.specialize(np.zeros(1), np.zeros(1))
    assert special is kernel.specialize(np.zeros(2), np.zeros(2))
    assert special.specialized


def test_what_needs_a_compiler_is_refused(on):
    for ask in (
        double.inspect_asm,
        double.inspect_llvm,
        double.get_regs_per_thread,
        lambda: double.overloads[(float32,)].library,
        lambda: cuda.declare_device("f", "int32(int32)"),
        lambda: cuda.compile_ptx_for_current_device(double.py_func, ()),
    ):
        with pytest.raises(EmulatorError, match="^the emulator does not know"):
            ask()
    assert double.max_cooperative_grid_blocks(64) > 0


# Arrays ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shape", [(), 0, 5, (3, 4), (2, 3, 4)])
def test_arrays_go_to_the_device_and_back(on, shape, order):
    x = np.asarray(np.random.default_rng(0).normal(size=shape), order=order)
    d = cuda.to_device(x)
    for name in ("shape", "dtype", "ndim", "size", "nbytes", *["strides"] * (x.size > 0)):
        assert getattr(d, name) == getattr(x, name)
    assert (d.is_c_contiguous(), d.is_f_contiguous()) == (x.flags.c_contiguous, x.flags.f_contiguous)
    back = np.zeros_like(x)
    assert d.copy_to_host(back) is back
    for found in (d.copy_to_host(), back, np.asarray(d), cuda.as_cuda_array(SimpleInterface(d)).copy_to_host()):
        np.testing.assert_array_equal(found, x, strict=True)
    like = cuda.device_array_like(d)
    assert (like.shape, like.strides, like.dtype) == (d.shape, d.strides, d.dtype)
    like.copy_to_device(d)
    x[...] = 0
    np.testing.assert_array_equal(like.copy_to_host(), back)


class SimpleInterface:
    def __init__(self, array):
        self.__cuda_array_interface__ = array.__cuda_array_interface__


def test_views_share_memory(on):
    d = cuda.to_device(np.arange(12, dtype=np.int32))
    views = [d[2:6], d.reshape(3, 4)[0, 2:], d.reshape(3, 4).ravel()[2:], d.view(np.uint32)[2:], d[::2][1:]]
    d[2] = 50
    assert [view[0] for view in views] == [50] * 5
    d[3:5] = np.array([7, 8], np.int32)
    d[5:7] = cuda.to_device(np.array([9], np.int32))
    assert d.copy_to_host().tolist() == [0, 1, 50, 7, 8, 9, 9, 7, 8, 9, 10, 11]
    assert [part.size for part in d.split(5)] == [5, 5, 2]
    assert d.reshape(3, 4).T.copy_to_host().tolist() == d.copy_to_host().reshape(3, 4).T.tolist()
    assert d.reshape(1, 12).squeeze().shape == (12,)
    assert d.bind(cuda.stream()).stream != 0


def test_what_a_device_array_cannot_do_is_refused(on):
    d = cuda.to_device(np.arange(12.0))
    m = d.reshape(3, 4)
    with pytest.raises(NotImplementedError, match="operation requires copying"):
        m[:, :2].ravel()
    with pytest.raises(NotImplementedError, match="transposing a non-2D"):
        d.T  # noqa: B018
    with pytest.raises(TypeError, match="unsupported operand"):
        d + 1
    with pytest.raises(TypeError, match=r"index got \[0, 1\]; expected integers and slices"):
        d[[0, 1]]
    for other, error in [(np.zeros(12, int), TypeError), (np.zeros(11), ValueError), (np.zeros(24)[::2], ValueError)]:
        with pytest.raises(error, match="incompatible"):
            d.copy_to_host(other)
    with pytest.raises(ValueError, match="Can't copy sequence with size 2 to array axis 0 with dimension 3"):
        d[:3] = np.zeros(2)
    with pytest.raises(EmulatorError, match="memory of a GPU"):
        cuda.as_cuda_array(
            SimpleNamespace(__cuda_array_interface__={"shape": (2,), "typestr": "<f4", "data": (64, False)})
        )


def test_fresh_memory_shows_that_it_is_undefined(on):
    assert np.isnan(cuda.device_array((2, 3)).copy_to_host()).all()
    assert (cuda.device_array(3, np.int16).copy_to_host() == -1).all()
    assert cuda.device_array(3, bool).copy_to_host().all()


@pytest.mark.parametrize(
    "make",
    [
        lambda x: cuda.to_device(x),
        lambda x: add[1, 1](x, 1),
        lambda x: cuda.pinned_array(3, x.dtype),
        lambda x: cuda.device_array(3, [("value", x.dtype)]),
    ],
    ids=["to_device", "launch", "pinned_array", "record"],
)
def test_python_objects_cannot_lie_on_the_device(on, make):
    """Bytes that nobody has written are no object: Python itself would crash."""
    with pytest.raises(TypeError, match=r"^dtype got .*; expected numbers"):
        make(np.array([object()]))


@pytest.mark.parametrize("make", [cuda.pinned_array, cuda.mapped_array, cuda.managed_array], ids=lambda f: f.__name__)
def test_memory_of_the_host_that_the_device_knows(on, make):
    x = getattr(cuda, make.__name__)((2, 4), np.float32)
    x[...] = 1
    add[1, 8](x.reshape(8), 1)
    if make.__name__ == "pinned_array":
        assert not cuda.is_cuda_array(x)
        assert cuda.pinned_array_like(x).shape == (2, 4)
    else:
        assert cuda.is_cuda_array(x)
    assert (x == 2).all()


def test_records(on):
    kind = np.dtype([("a", np.int32), ("b", np.float64, (3,))], align=True)
    x = np.zeros(2, kind)
    x["a"] = 3, 4
    d = cuda.to_device(x)
    assert d[1]["a"] == 4
    assert d[1]["b"].copy_to_host().tolist() == [0, 0, 0]
    d[0]["a"] = 9
    assert d.copy_to_host()["a"].tolist() == [9, 4]
    assert cuda.to_device(x[1])["a"] == 4

    @cuda.jit
    def read(record, y):
        y[0] = record.a

    y = np.zeros(1, np.int32)
    read[1, 1](d[1], y)
    assert y[0] == 4


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 100, 1023, 1024, 1025, 5000])
def test_reduce(on, size):
    total = cuda.reduce(lambda a, b: a + b)
    x = np.arange(size, dtype=np.float64)
    assert total(x) == x.sum()
    assert total(cuda.to_device(x), init=5) == x.sum() + 5


def test_broadcast_arrays_keep_their_strides(on):
    x = np.broadcast_to(np.arange(3.0), (4, 3))
    d = cuda.to_device(x)
    assert (d.shape, d.strides) == (x.shape, x.strides)
    np.testing.assert_array_equal(d.copy_to_host(), x)


# Streams, events, the device ------------------------------------------------------------------------------------------


def test_streams_and_events(on):
    seen = []
    stream, begin, end = cuda.stream(), cuda.event(), cuda.event()
    begin.record(stream)
    with stream.auto_synchronize(), cuda.pinned(np.zeros(3)), cuda.defer_cleanup():
        d = cuda.to_device(np.zeros(3), stream=stream)
        add[1, 3, stream](d, 1)
        stream.add_callback(lambda *arguments: seen.append(arguments), "mine")
    end.record(stream)
    end.synchronize()
    cuda.synchronize()
    assert end.query()
    assert seen == [(stream, 0, "mine")]
    assert cuda.event_elapsed_time(begin, end) == begin.elapsed_time(end) > 0
    with pytest.raises(EmulatorError, match="elapsed_time got an event that was not recorded"):
        begin.elapsed_time(cuda.event())

    async def wait():
        return await stream.async_done()

    assert asyncio.run(wait()) is stream
    assert int(cuda.default_stream()) == 0


def test_the_device(on, capsys):
    assert cuda.is_available()
    assert cuda.detect()
    assert "minidl emulator" in capsys.readouterr().out
    device = cuda.get_current_device()
    assert device is cuda.select_device(0) is cuda.gpus[0].device is cuda.current_context().device
    assert (device.WARP_SIZE, device.MAX_THREADS_PER_BLOCK) == (32, 1024)
    assert device.compute_capability >= (7, 0)
    assert len(cuda.gpus) == len(list(cuda.list_devices())) == 1
    with pytest.raises(IndexError, match="device got 1; expected 0"):
        cuda.select_device(1)
    with pytest.raises(EmulatorError, match="device does not know SOMETHING"):
        device.SOMETHING  # noqa: B018
    with cuda.gpus[0]:
        assert cuda.current_context().get_memory_info().free > 0
    cuda.profile_start()
    cuda.profile_stop()
    cuda.close()
