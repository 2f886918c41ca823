"""What the gate finds, and how often it is wrong: blind, with rules that were fixed beforehand.

    python tools/gate_experiment.py run results --repetitions 20
    python tools/gate_experiment.py run results --repetitions 20 --neighbour
    python tools/gate_experiment.py count results
    python tools/gate_experiment.py summary results

A repetition compares two commits of a copy of this repository: equal ones, or one with slowdowns by
5 % or 10 % planted in 3 of 12 cases. Which ones is drawn by lot, among those that were drawn least
often before, and written to a file that the gate does not see. A planted case has its function work
on more elements, so many that a call takes 5 % or 10 % longer; ``count`` checks it by instructions.
The rules:

- A planted case is found if the gate's verdict on it is "slower" or "slower by time alone".
- A false alarm is a run that fails because of a case that was not planted.
- What the gate calls unclear is not found.

The gate has times only: instructions would tell what was planted, whatever the noise.

Finished repetitions are kept, and the same command goes on after them.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import itertools
import json
import random
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator
from pathlib import Path

from fastact.benchmark import timing
from fastact.benchmark.cases import Case
from fastact.benchmark.results import read_json
from fastact.benchmark.trial import from_json, judge

ROOT = Path(__file__).parents[1]
FUNCTIONS = ["relu-out", "leaky_relu-backward", "gelu-out"]
SIZES = [10_000, 100_000, 1_000_000, 10_000_000]
CASES = [f"{function}-float32-{n}" for n in SIZES for function in FUNCTIONS]
#: Percent.
SLOWDOWNS = [0, 5, 10]
PLANTED_CASES = 3
#: Appended to bench/conftest.py on both sides.
PLANT = """

# --- planted --------------------------------------------------------------------------------------
import dataclasses  # noqa: E402

from fastact.benchmark.cases import Case  # noqa: E402

_ELEMENTS = {elements}
PROFILES["planted"] = lambda names: [Case(*case) for case in {cases}]
_contest = timing.contest


def _planted(case, libraries):
    return _contest(dataclasses.replace(case, n=_ELEMENTS.get(str(case), case.n)), libraries)


timing.contest = _planted
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "count", "summary"):
        command = commands.add_parser(name)
        command.add_argument("directory", type=Path)
        if name == "run":
            command.add_argument("--repetitions", type=int, default=20, help="(20)")
            command.add_argument("--neighbour", action="store_true", help="burn a core at times")
            command.add_argument("--slowdowns", default="0,5,10", help="percent (0,5,10)")
            command.add_argument("--sizes", default="", help="elements; all if not given")
            command.add_argument("--minutes", type=float, default=4.0, help="for a run (4)")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    if options.command == "run":
        run(options)
    elif options.command == "count":
        count(options.directory)
    print(summary(options.directory), end="")
    return 0


# --- repetitions ----------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> None:
    copy = repository(options.directory)
    slowdowns = [int(text) for text in options.slowdowns.split(",")]
    sizes = [int(text) for text in options.sizes.split(",")] if options.sizes else SIZES
    cases = [case for case in CASES if int(case.rpartition("-")[2]) in sizes]
    # Equal commits twice as often: false alarms are rarer than misses.
    wanted = [s for s in slowdowns for _ in range(2 if s == 0 else 1)]
    kind = "neighbour" if options.neighbour else "quiet"
    for number, percent in itertools.product(range(options.repetitions), wanted):
        if percent == 0 and len(wanted) > len(slowdowns):
            names = [f"{kind}-0-{2 * number}", f"{kind}-0-{2 * number + 1}"]
        else:
            names = [f"{kind}-{percent}-{number}"]
        left = [n for n in names if not (options.directory / f"{n}.json").exists()]
        if not left:
            continue
        with neighbour() if options.neighbour else contextlib.nullcontext():
            started = time.monotonic()
            repeat(options.directory, copy, left[0], percent, cases, options.minutes)
            print(f"{left[0]}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def repository(directory: Path) -> Path:
    """A copy of this one, where commits may be made."""
    copy = directory / "repository"
    if not copy.exists():
        git(directory, "clone", "--quiet", str(ROOT), str(copy.absolute()))
    return copy


def repeat(
    directory: Path, copy: Path, name: str, percent: int, cases: list[str], minutes: float
) -> None:
    planted = draw(directory, name, cases) if percent else []
    result = directory / f"{name}.running"
    done = compare(copy, cases, planted, percent, result, minutes)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    (directory / f"{name}.planted").write_text(json.dumps(planted))
    result.rename(directory / f"{name}.json")


def draw(directory: Path, name: str, cases: list[str]) -> list[str]:
    """By lot, and each case as often as the others over the repetitions."""
    before = collections.Counter(
        case
        for file in directory.glob(f"{name.rpartition('-')[0]}-*.planted")
        for case in read_json(file)
    )
    shuffled = random.SystemRandom().sample(cases, len(cases))
    return sorted(sorted(shuffled, key=lambda case: before[case])[:PLANTED_CASES])


def compare(
    copy: Path,
    cases: list[str],
    planted: list[str],
    percent: int,
    result: Path,
    minutes: float,
    counter: str = "none",
) -> subprocess.CompletedProcess[str]:
    base = commit(copy, cases, {})
    head = commit(copy, cases, {case: elements(case, percent) for case in planted})
    command = [sys.executable, "-m", "fastact", "compare", "--base", base, "--head", head]
    command += ["--no-install", "--workspace", str((result.parent / "sides").absolute())]
    command += ["--json", str(result.absolute()), "--minutes", str(minutes)]
    command += ["--counter", counter]
    command += ["--", "pytest", "bench", "--profile", "planted", "-k", "not numpy"]
    command += ["-p", "no:hypothesispytest"]  # a second for each pass
    return subprocess.run(command, cwd=copy, capture_output=True, text=True)


def commit(copy: Path, cases: list[str], planted: dict[str, int]) -> str:
    git(copy, "checkout", "--quiet", "--force", "--detach", "origin/HEAD")
    file = copy / "bench/conftest.py"
    listed = [dataclasses.astuple(parsed(case)) for case in cases]
    file.write_text(file.read_text() + PLANT.format(elements=planted, cases=listed))
    git(copy, "commit", "--quiet", "--all", "--message", "A side")
    return git(copy, "rev-parse", "HEAD")


def parsed(case: str) -> Case:
    name, mode, dtype, n = case.split("-")
    return Case(name, mode, dtype, int(n))


def elements(case: str, percent: int) -> int:
    """With so many a call takes so much longer: a part of a call's time does not depend on them."""
    whole, empty = (shortest(dataclasses.replace(parsed(case), n=n)) for n in (parsed(case).n, 64))
    factor = 1 + percent / 100 * whole / (whole - empty)
    return round(parsed(case).n * factor / 64) * 64  # whole vectors, as there are without it


def shortest(case: Case) -> float:
    """Seconds of a call, as the gate makes it."""
    contender = timing.contest(case, ["fastact"])["fastact"]
    contender.calibrate()
    times = timeit.Timer(contender.call).repeat(100, contender.calls)
    return min(times) / contender.calls


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=experiment", "-c", "user.email=experiment@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """A process that burns a core in intervals of two seconds on average, with such pauses."""
    program = (
        "import random, time\n"
        "while True:\n"
        "    end = time.monotonic() + random.expovariate(1 / 2)\n"
        "    while time.monotonic() < end: pass\n"
        "    time.sleep(random.expovariate(1 / 2))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        yield
    finally:
        process.kill()
        process.wait()


# --- instructions ---------------------------------------------------------------------------------


def count(directory: Path) -> None:
    """Each case planted, and counted: a run of no pass."""
    copy = repository(directory)
    for percent in SLOWDOWNS[1:]:
        result = directory / f"counted-{percent}"
        done = compare(copy, CASES, CASES, percent, result, minutes=0, counter="auto")
        if done.returncode != 0:
            raise SystemExit(done.stderr)


# --- the summary ----------------------------------------------------------------------------------


def summary(directory: Path) -> str:
    lines = []
    for percent in SLOWDOWNS[1:]:
        file = directory / f"counted-{percent}"
        if file.exists():
            trial = from_json(read_json(file), file)
            ratios = {short(n): case.instruction_ratio for n, case in trial.cases.items()}
            listed = ", ".join(f"{n} {r:.4f}" for n, r in ratios.items() if r is not None)
            lines.append(f"{percent} % planted, instructions by {trial.counter}: {listed}")
    found: dict[tuple[str, str, str], list[bool]] = collections.defaultdict(list)
    alarms: dict[tuple[str, str], list[bool]] = collections.defaultdict(list)
    minutes: dict[str, list[float]] = collections.defaultdict(list)
    for file in sorted(directory.glob("*-*-*.json")):
        kind, percent_text, _ = file.stem.split("-")
        trial = from_json(read_json(file), file)
        planted = read_json(file.with_suffix(".planted"))
        failing = {short(j.case.name) for j in judge(trial) if j.fails}
        for case in planted:
            found[kind, percent_text, case].append(case in failing)
        alarms[kind, percent_text].append(bool(failing - set(planted)))
        minutes[kind].append(trial.seconds / 60)
    for (kind, percent_text), runs in sorted(alarms.items()):
        lines.append(f"{kind}, {percent_text} %: false alarms in {sum(runs)} of {len(runs)} runs")
        for case in CASES:
            hits = found.get((kind, percent_text, case))
            if hits:
                lines.append(f"    {case}: found {sum(hits)} of {len(hits)}")
    for kind, taken in minutes.items():
        lines.append(f"{kind}: {sum(taken) / len(taken):.1f} minutes a run")
    return "\n".join(lines) + "\n"


def short(test: str) -> str:
    return test.partition("[")[2].removesuffix("-fastact]")


if __name__ == "__main__":
    sys.exit(main())
