"""Train a network on real data twice, with NumPy's idioms and with fastact, and compare.

The data are scikit-learn's handwritten digits (1797 images of 8 x 8 pixels). Both networks start
from the same weights and see the same batches; they are trained in turn, epoch by epoch, so that
neither has the machine to itself at a better moment. With --fused it is a residual network, with
the kernels of fastact.fused, and memory is compared, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

from fastact.cli.demo.training import Digits, cross_entropy, descend, epochs, initial, load, row

__all__ = ["add_arguments", "run"]

# NumPy is imported when the command runs, so that ``fastact --help`` answers at once.
Array = Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=30, help="passes over the data (30)")
    parser.add_argument(
        "--hidden", type=int, help="units in each hidden layer (512, or 256 with --fused)"
    )
    parser.add_argument("--batch", type=int, help="images in a batch (256, or 512 with --fused)")
    parser.add_argument("--fused", action="store_true", help="fused kernels and one-bit masks")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches (0)")


def run(options: argparse.Namespace) -> int:
    if options.hidden is None:
        options.hidden = 256 if options.fused else 512
    if options.batch is None:
        options.batch = 512 if options.fused else 256
    for name in ("epochs", "hidden", "batch"):
        if getattr(options, name) < 1:
            print(f"fastact demo: --{name} must be at least 1", file=sys.stderr)
            return 2
    try:
        data, passes = load(), epochs(options.epochs)
    except ImportError as error:
        print(
            f"fastact demo needs {error.name}, which comes with: pip install 'fastact[demo]'",
            file=sys.stderr,
        )
        return 2
    if options.fused:
        from fastact.cli.demo import residual

        residual.compare(data, passes, options)
        return 0
    import numpy as np

    sizes = [data.x.shape[1], options.hidden, options.hidden, 10]
    networks = [Network(kind, sizes, options.seed) for kind in (with_numpy(), with_fastact())]
    load_kernels(options)
    batches = np.random.default_rng(options.seed)
    for _ in passes:
        x, digits = data.shuffled(batches)
        for network in networks:
            network.train(x, digits, options.batch)
    report(networks, data)
    find_dead_units(networks[1], data.x, options.batch)
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

    def __init__(self, relu: Relu, sizes: list[int], seed: int) -> None:
        import numpy as np

        self.relu = relu
        self.seconds = 0.0
        weights, biases = zip(*initial(itertools.pairwise(sizes), seed), strict=True)
        self.weights, self.biases = list(weights), list(biases)
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
        layers = self.activations(x)
        _, grad = cross_entropy(layers[-1], digits)
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
            descend(parameter, velocity, gradient)


def timed(times: list[float], function: Callable[..., Array], *arguments: Array) -> Array:
    start = time.perf_counter()
    result = function(*arguments)
    times.append(time.perf_counter() - start)
    return result


# --- the report ---------------------------------------------------------------------------------


def report(networks: list[Network], data: Digits) -> None:
    import numpy as np

    import fastact as fa

    def times(label: str, of: Callable[[Network], float], unit: float, suffix: str) -> None:
        theirs, ours = map(of, networks)
        cells = [f"{t / unit:.1f} {suffix}" for t in (theirs, ours)]
        row(label, *cells, f"{theirs / ours:.2f} x")

    calls = len(networks[0].relu.forward_times) + len(networks[0].relu.backward_times)
    # Taken now: computing the accuracies times more calls.
    totals = [(sum(n.relu.forward_times) + sum(n.relu.backward_times), n.seconds) for n in networks]
    row("", *[n.relu.name for n in networks], "faster")
    answers = [n.activations(data.unseen_x)[-1].argmax(axis=1) for n in networks]
    accuracies = [np.mean(answer == data.unseen_digits) for answer in answers]
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
    print(f"{fa.get_num_threads()} threads, float32, layers {second.weights[0].shape[0]}", end="")
    print("".join(f"-{w.shape[1]}" for w in second.weights))


def find_dead_units(network: Network, x: Array, batch: int) -> None:
    """What ``relu_stats`` tells of the hidden layers, also when a bias has killed some units."""
    from fastact.fused import ActivationStats, relu_stats

    def count() -> list[ActivationStats]:
        stats = [ActivationStats() for _ in network.biases[:-1]]
        for i in range(0, len(x), batch):
            y = x[i : i + batch]
            layers = zip(network.weights, network.biases, stats, strict=False)
            for weight, bias, units in layers:
                y = relu_stats(y @ weight + bias, units)
        return stats

    before = count()
    for i, stats in enumerate(before, start=1):
        dead, units = len(stats.dead_units()), len(stats.counts)
        print(
            f"Hidden layer {i}: {stats.sparsity:.1%} of the outputs are zero, "
            f"{dead} of {units} units are dead (never active)."
        )
    first = network.biases[0]
    killed = slice(0, min(3, len(first)))
    alive = first[killed].copy()
    first[killed] = -100
    found = set(count()[0].dead_units()) - set(before[0].dead_units())
    first[killed] = alive
    print(
        f"With a bias of -100 for units 0 to {len(alive) - 1} of layer 1, relu_stats finds these "
        f"dead, too: {', '.join(map(str, sorted(found))) or 'none that were alive'}."
    )
