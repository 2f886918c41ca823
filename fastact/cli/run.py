"""Run a Python program with recycled memory, and libraries patched, without changing it.

``fastact run train.py --epochs 3`` is ``python train.py --epochs 3`` with fastact.memory enabled in
its main thread. FASTACT_MEMORY may say how much is retained, such as 2G. ``--patch sklearn`` also
calls fastact.integrations.sklearn.patch() before.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from fastact import integrations

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--patch",
        action="append",
        default=[],
        choices=integrations.PATCHES,
        help="have this library use fastact; may be given again",
    )
    parser.add_argument("-m", dest="module", action="store_true", help="PROGRAM is a module's name")
    parser.add_argument("program", metavar="PROGRAM", help="a file, or with -m a module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")


def run(options: argparse.Namespace) -> int:
    from fastact import memory

    if not options.module and not Path(options.program).exists():
        print(f"fastact run: there is no file {options.program}", file=sys.stderr)
        return 2
    try:
        for name in options.patch:
            integrations.load(name).patch()
    except (ImportError, integrations.Refused) as error:
        print(f"fastact run: {error}", file=sys.stderr)
        return 2
    memory.enable()
    # Without -m, run_path puts the file's name into sys.argv[0] and leaves its directory to us.
    sys.argv = [options.program, *options.arguments]
    if options.module:
        sys.path.insert(0, "")
        runpy.run_module(options.program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(options.program).resolve().parent))
        runpy.run_path(options.program, run_name="__main__")
    return 0
