"""Object code on disk: what this machine has compiled, for later processes.

A file's name contains a hash of everything that the machine code depends on, so a stale kernel
cannot be met, and a file, once written, never changes. Whatever is wrong with the directory or a
file in it means that a kernel is compiled again, and nothing else.

The directory is kept below a bound: kernels that no process has loaded for the longest time go.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Entry", "Kernel", "clear", "directory", "entries", "max_bytes", "path_of"]
__all__ += ["read", "write", "write_file"]

_DIGEST_BYTES = hashlib.sha256().digest_size
_SUFFIX = ".o"
_TEMPORARY = ".writing-"
#: When a file was last used is noted once a day, so that loading hardly ever writes.
_NOTED_SECONDS = 86_400.0
#: What a process that was killed leaves behind is removed when it is so old.
_ABANDONED_SECONDS = 3_600.0
#: The size of the directory is looked at every so many files that a process writes: that takes
#: 5 ms with a thousand kernels.
_WRITES_PER_LOOK = 64
_writes = 0


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What a file says of itself: the function, the CPU, what it was compiled from, and when.

    Times are in seconds since the epoch.
    """

    name: str
    cpu: str
    origin: str
    made: int


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file: the kernel in it, None where it is damaged; bytes; when it was used, give or take a
    day."""

    path: Path
    kernel: Kernel | None
    nbytes: int
    used: float


def directory() -> Path:
    """``FASTACT_CACHE_DIR``, else ``fastact`` in the platform's directory for caches."""
    chosen = os.environ.get("FASTACT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "fastact"


def max_bytes() -> int:
    """``FASTACT_CACHE_MAX_MIB`` in bytes; 256 MiB by default, which is some 50 000 kernels."""
    text = os.environ.get("FASTACT_CACHE_MAX_MIB") or "256"
    if not text.isdecimal():
        raise ValueError(f"FASTACT_CACHE_MAX_MIB must be a number of MiB, got {text!r}")
    return int(text) << 20


# --- one file -----------------------------------------------------------------------------------


def path_of(name: str, key: str) -> Path:
    return directory() / f"{name}-{key}{_SUFFIX}"


def read(path: Path) -> bytes | None:
    """The object code in a file; None where there is none that is whole."""
    try:
        with path.open("rb") as file:
            content = file.read()
            used = os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    if time.time() - used > _NOTED_SECONDS:
        with contextlib.suppress(OSError):  # a directory that may only be read
            os.utime(path)
    parts = _parts(content)
    return parts and parts[1]


def _parts(content: bytes) -> tuple[bytes, bytes] | None:
    """What a file says of itself, and the code; None where they are not as they were written."""
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        return None
    about, newline, code = rest.partition(b"\n")
    return (about, code) if newline else None


def write(path: Path, kernel: Kernel, code: bytes) -> None:
    """Put object code into the cache. Raises OSError where that cannot be written to."""
    import json  # takes 3 ms, and most processes write nothing

    global _writes
    path.parent.mkdir(parents=True, exist_ok=True)
    rest = json.dumps(dataclasses.asdict(kernel)).encode() + b"\n" + code
    write_file(path, hashlib.sha256(rest).digest() + rest)
    if _writes % _WRITES_PER_LOOK == 0:
        _evict(path)
    _writes += 1


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one step."""
    import tempfile  # takes 5 ms

    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # a cache made while an image is built serves other users, too
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


# --- all of them --------------------------------------------------------------------------------


def _files(suffix: str = "", prefix: str = "") -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(OSError), os.scandir(directory()) as found:
        for file in found:
            if file.name.startswith(prefix) and file.name.endswith(suffix):
                with contextlib.suppress(OSError):  # another process may have removed it
                    yield Path(file.path), file.stat()


def entries() -> list[Entry]:
    """What is in the cache, by name."""
    import json

    found = []
    for path, status in _files(suffix=_SUFFIX):
        kernel = None
        with contextlib.suppress(OSError, TypeError, ValueError):
            parts = _parts(path.read_bytes())
            kernel = parts and Kernel(**json.loads(parts[0]))
        found.append(Entry(path, kernel, status.st_size, status.st_mtime))
    return sorted(found, key=lambda entry: entry.path.name)


def clear() -> tuple[int, int]:
    """Remove all kernels; how many there were, and how many bytes.

    Processes that run have their own copies. Raises OSError where a file cannot be removed.
    """
    kernels = [(path, status.st_size) for path, status in _files(suffix=_SUFFIX)]
    for path, _ in kernels:
        path.unlink(missing_ok=True)
    _remove_abandoned()
    return len(kernels), sum(size for _, size in kernels)


def _evict(newest: Path) -> None:
    """Remove what was used least recently, until the rest is well below the bound."""
    kernels = sorted((s.st_mtime, path, s.st_size) for path, s in _files(suffix=_SUFFIX))
    total, bound = sum(size for *_, size in kernels), max_bytes()
    if total > bound:
        for _, path, size in kernels:
            if total <= bound * 9 // 10:
                break
            if path != newest:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                    total -= size
    _remove_abandoned()


def _remove_abandoned() -> None:
    for path, status in _files(prefix=_TEMPORARY):
        if time.time() - status.st_mtime > _ABANDONED_SECONDS:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
