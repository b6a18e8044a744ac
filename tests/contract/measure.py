"""The figures of ``docs/servers.md``: ``python -m tests.contract.measure [SERVER ...]``.

Start, memory, listing and notifications are measured; what a server does and does not do is
the suite's to say.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from minio.error import MinioException
from urllib3.exceptions import HTTPError

from stockdb.demo.server import EmbeddedServer
from tests.contract import servers
from tests.contract.servers import Site

OBJECTS = 11_000
ROUNDS = 3
EVENT_SECONDS = 5.0


def resident(pid: int) -> float:
    """MiB that a process has in memory (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has ended")


@contextmanager
def running(name: str, folder: Path) -> Iterator[tuple[Site, int, float]]:
    """A server, the process that it is in, and what that process had in memory before."""
    if name == "moto":
        before = resident(os.getpid())
        with servers.moto(folder) as site:
            yield site, os.getpid(), before
        return
    binary = servers.find_minio() if name == "minio" else None
    if name == "minio" and binary is None:
        raise SystemExit(servers.NO_MINIO)
    with EmbeddedServer(executable=binary) as server, servers.embedded(server, folder) as site:
        assert server.pid is not None
        yield site, server.pid, 0.0


def notified(site: Site) -> str:
    """Whether the server tells of a new object while somebody listens."""
    store, events = site.new_store(), queue.SimpleQueue[str]()

    def listen() -> None:
        try:
            for event in site.admin.listen_bucket_notification(store.bucket):
                events.put("yes" if event.get("Records") else "no")
                return
            events.put("no (an empty answer)")
        except (MinioException, HTTPError, ValueError) as error:
            events.put(f"no ({type(error).__name__})")

    threading.Thread(target=listen, daemon=True).start()
    try:
        for _ in range(int(EVENT_SECONDS)):  # it may not listen yet when the first comes
            store.put("news", b"x")
            try:
                return events.get(timeout=1.0)
            except queue.Empty:
                continue
        return f"no (silent for {EVENT_SECONDS:.0f} s)"
    finally:
        store.close()


def measure(name: str, folder: Path) -> None:
    began = time.perf_counter()
    with running(name, folder) as (site, pid, before):
        start = time.perf_counter() - began
        idle = resident(pid) - before
        store = site.new_store()
        keys = [f"stocks/{number:05d}.csv" for number in range(OBJECTS)]
        began = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: store.put(key, b""), keys))
        putting = time.perf_counter() - began
        listing = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            assert [info.key for info in store.listing()] == keys
            listing.append(time.perf_counter() - began)
        print(
            f"{name}: start {start:.2f} s, {idle:.0f} MiB idle, {OBJECTS} puts {putting:.1f} s, "
            f"listing {' / '.join(f'{each:.2f}' for each in listing)} s, "
            f"{resident(pid) - before:.0f} MiB then, notifications: {notified(site)}",
            flush=True,
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for wanted in sys.argv[1:] or ["embedded", "moto", "minio"]:
            measure(wanted, Path(scratch))
