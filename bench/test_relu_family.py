"""The ReLU family against NumPy, in pairs."""

from __future__ import annotations

import pytest

# A function applied in place again and again may overflow.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("library", ["fastact", "numpy"])
def test_activation(benchmark, case, contest, paired_ratio, library):
    benchmark.group = str(case)
    benchmark.extra_info["bytes_moved"] = case.bytes_moved
    benchmark.extra_info["ratio_to_numpy"] = paired_ratio if library == "fastact" else 1.0
    benchmark(contest[library])
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["gigabytes_per_second"] = case.bytes_moved / seconds / 1e9
