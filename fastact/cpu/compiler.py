"""Plain Python in, address of machine code out.

The machine code of a function comes from this machine's ``cache``, else from IR that the package
was built with (``archive``), else from its source, translated by Numba or by ``integers``. Loading
an object file takes about a millisecond, importing Numba and setting up its typing several hundred:
Numba is imported when nothing else is left.

Everything is found by hashes of what it was made from: the generated source of the function
(formula included), the source of the modules whose helpers it calls, LLVM's version, the few traits
of a CPU that code asks for; and machine code by what steers LLVM, and by Numba's version if that
took part. Editing any of them leads to another name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastact.cpu import archive, cache, llvm, notice
from fastact.cpu.target import cpu_features, cpu_name, traits
from fastact.loading import lock

__all__ = ["Unit", "load", "prepare"]

NUMBA, INTEGERS = "fastact.cpu.numba_ir", "fastact.cpu.integers"

_addresses: dict[str, int] = {}


@dataclasses.dataclass(frozen=True)
class Unit:
    """One function to compile, and everything that its machine code depends on.

    ``build`` returns the plain Python function and its signature for the ``translator``, which is
    the module that turns it into IR; it runs only when there is neither code nor IR, so it may
    import Numba. ``text`` is the source that ``build`` generates its function from, if it does;
    ``modules`` are the names of the modules that the function and its helpers are written in.
    """

    name: str
    build: Callable[[], tuple[Callable[..., Any], Any]]
    modules: tuple[str, ...]
    text: str = ""
    translator: str = NUMBA

    @functools.cached_property
    def key(self) -> str:
        """A hash of everything that the IR depends on, but for Numba's version."""
        parts = (self.name, self.text, llvm.llvm_version(), sys.platform, platform.machine())
        digest = hashlib.sha256()
        for part in (*parts, *sorted(traits())):
            digest.update(part.encode() + b"\0")
        own = ("fastact.cpu.llvm", "fastact.cpu.target", "fastact.cpu.words", self.translator)
        for module in (*own, *self.modules):
            digest.update(_module_text(module) + b"\0")
        return digest.hexdigest()[:32]

    @property
    def symbol(self) -> str:
        return f"fastact_{self.name}_{self.key}"

    def ir(self) -> bytes:
        """Portable IR, made from the source."""
        try:
            translator = importlib.import_module(self.translator)
        except ModuleNotFoundError as error:
            if error.name != "numba":
                raise
            raise _missing_numba(f"has no machine code for {self.name}") from None
        return llvm.portable_ir(translator.ir_text(*self.build(), llvm.SYMBOL))


def load(unit: Unit) -> int:
    """Address of ``unit``'s machine code."""
    with lock:
        if unit.symbol not in _addresses:
            code, file = _made(unit, notice.compiling())
            if unit.symbol in _addresses:  # while this thread waited for Numba
                return _addresses[unit.symbol]
            if file:
                with contextlib.suppress(OSError):  # then the next process compiles it again
                    file.write(code)
            _addresses[unit.symbol] = llvm.link(code, unit.symbol)
        return _addresses[unit.symbol]


def prepare(unit: Unit) -> bool:
    """Have ``unit``'s machine code in the cache; whether it had to be compiled for that.

    Raises OSError where the cache cannot be written to.
    """
    with lock:
        code, file = _made(unit, contextlib.nullcontext())
        if file:
            file.write(code)
        return file is not None


def _made(
    unit: Unit, compiling: contextlib.AbstractContextManager[None]
) -> tuple[bytes, _File | None]:
    """Machine code, and the file to keep it in if it comes from none.

    ``compiling`` is entered if it has to be compiled.
    """
    archived = archive.find(unit.key)
    if archived:
        file = _File.of(unit, IR, archived.identity)
        code = cache.read(file.path)
        if code is not None:
            return code, None
        ir = archived.read()
        if ir is not None:
            with compiling:
                return _compiled(unit, ir), file
    if unit.translator == NUMBA:
        file = _File.of(unit, FROM_NUMBA, _numba_version_text())
    else:
        file = _File.of(unit, SOURCE)
    code = cache.read(file.path)
    if code is not None:
        return code, None
    with compiling:
        return _compiled(unit, unit.ir()), file


def _compiled(unit: Unit, ir: bytes) -> bytes:
    return llvm.machine_code(ir, unit.symbol, vectorize=unit.translator == NUMBA)


#: What machine code was made from.
IR, FROM_NUMBA, SOURCE = "IR", "Numba", "source"


@dataclasses.dataclass(frozen=True)
class _File:
    """The file in the cache for a unit's machine code, made from one thing or another."""

    path: Path
    kernel: cache.Kernel

    @classmethod
    def of(cls, unit: Unit, origin: str, exactly: str = "") -> _File:
        digest = hashlib.sha256()
        for part in (unit.key, origin, exactly, cpu_name(), cpu_features()):
            digest.update(part.encode() + b"\0")
        path = cache.path_of(unit.name, digest.hexdigest()[:32])
        return cls(path, cache.Kernel(unit.name, cpu_name(), origin, int(time.time())))

    def write(self, code: bytes) -> None:
        cache.write(self.path, self.kernel, code)
        if self.kernel.origin == FROM_NUMBA:
            version, recorded = _numba_version_text().encode(), _recorded_version()
            if not recorded.exists() or recorded.read_bytes() != version:
                cache.write_file(recorded, version)


# --- what code depends on -----------------------------------------------------------------------


@functools.cache
def _numba_version_text() -> str:
    """What Numba's ``_version.py`` says; read as a file, because importing it imports Numba.

    Where Numba is not installed, it is what the cache was made with.
    """
    spec = importlib.util.find_spec("numba")
    try:
        if spec is None or spec.origin is None:
            return _recorded_version().read_text()
        return Path(spec.origin).with_name("_version.py").read_text()
    except OSError:
        raise _missing_numba("has not been prepared by `fastact warmup`") from None


def _missing_numba(why: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"fastact needs the package numba to compile: the cache in {cache.directory()} {why}",
        name="numba",
    )


def _recorded_version() -> Path:
    return cache.directory() / "numba-version.txt"


@functools.cache
def _module_text(name: str) -> bytes:
    """The source of a module, without importing it (some of them import Numba)."""
    spec: Any = importlib.util.find_spec(name)
    if hasattr(spec.loader, "get_source"):  # also from an archive
        return (spec.loader.get_source(name) or "").encode()
    return Path(spec.origin).read_bytes()  # such as pytest's loader, in `pytest -p fastact`
