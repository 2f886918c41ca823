"""Losses of single elements: each as a formula of an element and its target, and its gradient.

``fastact.losses`` and ``fastact.cuda.losses`` make of an entry the loss, its gradient, and both at
once, with reductions. The fields of a class body:

``value``, ``gradient``
    Plain Python functions of scalars, with the same arguments: the element that the gradient is by,
    its target, and parameters with defaults, which become arguments of the functions. These are
    numbers, or arrays that broadcast with the elements. The rules are those of ``activations``.
``about``, ``constraints``, ``reference``
    As those of activations; ``about`` begins with the element and the target.
``idiom``, ``gradient_idiom``
    What a NumPy user writes for both, element by element.
``torch``
    The name of the function in ``torch.nn.functional``.
``reductions``
    What may become of the losses, if that is more than usual.

A class inside has a value and a gradient of its own, for calls where the keyword of its name is
true.
"""
# mypy: disable-error-code="misc"

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastact.catalogue.entries import Activation, Entry, Parameter
from fastact.catalogue.scalar import bounded, exp, log1p, log1p_of_quotient

__all__ = ["LOSSES", "Loss"]


class Loss(Entry):
    """A loss of elements; ``flagged`` are other formulas, by the keyword that asks for them."""

    value: Callable[..., Any]
    gradient: Callable[..., Any]
    about: tuple[str, ...]
    flagged: Mapping[str, Loss] = {}
    constraints: tuple[tuple[str | float, str | float], ...] = ()
    gradient_idiom: str = ""
    torch: str = ""
    reductions: tuple[str, ...] = ("mean", "sum", "none")

    @functools.cached_property
    def arrays(self) -> tuple[str, str]:
        """What the element and its target are called."""
        element, target, *_ = inspect.signature(self.value).parameters
        return element, target

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        of = Activation(name=self.name, formula=self.value, arrays=2, about=self.about[2:])
        return of.arguments

    def completed(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters; None stands for the default, as in PyTorch."""
        pairs = ((p, parameters[p.name]) for p in self.parameters)
        return {p.name: p.default if number is None else number for p, number in pairs}


#: By name.
LOSSES: dict[str, Loss] = {}


def _loss(body: type) -> Loss:
    own = {key: value for key, value in vars(body).items() if not key.startswith("__")}
    inner = {key: own.pop(key) for key, value in [*own.items()] if isinstance(value, type)}
    fields = {"name": body.__name__, "doc": inspect.getdoc(body) or "", **own}
    flagged = {
        key: Loss(**fields | {"name": f"{body.__name__}_{key}", **_formulas(within)})
        for key, within in inner.items()
    }
    LOSSES[body.__name__] = Loss(**fields, flagged=flagged)
    return LOSSES[body.__name__]


def _formulas(body: type) -> dict[str, Any]:
    return {key: value for key, value in vars(body).items() if not key.startswith("__")}


@_loss
class mse:
    """Squared error: (x - target)^2.

    >>> fa.losses.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0])).item()
    2.0
    """

    about = ("predictions", "what they should be", "a factor of each loss")
    idiom = "(x - targets) ** 2"
    gradient_idiom = "2 * (x - targets)"
    torch = "mse_loss"

    def value(predictions, targets, weight=1):
        return weight * ((predictions - targets) * (predictions - targets))

    def gradient(predictions, targets, weight=1):
        return 2 * weight * (predictions - targets)


@_loss
class huber:
    """Huber loss: half the squared error, and beyond delta a straight line.

    >>> fa.losses.huber(np.array([0.5, 3.0]), np.array([0.0, 0.0]), reduction="none")
    array([0.125, 2.5  ])
    """

    about = (
        "predictions",
        "what they should be",
        "the error from which on the loss is a straight line, not negative",
        "a factor of each loss",
    )
    constraints = ((0, "delta"),)
    reference = "Huber, Robust estimation of a location parameter, 1964"
    idiom = "np.where((d := abs(x - targets)) < 1, d * d / 2, d - 0.5)"
    gradient_idiom = "np.clip(x - targets, -1, 1)"
    torch = "huber_loss"

    def value(predictions, targets, delta=1, weight=1):
        d = abs(predictions - targets)
        return weight * (delta * (d - 0.5 * delta) if d > delta else 0.5 * d * d)

    def gradient(predictions, targets, delta=1, weight=1):
        return weight * bounded(predictions - targets, delta)


@_loss
class binary_cross_entropy_with_logits:
    """Cross-entropy of sigmoid(logits) and targets between 0 and 1.

    -pos_weight targets log(p) - (1 - targets) log(1 - p), where p = sigmoid(logits). A loss that is
    next to nothing keeps its digits, and so does its gradient.

    >>> logits, targets = np.array([0.0, 50.0, -2.0]), np.array([1.0, 1.0, 0.0])
    >>> fa.losses.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    array([6.93147181e-01, 1.92874985e-22, 1.26928011e-01])
    """

    about = (
        "logits",
        "probabilities that they should have, such as 0 and 1",
        "a factor of each loss",
        "a factor of what targets that are 1 add",
    )
    reference = "Good, Rational decisions, 1952"
    idiom = "np.maximum(x, 0) - x * targets + np.log1p(np.exp(-abs(x)))"
    gradient_idiom = "1 / (1 + np.exp(-x)) - targets"
    torch = "binary_cross_entropy_with_logits"

    def value(logits, targets, weight=1, pos_weight=1):
        positive = pos_weight * targets
        negative = 1 - targets
        rest = log1p(exp(-abs(logits)))
        far = negative if logits > 0 else positive
        return weight * ((positive + negative) * rest + far * abs(logits))

    def gradient(logits, targets, weight=1, pos_weight=1):
        e = exp(-abs(logits))
        less = e / (1 + e)
        more = 1 / (1 + e)
        above = logits > 0
        p = more if above else less
        rest = less if above else more
        return weight * ((1 - targets) * p - pos_weight * targets * rest)


@_loss
class kl_div:
    """Kullback-Leibler divergence: targets (log(targets) - log_probs).

    With ``log_target``, targets are logarithms, too; those above 86 count as infinite.

    >>> log_probs, targets = np.log([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    >>> fa.losses.kl_div(log_probs, targets, reduction="batchmean").round(6).item()
    0.130812
    >>> fa.losses.kl_div(log_probs, np.log(targets), log_target=True, reduction="none").round(6)
    array([[-0.173287,  0.304099]])
    """

    about = ("logarithms of probabilities", "probabilities that they should be those of")
    reference = "Kullback and Leibler, On information and sufficiency, 1951"
    idiom = "targets * (np.log(targets) - x)"
    gradient_idiom = "-targets"
    torch = "kl_div"
    reductions = ("mean", "sum", "none", "batchmean")

    def value(log_probs, targets):
        below = targets < 1
        size = log1p_of_quotient(abs(targets - 1), targets if below else 1)
        log = -size if below else size
        outside = (targets - targets) / (targets - targets) if targets < 0 else log
        return targets * ((0 if targets == 0 else outside) - log_probs)

    def gradient(log_probs, targets):
        return -targets

    class log_target:
        def value(log_probs, targets):
            half = exp(43 if targets > 86 else 0.5 * targets)
            return (1e999 if targets > 86 else half * half) * (targets - log_probs)

        def gradient(log_probs, targets):
            half = exp(43 if targets > 86 else 0.5 * targets)
            return -1e999 if targets > 86 else -(half * half)
