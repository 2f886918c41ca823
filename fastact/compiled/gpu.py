"""The functions of numbers inside ``@cuda.jit``, from the source text of the kernels on GPUs.

In Numba's simulator kernels are Python, which calls the public functions as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.cuda.extending import overload

from fastact.catalogue import Form
from fastact.catalogue.dtypes import FLOATS
from fastact.compiled.functions import overload_function
from fastact.compiled.kernels import define
from fastact.compiled.ufuncs import absent
from fastact.cuda import device, kernels
from fastact.public.made import Kernel

__all__ = ["overload_on_gpu", "refresh"]

_FORMULAS = {
    "forward": kernels.forward,
    "backward": kernels.backward,
    "backward_from_output": kernels.backward_from_output,
    "gated_forward": kernels.gated,
    "gated_backward": kernels.gated_backward,
}
_KINDS = {kind.name: kind for kind in FLOATS.values()}
#: What the source of kernels may call.
_PRIMITIVES = {name: getattr(device, name) for name in vars(device) if not name.startswith("_")}


def overload_on_gpu(function: Any, of: Kernel | Form) -> None:
    """Have Numba's CUDA target know a function."""
    if not isinstance(of, Kernel):
        overload_function(function, of, overload, "cuda")
        return
    inputs = ", ".join(f"x{k}" for k in range(of.arrays + of.parameters))
    text = f"def typing({inputs}, out=None):\n    return implementation(({inputs},), out)\n"

    def implementation(given: Sequence[Any], out: Any) -> Any:
        return _of_numbers(of, given, out)

    overload(function, target="cuda")(define("typing", text, {"implementation": implementation}))


def refresh() -> None:
    """Have Numba take notice of new overloads, even while it is compiling what names them."""
    from numba.cuda.descriptor import cuda_target

    cuda_target.typing_context.refresh()


def _of_numbers(kernel: Kernel, given: Sequence[Any], out: Any) -> Any:
    given = [types.unliteral(of) for of in given]
    if not absent(out) or not all(isinstance(of, types.Number | types.Boolean) for of in given):
        raise TypingError(f"{kernel.name}: on a GPU, compiled code can call it with numbers only")
    numbers = [np.dtype(str(of)) for of in given[: kernel.arrays]]
    common = np.result_type(*numbers)
    storage = common.name if common.kind == "f" else "float64"
    names = [f"x{k}" for k in range(len(given))]
    # Defaults are numbers like others here, as in ``fastact.cuda``.
    defaults = [] if kernel.parameters else _defaults(kernel)
    converted = ", ".join(f"T({x})" for x in [*names, *defaults])
    functions = _values(kernel, storage)
    results = ", ".join(f"S({name}({converted}))" for name in functions)
    text = f"def of_numbers({', '.join(names)}, out=None):\n    return {results}\n"
    kind = _KINDS[storage]
    known = {"T": getattr(types, kind.compute), "S": getattr(types, storage)}
    return define("of_numbers", text, {**functions, **known})


def _defaults(kernel: Kernel) -> list[Any]:
    """The parameters that a formula has, and its kernel does not."""
    entry, which = kernel.entry, kernel.which
    own = entry.parameters if which in ("forward", "backward") else {}
    return [*own.values(), *(entry.derivative_parameters.values() if which == "backward" else [])]


@functools.cache
def _values(kernel: Kernel, storage: str) -> dict[str, Any]:
    """The functions of numbers that give a kernel's outputs."""
    kind = _KINDS[storage]
    namespace = _PRIMITIVES | {"T": getattr(types, kind.compute), "A": types.float64}
    text = _FORMULAS[kernel.which](kernel.entry, kind)
    exec(compile(text, f"<fastact {kernel.name} on a GPU>", "exec"), namespace)
    outputs = range(kernel.outputs)
    names = ["value"] if kernel.outputs == 1 else [f"value{k}" for k in outputs]
    return {name: namespace[name] for name in names}
