"""Kernels as portable IR in the package: the same code as from source, and never in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import PROLOGUE, environment, run, run_at_once
from thorough import only

import fastact
from fastact import warmup
from fastact.cpu import archive, cache, compiler, llvm, target

ROOT = Path(__file__).parents[1]
NO_NUMBA = "import sys; sys.modules['numba'] = None\n" + PROLOGUE
CALLS = """
check(); check(LARGE[:100], RIGHT[:100])
fa.relu_backward(LARGE, LARGE)
with fa.memory.recycling(): check()
"""

pytestmark = pytest.mark.skipif(
    target.X86 and not {"fma", "f16c"} <= target.traits(),
    reason="archives have no kernels for such a CPU",
)


@pytest.fixture(scope="session")
def archived(tmp_path_factory):
    """An archive with the kernels of ReLU, the driver and the recycler."""
    path = tmp_path_factory.mktemp("archive") / archive.FILE_NAME
    command = [sys.executable, "tools/archive.py", path, "relu"]
    command += ["--dtype", "float32", "--processes", "1"]
    subprocess.run(command, check=True, cwd=ROOT)
    return path


def copy_of_the_package(directory: Path, archived: Path | None) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", archive.FILE_NAME)
    shutil.copytree(Path(fastact.__file__).parent, directory / "fastact", ignore=ignored)
    if archived:
        shutil.copy(archived, directory / "fastact" / archive.FILE_NAME)
    return directory


@pytest.fixture
def package(tmp_path, archived):
    """Where a copy of the package with the archive is."""
    return copy_of_the_package(tmp_path / "package", archived)


@pytest.fixture(scope="session")
def from_source(tmp_path_factory):
    """Where a copy without the archive is, and a cache with what it has compiled."""
    package = copy_of_the_package(tmp_path_factory.mktemp("source"), None)
    kept = tmp_path_factory.mktemp("cache")
    run(CALLS, cwd=package, FASTACT_CACHE_DIR=kept)
    return package, kept


def origins(directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """By what they were made from, the names of the kernels in a cache."""
    monkeypatch.setenv("FASTACT_CACHE_DIR", str(directory))
    found: dict[str, set[str]] = {}
    for entry in cache.entries():
        assert entry.kernel is not None
        found.setdefault(entry.kernel.origin, set()).add(entry.kernel.name)
    return found


def test_without_numba(package, tmp_path, monkeypatch):
    settings = {"cwd": package, "FASTACT_CACHE_DIR": tmp_path / "cache"}
    run(CALLS, NO_NUMBA, **settings)
    made = origins(tmp_path / "cache", monkeypatch)
    assert made.keys() == {"IR"}
    assert made["IR"] >= {"relu-float32", "driver", "large", "recycler_free"}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    run(CALLS, NO_NUMBA, **settings)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == before


def test_machine_code_is_that_from_source(package, from_source, tmp_path):
    def code(directory: Path) -> dict[str, bytes]:
        parts = {path: cache.read(path) for path in directory.glob("*.o")}
        return {path.name.rpartition("-")[0]: parts[path] for path in parts}

    run(CALLS, NO_NUMBA, cwd=package, FASTACT_CACHE_DIR=tmp_path / "cache")
    assert code(tmp_path / "cache") == code(from_source[1])


@pytest.mark.thorough
def test_every_unit_of_an_archive_gives_the_code_from_source(archived):
    version, table = archive._contents(archived)
    assert version == llvm.llvm_version()
    units = warmup.units(["relu"], ["float32"]).values()
    assert {unit.key for unit in units} <= {key.hex() for key in table}
    for unit in units:
        vectorize = unit.translator == compiler.NUMBA
        codes = [
            llvm.machine_code(ir, unit.symbol, vectorize)
            for ir in (unit.ir(), table[bytes.fromhex(unit.key)].read())
        ]
        assert codes[0] == codes[1], unit.name


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


DAMAGES = {
    "empty": lambda content: b"",
    "in the header": lambda content: content[:40],
    "in the table": lambda content: content[:200],
    "half of it": lambda content: content[: len(content) // 2],
    "a bit of the header": lambda content: flipped(content, 20),
    "a bit of the table": lambda content: flipped(content, 300),
    "no archive": lambda content: os.urandom(5_000),
    "of a later format": lambda content: content.replace(b"IR 1", b"IR 2", 1),
}


@pytest.mark.parametrize("damage", only(["in the table", "half of it", "no archive"], DAMAGES))
def test_a_damaged_archive_counts_as_none(damage, package, archived, from_source, monkeypatch):
    content = DAMAGES[damage](archived.read_bytes())
    (package / "fastact" / archive.FILE_NAME).write_bytes(content)
    # The cache has what is needed then.
    run(CALLS, NO_NUMBA if damage != "half of it" else PROLOGUE, cwd=package, **at(from_source[1]))
    assert "relu-float32" in origins(from_source[1], monkeypatch)["Numba"]


def at(directory: Path) -> dict[str, Path]:
    return {"FASTACT_CACHE_DIR": directory}


def test_damaged_entries_count_as_not_there(package, archived, from_source, monkeypatch):
    content = archived.read_bytes()
    _, table = archive._contents(archived)
    for group in {place.group for place in table.values()}:
        content = flipped(content, group + 50)
    (package / "fastact" / archive.FILE_NAME).write_bytes(content)
    run(CALLS, cwd=package, **at(from_source[1]))
    assert origins(from_source[1], monkeypatch).keys() == {"Numba", "source"}


def test_ir_of_another_llvm_is_not_found(archived, monkeypatch):
    _, table = archive._contents(archived)
    (unit,) = (u for u in warmup.units(["relu"], ["float32"]).values() if u.name == "relu-float32")
    assert bytes.fromhex(unit.key) in table
    monkeypatch.setattr(llvm, "llvm_version", lambda: "1.0.0")
    (unit,) = (u for u in warmup.units(["relu"], ["float32"]).values() if u.name == "relu-float32")
    assert bytes.fromhex(unit.key) not in table


def test_an_edited_formula_is_compiled_from_source(package, tmp_path):
    program = "print(*fa.relu(np.float32([-1, 1])).tolist())"
    settings = {"cwd": package, "PYTHONDONTWRITEBYTECODE": 1, **at(tmp_path / "cache")}
    assert run(program, NO_NUMBA, **settings).split() == ["0.0", "1.0"]
    catalogue = package / "fastact/catalogue/activations.py"
    text = catalogue.read_text()
    old = "return 0 if x <= 0 else x\n"
    assert old in text
    # As two versions that share a cache.
    for number in ("5", "0"):
        catalogue.write_text(text.replace(old, f"return {number} if x <= 0 else x\n", 1))
        assert run(program, **settings).split() == [f"{number}.0", "1.0"]


@pytest.mark.parametrize("count", only([4], [4, 16]))
def test_cold_starts_at_once(count, package, tmp_path, monkeypatch):
    run_at_once(count, CALLS, NO_NUMBA, package, **at(tmp_path / "cache"))
    assert origins(tmp_path / "cache", monkeypatch).keys() == {"IR"}


def test_read_only_and_nobody_at_home(package):
    directories = [package, *(path for path in package.rglob("*") if path.is_dir())]
    before = sorted(package.rglob("*"))
    for path in directories:
        path.chmod(0o555)
    nowhere = {"HOME": "/dev/null/nobody", "XDG_CACHE_HOME": "", "LOCALAPPDATA": ""}
    run(CALLS, NO_NUMBA, cwd=package, FASTACT_CACHE_DIR="", PYTHONDONTWRITEBYTECODE=1, **nowhere)
    assert sorted(package.rglob("*")) == before
    for path in directories:
        path.chmod(0o755)


@pytest.mark.thorough
def test_a_wheel_has_it(tmp_path):
    pytest.importorskip("hatchling")
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.ir", "dist")
    shutil.copytree(ROOT, source, ignore=ignored)
    asked = {"HATCH_BUILD_HOOK_ENABLE_CUSTOM": "true"}
    for variables, tag in (({}, "any"), (asked, "")):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / tag]
        chosen = environment(FASTACT_ARCHIVE="relu --dtype float32", **variables)
        subprocess.run(command, cwd=source, env=chosen, check=True)
        (wheel,) = (tmp_path / tag).glob("*.whl")
        assert wheel.name.endswith("-none-any.whl") == bool(tag)
        unpacked = tmp_path / f"unpacked-{tag}"
        shutil.unpack_archive(wheel, unpacked, "zip")
        assert (unpacked / "fastact" / archive.FILE_NAME).exists() != bool(tag)
    run("check()", NO_NUMBA, cwd=unpacked, **at(tmp_path / "cache"))
