"""What kernels use on a GPU, beside plain Python: NVVM's instructions as Numba intrinsics.

``simulated`` has the same names in Python, for Numba's CUDA simulator. Products are rounded before
they are added to anything (NVVM would fuse them otherwise), divisions and square roots are exact to
half an ulp, and subnormal numbers count: the formulas give the same bits as on a CPU that has fused
multiply-add.

Importing this module imports Numba and needs the package numba-cuda.
"""

from __future__ import annotations

import types as python_types
from typing import Any

from llvmlite import ir
from numba import cuda, types
from numba.cuda.extending import intrinsic

from fastact.cpu import arithmetic, half
from fastact.cpu import intrinsics as cpu

__all__ = ["formula", "jit"]


def formula(function: Any) -> Any:
    """Compile a function that kernels call."""
    return cuda.jit(device=True)(function)


def jit(function: Any, arguments: tuple[str, ...], cached: bool) -> Any:
    """Compile a kernel for arguments of these types."""
    signature = types.void(*[getattr(types, name) for name in arguments])
    return cuda.jit(signature, cache=cached)(function)


def _same(name: str) -> Any:
    """An intrinsic of the CPU's that is made of instructions which NVVM has, too."""
    return intrinsic(getattr(cpu, name)._defn)


sqrt = _same("sqrt")
exponent, mantissa = _same("exponent"), _same("mantissa")
power_of_two = _same("power_of_two")
float32_bits, float32_from_bits = _same("float32_bits"), _same("float32_from_bits")
load_float16, store_float16 = _same("float16_to_float32"), _same("float32_to_float16")


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    return arithmetic.call(builder, name, arguments[0].type, arguments)


def _product(builder: Any, a: Any, b: Any) -> Any:
    """a * b, which is rounded whatever happens to it next."""
    suffix = {"float": "f", "double": "d"}[str(a.type)]
    return _call(builder, f"llvm.nvvm.mul.rn.{suffix}", a, b)


@intrinsic
def times(typingctx, a, b):
    def codegen(context, builder, signature, arguments):
        return _product(builder, *arguments)

    return a(a, a), codegen


@intrinsic
def fma(typingctx, a, b, c):
    def codegen(context, builder, signature, arguments):
        return _call(builder, f"llvm.fma.{arithmetic.suffix(arguments[0].type)}", *arguments)

    return a(a, a, a), codegen


@intrinsic
def product_low(typingctx, a, b, product):
    """a * b - product exactly, product being a * b rounded."""

    def codegen(context, builder, signature, arguments):
        a, b, product = arguments
        negated = builder.fsub(a.type(-0.0), product)  # NVVM has no fneg
        return _call(builder, f"llvm.fma.{arithmetic.suffix(a.type)}", a, b, negated)

    return a(a, a, a), codegen


@intrinsic
def scale(typingctx, x, rounded):
    """As the CPU's; see there."""

    def codegen(context, builder, signature, arguments):
        x, rounded = arguments
        kind = signature.return_type
        up = 64 if kind is types.float32 else 512
        x = _product(builder, x, arithmetic.power_of_two(builder, rounded, up))
        return _product(builder, x, x.type(2.0**-up))

    return x(x, x), codegen


def _sign(value: Any) -> tuple[Any, Any]:
    """The integer type of a number's bits, and the sign among them. NVVM has no fabs, copysign."""
    integer = ir.IntType(32 if str(value.type) == "float" else 64)
    return integer, integer(1 << (integer.width - 1))


@intrinsic
def absolute(typingctx, x):
    def codegen(context, builder, signature, arguments):
        (x,) = arguments
        integer, sign = _sign(x)
        bits = builder.and_(builder.bitcast(x, integer), builder.not_(sign))
        return builder.bitcast(bits, x.type)

    return x(x), codegen


@intrinsic
def copysign(typingctx, x, of):
    def codegen(context, builder, signature, arguments):
        integer, sign = _sign(arguments[0])
        x, of = (builder.bitcast(value, integer) for value in arguments)
        bits = builder.or_(builder.and_(x, builder.not_(sign)), builder.and_(of, sign))
        return builder.bitcast(bits, arguments[0].type)

    return x(x, x), codegen


@intrinsic
def select(typingctx, condition, if_true, if_false):
    def codegen(context, builder, signature, arguments):
        return builder.select(*arguments)

    return if_true(types.boolean, if_true, if_true), codegen


# --- half types ---------------------------------------------------------------------------------


def _of_cpu(name: str) -> Any:
    """A function of ``half``, on this module's intrinsics."""
    code = getattr(half, name).py_func.__code__
    names = {
        "float32_bits": float32_bits,
        "float32_from_bits": float32_from_bits,
        "uint16": types.uint16,
        "uint32": types.uint32,
        "INFINITY": half.INFINITY,
    }
    return formula(python_types.FunctionType(code, names))


load_bfloat16, store_bfloat16 = _of_cpu("load_bfloat16"), _of_cpu("store_bfloat16")


# --- memory: addresses are integers -------------------------------------------------------------

_GLOBAL = 1  # the address space
_int = ir.IntType(32)


def _place(builder: Any, address: Any, pointee: Any) -> Any:
    return builder.inttoptr(address, ir.PointerType(pointee, addrspace=_GLOBAL))


@intrinsic
def load_one(typingctx, address, dtype):
    """The element at an address."""
    result = dtype.dtype

    def codegen(context, builder, signature, arguments):
        return builder.load(_place(builder, arguments[0], context.get_value_type(result)))

    return result(types.int64, dtype), codegen


@intrinsic
def store_one(typingctx, address, value):
    def codegen(context, builder, signature, arguments):
        address, value = arguments
        builder.store(value, _place(builder, address, value.type))
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


# Half types are packed in pairs by hand: NVVM's vectors of 16-bit integers go through memory.


@intrinsic
def load_sixteen(typingctx, address, dtype):
    """The elements in the 16 bytes at an address that is a multiple of 16, as a tuple."""
    result = dtype.dtype
    count = 128 // result.bitwidth

    def codegen(context, builder, signature, arguments):
        element = context.get_value_type(result)
        lanes = min(count, 4)
        lane = element if count <= 4 else _int
        loaded = builder.load(_place(builder, arguments[0], ir.VectorType(lane, lanes)))
        loaded.align = 16
        values = [builder.extract_element(loaded, _int(k)) for k in range(lanes)]
        if count > 4:
            halves = [(v, builder.lshr(v, _int(16))) for v in values]
            values = [builder.trunc(v, element) for pair in halves for v in pair]
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(result, count)(types.int64, dtype), codegen


def _stored(builder: Any, address: Any, values: list[Any]) -> None:
    if len(values) > 4:
        wide = [builder.zext(value, _int) for value in values]
        pairs = zip(wide[::2], wide[1::2], strict=True)
        values = [builder.or_(low, builder.shl(high, _int(16))) for low, high in pairs]
    vector: Any = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
    for k, value in enumerate(values):
        vector = builder.insert_element(vector, value, _int(k))
    builder.store(vector, _place(builder, address, vector.type)).align = 16


@intrinsic
def store_sixteen_2(typingctx, address, a, b):
    def codegen(context, builder, signature, arguments):
        _stored(builder, arguments[0], list(arguments[1:]))
        return context.get_dummy_value()

    return types.void(types.int64, a, a), codegen


@intrinsic
def store_sixteen_4(typingctx, address, a, b, c, d):
    def codegen(context, builder, signature, arguments):
        _stored(builder, arguments[0], list(arguments[1:]))
        return context.get_dummy_value()

    return types.void(types.int64, a, a, a, a), codegen


@intrinsic
def store_sixteen_8(typingctx, address, a, b, c, d, e, f, g, h):
    def codegen(context, builder, signature, arguments):
        _stored(builder, arguments[0], list(arguments[1:]))
        return context.get_dummy_value()

    return types.void(types.int64, *[a] * 8), codegen
