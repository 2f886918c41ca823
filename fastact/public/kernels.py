"""Ufuncs of formulas that are no activations: what integrations and objectives are made of.

The formulas follow the rules at the top of the catalogue's page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.catalogue.dtypes import BFLOAT16, FLOATS, Kind, float_dtypes
from fastact.cpu import loops
from fastact.cpu.ufunc import Loop, Shape, make

__all__ = ["kernel"]


def kernel(name: str, arrays: int, *formulas: Callable[..., Any], parameters: int = 0) -> np.ufunc:
    """A ufunc of ``arrays`` arrays and then ``parameters`` numbers, with a result of each formula.

    All formulas have the same arguments. What they compute in common is computed once.
    """

    def of(dtype: np.dtype[Any], kind: Kind) -> Loop:
        # NumPy promotes bfloat16 with a Python float to float32: its parameters are float64.
        double = kind is BFLOAT16 and parameters
        parameter_kind = FLOATS["d"] if double else None
        parameter_dtype = np.dtype("d") if double else dtype
        operands = loops.Operands(arrays, parameters, kind, parameter_kind, outputs=len(formulas))
        dtypes = (*[dtype] * arrays, *[parameter_dtype] * parameters, *[dtype] * len(formulas))
        return Loop(
            dtypes,
            tuple(operands.kinds),
            parameters,
            lambda: loops.formulas(name, formulas, operands),
        )

    doc = " ".join(formula.__doc__ or "" for formula in formulas)
    made = [of(dtype, kind) for dtype, kind in float_dtypes()]
    return make(name, doc, Shape(arrays + parameters, len(formulas)), made)
