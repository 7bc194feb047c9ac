"""scripts/machine_code.py on recorded text: what it reads and what it refuses, without a compiler."""

from __future__ import annotations

import struct

import pytest

from scripts import machine_code
from scripts.machine_code import Figures

LOG = """INFO: NVVM70 LTOIR Container created (12096 bytes)
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN6minidl4cuda5dense' for 'sm_75'
ptxas info    : Function properties for _ZN6minidl4cuda5dense
ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 38 registers, used 1 barriers, 2176 bytes smem, 576 bytes cmem[0]
ptxas info    : Compile time = 10.370 ms
"""
# The walk of the matrix product along the inner dimension, thinned out, with a rare path behind the end of the kernel
# that jumps back, as the loops with warp shuffles have it. Another kernel of four instructions stands before it.
PRODUCT = """
	.headerflags	@"EF_CUDA_SM90 EF_CUDA_VIRTUAL_SM(EF_CUDA_SM90)"
        /*0000*/              @!P0 EXIT ;
        /*0010*/                   EXIT ;
        /*0020*/                   BRA 0x20;
        /*0030*/                   NOP;
        /*0040*/                   LDC R1, c[0x0][0x28] ;
        /*0050*/              @!P0 BRA 0x110 ;
        /*0060*/                   SHF.L.U32 R0, R0, 0x2, RZ ;
        /*0070*/                   BSSY B0, 0xb0 ;
        /*0080*/               @P0 BRA 0xa0 ;
        /*0090*/                   LDG.E R17, desc[UR14][R14.64] ;
        /*00a0*/                   BSYNC B0 ;
        /*00b0*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*00c0*/                   FFMA R14, R14, R20, R13 ;
        /*00d0*/                   FFMA R26, R25, R26.reuse, R14 ;
        /*00e0*/                   BRA.DIV UR4, 0x140 ;
        /*00f0*/                   DEPBAR.LE SB0, 0x0 ;
        /*0100*/               @P1 BRA 0x70 ;
        /*0110*/              @!P2 EXIT ;
        /*0120*/                   STG.E desc[UR12][R4.64], R13 ;
        /*0130*/                   EXIT ;
        /*0140*/                   FFMA R26, R25, R26, R14 ;
        /*0150*/                   BRA 0xf0 ;
        /*0160*/                   BRA 0x160;
        /*0170*/                   NOP;
"""
SIZES = bytes(4 * 16), bytes(20 * 16)


def code_of(*lines: str) -> list[machine_code.Instruction]:
    """What stands in lines as the disassembler writes them, from instructions and labels."""
    labels, instructions = {}, []
    for line in lines:
        if line.endswith(":"):
            labels[f"`({line[:-1]})"] = f"0x{16 * len(instructions):x}"
        else:
            instructions.append(line)
    text = "".join(f"        /*{16 * i:04x}*/ {line} ;\n" for i, line in enumerate(instructions))
    for label, address in labels.items():
        text = text.replace(label, address)
    (code,) = machine_code.parse(text, [bytes(16 * len(instructions))])
    return code


def test_the_recorded_kernel():
    before, code = machine_code.parse(PRODUCT, SIZES)
    assert before == [("EXIT", True, None), ("EXIT", False, None), ("BRA", False, 2), ("NOP", False, None)]
    assert len(code) == 20
    assert code[1] == ("BRA", True, 13)
    assert code[3] == ("BSSY", False, None)
    assert code[10] == ("BRA.DIV", True, 16)
    assert code[12] == ("BRA", True, 3)
    assert code[17] == ("BRA", False, 11)
    assert code[18] == ("BRA", False, 18)
    assert machine_code.float64_opcodes(code) == []
    assert machine_code.figures(LOG, code)[:5] == (38, 2176, 16, 10, 2)


def test_the_assembler_leaves_out_shared_memory_that_is_0():
    log = LOG.replace(", 2176 bytes smem", "")
    assert machine_code.figures(log, machine_code.parse(PRODUCT, SIZES)[1]).shared == 0


@pytest.mark.parametrize("missing", ["Used 38 registers", "bytes stack frame"])
def test_a_log_that_lacks_a_figure(missing):
    with pytest.raises(ValueError, match="does not say which registers or stack"):
        machine_code.figures(LOG.replace(missing, ""), machine_code.parse(PRODUCT, SIZES)[1])


@pytest.mark.parametrize("disassembly", [".section", "", PRODUCT.replace("/*00a0*/", "......"), PRODUCT[:-60]])
def test_a_disassembly_that_lacks_an_instruction(disassembly):
    with pytest.raises(ValueError, match="does not show every instruction"):
        machine_code.parse(disassembly, SIZES)


def elf(*sections: tuple[str, bytes]) -> bytes:
    """A file with sections of these names."""
    names = b"\0.names\0" + b"".join(name.encode() + b"\0" for name, _ in sections)
    table, data = b"", bytes(64)
    for name, content in [(".names", names), *sections]:
        table += struct.pack(
            "<IIQQQQ24x", names.index(b"\0" + name.encode() + b"\0") + 1, 1, 0, 0, len(data), len(content)
        )
        data += content
    return (
        b"\x7fELF"
        + bytes(36)
        + struct.pack("<Q4x6H", len(data), 64, 0, 0, 64, 1 + len(sections), 0)
        + data[64:]
        + table
    )


def test_the_section_of_the_instructions():
    others = (".nv.info", b"12"), (".text_of_something", b"345"), (".nv.constant0.add", b"678")
    assert machine_code.instructions_of(elf(*others, (".text.add", b"code"))) == b"code"
    for file in (elf(*others), elf((".text.add", b"code"), (".text.sub", b"edoc")), b"no machine code", b""):
        with pytest.raises(ValueError, match="machine code got [02] sections of instructions; expected 1"):
            machine_code.instructions_of(file)


def test_without_a_loop():
    found = machine_code.figures(LOG, code_of("FFMA R1, R2, R3", "EXIT", ".L_x_1:", "BRA `(.L_x_1)"))
    assert (found.loop, found.fma) == (0, 0)


def test_of_nested_loops_the_inner_one_counts():
    inner = [".L_x_2:", "FADD R1, R2", "@P1 BRA `(.L_x_2)"]
    code = code_of(".L_x_1:", "MOV R1, R2", *inner, "FFMA R1, R2, R3", "@P0 BRA `(.L_x_1)", "EXIT")
    assert [instruction.opcode for instruction in machine_code.inner_loop(code)] == ["FADD", "BRA"]


def test_of_loops_side_by_side_the_longer_one_counts():
    remainder = [".L_x_1:", "FADD R1, R2", "@P1 BRA `(.L_x_1)"]
    unrolled = [".L_x_2:", "FADD R1, R2", "DFMA R1, R2, R3", "@P1 BRA `(.L_x_2)"]
    for lines in (remainder + unrolled, unrolled + remainder):
        assert machine_code.figures(LOG, code_of(*lines, "EXIT"))[3:5] == (3, 1)


def test_the_loop_with_the_multiply_adds_counts_even_if_another_is_longer():
    product = [".L_x_1:", "FFMA R1, R2, R3", "FFMA R1, R2, R3", "@P1 BRA `(.L_x_1)"]
    write = [".L_x_2:", *["FADD R1, R2"] * 9, "FFMA R1, R2, R3", "@P1 BRA `(.L_x_2)"]
    for lines in (product + write, write + product):
        assert machine_code.figures(LOG, code_of(*lines, "EXIT"))[3:5] == (3, 2)


def test_tensor_cores_multiply_and_add():
    assert machine_code.multiply_adds(code_of("HMMA.1688.F32.TF32", "FFMA", "DFMA", "HADD2", "FADD")) == 3


def test_of_two_loops_with_as_many_multiply_adds_the_shorter_one_counts():
    whole = [".L_x_1:", "LDG.E.128 R1, R2", "FFMA R1, R2, R3", "@P1 BRA `(.L_x_1)"]
    edges = [".L_x_2:", *["LDG.E R1, R2"] * 4, "FFMA R1, R2, R3", "@P1 BRA `(.L_x_2)"]
    for lines in (whole + edges, edges + whole):
        assert machine_code.figures(LOG, code_of(*lines, "EXIT"))[3:5] == (3, 1)


# A product: its step fetches four numbers with one instruction or with four, and its inner loop has two multiply-adds.
STEP = [
    ".L_x_1:", "STS R1, R2", "BAR.SYNC 0x0", "@P1 BRA `(.L_x_2)",
    "LDG.E R1, R2", "LDG.E R1, R2", "LDG.E R1, R2", "LDG.E R1, R2", "BRA `(.L_x_3)",
    ".L_x_2:", "LDG.E.128 R1, R2",
    ".L_x_3:", "LDS R1, R2", "FFMA R1, R2, R3", "FFMA R1, R2, R3", "@P2 BRA `(.L_x_3)",
    "BAR.SYNC 0x0", "@P3 BRA `(.L_x_1)", "EXIT",
]  # fmt: skip


def test_what_a_step_of_a_product_executes():
    code = code_of(*STEP)
    # STS, BAR, BRA, LDG.E.128, eight times the four of the inner loop, BAR, BRA; the four narrow loads are a rare way.
    assert machine_code.step_of_product(code, 16) == (4 + 8 * 4 + 2, 16)
    assert machine_code.step_of_product(code, 0) == (0, 0)
    found = machine_code.figures(LOG, code, step=16)
    assert (found.step, found.step_fma, found.step_share) == (38, 16, 42) and found.fma_share == 50
    unrolled = [line for line in STEP if "P2" not in line]
    assert machine_code.step_of_product(code_of(*unrolled), 2) == (9, 2)
    assert machine_code.step_of_product(code_of("FFMA R1, R2, R3", "EXIT"), 2) == (0, 0)


def test_the_bytes_that_a_thread_has_in_flight():
    assert machine_code.bytes_in_flight(code_of(*STEP)) == 16
    reads = ["LDG.E.128 R1, R2", "LDG.E.64 R1, R2", "LDG.E.U8 R1, R2", "LDGSTS.E R1, R2", "LDS.128 R1, R2"]
    assert machine_code.bytes_in_flight(code_of(*reads, "EXIT")) == 16 + 8 + 1 + 4
    for wait in ("STG.E R1, R2", "STS R1, R2", "BAR.SYNC 0x0", "EXIT"):
        assert machine_code.bytes_in_flight(code_of(*reads[:2], wait, reads[0], "EXIT")) == 24


@pytest.mark.parametrize(
    ("registers", "shared", "threads", "capability", "warps"),
    [
        (128, 16512, 256, "9.0", 16),
        (129, 16512, 256, "9.0", 8),
        (32, 0, 256, "9.0", 64),
        (33, 0, 256, "9.0", 48),
        (32, 0, 256, "7.5", 32),
        (16, 0, 32, "9.0", 32),  # by the number of blocks
        (16, 0, 32, "7.5", 16),
        (16, 16384, 64, "7.5", 8),  # by shared memory
        (16, 16384, 64, "8.0", 18),  # and what the system takes of it
        (128, 0, 64, "10.0", 16),
    ],
)
def test_the_warps_that_fit_on_a_multiprocessor(registers, shared, threads, capability, warps):
    assert machine_code.warps_of(registers, shared, threads, capability) == warps


def test_what_is_in_flight_is_that_of_all_warps():
    found = machine_code.figures(LOG, code_of("LDG.E.128 R1, R2", "EXIT"), threads=256, capability="9.0")
    assert found.warps == 48 and found.in_flight == 48 * 32 * 16 and found.kilobytes == 24


def test_an_endless_loop_with_its_way_out_in_the_middle():
    code = code_of(".L_x_1:", "FADD R1, R2", "@P0 EXIT", "FADD R1, R2", "BRA.U `(.L_x_1)")
    assert len(machine_code.inner_loop(code)) == 4


def test_the_way_back_from_a_rare_path_behind_the_end_is_no_loop():
    rare = [".L_x_3:", "SHFL.IDX R1, R2", "FADD R1, R2", "BRA `(.L_x_2)"]
    straight = ["BRA.DIV UR4, `(.L_x_3)", ".L_x_2:", "FFMA R1, R2, R3"]
    assert machine_code.inner_loop(code_of(*straight, "EXIT", *rare)) == []
    loop = machine_code.inner_loop(code_of(".L_x_1:", *straight, "@P0 BRA `(.L_x_1)", "EXIT", *rare))
    assert [instruction.opcode for instruction in loop] == ["BRA.DIV", "FFMA", "BRA"]


@pytest.mark.parametrize(
    "opcode", ["DADD", "DFMA.RP", "DSETP.GT.AND", "F2F.F64.F32", "F2F.F32.F64", "I2F.F64.U32", "F2I.F64", "MUFU.RCP64H"]
)
def test_opcodes_of_double_precision(opcode):
    code = code_of("FFMA R1, R2, R3", f"@!P0 {opcode} R1, R2", "EXIT")
    assert machine_code.float64_opcodes(code) == [opcode]
    found = Figures(registers=16, shared=0, stack=0, loop=0, fma=0)
    (problem,) = machine_code.problems(found, code, "float32", threads=256)
    assert problem == f"1 float64 instructions in the float32 version ({opcode})"
    assert not list(machine_code.problems(found, code, "float64", threads=256))


@pytest.mark.parametrize(
    "opcode", ["DEPBAR.LE", "LDG.E.64", "IMAD.WIDE", "IDP.4A.S8.S8", "MUFU.RCP", "I2F.U32", "FADD.FTZ"]
)
def test_opcodes_that_are_not(opcode):
    assert machine_code.float64_opcodes(code_of(f"{opcode} R1, R2")) == []


@pytest.mark.parametrize(
    ("figures", "threads", "problem"),
    [
        ({"stack": 8}, 256, "8 bytes of stack in a thread: an array without constant indices, or spilled registers"),
        ({"registers": 64}, 1024, None),
        (
            {"registers": 65},
            1024,
            "65 registers in each of the 1024 threads of a block: 73728 with rounding; a block can have 65536",
        ),
        ({"registers": 255}, 256, None),
        ({"shared": 49152}, 256, None),
        ({"shared": 49153}, 256, "49153 bytes of shared memory in a block; without asking it can have 49152"),
    ],
)
def test_limits(figures, threads, problem):
    found = Figures(**{"registers": 16, "shared": 0, "stack": 0, "loop": 0, "fma": 0, **figures})
    for dtype in ("float32", "float64"):
        assert list(machine_code.problems(found, code_of("EXIT"), dtype, threads)) == ([problem] if problem else [])


def test_a_kernel_with_bounds_on_its_launch_may_spill():
    found = Figures(registers=128, shared=0, stack=8, loop=0, fma=0)
    assert list(machine_code.problems(found, code_of("EXIT"), "float32", 256))
    assert not list(machine_code.problems(found, code_of("EXIT"), "float32", 256, bounded=True))
