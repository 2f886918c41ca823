"""Which files there are, and what becomes of one."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

from fastact.rewrite.notebooks import code_of, rewrite_notebook
from fastact.rewrite.source import Finding, Options, rewrite_source

__all__ = ["File", "python_files", "rewrite_file"]

#: Directories that hold other people's code, or none that anybody edits.
SKIPPED = {
    "__pycache__", "__pypackages__", "_build", "build", "dist", "env", "node_modules",
    "site-packages", "venv",
}  # fmt: skip


def python_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Files of these names, and those in directories; hidden and ``SKIPPED`` directories are not
    looked into, nor are virtual environments under other names."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".")
                and name not in SKIPPED
                and not (Path(folder) / name / "pyvenv.cfg").exists()
            )
            yield from (Path(folder) / name for name in sorted(files) if _is_code(name))


def _is_code(name: str) -> bool:
    return name.endswith((".py", ".pyi", ".ipynb")) and not name.startswith(".")


@dataclasses.dataclass(frozen=True)
class File:
    """What was found in a file: its code, before and after, or why it could not be read."""

    path: Path
    old: str = ""
    new: str = ""
    findings: tuple[Finding, ...] = ()
    error: str = ""

    @property
    def changed(self) -> bool:
        return self.old != self.new


def rewrite_file(path: Path, options: Options, write: bool = False) -> File:
    """Find idioms in a file, and write the new code into it if that is wanted."""
    try:
        encoding, text = _read(path)
        notebook = path.suffix == ".ipynb"
        done = (rewrite_notebook if notebook else rewrite_source)(text, options)
        if write and done.source != text:
            _write(path, done.source.encode(encoding))
    except (OSError, SyntaxError, UnicodeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return File(path, error=reason)
    shown = code_of if notebook and done.source != text else str
    return File(path, shown(text), shown(done.source), done.findings)


def _read(path: Path) -> tuple[str, str]:
    """The encoding and the text, whose line ends stay what they are."""
    content = path.read_bytes()
    if path.suffix == ".ipynb":
        return "utf-8", content.decode()
    encoding, _ = tokenize.detect_encoding(iter(content.splitlines(keepends=True)).__next__)
    return encoding, content.decode(encoding)


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, with the file's permissions."""
    target = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(target.stat().st_mode & 0o7777)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
