"""``pytest --benchmark-turns=N``: pytest-benchmark's cases in turns, a b a b instead of a a b b.

A machine that is slow for some seconds then slows down a part of every case, and not all of one's
rounds. Load it with ``-p fastact.benchmark.pytest_turns``, or in a conftest.py:

    pytest_plugins = ["fastact.benchmark.pytest_turns"]

The benchmarks of each module are gone through N times, in an N-th of the time each; what pytest-
benchmark shows and writes has all their rounds.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("benchmark").addoption(
        "--benchmark-turns",
        type=int,
        default=1,
        metavar="N",
        help="go through each module's benchmarks N times, in an N-th of the time each (1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    turns = config.getoption("--benchmark-turns")
    if turns < 1:
        raise pytest.UsageError("--benchmark-turns must be at least 1")
    # Before pytest-benchmark reads it; a string there, too.
    seconds = float(config.getoption("benchmark_max_time")) / turns
    config.option.benchmark_max_time = str(seconds)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    turns = config.getoption("--benchmark-turns")
    if turns == 1:
        return
    repeated: list[pytest.Item] = []
    for _, of_module in itertools.groupby(items, lambda item: item.nodeid.partition("::")[0]):
        module = list(of_module)
        measured = [i for i in module if "benchmark" in getattr(i, "fixturenames", ())]
        again = (_again(item) for _ in range(turns - 1) for item in measured)
        repeated += [*module, *again]
    items[:] = repeated


def _again(item: Any) -> Any:
    """The same test once more, with fixtures of its own."""
    item = copy.copy(item)
    item._initrequest()
    return item


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Put together what belongs together, before pytest-benchmark shows it."""
    merged: dict[str, Any] = {}
    benchmarks = session.config._benchmarksession.benchmarks  # type: ignore[attr-defined]
    for benchmark in benchmarks:
        if benchmark.fullname in merged:
            merged[benchmark.fullname].stats.data.extend(benchmark.stats.data)
            benchmark.stats.data.clear()
        else:
            merged[benchmark.fullname] = benchmark
    benchmarks[:] = merged.values()
    return (yield)
