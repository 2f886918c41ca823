"""Is head slower than base? The regression gate for continuous integration.

With --base, two commits are checked out and measured in turns: ``fastact compare --base main`` for
the working tree beside main, ``fastact compare --base v1 --head v2 -- pytest bench -k relu`` for
two commits and benchmarks of one's choice. The command is anything that runs pytest with pytest-
benchmark; by default it is that of [tool.fastact.gate] in pyproject.toml, else ``pytest bench``.
Without --base, BASE and NEW are JSON files by ``fastact bench`` or pytest-benchmark, or
directories of them. Prints Markdown. Exit status 0: nothing is slower; 1: something is; 2: that
cannot be told.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastact.benchmark.settings import Settings

__all__ = ["add_arguments", "run"]

COUNTERS = ["auto", "hardware", "valgrind", "none"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="BASE NEW | -- COMMAND",
        help="two files or directories, or with --base what to run",
    )
    turns = parser.add_argument_group("two commits, measured in turns")
    turns.add_argument("--base", metavar="REF", help="the commit to compare with")
    turns.add_argument(
        "--head", metavar="REF", help="the commit in question (the working tree's tracked files)"
    )
    turns.add_argument(
        "--no-install",
        action="store_true",
        help="run both in this environment, each with its checkout before what is installed: for "
        "projects of Python modules only",
    )
    turns.add_argument(
        "--minutes", type=float, metavar="N", help="no pass after so long, clear or not (4)"
    )
    turns.add_argument(
        "--counter",
        choices=COUNTERS,
        help="who counts instructions: auto is the CPU, else Valgrind, else nobody (auto)",
    )
    turns.add_argument(
        "--workspace", type=Path, metavar="DIR", help="checkouts and environments (a cache)"
    )
    turns.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    files = parser.add_argument_group("two files")
    files.add_argument(
        "--fail-above",
        type=float,
        default=1.10,
        metavar="FACTOR",
        help="how many times as long a case may take before it is a regression (1.10)",
    )
    files.add_argument(
        "--baseline",
        default="numpy",
        metavar="NAME",
        help="whose time, measured in the same run, stands for the machine's speed (numpy)",
    )


def run(options: argparse.Namespace) -> int:
    from fastact.benchmark.results import UnusableError

    try:
        return _compare_files(options) if options.base is None else _compare_commits(options)
    except UnusableError as error:
        print(f"fastact compare: {error}", file=sys.stderr)
        return 2


def _compare_files(options: argparse.Namespace) -> int:
    from fastact.benchmark import stored
    from fastact.benchmark.results import UnusableError

    if len(options.arguments) != 2:
        raise UnusableError("needs two files, or --base REF for two commits")
    if not options.fail_above > 1:
        raise UnusableError("--fail-above must be more than 1")
    base, new = (stored.load(Path(path), options.baseline) for path in options.arguments)
    comparison = stored.compare(base, new, options.fail_above)
    print(stored.markdown(comparison), end="")
    return comparison.status


def _compare_commits(options: argparse.Namespace) -> int:
    from fastact.benchmark import comment, gate, lockstep, sides
    from fastact.benchmark.results import machine_facts
    from fastact.benchmark.settings import read_settings
    from fastact.benchmark.trial import Trial, judge, write_trial

    repository = sides.repository()
    workspace = options.workspace or sides.default_workspace(repository)
    with sides.locked(workspace):
        commits = sides.commits(repository, options.base, options.head)
        both = [
            sides.checkout(repository, workspace, name, commit)
            for name, commit in zip(("base", "head"), commits, strict=True)
        ]
        settings = _settings(read_settings(both[1].directory), options)
        if not options.no_install:
            versions = sides.install(both[0], workspace, settings.install)
            sides.install(both[1], workspace, settings.install, constraints=versions)
        trial = Trial(*commits, settings, machine_facts())
        command = shlex.split(settings.command)
        try:
            gate.run(trial, both, command, lockstep.place_plugin(workspace), _report)
        finally:
            if options.json:
                write_trial(options.json, trial)
    print(comment.markdown(trial), end="")
    return 1 if any(judgement.fails for judgement in judge(trial)) else 0


def _settings(settings: Settings, options: argparse.Namespace) -> Settings:
    if options.arguments:
        settings = dataclasses.replace(settings, command=shlex.join(options.arguments))
    if options.minutes is not None:
        settings = dataclasses.replace(settings, minutes=options.minutes)
    if options.counter is not None:
        settings = dataclasses.replace(settings, counter=options.counter)
    return settings


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
