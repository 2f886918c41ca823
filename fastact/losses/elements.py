"""Losses of elements, derived from ``fastact.catalogue.losses``.

Arrays are taken as rows of one length, whose sums are added up in the end. A parameter that has a
number for each of the last axes is repeated to such a row, which stays in the cache.
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue import Parameter
from fastact.catalogue.dtypes import Kind, float_dtypes
from fastact.catalogue.entries import constrain
from fastact.catalogue.losses import LOSSES, Loss
from fastact.cpu import terms
from fastact.cpu.ufunc import Loop, Shape, make
from fastact.losses.reductions import check_reduction, floats, quotient
from fastact.public.checks import check_out

__all__ = ["NAMES", "SUFFIXES", "arguments", "build", "define", "divisor_of", "make_ufuncs"]

Array = npt.NDArray[Any]

#: What follows a loss's name in the names of its functions.
SUFFIXES = ("", "_grad", "_with_grad")
NAMES = [name + suffix for name in LOSSES for suffix in SUFFIXES]

#: Elements of a row: not so many that threads have nothing to share, and enough for what is done
#: once a row not to matter. Times of mse and binary cross-entropy with gradients, of 100 000 and of
#: two million float32, two threads, beside those with 1024: 256 0.9 to 1.2, 4096 0.9 to 1.6.
ROW = 1024


# --- ufuncs -------------------------------------------------------------------------------------

#: What the kernels give (see ``terms``).
_WANTED = (("value",), ("sum",), ("gradient", "value"), ("gradient", "sum"))


@functools.cache
def _ufunc(loss: Loss, outputs: tuple[str, ...]) -> np.ufunc:
    scaled = outputs == ("gradient", "sum")

    def of(dtype: np.dtype[Any], kind: Kind) -> Loop:
        kinds = terms.operands(loss, kind, outputs)
        dtypes = tuple(dtype if of is kind else np.dtype(of.name) for of in kinds)
        return Loop(dtypes, tuple(kinds), 0, lambda: terms.unit(loss, kind, outputs))

    inputs = ["(n)"] * (2 + len(loss.parameters)) + ["()"] * scaled
    results = ["()" if name == "sum" else "(n)" for name in outputs]
    shape = Shape.of(f"{','.join(inputs)}->{','.join(results)}")
    what = "_".join(outputs)
    doc = f"A kernel of ``fastact.losses.{loss.name}``: {' and '.join(outputs)} of rows."
    return make(f"losses.{loss.name}.{what}", doc, shape, [of(*pair) for pair in float_dtypes()])


def make_ufuncs() -> None:
    """Make all of them, so that ``ufunc.loops`` knows them."""
    for entry in LOSSES.values():
        for loss in (entry, *entry.flagged.values()):
            for outputs in _WANTED:
                _ufunc(loss, outputs)


# --- a call -------------------------------------------------------------------------------------


def _run(
    function: str,
    loss: Loss,
    suffix: str,
    given: tuple[npt.ArrayLike, npt.ArrayLike],
    parameters: Mapping[str, Any],
    reduction: str,
    out: Array | None,
) -> Any:
    check_reduction(function, reduction, loss.reductions)
    name, of_targets = loss.arrays
    array, targets = floats(function, name, given[0]), np.asarray(given[1])
    shape, dtype = array.shape, array.dtype
    if targets.shape != shape:
        raise ValueError(
            f"{function}: {of_targets} must have the shape of {name}, {shape}, got {targets.shape}"
        )
    native = dtype if dtype.isnative else dtype.newbyteorder("=")
    flat = [np.ascontiguousarray(a, native).reshape(-1) for a in (array, targets)]
    numbers, repeated = _factors(function, loss, loss.completed(parameters), shape, native)
    divisor = divisor_of(reduction, shape)
    grad = values = None
    if suffix:
        if out is not None:
            check_out(function, out, shape)
        grad = _room(out, native, [*flat, *numbers])
    if reduction == "none":
        values = np.empty(shape, native)
    total = _computed(loss, flat, numbers, repeated, divisor, grad, values)
    losses = quotient(total, divisor, dtype) if values is None else values.astype(dtype, copy=False)
    if grad is None:
        return losses
    by: Array = grad.reshape(shape)
    if out is None:
        by = by.astype(dtype, copy=False)
    else:
        if grad is not out:
            np.copyto(out, by, casting="same_kind")
        by = out
    return by if suffix == "_grad" else (losses, by)


def divisor_of(reduction: str, shape: tuple[int, ...]) -> int:
    """By what the sum of the losses is divided."""
    return {"mean": math.prod(shape), "batchmean": shape[0] if shape else 1}.get(reduction, 1)


def _computed(
    loss: Loss,
    flat: Sequence[Array],
    numbers: Sequence[Array],
    repeated: bool,
    divisor: int,
    grad: Array | None,
    values: Array | None,
) -> float:
    """Fill ``grad`` and ``values``, what is there of them; the sum of the losses, if no values."""
    wanted = ("gradient",) * (grad is not None) + (("sum",) if values is None else ("value",))
    ufunc, size = _ufunc(loss, wanted), flat[0].size
    scale = (1 / max(1, divisor),) if wanted == ("gradient", "sum") else ()
    filled = [of.reshape(-1) for of in (grad, values) if of is not None]
    length = numbers[0].size if repeated and numbers else ROW
    whole = size // length * length
    sums = []
    for start, stop, width in ((0, whole, length), (whole, size, size - whole)):
        if start < stop:
            rows = [a[start:stop].reshape(-1, width) for a in (*flat, *filled)]
            factors = [a[:width] if repeated else a[start:stop].reshape(-1, width) for a in numbers]
            into = rows[2:] if values is not None else [*rows[2:], None]
            found = ufunc(*rows[:2], *factors, *scale, out=tuple(into))
            sums.append(found[-1] if isinstance(found, tuple) else found)
    if values is not None or not sums:
        return 0.0
    with np.errstate(all="ignore"):
        return float(np.concatenate(sums).sum())


def _factors(
    function: str,
    loss: Loss,
    given: Mapping[str, Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> tuple[list[Array], bool]:
    """Parameters without dimensions but one, and whether they are a row, for all rows.

    Otherwise they are as many as elements.
    """
    for ends in loss.constraints:
        small, large = (given.get(str(end), end) for end in ends)
        constrain(function, str(ends[0]), small, str(ends[1]), large)
    compute = np.float64 if dtype == np.float64 else np.float32
    if all(type(number) in (int, float) for number in given.values()):
        return _numbers(tuple(given.values()), compute), True
    arrays = {name: np.asarray(number, compute) for name, number in given.items()}
    for name, array in arrays.items():
        if not _fits(array.shape, shape):
            raise ValueError(
                f"{function}: {name} must be a number or broadcast to {shape}, got {array.shape}"
            )
    if all(array.size == 1 for array in arrays.values()):
        return _numbers(tuple(array.item() for array in arrays.values()), compute), True
    common = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    while common[0] == 1:
        common = common[1:]
    period = math.prod(common)
    if common != shape[len(shape) - len(common) :] or not 0 < period <= ROW:
        every = [np.broadcast_to(array, shape).reshape(-1) for array in arrays.values()]
        return every, False
    last = [array.reshape(array.shape[-len(common) :]) for array in arrays.values()]
    rows = [np.broadcast_to(array, common).reshape(-1) for array in last]
    return [np.tile(row, ROW // period) for row in rows], True


@functools.lru_cache(64)
def _numbers(given: tuple[float, ...], compute: type[np.floating[Any]]) -> list[Array]:
    """Each as a row that has it over and over, and takes no memory."""
    return [np.broadcast_to(compute(number), (ROW,)) for number in given]


def _fits(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def _room(out: Array | None, dtype: np.dtype[Any], inputs: Sequence[Array]) -> Array:
    """Where the gradient is computed: in ``out`` if that has no gaps.

    It may be an input, but not overlap with one otherwise.
    """
    if out is None or out.dtype != dtype or not out.flags.carray:
        return np.empty(inputs[0].size, dtype)
    for array in inputs:
        if np.may_share_memory(array, out) and not (
            array.ctypes.data == out.ctypes.data and array.dtype == dtype and array.size == out.size
        ):
            return np.empty(out.size, dtype)
    return out


# --- functions ----------------------------------------------------------------------------------


def arguments(name: str) -> tuple[Loss, str, list[Parameter]]:
    """Of the function of this name: its loss, its suffix, and its arguments after the arrays."""
    loss_name = max((n for n in LOSSES if name in (n + s for s in SUFFIXES)), key=len)
    loss, suffix = LOSSES[loss_name], name.removeprefix(loss_name)
    listed = ", ".join(f'"{known}"' for known in loss.reductions)
    made = [*loss.parameters]
    made += [
        Parameter(flag, f"whether {loss.arrays[1]} are logarithms", False, "bool")
        for flag in loss.flagged
    ]
    made.append(Parameter("reduction", _REDUCED, "mean", f"{{{listed}}}"))
    if suffix:
        made.append(Parameter("out", _OUT, None, "ndarray"))
    return loss, suffix, made


_REDUCED = "what becomes of the losses; a gradient is that of the reduced loss, or of the sum"
_OUT = "where the gradient goes; it may be an input"


def build(name: str) -> Any:
    """The public function of this name."""
    return define(name, _run, "fastact.losses")


def define(name: str, run: Callable[..., Any], module: str, last: str = "") -> Any:
    """The function of this name for a target, on which ``run`` computes it.

    ``last`` is an argument that it has beside those of every target.
    """
    loss, suffix, parameters = arguments(name)
    declared = [f"{p.name}={p.default!r}" for p in parameters] + [f"{last}=None"] * bool(last)
    chosen = "".join(f"flagged[{flag!r}] if {flag} else " for flag in loss.flagged)
    given = ", ".join(loss.arrays)
    own = ", ".join(f"{p.name!r}: {p.name}" for p in loss.parameters)
    passed = [repr(name), f"{chosen}loss", repr(suffix), f"({given})", f"{{{own}}}", "reduction"]
    passed += ["out" if suffix else "None", *[last] * bool(last)]
    text = f"def {name}({given}, *, {', '.join(declared)}):\n    return run({', '.join(passed)})\n"
    known = {"run": run, "loss": loss, "flagged": loss.flagged, "__name__": module}
    exec(text, known)
    function = known[name]
    function.__doc__ = _documentation(loss, suffix, parameters)
    if last:
        summary, _, described = function.__doc__.partition("\n")
        function.__doc__ = f"On a GPU: ``fastact.losses.{name}``. {summary}\n{described}"
    return function


def _documentation(loss: Loss, suffix: str, parameters: Sequence[Parameter]) -> str:
    element, target = loss.arrays
    summary, _, rest = loss.doc.partition("\n")
    text, marker, example = rest.partition(">>>")
    described = [
        f"{element} : array_like\n    {loss.about[0].capitalize()}: floating-point numbers.",
        f"{target} : array_like\n    Of their shape: {loss.about[1]}.",
        *(
            f"{p.name} : {p.type}, {'optional' if p.default is None else f'default {p.default}'}\n"
            f"{textwrap.indent(textwrap.fill(p.about[0].upper() + p.about[1:] + '.', 92), '    ')}"
            for p in parameters
        ),
    ]
    reference = f"References\n----------\n.. [1] {loss.reference}." if loss.reference else ""
    grad = f"grad : ndarray\n    Of the shape and dtype of {element}."
    value = "scalar or ndarray"
    if not suffix:
        opening = [summary, text.strip()]
        returned, shown = f"{value}\n    Of the dtype of {element}.", marker + example
    else:
        of = "Gradient of" if suffix == "_grad" else "The loss and its gradient, in one pass:"
        opening = [f"{of} ``{loss.name}`` by {element}."]
        returned = grad if suffix == "_grad" else f"loss : {value}\n{grad}"
        shown = ""
    sections = [
        *opening,
        "Parameters\n----------\n" + "\n".join(described),
        f"Returns\n-------\n{returned}",
        "Raises\n------\nTypeError, ValueError\n    If an argument does not fit; it is said which.",
        reference,
        f"Examples\n--------\n{shown.strip()}" if shown else "",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"
