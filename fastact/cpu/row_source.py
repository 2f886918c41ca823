"""Kernels over rows: softmax and its relatives, and maxout, as loops of generalized ufuncs.

A row is read three times: for its largest element, for the sum of a term of each element, and for
the results. Sums are kept in float64, and in two parts, so that they are as good as exact. The
source of a loop has these three steps in a form for each way in which rows lie in memory:

- contiguous rows that are not short, each a sequence of vectors;
- short rows, however they lie: eight are copied to the stack, side by side, and each vector has an
  element of every one;
- rows side by side in memory, along an axis that is not the last: many at once in the same way;
- anything else, element by element.

The type that is computed in is T in the source, and float64 is A.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
from typing import Any

from fastact.catalogue import RowFormula
from fastact.catalogue.dtypes import Kind
from fastact.cpu.compiler import Unit
from fastact.cpu.loops import unit_of_source
from fastact.source import elementary
from fastact.source.formulas import Formula, call, functions_source
from fastact.source.totals import known

__all__ = ["BESIDE", "DOUBLE", "INDEX", "Source", "indented", "two_sum"]

#: Bytes of the stack that short rows are copied to; together with the rest, less than a page.
SHORT_BYTES = 2048
#: Rows side by side that are worked on at once.
BESIDE = {"float32": 128, "float64": 64}
#: Terms that are summed, in any order, before their sum is added to the total exactly: eight for
#: each lane of float64.
BLOCK = {"float32": 512, "float64": 64}

INDEX = Kind("int64", "int64", "int64")
DOUBLE = Kind("float64", "float64", "float64")


class Source:
    """Makes the source of one loop."""

    #: Rows of the short form are at most so long; 0: as many as fit.
    limit = 0

    def __init__(
        self,
        formula: RowFormula,
        kind: Kind,
        outputs: list[Kind],
        partial: bool,
        labelled: bool = False,
    ) -> None:
        """``labelled``: see ``rows.labelled``."""
        self.formula, self.kind, self.partial, self.labelled = formula, kind, partial, labelled
        self.inputs = range(len(formula.inputs))
        self.kinds = [kind] * len(self.inputs) + [INDEX, DOUBLE, DOUBLE] * labelled + outputs
        self.out = len(self.inputs) + 3 * labelled
        self.has_top = len(self.inputs) == 1
        #: Elements as large as the largest are counted instead of summed, lest what is beside them
        #: be lost: log(1 + s) is s where s is tiny.
        self.counts = self.has_top and (partial or labelled or formula.total == "logarithm")
        self.keeps_term = formula.keeps_term
        compute = kind.compute
        if not self.limit:
            self.limit = SHORT_BYTES // (8 * (4 if compute == "float32" else 8)) // len(self.inputs)
        #: Operands that have rows.
        self.long = [*self.inputs]
        if self.keeps_term or not self.partial:
            self.long.append(self.out)

    def unit(self) -> Unit:
        compute = self.kind.compute
        form = "partial" if self.partial else "labelled" if self.labelled else "rows"
        beside = BESIDE[compute]
        arrays = {f"new_tile{k}": (compute, 8 * self.limit) for k in self.inputs}
        arrays |= {f"new_{name}": (compute, beside) for name in ("tops", "counts", "firsts")}
        arrays |= {f"new_{name}": ("float64", beside) for name in ("totals", "lows")}
        functions = self.functions()
        text = f"{functions}\n\n{self.loop()}"
        name = f"{self.formula.name}_{form}-{self.kind.name}"
        more = functools.partial(self.more, functions)
        return unit_of_source(
            name, text, self.kinds, compute, arrays, type(self).__module__, more=more
        )

    def more(self, functions: str) -> dict[str, Any]:
        """What the source calls beside what every source may."""
        return {}

    def functions(self) -> str:
        formula, compute = self.formula, self.kind.compute
        parts = [functions_source(compute, term=Formula(formula.term))]
        if not self.partial:
            parts.append(functions_source(compute, result=Formula(formula.result)))
        if self.labelled or (formula.total == "logarithm" and not self.partial):
            log = functions_source("float64", "A", log1p_of_sum=Formula(elementary.log1p_of_sum))
            parts.append(log)
        # A function that two of them call is there twice, and the same.
        return "\n\n".join(parts)

    # --- pieces of source that the forms share ----------------------------------------------------

    def terms(self) -> str:
        """From x0 (and x1) to ``e``, and what is added to the total and to the count."""
        if not self.has_top:
            return "e = term(x0, x1)\nadded = A(e)\n"
        if not self.counts:
            return "e = term(x0, top)\nadded = A(e)\n"
        return """\
e = term(x0, top)
other = x0 != top
added = A(select(other, e, T(0)))
one = select(other, T(0), T(1))
"""

    def known(self, row: str) -> str:
        """What ``result`` gets to know of the total of a row."""
        if not self.labelled:
            return known(self.formula.total, wider=self.kind.compute == "float32")
        factor, own, at, loss, log, by = (self.of_row(k, row) for k in (2, 3, 5, 6, 7, 8))
        return f"""\
more = total + low
rest = (A(count) - A(1)) + more
undefined = A(top - top)
label = T({at})
power = A(term(label, top))
others = select(label == top, rest, (A(1) + rest) - power)
logarithm = log1p_of_sum(rest) + undefined
{loss} = logarithm + (A(top) - {at})
{log} = logarithm + A(top)
inverse = A(1) / (A(count) + more) + undefined
{by} = (({factor} - {own}) * power - {own} * others) * inverse
inverse = {factor} * inverse
first = T(inverse)
second = T(inverse - A(first))
"""

    def of_row(self, k: int, row: str) -> str:
        """The number that operand ``k`` has for a row."""
        return f"shifted(a{k}, {row} * s{k})[0]"

    def begin(self, row: str) -> str:
        """What is read before anything is written: the element at the label.

        In long rows after the largest one: then it is in the cache, and nothing waits for it.
        """
        if not self.labelled:
            return ""
        element = self.value(f"shifted(a0, {row} * s0 + where * c0)[0]")
        return f"""\
where = {self.of_row(1, row)}
{self.of_row(5, row)} = A({element}) if (where >= 0) and (where < n) else A(0)
"""

    def finish(self, row: str) -> str:
        """What is written in the end: the result at the label."""
        if not self.labelled:
            return ""
        by = self.stored(f"T({self.of_row(8, row)})")
        return f"""\
where = {self.of_row(1, row)}
if (where >= 0) and (where < n):
    shifted(a4, {row} * s4 + where * c4)[0] = {by}
"""

    def values(self, read: Callable[[int], str]) -> str:
        return "".join(f"x{k} = {read(k)}\n" for k in self.inputs)

    def results(self, kept: bool) -> str:
        """From x0 (and x1), or the terms that were ``kept`` in their place, to ``y``."""
        names = ", ".join(f"x{k}" for k in self.inputs)
        if self.keeps_term and not kept:
            names = f"term({names}, top)"
        return f"y = T(result({names}, first, second))\n"

    def value(self, element: str) -> str:
        return f"T({call(self.kind.load, element)})"

    def stored(self, value: str) -> str:
        return call(self.kind.store, value)

    # --- the forms --------------------------------------------------------------------------------

    def loop(self) -> str:
        size, compute = self.kind.itemsize, self.kind.compute
        operands = "".join(
            f"a{k} = operand(args, {k}, {kind.storage})\ns{k} = steps[{k}]\n"
            for k, kind in enumerate(self.kinds)
        )
        strides = "".join(
            f"c{k} = steps[{len(self.kinds) + position}]\n" for position, k in enumerate(self.long)
        )
        contiguous = " and ".join(f"c{k} == {size}" for k in self.long)
        adjacent = " and ".join(f"s{k} == {size}" for k in self.long)
        short = "" if self.partial else f"elif n <= {self.limit}:\n{indented(self.short())}"
        limit = 15 if self.partial else self.limit
        body = f"""\
rows = dimensions[0]
n = dimensions[1]
{operands}{strides}
tops = new_tops()
counts = new_counts()
firsts = new_firsts()
totals = new_totals()
lows = new_lows()
if {contiguous} and n > {limit}:
{indented(self.sequences())}
elif {adjacent} and rows >= 8:
    r = 0
    while r < rows:
        width = rows - r
        if width > {BESIDE[compute]}:
            width = {BESIDE[compute]}
{indented(self.of_each("width", self.begin), 2)}
{indented(self.side_by_side(), 2)}
{indented(self.of_each("width", self.finish), 2)}
        r += width
{short}
else:
    for r in range(rows):
{indented(self.begin("r"), 2)}
{indented(self.beside("1", self.anywhere, self.to_anywhere, ""), 2)}
{indented(self.finish("r"), 2)}
"""
        return "def loop(args, dimensions, steps, data):\n" + indented(body)

    def of_each(self, width: str, text: Callable[[str], str]) -> str:
        """What is to be done for each of ``width`` rows from number r on."""
        done = text("(r + q)")
        return f"for q in range({width}):\n{indented(done)}\n" if done else ""

    def sequences(self) -> str:
        """Contiguous rows."""
        return f"for r in range(rows):\n{indented(self.sequence())}\n"

    def sequence(self) -> str:
        """A contiguous row."""
        pointers = "".join(f"p{k} = shifted(a{k}, r * s{k})\n" for k in self.long)
        values = self.values(lambda k: self.value(f"load(p{k}, i)"))
        keeps_term = self.keeps_term and not self.kind.store
        if self.has_top:
            total = self.totals_with_top(values, keeps_term)
        else:
            total = self.block_totals(values)
        # What is left of a row is shorter than a vector: the last elements once more.
        top = f"""\
top = T(-INFINITY)
for i in range(n & -16):
    top = maximum(top, {self.value("load(p0, i)")})
    eight_wide_twice()
for i in range(n - 16, n):
    top = maximum(top, {self.value("load(p0, i)")})
    eight_wide_twice()
"""
        head = f"{pointers}{top if self.has_top else ''}{self.begin('r')}{total}"
        if self.partial:
            return head + self.store_partial("r")
        if keeps_term:
            values = f"x0 = load(p{self.out}, i)\n"
        return f"""\
{head}{self.known("r")}
for i in range(n):
{indented(values + self.results(keeps_term))}
    store(p{self.out}, i, {self.stored("y")})
    independent()
{self.finish("r")}"""

    def block_totals(self, values: str) -> str:
        """The total of terms without an exponential, summed by blocks in T."""
        return f"""\
total = A(0)
low = A(0)
count = T(0)
start = 0
while start < n:
    stop = start + {BLOCK[self.kind.compute]}
    if stop > n:
        stop = n
    part = T(0)
    for i in range(start, stop):
{indented(values + self.terms(), 2)}
        part = plus_any_order(part, e)
        independent()
{indented(two_sum("total", "low", "A(part)"))}
    start = stop
"""

    def totals_with_top(self, values: str, keeps_term: bool) -> str:
        """The total of terms with an exponential: of float32 in one sum, of float64 in lanes.

        The last elements are loaded again where what is left of a row is shorter than a vector; in
        place, those that were replaced by their terms are masked.
        """
        out = self.out
        kept = f"store(p{out}, i, e)\n" if keeps_term else ""
        kept_new = kept.replace("e)", f"select(new, e, load(p{out}, i)))")
        masked = f"new = i >= whole\n{values}x0 = select(new, x0, T(-INFINITY))\n{self.terms()}"
        if self.kind.compute == "float32":
            add = "total = plus_any_order(total, added)\n"
            add += "count = plus_any_order(count, one)\n" if self.counts else ""
            return f"""\
total = A(0)
low = A(0)
count = T(0)
whole = n & -16
for i in range(whole):
{indented(values + self.terms() + kept + add)}
    eight_wide_twice()
if whole < n:
    for i in range(n - 16, n):
{indented(masked + kept_new + add, 2)}
        eight_wide_twice()
"""
        return f"""\
for q in range(8):
    store(counts, q, T(0))
    store(totals, q, A(0))
    store(lows, q, A(0))
    eight_wide()
whole = n & -8
for base in range(0, whole, 8):
    for q in range(8):
        i = base + q
{indented(values + self.terms() + kept + self.add_to_lanes(), 2)}
        eight_wide()
if whole < n:
    for q in range(8):
        i = n - 8 + q
{indented(masked + kept_new + self.add_to_lanes(), 2)}
        eight_wide()
total = A(0)
low = A(0)
count = T(0)
for q in range(8):
    count += load(counts, q)
    low += load(lows, q)
    added = load(totals, q)
{indented(two_sum("total", "low", "added"))}
"""

    def add_to_lanes(self) -> str:
        """Add to lane q of the totals and the counts."""
        count = "store(counts, q, load(counts, q) + one)\n" if self.counts else ""
        if self.kind.compute == "float32":  # the sum in float64 is good enough
            return f"{count}store(totals, q, load(totals, q) + added)\n"
        return f"""\
{count}total = load(totals, q)
low = load(lows, q)
{two_sum("total", "low", "added")}store(totals, q, total)
store(lows, q, low)
"""

    def short(self) -> str:
        """Eight rows at a time, copied to the stack; the last one again where there are fewer."""
        size, out = self.kind.itemsize, self.out
        tiles = "".join(f"tile{k} = new_tile{k}()\n" for k in self.inputs)
        copies = "".join(
            f"store(tile{k}, j * 8 + q, {self.value(f'shifted(a{k}, row * s{k} + j * c{k})[0]')})\n"
            for k in self.inputs
        )
        # Blocks of eight by eight in registers; what is left over one by one.
        blocks = self.kind.storage == self.kind.compute
        inputs = "".join(
            f"transpose8(shifted(a{k}, r * s{k} + j * {size}), s{k}, "
            f"shifted(tile{k}, j * {8 * size}), {8 * size})\n"
            for k in self.inputs
        )
        output = f"""\
transpose8(shifted(tile0, j * {8 * size}), {8 * size}, \
shifted(a{out}, r * s{out} + j * {size}), s{out})
"""

        def transposed(copy: str) -> str:
            return f"""\
left = 0
if blocks and filled == 8:
    left = n & -8
    for j in range(0, left, 8):
{indented(copy, 2)}
"""

        def write(value: str) -> str:
            return f"store(tile0, j * 8 + q, {value})\n"

        contiguous = " and ".join(f"c{k} == {size}" for k in self.long) if blocks else "False"
        row = "(r + (q if q < filled else filled - 1))"
        read = "load(tile{k}, j * 8 + q)".format
        body = self.beside("8", lambda k: read(k=k), write, "eight_wide()", row, True)
        return f"""\
{tiles}
blocks = {contiguous}
r = 0
while r < rows:
    filled = rows - r
    if filled > 8:
        filled = 8
{indented(self.of_each("filled", self.begin))}
{indented(transposed(inputs) if blocks else "left = 0")}
    for q in range(8):
        row = r + (q if q < filled else filled - 1)
        for j in range(left, n):
{indented(copies, 3)}
{indented(body)}
{indented(transposed(output) if blocks else "left = 0")}
    for q in range(filled):
        for j in range(left, n):
            y = load(tile0, j * 8 + q)
            shifted(a{out}, (r + q) * s{out} + j * c{out})[0] = {self.stored("y")}
{indented(self.of_each("filled", self.finish))}
    r += 8
"""

    def adjacent(self, k: int) -> str:
        return self.value(f"load(shifted(a{k}, r * s{k} + j * c{k}), q)")

    def to_adjacent(self, value: str) -> str:
        out = self.out
        return f"store(shifted(a{out}, r * s{out} + j * c{out}), q, {self.stored(value)})\n"

    def anywhere(self, k: int) -> str:
        return self.value(f"shifted(a{k}, (r + q) * s{k} + j * c{k})[0]")

    def to_anywhere(self, value: str) -> str:
        out = self.out
        return f"shifted(a{out}, (r + q) * s{out} + j * c{out})[0] = {self.stored(value)}\n"

    def side_by_side(self) -> str:
        """``width`` rows from number r on, side by side in memory."""
        return self.beside("width", self.adjacent, self.to_adjacent, "eight_wide()")

    def beside(
        self,
        width: str,
        read: Callable[[int], str],
        write: Callable[[str], str],
        end: str,
        row: str = "(r + q)",
        on_stack: bool = False,
    ) -> str:
        """Rows side by side: element j of row q, whose number is ``row``, at a time, for all."""
        keeps_term = self.keeps_term and (on_stack or not self.kind.store)
        top = f"""\
for j in range(n):
    for q in range({width}):
        store(tops, q, maximum(load(tops, q), {read(0)}))
        {end}
"""
        values = self.values(read)
        kept = write("e") if keeps_term else ""
        load_top = "top = load(tops, q)\n" if self.has_top else ""
        head = f"""\
for q in range({width}):
    store(tops, q, T(-INFINITY))
    store(counts, q, T(0))
    store(totals, q, A(0))
    store(lows, q, A(0))
    {end}
{top if self.has_top else ""}
for j in range(n):
    for q in range({width}):
{indented(values + load_top + self.terms() + kept + self.add_to_lanes(), 2)}
        {end}
for q in range({width}):
    total = load(totals, q)
    low = load(lows, q)
    count = load(counts, q)
"""
        if self.partial:
            return f"{head}    top = load(tops, q)\n{indented(self.store_partial(row))}"
        finish = load_top + self.known(row)
        again = values + load_top
        if keeps_term:
            again = f"x0 = {read(0 if on_stack else self.out)}\n"
        return f"""\
{head}{indented(finish)}
    store(firsts, q, first)
    store(counts, q, second)
    {end}
for j in range(n):
    for q in range({width}):
        first = load(firsts, q)
        second = load(counts, q)
{indented(again + self.results(keeps_term) + write("y"), 2)}
        {end}
"""

    def store_partial(self, row: str) -> str:
        values = (
            [self.stored("top"), "total + low", "A(count)"] if self.has_top else ["total + low"]
        )
        outputs = range(len(self.kinds) - len(values), len(self.kinds))
        return "".join(
            f"shifted(a{k}, {row} * s{k})[0] = {value}\n"
            for k, value in zip(outputs, values, strict=True)
        )


def two_sum(total: str, low: str, added: str) -> str:
    """Add to a total in two parts without loss."""
    return f"""\
new = {total} + {added}
back = new - {total}
{low} += ({total} - (new - back)) + ({added} - back)
{total} = new
"""


def indented(text: str, levels: int = 1) -> str:
    return textwrap.indent(text, "    " * levels).rstrip()
