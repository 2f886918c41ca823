"""Find NumPy's idioms of activations in Python code, and write them with fastact.

Without --write nothing is changed: what would be is shown as a diff. Results stay the same, but for
the sign of a zero, unless --unsafe-fixes allows more; the summary says how they may differ.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastact.cli.options import comma_separated, known_name

if TYPE_CHECKING:
    from rich.console import Console

    from fastact.rewrite.files import File
    from fastact.rewrite.source import Options

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="files (.py, .ipynb), or directories"
    )
    parser.add_argument("--write", action="store_true", help="change the files")
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 if something would change"
    )
    parser.add_argument(
        "--only", type=comma_separated, metavar="FUNCTION", default=[], help="such as relu,softmax"
    )
    parser.add_argument(
        "--skip", type=comma_separated, metavar="FUNCTION", default=[], help="all but these"
    )
    level = parser.add_mutually_exclusive_group()
    level.add_argument(
        "--exact",
        action="store_true",
        help="only what gives the same bits, signs of zeros included",
    )
    level.add_argument(
        "--unsafe-fixes",
        action="store_true",
        help="also what may change results: by rounding, at NaN or infinity, in dtype",
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no diff, only the summary")


def run(options: argparse.Namespace) -> int:
    try:
        wanted = _wanted(options)
        missing = [path for path in options.paths if not path.exists()]
        if missing:
            raise ValueError(f"there is no {missing[0]}")
        from rich.console import Console
    except (ValueError, LookupError) as error:
        print(f"fastact rewrite: {error.args[0]}", file=sys.stderr)
        return 2
    from fastact.rewrite.report import print_difference, print_summary

    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    files = _rewritten(options, wanted, errors)
    for file in files:
        if file.error:
            errors.print(
                f"fastact rewrite: {file.path}: {file.error}", soft_wrap=True, markup=False
            )
        elif file.changed and not options.quiet:
            print_difference(file, console)
    readable = [file for file in files if not file.error]
    print_summary(readable, options.write, options.exact, console)
    if len(readable) < len(files):
        return 2
    return 1 if options.check and any(file.changed for file in files) else 0


def _wanted(options: argparse.Namespace) -> Options:
    try:
        from fastact.rewrite.rules import Safety, functions
        from fastact.rewrite.source import Options
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise LookupError(
            f"needs {package}, which comes with: pip install 'fastact[rewrite]'"
        ) from None
    known = functions()
    only, skip = (
        frozenset(known_name("function", name, known) for name in names)
        for names in (options.only, options.skip)
    )
    level = Safety.EXACT if options.exact else Safety.SAFE
    return Options(Safety.UNSAFE if options.unsafe_fixes else level, only, skip)


def _rewritten(options: argparse.Namespace, wanted: Options, errors: Console) -> list[File]:
    """Every file, with a progress bar on a terminal."""
    from rich.progress import track

    from fastact.rewrite.files import python_files, rewrite_file

    paths = list(python_files(options.paths))
    shown = len(paths) > 20 and errors.is_terminal
    steps = track(paths, "reading", console=errors, disable=not shown, transient=True)
    return [rewrite_file(path, wanted, options.write) for path in steps]
