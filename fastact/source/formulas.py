"""What kernels compute, as source text: formulas of the catalogue made ready to compile.

The text is for any target. It calls functions that each one has under the same names: ``select``,
``fma``, ``absolute``, ``sqrt`` and the like, and ``formula``, which compiles a function.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from fastact.catalogue import Activation
from fastact.source import elementary, elementary_wide
from fastact.source.coefficients import COEFFICIENTS, PIECES

__all__ = [
    "Formula",
    "backward_source",
    "call",
    "called",
    "derivative_of",
    "functions_source",
    "gated_backward_source",
    "gated_source",
    "product",
    "with_defaults",
]


@dataclasses.dataclass(frozen=True)
class Formula:
    """A function of the catalogue, and numbers that some of its parameters stand for."""

    function: Callable[..., Any] | None
    constants: Mapping[str, float] = dataclasses.field(default_factory=dict)


def derivative_of(entry: Activation) -> Formula:
    """An entry's derivative as a function of x and of the formula's own parameters."""
    if entry.derivative_parameters and entry.default_derivative and not entry.parameters:
        return Formula(entry.default_derivative)
    return Formula(entry.derivative, entry.derivative_parameters)


def with_defaults(entry: Activation, which: str, dtype: str) -> Formula:
    """An entry's "formula" or "derivative" as a function of arrays of this dtype alone."""
    constants = entry.parameters | (entry.derivative_parameters if which == "derivative" else {})
    simpler = getattr(entry, f"default_{which}", None) if constants else None
    if simpler is not None:
        return Formula(simpler)
    if dtype.startswith(("int", "uint")):
        # -1 of hardtanh, where there are no negative numbers, is as good as 0.
        ends = np.iinfo(dtype)
        constants = {name: min(max(n, ends.min), ends.max) for name, n in constants.items()}
    if dtype == "float16":
        # NumPy rounds parameters that are given to float16: the result must not depend on that.
        constants = {name: float(np.float16(number)) for name, number in constants.items()}
    return Formula(getattr(entry, which), constants)


def functions_source(
    compute: str, type_name: str = "T", *, wide: bool = False, **formulas: Formula
) -> str:
    """The source of formulas under other names, made ready to compile without branches.

    The elementary functions that they call, and those that these call, come first. ``type_name`` is
    what the type that is computed in is called there; ``wide``: what is made of it are vectors of
    512 bits (see ``elementary_wide``).
    """
    functions: dict[str, str] = {}
    for name, formula in formulas.items():
        _add_function(functions, formula, name, _Typed(compute, type_name, wide))
    return "\n\n".join(functions.values())


def _add_function(functions: dict[str, str], formula: Formula, name: str, typed: _Typed) -> None:
    assert formula.function is not None
    tree = ast.parse(textwrap.dedent(inspect.getsource(formula.function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    for node in ast.walk(tree):
        used = typed.elementary(node.id) if isinstance(node, ast.Name) else None
        if inspect.isfunction(used) and used.__name__ not in functions:
            _add_function(functions, Formula(used), used.__name__, typed)
    tree.name = name
    tree.decorator_list = [ast.Name("formula", ast.Load())]
    tree.args.defaults = []
    tree.args.args = [a for a in tree.args.args if a.arg not in formula.constants]
    for parameter, number in formula.constants.items():
        constant = ast.Assign([ast.Name(parameter, ast.Store())], ast.Constant(number))
        tree.body.insert(0, constant)
    functions[name] = ast.unparse(ast.fix_missing_locations(typed.visit(tree)))


class _Typed(ast.NodeTransformer):
    """Literals take the type that is computed in, and choices become ``select``.

    ``0.5`` becomes ``T(0.5)``, since a bare literal would turn float32 arithmetic into float64;
    ``a if c else b`` becomes ``select(c, T(a), T(b))``; and what ``elementary`` describes.
    """

    def __init__(self, compute: str, type_name: str, wide: bool) -> None:
        self.type_name = type_name
        self.wide = wide and compute == "float32"
        self.constants = elementary.CONSTANTS.get(compute, {})
        self.coefficients = COEFFICIENTS.get(compute, {})
        self.round = np.float32 if compute == "float32" else float

    def elementary(self, name: str) -> Any:
        """The elementary function of this name, if there is one."""
        general = getattr(elementary, name, None)
        return getattr(elementary_wide, name, general) if self.wide else general

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return self.typed(node) if isinstance(node.value, int | float) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.constants:
            return self.typed(ast.Constant(self.constants[node.id]))
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        test, body, orelse = map(self.visit, (node.test, node.body, node.orelse))
        return called("select", test, self.typed(body), self.typed(orelse))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = ast.unparse(node.func)
        if function == "polynomial":
            x, name = node.args
            return self.polynomial(self.visit(x), self.coefficients[ast.unparse(name)])
        if function == "piecewise":
            *operands, name = node.args
            numbers = [
                ast.parse(repr(part), mode="eval").body for part in PIECES[ast.unparse(name)]
            ]
            return called(function, *(self.typed(self.visit(x)) for x in operands), *numbers)
        if function == "either":
            condition, near, far, *operands = node.args
            typed = [self.typed(self.visit(x)) for x in operands]
            return called(function, self.visit(condition), near, far, *typed)
        if function in ("constant", "constant_low"):
            (digits,) = (ast.literal_eval(argument) for argument in node.args)
            high = float(self.round(digits))
            low = float(Fraction(digits) - Fraction(high))
            return self.typed(ast.Constant(high if function == "constant" else low))
        if function == "abs":
            node.func = ast.Name("absolute", ast.Load())
        node.args = [self.typed(self.visit(argument)) for argument in node.args]
        return node

    def typed(self, value: ast.expr) -> ast.Call:
        return called(self.type_name, value)

    def polynomial(self, x: ast.expr, coefficients: list[float]) -> ast.expr:
        result: ast.expr = self.typed(ast.Constant(coefficients[-1]))
        for c in reversed(coefficients[:-1]):
            result = called("fma", result, x, self.typed(ast.Constant(c)))
        return result


def called(function: str, *arguments: ast.expr) -> ast.Call:
    """The tree of a call."""
    return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])


def call(function: str, argument: str) -> str:
    """The source of a call; of the argument alone if there is no function."""
    return f"{function}({argument})" if function else argument


# --- what is computed from them -----------------------------------------------------------------


def product(grad: str, slope: str = "slope") -> str:
    """Source of a product that is 0 where the second factor is, whatever the first."""
    return f"select({slope} != T(0), T({grad} * {slope}), T(0))"


def backward_source(
    derivative: Formula, parameters: Iterable[str], compute: str, wide: bool = False
) -> str:
    """``value(grad, x, *parameters)``"""
    names = ", ".join(["x", *parameters])
    return f"""\
{functions_source(compute, wide=wide, derivative=derivative)}

@formula
def value(grad, {names}):
    slope = derivative({names})
    return {product("grad")}
"""


def gated_source(entry: Activation, compute: str, wide: bool = False) -> str:
    """``value(gate, up)``"""
    return f"""\
{functions_source(compute, wide=wide, activation=Formula(entry.formula))}

@formula
def value(gate, up):
    return T(activation(gate) * up)
"""


def gated_backward_source(entry: Activation, compute: str, wide: bool = False) -> str:
    """``value0(grad, gate, up)`` and ``value1``: the gradients by the gate and by ``up``."""
    activation, derivative = Formula(entry.formula), derivative_of(entry)
    return f"""\
{functions_source(compute, wide=wide, activation=activation, derivative=derivative)}

@formula
def value0(grad, gate, up):
    slope = derivative(gate)
    return {product("T(grad * up)")}

@formula
def value1(grad, gate, up):
    slope = activation(gate)
    return {product("grad")}
"""
