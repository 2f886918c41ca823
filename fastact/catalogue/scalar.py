"""The scalar functions that formulas call, with their plain Python meaning.

A compiled formula uses ``fastact/source/elementary.py`` instead: without branches, vectorized,
within about an ulp. Where a product or a sum would lose accuracy or overflow before the result
does, a function takes it in: ``exp_times(x, y)`` is y e^x also where e^x alone is no normal number.
"""

from __future__ import annotations

import math
from fractions import Fraction


def exp(x: float) -> float:
    """e^x, for x up to 43"""
    return exp_times(x, 1.0)


def exp_times(x: float, y: float) -> float:
    """y e^x, for finite y, and x up to 43"""
    if x > 700:
        return y * math.inf
    return y * math.exp(x / 2) * math.exp(x / 2)


def exp_sum_times(x: float, low: float, y: float) -> float:
    """y e^(x + low), ``low`` being what x lost to rounding."""
    return exp_times(x, y * (1 + low))


def exp_difference_times(a: float, b: float, y: float) -> float:
    """y e^(a - b), for finite y, b finite and not below a; the difference is not rounded."""
    difference = a - b
    if not difference > -1000:
        return exp_times(difference, y)
    return exp_sum_times(difference, float(Fraction(a) - Fraction(b) - Fraction(difference)), y)


def expm1(x: float) -> float:
    """e^x - 1, for x up to 80"""
    return math.expm1(x)


def log1p(x: float) -> float:
    """log(1 + x), for x between 0 and 1"""
    return math.log1p(x)


def log1p_of_sum(x: float) -> float:
    """log(1 + x), for any x >= 0"""
    return math.log1p(x)


def log1p_of_quotient(n: float, d: float) -> float:
    """log(1 + n / d), for n >= 0 and d >= 0; where d is next to nothing, n is about 1"""
    if d == 0:
        return math.inf
    return math.log(n) - math.log(d) if d < 1e-300 else math.log1p(n / d)


def logistic(x: float) -> float:
    """1 / (1 + e^-x)"""
    return sigmoid_sum_times(x, 0.0, 1.0)


def sigmoid_sum_times(x: float, low: float, y: float) -> float:
    """y / (1 + e^-(x + low)), for finite y"""
    t = exp(-abs(x)) * (1 - low if x > 0 else 1 + low)
    return y / (1 + t) if x > 0 else y * t / (1 + t)


def quotient(a: float, b: float, b_low: float) -> float:
    """a / (b + b_low), ``b_low`` being what b lost to rounding."""
    return a / (b + b_low)


def quotient_of_product(a: float, c: float, b: float, b_low: float) -> float:
    """a c / (b + b_low)"""
    return a * c / (b + b_low)


def quotient_squared(a: float, b: float, b_low: float) -> float:
    """(a / (b + b_low))^2"""
    return (a / (b + b_low)) ** 2


def copysign(x: float, sign: float) -> float:
    """x with the sign of ``sign``"""
    return math.copysign(x, sign)


def logistic_tail_times(x: float, low: float, y: float) -> float:
    """y / (1 + e^(x + low)), for x >= 0 and finite y"""
    return sigmoid_sum_times(-x, -low, y)


def logistic_tail_product(x: float) -> float:
    """x / (1 + e^x), for x >= 0"""
    return logistic_tail_times(x, 0.0, x) if x < 1000 else 0 * (x - x)


def logistic_product_slope(x: float) -> float:
    """The derivative of x / (1 + e^-x) at -x, for x >= 0."""
    return logistic_slope(x, 0.0, x, 1.0) if x < 1000 else 0 * (x - x)


def logistic_density_times(x: float, y: float) -> float:
    """y e^-x / (1 + e^-x)^2, for x >= 0"""
    e = exp(-x)
    return exp_times(-x, y / (1 + e) ** 2)


def logistic_slope(x: float, low: float, u: float, one: float) -> float:
    """s (1 - u (1 - s)), s = 1 / (1 + e^(x + low)), for x >= 0 and finite u.

    ``one`` is 1, less what u has lost to rounding. The derivative of u / (1 + e^-x) by x at -x,
    where u is a multiple of x.
    """
    s = sigmoid_sum_times(-x, -low, 1)
    return s * (one - u * (1 - s))


def bounded(x: float, bound: float) -> float:
    """The nearest number to x between -bound and bound; NaN stays NaN."""
    return -bound if x < -bound else (bound if x > bound else x)


def sqrt(x: float) -> float:
    return math.sqrt(x)


def _mills(t: float) -> float:
    """Phi(-t) e^(t^2 / 2): Mills' ratio divided by the square root of 2 pi."""
    if t > 25:  # a continued fraction, where erfc is nearly or altogether 0
        fraction = t
        for k in range(20, 0, -1):
            fraction = t + k / fraction
        return 1 / (fraction * math.sqrt(2 * math.pi))
    return 0.5 * math.erfc(t / math.sqrt(2)) * math.exp(t * t / 2)


def normal_tail_product(t: float) -> float:
    """t Phi(-t) for t >= 0, Phi being the normal distribution's cumulative function."""
    return exp_times(-t * t / 2, t * _mills(t)) if t < 1e3 else 0.0


def normal_tail(t: float) -> float:
    """Phi(-t) for t >= 0"""
    return exp_times(-t * t / 2, _mills(t)) if t < 1e3 else 0.0 * (t if t != t else 1)


def error_tail(x: float) -> float:
    """erfc(x) for x >= 0"""
    return math.erfc(x)


def error_near(x: float) -> float:
    """erf(x) for x between -1/2 and 1/2"""
    return math.erf(x)


def log_normal_tail(t: float) -> float:
    """log(Phi(-t)) for t >= 0"""
    return math.log(_mills(t)) - t * t / 2 if t < math.inf else -t


def normal_slope(t: float) -> float:
    """Phi(-t) - t phi(t) for t >= 0, phi being the normal density."""
    if t > 1e3:
        return 0.0
    return exp_times(-t * t / 2, _mills(t) - t / math.sqrt(2 * math.pi))


def gelu_tanh_ratio(x: float) -> float:
    """sqrt(8 / pi) (1 + 0.044715 x^2)"""
    return math.sqrt(8 / math.pi) * (1 + 0.044715 * x * x)


def gelu_tanh_ratio_low(x: float) -> float:
    """What ``gelu_tanh_ratio`` has lost to rounding where it is compiled."""
    return 0.0


def fma(a: float, b: float, c: float) -> float:
    """a b + c, rounded once where the CPU can"""
    return a * b + c


def hyperbolic_tangent(x: float) -> float:
    """tanh(x)"""
    return math.tanh(x)


def tanhshrink_rest(s: float) -> float:
    """((x - tanh(x)) / x^3 - 1/3) / x^2 where s = x^2, for s between 0 and 1."""
    x = math.sqrt(s)
    if x < 3e-2:
        return -2 / 15 + 17 * s / 315 - 62 * s * s / 2835
    return ((x - math.tanh(x)) / (x * s) - 1 / 3) / s


def product_low(a: float, b: float, product: float) -> float:
    """What a * b lost to rounding when it became ``product``."""
    if not all(map(math.isfinite, (a, b, product))):
        return 0.0
    return float(Fraction(a) * Fraction(b) - Fraction(product))


def constant(digits: str) -> float:
    """A number with more digits than a float literal keeps."""
    return float(digits)


def constant_low(digits: str) -> float:
    """What the number loses to rounding."""
    return float(Fraction(digits) - Fraction(float(digits)))
