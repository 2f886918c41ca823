"""Timing that can be trusted on a shared machine: interleaved, in one process, medians of ratios.

    python bench/measure.py                # the README's table: ReLU against NumPy and PyTorch
    python bench/measure.py --gap          # with a pause or a matrix product before each call

A (fastact) and B, C, ... (the others) run in turn, A B C B C A ..., each time for about a
millisecond or one call, after a pause and as many calls that are not timed. A ratio is the median
over the rounds of B's time divided by A's time in the same round, so that a change of the
machine's speed between rounds does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable

import numpy as np

import fastact as fa

Call = Callable[[], object]
SETTLE_SECONDS = 0.02


def calls_per_sample(call: Call, seconds: float = 1e-3) -> int:
    best = min(sample(call, 1, before=call) for _ in range(10))
    return max(1, round(seconds / max(best, 1e-7)))


def sample(call: Call, calls: int, before: Call | None) -> float:
    """Seconds for one call: the mean of a few, back to back, or of one right after ``before``."""
    if before is not None:
        before()
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    # Nobody else's threads spin any more (GNU OpenMP's do so for 8 ms), and its own are awake.
    time.sleep(SETTLE_SECONDS)
    for _ in range(calls):
        call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def interleaved(
    contenders: dict[str, Call], rounds: int, before: Call | None = None
) -> dict[str, list[float]]:
    """Seconds of each contender, round by round."""
    calls = {name: calls_per_sample(call) for name, call in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for name, call in contenders.items():
        sample(call, calls[name], before)
    order = list(contenders)
    for _ in range(rounds):
        for name in order:
            times[name].append(sample(contenders[name], calls[name], before))
        # Rotate: a pool of threads goes on spinning for a while into whoever comes next.
        order.append(order.pop(0))
    return times


def ratio(times: dict[str, list[float]], name: str, base: str = "fastact") -> float:
    """How many times longer ``name`` takes than ``base``."""
    return statistics.median(b / a for a, b in zip(times[base], times[name], strict=True))


# --- the cases ----------------------------------------------------------------------------------

SIZES = [1, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000]


def contenders(mode: str, n: int, dtype: str = "float32") -> dict[str, Call]:
    rng = np.random.default_rng(0)
    x, grad = (rng.standard_normal(n, np.float32).astype(dtype) for _ in range(2))
    out, y = np.empty_like(x), x.copy()
    relu, relu_backward = fa.relu, fa.relu_backward
    chosen: dict[str, dict[str, Call]] = {
        "out": {
            "fastact": lambda: relu(x, out=out),
            "numpy": lambda: np.maximum(x, 0, out=out),
        },
        "fresh": {"fastact": lambda: relu(x), "numpy": lambda: np.maximum(x, 0)},
        "in_place": {
            "fastact": lambda: relu(y, out=y),
            "numpy": lambda: np.maximum(y, 0, out=y),
        },
        "backward": {
            "fastact": lambda: relu_backward(grad, x, out=out),
            "numpy": lambda: np.multiply(grad, x > 0, out=out),
        },
    }
    contest = chosen[mode]
    try:
        import torch
    except ImportError:
        return contest
    torch.set_num_threads(fa.get_num_threads())
    tx, tgrad, tout, ty = (torch.from_numpy(a) for a in (x, grad, out, y))
    theirs: dict[str, Call] = {
        "out": lambda: torch.clamp_min(tx, 0, out=tout),
        "fresh": lambda: torch.relu(tx),
        "in_place": lambda: torch.relu_(ty),
        "backward": lambda: torch.ops.aten.threshold_backward.grad_input(
            tgrad, tx, 0, grad_input=tout
        ),
    }
    contest["torch"] = theirs[mode]
    return contest


def print_table(mode: str, dtype: str, sizes: list[int]) -> None:
    print(f"\nrelu, {mode}, {dtype}, {fa.get_num_threads()} threads: time of others / ours")
    for n in sizes:
        times = interleaved(contenders(mode, n, dtype), rounds=15 if n >= 10_000_000 else 41)
        ours = statistics.median(times["fastact"]) * 1e6
        ratios = "  ".join(
            f"{name} {ratio(times, name):6.2f}" for name in times if name != "fastact"
        )
        print(f"{n:>11,}  {ours:10.2f} us  {ratios}")


def print_gaps(sizes: list[int]) -> None:
    a = np.random.default_rng(0).standard_normal((256, 256), np.float32)
    threads = fa.get_num_threads()
    gaps: dict[str, Call] = {"10 ms sleep": lambda: time.sleep(0.01), "matmul": lambda: a @ a}
    with contextlib.suppress(ImportError):
        import torch

        t = torch.ones(1_000_000)
        gaps["PyTorch call"] = lambda: torch.relu_(t)
    for gap, wait in gaps.items():
        print(f"\nrelu, out, float32, after a {gap}: median us (95th percentile)")
        for n in sizes:
            contest = contenders("out", n)
            contest["serial"] = contest["fastact"]
            times: dict[str, list[float]] = {name: [] for name in contest}
            order = list(contest)
            for _ in range(60):
                for name in order:
                    fa.set_num_threads(1 if name == "serial" else threads)
                    times[name].append(sample(contest[name], 1, wait))
                order.append(order.pop(0))
            fa.set_num_threads(threads)
            cells = "  ".join(
                f"{name} {statistics.median(t) * 1e6:8.1f} ({np.percentile(t, 95) * 1e6:8.1f})"
                for name, t in times.items()
            )
            print(f"{n:>11,}  {cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gap", action="store_true")
    parser.add_argument("--modes", default="out,fresh,in_place,backward")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--sizes", type=lambda s: [int(float(n)) for n in s.split(",")])
    options = parser.parse_args()
    fa.show_config()
    if options.gap:
        print_gaps(options.sizes or [10_000, 100_000, 1_000_000, 3_000_000, 10_000_000])
        return
    for mode in options.modes.split(","):
        print_table(mode, options.dtype, options.sizes or SIZES)


if __name__ == "__main__":
    main()
