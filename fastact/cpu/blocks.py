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

import textwrap

from fastact.catalogue.dtypes import Kind
from fastact.cpu import layout as p
from fastact.cpu.compiler import Unit
from fastact.cpu.loops import unit_of_source
from fastact.source.formulas import call
from fastact.source.fused import FusedKernel

__all__ = ["signature", "unit"]


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
    # Row by row: four at a time, which read vector and sums once for all of them, took 1.1 to 1.6
    # of the time, and 3 times as long where rows are 4096 bytes apart, since those are kept in the
    # same few places of the cache.
    clear = "for j in range(columns):\n    sums[j] = T(0)\n" if kernel.term else ""
    summed = "store(sums, j, T(load(sums, j) + t))"
    return _loop(
        kernel,
        f"""\
{clear}if past_cache:
    for row in range(rows):
{textwrap.indent(_row_in_tiles(kernel, by_rows=False), "        ")}
else:
    for row in range(rows):
{textwrap.indent(_row(kernel, summed), "        ")}
""",
        by_rows=False,
    )


def _by_rows(kernel: FusedKernel) -> str:
    lines = []
    if kernel.vector:
        lines.append(f"v = T({call(kernel.kind.load, 'vector[row]')})")
    if kernel.term:
        lines.append("total = T(0)")
    lines.append(_row_in_tiles(kernel, by_rows=True))
    if kernel.term:
        lines.append("sums[row] = total")
    body = textwrap.indent("\n".join(lines), "    ")
    return _loop(kernel, f"for row in range(rows):\n{body}\n", by_rows=True)


def _row(kernel: FusedKernel, summed: str) -> str:
    """The loop over the columns of a row."""
    pointers = [f"m{k} = {_place(kernel, k)}" for k in _matrices(kernel)]
    body = _column(kernel, "j", f"m{kernel.matrices}", summed)
    return "\n".join([*pointers, "for j in range(columns):", textwrap.indent(body, "    ")])


def _row_in_tiles(kernel: FusedKernel, by_rows: bool) -> str:
    """The same, a tile at a time, which may be stored past the cache."""
    size, out = kernel.kind.itemsize, kernel.matrices
    index = "start + j"
    summed = f"store(sums, {index}, T(load(sums, {index}) + t))"
    if by_rows:
        index, summed = "", "total = plus_any_order(total, t)"
    tile = p.TILE_BYTES // size
    return f"""\
for start in range(0, columns, {tile}):
    part = columns - start if columns - start < {tile} else {tile}
    {"; ".join(f"m{k} = {_place(kernel, k, 'start')}" for k in _inputs(kernel))}
    destination = address{out} + row * step{out} + start * {size}
    target_at = address(tile) if past_cache else destination
    target = at(target_at, {kernel.kind.storage})
    for j in range(part):
{textwrap.indent(_column(kernel, index, "target", summed), "        ")}
    if past_cache:
        streamed(destination, target_at, part * {size})
"""


def _column(kernel: FusedKernel, index: str, target: str, summed: str) -> str:
    """What is done in column ``j`` of a row.

    ``index`` is its number in the vector, if there is a number for each column; ``summed`` says how
    the row's term ``t`` is summed.
    """
    lines = [f"v = {_loaded(kernel, 'vector', index)}"] if kernel.vector and index else []
    lines += [f"x{k} = {_loaded(kernel, f'm{k}', 'j')}" for k in _inputs(kernel)]
    lines.append(f"y = {_value(kernel)}")
    if kernel.term:
        lines.append(f"t = T({kernel.term})")
    lines.append(_stored(kernel, target, "y"))
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


def _place(kernel: FusedKernel, k: int, column: str = "0") -> str:
    """Where the row of a matrix begins, or what is in a later column of it."""
    place = f"address{k} + row * step{k} + {column} * {kernel.kind.itemsize}"
    return f"at({place}, {kernel.kind.storage})"


def _loaded(kernel: FusedKernel, pointer: str, index: str) -> str:
    return f"T({call(kernel.kind.load, f'load({pointer}, {index})')})"


def _stored(kernel: FusedKernel, pointer: str, value: str) -> str:
    return f"store({pointer}, j, {call(kernel.kind.store, value)})"


def _value(kernel: FusedKernel) -> str:
    elements = [f"x{k}" for k in _inputs(kernel)]
    vector = ["v"] if kernel.vector else []
    parameters = [f"p{k}" for k in range(kernel.parameters)]
    return f"T(value({', '.join([*elements, *vector, *parameters])}))"
