"""Two processes that go through the same benchmarks together, and are asked in turns.

Each runs the project's own command, in which pytest finds our plugin (``side``). They stand at the
same benchmark until both have been asked for enough, so that what is compared was measured within
milliseconds, whatever the machine does from second to second.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import random
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fastact.benchmark.results import UnusableError
from fastact.benchmark.sides import Side

__all__ = ["Pair", "calls_for", "place_plugin", "rounds"]

PLUGIN = "fastact_gate_side"
#: Seconds of a timed sample, of which a turn has some: short, so that there are undisturbed ones
#: also where another process gets its turn of some milliseconds again and again.
SAMPLE_SECONDS = 2.5e-4
#: Turns of each side in a visit to a benchmark: a tenth of a second in all.
ROUNDS = 30
#: Long calls get fewer turns, as many as there are in so many seconds: noise of a moment does not
#: fill them. Passes over equal calls of 1.3 to 5 ms spread by 1.2 to 2.0 % with 30 turns, and by
#: 1.3 to 2.3 % with 12.
VISIT_SECONDS = 0.3
#: What the longest calls get; a choice that nothing was measured for.
FEWEST_ROUNDS = 5
START_SECONDS = 120
#: Of Callgrind, which is 50 times slower.
PATIENCE = 20


def place_plugin(workspace: Path) -> Path:
    """A copy where both sides' pytest can import it; the folder for PYTHONPATH."""
    target = workspace / "plugin" / PLUGIN
    shutil.rmtree(target, ignore_errors=True)
    source = Path(__file__).parent / "side"
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target.parent


class Pair:
    """The two processes; ``with`` ends them."""

    def __init__(
        self,
        sides: Sequence[Side],
        command: Sequence[str],
        plugin: Path,
        variables: Mapping[str, str] | None = None,
        before: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """``before``: for each side what stands before the command, such as Valgrind."""
        self._processes: dict[str, _Process] = {}
        try:
            for side in random.sample(list(sides), len(sides)):
                prefix = (before or {}).get(side.name, ())
                self._processes[side.name] = _Process(
                    side, [*prefix, *command], plugin, variables or {}
                )
            self._found = {name: p.found() for name, p in self._processes.items()}
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Pair:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            process.hang_up()
        for process in self._processes.values():
            process.end()

    def cases(self, side: str) -> list[str]:
        """Names of its benchmarks."""
        return self._found[side][0]

    @property
    def counter(self) -> str:
        """Who counts instructions: "hardware", "valgrind" or "none"."""
        (name, *others) = {counter for _, counter, _ in self._found.values()}
        return "none" if others else name

    def packages(self, side: str) -> dict[str, str]:
        """Names and versions of what is installed."""
        return self._found[side][2]

    def go_through(self, cases: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Both sides' benchmarks one after the other, and why one is not measured, if so.

        While the caller has a name, both sides stand there and can be asked.
        """
        for process in self._processes.values():
            process.send("chosen", list(cases))
        # The order is pytest's, who puts those together that share fixtures.
        for _ in cases:
            arrived = {name: process.receive() for name, process in self._processes.items()}
            names = {message[1] for message in arrived.values()}
            if len(names) != 1:
                raise UnusableError(
                    f"the two sides run their benchmarks in different orders: {sorted(names)}"
                )
            reasons = [
                f"{side}: {_reason(message)}"
                for side, message in sorted(arrived.items())
                if message[0] == "excused"
            ]
            yield names.pop(), "; ".join(reasons)
            for side, message in arrived.items():
                if message[0] == "ready":
                    self._processes[side].send("leave", 0, None)

    def time(self, side: str, calls: int, cpu: int | None = None) -> float:
        """Seconds that so many calls take."""
        self._processes[side].send("time", calls, cpu)
        return self._processes[side].receive()[0]

    def count(self, calls: int) -> dict[str, float]:
        """Instructions of a call; both sides count at the same time."""
        for process in self._processes.values():
            process.send("count", calls, None)
        return {side: process.receive()[0] for side, process in self._processes.items()}


def _reason(message: list[Any]) -> str:
    _, _, outcome, text = message
    return f"{outcome}: {text.strip().splitlines()[-1]}" if text.strip() else outcome


class _Process:
    """One side's command, and the socket to the plugin inside."""

    def __init__(
        self, side: Side, command: Sequence[str], plugin: Path, variables: Mapping[str, str]
    ) -> None:
        self._side = side
        self._command = command
        environment = side.variables() | dict(variables)
        program = shutil.which(command[0], path=environment["PATH"])
        if program is None:
            raise UnusableError(f"{side.name}: there is no program {command[0]!r}")
        self._password = secrets.token_hex(16)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.2)
        environment["FASTACT_GATE"] = f"{self._server.getsockname()[1]}:{self._password}"
        environment["PYTEST_ADDOPTS"] = f"-p {PLUGIN}"
        paths = [str(plugin), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._lines: Any = None
        self._process = subprocess.Popen(
            [program, *command[1:]],
            cwd=side.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def found(self) -> tuple[list[str], str, dict[str, str]]:
        """Wait until its pytest has collected; cases, counter, packages."""
        deadline = time.monotonic() + START_SECONDS * PATIENCE
        while self._lines is None:
            with contextlib.suppress(TimeoutError):
                connection, _ = self._server.accept()
                with connection:  # which is open as long as its file is
                    connection.settimeout(None)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    lines = connection.makefile("rw", encoding="utf-8", newline="\n")
                if json.loads(lines.readline() or "[]") == [self._password]:
                    self._lines = lines
                    break
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self._failure()
        _, cases, counter, packages = self.receive()
        return cases, counter, packages

    def send(self, *message: Any) -> None:
        try:
            print(json.dumps(message), file=self._lines, flush=True)
        except OSError:
            raise self._failure() from None

    def receive(self) -> Any:
        try:
            line = self._lines.readline()
        except OSError:
            line = ""
        if not line:
            raise self._failure()
        return json.loads(line)

    def _failure(self) -> UnusableError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._log.seek(0)
        tail = "\n".join(self._log.read().strip().splitlines()[-25:])
        command = shlex.join(self._command)
        return UnusableError(
            f"{self._side.name}: {command} ended before its benchmarks were measured:\n{tail}"
        )

    def hang_up(self) -> None:
        self._server.close()
        if self._lines is not None:
            with contextlib.suppress(OSError):
                self._lines.close()

    def end(self) -> None:
        try:
            # What has been told to leave its last benchmark ends by itself.
            self._process.wait(10 if self._lines is not None else 0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


# --- times ----------------------------------------------------------------------------------------


def calls_for(pair: Pair, side: str, seconds: float = SAMPLE_SECONDS) -> int:
    """How many calls take about so long."""
    calls = 1
    while (taken := pair.time(side, calls)) < seconds / 2 and calls < 10**7:
        calls = max(2 * calls, min(100 * calls, math.ceil(calls * seconds / max(taken, 1e-9))))
    return max(1, round(calls * seconds / taken)) if taken < seconds else calls


def rounds(pair: Pair, calls: int) -> tuple[float, float]:
    """Head's time divided by base's, as a logarithm, and seconds of a call of base's.

    They take turns, A B A B ...: each follows one of the other side, and so finds the caches in the
    same state. Who begins is drawn by lot. Compared are the shortest samples: noise only ever adds
    to a time, and what is left without it is reached again and again. In six passes over equal code
    on two cores with a load of ten, those of ReLU at 10k elements were within 2.2 %, those of
    leaky_relu_backward within 2.6 %; medians of paired turns within 1.2 % and 9.9 %. At 100k
    elements, which threads share, medians spread two to four times as far.

    Both are asked on the same CPU, on one of two in every other round. One may be slower than
    another for seconds: in a virtual machine, while somebody else has the other thread of its core.
    Of 120 visits to equal code at 10k elements, half of them with a neighbour that burns a core,
    3 were off by more than 3 %; 14 were where the system chose.
    """
    order = random.sample(["base", "head"], 2)
    cpus = itertools.cycle(_two_cpus())
    shortest = dict.fromkeys(order, math.inf)
    end = time.monotonic() + VISIT_SECONDS
    for done in range(ROUNDS):
        if done >= FEWEST_ROUNDS and time.monotonic() > end:
            break
        cpu = next(cpus)
        for side in order:
            shortest[side] = min(shortest[side], pair.time(side, calls, cpu))
    return math.log(shortest["head"] / shortest["base"]), shortest["base"] / calls


def _two_cpus() -> list[int] | list[None]:
    """Drawn by lot; None where the system does not let a thread choose."""
    if not hasattr(os, "sched_setaffinity"):
        return [None]
    allowed = sorted(os.sched_getaffinity(0))
    return random.sample(allowed, min(2, len(allowed)))
