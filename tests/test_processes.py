"""Forks, signals, exits and caches: what goes wrong in real programs must not go wrong here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from programs import PROLOGUE, environment, run, run_at_once
from thorough import only

import fastact
from fastact import warmup

PACKAGE = Path(fastact.__file__).parent
FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


# --- forks and process pools --------------------------------------------------------------------


@FORK
def test_fork_after_parallel_calls():
    program = """
    for _ in range(5):
        check()
        child = os.fork()
        if child == 0:
            for _ in range(5): check()
            grandchild = os.fork()
            if grandchild == 0:
                check()
                os._exit(0)
            os._exit(os.waitpid(grandchild, 0)[1])
        check()
        assert os.waitpid(child, 0)[1] == 0
    """
    run(program)


@FORK
def test_fork_while_other_threads_compute():
    program = """
    check()
    stop = threading.Event()
    def work():
        while not stop.is_set(): check()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads: t.start()
    import warnings
    warnings.simplefilter("ignore")  # Python 3.12 warns of any fork with threads
    for _ in range(20):
        child = os.fork()
        if child == 0:
            check(); check()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    for t in threads: t.join()
    """
    run(program)


#: What threads do as their first use of the package, while the process forks.
FIRST_USES = [
    "fa.relu(x)",
    "fa.fused.relu_mask(x)",
    "import fastact.fused; fastact.fused.bias_act(x.reshape(100, -1), x[:10_000])",
    "fa.softmax(x.reshape(100, -1))",
    "from fastact import memory; memory.stats()",
    "fa.gelu_backward(x, x)",
    "import fastact.public.rows; fa.log_softmax(x.reshape(100, -1))",
    "fa.show_config()",
    "import ml_dtypes; fa.leaky_relu(x.astype(ml_dtypes.bfloat16), 0.2)",
    "fa.glu(x), fa.prelu_(x[None], 0.25), fa.get_num_threads()",
]


def fork_in_first_use(use: str, **variables: object) -> None:
    program = f"""
    import signal, warnings
    warnings.simplefilter("ignore")  # Python 3.12 warns of any fork with threads
    sys.stdout = open(os.devnull, "w")
    x = LARGE[:1_000_000]
    code = compile({use!r}, "use", "exec")
    stop = threading.Event()
    def work():
        while not stop.is_set(): exec(code, {{"fa": fa, "x": x.copy()}})
    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for t in threads: t.start()
    for _ in range(10):
        child = os.fork()
        if child == 0:
            signal.alarm(100)  # ends a child that hangs
            exec(code, {{"fa": fa, "x": x.copy()}})
            check()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    for t in threads: t.join()
    """
    run(program, **variables)


@FORK
@pytest.mark.parametrize("use", only(FIRST_USES[:4], FIRST_USES))
def test_fork_while_other_threads_use_it_first(use):
    fork_in_first_use(use)


@FORK
def test_fork_while_other_threads_compile(tmp_path):
    fork_in_first_use("fa.relu(x)", FASTACT_CACHE_DIR=tmp_path)


@FORK
@pytest.mark.thorough
@pytest.mark.parametrize("round_", range(50))
def test_fork_while_other_threads_use_it_first_50_times(round_):
    fork_in_first_use(FIRST_USES[round_ % len(FIRST_USES)])


def test_a_first_call_from_where_something_is_being_loaded():
    # As from a signal handler or ``__del__`` that interrupts the import of a name.
    program = """
    import faulthandler
    from fastact import loading
    faulthandler.dump_traceback_later(100, exit=True)
    with loading.lock: check()
    """
    run(program)


@pytest.mark.skipif(sys.platform != "linux", reason="memory that is wiped on fork")
def test_fork_behind_pythons_back():
    program = """
    import ctypes
    check(); check()
    libc = ctypes.PyDLL(None)
    for _ in range(5):
        child = libc.fork()
        if child == 0:
            check(); check()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        check()
    """
    run(program)


METHODS = ["fork", "spawn", "forkserver"] if hasattr(os, "fork") else ["spawn"]


@pytest.mark.parametrize("method", METHODS)
def test_process_pools(method, tmp_path):
    program = f"""
    import multiprocessing, concurrent.futures
    def work(i):
        x = LARGE[: 1_000_000 + i]
        return bool(np.array_equal(fa.relu(x), RIGHT[: 1_000_000 + i]))
    if __name__ == "__main__":
        check()
        context = multiprocessing.get_context({method!r})
        with context.Pool(2) as pool:
            assert all(pool.map(work, range(8)))
        check()
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            assert all(executor.map(work, range(8)))
        with concurrent.futures.ThreadPoolExecutor(8) as executor:
            assert all(executor.map(work, range(16)))
    """
    path = tmp_path / "program.py"
    path.write_text(PROLOGUE + textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=300, env=environment()
    )
    assert done.returncode == 0, done.stderr


# --- the end ------------------------------------------------------------------------------------


@FORK
@pytest.mark.parametrize("times", only([40], [40, 200]))
def test_exit_while_workers_are_awake(times):
    program = f"""
    check()
    for i in range({times}):
        child = os.fork()
        if child == 0:
            check()
            check()
            sys.exit(0)  # the whole shutdown of an interpreter, right after a parallel call
        assert os.waitpid(child, 0)[1] == 0, i
    """
    run(program)


def test_exit_of_fresh_interpreters():
    for _ in range(5):
        run("for _ in range(3): check()")


def test_exit_while_a_daemon_thread_computes():
    program = """
    def work():
        while True: check()
    for _ in range(2): threading.Thread(target=work, daemon=True).start()
    time.sleep(0.3)
    """
    for _ in range(5):
        run(program)


def test_calls_while_the_interpreter_shuts_down():
    program = """
    import atexit
    class Late:
        def __del__(self): check()
    atexit.register(check)
    check()
    late = Late()
    atexit.register(check)
    """
    run(program)


# --- signals ------------------------------------------------------------------------------------


def interrupted(
    program: str, after: float, **variables: object
) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + program],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@POSIX
def test_interrupt_between_calls():
    done = interrupted("print('ready', flush=True)\nwhile True: check()", after=1)
    assert "KeyboardInterrupt" in done.stderr
    assert "Exception ignored" not in done.stderr


@POSIX
@pytest.mark.parametrize("after", only([0.5], [0.05, 0.5, 1.1]))
def test_interrupt_while_a_kernel_is_compiled(after, tmp_path):
    program = """
relu = fa.relu
print("ready", flush=True)
try:
    y = relu(LARGE[:100])
    time.sleep(5)
except KeyboardInterrupt:
    assert np.array_equal(y, RIGHT[:100])
    check()
    print("interrupted")
"""
    done = interrupted(program, after, FASTACT_CACHE_DIR=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "interrupted\n")


# --- the cache of compiled kernels --------------------------------------------------------------

ONE_KERNEL = "check(LARGE[:100], RIGHT[:100])"


def kernels(directory: Path) -> dict[str, float]:
    return {path.name: path.stat().st_mtime for path in directory.glob("*.o")}


def test_the_cache_does_not_grow(tmp_path):
    run("check(); fa.relu_(LARGE)", FASTACT_CACHE_DIR=tmp_path)
    first = kernels(tmp_path)
    assert first
    run("check(); fa.relu_(LARGE)", FASTACT_CACHE_DIR=tmp_path)
    assert kernels(tmp_path) == first


def test_a_warm_start_does_without_numba(tmp_path):
    run("check()", FASTACT_CACHE_DIR=tmp_path)
    run("check(); assert 'numba' not in sys.modules", FASTACT_CACHE_DIR=tmp_path)


def test_fused_kernels_are_prepared_by_name():
    names = {unit.name for unit in warmup.units(["fused", "gelu"], ["float32"]).values()}
    assert "gelu_bias_columns-float32" in names
    assert "gelu_tanh_bias_residual_backward_rows-float32" in names
    assert "prelu_weight_backward_columns-float32" in names
    assert "relu_mask_columns-float32" in names
    assert not any("float64" in name for name in names)
    assert "relu_bias_columns-float16" in {unit.name for unit in warmup.units().values()}


def test_a_prepared_cache_is_enough_without_numba_installed(tmp_path):
    settings = {"FASTACT_CACHE_DIR": tmp_path, "NUMBA_CPU_NAME": "generic"}
    command = [sys.executable, "-m", "fastact", "warmup", "relu", "silu", "--dtype", "float32"]
    done = subprocess.run(command, env=environment(**settings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 were there already" in done.stdout
    assert f"compiled {len(kernels(tmp_path))} kernels for generic" in done.stdout
    again = subprocess.run(command, env=environment(**settings), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"{len(kernels(tmp_path))} were there already" in again.stdout

    before = sorted(tmp_path.iterdir())
    for path in (*before, tmp_path):
        path.chmod(0o555 if path.is_dir() else 0o444)
    prologue = "import sys; sys.modules['numba'] = None\n" + PROLOGUE
    program = """
    check(); check(LARGE[:100], RIGHT[:100])
    fa.relu_backward(LARGE, LARGE); fa.silu_(LARGE.copy()); fa.silu_backward(LARGE, LARGE)
    with fa.memory.recycling(): check()
    try:
        fa.elu(np.ones(3, np.float32))
        time.sleep(5)
    except RuntimeError:
        print("as it should")
    """
    done = subprocess.run(
        [sys.executable, "-c", prologue + textwrap.dedent(program)],
        env=environment(**settings),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "as it should\n"), done.stderr
    assert "has no machine code for elu_default-float32" in done.stderr
    assert "fastact needs the package numba" in done.stderr
    assert sorted(tmp_path.iterdir()) == before
    tmp_path.chmod(0o755)


def test_importing_costs_nothing():
    program = """
    import sys, fastact
    dir(fastact)
    assert not {"numpy", "numba", "llvmlite"} & set(sys.modules)
    """
    run(program, prologue="")


@pytest.mark.parametrize("count", only([4], [4, 16]))
def test_cold_starts_at_once(count, tmp_path):
    run_at_once(count, ONE_KERNEL, FASTACT_CACHE_DIR=tmp_path)
    assert sorted(name.split("-")[0] for name in kernels(tmp_path)) == ["driver", "relu"]


@pytest.fixture
def copied_package(tmp_path):
    """A copy of the package that a test may edit."""
    shutil.copytree(
        PACKAGE, tmp_path / "copy/fastact", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path / "copy/fastact"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    # The same size and a time stamp of the same second are what stale caches are made of.
    os.utime(path, (1, 1))


def test_an_edited_formula_gives_a_new_kernel(copied_package, tmp_path):
    program = "print(*fa.relu(np.float32([-1, 1])).tolist(), *fa.relu(np.float16([2])).tolist())"
    settings = {"cwd": copied_package.parent, "FASTACT_CACHE_DIR": tmp_path / "cache"}
    settings["PYTHONDONTWRITEBYTECODE"] = 1
    assert run(program, **settings).split() == ["0.0", "1.0", "2.0"]
    before = kernels(tmp_path / "cache")
    edit(
        copied_package / "catalogue/activations.py",
        "return 0 if x <= 0 else x\n",
        "return 5 if x <= 0 else x\n",
    )
    assert run(program, **settings).split() == ["5.0", "1.0", "2.0"]
    assert kernels(tmp_path / "cache").items() >= before.items()


def test_an_edited_helper_gives_a_new_kernel(copied_package, tmp_path):
    # Not relu, which only chooses, and converts nothing.
    program = "print(*fa.leaky_relu(x).view(np.uint16).tolist())"
    prologue = PROLOGUE + "import ml_dtypes\nx = np.uint16([2, 3]).view(ml_dtypes.bfloat16)\n"
    settings = {"cwd": copied_package.parent, "FASTACT_CACHE_DIR": tmp_path / "cache"}
    settings["PYTHONDONTWRITEBYTECODE"] = 1
    settings["FASTACT_VECTOR_BITS"] = 256  # vectors of 512 bits do without this helper
    assert run(program, prologue, **settings).split() == ["2", "3"]
    helper = copied_package / "cpu/half.py"
    edit(helper, "nearest_even) >> uint32(16))", "nearest_even) >> uint32(17))")
    assert run(program, prologue, **settings).split() == ["1", "1"]


def test_nowhere_to_write(copied_package):
    before = sorted(copied_package.rglob("*"))
    settings = {"cwd": copied_package.parent, "PYTHONDONTWRITEBYTECODE": 1}
    for place in ({"FASTACT_CACHE_DIR": "/dev/null/nowhere"}, {"HOME": "/dev/null/nobody"}):
        if "HOME" in place:
            place |= {"FASTACT_CACHE_DIR": "", "XDG_CACHE_HOME": "", "LOCALAPPDATA": ""}
        run("check(); fa.show_config()", **settings, **place)
    assert sorted(copied_package.rglob("*")) == before


@pytest.mark.parametrize("damage", only([b"x"], [b"", b"x", b"\0" * 5000]))
def test_a_damaged_cache_file_is_replaced(damage, tmp_path):
    run(ONE_KERNEL, FASTACT_CACHE_DIR=tmp_path)
    (kernel,) = tmp_path.glob("relu-float32-*.o")
    good = kernel.read_bytes()
    kernel.write_bytes(damage)
    run(ONE_KERNEL, FASTACT_CACHE_DIR=tmp_path)
    assert len(kernel.read_bytes()) == len(good)
    kernel.write_bytes(good[: len(good) // 2])
    run(ONE_KERNEL, FASTACT_CACHE_DIR=tmp_path)
    assert len(kernel.read_bytes()) == len(good)
