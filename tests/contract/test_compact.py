"""Shared twins: what they hold, when they are used, and what writing them does and leaves alone."""

from __future__ import annotations

import gzip
import io
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.core import twins, twinstore
from stockdb.core.kept import Kept
from stockdb.errors import ConfigurationError, DataError, SymbolNotFoundError
from stockdb.settings import Dataset
from tests.contract.test_archived_days import zipped
from tests.contract.test_option_chains import (
    DAY,
    HEADER,
    KEY,
    generate,
    lines_of,
    listed,
    origin_of,
    scan,
)

Client = Callable[..., MinIODataIntegration]
TWIN = f"twins/{KEY}.twin.parquet"
PLACE = {"twin_prefix": "twins/"}


def keys_in(s3: Minio, bucket: str) -> dict[str, str]:
    return {str(o.object_name): str(o.etag) for o in s3.list_objects(bucket, recursive=True)}


def body_of(s3: Minio, bucket: str, key: str) -> bytes:
    answer = s3.get_object(bucket, key)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


@pytest.fixture(scope="module")
def day() -> tuple[bytes, dict[str, list[tuple[str, float, float]]]]:
    """Some 7 MB with 200 underlyings: several row groups."""
    data, _ = generate(80_000, 200)
    return data, scan(data)


@pytest.fixture(scope="module")
def bucket(make_bucket: Callable[..., str], module_clients: Client, day: Any) -> str:
    """That day, compacted."""
    name = make_bucket({KEY: day[0]})
    done = module_clients(name, **PLACE).compact_options()
    assert done["state"].tolist() == ["written"]
    return name


class TestContents:
    def test_every_chain_equals_its_file(
        self, client_factory: Client, bucket: str, day: Any
    ) -> None:
        client = client_factory(bucket, **PLACE)
        plain = client_factory(bucket)
        for symbol, rows in day[1].items():
            frame = client.get_option_chain(symbol, DAY)
            assert listed(frame) == rows
            origin = origin_of(client, frame)
            assert (origin.strategy, origin.grouping) == ("shared_twin", "proved")
            assert origin.key == KEY
        for symbol in ("A", "AAPL", "ZZZZ"):  # every column, every type
            pd.testing.assert_frame_equal(
                client.get_option_chain(symbol, DAY), plain.get_option_chain(symbol, DAY)
            )

    def test_one_underlying_costs_little(
        self, client_factory: Client, bucket: str, day: Any
    ) -> None:
        client = client_factory(bucket, **PLACE)
        planned = client.explain("get_option_chain", "AAPL", DAY)
        assert planned["strategy"].tolist() == ["shared_twin", "search", "scan"]
        frame = client.get_option_chain("AAPL", DAY)
        origin = origin_of(client, frame)
        assert origin.requests <= planned["requests"].iloc[0] == 4
        assert origin.received <= planned["bytes"].iloc[0]
        # The head of the file, the twin's footer and one row group.
        assert origin.received <= 64 * 1024 + 128 * 1024 + 500_000

    def test_absence_is_known(self, client_factory: Client, bucket: str) -> None:
        client = client_factory(bucket, **PLACE)
        with pytest.raises(SymbolNotFoundError) as caught:
            client.get_option_chain("AAPLE", DAY)
        assert "AAPL" in caught.value.suggestions
        assert client.get_cache_stats()["entries"] == 0  # nothing was scanned
        planned = client.explain("get_option_chain", "AAPLE", DAY)
        assert planned["strategy"].iloc[0] == "shared_twin"

    def test_it_is_plain_parquet_sorted_by_underlying(
        self, s3: Minio, bucket: str, day: Any
    ) -> None:
        table = pq.read_table(io.BytesIO(body_of(s3, bucket, TWIN)))
        names = table["underlying"].to_pylist()
        assert names == sorted(names) and set(names) == set(day[1])
        assert table.num_rows == sum(map(len, day[1].values()))
        assert table.schema.field("expiration").type == pa.date32()

    @pytest.mark.parametrize("disorder", ["shuffled", "groups", "crlf", "quoted"])
    def test_whatever_the_file_looks_like(
        self,
        make_bucket: Callable[..., str],
        client_factory: Client,
        monkeypatch: pytest.MonkeyPatch,
        s3: Minio,
        disorder: str,
    ) -> None:
        monkeypatch.setattr(twins, "SORT_ROWS", 900)
        monkeypatch.setattr(twins, "GROUP_ROWS", 200)
        data, counts = generate(9_000, 30)
        chance = random.Random(4)
        lines = data.decode().splitlines(keepends=True)[1:]
        if disorder == "shuffled":
            chance.shuffle(lines)
        if disorder == "groups":
            order = chance.sample(list(counts), len(counts))
            lines.sort(key=lambda line: order.index(line.split(",")[1]))
        if disorder == "crlf":
            lines = [line.replace("\n", "\r\n") for line in lines]
        if disorder == "quoted":
            lines = [line.replace(",A,", ',"A",', 1) for line in lines]
        text = HEADER + "".join(lines)
        bucket = make_bucket({KEY: text.encode()})
        client = client_factory(bucket, **PLACE)
        assert client.compact_options()["rows"].tolist() == [len(lines)]
        names = pq.read_table(io.BytesIO(body_of(s3, bucket, TWIN)))["underlying"].to_pylist()
        assert names == sorted(names) and len(names) == len(lines)
        for symbol, rows in scan(text.encode()).items():
            frame = client.get_option_chain(symbol, DAY)
            assert (listed(frame), origin_of(client, frame).strategy) == (rows, "shared_twin")

    def test_days_in_archives_and_packed_ones(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        text = (HEADER + lines_of("A", 9, random.Random(1), "2008-12-31")).encode()
        template = "packed/{YYYY-MM-DD}options.csv.gz"
        more = {"packed": Dataset(key=template, kind="options", order="underlying")}
        client = client_factory(
            make_bucket(
                {
                    "2008.zip": zipped({"2008/2008-12-31options.csv": text}),
                    f"packed/{DAY}options.csv.gz": gzip.compress(
                        text.replace(b"2008-12-31", b"2023-01-03")
                    ),
                }
            ),
            datasets={**client_factory().settings.datasets, **more},
            **PLACE,
        )
        done = client.compact_options()
        assert done["state"].tolist() == ["written", "written"], done["reason"].tolist()
        assert done["twin"].iloc[0] == "twins/2008.zip/2008-12-31options.csv.twin.parquet"
        for date in ("2008-12-31", DAY):
            frame = client.get_option_chain("A", date)
            assert listed(frame) == scan(text)["A"]
            assert origin_of(client, frame).strategy == "shared_twin"

    def test_a_bad_line_is_not_forgotten(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        """One of an underlying with other rows, and one that is all there is of another."""
        chance = random.Random(1)
        torn = "O:B230120C00010000,B,torn\nO:C230120C00010000,C,torn\n"
        rows = lines_of("A", 5, chance) + torn + lines_of("C", 5, chance)
        bucket = make_bucket({KEY: (HEADER + rows).encode()})
        client = client_factory(bucket, **PLACE)
        client.compact_options()
        assert len(client.get_option_chain("A", DAY)) == 5
        for symbol, line in (("B", 7), ("C", 8)):
            with pytest.raises(DataError) as caught:
                client.get_option_chain(symbol, DAY)
            assert caught.value.line == line
        lenient = client_factory(bucket, on_bad_rows="quarantine", **PLACE)
        frame = lenient.get_option_chain("C", DAY)
        origin = origin_of(lenient, frame)
        assert (len(frame), origin.strategy, [row[0] for row in origin.bad_rows]) == (
            5, "shared_twin", [8],
        )  # fmt: skip


class TestWhenItCounts:
    def test_only_while_the_source_stands(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        (old, _), (new, _) = generate(8_000, 40, seed=1), generate(8_000, 40, seed=2)
        bucket = make_bucket({KEY: old})
        writer = client_factory(bucket, **PLACE)
        writer.compact_options()
        s3.put_object(bucket, KEY, io.BytesIO(new), len(new))
        for symbol in ("A", "AAPL", "ZZZZ"):
            client = client_factory(bucket, **PLACE)
            frame = client.get_option_chain(symbol, DAY)
            assert listed(frame) == scan(new)[symbol]
            assert origin_of(client, frame).strategy != "shared_twin"
        assert writer.compact_options(dry_run=True)["state"].tolist() == ["to write"]
        assert writer.compact_options()["state"].tolist() == ["written"]
        frame = client_factory(bucket, **PLACE).get_option_chain("AAPL", DAY)
        assert listed(frame) == scan(new)["AAPL"]

    def test_a_twin_of_another_file_or_way_of_reading_is_not_used(
        self, client_factory: Client, bucket: str, s3: Minio, day: Any
    ) -> None:
        twin = body_of(s3, bucket, TWIN)
        other = KEY.replace(DAY, "2023-01-04")
        s3.put_object(bucket, other, io.BytesIO(day[0]), len(day[0]))  # the same ETag even
        s3.put_object(bucket, f"twins/{other}.twin.parquet", io.BytesIO(twin), len(twin))
        client = client_factory(bucket, **PLACE)
        frame = client.get_option_chain("A", "2023-01-04")
        assert origin_of(client, frame).strategy == "search"
        s3.remove_object(bucket, other)
        dataset = client.settings.datasets["options"]
        renamed = dataset.model_copy(update={"columns": {"bid_size": "ask_size"}})
        client = client_factory(bucket, datasets={"options": renamed}, **PLACE)
        assert client._access.chains.twins.stands(
            client._access.chains.place(None), day_etag(s3, bucket)
        ) is None  # fmt: skip

    @pytest.mark.parametrize("damage", ["empty", "cut", "page", "note", "foreign"])
    def test_a_damaged_one_costs_time_never_rows(
        self,
        make_bucket: Callable[..., str],
        client_factory: Client,
        s3: Minio,
        bucket: str,
        day: Any,
        damage: str,
    ) -> None:
        twin = bytearray(body_of(s3, bucket, TWIN))
        if damage == "page":
            twin[4:200_000:50] = bytes(255 - byte for byte in twin[4:200_000:50])
        if damage == "note":
            at = bytes(twin).rindex(b"stockdb") + 30
            twin[at] ^= 1
        broken = {"empty": b"", "cut": bytes(twin[:-9]), "foreign": b"<html>" * 99}
        data = broken.get(damage, bytes(twin))
        name = make_bucket({KEY: day[0], TWIN: data})
        client = client_factory(name, **PLACE)
        frame = client.get_option_chain("A", DAY)
        assert listed(frame) == day[1]["A"]
        assert origin_of(client, frame).strategy == "search"

    def test_a_bucket_of_twins_that_cannot_be_read_is_told_and_passed_over(
        self, client_factory: Client, bucket: str, day: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = client_factory(bucket, twin_bucket="no-such-bucket-at-all")
        with caplog.at_level(logging.DEBUG, "stockdb.chains"):
            frame = client.get_option_chain("A", DAY)
        assert listed(frame) == day[1]["A"]
        assert "no-such-bucket-at-all" in caplog.text or "no twin" in caplog.text

    def test_without_a_place_nothing_is_asked(
        self, client_factory: Client, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: Any) -> None:
            raise AssertionError

        monkeypatch.setattr(twinstore, "open_twin", never)
        client = client_factory(bucket)
        assert origin_of(client, client.get_option_chain("A", DAY)).strategy == "search"
        with pytest.raises(ConfigurationError, match="No place"):
            client.compact_options()

    def test_what_was_read_in_full_here_is_nearer_still(
        self, client_factory: Client, bucket: str
    ) -> None:
        local = client_factory(bucket)
        local.get_option_chain("A", DAY, verify=True)
        client = client_factory(bucket, cache_dir=local.settings.cache.cache_dir, **PLACE)
        assert origin_of(client, client.get_option_chain("AA", DAY)).strategy == "twin"


def day_etag(s3: Minio, bucket: str) -> str:
    return str(s3.stat_object(bucket, KEY).etag)


class TestWriting:
    DAYS = ("2023-01-03", "2023-01-04", "2023-01-05")

    def objects(self) -> dict[str, bytes]:
        return {
            f"options-complete/{day}options.csv": (
                HEADER + lines_of("A", 9, random.Random(day), day)
            ).encode()
            for day in self.DAYS
        }

    def test_a_dry_run_writes_nothing(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        objects = self.objects()
        bucket = make_bucket(objects)
        before = keys_in(s3, bucket)
        done = client_factory(bucket, **PLACE).compact_options(dry_run=True)
        assert done["state"].tolist() == ["to write"] * 3
        assert done["source_bytes"].tolist() == [len(data) for data in objects.values()]
        assert keys_in(s3, bucket) == before
        apart = client_factory(bucket, twin_bucket=bucket + "-twins")
        apart.compact_options(dry_run=True)
        assert not s3.bucket_exists(bucket + "-twins")

    def test_again_writes_nothing_and_originals_stay(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        objects = self.objects()
        bucket = make_bucket(objects)
        originals = keys_in(s3, bucket)
        client = client_factory(bucket, **PLACE)
        seen: list[str] = []
        done = client.compact_options(on_day=lambda day: seen.append(day.state))
        assert seen == done["state"].tolist() == ["written"] * 3
        first = keys_in(s3, bucket)
        assert {key: first[key] for key in originals} == originals
        assert first.keys() - originals.keys() == {f"twins/{key}.twin.parquet" for key in originals}
        written = {o.object_name: o.last_modified for o in s3.list_objects(bucket, "twins/", True)}
        again = client_factory(bucket, **PLACE).compact_options()
        assert again["state"].tolist() == ["current"] * 3
        assert again["twin_bytes"].tolist() == done["twin_bytes"].tolist()
        later = {o.object_name: o.last_modified for o in s3.list_objects(bucket, "twins/", True)}
        assert later == written
        # Twins are no days of their own.
        assert len(client.list_option_dates()) == 3

    def test_a_run_broken_off_goes_on_where_it_was(
        self,
        make_bucket: Callable[..., str],
        client_factory: Client,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        bucket = make_bucket(self.objects())
        client = client_factory(bucket, **PLACE)

        def stop(day: Any) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            client.compact_options(on_day=stop)
        done = client_factory(bucket, **PLACE).compact_options()
        assert done["state"].tolist() == ["current", "written", "written"]

    def test_a_range(self, make_bucket: Callable[..., str], client_factory: Client) -> None:
        client = client_factory(make_bucket(self.objects()), **PLACE)
        done = client.compact_options(self.DAYS[1], self.DAYS[1])
        assert [str(day)[:10] for day in done["date"]] == [self.DAYS[1]]
        assert client.compact_options("2024-01-01").empty

    def test_one_bad_day_does_not_end_it(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        objects = self.objects()
        keys = list(objects)
        objects[keys[0]] = b"<html>502 Bad Gateway</html>\n"
        bad = "".join(f"O:A230120C{n:08d},A,torn\n" for n in range(1_001))
        objects[keys[1]] = (HEADER + lines_of("A", 2_000, random.Random(1)) + bad).encode()
        objects["2008.zip"] = b"PK\3\4 and no end"
        bucket = make_bucket(objects)
        done = client_factory(bucket, **PLACE).compact_options()
        assert done["state"].tolist() == ["failed", "failed", "failed", "written"]
        assert done["key"].tolist() == ["2008.zip", *keys]
        assert all(done["reason"].iloc[:3]) and "1,000" in done["reason"].iloc[2]
        assert f"twins/{keys[1]}.twin.parquet" not in keys_in(s3, bucket)

    def test_replaced_after_it_was_listed(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        """What is read is what the twin is of."""
        objects = self.objects()
        bucket = make_bucket(objects)
        second = list(objects)[1]
        new = (HEADER + lines_of("A", 4, random.Random(1), self.DAYS[1])).encode()

        def replace(day: Any) -> None:
            if day.key != second:
                s3.put_object(bucket, second, io.BytesIO(new), len(new))

        client = client_factory(bucket, **PLACE)
        done = client.compact_options(on_day=replace)
        assert done["state"].tolist() == ["written"] * 3
        assert done["rows"].tolist() == [9, 4, 9]
        other = client_factory(bucket, **PLACE)
        frame = other.get_option_chain("A", self.DAYS[1])
        assert listed(frame) == scan(new)["A"]
        assert origin_of(other, frame).strategy == "shared_twin"

    def test_replaced_while_it_was_compacted(
        self,
        make_bucket: Callable[..., str],
        client_factory: Client,
        monkeypatch: pytest.MonkeyPatch,
        s3: Minio,
    ) -> None:
        """The twin of the old version is written last: nobody takes it for the new one's."""
        old, new = (HEADER + lines_of("A", n, random.Random(n)) for n in (5, 6))
        bucket = make_bucket({KEY: old.encode()})
        real = twinstore.TwinStore.write

        def write(self: Any, place: Any, etag: str, path: Path) -> int:
            s3.put_object(bucket, KEY, io.BytesIO(new.encode()), len(new))
            return real(self, place, etag, path)

        monkeypatch.setattr(twinstore.TwinStore, "write", write)
        client_factory(bucket, **PLACE).compact_options()
        assert len(client_factory(bucket, **PLACE).get_option_chain("A", DAY)) == 6

    def test_never_among_the_originals(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        bucket = make_bucket(self.objects())
        with pytest.raises(ConfigurationError, match="among the files"):
            client_factory(bucket, twin_prefix="")
        with pytest.raises(ConfigurationError, match="among the files"):
            client_factory(bucket, twin_bucket=bucket)
        greedy = Dataset(key="x/{SYMBOL}.twin.parquet", kind="bars")
        options = client_factory().settings.datasets["options"].model_copy(
            update={"key": "{YYYY-MM-DD}options.csv"}
        )  # fmt: skip
        data = s3.get_object(bucket, f"options-complete/{DAY}options.csv").data
        s3.put_object(bucket, f"{DAY}options.csv", io.BytesIO(data), len(data))
        client = client_factory(
            bucket, twin_prefix="x/", datasets={"options": options, "greedy": greedy}
        )
        before = keys_in(s3, bucket)
        with pytest.raises(ConfigurationError, match="'greedy'"):
            client.compact_options()
        assert keys_in(s3, bucket) == before

    def test_a_bucket_of_its_own(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        bucket = make_bucket(self.objects())
        place = {"twin_bucket": f"{bucket}-twins"}
        client = client_factory(bucket, **place)
        assert client.compact_options()["state"].tolist() == ["written"] * 3
        assert set(keys_in(s3, f"{bucket}-twins")) == {
            f"options-complete/{day}options.csv.twin.parquet" for day in self.DAYS
        }
        assert not any("twin" in key for key in keys_in(s3, bucket))
        frame = client.get_option_chain("A", DAY)
        assert origin_of(client, frame).strategy == "shared_twin"

    def test_nothing_is_left_in_the_local_cache(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        client = client_factory(make_bucket(self.objects()), **PLACE)
        client.compact_options()
        kept = Kept(client._access.cache, client._access.store.identity)
        place = client._access.chains.place(None)
        from stockdb.core.kept import Version

        assert kept.index(Version(place.key, place.etag, place.dataset)) is None
