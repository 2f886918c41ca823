"""What losses have in common: what they take, and what becomes of the losses of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue.entries import unknown_choice

__all__ = ["REDUCTIONS", "check_reduction", "floats", "quotient"]

Array = npt.NDArray[Any]

REDUCTIONS = ("mean", "sum", "none")


def floats(function: str, name: str, given: npt.ArrayLike) -> Array:
    """An array of floating-point numbers; raises TypeError if these are others."""
    array = np.asarray(given)
    if array.dtype.kind not in "fV" or array.dtype.itemsize > 8:
        raise TypeError(f"{function}: {name} must be floating-point numbers, got {array.dtype}")
    return array


def check_reduction(function: str, reduction: str, known: Sequence[str] = REDUCTIONS) -> None:
    """Raise ValueError if there is no such reduction."""
    if reduction not in known:
        raise unknown_choice(function, "reduction", known, reduction)


def quotient(total: Any, divisor: float, dtype: np.dtype[Any]) -> Any:
    """The sum of losses over what it is divided by; NaN where both are 0."""
    with np.errstate(all="ignore"):
        return (np.float64(total) / divisor).astype(dtype)
