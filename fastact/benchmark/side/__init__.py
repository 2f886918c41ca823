"""pytest's part in the gate: one side, whose benchmarks are measured when the gate says so.

This folder is copied to where the side's pytest imports it. There may be another version of fastact
or none, so nothing but the standard library, pytest and pytest-benchmark is imported here.

A benchmark that is reached is not run to its end at once: the gate asks for some calls of it, on
this side and on the other in turns, and says when it has seen enough. Both processes go through the
same benchmarks in the same order, so that they always stand at the same one. Messages are lines of
JSON through a local socket.
"""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import counters

#: Set by the gate: port and password of its socket, separated by a colon.
ADDRESS = "FASTACT_GATE"
#: Of a turn. Long beside a message's way through the socket, 50 µs.
TURN_SECONDS = 1e-3
#: What a call finds in the caches hardly matters to one that takes so long: 32 MiB, a large cache,
#: are read again in a few milliseconds.
LONG_SECONDS = 0.05


def pytest_configure(config: pytest.Config) -> None:
    # Taken away, so that programs that benchmarks start do not call the gate, too.
    address = os.environ.pop(ADDRESS, "")
    os.environ.pop("PYTEST_ADDOPTS", None)
    if not address:
        raise pytest.UsageError("this plugin is for fastact compare, and does nothing without it")
    if hasattr(config, "workerinput") or getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("benchmarks are measured in one process: leave out -n")
    config.pluginmanager.register(Side(address), "fastact-gate-side")


class Side:
    """What the gate asks, and the answers."""

    def __init__(self, address: str) -> None:
        from pytest_benchmark.fixture import BenchmarkFixture

        port, password = address.split(":")
        connection = socket.create_connection(("127.0.0.1", int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = connection.makefile("rw", encoding="utf-8", newline="\n")
        self._send(password)
        self._counter = counters.find()
        #: The benchmarks of this run, each measured or excused once.
        self._open: set[str] = set()

        def call(fixture: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            fixture._mode = "benchmark(...)"
            return self._measure(fixture, _Calls(function, args, kwargs))

        def pedantic(
            fixture: Any,
            target: Callable[..., Any],
            args: Any = (),
            kwargs: Any = None,
            setup: Callable[[], Any] | None = None,
            teardown: Callable[..., Any] | None = None,
            **_: Any,
        ) -> Any:
            fixture._mode = "benchmark.pedantic(...)"
            if setup is None and teardown is None:
                return self._measure(fixture, _Calls(target, args, kwargs or {}))
            calls = _PreparedCalls(target, args, kwargs or {}, setup, teardown)
            return self._measure(fixture, calls)

        BenchmarkFixture.__call__ = call  # type: ignore
        BenchmarkFixture.pedantic = pedantic  # type: ignore

    def _send(self, *message: Any) -> None:
        print(json.dumps(message), file=self._lines, flush=True)

    def _receive(self) -> list[Any]:
        line = self._lines.readline()
        if not line:
            pytest.exit("fastact compare has ended", returncode=3)
        return json.loads(line)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {i.nodeid: i for i in items if "benchmark" in getattr(i, "fixturenames", ())}
        self._send("found", list(found), self._counter.name, _packages())
        _, chosen = self._receive()
        items[:] = [found[name] for name in chosen]
        self._open = set(chosen)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._open and (report.failed or report.skipped):
            self._open.remove(report.nodeid)
            reason = report.longrepr
            text = reason[2] if isinstance(reason, tuple) else report.longreprtext
            self._send("excused", report.nodeid, report.outcome, text)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if nodeid in self._open:
            self._open.remove(nodeid)
            self._send("excused", nodeid, "passed", "it has the fixture, but does not call it")

    def _measure(self, fixture: Any, calls: _Calls) -> Any:
        self._open.remove(fixture.fullname)
        result = calls.once()
        self._send("ready", fixture.fullname)
        collecting = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            seconds = self._serve(calls)
        finally:
            if collecting:
                gc.enable()
        # For tests that look at their own figures afterwards.
        if fixture.enabled and seconds:
            stats = fixture._make_stats(1)
            for s in seconds:
                stats.update(s)
        return result

    def _serve(self, calls: _Calls) -> list[float]:
        """Answer until the gate has seen enough; seconds of a call each time."""
        seconds = []
        while True:
            request, n, cpu = self._receive()
            if request == "time":
                answer = _shortest(calls, n, cpu)
                seconds.append(answer / n)
            elif request == "count":
                calls.run(n)  # in the state that calls leave behind
                answer = calls.count(self._counter, n)
            else:
                return seconds
            self._send(answer)


def _shortest(calls: _Calls, n: int, cpu: int | None) -> float:
    """Seconds of the shortest of some samples of n calls each: one that nobody disturbed."""
    _go_to(cpu)
    first = calls.run(n)  # what the other side left in the caches is not timed
    if first > LONG_SECONDS:
        return first
    samples: list[float] = []
    end = time.perf_counter() + 5 * TURN_SECONDS  # where what is not timed takes long
    while sum(samples) < TURN_SECONDS and not (samples and time.perf_counter() > end):
        samples.append(calls.run(n))
    return min(samples)


def _go_to(cpu: int | None) -> None:
    """Have this thread run there, and allow all others at once: threads that calls start inherit
    what is allowed."""
    allowed = os.sched_getaffinity(0) if cpu is not None else set()
    if cpu in allowed:
        os.sched_setaffinity(0, {cpu})
        os.sched_setaffinity(0, allowed)


class _Calls:
    """Calls back to back."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> None:
        self._function = function
        self._call = functools.partial(function, *args, **kwargs) if args or kwargs else function

    def once(self) -> Any:
        return self._call()

    def run(self, n: int) -> float:
        """Seconds that n calls take."""
        call = self._call
        repeat = itertools.repeat(None, n)
        start = time.perf_counter()
        for _ in repeat:
            call()
        return time.perf_counter() - start

    def count(self, counter: Any, n: int) -> float:
        """Instructions of a call, without what happens once in a while: the lesser half's."""
        part = (n + 1) // 2
        run = functools.partial(self.run, part)
        return min(counter.count(run) for _ in range(min(n, 2))) / part


class _PreparedCalls(_Calls):
    """Calls with something before or after each that is not timed."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        setup: Callable[[], Any] | None,
        teardown: Callable[..., Any] | None,
    ) -> None:
        super().__init__(function, args, kwargs)
        self._given = (args, kwargs)
        self._setup = setup or (lambda: None)
        self._teardown = teardown or (lambda *args, **kwargs: None)

    def once(self) -> Any:
        args, kwargs = self._setup() or self._given
        result = self._function(*args, **kwargs)
        self._teardown(*args, **kwargs)
        return result

    def run(self, n: int) -> float:
        """As many of them as there is time for, if what comes before takes long."""
        seconds, done = 0.0, 0
        end = time.perf_counter() + 2 * TURN_SECONDS
        while done < n:
            args, kwargs = self._setup() or self._given
            start = time.perf_counter()
            self._function(*args, **kwargs)
            seconds += time.perf_counter() - start
            self._teardown(*args, **kwargs)
            done += 1
            if time.perf_counter() > end:
                break
        return seconds * n / done

    def count(self, counter: Any, n: int) -> float:
        args, kwargs = self._setup() or self._given
        counted = counter.count(functools.partial(self._function, *args, **kwargs))
        self._teardown(*args, **kwargs)
        return counted


def _packages() -> dict[str, str]:
    return dict(_named_versions())


def _named_versions() -> Iterator[tuple[str, str]]:
    for distribution in importlib.metadata.distributions():
        if distribution.metadata["Name"]:
            yield distribution.metadata["Name"].lower().replace("_", "-"), distribution.version
