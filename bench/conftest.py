"""``pytest bench``: each function beside the NumPy idiom that it replaces.

``--benchmark-turns=5`` measures them in turns. A benchmark's ``extra_info`` holds the bytes that a
call has to move and the bandwidth reached.
"""

from __future__ import annotations

import pytest

from fastact.benchmark import timing
from fastact.benchmark.cases import PROFILES, select_profile
from fastact.benchmark.results import machine_facts

pytest_plugins = ["fastact.benchmark.pytest_turns"]


def pytest_addoption(parser):
    parser.addoption(
        "--profile",
        choices=list(PROFILES),
        default="smoke",
        help="which cases: gate is one of every kind of kernel; smoke is a few of every function, "
        "in about two minutes; default is every size; full adds dtypes and gaps, and takes hours",
    )


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        chosen = select_profile(metafunc.config.getoption("--profile"))
        metafunc.parametrize("case", chosen, ids=str)


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["fastact"] = machine_facts()


@pytest.fixture(scope="module")
def prepared():
    """Case -> its contenders: once for all libraries, so that they compute with equal data."""
    return {}


@pytest.fixture
def contenders(request, case, prepared):
    """Of those libraries that are measured."""
    if case not in prepared:
        prepared.clear()  # large arrays
        chosen = [i.callspec.params for i in request.session.items if hasattr(i, "callspec")]
        libraries = {p["library"]: None for p in chosen if p.get("case") == case}
        prepared[case] = timing.contest(case, libraries)
    return prepared[case]


@pytest.fixture
def compare(benchmark, case, contenders):
    """Time a library's call with pytest-benchmark, and note what is known of the case."""

    def compare(library: str) -> None:
        contender = contenders[library]
        benchmark.group = str(case)
        benchmark.extra_info |= {"bytes_moved": case.bytes_moved, "library": library}
        if contender.copies is None and case.gap == "none":
            benchmark(contender.call)
        else:
            # Data that calls change, or something before each: one call a round.
            def setup() -> None:
                contender.restore()
                timing.gaps()[case.gap]()

            benchmark.pedantic(contender.call, setup=setup, rounds=50)
        for other in contenders.values():
            other.call()
        timing.check(case, contenders)
        if benchmark.stats:
            seconds = benchmark.stats.stats.median
            benchmark.extra_info["gigabytes_per_second"] = case.bytes_moved / seconds / 1e9

    return compare
