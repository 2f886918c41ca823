"""Formulas of the catalogue in mathematical notation: from Python's syntax tree to TeX.

What is set is the catalogue's formula where that is short and says nothing of rounding, otherwise
the NumPy idiom that it replaces, which is what a paper has. So nothing is written a second time.
"""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import textwrap
from collections.abc import Callable
from typing import Any

from fastact.catalogue import Activation, Entry, Largest, Rows

__all__ = ["Shown", "derivative", "formula", "operator", "shown", "tex"]

#: Calls that have a notation of their own; formulas with others are not set.
_PLAIN = {"abs", "exp", "exp_times", "expm1", "sqrt"}

_GREEK = {"alpha", "beta", "lambd"}
_LETTERS = {
    "negative_slope": "a",
    "weight": "w",
    "threshold": r"\theta",
    "max_value": "m",
    "min_val": r"x_{\min}",
    "max_val": r"x_{\max}",
    "lambd": r"\lambda",
    "slope": "a",
    "value": "v",
    "offset": "b",
}

#: How tightly an expression is bound: what is looser than its place is put into parentheses.
_SUM, _PRODUCT, _SIGNED, _POWER, _ATOM = range(5)


class Shown:
    """An expression to be set, and what its letters stand for."""

    def __init__(self, expression: ast.expr, where: dict[str, ast.expr]) -> None:
        self.expression = expression
        self.where = where

    @property
    def lines(self) -> list[str]:
        """What is set, and a line for each letter."""
        return [tex(self.expression), *(f"{name} = {tex(e)}" for name, e in self.where.items())]

    @property
    def names(self) -> dict[str, str]:
        """The parameters that have a letter, and the letter."""
        nodes = [self.expression, *self.where.values()]
        found = {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}
        return {name: _LETTERS[name] for name in sorted(found) if name in _LETTERS}


# --- what is set ---------------------------------------------------------------------------------


def formula(entry: Entry) -> Shown:
    if isinstance(entry, Activation):
        return _short(entry.formula) or shown(entry.idiom)
    assert isinstance(entry, Rows | Largest)
    return shown(entry.idiom)


def derivative(entry: Activation) -> Shown:
    for function in (entry.default_derivative, entry.derivative):
        found = _short(function) if function is not None else None
        if found is not None and (function is entry.derivative or not entry.parameters):
            return found
    return shown(entry.backward_idiom, without="grad")


def shown(source: str, without: str = "") -> Shown:
    """An idiom; ``without`` is a factor that is left out."""
    tree = ast.parse(source, mode="eval").body
    where: dict[str, ast.expr] = {}

    class Named(ast.NodeTransformer):
        def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.expr:
            where[node.target.id] = self.visit(node.value)
            return self.visit_Name(ast.Name(node.target.id, ast.Load()))

        def visit_Name(self, node: ast.Name) -> ast.expr:
            # A letter that is Euler's number in what is set.
            return where[node.id] if node.id == "e" else node

    tree = Named().visit(tree)
    where.pop("e", None)
    if without:
        tree = _without(tree, without)
    return Shown(tree, where)


def _short(function: Callable[..., Any]) -> Shown | None:
    """A formula that is one expression of plain functions."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    (first, *rest) = tree.body
    called = {ast.unparse(n.func) for n in ast.walk(first) if isinstance(n, ast.Call)}
    if rest or not isinstance(first, ast.Return) or not called <= _PLAIN:
        return None
    assert first.value is not None
    return Shown(first.value, {})


def _without(tree: ast.expr, name: str) -> ast.expr:
    """A term with a factor replaced by 1, and products with 1 left out."""

    class Reduced(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return ast.Constant(1) if node.id == name else node

        def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
            node = copy.copy(node)
            node.left, node.right = self.visit(node.left), self.visit(node.right)
            if isinstance(node.op, ast.Mult) and _is(node.left, 1):
                return node.right
            if isinstance(node.op, ast.Mult | ast.Div) and _is(node.right, 1):
                return node.left
            return node

    reduced: ast.expr = Reduced().visit(tree)
    return reduced


def _is(node: ast.expr, number: float) -> bool:
    return isinstance(node, ast.Constant) and node.value == number


# --- from syntax to TeX --------------------------------------------------------------------------


def tex(node: ast.expr) -> str:
    return _set(node)[0]


def _set(node: ast.expr) -> tuple[str, int]:
    """TeX, and how tightly it is bound."""
    for kind, setter in _SETTERS.items():
        if isinstance(node, kind):
            found: tuple[str, int] = setter(node)
            return found
    raise NotImplementedError(f"no notation for {ast.unparse(node)}")


def _in(node: ast.expr, least: int) -> str:
    """In parentheses if it is looser than this."""
    text, bound = _set(node)
    return text if bound >= least else rf"\left({text}\right)"


def _constant(node: ast.Constant) -> tuple[str, int]:
    number = node.value
    return f"{number:.6g}" if isinstance(number, float) else str(number), _ATOM


def _name(node: ast.Name) -> tuple[str, int]:
    if node.id in _LETTERS:
        return _LETTERS[node.id], _ATOM
    if node.id in _GREEK:
        return rf"\{node.id}", _ATOM
    return (node.id if len(node.id) == 1 else rf"\mathrm{{{node.id}}}"), _ATOM


def _unary(node: ast.UnaryOp) -> tuple[str, int]:
    return f"-{_in(node.operand, _SIGNED)}", _SIGNED


def _binary(node: ast.BinOp) -> tuple[str, int]:
    match node.op:
        case ast.Add():
            return f"{_in(node.left, _SUM)} + {_in(node.right, _PRODUCT)}", _SUM
        case ast.Sub():
            return f"{_in(node.left, _SUM)} - {_in(node.right, _PRODUCT)}", _SUM
        case ast.Mult():
            return _times(node.left, node.right)
        case ast.Div():
            return rf"\frac{{{tex(node.left)}}}{{{tex(node.right)}}}", _ATOM
        case ast.Pow():
            if _is(node.right, 0.5):
                return rf"\sqrt{{{tex(node.left)}}}", _ATOM
            return f"{_in(node.left, _ATOM)}^{{{tex(node.right)}}}", _POWER
        case ast.BitAnd():
            return _and(node)
        case ast.BitOr():
            return rf"{tex(node.left)} \text{{ or }} {tex(node.right)}", _SUM
    raise NotImplementedError(f"no notation for {ast.unparse(node)}")


def _times(left: ast.expr, right: ast.expr) -> tuple[str, int]:
    """Equal factors that follow each other are a power."""
    groups = [list(g) for _, g in itertools.groupby([*_factors(left), *_factors(right)], ast.dump)]
    texts = [_factor(*group) for group in groups]
    if len(texts) == 1:
        return texts[0], _POWER if len(groups[0]) > 1 else _PRODUCT
    text = texts[0]
    for other in texts[1:]:
        text += (r" \cdot " if other[:1].isdigit() else r"\,") + other
    return text, _PRODUCT


def _factors(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]


def _factor(node: ast.expr, *again: ast.expr) -> str:
    if again:
        return f"{_in(node, _ATOM)}^{{{1 + len(again)}}}"
    if _is(node, 0.5):
        return r"\frac{1}{2}"
    if isinstance(node, ast.Compare) or _is_and(node):
        # A condition as a factor: 1 where it holds, else 0.
        return rf"\left[{tex(node)}\right]"
    return _in(node, _PRODUCT)


def _is_and(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr)


def _compare(node: ast.Compare) -> tuple[str, int]:
    signs = {
        ast.Lt: "<",
        ast.LtE: r"\le",
        ast.Gt: ">",
        ast.GtE: r"\ge",
        ast.Eq: "=",
        ast.NotEq: r"\ne",
    }
    parts = [tex(node.left)]
    for sign, operand in zip(node.ops, node.comparators, strict=True):
        parts += [signs[type(sign)], tex(operand)]
    return " ".join(parts), _SUM


def _and(node: ast.BinOp) -> tuple[str, int]:
    """x > a and x < b as a < x < b, else both conditions."""
    match node.left, node.right:
        case (
            ast.Compare(left=x, ops=[ast.Gt() | ast.GtE() as low], comparators=[a]),
            ast.Compare(left=y, ops=[ast.Lt() | ast.LtE() as high], comparators=[b]),
        ) if ast.dump(x) == ast.dump(y):
            signs: list[ast.cmpop] = [ast.Lt() if isinstance(low, ast.Gt) else ast.LtE(), high]
            return _compare(ast.Compare(a, signs, [x, b]))
    return rf"{tex(node.left)} \text{{ and }} {tex(node.right)}", _SUM


def _choice(node: ast.IfExp) -> tuple[str, int]:
    return _cases(*_branches(node))


def _branches(node: ast.expr) -> tuple[list[tuple[ast.expr, ast.expr]], ast.expr]:
    """Values with their conditions, in order, and the value otherwise."""
    if isinstance(node, ast.IfExp):
        branches, otherwise = _branches(node.orelse)
        return [(node.body, node.test), *branches], otherwise
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.where":
        test, body, orelse = node.args
        branches, otherwise = _branches(orelse)
        return [(body, test), *branches], otherwise
    return [], node


def _cases(branches: list[tuple[ast.expr, ast.expr]], otherwise: ast.expr) -> tuple[str, int]:
    rows = [rf"{tex(value)} & \text{{if }} {tex(test)}" for value, test in branches]
    rows.append(rf"{tex(otherwise)} & \text{{otherwise}}")
    inner = r" \\ ".join(rows)
    return rf"\begin{{cases}} {inner} \end{{cases}}", _ATOM


def _call(node: ast.Call) -> tuple[str, int]:
    function = ast.unparse(node.func).removeprefix("np.").removeprefix("special.")
    arguments = node.args
    if function == "where":
        return _cases(*_branches(node))
    if function in _CALLS:
        return _CALLS[function](*arguments)
    if isinstance(node.func, ast.Attribute) and node.func.attr in _OF_ROWS:
        row = _in(node.func.value, _PRODUCT)
        return rf"{_OF_ROWS[node.func.attr]} {row}", _PRODUCT
    if not function.isidentifier():
        raise NotImplementedError(f"no notation for {ast.unparse(node)}")
    named = _FUNCTIONS.get(function, operator(function))
    return rf"{named}\left({', '.join(map(tex, arguments))}\right)", _ATOM


_OF_ROWS = {"sum": r"\sum", "max": r"\max", "argmax": r"\operatorname{arg\,max}"}
_FUNCTIONS = {
    "log": r"\ln",
    "maximum": r"\max",
    "minimum": r"\min",
    "tanh": r"\tanh",
}


def operator(name: str) -> str:
    """The name of a function, as one that is set upright."""
    return rf"\operatorname{{{name}}}"


def _power_of_e(x: ast.expr) -> tuple[str, int]:
    return ("1" if _is(x, 0) else f"e^{{{tex(x)}}}"), _POWER


def _sum_of_powers(a: ast.expr, b: ast.expr) -> tuple[str, int]:
    return rf"\ln\left({_power_of_e(a)[0]} + {_power_of_e(b)[0]}\right)", _ATOM


def _clip(x: ast.expr, low: ast.expr, high: ast.expr) -> tuple[str, int]:
    return rf"\min\left(\max\left({tex(x)}, {tex(low)}\right), {tex(high)}\right)", _ATOM


_CALLS: dict[str, Callable[..., tuple[str, int]]] = {
    "abs": lambda x: (rf"\left|{tex(x)}\right|", _ATOM),
    "clip": _clip,
    "exp": _power_of_e,
    "exp_times": lambda x, y: _times(y, ast.Call(ast.Name("exp", ast.Load()), [x], [])),
    "expm1": lambda x: (f"{_power_of_e(x)[0]} - 1", _SUM),
    "log1p": lambda x: (rf"\ln\left(1 + {_in(x, _PRODUCT)}\right)", _ATOM),
    "logaddexp": _sum_of_powers,
    "sqrt": lambda x: (rf"\sqrt{{{tex(x)}}}", _ATOM),
    "square": lambda x: (f"{_in(x, _ATOM)}^{{2}}", _POWER),
}


def _attribute(node: ast.Attribute) -> tuple[str, int]:
    return {"np.pi": r"\pi"}[ast.unparse(node)], _ATOM


def _tuple(node: ast.Tuple) -> tuple[str, int]:
    return r",\quad ".join(map(tex, node.elts)), _SUM


_SETTERS: dict[type[ast.expr], Callable[[Any], tuple[str, int]]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.IfExp: _choice,
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.Tuple: _tuple,
}
