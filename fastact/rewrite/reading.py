"""From LibCST's nodes to terms.

A reader is given what names mean: which library's function a name stands for, and which variable.
It knows the signatures of the functions whose arguments are written by position or by name, the
methods that are functions, and the operators that have functions of the same meaning.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence

import libcst as cst

from fastact.rewrite.terms import (
    ONE,
    ZERO,
    Apply,
    Call,
    Compare,
    Number,
    Opaque,
    Power,
    Symbol,
    Term,
    negated,
    product,
    total,
)

__all__ = ["Reader", "is_path", "source_of"]

_ROWS = ("a", "axis", "dtype", "out", "keepdims")
_SIGNATURES = {
    "numpy.sum": _ROWS,
    "numpy.max": ("a", "axis", "out", "keepdims"),
    "numpy.clip": ("a", "a_min", "a_max", "out"),
    "numpy.expand_dims": ("a", "axis"),
    "scipy.special.softmax": ("x", "axis"),
    "scipy.special.log_softmax": ("x", "axis"),
    "scipy.special.logsumexp": ("a", "axis", "b", "keepdims"),
    **{f"numpy.{name}": ("x", "out") for name in ("exp", "tanh", "abs", "log")},
    "scipy.special.expit": ("x", "out"),
    "scipy.special.erf": ("x", "out"),
    **{f"numpy.{name}": ("x1", "x2", "out") for name in ("maximum", "minimum", "logaddexp")},
}
#: Other names of functions.
_SAME = {
    "numpy.amax": "numpy.max",
    "numpy.absolute": "numpy.abs",
    "numpy.fmax": "numpy.fmax",
    "builtins.abs": "numpy.abs",
    "numpy.true_divide": "numpy.divide",
    "numpy.core.umath.maximum": "numpy.maximum",
}
_METHODS = {"sum": "numpy.sum", "max": "numpy.max", "clip": "numpy.clip"}
_COMMUTATIVE = {"numpy.maximum", "numpy.minimum", "numpy.logaddexp"}
_CONSTANTS = {
    "numpy.pi": math.pi,
    "math.pi": math.pi,
    "scipy.pi": math.pi,
    "numpy.e": math.e,
    "math.e": math.e,
    "numpy.inf": math.inf,
    "numpy.Inf": math.inf,
    "math.inf": math.inf,
}
_ROOTS = {"numpy.sqrt", "math.sqrt"}
_COMPARISONS: dict[type, tuple[str, bool]] = {
    cst.LessThan: ("<", False),
    cst.LessThanEqual: ("<=", False),
    cst.GreaterThan: ("<", True),
    cst.GreaterThanEqual: ("<=", True),
    cst.Equal: ("==", False),
    cst.NotEqual: ("!=", False),
}
_COMPARING = {
    "numpy.less": ("<", False),
    "numpy.less_equal": ("<=", False),
    "numpy.greater": ("<", True),
    "numpy.greater_equal": ("<=", True),
    "numpy.logical_and": ("&", False),
    "numpy.logical_or": ("|", False),
}
_ARITHMETIC: dict[str, Callable[[Term, Term, cst.BaseExpression], Term]] = {
    "numpy.multiply": lambda a, b, node: product(a, b, node),
    "numpy.divide": lambda a, b, node: product(a, b, node, divide=True),
    "numpy.add": lambda a, b, node: total(a, b, node),
    "numpy.subtract": lambda a, b, node: total(a, negated(b), node),
    "numpy.power": lambda a, b, node: _power(a, b, node),
}


class Reader:
    """Reads expressions as terms.

    ``qualified``: the full name of what a node refers to, or None; ``variable``: the term that a
    name stands for.
    """

    def __init__(
        self,
        qualified: Callable[[cst.BaseExpression], str | None],
        variable: Callable[[cst.BaseExpression], Term],
    ) -> None:
        self.qualified = qualified
        self.variable = variable

    def read(self, node: cst.BaseExpression) -> Term:
        if isinstance(node, cst.Integer | cst.Float):
            return Number(float(node.evaluated_value), isinstance(node, cst.Integer), node=node)
        if isinstance(node, cst.UnaryOperation):
            return self._unary(node)
        if isinstance(node, cst.BinaryOperation):
            return self._binary(node)
        if isinstance(node, cst.Comparison) and len(node.comparisons) == 1:
            (target,) = node.comparisons
            if type(target.operator) in _COMPARISONS:
                operator, swap = _COMPARISONS[type(target.operator)]
                return self._compare(operator, swap, node.left, target.comparator, node)
        if isinstance(node, cst.Name | cst.Attribute):
            return self._name(node)
        if isinstance(node, cst.Call):
            return self._call(node)
        if isinstance(node, cst.Subscript):
            return self._subscript(node)
        if isinstance(node, cst.NamedExpr):  # in patterns only: code that has one is left alone
            return self.variable(node)
        return self._opaque(node)

    # --- names and opaque nodes -------------------------------------------------------------------

    def _name(self, node: cst.Name | cst.Attribute) -> Term:
        if isinstance(node, cst.Name) and node.value in ("True", "False", "None"):
            return Opaque(node.value, (), node=node)
        name = self.qualified(node)
        if name in _CONSTANTS:
            return Number(_CONSTANTS[name], False, node=node)
        if isinstance(node, cst.Attribute) and node.attr.value in ("T", "dtype"):
            return Opaque(f".{node.attr.value}", (self.read(node.value),), node=node)
        if isinstance(node, cst.Name) or name is not None or is_path(node):
            return self.variable(node)
        return Opaque(f".{node.attr.value}", (self.read(node.value),), node=node)

    def _opaque(self, node: cst.BaseExpression) -> Term:
        return Opaque(source_of(node), self._children(node), node=node)

    def _children(self, node: cst.CSTNode) -> tuple[Term, ...]:
        """What an opaque node reads, so that a change of it is noticed."""
        found: list[Term] = []
        for child in node.children:
            if isinstance(child, cst.BaseExpression):
                found.append(self.read(child))
            else:
                found.extend(self._children(child))
        return tuple(found)

    # --- operators --------------------------------------------------------------------------------

    def _unary(self, node: cst.UnaryOperation) -> Term:
        inner = self.read(node.expression)
        if isinstance(node.operator, cst.Minus):
            return negated(inner, node)
        if isinstance(node.operator, cst.Plus):
            return dataclasses.replace(inner, node=node)
        return self._opaque(node)

    def _binary(self, node: cst.BinaryOperation) -> Term:
        if isinstance(node.operator, cst.BitAnd | cst.BitOr):
            operator = "&" if isinstance(node.operator, cst.BitAnd) else "|"
            return self._compare(operator, False, node.left, node.right, node)
        known = (cst.Add, cst.Subtract, cst.Multiply, cst.Divide, cst.Power)
        if not isinstance(node.operator, known):
            return self._opaque(node)
        left, right = self.read(node.left), self.read(node.right)
        if isinstance(node.operator, cst.Add):
            return total(left, right, node)
        if isinstance(node.operator, cst.Subtract):
            return total(left, negated(right), node)
        if isinstance(node.operator, cst.Power):
            return _power(left, right, node)
        return product(left, right, node, divide=isinstance(node.operator, cst.Divide))

    def _compare(
        self,
        operator: str,
        swap: bool,
        left: cst.BaseExpression,
        right: cst.BaseExpression,
        node: cst.BaseExpression,
    ) -> Term:
        a, b = self.read(left), self.read(right)
        if swap:
            a, b = b, a
        return Compare(operator, a, b, node=node)

    # --- calls ------------------------------------------------------------------------------------

    def _call(self, node: cst.Call) -> Term:
        if any(argument.star for argument in node.args):
            return self._opaque(node)
        name = self.qualified(node.func)
        name = _SAME.get(name, name) if name else None
        if name is None and isinstance(node.func, cst.Attribute):
            return self._method(node, node.func)
        positional = [a.value for a in node.args if a.keyword is None]
        keywords = [(a.keyword.value, a.value) for a in node.args if a.keyword is not None]
        if name is None or name.startswith("builtins."):
            if isinstance(node.func, cst.Name) and not keywords:
                function = self.variable(node.func)
                if isinstance(function, Symbol):
                    return Call(function, tuple(map(self.read, positional)), node=node)
            return self._opaque(node)
        if not keywords:
            simple = self._operator(name, positional, node)
            if simple is not None:
                return simple
        return self._apply(name, [self.read(p) for p in positional], keywords, node)

    def _operator(
        self, name: str, arguments: Sequence[cst.BaseExpression], node: cst.Call
    ) -> Term | None:
        """Functions that an operator, or a number, is as good as."""
        if len(arguments) == 1:
            (inner,) = arguments
            if name == "scipy.special.expit":
                below = total(ONE, Apply("numpy.exp", (("x", negated(self.read(inner))),)))
                return product(ONE, below, node, divide=True)
            if name in _ROOTS:
                return _power(self.read(inner), Number(0.5, False), node)
            if name == "numpy.square":
                return _power(self.read(inner), Number(2), node)
            if name == "numpy.negative":
                return negated(self.read(inner), node)
            if name == "numpy.reciprocal":
                return product(ONE, self.read(inner), node, divide=True)
            if name == "numpy.expm1":
                return total(Apply("numpy.exp", (("x", self.read(inner)),)), Number(-1), node)
            if name == "numpy.log1p":
                return Apply("numpy.log", (("x", total(ONE, self.read(inner))),), node=node)
        if len(arguments) == 2:
            left, right = arguments
            if name in _COMPARING:
                operator, swap = _COMPARING[name]
                return self._compare(operator, swap, left, right, node)
            if name in _ARITHMETIC:
                return _ARITHMETIC[name](self.read(left), self.read(right), node)
        return None

    def _apply(
        self,
        name: str,
        positional: list[Term],
        keywords: list[tuple[str, cst.BaseExpression]],
        node: cst.Call,
    ) -> Term:
        names = _SIGNATURES.get(name, ())
        arguments = {
            names[i] if i < len(names) else str(i): term for i, term in enumerate(positional)
        }
        for keyword, value in keywords:
            arguments[keyword] = self.read(value)
        for name_, usual in (("keepdims", "False"), ("axis", "None"), ("out", "None")):
            if arguments.get(name_) == Opaque(usual):
                del arguments[name_]
        swaps = name in _COMMUTATIVE and {"x1", "x2"} <= set(arguments)
        if swaps and isinstance(arguments["x1"], Number):  # a number goes last
            arguments["x1"], arguments["x2"] = arguments["x2"], arguments["x1"]
        reduces = name in ("numpy.sum", "numpy.max")
        if reduces and set(arguments) == {"a", "axis"} and arguments["axis"] == ZERO:
            arguments["keepdims"] = _TRUE  # without its first axis it broadcasts as with it
        if reduces and set(arguments) == {"a", "keepdims"}:
            del arguments["keepdims"]  # one number broadcasts with or without axes
        if name == "numpy.expand_dims":
            return _expanded(arguments.get("a"), arguments.get("axis"), node) or self._opaque(node)
        return Apply(name, tuple(sorted(arguments.items())), node=node)

    def _method(self, node: cst.Call, function: cst.Attribute) -> Term:
        method = function.attr.value
        keywords = [(a.keyword.value, a.value) for a in node.args if a.keyword is not None]
        positional = [a.value for a in node.args if a.keyword is None]
        if method == "reshape":
            return self._reshape(node, function, positional)
        if method == "astype" and len(positional) == 1 and not keywords:
            kind = self.qualified(positional[0])
            of = Opaque(kind) if kind else self.read(positional[0])
            return Apply("astype", (("a", self.read(function.value)), ("dtype", of)), node=node)
        if method in _METHODS:
            operand = self.read(function.value)
            arguments = [operand, *map(self.read, positional)]
            return self._apply(_METHODS[method], arguments, keywords, node)
        return self._opaque(node)

    def _reshape(
        self, node: cst.Call, function: cst.Attribute, shape: list[cst.BaseExpression]
    ) -> Term:
        """``rows.sum(axis=1).reshape(-1, 1)`` is a sum that keeps its axis."""
        inner = self.read(function.value)
        if len(shape) == 1 and isinstance(shape[0], cst.Tuple):
            shape = [element.value for element in shape[0].elements]
        sizes = [self.read(size) for size in shape]
        if sizes == [Number(-1), ONE] or (len(sizes) == 2 and sizes[1] == ONE):
            kept = _expanded(inner, ONE, node)
            if kept is not None:
                return kept
        return self._opaque(node)

    def _subscript(self, node: cst.Subscript) -> Term:
        """``rows.sum(axis=1)[:, None]`` is a sum that keeps its axis."""
        inner = self.read(node.value)
        axis = {":,None": ONE, "...,None": Number(-1)}.get(self._index(node))
        kept = _expanded(inner, axis, node) if axis is not None else None
        return kept or Opaque(
            f"[{self._index(node)}]", (inner, *self._children(node)[1:]), node=node
        )

    def _index(self, node: cst.Subscript) -> str:
        texts = []
        for element in node.slice:
            index = element.slice
            value = index.value if isinstance(index, cst.Index) else None
            new_axis = value is not None and self.qualified(value) == "numpy.newaxis"
            texts.append("None" if new_axis else source_of(index))
        return ",".join(texts)


_TRUE = Opaque("True")


def is_path(node: cst.BaseExpression) -> bool:
    """Whether it is of the form ``a.b.c``."""
    while isinstance(node, cst.Attribute):
        node = node.value
    return isinstance(node, cst.Name)


def _expanded(term: Term | None, axis: Term | None, node: cst.BaseExpression) -> Term | None:
    """A sum or maximum along that axis, to which the axis is given back."""
    if (
        isinstance(term, Apply)
        and term.function in ("numpy.sum", "numpy.max")
        and {name for name, _ in term.arguments} == {"a", "axis"}
        and term.argument("axis") == axis
    ):
        return Apply(term.function, (*term.arguments, ("keepdims", _TRUE)), node=node)
    return None


def _power(base: Term, exponent: Term, node: cst.BaseExpression | None) -> Term:
    if isinstance(exponent, Number):
        if isinstance(base, Number) and base.value >= 0:
            value = base.value**exponent.value if base.value or exponent.value > 0 else math.inf
            return Number(value, base.integral and exponent.integral, node=node)
        if exponent.value == -1:
            return product(ONE, base, node, divide=True)
        if exponent.value == 1:
            return base
    return Power(base, exponent, node=node)


def source_of(node: cst.CSTNode) -> str:
    """How a node is written, but for blanks and comments; equal texts mean the same."""
    text = cst.Module([]).code_for_node(node)
    if any(mark in text for mark in "\"'#"):
        return text
    return re.sub(r"\s*([^\w\s])\s*", r"\1", " ".join(text.split()))
