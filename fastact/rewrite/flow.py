"""What variables stand for, statement by statement, in the straight lines of a function.

``e = np.exp(x)`` defines e until something is assigned that could change what it means: to e, or to
anything at all but another plain name. Branches and loops begin anew. A definition that new code no
longer needs goes, if nothing else reads it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import libcst as cst

from fastact.rewrite.terms import Symbol, Term, subterms

__all__ = [
    "Definition",
    "Flow",
    "assigned_name",
    "children",
    "has_outer_names",
    "names_read",
    "needed",
    "walk",
]


@dataclasses.dataclass(frozen=True, eq=False)
class Definition:
    """``name = term`` in a statement of its own, the ``index``-th of a block.

    ``straight``: the block is in no loop and no ``try`` of its function.
    """

    name: str
    version: int
    term: Term
    statement: cst.SimpleStatementLine
    block: Sequence[cst.BaseStatement]
    index: int
    function: cst.FunctionDef
    straight: bool


class Flow:
    """What is known at one place; statements change it."""

    def __init__(self) -> None:
        self.epoch = 0
        self.versions: dict[str, int] = {}
        self.definitions: dict[tuple[str, int], Definition] = {}

    def symbol(self, name: str, node: cst.BaseExpression | None = None) -> Symbol:
        root = name.partition(".")[0]
        return Symbol(name, (self.epoch, self.versions.get(root, 0)), node=node)

    def definition(self, term: Term) -> Definition | None:
        if not isinstance(term, Symbol) or not isinstance(term.version, tuple):
            return None
        epoch, version = term.version
        return self.definitions.get((term.name, version)) if epoch == self.epoch else None

    def define(self, definition: Definition) -> None:
        self.definitions[definition.name, definition.version] = definition

    def assign(self, name: str) -> int:
        """The name's version after an assignment."""
        self.versions[name] = self.versions.get(name, 0) + 1
        return self.versions[name]

    def forget(self) -> None:
        """Anything may have changed."""
        self.epoch += 1
        self.definitions.clear()

    def still_means(self, term: Term, gone: frozenset[object]) -> bool:
        """Whether ``term`` could be written here, once the definitions in ``gone`` are deleted."""
        for part in subterms(term):
            if not isinstance(part, Symbol) or not isinstance(part.version, tuple):
                continue
            epoch, version = part.version
            root = part.name.partition(".")[0]
            current = self.versions.get(root, 0)
            if epoch != self.epoch:
                return False
            while current != version:
                definition = self.definitions.get((root, current))
                if definition is None or definition not in gone:
                    return False
                current -= 1
        return True


# --- may a definition go? -------------------------------------------------------------------------


def needed(definition: Definition, consumed: set[cst.CSTNode]) -> bool:
    """Whether anything but what is ``consumed`` reads the definition, as far as can be told."""
    name, function = definition.name, definition.function
    later, complete = _region(definition)
    reads = {read for statement in later for read in names_read(statement, name)}
    if not reads <= consumed or _read_inside(function.body, name):
        return True
    if complete and definition.straight:
        return False
    harmless = {*reads, *names_read(definition.statement, name)}
    if definition.straight:
        for statement in definition.block[: definition.index]:
            harmless.update(names_read(statement, name))
    return not set(names_read(function.body, name)) <= harmless


def _read_inside(body: cst.CSTNode, name: str) -> bool:
    """Whether a function inside reads a name, whenever it may be called."""
    return any(
        isinstance(node, cst.FunctionDef | cst.Lambda) and any(names_read(node, name))
        for node in walk(body)
    )


@functools.lru_cache(maxsize=1 << 10)
def has_outer_names(function: cst.FunctionDef) -> bool:
    """Whether some of its variables are not its own: ``global``, ``nonlocal``."""
    return any(isinstance(node, cst.Global | cst.Nonlocal) for node in walk(function.body))


def _region(definition: Definition) -> tuple[list[cst.CSTNode], bool]:
    """What can read the definition in its block, and whether nothing outside can."""
    region: list[cst.CSTNode] = []
    for statement in definition.block[definition.index + 1 :]:
        region.append(statement)
        if isinstance(statement, cst.SimpleStatementLine):
            last = statement.body[-1]
            if isinstance(last, cst.Return | cst.Raise):
                return region, True
            if assigned_name(statement) == definition.name:
                return region, True
            if isinstance(last, cst.AugAssign) and _is(last.target, definition.name):
                return region, True
    return region, False


def assigned_name(statement: cst.SimpleStatementLine) -> str | None:
    """x, if the statement is ``x = ...``, and nothing else."""
    if len(statement.body) != 1:
        return None
    (small,) = statement.body
    if isinstance(small, cst.Assign) and len(small.targets) == 1:
        target = small.targets[0].target
        return target.value if isinstance(target, cst.Name) else None
    return None


def _is(node: cst.BaseExpression, name: str) -> bool:
    return isinstance(node, cst.Name) and node.value == name


@functools.lru_cache(maxsize=1 << 17)
def children(node: cst.CSTNode) -> Sequence[cst.CSTNode]:
    """``node.children``, which LibCST computes anew each time, at a price."""
    return node.children


def walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    waiting = [node]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(children(part))


def names_read(node: cst.CSTNode, name: str) -> Iterator[cst.Name]:
    """Where a name is read; attributes and keywords of that name are something else."""
    if isinstance(node, cst.Name):
        if node.value == name:
            yield node
    elif isinstance(node, cst.Attribute | cst.Arg):
        yield from names_read(node.value, name)
    elif isinstance(node, cst.AssignTarget) and isinstance(node.target, cst.Name):
        return
    elif isinstance(node, cst.Param):
        if node.default is not None:
            yield from names_read(node.default, name)
    else:
        for child in children(node):
            yield from names_read(child, name)
