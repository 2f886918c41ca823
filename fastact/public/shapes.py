"""Halves of an array along one axis, for crelu and glu."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_index

__all__ = ["halves"]

Array = npt.NDArray[Any]


def halves(function: str, array: Array, axis: int) -> tuple[Array, Array]:
    """Views of the two halves."""
    axis = normalize_axis_index(axis, array.ndim)
    length = array.shape[axis]
    if length % 2:
        raise ValueError(
            f"{function}: axis {axis} is halved, so its length must be even, but the shape is "
            f"{array.shape}"
        )
    before = (slice(None),) * axis
    return array[(*before, slice(length // 2))], array[(*before, slice(length // 2, None))]
