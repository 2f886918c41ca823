"""How many threads fastact takes in the workers of a dask cluster.

    from fastact.integrations.dask import configure

    configure(client)

Dask's arrays take fastact's functions as they are: these are ufuncs. But each worker process has a
pool of threads for all CPUs, and so many processes would be in each other's way.
"""

from __future__ import annotations

import collections
from typing import Any

from distributed import Client, WorkerPlugin
from distributed.comm import get_address_host

import fastact as fa
from fastact.cpu.machine import available_cpus

__all__ = ["configure"]


class _Threads(WorkerPlugin):  # type: ignore[misc]
    """Sets the number of threads where a worker starts, one in a killed one's place, too."""

    name = "fastact-threads"

    def __init__(self, threads: int | None, of_hosts: dict[str, int]) -> None:
        self.threads = threads
        self.of_hosts = of_hosts

    def setup(self, worker: Any) -> None:
        theirs = self.of_hosts.get(get_address_host(worker.address), worker.state.nthreads)
        fa.set_num_threads(self.threads or max(1, available_cpus() // theirs))


def configure(client: Client, threads: int | None = None) -> dict[str, int]:
    """Share each machine's CPUs out among its workers' threads, now and when one is restarted.

    Parameters
    ----------
    client : distributed.Client
        Of any cluster; its workers must have fastact installed.
    threads : int, optional
        For each call of a function in each worker process. By default, the CPUs of the worker's
        machine divided by all threads that dask's workers have there, at least 1.

    Returns
    -------
    dict
        The number of threads by the workers' addresses.

    Notes
    -----
    Call it again when workers have been added to machines that had some. Without a client, or
    before workers start, ``FASTACT_NUM_THREADS`` in their environment does the same.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"configure: threads must be at least 1, got {threads}")
    of_hosts: collections.Counter[str] = collections.Counter()
    for address, workers_threads in client.nthreads().items():
        of_hosts[get_address_host(address)] += workers_threads
    client.register_plugin(_Threads(threads, dict(of_hosts)))
    found: dict[str, int] = client.run(fa.get_num_threads)
    return found
