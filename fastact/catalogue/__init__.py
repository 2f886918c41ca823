"""The catalogue: what every function computes, and nothing of how.

``activations`` is the page of entries. ``entries`` says which kinds of them there are and what
functions they give, ``decorators`` makes them; ``scalar`` has the functions that formulas call, and
``dtypes`` says which arrays there are.
"""

import fastact.catalogue.activations  # noqa: F401  which enters them
from fastact.catalogue.entries import (
    ALIASES,
    CATALOGUE,
    Activation,
    Entry,
    Form,
    Gated,
    Joined,
    Largest,
    Parameter,
    Randomized,
    RowFormula,
    Rows,
    Variants,
)

__all__ = [
    "ALIASES",
    "CATALOGUE",
    "Activation",
    "Entry",
    "Form",
    "Gated",
    "Joined",
    "Largest",
    "Parameter",
    "Randomized",
    "RowFormula",
    "Rows",
    "Variants",
]
