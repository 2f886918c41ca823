"""Losses of elements: every entry, against its definition in a wider type."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from thorough import only

import fastact as fa
from fastact import losses
from fastact.catalogue.losses import LOSSES

RNG = np.random.default_rng(6)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def sigmoid(x):
    return np.exp(-softplus(-x))


def entropy(p):
    return np.where(p == 0, 0, p * np.log(np.where(p == 0, 1, p)))


#: Value and gradient of each element.
REFERENCES = {
    "mse": lambda x, t, weight=1: (weight * (x - t) ** 2, 2 * weight * (x - t)),
    "huber": lambda x, t, delta=1, weight=1: (
        weight * np.where(abs(x - t) <= delta, (x - t) ** 2 / 2, delta * (abs(x - t) - delta / 2)),
        weight * np.clip(x - t, -delta, delta),
    ),
    "binary_cross_entropy_with_logits": lambda x, t, weight=1, pos_weight=1: (
        weight * (pos_weight * t * softplus(-x) + (1 - t) * softplus(x)),
        weight * ((1 - t) * sigmoid(x) - pos_weight * t * sigmoid(-x)),
    ),
    "kl_div": lambda x, t, log_target=False: (
        (np.exp(t) * (t - x), -np.exp(t)) if log_target else (entropy(t) - t * x, -t)
    ),
}

CASES = [
    *(("mse", {}), ("mse", {"weight": 0.25})),
    *(("huber", {}), ("huber", {"delta": 0.5, "weight": 3.0})),
    ("binary_cross_entropy_with_logits", {}),
    ("binary_cross_entropy_with_logits", {"pos_weight": 4.0, "weight": 0.5}),
    *(("kl_div", {}), ("kl_div", {"log_target": True})),
]


def test_every_loss_has_a_reference():
    assert REFERENCES.keys() == LOSSES.keys()


def operands(name, keywords, shape, dtype=np.float64):
    x = RNG.normal(0, 3, shape)
    targets = RNG.normal(0, 2, shape)
    if name == "binary_cross_entropy_with_logits":
        targets = RNG.integers(0, 2, shape) * RNG.choice([1, 0.75], shape)
    if name == "kl_div":
        x, targets = -abs(x), RNG.uniform(0, 1, shape)
        targets[targets < 0.1] = 0
        if keywords.get("log_target"):
            targets = np.log(targets + 0.01)
    return x.astype(dtype), targets.astype(dtype)


def functions(name):
    return [getattr(losses, name + suffix) for suffix in ("", "_grad", "_with_grad")]


@pytest.mark.parametrize("dtype", only(["float32"], ["float32", "float64"]))
@pytest.mark.parametrize("shape", [(), (7,), (3, 1025)], ids=str)
@pytest.mark.parametrize(("name", "keywords"), CASES)
def test_value_and_gradient(name, keywords, shape, dtype):
    x, targets = operands(name, keywords, shape, dtype)
    wide = (x.astype(np.longdouble), targets.astype(np.longdouble))
    terms, slopes = REFERENCES[name](*wide, **keywords)
    value, grad, both = functions(name)
    eps = np.finfo(dtype).eps
    divisors = {"none": 1, "sum": 1, "mean": max(1, x.size), "batchmean": len(x) if shape else 1}
    for reduction in LOSSES[name].reductions:
        right = terms if reduction == "none" else terms.sum() / divisors[reduction]
        actual = value(x, targets, reduction=reduction, **keywords)
        # Beside the sizes of what is added: a divergence has terms of both signs.
        size = abs(terms) + abs(targets) if reduction == "none" else abs(right) + eps
        assert (abs(actual - right) <= 8 * eps * size).all()
        by = grad(x, targets, reduction=reduction, **keywords)
        scale = abs(slopes) / divisors[reduction] + np.finfo(dtype).tiny
        at_once = both(x, targets, reduction=reduction, **keywords)
        assert (
            abs(by - slopes / divisors[reduction]) <= 8 * eps * np.maximum(scale, 0.1 * scale.max())
        ).all()
        np.testing.assert_array_equal(at_once[0], actual)
        np.testing.assert_array_equal(at_once[1], by)
        assert (actual.dtype, by.dtype) == (x.dtype, x.dtype)


@pytest.mark.parametrize(("name", "keywords"), CASES)
def test_out(name, keywords):
    x, targets = operands(name, keywords, (40, 100))
    _, grad, both = functions(name)
    right = grad(x, targets, **keywords)
    memory = np.concatenate([x[:1], x])
    ahead, behind = memory[1:], memory[:-1]
    np.testing.assert_array_equal(grad(ahead, targets, out=behind, **keywords), right)
    out = np.zeros((100, 40)).T
    assert grad(x, targets, out=out, **keywords) is out
    np.testing.assert_array_equal(out, right)
    _, by = both(x, targets, out=x, **keywords)
    assert by is x
    np.testing.assert_array_equal(x, right)


def test_none_is_the_default():
    x, targets = operands("mse", {}, (5,))
    assert losses.mse(x, targets, weight=None) == losses.mse(x, targets)


@pytest.mark.parametrize("shape", [(5,), (1, 3, 5), (4, 1, 1), (4, 3, 5)], ids=str)
def test_parameters_broadcast(shape):
    x, targets = operands("binary_cross_entropy_with_logits", {}, (4, 3, 5))
    keywords = {"weight": RNG.uniform(1, 2, shape), "pos_weight": RNG.uniform(1, 2, (5,))}
    terms, slopes = REFERENCES["binary_cross_entropy_with_logits"](x, targets, **keywords)
    loss, grad = losses.binary_cross_entropy_with_logits_with_grad(
        x, targets, reduction="sum", **keywords
    )
    np.testing.assert_allclose(loss, terms.sum(), 1e-13)
    np.testing.assert_allclose(grad, slopes, 1e-12, 1e-15)


@pytest.mark.parametrize("dtype", only(["bfloat16"], ["bfloat16", "float16"]))
@pytest.mark.parametrize("name", LOSSES)
def test_half_types(name, dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    half = [array.astype(dtype) for array in operands(name, {}, (70, 30))]
    loss, grad = functions(name)[2](*half)
    right, right_grad = functions(name)[2](*(array.astype(np.float32) for array in half))
    assert loss == right.astype(dtype)
    np.testing.assert_array_equal(grad, right_grad.astype(dtype))


def test_other_layouts_and_targets():
    x, targets = operands("kl_div", {}, (70, 30))
    right = losses.kl_div(x, targets)
    assert losses.kl_div(x.astype(">f8").T, targets.T) == pytest.approx(right, rel=1e-14)
    integers = (targets > 0.5).astype(np.int8)
    assert losses.kl_div(x, integers) == losses.kl_div(x, integers.astype(float))


@pytest.mark.parametrize("size", [90_000, pytest.param(2_000_003, marks=pytest.mark.thorough)])
def test_the_same_for_any_number_of_threads(size):
    x, targets = operands("mse", {}, (size,), np.float32)
    results = []
    for threads in (1, 2, 3):
        with fa.num_threads(threads):
            results.append(losses.mse_with_grad(x, targets))
    for value, grad in results[1:]:
        assert value == results[0][0]
        np.testing.assert_array_equal(grad, results[0][1])


def test_small_losses_keep_their_digits():
    x = np.array([50.0, -50.0])
    loss, grad = losses.binary_cross_entropy_with_logits_with_grad(x, [1, 0], reduction="none")
    np.testing.assert_allclose(loss, [np.exp(-50.0)] * 2, 1e-14)
    np.testing.assert_allclose(grad, [-np.exp(-50.0), np.exp(-50.0)], 1e-14)


def test_edge_cases():
    for name in LOSSES:
        empty = np.ones((0, 3))
        assert np.isnan(functions(name)[0](empty, empty))
        assert functions(name)[0](empty, empty, reduction="sum") == 0
        assert functions(name)[1](empty, empty).shape == (0, 3)
        with np.errstate(all="raise"):
            loss, _ = functions(name)[2](np.array([np.nan, 0.0]), [0.5, 0.5], reduction="none")
        assert list(np.isnan(loss)) == [True, False]
    # -log(0) is infinite, and 0 times it is NaN, as in PyTorch.
    log_probs, targets = np.array([-np.inf, -np.inf]), np.array([0.5, 0.0])
    np.testing.assert_array_equal(
        losses.kl_div(log_probs, targets, reduction="none"), [np.inf, np.nan]
    )
    assert losses.huber(np.array([np.inf]), [0.0]) == np.inf


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        (
            "mse",
            {"targets": np.ones(3)},
            r"mse: targets must have the shape of predictions, \(2,\)",
        ),
        ("mse", {"reduction": "batchmean"}, "reduction must be 'mean', 'sum' or 'none'"),
        ("mse", {"weight": np.ones(3)}, r"weight must be a number or broadcast to \(2,\)"),
        ("huber", {"delta": -1}, "huber: delta must be at least 0"),
        ("mse_grad", {"out": np.ones(3)}, r"mse_grad: out must be an ndarray of shape \(2,\)"),
    ],
)
def test_errors(name, keywords, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(np.ones(2), **{"targets": np.ones(2), **keywords})
    with pytest.raises(TypeError, match="predictions must be floating-point numbers"):
        losses.mse([1, 2], [1, 2])
