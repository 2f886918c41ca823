"""``pytest bench --benchmark-only``: each function beside the NumPy idiom that it replaces.

A benchmark's ``extra_info`` holds the bytes that a call has to move, the bandwidth reached, and the
ratio to NumPy, which is measured apart from pytest-benchmark's own timing, in turns: that is the
figure to trust on a noisy machine.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import Case, cases
from measure import interleaved, ratio


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="every size and dtype instead of a quick selection"
    )


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        chosen = cases(full=metafunc.config.getoption("--full"))
        metafunc.parametrize("case", chosen, ids=str)


def pytest_benchmark_update_machine_info(config, machine_info):
    from fastact.config import configuration

    machine_info["fastact"] = configuration()


@pytest.fixture
def contest(case: Case):
    """The calls of both sides on the same data, checked against each other."""
    calls = case.calls()
    ours, theirs = calls["fastact"], calls["numpy"]
    with np.errstate(all="ignore"):
        a, b = np.array(ours(), copy=True), np.asarray(theirs())
    np.testing.assert_allclose(
        a.astype("f8"),
        b.astype("f8"),
        rtol=1e-2 if case.dtype == "float16" else 1e-5,
        atol=1e-3 if case.dtype == "float16" else 1e-6,
    )
    return case.calls()


@pytest.fixture
def paired_ratio(case: Case, contest):
    """NumPy's time divided by ours, in turns."""
    return ratio(interleaved(contest, rounds=11 if case.n < 5_000_000 else 5), "numpy")
