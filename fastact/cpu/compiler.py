"""Plain Python in, address of machine code out; compiled once, cached as object code.

Numba turns a function into optimized LLVM IR. llvmlite turns the IR into an object file, which is
kept on disk and loaded again without Numba: importing Numba and setting up its typing takes several
hundred milliseconds, loading an object file takes about one.

The cache is content-addressed. A file's name contains a hash of everything that the machine code
depends on: the generated source of the function (formula included), the source of the modules whose
helpers it calls, the versions of Numba and llvmlite, and the instruction set. Editing any of them
leads to another name, so a stale kernel cannot be met, and a file, once written, never changes.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import hashlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastact.cpu.target import cpu_features, cpu_name
from fastact.loading import lock

__all__ = ["Unit", "cache_directory", "load", "prepare"]

_addresses: dict[str, int] = {}


@dataclasses.dataclass(frozen=True)
class Unit:
    """One function to compile, and everything that its machine code depends on.

    ``build`` returns the plain Python function and its Numba signature; it runs only when there is
    no cached code, so it may import Numba. ``text`` is the source that ``build`` generates its
    function from, if it does; ``modules`` are the names of the modules that the function and its
    helpers are written in.
    """

    name: str
    build: Callable[[], tuple[Callable[..., Any], Any]]
    modules: tuple[str, ...]
    text: str = ""

    @functools.cached_property
    def key(self) -> str:
        digest = hashlib.sha256()
        for part in (self.name, self.text, *_environment()):
            digest.update(part.encode() + b"\0")
        for module in (__name__, "fastact.cpu.target", *self.modules):
            digest.update(_module_text(module) + b"\0")
        return digest.hexdigest()[:32]

    @property
    def symbol(self) -> str:
        return f"fastact_{self.name}_{self.key}"


def load(unit: Unit) -> int:
    """Address of ``unit``'s machine code: from this machine's cache, else compiled now."""
    with lock:
        if unit.symbol not in _addresses:
            path = _cached_path(unit)
            code = _read(path)
            if code is None:
                code = _compile(unit)
                with contextlib.suppress(OSError):  # then the next process compiles it again
                    _write(path, code)
            _addresses[unit.symbol] = _link(code, unit.symbol)
        return _addresses[unit.symbol]


def prepare(unit: Unit) -> bool:
    """Have ``unit``'s machine code in the cache; whether it had to be compiled for that.

    Raises OSError where the cache cannot be written to.
    """
    with lock:
        path = _cached_path(unit)
        missing = _read(path) is None
        if missing:
            _write(path, _compile(unit))
        return missing


# --- where and for what machine -----------------------------------------------------------------


def cache_directory() -> Path:
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


@functools.cache
def _environment() -> tuple[str, ...]:
    import llvmlite

    return (
        _numba_version_text(),
        llvmlite.__version__,
        sys.platform,
        platform.machine(),
        cpu_name(),
        cpu_features(),
    )


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
        f"fastact needs the package numba to compile: the cache in {cache_directory()} {why}",
        name="numba",
    )


def _recorded_version() -> Path:
    return cache_directory() / "numba-version.txt"


@functools.cache
def _module_text(name: str) -> bytes:
    """The source of a module, without importing it (some of them import Numba)."""
    spec: Any = importlib.util.find_spec(name)
    if hasattr(spec.loader, "get_source"):  # also from an archive
        return (spec.loader.get_source(name) or "").encode()
    return Path(spec.origin).read_bytes()  # such as pytest's loader, in `pytest -p fastact`


# --- LLVM ---------------------------------------------------------------------------------------


@functools.cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _target_machine() -> Any:
    # The options are those that Numba gives its own just-in-time target.
    llvm = _llvm()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=cpu_name(),
        features=cpu_features(),
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


#: What machine code may call: in every process, on every platform that LLVM calls it on.
_FROM_C = {"memcpy", "memmove", "memset", "fegetexceptflag", "fesetexceptflag"}


def _compile(unit: Unit) -> bytes:
    """Object code of ``unit``, defining ``unit.symbol`` with the C calling convention."""
    try:
        from numba import cfunc
    except ModuleNotFoundError:
        raise _missing_numba(f"has no machine code for {unit.name}") from None

    function, signature = unit.build()
    # error_model: without it every division carries a branch for ZeroDivisionError, and the loop
    # stays scalar.
    compiled = cfunc(signature, error_model="numpy")(function)
    llvm, machine = _llvm(), _target_machine()
    module = llvm.parse_assembly(compiled.inspect_llvm())
    for definition in module.functions:
        if definition.name == compiled.native_name:
            definition.name = unit.symbol
        elif not definition.is_declaration:
            definition.linkage = llvm.Linkage.internal
            definition.add_function_attribute("alwaysinline")
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = llvm.Linkage.internal
    # With the function inlined into Numba's wrapper for C, it is plain that no Python exception
    # comes out of it; what is left of Numba's runtime goes.
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    missing = [f.name for f in module.functions if f.is_declaration and "." not in f.name]
    if set(missing) - _FROM_C:
        raise RuntimeError(f"machine code of {unit.name} would need {missing} from Numba's runtime")
    return machine.emit_object(module)


def _link(code: bytes, symbol: str) -> int:
    engine = _engine()
    engine.add_object_file(_llvm().ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(symbol)
    if not address:
        raise RuntimeError(f"no function {symbol} in its own object file")
    return address


@functools.cache
def _engine() -> Any:
    """Where object code becomes executable memory; never disposed of.

    Worker threads may be inside that memory while the interpreter shuts down, and NumPy keeps
    addresses for good: the code must outlive every Python object.
    """
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
    return engine


# --- disk ---------------------------------------------------------------------------------------

_DIGEST_BYTES = hashlib.sha256().digest_size


def _cached_path(unit: Unit) -> Path:
    return cache_directory() / f"{unit.name}-{unit.key}.o"


def _read(path: Path) -> bytes | None:
    """The object code in ``path``; None where there is none that is whole."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Put ``code`` into the cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_file(path, hashlib.sha256(code).digest() + code)
    version = _numba_version_text().encode()
    recorded = _recorded_version()
    if not recorded.exists() or recorded.read_bytes() != version:
        _write_file(recorded, version)


def _write_file(path: Path, content: bytes) -> None:
    """Write a file in one step."""
    import tempfile  # takes 5 ms, and most processes write nothing

    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)  # a cache made while an image is built serves other users, too
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
