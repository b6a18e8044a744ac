"""One read after the bucket: bars by hand in, frame out. Time is an argument."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.access.adjusting import EventTables
from stockdb.access.history import HistoryRequest, read_history
from stockdb.access.provenance import ProvenanceLog
from stockdb.core.reader import Bars, Origin
from stockdb.errors import DataError, ValidationError
from stockdb.settings import Dataset, Settings, Validation
from stockdb.types import INTERVALS, parse_range

TODAY = dt.date(2024, 2, 15)


def origin(**changed: Any) -> Origin:
    values = {
        "dataset": "stocks", "key": "s/X.csv", "etag": "e", "version_id": None,
        "adjustment": "none", "state": "fetched", "fetched_at": "2024-02-15T00:00:00+00:00",
        "validated_at": "2024-02-15T00:00:00+00:00", "requests": 1, "received": 10, "rows": 1,
        "bad_rows": [], "simulated": False,
    }  # fmt: skip
    return Origin(**{**values, **changed})


def bars(dates: list[str], close: list[float] | None = None, **changed: Any) -> Bars:
    date = np.array(dates, "datetime64[ns]")
    level = np.array(close if close is not None else [10.0] * len(dates))
    columns = {
        "volume": np.full(len(dates), 100.0),
        "adj_close": level / 2,
        "open": level.copy(),
        "high": level + 1,
        "low": level - 1,
        "close": level,
    }
    values = {
        "symbol": "X", "date": date, "columns": columns, "origins": (origin(),),
        "adjustment": "none", "timezone": "America/New_York", "calendar": "XNYS",
        "first_held": np.datetime64("2024-01-02", "ns"),
        "last_held": np.datetime64("2024-01-31", "ns"),
    }  # fmt: skip
    return Bars(**{**values, **changed})


#: A bucket without reference tables.
NO_TABLES: Any = SimpleNamespace(events=lambda *_, **__: None, settings=Settings())


class FakeReader:
    """Gives what it was given, and remembers what it was asked."""

    def __init__(self, held: Bars, **validation: Any) -> None:
        datasets = {"stocks": Dataset(key="s/{SYMBOL}.csv", interval="daily")}
        self.settings = Settings(validation=Validation(**validation), datasets=datasets)
        self.held = held

    def bars(self, symbol: str, interval: Any, wanted: Any, policy: Any, **_: Any) -> Bars:
        self.asked = (symbol, interval.name)
        return self.held


def read(held: Bars, request: HistoryRequest | None = None, **validation: Any) -> pd.DataFrame:
    reader: Any = FakeReader(held, **validation)
    return read_history(reader, NO_TABLES, ProvenanceLog(), "X", request or HistoryRequest(), TODAY)


class TestFrame:
    def test_columns_in_our_order_and_a_block_of_its_own(self) -> None:
        held = bars(["2024-01-02", "2024-01-03"], [10.0, 11.0])
        for values in held.columns.values():
            values.setflags(write=False)
        frame = read(held)
        assert frame.columns.tolist() == ["open", "high", "low", "close", "volume", "adj_close"]
        assert frame["adj_close"].tolist() == [5.0, 5.5]
        frame.iloc[0, 0] = -1.0
        assert held.columns["open"][0] == 10.0

    def test_instants_get_the_zone_of_the_exchange(self) -> None:
        held = bars(["2024-01-02 14:30", "2024-07-02 13:30"])
        reader: Any = FakeReader(held)
        reader.settings = Settings(datasets={"m": Dataset(key="{SYMBOL}.csv", interval="5m")})
        request = HistoryRequest(interval=INTERVALS["5m"])
        frame = read_history(reader, NO_TABLES, ProvenanceLog(), "X", request, TODAY)
        assert [str(stamp) for stamp in frame.index] == [
            "2024-01-02 09:30:00-05:00", "2024-07-02 09:30:00-04:00",
        ]  # fmt: skip
        # One bar a day is still an intraday bar: a time of day is no finding.
        assert frame.attrs["stockdb"]["validation"]["rules"] == {}

    def test_the_last_row_of_a_date_counts(self) -> None:
        frame = read(bars(["2024-01-02", "2024-01-02", "2024-01-03"], [1.0, 2.0, 3.0]))
        assert frame["close"].tolist() == [2.0, 3.0]
        assert frame.index.is_unique

    def test_drop_and_repeats_together(self) -> None:
        held = bars(["2024-01-02", "2024-01-02", "2024-01-03", "2024-01-04"], [5.0, 5.0, 0.0, 4.0])
        assert read(held, policy="drop")["close"].tolist() == [5.0, 4.0]

    def test_raise(self) -> None:
        with pytest.raises(ValidationError, match="X: A price is not above 0"):
            read(bars(["2024-01-02"], [0.0]), policy="raise")

    def test_the_note(self) -> None:
        two = (origin(dataset="a", state="fresh", validated_at="2024-02-14T00:00:00+00:00"),
               origin(dataset="b", state="stale", simulated=True), origin(dataset="a"))  # fmt: skip
        note = read(bars(["2024-01-02"], origins=two)).attrs["stockdb"]
        assert json.loads(json.dumps(note)) == note
        assert note["dataset"] == "a,b"
        assert note["freshness"] == "stale"
        assert note["validated_at"] == "2024-02-14T00:00:00+00:00"
        assert note["simulated"] is True
        assert note["empty_reason"] is None


class TestAdjustment:
    @pytest.mark.parametrize("held", ["none", "splits", "all"])
    @pytest.mark.parametrize("asked", ["none", "splits", "all"])
    def test_at_least_what_is_asked_or_an_error(self, held: str, asked: Any) -> None:
        order = ["none", "splits", "all"]
        given = bars(["2024-01-02"], adjustment=held)
        request = HistoryRequest(adjust=asked)
        if order.index(asked) <= order.index(held):
            frame = read(given, request)
            assert frame.attrs["stockdb"]["adjustment"] == held
            assert frame["close"].tolist() == [10.0]
        else:
            with pytest.raises(DataError, match="not available") as caught:
                read(given, request)
            assert caught.value.symbol == "X"


class TestAdjusted:
    def test_a_split_that_is_only_announced_has_not_happened(self) -> None:
        splits = pd.Series({"2024-01-03": 2.0, "2024-02-15": 5.0, "2024-02-16": 10.0})
        request = HistoryRequest(adjust="splits", events=EventTables(splits=splits))
        frame = read(bars(["2024-01-02", "2024-01-03"]), request)
        assert frame["close"].tolist() == [1.0, 2.0]
        assert frame.attrs["stockdb"]["adjusted"]["splits"] == 2


class TestWhyEmpty:
    @pytest.mark.parametrize(
        ("start", "end", "reason"),
        [
            ("2024-02-16", "2024-02-20", "the range lies in the future"),
            ("2024-02-15", "2024-02-15", "begins after the newest bar held (2024-01-31)"),
            ("2024-02-15", "2024-03-15", "begins after the newest bar held (2024-01-31)"),
            ("2024-01-06", "2024-01-07", "no session of XNYS"),
            ("2024-01-15", "2024-01-15", "no session of XNYS"),
            (None, "2023-12-29", "ends before the first bar held (2024-01-02)"),
            ("2023-12-28", "2023-12-29", "ends before the first bar held (2024-01-02)"),
            ("2024-01-10", "2024-01-11", "though the exchange was open"),
        ],
    )
    def test_by_range(self, start: str | None, end: str | None, reason: str) -> None:
        request = HistoryRequest(wanted=parse_range(start, end))
        frame = read(bars([]), request)
        assert frame.empty and reason in frame.attrs["stockdb"]["empty_reason"]
        assert frame.attrs["stockdb"]["validation"] is None

    def test_an_object_without_rows(self) -> None:
        frame = read(bars([], first_held=None, last_held=None))
        assert frame.attrs["stockdb"]["empty_reason"] == "the object holds no rows"

    def test_all_rows_dropped(self) -> None:
        frame = read(bars(["2024-01-02", "2024-01-03"], [0.0, 0.0]), policy="drop")
        assert frame.attrs["stockdb"]["empty_reason"] == (
            "validation dropped all 2 rows of the range"
        )
