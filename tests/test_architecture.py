"""The list of rooms in ARCHITECTURE.md is complete, and imports go down it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import fastact

PACKAGE = Path(fastact.__file__).parent
DOCUMENT = PACKAGE.parent / "ARCHITECTURE.md"


def rooms(text: str) -> dict[str, int]:
    """Files of the package, with the number of the line that lists each.

    A line has names, a comma between them, and what they are for after two spaces; an indented line
    is inside the last folder above it that is indented less.
    """
    listed, folders = {}, []
    block = text.split("## The rooms")[1].split("```")[1]
    for number, line in enumerate(block.splitlines()):
        names = line.strip().split("  ")[0]
        indentation = len(line) - len(line.lstrip())
        folders = [folder for folder in folders if folder[0] < indentation]
        inside = "".join(name for _, name in folders)
        if names.endswith("/"):
            folders.append((indentation, names))
            continue
        for name in filter(None, names.split(", ")):
            listed[inside + name] = number
    return listed


def imported(tree: ast.AST, files: dict[str, int]) -> Iterator[str]:
    """Files of the package that a module imports, wherever in it."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, *parts = name.split(".")
            if package == "fastact":
                yield file_of(parts, files)


def file_of(parts: list[str], files: dict[str, int]) -> str:
    """A module's file; where a name is not a module's, that of the module that has the name."""
    path = "/".join(parts)
    for file in (f"{path}.py", f"{path}/__init__.py"):
        if file in files:
            return file
    return file_of(parts[:-1], files) if parts else "__init__.py"


def arrows_upwards(files: dict[str, int]) -> list[str]:
    """What imports something that is not below it."""
    return [
        f"{file} imports {other}"
        for file, line in files.items()
        for other in imported(ast.parse((PACKAGE / file).read_text()), files)
        if files[other] <= line and other != file
    ]


def test_every_module_is_listed_once():
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    assert set(rooms(DOCUMENT.read_text())) == files


def test_imports_go_down():
    assert arrows_upwards(rooms(DOCUMENT.read_text())) == []


def test_an_arrow_upwards_is_found():
    files = rooms(DOCUMENT.read_text())
    files["cpu/layout.py"] = -1
    assert "cpu/driver.py imports cpu/layout.py" in arrows_upwards(files)
