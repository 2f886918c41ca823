"""The compiled functions of ``driver``, which every kernel shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastact.cpu.compiler import Unit, load

__all__ = ["shared"]

_MODULES = ("fastact.cpu.driver", "fastact.cpu.intrinsics", "fastact.cpu.layout")


def shared(name: str) -> int:
    """Address of a function of ``driver``."""

    def build() -> tuple[Callable[..., Any], Any]:
        from fastact.cpu import driver

        return getattr(driver, name), driver.SIGNATURES[name]

    return load(Unit(name, build, _MODULES))
