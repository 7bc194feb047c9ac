"""The figures that the machine code of each kernel is expected to have: their file, their page, and the comparison.

`python scripts/compile_kernels.py --accept` writes `scripts/expected_kernels.json` and `docs/kernels.md`.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from minidl.utils.files import write_whole
from scripts import step_nodes
from scripts.machine_code import Figures

FILE = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "kernels.md"
PACKAGES = ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink")  # from Python to machine code, in this order
HEAD = """# What the kernels cost

This page is written by `python scripts/compile_kernels.py --accept`. It shows the machine code of every CUDA kernel for
compute capability {capabilities}, as the compiler makes it; no GPU has run it for this page.

- **registers**: 32-bit registers of a thread. A multiprocessor has 65536; the more a thread takes, the fewer threads
  are there to hide the memory's latency.
- **shared**: bytes of shared memory of a block.
- **inner loop**: instructions of the loop that contains no other; of several, the one with the most multiply-adds, then
  the shorter one, which looks for no edges; without multiply-adds the longest; empty if there is no loop.
- **FMA**: the share of these that are fused multiply-adds, or those of tensor cores, in percent: what a matrix product
  is there for. The others load, compute addresses and count.
- **all of k**: the same share of all that a product executes in a step of its inner dimension, loads from memory and
  barriers included, where no edge of a matrix is near. A product can have no more of a GPU's multiply-adds than that.
- **warps**: how many fit on a multiprocessor, by their registers, their shared memory and its own limits.
- **KB in flight**: what these warps read from memory before one of them writes or waits at a barrier, at most: reads
  that wait for each other count, too.

Where the targets differ, a cell has a number for each, in this order. In the float32 versions no instruction is
float64. "–" is a target that lacks the instructions of the kernel: tensor cores and cp.async begin with 8.0.

The stack of a kernel is empty, and the check fails where it is not. Large products and those of tensor cores are the
exception: they would take up to 167 registers, and bounded to 128 they leave room for more warps. For that they spill
at most {spilled} bytes.

A captured training step of {step} is one CUDA graph with {nodes} nodes; as it
is written it makes {launches} launches. The kernels that `minidl/cuda/joined.py` makes have tables of their own. There
`a` → `b` is a product that hands its elements on to an activation, and `a` + `b` are kernels side by side: those of
that step, of a backward pass in each variant, and the products before each activation. A name that ends with `'` is the
kernel above it with arguments of other types.

All of this is counted, and a difference from the last accepted figures fails the check; what it does to the time is for
a GPU to say. Registers and instructions of joined kernels may differ a little from run to run, so the check leaves them
a margin of {margin}, or of 5 %.

Compiled with {compiler}.
"""


COLUMNS = {
    "registers": "registers",
    "shared": "shared",
    "inner loop": "loop",
    "FMA": "fma_share",
    "all of k": "step_share",
    "warps": "warps",
    "KB in flight": "kilobytes",
}
MARGIN = 8  # registers, which a thread gets in multiples of this, or instructions
JOINED = "([→+])"  # between the parts of a joined kernel's name


class Version(NamedTuple):
    """One kernel for one dtype and one compute capability, such as "9.0"."""

    kernel: str
    dtype: str
    capability: str

    def __str__(self) -> str:
        return f"{self.kernel} ({self.dtype}, {self.capability})"


class Expected(NamedTuple):
    """Figures, and the versions of the compiler that they belong to."""

    compiler: dict[str, str]
    kernels: dict[Version, Figures]
    nodes: int = 0  # of the graphs of a training step


def compiler() -> dict[str, str]:
    """The versions on which the machine code depends: of Python, whose bytecode Numba reads, and of each package."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # it may come with a CUDA toolkit instead
        return "unknown"


def read(file: Path = FILE) -> Expected:
    content = json.loads(file.read_text(encoding="utf-8"))
    kernels = {Version(*name.split()): Figures(*figures) for name, figures in content["kernels"].items()}
    return Expected(content["compiler"], kernels, content["nodes"])


def write(expected: Expected, file: Path = FILE, page_file: Path = PAGE) -> None:
    """Write the file, one line for each version so that a change is easy to review, and the page."""
    lines = [f"  {json.dumps(' '.join(name))}: {json.dumps(figures)}" for name, figures in expected.kernels.items()]
    with write_whole(file, "w") as opened:
        opened.write(f'{{"compiler": {json.dumps(expected.compiler)},\n "figures": {json.dumps(Figures._fields)},\n')
        opened.write(f' "nodes": {expected.nodes},\n')
        opened.write(' "kernels": {\n' + ",\n".join(lines) + "\n}}\n")
    with write_whole(page_file, "w") as opened:
        opened.write(page(expected))


def differences(expected: Mapping[Version, Figures], found: Mapping[Version, Figures]) -> Iterator[str]:
    """A sentence for each version that was compiled and is not as expected."""
    for name, figures in found.items():
        if name not in expected:
            yield f"{name}: new"
            continue
        pairs = zip(Figures._fields, expected[name], figures, strict=True)
        changes = [
            f"{figure} {before} → {now}" for figure, before, now in pairs if not _alike(name, figure, before, now)
        ]
        if changes:
            yield f"{name}: {', '.join(changes)}"


def _alike(name: Version, figure: str, before: int, now: int) -> bool:
    """Whether a figure is as expected.

    Numba numbers its functions in the order in which a process compiles them, and where a kernel has many of them, the
    compiler's choices depend on the numbers. So the registers and instructions of joined kernels have a margin, and
    what follows from their registers is not compared.
    """
    if not re.search(JOINED, name.kernel) or figure in ("shared", "stack"):
        return before == now
    return figure in ("warps", "in_flight") or abs(now - before) <= max(MARGIN, before // 20)


def page(expected: Expected) -> str:
    """The text of the page."""
    capabilities = list(dict.fromkeys(name.capability for name in expected.kernels))
    versions = ", ".join(f"{package} {number}" for package, number in expected.compiler.items())
    facts = {
        "spilled": max(figures.stack for figures in expected.kernels.values()),
        "step": step_nodes.STEP,
        "nodes": expected.nodes,
        "margin": MARGIN,
        "launches": len(step_nodes.launches_of_step(join=False)),
    }
    text = HEAD.format(capabilities=" / ".join(capabilities), compiler=versions, **facts)
    for dtype in dict.fromkeys(name.dtype for name in expected.kernels):
        kernels = list(dict.fromkeys(name.kernel for name in expected.kernels if name.dtype == dtype))
        together = [kernel for kernel in kernels if re.search(JOINED, kernel)]
        for title, chosen in {dtype: [k for k in kernels if k not in together], f"{dtype}, joined": together}.items():
            if chosen:
                text += f"\n## {title}\n\n| kernel | {' | '.join(COLUMNS)} |\n|---{'|---' * len(COLUMNS)}|\n"
            for kernel in chosen:
                found = [expected.kernels.get(Version(kernel, dtype, capability)) for capability in capabilities]
                columns = [
                    [getattr(figures, column) if figures else None for figures in found] for column in COLUMNS.values()
                ]
                parts = re.sub(JOINED, r"` \1 `", kernel)  # a browser breaks a line between them
                text += f"| `{parts}` | {' | '.join(map(_cell, columns))} |\n"
    return text


def _cell(numbers: Sequence[int | None]) -> str:
    """One number if the targets agree, and none if all are 0; None is a target that the kernel is not for."""
    if not any(numbers):
        return ""
    if len(set(numbers)) == 1:
        return str(numbers[0])
    return " / ".join("–" if number is None else str(number) for number in numbers)
