"""``watch`` under a writer, while the server is killed and started again.

``STOCKDB_STRESS_SECONDS`` (default 120) says how long; the issue's ten minutes are 600.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from stockdb.demo.server import EmbeddedServer
from tests.conftest import ClientFactory, _clients, admin_of
from tests.contract.mirror import Mirror, Writer
from tests.faults.test_interrupts import open_sockets, settled

SECONDS = float(os.environ.get("STOCKDB_STRESS_SECONDS", "120"))
pytestmark = [pytest.mark.stress, pytest.mark.timeout(SECONDS + 300)]
SYMBOLS = [f"S{number:02d}" for number in range(12)]
DAYS = [f"2024-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 29)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[EmbeddedServer, ClientFactory]]:
    with EmbeddedServer(tmp_path / "server") as server:
        for factory in _clients(server, tmp_path):
            yield server, factory


def write(writer: Writer, alive: threading.Event, until: float) -> int:
    """Replace, append and delete; what a dying server may or may not have done, do again."""
    choose = random.Random(11)
    states: dict[str, dict[str, float]] = {name: {} for name in SYMBOLS}
    count = 0
    while time.monotonic() < until:
        symbol = choose.choice(SYMBOLS)
        rows, kind = dict(states[symbol]), choose.random()
        if kind < 0.1:
            rows = {}
        elif kind < 0.6 and rows:  # append
            later = [day for day in DAYS if day > max(rows)]
            rows |= {day: choose.randint(5, 50) + 0.5 for day in later[: choose.randint(1, 3)]}
        else:
            days = choose.sample(DAYS, choose.randint(1, 40))
            rows = {day: choose.randint(5, 50) + 0.0 for day in days}
        while True:
            alive.wait()
            try:
                writer.write(symbol, rows) if rows else writer.delete(symbol)
                break
            except (MinioException, HTTPError):
                time.sleep(0.1)
        states[symbol] = rows
        count += 1
        time.sleep(choose.uniform(0, 0.05))
    return count


def test_every_final_state_in_order_and_none_twice(
    world: tuple[EmbeddedServer, ClientFactory],
) -> None:
    server, factory = world
    s3 = admin_of(server)
    s3.make_bucket("stockdb")
    writer = Writer(s3, "stockdb")
    for symbol in SYMBOLS:
        writer.write(symbol, {"2024-01-02": 5.0})
    mirror, alive = Mirror(), threading.Event()
    alive.set()
    minio = factory("stockdb", max_attempts=2, max_workers=4)
    minio.get_historical_data(SYMBOLS)
    s3._http.clear()
    gc.collect()  # the vendor's pool closes only what is collected
    before = open_sockets()
    kills = 0
    until = time.monotonic() + SECONDS

    async def kill() -> None:
        nonlocal kills
        while time.monotonic() + 15 < until:
            await asyncio.sleep(random.Random(kills).uniform(5, 12))
            alive.clear()
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(random.Random(kills).uniform(0.2, 4))
            await asyncio.to_thread(server.start)
            alive.set()
            kills += 1

    async def run() -> int:
        async with minio.watch(SYMBOLS, poll_seconds=2.0, initial=True) as updates:
            for _ in SYMBOLS:
                mirror.apply(await anext(updates))
            killing = asyncio.create_task(kill())
            writing = asyncio.create_task(asyncio.to_thread(write, writer, alive, until))
            late = None
            while not (writing.done() and killing.done() and mirror.rows == writer.rows):
                if writing.done() and killing.done():
                    late = late or time.monotonic() + 60
                    assert time.monotonic() < late, difference(mirror, writer)
                with contextlib.suppress(TimeoutError):
                    mirror.apply(await asyncio.wait_for(anext(updates), 1))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(updates), 5)
            return writing.result()

    writes = asyncio.run(run())
    told = mirror.kinds
    print(
        f"{SECONDS:.0f} s: {writes} writes, {kills} kills, {told.count('rows')} updates of rows, "
        f"{told.count('removed')} removed, {told.count('stale')} stale"
    )
    assert kills and told.count("rows") > writes / 10 and not mirror.stale
    assert "error" not in told
    assert not minio.check_cache()
    minio.close()
    s3._http.clear()  # those of the writer
    gc.collect()
    assert settled(lambda: open_sockets() <= before)


def difference(mirror: Mirror, writer: Writer) -> dict[str, Any]:
    return {
        symbol: (mirror.rows.get(symbol), rows)
        for symbol, rows in writer.rows.items()
        if mirror.rows.get(symbol) != rows
    }
