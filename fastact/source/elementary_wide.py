"""Elementary functions for vectors of 512 bits, where they differ from those of ``elementary``.

They are templates like those, of float32 only, and have two more words. ``piecewise(x, index,
NAME)`` is a polynomial of x less a center, with center and coefficients that the bits of ``index``
choose among 32: two registers hold a table, and looking all numbers of a vector up takes one
instruction. That is faster than an exponential and a division. At a center the function nearly is a
float32, so that rounding it loses little. ``either(condition, near, far, ...)`` is near(...) where
the condition holds, else far(...), and takes hardly longer than near where it holds for all numbers
of a vector.
"""
# mypy: disable-error-code="no-untyped-def, name-defined, no-untyped-call"
# ruff: noqa: F821

from __future__ import annotations

__all__: list[str] = []


def hyperbolic_tangent(x):
    t = abs(x)
    inside = TANH_TOP if t > TANH_TOP else t
    index = TANH_FIRST if inside < TANH_FIRST else inside
    return copysign(piecewise(inside, index, TANH), x)


# Where nearly all numbers are, these are one piecewise polynomial. What is done for those beyond is
# done only if a vector has one.


def logistic(x):
    t = abs(x)
    tail = either(t < LOGISTIC_TOP, logistic_tail_near, logistic_tail_far, t)
    return 1 - tail if x > 0 else tail


def logistic_tail_near(t):
    return piecewise(t, fma(t, LOGISTIC_STEP, 1), LOGISTIC_TAIL)


def logistic_tail_far(t):
    return logistic_tail_times(t, 0, 1)


def logistic_density_times(x, y):
    return either(x < LOGISTIC_TOP, logistic_density_near, logistic_density_far, x, y)


def logistic_density_near(x, y):
    return y * piecewise(x, fma(x, LOGISTIC_STEP, 1), LOGISTIC_DENSITY)


def logistic_density_far(x, y):
    q = 1 / (1 + exp(-x))
    return exp_times(-x, y * (q * q))


def logistic_tail_product(x):
    return either(x < LOGISTIC_TOP, logistic_product_near, logistic_product_far, x)


def logistic_product_near(x):
    return piecewise(x, fma(x, LOGISTIC_STEP, 1), LOGISTIC_PRODUCT)


def logistic_product_far(x):
    inside = 1000 if x > 1000 else x
    return logistic_tail_times(inside, 0, inside)


def logistic_product_slope(x):
    return either(x < LOGISTIC_TOP, logistic_slope_near, logistic_slope_far, x)


def logistic_slope_near(x):
    return piecewise(x, fma(x, LOGISTIC_STEP, 1), LOGISTIC_SLOPE)


def logistic_slope_far(x):
    inside = 1000 if x > 1000 else x
    return logistic_slope(inside, 0, inside, 1)


def normal_tail_product(t):
    return either(t < NEAR_TOP, normal_tail_near, normal_tail_far, t)


def normal_tail_near(t):
    return piecewise(t, fma(t, fma(t, NEAR_SQUARE, NEAR_LINEAR), 1), NORMAL_TAIL)


def normal_tail_far(t):
    inside = MILLS_TOP if t > MILLS_TOP else t
    half = -0.5 * inside
    square = half * inside
    inverse = 1 / square
    y = polynomial(inverse, MILLS_FAR)
    p = exp_fraction(square, product_low(half, inside, square))
    return scale(fma(y, p, y), exp_rounded(square))


def normal_slope(t):
    return either(t < NEAR_TOP, normal_slope_near, normal_slope_far, t)


def normal_slope_near(t):
    return piecewise(t, fma(t, fma(t, NEAR_SQUARE, NEAR_LINEAR), 1), NORMAL_SLOPE)


def normal_slope_far(t):
    inside = MILLS_TOP if t > MILLS_TOP else t
    half = -0.5 * inside
    square = half * inside
    inverse = 1 / square
    y = inside * polynomial(inverse, MILLS_SLOPE_FAR)
    p = exp_fraction(square, product_low(half, inside, square))
    return scale(fma(y, p, y), exp_rounded(square))
