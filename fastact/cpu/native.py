"""The compiled functions that every kernel shares, as units for the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastact.cpu.compiler import Unit

__all__ = ["DRIVER", "SPLIT", "WORKER"]

_MODULES = ("fastact.cpu.driver", "fastact.cpu.intrinsics", "fastact.cpu.pool")


def _unit(name: str, signature: str) -> Unit:
    def build() -> tuple[Callable[..., Any], Any]:
        from fastact.cpu import driver

        return getattr(driver, name), getattr(driver, signature)

    return Unit(name, build, _MODULES)


DRIVER = _unit("driver", "LOOP_SIGNATURE")
SPLIT = _unit("split", "LOOP_SIGNATURE")
WORKER = _unit("worker", "WORKER_SIGNATURE")
