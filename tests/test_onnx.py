"""The ONNX standard's own tests of its operators, computed by fastact."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fastact as fa

onnx = pytest.importorskip("onnx")


def hard_sigmoid(x, alpha=0.2, beta=0.5):
    return fa.clipped_linear(x, alpha, beta)


def selu(x, alpha=None, gamma=None):
    return fa.selu(x) if alpha is None else gamma * fa.elu(x, alpha)


def shrink(x, lambd=0.5, bias=0.0):
    if bias == 0:
        return fa.hardshrink(x, lambd)
    assert bias == lambd, "no test of the standard has another"
    return fa.softshrink(x, lambd)


def swish(x, alpha=1.0):
    return fa.silu(alpha * x) / np.float32(alpha)


OPERATORS = {
    "Celu": fa.celu,
    "Elu": fa.elu,
    "Gelu": lambda x, approximate=b"none": fa.gelu(x, approximate.decode()),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": fa.hardswish,
    "LogSoftmax": lambda x, axis=-1: fa.log_softmax(x, axis),
    "LeakyRelu": lambda x, alpha=0.01: fa.leaky_relu(x, alpha),
    "Mish": fa.mish,
    "PRelu": lambda x, slope: fa.prelu(x, slope, axis=-1),
    "Relu": fa.relu,
    "Selu": selu,
    "Shrink": shrink,
    "Sigmoid": fa.sigmoid,
    "Softmax": lambda x, axis=-1: fa.softmax(x, axis),
    "Softplus": fa.softplus,
    "Softsign": fa.softsign,
    "Swish": swish,
    "Tanh": fa.tanh,
    "ThresholdedRelu": lambda x, alpha=1.0: fa.thresholded_relu(x, alpha),
}


def collected():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = [case for name in OPERATORS for case in collect_testcases(name)]
    # "Expanded" ones test the operators that another is defined by.
    return [
        pytest.param(case, id=case.name)
        for case in cases
        if [node.op_type in OPERATORS for node in case.model.graph.node] == [True]
    ]


CASES = collected()


def test_there_are_tests():
    assert len(CASES) >= 55


@pytest.mark.parametrize("case", CASES)
def test_onnx(case):
    (node,) = case.model.graph.node
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    for inputs, (expected,) in case.data_sets:
        result = np.asarray(OPERATORS[node.op_type](*inputs, **attributes))
        assert result.dtype == expected.dtype
        tolerance = 1e-6 if expected.dtype == np.float32 else 1e-2
        np.testing.assert_allclose(
            result.astype("f8"), expected.astype("f8"), rtol=tolerance, atol=tolerance / 10
        )
