"""The gate measures: base and head in lockstep, pass by pass, until every case is clear.

A *pass* is a pair of fresh processes, in which each case that is not clear yet is visited once. It
gives one figure for each. Memory's layout is drawn anew for every process, and it shifts a kernel's
time by some percent: so passes are what is counted (``trial``), however many rounds are in them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fastact.benchmark import lockstep
from fastact.benchmark.results import UnusableError
from fastact.benchmark.sides import Side
from fastact.benchmark.trial import Case, Trial, judge

__all__ = ["run"]

#: Counting instructions may take a quarter of the time for passes, in addition.
COUNTING = 0.25

#: For counting: one thread, and nothing that differs from process to process.
_ALONE = {
    **dict.fromkeys(
        ["FASTACT_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
        + ["MKL_NUM_THREADS"],
        "1",
    ),
    "PYTHONHASHSEED": "0",
}
#: Valgrind has no AVX-512: code that is compiled on use is compiled for a CPU with AVX2, by who
#: warms the caches up as well. Libraries with several forms of a kernel ask the CPU, which Valgrind
#: answers for.
_AVX2 = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+cx16,+cx8,+f16c,+fma,+fxsr,+lzcnt,"
    "+mmx,+movbe,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave",
}


def run(
    trial: Trial,
    sides: Sequence[Side],
    command: Sequence[str],
    plugin: Path,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Measure until every case is clear, or passes or time are at their end.

    What has been measured is in ``trial`` at any time, also where this is interrupted.
    """
    started = time.monotonic()
    calls: dict[str, int] = {}
    with lockstep.Pair(sides, command, plugin) as pair:
        _note_what_there_is(trial, pair)
        # A first visit warms up caches of compiled code, too, and is not counted as a pass.
        for name, excuse in pair.go_through(list(trial.cases)):
            if excuse:
                trial.excused[name] = excuse
                del trial.cases[name]
            else:
                calls[name] = lockstep.calls_for(pair, "base")
                lockstep.calls_for(pair, "head")
    if not trial.cases:
        raise UnusableError(f"no benchmark could be measured: {trial.excused}")
    try:
        _count(trial, sides, command, plugin, calls, report)
    except UnusableError as error:
        if trial.settings.counter != "auto":
            raise
        report(f"instructions are not known: {error}")
    if not any(case.instructions for case in trial.cases.values()):
        trial.counter = "none"
    end = time.monotonic() + 60 * trial.settings.minutes
    for number in range(1, trial.settings.passes + 1):
        unclear = [j.case.name for j in judge(trial) if not j.clear]
        trial.seconds = time.monotonic() - started
        if not unclear or time.monotonic() > end:
            break
        report(f"pass {number}: {len(unclear)} of {len(trial.cases)} cases are not clear yet")
        with lockstep.Pair(sides, command, plugin) as pair:
            for name, excuse in pair.go_through(unclear):
                if not excuse:
                    logarithm, seconds = lockstep.rounds(pair, calls[name])
                    trial.cases[name].logarithms.append(logarithm)
                    trial.cases[name].seconds.append(seconds)


def _note_what_there_is(trial: Trial, pair: lockstep.Pair) -> None:
    base, head = pair.cases("base"), pair.cases("head")
    trial.cases = {name: Case(name) for name in base if name in set(head)}
    trial.added = [name for name in head if name not in set(base)]
    trial.gone = [name for name in base if name not in set(head)]
    if not trial.cases:
        raise UnusableError(
            "base and head have no benchmark in common"
            if base or head
            else "the command runs no benchmark: no test has the fixture of pytest-benchmark"
        )
    packages = [pair.packages(side) for side in ("base", "head")]
    trial.packages = {
        name: (packages[0].get(name, "none"), packages[1].get(name, "none"))
        for name in sorted({*packages[0], *packages[1]})
        if packages[0].get(name) != packages[1].get(name)
    }
    trial.counter = pair.counter


def _count(
    trial: Trial,
    sides: Sequence[Side],
    command: Sequence[str],
    plugin: Path,
    calls: dict[str, int],
    report: Callable[[str], None],
) -> None:
    """The second measure."""
    wanted = trial.settings.counter
    if trial.counter == "hardware" and wanted in ("auto", "hardware"):
        report("counting instructions by the CPU's counter")
        with lockstep.Pair(sides, command, plugin, _ALONE) as pair:
            _count_in(trial, pair, calls)
        return
    trial.counter = "none"
    if wanted == "hardware":
        raise UnusableError("counter = hardware: this machine has none that may be used")
    valgrind = shutil.which("valgrind")
    if valgrind is None and wanted == "valgrind":
        raise UnusableError("counter = valgrind: it is not installed")
    if valgrind is None or wanted == "none":
        return
    report("counting instructions by Valgrind")
    trial.counter = "valgrind"
    variables = _ALONE | _AVX2
    with lockstep.Pair(sides, command, plugin, variables) as pair:  # compiles what has to be
        for _ in pair.go_through(list(trial.cases)):
            pass
    outputs = {side.name: str(plugin / f"callgrind-{side.name}") for side in sides}
    before = {
        name: ["env", f"FASTACT_GATE_CALLGRIND={output}", valgrind, "--tool=callgrind", "--quiet"]
        + ["--trace-children=yes", "--instr-atstart=no", f"--callgrind-out-file={output}"]
        for name, output in outputs.items()
    }
    with lockstep.Pair(sides, command, plugin, variables, before) as pair:
        _count_in(trial, pair, calls)
    for output in outputs.values():
        Path(output).unlink(missing_ok=True)


def _count_in(trial: Trial, pair: lockstep.Pair, calls: dict[str, int]) -> None:
    """Case by case, as far as the time suffices."""
    end = time.monotonic() + COUNTING * 60 * trial.settings.minutes
    for name, excuse in pair.go_through(list(trial.cases)):
        if trial.settings.minutes and time.monotonic() > end:
            break
        if not excuse and pair.counter != "none":
            counted = pair.count(calls[name])
            trial.cases[name].instructions = counted["base"], counted["head"]
