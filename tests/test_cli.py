"""The command line, as a user types it."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import fastact
from fastact.cli import main


def test_demo_trains_the_same_network_twice(capsys):
    assert main(["demo", "--epochs", "8", "--hidden", "64", "--batch", "64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (accuracies,) = [line.split()[-2:] for line in lines if line.startswith("accuracy")]
    assert accuracies[0] == accuracies[1]
    assert float(accuracies[0].rstrip("%")) > 85
    assert "Weights after training: identical." in lines
    assert sum("units are dead" in line for line in lines) == 2
    assert any("layers 64-64-64-10" in line for line in lines)
    killed = lines[-1].rpartition("relu_stats finds these dead, too: ")[2].rstrip(".").split(", ")
    assert set(killed) <= {"0", "1", "2"}, "some may have been dead before"


def test_fused_demo_keeps_the_loss_and_saves_memory(capsys):
    assert main(["demo", "--fused", "--epochs", "6", "--hidden", "64", "--batch", "64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    curve = [line.split() for line in lines if line[:1] == " " and line.split()[0].isdigit()]
    assert [int(epoch) for epoch, _, _ in curve] == [1, 2, 3, 4, 5, 6]
    theirs, ours = ([float(row[k]) for row in curve] for k in (1, 2))
    assert theirs[-1] < theirs[0] / 4
    assert ours == pytest.approx(theirs, rel=1e-2)
    (memory,) = [line.split() for line in lines if line.startswith("peak memory")]
    assert float(memory[-2]) > 1.2
    assert any(line.startswith("a step, median") for line in lines)


@pytest.mark.parametrize("option", ["--epochs", "--hidden", "--batch"])
def test_demo_refuses_what_makes_no_sense(option, capsys):
    assert main(["demo", option, "0"]) == 2
    assert capsys.readouterr().err == f"fastact demo: {option} must be at least 1\n"


@pytest.mark.parametrize("package", ["sklearn", "rich"])
def test_demo_says_what_is_missing(package, capsys, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demo"]) == 2
    error = capsys.readouterr().err
    assert f"needs {package}" in error
    assert "pip install 'fastact[demo]'" in error


def test_info(capsys):
    assert main(["info"]) == 0
    output = capsys.readouterr().out
    for label in ("fastact", "numpy", "numba", "CPU", "threads", "threading layer", "kernel cache"):
        assert any(line.startswith(label) for line in output.splitlines())


def test_python_m_fastact():
    done = subprocess.run(
        [sys.executable, "-m", "fastact", "--help"], capture_output=True, text=True, check=True
    )
    assert "demo" in done.stdout
    assert "info" in done.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "fastact", "dmeo"], capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert "invalid choice: 'dmeo'" in wrong.stderr


def test_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "neighbour.py").write_text("name = 'neighbour'")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, neighbour, numpy as np\n"
        "x = np.ones(1_000_000)\n"
        "print(__name__, neighbour.name, sys.argv[1:], np._core.multiarray.get_handler_name(x))\n"
    )
    try:
        assert main(["run", str(program), "--epochs", "3"]) == 0
        expected = "__main__ neighbour ['--epochs', '3'] fastact_recycling\n"
        assert capsys.readouterr().out == expected
        monkeypatch.chdir(tmp_path)
        assert main(["run", "-m", "program", "a"]) == 0
        assert capsys.readouterr().out == "__main__ neighbour ['a'] fastact_recycling\n"
    finally:
        fastact.memory.disable()
    assert main(["run", "nowhere.py"]) == 2
    assert capsys.readouterr().err == "fastact run: there is no file nowhere.py\n"


def test_without_a_gpu_there_is_one_clear_sentence(capsys):
    try:
        importlib.import_module("fastact.cuda")
    except ImportError as error:
        sentence = str(error)
    else:
        pytest.skip("there is a GPU")
    assert sentence.startswith("fastact.cuda is not available: ")
    with pytest.raises(ImportError, match=r"fastact\.cuda is not available"):
        _ = fastact.cuda
    assert main(["bench", "relu", "--device", "cuda"]) == 2
    assert capsys.readouterr().err == f"fastact bench: {sentence}\n"
    assert "cuda" not in dir(fastact)
