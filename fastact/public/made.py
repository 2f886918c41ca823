"""What has been made so far, for whoever makes something else of it: Numba's overloads do.

Public functions are built when they are first used, so overloads can only be made of those that
are there, and of others when they come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Numba imports this module in every program that compiles anything
    from fastact.catalogue import Activation, Form

__all__ = ["Kernel", "Maker", "record", "tell"]


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What an elementwise ufunc computes: ``which`` function of an entry.

    It takes so many arrays, then so many parameters: all that there are, or none, where these have
    their defaults.
    """

    name: str
    entry: Activation
    which: str
    arrays: int
    parameters: int
    outputs: int


#: Is called with a ufunc and its kernel, or with a Python function and its form.
Maker = Callable[[Any, "Kernel | Form"], None]

_made: list[tuple[Any, Kernel | Form]] = []
_makers: list[Maker] = []


def record(function: Any, of: Kernel | Form) -> None:
    """Say that a function has been made."""
    _made.append((function, of))
    for maker in _makers:
        maker(function, of)


def tell(maker: Maker) -> None:
    """Have ``maker`` called with every function: those that there are now, and those to come."""
    for function, of in _made:
        maker(function, of)
    _makers.append(maker)
