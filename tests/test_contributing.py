"""CONTRIBUTING.md, followed to the letter in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import environment

ROOT = Path(__file__).parents[1]
#: A block of source after the name of the file that it belongs to.
BLOCK = re.compile(r"`([\w/]+\.py)`[,:][^`]*\n```python\n(.*?)```", re.S)


def guide() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.split("## Add a function")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def changed_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, each block appended to its file, and the generated files written."""
    copy = tmp_path_factory.mktemp("contributing")
    for name in ("fastact", "tests", "tools", "docs"):
        ignored = shutil.ignore_patterns("__pycache__", "_build", "_doctrees")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, copy)
    for path, source in BLOCK.findall(guide()):
        file = copy / path
        file.write_text(f"{file.read_text(encoding='utf-8')}\n\n{source}", encoding="utf-8")
    scalar = copy / "fastact/catalogue/scalar.py"
    assert "def inverse_sqrt" in scalar.read_text(encoding="utf-8")
    for tool in ("stubs", "readme"):
        run(copy, sys.executable, f"tools/{tool}.py")
    return copy


def run(copy: Path, *command: str, **settings: str) -> str:
    settings = {"PYTHONPATH": os.fspath(copy), "PYTHONDONTWRITEBYTECODE": "1", **settings}
    done = subprocess.run(
        command, cwd=copy, env=environment(**settings), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_kind_of_entry_is_there():
    found = {
        match for _, source in BLOCK.findall(guide()) for match in re.findall(r"@(\w+)", source)
    }
    assert found == {"activation", "gated", "rows"}


@pytest.mark.parametrize(
    "name",
    [
        *(
            pytest.param(n, marks=pytest.mark.thorough)
            for n in ("triangle", "shifted_relu", "isru")
        ),
        *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("tanhglu", "surprisal")),
    ],
)
def test_a_new_function_passes_the_tests(changed_copy, name):
    quick = ["-q", "-p", "no:cacheprovider", "-m", "not exhaustive and not cuda and not thorough"]
    out = run(changed_copy, sys.executable, "-m", "pytest", *quick, "tests", "-k", name)
    assert int(re.search(r"(\d+) passed", out)[1]) > 5
    simulated = ["-q", "-p", "no:cacheprovider", "-m", "cuda", "tests/test_cuda.py", "-k", name]
    settings = {"NUMBA_ENABLE_CUDASIM": "1"}
    out = run(changed_copy, sys.executable, "-m", "pytest", *simulated, **settings)
    assert int(re.search(r"(\d+) passed", out)[1]) > 1
    assert f"`{name}`" in (changed_copy / "README.md").read_text(encoding="utf-8")


@pytest.mark.thorough
def test_what_is_there_still_is(changed_copy):
    """The catalogue's own tests, with the new entries in it."""
    chosen = ["tests/test_property.py::test_every_activation_has_a_reference"]
    chosen += ["tests/test_architecture.py", "tests/test_gradients.py"]
    run(changed_copy, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen)
