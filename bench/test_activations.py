"""Every activation of the catalogue: into an array or a new one, in place, backward."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("library", ["fastact", "numpy"])
def test_activation(compare, library):
    compare(library)
