"""Measure activations on this machine beside NumPy's idioms and PyTorch, in turns.

Without a NAME every function is measured, at a few sizes; with one or several, at every size. Says
how long it will take. What Ctrl-C interrupts is kept beside the file of --json, and the same
command with --resume goes on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastact.cli.options import (
    add_outputs,
    check_outputs,
    comma_separated,
    console,
    known_name,
    write_outputs,
)

if TYPE_CHECKING:
    from rich.console import Console

    from fastact.benchmark.cases import Case
    from fastact.benchmark.results import Run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="an activation, such as relu")
    lists: dict[str, Any] = {"type": comma_separated}
    parser.add_argument("--mode", **lists, help="of out,fresh,in-place,backward (all)")
    parser.add_argument("--dtype", **lists, help="of float32,float64,float16,bfloat16 (float32)")
    parser.add_argument("--size", **lists, help="elements, such as 100,10k,1M (1 to 50M)")
    parser.add_argument("--gap", **lists, help="before each call, of none,sleep,matmul (none)")
    parser.add_argument("--vs", **lists, help="of numpy,torch (both, if PyTorch is installed)")
    parser.add_argument(
        "--profile",
        choices=["gate", "smoke", "default", "full"],
        help="a set of cases: gate is one of every kind of kernel; smoke is a few of every "
        "function; default is every size; full adds dtypes and gaps (default if there is a NAME, "
        "else smoke)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads (what the machine has)")
    parser.add_argument("--seconds", type=float, help="time for each case, about (0.8)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a first impression: each function into an array of 10k and of 1M "
        "elements, a tenth of a second each",
    )
    parser.add_argument(
        "--passes",
        type=int,
        default=1,
        metavar="N",
        help="how often to go through the cases, on new arrays: slow moments and unlucky places "
        "in memory then hit a part of each case's rounds, and not all of one's (1)",
    )
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="cuda: the kernels of fastact.cuda, beside PyTorch's and CuPy's (cpu)",
    )
    add_outputs(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument(
        "--append", action="store_true", help="add to FILE as another run, if it exists"
    )
    parser.add_argument(
        "--keep", type=int, metavar="N", help="with --append, keep only the last N runs"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where Ctrl-C interrupted the same command"
    )
    parser.add_argument("--label", default="", help="what was measured, such as a commit")


def run(options: argparse.Namespace) -> int:
    if options.device == "cuda":
        return _run_on_gpu(options)
    try:
        cases, libraries = _selection(options)
        previous = _previous(options)
        check_outputs(options)
        terminal = console()
        if options.threads is not None:
            import fastact as fa

            fa.set_num_threads(options.threads)
    except (ValueError, LookupError) as error:
        print(f"fastact bench: {error.args[0]}", file=sys.stderr)
        return 2
    from fastact.benchmark.results import write_runs
    from fastact.benchmark.table import print_run

    steps = cases * options.passes
    try:
        measured, done = _begin(options, steps)
    except ValueError as error:
        print(f"fastact bench: {error}", file=sys.stderr)
        return 2
    left = steps[done:]
    seconds = options.seconds / options.passes
    try:
        for _ in _measure(measured, left, libraries, seconds):
            done += 1
    except KeyboardInterrupt:
        print_run(measured, terminal)
        files = [str(f) for f in (options.json, options.plot, options.html) if f]
        unwritten = f"; not written: {', '.join(files)}" if files else ""
        if options.json:
            write_runs(_unfinished(options), [measured])
            unwritten += "; the same command with --resume goes on"
        print(
            f"interrupted: measured {len(measured.results)} of {len(cases)} cases{unwritten}",
            file=sys.stderr,
        )
        return 130
    print_run(measured, terminal)
    if options.json:
        write_runs(options.json, [*previous, measured])
        _unfinished(options).unlink(missing_ok=True)
    write_outputs(options, [*previous, measured])
    return 0


def _unfinished(options: argparse.Namespace) -> Path:
    """What an interrupted command has measured so far."""
    return options.json.with_name(f"{options.json.name}.unfinished")


def _begin(options: argparse.Namespace, steps: list[Case]) -> tuple[Run, int]:
    """A new run, or with --resume the interrupted one, and how many steps it has made."""
    from collections import Counter

    from fastact.benchmark.results import Run, machine_facts, read_runs

    new = Run.begin(options.label)
    if not options.resume:
        return new, 0
    if not options.json:
        raise ValueError("--resume needs the --json FILE of the command that was interrupted")
    if not _unfinished(options).exists():
        raise ValueError(
            f"--resume: there is no {_unfinished(options)}, so nothing was interrupted"
        )
    (run,) = read_runs(_unfinished(options))
    if run.machine != machine_facts():
        raise ValueError("--resume: machine, threads or versions are not those of before")
    # Cases are measured in the order of the steps, so the last one that is there was the last.
    passes = Counter({str(result.case): result.passes for result in run.results})
    done = 0
    for case in steps:
        if not passes[str(case)]:
            break
        passes[str(case)] -= 1
        done += 1
    if +passes:
        raise ValueError("--resume: the command that was interrupted had other cases")
    return run, done


def _run_on_gpu(options: argparse.Namespace) -> int:
    try:
        terminal = console()
        import fastact.cuda  # noqa: F401
        from fastact.benchmark import gpu
        from fastact.benchmark.cases import DTYPES, SUBJECTS, select

        unused = [
            *("gap", "json", "plot", "html", "profile", "threads", "append", "keep", "label"),
            *("quick", "resume"),
        ]
        for name in unused:
            if getattr(options, name):
                raise ValueError(f"--{name} is not for --device cuda")
        cases = select(
            [known_name("activation", name, list(SUBJECTS)) for name in options.names]
            or ["relu", "gelu", "silu", "bias_act", "relu_mask"],
            [known_name("mode", mode, gpu.MODES) for mode in options.mode or gpu.MODES],
            [known_name("dtype", d, [*DTYPES][:3]) for d in options.dtype or ["float32"]],
            [_size(text) for text in options.size or []] or gpu.SIZES,
        )
        libraries = [known_name("library", name, gpu.LIBRARIES[1:]) for name in options.vs or []]
    except (ValueError, LookupError, ImportError) as error:
        print(f"fastact bench: {error.args[0]}", file=sys.stderr)
        return 2
    from rich.progress import track

    measured, copies = [], {}
    steps = track(cases, "measuring", console=_stderr(), disable=not _stderr().is_terminal)
    for case in steps:
        if case.array_bytes not in copies:
            copies[case.array_bytes] = gpu.copy_bandwidth(case.array_bytes)
        result = gpu.measure(case, ["fastact", *(libraries or gpu.LIBRARIES[1:])])
        if result is not None:
            measured.append(result)
    gpu.print_table(measured, copies, terminal)
    return 0


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)


# --- what to measure ------------------------------------------------------------------------------


def _selection(options: argparse.Namespace) -> tuple[list[Case], list[str]]:
    from fastact.benchmark.cases import (
        DTYPES,
        GAPS,
        LIBRARIES,
        MODES,
        SIZES,
        SUBJECTS,
        available,
        numpy_dtype,
        select,
        select_profile,
    )

    names = [known_name("activation", name, list(SUBJECTS)) for name in options.names]
    modes = [known_name("mode", mode, MODES) for mode in options.mode or []]
    dtypes = [known_name("dtype", dtype, list(DTYPES)) for dtype in options.dtype or []]
    gaps = [known_name("gap", gap, GAPS) for gap in options.gap or []]
    sizes = [_size(text) for text in options.size or []]
    libraries = [known_name("library", library, LIBRARIES[1:]) for library in options.vs or []]
    for dtype in dtypes:
        numpy_dtype(dtype)
    for library in libraries:
        if not available(library):
            raise LookupError(f"--vs {library}: the package is not installed")
    if options.quick and (sizes or modes or options.profile):
        raise ValueError("--quick cannot be combined with --profile, --size or --mode")
    if options.quick:
        sizes, modes = [10_000, 1_000_000], ["out"]
    if options.seconds is None:
        options.seconds = 0.1 if options.quick else 0.8
    if not options.seconds > 0:
        raise ValueError("--seconds must be positive")
    if options.passes < 1:
        raise ValueError("--passes must be at least 1")

    if modes or dtypes or gaps or sizes:
        if options.profile:
            raise ValueError("--profile cannot be combined with --mode, --dtype, --size or --gap")
        if not names and not sizes:
            sizes = [10_000, 1_000_000]
        cases = select(
            names or SUBJECTS,
            modes or MODES,
            dtypes or ["float32"],
            sizes or SIZES,
            gaps or ["none"],
        )
    else:
        cases = select_profile(options.profile or ("default" if names else "smoke"), names)
    if not cases:
        raise ValueError("nothing to measure: crelu has no in-place form")
    others = libraries or [name for name in LIBRARIES[1:] if available(name)]
    return cases, ["fastact", *others]


def _size(text: str) -> int:
    factor = {"k": 1e3, "m": 1e6, "g": 1e9}.get(text[-1:].lower(), 1)
    try:
        n = float(text if factor == 1 else text[:-1]) * factor
    except ValueError:
        n = 0
    if n < 1 or n != int(n):
        raise ValueError(f"--size: {text!r} is not a number of elements, such as 1000, 10k or 1M")
    return int(n)


# --- measuring ------------------------------------------------------------------------------------


def _measure(
    measured: Run, cases: list[Case], libraries: list[str], seconds: float
) -> Iterator[None]:
    """Case by case into ``measured``, which holds those that are complete at any time."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from fastact.benchmark import timing
    from fastact.benchmark.results import Result
    from fastact.benchmark.table import long_duration

    expected = [timing.expected_seconds(case, len(libraries), seconds) for case in cases]
    stderr = Console(stderr=True, highlight=False)
    stderr.print(f"{len(cases)} measurements, about {long_duration(sum(expected))}")
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
        # Drawn between cases only: a thread that draws would take time from what is measured.
        auto_refresh=False,
    ) as progress:
        task = progress.add_task("", total=sum(expected))
        for i, case in enumerate(cases):
            description = f"{case} ({i + 1} of {len(cases)})"
            progress.update(task, description=description, refresh=True)
            if case.gap == "none" and case.array_bytes not in measured.copy_bandwidth:
                copy = timing.copy_contender(case.array_bytes)
                copying = statistics.median(timing.measure({"copy": copy}, seconds / 8)["copy"])
                measured.copy_bandwidth[case.array_bytes] = 2 * copy.result().nbytes / copying
            contenders = timing.contest(case, libraries)
            times = timing.measure(contenders, seconds, case.gap)
            timing.check(case, contenders)
            measured.add(Result(case, case.bytes_moved, times))
            progress.advance(task, expected[i])
            yield


# --- files ----------------------------------------------------------------------------------------


def _previous(options: argparse.Namespace) -> list[Run]:
    """The runs that the new one is added to."""
    from fastact.benchmark.results import read_runs

    if options.append and not options.json:
        raise ValueError("--append needs --json FILE")
    if options.keep is not None and not (options.append and options.keep >= 1):
        raise ValueError("--keep needs --append, and at least 1")
    previous = read_runs(options.json) if options.append and options.json.exists() else []
    return previous if options.keep is None else previous[len(previous) + 1 - options.keep :]
