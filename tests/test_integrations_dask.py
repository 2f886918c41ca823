"""fastact in the worker processes of a dask cluster."""

from __future__ import annotations

import logging
import os
import signal
import time

import dask.array as da
import distributed
import numpy as np
import pytest

import fastact as fa
from fastact.cpu.machine import available_cpus
from fastact.integrations.dask import configure

ROWS = 1_000


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_threads_are_shared_out(client):
    share = max(1, available_cpus() // 2)
    assert [*configure(client).values()] == [share, share]
    assert [*configure(client, threads=3).values()] == [3, 3]
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        configure(client, threads=0)
    assert [*client.run(fa.get_num_threads).values()] == [3, 3]


def pieces(x, bias):
    """Ufuncs, functions of rows and fused kernels on chunks."""
    y = fa.silu(x)
    y = y.map_blocks(fa.softmax, axis=-1, dtype=y.dtype)
    y = y.map_blocks(fa.fused.bias_act, bias, "gelu", dtype=y.dtype)
    return y.sum(axis=0)


@pytest.mark.thorough
def test_a_killed_worker_is_recovered(client):
    configure(client, threads=1)
    values = np.random.default_rng(0).normal(size=(ROWS, 50)).astype(np.float32)
    bias = np.linspace(-1, 1, 50, dtype=np.float32)
    x = da.from_array(values, chunks=(ROWS // 20, 50)).map_blocks(slowly, dtype=np.float32)
    future = client.compute(pieces(x, bias))
    before = client.run(os.getpid)
    while not any(client.processing().values()):
        time.sleep(0.01)
    os.kill(next(iter(before.values())), signal.SIGKILL)
    expected = fa.fused.bias_act(fa.softmax(fa.silu(values)), bias, "gelu").sum(axis=0)
    np.testing.assert_allclose(future.result(timeout=120), expected, rtol=1e-4)
    client.wait_for_workers(2, timeout=60)
    assert {*client.run(os.getpid).values()} != {*before.values()}
    assert [*client.run(fa.get_num_threads).values()] == [1, 1]


def slowly(block):
    time.sleep(0.05)
    return block
