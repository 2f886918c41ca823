"""Cycles that a function's loop needs for each element, as LLVM counts them, on any CPU.

python tools/cycles.py gelu tanh                        # on this CPU
python tools/cycles.py gelu --cpu sapphirerapids        # on one that need not be here
python tools/cycles.py relu --dtype float16 --loop      # with the instructions

LLVM's tool ``llvm-mca`` is needed (Debian: the package ``llvm-22``, or another version). It looks
at the loop over whole vectors only, with all data in the nearest cache, and expects that a choice
by ``either`` finds all numbers near.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from typing import Any

#: What generated code may depend on, by CPUs' names, where that is not this CPU.
_COMMON = "+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+popcnt"
_WIDE = "+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd"
FEATURES = {
    **dict.fromkeys(("znver3", "haswell"), _COMMON),
    **dict.fromkeys(("icelake-server", "sapphirerapids", "znver4", "znver5"), f"{_COMMON},{_WIDE}"),
}

_LABEL = re.compile(r"^(\.L\w+):")
_JUMP = re.compile(r"^\s+j\w+\s+(\.L\w+)")
#: An unmasked store of a vector, but not to the stack.
_STORE = re.compile(r"^\s+vmov\w+\s+.*%([xyz])mm\d+, (?!.*rsp)[^%{]*\([^{]*$")
_NEAR = re.compile(r"\.L\w+(\+\d+)?\(%rip\)")


def assembly(name: str, mode: str, dtype: str) -> str:
    from fastact.catalogue.dtypes import BFLOAT16, FLOATS
    from fastact.catalogue.entries import formulas
    from fastact.cpu import llvm, loops

    kinds = {kind.name: kind for kind in (*FLOATS.values(), BFLOAT16)}
    operands = loops.Operands({"forward": 1, "backward": 2}[mode], 0, kinds[dtype])
    unit = getattr(loops, mode)(formulas()[name], operands)
    return llvm.assembly(unit.ir(), unit.symbol)


def innermost_loops(text: str) -> list[list[str]]:
    lines = text.splitlines()
    found: list[tuple[int, int]] = []
    places: dict[str, int] = {}
    for i, line in enumerate(lines):
        if label := _LABEL.match(line):
            places[label[1]] = i
        jump = _JUMP.match(line)
        if jump and jump[1] in places:
            start = places[jump[1]]
            # What jumps into the middle of a loop is a part of it that is hardly ever run.
            if not any(start <= first or start < end for first, end in found):
                found.append((start, i + 1))
    return [lines[start:stop] for start, stop in found]


def stored(loop: list[str]) -> int:
    """Bytes that one turn of a loop writes."""
    widths = {"x": 16, "y": 32, "z": 64}
    return sum(widths[match[1]] for line in loop if (match := _STORE.match(line)))


def instructions(loop: list[str]) -> list[str]:
    """Those that are run in every turn, with any address for that of a constant."""
    plain = (line.partition("#")[0].rstrip() for line in loop)
    return [
        _NEAR.sub("(%rax)", line)
        for line in plain
        if line.startswith(("\t", " ")) and not re.match(r"\s+(\.|j|call)", line)
    ]


def cycles(code: list[str], cpu: str) -> float:
    """Of one turn."""
    # The newest one knows the most CPUs.
    names = [*(f"llvm-mca-{version}" for version in range(30, 13, -1)), "llvm-mca"]
    tool = next(filter(None, map(shutil.which, names)), None)
    if tool is None:
        sys.exit("llvm-mca is not installed: apt-get install llvm-22, or another version")
    turns = 200
    command = [tool, f"-mcpu={cpu}", f"-iterations={turns}"]
    text = "\n".join(code) + "\n"
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    found: Any = re.search(r"Total Cycles:\s+(\d+)", ran.stdout)
    return int(found[1]) / turns


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="functions of the catalogue")
    parser.add_argument("--cpu", choices=sorted(FEATURES), help="compile for it (this one)")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--loop", action="store_true", help="print its instructions, too")
    options = parser.parse_args()
    if options.cpu:
        os.environ["NUMBA_CPU_NAME"] = options.cpu
        os.environ["NUMBA_CPU_FEATURES"] = FEATURES[options.cpu]
    import numpy as np

    from fastact.cpu.target import cpu_name

    itemsize = 2 if options.dtype == "bfloat16" else np.dtype(options.dtype).itemsize
    for name in options.names:
        for mode in ("forward", "backward"):
            loops = innermost_loops(assembly(name, mode, options.dtype))
            # The main loop writes the most; the loop over what is left may be as wide.
            loop = max(loops, key=lambda loop: (stored(loop), -len(loop)))
            elements = stored(loop) // itemsize
            code = instructions(loop)
            each = cycles(code, options.cpu or cpu_name()) / elements
            print(
                f"{name:16} {mode:9} {each:6.3f} cycles an element, "
                f"{len(code)} instructions for {elements}"
            )
            if options.loop:
                print("\n".join(code), end="\n\n")


if __name__ == "__main__":
    main()
