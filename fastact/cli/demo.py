"""Train a network on real data twice, with NumPy's idioms and with fastact, and compare.

The data are scikit-learn's handwritten digits (1797 images of 8 x 8 pixels). Both networks start
from the same weights and see the same batches; they are trained in turn, epoch by epoch, so that
neither has the machine to itself at a better moment.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["add_arguments", "run"]

# NumPy is imported when the command runs, so that ``fastact --help`` answers at once.
Array = Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=30, help="passes over the data (30)")
    parser.add_argument("--hidden", type=int, default=512, help="units in each hidden layer (512)")
    parser.add_argument("--batch", type=int, default=256, help="images in a batch (256)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (0)")


def run(options: argparse.Namespace) -> int:
    for name in ("epochs", "hidden", "batch"):
        if getattr(options, name) < 1:
            print(f"fastact demo: --{name} must be at least 1", file=sys.stderr)
            return 2
    try:
        from rich.console import Console
        from rich.progress import track
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        print(
            f"fastact demo needs {error.name}, which comes with: pip install 'fastact[demo]'",
            file=sys.stderr,
        )
        return 2
    import numpy as np

    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    data = train_test_split(images, digits, test_size=0.25, random_state=0, stratify=digits)
    sizes = [images.shape[1], options.hidden, options.hidden, 10]
    networks = [Network(kind, sizes, options.seed) for kind in (with_numpy(), with_fastact())]
    load_kernels(options)
    batches = np.random.default_rng(options.seed)
    terminal = Console(stderr=True)
    quiet = not terminal.is_terminal
    for _ in track(range(options.epochs), "training", console=terminal, disable=quiet):
        order = batches.permutation(len(data[0]))
        for network in networks:
            network.train(data[0][order], data[2][order], options.batch)
    report(networks, data[1], data[3], data[0])
    return 0


# --- ReLU, written in two ways ------------------------------------------------------------------


@dataclasses.dataclass
class Relu:
    """How a network computes ReLU, forward and backward, and how long that took."""

    name: str
    forward: Callable[[Array], Array]
    backward: Callable[[Array, Array], Array]
    forward_times: list[float] = dataclasses.field(default_factory=list)
    backward_times: list[float] = dataclasses.field(default_factory=list)


def with_numpy() -> Relu:
    import numpy as np

    return Relu("NumPy", lambda x: np.maximum(x, 0), lambda grad, y: grad * (y > 0))


def with_fastact() -> Relu:
    import fastact as fa

    # In place, since what goes in is not needed any more.
    return Relu("fastact", fa.relu_, lambda grad, y: fa.relu_backward(grad, y, out=grad))


def load_kernels(options: argparse.Namespace) -> None:
    """Compile the two kernels, or load them from the cache, before anything is timed."""
    import numpy as np

    import fastact as fa

    start = time.perf_counter()
    x = np.zeros((options.batch, options.hidden), np.float32)
    fa.relu_backward(x, fa.relu_(x))
    print(f"kernels ready in {time.perf_counter() - start:.2f} s (compiled once, then cached)\n")


# --- the network --------------------------------------------------------------------------------


class Network:
    """A multilayer perceptron with ReLU, trained by gradient descent with momentum."""

    rate, momentum = 0.05, 0.9

    def __init__(self, relu: Relu, sizes: list[int], seed: int) -> None:
        import numpy as np

        rng = np.random.default_rng(seed)
        self.relu = relu
        self.seconds = 0.0
        self.weights = [
            rng.normal(0, (2 / rows) ** 0.5, (rows, columns)).astype(np.float32)
            for rows, columns in itertools.pairwise(sizes)
        ]
        self.biases = [np.zeros(columns, np.float32) for columns in sizes[1:]]
        self.velocities = [np.zeros_like(p) for p in self.weights + self.biases]

    def activations(self, x: Array) -> list[Array]:
        """What goes into each layer, and what comes out of the last."""
        layers = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = layers[-1] @ weight + bias
            layers.append(timed(self.relu.forward_times, self.relu.forward, z))
        layers.append(layers[-1] @ self.weights[-1] + self.biases[-1])
        return layers

    def train(self, x: Array, digits: Array, batch: int) -> None:
        """One epoch."""
        start = time.perf_counter()
        for i in range(0, len(x), batch):
            self.step(x[i : i + batch], digits[i : i + batch])
        self.seconds += time.perf_counter() - start

    def step(self, x: Array, digits: Array) -> None:
        import numpy as np

        layers = self.activations(x)
        # The gradient of the mean cross entropy by what comes out: softmax minus the right answer.
        grad = np.exp(layers[-1] - layers[-1].max(axis=1, keepdims=True))
        grad /= grad.sum(axis=1, keepdims=True)
        grad[np.arange(len(x)), digits] -= 1
        grad /= len(x)
        weight_grads: list[Array] = []
        bias_grads: list[Array] = []
        for i in reversed(range(len(self.weights))):
            weight_grads.insert(0, layers[i].T @ grad)
            bias_grads.insert(0, grad.sum(axis=0))
            if i > 0:
                grad = grad @ self.weights[i].T
                grad = timed(self.relu.backward_times, self.relu.backward, grad, layers[i])
        for parameter, velocity, gradient in zip(
            self.weights + self.biases, self.velocities, weight_grads + bias_grads, strict=True
        ):
            velocity *= self.momentum
            velocity -= self.rate * gradient
            parameter += velocity


def timed(times: list[float], function: Callable[..., Array], *arguments: Array) -> Array:
    start = time.perf_counter()
    result = function(*arguments)
    times.append(time.perf_counter() - start)
    return result


# --- the report ---------------------------------------------------------------------------------


def report(networks: list[Network], x: Array, digits: Array, training_x: Array) -> None:
    import numpy as np

    import fastact as fa

    def row(label: str, *cells: str) -> None:
        print(f"{label:28}" + "".join(f"{cell:>14}" for cell in cells))

    def times(label: str, of: Callable[[Network], float], unit: float, suffix: str) -> None:
        theirs, ours = map(of, networks)
        cells = [f"{t / unit:.1f} {suffix}" for t in (theirs, ours)]
        row(label, *cells, f"{theirs / ours:.2f} x")

    calls = len(networks[0].relu.forward_times) + len(networks[0].relu.backward_times)
    # Taken now: computing the accuracies times more calls.
    totals = [(sum(n.relu.forward_times) + sum(n.relu.backward_times), n.seconds) for n in networks]
    row("", *[n.relu.name for n in networks], "faster")
    accuracies = [np.mean(n.activations(x)[-1].argmax(axis=1) == digits) for n in networks]
    row("accuracy on unseen digits", *[f"{a:.2%}" for a in accuracies])
    times("relu, median call", lambda n: float(np.median(n.relu.forward_times)), 1e-6, "us")
    times(
        "relu backward, median call", lambda n: float(np.median(n.relu.backward_times)), 1e-6, "us"
    )
    times(f"all {calls} relu calls", lambda n: totals[networks.index(n)][0], 1e-3, "ms")
    times("whole training", lambda n: totals[networks.index(n)][1], 1e-3, "ms")

    first, second = networks
    same = all(map(np.array_equal, first.weights + first.biases, second.weights + second.biases))
    print(f"\nWeights after training: {'identical' if same else 'different'}.")
    for i, y in enumerate(second.activations(training_x)[1:-1], start=1):
        active = (y > 0).any(axis=0)
        print(
            f"Hidden layer {i}: {np.mean(y == 0):.1%} of the outputs are zero, "
            f"{np.count_nonzero(~active)} of {len(active)} units are dead (never active)."
        )
    print(f"{fa.get_num_threads()} threads, float32, layers {second.weights[0].shape[0]}", end="")
    print("".join(f"-{w.shape[1]}" for w in second.weights))
