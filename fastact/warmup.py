"""Machine code ahead of time: what ``fastact warmup`` compiles, and how it is shared out."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
from collections.abc import Iterator, Sequence

from fastact import fused, loading, losses
from fastact.catalogue import ALIASES
from fastact.catalogue.dtypes import FLOATS, INTEGERS
from fastact.cpu import compiler, shared, ufunc
from fastact.memory import compiled
from fastact.public import names

__all__ = ["DTYPES", "FUNCTIONS", "compile_all", "units"]

FUSED = "fused"
SPECIAL = "special"
LOSSES = "losses"
FUNCTIONS = [*names.FUNCTIONS, FUSED, SPECIAL, LOSSES]

DTYPES = sorted({kind.name for kind in [*FLOATS.values(), *INTEGERS.values()]} | {"bfloat16"})


def units(functions: Sequence[str] = (), dtypes: Sequence[str] = ()) -> dict[str, compiler.Unit]:
    """By symbol, what is to be compiled for ``FUNCTIONS`` and ``DTYPES``, or some of them.

    The driver and the recycling allocator come first. ``FUSED`` stands for the kernels of
    ``fastact.fused``, with ``bias_act`` for the other functions named, or for ReLU: for every
    activation they would be a thousand. ``SPECIAL`` and ``LOSSES`` are those of ``fastact.special``
    and ``fastact.losses``.
    """
    with loading.lock:
        return _units(functions, dtypes)


def _units(functions: Sequence[str], dtypes: Sequence[str]) -> dict[str, compiler.Unit]:
    for name in names.NAMES:
        names.build(name)
    wanted = {ALIASES.get(name, name) for name in functions or FUNCTIONS}
    if FUSED in wanted:
        fused.make_ufuncs([name for name in functions if name in fused.ACTIVATIONS] or ["relu"])
    if LOSSES in wanted:
        losses.make_ufuncs()
    chosen = [
        loop.unit()
        for name, loop in ufunc.loops()
        if _function(name) in wanted and loop.kinds[0].name in (dtypes or DTYPES)
    ]
    return {unit.symbol: unit for unit in [*shared.units(), *compiled.units(), *chosen]}


def _function(ufunc_name: str) -> str:
    """``gelu`` of ``gelu_backward.tanh_ufunc``."""
    return ufunc_name.partition(".")[0].partition("_backward")[0]


def compile_all(
    functions: Sequence[str], dtypes: Sequence[str], processes: int
) -> Iterator[tuple[str, bool, int]]:
    """Compile what ``units`` says in several processes.

    Yields, as they come: a unit's name, whether it had to be compiled, and how many there are.
    Raises OSError where the cache cannot be written to.
    """
    wanted = units(functions, dtypes)
    with concurrent.futures.ProcessPoolExecutor(
        min(processes, len(wanted)),
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(functions, dtypes),
    ) as executor:
        futures = {executor.submit(_compile, symbol): symbol for symbol in wanted}
        try:
            for future in concurrent.futures.as_completed(futures):
                yield wanted[futures[future]].name, future.result(), len(wanted)
        finally:
            executor.shutdown(cancel_futures=True)


# --- in a process of the pool -------------------------------------------------------------------

_wanted: dict[str, compiler.Unit] = {}


def _begin(functions: Sequence[str], dtypes: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends its processes itself
    _wanted.update(units(functions, dtypes))


def _compile(symbol: str) -> bool:
    return compiler.prepare(_wanted[symbol])
