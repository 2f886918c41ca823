"""How often the units of a layer are active."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ActivationStats"]

Array = npt.NDArray[Any]


class ActivationStats:
    """What ``fastact.fused.relu_stats`` counts over batches: how often each unit was active.

    A unit that no input activates gets no gradient and learns no more: it is *dead*. Objects can be
    pickled and added, so that what several processes counted can be brought together.

    Parameters
    ----------
    counts : array_like of int, optional
        How often each unit was active so far; the default is nothing counted.
    samples : int, default 0
        Of how many times.

    Attributes
    ----------
    counts : ndarray of int64
    samples : int

    References
    ----------
    .. [1] Lu, Shin, Su and Karniadakis, Dying ReLU and initialization, 2019, arXiv:1903.06733.

    Examples
    --------
    >>> stats = fa.fused.ActivationStats([3, 0, 1], 4)
    >>> stats
    ActivationStats(3 units, 4 samples: 33.3% active, 1 dead)
    >>> stats.dead_units()
    array([1])
    >>> (stats + stats).samples
    8
    """

    def __init__(self, counts: npt.ArrayLike = (), samples: int = 0) -> None:
        self.counts: Array = np.array(counts, np.int64)
        self.samples = int(samples)
        if self.counts.ndim != 1 or self.samples < 0:
            raise ValueError("ActivationStats: counts must have one dimension, samples be >= 0")
        if self.counts.size and not 0 <= self.counts.min() <= self.counts.max() <= self.samples:
            raise ValueError(f"ActivationStats: counts must be from 0 to samples ({samples})")

    @property
    def active_fraction(self) -> Array:
        """For each unit, the part of the samples that activated it; NaN if there was none."""
        with np.errstate(invalid="ignore"):
            return self.counts / np.float64(self.samples)

    @property
    def sparsity(self) -> float:
        """The part of all outputs that was zero; NaN if there was none."""
        return float(1 - self.active_fraction.mean()) if self.counts.size else float("nan")

    def dead_units(self, tolerance: float = 0.0) -> Array:
        """The numbers of units that at most ``tolerance`` (a fraction) of the samples activated."""
        return np.flatnonzero(self.active_fraction <= tolerance)

    def add(self, counts: Array, samples: int) -> None:
        """Count more, in place."""
        self.check_units("ActivationStats.add", len(counts))
        if not self.counts.size:
            self.counts = np.zeros(len(counts), np.int64)
        self.counts += counts
        self.samples += samples

    def merge(self, other: ActivationStats) -> None:
        """Count what another object, perhaps of another process, has counted."""
        if other.counts.size:
            self.add(other.counts, other.samples)

    def check_units(self, function: str, units: int) -> None:
        """Raise ValueError if another number of units has been counted."""
        if self.counts.size not in (0, units):
            raise ValueError(f"{function}: stats has counted {len(self.counts)} units, not {units}")

    def plot(self, ax: Any = None) -> Any:
        """A histogram of ``active_fraction`` on Matplotlib's axes, which are returned."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(layout="constrained").add_subplot()
        ax.hist(self.active_fraction, bins=np.linspace(0, 1, 41))
        dead = len(self.dead_units())
        ax.set(xlabel="fraction of samples that activate a unit", ylabel="units")
        ax.set_title(f"{len(self.counts)} units, {dead} dead, sparsity {self.sparsity:.1%}")
        return ax

    def __add__(self, other: ActivationStats) -> ActivationStats:
        if not isinstance(other, ActivationStats):
            return NotImplemented
        result = ActivationStats(self.counts, self.samples)
        result.merge(other)
        return result

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActivationStats):
            return NotImplemented
        return self.samples == other.samples and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if not self.samples:
            return "ActivationStats(nothing counted)"
        return (
            f"ActivationStats({len(self.counts)} units, {self.samples} samples: "
            f"{1 - self.sparsity:.1%} active, {len(self.dead_units())} dead)"
        )
