"""Elementwise ufuncs: of an entry's kernels, and of formulas that are no activations.

The latter are what integrations and objectives are made of; their formulas follow the rules at the
top of the catalogue's page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.catalogue.dtypes import BFLOAT16, FLOATS, INTEGERS, Kind, bfloat16_dtype
from fastact.cpu import loops
from fastact.cpu.compiler import Unit
from fastact.cpu.ufunc import Loop, Shape, make

__all__ = ["elementwise_ufunc", "kernel"]


def kernel(name: str, arrays: int, *formulas: Callable[..., Any], parameters: int = 0) -> np.ufunc:
    """A ufunc of ``arrays`` arrays and then ``parameters`` numbers, with a result of each formula.

    All formulas have the same arguments. What they compute in common is computed once.
    """

    def unit(operands: loops.Operands) -> Unit:
        return loops.formulas(name, formulas, operands)

    doc = " ".join(formula.__doc__ or "" for formula in formulas)
    return elementwise_ufunc(name, doc, unit, arrays, parameters, len(formulas))


def elementwise_ufunc(
    name: str,
    doc: str,
    unit: Callable[[loops.Operands], Unit],
    arrays: int,
    parameters: int = 0,
    outputs: int = 1,
    *,
    integers: bool = False,
    weights: bool = False,
) -> np.ufunc:
    """A ufunc of arrays, then parameters; ``unit`` is what compiles its loop for some operands.

    ``integers``: it has loops of those, too. ``weights``: parameters usually are arrays.
    """

    def of(kind: Kind, dtype: np.dtype[Any], parameter: tuple[Kind, np.dtype[Any]] | None) -> Loop:
        parameter_kind, parameter_dtype = parameter or (None, dtype)
        operands = loops.Operands(arrays, parameters, kind, parameter_kind, weights, outputs)
        dtypes = (*[dtype] * arrays, *[parameter_dtype] * parameters, *[dtype] * outputs)
        return Loop(dtypes, tuple(operands.kinds), parameters, lambda: unit(operands))

    kinds = (INTEGERS if integers else {}) | FLOATS
    made = [of(kind, np.dtype(char), None) for char, kind in kinds.items()]
    bfloat16 = bfloat16_dtype()
    if bfloat16 is not None:
        # NumPy promotes bfloat16 with a Python float to float32, so parameters are taken as
        # float64, which every number can be cast to safely, and rounded to float32.
        double = (FLOATS["d"], np.dtype("d")) if parameters else None
        made.append(of(BFLOAT16, bfloat16, double))
        if weights:
            made.append(of(BFLOAT16, bfloat16, None))
    return make(name, doc, Shape(arrays + parameters, outputs), made)
