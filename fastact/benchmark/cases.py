"""What is measured: function x mode x dtype x size x gap, generated from the catalogue."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastact.catalogue import (
    CATALOGUE,
    Activation,
    Entry,
    Gated,
    Joined,
    Largest,
    Randomized,
    Rows,
    Variants,
)
from fastact.catalogue.dtypes import bfloat16_dtype
from fastact.catalogue.entries import REQUIRED
from fastact.catalogue.losses import LOSSES
from fastact.catalogue.special import SPECIAL

__all__ = [
    "DTYPES",
    "GAPS",
    "LIBRARIES",
    "MODES",
    "PROFILES",
    "SIZES",
    "SUBJECTS",
    "Case",
    "as_probabilities",
    "available",
    "select",
    "select_profile",
]

#: Into an array that exists, into a new one, in place, and the gradient into one that exists.
MODES = ["out", "fresh", "in-place", "backward"]
#: Name and bytes of an element.
DTYPES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
SIZES = [1, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000]
#: What happens before each call: nothing (calls back to back), a pause of 10 ms, or a matrix
#: product on all cores.
GAPS = ["none", "sleep", "matmul"]
LIBRARIES = ["fastact", "numpy", "torch"]
#: Elements of a row, for functions of rows.
ROW = 100


@dataclasses.dataclass(frozen=True)
class Subject:
    """A function that is measured, and how each library spells it.

    The idioms are in terms of ``x``, which is also what backward functions take, ``up`` of gated
    units, ``grad``, ``out`` and the parameters; ``torch`` is the name of one of PyTorch's operators
    and its arguments, ``torch_backward`` one and its arguments after ``grad``.
    """

    name: str
    modes: tuple[str, ...]
    idiom: str = ""
    backward_idiom: str = ""
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: What follows the arrays in fastact's calls.
    passed: str = ""
    #: The function in fastact, if it is not the name.
    function: str = ""
    torch: str = ""
    torch_backward: str = ""
    #: Arrays x and ``up``; the gradients are by both.
    gated: bool = False
    #: Elements of the result for each element of x.
    outputs: float = 1.0
    #: x consists of rows.
    rows: bool = False
    #: Arrays that are to be probabilities.
    probabilities: tuple[str, ...] = ()
    #: The module of fastact that the function is in, if it is one of them.
    module: str = ""
    #: Of these: for each mode, how fastact, NumPy and PyTorch (if at all) spell it, in terms of
    #: ``bias``, a number for each column, ``mask``, bits of x > 0, ``stats``, and ``labels``, too.
    fused: dict[str, tuple[str, str, str]] = dataclasses.field(default_factory=dict)


#: PyTorch's operators and their arguments; where there is none, PyTorch is not measured.
_TORCH = {
    "relu": ("clamp_min x 0", "threshold_backward x 0"),
    "relu6": ("hardtanh x 0 6", "hardtanh_backward x 0 6"),
    "clipped_relu": ("hardtanh x 0 max_value", "hardtanh_backward x 0 max_value"),
    "leaky_relu": ("leaky_relu x negative_slope", "leaky_relu_backward x negative_slope False"),
    "rrelu": ("leaky_relu x slope", "leaky_relu_backward x slope False"),
    "threshold": ("threshold x threshold value", "threshold_backward x threshold"),
    "thresholded_relu": ("threshold x alpha 0", "threshold_backward x alpha"),
    "hardtanh": ("hardtanh x min_val max_val", "hardtanh_backward x min_val max_val"),
    "hardsigmoid": ("hardsigmoid x", "hardsigmoid_backward x"),
    "hardswish": ("hardswish x", ""),
    "hardshrink": ("hardshrink x lambd", "hardshrink_backward x lambd"),
    "softshrink": ("softshrink x lambd", "softshrink_backward x lambd"),
    "elu": ("elu x alpha", "elu_backward alpha 1 1 False x"),
    "selu": ("selu x", ""),
    "celu": ("celu x alpha", ""),
    "gelu": ("gelu x", "gelu_backward x"),
    "gelu_tanh": ("gelu x approximate='tanh'", "gelu_backward x approximate='tanh'"),
    "silu": ("silu x", "silu_backward x"),
    "mish": ("mish x", "mish_backward x"),
    "softplus": ("softplus x beta threshold", "softplus_backward x beta threshold"),
    "sigmoid": ("sigmoid x", ""),
    "log_sigmoid": ("log_sigmoid x", ""),
    "tanh": ("tanh x", ""),
    "softmax": ("softmax x -1", "_softmax_backward_data x -1 x.dtype"),
    "log_softmax": ("log_softmax x -1", "_log_softmax_backward_data x -1 x.dtype"),
}

_TORCH_SPECIAL = {
    "erf": "erf x",
    "erfc": "erfc x",
    "expit": "sigmoid x",
    "log_ndtr": "special_log_ndtr x",
    "logit": "logit x",
    "ndtr": "special_ndtr x",
    "xlogy": "xlogy x up",
}

_FUSED = {
    "bias_act": {
        "out": (
            "f(x, bias, out=out)",
            "np.maximum(np.add(x, bias, out=out), 0, out=out)",
            "torch.add(x, bias, out=out).relu_()",
        ),
        "fresh": ("f(x, bias)", "np.maximum(x + bias, 0)", "(x + bias).relu_()"),
        "in-place": (
            "f(x, bias, out=x)",
            "np.maximum(np.add(x, bias, out=x), 0, out=x)",
            "x.add_(bias).relu_()",
        ),
        "backward": (
            "f_backward(grad, x, out=out)",
            "np.multiply(grad, x > 0, out=out).sum(axis=0)",
            "torch.ops.aten.threshold_backward(grad, x, 0, grad_input=out).sum(0)",
        ),
    },
    "prelu_weight": {
        "backward": (
            "f_backward(grad, x, bias, out=out)",
            "np.copyto(out, np.where(x > 0, grad, bias * grad)), (grad * x * (x < 0)).sum(axis=0)",
            "",
        ),
    },
    "relu_mask": {
        "out": (
            "f(x, out=out, mask=mask)",
            "np.maximum(x, 0, out=out), np.packbits(x > 0, axis=None, bitorder='little')",
            "",
        ),
        "backward": ("f_backward(grad, mask, out=out)", "np.multiply(grad, x > 0, out=out)", ""),
    },
    "relu_stats": {
        "out": ("f(x, stats, out=out)", "np.maximum(x, 0, out=out), (x > 0).sum(axis=0)", ""),
    },
}


def _subjects() -> dict[str, Subject]:
    subjects = {}
    for entry in CATALOGUE.values():
        if isinstance(entry, Largest):  # of which the results are two, and pieces, not elements
            continue
        of: list[tuple[Any, dict[str, str]]] = [(entry, {})]
        if isinstance(entry, Activation | Variants):
            of = entry.formulas
        for idioms, given in of:
            subjects[idioms.name] = _subject(idioms.name, entry, idioms, given)
    for name, spelled in _FUSED.items():
        function = "prelu" if name == "prelu_weight" else name
        subjects[name] = _spelled(name, function, "fused", spelled)
    for name, (arrays, operator) in _SPECIAL.items():
        subject = f"special.{name}"
        idiom = f"special.{name}({arrays}, out=out)"
        passed = arrays.removeprefix("x")
        subjects[subject] = Subject(
            subject,
            ("out", "fresh"),
            idiom,
            passed=passed,
            function=name,
            torch=operator,
            gated=bool(passed),
            probabilities={"logit": ("x",), "xlogy": ("up",)}.get(name, ()),
            module="special",
        )
    for name, spellings in _losses():
        subject = f"losses.{name}"
        made = _spelled(subject, name, "losses", spellings)
        subjects[subject] = dataclasses.replace(made, probabilities=("grad",))
    return subjects


def _spelled(
    name: str, function: str, module: str, spelled: dict[str, tuple[str, str, str]]
) -> Subject:
    modes = tuple(spelled)
    return Subject(name, modes, function=function, rows=True, module=module, fused=spelled)


#: Ufuncs under SciPy's names: their arrays, and PyTorch's operators.
_SPECIAL = {
    name: ("x, up" if formula.arrays == 2 else "x", _TORCH_SPECIAL.get(name, ""))
    for name, formula in SPECIAL.items()
    if formula.arrays < 3
}


def _losses() -> Iterator[tuple[str, dict[str, tuple[str, str, str]]]]:
    """Losses with their gradients, in one call; targets are called ``grad``."""
    place = "(np.arange(len(x)), labels)"
    steps = [
        "np.divide(e := np.exp(x - x.max(-1, keepdims=True)), e.sum(-1, keepdims=True), out=out)",
        f"-np.log(out[{place}]).mean()",
        f"np.subtract.at(out, {place}, 1)",
        "np.divide(out, len(x), out=out)",
    ]
    yield "cross_entropy", _with_grad("labels", ", ".join(steps), "cross_entropy")
    for name, loss in LOSSES.items():
        both = (
            f"np.multiply({loss.gradient_idiom}, 1 / x.size, out=out)",
            f"({loss.idiom}).mean()",
        )
        # PyTorch's mean of kl_div warns.
        torch = "" if name == "kl_div" else loss.torch
        yield name, _with_grad("grad", ", ".join(both).replace("targets", "grad"), torch)


def _with_grad(targets: str, numpy: str, torch: str) -> dict[str, tuple[str, str, str]]:
    value = f"torch.nn.functional.{torch}(v := x.detach().requires_grad_(), {targets})"
    gradient = f"out.copy_(torch.autograd.grad({value}, v)[0])" if torch else ""
    return {"backward": (f"f_with_grad(x, {targets}, out=out)", numpy, gradient)}


def _subject(name: str, entry: Entry, idioms: Entry, given: dict[str, Any]) -> Subject:
    forms = {form.which: form for form in entry.forms}
    modes = [m for m in MODES if m != "in-place" or "in_place" in forms]
    gated = isinstance(entry, Gated) and not entry.halves
    passed = (", up" if gated else "") + "".join(f", {k}={v!r}" for k, v in given.items())
    parameters: dict[str, Any] = {}
    if isinstance(idioms, Activation):
        # 1/4 makes sense for those that have no default: slopes and thresholds.
        known = idioms.chosen({})[1]
        parameters = {k: 0.25 if v is REQUIRED else v for k, v in known.items()}
        if not isinstance(idioms, Randomized):  # whose function takes no slope
            passed += "".join(f", {key}" for key in parameters)
    idiom, backward_idiom = (
        re.sub(r"\b(gate|y)\b", "x", text) for text in (idioms.idiom, idioms.backward_idiom)
    )
    return Subject(
        name,
        tuple(modes),
        idiom,
        backward_idiom,
        parameters,
        passed,
        entry.name,
        *_TORCH.get(name, ("", "")),
        gated=gated,
        outputs=_outputs(entry),
        rows=isinstance(entry, Rows),
    )


def _outputs(entry: Entry) -> float:
    if isinstance(entry, Joined):
        return 2.0
    return 0.5 if isinstance(entry, Gated) and entry.halves else 1.0


def as_probabilities(arrays: dict[str, Any], case: Case) -> None:
    """Replace those that are to be between 0 and 1."""
    for name in case.subject.probabilities:
        array = arrays[name]
        arrays[name] = (0.25 + 0.5 * (abs(array) % 1)).astype(array.dtype)


SUBJECTS = _subjects()


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    mode: str
    dtype: str
    n: int
    gap: str = "none"

    def __str__(self) -> str:
        gap = "" if self.gap == "none" else f"-{self.gap}"
        return f"{self.name}-{self.mode}-{self.dtype}-{self.n}{gap}"

    @property
    def subject(self) -> Subject:
        return SUBJECTS[self.name]

    @property
    def bytes_moved(self) -> int:
        """Bytes that a call has to read and write at least."""
        backward = self.mode == "backward"
        arrays = 1 + self.subject.outputs + backward + self.subject.gated * (1 + backward)
        return round(self.array_bytes * arrays)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x: rows of 100 elements, where that is possible."""
        if not self.subject.rows:
            return (self.n,)
        row = ROW if self.n % ROW == 0 else self.n
        return (self.n // row, row)

    @property
    def outputs(self) -> int:
        """Elements of the result."""
        return int(self.n * self.subject.outputs)

    @property
    def array_bytes(self) -> int:
        """Bytes of x."""
        return self.n * DTYPES[self.dtype]

    @property
    def torch_operator(self) -> str:
        """PyTorch's operator and its arguments."""
        return self.subject.torch_backward if self.mode == "backward" else self.subject.torch

    def statement(self, library: str) -> str:
        """What is timed: Python source, or nothing if the library has no such function."""
        if self.subject.fused:
            return self.subject.fused[self.mode][LIBRARIES.index(library)]
        return {"fastact": _fastact, "numpy": _numpy, "torch": _torch}[library](self)


def numpy_dtype(name: str) -> np.dtype[Any]:
    if name != "bfloat16":
        return np.dtype(name)
    dtype = bfloat16_dtype()
    if dtype is None:
        raise LookupError("bfloat16 needs the package ml_dtypes: pip install ml_dtypes")
    return dtype


# --- how each library spells a case ---------------------------------------------------------------


def _fastact(case: Case) -> str:
    passed = case.subject.passed
    return {
        "out": f"f(x{passed}, out=out)",
        "fresh": f"f(x{passed})",
        "in-place": f"f_(x{passed})",
        "backward": f"f_backward(grad, x{passed}, out={_out(case)})",
    }[case.mode]


def _out(case: Case) -> str:
    return "(out, out2)" if case.subject.gated else "out"


def _numpy(case: Case) -> str:
    if "special." in case.subject.idiom and not available("scipy"):
        return ""
    if case.mode == "fresh":
        return case.subject.idiom.replace("out=out", "out=None")
    if case.mode == "backward" and case.subject.gated:
        pair = ast.parse(case.subject.backward_idiom, mode="eval").body
        assert isinstance(pair, ast.Tuple)
        by_gate, by_up = (_into_out(ast.unparse(gradient)) for gradient in pair.elts)
        return f"({by_gate}, {by_up.replace('out=out', 'out=out2')})"
    if case.mode == "backward":
        return _into_out(case.subject.backward_idiom)
    text = _into_out(case.subject.idiom)
    return text if case.mode == "out" else text.replace("out=out", "out=x").replace("(out,", "(x,")


def _into_out(idiom: str) -> str:
    """The idiom, its last step writing into ``out`` in the cheapest way that NumPy has."""
    last = ast.parse(idiom, mode="eval").body
    operators = {ast.Mult: "multiply", ast.Div: "divide", ast.Add: "add", ast.Sub: "subtract"}
    if isinstance(last, ast.BinOp) and type(last.op) in operators:
        operator = operators[type(last.op)]
        return f"np.{operator}({ast.unparse(last.left)}, {ast.unparse(last.right)}, out=out)"
    if isinstance(last, ast.Call):
        if any(keyword.arg == "out" for keyword in last.keywords):
            return idiom
        if isinstance(getattr(np, ast.unparse(last.func).removeprefix("np."), None), np.ufunc):
            return f"{idiom[:-1]}, out=out)"
    return f"np.copyto(out, {idiom})"


def _torch(case: Case) -> str:
    operator, *arguments = case.torch_operator.split() or [""]
    if not operator:
        return ""
    listed = ", ".join(arguments)
    return {
        "out": f"op({listed}, out=out)",
        "fresh": f"op({listed})",
        "in-place": f"op({listed})",
        "backward": f"op(grad, {listed}, grad_input=out)",
    }[case.mode]


# --- which cases --------------------------------------------------------------------------------


def select(
    names: Iterable[str],
    modes: Iterable[str] = MODES,
    dtypes: Iterable[str] = ("float32",),
    sizes: Iterable[int] = SIZES,
    gaps: Iterable[str] = ("none",),
) -> list[Case]:
    """Every combination that exists."""
    product = itertools.product(names, dtypes, gaps, modes, sizes)
    return [
        Case(name, mode, dtype, n, gap)
        for name, dtype, gap, mode, n in product
        if mode in SUBJECTS[name].modes and (n * SUBJECTS[name].outputs).is_integer()
    ]


def _smoke(names: list[str]) -> list[Case]:
    others = select([n for n in names if n != "relu"], ["out", "backward"], sizes=[10_000])
    if "relu" not in names:
        return others
    return [
        *select(["relu"], sizes=[100, 10_000, 1_000_000]),
        *others,
        Case("relu", "out", "float16", 100_000),
    ]


def _full(names: list[str]) -> list[Case]:
    dtypes = [d for d in DTYPES if d != "bfloat16" or bfloat16_dtype() is not None]
    return select(names, dtypes=dtypes) + select(names, modes=["out"], gaps=GAPS[1:])


#: A kernel of every kind: piecewise, smooth, gated, of rows, fused.
_KINDS = [
    *("leaky_relu", "hardswish", "elu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh"),
    *("swiglu", "softmax", "log_softmax", "bias_act", "relu_mask", "prelu"),
]


def _gate(names: list[str]) -> list[Case]:
    kinds = select([n for n in _KINDS if n in names], ["out", "backward"], sizes=[10_000])
    return [case for case in _smoke(names) if case.name == "relu"] + kinds


#: gate: what a pull request is judged by. smoke: every function, a minute or two in all. default:
#: each function at every size. full: every dtype, too, and calls after a pause or a matrix product;
#: hours for the whole catalogue.
PROFILES = {"gate": _gate, "smoke": _smoke, "default": select, "full": _full}


def select_profile(profile: str, names: Iterable[str] = ()) -> list[Case]:
    return PROFILES[profile](list(names) or list(SUBJECTS))


def available(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
