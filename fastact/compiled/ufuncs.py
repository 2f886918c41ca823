"""Overloads of elementwise ufuncs, for numbers and for arrays.

Numba turns an array expression into one loop that calls each ufunc with numbers: what is said for
arrays gives the type of the result, and is run where there is ``out`` or more than one result.

Arrays decide in which type is computed, as NumPy promotes theirs; parameters are converted to it,
as NumPy converts Python's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.core.typing.typeof import Purpose
from numba.extending import NativeValue, overload, typeof_impl, unbox
from numba.np.numpy_support import as_dtype

from fastact.compiled.hints import interleaved
from fastact.compiled.kernels import AS_OURS, define, is_long, values
from fastact.public.made import Kernel

__all__ = ["absent", "float_of", "overload_ufunc", "refresh"]


def overload_ufunc(ufunc: np.ufunc, kernel: Kernel) -> None:
    """Have Numba know a ufunc."""
    inputs = [f"x{k}" for k in range(ufunc.nin)]
    given = ", ".join(inputs)
    text = f"def typing({given}, out=None):\n    return implementation(({given},), out)\n"

    def implementation(given: Sequence[Any], out: Any) -> Any:
        return _implementation(kernel, given, out)

    typing = define("typing", text, {"implementation": implementation})
    overload(ufunc, jit_options=AS_OURS, inline=_is_of_numbers, target="cpu")(typing)
    _known.add(ufunc)


def _is_of_numbers(call: Any, caller: Any, called: Any) -> bool:
    """Whether Numba is to inline a call: see ``hints``."""
    return not any(isinstance(of, types.Array | types.BaseTuple) for of in called.signature.args)


def refresh() -> None:
    """Have Numba take notice of new overloads, even while it is compiling what names them."""
    cpu_target.typing_context.refresh()


def absent(given: Any) -> bool:
    """Whether an argument is None or not given."""
    missing = isinstance(given, types.NoneType | types.Omitted)
    return missing or not isinstance(given, types.Type)  # Numba passes defaults as they are, too


# --- ufuncs as arguments ------------------------------------------------------------------------

_known: set[np.ufunc] = set()


@typeof_impl.register(np.ufunc)
def _type_of(ufunc: np.ufunc, context: Any) -> Any:
    """A ufunc's type as that of an argument: that which a global name of it has, too."""
    if context.purpose is not Purpose.argument or ufunc not in _known:
        return None
    return cpu_target.typing_context._lookup_global(ufunc)


@unbox(types.Function)
def _unboxed(of: Any, obj: Any, c: Any) -> Any:
    return NativeValue(c.context.get_dummy_value())


# --- types --------------------------------------------------------------------------------------


def _implementation(kernel: Kernel, given: Sequence[Any], out: Any) -> Any:
    """What Numba compiles for arguments of these types."""
    given = [types.unliteral(t) if isinstance(t, types.Type) else t for t in given]
    for k, of in enumerate(given):
        number = of.dtype if isinstance(of, types.Array) else of
        if not isinstance(number, types.Number | types.Boolean):
            raise TypingError(
                f"{kernel.name}: argument {k + 1} must be a number or an array of numbers, not {of}"
            )
    compute = _computed_in(kernel, given)
    if absent(out) and not any(isinstance(of, types.Array) for of in given):
        return _of_numbers(kernel, len(given), compute)
    return _of_arrays(kernel, given, None if absent(out) else out, compute)


def _computed_in(kernel: Kernel, given: Sequence[Any]) -> str:
    """The name of the type that is computed in."""
    dtypes = [as_dtype(getattr(of, "dtype", of)) for of in given]
    common = np.result_type(*dtypes[: kernel.arrays])
    keeps = kernel.which == "forward" and kernel.entry.keeps_integers
    if keeps and all(dtype.kind in "iu" for dtype in (*dtypes, common)):
        return common.name
    return float_of(kernel.name, given[: kernel.arrays])


def float_of(function: str, given: Sequence[Any]) -> str:
    """The name of the floating-point type that arguments of these types have in common."""
    common = np.result_type(*(as_dtype(getattr(of, "dtype", of)) for of in given))
    if common.kind in "iub":
        return "float64"
    if common in (np.float32, np.float64):
        return common.name
    raise TypingError(f"{function}: Numba does not compute with {common} on the CPU")


# --- numbers ------------------------------------------------------------------------------------


def _computed(kernel: Kernel, operands: Sequence[str]) -> list[str]:
    """Source of the outputs."""
    converted = ", ".join(f"T({x})" for x in operands)
    return [f"T(value{k}({converted}))" for k in range(kernel.outputs)]


def _namespace(kernel: Kernel, compute: str) -> dict[str, Any]:
    functions = {f"value{k}": value for k, value in enumerate(values(kernel, compute))}
    return {**functions, "T": getattr(types, compute), "np": np}


def _of_numbers(kernel: Kernel, count: int, compute: str) -> Any:
    names = [f"x{k}" for k in range(count)]
    results = ", ".join(_computed(kernel, names))
    hint = "    interleaved()\n" if is_long(kernel, compute) else ""
    text = f"def of_numbers({', '.join(names)}, out=None):\n{hint}    return {results}\n"
    return define("of_numbers", text, _namespace(kernel, compute) | {"interleaved": interleaved})


# --- arrays -------------------------------------------------------------------------------------


def _of_arrays(kernel: Kernel, given: Sequence[Any], out: Any, compute: str) -> Any:
    names = [f"x{k}" for k in range(len(given))]
    arrays = [name for name, of in zip(names, given, strict=True) if isinstance(of, types.Array)]
    outputs = [f"y{k}" for k in range(kernel.outputs)]
    of_out = _output_types(kernel, out, compute)
    shapes = ", ".join(f"{name}.shape" for name in arrays)
    lines = [f"def of_arrays({', '.join(names)}, out=None):"]
    lines += [f"    shape = np.broadcast_shapes({shapes})" if arrays else "    shape = out.shape"]
    for k, output in enumerate(outputs):
        if not of_out:
            lines += [f"    {output} = np.empty(shape, dtype)"]
            continue
        lines += [f"    {output} = {'out' if kernel.outputs == 1 else f'out[{k}]'}"]
        if arrays:
            # Not compared as tuples: these may be of different lengths.
            lines += [
                f"    if np.broadcast_shapes(shape, {output}.shape) != {output}.shape:",
                f"        raise ValueError('{kernel.name}: out has another shape than the result')",
                f"    shape = {output}.shape",
            ]
    everything = [of for of in (*given, *of_out) if isinstance(of, types.Array)]
    lines += _flat(kernel, names, arrays, outputs, everything)
    # Element by element, at places of all dimensions.
    lines += [f"    b{name} = np.broadcast_to({name}, shape)" for name in arrays]
    elements = [f"b{name}[place]" if name in arrays else name for name in names]
    results = _computed(kernel, elements)
    computed = [f"r{k} = {result}" for k, result in enumerate(results)]
    lines += ["    for place in np.ndindex(shape):", *(f"        {line}" for line in computed)]
    lines += [f"        {output}[place] = r{k}" for k, output in enumerate(outputs)]
    lines += [f"    return {', '.join(outputs)}"]
    namespace = _namespace(kernel, compute) | {"dtype": as_dtype(getattr(types, compute))}
    return define("of_arrays", "\n".join(lines), namespace)


def _flat(
    kernel: Kernel,
    names: Sequence[str],
    arrays: Sequence[str],
    outputs: Sequence[str],
    everything: Sequence[Any],
) -> list[str]:
    """The same as one loop, which is vectorized, where arrays are contiguous and of one shape."""
    dimensions = {of.ndim for of in everything}
    if len(dimensions) > 1 or any(of.layout != "C" for of in everything):
        return []
    same = " and ".join(f"{name}.shape == shape" for name in arrays) or "True"
    flat = [f"f{name} = {name}.reshape({name}.size)" for name in (*arrays, *outputs)]
    elements = [f"f{name}[i]" if name in arrays else name for name in names]
    computed = [f"r{k} = {result}" for k, result in enumerate(_computed(kernel, elements))]
    stored = [f"f{output}[i] = r{k}" for k, output in enumerate(outputs)]
    return [
        f"    if {same}:",
        *(f"        {line}" for line in flat),
        f"        for i in range({outputs[0]}.size):",
        *(f"            {line}" for line in (*computed, *stored)),
        f"        return {', '.join(outputs)}",
    ]


def _output_types(kernel: Kernel, out: Any, compute: str) -> list[Any]:
    """The types of the arrays that ``out`` is; none where there is no ``out``."""
    if out is None:
        return []
    found = [out] if kernel.outputs == 1 else [*getattr(out, "types", [])]
    if len(found) != kernel.outputs or not all(isinstance(of, types.Array) for of in found):
        wanted = "an array" if kernel.outputs == 1 else f"a tuple of {kernel.outputs} arrays"
        raise TypingError(f"{kernel.name}: out must be {wanted}, not {out}")
    for of in found:
        if not of.mutable:
            raise TypingError(f"{kernel.name}: out is read-only")
        if not np.can_cast(np.dtype(compute), as_dtype(of.dtype), "same_kind"):
            raise TypingError(
                f"{kernel.name}: out is of {of.dtype}, which the result, of {compute}, does not fit"
            )
    return found
