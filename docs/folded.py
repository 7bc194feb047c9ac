"""Fold away what a reader may skip: drawing and bookkeeping in the code of tutorials, names of tests in tables."""

import ast
import html
import re

from docutils import nodes

DRAWING = {"plt", "figure", "figures", "axes", "axis"}
NOTES = "claims"  # in tutorials the list of what stands in the tables of the lectures
COLOUR = re.compile(r"""(?=.*#)['"#()\[\], \dA-F.:-]+""")  # a colour, or tuples of colours and line styles
TEST = re.compile(r"tests/\S+\.py(::\w+)?")


def _root(node):
    """The name that `a.b[0].c(...)` begins with, or None."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call, ast.Starred)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _names(node):
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


class Folds:
    """Which statements of a script only draw or keep accounts; a statement knows the names of those before it."""

    def __init__(self):
        self.drawing = DRAWING | {NOTES}
        self.at_work = {"dl", "print"}  # what a reader must see, and the functions that use it

    def folds(self, statement):
        """Whether a statement of the script only draws; it then makes names that are drawn with."""
        found = self._only_draws(statement)
        if isinstance(statement, ast.FunctionDef):
            (self.drawing if found else self.at_work).add(statement.name)
        return bool(found)

    def _only_draws(self, node):
        """True for a statement that draws, None for one that may stand beside it, False for one that must be seen."""
        if isinstance(node, ast.For) and _root(node.iter) == NOTES:
            return True
        if isinstance(node, ast.FunctionDef):
            drawn_on = any(argument.arg in DRAWING for argument in node.args.args)
            return drawn_on and self._all_draw(node.body)
        if isinstance(node, (ast.For, ast.If, ast.With)):
            heads = [node.iter] if isinstance(node, ast.For) else [node.test] if isinstance(node, ast.If) else []
            heads += [item.context_expr for item in node.items] if isinstance(node, ast.With) else []
            if any(_names(head) & self.at_work for head in heads):
                return False
            if isinstance(node, ast.For) and _names(node.iter) & self.drawing:
                self.drawing |= _names(node.target)
            return self._all_draw([*node.body, *getattr(node, "orelse", [])])
        if isinstance(node, (ast.Import, ast.ImportFrom)) or _names(node) & self.at_work:
            return False
        if isinstance(node, ast.Expr) and _root(node.value) in self.drawing:
            return True
        if isinstance(node, ast.Assign) and COLOUR.fullmatch(ast.unparse(node.value)):
            return True
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if _root(node.value) in self.drawing or any(_root(target) in self.drawing for target in targets):
                self.drawing |= set().union(*map(_names, targets))
                return True
        return None

    def _all_draw(self, body):
        found = [self._only_draws(statement) for statement in body]
        return False if False in found else True if True in found else None


def pieces(code, folds):
    """Split a block of code into (is folded, its lines), in order; the lines together are the block."""
    lines, parts, start = code.splitlines(), [], 0
    for statement in ast.parse(code).body:
        folded = folds.folds(statement)
        if parts and parts[-1][0] == folded:
            parts[-1][1].extend(lines[start : statement.end_lineno])
        else:
            parts.append((folded, lines[start : statement.end_lineno]))
        start = statement.end_lineno
    if parts:
        parts[-1][1].extend(lines[start:])
    return parts or [(False, lines)]


def _detail(kind, summary, *content):
    start = f'<details class="{kind}"><summary>{html.escape(summary)}</summary>'
    return [nodes.raw("", start, format="html"), *content, nodes.raw("", "</details>", format="html")]


def _title(lines):
    draws = any(re.search(r"\b(plt|figure|axes|axis)\b", line) for line in lines)
    keeps = any(NOTES in line for line in lines)
    what = " and ".join(["drawing"] * draws + ["bookkeeping"] * keeps).capitalize() or "Drawing"
    count = sum(bool(line.strip()) for line in lines)
    return f"{what}, {count} line{'s' * (count > 1)}"


def fold(app, doctree):
    """Fold the drawing and the bookkeeping of a tutorial, and on every page the tests in tables."""
    if app.env.docname.startswith("tutorials/"):
        folds = Folds()
        for block in list(doctree.findall(nodes.literal_block)):
            if block.get("language") == "Python":
                shown = []
                for folded, lines in pieces(block.rawsource or block.astext(), folds):
                    code = "\n".join(lines).strip("\n")
                    part = nodes.literal_block(code, code, language="Python")
                    shown += _detail("folded", _title(lines), part) if folded else [part] if code else []
                block.replace_self(shown)
    for entry in doctree.findall(nodes.entry):
        if TEST.fullmatch(entry.astext()):
            entry.children = _detail("test", "test", *entry.children)


def setup(app):
    app.connect("doctree-read", fold)
    return {"parallel_read_safe": True}
