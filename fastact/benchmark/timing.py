"""Timing that can be trusted on a shared machine: interleaved, in one process, medians of ratios.

The contenders of a case run in turn, A B C B C A ..., each time for about a millisecond or one
call, after as many calls that are not timed. What is compared is time within a round, so that a
change of the machine's speed between rounds does not count. Statements are compiled into the loop
that times them, as ``timeit`` does, so that no function around them is timed along. Outputs hold
NaN before, and are checked after.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import fastact as fa
from fastact.benchmark.cases import Case, as_probabilities, available, numpy_dtype
from fastact.catalogue import Activation

__all__ = [
    "Contender",
    "Estimate",
    "check",
    "contest",
    "copy_contender",
    "expected_seconds",
    "gaps",
    "measure",
    "numbers",
    "ratio",
    "torch_operators",
]

SAMPLE_SECONDS = 1e-3
#: After this pause PyTorch's threads do not spin any more: GNU OpenMP's do so for 8 ms.
SETTLE_SECONDS = 0.02
MIN_ROUNDS, MAX_ROUNDS = 7, 101
#: Applied in place again and again, some functions arrive at denormal numbers, which are slow:
#: leaky_relu's 0.01 ** k after 19 times. So data are put back after this many times. The first of
#: them is not timed: putting them back was a pause in which worker threads fell asleep.
APPLICATIONS = 3
#: Small arrays in place are timed on several copies, whose number is bounded by these.
COPIES, COPIES_BYTES = 256, 64 << 10
PAGE = 4096
#: Random numbers repeat from here on: too far apart for a branch predictor to learn them.
PERIOD = 1 << 20

Array = np.ndarray[Any, np.dtype[Any]]


# --- contenders -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Contender:
    """One library's statement, ready to be timed."""

    statement: str
    names: dict[str, Any]
    #: The output as timed calls left it.
    result: Callable[[], Array]
    #: Copies of x and how to put them back as they were, where calls in place change them.
    copies: list[Any] | None = None
    restore: Callable[[], None] = lambda: None
    calls: int = 1

    def __post_init__(self) -> None:
        source = (
            "def loop(iterable):\n"
            "    start = clock()\n"
            f"    for {'_' if self.copies is None else 'x'} in iterable:\n"
            f"        {self.statement}\n"
            "    return clock() - start\n"
        )
        names = self.names | {"clock": time.perf_counter}
        exec(source, names)
        self._loop: Callable[[Iterable[Any]], float] = names["loop"]
        #: Run the statement once: for a timer other than ours.
        self.call: Callable[[], Any] = eval(f"lambda: ({self.statement})", names)

    def run(self, calls: int) -> float:
        """Seconds that ``calls`` take, back to back."""
        return self._loop(itertools.repeat(None, calls))

    def calibrate(self) -> None:
        """Find out how many calls, or rounds over the copies, take about a millisecond."""
        once = self.run if self.copies is None else self._rounds
        seconds = min(once(1) for _ in range(5))
        if seconds < SAMPLE_SECONDS:
            self.calls = max(1, round(SAMPLE_SECONDS / 4 / seconds))
            seconds = min(once(self.calls) for _ in range(3)) / self.calls
        self.calls = max(1, round(SAMPLE_SECONDS / seconds))

    def sample(self) -> float:
        """Seconds of one call among others like it."""
        if self.copies is None:
            self.run(self.calls)
            return self.run(self.calls) / self.calls
        self._rounds(self.calls)
        return self._rounds(self.calls) / (self.calls * (APPLICATIONS - 1) * len(self.copies))

    def _rounds(self, rounds: int) -> float:
        """Seconds that calls on all copies take, without those that follow putting data back."""
        seconds = 0.0
        for _ in range(rounds):
            self.restore()
            self._loop(self.copies or ())
            seconds += sum(self._loop(self.copies or ()) for _ in range(APPLICATIONS - 1))
        return seconds

    def single(self) -> float:
        """Seconds of one call alone."""
        self.restore()
        return self.run(1) if self.copies is None else self._loop(self.copies[:1])


def contest(case: Case, libraries: Iterable[str]) -> dict[str, Contender]:
    """The contenders of a case, on equal data; libraries that do not have it are left out."""
    dtype = numpy_dtype(case.dtype)
    x = numbers(case.n, dtype, seed=0)
    grad = numbers(case.outputs, dtype, seed=1) if case.mode == "backward" else x
    arrays = {"x": x, "grad": grad}
    if case.subject.gated:
        arrays["up"] = numbers(case.n, dtype, seed=2)
        arrays["out2"] = like(x, position=3)
    if case.subject.rows:
        arrays = {name: array.reshape(case.shape) for name, array in arrays.items()}
    if case.subject.fused:
        arrays["bias"] = numbers(case.shape[1], dtype, seed=2)
        arrays["mask"] = np.packbits(arrays["x"] > 0, axis=None, bitorder="little")
        arrays["labels"] = np.arange(case.shape[0]) % case.shape[1]
    as_probabilities(arrays, case)
    contenders = {}
    for library in libraries:
        if not case.statement(library):
            continue
        if library == "torch":
            contender = _torch_contender(case, arrays)
        else:
            contender = _contender(case, library, arrays)
        if contender is not None:
            contenders[library] = contender
    return contenders


def _contender(case: Case, library: str, names: dict[str, Any]) -> Contender:
    x = names["x"]
    names = {"np": np, "out": None, **names, **case.subject.parameters}
    if "special." in case.statement(library):
        import scipy.special

        names["special"] = scipy.special
    # Not by their own names: one is called like its parameter.
    function = case.subject.function or case.name
    module = getattr(fa, case.subject.module) if case.subject.module else fa
    endings = ("", "_", "_backward", "_with_grad")
    names |= {f"f{end}": getattr(module, function + end, None) for end in endings}
    names["stats"] = fa.fused.ActivationStats()
    convert: Callable[[Array], Any] = lambda array: array  # noqa: E731
    if library == "torch":
        convert = _to_torch

    if case.mode == "fresh":
        contender = Contender(
            case.statement(library),
            _converted(names, convert),
            lambda: np.asarray(contender.call()),
        )
        if library == "torch":
            contender.result = lambda: _from_torch(contender.call(), x.dtype)
        return contender

    if case.mode == "in-place":
        return _in_place(case, library, names, convert)

    out = like(x, case.n if case.mode == "backward" else case.outputs, position=2)
    out.fill(np.nan)
    if case.subject.rows:
        out = out.reshape(case.shape)
    names["out"] = out
    return Contender(case.statement(library), _converted(names, convert), lambda: out)


def _in_place(
    case: Case, library: str, names: dict[str, Any], convert: Callable[[Array], Any]
) -> Contender:
    x = names["x"]
    count = min(COPIES, max(1, COPIES_BYTES // max(1, x.nbytes)))
    copies = [like(x).reshape(x.shape) for _ in range(count)]

    def restore() -> None:
        for copy in copies:
            np.copyto(copy, x)

    def result() -> Array:
        restore()
        contender.single()
        return copies[0]

    contender = Contender(
        case.statement(library),
        _converted(names | {"x": copies[0]}, convert),
        result,
        [convert(copy) for copy in copies],
        restore,
    )
    once = result().copy()
    contender.call()
    if np.array_equal(once, copies[0]):
        # To apply it again changes nothing, so calls can be timed on one array, back to back.
        return Contender(contender.statement, contender.names, result)
    return contender


def _converted(names: dict[str, Any], convert: Callable[[Array], Any]) -> dict[str, Any]:
    return {k: convert(v) if isinstance(v, np.ndarray) else v for k, v in names.items()}


def _to_torch(array: Array) -> Any:
    """A tensor on the same memory."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _from_torch(tensor: Any, dtype: np.dtype[Any]) -> Array:
    import torch

    if dtype.name == "bfloat16":
        return tensor.view(torch.int16).numpy().view(dtype)
    return tensor.numpy()


def _torch_contender(case: Case, arrays: dict[str, Any]) -> Contender | None:
    """PyTorch's, by the way that costs the least for each call; None if it has no such function."""
    if not available("torch"):
        return None
    import torch

    torch.set_num_threads(fa.get_num_threads())
    if case.subject.fused:
        return _contender(case, "torch", {**arrays, "torch": torch})
    for operator in torch_operators(case):
        try:
            contender = _contender(case, "torch", {**arrays, "op": operator})
            contender.call()
        except (AttributeError, RuntimeError, TypeError):
            continue  # no such form
        if case.mode in ("out", "backward"):
            contender.result().fill(np.nan)
        return contender
    return None


def torch_operators(case: Case) -> Iterator[Callable[..., Any]]:
    import torch

    name = case.torch_operator.split()[0] + ("_" if case.mode == "in-place" else "")
    if case.mode != "backward":
        for module in (torch, torch._C._nn):
            if hasattr(module, name):
                yield getattr(module, name)
    packet = getattr(torch.ops.aten, name, None)
    overloads = {"out": ["out"], "backward": ["grad_input", "out"]}.get(case.mode, ["default"])
    for overload in overloads:
        if hasattr(packet, overload):
            yield getattr(packet, overload)


def _itself(x: Any) -> Any:
    return x


@functools.cache
def _copy_ufunc() -> np.ufunc:
    from fastact.public.elementwise import kernel_ufunc

    about = "x itself: what the speed of the machine's memory is measured with."
    return kernel_ufunc(Activation(name="copy", formula=_itself), "forward", "copy", about)


def copy_contender(nbytes: int) -> Contender:
    """A copy of ``nbytes`` by the same threads: what the machine's memory allows."""
    x = numbers(max(1, nbytes // 4), np.dtype(np.float32), seed=0)
    out = like(x, position=2)
    return Contender("copy(x, out)", {"copy": _copy_ufunc(), "x": x, "out": out}, lambda: out)


# --- data -----------------------------------------------------------------------------------------


def like(x: Array, n: int | None = None, position: int = 0) -> Array:
    """An uninitialized array of x's dtype and length (or n).

    It begins on a cache line, so that two runs do not differ by where ``malloc`` put it, at an
    offset within its page that depends on ``position``: loads and stores that agree in the lowest
    12 bits of their addresses wait for each other.
    """
    nbytes = (x.size if n is None else n) * x.itemsize
    memory = np.empty(nbytes + 2 * PAGE, np.uint8)
    start = -memory.ctypes.data % PAGE + position * 9 * 64
    return memory[start : start + nbytes].view(x.dtype)


def numbers(n: int, dtype: np.dtype[Any], seed: int) -> Array:
    """Normally distributed, with standard deviation 3: on both sides of every kink."""
    period = _period(seed)[:n].astype(dtype)
    array = like(period, n, position=seed)
    for i in range(0, n, PERIOD):
        array[i : i + PERIOD] = period[: n - i]
    return array


@functools.cache
def _period(seed: int) -> Array:
    return np.random.default_rng(seed).normal(0, 3, PERIOD)


def check(case: Case, contenders: dict[str, Contender]) -> None:
    """Raise ValueError if timed calls did not write what NumPy's idiom gives."""
    # PyTorch's hardsigmoid has a sixth in float32 for its float64 gradients; NumPy adds bfloat16 up
    # in bfloat16.
    tolerance = {"float64": 1e-6, "float32": 1e-4, "float16": 2e-2}.get(case.dtype, 1e-1)
    results = {name: contender.result() for name, contender in contenders.items()}
    expected = results.get("numpy", next(iter(results.values())))
    for name, result in results.items():
        wanted = _some(expected)
        # What cancels in a sum has errors as large as its largest terms'.
        size = max(1.0, np.abs(wanted).max(initial=0.0))
        close = np.allclose(_some(result), wanted, rtol=tolerance, atol=tolerance * size)
        if not close or np.isnan(result).any():
            raise ValueError(f"{case}: the result of {name} is wrong")


def _some(array: Array) -> Array:
    """Up to about a million elements from everywhere, both ends among them."""
    array = array.reshape(-1)
    some = np.concatenate([array[:: 1 + len(array) // PERIOD], array[-100:]])
    return some.astype(np.float64)


# --- rounds ---------------------------------------------------------------------------------------


def measure(
    contenders: dict[str, Contender], seconds: float, gap: str = "none"
) -> dict[str, list[float]]:
    """Seconds for one call of each contender, round by round, for about ``seconds`` in all."""
    before = gaps()[gap]
    for contender in contenders.values():
        contender.calibrate()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    start = time.perf_counter()
    for done in range(MAX_ROUNDS):
        if done >= MIN_ROUNDS and time.perf_counter() - start > seconds:
            break
        for name in order:
            contender = contenders[name]
            before()
            times[name].append(contender.sample() if gap == "none" else contender.single())
            if name == "torch":
                time.sleep(SETTLE_SECONDS)
        # Rotate: a pool of threads goes on spinning for a while into whoever comes next.
        order.append(order.pop(0))
    return times


def expected_seconds(case: Case, libraries: int, seconds: float) -> float:
    """How long ``measure`` and what comes before and after it will take, about."""
    call = 2e-9 * case.n  # over the libraries, of which NumPy takes longest
    sample = {"none": 2 * max(SAMPLE_SECONDS, call), "sleep": 0.01 + call, "matmul": 1e-3 + call}
    prepared = 0.04 + 40e-9 * case.n
    return prepared + 1.125 * max(seconds, MIN_ROUNDS * libraries * sample[case.gap])


@functools.cache
def gaps() -> dict[str, Callable[[], object]]:
    """What comes before each call."""
    a = np.random.default_rng(0).standard_normal((256, 256), np.float32)
    return {"none": lambda: None, "sleep": lambda: time.sleep(0.01), "matmul": lambda: a @ a}


# --- statistics -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A median, and an interval that holds the true one with 95 % confidence."""

    value: float
    low: float
    high: float


def ratio(times: dict[str, list[float]], name: str, base: str = "fastact") -> Estimate:
    """How many times longer ``name`` takes than ``base``: the median of the rounds' ratios."""
    ratios = sorted(b / a for a, b in zip(times[base], times[name], strict=True))
    # How many of n rounds are below the true median is binomially distributed, whatever the
    # distribution of the ratios, and for n in the tens nearly normally: 1.96 deviations.
    outside = max(0, math.floor(len(ratios) / 2 - 0.98 * math.sqrt(len(ratios))))
    return Estimate(statistics.median(ratios), ratios[outside], ratios[-1 - outside])
