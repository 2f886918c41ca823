"""Losses of training, with their gradients: value, gradient, or both from one pass.

``cross_entropy`` and ``nll`` have labels of classes (``classes``); the other losses are sums over
elements (``elements``), made of the formulas in ``fastact.catalogue.losses``.
"""

from __future__ import annotations

from fastact.losses import classes, elements

_made = {name: getattr(classes, name) for name in classes.__all__}
_made |= {name: elements.build(name) for name in elements.NAMES}
globals().update(_made)

__all__ = [*_made]


def make_ufuncs() -> None:
    """Make all that the losses call, so that ``ufunc.loops`` knows them."""
    classes.make_ufuncs()
    elements.make_ufuncs()
