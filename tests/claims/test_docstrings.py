"""Docstrings have one form: a formula or an imperative first, then every argument by name, and what is raised."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pydoc
import re
import textwrap
from pathlib import Path

from minidl import sklearn
from minidl.initializers import INITIALIZERS
from tests.conftest import each
from tests.robustness.hostile import call
from tests.robustness.test_fuzz_arguments import ALL, RESULTS, public
from tests.robustness.test_fuzz_methods import INNER

PACKAGE = Path(__file__).parent.parent.parent / "minidl"
PUBLIC = {full: thing for full, (_, thing) in public().items()}
PUBLIC |= {f"minidl.sklearn.{name}": getattr(sklearn, name) for name in sklearn.__all__}
PUBLIC = {
    full: thing for full, thing in PUBLIC.items() if not (inspect.isclass(thing) and issubclass(thing, Exception))
}

SECTION = re.compile(r"^(Args|Attributes|Raises):\n((?:    .*\n|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^    ([\w*]+(?:, [\w*]+)*):", re.MULTILINE)  # beta1, beta2: β₁ and β₂, in [0, 1).


def sections(thing):
    """The sections of the docstring of `thing` itself, by title."""
    text = inspect.cleandoc(vars(thing).get("__doc__") or "") if inspect.isclass(thing) else inspect.getdoc(thing)
    return dict(SECTION.findall(f"{text}\n"))


def described(thing, title):
    """The names that a section of `thing` itself describes."""
    return {name.strip("* ") for names in ENTRY.findall(sections(thing).get(title, "")) for name in names.split(",")}


def with_bases(thing):
    """`thing`, and the classes of minidl whose constructor a class or an object inherits or calls."""
    kind = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
    return [base for base in getattr(kind, "__mro__", [kind]) if base.__module__.startswith("minidl")]


@each("name", PUBLIC)
def test_every_argument_is_described_by_name(name):
    thing = PUBLIC[name]
    arguments = inspect.signature(thing).parameters.keys()
    found = set().union(*(described(one, "Args") for one in with_bases(thing)))
    if thing.__name__ in RESULTS or dataclasses.is_dataclass(thing):  # users read what minidl has put there
        found |= described(thing, "Attributes")
    assert arguments - found == set()
    assert described(thing, "Args") - arguments == set()


METHODS = {
    f"{base.__name__}.{name}": method
    for thing in PUBLIC.values()
    for base in (with_bases(thing) if inspect.isclass(thing) else [])
    for name, method in vars(base).items()
    if inspect.isfunction(method) and not name.startswith("_") and not {name, f"{base.__name__}.{name}"} & INNER
}


@each("name, method", METHODS.items())
def test_the_docstring_of_a_method_has_its_arguments(name, method):
    for argument in [*inspect.signature(method).parameters][1:]:
        assert mentions(inspect.getdoc(method), argument), argument


def mentions(text, name):
    return re.search(rf"(?<![A-Za-z_]){name}(?![A-Za-z_])", text or "")


@each("name", INITIALIZERS)
def test_the_docstring_of_an_initializer_has_its_parameters(name):
    entry = INITIALIZERS[name]
    for parameter in entry.parameter_names:
        assert mentions(entry.function.__doc__, parameter), parameter


def test_help_shows_the_parameters_of_an_initializer_and_their_defaults():
    text = pydoc.render_doc(INITIALIZERS["he_truncated_normal"], renderer=pydoc.plaintext)
    call, empty, description = (line.strip() for line in text.splitlines()[-3:])
    assert call == "he_truncated_normal(rng, fan_in, fan_out, slope=0.0, cut=2.0)"
    assert not empty
    assert description.startswith("Draw from a normal cut at")


@each("name", PUBLIC)
def test_a_description_ends_with_a_full_stop(name):
    for title, text in sections(PUBLIC[name]).items():
        for entry in re.split(r"\n(?=    \S)", text.rstrip()):
            assert re.search(r"[.)…]$|\.\.\.$", entry), f"{title}: {entry}"


@each("name, function, valid", [case for case in ALL if "lambda" not in repr(case[1])])  # estimators check in `fit`
def test_what_refuses_an_argument_says_what_it_raises(name, function, valid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if any(is_refused(function, {**valid(), argument: object()}) for argument in valid()):
        assert any("Raises" in sections(one) for one in with_bases(function))


def is_refused(function, arguments):
    try:
        call(function, arguments)
    except (TypeError, ValueError, RuntimeError):
        return True
    return False


WITH_CONSTRUCTOR = [name for name, thing in PUBLIC.items() if inspect.isfunction(vars(thing).get("__init__"))]


@each("name", [name for name in WITH_CONSTRUCTOR if not dataclasses.is_dataclass(PUBLIC[name])])
def test_a_constructor_that_raises_says_so_in_its_own_docstring(name):
    tree = ast.parse(textwrap.dedent(inspect.getsource(PUBLIC[name].__init__)))
    if any(isinstance(node, ast.Raise) for node in ast.walk(tree)):
        assert "Raises" in sections(PUBLIC[name])


# A sentence begins with one of these; a new verb joins them. A list of what is wrong would let nouns pass.
VERBS = re.findall(
    r"\w+",
    """
    Accept Add Adjust Advise Align Allocate Answer Append Apply Assign Attach Average Begin Bound Bring Build
    Calibrate Call Capture Carry Change Check Choose Close Collect Combine Compare Compile Compute Connect Convert
    Copy Count Create Cut Decide Decode Define Delete Describe Detect Divide Do Download Draw Drop Emit Encode End
    Enforce Enter Estimate Evaluate Exchange Extract Fill Find Fit Flip Forget Gather Get Give Go Hand Handle Ignore
    Import Include Increase Initialize Insert Inspect Interpolate Invert Iterate Join Jump Keep Label Launch Learn
    Leave Let Limit List Load Lower Make Mark Match Measure Merge Mix Move Multiply Normalize Note Notify Number
    Observe Obtain Open Optimize Overwrite Pad Parse Pass Perform Permute Pick Predict Prepare Print Provide Put
    Raise Reach Read Record Reduce Refuse Register Release Remember Remove Rename Render Repeat Replace Replay Reset
    Resize Resolve Restore Return Reverse Rotate Round Run Save Say Scale Search Select Send Separate Serve Set
    Share Show Shuffle Simulate Skip Sort Split Stand Start Stop Store Subtract Suggest Sum Swap Take Tell Trace
    Train Translate Transpose Truncate Try Turn Undo Unpack Update Use Validate Verify Visit Wait Walk Warn Wrap
    Write Yield
    """,
)
FORMULA = re.compile(r"[a-z] |[A-Za-z]*[^A-Za-z`,.:; ]\S*|\S+ (?:[=←·|]|\*=|\*\*|[-+/*%<>]+) ")


@each("path", sorted(PACKAGE.rglob("*.py")))
def test_functions_begin_with_a_formula_or_an_imperative(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
            is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
            first = re.match(r"[A-Za-z]*", text)[0]
            assert is_property or first in VERBS or FORMULA.match(text), f"line {node.lineno}: {text.splitlines()[0]}"
