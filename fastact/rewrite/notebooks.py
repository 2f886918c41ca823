"""Jupyter notebooks: their code cells, one after the other, are one source.

Lines that are not Python but IPython's (``%matplotlib inline``, ``!pip install``) and cells that
cannot be parsed are comments in it, of the same number of lines.
"""

from __future__ import annotations

import json
import re
from typing import Any

import libcst as cst

from fastact.rewrite.source import Options, Rewritten, rewrite_source

__all__ = ["rewrite_notebook"]

_SEPARATOR = "# fastact: the next cell\n"
_HIDDEN = "# fastact: hidden: "
_MAGIC = re.compile(r"^\s*[%!?]|^[^#'\"]*\?\s*$")


def rewrite_notebook(text: str, options: Options) -> Rewritten:
    """As ``rewrite_source``, of a notebook's JSON; line numbers count lines of code.

    Raises
    ------
    SyntaxError
        If it is no notebook.
    """
    try:
        notebook = json.loads(text)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise SyntaxError(f"not a notebook: {error}") from None
    joined = _SEPARATOR.join(_as_python(source) for source in sources)
    done = rewrite_source(joined, options)
    if done.source == joined:
        return Rewritten(text, done.findings)
    for cell, old, new in zip(cells, sources, done.source.split(_SEPARATOR), strict=True):
        code = _as_written(new)
        if not old.endswith("\n"):
            code = code.removesuffix("\n")
        if code != old:
            whole = isinstance(cell["source"], str)
            cell["source"] = code if whole else code.splitlines(keepends=True)
    return Rewritten(_dumped(notebook, text), done.findings)


def code_of(text: str) -> str:
    """All code of a notebook, for differences that people read."""
    cells: list[Any] = json.loads(text)["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "".join(source if source.endswith("\n") else f"{source}\n" for source in code if source)


def _as_python(source: str) -> str:
    lines = source.split("\n")
    if lines[0].startswith("%%"):
        return "".join(f"{_HIDDEN}{line}\n" for line in lines)
    code = "\n".join(f"{_HIDDEN}{line}" if _MAGIC.match(line) else line for line in lines) + "\n"
    try:
        cst.parse_module(code)
    except cst.ParserSyntaxError:
        return "".join(f"{_HIDDEN}{line}\n" for line in lines)
    return code


def _as_written(code: str) -> str:
    return code.replace(_HIDDEN, "")


def _dumped(notebook: Any, like: str) -> str:
    """JSON in the form that the file had."""
    indented = re.search(r"\n( +|\t+)\"", like)
    text = json.dumps(
        notebook,
        indent=indented[1] if indented else None,
        ensure_ascii=like.isascii(),
        separators=(",", ": ") if indented else None,
    )
    return text + "\n" if like.endswith("\n") else text
