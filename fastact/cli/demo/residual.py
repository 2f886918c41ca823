"""A residual network trained with NumPy's idioms and with ``fastact.fused``: time and memory.

A block computes h + relu(h @ weight + bias). For the gradients, what went into each block is kept
anyway, since the weight's needs it; of the ReLU, NumPy's idiom keeps the output, and ``relu_mask``
one bit for each element.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Iterable
from typing import Any

from fastact.cli.demo.training import Digits, cross_entropy, descend, initial, row

__all__ = ["compare"]

# NumPy is imported when the command runs, so that ``fastact --help`` answers at once.
Array = Any

BLOCKS = 8


class Network:
    """A layer, residual blocks, and a layer that scores each digit. Written with NumPy."""

    name = "NumPy"

    def __init__(self, pixels: int, hidden: int, seed: int) -> None:
        import numpy as np

        sizes = [(pixels, hidden), *[(hidden, hidden)] * BLOCKS, (hidden, 10)]
        self.layers = list(initial(sizes, seed))
        for weight, _ in self.layers[1:-1]:
            weight /= BLOCKS  # what blocks add would grow from one to the next
        self.velocities = [(np.zeros_like(w), np.zeros_like(b)) for w, b in self.layers]
        self.seconds: list[float] = []
        self.losses: list[float] = []

    # What a block makes of its input, and of the gradient by its output; ``kept`` is what is needed
    # for that besides the input. The gradients by weight and bias are used at once.

    def first(self, x: Array) -> Array:
        import numpy as np

        weight, bias = self.layers[0]
        return np.maximum(x @ weight + bias, 0)

    def first_backward(self, grad: Array, y: Array) -> tuple[Array, Array]:
        grad = grad * (y > 0)
        return grad, grad.sum(axis=0)

    def block(self, h: Array, weight: Array, bias: Array) -> tuple[Array, Array]:
        import numpy as np

        y = np.maximum(h @ weight + bias, 0)
        return h + y, y

    def block_backward(self, grad: Array, kept: Array) -> Array:
        return grad * (kept > 0)

    def added(self, grad: Array, more: Array) -> Array:
        return grad + more

    # The same for both.

    def scores(self, x: Array) -> Array:
        return self.forward(x)[2]

    def forward(self, x: Array) -> tuple[list[Array], list[Array], Array]:
        """What goes into each block and the last layer, what blocks keep, and the scores."""
        inputs, kept = [self.first(x)], []
        for weight, bias in self.layers[1:-1]:
            h, keep = self.block(inputs[-1], weight, bias)
            inputs.append(h)
            kept.append(keep)
        weight, bias = self.layers[-1]
        return inputs, kept, inputs[-1] @ weight + bias

    def step(self, x: Array, digits: Array) -> None:
        start = time.perf_counter()
        inputs, kept, scores = self.forward(x)
        loss, grad = cross_entropy(scores, digits)
        h = inputs.pop()
        by_weight, by_bias = h.T @ grad, grad.sum(axis=0)
        grad = grad @ self.layers[-1][0].T
        self.update(-1, by_weight, by_bias)
        for i in range(BLOCKS, 0, -1):
            h = inputs.pop()
            inner = self.block_backward(grad, kept.pop())
            by_weight, by_bias = h.T @ inner, inner.sum(axis=0)
            grad = self.added(grad, inner @ self.layers[i][0].T)
            self.update(i, by_weight, by_bias)
        grad, by_bias = self.first_backward(grad, h)
        self.update(0, x.T @ grad, by_bias)
        self.seconds.append(time.perf_counter() - start)
        self.losses.append(loss)

    def update(self, i: int, *gradients: Array) -> None:
        for triple in zip(self.layers[i], self.velocities[i], gradients, strict=True):
            descend(*triple)


class FusedNetwork(Network):
    """The same with fused kernels, in place, and with masks of one bit for each element."""

    name = "fastact"

    def first(self, x: Array) -> Array:
        from fastact import fused

        weight, bias = self.layers[0]
        z = x @ weight
        return fused.bias_act(z, bias, out=z)

    def first_backward(self, grad: Array, y: Array) -> tuple[Array, Array]:
        from fastact import fused

        return fused.bias_act_backward(grad, y, out=grad)

    def block(self, h: Array, weight: Array, bias: Array) -> tuple[Array, Array]:
        from fastact import fused

        z = h @ weight
        z += bias
        z, mask = fused.relu_mask(z, out=z)
        z += h
        return z, mask

    def block_backward(self, grad: Array, kept: Array) -> Array:
        from fastact import fused

        return fused.relu_mask_backward(grad, kept)

    def added(self, grad: Array, more: Array) -> Array:
        grad += more
        return grad


def compare(data: Digits, passes: Iterable[int], options: argparse.Namespace) -> None:
    """Train both, epoch by epoch in turn, and print what differs."""
    import numpy as np

    import fastact as fa

    pixels = data.x.shape[1]
    networks = [kind(pixels, options.hidden, options.seed) for kind in (Network, FusedNetwork)]
    batch = options.batch
    # A step of copies that are not trained: kernels are compiled, or loaded, before time counts.
    peaks = [
        peak_bytes(kind(pixels, options.hidden, options.seed), data.x[:batch], data.digits[:batch])
        for kind in (Network, FusedNetwork)
    ]
    rng = np.random.default_rng(options.seed)
    curves: list[list[float]] = [[], []]
    for _ in passes:
        x, digits = data.shuffled(rng)
        for network, curve in zip(networks, curves, strict=True):
            for i in range(0, len(x), batch):
                network.step(x[i : i + batch], digits[i : i + batch])
            curve.append(statistics.mean(network.losses))
            network.losses.clear()

    row("mean loss in epoch", *[network.name for network in networks])
    count = len(curves[0])
    for epoch in sorted({round(k * (count - 1) / 5) for k in range(6)}):
        row(f"{epoch + 1:18}", *[f"{curve[epoch]:.6f}" for curve in curves])
    apart = max(abs(a - b) / a for a, b in zip(*curves, strict=True))
    print(f"The curves are at most {apart:.0e} of the loss apart.\n")

    row("", *[network.name for network in networks], "less by")
    unseen = [n.scores(data.unseen_x).argmax(axis=1) == data.unseen_digits for n in networks]
    row("accuracy on unseen digits", *[f"{right.mean():.2%}" for right in unseen])
    theirs, ours = (statistics.median(network.seconds) * 1e3 for network in networks)
    row("a step, median", f"{theirs:.2f} ms", f"{ours:.2f} ms", f"{theirs / ours:.2f} x")
    theirs, ours = (sum(network.seconds) for network in networks)
    row("whole training", f"{theirs:.2f} s", f"{ours:.2f} s", f"{theirs / ours:.2f} x")
    theirs, ours = (peak / 1e6 for peak in peaks)
    row("peak memory of a step", f"{theirs:.1f} MB", f"{ours:.1f} MB", f"{theirs / ours:.2f} x")
    print(
        "\nMemory: besides parameters and data, as tracemalloc counts.\n"
        f"{BLOCKS} residual blocks of {options.hidden} units, batches of {batch}, float32, "
        f"{fa.get_num_threads()} threads"
    )


def peak_bytes(network: Network, x: Array, digits: Array) -> int:
    """The most memory that a step has at once."""
    network.step(x, digits)  # what is imported and compiled does not count
    tracemalloc.start()
    try:
        network.step(x, digits)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
