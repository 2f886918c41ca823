"""What machine code needs and plain Python cannot say, each as a small Numba intrinsic.

Inner loops use typed pointers, because LLVM vectorizes those best.

Importing this module imports Numba; only code that is about to be compiled does so.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastact.cpu import arithmetic, words
from fastact.cpu.arithmetic import frozen

#: ``void (char **args, npy_intp *dimensions, npy_intp *steps, void *data)``
LOOP_SIGNATURE = types.void(
    types.CPointer(types.CPointer(types.uint8)),
    types.CPointer(types.intp),
    types.CPointer(types.intp),
    types.CPointer(types.uint8),
)

#: What the source of loops uses.
FOR_LOOPS = (
    *("address", "at", "load", "operand", "same_or_apart", "select", "shifted", "store", "word"),
    *("absolute", "copysign", "fma", "power_of_two", "product_low", "scale", "sqrt"),
    *("exponent", "mantissa", "maximum", "plus_any_order", "transpose8"),
    *("eight_wide", "eight_wide_twice", "independent", "interleaved"),
    *("stream_fence", "stream_line", "stream_sixteen"),
    *("relu_eight", "relu_eight_streamed", "kept_eight", "kept_eight_streamed"),
)

_word = ir.IntType(64)
_byte = ir.IntType(8)


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
        return frozen(builder, builder.select(*arguments))

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


# --- memory, as integers and as pointers --------------------------------------------------------


@intrinsic
def address(typingctx, pointer):
    def codegen(context, builder, signature, arguments):
        return builder.ptrtoint(arguments[0], _word)

    return types.int64(pointer), codegen


@intrinsic
def at(typingctx, where, dtype):
    """The address ``where`` as a pointer to ``dtype``."""
    pointer = types.CPointer(dtype.dtype)

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(types.int64, dtype), codegen


@intrinsic
def word(typingctx, base, index):
    """The word number ``index`` after the address ``base``."""

    def codegen(context, builder, signature, arguments):
        return words.word.emit(builder, *arguments)

    return types.int64(types.int64, types.int64), codegen


# --- stores past the caches ---------------------------------------------------------------------


def _copy(emit: Any) -> Any:
    @intrinsic
    def copy(typingctx, destination, source):
        def codegen(context, builder, signature, arguments):
            emit(builder, *arguments)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return copy


stream_line, stream_sixteen = _copy(words.stream_line.emit), _copy(words.stream_sixteen.emit)


@intrinsic
def stream_fence(typingctx):
    """Order non-temporal stores before everything that follows."""

    def codegen(context, builder, signature, arguments):
        words.stream_fence.emit(builder)
        return context.get_dummy_value()

    return types.void(), codegen


# --- arithmetic of elementary functions -----------------------------------------------------------


def _of_one(emit: Any) -> Any:
    @intrinsic
    def function(typingctx, x):
        def codegen(context, builder, signature, arguments):
            return emit(builder, *arguments)

        return x(x), codegen

    return function


def _of_two(emit: Any) -> Any:
    @intrinsic
    def function(typingctx, x, y):
        def codegen(context, builder, signature, arguments):
            return emit(builder, *arguments)

        return x(x, x), codegen

    return function


def _of_three(emit: Any) -> Any:
    @intrinsic
    def function(typingctx, x, y, z):
        def codegen(context, builder, signature, arguments):
            return emit(builder, *arguments)

        return x(x, x, x), codegen

    return function


absolute, sqrt = _of_one(arithmetic.absolute), _of_one(arithmetic.sqrt)
exponent, mantissa = _of_one(arithmetic.exponent), _of_one(arithmetic.mantissa)
power_of_two = _of_one(arithmetic.power_of_two)
copysign, maximum = _of_two(arithmetic.copysign), _of_two(arithmetic.maximum)
scale = _of_two(arithmetic.scale)
fma, product_low = _of_three(arithmetic.fma), _of_three(arithmetic.product_low)


# --- loops that LLVM vectorizes -------------------------------------------------------------------

_int = ir.IntType(32)


class _AccessGroup(ir.values.MDValue):  # type: ignore[misc]
    """``distinct !{}``, which llvmlite cannot write."""

    def descr(self, buffer: Any) -> None:
        buffer += ("distinct !{}\n",)


def _access_group(module: Any) -> Any:
    """What marks a module's accesses to the operands of its independent loops."""
    for value in module.metadata:
        if isinstance(value, _AccessGroup):
            return value
    return _AccessGroup(module, [], name=str(len(module.metadata)))


@intrinsic
def load(typingctx, pointer, index):
    """``pointer[index]`` in a loop that ends with ``independent``."""

    def codegen(context, builder, signature, arguments):
        value = builder.load(builder.gep(arguments[0], [arguments[1]]))
        value.set_metadata("llvm.access.group", _access_group(builder.module))
        return value

    return pointer.dtype(pointer, types.intp), codegen


@intrinsic
def store(typingctx, pointer, index, value):
    """``pointer[index] = value`` in a loop that ends with ``independent``."""

    def codegen(context, builder, signature, arguments):
        pointer, index, value = arguments
        done = builder.store(value, builder.gep(pointer, [index]))
        done.set_metadata("llvm.access.group", _access_group(builder.module))
        return context.get_dummy_value()

    return types.void(pointer, types.intp, pointer.dtype), codegen


@intrinsic
def same_or_apart(typingctx, a, b, nbytes):
    """Whether two arrays of ``nbytes`` are the very same or have nothing in common."""

    def codegen(context, builder, signature, arguments):
        a, b, nbytes = arguments
        distance = builder.sub(builder.ptrtoint(a, _word), builder.ptrtoint(b, _word))
        same = builder.icmp_signed("==", distance, _word(0))
        after = builder.icmp_signed(">=", distance, nbytes)
        before = builder.icmp_signed("<=", distance, builder.neg(nbytes))
        return builder.or_(same, builder.or_(after, before))

    return types.boolean(a, b, types.intp), codegen


def _independent(**hints: int | None) -> Any:
    """What stands at the end of a loop, with hints to LLVM as in Clang's ``#pragma clang loop``."""

    @intrinsic
    def independent(typingctx):
        def codegen(context, builder, signature, arguments):
            branch = builder.branch

            def annotated(target: Any) -> Any:
                del builder.branch  # the method again
                module = builder.module
                group = _access_group(module)
                properties = [module.add_metadata(["llvm.loop.parallel_accesses", group])]
                for name, value in hints.items():
                    hint = [f"llvm.loop.{name.replace('_', '.')}"]
                    hint += [] if value is None else [ir.Constant(_int, value)]
                    properties.append(module.add_metadata(hint))
                loop = ir.values.MDValue(module, properties, name=str(len(module.metadata)))
                loop.operands = (loop, *properties)  # what names a loop refers to itself
                jump = branch(target)
                jump.set_metadata("llvm.loop", loop)
                return jump

            builder.branch = annotated
            return context.get_dummy_value()

        return types.void(), codegen

    return independent


#: As the last statement of a loop: no iteration reads what another one writes. That is so where
#: operands are the very same or apart, which LLVM cannot know: it would guard the vectorized loop
#: with a test for overlap, and fall back to scalar code in place.
independent = _independent()

#: The same, and LLVM shall work on four vectors in turn. Long formulas are bound by the latency of
#: their operations: the next vector's do not fit into the CPU's scheduler. LLVM interleaves only
#: loops that it considers short.
interleaved = _independent(interleave_count=4)

#: Eight numbers at once, whatever the widest type in the loop is: where float32 numbers are summed
#: in float64, LLVM would take four.
#: It shall not unroll a loop of eight before.
eight_wide = _independent(vectorize_width=8, interleave_count=1, unroll_disable=None)
eight_wide_twice = _independent(vectorize_width=8, interleave_count=2)


# --- rows ---------------------------------------------------------------------------------------


@intrinsic
def plus_any_order(typingctx, total, value):
    """total + value, in a loop that sums, which may be vectorized: the order does not matter."""

    def codegen(context, builder, signature, arguments):
        return builder.fadd(*arguments, flags=("reassoc",))

    return total(total, total), codegen


@intrinsic
def transpose8(typingctx, source, source_step, target, target_step):
    """Copy eight rows of eight numbers, steps being in bytes, so that they become columns."""

    def codegen(context, builder, signature, arguments):
        source, source_step, target, target_step = arguments
        number = source.type.pointee
        vector = ir.VectorType(number, 8)
        size = 4 if number == ir.FloatType() else 8

        def row(pointer: Any, step: Any, index: int) -> Any:
            offset = builder.mul(step, _word(index))
            start = builder.gep(builder.bitcast(pointer, _byte.as_pointer()), [offset])
            return builder.bitcast(start, vector.as_pointer())

        def shuffled(a: Any, b: Any, lanes: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(_int, 8), lanes)
            return builder.shuffle_vector(a, b, mask)

        rows = [builder.load(row(source, source_step, i), align=size) for i in range(8)]
        # Pairs, fours, halves: within 128 bits first, which is cheap.
        for distance, lanes in (
            (1, ([0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15])),
            (2, ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])),
            (4, ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])),
        ):
            paired = list(rows)
            for i in range(8):
                if not i & distance:
                    a, b = rows[i], rows[i | distance]
                    paired[i] = shuffled(a, b, lanes[0])
                    paired[i | distance] = shuffled(a, b, lanes[1])
            rows = paired
        # Where the three steps have put the columns.
        for i, column in enumerate((0, 2, 1, 3, 4, 6, 5, 7)):
            builder.store(rows[i], row(target, target_step, column), align=size)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen


def stack_array(dtype: Any, count: int) -> Any:
    """An intrinsic that gives a pointer to ``count`` numbers on the stack."""
    pointer = types.CPointer(dtype)

    @intrinsic
    def allocate(typingctx):
        def codegen(context, builder, signature, arguments):
            with builder.goto_entry_block():
                memory = builder.alloca(ir.ArrayType(context.get_value_type(dtype), count))
            memory.align = 64
            return builder.bitcast(memory, context.get_value_type(pointer))

        return pointer(), codegen

    return allocate


# --- bit masks ----------------------------------------------------------------------------------


def _eight(builder: Any, pointer: Any, index: Any) -> Any:
    """The place of eight numbers, as a pointer to a vector."""
    place = builder.gep(pointer, [index])
    return builder.bitcast(place, ir.VectorType(pointer.type.pointee, 8).as_pointer())


def _store_eight(builder: Any, vector: Any, place: Any, streamed: bool) -> None:
    if not streamed:
        builder.store(vector, place, align=2)
        return
    done = builder.store(vector, place, align=16)
    done.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_int, 1)]))


def _relu_eight(streamed: bool) -> Any:
    @intrinsic
    def relu_eight(typingctx, x, y, index, infinity):
        """y = relu(x) for eight numbers; a bit for each that is positive.

        ``infinity``: the bits of infinity where numbers are stored as their 16 bits, else 0.
        """

        def codegen(context, builder, signature, arguments):
            x, y, index, infinity = arguments
            vector = builder.load(_eight(builder, x, index), align=2)
            zero = ir.Constant(vector.type, None)
            if isinstance(vector.type.element, ir.IntType):
                top = [ir.Constant(ir.IntType(16), 0x7FFF)] * 8
                magnitude = builder.and_(vector, ir.Constant(vector.type, top))
                limit = ir.Constant(vector.type, ir.Undefined)
                for lane in range(8):
                    limit = builder.insert_element(limit, infinity, ir.Constant(_int, lane))
                finite = builder.icmp_unsigned("<=", magnitude, limit)
                positive = builder.and_(finite, builder.icmp_signed(">", vector, zero))
                kept = builder.or_(builder.not_(finite), positive)
            else:
                positive = builder.fcmp_ordered(">", vector, zero)
                kept = builder.not_(builder.fcmp_ordered("<=", vector, zero))
            result = builder.select(kept, vector, zero)
            _store_eight(builder, result, _eight(builder, y, index), streamed)
            return builder.bitcast(positive, ir.IntType(8))

        return types.uint8(x, y, types.intp, types.uint16), codegen

    return relu_eight


def _kept_eight(streamed: bool) -> Any:
    @intrinsic
    def kept_eight(typingctx, x, y, index, bits):
        """y = x for those of eight numbers whose bit is 1, else 0."""

        def codegen(context, builder, signature, arguments):
            x, y, index, bits = arguments
            vector = builder.load(_eight(builder, x, index), align=2)
            kept = builder.bitcast(bits, ir.VectorType(ir.IntType(1), 8))
            result = builder.select(kept, vector, ir.Constant(vector.type, None))
            _store_eight(builder, result, _eight(builder, y, index), streamed)
            return context.get_dummy_value()

        return types.void(x, y, types.intp, types.uint8), codegen

    return kept_eight


#: With ordinary stores, and with non-temporal ones to addresses that are multiples of 16.
relu_eight, relu_eight_streamed = _relu_eight(False), _relu_eight(True)
kept_eight, kept_eight_streamed = _kept_eight(False), _kept_eight(True)
