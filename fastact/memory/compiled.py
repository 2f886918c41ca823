"""The recycler's compiled functions."""

from __future__ import annotations

from fastact.cpu.compiler import Unit, load
from fastact.cpu.shared import unit_of_function

__all__ = ["address", "units"]

_MODULES = (
    "fastact.memory.recycler",
    "fastact.memory.layout",
    "fastact.cpu.threads",
    "fastact.cpu.layout",
)
_NAMES = [
    "free",
    "malloc",
    "calloc",
    "realloc",
    "trim",
    "hold",
    "let_go",
    "reaper",
    "start_reaper",
]


def address(name: str) -> int:
    """Address of a function of ``recycler``."""
    return load(_unit(name))


def units() -> list[Unit]:
    """What compiles all of these functions."""
    return [_unit(name) for name in _NAMES]


def _unit(name: str) -> Unit:
    return unit_of_function(f"recycler_{name}", name, _MODULES)
