"""Which dtypes an array may have, and in which type the values are computed.

Half types are stored in 16 bits, computed in float32 and rounded once; everything else is computed
in the type it is stored in.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from typing import Any

import numpy as np

from fastact import loading

__all__ = ["BFLOAT16", "FLOATS", "INTEGERS", "Kind", "bfloat16_dtype", "float_dtypes"]


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a kernel reads, computes and writes the elements of one dtype.

    ``storage`` and ``compute`` are Numba's names of scalar types. ``load`` and ``store`` name the
    conversions between them, empty where there is nothing to convert.
    """

    name: str
    storage: str
    compute: str
    load: str = ""
    store: str = ""

    @functools.cached_property
    def itemsize(self) -> int:
        return np.dtype(self.storage).itemsize

    @functools.cached_property
    def bits(self) -> Kind:
        """Elements as they are stored, with nothing to convert."""
        return Kind(self.name, self.storage, self.storage)

    @functools.cached_property
    def is_integer(self) -> bool:
        return np.dtype(self.compute).kind in "iu"


def _plain(name: str) -> Kind:
    return Kind(name, name, name)


#: NumPy's one-letter codes, in the order in which a ufunc tries its loops. "l" and "q" may be the
#: same size; both are listed because NumPy keeps them apart.
INTEGERS = {char: _plain(np.dtype(char).name) for char in "bBhHiIlLqQ"}
FLOATS = {
    "e": Kind("float16", "uint16", "float32", "load_float16", "store_float16"),
    "f": _plain("float32"),
    "d": _plain("float64"),
}
BFLOAT16 = Kind("bfloat16", "uint16", "float32", "load_bfloat16", "store_bfloat16")


def bfloat16_dtype() -> np.dtype[Any] | None:
    """ml_dtypes' bfloat16, or None where ml_dtypes is not installed.

    The import takes 9 ms, and only then can NumPy arrays of that dtype exist.
    """
    if importlib.util.find_spec("ml_dtypes") is None:
        return None
    with loading.lock:
        import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def float_dtypes() -> list[tuple[np.dtype[Any], Kind]]:
    """Those that there are, with bfloat16 where ml_dtypes is installed."""
    bfloat16 = bfloat16_dtype()
    return [
        *((np.dtype(char), kind) for char, kind in FLOATS.items()),
        *([] if bfloat16 is None else [(bfloat16, BFLOAT16)]),
    ]
