"""What machine code needs and plain Python cannot say, each as a small Numba intrinsic.

Memory is addressed by plain integers: an address is an ``int64``, a *word* is eight bytes. Only the
inner loops over array elements use typed pointers, because LLVM vectorizes those best.

Importing this module imports Numba; only code that is about to be compiled does so.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastact.cpu.compiler import X86

#: ``void (char **args, npy_intp *dimensions, npy_intp *steps, void *data)``
LOOP_SIGNATURE = types.void(
    types.CPointer(types.CPointer(types.uint8)),
    types.CPointer(types.intp),
    types.CPointer(types.intp),
    types.CPointer(types.uint8),
)

_word = ir.IntType(64)
_byte = ir.IntType(8)
_void = ir.VoidType()


def _pointer(builder: Any, address: Any, pointee: Any) -> Any:
    return builder.inttoptr(address, pointee.as_pointer())


def _llvm_call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """A call of an LLVM intrinsic or library function by name."""
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, arguments)


# --- typed pointers of the inner loops ----------------------------------------------------------


@intrinsic
def operand(typingctx, args, index, dtype):
    """``args[index]`` of an inner loop, as a pointer to ``dtype``."""
    pointer = types.CPointer(dtype.dtype)

    def codegen(context, builder, signature, arguments):
        slot = builder.gep(arguments[0], [arguments[1]])
        return builder.bitcast(builder.load(slot), context.get_value_type(pointer))

    return pointer(args, types.intp, dtype), codegen


@intrinsic
def shifted(typingctx, pointer, nbytes):
    """``pointer`` moved by ``nbytes``, whatever its element type."""

    def codegen(context, builder, signature, arguments):
        start = builder.bitcast(arguments[0], _byte.as_pointer())
        return builder.bitcast(builder.gep(start, [arguments[1]]), arguments[0].type)

    return pointer(pointer, types.intp), codegen


@intrinsic
def select(typingctx, condition, if_true, if_false):
    """``if_true if condition else if_false`` as one instruction, both being values already.

    A conditional expression would compile to branches. The ``freeze`` matters in place: without it
    LLVM sees that one choice stores what was loaded, leaves that store out, and vectorizes the rest
    to masked stores, which some CPUs run in microcode (relu of 10 000 float32 in place on an AMD
    Zen 3: 3.9 times slower).
    """

    def codegen(context, builder, signature, arguments):
        chosen = builder.select(*arguments)
        # llvmlite has no builder.freeze.
        frozen = ir.instructions.Instruction(builder.block, chosen.type, "freeze", [chosen])
        builder._insert(frozen)
        return frozen

    return if_true(types.boolean, if_true, if_true), codegen


# --- half precision -----------------------------------------------------------------------------


@intrinsic
def float16_to_float32(typingctx, bits):
    """The float16 with these bits as a float32, by the CPU's own conversion."""

    def codegen(context, builder, signature, arguments):
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), codegen


@intrinsic
def float32_to_float16(typingctx, value):
    """The bits of the nearest float16, ties to even, by the CPU's own conversion."""

    def codegen(context, builder, signature, arguments):
        half = builder.fptrunc(arguments[0], ir.HalfType())
        return builder.bitcast(half, ir.IntType(16))

    return types.uint16(types.float32), codegen


@intrinsic
def float32_bits(typingctx, value):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), codegen


@intrinsic
def float32_from_bits(typingctx, bits):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), codegen


# --- words in memory ----------------------------------------------------------------------------


@intrinsic
def address(typingctx, pointer):
    def codegen(context, builder, signature, arguments):
        return builder.ptrtoint(arguments[0], _word)

    return types.int64(pointer), codegen


@intrinsic
def word(typingctx, base, index):
    """The word number ``index`` after the address ``base``."""

    def codegen(context, builder, signature, arguments):
        return builder.load(builder.gep(_pointer(builder, arguments[0], _word), [arguments[1]]))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def set_word(typingctx, base, index, value):
    def codegen(context, builder, signature, arguments):
        slot = builder.gep(_pointer(builder, arguments[0], _word), [arguments[1]])
        builder.store(arguments[2], slot)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def copy_words(typingctx, destination, source, count):
    def codegen(context, builder, signature, arguments):
        to, source = (_pointer(builder, a, _byte) for a in arguments[:2])
        nbytes = builder.shl(arguments[2], ir.Constant(_word, 3))
        cgutils.raw_memcpy(builder, to, source, nbytes, 1, align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def stack(nbytes: int) -> Any:
    """An intrinsic that gives the address of ``nbytes`` on the stack, aligned to a cache line."""

    @intrinsic
    def allocate(typingctx):
        def codegen(context, builder, signature, arguments):
            # In the entry block, because inside a loop it would grow the stack. Numba's alloca_once
            # would fill it with zeros at every call (and LLVM would think for 1.5 s about 4 KiB).
            with builder.goto_entry_block():
                memory = builder.alloca(ir.ArrayType(_byte, nbytes))
            memory.align = 64
            return builder.ptrtoint(memory, _word)

        return types.int64(), codegen

    return allocate


# --- atomics ------------------------------------------------------------------------------------


@intrinsic
def atomic_load(typingctx, where):
    def codegen(context, builder, signature, arguments):
        return builder.load_atomic(
            _pointer(builder, arguments[0], _word), ordering="acquire", align=8
        )

    return types.int64(types.int64), codegen


@intrinsic
def atomic_store(typingctx, where, value):
    def codegen(context, builder, signature, arguments):
        builder.store_atomic(
            arguments[1], _pointer(builder, arguments[0], _word), ordering="seq_cst", align=8
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def atomic_add(typingctx, where, value):
    """Add, and return what was there before."""

    def codegen(context, builder, signature, arguments):
        slot = _pointer(builder, arguments[0], _word)
        return builder.atomic_rmw("add", slot, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def compare_and_swap(typingctx, where, expected, new):
    """Store ``new`` if ``expected`` is there; whether it was."""

    def codegen(context, builder, signature, arguments):
        slot = _pointer(builder, arguments[0], _word)
        pair = builder.cmpxchg(slot, arguments[1], arguments[2], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


# --- calls through addresses --------------------------------------------------------------------


@intrinsic
def call_loop(typingctx, function, args, dimensions, steps, data):
    """Call an inner loop, ``void (char **, npy_intp *, npy_intp *, void *)``, by its address."""

    def codegen(context, builder, signature, arguments):
        function_type = ir.FunctionType(_void, [_word] * 4)
        builder.call(_pointer(builder, arguments[0], function_type), arguments[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen


@intrinsic
def call_c(typingctx, function, a, b, c, d, e, f, g, h):
    """Call a C function of at most eight integer arguments by its address.

    Arguments that the function does not have are ignored by it in every calling convention in use.
    Also good for the variadic ``syscall``: on x86-64 and AArch64 Linux, integers are passed to a
    variadic function as to any other.
    """

    def codegen(context, builder, signature, arguments):
        function_type = ir.FunctionType(_word, [_word] * 8)
        return builder.call(_pointer(builder, arguments[0], function_type), arguments[1:])

    return types.int64(*[types.int64] * 9), codegen


# --- the processor ------------------------------------------------------------------------------


@intrinsic
def pause(typingctx):
    """Tell the core that this is a spinning loop."""

    def codegen(context, builder, signature, arguments):
        if X86:
            _llvm_call(builder, "llvm.x86.sse2.pause", _void, [])
        elif platform.machine().lower() in ("arm64", "aarch64"):
            _llvm_call(builder, "llvm.aarch64.hint", _void, [ir.Constant(ir.IntType(32), 1)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def float_state(typingctx):
    """The floating-point unit's modes and sticky flags, for ``set_float_state``."""

    def codegen(context, builder, signature, arguments):
        if not X86:
            flags = cgutils.alloca_once_value(builder, ir.Constant(_word, 0))
            everything = ir.Constant(ir.IntType(32), -1)
            _llvm_call(builder, "fegetexceptflag", ir.IntType(32), [flags, everything])
            return builder.load(flags)
        slot = cgutils.alloca_once(builder, ir.IntType(32))
        opaque = builder.bitcast(slot, _byte.as_pointer())
        _llvm_call(builder, "llvm.x86.sse.stmxcsr", _void, [opaque])
        return builder.zext(builder.load(slot), _word)

    return types.int64(), codegen


@intrinsic
def set_float_state(typingctx, state):
    def codegen(context, builder, signature, arguments):
        if not X86:
            flags = cgutils.alloca_once_value(builder, arguments[0])
            everything = ir.Constant(ir.IntType(32), -1)
            _llvm_call(builder, "fesetexceptflag", ir.IntType(32), [flags, everything])
            return context.get_dummy_value()
        slot = cgutils.alloca_once(builder, ir.IntType(32))
        builder.store(builder.trunc(arguments[0], ir.IntType(32)), slot)
        opaque = builder.bitcast(slot, _byte.as_pointer())
        _llvm_call(builder, "llvm.x86.sse.ldmxcsr", _void, [opaque])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


LINE = 64
_vector = ir.VectorType(_word, 4)


@intrinsic
def stream_line(typingctx, destination, source):
    """Copy one cache line (both aligned to it) past the caches, by non-temporal stores."""

    def codegen(context, builder, signature, arguments):
        to, source = (_pointer(builder, a, _vector) for a in arguments)
        hint = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        vectors = [
            builder.load(builder.gep(source, [ir.Constant(_word, i)]), align=32) for i in (0, 1)
        ]
        for i, vector in enumerate(vectors):
            store = builder.store(vector, builder.gep(to, [ir.Constant(_word, i)]), align=32)
            store.set_metadata("nontemporal", hint)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def stream_fence(typingctx):
    """Order non-temporal stores before everything that follows."""

    def codegen(context, builder, signature, arguments):
        if X86:
            _llvm_call(builder, "llvm.x86.sse.sfence", _void, [])
        else:
            builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen
