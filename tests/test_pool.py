"""Splitting, streaming, overlap, threads: the result never depends on how a call was run."""

from __future__ import annotations

import contextlib
import threading
import time

import ml_dtypes
import numpy as np
import pytest
from programs import run
from references import assert_same_bits

import fastact as fa
from fastact.cpu import layout, machine, pool

RNG = np.random.default_rng(2)
LINUX_POOL = pytest.mark.skipif(pool.threading_layer() != "pool", reason="needs the worker pool")


def data(n, dtype=np.float32):
    return RNG.normal(size=n).astype(dtype)


@contextlib.contextmanager
def pool_word(index, value):
    """Another value in the pool's shared memory, for a while."""
    fa.relu(data(100_000))
    words = pool.pool().words
    before, words[index] = words[index], value
    try:
        yield
    finally:
        words[index] = before


# --- sizes and threads --------------------------------------------------------------------------

SIZES = [1, 4095, 4096, 4097, 20_000, 65_537, 300_001, 1_000_003, 5_000_011]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("n", SIZES)
def test_any_size_on_any_number_of_threads(n, threads):
    x, grad = data(n), data(n)
    with fa.num_threads(threads):
        for _ in range(3):
            assert_same_bits(fa.relu(x), np.where(x <= 0, 0, x).astype("f4"))
            assert_same_bits(fa.relu_backward(grad, x), np.where(x > 0, grad, 0).astype("f4"))
            y = x.copy()
            fa.leaky_relu_(y, 0.5)
            assert_same_bits(y, np.where(x > 0, x, np.float32(0.5) * x))


def test_thread_count_settings():
    default = fa.get_num_threads()
    assert 1 <= default <= machine.available_cpus()
    with fa.num_threads(3):
        assert fa.get_num_threads() == 3
        with fa.num_threads(1):
            assert fa.get_num_threads() == 1
        assert fa.get_num_threads() == 3
    assert fa.get_num_threads() == default
    with pytest.raises(KeyError), fa.num_threads(2):
        raise KeyError
    assert fa.get_num_threads() == default


def test_thread_count_from_the_environment():
    assert run("print(fa.get_num_threads())", FASTACT_NUM_THREADS=5).strip() == "5"
    program = """
    try:
        fa.relu
    except ValueError as error:
        print(error)
    """
    assert "FASTACT_NUM_THREADS is 'many'" in run(program, FASTACT_NUM_THREADS="many")
    assert "FASTACT_NUM_THREADS is '0'" in run(program, FASTACT_NUM_THREADS=0)
    assert "must be one of numba, pool, serial" in run(program, FASTACT_THREADING_LAYER="omp")


def test_cgroup_quotas(tmp_path):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert machine.cgroup_quota(tmp_path) is None
    write("proc/self/cgroup", "0::/user/job\n")
    assert machine.cgroup_quota(tmp_path) is None
    write("sys/fs/cgroup/user/job/cpu.max", "max 100000\n")
    assert machine.cgroup_quota(tmp_path) is None
    write("sys/fs/cgroup/user/cpu.max", "250000 100000\n")
    assert machine.cgroup_quota(tmp_path) == 2.5
    write("sys/fs/cgroup/user/job/cpu.max", "150000 100000\n")
    assert machine.cgroup_quota(tmp_path) == 1.5
    write("proc/self/cgroup", "4:cpu,cpuacct:/box\n3:memory:/box\n")
    assert machine.cgroup_quota(tmp_path) is None
    write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n")
    write("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n")
    assert machine.cgroup_quota(tmp_path) is None
    write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "50000\n")
    assert machine.cgroup_quota(tmp_path) == 0.5


@LINUX_POOL
def test_workers_are_used_and_end():
    with fa.num_threads(4):
        for _ in range(20):
            fa.relu(data(3_000_000))
        assert pool.pool().words[layout.CREATED] >= 1
        assert pool.pool().words[layout.TICKET] >> 32 >= 1
    pool.pool().stop()
    assert pool.pool().words[layout.CREATED] == 0
    pool.pool().resume()
    assert_same_bits(fa.relu(np.full(3_000_000, -1, "f4")), np.zeros(3_000_000, "f4"))


@LINUX_POOL
def test_workers_can_be_stopped_at_any_moment():
    x = data(1_000_000)
    fa.relu(x)
    for pause in [0, 40e-6, 50e-6, 60e-6, 100e-6] * 60:
        fa.relu(x)
        time.sleep(pause)  # workers spin for 50 us, then sleep
        pool.pool().stop()
        pool.pool().resume()
    assert_same_bits(fa.relu(x), np.where(x <= 0, 0, x).astype("f4"))


# --- overlap ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [1, 3, 64, 5000])
@pytest.mark.parametrize("n", [5000, 100_000, 2_000_000])
@pytest.mark.parametrize("ahead", [True, False])
def test_input_and_output_overlap(shift, n, ahead):
    memory = data(n + shift)
    low, high = memory[:n], memory[shift:]
    x, out = (high, low) if ahead else (low, high)
    expected = np.where(x > 0, x, np.float32(0.5) * x)
    fa.leaky_relu(x, 0.5, out=out)
    assert_same_bits(out, expected)


@pytest.mark.parametrize("n", [1000, 100_000, 2_000_000])
def test_three_operands_in_the_same_memory(n):
    for alias in ("grad", "x", "both"):
        grad, x = data(n), data(n)
        if alias == "both":
            grad = x
        expected = np.where(x > 0, grad, 0).astype("f4")
        out = grad if alias == "grad" else x
        assert fa.relu_backward(grad, x, out=out) is out
        assert_same_bits(out, expected)


def test_a_parameter_inside_the_output():
    x = data(200_000)
    out = np.full_like(x, 0.5)
    expected = np.where(x > 0, x, np.float32(0.5) * x)
    fa.leaky_relu(x, out[1000], out=out)
    assert_same_bits(out, expected)
    out[...] = 0.5
    fa.leaky_relu(x, out[1000:1001], out=out)
    assert_same_bits(out, expected)


def test_reversed_in_place():
    x = data(500_000)
    expected = np.where(x <= 0, 0, x).astype("f4")
    reverse = x[::-1]
    fa.relu(reverse, out=reverse)
    assert_same_bits(x, expected)
    x = data(500_000)
    expected = np.where(x <= 0, 0, x).astype("f4")[::-1].copy()
    fa.relu(x[::-1], out=x)
    assert_same_bits(x, expected)


# --- streaming stores ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "bfloat16", "i1", "i8"])
@pytest.mark.parametrize("offset", [0, 1, 3, 8, 63])
@pytest.mark.parametrize("n", [100_000, 100_015, 370_001, 1_000_001])
def test_streaming_changes_nothing(dtype, offset, n):
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x = (data(n + 7) * 9).astype(dtype)[7:]
    memory = np.full(n + offset + 64, 77, dtype)
    out = memory[offset : offset + n]
    with pool_word(layout.STREAM_FROM, 1):
        fa.relu(x, out=out)
    wide = x.astype("f8") if dtype.kind != "i" else x
    assert_same_bits(out, np.where(wide <= 0, 0, wide).astype(dtype))
    assert np.all(memory[:offset] == 77)
    assert np.all(memory[offset + n :] == 77)


def test_streaming_with_several_inputs():
    x, grad = data(300_000), data(300_000)
    with pool_word(layout.STREAM_FROM, 1):
        assert_same_bits(fa.relu_backward(grad, x), np.where(x > 0, grad, 0).astype("f4"))
        assert_same_bits(fa.leaky_relu(x, 0.5), np.where(x > 0, x, np.float32(0.5) * x))
        assert_same_bits(fa.relu(x[::2]), np.where(x[::2] <= 0, 0, x[::2]).astype("f4"))


# --- concurrency --------------------------------------------------------------------------------


def test_32_threads_at_once():
    sizes = [10, 5000, 50_000, 300_000, 1_000_000]
    inputs = [data(n) for n in sizes]
    right = [np.where(x <= 0, 0, x).astype("f4") for x in inputs]
    wrong = []
    until = time.monotonic() + 3

    def work(seed):
        rng = np.random.default_rng(seed)
        while time.monotonic() < until:
            i = rng.integers(len(sizes))
            if not np.array_equal(fa.relu(inputs[i]), right[i]):
                wrong.append(sizes[i])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_number_of_threads_may_change_while_others_compute():
    x = data(1_000_000)
    right = np.where(x <= 0, 0, x).astype("f4")
    stop, wrong = threading.Event(), []

    def work():
        while not stop.is_set():
            if not np.array_equal(fa.relu(x), right):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    before = pool._chosen_threads
    for n in [1, 2, 4, 8] * 10:
        with fa.num_threads(n):
            time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pool._chosen_threads == before


# --- the other layers ---------------------------------------------------------------------------

LAYER_PROGRAM = """
from fastact.cpu import pool
for n in (1000, 20_000, 1_000_000, 3_000_000):
    for _ in range(5):
        check(LARGE[:n], RIGHT[:n])
x = LARGE.copy()
fa.relu_(x)
assert np.array_equal(x, RIGHT)
x = LARGE.copy()
fa.relu(x[1:], out=x[:-1])
assert np.array_equal(x[:-1], RIGHT[1:])
threads = [threading.Thread(target=check) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
if hasattr(os, "fork"):
    if os.fork() == 0:
        check()
        os._exit(0)
    assert os.wait()[1] == 0
print(pool.threading_layer())
"""


@pytest.mark.parametrize("layer", ["serial", "numba"])
def test_the_portable_layers(layer):
    assert run(LAYER_PROGRAM, FASTACT_THREADING_LAYER=layer).strip() in (layer, "serial")


def test_the_numba_layer_runs_where_there_is_openmp_or_tbb():
    program = """
    import numba, numba.np.ufunc.parallel as parallel
    parallel._launch_threads()
    check()
    from fastact.cpu import pool
    safe = numba.threading_layer() in ("tbb", "omp")
    assert pool.threading_layer() == ("numba" if safe else "serial"), numba.threading_layer()
    """
    run(program, FASTACT_THREADING_LAYER="numba")


def test_numbas_workqueue_is_not_used():
    # It ends the process when two threads use it at once.
    program = "check()\nfrom fastact.cpu import pool\nprint(pool.threading_layer())"
    settings = {"FASTACT_THREADING_LAYER": "numba", "NUMBA_THREADING_LAYER": "workqueue"}
    assert run(program, **settings).strip() == "serial"
