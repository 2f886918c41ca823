"""The gate: two commits measured in turns, what is judged slower, and what people read of it.

Times here are of a clock that benchmarks set forward themselves.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import random
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from fastact.benchmark import comment, lockstep, sequential, side, sides, trial
from fastact.benchmark.results import UnusableError
from fastact.benchmark.settings import Limits, Settings, read_settings, settings_from
from fastact.benchmark.side import counters
from fastact.benchmark.trial import Case, Trial, judge
from fastact.cli import main

# --- the test that may stop at any time -----------------------------------------------------------


@pytest.mark.parametrize("error", [0.05, 0.01])
def test_luck_is_as_rare_as_stated_however_often_one_looks(error):
    rng = random.Random(0)
    lucky = 0
    for _ in range(1000):
        # On both sides of 0 equally often, with a few very large values on one.
        series = [rng.choice([-0.01, 0.01]) * rng.choice([1, 1, 1, 100]) for _ in range(60)]
        lucky += any(sequential.evidence(series[:k], 0) >= 1 / error for k in range(1, 61))
    assert lucky / 1000 <= error


def test_what_is_always_above_is_proven_soon():
    needed = 43 / 0.01
    passes = next(k for k in range(100) if sequential.evidence([0.05] * k, 0.02) >= needed)
    assert passes <= 16
    assert sequential.evidence([0.05] * 100 + [-1.0] * 20, 0.02) >= needed


def test_interval_holds_the_median_at_all_times():
    rng = random.Random(1)
    missed = 0
    for _ in range(300):
        series = [rng.gauss(0.3, 1) for _ in range(40)]
        intervals = [sequential.interval(series[:k], 0.05) for k in range(1, 41, 3)]
        assert all(i.low <= i.value <= i.high for i in intervals)
        missed += any(not i.low <= 0.3 <= i.high for i in intervals)
    assert math.isinf(intervals[0].high) and intervals[-1].high - intervals[-1].low < 2
    assert missed / 300 <= 0.05


def test_errors_are_shared_among_all_cases():
    equal = dict.fromkeys("abcd", 0.25)
    assert set(sequential.proven({"a": 399, "b": 50, "c": 1, "d": 0}, equal, 0.01)) == set()
    # After one of four is proven, three are left.
    proven = sequential.proven({"a": 400, "b": 300, "c": 199, "d": 0}, equal, 0.01)
    assert proven == {"a": 400, "b": 300}
    weighted = sequential.proven({"a": 1000, "b": 150}, {"a": 0.1, "b": 0.9}, 0.01)
    assert set(weighted) == {"a", "b"}
    assert set(sequential.proven({"a": 1000, "b": 99}, {"a": 0.1, "b": 0.9}, 0.01)) == {"a"}


# --- verdicts -------------------------------------------------------------------------------------


def trial_of(settings: Settings | None = None, **cases: tuple[list[float], float | None]) -> Trial:
    """Name -> head's times divided by base's, and head's instructions divided by base's."""
    found = Trial("a" * 40, "b" * 40, settings or Settings(), counter="hardware")
    for name, (ratios, instructions) in cases.items():
        counted = None if instructions is None else (1000.0, 1000 * instructions)
        logarithms = [math.log(ratio) for ratio in ratios]
        found.cases[name] = Case(name, logarithms, [1e-6] * len(ratios), counted)
    return found


SAME = [1.002, 0.998] * 6


@pytest.mark.parametrize(
    ("ratios", "instructions", "verdict", "clear"),
    [
        (SAME, 1.0, "unchanged", True),
        (SAME, None, "unchanged", True),
        (SAME, 1.06, "more instructions", True),
        ([1.05] * 12, None, "slower", True),
        ([1.05] * 12, 1.05, "slower", True),
        # As clear, but for instructions being as they were: that takes more passes.
        ([1.05] * 12, 1.0, "unclear", False),
        ([1.05] * 16, 1.0, "slower by time alone", True),
        # Less than the threshold of 1.05 for certain, but it may be more than 1.02: go on.
        ([1.045] * 9, None, "unchanged", False),
        ([1.045] * 12, None, "slower", True),
        ([1.05] * 3, 1.05, "more instructions", False),
        ([1.05] * 3, None, "unclear", False),
        ([0.9] * 14, 0.9, "faster", True),
        # A neighbour in some of the passes is neither here nor there.
        ([*SAME, *SAME, 1.6, 1.7, 0.6], 1.0, "unchanged", True),
        ([1.1] * 16 + [0.7], 1.1, "slower", True),
    ],
)
def test_verdict(ratios, instructions, verdict, clear):
    same_instructions = None if instructions is None else 1.0
    found = trial_of(case=(ratios, instructions), other=(SAME, same_instructions))
    judgement, other = judge(found)
    assert (judgement.verdict, judgement.clear) == (verdict, clear)
    assert other.verdict == "unchanged"
    assert judgement.fails == verdict.startswith("slower")
    text = comment.markdown(found)
    assert f"1 {verdict}" in text or verdict == "unchanged"
    assert ("none slower" in text) == (not judgement.fails)


def test_equal_code_hardly_ever_fails():
    rng = random.Random(2)
    for _ in range(50):
        noisy = {
            f"case{i}": ([rng.lognormvariate(0, 0.1) for _ in range(40)], None) for i in range(43)
        }
        assert not any(judgement.fails for judgement in judge(trial_of(**noisy)))


def test_limits_of_a_case():
    settings = settings_from(
        {"threshold": 1.2, "tolerance": 1.1, "cases": {"*[[]big*": {"tolerance": 1.01}}}
    )
    assert settings.limits_of("a[small]") == Limits(1.2, 1.1)
    assert settings.limits_of("a[big]") == Limits(1.2, 1.01)
    found = trial_of(settings, **{"a[big]": ([1.05] * 14, None), "a[small]": ([1.05] * 14, None)})
    assert [judgement.fails for judgement in judge(found)] == [True, False]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"treshold": 1.1}, "there is no setting 'treshold'"),
        ({"threshold": 1.01}, "tolerance < threshold"),
        ({"cases": {"a": {"factor": 2}}}, "cases.a: there is no setting 'factor'"),
        ({"command": 3}, "command must be like 'pytest bench', got 3"),
        ({"error-rate": 1.5}, "error-rate must be between 0 and 1"),
        ({"counter": "abacus"}, "counter must be auto, hardware, valgrind or none"),
    ],
)
def test_settings_say_what_is_wrong(table, message):
    with pytest.raises((ValueError, TypeError), match=message.replace("[", r"\[")):
        settings_from(table)


def test_damaged_settings_are_named(tmp_path):
    assert read_settings(tmp_path) == Settings()
    (tmp_path / "pyproject.toml").write_text("[tool.fastact.gate]\nminutes = 'five'\n")
    with pytest.raises(UnusableError, match=r"pyproject.toml: \[tool.fastact.gate\]: minutes must"):
        read_settings(tmp_path)


# --- what people read -----------------------------------------------------------------------------


def test_comment_has_what_changed_a_picture_and_how_to_repeat_it():
    found = trial_of(slow=([1.1] * 16, 1.1), fast=([0.8] * 16, 0.8), same=(SAME, 1.0))
    text = comment.markdown(found)
    assert text.startswith(comment.MARK), "by which it is found and replaced"
    assert "## Performance: 1 slower, 1 faster, 1 unchanged" in text
    picture = text.split("```")[1]
    slow, fast = (
        next(line for line in picture.splitlines() if line.startswith(n)) for n in ("slow", "fast")
    )
    assert fast.index("●") < slow.index("●")
    assert "`fastact compare --base aaaaaaaaaaaa --head bbbbbbbbbbbb -- pytest bench`" in text
    assert "at most 1.0% in a run" in text


def test_names_from_anybody_are_only_names():
    name = "x`](http://a) | <img src=a> @somebody\n# title"
    text = comment.markdown(trial_of(**{name: ([1.1] * 16, 1.1)}))
    outside = "".join(text.split("```")[::2])
    table = [line for line in outside.splitlines() if "img" in line]
    assert len(table) == 1
    assert table[0].startswith("| `x ](http://a) \\| <img src=a> @somebody # title` ")


def test_trial_is_the_same_after_its_file(tmp_path, capsys):
    settings = settings_from({"cases": {"a*": {"threshold": 1.5}}})
    found = trial_of(settings, slow=([1.1] * 16, 1.1), same=(SAME, None))
    found = dataclasses.replace(found, packages={"numpy": ("1", "2")}, excused={"x": "skipped"})
    file = tmp_path / "trial.json"
    trial.write_trial(file, found)
    assert trial.from_json(json.loads(file.read_text()), file) == found
    assert main(["report", str(file)]) == 0
    assert capsys.readouterr().out == comment.markdown(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "format version 9"),
        ({"cases": [{}]}, "damaged: KeyError"),
        ({"cases": 3}, "damaged: TypeError"),
        ({"settings": {"limits": {}, "cases": [], "nonsense": 1}}, "damaged: TypeError"),
    ],
)
def test_damaged_trial_is_refused(change, message, tmp_path, capsys):
    file = tmp_path / "trial.json"
    trial.write_trial(file, trial_of(same=(SAME, None)))
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert main(["report", str(file)]) == 2
    assert message in capsys.readouterr().err


# --- two commits ----------------------------------------------------------------------------------

CLOCK = """
import time

now = 0.0
time.perf_counter = lambda: now


def work(seconds):
    global now
    now += seconds
"""
BENCHMARKS = """
import pytest
from clock import work
from project import FACTOR


@pytest.mark.parametrize("n", [1, 50])
def test_plain(benchmark, n):
    benchmark(work, FACTOR * n * 1e-6)
    assert benchmark.stats["min"] > 0


def test_prepared(benchmark):
    benchmark.pedantic(work, setup=lambda: ((2e-6,), {}), rounds=3)


def test_skipped(benchmark):
    pytest.skip("not here")


def test_other():
    raise AssertionError("not a benchmark")
"""
PYPROJECT = """
[tool.fastact.gate]
counter = "none"
error-rate = 0.99
passes = 8
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with a pytest-benchmark suite, and how to commit changed files to it."""
    directory = tmp_path / "project"
    (directory / "bench").mkdir(parents=True)
    monkeypatch.chdir(directory)
    monkeypatch.setattr(trial, "MISS_RATE", 0.9)  # fewer passes
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    subprocess.run(["git", "init", "-q"], check=True)

    def commit(**files: str) -> None:
        for name, text in files.items():
            Path(name.replace("__", "/") + ".py").write_text(textwrap.dedent(text))
        subprocess.run(["git", "add", "."], check=True)
        subprocess.run(["git", "commit", "-qm", "change", "--allow-empty"], check=True)

    Path("pyproject.toml").write_text(PYPROJECT)
    commit(clock=CLOCK, project="FACTOR = 1.0", bench__test_project=BENCHMARKS)
    return commit


def compare(tmp_path, *options: str) -> int:
    workspace = ["--workspace", str(tmp_path / "sides"), "--json", str(tmp_path / "trial.json")]
    return main(["compare", "--no-install", *workspace, *options])


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_slower_working_tree_is_found(project, tmp_path, capsys):
    Path("project.py").write_text("FACTOR = 1.1\n")
    suite = Path("bench/test_project.py")
    suite.write_text(suite.read_text() + "\n\ndef test_new(benchmark):\n    benchmark(work, 1)\n")
    command = ["--", "pytest", "bench", "-k", "50 or skipped or new"]
    assert compare(tmp_path, "--base", "HEAD", *command) == 1
    output = capsys.readouterr()
    assert "## Performance: 1 slower\n" in output.out
    assert output.out.count(" 1.100 ") == 1
    assert "New: `bench/test_project.py::test_new`." in output.out
    assert "::test_skipped`: `base: skipped: Skipped: not here;" in output.out
    assert "pass 1: 1 of 1 cases are not clear yet" in output.err
    assert suite.read_text().endswith("benchmark(work, 1)\n"), "the working tree is left alone"


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs Valgrind")
@pytest.mark.skipif(counters.MACHINE != "x86_64", reason="machine code for x86-64")
def test_time_alone_is_told_by_instructions(project, tmp_path, capsys):
    """A clock that is set forward more takes as many instructions."""
    Path("project.py").write_text("FACTOR = 1.1\n")
    command = ["--counter", "valgrind", "--", "pytest", "bench", "-k", "50"]
    assert compare(tmp_path, "--base", "HEAD", *command) == 1
    output = capsys.readouterr()
    assert "## Performance: 1 slower by time alone\n" in output.out
    assert "Instructions were counted by Valgrind" in output.out


@pytest.mark.thorough
def test_equal_commits_are_not_slower(project, tmp_path, capsys):
    project()
    assert compare(tmp_path, "--base", "HEAD~1", "--head", "HEAD") == 0
    assert "none slower, 3 unchanged" in capsys.readouterr().out
    # With a command of one's choice.
    assert compare(tmp_path, "--base", "HEAD", "--", "pytest", "bench", "-k", "prepared") == 0
    assert "none slower, 1 unchanged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base", "nothing"], "there is no commit 'nothing'"),
        (["--base", "HEAD", "--", "no-such-program"], "there is no program 'no-such-program'"),
        (
            ["--base", "HEAD", "--", "pytest", "nowhere"],
            "ended before its benchmarks were measured",
        ),
        (["--base", "HEAD", "--", "pytest", "bench", "-k", "other"], "runs no benchmark"),
        pytest.param(
            ["--base", "HEAD", "--", "pytest", "bench", "-k", "skipped"],
            "no benchmark could be",
            marks=pytest.mark.thorough,
        ),
        ([], "needs two files, or --base REF for two commits"),
    ],
)
def test_what_cannot_be_compared_is_said(options, message, project, tmp_path, capsys):
    assert compare(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastact compare: ")
    assert message in error


def test_environment_is_made_anew_only_where_it_has_to_be(project, tmp_path):
    def key(arguments: str = "-e .", constraints: str = "") -> str:
        commit, _ = sides.commits(Path.cwd(), "HEAD", "HEAD")
        return sides._key(sides.Side("base", commit, Path.cwd()), arguments, constraints)

    first = key()
    project(bench__test_project="")
    assert key() == first, "a module is imported from the checkout"
    assert key("-e .[bench]") != first
    assert key(constraints="numpy==2.0") != first
    Path("pyproject.toml").write_text(PYPROJECT + "[project]\n")
    project()
    assert key() != first


# --- instructions ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="Linux' counters")
def test_counters_of_the_system_count():
    software, task_clock = 1, 1  # nanoseconds: a counter that every machine has
    try:
        counter = counters.PerfEvent(software, task_clock)
    except counters.UnavailableError as error:
        pytest.skip(str(error))
    few, many = (counter.count(functools.partial(sum, range(n))) for n in (10_000, 1_000_000))
    assert 0 < few < many


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs Valgrind")
@pytest.mark.skipif(counters.MACHINE != "x86_64", reason="machine code for x86-64")
def test_valgrind_counts(tmp_path):
    program = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from counters import find
        counter = find()
        counts = [counter.count(lambda: sum(range(n))) for n in (1000, 1000, 1000, 2000, 3000)]
        print(counter.name, *counts)
    """
    output = tmp_path / "out"
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"]
    command += [f"--callgrind-out-file={output}", sys.executable, "-S", "-c"]
    done = subprocess.run(
        [*command, textwrap.dedent(program), str(Path(counters.__file__).parent)],
        env={counters.Callgrind.OUTPUT: str(output), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )
    name, *counts = done.stdout.split()
    assert name == "valgrind", done.stderr
    _, first, again, twice, thrice = map(int, counts)  # Python adapts code as it runs
    assert abs(first - again) < 0.01 * first
    assert abs((thrice - twice) - (twice - again)) < 0.05 * (twice - again)


class LongCalls:
    """Stands for a pair of processes, or for the calls in one of them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def time(self, side: str, calls: int, cpu: int | None = None) -> float:
        self.asked.append(side)
        time.sleep(0.1)
        return 0.1 if side == "base" else 0.11

    def run(self, calls: int) -> float:
        return self.time("base", calls)


def test_long_calls_get_fewer_turns():
    pair = LongCalls()
    logarithm, seconds = lockstep.rounds(pair, calls=1)
    assert math.exp(logarithm) == pytest.approx(1.1)
    assert seconds == 0.1
    assert sorted(pair.asked) == ["base"] * 5 + ["head"] * 5


def test_long_calls_are_not_made_twice_for_one_sample():
    calls = LongCalls()
    assert side._shortest(calls, 1, None) == 0.1
    assert len(calls.asked) == 1
