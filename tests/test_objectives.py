"""Objectives of gradient boosting: derivatives of their losses, as the libraries call them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from scipy.special import log_softmax

from fastact.objectives import Logistic, Poisson, PseudoHuber, SmoothQuantile, Softmax

#: The loss of each row, in float64.
LOSSES = {
    Logistic(): lambda y, r: np.logaddexp(0, r) - y * r,
    Poisson(max_delta_step=0.0): lambda y, r: np.exp(r) - y * r,
    PseudoHuber(): lambda y, r: np.sqrt(1 + (r - y) ** 2) - 1,
    PseudoHuber(2.5): lambda y, r: 2.5**2 * (np.sqrt(1 + ((r - y) / 2.5) ** 2) - 1),
    SmoothQuantile(): lambda y, r: 0.5 * (y - r) + np.logaddexp(0, r - y),
    SmoothQuantile(0.9, 0.25): lambda y, r: 0.9 * (y - r) + 0.25 * np.logaddexp(0, (r - y) / 0.25),
}
OBJECTIVES = [*LOSSES, Softmax(1.0)]
STEP = 1e-4


def data(objective, dtype, n=500):
    rng = np.random.default_rng(0)
    if isinstance(objective, Softmax):
        return rng.integers(0, 4, n), rng.normal(0, 3, (n, 4)).astype(dtype)
    y = rng.integers(0, 2 if isinstance(objective, Logistic) else 5, n)
    return y.astype(dtype), rng.normal(0, 3, n).astype(dtype)


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("objective", LOSSES, ids=str)
def test_derivatives_of_the_loss(objective, dtype):
    y, raw = data(objective, dtype)
    gradient, hessian = objective(y, raw)
    assert gradient.dtype == hessian.dtype == np.float32
    loss, y, raw = LOSSES[objective], y.astype("d"), raw.astype("d")
    below, here, above = (loss(y, raw + step) for step in (-STEP, 0, STEP))
    np.testing.assert_allclose(gradient, (above - below) / (2 * STEP), rtol=1e-4, atol=1e-5)
    second = (above - 2 * here + below) / STEP**2
    np.testing.assert_allclose(hessian, second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", "fd")
def test_derivatives_of_softmax(dtype, order):
    y, raw = data(Softmax(), dtype)
    raw = np.asarray(raw, order=order)
    gradient, hessian = Softmax(factor=1.0)(y, raw)
    assert gradient.flags.f_contiguous == raw.flags.f_contiguous
    p = np.exp(log_softmax(raw.astype("d"), axis=1))
    np.testing.assert_allclose(gradient, p - np.eye(4)[y], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(hessian, p * (1 - p), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(Softmax()(y, raw)[1], p * (1 - p) * 4 / 3, rtol=1e-5, atol=1e-6)


def test_poisson_with_small_steps():
    assert Poisson()([1.0], [0.0])[1] == pytest.approx(np.exp(0.7))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_extreme_scores_give_neither_nan_nor_warnings(objective):
    scores = np.array([-1e30, -500, -80, 0, 80, 500, 1e30])
    raw = np.stack([scores, -scores], axis=1) if isinstance(objective, Softmax) else scores
    gradient, hessian = objective(np.ones(7), raw)
    assert np.isfinite(gradient).all()
    assert (hessian >= 0).all()
    if isinstance(objective, Logistic):
        np.testing.assert_allclose(gradient[4], -np.exp(-80), rtol=1e-5)


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_into_arrays_that_exist(objective, dtype):
    y, raw = data(objective, "f")
    out = np.empty_like(raw, dtype), np.empty_like(raw, dtype)
    given = objective.gradients(y, raw, out=out)
    for array, result, new in zip(out, given, objective(y, raw), strict=True):
        assert result is array
        np.testing.assert_array_equal(array, new)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_weights(objective):
    y, raw = data(objective, "d")
    weight = np.linspace(0, 2, len(y))
    for weighted, plain in zip(objective(y, raw, weight), objective(y, raw), strict=True):
        assert weighted.dtype == np.float32
        np.testing.assert_allclose(weighted.T, plain.T * weight, rtol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_copies(objective):
    assert pickle.loads(pickle.dumps(objective)) == objective == copy.deepcopy(objective)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PseudoHuber(0.0), "PseudoHuber: slope must be positive, got 0"),
        (lambda: SmoothQuantile(0.5, -1), "SmoothQuantile: width must be positive, got -1"),
        (lambda: SmoothQuantile(1.5), "SmoothQuantile: quantile must be between 0 and 1"),
        (lambda: Logistic()([1, 0], [1.0]), r"y_pred must have shape \(n,\).*\(1,\) and \(2,\)"),
        (lambda: Softmax()([1, 0], [1.0, 2.0]), r"y_pred must have shape \(n, classes\)"),
        (lambda: Softmax()([1, 2], np.ones((2, 2))), "from 0 to 1, there being 2 classes; it is"),
        (lambda: Softmax()([1, np.nan], np.ones((2, 2))), "y_true must be from 0 to 1"),
        (lambda: Logistic()([1, 0], [1.0, 0], [1.0]), r"sample_weight has shape \(1,\)"),
        (
            lambda: Logistic().gradients([1, 0], [1.0, 0], out=(np.ones(2), np.ones(3))),
            r"out must be two ndarrays of shape \(2,\), one is \(3,\)",
        ),
    ],
)
def test_what_is_wrong_with_a_call(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- the libraries --------------------------------------------------------------------------------

ROWS = 600
FEATURES = np.random.default_rng(1).normal(size=(ROWS, 5))
SIGNAL = FEATURES[:, 0] + 0.5 * FEATURES[:, 1] ** 2
TARGETS = {
    "logistic": (SIGNAL > 0.5).astype("d"),
    "poisson": np.random.default_rng(2).poisson(np.exp(SIGNAL / 2)).astype("d"),
    "softmax": np.digitize(SIGNAL, [-0.5, 1.0]).astype("d"),
    "huber": SIGNAL,
}


@pytest.mark.parametrize(
    ("target", "objective", "builtin"),
    [
        ("logistic", Logistic(), {"objective": "binary", "boost_from_average": False}),
        ("poisson", Poisson(), {"objective": "poisson", "boost_from_average": False}),
        ("softmax", Softmax(), {"objective": "multiclass", "num_class": 3}),
    ],
    ids=["logistic", "poisson", "softmax"],
)
def test_lightgbm(target, objective, builtin):
    lightgbm = pytest.importorskip("lightgbm")
    common = {"verbose": -1, "num_leaves": 7, "num_threads": 1, "boost_from_average": False}
    scores = []
    for settings in (builtin, builtin | {"objective": objective.train}):
        dataset = lightgbm.Dataset(FEATURES, TARGETS[target])
        booster = lightgbm.train(common | settings, dataset, 10)
        scores.append(booster.predict(FEATURES, raw_score=True))
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-3)
    estimator = (lightgbm.LGBMRegressor if target == "poisson" else lightgbm.LGBMClassifier)(
        n_estimators=10, num_leaves=7, n_jobs=1, verbose=-1, objective=objective
    ).fit(FEATURES, TARGETS[target])
    raw = estimator.predict(FEATURES, raw_score=True)
    np.testing.assert_allclose(raw, scores[1], atol=1e-3)


@pytest.mark.parametrize(
    ("target", "objective", "builtin"),
    [
        ("logistic", Logistic(), {"objective": "binary:logistic"}),
        ("poisson", Poisson(), {"objective": "count:poisson"}),
        ("softmax", Softmax(2.0), {"objective": "multi:softprob", "num_class": 3}),
        ("huber", PseudoHuber(), {"objective": "reg:pseudohubererror"}),
    ],
    ids=["logistic", "poisson", "softmax", "huber"],
)
def test_xgboost(target, objective, builtin):
    xgboost = pytest.importorskip("xgboost")
    common = {"max_depth": 3, "nthread": 1, "base_score": 0.5, "tree_method": "hist"}
    if target == "poisson":
        common["base_score"] = 1.0
    matrix = xgboost.DMatrix(FEATURES, TARGETS[target])
    theirs = xgboost.train(common | builtin, matrix, 10)
    custom = common | {key: v for key, v in builtin.items() if key == "num_class"}
    # Its own losses take base_score as a mean, others as a raw score.
    custom |= {"max_delta_step": 0.7} if target == "poisson" else {}
    custom["base_score"] = {"poisson": 0.0, "logistic": 0.0}.get(target, 0.5)
    ours = xgboost.train(custom, matrix, 10, obj=objective.train)
    expected = theirs.predict(matrix, output_margin=True)
    np.testing.assert_allclose(ours.predict(matrix, output_margin=True), expected, atol=1e-3)
    if target != "softmax":
        estimator = xgboost.XGBRegressor(
            n_estimators=10, max_depth=3, n_jobs=1, objective=objective
        ).set_params(**{k: custom[k] for k in custom if k not in ("nthread", "num_class")})
        estimator.fit(FEATURES, TARGETS[target], sample_weight=np.ones(ROWS))
        raw = estimator.predict(FEATURES, output_margin=True)
        np.testing.assert_allclose(raw, expected, atol=1e-3)
