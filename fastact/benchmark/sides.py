"""Base and head side by side: a checkout of each commit, and an environment for it.

Both live in a workspace that is kept. Checkouts are worktrees of the repository, moved to the
commits that are compared. The project is installed in an editable way, so an environment serves as
long as nothing but Python files in folders and documents differ from what it was made for: a module
that changed is imported from the checkout. Head is installed with the versions that base got, if it
admits them, so that a release of NumPy's is not taken for a change of the code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fastact.benchmark.results import UnusableError

__all__ = ["Side", "checkout", "commits", "default_workspace", "install", "locked", "repository"]

#: What an editable installation finds in the checkout, or what no installation looks at.
_NOT_INSTALLED = {".py", ".pyi", ".md", ".rst"}


@dataclasses.dataclass
class Side:
    """A commit, where it is checked out, and with what environment its commands run."""

    name: str
    commit: str
    directory: Path
    #: The virtual environment; None for that of this process.
    environment: Path | None = None

    def variables(self) -> dict[str, str]:
        """Environment variables of its commands."""
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
        if self.environment is None:
            # What this environment has installed, but the project from the checkout.
            scripts = Path(sys.executable).parent
            variables["PYTHONPATH"] = os.pathsep.join(
                str(self.directory / part) for part in (".", "src")
            )
        else:
            scripts = _scripts(self.environment)
            variables["VIRTUAL_ENV"] = str(self.environment)
            variables.pop("PYTHONPATH", None)
        variables["PATH"] = os.pathsep.join([str(scripts), variables.get("PATH", "")])
        return variables


def repository() -> Path:
    """The one that the current directory is in."""
    return Path(_git(Path.cwd(), "rev-parse", "--show-toplevel"))


def default_workspace(repository: Path) -> Path:
    """A folder of the user's cache for each repository."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    key = hashlib.sha256(str(repository.resolve()).encode()).hexdigest()[:12]
    return Path(cache) / "fastact-gate" / key


@contextlib.contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Nobody else uses the workspace meanwhile."""
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / "lock").open("w") as file:
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UnusableError(f"another comparison is using {workspace}") from None
        yield


# --- commits --------------------------------------------------------------------------------------


def commits(repository: Path, base: str, head: str | None) -> tuple[str, str]:
    """Their full names; without a name for head, the working tree's tracked files."""
    if head is None:
        # A commit of what is changed, that no branch knows of; nothing if there are no changes.
        somebody = ("-c", "user.name=fastact", "-c", "user.email=fastact@localhost")
        head = _git(repository, *somebody, "stash", "create") or "HEAD"
    return _commit(repository, base), _commit(repository, head)


def _commit(repository: Path, name: str) -> str:
    return _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") or _unknown(
        repository, name
    )


def _unknown(repository: Path, name: str) -> str:
    shallow = _git(repository, "rev-parse", "--is-shallow-repository") == "true"
    hint = "; the checkout is shallow: fetch all of the history" if shallow else ""
    raise UnusableError(f"there is no commit {name!r} in {repository}{hint}")


def _git(directory: Path, *arguments: str) -> str:
    """What git prints; nothing if a question has no answer."""
    done = subprocess.run(
        ["git", "-C", str(directory), *arguments], capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode and done.stderr:
        raise UnusableError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def checkout(repository: Path, workspace: Path, name: str, commit: str) -> Side:
    """The commit's files; the folders of both sides have names of equal length, as the length of
    paths moves what follows them in memory."""
    directory = workspace / name
    if (directory / ".git").exists():
        _git(directory, "checkout", "--quiet", "--force", "--detach", commit)
        _git(directory, "clean", "--quiet", "--force", "-d")
    else:
        _git(repository, "worktree", "prune")
        _git(
            repository, "worktree", "add", "--quiet", "--force", "--detach", str(directory), commit
        )
    return Side(name, commit, directory)


# --- environments ---------------------------------------------------------------------------------


def install(side: Side, workspace: Path, arguments: str, constraints: str = "") -> str:
    """Make the side's environment, or take the one that is there; the versions that are in it.

    ``arguments`` are pip's, such as ``-e .[bench]``; ``constraints`` are versions to prefer.
    """
    environment = workspace / f"{side.name}-environment"
    key = _key(side, arguments, constraints)
    made_for, versions = environment / "made-for", environment / "versions.txt"
    side.environment = environment
    if not (made_for.exists() and made_for.read_text() == key):
        print(f"installing {side.name} ({side.commit[:9]})", file=sys.stderr)
        _run([sys.executable, "-m", "venv", "--clear", str(environment)], side)
        preferred = environment / "constraints.txt"
        preferred.write_text(constraints)
        pip = [str(_scripts(environment) / "python"), "-m", "pip", "--disable-pip-version-check"]
        packages = [*shlex.split(arguments), "pytest", "pytest-benchmark"]
        command = [*pip, "install", "--quiet", *packages]
        try:
            _run([*command, "--constraint", str(preferred)], side)
        except UnusableError:
            if not constraints:
                raise
            _run(command, side)  # it needs other versions than base has
        versions.write_text(_run([*pip, "freeze", "--all", "--exclude-editable"], side))
        made_for.write_text(key)
    return versions.read_text()


def _key(side: Side, arguments: str, constraints: str) -> str:
    """Of all that an environment depends on."""
    listed = []
    for line in _git(side.directory, "ls-tree", "-r", side.commit).splitlines():
        path = PurePosixPath(line.partition("\t")[2])
        if path.suffix not in _NOT_INSTALLED or (path.suffix == ".py" and len(path.parts) == 1):
            listed.append(line)
    parts = [sys.version, sys.executable, arguments, constraints, *listed]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _run(command: list[str], side: Side) -> str:
    done = subprocess.run(
        command, cwd=side.directory, capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise UnusableError(f"{side.name}: {shlex.join(command)} failed:\n{tail}")
    return done.stdout


def _scripts(environment: Path) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin")
