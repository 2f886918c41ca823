"""Old and new code of a rewriting rule, run side by side: how do their results differ?"""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

import fastact as fa
from fastact.rewrite.differences import Difference
from fastact.rewrite.matching import ARRAYS
from fastact.rewrite.rules import Rule, in_place_rules

FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3, -3, 6, 7.25, -7.25, 40, -40, 100, -100]
SPECIAL += [np.inf, -np.inf, np.nan]
GRADIENTS = [1.5, -1.5, 0.0, -0.0, np.inf, np.nan]
#: Besides 1.0, for parameters that a rule leaves open.
NUMBERS = {"slope": 0.25, "negative_slope": 0.25, "weight": 0.25, "alpha": 1.5, "beta": 2.0}
NUMBERS |= {"lambd": 0.5, "b": 3.0, "THRESHOLD": 1.0, "VALUE": -4.0, "SLOPE": 0.2, "OFFSET": 0.5}
NUMBERS |= {"BETA": 2.0, "axis": 1, "max_value": 4.0}
#: How much rounding may change, in units of the dtype's eps times the largest operand or result.
ROUNDING = 24


def arrays(names: set[str], dtype: str, rows: bool) -> dict[str, Any]:
    """Values for the names of a rule; every special value of x meets every one of the gradient."""
    values = np.array(SPECIAL)
    if dtype in INTEGERS:
        values = np.array([0, 1, 2, 3, 6, 7, 40] + [-1, -2, -3, -7] * (dtype[0] == "i"))
    if rows:
        rng = np.random.default_rng(0)
        x = np.concatenate([rng.normal(size=(7, 10)) * 3, np.resize(values, (4, 10))])
        other = rng.uniform(size=x.shape)
    else:
        pairs = np.array(list(itertools.product(values, GRADIENTS)))
        x, other = np.resize(pairs[:, 0], (8, 15)), np.resize(pairs[:, 1], (8, 15))
    given: dict[str, Any] = {}
    for name in names:
        if name in ARRAYS:
            first = name in ("x", "gate", "y")
            with np.errstate(over="ignore", invalid="ignore"):
                given[name] = (x if first else other).astype(dtype)
        else:
            given[name] = np.dtype(dtype) if name == "dtype" else NUMBERS[name]
    return given


def function(code: str, names: list[str], changed: str = "") -> Callable[..., Any]:
    """An expression as a function, or a statement, which gives the array that it changes."""
    namespace = {"np": np, "special": special, "fa": fa, "PI": np.pi}
    body = f"    {code}\n    return {changed}" if changed else f"    return {code}"
    exec(f"def run({', '.join(names)}):\n{body}", namespace)
    return namespace["run"]


def observed(rule: Rule, dtypes: list[str]) -> Difference:
    """Everything that differs, of what a rule can say; AssertionError if it is something else."""
    names = sorted(rule.names)
    changed = re.split(r"\W", rule.pattern)[0] if rule in in_place_rules() else ""
    old = function(rule.pattern.replace(", out=out", ""), names, changed)
    new = function(rule.replacement, names, changed)
    rows = "softmax" in rule.function
    found = Difference(0)
    for dtype in dtypes:
        if dtype in INTEGERS and {"grad", "y", "up"} & set(names):
            continue
        given = arrays(set(names), dtype, rows)
        found |= _compare(old, new, given, dtype, rule)
    return found


def _compare(old: Any, new: Any, given: dict[str, Any], dtype: str, rule: Rule) -> Difference:
    def copies() -> dict[str, Any]:
        return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in given.items()}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            before = old(**copies())
        except (TypeError, OverflowError):
            return Difference(0)  # nothing that a program could do
    try:
        after = new(**copies())
    except (TypeError, OverflowError, ValueError):
        assert dtype in INTEGERS, (rule, dtype)
        return Difference.INTEGERS
    assert np.shape(before) == np.shape(after), rule
    found = Difference(0)
    if before.dtype != after.dtype:
        found |= Difference.INTEGERS if dtype in INTEGERS else Difference.DTYPE
    if dtype in INTEGERS:
        a, b = before.astype("f8"), after.astype("f8")
        if before.dtype.kind in "iu" and after.dtype.kind in "iu":
            same = np.array_equal(before, after)
        else:
            scale = max(np.finfo(d.dtype).eps for d in (before, after) if d.dtype.kind == "f")
            same = np.allclose(a, b, rtol=ROUNDING * scale, atol=ROUNDING * scale * 8)
            if same and found == Difference(0) and not np.array_equal(a, b):
                found |= Difference.ROUNDING
        return found if same else found | Difference.INTEGERS
    return found | _compare_floats(before, after, given, rule)


def _compare_floats(before: Any, after: Any, given: dict[str, Any], rule: Rule) -> Difference:
    eps = float(np.finfo(next(v.dtype for v in given.values() if isinstance(v, np.ndarray))).eps)
    a, b = before.astype("f8"), after.astype("f8")
    operands = [v.astype("f8") for v in given.values() if isinstance(v, np.ndarray)]
    x = given.get("x", given.get("gate", given.get("y"))).astype("f8")
    if "softmax" in rule.function:  # one element changes its whole row, or all rows
        everything = rule.replacement.startswith("fa.softmax(np.ravel")
        with np.errstate(invalid="ignore"):
            sums = [v.sum() if everything else v.sum(1, keepdims=True) for v in operands]
        operands = [np.broadcast_to(total, x.shape) for total in sums]
        x = np.any([np.isnan(total) for total in sums], axis=0)
        x = np.broadcast_to(np.where(x, np.nan, 1.0), a.shape)
    differ = ~((a == b) & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b))
    nan = np.isnan(x)
    infinite = ~nan & (~np.isfinite(a) | np.any([~np.isfinite(v) for v in operands], axis=0))
    ordinary = ~nan & ~infinite
    scale = np.max([np.abs(v) for v in [*operands, a, b]], axis=0, where=ordinary, initial=1)
    with np.errstate(invalid="ignore"):
        far = np.abs(a - b) > ROUNDING * eps * scale
    found = Difference(0)
    for flag, where in (
        (Difference.NAN, differ & nan),
        (Difference.INFINITY, differ & infinite),
        (Difference.KINK, differ & ordinary & far & (x == 0)),
        (Difference.ZERO, differ & ordinary & (a == b)),
        (Difference.ROUNDING, differ & ordinary & (a != b) & ~far),
    ):
        if where.any():
            found |= flag
    wrong = differ & ordinary & far & (x != 0)
    assert not wrong.any(), (rule, x.dtype, x[wrong][:5], a[wrong][:5], b[wrong][:5])
    return found
