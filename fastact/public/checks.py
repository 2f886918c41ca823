"""Checks that functions have in common: what is wrong with a call, in words, and what is plain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["as_they_are", "check_in_place", "check_out"]


def check_out(function: str, out: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``out`` is an array of that shape."""
    if not isinstance(out, np.ndarray) or out.shape != shape:
        got = getattr(out, "shape", type(out).__name__)
        raise ValueError(f"{function}: out must be an ndarray of shape {shape}, got {got}")


def check_in_place(function: str, x: Any, integers: bool, name: str = "x") -> None:
    """Raise an error that says what is wrong with ``x``; return if nothing is."""
    kinds = "a floating-point or integer" if integers else "a floating-point"
    wanted = f"{function}: {name} must be {kinds} ndarray that can be written to, got"
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{wanted} {type(x).__name__}")
    if x.dtype.kind not in ("fiuV" if integers else "fV"):
        raise TypeError(f"{wanted} an array of {x.dtype}")
    if not x.flags.writeable:
        raise ValueError(f"{wanted} a read-only array")


def as_they_are(arrays: Sequence[Any], dtype: np.dtype[Any], shape: Any, out: Any) -> bool:
    """Whether kernels can take arrays without copies: of one dtype object and shape, contiguous,
    and, unless ``out`` is None, apart from that, or the very same.
    """
    owned = False
    if out is not None:
        if type(out) is not np.ndarray or out.dtype is not dtype or out.shape != shape:
            return False
        flags = out.flags
        if not flags.carray:
            return False
        owned = flags.owndata
    for array in arrays:
        if array is out:
            continue
        if type(array) is not np.ndarray or array.dtype is not dtype or array.shape != shape:
            return False
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned):
            return False
        if out is None or (owned and flags.owndata):
            continue
        if np.may_share_memory(array, out):
            return False
    return True
