"""A trial of the gate as Markdown: for a terminal, a CI's summary and a pull request's comment.

The picture is text, which is shown wherever Markdown is, also in a comment that a workflow without
any rights to store a file has to make do with.
"""

from __future__ import annotations

import math
import re

from fastact.benchmark.table import duration, markdown_table
from fastact.benchmark.timing import Estimate
from fastact.benchmark.trial import Judgement, Trial, judge

__all__ = ["MARK", "markdown"]

#: Begins a comment, so that the next run finds it and replaces it.
MARK = "<!-- fastact gate -->"
#: Characters of the picture's scale on each side of 1.
WING = 20
#: Cases that are listed at most under a heading: a comment may have 65 536 characters.
LISTED = 60


def markdown(trial: Trial) -> str:
    judgements = judge(trial)
    by_verdict: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        by_verdict.setdefault(judgement.verdict, []).append(judgement)
    parts = [MARK, f"## Performance: {_summary(by_verdict)}"]
    if trial.packages:
        listed = ", ".join(_code(f"{k} {a} / {b}") for k, (a, b) in trial.packages.items())
        parts.append(
            f"Base and head have different versions installed ({listed}): a difference may be "
            "theirs."
        )
    changed = [j for j in judgements if j.verdict not in ("unchanged", "unclear")]
    if changed:
        parts += [_table(changed, trial), _picture(changed)]
    for verdict in ("unclear", "unchanged"):
        listed_here = by_verdict.get(verdict, [])
        if listed_here:
            summary = f"<summary>{verdict.capitalize()} ({len(listed_here)})</summary>"
            parts.append(f"<details>{summary}\n\n{_table(listed_here, trial)}\n\n</details>")
    for title, names in (("New", trial.added), ("Gone", trial.gone)):
        if names:
            parts.append(f"{title}: {', '.join(map(_code, names[:LISTED]))}.")
    if trial.excused:
        reasons = [f"- {_code(n)}: {_code(why)}" for n, why in trial.excused.items()]
        parts.append("Not measured:\n\n" + "\n".join(reasons[:LISTED]))
    parts += [_how_sure(trial, judgements), _repeat(trial)]
    return "\n\n".join(parts) + "\n"


def _summary(by_verdict: dict[str, list[Judgement]]) -> str:
    order = [
        "slower",
        "slower by time alone",
        "more instructions",
        "faster",
        "unchanged",
        "unclear",
    ]
    counts = [f"{len(by_verdict[v])} {v}" for v in order if v in by_verdict]
    return ", ".join(
        counts if any(v.startswith("slower") for v in by_verdict) else ["none slower", *counts]
    )


def _table(judgements: list[Judgement], trial: Trial) -> str:
    counted = trial.counter != "none"
    rows = [["case", "verdict", "time, head / base", "evidence", "base", "passes"]]
    if counted:
        rows[0].insert(3, "instructions")
    for j in judgements[:LISTED]:
        row = [
            _code(j.case.name),
            j.verdict,
            _ratio(j.time) if j.case.logarithms else "",
            f"{_odds(j.evidence)} of {_odds(j.needed)}" if j.evidence > 1 else "",
            duration(sorted(j.case.seconds)[len(j.case.seconds) // 2]) if j.case.seconds else "",
            str(len(j.case.logarithms)),
        ]
        if counted:
            ratio = j.case.instruction_ratio
            row.insert(3, "" if ratio is None else f"{ratio:.4f}")
        rows.append(row)
    more = len(judgements) - LISTED
    return markdown_table(rows) + (f"\n\nand {more} more" if more > 0 else "")


def _ratio(estimate: Estimate) -> str:
    if math.isinf(estimate.high):  # too few passes for an interval
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"


def _odds(fortune: float) -> str:
    return f"{fortune:.0f}" if fortune < 1e6 else f"{fortune:.0e}"


def _picture(judgements: list[Judgement]) -> str:
    """Intervals of head's time divided by base's, on one scale."""
    shown = [j for j in judgements[:LISTED] if math.isfinite(j.time.high)]
    if not shown:
        return ""
    widest = max(max(abs(math.log(j.time.low)), abs(math.log(j.time.high))) for j in shown)
    widest = max(widest, math.log(1.05))
    names = [j.case.name for j in shown]
    width = max(map(len, names))

    def place(ratio: float) -> int:
        return WING + round(math.log(ratio) / widest * WING)

    low, high = f"{math.exp(-widest):.2f}", f"{math.exp(widest):.2f}"
    lines = [" " * width + "  " + low + "1.00".center(2 * WING + 1 - len(low) - len(high)) + high]
    for j, name in zip(shown, names, strict=True):
        cells = ["│" if i == WING else " " for i in range(2 * WING + 1)]
        for i in range(place(j.time.low), place(j.time.high) + 1):
            cells[i] = "─"
        cells[place(j.time.value)] = "●"
        lines.append(f"{name.ljust(width)}  {''.join(cells)}".rstrip())
    return "```text\n" + "\n".join(lines).replace("```", "'''") + "\n```"


def _how_sure(trial: Trial, judgements: list[Judgement]) -> str:
    limits = trial.settings.limits
    most = max((len(j.case.logarithms) for j in judgements), default=0)
    counted = {
        "none": "Instructions were not counted: this machine has no counter for them.",
        "hardware": "Instructions were counted by the CPU, in one thread and user mode.",
        "valgrind": "Instructions were counted by Valgrind, in one thread, with kernels for AVX2.",
    }[trial.counter]
    return (
        f"Measured in turns, in {most} pairs of processes and {trial.seconds / 60:.1f} minutes. "
        f"*Slower* means that time grew by more than {limits.tolerance - 1:.1%}"
        f"{' (or a limit of the case)' if trial.settings.cases else ''}; the probability of one "
        f"wrong such verdict or more is at most {trial.settings.error_rate:.1%} in a run. "
        "Evidence: if a case were not slower, such luck would be had once in so many runs. "
        f"*Unchanged*: not slower by {limits.threshold - 1:.1%}, wrong once in 100. *Unclear*: "
        f"neither was proven in the time there was. Intervals hold with 95 % each. {counted}"
    )


def _repeat(trial: Trial) -> str:
    command = f"fastact compare --base {trial.base[:12]} --head {trial.head[:12]} -- "
    return f"To repeat it: {_code(command + trial.settings.command)}"


def _code(text: str) -> str:
    """Without what Markdown or HTML would make of it: names come from anybody's pull request."""
    return "`" + re.sub(r"[`\s]+", " ", text).strip().replace("|", r"\|") + "`"
