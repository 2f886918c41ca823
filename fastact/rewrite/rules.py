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
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set

import libcst as cst

from fastact.catalogue import CATALOGUE, GATED, Activation, Gated
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
        entry = CATALOGUE.get(self.function)
        if found.floats and entry and entry.keeps_integers and "backward" not in self.replacement:
            differences |= Difference.INTEGERS
        return differences

    @functools.cached_property
    def specificity(self) -> tuple[int, int, int]:
        """The larger pattern is tried first; of two alike that with fewer names, or fewer signs."""
        signs = sum(
            isinstance(part, Product) and part.coefficient.value < 0 for part in subterms(self.term)
        )
        return (-sum(1 for _ in subterms(self.term)), len(self.names), signs)


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


def _of_activation(entry: Activation) -> Iterator[Rule]:
    for form, idiom, arrays in (
        ("", entry.idiom, ("x",)),
        ("_backward", entry.backward_idiom, ("grad", "x")),
    ):
        name = f"{entry.name}{form}"
        if not idiom or name in spellings.NOT_FOR_IT_ALONE:
            continue
        for text in _with_defaults(entry, idiom):
            rule = _rule(entry, name, text, arrays)
            if rule is not None:
                yield rule


def _with_defaults(entry: Activation, idiom: str) -> Iterator[str]:
    """The idiom with its parameters, and with their defaults' values in place of them."""
    yield idiom
    # Where a default is neither 0 nor 1, the pattern has the same form with it.
    neutral = {k: v for k, v in entry.parameters.items() if v in (0, 1)}
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


def _rule(entry: Activation, name: str, text: str, arrays: tuple[str, ...]) -> Rule | None:
    """None where the idiom does not say all that a call needs."""
    names = _names(text)
    arguments = list(arrays)
    positional = True
    for parameter, default in entry.parameters.items():
        if parameter in names:
            arguments.append(parameter if positional else f"{parameter}={parameter}")
        elif default is inspect.Parameter.empty:
            return None
        positional = positional and parameter in names
    if not names.issuperset(arrays) or isinstance(compile_pattern(text), Meta):
        return None
    differences = spellings.DIFFERENCES.get(name, spellings.NOT_COMPARED)
    return Rule(entry.name, text, f"fa.{name}({', '.join(arguments)})", differences)


def _of_gated(entry: Gated) -> Iterator[Rule]:
    if (
        entry.idiom
        and not entry.name.startswith("_")
        and entry.name not in spellings.NOT_FOR_IT_ALONE
    ):
        yield Rule(
            entry.name,
            entry.idiom,
            f"fa.{entry.name}(gate, up)",
            spellings.DIFFERENCES.get(entry.name, spellings.NOT_COMPARED),
        )


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
    derived = (
        rule
        for entry in CATALOGUE.values()
        if not entry.name.startswith("_")
        for rule in _of_activation(entry)
    )
    gated = (rule for entry in GATED.values() for rule in _of_gated(entry))
    return _different(itertools.chain(derived, listed, gated))


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
