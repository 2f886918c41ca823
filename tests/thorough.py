"""What every run tests, and what only the thorough one does (``pytest -m thorough``).

Most of the suite's time goes into compiling kernels. So every run takes one dtype of a kind, and
some of the functions where they differ in nothing that is tested; the thorough run takes the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

__all__ = ["only"]


def only(quick: Iterable[Any] | Callable[[Any], bool], values: Iterable[Any]) -> list[Any]:
    """Values of a parameter: every run takes those in ``quick``, or for which it is true.

    A tuple is a value for each of several parameters.
    """
    taken = quick if callable(quick) else list(quick).__contains__
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else [value]),
            marks=[] if taken(value) else pytest.mark.thorough,
        )
        for value in values
    ]
