"""onnx' reference evaluator with fastact's operators: the standard's own tests, and others."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from fastact.integrations.onnx import operators  # noqa: E402

OPERATORS = {operator.__name__: operator for operator in operators()}


def collected():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = [case for name in OPERATORS for case in collect_testcases(name)]
    # "Expanded" ones spell an operator by others, some of them ours.
    return [
        pytest.param(case, id=case.name)
        for case in cases
        if any(node.op_type in OPERATORS for node in case.model.graph.node)
    ]


CASES = collected()


def test_there_are_tests():
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES)
def test_the_standard(case):
    evaluator = ReferenceEvaluator(case.model, new_ops=operators())
    used = {type(node).__name__: type(node) for node in evaluator.rt_nodes_}
    assert {*used.items()} & {*OPERATORS.items()}
    names = [value.name for value in case.model.graph.input]
    for inputs, expected in case.data_sets:
        results = evaluator.run(None, dict(zip(names, inputs, strict=True)))
        for result, right in zip(results, expected, strict=True):
            assert result.dtype == right.dtype
            assert result.shape == right.shape
            tolerance = 1e-6 if right.dtype == np.float32 else 1e-2
            np.testing.assert_allclose(
                result.astype("f8"), right.astype("f8"), rtol=tolerance, atol=tolerance / 10
            )


def model(name, dtype, opset=None, inputs=("x",), **attributes):
    kind = TensorProto.BFLOAT16  # which older versions cannot tell from the dtype
    if dtype is not ml_dtypes.bfloat16:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node(name, inputs, ["y"], **attributes)
    values = [helper.make_tensor_value_info(x, kind, None) for x in inputs]
    y = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "graph", values, [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset or 21)])


X = np.linspace(-30, 30, 25).reshape(5, 5)
ATTRIBUTES = {
    "Celu": {"alpha": 0.5},
    "Elu": {"alpha": 2.0},
    "Gelu": {"approximate": "tanh"},
    "HardSigmoid": {"alpha": 0.1, "beta": 0.25},
    "LeakyRelu": {"alpha": 0.5},
    "LogSoftmax": {"axis": 0},
    "Selu": {"alpha": 1.0, "gamma": 2.0},
    "Shrink": {"lambd": 3.0, "bias": 1.0},
    "Softmax": {"axis": 0},
    "ThresholdedRelu": {"alpha": 4.0},
}


def ours(made, **feeds):
    (result,) = ReferenceEvaluator(made, new_ops=operators()).run(None, feeds)
    return result


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("attributes", [{}, ATTRIBUTES], ids=["default", "attributes"])
@pytest.mark.parametrize("name", [n for n in OPERATORS if n not in ("PRelu", "Swish")])
def test_same_as_the_evaluators_own(name, attributes, dtype):
    x = X.astype(dtype)
    made = model(name, dtype, **attributes.get(name, {}))
    typed = onnx.shape_inference.infer_shapes(made)
    with np.errstate(all="ignore"):
        (expected,) = ReferenceEvaluator(typed).run(None, {"x": x})
    result = ours(made, x=x)
    assert result.dtype == x.dtype
    # Some of the evaluator's constants are float32 numbers.
    rounded = dtype == "f" or name in ("Gelu", "HardSwish", "Selu")
    tolerance = 1e-5 if rounded else 1e-12
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
    assert ours(made, x=x[:0]).shape == (0, 5)
    if name not in ("Softmax", "LogSoftmax"):
        single = ours(made, x=x[0, 0])
        assert isinstance(single, np.ndarray)
        assert single == result[0, 0]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", ["Relu", "Sigmoid", "LeakyRelu", "Softmax", "Gelu"])
def test_half_types_stay(name, dtype):
    x = X.astype(dtype)
    result = ours(model(name, dtype), x=x)
    expected = ours(model(name, "f"), x=x.astype("f"))
    assert result.dtype == dtype
    np.testing.assert_allclose(result.astype("f"), expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["Relu", "Shrink"])
def test_integers_stay_integers(name):
    x = np.array([-4, 0, 3], np.int32)
    (expected,) = ReferenceEvaluator(model(name, "i")).run(None, {"x": x})
    result = ours(model(name, "i"), x=x)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("shape", [(1,), (3, 1, 1), (3,), (5,)])
def test_prelu_broadcasts_as_the_evaluator_does(shape):
    x = np.linspace(-1, 1, 2 * 3 * 4 * 5, dtype="f").reshape(2, 3, 4, 5)
    feeds = {"x": x, "slope": np.linspace(0.1, 0.9, int(np.prod(shape)), dtype="f").reshape(shape)}
    made = model("PRelu", "f", inputs=("x", "slope"))
    (expected,) = ReferenceEvaluator(made).run(None, feeds)
    result = ours(made, **feeds)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    feeds["slope"] = np.ones(7, "f")
    with pytest.raises(ValueError, match="broadcast"):
        ours(made, **feeds)


@pytest.mark.skipif("Swish" not in OPERATORS, reason="this onnx has no Swish")
@pytest.mark.parametrize("alpha", [1.0, 1.702, 0.0, -1.0])
def test_swish(alpha):
    x = X.astype("f")
    made = model("Swish", "f", 24, alpha=alpha)
    result = ours(made, x=x)
    np.testing.assert_allclose(result, X / (1 + np.exp(-alpha * X)), rtol=1e-5, atol=1e-12)


def test_graphs_within_the_graph():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    condition = helper.make_tensor_value_info("condition", TensorProto.BOOL, [])
    branches = [
        helper.make_graph([helper.make_node("LeakyRelu", ["x"], ["y"], alpha=alpha)], "b", [], [y])
        for alpha in (0.25, 0.5)
    ]
    choice = helper.make_node(
        "If", ["condition"], ["y"], then_branch=branches[0], else_branch=branches[1]
    )
    made = helper.make_model(helper.make_graph([choice], "graph", [condition, x], [y]))
    x = np.array([-4, 4], "f")
    np.testing.assert_array_equal(ours(made, condition=np.array(True), x=x), [-1, 4])
    np.testing.assert_array_equal(ours(made, condition=np.array(False), x=x), [-2, 4])
