"""`minidl tutorial`: its list, the notebook that a tutorial becomes, and what that shows when it is run."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

from minidl import cli
from minidl.cli.notebooks import markdown, notebook
from tests import notebooks
from tests.conftest import each

pytestmark = notebooks.quiet
ROOT = Path(__file__).parent.parent.parent
SCRIPTS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tutorials").glob("*.py")}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def there(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


# The command


def test_the_list_has_every_tutorial_with_its_title(capsys):
    assert cli.main(["tutorial", "list"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [stem.partition("_")[0] for stem in sorted(SCRIPTS)]
    assert "03b     Training from naive weights" in lines


@pytest.mark.parametrize("number", ["03b", "3b", "03B", "03b_training_from_naive_weights", "tutorials/03b_x.py"])
def test_open_writes_the_notebook_and_says_how_to_open_it(number, capsys):
    assert cli.main(["tutorial", "open", number]) == 0
    assert there() == [name := "03b_training_from_naive_weights.ipynb"]
    assert capsys.readouterr().out == f"wrote {name}; open it with: jupyter lab {name}\n"
    assert json.loads(Path(name).read_text(encoding="utf-8")) == notebook(SCRIPTS["03b_training_from_naive_weights"])


def test_open_writes_the_script_into_a_folder(capsys):
    assert cli.main(["tutorial", "open", "1", "--script", "--folder", "my own/course"]) == 0
    assert there("my own/course") == ["01_first_network.py"]
    path = Path("my own/course/01_first_network.py")
    assert path.read_text(encoding="utf-8") == SCRIPTS["01_first_network"]
    assert f'run it with: python "{path}"' in capsys.readouterr().out


def test_a_file_that_is_there_is_only_replaced_if_the_user_says_so(capsys):
    Path("01_first_network.ipynb").write_text("my notes")
    assert cli.main(["tutorial", "open", "01"]) == cli.WRONG
    message = "--folder: 01_first_network.ipynb is there already; add --overwrite to replace it"
    assert message in capsys.readouterr().err
    assert there() == ["01_first_network.ipynb"] and Path("01_first_network.ipynb").read_text() == "my notes"
    assert cli.main(["tutorial", "open", "01", "--overwrite"]) == 0
    assert "my notes" not in Path("01_first_network.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize(("number", "meant"), [("3z", "03"), ("13x", "13"), ("x", None), ("", None), ("99", "09")])
def test_an_unknown_number_names_the_nearest(number, meant, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["tutorial", "open", number])
    assert stop.value.code == cli.WRONG and there() == []
    error = capsys.readouterr().err
    assert error.startswith("minidl tutorial open: error: NUMBER got ") and "expected one of '01', '02'" in error
    assert ("did you mean" in error) is (meant is not None) and (meant is None or f"did you mean '{meant}'" in error)


def test_a_folder_that_cannot_be_made(capsys):
    Path("file").write_text("")
    assert cli.main(["tutorial", "open", "01", "--folder", "file/inner"]) == cli.WRONG
    assert "--folder got" in capsys.readouterr().err


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
def test_the_wheel_has_them():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "tutorials" in wheel["only-include"] and wheel["sources"] == {"tutorials": "minidl/tutorials"}


# The notebook

SCRIPT = '''"""
A title
=======

Words and :math:`x^2`.
"""

import minidl as dl

# a comment of the code

# %%
# A part
# ------
# Formulas:
#
# .. math::
#
#    y = x \\\\
#      + 1
#
# and words.

# sphinx_gallery_thumbnail_number = 2
a = 1
# sphinx_gallery_start_ignore
print("hidden on the page")
# sphinx_gallery_end_ignore
history.plot(figures / "a.png")

# %%

tree.plot(figures / "b.png")
picture = plt.imread(figures / "b.png")
figure.savefig(figures / "c.png")


def f():
    # sphinx_gallery_start_ignore
    return 1
    # sphinx_gallery_end_ignore

# %%
# The end.
'''


def test_a_script_becomes_cells():
    cells = [(cell["cell_type"], cell["source"]) for cell in notebook(SCRIPT)["cells"]]
    assert cells == [
        ("markdown", "# A title\n\nWords and $x^2$."),
        ("code", "import minidl as dl\n\n# a comment of the code"),
        ("markdown", "## A part\n\nFormulas:\n\n$$\ny = x \\\\\n  + 1\n$$\n\nand words."),
        ("code", "a = 1"),
        ("code", 'print("hidden on the page")'),
        ("code", 'history.plot(figures / "a.png")'),
        ("code", 'from IPython.display import Image\n\nImage(figures / "a.png")'),
        (
            "code",
            'tree.plot(figures / "b.png")\npicture = plt.imread(figures / "b.png")\nfigure.savefig(figures / "c.png")'
            "\n\n\ndef f():\n    return 1",
        ),
        ("markdown", "The end."),
    ]
    folded = [number for number, cell in enumerate(notebook(SCRIPT)["cells"]) if cell["metadata"]]
    assert folded == [4, 6]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("``dy @ W.T`` and ``a`b``", "`dy @ W.T` and `a`b`"),
        (":math:`E[y^2] =\n  n` here", "$E[y^2] = n$ here"),
        ("see :doc:`03c_saturation`", "see [03c_saturation](03c_saturation.ipynb)"),
        (":class:`Dense` is *not* **that**", "`Dense` is *not* **that**"),
        ("`the paper\n<https://example.org/a_b>`_ says", "[the paper](https://example.org/a_b) says"),
        ("costs $5, if a<b and a < c", "costs \\$5, if a&lt;b and a < c"),
        ("1. one\n   more\n2. two", "1. one\n   more\n2. two"),
        ("Title\n=====\nText", "# Title\n\nText"),
        ("Small\n~~~~~", "### Small"),
        (".. code-block:: sh\n\n   minidl train\n\nand", "```sh\nminidl train\n```\n\nand"),
        (".. math:: a = b", "$$\na = b\n$$"),
    ],
)
def test_markup(text, made):
    assert markdown(text) == made


@each("name", sorted(SCRIPTS))
def test_every_tutorial_is_converted_whole(name):
    made = notebook(SCRIPTS[name])
    nbformat.validate(nbformat.from_dict(made))
    texts = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "markdown"]
    codes = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"]
    for code in codes:
        compile(code, name, "exec")
    # No statement is lost, and none but those that show a figure is new.
    own = [code for code in codes if not code.startswith("from IPython")]
    script = ast.parse(SCRIPTS[name])
    assert ast.dump(ast.parse("\n".join(own))) == ast.dump(ast.Module(script.body[1:], []))
    assert texts[0].startswith(f"# {ast.get_docstring(script).partition(chr(10))[0]}\n\n")
    for text in texts:
        words = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`", "", text, flags=re.DOTALL)
        left = re.findall(r"``|:\w+:|^\.\. |::|\w_ |^[=~-]{3,}|`", words, flags=re.MULTILINE)
        assert not left, f"{left} in {text}"


@pytest.mark.parametrize("name", ["01_first_network", "13_first_cuda_kernel"])
def test_a_notebook_runs_and_shows_every_figure_once(name, tmp_path):
    done = notebooks.run(notebook(SCRIPTS[name]), tmp_path)
    drawn = there(tmp_path / "runs" / "tutorials")
    assert drawn and len(notebooks.pictures(done)) == len(drawn) == len({*notebooks.pictures(done)})
    told = "".join(
        output.text for cell in done.cells for output in cell.get("outputs", ()) if output.get("name") == "stderr"
    )
    assert told == ""
