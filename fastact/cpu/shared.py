"""The driver's compiled functions, which every kernel shares."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fastact.cpu.compiler import INTEGERS, Unit, load

__all__ = ["MODULES", "address", "unit_of_function", "units"]

#: The module of the functions, and those of their helpers.
MODULES = (
    "fastact.cpu.driver",
    "fastact.cpu.threads",
    "fastact.cpu.layout",
)
_NAMES = ["driver", "row_driver", "block_driver", "large", "share"]
_NAMES += ["elements", "pieces", "worker", "split"]


def address(name: str) -> int:
    """Address of a function of ``driver``."""
    return load(unit_of_function(name, name, MODULES))


def units() -> list[Unit]:
    """What compiles all of these functions."""
    return [unit_of_function(name, name, MODULES) for name in _NAMES]


def unit_of_function(unit: str, name: str, modules: tuple[str, ...]) -> Unit:
    """What compiles a function of the first of ``modules``."""

    def build() -> tuple[Callable[..., Any], Any]:
        return getattr(importlib.import_module(modules[0]), name), None

    return Unit(unit, build, modules, translator=INTEGERS)
