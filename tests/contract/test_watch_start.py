"""``watch`` where something is wrong from the start: it is no quiet market."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
from typing import Any

import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.demo.server import EmbeddedServer
from stockdb.errors import (
    AccessDeniedError,
    ConfigurationError,
    IntegrityError,
    NotFoundError,
    StockDBError,
)
from tests.conftest import ClientFactory, admin_of
from tests.contract.mirror import Writer
from tests.contract.test_watch import minio, own_server, put_day, take, writer

__all__ = ["minio", "own_server", "writer"]  # fixtures


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize(
    "watched", [{"symbols": "AAPL"}, {"symbols": ["KO", "AAPL"]}, {"interval": "options"}]
)
@pytest.mark.parametrize(
    ("settings", "kind"),
    [({"secret_key": "wrong-dummy-secret"}, AccessDeniedError),
     ({"bucket_name": "no-such-bucket"}, NotFoundError)],
)  # fmt: skip
def test_what_never_gets_better_is_raised(
    writer: Writer, client_factory: ClientFactory, initial: bool,
    watched: dict[str, Any], settings: dict[str, Any], kind: type[StockDBError],
) -> None:  # fmt: skip
    minio = client_factory(**{"bucket_name": writer._bucket, **settings})

    async def run() -> None:
        async with minio.watch(**watched, initial=initial) as updates:
            with pytest.raises(kind):
                await take(updates)
            with pytest.raises(StopAsyncIteration):
                await take(updates)

    asyncio.run(run())


def test_so_is_an_interval_that_is_not_held(minio: MinIODataIntegration) -> None:
    async def run() -> None:
        async with minio.watch("AAPL", "5m") as updates:
            with pytest.raises(ConfigurationError, match="no 5m bars"):
                await take(updates)

    asyncio.run(run())


def test_a_file_that_cannot_be_read_is_told(
    minio: MinIODataIntegration, writer: Writer, s3: Minio
) -> None:
    s3.put_object(writer._bucket, writer.key("KO"), io.BytesIO(b"<html>"), 6)

    async def run() -> None:
        async with minio.watch(["AAPL", "KO"], poll_seconds=0.2) as updates:
            update = await take(updates)
            assert (update.kind, update.symbol) == ("error", "KO")
            assert "KO.csv" in update.reason and update.reason in repr(update)
            with pytest.raises(TimeoutError):  # once; and AAPL was not asked for
                await take(updates, 0.7)
            writer.write("KO", {"2024-01-02": 50.0})
            update = await take(updates)
            assert (update.kind, update.new["close"].tolist()) == ("rows", [50.0])

    asyncio.run(run())


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("watched", [{"symbols": "KO"}, {"interval": "options"}])
def test_a_server_that_comes_later(
    own_server: tuple[EmbeddedServer, ClientFactory],
    initial: bool,
    watched: dict[str, Any],
) -> None:
    """What it holds then is the beginning."""
    server, factory = own_server
    s3 = admin_of(server)
    s3.make_bucket("stockdb")
    writer = Writer(s3, "stockdb")
    writer.write("KO", {"2024-01-02": 50.0})
    put_day(s3, "stockdb", "2024-01-02", b"a")
    server.kill()

    async def run() -> list[str]:
        kinds = []
        minio = factory("stockdb", max_attempts=1)
        async with minio.watch(**watched, poll_seconds=0.2, initial=initial) as updates:
            update = await take(updates)
            assert update.kind == "stale" and "Connection refused" in update.reason
            with pytest.raises(TimeoutError):
                await take(updates, 0.7)
            await asyncio.to_thread(server.start)
            kinds += [(await take(updates, 20)).kind for _ in range(1 + initial)]
            await asyncio.sleep(0.5)
            writer.write("KO", {"2024-01-02": 50.0, "2024-01-03": 51.0})
            put_day(s3, "stockdb", "2024-01-03", b"b")
            update = await take(updates)
            assert len(update.new) == 1 or update.date == dt.date(2024, 1, 3)
        return kinds

    first = ["day" if "interval" in watched else "rows"] * initial
    assert asyncio.run(run()) == ["recovered", *first]


@pytest.mark.parametrize("initial", [False, True])
def test_days_of_options_that_cannot_be_listed_for_a_while(
    initial: bool, minio: MinIODataIntegration, writer: Writer, s3: Minio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    put_day(s3, writer._bucket, "2024-01-02", b"a")
    discovery = minio._access.reader.discovery
    listing, broken = discovery.objects, True

    def objects(*args: Any, **kwargs: Any) -> Any:
        if broken:
            raise IntegrityError("The listing is cut.")
        return listing(*args, **kwargs)

    monkeypatch.setattr(discovery, "objects", objects)

    async def run() -> None:
        nonlocal broken
        watch = minio.watch(interval="options", poll_seconds=0.2, initial=initial)
        async with watch as updates:
            for later in (False, True):
                update = await take(updates)
                assert (update.kind, update.reason) == ("error", "The listing is cut.")
                with pytest.raises(TimeoutError):
                    await take(updates, 0.5)
                broken = False
                assert (await take(updates)).kind == "recovered"
                if initial and not later:
                    assert (await take(updates)).date == dt.date(2024, 1, 2)
                with pytest.raises(TimeoutError):
                    await take(updates, 0.5)
                broken = True

    asyncio.run(run())
