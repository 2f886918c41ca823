"""One file's source: what of it can be written with fastact, and the new source."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

import libcst as cst
from libcst import metadata

from fastact.rewrite.differences import Difference, sentences
from fastact.rewrite.flow import (
    Definition,
    Flow,
    assigned_name,
    children,
    has_outer_names,
    needed,
    walk,
)
from fastact.rewrite.helpers import Helpers
from fastact.rewrite.imports import import_edit
from fastact.rewrite.inplace import read_in_place
from fastact.rewrite.matching import ARRAYS, Match, match
from fastact.rewrite.names import COMPILERS, Names
from fastact.rewrite.operands import Kind, Operands, is_pure
from fastact.rewrite.reading import Reader
from fastact.rewrite.rules import Rule, Safety, features, in_place_rules, rules_for
from fastact.rewrite.shift import without_maximum
from fastact.rewrite.terms import (
    Apply,
    Compare,
    Number,
    Opaque,
    Symbol,
    Term,
    negated,
    product,
    subterms,
    total,
)
from fastact.rewrite.text import Edit, Text, apply_edits, can_write, fill, write_term

__all__ = ["Finding", "Options", "Rewritten", "rewrite_source"]


@dataclasses.dataclass(frozen=True)
class Options:
    """``level``: the most that a rewrite may change; ``only`` and ``skip``: functions' names."""

    level: Safety = Safety.SAFE
    only: frozenset[str] = frozenset()
    skip: frozenset[str] = frozenset()

    def wants(self, function: str) -> bool:
        return function not in self.skip and (not self.only or function in self.only)


@dataclasses.dataclass(frozen=True)
class Finding:
    """An idiom in the source; ``applied``: it is among what the new source has."""

    function: str
    line: int
    old: str
    new: str
    differences: Difference
    applied: bool

    @property
    def differing(self) -> list[str]:
        return sentences(self.differences)


@dataclasses.dataclass(frozen=True)
class Rewritten:
    """The new source, and all findings, those that were not applied included."""

    source: str
    findings: tuple[Finding, ...]


_SKIP_FILE = re.compile(r"#\s*fastact:\s*skip-file\b")
_SKIP_LINE = re.compile(r"#\s*fastact:\s*skip\b(?!-)")
_LIBRARIES = re.compile(r"\b(numpy|scipy)\b")
#: What every rule has some of; without any, a file need not be parsed.
_IN_IDIOMS = re.compile(
    r"\b(abs|absolute|clip|cosh|erf|exp|expit|expm1|log1p|logaddexp|logsumexp|log_softmax|maximum"
    r"|minimum|softmax|sqrt|sum|tanh|where)\b|[<>]=? *-?\d|\d *[<>]|\b1(\.0*)? *-"
)


def rewrite_source(source: str, options: Options = Options()) -> Rewritten:
    """Find idioms, and write those that ``options`` allow with fastact.

    Raises
    ------
    SyntaxError
        If the source is not Python, as ``libcst.ParserSyntaxError``'s text.
    """
    if not (_LIBRARIES.search(source) and _IN_IDIOMS.search(source)) or _SKIP_FILE.search(source):
        return Rewritten(source, ())
    try:
        module = cst.parse_module(source)
    except cst.ParserSyntaxError as error:
        raise SyntaxError(f"line {error.raw_line}: {error.message.splitlines()[0]}") from None
    return _File(source, module, options).rewritten()


_GRADIENT = re.compile(
    r"grad|delta|back|deriv|prime|err|loss|cost|upstream|jac|(^|_)dout"
    r"|(^|_)d_?(?!im)[A-Za-z]{0,2}\d*(_|$)",  # dx, dZ1, d_h
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class _Place:
    """What surrounds a statement; ``straight``: no loop, and no ``try``."""

    operands: Operands
    function: cst.FunctionDef | None = None
    straight: bool = True


@dataclasses.dataclass(frozen=True)
class _Change:
    """A finding, its edit, and the definitions that go with it.

    Without an edit it is part of another one's.
    """

    finding: Finding
    edit: Edit | None
    gone: tuple[Definition, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Found:
    """A rule that applies, what its names stand for, and definitions that are then not needed."""

    rule: Rule
    names: Mapping[str, Term]
    gone: tuple[Definition, ...]
    differences: Difference


class _File:
    def __init__(self, source: str, module: cst.Module, options: Options) -> None:
        wrapper = metadata.MetadataWrapper(module, unsafe_skip_copy=True)
        self.options = options
        self.module = wrapper.module
        self.names = Names(wrapper)
        self.text = Text(source.encode(), wrapper)
        self.helpers = Helpers(self.module, self.names)
        self.changes: list[_Change] = []
        lines = source.split("\n")
        self.skipped = {i for i, line in enumerate(lines, 1) if _SKIP_LINE.search(line)}
        self.alias, self.to_import = self.names.fastact()
        self.numpy = self.names.module_name("numpy")
        self.foreign = self.names.other_arrays

    def rewritten(self) -> Rewritten:
        top = _Place(Operands(self.module, None, self.names.qualified))
        self._block(self.module.body, Flow(), top)
        kept: list[_Change] = []
        deletions: list[Edit] = []
        # What comes later may need an earlier statement no more, with what was found in it.
        for change in reversed(self.changes):
            if not _inside(change.edit, deletions):
                kept.append(change)
                if change.finding.applied:
                    deletions += [self.text.deletion(gone.statement) for gone in change.gone]
        edits = [c.edit for c in kept if c.finding.applied and c.edit is not None]
        if edits and self.to_import:
            edits.append(import_edit(self.module, self.text, self.alias))
        source = apply_edits(self.text.source, [*edits, *deletions])
        findings = sorted((c.finding for c in kept), key=lambda finding: finding.line)
        return Rewritten(source, tuple(findings))

    # --- statements -------------------------------------------------------------------------------

    def _block(self, statements: Sequence[cst.BaseStatement], flow: Flow, place: _Place) -> None:
        for index, statement in enumerate(statements):
            if isinstance(statement, cst.SimpleStatementLine):
                for small in statement.body:
                    self._small(small, flow, place)
                self._define(statement, statements, index, flow, place)
            elif isinstance(statement, cst.FunctionDef):
                self._function(statement, place)
            elif isinstance(statement, cst.ClassDef):
                if not self._compiled(statement.decorators):
                    self._suite(statement.body, place)
            else:
                winding = isinstance(statement, cst.For | cst.While | cst.Try | cst.TryStar)
                inside = dataclasses.replace(place, straight=place.straight and not winding)
                self._compound(statement, flow, inside)
            if not isinstance(statement, cst.SimpleStatementLine):
                flow.forget()

    def _compound(self, node: cst.CSTNode, flow: Flow, place: _Place) -> None:
        """A branch or a loop: expressions in its head, and blocks that begin anew."""
        for child in children(node):
            if isinstance(child, cst.BaseSuite):
                self._suite(child, place)
            elif isinstance(child, cst.BaseExpression):
                self._expression(child, Flow(), place)
            else:
                self._compound(child, flow, place)

    def _suite(self, suite: cst.BaseSuite, place: _Place) -> None:
        if isinstance(suite, cst.IndentedBlock):
            self._block(suite.body, Flow(), place)
            return
        flow = Flow()
        for small in suite.body:
            if isinstance(small, cst.BaseSmallStatement):
                self._small(small, flow, place)
                flow.forget()

    def _function(self, function: cst.FunctionDef, place: _Place) -> None:
        if self._compiled(function.decorators):
            return
        self._compound(function.params, Flow(), place)
        operands = Operands(function.body, function.params, self.names.qualified)
        self._suite(function.body, _Place(operands, function))

    def _compiled(self, decorators: Sequence[cst.Decorator]) -> bool:
        """Whether a compiler reads the source, which does not know fastact."""
        for decorator in decorators:
            node = decorator.decorator
            name = self.names.qualified(node.func if isinstance(node, cst.Call) else node)
            if name and name.partition(".")[0] in COMPILERS:
                return True
        return False

    def _small(self, small: cst.BaseSmallStatement, flow: Flow, place: _Place) -> None:
        change = self._in_place(small, flow, place)
        if change is not None:
            self.changes.append(change)
            if change.finding.applied:
                return
        if isinstance(small, cst.Assign | cst.AnnAssign | cst.AugAssign):
            if small.value is not None:
                self._expression(small.value, flow, place)
        elif isinstance(small, cst.Return | cst.Expr | cst.Assert | cst.Raise):
            self._compound_expressions(small, flow, place)

    def _compound_expressions(self, node: cst.CSTNode, flow: Flow, place: _Place) -> None:
        for child in children(node):
            if isinstance(child, cst.BaseExpression):
                self._expression(child, flow, place)

    def _define(
        self,
        statement: cst.SimpleStatementLine,
        block: Sequence[cst.BaseStatement],
        index: int,
        flow: Flow,
        place: _Place,
    ) -> None:
        """What the statement does to what is known."""
        name = assigned_name(statement)
        if name is None:
            harmless = (cst.Return, cst.Assert, cst.Expr, cst.Pass)
            if not all(
                isinstance(small, harmless) and self._is_pure(small) for small in statement.body
            ):
                flow.forget()
            return
        (small,) = statement.body
        assert isinstance(small, cst.Assign)
        if not self._is_pure(small.value):
            flow.forget()
            flow.assign(name)
            return
        term = self._reader(flow).read(small.value)
        version = flow.assign(name)
        function = place.function
        if function is not None and not has_outer_names(function) and not self._skips(statement):
            flow.define(
                Definition(name, version, term, statement, block, index, function, place.straight)
            )

    # --- expressions ------------------------------------------------------------------------------

    def _expression(self, node: cst.CSTNode, flow: Flow, place: _Place) -> None:
        """Find idioms in an expression, the largest first."""
        self.changes.extend(self._changes(node, flow, place))

    def _changes(self, node: cst.CSTNode, flow: Flow, place: _Place) -> Iterator[_Change]:
        if isinstance(node, cst.FormattedString):
            return  # quotes in quotes
        if isinstance(node, cst.Lambda | cst.BaseComp):
            flow = Flow()  # whose names may be others
        transposed = isinstance(node, cst.Attribute) and node.attr.value == "T"
        if transposed or isinstance(node, cst.Call | cst.BinaryOperation | cst.UnaryOperation):
            assert isinstance(node, cst.BaseExpression)
            change = self._rewrite(node, flow, place)
            if change is not None:
                yield change
                if change.finding.applied:
                    return
        for child in children(node):
            yield from self._changes(child, flow, place)

    def _rewrite(self, node: cst.BaseExpression, flow: Flow, place: _Place) -> _Change | None:
        term = self._reader(flow).read(node)
        out = None
        if isinstance(term, Apply):
            out = term.argument("out")
            if out is not None:
                kept = tuple(pair for pair in term.arguments if pair[0] != "out")
                term = dataclasses.replace(term, arguments=kept)
        for rule in rules_for(term, self._features(term, flow)):
            if out is not None and not rule.takes_out:
                continue
            found = self._apply(rule, term, node, flow, place)
            if found is not None:
                return self._change(found, node, place, out=out)
        return None

    def _features(self, term: Term, flow: Flow) -> set[str]:
        """What there is in a term, definitions of its variables included."""
        found = set(features(term))
        for part in subterms(term):
            definition = flow.definition(part)
            meaning = definition.term if definition is not None else None
            if meaning is None:
                _, meaning = self.helpers.expand(part) or (None, None)
            if meaning is not None:
                found |= self._features(meaning, flow)
        return found

    def _apply(
        self, rule: Rule, term: Term, node: cst.CSTNode, flow: Flow, place: _Place
    ) -> _Found | None:
        """How a rule applies to a term, if it may."""
        if not self.options.wants(rule.function) or self._skips(node):
            return None
        blocked: set[object] = set()

        def expansion(part: Term) -> tuple[object, Term] | None:
            definition = flow.definition(part)
            if definition is not None:
                return (definition, definition.term) if definition not in blocked else None
            return self.helpers.expand(part)

        while True:
            before = len(blocked)
            for found in match(rule.term, term, expansion):
                found = without_maximum(rule, found, expansion)
                gone = tuple(d for d in found.expanded if isinstance(d, Definition))
                unwanted = [d for d in gone if needed(d, self._consumed(node, gone))]
                if unwanted:
                    blocked.update(unwanted)
                    continue
                if self._may(rule, found, node, flow, place, gone):
                    return _Found(rule, found.names, gone, rule.differences_of(found))
            if len(blocked) == before:
                return None

    def _may(
        self,
        rule: Rule,
        found: Match,
        node: cst.CSTNode,
        flow: Flow,
        place: _Place,
        gone: tuple[Definition, ...],
    ) -> bool:
        """Whether a match means what the rule's new code means."""
        if any(isinstance(part, cst.Comment) for part in walk(node)):
            return False
        if "np." in rule.replacement and self.numpy is None:
            return False
        if not all(can_write(value) for key, value in found.names.items() if key in rule.written):
            return False
        if not rule.allows(found.names):
            return False
        if not all(flow.still_means(value, frozenset(gone)) for value in found.names.values()):
            return False
        axis = found.names.get("axis")
        if axis is not None and not self._is_axis(axis, place):
            return False
        grad = found.names.get("grad")
        if grad is not None and not self._is_gradient(grad, place):
            return False
        parameters = [v for k, v in found.names.items() if k not in ARRAYS | {"axis", "dtype"}]
        if not all(isinstance(value, Number | Symbol | Opaque) for value in parameters):
            return False
        return self._arrays(rule, found, node, gone, place) and self._once(rule, found)

    def _is_gradient(self, grad: Term, place: _Place) -> bool:
        """Whether it is called one, or is the result of floating-point arithmetic.

        Of anything else ``x * (y > 0)`` may be a choice among integers, which would become floats.
        """
        function = place.function.name.value if place.function is not None else ""
        if _GRADIENT.search(function):
            return True
        nodes = [part.node for part in subterms(grad) if part.node is not None]
        return any(_makes_floats(part) for node in nodes for part in walk(node))

    def _arrays(
        self,
        rule: Rule,
        found: Match,
        node: cst.CSTNode,
        gone: tuple[Definition, ...],
        place: _Place,
    ) -> bool:
        """Whether the operands are arrays, as far as can be told."""
        kinds = []
        for name in ARRAYS & set(found.names):
            value = found.names[name]
            if isinstance(value, Compare):
                return False
            kind = Kind.UNKNOWN if value.node is None else place.operands.kind(value.node)
            if kind is Kind.OTHER:
                return False
            kinds.append(kind)
        if all(kind is Kind.ARRAY for kind in kinds):
            return True
        nodes = [node, *(definition.statement for definition in gone)]
        calls_numpy = any(
            isinstance(part, cst.Call)
            and (self.names.qualified(part.func) or "").startswith(("numpy.", "scipy."))
            for inside in nodes
            for part in walk(inside)
        )
        return calls_numpy or (not self.foreign and "numpy" in self.names.libraries)

    def _once(self, rule: Rule, found: Match) -> bool:
        """Whether each operand is evaluated as often as before, or it does not matter."""
        impure = [
            name
            for name, value in found.names.items()
            if any(
                part.node is not None and not self._is_pure(part.node)
                for part in _with_nodes(value)
            )
        ]
        if not impure:
            return True
        (name,) = impure if len(impure) == 1 else ("",)
        return bool(name) and not found.expanded and rule.reads_once(name)

    def _is_pure(self, node: cst.CSTNode) -> bool:
        return is_pure(node, self.names.qualified, self.helpers.is_known)

    def _is_axis(self, axis: Term, place: _Place) -> bool:
        """One number, as far as can be told: not several axes, and not None for all of them."""
        if isinstance(axis, Number):
            return axis.integral
        if not isinstance(axis, Symbol):
            return False
        if place.function is not None and "." not in axis.name:
            parameters = place.function.params
            for parameter in (*parameters.params, *parameters.kwonly_params):
                if parameter.name.value == axis.name and parameter.default is not None:
                    return isinstance(parameter.default, cst.Integer | cst.UnaryOperation)
        return True

    def _change(
        self,
        found: _Found,
        node: cst.CSTNode,
        place: _Place,
        *,
        out: Term | None = None,
        prefix: str = "",
    ) -> _Change:
        applied = Safety.of(found.differences) <= self.options.level
        texts = {
            name: self._write(value, place, applied)
            for name, value in found.names.items()
            if name in found.rule.written
        }
        texts |= {"fa": self.alias, "np": self.numpy or "np"}
        new = prefix + fill(found.rule.replacement, texts)
        if out is not None:
            new = f"{new[:-1]}, out={self._write(out, place, applied)})"
        if isinstance(node, cst.BaseExpression):
            start, end = self.text.span_with_parentheses(node)
        else:
            start, end = self.text.span(node)
        old = self.text.source[start:end].decode()
        finding = Finding(
            found.rule.function, self.text.line(start), old, new, found.differences, applied
        )
        return _Change(finding, Edit(start, end, new), found.gone)

    def _write(self, term: Term, place: _Place, record: bool) -> str:
        """A term's text, with idioms in it rewritten, too."""

        def writer(node: cst.BaseExpression) -> str:
            start, end = self.text.span(node)
            inner = list(self._changes(node, Flow(), place))
            if record:
                self.changes.extend(dataclasses.replace(c, edit=None) for c in inner)
            edits = [c.edit for c in inner if c.finding.applied and c.edit is not None]
            return apply_edits(self.text.source, edits, start, end)

        return write_term(term, writer)

    def _consumed(self, node: cst.CSTNode, gone: Sequence[Definition]) -> set[cst.CSTNode]:
        return {
            part
            for inside in (node, *(definition.statement for definition in gone))
            for part in walk(inside)
        }

    def _skips(self, node: cst.CSTNode) -> bool:
        if not self.skipped:
            return False
        start, end = self.text.span(node)
        lines = range(self.text.line(start), self.text.line(end) + 1)
        return any(line in self.skipped for line in lines)

    def _reader(self, flow: Flow) -> Reader:
        def variable(node: cst.BaseExpression) -> Term:
            if isinstance(node, cst.Name):
                return flow.symbol(node.value, node)
            if isinstance(node, cst.Attribute):
                return flow.symbol(
                    cst.Module([]).code_for_node(node.with_changes(lpar=(), rpar=())), node
                )
            return Opaque(cst.Module([]).code_for_node(node), node=node)

        return Reader(self.names.qualified, variable)

    # --- statements that change an array ----------------------------------------------------------

    def _in_place(self, small: cst.BaseSmallStatement, flow: Flow, place: _Place) -> _Change | None:
        reader = self._reader(flow)
        term = read_in_place(small, reader)
        if term is not None:
            for rule in in_place_rules():
                found = self._apply(rule, term, small, flow, place)
                if found is not None:
                    return self._change(found, small, place)
        if isinstance(small, cst.AugAssign) and isinstance(small.target, cst.Name):
            return self._augmented(small, small.target, reader, flow, place)
        return None

    def _augmented(
        self,
        small: cst.AugAssign,
        target: cst.Name,
        reader: Reader,
        flow: Flow,
        place: _Place,
    ) -> _Change | None:
        """``e /= e.sum()``, where e is an array of this function's own."""
        symbol = flow.symbol(target.value, target)
        definition = flow.definition(symbol)
        if definition is None:
            return None
        value = reader.read(small.value)
        if isinstance(small.operator, cst.DivideAssign):
            term = product(symbol, value, divide=True)
        elif isinstance(small.operator, cst.MultiplyAssign):
            term = product(symbol, value)
        elif isinstance(small.operator, cst.AddAssign):
            term = total(symbol, value)
        elif isinstance(small.operator, cst.SubtractAssign):
            term = total(symbol, negated(value))
        else:
            return None
        for rule in rules_for(term, self._features(term, flow)):
            found = self._apply(rule, term, small, flow, place)
            if found is not None and definition in found.gone:
                return self._change(found, small, place, prefix=f"{target.value} = ")
        return None


def _makes_floats(node: cst.CSTNode) -> bool:
    if isinstance(node, cst.BinaryOperation):
        return isinstance(node.operator, cst.Divide | cst.MatrixMultiply)
    if isinstance(node, cst.Name):
        return node.value in ("dot", "matmul", "outer") or bool(_GRADIENT.search(node.value))
    return isinstance(node, cst.Float)


def _inside(edit: Edit | None, others: Sequence[Edit]) -> bool:
    return edit is not None and any(
        other.start <= edit.start and edit.end <= other.end for other in others
    )


def _with_nodes(term: Term) -> Iterator[Term]:
    """The terms whose text the new code has."""
    if term.node is not None:
        yield term
    else:
        for part in term.parts:
            yield from _with_nodes(part)
