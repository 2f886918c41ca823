"""Public functions that are more than one kernel: random slopes, and halves of one array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue import Activation, Form, Gated, Joined, Randomized
from fastact.public import shapes
from fastact.public.checks import check_out
from fastact.public.define import define
from fastact.public.documentation import documentation
from fastact.public.elementwise import kernel_ufunc

__all__ = ["halves", "joined", "randomized"]

Array = npt.NDArray[Any]


def _define(form: Form, run: Callable[..., Any], **ufuncs: np.ufunc) -> Any:
    """A function of this form that calls ``run`` with all of its arguments."""
    last = "**keywords" if form.keywords else ""
    arguments = [*form.arrays, *(p.name for p in form.parameters), "out", *filter(None, [last])]
    body = f"return run({', '.join(arguments)})"
    doc = documentation(form)
    return define(form, body, doc, module="fastact", last=last, run=run, **ufuncs)


# --- a parameter that is drawn ------------------------------------------------------------------


def randomized(form: Form) -> Any:
    entry = form.entry
    assert isinstance(entry, Randomized)
    ufunc = kernel_ufunc(entry, form.which, f"{form.name}.ufunc", documentation(form))
    usual = entry.mean(form.name, entry.lower, entry.upper)

    def mean(lower: Any, upper: Any) -> Any:
        # The very defaults need no checks: rrelu of 100 numbers takes 0.6 of the time.
        if lower is entry.lower and upper is entry.upper:
            return usual
        return entry.mean(form.name, lower, upper)

    def drawn(
        x: Any, lower: Any, upper: Any, rng: Any, noise: Any, out: Any, **keywords: Any
    ) -> Any:
        x = np.asanyarray(x)
        slopes = entry.draw(form.name, lower, upper, rng, x.shape)
        with np.errstate(invalid="ignore"):  # ml_dtypes compares NaN with a warning
            numbers = np.where(x > 0, 1.0, slopes).astype(_float_dtype(ufunc, x))
        if noise is not None:
            if noise.shape != x.shape:
                raise ValueError(
                    f"{form.name}: noise must have x's shape {x.shape}, got {noise.shape}"
                )
            noise[...] = numbers
        return ufunc(x, numbers, out, **keywords)

    if form.which == "forward":
        body = (
            "if training:\n"
            "    return drawn(x, lower, upper, rng, noise, out, **keywords)\n"
            "return ufunc(x, mean(lower, upper), out, **keywords)"
        )
    else:
        body = (
            "numbers = mean(lower, upper) if noise is None else noise\n"
            "return ufunc(grad, x, numbers, out, **keywords)"
        )
    known = {"mean": mean, "drawn": drawn, "ufunc": ufunc}
    doc = documentation(form)
    return define(form, body, doc, module="fastact", last="**keywords", **known)


def _float_dtype(ufunc: np.ufunc, x: Array) -> np.dtype[Any]:
    """The dtype in which ``ufunc`` takes x."""
    return ufunc.resolve_dtypes((x.dtype, float, None))[0]


# --- halves of an array -------------------------------------------------------------------------


def _halves(function: str, array: Array, axis: int) -> tuple[Array, Array]:
    """Views of the two halves."""
    axis, half = shapes.halved(function, axis, array.shape)
    before = (slice(None),) * axis
    return array[(*before, slice(half))], array[(*before, slice(half, None))]


def _check_grad(function: str, grad: Array, shape: tuple[int, ...]) -> None:
    if grad.shape != shape:
        raise ValueError(f"{function}: grad must have shape {shape}, got {grad.shape}")


def halves(form: Form) -> Any:
    """A gated unit of the halves of one array."""
    entry = form.entry
    assert isinstance(entry, Gated)
    assert isinstance(entry.of, Activation)
    name = form.name
    ufunc = kernel_ufunc(entry.of, f"gated_{form.which}", f"{name}.ufunc", documentation(form))

    def forward(x: Any, axis: int, out: Any, **keywords: Any) -> Any:
        up, gate = _halves(name, np.asanyarray(x), axis)
        return ufunc(gate, up, out, **keywords)

    def backward(grad: Any, x: Any, axis: int, out: Any) -> Array:
        grad, x = np.asanyarray(grad), np.asanyarray(x)
        up, gate = _halves(name, x, axis)
        _check_grad(name, grad, up.shape)
        if out is None:
            dtypes = (grad.dtype, gate.dtype, up.dtype, None, None)
            out = np.empty_like(x, ufunc.resolve_dtypes(dtypes)[-1])
        else:
            check_out(name, out, x.shape)
        by_up, by_gate = _halves(name, out, axis)
        ufunc(grad, gate, up, out=(by_gate, by_up))
        return out

    return _define(form, forward if form.which == "forward" else backward, ufunc=ufunc)


def joined(form: Form) -> Any:
    """Two functions, one after the other along an axis."""
    entry, name = form.entry, form.name
    assert isinstance(entry, Joined)
    if form.which == "backward":
        return _joined_backward(form, entry)
    first, second = (
        kernel_ufunc(kernel, "forward", f"{name}.{attribute}", documentation(form))
        for kernel, attribute in ((entry.first, "ufunc"), (entry.second, "second_ufunc"))
    )

    def forward(x: Any, axis: int, out: Any) -> Array:
        x = np.asanyarray(x)
        shape = shapes.doubled(name, axis, x.shape)
        if out is None:
            out = np.empty(shape, first.resolve_dtypes((x.dtype, None))[-1])
        else:
            check_out(name, out, shape)
            if np.may_share_memory(x, out):
                x = x.copy()
        before, after = _halves(name, out, axis)
        first(x, before)
        second(x, after)
        return out

    return _define(form, forward, ufunc=first, second_ufunc=second)


def _joined_backward(form: Form, entry: Joined) -> Any:
    name = form.name
    ufunc = kernel_ufunc(entry.derivative, "forward", f"{name}.ufunc", documentation(form))

    def backward(grad: Any, x: Any, axis: int, out: Any, **keywords: Any) -> Any:
        grad, x = np.asanyarray(grad), np.asanyarray(x)
        _check_grad(name, grad, shapes.doubled(name, axis, x.shape))
        return ufunc(*_halves(name, grad, axis), x, out, **keywords)

    return _define(form, backward, ufunc=ufunc)
