"""Compile CUDA kernels without a GPU, and print what the assembler says: registers and spills.

    python tools/ptx.py [NAME ...] [--cc 9.0] [--dtype float32,...]

The kernels of ``fastact.cuda``, and for each function of numbers a kernel that calls it, as a user
of ``@cuda.jit`` does. Needs the extra "cuda", whose packages contain NVIDIA's compiler. Exits with
1 if a kernel does not compile, spills registers, or loads no vectors where it should.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from numba import cuda, types
from numba.cuda import dispatcher

cuda.current_context = lambda: None  # by which fastact.cuda finds out whether there is a GPU

import fastact  # noqa: E402
from fastact import compiled  # noqa: E402
from fastact.catalogue import (  # noqa: E402
    CATALOGUE,
    Activation,
    Gated,
    Joined,
    Largest,
    Rows,
    Variants,
)
from fastact.catalogue.dtypes import Kind  # noqa: E402
from fastact.catalogue.entries import REQUIRED, activation_of  # noqa: E402
from fastact.catalogue.losses import LOSSES  # noqa: E402
from fastact.cuda import device, kernels  # noqa: E402
from fastact.cuda.arrays import KINDS  # noqa: E402
from fastact.cuda.kernels import CudaKernel  # noqa: E402
from fastact.source import fused  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries of the catalogue (all)")
    parser.add_argument("--cc", default="9.0", help="compute capability (9.0)")
    parser.add_argument("--dtype", default=",".join(KINDS), help="such as float32 (all)")
    options = parser.parse_args()
    major, minor = map(int, options.cc.split("."))
    capability = (major, minor)
    # What asks for the current device's wants to know nothing else of it.
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    device.jit = lambda function, arguments, cached: cuda.compile_ptx(
        function, tuple(getattr(types, name) for name in arguments), cc=capability
    )[0]
    CudaKernel._file = lambda self: None  # type: ignore[method-assign]
    compiled.initialize_on_gpu()  # which Numba does before it compiles anything for a GPU
    assembler = _assembler()
    failed = 0
    for dtype in options.dtype.split(","):
        for kernel in _kernels(options.names or list(CATALOGUE), KINDS[dtype]):
            problem = _check(kernel.name, kernel.compiled, assembler, f"sm_{major}{minor}")
            failed += bool(problem)
        for name in options.names or list(CATALOGUE):
            for call, kernel in _calls(name, dtype):
                ptx = cuda.compile_ptx(kernel, (getattr(types, dtype)[::1],) * 2, cc=capability)[0]
                problem = _check(
                    f"{call} in @cuda.jit, {dtype}", ptx, assembler, f"sm_{major}{minor}"
                )
                failed += bool(problem)
    print(f"{failed} kernels failed" if failed else "all kernels compile without spills")
    return 1 if failed else 0


def _assembler() -> Path:
    for file in importlib.metadata.files("nvidia-cuda-nvcc-cu12") or []:
        if file.name == "ptxas":
            return Path(str(file.locate()))
    raise SystemExit("ptxas, of the package nvidia-cuda-nvcc-cu12, is not there")


def _kernels(names: list[str], kind: Kind) -> Iterator[CudaKernel]:
    width = kernels.vector_width(kind)
    for name in names:
        entry = CATALOGUE[name]
        if isinstance(entry, Activation | Variants):
            for activation, _ in entry.formulas:
                yield from _of_activation(activation, kind)
        elif isinstance(entry, Joined):
            for activation in (entry.first, entry.second, entry.derivative):
                source = kernels.forward(activation, kind)
                yield kernels.linear(activation.name, kind, source, activation.arrays, 0)
        elif isinstance(entry, Rows):
            yield from (kernels.rows(f, kind) for f in (entry.formula, entry.backward))
        elif isinstance(entry, Largest):
            yield from (kernels.maxout(kind), kernels.maxout_backward(kind))
    silu, prelu = activation_of("silu"), activation_of("prelu")
    yield kernels.linear("swiglu_backward", kind, kernels.gated_backward(silu, kind), 3, 0, 2)
    for lanes in (1, width):
        yield kernels.channels(fused.bias_act_backward(silu, kind, True), lanes)
        yield kernels.channels(fused.bias_act(silu, kind, False), lanes)
    yield kernels.columns(fused.prelu_backward(prelu, kind), width)
    yield from (kernels.mask(kind), kernels.mask_backward(kind), kernels.total(kind))
    yield from _of_losses(kind)


#: Names of kernels that load elements one by one.
_WITHOUT_VECTORS = "strided|channels1_|rows|total|maxout|sum|value|label|@cuda.jit"


def _of_activation(entry: Activation, kind: Kind) -> Iterator[CudaKernel]:
    name, count = entry.name, len(entry.parameters)
    yield kernels.linear(name, kind, kernels.forward(entry, kind), entry.arrays, count)
    backward = kernels.backward(entry, kind)
    count += len(entry.derivative_parameters)
    yield kernels.linear(f"{name}_backward", kind, backward, 2, count)
    yield kernels.strided(f"{name}_backward", kind, backward, 2, count, 1, 3)
    yield kernels.columns(fused.bias_act_backward(entry, kind, False), kernels.vector_width(kind))


def _of_losses(kind: Kind) -> Iterator[CudaKernel]:
    for loss in LOSSES.values():
        count = len(loss.parameters)
        for outputs in (("gradient", "sum"), ("gradient", "value"), ("sum",)):
            for arrays in {(False,) * count, (True,) * count}:
                yield kernels.terms(loss, kind, outputs, arrays)
    for weighted in (False, True):
        yield kernels.cross_entropy(kind, weighted, weighted, weighted)
        yield kernels.label_weights(weighted)
    yield kernels.summed(kind)


def _calls(name: str, dtype: str) -> Iterator[tuple[str, Any]]:
    """For each function of numbers of an entry, a kernel of a user's that calls it."""
    entry = CATALOGUE[name]
    if dtype not in ("float32", "float64") or not isinstance(entry, Activation | Variants | Gated):
        return
    for form in entry.forms:
        halves = isinstance(entry, Gated) and entry.halves
        if form.which == "in_place" or form.outputs > 1 or halves:
            continue
        required = [0.5 for p in form.parameters if p.default is REQUIRED]
        given = ", ".join(["x[i]"] * len(form.arrays) + [repr(number) for number in required])
        text = f"def kernel(x, y):\n    i = cuda.grid(1)\n    y[i] = fa.{form.name}({given})\n"
        known: dict[str, Any] = {"cuda": cuda, "fa": fastact}
        exec(text, known)
        yield form.name, known["kernel"]


def _check(name: str, ptx: str, assembler: Path, architecture: str) -> str:
    """What is wrong with a kernel, if anything; printed, with its registers."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [str(assembler), "-v", f"-arch={architecture}", file.name, "-o", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True)
    registers = re.search(r"Used (\d+) registers", done.stderr)
    stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", done.stderr)
    vectors = len(re.findall(r"ld\.global(?:\.nc)?\.v[248]", ptx))
    problem = ""
    if done.returncode or not registers or not stack:
        problem = done.stderr.strip() or "ptxas failed"
    elif any(int(number) for number in stack.groups()):
        problem = f"{stack[1]} bytes on the stack, {stack[2]} spilled"
    elif not vectors and not re.search(_WITHOUT_VECTORS, name):
        problem = "no vector loads"
    count = registers[1] if registers else "?"
    print(f"{name:52} {count:>3} registers, {vectors} vector loads {problem}", flush=True)
    return problem


if __name__ == "__main__":
    sys.exit(main())
