"""Instructions that a piece of code executes: by the CPU's own counter, else by Valgrind.

Counted is what the calling thread does in user mode. The CPU's counter is asked for through Linux'
``perf_event_open``; many virtual machines do not have it. Under ``valgrind --tool=callgrind`` every
instruction is counted by an interpreter: the same figure on any machine, some 50 times slower.
Callgrind is told where to begin by its *client requests*, sequences of instructions that do nothing
elsewhere; they are the machine code below, as Python has no compiler at hand.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

MACHINE = platform.machine().lower()


class UnavailableError(Exception):
    """This machine does not count in that way; the message says why."""


class PerfEvent:
    """One of Linux' counters for this thread; without arguments: instructions in user mode."""

    name = "hardware"
    _SYSCALL: ClassVar = {"x86_64": 298, "amd64": 298, "aarch64": 241, "arm64": 241}
    _ENABLE, _DISABLE, _RESET = 0x2400, 0x2401, 0x2403

    def __init__(self, kind: int = 0, event: int = 1) -> None:
        """By default PERF_TYPE_HARDWARE and PERF_COUNT_HW_INSTRUCTIONS."""
        if sys.platform != "linux" or MACHINE not in self._SYSCALL:
            raise UnavailableError("perf_event_open is Linux'")
        # struct perf_event_attr: type, size, config, period, sample_type, read_format, flags.
        disabled, pinned, exclude_kernel, exclude_hypervisor = 1 << 0, 1 << 2, 1 << 5, 1 << 6
        flags = disabled | pinned | exclude_kernel | exclude_hypervisor
        attributes = struct.pack("=IIQQQQQ", kind, 64, event, 0, 0, 0, flags).ljust(64, b"\0")
        libc = ctypes.CDLL(None, use_errno=True)
        this_thread, any_cpu, no_group, close_on_exec = 0, -1, -1, 8
        self._file = libc.syscall(
            self._SYSCALL[MACHINE], attributes, this_thread, any_cpu, no_group, close_on_exec
        )
        if self._file < 0:
            raise UnavailableError(f"perf_event_open: {os.strerror(ctypes.get_errno())}")
        self._ioctl = libc.ioctl

    def count(self, run: Callable[[], object]) -> int:
        self._ioctl(self._file, self._RESET, 0)
        self._ioctl(self._file, self._ENABLE, 0)
        run()
        self._ioctl(self._file, self._DISABLE, 0)
        counted = os.read(self._file, 8)
        if len(counted) < 8:
            raise UnavailableError("the counter is in use")
        return struct.unpack("Q", counted)[0]


class Callgrind:
    """Valgrind's counts, for a process that it runs."""

    name = "valgrind"
    #: Set by who starts Valgrind: the path that --callgrind-out-file was given.
    OUTPUT = "FASTACT_GATE_CALLGRIND"
    _RUNNING_ON_VALGRIND = 0x1001
    _DUMP, _ZERO, _START, _STOP = (0x43540000 + n for n in (0, 1, 4, 5))
    #: result = request(array of six words), for x86-64 with the calling convention of Unix: the
    #: four rotations, which sum up to 128, and the exchange of rbx with itself are the signal.
    _CODE = bytes.fromhex(
        "4889f8"  # mov rax, rdi
        "31d2"  # xor edx, edx
        "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi by 3, 13, 61, 51
        "4887db"  # xchg rbx, rbx
        "4889d0"  # mov rax, rdx
        "c3"  # ret
    )

    def __init__(self) -> None:
        if sys.platform != "linux" or MACHINE not in ("x86_64", "amd64"):
            raise UnavailableError("Valgrind is asked on Linux and x86-64 only")
        self._output = os.environ.get(self.OUTPUT, "")
        if not self._output:
            raise UnavailableError("not run by Valgrind")
        protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, prot=protection)
        self._memory.write(self._CODE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._function = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)(address)
        if not self._request(self._RUNNING_ON_VALGRIND):
            raise UnavailableError("not run by Valgrind")
        self._dumps = 0

    def _request(self, code: int) -> int:
        return self._function((ctypes.c_size_t * 6)(code))

    def count(self, run: Callable[[], object]) -> int:
        self._request(self._START)
        self._request(self._ZERO)
        run()
        self._request(self._DUMP)
        self._request(self._STOP)
        self._dumps += 1
        dump = Path(f"{self._output}.{self._dumps}")
        found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE)
        dump.unlink()
        if found is None:
            raise UnavailableError("Valgrind wrote no total")
        return int(found.group(1))


class Nothing:
    name = "none"

    def count(self, run: Callable[[], object]) -> int:
        run()
        return 0


def find() -> PerfEvent | Callgrind | Nothing:
    """The counter that there is for this process."""
    for counter in (Callgrind, PerfEvent):
        try:
            return counter()
        except (UnavailableError, OSError):
            pass
    return Nothing()
