"""Serial inner loops with NumPy's own signature, generated from a formula.

A loop has three forms of the same line: over contiguous operands, over contiguous operands where
the output is one of the inputs, and over operands with any strides. LLVM vectorizes the first two.
The in-place form is separate because LLVM guards a vectorized loop with a test for overlap, and
falls back to scalar code when output and input are the same array (10 000 elements: 2.7 times
slower).

The source of a loop is text, made here, so that what is compiled can be read
(``print(loops.forward(entry, kind).text)``) and so that the text is the cache key.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from fastact.activations import Activation
from fastact.cpu.compiler import Unit
from fastact.dtypes import Kind

__all__ = ["Operands", "backward", "forward"]


@dataclasses.dataclass(frozen=True)
class Operands:
    """The operands of an elementwise kernel: arrays, then parameters, then one output.

    ``parameter_kind`` is given where parameters have another dtype than the arrays. ``weights``:
    the parameters may be contiguous arrays, too, and deserve a fast path for that.
    """

    arrays: int
    parameters: int
    kind: Kind
    parameter_kind: Kind | None = None
    weights: bool = False

    @property
    def kinds(self) -> list[Kind]:
        parameter_kind = self.parameter_kind or self.kind
        return [self.kind] * self.arrays + [parameter_kind] * self.parameters + [self.kind]


def forward(entry: Activation, operands: Operands) -> Unit:
    """The loop ``out = formula(x, *parameters)``."""
    return _unit(f"{entry.name}-{operands.kind.name}", _function(entry.formula, "value"), operands)


def backward(entry: Activation, operands: Operands) -> Unit:
    """The loop ``out = grad * derivative(x, *parameters)``, 0 where the derivative is 0."""
    names = ", ".join(["x", *entry.parameters])
    functions = f"""\
{_function(entry.derivative, "derivative")}

@formula
def value(grad, {names}):
    slope = derivative({names})
    return select(slope != T(0), T(grad * slope), T(0))
"""
    return _unit(f"{entry.name}_backward-{operands.kind.name}", functions, operands)


# --- formulas -----------------------------------------------------------------------------------


def _function(formula: Callable[..., Any] | None, name: str) -> str:
    """The source of ``formula`` under another name, made ready to compile without branches."""
    assert formula is not None
    tree = ast.parse(textwrap.dedent(inspect.getsource(formula))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.name = name
    tree.decorator_list = [ast.Name("formula", ast.Load())]
    tree.args.defaults = []
    return ast.unparse(ast.fix_missing_locations(_Typed().visit(tree)))


class _Typed(ast.NodeTransformer):
    """``0.5`` becomes ``T(0.5)``, and ``a if c else b`` becomes ``select(c, T(a), T(b))``.

    A bare literal would turn float32 arithmetic into float64.
    """

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return _called("T", node) if isinstance(node.value, int | float) else node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        test, body, orelse = map(self.visit, (node.test, node.body, node.orelse))
        return _called("select", test, _called("T", body), _called("T", orelse))


def _called(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])


# --- loops --------------------------------------------------------------------------------------


def _unit(name: str, functions: str, operands: Operands) -> Unit:
    kind = operands.kind
    text = f"{functions}\n{_loop(operands)}"

    def build() -> tuple[Callable[..., Any], Any]:
        from numba import njit, types

        from fastact.cpu import half, intrinsics

        namespace: dict[str, Any] = {
            **{
                name: getattr(intrinsics, name)
                for name in ("address", "operand", "select", "shifted")
            },
            **{k.load: getattr(half, k.load) for k in operands.kinds if k.load},
            **{k.store: getattr(half, k.store) for k in operands.kinds if k.store},
            **{k.storage: getattr(types, k.storage) for k in operands.kinds},
            "T": getattr(types, kind.compute),
            # forceinline: a call inside a loop keeps LLVM from vectorizing it.
            "formula": njit(  # type: ignore[call-overload]
                forceinline=True,
                error_model="numpy",
                no_cpython_wrapper=True,
                no_cfunc_wrapper=True,
            ),
        }
        exec(compile(text, f"<fastact {name}>", "exec"), namespace)
        return namespace["loop"], intrinsics.LOOP_SIGNATURE

    modules = ("fastact.cpu.loops", "fastact.cpu.intrinsics", "fastact.cpu.half", "fastact.dtypes")
    return Unit(name, build, modules, text)


def _loop(operands: Operands) -> str:
    kinds = operands.kinds
    arrays = range(operands.arrays)
    parameters = range(operands.arrays, operands.arrays + operands.parameters)
    out = len(kinds) - 1
    size = operands.kind.itemsize
    lines = [
        "def loop(args, dimensions, steps, data):",
        "    n = dimensions[0]",
        "    if n < 1:",
        "        return",
    ]
    for k, kind in enumerate(kinds):
        lines += [f"    a{k} = operand(args, {k}, {kind.storage})", f"    s{k} = steps[{k}]"]

    def statement(target: str, values: list[str]) -> str:
        result = f"T(value({', '.join(values)}))"
        return f"{target} = {_call(kinds[out].store, result)}"

    def fast_path(contiguous: list[int], scalars: list[int]) -> list[str]:
        tests = [f"s{k} == {size}" for k in (*contiguous, out)] + [f"s{k} == 0" for k in scalars]
        path = [f"    if {' and '.join(tests)}:"]
        path += [f"        v{k} = {_value(kinds[k], f'a{k}[0]')}" for k in scalars]
        values = [_value(kinds[k], f"a{k}[i]") for k in contiguous] + [f"v{k}" for k in scalars]
        for k in arrays:
            path += [
                f"        if address(a{k}) == address(a{out}):",
                "            for i in range(n):",
                f"                {statement(f'a{k}[i]', values)}",
                "            return",
            ]
        return [
            *path,
            "        for i in range(n):",
            f"            {statement(f'a{out}[i]', values)}",
            "        return",
        ]

    lines += fast_path([*arrays], [*parameters])
    if operands.weights and operands.parameter_kind is None:
        lines += fast_path([*arrays, *parameters], [])
    values = [_value(kinds[k], f"shifted(a{k}, i * s{k})[0]") for k in range(out)]
    lines += [
        "    for i in range(n):",
        f"        {statement(f'shifted(a{out}, i * s{out})[0]', values)}",
    ]
    return "\n".join(lines) + "\n"


def _value(kind: Kind, element: str) -> str:
    """The element as a value of the type that is computed in."""
    return f"T({_call(kind.load, element)})"


def _call(function: str, argument: str) -> str:
    return f"{function}({argument})" if function else argument
