"""A user's own files into the bucket, and what keeps others out of it."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.demo.server import EmbeddedServer
from stockdb.errors import ConfigurationError, DataError, NotFoundError, ObjectChangedError
from tests.conftest import ClientFactory, _clients, admin_of
from tests.contract import servers

BARS = "Date,Open,High,Low,Close,Volume\n2024-01-02,10,12,9,11,100\n2024-01-03,11,13,10,12,200\n"
FLOATS = dict.fromkeys(["Open", "High", "Low", "Close", "Volume"], "float64")
OF_ANOTHER = BARS.replace("Volume", "Volume,Ticker").replace("00\n", "00,AAPL\n")
HEAD = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility\n"
)


def option(underlying: str, strike: int, day: str = "2024-01-03") -> str:
    return (
        f"O:{underlying}240119C{strike * 1000:08d},{underlying},2024-01-19,call,{strike},A,1.5,1,"
        f"1.75,1,,7,{day},,,,,0.25\n"
    )


class World:
    """A bucket, its files on this machine, and what was made of them."""

    def __init__(self, minio: MinIODataIntegration, s3: Minio, bucket: str, folder: Path) -> None:
        self.minio, self.s3, self.bucket, self.folder = minio, s3, bucket, folder
        folder.mkdir()

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def held(self, key: str) -> bytes:
        answer = self.s3.get_object(self.bucket, key)
        try:
            return bytes(answer.data)
        finally:
            answer.close()

    def keys(self) -> list[str | None]:
        found = self.s3.list_objects(self.bucket, recursive=True)
        return [one.object_name for one in found]

    def one(self, path: Path, **options: Any) -> Any:
        (row,) = self.minio.ingest(path, **options).itertuples()
        return row


@pytest.fixture
def world(
    make_bucket: Callable[..., str], client_factory: ClientFactory, s3: Minio, tmp_path: Path
) -> World:
    bucket = make_bucket()
    return World(client_factory(bucket), s3, bucket, tmp_path / "mine")


class TestWritten:
    def test_bars_as_they_are(self, world: World) -> None:
        row = world.one(world.file("kopin.csv", BARS))
        assert (row.state, row.dataset, row.symbol, row.rows) == ("written", "stocks", "KOPIN", 2)
        assert row.key == "stocks-2010-2025/KOPIN.csv"
        assert world.held(row.key) == BARS.encode()
        frame = world.minio.get_historical_data("KOPIN")
        assert frame["close"].tolist() == [11.0, 12.0]
        assert str(frame.index[0].date()) == "2024-01-02"

    @pytest.mark.parametrize("ending", [".parquet", ".csv.gz"])
    def test_bars_of_another_format_become_the_layouts(self, world: World, ending: str) -> None:
        frame = pd.read_csv(io.StringIO(BARS), parse_dates=["Date"], dtype=FLOATS)
        frame.loc[1, "Volume"] = float("nan")
        frame.loc[0, "Close"] = 0.1 + 0.2  # every digit of it
        frame.loc[0, "Low"] = 0.3
        path = world.file(f"KO{ending}", b"")
        if ending == ".parquet":
            frame.to_parquet(path)
        else:
            path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
        assert world.one(path, accept_findings=True).state == "written"
        held = pd.read_csv(io.BytesIO(world.held("stocks-2010-2025/KO.csv")))
        assert held["close"].tolist() == [0.1 + 0.2, 12.0] and held["volume"].isna().sum() == 1
        assert held["date"].tolist() == ["2024-01-02", "2024-01-03"]
        read = world.minio.get_historical_data("KO", validate=False)
        assert read["close"].iloc[0] == 0.1 + 0.2 and read["volume"].isna().tolist() == [
            False,
            True,
        ]

    def test_a_day_of_options_in_the_order_that_its_dataset_declares(self, world: World) -> None:
        rows = [option("MSFT", 400), option("AAPL", 190), option("AAPL", 185)]
        row = world.one(world.file("2024-01-03options.csv", HEAD + "".join(rows)))
        assert (row.state, row.key) == ("written", "options-complete/2024-01-03options.csv")
        held = pd.read_csv(io.BytesIO(world.held(row.key)))
        assert held["underlying"].tolist() == ["AAPL", "AAPL", "MSFT"]
        assert held["strike"].tolist() == [190, 185, 400]  # otherwise as it was
        assert held["implied_volatility"].tolist() == [0.25] * 3
        chain = world.minio.get_option_chain("MSFT", "2024-01-03")
        assert chain["strike"].tolist() == [400.0]
        assert [str(d.date()) for d in world.minio.list_option_dates()] == ["2024-01-03"]

    def test_an_ordered_day_stays_as_it_is(self, world: World) -> None:
        text = HEAD + option("A", 100) + option("AAPL", 190)
        row = world.one(world.file("2024-01-03options.csv", text))
        assert world.held(row.key) == text.encode()

    def test_reference_tables(self, world: World) -> None:
        world.file("splits.csv", "symbol,ex_date,ratio\nAAPL,2020-08-31,4\n")
        world.file("treasury.csv", "date,1 Mo,10 Yr\n2024-01-02,5.55,3.95\n")
        world.file("dividends.csv", "symbol,ex_date,amount\nAAPL,2024-02-09,0.24\n")
        found = world.minio.ingest(world.folder)
        assert found["state"].tolist() == ["written"] * 3
        assert set(found["key"]) == {
            f"reference/{n}.csv" for n in ("splits", "dividends", "treasury")
        }
        splits = world.minio._access.splits("AAPL")
        assert splits is not None and splits["ratio"].tolist() == [4.0]

    def test_a_folder_with_what_is_said_of_it(self, world: World) -> None:
        """By dataset, symbol or date where the name does not say; old years by date."""
        world.file("deep/er/AAPL.csv", BARS)
        world.file("2005-01-03stocks.csv", "symbol,open,high,low,close,volume\nKO,1,2,1,2,5\n")
        world.file(".hidden/KO.csv", BARS)
        world.file("notes.md", "not data")
        seen = []
        found = world.minio.ingest(world.folder, on_file=lambda one: seen.append(one.key))
        assert found["key"].tolist() == seen == [
            "options/2005/2005-01-03stocks.csv", "stocks-2010-2025/AAPL.csv",
        ]  # fmt: skip
        row = world.one(world.file("export (3).csv", BARS), dataset="stocks", symbol="brk.b")
        assert row.key == "stocks-2010-2025/BRK.B.csv"
        row = world.one(world.file("chains.csv", HEAD + option("A", 1)), dataset="options")
        assert row.key == "options-complete/2024-01-03options.csv"

    def test_a_symbol_keeps_the_spelling_that_is_there(self, world: World) -> None:
        data = BARS.encode()
        key = "stocks-2010-2025/BRK-B.csv"
        world.s3.put_object(world.bucket, key, io.BytesIO(data), len(data))
        assert world.one(world.file("BRK.B.csv", BARS)).state == "current"
        assert world.keys() == [key]

    def test_dry_run(self, world: World) -> None:
        path = world.file("KO.csv", BARS)
        assert world.one(path, dry_run=True).state == "to write" and world.keys() == []
        world.one(path)
        path.write_text(BARS.replace("11", "11.5"))
        assert world.one(path, dry_run=True, replace=True).state == "to replace"
        assert world.held("stocks-2010-2025/KO.csv") == BARS.encode()


class TestKeptOut:
    @pytest.mark.parametrize(
        ("name", "text", "why"),
        [
            ("KO.csv", "<html>", "KO.csv"),
            ("KO.csv", BARS + "2024-01-04,1,2\n", "line 4"),
            ("KO.csv", BARS.replace("12,9,11", "8,9,11"), "high"),
            ("KO.csv", OF_ANOTHER, "AAPL"),
            ("KO.csv", "", "KO.csv"),
            ("KO.parquet", "PAR1 torn", "KO.parquet"),
            ("2024-01-04options.csv", HEAD + option("A", 1), "2024-01-03"),
            ("2024-01-03options.csv", HEAD + option("A", 1) * 2, "more than once"),
            ("splits.csv", "symbol,ex_date,ratio\nA,2020-08-31,0\n", "above 0"),
            ("a b c.csv", BARS, "fits no dataset"),
        ],
    )  # fmt: skip
    def test_what_a_read_would_refuse(self, world: World, name: str, text: str, why: str) -> None:
        row = world.one(world.file(name, text))
        assert row.state == "invalid" and why in row.reason and row.remedy
        assert world.keys() == []

    def test_findings_name_their_rule_and_rows(self, world: World) -> None:
        still = BARS.replace("12,100", "12,0").replace(",100", ",0").replace(",200", ",0")
        row = world.one(world.file("KO.csv", still + "2024-01-04,11,13,10,12,0\n"))
        assert (row.state, row.warnings) == ("written", 1)
        assert row.findings == "zero_volume: 3 rows (2024-01-02, 2024-01-03, 2024-01-04)"
        many = "".join(f"2024-01-{day:02d},11,13,10,{day % 3 + 10},0\n" for day in range(8, 13))
        row = world.one(world.file("PEP.csv", BARS + many))
        assert row.findings == "zero_volume: 5 rows (2024-01-08, 2024-01-09, 2024-01-10 ...)"
        path = world.file("T.csv", BARS.replace("12,9,11", "8,9,11"))
        row = world.one(path)
        assert row.state == "invalid" and "high_low: 1 row (2024-01-02)" in row.findings
        row = world.one(path, accept_findings=True)
        assert row.state == "written" and "high_low: 1 row" in row.findings
        assert world.one(world.file("GE.csv", BARS)).findings == ""

    def test_a_header_alone_is_told(self, world: World) -> None:
        row = world.one(world.file("KO.csv", BARS.splitlines()[0] + "\n"))
        assert (row.state, row.rows, row.warnings) == ("written", 0, 1)
        assert row.findings == "no_rows: a header, and no row below it"

    def test_findings_pass_where_they_are_accepted(self, world: World) -> None:
        path = world.file("KO.csv", BARS.replace("12,9,11", "8,9,11"))
        assert "accept_findings" in world.one(path).remedy
        assert world.one(path, accept_findings=True).state == "written"

    def test_one_bad_file_stops_nobody(self, world: World) -> None:
        for number in range(20):
            world.file(f"S{number:02d}.csv", BARS if number != 7 else "junk")
        found = world.minio.ingest(world.folder)
        assert found.set_index("symbol")["state"].to_dict() == {
            f"S{n:02d}": "invalid" if n == 7 else "written" for n in range(20)
        }

    @pytest.mark.parametrize(
        ("one", "other", "dataset"),
        [
            ("a/KO.csv", "b/KO.csv", None),
            ("a/KO.csv", "b/ko.csv", None),
            ("KO.csv", "KO.parquet", None),  # whether or not it can be read
            ("BRK.B.csv", "BRK-B.csv", None),
            ("a/2024-01-03options.csv", "b/2024-01-03options.csv", None),
            ("export.csv", "2024-01-03options.csv", "options"),
            ("export 1.csv", "export 2.csv", "options"),
            ("a/splits.csv", "b/splits.csv", None),
        ],
    )
    @pytest.mark.parametrize("options", [{}, {"replace": True}, {"dry_run": True}])
    def test_of_two_files_for_one_key_neither_is_written(
        self, world: World, one: str, other: str, dataset: str | None, options: dict[str, bool]
    ) -> None:
        """Which of them is right, chance would say."""
        text = BARS
        if "options" in one + other or dataset:
            text = HEAD + option("A", 50)
        elif "splits" in one:
            text = "symbol,ex_date,ratio\nA,2020-08-31,4\n"
        pair = {str(world.file(one, text)): other, str(world.file(other, text + "\n")): one}
        world.file("GE.csv", BARS) if not dataset else world.file(
            "export 3.csv", HEAD + option("A", 50, "2024-01-04")
        )
        found = world.minio.ingest(world.folder, dataset=dataset, **options)
        for row in found.itertuples():
            if row.path in pair:
                assert row.state == "invalid" and pair[row.path] in row.reason
            else:
                assert row.state in {"written", "to write"}
        assert len(world.keys()) == (0 if options == {"dry_run": True} else 1)

    def test_no_path_at_all(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable of the shell that is not set."""
        world.file("KO.csv", BARS)
        monkeypatch.chdir(world.folder)
        for nothing in ("", "  "):
            with pytest.raises(DataError, match="path is empty"):
                world.minio.ingest(nothing)
        assert world.keys() == []
        assert world.minio.ingest(".")["state"].tolist() == ["written"]


class TestDoubts:
    """What is written although somebody should look at it."""

    def findings(self, world: World, text: str, name: str = "2024-01-03options.csv") -> str:
        row = world.one(world.file(name, text), replace=True)
        assert row.state in {"written", "replaced"}
        assert row.warnings == len(list(filter(None, row.findings.split("; "))))
        found: str = row.findings
        return found

    @pytest.mark.parametrize(
        ("old", "new", "what"),
        [
            (",1.5,1,", ",1.8,1,", "bid_above_ask"),
            (",1.5,1,", ",1.75,1,", ""),  # locked is no error
            (",1.75,", ",,", ""),
            (",2024-01-19,call", ",2024-01-26,call", "contradicts_contract"),
            (",call,", ",put,", "contradicts_contract"),
            (",call,50,", ",call,55,", "contradicts_contract"),
            ("C00050000", "C0005000", ""),  # of another form
            ("240119C", "241319C", "contradicts_contract"),
        ],
    )
    def test_of_a_chain(self, world: World, old: str, new: str, what: str) -> None:
        good, bad = option("A", 50), option("A", 50).replace(old, new)
        assert good != bad
        assert self.findings(world, HEAD + good) == ""
        other = option("AA", 60)
        found = self.findings(world, HEAD + bad + other)
        assert found == (f"{what}: 1 row ({bad.partition(',')[0]})" if what else "")

    def test_of_what_has_expired(self, world: World) -> None:
        late = option("A", 50, "2024-01-22") + option("A", 60, "2024-01-22")
        found = self.findings(world, HEAD + late, "2024-01-22options.csv")
        assert found == "expired: 2 rows (O:A240119C00050000, O:A240119C00060000)"
        last = option("A", 50, "2024-01-19")
        assert self.findings(world, HEAD + last, "2024-01-19options.csv") == ""

    def test_of_the_future(self, world: World) -> None:
        today = pd.Timestamp.now("America/New_York")
        far, near = (f"{today + pd.Timedelta(days=n):%Y-%m-%d}" for n in (400, 0))
        text = BARS + f"{near},11,13,10,12,200\n"
        assert "future" not in self.findings(world, text, "KO.csv")
        found = self.findings(world, text + f"{far},11,13,10,12,200\n", "KO.csv")
        assert f"future: 1 row ({far})" in found
        chain = option("A", 50, far)
        assert f"future: 1 row ({far})" in self.findings(world, HEAD + chain, f"{far}options.csv")

    @pytest.mark.parametrize(
        ("options", "kind"),
        [({"dataset": "stonks"}, ConfigurationError), ({"dataset": "samples"}, ConfigurationError),
         ({"max_workers": 0}, ConfigurationError), ({"symbol": "KO"}, ConfigurationError)],
    )  # fmt: skip
    def test_wrong_arguments(
        self, world: World, options: dict[str, Any], kind: type[Exception]
    ) -> None:
        world.file("KO.csv", BARS)
        with pytest.raises(kind):
            world.minio.ingest(world.folder, **options)

    def test_no_such_path(self, world: World) -> None:
        with pytest.raises(NotFoundError, match="nowhere"):
            world.minio.ingest(world.folder / "nowhere")


class TestNeverOver:
    KEY = "stocks-2010-2025/KO.csv"

    def test_other_bytes_stay_until_it_is_said(self, world: World) -> None:
        path = world.file("KO.csv", BARS)
        world.one(path)
        assert world.minio.get_historical_data("KO")["close"].iloc[0] == 11.0
        path.write_text(BARS.replace("9,11,", "9,11.5,"))
        row = world.one(path)
        assert row.state == "conflict" and "--replace" in row.remedy
        assert world.held(self.KEY) == BARS.encode()
        assert world.one(path, replace=True).state == "replaced"
        assert world.held(self.KEY) == path.read_bytes()
        # and this machine does not go on with what its cache held
        assert world.minio.get_historical_data("KO")["close"].iloc[0] == 11.5

    def test_a_run_that_was_broken_off_goes_on(self, world: World) -> None:
        for number in range(10):
            world.file(f"S{number}.csv", BARS)
        done = []

        def stop(one: Any) -> None:
            done.append(one)
            if len(done) == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            world.minio.ingest(world.folder, on_file=stop, max_workers=1)
        first = set(world.keys())
        assert 4 <= len(first) < 10
        found = world.minio.ingest(world.folder)
        assert found["state"].tolist().count("current") == len(first)
        assert len(world.keys()) == 10

    def test_an_answer_that_was_lost_is_no_conflict(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first attempt arrived; the second is told that something is there: our own."""
        store = world.minio._access.store
        put = store.put

        def twice(*args: Any, **kwargs: Any) -> None:
            put(*args, **kwargs)
            raise ObjectChangedError("There is one already.")

        monkeypatch.setattr(store, "put", twice)
        assert world.one(world.file("KO.csv", BARS)).state == "written"

    def test_somebody_elses_write_at_the_same_time_is_told(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also on a server that keeps nobody apart: it is looked at once more."""
        store = world.minio._access.store
        put = store.put

        def and_another(key: str, data: bytes, **kwargs: Any) -> Any:
            put(key, data, **kwargs)
            return put(key, b"another's")

        monkeypatch.setattr(store, "put", and_another)
        row = world.one(world.file("KO.csv", BARS))
        assert row.state == "conflict" and "at the same time" in row.reason

    def test_with_nothing_to_write_nothing_is_said_of_the_server(self, world: World) -> None:
        path = world.file("KO.csv", BARS)
        assert world.minio.ingest(path).attrs["stockdb"]["conditional_writes"] in (True, False)
        assert world.minio.ingest(path).attrs["stockdb"]["conditional_writes"] is None


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ClientFactory, Minio]]:
    binary = servers.find_minio()
    if binary is None:
        pytest.skip(servers.NO_MINIO)
    folder = tmp_path_factory.mktemp("genuine")
    with EmbeddedServer(folder / "server", executable=binary) as server:
        for factory in _clients(server, folder):
            yield factory, admin_of(server)


def test_two_writers_at_once_on_a_server_that_heeds_conditions(
    genuine: tuple[ClientFactory, Minio], tmp_path: Path
) -> None:
    """Of eight that write other bytes under one key, one wins, and seven are told."""
    factory, s3 = genuine
    s3.make_bucket("race")
    clients = [factory("race") for _ in range(8)]
    for round_ in range(5):
        paths = []
        for number in range(8):
            path = tmp_path / f"{round_}-{number}" / f"R{round_}.csv"
            path.parent.mkdir()
            path.write_text(BARS.replace("9,11,", f"9,11.{number},"))
            paths.append(path)
        start = threading.Barrier(8)
        found: dict[int, Any] = {}

        def write(number: int) -> None:
            start.wait()  # noqa: B023  all threads end within the round
            found[number] = clients[number].ingest(paths[number])  # noqa: B023

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        states = {number: frame["state"].iloc[0] for number, frame in found.items()}
        assert sorted(states.values()) == ["conflict"] * 7 + ["written"]
        winner = next(number for number, state in states.items() if state == "written")
        assert found[winner].attrs["stockdb"]["conditional_writes"] is True
        answer = s3.get_object("race", f"stocks-2010-2025/R{round_}.csv")
        assert answer.data == paths[winner].read_bytes()
        answer.close()


def test_a_server_that_ignores_conditions_is_named(
    world: World, embedded_server: EmbeddedServer
) -> None:
    found = world.minio.ingest(world.file("KO.csv", BARS))
    heeds = embedded_server.kind == "minio"
    assert found.attrs["stockdb"] == {"conditional_writes": heeds}
