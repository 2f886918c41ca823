"""Expressions in a normal form, so that what means the same looks the same.

``x / 2``, ``0.5 * x`` and ``np.multiply(x, 0.5)`` are one product; ``0 < x`` is ``x > 0``, and
``x.sum(1)`` is ``np.sum(x, axis=1)``. A sum has a constant and terms, a product a coefficient and
factors above and below the line. Whatever has no form of its own is opaque, and equals what is
written the same.

Terms of code remember the node that they were read from, whose text goes into the new code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import libcst as cst

__all__ = [
    "Apply",
    "ONE",
    "ZERO",
    "Call",
    "Compare",
    "Meta",
    "Number",
    "Opaque",
    "Power",
    "Product",
    "Sum",
    "Symbol",
    "Term",
    "negated",
    "as_product",
    "as_sum",
    "product",
    "replaced",
    "subterms",
    "total",
]


@dataclasses.dataclass(frozen=True)
class Term:
    """A node of an expression; subclasses say of which kind."""

    node: cst.BaseExpression | None = dataclasses.field(
        default=None, compare=False, repr=False, kw_only=True
    )

    @property
    def parts(self) -> tuple[Term, ...]:
        return ()


@dataclasses.dataclass(frozen=True)
class Number(Term):
    """A constant; ``integral``: all literals in it are integers."""

    value: float
    integral: bool = dataclasses.field(default=True, compare=False)


@dataclasses.dataclass(frozen=True)
class Meta(Term):
    """Stands for any term, in a pattern."""

    name: str


@dataclasses.dataclass(frozen=True)
class Symbol(Term):
    """A variable, or an attribute of one; ``version`` tells apart what it is at different times."""

    name: str
    version: Hashable = 0


@dataclasses.dataclass(frozen=True)
class Apply(Term):
    """A call of a library's function, by its full name, arguments by their names or positions."""

    function: str
    arguments: tuple[tuple[str, Term], ...]

    @property
    def parts(self) -> tuple[Term, ...]:
        return tuple(value for _, value in self.arguments)

    def argument(self, name: str) -> Term | None:
        return dict(self.arguments).get(name)


@dataclasses.dataclass(frozen=True)
class Call(Term):
    """A call of one of the file's own functions by its name, with positional arguments."""

    function: Symbol
    arguments: tuple[Term, ...]

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.function, *self.arguments)


@dataclasses.dataclass(frozen=True)
class Opaque(Term):
    """Anything else: what it is written with, and the terms in it."""

    text: str
    inside: tuple[Term, ...] = ()

    @property
    def parts(self) -> tuple[Term, ...]:
        return self.inside


@dataclasses.dataclass(frozen=True)
class Compare(Term):
    """left < right or left <= right, or for ``==``, ``!=``, ``&`` and ``|`` in either order."""

    operator: str
    left: Term
    right: Term

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.left, self.right)


@dataclasses.dataclass(frozen=True)
class Power(Term):
    base: Term
    exponent: Term

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.base, self.exponent)


@dataclasses.dataclass(frozen=True)
class Product(Term):
    """coefficient * factors / divisors"""

    coefficient: Number
    factors: tuple[Term, ...]
    divisors: tuple[Term, ...] = ()

    @property
    def parts(self) -> tuple[Term, ...]:
        return (*self.factors, *self.divisors)


@dataclasses.dataclass(frozen=True)
class Sum(Term):
    """constant + terms"""

    constant: Number
    terms: tuple[Term, ...]

    @property
    def parts(self) -> tuple[Term, ...]:
        return self.terms


ONE, ZERO = Number(1), Number(0)


def subterms(term: Term) -> Iterator[Term]:
    yield term
    for part in term.parts:
        yield from subterms(part)


def replaced(term: Term, replacement: Callable[[Term], Term | None]) -> Term:
    """The term with what ``replacement`` gives in place of its parts, where it gives something.

    What has changed is not what any node says.
    """
    new = replacement(term)
    if new is not None:
        return new
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(term):
        value = getattr(term, field.name)
        if isinstance(value, Term):
            changes[field.name] = replaced(value, replacement)
        elif isinstance(value, tuple):
            changes[field.name] = tuple(_replaced_part(part, replacement) for part in value)
    if all(value == getattr(term, name) for name, value in changes.items()):
        return term
    return dataclasses.replace(term, **changes, node=None)


def _replaced_part(part: Any, replacement: Callable[[Term], Term | None]) -> Any:
    if isinstance(part, Term):
        return replaced(part, replacement)
    if isinstance(part, tuple):  # an argument, with its name
        return part[0], replaced(part[1], replacement)
    return part


def _fold(a: Number, b: Number, operation: Callable[[float, float], float], keep: Number) -> Number:
    """A constant from two, with the text of one where the other changes nothing."""
    if a == keep:
        return b
    if b == keep:
        return a
    return Number(operation(a.value, b.value), a.integral and b.integral)


def as_product(term: Term) -> Product:
    if isinstance(term, Product):
        return term
    if isinstance(term, Number):
        return Product(term, ())
    return Product(ONE, (term,))


def as_sum(term: Term) -> Sum:
    if isinstance(term, Sum):
        return term
    if isinstance(term, Number):
        return Sum(term, ())
    return Sum(ZERO, (term,))


def product(left: Term, right: Term, node: Any = None, *, divide: bool = False) -> Term:
    """left * right, or left / right."""
    a, b = as_product(left), as_product(right)
    if divide:
        value = b.coefficient.value
        if value == 0:
            return Product(a.coefficient, a.factors, (*a.divisors, right), node=node)
        inverse = b.coefficient if b.coefficient == ONE else Number(1 / value, False)
        b = Product(inverse, b.divisors, b.factors)
    coefficient = _fold(a.coefficient, b.coefficient, lambda p, q: p * q, ONE)
    factors, divisors = (*a.factors, *b.factors), (*a.divisors, *b.divisors)
    if not factors and not divisors:
        return dataclasses.replace(coefficient, node=node or coefficient.node)
    if len(factors) == 2 and factors[0] == factors[1] and not divisors:
        power = Power(factors[0], Number(2), node=node)
        return power if coefficient == ONE else Product(coefficient, (power,), (), node=node)
    lone = coefficient == ONE and len(factors) == 1 and not divisors
    # 1.0 * (x > 0) makes numbers of truth values.
    if lone and not isinstance(factors[0], Compare):
        return _at(factors[0], node)
    return Product(coefficient, factors, divisors, node=node)


def _at(term: Term, node: Any) -> Term:
    """The same term, read from ``node``."""
    return dataclasses.replace(term, node=node) if node is not None else term


def negated(term: Term, node: Any = None) -> Term:
    if isinstance(term, Sum):
        return Sum(_minus(term.constant), tuple(negated(part) for part in term.terms), node=node)
    if isinstance(term, Number):
        return dataclasses.replace(_minus(term), node=node)
    whole = as_product(term)
    coefficient = _minus(whole.coefficient)
    if coefficient == ONE and len(whole.factors) == 1 and not whole.divisors:
        return _at(whole.factors[0], node)
    return Product(coefficient, whole.factors, whole.divisors, node=node)


def _minus(number: Number) -> Number:
    return Number(-number.value, number.integral)


def total(left: Term, right: Term, node: Any = None) -> Term:
    """left + right"""
    a, b = as_sum(left), as_sum(right)
    constant = _fold(a.constant, b.constant, lambda p, q: p + q, ZERO)
    terms = (*a.terms, *b.terms)
    if not terms:
        return dataclasses.replace(constant, node=node)
    if constant == ZERO and len(terms) == 1:
        return _at(terms[0], node)
    return Sum(constant, terms, node=node)
