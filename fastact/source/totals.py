"""What functions of rows get to know of the sums of their terms, as source text for any target."""

from __future__ import annotations

__all__ = ["known"]

#: From ``total``, ``low``, which is what ``total`` has lost to rounding, ``count`` and ``top`` to
#: ``first`` and ``second``. T is the type that is computed in, A that of sums.
_KNOWN = {
    "sum": """\
first = T(total)
second = T((total - A(first)) + low)
""",
    "inverse": """\
inverse = A(1) / total
first = T(inverse)
lost = product_low(inverse, total, A(1)) + inverse * low
second = T((inverse - A(first)) - lost * inverse)
""",
    # top - top: NaN where the largest element is infinite, and so is the difference to itself.
    "logarithm": """\
logarithm = log1p_of_sum((A(count) - A(1)) + (total + low)) + A(top - top)
near = T(logarithm)
first = top + near
back = first - top
second = ((top - (first - back)) + (near - back)) + T(logarithm - A(near))
""",
}

#: Where A has digits enough.
_INVERSE_IN_WIDER_TYPE = """\
inverse = A(1) / total
first = T(inverse)
second = T(inverse - A(first))
"""


def known(total: str, wider: bool) -> str:
    """The source, by what a ``RowFormula`` calls it; ``wider``: A has more digits than T.

    Of a "logarithm", ``total`` is without the elements that are as large as the largest, which are
    counted instead: log(1 + s) is s where s is tiny.
    """
    return _INVERSE_IN_WIDER_TYPE if total == "inverse" and wider else _KNOWN[total]
