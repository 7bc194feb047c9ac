"""scripts/machine_code.py on recorded text: what it reads and what it refuses, without a compiler."""

from __future__ import annotations

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
# that jumps back, as the loops with warp shuffles have it.
PRODUCT = """
	.headerflags	@"EF_CUDA_TEXMODE_UNIFIED EF_CUDA_64BIT_ADDRESS EF_CUDA_SM90"
//--------------------- .text._ZN6minidl4cuda5dense --------------------------
	.section	.text._ZN6minidl4cuda5dense,"ax",@progbits
.text._ZN6minidl4cuda5dense:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 BRA `(.L_x_0) ;
        /*0020*/                   SHF.L.U32 R0, R0, 0x2, RZ ;
.L_x_5:
        /*0030*/                   BSSY B0, `(.L_x_1) ;
        /*0040*/               @P0 BRA `(.L_x_2) ;
        /*0050*/                   LDG.E R17, desc[UR14][R14.64] ;
.L_x_2:
        /*0060*/                   BSYNC B0 ;
.L_x_1:
        /*0070*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0080*/                   FFMA R14, R14, R20, R13 ;
        /*0090*/                   FFMA R26, R25, R26.reuse, R14 ;
        /*00a0*/                   BRA.DIV UR4, `(.L_x_7) ;
.L_x_4:
        /*00b0*/                   DEPBAR.LE SB0, 0x0 ;
        /*00c0*/               @P1 BRA `(.L_x_5) ;
.L_x_0:
        /*00d0*/              @!P2 EXIT ;
        /*00e0*/                   STG.E desc[UR12][R4.64], R13 ;
        /*00f0*/                   EXIT ;
.L_x_7:
        /*0100*/                   FFMA R26, R25, R26, R14 ;
        /*0110*/                   BRA `(.L_x_4) ;
.L_x_6:
        /*0120*/                   BRA `(.L_x_6);
        /*0130*/                   NOP;
"""


def code_of(*lines: str) -> machine_code.Code:
    """Lines as the disassembler writes them, from instructions and labels."""
    return machine_code.parse("\n".join(line if line.endswith(":") else f"        /*0000*/ {line} ;" for line in lines))


def test_the_recorded_kernel():
    code = machine_code.parse(PRODUCT)
    assert len(code.instructions) == 20
    assert code.labels == {
        ".L_x_5": 3,
        ".L_x_2": 6,
        ".L_x_1": 7,
        ".L_x_4": 11,
        ".L_x_0": 13,
        ".L_x_7": 16,
        ".L_x_6": 18,
    }
    assert code.instructions[1] == ("BRA", True, ".L_x_0")
    assert code.instructions[10] == ("BRA.DIV", True, ".L_x_7")
    assert code.instructions[17] == ("BRA", False, ".L_x_4")
    assert machine_code.float64_opcodes(code) == []
    assert machine_code.figures(LOG, code) == Figures(registers=38, shared=2176, stack=16, loop=10, fma=2)


def test_the_assembler_leaves_out_shared_memory_that_is_0():
    log = LOG.replace(", 2176 bytes smem", "")
    assert machine_code.figures(log, machine_code.parse(PRODUCT)).shared == 0


@pytest.mark.parametrize("missing", ["Used 38 registers", "bytes stack frame"])
def test_a_log_that_lacks_a_figure(missing):
    with pytest.raises(ValueError, match="does not say which registers or stack"):
        machine_code.figures(LOG.replace(missing, ""), machine_code.parse(PRODUCT))


def test_a_disassembly_without_instructions():
    with pytest.raises(ValueError, match="shows no instruction: '.section'"):
        machine_code.parse(".section")


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
        assert machine_code.figures(LOG, code_of(*lines, "EXIT"))[3:] == (3, 1)


def test_the_loop_with_the_multiply_adds_counts_even_if_another_is_longer():
    product = [".L_x_1:", "FFMA R1, R2, R3", "FFMA R1, R2, R3", "@P1 BRA `(.L_x_1)"]
    write = [".L_x_2:", *["FADD R1, R2"] * 9, "FFMA R1, R2, R3", "@P1 BRA `(.L_x_2)"]
    for lines in (product + write, write + product):
        assert machine_code.figures(LOG, code_of(*lines, "EXIT"))[3:] == (3, 2)


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
