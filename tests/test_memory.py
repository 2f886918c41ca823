"""The recycling allocator: nothing is ever lost, corrupted, or kept beyond what was asked for."""

from __future__ import annotations

import contextvars
import ctypes
import gc
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from programs import environment, run

import fastact as fa
from fastact import memory
from fastact.memory import compiled, layout

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not available on Windows")

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
MIB = 1 << 20


@pytest.fixture(autouse=True)
def recycling():
    with memory.recycling(max_bytes=256 * MIB, idle_seconds=1000):
        memory.clear()
        yield
    gc.collect()
    assert memory.stats().retained_bytes == 0


def test_memory_is_handed_out_again():
    before = memory.stats()
    first = np.ones(MIB)
    address = first.ctypes.data
    assert memory.stats().used_bytes - before.used_bytes >= 8 * MIB
    del first
    assert memory.stats().retained_blocks == 1
    second = np.empty(MIB - 1000)
    assert second.ctypes.data == address
    after = memory.stats()
    assert (after.reused - before.reused, after.retained_bytes) == (1, 0)


def test_small_arrays_are_left_alone():
    before = memory.stats()
    kept = [np.ones(size, np.uint8) for size in (0, 1, 100, layout.SMALLEST - 1)]
    assert memory.stats().used_blocks == before.used_blocks
    kept.append(np.ones(layout.SMALLEST, np.uint8))
    assert memory.stats().used_blocks == before.used_blocks + 1


@pytest.mark.parametrize("size", [layout.SMALLEST, 3 * MIB, 4 * MIB, 50 * MIB + 1])
def test_alignment(size):
    for make in (np.empty, np.zeros, np.ones):
        assert make(size, np.uint8).ctypes.data % 64 == 0


def test_a_block_wastes_little():
    sizes = {layout.SMALLEST, *(round(1.013**k) for k in range(900, 2000))}
    for size in sorted(size for size in sizes if layout.SMALLEST <= size < 1 << 32):
        pointer = MALLOC(RECYCLER.address, size)
        capacity = ctypes.c_int64.from_address(pointer - layout.HEADER_BYTES + 8 * layout.CAPACITY)
        assert size <= capacity.value <= size * 1.125
        FREE(RECYCLER.address, pointer, size)


@pytest.mark.parametrize("nbytes", [MIB, 2 * MIB, 3 * MIB, 64 * MIB])
def test_zeros_are_zero(nbytes):
    for _ in range(3):
        dirty = np.full(nbytes, 255, np.uint8)
        del dirty
        assert memory.stats().retained_blocks == 1
        assert not np.zeros(nbytes, np.uint8).any()


@LINUX
def test_zeros_of_locked_memory():
    # MADV_DONTNEED fails on memory that may not be paged out.
    dirty = np.full(4 * MIB, 255, np.uint8)
    if ctypes.CDLL(None).mlock(ctypes.c_void_p(dirty.ctypes.data), ctypes.c_size_t(4096)):
        pytest.skip("memory may not be locked here")
    del dirty
    assert not np.zeros(4 * MIB, np.uint8).any()


@pytest.mark.parametrize("moved_by_system", [True, False])
def test_resize(moved_by_system):
    mremap = RECYCLER.words[layout.MREMAP]
    RECYCLER.words[layout.MREMAP] = mremap if moved_by_system else 0
    try:
        rng = random.Random(1)
        pattern = np.arange(8 * MIB, dtype=np.uint32).view(np.uint8)
        before = memory.stats().used_blocks
        x = pattern[:MIB].copy()
        size = len(x)
        for _ in range(100):
            target = rng.choice([rng.randrange(1, 2 * MIB), rng.randrange(1, 32 * MIB)])
            x.resize(target, refcheck=False)
            kept = min(size, target)
            assert np.array_equal(x[:kept], pattern[:kept])
            assert not x[kept:].any()
            x[:] = pattern[:target]
            size = target
        del x
        assert memory.stats().used_blocks == before
    finally:
        RECYCLER.words[layout.MREMAP] = mremap


def test_arrays_that_grow_while_they_are_made():
    count = 3_000_000
    assert np.array_equal(np.fromiter(range(count), np.int32), np.arange(count, dtype=np.int32))


# --- bounds -------------------------------------------------------------------------------------


def test_the_bound_holds():
    memory.enable(max_bytes=10 * MIB)
    kept = [np.ones(3 * MIB, np.uint8) for _ in range(8)]
    while kept:
        kept.pop()
        assert memory.stats().retained_bytes <= 10 * MIB
    assert memory.stats().retained_blocks == 3
    del kept
    memory.enable(max_bytes=5 * MIB)
    assert memory.stats().retained_blocks == 1
    too_large = np.ones(6 * MIB, np.uint8)
    del too_large
    assert memory.stats().retained_bytes <= 5 * MIB
    memory.enable(max_bytes=0)
    assert memory.stats().retained_blocks == 0


def test_the_oldest_goes_first():
    memory.enable(max_bytes=7 * MIB)
    blocks = [np.ones(size * MIB, np.uint8) for size in (1, 2, 4, 3)]
    for _ in range(4):
        del blocks[0]
    reused = memory.stats().reused
    kept = [np.empty(size * MIB, np.uint8) for size in (4, 3)]
    assert memory.stats().reused == reused + 2
    assert memory.stats().retained_blocks == 0
    del kept


@LINUX
def test_idle_memory_goes_back_without_any_call():
    memory.enable(idle_seconds=0.2)
    for _ in range(3):  # the thread that does it ends, and is started again
        x = np.ones(MIB)
        del x
        assert memory.stats().retained_blocks == 1
        deadline = time.monotonic() + 20
        while memory.stats().retained_blocks and time.monotonic() < deadline:
            time.sleep(0.02)
        assert memory.stats().retained_blocks == 0


def resident():
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@LINUX
def test_memory_returns_to_the_system():
    start = resident()
    x = np.ones(128 * MIB, np.uint8)
    del x
    assert resident() - start > 100 * MIB
    memory.clear()
    assert resident() - start < 20 * MIB


# --- settings -----------------------------------------------------------------------------------


def test_arguments():
    with pytest.raises(TypeError, match="max_bytes must be an integer, got float"):
        memory.enable(max_bytes=1e9)
    with pytest.raises(ValueError, match="max_bytes must be at least 0, got -1"):
        memory.enable(max_bytes=-1)
    for idle in (0, -1, float("nan"), "3"):
        with pytest.raises(ValueError, match="idle_seconds must be a number above 0"):
            memory.enable(idle_seconds=idle)
    memory.enable(max_bytes=10**30, idle_seconds=float("inf"))
    assert memory.stats().enabled


def test_nested_blocks_restore_what_was():
    with memory.recycling(max_bytes=MIB, idle_seconds=3):
        assert (memory.stats().max_bytes, memory.stats().idle_seconds) == (MIB, 3)
        with pytest.raises(KeyError), memory.recycling(max_bytes=2 * MIB):
            raise KeyError
        assert (memory.stats().max_bytes, memory.stats().enabled) == (MIB, True)
    assert memory.stats().max_bytes == 256 * MIB


def test_arrays_outlive_it():
    x = np.arange(MIB)
    memory.disable()
    y = np.arange(MIB)
    assert not memory.stats().enabled
    assert np.array_equal(x, y)
    blocks = memory.stats().used_blocks
    del y
    assert memory.stats().used_blocks == blocks
    del x
    assert memory.stats().used_blocks == blocks - 1
    memory.clear()


def test_it_is_for_the_thread_that_enables_it():
    def enabled():
        return memory.stats().enabled

    # Python 3.14 may let a thread begin with its starter's context.
    assert memory.stats().enabled
    assert not contextvars.Context().run(enabled)
    with ThreadPoolExecutor(2, initializer=memory.enable) as executor:
        assert all(executor.map(lambda _: enabled(), range(8)))


def test_another_allocator_is_put_back():
    from fastact.cpu import numpy_api

    memory.disable()
    default = numpy_api.default_handler()
    functions = {name: getattr(default, name) for name in ("malloc", "calloc", "realloc", "free")}
    handler = numpy_api.Handler(b"another", 1, default.context, **functions)
    name = np._core.multiarray.get_handler_name

    def inside():
        numpy_api.c_function("PyDataMem_SetHandler")(numpy_api.handler_capsule(handler))
        memory.enable()
        x = np.ones(MIB)
        assert name(x) == "fastact_recycling"
        memory.disable()
        assert name() == "another"
        assert name(np.ones(MIB)) == "another"

    contextvars.copy_context().run(inside)


def test_from_the_environment():
    program = "print(fa.memory.stats().enabled, fa.memory.stats().max_bytes)"
    assert run(program, FASTACT_MEMORY="1").startswith("True")
    assert run(program, FASTACT_MEMORY="on").startswith("True")
    assert run(program, FASTACT_MEMORY="0").startswith("False")
    assert run(program, FASTACT_MEMORY="").startswith("False")
    assert run(program, FASTACT_MEMORY="1.5GiB") == f"True {3 << 29}\n"
    assert run(program, FASTACT_MEMORY="64m") == f"True {64 * MIB}\n"
    wrong = """
    try: import fastact
    except ValueError as error: print(error)
    """
    assert "FASTACT_MEMORY is 'lots'" in run(wrong, prologue="", FASTACT_MEMORY="lots")


def test_tracemalloc_still_counts():
    tracemalloc.start()
    try:
        for _ in range(2):  # fresh, and recycled
            before = tracemalloc.get_traced_memory()[0]
            x = np.ones(MIB)
            assert 8 * MIB <= tracemalloc.get_traced_memory()[0] - before < 9 * MIB
            del x
            assert tracemalloc.get_traced_memory()[0] - before < MIB
    finally:
        tracemalloc.stop()


@LINUX
def test_no_memory_left():
    program = """
    import resource
    fa.memory.enable(max_bytes=1 << 40)
    with open("/proc/self/statm") as file: mapped = int(file.read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (600 << 20), -1))
    def refused(function, *arguments):
        try: function(*arguments)
        except MemoryError: return True
    assert refused(np.empty, 1 << 30, np.uint8)
    assert refused(np.zeros, 1 << 30, np.uint8)
    assert refused(np.empty, (1 << 62) - 1, np.uint8)
    x = np.ones(200 << 20, np.uint8)
    assert refused(x.resize, 1 << 30)
    assert x.all() and len(x) == 200 << 20
    del x
    assert fa.memory.stats().retained_blocks == 1
    y = np.ones(500 << 20, np.uint8)   # only if what is retained is given back first
    assert fa.memory.stats().retained_blocks == 0
    del y
    assert fa.memory.stats().used_blocks == 0
    """
    run(program)


def test_a_system_that_maps_nothing_more():
    """Linux grants a process 65530 mappings; then memory comes from where NumPy takes it."""
    refuse = ctypes.PYFUNCTYPE(ctypes.c_int64)(lambda: -1)
    words = RECYCLER.words
    saved = {slot: words[slot] for slot in (layout.MMAP, layout.MREMAP)}
    block = np.arange(MIB, dtype=np.uint8)
    used = memory.stats().used_blocks
    try:
        for slot in saved:
            words[slot] = ctypes.cast(refuse, ctypes.c_void_p).value
        x = np.ones(MIB)
        assert not np.zeros(MIB).any()
        block.resize(3 * MIB, refcheck=False)
        assert np.array_equal(block[:MIB], np.arange(MIB, dtype=np.uint8))
        assert x.all()
        assert memory.stats().used_blocks == used - 1
    finally:
        for slot, address in saved.items():
            words[slot] = address


# --- many at once -------------------------------------------------------------------------------

RECYCLER = memory._recycler() if sys.platform != "win32" else None


def c_function(name, arguments):
    """A function of the allocator, called without the interpreter's lock."""
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, *[ctypes.c_int64] * arguments)
    return prototype(compiled.address(name))


if sys.platform != "win32":
    MALLOC, CALLOC = c_function("malloc", 1), c_function("calloc", 2)
    REALLOC, FREE = c_function("realloc", 2), c_function("free", 2)


def churn(seed, seconds, bound):
    """Allocate, resize and free at random, and look whether every block has kept its pattern."""
    rng = random.Random(seed)
    held = []
    state = RECYCLER.address
    end = time.monotonic() + seconds
    count = 0

    def size():
        return int(2 ** rng.uniform(layout.SMALLEST_BIT - 1, 23))

    def mark(pointer, nbytes, value):
        for at in (0, nbytes // 2 & -8, (nbytes - 8) & -8):
            ctypes.c_int64.from_address(pointer + at).value = value
        return pointer, nbytes, value

    def check(pointer, nbytes, value):
        for at in (0, nbytes // 2 & -8, (nbytes - 8) & -8):
            assert ctypes.c_int64.from_address(pointer + at).value == value

    while time.monotonic() < end:
        count += 1
        action = rng.random()
        if action < 0.35 or not held:
            nbytes = size()
            held.append(mark(MALLOC(state, nbytes), nbytes, rng.getrandbits(62)))
        elif action < 0.45:
            nbytes = max(size(), layout.SMALLEST)  # NumPy's own calloc wants the lock
            pointer = CALLOC(state, nbytes, 1)
            check(pointer, nbytes, 0)
            held.append(mark(pointer, nbytes, rng.getrandbits(62)))
        elif action < 0.55:
            k = rng.randrange(len(held))
            pointer, nbytes, value = held[k]
            check(*held[k])
            new = size()
            moved = REALLOC(state, pointer, new)
            assert ctypes.c_int64.from_address(moved).value == value
            held[k] = mark(moved, new, value + 1)
        else:
            block = held.pop(rng.randrange(len(held)))
            check(*block)
            FREE(state, *block[:2])
        assert RECYCLER.words[layout.RETAINED_BYTES] <= bound
        if len(held) > 40:
            for block in held:
                check(*block)
                FREE(state, *block[:2])
            held.clear()
    for block in held:
        check(*block)
        FREE(state, *block[:2])
    return count


#: Seconds; the long run is some ten million allocations.
SOAK = pytest.mark.parametrize(
    "seconds", [3, pytest.param(300, marks=[pytest.mark.exhaustive, pytest.mark.timeout(900)])]
)


@SOAK
def test_threads_without_the_interpreters_lock(seconds):
    before = memory.stats().used_blocks
    start = resident()
    bound = 32 * MIB
    memory.enable(max_bytes=bound, idle_seconds=0.05)
    with ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(churn, seed, seconds, bound) for seed in range(8)]
        while not all(future.done() for future in futures):
            time.sleep(0.05)
            memory.clear()
        assert sum(future.result() for future in futures) > 1000
    assert memory.stats().used_blocks == before
    memory.clear()
    assert memory.stats().retained_bytes == 0
    assert resident() - start < 64 * MIB


PROGRAM = """
fa.memory.enable(max_bytes=64 << 20, idle_seconds=0.05)
def churn(seed, seconds, held=None):
    fa.memory.enable()
    rng = np.random.default_rng(seed)
    held, end = held or [], time.monotonic() + seconds
    while time.monotonic() < end:
        if len(held) < 12 and rng.random() < 0.6:
            value = int(rng.integers(256))
            held.append((np.full(int(2 ** rng.uniform(15, 22)), value, np.uint8), value))
        elif held:
            x, value = held.pop(int(rng.integers(len(held))))
            assert (x == value).all()
        assert fa.memory.stats().retained_bytes <= 64 << 20
    return all((x == value).all() for x, value in held)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@SOAK
def test_threads_and_forks(seconds):
    program = f"""
    import warnings
    warnings.simplefilter("ignore")  # Python 3.12 warns of any fork with threads
    def work(seed):
        assert churn(seed, {seconds})
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    held = [(np.full(1 << 20, 7, np.uint8), 7)]
    for t in threads: t.start()
    while any(t.is_alive() for t in threads):
        child = os.fork()
        if child == 0:
            assert fa.memory.stats().retained_bytes == 0
            os._exit(0 if churn(99, 0.05, held) else 1)
        assert os.waitpid(child, 0)[1] == 0
    for t in threads: t.join()
    """
    run(PROGRAM + textwrap.dedent(program), timeout=seconds + 300)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_with_idle_memory_warns_of_no_thread():
    program = """
    x = np.ones(1 << 20); del x
    for _ in range(5):
        child = os.fork()
        if child == 0:
            y = np.ones(1 << 20); del y
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert fa.memory.stats().retained_blocks == 1
    """
    run("fa.memory.enable()\n" + textwrap.dedent(program))


def test_exit_with_arrays_alive():
    program = """
    import atexit, builtins
    builtins.kept = [np.ones(1 << 20) for _ in range(3)]
    kept = [np.ones(1 << 20) for _ in range(3)]
    atexit.register(lambda: np.ones(1 << 20))
    def forever():
        fa.memory.enable()
        while True: np.ones(1 << 18)
    threading.Thread(target=forever, daemon=True).start()
    time.sleep(0.1)
    """
    for _ in range(5):
        run("fa.memory.enable(idle_seconds=0.02)\n" + textwrap.dedent(program))


def test_frees_in_other_threads():
    arrays = [np.full(MIB, k, np.uint8) for k in range(32)]
    before = memory.stats().used_blocks
    threads = [threading.Thread(target=arrays.pop) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.stats().used_blocks == before - 32


def test_the_activations_agree():
    x = np.random.default_rng(3).normal(size=1_000_000).astype(np.float32)
    for _ in range(4):
        assert np.array_equal(fa.relu(x), np.maximum(x, 0))
        assert np.array_equal(fa.relu(x) + fa.relu(x), 2 * np.maximum(x, 0))


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("module", ["mem_policy", "multiarray", "ufunc", "umath"])
def test_numpys_own_tests(module, tmp_path):
    """Those of allocators need a C compiler, Meson and Ninja, and skip themselves otherwise."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "fastact", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--pyargs", f"numpy._core.tests.test_{module}"],
        cwd=tmp_path,
        env=environment(FASTACT_MEMORY=1),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
