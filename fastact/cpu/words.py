"""Memory, atomics, calls by address and the processor's state, as LLVM instructions.

Memory is addressed by plain integers: an address is an ``int64``, a *word* is eight bytes. What is
here are the instructions of the functions that ``integers`` translates, driver and recycler;
``intrinsics`` makes functions of Numba's out of some of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from fastact.cpu.target import ARM, X86

__all__ = [
    "LINE",
    "Instruction",
    "add_eight_float32",
    "add_eight_float64",
    "add_float32",
    "add_float64",
    "atomic_add",
    "atomic_load",
    "atomic_store",
    "call",
    "call_c",
    "call_loop",
    "compare_and_swap",
    "copy_words",
    "float_state",
    "instruction",
    "pause",
    "set_float32",
    "set_float_state",
    "set_word",
    "stack",
    "stream_fence",
    "stream_line",
    "stream_sixteen",
    "word",
]

_word = ir.IntType(64)
_int = ir.IntType(32)
_byte = ir.IntType(8)
_void = ir.VoidType()


@dataclasses.dataclass(frozen=True)
class Instruction:
    """What stands for LLVM instructions in functions that ``integers`` translates.

    ``emit`` takes a builder and the arguments as LLVM's values. Its result is an ``int64``, a truth
    value, or None.
    """

    emit: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        raise TypeError(f"{self.emit.__name__} can only be compiled")


instruction = Instruction


def call(builder: Any, name: str, result: Any, arguments: Sequence[Any], **flags: Any) -> Any:
    """A call of an LLVM intrinsic or library function by name."""
    function = builder.module.globals.get(name)
    if function is None:
        function_type = ir.FunctionType(result, [a.type for a in arguments])
        function = ir.Function(builder.module, function_type, name)
    return builder.call(function, arguments, **flags)


def _pointer(builder: Any, address: Any, pointee: Any) -> Any:
    return builder.inttoptr(address, pointee.as_pointer())


def _place(builder: Any, base: Any, index: Any, of: Any) -> Any:
    """Element ``index`` of an array of ``of`` that begins at the address ``base``."""
    return builder.gep(_pointer(builder, base, of), [index])


# --- memory -------------------------------------------------------------------------------------


@instruction
def word(builder, base, index):
    """The word number ``index`` after the address ``base``."""
    return builder.load(_place(builder, base, index, _word))


@instruction
def set_word(builder, base, index, value):
    builder.store(value, _place(builder, base, index, _word))


@instruction
def copy_words(builder, destination, source, count):
    to, source = (_pointer(builder, address, _byte) for address in (destination, source))
    nbytes = builder.shl(count, ir.Constant(_word, 3))
    copy = builder.module.declare_intrinsic("llvm.memcpy", [to.type, source.type, _word])
    builder.call(copy, [to, source, nbytes, ir.Constant(ir.IntType(1), 0)])


def stack(nbytes: int) -> Instruction:
    """The address of ``nbytes`` on the stack, aligned to a cache line."""

    def allocate(builder):
        # In the entry block, because inside a loop it would grow the stack.
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(_byte, nbytes))
        memory.align = 64
        return builder.ptrtoint(memory, _word)

    return Instruction(allocate)


_single, _double = ir.FloatType(), ir.DoubleType()


def _add_floats(number: Any, total: Any) -> Instruction:
    """``number`` and ``total`` are the types of what is added, and of what it is added to."""

    def add_floats(builder, totals, numbers):
        slot = _pointer(builder, totals, total)
        term = builder.load(_pointer(builder, numbers, number), align=4)
        if number != total:
            term = builder.fpext(term, total)
        builder.store(builder.fadd(builder.load(slot, align=8), term), slot, align=8)

    return Instruction(add_floats)


#: Add numbers, from one address on, to the float64 numbers from another one on: one, or eight.
add_float32, add_float64 = _add_floats(_single, _double), _add_floats(_double, _double)
add_eight_float32 = _add_floats(ir.VectorType(_single, 8), ir.VectorType(_double, 8))
add_eight_float64 = _add_floats(ir.VectorType(_double, 8), ir.VectorType(_double, 8))


@instruction
def set_float32(builder, where, total):
    """Round the float64 at the address ``total``, and store it."""
    number = builder.fptrunc(builder.load(_pointer(builder, total, _double)), _single)
    builder.store(number, _pointer(builder, where, _single))


# --- atomics ------------------------------------------------------------------------------------


@instruction
def atomic_load(builder, where):
    return builder.load_atomic(_pointer(builder, where, _word), ordering="acquire", align=8)


@instruction
def atomic_store(builder, where, value):
    builder.store_atomic(value, _pointer(builder, where, _word), ordering="seq_cst", align=8)


@instruction
def atomic_add(builder, where, value):
    """Add, and return what was there before."""
    return builder.atomic_rmw("add", _pointer(builder, where, _word), value, "seq_cst")


@instruction
def compare_and_swap(builder, where, expected, new):
    """Store ``new`` if ``expected`` is there; whether it was."""
    slot = _pointer(builder, where, _word)
    return builder.extract_value(builder.cmpxchg(slot, expected, new, "seq_cst", "seq_cst"), 1)


# --- calls through addresses --------------------------------------------------------------------


@instruction
def call_loop(builder, function, args, dimensions, steps, data):
    """Call an inner loop, ``void (char **, npy_intp *, npy_intp *, void *)``, by its address."""
    function_type = ir.FunctionType(_void, [_word] * 4)
    builder.call(_pointer(builder, function, function_type), [args, dimensions, steps, data])


@instruction
def call_c(builder, function, *arguments):
    """Call a C function of integers by its address.

    Also good for the variadic ``syscall``: on x86-64 and AArch64 Linux, integers are passed to a
    variadic function as to any other.
    """
    function_type = ir.FunctionType(_word, [_word] * len(arguments))
    return builder.call(_pointer(builder, function, function_type), arguments)


# --- the processor ------------------------------------------------------------------------------


@instruction
def pause(builder):
    """Tell the core that this is a spinning loop."""
    if X86:
        call(builder, "llvm.x86.sse2.pause", _void, [])
    elif ARM:
        call(builder, "llvm.aarch64.hint", _void, [ir.Constant(_int, 1)])


#: For the functions that read and write floating-point flags, where there is no instruction.
_EVERYTHING = ir.Constant(_int, -1)


@instruction
def float_state(builder):
    """The floating-point unit's modes and sticky flags, for ``set_float_state``."""
    if not X86:
        flags = _variable(builder, _word)
        builder.store(ir.Constant(_word, 0), flags)
        call(builder, "fegetexceptflag", _int, [flags, _EVERYTHING])
        return builder.load(flags)
    slot = _variable(builder, _int)
    call(builder, "llvm.x86.sse.stmxcsr", _void, [builder.bitcast(slot, _byte.as_pointer())])
    return builder.zext(builder.load(slot), _word)


@instruction
def set_float_state(builder, state):
    if not X86:
        flags = _variable(builder, _word)
        builder.store(state, flags)
        call(builder, "fesetexceptflag", _int, [flags, _EVERYTHING])
        return
    slot = _variable(builder, _int)
    builder.store(builder.trunc(state, _int), slot)
    call(builder, "llvm.x86.sse.ldmxcsr", _void, [builder.bitcast(slot, _byte.as_pointer())])


def _variable(builder: Any, kind: Any) -> Any:
    with builder.goto_entry_block():
        return builder.alloca(kind)


# --- stores past the caches ---------------------------------------------------------------------

LINE = 64
_half_line = ir.VectorType(_word, 4)
_sixteen = ir.VectorType(_int, 4)


@instruction
def stream_line(builder, destination, source):
    """Copy a cache line, aligned as such, past the caches; the source is aligned to 16 bytes."""
    halves = [ir.Constant(_word, i) for i in range(2)]
    vectors = [builder.load(_place(builder, source, i, _half_line), align=16) for i in halves]
    for i, vector in zip(halves, vectors, strict=True):
        _stream(builder, vector, _place(builder, destination, i, _half_line), 32)


@instruction
def stream_sixteen(builder, destination, source):
    """Copy 16 bytes to an address that is a multiple of 16, with a non-temporal store."""
    vector = builder.load(_pointer(builder, source, _sixteen), align=16)
    _stream(builder, vector, _pointer(builder, destination, _sixteen), 16)


def _stream(builder: Any, vector: Any, place: Any, align: int) -> None:
    store = builder.store(vector, place, align=align)
    store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_int, 1)]))


@instruction
def stream_fence(builder):
    """Order non-temporal stores before everything that follows."""
    if X86:
        call(builder, "llvm.x86.sse.sfence", _void, [])
    else:
        builder.fence("seq_cst")
