"""Losses of training, with their gradients: value, gradient, or both from one pass.

``cross_entropy`` and ``nll`` have labels of classes (``classes``); the other losses are sums over
elements (``elements``), made of the formulas in ``fastact.catalogue.losses``.
"""

from __future__ import annotations

from fastact.losses import classes, elements
from fastact.losses.classes import (
    cross_entropy,
    cross_entropy_grad,
    cross_entropy_with_grad,
    nll,
    nll_grad,
    nll_with_grad,
)


def make_ufuncs() -> None:
    """Make all that the losses call, so that ``ufunc.loops`` knows them."""
    classes.make_ufuncs()
    elements.make_ufuncs()


globals().update({name: elements.build(name) for name in elements.NAMES})

__all__ = [*classes.__all__, *elements.NAMES]
