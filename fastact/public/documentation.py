"""Docstrings of the public functions, for the CPU and for the GPU, made from the catalogue."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable

from fastact.catalogue import (
    CATALOGUE,
    Activation,
    Entry,
    Form,
    Gated,
    Joined,
    Largest,
    Parameter,
    Randomized,
    Rows,
)
from fastact.catalogue.entries import REQUIRED

__all__ = ["documentation", "documentation_on_gpu"]

_FLOATS = "float16, bfloat16 (of ml_dtypes), float32 or float64"
_PROMOTED = "integers are promoted as by ``np.exp``"
_HALF = "Half types are computed in float32 and rounded once."
_UFUNC = "``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc."
_OF_ROWS = "``axes``, ``casting``, ``dtype``, ``subok``: as for any generalized NumPy ufunc."
_WIDTH = 96
#: What the forward function says of the others.
_FORMS = {
    "in_place": "in place",
    "backward": "the gradient",
    "backward_from_output": "the gradient, given the output",
}


def documentation(form: Form) -> str:
    """Of the function for NumPy's arrays."""
    if form.which == "in_place":
        return _in_place(form)
    text, example = _own_text(form)
    return _join(
        text,
        _section("Parameters", _arrays(form), *map(_parameter, form.parameters), _out(form)),
        _section("Returns", _result(form)),
        _raises(form),
        _section("Notes", *_notes(form)),
        _reference(form.entry) if form.which != "backward_from_output" else "",
        _section("See Also", *_see_also(form)),
        _section("Examples", example),
    )


def documentation_on_gpu(form: Form) -> str:
    """Of the function for arrays on a GPU."""
    text, _ = _own_text(form)
    if form.which == "in_place":
        text = f"In place: {form.entry.summary}"
    several = "a tuple of two" if form.outputs == 2 else "where the result goes"
    out = f"""\
out : array, optional
    {several[0].upper()}{several[1:]}, of the same dtype and device; it may be one of the inputs."""
    stream = """\
stream : optional
    A stream of PyTorch, CuPy or Numba, or its handle; the default is the first array's."""
    arrays = f"""\
{", ".join(form.arrays)} : array
    On a GPU: float16, bfloat16, float32 or float64."""
    in_place = form.which == "in_place"
    parameters = map(_parameter, form.parameters)
    returned = f"``{form.out}``." if in_place else "Of the library that the first array is from."
    return _join(
        text.partition("\n\n")[0],
        _section("Parameters", arrays, *parameters, "" if in_place else out, stream),
        _section("Returns", "array", f"    {returned}"),
        _section(
            "Raises",
            "TypeError, ValueError\n    If the arrays are not all on one GPU, of one dtype, and of "
            "shapes that fit.",
        ),
        _section(
            "See Also",
            f"fastact.{form.name} : the same for NumPy's arrays: bit for bit, on a CPU that has\n"
            "    fused multiply-add; there is more about it",
        ),
    )


# --- what the page of entries says --------------------------------------------------------------


def _own_text(form: Form) -> tuple[str, str]:
    """The summary with what follows it, and the examples."""
    entry = form.entry
    doc = entry.doc if form.which == "forward" else ""
    if form.which == "backward":
        doc = inspect.cleandoc(entry.backward_doc) or _gradient(form)
    elif form.which == "backward_from_output":
        expression = _source(entry.derivative_from_output)[-1].removeprefix("return ")  # type: ignore[attr-defined]
        doc = f"Gradient of ``{entry.name}``, given its output y: grad * {expression}, in one pass."
    text, marker, example = doc.partition(">>>")
    return text.strip(), (marker + example).strip()


def _gradient(form: Form) -> str:
    name = form.entry.name
    if isinstance(form.entry, Gated):
        return f"Gradients of ``{name}`` by ``gate`` and by ``up``, in one pass."
    return f"Gradient of ``{name}``: grad * {name}'(x), in one pass."


def _in_place(form: Form) -> str:
    others = form.arrays[1:]
    gate = " of the gate" if form.out == "gate" else ""
    return _join(
        f"In place{gate}: {form.entry.summary}",
        _section(
            "Parameters",
            f"{form.out} : ndarray\n    Writable, of a dtype that the result can be stored in.",
            *(f"{name} : array_like\n    Of its shape, or broadcast to it." for name in others),
            *map(_parameter, form.parameters),
        ),
        _section("Returns", f"ndarray\n    ``{form.out}`` itself."),
        _section(
            "Raises", f"TypeError\n    If ``{form.out}`` is not such an array; it is unchanged."
        ),
        _section("See Also", f"{form.entry.name} : the formula and the parameters"),
    )


# --- sections -----------------------------------------------------------------------------------


def _arrays(form: Form) -> str:
    entry = form.entry
    if form.which == "forward":
        if isinstance(entry, Gated) and not entry.halves:
            about = f"{_FLOATS}; {_PROMOTED}.\n    Of one shape, or broadcast."
            return f"{', '.join(form.arrays)} : array_like\n    {about}"
        least = ", at least one-dimensional" if _along_an_axis(entry) else ""
        keeps = getattr(entry, "keeps_integers", False) or (
            isinstance(entry, Joined) and entry.first.keeps_integers
        )
        integers = "integers keep their dtype" if keeps else _PROMOTED
        return f"x : array_like{least}\n    {_FLOATS}; {integers}."
    by = "values" if isinstance(entry, Largest) else "output"
    first = f"grad : array_like\n    Gradient by the {by}{_grad_shape(entry)}."
    called = "What the forward function was called with."
    known = {
        "y": f"What ``{entry.name}`` returned, not what it was called with.",
        "indices": f"What ``{entry.name}`` returned with the values.",
    }
    kind = {"indices": "array_like of int"}
    others: dict[str, list[str]] = {}
    for name in form.arrays[1:]:
        others.setdefault(known.get(name, called), []).append(name)
    lines = [
        f"{', '.join(names)} : {kind.get(names[0], 'array_like')}\n    {text}"
        for text, names in others.items()
    ]
    return "\n".join([first, *lines])


def _along_an_axis(entry: Entry) -> bool:
    halves = isinstance(entry, Gated) and entry.halves
    return halves or isinstance(entry, Joined | Rows | Largest)


def _grad_shape(entry: Entry) -> str:
    if isinstance(entry, Joined):
        return ": of x's shape, but twice as long along ``axis``"
    if isinstance(entry, Gated) and entry.halves:
        return ": of x's shape, but half as long along ``axis``"
    return ""


def _parameter(parameter: Parameter) -> str:
    default = "" if parameter.default is REQUIRED else f", default {parameter.default}"
    if parameter.default is None:
        default = ", optional"
    if parameter.type.startswith("{"):  # the first of the values is the default
        default = ""
    about = f"{parameter.about[0].upper()}{parameter.about[1:]}."
    return f"{parameter.name} : {parameter.type}{default}\n" + textwrap.indent(
        textwrap.fill(about, _WIDTH - 4), "    "
    )


def _out(form: Form) -> str:
    if form.outputs == 2:
        kind = "tuple of two ndarrays"
        where = "Where the results go"
        if isinstance(form.entry, Largest):
            where = "Where the values and the indices (int64) go"
    else:
        kind, where = "ndarray", "Where the result goes"
    inputs = _may_be_out(form)
    if inputs:
        where += f"; {'each' if form.outputs == 2 else 'it'} may be {inputs} itself"
    keywords = _OF_ROWS if isinstance(form.entry, Rows | Largest) else _UFUNC
    return f"out : {kind}, optional\n    {where}." + (
        f"\n**keywords\n    {keywords}" if form.keywords else ""
    )


def _may_be_out(form: Form) -> str:
    """The inputs that the result may replace."""
    entry, names = form.entry, list(form.arrays)
    if isinstance(entry, Largest):
        return ""
    if isinstance(entry, Joined) or (isinstance(entry, Gated) and entry.halves):
        names = ["x"] if form.which == "backward" else []
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _result(form: Form) -> str:
    entry = form.entry
    if form.outputs == 2:
        if isinstance(entry, Largest):
            return "values, indices : ndarray\n    Of x's shape without ``axis``."
        return "tuple of two ndarrays or scalars\n    Gradients by gate and by up."
    if form.which != "forward":
        kind = "ndarray" if _along_an_axis(entry) else "ndarray or scalar"
        return f"{kind}\n    Gradient by x, of floating-point dtype."
    if isinstance(entry, Joined):
        return _of_another_length("twice")
    if isinstance(entry, Gated):
        if entry.halves:
            return _of_another_length("half")
        return "ndarray or scalar\n    Of the shape of gate and up, broadcast."
    if isinstance(entry, Rows):
        return "ndarray\n    Of x's shape."
    broadcast = ", broadcast with the parameters" if form.parameters else ""
    return f"ndarray or scalar\n    Of x's shape{broadcast}."


def _of_another_length(factor: str) -> str:
    shape = f"Of x's shape, but {factor} as long along ``axis``."
    return f"ndarray\n    {shape} There is no in-place form."


def _raises(form: Form) -> str:
    entry = form.entry
    lines = [f"Unless {small} <= {large}." for small, large in getattr(entry, "constraints", ())]
    if isinstance(entry, Activation) and entry.channels:
        (weight,) = entry.parameters
        lines.append(f"If {weight} has another length than x has channels.")
    if isinstance(entry, Randomized):
        lines.append("If ``lower`` exceeds ``upper``, or ``noise`` has another shape than x.")
    lines += [
        f"If ``{p.name}`` is none of these." for p in form.parameters if p.type.startswith("{")
    ]
    if _along_an_axis(entry):
        lines.append("If there is no such axis, or shapes do not fit it.")
    if isinstance(entry, Largest) and form.which == "forward":
        lines.append("If the axis has no elements.")
    return _section("Raises", "ValueError", *(f"    {line}" for line in lines)) if lines else ""


def _notes(form: Form) -> list[str]:
    entry = form.entry
    if form.which == "backward_from_output":
        return [
            f"Where y was rounded to the limit of ``{entry.name}``, the result is 0; "
            f"``{entry.name}_backward``,\nwhich takes x, is accurate there, too."
        ]
    idiom = entry.idiom if form.which == "forward" else entry.backward_idiom
    instead = f"Instead of ``{idiom}``. " if idiom else ""
    if form.which == "forward":
        elementwise = not isinstance(entry, Largest)
        return [instead + (f"{_HALF} NaN gives NaN." if elementwise else "")]
    if isinstance(entry, Rows | Largest | Joined):
        return [instead.strip()]
    factor = "the derivative, or the activated gate," if isinstance(entry, Gated) else "it"
    zero = (
        f"Where {factor} is 0 the result is 0, even if ``grad`` is\ninfinite or NaN. "
        f"{instead}".strip()
    )
    derivative = getattr(entry, "default_derivative", None) or getattr(entry, "derivative", None)
    shown = isinstance(entry, Activation) and not entry.backward_doc and _is_short(derivative)
    if not shown:
        return [zero.replace("Where it is", "Where the derivative is")]
    code = textwrap.indent("\n".join(_source(derivative)), "    ")
    return [f"The derivative is, in Python,\n\n{code}\n\n{zero}"]


def _is_short(function: Callable[..., object] | None) -> bool:
    """Whether a function is short enough to be read in a docstring."""
    return function is not None and len(_source(function)) <= 2


def _see_also(form: Form) -> list[str]:
    entry = form.entry
    if form.which != "forward":
        what = "the formula and the parameters" if form.parameters else "the formula"
        return [f"{entry.name} : {what}"]
    others = [f"{f.name} : {_FORMS[f.which]}" for f in entry.forms if f.which in _FORMS]
    if isinstance(entry, Gated):
        return [*others, f"{entry.activation} : the activation of the gate"]
    gated = [e for e in CATALOGUE.values() if isinstance(e, Gated) and e.activation == entry.name]
    return others + [f"{e.name} : the gated unit" for e in gated]


def _reference(entry: Entry) -> str:
    if not entry.reference:
        return ""
    text = f".. [1] {entry.reference}."
    return _section("References", textwrap.fill(text, _WIDTH, subsequent_indent="   "))


def _join(*sections: str) -> str:
    return "\n\n".join(filter(None, sections)) + "\n"


def _section(title: str, *parts: str) -> str:
    body = "\n".join(filter(None, parts))
    return f"{title}\n{'-' * len(title)}\n{body}" if body else ""


def _source(function: object) -> list[str]:
    """The body of a function, as written in the catalogue."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()  # type: ignore[arg-type]
    return [line.strip() for line in lines[1:]]
