"""What the demo's networks have in common: data, loss, gradient descent, and lines of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Digits", "cross_entropy", "descend", "epochs", "initial", "load", "row"]

# NumPy is imported when the command runs, so that ``fastact --help`` answers at once.
Array = Any

RATE, MOMENTUM = 0.05, 0.9


@dataclasses.dataclass(frozen=True)
class Digits:
    """Images and the digits that they show, to train with and to be tested with."""

    x: Array
    digits: Array
    unseen_x: Array
    unseen_digits: Array

    def shuffled(self, rng: Any) -> tuple[Array, Array]:
        order = rng.permutation(len(self.x))
        return self.x[order], self.digits[order]


def load() -> Digits:
    """scikit-learn's handwritten digits: 1797 images of 8 x 8 pixels. May raise ImportError."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    x, unseen_x, digits, unseen_digits = train_test_split(
        images, digits, test_size=0.25, random_state=0, stratify=digits
    )
    return Digits(x, digits, unseen_x, unseen_digits)


def epochs(count: int) -> Iterable[int]:
    """Their numbers, with a progress bar on a terminal. May raise ImportError."""
    from rich.console import Console
    from rich.progress import track

    terminal = Console(stderr=True)
    quiet = not terminal.is_terminal
    return track(range(count), "training", console=terminal, disable=quiet)


def initial(sizes: Iterable[tuple[int, int]], seed: int) -> Iterator[tuple[Array, Array]]:
    """Weights and biases of layers (He, Zhang, Ren and Sun, 2015, arXiv:1502.01852)."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for rows, columns in sizes:
        weight = rng.normal(0, (2 / rows) ** 0.5, (rows, columns)).astype(np.float32)
        yield weight, np.zeros(columns, np.float32)


def cross_entropy(scores: Array, digits: Array) -> tuple[float, Array]:
    """The mean cross entropy of softmax, and its gradient by the scores."""
    import numpy as np

    rows = np.arange(len(digits))
    grad = np.exp(scores - scores.max(axis=1, keepdims=True))
    grad /= grad.sum(axis=1, keepdims=True)
    loss = -np.log(grad[rows, digits]).mean()
    grad[rows, digits] -= 1
    grad /= len(digits)
    return float(loss), grad


def descend(parameter: Array, velocity: Array, gradient: Array) -> None:
    """A step of gradient descent with momentum; changes all three."""
    velocity *= MOMENTUM
    gradient *= RATE
    velocity -= gradient
    parameter += velocity


def row(label: str, *cells: str) -> None:
    print(f"{label:28}" + "".join(f"{cell:>14}" for cell in cells))
