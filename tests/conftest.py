from __future__ import annotations

import os

import hypothesis
import pytest

# A compile on first use takes longer than hypothesis' deadline.
common = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("quick", max_examples=100, derandomize=True, **common)
hypothesis.settings.register_profile("ci", max_examples=600, derandomize=True, **common)
hypothesis.settings.register_profile("deep", max_examples=20_000, print_blob=True, **common)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure(config: pytest.Config) -> None:
    """``-k NAME`` runs all that there is of that name, but for what takes minutes."""
    if config.option.keyword and config.option.markexpr == f"not thorough and {OTHERS}":
        config.option.markexpr = OTHERS


OTHERS = "not exhaustive and not cuda"
