"""Gated linear units that are more than one kernel: a choice of two, and halves of one array.

``public`` lists their names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue import GATED
from fastact.public.elementwise import (
    check_in_place,
    check_out,
    gated,
    gated_backward,
    select_approximation,
)
from fastact.public.shapes import halves

Array = npt.NDArray[Any]

# --- GELU's gate --------------------------------------------------------------------------------

_GEGLU = {
    "none": gated(GATED["_geglu"], "geglu.ufunc"),
    "tanh": gated(GATED["_geglu_tanh"], "geglu.tanh_ufunc"),
}
_GEGLU_BACKWARD = {
    "none": gated_backward(GATED["_geglu"], "geglu_backward.ufunc"),
    "tanh": gated_backward(GATED["_geglu_tanh"], "geglu_backward.tanh_ufunc"),
}


def geglu(
    gate: npt.ArrayLike,
    up: npt.ArrayLike,
    approximate: str = "none",
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """GELU-gated linear unit: gelu(gate) * up.

    Parameters
    ----------
    gate, up : array_like
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers are promoted as by
        ``np.exp``. Of one shape, or broadcast.
    approximate : {"none", "tanh"}
        As for ``gelu``.
    out : ndarray, optional
        Where the result goes; it may be gate or up itself.
    **keywords
        ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc.

    Returns
    -------
    ndarray or scalar
        Of the shape of gate and up, broadcast.

    Raises
    ------
    ValueError
        If ``approximate`` is neither.

    References
    ----------
    .. [1] Shazeer, GLU variants improve transformer, 2020, arXiv:2002.05202.

    Examples
    --------
    >>> fa.geglu(np.array([-np.inf, 0.0, 100.0]), np.array([3.0, 3.0, 3.0]))
    array([ -0.,   0., 300.])
    """
    return select_approximation("geglu", _GEGLU, approximate)(gate, up, out, **keywords)


def geglu_(gate: Array, up: npt.ArrayLike, approximate: str = "none") -> Array:
    """In place of the gate: ``geglu``, which see. Returns gate itself.

    Examples
    --------
    >>> gate = np.array([0.0, 100.0])
    >>> fa.geglu_(gate, np.array([3.0, 3.0])) is gate
    True
    """
    try:
        return geglu(gate, up, approximate, out=gate)
    except (TypeError, ValueError):
        check_in_place("geglu_", gate, integers=False, name="gate")
        raise


def geglu_backward(
    grad: npt.ArrayLike,
    gate: npt.ArrayLike,
    up: npt.ArrayLike,
    approximate: str = "none",
    out: tuple[Array | None, Array | None] = (None, None),
    **keywords: Any,
) -> tuple[Any, Any]:
    """Gradients of ``geglu`` by ``gate`` and by ``up``, in one pass.

    The parameters are those of ``geglu``; ``out`` is a pair of arrays, each of which may be grad,
    gate or up itself. Where the derivative, or gelu(gate), is 0 the result is 0, even if ``grad``
    is infinite or NaN.

    Examples
    --------
    >>> fa.geglu_backward(np.array([2.0]), np.array([100.0]), np.array([3.0]))
    (array([6.]), array([200.]))
    """
    ufunc = select_approximation("geglu_backward", _GEGLU_BACKWARD, approximate)
    return ufunc(grad, gate, up, out=out, **keywords)


geglu.ufunc = _GEGLU["none"]  # type: ignore[attr-defined]
geglu.tanh_ufunc = _GEGLU["tanh"]  # type: ignore[attr-defined]
geglu_backward.ufunc = _GEGLU_BACKWARD["none"]  # type: ignore[attr-defined]
geglu_backward.tanh_ufunc = _GEGLU_BACKWARD["tanh"]  # type: ignore[attr-defined]


# --- the gate in the other half of one array ----------------------------------------------------

_glu = gated(GATED["_glu"], "glu.ufunc")
_glu_backward = gated_backward(GATED["_glu"], "glu_backward.ufunc")


def glu(x: npt.ArrayLike, axis: int = -1, out: Array | None = None, **keywords: Any) -> Any:
    """Gated linear unit: a * sigmoid(b), a and b being the halves of x along an axis.

    Parameters
    ----------
    x : array_like, at least one-dimensional
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers are promoted as by
        ``np.exp``.
    axis : int, default -1
        The axis that is halved; its length is even.
    out : ndarray, optional
        Where the result goes.
    **keywords
        ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc.

    Returns
    -------
    ndarray
        Of x's shape, but half as long along ``axis``. There is no in-place form.

    Raises
    ------
    numpy.exceptions.AxisError
        If x has no such axis.
    ValueError
        If its length is odd.

    Notes
    -----
    Instead of ``(a := x[..., :n]) / (1 + np.exp(-x[..., n:]))``. The halves are in PyTorch's order.

    References
    ----------
    .. [1] Dauphin, Fan, Auli and Grangier, Language modeling with gated convolutional networks,
       2017, arXiv:1612.08083.

    Examples
    --------
    >>> fa.glu(np.array([3.0, 4.0, 0.0, 100.0]))
    array([1.5, 4. ])
    """
    up, gate = halves("glu", np.asanyarray(x), axis)
    return _glu(gate, up, out, **keywords)


def glu_backward(
    grad: npt.ArrayLike, x: npt.ArrayLike, axis: int = -1, out: Array | None = None
) -> Array:
    """Gradient of ``glu``, of x's shape: both halves in one pass.

    Parameters
    ----------
    grad : array_like
        Gradient by the output: of x's shape, but half as long along ``axis``.
    x, axis
        What ``glu`` was called with.
    out : ndarray, optional
        Where the result goes; it may be x itself.

    Returns
    -------
    ndarray
        Gradient by x.

    Raises
    ------
    ValueError
        If ``grad`` or ``out`` is not of the right shape.

    Examples
    --------
    >>> fa.glu_backward(np.array([2.0]), np.array([4.0, 0.0]))
    array([1., 2.])
    """
    x = np.asanyarray(x)
    up, gate = halves("glu_backward", x, axis)
    grad = np.asanyarray(grad)
    if grad.shape != up.shape:
        raise ValueError(f"glu_backward: grad must have shape {up.shape}, got {grad.shape}")
    if out is None:
        dtypes = (grad.dtype, gate.dtype, up.dtype, None, None)
        out = np.empty_like(x, _glu_backward.resolve_dtypes(dtypes)[-1])
    else:
        check_out("glu_backward", out, x.shape)
    by_up, by_gate = halves("glu_backward", out, axis)
    _glu_backward(grad, gate, up, out=(by_gate, by_up))
    return out


glu.ufunc = _glu  # type: ignore[attr-defined]
glu_backward.ufunc = _glu_backward  # type: ignore[attr-defined]
