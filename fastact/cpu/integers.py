"""Functions of integers, from Python to LLVM IR, without Numba.

Driver and recycler handle addresses, sizes and counts: all of their values are ``int64``. Numba
takes 0.4 s to import, and then 0.4 s for a function such as ``driver.large``, nearly all of it to
find types that are known here. This translation takes a hundredth of that.

What is translated is Python, with its meaning, but integers wrap around at 64 bits: assignments,
``if``, ``while``, ``for`` over ``range`` with a positive step, ``break``, ``continue``, ``return``,
arithmetic, comparisons, ``and``, ``or``, ``not``, conditional expressions, and calls of functions
that are translated, too, and of the instructions in ``words``. Other names are those of the module:
integers, or modules that have them. A function without ``return`` returns 0.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from fastact.cpu.words import Instruction

__all__ = ["ir_text"]

_int = ir.IntType(64)
_truth = ir.IntType(1)

_ARITHMETIC = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.LShift: "shl",
    ast.RShift: "ashr",
    ast.BitAnd: "and_",
    ast.BitOr: "or_",
    ast.BitXor: "xor",
}
_COMPARISONS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


def ir_text(function: Callable[..., Any], signature: None, symbol: str) -> str:
    """LLVM IR that defines ``function`` under the name ``symbol``, with C's calling convention.

    All arguments and the result are ``int64``, which is also how an address is passed.
    """
    module = ir.Module()
    _Translation(module).define(function, symbol)
    return str(module)


@functools.cache
def _definitions(module: str) -> dict[str, ast.FunctionDef]:
    """The functions of a module as syntax trees."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


class _Translation:
    """A module under construction, and its functions."""

    def __init__(self, module: ir.Module) -> None:
        self.module = module
        self._functions: dict[Callable[..., Any], ir.Function] = {}

    def define(self, function: Callable[..., Any], name: str) -> ir.Function:
        if function not in self._functions:
            source = _definitions(function.__module__)[function.__name__]
            function_type = ir.FunctionType(_int, [_int] * len(source.args.args))
            self._functions[function] = ir.Function(self.module, function_type, name)
            _Body(self, function, source, self._functions[function])
        return self._functions[function]


class _Body:
    """One function's statements and expressions as instructions.

    Variables live in memory here; LLVM keeps them in registers.
    """

    def __init__(
        self,
        translation: _Translation,
        function: Callable[..., Any],
        source: ast.FunctionDef,
        target: ir.Function,
    ) -> None:
        self._translation = translation
        self._function = function
        self._builder = ir.IRBuilder(target.append_basic_block())
        self._variables: dict[str, Any] = {}
        #: Where ``continue`` and ``break`` go, for each loop around a statement.
        self._loops: list[tuple[Any, Any]] = []
        for argument, value in zip(source.args.args, target.args, strict=True):
            self._assign(argument.arg, value)
        self._statements(source.body)
        if not self._ended():
            self._builder.ret(_int(0))

    def _refuse(self, node: ast.AST) -> SyntaxError:
        where = f"{self._function.__module__}.{self._function.__name__}"
        return SyntaxError(f"{where} has what cannot be compiled: {ast.unparse(node)}")

    # --- statements -----------------------------------------------------------------------------

    def _statements(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self._ended():
                return
            self._statement(statement)

    def _ended(self) -> bool:
        return self._builder.block.is_terminated

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(ast.Constant()):  # a docstring
                pass
            case ast.Expr(ast.Call() as call):
                self._call(call)
            case ast.Assign(targets, ast.Tuple(values)):
                (target,) = targets
                assert isinstance(target, ast.Tuple)
                computed = [self._value(value) for value in values]
                for name, value in zip(target.elts, computed, strict=True):
                    self._assign(ast.unparse(name), value)
            case ast.Assign(targets, value):
                result = self._value(value)
                for target in targets:
                    self._assign(ast.unparse(target), result)
            case ast.AugAssign(ast.Name(name) as target, operator, value):
                read = ast.Name(target.id, ast.Load())
                self._assign(name, self._value(ast.BinOp(read, operator, value)))
            case ast.If(test, body, orelse):
                self._if(test, lambda: self._statements(body), lambda: self._statements(orelse))
            case ast.While(test, body, []):
                again, once = lambda: self._condition(test), lambda: self._statements(body)
                self._loop(again, once, lambda: None)
            case ast.For(ast.Name(name), ast.Call(ast.Name("range"), bounds), body, []):
                self._for(name, bounds, body)
            case ast.Return(value):
                self._builder.ret(self._value(value) if value else _int(0))
            case ast.Break():
                self._builder.branch(self._loops[-1][1])
            case ast.Continue():
                self._builder.branch(self._loops[-1][0])
            case _:
                raise self._refuse(node)

    def _assign(self, name: str, value: Any) -> None:
        if not name.isidentifier():
            raise SyntaxError(f"{self._function.__name__} assigns to {name}")
        if name not in self._variables:
            with self._builder.goto_entry_block():
                self._variables[name] = self._builder.alloca(_int)
        self._builder.store(value, self._variables[name])

    def _for(self, name: str, bounds: list[ast.expr], body: list[ast.stmt]) -> None:
        given = [self._value(bound) for bound in bounds]
        first = given[0] if len(given) > 1 else _int(0)
        stop = given[1] if len(given) > 1 else given[0]
        step = given[2] if len(given) > 2 else _int(1)
        counter = self._temporary(_int)  # not the variable: the body may assign to that
        self._builder.store(first, counter)

        def another() -> Any:
            return self._builder.icmp_signed("<", self._builder.load(counter), stop)

        def iteration() -> None:
            self._assign(name, self._builder.load(counter))
            self._statements(body)

        def advance() -> None:
            following = self._builder.add(self._builder.load(counter), step)
            self._builder.store(following, counter)

        self._loop(another, iteration, advance)

    def _loop(
        self, condition: Callable[[], Any], body: Callable[[], None], advance: Callable[[], None]
    ) -> None:
        builder = self._builder
        head, inside, after, end = (builder.append_basic_block() for _ in range(4))
        builder.branch(head)
        builder.position_at_end(head)
        builder.cbranch(condition(), inside, end)
        builder.position_at_end(inside)
        self._loops.append((after, end))
        body()
        self._loops.pop()
        if not self._ended():
            builder.branch(after)
        builder.position_at_end(after)
        advance()
        builder.branch(head)
        builder.position_at_end(end)

    def _if(self, test: ast.expr, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        with self._builder.if_else(self._condition(test)) as (true, false):
            with true:
                then()
                ended = self._ended()
            with false:
                otherwise()
                ended = ended and self._ended()
        if ended:
            self._builder.unreachable()

    # --- expressions ----------------------------------------------------------------------------

    def _value(self, node: ast.expr) -> Any:
        """An expression as ``int64``."""
        value = self._expression(node)
        return self._builder.zext(value, _int) if value.type == _truth else value

    def _condition(self, node: ast.expr) -> Any:
        """An expression as a truth value."""
        if isinstance(node, ast.BoolOp):
            return self._either(isinstance(node.op, ast.And), node.values, self._condition)
        value = self._expression(node)
        return value if value.type == _truth else self._builder.icmp_signed("!=", value, _int(0))

    def _expression(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(bool() as number):
                return _truth(number)
            case ast.Constant(int() as number):
                return _int(number)
            case ast.Name(name) if name in self._variables:
                return self._builder.load(self._variables[name])
            case ast.Name() | ast.Attribute():
                number = self._outside(node)
                if not isinstance(number, int):
                    raise self._refuse(node)
                return _int(number)
            case ast.Call():
                return self._call(node)
            case ast.BinOp(left, operator, right):
                return self._arithmetic(operator, self._value(left), self._value(right), node)
            case ast.UnaryOp(ast.USub(), operand):
                return self._builder.neg(self._value(operand))
            case ast.UnaryOp(ast.Invert(), operand):
                return self._builder.not_(self._value(operand))
            case ast.UnaryOp(ast.Not(), operand):
                return self._builder.not_(self._condition(operand))
            case ast.Compare(left, [operator], [right]) if type(operator) in _COMPARISONS:
                sides = self._value(left), self._value(right)
                return self._builder.icmp_signed(_COMPARISONS[type(operator)], *sides)
            case ast.BoolOp(operator, values):
                return self._either(isinstance(operator, ast.And), values, self._value)
            case ast.IfExp(test, body, orelse):
                return self._choice(test, body, orelse)
        raise self._refuse(node)

    def _outside(self, node: ast.expr) -> Any:
        """What a name means in the function's module."""
        if isinstance(node, ast.Attribute):
            return getattr(self._outside(node.value), node.attr)
        if not isinstance(node, ast.Name) or node.id not in self._function.__globals__:
            raise self._refuse(node)
        return self._function.__globals__[node.id]

    def _arithmetic(self, operator: ast.operator, a: Any, b: Any, node: ast.expr) -> Any:
        builder = self._builder
        if type(operator) in _ARITHMETIC:
            return getattr(builder, _ARITHMETIC[type(operator)])(a, b)
        if not isinstance(operator, ast.FloorDiv | ast.Mod):
            raise self._refuse(node)
        # The machine rounds towards zero, Python down.
        remainder = builder.srem(a, b)
        inexact = builder.icmp_signed("!=", remainder, _int(0))
        negative = builder.icmp_signed("<", builder.xor(a, b), _int(0))
        down = builder.and_(inexact, negative)
        if isinstance(operator, ast.Mod):
            return builder.select(down, builder.add(remainder, b), remainder)
        return builder.sub(builder.sdiv(a, b), builder.zext(down, _int))

    def _either(
        self, every: bool, values: list[ast.expr], evaluate: Callable[[ast.expr], Any]
    ) -> Any:
        """``and`` or ``or``: what is not needed is not computed."""
        value = evaluate(values[0])
        if len(values) == 1:
            return value
        builder = self._builder
        slot = self._temporary(value.type)
        builder.store(value, slot)
        known = builder.icmp_signed("!=", value, value.type(0))
        with builder.if_then(known if every else builder.not_(known)):
            builder.store(self._either(every, values[1:], evaluate), slot)
        return builder.load(slot)

    def _choice(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Any:
        slot = self._temporary(_int)
        self._if(
            test,
            lambda: self._builder.store(self._value(body), slot),
            lambda: self._builder.store(self._value(orelse), slot),
        )
        return self._builder.load(slot)

    def _temporary(self, kind: Any) -> Any:
        with self._builder.goto_entry_block():
            return self._builder.alloca(kind)

    def _call(self, node: ast.Call) -> Any:
        called = self._outside(node.func)
        arguments = [self._value(argument) for argument in node.args]
        if isinstance(called, Instruction):
            result = called.emit(self._builder, *arguments)
            return _int(0) if result is None else result
        if not inspect.isfunction(called):
            raise self._refuse(node)
        name = f"{called.__module__}.{called.__name__}"
        return self._builder.call(self._translation.define(called, name), arguments)
