"""``pytest bench``: each function beside the NumPy idiom that it replaces.

A benchmark's ``extra_info`` holds the bytes that a call has to move, the bandwidth reached and, for
fastact's, the ratio to NumPy with its 95 % interval. That is measured in turns, ``in_turns`` being
the times: figures to trust on a noisy machine, and those that ``fastact compare`` judges.
"""

from __future__ import annotations

import pytest

from fastact.benchmark import timing
from fastact.benchmark.cases import PROFILES, select_profile
from fastact.benchmark.gate import Times
from fastact.benchmark.results import machine_facts


def pytest_addoption(parser):
    parser.addoption(
        "--profile",
        choices=list(PROFILES),
        default="smoke",
        help="which cases: smoke is a few of every function, in about two minutes; default is "
        "every size; full adds dtypes and gaps, and takes hours",
    )
    parser.addoption(
        "--paired-seconds", type=float, default=0.5, help="time for the ratio of each case (0.5)"
    )


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        chosen = select_profile(metafunc.config.getoption("--profile"))
        metafunc.parametrize("case", chosen, ids=str)


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["fastact"] = machine_facts()


@pytest.fixture(scope="module")
def measured():
    """Case -> its contenders, and what was measured of them in turns: once for all libraries."""
    return {}


@pytest.fixture
def contest(request, case, measured):
    if case not in measured:
        measured.clear()  # large arrays
        contenders = timing.contest(case, ["fastact", "numpy"])
        times = timing.measure(contenders, request.config.getoption("--paired-seconds"), case.gap)
        timing.check(case, contenders)
        measured[case] = contenders, times
    return measured[case]


@pytest.fixture
def compare(benchmark, case, contest):
    """Time a library's call with pytest-benchmark, and note what is known of the case."""

    def compare(library: str) -> None:
        contenders, times = contest
        contender = contenders[library]
        benchmark.group = str(case)
        benchmark.extra_info |= {"bytes_moved": case.bytes_moved, "library": library}
        if library == "fastact":
            ratio = timing.ratio(times, "numpy")
            benchmark.extra_info["ratio_to_numpy"] = ratio.value
            benchmark.extra_info["ratio_interval"] = [ratio.low, ratio.high]
        in_turns = Times.of(times[library], case.gap)
        benchmark.extra_info["in_turns"] = {"min": in_turns.floor, "median": in_turns.median}
        if contender.copies is None and case.gap == "none":
            benchmark(contender.call)
        else:
            # Data that calls change, or something before each: one call a round.
            def setup() -> None:
                contender.restore()
                timing.gaps()[case.gap]()

            benchmark.pedantic(contender.call, setup=setup, rounds=50)
        benchmark.extra_info["gigabytes_per_second"] = (
            case.bytes_moved / benchmark.stats.stats.median / 1e9
        )

    return compare
