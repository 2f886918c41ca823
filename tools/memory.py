"""Write the tables of ``docs/memory.md``: what recycled memory gains.

python tools/memory.py   # some minutes; nothing else should run meanwhile

Each program is timed in turns, with NumPy's allocator and with recycling, in one process.
"""

from __future__ import annotations

import re
import statistics
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastact as fa
from fastact.benchmark.cases import available
from fastact.benchmark.results import Run
from fastact.benchmark.table import conditions, elements

TARGET = Path(__file__).parents[1] / "docs" / "memory.md"
BEGIN, END = "<!-- begin: tools/memory.py -->", "<!-- end: tools/memory.py -->"
ROUNDS = 9
SECONDS = 0.05
SIZES = [30_000, 100_000, 1_000_000, 10_000_000, 50_000_000]
PROGRAMS = {
    "`fa.relu(x)`": "fa.relu(x)",
    "`np.maximum(x, 0)`": "np.maximum(x, 0)",
    "`x + y`": "x + y",
    "`(x - y) * x + y`": "(x - y) * x + y",
    "`x.astype(np.float64)`": "x.astype(np.float64)",
    "`np.zeros_like(x) + x`": "np.zeros_like(x) + x",
    "eight results alive at once": "[x + y for _ in range(8)]",
    "eight layers forward, then backward": "backward(grad, forward(x))",
}


def forward(x: np.ndarray) -> list[np.ndarray]:
    layers = [x]
    for _ in range(8):
        layers.append(np.maximum(layers[-1], 0))
    return layers


def backward(grad: np.ndarray, layers: list[np.ndarray]) -> np.ndarray:
    while len(layers) > 1:
        grad = grad * (layers.pop() > 0)
    return grad


def timer(statement: str, **names: object) -> Callable[[], float]:
    """Measures seconds per call, over enough calls."""
    made = timeit.Timer(statement, globals={"np": np, "fa": fa, **names})
    made.timeit(1)
    calls = max(1, round(SECONDS / made.timeit(1)))

    def seconds() -> float:
        made.timeit(1)  # what a change of the allocator costs the first call is not asked
        return made.timeit(calls) / calls

    return seconds


def gain(statement: str, **names: object) -> float:
    seconds = timer(statement, **names)
    ratios = []
    for _ in range(ROUNDS):
        default = seconds()
        with fa.memory.recycling(max_bytes=1 << 40):
            ratios.append(default / seconds())
    return statistics.median(ratios)


def against(statement: str, x: np.ndarray, **names: object) -> float:
    """How much faster ``fa.relu(x)`` with recycling is than another library's own."""
    ours, other = timer("fa.relu(x)", x=x), timer(statement, x=x, **names)
    ratios = []
    for _ in range(ROUNDS):
        theirs = other()
        with fa.memory.recycling():
            ratios.append(theirs / ours())
    return statistics.median(ratios)


def table(rows: dict[str, list[float]]) -> str:
    titles = ["float32 elements", *map(elements, SIZES)]
    lines = [titles, ["---", *["---:"] * len(SIZES)]]
    lines += [[name, *(f"{value:.2f}" for value in values)] for name, values in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    rows: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    relu: dict[str, list[float]] = {"`np.maximum(x, 0)`": []}
    if available("torch"):
        relu["`torch.relu(x)`"] = []
    for n in SIZES:
        x, y, grad = (np.random.default_rng(seed).normal(size=n).astype("f4") for seed in range(3))
        names = {"x": x, "y": y, "grad": grad, "forward": forward, "backward": backward}
        for name, statement in PROGRAMS.items():
            rows[name].append(gain(statement, **names))
            print(f"{n:>11} {name}: {rows[name][-1]:.2f}", file=sys.stderr)
        relu["`np.maximum(x, 0)`"].append(against("np.maximum(x, 0)", x))
        if available("torch"):
            import torch

            torch.set_num_threads(fa.get_num_threads())
            statement = "torch.relu(tensor)"
            time = against(statement, x, torch=torch, tensor=torch.from_numpy(x))
            relu["`torch.relu(x)`"].append(time)
    run = Run.begin("")
    text = f"""{BEGIN}
Time without recycling divided by time with it:

{table(rows)}

`fa.relu(x)` with recycling, beside others' as they are:

{table(relu)}

Measured on {run.started.partition("T")[0]}: {conditions(run)}.
{END}"""
    page = TARGET.read_text(encoding="utf-8")
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    TARGET.write_text(re.sub(pattern, lambda _: text, page, flags=re.S), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
