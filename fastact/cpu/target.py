"""The CPU that kernels are compiled for, and what generated code may ask about it.

Everything but ``traits`` only steers LLVM. Whoever generates code asks ``traits`` and nothing else,
so that the few forms that code may have are known.
"""

from __future__ import annotations

import functools
import os
import platform

__all__ = ["ARM", "TRAITS", "X86", "cpu_features", "cpu_name", "traits"]

X86 = platform.machine().lower() in ("x86_64", "amd64")
ARM = platform.machine().lower() in ("arm64", "aarch64")

#: What generated code may depend on. "fma": fused multiply-add; "f16c": conversions of float16
#: (ARM has both); "avx512": 512-bit vectors, with the instructions of AVX-512 F, BW, DQ and VL.
TRAITS = ("fma", "f16c", "avx512")

_AVX512 = {"+avx512f", "+avx512bw", "+avx512dq", "+avx512vl"}
#: CPUs whose clock falls far where they use 512-bit vectors (Intel's before Ice Lake).
_THROTTLED = {"skylake-avx512", "cascadelake", "cooperlake"}


@functools.cache
def cpu_name() -> str:
    """LLVM's name of the CPU compiled for; ``NUMBA_CPU_NAME`` overrides it, as for Numba."""
    import llvmlite.binding as llvm

    return os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()


@functools.cache
def cpu_features() -> str:
    """LLVM's feature string of the CPU compiled for, by the same rules as Numba's.

    But for one feature: Intel's CPUs ask for vectors of 256 bits (``prefer-256-bit``), also those
    on which 512 gain time.
    """
    import llvmlite.binding as llvm

    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if cpu_name() == "generic" else llvm.get_host_cpu_features().flatten()
    if not features:
        return features
    preference = "-" if _wide(features) else "+"
    return f"{features},{preference}prefer-256-bit" if "+avx512f" in features else features


@functools.cache
def traits() -> frozenset[str]:
    """Those of ``TRAITS`` that hold for the CPU compiled for."""
    features = cpu_features()
    have = set(features.split(","))
    found = {
        "fma": ARM or "+fma" in have,
        # LLVM's generic CPU has no conversions, whatever the features say.
        "f16c": ARM or ("+f16c" in have and cpu_name() != "generic"),
        "avx512": _wide(features),
    }
    return frozenset(name for name in TRAITS if found[name])


def _wide(features: str) -> bool:
    """Whether vectors of 512 bits pay; ``FASTACT_VECTOR_BITS`` (256 or 512) overrides it."""
    chosen = os.environ.get("FASTACT_VECTOR_BITS", "")
    if chosen not in ("", "256", "512"):
        raise ValueError(f"FASTACT_VECTOR_BITS must be 256 or 512, got {chosen!r}")
    if chosen == "256" or not set(features.split(",")) >= _AVX512:
        return False
    return chosen == "512" or cpu_name() not in _THROTTLED
