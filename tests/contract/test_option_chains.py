"""Option chains through the front door, from a real S3 server: what a full scan by csv gives."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.core import chains, planner, ranges
from stockdb.core.kept import Kept
from stockdb.core.reader import Origin
from stockdb.errors import (
    DataError,
    ObjectChangedError,
    SymbolNotFoundError,
    UnavailableError,
)
from stockdb.settings import Dataset
from stockdb.settings.endpoint import Endpoint

HEADER = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility\n"
)
DAY = "2023-01-03"
KEY = f"options-complete/{DAY}options.csv"
SPECIAL = ("A", "AA", "AAP", "AAPL", "AAPL1", "BRK.B", "ZZZZ")
Client = Callable[..., MinIODataIntegration]


def lines_of(name: str, count: int, chance: random.Random, day: str = DAY) -> str:
    """Write an underlying's rows; contracts are distinct, bids random."""
    lines = []
    for i in range(count):
        kind, strike = ("call", "put")[i % 2], 10 + (i // 2) % 400
        expiry = dt.date(2023, 1, 20) + dt.timedelta(days=7 * (i // 800))
        bid = chance.randint(0, 20000) / 100
        contract = f"O:{name.replace('.', '')}{expiry:%y%m%d}{kind[0].upper()}{strike * 1000:08d}"
        volume = ("", "0", str(i))[i % 3]
        lines.append(
            f"{contract},{name},{expiry},{kind},{strike},A,{bid},13,{bid + 0.1:.2f},11,"
            f"{volume},{i},{day},,,,,\n"
        )
    return "".join(lines)


def generate(rows: int, underlyings: int, seed: int = 1) -> tuple[bytes, dict[str, int]]:
    """A sorted day, sizes heavy-tailed (Pareto), and how many rows each underlying has."""
    chance = random.Random(seed)
    names = set(SPECIAL)
    while len(names) < underlyings:
        names.add("".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=chance.randint(1, 4))))
    ordered = sorted(names, key=str.encode)
    weights = {name: chance.paretovariate(1.1) for name in ordered}
    share = rows / sum(weights.values())
    counts = {name: max(1, round(weight * share)) for name, weight in weights.items()}
    parts = [HEADER, *(lines_of(name, count, chance) for name, count in counts.items())]
    return "".join(parts).encode(), counts


def scan(data: bytes) -> dict[str, list[tuple[str, float, float]]]:
    """The full scan: contract, strike and bid of every row by underlying, by the csv module."""
    found = defaultdict(list)
    rows = csv.reader(io.StringIO(data.decode("ascii"), newline=""))
    next(rows)
    for row in rows:
        found[row[1]].append((row[0], float(row[4]), float(row[6])))
    return found


def listed(frame: pd.DataFrame) -> list[tuple[str, float, float]]:
    return list(frame[["contract", "strike", "bid"]].itertuples(index=False, name=None))


def origin_of(client: MinIODataIntegration, frame: pd.DataFrame) -> Origin:
    (origin,) = client.provenance(frame).origins
    return origin


@dataclass
class Day:
    """A generated day on the server."""

    bucket: str
    data: bytes
    counts: dict[str, int]
    rows: dict[str, list[tuple[str, float, float]]]

    def interesting(self) -> list[str]:
        """First, last, largest, smallest, prefixes, the adjusted root."""
        names = list(self.counts)
        largest = max(self.counts, key=lambda name: self.counts[name])
        smallest = min(self.counts, key=lambda name: self.counts[name])
        return list(dict.fromkeys([names[0], names[-1], largest, smallest, *SPECIAL]))


def put_day(make_bucket: Callable[..., str], rows: int, underlyings: int) -> Day:
    data, counts = generate(rows, underlyings)
    return Day(make_bucket({KEY: data}), data, counts, scan(data))


@pytest.fixture(scope="module")
def day(make_bucket: Callable[..., str]) -> Day:
    """Some 14 MB: large enough that it is searched."""
    return put_day(make_bucket, 160_000, 500)


@pytest.fixture
def client(client_factory: Client, day: Day) -> MinIODataIntegration:
    return client_factory(day.bucket)


def check_every_symbol(client: MinIODataIntegration, day: Day, bytes_share: float) -> None:
    for symbol in day.interesting():
        frame = client.get_option_chain(symbol, DAY)
        assert listed(frame) == day.rows[symbol], symbol
        origin = origin_of(client, frame)
        assert (origin.strategy, origin.grouping) == ("search", "assumed")
        own = sum(len(row[0]) + 90 for row in day.rows[symbol])
        assert origin.requests <= 40, symbol
        assert origin.received <= max(bytes_share * len(day.data), 1.2 * own), symbol
    with pytest.raises(SymbolNotFoundError) as caught:
        client.get_option_chain("AAQ", DAY)
    assert caught.value.suggestions  # the whole file was looked at


class TestSearch:
    def test_each_equals_a_full_scan(self, client: MinIODataIntegration, day: Day) -> None:
        check_every_symbol(client, day, 0.06)

    @pytest.mark.filterwarnings("ignore:.*is plain HTTP")
    def test_the_same_far_from_the_server(
        self, client_factory: Client, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where waiting is what costs, probes go out together."""
        monkeypatch.setattr(Endpoint, "loopback", False)
        monkeypatch.setattr(ranges, "_NEAR", 0.0)
        sent = []
        real = ranges.RangeReader.read_many

        def read_many(self: Any, spans: Any) -> Any:
            assert not self.near
            sent.append(len(spans))
            return real(self, spans)

        monkeypatch.setattr(ranges.RangeReader, "read_many", read_many)
        check_every_symbol(client_factory(day.bucket), day, 0.06)
        assert 4 in sent

    def test_near_the_server_they_go_one_by_one(
        self, client: MinIODataIntegration, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("threads cost more than they gain here")

        monkeypatch.setattr(ranges, "ThreadPoolExecutor", refuse)
        frame = client.get_option_chain("AAPL", DAY)
        assert listed(frame) == day.rows["AAPL"]
        assert origin_of(client, frame).requests <= 12

    def test_a_dates_own_file_is_asked_for_without_listing(
        self, client: MinIODataIntegration, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: Any, **__: Any) -> None:
            raise AssertionError("a listing")

        monkeypatch.setattr("stockdb.core.store.ObjectStore.listing", never)
        assert len(client.get_option_chain("AAPL", DAY))

    @pytest.mark.slow
    @pytest.mark.timeout(300)
    def test_the_same_on_a_full_day(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        full = put_day(make_bucket, 1_600_000, 5_000)
        assert len(full.data) > 100e6
        check_every_symbol(client_factory(full.bucket), full, 0.015)

    def test_a_setting_asks_for_proof(self, client_factory: Client, day: Day) -> None:
        def ways(verify: bool | None, **setting: bool) -> list[str]:
            """Each call from a client that knows nothing of the file."""
            one, two, three = (client_factory(day.bucket, **setting) for _ in range(3))
            planned = one.explain("get_option_chain", "AAPL", DAY, verify=verify)
            chain = two.get_option_chain("AAPL", DAY, verify=verify)
            days = three.get_options_data("AAPL", DAY, DAY, verify=verify)
            return [
                planned["strategy"].iloc[0],
                origin_of(two, chain).strategy,
                origin_of(three, days).strategy,
            ]

        assert ways(None) == ["search"] * 3
        assert ways(None, verify_order=True) == ["scan"] * 3
        assert ways(False, verify_order=True) == ["search"] * 3
        assert ways(True) == ["scan"] * 3

    def test_either_spelling_of_a_share_class(self, client: MinIODataIntegration, day: Day) -> None:
        frame = client.get_option_chain("BRK-B", DAY)
        assert listed(frame) == day.rows["BRK.B"]
        assert origin_of(client, frame).strategy == "search"
        assert set(frame["symbol"]) == {"BRK-B"}  # as asked for

    def test_both_spellings_in_one_file_are_two_underlyings(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        chance = random.Random(1)
        data = HEADER + lines_of("BRK-B", 3, chance) + lines_of("BRK.B", 2, chance)
        client = client_factory(make_bucket({KEY: data.encode()}))
        for verify in (False, True):
            assert len(client.get_option_chain("BRK.B", DAY, verify=verify)) == 2
            assert len(client.get_option_chain("BRK-B", DAY, verify=verify)) == 3

    def test_a_small_file_is_read_whole(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        data = HEADER + lines_of("A", 30, random.Random(1))
        client = client_factory(make_bucket({KEY: data.encode()}))
        frame = client.get_option_chain("A", DAY)
        origin = origin_of(client, frame)
        assert (len(frame), origin.strategy, origin.grouping) == (30, "scan", "proved")
        assert client.explain("get_option_chain", "B", DAY)["strategy"].tolist() == ["scan"]

    def test_an_empty_file_and_a_bare_header(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        client = client_factory(make_bucket({KEY: b""}))
        with pytest.raises(DataError, match="empty"):
            client.get_option_chain("A", DAY)
        client = client_factory(make_bucket({KEY: HEADER.encode()}))
        with pytest.raises(SymbolNotFoundError):
            client.get_option_chain("A", DAY)


class TestKept:
    def test_what_one_full_read_teaches(self, client_factory: Client, day: Day) -> None:
        first = client_factory(day.bucket)
        planned = first.explain("get_option_chain", "AAPL", DAY, verify=True)
        frame = first.get_option_chain("AAPL", DAY, verify=True)
        origin = origin_of(first, frame)
        assert planned["strategy"].tolist() == [origin.strategy] == ["scan"]
        assert origin.grouping == "proved"
        assert origin.received <= planned["bytes"].iloc[0] * 1.01
        assert origin.requests <= planned["requests"].iloc[0]
        # Another symbol, another client on the same folder: the index and the columns are there.
        second = client_factory(day.bucket, cache_dir=first.settings.cache.cache_dir)
        for client in (first, second):
            for symbol in ("A", "ZZZZ") if client is first else ("AA", "AAPL1"):
                planned = client.explain("get_option_chain", symbol, DAY)
                frame = client.get_option_chain(symbol, DAY)
                origin = origin_of(client, frame)
                assert listed(frame) == day.rows[symbol]
                assert (origin.strategy, origin.grouping) == ("twin", "proved")
                assert planned["strategy"].iloc[0] == "twin"
                assert origin.requests == planned["requests"].iloc[0] == 1
            with pytest.raises(SymbolNotFoundError):
                client.get_option_chain("AAQ", DAY)

    def test_without_the_columns_the_index_answers(
        self, client: MinIODataIntegration, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.get_option_chain("AAPL", DAY, verify=True)
        monkeypatch.setattr(Kept, "holds", lambda *_: False)  # all evicted
        for symbol in day.interesting()[:4]:
            planned = client.explain("get_option_chain", symbol, DAY, verify=True)
            frame = client.get_option_chain(symbol, DAY, verify=True) if symbol != "AAPL" else None
            if frame is not None:
                origin = origin_of(client, frame)
                assert listed(frame) == day.rows[symbol]
                assert (origin.strategy, origin.grouping) == ("index", "proved")
                assert planned["strategy"].iloc[0] == "index"
                assert origin.received == planned["bytes"].iloc[0]
                assert origin.requests == planned["requests"].iloc[0] == 2

    def test_columns_evicted_after_they_were_seen(
        self, client: MinIODataIntegration, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.get_option_chain("AAPL", DAY, verify=True)
        monkeypatch.setattr(Kept, "shard", lambda *_: None)
        largest = max(day.counts, key=lambda name: day.counts[name])
        frame = client.get_option_chain(largest, DAY)
        assert listed(frame) == day.rows[largest]
        assert origin_of(client, frame).strategy == "index"

    def test_what_was_assumed_is_proved_by_a_later_full_read(
        self, client: MinIODataIntegration, day: Day
    ) -> None:
        assert client.get_option_chain("AAPL", DAY).attrs["stockdb"]["grouping"] == "assumed"
        client.get_option_chain("A", DAY, verify=True)
        frame = client.get_option_chain("AAPL", DAY)
        assert frame.attrs["stockdb"]["grouping"] == "proved"
        assert listed(frame) == day.rows["AAPL"]

    def test_a_replaced_object_is_never_read_by_its_old_index(
        self, make_bucket: Callable[..., str], client_factory: Client, s3: Minio
    ) -> None:
        old, counts = generate(8_000, 40, seed=1)
        new, _ = generate(8_000, 40, seed=2)
        bucket = make_bucket({KEY: old})
        client = client_factory(bucket)
        client.get_option_chain("AAPL", DAY, verify=True)
        s3.put_object(bucket, KEY, io.BytesIO(new), len(new))
        for symbol in ("AAPL", "A", "ZZZZ"):
            frame = client.get_option_chain(symbol, DAY, max_age=0)
            assert listed(frame) == scan(new)[symbol] != scan(old)[symbol]
        gone = next(name for name in counts if name not in scan(new))
        with pytest.raises(SymbolNotFoundError):
            client.get_option_chain(gone, DAY, max_age=0)

    def test_a_bad_line_is_not_forgotten_by_what_is_kept(
        self, make_bucket: Callable[..., str], client_factory: Client
    ) -> None:
        chance = random.Random(1)
        lines = lines_of("AAPL", 9, chance).splitlines(keepends=True)
        lines[4] = lines[4].replace(",call,", ",cal,").replace(",put,", ",pu,")
        data = HEADER + lines_of("A", 5, chance) + "".join(lines) + lines_of("B", 5, chance)
        bucket = make_bucket({KEY: data.encode()})
        client = client_factory(bucket)
        assert len(client.get_option_chain("A", DAY)) == 5  # another's bad line is not its own
        for verify in (False, True, False):
            with pytest.raises(DataError) as caught:
                client.get_option_chain("AAPL", DAY, verify=verify)
            assert caught.value.line == 1 + 5 + 5
        lenient = client_factory(
            bucket, cache_dir=client.settings.cache.cache_dir, on_bad_rows="quarantine"
        )
        for symbol, rows, bad in (("AAPL", 8, 1), ("B", 5, 0)):
            frame = lenient.get_option_chain(symbol, DAY)
            assert (len(frame), len(origin_of(lenient, frame).bad_rows)) == (rows, bad)


@pytest.fixture(scope="module")
def small() -> tuple[bytes, dict[str, list[tuple[str, float, float]]]]:
    """Some 5 MB: several blocks."""
    data, _ = generate(60_000, 60)
    return data, scan(data)


class TestFormats:
    def check(self, client: MinIODataIntegration, rows: dict[str, Any]) -> None:
        for symbol in SPECIAL:
            frame = client.get_option_chain(symbol, DAY)
            assert listed(frame) == rows[symbol]
            origin = origin_of(client, frame)
            expected = "scan" if symbol == SPECIAL[0] else "twin"
            assert (origin.strategy, origin.grouping) == (expected, "proved")
        with pytest.raises(SymbolNotFoundError):
            client.get_option_chain("AAQ", DAY)

    @pytest.mark.parametrize("streams", [1, 3])
    def test_gzip_also_of_several_streams(
        self, make_bucket: Callable[..., str], client_factory: Client, small: Any, streams: int
    ) -> None:
        data, rows = small
        step = -(-len(data) // streams)
        packed = b"".join(gzip.compress(data[i : i + step], 1) for i in range(0, len(data), step))
        template = "options-complete/{YYYY-MM-DD}options.csv.gz"
        datasets = {"options": Dataset(key=template, kind="options", order="underlying")}
        bucket = make_bucket({KEY + ".gz": packed})
        self.check(client_factory(bucket, datasets=datasets), rows)
        # The ending does not tell: the magic number does.
        self.check(client_factory(make_bucket({KEY: packed})), rows)

    def test_parquet(
        self, make_bucket: Callable[..., str], client_factory: Client, small: Any
    ) -> None:
        data, rows = small
        sink = io.BytesIO()
        frame = pd.read_csv(io.BytesIO(data), keep_default_na=False, na_values=[""])
        frame["expiration"] = pd.to_datetime(frame["expiration"]).dt.date
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink)
        template = "options-complete/{YYYY-MM-DD}options.parquet"
        datasets = {"options": Dataset(key=template, kind="options", order="underlying")}
        bucket = make_bucket({KEY.replace(".csv", ".parquet"): sink.getvalue()})
        self.check(client_factory(bucket, datasets=datasets), rows)


class TestSelect:
    @pytest.fixture
    def far(self, client_factory: Client, day: Day, monkeypatch: pytest.MonkeyPatch) -> Any:
        """A client on so slow a line that the server had better filter."""
        monkeypatch.setattr(chains, "_LOOPBACK_BANDWIDTH", 1.0)
        return client_factory(day.bucket)

    def test_it_equals_the_scan(self, far: MinIODataIntegration, day: Day) -> None:
        for symbol in day.interesting():
            planned = far.explain("get_option_chain", symbol, DAY, verify=True)
            assert planned["strategy"].tolist() == ["select", "scan"]
            frame = far.get_option_chain(symbol, DAY, verify=True)
            assert listed(frame) == day.rows[symbol]
            origin = origin_of(far, frame)
            assert (origin.strategy, origin.grouping) == ("select", "scanned by the server")
            assert origin.received < max(0.05 * len(day.data), 1.2e5 + 100 * len(frame))
        with pytest.raises(SymbolNotFoundError) as caught:
            far.get_option_chain("AAQ", DAY, verify=True)
        assert caught.value.suggestions  # not from the server's silence: from a full read

    def test_a_server_without_it(
        self, far: MinIODataIntegration, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> bytes:
            raise UnavailableError("NotImplemented", retryable=False)

        monkeypatch.setattr("stockdb.core.store.ObjectStore.select", refuse)
        frame = far.get_option_chain("AAPL", DAY, verify=True)
        assert listed(frame) == day.rows["AAPL"]
        assert origin_of(far, frame).strategy == "scan"
        planned = far.explain("get_option_chain", "A", DAY, verify=True)
        assert "select" not in planned["strategy"].tolist()  # not asked again

    def test_rows_that_were_not_asked_for_are_not_believed(
        self, far: MinIODataIntegration, day: Day, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = far._access.store.select

        def lenient(key: str, column: str, value: str, **more: Any) -> bytes:
            return real(key, column, value, **more) + real(key, column, "AAP", **more)

        monkeypatch.setattr(far._access.store, "select", lenient)
        frame = far.get_option_chain("AAPL", DAY, verify=True)
        assert listed(frame) == day.rows["AAPL"]
        assert origin_of(far, frame).strategy == "scan"

    def test_replaced_while_the_server_filtered(
        self,
        make_bucket: Callable[..., str],
        client_factory: Client,
        s3: Minio,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(chains, "_LOOPBACK_BANDWIDTH", 1.0)
        monkeypatch.setattr(planner, "SMALL", 0)
        versions = [generate(4_000, 20, seed)[0] for seed in (1, 2, 3)]
        bucket = make_bucket({KEY: versions[0]})
        client = client_factory(bucket)
        real, calls = client._access.store.select, []

        def replaced(*args: Any, **kwargs: Any) -> bytes:
            calls.append(1)
            new = versions[len(calls) % 3]
            s3.put_object(bucket, KEY, io.BytesIO(new), len(new))
            return real(*args, **kwargs)

        monkeypatch.setattr(client._access.store, "select", replaced)
        with pytest.raises(ObjectChangedError):
            client.get_option_chain("AAPL", DAY, verify=True)
        assert len(calls) == 2


def test_a_day_read_in_full_takes_little_room(client_factory: Client, day: Day) -> None:
    """Columns are kept compressed: a fraction of the file."""
    client = client_factory(day.bucket)
    client.get_option_chain("AAPL", DAY, verify=True)
    assert client.get_cache_stats()["bytes"] < 0.35 * len(day.data)
