"""Where ``import fastact as fa`` goes."""

from __future__ import annotations

import libcst as cst

from fastact.rewrite.text import Edit, Text

__all__ = ["import_edit"]


def import_edit(module: cst.Module, text: Text, alias: str) -> Edit:
    """Before the import of NumPy, where fastact's comes in order of the alphabet.

    If that has a comment above it, after it; if NumPy is not imported at the top level, after the
    imports with which the file begins.
    """
    line = "import fastact" if alias == "fastact" else f"import fastact as {alias}"
    line += module.default_newline
    after: cst.BaseStatement | None = None
    for statement in module.body:
        if not isinstance(statement, cst.SimpleStatementLine):
            break
        first = statement.body[0]
        if _imports_numpy(first):
            start, end = text.whole_lines(statement)
            above = any(leading.comment for leading in statement.leading_lines)
            own_line = len(statement.body) == 1 and not above and statement is not module.body[0]
            return Edit(start, start, line) if own_line else _after(end, line, text)
        documents = isinstance(first, cst.Expr) and isinstance(
            first.value, cst.SimpleString | cst.ConcatenatedString
        )
        if documents or isinstance(first, cst.Import | cst.ImportFrom):
            after = statement
        elif after is not None:
            break
    if after is not None:
        return _after(text.whole_lines(after)[1], line, text)
    start = text.whole_lines(module.body[0])[0] if module.body else 0
    return Edit(start, start, line)


def _after(end: int, line: str, text: Text) -> Edit:
    broken = text.source[end - 1 : end] == b"\n"
    return Edit(end, end, line if broken else "\n" + line.rstrip("\r\n"))


def _imports_numpy(statement: cst.BaseSmallStatement) -> bool:
    if isinstance(statement, cst.Import):
        return any(cst.Module([]).code_for_node(a.name) == "numpy" for a in statement.names)
    if isinstance(statement, cst.ImportFrom) and statement.module is not None:
        return cst.Module([]).code_for_node(statement.module) == "numpy"
    return False
