"""Serial inner loops with NumPy's own signature, generated from a formula.

A loop has two forms: over contiguous operands that are the very same or apart, which LLVM
vectorizes, and over operands with any strides.

The source of a loop is text, made here, so that what is compiled can be read
(``print(loops.forward(entry, kind).text)``) and so that the text is the cache key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fastact.catalogue import Activation
from fastact.catalogue.dtypes import Kind
from fastact.cpu.compiler import Unit
from fastact.cpu.target import traits
from fastact.source.choices import choices_source
from fastact.source.formulas import (
    Formula,
    backward_source,
    call,
    functions_source,
    gated_backward_source,
    gated_source,
    with_defaults,
)

__all__ = [
    "Operands",
    "backward",
    "backward_from_output",
    "formulas",
    "forward",
    "gated",
    "gated_backward",
    "unit_of_source",
]


@dataclasses.dataclass(frozen=True)
class Operands:
    """The operands of an elementwise kernel: arrays, then parameters, then outputs.

    ``parameter_kind`` is given where parameters have another dtype than the arrays. ``weights``:
    the parameters may be contiguous arrays, too, and deserve a fast path for that.
    """

    arrays: int
    parameters: int
    kind: Kind
    parameter_kind: Kind | None = None
    weights: bool = False
    outputs: int = 1

    @property
    def inputs(self) -> int:
        return self.arrays + self.parameters

    @property
    def kinds(self) -> list[Kind]:
        parameter_kind = self.parameter_kind or self.kind
        parameters = [parameter_kind] * self.parameters
        return [self.kind] * self.arrays + parameters + [self.kind] * self.outputs


def forward(entry: Activation, operands: Operands) -> Unit:
    """The loop ``out = formula(x, *parameters)``."""
    name = f"{_name(entry, operands)}-{operands.kind.name}"
    formula = _formula(entry, operands, "formula")
    unit = _choices(name, formula, operands)
    if unit is not None:
        return unit
    functions = functions_source(operands.kind.compute, wide=_wide(), value=formula)
    return _unit(name, functions, operands)


def backward(entry: Activation, operands: Operands) -> Unit:
    """The loop ``out = grad * derivative(x, *parameters)``, 0 where the derivative is 0."""
    name = f"{_name(entry, operands)}_backward-{operands.kind.name}"
    derivative = _formula(entry, operands, "derivative")
    unit = _choices(name, derivative, operands, slope=True)
    if unit is not None:
        return unit
    known = entry.parameters | entry.derivative_parameters
    parameters = [*known] if operands.parameters else []
    functions = backward_source(derivative, parameters, operands.kind.compute, _wide())
    return _unit(name, functions, operands)


def backward_from_output(entry: Activation, operands: Operands) -> Unit:
    """The same with the derivative in terms of the output."""
    assert entry.derivative_from_output is not None
    name = f"{entry.name}_from_output"
    return backward(entry.replaced(name=name, derivative=entry.derivative_from_output), operands)


def _wide() -> bool:
    """Whether loops are made of explicit vectors, of 512 bits."""
    return "avx512" in traits()


def _name(entry: Activation, operands: Operands) -> str:
    """Of the kernel; that without parameters, of a function that has some, is another one."""
    return f"{entry.name}_default" if entry.parameters and not operands.parameters else entry.name


def _formula(entry: Activation, operands: Operands, which: str) -> Formula:
    if operands.parameters:
        return Formula(getattr(entry, which))
    return with_defaults(entry, which, operands.kind.name)


def gated(entry: Activation, operands: Operands) -> Unit:
    """The loop ``out = formula(gate) * up``."""
    functions = gated_source(entry, operands.kind.compute, _wide())
    return _unit(f"{entry.name}_gated-{operands.kind.name}", functions, operands)


def gated_backward(entry: Activation, operands: Operands) -> Unit:
    """Both gradients: those by the gate and by ``up``; 0 where what grad is multiplied by is 0."""
    functions = gated_backward_source(entry, operands.kind.compute, _wide())
    return _unit(f"{entry.name}_gated_backward-{operands.kind.name}", functions, operands)


def formulas(name: str, values: Sequence[Callable[..., Any]], operands: Operands) -> Unit:
    """The loop ``out0, out1, ... = values[0](...), values[1](...), ...`` of the same operands."""
    named = dict(zip(_value_names(operands), map(Formula, values), strict=True))
    functions = functions_source(operands.kind.compute, "T", wide=_wide(), **named)
    return _unit(f"{name}-{operands.kind.name}", functions, operands)


# --- loops --------------------------------------------------------------------------------------


def _unit(name: str, functions: str, operands: Operands) -> Unit:
    kind = operands.kind
    if _wide() and kind.compute in ("float32", "float64"):
        return _unit_of_vectors(name, functions, operands, _together(functions))
    # Polynomials make a formula long.
    text = f"{functions}\n{_loop(operands, interleaved='fma(' in functions)}"
    return unit_of_source(name, text, operands.kinds, kind.compute)


def _choices(name: str, formula: Formula, operands: Operands, slope: bool = False) -> Unit | None:
    """The loop on stored bits; None unless it is one of a half type that only chooses."""
    kind = operands.kind
    if not kind.store or operands.parameter_kind not in (None, kind):
        return None
    functions = choices_source(formula, kind, slope)
    if not functions:
        return None
    operands = dataclasses.replace(operands, kind=kind.bits, parameter_kind=None)

    def comparisons() -> dict[str, Any]:
        from fastact.cpu import half

        return half.choices(kind.name)

    text = f"{functions}\n{_loop(operands, interleaved=False)}"
    return unit_of_source(name, text, operands.kinds, kind.bits.compute, more=comparisons)


def _together(functions: str) -> int:
    """How many vectors are worked on in turn; ratios of times are on an AMD Zen 5, in the cache.

    Long formulas are bound by the latency of divisions: with eight, mish takes 0.86 of the time of
    four, softplus 0.87, silu 0.95, elu 1.03. Tables fill the registers that more vectors would
    need, and the more numbers a choice is made for, the likelier one is far out: with one, gelu
    takes 0.96 of the time of four, tanh 0.98.
    """
    if "piecewise(" in functions:
        return 1
    return 8 if "fma(" in functions else 4


def _unit_of_vectors(name: str, functions: str, operands: Operands, together: int) -> Unit:
    """What compiles a loop of explicit vectors (see ``vectors``)."""
    kinds, compute = operands.kinds, operands.kind.compute
    names = _value_names(operands)

    def emitted() -> dict[str, Any]:
        from fastact.cpu import vectors

        of = vectors.Elementwise(functions, tuple(names), tuple(kinds), compute, together)
        return vectors.elementwise(of)

    loop = _loop_of_vectors(operands)
    text = f"# {together} vectors in turn\n{functions}\n{loop}"
    return unit_of_source(name, text, kinds, compute, functions=loop, more=emitted)


#: Types that a source text may name.
_INTEGERS = ("int32", "int64", "uint8", "uint16", "uint32", "uint64")


def unit_of_source(
    name: str,
    text: str,
    kinds: Iterable[Kind],
    compute: str,
    arrays: Mapping[str, tuple[str, int]] | None = None,
    module: str = "fastact.cpu.loops",
    functions: str | None = None,
    more: Callable[[], dict[str, Any]] = dict,
) -> Unit:
    """What compiles the function ``loop`` of a source text.

    ``kinds`` are those of the operands; ``arrays`` are the types and lengths of arrays on the
    stack, by the names of the functions that give them; ``module`` is the one that made the text.
    Of a text that is not all for Numba, ``functions`` is what is; it may name what ``more`` gives.
    """

    def build() -> tuple[Callable[..., Any], Any]:
        from numba import njit, types

        from fastact.cpu import half, intrinsics

        namespace: dict[str, Any] = {
            **{name: getattr(intrinsics, name) for name in intrinsics.FOR_LOOPS},
            **{k.load: getattr(half, k.load) for k in kinds if k.load},
            **{k.store: getattr(half, k.store) for k in kinds if k.store},
            **{k.storage: getattr(types, k.storage) for k in kinds},
            **{
                array: intrinsics.stack_array(getattr(types, dtype), length)
                for array, (dtype, length) in (arrays or {}).items()
            },
            "T": getattr(types, compute),
            **{name: getattr(types, name) for name in _INTEGERS},
            "A": types.float64,
            "INFINITY": float("inf"),
            # forceinline: a call inside a loop keeps LLVM from vectorizing it.
            "formula": njit(  # type: ignore[call-overload]
                forceinline=True,
                error_model="numpy",
                no_cpython_wrapper=True,
                no_cfunc_wrapper=True,
            ),
            **more(),
        }
        exec(compile(functions or text, f"<fastact {name}>", "exec"), namespace)
        return namespace["loop"], intrinsics.LOOP_SIGNATURE

    helpers = ("loops", "intrinsics", "half", "arithmetic", "vectors")
    modules = (module, "fastact.catalogue.dtypes", *(f"fastact.cpu.{helper}" for helper in helpers))
    return Unit(name, build, modules, text)


def _value_names(operands: Operands) -> list[str]:
    """The functions that a loop's source has, one for each output."""
    outputs = operands.outputs
    return ["value"] if outputs == 1 else [f"value{k}" for k in range(outputs)]


def _opening(operands: Operands) -> list[str]:
    lines = [
        "def loop(args, dimensions, steps, data):",
        "    n = dimensions[0]",
        "    if n < 1:",
        "        return",
    ]
    for k, kind in enumerate(operands.kinds):
        lines += [f"    a{k} = operand(args, {k}, {kind.storage})", f"    s{k} = steps[{k}]"]
    return lines


def _contiguous(operands: Operands, contiguous: range, scalars: range) -> str:
    """A condition: these inputs and the outputs are contiguous, ``scalars`` are single numbers."""
    size = operands.kind.itemsize
    outputs = range(operands.inputs, len(operands.kinds))
    tests = [f"s{k} == {size}" for k in (*contiguous, *outputs)]
    tests += [f"s{k} == 0" for k in scalars]
    pairs = [(k, out) for out in outputs for k in (*contiguous, *outputs) if k < out]
    tests += [f"same_or_apart(a{k}, a{out}, n * {size})" for k, out in pairs]
    return " and ".join(tests)


def _loop_of_vectors(operands: Operands) -> str:
    inputs = range(operands.inputs)
    paths = [(inputs[: operands.arrays], inputs[operands.arrays :])]
    if operands.weights and operands.parameter_kind is None:
        paths.append((inputs, range(0)))
    lines = _opening(operands)
    for contiguous, scalars in paths:
        lines += [
            f"    if {_contiguous(operands, contiguous, scalars)}:",
            f"        vectors(args, n, {sum(1 << k for k in scalars)})",
            "        return",
        ]
    return "\n".join([*lines, "    elements(args, steps, n)"]) + "\n"


def _loop(operands: Operands, interleaved: bool) -> str:
    kinds = operands.kinds
    inputs, outputs = range(operands.inputs), range(operands.inputs, len(kinds))
    arrays, parameters = inputs[: operands.arrays], inputs[operands.arrays :]
    lines = _opening(operands)

    def loop(read: Callable[[int], str], write: Callable[[int, str], str]) -> list[str]:
        values = ", ".join(f"x{k}" for k in inputs)
        results = [f"T({function}({values}))" for function in _value_names(operands)]
        # Everything is read before anything is written: an output may be one of the inputs.
        return [
            "for i in range(n):",
            *(f"    x{k} = {read(k)}" for k in inputs),
            *(
                f"    y{k} = {call(kinds[k].store, result)}"
                for k, result in zip(outputs, results, strict=True)
            ),
            *(f"    {write(k, f'y{k}')}" for k in outputs),
        ]

    def fast_path(contiguous: range, scalars: range) -> list[str]:
        path = [f"v{k} = {_value(kinds[k], f'a{k}[0]')}" for k in scalars]

        def read(k: int) -> str:
            return f"v{k}" if k in scalars else _value(kinds[k], f"load(a{k}, i)")

        if not interleaved and len(outputs) == 1:
            # Short formulas: a store through the pointer that was loaded from takes 0.8 of the time
            # of one through another pointer to the same place (relu of 10 000 float32).
            for same in arrays:
                path += [
                    f"if address(a{same}) == address(a{outputs[0]}):",
                    *(f"    {line}" for line in loop(read, lambda _, y: f"store(a{same}, i, {y})")),  # noqa: B023
                    "        independent()",
                    "    return",
                ]
        path += loop(read, lambda k, y: f"store(a{k}, i, {y})")
        path += ["    interleaved()" if interleaved else "    independent()", "return"]
        tests = _contiguous(operands, contiguous, scalars)
        return [f"    if {tests}:", *(f"        {line}" for line in path)]

    lines += fast_path(arrays, parameters)
    if operands.weights and operands.parameter_kind is None:
        lines += fast_path(inputs, range(0))
    strided = loop(
        lambda k: _value(kinds[k], f"shifted(a{k}, i * s{k})[0]"),
        lambda k, y: f"shifted(a{k}, i * s{k})[0] = {y}",
    )
    return "\n".join([*lines, *(f"    {line}" for line in strided)]) + "\n"


def _value(kind: Kind, element: str) -> str:
    """The element as a value of the type that is computed in."""
    return f"T({call(kind.load, element)})"
