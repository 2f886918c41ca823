"""Show a file that ``fastact bench``, ``fastact compare`` or pytest-benchmark wrote.

Of ``fastact bench --json`` its last run, and with --html how cases went from run to run and where
they changed; of ``fastact compare --json`` the verdicts, as Markdown; of ``pytest --benchmark-
json`` the times, and ratios to the baseline of each group.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fastact.cli.options import add_outputs, check_outputs, console, write_outputs

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the JSON file")
    parser.add_argument(
        "--baseline",
        default="numpy",
        metavar="NAME",
        help="of pytest-benchmark's files: the parameter that others are compared with (numpy)",
    )
    add_outputs(parser)


def run(options: argparse.Namespace) -> int:
    from fastact.benchmark import stored, trial
    from fastact.benchmark.results import read_json, runs_from_file

    try:
        content = read_json(options.file)
        if trial.is_trial(content) or stored.is_pytest_benchmark(content):
            if options.plot or options.html:
                raise ValueError(
                    f"--plot and --html are for files of fastact bench: {options.file}"
                )
            if trial.is_trial(content):
                from fastact.benchmark import comment

                print(comment.markdown(trial.from_json(content, options.file)), end="")
            else:
                print(stored.listing(content, options.file, options.baseline))
            return 0
        check_outputs(options)
        runs = runs_from_file(content, options.file)
        from fastact.benchmark.table import print_run

        print_run(runs[-1], console())
        write_outputs(options, runs)
    except (ValueError, LookupError) as error:
        print(f"fastact report: {error.args[0]}", file=sys.stderr)
        return 2
    return 0
