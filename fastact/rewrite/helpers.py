"""Functions of the file itself that do nothing but compute: ``def sigmoid(x): ...``.

A call of one means what its body does, so ``z * sigmoid(z)`` is silu.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import libcst as cst

from fastact.rewrite.flow import assigned_name
from fastact.rewrite.names import Names
from fastact.rewrite.operands import is_pure
from fastact.rewrite.reading import Reader
from fastact.rewrite.terms import (
    Call,
    Opaque,
    Product,
    Sum,
    Symbol,
    Term,
    product,
    replaced,
    subterms,
    total,
)

__all__ = ["Helpers"]


class Helpers:
    """The module's functions whose bodies are assignments and a ``return``."""

    def __init__(self, module: cst.Module, names: Names) -> None:
        self._names = names
        found: dict[str, list[cst.FunctionDef]] = {}
        for statement in module.body:
            if isinstance(statement, cst.FunctionDef):
                found.setdefault(statement.name.value, []).append(statement)
        self._functions = {name: many[0] for name, many in found.items() if len(many) == 1}
        self._meanings: dict[str, tuple[list[str], Term] | None] = {}

    def is_known(self, node: cst.Call) -> bool:
        """Whether a call is of such a function."""
        function = node.func
        return (
            isinstance(function, cst.Name)
            and self._names.is_global(function)
            and self._meaning(function.value) is not None
        )

    def expand(self, term: Term) -> tuple[object, Term] | None:
        """What a call of such a function means, and by what it is known again."""
        if not isinstance(term, Call) or not isinstance(term.node, cst.Call):
            return None
        if not self.is_known(term.node):
            return None
        meaning = self._meaning(term.function.name)
        if meaning is None or len(meaning[0]) != len(term.arguments):
            return None
        given = dict(zip(meaning[0], term.arguments, strict=True))
        return term.function.name, _replaced(meaning[1], given)

    def _meaning(self, name: str) -> tuple[list[str], Term] | None:
        if name not in self._meanings:
            self._meanings[name] = None  # for a function that calls itself
            function = self._functions.get(name)
            if function is not None:
                self._meanings[name] = self._read(function)
        return self._meanings[name]

    def _read(self, function: cst.FunctionDef) -> tuple[list[str], Term] | None:
        parameters = function.params
        simple = not (parameters.kwonly_params or parameters.star_kwarg or function.decorators)
        if not simple or not isinstance(parameters.star_arg, cst.MaybeSentinel):
            return None
        if any(parameter.default is not None for parameter in parameters.params):
            return None
        if not isinstance(function.body, cst.IndentedBlock):
            return None
        names = [parameter.name.value for parameter in parameters.params]
        values: dict[str, Term] = {name: Symbol(name) for name in names}
        reader = Reader(self._names.qualified, lambda node: _value(node, values))
        for statement in function.body.body:
            if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
                return None
            (small,) = statement.body
            if isinstance(small, cst.Expr) and isinstance(small.value, cst.SimpleString):
                continue
            name = assigned_name(statement)
            value = small.value if isinstance(small, cst.Assign | cst.Return) else None
            if value is None or not is_pure(value, self._names.qualified):
                return None
            term = reader.read(value)
            if isinstance(small, cst.Return):
                known = all(s.name in names for s in subterms(term) if isinstance(s, Symbol))
                return (names, term) if known else None
            if name is None:
                return None
            values[name] = term
        return None


def _value(node: cst.BaseExpression, values: Mapping[str, Term]) -> Term:
    if isinstance(node, cst.Name):
        return values.get(node.value, Opaque(f"global {node.value}"))
    return Opaque(cst.Module([]).code_for_node(node), (Symbol("?"),))


def _replaced(term: Term, given: Mapping[str, Term]) -> Term:
    """The term with arguments in place of parameters, in normal form again."""

    def with_arguments(part: Term) -> Term | None:
        if isinstance(part, Symbol):
            return given[part.name]
        if isinstance(part, Product):
            result: Term = dataclasses.replace(part.coefficient, node=None)
            for factor in part.factors:
                result = product(result, replaced(factor, with_arguments))
            for divisor in part.divisors:
                result = product(result, replaced(divisor, with_arguments), divide=True)
            return result
        if isinstance(part, Sum):
            result = dataclasses.replace(part.constant, node=None)
            for summand in part.terms:
                result = total(result, replaced(summand, with_arguments))
            return result
        return None

    return replaced(term, with_arguments)
