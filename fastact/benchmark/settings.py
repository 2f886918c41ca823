"""``[tool.fastact.gate]`` in pyproject.toml: what the gate runs, and what counts as slower."""

from __future__ import annotations

import dataclasses
import fnmatch
import sys
from pathlib import Path
from typing import Any

from fastact.benchmark.results import UnusableError

__all__ = ["Limits", "Settings", "read_settings", "settings_from"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is slower, as factors on time, and what is a changed number of instructions."""

    threshold: float = 1.05
    tolerance: float = 1.02
    instructions: float = 1.01


@dataclasses.dataclass(frozen=True)
class Settings:
    """``[tool.fastact.gate]`` in head's pyproject.toml."""

    command: str = "pytest bench"
    #: pip's arguments, beside pytest and pytest-benchmark.
    install: str = "-e ."
    limits: Limits = Limits()
    #: Patterns of names, such as ``*-1000000-*``, with limits of their own; the last that fits.
    cases: tuple[tuple[str, Limits], ...] = ()
    error_rate: float = 0.01
    #: "auto": the CPU's counter, else Valgrind, else none.
    counter: str = "auto"
    passes: int = 40
    #: For passes; a pass that has begun is finished.
    minutes: float = 4.0

    def limits_of(self, case: str) -> Limits:
        fitting = [limits for pattern, limits in self.cases if fnmatch.fnmatchcase(case, pattern)]
        return fitting[-1] if fitting else self.limits


def read_settings(directory: Path) -> Settings:
    """From a project's pyproject.toml, which need not have any."""
    path = directory / "pyproject.toml"
    if not path.exists():
        return Settings()
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
        return settings_from(project.get("tool", {}).get("fastact", {}).get("gate", {}))
    except (tomllib.TOMLDecodeError, TypeError, ValueError, AttributeError) as error:
        raise UnusableError(f"{path}: [tool.fastact.gate]: {error}") from None


def settings_from(table: dict[str, Any]) -> Settings:
    """Of a table as it is in pyproject.toml."""
    table = {name.replace("-", "_"): value for name, value in table.items()}
    limits = _limits(table, Limits())
    cases = tuple(
        (pattern, _limits(own, limits, f"cases.{pattern}: "))
        for pattern, own in table.pop("cases", {}).items()
    )
    named = {field.name: field for field in dataclasses.fields(Settings)}
    for name, value in table.items():
        if name not in named or name == "limits":
            raise ValueError(f"there is no setting {name.replace('_', '-')!r}")
        default = getattr(Settings, name)
        if not isinstance(value, type(default)) and not (
            isinstance(default, float) and type(value) is int
        ):
            raise TypeError(f"{name.replace('_', '-')} must be like {default!r}, got {value!r}")
    chosen = Settings(limits=limits, cases=cases, **table)
    if not 0 < chosen.error_rate < 1:
        raise ValueError(f"error-rate must be between 0 and 1, got {chosen.error_rate}")
    if chosen.counter not in ("auto", "hardware", "valgrind", "none"):
        raise ValueError(f"counter must be auto, hardware, valgrind or none: {chosen.counter!r}")
    return chosen


def _limits(table: dict[str, Any], default: Limits, where: str = "") -> Limits:
    given = {
        field.name: float(table.pop(field.name))
        for field in dataclasses.fields(Limits)
        if field.name in table
    }
    if where and table:
        raise ValueError(f"{where}there is no setting {next(iter(table))!r}")
    limits = dataclasses.replace(default, **given)
    if not 1 <= limits.tolerance < limits.threshold or not limits.instructions > 1:
        raise ValueError(
            f"{where}1 <= tolerance < threshold and 1 < instructions are needed, got {limits}"
        )
    return limits
