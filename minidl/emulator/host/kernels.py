"""The methods of `@cuda.jit` functions that the host calls: launches, signatures, and inspection, which is refused.

`minidl.emulator.active` puts each function of `METHODS` in the place of the method of that name. A launch copies arrays
of the host to the device and back, as Numba does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
from numba.core import sigutils, types
from numba.core.errors import TypingError
from numba.core.typing.typeof import Purpose, typeof
from numba.cuda.errors import normalize_kernel_dimensions
from numba.np.numpy_support import as_dtype, from_dtype

from minidl.emulator.errors import EmulatorError
from minidl.emulator.host.api import In, Out
from minidl.emulator.host.arrays import DeviceNDArrayBase, DeviceRecord, is_cuda_array, memory_of, to_device
from minidl.emulator.host.machine import context
from minidl.emulator.inference import result_of, typing_context
from minidl.emulator.launch import Device
from minidl.emulator.packages import in_numba
from minidl.scalar.constants import WARP
from minidl.utils import checks

DEVICE = Device()
DEVICE.threads_may_end = True
PASSED = (types.Array, types.Number, types.Boolean, types.NPDatetime, types.NPTimedelta, types.Record, types.EnumMember)
NUMBERS = (bool, int, float, complex, np.number, np.bool_)
FORALL_THREADS = 128  # of a block, where Numba asks the driver


class Launcher:
    """A kernel with its launch configuration, as `kernel[blocks, threads, stream, shared_bytes]` returns it."""

    def __init__(self, kernel: Any, blocks: Any, threads: Any, stream: Any = 0, shared_bytes: int = 0):
        self.dispatcher, self.stream, self.sharedmem = kernel, stream, shared_bytes
        self.griddim, self.blockdim = normalize_kernel_dimensions(blocks, threads)

    def __call__(self, *arguments: Any) -> None:
        launch(self.dispatcher, self.griddim, self.blockdim, self.stream, self.sharedmem, arguments)


class ForAll:
    """A kernel for a number of tasks, which chooses its own launch configuration."""

    def __init__(self, kernel: Any, ntasks: int, tpb: int = 0, stream: Any = 0, sharedmem: int = 0):
        if ntasks < 0:
            raise ValueError(f"Can't create ForAll with negative task count: {ntasks}")
        self.kernel, self.ntasks = kernel, ntasks
        self.threads = tpb or min(FORALL_THREADS, -(-ntasks // WARP) * WARP)
        self.stream, self.shared_bytes = stream, sharedmem

    def __call__(self, *arguments: Any) -> None:
        if self.ntasks:
            blocks = -(-self.ntasks // self.threads)
            Launcher(self.kernel, blocks, self.threads, self.stream, self.shared_bytes)(*arguments)


def launch(kernel: Any, blocks: Any, threads: Any, stream: Any, shared_bytes: int, arguments: Any) -> None:
    """Run a kernel on the emulator with what the host gave it."""
    if kernel.targetoptions.get("device"):
        raise EmulatorError(
            f"Cannot compile a device function as a kernel: {kernel.py_func.__name__} is one; expected a kernel"
        )
    if kernel.targetoptions.get("link"):
        raise EmulatorError(f"kernel {kernel.py_func.__name__} links CUDA C or PTX, which the emulator does not know")
    names = _parameters(kernel.py_func)
    afterwards: list[Callable[[], Any]] = []
    for extension in reversed(kernel.targetoptions.get("extensions") or ()):
        prepare = functools.partial(extension.prepare_args, stream=stream, retr=afterwards)
        arguments = [prepare(None, argument)[1] for argument in arguments]
    new_kinds = None
    if signatures := signatures_of(kernel):
        arguments = _by_signature(kernel, names, arguments, signatures)
    else:
        new_kinds = tuple(map(_type_of, arguments))
        for name, value, kind in zip(names, arguments, new_kinds, strict=False):
            if not _is_passed(kind):
                found = checks.describe(value)
                raise TypeError(f"{name} got {found}; expected an array, a number, a record, or a tuple of these")
    on_device = [
        _on_device(name, value, afterwards)
        for name, value in zip([*names, *["argument"] * len(arguments)], arguments, strict=False)
    ]
    DEVICE.launch(kernel, blocks, threads, *on_device, shared_bytes=shared_bytes, negative_indices=True)
    if new_kinds is not None:
        vars(kernel).setdefault("_emulated_launches", {})[new_kinds] = None
    for action in afterwards:
        action()


@functools.lru_cache
def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def _is_passed(kind: Any) -> bool:
    """Return whether Numba gives a kernel arguments of this type."""
    is_tuple = isinstance(kind, types.BaseTuple)
    return all(map(_is_passed, kind)) if is_tuple else isinstance(kind, PASSED)


def _on_device(name: str, value: Any, afterwards: list[Callable[[], Any]]) -> Any:
    """Return what the kernel gets for an argument; append what remains to be done after it."""
    hint = type(value) if isinstance(value, In) else None
    if hint is not None:
        value = value.value
    if is_cuda_array(value):
        return memory_of(value)[()] if isinstance(value, DeviceRecord) else memory_of(value)
    if isinstance(value, tuple):
        parts = [_on_device(f"{name}[{i}]", part, afterwards) for i, part in enumerate(value)]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, np.void):
        return value.copy() if hint is In else value  # a record, which the launch itself copies
    if not isinstance(value, np.ndarray):
        return value
    if hint is not In and not value.flags.writeable:
        raise ValueError(
            f"{name} got a read-only array; expected one that the kernel can write into, or cuda.In({name}), "
            "or an array of the device"
        )
    copy: DeviceNDArrayBase = to_device(value, copy=hint is not Out)
    if hint is not In:
        afterwards.append(lambda: copy.copy_to_host(value))
    return copy._data


# Signatures -----------------------------------------------------------------------------------------------------------


def signatures_of(kernel: Any) -> list[tuple[Any, ...]]:
    """Return the types of the arguments for which a kernel was declared; [] if it takes what comes."""
    if kernel._can_compile:
        return []
    declared = getattr(kernel, "_emulated_signatures", None)
    return declared or [tuple(map(in_numba, found)) for found in vars(kernel)["overloads"]]


def _type_of(value: Any) -> Any:
    value = value.value if isinstance(value, In) else value
    return typeof(memory_of(value) if is_cuda_array(value) else value, Purpose.argument)


def _by_signature(kernel: Any, names: list[str], arguments: Any, signatures: list[tuple[Any, ...]]) -> list[Any]:
    """Convert arguments to the types of a signature, or raise TypeError.

    Numba takes the only signature as it is; of several it takes the one with the best conversions.
    """
    (chosen, *others), name = signatures, kernel.py_func.__name__
    if others:
        found = tuple(map(_type_of, arguments))
        cases = [types.void(*signature) for signature in signatures]
        best = typing_context().resolve_overload(
            kernel.py_func, cases, found, {}, allow_ambiguous=False, unsafe_casting=True
        )
        if best is None:
            raise TypeError(
                f"No matching definition for argument type(s) {', '.join(map(str, found))}: kernel {name} expects "
                + " or ".join(f"({', '.join(map(str, signature))})" for signature in signatures)
            )
        chosen = best.args
    if len(chosen) != len(arguments):
        expected = ", ".join(map(str, chosen))
        raise TypeError(f"kernel {name} got {len(arguments)} arguments; expected {len(chosen)}: {expected}")
    return [_converted(*three) for three in zip(names, arguments, chosen, strict=True)]


def _converted(name: str, value: Any, kind: Any) -> Any:
    """Return an argument as the type of a signature."""
    found = value.value if isinstance(value, In) else value
    wrong = TypeError(f"{name} got {checks.describe(found)}; expected {kind}, as in the signature of the kernel")
    if isinstance(kind, types.Array):
        if not hasattr(found, "dtype") or found.ndim != kind.ndim or from_dtype(found.dtype) != kind.dtype:
            raise wrong
    elif isinstance(kind, (types.Number, types.Boolean)) and isinstance(found, NUMBERS):
        dtype = as_dtype(kind)
        if np.asarray(found).dtype.kind not in {"f": "biuf", "c": "biufc"}.get(dtype.kind, "biu"):
            raise wrong
        return np.asarray(found).astype(dtype)[()]
    return value


# What is put in the place of methods ----------------------------------------------------------------------------------


def _getitem(self: Any, configuration: Any) -> Launcher:
    if not isinstance(configuration, tuple) or not 2 <= len(configuration) <= 4:
        raise ValueError("must specify at least the griddim and blockdim")
    return Launcher(self, *configuration)


def _configure(self: Any, griddim: Any, blockdim: Any, stream: Any = 0, sharedmem: int = 0, **others: Any) -> Launcher:
    return Launcher(self, griddim, blockdim, stream, sharedmem)


def _forall(self: Any, ntasks: int, tpb: int = 0, stream: Any = 0, sharedmem: int = 0) -> ForAll:
    return ForAll(self, ntasks, tpb, stream, sharedmem)


def _call(self: Any, args: Any, griddim: Any, *others: Any) -> None:
    if others:
        blockdim, stream, shared_bytes = others
        launch(self, griddim, blockdim, stream, shared_bytes, args)
    else:  # numba-cuda gives the configuration as one object
        launch(self, griddim.griddim, griddim.blockdim, griddim.stream, griddim.sharedmem, args)


def _compile(self: Any, sig: Any) -> Any:
    arguments, result = sigutils.normalize_signature(sig) if not isinstance(sig, tuple) else (sig, None)
    return self.compile_device(arguments, result) if self.targetoptions.get("device") else _declare(self, arguments)


def _declare(kernel: Any, arguments: Any) -> Compiled:
    """Give a kernel one more signature."""
    arguments = tuple(map(in_numba, arguments))
    result = result_of(kernel.py_func, arguments)
    if result != types.none:
        raise TypingError(f"kernel {kernel.py_func.__name__} returns a {result}; expected nothing to be returned")
    vars(kernel).setdefault("_emulated_signatures", []).append(arguments)
    return Compiled(kernel, types.void(*arguments))


def _compile_device(self: Any, args: Any, return_type: Any = None) -> Any:
    arguments = tuple(map(in_numba, args))
    result = result_of(self.py_func, arguments)
    made = Compiled(self, (result if return_type is None else in_numba(return_type))(*arguments))
    return vars(self)["overloads"].setdefault(arguments, made)


def _specialize(self: Any, *args: Any) -> Any:
    if self.specialized:
        raise RuntimeError("Dispatcher already specialized")
    key = context().compute_capability, tuple(map(_type_of, args))
    if key not in self.specializations:
        special = type(self)(self.py_func, targetoptions=self.targetoptions)
        special.compile(key[1])
        special._specialized, special._can_compile = True, False
        self.specializations[key] = special
    return self.specializations[key]


def _max_cooperative_grid_blocks(self: Any, blockdim: Any, dynsmemsize: int = 0) -> int:
    """Return how many blocks a grid may have whose blocks wait for each other: the emulator sets no other limit."""
    return 2**31 - 1


def _disable_compile(self: Any, val: bool = True) -> None:
    """Keep to the signatures."""
    self._can_compile = not val


class Compiled:
    """What the emulator has instead of a compiled kernel."""

    objectmode = False  # for Numba, where it lists the signatures of a device function

    def __init__(self, kernel: Any, signature: Any):
        self._kernel, self.signature, self.argument_types = kernel, signature, signature.args

    def max_cooperative_grid_blocks(self, blockdim: Any, dynsmemsize: int = 0) -> int:
        """Return how many blocks a grid may have whose blocks wait for each other."""
        return _max_cooperative_grid_blocks(self._kernel, blockdim, dynsmemsize)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise EmulatorError(f"the emulator does not know {name} of a compiled kernel: it compiles nothing")


class Overloads(Mapping[Any, Compiled]):
    """`kernel.overloads`: there is something for all types, because nothing is compiled."""

    def __init__(self, kernel: Any):
        self._kernel = kernel

    def __getitem__(self, kinds: Any) -> Compiled:
        return Compiled(self._kernel, types.void(*kinds))

    def __iter__(self) -> Iterator[Any]:
        return iter([*signatures_of(self._kernel), *getattr(self._kernel, "_emulated_launches", ())])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def refusal(name: str) -> Callable[..., NoReturn]:
    """Return a method that says that the emulator has none of this name."""

    def refuse(self: Any, *arguments: Any, **options: Any) -> NoReturn:
        raise EmulatorError(f"the emulator does not know {self.py_func.__name__}.{name}: it compiles nothing")

    return refuse


METHODS: dict[str, Callable[..., Any]] = {
    "__getitem__": _getitem,
    "configure": _configure,
    "forall": _forall,
    "call": _call,
    "compile": _compile,
    "compile_device": _compile_device,
    "disable_compile": _disable_compile,
    "specialize": _specialize,
    "max_cooperative_grid_blocks": _max_cooperative_grid_blocks,
}

INSPECTION = ("inspect_", "get_regs", "get_const", "get_shared", "get_local", "get_max")
