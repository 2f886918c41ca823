"""Kernels that only an integration needs, made as the catalogue's are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.catalogue import Activation
from fastact.cpu import loops
from fastact.public.elementwise import elementwise

__all__ = ["kernel"]


def kernel(formula: Callable[..., Any], arrays: int, owner: str) -> np.ufunc:
    """A ufunc of a formula whose first arguments are ``arrays``, and the others numbers."""
    name = f"{owner}.{formula.__name__}"
    entry = Activation(name, formula.__doc__ or "", formula, arrays=arrays)
    return elementwise(entry, name, loops.forward, entry.doc, arrays, False)
