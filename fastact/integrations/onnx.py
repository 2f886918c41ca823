"""The activations of ONNX models in onnx' reference evaluator, computed by fastact.

from onnx.reference import ReferenceEvaluator
from fastact.integrations.onnx import operators

ReferenceEvaluator(model, new_ops=operators())
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun

import fastact as fa
from fastact.public.kernels import kernel

__all__ = ["operators"]


def operators() -> list[type[OpRun]]:
    """What ``ReferenceEvaluator`` takes as ``new_ops``, also for graphs within the graph.

    Gelu, HardSwish and Mish, which the evaluator otherwise computes by several operators each, and
    Celu, Elu, HardSigmoid, LeakyRelu, LogSoftmax, PRelu, Relu, Selu, Shrink, Sigmoid, Softmax,
    Softplus, Softsign, Swish, Tanh, ThresholdedRelu: those that the installed onnx has.
    The evaluator does not use them in a model's local functions; these can be inlined by
    ``onnx.inliner.inline_local_functions``.
    """
    return [*_operators()]


@functools.cache
def _operators() -> list[type[OpRun]]:
    return [_operator(name, function) for name, function in _FUNCTIONS.items() if _exists(name)]


def _exists(name: str) -> bool:
    return bool(onnx.defs.has(name, ""))


def _operator(name: str, function: Callable[..., Any]) -> type[OpRun]:
    """A class as the evaluator wants it, of a function of arrays and of attributes by name."""
    known = inspect.signature(function).parameters

    def _run(self: OpRun, x: Any, *others: Any, **attributes: Any) -> tuple[Any]:
        # Old versions of operators have attributes that mean nothing to results.
        passed = {k: v for k, v in attributes.items() if k in known and v is not None}
        # NumPy's scalars become arrays, and integers that were computed as floats integers again.
        return (np.asarray(function(x, *others, **passed)).astype(x.dtype, copy=False),)

    return type(name, (OpRun,), {"op_domain": "", "_run": _run, "__doc__": function.__doc__})


# --- each operator --------------------------------------------------------------------------------


def _celu(x: Any, alpha: float = 1.0) -> Any:
    return fa.celu(x) if alpha == 1 else fa.celu(x, alpha)


def _elu(x: Any, alpha: float = 1.0) -> Any:
    return fa.elu(x) if alpha == 1 else fa.elu(x, alpha)


def _gelu(x: Any, approximate: Any = "none") -> Any:
    return fa.gelu(x, approximate)


def _hard_sigmoid(x: Any, alpha: float = 0.2, beta: float = 0.5) -> Any:
    return fa.clipped_linear(x, alpha, beta)


def _leaky_relu(x: Any, alpha: float = 0.01) -> Any:
    return fa.leaky_relu(x, alpha)


def _log_softmax(x: Any, axis: int = -1) -> Any:
    return fa.log_softmax(x, axis) if x.size else x


def _prelu(x: Any, slope: Any) -> Any:
    shape = (1,) * (x.ndim - slope.ndim) + slope.shape
    # Older models give a slope for each channel, whatever axis that is.
    axes = [axis for axis, length in enumerate(x.shape) if length == slope.size]
    if slope.ndim == 1 and len(axes) == 1:
        shape = tuple(slope.size if axis == axes[0] else 1 for axis in range(x.ndim))
    return fa.prelu(x, slope.reshape(shape), axis=-1)


#: ONNX' own numbers, rounded to float32.
_SELU_ALPHA, _SELU_GAMMA = np.float32(1.6732632423543772), np.float32(1.0507009873554805)


def _selu(x: Any, alpha: float = float(_SELU_ALPHA), gamma: float = float(_SELU_GAMMA)) -> Any:
    if np.float32(alpha) == _SELU_ALPHA and np.float32(gamma) == _SELU_GAMMA:
        return fa.selu(x)
    return gamma * fa.elu(x, alpha)


def _shrunk(x, lambd, bias):  # type: ignore[no-untyped-def]
    """x + bias below -lambd, x - bias above lambd, else 0."""
    return x + bias if x < -lambd else (x - bias if x > lambd else 0)


@functools.cache
def _shrink_kernel() -> np.ufunc:
    return kernel("integrations.onnx.shrink", 1, _shrunk, parameters=2)


def _shrink(x: Any, lambd: float = 0.5, bias: float = 0.0) -> Any:
    return _shrink_kernel()(x, lambd, bias)


def _softmax(x: Any, axis: int = -1) -> Any:
    return fa.softmax(x, axis) if x.size else x


def _softplus(x: Any) -> Any:
    # From the threshold on the result is x: up to there, it differs in a float64.
    return fa.softplus(x, 1, 40) if x.dtype == np.float64 else fa.softplus(x)


def _swish(x: Any, alpha: float = 1.0) -> Any:
    if alpha == 1:
        return fa.silu(x)
    factor = x.dtype.type(alpha)
    return fa.silu(factor * x) / factor if factor != 0 else x / 2


def _thresholded_relu(x: Any, alpha: float = 1.0) -> Any:
    return fa.thresholded_relu(x, alpha)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Celu": _celu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x: fa.hardswish(x),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _log_softmax,
    "Mish": lambda x: fa.mish(x),
    "PRelu": _prelu,
    "Relu": lambda x: fa.relu(x),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": lambda x: fa.sigmoid(x),
    "Softmax": _softmax,
    "Softplus": _softplus,
    "Softsign": lambda x: fa.softsign(x),
    "Swish": _swish,
    "Tanh": lambda x: fa.tanh(x),
    "ThresholdedRelu": _thresholded_relu,
}
