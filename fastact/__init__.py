"""Compiled activation functions for NumPy arrays: forward, in place and backward, on all cores.

    import fastact as fa

    y = fa.relu(x)                     # instead of np.maximum(x, 0)
    dx = fa.relu_backward(dy, x)       # instead of dy * (x > 0)
    fa.leaky_relu_(x, 0.1)             # in place

The functions are NumPy ufuncs, or call one: ``out=``, ``where=``, ``dtype=``, broadcasting and
array-likes work as in NumPy. Nothing is compiled at import; a name is built when it is first used,
a kernel when it is first called, and compiled kernels are kept on disk.
"""

import os as _os
from typing import Any

from fastact import loading as _loading
from fastact.public import names as _names

__version__ = "0.1.0"
__all__ = [*_names.NAMES, "__version__"]


def __getattr__(name: str) -> Any:
    with _loading.lock:
        return globals().setdefault(name, _names.build(name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_names.NAMES})


if _os.environ.get("FASTACT_MEMORY"):
    from fastact.memory import enable_from_environment as _enable_memory

    _enable_memory()
