"""Sequential tests by betting: look after every observation, stop when it is clear.

Somebody who believes that the median of a series is above a bound bets on it before each
observation, with a part of what he has: if the observation is above, he gains that part, else he
loses it. If the median is *not* above, no such bet gains on average, so his fortune, which begins
at 1, ever reaches F with probability 1/F at most, however often one looks and whenever one stops
(Ville's inequality). So the fortune is the evidence: at 1000, such luck happens once in a thousand
such series. It needs no assumption on how observations are distributed, only that each is by itself
as likely below the median as above it; for times on a shared machine nothing else is known.

Shafer, Testing by betting, 2021; Ramdas et al., Game-theoretic statistics and safe anytime-valid
inference, 2023, arXiv:2210.01948.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fastact.benchmark.timing import Estimate

__all__ = ["fortune", "interval", "proven"]

#: Parts that are bet; the fortune is the mean over those who bet them. High ones gain quickly where
#: every observation is above: 15 in a row are 1 : 4600. With low ones 31 of 40 are still 1 : 240.
STAKES = (0.3, 0.5, 0.7, 0.9)


def fortune(above: int, others: int) -> float:
    """Who bet on "above" each time, and was right so often, has how many times what he had?"""
    return sum((1 + s) ** above * (1 - s) ** others for s in STAKES) / len(STAKES)


def evidence(series: Sequence[float], bound: float) -> float:
    """The fortune of who bets that the median is above the bound; below it: both negated."""
    above = sum(value > bound for value in series)
    return fortune(above, len(series) - above)


def interval(series: Sequence[float], error: float) -> Estimate:
    """The median, and bounds that hold the true one at all times, but for this probability."""
    ordered = sorted(series)
    n = len(ordered)
    if not n:
        return Estimate(0.0, -math.inf, math.inf)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    # The fortune on "above" grows with the number of values above the bound.
    enough = [k for k in range(n + 1) if fortune(k, n - k) >= 2 / error]
    if not enough:
        return Estimate(middle, -math.inf, math.inf)
    return Estimate(middle, ordered[n - enough[0]], ordered[enough[0] - 1])


def proven(
    fortunes: Mapping[str, float], weights: Mapping[str, float], error: float
) -> dict[str, float]:
    """Of many questions those that are answered, with the fortune that each had to reach.

    The probability that one of them or more is answered wrongly is at most ``error`` in all (Holm's
    step-down procedure with weights). Weights are parts of it that add up to 1 at most, and are
    chosen before anything is observed: an answered question leaves its part to the others.
    """
    left = 1.0
    answered = {}
    for name in sorted(fortunes, key=lambda name: -fortunes[name] * weights[name]):
        needed = left / (weights[name] * error)
        if fortunes[name] < needed:
            break
        answered[name] = needed
        left -= weights[name]
    return answered
