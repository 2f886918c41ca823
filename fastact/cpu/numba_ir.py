"""From Python to LLVM IR with Numba, not optimized: the same for every CPU.

Numba's own way ends in machine code for the CPU that it runs on, and optimizes each function before
it links it into others, and the whole again. Here that is left to ``llvm``.

Importing this module imports Numba.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

from fastact import loading

__all__ = ["ir_text"]


def ir_text(function: Callable[..., Any], signature: Any, symbol: str) -> str:
    """LLVM IR that defines ``function`` under the name ``symbol``, with C's calling convention."""
    with loading.numba_compiles(), global_compiler_lock, _without_code():
        # error_model: without it every division carries a branch for ZeroDivisionError, and the
        # loop stays scalar.
        compiled = njit(  # type: ignore[call-overload]
            signature, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
        )(function)
        return _for_c(compiled.overloads[signature.args], signature, symbol)


def _for_c(compiled: Any, signature: Any, symbol: str) -> str:
    """IR of a function that Numba has compiled, and of ``symbol``, which calls it."""
    context = compiled.target_context
    library = context.codegen().create_library(symbol)
    module = library.create_ir_module(symbol)
    arguments = [context.get_value_type(kind) for kind in signature.args]
    target = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), symbol)
    builder = ir.IRBuilder(target.append_basic_block())
    native = context.declare_function(module, compiled.fndesc)
    status, _ = context.call_conv.call_function(
        builder, native, signature.return_type, signature.args, target.args
    )
    with builder.if_then(status.is_error):
        # Kernels raise nothing: LLVM removes this, or ``portable_ir`` refuses the function.
        raised = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "python_exception")
        builder.call(raised, [])
    builder.ret_void()
    library.add_ir_module(module)
    library.add_linking_library(compiled.library)
    library.finalize()
    return library.get_llvm_str()


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """IR that is neither optimized nor compiled, nor known to Numba's own engine."""

    def _optimize_functions(self, ll_module: Any) -> None: ...

    def _optimize_final_module(self) -> None: ...

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


@contextlib.contextmanager
def _without_code() -> Iterator[None]:
    """Have Numba stop at IR in this thread; nobody else compiles under its global lock."""
    context = cpu_target.target_context
    rtsys.initialize(context)  # whose machine code others need
    codegen = context.codegen()
    codegen._library_class = _Library
    codegen.set_env = lambda name, env: None  # in machine code that there is not
    try:
        yield
    finally:
        del codegen._library_class, codegen.set_env  # those of its class again
