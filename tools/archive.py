"""Make the archive of portable IR that wheels carry (see ``fastact/cpu/archive.py``).

    python tools/archive.py kernels.ir                      every kernel that `fastact warmup` makes
    python tools/archive.py kernels.ir relu fused --dtype float32

Every kernel goes through Numba once for each form that its source has on CPUs of this kind; that
takes some minutes. ``hatch_build.py`` does it while a wheel is built.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # while a wheel is built, it is not installed

from fastact import warmup
from fastact.cpu import archive, compiler, llvm, machine, target

#: CPUs that have the traits for which kernels are made, as NUMBA_CPU_NAME and NUMBA_CPU_FEATURES.
#: Those with less (x86-64 before 2013) compile from source.
_AVX512 = "+avx512f,+avx512bw,+avx512dq,+avx512vl"
CPUS = [("x86-64-v3", "+fma,+f16c"), ("x86-64-v4", f"+fma,+f16c,{_AVX512}")]
if not target.X86:
    CPUS = [("generic", "")]


def entries(functions: Sequence[str], dtypes: Sequence[str], processes: int) -> dict[str, bytes]:
    """IR by the units' keys, in the order of their names."""
    made: list[tuple[str, str, bytes]] = []
    for name, features in CPUS:
        os.environ |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
        os.environ.pop("FASTACT_VECTOR_BITS", None)
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(
            processes, context, initializer=_begin, initargs=(functions, dtypes)
        ) as executor:
            keys = executor.submit(_keys).result()
            for count, entry in enumerate(executor.map(_ir, keys, chunksize=4), 1):
                made.append(entry)
                if count % 100 == 0 or count == len(keys):
                    print(f"{name}: {count} of {len(keys)}", flush=True)
    return {key: ir for _, key, ir in sorted(made)}


# --- in a process of the pool -------------------------------------------------------------------

_units: dict[str, compiler.Unit] = {}


def _begin(functions: Sequence[str], dtypes: Sequence[str]) -> None:
    _units.update({unit.key: unit for unit in warmup.units(functions, dtypes).values()})


def _keys() -> list[str]:
    return list(_units)


def _ir(key: str) -> tuple[str, str, bytes]:
    return _units[key].name, key, _units[key].ir()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--dtype", default="")
    parser.add_argument("--processes", type=int, default=machine.available_cpus())
    options = parser.parse_args()
    dtypes = [name for name in options.dtype.split(",") if name]
    made = entries(options.names, dtypes, options.processes)
    archive.pack(made, llvm.llvm_version(), options.path)
    print(f"{len(made)} kernels, {options.path.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
