"""``watch`` against a real server: what is told, in which order, and what is left afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import hashlib
import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.demo.server import EmbeddedServer
from stockdb.errors import ConfigurationError, SymbolNotFoundError
from tests.conftest import ClientFactory, _clients, admin_of
from tests.contract.mirror import Mirror, Writer
from tests.faults.test_interrupts import open_sockets, settled

DAYS = [f"2024-01-{day:02d}" for day in range(1, 31)]
#: Longer than a test may take: what arrives sooner has been notified, not asked for.
NEVER = 3600.0


@pytest.fixture
def writer(make_bucket: Callable[..., str], s3: Minio) -> Writer:
    writer = Writer(s3, make_bucket())
    writer.write("AAPL", {"2024-01-02": 10.0, "2024-01-03": 11.0})
    writer.write("KO", {"2024-01-02": 50.0})
    return writer


@pytest.fixture
def minio(writer: Writer, client_factory: ClientFactory) -> MinIODataIntegration:
    return client_factory(writer._bucket)


def listening() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "stockdb-listen"]


async def following(updates: Any) -> None:
    """Wait until the watch has begun and listens."""
    listener = updates._following._listener
    while not listener._connected:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # the look that its beginning asks for


def put_day(s3: Minio, bucket: str, day: str, data: bytes) -> None:
    s3.put_object(bucket, f"options-complete/{day}options.csv", io.BytesIO(data), len(data))


async def take(updates: Any, seconds: float = 5.0) -> Any:
    return await asyncio.wait_for(anext(updates), seconds)


async def started(updates: Any) -> Any:
    """Begin, and return the first of ``initial=True``."""
    first = await take(updates)
    await following(updates)
    return first


class TestTold:
    def test_new_changed_and_removed_rows(
        self, minio: MinIODataIntegration, writer: Writer, s3: Minio
    ) -> None:
        async def run() -> None:
            async with minio.watch("AAPL", initial=True, poll_seconds=NEVER) as updates:
                first = await started(updates)
                assert first.new["close"].tolist() == [10.0, 11.0] and first.symbol == "AAPL"
                writer.write("AAPL", {"2024-01-03": 11.5, "2024-01-04": 12.0})
                update = await take(updates)
                assert (update.kind, update.symbol) == ("rows", "AAPL")
                assert update.new["close"].to_dict() == {update.new.index[0]: 12.0}
                assert update.changed["close"].tolist() == [11.5]
                assert [str(d.date()) for d in update.removed] == ["2024-01-02"]
                assert str(update.new.index.dtype) == "datetime64[ns]"
                stat = s3.stat_object(writer._bucket, writer.key("AAPL"))
                assert update.etag == (stat.etag or "").strip('"')
                assert update.key == writer.key("AAPL")
                assert update.new.attrs["stockdb"]["symbol"] == "AAPL"

        asyncio.run(run())
        cached = minio.get_historical_data("AAPL", offline=True)  # the cache holds what was told
        assert cached["close"].tolist() == [11.5, 12.0]

    def test_a_symbol_that_goes_and_comes_back(
        self, minio: MinIODataIntegration, writer: Writer
    ) -> None:
        async def run() -> None:
            async with minio.watch(["AAPL", "KO"], initial=True, poll_seconds=NEVER) as updates:
                assert {(await take(updates)).symbol for _ in range(2)} == {"AAPL", "KO"}
                await following(updates)
                writer.delete("KO")
                update = await take(updates)
                assert (update.kind, update.symbol, len(update.removed)) == ("removed", "KO", 1)
                writer.write("KO", {"2024-01-02": 51.0})
                update = await take(updates)
                assert (update.kind, update.new["close"].tolist()) == ("rows", [51.0])

        asyncio.run(run())

    def test_one_that_cannot_be_read_and_is_mended(
        self, minio: MinIODataIntegration, writer: Writer, s3: Minio
    ) -> None:
        async def run() -> None:
            async with minio.watch("KO", initial=True, poll_seconds=0.2) as updates:
                await started(updates)
                s3.put_object(writer._bucket, writer.key("KO"), io.BytesIO(b"<html>"), 6)
                update = await take(updates)
                assert update.kind == "error" and "KO.csv" in update.reason
                with pytest.raises(TimeoutError):  # once, however often it is looked at
                    await take(updates, 0.7)
                writer.write("KO", {"2024-01-02": 50.0})
                update = await take(updates)  # nothing differs from before, but it can be read
                assert (update.kind, len(update.new)) == ("rows", 0)

        asyncio.run(run())

    def test_days_of_options(self, minio: MinIODataIntegration, writer: Writer, s3: Minio) -> None:
        def put(day: str, data: bytes) -> str:
            put_day(s3, writer._bucket, day, data)
            return hashlib.md5(data).hexdigest()

        async def run() -> None:
            put("2024-01-02", b"a")
            async with minio.watch(interval="options", poll_seconds=NEVER, initial=True) as updates:
                assert (await started(updates)).date == dt.date(2024, 1, 2)
                etag = put("2024-01-03", b"b")
                update = await take(updates)
                assert (update.kind, update.date) == ("day", dt.date(2024, 1, 3))
                assert update.etag == etag
                assert [str(d.date()) for d in minio.list_option_dates()][-1] == "2024-01-03"
                etag = put("2024-01-02", b"c")  # replaced
                update = await take(updates)
                assert (update.date, update.etag) == (dt.date(2024, 1, 2), etag)
                s3.remove_object(writer._bucket, "options-complete/2024-01-03options.csv")
                update = await take(updates)
                assert (update.kind, update.date) == ("removed", dt.date(2024, 1, 3))

        asyncio.run(run())

    def test_other_objects_are_none_of_its_business(
        self, minio: MinIODataIntegration, writer: Writer
    ) -> None:
        """``A`` is in every key, and in no other symbol's."""

        async def run() -> None:
            writer.write("A", {"2024-01-02": 1.0})
            async with minio.watch("A", initial=True, poll_seconds=NEVER) as updates:
                await started(updates)
                before = minio.get_cache_stats()["revalidations"]
                for close in range(20, 30):
                    writer.write("AAPL", {"2024-01-02": float(close)})
                await asyncio.sleep(0.5)
                assert minio.get_cache_stats()["revalidations"] == before
                writer.write("A", {"2024-01-02": 2.0})
                assert (await take(updates)).changed["close"].tolist() == [2.0]

        asyncio.run(run())


class TestRefused:
    def test_a_symbol_that_is_not_there(self, minio: MinIODataIntegration) -> None:
        async def run() -> None:
            async with minio.watch(["AAPL", "AAPPL"]) as updates:
                with pytest.raises(SymbolNotFoundError, match="AAPPL"):
                    await take(updates)
                with pytest.raises(StopAsyncIteration):
                    await take(updates)

        asyncio.run(run())
        assert settled(lambda: not listening())

    @pytest.mark.parametrize(
        "arguments",
        [{}, {"symbols": "AAPL", "interval": "options"}, {"symbols": "AAPL", "poll_seconds": 0},
         {"symbols": "AAPL", "interval": "fortnightly"}],
    )  # fmt: skip
    def test_what_cannot_be_watched(
        self, minio: MinIODataIntegration, arguments: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigurationError):
            minio.watch(**arguments)

    def test_a_defect_of_ours_is_not_a_watch_without_news(
        self, minio: MinIODataIntegration, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def defect(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr("stockdb.scale.subjects.difference", defect)

        async def run() -> None:
            async with minio.watch("AAPL") as updates:
                await take(updates)

        with pytest.raises(ZeroDivisionError):
            asyncio.run(run())


class TestWriter:
    def test_under_a_writer_nothing_is_lost_nor_told_twice(
        self, minio: MinIODataIntegration, writer: Writer
    ) -> None:
        """Replacing, appending and deleting as fast as the server allows."""
        random_ = random.Random(7)

        def write() -> None:
            for _ in range(150):
                symbol = random_.choice(["AAPL", "KO"])
                if random_.random() < 0.1:
                    writer.delete(symbol)
                else:
                    days = random_.sample(DAYS, random_.randint(1, 20))
                    writer.write(symbol, {day: random_.randint(1, 5) + 5.0 for day in days})

        mirror = Mirror()

        async def run() -> None:
            async with minio.watch(["AAPL", "KO"], poll_seconds=1.0, initial=True) as updates:
                mirror.apply(await take(updates))  # from here on a symbol may be absent
                writing = asyncio.create_task(asyncio.to_thread(write))
                until = time.monotonic() + 30
                while not writing.done() or mirror.rows != writer.rows:
                    assert time.monotonic() < until, (mirror.rows, writer.rows)
                    with contextlib.suppress(TimeoutError):
                        mirror.apply(await take(updates, 0.5))
                with pytest.raises(TimeoutError):
                    await take(updates, 1.5)  # and nothing comes after the last state

        asyncio.run(run())
        assert mirror.kinds.count("rows") > 10 and "stale" not in mirror.kinds

    def test_a_slow_reader_is_told_the_sum(
        self, minio: MinIODataIntegration, writer: Writer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What waits for it is bounded, whatever happens meanwhile."""
        monkeypatch.setattr("stockdb.scale.following._WAITING", 3)
        mirror = Mirror()

        async def run() -> int:
            async with minio.watch("KO", poll_seconds=0.05, initial=True) as updates:
                mirror.apply(await started(updates))
                most = 0
                for close in range(60, 100):
                    writer.write("KO", {"2024-01-02": float(close)})
                    await asyncio.sleep(0.02)
                    most = max(most, len(updates._following._ready))
                while mirror.rows != {"KO": writer.rows["KO"]}:
                    mirror.apply(await take(updates))
                return most

        assert asyncio.run(run()) == 3
        assert len(mirror.kinds) < 20


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[tuple[EmbeddedServer, ClientFactory]]:
    with EmbeddedServer(tmp_path / "server") as server:
        for factory in _clients(server, tmp_path):
            yield server, factory


def test_an_outage_shows_before_it_is_asked_about(
    own_server: tuple[EmbeddedServer, ClientFactory],
) -> None:
    """The end of its notifications is news of the server, too."""
    server, factory = own_server
    s3 = admin_of(server)
    s3.make_bucket("stockdb")
    writer = Writer(s3, "stockdb")
    writer.write("KO", {"2024-01-02": 50.0})

    async def run() -> None:
        minio = factory("stockdb", max_attempts=2)
        async with minio.watch("KO", poll_seconds=NEVER, initial=True) as updates:
            await started(updates)
            writer.write("KO", {"2024-01-02": 51.0})
            await take(updates)
            server.kill()
            assert (await take(updates)).kind == "stale"

    asyncio.run(run())


def test_over_a_restart(own_server: tuple[EmbeddedServer, ClientFactory]) -> None:
    """Killed, it is told stale once; back again, recovered once, and what changed meanwhile."""
    server, factory = own_server
    s3 = admin_of(server)
    s3.make_bucket("stockdb")
    writer = Writer(s3, "stockdb")
    writer.write("KO", {"2024-01-02": 50.0})
    mirror = Mirror()
    minio = factory("stockdb", max_attempts=2)

    async def run() -> None:
        async with minio.watch("KO", poll_seconds=0.3, initial=True) as updates:
            mirror.apply(await started(updates))
            for round_ in range(2):
                server.kill()
                mirror.apply(await take(updates))
                assert mirror.kinds[-1] == "stale"
                await asyncio.sleep(1.0)  # looked at again, not told again
                await asyncio.to_thread(server.start)
                writer.write("KO", {"2024-01-02": 50.0, "2024-01-03": 60.0 + round_})
                while mirror.stale or mirror.rows["KO"] != writer.rows["KO"]:
                    mirror.apply(await take(updates, 20))
            with pytest.raises(TimeoutError):
                await take(updates, 1.0)

    asyncio.run(run())
    assert mirror.kinds == ["rows", *["stale", "recovered", "rows"] * 2]


class TestLeft:
    """However a watch is left, no task, thread or connection stays."""

    @pytest.fixture(autouse=True)
    def _as_before(self, minio: MinIODataIntegration) -> Iterator[None]:
        minio.get_historical_data("KO")
        before = open_sockets()
        yield
        assert settled(lambda: not listening())
        minio.close()
        assert settled(lambda: open_sockets() <= before), (open_sockets(), before)
        assert settled(
            lambda: not [t for t in threading.enumerate() if t.name.startswith("stockdb-async")]
        )

    def test_by_closing(self, minio: MinIODataIntegration) -> None:
        async def run() -> None:
            updates = minio.watch("KO", initial=True)
            await started(updates)
            await updates.aclose()
            assert not listening() and len(asyncio.all_tasks()) == 1
            with pytest.raises(StopAsyncIteration):
                await anext(updates)
            await updates.aclose()  # twice is fine

        asyncio.run(run())

    def test_by_a_break(self, minio: MinIODataIntegration) -> None:
        async def run() -> None:
            async for _ in minio.watch("KO", initial=True):
                break
            gc.collect()
            await asyncio.sleep(0.5)
            assert not listening() and len(asyncio.all_tasks()) == 1

        asyncio.run(run())

    def test_by_cancelling_the_reader(self, minio: MinIODataIntegration) -> None:
        async def read() -> None:
            async for _ in minio.watch("KO"):
                pass

        async def run() -> None:
            task = asyncio.create_task(read())
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            del task
            gc.collect()
            await asyncio.sleep(0.5)
            assert not listening() and len(asyncio.all_tasks()) == 1

        asyncio.run(run())

    def test_by_closing_the_client(self, minio: MinIODataIntegration) -> None:
        async def run() -> None:
            updates = minio.watch("KO", initial=True)
            await started(updates)
            waiting = asyncio.create_task(anext(updates, None))
            await asyncio.sleep(0.1)
            minio.close()
            assert await asyncio.wait_for(waiting, 5) is None  # it has come to its end
            assert settled(lambda: not listening())
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(run())

    def test_by_the_end_of_the_loop(self, minio: MinIODataIntegration) -> None:
        updates = minio.watch("KO", initial=True)
        asyncio.run(started(updates))
        assert settled(lambda: not listening())

    def test_one_that_never_began(self, minio: MinIODataIntegration) -> None:
        async def run() -> None:
            async with minio.watch("KO"):
                pass

        asyncio.run(run())
        minio.watch("KO")  # dropped outside of any loop
