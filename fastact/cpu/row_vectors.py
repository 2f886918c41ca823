"""Kernels over rows with explicit vectors of 512 bits (see ``vectors``).

Contiguous rows are a sequence of vectors, the last one of which may be a part. Rows side by side
have a lane each; four vectors of them are worked on at once, so that whole cache lines are. Short
rows, and those that lie in memory in any other way, are left to the forms of ``row_source``.

The terms of float32 numbers are added up in float64, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastact.cpu.row_source import Source, indented

__all__ = ["VectorSource"]

#: Of a vector of float32.
LANES = 16
#: Vectors of rows side by side that are worked on at once.
TOGETHER = 4


class VectorSource(Source):
    limit = LANES

    @property
    def rest(self) -> str:
        """What stands for elements that are not there: their terms are 0."""
        return "T(-INFINITY)" if self.has_top else "T(0)"

    def functions(self) -> str:
        """With those of vectors; they are called with a tuple, and ``v_`` before their names."""
        names = ", ".join(f"x{k}" for k in self.inputs)
        seen = f"{names}, top" if self.has_top else names
        functions = {
            "larger(a, b)": "select(a > b, a, b)",
            f"term_of({seen})": f"term({seen})",
        }
        if self.counts:
            functions |= {
                "smaller_than_top(x0, top, e)": "select(x0 != top, e, T(0))",
                "counted(count, x0, top)": "count + select(x0 != top, T(0), T(1))",
            }
        if not self.partial:
            value = f"term({seen})" if self.keeps_term else names
            functions |= {
                f"result_of({seen}, first, second)": f"result({value}, first, second)",
                "result_of_term(e, first, second)": "result(e, first, second)",
            }
            if not self.keeps_term:
                functions.pop("result_of_term(e, first, second)")
        self.names = [signature.partition("(")[0] for signature in functions]
        made = [
            f"@formula\ndef {signature}:\n    return {result}"
            for signature, result in functions.items()
        ]
        return "\n\n".join([super().functions(), *made])

    def more(self, functions: str) -> dict[str, Any]:
        from fastact.cpu import vectors

        return vectors.for_rows(functions, self.names, self.kind)

    # --- contiguous rows -------------------------------------------------------------------------

    def sequences(self) -> str:
        return super().sequences() if self.partial else self.together()

    def sequence_head(self, kept: str = "") -> str:
        """From a row to its ``top``, ``total`` and ``count``."""

        def term(a_part: bool) -> str:
            kept = self.write("e", a_part) if self.keeps_in_out else ""
            return self.term(lambda k: self.read(k, a_part), "top") + kept + self.added()

        def larger(a_part: bool) -> str:
            return f"largest = v_larger(({self.read(0, a_part)}, largest))"

        top = f"""\
largest = v_repeated(T(-INFINITY))
{self.passed(larger)}\
top = v_maximum(largest)
"""
        return f"""\
{self.pointers()}{top if self.has_top else ""}{self.begin("r")}{self.nothing()}{self.passed(term)}\
total = v_sum(totals_of)
low = A(0)
count = {"v_sum(counts_of)" if self.counts else "T(0)"}
"""

    def sequence_results(self, kept: str = "") -> str:
        def result(a_part: bool) -> str:
            return self.write(self.result(lambda k: self.read(k, a_part), "top"), a_part)

        return self.pointers() + self.passed(result) + self.finish("r")

    def read(self, k: int, a_part: bool) -> str:
        if a_part:
            return f"v_load_first(p{k}, i, n - i, {self.rest})"
        return f"v_load(p{k}, i)"

    def write(self, value: str, a_part: bool) -> str:
        if a_part:
            return f"v_store_first(p{self.out}, i, n - i, {value})\n"
        return f"v_store(p{self.out}, i, {value})\n"

    def passed(self, body: Callable[[bool], str]) -> str:
        """What is done to each vector of a row, and to the part of one at its end."""
        return f"""\
for i in range(0, n - {LANES - 1}, {LANES}):
{indented(body(False))}
if n & {LANES - 1} != 0:
    i = n & {-LANES}
{indented(body(True))}
"""

    # --- rows side by side -----------------------------------------------------------------------

    def side_by_side(self) -> str:
        lanes = TOGETHER * LANES
        return f"""\
q = 0
while q <= width - {lanes}:
{indented(self.lanes(TOGETHER))}
    q += {lanes}
while q < width:
{indented(self.lanes(1))}
    q += {LANES}
"""

    def lanes(self, together: int) -> str:
        """The rows from number q on: whole vectors of them, or as many of one as there are."""
        out, vectors = self.out, range(together)

        def place(k: int) -> str:
            return f"shifted(a{k}, r * s{k} + j * c{k})"

        def read(k: int, v: int) -> str:
            if together == 1:
                return f"v_load_first({place(k)}, q, width - q, {self.rest})"
            return f"v_load({place(k)}, q + {LANES * v})"

        def write(value: str, v: int) -> str:
            if together == 1:
                return f"v_store_first({place(out)}, q, width - q, {value})\n"
            return f"v_store({place(out)}, q + {LANES * v}, {value})\n"

        def each(text: Callable[[int], str]) -> str:
            return "".join(text(v) for v in vectors)

        def passed(body: Callable[[int], str]) -> str:
            return f"for j in range(n):\n{indented(each(body))}\n"

        def term(v: int) -> str:
            kept = write("e", v) if self.keeps_in_out else ""
            return self.term(lambda k: read(k, v), f"tops_{v}") + kept + self.added(f"_{v}")

        def result(v: int) -> str:
            known = (f"firsts_{v}", f"seconds_{v}")
            return write(self.result(lambda k: read(k, v), f"tops_{v}", *known), v)

        def put(array: str, name: str) -> str:
            return each(lambda v: f"v_put({array}, q + {LANES * v}, {name}_{v})\n")

        def got(name: str, array: str) -> str:
            return each(lambda v: f"{name}_{v} = v_get({array}, q + {LANES * v})\n")

        tops = each(lambda v: f"tops_{v} = v_repeated(T(-INFINITY))\n") + passed(
            lambda v: f"tops_{v} = v_larger(({read(0, v)}, tops_{v}))\n"
        )
        head = f"""\
{tops if self.has_top else ""}{each(lambda v: self.nothing(f"_{v}"))}{passed(term)}\
{put("totals", "totals_of")}{put("counts", "counts_of") if self.counts else ""}\
{put("tops", "tops") if self.has_top else ""}\
stop = width if width < q + {LANES * together} else q + {LANES * together}
for i in range(q, stop):
    total = load(totals, i)
    low = A(0)
    count = {"load(counts, i)" if self.counts else "T(0)"}
    {"top = load(tops, i)" if self.has_top else ""}
"""
        if self.partial:
            return f"{head}{indented(self.store_partial('(r + i)'))}\n"
        return f"""\
{head}{indented(self.known("(r + i)"))}
    store(firsts, i, first)
    store(counts, i, second)
    eight_wide()
{got("firsts", "firsts")}{got("seconds", "counts")}{passed(result)}"""

    # --- what both forms share -------------------------------------------------------------------

    def nothing(self, suffix: str = "") -> str:
        """Totals, and counts, of no elements."""
        counts = f"counts_of{suffix} = v_repeated(T(0))\n" if self.counts else ""
        return f"totals_of{suffix} = v_zeros()\n{counts}"

    def term(self, read: Callable[[int], str], top: str) -> str:
        """From the elements to ``e``, and to what is ``added`` up and ``counted``."""
        names = [f"x{k}" for k in self.inputs]
        seen = [*names, top] if self.has_top else names
        values = "".join(f"x{k} = {read(k)}\n" for k in self.inputs)
        text = f"{values}e = v_term_of(({', '.join(seen)},))\n"
        if not self.counts:
            return text
        return f"{text}top_of = {top}\n"

    def added(self, suffix: str = "") -> str:
        totals, counts = f"totals_of{suffix}", f"counts_of{suffix}"
        if not self.counts:
            return f"{totals} = v_plus({totals}, e)\n"
        return f"""\
{totals} = v_plus({totals}, v_smaller_than_top((x0, top_of, e)))
{counts} = v_counted(({counts}, x0, top_of))
"""

    def result(
        self, read: Callable[[int], str], top: str, first: str = "first", second: str = "second"
    ) -> str:
        """Of the elements, or of the terms that are where the result will be."""
        if self.keeps_in_out:
            return f"v_result_of_term(({read(self.out)}, {first}, {second}))"
        seen = [*(read(k) for k in self.inputs), *[top] * self.has_top, first, second]
        return f"v_result_of(({', '.join(seen)}))"
