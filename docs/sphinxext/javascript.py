"""The catalogue's formulas in JavaScript, for the page that compares functions.

They are translated from Python's syntax tree, and so are the functions of ``scalar.py`` that they
call, so the page draws what the catalogue says. What numbers lose to rounding, which some formulas
carry along, is left out: it is too small to be drawn.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastact.catalogue import Activation, Randomized, scalar
from fastact.catalogue.entries import REQUIRED, formulas

__all__ = ["script", "setup"]

#: What is left out, and what JavaScript has no function for.
_OWN = """\
const product_low = () => 0, constant_low = () => 0, constant = Number;
function erfc(x) {
  if (x < 0) return 2 - erfc(-x);
  if (x < 2) { // 1 - erf(x), by its series
    let term = x, sum = x;
    for (let k = 1; k < 60; k++) { term *= -x * x / k; sum += term / (2 * k + 1); }
    return 1 - 2 / Math.sqrt(Math.PI) * sum;
  }
  let fraction = x; // a continued fraction
  for (let k = 60; k > 0; k--) fraction = x + k / 2 / fraction;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
}
function copysign(x, sign) {
  return (sign < 0 || Object.is(sign, -0)) ? -Math.abs(x) : Math.abs(x);
}
"""
_DEFINED = {"product_low", "constant_low", "constant"}
_MATH = {"inf": "Infinity", "pi": "Math.PI", "erfc": "erfc", "copysign": "copysign"}


def script() -> str:
    """A classic script, which also pages opened as files may load; it sets ``fastactFunctions``."""
    needed: dict[str, str] = {}
    entries = []
    for name, entry in formulas().items():
        entries.append(f"{json.dumps(name)}: {_entry(entry, needed)}")
    listed = ",\n".join(entries)
    body = "\n".join([_OWN, *needed.values(), f"return {{\n{listed}\n}};"])
    return f'"use strict";\nconst fastactFunctions = (() => {{\n{body}\n}})();\n'


def _entry(entry: Activation, needed: dict[str, str]) -> str:
    defaults = entry.parameters
    if isinstance(entry, Randomized):
        defaults = entry.chosen({})[1]
    parameters = [
        {"name": name, "about": about, "value": 0.25 if default is REQUIRED else default}
        for (name, default), about in zip(defaults.items(), entry.about, strict=False)
    ]
    facts = {"family": entry.family, "parameters": parameters, "constraints": entry.constraints}
    translated = {
        "formula": translate(entry.formula, needed),
        "derivative": translate(entry.derivative, needed),  # type: ignore[arg-type]
    }
    inner = [f"{key}: {json.dumps(value)}" for key, value in facts.items()]
    inner += [f"{key}: {source}" for key, source in translated.items()]
    return f"{{{', '.join(inner)}}}"


def translate(function: Callable[..., Any], needed: dict[str, str]) -> str:
    """A function expression; functions of ``scalar.py`` that it calls are added to ``needed``."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) else ""
        called = getattr(scalar, name, None)
        if inspect.isfunction(called) and name not in needed and name not in _DEFINED:
            needed[name] = ""  # it may call itself
            needed[name] = f"const {name} = {translate(called, needed)};"
    return _Translator(tree).source


class _Translator:
    def __init__(self, tree: ast.FunctionDef) -> None:
        arguments = [a.arg for a in tree.args.args]
        body, defaults = tree.body, tree.args.defaults
        if isinstance(body[0], ast.Expr):  # the docstring
            body = body[1:]
        first = len(arguments) - len(defaults)
        listed = arguments[:first]
        listed += [
            f"{name} = {self.expression(value)}"
            for name, value in zip(arguments[first:], defaults, strict=True)
        ]
        assigned = sorted(
            {
                n.id
                for n in ast.walk(tree)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
            - set(arguments)
        )
        variables = f"let {', '.join(assigned)}; " if assigned else ""
        statements = " ".join(map(self.statement, body))
        self.source = f"function ({', '.join(listed)}) {{ {variables}{statements} }}"

    def statement(self, node: ast.stmt) -> str:
        match node:
            case ast.Return(value=ast.expr() as value):
                return f"return {self.expression(value)};"
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                return f"{name} = {self.expression(value)};"
            case ast.If(test=test, body=body, orelse=[]):
                return f"if {self.expression(test)} {{ {' '.join(map(self.statement, body))} }}"
            case ast.For(
                target=ast.Name(id=name), iter=ast.Call(args=[start, stop, step]), body=body
            ):
                down = isinstance(step, ast.UnaryOp)
                first, last, change = map(self.expression, (start, stop, step))
                head = f"{name} = {first}; {name} {'>' if down else '<'} {last}; {name} += {change}"
                return f"for ({head}) {{ {' '.join(map(self.statement, body))} }}"
        raise NotImplementedError(ast.unparse(node))

    def expression(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str() as text):
                return json.dumps(text)
            case ast.Constant(value=number):
                return repr(number)
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=ast.Name(id="math"), attr=name):
                return _MATH.get(name, f"Math.{name}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"(-{self.expression(operand)})"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return f"(!{self.expression(operand)})"
            case ast.BinOp(left=left, op=op, right=right):
                return f"({self.expression(left)} {_OPERATORS[type(op)]} {self.expression(right)})"
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return f"({self.expression(left)} {_OPERATORS[type(op)]} {self.expression(right)})"
            case ast.IfExp(test=test, body=body, orelse=orelse):
                parts = map(self.expression, (test, body, orelse))
                return "({} ? {} : {})".format(*parts)
            case ast.Call(func=ast.Name(id="abs"), args=[argument]):
                return f"Math.abs({self.expression(argument)})"
            case ast.Call(func=function, args=arguments):
                listed = ", ".join(map(self.expression, arguments))
                return f"{self.expression(function)}({listed})"
        raise NotImplementedError(ast.unparse(node))


_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "===",
    ast.NotEq: "!==",
}


def _write(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "functions.js"
        target.write_text(script(), encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
