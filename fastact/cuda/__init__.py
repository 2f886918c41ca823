"""The catalogue on an NVIDIA GPU, for any array with ``__cuda_array_interface__``.

    import fastact.cuda

    y = fastact.cuda.relu(x)                            # PyTorch, CuPy, Numba, JAX
    fastact.cuda.gelu_backward(dy, x, out=dy)
    dz, db = fastact.cuda.fused.bias_act_backward(dy, y)

The result is an array of the caller's library, on its device; work is queued on its current stream
and nothing waits for it. Kernels are compiled when they are first called, and kept on disk.
"""

from typing import Any


def _missing() -> str:
    """What is missing, and how to get it; nothing if nothing is."""
    try:
        from numba import config, cuda
    except ImportError as error:
        return f"{error.name} is not installed: pip install 'fastact[cuda]'"
    if config.ENABLE_CUDASIM:
        return ""
    if "numba_cuda" not in (cuda.__file__ or ""):
        return "NVIDIA's package numba-cuda is not installed: pip install 'fastact[cuda]'"
    try:
        cuda.current_context()
    except Exception as error:
        reason = " ".join(str(error).split())[:200].strip(" :.") or type(error).__name__
        return (
            f"there is no NVIDIA GPU with a working driver that it could use ({reason}); "
            "`nvidia-smi` and `numba -s` tell more"
        )
    return ""


if _problem := _missing():
    raise ImportError(f"fastact.cuda is not available: {_problem}")

from fastact.cuda import functions as _functions  # noqa: E402
from fastact.cuda import fused, losses  # noqa: E402

__all__ = [*_functions.NAMES, "fused", "losses"]


def __getattr__(name: str) -> Any:
    return globals().setdefault(name, _functions.build(name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_functions.NAMES})
