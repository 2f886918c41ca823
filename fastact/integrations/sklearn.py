"""scikit-learn's multilayer perceptrons, computed with fastact.

    import fastact.integrations.sklearn

    fastact.integrations.sklearn.patch()

From then on ``MLPClassifier`` and ``MLPRegressor`` train and predict with fastact's activations,
also those that exist already: they look an activation up when they use it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

import fastact as fa
from fastact.integrations.replacement import Refused, Replacement, Switch, check_signature
from fastact.public.kernels import kernel

__all__ = ["Refused", "patch", "patched", "replaced", "unpatch"]

_BASE = "sklearn.neural_network._base"
#: Results that are not the same bits may differ by so many eps in what is compared when patching;
#: more means that the library computes something else. Measured: 4.
_TOLERANCE_EPS = 16
_DTYPES = (np.dtype("f"), np.dtype("d"))


def patch(*, exact: bool = False) -> None:
    """Have scikit-learn's multilayer perceptrons compute their activations with fastact.

    Parameters
    ----------
    exact : bool, default False
        Replace only what gives the same bits: ReLU, and the derivatives of all activations. By
        default the logistic function and tanh are replaced, too, which differ from scikit-learn's
        by 2 eps, and softmax, by about eps times the largest difference within a row, which
        scikit-learn rounds.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.
    Refused
        If this version of scikit-learn is not what fastact knows: it says what has changed, and
        nothing is replaced.

    Notes
    -----
    Whatever is not a C-contiguous float32 or float64 array goes to scikit-learn's own function. To
    call it again changes nothing but ``exact``. It holds for this process and for those that it
    forks; for others, such as joblib's workers, it is the initializer:
    ``ProcessPoolExecutor(initializer=fastact.integrations.sklearn.patch)``.
    """
    _switch.patch(exact=exact)


def unpatch() -> None:
    """Put back what ``patch`` has replaced, but for what somebody else has replaced since."""
    _switch.unpatch()


def patched(*, exact: bool = False) -> AbstractContextManager[None]:
    """``with patched():`` what ``patch`` does, until the end of the block, in all threads."""
    return _switch.patched(exact=exact)


def replaced() -> list[str]:
    """The entries of scikit-learn's tables that are fastact's now."""
    return _switch.replaced()


# --- what takes the place of scikit-learn's functions ---------------------------------------------
#
# A derivative gets the activation's output z and changes delta in place. Written in the order in
# which scikit-learn computes, so that the bits are the same.


def _relu_derivative(delta, z):  # type: ignore[no-untyped-def]
    """delta where z is not 0; so delta stays where z is NaN."""
    return 0 if z == 0 else delta


def _logistic_derivative(delta, z):  # type: ignore[no-untyped-def]
    """delta * z * (1 - z)"""
    return (delta * z) * (1 - z)


def _tanh_derivative(delta, z):  # type: ignore[no-untyped-def]
    """delta * (1 - z^2)"""
    return delta * (1 - z * z)


def _softmax(x: Any, out: Any) -> Any:
    return fa.softmax(x, 1, out)


def _activation(original: Callable[..., Any], compute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def inplace(X: Any) -> None:  # noqa: N803  the library's name, as in all below
        if _fits(X):
            compute(X, X)
        else:
            original(X)

    return inplace


def _derivative(original: Callable[..., Any], compute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def inplace(Z: Any, delta: Any) -> None:  # noqa: N803
        if _fits(delta) and _fits(Z) and Z.dtype == delta.dtype and Z.shape == delta.shape:
            compute(delta, Z, delta)
        else:
            original(Z, delta)

    return inplace


def _fits(x: Any) -> bool:
    """Whether x is what scikit-learn makes; anything else is its own functions' affair."""
    if type(x) is not np.ndarray or x.dtype not in _DTYPES or x.ndim != 2 or not x.size:
        return False
    return x.flags.c_contiguous and x.flags.writeable


# --- which, after a look at what is there ---------------------------------------------------------


def _find() -> list[Replacement]:
    from sklearn import __version__

    release = f"scikit-learn {__version__}: "
    activations, derivatives = _tables(release)
    replacements = [
        *(
            _replacement(release, "ACTIVATIONS", activations, name, compute, exact)
            for name, compute, exact in (
                ("relu", fa.relu, True),
                ("logistic", fa.sigmoid, False),
                ("tanh", fa.tanh, False),
                ("softmax", _softmax, False),
            )
        ),
        *(
            _replacement(release, "DERIVATIVES", derivatives, name, _kernel(formula), True)
            for name, formula in (
                ("relu", _relu_derivative),
                ("logistic", _logistic_derivative),
                ("tanh", _tanh_derivative),
            )
        ),
    ]
    for replacement in replacements:
        _compare(release, replacement)
    return replacements


def _tables(release: str = "") -> list[dict[str, Any]]:
    """ACTIVATIONS and DERIVATIVES, where functions are looked up at each use."""
    from sklearn.neural_network import _base, _multilayer_perceptron

    tables: list[dict[str, Any]] = []
    for name in ("ACTIVATIONS", "DERIVATIVES"):
        table = getattr(_base, name, None)
        if not isinstance(table, dict):
            raise Refused(f"{release}there is no dict {_BASE}.{name}: nothing is replaced")
        if getattr(_multilayer_perceptron, name, None) is not table:
            message = f"{release}the perceptrons do not use {_BASE}.{name}"
            raise Refused(f"{message}: nothing is replaced")
        tables.append(table)  # type: ignore[arg-type]
    return tables


@functools.cache
def _kernel(formula: Callable[..., Any]) -> np.ufunc:
    return kernel(f"integrations.sklearn.{formula.__name__}", 2, formula)


def _replacement(
    release: str, table: str, namespace: dict[str, Any], name: str, compute: Any, exact: bool
) -> Replacement:
    where = f"{table}[{name!r}]"
    if name not in namespace:
        raise Refused(f"{release}{_BASE} has no {where}: nothing is replaced")
    original = namespace[name]
    parameters = ["X"] if table == "ACTIVATIONS" else ["Z", "delta"]
    check_signature(f"{release}{where}", original, parameters)
    make = _activation if table == "ACTIVATIONS" else _derivative
    return Replacement(where, namespace, name, original, make(original, compute), exact)


def _compare(release: str, replacement: Replacement) -> None:
    """Raise Refused unless the original computes what takes its place, on some numbers."""
    for dtype in _DTYPES:
        x: Any = np.linspace(-9, 9, 37 * 4, dtype=dtype).reshape(37, 4)
        x[::5, 0] = 0
        arrays = [x] if replacement.namespace is _tables()[0] else [x / 9, x[::-1].copy()]
        theirs, ours = ([a.copy() for a in arrays] for _ in range(2))
        replacement.original(*theirs)
        replacement.function(*ours)
        bound = 0.0 if replacement.exact else _TOLERANCE_EPS * np.finfo(dtype).eps
        if not np.allclose(ours[-1], theirs[-1], rtol=bound, atol=0):
            message = f"{release}{replacement.where} computes something else than it did"
            raise Refused(f"{message}: nothing is replaced")


_switch = Switch(_find)
