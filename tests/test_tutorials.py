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
FILE = re.compile(r"`([\w/.]+\.(?:py|sh))`[^`]*```(?:python|sh)\n(.*?)```", re.S)


@pytest.mark.thorough
def test_the_gate_of_the_tutorial_finds_what_is_slower(tmp_path):
    """Each file of the page in its place, a commit where it says so, and the command at the end."""
    pytest.importorskip("pytest_benchmark")
    page = (TUTORIALS / "regression-gate.md").read_text(encoding="utf-8")
    before, after = page.split("## 4. See it fail")
    settings = environment(
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        ROUNDS=3,
        SECONDS_EACH=0.05,
    )

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)

    run("git", "init", "-q")
    for text in (before, after):
        for name, content in FILE.findall(text):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content, encoding="utf-8")
        run("git", "add", "-A")
        name = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        assert run("git", *name, "commit", "-qm", "change").returncode == 0
    (command,) = re.findall(r"^bash bench/gate\.sh .*$", after, re.M)
    done = run("bash", "-c", command)
    assert done.returncode == 1, done.stdout + done.stderr
    slower = done.stdout.partition("### Slower")[2].partition("###")[0]
    assert "test_moving_average[mine-1000]" in slower
