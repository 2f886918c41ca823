"""How cases went from commit to commit, and where they changed.

Change points are found by E-divisive: a series is split where the two parts' *distributions*
differ most by their energy distance, if shuffled copies of the series hardly ever have so good a
split; and the parts are split again. Distributions, because on shared machines a series often has
two levels between which it jumps at random, and medians then jump, too. What is found counts if it
is as large as somebody would care for: the shift is the median of the differences between a value
after and a value before (Hodges and Lehmann's), which neither outliers nor two levels move. A
level that is left again after a few commits is found while it is new, but not among many others
later.

Matteson and James, A nonparametric approach for multiple change point analysis of multivariate
data, 2014, arXiv:1306.4933. The method is used on benchmarks by MongoDB (Daly et al., 2020,
arXiv:2003.00584) and by Apache Otava, whose many dependencies are not needed for this.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastact.benchmark.results import Run

__all__ = ["Change", "Series", "change_points", "series"]

#: Values on each side of a split, at least.
SHORTEST = 5
#: A split counts if at most this part of shuffled series has one that is as good. There are about a
#: hundred cases, which are looked at after every commit.
SIGNIFICANCE = 0.002
SHUFFLES = 999
#: Shifts below 3 % are left out.
SMALLEST_SHIFT = 0.03

Array = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True)
class Change:
    """A shift between two commits that follow each other in the series."""

    position: int
    last_before: str
    first_after: str
    #: Value after divided by value before.
    factor: float


@dataclasses.dataclass
class Series:
    """A case over commits: how many times as long NumPy took as fastact."""

    case: str
    labels: list[str]
    ratios: list[float]

    def changes(self) -> list[Change]:
        logarithms = np.log(self.ratios)
        return [
            Change(i, self.labels[i - 1], self.labels[i], math.exp(shift))
            for i, shift in change_points(logarithms)
        ]


def series(runs: Sequence[Run], library: str = "numpy") -> list[Series]:
    """One for each case, in the order in which they appear."""
    found: dict[str, Series] = {}
    for run in runs:
        for result in run.results:
            if {"fastact", library} <= set(result.seconds):
                name = str(result.case)
                one = found.setdefault(name, Series(name, [], []))
                one.labels.append(run.label[:9] or run.started[:10])
                one.ratios.append(result.ratio(library).value)
    return list(found.values())


# --- E-divisive -----------------------------------------------------------------------------------


def change_points(values: Sequence[float] | Array) -> list[tuple[int, float]]:
    """Where new levels begin, and by how much they are above what was before."""
    array = np.asarray(values, float)
    random = np.random.default_rng(0)  # equal series give equal answers
    edges = [0, *_split(array, 0, len(array), random), len(array)]
    while len(edges) > 2:
        shifts = [
            _shift(array[before:at], array[at:after])
            for before, at, after in zip(edges, edges[1:], edges[2:], strict=False)
        ]
        smallest = min(range(len(shifts)), key=lambda i: abs(shifts[i]))
        if abs(shifts[smallest]) >= SMALLEST_SHIFT:
            return list(zip(edges[1:-1], shifts, strict=True))
        del edges[smallest + 1]
    return []


def _split(array: Array, start: int, end: int, random: np.random.Generator) -> list[int]:
    segment = array[start:end]
    if len(segment) < 2 * SHORTEST:
        return []
    # Of the exponents that an energy distance may have, 1/2: of steps by 4 % among outliers by 50 %
    # it finds 46 of 50, where 1 finds 8; and none in 400 series without a step.
    distances = np.abs(segment[:, None] - segment[None, :]) ** 0.5
    at, best = _best_split(distances)
    as_good = 1  # the series itself is one of its orders
    for _ in range(SHUFFLES):
        order = random.permutation(len(segment))
        as_good += _best_split(distances[np.ix_(order, order)])[1] >= best
        if as_good > SIGNIFICANCE * (SHUFFLES + 1):
            return []
    at += start
    return [*_split(array, start, at, random), at, *_split(array, at, end, random)]


def _best_split(distances: Array) -> tuple[int, float]:
    """Where the parts differ most, and by how much: energy distance times m n / (m + n)."""
    n = len(distances)
    # Sums over the square above and left of each place, from which those over all parts follow.
    sums = np.zeros((n + 1, n + 1))
    np.cumsum(np.cumsum(distances, 0), 1, out=sums[1:, 1:])
    m = np.arange(SHORTEST, n - SHORTEST + 1)
    left, across = sums[m, m], sums[m, n] - sums[m, m]
    right = sums[n, n] - 2 * sums[m, n] + sums[m, m]
    k = n - m
    energy = 2 * across / (m * k) - left / (m * (m - 1)) - right / (k * (k - 1))
    statistic = m * k / n * energy
    best = int(np.argmax(statistic))
    return int(m[best]), float(statistic[best])


def _shift(before: Array, after: Array) -> float:
    return float(np.median(after[:, None] - before[None, :]))
