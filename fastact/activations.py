"""The catalogue: every activation as a scalar formula and its derivative.

This is the one place where an activation is written. Kernels for every dtype, the in-place and the
backward function, tests, benchmarks, type stubs and reference documentation are derived from it.

An entry is a class body with these names:

``formula``
    A plain Python function of scalars; it runs uncompiled, too, and so is its own reference. Its
    arguments after ``x`` are the parameters of the public function: same names, order, defaults.
``derivative``
    The formula's derivative by ``x``, with the same arguments. The backward function is
    ``grad * derivative`` with one rule on top: where the derivative is zero the result is zero,
    whatever ``grad`` is, so that an inactive unit does not pass on an infinity or a NaN.
``about``
    What each parameter means, in the order of the formula's arguments.
``idiom``, ``backward_idiom``
    What a NumPy user writes today, in terms of ``x``, ``grad``, ``out`` and the parameters: shown
    in the documentation and timed by the benchmarks.
``keeps_integers``
    Integer input gives output of the same integer dtype (otherwise it promotes to floating point).
``constraints``
    Inequalities that the parameters must satisfy, each as ``(smaller, larger)``; either side is a
    parameter's name or a number.
``arrays``
    How many of the formula's arguments are arrays of the same kind; what follows are parameters.
``weights``
    The parameters usually are arrays rather than numbers: kernels get a fast path for them.
``reference``
    The paper.

An entry whose name begins with an underscore is a kernel without a public function of its own.

Two rules keep formulas fast and right. They consist of assignments and a ``return``, and choose
between *values* (``a if c else b``, conditions joined by ``&`` and ``|``), which compiles to code
without branches that LLVM vectorizes. And conditions are arranged so that NaN falls through to the
input or to arithmetic on it, and so propagates. Number literals take the type that is computed in:
for float32 input, ``0.5`` is a float32.
"""
# mypy: disable-error-code="misc"

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["CATALOGUE", "Activation", "activation"]


@dataclasses.dataclass(frozen=True)
class Activation:
    """One entry of the catalogue; the fields are described at the top of this module."""

    name: str
    doc: str
    formula: Callable[..., Any]
    derivative: Callable[..., Any] | None = None
    idiom: str = ""
    backward_idiom: str = ""
    reference: str = ""
    about: tuple[str, ...] = ()
    keeps_integers: bool = False
    constraints: tuple[tuple[str | float, str | float], ...] = ()
    arrays: int = 1
    weights: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """Names of the parameters after the arrays, with their defaults."""
        parameters = list(inspect.signature(self.formula).parameters.values())[self.arrays :]
        return {p.name: p.default for p in parameters}


CATALOGUE: dict[str, Activation] = {}


def activation(body: type) -> Activation:
    """Enter the decorated class body into the catalogue, under the class's name."""
    fields = {name: value for name, value in vars(body).items() if not name.startswith("__")}
    entry = Activation(name=body.__name__, doc=inspect.getdoc(body) or "", **fields)
    if len(entry.about) != len(entry.parameters):
        raise TypeError(f"{entry.name}: 'about' must describe {list(entry.parameters)}")
    CATALOGUE[entry.name] = entry
    return entry


# --- the ReLU family ----------------------------------------------------------------------------


@activation
class relu:
    """Rectified linear unit: max(x, 0).

    The derivative at 0 is 0, as in PyTorch. ``relu(-0.0)`` is ``0.0``.

    >>> fa.relu(np.array([-1.5, 0.0, 2.0]))
    array([0., 0., 2.])
    >>> fa.relu(np.array([-3, 4]))
    array([0, 4])
    """

    reference = (
        "Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, 2010"
    )
    idiom = "np.maximum(x, 0, out=out)"
    backward_idiom = "grad * (x > 0)"
    keeps_integers = True

    def formula(x):
        return 0 if x <= 0 else x

    def derivative(x):
        return 1 if x > 0 else 0


@activation
class relu6:
    """Rectified linear unit capped at 6: min(max(x, 0), 6).

    The derivative at 0 and at 6 is 0.

    >>> fa.relu6(np.array([-1.0, 3.0, 8.0]))
    array([0., 3., 6.])
    """

    reference = "Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010"
    idiom = "np.clip(x, 0, 6, out=out)"
    backward_idiom = "grad * ((x > 0) & (x < 6))"
    keeps_integers = True

    def formula(x):
        return 0 if x <= 0 else (6 if x >= 6 else x)

    def derivative(x):
        return 1 if (x > 0) & (x < 6) else 0


@activation
class clipped_relu:
    """Rectified linear unit with a cap: min(max(x, 0), max_value).

    The derivative at 0 and at ``max_value`` is 0.

    >>> fa.clipped_relu(np.array([-1.0, 3.0, 8.0]), max_value=4)
    array([0., 3., 4.])
    """

    about = ("the cap, not negative",)
    reference = "Hannun et al., Deep Speech: scaling up end-to-end speech recognition, 2014"
    idiom = "np.clip(x, 0, max_value, out=out)"
    backward_idiom = "grad * ((x > 0) & (x < max_value))"
    keeps_integers = True
    constraints = ((0, "max_value"),)

    def formula(x, max_value=6):
        return 0 if x <= 0 else (max_value if x >= max_value else x)

    def derivative(x, max_value):
        return 1 if (x > 0) & (x < max_value) else 0


@activation
class leaky_relu:
    """Leaky rectified linear unit: x where x > 0, else negative_slope * x.

    The derivative at 0 is ``negative_slope``, as in PyTorch.

    >>> fa.leaky_relu(np.array([-2.0, 0.0, 2.0]))
    array([-0.02,  0.  ,  2.  ])
    """

    about = ("slope where x is not positive",)
    reference = (
        "Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models, 2013"
    )
    idiom = "np.where(x > 0, x, negative_slope * x)"
    backward_idiom = "np.where(x > 0, grad, negative_slope * grad)"

    def formula(x, negative_slope=0.01):
        return x if x > 0 else negative_slope * x

    def derivative(x, negative_slope):
        return 1 if x > 0 else negative_slope


@activation
class prelu:
    """Parametric rectified linear unit: x where x > 0, else weight * x.

    ``weight`` is a number, or has one element for each channel of ``x``. The derivative at 0 is
    ``weight``, as in PyTorch. ``prelu_backward`` gives the gradient of ``x``.

    >>> fa.prelu(np.array([[-2.0, -2.0], [4.0, 4.0]]), np.array([0.5, 0.25]))
    array([[-1. , -0.5],
           [ 4. ,  4. ]])
    """

    about = ("slope where x is not positive: a number, or one for each channel",)
    reference = "He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015, arXiv:1502.01852"
    idiom = "np.where(x > 0, x, weight * x)"
    backward_idiom = "np.where(x > 0, grad, weight * grad)"
    weights = True

    def formula(x, weight):
        return x if x > 0 else weight * x

    def derivative(x, weight):
        return 1 if x > 0 else weight


@activation
class rrelu:
    """Randomized leaky rectified linear unit: x where x > 0, else slope * x, slope being random."""

    about = ("slope where x is not positive: one for each element, or their mean",)
    reference = "Xu, Wang, Chen and Li, Empirical evaluation of rectified activations, 2015, arXiv:1505.00853"
    idiom = "np.where(x > 0, x, slope * x)"
    backward_idiom = "np.where(x > 0, grad, slope * grad)"
    weights = True

    def formula(x, slope):
        return x if x > 0 else slope * x

    def derivative(x, slope):
        return 1 if x > 0 else slope


@activation
class threshold:
    """x where x > threshold, else value.

    The derivative at ``threshold`` is 0.

    >>> fa.threshold(np.array([-1.0, 0.5, 2.0]), 1, -9)
    array([-9., -9.,  2.])
    """

    about = ("inputs up to and including this one are replaced", "what they are replaced by")
    reference = "the generic form of the rectifiers, under PyTorch's name"
    idiom = "np.where(x > threshold, x, value)"
    backward_idiom = "grad * (x > threshold)"
    keeps_integers = True

    def formula(x, threshold, value):
        return value if x <= threshold else x

    def derivative(x, threshold, value):
        return 1 if x > threshold else 0


@activation
class thresholded_relu:
    """Thresholded rectified linear unit: x where x > alpha, else 0.

    The derivative at ``alpha`` is 0.

    >>> fa.thresholded_relu(np.array([-1.0, 0.5, 2.0]))
    array([0., 0., 2.])
    """

    about = ("inputs up to and including this one give 0",)
    reference = "Konda, Memisevic and Krueger, Zero-bias autoencoders, 2014, arXiv:1402.3337; ONNX"
    idiom = "np.where(x > alpha, x, 0)"
    backward_idiom = "grad * (x > alpha)"
    keeps_integers = True

    def formula(x, alpha=1):
        return 0 if x <= alpha else x

    def derivative(x, alpha):
        return 1 if x > alpha else 0


@activation
class squared_relu:
    """Squared rectified linear unit: max(x, 0) ** 2.

    Integers wrap around on overflow, as in NumPy's own arithmetic.

    >>> fa.squared_relu(np.array([-1.0, 0.5, 3.0]))
    array([0.  , 0.25, 9.  ])
    """

    reference = "So et al., Primer: searching for efficient transformers, 2021, arXiv:2109.08668"
    idiom = "np.square(np.maximum(x, 0, out=out), out=out)"
    backward_idiom = "grad * 2 * np.maximum(x, 0)"
    keeps_integers = True

    def formula(x):
        return 0 if x <= 0 else x * x

    def derivative(x):
        return 0 if x <= 0 else 2 * x


@activation
class hardtanh:
    """Identity, cut off at both ends: min(max(x, min_val), max_val).

    The derivative at ``min_val`` and at ``max_val`` is 0.

    >>> fa.hardtanh(np.array([-3.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """

    about = ("lower end", "upper end, not below min_val")
    reference = "Collobert, Large scale machine learning, 2004"
    idiom = "np.clip(x, min_val, max_val, out=out)"
    backward_idiom = "grad * ((x > min_val) & (x < max_val))"
    keeps_integers = True
    constraints = (("min_val", "max_val"),)

    def formula(x, min_val=-1, max_val=1):
        return min_val if x <= min_val else (max_val if x >= max_val else x)

    def derivative(x, min_val, max_val):
        return 1 if (x > min_val) & (x < max_val) else 0


@activation
class hardsigmoid:
    """Piecewise linear sigmoid: min(max(x + 3, 0), 6) / 6.

    The derivative at -3 and at 3 is 0.

    >>> fa.hardsigmoid(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([0.  , 0.5 , 0.75, 1.  ])
    """

    reference = "Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244"
    idiom = "np.clip(x + 3, 0, 6, out=out) / 6"
    backward_idiom = "grad * ((x > -3) & (x < 3)) / 6"

    def formula(x):
        return 0 if x <= -3 else (1 if x >= 3 else (x + 3) / 6)

    def derivative(x):
        return 1 / 6 if (x > -3) & (x < 3) else 0


@activation
class hardswish:
    """Piecewise form of swish: x * min(max(x + 3, 0), 6) / 6.

    Exactly 0 up to -3 (also at minus infinity) and exactly x from 3 on. The derivative is 0 at -3
    and 1 at 3.

    >>> fa.hardswish(np.array([-4.0, -1.5, 0.0, 4.0]))
    array([ 0.   , -0.375,  0.   ,  4.   ])
    """

    reference = "Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244"
    idiom = "x * np.clip(x + 3, 0, 6) / 6"
    backward_idiom = "grad * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5))"

    def formula(x):
        return 0 if x <= -3 else (x if x >= 3 else x * (x + 3) / 6)

    def derivative(x):
        return 0 if x <= -3 else (1 if x >= 3 else (2 * x + 3) / 6)


@activation
class hardshrink:
    """x where abs(x) > lambd, else 0.

    The derivative at ``-lambd`` and at ``lambd`` is 0.

    >>> fa.hardshrink(np.array([-1.0, 0.25, 0.75]))
    array([-1.  ,  0.  ,  0.75])
    """

    about = ("half the width of the interval that gives 0, not negative",)
    reference = "Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994"
    idiom = "np.where(np.abs(x) > lambd, x, 0)"
    backward_idiom = "grad * (np.abs(x) > lambd)"
    constraints = ((0, "lambd"),)

    def formula(x, lambd=0.5):
        return 0 if (x >= -lambd) & (x <= lambd) else x

    def derivative(x, lambd):
        return 1 if (x < -lambd) | (x > lambd) else 0


@activation
class softshrink:
    """x - lambd where x > lambd, x + lambd where x < -lambd, else 0.

    The derivative at ``-lambd`` and at ``lambd`` is 0.

    >>> fa.softshrink(np.array([-1.0, 0.25, 0.75]))
    array([-0.5 ,  0.  ,  0.25])
    """

    about = ("distance that inputs are moved towards 0, not negative",)
    reference = "Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994"
    idiom = "np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, 0))"
    backward_idiom = "grad * (np.abs(x) > lambd)"
    constraints = ((0, "lambd"),)

    def formula(x, lambd=0.5):
        moved = x - lambd if x > 0 else x + lambd
        return 0 if (x >= -lambd) & (x <= lambd) else moved

    def derivative(x, lambd):
        return 1 if (x < -lambd) | (x > lambd) else 0


@activation
class clipped_linear:
    """A line, cut off at both ends: min(max(slope * x + offset, min_val), max_val).

    With the defaults, the identity between 0 and 1. The derivative where the line meets an end
    is 0.

    >>> fa.clipped_linear(np.array([-1.0, 0.25, 4.0]), slope=0.5, offset=0.5)
    array([0.   , 0.625, 1.   ])
    """

    about = ("the line's slope", "its value at 0", "lower end", "upper end, not below min_val")
    reference = "Thinc's ClippedLinear, of which hard sigmoid and hard tanh are special cases"
    idiom = "np.clip(slope * x + offset, min_val, max_val, out=out)"
    backward_idiom = (
        "grad * slope * ((slope * x + offset > min_val) & (slope * x + offset < max_val))"
    )
    constraints = (("min_val", "max_val"),)

    def formula(x, slope=1, offset=0, min_val=0, max_val=1):
        line = slope * x + offset
        return min_val if line <= min_val else (max_val if line >= max_val else line)

    def derivative(x, slope, offset, min_val, max_val):
        line = slope * x + offset
        return slope if (line > min_val) & (line < max_val) else 0


# --- kernels that public functions are composed of ----------------------------------------------


@activation
class _copy:
    """x itself: what benchmarks measure the speed of the machine's memory with."""

    def formula(x):
        return x


@activation
class _relu_at_zero:
    """relu, of which the derivative at 0 is a parameter."""

    about = ("the derivative at 0",)

    def formula(x, at_zero):
        return 0 if x <= 0 else x

    def derivative(x, at_zero):
        return 1 if x > 0 else (at_zero if x == 0 else 0)


@activation
class _relu_of_negative:
    """relu(-x), the second half of crelu."""

    keeps_integers = True

    def formula(x):
        return 0 if x >= 0 else -x


@activation
class _crelu_backward:
    """The gradient of crelu from those of its halves."""

    arrays = 3

    def formula(grad_positive, grad_negative, x):
        return grad_positive if x > 0 else (-grad_negative if x < 0 else 0)
