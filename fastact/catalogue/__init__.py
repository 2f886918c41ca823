"""The catalogue: what every function computes, and nothing of how.

``activations`` is the page of entries, ``scalar`` has the functions that their formulas call, and
``dtypes`` says which arrays there are.
"""

import fastact.catalogue.activations  # noqa: F401  which enters them
from fastact.catalogue.entries import ALIASES, CATALOGUE, GATED, ROWS, Activation, Gated, Rows

__all__ = ["ALIASES", "CATALOGUE", "GATED", "ROWS", "Activation", "Gated", "Rows"]
