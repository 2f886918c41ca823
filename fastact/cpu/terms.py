"""Loops over rows of the terms of a loss: what each element adds, its gradient, and sums of rows.

Rows are parts of arrays without gaps. A row is never split, and what it sums up, it sums up in
float64 and in an order of its own: the result is the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastact.catalogue.dtypes import Kind
from fastact.catalogue.losses import Loss
from fastact.cpu.compiler import Unit
from fastact.cpu.loops import unit_of_source
from fastact.cpu.row_source import DOUBLE, indented
from fastact.source.formulas import Formula, call, functions_source

__all__ = ["operands", "unit"]

# What a loop can give, in this order: the "gradient" by each element; the "value" of each; and the
# "sum" of values over a row, beside which gradients are multiplied by a number.


def operands(loss: Loss, kind: Kind, outputs: tuple[str, ...]) -> list[Kind]:
    """Kinds of the operands: element, target, parameters, the number for gradients, outputs."""
    compute = Kind(kind.compute, kind.compute, kind.compute)
    inputs = [kind, kind, *[compute] * len(loss.parameters)]
    inputs += [DOUBLE] * (outputs == ("gradient", "sum"))
    return [*inputs, *(DOUBLE if name == "sum" else kind for name in outputs)]


def unit(loss: Loss, kind: Kind, outputs: tuple[str, ...]) -> Unit:
    """``(n),(n),(n)...,()->...``, where rows of parameters may be one number over and over."""
    kinds = operands(loss, kind, outputs)
    parameters = range(2, 2 + len(loss.parameters))
    gradient, scaled = "gradient" in outputs, outputs == ("gradient", "sum")
    out = {name: len(kinds) - len(outputs) + k for k, name in enumerate(outputs)}
    long = [0, 1, *parameters, *(k for name, k in out.items() if name != "sum")]
    formulas: dict[str, Any] = {"gradient": Formula(loss.gradient)} if gradient else {}
    if outputs != ("gradient",):
        formulas["value"] = Formula(loss.value)

    def element(read: Callable[[int], str], write: Callable[[int, str], str]) -> str:
        """What is done with the element number ``i``."""
        # Everything is read before anything is written: the gradient may replace the elements.
        lines = [f"x{k} = T({call(kinds[k].load, read(k))})" for k in (0, 1, *parameters)]
        given = ", ".join(f"x{k}" for k in (0, 1, *parameters))
        if gradient:
            lines.append(f"by = T(gradient({given}){' * scale' * scaled})")
        if "value" in formulas:
            lines.append(f"term = T(value({given}))")
        if "sum" in out:
            lines.append("total = plus_any_order(total, A(term))")
        named = {"gradient": "by", "value": "term"}
        lines += [
            write(k, call(kind.store, named[name])) for name, k in out.items() if name != "sum"
        ]
        return "\n".join(lines) + "\n"

    def row(body: str, mark: str) -> str:
        summed = f"shifted(a{out['sum']}, r * s{out['sum']})[0] = total\n" if "sum" in out else ""
        return f"""\
for r in range(rows):
{indented("".join(f"p{k} = shifted(a{k}, r * s{k})" + chr(10) for k in long))}
{indented("".join(f"v{k} = p{k}[0]" + chr(10) for k in parameters)) if parameters else ""}
    total = A(0)
    for i in range(n):
{indented(body + mark, 2)}
{indented(summed) if summed else ""}
"""

    def contiguous(scalars: bool) -> str:
        def read(k: int) -> str:
            return f"v{k}" if scalars and k in parameters else f"load(p{k}, i)"

        return row(element(read, lambda k, y: f"store(p{k}, i, {y})"), "eight_wide_twice()\n")

    tests = [f"c{k} == {kinds[k].itemsize}" for k in long if k not in parameters]
    scalars = [*tests, *(f"c{k} == 0" for k in parameters)]
    arrays = [*tests, *(f"c{k} == {kinds[k].itemsize}" for k in parameters)]
    by_arrays = f"elif {' and '.join(arrays)}:\n{indented(contiguous(False))}" if parameters else ""
    anywhere = row(
        element(
            lambda k: f"shifted(p{k}, i * c{k})[0]",
            lambda k, y: f"shifted(p{k}, i * c{k})[0] = {y}",
        ),
        "",
    )
    body = f"""\
rows = dimensions[0]
n = dimensions[1]
{"".join(f"a{k} = operand(args, {k}, {of.storage})" + chr(10) for k, of in enumerate(kinds))}
{"".join(f"s{k} = steps[{k}]" + chr(10) for k in range(len(kinds)))}
{"".join(f"c{k} = steps[{len(kinds) + position}]" + chr(10) for position, k in enumerate(long))}
{f"scale = T(a{2 + len(parameters)}[0])" if scaled else ""}
if n < 1:
    return
if {" and ".join(scalars)}:
{indented(contiguous(True))}
{by_arrays}
else:
{indented(anywhere)}
"""
    functions = functions_source(kind.compute, **formulas)
    text = f"{functions}\n\n\ndef loop(args, dimensions, steps, data):\n{indented(body)}\n"
    name = f"{loss.name}_{'_'.join(outputs)}-{kind.name}"
    return unit_of_source(name, text, kinds, kind.compute, module=__name__)
