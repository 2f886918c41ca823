"""List or remove the kernels that this machine has compiled.

``list`` has a line for each kernel, ``clear`` removes them all. What is removed is compiled again
when it is needed. FASTACT_CACHE_MAX_MIB bounds the size of the cache, 256 by default: beyond it,
what was not used for the longest time goes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

from fastact.cpu import cache

__all__ = ["add_arguments", "run", "summary"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "clear"))


def run(options: argparse.Namespace) -> int:
    if options.action == "list":
        print("\n".join(_listing(cache.entries())))
        return 0
    try:
        kernels, nbytes = cache.clear()
    except OSError as error:
        print(f"fastact cache: cannot remove {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"removed {kernels} kernels, {_size(nbytes)}, from {cache.directory()}")
    return 0


def summary() -> list[str]:
    """What is cached, by the CPU that it is for and what it was made from."""
    groups: dict[tuple[str, str], list[cache.Entry]] = {}
    for entry in cache.entries():
        kernel = entry.kernel
        group = (kernel.cpu, kernel.origin) if kernel else ("damaged", "")
        groups.setdefault(group, []).append(entry)
    rows = [
        (
            cpu,
            origin,
            str(len(entries)),
            _size(sum(entry.nbytes for entry in entries)),
            _age(max((e.kernel.made for e in entries if e.kernel), default=0)) if origin else "",
            _age(max(entry.used for entry in entries)),
        )
        for (cpu, origin), entries in sorted(groups.items())
    ]
    return _table(("for", "made from", "kernels", "size", "last made", "last used"), rows)


def _listing(entries: Iterable[cache.Entry]) -> list[str]:
    rows = []
    for entry in entries:
        size, used = _size(entry.nbytes), _age(entry.used)
        if entry.kernel is None:
            rows.append((entry.path.name, "damaged", "", size, "", used))
        else:
            kernel = entry.kernel
            made = _age(kernel.made)
            rows.append((kernel.name, kernel.cpu, kernel.origin, size, made, used))
    return _table(("kernel", "for", "made from", "size", "made", "used"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["no kernels are cached"]
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    return [
        "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB" if nbytes >= 1 << 20 else f"{nbytes / 2**10:.1f} KiB"


def _age(since: float) -> str:
    seconds = max(0, round(time.time() - since))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count = seconds // length
        if count or unit == "second":
            return f"{count} {unit}{'s' if count != 1 else ''} ago"
    raise AssertionError
