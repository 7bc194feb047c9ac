"""scripts/compile_kernels.py: it forgets no kernel, and a real compiler accepts them (skipped where there is none)."""

from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import cuda

import minidl.cuda
from minidl import operations
from minidl.cuda import dense, joined
from minidl.scalar.activations import ACTIVATIONS
from scripts import compile_kernels, expected_kernels, kernel_examples, machine_code, step_nodes
from scripts.compile_kernels import Compiled, Launch
from scripts.expected_kernels import Expected, Version
from scripts.machine_code import Figures

SCRIPT = Path(compile_kernels.__file__)
needs_compiler = pytest.mark.skipif(
    compile_kernels.compiler_missing() is not None, reason=str(compile_kernels.compiler_missing())
)
VECTOR = numba.typeof(np.zeros(3, np.float32))


def test_every_kernel_is_found_and_launched():
    kernels = compile_kernels.all_kernels()
    assert {
        "dense.FORWARD[tiny]",
        "ladder.naive.product",
        "losses.softmax_kernel",
        "optimizers.adam_kernel",
        "elementwise.advance_kernel",
    } <= kernels.keys()
    assert {f"activations.FORWARD[{name}]" for name in ACTIVATIONS} <= kernels.keys()
    assert {f"activations.BACKWARD[{name}]" for name in ACTIVATIONS} <= kernels.keys()
    assert not [name for name in kernels if "warp_sum" in name or "fetch" in name]  # these are device functions
    for dtype in compile_kernels.DTYPES:
        launches = compile_kernels.launched_kernels(dtype)
        # A dash behind a name: the same kernel once more, for arguments of other types.
        found = {launch.name.rstrip("'"): launch.kernel for launch in launches if not re.search("[→+]", launch.name)}
        only_float32 = {name for name in kernels if "tf32" in name or "[large]" in name}
        assert found == {name: kernels[name] for name in kernels if dtype == "float32" or name not in only_float32}
        threads = {launch.name: launch.threads for launch in launches}
        assert (
            threads["dense.FORWARD[tiny]"],
            threads["elementwise.advance_kernel"],
            threads["ladder.naive.product"],
        ) == (
            256,
            1,
            256,
        )


def test_joined_kernels_are_named_by_their_parts():
    launches = {launch.name: launch for launch in compile_kernels.launched_kernels("float32")}
    for kind, passes in (("FORWARD_WITH_BIAS", "FORWARD"), ("BACKWARD_INPUT", "BACKWARD")):
        for name in ACTIVATIONS:
            assert (f"dense.{kind}[small]→activations.{passes}[{name}]" in launches) == (name != "gelu")
        for variant in dense.VARIANTS:
            assert (f"dense.{kind}[{variant}]→activations.{passes}[relu]" in launches) == (variant in joined.QUICK)
    of_layer = (
        "dense.BACKWARD_WEIGHT[{0}]+reduce.column_sums_kernel+dense.BACKWARD_INPUT[{0}]→activations.BACKWARD[relu]"
    )
    for variant in joined.QUICK:
        assert launches[of_layer.format(variant)].threads == 256
    assert "optimizers.adam_kernel+optimizers.adam_kernel" in launches


def test_the_types_are_those_of_the_dtype():
    for dtype in compile_kernels.DTYPES:
        other = {"float32": "float64", "float64": "float32"}[dtype]
        for launch in compile_kernels.launched_kernels(dtype):
            found = [kind for kind in launch.types if other in str(kind)]
            totals = re.search("losses.mean_loss_kernel|penalties.total_penalty", launch.name)  # float64 for both
            assert len(found) == (totals is not None and dtype == "float32"), launch.name


def test_a_kernel_with_two_lists_of_types_is_compiled_for_both(monkeypatch):
    kernel = compile_kernels.all_kernels()["elementwise.add_kernel"]

    def twice(launch, *arguments):
        for dtype, block in (("float32", (16, 16)), ("float64", (8, 4)), ("float32", (8, 4))):
            launch(kernel, (1,), block, np.zeros((2, 2), dtype))

    monkeypatch.setattr(minidl.cuda, "add", twice)
    launches = [launch for launch in compile_kernels.launched_kernels("float32") if launch.kernel is kernel]
    assert [(launch.name, launch.threads) for launch in launches] == [
        ("elementwise.add_kernel", 256),
        ("elementwise.add_kernel'", 32),
    ]


def test_kernels_with_new_instructions_are_compiled_for_the_targets_that_have_them():
    targets = {launch.name: compile_kernels.targets(launch) for launch in compile_kernels.launched_kernels("float32")}
    assert targets["dense.FORWARD[large]"] == ["7.5", "8.0", "9.0", "10.0"]
    for name in ("dense.FORWARD[tf32]", "ladder.double_buffer.product", "ladder.tensor_cores.product_3xtf32"):
        assert targets[name] == ["8.0", "9.0", "10.0"]


def test_an_operation_without_an_example_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(operations, "NAMES", [*operations.NAMES, "brand_new"])
    with pytest.raises(LookupError, match="no example for brand_new"):
        kernel_examples.examples("float32")
    monkeypatch.setattr(compile_kernels, "compiler_missing", lambda: None)
    assert compile_kernels.main([]) == 1
    assert "no example for brand_new" in capsys.readouterr().err


def test_without_numba_cuda_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert compile_kernels.main([]) == 2
    message = capsys.readouterr().err
    assert "numba-cuda is not installed: run pip install 'minidl[cuda13,disassembler]'" in message
    assert len(message.splitlines()) == 1


def test_a_compute_capability_that_is_none(capsys):
    with pytest.raises(SystemExit) as exit:
        compile_kernels.main(["--cc", "sm_75"])
    assert exit.value.code == 2
    assert "--cc got 'sm_75'; expected a compute capability such as 7.5" in capsys.readouterr().err


# The expected figures -------------------------------------------------------------------------------------------------

FIGURES = Figures(
    registers=29, shared=2176, stack=0, loop=118, fma=16, step=140, step_fma=32, warps=64, in_flight=16384
)
VERSION = Version("dense.FORWARD[tiny]", "float32", "9.0")
NODES = len(step_nodes.launches_of_step())


@pytest.fixture
def compiled(monkeypatch):
    """Stands in for the compiler: returns the list of what comes out of it, and what is expected."""
    results = [Compiled(VERSION, FIGURES, [])]
    expected = Expected(expected_kernels.compiler(), {VERSION: FIGURES}, NODES)
    monkeypatch.setattr(compile_kernels, "compiler_missing", lambda: None)
    monkeypatch.setattr(compile_kernels, "compile_all", lambda versions: iter(results))
    monkeypatch.setattr(expected_kernels, "read", lambda: expected)
    return results, expected


def test_the_file_has_every_kernel():
    names = [
        Version(launch.name, dtype, capability)
        for dtype in compile_kernels.DTYPES
        for launch in compile_kernels.launched_kernels(dtype)
        for capability in compile_kernels.targets(launch)
    ]
    assert list(expected_kernels.read().kernels) == names


def test_what_is_written_is_read_again(tmp_path):
    other = Version("dense.FORWARD[relu]", "float32", "9.0")
    expected = Expected({"python": "3.11", "numba": "0.68"}, {VERSION: FIGURES, other: FIGURES._replace(fma=0)}, 22)
    expected_kernels.write(expected, tmp_path / "expected.json", tmp_path / "kernels.md")
    assert expected_kernels.read(tmp_path / "expected.json") == expected
    assert len((tmp_path / "expected.json").read_text().splitlines()) == 7
    text = (tmp_path / "kernels.md").read_text(encoding="utf-8")
    assert "| `dense.FORWARD[tiny]` | 29 | 2176 | 118 | 14 | 23 | 64 | 16 |" in text
    assert "784-512-256-10, ReLU, Adam, batch 128 is one CUDA graph with 22 nodes" in text
    assert "Compiled with python 3.11, numba 0.68." in text


def test_the_page_shows_where_targets_differ():
    older = VERSION._replace(capability="7.5")
    without = Figures(registers=38, shared=0, stack=0, loop=0, fma=0)
    text = expected_kernels.page(Expected({}, {older: without, VERSION: FIGURES}))
    assert "for\ncompute capability 7.5 / 9.0" in text
    assert "| `dense.FORWARD[tiny]` | 38 / 29 | 0 / 2176 | 0 / 118 | 0 / 14 | 0 / 23 | 0 / 64 | 0 / 16 |" in text
    text = expected_kernels.page(Expected({}, {older: without, VERSION: without}))
    assert "| `dense.FORWARD[tiny]` | 38 |  |  |  |  |  |  |" in text
    assert "joined\n" not in text
    other = Version("dense.other", "float64", "7.5")
    text = expected_kernels.page(Expected({}, {VERSION: FIGURES, other: without}))
    assert "| `dense.FORWARD[tiny]` | 29 / – | 2176 / – |" in text
    assert text.count("dense.FORWARD[tiny]") == text.count("dense.other") == 1  # only where there is a version of it


def test_the_page_has_joined_kernels_apart():
    names = "a.product→b.relu", "a.product", "c.sum+c.sum"
    text = expected_kernels.page(Expected({}, {VERSION._replace(kernel=name): FIGURES for name in names}))
    alone, together = text.split("\n## float32\n")[1].split("\n## float32, joined\n")
    assert "| `a.product` | 29 |" in alone
    assert "| `a.product` → `b.relu` | 29 |" in together
    assert "| `c.sum` + `c.sum` | 29 |" in together
    assert text.count("29 | 2176 |") == 3


def test_as_expected(compiled, capsys):
    assert compile_kernels.main(["--kernel", "dense.FORWARD[tiny]"]) == 0
    assert (
        "29      2176         0       118        16       140        32        64     16384" in capsys.readouterr().out
    )


def test_a_step_with_another_number_of_launches_fails_whatever_the_compiler(compiled, capsys, monkeypatch):
    compiled[1].compiler["numba-cuda"] = "0.20"
    launches = step_nodes.launches_of_step()
    monkeypatch.setattr(step_nodes, "launches_of_step", lambda *_, **__: [*launches, launches[0]])
    assert compile_kernels.main(["--kernel", "dense.FORWARD[tiny]"]) == 1
    assert f"a training step: nodes {NODES} → {NODES + 1}" in capsys.readouterr().err


@pytest.mark.parametrize("figure", Figures._fields)
def test_a_difference_fails_and_says_how_to_accept_it(compiled, capsys, figure):
    compiled[1].kernels[VERSION] = FIGURES._replace(**{figure: 5})
    assert compile_kernels.main(["--kernel", "dense.FORWARD[tiny]"]) == 1
    change = f"dense.FORWARD[tiny] (float32, 9.0): {figure} 5 → {getattr(FIGURES, figure)}"
    advice = "If these differences are meant: python scripts/compile_kernels.py --accept"
    assert capsys.readouterr().err.splitlines() == [change, advice]


def test_joined_kernels_have_a_margin():
    joined, alone = VERSION._replace(kernel="dense.A[tiny]+reduce.b"), VERSION
    within = [("registers", 8), ("registers", -8), ("warps", 24)]
    beyond = [("registers", 9), ("loop", 9), ("fma", -9), ("stack", 8), ("shared", 8)]
    for figure, change in within + beyond:
        found = FIGURES._replace(**{figure: getattr(FIGURES, figure) + change})
        differences = list(expected_kernels.differences({joined: FIGURES}, {joined: found}))
        assert bool(differences) == ((figure, change) in beyond)
        assert list(expected_kernels.differences({alone: FIGURES}, {alone: found}))
    large = FIGURES._replace(step=400)
    assert not list(expected_kernels.differences({joined: large}, {joined: large._replace(step=420)}))
    assert list(expected_kernels.differences({joined: large}, {joined: large._replace(step=421)}))


def test_a_new_kernel_and_one_that_is_gone_are_differences(compiled, capsys):
    gone = compiled[1].kernels.pop(VERSION), VERSION._replace(kernel="dense.old")
    compiled[1].kernels[gone[1]] = gone[0]
    assert compile_kernels.main(["--dtype", "float32"]) == 1
    message = capsys.readouterr().err
    assert "dense.FORWARD[tiny] (float32, 9.0): new" in message
    assert "dense.old" not in message  # not asked for
    assert compile_kernels.main([]) == 1
    assert "dense.old (float32, 9.0): expected, but not there" in capsys.readouterr().err


def test_a_page_of_the_ladder_that_is_out_of_date_is_a_problem(compiled, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(compile_kernels.ladder_page, "PAGE", tmp_path / "ladder.md")
    monkeypatch.setattr(compile_kernels, "all_kernels", dict)
    monkeypatch.setattr(compile_kernels, "ladder_text", lambda expected: "the ladder")
    for text, problems in (("the ladder", 0), ("another page", 1)):
        (tmp_path / "ladder.md").write_text(text)
        assert compile_kernels.main([]) == problems
        assert ("docs/ladder.md is not what the ladder does" in capsys.readouterr().err) == bool(problems)


def test_with_another_compiler_a_difference_is_only_reported(compiled, capsys):
    compiled[1].compiler["numba-cuda"] = "0.20"
    compiled[1].kernels[VERSION] = FIGURES._replace(registers=5)
    assert compile_kernels.main(["--kernel", "dense.FORWARD[tiny]"]) == 0
    printed = capsys.readouterr()
    assert "of another compiler (python" in printed.out and "numba-cuda 0.20" in printed.out
    assert printed.out.endswith("dense.FORWARD[tiny] (float32, 9.0): registers 5 → 29\n")
    assert not printed.err


def test_accept_writes_what_was_found(compiled, monkeypatch, tmp_path):
    compiled[1].kernels.clear()
    written = []
    monkeypatch.setattr(expected_kernels, "write", written.append)
    monkeypatch.setattr(compile_kernels, "ladder_text", lambda expected: "the ladder")
    monkeypatch.setattr(compile_kernels.ladder_page, "PAGE", tmp_path / "ladder.md")
    assert compile_kernels.main(["--accept"]) == 0
    assert written == [Expected(expected_kernels.compiler(), {VERSION: FIGURES}, NODES)]
    assert (tmp_path / "ladder.md").read_text() == "the ladder"


def test_accept_writes_nothing_if_there_is_a_problem(compiled, monkeypatch, capsys):
    compiled[0].append(Compiled(VERSION, None, ["TypingError: no"]))
    monkeypatch.setattr(expected_kernels, "write", None)
    assert compile_kernels.main(["--accept"]) == 1
    assert "dense.FORWARD[tiny] (float32, 9.0): TypingError: no" in capsys.readouterr().err


@pytest.mark.parametrize("choice", [["--cc", "7.5"], ["--dtype", "float32"], ["--kernel", "dense"]])
def test_accept_needs_every_kernel(choice, capsys):
    with pytest.raises(SystemExit):
        compile_kernels.main(["--accept", *choice])
    assert "--accept got a choice of kernels; expected no --cc, --dtype or --kernel" in capsys.readouterr().err


# A real compiler ------------------------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("name", ["dense.BACKWARD_WEIGHT[small]", "batchnorm.statistics", "losses.softmax_losses"])
@pytest.mark.parametrize("dtype", compile_kernels.DTYPES)
def test_kernels_compile(name, dtype):
    (launch,) = [launch for launch in compile_kernels.launched_kernels(dtype) if launch.name == name]
    for capability in compile_kernels.CAPABILITIES:
        done = compile_kernels.compile_kernel(launch, dtype, capability)
        assert not done.problems
        assert 16 <= done.figures.registers <= (132 if dtype == "float64" else 128)  # and then 8 warps instead of 16
        assert done.figures.shared % 512 == 0
        assert done.figures.loop > 20


@needs_compiler
def test_the_inner_loop_of_a_matrix_product():
    name = "ladder.wide_loads.product"
    launch = next(launch for launch in compile_kernels.launched_kernels("float32") if launch.name == name)
    figures = compile_kernels.compile_kernel(launch, "float32", "9.0").figures
    assert figures.fma == 64 and figures.fma_share >= 70  # nothing but 8 × 8 multiply-adds and their loads
    assert figures.step_fma == 8 * 64 and figures.step_share < figures.fma_share


@needs_compiler
@pytest.mark.parametrize(("tiles", "least", "warps"), [("large", 85, 16), ("small", 65, 24), ("tiny", 50, 16)])
@pytest.mark.parametrize("product", ["FORWARD", "BACKWARD_INPUT", "BACKWARD_WEIGHT"])
def test_a_step_of_a_dense_product_is_multiply_adds(product, tiles, least, warps):
    (launch,) = [
        launch for launch in compile_kernels.launched_kernels("float32") if launch.name == f"dense.{product}[{tiles}]"
    ]
    figures = compile_kernels.compile_kernel(launch, "float32", "9.0").figures
    assert figures.step_fma == launch.step and figures.step_share >= least
    assert figures.warps >= warps


@needs_compiler
@pytest.mark.parametrize(("capability", "target"), [("7.5", "sm_75"), ("8.0", "sm_80"), ("9.0", "sm_90a")])
def test_the_machine_code_is_for_the_capability(tmp_path, capability, target):
    cubin, log = compile_kernels.to_cubin(_launch(lambda x: x[0]), capability)
    assert f"for '{target}'" in log
    (tmp_path / "cubin").write_bytes(cubin)
    command = [compile_kernels.disassembler(), "--print-code", tmp_path / "cubin"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f".target\t{target}" in text
    (code,) = compile_kernels.disassemble([machine_code.instructions_of(cubin)], capability)
    assert [instruction.opcode for instruction in code] == re.findall(r"\*/ +(?:@!?U?P\w+ +)?([A-Z][\w.]*)", text)


@needs_compiler
def test_what_the_disassembler_refuses():
    with pytest.raises(RuntimeError, match="nvdisasm: "):
        compile_kernels.disassemble([b"no machine code"], "9.0")


def _kernel(function, **options):
    """A kernel that stores `function(x)` into its argument."""
    function = cuda.jit(device=True)(function)

    @cuda.jit(**options)
    def store(x):
        x[0] = function(x)

    return store


def _launch(function, threads=256, **options):
    return Launch("planted", _kernel(function, **options), (VECTOR,), threads)


def _many_values(count=90):
    """A function of x that needs `count` values of x at the same time: each is used in two sums far from each other."""
    loads = [f"    x{i} = x[x.size + {i}]" for i in range(count)]
    forth, back = ([f"(x{i} * x{(i * step) % count})" for i in range(count)] for step in (7, 11))
    body = [*loads, "    syncthreads()", f"    return ({' + '.join(forth)}) * ({' - '.join(back)})"]
    names = {"syncthreads": cuda.syncthreads}
    exec("\n".join(["def many(x):", *body]), names)
    return names["many"]


def _scratch(x):
    array = cuda.local.array(512, numba.float32)
    for i in range(512):
        array[i] = x[i]
    return array[x.size]


def _tile(x):
    array = cuda.shared.array(20000, numba.float32)
    array[cuda.threadIdx.x] = x[0]
    cuda.syncthreads()
    return array[x.size]


PLANTED = {
    "constant": (lambda: _launch(lambda x: x[0] * 0.1), "float64 instructions in the float32 version (DMUL, F2F."),
    "quotient": (lambda: _launch(lambda x: x[0] / x.size), "float64 instructions in the float32 version ("),
    "root": (lambda: _launch(lambda x: math.sqrt(x.size)), "float64 instructions in the float32 version ("),
    "local array": (lambda: _launch(_scratch), "2048 bytes of stack in a thread"),
    "spill": (lambda: _launch(_many_values(), max_registers=32), "bytes of stack in a thread"),
    "registers": (lambda: _launch(_many_values(), 1024), "registers in each of the 1024 threads of a block"),
    "name": (lambda: _launch(lambda x: x.no_such_name), "no_such_name"),
    "shared": (lambda: _launch(_tile), "shared"),
}


@needs_compiler
@pytest.mark.parametrize("mistake", PLANTED)
@pytest.mark.parametrize("capability", ["7.5", "10.0"])
def test_a_planted_mistake_is_noticed(monkeypatch, capsys, mistake, capability):
    launch, message = PLANTED[mistake][0](), PLANTED[mistake][1]
    monkeypatch.setattr(compile_kernels, "launched_kernels", lambda dtype: [launch])
    monkeypatch.setattr(compile_kernels, "all_kernels", dict)
    compile_kernels._launches.cache_clear()
    assert compile_kernels.main(["--dtype", "float32", "--cc", capability]) == 1
    compile_kernels._launches.cache_clear()
    named = [line for line in capsys.readouterr().err.splitlines() if message in line]
    assert len(named) == 1 and named[0].startswith(f"planted (float32, {capability}): ")


@needs_compiler
def test_a_kernel_at_its_limit_is_no_problem():
    done = compile_kernels.compile_kernel(_launch(_many_values(), threads=256), "float32", "9.0")
    assert done.figures.registers > 64 and not done.problems


@needs_compiler
def test_a_kernel_that_no_operation_launches_fails(monkeypatch, capsys):
    forgotten = _kernel(lambda x: x[0])
    forgotten.py_func.__module__ = dense.__name__
    monkeypatch.setattr(dense, "TABLE", {"new": forgotten}, raising=False)
    assert compile_kernels.main(["--kernel", "elementwise.advance_kernel", "--dtype", "float32", "--cc", "7.5"]) == 1
    assert "dense.TABLE[new]: no operation launches it" in capsys.readouterr().err


@needs_compiler
def test_the_command():
    arguments = ["--kernel", "elementwise.add_kernel", "--cc", "7.5", "--dtype", "float32", "--dtype", "float64"]
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    header, *rows, _, summary = done.stdout.splitlines()[:5]
    assert header.split() == ["kernel", "dtype", "cc", *Figures._fields]
    assert [row.split()[:3] for row in rows] == [
        ["elementwise.add_kernel", dtype, "7.5"] for dtype in compile_kernels.DTYPES
    ]
    assert summary.startswith("2 versions in ") and summary.endswith("0 problems")


@needs_compiler
def test_a_name_that_is_in_no_kernel(capsys):
    assert compile_kernels.main(["--kernel", "nonsense"]) == 1
    assert "--kernel got 'nonsense', which is in the name of no kernel" in capsys.readouterr().err
