"""Statements that change an array where a condition holds, as terms.

``x[x < 0] = 0`` reads as an application of "assign" to x, the condition and the value.
"""

from __future__ import annotations

import libcst as cst

from fastact.rewrite.reading import Reader
from fastact.rewrite.terms import Apply, Compare, Term

__all__ = ["read_in_place"]


def read_in_place(statement: cst.BaseSmallStatement, reader: Reader) -> Term | None:
    """The statement's term, or None for any other statement."""
    if isinstance(statement, cst.Assign) and len(statement.targets) == 1:
        target, function = statement.targets[0].target, "assign"
    elif isinstance(statement, cst.AugAssign) and isinstance(
        statement.operator, cst.MultiplyAssign
    ):
        target, function = statement.target, "multiply"
    else:
        return None
    if isinstance(target, cst.Subscript):
        return _where(target, function, statement.value, reader)
    if function == "multiply" and isinstance(target, cst.Name | cst.Attribute):
        value = reader.read(statement.value)
        if isinstance(value, Compare):
            return Apply("mask", (("array", reader.read(target)), ("value", value)))
    return None


def _where(
    target: cst.Subscript, function: str, value: cst.BaseExpression, reader: Reader
) -> Term | None:
    if len(target.slice) != 1 or not isinstance(target.value, cst.Name | cst.Attribute):
        return None
    index = target.slice[0].slice
    condition = reader.read(index.value) if isinstance(index, cst.Index) else None
    if not isinstance(condition, Compare):
        return None
    return Apply(
        function,
        (
            ("array", reader.read(target.value)),
            ("condition", condition),
            ("value", reader.read(value)),
        ),
    )
