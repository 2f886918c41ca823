"""Compare two benchmark files: the regression gate for continuous integration.

BASE and NEW are JSON files written by ``fastact bench`` or pytest-benchmark, or directories of
them. Prints Markdown. Exit status 0: nothing is slower; 1: something is; 2: that cannot be told.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("base", type=Path, metavar="BASE", help="how fast it was")
    parser.add_argument("new", type=Path, metavar="NEW", help="how fast it is")
    parser.add_argument(
        "--fail-above",
        type=float,
        default=1.10,
        metavar="FACTOR",
        help="how many times as long a case may take before it is a regression (1.10)",
    )
    parser.add_argument(
        "--baseline",
        default="numpy",
        metavar="NAME",
        help="whose time, measured in the same run, stands for the machine's speed (numpy)",
    )


def run(options: argparse.Namespace) -> int:
    from fastact.benchmark import gate
    from fastact.benchmark.results import UnusableError

    if not options.fail_above > 1:
        print("fastact compare: --fail-above must be more than 1", file=sys.stderr)
        return 2
    try:
        base, new = (gate.load(path, options.baseline) for path in (options.base, options.new))
        comparison = gate.compare(base, new, options.fail_above)
    except UnusableError as error:
        print(f"fastact compare: {error}", file=sys.stderr)
        return 2
    print(gate.markdown(comparison), end="")
    return comparison.status
