"""Elementary functions for vectors of 512 bits, where they differ from those of ``elementary``.

They are templates like those, of float32 only, and have two more words. ``piecewise(x, index,
NAME)`` is a polynomial of x less a center, with center and coefficients that the bits of ``index``
choose among 32: two registers hold a table, and looking all numbers of a vector up takes one
instruction. That is faster than an exponential and a division. At a center the function nearly is a
float32, so that rounding it loses little. ``either(condition, near, far, x)`` is near(x) where the
condition holds, else far(x), and takes hardly longer than near(x) where it holds for all numbers of
a vector. A quotient whose error the result can bear is not mended.
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


def sigmoid_times(x, y):
    t = -abs(x)
    e = exp(t)
    tail = e * y / (1 + e)
    return y - tail if x > 0 else tail


def logistic_tail_times(x, low, y):
    below = -x
    inside = EXP_BOTTOM if below < EXP_BOTTOM else below
    p = exp_fraction(inside, -low)
    q = y / (1 + scale(1 + p, exp_rounded(inside)))
    return scale(fma(q, p, q), exp_rounded(inside))


def logistic_slope(x, low, u, one):
    below = -x
    inside = EXP_BOTTOM if below < EXP_BOTTOM else below
    p = exp_fraction(inside, -low)
    q = 1 / (1 + scale(1 + p, exp_rounded(inside)))
    return scale(fma(q, p, q) * fma(-u, q, one), exp_rounded(inside))


# Up to NEAR_TOP, where nearly all numbers are, these are one piecewise polynomial. What is done for
# the others is done only if a vector has one.


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
