"""P11: cache hits a second by eight processes against one, beside a loop that shares nothing.

How much eight processes gain over one is the machine's affair (here they share two cores); a
pure spin loop, measured in the same rounds, says how much there is to gain. What hits gain less
than it is what they wait for one another.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common import scratch
from stockdb.core.cache import DiskCache
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness

PROCESSES = 8
ROUNDS = 9
SECONDS = 0.5
BAR = 0.85
NBYTES = 2**20
NAME = "a" * 64
WANTED = Freshness(ttl=1e9)


def run() -> dict[str, Any]:
    """Measure one and eight processes, spinning and reading, in turn; medians over rounds."""
    folder = scratch()
    with _workers(folder) as workers:
        rounds = [
            {
                (work, number): _rate(workers[:number], work)
                for number in (1, PROCESSES)
                for work in ("hits", "spin")
            }
            for _ in range(ROUNDS)
        ]
    one = statistics.median(measured["hits", 1] for measured in rounds)
    gains = {
        work: statistics.median(
            measured[work, PROCESSES] / measured[work, 1] for measured in rounds
        )
        for work in ("hits", "spin")
    }
    ratio = gains["hits"] / gains["spin"]
    return {
        "id": "P11",
        "ours": gains["hits"],
        "peer": gains["spin"],
        "ratio": ratio,
        "bar": BAR,
        "ok": ratio >= BAR,
        "bytes": 0,  # none of the network; each hit maps the entry below
        "unit": f"times the rate of one process, with {PROCESSES}",
        "peer_is": "a loop that only counts",
        "microseconds_per_hit": 1e6 / one,
        "hits_per_second": statistics.median(measured["hits", PROCESSES] for measured in rounds),
        "entry_bytes": NBYTES,
    }


def _open(folder: Path) -> DiskCache:
    return DiskCache(folder, max_bytes=2**30, max_entry_age=1e9)


def _fetch(held: dict[str, Any] | None) -> Entry:
    return Entry(pa.table({"close": np.arange(NBYTES // 8, dtype="float64")}), {"size": NBYTES})


@contextmanager
def _workers(folder: Path) -> Iterator[list[Connection]]:
    """Start processes that wait for work, each with its own view of one cache."""
    _open(folder).get(NAME, WANTED, _fetch, wait=1)
    # Forked before anything here has a thread; spawning would import everything eight times.
    context = multiprocessing.get_context("fork")
    pairs = [context.Pipe() for _ in range(PROCESSES)]
    processes = [context.Process(target=_serve, args=(folder, there)) for _, there in pairs]
    for process in processes:
        process.start()
    try:
        yield [here for here, _ in pairs]
    finally:
        for here, _ in pairs:
            here.send(None)
        for process in processes:
            process.join(10)


def _serve(folder: Path, orders: Connection) -> None:
    cache = _open(folder)

    def hit() -> None:
        table = cache.get(NAME, WANTED, _fetch, wait=1).entry.table
        assert table.num_rows == NBYTES // 8

    works: dict[str, Callable[[], None]] = {"hits": hit, "spin": _spin}
    hit()
    while (order := orders.recv()) is not None:
        work, begin = order
        do, count = works[work], 0
        while time.monotonic() < begin:
            time.sleep(0.001)
        while time.monotonic() < begin + SECONDS:
            for _ in range(20):
                do()
            count += 20
        orders.send(count)


def _spin() -> None:
    for _ in range(200):
        pass


def _rate(workers: list[Connection], work: str) -> float:
    """Give the same order to all, for one instant; returns how often it was done in a second."""
    begin = time.monotonic() + 0.05
    for worker in workers:
        worker.send((work, begin))
    return sum(worker.recv() for worker in workers) / SECONDS
