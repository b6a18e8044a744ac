"""Awaited reads that are cancelled at any moment, on a server that stalls, breaks and answers.

``STOCKDB_STRESS_SECONDS`` (default 120) says how long.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import DeadlineError, UnavailableError
from stockdb.settings import load_settings
from tests.faults.conftest import BUDGETS
from tests.faults.origin import Fault, Origin
from tests.faults.test_async import workers
from tests.faults.test_bulk import bars, key
from tests.faults.test_interrupts import open_sockets, settled

SECONDS = float(os.environ.get("STOCKDB_STRESS_SECONDS", "120"))
pytestmark = [pytest.mark.stress, pytest.mark.timeout(SECONDS + 120)]
NAMES = [f"S{number:03d}" for number in range(60)]
AT_ONCE, WORKERS = 200, 8
FAULTS: tuple[Any, ...] = (
    "stall-before-headers", "stall-mid-body", "drip-body", "reset-mid-body", "fin-mid-body",
    "reset-before-headers",
)  # fmt: skip


def test_cancelled_at_any_moment_nothing_is_left_and_no_read_is_wrong(tmp_path: Path) -> None:
    choose = random.Random(5)
    with Origin() as origin:
        for number, name in enumerate(NAMES):
            kind = FAULTS[number % len(FAULTS)] if number % 2 else None
            fault = Fault(kind, at=20, pause=0.05) if kind else ()
            origin.put(key(name), bars(number), fault=fault)
        settings = load_settings(
            directory=tmp_path, endpoint=origin.url, access_key="dummy", secret_key="dummy-secret",
            cache_dir=tmp_path / "cache", log_dir=tmp_path / "logs",
            **{**BUDGETS, "max_workers": WORKERS, "max_attempts": 2, "object_deadline": 2.0},
        )  # fmt: skip
        gc.collect()
        before = (open_sockets(), threading.active_count())
        minio = MinIODataIntegration(settings)
        counts = {"read": 0, "failed": 0, "cancelled": 0, "most sockets": 0, "most threads": 0}

        async def one(number: int) -> None:
            max_age = choose.choice([None, 0])
            call = (
                minio.get_historical_data_async(NAMES[number], max_age=max_age)
                if choose.random() < 0.9
                else minio.bulk_download_async(NAMES[: number + 1], max_age=max_age)
            )
            task = asyncio.ensure_future(call)
            if choose.random() < 0.5:
                asyncio.get_running_loop().call_later(choose.uniform(0, 0.5), task.cancel)
            try:
                found = await task
            except asyncio.CancelledError:
                counts["cancelled"] += 1
            except (UnavailableError, DeadlineError):
                counts["failed"] += 1
            else:
                counts["read"] += 1
                frames = {NAMES[number]: found} if hasattr(found, "columns") else found
                for name, frame in frames.items():
                    assert frame["close"].tolist() == [10.0 + int(name[1:])] * 3

        async def run() -> None:
            until = time.monotonic() + SECONDS
            under_way: set[asyncio.Task[None]] = set()
            while time.monotonic() < until:
                while len(under_way) < AT_ONCE:
                    under_way.add(asyncio.create_task(one(choose.randrange(len(NAMES)))))
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                counts["most sockets"] = max(counts["most sockets"], origin.open)
                counts["most threads"] = max(counts["most threads"], threading.active_count())
                if choose.random() < 0.01:
                    minio.clear_cache()
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

        asyncio.run(run())
        print(f"{SECONDS:.0f} s: {counts}")
        assert min(counts["read"], counts["failed"], counts["cancelled"]) > 20
        # Single reads, and two bulk downloads with workers of their own.
        assert counts["most sockets"] <= 3 * WORKERS + 8
        assert counts["most threads"] <= before[1] + 3 * WORKERS + 3 * WORKERS + 4
        asked = len(origin.requests)
        time.sleep(1)
        assert len(origin.requests) == asked
        for number, name in enumerate(NAMES):  # no lock is held, no entry is damaged
            origin.put(key(name), bars(number))
            assert len(minio.get_historical_data(name, max_age=0)) == 3
        assert not minio.check_cache() and not list((tmp_path / "cache" / "tmp").iterdir())
        minio.close()
        assert settled(lambda: not workers()), workers()
        gc.collect()
        assert settled(lambda: origin.open == 0)
        assert settled(lambda: open_sockets() <= before[0] + 1)
