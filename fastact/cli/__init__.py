"""The command line: ``fastact demo``, ``bench``, ``report``, ``compare``, ``run``,
``rewrite``, ``warmup``, ``cache``, ``info``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import fastact
from fastact.cli import bench, cache, compare, demo, info, report, rewrite, run, warmup

__all__ = ["main"]

_COMMANDS = {
    "demo": demo,
    "bench": bench,
    "report": report,
    "compare": compare,
    "run": run,
    "rewrite": rewrite,
    "warmup": warmup,
    "cache": cache,
    "info": info,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 if it succeeded, 2 if it could not run."""
    parser = argparse.ArgumentParser(
        prog="fastact", description="Compiled activation functions for NumPy arrays."
    )
    parser.add_argument("--version", action="version", version=f"fastact {fastact.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        summary, _, rest = (module.__doc__ or "").partition("\n")
        command = commands.add_parser(name, help=summary, description=summary, epilog=rest)
        module.add_arguments(command)
    options = parser.parse_args(arguments)
    try:
        return _COMMANDS[options.command].run(options)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
