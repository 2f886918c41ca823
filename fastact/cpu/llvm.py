"""LLVM IR in, machine code out.

IR goes through two stages. The first one makes it small, and the same whatever the CPU is: it can
be kept, and sent to other machines. The second one optimizes it for the CPU at hand: vectors,
instructions, and what they cost. Both are run wherever the IR comes from, so the machine code of a
function is the same, bit for bit, whether its IR was just made or comes out of an archive.
"""

from __future__ import annotations

import ctypes
import functools
import re
from typing import Any

from fastact.cpu.target import cpu_features, cpu_name

__all__ = ["SYMBOL", "assembly", "llvm_version", "link", "machine_code", "portable_ir"]

#: The function's name in IR.
SYMBOL = "fastact"
#: The definition of another one.
_CALLED = re.compile(rf"^(define (?!.*@{SYMBOL}\().*) \{{$", re.MULTILINE)
#: What LLVM adds for people to read.
_COMMENT = re.compile(r"^; .*\n| +; preds = .*$", re.MULTILINE)

#: What machine code may call: in every process, on every platform that LLVM calls it on.
_FROM_C = {"memcpy", "memmove", "memset", "fegetexceptflag", "fesetexceptflag"}


@functools.cache
def llvm_version() -> str:
    """IR is only read by the version that wrote it."""
    import llvmlite.binding as llvm

    return ".".join(map(str, llvm.llvm_version_info))


@functools.cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _target_machine(cpu: str, features: str) -> Any:
    # The options are those that Numba gives its own just-in-time target.
    target = _llvm().Target.from_default_triple()
    return target.create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


def _optimize(module: Any, machine: Any, level: int, vectorize: bool) -> None:
    llvm = _llvm()
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = options.slp_vectorization = vectorize
    if not vectorize:
        options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def portable_ir(text: str) -> bytes:
    """The first stage: IR, as text, of a function that is called ``SYMBOL``.

    Everything that it calls is put into it, and what nobody needs goes.
    """
    llvm = _llvm()
    # In the text, as LLVM prints it: llvmlite 0.44 gives attributes to the result.
    as_printed = str(llvm.parse_assembly(text))
    module = llvm.parse_assembly(_CALLED.sub(r"\1 alwaysinline {", as_printed))
    machine = _target_machine("", "")
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    for defined in (*module.functions, *module.global_variables):
        if not defined.is_declaration and defined.name != SYMBOL:
            defined.linkage = llvm.Linkage.internal
    _optimize(module, machine, 1, vectorize=False)
    missing = {f.name for f in module.functions if f.is_declaration and "." not in f.name}
    if missing - _FROM_C:
        raise RuntimeError(f"machine code would need {sorted(missing - _FROM_C)}")
    return _COMMENT.sub("", str(module)).encode()


def machine_code(ir: bytes, symbol: str, vectorize: bool) -> bytes:
    """The second stage: object code that defines ``symbol`` with C's calling convention.

    Without loops over arrays there is nothing to ``vectorize``, and it takes half the time.
    """
    return _optimized(ir, symbol, vectorize, "emit_object")


def assembly(ir: bytes, symbol: str) -> str:
    """The same of loops, for people to read."""
    return _optimized(ir, symbol, True, "emit_assembly")


def _optimized(ir: bytes, symbol: str, vectorize: bool, emit: str) -> Any:
    module = _llvm().parse_assembly(ir.decode())
    module.get_function(SYMBOL).name = symbol
    machine = _target_machine(cpu_name(), cpu_features())
    _optimize(module, machine, 3 if vectorize else 2, vectorize)
    return getattr(machine, emit)(module)


def link(code: bytes, symbol: str) -> int:
    """The address of a function in object code, from now on to the end of the process."""
    engine = _engine()
    engine.add_object_file(_llvm().ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(symbol)
    if not address:
        raise RuntimeError(f"no function {symbol} in its own object file")
    return address


@functools.cache
def _engine() -> Any:
    """Where object code becomes executable memory; never disposed of.

    Worker threads may be inside that memory while the interpreter shuts down, and NumPy keeps
    addresses for good: the code must outlive every Python object.
    """
    llvm = _llvm()
    machine = _target_machine(cpu_name(), cpu_features())
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
    return engine
