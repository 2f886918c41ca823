"""The regression gate: are these cases slower than they were, beyond what noise explains?

Compared are ratios, the baseline's time divided by ours in the same run, so that a slower machine
or a busy neighbour, which both feel, does not count. Each side has one run or several. A case has
regressed if its ratio fell by more than the threshold, and the spreads of both sides do not touch.
With several runs of a side the spread is the range of their medians, which holds what a run itself
cannot see: where memory happened to be, which neighbour was there. With one, it is that run's
confidence interval.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastact.benchmark.results import FORMAT, Run, UnusableError, read_json, runs_from_json
from fastact.benchmark.table import ratio_text
from fastact.benchmark.timing import Estimate

__all__ = ["Change", "Comparison", "Side", "compare", "load", "markdown"]

#: What ratios depend on beside the code: where it differs, a difference is no regression.
CONDITIONS = ["CPU", "threads", "numpy"]


@dataclasses.dataclass
class Side:
    """What is known of one side: conditions, and for each case the ratio in each run."""

    conditions: dict[str, str]
    ratios: dict[str, list[Estimate]]

    def estimate(self, case: str) -> Estimate:
        runs = self.ratios[case]
        if len(runs) == 1:
            return runs[0]
        medians = [run.value for run in runs]
        return Estimate(statistics.median(medians), min(medians), max(medians))


@dataclasses.dataclass(frozen=True)
class Change:
    case: str
    base: Estimate
    new: Estimate

    @property
    def slower(self) -> float:
        """Time of the new side divided by time of the base, the baseline's being equal."""
        return self.base.value / self.new.value


@dataclasses.dataclass
class Comparison:
    regressed: list[Change]
    improved: list[Change]
    unchanged: list[Change]
    gone: list[str]
    added: list[str]
    #: Condition -> (base, new), where they differ.
    differing: dict[str, tuple[str, str]]
    threshold: float

    @property
    def status(self) -> int:
        """0: nothing regressed; 1: something did; 2: that cannot be told."""
        if self.differing and self.regressed:
            return 2
        return 1 if self.regressed else 0


def compare(base: Side, new: Side, threshold: float) -> Comparison:
    common = [case for case in base.ratios if case in new.ratios]
    if not common:
        raise UnusableError("the two sides have no case in common")
    changes = [Change(case, base.estimate(case), new.estimate(case)) for case in common]
    regressed = [c for c in changes if c.slower > threshold and c.new.high < c.base.low]
    improved = [c for c in changes if c.slower < 1 / threshold and c.new.low > c.base.high]
    return Comparison(
        sorted(regressed, key=lambda change: -change.slower),
        sorted(improved, key=lambda change: change.slower),
        [change for change in changes if change not in regressed and change not in improved],
        [case for case in base.ratios if case not in new.ratios],
        [case for case in new.ratios if case not in base.ratios],
        {
            key: (base.conditions[key], new.conditions[key])
            for key in base.conditions
            if key in new.conditions and base.conditions[key] != new.conditions[key]
        },
        threshold,
    )


# --- files ----------------------------------------------------------------------------------------


def load(path: Path, baseline: str = "numpy") -> Side:
    """A file, or the JSON files in a directory, by ``fastact bench`` or pytest-benchmark."""
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise UnusableError(f"{path}: no JSON files in this directory")
    else:
        files = [path]
    sides = [side for file in files for side in _sides(file, baseline)]
    for side in sides:
        if side.conditions != sides[0].conditions:
            raise UnusableError(
                f"{path}: its runs were not made under equal conditions: "
                f"{_listed(sides[0].conditions)}; {_listed(side.conditions)}"
            )
    ratios: dict[str, list[Estimate]] = {}
    for side in sides:
        for case, estimates in side.ratios.items():
            ratios.setdefault(case, []).extend(estimates)
    return Side(sides[0].conditions, ratios)


def _sides(path: Path, baseline: str) -> Iterator[Side]:
    content = read_json(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        for run in runs_from_json(content, path):
            yield _from_run(run, path, baseline)
    elif isinstance(content, dict) and isinstance(content.get("benchmarks"), list):
        yield _from_pytest_benchmark(content, path, baseline)
    else:
        raise UnusableError(f"{path}: neither of fastact bench nor of pytest-benchmark")


def _from_run(run: Run, path: Path, baseline: str) -> Side:
    ratios = {
        str(result.case): [result.ratio(baseline)]
        for result in run.results
        if baseline in result.seconds
    }
    if not ratios:
        raise UnusableError(f"{path}: {baseline} was not measured")
    return Side({key: run.machine[key] for key in CONDITIONS if key in run.machine}, ratios)


def _from_pytest_benchmark(content: dict[str, Any], path: Path, baseline: str) -> Side:
    try:
        ratios = {
            case: [estimate]
            for group in _groups(content["benchmarks"])
            for case, estimate in _group_ratios(group, baseline)
        }
        machine = content.get("machine_info", {})
        facts = machine.get("fastact")
        cpu = machine.get("cpu", {})
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise UnusableError(f"{path}: damaged: {type(error).__name__}: {error}") from None
    if not ratios:
        raise UnusableError(
            f"{path}: no benchmark is in a group with one of the baseline {baseline!r}; "
            "--baseline names another, and the guide to regression gates shows how to group"
        )
    if facts is None:
        facts = {"CPU": str(cpu.get("brand_raw")), "threads": str(cpu.get("count"))}
    return Side({key: facts[key] for key in CONDITIONS if key in facts}, ratios)


def _groups(benchmarks: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for benchmark in benchmarks:
        groups.setdefault(benchmark["group"] or "", []).append(benchmark)
    return list(groups.values())


def _group_ratios(group: list[dict[str, Any]], baseline: str) -> Iterator[tuple[str, Estimate]]:
    """Each benchmark of a group beside the baseline's."""
    for benchmark in group:
        paired = benchmark["extra_info"].get(f"ratio_to_{baseline}")
        if paired:
            # Measured in turns, which two benchmarks one after the other are not.
            yield benchmark["group"], Estimate(*map(float, paired))
    if any(f"ratio_to_{baseline}" in b["extra_info"] for b in group):
        return
    theirs = [b for b in group if baseline in _parameters(b)]
    if len(theirs) != 1:
        return
    base = theirs[0]["stats"]
    for benchmark in group:
        if benchmark is not theirs[0]:
            stats = benchmark["stats"]
            yield (
                benchmark["fullname"],
                Estimate(
                    base["median"] / stats["median"],
                    base["q1"] / stats["q3"],
                    base["q3"] / stats["q1"],
                ),
            )


def _parameters(benchmark: dict[str, Any]) -> list[Any]:
    """Values of the test's parameters, and the parts of its name."""
    values = [v for v in (benchmark.get("params") or {}).values() if isinstance(v, str)]
    return values + benchmark["name"].partition("[")[0].split("_")


# --- the report -----------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """For a terminal and for a CI summary alike."""
    parts = [f"## Performance: {_verdict(comparison)}"]
    if comparison.differing:
        listed = "; ".join(f"{k}: {a} / {b}" for k, (a, b) in comparison.differing.items())
        parts.append(
            f"Base and new were measured under different conditions ({listed}), so a difference "
            "may be theirs. Measure both sides in one job to tell."
        )
    for title, changes in (
        ("Slower", comparison.regressed),
        ("Faster", comparison.improved),
        ("Unchanged", comparison.unchanged),
    ):
        if changes:
            table = _table(changes)
            if title == "Unchanged":
                summary = f"<summary>Unchanged ({len(changes)})</summary>"
                parts.append(f"<details>{summary}\n\n{table}\n\n</details>")
            else:
                parts.append(f"### {title}\n\n{table}")
    for title, cases in (("New", comparison.added), ("Gone", comparison.gone)):
        if cases:
            parts.append(f"{title}: {', '.join(cases)}.")
    parts.append(
        "Figures are the baseline's time divided by ours, with the range of the runs or, of a "
        "single run, its 95 % interval. Something counts as slower or faster where the change "
        f"exceeds {comparison.threshold:.2f} and the ranges do not touch."
    )
    return "\n\n".join(parts) + "\n"


def _verdict(comparison: Comparison) -> str:
    counts = f"{len(comparison.improved)} faster, {len(comparison.unchanged)} unchanged"
    if comparison.status == 2:
        return f"{len(comparison.regressed)} differ, but so do the conditions; {counts}"
    return f"{len(comparison.regressed)} slower, {counts}"


def _table(changes: list[Change]) -> str:
    rows = [["case", "base", "new", "time, new / base"]]
    rows += [[c.case, ratio_text(c.base), ratio_text(c.new), f"{c.slower:.2f}"] for c in changes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = (
        "|"
        + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
        + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])


def _listed(conditions: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in conditions.items())
