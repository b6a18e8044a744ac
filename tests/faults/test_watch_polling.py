"""``watch`` on a server that sends no notifications, breaks, stalls or comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.settings import load_settings
from tests.faults.conftest import BUDGETS
from tests.faults.origin import Fault, Origin
from tests.faults.test_bulk import bars, key

Client = Callable[..., MinIODataIntegration]


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


async def take(updates: Any, seconds: float = 10.0) -> Any:
    return await asyncio.wait_for(anext(updates), seconds)


@pytest.mark.parametrize(
    "answer",
    [
        (),  # a listing, as AWS S3 and moto take it
        Fault("error", status=403, code="AccessDenied", when=lambda r: "events" in r.query),
        Fault("error", status=501, code="NotImplemented", when=lambda r: "events" in r.query),
        Fault("stall-before-headers", when=lambda r: "events" in r.query),
        Fault("reset-before-headers", when=lambda r: "events" in r.query),
    ],
    ids=["listing", "denied", "not-implemented", "silent", "reset"],
)
def test_without_notifications_it_asks(origin: Origin, client: Client, answer: Any) -> None:
    origin.put(key("S000"), bars(0))
    origin.break_listing(*([answer] if answer else []))

    async def run() -> None:
        async with client().watch("S000", poll_seconds=0.1, initial=True) as updates:
            assert (await take(updates)).new["close"].tolist() == [10.0] * 3
            origin.put(key("S000"), bars(5))
            assert (await take(updates)).changed["close"].tolist() == [15.0] * 3
            before = len(origin.of(key("S000")))
            with pytest.raises(TimeoutError):
                await take(updates, 1.0)  # nothing is told that did not happen
            asked = origin.of(key("S000"))[before:]
            assert 5 <= len(asked) <= 12
            assert all("if-none-match" in request.headers for request in asked)
            assert len([r for r in origin.requests if "events" in r.query]) <= 4

    asyncio.run(run())


def test_without_notifications_it_asks_as_often_as_it_was_told(
    origin: Origin, client: Client
) -> None:
    """Only a server that is known to tell is asked less often."""
    origin.put(key("S000"), bars(0))

    async def run() -> None:
        async with client().watch("S000", poll_seconds=1.0, initial=True) as updates:
            await take(updates)
            for price in range(3):
                origin.put(key("S000"), bars(price + 1))
                began = time.monotonic()
                await take(updates)
                assert time.monotonic() - began < 3.0

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["stall-before-headers", "error", "reset-before-headers"])
def test_an_outage_is_told_once_and_its_end_once(origin: Origin, client: Client, kind: Any) -> None:
    origin.put(key("S000"), bars(0))
    origin.put(key("S001"), bars(1))
    minio = client(object_deadline=0.6, read_timeout=0.3, max_attempts=2)
    told = []

    async def run() -> None:
        async with minio.watch(["S000", "S001"], poll_seconds=0.2, initial=True) as updates:
            told.extend([await take(updates), await take(updates)])
            fault = Fault(kind, status=503, code="SlowDown")
            origin.put(key("S001"), bars(1), fault=fault)
            told.append(await take(updates))
            origin.put(key("S000"), bars(7))  # what can be read meanwhile is told
            told.append(await take(updates))
            await asyncio.sleep(1.5)
            origin.put(key("S001"), bars(9))
            told.extend([await take(updates), await take(updates)])
            with pytest.raises(TimeoutError):
                await take(updates, 1.0)

    asyncio.run(run())
    assert [(update.kind, update.symbol) for update in told[2:]] == [
        ("stale", None), ("rows", "S000"), ("recovered", None), ("rows", "S001"),
    ]  # fmt: skip
    assert told[2].reason and told[5].changed["close"].tolist() == [19.0] * 3


def test_leaving_does_not_wait_for_a_server_that_does_not_come(
    origin: Origin, client: Client
) -> None:
    origin.put(key("S000"), bars(0))
    minio = client(object_deadline=60, read_timeout=30, stall_window=30)

    async def run() -> float:
        async with minio.watch("S000", poll_seconds=0.1, initial=True) as updates:
            await take(updates)
            origin.put(key("S000"), bars(1), fault=Fault("stall-before-headers"))
            await asyncio.sleep(0.5)
            began = time.monotonic()
        return time.monotonic() - began

    assert asyncio.run(run()) < 1.0
