"""The floors of the house: what imports what, read from the source. A failure names the import that breaks the rule."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import minidl
from tests.conftest import each

PACKAGE = Path(minidl.__file__).parent

# Each component imports only from the floors below it. docs/architecture.md shows this list.
FLOORS = [
    ["utils", "scalar", "statistics"],
    ["operations", "cpu", "cuda", "emulator", "penalties", "schedules"],
    ["backend", "data", "initializers"],
    ["layers", "losses", "optimizers", "parallel"],
    ["training", "multi_task", "weighted", "calibration", "perceptron", "export"],
    ["diagnostics", "sweeps"],
    ["__init__", "exercises", "playground"],
    ["cli", "sklearn"],
    ["__main__"],
]
FLOOR = {component: number for number, floor in enumerate(FLOORS, start=1) for component in floor}


def module_of(path: Path) -> str:
    parts = ("minidl", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in FILES.items()}


def component_of(module: str) -> str:
    """The component of a module: a folder or a file directly in the package."""
    return [*module.split("."), "__init__"][1]


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Every module that is imported anywhere in `tree`, with the statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield (inner if inner in FILES else module), node


ARROWS = {
    module: {target for target, _ in imported(tree) if target in FILES and target != module}
    for module, tree in TREES.items()
}


def test_every_file_has_a_floor():
    assert {component_of(module) for module in FILES} == set(FLOOR)


@each("module", FILES)
def test_imports_go_down(module):
    here = component_of(module)
    for target in ARROWS[module]:
        there = component_of(target)
        assert there == here or FLOOR[there] < FLOOR[here], (
            f"{module} on floor {FLOOR[here]} imports {target} on floor {FLOOR[there]}"
        )


@each("module", FILES)
def test_every_import_is_a_statement_with_a_whole_name(module):
    for target, node in imported(TREES[module]):
        assert not target.startswith("."), f"line {node.lineno} of {module} imports {target}: write minidl...."
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            assert name not in ("__import__", "import_module"), f"line {node.lineno} of {module} calls {name}"


@each("component", ["cpu", "cuda"])
def test_an_engine_knows_nothing_of_what_runs_on_it(component):
    """The loops and kernels that a learner reads stand on `engine`, which he may skip."""
    for module, targets in ARROWS.items():
        if module.startswith(f"minidl.{component}.engine"):
            for target in targets:
                assert component_of(target) != component or target.startswith(f"minidl.{component}.engine"), (
                    f"{module}: {target}"
                )


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The modules of one circle of imports, the first again at the end, or []."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(arrows[module]):
            if found := walk(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(arrows) if (found := walk(module, []))), [])


def test_there_is_no_circle():
    # A package's own __init__ gathers its files; that a file lies in the package is no arrow.
    assert not (found := circle(ARROWS)), " imports ".join(found)


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


MAY_BE_HIDDEN = {
    "matplotlib": "takes as long to import as a small training run",
    "cuda": "comes with numba-cuda, where that can be installed",
    "minidl.cuda.engine.kernel_cache": "needs numba-cuda",
    "numba_cuda_mlir": "NVIDIA's successor of numba-cuda, which need not be installed",
    "resource": "is not there on Windows",
    "tqdm": "imports ipywidgets, which only a notebook needs",
    "sklearn": "comes with the extra sklearn",
    "onnx": "comes with the extra export",
    "safetensors": "comes with the extra export",
    "mpi4py": "comes with the extra mpi",
    "minidl.sweeps.study": "needs optuna, which comes with the extra sweep",
    "minidl.sweeps.workers": "likewise",
}


def is_no_simulator(node):
    """Whether the block is for everybody but users of Numba's simulator, which has no compiler for CUDA."""
    return isinstance(node, ast.If) and "ENABLE_CUDASIM" in ast.unparse(node.test)


@each("module", FILES)
def test_no_import_is_hidden(module):
    blocks = [TREES[module].body, *(node.body for node in TREES[module].body if is_no_simulator(node))]
    top = {id(node) for block in blocks for node in block}
    for target, node in imported(TREES[module]):
        assert id(node) in top or {target, target.partition(".")[0]} & MAY_BE_HIDDEN.keys(), (
            f"line {node.lineno} of {module} imports {target} inside a block: write it at the top"
        )


def test_matplotlib_is_imported_only_in_functions():
    for module, tree in TREES.items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        inside = {id(inner) for function in functions for inner in ast.walk(function)}
        for target, node in imported(tree):
            if target.partition(".")[0] == "matplotlib":
                assert id(node) in inside, f"line {node.lineno} of {module}: import it where something is drawn"


MIRRORED = ["utils", "scalar", "cpu", "cuda", "backend", "layers", "training", "diagnostics", "data", "emulator"]
MIRRORED += ["exercises", "statistics", "cli", "export", "playground", "sweeps"]
# Tests of several rooms at once, and of what lies beside the package.
OTHERS = {"operations", "properties", "robustness", "sabotage", "claims", "tooling", "tutorials"}


def test_tests_lie_where_what_they_test_lies():
    """A test file below a mirrored folder has the folder's name; the package has such a folder."""
    tests = Path(__file__).parent
    assert {path.parent.relative_to(tests).parts[0] for path in tests.glob("*/**/test_*.py")} == {*MIRRORED, *OTHERS}
    for folder in MIRRORED:
        for path in (tests / folder).rglob("test_*.py"):
            assert (PACKAGE / path.parent.relative_to(tests)).is_dir(), path
