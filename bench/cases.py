"""What is measured: function x mode x dtype x size, generated from the catalogue."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import fastact as fa
from fastact.activations import CATALOGUE

MODES = ["out", "fresh", "in_place", "backward"]
NAMES = [name for name in CATALOGUE if not name.startswith("_")]
#: For parameters that have no default.
ARGUMENTS = {"weight": 0.25, "slope": 0.25, "threshold": 0.5, "value": 0.0}


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    mode: str
    dtype: str
    n: int

    def __str__(self) -> str:
        return f"{self.name}-{self.mode}-{self.dtype}-{self.n}"

    @property
    def bytes_moved(self) -> int:
        """Bytes that a call has to read and write at least."""
        return self.n * np.dtype(self.dtype).itemsize * (3 if self.mode == "backward" else 2)

    def calls(self) -> dict[str, Callable[[], Any]]:
        """The same work by fastact and by the NumPy idiom."""
        entry = CATALOGUE[self.name]
        arguments = {
            name: ARGUMENTS[name] if default is inspect.Parameter.empty else default
            for name, default in entry.parameters.items()
        }
        passed = "".join(f", {name}" for name in arguments)
        if self.name == "rrelu":
            passed = ""  # the slope is the mean of the default interval
            arguments = {"slope": (1 / 8 + 1 / 3) / 2}
        rng = np.random.default_rng(0)
        x, grad = (rng.normal(0, 3, self.n).astype(self.dtype) for _ in range(2))
        ours = {
            "out": f"f(x{passed}, out=out)",
            "fresh": f"f(x{passed})",
            "in_place": f"f_(x{passed})",
            "backward": f"f_backward(grad, x{passed}, out=out)",
        }[self.mode]
        theirs = entry.backward_idiom if self.mode == "backward" else entry.idiom
        # Most idioms have no "out"; a backward one has it for a temporary only.
        if self.mode == "backward" or (self.mode != "fresh" and "out=out" not in theirs):
            theirs = f"np.copyto(out, {theirs}) or out"

        def call(text: str) -> Callable[[], Any]:
            own_x = x.copy() if self.mode == "in_place" else x
            out = {"in_place": own_x, "fresh": None}.get(self.mode, np.empty_like(x))
            names = {"np": np, "grad": grad, "x": own_x, "out": out, **arguments}
            # Not by their own names: one is called like its parameter.
            names |= {f"f{s}": getattr(fa, f"{self.name}{s}") for s in ("", "_", "_backward")}
            return eval(f"lambda: {text}", names)

        # Both are text, so that both are called in the same way.
        return {"fastact": call(ours), "numpy": call(theirs)}


def cases(full: bool) -> list[Case]:
    """The quick selection takes about a minute."""
    if full:
        sizes = [1, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000]
        dtypes = ["float32", "float64", "float16"]
        return [Case(n, m, d, s) for n in NAMES for m in MODES for d in dtypes for s in sizes]
    quick = [Case("relu", m, "float32", s) for m in MODES for s in (100, 10_000, 1_000_000)]
    others = [Case(n, m, "float32", 100_000) for n in NAMES[1:] for m in ("out", "backward")]
    return quick + others + [Case("relu", "out", "float16", 100_000)]
