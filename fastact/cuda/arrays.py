"""Arrays of other libraries, as kernels see them: an address, a shape, strides, a dtype, a stream.

Anything with ``__cuda_array_interface__`` will do. PyTorch's tensors are looked at directly, since
their interface knows no bfloat16, and CuPy's, since theirs takes longer. New arrays are made by the
library that the first argument is from; a library that has no way to make one gets Numba's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from fastact.catalogue.dtypes import BFLOAT16, FLOATS, INTEGERS, Kind, bfloat16_dtype
from fastact.cuda import dlpack
from fastact.cuda.kernels import simulated

__all__ = [
    "PER_THREAD",
    "Library",
    "View",
    "address",
    "allocating_on",
    "broadcast",
    "broadcast_shape",
    "collapsed",
    "contiguous_strides",
    "copied",
    "empty",
    "finished",
    "kept_zeros",
    "launch_stream",
    "library_of",
    "memory",
    "numba_stream",
    "overlaps",
    "span",
    "to_host",
    "view",
    "without_gaps",
]

KINDS = {kind.name: kind for kind in [*FLOATS.values(), BFLOAT16]}
_INTEGERS = {kind.name: kind for kind in INTEGERS.values()}


@dataclasses.dataclass(frozen=True)
class View:
    """Where an array's elements are, with strides in bytes.

    ``stream`` is the handle of the stream that its data are ready on; None if they are ready.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    kind: Kind
    device: int
    stream: int | None
    writable: bool = True

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether elements lie one after the other, in C's order."""
        return without_gaps(self.shape, self.strides, self.kind.itemsize)

    def part(self, axis: int, start: int, length: int) -> View:
        """Some of the elements along an axis."""
        shape = (*self.shape[:axis], length, *self.shape[axis + 1 :])
        pointer = self.pointer + start * self.strides[axis]
        return dataclasses.replace(self, pointer=pointer, shape=shape)

    def followed_by_ones(self, shape: tuple[int, ...]) -> View:
        """The same elements in another shape, of which all lengths but the first may be 1 more."""
        if shape == self.shape:
            return self
        strides = (*self.strides[:1], *[0] * len(shape))[: len(shape)]
        return dataclasses.replace(self, shape=shape, strides=strides)


def contiguous_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    strides = [itemsize]
    for length in reversed(shape[1:]):
        strides.insert(0, strides[0] * length)
    return tuple(strides[: len(shape)])


def without_gaps(shape: tuple[int, ...], strides: tuple[int, ...] | None, itemsize: int) -> bool:
    """Whether elements lie one after the other, in C's order; ``strides`` None: they do."""
    if strides is None or 0 in shape:
        return True
    expected = contiguous_strides(shape, itemsize)
    return all(n == 1 or a == b for n, a, b in zip(shape, strides, expected, strict=True))


# --- other libraries ----------------------------------------------------------------------------


def _library(array: Any) -> str:
    return _module(type(array))


def _module_of(kind: type) -> str:
    return kind.__module__.partition(".")[0]


_module: Callable[[type], str] = functools.lru_cache(64)(_module_of)


@dataclasses.dataclass(frozen=True)
class Memory:
    """What a library says of an array; the dtype by NumPy's name."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: str
    device: int
    stream: int | None
    writable: bool = True


def view(function: str, name: str, array: Any, integers: bool = False) -> View:
    """Raises TypeError if it is no array on a GPU, or of a dtype that is not supported.

    ``integers``: those are, too.
    """
    of = memory(function, name, array)
    kind = KINDS.get(of.dtype) or (_INTEGERS.get(of.dtype) if integers else None)
    if kind is None:
        known = ", ".join([*KINDS, *_INTEGERS] if integers else KINDS)
        raise TypeError(f"{function}: {name} has dtype {of.dtype}; on a GPU there are {known}")
    strides = contiguous_strides(of.shape, kind.itemsize) if of.strides is None else of.strides
    return View(of.pointer, of.shape, strides, kind, of.device, of.stream, of.writable)


def memory(function: str, name: str, array: Any) -> Memory:
    """The same for any dtype."""
    library = _library(array)
    if isinstance(array, dlpack.Owned):
        of = memory(function, name, array.array)
        return dataclasses.replace(of, dtype=array.dtype)
    if library == "torch" and getattr(array, "is_cuda", False):
        return _of_torch(array)
    if library == "cupy":
        return _of_cupy(array)
    if simulated() and type(array).__name__ == "FakeCUDAArray":
        host = array._ary
        return Memory(host.ctypes.data, host.shape, host.strides, host.dtype.name, 0, 0)
    try:
        interface = array.__cuda_array_interface__
    except (AttributeError, TypeError, RuntimeError, ValueError):
        if library in _JAX and hasattr(array, "__dlpack__"):
            found = _of_jax(array)
            if found is not None:
                return found
        raise TypeError(
            f"{function}: {name} must be an array on a GPU, with __cuda_array_interface__, got "
            f"{_described(array)}; for NumPy's arrays there is fastact.{function}"
        ) from None
    if interface.get("mask") is not None:
        raise TypeError(f"{function}: {name} has a mask, which is not supported")
    pointer, read_only = interface["data"]
    return Memory(
        pointer or 0,
        tuple(interface["shape"]),
        interface.get("strides"),
        _dtype_name(interface["typestr"], array),
        _device_of(array),
        interface.get("stream"),
        not read_only,
    )


def _of_torch(tensor: Any) -> Memory:
    torch = sys.modules["torch"]
    itemsize, device = tensor.element_size(), tensor.device.index
    strides = tuple(step * itemsize for step in tensor.stride())
    dtype = str(tensor.dtype).removeprefix("torch.")
    stream = torch.cuda.current_stream(device).cuda_stream
    return Memory(tensor.data_ptr(), tuple(tensor.shape), strides, dtype, device, stream)


def _of_jax(array: Any) -> Memory | None:
    """None if it is on no GPU."""
    # The default stream waits for the data: 1, as DLPack has it.
    pointer, shape, steps, dtype, (kind, number) = dlpack.read(array, 1)
    if kind != (dlpack.CPU if simulated() else dlpack.GPU):
        return None
    itemsize = int(dtype.lstrip("abcdefghijklmnopqrstuvwxyz, ")) // 8
    strides = None if steps is None else tuple(step * itemsize for step in steps)
    return Memory(pointer, shape, strides, dtype, number, _DEFAULT, writable=False)


def _of_cupy(array: Any) -> Memory:
    stream = sys.modules["cupy"].cuda.get_current_stream().ptr
    strides, dtype = array.strides, array.dtype.name
    return Memory(array.data.ptr, array.shape, strides, dtype, array.device.id, stream)


@dataclasses.dataclass(frozen=True)
class Library:
    """What is read of an array again and again, in the quickest way that its library has.

    ``read`` adds the address to one list, and all else that a ``View`` is made of, as something
    hashable, to another; ``stream`` gives the handle of the current stream of a device, on which
    the data are ready.
    """

    read: Callable[[Any, list[int], list[Hashable]], None]
    stream: Callable[[int], int]


def _library_of(kind: type) -> Library | None:
    library = _module(kind)
    if library in ("torch", "cupy"):
        return _library_named(library)
    return _simulated_library if simulated() and kind.__name__ == "FakeCUDAArray" else None


#: By the type of arrays; None where only ``view`` will do. One object for all types of a library.
library_of: Callable[[type], Library | None] = functools.lru_cache(64)(_library_of)


@functools.cache
def _library_named(library: str) -> Library:
    if library == "torch":
        return Library(_read_torch, _torch_stream())
    return Library(_read_cupy, lambda _: sys.modules["cupy"].cuda.get_current_stream().ptr)


def address(array: Any) -> int:
    """Where an array of ours begins, whatever its library."""
    return memory("fastact.cuda", "array", array).pointer


def _read_torch(tensor: Any, pointers: list[int], layout: list[Hashable]) -> None:
    pointers.append(tensor.data_ptr())
    layout += (tensor.dtype, tensor.shape, tensor.stride(), tensor.device)


def _read_cupy(array: Any, pointers: list[int], layout: list[Hashable]) -> None:
    data = array.data
    pointers.append(data.ptr)
    layout += (array.dtype, array.shape, array.strides, data.device_id)


def _read_simulated(array: Any, pointers: list[int], layout: list[Hashable]) -> None:
    host = array._ary
    pointers.append(host.ctypes.data)
    layout += (host.dtype, host.shape, host.strides)


_simulated_library = Library(_read_simulated, lambda _: 0)


def _torch_stream() -> Callable[[int], int]:
    torch = sys.modules["torch"]
    # What PyTorch's own compiler calls: a tenth of the time of what is public.
    raw = getattr(getattr(torch, "_C", None), "_cuda_getCurrentRawStream", None)
    return raw or (lambda device: torch.cuda.current_stream(device).cuda_stream)


def _described(array: Any) -> str:
    library, name = _library(array), type(array).__name__
    return f"{library}'s {name} on the CPU" if library == "torch" else name


def _dtype_name(typestr: str, array: Any) -> str:
    named = str(getattr(array, "dtype", ""))
    if typestr[1:] == "V2" or named == "bfloat16":
        return named
    swapped = {"<": "big", ">": "little"}.get(typestr[0]) == sys.byteorder
    return f"byte-swapped {typestr}" if swapped else _NAMES.get(typestr[1:], typestr)


_NAMES = {np.dtype(name).str[1:]: name for name in ("float16", "float32", "float64", *_INTEGERS)}


def _device_of(array: Any) -> int:
    from numba import cuda

    device = getattr(array, "device", None)
    number = getattr(device, "id", None)
    if callable(device):  # JAX had a method
        number = getattr(device(), "id", None)
    if isinstance(number, int) or simulated():
        return number or 0
    return cuda.current_context().device.id


def empty(like: Any, of: View, shape: tuple[int, ...], dtype: str = "") -> Any:
    """A new array of the library that ``like`` is from, on its device: of another shape, or dtype.

    JAX's arrays cannot be written to by others: there it is memory of Numba's, and ``finished``
    hands it over.
    """
    library = _library(like)
    if library == "torch":
        if not dtype:
            return like.new_empty(shape)
        return like.new_empty(shape, dtype=getattr(sys.modules["torch"], dtype))
    if library == "cupy":
        return sys.modules["cupy"].empty(shape, dtype or like.dtype)
    from numba import cuda

    name = dtype or of.kind.name
    if library in _JAX or isinstance(like, dlpack.Owned):
        storage = KINDS[name].storage if name in KINDS else name
        with cuda.gpus[of.device]:
            array = cuda.device_array(shape, storage)
        device = (dlpack.CPU if simulated() else dlpack.GPU, of.device)
        return dlpack.Owned(array, address(array), name, device)
    if name == "bfloat16" and not simulated():
        raise TypeError("Numba's arrays, which the result would be, have no bfloat16; give out=")
    return cuda.device_array(shape, like.dtype if name == "bfloat16" else name)


def copied(like: Any, of: View, numbers: Any) -> Any:
    """The same, filled with numbers of NumPy's, rounded."""
    result = empty(like, of, numbers.shape)
    if _library(result) == "torch":
        torch = sys.modules["torch"]
        result.copy_(torch.from_numpy(numbers).to(result.dtype))
    elif _library(result) == "cupy":
        result.set(numbers.astype(result.dtype))
    elif isinstance(result, dlpack.Owned):
        result.array.copy_to_device(
            numbers.astype(_numpy_dtype(result.dtype)).view(of.kind.storage)
        )
    else:
        result.copy_to_device(numbers.astype(result.dtype))
    return result


def _numpy_dtype(name: str) -> Any:
    return bfloat16_dtype() if name == "bfloat16" else np.dtype(name)


def to_host(array: Any) -> Any:
    """An array of ours as NumPy's, once it is ready."""
    library = _library(array)
    if library == "torch":
        return array.cpu().numpy()
    if library in _JAX:
        return np.asarray(array)
    return array.get() if library == "cupy" else array.copy_to_host()


def kept_zeros(device: int, size: int) -> int:
    """The address of so many bytes of zeros, which nobody writes to and which are never freed."""
    from numba import cuda

    with _zeros_lock:
        kept = _zeros.setdefault(device, [])
        if not kept or kept[-1].size < size:
            # At least twice as many as before: few of them are made.
            count = max(size, 2 * kept[-1].size if kept else 1 << 16)
            with cuda.gpus[device]:
                kept.append(cuda.to_device(np.zeros(count, np.uint8)))
        return address(kept[-1])


_zeros: dict[int, list[Any]] = {}
_zeros_lock = threading.Lock()


def finished(like: Any, result: Any, stream: Any) -> Any:
    """The result of a call with this ``stream`` as an array of the caller's library."""
    if not isinstance(result, dlpack.Owned):
        return result
    import jax.dlpack
    import jax.numpy

    if 0 in result.shape:
        dtype = _numpy_dtype(result.dtype)
        return jax.numpy.empty(result.shape, dtype, device=getattr(like, "device", None))
    launched = _DEFAULT if stream is None else handle(stream)

    def ready(consumer: Any) -> None:
        if not simulated() and consumer not in (None, -1):
            _wait(numba_stream(launched), numba_stream(_DEFAULT if consumer == 1 else consumer))

    result.ready = ready
    return jax.dlpack.from_dlpack(result)


_JAX = ("jax", "jaxlib")


# --- streams ------------------------------------------------------------------------------------

_DEFAULT, _LEGACY, PER_THREAD = 0, 1, 2


def handle(stream: Any) -> int:
    """The number of a stream of PyTorch, CuPy, Numba, or anything with ``__cuda_stream__``."""
    if isinstance(stream, int):
        return stream
    for name in ("cuda_stream", "ptr"):  # PyTorch, CuPy
        if hasattr(stream, name):
            return int(getattr(stream, name))
    if hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        return int((protocol() if callable(protocol) else protocol)[1])
    number = getattr(stream, "handle", None)  # Numba
    if number is None:
        raise TypeError(f"stream must be a CUDA stream or its handle, got {type(stream).__name__}")
    return int(getattr(number, "value", number) or 0)


def launch_stream(views: Sequence[View], stream: Any) -> int:
    """The handle of the stream to launch on: the one given, or the first array's.

    What was queued for the other arrays on their streams is waited for, on the GPU: the caller goes
    on at once.
    """
    streams = [_DEFAULT if v.stream == _LEGACY else v.stream for v in views]
    queued = [s for s in dict.fromkeys(streams) if s is not None]
    chosen = handle(stream) if stream is not None else streams[0] or _DEFAULT
    chosen = _DEFAULT if chosen == _LEGACY else chosen
    if not simulated():
        for other in queued:
            if other != chosen:
                _wait(numba_stream(other), numba_stream(chosen))
    return chosen


def _wait(before: Any, after: Any) -> None:
    """Let one stream wait for what is queued on another."""
    from numba import cuda

    event = cuda.event(timing=False)
    event.record(before)
    event.wait(after)


def allocating_on(like: Any, stream: Any) -> contextlib.AbstractContextManager[Any]:
    """While it lasts, memory of new arrays is used, and once free used again, on this stream."""
    library, known = _library(like), library_of(type(like))
    if stream is None or library not in ("torch", "cupy") or known is None:
        return contextlib.nullcontext()
    number = handle(stream)
    if number == known.stream(like.device.index if library == "torch" else like.device.id):
        return contextlib.nullcontext()
    cuda = sys.modules[library].cuda
    if library == "cupy":
        return cuda.ExternalStream(number)
    # An external stream of PyTorch's with the number 0 would be one of its own.
    wanted = cuda.ExternalStream(number) if number else cuda.default_stream(like.device)
    return cuda.stream(wanted)


@functools.lru_cache(64)
def numba_stream(number: int) -> Any:
    """Numba's object for the stream with this handle."""
    from numba import cuda

    if number == _DEFAULT or simulated():
        return 0
    if number == PER_THREAD:
        return cuda.per_thread_default_stream()
    return cuda.external_stream(number)


# --- shapes -------------------------------------------------------------------------------------


def broadcast(function: str, of: View, shape: tuple[int, ...]) -> View:
    """The array with another shape, as NumPy broadcasts. Raises ValueError if that does not fit."""
    missing = len(shape) - len(of.shape)
    strides = [0] * missing
    fits = missing >= 0
    for length, step, wanted in zip(of.shape, of.strides, shape[max(missing, 0) :], strict=False):
        fits = fits and length in (1, wanted)
        strides.append(0 if length == 1 else step)
    if not fits:
        raise ValueError(f"{function}: shape {of.shape} cannot be broadcast to {shape}")
    return dataclasses.replace(of, shape=shape, strides=tuple(strides))


def broadcast_shape(function: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Of all of these shapes. Raises ValueError if they do not fit."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(map(str, shapes))
        raise ValueError(f"{function}: shapes {listed} cannot be broadcast") from None


def collapsed(views: Sequence[View]) -> tuple[list[int], list[list[int]]]:
    """Dimensions and each array's strides, with as few dimensions as will do.

    The arrays are of one shape. The order is that of the last one's memory.
    """
    order = [d for d, length in enumerate(views[-1].shape) if length != 1]
    order.sort(key=lambda d: -abs(views[-1].strides[d]))
    lengths: list[int] = []
    strides: list[list[int]] = [[] for _ in views]
    for d in order:
        length = views[-1].shape[d]
        steps = [v.strides[d] for v in views]
        merges = bool(lengths) and all(
            s[-1] == step * length for s, step in zip(strides, steps, strict=True)
        )
        if merges:
            lengths[-1] *= length
        else:
            lengths.append(length)
        for s, step in zip(strides, steps, strict=True):
            if merges:
                s[-1] = step
            else:
                s.append(step)
    return lengths or [1], [s or [v.kind.itemsize] for s, v in zip(strides, views, strict=True)]


def overlaps(a: View, b: View) -> bool:
    """Whether two arrays may share memory other than element by element."""
    if a.pointer == b.pointer and a.strides == b.strides and a.shape == b.shape:
        return False
    (low_a, high_a), (low_b, high_b) = span(a), span(b)
    distance = b.pointer - a.pointer
    apart = low_a >= high_b + distance or low_b + distance >= high_a
    if apart or not a.size or not b.size:
        return False
    try:
        work: Any = 100_000
        return np.shares_memory(_Addresses(a).array, _Addresses(b).array, max_work=work)
    except np.exceptions.TooHardError:
        return True


class _Addresses:
    """The same addresses as an array of NumPy's, which nobody reads."""

    def __init__(self, of: View) -> None:
        self.__array_interface__ = {
            "version": 3,
            "shape": of.shape,
            "strides": of.strides,
            "typestr": f"|V{of.kind.itemsize}",
            "data": (of.pointer, True),
        }

    @property
    def array(self) -> Any:
        return np.asarray(self)


def span(of: View) -> tuple[int, int]:
    """The bytes that an array's elements lie in, from its address on: the first, and one more than
    the last.
    """
    spans = [step * (n - 1) for n, step in zip(of.shape, of.strides, strict=True)]
    return sum(min(s, 0) for s in spans), sum(max(s, 0) for s in spans) + of.kind.itemsize
