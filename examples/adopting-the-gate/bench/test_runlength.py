"""``pytest bench``: pytest-benchmark as everybody uses it; the gate needs nothing else."""

import random

import pytest
from runlength import decode, encode


def runs(longest):
    generator = random.Random(0)
    return [(i % 7, generator.randint(1, longest)) for i in range(1000)]


@pytest.mark.parametrize("longest", [1, 20])
def test_encode(benchmark, longest):
    items = decode(runs(longest))
    assert benchmark(encode, items) == runs(longest)


def test_decode(benchmark):
    assert len(benchmark(decode, runs(20))) > 1000
