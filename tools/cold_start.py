"""First calls in fresh processes: with an empty cache, from IR and from source, and a warm one.

    python tools/cold_start.py                        from source, and warm
    python tools/cold_start.py --archive kernels.ir   also from IR (see tools/archive.py)

Every figure is the least of several processes, in seconds, after ``import numpy``: ``import
fastact`` and a call of 1,000 elements, then one of 1 M elements, then others' first. On a machine
that is busy, ``--cpu`` counts the processor's time instead.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "fastact"

#: What is called, in this order.
CALLS = {
    "relu, 1,000": "fa.relu(small)",
    "relu, 1 M": "fa.relu(large)",
    "gelu": "fa.gelu(small)",
    "gelu_backward": "fa.gelu_backward(small, small)",
    "softmax": "fa.softmax(matrix)",
    "log_softmax": "fa.log_softmax(matrix)",
    "bias_act": "fa.fused.bias_act(matrix, small[:100])",
    "bias_act_backward": "fa.fused.bias_act_backward(matrix, matrix)",
}

PROGRAM = """
import json, sys, time
import numpy as np
small, large = np.ones(1_000, np.float32), np.ones(1_000_000, np.float32)
matrix = np.ones((10, 100), np.float32)
elapsed = []
clock = getattr(time, sys.argv[2])
start = clock()
import fastact as fa
for call in json.loads(sys.argv[1]):
    exec(call)
    elapsed.append(clock() - start)
    start = clock()
print(json.dumps([elapsed, "numba" in sys.modules]))
"""


def process(directory: Path, cache: Path, clock: str) -> tuple[list[float], bool]:
    """Seconds of each call in a fresh process, and whether it imported Numba."""
    environment = os.environ | {"FASTACT_CACHE_DIR": str(cache), "PYTHONPATH": str(directory)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have bytecode
    command = [sys.executable, "-c", PROGRAM, json.dumps(list(CALLS.values())), clock]
    done = subprocess.run(
        command, env=environment, cwd=directory, stdout=subprocess.PIPE, text=True, check=True
    )
    elapsed, with_numba = json.loads(done.stdout)
    return elapsed, with_numba


def measured(directory: Path, runs: int, clock: str, warm: bool) -> tuple[list[float], bool]:
    with tempfile.TemporaryDirectory() as name:
        process(directory, Path(name) / "0", clock)  # Python's own cache, and the disk's
        caches = [Path(name) / ("0" if warm else str(run)) for run in range(1, runs + 1)]
        results = [process(directory, cache, clock) for cache in caches]
    return [min(times) for times in zip(*(r[0] for r in results), strict=True)], results[0][1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    clock = "process_time" if options.cpu else "perf_counter"
    columns = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        archive = directory / "fastact/kernels.ir"
        shutil.copytree(PACKAGE, directory / "fastact", ignore=lambda *_: ["kernels.ir"])
        columns["source"] = measured(directory, options.runs, clock, warm=False)
        columns["warm"] = measured(directory, options.runs, clock, warm=True)
        if options.archive:
            shutil.copy(options.archive, archive)
            columns["IR"] = measured(directory, options.runs, clock, warm=False)
    width = max(map(len, CALLS))
    print(f"{'first call of':{width}}" + "".join(f"{name:>9}" for name in columns))
    for k, call in enumerate(CALLS):
        print(f"{call:{width}}" + "".join(f"{times[k]:9.3f}" for times, _ in columns.values()))
    numba = ["yes" if with_numba else "no" for _, with_numba in columns.values()]
    print(f"{'Numba imported':{width}}" + "".join(f"{text:>9}" for text in numba))


if __name__ == "__main__":
    main()
