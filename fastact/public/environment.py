"""What fastact found on this machine, for bug reports and for the curious."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from fastact import loading, memory
from fastact.cpu import archive, cache, llvm, machine, pool, target

__all__ = ["configuration", "kernel_cache", "package_version", "show_config"]


def configuration() -> dict[str, str]:
    """Versions, instruction set, threads and cache, as label and text."""
    with loading.lock:
        return _configuration()


def _configuration() -> dict[str, str]:
    return {
        "fastact": package_version("fastact"),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: package_version(name) for name in ("numpy", "numba", "llvmlite", "ml_dtypes")},
        "CPU": target.cpu_name(),
        "vector extensions": " ".join(_vector_extensions()) or "baseline",
        "last-level cache": f"{machine.last_level_cache() >> 20} MiB",
        "threads": f"{pool.get_num_threads()} "
        f"(this process may use {machine.available_cpus()} CPUs)",
        "threading layer": pool.threading_layer(),
        "kernel cache": kernel_cache(),
        "kernels in the package": _packaged(),
        "recycled memory": _recycled_memory(),
        "GPU": _gpu(),
    }


def kernel_cache() -> str:
    """Where compiled kernels are kept, and how many there are."""
    directory, kernels = cache.directory(), cache.entries()
    size = sum(entry.nbytes for entry in kernels)
    writable = os.access(next(p for p in (directory, *directory.parents) if p.exists()), os.W_OK)
    return (
        f"{directory} ({len(kernels)} kernels, {size / 2**20:.1f} MiB of at most "
        f"{cache.max_bytes() >> 20} MiB{'' if writable else ', not writable'})"
    )


def _packaged() -> str:
    """Which kernels need no Numba to be compiled."""
    version, kernels = archive.packaged()
    if not kernels:
        return "none: they are compiled with Numba"
    usable = version == llvm.llvm_version()
    return f"{kernels}, as IR of LLVM {version}" + (
        "" if usable else f", which LLVM {llvm.llvm_version()} cannot use"
    )


def _recycled_memory() -> str:
    stats = memory.stats()
    return (
        f"{'on' if stats.enabled else 'off'} ({stats.retained_bytes / 2**20:.0f} MiB retained of "
        f"at most {stats.max_bytes / 2**20:.0f} MiB)"
    )


def _gpu() -> str:
    if package_version("numba-cuda") == "not installed":
        return "numba-cuda is not installed"
    try:
        from numba import cuda

        name = cuda.get_current_device().name
    except Exception as error:
        return f"none that can be used ({type(error).__name__})"
    return name.decode() if isinstance(name, bytes) else str(name)


def show_config() -> None:
    """Print versions, instruction set, threads, and where compiled kernels are kept.

    >>> fa.show_config()  # doctest: +ELLIPSIS
    fastact ...
    """
    facts = configuration()
    width = max(map(len, facts))
    for label, text in facts.items():
        print(f"{label:{width}}  {text}")


def package_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _vector_extensions() -> list[str]:
    wanted = ("sse2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bf16", "neon", "sve")
    enabled = set(target.cpu_features().split(","))
    return [name for name in wanted if f"+{name}" in enabled]
