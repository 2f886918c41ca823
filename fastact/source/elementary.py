"""The scalar functions of formulas as they are compiled: no branches, so that loops vectorize.

These are templates, read as source text and compiled for float32 and for float64: literals take the
type that is computed in, ``polynomial(x, NAME)`` becomes a chain of multiply-adds with the
coefficients of that type, and names in capitals are numbers of the tables below. NaN goes through
all of them. They are correct without fused multiply-add, and fastest with it.

The exponential is e^x = 2^k (1 + p), ``exp_rounded`` giving k and ``exp_fraction`` p, of x and what
x has lost to rounding (what both compute, LLVM computes once): k is x / log 2 rounded, r = x - k
log 2 in two steps, the first exact; p = r + r^2 q(r). Rounding to an integer is an addition of 1.5
* 2^23 (2^52), which leaves the integer in the lowest bits. See Muller, Elementary Functions, 3rd
edition, 2016, chapter 11.
"""
# mypy: disable-error-code="no-untyped-def, name-defined, no-untyped-call"
# ruff: noqa: F821

from __future__ import annotations

import math

__all__ = ["CONSTANTS", "MILLS_SLOPE"]

#: A little more than sqrt(2 pi), and exact: the coefficients of ``mills_rest`` are fitted with it.
MILLS_SLOPE = 2.5078125

#: By the type that is computed in. EXP_BOTTOM is where y e^x is 0 for any y of a formula, MILLS_TOP
#: where e^(-t^2 / 2) is; TANH_TOP is where tanh is 1, TANH_FIRST where the second of its
#: pieces begins.
CONSTANTS = {
    "float32": {
        "ROUNDER": 1.5 * 2.0**23,
        "LOG2_E": 1 / math.log(2),
        "LN2_HIGH": 0.693359375,
        "LN2_LOW": -2.12194440054690583e-4,
        "EXP_BOTTOM": -115.0,
        "MILLS_TOP": 15.0,
        "MILLS_SLOPE": MILLS_SLOPE,
        "TANH_FIRST": 2.0**-4,
        "TANH_TOP": 9.9,
        "LOGISTIC_TOP": 12.0,
        "LOGISTIC_STEP": 1 / 12.4,
        "NEAR_TOP": 6.0,
        "NEAR_SQUARE": 1 / 62,
        "NEAR_LINEAR": 2 / 31,
    },
    "float64": {
        "ROUNDER": 1.5 * 2.0**52,
        "LOG2_E": 1 / math.log(2),
        "LN2_HIGH": 6.93147180369123816490e-01,
        "LN2_LOW": 1.90821492927058770002e-10,
        "EXP_BOTTOM": -760.0,
        "MILLS_TOP": 39.0,
        "MILLS_SLOPE": MILLS_SLOPE,
    },
}


def exp_rounded(x):
    return fma(x, LOG2_E, ROUNDER)


def exp_fraction(x, low):
    k = exp_rounded(x) - ROUNDER
    r = fma(k, -LN2_LOW, fma(k, -LN2_HIGH, x) + low)
    return fma(r * r, polynomial(r, EXP), r)


def exp_sum_times(x, low, y):
    inside = EXP_BOTTOM if x < EXP_BOTTOM else x
    return scale(fma(y, exp_fraction(inside, low), y), exp_rounded(inside))


def exp_times(x, y):
    return exp_sum_times(x, -0.0, y)


def exp(x):
    return exp_times(x, 1)


def exp_difference_times(a, b, y):
    difference = a - b
    back = difference - a
    low = (a - (difference - back)) - (b + back)
    result = scale(fma(y, exp_fraction(difference, low), y), exp_rounded(difference))
    return 0 if difference < EXP_BOTTOM else result


def bounded(x, bound):
    above = -bound if x < -bound else x
    return bound if above > bound else above


def expm1(x):
    # Below -50 the result is -1 already.
    above = -50 if x < -50 else x
    # The first choice keeps the sign of zero.
    return x if x == 0 else expm1_inside(80 if above > 80 else above)


def expm1_inside(x):
    rounded = fma(x, LOG2_E, ROUNDER)
    k = rounded - ROUNDER
    high = fma(k, -LN2_HIGH, x)
    r = fma(k, -LN2_LOW, high)
    r_low = fma(k, -LN2_LOW, high - r)
    p = r + fma(r * r, polynomial(r, EXPM1), r_low)
    power = power_of_two(rounded)
    return fma(p, power, power - 1)


def log1p(x):
    # x - x^2 / 2 in two parts, and a rest.
    half = -0.5 * x
    high = fma(half, x, x)
    low = fma(half, x, x - high)
    return high + fma(x * (x * x), polynomial(x, LOG1P), low)


def log1p_of_sum(x):
    total = 1 + x
    k = exponent(total)
    # A sum that is rounded up to 2 has the exponent 1.
    fraction = x if total < 2 else mantissa(total) - 1
    result = fma(k, LN2_HIGH, log1p(fraction) + k * LN2_LOW)
    return result if x == x else x


def log1p_of_quotient(n, d):
    tiny = d < 1e-37
    inside = 18446744073709551616.0 * d if tiny else d
    z = n / inside
    result = log1p_of_sum(z)
    # log(2^64), by which the quotient is too small.
    scaled = result + constant("44.3614195558364998027029") if tiny else result
    return z if z == 1e999 else scaled


def quotient(a, b, b_low):
    inverse = 1 / b
    q = a * inverse
    excess = fma(q, b_low, product_low(q, b, a))
    return fma(-excess, inverse, q)


def quotient_squared(a, b, b_low):
    inverse = 1 / b
    q = a * inverse
    excess = fma(q, b_low, product_low(q, b, a))
    return fma(q, q, -2 * q * (excess * inverse))


def quotient_of_product(a, c, b, b_low):
    product = a * c
    inverse = 1 / b
    q = product * inverse
    excess = fma(q, b_low, product_low(q, b, product)) - product_low(a, c, product)
    return fma(-excess, inverse, q)


# Phi(-t) e^(t^2 / 2), Mills' ratio but for a factor, is u (1 + d): u = 1 / (2 + SLOPE t), and d =
# t N / D is small, so are its errors in the result. One division for both, 1 / (b D), is 10 %
# slower.


def mills_rest(t):
    return t * polynomial(t, MILLS_NUMERATOR) / polynomial(t, MILLS_DENOMINATOR)


def normal_tail_product(t):
    inside = MILLS_TOP if t > MILLS_TOP else t
    b = fma(MILLS_SLOPE, inside, 2)
    b_low = fma(MILLS_SLOPE, inside, 2 - b)
    u = 1 / b
    q = inside * u
    excess = fma(q, b_low, product_low(q, b, inside))
    rest = fma(q, mills_rest(inside), -excess * u)
    half = -0.5 * inside
    square = half * inside
    p = exp_fraction(square, product_low(half, inside, square))
    return scale(q + fma(q, p, fma(rest, p, rest)), exp_rounded(square))


def normal_tail(t):
    inside = MILLS_TOP if t > MILLS_TOP else t
    b = fma(MILLS_SLOPE, inside, 2)
    b_low = fma(MILLS_SLOPE, inside, 2 - b)
    half = -0.5 * inside
    square = half * inside
    return mills_times(inside, 1, b, b_low, square, product_low(half, inside, square))


def error_tail(x):
    # 2 Phi(-t), where t = x sqrt(2), in two parts.
    t = x * constant("1.41421356237309504880169")
    beyond = t > MILLS_TOP
    inside = MILLS_TOP if beyond else t
    t_low = fma(
        x,
        constant_low("1.41421356237309504880169"),
        product_low(x, constant("1.41421356237309504880169"), t),
    )
    b = fma(MILLS_SLOPE, inside, 2)
    b_low = fma(MILLS_SLOPE, inside, 2 - b) + MILLS_SLOPE * (0 if beyond else t_low)
    near = constant("0.70710678118654752440") * MILLS_TOP if beyond else x
    square = -near * near
    return mills_times(inside, 2, b, b_low, square, product_low(-near, near, square))


def mills_times(t, y, b, b_low, square, low):
    # y e^(square + low) u (1 + d), u being 1 / (b + b_low).
    q = y / b
    excess = fma(q, b_low, product_low(q, b, y))
    rest = fma(q, mills_rest(t), -excess / b)
    p = exp_fraction(square, low)
    return scale(q + fma(q, p, fma(rest, p, rest)), exp_rounded(square))


def error_near(x):
    square = x * x
    more = fma(square, polynomial(square, ERF), constant_low("1.12837916709551257389616"))
    return fma(x, constant("1.12837916709551257389616"), x * more)


def log_normal_tail(t):
    inside = MILLS_TOP if t > MILLS_TOP else t
    near = log1p_of_sum(fma(MILLS_SLOPE, inside, 1))
    less = log1p(mills_rest(inside))
    # Beyond, t sqrt(2 pi) over the asymptotic series of 1 - 1 / t^2 + ...
    far = MILLS_TOP if t < MILLS_TOP else t
    r = 1 / far / far
    series = fma(fma(fma(fma(fma(-945, r, 105), r, -15), r, 3), r, -1), r, 1)
    log = log1p_of_sum(constant("2.50662827463100050241577") * far / series - 1)
    beyond = t > MILLS_TOP
    return -((log if beyond else near) + fma(0.5 * t, t, 0 if beyond else -less))


def normal_slope(t):
    inside = MILLS_TOP if t > MILLS_TOP else t
    u = 1 / fma(MILLS_SLOPE, inside, 2)
    y = fma(constant("-0.398942280401432677939946"), inside, fma(u, mills_rest(inside), u))
    half = -0.5 * inside
    square = half * inside
    p = exp_fraction(square, product_low(half, inside, square))
    return scale(fma(y, p, y), exp_rounded(square))


def gelu_tanh_ratio(x):
    return constant("0.0713548162726002487763388") * (x * x) + constant("1.59576912160573071175978")


def gelu_tanh_ratio_low(x):
    square = x * x
    cubic = constant("0.0713548162726002487763388") * square
    cubic_low = product_low(constant("0.0713548162726002487763388"), square, cubic)
    square_low = product_low(x, x, square)
    low = fma(constant("0.0713548162726002487763388"), square_low, cubic_low)
    more = fma(constant_low("0.0713548162726002487763388"), square, low)
    ratio = cubic + constant("1.59576912160573071175978")
    larger = cubic if cubic > 1.6 else constant("1.59576912160573071175978")
    smaller = constant("1.59576912160573071175978") if cubic > 1.6 else cubic
    return (smaller - (ratio - larger)) + (constant_low("1.59576912160573071175978") + more)


def logistic(x):
    t = -abs(x)
    e = exp(t)
    b = 1 + e
    q = quotient(1, b, (1 - b) + e)
    return q if x > 0 else exp_times(t, q)


def logistic_density_times(x, y):
    t = -x
    e = exp(t)
    b = 1 + e
    return exp_times(t, quotient(y / b, b, (1 - b) + e))


def sigmoid_sum_times(x, low, y):
    t = -abs(x)
    t_low = -low if x > 0 else low
    e = exp_sum_times(t, t_low, 1)
    b = 1 + e
    q = quotient(y, b, (1 - b) + e)
    return q if x > 0 else exp_sum_times(t, t_low, q)


def logistic_tail_times(x, low, y):
    below = -x
    inside = EXP_BOTTOM if below < EXP_BOTTOM else below
    p = exp_fraction(inside, -low)
    e = scale(1 + p, exp_rounded(inside))
    b = 1 + e
    q = quotient(y, b, (1 - b) + e)
    return scale(fma(q, p, q), exp_rounded(inside))


def logistic_tail_product(x):
    inside = 1000 if x > 1000 else x
    return logistic_tail_times(inside, 0, inside)


def logistic_product_slope(x):
    inside = 1000 if x > 1000 else x
    return logistic_slope(inside, 0, inside, 1)


def logistic_slope(x, low, u, one):
    below = -x
    inside = EXP_BOTTOM if below < EXP_BOTTOM else below
    p = exp_fraction(inside, -low)
    e = scale(1 + p, exp_rounded(inside))
    b = 1 + e
    q = quotient(1, b, (1 - b) + e)
    return scale(fma(q, p, q) * fma(-u, q, one), exp_rounded(inside))


def hyperbolic_tangent(x):
    t = abs(x)
    e = expm1_inside(60 if t > 30 else 2 * t)
    b = e + 2
    low = (2 - b) + e if e < 2 else (e - b) + 2
    return copysign(quotient(e, b, low), x)


def tanhshrink_rest(s):
    return polynomial(s, TANHSHRINK)
