"""Rules: what is found, what it becomes, and how the results may differ.

The catalogue says of every activation what NumPy users write for it, so each has a rule without
anybody writing one; ``spellings`` lists what else people write. Both are texts in one small
language: a Python expression in which ``np`` and ``special`` are the libraries, and any other name
stands for whatever is in its place, the same wherever the name is.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set

import libcst as cst

from fastact.catalogue import CATALOGUE, Activation, Entry, Form, Gated, Variants
from fastact.catalogue.entries import REQUIRED
from fastact.rewrite import spellings
from fastact.rewrite.differences import Difference
from fastact.rewrite.inplace import read_in_place
from fastact.rewrite.matching import ARRAYS, Match
from fastact.rewrite.reading import Reader
from fastact.rewrite.terms import (
    Apply,
    Compare,
    Meta,
    Number,
    Opaque,
    Product,
    Term,
    replaced,
    subterms,
)

__all__ = [
    "Rule",
    "Safety",
    "all_rules",
    "compile_pattern",
    "features",
    "functions",
    "in_place_rules",
    "rules_for",
]

Condition = Callable[[Number], bool]


class Safety(enum.IntEnum):
    """What applying a rule may change."""

    EXACT = 0  #: nothing: the same bits
    SAFE = 1  #: a zero's sign
    UNSAFE = 2  #: something that ``Rule.differences`` says

    @classmethod
    def of(cls, differences: Difference) -> Safety:
        if not differences:
            return cls.EXACT
        return cls.SAFE if differences == Difference.ZERO else cls.UNSAFE


@dataclasses.dataclass(frozen=True)
class Rule:
    """``pattern`` becomes ``replacement``; the names in it are the replacement's, too.

    ``function`` is the name that ``--only`` and ``--skip`` know; ``of_numbers`` must be true of a
    parameter that is written out as a number.
    """

    function: str
    pattern: str
    replacement: str
    differences: Difference
    of_numbers: Condition | None = None

    @functools.cached_property
    def term(self) -> Term:
        return compile_pattern(self.pattern)

    @functools.cached_property
    def names(self) -> frozenset[str]:
        return _names(self.pattern)

    @functools.cached_property
    def features(self) -> frozenset[str]:
        """What a term must have for the pattern to match."""
        return frozenset(features(self.term))

    @functools.cached_property
    def written(self) -> frozenset[str]:
        """The names that the new code has."""
        return frozenset(re.findall(r"(?<![.\w])[A-Za-z]\w*(?!\w|=[^=])", self.replacement))

    @property
    def takes_out(self) -> bool:
        """Whether the new code is a call that may have ``out=``."""
        return bool(re.fullmatch(r"fa\.\w+\([^()]*\)", self.replacement))

    def reads_once(self, name: str) -> bool:
        """Whether the operand is evaluated once, in the old code and in the new."""
        places = re.compile(rf"(?<![.\w]){name}(?!\w|=[^=])")
        return len(places.findall(self.pattern)) == len(places.findall(self.replacement)) == 1

    def allows(self, names: Mapping[str, Term]) -> bool:
        numbers = [value for name, value in names.items() if name not in ARRAYS | {"axis"}]
        return self.of_numbers is None or all(
            self.of_numbers(value) for value in numbers if isinstance(value, Number)
        )

    def differences_of(self, found: Match) -> Difference:
        """What may differ in this place."""
        differences = self.differences
        if found.rounded:
            differences |= Difference.CONSTANT
        entry = CATALOGUE[self.function]
        keeps_integers = isinstance(entry, Activation) and entry.keeps_integers
        if found.floats and keeps_integers and "backward" not in self.replacement:
            differences |= Difference.INTEGERS
        return differences

    @functools.cached_property
    def specificity(self) -> tuple[int, int, int]:
        """The larger pattern is tried first; of two alike that with fewer names, or fewer signs."""
        parts = list(subterms(self.term))
        signs = sum(isinstance(p, Product) and p.coefficient == Number(-1) for p in parts)
        return (signs - len(parts), len(self.names), signs)


# --- patterns -------------------------------------------------------------------------------------

_MODULES = {"np": "numpy", "special": "scipy.special"}
_CONSTANTS = {"PI": "numpy.pi", "float": "builtins.float"}


def compile_pattern(text: str) -> Term:
    """The term that a text in the language of patterns describes, an expression or a statement."""
    values: dict[str, cst.BaseExpression] = {}
    reader: Reader

    def qualified(node: cst.BaseExpression) -> str | None:
        if isinstance(node, cst.Attribute):
            parent = qualified(node.value)
            return f"{parent}.{node.attr.value}" if parent else None
        if isinstance(node, cst.Name):
            return _MODULES.get(node.value) or _CONSTANTS.get(node.value)
        return None

    def variable(node: cst.BaseExpression) -> Term:
        if isinstance(node, cst.NamedExpr) and isinstance(node.target, cst.Name):
            values[node.target.value] = node.value
            return reader.read(node.value)
        if isinstance(node, cst.Name):
            value = values.get(node.value)
            return Meta(node.value) if value is None else reader.read(value)
        if isinstance(node, cst.Attribute):
            return Opaque(f".{node.attr.value}", (reader.read(node.value),))
        raise ValueError(f"{text}: a pattern cannot have {type(node).__name__}")

    reader = Reader(qualified, variable)
    statement = cst.parse_statement(text)
    assert isinstance(statement, cst.SimpleStatementLine)
    (small,) = statement.body
    term = reader.read(small.value) if isinstance(small, cst.Expr) else read_in_place(small, reader)
    if term is None:
        raise ValueError(f"{text}: no such statement can be a pattern")
    return replaced(term, _without_out)


def _without_out(term: Term) -> Term | None:
    """The catalogue's idioms have ``out=out``, which code may have or not."""
    if isinstance(term, Apply) and term.argument("out") is not None:
        kept = tuple((k, replaced(v, _without_out)) for k, v in term.arguments if k != "out")
        return dataclasses.replace(term, arguments=kept)
    return None


# --- the catalogue's rules ------------------------------------------------------------------------


def _of(entry: Entry) -> Iterator[Rule]:
    """The rules of functions of elements; of rows, every axis is spelled in ``spellings``."""
    halves = isinstance(entry, Gated) and entry.halves
    if halves or not isinstance(entry, Activation | Gated | Variants):
        return
    for form in entry.forms:
        if form.which in ("forward", "backward") and form.name not in spellings.NOT_FOR_IT_ALONE:
            for idiom, choice in _idioms(entry, form.which):
                for text in _with_defaults(form, idiom):
                    rule = _rule(form, text, choice)
                    if rule is not None:
                        yield rule


def _idioms(entry: Entry, which: str) -> Iterator[tuple[str, str]]:
    """The idiom, or those of each variant, with the argument that chooses it."""
    attribute = "idiom" if which == "forward" else "backward_idiom"
    if not isinstance(entry, Variants):
        yield getattr(entry, attribute), ""
        return
    for name, variant in entry.variants.items():
        yield getattr(variant, attribute), "" if name == entry.choice.default else f'"{name}"'


def _with_defaults(form: Form, idiom: str) -> Iterator[str]:
    """The idiom with its parameters, and with their defaults' values in place of them."""
    if not idiom:
        return
    yield idiom
    # Where a default is neither 0 nor 1, the pattern has the same form with it.
    neutral = {p.name: p.default for p in form.parameters if p.default in (0, 1)}
    if _names(idiom) & set(neutral):
        yield _with_numbers(idiom, neutral)


def _names(text: str) -> frozenset[str]:
    return frozenset(p.name for p in subterms(compile_pattern(text)) if isinstance(p, Meta))


class _Numbers(cst.CSTTransformer):
    def __init__(self, numbers: dict[str, float]) -> None:
        self.numbers = numbers

    def leave_Name(  # noqa: N802
        self, original_node: cst.Name, updated_node: cst.Name
    ) -> cst.BaseExpression:
        number = self.numbers.get(updated_node.value)
        if number is None:
            return updated_node
        return cst.parse_expression(f"({number!r})")


def _with_numbers(idiom: str, numbers: dict[str, float]) -> str:
    tree = cst.parse_expression(idiom)
    new = tree.visit(_Numbers(numbers))
    assert isinstance(new, cst.BaseExpression)
    return cst.Module([]).code_for_node(new)


def _rule(form: Form, text: str, choice: str) -> Rule | None:
    """None where the idiom does not say all that a call needs, or says more."""
    term = compile_pattern(text)
    names = frozenset(part.name for part in subterms(term) if isinstance(part, Meta))
    arguments = list(form.arrays)
    positional = True
    for parameter in form.parameters:
        name = parameter.name
        positional = positional and name in names
        if name in names:
            arguments.append(name if positional else f"{name}={name}")
        elif parameter.default is REQUIRED:
            return None
    known = {*form.arrays, *(parameter.name for parameter in form.parameters)}
    if not set(form.arrays) <= names <= known or isinstance(term, Opaque):
        return None
    call = f"fa.{form.name}({', '.join([*arguments, choice] if choice else arguments)})"
    differences = spellings.DIFFERENCES.get(form.name, spellings.NOT_COMPARED)
    return Rule(form.entry.name, text, call, differences)


def _listed(rows: Mapping[str, list[spellings.Row]]) -> Iterator[Rule]:
    for function, spelled in rows.items():
        for pattern, replacement, differences, *condition in spelled:
            of_numbers = condition[0] if condition else None
            name = function.removesuffix("_backward")
            yield Rule(name, pattern, replacement, differences, of_numbers)


def _different(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Of rules with the same pattern the first, the most specific ones first."""
    different: dict[Term, Rule] = {}
    for rule in rules:
        different.setdefault(_with_plain_names(rule.term), rule)
    return tuple(sorted(different.values(), key=lambda rule: rule.specificity))


def _with_plain_names(term: Term) -> Term:
    """Patterns that differ by their names only become equal."""
    numbers: dict[str, str] = {}

    def renamed(part: Term) -> Term | None:
        if not isinstance(part, Meta):
            return None
        kind = "x" if part.name in ARRAYS else "N" if part.name.isupper() else "n"
        return Meta(numbers.setdefault(part.name, f"{kind}{len(numbers)}"))

    return replaced(term, renamed)


@functools.cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule about an expression."""
    listed = _listed(spellings.SPELLINGS)
    derived = (rule for entry in CATALOGUE.values() for rule in _of(entry))
    return _different(itertools.chain(derived, listed))


@functools.cache
def in_place_rules() -> tuple[Rule, ...]:
    """Every rule about a statement."""
    return _different(_listed(spellings.IN_PLACE))


def functions() -> list[str]:
    """The functions that there are rules for."""
    return sorted({rule.function for rule in (*all_rules(), *in_place_rules())})


def rules_for(term: Term, present: Set[str]) -> Iterator[Rule]:
    """Those that a term may have the form of, where ``present`` is all that there is in it."""
    return (r for r in _rules_by_form().get(_form(term), ()) if r.features <= present)


def features(term: Term) -> Iterator[str]:
    """The functions that are called in a term, and whether something is compared."""
    for part in subterms(term):
        if isinstance(part, Apply):
            yield part.function
        elif isinstance(part, Compare):
            yield "comparison"


@functools.cache
def _rules_by_form() -> dict[tuple[type, str], list[Rule]]:
    forms: dict[tuple[type, str], list[Rule]] = {}
    for rule in all_rules():
        forms.setdefault(_form(rule.term), []).append(rule)
    return forms


def _form(term: Term) -> tuple[type, str]:
    if isinstance(term, Apply):
        return Apply, term.function
    return type(term), term.text if isinstance(term, Opaque) else ""
