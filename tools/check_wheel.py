"""Is the installed package a wheel whose kernels need no Numba? First calls of several kinds.

    python tools/check_wheel.py

Run it where this repository is not on the path, with an empty cache (see release.yml).
"""

from __future__ import annotations

import sys

import numpy as np

import fastact as fa
from fastact.cpu import archive, cache, pool


def main() -> int:
    version, kernels = archive.packaged()
    print(f"{fa.__file__}: {kernels} kernels as IR of LLVM {version}")
    numbers = np.linspace(-3, 3, 100_000)
    for dtype in ("float16", "float32", "float64"):
        x = numbers.astype(dtype)
        large = np.tile(x, 20)
        matrix = x.reshape(-1, 100)
        assert np.array_equal(fa.relu(x), np.maximum(x, 0))
        assert np.array_equal(fa.relu(large), np.maximum(large, 0))
        assert np.array_equal(fa.relu_backward(x, x), np.where(x > 0, x, 0))
        assert np.allclose(fa.sigmoid(x), 1 / (1 + np.exp(-x)), rtol=2e-3)
        assert np.allclose(fa.softmax(matrix).sum(axis=-1), 1, rtol=1e-2)
        biased = fa.fused.bias_act(matrix, x[:100])
        assert np.array_equal(biased, np.maximum(matrix + x[:100], 0))
        fa.gelu(x), fa.gelu_(x.copy()), fa.prelu(x, 0.25), fa.glu(x), fa.maxout(matrix)
    with fa.memory.recycling():
        assert np.array_equal(fa.relu(large), np.maximum(large, 0))
    origins = {entry.kernel and entry.kernel.origin for entry in cache.entries()}
    print(f"cached kernels were made from {origins or 'nothing'}")
    unasked = "numba" in sys.modules and pool.threading_layer() != "numba"
    if not kernels or unasked or origins != {"IR"}:
        print("not all of these kernels were compiled from IR", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
