"""Check and measure ``fastact.cuda`` on a GPU, in one go, writing results as they come.

python tools/gpu_acceptance.py                 # everything, some 15 minutes on a large GPU
python tools/gpu_acceptance.py launch tests    # some of it, in this order
NUMBA_ENABLE_CUDASIM=1 python tools/gpu_acceptance.py --small    # the script itself, without a GPU

Needs fastact with the extras ``cuda`` and ``test``; PyTorch and CuPy are measured where they are
installed. Everything found goes into ``--out`` (gpu-acceptance.json) after each measurement: what
was found before an interruption is there, and an interrupted run goes on where it was.

facts      the GPU, its driver, versions
python     what a call of one element takes until it is in the driver; also without a GPU
launch     time of a call of one element, beside PyTorch's and CuPy's
tests      pytest -m cuda
graphs     PyTorch's and CuPy's graphs of every function that takes out=, captured and replayed
bandwidth  64 MB to 1 GB: fraction of a copy's bytes per second, and PyTorch's times divided by
           ours, eager and compiled by torch.compile
numbers    every float32 number through relu, gelu, silu and tanh: the CPU's bits
sanitizer  memcheck and racecheck of NVIDIA's compute-sanitizer on a sample
sweep      bandwidth with other constants than those in kernels.py
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import fastact as fa  # noqa: E402
import fastact.cuda as fc  # noqa: E402
from fastact.benchmark import gpu  # noqa: E402
from fastact.benchmark.cases import Case, available  # noqa: E402
from fastact.benchmark.results import write  # noqa: E402
from fastact.cuda import native  # noqa: E402
from fastact.cuda.kernels import simulated  # noqa: E402
from fastact.cuda.launch import Launch  # noqa: E402
from fastact.public.environment import configuration  # noqa: E402

NAMES = ["relu", "gelu", "silu", "bias_act", "relu_mask", "softmax"]
#: Values to try of constants in ``fastact/cuda/kernels.py``, and a case that each is for.
SWEEP = {
    "THREADS": ([128, 256, 512], Case("gelu", "out", "float32", 64_000_000)),
    "IN_FLIGHT": ([1, 2, 4], Case("relu", "out", "float32", 64_000_000)),
    "PARTS": ([128, 256, 512], Case("bias_act", "backward", "float32", 64_000_000)),
    "ROWS_IN_FLIGHT": ([2, 4, 8], Case("bias_act", "backward", "float32", 64_000_000)),
}
SAMPLE = """
import numpy as np, fastact.cuda as fc
from numba import cuda
numbers = np.random.default_rng(0).normal(size=(2, 300, 515)).astype("f4")
x, grad = map(cuda.to_device, numbers)
fc.gelu(x); fc.relu(x[:, ::2]); fc.softmax(x); fc.swiglu_backward(grad, x, grad)
fc.fused.bias_act_backward(grad, x); fc.fused.relu_mask(x)
cuda.synchronize()
"""


class Report:
    """What was found, by section and key, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = (
            json.loads(path.read_text()) if path.exists() else {}
        )

    def add(self, section: str, key: str, value: Any) -> None:
        self.found.setdefault(section, {})[key] = value
        write(self.path, json.dumps(self.found, indent=1).encode())
        print(f"{section:10} {key:44} {value}", flush=True)

    def has(self, section: str, key: str) -> bool:
        return key in self.found.get(section, {})


# --- sections -----------------------------------------------------------------------------------


def facts(report: Report, small: bool) -> None:
    for label, text in configuration().items():
        report.add("facts", label, text)
    for package in ("numba-cuda", "torch", "cupy-cuda12x", "cupy-cuda13x", "cuda-bindings"):
        try:
            report.add("facts", package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            continue
    if shutil.which("nvidia-smi"):
        query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem"
        done = subprocess.run(["nvidia-smi", query, "--format=csv"], capture_output=True, text=True)
        report.add("facts", "nvidia-smi", done.stdout.strip())


def python(report: Report, small: bool) -> None:
    """The same with a driver that does nothing."""
    for name, call in _of_one_element():
        if name.startswith("fastact"):
            call()
            with mock.patch.object(Launch, "__call__", _not_launched):
                call()
                report.add("python", name, _microseconds(call, small))


_NOTHING: Any = ctypes.pythonapi.PyErr_Clear
_WITHOUT_DRIVER: weakref.WeakKeyDictionary[Launch, native.Launcher] = weakref.WeakKeyDictionary()


def _not_launched(
    self: Launch, pointers: Sequence[int], parameters: Sequence[Any], stream: int
) -> None:
    """What a launch does, up to the driver."""
    launcher = _WITHOUT_DRIVER.get(self)
    if launcher is None:
        types, count = self._kernel.arguments, len(pointers)
        shape = (self._grid, self._block, types)
        launcher = native.Launcher(_NOTHING, 1, *shape, count, self._numbers)
        _WITHOUT_DRIVER[self] = launcher
    launcher(pointers, parameters, stream)


def launch(report: Report, small: bool) -> None:
    """Microseconds of a call on one element."""
    for name, call in _of_one_element():
        call()
        report.add("launch", name, _microseconds(call, small))


def _microseconds(call: Callable[[], Any], small: bool) -> float:
    """Of a call, many in a row, the smallest of some rounds."""
    calls, rounds = (200, 5) if small else (2000, 20)
    return round(min(_seconds(call, calls) for _ in range(rounds)) * 1e6, 2)


def _seconds(call: Callable[[], Any], calls: int) -> float:
    from numba import cuda

    cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    elapsed = time.perf_counter() - begin
    cuda.synchronize()
    return elapsed / calls


def _of_one_element() -> Iterator[tuple[str, Callable[[], Any]]]:
    if available("torch"):
        import torch

        if torch.cuda.is_available():
            x, grad, out = (torch.ones(1, 1, device="cuda") for _ in range(3))
            bias = torch.zeros(1, device="cuda")
            yield "fastact relu, tensors", lambda: fc.relu(x, out=out)
            yield "fastact relu, new tensor", lambda: fc.relu(x)
            yield "fastact relu_backward", lambda: fc.relu_backward(grad, x, out=out)
            yield "fastact bias_act", lambda: fc.fused.bias_act(x, bias, out=out)
            backward = fc.fused.bias_act_backward
            yield "fastact bias_act_backward", lambda: backward(grad, x, out=(out, bias))
            yield "fastact softmax", lambda: fc.softmax(x, out=out)
            yield "torch clamp_min", lambda: torch.clamp_min(x, 0, out=out)
            yield "torch relu", lambda: torch.relu(x)
    if available("cupy") and not simulated():
        import cupy

        a, b = cupy.ones(1, "f4"), cupy.ones(1, "f4")
        yield "fastact relu, CuPy's arrays", lambda: fc.relu(a, out=b)
        yield "cupy maximum", lambda: cupy.maximum(a, 0, out=b)
    from numba import cuda

    p, q, r = (cuda.to_device(np.ones((1, 1), np.float32)) for _ in range(3))
    s = cuda.to_device(np.ones(1, np.float32))
    yield "fastact relu, Numba's arrays", lambda: fc.relu(p, out=q)
    yield "fastact leaky_relu, Numba's arrays", lambda: fc.leaky_relu(p, 0.1, out=q)
    yield "fastact relu_backward, Numba's arrays", lambda: fc.relu_backward(p, r, out=q)
    yield "fastact bias_act, Numba's arrays", lambda: fc.fused.bias_act(p, s, out=q)
    by_both = fc.fused.bias_act_backward
    yield "fastact bias_act_backward, Numba's", lambda: by_both(p, r, out=(q, s))
    yield "fastact softmax, Numba's arrays", lambda: fc.softmax(p, out=q)


def tests(report: Report, small: bool) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/test_cuda.py"]
    command += ["-k", "errors or interface"] if small else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    report.add("tests", "status", done.returncode)
    report.add("tests", "end", done.stdout.strip().splitlines()[-12:])


def graphs(report: Report, small: bool) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/test_cuda.py"]
    command += ["-k", "graphs", "-rs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    report.add("graphs", "status", done.returncode)
    report.add("graphs", "end", done.stdout.strip().splitlines()[-6:])


def bandwidth(report: Report, small: bool) -> None:
    sizes = [1000] if small else [16_000_000, 64_000_000, 256_000_000]
    dtypes = ["float32"] if small else ["float32", "float16"]
    copies: dict[int, float] = {}
    for n, dtype, name in itertools.product(sizes, dtypes, NAMES):
        for mode in gpu.MODES:
            case = Case(name, mode, dtype, n)
            if mode not in case.subject.modes or report.has("bandwidth", str(case)):
                continue
            measured = gpu.measure(case, gpu.LIBRARIES)
            if measured is None:
                continue
            size = case.array_bytes
            copies[size] = copies.get(size) or gpu.copy_bandwidth(size)
            found = {"of copy": round(measured.bandwidth / copies[size], 3)}
            for library in gpu.LIBRARIES[1:]:
                if library in measured.seconds:
                    found[library] = round(measured.ratio(library), 2)
            found |= _compiled(case, measured.median())
            report.add("bandwidth", str(case), found)


#: What torch.compile gets, in terms of x, grad and bias.
_EAGER: dict[tuple[str, str], str] = {
    ("relu", "out"): "torch.relu(x)",
    ("gelu", "out"): "torch.nn.functional.gelu(x)",
    ("silu", "out"): "torch.nn.functional.silu(x)",
    ("bias_act", "out"): "torch.relu(x + bias)",
    ("relu", "backward"): "grad * (x > 0)",
    ("softmax", "out"): "torch.softmax(x, -1)",
}


def _compiled(case: Case, ours: float) -> dict[str, float]:
    """torch.compile's time divided by ours."""
    expression = _EAGER.get((case.name, case.mode))
    if expression is None or not available("torch"):
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    names = {
        name: torch.randn(case.shape, device="cuda", dtype=getattr(torch, case.dtype))
        for name in ("x", "grad")
    }
    names["bias"] = names["x"].reshape(-1, case.shape[-1])[0].clone()
    arguments = [name for name in names if re.search(rf"\b{name}\b", expression)]
    function = torch.compile(eval(f"lambda {', '.join(arguments)}: {expression}", {"torch": torch}))
    given = [names[name] for name in arguments]
    try:
        function(*given)
    except Exception as error:  # it needs a C compiler
        print(f"torch.compile: {type(error).__name__}", file=sys.stderr)
        return {}
    return {"torch.compile": round(gpu.seconds_of(lambda: function(*given), 20) / ours, 2)}


def numbers(report: Report, small: bool) -> None:
    """Numbers that differ from the CPU's, of all float32."""
    from numba import cuda

    count = 1 << (8 if small else 26)
    stop = count if small else 1 << 32
    for name in ("relu", "gelu", "silu", "tanh"):
        if report.has("numbers", name):
            continue
        differing = 0
        for start in range(0, stop, count):
            x = np.arange(start, start + count, dtype=np.uint64).astype(np.uint32).view(np.float32)
            right = getattr(fa, name)(x).view(np.uint32)
            given = getattr(fc, name)(cuda.to_device(x)).copy_to_host().view(np.uint32)
            unlike = given != right
            both_nan = np.isnan(given.view(np.float32)) & np.isnan(right.view(np.float32))
            differing += int((unlike & ~both_nan).sum())
            print(f"\r{name} {start / stop:4.0%}", end="", file=sys.stderr)
        print("\r", end="", file=sys.stderr)
        report.add("numbers", name, differing)


def sanitizer(report: Report, small: bool) -> None:
    program = shutil.which("compute-sanitizer")
    if program is None:
        report.add("sanitizer", "compute-sanitizer", "not installed")
        return
    for tool in ("memcheck", "racecheck"):
        command = [program, "--tool", tool, sys.executable, "-c", SAMPLE]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        report.add("sanitizer", tool, (done.stdout + done.stderr).strip().splitlines()[-3:])


def sweep(report: Report, small: bool) -> None:
    """Each constant by itself, in a copy of the package, in a process of its own."""
    for constant, (values, case) in SWEEP.items():
        for value in values[:1] if small else values:
            key = f"{constant} = {value}: {case}"
            if report.has("sweep", key):
                continue
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "fastact"
                shutil.copytree(ROOT / "fastact", copy)
                kernels = copy / "cuda/kernels.py"
                text, changed = re.subn(
                    rf"^{constant} = \d+", f"{constant} = {value}", kernels.read_text(), flags=re.M
                )
                assert changed == 1, constant
                kernels.write_text(text)
                n = 1000 if small else case.n
                program = f"""\
from fastact.benchmark import gpu
from fastact.benchmark.cases import Case
case = Case({case.name!r}, {case.mode!r}, {case.dtype!r}, {n})
print(gpu.measure(case, ["fastact"]).bandwidth / gpu.copy_bandwidth(case.array_bytes))"""
                done = subprocess.run(
                    [sys.executable, "-c", program],
                    env=os.environ | {"PYTHONPATH": folder},
                    capture_output=True,
                    text=True,
                )
            result = done.stdout.strip() or done.stderr.strip()[-300:]
            report.add("sweep", key, result)


SECTIONS = {
    section.__name__: section
    for section in (facts, python, launch, tests, graphs, bandwidth, numbers, sanitizer, sweep)
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="all, if none is named")
    parser.add_argument("--out", type=Path, default=Path("gpu-acceptance.json"), metavar="FILE")
    parser.add_argument("--small", action="store_true", help="tiny arrays, to try the script")
    options = parser.parse_args()
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"there is no section {sorted(unknown)[0]!r}: {', '.join(SECTIONS)}")
    report = Report(options.out)
    for name in options.sections or SECTIONS:
        begin = time.monotonic()
        try:
            SECTIONS[name](report, options.small)
        except Exception as error:  # the next section may work
            report.add(name, "failed", f"{type(error).__name__}: {error}")
        report.add("seconds", name, round(time.monotonic() - begin, 1))
    return int(any("failed" in found for found in report.found.values()))


if __name__ == "__main__":
    sys.exit(main())
