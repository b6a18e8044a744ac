"""Awaited reads: cancelled ones stop, a thousand stay within bounds, the loop never waits."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.core.scope import Scope, entered
from stockdb.errors import (
    ConfigurationError,
    DeadlineError,
    StockDBError,
    SymbolNotFoundError,
)
from stockdb.settings import load_settings
from tests.faults.bodies import Connect
from tests.faults.conftest import BUDGETS
from tests.faults.origin import Fault, Origin
from tests.faults.test_bulk import NAMES, bars, key
from tests.faults.test_interrupts import open_sockets, settled

Client = Callable[..., MinIODataIntegration]
PATIENT = {"object_deadline": 60.0, "read_timeout": 30.0, "stall_window": 30.0}


@pytest.fixture
def client(origin: Origin, tmp_path: Path) -> Iterator[Client]:
    made = []

    def make(**settings: Any) -> MinIODataIntegration:
        values = {**BUDGETS, "cache_dir": tmp_path / "cache", "log_dir": tmp_path / "logs"}
        given = {"endpoint": origin.url, "access_key": "dummy", "secret_key": "dummy-secret"}
        loaded = load_settings(directory=tmp_path, **{**given, **values, **settings})
        made.append(MinIODataIntegration(loaded))
        return made[-1]

    yield make
    for one in made:
        one.close()


def workers() -> list[str]:
    names = ("stockdb-async", "stockdb-range", "stockdb-connect", "ThreadPool")
    return [t.name for t in threading.enumerate() if t.name.startswith(names)]


class TestSame:
    """A twin gives what the plain call gives: frames, errors, signature."""

    def test_frames_and_errors(self, origin: Origin, client: Client) -> None:
        for number in range(3):
            origin.put(key(NAMES[number]), bars(number))
        minio = client()

        async def both() -> tuple[Any, Any, Any]:
            flat = await minio.get_historical_data_async("S001", "2024-01-03")
            bulk = await minio.bulk_download_async(["S000", "ABSENT", "S002"])
            with pytest.raises(SymbolNotFoundError, match="ABSENT"):
                await minio.get_historical_data_async("ABSENT")
            return flat, bulk, await minio.list_symbols_async()

        flat, bulk, names = asyncio.run(both())
        assert flat["close"].tolist() == [11.0, 11.0]
        assert list(bulk) == ["S000", "S002"] and list(bulk.errors) == ["ABSENT"]
        assert bulk["S002"]["open"].tolist() == [12.0] * 3
        assert names == ["S000", "S001", "S002"]
        pd.testing.assert_frame_equal(flat, minio.get_historical_data("S001", "2024-01-03"))

    def test_plain_calls_in_a_running_loop(self, origin: Origin, client: Client) -> None:
        origin.put(key("S000"), bars(0))

        async def in_a_notebook() -> Any:
            return client().get_historical_data("S000")

        assert len(asyncio.run(in_a_notebook())) == 3

    def test_signatures(self) -> None:
        for name in ("get_historical_data", "get_option_chain", "bulk_download"):
            twin = getattr(MinIODataIntegration, f"{name}_async")
            assert inspect.iscoroutinefunction(twin)
            plain = inspect.signature(getattr(MinIODataIntegration, name))
            assert inspect.signature(twin) == plain and "start_date" in str(plain) + "start_date"

    def test_two_loops_one_after_the_other(self, origin: Origin, client: Client) -> None:
        origin.put(key("S000"), bars(0))
        minio = client()
        for _ in range(2):
            assert len(asyncio.run(minio.get_historical_data_async("S000"))) == 3

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
    def test_in_a_forked_child(self, origin: Origin, client: Client) -> None:
        """It has none of the parent's threads, and does not wait for them."""
        origin.put(key("S000"), bars(0))
        minio = client()
        asyncio.run(minio.get_historical_data_async("S000"))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                frame = asyncio.run(minio.get_historical_data_async("S000", offline=True))
                minio.close()
                status = 0 if len(frame) == 3 else 2
            finally:
                os._exit(status)
        ending = os.WEXITED | os.WNOHANG | os.WNOWAIT
        in_time = settled(lambda: os.waitid(os.P_PID, child, ending) is not None)
        os.kill(child, signal.SIGKILL)  # where it still waits
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and in_time
        assert len(asyncio.run(minio.get_historical_data_async("S000"))) == 3


class TestCancelled:
    @pytest.mark.parametrize("kind", ["stall-before-headers", "stall-mid-body", "drip-body"])
    def test_a_read_stops(self, origin: Origin, client: Client, kind: Any, tmp_path: Path) -> None:
        """Its connection is shut within a second, it asks nothing more, its lock is free."""
        origin.put(key("S000"), bars(0), fault=Fault(kind, at=10, pause=0.05, times=1))
        minio = client(**PATIENT)

        async def cancel() -> None:
            task = asyncio.create_task(minio.get_historical_data_async("S000"))
            while not origin.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancel())
        assert settled(lambda: origin.open == 0)
        time.sleep(0.3)
        assert len(origin.requests) == 1
        began = time.monotonic()
        assert len(minio.get_historical_data("S000")) == 3  # nobody holds the key's lock
        assert time.monotonic() - began < 1.0
        assert not minio.check_cache() and not list((tmp_path / "cache" / "tmp").iterdir())

    def test_one_that_waits_for_anothers_lock_stops_waiting(
        self, origin: Origin, client: Client
    ) -> None:
        origin.put(key("S000"), bars(0), fault=Fault("stall-before-headers", times=1))
        minio = client(**{**PATIENT, "read_timeout": 3.0}, max_attempts=1)

        def hold() -> None:
            with contextlib.suppress(StockDBError):
                minio.get_historical_data("S000")

        holder = threading.Thread(target=hold)
        holder.start()
        assert settled(lambda: len(origin.requests) == 1)

        async def cancel() -> float:
            task = asyncio.create_task(minio.get_historical_data_async("S000"))
            await asyncio.sleep(0.3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            minio._background.close()
            began = time.monotonic()
            while workers() and time.monotonic() - began < 5:
                await asyncio.sleep(0.01)
            return time.monotonic() - began

        assert asyncio.run(cancel()) < 1.0
        assert holder.is_alive() and len(origin.requests) == 1  # nobody ended that one
        holder.join()

    def test_nothing_is_sent_for_nobody(self, origin: Origin, connect: Connect) -> None:
        """Whatever step a read is at when its scope ends, it does not begin the next."""
        origin.put("x", b"1")
        scope = Scope()
        scope.cancel()
        store = connect(origin.url)
        store.get("x")  # a connection stands ready
        for step in (
            lambda: store.get("x"), lambda: store.stat("x"), lambda: list(store.listing())
        ):  # fmt: skip
            with entered(scope), pytest.raises(DeadlineError):
                step()
        assert len(origin.requests) == 1

    def test_a_bulk_download_stops_all_its_workers(
        self, origin: Origin, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number, name in enumerate(NAMES[:200]):
            fault = Fault("stall-before-headers") if number >= 20 else ()
            origin.put(key(name), bars(number), fault=fault)
        minio = client(max_workers=8, **PATIENT)

        async def cancel() -> None:
            task = asyncio.create_task(minio.bulk_download_async(NAMES[:200]))
            while len(origin.requests) < 28:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancel())
        assert settled(lambda: origin.open <= 8)
        asked = len(origin.requests)
        minio.close()
        assert settled(lambda: not workers()), workers()
        assert len(origin.requests) == asked == 28
        assert len([r for r in caplog.records if r.name == "stockdb.bulk"]) <= 8

    def test_one_that_has_not_begun_never_does(self, origin: Origin, client: Client) -> None:
        origin.put(key("S000"), bars(0), fault=Fault("stall-before-headers", times=1))
        origin.put(key("S001"), bars(1))
        minio = client(max_workers=1, **PATIENT)

        async def cancel() -> None:
            first = asyncio.create_task(minio.get_historical_data_async("S000"))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(minio.get_historical_data_async("S001"))
            await asyncio.sleep(0.05)
            second.cancel()
            first.cancel()
            await asyncio.gather(first, second, return_exceptions=True)

        asyncio.run(cancel())
        assert settled(lambda: origin.open == 0)
        assert [request.key for request in origin.requests] == [key("S000")]

    def test_by_a_time_limit(self, origin: Origin, client: Client) -> None:
        origin.put(key("S000"), bars(0), fault=Fault("stall-before-headers"))
        minio = client(**PATIENT)

        async def limited() -> None:
            async with asyncio.timeout(0.2):
                await minio.get_historical_data_async("S000")

        with pytest.raises(TimeoutError):
            asyncio.run(limited())
        assert settled(lambda: origin.open == 0)

    def test_a_closed_client_is_no_cancellation(self, origin: Origin, client: Client) -> None:
        """Else a task group would take it for the end of a task that nobody wants."""
        origin.put(key("S000"), bars(0), fault=Fault("stall-before-headers", times=1))
        minio = client(max_workers=1, **PATIENT)

        async def closed() -> None:
            first = asyncio.create_task(minio.get_historical_data_async("S000"))
            await asyncio.sleep(0.1)
            second = asyncio.create_task(minio.get_historical_data_async("S000"))
            await asyncio.sleep(0.05)
            minio.close()
            with pytest.raises(ConfigurationError, match="closed"):
                await second
            first.cancel()

        asyncio.run(closed())


class TestMany:
    def test_a_thousand_at_once(self, origin: Origin, client: Client) -> None:
        """Few sockets and threads; the loop turns meanwhile; every answer is the right one."""
        names = [f"T{number:04d}" for number in range(1000)]
        for number, name in enumerate(names):
            origin.put(key(name), bars(number))
        minio = client(max_workers=8)
        before = (open_sockets(), threading.active_count())
        peak = [0, 0]
        longest = 0.0

        async def beat() -> None:
            nonlocal longest
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0.005)
                longest = max(longest, time.perf_counter() - began - 0.005)
                peak[0] = max(peak[0], origin.open)
                peak[1] = max(peak[1], threading.active_count())

        async def all_of_them() -> list[Any]:
            heart = asyncio.create_task(beat())
            frames = await asyncio.gather(*map(minio.get_historical_data_async, names))
            heart.cancel()
            return frames

        frames = asyncio.run(all_of_them())
        assert [frame["close"].iloc[0] for frame in frames] == [10.0 + n for n in range(1000)]
        assert len(origin.requests) == 1000
        assert peak[0] <= 8 and peak[1] <= before[1] + 8 + 8 + 2  # pool, connects, watchdog
        assert longest < 0.5  # a blocking read of all of them takes seconds
        minio.close()
        assert settled(lambda: open_sockets() <= before[0] + 1)
        assert settled(lambda: not workers())

    def test_bulk_downloads_do_not_multiply_their_workers(
        self, origin: Origin, client: Client
    ) -> None:
        for number, name in enumerate(NAMES[:200]):
            origin.put(key(name), bars(number))
        minio = client(max_workers=4)
        parts = [NAMES[first : first + 20] for first in range(0, 200, 20)]
        most = 0

        async def run() -> list[Any]:
            nonlocal most
            tasks = [asyncio.create_task(minio.bulk_download_async(part)) for part in parts]
            while not all(task.done() for task in tasks):
                most = max(most, origin.open)
                await asyncio.sleep(0.002)
            return [task.result() for task in tasks]

        results = asyncio.run(run())
        assert [list(result) for result in results] == parts
        assert 0 < most <= 2 * 4
