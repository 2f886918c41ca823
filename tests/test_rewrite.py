"""``fastact rewrite``: what is found, what it becomes, what is left alone, and the command."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import textwrap
from typing import Any

import hypothesis.extra.numpy as arrays_of
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewriting import FLOATS, INTEGERS, observed
from thorough import only

import fastact as fa
from fastact.catalogue import CATALOGUE, Activation, Variants
from fastact.cli import main
from fastact.rewrite.differences import Difference
from fastact.rewrite.rules import Safety, all_rules, in_place_rules
from fastact.rewrite.source import Options, rewrite_source
from fastact.rewrite.spellings import NOT_FOR_IT_ALONE

RULES = [*all_rules(), *in_place_rules()]
UNSAFE = Options(level=Safety.UNSAFE)
IMPORTS = "import numpy as np\nfrom scipy import special\n"


def rewritten(code: str, options: Options = UNSAFE, imports: str = IMPORTS) -> str:
    """The new code, without the imports."""
    source = imports + textwrap.dedent(code)
    done = rewrite_source(source, options).source
    if done != source:
        assert rewrite_source(done, options).source == done, "a second time changes nothing"
        done = done.replace("import fastact as fa\n", "", 1)
    return done.removeprefix(imports).strip()


def in_function(body: str, head: str = "def f(x):") -> str:
    return f"{head}\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}"


# --- every rule ---------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.pattern)
@pytest.mark.parametrize(
    "dtypes", only([["float32"]], [["float32"], [*FLOATS, *INTEGERS]]), ids=len
)
def test_results_differ_as_the_rule_says(rule, dtypes):
    differences = observed(rule, dtypes)
    assert differences in rule.differences
    if dtypes == [*FLOATS, *INTEGERS] and Difference.SLOPE not in rule.differences:
        assert Safety.of(differences) == Safety.of(rule.differences) or (
            # The sign of np.maximum's zero is another one on other CPUs.
            rule.differences == Difference.ZERO
        )


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if ":=" not in rule.pattern], ids=lambda rule: rule.pattern
)
def test_each_rule_finds_its_own_pattern(rule):
    code = rule.pattern.replace(", out=out", "").replace("PI", "np.pi")
    for name in rule.names:
        if name.isupper():
            code = code.replace(name, "0.25")
    done = rewritten(in_function(code if rule in in_place_rules() else f"return {code}"))
    assert "fa." in done
    assert "np.where" not in done


# --- spellings ------------------------------------------------------------------------------------

SPELLINGS = [
    ("np.maximum(0, h)", "fa.relu(h)"),
    ("np.maximum(h, 0, out=h)", "fa.relu(h, out=h)"),
    ("np.maximum(h, 0, h)", "fa.relu(h, out=h)"),
    ("np.multiply(h, h > 0)", "fa.relu(h)"),
    ("(0 < h) * h", "fa.relu(h)"),
    ("h.clip(0, None)", "fa.relu(h)"),
    ("np.where(h < 0, self.a * h, h)", "fa.leaky_relu(h, self.a)"),
    ("np.where(h > 0, h, h / 4)", "fa.leaky_relu(h, 0.25)"),
    ("np.where(h > 0, h, h * 0.01)", "fa.leaky_relu(h, 0.01)"),
    ("1.0 / (1.0 + np.exp(-h))", "fa.sigmoid(h)"),
    ("(1 + np.exp(-h)) ** -1", "fa.sigmoid(h)"),
    ("1 / (np.exp(-1 * h) + 1)", "fa.sigmoid(h)"),
    ("1 / (1 + np.exp(-(a @ b + c)))", "fa.sigmoid(a @ b + c)"),
    ("1 / (1 + np.exp(-a.dot(b) - c))", "fa.sigmoid(a.dot(b) + c)"),
    ("1 / (1 + np.exp(-2 * h))", "fa.sigmoid(2 * h)"),
    ("1 / (1 + np.exp(-h / t))", "fa.sigmoid(h / t)"),
    ("1 / (1 + np.exp(h))", "fa.sigmoid(-h)"),
    ("special.expit(h)", "fa.sigmoid(h)"),
    ("h * special.expit(h)", "fa.silu(h)"),
    ("h * (1 / (1 + np.exp(-h)))", "fa.silu(h)"),
    ("np.log1p(np.exp(h))", "fa.softplus(h)"),
    ("np.logaddexp(h, 0)", "fa.softplus(h)"),
    ("h * np.tanh(np.log1p(np.exp(h)))", "fa.mish(h)"),
    ("h / 2 * (1 + special.erf(h / 2**0.5))", "fa.gelu(h)"),
    (
        "0.5 * h * (1.0 + np.tanh(0.7978845608 * (h + 0.044715 * np.power(h, 3))))",
        'fa.gelu(h, "tanh")',
    ),
    ("1.0507 * np.where(h > 0, h, 1.67326 * (np.exp(h) - 1))", "fa.selu(h)"),
    ("np.where(h > 0, h, a * np.exp(h) - a)", None),
    ("dy * (h > 0)", "fa.relu_backward(dy, h)"),
    ("(dy @ w.T) * (h > 0)", "fa.relu_backward(dy @ w.T, h)"),
    ("dy * (h >= 0)", "fa.relu_backward(dy, h, at_zero=1.0)"),
    ("dy * (h > 0).astype(np.float32)", "fa.relu_backward(dy, h)"),
    ("dy * (1 - np.tanh(h) ** 2)", "fa.tanh_backward(dy, h)"),
    ("dy * np.where(h > 0, 1, 0.1)", "fa.leaky_relu_backward(dy, h, 0.1)"),
    ("dy * out * (1 - out)", "fa.sigmoid_backward_from_output(dy, out)"),
    ("(1 - out**2) * dy", "fa.tanh_backward_from_output(dy, out)"),
    ("p * (1 - p)", None),
    ("special.softmax(h, axis=1)", "fa.softmax(h, axis=1)"),
    ("special.log_softmax(h, axis=-1)", "fa.log_softmax(h, axis=-1)"),
    (
        "np.exp(h) / np.sum(np.exp(h), axis=1, keepdims=True)",
        "fa.softmax(h, axis=1)",
    ),
    ("np.exp(h) / np.exp(h).sum(1)[:, None]", "fa.softmax(h, axis=1)"),
    ("np.exp(h) / np.exp(h).sum(axis=-1)[..., np.newaxis]", "fa.softmax(h, axis=-1)"),
    ("np.exp(h) / np.sum(np.exp(h), axis=0)", "fa.softmax(h, axis=0)"),
    (
        "np.exp(h - h.max(0)) / np.exp(h - h.max(0)).sum(0)",
        "fa.softmax(h, axis=0)",
    ),
    # Without its axis a sum is divided along another one.
    ("np.exp(h) / np.sum(np.exp(h), axis=1)", None),
    # The maximum along another axis is not the same in a row.
    (
        "np.exp(h - h.max(0)) / np.sum(np.exp(h - h.max(0)), axis=1, keepdims=True)",
        "fa.softmax(h - h.max(0), axis=1)",
    ),
    ("np.clip(h, -1, 1)", "fa.hardtanh(h)"),
    ("np.clip(0.2 * h + 0.5, 0, 1)", "fa.clipped_linear(h, 0.2, 0.5)"),
    # Means other things than activations, or would be an array of floats where integers were.
    ("np.clip(h, 1e-7, 1 - 1e-7)", None),
    ("np.where(h > 0, 1, 0)", None),
    ("np.where(h > 0, 1, -1)", None),
    ("counts * (h > 0)", None),
    ("dim * (h > 0)", None),
    ("np.maximum(h, 1)", None),
    ("y / (1 + np.exp(-h))", None),
    ("np.maximum(3, 0)", None),
]


@pytest.mark.parametrize(("old", "new"), SPELLINGS, ids=[old for old, _ in SPELLINGS])
def test_spellings(old, new):
    assert rewritten(f"z = {old}") == f"z = {new or old}"


STATEMENTS = {
    "softmax over statements": (
        """
        shifted = x - np.max(x, axis=1, keepdims=True)
        e = np.exp(shifted)  # never too large
        total = np.sum(e, axis=1, keepdims=True)
        return e / total
        """,
        """
        # never too large
        return fa.softmax(x, axis=1)
        """,
    ),
    "a variable that is assigned again": (
        """
        x = x - x.max(axis=-1, keepdims=True)
        e = np.exp(x)
        e /= e.sum(axis=-1, keepdims=True)
        return e
        """,
        """
        e = fa.softmax(x, axis=-1)
        return e
        """,
    ),
    "a definition that is still needed stays": (
        """
        m = x.max(axis=1, keepdims=True)
        e = np.exp(x - m)
        return e / e.sum(axis=1, keepdims=True), m
        """,
        """
        m = x.max(axis=1, keepdims=True)
        return fa.softmax(x - m, axis=1), m
        """,
    ),
    "over all axes": (
        """
        e = np.exp(x - np.max(x))
        return e / e.sum()
        """,
        "return fa.softmax(np.ravel(x)).reshape(np.shape(x))",
    ),
    "backward of a sigmoid that was only needed there": (
        """
        s = 1 / (1 + np.exp(-x))
        return dy * s * (1 - s)
        """,
        "return fa.sigmoid_backward(dy, x)",
    ),
    "in place": (
        """
        x[x < 0] = 0
        dy[x <= 0] = 0
        y[y < 0] *= 0.1
        return x
        """,
        """
        fa.relu_(x)
        fa.relu_backward(dy, x, out=dy)
        fa.leaky_relu_(y, 0.1)
        return x
        """,
    ),
    "log_softmax": (
        """
        shifted = x - np.max(x, axis=axis, keepdims=True)
        return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
        """,
        "return fa.log_softmax(x, axis=axis)",
    ),
    "inside what was found": (
        "return np.maximum(0, 1 / (1 + np.exp(-x)) @ w)",
        "return fa.relu(fa.sigmoid(x) @ w)",
    ),
    "a comment in the middle stays, and the code with it": (
        """
        return 1 / (1  # one
                    + np.exp(-x))
        """,
        None,
    ),
    "something happens in between": (
        """
        e = np.exp(x)
        x[0] = 1
        return e / np.sum(np.exp(x), axis=1, keepdims=True)
        """,
        None,
    ),
    "another branch reads it": (
        """
        if training:
            s = 1 + np.exp(-x)
            y = 1 / s
        return s
        """,
        None,
    ),
    "a function inside reads it": (
        """
        def show():
            print(e)
        e = np.exp(x)
        return e / e.sum(axis=1, keepdims=True), show
        """,
        None,
    ),
    "a loop comes back to it": (
        """
        for i in range(3):
            if i:
                print(e)
            e = np.exp(x)
            y = e / e.sum(axis=1, keepdims=True)
        return y
        """,
        None,
    ),
    "not a variable of this function": (
        """
        global e
        e = np.exp(x)
        return e / e.sum(axis=1, keepdims=True)
        """,
        None,
    ),
    "evaluated twice": ("return next_batch(x) * (next_batch(x) > 0)", None),
    "random numbers": ("return np.random.rand(3) * (np.random.rand(3) > 0)", None),
    "another order": ("return (f(x) > 0) * dy(x)", None),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements(name):
    old, new = (
        in_function(text, "def f(x, dy, y, axis=1):")
        for text in (STATEMENTS[name][0], STATEMENTS[name][1] or STATEMENTS[name][0])
    )
    assert rewritten(old) == new


NOT_ARRAYS = [
    "def f(x: float):\n    return x * (x > 0)",
    "def f(x):\n    if x > 0:\n        return 1 / (1 + np.exp(-x))",
    "for i in range(3):\n    print(np.maximum(i, 0))",
    "x = float(input())\ny = np.maximum(x, 0)",
    "x = [1, 2]\ny = np.maximum(x, 0)",
    "y = np.maximum([1, -2], 0)",
    "y = (a > 1) * (b > 0)",
]


@pytest.mark.parametrize("code", NOT_ARRAYS)
def test_what_is_no_array_is_left_alone(code):
    assert rewritten(code) == code


@pytest.mark.parametrize(
    ("imports", "code", "new"),
    [
        ("import numpy", "y = numpy.maximum(x, 0)", "y = fa.relu(x)"),
        ("from numpy import maximum as mx", "y = mx(x, 0)", "y = fa.relu(x)"),
        ("import scipy.special as sp", "y = sp.expit(x)", "y = fa.sigmoid(x)"),
        ("from scipy.special import expit", "y = expit(x)", "y = fa.sigmoid(x)"),
        ("import autograd.numpy as np", "y = np.maximum(x, 0)", None),
        ("import numpy, torch", "y = x * (x > 0)", None),
        ("import numpy as np, torch", "y = np.maximum(x, 0)", "y = fa.relu(x)"),
        ("import numpy\nfrom .compat import cupy", "y = x * (x > 0)", None),
        ("import numpy", "xp = self.xp\ny = x * (x > 0)", None),
        (
            "import numpy as np, numba",
            "@numba.njit\ndef f(x):\n    return np.maximum(x, 0)",
            None,
        ),
        ("import numpy as np", "def f(np, x):\n    return np.maximum(x, 0)", None),
        (
            "import numpy as np",
            "def sigmoid(x):\n    return 1 / (1 + np.exp(-x))\ny = x * sigmoid(x)",
            "def sigmoid(x):\n    return fa.sigmoid(x)\ny = fa.silu(x)",
        ),
        (
            "import numpy as np",
            "def f(z):\n    return np.exp(np.abs(z))\ny = np.log(1 + f(q))",
            None,
        ),
        (
            "import numpy as np",
            "def f(z):\n    return np.exp(2 * z)\ny = np.log(1 + f(q + 1))",
            "def f(z):\n    return np.exp(2 * z)\ny = fa.softplus(2 * (q + 1))",
        ),
    ],
)  # fmt: skip
def test_imports_and_scopes(imports, code, new):
    assert rewritten(code, imports=imports + "\n") == (new or code)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            '"""Doc."""\nimport os\nimport numpy as np\n\ny = np.maximum(x, 0)\n',
            '"""Doc."""\nimport os\nimport fastact as fa\nimport numpy as np\n\ny = fa.relu(x)\n',
        ),
        (
            "import fastact as quick\nimport numpy as np\ny = np.maximum(x, 0)\n",
            "import fastact as quick\nimport numpy as np\ny = quick.relu(x)\n",
        ),
        (
            "import numpy as np\nfa = 3\ny = np.maximum(x, fa) + np.maximum(x, 0)\n",
            "import numpy as np\nimport fastact\nfa = 3\n"
            "y = np.maximum(x, fa) + fastact.relu(x)\n",
        ),
        (
            "from __future__ import annotations\n\ntry:\n    import numpy as np\nfinally:\n"
            "    pass\ny = np.maximum(x, 0)\n",
            "from __future__ import annotations\nimport fastact as fa\n\ntry:\n"
            "    import numpy as np\nfinally:\n    pass\ny = fa.relu(x)\n",
        ),
        (
            "import numpy as np\ny = np.maximum(x, 0)  # fastact: skip\n",
            "import numpy as np\ny = np.maximum(x, 0)  # fastact: skip\n",
        ),
        (
            "# fastact: skip-file\nimport numpy as np\ny = np.maximum(x, 0)\n",
            "# fastact: skip-file\nimport numpy as np\ny = np.maximum(x, 0)\n",
        ),
        (
            "import numpy as np\r\ny = ( np.maximum( x , 0 ) )  # größer\r\n",
            "import numpy as np\r\nimport fastact as fa\r\ny = ( fa.relu(x) )  # größer\r\n",
        ),
    ],
)  # fmt: skip
def test_the_import_and_the_rest_of_the_file(source, expected):
    assert rewrite_source(source, Options()).source == expected


def test_levels():
    code = (
        "a = np.where(x > 0, x, 0.1 * x)\nb = np.maximum(x, 0)\nc = np.maximum(x, 0.0)\n"
        "d = np.tanh(x)\n"
    )
    exact = (
        "a = fa.leaky_relu(x, 0.1)\nb = np.maximum(x, 0)\nc = np.maximum(x, 0.0)\nd = np.tanh(x)"
    )
    assert rewritten(code, Options(level=Safety.EXACT)) == exact
    safe = exact.replace("np.maximum(x, 0)\n", "fa.relu(x)\n")
    assert rewritten(code, Options()) == safe
    everything = safe.replace("np.maximum(x, 0.0)", "fa.relu(x)").replace("np.tanh", "fa.tanh")
    assert rewritten(code) == everything


# --- properties -----------------------------------------------------------------------------------

PROGRAM = """
def sigmoid(z):
    return 1 / (1 + np.exp(-z))

def swish(x):
    return x * sigmoid(x)

def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)

def leaky(x, slope=0.2):
    return np.where(x >= 0, x, slope * x)

def relu(x):
    y = x.copy()
    y[y < 0] = 0
    return y

def elu(x):
    return np.where(x > 0, x, 1.5 * (np.exp(x) - 1))

def softplus_backward(x):
    dy = 0.5 * x
    return dy * (x > 0) + 1 / (1 + np.exp(-2 * x))
"""


@functools.cache
def programs() -> tuple[dict[str, Any], dict[str, Any]]:
    old, new = {}, {}
    done = rewrite_source(IMPORTS + PROGRAM, UNSAFE)
    assert len(done.findings) == 8
    assert "np.exp" not in done.source
    exec(IMPORTS + PROGRAM, old)
    exec(done.source, new)
    return old, new


@given(
    arrays_of.arrays(
        st.sampled_from([np.float32, np.float64]), (3, 5), elements=st.floats(-20, 20, width=32)
    )
)
def test_new_code_gives_what_the_old_gave(x):
    old, new = programs()
    for name in ("sigmoid", "swish", "softmax", "leaky", "relu", "elu", "softplus_backward"):
        expected, actual = old[name](x.copy()), new[name](x.copy())
        assert actual.dtype == expected.dtype
        tolerance = 40 * np.finfo(x.dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=name)


@given(st.text(alphabet="xyn.p()[]0<=>*+-/ :#\n\t'\"", max_size=60))
def test_any_text_is_refused_or_still_python(text):
    source = f"import numpy as np\ny = np.maximum(x, 0)\n{text}"
    try:
        compile(source, "", "exec")
    except (SyntaxError, ValueError):
        return
    compile(rewrite_source(source, UNSAFE).source, "", "exec")


# --- the command ----------------------------------------------------------------------------------

SOURCE = "import numpy as np\n\n\ndef f(x):\n    return np.maximum(x, 0)  # ours\n"
WANTED = SOURCE.replace("import numpy", "import fastact as fa\nimport numpy")
WANTED = "import numpy as np\nimport fastact as fa\n\n\ndef f(x):\n    return fa.relu(x)  # ours\n"


def test_nothing_is_written_without_write(tmp_path, capsys):
    file = tmp_path / "net.py"
    file.write_text(SOURCE)
    assert main(["rewrite", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "-    return np.maximum(x, 0)  # ours" in output
    assert "+    return fa.relu(x)  # ours" in output
    assert "Would rewrite 1 idiom in 1 file of 1." in output
    assert file.read_text() == SOURCE
    assert main(["rewrite", "--check", str(file)]) == 1


def test_write_once_is_enough(tmp_path, capsys):
    file = tmp_path / "net.py"
    file.write_bytes(SOURCE.encode())
    file.chmod(0o640)
    assert main(["rewrite", "--write", str(tmp_path)]) == 0
    assert file.read_text() == WANTED
    assert file.stat().st_mode & 0o777 == 0o640
    capsys.readouterr()
    assert main(["rewrite", "--check", "--write", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "Nothing to rewrite in 1 file.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["net.py"]


def test_hidden_fixes_are_counted(tmp_path, capsys):
    (tmp_path / "net.py").write_text("import numpy as np\ny = np.tanh(x)\n")
    assert main(["rewrite", "--check", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "1 hidden fix can be enabled with the `--unsafe-fixes` option." in output
    assert "by rounding" in output
    assert main(["rewrite", "--check", "--unsafe-fixes", str(tmp_path)]) == 1
    assert main(["rewrite", "--check", "--unsafe-fixes", "--skip", "tanh", str(tmp_path)]) == 0
    assert main(["rewrite", "--check", "--unsafe-fixes", "--only", "relu", str(tmp_path)]) == 0


def test_errors_are_reported_and_the_others_done(tmp_path, capsys):
    (tmp_path / "a.py").write_text("import numpy as np\nnp.maximum(x 0)\n")
    (tmp_path / "b.py").write_bytes(b"# numpy np.maximum \xff\n")
    (tmp_path / "c.py").write_text(SOURCE)
    for skipped in ("venv", ".git", "build"):
        (tmp_path / skipped).mkdir()
        (tmp_path / skipped / "d.py").write_text(SOURCE)
    assert main(["rewrite", "--write", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert f"fastact rewrite: {tmp_path / 'a.py'}: line 2: " in captured.err
    assert f"fastact rewrite: {tmp_path / 'b.py'}: " in captured.err
    assert "Rewrote 1 idiom in 1 file of 1." in captured.out
    assert (tmp_path / "c.py").read_text() == WANTED
    assert (tmp_path / "venv" / "d.py").read_text() == SOURCE


def test_wrong_calls(tmp_path, capsys):
    assert main(["rewrite", str(tmp_path / "nowhere.py")]) == 2
    assert "there is no" in capsys.readouterr().err
    assert main(["rewrite", "--only", "rleu", str(tmp_path)]) == 2
    assert "unknown function 'rleu': did you mean relu" in capsys.readouterr().err


def test_notebooks(tmp_path, capsys):
    def cell(*lines: str, kind: str = "code") -> dict[str, object]:
        return {"cell_type": kind, "source": list(lines), "metadata": {}}

    cells = [
        cell("# Sigmoid: np.maximum(x, 0)", kind="markdown"),
        cell("%matplotlib inline\n", "import numpy as np"),
        cell("!pip install é\n", "def f(x):\n", "    return np.maximum(x, 0)"),
        cell("%%time\n", "np.maximum(x, 0)"),
        cell("this is (no Python"),
    ]
    file = tmp_path / "net.ipynb"
    text = json.dumps({"cells": cells, "nbformat": 4}, indent=1, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
    assert main(["rewrite", "--write", str(file)]) == 0
    assert "+    return fa.relu(x)" in capsys.readouterr().out
    cells[1]["source"] = ["%matplotlib inline\n", "import numpy as np\n", "import fastact as fa"]
    cells[2]["source"][2] = "    return fa.relu(x)"
    wanted = json.dumps({"cells": cells, "nbformat": 4}, indent=1, ensure_ascii=False) + "\n"
    assert file.read_text(encoding="utf-8") == wanted


def test_libcst_is_imported_by_the_command_only():
    code = "import sys, fastact, fastact.cli; sys.exit('libcst' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_libcst_the_command_says_so(monkeypatch, capsys):
    for name in [n for n in sys.modules if n.startswith(("libcst", "fastact.rewrite"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcst", None)
    assert main(["rewrite", "."]) == 2
    assert "needs libcst, which comes with: pip install 'fastact[rewrite]'" in (
        capsys.readouterr().err
    )


def test_rules_call_functions_that_exist_and_the_catalogue_gives_a_rule_for_each():
    called = {rule.replacement.removeprefix("fa.").partition("(")[0] for rule in RULES}
    assert all(callable(getattr(fa, name)) for name in called)
    for name, entry in CATALOGUE.items():
        if isinstance(entry, Activation | Variants) and name not in NOT_FOR_IT_ALONE:
            # prelu and rrelu are written as leaky_relu is.
            assert name in called or name in ("prelu", "rrelu")
