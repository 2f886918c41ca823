"""softmax(x - max(x)) is softmax(x), which subtracts the maximum itself."""

from __future__ import annotations

import dataclasses

from fastact.rewrite.matching import Expansion, Match
from fastact.rewrite.rules import Rule
from fastact.rewrite.terms import ZERO, Apply, Number, Product, Sum, Term, negated

__all__ = ["without_maximum"]


def without_maximum(rule: Rule, found: Match, expansion: Expansion) -> Match:
    """A match of softmax whose operand is freed of the subtraction of its maximum."""
    if rule.function not in ("softmax", "log_softmax") or "backward" in rule.replacement:
        return found
    return _freed(found, found.names["x"], found.names.get("axis"), expansion) or found


def _freed(found: Match, x: Term, axis: Term | None, expansion: Expansion) -> Match | None:
    if isinstance(x, Sum):
        for i, part in enumerate(x.terms):
            rest_terms = (*x.terms[:i], *x.terms[i + 1 :])
            if not rest_terms:
                continue
            rest = (
                rest_terms[0]
                if len(rest_terms) == 1 and x.constant == ZERO
                else Sum(x.constant, rest_terms)
            )
            expanded = _maximum(part, rest, axis, found.expanded, expansion)
            if expanded is not None:
                return dataclasses.replace(
                    found, names={**found.names, "x": rest}, expanded=expanded
                )
    definition = expansion(x)
    if definition is None:
        return None
    known = dataclasses.replace(found, expanded=found.expanded | {definition[0]})
    return _freed(known, definition[1], axis, expansion)


def _maximum(
    part: Term,
    rest: Term,
    axis: Term | None,
    expanded: frozenset[object],
    expansion: Expansion,
) -> frozenset[object] | None:
    """Whether ``part`` is minus the maximum of ``rest``, and constant along ``axis``."""
    if not isinstance(part, Product) or part.coefficient != Number(-1) or part.divisors:
        return None
    term = negated(part)
    definition = expansion(term)
    while definition is not None:
        expanded |= {definition[0]}
        term = definition[1]
        definition = expansion(term)
    if not isinstance(term, Apply) or term.function != "numpy.max":
        return None
    arguments = dict(term.arguments)
    if arguments.get("a") != rest:
        return None
    if set(arguments) == {"a"}:
        return expanded
    kept = set(arguments) == {"a", "axis", "keepdims"} and arguments["axis"] == axis
    return expanded if kept else None
