"""Losses for gradient boosting: gradient and Hessian in one pass.

    from fastact.objectives import Poisson

    LGBMRegressor(objective=Poisson())
    XGBRegressor(objective=Poisson())

    lightgbm.train({"objective": Poisson().train}, dataset)
    xgboost.train({}, dmatrix, obj=Poisson().train)

An objective is called with targets, raw scores and perhaps weights, as LightGBM's and XGBoost's
estimators do it, and gives two new float32 arrays; ``gradients`` writes into arrays that exist.
They are computed in float32, which is what both libraries keep of them.
"""
# The formulas' arguments are named, and have no types.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

import fastact as fa
from fastact.catalogue.scalar import bounded, exp, sqrt
from fastact.public.kernels import kernel

__all__ = ["Logistic", "Objective", "Poisson", "PseudoHuber", "SmoothQuantile", "Softmax"]

Array = npt.NDArray[np.float32]

#: For raw float64 scores: rounded before anything is computed.
_IN_FLOAT32: dict[str, Any] = {"dtype": np.float32, "casting": "same_kind"}


class Objective:
    """What all objectives have; each is a dataclass of the parameters of its loss."""

    def __call__(
        self,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        """Gradient and Hessian of the loss by the raw scores, as the estimators call it.

        Parameters
        ----------
        y_true : array_like of shape (n,)
            The targets.
        y_pred : array_like of shape (n,), for Softmax (n, classes)
            Raw scores: of the logistic loss before the sigmoid, of Poisson's the mean's logarithm.
        sample_weight : array_like of shape (n,), optional
            What each row's loss is multiplied by.

        Returns
        -------
        tuple of two float32 arrays
            Each of y_pred's shape.
        """
        return self.gradients(y_true, y_pred, sample_weight)

    def train(self, y_pred: Any, data: Any) -> tuple[Array, Array]:
        """As ``lightgbm.train`` and ``xgboost.train`` call it, with their own kind of data set."""
        weight = data.get_weight()
        given = weight is not None and len(weight)
        return self.gradients(data.get_label(), y_pred, weight if given else None)

    def gradients(
        self,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        out: tuple[Any, Any] | None = None,
    ) -> tuple[Array, Array]:
        """The same, into ``out``: two arrays of y_pred's shape."""
        y, raw = np.asarray(y_true), np.asarray(y_pred)
        out = self._checked(y, raw, out)
        self._compute(raw, y, out)
        if sample_weight is not None:
            weight = np.asarray(sample_weight)
            if weight.shape != y.shape:
                name = type(self).__name__
                raise ValueError(
                    f"{name}: sample_weight has shape {weight.shape}, y_true {y.shape}"
                )
            weight = weight.reshape(weight.shape + (1,) * (raw.ndim - 1))
            for derivative in out:
                np.multiply(derivative, weight, out=derivative, casting="same_kind")
        return out

    def _checked(
        self, y: npt.NDArray[Any], raw: npt.NDArray[Any], out: tuple[Any, Any] | None
    ) -> tuple[Any, Any]:
        name = type(self).__name__
        if y.shape != raw.shape[: y.ndim] or raw.ndim - y.ndim != self._dimensions - 1:
            wanted = "(n,)" if self._dimensions == 1 else "(n, classes)"
            raise ValueError(
                f"{name}: y_pred must have shape {wanted} where y_true has (n,); their shapes are "
                f"{raw.shape} and {y.shape}"
            )
        if out is None:
            # In the order of the scores: LightGBM's lie class by class.
            return (np.empty_like(raw, np.float32), np.empty_like(raw, np.float32))
        for array in out:
            if not isinstance(array, np.ndarray) or array.shape != raw.shape:
                got = getattr(array, "shape", type(array).__name__)
                raise ValueError(
                    f"{name}: out must be two ndarrays of shape {raw.shape}, one is {got}"
                )
        return out

    #: Of the scores.
    _dimensions = 1

    def _compute(self, raw: npt.NDArray[Any], y: npt.NDArray[Any], out: tuple[Any, Any]) -> None:
        raise NotImplementedError


def _positive(objective: Objective, *names: str) -> None:
    for name in names:
        if not getattr(objective, name) > 0:
            given = getattr(objective, name)
            raise ValueError(f"{type(objective).__name__}: {name} must be positive, got {given}")


# --- logistic -------------------------------------------------------------------------------------


def _logistic_gradient(raw, y):
    # 1 - p would lose what is left of p near 1.
    e = exp(-abs(raw))
    tail = e / (1 + e)
    return (1 - y) - tail if raw > 0 else tail - y


def _logistic_hessian(raw, y):
    e = exp(-abs(raw))
    return e / (1 + e) / (1 + e)


@functools.cache
def _logistic() -> np.ufunc:
    return kernel("objectives.logistic", 2, _logistic_gradient, _logistic_hessian)


@dataclasses.dataclass(frozen=True)
class Logistic(Objective):
    """log(1 + e^raw) - y * raw, for targets from 0 to 1: the gradient is sigmoid(raw) - y.

    >>> from fastact.objectives import Logistic
    >>> Logistic()([0, 1], [0.0, 0.0])
    (array([ 0.5, -0.5], dtype=float32), array([0.25, 0.25], dtype=float32))
    """

    def _compute(self, raw: npt.NDArray[Any], y: npt.NDArray[Any], out: tuple[Any, Any]) -> None:
        _logistic()(raw, y, out=out, **_IN_FLOAT32)


# --- Poisson --------------------------------------------------------------------------------------


def _poisson_gradient(raw, y, factor):
    half = exp(bounded(0.5 * raw, 43))
    return half * half - y


def _poisson_hessian(raw, y, factor):
    half = exp(bounded(0.5 * raw, 43))
    return half * half * factor


@functools.cache
def _poisson() -> np.ufunc:
    return kernel("objectives.poisson", 2, _poisson_gradient, _poisson_hessian, parameters=1)


@dataclasses.dataclass(frozen=True)
class Poisson(Objective):
    """e^raw - y * raw, for counts: the gradient is e^raw - y.

    The Hessian is e^(raw + max_delta_step), which keeps steps small, as in LightGBM and XGBoost,
    where 0.7 is the default.

    >>> from fastact.objectives import Poisson
    >>> Poisson(max_delta_step=0.0)([3, 0], [0.0, 0.0])
    (array([-2.,  1.], dtype=float32), array([1., 1.], dtype=float32))
    """

    max_delta_step: float = 0.7

    def _compute(self, raw: npt.NDArray[Any], y: npt.NDArray[Any], out: tuple[Any, Any]) -> None:
        _poisson()(raw, y, float(np.exp(self.max_delta_step)), out=out, **_IN_FLOAT32)


# --- smooth forms of absolute error and of quantile loss ------------------------------------------


def _pseudo_huber_gradient(raw, y, slope):
    z = (raw - y) / slope
    return (raw - y) / sqrt(1 + z * z)


def _pseudo_huber_hessian(raw, y, slope):
    z = (raw - y) / slope
    return 1 / ((1 + z * z) * sqrt(1 + z * z))


@functools.cache
def _pseudo_huber() -> np.ufunc:
    formulas = (_pseudo_huber_gradient, _pseudo_huber_hessian)
    return kernel("objectives.pseudo_huber", 2, *formulas, parameters=1)


@dataclasses.dataclass(frozen=True)
class PseudoHuber(Objective):
    """slope^2 * (sqrt(1 + ((raw - y) / slope)^2) - 1): squared near 0, then absolute error.

    As XGBoost's ``reg:pseudohubererror`` with its ``huber_slope``.

    >>> from fastact.objectives import PseudoHuber
    >>> PseudoHuber()([1.0], [1.0])
    (array([0.], dtype=float32), array([1.], dtype=float32))
    """

    slope: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "slope")

    def _compute(self, raw: npt.NDArray[Any], y: npt.NDArray[Any], out: tuple[Any, Any]) -> None:
        _pseudo_huber()(raw, y, float(self.slope), out=out, **_IN_FLOAT32)


def _quantile_gradient(raw, y, quantile, width):
    z = (raw - y) / width
    e = exp(-abs(z))
    tail = e / (1 + e)
    return (1 - quantile) - tail if z > 0 else tail - quantile


def _quantile_hessian(raw, y, quantile, width):
    z = (raw - y) / width
    e = exp(-abs(z))
    return e / (1 + e) / (1 + e) / width


@functools.cache
def _quantile() -> np.ufunc:
    formulas = (_quantile_gradient, _quantile_hessian)
    return kernel("objectives.smooth_quantile", 2, *formulas, parameters=2)


@dataclasses.dataclass(frozen=True)
class SmoothQuantile(Objective):
    """q (y - raw) + width log(1 + e^((raw - y) / width)): quantile loss, its kink rounded.

    The smaller ``width``, in the unit of the targets, the closer it is to the quantile loss, whose
    Hessian is 0; with 0.5, half of the absolute error.

    References
    ----------
    .. [1] Zheng, Gradient descent algorithms for quantile regression with smooth approximation,
       2011.

    >>> from fastact.objectives import SmoothQuantile
    >>> SmoothQuantile(quantile=0.75)([1.0], [1.0])
    (array([-0.25], dtype=float32), array([0.25], dtype=float32))
    """

    quantile: float = 0.5
    width: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "width")
        if not 0 < self.quantile < 1:
            raise ValueError(
                f"SmoothQuantile: quantile must be between 0 and 1, not {self.quantile}"
            )

    def _compute(self, raw: npt.NDArray[Any], y: npt.NDArray[Any], out: tuple[Any, Any]) -> None:
        _quantile()(raw, y, float(self.quantile), float(self.width), out=out, **_IN_FLOAT32)


# --- softmax --------------------------------------------------------------------------------------


def _softmax_gradient(p, y, index, factor):
    return p - 1 if y == index else p


def _softmax_hessian(p, y, index, factor):
    return factor * p * (1 - p)


@functools.cache
def _softmax() -> np.ufunc:
    formulas = (_softmax_gradient, _softmax_hessian)
    return kernel("objectives.softmax", 3, *formulas, parameters=1)


@dataclasses.dataclass(frozen=True)
class Softmax(Objective):
    """log(sum(e^raw)) - raw[y], for classes 0, 1, ...

    The gradient is p = softmax(raw), less 1 for the class y; the Hessian, factor * p * (1 - p).
    Without a factor that is classes / (classes - 1), as in LightGBM; XGBoost takes 2.

    >>> from fastact.objectives import Softmax
    >>> Softmax()([1], [[0.0, 0.0]])
    (array([[ 0.5, -0.5]], dtype=float32), array([[0.5, 0.5]], dtype=float32))
    """

    factor: float | None = None
    _dimensions = 2

    def _compute(self, raw: npt.NDArray[Any], y: npt.NDArray[Any], out: tuple[Any, Any]) -> None:
        classes = raw.shape[1]
        if y.size and not (y.min() >= 0 and y.max() < classes):
            raise ValueError(
                f"Softmax: y_true must be from 0 to {classes - 1}, there being {classes} classes; "
                f"it is from {y.min()} to {y.max()}"
            )
        factor = classes / max(classes - 1, 1) if self.factor is None else float(self.factor)
        p = fa.softmax(raw, 1, out[0], casting="same_kind")
        index = np.arange(classes, dtype=np.float32)
        _softmax()(p, y[:, np.newaxis], index, factor, out=out, **_IN_FLOAT32)
