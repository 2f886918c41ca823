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

__all__ = ["ARRAYS", "BESIDE", "DOUBLE", "INDEX", "Source", "indented", "two_sum"]

#: Bytes of the stack that short rows are copied to; together with the rest, less than a page.
SHORT_BYTES = 2048
#: The longest rows of half types that are copied: each copy is a conversion, one by one. Time with
#: 64 / with 16, softmax of rows of 17, 32, 33, 64, 100, 500: float16 1.3, 2.3, 1.9, 3.0, 1.6, 1.7,
#: bfloat16 0.74, 1.04, 0.76, 1.15, 1.7, 1.9 (the last two because terms are kept on the stack).
SHORT_HALVES = 16
#: Rows side by side that are worked on at once.
BESIDE = {"float32": 128, "float64": 64}
#: Contiguous rows that are worked on together, at most, and their elements. What becomes of their
#: sums, such as a logarithm, is then computed for all at once.
GROUP_ROWS = 16
GROUP_ELEMENTS = 4096
#: Terms that are summed, in any order, before their sum is added to the total exactly: eight for
#: each lane of float64.
BLOCK = {"float32": 512, "float64": 64}

INDEX = Kind("int64", "int64", "int64")
DOUBLE = Kind("float64", "float64", "float64")


#: What a loop begins with: a number for each of the rows that are worked on at once.
ARRAYS = """\
tops = new_tops()
counts = new_counts()
firsts = new_firsts()
totals = new_totals()
lows = new_lows()
"""


class Source:
    """Makes the source of one loop."""

    #: Rows of the short form are at most so long; 0: as many as fit.
    limit = 0
    #: Part of the name.
    form = "rows"

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
        #: Numbers that the stack has room for, from each input.
        self.room = SHORT_BYTES // (4 if compute == "float32" else 8) // len(self.inputs)
        if not self.limit:
            self.limit = SHORT_HALVES if kind.store else self.room // 8
        #: Operands that have rows.
        self.long = [*self.inputs]
        if self.keeps_term or not self.partial:
            self.long.append(self.out)

    def unit(self) -> Unit:
        compute = self.kind.compute
        form = "partial" if self.partial else "labelled" if self.labelled else self.form
        beside = BESIDE[compute]
        arrays = {f"new_tile{k}": (compute, self.room) for k in self.inputs}
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
{ARRAYS}if {contiguous} and n > {limit}:
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
        in_out = f"p{self.out}" if self.keeps_in_out else ""
        if self.partial:
            head = self.sequence_head(in_out)
            return f"for r in range(rows):\n{indented(head + self.store_partial('r'))}\n"
        if in_out:
            return self.one_by_one(in_out)
        # Of half types, only float32 holds the terms.
        if self.keeps_term:
            return f"""\
if n <= {self.room}:
    tile0 = new_tile0()
{indented(self.one_by_one("tile0"))}
else:
{indented(self.together())}
"""
        # Time one by one / together, rows of 65, 100, 256, 1000, 5000 float32: log_softmax 1.36,
        # 1.35, 1.15, 1.01, 1.01; its gradient 1.07, 1.23, 1.27, 1.28, 1.29; but softmax 1.0, 1.07,
        # 0.95, 0.79, 0.9, and its gradient in float64, which has no exponential, 0.7 to 0.9.
        return self.together() if "fma(" in self.functions() else self.one_by_one("")

    def one_by_one(self, kept: str) -> str:
        """Each row from its elements to its results; terms are ``kept`` where that points to."""
        steps = self.sequence_head(kept) + self.known("r") + self.sequence_results(kept)
        return f"for r in range(rows):\n{indented(steps)}\n"

    def together(self) -> str:
        """Rows that fit into the core's own cache together share some steps."""
        head, results = self.sequence_head(), self.sequence_results()
        # The first numbers of these arrays may be in use for the lanes of a row.
        return f"""\
height = {GROUP_ELEMENTS} // n
height = 1 if height < 1 else ({GROUP_ROWS} if height > {GROUP_ROWS} else height)
for begin in range(0, rows, height):
    end = rows if rows < begin + height else begin + height
    for r in range(begin, end):
{indented(head, 2)}
        {"store(tops, 8 + r - begin, top)" if self.has_top else ""}
        store(totals, 8 + r - begin, total)
        store(lows, 8 + r - begin, low)
        store(counts, 8 + r - begin, count)
    for i in range(8, 8 + end - begin):
        total = load(totals, i)
        low = load(lows, i)
        count = load(counts, i)
        {"top = load(tops, i)" if self.has_top else ""}
{indented(self.known("(begin + i - 8)"), 2)}
        store(firsts, i, first)
        store(counts, i, second)
        eight_wide()
    for r in range(begin, end):
        first = load(firsts, 8 + r - begin)
        second = load(counts, 8 + r - begin)
        {"top = load(tops, 8 + r - begin)" if self.has_top else ""}
{indented(results, 2)}
"""

    @property
    def keeps_in_out(self) -> bool:
        """Whether terms are stored where results will be; those of half types would lose digits."""
        return self.keeps_term and not self.kind.store

    def pointers(self) -> str:
        return "".join(f"p{k} = shifted(a{k}, r * s{k})\n" for k in self.long)

    def sequence_head(self, kept: str = "") -> str:
        """From a contiguous row to its ``top``, ``total``, ``low`` and ``count``."""
        values = self.values(lambda k: self.value(f"load(p{k}, i)"))
        total = self.totals_with_top(values, kept) if self.has_top else self.block_totals(values)
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
        return f"{self.pointers()}{top if self.has_top else ''}{self.begin('r')}{total}"

    def sequence_results(self, kept: str = "") -> str:
        values = self.values(lambda k: self.value(f"load(p{k}, i)"))
        if kept:
            values = f"x0 = load({kept}, i)\n"
        return f"""\
{self.pointers()}\
for i in range(n):
{indented(values + self.results(bool(kept)))}
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

    def totals_with_top(self, values: str, kept: str) -> str:
        """The total of terms with an exponential: of float32 in one sum, of float64 in lanes.

        The last elements are loaded again where what is left of a row is shorter than a vector; in
        place, those that were replaced by their terms are masked.
        """
        keep = f"store({kept}, i, e)\n" if kept else ""
        keep_new = f"store({kept}, i, select(new, e, load({kept}, i)))\n" if kept else ""
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
{indented(values + self.terms() + keep + add)}
    eight_wide_twice()
if whole < n:
    for i in range(n - 16, n):
{indented(masked + keep_new + add, 2)}
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
{indented(values + self.terms() + keep + self.add_to_lanes(), 2)}
        eight_wide()
if whole < n:
    for q in range(8):
        i = n - 8 + q
{indented(masked + keep_new + self.add_to_lanes(), 2)}
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
        keeps_term = self.keeps_in_out or (self.keeps_term and on_stack)
        top = f"""\
for j in range(n):
    for q in range({width}):
        store(tops, q, maximum(load(tops, q), {read(0)}))
        {end}
"""
        values = self.values(read)
        keep = write("e") if keeps_term else ""
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
{indented(values + load_top + self.terms() + keep + self.add_to_lanes(), 2)}
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
