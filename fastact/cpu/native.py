"""The compiled functions that every kernel shares, and those of the recycling allocator."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fastact.cpu.compiler import Unit, load

__all__ = ["recycler", "shared", "units"]

_DRIVER = ("fastact.cpu.driver", "fastact.cpu.intrinsics", "fastact.cpu.layout")
_RECYCLER = ("fastact.cpu.recycler", "fastact.cpu.recycler_layout", *_DRIVER)
#: The longest first, so that a warm-up on many cores ends early.
_SHARED = ["large", "share", "driver", "row_driver", "block_driver"]
_SHARED += ["elements", "pieces", "worker", "split"]
_RECYCLING = [
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


def shared(name: str) -> int:
    """Address of a function of ``driver``."""
    return load(_shared_unit(name))


def recycler(name: str) -> int:
    """Address of a function of ``recycler``."""
    return load(_recycler_unit(name))


def units() -> list[Unit]:
    """What compiles all of these functions."""
    return [*map(_shared_unit, _SHARED), *map(_recycler_unit, _RECYCLING)]


def _shared_unit(name: str) -> Unit:
    return _unit(name, name, _DRIVER)


def _recycler_unit(name: str) -> Unit:
    return _unit(f"recycler_{name}", name, _RECYCLER)


def _unit(unit: str, name: str, modules: tuple[str, ...]) -> Unit:
    """What compiles a function of the first of ``modules``."""

    def build() -> tuple[Callable[..., Any], Any]:
        module = importlib.import_module(modules[0])
        return getattr(module, name), module.SIGNATURES[name]

    return Unit(unit, build, modules)
