"""Elementwise loops of explicit vectors, instead of what LLVM's vectorizer makes of scalar ones.

The source of a formula is run once, in Python, on ``Value`` objects: each operation emits the
instruction that does it, for all the vectors that the loop works on in turn. So the vectors are
those that were meant, and a formula may use instructions that no vectorizer finds, such as looking
numbers up in registers (``piecewise``), or leave out what no number of a vector needs (``either``).

A loop has two bodies: one for several whole vectors in turn, and one for a single vector of which
only some elements may be read and written, to which short arrays and the ends of long ones are
left. Operands that are not contiguous have a loop of single elements, made in the same way.

Importing this module imports Numba.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from fastact.catalogue.dtypes import Kind
from fastact.cpu import arithmetic
from fastact.cpu.arithmetic import constant, frozen, suffix

__all__ = ["VECTOR_BYTES", "Elementwise", "elementwise", "for_rows"]

#: Of numbers in the type that is computed in.
VECTOR_BYTES = 64

_int = ir.IntType(32)
_word = ir.IntType(64)
_FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """What a loop computes: ``source`` defines the functions ``names``, one for each output.

    ``kinds`` are those of the operands, inputs first; ``compute``, float32 or float64, is what they
    are computed in. ``together``: how many vectors are worked on in turn.
    """

    source: str
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    compute: str
    together: int

    @property
    def inputs(self) -> range:
        return range(len(self.kinds) - len(self.names))

    @property
    def outputs(self) -> range:
        return range(len(self.inputs), len(self.kinds))

    @property
    def number(self) -> Any:
        """LLVM's type of what is computed."""
        return _FLOATS[self.compute]


def elementwise(of: Elementwise) -> dict[str, Any]:
    """What the source of an inner loop may call to go through ``n`` elements.

    ``vectors(args, n, scalars)``: those of contiguous operands; the inputs whose bit in the literal
    number ``scalars`` is 1 are a single number. ``elements(args, steps, n)``: those of any.
    """

    @intrinsic(prefer_literal=True)
    def vectors(typingctx, args, n, scalars):  # type: ignore[no-untyped-def]
        alone = {k for k in of.inputs if scalars.literal_value >> k & 1}

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _Loop(of, builder, arguments[0]).vectors(arguments[1], alone)
            return context.get_dummy_value()

        return types.void(args, types.intp, scalars), codegen

    @intrinsic
    def elements(typingctx, args, steps, n):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _Loop(of, builder, arguments[0]).elements(*arguments[1:])
            return context.get_dummy_value()

        return types.void(args, steps, types.intp), codegen

    return {"vectors": vectors, "elements": elements}


# --- loops --------------------------------------------------------------------------------------


class _Loop:
    """Emits loops into a function that Numba compiles."""

    def __init__(self, of: Elementwise, builder: Any, args: Any) -> None:
        self.of = of
        self.builder = builder
        self.starts = [builder.load(builder.gep(args, [_word(k)])) for k in range(len(of.kinds))]
        self.stored_types = [_stored_type(kind) for kind in of.kinds]

    def vectors(self, n: Any, alone: set[int]) -> None:
        builder, of = self.builder, self.of
        numbers = {k: self.number(k, self.place(k, _word(0))) for k in alone}
        vector = _vector(of.number)
        lanes = vector.count
        whole = builder.and_(n, _word(-lanes * of.together))
        with self.counted(_word(0), whole, lanes * of.together) as i:
            places = [builder.add(i, _word(lanes * j)) for j in range(of.together)]
            self.body(_Trace(builder, vector, of.together), places, numbers)
        with self.counted(whole, n, lanes) as i:
            trace = _Trace(builder, vector, 1)
            self.body(trace, [i], numbers, trace.first_lanes(builder.sub(n, i)))

    def body(
        self, trace: _Trace, places: list[Any], numbers: dict[int, Any], mask: Any = None
    ) -> None:
        """Everything is read before anything is written: an output may be one of the inputs."""
        kinds = self.of.kinds
        values = [
            trace.number(numbers[k])
            if k in numbers
            else trace.loaded(kinds[k], [self.read(trace, k, i, mask) for i in places])
            for k in self.of.inputs
        ]
        results = trace.run(self.of.source, self.of.names, values)
        for k, result in zip(self.of.outputs, results, strict=True):
            for i, vector in zip(places, trace.stored(kinds[k], result), strict=True):
                self.write(k, i, vector, mask)

    def elements(self, steps: Any, n: Any) -> None:
        builder, of = self.builder, self.of
        strides = [builder.load(builder.gep(steps, [_word(k)])) for k in range(len(of.kinds))]
        with self.counted(_word(0), n, 1) as i:
            trace = _Trace(builder, of.number, 1)
            places = [self.place(k, builder.mul(i, stride)) for k, stride in enumerate(strides)]
            values = [Value(trace, [self.number(k, places[k])]) for k in of.inputs]
            results = trace.run(of.source, of.names, values)
            for k, result in zip(of.outputs, results, strict=True):
                builder.store(trace.stored(of.kinds[k], result)[0], places[k])

    def number(self, k: int, place: Any) -> Any:
        """An operand's element at a place, in the type that is computed in."""
        stored = self.builder.load(place)
        number = arithmetic.loaded(self.builder, self.of.kinds[k], stored)
        same = number.type == self.of.number
        return number if same else self.builder.fptrunc(number, self.of.number)

    def read(self, trace: _Trace, k: int, i: Any, mask: Any) -> Any:
        kind = arithmetic.like(trace.type, self.stored_types[k])
        return _read(self.builder, self.vector(k, i, kind), mask)

    def write(self, k: int, i: Any, vector: Any, mask: Any) -> None:
        _write(self.builder, vector, self.vector(k, i, vector.type), mask)

    def vector(self, k: int, i: Any, kind: Any) -> Any:
        """Where an operand's elements from number i on are."""
        size = arithmetic.bits(self.stored_types[k]) // 8
        place = self.place(k, self.builder.mul(i, _word(size)))
        return self.builder.bitcast(place, kind.as_pointer())

    def place(self, k: int, nbytes: Any) -> Any:
        """Where an operand's element is, given its distance from the first in bytes."""
        moved = self.builder.gep(self.starts[k], [nbytes])
        return self.builder.bitcast(moved, self.stored_types[k].as_pointer())

    @contextlib.contextmanager
    def counted(self, start: Any, stop: Any, step: int) -> Iterator[Any]:
        """A loop over ``range(start, stop, step)``."""
        with cgutils.for_range_slice(self.builder, start, stop, _word(step), _word) as (i, _):
            yield i


def _vector(number: Any) -> Any:
    return ir.VectorType(number, VECTOR_BYTES * 8 // arithmetic.bits(number))


def _stored_type(kind: Kind) -> Any:
    return _FLOATS.get(kind.storage) or ir.IntType(int(kind.storage.lstrip("uint")))


def _read(builder: Any, place: Any, mask: Any) -> Any:
    """A vector at any address; 0 in the lanes that the mask leaves out."""
    kind = place.type.pointee
    size = arithmetic.bits(kind) // 8
    if mask is None:
        return builder.load(place, align=size)
    name = f"llvm.masked.load.{suffix(kind)}.p0{suffix(kind)}"
    return arithmetic.call(builder, name, kind, [place, _int(size), mask, constant(kind, 0)])


def _write(builder: Any, vector: Any, place: Any, mask: Any) -> None:
    size = arithmetic.bits(vector.type) // 8
    if mask is None:
        builder.store(vector, place, align=size)
        return
    name = f"llvm.masked.store.{suffix(vector.type)}.p0{suffix(vector.type)}"
    arithmetic.call(builder, name, ir.VoidType(), [vector, place, _int(size), mask])


# --- formulas -----------------------------------------------------------------------------------


class Value:
    """A value of a formula: one LLVM value for each vector that is worked on."""

    def __init__(self, trace: _Trace, parts: Sequence[Any]) -> None:
        self.trace = trace
        self.parts = list(parts)

    def _each(self, emit: Callable[..., Any], *others: Value) -> Value:
        parts = zip(self.parts, *(other.parts for other in others), strict=True)
        return Value(self.trace, [emit(*part) for part in parts])

    def __add__(self, other: Value) -> Value:
        return self._each(self.trace.builder.fadd, other)

    def __sub__(self, other: Value) -> Value:
        return self._each(self.trace.builder.fsub, other)

    def __mul__(self, other: Value) -> Value:
        return self._each(self.trace.builder.fmul, other)

    def __truediv__(self, other: Value) -> Value:
        return self._each(self.trace.builder.fdiv, other)

    def __neg__(self) -> Value:
        return self._each(self.trace.builder.fneg)

    def _compared(self, operator: str, other: Value) -> Value:
        builder = self.trace.builder
        compare = builder.fcmp_unordered if operator == "!=" else builder.fcmp_ordered
        return self._each(lambda a, b: compare(operator, a, b), other)

    def __lt__(self, other: Value) -> Value:
        return self._compared("<", other)

    def __le__(self, other: Value) -> Value:
        return self._compared("<=", other)

    def __gt__(self, other: Value) -> Value:
        return self._compared(">", other)

    def __ge__(self, other: Value) -> Value:
        return self._compared(">=", other)

    def __eq__(self, other: Value) -> Value:  # type: ignore[override]
        return self._compared("==", other)

    def __ne__(self, other: Value) -> Value:  # type: ignore[override]
        return self._compared("!=", other)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Value) -> Value:
        return self._each(self.trace.builder.and_, other)

    def __or__(self, other: Value) -> Value:
        return self._each(self.trace.builder.or_, other)

    def __bool__(self) -> bool:
        raise TypeError("a formula chooses between values; it does not branch")


#: What the source of a formula calls of ``arithmetic``.
_ARITHMETIC = (
    *("absolute", "copysign", "exponent", "fma", "mantissa", "power_of_two", "product_low"),
    *("scale", "sqrt"),
)


class _Trace:
    """Runs formulas on ``count`` vectors of ``kind`` in turn, or on single numbers."""

    def __init__(self, builder: Any, kind: Any, count: int) -> None:
        self.builder = builder
        self.type = kind
        self.count = count

    def run(self, source: str, names: Sequence[str], inputs: Sequence[Value]) -> list[Value]:
        namespace: dict[str, Any] = {name: self.function(name) for name in _ARITHMETIC}
        namespace |= {name: getattr(self, name) for name in ("T", "either", "piecewise", "select")}
        namespace["formula"] = lambda function: function
        exec(compile(source, "<formula>", "exec"), namespace)
        return [namespace[name](*inputs) for name in names]

    def function(self, name: str) -> Callable[..., Value]:
        """A function of ``arithmetic`` as a function of values."""
        emit = getattr(arithmetic, name)

        def function(first: Value, *others: Value) -> Value:
            return first._each(lambda *parts: emit(self.builder, *parts), *others)

        return function

    def T(self, x: Any) -> Value:  # noqa: N802
        if isinstance(x, Value):
            return x
        return Value(self, [constant(self.type, x)] * self.count)

    def select(self, condition: Value, if_true: Value, if_false: Value) -> Value:
        # Frozen for the reason that ``intrinsics.select`` has.
        def emit(*operands: Any) -> Any:
            return frozen(self.builder, self.builder.select(*operands))

        return condition._each(emit, if_true, if_false)

    def either(
        self,
        condition: Value,
        near: Callable[..., Value],
        far: Callable[..., Value],
        *operands: Value,
    ) -> Value:
        """near(...) where the condition holds, else far(...), which is computed only if wanted.

        So what becomes of a number does not depend on those beside it.
        """
        builder = self.builder
        everywhere = ir.Constant(ir.IntType(1), 1)
        for part in condition.parts:
            if isinstance(part.type, ir.VectorType):
                lanes = ir.IntType(part.type.count)
                part = builder.icmp_unsigned("==", builder.bitcast(part, lanes), lanes(-1))
            everywhere = builder.and_(everywhere, part)
        usual = near(*operands)
        before = builder.block
        with builder.if_then(builder.not_(everywhere), likely=False):
            mixed = self.select(condition, usual, far(*operands))
            inside = builder.block
        parts = []
        for a, b in zip(usual.parts, mixed.parts, strict=True):
            part = builder.phi(a.type)
            part.add_incoming(a, before)
            part.add_incoming(b, inside)
            parts.append(part)
        return Value(self, parts)

    def piecewise(
        self,
        x: Value,
        index: Value,
        shift: int,
        centers: Sequence[float],
        coefficients: Sequence[Sequence[float]],
    ) -> Value:
        """A polynomial of x less a center; which piece it is, the bits of ``index`` say.

        The lowest bits of ``index``, shifted right by ``shift``, are the number of the piece; each
        of ``coefficients``, the lowest power first, has a number for each piece.
        """

        def number(a: Any) -> Any:
            integer = arithmetic.same_size_integer(a.type)
            bits = self.builder.bitcast(a, integer)
            return self.builder.lshr(bits, constant(integer, shift))

        fma = self.function("fma")
        piece = index._each(number)
        rest = x - self._looked_up(centers, piece)
        *lower, highest = (self._looked_up(table, piece) for table in coefficients)
        for coefficient in reversed(lower):
            highest = fma(highest, rest, coefficient)
        return highest

    def _looked_up(self, table: Sequence[float], piece: Value) -> Value:
        return piece._each(
            lambda index: arithmetic.looked_up(self.builder, self.type, table, index)
        )

    # Between memory and values.

    def number(self, number: Any) -> Value:
        """The same number in all places."""
        return Value(self, [arithmetic.repeated(self.builder, number, self.type)] * self.count)

    def first_lanes(self, count: Any) -> Any:
        """Which lanes of a vector are below ``count``."""
        lanes = ir.VectorType(_int, self.type.count)
        limit = arithmetic.repeated(self.builder, self.builder.trunc(count, _int), lanes)
        numbers = ir.Constant(lanes, list(range(lanes.count)))
        return self.builder.icmp_signed("<", numbers, limit)

    def loaded(self, kind: Kind, parts: Sequence[Any]) -> Value:
        return Value(self, [arithmetic.loaded(self.builder, kind, x) for x in parts])

    def stored(self, kind: Kind, value: Value) -> list[Any]:
        return [arithmetic.stored(self.builder, kind, x) for x in value.parts]


# --- vectors as values of Numba's ---------------------------------------------------------------


class Vector(types.Type):  # type: ignore[misc]
    """Several numbers as one value of a function that Numba compiles."""

    def __init__(self, number: Any, lanes: int) -> None:
        self.number, self.lanes = number, lanes
        super().__init__(f"Vector({number}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(_FLOATS[str(kind.number)], kind.lanes))


def for_rows(source: str, names: Sequence[str], kind: Kind) -> dict[str, Any]:
    """What the source of a loop over rows may call, with as many lanes as fit the computed type.

    ``v_load(pointer, i)`` and ``v_store(pointer, i, v)`` convert from and to what is stored;
    ``v_load_first(pointer, i, count, rest)`` and ``v_store_first(pointer, i, count, v)`` do that
    for the first lanes. ``v_get`` and ``v_put`` convert nothing. ``v_zeros()`` and ``v_plus(totals,
    v)`` are for totals in float64; ``v_sum`` and ``v_maximum`` are of all lanes. The functions
    ``names`` of the source take a tuple, of vectors or of numbers.
    """
    number = _FLOATS[kind.compute]
    vector = _vector(number)
    T = getattr(types, kind.compute)  # noqa: N806
    V, W = Vector(T, vector.count), Vector(types.float64, vector.count)  # noqa: N806

    def place(builder: Any, pointer: Any, i: Any) -> Any:
        stored = arithmetic.like(vector, pointer.type.pointee)
        return builder.bitcast(builder.gep(pointer, [i]), stored.as_pointer())

    def first(builder: Any, count: Any) -> Any:
        return _Trace(builder, vector, 1).first_lanes(count)

    @intrinsic
    def v_load(typingctx, pointer, i):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return arithmetic.loaded(
                builder, kind, _read(builder, place(builder, *arguments), None)
            )

        return V(pointer, types.intp), codegen

    @intrinsic
    def v_load_first(typingctx, pointer, i, count, rest):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer, i, count, rest = arguments
            mask = first(builder, count)
            x = arithmetic.loaded(builder, kind, _read(builder, place(builder, pointer, i), mask))
            return builder.select(mask, x, arithmetic.repeated(builder, rest, vector))

        return V(pointer, types.intp, types.intp, T), codegen

    @intrinsic
    def v_store(typingctx, pointer, i, v):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer, i, v = arguments
            stored = arithmetic.stored(builder, kind, v)
            _write(builder, stored, place(builder, pointer, i), None)
            return context.get_dummy_value()

        return types.void(pointer, types.intp, V), codegen

    @intrinsic
    def v_store_first(typingctx, pointer, i, count, v):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer, i, count, v = arguments
            stored = arithmetic.stored(builder, kind, v)
            _write(builder, stored, place(builder, pointer, i), first(builder, count))
            return context.get_dummy_value()

        return types.void(pointer, types.intp, types.intp, V), codegen

    @intrinsic
    def v_repeated(typingctx, x):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return arithmetic.repeated(builder, arguments[0], vector)

        return V(T), codegen

    @intrinsic
    def v_zeros(typingctx):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return constant(context.get_value_type(W), 0.0)

        return W(), codegen

    @intrinsic
    def v_plus(typingctx, totals, v):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            totals, v = arguments
            return builder.fadd(totals, builder.fpext(v, totals.type))

        return W(W, V), codegen

    @intrinsic
    def v_sum(typingctx, v):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _folded(builder, arguments[0], builder.fadd)

        return v.number(v), codegen

    @intrinsic
    def v_maximum(typingctx, v):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def larger(a: Any, b: Any) -> Any:
                return builder.select(builder.fcmp_ordered(">", a, b), a, b)

            return _folded(builder, arguments[0], larger)

        return T(V), codegen

    @intrinsic
    def v_put(typingctx, pointer, i, totals):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer, i, totals = arguments
            moved = builder.gep(pointer, [i])
            _write(builder, totals, builder.bitcast(moved, totals.type.as_pointer()), None)
            return context.get_dummy_value()

        return types.void(pointer, types.intp, totals), codegen

    @intrinsic
    def v_get(typingctx, pointer, i):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            moved = builder.gep(arguments[0], [arguments[1]])
            return _read(builder, builder.bitcast(moved, vector.as_pointer()), None)

        return V(pointer, types.intp), codegen

    def formula(name: str) -> Any:
        @intrinsic
        def function(typingctx, operands):  # type: ignore[no-untyped-def]
            def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                trace = _Trace(builder, vector, 1)
                values = [
                    Value(
                        trace, [x if x.type == vector else arithmetic.repeated(builder, x, vector)]
                    )
                    for x in cgutils.unpack_tuple(builder, arguments[0])
                ]
                return trace.run(source, [name], values)[0].parts[0]

            return V(operands), codegen

        return function

    access = (v_load, v_load_first, v_store, v_store_first, v_get, v_put)
    made = (*access, v_repeated, v_zeros, v_plus, v_sum, v_maximum)
    return {function._name: function for function in made} | {
        f"v_{name}": formula(name) for name in names
    }


def _folded(builder: Any, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """All lanes in one number, half with half, in this order everywhere."""
    while vector.type.count > 1:
        half = vector.type.count // 2
        lanes = ir.VectorType(_int, half)
        low, high = (ir.Constant(lanes, list(range(start, start + half))) for start in (0, half))
        vector = combine(
            builder.shuffle_vector(vector, vector, low),
            builder.shuffle_vector(vector, vector, high),
        )
    return builder.extract_element(vector, _int(0))
