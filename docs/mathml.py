"""A small Sphinx extension: formulas as MathML, which browsers draw themselves, without a script or a network."""

from docutils import nodes
from latex2mathml.converter import convert


def renderer(display):
    """A visitor that writes a formula; `display` is "inline" or "block"."""

    def visit(translator, node):
        formula = convert(node.astext(), display=display)
        if "\\" in formula:  # latex2mathml lets through what it does not know
            raise ValueError(f"not a formula for latex2mathml: {node.astext()}")
        tag = {"inline": "span", "block": "div"}[display]
        translator.body.append(f'<{tag} class="math">{formula}</{tag}>')
        raise nodes.SkipNode

    return visit


def setup(app):
    app.add_html_math_renderer("mathml", (renderer("inline"), None), (renderer("block"), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
