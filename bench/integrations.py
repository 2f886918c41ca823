"""Whole programs as they are, and with an integration: how many times faster they become.

    python bench/integrations.py sklearn --rounds 9

Both run in turns in one process; what is printed is the median of the rounds' ratios, its 95 %
interval, and the smallest and the largest.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from fastact import integrations
from fastact.benchmark import timing

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
#: What a program is, how it runs as it is, and how with fastact, and in what context that is.
Program = tuple[str, Callable[[], Any], Callable[[], Any], Callable[[], Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PROGRAMS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: seconds of this process on all cores, for a machine that others use, too; with "
        "one thread (OPENBLAS_NUM_THREADS, OMP_NUM_THREADS, FASTACT_NUM_THREADS) they are those "
        "that pass where there are no others",
    )
    options = parser.parse_args()
    for integration in integrations.list():
        if integration.name == options.name:
            print(integration)
    for label, before, after, patched in PROGRAMS[options.name]():
        times = in_turns(before, after, patched, options.rounds, CLOCKS[options.clock])
        found = timing.ratio(times, "before", "after")
        ratios = [b / a for b, a in zip(times["before"], times["after"], strict=True)]
        print(
            f"{label:58} {found.value:6.2f}  [{found.low:.2f}, {found.high:.2f}]"
            f"  {min(ratios):.2f} to {max(ratios):.2f}",
            flush=True,
        )


def in_turns(
    before: Callable[[], Any],
    after: Callable[[], Any],
    patched: Callable[[], Any],
    rounds: int,
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Seconds of each, round by round: A B B A A B ..."""
    times: dict[str, list[float]] = {"before": [], "after": []}
    turn = [("before", before, nullcontext), ("after", after, patched)]
    for _, program, context in turn:  # everything is compiled, and in the caches
        with context():
            program()
    for _ in range(rounds):
        for name, program, context in turn:
            with context():
                start = clock()
                program()
                times[name].append(clock() - start)
        turn.reverse()
    return times


def sklearn() -> Iterator[Program]:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    from fastact.integrations.sklearn import patched

    warnings.simplefilter("ignore")  # that training has not converged
    digits, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    images = rng.random((4000, 784), np.float32)
    classes = rng.integers(10, size=len(images))

    def network(activation: str, hidden: tuple[int, ...], epochs: int) -> Any:
        return MLPClassifier(hidden, activation=activation, max_iter=epochs, random_state=0)

    for activation in ("relu", "tanh", "logistic"):
        for hidden in ((100,), (256, 256)):

            def train(activation: str = activation, hidden: tuple[int, ...] = hidden) -> Any:
                return network(activation, hidden, 4).fit(digits, labels)

            yield f"train {activation} {hidden}, 1797 x 64 float64", train, train, patched
    for activation in ("relu", "tanh", "logistic"):
        trained = network(activation, (256, 256), 1).fit(images, classes)

        def predict(trained: Any = trained) -> Any:
            return trained.predict_proba(images)

        yield f"predict {activation} (256, 256), 4000 x 784 float32", predict, predict, patched


def onnx() -> Iterator[Program]:
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    from fastact.integrations.onnx import operators

    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((512, 128), np.float32)}
    for activation in ("Relu", "Gelu", "Mish", "HardSwish"):
        nodes, weights, width, value = [], [], 128, "x"
        for layer in range(4):
            weight = rng.standard_normal((width, 256), np.float32) / 16
            weights.append(numpy_helper.from_array(weight, f"w{layer}"))
            nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], [f"z{layer}"]))
            value, width = f"y{layer}", 256
            nodes.append(helper.make_node(activation, [f"z{layer}"], [value]))
        nodes.append(helper.make_node("Softmax", [value], ["p"]))
        x, p = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xp")
        graph = helper.make_graph(nodes, "perceptron", [x], [p], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
        typed = helper.make_tensor_value_info("x", TensorProto.FLOAT, [512, 128])
        model.graph.input[0].CopyFrom(typed)
        before, after = ReferenceEvaluator(model), ReferenceEvaluator(model, new_ops=operators())
        yield (
            f"perceptron 128-256-256-256-256, {activation}, 512 rows",
            lambda before=before: before.run(None, feeds),  # type: ignore[misc]
            lambda after=after: after.run(None, feeds),  # type: ignore[misc]
            nullcontext,
        )


def thinc() -> Iterator[Program]:
    from thinc import api

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 96), np.float32)
    y = np.eye(10, dtype=np.float32)[rng.integers(10, size=len(x))]

    def training(ops: str, layer: Any) -> Callable[[], Any]:
        def run() -> None:
            with api.use_ops(ops):
                model = api.chain(layer(128, 96), layer(128, 128), api.Softmax(10, 128))
                model.initialize(X=x[:5], Y=y[:5])
                optimizer = api.Adam(0.001)
                for start in range(0, len(x), 100):
                    guess, backprop = model.begin_update(x[start : start + 100])
                    backprop(guess - y[start : start + 100])
                    model.finish_update(optimizer)

        return run

    for layer in (api.Relu, api.Mish, api.Swish, api.Gelu, api.Maxout):
        before, after = training("numpy", layer), training("fastact", layer)
        yield f"train {layer.__name__} 96-128-128-10, batches of 100", before, after, nullcontext


def boosting() -> Iterator[Program]:
    import lightgbm
    import xgboost

    from fastact.objectives import Logistic, Softmax

    rng = np.random.default_rng(0)
    features = rng.standard_normal((100_000, 10), np.float32)
    binary = (features[:, 0] + rng.standard_normal(len(features)) > 0).astype(np.float32)
    classes = np.digitize(features[:, 0], [-1, -0.5, 0, 0.5, 1]).astype(np.float32)

    def logistic(preds: Any, data: Any) -> Any:
        p = 1 / (1 + np.exp(-preds))
        return p - data.get_label(), p * (1 - p)

    def softmax(preds: Any, data: Any) -> Any:
        e = np.exp(preds - preds.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        gradient = p.copy()
        gradient[np.arange(len(p)), data.get_label().astype(int)] -= 1
        return gradient, 2 * p * (1 - p)

    def of_lightgbm(y: Any, objective: Any, **settings: Any) -> Callable[[], Any]:
        common = {"verbose": -1, "num_leaves": 15, "objective": objective, **settings}
        dataset = lightgbm.Dataset(features, y).construct()
        return lambda: lightgbm.train(common, dataset, 20)

    def of_xgboost(y: Any, objective: Any, **settings: Any) -> Callable[[], Any]:
        common = {"max_depth": 4, "tree_method": "hist", **settings}
        matrix = xgboost.DMatrix(features, y)
        return lambda: xgboost.train(common, matrix, 20, obj=objective)

    for name, train in (("LightGBM", of_lightgbm), ("XGBoost", of_xgboost)):
        text = f"{name}, 20 rounds of 100000 rows"
        yield (
            f"{text}, logistic",
            train(binary, logistic),
            train(binary, Logistic().train),
            nullcontext,
        )
        theirs, ours = (train(classes, f, num_class=6) for f in (softmax, Softmax(2.0).train))
        yield f"{text}, 6 classes", theirs, ours, nullcontext


def keras() -> Iterator[Program]:
    from keras import Input, Sequential, layers

    from fastact.integrations.keras import patched

    x = np.random.default_rng(0).standard_normal((512, 128), np.float32)
    for activation in ("relu", "gelu", "silu", "tanh"):
        dense = [layers.Dense(256, activation) for _ in range(4)]
        model = Sequential([Input((128,)), *dense, layers.Dense(10, "softmax")])

        def infer(model: Any = model) -> Any:
            return model(x, training=False)

        yield f"perceptron 128-256-256-256-256-10, {activation}, 512 rows", infer, infer, patched


PROGRAMS = {"sklearn": sklearn, "keras": keras, "onnx": onnx, "thinc": thinc, "boosting": boosting}

if __name__ == "__main__":
    main()
