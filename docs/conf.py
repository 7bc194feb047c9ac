"""How Sphinx builds the site: sphinx-build -W --keep-going -j auto docs docs/_build/html

With -D plot_gallery=0 the tutorials are shown and not run, which takes seconds instead of minutes.
"""

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import docstrings  # noqa: E402  (beside this file)

import minidl  # noqa: E402

SCRIPTS = HERE / "_build" / "scripts"

project = "minidl"
author = "The minidl authors"
copyright = "the minidl authors, MIT licence"
release = minidl.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["_build", "tutorials/*.ipynb"]
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
# One file, with the fonts as paths, so that formulas need no network. It is MathJax 3.2.2, es5/tex-svg.js.
mathjax_path = "mathjax/tex-svg.js"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_inherit_docstrings = False  # else every layer repeats what forward and backward do
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
add_module_names = False
python_maximum_signature_line_length = 140  # with the full names of types

sphinx_gallery_conf = {
    "examples_dirs": str(SCRIPTS),
    "gallery_dirs": "tutorials",
    "filename_pattern": r"[\\/]\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),  # what is printed, and not what the last line of a cell happens to return
    "image_srcset": ["2x"],
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


def links_of_the_repository(app, docname, source):
    """A link to a tutorial's script becomes one to its page, one to a folder plain text; files are downloads."""

    def on_the_site(link):
        text, path = link.groups()
        if tutorial := re.fullmatch(r"tutorials/(\d\d_\w+)\.py", path):
            return f"[{text}](tutorials/{tutorial[1]}.rst)"
        return text if (HERE.parent / path).is_dir() else link[0]

    source[0] = re.sub(r"\[([^]]+)\]\(\.\./([^)#]+)\)", on_the_site, source[0])


def setup(app):
    app.connect("config-inited", copy_tutorials, priority=1)  # before the gallery looks for them
    app.connect("source-read", links_of_the_repository)
    app.connect("autodoc-process-docstring", docstrings.process)
