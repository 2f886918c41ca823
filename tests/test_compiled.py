"""The functions inside code that Numba compiles: the same results as outside of it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import threading

import numba
import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import TypingError
from smooth import ulps
from thorough import only

import fastact as fa
from fastact import loading
from fastact.catalogue import Gated, Joined, Largest
from fastact.catalogue.entries import REQUIRED
from fastact.cpu.target import traits
from fastact.public.names import FORMS

RNG = np.random.default_rng(3)
#: Where our own loops are of explicit vectors of 512 bits, they have other formulas in float32.
OTHER_FORMULAS = "avx512" in traits()
QUICK = ["softmax", "swiglu_backward"]


def assert_same(actual, right):
    actual, right = ([*v] if isinstance(v, tuple) else [v] for v in (actual, right))
    for a, b in zip(actual, right, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if OTHER_FORMULAS and a.dtype == np.float32:
            assert ulps(a, b.astype(np.float64)).max() <= 4
        else:
            np.testing.assert_array_equal(a, b)


def arrays_of(form, dtype):
    """Arguments that the function takes."""
    shapes = dict.fromkeys(form.arrays, (6, 10))
    if form.which == "backward" and isinstance(form.entry, Joined):
        shapes["grad"] = (6, 20)
    if form.which == "backward" and isinstance(form.entry, Gated) and form.entry.halves:
        shapes["grad"] = (6, 5)
    made = {name: RNG.normal(0, 2, shape).astype(dtype) for name, shape in shapes.items()}
    if "y" in made:
        made["y"] = RNG.uniform(-1, 1, shapes["y"]).astype(dtype)
    if "indices" in made:
        made["indices"] = RNG.integers(0, 3, shapes["indices"])
    return made


def compiled(source, **names):
    """``f`` of a source text, compiled and not."""
    known = {"fa": fa, "np": np, **names}
    exec(textwrap.dedent(source), known)
    return numba.njit(known["f"]), known["f"]


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float64", marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize(
    "name",
    # Numba takes seconds for each.
    [*QUICK, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in FORMS if n not in QUICK)],
)
def test_every_function(name, dtype):
    form = FORMS[name]
    arrays = arrays_of(form, dtype)
    required = {"pieces": "4"} if isinstance(form.entry, Largest) else {}
    given = [f"{p.name}={required.get(p.name, '0.5')}" for p in form.parameters]
    given = [g for g, p in zip(given, form.parameters, strict=True) if p.default is REQUIRED]
    arguments = ", ".join(arrays)
    f, plain = compiled(f"def f({arguments}): return fa.{name}({', '.join([*arrays, *given])})")
    copies = [array.copy() for array in arrays.values()]
    assert_same(f(*copies), plain(*arrays.values()))
    for changed, original in zip(copies, arrays.values(), strict=True):
        assert_same(changed, original)  # also what was computed in place


CALLS = {
    "parameters": "fa.leaky_relu(x, 0.1) + fa.leaky_relu(x, negative_slope=0.2) * fa.leaky_relu(x)",
    "choice": "fa.gelu(x, approximate='tanh')",
    "choice of gradient": "fa.gelu_backward(x, x, approximate='tanh')",
    "out": "fa.tanh(x, np.empty_like(x))",
    "out by name": "fa.elu(x, out=x)",
    "strides": "fa.silu_backward(x[::-1, ::2], x[:, ::2].copy())",
    "broadcast": "fa.tanh_backward(x, x[0])",
    "channels": "fa.prelu(x, np.float32([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), axis=0)",
    "first axis": "fa.log_softmax(x, axis=0)",
    "rows out": "fa.softmax(x, out=np.empty(x.shape, x.dtype)[:, ::-1])",
    "two results": "fa.maxout(x, axis=0)",
}


@pytest.mark.parametrize("call", only(["parameters", "choice"], CALLS))
def test_calls(call):
    f, plain = compiled(f"def f(x): return {CALLS[call]}")
    x = RNG.normal(0, 2, (6, 10)).astype(np.float32)
    assert_same(f(x.copy()), plain(x.copy()))


def test_numbers():
    f, plain = compiled("def f(x): return fa.relu(x), fa.silu(x), *fa.swiglu_backward(x, x, x)")
    assert f(0.7) == plain(0.7)
    assert f(3)[0] == 3
    assert type(f(3)[0]) is int
    in_float32, _ = compiled("def f(x): return np.asarray(fa.silu(x))")
    assert_same(in_float32(np.float32(0.7)), np.asarray(fa.silu(np.float32(0.7))))


@pytest.mark.thorough
def test_loops_that_run_in_parallel():
    source = """
    def f(x, out):
        for i in numba.prange(x.size):
            out[i] = fa.gelu(x[i]) + fa.relu(x[i])
        return fa.tanh(out)
    """
    _, plain = compiled(source, numba=numba)
    x = RNG.normal(0, 2, 1000).astype(np.float32)
    right = fa.tanh(fa.gelu(x) + fa.relu(x))
    assert_same(numba.njit(parallel=True)(plain)(x, np.empty_like(x)), right)


@pytest.mark.thorough
def test_other_decorators():
    x = RNG.normal(0, 2, 100)
    vectorized = numba.vectorize(lambda x: fa.leaky_relu(x, 0.1))
    assert_same(vectorized(x), fa.leaky_relu(x, 0.1))

    @numba.guvectorize(["(float64[:], float64[:])"], "(n)->(n)")
    def generalized(x, out):
        out[:] = fa.relu(x) * 2

    assert_same(generalized(x), fa.relu(x) * 2)

    @numba.stencil
    def difference(x):
        return fa.relu(x[1] - x[0])

    right = np.append(fa.relu(np.diff(x)), 0)
    assert_same(numba.njit(lambda x: difference(x))(x), right)


def test_loops_work_on_several_vectors_in_turn():
    _, plain = compiled("""
    def f(x, out):
        for i in range(x.size):
            out[i] = fa.tanh(x[i])
    """)
    f = numba.njit("void(float32[::1], float32[::1])")(plain)
    (text,) = f.inspect_llvm().values()
    assert len(re.findall(r"= load <\d+ x float>", text)) >= 4


def test_a_ufunc_is_an_argument():
    f = numba.njit(lambda function, x: function(x))
    x = RNG.normal(0, 2, 10)
    assert_same(f(fa.relu, x), fa.relu(x))
    assert_same(f(fa.silu, x), fa.silu(x))


def test_fastmath_changes_nothing_inside():
    x = RNG.normal(0, 2, 1000).astype(np.float32)
    _, plain = compiled("def f(x): return fa.mish(x)")
    assert_same(numba.njit(fastmath=True)(plain)(x), fa.mish(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("fa.relu('x')", "relu: argument 1 must be a number"),
        ("fa.gelu(x, 'no')", "approximate must be 'none' or 'tanh', got 'no'"),
        ("fa.relu_(x[0, 0])", "relu_: x must be an array"),
        ("fa.tanh(x, np.empty(x.shape, np.int64))", "out is of int64"),
        ("fa.softmax(x, axis=2)", "no axis 2"),
        ("fa.rrelu(x, training=True)", "random"),
    ],
)
def test_errors_of_types(call, message):
    f, _ = compiled(f"def f(x): return {call}")
    with pytest.raises(TypingError, match=message):
        f(np.ones((2, 3)))


def test_errors_of_values():
    f, _ = compiled("def f(x, low, high, out): return fa.hardtanh(x, low, high, out)")
    x = np.ones(3)
    with pytest.raises(ValueError, match="max_val must be at least min_val"):
        f(x, 1.0, 0.0, x)
    with pytest.raises(ValueError, match="another shape"):
        f(x, 0.0, 1.0, np.ones(1))


def test_nothing_has_to_be_imported_and_compiled_code_is_cached(tmp_path):
    module = """
    import numba
    from fastact import silu

    @numba.njit(cache=True)
    def f(x):
        return silu(x) * 2
    """
    script = """
    import sys
    import numba
    assert not any(name.startswith("fastact") for name in sys.modules)
    import numpy as np
    from cached import f
    import fastact
    x = np.linspace(-3, 3, 50)
    np.testing.assert_array_equal(f(x), fastact.silu(x) * 2)
    print(sum(f.stats.cache_hits.values()))
    """
    (tmp_path / "cached.py").write_text(textwrap.dedent(module))
    command = [sys.executable, "-c", textwrap.dedent(script)]
    runs = [
        subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
        for _ in range(2)
    ]
    assert [run.strip() for run in runs] == ["0", "1"]


def test_numba_and_our_own_loading_do_not_wait_for_each_other():
    """A compiler that needs one of our functions, and one of ours that needs the compiler."""
    loading_one = threading.Event()

    def load():
        with loading.lock:
            loading_one.set()
            with loading.numba_compiles():
                assert loading.held_here()

    other = threading.Thread(target=load)
    with global_compiler_lock:
        other.start()
        loading_one.wait(0.1)
        with loading.lock:
            pass
    other.join(10)
    assert not other.is_alive()


@pytest.mark.cuda
def test_kernels_on_a_gpu():
    from numba import cuda

    source = """
    def f(x, grad, out, by_gate):
        i = cuda.grid(1)
        if i < x.size:
            out[i] = fa.leaky_relu(x[i], 0.1) + fa.gelu(x[i], approximate="tanh")
            by_gate[i], _ = fa.swiglu_backward(grad[i], x[i], grad[i])
    """
    kernel = cuda.jit(compiled(source, cuda=cuda)[1])
    x, grad = RNG.normal(0, 2, (2, 100)).astype(np.float32)
    arrays = [cuda.to_device(a) for a in (x, grad, np.empty_like(x), np.empty_like(x))]
    kernel[4, 32](*arrays)
    right = fa.leaky_relu(x, 0.1) + fa.gelu(x, approximate="tanh")
    assert_same(arrays[2].copy_to_host(), right)
    assert_same(arrays[3].copy_to_host(), fa.swiglu_backward(grad, x, grad)[0])
