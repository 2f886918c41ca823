"""What the command prints: differences between old and new code, and a summary."""

from __future__ import annotations

import collections
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from fastact.rewrite.differences import Difference, sentences
from fastact.rewrite.files import File
from fastact.rewrite.source import Finding

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_difference", "print_summary"]

_STYLES = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}


def print_difference(file: File, console: Console) -> None:
    """The change of one file, as a unified diff, coloured on a terminal."""
    path = file.path.as_posix().removeprefix("/")
    lines = difflib.unified_diff(
        file.old.splitlines(),
        file.new.splitlines(),
        f"a/{path}",
        f"b/{path}",
        lineterm="",
    )
    for line in lines:
        style = next((style for start, style in _STYLES.items() if line.startswith(start)), "")
        console.print(Text(line, style), soft_wrap=True)


def print_summary(files: Sequence[File], written: bool, exact: bool, console: Console) -> None:
    """A line for each function, and what has not been applied and why."""
    findings = [finding for file in files for finding in file.findings]
    applied = [finding for finding in findings if finding.applied]
    hidden = [finding for finding in findings if not finding.applied]
    if findings:
        console.print(_table(findings))
    changed = sum(file.changed for file in files)
    done = "Rewrote" if written else "Would rewrite"
    console.print(
        f"{done} {_counted(len(applied), 'idiom')} in {_counted(changed, 'file')} of {len(files)}."
        if applied
        else f"Nothing to rewrite in {_counted(len(files), 'file')}."
    )
    if hidden:
        how = (
            "without --exact, or with --unsafe-fixes"
            if exact
            else "with the `--unsafe-fixes` option"
        )
        fixes = "hidden fix" if len(hidden) == 1 else "hidden fixes"
        console.print(f"{len(hidden)} {fixes} can be enabled {how}.")


def _table(findings: Sequence[Finding]) -> Table:
    table = Table("function", "applied", "hidden", "results may differ", box=None, pad_edge=False)
    functions = collections.defaultdict(list)
    for finding in findings:
        functions[finding.function].append(finding)
    for function, found in sorted(functions.items(), key=lambda item: (-len(item[1]), item[0])):
        differences = Difference(0)
        for finding in found:
            differences |= finding.differences
        applied = sum(finding.applied for finding in found)
        table.add_row(
            function,
            str(applied),
            str(len(found) - applied),
            "; ".join(sentences(differences)) or "not at all",
        )
    return table


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
