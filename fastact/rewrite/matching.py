"""Does a term of code have the form of a pattern, and what do the pattern's names then stand for?

Sums, products and comparisons match in any order. A name that has matched something must match the
same wherever else it stands; in a sum or product it may stand for several terms or factors. A
variable of the code that is defined nearby, or a call of a function that is, matches what it is
defined as where the pattern wants something that it is not itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from fastact.rewrite.terms import (
    ONE,
    ZERO,
    Apply,
    Compare,
    Meta,
    Number,
    Opaque,
    Power,
    Product,
    Sum,
    Term,
    as_product,
    as_sum,
    negated,
)

__all__ = ["Expansion", "Match", "match"]

#: A constant with more digits than this is one that people write rounded, such as sqrt(2 / pi).
SHORT = 6
#: How far it may be off then, relatively: 0.7979, 1.0507 and 1.6733 are in use.
ROUNDED = 5e-5

#: Names in patterns that never stand for a number.
ARRAYS = {"x", "y", "grad", "gate", "up"}

#: What a term is defined as: the definition, by which it is known again, and the term.
Expansion = Callable[[Term], "tuple[object, Term] | None"]


@dataclasses.dataclass(frozen=True)
class Match:
    """What names stand for, and what was found out on the way.

    ``expanded``: definitions that were looked into; ``floats``: a float stands where the pattern
    has an integer; ``rounded``: a constant has fewer digits than the pattern's.
    """

    names: Mapping[str, Term] = dataclasses.field(default_factory=dict)
    expanded: frozenset[object] = frozenset()
    floats: bool = False
    rounded: bool = False


def match(pattern: Term, term: Term, expansion: Expansion) -> Iterator[Match]:
    """All ways in which ``term`` has the form of ``pattern``."""
    return _match(pattern, term, Match(), expansion)


def _match(pattern: Term, term: Term, so_far: Match, expansion: Expansion) -> Iterator[Match]:
    if isinstance(pattern, Meta):
        yield from _bind(pattern.name, term, so_far)
        return
    for candidate, known in _readings(term, so_far, expansion):
        if isinstance(pattern, Number):
            yield from _number(pattern, candidate, known)
        elif isinstance(pattern, Product):
            yield from _product(pattern, as_product(candidate), known, expansion)
        elif isinstance(pattern, Sum):
            yield from _sum(pattern, as_sum(candidate), known, expansion)
        elif isinstance(pattern, Compare):
            yield from _compare(pattern, candidate, known, expansion)
        elif isinstance(pattern, Power) and isinstance(candidate, Power):
            for found in _match(pattern.exponent, candidate.exponent, known, expansion):
                yield from _match(pattern.base, candidate.base, found, expansion)
        elif isinstance(pattern, Apply):
            yield from _apply(pattern, candidate, known, expansion)
        elif isinstance(pattern, Opaque):
            yield from _opaque(pattern, candidate, known, expansion)


def _readings(term: Term, so_far: Match, expansion: Expansion) -> Iterator[tuple[Term, Match]]:
    """The term as it is, and with definitions in place of what they define."""
    yield term, so_far
    definition = expansion(term)
    if definition is not None:
        key, meaning = definition
        known = dataclasses.replace(so_far, expanded=so_far.expanded | {key})
        yield from _readings(meaning, known, expansion)
    if isinstance(term, Product):
        for i, factor in enumerate(term.factors):
            definition = expansion(factor)
            if definition is not None:
                key, meaning = definition
                known = dataclasses.replace(so_far, expanded=so_far.expanded | {key})
                rest = dataclasses.replace(
                    term, factors=(*term.factors[:i], *term.factors[i + 1 :])
                )
                whole = _times(rest, as_product(meaning))
                yield from _readings(whole, known, expansion)
    if isinstance(term, Sum):
        for i, part in enumerate(term.terms):
            sign = isinstance(part, Product) and part.coefficient == Number(-1)
            inner = negated(part) if sign else part
            definition = expansion(inner)
            if definition is not None:
                key, meaning = definition
                known = dataclasses.replace(so_far, expanded=so_far.expanded | {key})
                meaning = as_sum(negated(meaning) if sign else meaning)
                constant = Number(term.constant.value + meaning.constant.value)
                terms = (*term.terms[:i], *term.terms[i + 1 :], *meaning.terms)
                yield from _readings(Sum(constant, terms), known, expansion)


def _times(a: Product, b: Product) -> Product:
    coefficient = b.coefficient if a.coefficient == ONE else a.coefficient
    if a.coefficient != ONE and b.coefficient != ONE:
        value = a.coefficient.value * b.coefficient.value
        coefficient = Number(value, a.coefficient.integral and b.coefficient.integral)
    return Product(coefficient, (*a.factors, *b.factors), (*a.divisors, *b.divisors))


def _bind(name: str, term: Term, so_far: Match) -> Iterator[Match]:
    bound = so_far.names.get(name)
    number = isinstance(term, Number)
    if (number and name in ARRAYS) or (not number and name.isupper()):
        return
    if bound is None:
        yield dataclasses.replace(so_far, names={**so_far.names, name: term})
    elif bound == term:
        yield so_far


def _number(pattern: Number, term: Term, so_far: Match) -> Iterator[Match]:
    if not isinstance(term, Number):
        return
    floats = so_far.floats or (pattern.integral and not term.integral)
    if not pattern.integral and term.integral and float(pattern.value).is_integer():
        return
    if pattern.value == term.value:
        yield dataclasses.replace(so_far, floats=floats)
    elif len(f"{pattern.value!r}".strip("-0.").replace(".", "")) > SHORT and math.isclose(
        pattern.value, term.value, rel_tol=ROUNDED
    ):
        rounded = not math.isclose(pattern.value, term.value, rel_tol=1e-14)
        yield dataclasses.replace(so_far, floats=floats, rounded=so_far.rounded or rounded)


def _compare(pattern: Compare, term: Term, so_far: Match, expansion: Expansion) -> Iterator[Match]:
    if not isinstance(term, Compare) or pattern.operator != term.operator:
        return
    yield from _all(pattern.parts, term.parts, so_far, expansion)
    if pattern.operator in "&|==!=":
        yield from _all(pattern.parts, term.parts[::-1], so_far, expansion)


def _opaque(pattern: Opaque, term: Term, so_far: Match, expansion: Expansion) -> Iterator[Match]:
    if isinstance(term, Opaque) and pattern.text == term.text:
        yield from _all(pattern.inside, term.inside, so_far, expansion)


def _apply(pattern: Apply, term: Term, so_far: Match, expansion: Expansion) -> Iterator[Match]:
    if not isinstance(term, Apply) or pattern.function != term.function:
        return
    if [name for name, _ in pattern.arguments] == [name for name, _ in term.arguments]:
        yield from _all(pattern.parts, term.parts, so_far, expansion)


def _all(
    patterns: Sequence[Term], terms: Sequence[Term], so_far: Match, expansion: Expansion
) -> Iterator[Match]:
    """Each pattern by the term in its place."""
    if not patterns or len(patterns) != len(terms):
        if not patterns and not terms:
            yield so_far
        return
    for found in _match(patterns[0], terms[0], so_far, expansion):
        yield from _all(patterns[1:], terms[1:], found, expansion)


# --- sums and products ----------------------------------------------------------------------------


def _product(
    pattern: Product, term: Product, so_far: Match, expansion: Expansion
) -> Iterator[Match]:
    names = [part for part in pattern.factors if isinstance(part, Meta)]
    others = [part for part in pattern.factors if not isinstance(part, Meta)]
    for above, factors in _some(others, term.factors, so_far, expansion):
        for known, divisors in _some(pattern.divisors, term.divisors, above, expansion):
            left = Product(ONE, tuple(factors), tuple(divisors))
            for exact in _number(pattern.coefficient, term.coefficient, known):
                yield from _names_in_product(names, left, exact)
            if abs(pattern.coefficient.value) == 1 and pattern.coefficient != term.coefficient:
                rest = dataclasses.replace(left, coefficient=_quotient(term, pattern))
                yield from _names_in_product(names, rest, known)


def _quotient(term: Product, pattern: Product) -> Number:
    """What a name takes of the coefficient."""
    if pattern.coefficient == ONE:
        return term.coefficient
    return Number(-term.coefficient.value, term.coefficient.integral)


def _names_in_product(names: list[Meta], left: Product, so_far: Match) -> Iterator[Match]:
    """Names that are factors by themselves take what is left, all of it."""
    free = []
    for name in names:
        value = so_far.names.get(name.name)
        if value is None:
            free.append(name)
            continue
        remaining = _without(left, value)
        if remaining is None:
            return
        left = remaining
    if free:
        yield from _share(free, left, so_far)
    elif left == Product(ONE, ()):
        yield so_far


def _without(whole: Product, value: Term) -> Product | None:
    """The product without factors that are ``value``, or None if they are not all in it."""
    remaining = list(whole.factors)
    if value in remaining:
        remaining.remove(value)
        return dataclasses.replace(whole, factors=tuple(remaining))
    other = as_product(value)
    coefficient = whole.coefficient
    if other.coefficient != ONE:
        if other.coefficient != coefficient:
            return None
        coefficient = ONE
    divisors = list(whole.divisors)
    for parts, wanted in ((remaining, other.factors), (divisors, other.divisors)):
        for factor in wanted:
            if factor not in parts:
                return None
            parts.remove(factor)
    return Product(coefficient, tuple(remaining), tuple(divisors))


def _share(free: list[Meta], left: Product, so_far: Match) -> Iterator[Match]:
    """Each name takes something, and one of them several factors."""
    name, others = free[0].name, free[1:]
    if not others:
        rest = _simple(left)
        if rest != ONE:
            yield from _bind(name, rest, so_far)
        return
    if left.coefficient != ONE and left.coefficient != Number(-1):
        without = dataclasses.replace(left, coefficient=ONE)
        for known in _bind(name, left.coefficient, so_far):
            yield from _share(others, without, known)
    for i, factor in enumerate(left.factors):
        rest = dataclasses.replace(left, factors=(*left.factors[:i], *left.factors[i + 1 :]))
        for known in _bind(name, factor, so_far):
            yield from _share(others, rest, known)
        if len(others) == 1 and _simple(rest) != ONE:
            for known in _bind(others[0].name, factor, so_far):
                yield from _bind(name, _simple(rest), known)


def _simple(whole: Product) -> Term:
    if whole.divisors or whole.coefficient != ONE:
        if not whole.factors and not whole.divisors:
            return whole.coefficient
        if whole.coefficient == Number(-1) and len(whole.factors) == 1 and not whole.divisors:
            return negated(whole.factors[0])
        return whole
    return whole.factors[0] if len(whole.factors) == 1 else whole if whole.factors else ONE


def _sum(pattern: Sum, term: Sum, so_far: Match, expansion: Expansion) -> Iterator[Match]:
    names = [part for part in pattern.terms if isinstance(part, Meta)]
    others = [part for part in pattern.terms if not isinstance(part, Meta)]
    for known, rest in _some(others, term.terms, so_far, expansion):
        left = Sum(term.constant, tuple(rest))
        yield from _names_in_sum(names, left, pattern, known)


def _names_in_sum(names: list[Meta], left: Sum, pattern: Sum, so_far: Match) -> Iterator[Match]:
    """A name takes what is left, and the constant where the pattern has none."""
    free = []
    for name in names:
        value = so_far.names.get(name.name)
        if value is None:
            free.append(name)
            continue
        if isinstance(value, Number):
            if value != left.constant:
                return
            left = dataclasses.replace(left, constant=ZERO)
            continue
        remaining = list(left.terms)
        parts = [value] if value in remaining else list(as_sum(value).terms)
        for part in parts:
            if part not in remaining:
                return
            remaining.remove(part)
        constant = left.constant
        if value not in left.terms and isinstance(value, Sum) and value.constant != ZERO:
            constant = Number(constant.value - value.constant.value, constant.integral)
        left = Sum(constant, tuple(remaining))
    if not free:
        if not left.terms:
            yield from _number(pattern.constant, left.constant, so_far)
        return
    first = free[0].name
    if len(free) == 1:
        if left.terms and left.constant == pattern.constant:
            for known in _number(pattern.constant, left.constant, so_far):
                rest = left.terms[0] if len(left.terms) == 1 else Sum(ZERO, left.terms)
                yield from _bind(first, rest, known)
        elif pattern.constant == ZERO:
            yield from _bind(first, left.constant if not left.terms else left, so_far)
        return
    for i, part in enumerate(left.terms):
        remaining_terms = (*left.terms[:i], *left.terms[i + 1 :])
        for known in _bind(first, part, so_far):
            yield from _names_in_sum(
                free[1:], dataclasses.replace(left, terms=remaining_terms), pattern, known
            )


def _some(
    patterns: Sequence[Term], terms: Sequence[Term], so_far: Match, expansion: Expansion
) -> Iterator[tuple[Match, list[Term]]]:
    """Each pattern by a term of its own; with the terms that are left."""
    if not patterns:
        yield so_far, list(terms)
        return
    for i, term in enumerate(terms):
        rest = (*terms[:i], *terms[i + 1 :])
        for known in _match(patterns[0], term, so_far, expansion):
            yield from _some(patterns[1:], rest, known, expansion)
