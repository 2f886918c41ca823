"""Source text: where nodes are, what is changed, and terms written out again."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import libcst as cst
from libcst import metadata

from fastact.rewrite.terms import ONE, ZERO, Number, Product, Sum, Symbol, Term, negated

__all__ = ["Edit", "Text", "apply_edits", "can_write", "fill", "write_term"]


@dataclasses.dataclass(frozen=True)
class Edit:
    """Bytes from ``start`` to ``end`` become ``text``."""

    start: int
    end: int
    text: str


def apply_edits(
    source: bytes, edits: Sequence[Edit], start: int = 0, end: int | None = None
) -> str:
    """The text from ``start`` to ``end`` with edits that do not overlap."""
    end = len(source) if end is None else end
    pieces = []
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        pieces.append(source[start : edit.start].decode())
        pieces.append(edit.text)
        start = edit.end
    return "".join([*pieces, source[start:end].decode()])


class Text:
    """A file's bytes and where its nodes are among them."""

    def __init__(self, source: bytes, wrapper: metadata.MetadataWrapper) -> None:
        self.source = source
        self._spans: Mapping[cst.CSTNode, metadata.CodeSpan] = wrapper.resolve(
            metadata.ByteSpanPositionProvider
        )

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        span = self._spans[node]
        return span.start, span.start + span.length

    def span_with_parentheses(self, node: cst.BaseExpression) -> tuple[int, int]:
        """Those around the node that a call in its place does not need."""
        start, end = self.span(node)
        for _ in getattr(node, "lpar", ()):
            before = self.source[start - 2 : start - 1]
            if self.source[start - 1 : start] != b"(" or self.source[end : end + 1] != b")":
                break
            if before.isalnum() or before == b"_":
                break
            start, end = start - 1, end + 1
        return start, end

    def line(self, position: int) -> int:
        """The number of the line, from 1."""
        return self.source.count(b"\n", 0, position) + 1

    def whole_lines(self, node: cst.CSTNode) -> tuple[int, int]:
        """From the indentation before a statement to what follows it on its line."""
        start, end = self.span(node)
        start = self.source.rfind(b"\n", 0, start) + 1
        following = self.source.find(b"\n", end)
        return start, len(self.source) if following < 0 else following + 1

    def deletion(self, node: cst.SimpleStatementLine) -> Edit:
        """A statement goes; a comment beside it stays."""
        start, end = self.whole_lines(node)
        comment = node.trailing_whitespace.comment
        if comment is None:
            return Edit(start, end, "")
        begin, stop = self.span(node)
        while self.source[stop : stop + 1] in (b" ", b"\t"):
            stop += 1
        return Edit(begin, stop, "")


# --- terms ----------------------------------------------------------------------------------------

Writer = Callable[[cst.BaseExpression], str]


def write_term(term: Term, writer: Writer) -> str:
    """A term as code: its node's text, or a new expression of those in it."""
    if term.node is not None:
        return writer(term.node)
    if isinstance(term, Number):
        return _number(term)
    if isinstance(term, Symbol):
        return term.name
    if isinstance(term, Product):
        return _product(term, writer)
    if isinstance(term, Sum):
        return _sum(term, writer)
    raise ValueError(f"no text for {type(term).__name__}")


def can_write(term: Term) -> bool:
    """Whether ``write_term`` has a text for it."""
    if term.node is not None or isinstance(term, Number | Symbol):
        return True
    return isinstance(term, Product | Sum) and all(map(can_write, term.parts))


def _number(number: Number) -> str:
    if number.node is not None and isinstance(number.node, cst.Integer | cst.Float):
        return number.node.value
    return str(int(number.value)) if number.integral else repr(number.value)


_ATOMS = (cst.Name, cst.Attribute, cst.Call, cst.Subscript, cst.Integer, cst.Float)


def _factor(term: Term, writer: Writer) -> str:
    text = write_term(term, writer)
    atom = isinstance(term, Symbol | Number) if term.node is None else isinstance(term.node, _ATOMS)
    return text if atom else f"({text})"


def _product(term: Product, writer: Writer) -> str:
    sign = "-" if term.coefficient.value < 0 else ""
    size = Number(abs(term.coefficient.value), term.coefficient.integral)
    if not sign and term.coefficient.node is not None:
        size = term.coefficient
    factors = [_factor(factor, writer) for factor in term.factors]
    if size != ONE or not factors:
        factors.insert(0, _number(size))
    divisors = [_factor(divisor, writer) for divisor in term.divisors]
    return sign + " / ".join([" * ".join(factors), *divisors])


def _sum(term: Sum, writer: Writer) -> str:
    pieces: list[str] = []
    for part in term.terms:
        negative = isinstance(part, Product) and part.coefficient.value < 0 and part.node is None
        shown = negated(part) if negative else part
        text = write_term(shown, writer)
        if isinstance(shown.node, cst.BinaryOperation) and isinstance(
            shown.node.operator, cst.Add | cst.Subtract | cst.BitAnd | cst.BitOr
        ):
            text = f"({text})"
        pieces.append(f"{'-' if negative else '+'} {text}")
    if term.constant != ZERO:
        size = Number(abs(term.constant.value), term.constant.integral)
        pieces.append(f"{'-' if term.constant.value < 0 else '+'} {_number(size)}")
    first, *rest = pieces
    first = first.removeprefix("+ ").replace("- ", "-", 1) if first[0] == "-" else first[2:]
    return " ".join([first, *rest])


def fill(replacement: str, texts: Mapping[str, str]) -> str:
    """The replacement with names' texts; each stands as an argument, or before a dot."""

    def text(name: re.Match[str]) -> str:
        return texts.get(name[0], name[0])

    # Neither an attribute nor a keyword.
    return re.sub(r"(?<![.\w])[A-Za-z_]\w*(?!\w|=[^=])", text, replacement)
