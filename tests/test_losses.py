"""Cross-entropy and its gradient, against the definition in a wider type."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from thorough import only

import fastact as fa
from fastact.losses import cross_entropy, cross_entropy_grad, cross_entropy_with_grad

RNG = np.random.default_rng(5)
ROWS, CLASSES = 37, 11


def expected(x, labels, weight=None, label_smoothing=0.0, ignore_index=-100, reduction="mean"):
    """Value and gradient of rows, by the definition."""
    x = x.astype(np.longdouble)
    difference = x - x.max(-1, keepdims=True)
    logs = difference - np.log(np.exp(difference).sum(-1, keepdims=True))
    weight = np.ones(x.shape[-1]) if weight is None else weight
    if labels.dtype.kind == "f":
        targets, counts, divisor = labels, np.ones((len(x), 1)), len(x)
    else:
        counts = (labels != ignore_index)[:, np.newaxis]
        targets = counts * np.eye(x.shape[-1])[labels * counts[:, 0]]
        divisor = (targets * weight).sum()
    targets = ((1 - label_smoothing) * targets + label_smoothing / x.shape[-1]) * weight * counts
    losses = -(targets * logs).sum(-1)
    divisor = divisor if reduction == "mean" else 1
    grad = (np.exp(logs) * targets.sum(-1, keepdims=True) - targets) / divisor
    return (losses if reduction == "none" else losses.sum() / divisor), grad


CASES = list(
    itertools.product(["labels", "probabilities"], [False, True], [0.0, 0.1], ["mean", "none"])
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "weighted", "smoothing", "reduction"), CASES)
def test_value_and_gradient(kind, weighted, smoothing, reduction, dtype):
    x = RNG.normal(0, 5, (ROWS, CLASSES)).astype(dtype)
    labels = RNG.integers(0, CLASSES, ROWS)
    labels[3] = -100
    if kind == "probabilities":
        labels = RNG.dirichlet(np.ones(CLASSES), ROWS).astype(dtype)
    keywords = {"label_smoothing": smoothing, "reduction": reduction}
    keywords["weight"] = RNG.uniform(0.5, 2, CLASSES) if weighted else None
    value, grad = cross_entropy_with_grad(x, labels, **keywords)
    right, right_grad = expected(x, labels, **keywords)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(value, right.astype(float), 4 * eps)
    # Beside the largest element: a probability less a target may cancel.
    assert abs(grad - right_grad).max() <= 4 * eps * abs(right_grad).max()
    assert (value.dtype, grad.dtype) == (x.dtype, x.dtype)
    np.testing.assert_array_equal(cross_entropy(x, labels, **keywords), value)
    np.testing.assert_array_equal(cross_entropy_grad(x, labels, **keywords), grad)


def test_sum():
    x, labels = RNG.normal(size=(4, 3)), np.array([0, 1, 2, 0])
    value, grad = cross_entropy_with_grad(x, labels, reduction="sum")
    right, right_grad = expected(x, labels, reduction="sum")
    np.testing.assert_allclose(value, float(right), 1e-15)
    np.testing.assert_allclose(grad, right_grad.astype(float), 1e-13)


def test_in_place():
    x = RNG.normal(size=(300, 50)).astype(np.float32)
    labels = RNG.integers(0, 50, 300)
    right = cross_entropy_with_grad(x.copy(), labels, label_smoothing=0.1)
    value, grad = cross_entropy_with_grad(x, labels, label_smoothing=0.1, out=x)
    assert grad is x
    np.testing.assert_array_equal(x, right[1])
    assert value == right[0]


def test_out_may_overlap():
    memory = RNG.normal(size=5_001 * 200)
    x, out = memory[200:].reshape(-1, 200), memory[:-200].reshape(-1, 200)
    labels = RNG.integers(0, 200, 5_000)
    right = cross_entropy_grad(x.copy(), labels)
    np.testing.assert_array_equal(cross_entropy_grad(x, labels, out=out), right)


def test_classes_along_another_axis():
    x = RNG.normal(size=(2, 5, 3, 4))
    labels = RNG.integers(0, 5, (2, 3, 4))
    out = np.empty_like(x)
    value, grad = cross_entropy_with_grad(x, labels, axis=1, reduction="none", out=out)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    right, right_grad = cross_entropy_with_grad(last, labels, reduction="none")
    assert grad is out
    np.testing.assert_array_equal(value, right)
    np.testing.assert_array_equal(np.moveaxis(grad, 1, -1), right_grad)


@pytest.mark.parametrize("dtype", only(["bfloat16"], ["float16", "bfloat16"]))
def test_half_types(dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x = RNG.normal(size=(9, 7)).astype(dtype)
    labels = RNG.integers(0, 7, 9)
    value, grad = cross_entropy_with_grad(x, labels)
    right, right_grad = cross_entropy_with_grad(x.astype(np.float32), labels)
    assert value == right.astype(dtype)
    np.testing.assert_array_equal(grad, right_grad.astype(dtype))


@pytest.mark.parametrize(("rows", "classes"), [(700, 300), (16, 50_257)])
def test_the_same_for_any_number_of_threads(rows, classes):
    x = RNG.normal(size=(rows, classes)).astype(np.float32)
    labels = RNG.integers(0, classes, rows)
    results = []
    for threads in (1, 2, 3):
        with fa.num_threads(threads):
            results.append(cross_entropy_with_grad(x, labels))
    for value, grad in results[1:]:
        assert value == results[0][0]
        np.testing.assert_array_equal(grad, results[0][1])


def test_small_losses_keep_their_digits():
    x = np.array([[0.0, -50.0]])
    value, grad = cross_entropy_with_grad(x, [0])
    assert value == pytest.approx(np.exp(-50.0), rel=1e-14)
    np.testing.assert_allclose(grad, [[-np.exp(-50.0), np.exp(-50.0)]], 1e-14)


def test_edge_cases():
    x = np.array([[0.0, -np.inf], [np.nan, 1.0]])
    value, grad = cross_entropy_with_grad(x, [0, -100])  # what is ignored may be anything
    assert value == 0
    np.testing.assert_array_equal(grad, [[0, 0], [0, 0]])
    assert cross_entropy(x[:1], [1]) == np.inf
    with np.errstate(all="raise"):
        value, grad = cross_entropy_with_grad(x, [-100, -100])
    assert np.isnan(value)
    np.testing.assert_array_equal(grad, np.zeros((2, 2)))
    for row in ([-np.inf, -np.inf], [np.inf, 0], [np.nan, 0]):
        value, grad = cross_entropy_with_grad(np.array([row]), [1])
        assert np.isnan(value)
        assert np.isnan(grad).all()
    value, grad = cross_entropy_with_grad(np.ones((3, 1)), [0, 0, 0])
    assert value == 0
    np.testing.assert_array_equal(grad, np.zeros((3, 1)))
    assert cross_entropy(np.ones((0, 3)), np.ones(0, int), reduction="sum") == 0


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"labels": [0, 3]}, "label 3 is none of the 3 classes"),
        ({"labels": [0, 1, 2]}, r"labels must be integers of shape \(2,\)"),
        ({"labels": np.ones((2, 2))}, r"probabilities must have the shape of logits"),
        ({"weight": [1, 2]}, r"weight must have shape \(3,\)"),
        ({"label_smoothing": 1.5}, "label_smoothing must be between 0 and 1"),
        ({"reduction": "max"}, "reduction must be 'mean', 'sum' or 'none'"),
    ],
)
def test_errors(keywords, message):
    with pytest.raises(ValueError, match=message):
        cross_entropy(np.ones((2, 3)), **{"labels": [0, 1], **keywords})
    with pytest.raises(TypeError, match="floating-point"):
        cross_entropy(np.ones((2, 3), int), [0, 1])
