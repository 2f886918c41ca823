"""What this machine grants the process, and the C functions that machine code calls on it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from fastact.cpu.layout import FUTEX_WAKE

__all__ = [
    "FUTEX_NUMBER",
    "available_cpus",
    "available_memory",
    "c_address",
    "cgroup_quota",
    "futex_wake",
    "join",
    "last_level_cache",
]

#: Number of the system call ``futex``; None where it is not known, or not there.
FUTEX_NUMBER = (
    {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if sys.platform == "linux" else None
)


# --- processors ---------------------------------------------------------------------------------


def available_cpus() -> int:
    """CPUs that this process may use: by affinity, and by the quota of its control group."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cgroup_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """CPUs' worth of time that Linux grants this control group; None where it sets no limit."""
    quotas = []
    for group in _groups("cpu", root):
        for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
            with contextlib.suppress(OSError, ValueError):
                quota, period = " ".join((group / name).read_text() for name in names).split()
                if quota not in ("max", "-1"):
                    quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


@functools.cache
def last_level_cache() -> int:
    """Bytes of the largest cache of the CPU; 32 MiB where the system does not tell."""
    sizes = []
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        with contextlib.suppress(OSError, ValueError):
            kibibytes = (index / "size").read_text().strip().removesuffix("K")
            sizes.append(int(kibibytes) << 10)
    return max(sizes, default=32 << 20)


# --- memory -------------------------------------------------------------------------------------


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of the machine's memory, or of what its control group grants this process."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for group in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # "max": no limit
                limits.append(int((group / name).read_text()))
    return min(limits)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The directories of this process's control groups that may limit something."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = root / "sys/fs/cgroup"
        if controller in controllers.split(","):
            base /= controller
        elif controllers:
            continue
        # A container may see its own group's files at the root, whatever its path says. A parent
        # group's limit holds for its children, too.
        inside = Path(path.lstrip("/"))
        for group in (inside, *inside.parents):
            yield base / group


# --- C functions --------------------------------------------------------------------------------


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def c_address(name: str) -> int:
    """Address of a function of the C library; 0 where there is none of that name."""
    function = getattr(_libc(), name, None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


def futex_wake(address: int) -> None:
    """Wake one thread that sleeps on the word at this address."""
    number = ctypes.c_long(FUTEX_NUMBER or 0)
    _libc().syscall(number, ctypes.c_void_p(address), FUTEX_WAKE, 1)


def join(thread: int) -> None:
    """Wait for the end of a thread, given its ``pthread_t``."""
    _libc().pthread_join(ctypes.c_ulong(thread), None)
