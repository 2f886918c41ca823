"""What is wrong with a call, in words: checks that functions have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["check_in_place", "check_out"]


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
