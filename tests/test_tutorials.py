"""What the tutorials tell readers to type works. Those that are programs run with the site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import environment

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
#: A block of source after the name of the file that it belongs to.
FILE = re.compile(r"`([\w/.]+\.(?:py|toml))`[^`]*```(?:python|toml)\n(.*?)```", re.S)


@pytest.mark.thorough
def test_the_gate_of_the_tutorial_finds_what_is_slower(tmp_path):
    """Each file of the page in its place, a commit where it says so, and the command."""
    pytest.importorskip("pytest_benchmark")
    page = (TUTORIALS / "regression-gate.md").read_text(encoding="utf-8")
    before, after = page.split("## 3. See it fail")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    settings = environment(PATH=path)
    project = tmp_path / "project"
    project.mkdir()

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=project, env=settings, capture_output=True, text=True)

    def write(text: str) -> None:
        for name, content in FILE.findall(text):
            (project / name).parent.mkdir(exist_ok=True)
            (project / name).write_text(content, encoding="utf-8")

    run("git", "init", "-q")
    write(before)
    run("git", "add", "-A")
    name = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    assert run("git", *name, "commit", "-qm", "change").returncode == 0
    write(after)
    (command,) = re.findall(r"^fastact compare .*$", after, re.M)
    # Nothing is downloaded here, and times alone are enough.
    options = ["--no-install", "--counter", "none", "--workspace", str(tmp_path / "sides")]
    done = run(*command.split(), *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"test_moving_average\[1000\]` *\| slower", done.stdout)
