"""The site: its formulas and drawings say what the compiled functions do.

What is made of the catalogue for the site (formulas in mathematical notation, in JavaScript,
properties) is compared with the functions; the built site is looked at by tools/look_at_site.py.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

import fastact as fa
from fastact.catalogue import CATALOGUE
from fastact.catalogue.entries import formulas
from fastact.public.names import FORMS

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))

from sphinxext import curves, javascript, notation, properties  # noqa: E402

X = np.linspace(-6, 6, 97) + 0.01


def parameters(name: str) -> dict[str, float]:
    """Those of a formula that are drawn where a user gives none."""
    entry = formulas()[name]
    return entry.chosen(curves.complete(entry))[1]


def compiled(name: str) -> tuple[np.ndarray, np.ndarray]:
    """What a formula of the catalogue and its derivative are."""
    (entry, key), *_ = [
        (entry, given)
        for entry in CATALOGUE.values()
        if hasattr(entry, "formulas")
        for formula, given in entry.formulas
        if formula.name == name
    ]
    function = curves.drawn(entry, **key)[0]
    return function.value(X), function.slope(X)


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_javascript_computes_what_the_kernels_do(tmp_path):
    script = tmp_path / "functions.js"
    asked = {name: list(parameters(name).values()) for name in formulas()}
    script.write_text(
        javascript.script()
        + f"""
const found = {{}}, x = {json.dumps(X.tolist())};
for (const [name, given] of Object.entries({json.dumps(asked)})) {{
  const {{ formula, derivative, parameters }} = fastactFunctions[name];
  const defaults = parameters.map((p) => p.value);
  if (JSON.stringify(defaults) !== JSON.stringify(given)) throw name + defaults;
  found[name] = [formula, derivative].map((f) => x.map((x) => f(x, ...given)));
}}
console.log(JSON.stringify(found));
"""
    )
    done = subprocess.run(["node", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found.keys() == formulas().keys()
    for name, results in found.items():
        for result, expected in zip(results, compiled(name), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12, err_msg=name)


class _Vectorized(ast.NodeTransformer):
    def visit_IfExp(self, node: ast.IfExp) -> ast.Call:
        parts = [self.visit(part) for part in (node.test, node.body, node.orelse)]
        return ast.Call(ast.parse("np.where", mode="eval").body, parts, [])


def evaluated(expression: ast.expr, names: dict[str, Any]) -> Any:
    tree = ast.fix_missing_locations(ast.Expression(_Vectorized().visit(expression)))
    return eval(compile(tree, "<typeset>", "eval"), names)


#: What formulas call, for arrays.
SPELLED = {
    "exp": np.exp,
    "exp_times": lambda x, y: y * np.exp(x),
    "expm1": np.expm1,
    "special": scipy.special,
    "sqrt": np.sqrt,
}


@pytest.mark.parametrize("name", formulas())
def test_what_is_typeset_is_what_is_computed(name):
    entry = formulas()[name]
    shown = [notation.formula(entry), notation.derivative(entry)]
    names = {"x": X, "np": np, "out": None, **parameters(name), **SPELLED}
    for formula, expected in zip(shown, compiled(name), strict=True):
        assert all(formula.lines)
        known = dict(names)
        for letter, expression in formula.where.items():
            known[letter] = evaluated(expression, known)
        found = np.broadcast_to(evaluated(formula.expression, known), X.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", "monotonic sparse"),
        ("tanh", "zero-centred monotonic bounded smooth"),
        ("sigmoid", "monotonic bounded smooth"),
        ("selu", "zero-centred monotonic"),
        ("mish", "smooth"),
        ("hardtanh", "zero-centred monotonic bounded"),
        ("softshrink", "zero-centred monotonic sparse"),
    ],
)
def test_properties(name, expected):
    found = properties.properties(CATALOGUE[name])
    assert {key for key, holds in found.items() if holds} == set(expected.split())


def test_jumps_are_marked_with_the_derivative_there():
    function = curves.drawn(CATALOGUE["relu6"])[0]
    assert curves.jumps(function.value, -8, 8) == []
    marks = curves.sampled(function.slope, -8, 8).jumps
    assert marks == [(0.0, 0.0, 0.0, 1.0), (6.0, 1.0, 0.0, 0.0)]


def test_parameters_are_drawn_with_values_that_can_be_told_apart():
    entry = CATALOGUE["leaky_relu"]
    values = curves.instances(entry, entry.arguments[0])
    assert 0.01 in values and len(values) == 3
    bends = [fa.leaky_relu(-4.0, value) for value in values]
    assert min(abs(np.diff(bends))) >= 0.5


# --- the site itself -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("site"), seed=1)


def build(root: Path, seed: int) -> Path:
    """The site, built in a new copy, without running the tutorials; warnings are errors."""
    pytest.importorskip("sphinx", minversion="9")
    generated = ("_build", "_doctrees", "auto_tutorials", "functions", "reference")
    shutil.copytree(DOCS, root / "docs", ignore=shutil.ignore_patterns(*generated))
    for file in DOCS.parent.glob("*.md"):  # of which some are pages
        shutil.copy(file, root)
    for folder in ("fastact", "tools", "examples", ".github"):  # which pages link to
        (root / folder).symlink_to(DOCS.parent / folder)
    command = ["sphinx", "-qW", "--keep-going", "-d", "trees", "-D", "plot_gallery=0"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "docs", "built"],
        cwd=root,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "built"


@pytest.mark.exhaustive
def test_built_twice_it_is_the_same(site, tmp_path):
    first, second = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (site, build(tmp_path, seed=2))
    )
    assert first.keys() == second.keys()
    assert [name for name, content in first.items() if second[name] != content] == []


@pytest.mark.thorough
def test_every_public_name_can_be_linked_to(site):
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    found = {line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}
    modules = ["fused", "integrations", "losses", "memory", "objectives", "special"]
    names = [f"fastact.{name}" for name in fa.__all__ if name not in ("__version__", *modules)]
    names += [f"fastact.{m}.{name}" for m in modules for name in getattr(fa, m).__all__]
    names += [f"fastact.{module}" for module in [*modules, "cuda", "compiled"]]
    names += [f"fastact.cuda.{name}" for name in FORMS]
    assert {*names} - found == set()
