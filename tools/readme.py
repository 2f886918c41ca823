"""Write what README.md and docs/speed.md have of other files: tables, a picture, the functions.

Measurements come from ``docs/benchmarks.json``, the names of functions from the catalogue.

fastact bench relu --json docs/benchmarks.json
fastact bench relu --mode out --size 10k,100k,1M,10M --gap sleep,matmul \\
    --json docs/benchmarks.json --append
python tools/readme.py          # write them
python tools/readme.py --check  # exit status 1 if they say something else
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from fastact.benchmark import plots
from fastact.benchmark.cases import GAPS, MODES
from fastact.benchmark.results import Result, Run, read_runs
from fastact.benchmark.table import MODE_TITLES, TITLES, conditions, elements
from fastact.catalogue import CATALOGUE

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DATA = ROOT / "docs" / "benchmarks.json"
MARKS = "<!-- begin: {0}, by tools/readme.py -->", "<!-- end: {0} -->"
PICTURES = {False: "docs/throughput.svg", True: "docs/throughput-dark.svg"}
OTHERS = ["numpy", "torch"]


def speed() -> str:
    return f"""\
<picture>
  <source media="(prefers-color-scheme: dark)" srcset="{PICTURES[True]}">
  <img src="{PICTURES[False]}" alt="Throughput of ReLU over array size">
</picture>

{sizes()}"""


def sizes() -> str:
    back_to_back, _ = read_runs(DATA)
    return f"""\
NumPy's and PyTorch's time divided by fastact's: above 1, fastact is faster.

{ratios(back_to_back)}

{measured(back_to_back)}"""


def gaps() -> str:
    _, after_gaps = read_runs(DATA)
    return f"{times(after_gaps)}\n\n{measured(after_gaps)}"


def measured(run: Run) -> str:
    return f"Measured on {run.started.partition('T')[0]}: {conditions(run)}."


def functions() -> str:
    """A line for each family."""
    families: dict[str, list[str]] = {}
    for entry in CATALOGUE.values():
        other = "".join(f" (`{alias}`)" for alias in entry.aliases)
        families.setdefault(entry.family, []).append(f"`{entry.name}`{other}")
    return "\n".join(f"- {family}: {', '.join(names)}" for family, names in families.items())


#: What is between the marks of each file, by their names.
SECTIONS = {
    README: {"speed": speed, "functions": functions},
    ROOT / "docs" / "speed.md": {"sizes": sizes, "gaps": gaps},
}


def ratios(run: Run) -> str:
    found = {(r.case.mode, r.case.n): r for r in run.results}
    modes = [mode for mode in MODES if any(key[0] == mode for key in found)]
    titles = ["elements"]
    for mode in modes:
        first, *rest = [TITLES[name] for name in OTHERS]
        titles += [f"{MODE_TITLES[mode]}: {first}", *rest]
    rows = [
        [elements(n), *(f"{found[mode, n].ratio(o).value:.2f}" for mode in modes for o in OTHERS)]
        for n in sorted({key[1] for key in found})
    ]
    return table(titles, rows)


def times(run: Run) -> str:
    libraries = ["fastact", *OTHERS]
    before = {"sleep": "10 ms sleep", "matmul": "matrix product"}
    titles = ["before the call", "elements", *(TITLES.get(name, name) for name in libraries)]
    rows = [
        [before[r.case.gap], elements(r.case.n), *(microseconds(r, name) for name in libraries)]
        for r in sorted(run.results, key=lambda r: (GAPS.index(r.case.gap), r.case.n))
    ]
    return table(titles, rows)


def microseconds(result: Result, library: str) -> str:
    median = result.median(library) * 1e6
    late = statistics.quantiles(result.seconds[library], n=20)[-1] * 1e6
    return f"{median:.0f} ({late:.0f})" if median >= 10 else f"{median:.1f} ({late:.1f})"


def table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---:"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(name: str, text: str, sections: dict[str, Callable[[], str]]) -> str:
    """A file's text with what belongs between its marks."""
    for section, content in sections.items():
        begin, end = (mark.format(section) for mark in MARKS)
        before, _, rest = text.partition(f"{begin}\n")
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{name} must contain {begin} and {end}")
        text = f"{before}{begin}\n{content()}\n{end}{after}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for file, sections in SECTIONS.items():
        text = file.read_text(encoding="utf-8")
        new = written(file.name, text, sections)
        if new != text:
            stale.append(file)
        if not check:
            file.write_text(new, encoding="utf-8")
    if check:
        for file in stale:
            print(f"{file.name} is out of date: run python tools/readme.py", file=sys.stderr)
        return int(bool(stale))
    back_to_back, _ = read_runs(DATA)
    for dark, path in PICTURES.items():
        groups = plots.throughput_groups(back_to_back)
        plots.save(plots.throughput(back_to_back, groups, dark), ROOT / path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
