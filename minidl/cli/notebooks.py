"""A tutorial as a notebook: a script in the format of sphinx-gallery becomes cells of Markdown and of code.

The script has a docstring, "# %%" lines between its parts, and comments in reStructuredText below them. sphinx-gallery
writes such notebooks, too, but needs Sphinx for it, which only the documentation does, and leaves `:doc:` as it stands.
Only what the tutorials use is converted; tests look for what is left.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from minidl.utils import ipynb

PART = re.compile(r"^# ?%%.*$", re.MULTILINE)
COMMENTS = re.compile(r"\n*((?:^#.*\n?)*)", re.MULTILINE)
HIDDEN = re.compile(r"^# sphinx_gallery_start_ignore\n(.*?)^# sphinx_gallery_end_ignore$", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"^[ ]*# sphinx_gallery_\w+.*\n?", re.MULTILINE)
# A figure that minidl draws into a file. What pyplot draws, notebooks and sphinx-gallery show by themselves.
DRAWN = re.compile(r'(?<!savefig\()figures / "([^"]+)"')

TITLE = re.compile(r"^(\S.*)\n([=\-~^])\2{2,}$", re.MULTILINE)
LEVELS = {"=": "#", "-": "##", "~": "###", "^": "####"}
DIRECTIVE = re.compile(r"^\.\. ([\w-]+):: ?(.*)(?:\n|$)((?:\n|[ ]{3,}.+(?:\n|$))*)", re.MULTILINE)
MARKUP = re.compile(
    r"``(?P<code>.+?)``|:(?P<role>\w+):`(?P<text>[^`]+)`|`(?P<link>[^`<]+?)\s*<(?P<url>[^>]+)>`_", re.DOTALL
)
PLAIN = re.compile(r"\$|<(?=[A-Za-z/!])")  # what Markdown would take for a formula or for HTML

HIDE = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}


def notebook(script: str) -> dict[str, Any]:
    """Return a script as a notebook of format 4.5."""
    cells = enumerate(_cells(script), start=1)
    return ipynb.notebook([ipynb.cell(kind, f"cell-{n}", text, metadata) for n, (kind, text, metadata) in cells])


def title(script: str) -> str:
    """Return the title of a script."""
    return (ast.get_docstring(ast.parse(script)) or "").partition("\n")[0]


def drawn(code: str) -> list[str]:
    """Return the figures that minidl draws into files, but for those that the code reads, to draw them with pyplot."""
    return [name for name in DRAWN.findall(code) if f'imread(figures / "{name}")' not in code]


def _cells(script: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield kind, text and metadata of each cell."""
    docstring = ast.parse(script).body[0]
    yield "markdown", markdown(ast.get_docstring(ast.parse(script)) or ""), {}
    rest = "".join(script.splitlines(keepends=True)[docstring.end_lineno or 0 :])
    first, *parts = PART.split(rest)
    yield from _code(first)
    for part in parts:
        comments = COMMENTS.match(part)
        assert comments is not None  # it matches nothing, too
        if text := re.sub(r"^# ?", "", comments[1], flags=re.MULTILINE).strip():
            yield "markdown", markdown(text), {}
        yield from _code(part[comments.end() :])


def _code(source: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the code of a part; what the page hides is a cell that is folded, and so is what shows a figure."""
    for number, piece in enumerate(HIDDEN.split(source)):
        if code := SETTING.sub("", piece).strip("\n"):
            yield "code", code, HIDE if number % 2 else {}
        for name in drawn(piece):
            yield "code", f'from IPython.display import Image\n\nImage(figures / "{name}")', HIDE


def markdown(text: str) -> str:
    """Return a text in reStructuredText as Markdown: titles, formulas, code and links."""
    text = TITLE.sub(lambda found: f"{LEVELS[found[2]]} {found[1]}\n", text)
    made, end = [], 0
    for found in DIRECTIVE.finditer(text):
        made += [_inline(text[end : found.start()]), _directive(*found.groups())]
        end = found.end()
    return re.sub(r"\n{3,}", "\n\n", "".join([*made, _inline(text[end:])])).strip()


def _directive(name: str, argument: str, block: str) -> str:
    lines = block.strip("\n").splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    body = "\n".join(line[indent:] for line in lines)
    if name == "math":
        return f"$$\n{body or argument}\n$$\n\n"
    return f"```{argument}\n{body}\n```\n\n" if name in ("code-block", "code") else f"{_inline(body)}\n\n"


def _inline(text: str) -> str:
    """Convert what stands within lines."""
    made, end = [], 0
    for found in MARKUP.finditer(text):
        made += [_plain(text[end : found.start()]), _marked(**found.groupdict())]
        end = found.end()
    return "".join([*made, _plain(text[end:])])


def _marked(code: str | None, role: str | None, text: str | None, link: str | None, url: str | None) -> str:
    if code is not None:
        return f"`{code}`"
    if link is not None:
        return f"[{' '.join(link.split())}]({url})"
    words = " ".join((text or "").split())
    return f"${words}$" if role == "math" else f"[{words}]({words}.ipynb)" if role == "doc" else f"`{words}`"


def _plain(text: str) -> str:
    return PLAIN.sub(lambda found: "\\$" if found[0] == "$" else "&lt;", text)
