"""The command line: ``fastact demo``, ``fastact info``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import fastact
from fastact.cli import demo, info

__all__ = ["main"]

_COMMANDS = {"demo": demo, "info": info}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 if it succeeded, 2 if it could not run."""
    parser = argparse.ArgumentParser(
        prog="fastact", description="Compiled activation functions for NumPy arrays."
    )
    parser.add_argument("--version", action="version", version=f"fastact {fastact.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
    options = parser.parse_args(arguments)
    try:
        return _COMMANDS[options.command].run(options)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
