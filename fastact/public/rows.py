"""Functions of rows along an axis: softmax, log_softmax and maxout.

``public`` lists their names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_index
from numpy.lib.stride_tricks import as_strided

from fastact.catalogue import ROWS, Activation
from fastact.catalogue.dtypes import Kind, float_dtypes
from fastact.cpu import loops, rows
from fastact.cpu.compiler import Unit
from fastact.cpu.ufunc import Loop, Shape, make
from fastact.public.elementwise import check_in_place, check_out, elementwise

Array = npt.NDArray[Any]


def _ufunc(
    name: str, signature: str, dtypes: str, unit: Callable[[Kind], Unit], half: bool = True
) -> np.ufunc:
    """A generalized ufunc; ``dtypes`` has a dot for each operand of the array's own dtype."""
    own = [(dtype, kind) for dtype, kind in float_dtypes() if half or kind.itemsize > 2]
    others = {"d": rows.DOUBLE, "l": rows.INDEX}

    def of(dtype: np.dtype[Any], kind: Kind) -> Loop:
        return Loop(
            tuple(dtype if c == "." else np.dtype(others[c].name) for c in dtypes),
            tuple(kind if c == "." else others[c] for c in dtypes),
            0,
            lambda: unit(kind),
        )

    doc = f"The kernel of ``{name.partition('.')[0]}``, which see."
    return make(name, doc, Shape.of(signature), [of(dtype, kind) for dtype, kind in own])


# --- long rows ----------------------------------------------------------------------------------

#: The driver shares rows out, but does not split them. Where there are so few of at least so many
#: elements, their sums are taken of parts, and the results are another, elementwise, kernel.
#: 1 row of 10^6 float32, 2 threads: 1.2 to 1.3 times faster in parts.
FEW_ROWS = 8
LONG_ROW = 1 << 18
#: Elements of a part; they stay in a core's cache between the first and the second time.
PART = 8192


class _RowFunction:
    """The ufunc of an entry of ``ROWS``, and what long rows need."""

    def __init__(self, name: str) -> None:
        self.entry = entry = ROWS[name]
        arrays = len(entry.inputs)
        inputs = ",".join(["(n)"] * arrays)
        self.ufunc = _ufunc(
            f"{name}.ufunc", f"{inputs}->(n)", "." * (arrays + 1), lambda k: rows.whole(entry, k)
        )
        sums = ("(),(),()", ".dd") if arrays == 1 else ("()", "d")
        kept = ("(n),", ".") if entry.keeps_term else ("", "")
        self.part = _ufunc(
            f"{name}.part_ufunc",
            f"{inputs}->{kept[0]}{sums[0]}",
            "." * arrays + kept[1] + sums[1],
            lambda k: rows.partial(entry, k),
            half=False,
        )
        result = Activation(name, entry.doc, entry.result, arrays=arrays)
        self.result = elementwise(
            result, f"{name}.result_ufunc", loops.forward, entry.doc, arrays, False
        )

    def of_long_rows(self, arrays: tuple[Any, ...], axis: int, out: Array | None) -> Any:
        """The result, computed by parts; None if these are not few long rows."""
        if not _splits(arrays, axis, out):
            return None
        if out is None:
            out = np.empty_like(arrays[0])
        with np.errstate(all="ignore"):
            self._by_parts([np.moveaxis(a, axis, -1) for a in arrays], np.moveaxis(out, axis, -1))
        return out

    def _by_parts(self, arrays: list[Array], out: Array) -> None:
        """The function of rows along the last axis."""
        kept = [out] if self.entry.keeps_term else []
        sums = []
        for views in zip(*map(_parts, [*arrays, *kept]), strict=True):
            found = self.part(*views)
            sums.append(found[len(kept) :] if len(arrays) == 1 else (found,))
        totals = [np.concatenate(pieces, axis=-1).astype("d") for pieces in zip(*sums, strict=True)]
        high, low = _known(self.entry.total, *totals)
        # The second part is what the first has lost to rounding.
        first = high.astype(out.dtype)
        second = ((high - first) + low).astype(out.dtype)
        start = 0
        for views in zip(*map(_parts, [*(kept or arrays), out]), strict=True):
            columns = slice(start, start := start + views[0].shape[-2])
            if first.shape[-1] == 1:  # the same for all parts of a row
                columns = slice(None)
            known = (part[..., columns, np.newaxis] for part in (first, second))
            self.result(*views[:-1], *known, views[-1])


def _splits(arrays: tuple[Any, ...], axis: int, out: Array | None) -> bool:
    """Whether these are few long rows, and arrays without any peculiarity."""
    first = arrays[0]
    length = first.shape[normalize_axis_index(axis, first.ndim)]
    return (
        length >= LONG_ROW
        and first.size <= FEW_ROWS * length
        and first.dtype in (np.float32, np.float64)
        and all(
            type(a) is np.ndarray
            and a.shape == first.shape
            and a.dtype == first.dtype
            and a.flags.aligned
            and a.dtype.isnative
            # Elements are replaced one by one: an output may be an input, but not overlap it.
            and (out is None or out is a or not np.may_share_memory(out, a))
            for a in (*arrays, *([] if out is None else [out]))
        )
        and (out is None or out.flags.writeable)
    )


def _parts(array: Array) -> list[Array]:
    """Views of an array with its last axis in parts: those of full length, and the last one."""
    *others, length = array.shape
    *steps, step = array.strides
    count, rest = divmod(length, PART)
    views = [as_strided(array, (*others, count, PART), (*steps, step * PART, step))]
    if rest:
        views.append(array[..., np.newaxis, count * PART :])
    return views


def _known(total: str, *sums: Array) -> tuple[Array, Array | float]:
    """What ``result`` gets to know, from the sums of parts as ``rows.partial`` gives them."""
    if total == "sum":
        return sums[0].sum(-1, keepdims=True), 0.0
    tops, rests, counts = sums
    top = tops.max(-1, keepdims=True)
    at_top = tops == top
    factors = np.exp(tops - top)
    others = np.where(at_top, rests, (rests + counts) * factors).sum(-1, keepdims=True)
    others += np.where(at_top, counts, 0).sum(-1, keepdims=True) - 1
    others += top - top  # NaN where the largest element is infinite
    if total == "inverse":
        return factors / (1 + others), 0.0
    logarithm = np.log1p(others)
    high = top + logarithm
    return high, logarithm - (high - top)


_softmax = _RowFunction("softmax")
_softmax_backward = _RowFunction("softmax_backward")
_log_softmax = _RowFunction("log_softmax")
_log_softmax_backward = _RowFunction("log_softmax_backward")
_maxout = _ufunc("maxout.ufunc", "(n)->(),()", "..l", rows.maxout)
_maxout_backward = _ufunc("maxout_backward.ufunc", "(),()->(n)", ".l.", rows.maxout_backward)


# --- softmax --------------------------------------------------------------------------------------


def softmax(x: npt.ArrayLike, axis: int = -1, out: Array | None = None, **keywords: Any) -> Any:
    """Softmax along an axis: e^x / sum(e^x).

    Parameters
    ----------
    x : array_like, at least one-dimensional
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers are promoted as by
        ``np.exp``.
    axis : int, default -1
        The axis along which the results sum up to 1.
    out : ndarray, optional
        Where the result goes; it may be x itself.
    **keywords
        ``axes``, ``casting``, ``dtype``, ``subok``: as for any generalized NumPy ufunc.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ValueError
        If x has no such axis, or ``out`` another shape.

    Notes
    -----
    No x is too large: what is computed is e^(x - max(x)). A row that has NaN or inf, or nothing but
    -inf, gives NaN, as in PyTorch; other rows do not. Sums are kept in float64; the order of
    additions does not depend on the number of threads. Instead of
    ``(e := np.exp(x - x.max(axis, keepdims=True))) / e.sum(axis, keepdims=True)``.

    References
    ----------
    .. [1] Bridle, Probabilistic interpretation of feedforward classification network outputs,
       1990.

    Examples
    --------
    >>> fa.softmax(np.array([1000.0, 1000.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    if type(x) is np.ndarray and x.size >= LONG_ROW and not keywords:
        result = _softmax.of_long_rows((x,), axis, out)
        if result is not None:
            return result
    return _softmax.ufunc(x, out, axis=axis, **keywords)


def softmax_(x: Array, axis: int = -1) -> Array:
    """In place: ``softmax``, which see. Returns x itself.

    Examples
    --------
    >>> x = np.array([[0.0, 0.0], [0.0, -np.inf]])
    >>> fa.softmax_(x)
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    return _in_place("softmax_", softmax, x, axis)


def softmax_backward(
    grad: npt.ArrayLike,
    y: npt.ArrayLike,
    axis: int = -1,
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """Gradient of ``softmax``, given its *output* y: y * (grad - sum(grad * y)).

    Parameters
    ----------
    grad : array_like
        Gradient by the output.
    y : array_like
        What ``softmax`` returned, not what it was called with.
    axis : int, default -1
        As in the call of ``softmax``.
    out : ndarray, optional
        Where the result goes; it may be grad or y itself.
    **keywords
        ``axes``, ``casting``, ``dtype``, ``subok``: as for any generalized NumPy ufunc.

    Returns
    -------
    ndarray
        Gradient by x.

    Notes
    -----
    Where y is 0 the result is 0 and ``grad`` does not matter, even if it is infinite or NaN: so it
    is with masked positions.

    Examples
    --------
    >>> fa.softmax_backward(np.array([1.0, 0.0, np.nan]), np.array([0.5, 0.5, 0.0]))
    array([ 0.25, -0.25,  0.  ])
    """
    if type(grad) is np.ndarray and grad.size >= LONG_ROW and not keywords:
        result = _softmax_backward.of_long_rows((grad, y), axis, out)
        if result is not None:
            return result
    return _softmax_backward.ufunc(grad, y, out, axis=axis, **keywords)


def log_softmax(x: npt.ArrayLike, axis: int = -1, out: Array | None = None, **keywords: Any) -> Any:
    """Logarithm of softmax along an axis: x - log(sum(e^x)).

    Parameters
    ----------
    x : array_like, at least one-dimensional
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers are promoted as by
        ``np.exp``.
    axis : int, default -1
        The axis along which the exponentials of the results sum up to 1.
    out : ndarray, optional
        Where the result goes; it may be x itself.
    **keywords
        ``axes``, ``casting``, ``dtype``, ``subok``: as for any generalized NumPy ufunc.

    Returns
    -------
    ndarray
        Of x's shape.

    Raises
    ------
    ValueError
        If x has no such axis, or ``out`` another shape.

    Notes
    -----
    Also accurate where a result is close to 0, because one element outweighs all others. A row that
    has NaN or inf, or nothing but -inf, gives NaN, as in PyTorch; other rows do not. Instead of
    ``x - (m := x.max(axis, keepdims=True)) - np.log(np.exp(x - m).sum(axis, keepdims=True))``.

    Examples
    --------
    >>> fa.log_softmax(np.array([0.0, -50.0, -np.inf]))
    array([-1.92874985e-22, -5.00000000e+01,            -inf])
    """
    if type(x) is np.ndarray and x.size >= LONG_ROW and not keywords:
        result = _log_softmax.of_long_rows((x,), axis, out)
        if result is not None:
            return result
    return _log_softmax.ufunc(x, out, axis=axis, **keywords)


def log_softmax_(x: Array, axis: int = -1) -> Array:
    """In place: ``log_softmax``, which see. Returns x itself.

    Examples
    --------
    >>> x = np.array([[0.0, -np.inf]])
    >>> fa.log_softmax_(x) is x
    True
    """
    return _in_place("log_softmax_", log_softmax, x, axis)


def log_softmax_backward(
    grad: npt.ArrayLike,
    y: npt.ArrayLike,
    axis: int = -1,
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """Gradient of ``log_softmax``, given its *output* y: grad - e^y * sum(grad).

    The parameters are those of ``softmax_backward``, y being what ``log_softmax`` returned.

    Examples
    --------
    >>> fa.log_softmax_backward(np.array([1.0, 0.0]), np.log(np.array([0.25, 0.75])))
    array([ 0.75, -0.75])
    """
    if type(grad) is np.ndarray and grad.size >= LONG_ROW and not keywords:
        result = _log_softmax_backward.of_long_rows((grad, y), axis, out)
        if result is not None:
            return result
    return _log_softmax_backward.ufunc(grad, y, out, axis=axis, **keywords)


def _in_place(name: str, function: Callable[..., Any], x: Any, axis: int) -> Any:
    try:
        return function(x, axis, out=x)
    except (TypeError, ValueError):
        check_in_place(name, x, integers=False)
        raise


# --- maxout ---------------------------------------------------------------------------------------


def maxout(
    x: npt.ArrayLike,
    axis: int = -1,
    out: tuple[Array | None, Array | None] = (None, None),
    **keywords: Any,
) -> tuple[Any, Any]:
    """Maxout: the largest element of each row along an axis, and where it is.

    Parameters
    ----------
    x : array_like, at least one-dimensional
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers are promoted as by
        ``np.exp``.
    axis : int, default -1
        The axis that has the pieces of each unit, and that the results do not have.
    out : tuple of two ndarrays, optional
        Where the values and the indices (int64) go.
    **keywords
        ``axes``, ``casting``, ``subok``: as for any generalized NumPy ufunc.

    Returns
    -------
    values, indices : ndarray
        Of x's shape without ``axis``. Of equal elements the first one counts; NaN is larger than
        anything else, as for ``np.argmax``.

    Raises
    ------
    ValueError
        If x has no such axis, or that has no elements.

    Notes
    -----
    Layers that take the maximum over groups of channels call it with ``x`` reshaped to
    (..., units, pieces). Instead of ``x.max(axis), x.argmax(axis)``.

    References
    ----------
    .. [1] Goodfellow, Warde-Farley, Mirza, Courville and Bengio, Maxout networks, 2013,
       arXiv:1302.4389.

    Examples
    --------
    >>> fa.maxout(np.array([[1.0, 3.0, 2.0], [0.0, -1.0, 0.0]]))
    (array([3., 0.]), array([1, 0]))
    """
    shape = np.shape(x)
    if shape and "axes" not in keywords and shape[normalize_axis_index(axis, len(shape))] == 0:
        raise ValueError(f"maxout: axis {axis} of x has no elements, its shape is {shape}")
    return _maxout(x, out=out, **({} if "axes" in keywords else {"axis": axis}), **keywords)


def maxout_backward(
    grad: npt.ArrayLike,
    indices: npt.ArrayLike,
    pieces: int,
    axis: int = -1,
    out: Array | None = None,
    **keywords: Any,
) -> Array:
    """Gradient of ``maxout``: grad where the largest element was, 0 elsewhere.

    Parameters
    ----------
    grad : array_like
        Gradient by the values.
    indices : array_like of int
        What ``maxout`` returned with them.
    pieces : int
        How long x was along ``axis``.
    axis : int, default -1
        As in the call of ``maxout``.
    out : ndarray, optional
        Where the result goes.
    **keywords
        ``casting``, ``subok``: as for any generalized NumPy ufunc.

    Returns
    -------
    ndarray
        Gradient by x.

    Raises
    ------
    ValueError
        If ``grad`` and ``indices`` do not broadcast, or ``out`` has another shape than x.

    Examples
    --------
    >>> fa.maxout_backward(np.array([1.0, 2.0]), np.array([1, 0]), pieces=3)
    array([[0., 1., 0.],
           [2., 0., 0.]])
    """
    grad, indices = np.asanyarray(grad), np.asanyarray(indices)
    shape = list(np.broadcast_shapes(grad.shape, indices.shape))
    shape.insert(normalize_axis_index(axis, len(shape) + 1), pieces)
    if out is None:
        dtype = _maxout_backward.resolve_dtypes((grad.dtype, indices.dtype, None))[-1]
        out = np.empty(shape, dtype)
    else:
        check_out("maxout_backward", out, tuple(shape))
    return _maxout_backward(grad, indices, out, axis=axis, **keywords)


_function: Any
for _function, _kernel in (
    (softmax, _softmax),
    (softmax_backward, _softmax_backward),
    (log_softmax, _log_softmax),
    (log_softmax_backward, _log_softmax_backward),
):
    _function.ufunc = _kernel.ufunc
    _function.part_ufunc = _kernel.part
    _function.result_ufunc = _kernel.result
maxout.ufunc = _maxout  # type: ignore[attr-defined]
maxout_backward.ufunc = _maxout_backward  # type: ignore[attr-defined]
