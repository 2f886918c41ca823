"""Formulas as MathML, by docutils: no script, no font and no network are needed to read them."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

__all__ = ["mathml", "setup"]


def mathml(tex: str, block: bool = False) -> str:
    return str(tex2mathml(tex, as_block=block))


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    tag = translator.starttag(node, "div", CLASS="math")
    translator.body.append(f"{tag}{mathml(node.astext(), block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
