"""Running small programs in interpreters of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

PROLOGUE = """
import os, sys, threading, time
import numpy as np
import fastact as fa
LARGE = np.random.default_rng(0).normal(size=3_000_000).astype(np.float32)
RIGHT = np.maximum(LARGE, 0)
def check(x=LARGE, right=RIGHT):
    assert np.array_equal(fa.relu(x), right)
"""


def environment(**variables: object) -> dict[str, str]:
    """This one, without what tells pytest-benchmark that tests run side by side."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    return own | {name: str(value) for name, value in variables.items()}


def run(
    program: str,
    prologue: str = PROLOGUE,
    cwd: object = None,
    timeout: float = 300,
    **variables: object,
) -> str:
    """What a program prints; it must end with status 0 and print nothing to stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", prologue + textwrap.dedent(program)],
        env=environment(**variables),
        cwd=str(cwd or Path.cwd()),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def run_at_once(
    count: int, program: str, prologue: str = PROLOGUE, cwd: object = None, **variables: object
) -> None:
    """Run a program in several processes, each of which must succeed and print no error."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", prologue + program],
            env=environment(**variables),
            cwd=str(cwd or Path.cwd()),
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert (process.returncode, err) == (0, "")
