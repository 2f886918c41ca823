"""Formulas that only choose among their operands and constants, made ready to work on stored bits.

Such a formula, relu for instance, needs no arithmetic. In half precision its operands need not be
converted to float32 and back then: their bits are compared, and chosen among, as they are stored.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

import numpy as np

from fastact.catalogue.dtypes import Kind
from fastact.source.formulas import Formula, called

__all__ = ["choices_source"]

_COMPARISONS = {
    ast.Lt: "less",
    ast.LtE: "less_or_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_or_equal",
}


def choices_source(formula: Formula, kind: Kind, slope: bool = False) -> str:
    """``value(x, ...)`` on the bits that a half type is stored in; "" if the formula does more.

    With ``slope`` the formula is a derivative, which is 0 or 1, and the source ``value(grad, x,
    ...)``.
    """
    assert formula.function is not None
    tree = ast.parse(textwrap.dedent(inspect.getsource(formula.function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    numbers = _Numbers(formula, kind)
    try:
        value = numbers.outcome(_only_expression(tree), slope)
    except _DoesMoreError:
        return ""
    names = [a.arg for a in tree.args.args if a.arg not in formula.constants]
    arguments = ", ".join(["grad", *names] if slope else names)
    return f"@formula\ndef value({arguments}):\n    return {ast.unparse(value)}\n"


def _only_expression(tree: ast.FunctionDef) -> ast.expr:
    match tree.body:
        case [ast.Return(value=ast.expr() as value)]:
            return value
    raise _DoesMoreError


class _DoesMoreError(Exception):
    """A formula has something in it that is neither a choice nor a number."""


class _Numbers:
    """Makes expressions of bits out of a formula's expressions of numbers."""

    def __init__(self, formula: Formula, kind: Kind) -> None:
        self.constants = formula.constants
        self.kind = kind

    def outcome(self, node: ast.expr, slope: bool) -> ast.expr:
        """What a formula is; a ``slope`` of 1 stands for ``grad``."""
        if isinstance(node, ast.IfExp):
            chosen = (self.outcome(branch, slope) for branch in (node.body, node.orelse))
            return called("select", self.condition(node.test), *chosen)
        if not slope:
            return self.operand(node)
        if self.number(node) == 1:
            return ast.Name("grad", ast.Load())
        if self.number(node) == 0:
            return self.bits(0)
        raise _DoesMoreError

    def condition(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            return ast.BinOp(self.condition(node.left), node.op, self.condition(node.right))
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
            (right,) = node.comparators
            operands = self.operand(node.left), self.operand(right)
            return called(_COMPARISONS[type(node.ops[0])], *operands)
        raise _DoesMoreError

    def operand(self, node: ast.expr) -> ast.expr:
        number = self.number(node)
        if number is not None:
            return self.bits(number)
        if isinstance(node, ast.Name):
            return node
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return called("negative", self.operand(node.operand))
        raise _DoesMoreError

    def number(self, node: ast.expr) -> float | None:
        """The number that an expression is, if it is one."""
        if isinstance(node, ast.Name):
            return self.constants.get(node.id)
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            number = self.number(node.operand)
            return None if number is None else -number
        return None

    def bits(self, number: float) -> ast.expr:
        """The source of a number's bits."""
        with np.errstate(over="ignore", under="ignore"):
            if self.kind.name == "float16":
                near = float(np.float16(number))
                bits, rest = int(np.float16(number).view(np.uint16)), 0
            else:
                near = float(np.float32(number))
                bits, rest = divmod(int(np.float32(number).view(np.uint32)), 1 << 16)
        if near != number or rest:
            raise _DoesMoreError
        return called("T", ast.Constant(bits))
