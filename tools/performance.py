"""Measure the whole catalogue beside NumPy's idioms and PyTorch, and write ``docs/performance.md``.

python tools/performance.py --measure          # on this CPU, a quarter of an hour or more
python tools/performance.py --measure relu --dtype float32     # again; other cells stay
python tools/performance.py                    # write the page
python tools/performance.py --check            # exit status 1 if it is not what would be written

Measurements are kept in ``docs/performance-avx2.json`` and its like, one file for each instruction
set, as ratios of times, measured in turns in one process. A measurement that is interrupted goes on
where it was. Cells below 1, where fastact is the slower one, are bold.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from fastact.benchmark import timing
from fastact.benchmark.cases import DTYPES, LIBRARIES, SUBJECTS, Case, available, select
from fastact.benchmark.results import machine_facts, write
from fastact.benchmark.table import MODE_TITLES, TITLES, elements
from fastact.cpu.target import X86, traits

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "performance.md"
SIZES = [100, 10_000, 100_000, 1_000_000]
MODES = ["out", "in-place", "backward"]
OTHERS = LIBRARIES[1:]
#: Of one cell, for all libraries.
SECONDS = 0.15

HEAD = """\
# Performance

What NumPy's idiom and PyTorch take, divided by what fastact takes: above 1, fastact is faster;
cells in which it is slower are **bold**. Calls back to back on the same arrays, on all CPUs that
the process may use, into an array that exists (`out=`), in place, and backward; medians of ratios
measured in turns in one process. Machines are shared, so single cells are some per cent off.
[Measuring](benchmarks.md) says how to measure your own.

    python tools/performance.py --measure && python tools/performance.py
"""


def instruction_set() -> str:
    if not X86:
        return "arm"
    return "avx512" if "avx512" in traits() else "avx2" if "f16c" in traits() else "sse2"


def data_file(isa: str) -> Path:
    return ROOT / "docs" / f"performance-{isa}.json"


# --- measuring ----------------------------------------------------------------------------------


def measure(names: list[str], dtypes: list[str]) -> None:
    """Those named are measured again, without names those that are missing."""
    path = data_file(instruction_set())
    facts = machine_facts()
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    ratios: dict[str, dict[str, float]] = found.get("ratios", {})
    libraries = [name for name in LIBRARIES if name == "fastact" or available(name)]
    cases = select(names or SUBJECTS, MODES, dtypes or DTYPES, SIZES)
    for number, case in enumerate(cases, 1):
        if str(case) in ratios and not names:
            continue
        print(f"\r{number} of {len(cases)} {case!s:60}", end="", file=sys.stderr)
        ratios[str(case)] = measured(case, libraries)
        if number % 20 == 0 or number == len(cases):
            content = {"machine": facts, "ratios": ratios}
            write(path, json.dumps(content, indent=0, ensure_ascii=False).encode())
    print(file=sys.stderr)


def measured(case: Case, libraries: list[str]) -> dict[str, float]:
    contenders = timing.contest(case, libraries)
    times = timing.measure(contenders, SECONDS)
    timing.check(case, contenders)
    others = [name for name in contenders if name != "fastact"]
    return {name: round(timing.ratio(times, name).value, 3) for name in others}


# --- the page -----------------------------------------------------------------------------------


def page() -> str:
    sections = [HEAD]
    for path in sorted(data_file("*").parent.glob(data_file("*").name)):
        sections.append(section(json.loads(path.read_text())))
    return "\n".join(sections)


def section(found: dict[str, Any]) -> str:
    machine, ratios = found["machine"], found["ratios"]
    below = sum(value < 1 for cell in ratios.values() for value in cell.values())
    count = sum(len(cell) for cell in ratios.values())
    libraries = f"NumPy {machine['numpy']}, PyTorch {machine['torch']}"
    lines = [
        f"## {machine['CPU']}",
        "",
        f"{machine['vector extensions']}; {machine['threads']} threads, {libraries}, "
        f"Python {machine['Python']}. {below} of {count} cells are below 1.",
    ]
    for dtype in DTYPES:
        for mode in MODES:
            rows = [row for name in SUBJECTS if (row := _row(ratios, name, mode, dtype))]
            if rows:
                lines += ["", f"### {dtype}, {MODE_TITLES[mode]}", "", *_head(), *rows]
    return "\n".join(lines) + "\n"


def _head() -> list[str]:
    titles = [f"{TITLES[other]}: {elements(n)}" for other in OTHERS for n in SIZES]
    return [f"| | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]


def _row(ratios: dict[str, dict[str, float]], name: str, mode: str, dtype: str) -> str:
    cells = [
        ratios.get(str(Case(name, mode, dtype, n)), {}).get(other)
        for other in OTHERS
        for n in SIZES
    ]
    if not any(cells):
        return ""
    texts = ["" if c is None else f"**{c:.2f}**" if c < 1 else f"{c:.3g}" for c in cells]
    return f"| `{name}` | {' | '.join(texts)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="functions to measure (all)")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--dtype", default="", metavar="LIST", help="to measure, with commas (all)")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.measure:
        measure(options.names, [name for name in options.dtype.split(",") if name])
        return 0
    text = page()
    if options.check:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        if current != text:
            print(f"{TARGET} is out of date: run python tools/performance.py", file=sys.stderr)
        return int(current != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
