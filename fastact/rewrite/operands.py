"""Is an operand an array, a number, or may it be either; may it be read once instead of twice?

A number is what a literal, ``float()``, ``len()``, the module ``math``, an annotation or a loop
over ``range`` makes, or what is asked ``if x > 0``. An array is what NumPy makes, what has ``.dot``
or ``@``, or what is annotated as one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import libcst as cst

from fastact.rewrite.flow import walk

__all__ = ["Kind", "Operands", "is_pure"]


class Kind(enum.Enum):
    ARRAY = "array"
    OTHER = "other"  #: a number, a list, truth values
    UNKNOWN = "unknown"


#: Methods of arrays that neither change anything nor give something else each time.
_PURE_METHODS = {
    "astype", "clip", "copy", "dot", "flatten", "max", "mean", "min", "prod", "ravel", "reshape",
    "squeeze", "std", "sum", "swapaxes", "transpose", "var",
}  # fmt: skip
_PURE = ("numpy.", "scipy.", "math.", "builtins.")
_IMPURE = ("numpy.random", "scipy.stats", "builtins.next", "builtins.input", "builtins.open")
_ARRAY_METHODS = {"astype", "dot", "flatten", "ravel", "reshape", "transpose", "swapaxes"}
_NUMBERS = {"builtins.float", "builtins.int", "builtins.len", "builtins.round", "builtins.bool"}
_NUMBER_ANNOTATIONS = {"float", "int", "bool", "complex", "list", "List", "str"}
_NOT_ARRAYS = (
    cst.List, cst.Tuple, cst.Set, cst.Dict, cst.ListComp, cst.GeneratorExp, cst.SetComp,
    cst.Integer, cst.Float, cst.Comparison, cst.BooleanOperation, cst.SimpleString,
    cst.FormattedString, cst.Lambda,
)  # fmt: skip


def is_pure(
    node: cst.CSTNode,
    qualified: Callable[[cst.BaseExpression], str | None],
    known: Callable[[cst.Call], bool] = lambda node: False,
) -> bool:
    """Whether it does not matter how often, and when, an expression is evaluated.

    ``known``: whether a call is of one of the file's functions that only compute.
    """
    for part in walk(node):
        if isinstance(part, cst.NamedExpr | cst.Await | cst.Yield):
            return False
        if isinstance(part, cst.Call):
            name = qualified(part.func)
            if name is None:
                method = part.func.attr.value if isinstance(part.func, cst.Attribute) else ""
                if method not in _PURE_METHODS and not known(part):
                    return False
            elif name.startswith(_IMPURE) or not name.startswith(_PURE):
                return False
            if any(a.keyword is not None and a.keyword.value == "out" for a in part.args):
                return False
    return True


class Operands:
    """What is known of the operands in one function (or in the module)."""

    def __init__(
        self,
        body: cst.CSTNode,
        parameters: cst.Parameters | None,
        qualified: Callable[[cst.BaseExpression], str | None],
    ) -> None:
        self.qualified = qualified
        self._assigned: dict[str, list[cst.BaseExpression]] = {}
        self._kinds: dict[str, Kind] = {}
        self._collect(body)
        for parameter in _all_parameters(parameters):
            self._parameter(parameter)

    def kind(self, node: cst.BaseExpression, depth: int = 0) -> Kind:
        if isinstance(node, _NOT_ARRAYS) or depth > 8:
            return Kind.OTHER if depth <= 8 else Kind.UNKNOWN
        if isinstance(node, cst.Name):
            return self._name(node.value, depth)
        if isinstance(node, cst.UnaryOperation):
            return self.kind(node.expression, depth + 1)
        if isinstance(node, cst.BinaryOperation):
            if isinstance(node.operator, cst.MatrixMultiply):
                return Kind.ARRAY
            kinds = {self.kind(node.left, depth + 1), self.kind(node.right, depth + 1)}
            if Kind.ARRAY in kinds:
                return Kind.ARRAY
            return Kind.OTHER if kinds == {Kind.OTHER} else Kind.UNKNOWN
        if isinstance(node, cst.Call):
            return self._call(node, depth)
        if isinstance(node, cst.Attribute) and node.attr.value == "T":
            return Kind.ARRAY
        return Kind.UNKNOWN

    def _call(self, node: cst.Call, depth: int) -> Kind:
        name = self.qualified(node.func)
        if name is None:
            if isinstance(node.func, cst.Attribute):
                if node.func.attr.value in _ARRAY_METHODS:
                    return Kind.ARRAY
                if node.func.attr.value in ("item", "tolist"):
                    return Kind.OTHER
            return Kind.UNKNOWN
        if name in _NUMBERS or name.startswith("math."):
            return Kind.OTHER
        if name.startswith(("numpy.", "scipy.")):
            numbers = name.rpartition(".")[2] in ("shape", "ndim", "size")
            arguments = [self.kind(a.value, depth + 1) for a in node.args if a.keyword is None]
            # np.exp of a number is a NumPy number, which is as good as an array.
            return Kind.OTHER if numbers and arguments else Kind.ARRAY
        return Kind.UNKNOWN

    def _name(self, name: str, depth: int) -> Kind:
        known = self._kinds.get(name)
        if known is not None:
            return known
        values = self._assigned.get(name)
        if not values:
            return Kind.UNKNOWN
        kinds = {self.kind(value, depth + 1) for value in values}
        return kinds.pop() if len(kinds) == 1 else Kind.UNKNOWN

    def _collect(self, body: cst.CSTNode) -> None:
        for node in walk(body):
            if isinstance(node, cst.Assign):
                for target in node.targets:
                    if isinstance(target.target, cst.Name):
                        self._assigned.setdefault(target.target.value, []).append(node.value)
            elif isinstance(node, cst.AnnAssign) and isinstance(node.target, cst.Name):
                self._annotated(node.target.value, node.annotation)
            elif isinstance(node, cst.For | cst.CompFor) and isinstance(node.target, cst.Name):
                counts = isinstance(node.iter, cst.Call) and (
                    self.qualified(node.iter.func) == "builtins.range"
                )
                if counts:
                    self._kinds[node.target.value] = Kind.OTHER
            elif isinstance(node, cst.If | cst.While | cst.IfExp):
                self._asked(node.test)

    def _asked(self, test: cst.BaseExpression) -> None:
        """An array has no truth value, so what ``if x > 0`` asks is a number."""
        if isinstance(test, cst.BooleanOperation):
            self._asked(test.left)
            self._asked(test.right)
        elif isinstance(test, cst.Comparison) and isinstance(test.left, cst.Name):
            order = (cst.LessThan, cst.GreaterThan, cst.LessThanEqual, cst.GreaterThanEqual)
            if isinstance(test.comparisons[0].operator, order):
                self._kinds[test.left.value] = Kind.OTHER

    def _annotated(self, name: str, annotation: cst.Annotation) -> None:
        text = cst.Module([]).code_for_node(annotation.annotation)
        words = text.replace("[", " ").replace(".", " ").replace('"', "").replace("'", "").split()
        if any(word.lower().startswith(("ndarray", "arraylike", "array")) for word in words):
            self._kinds[name] = Kind.ARRAY
        elif words and words[0] in _NUMBER_ANNOTATIONS and "|" not in text:
            self._kinds[name] = Kind.OTHER

    def _parameter(self, parameter: cst.Param) -> None:
        if parameter.annotation is not None:
            self._annotated(parameter.name.value, parameter.annotation)


def _all_parameters(parameters: cst.Parameters | None) -> list[cst.Param]:
    if parameters is None:
        return []
    return [*parameters.posonly_params, *parameters.params, *parameters.kwonly_params]
