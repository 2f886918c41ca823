"""The cache of compiled kernels: what its files say, its bound, and what users see of it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import environment

from fastact.cli import main
from fastact.cpu import cache, notice


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_writes", 0)
    return tmp_path


def written(name: str, days_ago: float = 0, nbytes: int = 1000) -> None:
    made = time.time() - days_ago * 86_400
    path = cache.path_of(name, "0")
    cache.write(path, cache.Kernel(name, "some-cpu", "IR", int(made)), b"\n" * nbytes)
    os.utime(path, (made, made))


def names() -> list[str]:
    return [entry.kernel.name for entry in cache.entries() if entry.kernel]


def test_what_was_used_least_recently_goes(directory, monkeypatch):
    monkeypatch.setenv("FASTACT_CACHE_MAX_MIB", "1")
    for name, days_ago in (("a", 3), ("b", 9), ("c", 5), ("d", 7)):
        written(name, days_ago, 400_000)
    assert names() == ["a", "b", "c", "d"]  # it is not looked at with each write
    assert cache.read(cache.path_of("b", "0"))  # used
    monkeypatch.setattr(cache, "_writes", 0)
    written("e", 0, 10_000)
    assert names() == ["a", "b", "e"]


def test_what_was_left_behind_goes(directory):
    left, fresh = directory / ".writing-old", directory / ".writing-new"
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (1, 1))
    written("a")
    assert fresh.exists()
    assert not left.exists()


@pytest.mark.parametrize("setting", ["many", "-1", "1.5"])
def test_a_wrong_bound(setting):
    program = "import numpy, fastact; fastact.relu(numpy.ones(3))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(FASTACT_CACHE_MAX_MIB=setting),
        capture_output=True,
        text=True,
    )
    assert f"FASTACT_CACHE_MAX_MIB must be a number of MiB, got '{setting}'" in done.stderr
    assert done.returncode == 1


def test_info_says_what_is_cached(directory, capsys):
    written("a", 2, 4096)
    written("b", 9, 4096)
    (directory / "c-0.o").write_bytes(b"not what was written")
    assert main(["info"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["some-cpu", "IR", "2", "8.2", "KiB", *["2", "days", "ago", "2", "days", "ago"]] in lines
    assert any(line[:2] == ["damaged", "1"] for line in lines)


def test_list_and_clear(directory, capsys):
    written("a", 2)
    kept = directory / "kept.txt"
    kept.write_text("not a kernel")
    assert main(["cache", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "some-cpu", "IR", "1.1", "KiB", *["2", "days", "ago", "2", "days", "ago"]] in lines
    assert main(["cache", "clear"]) == 0
    assert "removed 1 kernels, 1.1 KiB" in capsys.readouterr().out
    assert list(directory.iterdir()) == [kept]
    assert main(["cache", "list"]) == 0
    assert capsys.readouterr().out == "no kernels are cached\n"


# --- a word to whoever waits --------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch, patience: float = 0.0) -> str:
    """What is said while two kernels are compiled, if there is something to be told at all."""
    monkeypatch.setattr(notice, "_told", False)
    monkeypatch.setattr(notice, "_spent", 0.0)
    monkeypatch.setattr(notice, "_PATIENCE", patience)
    monkeypatch.setattr(sys, "stderr", stderr)
    for _ in range(2):
        with notice.compiling():
            deadline = time.monotonic() + (30 if stderr.isatty() and patience == 0 else 0.1)
            while not stderr.getvalue() and time.monotonic() < deadline:
                time.sleep(0.01)
    return stderr.getvalue()


def test_told_once_at_a_terminal(monkeypatch):
    monkeypatch.delenv("FASTACT_QUIET", raising=False)
    text = "fastact: compiling kernels for this CPU, once; `fastact warmup` does it ahead\n"
    assert told(Terminal(), monkeypatch) == text


def test_not_told(monkeypatch):
    monkeypatch.delenv("FASTACT_QUIET", raising=False)
    assert told(io.StringIO(), monkeypatch) == ""  # no terminal
    assert told(Terminal(), monkeypatch, patience=1e6) == ""  # it does not take long
    monkeypatch.setenv("FASTACT_QUIET", "1")
    assert told(Terminal(), monkeypatch, patience=1e-9) == ""


def test_without_stderr(monkeypatch):
    monkeypatch.setattr(notice, "_told", False)
    with Path(os.devnull).open("w") as closed:
        pass
    for stderr in (None, closed):
        monkeypatch.setattr(sys, "stderr", stderr)
        with notice.compiling():
            pass
