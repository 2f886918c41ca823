"""Measurements that are kept beside the pages: accuracy, speed, and what a function costs."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

__all__ = ["accuracy", "costs", "performance"]

DOCS = Path(__file__).parents[1]


@functools.cache
def costs() -> dict[str, Any]:
    """What ``tools/costs.py`` wrote: the machine, and times as multiples of relu's."""
    found: dict[str, Any] = json.loads((DOCS / "costs.json").read_text(encoding="utf-8"))
    return found


@functools.cache
def performance() -> list[dict[str, Any]]:
    """What ``tools/performance.py`` wrote, for each machine: its facts, and ratios of times."""
    files = sorted(DOCS.glob("performance-*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


@functools.cache
def accuracy() -> dict[str, dict[str, str]]:
    """By function: the cells of its rows in the tables of accuracy.md, by their titles.

    Those of a section begin with its title.
    """
    found: dict[str, dict[str, str]] = {}
    titles: list[str] = []
    heading = ""
    for line in (DOCS / "accuracy.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            heading = f"{line.removeprefix('## ')}: "
        if not line.startswith("|"):
            titles = []
        elif not titles:
            titles = [heading + cell for cell in cells]
        elif cells[0].startswith("`"):
            row = found.setdefault(cells[0].strip("`"), {})
            row.update(zip(titles[1:], cells[1:], strict=True))
    return found
