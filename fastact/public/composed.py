"""Public functions that are more than one elementwise kernel: channels, choices, random slopes.

``public`` lists their names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_index

from fastact.catalogue import CATALOGUE
from fastact.public.elementwise import (
    backward_ufunc,
    check_in_place,
    check_out,
    constrain,
    forward_ufunc,
    select_approximation,
)
from fastact.public.shapes import halves

Array = npt.NDArray[Any]

# --- ReLU's derivative at 0 ---------------------------------------------------------------------


def relu_backward(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    out: Array | None = None,
    *,
    at_zero: float = 0.0,
    **keywords: Any,
) -> Any:
    """Gradient of ``relu``: grad where x > 0, else 0, in one pass.

    Parameters
    ----------
    grad : array_like
        Gradient by the output.
    x : array_like
        What ``relu`` was called with, or what it returned: the result is the same.
    out : ndarray, optional
        Where the result goes; it may be grad or x itself.
    at_zero : float, default 0
        The derivative at 0. PyTorch and most libraries take 0; some textbooks take 1 or 1/2.
    **keywords
        ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc.

    Returns
    -------
    ndarray or scalar
        Gradient by ``x``, of floating-point dtype.

    Notes
    -----
    Where x is not positive the result is 0, even if ``grad`` is infinite or NaN. Instead of
    ``grad * (x > 0)``.

    Examples
    --------
    >>> fa.relu_backward(np.array([0.5, 0.5, 0.5]), np.array([-1.0, 0.0, 2.0]))
    array([0. , 0. , 0.5])
    >>> fa.relu_backward(np.array([0.5, 0.5, 0.5]), np.array([-1.0, 0.0, 2.0]), at_zero=1.0)
    array([0. , 0.5, 0.5])
    """
    if at_zero == 0:
        return _relu_backward(grad, x, out, **keywords)
    return _relu_backward_at_zero(grad, x, at_zero, out, **keywords)


_relu_backward = backward_ufunc(CATALOGUE["relu"], "relu_backward.ufunc")
_relu_backward_at_zero = backward_ufunc(CATALOGUE["_relu_at_zero"], "relu_backward.at_zero_ufunc")
relu_backward.ufunc = _relu_backward  # type: ignore[attr-defined]
relu_backward.at_zero_ufunc = _relu_backward_at_zero  # type: ignore[attr-defined]


# --- GELU ---------------------------------------------------------------------------------------

_GELU = {
    "none": forward_ufunc(CATALOGUE["_gelu"], "gelu.ufunc"),
    "tanh": forward_ufunc(CATALOGUE["_gelu_tanh"], "gelu.tanh_ufunc"),
}
_GELU_BACKWARD = {
    "none": backward_ufunc(CATALOGUE["_gelu"], "gelu_backward.ufunc"),
    "tanh": backward_ufunc(CATALOGUE["_gelu_tanh"], "gelu_backward.tanh_ufunc"),
}


def gelu(
    x: npt.ArrayLike, approximate: str = "none", out: Array | None = None, **keywords: Any
) -> Any:
    """Gaussian error linear unit: x * Phi(x), Phi being the normal distribution's function.

    Parameters
    ----------
    x : array_like
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers are promoted as by
        ``np.exp``.
    approximate : {"none", "tanh"}
        "tanh" gives the approximation
        x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))).
    out : ndarray, optional
        Where the result goes; it may be x itself.
    **keywords
        ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc.

    Returns
    -------
    ndarray or scalar
        Of x's shape.

    Raises
    ------
    ValueError
        If ``approximate`` is neither.

    Notes
    -----
    Instead of ``0.5 * x * (1 + scipy.special.erf(x / np.sqrt(2)))``. The approximation is no faster
    here; it is for networks that were trained with it.

    References
    ----------
    .. [1] Hendrycks and Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.

    Examples
    --------
    >>> fa.gelu(np.array([-np.inf, 0.0, 100.0]))
    array([ -0.,   0., 100.])
    """
    return select_approximation("gelu", _GELU, approximate)(x, out, **keywords)


def gelu_(x: Array, approximate: str = "none") -> Array:
    """In place: ``gelu``, which see. Returns x itself.

    Examples
    --------
    >>> x = np.array([0.0, 100.0])
    >>> fa.gelu_(x, "tanh") is x
    True
    """
    try:
        return gelu(x, approximate, out=x)
    except (TypeError, ValueError):
        check_in_place("gelu_", x, integers=False)
        raise


def gelu_backward(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    approximate: str = "none",
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """Gradient of ``gelu``: grad * (Phi(x) + x * phi(x)), phi being the normal density.

    The parameters are those of ``gelu``; ``out`` may be grad or x itself.

    Examples
    --------
    >>> fa.gelu_backward(np.array([2.0, 2.0, 2.0]), np.array([-np.inf, 0.0, np.inf]))
    array([0., 1., 2.])
    """
    ufunc = select_approximation("gelu_backward", _GELU_BACKWARD, approximate)
    return ufunc(grad, x, out, **keywords)


gelu.ufunc = _GELU["none"]  # type: ignore[attr-defined]
gelu.tanh_ufunc = _GELU["tanh"]  # type: ignore[attr-defined]
gelu_backward.ufunc = _GELU_BACKWARD["none"]  # type: ignore[attr-defined]
gelu_backward.tanh_ufunc = _GELU_BACKWARD["tanh"]  # type: ignore[attr-defined]


# --- PReLU --------------------------------------------------------------------------------------

_prelu = forward_ufunc(CATALOGUE["prelu"])
_prelu_backward = backward_ufunc(CATALOGUE["prelu"])


def prelu(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    axis: int = 1,
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """Parametric rectified linear unit: x where x > 0, else weight * x.

    Parameters
    ----------
    x : array_like
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers are promoted.
    weight : float or array_like
        A number, or one for each channel, or an array with as many dimensions as x that
        broadcasts with it.
    axis : int, default 1
        The axis of x that counts channels.
    out : ndarray, optional
        Where the result goes; it may be x itself.
    **keywords
        ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc.

    Returns
    -------
    ndarray or scalar
        Of x's shape.

    Raises
    ------
    ValueError
        If weight has another length than x has channels.

    Notes
    -----
    Instead of ``np.where(x > 0, x, weight * x)``. The derivative at 0 is ``weight``, as in PyTorch.

    References
    ----------
    .. [1] He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015, arXiv:1502.01852.

    Examples
    --------
    >>> fa.prelu(np.array([[-2.0, -2.0], [4.0, 4.0]]), np.array([0.5, 0.25]))
    array([[-1. , -0.5],
           [ 4. ,  4. ]])
    """
    return _prelu(x, _per_channel("prelu", x, weight, axis), out, **keywords)


def prelu_(x: Array, weight: npt.ArrayLike, axis: int = 1) -> Array:
    """In place: ``prelu``, which see. Returns x itself.

    Examples
    --------
    >>> x = np.array([[-2.0, 4.0]])
    >>> fa.prelu_(x, 0.5) is x
    True
    """
    try:
        return prelu(x, weight, axis, out=x)
    except (TypeError, ValueError):
        check_in_place("prelu_", x, integers=False)
        raise


def prelu_backward(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    axis: int = 1,
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """Gradient of ``prelu`` by x: grad where x > 0, else weight * grad.

    Where ``weight`` is 0 and x is not positive the result is 0, even if ``grad`` is infinite or
    NaN. The parameters are those of ``prelu``; ``out`` may be grad or x itself.

    Examples
    --------
    >>> fa.prelu_backward(np.array([[1.0, 1.0]]), np.array([[-2.0, 4.0]]), 0.5)
    array([[0.5, 1. ]])
    """
    weight = _per_channel("prelu_backward", x, weight, axis)
    return _prelu_backward(grad, x, weight, out, **keywords)


def _per_channel(function: str, x: npt.ArrayLike, weight: npt.ArrayLike, axis: int) -> Any:
    """``weight`` in a shape that broadcasts along ``axis`` of ``x``."""
    if isinstance(weight, float | int):
        return weight
    values = np.asanyarray(weight)
    shape = np.shape(x)
    if values.size == 1:
        return values.reshape(())
    if values.ndim > 1 and values.ndim == len(shape):
        return values
    if values.ndim != 1:
        raise ValueError(
            f"{function}: weight must be a number, one-dimensional, or have as many dimensions as "
            f"x; its shape is {values.shape}, that of x is {shape}"
        )
    if not -len(shape) <= axis < len(shape) or shape[axis] != len(values):
        raise ValueError(
            f"{function}: weight has {len(values)} elements, which does not fit axis {axis} of x "
            f"with shape {shape}; the argument axis says which one counts channels"
        )
    return values.reshape(len(values), *[1] * (len(shape) - axis % len(shape) - 1))


prelu.ufunc = _prelu  # type: ignore[attr-defined]
prelu_backward.ufunc = _prelu_backward  # type: ignore[attr-defined]


# --- randomized leaky ReLU ----------------------------------------------------------------------

_rrelu = forward_ufunc(CATALOGUE["rrelu"])
_rrelu_backward = backward_ufunc(CATALOGUE["rrelu"])


def rrelu(
    x: npt.ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    rng: np.random.Generator | int | None = None,
    noise: Array | None = None,
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """Randomized leaky rectified linear unit: x where x > 0, else slope * x.

    In training, each element has a slope of its own, drawn uniformly between ``lower`` and
    ``upper``. Otherwise the slope is their mean.

    Parameters
    ----------
    x : array_like
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers are promoted.
    lower, upper : float, default 1/8 and 1/3
        The ends of the interval that slopes are drawn from.
    training : bool, default False
        Whether slopes are drawn.
    rng : numpy.random.Generator or int, optional
        Where they come from: a generator, or the seed of one.
    noise : ndarray of x's shape, optional
        In training, filled with the slope of each element, which is 1 where x > 0:
        ``rrelu_backward`` takes it.
    out : ndarray, optional
        Where the result goes; it may be x itself.
    **keywords
        ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc.

    Returns
    -------
    ndarray or scalar
        Of x's shape.

    Raises
    ------
    ValueError
        If ``lower`` exceeds ``upper``, or ``noise`` has another shape than x.

    References
    ----------
    .. [1] Xu, Wang, Chen and Li, Empirical evaluation of rectified activations in convolutional
       network, 2015, arXiv:1505.00853.

    Examples
    --------
    >>> x = np.array([-1.0, -1.0, 2.0])
    >>> fa.rrelu(x, 0.25, 0.75)
    array([-0.5, -0.5,  2. ])
    >>> noise = np.empty_like(x)
    >>> y = fa.rrelu(x, training=True, rng=0, noise=noise)
    >>> bool(np.all(y == noise * x))
    True
    """
    constrain("rrelu", "lower", lower, "upper", upper)
    if not training:
        return _rrelu(x, (lower + upper) / 2, out, **keywords)
    x = np.asanyarray(x)
    if noise is not None and noise.shape != x.shape:
        raise ValueError(f"rrelu: noise must have x's shape {x.shape}, got {noise.shape}")
    drawn = np.random.default_rng(rng).uniform(lower, upper, x.shape)
    slopes = np.where(x > 0, 1.0, drawn).astype(_float_dtype(_rrelu, x))
    if noise is not None:
        noise[...] = slopes
    return _rrelu(x, slopes, out, **keywords)


def rrelu_(
    x: Array,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    rng: np.random.Generator | int | None = None,
    noise: Array | None = None,
) -> Array:
    """In place: ``rrelu``, which see. Returns x itself.

    Examples
    --------
    >>> x = np.array([-1.0, 2.0])
    >>> fa.rrelu_(x, 0.25, 0.75)
    array([-0.5,  2. ])
    """
    try:
        return rrelu(x, lower, upper, training, rng, noise, out=x)
    except (TypeError, ValueError):
        check_in_place("rrelu_", x, integers=False)
        raise


def rrelu_backward(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    noise: Array | None = None,
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """Gradient of ``rrelu``: grad where x > 0, else slope * grad.

    ``noise`` is what ``rrelu`` filled in training; without it, the slope is the mean of ``lower``
    and ``upper``. The other parameters are those of ``rrelu``; ``out`` may be grad or x itself.

    Examples
    --------
    >>> fa.rrelu_backward(np.array([1.0, 1.0]), np.array([-2.0, 4.0]), 0.25, 0.75)
    array([0.5, 1. ])
    """
    constrain("rrelu_backward", "lower", lower, "upper", upper)
    slope = (lower + upper) / 2 if noise is None else noise
    return _rrelu_backward(grad, x, slope, out, **keywords)


rrelu.ufunc = _rrelu  # type: ignore[attr-defined]
rrelu_backward.ufunc = _rrelu_backward  # type: ignore[attr-defined]


# --- concatenated ReLU --------------------------------------------------------------------------

_relu = forward_ufunc(CATALOGUE["relu"], "crelu.ufunc")
_relu_of_negative = forward_ufunc(CATALOGUE["_relu_of_negative"], "crelu.negative_ufunc")
_crelu_backward = forward_ufunc(CATALOGUE["_crelu_backward"], "crelu_backward.ufunc")


def crelu(x: npt.ArrayLike, axis: int = -1, out: Array | None = None) -> Array:
    """Concatenated rectified linear unit: relu(x) and relu(-x), one after the other along an axis.

    Parameters
    ----------
    x : array_like, at least one-dimensional
        float16, bfloat16 (of ml_dtypes), float32 or float64; integers keep their dtype.
    axis : int, default -1
        The axis of the result that is twice as long as that of x.
    out : ndarray, optional
        Where the result goes.

    Returns
    -------
    ndarray
        Of x's shape, but twice as long along ``axis``. There is no in-place form.

    Raises
    ------
    numpy.exceptions.AxisError
        If x has no such axis.
    ValueError
        If ``out`` has another shape than the result.

    Notes
    -----
    Instead of ``np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], axis)``.

    References
    ----------
    .. [1] Shang, Sohn, Almeida and Lee, Understanding and improving convolutional neural networks
       via concatenated rectified linear units, 2016, arXiv:1603.05201.

    Examples
    --------
    >>> fa.crelu(np.array([-1.0, 2.0]))
    array([0., 2., 1., 0.])
    """
    x = np.asanyarray(x)
    axis = normalize_axis_index(axis, x.ndim)
    shape = (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    if out is None:
        out = np.empty(shape, _relu.resolve_dtypes((x.dtype, None))[-1])
    else:
        check_out("crelu", out, shape)
        if np.may_share_memory(x, out):
            x = x.copy()
    positive, negative = halves("crelu", out, axis)
    _relu(x, positive)
    _relu_of_negative(x, negative)
    return out


def crelu_backward(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    axis: int = -1,
    out: Array | None = None,
    **keywords: Any,
) -> Any:
    """Gradient of ``crelu``: what came back for relu(x), minus what came back for relu(-x).

    Parameters
    ----------
    grad : array_like
        Gradient by the output: of x's shape, but twice as long along ``axis``.
    x, axis
        What ``crelu`` was called with.
    out : ndarray, optional
        Where the result goes; it may be x itself.
    **keywords
        ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc.

    Returns
    -------
    ndarray
        Gradient by x.

    Raises
    ------
    ValueError
        If ``grad`` is not of that shape.

    Examples
    --------
    >>> fa.crelu_backward(np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, 2.0]))
    array([-3.,  2.])
    """
    grad, x = np.asanyarray(grad), np.asanyarray(x)
    axis = normalize_axis_index(axis, x.ndim)
    shape = (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    if grad.shape != shape:
        raise ValueError(f"crelu_backward: grad must have shape {shape}, got {grad.shape}")
    return _crelu_backward(*halves("crelu_backward", grad, axis), x, out, **keywords)


def _float_dtype(ufunc: np.ufunc, x: Array) -> np.dtype[Any]:
    """The dtype in which ``ufunc`` takes x."""
    return ufunc.resolve_dtypes((x.dtype, float, None))[0]


crelu.ufunc = _relu  # type: ignore[attr-defined]
crelu.negative_ufunc = _relu_of_negative  # type: ignore[attr-defined]
crelu_backward.ufunc = _crelu_backward  # type: ignore[attr-defined]
