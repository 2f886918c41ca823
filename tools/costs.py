"""Measure what each function costs beside relu, and write ``docs/costs.json``.

python tools/costs.py           # half a minute

10 000 float32 into an array that exists, on one thread: all of it fits the cache, so what is
measured is computing, not memory. Medians of ratios to relu's time, in turns in one process. The
gallery of the documentation sorts the functions by them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import fastact as fa
from fastact.benchmark import timing
from fastact.benchmark.cases import SUBJECTS, Case
from fastact.benchmark.results import machine_facts, write
from fastact.catalogue import CATALOGUE

TARGET = Path(__file__).parents[1] / "docs" / "costs.json"
N = 10_000
#: Of one function and relu, in turns.
SECONDS = 0.3


def contender(name: str) -> timing.Contender:
    if name in SUBJECTS:
        return timing.contest(Case(name, "out", "float32", N), ["fastact"])["fastact"]
    # Of maxout there are two results, and fewer of them than elements.
    x = timing.numbers(N, np.dtype(np.float32), seed=0).reshape(-1, 100)
    values, indices = getattr(fa, name)(x)
    names = {"f": getattr(fa, name), "x": x, "out": (values, indices)}
    return timing.Contender("f(x, out=out)", names, lambda: values)


def times(name: str) -> float:
    """A function's time as a multiple of relu's."""
    found = timing.measure({"relu": contender("relu"), "other": contender(name)}, SECONDS)
    return round(timing.ratio(found, "other", "relu").value, 2)


def main() -> int:
    with fa.num_threads(1):
        facts = machine_facts()
        measured = {name: times(name) for name in CATALOGUE}
    content = {"machine": facts, "elements": N, "dtype": "float32", "times": measured}
    write(TARGET, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
