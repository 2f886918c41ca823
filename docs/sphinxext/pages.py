"""Pages of reStructuredText from parts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

__all__ = ["code", "page", "raw", "section", "table", "write"]


def page(title: str, *parts: str) -> str:
    return _titled(title, "=", parts)


def section(title: str, *parts: str) -> str:
    """Nothing if there is nothing in it."""
    return _titled(title, "-", parts) if any(parts) else ""


def _titled(title: str, line: str, parts: Sequence[str]) -> str:
    return "\n\n".join(filter(None, [f"{title}\n{line * len(title)}", *parts])) + "\n"


def code(text: str, language: str = "python") -> str:
    return f".. code-block:: {language}\n\n{textwrap.indent(text, '   ')}"


def raw(text: str) -> str:
    return f".. raw:: html\n\n   {text}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are single lines."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (titles, *rows):
        first, *others = row
        lines += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in others)]
    return "\n".join(lines)


def write(folder: Path, pages: dict[str, str]) -> None:
    """All pages of a folder; what has not changed keeps its time, so it is not read again."""
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.rst"):
        if file.name not in pages:
            file.unlink()
    for name, text in pages.items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
