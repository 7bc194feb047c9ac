"""Arrays in the memory of the emulated device, which is memory of the host that only kernels and copies reach.

They have the attributes and methods of Numba's device arrays and refuse what those refuse, so that a test that passes
here does not fail on a GPU for want of a copy. Fresh memory has bytes of ones, that is, NaN or -1: on a GPU its content
is undefined, and a kernel that counts on zeros shall be seen.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numba
import numpy as np

from minidl.emulator.errors import EmulatorError

ALIGNMENT = 256  # bytes, as in cudaMalloc
_ALLOCATED: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
_number = itertools.count()


def allocate(shape: Any, dtype: Any = np.float64, strides: Any = None, order: str = "C") -> np.ndarray:
    """Return fresh memory of the device, with the arguments of `cuda.device_array`."""
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    dtype = np.dtype(dtype)
    if dtype.hasobject:  # addresses of Python's objects, which bytes that nobody has written are not
        raise TypeError(f"dtype got {dtype}; expected numbers, as Python objects cannot lie in the memory of a GPU")
    if isinstance(strides, int):
        strides = (strides,)
    size = math.prod(shape) * dtype.itemsize
    if strides is not None and size:
        size = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + dtype.itemsize
    buffer = bytearray(b"\1" if dtype == np.bool_ else b"\xff") * (size + ALIGNMENT)
    start = -np.frombuffer(buffer, np.uint8).__array_interface__["data"][0] % ALIGNMENT
    memory = _ALLOCATED[next(_number)] = np.frombuffer(buffer, np.uint8, size, start)
    return np.ndarray(shape, dtype, memory, strides=strides, order=order)  # type: ignore[arg-type]


def at_address(shape: Any, dtype: Any, strides: Any, address: int) -> np.ndarray:
    """Return the array at an address that `allocate` gave out."""
    if math.prod(shape) == 0:
        return allocate(shape, dtype)
    for memory in list(_ALLOCATED.values()):
        offset = address - memory.__array_interface__["data"][0]
        if 0 <= offset < memory.size:
            return np.ndarray(shape, dtype, memory, offset, strides)
    raise EmulatorError("a CUDA array of another library lies in the memory of a GPU, which the emulator does not have")


def is_cuda_array(obj: Any) -> bool:
    """Return whether an object has the CUDA array interface."""
    return hasattr(obj, "__cuda_array_interface__")


def memory_of(obj: Any) -> np.ndarray:
    """Return the memory behind a device array, or behind any object with the CUDA array interface."""
    if isinstance(obj, DeviceNDArrayBase):
        return obj._data
    description = obj.__cuda_array_interface__
    if description.get("mask") is not None:
        raise NotImplementedError("Masked arrays are not supported")
    shape, strides, (address, _) = description["shape"], description.get("strides"), description["data"]
    return at_address(shape, np.dtype(description["typestr"]), strides, address)


def without_repeats(array: np.ndarray) -> np.ndarray:
    """Return the array without dimensions of stride 0, which broadcasting repeats."""
    if not (array.size and array.ndim):
        return array
    return array[tuple(slice(None) if stride else 0 for stride in array.strides)]


def check_contiguous(array: np.ndarray) -> None:
    """Raise ValueError for memory that no single transfer can move."""
    flags = without_repeats(array).flags
    if not (flags.c_contiguous or flags.f_contiguous):
        raise ValueError(
            "Array contains non-contiguous buffer and cannot be transferred as a single memory region. "
            "Please ensure contiguous buffer with numpy .ascontiguousarray()"
        )


def check_alike(one: Any, other: Any) -> None:
    """Raise TypeError or ValueError unless a plain copy of memory from one array to the other is right."""
    if one.dtype != other.dtype:
        raise TypeError(f"incompatible dtype: {one.dtype} vs. {other.dtype}")
    a, b = one.squeeze(), other.squeeze()
    if a.shape != b.shape:
        raise ValueError(f"incompatible shape: {one.shape} vs. {other.shape}")
    if one.size and a.strides != b.strides:
        raise ValueError(f"incompatible strides: {one.strides} vs. {other.strides}")


def to_device(obj: Any, stream: Any = 0, copy: bool = True, to: Any = None) -> Any:
    """Copy an array of the host to the device, as `cuda.to_device` does."""
    if to is not None:
        if copy:
            to.copy_to_device(obj, stream=stream)
        return to
    if is_cuda_array(obj):
        return obj if isinstance(obj, DeviceNDArrayBase) else DeviceNDArray.of(memory_of(obj), stream)
    if isinstance(obj, np.void):
        record = DeviceRecord.of(allocate((), obj.dtype), stream)
        record._data[()] = obj
        return record
    array = np.asarray(obj)
    check_contiguous(array)
    core = without_repeats(array)
    memory = allocate(core.shape, array.dtype, order="C" if core.flags.c_contiguous else "F")
    if copy:
        memory[...] = core
    strides = iter(memory.strides)
    if core.ndim != array.ndim:
        whole = np.lib.stride_tricks.as_strided(
            memory, array.shape, [stride and next(strides) for stride in array.strides]
        )
        return DeviceNDArray.of(whole, stream)
    return DeviceNDArray.of(memory, stream)


class Memory(NamedTuple):
    """A place in the memory of the device: address and bytes."""

    handle: int
    size: int

    @property
    def device_ctypes_pointer(self) -> ctypes.c_void_p:
        """The address for ctypes."""
        return ctypes.c_void_p(self.handle)


class DeviceNDArrayBase:
    """What arrays and records of the device have in common."""

    __cuda_memory__ = True
    __cuda_ndarray__ = True

    _data: np.ndarray
    stream: Any

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        data = self._data
        return {
            "shape": data.shape,
            "strides": None if data.flags.c_contiguous else data.strides,
            "data": (data.__array_interface__["data"][0] if data.size else 0, False),
            "typestr": data.dtype.str,
            "stream": int(self.stream) if self.stream else None,
            "version": 3,
        }

    @property
    def alloc_size(self) -> int:
        """Bytes that the array spans in memory."""
        low, high = np.lib.array_utils.byte_bounds(self._data) if self._data.size else (0, 0)
        return int(high - low)

    @property
    def _numba_type_(self) -> Any:
        return numba.typeof(self._data)

    @property
    def gpu_data(self) -> Memory:
        """The place in the memory of the device."""
        return Memory(self.__cuda_array_interface__["data"][0], self.alloc_size)

    @property
    def device_ctypes_pointer(self) -> ctypes.c_void_p:
        """The address in the memory of the device."""
        return self.gpu_data.device_ctypes_pointer

    def copy_to_host(self, ary: Any = None, stream: Any = 0) -> Any:
        """Return the content in a new array of the host, or in `ary`."""
        if any(stride < 0 for stride in self._data.strides):
            raise NotImplementedError(f"D->H copy not implemented for negative strides: {self._data.strides}")
        if ary is None:
            return self._data.copy(order="K")
        check_alike(self._data, ary)
        if not ary.flags.writeable:
            raise ValueError("ary got a read-only array; expected one that copy_to_host can write into")
        ary.squeeze()[...] = self._data.squeeze()
        return ary

    def copy_to_device(self, ary: Any, stream: Any = 0) -> None:
        """Copy the content of an array of the host or of the device into this one."""
        if ary.size == 0:
            return
        check_contiguous(self._data)
        core = without_repeats(self._data)
        if is_cuda_array(ary):
            source = memory_of(ary)
            check_contiguous(source)
            source = without_repeats(source)
        else:
            source = np.array(without_repeats(ary), order="C" if core.flags.c_contiguous else "F", copy=None)
        check_alike(core, source)
        core.squeeze()[...] = source.squeeze()

    def bind(self, stream: Any = 0) -> Any:
        """Return the same memory with another stream."""
        return DeviceNDArray.of(self._data, stream)

    def split(self, section: int, stream: Any = 0) -> Iterator[Any]:
        """Yield views of `section` elements, the last one maybe shorter."""
        if self._data.ndim != 1:
            raise ValueError("only support 1d array")
        if not self._data.flags.c_contiguous:
            raise ValueError("only support unit stride")
        for begin in range(0, self._data.size, section):
            yield DeviceNDArray.of(self._data[begin : begin + section], stream or self.stream)

    def get_ipc_handle(self) -> Any:
        """Refuse."""
        raise EmulatorError("the emulator shares no memory with other processes: get_ipc_handle")


class DeviceNDArray(DeviceNDArrayBase):
    """An array in the memory of the device, with the constructor of Numba's class of this name."""

    def __init__(self, shape: Any, strides: Any, dtype: Any, stream: Any = 0, gpu_data: Any = None):
        if gpu_data is None:
            self._data = allocate(shape, dtype, strides)
        else:
            address = gpu_data.device_ctypes_pointer.value or 0
            shape = (shape,) if isinstance(shape, int) else tuple(shape)
            self._data = at_address(shape, np.dtype(dtype), strides, address)
        self.stream = stream

    @classmethod
    def of(cls, data: np.ndarray, stream: Any = 0) -> Any:
        """Return the array of the device with this memory."""
        made = cls.__new__(cls)
        made._data, made.stream = data, stream
        return made

    shape = property(lambda self: self._data.shape)
    strides = property(lambda self: self._data.strides)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    nbytes = property(lambda self: self._data.nbytes)

    @property
    def flags(self) -> dict[str, bool]:
        """How the elements lie in memory."""
        return {"C_CONTIGUOUS": self.is_c_contiguous(), "F_CONTIGUOUS": self.is_f_contiguous()}

    def is_c_contiguous(self) -> bool:
        """Return whether the last index runs fastest, without gaps."""
        return bool(self._data.flags.c_contiguous)

    def is_f_contiguous(self) -> bool:
        """Return whether the first index runs fastest, without gaps."""
        return bool(self._data.flags.f_contiguous)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of shape {self.shape} and dtype {self.dtype}, in the emulator>"

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.copy_to_host(), dtype)

    @property
    def T(self) -> Any:
        """The transposed matrix, a copy."""
        return self.transpose()

    def transpose(self, axes: Any = None) -> Any:
        """Return the transposed matrix, a copy."""
        if axes and tuple(axes) == tuple(range(self.ndim)):
            return self
        if self.ndim != 2:
            raise NotImplementedError("transposing a non-2D DeviceNDArray isn't supported")
        if axes is not None and set(axes) != {0, 1}:
            raise ValueError(f"invalid axes list {axes!r}")
        return to_device(np.ascontiguousarray(self._data.T), self.stream)

    def reshape(self, *newshape: Any, order: str = "C") -> Any:
        """Return a view of another shape."""
        shape = newshape[0] if len(newshape) == 1 and isinstance(newshape[0], (tuple, list)) else newshape
        return self._view_only(self._data.reshape(shape, order=order))  # type: ignore[call-overload]

    def ravel(self, order: str = "C", stream: Any = 0) -> Any:
        """Return a view with one dimension."""
        return self._view_only(self._data.ravel(order=order))  # type: ignore[arg-type]

    def squeeze(self, axis: Any = None, stream: Any = 0) -> Any:
        """Return a view without dimensions of one element."""
        return self._view_only(self._data.squeeze(axis))

    def view(self, dtype: Any) -> Any:
        """Return the same bytes as numbers of another type."""
        if np.dtype(dtype).itemsize != self.dtype.itemsize and not self.is_c_contiguous():
            raise ValueError("To change to a dtype of a different size, the array must be C-contiguous")
        return self._view_only(self._data.view(dtype))

    def _view_only(self, data: np.ndarray) -> Any:
        if data.size and not np.may_share_memory(data, self._data):
            raise NotImplementedError("operation requires copying")
        return type(self).of(data, self.stream)

    def _whole(self, item: Any) -> tuple[Any, ...]:
        """Return the index of a view, even for one element."""
        items = item if isinstance(item, tuple) else (item,)
        for one in items:
            if not (one is Ellipsis or isinstance(one, (int, np.integer, slice))):
                raise TypeError(f"index got {one!r}; expected integers and slices, as for any device array")
        return items if any(one is Ellipsis for one in items) else (*items, ...)

    def getitem(self, item: Any, stream: Any = 0) -> Any:
        """Return a view, or a copy of one element."""
        view = self._data[self._whole(item)]
        if isinstance(self._data[item], np.ndarray):
            return type(self).of(view, stream or self.stream)
        return DeviceRecord.of(view, stream or self.stream) if self.dtype.names else view[()]

    __getitem__ = getitem

    def setitem(self, key: Any, value: Any, stream: Any = 0) -> None:
        """Copy into one element or a part; numbers and smaller arrays are repeated."""
        source = memory_of(value) if is_cuda_array(value) else np.asarray(value)
        target = self._data[self._whole(key)]
        if source.ndim > target.ndim:
            raise ValueError(f"Can't assign {source.ndim}-D array to {target.ndim}-D self")
        wanted = target.shape[target.ndim - source.ndim :]
        for axis, (n, m) in enumerate(zip(wanted, source.shape, strict=True), target.ndim - source.ndim):
            if m not in (1, n):
                raise ValueError(f"Can't copy sequence with size {m} to array axis {axis} with dimension {n}")
        target[...] = source

    __setitem__ = setitem


class DeviceRecord(DeviceNDArray):
    """A structured element in the memory of the device; its index is the name of a field."""

    def __init__(self, dtype: Any, stream: Any = 0, gpu_data: Any = None):
        super().__init__((), (), dtype, stream, gpu_data)

    def getitem(self, item: Any, stream: Any = 0) -> Any:
        """Return a field: a copy of a number, a view of an array or record."""
        field = self._data[item]
        if field.shape:
            return DeviceNDArray.of(field, stream or self.stream)
        return DeviceRecord.of(field, stream or self.stream) if field.dtype.names else field[()]

    __getitem__ = getitem

    def setitem(self, key: Any, value: Any, stream: Any = 0) -> None:
        """Copy a value into a field."""
        self._data[key] = value

    __setitem__ = setitem


class _SharedWithHost(DeviceNDArrayBase):
    """An array of the host that kernels reach, too."""

    stream = 0

    @classmethod
    def of(cls, data: np.ndarray, stream: Any = 0) -> Any:
        """Return the array with this memory."""
        made: Any = data.view(cls)
        made.stream = stream
        return made

    @property
    def _data(self) -> np.ndarray:  # type: ignore[override]
        return np.asarray(self)


class MappedNDArray(_SharedWithHost, np.ndarray):
    """What `cuda.mapped_array` returns."""


class ManagedNDArray(_SharedWithHost, np.ndarray):
    """What `cuda.managed_array` returns."""
