"""The catalogue on a GPU: ``f``, ``f_`` and ``f_backward`` of every activation."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from fastact.catalogue import ALIASES, CATALOGUE, GATED, ROWS, Activation
from fastact.catalogue.dtypes import Kind
from fastact.cuda import arrays, kernels
from fastact.cuda.arrays import View
from fastact.cuda.launch import (
    Elementwise,
    axis_number,
    check_outputs,
    check_together,
    check_without_gaps,
    elementwise_grid,
    output,
    rounded,
    row_grid,
    run,
)
from fastact.public.elementwise import constrain

__all__ = ["NAMES", "build"]

_ENTRIES = [name for name in CATALOGUE if not name.startswith("_")]
_FORMS = ("", "_", "_backward")
_PLAIN = [name for name in _ENTRIES if name not in ("prelu", "rrelu")]
_SPECIAL = [
    "maxout",
    "maxout_backward",
    "crelu",
    "crelu_backward",
    "gelu",
    "gelu_",
    "gelu_backward",
]
_SPECIAL += ["geglu", "geglu_", "geglu_backward", "glu", "glu_backward"]
_SPECIAL += [f"{name}{form}" for name in ("prelu", "rrelu") for form in ("", "_", "_backward")]
_SPECIAL += [f"{name}{form}" for name in ("softmax", "log_softmax") for form in _FORMS]
_GATED = ["reglu", "swiglu"]
_FROM_OUTPUT = [
    f"{name}_backward_from_output" for name in _PLAIN if CATALOGUE[name].derivative_from_output
]
_OTHERS = {f"{alias}{form}": f"{name}{form}" for alias, name in ALIASES.items() for form in _FORMS}
#: Names of all functions.
NAMES = sorted(
    {f"{name}{form}" for name in [*_PLAIN, *_GATED] for form in _FORMS}
    | {*_SPECIAL, *_FROM_OUTPUT, *_OTHERS}
)


@functools.cache
def build(name: str) -> Callable[..., Any]:
    """The function of this name; raises AttributeError if there is none."""
    if name in _OTHERS:
        return build(_OTHERS[name])
    if name not in NAMES:
        raise AttributeError(f"module 'fastact.cuda' has no attribute {name!r}")
    if name in _SPECIAL:
        return globals()[name]
    if name in _FROM_OUTPUT:
        return _from_output(CATALOGUE[name.removesuffix("_backward_from_output")])
    base, form = next((name.removesuffix(f), f) for f in reversed(_FORMS) if name.endswith(f))
    if base in GATED:
        return {"": _gated, "_": _gated_in_place, "_backward": _gated_backward}[form](base)
    return {"": _forward, "_": _in_place, "_backward": _backward}[form](CATALOGUE[base])


# --- how a call goes ----------------------------------------------------------------------------


def call(
    function: str,
    kernel: Elementwise,
    given: dict[str, Any],
    parameters: Sequence[Any],
    out: Any,
    stream: Any,
    outputs: int = 1,
    vectors: dict[str, View] | None = None,
) -> Any:
    """Call a kernel on arrays, which are broadcast; the result, made like the first if not given.

    ``out``: an array, or a tuple of them where there are several ``outputs``. ``vectors`` are more
    inputs, already looked at.
    """
    views = {name: arrays.view(function, name, array) for name, array in given.items()}
    views |= vectors or {}
    first = next(iter(given.values()))
    of = views[next(iter(given))]
    shapes = {v.shape for v in views.values()}
    shape = of.shape if len(shapes) == 1 else arrays.broadcast_shape(function, sorted(shapes))
    if out is None:
        with arrays.allocating_on(first, stream):
            results = [arrays.empty(first, of, shape) for _ in range(outputs)]
    else:
        results = [out] if outputs == 1 else list(out)
        if len(results) != outputs:
            raise ValueError(f"{function}: out must be a tuple of {outputs} arrays")
    names = ["out"] if outputs == 1 else [f"out[{k}]" for k in range(outputs)]
    targets = {n: arrays.view(function, n, a) for n, a in zip(names, results, strict=True)}
    check_together(function, views | targets)
    inputs = list(views.values())
    if len(shapes) > 1 or shape != of.shape:
        inputs = [arrays.broadcast(function, v, shape) for v in inputs]
    check_outputs(function, targets, inputs if out is not None else [], shape)
    on = arrays.launch_stream([*inputs, *targets.values()], stream)
    kernel(inputs, list(targets.values()), rounded(parameters, of.kind), on)
    if out is not None:
        return out
    finished = tuple(arrays.finished(first, result) for result in results)
    return finished[0] if outputs == 1 else finished


def _elementwise(entry: Activation, form: str, arrays_in: int) -> Elementwise:
    """The kernel of an entry: its forward, or its backward from the input or the output."""
    parameters = len(entry.parameters)

    def source(kind: Any) -> str:
        if form == "forward":
            return kernels.forward(entry, kind)
        return kernels.backward(entry, kind, form == "backward_from_output")

    name = entry.name if form == "forward" else f"{entry.name}_{form}"
    return Elementwise(name, source, arrays_in, parameters, 1)


_kernel = functools.cache(_elementwise)


# --- functions with the signature of their entry ------------------------------------------------

_OUT = """\
out : array, optional
    Where the result goes, of the same dtype and device; it may be one of the inputs.
stream : optional
    A stream of PyTorch, CuPy or Numba, or its handle; the default is the first array's."""


def _define(name: str, signature: str, body: str, doc: str, **names: Any) -> Any:
    namespace = {"call": call, "constrain": constrain, **names}
    exec(f"def {name}({signature}):\n    {body}", namespace)
    function = namespace[name]
    function.__module__ = "fastact.cuda"
    function.__doc__ = doc
    return function


def _signature(entry: Activation) -> tuple[str, str]:
    """The parameters in a signature, and as a tuple."""
    given = [
        name if default is inspect.Parameter.empty else f"{name}={default!r}"
        for name, default in entry.parameters.items()
    ]
    return "".join(f"{each}, " for each in given), "".join(f"{name}, " for name in entry.parameters)


def _checks(entry: Activation) -> str:
    return "".join(
        f"constrain('{entry.name}', '{small}', {small}, '{large}', {large}); "
        for small, large in entry.constraints
    )


def _doc(entry: Activation, first: str, inputs: list[str]) -> str:
    about = [
        f"{name} : float\n    {text}"
        for name, text in zip(entry.parameters, entry.about, strict=True)
    ]
    lines = [
        *["grad : array\n    Gradient by the output."] * ("grad" in inputs),
        f"{inputs[-1]} : array\n    On a GPU: float16, bfloat16, float32 or float64; any strides.",
        *about,
        _OUT,
    ]
    parameters = "\n".join(lines)
    return f"""{first}

Parameters
----------
{parameters}

Returns
-------
array
    Of the library that the first array is from.

Raises
------
TypeError, ValueError
    If the arrays are not all on one GPU, of one dtype, and of shapes that can be broadcast.

See Also
--------
fastact.{entry.name} : the formula, and the same for NumPy's arrays: bit for bit, on a CPU that has
    fused multiply-add.
"""


def _forward(entry: Activation) -> Any:
    given, passed = _signature(entry)
    body = (
        f"{_checks(entry)}return call({entry.name!r}, kernel, {{'x': x}}, ({passed}), out, stream)"
    )
    doc = _doc(entry, entry.doc.partition("\n")[0], ["x"])
    kernel = _kernel(entry, "forward", 1)
    return _define(entry.name, f"x, {given}out=None, stream=None", body, doc, kernel=kernel)


def _in_place(entry: Activation) -> Any:
    given, passed = _signature(entry)
    name = f"{entry.name}_"
    body = f"{_checks(entry)}return call({name!r}, kernel, {{'x': x}}, ({passed}), x, stream)"
    doc = f"In place: {entry.doc.partition(chr(10))[0]} Returns x."
    kernel = _kernel(entry, "forward", 1)
    return _define(name, f"x, {given}stream=None", body, doc, kernel=kernel)


def _backward(entry: Activation) -> Any:
    given, passed = _signature(entry)
    name = f"{entry.name}_backward"
    arguments = "{'grad': grad, 'x': x}"
    kernel = _kernel(entry, "backward", 2)
    doc = _doc(entry, f"Gradient of ``{entry.name}``: grad * {entry.name}'(x).", ["grad", "x"])
    body = f"{_checks(entry)}return call({name!r}, kernel, {arguments}, ({passed}), out, stream)"
    names: dict[str, Any] = {"kernel": kernel}
    if entry.name == "relu":
        given = "at_zero=0.0, "
        names["at_zero_kernel"] = _kernel(CATALOGUE["_relu_at_zero"], "backward", 2)
        body = (
            f"return call({name!r}, at_zero_kernel if at_zero else kernel, {arguments}, "
            f"(at_zero,) if at_zero else (), out, stream)"
        )
        doc = doc.replace(
            "out : array", "at_zero : float\n    The derivative at 0.\nout : array", 1
        )
    return _define(name, f"grad, x, {given}out=None, stream=None", body, doc, **names)


def _from_output(entry: Activation) -> Any:
    name = f"{entry.name}_backward_from_output"
    kernel = _kernel(entry, "backward_from_output", 2)
    body = f"return call({name!r}, kernel, {{'grad': grad, 'y': y}}, (), out, stream)"
    doc = _doc(entry, f"Gradient of ``{entry.name}``, given its output y.", ["grad", "y"])
    return _define(name, "grad, y, out=None, stream=None", body, doc, kernel=kernel)


# --- gated units --------------------------------------------------------------------------------


@functools.cache
def _gated_kernel(name: str, backward: bool) -> Elementwise:
    entry = CATALOGUE[GATED[name].activation]
    if backward:
        source = functools.partial(kernels.gated_backward, entry)
        return Elementwise(f"{entry.name}_gated_backward", source, 3, 0, 2)
    return Elementwise(f"{entry.name}_gated", functools.partial(kernels.gated, entry), 2, 0, 1)


def _gated(name: str) -> Any:
    body = f"return call({name!r}, kernel, {{'gate': gate, 'up': up}}, (), out, stream)"
    doc = f"{GATED[name].doc}\n\nAs ``fastact.{name}``, for arrays on a GPU."
    kernel = _gated_kernel(name, False)
    return _define(name, "gate, up, out=None, stream=None", body, doc, kernel=kernel)


def _gated_in_place(name: str) -> Any:
    body = f"return call('{name}_', kernel, {{'gate': gate, 'up': up}}, (), gate, stream)"
    doc = f"In place of the gate: {GATED[name].doc}"
    kernel = _gated_kernel(name, False)
    return _define(f"{name}_", "gate, up, stream=None", body, doc, kernel=kernel)


def _gated_backward(name: str) -> Any:
    given = "{'grad': grad, 'gate': gate, 'up': up}"
    body = f"return call('{name}_backward', kernel, {given}, (), out, stream, 2)"
    doc = f"Gradients of ``{name}`` by gate and up, in one pass; ``out`` is a tuple of two."
    kernel = _gated_kernel(name, True)
    return _define(
        f"{name}_backward", "grad, gate, up, out=None, stream=None", body, doc, kernel=kernel
    )


def _approximated(function: str, approximate: str, name: str) -> str:
    """``name``, or the entry for the approximation by tanh."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"{function}: approximate must be 'none' or 'tanh', got {approximate!r}")
    return name if approximate == "none" else f"{name}_tanh"


def geglu(
    gate: Any, up: Any, approximate: str = "none", out: Any = None, stream: Any = None
) -> Any:
    """gelu(gate) * up, as ``fastact.geglu``, for arrays on a GPU."""
    kernel = _gated_kernel(_approximated("geglu", approximate, "_geglu"), False)
    return call("geglu", kernel, {"gate": gate, "up": up}, (), out, stream)


def geglu_(gate: Any, up: Any, approximate: str = "none", stream: Any = None) -> Any:
    """In place of the gate: gelu(gate) * up. Returns gate."""
    kernel = _gated_kernel(_approximated("geglu_", approximate, "_geglu"), False)
    return call("geglu_", kernel, {"gate": gate, "up": up}, (), gate, stream)


def geglu_backward(
    grad: Any, gate: Any, up: Any, approximate: str = "none", out: Any = None, stream: Any = None
) -> Any:
    """Gradients of ``geglu`` by gate and up, in one pass; ``out`` is a tuple of two."""
    kernel = _gated_kernel(_approximated("geglu_backward", approximate, "_geglu"), True)
    given = {"grad": grad, "gate": gate, "up": up}
    return call("geglu_backward", kernel, given, (), out, stream, 2)


# --- GELU, PReLU, RReLU -------------------------------------------------------------------------


def gelu(x: Any, approximate: str = "none", out: Any = None, stream: Any = None) -> Any:
    """Gaussian error linear unit: x * Phi(x), as ``fastact.gelu``, for arrays on a GPU."""
    entry = CATALOGUE[_approximated("gelu", approximate, "_gelu")]
    return call("gelu", _kernel(entry, "forward", 1), {"x": x}, (), out, stream)


def gelu_(x: Any, approximate: str = "none", stream: Any = None) -> Any:
    """In place: Gaussian error linear unit. Returns x."""
    entry = CATALOGUE[_approximated("gelu_", approximate, "_gelu")]
    return call("gelu_", _kernel(entry, "forward", 1), {"x": x}, (), x, stream)


def gelu_backward(
    grad: Any, x: Any, approximate: str = "none", out: Any = None, stream: Any = None
) -> Any:
    """Gradient of ``gelu``: grad * gelu'(x)."""
    entry = CATALOGUE[_approximated("gelu_backward", approximate, "_gelu")]
    kernel = _kernel(entry, "backward", 2)
    return call("gelu_backward", kernel, {"grad": grad, "x": x}, (), out, stream)


def _with_weight(
    function: str, form: str, given: dict[str, Any], weight: Any, axis: int, out: Any, stream: Any
) -> Any:
    """PReLU: the weight is a number, or an array on the GPU, one number for each channel."""
    entry = CATALOGUE["prelu"]
    if isinstance(weight, int | float):
        return call(function, _kernel(entry, form, len(given)), given, (weight,), out, stream)
    vector = arrays.view(function, "weight", weight)
    x = arrays.view(function, "x", given["x"])
    if vector.size != 1 and len(vector.shape) == 1:
        if not -len(x.shape) <= axis < len(x.shape) or x.shape[axis] != vector.size:
            raise ValueError(
                f"{function}: weight has {vector.size} elements, which does not fit axis {axis} of "
                f"x with shape {x.shape}"
            )
        vector = vector.along(axis % len(x.shape), len(x.shape))
    kernel = _weighted(form, len(given) + 1)
    return call(function, kernel, given, (), out, stream, 1, {"weight": vector})


@functools.cache
def _weighted(form: str, inputs: int) -> Elementwise:
    """PReLU's kernel, its parameter being an array."""
    source = getattr(kernels, form)
    entry = CATALOGUE["prelu"]
    return Elementwise(f"prelu_weights_{form}", lambda kind: source(entry, kind), inputs, 0, 1)


def prelu(x: Any, weight: Any, axis: int = 1, out: Any = None, stream: Any = None) -> Any:
    """x where x > 0, else weight * x, as ``fastact.prelu``; weight may be a number."""
    return _with_weight("prelu", "forward", {"x": x}, weight, axis, out, stream)


def prelu_(x: Any, weight: Any, axis: int = 1, stream: Any = None) -> Any:
    """In place: x where x > 0, else weight * x. Returns x."""
    return _with_weight("prelu_", "forward", {"x": x}, weight, axis, x, stream)


def prelu_backward(
    grad: Any, x: Any, weight: Any, axis: int = 1, out: Any = None, stream: Any = None
) -> Any:
    """Gradient of ``prelu`` by x; ``fused.prelu_backward`` gives the weight's, too."""
    given = {"grad": grad, "x": x}
    return _with_weight("prelu_backward", "backward", given, weight, axis, out, stream)


def _slope(function: str, lower: float, upper: float) -> float:
    constrain(function, "lower", lower, "upper", upper)
    return (lower + upper) / 2


def rrelu(
    x: Any, lower: float = 1 / 8, upper: float = 1 / 3, out: Any = None, stream: Any = None
) -> Any:
    """Randomized leaky ReLU as in evaluation, with the mean slope. There is no training form."""
    kernel = _kernel(CATALOGUE["rrelu"], "forward", 1)
    return call("rrelu", kernel, {"x": x}, (_slope("rrelu", lower, upper),), out, stream)


def rrelu_(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, stream: Any = None) -> Any:
    """In place: randomized leaky ReLU as in evaluation. Returns x."""
    kernel = _kernel(CATALOGUE["rrelu"], "forward", 1)
    return call("rrelu_", kernel, {"x": x}, (_slope("rrelu_", lower, upper),), x, stream)


def rrelu_backward(
    grad: Any,
    x: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    out: Any = None,
    stream: Any = None,
) -> Any:
    """Gradient of ``rrelu`` as in evaluation."""
    kernel = _kernel(CATALOGUE["rrelu"], "backward", 2)
    slope = (_slope("rrelu_backward", lower, upper),)
    return call("rrelu_backward", kernel, {"grad": grad, "x": x}, slope, out, stream)


# --- halves of an array -------------------------------------------------------------------------


def _halves(function: str, of: View, axis: int) -> tuple[View, View]:
    axis = axis_number(function, axis, of.shape)
    length = of.shape[axis]
    if length % 2:
        raise ValueError(
            f"{function}: axis {axis} is halved, so its length must be even, but the shape is "
            f"{of.shape}"
        )
    return of.part(axis, 0, length // 2), of.part(axis, length // 2, length // 2)


def _on_views(
    function: str,
    kernel: Elementwise,
    inputs: Sequence[View],
    outputs: dict[str, View],
    stream: Any,
    separate: bool,
) -> None:
    """Run a kernel on views of one shape."""
    check_together(function, {f"input {k}": v for k, v in enumerate(inputs)} | outputs)
    for given in inputs:
        if given.shape != inputs[0].shape:
            raise ValueError(f"{function}: shapes {given.shape} and {inputs[0].shape} differ")
    for name, target in outputs.items():  # which are apart from each other
        check_outputs(function, {name: target}, [] if separate else inputs, inputs[0].shape)
    on = arrays.launch_stream([*inputs, *outputs.values()], stream)
    kernel(inputs, list(outputs.values()), (), on)


def glu(x: Any, axis: int = -1, out: Any = None, stream: Any = None) -> Any:
    """a * sigmoid(b), a and b being the halves of x along an axis, as ``fastact.glu``."""
    of = arrays.view("glu", "x", x)
    up, gate = _halves("glu", of, axis)
    result = output(x, of, up.shape, out, stream)
    target = {"out": arrays.view("glu", "out", result)}
    _on_views("glu", _gated_kernel("_glu", False), (gate, up), target, stream, out is None)
    return arrays.finished(x, result) if out is None else out


def glu_backward(grad: Any, x: Any, axis: int = -1, out: Any = None, stream: Any = None) -> Any:
    """Gradient of ``glu``, of x's shape."""
    function = "glu_backward"
    of = arrays.view(function, "x", x)
    up, gate = _halves(function, of, axis)
    result = output(x, of, of.shape, out, stream)
    target = arrays.view(function, "out", result)
    if target.shape != of.shape:
        raise ValueError(f"{function}: out must have shape {of.shape}, got {target.shape}")
    by_up, by_gate = _halves(function, target, axis)
    inputs = (arrays.view(function, "grad", grad), gate, up)
    outputs = {"out (gate)": by_gate, "out (up)": by_up}
    _on_views(function, _gated_kernel("_glu", True), inputs, outputs, stream, out is None)
    return arrays.finished(x, result) if out is None else out


# --- rows ---------------------------------------------------------------------------------------


@functools.cache
def _row_kernel(name: str, kind: Kind) -> kernels.Kernel:
    return kernels.rows(ROWS[name], kind)


def _rows(function: str, name: str, given: dict[str, Any], axis: int, out: Any, stream: Any) -> Any:
    """Run a function of rows on arrays of one shape, without gaps."""
    views = {key: arrays.view(function, key, array) for key, array in given.items()}
    like, of = next(iter(given.values())), next(iter(views.values()))
    shape = of.shape
    axis = axis_number(function, axis, shape)
    result = output(like, of, shape, out, stream)
    target = {"out": arrays.view(function, "out", result)}
    for key, other in (views | target).items():
        if other.shape != shape:
            raise ValueError(f"{function}: {key} must have shape {shape}, got {other.shape}")
    check_without_gaps(function, views | target)
    check_together(function, views | target)
    check_outputs(function, target, list(views.values()) * (out is not None), shape)
    before, length, after = (
        math.prod(shape[:axis]),
        shape[axis],
        math.prod(shape[axis + 1 :]),
    )
    if of.size:
        on = arrays.launch_stream([*views.values(), *target.values()], stream)
        pointers = [v.pointer for v in [*views.values(), *target.values()]]
        grid, block = row_grid(before * after, length)
        kernel = _row_kernel(name, of.kind)
        run(kernel, grid, block, on, of.device, *pointers, before, length, after)
    return arrays.finished(like, result) if out is None else out


def softmax(x: Any, axis: int = -1, out: Any = None, stream: Any = None) -> Any:
    """e^x / sum(e^x) along an axis, as ``fastact.softmax``; x has no gaps."""
    return _rows("softmax", "softmax", {"x": x}, axis, out, stream)


def softmax_(x: Any, axis: int = -1, stream: Any = None) -> Any:
    """In place: softmax along an axis. Returns x."""
    return _rows("softmax_", "softmax", {"x": x}, axis, x, stream)


def softmax_backward(grad: Any, y: Any, axis: int = -1, out: Any = None, stream: Any = None) -> Any:
    """Gradient of ``softmax``, given its output y: y * (grad - sum(grad * y))."""
    name = "softmax_backward"
    return _rows(name, name, {"grad": grad, "y": y}, axis, out, stream)


def log_softmax(x: Any, axis: int = -1, out: Any = None, stream: Any = None) -> Any:
    """x - log(sum(e^x)) along an axis, as ``fastact.log_softmax``; x has no gaps."""
    return _rows("log_softmax", "log_softmax", {"x": x}, axis, out, stream)


def log_softmax_(x: Any, axis: int = -1, stream: Any = None) -> Any:
    """In place: logarithm of softmax along an axis. Returns x."""
    return _rows("log_softmax_", "log_softmax", {"x": x}, axis, x, stream)


def log_softmax_backward(
    grad: Any, y: Any, axis: int = -1, out: Any = None, stream: Any = None
) -> Any:
    """Gradient of ``log_softmax``, given its output y: grad - e^y * sum(grad)."""
    name = "log_softmax_backward"
    return _rows(name, name, {"grad": grad, "y": y}, axis, out, stream)


# --- maxout -------------------------------------------------------------------------------------

_maxout_kernel = functools.cache(lambda make, kind: make(kind))


def _run_maxout(
    function: str,
    make: Any,
    x: View,
    y: View,
    indices: Any,
    shape: tuple[int, ...],
    axis: int,
    stream: Any,
) -> None:
    """Run one of the two kernels; ``shape`` is that of the array with the axis."""
    at = arrays.memory(function, "indices", indices)
    small = (*shape[:axis], *shape[axis + 1 :])
    if at.dtype != "int64" or at.shape != small or at.device != x.device:
        raise ValueError(
            f"{function}: indices must be int64 of shape {small} on GPU {x.device}, got {at.dtype} "
            f"of shape {at.shape} on GPU {at.device}"
        )
    if not (arrays.without_gaps(small, at.strides, 8) and x.contiguous and y.contiguous):
        raise ValueError(f"{function}: an array has gaps between its elements; copy it first")
    check_together(function, {"x": x, "out": y})
    if math.prod(shape):
        rows = math.prod(small)
        grid, block = elementwise_grid(rows, x.device)
        on = arrays.launch_stream([x, y], stream)
        sizes = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
        kernel = _maxout_kernel(make, x.kind)
        run(kernel, grid, block, on, x.device, x.pointer, y.pointer, at.pointer, *sizes)


def maxout(
    x: Any, axis: int = -1, out: tuple[Any, Any] = (None, None), stream: Any = None
) -> tuple[Any, Any]:
    """The largest element of each row along an axis, and where it is: ``fastact.maxout``."""
    function = "maxout"
    of = arrays.view(function, "x", x)
    axis = axis_number(function, axis, of.shape)
    if of.shape[axis] == 0:
        raise ValueError(f"maxout: axis {axis} of x has no elements, its shape is {of.shape}")
    shape = (*of.shape[:axis], *of.shape[axis + 1 :])
    with arrays.allocating_on(x, stream):
        values = arrays.empty(x, of, shape) if out[0] is None else out[0]
        indices = arrays.empty(x, of, shape, "int64") if out[1] is None else out[1]
    target = arrays.view(function, "out[0]", values)
    check_outputs(function, {"out[0]": target}, [of] * (out[0] is not None), shape)
    _run_maxout(function, kernels.maxout, of, target, indices, of.shape, axis, stream)
    return arrays.finished(x, values), arrays.finished(x, indices)


def maxout_backward(
    grad: Any, indices: Any, pieces: int, axis: int = -1, out: Any = None, stream: Any = None
) -> Any:
    """Gradient of ``maxout``: grad where the largest was, else 0; ``pieces`` elements a row."""
    function = "maxout_backward"
    of = arrays.view(function, "grad", grad)
    axis = axis_number(function, axis, (*of.shape, pieces))
    shape = (*of.shape[:axis], pieces, *of.shape[axis:])
    result = output(grad, of, shape, out, stream)
    target = arrays.view(function, "out", result)
    check_outputs(function, {"out": target}, [of] * (out is not None), shape)
    _run_maxout(function, kernels.maxout_backward, of, target, indices, shape, axis, stream)
    return arrays.finished(grad, result) if out is None else out


# --- crelu --------------------------------------------------------------------------------------


@functools.cache
def _crelu_kernel(name: str) -> Elementwise:
    entry = CATALOGUE[name]
    return Elementwise(name, functools.partial(kernels.forward, entry), entry.arrays, 0, 1)


def crelu(x: Any, axis: int = -1, out: Any = None, stream: Any = None) -> Any:
    """relu(x) and relu(-x), one after the other along an axis, as ``fastact.crelu``."""
    of = arrays.view("crelu", "x", x)
    axis = axis_number("crelu", axis, of.shape)
    shape = (*of.shape[:axis], 2 * of.shape[axis], *of.shape[axis + 1 :])
    result = output(x, of, shape, out, stream)
    target = arrays.view("crelu", "out", result)
    if target.shape != shape:
        raise ValueError(f"crelu: out must have shape {shape}, got {target.shape}")
    positive, negative = _halves("crelu", target, axis)
    for name, half in (("relu", positive), ("_relu_of_negative", negative)):
        _on_views("crelu", _crelu_kernel(name), (of,), {"out": half}, stream, out is None)
    return arrays.finished(x, result) if out is None else out


def crelu_backward(grad: Any, x: Any, axis: int = -1, out: Any = None, stream: Any = None) -> Any:
    """Gradient of ``crelu`` by x."""
    function = "crelu_backward"
    of = arrays.view(function, "x", x)
    halves = _halves(function, arrays.view(function, "grad", grad), axis)
    result = output(x, of, of.shape, out, stream)
    target = {"out": arrays.view(function, "out", result)}
    kernel = _crelu_kernel("_crelu_backward")
    _on_views(function, kernel, (*halves, of), target, stream, out is None)
    return arrays.finished(x, result) if out is None else out
