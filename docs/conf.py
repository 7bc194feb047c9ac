"""How Sphinx builds the site: sphinx-build -W --keep-going -j auto docs docs/_build/html

With -D plot_gallery=0 the tutorials are shown and not run, which takes seconds instead of minutes.
"""

import ast
import re
import shutil
import sys
from pathlib import Path

import minidl

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for mathml.py, drawn.py and folded.py
SCRIPTS = HERE / "_build" / "scripts"

project = "minidl"
author = "The minidl authors"
copyright = "the minidl authors, MIT licence"
release = minidl.__version__

extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_gallery.gen_gallery",
    "mathml", "folded",
]  # fmt: skip
exclude_patterns = ["_build", "_generate", "tutorials/*.ipynb"]
smartquotes = False  # in docstrings "cpu" is a string
nitpicky = True
# Types in signatures belong to NumPy and to modules without a page; no inventory of theirs is read from a network.
# What docstrings say is checked: a name that begins with minidl must have an entry.
nitpick_ignore_regex = [("py:(?!obj).*", ".*"), ("py:obj", r"(?!minidl\.).*")]

html_theme = "furo"
html_title = "minidl"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"  # drawn by the browser itself: no script, no network

copybutton_selector = "div.highlight:not(.sphx-glr-script-out *, .highlight-text *) > pre"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_inherit_docstrings = False  # else every layer repeats what forward and backward do
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are described in their class, and have no entry of their own
napoleon_use_rtype = False
python_maximum_signature_line_length = 140  # with the full names of types

sphinx_gallery_conf = {
    "examples_dirs": str(SCRIPTS),
    "gallery_dirs": "tutorials",
    "filename_pattern": r"[\\/]\d\d[a-z]?_",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),  # what is printed, and not what the last line of a cell happens to return
    "image_scrapers": ("matplotlib", "drawn"),
    "image_srcset": ["2x"],
    "thumbnail_size": (920, 420),  # twice the pixels of a card
    "min_reported_time": float("inf"),  # how long the machine took that built the site is nobody's business
    "parallel": True,  # as many processes as -j says
    "backreferences_dir": None,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
}


def copy_tutorials(app, config):
    """In the gallery a tutorial writes runs/tutorials beside itself; that of a copy leaves the source tree alone."""
    shutil.rmtree(SCRIPTS, ignore_errors=True)
    shutil.copytree(HERE.parent / "tutorials", SCRIPTS, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    for script in SCRIPTS.glob("*.py"):
        script.write_text(numbered(script.name, script.read_text(encoding="utf-8")), encoding="utf-8")


def numbered(name, script):
    """The text of a tutorial with the number of its file in the title."""
    number = name.partition("_")[0]
    return re.sub(r"(.+)\n(=+)\n", rf"{number} · \1\n\2{'=' * len(f'{number} · ')}\n", script, count=1)


def minutes(script):
    """An estimate of how long a tutorial takes to read: 200 words a minute, and 20 lines of code."""
    comments = re.findall(r"^#.*", script, re.MULTILINE)
    words = len(f"{ast.get_docstring(ast.parse(script))} {' '.join(comments)}".split())
    code = sum(bool(line.strip()) and not line.startswith("#") for line in script.splitlines())
    return 5 * max(1, round((words / 200 + code / 20) / 5))


def minutes_of_the_gallery(app, docname, source):
    """Each card of the gallery says how long its tutorial takes to read."""
    if docname != "tutorials/index":
        return
    for script in SCRIPTS.glob("*.py"):
        card = re.compile(rf"(:doc:`/tutorials/{script.stem}`.*?thumbnail-title\">[^<]*)", re.DOTALL)
        time = f"<br><small>{minutes(script.read_text(encoding='utf-8'))} minutes</small>"
        source[0] = card.sub(lambda found, time=time: found[1] + time, source[0], count=1)


def links_of_the_repository(app, docname, source):
    """A link to a tutorial's script becomes one to its page, one to a folder plain text; files are downloads."""

    def on_the_site(link):
        text, path = link.groups()
        if tutorial := re.fullmatch(r"tutorials/(\d\d[a-z]?_\w+)\.py", path):
            return f"[{text}](tutorials/{tutorial[1]}.rst)"
        return text if (HERE.parent / path).is_dir() else link[0]

    source[0] = re.sub(r"\[([^]]+)\]\(\.\./([^)#]+)\)", on_the_site, source[0])


SECTION = re.compile(r"(Args|Attributes|Examples?|Notes?|Raises|References|Returns|Yields):")
COLUMNS = re.compile(r"\S {2,}\S")
CODE = re.compile(r"`([^`]+)`")
NAME = re.compile(r"minidl\.[\w.]+|[A-Z]\w*")  # small words are mostly arguments, and some have the name of a module
MARKUP = re.compile(r"^(\s+\*{1,2}\w+:)|[\\*|]|_(?!\w)", re.MULTILINE)  # napoleon itself escapes "*layers:"


def plain_text(app, what, name, obj, options, lines):
    """Docstrings are plain text; make reStructuredText of them before napoleon reads their sections.

    Sentences stay sentences, with everything escaped that would be markup. Outside sections, indented lines and lines
    in columns are formulas, which stay as they stand; examples that begin with >>> stay everywhere.
    """
    blocks, section, last = [], False, ""
    for line in lines:
        if line[:1].strip():
            section = SECTION.fullmatch(line) is not None
        if not line.strip():
            kind = blocks[-1][0] if blocks else "prose"
        elif line.lstrip().startswith(">>>") or (last and blocks[-1][0] == "example"):
            kind = "example"
        else:
            kind = "formula" if not section and (line[0] == " " or COLUMNS.search(line)) else "prose"
        if not blocks or blocks[-1][0] != kind:
            blocks.append((kind, []))
        blocks[-1][1].append(line)
        last = line.strip()

    lines.clear()
    for kind, block in blocks:
        if kind == "formula":
            lines += ["", ".. code-block:: text", "", *("   " + line for line in block), ""]
        else:
            lines += _sentences("\n".join(block)).split("\n") if kind == "prose" else block


def _sentences(text):
    """`text` with its markup escaped; what stands between backquotes becomes a link where it is a name, else code."""
    words_and_code = CODE.split(text)
    words_and_code[::2] = [MARKUP.sub(lambda m: m[1] or "\\" + m[0], words) for words in words_and_code[::2]]
    for i in range(1, len(words_and_code), 2):
        code = " ".join(words_and_code[i].split())
        words_and_code[i] = rf"\ :py:obj:`{code}`\ " if NAME.fullmatch(code) else rf"\ ``{code}``\ "
    return "".join(words_and_code)


def setup(app):
    app.connect("config-inited", copy_tutorials, priority=1)  # before the gallery looks for them
    app.connect("source-read", links_of_the_repository)
    app.connect("source-read", minutes_of_the_gallery)
    app.connect("autodoc-process-docstring", plain_text, priority=1)  # before napoleon
