"""Fused kernels: what is done to the blocks of a matrix, with a vector and with sums.

The data are matrices of one shape, each with its own distance between rows, whose columns are
contiguous. A kernel goes through them once: it computes an output, and may add a *term* of each
element to sums. A vector holds one number for each column (``columns``) or for each row
(``rows``), and so do the sums.

A kernel's items are *blocks*: some rows of some columns, counted row by row. Blocks below each
other have sums of their own, so that what is summed up does not depend on who computes it.

To NumPy it is a generalized ufunc of matrices, a vector, room for the sums of blocks (an input
that is written to; who calls decides how many there are), and parameters. What comes out is a
matrix, and the total of those sums, of the dtype that is computed in.
"""

from __future__ import annotations

import re
import textwrap

from fastact.catalogue.dtypes import Kind
from fastact.cpu import layout as p
from fastact.cpu.compiler import Unit
from fastact.cpu.loops import unit_of_source
from fastact.source.formulas import call
from fastact.source.fused import FusedKernel

__all__ = ["signature", "unit"]

#: Rows that are worked on together, so that the vector and the sums are read once for all of them.
TOGETHER = 4


def signature(kernel: FusedKernel, by_rows: bool) -> str:
    """That of the generalized ufunc."""
    along = "m" if kernel.body else "r" if by_rows else "n"
    operands = ["(r,n)"] * kernel.matrices + [f"({along})"]
    operands += [f"(k,{along})"] * bool(kernel.term) + ["(p)"] * bool(kernel.parameters)
    return f"{','.join(operands)}->(r,n){f',({along})' * bool(kernel.term)}"


def unit(kernel: FusedKernel, by_rows: bool) -> Unit:
    """``by_rows``: the vector has a number for each row, and the sums are those of rows."""
    if kernel.body:
        source = _loop(kernel, kernel.body, by_rows=False)
    else:
        source = _by_rows(kernel) if by_rows else _by_columns(kernel)
    name = f"{kernel.name}_{'rows' if by_rows else 'columns'}-{kernel.kind.name}"
    text = f"{kernel.functions}\n{_streamed(kernel.kind)}\n{source}"
    arrays = {"new_tile": (kernel.kind.storage, p.TILE_BYTES // kernel.kind.itemsize)}
    arrays |= dict(kernel.arrays)
    return unit_of_source(name, text, [kernel.kind], kernel.kind.compute, arrays, __name__)


# --- source -------------------------------------------------------------------------------------


def _streamed(kind: Kind) -> str:
    """The function that copies from the tile past the cache."""
    return f"""
@formula
def streamed(destination, source, nbytes):
    whole = nbytes & -16
    head = -destination & 63
    head = head if head < whole else whole
    lines = head + ((whole - head) & -64)
    for k in range(0, head, 16):
        stream_sixteen(destination + k, source + k)
    for k in range(head, lines, 64):
        stream_line(destination + k, source + k)
    for k in range(lines, whole, 16):
        stream_sixteen(destination + k, source + k)
    for k in range(whole, nbytes, {kind.itemsize}):
        at(destination + k, {kind.storage})[0] = at(source + k, {kind.storage})[0]
"""


def _by_columns(kernel: FusedKernel) -> str:
    # What is stored past the cache goes row by row: pieces of several rows in turn took twice as
    # long.
    clear = "for j in range(columns):\n    sums[j] = T(0)\n" if kernel.term else ""
    return _loop(
        kernel,
        f"""\
{clear}groups = 0 if past_cache else rows // {TOGETHER}
for group in range(groups):
    row = group * {TOGETHER}
{textwrap.indent(_several_rows(kernel), "    ")}
for row in range(groups * {TOGETHER}, rows):
{textwrap.indent(_one_row(kernel, by_rows=False), "    ")}
""",
        by_rows=False,
    )


def _by_rows(kernel: FusedKernel) -> str:
    lines = []
    if kernel.vector:
        lines.append(f"v = T({call(kernel.kind.load, 'vector[row]')})")
    if kernel.term:
        lines.append("total = T(0)")
    lines.append(_one_row(kernel, by_rows=True))
    if kernel.term:
        lines.append("sums[row] = total")
    body = textwrap.indent("\n".join(lines), "    ")
    return _loop(kernel, f"for row in range(rows):\n{body}\n", by_rows=True)


def _several_rows(kernel: FusedKernel) -> str:
    """The loop over columns for the rows from number ``row`` on."""
    every = range(TOGETHER)
    pointers = [
        f"m{k}_{r} = {_place(kernel, k, f'row + {r}')}" for r in every for k in _matrices(kernel)
    ]
    out = kernel.matrices
    summed = "store(sums, j, T(load(sums, j) + T(T(t_0 + t_1) + T(t_2 + t_3))))"
    body = _columns(kernel, "j", [f"m{out}_{r}" for r in every], summed)
    return "\n".join([*pointers, "for j in range(columns):", textwrap.indent(body, "    ")])


def _one_row(kernel: FusedKernel, by_rows: bool) -> str:
    """The loops over columns of one row, a tile at a time if it is to be stored past the cache."""
    size, out = kernel.kind.itemsize, kernel.matrices
    index = "start + j"
    summed = f"store(sums, {index}, T(load(sums, {index}) + t_0))"
    if by_rows:
        index, summed = "", "total = plus_any_order(total, t_0)"
    tile = p.TILE_BYTES // size
    return f"""\
for start in range(0, columns, {tile}):
    part = columns - start if columns - start < {tile} else {tile}
    {"; ".join(f"m{k}_0 = {_place(kernel, k, 'row', 'start')}" for k in _inputs(kernel))}
    destination = address{out} + row * step{out} + start * {size}
    target_at = address(tile) if past_cache else destination
    target = at(target_at, {kernel.kind.storage})
    for j in range(part):
{textwrap.indent(_columns(kernel, index, ["target"], summed), "        ")}
    if past_cache:
        streamed(destination, target_at, part * {size})
"""


def _columns(kernel: FusedKernel, index: str, targets: list[str], summed: str) -> str:
    """What is done in column ``j`` of rows that are worked on together.

    ``index`` is its number in the vector, if there is a number for each column; ``summed`` says how
    the rows' terms ``t_0``, ``t_1``, ... are summed.
    """
    lines = [f"v = {_loaded(kernel, 'vector', index)}"] if kernel.vector and index else []
    for r in range(len(targets)):
        lines += [f"x{k}_{r} = {_loaded(kernel, f'm{k}_{r}', 'j')}" for k in _inputs(kernel)]
    for r in range(len(targets)):
        lines.append(f"y_{r} = {_value(kernel, [f'x{k}_{r}' for k in _inputs(kernel)])}")
        if kernel.term:
            lines.append(f"t_{r} = T({_of_row(kernel, r)})")
    lines += [_stored(kernel, target, f"y_{r}") for r, target in enumerate(targets)]
    return "\n".join([*lines, *[summed] * bool(kernel.term), "independent()"])


def _loop(kernel: FusedKernel, block: str, by_rows: bool) -> str:
    """The inner loop over blocks, given the source for one of them.

    Its operands are the number of the first block, and the call that ``driver.describe`` described.
    """
    storage, size = kernel.kind.storage, kernel.kind.itemsize
    sums_size = 8 if kernel.kind.compute == "float64" else 4
    along, sums_row = ("top", "right") if by_rows else ("left", "down")
    lines = [
        "down, right = number // across, number % across",
        "top, left = down * height, right * width",
        "rows = all_rows - top if all_rows - top < height else height",
        "columns = all_columns - left if all_columns - left < width else width",
    ]
    if kernel.vector:
        lines.append(f"vector = at(word(call, {p.CALL_VECTOR}) + {along} * {size}, {storage})")
    if kernel.term:
        sums = f"word(call, {p.CALL_SUMS}) + {sums_row} * word(call, {p.CALL_SUMS_STEP})"
        lines.append(f"sums = at({sums} + {along} * {sums_size}, T)")
    for k in _matrices(kernel):
        lines.append(f"address{k} = first{k} + top * step{k} + left * {size}")
    once = [
        f"all_rows, all_columns = word(call, {p.CALL_ROWS}), word(call, {p.CALL_COLUMNS})",
        f"height, width = word(call, {p.CALL_HEIGHT}), word(call, {p.CALL_WIDTH})",
        f"across = word(call, {p.CALL_ACROSS})",
        f"past_cache = word(call, {p.CALL_STREAMED}) != 0",
    ]
    if kernel.parameters:
        once.append(f"parameters = at(word(call, {p.CALL_PARAMETERS}), T)")
        once += [f"p{k} = parameters[{k}]" for k in range(kernel.parameters)]
    for k in _matrices(kernel):
        once.append(f"first{k} = word(call, {p.CALL_MATRICES + 2 * k})")
        once.append(f"step{k} = word(call, {p.CALL_MATRICES + 2 * k + 1})")
    before = textwrap.indent("\n".join(once), "    ")
    body = textwrap.indent("\n".join(lines) + "\n" + block, "        ")
    return f"""
def loop(args, dimensions, steps, data):
    tile = new_tile()
    first, call = word(address(args), 0), word(address(args), 1)
{before}
    for number in range(first, first + dimensions[0]):
{body}
    stream_fence()
"""


def _inputs(kernel: FusedKernel) -> range:
    return range(kernel.matrices)


def _matrices(kernel: FusedKernel) -> range:
    """Inputs, and then the output."""
    return range(kernel.matrices + 1)


def _place(kernel: FusedKernel, k: int, row: str, column: str = "0") -> str:
    """Where a row of a matrix begins, or what is in a later column of it."""
    place = f"address{k} + ({row}) * step{k} + {column} * {kernel.kind.itemsize}"
    return f"at({place}, {kernel.kind.storage})"


def _loaded(kernel: FusedKernel, pointer: str, index: str) -> str:
    return f"T({call(kernel.kind.load, f'load({pointer}, {index})')})"


def _stored(kernel: FusedKernel, pointer: str, value: str) -> str:
    return f"store({pointer}, j, {call(kernel.kind.store, value)})"


def _value(kernel: FusedKernel, elements: list[str]) -> str:
    vector = ["v"] if kernel.vector else []
    parameters = [f"p{k}" for k in range(kernel.parameters)]
    return f"T(value({', '.join([*elements, *vector, *parameters])}))"


def _of_row(kernel: FusedKernel, row: int) -> str:
    """The term, with the names of a row's elements."""
    term = kernel.term
    for name in ["y", *(f"x{k}" for k in _inputs(kernel))]:
        term = re.sub(rf"\b{name}\b", f"{name}_{row}", term)
    return term
