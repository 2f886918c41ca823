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

__version__ = "0.1.0"


# The catalogue is imported with the first name: Numba imports this package in every program that
# compiles anything (see ``compiled``).
def __getattr__(name: str) -> Any:
    with _loading.lock:
        from fastact.public import names

        if name == "__all__":
            return globals().setdefault(name, [*names.NAMES, "__version__"])
        return globals().setdefault(name, names.build(name))


def __dir__() -> list[str]:
    with _loading.lock:
        from fastact.public import names

    return sorted({*globals(), *names.NAMES})


if _os.environ.get("FASTACT_MEMORY"):
    from fastact.memory import enable_from_environment as _enable_memory

    _enable_memory()
