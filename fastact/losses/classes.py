"""Losses of labels: cross-entropy of logits, and nll of their log_softmax.

Logits are read once, row by row: the kernel of softmax gives the loss of a row, and writes each
power over the sum of them, times what the row counts for, where the gradient goes. Probabilities
are never stored beside it. What is left is done once a row.

Sums are kept in float64 and have an order of their own, so results do not depend on the number of
threads.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue.entries import row_formula
from fastact.catalogue.scalar import log1p_of_sum
from fastact.losses.reductions import check_reduction, floats, quotient
from fastact.public import shapes
from fastact.public.checks import check_out
from fastact.public.kernels import kernel
from fastact.public.rows import labelled_ufunc, part_ufunc

__all__ = [
    "cross_entropy",
    "cross_entropy_grad",
    "cross_entropy_with_grad",
    "nll",
    "nll_grad",
    "nll_with_grad",
]

Array = npt.NDArray[Any]

#: Where every class has a share of a label, bytes of logits that are worked on at once, since NumPy
#: goes over them several times, but at least so many rows, for the threads.
_BLOCK_BYTES = 1 << 22
_BLOCK_ROWS = 8


def cross_entropy(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    axis: int = -1,
    weight: npt.ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """Cross-entropy of softmax(logits): -log of the probability of the right class.

    Parameters
    ----------
    logits : array_like
        Floating-point numbers.
    labels : array_like
        The right classes: integers, of the shape of logits without ``axis``. Or probabilities of
        all classes, of the shape of logits.
    axis : int, default -1
        The axis of classes.
    weight : array_like, optional
        A factor for each class.
    ignore_index : int, default -100
        Where labels are this number, the loss is 0, and nothing else is looked at.
    label_smoothing : float, default 0
        This part of a label's probability is spread over all classes; between 0 and 1.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses. The mean of classes with weights is that with these weights, as
        in PyTorch; without any label that counts it is NaN.

    Returns
    -------
    scalar or ndarray
        For "none", of the shape of logits without ``axis``.

    Raises
    ------
    ValueError
        If a shape does not fit, or a label is no class.

    See Also
    --------
    cross_entropy_with_grad : the loss and its gradient, for little more than one of them

    Examples
    --------
    >>> logits = np.array([[0.0, 0.0], [100.0, 0.0], [-1000.0, 1000.0]])
    >>> fa.losses.cross_entropy(logits, [0, 0, 1], reduction="none")
    array([6.93147181e-01, 3.72007598e-44, 0.00000000e+00])
    """
    given = _Logits("cross_entropy", logits, labels, axis, weight, ignore_index, label_smoothing)
    return given.reduced(given.losses(None, 1.0), reduction)


def cross_entropy_with_grad(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    axis: int = -1,
    weight: npt.ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    out: Array | None = None,
) -> tuple[Any, Array]:
    """``cross_entropy`` and its gradient by the logits, from one read of them.

    Parameters are those of ``cross_entropy``, and

    Parameters
    ----------
    out : ndarray, optional
        Where the gradient goes; it may be ``logits`` itself.

    Returns
    -------
    loss : scalar or ndarray
    grad : ndarray
        Of the shape of logits. For the reduction "none", that of the sum of the losses.

    Examples
    --------
    >>> loss, grad = fa.losses.cross_entropy_with_grad(np.array([[0.0, 0.0]]), [1])
    >>> round(loss.item(), 6)
    0.693147
    >>> grad
    array([[ 0.5, -0.5]])
    """
    name = "cross_entropy_with_grad"
    given = _Logits(name, logits, labels, axis, weight, ignore_index, label_smoothing)
    if out is not None:
        check_out(name, out, given.shape)
    grad = given.room(out)
    losses = given.losses(grad, given.divisor(reduction))
    value = given.reduced(losses, reduction)
    result = np.moveaxis(grad.reshape(given.moved), -1, given.axis)
    if out is None:
        return value, result.astype(given.dtype, copy=False)
    if not np.may_share_memory(out, grad):
        np.copyto(out, result, casting="same_kind")
    return value, out


def cross_entropy_grad(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    axis: int = -1,
    weight: npt.ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    out: Array | None = None,
) -> Array:
    """The gradient of ``cross_entropy`` by the logits; see ``cross_entropy_with_grad``.

    Examples
    --------
    >>> fa.losses.cross_entropy_grad(np.array([[0.0, 0.0]]), [1])
    array([[ 0.5, -0.5]])
    """
    return cross_entropy_with_grad(
        logits,
        labels,
        axis=axis,
        weight=weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        out=out,
    )[1]


def nll(
    log_probs: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    axis: int = -1,
    weight: npt.ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """Negative log-likelihood: minus the logarithm of the probability of the right class.

    ``nll(log_softmax(logits), labels)`` is ``cross_entropy(logits, labels)``, which is faster and
    has a gradient by the logits.

    Parameters
    ----------
    log_probs : array_like
        Logarithms of the probabilities of all classes, in floating point.
    labels : array_like
        The right classes: integers, of the shape of log_probs without ``axis``.
    axis, weight, ignore_index, reduction
        As in ``cross_entropy``.

    Returns
    -------
    scalar or ndarray
        For "none", of the shape of log_probs without ``axis``.

    Raises
    ------
    ValueError
        If a shape does not fit, or a label is no class.

    Examples
    --------
    >>> fa.losses.nll(np.log([[0.5, 0.5], [0.25, 0.75]]), [0, 1], reduction="none").round(6)
    array([0.693147, 0.287682])
    """
    given = _Labels("nll", "log_probs", log_probs, labels, axis, weight, ignore_index)
    return given.reduced(given.nll(), reduction)


def nll_with_grad(
    log_probs: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    axis: int = -1,
    weight: npt.ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    out: Array | None = None,
) -> tuple[Any, Array]:
    """``nll`` and its gradient by the log-probabilities: 0 but at the labels.

    Parameters are those of ``nll``, and

    Parameters
    ----------
    out : ndarray, optional
        Where the gradient goes; it may be ``log_probs`` itself.

    Returns
    -------
    loss : scalar or ndarray
    grad : ndarray
        Of the shape of log_probs. For the reduction "none", that of the sum of the losses.

    Examples
    --------
    >>> loss, grad = fa.losses.nll_with_grad(np.log([[0.25, 0.75]]), [1])
    >>> grad
    array([[ 0., -1.]])
    """
    name = "nll_with_grad"
    given = _Labels(name, "log_probs", log_probs, labels, axis, weight, ignore_index)
    if out is not None:
        check_out(name, out, given.shape)
    value = given.reduced(given.nll(), reduction)
    grad = np.empty(given.shape, given.dtype) if out is None else out
    grad[...] = 0
    at_labels = -given.factors / given.divisor(reduction) if given.counts.any() else 0.0
    place = given.labels.reshape(*given.moved[:-1], 1)
    values = np.where(given.counts, at_labels, 0).reshape(place.shape).astype(grad.dtype)
    np.put_along_axis(np.moveaxis(grad, given.axis, -1), place, values, -1)
    return value, grad


def nll_grad(
    log_probs: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    axis: int = -1,
    weight: npt.ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    out: Array | None = None,
) -> Array:
    """The gradient of ``nll`` by the log-probabilities; see ``nll_with_grad``.

    Examples
    --------
    >>> fa.losses.nll_grad(np.log([[0.25, 0.75], [0.5, 0.5]]), [1, 0])
    array([[ 0. , -0.5],
           [-0.5,  0. ]])
    """
    return nll_with_grad(
        log_probs,
        labels,
        axis=axis,
        weight=weight,
        ignore_index=ignore_index,
        reduction=reduction,
        out=out,
    )[1]


# --- what a loss is called with -------------------------------------------------------------------


class _Labels:
    """Numbers of classes along an axis, and what belongs to each row of them."""

    #: The label of each row; 0 where it does not count.
    labels: Array
    #: Which rows count.
    counts: Array
    #: By what the loss of each row is multiplied, if it counts.
    factors: Array

    def __init__(
        self,
        function: str,
        name: str,
        x: npt.ArrayLike,
        labels: npt.ArrayLike,
        axis: int,
        weight: npt.ArrayLike | None,
        ignore_index: int,
    ) -> None:
        array = floats(function, name, x)
        self.function, self.shape, self.dtype = function, array.shape, array.dtype
        self.axis = shapes.axis_number(function, axis, array.shape)
        self.of_classes = np.moveaxis(array, self.axis, -1)
        self.moved = self.of_classes.shape
        self.classes = self.moved[-1]
        if not self.classes:
            raise ValueError(f"{function}: there are no classes along axis {axis} of {self.shape}")
        self.weight = None if weight is None else np.asarray(weight, np.float64)
        if self.weight is not None and self.weight.shape != (self.classes,):
            raise ValueError(
                f"{function}: weight must have shape {(self.classes,)}, got {self.weight.shape}"
            )
        self._take(np.asarray(labels), ignore_index)

    def _others(self) -> str:
        """What labels may be instead of integers."""
        return ""

    def _take(self, labels: Array, ignore_index: int) -> None:
        wanted = self.moved[:-1]
        if labels.dtype.kind not in "iu" or labels.shape != wanted:
            raise ValueError(
                f"{self.function}: labels must be integers of shape {wanted}{self._others()}; got "
                f"{labels.dtype} of shape {labels.shape}"
            )
        flat = labels.reshape(-1).astype(np.int64)
        self.counts = flat != ignore_index
        wrong = self.counts & ((flat < 0) | (flat >= self.classes))
        if wrong.any():
            raise ValueError(
                f"{self.function}: label {flat[wrong][0]} is none of the {self.classes} classes"
            )
        self.labels = np.where(self.counts, flat, 0)
        self.factors = np.ones(len(flat)) if self.weight is None else self.weight[self.labels]

    def nll(self) -> Array:
        """Of each row, in float64."""
        place = self.labels.reshape(*self.moved[:-1], 1)
        logs = np.take_along_axis(self.of_classes, place, -1).astype(np.float64).reshape(-1)
        with np.errstate(all="ignore"):
            return np.where(self.counts, -self.factors * logs, 0)

    def divisor(self, reduction: str) -> float:
        """By what the sum of the losses is divided."""
        check_reduction(self.function, reduction)
        return float(self.factors[self.counts].sum()) if reduction == "mean" else 1.0

    def reduced(self, losses: Array, reduction: str) -> Any:
        divisor = self.divisor(reduction)
        if reduction == "none":
            return losses.reshape(self.moved[:-1]).astype(self.dtype)
        return quotient(losses.sum(), divisor, self.dtype)


class _Logits(_Labels):
    """The same for cross-entropy, where labels may be probabilities and may be smoothed."""

    #: Probabilities of all classes in place of labels.
    targets: Array | None = None

    def __init__(
        self,
        function: str,
        logits: npt.ArrayLike,
        labels: npt.ArrayLike,
        axis: int,
        weight: npt.ArrayLike | None,
        ignore_index: int,
        label_smoothing: float,
    ) -> None:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"{function}: label_smoothing must be between 0 and 1, got {label_smoothing}"
            )
        self.smoothing = label_smoothing
        super().__init__(function, "logits", logits, labels, axis, weight, ignore_index)
        # Half types where one kernel does everything: NumPy converts to float16 one by one, and
        # takes 20 times as long for subnormal numbers, which gradients of a mean are.
        wide = np.float64 if self.dtype == np.float64 else np.float32
        dtype = self.dtype if self.targets is None and not self.smoothing else wide
        self.rows = np.ascontiguousarray(self.of_classes, dtype).reshape(-1, self.classes)

    def _others(self) -> str:
        return f", or probabilities of shape {self.shape}"

    def _take(self, labels: Array, ignore_index: int) -> None:
        if labels.dtype.kind not in "fV":
            super()._take(labels, ignore_index)
            return
        if labels.shape != self.shape:
            raise ValueError(
                f"{self.function}: probabilities must have the shape of logits, {self.shape}, "
                f"got {labels.shape}"
            )
        self.targets = np.moveaxis(labels, self.axis, -1).reshape(-1, self.classes)
        self.counts = np.ones(len(self.targets), bool)
        self.labels = np.full(len(self.targets), -1)
        self.factors = np.ones(len(self.targets))  # the mean is over rows, whatever their weights

    # --- rows -----------------------------------------------------------------------------------

    def room(self, out: Array | None) -> Array:
        """Where the gradient is computed: in ``out`` if that has the rows as they are.

        It may be the logits, but not overlap with them otherwise.
        """
        if (
            out is None
            or (np.may_share_memory(out, self.rows) and out.ctypes.data != self.rows.ctypes.data)
            or out.dtype != self.rows.dtype
            or self.axis != out.ndim - 1
            or not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned)
        ):
            return np.empty_like(self.rows)
        return out.reshape(self.rows.shape)

    def losses(self, grad: Array | None, divisor: float) -> Array:
        """The loss of each row in float64; its gradient over ``divisor``, too, in ``grad``."""
        total = np.zeros(len(self.rows))
        step = max(_BLOCK_ROWS, _BLOCK_BYTES // (self.rows.itemsize * self.classes))
        if self.targets is None and not self.smoothing:
            step = len(total)
        with np.errstate(all="ignore"):
            for start in range(0, len(total), step or 1):
                block = slice(start, start + step)
                into = None if grad is None else grad[block]
                total[block] = self._losses(block, into, divisor)
        total[~self.counts] = 0
        return total

    def _losses(self, block: slice, grad: Array | None, divisor: float) -> Array:
        x, labels, counts = self.rows[block], self.labels[block], self.counts[block]
        spread = self._spread(block, x)  # of logits that the gradient may replace
        # What counts for each row: its label, and the sum of what is spread over all classes.
        own = self.factors[block] * (1 - self.smoothing) if self.targets is None else 0.0
        share, product = (0.0, 0.0) if spread is None else spread
        spread_sum = share if spread is None else np.sum(share, -1)
        if grad is None:
            top, rest, count = _sums()(x)
            at_label = x[np.arange(len(x)), labels].astype(np.float64)
            # The sum of the powers is that and 1; NaN where the largest logit is infinite.
            log = _log1p()((count - 1) + rest) + (top - top)
            loss, log_sum = log + (top - at_label), log + top
        else:
            numbers = (np.divide(number, divisor) for number in (own + spread_sum, own))
            out = (grad, None, None, None, None)
            _, _, loss, log_sum, _ = _labelled()(x, labels, *numbers, out=out)
            if spread is not None:
                grad -= np.asarray(share / divisor, x.dtype)
            if not counts.all():
                grad[~counts] = 0
        losses = own * loss if self.targets is None and self.smoothing < 1 else np.zeros(len(x))
        return losses if spread is None else losses + (spread_sum * log_sum - product)

    def _spread(self, block: slice, x: Array) -> tuple[Array, Array] | None:
        """Weighted probabilities of all classes, of all rows or of each, and their product with x;

        None if each label is all that there is.
        """
        if self.targets is not None:
            share = self.targets[block].astype(np.float64)
            share = share * (1 - self.smoothing) + self.smoothing / self.classes
            share = share if self.weight is None else share * self.weight
            return share, (share * x).sum(-1)
        if not self.smoothing:
            return None
        weight = np.ones(self.classes) if self.weight is None else self.weight
        share = self.smoothing / self.classes * weight
        return share, (x.astype(np.float64) * share).sum(-1)


# --- kernels --------------------------------------------------------------------------------------


def _sums() -> np.ufunc:
    """The largest element of each row, and the sum of the powers."""
    return part_ufunc(row_formula("log_softmax"))


@functools.cache
def _labelled() -> np.ufunc:
    """The gradient of each row, and what its loss is made of."""
    return labelled_ufunc(row_formula("softmax"), "losses.cross_entropy.ufunc")


@functools.cache
def _log1p() -> np.ufunc:
    """log(1 + x), for x that is not negative, to the bit what the kernel of gradients has."""
    return kernel("losses.log1p", 1, _log1p_formula)


def _log1p_formula(x):  # type: ignore[no-untyped-def]
    return log1p_of_sum(x)  # type: ignore[no-untyped-call]


def make_ufuncs() -> None:
    """Make those that are for losses alone, so that ``ufunc.loops`` knows them."""
    _labelled()
    _log1p()
