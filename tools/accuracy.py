"""Write ``docs/accuracy.md``: how far each smooth function is from the right result, in ulps.

python tools/accuracy.py             # one float32 in 251, some minutes
python tools/accuracy.py --every 1   # all of them, some hours

fastact, PyTorch (if installed) and NumPy's idiom are measured on the same numbers against the same
references, those of ``tests/smooth.py`` in a wider type.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from smooth import SMOOTH, expected, ulps  # noqa: E402

from fastact.benchmark.cases import SUBJECTS, Case, available  # noqa: E402
from fastact.benchmark.results import machine_facts  # noqa: E402
from fastact.benchmark.timing import contest  # noqa: E402

TARGET = ROOT / "docs" / "accuracy.md"
#: What begins with this was written by hand, from what ``pytest -m exhaustive -rP`` printed.
KEPT = "## Every float32 number"
CHUNK = 1 << 22
LIBRARIES = {"fastact": "fastact", "torch": "PyTorch", "numpy": "NumPy"}


@dataclasses.dataclass
class Errors:
    largest: float = 0.0
    at: float = 0.0
    total: float = 0.0
    count: int = 0

    def add(self, x: Any, error: Any) -> None:
        # What a library cannot represent, or gives as NaN, is infinitely far.
        error = np.where(np.isnan(error), np.inf, error).astype(np.float64)
        i = int(np.argmax(error))
        if error[i] > self.largest:
            self.largest, self.at = float(error[i]), float(x[i])
        finite = error[np.isfinite(error)]
        self.total += float(finite.sum())
        self.count += finite.size

    def text(self) -> str:
        if not self.count:
            return ""
        size = "∞" if np.isinf(self.largest) else f"{self.largest:.3g}"
        mean = self.total / self.count
        return f"{size} at {self.at:.4g}; {mean:.2f}" if mean < 100 else f"{size} at {self.at:.4g}"


def float32_chunks(every: int) -> Iterator[Any]:
    """All finite numbers, or one in so many, and densely where things happen."""
    numbers = itertools.count(0, every * CHUNK)
    for start in itertools.takewhile(lambda n: n < 1 << 32, numbers):
        stop = min(start + every * CHUNK, 1 << 32)
        bits = np.arange(start, stop, every, dtype=np.uint64).astype(np.uint32)
        yield bits.view(np.float32)
    if every > 1:
        for low, high in ((-110, 30), (-3, 3)):
            yield np.linspace(low, high, 1_000_001).astype(np.float32)


def float64_chunks() -> Iterator[Any]:
    rng = np.random.default_rng(0)
    for _ in range(4):
        yield rng.integers(0, 1 << 64, 1 << 19, np.uint64).view(np.float64)
        yield rng.uniform(-760, 40, 1 << 18)
        yield rng.uniform(-3, 3, 1 << 18)


def half_chunks(dtype: str) -> Iterator[Any]:
    import ml_dtypes

    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    yield np.arange(1 << 16).astype(np.uint16).view(kind)


def measured(
    name: str, dtype: str, chunks: Iterator[Any], libraries: list[str]
) -> dict[str, Errors]:
    errors = {library: Errors() for library in libraries}
    wide = np.longdouble if dtype == "float64" else np.float64
    parameters = [wide(v) for k, v in SUBJECTS[name].parameters.items() if k != "PI"]
    for chunk in chunks:
        with np.errstate(all="ignore"):
            x = chunk[np.isfinite(chunk)]
            if not len(x):
                continue
            right = expected(name, "forward", x.astype(wide), *parameters)
        for library, function in functions(name, dtype, len(x), libraries).items():
            with np.errstate(all="ignore"):
                errors[library].add(x, ulps(function(x), right))
    return errors


def functions(
    name: str, dtype: str, n: int, libraries: list[str]
) -> dict[str, Callable[[Any], Any]]:
    """Each library's function as the benchmarks call it."""
    contenders = contest(Case(name, "fresh", dtype, n), libraries)

    def on(contender: Any) -> Callable[[Any], Any]:
        def call(x: Any) -> Any:
            own = contender.names["x"]
            if isinstance(own, np.ndarray):
                own[...] = x
            else:
                import torch

                bits = x.view(np.int16) if dtype == "bfloat16" else x
                own.copy_(torch.from_numpy(bits).view(own.dtype))
            return contender.result()

        return call

    return {library: on(contender) for library, contender in contenders.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=251)
    every = parser.parse_args().every
    libraries = [name for name in LIBRARIES if name != "torch" or available("torch")]
    titles = ["function", *(f"float32: {LIBRARIES[name]}" for name in libraries)]
    titles += ["float64", "float16", "bfloat16"]
    rows = []
    for name in SMOOTH:
        single = measured(name, "float32", float32_chunks(every), libraries)
        others = [("float64", float64_chunks())]
        others += [(dtype, half_chunks(dtype)) for dtype in ("float16", "bfloat16")]
        rest = [measured(name, dtype, chunks, ["fastact"])["fastact"] for dtype, chunks in others]
        rows.append(
            [f"`{name}`", *(single[x].text() for x in libraries), *(e.text() for e in rest)]
        )
        print(" | ".join(rows[-1]), flush=True)
    lines = [titles, ["---"] * len(titles), *rows]
    facts = machine_facts()
    old = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    kept = "".join(old.partition(KEPT)[1:])
    span = "every float32" if every == 1 else f"one float32 in {every}, and two million more"
    TARGET.write_text(
        f"""\
# Accuracy of the smooth functions

Largest distance to the right result in ulps, where that is, and the mean unless it is huge, of the
functions with default parameters over {span}, every float16 and bfloat16,
and four million float64. Half an ulp is the best possible. Against references in a wider type that
are checked with mpmath; NumPy's column is the idiom that the benchmarks time, `gelu` with erf from
SciPy. Written by `tools/accuracy.py`.

"""
        + "\n".join(f"| {' | '.join(line)} |" for line in lines)
        + f"\n\nNumPy {facts['numpy']}, PyTorch {facts['torch']}, {facts['CPU']}.\n\n{kept}",
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
