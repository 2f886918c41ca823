"""Keras 3 on its NumPy backend, which infers, with fastact's activations.

    import fastact.integrations.keras

    fastact.integrations.keras.patch()

Keras looks its backend's functions up at each call, so models that exist already use them, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

import fastact as fa
from fastact.integrations.replacement import Refused, Replacement, Switch, check_signature

__all__ = ["Refused", "patch", "patched", "replaced", "unpatch"]

#: How far Keras' own results are from right ones where they cancel, relative and absolute: those
#: compared when patching may differ by so much.
_TOLERANCE = (1e-4, 1e-5)


def patch(*, exact: bool = False) -> None:
    """Have Keras' NumPy backend compute activations with fastact.

    Parameters
    ----------
    exact : bool, default False
        Replace only what gives the same bits: relu, relu6, leaky_relu, hard_tanh. By default also
        celu, elu, gelu, hard_sigmoid, hard_silu, log_sigmoid, log_softmax, sigmoid, silu,
        softmax, softplus, softsign, squareplus, tanh and tanh_shrink, which are within 2 ulp of the
        right results; Keras' own are further from them.

    Raises
    ------
    ImportError
        If Keras is not installed.
    Refused
        If Keras uses another backend, or is not what fastact knows: it says what has changed, and
        nothing is replaced.

    Notes
    -----
    Whatever is not a float32 array goes to Keras' own function, which makes most of it one.
    """
    _switch.patch(exact=exact)


def unpatch() -> None:
    """Put back what ``patch`` has replaced, but for what somebody else has replaced since."""
    _switch.unpatch()


def patched(*, exact: bool = False) -> AbstractContextManager[None]:
    """``with patched():`` what ``patch`` does, until the end of the block, in all threads."""
    return _switch.patched(exact=exact)


def replaced() -> list[str]:
    """The functions of Keras' backend that are fastact's now."""
    return _switch.replaced()


# --- what takes the place of Keras' functions -----------------------------------------------------


def _leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    # Keras takes the larger one of both sides, whatever the slope.
    return fa.leaky_relu(x, negative_slope) if 0 <= negative_slope <= 1 else NotImplemented


def _gelu(x: Any, approximate: bool = True) -> Any:
    return fa.gelu(x, "tanh" if approximate else "none")


def _along_an_axis(function: Any) -> Callable[..., Any]:
    def along(x: Any, axis: Any = -1) -> Any:
        return function(x, axis) if isinstance(axis, int) and x.size else NotImplemented

    return along


#: Whether the bits are Keras', and names of arguments: the function in fastact has others, or the
#: same in the same order.
_FUNCTIONS: dict[str, tuple[bool, str, Callable[..., Any]]] = {
    "celu": (False, "x alpha", lambda x, alpha=1.0: fa.celu(x, alpha)),
    "elu": (False, "x alpha", lambda x, alpha=1.0: fa.elu(x, alpha)),
    "gelu": (False, "x approximate", _gelu),
    "hard_sigmoid": (False, "x", lambda x: fa.hardsigmoid(x)),
    "hard_silu": (False, "x", lambda x: fa.hardswish(x)),
    "hard_tanh": (True, "x", lambda x: fa.hardtanh(x)),
    "leaky_relu": (True, "x negative_slope", _leaky_relu),
    "log_sigmoid": (False, "x", lambda x: fa.log_sigmoid(x)),
    "log_softmax": (False, "x axis", _along_an_axis(fa.log_softmax)),
    "relu": (True, "x", lambda x: fa.relu(x)),
    "relu6": (True, "x", lambda x: fa.relu6(x)),
    "sigmoid": (False, "x", lambda x: fa.sigmoid(x)),
    "silu": (False, "x", lambda x: fa.silu(x)),
    "softmax": (False, "x axis", _along_an_axis(fa.softmax)),
    "softplus": (False, "x", lambda x: fa.softplus(x)),
    "softsign": (False, "x", lambda x: fa.softsign(x)),
    "squareplus": (False, "x b", lambda x, b=4: fa.squareplus(x, b)),
    "tanh": (False, "x", lambda x: fa.tanh(x)),
    "tanh_shrink": (False, "x", lambda x: fa.tanhshrink(x)),
}


def _function(original: Callable[..., Any], compute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def function(x: Any, *arguments: Any, **keywords: Any) -> Any:
        if type(x) is np.ndarray and x.dtype == np.float32:
            result = compute(x, *arguments, **keywords)
            if result is not NotImplemented:
                return result
        return original(x, *arguments, **keywords)

    return function


# --- which, after a look at what is there ---------------------------------------------------------


def _find() -> list[Replacement]:
    import keras

    release = f"Keras {keras.__version__}: "
    if keras.config.backend() != "numpy":
        raise Refused(
            f"{release}the backend is {keras.config.backend()}; what is replaced is that of NumPy, "
            "which KERAS_BACKEND=numpy chooses before Keras is imported"
        )
    from keras.src import backend

    namespace = vars(backend.nn)
    replacements = []
    for name, (exact, parameters, compute) in _FUNCTIONS.items():
        where = f"{backend.nn.__name__}.{name}"
        if name not in namespace:
            raise Refused(f"{release}there is no {where}: nothing is replaced")
        original = namespace[name]
        check_signature(f"{release}{where}", original, parameters.split())
        function = _function(original, compute)
        replacements.append(Replacement(name, namespace, name, original, function, exact))
    for replacement in replacements:
        _compare(release, replacement)
    return replacements


def _compare(release: str, replacement: Replacement) -> None:
    """Raise Refused unless the original computes what takes its place, on some numbers."""
    x: Any = np.linspace(-9, 9, 37 * 4, dtype=np.float32).reshape(37, 4)
    theirs, ours = replacement.original(x), replacement.function(x)
    bounds = (0.0, 0.0) if replacement.exact else _TOLERANCE
    if ours.dtype != theirs.dtype or not np.allclose(ours, theirs, *bounds):
        message = f"{release}{replacement.where} computes something else than it did"
        raise Refused(f"{message}: nothing is replaced")


_switch = Switch(_find)
