"""What the gate has measured, its file, and what follows from it.

For each case there is one figure of each pass: the logarithm of head's time divided by base's. Two
bets run over them (``sequential``):

- that head takes more than ``tolerance`` times as long. Cases for which that is proven are slower;
  the probability that there is a wrong one among all of them is at most ``error_rate`` in a run.
- that head takes less than ``threshold`` times as long: at 1 : ``1 / MISS_RATE`` a case is not
  slower, and is visited no more unless the other bet is gaining. So a slowdown of ``threshold`` is
  missed that often at most, and one of little less is found, too, where noise is small.

The second measure is the number of instructions, which does not depend on who else uses the
machine, and which is blind to what memory, caches and branches cost. Instructions alone never fail
a run. They say where to look: cases with more of them share half of the error rate and so are
proven slower soonest, while time alone, with instructions as they were, has a tenth of it and
needs more passes.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from fastact.benchmark import sequential
from fastact.benchmark.results import UnusableError, dump
from fastact.benchmark.settings import Limits, Settings
from fastact.benchmark.timing import Estimate

__all__ = ["Case", "Judgement", "Trial", "from_json", "is_trial", "judge", "write_trial"]

FORMAT, VERSION = "fastact-gate", 1
#: How often a slowdown of the threshold is called none, for each case.
MISS_RATE = 0.01
#: The part of the error rate for cases whose instructions are as they were.
TIME_ALONE = 0.1
#: The confidence of the intervals that are shown, each by itself.
INTERVAL_ERROR = 0.05


@dataclasses.dataclass
class Case:
    """A benchmark: a figure for each pass."""

    name: str
    #: Logarithms of head's time divided by base's.
    logarithms: list[float] = dataclasses.field(default_factory=list)
    #: Seconds of a call of base's, in each pass.
    seconds: list[float] = dataclasses.field(default_factory=list)
    #: Of a call on base and head, if they were counted.
    instructions: tuple[float, float] | None = None

    @property
    def instruction_ratio(self) -> float | None:
        if self.instructions is None or min(self.instructions) <= 0:
            return None
        return self.instructions[1] / self.instructions[0]


@dataclasses.dataclass
class Trial:
    """All that one run of the gate has found out; what is judged is computed from this."""

    base: str
    head: str
    settings: Settings
    machine: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Who counted instructions.
    counter: str = "none"
    cases: dict[str, Case] = dataclasses.field(default_factory=dict)
    #: Name -> why it was not measured.
    excused: dict[str, str] = dataclasses.field(default_factory=dict)
    added: list[str] = dataclasses.field(default_factory=list)
    gone: list[str] = dataclasses.field(default_factory=list)
    #: Package -> its versions, where base and head have different ones.
    packages: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What is known of a case.

    The verdicts are "slower", "slower by time alone", "more instructions", "faster", "unchanged"
    and "unclear"; the first two fail the run.
    """

    case: Case
    verdict: str
    #: Head's time divided by base's, with an interval.
    time: Estimate
    #: What somebody who bet on "slower" has made of 1, and what was needed.
    evidence: float
    needed: float
    #: No more passes are needed.
    clear: bool

    @property
    def fails(self) -> bool:
        return self.verdict.startswith("slower")


def judge(trial: Trial) -> list[Judgement]:
    """In the order of the cases."""
    limits = {name: trial.settings.limits_of(name) for name in trial.cases}
    fortunes = {
        name: sequential.evidence(case.logarithms, math.log(limits[name].tolerance))
        for name, case in trial.cases.items()
    }
    weights = _weights(trial, limits)
    proven = sequential.proven(fortunes, weights, trial.settings.error_rate)
    judgements = []
    for name, case in trial.cases.items():
        against = sequential.evidence(
            [-value for value in case.logarithms], -math.log(limits[name].threshold)
        )
        estimate = sequential.interval(case.logarithms, INTERVAL_ERROR)
        time = Estimate(*(math.exp(v) for v in dataclasses.astuple(estimate)))
        not_slower = against >= 1 / MISS_RATE
        more = (case.instruction_ratio or 1) > limits[name].instructions
        if name in proven:
            alone = case.instruction_ratio is not None and not more
            verdict = "slower by time alone" if alone else "slower"
        elif more:
            verdict = "more instructions"
        elif time.high < 1 / limits[name].tolerance:
            verdict = "faster"
        else:
            verdict = "unchanged" if not_slower else "unclear"
        needed = proven.get(name, 1 / (weights[name] * trial.settings.error_rate))
        clear = name in proven or (not_slower and fortunes[name] <= 1)
        judgements.append(Judgement(case, verdict, time, fortunes[name], needed, clear))
    return judgements


def _weights(trial: Trial, limits: dict[str, Limits]) -> dict[str, float]:
    """Parts of the error rate; they add up to 1 at most."""
    ratios = {name: case.instruction_ratio for name, case in trial.cases.items()}
    more = {n for n, ratio in ratios.items() if ratio and ratio > limits[n].instructions}
    unknown = {n for n, ratio in ratios.items() if ratio is None}
    same = set(ratios) - more - unknown
    parts = [(more, 0.5), (unknown, 0.5 if more or same else 1.0), (same, TIME_ALONE)]
    return {name: part / len(names) for names, part in parts for name in names}


# --- files ----------------------------------------------------------------------------------------


def write_trial(path: Path, trial: Trial) -> None:
    content = {"format": FORMAT, "version": VERSION} | dataclasses.asdict(trial)
    content["cases"] = [dataclasses.asdict(case) for case in trial.cases.values()]
    dump(path, content)


def is_trial(content: Any) -> bool:
    return isinstance(content, dict) and content.get("format") == FORMAT


def from_json(content: dict[str, Any], path: Path) -> Trial:
    if content.get("version") != VERSION:
        raise UnusableError(f"{path}: format version {content.get('version')}, not {VERSION}")
    try:
        given = dict(content["settings"])
        limits = Limits(**given.pop("limits"))
        own = tuple((pattern, Limits(**each)) for pattern, each in given.pop("cases"))
        chosen = Settings(limits=limits, cases=own, **given)
        cases = {c["name"]: _case(c) for c in content["cases"]}
        pairs = {str(k): (str(a), str(b)) for k, (a, b) in content["packages"].items()}
        return Trial(
            str(content["base"]),
            str(content["head"]),
            chosen,
            {str(k): str(v) for k, v in content["machine"].items()},
            str(content["counter"]),
            cases,
            {str(k): str(v) for k, v in content["excused"].items()},
            [str(name) for name in content["added"]],
            [str(name) for name in content["gone"]],
            pairs,
            float(content["seconds"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableError(f"{path}: damaged: {type(error).__name__}: {error}") from None


def _case(content: dict[str, Any]) -> Case:
    counted = content["instructions"]
    case = Case(
        str(content["name"]),
        [float(v) for v in content["logarithms"]],
        [float(v) for v in content["seconds"]],
        None if counted is None else (float(counted[0]), float(counted[1])),
    )
    if not all(map(math.isfinite, [*case.logarithms, *case.seconds, *(case.instructions or ())])):
        raise ValueError(f"{case.name}: figures must be finite")
    return case
