"""Options that several commands have, and what is done with them."""

from __future__ import annotations

import argparse
import difflib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from fastact.benchmark.results import Run

__all__ = [
    "add_outputs",
    "check_outputs",
    "comma_separated",
    "console",
    "known_name",
    "write_outputs",
]


def comma_separated(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def known_name(kind: str, name: str, known: list[str]) -> str:
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    raise ValueError(f"unknown {kind} {name!r}: {hint}")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw it (.png, .svg, .pdf; needs Matplotlib)"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="one page with all of it (needs Matplotlib)"
    )


def check_outputs(options: argparse.Namespace) -> None:
    """Raise before anything is measured, not after, if a file cannot be written."""
    for path in filter(None, (getattr(options, "json", None), options.plot, options.html)):
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: there is no directory {path.parent}")
        if path.is_dir():
            raise ValueError(f"{path} is a directory")
        try:
            tempfile.TemporaryFile(dir=path.absolute().parent).close()
        except OSError as error:
            raise ValueError(f"{path}: {path.parent} cannot be written to: {error}") from None
    if options.plot and options.plot.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--plot: {options.plot} must end in .png, .svg or .pdf")
    if options.plot or options.html:
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            raise _missing(error) from None


def write_outputs(options: argparse.Namespace, runs: list[Run]) -> None:
    from fastact.benchmark.results import write

    if options.plot:
        from fastact.benchmark import plots

        plots.save(plots.best(runs[-1]), options.plot)
    if options.html:
        from fastact.benchmark.page import page

        write(options.html, page(runs).encode())


def console() -> Console:
    try:
        from rich.console import Console
    except ImportError as error:
        raise _missing(error) from None
    return Console(highlight=False)


def _missing(error: ImportError) -> LookupError:
    package = (error.name or "").partition(".")[0]
    return LookupError(f"needs {package}, which comes with: pip install 'fastact[bench]'")
