"""What the tests of the parser share: small files, and the ways that they are refused."""

from __future__ import annotations

import pyarrow as pa
import pytest

from stockdb.core.parse import parse_bars
from stockdb.errors import DataError
from stockdb.settings import Dataset

HEADER = b"trade_date,Open,High,Low,Close,Volume\n"
ROWS = [b"2023-01-%02d,%d.5,%d.75,%d.25,%d,%d00.0\n" % (d, d, d, d, d, d) for d in range(3, 9)]
DAILY = Dataset(key="stocks/{SYMBOL}.csv", interval="daily")
MINUTE = Dataset(key="minute/{SYMBOL}.csv", interval="1m")
DAY_FILE = Dataset(key="stocks/{YYYY-MM-DD}.csv", kind="day_bars", interval="daily")
OPTIONS = Dataset(key="options/{YYYY-MM-DD}options.csv", kind="options")
KEY = "stocks/AAPL.csv"


def bars(data: bytes, **changes):
    dataset = changes.pop("dataset", DAILY)
    if "dst_policy" in changes:
        dataset = dataset.model_copy(update={"dst_policy": changes.pop("dst_policy")})
    return parse_bars(data, dataset, key=changes.pop("key", KEY), **changes)


def rows(table: pa.Table) -> list[tuple]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def days(table: pa.Table, name: str = "date") -> list[str]:
    return [str(value)[:10] for value in table[name].to_pylist()]


def with_line(number: int, line: bytes) -> bytes:
    """Put a line in as physical line ``number`` of a good file."""
    lines = [HEADER, *ROWS]
    return b"".join([*lines[: number - 1], line + b"\n", *lines[number - 1 :]])


def refused(data: bytes, line: int | None, *words: str, **changes) -> DataError:
    with pytest.raises(DataError) as caught:
        bars(data, **changes)
    error = caught.value
    assert error.line == line
    assert error.key == changes.get("key", KEY)
    assert error.key in str(error) and error.remedy
    for word in words:
        assert word in str(error)
    return error


def refused_then_left_out(line: bytes, *words: str, **changes) -> None:
    """A bad line 4 raises, and is the only one left out where bad rows are quarantined."""
    data = with_line(4, line)
    refused(data, 4, *words, **changes)
    lenient = bars(data, on_bad_rows="quarantine", **changes)
    assert [(bad.line, any(w in bad.reason for w in words)) for bad in lenient.bad_rows] == [
        (4, True)
    ]
    assert lenient.bad_rows[0].text == line.decode("utf-8", "backslashreplace")[:200]
    good = bars(HEADER + b"".join(ROWS), **changes).table
    assert lenient.table.equals(good)


def stamps(table: pa.Table) -> list[str]:
    assert table.schema.field("date").type == pa.timestamp("ns", "America/New_York")
    return [str(value) for value in table["date"].to_pylist()]


def minute(*texts: str, **changes):
    lines = ["timestamp,close", *(f"{text},{i}" for i, text in enumerate(texts))]
    return bars("\n".join(lines).encode(), dataset=MINUTE, **changes)


CHAIN_HEADER = (
    b"contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    b"open_interest,quote_date,delta,gamma,theta,vega,implied_volatility\n"
)
CHAIN_ROWS = [
    b"O:A230120C00050000,A,2023-01-20,call,50,A,98,13,101.6,13,,0,2023-01-03,,,,,\n",
    b"O:A230120P00050000,A,2023-01-20,P,50,A,0,0,,164,60,2,2023-01-03,-0.5,0.1,1.97,0.2,1.8\n",
]
CHAIN = CHAIN_HEADER + b"".join(CHAIN_ROWS)
