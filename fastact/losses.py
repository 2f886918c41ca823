"""Losses of training, with their gradients: cross-entropy of logits.

The logits are read once, row by row: the same pass gives the largest one, the sum of the powers,
and for the gradient the powers themselves, which are written where the gradient goes. Probabilities
are never stored beside it. Sums are kept in float64 and have an order of their own, so results do
not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue.entries import unknown_choice
from fastact.public import names, shapes
from fastact.public.checks import check_out

__all__ = ["cross_entropy", "cross_entropy_grad", "cross_entropy_with_grad"]

Array = npt.NDArray[Any]

_REDUCTIONS = ("mean", "sum", "none")
#: Bytes of logits that are worked on at once, the powers being read again from the cache, but at
#: least so many rows, for the threads. 1024 x 1000 float32, two threads: with a quarter of the
#: bytes it takes 1.6 times as long, with all rows at once 1.7 times.
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
    given = _Given("cross_entropy", logits, labels, axis, weight, ignore_index, label_smoothing)
    return given.reduced(given.losses(None), reduction)


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
    given = _Given(name, logits, labels, axis, weight, ignore_index, label_smoothing)
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


class _Given:
    """What a loss is called with, as rows of logits, and what belongs to each row."""

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
        x, labels = np.asarray(logits), np.asarray(labels)
        if x.dtype.kind not in "fV" or x.dtype.itemsize > 8:
            raise TypeError(f"{function}: logits must be floating-point numbers, got {x.dtype}")
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"{function}: label_smoothing must be between 0 and 1, got {label_smoothing}"
            )
        self.function, self.shape, self.dtype = function, x.shape, x.dtype
        self.axis = shapes.axis_number(function, axis, x.shape)
        moved = np.moveaxis(x, self.axis, -1)
        self.moved = moved.shape
        self.classes = moved.shape[-1]
        if not self.classes:
            raise ValueError(f"{function}: there are no classes along axis {axis} of {x.shape}")
        wide = np.float64 if x.dtype == np.float64 else np.float32
        self.rows = np.ascontiguousarray(moved, wide).reshape(-1, self.classes)
        self.smoothing = label_smoothing
        self.weight = None if weight is None else np.asarray(weight, np.float64)
        if self.weight is not None and self.weight.shape != (self.classes,):
            raise ValueError(
                f"{function}: weight must have shape {(self.classes,)}, got {self.weight.shape}"
            )
        self.labels: Array | None = None
        self.targets: Array | None = None
        if labels.dtype.kind in "fV":
            if labels.shape != x.shape:
                raise ValueError(
                    f"{function}: probabilities must have the shape of logits, {x.shape}, "
                    f"got {labels.shape}"
                )
            self.targets = np.moveaxis(labels, self.axis, -1).reshape(self.rows.shape)
            self.counts = np.ones(len(self.rows), bool)
        else:
            self._take_labels(labels, ignore_index)

    def _take_labels(self, labels: Array, ignore_index: int) -> None:
        wanted = self.moved[:-1]
        if labels.dtype.kind not in "iu" or labels.shape != wanted:
            raise ValueError(
                f"{self.function}: labels must be integers of shape {wanted}, or probabilities of "
                f"shape {self.shape}; got {labels.dtype} of shape {labels.shape}"
            )
        flat = labels.reshape(-1).astype(np.int64)
        self.counts = flat != ignore_index
        wrong = self.counts & ((flat < 0) | (flat >= self.classes))
        if wrong.any():
            raise ValueError(
                f"{self.function}: label {flat[wrong][0]} is none of the {self.classes} classes"
            )
        self.labels = np.where(self.counts, flat, 0)

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

    def losses(self, grad: Array | None, divisor: float = 1.0) -> Array:
        """The loss of each row in float64; its gradient over ``divisor``, too, in ``grad``."""
        total = np.zeros(len(self.rows))
        step = max(_BLOCK_ROWS, _BLOCK_BYTES // (self.rows.itemsize * self.classes))
        with np.errstate(all="ignore"):
            for start in range(0, len(self.rows), step):
                block = slice(start, start + step)
                into = None if grad is None else grad[block]
                total[block] = self._losses(block, into, divisor)
        total[~self.counts] = 0
        return total

    def _losses(self, block: slice, grad: Array | None, divisor: float) -> Array:
        x = self.rows[block]
        mine = np.arange(len(x))
        labels = None if self.labels is None else self.labels[block]
        # What is read here is overwritten later where the gradient replaces the logits.
        at_label = None if labels is None else x[mine, labels].astype(np.float64)
        spread = self._spread(block, x)
        if grad is None:
            top, rest, count = names.build("log_softmax").part_ufunc(x)
        else:
            _, top, rest, count = names.build("softmax").part_ufunc(x, out=(grad, None, None, None))
        top = top.astype(np.float64)
        rest = rest + (count - 1)  # the sum of the powers is that and 1
        log = np.log1p(rest) + (top - top)  # NaN where that is infinite
        losses = np.zeros(len(x))
        factor = np.zeros(len(x))
        if at_label is not None and labels is not None:
            own = self._of_labels(labels) * (1 - self.smoothing)
            losses += own * (log + (top - at_label)) if self.smoothing < 1 else 0
            factor += own
        if spread is not None:
            share, product = spread
            sums = share.sum(-1)
            losses += sums * (log + top) - product
            factor = factor + sums
        if grad is not None:
            scale = np.where(self.counts[block], factor / divisor / (1 + rest) + (top - top), 0)
            np.multiply(grad, scale.astype(x.dtype)[:, np.newaxis], out=grad)
            if spread is not None:
                grad -= np.asarray(spread[0] / divisor, x.dtype)
            if at_label is not None and labels is not None:
                # p - 1 from what the other powers are, where p is that of the largest logit.
                others = np.where(at_label == top, rest, 1 + rest - np.exp(at_label - top))
                less = own / divisor * others / (1 + rest) + (top - top)
                rests = 0.0 if spread is None else factor - own
                power = np.exp(at_label - top) / (1 + rest)
                smooth = 0.0 if spread is None else spread[0][labels]
                grad[mine, labels] = (rests * power - smooth) / divisor - less
            grad[~self.counts[block]] = 0
        return losses

    def _of_labels(self, labels: Array) -> Array:
        """The weight of each row's label."""
        return np.ones(len(labels)) if self.weight is None else self.weight[labels]

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

    # --- reductions -----------------------------------------------------------------------------

    def divisor(self, reduction: str) -> float:
        """By what the sum of the losses is divided."""
        if reduction not in _REDUCTIONS:
            raise unknown_choice(self.function, "reduction", _REDUCTIONS, reduction)
        if reduction != "mean":
            return 1.0
        if self.labels is None:
            return float(len(self.rows))
        return float(self._of_labels(self.labels)[self.counts].sum())

    def reduced(self, losses: Array, reduction: str) -> Any:
        divisor = self.divisor(reduction)
        if reduction == "none":
            return losses.reshape(self.moved[:-1]).astype(self.dtype)
        with np.errstate(all="ignore"):
            return (np.float64(losses.sum()) / divisor).astype(self.dtype)
