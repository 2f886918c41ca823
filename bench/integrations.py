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
from typing import Any

import numpy as np

from fastact import integrations
from fastact.benchmark import timing

#: What a program is, how it runs as it is, and how with fastact.
Program = tuple[str, Callable[[], Any], Callable[[], Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PROGRAMS)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    for integration in integrations.list():
        if integration.name == options.name:
            print(integration)
    for label, before, after in PROGRAMS[options.name]():
        times = in_turns(before, after, options.rounds)
        found = timing.ratio(times, "before", "after")
        ratios = [b / a for b, a in zip(times["before"], times["after"], strict=True)]
        print(
            f"{label:58} {found.value:6.2f}  [{found.low:.2f}, {found.high:.2f}]"
            f"  {min(ratios):.2f} to {max(ratios):.2f}",
            flush=True,
        )


def in_turns(
    before: Callable[[], Any], after: Callable[[], Any], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each, round by round: A B B A A B ..."""
    times: dict[str, list[float]] = {"before": [], "after": []}
    turn = [("before", before), ("after", after)]
    for _, program in turn:  # everything is compiled, and in the caches
        program()
    for _ in range(rounds):
        for name, program in turn:
            start = time.perf_counter()
            program()
            times[name].append(time.perf_counter() - start)
        turn.reverse()
    return times


def sklearn() -> Iterator[Program]:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    from fastact.integrations.sklearn import patched

    warnings.simplefilter("ignore")  # that training has not converged
    digits, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    images = rng.random((10_000, 784), np.float32)
    classes = rng.integers(10, size=len(images))

    def with_patch(program: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            with patched():
                program()

        return run

    data = {
        "1797 x 64 float64": (digits, labels, 15),
        "10000 x 784 float32": (images, classes, 2),
    }
    for activation in ("relu", "tanh", "logistic"):
        for text, (x, y, epochs) in data.items():
            for hidden in ((100,), (256, 256)):

                def train(x=x, y=y, hidden=hidden, activation=activation, epochs=epochs):  # type: ignore[no-untyped-def]
                    network = MLPClassifier(hidden, activation=activation, max_iter=epochs)
                    return network.set_params(random_state=0).fit(x, y)

                label = f"train {activation} {hidden}, {text}"
                yield label, train, with_patch(train)
            network = train()

            def predict(network=network, x=x):  # type: ignore[no-untyped-def]
                return network.predict_proba(x)

            label = f"predict {activation} {hidden}, {text}"
            yield label, predict, with_patch(predict)


PROGRAMS = {"sklearn": sklearn}

if __name__ == "__main__":
    main()
