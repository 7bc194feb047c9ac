"""What NVIDIA's assembler and disassembler say about a kernel, read from their text; this file runs without them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": the same from 7.5 to 10.0.
REGISTERS_OF_A_BLOCK = 65536  # of 32 bits
REGISTERS_AT_ONCE = 8  # a thread gets them in multiples of this
STATIC_SHARED = 48 * 1024  # bytes that a block may have without asking for more at the launch


class Figures(NamedTuple):
    """What one kernel costs on one target."""

    registers: int  # of 32 bits, a thread
    shared: int  # bytes, a block
    stack: int  # bytes of slow local memory, a thread: arrays that are indexed at run time, and what is spilled
    loop: int  # instructions of the inner loop; 0 if the kernel has none
    fma: int  # how many of these are fused multiply-adds

    @property
    def fma_share(self) -> int:
        """The share of fused multiply-adds in the inner loop, in percent."""
        return round(100 * self.fma / self.loop) if self.loop else 0


class Instruction(NamedTuple):
    """One line of machine code: "@P0 BRA 0x40" is a branch to the fifth instruction under a condition."""

    opcode: str
    conditional: bool
    target: int | None  # the number of the instruction that a branch goes to


WIDTH = 16  # bytes of an instruction, from 7.0 on
_LINE = re.compile(
    r"""^\s+/\*(?P<address>[0-9a-f]{4,})\*/ \s+
    (?P<predicate>@!?U?P\w+\s+)? (?P<opcode>[A-Z][\w.]*) (?P<operands>[^;\n]*)""",
    re.MULTILINE | re.VERBOSE,
)


def instructions_of(cubin: bytes) -> bytes:
    """The section with the instructions of a file with one kernel. Raises ValueError if there is not exactly one."""
    headers, *_, size, count, names = struct.unpack_from("<Q4x6H", cubin, 0x28) if cubin[:4] == b"\x7fELF" else [0] * 4
    sections = [struct.unpack_from("<IIQQQQ", cubin, headers + i * size) for i in range(count)]
    found = [
        cubin[start : start + length]
        for name, _, _, _, start, length in sections
        if cubin.startswith(b".text.", sections[names][4] + name)
    ]
    if len(found) != 1:
        raise ValueError(f"machine code got {len(found)} sections of instructions; expected 1")
    return found[0]


def parse(disassembly: str, kernels: Sequence[bytes]) -> list[list[Instruction]]:
    """What `nvdisasm -b` writes of the instructions of these kernels, one after the other.

    Raises ValueError if an instruction is missing.
    """
    lines = list(_LINE.finditer(disassembly))
    if [int(line["address"], 16) for line in lines] != list(range(0, sum(map(len, kernels)), WIDTH)):
        raise ValueError(f"the disassembler does not show every instruction: {disassembly[:200]!r}")
    codes, start = [], 0
    for kernel in kernels:
        stop = start + len(kernel) // WIDTH
        codes.append([_instruction(line, start) for line in lines[start:stop]])
        start = stop
    return codes


def _instruction(line: re.Match[str], start: int) -> Instruction:
    target = re.search(r"0x[0-9a-f]+\s*$", line["operands"]) if line["opcode"].startswith("BRA") else None
    before = line["operands"][: target.start()].strip() if target else ""  # "BRA.DIV UR4, 0xa0" has no "@"
    index = int(target[0], 16) // WIDTH - start if target else None
    return Instruction(line["opcode"], bool(line["predicate"] or before), index)


def figures(assembler_log: str, code: Sequence[Instruction]) -> Figures:
    """From what the assembler says with the option -v, and the code. Raises ValueError if the log lacks a figure."""
    registers = re.search(r"Used (\d+) registers", assembler_log)
    stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", assembler_log)
    if not registers or not stack:
        raise ValueError(f"the assembler does not say which registers or stack are used: {assembler_log!r}")
    shared = re.search(r"(\d+) bytes smem", assembler_log)  # left out if it is 0
    loop = inner_loop(code)
    return Figures(int(registers[1]), int(shared[1]) if shared else 0, int(stack[1]), len(loop), multiply_adds(loop))


def problems(found: Figures, code: Sequence[Instruction], dtype: str, threads: int) -> Iterator[str]:
    """What must not be, in a kernel whose widest numbers are `dtype` and whose blocks have `threads` threads."""
    double = float64_opcodes(code)
    if dtype == "float32" and double:
        kinds = ", ".join(sorted(set(double)))
        yield f"{len(double)} float64 instructions in the float32 version ({kinds})"
    if found.stack:
        yield f"{found.stack} bytes of stack in a thread: an array without constant indices, or spilled registers"
    registers = -(-found.registers // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE * threads
    if registers > REGISTERS_OF_A_BLOCK:
        needed = f"{found.registers} registers in each of the {threads} threads of a block"
        yield f"{needed}: {registers} with rounding; a block can have {REGISTERS_OF_A_BLOCK}"
    if found.shared > STATIC_SHARED:
        yield f"{found.shared} bytes of shared memory in a block; without asking it can have {STATIC_SHARED}"


def float64_opcodes(code: Sequence[Instruction]) -> list[str]:
    """The opcodes of double precision: DADD, DFMA and their kin, conversions such as F2F.F64.F32, MUFU.RCP64H."""
    pattern = re.compile(r"D(?!EPBAR)|.*(\.F64|64H)")  # DEPBAR waits for memory
    return [instruction.opcode for instruction in code if pattern.match(instruction.opcode)]


def inner_loop(code: Sequence[Instruction]) -> list[Instruction]:
    """Of the loops that contain no other, the one with the most fused multiply-adds, and of equal ones the longest.

    So it is what a kernel is there for, and not the rest that is left over when the compiler unrolls it.
    """
    loops = list(_loops(code))
    inner = [
        code[start : end + 1]
        for start, end in loops
        if not any((start, end) != (s, e) and start <= s and e <= end for s, e in loops)
    ]
    return max(inner, key=lambda loop: (multiply_adds(loop), len(loop)), default=[])


def multiply_adds(loop: Sequence[Instruction]) -> int:
    """How many of the instructions are fused multiply-adds of float32 or float64."""
    return sum(re.match(r"[FD]FMA", instruction.opcode) is not None for instruction in loop)


def _loops(code: Sequence[Instruction]) -> Iterator[tuple[int, int]]:
    """First and last instruction of each loop.

    Not every jump back closes one: rare paths stand behind the end of the kernel and jump back from there. A loop
    reaches its jump without leaving the range between the two. (A kernel ends with an instruction that jumps to
    itself; it is no loop either.)
    """
    for end, instruction in enumerate(code):
        start = end if instruction.target is None else instruction.target
        if start < end and _reaches(code, start, end):
            yield start, end


def _reaches(code: Sequence[Instruction], start: int, end: int) -> bool:
    """Whether `end` can follow on `start` without an instruction outside start … end."""
    seen, waiting = set(), [start]
    while waiting:
        here = waiting.pop()
        if here == end:
            return True
        if here in seen or not start <= here < end:
            continue
        seen.add(here)
        opcode, conditional, target = code[here]
        jumps, leaves = opcode.startswith("BRA"), opcode.startswith(("EXIT", "RET"))
        if target is not None:
            waiting.append(target)
        if conditional or not (jumps or leaves):
            waiting.append(here + 1)
    return False
