"""Other formats and other files: gzip, Parquet, days of bars, options, reference tables."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import math
import tracemalloc
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stockdb.core import parse
from stockdb.core.parse import OPTION_COLUMNS, parse_bars, parse_options, parse_reference
from stockdb.errors import ArchiveError, DataError
from stockdb.settings import Dataset
from tests.unit.core.parse_cases import (
    CHAIN,
    CHAIN_HEADER,
    CHAIN_ROWS,
    DAY_FILE,
    HEADER,
    KEY,
    MINUTE,
    OPTIONS,
    ROWS,
    bars,
    days,
    refused,
    rows,
    stamps,
)

# ---------------------------------------------------------------------- compression, Parquet


def test_gzip_by_name_and_by_magic_number():
    data = HEADER + b"".join(ROWS)
    packed = gzip.compress(data)
    for key in ("s/AAPL.csv.gz", "s/AAPL.csv", "s/AAPL.gz"):
        assert bars(packed, key=key).table.equals(bars(data).table)
    assert bars(data, key="s/AAPL.csv.gz").table.equals(bars(data).table)  # unpacked on the way


def test_gzip_of_several_streams_and_padding():
    half = HEADER + ROWS[0]
    packed = gzip.compress(half) + gzip.compress(ROWS[1]) + b"\0" * 512
    assert bars(packed).table.num_rows == 2


def test_damaged_gzip():
    packed = gzip.compress(HEADER + b"".join(ROWS))
    for broken in (packed[:-4], packed[:30], packed[:-8] + b"12345678", packed + b"garbage"):
        with pytest.raises(ArchiveError, match="damaged") as caught:
            bars(broken)
        assert caught.value.key == KEY


def test_gzip_bomb_is_stopped_early():
    squeeze = zlib.compressobj(9, wbits=31)
    zeros = b"\0" * 2**20
    packed = b"".join(squeeze.compress(zeros) for _ in range(64)) + squeeze.flush()
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="unpack to more than"):
        bars(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20  # 64 MiB lie inside


def test_gzip_size_has_an_upper_bound(monkeypatch: pytest.MonkeyPatch):
    data = HEADER + b"".join(ROWS)
    monkeypatch.setattr(parse, "_MAX_UNPACKED", len(data))
    assert bars(gzip.compress(data)).table.num_rows == 6
    monkeypatch.setattr(parse, "_MAX_UNPACKED", len(data) - 1)
    with pytest.raises(ArchiveError):
        bars(gzip.compress(data))


def parquet(frame: pd.DataFrame | pa.Table) -> bytes:
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_parquet_gives_the_same_table_as_csv():
    expected = bars(HEADER + b"".join(ROWS)).table
    frame = pd.read_csv(io.BytesIO(HEADER + b"".join(ROWS)), parse_dates=["trade_date"])
    as_text = frame.assign(trade_date=frame["trade_date"].dt.strftime("%Y-%m-%d"))
    indexed = frame.set_index("trade_date").rename_axis(None)
    zoned = frame.assign(trade_date=frame["trade_date"].dt.tz_localize("America/New_York"))
    tokyo = frame.assign(trade_date=frame["trade_date"].dt.tz_localize("Asia/Tokyo"))
    for shape in (frame, as_text, indexed, zoned, tokyo, frame.astype({"Close": "int64"})):
        table = bars(parquet(shape), key="s/AAPL.parquet").table
        assert table.equals(expected)
        assert all(column.num_chunks == 1 for column in table.columns)


def test_parquet_null_is_nan():
    table = pa.table(
        {"date": [dt.date(2023, 1, 3)] * 2, "close": [4.0, None], "volume": [None] * 2}
    )
    read = bars(parquet(table), key="x.parquet").table
    assert read["close"].null_count == 0 and math.isnan(read["close"][1].as_py())
    assert np.isnan(read["volume"].to_numpy()).all()


def test_parquet_price_of_strings_is_refused():
    table = pa.table({"date": [dt.date(2023, 1, 3)], "close": ["4.0"]})
    for mode in ("raise", "quarantine"):
        refused(parquet(table), None, "'close'", "string", key="x.parquet", on_bad_rows=mode)


def test_parquet_rows_are_checked_too():
    close = [1.0, math.inf, 3.0, 4.0]
    date = [dt.date(2023, 1, 3), dt.date(2023, 1, 4), None, dt.date(2023, 1, 6)]
    data = parquet(pa.table({"date": pa.array(date), "close": close}))
    refused(data, 2, "close is infinite", key="x.parquet")
    parsed = bars(data, key="x.parquet", on_bad_rows="quarantine")
    assert [bad.line for bad in parsed.bad_rows] == [2, 3]
    assert parsed.table["close"].to_pylist() == [1.0, 4.0]
    nulls = parquet(pa.table({"date": pa.array(date).slice(2, 1), "close": [1.0]}))
    refused(nulls, 1, "none of the 1 rows", key="x.parquet", on_bad_rows="quarantine")


def test_parquet_intraday():
    naive = pd.DatetimeIndex(["2024-03-08 09:30", "2024-03-11 09:30"])
    for index in (
        naive,
        naive.tz_localize("America/New_York").tz_convert("UTC"),
        naive.astype(str),
    ):
        data = parquet(pa.table({"date": pa.array(index), "close": [1.0, 2.0]}))
        table = bars(data, key="x.parquet", dataset=MINUTE).table
        assert stamps(table) == ["2024-03-08 09:30:00-05:00", "2024-03-11 09:30:00-04:00"]
    missing = pd.DatetimeIndex(["2024-03-08 09:30", "2024-03-10 02:30", None])
    data = parquet(pa.table({"date": pa.array(missing), "close": [1.0, 2.0, 3.0]}))
    error = refused(data, 2, "never happened", key="x.parquet", dataset=MINUTE)
    assert "2024-03-10T02:30" in str(error)
    lenient = {"dst_policy": "quarantine", "on_bad_rows": "quarantine"}
    parsed = bars(data, key="x.parquet", dataset=MINUTE, **lenient)
    assert [bad.line for bad in parsed.bad_rows] == [2, 3]


def test_parquet_that_is_none():
    refused(b"PAR1 and then nonsense", None, "Parquet", key="x.parquet")
    refused(HEADER, None, "Parquet", key="x.parquet")
    refused(parquet(pa.table({"date": [1]})), 1, "Parquet, not CSV", key="x.csv")


def test_format_of_the_dataset_wins_over_the_ending():
    data = parquet(pa.table({"date": [dt.date(2023, 1, 3)], "close": [4.0]}))
    dataset = Dataset(key="x/{SYMBOL}.data", format="parquet")
    assert bars(data, key="x/A.csv", dataset=dataset).table.num_rows == 1
    assert bars(data, key="x/A.data").table.num_rows == 1  # the ending says nothing


# ---------------------------------------------------------------------- bars of a day


def test_day_bars_take_the_date_from_the_argument_and_keep_file_order():
    data = b"symbol,open,high,low,close,volume,adjust_close\nNA,1,1,1,1,1,1\nA,2,2,2,2,2,1.5\n"
    table = parse_bars(data, DAY_FILE, key="d.csv", date=dt.date(2005, 1, 3)).table
    assert days(table) == ["2005-01-03"] * 2
    assert table["symbol"].to_pylist() == ["NA", "A"]  # a ticker, not a missing value
    assert table["adj_close"].to_pylist() == [1.0, 1.5]


def test_day_bars_with_their_own_dates_keep_file_order():
    data = b"symbol,date,close\nB,2005-01-04,1\nA,2005-01-03,2\n"
    table = parse_bars(data, DAY_FILE, key="d.csv", date=dt.date(2005, 1, 5)).table
    assert days(table) == ["2005-01-04", "2005-01-03"]


def test_day_bars_need_symbol_and_date():
    data = b"symbol,close\nA,1\n"
    with pytest.raises(DataError, match="date"):
        parse_bars(data, DAY_FILE, key="d.csv")
    with pytest.raises(DataError, match="symbol is blank") as caught:
        parse_bars(data + b",2\n", DAY_FILE, key="d.csv", date=dt.date(2005, 1, 3))
    assert caught.value.line == 3
    with pytest.raises(DataError, match="symbol"):
        parse_bars(b"date,close\n2005-01-03,1\n", DAY_FILE, key="d.csv")


# ---------------------------------------------------------------------- options


def test_option_columns_and_types():
    table = parse_options(CHAIN, OPTIONS, key="o.csv").table
    assert table.schema.names == list(OPTION_COLUMNS) == [
        "contract", "underlying", "expiration", "type", "strike", "style", "bid", "bid_size", "ask",
        "ask_size", "volume", "open_interest", "quote_date", "vendor_delta", "vendor_gamma",
        "vendor_theta", "vendor_vega", "vendor_implied_volatility",
    ]  # fmt: skip
    text, day, number = pa.string(), pa.date32(), pa.float64()
    assert table.schema.types == [
        text, text, day, text, number, text, *[number] * 6, day, *[number] * 5,
    ]  # fmt: skip
    first, second = rows(table)
    assert first[:7] == (
        "O:A230120C00050000", "A", dt.date(2023, 1, 20), "call", 50.0, "A", 98.0,
    )  # fmt: skip
    assert math.isnan(first[10]) and first[11] == 0.0  # blank volume, zero open interest
    assert second[3] == "put" and second[6] == 0.0 and math.isnan(second[8])
    assert second[12:] == (dt.date(2023, 1, 3), -0.5, 0.1, 1.97, 0.2, 1.8)


@pytest.mark.parametrize(("text", "kind"), [("C", "call"), ("Call", "call"), ("PUT", "put")])
def test_option_type_spellings(text: str, kind: str):
    data = CHAIN.replace(b",call,", f",{text},".encode())
    assert parse_options(data, OPTIONS, key="o.csv").table["type"][0].as_py() == kind


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b",call,", b",cal,", "call nor put"), (b",call,", b",,", "call nor put"),
        (b"2023-01-20,call", b",call", "expiration"), (b"call,50", b"call,", "strike"),
        (b",A,2023", b",,2023", "underlying"), (b"2023-01-03", b"x", "quote_date"),
        (b",98,", b",inf,", "bid"),
    ],
)  # fmt: skip
def test_bad_option_rows(old: bytes, new: bytes, word: str):
    data = CHAIN_HEADER + CHAIN_ROWS[1] + CHAIN_ROWS[0].replace(old, new, 1)
    with pytest.raises(DataError, match=word) as caught:
        parse_options(data, OPTIONS, key="o.csv")
    assert caught.value.line == 3
    parsed = parse_options(data, OPTIONS, key="o.csv", on_bad_rows="quarantine")
    assert [bad.line for bad in parsed.bad_rows] == [3] and parsed.table.num_rows == 1


def test_header_and_fragment_of_a_file():
    whole = parse_options(CHAIN, OPTIONS, key="o.csv").table
    part = parse_options(CHAIN_HEADER + CHAIN_ROWS[1], OPTIONS, key="o.csv", first_line=2).table
    assert repr(rows(part)) == repr(rows(whole)[1:]) and part.schema == whole.schema


def test_lines_of_a_fragment_count_from_the_original_file():
    # The fragment is line 1,000,000 and the next one: header counts as 999,999.
    data = CHAIN + CHAIN_ROWS[0].replace(b"98", b"x")
    with pytest.raises(DataError) as caught:
        parse_options(data, OPTIONS, key="o.csv", first_line=999_999)
    assert caught.value.line == 1_000_002
    parsed = parse_options(data, OPTIONS, key="o.csv", first_line=999_999, on_bad_rows="quarantine")
    assert [bad.line for bad in parsed.bad_rows] == [1_000_002]


def test_missing_optional_columns_become_null_or_nan():
    data = b"underlying,expiration,type,strike,bid,ask\nA,2005-02-19,C,15,1,1.2\n"
    table = parse_options(data, OPTIONS, key="o.csv", date=dt.date(2005, 1, 3)).table
    assert table.schema.names == list(OPTION_COLUMNS)
    row = dict(zip(OPTION_COLUMNS, rows(table)[0], strict=True))
    assert row["contract"] is None and row["style"] is None
    assert row["quote_date"] == dt.date(2005, 1, 3)
    assert math.isnan(row["volume"]) and math.isnan(row["vendor_delta"])
    assert table["volume"].null_count == 0
    with pytest.raises(DataError, match="date"):
        parse_options(data, OPTIONS, key="o.csv")


@pytest.mark.parametrize(
    "contract", ["A020518C00015000", "O:A020518C00015000", "A     020518C00015000"]
)
def test_contract_gives_what_is_missing(contract: str):
    data = f"contract,bid,ask\n{contract},1,1.2\n".encode()
    table = parse_options(data, OPTIONS, key="o.csv", date=dt.date(2002, 2, 8)).table
    assert rows(table)[0][:5] == (contract, "A", dt.date(2002, 5, 18), "call", 15.0)


def test_columns_of_the_file_win_over_the_contract():
    data = b"contract,underlying,bid,ask\nAAPL7140606C00490000,AAPL,1,1.2\n"
    table = parse_options(data, OPTIONS, key="o.csv", date=dt.date(2014, 6, 6)).table
    assert rows(table)[0][1:5] == ("AAPL", dt.date(2014, 6, 6), "call", 490.0)


@pytest.mark.parametrize(
    "contract", ["", "A", "A020518X00015000", "A029918C00015000", "A020231P00015000"]
)
def test_contract_that_must_be_read_and_cannot(contract: str):
    data = f"contract,bid,ask\nF020518P00007500,1,1\n{contract},1,1.2\n".encode()
    with pytest.raises(DataError, match="contract") as caught:
        parse_options(data, OPTIONS, key="o.csv", date=dt.date(2002, 2, 8))
    assert caught.value.line == 3


def test_contract_may_be_odd_where_nothing_hangs_on_it():
    data = CHAIN.replace(b"O:A230120C00050000", b"odd")
    assert parse_options(data, OPTIONS, key="o.csv").table["contract"][0].as_py() == "odd"


@pytest.mark.parametrize("dropped", ["bid", "ask", "contract"])
def test_required_option_columns_list_what_was_found(dropped: str):
    names = [name for name in ("contract", "bid", "ask") if name != dropped]
    with pytest.raises(DataError, match=f"(?s){dropped}.*'{names[0]}', '{names[1]}'") as caught:
        parse_options(",".join(names).encode(), OPTIONS, key="o.csv", date=dt.date(2002, 2, 8))
    assert caught.value.line == 1


def test_options_of_own_spelling():
    dataset = Dataset(
        key="o.csv", kind="options", columns={"Basiswert": "underlying", "d": "delta"}
    )
    data = CHAIN.replace(b"underlying", b"Basiswert").replace(b"delta", b"D")
    expected = parse_options(CHAIN, OPTIONS, key="o.csv").table
    table = parse_options(data, dataset, key="o.csv").table
    assert repr(rows(table)) == repr(rows(expected))
    wrong = Dataset(key="o.csv", kind="options", columns={"bid": "offer"})
    with pytest.raises(DataError, match="'offer'"):
        parse_options(CHAIN, wrong, key="o.csv")


def test_options_in_parquet():
    frame = pd.read_csv(io.BytesIO(CHAIN))
    table = parse_options(parquet(frame), OPTIONS, key="o.parquet").table
    expected = parse_options(CHAIN, OPTIONS, key="o.csv").table
    assert table.schema == expected.schema and repr(rows(table)) == repr(rows(expected))
    slim = frame[["contract", "bid", "ask"]]
    table = parse_options(parquet(slim), OPTIONS, key="o.parquet", date=dt.date(2023, 1, 3)).table
    assert table["type"].to_pylist() == ["call", "put"]
    frame.loc[1, "type"] = "x"
    with pytest.raises(DataError, match="call nor put") as caught:
        parse_options(parquet(frame), OPTIONS, key="o.parquet")
    assert caught.value.line == 2


def test_empty_chain():
    table = parse_options(CHAIN_HEADER, OPTIONS, key="o.csv").table
    assert table.schema == parse_options(CHAIN, OPTIONS, key="o.csv").table.schema
    empty = parse_options(b"contract,bid,ask\n", OPTIONS, key="o.csv", date=dt.date(2002, 2, 8))
    assert empty.table.schema == table.schema


# ---------------------------------------------------------------------- reference tables


def test_splits_and_dividends():
    table = parse_reference(
        b"symbol,ex_date,ratio\nTSLA,2022-08-25,3\nAAPL,2020-08-31,4\n", key="s.csv", kind="splits"
    ).table
    assert rows(table) == [
        ("TSLA", pd.Timestamp("2022-08-25"), 3.0), ("AAPL", pd.Timestamp("2020-08-31"), 4.0),
    ]  # fmt: skip
    data = b"Ticker,Ex-Date,Dividend\nKO,2023-03-16,0.46\n"
    table = parse_reference(data, key="d.csv", kind="dividends").table
    assert table.schema.names == ["symbol", "ex_date", "amount"]
    assert rows(table) == [("KO", pd.Timestamp("2023-03-16"), 0.46)]


@pytest.mark.parametrize("line", [b"A,2020-08-31,", b",2020-08-31,4", b"A,,4", b"A,2020-08-31,4:1"])
def test_reference_rows_must_be_complete(line: bytes):
    data = b"symbol,ex_date,ratio\nTSLA,2022-08-25,3\n" + line + b"\n"
    with pytest.raises(DataError) as caught:
        parse_reference(data, key="s.csv", kind="splits")
    assert caught.value.line == 3
    parsed = parse_reference(data, key="s.csv", kind="splits", on_bad_rows="quarantine")
    assert parsed.table.num_rows == 1 and parsed.bad_rows[0].line == 3


def test_treasury_tenors():
    data = b"date,DGS1MO,DGS10\n2023-01-04,4.2,3.69\n2023-01-03,,3.79\n"
    table = parse_reference(data, key="t.csv", kind="treasury").table
    assert table.schema.names == ["date", "dgs1mo", "dgs10"]
    assert days(table) == ["2023-01-03", "2023-01-04"]
    assert table["dgs10"].to_pylist() == [3.79, 3.69]
    assert math.isnan(table["dgs1mo"][0].as_py()) and table["dgs1mo"].null_count == 0


class TestIntradayBarsDeclaredDaily:
    """Of each day one row would stay, and no rule would see what went."""

    @staticmethod
    def file(times: list[str], days: tuple[int, ...] = (3, 4, 5)) -> bytes:
        lines = [f"2024-06-0{day} {time},10,11,9,10,100" for day in days for time in times]
        return ("date,open,high,low,close,volume\n" + "\n".join(lines) + "\n").encode()

    @pytest.mark.parametrize(
        ("times", "interval"),
        [
            (["09:30", "10:30", "11:30", "12:30"], "1h"),
            (["09:30", "09:35", "09:40"], "5m"),
            (["09:30:00-04:00", "10:00:00-04:00", "10:30:00-04:00"], "30m"),
            (["09:30", "13:30"], "1m"),  # of no length that has a name
        ],
    )
    def test_refused_by_the_name_of_its_interval(self, times: list[str], interval: str) -> None:
        error = refused(self.file(times), None, "intraday")
        assert f"interval='{interval}'" in error.remedy
        compressed = gzip.compress(self.file(times))
        refused(compressed, None, "intraday")

    def test_parquet(self) -> None:
        index = pd.date_range("2024-06-03 09:30", periods=40, freq="h", name="date")
        out = io.BytesIO()
        pd.DataFrame({"close": 1.0}, index=index).reset_index().to_parquet(out)
        error = refused(out.getvalue(), None, "intraday", key="stocks/AAPL.parquet")
        assert "interval='1h'" in error.remedy

    @pytest.mark.parametrize(
        "data",
        [
            file(["16:00"]),
            file(["16:00", "16:00"]),  # the same rows twice
            file(["16:00"]) + b"2024-06-05 17:00,10,11,9,10,100\n",  # one correction
            file(["16:00"], (3,)),
            file([], ()) + b"2024-06-05,10,11,9,10,100\n2024-06-05,10,11,9,11,100\n",
        ],
    )
    def test_daily_rows_with_a_time_or_twice_are_read(self, data: bytes) -> None:
        assert bars(data).table.num_rows == data.count(b"2024")
