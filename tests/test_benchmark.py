"""Measuring, its files, and the regression gate. No times are asserted."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fastact.benchmark import history, stored, timing
from fastact.benchmark.cases import DTYPES, GAPS, SUBJECTS, Case, select, select_profile
from fastact.benchmark.results import Result, Run, machine_facts, read_runs, write_runs
from fastact.catalogue import CATALOGUE
from fastact.catalogue.entries import formulas
from fastact.catalogue.losses import LOSSES
from fastact.catalogue.special import SPECIAL
from fastact.cli import main

SUITE = Path(__file__).parents[1] / "bench" / "test_activations.py::test_activation"
QUICK = ["--vs", "numpy", "--seconds", "0.01"]


# --- cases ----------------------------------------------------------------------------------------


def test_every_activation_is_measured():
    fused = {"bias_act", "prelu_weight", "relu_mask", "relu_stats"}
    others = {f"losses.{name}" for name in [*LOSSES, "cross_entropy"]}
    others |= {f"special.{name}" for name in SPECIAL if name != "weighted"}
    assert set(SUBJECTS) == {*CATALOGUE, *formulas(), *fused, *others} - {"maxout"}
    for profile in ("smoke", "full"):
        assert {case.name for case in select_profile(profile)} == set(SUBJECTS)


@pytest.mark.parametrize("case", select(SUBJECTS, sizes=[258]), ids=str)
def test_libraries_agree(case):
    contenders = timing.contest(case, ["fastact", "numpy", "torch"])
    assert {"fastact", "numpy"} <= set(contenders)
    for contender in contenders.values():
        contender.calibrate()
        contender.sample()
        assert contender.single() > 0
    timing.check(case, contenders)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["out", "fresh", "in-place", "backward"])
@pytest.mark.parametrize("gap", GAPS)
def test_every_dtype_mode_and_gap_is_measured(dtype, mode, gap):
    case = Case("leaky_relu", mode, dtype, 100, gap)
    contenders = timing.contest(case, ["fastact", "numpy"])
    times = timing.measure(contenders, 0, gap)
    assert {len(seconds) for seconds in times.values()} == {timing.MIN_ROUNDS}
    timing.check(case, contenders)


@pytest.mark.parametrize("mode", ["out", "fresh", "in-place", "backward"])
def test_wrong_results_do_not_count(mode, monkeypatch):
    broken = dataclasses.replace(
        SUBJECTS["relu6"], idiom="np.maximum(x, 0)", backward_idiom="grad * (x > 0)"
    )
    monkeypatch.setitem(SUBJECTS, "relu6", broken)
    case = Case("relu6", mode, "float32", 1000)
    contenders = timing.contest(case, ["fastact", "numpy"])
    for contender in contenders.values():
        contender.run(1)
    with pytest.raises(ValueError, match=r"relu6-.*: the result of fastact is wrong"):
        timing.check(case, contenders)


def test_calls_that_do_nothing_are_noticed():
    case = Case("relu", "out", "float32", 1000)
    contenders = timing.contest(case, ["fastact", "numpy"])
    contenders["numpy"].run(1)
    with pytest.raises(ValueError, match="the result of fastact is wrong"):
        timing.check(case, contenders)


def test_data_in_place_do_not_decay():
    case = Case("leaky_relu", "in-place", "float32", 100)
    contender = timing.contest(case, ["fastact"])["fastact"]
    for _ in range(20):
        contender.sample()
    smallest = min(np.abs(copy).min() for copy in contender.copies)
    assert smallest > np.finfo(np.float32).tiny


# --- statistics -----------------------------------------------------------------------------------


def test_interval_holds_the_true_median_95_times_in_100():
    rng = random.Random(0)
    hits = 0
    for _ in range(2000):
        # Skewed, with outliers, as times are.
        ratios = [2.0 * rng.lognormvariate(0, 0.1) ** rng.choice([1, 1, 1, 5]) for _ in range(31)]
        estimate = timing.ratio({"fastact": [1.0] * 31, "numpy": ratios}, "numpy")
        assert estimate.low <= estimate.value <= estimate.high
        hits += estimate.low <= 2.0 <= estimate.high
    assert 0.93 < hits / 2000 < 0.985


# --- fastact bench --------------------------------------------------------------------------------


def test_bench_prints_a_table_that_fits(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["bench", "relu", "leaky_relu", "--size", "1,1k", "--mode", "out", *QUICK]) == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in output.out + output.err, "colours are for terminals"
    assert "out, float32" in lines
    (head,) = [line for line in lines if "NumPy" in line and "elements" in line]
    assert re.split(r"\s{1,}", head.strip())[:2] == ["function", "elements"]
    assert sum(line.strip().startswith(("relu", "leaky_relu")) for line in lines) == 4


def test_bench_writes_files(tmp_path, capsys):
    file, plot, page = (tmp_path / name for name in ("a.json", "a.png", "a.html"))
    arguments = ["bench", "relu", "--size", "10,100", "--mode", "out", *QUICK]
    arguments += ["--json", str(file), "--plot", str(plot), "--html", str(page)]
    assert main(arguments) == 0
    (run,) = read_runs(file)
    assert [r.case for r in run.results] == select(["relu"], ["out"], sizes=[10, 100])
    assert run.machine == machine_facts()
    assert str(tmp_path) not in file.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert text.count("data:image/svg+xml") == 2
    assert not re.search(r"(src|href|srcset)=\"?(https?:|//)", text), "no network"
    assert text.count("<tr>") == 3
    capsys.readouterr()

    assert main([*arguments, "--append", "--label", "second"]) == 0
    assert main([*arguments, "--append", "--label", "third", "--keep", "2"]) == 0
    assert [run.label for run in read_runs(file)] == ["second", "third"]
    assert "History" in page.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "a.json", "a.png"]
    capsys.readouterr()

    again = tmp_path / "again.svg"
    assert main(["report", str(file), "--plot", str(again)]) == 0
    assert "relu, out, float32" in capsys.readouterr().out
    assert "<svg" in again.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rleu"], "unknown activation 'rleu': did you mean relu"),
        (["nothing"], "there are relu, relu6"),
        (["relu", "--mode", "inplace"], "unknown mode 'inplace': did you mean in-place?"),
        (["relu", "--size", "ten"], "--size: 'ten' is not a number of elements"),
        (["relu", "--size", "0"], "--size: '0' is not a number of elements"),
        (["relu", "--vs", "jax"], "unknown library 'jax'"),
        (["relu", "--append"], "--append needs --json FILE"),
        (["relu", "--keep", "3"], "--keep needs --append"),
        (["relu", "--threads", "0"], "set_num_threads"),
        (["relu", "--seconds", "-1"], "--seconds must be positive"),
        (["relu", "--profile", "full", "--size", "10"], "--profile cannot be combined"),
        (["relu", "--quick", "--size", "10"], "--quick cannot be combined"),
        (["relu", "--resume"], "--resume needs the --json FILE"),
        (["crelu", "--mode", "in-place"], "crelu has no in-place form"),
        (["relu", "--plot", "a.gif"], "must end in .png, .svg or .pdf"),
        (["relu", "--json", "no/such/place.json"], "there is no directory no/such"),
        (["relu", "--html", "."], ". is a directory"),
    ],
)
def test_bench_says_what_is_wrong(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastact bench: ")
    assert message in error


@pytest.mark.skipif(sys.platform != "linux", reason="needs a directory that nobody can write to")
@pytest.mark.parametrize("option", ["--json", "--html", "--plot"])
def test_bench_measures_nothing_that_it_cannot_write(option, capsys):
    assert main(["bench", "relu", option, "/proc/relu.svg"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastact bench: /proc/relu.svg: /proc cannot be written to")


@pytest.mark.parametrize("package", ["rich", "matplotlib"])
def test_bench_says_what_is_missing(package, capsys, monkeypatch, tmp_path):
    for name in [n for n in sys.modules if n.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["bench", "relu", "--plot", str(tmp_path / "a.png")]) == 2
    error = capsys.readouterr().err
    assert f"needs {package}, which comes with: pip install 'fastact[bench]'" in error


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_prints_what_was_measured(tmp_path):
    file = tmp_path / "a.json"
    command = [sys.executable, "-m", "fastact", "bench", "relu", "--size", "1,2,3,4,5"]
    command += ["--mode", "out", "--vs", "numpy", "--seconds", "3", "--json", str(file)]
    command += ["--gap", "sleep"]  # two seconds a case
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert "5 measurements, about" in process.stderr.readline()
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=60)
    assert process.returncode == 130
    (done,) = re.findall(r"interrupted: measured (\d) of 5 cases; not written: .*a\.json;", error)
    assert output.count(" ns ") + output.count(" µs ") == int(done)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json.unfinished"]


def test_ctrl_c_leaves_an_existing_file_alone(tmp_path, monkeypatch, capsys):
    file = tmp_path / "a.json"
    file.write_text("{}")
    measure, calls = timing.measure, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(timing, "measure", interrupted)
    assert main(["bench", "relu", "--size", "1,2,3", "--json", str(file), *QUICK]) == 130
    output = capsys.readouterr()
    assert "interrupted: measured 2 of 12 cases" in output.err
    assert "float32" in output.out
    assert file.read_text() == "{}"


def test_interrupted_bench_goes_on(tmp_path, monkeypatch, capsys):
    file = tmp_path / "a.json"
    command = ["bench", "relu", "--size", "1,2", "--mode", "out", "--passes", "2", *QUICK]
    command += ["--json", str(file)]
    contest, measured = timing.contest, []

    def interrupted(case, libraries):
        measured.append(case.n)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return contest(case, libraries)

    assert main([*command, "--resume"]) == 2
    assert "so nothing was interrupted" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        patched.setattr(timing, "contest", interrupted)
        assert main(command) == 130
        assert "; the same command with --resume goes on" in capsys.readouterr().err
        assert main(["bench", "leaky_relu", *command[2:], "--resume"]) == 2
        assert "had other cases" in capsys.readouterr().err
        assert main([*command, "--resume"]) == 0
    assert "1 measurements, about" in capsys.readouterr().err
    assert measured == [1, 2, 1, 2, 2]
    (run,) = read_runs(file)
    assert [(r.case.n, r.passes) for r in run.results] == [(1, 2), (2, 2)]
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_quick_is_a_few_cases_of_every_function(capsys):
    assert main(["bench", "relu", "silu", "--quick", "--vs", "numpy"]) == 0
    output = capsys.readouterr()
    assert re.search(r"^4 measurements, about \d+ s$", output.err, re.MULTILINE)
    assert output.out.count("silu") == 2


# --- the gate -------------------------------------------------------------------------------------


def run_with(ratios: dict[Case, float], noise: float = 0.02, seed: int = 0, **machine: str) -> Run:
    """A run in which fastact is so many times faster than NumPy."""
    rng = random.Random(seed)
    results = []
    for case, ratio in ratios.items():
        numpy = [1e-5 * (1 + abs(rng.gauss(0, noise))) for _ in range(41)]
        ours = [1e-5 / ratio * (1 + abs(rng.gauss(0, noise))) for _ in range(41)]
        results.append(Result(case, case.bytes_moved, {"fastact": ours, "numpy": numpy}))
    facts = {"CPU": "a CPU", "threads": "2", "numpy": "2.0"} | machine
    return Run(facts, "2026-01-01T00:00:00+00:00", results=results)


RELU, ELU = Case("relu", "out", "float32", 1000), Case("leaky_relu", "out", "float32", 1000)


def compare(tmp_path, capsys, base: list[Run], new: list[Run], *options: str):
    files = [tmp_path / "base.json", tmp_path / "new.json"]
    for file, runs in zip(files, (base, new), strict=True):
        write_runs(file, runs)
    status = main(["compare", *map(str, files), *options])
    return status, capsys.readouterr()


def several(ratio: float, first_seed: int, noise: float = 0.02, **machine: str) -> list[Run]:
    return [run_with({RELU: ratio, ELU: 5.0}, noise, first_seed + i, **machine) for i in range(5)]


@pytest.mark.parametrize("runs", [1, 5])
def test_gate_finds_what_is_15_percent_slower(runs, tmp_path, capsys):
    base, new = several(4.0, 0)[:runs], several(4.0 / 1.15, 10)[:runs]
    status, output = compare(tmp_path, capsys, base, new)
    assert status == 1
    assert "1 slower, 0 faster, 1 unchanged" in output.out
    (line,) = [line for line in output.out.splitlines() if line.startswith("| relu-out-float32")]
    assert 1.13 < float(line.split("|")[4]) < 1.17
    status, output = compare(tmp_path, capsys, new, base)
    assert status == 0
    assert "0 slower, 1 faster, 1 unchanged" in output.out
    status, output = compare(tmp_path, capsys, base, new, "--fail-above", "1.25")
    assert status == 0


def test_gate_is_silent_on_equal_code(tmp_path, capsys):
    for seed in range(0, 400, 20):
        status, output = compare(tmp_path, capsys, several(4.0, seed), several(4.0, seed + 10))
        assert status == 0
        assert "0 slower, 0 faster, 2 unchanged" in output.out


def test_gate_is_silent_on_what_is_within_the_spread(tmp_path, capsys):
    base = [run_with({RELU: r}, seed=i) for i, r in enumerate([4.0, 3.0, 3.3, 3.2, 3.1])]
    new = [run_with({RELU: r}, seed=9 + i) for i, r in enumerate([3.4, 3.5, 3.3, 3.4, 3.4])]
    status, output = compare(tmp_path, capsys, base, new)
    assert status == 0
    assert "0 slower" in output.out


@pytest.mark.parametrize("library", ["fastact", "numpy"])
def test_gate_is_silent_on_a_busy_neighbour(library, tmp_path, capsys):
    """Who slows down one library and not the other, for most of one side's runs."""
    base, new = several(4.0, 0), several(4.0, 10)
    for runs in (base, new):
        for run in runs[1:] if runs is new else runs[:2]:
            for result in run.results:
                result.seconds[library] = [1.6 * s for s in result.seconds[library]]
    status, output = compare(tmp_path, capsys, base, new)
    assert status == 0
    assert "0 slower" in output.out


def test_slower_machine_is_no_regression(tmp_path, capsys):
    slow = run_with({RELU: 4.0, ELU: 5.0}, seed=3)
    for result in slow.results:
        result.seconds = {name: [3 * s for s in t] for name, t in result.seconds.items()}
    status, _ = compare(tmp_path, capsys, [run_with({RELU: 4.0, ELU: 5.0})], [slow])
    assert status == 0


@pytest.mark.parametrize(
    "difference", [{"threads": "1"}, {"CPU": "another"}, {"numpy": "3.0"}], ids=str
)
def test_other_conditions_are_no_regression(difference, tmp_path, capsys):
    base = several(4.0, 0)
    status, output = compare(tmp_path, capsys, base, several(2.0, 10, **difference))
    assert status == 2, "it cannot be told"
    assert "different conditions" in output.out
    assert "1 differ, but so do the conditions" in output.out
    status, output = compare(tmp_path, capsys, base, several(4.0, 10, **difference))
    assert status == 0
    assert "different conditions" in output.out


def test_new_and_gone(tmp_path, capsys):
    other = Case("hardtanh", "out", "float32", 1000)
    base, new = run_with({RELU: 4.0, ELU: 5.0}), run_with({RELU: 4.0, other: 5.0})
    status, output = compare(tmp_path, capsys, [base], [new])
    assert status == 0
    assert "New: hardtanh-out-float32-1000." in output.out
    assert "Gone: leaky_relu-out-float32-1000." in output.out


GOOD = {"format": "fastact-bench", "version": 1}
ONE = {"started": "", "label": "", "machine": {}, "copy_bandwidth": {}}
SECONDS = {"fastact": [1.0, 2.0], "numpy": [1.0, 2.0]}
RESULT = {"name": "relu", "mode": "out", "dtype": "float32", "n": 9, "gap": "none"}
RESULT |= {"bytes_moved": 72, "seconds": SECONDS}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("{", "not JSON"),
        ("\udcff\udcfe", "codec can't decode"),
        ("[]", "neither of fastact bench nor of pytest-benchmark"),
        ('{"benchmarks": []}', "there is no benchmark in it"),
        ({"benchmarks": [{"group": "a", "params": {"l": "numpy"}}, {"group": "a"}]}, "KeyError"),
        ({**GOOD, "version": 99, "runs": []}, "format version 99"),
        ({**GOOD, "runs": []}, "no results"),
        ({**GOOD, "runs": [{**ONE, "results": []}]}, "no results"),
        ({**GOOD, "runs": [ONE]}, "damaged: KeyError: 'results'"),
        ({**GOOD, "runs": 3}, "damaged: TypeError"),
        (
            {**GOOD, "runs": [{**ONE, "results": [{**RESULT, "seconds": {"fastact": [1.0]}}]}]},
            "numpy was not measured",
        ),
        *(
            (
                {**GOOD, "runs": [{**ONE, "results": [{**RESULT, "seconds": wrong}]}]},
                "rounds must be positive seconds",
            )
            for wrong in (
                {**SECONDS, "numpy": [1.0]},
                {**SECONDS, "numpy": [1.0, 0.0]},
                {**SECONDS, "numpy": [1.0, float("nan")]},
                {**SECONDS, "numpy": [1.0, float("inf")]},
            )
        ),
    ],
)
def test_gate_refuses_unusable_files(content, message, tmp_path, capsys):
    text = content if isinstance(content, str) else json.dumps(content)
    bad, good = tmp_path / "bad.json", tmp_path / "good.json"
    bad.write_bytes(text.encode(errors="surrogateescape"))
    write_runs(good, several(4.0, 0))
    for files in ([bad, good], [good, bad]):
        assert main(["compare", *map(str, files)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"fastact compare: {bad}: ")
        assert message in error


def test_gate_refuses_what_cannot_be_compared(tmp_path, capsys):
    file = tmp_path / "good.json"
    write_runs(file, [run_with({RELU: 4.0})])
    other = tmp_path / "other.json"
    write_runs(other, [run_with({ELU: 4.0})])
    mixed = tmp_path / "mixed.json"
    write_runs(mixed, [run_with({RELU: 4.0}), run_with({RELU: 4.0}, threads="7")])
    empty = tmp_path / "empty"
    empty.mkdir()
    for files, options, message in (
        ([file, other], [], "no case in common"),
        ([file, mixed], [], "not made under equal conditions"),
        ([file, tmp_path / "none.json"], [], "No such file"),
        ([file, empty], [], "no JSON files in this directory"),
        ([file, file], ["--fail-above", "1"], "--fail-above must be more than 1"),
        ([file, file], ["--baseline", "torch"], "torch was not measured"),
    ):
        assert main(["compare", *map(str, files), *options]) == 2
        assert message in capsys.readouterr().err


def pytest_benchmark_file(path, times: dict[str, float]) -> None:
    benchmarks = [
        {
            "group": "softplus 1000",
            "name": f"test_softplus[{library}-1000]",
            "fullname": f"bench/test_softplus.py::test_softplus[{library}-1000]",
            "params": {"library": library, "n": 1000},
            "extra_info": {},
            "stats": {"min": t, "median": 1.01 * t},
        }
        for library, t in times.items()
    ]
    machine = {"cpu": {"brand_raw": "a CPU", "count": 2}}
    path.write_text(json.dumps({"machine_info": machine, "benchmarks": benchmarks}))


def test_gate_reads_pytest_benchmark(tmp_path, capsys):
    for side, slower, machine in (("base", 1.0, 1.0), ("same", 1.0, 3.0), ("slow", 1.2, 0.5)):
        (tmp_path / side).mkdir()
        for i in range(3):
            time = machine * (1 + i / 100)
            file = tmp_path / side / f"{i}.json"
            pytest_benchmark_file(file, {"mine": slower * time, "numpy": 2.0 * time})
    base, same, slow = (str(tmp_path / side) for side in ("base", "same", "slow"))
    assert main(["compare", base, same]) == 0
    assert main(["compare", base, slow]) == 1
    assert "1 slower" in capsys.readouterr().out
    assert main(["compare", slow, base]) == 0
    assert main(["compare", base, slow, "--fail-above", "1.3"]) == 0
    # Without a baseline: times as they are.
    assert main(["compare", base, base, "--baseline", "scipy"]) == 0
    assert main(["compare", base, same, "--baseline", "scipy"]) == 1
    assert main(["report", f"{base}/0.json"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[-2] == "2.00"


SUITE_IN_TURNS = """
import pytest

pytest_plugins = ["fastact.benchmark.pytest_turns"]
order = []


@pytest.mark.parametrize("name", ["a", "b"])
def test_timed(benchmark, name):
    order.append(name)
    benchmark.pedantic(sum, [range(100)], rounds=3)


def test_order():
    pass


def teardown_module():
    print("order:", *order)
"""


def test_turns_of_pytest_benchmark(tmp_path):
    """And its own comparison of two files finds the ratios that ours finds."""
    suite = tmp_path / "test_suite.py"
    suite.write_text(SUITE_IN_TURNS)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    for name in ("base", "head"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "-p", "fastact.benchmark.pytest_turns"]
            + ["--benchmark-turns=3", f"--benchmark-json={name}.json", str(suite)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        assert "order: a b a b a b" in done.stdout
        content = json.loads((tmp_path / f"{name}.json").read_text())
        assert [b["name"][-2] for b in content["benchmarks"]] == ["a", "b"]
        assert [b["stats"]["rounds"] for b in content["benchmarks"]] == [9, 9]
    theirs = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "base.json", "head.json"]
        + ["--csv=theirs.csv", "--group-by=name"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert theirs.returncode == 0, theirs.stderr
    with (tmp_path / "theirs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    ours = stored.compare(
        *(stored.load(tmp_path / f"{name}.json") for name in ("base", "head")), threshold=1.1
    )
    changes = [*ours.regressed, *ours.improved, *ours.unchanged]
    assert len(changes) == 2
    for change in changes:
        times = [float(r["min"]) for r in rows if r["name"].endswith(change.case[-3:])]
        assert len(times) == 2
        ratio = times[1] / times[0]
        assert change.slower in (pytest.approx(ratio), pytest.approx(1 / ratio))


# --- history --------------------------------------------------------------------------------------


def synthetic(kind: str, seed: int) -> tuple[list[float], list[int]]:
    """Logarithms of ratios over 80 commits, and where their level changed."""
    rng = np.random.default_rng(seed)
    values, steps = rng.normal(0, 0.015, 80), []
    if "bimodal" in kind:
        values += rng.choice([0, 0.2], 80)
    if "outliers" in kind:
        values[rng.integers(0, 80, 4)] += 0.5
    if "step" in kind:
        steps = [47]
        values[47:] -= 0.1
    if "two" in kind:
        steps = [25, 55]
        values[25:] += 0.08
        values[55:] -= 0.15
    if "drift" in kind:
        values += np.linspace(0, 0.2, 80)
    return list(values), steps


@pytest.mark.parametrize(
    "kind", ["noise", "outliers", "bimodal", "step", "step outliers", "step bimodal", "two"]
)
def test_change_points(kind):
    right = 0
    for seed in range(6):
        values, steps = synthetic(kind, seed)
        found = [at for at, _ in history.change_points(values)]
        # Where levels overlap, some commits to the left or right fit as well.
        near = 5 if "bimodal" in kind else 2
        right += len(found) == len(steps) and all(
            abs(a - b) <= near for a, b in zip(found, steps, strict=True)
        )
    assert right >= 5


def test_drift_is_steps_in_its_direction():
    for seed in range(3):
        shifts = [shift for _, shift in history.change_points(synthetic("drift", seed)[0])]
        assert len(shifts) >= 2
        assert all(shift > 0 for shift in shifts)


def test_history_names_commits(tmp_path, capsys):
    runs = []
    for i in range(24):
        run = run_with({RELU: 4.0 if i < 12 else 3.2, ELU: 5.0}, seed=i, **machine_facts())
        run.label = f"commit{i:03}" + "0" * 31
        runs.append(run)
    file, page = tmp_path / "history.json", tmp_path / "index.html"
    write_runs(file, runs)
    assert main(["report", str(file), "--html", str(page)]) == 0
    text = page.read_text()
    assert "relu-out-float32-1000: × 0.80 between commit011 and commit012" in text
    assert text.count("<li class=") == 1
    assert text.count("<figure>") == 2


def test_gate_reads_what_our_own_suite_writes(tmp_path):
    file = tmp_path / "benchmarks.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest"]
        + [f"{SUITE}[relu-out-float32-100-{library}]" for library in ("fastact", "numpy")]
        + [f"--benchmark-json={file}", "--benchmark-max-time=0.01"],
        # In a worker of pytest-xdist, pytest-benchmark would refuse to measure.
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    side = stored.load(file)
    assert side.conditions["threads"] == machine_facts()["threads"]
    assert [case.partition("[")[2] for case in side.times] == ["relu-out-float32-100-fastact]"]
    for benchmark in json.loads(file.read_text())["benchmarks"]:
        assert benchmark["extra_info"]["gigabytes_per_second"] > 0
