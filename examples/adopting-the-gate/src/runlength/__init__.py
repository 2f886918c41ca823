"""Run-length encoding of sequences."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable
from typing import TypeVar

__all__ = ["decode", "encode"]

Item = TypeVar("Item", bound=Hashable)


def encode(items: Iterable[Item]) -> list[tuple[Item, int]]:
    """Each run of equal items as the item and how often it comes.

    >>> encode("aaab")
    [('a', 3), ('b', 1)]
    """
    return [(item, sum(1 for _ in run)) for item, run in itertools.groupby(items)]


def decode(runs: Iterable[tuple[Item, int]]) -> list[Item]:
    """The items again.

    >>> decode([("a", 3), ("b", 1)])
    ['a', 'a', 'a', 'b']
    """
    return list(itertools.chain.from_iterable(itertools.repeat(item, n) for item, n in runs))
