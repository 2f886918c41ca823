from __future__ import annotations

import os

import hypothesis

# A compile on first use takes longer than hypothesis' deadline.
common = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("ci", max_examples=600, derandomize=True, **common)
hypothesis.settings.register_profile("deep", max_examples=20_000, print_blob=True, **common)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
