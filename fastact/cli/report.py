"""Show a file that ``fastact bench --json`` wrote: its last run, and how it came to that."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fastact.cli.options import add_outputs, check_outputs, console, write_outputs

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the JSON file")
    add_outputs(parser)


def run(options: argparse.Namespace) -> int:
    try:
        from fastact.benchmark.results import read_runs
        from fastact.benchmark.table import print_run

        check_outputs(options)
        runs = read_runs(options.file)
        print_run(runs[-1], console())
        write_outputs(options, runs)
    except (ValueError, LookupError) as error:
        print(f"fastact report: {error.args[0]}", file=sys.stderr)
        return 2
    return 0
