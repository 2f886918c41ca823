"""CUDA kernels, generated as source text from the catalogue's formulas, as the CPU's loops are.

A kernel's arguments are plain numbers: addresses, sizes, and strides in bytes; so a launch looks at
no array, and one compilation serves all shapes. There is one template for each kind of work:

*Linear* and *strided*: elementwise, any number of arrays in and out; without gaps, read and written
16 bytes a thread at a time, several loads in flight; or with any strides, also 0.

*Columns* and *channels*: what ``fastact.source.fused`` describes, matrices with a vector and with
sums. A thread has a few columns and a part of the rows; or, where channels are not the last axis, a
block has a part of a channel. *Total* adds up the sums of parts in float64.

*Rows*: softmax and its like, and cross-entropy; a block takes a row at a time. *Terms*: losses of
elements, and their sum in each block.

*Mask*: eight elements and a byte of bits a thread. *Dropout*: four, one for each word of Philox.

Which part of a sum a thread takes depends on the shape alone, so results are the same every time.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib
import math
import textwrap
from pathlib import Path
from typing import Any

from fastact.catalogue import Activation, RowFormula
from fastact.catalogue.dtypes import Kind
from fastact.catalogue.entries import row_formula
from fastact.catalogue.losses import Loss
from fastact.cpu.cache import directory as cache_directory
from fastact.source import elementary, fused
from fastact.source.formulas import (
    Formula,
    backward_source,
    call,
    functions_source,
    gated_backward_source,
    gated_source,
)
from fastact.source.random import philox
from fastact.source.totals import known

__all__ = [
    "IN_FLIGHT",
    "PARTS",
    "PART_ROWS",
    "THREADS",
    "CudaKernel",
    "backward",
    "backward_from_output",
    "channels",
    "columns",
    "cross_entropy",
    "forward",
    "gated",
    "gated_backward",
    "label_weights",
    "linear",
    "mask",
    "mask_backward",
    "maxout",
    "maxout_backward",
    "relu_dropout",
    "relu_dropout_backward",
    "rows",
    "strided",
    "summed",
    "terms",
    "total",
    "vector_width",
]

#: Threads of a block, and loads of 16 bytes that a thread issues before it waits for the first:
#: 64 KiB in flight for each array on a multiprocessor of 2048 threads. Reasoned, not measured.
THREADS = 256
IN_FLIGHT = 2
#: A sum over rows is taken in at most PARTS parts of at least PART_ROWS rows. A thread loads from
#: ROWS_IN_FLIGHT rows before it waits. For 4096 x 1024 float32 that is two blocks, or 64 KiB in
#: flight for each array, on each of 132 multiprocessors. Reasoned, not measured.
PARTS = 256
PART_ROWS = 16
ROWS_IN_FLIGHT = 4
#: Threads of the block that adds up parts: columns, and rows of parts.
TOTAL_COLUMNS, TOTAL_ROWS = 32, 8


#: What the source of kernels takes from ``device`` or ``simulated``.
_PRIMITIVES = (
    *("absolute", "copysign", "exponent", "fma", "mantissa", "power_of_two", "product_low"),
    *("scale", "select", "sqrt", "times"),
    *("load_float16", "store_float16", "load_bfloat16", "store_bfloat16"),
    *("load_one", "store_one", "load_sixteen"),
    *("store_sixteen_2", "store_sixteen_4", "store_sixteen_8"),
)


def simulated() -> bool:
    """Whether Numba's CUDA simulator stands in for a GPU."""
    from numba import config

    return bool(config.ENABLE_CUDASIM)


@dataclasses.dataclass(frozen=True)
class CudaKernel:
    """The source of a function ``kernel``, and the types of its arguments."""

    name: str
    kind: Kind
    source: str
    arguments: tuple[str, ...]

    @functools.cached_property
    def compiled(self) -> Any:
        """Numba's dispatcher: compiled for the current device, from the cache if it is there."""
        from numba import cuda, types

        numbers: Any = types
        if simulated():
            import numpy as numbers
        where = "fastact.cuda.simulated" if simulated() else "fastact.cuda.device"
        primitives = importlib.import_module(where)
        kind = self.kind
        namespace: dict[str, Any] = {
            **{name: getattr(primitives, name) for name in _PRIMITIVES},
            "cuda": cuda,
            "formula": primitives.formula,
            "T": getattr(numbers, kind.compute),
            "S": getattr(numbers, kind.storage),
            "uint8": numbers.uint8,
            "uint32": numbers.uint32,
            "uint64": numbers.uint64,
            "int64": numbers.int64,
            "INFINITY": math.inf,
            "A": numbers.float64,
            "float64": numbers.float64,
            "shared_float64": types.float64,
        }
        file = self._file()
        exec(compile(self.source, str(file or f"<fastact cuda {self.name}>"), "exec"), namespace)
        return primitives.jit(namespace["kernel"], self.arguments, file is not None)

    def _file(self) -> Path | None:
        """A file of the source, beside which Numba keeps what it compiles; None if there is none.

        Its name depends on all that the kernel is made of.
        """
        if simulated():
            return None
        made_of = [self.source, *self.arguments]
        made_of += [
            (Path(__file__).parents[1] / name).read_text()
            for name in ("cuda/device.py", "cpu/arithmetic.py", "cpu/intrinsics.py", "cpu/half.py")
        ]
        digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:20]
        path = cache_directory() / "cuda" / f"{self.name}_{digest}.py"
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(f".{id(self)}.part")
                part.write_text(self.source)
                part.replace(path)
        except OSError:  # the cache may be read-only
            return None
        return path


# --- formulas -----------------------------------------------------------------------------------


class _Rounded(ast.NodeTransformer):
    """Products become ``times``, which NVVM does not fuse with a sum."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Mult):
            return ast.Call(ast.Name("times", ast.Load()), [node.left, node.right], [])
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            # NVVM has no negation that keeps the sign of zero but this one.
            minus_zero = ast.parse("T(-0.0)", mode="eval").body
            return ast.BinOp(minus_zero, ast.Sub(), node.operand)
        return node


def _rounded(functions: str) -> str:
    return ast.unparse(ast.fix_missing_locations(_Rounded().visit(ast.parse(functions))))


def forward(entry: Activation, kind: Kind) -> str:
    """Source: ``value(x, *parameters)``."""
    return _rounded(functions_source(kind.compute, value=Formula(entry.formula)))


def backward(entry: Activation, kind: Kind) -> str:
    """Source: ``value(grad, x, *parameters)``."""
    parameters = entry.parameters | entry.derivative_parameters
    return _rounded(backward_source(Formula(entry.derivative), parameters, kind.compute))


def backward_from_output(entry: Activation, kind: Kind) -> str:
    """Source: ``value(grad, y)``."""
    return _rounded(backward_source(Formula(entry.derivative_from_output), (), kind.compute))


def gated(entry: Activation, kind: Kind) -> str:
    """Source: ``value(gate, up)``."""
    return _rounded(gated_source(entry, kind.compute))


def gated_backward(entry: Activation, kind: Kind) -> str:
    """Source: ``value0(grad, gate, up)`` and ``value1``, the gradients by gate and by up."""
    return _rounded(gated_backward_source(entry, kind.compute))


# --- elementwise --------------------------------------------------------------------------------


def vector_width(kind: Kind) -> int:
    """Elements in 16 bytes."""
    return 16 // kind.itemsize


def linear(
    name: str, kind: Kind, functions: str, inputs: int, parameters: int, outputs: int = 1
) -> CudaKernel:
    """Operands without gaps, at addresses that are multiples of 16.

    Arguments: addresses of inputs and outputs, the number of elements, parameters.
    """
    width, values = vector_width(kind), _values(outputs)
    numbers = [f"p{k}" for k in range(parameters)]

    def chunk(u: int, where: str) -> tuple[list[str], list[str]]:
        loads = [f"x{k}_{u} = load_sixteen(a{k} + {where}, S)" for k in range(inputs)]
        work = []
        for lane in range(width):
            elements = [f"x{k}_{u}[{lane}]" for k in range(inputs)]
            work += _computed(kind, values, elements, numbers, f"_{u}_{lane}")
        for o in range(outputs):
            lanes = ", ".join(f"y{o}_{u}_{lane}" for lane in range(width))
            work.append(f"store_sixteen_{width}(o{o} + {where}, {lanes})")
        return loads, work

    many = [chunk(u, f"16 * (c + {u} * threads)") for u in range(IN_FLIGHT)]
    one = chunk(0, "16 * c")
    rest = [f"x{k}_0 = load_one(a{k} + {kind.itemsize} * i, S)" for k in range(inputs)]
    rest += _computed(kind, values, [f"x{k}_0" for k in range(inputs)], numbers, "_0")
    rest += [f"store_one(o{o} + {kind.itemsize} * i, y{o}_0)" for o in range(outputs)]
    addresses = [*(f"a{k}" for k in range(inputs)), *(f"o{o}" for o in range(outputs))]
    source = f"""\
{functions}

def kernel({", ".join([*addresses, "n", *numbers])}):
    threads = cuda.gridsize(1)
    chunks = n // {width}
    c = cuda.grid(1)
    while c + {IN_FLIGHT - 1} * threads < chunks:
{_indented([line for loads, _ in many for line in loads], 8)}
{_indented([line for _, work in many for line in work], 8)}
        c += {IN_FLIGHT} * threads
    while c < chunks:
{_indented([*one[0], *one[1]], 8)}
        c += threads
    i = chunks * {width} + cuda.grid(1)
    while i < n:
{_indented(rest, 8)}
        i += threads
"""
    arguments = ("int64",) * (len(addresses) + 1) + (kind.compute,) * parameters
    return CudaKernel(f"{name}_linear_{kind.name}", kind, source, arguments)


def strided(
    name: str,
    kind: Kind,
    functions: str,
    inputs: int,
    parameters: int,
    outputs: int,
    dimensions: int,
) -> CudaKernel:
    """Operands with any strides.

    Arguments: addresses, the number of elements, lengths of all dimensions but the first, the
    strides of each operand, parameters.
    """
    operands = [*(f"a{k}" for k in range(inputs)), *(f"o{o}" for o in range(outputs))]
    numbers = [f"p{k}" for k in range(parameters)]
    lengths = [f"n{d}" for d in range(1, dimensions)]
    strides = {name: [f"{name}_{d}" for d in range(dimensions)] for name in operands}
    place = []
    for d in range(dimensions - 1, 0, -1):
        place += [f"j{d} = rest % n{d}", f"rest = rest // n{d}"]
    place.append("j0 = rest")

    def address(name: str) -> str:
        return " + ".join([name, *(f"j{d} * {step}" for d, step in enumerate(strides[name]))])

    work = [f"x{k} = load_one({address(f'a{k}')}, S)" for k in range(inputs)]
    work += _computed(kind, _values(outputs), [f"x{k}" for k in range(inputs)], numbers, "")
    work += [f"store_one({address(f'o{o}')}, y{o})" for o in range(outputs)]
    all_strides = [step for name in operands for step in strides[name]]
    given = [*operands, "n", *lengths, *all_strides, *numbers]
    source = f"""\
{functions}

def kernel({", ".join(given)}):
    threads = cuda.gridsize(1)
    i = cuda.grid(1)
    while i < n:
        rest = i
{_indented([*place, *work], 8)}
        i += threads
"""
    arguments = ("int64",) * (len(given) - parameters) + (kind.compute,) * parameters
    return CudaKernel(f"{name}_strided{dimensions}_{kind.name}", kind, source, arguments)


def _values(outputs: int) -> list[str]:
    return ["value"] if outputs == 1 else [f"value{o}" for o in range(outputs)]


def _computed(
    kind: Kind, values: list[str], elements: list[str], parameters: list[str], suffix: str
) -> list[str]:
    """Lines that make outputs ``y0``, ... with a suffix out of elements as they are stored."""
    loaded = [f"T({call(kind.load, element)})" for element in elements]
    lines = [f"e{k}{suffix} = {element}" for k, element in enumerate(loaded)]
    given = ", ".join([*(f"e{k}{suffix}" for k in range(len(elements))), *parameters])
    for o, value in enumerate(values):
        lines.append(f"y{o}{suffix} = S({call(kind.store, f'T({value}({given}))')})")
    return lines


def _indented(lines: list[str], by: int) -> str:
    return textwrap.indent("\n".join(lines), " " * by)


# --- matrices with a vector and sums ------------------------------------------------------------


def columns(of: fused.FusedKernel, width: int) -> CudaKernel:
    """A vector along columns, sums over rows; ``width`` columns a thread: 1, or those in 16 bytes.

    Arguments: addresses of matrices, inputs first, of the vector and of the parts' sums; rows,
    columns, bytes from row to row of each matrix, parameters. The columns must be a multiple of
    ``width``, and so must be addresses and steps of 16 bytes, if it is not 1. The parts are the
    grid's threads along y.
    """
    kind, inputs, lanes = of.kind, range(of.matrices), range(width)
    matrices = [*(f"a{k}" for k in inputs), "o"]
    numbers = [f"p{k}" for k in range(of.parameters)]
    size, sums_size = kind.itemsize, _sums_size(kind)

    before = []
    for lane in lanes:
        at = f"vector + {size} * (column + {lane})"
        before.append(f"v_{lane} = T({call(kind.load, f'load_one({at}, S)')})")
        before.append(f"t_{lane} = T(0)")

    def of_row(u: int) -> tuple[list[str], list[str]]:
        """What is loaded from a row, and what is done with it."""
        where = {m: f"{m} + (row + {u} * parts) * {m}_step + {size} * column" for m in matrices}
        load = "load_one" if width == 1 else "load_sixteen"
        loads = [f"x{k}_{u} = {load}({where[f'a{k}']}, S)" for k in inputs]
        work = []
        for lane in lanes:
            element = "" if width == 1 else f"[{lane}]"
            elements = [f"x{k}_{u}{element}" for k in inputs]
            work += _block_element(of, elements, f"v_{lane}", f"_{u}_{lane}")
            if of.term:
                work.append(f"t_{lane} = T(t_{lane} + term_{u}_{lane})")
        stored = ", ".join(f"y_{u}_{lane}" for lane in lanes)
        store = "store_one" if width == 1 else f"store_sixteen_{width}"
        return loads, [*work, f"{store}({where['o']}, {stored})"]

    many = [of_row(u) for u in range(ROWS_IN_FLIGHT)]
    after = [
        f"store_one(sums + {sums_size} * (part * columns + column + {lane}), t_{lane})"
        for lane in lanes
        if of.term
    ]
    given = [*matrices, "vector", "sums", "rows", "columns", *(f"{m}_step" for m in matrices)]
    source = f"""\
{_rounded(of.functions)}

def kernel({", ".join([*given, *numbers])}):
    column = {width} * cuda.grid(2)[0]
    part = cuda.grid(2)[1]
    parts = cuda.gridsize(2)[1]
    if column < columns:
{_indented(before, 8)}
        row = part
        while row + {ROWS_IN_FLIGHT - 1} * parts < rows:
{_indented([line for loads, _ in many for line in loads], 12)}
{_indented([line for _, work in many for line in work], 12)}
            row += {ROWS_IN_FLIGHT} * parts
        while row < rows:
{_indented([*many[0][0], *many[0][1]], 12)}
            row += parts
{_indented(after or ["pass"], 8)}
"""
    arguments = ("int64",) * len(given) + (kind.compute,) * of.parameters
    return CudaKernel(f"{of.name}_columns{width}_{kind.name}", kind, source, arguments)


def channels(of: fused.FusedKernel, width: int) -> CudaKernel:
    """Arrays without gaps whose channels are a middle axis; a block takes a part of one channel.

    ``width`` elements a thread at a time: 1, or those in 16 bytes, of which the elements after the
    axis must be a multiple then, and addresses one of 16.

    Arguments: addresses as for ``columns``; elements before the axis, along it, and after it, the
    last two in groups of ``width``; parameters. The grid is (channels, parts), a block THREADS
    threads at most.
    """
    kind, inputs, lanes = of.kind, range(of.matrices), range(width)
    matrices = [*(f"a{k}" for k in inputs), "o"]
    numbers = [f"p{k}" for k in range(of.parameters)]
    size, bytes_at_once = kind.itemsize, kind.itemsize * width
    load = "load_one" if width == 1 else "load_sixteen"
    store = "store_one" if width == 1 else f"store_sixteen_{width}"

    def group(u: int) -> tuple[list[str], list[str]]:
        """What is loaded of a group of elements, and what is done with it."""
        loads = [
            f"j_{u} = j + {u} * threads",
            f"i_{u} = {bytes_at_once} * ((j_{u} // after * channels + channel) * after"
            f" + j_{u} % after)",
            *(f"x{k}_{u} = {load}(a{k} + i_{u}, S)" for k in inputs),
        ]
        work = []
        for lane in lanes:
            element = "" if width == 1 else f"[{lane}]"
            work += _block_element(of, [f"x{k}_{u}{element}" for k in inputs], "v", f"_{u}_{lane}")
            if of.term:
                work.append(f"t_{lane} = T(t_{lane} + term_{u}_{lane})")
        stored = ", ".join(f"y_{u}_{lane}" for lane in lanes)
        return loads, [*work, f"{store}(o + i_{u}, {stored})"]

    many = [group(u) for u in range(IN_FLIGHT)]
    where = f"sums + {_sums_size(kind)} * (cuda.blockIdx.y * channels + channel)"
    reduction = [
        f"partial = cuda.shared.array({THREADS}, shared_float64)",
        "thread, threads = cuda.threadIdx.x, cuda.blockDim.x",
        f"t = {' + '.join(f'float64(t_{lane})' for lane in lanes)}",
        *_reduced("a + b"),
        "if thread == 0:",
        f"    store_one({where}, T(t))",
    ]
    given = [*matrices, "vector", "sums", "before", "channels", "after"]
    source = f"""\
{_rounded(of.functions)}

def kernel({", ".join([*given, *numbers])}):
    channel = cuda.blockIdx.x
    v = T({call(kind.load, f"load_one(vector + {size} * channel, S)")})
{_indented([f"t_{lane} = T(0)" for lane in lanes], 4)}
    j = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    threads = cuda.gridDim.y * cuda.blockDim.x
    count = before * after
    while j + {IN_FLIGHT - 1} * threads < count:
{_indented([line for loads, _ in many for line in loads], 8)}
{_indented([line for _, work in many for line in work], 8)}
        j += {IN_FLIGHT} * threads
    while j < count:
{_indented([*many[0][0], *many[0][1]], 8)}
        j += threads
{_indented(reduction if of.term else [], 4)}
"""
    arguments = ("int64",) * len(given) + (kind.compute,) * of.parameters
    return CudaKernel(f"{of.name}_channels{width}_{kind.name}", kind, source, arguments)


def _sums_size(kind: Kind) -> int:
    """Bytes of a part's sum."""
    return 8 if kind.compute == "float64" else 4


def _block_element(
    of: fused.FusedKernel, elements: list[str], vector: str, suffix: str
) -> list[str]:
    """Lines that make ``y`` and ``term``, with a suffix, out of a matrix' elements."""
    kind = of.kind
    lines = [f"e{k}{suffix} = T({call(kind.load, e)})" for k, e in enumerate(elements)]
    given = [f"e{k}{suffix}" for k in range(len(elements))] + [vector] * of.vector
    given += [f"p{k}" for k in range(of.parameters)]
    lines.append(f"value{suffix} = T(value({', '.join(given)}))")
    if of.term:
        names = {f"x{k}": f"e{k}{suffix}" for k in range(len(elements))} | {"y": f"value{suffix}"}
        term = ast.parse(of.term, mode="eval")
        for node in ast.walk(term):
            if isinstance(node, ast.Name):
                node.id = names.get(node.id, node.id)
        lines.append(f"term{suffix} = T({ast.unparse(term)})")
    lines.append(f"y{suffix} = S({call(kind.store, f'value{suffix}')})")
    return lines


def total(kind: Kind) -> CudaKernel:
    """The sum of parts, in float64: arguments are their address, the result's, parts and columns.

    A block has TOTAL_COLUMNS x TOTAL_ROWS threads at most.
    """
    size = _sums_size(kind)
    source = f"""\
def kernel(sums, out, parts, columns):
    partial = cuda.shared.array(({TOTAL_ROWS}, {TOTAL_COLUMNS}), shared_float64)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    column = cuda.blockIdx.x * cuda.blockDim.x + x
    t = float64(0)
    if column < columns:
        part = y
        while part < parts:
            t += load_one(sums + {size} * (part * columns + column), T)
            part += cuda.blockDim.y
    partial[y, x] = t
    cuda.syncthreads()
    if y == 0 and column < columns:
        t = float64(0)
        for k in range(cuda.blockDim.y):
            t += partial[k, x]
        store_one(out + {kind.itemsize} * column, S({call(kind.store, "T(t)")}))
"""
    return CudaKernel(f"total_{kind.name}", kind, source, ("int64",) * 4)


# --- rows ---------------------------------------------------------------------------------------


def rows(formula: RowFormula, kind: Kind) -> CudaKernel:
    """A function of rows, that is softmax and its like: a block takes a row at a time.

    Arguments: addresses of arrays without gaps, inputs first; elements before the axis that rows
    lie along, along it, and after it. Sums are float64.
    """
    inputs = range(len(formula.inputs))
    size, has_top = kind.itemsize, len(inputs) == 1
    counts = formula.total == "logarithm"
    functions = functions_source(
        kind.compute, term=Formula(formula.term), result=Formula(formula.result)
    )
    if counts:
        log = Formula(elementary.log1p_of_sum)
        functions += "\n\n" + functions_source("float64", "A", log1p_of_sum=log)
    given = [*(f"a{k}" for k in inputs), "o", "before", "length", "after"]
    load = [f"i = base + {size} * after * j"]
    for k in inputs:
        load.append(f"x{k} = T({call(kind.load, f'load_one(a{k} + i, S)')})")
    elements = ", ".join(f"x{k}" for k in inputs)
    of_term = f"{elements}, top" if has_top else elements
    summed = [f"e = A(T(term({of_term})))", "t += e"]
    top: list[str] = []
    if has_top:
        largest = "select((b > a) | (b != b), b, a)"
        top = ["a = T(-INFINITY)", *_over_row([*load, "b = x0", f"a = {largest}"])]
        top += ["t = A(a)", *_reduced(largest), "top = T(t)"]
    if counts:
        summed[1:] = ["t += select(x0 == top, A(0), e)", "n += select(x0 == top, A(1), A(0))"]
    work = [*top, "t = A(0)", "n = A(0)", *_over_row([*load, *summed]), *_reduced("a + b")]
    work += ["total = t", "low = A(0)"]
    if counts:
        work += ["t = n", *_reduced("a + b"), "count = t"]
    work += known(formula.total, wider=kind.compute == "float32").splitlines()
    result = f"result({f'term({of_term})' if formula.keeps_term else elements}, first, second)"
    stored = f"store_one(o + i, S({call(kind.store, f'T({result})')}))"
    work += _over_row([*load, stored])
    source = _for_each_row(functions, given, size, work)
    return CudaKernel(f"{formula.name}_rows_{kind.name}", kind, source, ("int64",) * len(given))


def _for_each_row(functions: str, given: list[str], size: int, work: list[str]) -> str:
    """Source of a kernel whose blocks go through rows, with what is done to one."""
    return f"""\
{_rounded(functions)}

def kernel({", ".join(given)}):
    partial = cuda.shared.array({THREADS}, shared_float64)
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    row = cuda.blockIdx.x
    while row < before * after:
        base = {size} * (row // after * length * after + row % after)
{_indented(work, 8)}
        row += cuda.gridDim.x
"""


def _over_row(lines: list[str]) -> list[str]:
    """A loop over the row's elements number ``j``, shared among the threads of a block."""
    return ["j = int64(thread)", "while j < length:", _indented([*lines, "j += threads"], 4)]


def _reduced(operation: str) -> list[str]:
    """``t`` becomes the same for all threads: all of theirs, put together in pairs a and b."""
    return f"""\
partial[thread] = t
count = threads
while count > 1:
    cuda.syncthreads()
    half = (count + 1) // 2
    if thread < count - half:
        a, b = partial[thread], partial[thread + half]
        partial[thread] = {operation}
    count = half
cuda.syncthreads()
t = partial[0]
cuda.syncthreads()""".splitlines()


def maxout(kind: Kind) -> CudaKernel:
    """The largest of a row and where it is: a thread takes a row, since rows are short.

    Arguments: addresses of x, values and indices (int64); elements before the axis that rows lie
    along, along it, and after it.
    """
    value = f"T({call(kind.load, 'element')})"
    body = f"""\
best = load_one(x + start, S)
element = best
a = {value}
at = int64(0)
j = int64(1)
while j < length:
    element = load_one(x + start + {kind.itemsize} * after * j, S)
    b = {value}
    better = (b > a) | ((b != b) & (a == a))
    best, a, at = select(better, element, best), select(better, b, a), select(better, j, at)
    j += 1
store_one(y + {kind.itemsize} * row, best)
store_one(indices + 8 * row, int64(at))"""
    return _row_each("maxout", kind, body)


def maxout_backward(kind: Kind) -> CudaKernel:
    """The gradient where the largest was, else 0; arguments are grad, result and indices."""
    body = f"""\
grad = load_one(x + {kind.itemsize} * row, S)
at = load_one(indices + 8 * row, int64)
j = int64(0)
while j < length:
    store_one(y + start + {kind.itemsize} * after * j, select(j == at, grad, S(0)))
    j += 1"""
    return _row_each("maxout_backward", kind, body)


def _row_each(name: str, kind: Kind, body: str) -> CudaKernel:
    source = f"""\
def kernel(x, y, indices, before, length, after):
    threads = cuda.gridsize(1)
    row = cuda.grid(1)
    while row < before * after:
        start = {kind.itemsize} * (row // after * length * after + row % after)
{_indented(body.splitlines(), 8)}
        row += threads
"""
    return CudaKernel(f"{name}_{kind.name}", kind, source, ("int64",) * 6)


# --- losses -------------------------------------------------------------------------------------


def terms(loss: Loss, kind: Kind, outputs: tuple[str, ...], arrays: tuple[bool, ...]) -> CudaKernel:
    """A loss of elements without gaps: "gradient", "value", or the "sum" of each block's values.

    ``arrays`` says which parameters are arrays; these repeat themselves. Arguments: addresses of
    elements, targets, parameters that are arrays, and outputs; the number of elements, and of each
    of those parameters; the number that gradients are multiplied by, and the other parameters.
    """
    size, compute_size = kind.itemsize, _sums_size(kind)
    given = [f"q{k}" for k, is_array in enumerate(arrays) if is_array]
    numbers = [f"p{k}" for k, is_array in enumerate(arrays) if not is_array]
    operands = ", ".join(["x0", "x1", *(f"p{k}" for k in range(len(arrays)))])
    formulas: dict[str, Any] = {"value": Formula(loss.value)}
    lines = [f"x{k} = T({call(kind.load, f'load_one(a{k} + {size} * i, S)')})" for k in (0, 1)]
    lines += [f"p{q[1:]} = load_one({q} + {compute_size} * (i % n_{q}), T)" for q in given]
    if "gradient" in outputs:
        formulas["gradient"] = Formula(loss.gradient)
        by = f"T(T(gradient({operands})) * scale)"
        lines.append(f"by = S({call(kind.store, by)})")
    lines.append(f"term = T(value({operands}))")
    if "gradient" in outputs:
        lines.append(f"store_one(gradient_out + {size} * i, by)")
    if "value" in outputs:
        stored = f"S({call(kind.store, 'term')})"
        lines.append(f"store_one(value_out + {size} * i, {stored})")
    lines += ["t += A(term)", "i += cuda.gridsize(1)"]
    ending = [
        *_reduced("a + b"),
        "if thread == 0:",
        "    store_one(sum_out + 8 * cuda.blockIdx.x, t)",
    ]
    integers = ["a0", "a1", *given, *(f"{name}_out" for name in outputs), "n"]
    integers += [f"n_{q}" for q in given]
    source = f"""\
{_rounded(functions_source(kind.compute, **formulas))}

def kernel({", ".join([*integers, "scale", *numbers])}):
    partial = cuda.shared.array({THREADS}, shared_float64)
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    t = A(0)
    i = cuda.grid(1)
    while i < n:
{_indented(lines, 8)}
{_indented(ending, 4) if "sum" in outputs else ""}
"""
    arguments = ("int64",) * len(integers) + (kind.compute,) * (1 + len(numbers))
    name = f"{loss.name}_{'_'.join(outputs)}_{''.join(str(int(a)) for a in arrays)}_{kind.name}"
    return CudaKernel(name, kind, source, arguments)


def summed(kind: Kind) -> CudaKernel:
    """The sum of numbers of float64, over another one: arguments are addresses of numbers, result
    and divisor, and how many there are. One block.
    """
    source = f"""\
def kernel(numbers, out, divisor, n):
    partial = cuda.shared.array({THREADS}, shared_float64)
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    t = A(0)
    i = int64(thread)
    while i < n:
        t += load_one(numbers + 8 * i, A)
        i += threads
{_indented(_reduced("a + b"), 4)}
    if thread == 0:
        store_one(out, S({call(kind.store, "T(t / load_one(divisor, A))")}))
"""
    return CudaKernel(f"summed_{kind.name}", kind, source, ("int64",) * 4)


def label_weights(weighted: bool) -> CudaKernel:
    """The sum of the weights of the labels that count: arguments are addresses of labels, weights
    and result, the number of labels and of classes, and which labels do not count. One block.
    """
    weight = "load_one(weights + 8 * label, A)" if weighted else "A(1)"
    source = f"""\
def kernel(labels, weights, out, n, classes, ignored):
    partial = cuda.shared.array({THREADS}, shared_float64)
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    t = A(0)
    i = int64(thread)
    while i < n:
        label = load_one(labels + 8 * i, int64)
        if label != ignored and label >= 0 and label < classes:
            t += {weight}
        i += threads
{_indented(_reduced("a + b"), 4)}
    if thread == 0:
        store_one(out, t)
"""
    kind = Kind("float64", "float64", "float64")
    return CudaKernel(f"label_weights_{int(weighted)}", kind, source, ("int64",) * 6)


def cross_entropy(kind: Kind, gradient: bool, weighted: bool, summed: bool) -> CudaKernel:
    """Cross-entropy of rows, a block for each, in the steps of ``rows``, and its gradient.

    ``summed``: losses are to be summed, so they are of float64. Arguments: addresses of logits,
    labels (int64), weights (float64), gradient, losses, and of what the gradient is divided by;
    elements before the axis of classes, along it, and after it; and which labels do not count. A
    label that is no class makes its row NaN.
    """
    size = kind.itemsize
    functions = (
        functions_source(kind.compute, term=Formula(row_formula("softmax").term))
        + "\n\n"
        + functions_source("float64", "A", log1p_of_sum=Formula(elementary.log1p_of_sum))
    )
    load = [
        f"i = base + {size} * after * j",
        f"x0 = T({call(kind.load, 'load_one(x + i, S)')})",
    ]
    largest = "select((b > a) | (b != b), b, a)"
    weight = "load_one(weights + 8 * label, A)" if weighted else "A(1)"
    loss = "(loss if counts else A(0))"
    store = f"store_one(losses + {size} * row, S({call(kind.store, f'T({loss})')}))"
    if summed:
        store = f"store_one(losses + 8 * row, {loss})"
    work = ["a = T(-INFINITY)", *_over_row([*load, "b = x0", f"a = {largest}"]), "t = A(a)"]
    work += [*_reduced(largest), "top = T(t)", "t = A(0)", "n = A(0)"]
    others = ["e = A(T(term(x0, top)))", "t += select(x0 == top, A(0), e)"]
    work += _over_row([*load, *others, "n += select(x0 == top, A(1), A(0))"])
    work += [
        *_reduced("a + b"),
        "others = t",
        "t = n",
        *_reduced("a + b"),
        "rest = others + t - A(1)",
    ]
    work += [
        "label = load_one(labels + 8 * row, int64)",
        "counts = label != ignored",
        "known = label >= 0 and label < length",
        "own = A(0)",
        "at_label = top",
        "if counts and known:",
        f"    own = {weight}",
        f"    at_label = T({call(kind.load, f'load_one(x + base + {size} * after * label, S)')})",
        "undefined = A(top - top) if known else A(INFINITY - INFINITY)",
        "cuda.syncthreads()",
        "loss = own * (log1p_of_sum(rest) + (A(top) - A(at_label))) + undefined",
        "if thread == 0:",
        f"    {store}",
    ]
    if gradient:
        work += [
            "scale = own / load_one(divisor, A)",
            "power = A(T(term(at_label, top)))",
            "missing = rest if at_label == top else A(1) + rest - power",
            "at_labels = -scale * missing / (A(1) + rest) + undefined",
            "inverse = scale / (A(1) + rest) + undefined",
        ]
        by = "T(A(T(term(x0, top))) * inverse)"
        stored = [
            f"by = T(at_labels) if j == label else {by}",
            "by = by if counts else T(0)",
            f"store_one(g + i, S({call(kind.store, 'by')}))",
        ]
        work += _over_row([*load, *stored])
    given = [
        "x",
        "labels",
        "weights",
        "g",
        "losses",
        "divisor",
        "before",
        "length",
        "after",
        "ignored",
    ]
    source = _for_each_row(functions, given, size, work)
    forms = "gradient_" * gradient + "weighted_" * weighted + "summed_" * summed
    name = f"cross_entropy_{forms}rows_{kind.name}"
    return CudaKernel(name, kind, source, ("int64",) * len(given))


# --- masks --------------------------------------------------------------------------------------


def mask(kind: Kind) -> CudaKernel:
    """ReLU, and a bit for each element.

    Arguments: addresses of x, out and bits, the number of elements, and whether the first two are
    multiples of 16.
    """
    element = f"""\
e = T({call(kind.load, "{x}")})
bits = uint8(bits | select(e > T(0), uint8({{bit}}), uint8(0)))
{{y}} = select(e <= T(0), S(0), {{x}})"""
    return _eight("relu_mask", kind, element, "bits = uint8(0)", "store_one(b + g, bits)")


def mask_backward(kind: Kind) -> CudaKernel:
    """The element where there is a bit, else 0; arguments as for ``mask``."""
    element = "{y} = select(bits & uint8({bit}) != uint8(0), {x}, S(0))"
    return _eight("relu_mask_backward", kind, element, "bits = load_one(b + g, uint8)", "")


def _eight(name: str, kind: Kind, element: str, first: str, last: str) -> CudaKernel:
    """Groups of eight elements: ``element`` says what is done to one."""
    width, size = vector_width(kind), kind.itemsize
    vectors = range(8 // width)
    loads = [f"x{v} = load_sixteen(x + {8 * size} * g + {16 * v}, S)" for v in vectors]
    work = [
        element.format(x=f"x{k // width}[{k % width}]", y=f"y{k}", bit=1 << k) for k in range(8)
    ]
    stores = []
    for v in vectors:
        lanes = ", ".join(f"y{k}" for k in range(v * width, v * width + width))
        stores.append(f"store_sixteen_{width}(o + {8 * size} * g + {16 * v}, {lanes})")
    single = []
    for k in range(8):
        place = f"{size} * (8 * g + {k})"
        one = [f"z = load_one(x + {place}, S)", element.format(x="z", y="y", bit=1 << k)]
        single += [f"if 8 * g + {k} < n:", _indented([*one, f"store_one(o + {place}, y)"], 4)]
    source = f"""\
def kernel(x, o, b, n, aligned):
    threads = cuda.gridsize(1)
    g = cuda.grid(1)
    while 8 * g < n:
        {first}
        if aligned != 0 and 8 * g + 8 <= n:
{_indented([*loads, *work, *stores], 12)}
        else:
{_indented(single, 12)}
        {last or "pass"}
        g += threads
"""
    return CudaKernel(f"{name}_{kind.name}", kind, source, ("int64",) * 5)


# --- dropout ------------------------------------------------------------------------------------


def relu_dropout(kind: Kind) -> CudaKernel:
    """relu(x) * scale where an element is kept, else 0; a thread takes four words of Philox.

    Arguments: addresses of x and out, the number of elements, the key's words, the threshold, and
    the scale. Which word is whose element's is as on the CPU (see ``fastact.cpu.masks``).
    """
    return _dropout("relu_dropout", kind, 1, "(value > T(0)) | (value != value)")


def relu_dropout_backward(kind: Kind) -> CudaKernel:
    """grad * scale where an element is kept and x is positive, else 0: grad, x, out, as above."""
    return _dropout("relu_dropout_backward", kind, 2, "z > T(0)")


def _dropout(name: str, kind: Kind, inputs: int, condition: str) -> CudaKernel:
    size, addresses = kind.itemsize, [*(f"a{k}" for k in range(inputs)), "o"]
    work = []
    for w in range(4):
        lines = [
            f"{value} = T({call(kind.load, f'load_one(a{k} + {size} * e, S)')})"
            for k, value in enumerate(("value", "z")[:inputs])
        ]
        kept = f"(w{w} >= least) & ({condition})"
        result = f"T(select({kept}, times(value, scale), T(0)))"
        lines.append(f"store_one(o + {size} * e, S({call(kind.store, result)}))")
        work += [f"e = first + {128 * w}", "if e < n:", _indented(lines, 4)]
    source = f"""\
def kernel({", ".join(addresses)}, n, key0, key1, threshold, scale):
    threads = cuda.gridsize(1)
    k0, k1, least = uint32(key0), uint32(key1), uint32(threshold)
    i = cuda.grid(1)
    while i < (n + 511) // 512 * 128:
        counter = uint64(i)
{textwrap.indent(philox(), "        ")}
        first = i // 128 * 512 + i % 128
{_indented(work, 8)}
        i += threads
"""
    arguments = ("int64",) * (len(addresses) + 4) + (kind.compute,)
    return CudaKernel(f"{name}_{kind.name}", kind, source, arguments)
