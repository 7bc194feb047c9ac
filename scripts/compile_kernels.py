"""Compile every CUDA kernel of minidl to PTX, without a GPU, and look for float64 in the float32 versions.

    pip install 'minidl[cuda13]'
    python scripts/compile_kernels.py [--cc 7.5] [--dtype float32] [--kernel NAME]

The argument types of a kernel are those that it is launched with: every operation is called once with a launcher that
only takes notes. A kernel that no operation launches is an error, so none can be forgotten.

A float64 instruction in the float32 version of a kernel is an error too. A consumer GPU runs it 32 or 64 times as
slowly, and it slips in unseen: `x * 0.1` is enough.

The table has the lines of PTX, how many of them are float64, and the registers that a thread of the machine code needs.
Exits with 0 if all is well, 1 if not, and 2 if the compiler is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import pkgutil
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numba

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl.cuda
from scripts.kernel_examples import examples

CAPABILITIES = ("7.5", "9.0")
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Compiled:
    """What came out for one kernel; `problem` is None if all is well, `registers` if the assembler is missing."""

    kernel: str
    dtype: str
    capability: str
    instructions: int = 0
    float64: int = 0
    registers: int | None = None
    problem: str | None = None

    def __str__(self) -> str:
        registers = "" if self.registers is None else self.registers
        figures = f"{self.instructions:>10} {self.float64:>8} {registers:>10}"
        return f"{self.kernel:<45} {self.dtype:<8} {self.capability:<4} {figures}{'  FAILED' if self.problem else ''}"


def compiler_missing() -> str | None:
    """None if kernels can be compiled here, else one sentence with the way out."""
    way_out = "run pip install 'minidl[cuda13]' (Linux and Windows; it needs no GPU)"
    if importlib.util.find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed: {way_out}"
    try:
        from numba.cuda.cudadrv.nvvm import NVVM

        NVVM()
    except Exception as error:
        return f"NVIDIA's compiler NVVM cannot be loaded ({' '.join(str(error).split())}): {way_out}"
    return None


# Which kernels there are, and what they are launched with -----------------------------------------------------------


def all_kernels(package: ModuleType = minidl.cuda) -> dict[str, Any]:
    """Every `@cuda.jit` kernel that a module of the package keeps, by name: "dense.product"."""
    kernels: dict[str, Any] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for name, kernel in _kernels_in(vars(module)):
            if kernel.py_func.__module__ == info.name and kernel not in kernels.values():
                kernels[f"{info.name.removeprefix(f'{package.__name__}.')}.{name}"] = kernel
    return kernels


def _kernels_in(names: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Kernels by their name, and those in a table such as FORWARD by the name of the table and their key."""
    for name, value in names.items():
        if isinstance(value, dict) and not str(name).startswith("__"):
            yield from ((f"{name}[{inner}]", kernel) for inner, kernel in _kernels_in(value))
        elif hasattr(value, "py_func") and not value.targetoptions.get("device"):
            yield str(name), value


def launched_kernels(dtype: str) -> list[tuple[Any, tuple[Any, ...]]]:
    """Each kernel that the operations launch, with the types of its arguments."""
    launches: dict[tuple[Any, tuple[Any, ...]], None] = {}  # a set that keeps the order

    def take_notes(kernel, grid, block, *arguments):
        launches[kernel, tuple(map(numba.typeof, arguments))] = None

    for example in examples(dtype):
        getattr(minidl.cuda, example.operation)(take_notes, *example.arguments.values())
    return list(launches)


# From a kernel to PTX, and further to machine code ------------------------------------------------------------------


def compile_kernel(name: str, kernel: Any, types: tuple[Any, ...], dtype: str, capability: str) -> Compiled:
    """Compile a kernel for argument types and a compute capability such as "7.5"."""
    try:
        ptx = to_ptx(kernel, types, capability)
        registers = assemble(ptx, capability)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return Compiled(name, dtype, capability, problem=f"{type(error).__name__}: {' '.join(lines)[:600]}")
    instructions = [line for line in ptx_body(ptx) if line.endswith(";") and not line.startswith(".")]
    float64 = sum(".f64" in instruction for instruction in instructions)
    problem = f"{float64} float64 instructions in the float32 version" if float64 and dtype == "float32" else None
    return Compiled(name, dtype, capability, len(instructions), float64, registers, problem)


def to_ptx(kernel: Any, types: tuple[Any, ...], capability: str) -> str:
    from numba import cuda
    from numba.cuda import dispatcher

    major, minor = map(int, capability.split("."))
    # Numba compiles device functions for the GPU that is present: tell it of one.
    gpu = SimpleNamespace(compute_capability=(major, minor), id=0)
    with mock.patch.object(dispatcher, "get_current_device", lambda: gpu):
        ptx, _ = cuda.compile_ptx(kernel.py_func, types, cc=(major, minor))
    return ptx


def ptx_body(ptx: str) -> list[str]:
    """The lines between the braces of the kernel, without comments."""
    body = ptx[ptx.index("{") :]
    return [line.strip() for line in re.sub(r"//.*", "", body).splitlines()]


def assemble(ptx: str, capability: str) -> int | None:
    """Assemble PTX to machine code; returns the number of registers, or None without an assembler.

    Raises RuntimeError if the assembler refuses it.
    """
    try:
        from cuda.core import Linker, LinkerOptions, ObjectCode
    except ImportError:
        return None
    options = LinkerOptions(arch=f"sm_{capability.replace('.', '')}", ptxas_options=["-v"], verbose=True)
    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=options)
    linker.link("cubin")
    used = re.search(r"[Uu]sed (\d+) registers", linker.get_info_log())
    return int(used[1]) if used else None


# The command --------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compile every CUDA kernel of minidl to PTX, without a GPU.")
    parser.add_argument("--cc", action="append", metavar="7.5", help="compute capability (default: 7.5 and 9.0)")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="(default: both)")
    parser.add_argument("--kernel", default="", metavar="NAME", help="only kernels whose name contains this")
    options = parser.parse_args(arguments)
    for capability in options.cc or ():
        if not re.fullmatch(r"\d+\.\d", capability):
            parser.error(f"--cc got {capability!r}; expected a compute capability such as 7.5")

    missing = compiler_missing()
    if missing:
        print(missing, file=sys.stderr)
        return 2
    try:
        launches = {dtype: launched_kernels(dtype) for dtype in options.dtype or DTYPES}
    except LookupError as error:  # an operation without an example
        print(error.args[0], file=sys.stderr)
        return 1

    start = time.perf_counter()
    names = {kernel: name for name, kernel in all_kernels().items()}
    problems, launched, count = [], set(), 0
    print(f"{'kernel':<45} {'dtype':<8} {'cc':<4} {'PTX lines':>10} {'float64':>8} {'registers':>10}")
    for dtype, kernels in launches.items():
        for kernel, types in kernels:
            launched.add(kernel)
            name = names.get(kernel, kernel.py_func.__qualname__)
            for capability in (options.cc or CAPABILITIES) if options.kernel in name else ():
                done = compile_kernel(name, kernel, types, dtype, capability)
                count += 1
                print(done, flush=True)
                if done.problem:
                    problems.append(f"{name} ({dtype}, {capability}): {done.problem}")
    problems += [f"{name}: no operation launches it" for kernel, name in names.items() if kernel not in launched]
    if not count:
        problems.append(f"--kernel got {options.kernel!r}, which is in the name of no kernel")

    seconds = time.perf_counter() - start
    print(f"\n{count} versions of {len(launched)} kernels in {seconds:.0f} s, {len(problems)} problems")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
