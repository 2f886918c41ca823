"""Rules of shapes, as functions of tuples: NumPy's arrays and arrays on a GPU share them."""

from __future__ import annotations

import math

from numpy.lib.array_utils import normalize_axis_index

__all__ = [
    "Shape",
    "around",
    "axis_number",
    "channels",
    "check_vector",
    "doubled",
    "halved",
    "with_length",
    "without_pieces",
]

Shape = tuple[int, ...]


def axis_number(function: str, axis: int, shape: Shape) -> int:
    """The axis counted from the front. Raises AxisError, a ValueError, if there is none."""
    return normalize_axis_index(axis, len(shape), function)


def halved(function: str, axis: int, shape: Shape) -> tuple[int, int]:
    """The axis counted from the front, and half of its length."""
    axis = axis_number(function, axis, shape)
    half, odd = divmod(shape[axis], 2)
    if odd:
        raise ValueError(
            f"{function}: axis {axis} is halved, so its length must be even, but the shape is "
            f"{shape}"
        )
    return axis, half


def doubled(function: str, axis: int, shape: Shape) -> Shape:
    """The shape, twice as long along an axis."""
    axis = axis_number(function, axis, shape)
    return (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])


def without_pieces(function: str, axis: int, shape: Shape) -> Shape:
    """The shape of the largest elements along an axis, of which there must be some."""
    axis = axis_number(function, axis, shape)
    if shape[axis] == 0:
        raise ValueError(f"{function}: axis {axis} of x has no elements, its shape is {shape}")
    return (*shape[:axis], *shape[axis + 1 :])


def with_length(function: str, axis: int, length: int, shape: Shape) -> Shape:
    """The shape with an axis more, of this length; ``axis`` is its number then."""
    axis = axis_number(function, axis, (*shape, length))
    return (*shape[:axis], length, *shape[axis:])


def around(function: str, axis: int, shape: Shape) -> tuple[int, int, int]:
    """How many elements there are before an axis, along it, and after it."""
    axis = axis_number(function, axis, shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def channels(function: str, name: str, of: Shape, axis: int, shape: Shape) -> Shape:
    """The shape in which an array that has a number for each channel broadcasts along ``axis``.

    ``of`` is its own shape: of one element, of one dimension, or of as many as ``shape``.
    """
    if math.prod(of) == 1:
        return ()
    if len(of) > 1 and len(of) == len(shape):
        return of
    if len(of) != 1:
        raise ValueError(
            f"{function}: {name} must be a number, one-dimensional, or have as many dimensions as "
            f"x; its shape is {of}, that of x is {shape}"
        )
    if not -len(shape) <= axis < len(shape) or shape[axis] != of[0]:
        raise ValueError(
            f"{function}: {name} has {of[0]} elements, which does not fit axis {axis} of x "
            f"with shape {shape}; the argument axis says which one counts channels"
        )
    return (*of, *[1] * (len(shape) - axis % len(shape) - 1))


def check_vector(function: str, name: str, of: Shape, axis: int, shape: Shape) -> None:
    """Raise ValueError unless an array of shape ``of`` has one number for each channel."""
    wanted = (shape[axis],)
    if of != wanted:
        raise ValueError(
            f"{function}: {name} must have shape {wanted}, one number for each channel along axis "
            f"{axis} of shape {shape}; got {of}"
        )
