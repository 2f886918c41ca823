"""The curves of the catalogue's functions: what the compiled functions give, as points.

Functions of more than one number are drawn over one of them: gated units over the gate, ``up``
being 1, functions of rows over the first element of the row (x, 0).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import fastact as fa
from fastact.benchmark.cases import SUBJECTS
from fastact.catalogue import (
    Activation,
    Entry,
    Gated,
    Joined,
    Largest,
    Parameter,
    Rows,
    Variants,
)
from fastact.catalogue.entries import REQUIRED, SUFFIXES

__all__ = ["Drawn", "Sampled", "complete", "drawn", "instances", "jumps", "sampled", "window"]

Array = Any  # of float64
Function = Callable[[Array], Array]

#: Half the width of what is shown of a function: the least of these that has all its jumps.
WINDOWS = (4.0, 8.0)
#: A change within less than a millionth is a jump if it is larger than this.
STEEP = 1e-3


class Drawn(NamedTuple):
    """A function of one number, its derivative, and what it is called where there are several."""

    label: str
    value: Function
    slope: Function


class Sampled(NamedTuple):
    """A curve: pieces between jumps, each (points, 2); and where it jumps, what the value is."""

    pieces: list[Array]
    #: x, the values from the left, there, and from the right.
    jumps: list[tuple[float, float, float, float]]


# --- which functions of one number an entry is ---------------------------------------------------


def drawn(entry: Entry, **given: Any) -> list[Drawn]:
    """With default parameters but for those given, and 1/4 where there is no default."""
    forward, backward = (getattr(fa, entry.name + SUFFIXES[w]) for w in ("forward", "backward"))
    if isinstance(entry, Variants):
        keys = [given[entry.parameter]] if given else list(entry.variants)
        return [
            _elementwise(entry, f'{entry.parameter}="{key}"', {entry.parameter: key})
            for key in keys
        ]
    if isinstance(entry, Activation):
        return [_elementwise(entry, "", complete(entry) | given)]
    if isinstance(entry, Gated) and not entry.halves:
        return [
            Drawn(
                "up = 1",
                lambda x: forward(x, np.ones_like(x)),
                lambda x: backward(np.ones_like(x), x, np.ones_like(x))[0],
            )
        ]
    if isinstance(entry, Gated):
        return [
            Drawn(
                "a = 1, over b",
                lambda x: forward(_pair(np.ones_like(x), x))[:, 0],
                lambda x: backward(np.ones((len(x), 1)), _pair(np.ones_like(x), x))[:, 1],
            )
        ]
    if isinstance(entry, Joined):
        halves = zip(("first half", "second half"), ((1.0, 0.0), (0.0, 1.0)), strict=True)
        return [
            Drawn(
                label,
                lambda x, part=part: forward(x[:, np.newaxis])[:, part],  # type: ignore[misc]
                lambda x, grad=grad: backward(  # type: ignore[misc]
                    np.tile(grad, (len(x), 1)), x[:, np.newaxis]
                )[:, 0],
            )
            for part, (label, grad) in enumerate(halves)
        ]
    of_row = "first element of the row (x, 0)"
    if isinstance(entry, Rows):
        grad = np.array([[1.0, 0.0]])
        return [
            Drawn(
                of_row,
                lambda x: forward(_row(x))[:, 0],
                lambda x: backward(np.repeat(grad, len(x), 0), forward(_row(x)))[:, 0],
            )
        ]
    assert isinstance(entry, Largest)
    return [
        Drawn(
            "of the pair (x, 0)",
            lambda x: forward(_row(x))[0],
            lambda x: backward(np.ones_like(x), forward(_row(x))[1], 2)[:, 0],
        )
    ]


def _elementwise(entry: Entry, label: str, given: dict[str, Any]) -> Drawn:
    forward, backward = (getattr(fa, entry.name + SUFFIXES[w]) for w in ("forward", "backward"))
    return Drawn(
        label, lambda x: forward(x, **given), lambda x: backward(np.ones_like(x), x, **given)
    )


def complete(entry: Activation) -> dict[str, Any]:
    """What has to be given because it has no default: what the benchmarks give."""
    required = [p.name for p in entry.arguments if p.default is REQUIRED]
    return {name: SUBJECTS[entry.name].parameters[name] for name in required}


def _pair(a: Array, b: Array) -> Array:
    return np.stack([a, b], axis=-1)


def _row(x: Array) -> Array:
    return _pair(x, np.zeros_like(x))


# --- points --------------------------------------------------------------------------------------


def jumps(function: Function, low: float, high: float, n: int = 801) -> list[float]:
    """Where it jumps: found by halving each of the intervals towards the larger change."""
    x = np.linspace(low, high, n)
    a, b = x[:-1], x[1:]
    for _ in range(40):
        middle = (a + b) / 2
        at_a, at_middle, at_b = function(a), function(middle), function(b)
        left = abs(at_middle - at_a) > abs(at_b - at_middle)
        a, b = np.where(left, a, middle), np.where(left, middle, b)
    found = (b + a)[abs(function(b) - function(a)) > STEEP] / 2
    return sorted({round(float(place), 6) + 0.0 for place in found})


@functools.cache
def window(entry: Entry) -> float:
    """Half the width of what is shown."""
    places = [
        abs(place)
        for function in drawn(entry)
        for curve in (function.value, function.slope)
        for place in jumps(curve, -WINDOWS[-1], WINDOWS[-1])
    ]
    return next(w for w in WINDOWS if max(places, default=0.0) < w)


def sampled(function: Function, low: float, high: float, n: int = 321) -> Sampled:
    """From ``low`` to ``high``; of points on a line only the ends are kept."""
    places = [place for place in jumps(function, low, high) if low < place < high]
    ends = [low, *places, high]
    near = 1e-7
    pieces = []
    for start, stop in itertools.pairwise(ends):
        inner = np.linspace(low, high, n)
        inner = inner[(inner > start + near) & (inner < stop - near)]
        x = np.array([start, *inner, stop])
        inside = np.array([start + near, *inner, stop - near])
        pieces.append(_simplified(np.stack([x, function(inside)], axis=-1)))
    around = [function(np.array([k - near, k, k + near])).tolist() for k in places]
    return Sampled(pieces, [(k, *values) for k, values in zip(places, around, strict=True)])


def _simplified(points: Array, tolerance: float = 2e-3) -> Array:
    """Without the points that are closer than this to a line between others (Douglas, Peucker)."""
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    pending = [(0, len(points) - 1)]
    while pending:
        first, last = pending.pop()
        inner = points[first + 1 : last]
        if not len(inner):
            continue
        along = points[last] - points[first]
        off = inner - points[first]
        distance = abs(along[0] * off[:, 1] - along[1] * off[:, 0]) / np.hypot(*along)
        i = int(np.argmax(distance))
        if distance[i] > tolerance:
            keep[first + 1 + i] = True
            pending += [(first, first + 1 + i), (first + 1 + i, last)]
    return points[keep]


# --- values of a parameter that are worth drawing ------------------------------------------------


def instances(entry: Activation, parameter: Parameter) -> list[float]:
    """A value or two beside the default, with which the curve is visibly another one.

    Round numbers, the nearest on either side; if there is none on one side, two on the other.
    """
    given = complete(entry)
    default = float(given.get(parameter.name, parameter.default))
    half = window(entry)
    x = np.linspace(-half, half, 201)

    def values(number: float) -> Array | None:
        try:
            with np.errstate(all="ignore"):
                found = drawn(entry, **{parameter.name: number})[0].value(x)
        except ValueError:  # a constraint
            return None
        return found if np.isfinite(found).all() else None

    chosen = {default: values(default)}
    for numbers in (_above(default), _below(default), _above(default)):
        if len(chosen) < 3:
            _choose(chosen, numbers, values)
    return sorted(chosen) if len(chosen) > 1 else []


def _choose(
    chosen: dict[float, Any], numbers: Iterator[float], values: Callable[[float], Any]
) -> None:
    """Add the first number that makes a curve unlike those chosen."""
    for number in numbers:
        curve = values(number)
        if curve is not None and all(abs(curve - c).max() >= 0.5 for c in chosen.values()):
            chosen[number] = curve
            return


_ROUND = [m * 10.0**e for e in (-2, -1, 0, 1) for m in (1, 2, 5)]


def _above(number: float) -> Iterator[float]:
    return (float(f"{n:.3g}") for n in _ROUND if n > number)


def _below(number: float) -> Iterator[float]:
    """Not below zero unless that is where the number is: slopes and widths are positive."""
    if number > 0:
        return (float(f"{n:.3g}") for n in reversed(_ROUND) if n < number)
    return (float(f"{-n:.3g}") for n in _ROUND if -n < number)
