"""SciPy's names: the functions of ``scipy.special`` that networks and statistics use.

The signatures and defaults are SciPy's, so that ``from fastact import special`` can stand in for
``from scipy import special``. Elementwise functions are ufuncs, within 2 ulp.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue.entries import row_formula
from fastact.catalogue.special import SPECIAL
from fastact.cpu import sparse_rows
from fastact.public import names
from fastact.public.elementwise import kernel_ufunc
from fastact.public.rows import part_ufunc, row_ufunc

__all__ = [
    "erf",
    "erfc",
    "expit",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "softmax",
    "softplus",
    "sparsemax",
    "sparsemax_backward",
    "xlogy",
]

Array = npt.NDArray[Any]


def _ufunc(name: str, doc: str) -> np.ufunc:
    return kernel_ufunc(SPECIAL[name], "forward", f"special.{name}", doc)


erf = _ufunc(
    "erf",
    """The error function.

>>> fa.special.erf(np.array([-np.inf, 0.0, 0.5]))
array([-1.        ,  0.        ,  0.52049988])
""",
)
erfc = _ufunc(
    "erfc",
    """1 - erf(x), also where erf(x) is close to 1.

>>> fa.special.erfc(np.array([0.0, 10.0]))
array([1.00000000e+00, 2.08848758e-45])
""",
)
expit = _ufunc(
    "expit",
    """1 / (1 + e^-x): ``fastact.sigmoid``.

>>> fa.special.expit(np.array([-1000.0, 0.0]))
array([0. , 0.5])
""",
)
log_expit = _ufunc(
    "log_expit",
    """log(1 / (1 + e^-x)): ``fastact.log_sigmoid``.

>>> fa.special.log_expit(np.array([-1000.0, 100.0]))
array([-1.00000000e+03, -3.72007598e-44])
""",
)
logit = _ufunc(
    "logit",
    """log(x / (1 - x)), the inverse of ``expit``; NaN outside of 0 to 1.

>>> fa.special.logit(np.array([0.0, 0.5, 0.75]))
array([      -inf, 0.        , 1.09861229])
""",
)
ndtr = _ufunc(
    "ndtr",
    """The cumulative function of the normal distribution.

>>> fa.special.ndtr(np.array([-10.0, 0.0]))
array([7.61985302e-24, 5.00000000e-01])
""",
)
log_ndtr = _ufunc(
    "log_ndtr",
    """The logarithm of ``ndtr``, also where that is 0 or close to 1.

>>> fa.special.log_ndtr(np.array([-1000.0, 10.0]))
array([-5.00007827e+05, -7.61985302e-24])
""",
)
softplus = _ufunc(
    "softplus",
    """log(1 + e^x).

>>> fa.special.softplus(np.array([-1000.0, 1000.0]))
array([   0., 1000.])
""",
)
xlogy = _ufunc(
    "xlogy",
    """x * log(y), and 0 where x is 0 unless y is NaN.

>>> fa.special.xlogy(np.array([0.0, 2.0]), np.array([0.0, np.e]))
array([0., 2.])
""",
)
_weighted = _ufunc("weighted", "weight * e^(x - top).")


# --- rows ---------------------------------------------------------------------------------------

Axes = int | tuple[int, ...] | None


def softmax(
    x: npt.ArrayLike,
    axis: Axes = None,
    *,
    temperature: float = 1.0,
    where: npt.ArrayLike | None = None,
) -> Array:
    """e^x / sum(e^x), over one axis, several, or all.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The default is all axes: the results add up to 1. ``fastact.softmax`` has another one.
    temperature : float, default 1
        By which x is divided first; positive.
    where : array_like of bool, optional
        What takes part; elsewhere the result is 0. Where nothing does, all of it is.

    Returns
    -------
    ndarray
        Of x's shape.

    Examples
    --------
    >>> fa.special.softmax(np.array([[1000.0, 1000.0], [1000.0, 1000.0]]))
    array([[0.25, 0.25],
           [0.25, 0.25]])
    >>> fa.special.softmax(np.array([1.0, 5.0, 1.0]), where=np.array([True, False, True]))
    array([0.5, 0. , 0.5])
    """
    if not temperature > 0:
        raise ValueError(f"softmax: temperature must be positive, got {temperature}")
    array = np.asanyarray(x)
    if temperature != 1:
        array = np.true_divide(array, temperature)
    if where is None:
        return _over_axes(names.build("softmax"), array, axis)
    mask = np.broadcast_to(np.asarray(where, bool), array.shape)
    result = _over_axes(names.build("softmax"), np.where(mask, array, -np.inf), axis)
    return np.where(mask.any(axis, keepdims=True), result, result.dtype.type(0))


def sparsemax(x: npt.ArrayLike, axis: int = -1, out: Array | None = None) -> Array:
    """Softmax's sparse relative: x - t where that is positive, else 0; t such that the sum is 1.

    A row that has NaN or inf, or nothing but -inf, gives NaN.

    Parameters
    ----------
    x : array_like
    axis : int, default -1
        The axis along which the rows lie.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray
        Of x's shape.

    References
    ----------
    .. [1] Martins and Astudillo, From softmax to sparsemax, 2016, arXiv:1602.02068.

    Examples
    --------
    >>> fa.special.sparsemax(np.array([1.0, 0.5, -1.0]))
    array([0.75, 0.25, 0.  ])
    """
    return _sparsemax(x, out, axis=axis)


def sparsemax_backward(
    grad: npt.ArrayLike, y: npt.ArrayLike, axis: int = -1, out: Array | None = None
) -> Array:
    """Gradient of ``sparsemax``, given its *output* y: grad less its mean where y is not 0, else 0.

    Parameters
    ----------
    grad, y : array_like
        The gradient by the result, and the result.
    axis : int, default -1
        As for ``sparsemax``.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray
        The gradient by x.

    Examples
    --------
    >>> fa.special.sparsemax_backward(np.array([1.0, 2.0, 5.0]), np.array([0.75, 0.25, 0.0]))
    array([-0.5,  0.5,  0. ])
    """
    return _sparsemax_backward(grad, y, out, axis=axis)


_sparsemax = row_ufunc("special.sparsemax", "(n)->(n)", "..", sparse_rows.sparsemax)
_sparsemax_backward = row_ufunc(
    "special.sparsemax_backward", "(n),(n)->(n)", "...", sparse_rows.sparsemax_backward
)


def log_softmax(x: npt.ArrayLike, axis: Axes = None) -> Array:
    """The logarithm of ``softmax``, also accurate where one element outweighs all others.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        The default is all axes.

    Returns
    -------
    ndarray
        Of x's shape.

    Examples
    --------
    >>> fa.special.log_softmax(np.array([0.0, -50.0]))
    array([-1.92874985e-22, -5.00000000e+01])
    """
    return _over_axes(names.build("log_softmax"), np.asanyarray(x), axis)


def logsumexp(
    a: npt.ArrayLike,
    axis: Axes = None,
    b: npt.ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """log(sum(b * e^a)), over one axis, several, or all.

    Parameters
    ----------
    a : array_like
        Real or complex numbers.
    axis : int or tuple of int, optional
        The default is all axes.
    b : array_like, optional
        Factors, which broadcast with ``a`` and may be negative. What has the factor 0 does not
        count, whatever it is.
    keepdims : bool, default False
        Whether axes that are summed over stay, with length 1.
    return_sign : bool, default False
        Whether the sign of the sum is returned, too; otherwise a negative sum gives NaN.

    Returns
    -------
    ndarray or scalar, or two of them
        The logarithm of the sum's absolute value, and its sign if wanted. Of complex numbers, the
        logarithm of the sum; or that of its absolute value, and the sum over that.

    Examples
    --------
    >>> fa.special.logsumexp(np.array([1000.0, 1000.0])).item()
    1000.6931471805599
    >>> log, sign = fa.special.logsumexp(
    ...     np.array([0.0, 1.0]), b=np.array([1, -1]), return_sign=True
    ... )
    >>> round(log.item(), 6), sign.item()
    (0.541325, -1.0)
    """
    terms = _numbers("logsumexp", a)
    factors = None if b is None else _numbers("logsumexp", b)
    dtype = terms.dtype if factors is None else np.result_type(terms, factors)
    if factors is not None:
        terms, factors = np.broadcast_arrays(terms, factors)
    wide = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
    rows, kept = _rows(terms.astype(wide, copy=False), axis)
    with np.errstate(all="ignore"):
        if dtype.kind == "c":
            of = None if factors is None else _rows(factors, axis)[0]
            log, sign = _of_complex(rows, of, return_sign)
        elif factors is None:
            top, rest, count = part_ufunc(row_formula("log_softmax"))(rows)
            log = top.astype(np.float64) + np.log1p((count - 1) + rest)
            log = np.where(np.isneginf(top), -np.inf, log)
            sign = np.where(np.isneginf(log), 0.0, 1.0)
        else:
            log, sign = _of_weighted(rows, _rows(factors.astype(wide, copy=False), axis)[0])
        sign = np.where(np.isnan(log), np.nan, sign)
        if not return_sign and dtype.kind != "c":
            log = np.where(sign < 0, np.nan, log)
        of_log = dtype.type(0).real.dtype if return_sign else dtype
        shape = kept if keepdims else _without(terms.ndim, axis, kept)
        log = log.astype(of_log).reshape(shape)[()]
        return (log, sign.astype(dtype).reshape(shape)[()]) if return_sign else log


def _of_weighted(a: Array, b: Array) -> tuple[Array, Array]:
    """The logarithm and the sign of sums of rows."""
    a = np.where(b == 0, -np.inf, a).astype(a.dtype)
    top = a.max(-1, keepdims=True, initial=-np.inf)
    terms = np.where(a == top, b, _weighted(a, top, b))
    total = terms.sum(-1, dtype=np.float64)
    return top[..., 0].astype(np.float64) + np.log(np.abs(total)), np.sign(total)


def _of_complex(a: Array, b: Array | None, return_sign: bool) -> tuple[Array, Array]:
    """The same of complex numbers: the logarithm of the sum or of its size, and its direction."""
    real = a.real if b is None else np.where(b == 0, -np.inf, a.real)
    top = real.max(-1, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    powers = np.where(np.isneginf(real), 0, np.exp(a - top))
    total = (powers if b is None else np.where(b == 0, 0, b * powers)).sum(-1)
    size = abs(total)
    sign = np.where(size == 0, 0, total / size)
    if not return_sign:
        return np.log(total) + top[..., 0], sign
    return np.log(size) + top[..., 0], sign


def _numbers(function: str, a: npt.ArrayLike) -> Array:
    """An array of floating-point or complex numbers."""
    array = np.asanyarray(a)
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if kind not in "biufc" or itemsize > (16 if kind == "c" else 8):
        raise TypeError(f"{function}: takes numbers of up to 64 bits, got {array.dtype}")
    return array if kind in "fc" else array.astype(np.float64)


def _axes(dimensions: int, axis: Axes) -> tuple[int, ...]:
    """Numbers of the axes, from the front."""
    if axis is None:
        return tuple(range(dimensions))
    return np.lib.array_utils.normalize_axis_tuple(axis, dimensions)


def _rows(array: Array, axis: Axes) -> tuple[Array, tuple[int, ...]]:
    """The array with some axes as one, the last one; and its shape with those of length 1."""
    axes = _axes(array.ndim, axis)
    others = [d for d in range(array.ndim) if d not in axes]
    kept = tuple(1 if d in axes else n for d, n in enumerate(array.shape))
    shape = [array.shape[d] for d in others]
    length = int(np.prod([array.shape[d] for d in axes], dtype=np.int64))
    return array.transpose([*others, *axes]).reshape([*shape, length]), kept


def _without(dimensions: int, axis: Axes, kept: tuple[int, ...]) -> tuple[int, ...]:
    axes = _axes(dimensions, axis)
    return tuple(n for d, n in enumerate(kept) if d not in axes)


def _over_axes(function: Any, x: Array, axis: Axes) -> Array:
    """A function of rows, of which some axes are one."""
    if isinstance(axis, int):
        return function(x, axis=axis)
    if x.ndim == 0:
        return function(x.reshape(1))[0]
    axes = _axes(x.ndim, axis)
    others = [d for d in range(x.ndim) if d not in axes]
    moved = x.transpose([*others, *axes])
    flat = moved.reshape([*moved.shape[: len(others)], -1] if x.size else [*others, 0])
    result = function(flat).reshape(moved.shape)
    return result.transpose(np.argsort([*others, *axes]))
