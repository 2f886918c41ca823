"""Decorators that make entries out of class bodies, and enter them into the catalogue.

The names in a body are the fields of the entry; its docstring is the entry's.
"""

from __future__ import annotations

import inspect
from typing import Any

from fastact.catalogue.entries import (
    ALIASES,
    CATALOGUE,
    Activation,
    Gated,
    Joined,
    Largest,
    Randomized,
    RowFormula,
    Rows,
    Variants,
)

__all__ = ["activation", "family", "gated", "joined", "largest", "randomized", "rows", "variants"]

_families = [""]


def family(name: str) -> None:
    """Say to which family the entries below belong, up to the next call."""
    _families.append(name)


def activation(body: type) -> Activation:
    return _entered(Activation(**_fields(body)))


def randomized(body: type) -> Randomized:
    return _entered(Randomized(**_fields(body)))


def variants(body: type) -> Variants:
    """Each class in the body is a variant."""
    fields = _fields(body)
    inner = {key: value for key, value in fields.items() if isinstance(value, type)}
    for key in inner:
        del fields[key]
    made: dict[str, Activation] = {}
    for key, variant in inner.items():
        shared = {"doc": fields["doc"], "family": fields["family"]}
        name = f"{body.__name__}_{key}" if made else body.__name__
        made[key] = Activation(name=name, **shared, **_own(variant))
    return _entered(Variants(**fields, variants=made))


def gated(body: type) -> Gated:
    return _entered(Gated(**_fields(body)))


def joined(body: type) -> Joined:
    fields = _fields(body)
    integers = fields.pop("keeps_integers", False)
    name = fields["name"]
    for which in ("first", "second"):
        formula = fields[which]
        fields[which] = Activation(name=f"{name}_{which}", formula=formula, keeps_integers=integers)
    derivative = fields["derivative"]
    fields["derivative"] = Activation(name=f"{name}_backward", formula=derivative, arrays=3)
    return _entered(Joined(**fields))


def rows(body: type) -> Rows:
    """A ``RowFormula``'s fields in the body are the forward's; those in ``backward``, its own."""
    fields = _fields(body)
    name = fields["name"]
    backward = RowFormula(name=f"{name}_backward", **_own(fields.pop("backward")))
    known = RowFormula.__annotations__.keys() - {"name"}
    forward = {key: fields.pop(key) for key in known & fields.keys()}
    return _entered(Rows(**fields, formula=RowFormula(name=name, **forward), backward=backward))


def largest(body: type) -> Largest:
    return _entered(Largest(**_fields(body)))


def _own(body: type) -> dict[str, Any]:
    return {key: value for key, value in vars(body).items() if not key.startswith("__")}


def _fields(body: type) -> dict[str, Any]:
    doc = inspect.getdoc(body) or ""
    return {"name": body.__name__, "doc": doc, "family": _families[-1], **_own(body)}


def _entered(entry: Any) -> Any:
    CATALOGUE[entry.name] = entry
    ALIASES.update(dict.fromkeys(entry.aliases, entry.name))
    return entry
