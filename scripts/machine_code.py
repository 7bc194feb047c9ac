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
LANES = 32  # threads of a warp


class Multiprocessor(NamedTuple):
    """What the blocks on one multiprocessor share, besides its registers."""

    warps: int
    blocks: int
    shared: int  # bytes
    reserved: int  # bytes of shared memory that the system takes for each block


MULTIPROCESSORS = {
    "7.5": Multiprocessor(32, 16, 64 * 1024, 0),
    "8.0": Multiprocessor(64, 32, 164 * 1024, 1024),
    "9.0": Multiprocessor(64, 32, 228 * 1024, 1024),
    "10.0": Multiprocessor(64, 32, 228 * 1024, 1024),
}


class Figures(NamedTuple):
    """What one kernel costs on one target."""

    registers: int  # of 32 bits, a thread
    shared: int  # bytes, a block
    stack: int  # bytes of slow local memory, a thread: arrays that are indexed at run time, and what is spilled
    loop: int  # instructions of the inner loop; 0 if the kernel has none
    fma: int  # how many of these are fused multiply-adds
    step: int = 0  # in a product: instructions that a thread executes in a step of k, where no edge is near; else 0
    step_fma: int = 0  # how many of these are fused multiply-adds
    warps: int = 0  # that fit on a multiprocessor
    in_flight: int = 0  # bytes that these read from global memory, at most, with no write and no barrier between

    @property
    def fma_share(self) -> int:
        """The share of fused multiply-adds in the inner loop, in percent."""
        return round(100 * self.fma / self.loop) if self.loop else 0

    @property
    def step_share(self) -> int:
        """The share of fused multiply-adds in all that a step of k executes, in percent."""
        return round(100 * self.step_fma / self.step) if self.step else 0

    @property
    def kilobytes(self) -> int:
        """What is in flight, in KB."""
        return round(self.in_flight / 1024)


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


def figures(
    assembler_log: str, code: Sequence[Instruction], threads: int = LANES, capability: str = "9.0", step: int = 0
) -> Figures:
    """From what the assembler says with the option -v, and the code.

    `threads` are those of a block, `step` the multiply-adds of one of them in a step of k, if the kernel is a product.
    Raises ValueError if the log lacks a figure.
    """
    registers = re.search(r"Used (\d+) registers", assembler_log)
    stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", assembler_log)
    if not registers or not stack:
        raise ValueError(f"the assembler does not say which registers or stack are used: {assembler_log!r}")
    shared = re.search(r"(\d+) bytes smem", assembler_log)  # left out if it is 0
    of_block = int(shared[1]) if shared else 0
    loop = inner_loop(code)
    warps = warps_of(int(registers[1]), of_block, threads, capability)
    in_flight = bytes_in_flight(code) * LANES * warps
    cost = int(registers[1]), of_block, int(stack[1]), len(loop), multiply_adds(loop)
    return Figures(*cost, *step_of_product(code, step), warps, in_flight)


def warps_of(registers: int, shared: int, threads: int, capability: str) -> int:
    """How many warps fit on a multiprocessor, by registers, shared memory and its own limits."""
    has, of_block = MULTIPROCESSORS[capability], -(-threads // LANES)
    of_warp = -(-registers // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE * LANES
    blocks = min(has.warps, REGISTERS_OF_A_BLOCK // of_warp) // of_block
    return of_block * min(blocks, has.blocks, has.shared // max(shared + has.reserved, 1))


def problems(
    found: Figures, code: Sequence[Instruction], dtype: str, threads: int, bounded: bool = False
) -> Iterator[str]:
    """What must not be, in a kernel whose widest numbers are `dtype` and whose blocks have `threads` threads.

    A kernel with bounds on its launch (`bounded`) has chosen more warps over a few spilled registers.
    """
    double = float64_opcodes(code)
    if dtype == "float32" and double:
        kinds = ", ".join(sorted(set(double)))
        yield f"{len(double)} float64 instructions in the float32 version ({kinds})"
    if found.stack and not bounded:
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
    """Of the loops that contain no other, the one with the most fused multiply-adds, else the longest.

    So it is what a kernel is there for, and not the rest that is left over when the compiler unrolls it. Of two with as
    many multiply-adds it is the shorter one: the other looks for the edges of a matrix.
    """
    start, end = _inner_loop(list(_loops(code)), code)
    return code[start : end + 1]


def _inner_loop(loops: Sequence[tuple[int, int]], code: Sequence[Instruction]) -> tuple[int, int]:
    inner = [loop for loop in loops if not any(loop != other and _inside(other, loop) for other in loops)]

    def merit(loop: tuple[int, int]) -> tuple[int, int]:
        found, length = multiply_adds(code[loop[0] : loop[1] + 1]), loop[1] - loop[0]
        return found, -length if found else length

    return max(inner, key=merit, default=(0, -1))


def _inside(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def step_of_product(code: Sequence[Instruction], multiply_adds_of_step: int) -> tuple[int, int]:
    """Return how many instructions a thread executes in a step of k, and how many of them are multiply-adds.

    The step is a pass through the loop around the inner one, or through the inner loop where the compiler has unrolled
    it, on the way that reads most from global memory with the fewest instructions: no edge of a matrix is near there.
    """
    loops = list(_loops(code))
    inner = _inner_loop(loops, code)
    once = _cheapest(code, *inner) if multiply_adds_of_step and loops else None
    if not once or not once.multiply_adds:
        return 0, 0
    around = [loop for loop in loops if _inside(inner, loop)]
    whole = _cheapest(code, min(around)[0], max(end for _, end in around))
    assert whole is not None
    more = multiply_adds_of_step // once.multiply_adds - 1 if len(around) > 1 else 0  # passes of the inner loop
    return more * once.length - whole.negative_length, whole.multiply_adds + more * once.multiply_adds


class _Way(NamedTuple):
    """A way through code; the better one of two is the larger one."""

    multiply_adds: int
    read: int  # bytes from global memory
    negative_length: int

    @property
    def length(self) -> int:
        return -self.negative_length

    def after(self, instruction: Instruction) -> _Way:
        return _Way(
            self.multiply_adds + multiply_adds([instruction]),
            self.read + _bytes_read(instruction.opcode),
            self.negative_length - 1,
        )


def _cheapest(code: Sequence[Instruction], start: int, end: int) -> _Way | None:
    """The best way from one instruction to a later one, forwards only, or None."""
    ways: dict[int, _Way] = {end: _Way(0, 0, 0).after(code[end])}
    for here in range(end - 1, start - 1, -1):
        onwards = [ways[there] for there in _followers(code, here) if there in ways and there > here]
        if onwards:
            ways[here] = max(onwards).after(code[here])
    return ways.get(start)


def bytes_in_flight(code: Sequence[Instruction]) -> int:
    """The most that a thread reads from global memory on a way forwards without a write, a barrier or a call."""
    found = [0] * (len(code) + 1)
    for here in range(len(code) - 1, -1, -1):
        if not code[here].opcode.startswith(("ST", "BAR", "RED", "ATOM", "CALL", "EXIT", "RET")):
            onwards = max((found[there] for there in _followers(code, here) if there > here), default=0)
            found[here] = onwards + _bytes_read(code[here].opcode)
    return max(found)


def _bytes_read(opcode: str) -> int:
    """Bytes that an instruction reads from global memory: LDG.E.128 reads 16, LDGSTS copies past the registers."""
    if not opcode.startswith("LDG"):
        return 0
    sizes = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
    return next((sizes[part] for part in opcode.split(".") if part in sizes), 4)


def multiply_adds(loop: Sequence[Instruction]) -> int:
    """How many of the instructions are fused multiply-adds of float32 or float64, or of tensor cores."""
    return sum(re.match(r"[FD]FMA|HMMA", instruction.opcode) is not None for instruction in loop)


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
        waiting += _followers(code, here)
    return False


def _followers(code: Sequence[Instruction], here: int) -> list[int]:
    """The instructions that can follow on this one."""
    opcode, conditional, target = code[here]
    jumps, leaves = opcode.startswith("BRA"), opcode.startswith(("EXIT", "RET"))
    next_one = [here + 1] if conditional or not (jumps or leaves) else []
    return next_one if target is None else [target, *next_one]
