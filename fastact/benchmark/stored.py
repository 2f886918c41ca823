"""A stored baseline: are these cases slower than they were, beyond what noise explains?

Compared are ratios, the baseline's time divided by ours in the same run, so that a slower machine
does not count. Noise on a shared machine goes in one direction, and not by one factor: a neighbour
slows two codes down differently, for seconds at a time. So what is taken from a run is each side's
*floor*, the shortest of its times, each of which is a mean over a millisecond of calls, and from
several runs the lowest floor; it is reached again and again. How far the median floor is above it
is the spread. A case has regressed if its ratio fell by more than the threshold, and the spreads of
both sides do not touch.

Measured on a shared virtual machine with 2 cores, 12 cases, six runs of four passes for each side,
20 repetitions: a kernel made 16 % slower was found in 78 of 80 comparisons, and none of 480 equal
cases was called slower. The change between equal codes was 0.8 % in the median and 5.6 % in the
95th percentile; with medians of paired ratios, five runs of one pass, it was 23 %. With the third
lowest floor in place of the median one, 80 were found, and 2 equal cases called slower, which is
why it is the median one. In 10 further repetitions, made after that choice while another process
kept one core busy at times: 38 of 40, and none of 240.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastact.benchmark.results import FORMAT, Run, UnusableError, read_json, runs_from_json
from fastact.benchmark.table import duration, markdown_table, ratio_text
from fastact.benchmark.timing import Estimate

__all__ = [
    "Change",
    "Comparison",
    "Side",
    "Times",
    "compare",
    "is_pytest_benchmark",
    "listing",
    "load",
    "markdown",
]

#: What ratios depend on beside the code: where it differs, a difference is no regression.
CONDITIONS = ["CPU", "threads", "numpy"]


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds that a library took for a case in one run."""

    floor: float
    median: float

    @classmethod
    def of(cls, seconds: list[float], gap: str) -> Times:
        median = statistics.median(seconds)
        # After a pause the question is not how fast a call can be, but how fast it is.
        floor = median if gap != "none" else min(seconds)
        return cls(floor, median)


#: Stands for the baseline's times where there is none.
SECOND = Times(1.0, 1.0)


@dataclasses.dataclass
class Side:
    """What is known of one side: conditions, and for each case our and the baseline's times."""

    conditions: dict[str, str]
    times: dict[str, list[tuple[Times, Times]]]

    def estimate(self, case: str) -> Estimate:
        """The ratio, and how far the spread of the times may shift it."""
        ours, theirs = (_lowest(list(runs)) for runs in zip(*self.times[case], strict=True))
        return Estimate(theirs[0] / ours[0], theirs[0] / ours[1], theirs[1] / ours[0])


def _lowest(runs: list[Times]) -> tuple[float, float]:
    """The lowest floor, and the median floor; of a single run, the median of its times."""
    floors = sorted(run.floor for run in runs)
    return floors[0], runs[0].median if len(runs) == 1 else floors[len(floors) // 2]


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
    common = [case for case in base.times if case in new.times]
    if not common:
        raise UnusableError("the two sides have no case in common")
    changes = [Change(case, base.estimate(case), new.estimate(case)) for case in common]
    regressed = [c for c in changes if c.slower > threshold and c.new.high < c.base.low]
    improved = [c for c in changes if c.slower < 1 / threshold and c.new.low > c.base.high]
    return Comparison(
        sorted(regressed, key=lambda change: -change.slower),
        sorted(improved, key=lambda change: change.slower),
        [change for change in changes if change not in regressed and change not in improved],
        [case for case in base.times if case not in new.times],
        [case for case in new.times if case not in base.times],
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
    times: dict[str, list[tuple[Times, Times]]] = {}
    for side in sides:
        for case, runs in side.times.items():
            times.setdefault(case, []).extend(runs)
    return Side(sides[0].conditions, times)


def _sides(path: Path, baseline: str) -> Iterator[Side]:
    content = read_json(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        for run in runs_from_json(content, path):
            yield _from_run(run, path, baseline)
    elif is_pytest_benchmark(content):
        yield _from_pytest_benchmark(content, path, baseline)
    else:
        raise UnusableError(f"{path}: neither of fastact bench nor of pytest-benchmark")


def _from_run(run: Run, path: Path, baseline: str) -> Side:
    times = {
        str(result.case): [
            (
                Times.of(result.seconds["fastact"], result.case.gap),
                Times.of(result.seconds[baseline], result.case.gap),
            )
        ]
        for result in run.results
        if {"fastact", baseline} <= set(result.seconds)
    }
    if not times:
        raise UnusableError(f"{path}: {baseline} was not measured")
    return Side({key: run.machine[key] for key in CONDITIONS if key in run.machine}, times)


def is_pytest_benchmark(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("benchmarks"), list)


def _from_pytest_benchmark(content: dict[str, Any], path: Path, baseline: str) -> Side:
    try:
        found = list(_benchmarks(content, baseline))
        # Without any baseline, times are compared as they are: on equal machines only.
        paired = any(theirs for _, _, theirs in found)
        times = {
            name: [(ours, theirs or SECOND)] for name, ours, theirs in found if theirs or not paired
        }
        machine = content.get("machine_info", {})
        facts = machine.get("fastact")
        cpu = machine.get("cpu", {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableError(f"{path}: damaged: {type(error).__name__}: {error}") from None
    if not times:
        raise UnusableError(f"{path}: there is no benchmark in it")
    if facts is None:
        facts = {"CPU": str(cpu.get("brand_raw")), "threads": str(cpu.get("count"))}
    conditions = {key: facts[key] for key in CONDITIONS if key in facts}
    return Side(conditions | {"baseline": baseline if paired else "none"}, times)


def _benchmarks(
    content: dict[str, Any], baseline: str
) -> Iterator[tuple[str, Times, Times | None]]:
    """Name and times of each benchmark, and of the baseline in its group if there is one."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for benchmark in content["benchmarks"]:
        groups.setdefault(benchmark["group"] or "", []).append(benchmark)
    for group in groups.values():
        theirs = [b for b in group if baseline in (b.get("params") or {}).values()]
        for benchmark in group:
            if len(theirs) != 1:
                yield benchmark["fullname"], _times(benchmark), None
            elif benchmark is not theirs[0]:
                yield benchmark["fullname"], _times(benchmark), _times(theirs[0])


def _times(benchmark: dict[str, Any]) -> Times:
    stats = benchmark["stats"]
    floor, median = float(stats["min"]), float(stats["median"])
    if not 0 < floor <= median < math.inf:
        raise ValueError(f"{benchmark['fullname']}: times must be positive and in order")
    return Times(floor, median)


def listing(content: dict[str, Any], path: Path, baseline: str) -> str:
    """A file of pytest-benchmark's as a Markdown table."""
    side = _from_pytest_benchmark(content, path, baseline)
    paired = side.conditions["baseline"] != "none"
    rows = [["benchmark", "shortest", "median", *([f"× {baseline}"] if paired else [])]]
    for name, [(ours, theirs)] in side.times.items():
        row = [name, duration(ours.floor), duration(ours.median)]
        rows.append(row + ([f"{theirs.floor / ours.floor:.2f}"] if paired else []))
    return markdown_table(rows)


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
        "Base and new are the baseline's time divided by ours, with the spread of the runs. "
        "Something counts as slower or faster where time changed by a factor of more than "
        f"{comparison.threshold:.2f} and the spreads do not touch."
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
    return markdown_table(rows)


def _listed(conditions: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in conditions.items())
