"""Kernels as portable LLVM IR, packed into the wheel: what Numba made when that was built.

From it a kernel is compiled for this machine without Numba, in a tenth of the time. An entry is
found by a hash of what it was generated from: whatever does not fit, because a formula was edited,
or LLVM is another one, is not found.

The file: a header, which has the digest of the table that follows; the table of keys and places;
and the entries, compressed by *groups*: kernels are much alike, so a group of twenty takes a third
of what they would take one by one, and 4 ms to expand. An archive or a group that is not as it was
written counts as not there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path

__all__ = ["FILE_NAME", "Archived", "find", "pack", "packaged"]

#: In the package's directory. Only wheels that were built with it have this file.
FILE_NAME = "kernels.ir"

_MAGIC = b"fastact IR 1\r\n\x00\x00"  # which is damaged where it is taken for text
_HEADER = struct.Struct("<16s32s16sI")  # magic, digest, LLVM's version, bytes of the table
#: Key; where the group is, its bytes, its digest; where the entry is in it, its bytes.
_ROW = struct.Struct("<16sII16sII")
#: Of a group, expanded.
_GROUP_BYTES = 400_000


@dataclasses.dataclass(frozen=True)
class Archived:
    """An entry that is there."""

    path: Path
    group: int
    group_bytes: int
    digest: bytes
    start: int
    nbytes: int

    @property
    def identity(self) -> str:
        """What tells it from all other entries of its key."""
        return f"{self.digest.hex()}:{self.start}"

    def read(self) -> bytes | None:
        """The IR; None where it is damaged."""
        group = _group(self.path, self.group, self.group_bytes, self.digest)
        return group and group[self.start : self.start + self.nbytes]


def find(key: str) -> Archived | None:
    """The entry of a unit's key, if it is in the package's archive."""
    return _contents(_PATH)[1].get(bytes.fromhex(key))


def packaged() -> tuple[str, int]:
    """The version of LLVM whose IR the package has, and for how many kernels; ``""`` and 0 if none.

    Of another version none are found.
    """
    version, table = _contents(_PATH)
    return version, len(table)


_PATH = Path(__file__).parents[1] / FILE_NAME


@functools.cache
def _contents(path: Path) -> tuple[str, Mapping[bytes, Archived]]:
    with contextlib.suppress(OSError, struct.error), path.open("rb") as file:
        magic, digest, version, table_bytes = _HEADER.unpack(file.read(_HEADER.size))
        table = file.read(table_bytes)
        if magic == _MAGIC and hashlib.sha256(version + table).digest() == digest:
            entries = {key: Archived(path, *place) for key, *place in _ROW.iter_unpack(table)}
            return version.rstrip(b"\0").decode(), entries
    return "", {}


@functools.lru_cache(maxsize=1)
def _group(path: Path, position: int, nbytes: int, digest: bytes) -> bytes | None:
    with contextlib.suppress(OSError, ImportError), path.open("rb") as file:
        import lzma  # not in every Python

        file.seek(position)
        packed = file.read(nbytes)
        if _digest(packed) == digest:
            return lzma.decompress(packed)
    return None


def _digest(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()[:16]


def pack(entries: Mapping[str, bytes], llvm_version: str, path: Path) -> None:
    """Write an archive of IR by keys. Those next to each other should be alike."""
    import lzma

    groups: list[list[tuple[str, bytes]]] = [[]]
    for entry in entries.items():
        if sum(len(ir) for _, ir in groups[-1]) > _GROUP_BYTES:
            groups.append([])
        groups[-1].append(entry)
    packed = [lzma.compress(b"".join(ir for _, ir in group), preset=9) for group in groups]
    position = _HEADER.size + _ROW.size * len(entries)
    rows = []
    for group, content in zip(groups, packed, strict=True):
        start = 0
        for key, ir in group:
            place = (position, len(content), _digest(content), start, len(ir))
            rows.append(_ROW.pack(bytes.fromhex(key), *place))
            start += len(ir)
        position += len(content)
    table = b"".join(rows)
    version = llvm_version.encode().ljust(16, b"\0")
    header = _HEADER.pack(_MAGIC, hashlib.sha256(version + table).digest(), version, len(table))
    path.write_bytes(b"".join([header, table, *packed]))
