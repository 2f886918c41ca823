"""What was measured, in memory and in a file.

A file holds one run or several, each with the machine's facts and, for each case, the seconds of
every round of every library: whatever is shown or judged is computed from those.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import platform
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

import fastact as fa
from fastact.benchmark.cases import Case
from fastact.benchmark.timing import Estimate, ratio
from fastact.public.environment import configuration, package_version

__all__ = [
    "Result",
    "Run",
    "UnusableError",
    "dump",
    "machine_facts",
    "read_json",
    "read_runs",
    "runs_from_file",
    "write",
    "write_runs",
]

FORMAT = "fastact-bench"
VERSION = 1


class UnusableError(ValueError):
    """A file does not hold what it should; the message says which and why."""


@dataclasses.dataclass
class Result:
    """One case: seconds for one call, of each library and round."""

    case: Case
    bytes_moved: int
    seconds: dict[str, list[float]]
    #: How often the case was visited.
    passes: int = 1

    def median(self, library: str = "fastact") -> float:
        """Seconds."""
        return statistics.median(self.seconds[library])

    def ratio(self, library: str) -> Estimate:
        """The library's time divided by fastact's."""
        return ratio(self.seconds, library)

    def bandwidth(self, library: str = "fastact") -> float:
        """Bytes per second."""
        return self.bytes_moved / self.median(library)


@dataclasses.dataclass
class Run:
    """What one process measured."""

    machine: dict[str, str]
    started: str
    label: str = ""
    results: list[Result] = dataclasses.field(default_factory=list)
    #: Bytes in the array that was copied -> bytes read and written per second.
    copy_bandwidth: dict[int, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def begin(cls, label: str = "") -> Run:
        now = datetime.datetime.now(datetime.timezone.utc)
        return cls(machine_facts(), now.isoformat(timespec="seconds"), label)

    def add(self, result: Result) -> None:
        """Keep a result; if there is one of its case, its rounds are added to those."""
        for known in self.results:
            if known.case == result.case:
                for library, seconds in result.seconds.items():
                    known.seconds[library] += seconds
                known.passes += result.passes
                return
        self.results.append(result)

    @property
    def libraries(self) -> list[str]:
        """In the order in which they appear."""
        return list(dict.fromkeys(name for result in self.results for name in result.seconds))

    def ceiling(self, case: Case) -> float | None:
        """Bytes per second of a copy of an array as large as x, if it was measured."""
        return self.copy_bandwidth.get(case.array_bytes)


def machine_facts() -> dict[str, str]:
    """What figures depend on; nothing that tells whose machine it is."""
    facts = configuration()
    del facts["kernel cache"]
    facts["CPU"] = f"{_cpu_model()} ({facts['CPU']})"
    facts["threads"] = str(fa.get_num_threads())
    return facts | {"torch": package_version("torch")}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


# --- files ----------------------------------------------------------------------------------------


def write_runs(path: Path, runs: list[Run]) -> None:
    dump(path, {"format": FORMAT, "version": VERSION, "runs": [_to_json(run) for run in runs]})


def dump(path: Path, content: dict[str, Any]) -> None:
    """Lists of numbers on a line each: readable, and small changes make small differences."""
    write(path, _join_lists(json.dumps(content, indent=1)).encode())


def _join_lists(text: str) -> str:
    """Put lists of numbers on one line."""
    return re.sub(r"\[[^][{}\"]*\]", lambda m: re.sub(r"\s+", " ", m.group()), text) + "\n"


def _to_json(run: Run) -> dict[str, Any]:
    return {
        "started": run.started,
        "label": run.label,
        "machine": run.machine,
        "copy_bandwidth": {str(n): float(f"{b:.4g}") for n, b in run.copy_bandwidth.items()},
        "results": [
            dataclasses.asdict(result.case)
            | {
                "bytes_moved": result.bytes_moved,
                "passes": result.passes,
                "seconds": {k: [float(f"{s:.4g}") for s in v] for k, v in result.seconds.items()},
            }
            for result in run.results
        ],
    }


def read_runs(path: Path) -> list[Run]:
    """The runs in a file that ``fastact bench --json`` wrote."""
    return runs_from_file(read_json(path), path)


def runs_from_file(content: Any, path: Path) -> list[Run]:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UnusableError(f"{path}: not written by fastact bench")
    return runs_from_json(content, path)


def read_json(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not text.strip():
        raise UnusableError(f"{path}: the file is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UnusableError(f"{path}: not JSON: {error}") from None


def runs_from_json(content: dict[str, Any], path: Path) -> list[Run]:
    if content.get("version") != VERSION:
        raise UnusableError(
            f"{path}: format version {content.get('version')}; this is fastact {fa.__version__}, "
            f"which reads version {VERSION}"
        )
    try:
        runs = [_run_from_json(run) for run in content["runs"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableError(f"{path}: damaged: {type(error).__name__}: {error}") from None
    if not any(run.results for run in runs):
        raise UnusableError(f"{path}: no results")
    return runs


def _run_from_json(content: dict[str, Any]) -> Run:
    results = []
    for entry in content["results"]:
        seconds = {name: [float(s) for s in times] for name, times in entry["seconds"].items()}
        case = Case(*(entry[field.name] for field in dataclasses.fields(Case)))
        if len({len(times) for times in seconds.values()}) != 1 or not all(
            0 < s < math.inf for times in seconds.values() for s in times
        ):
            raise ValueError(f"{case}: rounds must be positive seconds, as many for each library")
        passes = int(entry.get("passes", 1))
        results.append(Result(case, int(entry["bytes_moved"]), seconds, passes))
    copies = {int(n): float(b) for n, b in content["copy_bandwidth"].items()}
    return Run(dict(content["machine"]), content["started"], content["label"], results, copies)


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
