"""Docstrings of the public functions, put together from the catalogue."""

from __future__ import annotations

import inspect
import textwrap

from fastact.catalogue import Activation, Gated

__all__ = [
    "backward",
    "backward_from_output",
    "forward",
    "gated",
    "gated_backward",
    "gated_in_place",
    "in_place",
]

_KEYWORDS = """\
out : ndarray, optional
    Where the result goes; {aliases}.
**keywords
    ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc."""

_HALF = "Half types are computed in float32 and rounded once. NaN gives NaN."
_FLOATS = "float16, bfloat16 (of ml_dtypes), float32 or float64"


def forward(entry: Activation) -> str:
    kinds = f"{_FLOATS}; integers {_integers(entry)}"
    return _join(
        _summary(entry),
        _section("Parameters", f"x : array_like\n    {kinds}.", _parameters(entry), _keywords("x")),
        _section("Returns", "ndarray or scalar\n    Of x's shape, broadcast with the parameters."),
        _raises(entry),
        _section("Notes", f"Instead of ``{entry.idiom}``. {_HALF}"),
        _reference(entry),
        _section("Examples", _example(entry)) if _example(entry) else "",
    )


def in_place(entry: Activation) -> str:
    x = "x : ndarray\n    Writable, of a dtype that the result can be stored in."
    return _join(
        f"In place: {_summary(entry)}",
        _section("Parameters", x, _parameters(entry)),
        _section("Returns", "ndarray\n    ``x`` itself."),
        _section("Raises", "TypeError\n    If ``x`` is not such an array; ``x`` is unchanged."),
        _section("See Also", f"{entry.name} : the formula and the parameters"),
    )


def backward(entry: Activation) -> str:
    arrays = (
        "grad : array_like\n    Gradient by the output.\n"
        "x : array_like\n    What the forward function was called with."
    )
    notes = f"""{_derivative(entry)}Where the derivative is 0 the result is 0, even if ``grad`` is
infinite or NaN. Instead of ``{entry.backward_idiom}``."""
    return _join(
        f"Gradient of ``{entry.name}``: grad * {entry.name}'(x), in one pass.",
        _section("Parameters", arrays, _parameters(entry), _keywords("grad or x")),
        _section("Returns", "ndarray or scalar\n    Gradient by ``x``, of floating-point dtype."),
        _raises(entry),
        _section("Notes", notes),
        _reference(entry),
        _section("See Also", f"{entry.name} : the formula and the parameters"),
    )


def backward_from_output(entry: Activation) -> str:
    arrays = (
        "grad : array_like\n    Gradient by the output.\n"
        "y : array_like\n    What the forward function returned."
    )
    expression = _source(entry.derivative_from_output)[-1].removeprefix("return ")
    return _join(
        f"Gradient of ``{entry.name}``, given its output y: grad * {expression}, in one pass.",
        _section("Parameters", arrays, _keywords("grad or y")),
        _section("Returns", "ndarray or scalar\n    Gradient by x, of floating-point dtype."),
        _section(
            "Notes",
            f"Where y was rounded to the limit of ``{entry.name}``, the result is 0; "
            f"``{entry.name}_backward``,\nwhich takes x, is accurate there, too.",
        ),
        _section("See Also", f"{entry.name} : the formula"),
    )


_GATED = f"""\
gate, up : array_like
    {_FLOATS}; integers are promoted as by ``np.exp``.
    Of one shape, or broadcast."""
_PAIR = """\
out : tuple of two ndarrays, optional
    Where the results go; each may be grad, gate or up itself.
**keywords
    ``where``, ``casting``, ``order``, ``dtype``, ``subok``: as for any NumPy ufunc."""


def gated(entry: Gated) -> str:
    return _join(
        _summary(entry),
        _section("Parameters", _GATED, _keywords("gate or up")),
        _section("Returns", "ndarray or scalar\n    Of the shape of gate and up, broadcast."),
        _section("Notes", f"Instead of ``{entry.idiom}``. {_HALF}"),
        _reference(entry),
        _section("Examples", _example(entry)) if _example(entry) else "",
    )


def gated_in_place(entry: Gated) -> str:
    return _join(
        f"In place of the gate: {_summary(entry)}",
        _section(
            "Parameters",
            "gate : ndarray\n    Writable, of a dtype that the result can be stored in.",
            "up : array_like\n    Of the gate's shape, or broadcast to it.",
        ),
        _section("Returns", "ndarray\n    ``gate`` itself."),
        _section("Raises", "TypeError\n    If ``gate`` is not such an array; it is unchanged."),
        _section("See Also", f"{entry.name} : the formula"),
    )


def gated_backward(entry: Gated) -> str:
    arrays = (
        "grad : array_like\n    Gradient by the output.\n"
        "gate, up : array_like\n    What the forward function was called with."
    )
    notes = f"""Where the derivative, or the activated gate, is 0 the result is 0, even if ``grad``
is infinite or NaN. Instead of ``{entry.backward_idiom}``."""
    return _join(
        f"Gradients of ``{entry.name}`` by ``gate`` and by ``up``, in one pass.",
        _section("Parameters", arrays, _PAIR),
        _section("Returns", "tuple of two ndarrays or scalars\n    Gradients by gate and by up."),
        _section("Notes", notes),
        _reference(entry),
        _section("See Also", f"{entry.name} : the formula"),
    )


def _raises(entry: Activation) -> str:
    lines = [f"    Unless {small} <= {large}." for small, large in entry.constraints]
    return _section("Raises", "ValueError", *lines) if lines else ""


def _derivative(entry: Activation) -> str:
    """The derivative as it is written in the catalogue, if it is short enough to be read."""
    lines = _source(entry.derivative)
    if len(lines) > 2:
        return ""
    code = textwrap.indent("\n".join(lines), "    ")
    return f"The derivative is, in Python,\n\n{code}\n\n"


def _join(*sections: str) -> str:
    return "\n\n".join(filter(None, sections)) + "\n"


def _section(title: str, *parts: str) -> str:
    return "\n".join([title, "-" * len(title), *filter(None, parts)])


def _summary(entry: Activation | Gated) -> str:
    return entry.doc.partition(">>>")[0].strip()


def _example(entry: Activation | Gated) -> str:
    return "".join(entry.doc.partition(">>>")[1:]).strip()


def _parameters(entry: Activation) -> str:
    lines = []
    for (name, default), about in zip(entry.parameters.items(), entry.about, strict=True):
        required = default is inspect.Parameter.empty
        lines.append(f"{name} : float or array_like" + ("" if required else f", default {default}"))
        lines.append(f"    {about[0].upper()}{about[1:]}.")
    return "\n".join(lines)


def _keywords(inputs: str) -> str:
    return _KEYWORDS.format(aliases=f"it may be {inputs} itself")


def _integers(entry: Activation) -> str:
    if entry.keeps_integers:
        return "keep their dtype"
    return "are promoted as by ``np.exp``"


def _reference(entry: Activation | Gated) -> str:
    if not entry.reference:
        return ""
    return _section("References", textwrap.fill(f".. [1] {entry.reference}.", 96))


def _source(function: object) -> list[str]:
    """The body of a function, as written in the catalogue."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()  # type: ignore[arg-type]
    return [line.strip() for line in lines[1:]]
