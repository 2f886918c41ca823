"""What names in a file refer to: imports and scopes, and the name that fastact has in it."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping

import libcst as cst
from libcst import metadata

from fastact.rewrite.reading import is_path

__all__ = ["Names"]

#: Libraries whose arrays are not NumPy's: in a file that imports one, an expression without a call
#: of NumPy may be about its arrays.
OTHER_LIBRARIES = {
    "autograd",
    "chainer",
    "cupy",
    "dezero",
    "jax",
    "keras",
    "mindspore",
    "mlx",
    "mxnet",
    "numba",
    "paddle",
    "pandas",
    "polars",
    "pyspark",
    "sympy",
    "tensorflow",
    "theano",
    "tinygrad",
    "torch",
}
#: Names in code that works with the arrays of several libraries.
GENERIC = {"array_namespace", "get_array_module", "xp"}
#: Their decorators compile a function, or trace it: fastact cannot be called there.
COMPILERS = {"cupy", "jax", "mlx", "numba", "tensorflow", "theano", "torch", "triton", "cython"}


class Names:
    """Names of one module."""

    def __init__(self, wrapper: metadata.MetadataWrapper) -> None:
        self.module = wrapper.module
        self._scopes: Mapping[cst.CSTNode, metadata.Scope | None] = wrapper.resolve(
            metadata.ScopeProvider
        )

    def qualified(self, node: cst.BaseExpression) -> str | None:
        """The full name of what is imported or built in, None for the file's own names."""
        if not is_path(node):  # LibCST knows a name of np.exp(x).sum, too
            return None
        found = self._names_of(node)
        if len(found) != 1:
            return None
        (name,) = found
        own = name.source is metadata.QualifiedNameSource.LOCAL
        return None if own else _public(name.name)

    def _names_of(self, node: cst.BaseExpression) -> Collection[metadata.QualifiedName]:
        scope = self._scopes.get(node)
        return scope.get_qualified_names_for(node) if scope is not None else set()

    def is_global(self, node: cst.Name) -> bool:
        """Whether the file's own name is one of the module's scope."""
        found = self._names_of(node)
        return {name.name for name in found} == {node.value} and all(
            name.source is metadata.QualifiedNameSource.LOCAL for name in found
        )

    @functools.cached_property
    def imported(self) -> dict[str, str]:
        """Names that imports bind, anywhere in the file, with what they stand for."""
        imported: dict[str, str] = {}
        for scope in set(self._scopes.values()):
            for assignment in getattr(scope, "assignments", ()):
                if isinstance(assignment, metadata.ImportAssignment):
                    for name in assignment.get_qualified_names_for(assignment.name):
                        imported[assignment.name] = name.name
        return imported

    @property
    def libraries(self) -> set[str]:
        return {name.partition(".")[0] for name in self.imported.values()}

    @property
    def other_arrays(self) -> bool:
        """Whether arrays may be another library's: imported, also from elsewhere, or generic."""
        imported = {*self.imported, *self.imported.values()}
        parts = {part for name in imported for part in name.split(".")}
        return bool(parts & OTHER_LIBRARIES or self.used & GENERIC)

    @functools.cached_property
    def used(self) -> set[str]:
        """Every name that is written anywhere in the file."""
        found: set[str] = set()

        class Visitor(cst.CSTVisitor):
            def visit_Name(self, node: cst.Name) -> None:  # noqa: N802
                found.add(node.value)

        self.module.visit(Visitor())
        return found

    def module_name(self, module: str) -> str | None:
        """The name under which the file's top level imports a module."""
        for name in self._top_level_imports():
            if name[0] == module:
                return name[1]
        return None

    def _top_level_imports(self) -> list[tuple[str, str]]:
        found = []
        for statement in self.module.body:
            if not isinstance(statement, cst.SimpleStatementLine):
                continue
            for small in statement.body:
                if isinstance(small, cst.Import):
                    for alias in small.names:
                        name = cst.Module([]).code_for_node(alias.name)
                        bound = alias.evaluated_alias
                        if bound or "." not in name:
                            found.append((name, bound or name))
        return found

    def fastact(self) -> tuple[str, bool]:
        """The name to call fastact by, and whether it has to be imported."""
        known = self.module_name("fastact")
        if known:
            return known, False
        for name in ("fa", "fastact", "_fastact"):
            if name not in self.used:
                return name, True
        name = "fastact_"
        while name in self.used:
            name += "_"
        return name, True


def _public(name: str) -> str:
    """``numpy.core.fromnumeric.sum`` and the like are not told apart from the public name."""
    return name.replace("scipy.special._ufuncs.", "scipy.special.")
