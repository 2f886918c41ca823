"""What fused kernels compute: matrices with a vector, and sums of a term of each element.

How a target goes through the matrices is its own affair: ``fastact.cpu.blocks`` and the columns and
channels of ``fastact.cuda.kernels``.
"""

from __future__ import annotations

import dataclasses

from fastact.catalogue import Activation
from fastact.catalogue.dtypes import Kind
from fastact.source.formulas import Formula, derivative_of, functions_source, product

__all__ = ["FusedKernel", "bias_act", "bias_act_backward", "prelu_backward", "relu_stats"]


@dataclasses.dataclass(frozen=True)
class FusedKernel:
    """A fused kernel, but for the dtype.

    ``functions`` is the source of ``value``: of the matrices' elements, the vector's if there is
    one, and the parameters. ``term`` is what is summed, an expression in terms of them (``x0``,
    ``x1``, ..., ``v``) and of the value ``y``; empty if nothing is.

    Or there is a ``body``, the source of what is done to a block, for matrices of one row. The
    vector then is of any length and of the dtype ``vector_dtype``; ``arrays`` are on the stack.
    """

    name: str
    kind: Kind
    functions: str
    matrices: int
    parameters: int = 0
    vector: bool = False
    term: str = ""
    body: str = ""
    vector_dtype: str = ""
    arrays: tuple[tuple[str, tuple[str, int]], ...] = ()


# --- kernels ------------------------------------------------------------------------------------


def bias_act(entry: Activation, kind: Kind, residual: bool) -> FusedKernel:
    """``activation(x + bias [+ residual])``"""
    functions = f"""\
{functions_source(kind.compute, activation=Formula(entry.formula))}

@formula
def value({_names(entry, "x", residual)}):
    return activation({_sum(residual)}{_parameters(entry)})
"""
    name = f"{entry.name}_bias{'_residual' * residual}"
    return FusedKernel(name, kind, functions, 1 + residual, len(entry.parameters), vector=True)


def bias_act_backward(entry: Activation, kind: Kind, residual: bool) -> FusedKernel:
    """``grad * derivative(x + bias [+ residual])``, and its sums."""
    functions = f"""\
{functions_source(kind.compute, derivative=derivative_of(entry))}

@formula
def value({_names(entry, "grad, x", residual)}):
    slope = derivative({_sum(residual)}{_parameters(entry)})
    return {product("grad")}
"""
    name = f"{entry.name}_bias{'_residual' * residual}_backward"
    parameters = len(entry.parameters)
    return FusedKernel(name, kind, functions, 2 + residual, parameters, vector=True, term="y")


def prelu_backward(entry: Activation, kind: Kind) -> FusedKernel:
    """The gradient by x, and the sums of the gradient by the weight."""
    functions = f"""\
{functions_source(kind.compute, derivative=derivative_of(entry))}

@formula
def value(grad, x, weight):
    slope = derivative(x, weight)
    return {product("grad")}

@formula
def by_weight(grad, x):
    return select((x > T(0)) | (x == T(0)), T(0), T(grad * x))
"""
    return FusedKernel(
        "prelu_weight_backward", kind, functions, 2, vector=True, term="by_weight(x0, x1)"
    )


def relu_stats(entry: Activation, kind: Kind) -> FusedKernel:
    """ReLU, and how many elements are positive."""
    functions = functions_source(kind.compute, value=Formula(entry.formula))
    return FusedKernel("relu_stats", kind, functions, 1, term="select(x0 > T(0), T(1), T(0))")


def _names(entry: Activation, arrays: str, residual: bool) -> str:
    return ", ".join([arrays, *["residual"] * residual, "bias", *entry.parameters])


def _sum(residual: bool) -> str:
    return "T(T(x + bias) + residual)" if residual else "T(x + bias)"


def _parameters(entry: Activation) -> str:
    return "".join(f", {name}" for name in entry.parameters)
