"""The same cases on a GPU: fastact beside PyTorch and CuPy, in turns, timed by CUDA's events.

What a call costs is the time of many calls that are queued one after the other, divided by their
number: for small arrays that is what launching costs, for large ones what the GPU needs. Beside it
stands what a plain copy reaches on the same GPU.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fastact.benchmark.cases import Case, as_probabilities, available
from fastact.benchmark.timing import numbers
from fastact.fused import ActivationStats

__all__ = [
    "LIBRARIES",
    "MODES",
    "SIZES",
    "Measured",
    "copy_bandwidth",
    "measure",
    "print_table",
    "seconds_of",
]

LIBRARIES = ["fastact", "torch", "cupy"]
MODES = ["out", "backward"]
#: For launching, and 64 MB to 1 GB of float32.
SIZES = [1, 16_000_000, 64_000_000, 256_000_000]
#: What a sample takes at least, unless one call takes longer.
SAMPLE_SECONDS = 2e-3
ROUNDS = 15


@dataclasses.dataclass(frozen=True)
class Measured:
    """Seconds of a call, by library, one for each round."""

    case: Case
    seconds: dict[str, list[float]]

    def median(self, library: str = "fastact") -> float:
        return statistics.median(self.seconds[library])

    def ratio(self, library: str) -> float:
        """The other library's time divided by fastact's, the median over rounds."""
        pairs = zip(self.seconds[library], self.seconds["fastact"], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    @property
    def bandwidth(self) -> float:
        return self.case.bytes_moved / self.median()


def measure(case: Case, libraries: Iterable[str]) -> Measured | None:
    """None if there is no such function on a GPU. Raises ValueError if results differ."""
    contenders = {}
    for library in libraries:
        contender = _contender(case, library)
        if contender is not None:
            contenders[library] = contender
    if "fastact" not in contenders:
        return None
    results = {}
    calls = {}
    for library, (call, output) in contenders.items():
        call()
        results[library] = output()
        once = min(seconds_of(call, 1) for _ in range(3))
        calls[library] = max(1, min(1000, round(SAMPLE_SECONDS / max(once, 1e-7))))
    for library, result in results.items():
        if not np.allclose(result, results["fastact"], 2e-3, 1e-3, equal_nan=True):
            raise ValueError(f"{case}: the results of fastact and {library} differ")
    seconds: dict[str, list[float]] = {library: [] for library in contenders}
    for _ in range(ROUNDS):
        for library, (call, _) in contenders.items():
            seconds_of(call, calls[library])
            seconds[library].append(seconds_of(call, calls[library]))
    return Measured(case, seconds)


def copy_bandwidth(nbytes: int) -> float:
    """Bytes read and written per second by a copy from one array of the GPU to another."""
    from numba import cuda

    count = max(1, nbytes // 4)
    source, target = (cuda.device_array(count, np.float32) for _ in range(2))

    def call() -> None:
        target.copy_to_device(source)

    call()
    return 2 * 4 * count / min(seconds_of(call, 5) for _ in range(5))


def seconds_of(call: Callable[[], Any], calls: int) -> float:
    """Seconds a call takes, the mean of ``calls`` that are queued back to back."""
    from numba import cuda

    from fastact.cuda.kernels import simulated

    if simulated():
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) / calls
    start, end = (cuda.event() for _ in range(2))
    cuda.synchronize()
    start.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return cuda.event_elapsed_time(start, end) / 1e3 / calls


# --- how each library spells a case ---------------------------------------------------------------


def _contender(
    case: Case, library: str
) -> tuple[Callable[[], Any], Callable[[], np.ndarray[Any, Any]]] | None:
    """A call, and what gives its output as an array of NumPy's; None if there is no such call."""
    # CuPy is written as NumPy is.
    statement = case.statement("numpy" if library == "cupy" else library)
    if not statement:
        return None
    dtype = np.dtype(case.dtype)
    names: dict[str, Any] = {"x": numbers(case.n, dtype, seed=0).reshape(case.shape)}
    if case.mode == "backward":
        names["grad"] = numbers(case.outputs, dtype, seed=1).reshape(-1, *case.shape[1:])
    if case.subject.gated:
        names["up"], names["out2"] = numbers(case.n, dtype, seed=2), np.empty(case.n, dtype)
    if case.subject.fused:
        names["bias"] = numbers(case.shape[1], dtype, seed=2)
        names["mask"] = np.packbits(names["x"] > 0, axis=None, bitorder="little")
        names["labels"] = np.arange(case.shape[0]) % case.shape[1]
    as_probabilities(names, case)
    size = case.n if case.mode == "backward" else case.outputs
    names["out"] = np.full(size, np.nan, dtype).reshape(-1, *case.shape[1:])
    to_device, to_host, more = _LIBRARIES[library](case)
    if more is None:
        return None
    names = {name: to_device(array) for name, array in names.items()} | case.subject.parameters
    names |= more | {"stats": ActivationStats()}
    return eval(f"lambda: ({statement})", names), lambda: to_host(names["out"])


def _fastact(case: Case) -> tuple[Any, Any, dict[str, Any] | None]:
    """On PyTorch's tensors, if there are any, else on Numba's arrays: launches take longer."""
    from numba import cuda

    import fastact.cuda as fc

    module = getattr(fc, case.subject.module, None) if case.subject.module else fc
    function = case.subject.function or case.name
    backward = "_with_grad" if case.subject.module == "losses" else "_backward"
    needed = function + {"out": "", "backward": backward}[case.mode]
    if not hasattr(module, needed):
        return None, None, None
    functions = {"f" + needed.removeprefix(function): getattr(module, needed)}
    if available("torch"):
        import torch

        if torch.cuda.is_available():
            to_device = lambda array: torch.from_numpy(array).cuda()  # noqa: E731
            return to_device, lambda tensor: tensor.cpu().numpy(), functions
    return cuda.to_device, lambda array: array.copy_to_host(), functions


def _torch(case: Case) -> tuple[Any, Any, dict[str, Any] | None]:
    if not available("torch"):
        return None, None, None
    import torch

    if not torch.cuda.is_available():
        return None, None, None
    from fastact.benchmark.timing import torch_operators

    operators = {"torch": torch}
    if not case.subject.fused:
        operators["op"] = next(iter(torch_operators(case)))
    to_device = lambda array: torch.from_numpy(array).cuda()  # noqa: E731
    return to_device, lambda tensor: tensor.cpu().numpy(), operators


def _cupy(case: Case) -> tuple[Any, Any, dict[str, Any] | None]:
    if not available("cupy"):
        return None, None, None
    import cupy
    import cupyx.scipy.special

    return cupy.asarray, cupy.asnumpy, {"np": cupy, "special": cupyx.scipy.special}


_LIBRARIES = {"fastact": _fastact, "torch": _torch, "cupy": _cupy}


# --- the table ------------------------------------------------------------------------------------


def print_table(measured: list[Measured], copies: dict[int, float], console: Any) -> None:
    """``copies``: bytes per second of a copy, by the array's bytes."""
    from rich.table import Table

    from fastact.benchmark.table import TITLES, duration

    table = Table()
    for title in ("function", "mode", "dtype"):
        table.add_column(title)
    others = [name for name in LIBRARIES[1:] if any(name in m.seconds for m in measured)]
    titles = [f"× {(TITLES | {'cupy': 'CuPy'})[name]}" for name in others]
    for title in ("elements", "time", "GB/s", "of copy", *titles):
        table.add_column(title, justify="right")
    for m in measured:
        copy = copies[m.case.array_bytes]
        ratios = [f"{m.ratio(name):.2f}" if name in m.seconds else "" for name in others]
        table.add_row(
            *(m.case.name, m.case.mode, m.case.dtype, f"{m.case.n:,}".replace(",", " ")),
            duration(m.median()),
            f"{m.bandwidth / 1e9:.3g}",
            f"{m.bandwidth / copy:.0%}",
            *ratios,
        )
    console.print(table)
    console.print("×: their time divided by fastact's. Of copy: bytes per second beside a copy's.")
