"""Functions of other libraries replaced, and put back, whoever else does so; what is said of it."""

from __future__ import annotations

import sys
import threading

import pytest
from programs import run

from fastact import integrations
from fastact.cli import main
from fastact.integrations.replacement import Refused, Replacement, Switch, check_signature


def theirs(x):
    return x


def ours(x):
    return x


def others(x):
    return x


@pytest.fixture
def table():
    return {"exact": theirs, "near": theirs, "else": others}


@pytest.fixture
def switch(table):
    return Switch(
        lambda: [Replacement(name, table, name, theirs, ours, name == "exact") for name in table]
    )


BEFORE = {"exact": theirs, "near": theirs, "else": others}
EXACT = {"exact": ours, "near": theirs, "else": others}
ALL = {"exact": ours, "near": ours, "else": others}


def test_patch_and_unpatch(switch, table):
    switch.patch(exact=True)
    assert table == EXACT
    assert switch.replaced() == ["exact"]
    switch.patch(exact=False)
    assert table == ALL
    switch.patch(exact=True)
    assert table == EXACT
    switch.unpatch()
    assert table == BEFORE
    assert switch.replaced() == []
    switch.unpatch()
    assert table == BEFORE


def test_blocks_within_each_other_and_within_patch(switch, table):
    with switch.patched(exact=True):
        with switch.patched(exact=False):
            assert table == ALL
        assert table == EXACT
        switch.patch(exact=False)
    assert table == ALL
    with switch.patched(exact=True):
        assert table == ALL
        switch.unpatch()
        assert table == EXACT
    assert table == BEFORE


def test_blocks_end_with_an_exception(switch, table):
    with pytest.raises(KeyError), switch.patched(exact=False):
        raise KeyError
    assert table == BEFORE


def test_what_others_put_there_stays(switch, table):
    switch.patch(exact=False)
    table["near"] = others
    switch.unpatch()
    assert table == BEFORE | {"near": others}
    switch.patch(exact=False)
    assert table == ALL | {"near": others}
    del table["exact"]
    switch.unpatch()
    assert table == {"near": others, "else": others}


def test_many_threads(switch, table):
    seen = []

    def work():
        for _ in range(200):
            with switch.patched(exact=False):
                seen.append(table["near"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [ours] * 800
    assert table == BEFORE


@pytest.mark.parametrize("function", [lambda x, y: x, lambda: 0, 3, "text", int])
def test_another_signature_is_refused(function):
    with pytest.raises(Refused, match=r"'relu'\] takes \(.*\), not \(X\): nothing is replaced"):
        check_signature("ACTIVATIONS['relu']", function, ["X"])


def test_list_says_what_is_installed(monkeypatch):
    listed = {integration.name: integration for integration in integrations.list()}
    assert listed["sklearn"].version == __import__("sklearn").__version__
    assert str(listed["sklearn"]).endswith(", not patched")
    monkeypatch.setitem(integrations._LIBRARIES, "sklearn", "no-such-distribution")
    listed = {integration.name: integration for integration in integrations.list()}
    assert str(listed["sklearn"]) == "no-such-distribution is not installed"
    with pytest.raises(ImportError, match=r"needs no-such-.*pip install 'fastact\[sklearn\]'"):
        integrations.load("sklearn")
    with pytest.raises(ValueError, match="there is no integration 'tensorflow', only sklearn"):
        integrations.load("tensorflow")


def test_nothing_is_imported_before_it_is_used():
    program = """
    import sys
    import fastact as fa
    fa.relu(1.0)
    assert not [name for name in sys.modules if name.startswith("fastact.integrations")]
    import fastact.integrations
    fastact.integrations.list()
    assert not {"sklearn", "onnx", "thinc", "keras", "dask"} & {*sys.modules}
    """
    run(program, prologue="")


def test_run_patches(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    program = tmp_path / "program.py"
    program.write_text(
        "import fastact.integrations as integrations\n"
        "print([i.name for i in integrations.list() if i.replaced])\n"
    )
    try:
        assert main(["run", "--patch", "sklearn", str(program)]) == 0
        assert capsys.readouterr().out == "['sklearn']\n"
        assert main(["info"]) == 0
        assert "patched (7 functions)" in capsys.readouterr().out
    finally:
        integrations.load("sklearn").unpatch()
        __import__("fastact").memory.disable()
    monkeypatch.setitem(integrations._LIBRARIES, "sklearn", "no-such-distribution")
    assert main(["run", "--patch", "sklearn", str(program)]) == 2
    assert "fastact run: fastact.integrations.sklearn needs" in capsys.readouterr().err
