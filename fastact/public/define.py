"""Public functions from source text: their signature is that of a form of the catalogue.

So a call costs exactly what the body says, ``help`` shows names and defaults, and the function on
the GPU has the signature of that on the CPU.
"""

from __future__ import annotations

import textwrap
from typing import Any

from fastact.catalogue import Activation, Form, Parameter
from fastact.catalogue.entries import REQUIRED, constrain, unknown_choice
from fastact.public.checks import check_in_place
from fastact.public.documentation import documentation

__all__ = ["constraints", "default", "define", "in_place", "names", "select", "signature"]


def define(form: Form, body: str, doc: str, *, module: str, last: str, **namespace: Any) -> Any:
    """A function of this form; ``namespace`` is what its body may name.

    ``last`` ends its signature: ``**keywords``, or what can be given by name only. Ufuncs in the
    namespace become attributes, by which pickle finds them.
    """
    defaults = {default(p.name): p.default for p in form.parameters if p.default is not REQUIRED}
    known = {"constrain": constrain, "unknown_choice": unknown_choice, "__name__": module}
    known |= {**namespace, **defaults}
    exec(f"def {form.name}({signature(form, last)}):\n{textwrap.indent(body, '    ')}", known)
    function = known[form.name]
    function.__doc__ = doc
    for name, value in namespace.items():
        if name.endswith("ufunc"):
            setattr(function, name, value)
    return function


def default(name: str) -> str:
    """What a parameter's default is called in the body."""
    return f"DEFAULT_{name}"


def names(form: Form) -> str:
    """The parameters of an activation that its kernel has, too, as a body passes them on."""
    entry = form.entry
    assert isinstance(entry, Activation)
    own = entry.parameters | entry.derivative_parameters
    return ", ".join(p.name for p in form.parameters if p.name in own)


def signature(form: Form, last: str = "") -> str:
    """Source of a form's arguments, ``out`` among them; ``last`` as in ``define``."""
    positional = [_declared(p) for p in form.parameters if not p.keyword_only]
    by_name = [_declared(p) for p in form.parameters if p.keyword_only]
    given = [*form.arrays, *positional]
    if form.which != "in_place":
        given.append("out=None" if form.outputs == 1 else f"out=({'None, ' * form.outputs})")
    if by_name or (last and not last.startswith("**")):
        given.append("*")
    return ", ".join([*given, *by_name, *filter(None, [last])])


def _declared(parameter: Parameter) -> str:
    if parameter.default is REQUIRED:
        return parameter.name
    return f"{parameter.name}={default(parameter.name)}"


def constraints(form: Form) -> str:
    """Source of the checks of an activation's parameters."""
    return "".join(
        f"constrain('{form.name}', '{small}', {small}, '{large}', {large})\n"
        for small, large in getattr(form.entry, "constraints", ())
    )


def select(form: Form, table: str) -> str:
    """Source that takes from ``table`` what the form's only parameter, a choice, stands for."""
    (choice,) = form.parameters
    return (
        f"try:\n"
        f"    chosen = {table}.get({choice.name})\n"
        f"except TypeError:\n"
        f"    chosen = None\n"
        f"if chosen is None:\n"
        f"    raise unknown_choice('{form.name}', '{choice.name}', {table}, {choice.name})\n"
    )


def in_place(form: Form, forward: Any) -> Any:
    """``f_`` of an entry of any kind, given ``f``."""
    arguments = ", ".join([*form.arrays, *(p.name for p in form.parameters)])
    integers = getattr(form.entry, "keeps_integers", False)
    body = (
        f"try:\n"
        f"    return forward({arguments}, out={form.out})\n"
        f"except (TypeError, ValueError):\n"
        f"    check_in_place('{form.name}', {form.out}, {integers}, '{form.out}')\n"
        f"    raise"
    )
    known = {"forward": forward, "check_in_place": check_in_place}
    return define(form, body, documentation(form), module="fastact", last="", **known)
