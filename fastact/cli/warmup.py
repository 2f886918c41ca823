"""Compile kernels into the cache ahead of time, on all cores.

Without a NAME those of every function, those of fastact.fused with ReLU, and those of
fastact.special and fastact.losses. The name fused stands for these: "fused gelu" for gelu and for
bias_act with it; so do special and losses. A later process loads them in about a
millisecond each, also from a directory that it may only read, and without Numba.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator

from fastact.cli.options import comma_separated, known_name

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="a function, such as relu")
    parser.add_argument(
        "--dtype",
        type=comma_separated,
        default=[],
        metavar="LIST",
        help="such as float32,float64 (all)",
    )
    parser.add_argument(
        "--processes", type=int, metavar="N", help="how many compile (one for each CPU)"
    )


def run(options: argparse.Namespace) -> int:
    from fastact import warmup
    from fastact.cpu import cache, machine, target
    from fastact.public.environment import kernel_cache

    try:
        for name in options.names:
            known_name("function", name, warmup.FUNCTIONS)
        for dtype in options.dtype:
            known_name("dtype", dtype, warmup.DTYPES)
        processes = machine.available_cpus() if options.processes is None else options.processes
        if processes < 1:
            raise ValueError(f"--processes must be at least 1, got {processes}")
    except ValueError as error:
        print(f"fastact warmup: {error}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    compiled = there = 0
    try:
        for new in _with_progress(warmup.compile_all(options.names, options.dtype, processes)):
            compiled += new
            there += not new
    except OSError as error:
        print(
            f"fastact warmup: cannot write to {cache.directory()}: {error.strerror}",
            file=sys.stderr,
        )
        return 1
    finally:
        seconds = time.perf_counter() - start
        print(f"compiled {compiled} kernels for {target.cpu_name()} in {seconds:.1f} s")
        print(f"{there} were there already")
        print(f"cache: {kernel_cache()}")
    return 0


def _with_progress(done: Iterable[tuple[str, bool, int]]) -> Iterator[bool]:
    """What was compiled, with a bar if rich is installed, otherwise with a line now and then."""
    try:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress
    except ModuleNotFoundError:
        for count, (_, new, total) in enumerate(done, 1):
            if count * 10 // total > (count - 1) * 10 // total:
                print(f"{count} of {total}", file=sys.stderr)
            yield new
        return
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("compiling", total=None)
        for name, new, total in done:
            progress.update(task, advance=1, total=total, description=f"{name:32.32}")
            yield new
