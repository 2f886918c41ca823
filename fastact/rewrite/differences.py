"""How the results of new code may differ from those of the old, in words and for the tests.

What is compared: arrays of float16, float32 and float64 and of all integer dtypes, with NaN,
infinities and negative zeros among the values; gradients that are floating-point arrays of x's
dtype; parameters that are numbers.
"""

from __future__ import annotations

import enum

__all__ = ["Difference", "sentences"]


class Difference(enum.Flag):
    """None of them: the same bits and the same dtype."""

    ZERO = enum.auto()
    NAN = enum.auto()
    INFINITY = enum.auto()
    ROUNDING = enum.auto()
    KINK = enum.auto()
    INTEGERS = enum.auto()
    DTYPE = enum.auto()
    SLOPE = enum.auto()
    CONSTANT = enum.auto()


_SENTENCES = {
    Difference.ZERO: "a zero may have the other sign",
    Difference.NAN: "where x is NaN",
    Difference.INFINITY: "where something is infinite or overflows: there is no NaN and no warning",
    Difference.ROUNDING: "by rounding, some units in the last place; by more where the old form"
    " cancels",
    Difference.KINK: "where x is at the kink",
    Difference.INTEGERS: "integer arrays may give another dtype or, if small or unsigned, value",
    Difference.DTYPE: "the result has x's dtype",
    Difference.SLOPE: "where the slope is not between 0 and 1",
    Difference.CONSTANT: "constants have all their digits",
}


def sentences(differences: Difference) -> list[str]:
    """What may differ, each in a few words."""
    return [text for flag, text in _SENTENCES.items() if flag in differences]
