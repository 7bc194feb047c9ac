"""Compile every CUDA kernel of minidl to machine code, without a GPU, and look at what came out.

    pip install 'minidl[cuda13,disassembler]'
    python scripts/compile_kernels.py [--cc 7.5] [--dtype float32] [--kernel NAME] [--accept]

The argument types of a kernel, and the size of its blocks, are those that it is launched with: every operation is
called once with a launcher that only takes notes. A kernel that no operation launches is an error, so none can be
forgotten. The way to machine code is the one of a launch: Numba to LTO-IR, NVIDIA's linker from there.

Errors, besides what the compiler refuses:

    float64      an instruction of double precision in a float32 version: a consumer GPU runs it 32 or 64 times as
                 slowly, and it slips in unseen: `x * 0.1` is enough
    stack        arrays in local memory or spilled registers; a kernel with bounds on its launch may spill
    limits       more registers or shared memory than a block of that launch can have
    difference   figures other than those in scripts/expected_kernels.json; with another compiler than the one it was
                 written with, they are only reported
    nodes        a training step of more or fewer launches than in that file, whatever the compiler
    ladder       a docs/ladder.md that is not what those figures and the emulator's trace of each rung give

The option --accept makes the new figures the expected ones and writes docs/kernels.md and docs/ladder.md.

Exits with 0 if all is well, 1 if not, and 2 if the compiler is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.util
import itertools
import math
import multiprocessing
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl.cuda
import minidl.emulator
from minidl.cuda import dense, joined, reduce
from minidl.cuda.engine.launches import Launch as Launched
from minidl.cuda.engine.launches import note_launches, noted
from minidl.cuda.ladder import RUNGS
from minidl.scalar.activations import ACTIVATIONS
from minidl.utils.files import write_whole
from scripts import expected_kernels, ladder_page, machine_code, step_nodes
from scripts.expected_kernels import Expected, Version
from scripts.kernel_examples import examples
from scripts.machine_code import Figures, Instruction

CAPABILITIES = ("7.5", "8.0", "9.0", "10.0")  # 7.5 is the oldest of CUDA 13
DTYPES = ("float32", "float64")
BATCH = 48  # versions that a process compiles and disassembles in one go


class Launch(NamedTuple):
    """A kernel, the types of the arguments that an operation launches it with, and the threads of a block."""

    name: str
    kernel: Any
    types: tuple[Any, ...]
    threads: int
    capability: tuple[int, int] = (0, 0)  # the lowest that it can be compiled for
    step: int = 0  # in a product: multiply-adds of a thread in a step of k


class Compiled(NamedTuple):
    """What came out for one version of a kernel; no figures if it does not compile."""

    version: Version
    figures: Figures | None
    problems: list[str]

    def __str__(self) -> str:
        figures = "".join(f"{figure:>10}" for figure in self.figures or ())
        kernel, dtype, capability = self.version
        return f"{kernel:<45} {dtype:<8} {capability:<4}{figures}{'  FAILED' if self.problems else ''}"


def compiler_missing() -> str | None:
    """None if kernels can be compiled here, else one sentence with the way out."""
    way_out = "run pip install 'minidl[cuda13,disassembler]' (Linux and Windows; it needs no GPU)"
    if importlib.util.find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed: {way_out}"
    try:
        from numba.cuda.cudadrv.nvvm import NVVM

        NVVM()
        importlib.import_module("cuda.core")
    except Exception as error:
        return f"NVIDIA's compiler cannot be loaded ({' '.join(str(error).split())}): {way_out}"
    if disassembler() is None:
        return f"NVIDIA's disassembler nvdisasm is not installed: {way_out}"
    return None


@functools.cache
def disassembler() -> str | None:
    """Where nvdisasm is: in a package, or in a CUDA toolkit."""
    from cuda.pathfinder import find_nvidia_binary_utility

    return find_nvidia_binary_utility("nvdisasm")


# Which kernels there are, and what they are launched with -----------------------------------------------------------


def all_kernels(package: ModuleType = minidl.cuda) -> dict[str, Any]:
    """Every `@cuda.jit` kernel that a module of the package keeps, by name: "dense.product"."""
    kernels: dict[str, Any] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".engine" in info.name:  # no kernel is there, and a part of it needs numba-cuda
            continue
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


def launched_kernels(dtype: str) -> list[Launch]:
    """Each kernel that the operations launch, once for each list of types, those of the ladder, and joined ones.

    A product is launched in every variant, whatever its size. Raises LookupError for an operation without an example.
    """
    names = {kernel: name for name, kernel in all_kernels().items()}
    blocks: dict[tuple[Any, tuple[Any, ...]], int] = {}
    capabilities: dict[Any, tuple[int, int]] = {}
    steps: dict[Any, int] = {}

    def take_notes(kernel, grid, block, *arguments, capability=(0, 0), step=0):
        key = kernel, tuple(map(numba.typeof, arguments))
        blocks[key] = max(blocks.get(key, 0), math.prod(block))
        capabilities.setdefault(kernel, capability)
        steps.setdefault(kernel, step)

    for name, variant in dense.VARIANTS.items():
        if dtype in variant.dtypes:
            # One variant for all products, and two products and two blocks for a batch of five rows.
            with (
                mock.patch.multiple(dense, choose_variant=lambda c, inner, name=name: name, ROWS_AT_ONCE=4),
                mock.patch.object(reduce, "FEW_ROWS", 4),
            ):
                side, slices, depth = dense.TILINGS.get(name, (1, 1, 1))
                known = {"capability": variant.capability, "step": side * side * depth // slices}
                launch = functools.partial(take_notes, **known)
                for example in examples(dtype):
                    getattr(minidl.cuda, example.operation)(launch, *example.arguments.values())
                with _named_joins(names):
                    for kernel, grid, block, arguments in handed_on(dtype, name) if name in joined.QUICK else ():
                        launch(kernel, grid, block, *arguments)
    matrix = np.zeros((2, 2), dtype)
    for rung in RUNGS.values():
        if dtype in rung.dtypes:
            known = {"capability": rung.capability, "step": _step_of_rung(sys.modules[rung.kernel.py_func.__module__])}
            take_notes(rung.kernel, rung.grid(matrix), rung.block, *[matrix] * 3, **known)
    with _named_joins(names):
        for kernel, grid, block, arguments in step_nodes.launches_of_step(dtype):
            take_notes(kernel, grid, block, *arguments)
    launches: dict[str, Launch] = {}
    for (kernel, types), threads in blocks.items():
        name = _name_of(kernel, names)
        while name in launches:  # the same kernel with other types
            name += "'"
        step = steps[kernel] if name.startswith(("dense.", "ladder.")) else 0  # the others are no products
        launches[name] = Launch(name, kernel, types, threads, capabilities[kernel], step)
    return list(launches.values())


def handed_on(dtype: str, variant: str) -> Iterator[Launched]:
    """Products in this variant that hand their elements on to ReLU, small ones of float32 to every activation.

    The last one is the whole backward pass of a dense layer behind an activation.
    """
    everything, launch = (dtype, variant) == ("float32", "small"), noted(minidl.emulator.launch)
    for name in [*(ACTIVATIONS if everything else ()), "relu"]:
        x, weight, z, y, dy, dz, dx, dweight, bias, dbias = (np.zeros(shape, dtype) for shape in [(2, 2)] * 8 + [2] * 2)
        with note_launches() as launches:
            minidl.cuda.dense_forward(launch, x, weight, bias, z)
            minidl.cuda.activation_forward(launch, name, z, z.dtype.type(0), y)
            minidl.cuda.dense_backward_input(launch, dy, weight, dz)
            minidl.cuda.activation_backward(launch, name, z, y, dz, z.dtype.type(0), dx)
            minidl.cuda.dense_backward_weight(launch, x, dy, dweight)
            minidl.cuda.column_sums(launch, dy, dbias)
        yield from (*joined.joined(launches[:2]), *joined.joined(launches[2:4]))
    yield from joined.joined([*launches[4:], *launches[2:4]])


@contextlib.contextmanager
def _named_joins(names: dict[Any, str]) -> Iterator[None]:
    """Name the kernels that are joined meanwhile by their parts."""
    handing_on, kernel_of = joined.handing_on, joined._kernel_of

    def named_handing_on(kernel, take):
        made = handing_on(kernel, take)
        taker = next(activation for activation, (taken, _) in joined.TAKERS.items() if taken is take)
        names[made] = f"{_name_of(kernel, names)}→{_name_of(taker, names)}"
        return made

    def named_kernel_of(kernels):
        made = kernel_of(kernels)
        names[made] = "+".join(_name_of(kernel, names) for kernel in kernels)
        return made

    with mock.patch.multiple(joined, handing_on=named_handing_on, _kernel_of=named_kernel_of):
        yield


def _name_of(kernel: Any, names: dict[Any, str]) -> str:
    return names.get(kernel, kernel.py_func.__qualname__)


def _step_of_rung(module: ModuleType) -> int:
    """Multiply-adds of a thread in a step of k; where a rung has no tile for each thread, its step is one number."""
    return getattr(module, "SIDE", 1) ** 2 * getattr(module, "DEPTH", 1)


def targets(launch: Launch, capabilities: Sequence[str] = CAPABILITIES) -> list[str]:
    """Those of the compute capabilities that the kernel can be compiled for."""
    return [capability for capability in capabilities if _numbers(capability) >= launch.capability]


def _numbers(capability: str) -> tuple[int, ...]:
    return tuple(map(int, capability.split(".")))


# From a kernel to machine code ----------------------------------------------------------------------------------------


def compile_kernel(launch: Launch, dtype: str, capability: str) -> Compiled:
    """Compile a kernel for a compute capability such as "7.5"."""
    return compile_kernels({Version(launch.name, dtype, capability): launch})[0]


def compile_kernels(launches: Mapping[Version, Launch]) -> list[Compiled]:
    """Compile kernels, and read the machine code of all that are for one compute capability at once."""
    done = {version: Compiled(version, None, []) for version in launches}
    assembled: dict[str, dict[Version, tuple[bytes, str]]] = {}
    for version, launch in launches.items():
        try:
            cubin, log = to_cubin(launch, version.capability)
            assembled.setdefault(version.capability, {})[version] = machine_code.instructions_of(cubin), log
        except Exception as error:
            message = " ".join(str(error).replace("\0", "").split())  # NVIDIA's linker ends its text as C does
            done[version].problems.append(f"{type(error).__name__}: {message[:600]}")
    for capability, kernels in assembled.items():
        codes = disassemble([kernel for kernel, _ in kernels.values()], capability)
        for (version, (_, log)), code in zip(kernels.items(), codes, strict=True):
            done[version] = _judged(version, launches[version], log, code)
    return list(done.values())


def _judged(version: Version, launch: Launch, log: str, code: Sequence[Instruction]) -> Compiled:
    figures = machine_code.figures(log, code, launch.threads, version.capability, launch.step)
    bounded = bool(launch.kernel.targetoptions.get("launch_bounds"))
    double = any("float64" in str(kind) for kind in launch.types)
    widest = "float64" if double else version.dtype
    return Compiled(version, figures, list(machine_code.problems(figures, code, widest, launch.threads, bounded)))


def to_cubin(launch: Launch, capability: str) -> tuple[bytes, str]:
    """The machine code, and what the assembler says about it."""
    from cuda.core import Linker, LinkerOptions, ObjectCode
    from numba import cuda
    from numba.cuda import dispatcher

    target = _target(capability)
    options = launch.kernel.targetoptions
    # Numba compiles device functions for the GPU that is present: tell it of one.
    gpu = SimpleNamespace(compute_capability=target[:2], id=0)
    with mock.patch.object(dispatcher, "get_current_device", lambda: gpu):
        code, _ = cuda.compile(
            launch.kernel.py_func,
            launch.types,
            device=False,
            abi="numba",
            fastmath=options.get("fastmath"),
            launch_bounds=options.get("launch_bounds"),
            cc=target,
            output="ltoir",
        )
    link_options = LinkerOptions(
        arch="sm_" + "".join(map(str, target)),
        max_register_count=options.get("max_registers"),
        link_time_optimization=True,
        ptxas_options=["-v"],
        verbose=True,
    )
    linker = Linker(ObjectCode.from_ltoir(code), options=link_options)
    return linker.link("cubin").code, linker.get_info_log()


def _target(capability: str) -> tuple[int, int, str]:
    major, minor = _numbers(capability)
    return major, minor, "a" if major >= 9 else ""  # Numba chooses the same


def disassemble(kernels: Sequence[bytes], capability: str) -> list[list[Instruction]]:
    """Read the instructions of kernels. The disassembler takes 0.2 to 0.4 s to start, and hardly longer for many.

    Raises RuntimeError with what the disassembler says if it refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernels.bin"
        file.write_bytes(b"".join(kernels))
        # The analysis of dataflow finds where computed jumps lead, and these kernels have none.
        options = ["--binary", "SM" + "".join(map(str, _target(capability))), "--no-dataflow"]
        done = subprocess.run([str(disassembler()), *options, file], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nvdisasm: {done.stderr}")
    return machine_code.parse(done.stdout, kernels)


def compile_all(versions: Sequence[Version]) -> Iterator[Compiled]:
    """Compile on all cores. One batch alone is compiled in this process: starting another takes longer."""
    batches = [versions[i : i + BATCH] for i in range(0, len(versions), BATCH)]
    if len(batches) <= 1:
        yield from itertools.chain.from_iterable(map(_compile, batches))
        return
    with _processes(len(batches)) as pool:
        yield from itertools.chain.from_iterable(pool.map(_compile, batches))


def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(min(os.cpu_count() or 1, count), mp_context=multiprocessing.get_context("spawn"))


def _compile(versions: Sequence[Version]) -> list[Compiled]:
    """By their names, because a kernel cannot travel to another process."""
    return compile_kernels({version: _launches(version.dtype)[version.kernel] for version in versions})


@functools.cache
def _launches(dtype: str) -> dict[str, Launch]:
    return {launch.name: launch for launch in launched_kernels(dtype)}


# The command --------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compile every CUDA kernel of minidl to machine code, without a GPU.")
    parser.add_argument("--cc", action="append", metavar="7.5", help=f"(default: {', '.join(CAPABILITIES)})")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="(default: both)")
    parser.add_argument("--kernel", default="", metavar="NAME", help="only kernels whose name contains this")
    parser.add_argument("--accept", action="store_true", help="make the figures the expected ones")
    options = parser.parse_args(arguments)
    for capability in options.cc or ():
        if not re.fullmatch(r"\d+\.\d", capability):
            parser.error(f"--cc got {capability!r}; expected a compute capability such as 7.5")
    everything = not (options.cc or options.dtype or options.kernel)
    if options.accept and not everything:
        parser.error(
            "--accept got a choice of kernels; expected no --cc, --dtype or --kernel, as the file has them all"
        )

    missing = compiler_missing()
    if missing:
        print(missing, file=sys.stderr)
        return 2
    try:
        launches = [(dtype, launch) for dtype in options.dtype or DTYPES for launch in launched_kernels(dtype)]
    except LookupError as error:  # an operation without an example
        print(error.args[0], file=sys.stderr)
        return 1
    versions = [
        Version(launch.name, dtype, capability)
        for dtype, launch in launches
        if options.kernel in launch.name
        for capability in targets(launch, options.cc or CAPABILITIES)
    ]

    start = time.perf_counter()
    print(f"{'kernel':<45} {'dtype':<8} {'cc':<4}" + "".join(f"{figure:>10}" for figure in Figures._fields))
    problems, found = [], {}
    for done in compile_all(versions):
        print(done, flush=True)
        problems += [f"{done.version}: {problem}" for problem in done.problems]
        if done.figures:
            found[done.version] = done.figures
    launched = {launch.kernel for _, launch in launches}
    problems += [
        f"{name}: no operation launches it" for name, kernel in all_kernels().items() if kernel not in launched
    ]
    if not versions:
        problems.append(f"--kernel got {options.kernel!r}, which is in the name of no kernel")
    print(f"\n{len(versions)} versions in {time.perf_counter() - start:.0f} s, {len(problems)} problems")

    nodes = len(step_nodes.launches_of_step())
    if options.accept and not problems:
        expected = Expected(expected_kernels.compiler(), found, nodes)
        expected_kernels.write(expected)
        with write_whole(ladder_page.PAGE, "w") as file:
            file.write(ladder_text(expected))
    else:
        before = expected_kernels.read().nodes
        if nodes != before:
            problems.append(f"a training step: nodes {before} → {nodes}; if this is meant: --accept")
        problems += compare(found, everything)
        if (
            everything
            and not problems
            and ladder_page.PAGE.read_text(encoding="utf-8") != ladder_text(expected_kernels.read())
        ):
            problems.append("docs/ladder.md is not what the ladder does: python scripts/compile_kernels.py --accept")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def ladder_text(expected: Expected) -> str:
    """What docs/ladder.md should say."""
    with _processes(len(RUNGS)) as pool:
        moved = ladder_page.all_traffic(pool)
    return ladder_page.page(expected, {kernel: name for name, kernel in all_kernels().items()}, moved)


def compare(found: dict[Version, Figures], everything: bool) -> list[str]:
    """The differences from the expected figures; with another compiler they are printed, and the list is empty."""
    expected = expected_kernels.read()
    differences = list(expected_kernels.differences(expected.kernels, found))
    if everything:
        differences += [f"{name}: expected, but not there" for name in expected.kernels if name not in found]
    current = expected_kernels.compiler()
    if differences and current == expected.compiler:
        return [*differences, "If these differences are meant: python scripts/compile_kernels.py --accept"]
    if differences:
        was, now = (
            ", ".join(f"{name} {compiler[name]}" for name in current) for compiler in (expected.compiler, current)
        )
        print(f"The expected figures are those of another compiler ({was}; here {now}), so these are no problems:")
        print("\n".join(differences))
    return []


if __name__ == "__main__":
    sys.exit(main())
