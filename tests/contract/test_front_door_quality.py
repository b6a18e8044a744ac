"""coverage, find_gaps and validate_data through the front door."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.errors import ConfigurationError, DataError, SymbolNotFoundError, ValidationError
from stockdb.sessions import sessions

JANUARY = sessions("XNYS", pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-31"))


def csv(days: pd.DatetimeIndex) -> bytes:
    rows = (
        f"{day:%Y-%m-%d},{10 + n / 10},{10.5 + n / 10},{9.5 + n / 10},{10 + n / 10},{900 + n}\n"
        for n, day in enumerate(days)
    )
    return ("trade_date,Open,High,Low,Close,Volume\n" + "".join(rows)).encode()


@pytest.fixture(scope="module")
def minio(make_bucket: Callable[..., str], module_clients: Any) -> MinIODataIntegration:
    holed = JANUARY.drop([pd.Timestamp("2024-01-10"), pd.Timestamp("2024-01-11")])
    closed = JANUARY.append(pd.DatetimeIndex(["2024-01-15"])).sort_values()
    options = b"contract,underlying,expiration,type,strike,bid,ask\n"
    bucket = make_bucket(
        {
            "stocks-2010-2025/FULL.csv": csv(JANUARY),
            "stocks-2010-2025/HOLED.csv": csv(holed),
            "stocks-2010-2025/KING.csv": csv(closed),  # traded on Martin Luther King's day
            **{f"options-complete/{day:%Y-%m-%d}options.csv": options for day in holed},
        }
    )
    return module_clients(bucket)


def test_coverage_of_one(minio: MinIODataIntegration) -> None:
    (row,) = minio.coverage("HOLED", "2024-01-01", "2024-01-31").itertuples()
    assert (row.Index, row.expected, row.held, row.missing) == ("HOLED", 21, 19, 2)
    assert row.share == pytest.approx(19 / 21)
    assert (row.first, row.last) == (JANUARY[0], JANUARY[-1])


def test_coverage_of_many_in_order_and_with_reasons(minio: MinIODataIntegration) -> None:
    with pytest.warns(UserWarning, match="ABSENT"):
        table = minio.coverage(["KING", "ABSENT", "FULL"], "2024-01-01", "2024-01-31")
    assert table.index.tolist() == ["KING", "ABSENT", "FULL"]
    assert table["closed_days"].tolist()[::2] == [1, 0]
    assert table.loc["FULL", "reason"] == "" and "ABSENT" in table.loc["ABSENT", "reason"]


def test_find_gaps(minio: MinIODataIntegration) -> None:
    (row,) = minio.find_gaps("HOLED", "2024-01-01", "2024-01-31").itertuples()
    assert (row.symbol, row.sessions, row.kind) == ("HOLED", 2, "missing")
    assert (row.start, row.end) == (pd.Timestamp("2024-01-10"), pd.Timestamp("2024-01-11"))
    assert len(minio.find_gaps("FULL", "2024-01-01", "2024-01-31")) == 0
    (row,) = minio.find_gaps("KING", "2024-01-01", "2024-01-31").itertuples()
    assert (row.start, row.bars, row.kind) == (pd.Timestamp("2024-01-15"), 1, "closed_day")
    both = minio.find_gaps(["FULL", "HOLED"], "2024-01-01", "2024-01-31")
    assert both["symbol"].tolist() == ["HOLED"]


def test_option_days(minio: MinIODataIntegration) -> None:
    (row,) = minio.find_gaps("options", "2024-01-02", "2024-01-31").itertuples()
    assert (row.kind, row.sessions) == ("object_missing", 2)
    assert minio.coverage("options", "2024-01-02", "2024-01-31")["missing"].tolist() == [2]


def test_days_in_a_file_each(make_bucket: Callable[..., str], client_factory: Any) -> None:
    """No file of a day is told from a file without the symbol; 2009-12-25 was a holiday."""
    december = sessions("XNYS", pd.Timestamp("2009-12-15"), pd.Timestamp("2009-12-31"))
    january = sessions("XNYS", pd.Timestamp("2010-01-04"), pd.Timestamp("2010-01-15"))
    no_file, no_row = pd.Timestamp("2009-12-17"), pd.Timestamp("2009-12-22")
    head = "symbol,open,high,low,close,volume,adjust_close\n"
    files = {
        f"options/2009/{day:%Y-%m-%d}stocks.csv": (
            head + "B,1,1,1,1,5,1\n" + ("" if day == no_row else "A,10,11,9,10.5,900,10.5\n")
        ).encode()
        for day in december.drop(no_file)
    }
    minio = client_factory(make_bucket({**files, "stocks-2010-2025/A.csv": csv(january[1:])}))
    found = minio.find_gaps("A", "2009-12-15", "2010-01-15")
    assert [(row.start, row.kind) for row in found.itertuples()] == [
        (no_file, "object_missing"),
        (no_row, "missing"),
        (january[0], "missing"),
    ]
    (row,) = minio.coverage("A", "2009-12-15", "2010-01-15").itertuples()
    assert (row.expected, row.missing, row.closed_days) == (len(december) + len(january), 3, 0)


def test_an_unknown_symbol_is_an_error_not_no_gaps(minio: MinIODataIntegration) -> None:
    for call in (minio.coverage, minio.find_gaps):
        with pytest.raises(SymbolNotFoundError):
            call("FULLL")


def test_weekly_bars_have_no_sessions(minio: MinIODataIntegration) -> None:
    with pytest.raises(ConfigurationError, match="weekly"):
        minio.coverage("FULL", interval="weekly")


def test_validate_data_asks_the_calendar(minio: MinIODataIntegration) -> None:
    frame = minio.get_historical_data("HOLED")
    assert minio.validate_data(frame).summary()["rules"] == {"missing_session": 2}
    assert minio.validate_data(frame, calendar=None).findings == ()
    king = minio.get_historical_data("KING")
    assert minio.validate_data(king).summary()["rules"] == {"holiday": 1}
    with pytest.raises(ConfigurationError, match="XNOWHERE"):
        minio.validate_data(frame, calendar="XNOWHERE")


def test_an_ordinary_read_asks_no_calendar(
    minio: MinIODataIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading one takes far longer than the read."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    monkeypatch.setattr("stockdb.sessions.calendar", refuse)
    frame = minio.get_historical_data("HOLED", "2024-01-02", "2024-01-31")
    assert len(frame) == 19 and frame.attrs["stockdb"]["validation"]["rules"] == {}
    with pytest.raises(AssertionError, match="XNYS"):
        minio.validate_data(frame)


def test_rules_of_one_call(minio: MinIODataIntegration) -> None:
    frame = minio.get_historical_data("FULL")
    assert minio.validate_data(frame).ok
    strict = minio.validate_data(frame, max_price=11.0, rule_severities={"price_range": "info"})
    assert [finding.rule for finding in strict.infos] == ["price_range"] and strict.ok
    with pytest.raises(ConfigurationError, match="max_price"):
        minio.validate_data(frame, max_prise=11.0)


def test_a_read_asks_it_where_the_settings_say_so(
    make_bucket: Callable[..., str], client_factory: Any
) -> None:
    holed = JANUARY.drop([pd.Timestamp("2024-01-10")])
    bucket = make_bucket({"stocks-2010-2025/HOLED.csv": csv(holed)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = client_factory(bucket).get_historical_data("HOLED")
        asked = client_factory(bucket, missing_sessions=True).get_historical_data("HOLED")
    assert quiet.attrs["stockdb"]["validation"]["rules"] == {}
    assert asked.attrs["stockdb"]["validation"]["rules"] == {"missing_session": 1}


class TestPolicyOfAValidation:
    BROKEN = pd.DataFrame(
        {"open": 2.0, "high": 1.0, "low": 3.0, "close": 2.0, "volume": 5.0},
        index=pd.DatetimeIndex(["2024-01-02", "2024-01-03"], name="date"),
    )

    def test_raise_raises_and_carries_the_report(self, minio: MinIODataIntegration) -> None:
        report = minio.validate_data(self.BROKEN, policy="flag")
        assert not report.ok
        with pytest.raises(ValidationError) as caught:
            minio.validate_data(self.BROKEN, policy="raise")
        assert caught.value.report.summary() == report.summary()

    def test_drop_is_refused_and_the_remedy_works(self, minio: MinIODataIntegration) -> None:
        with pytest.raises(ConfigurationError, match="drops no rows") as caught:
            minio.validate_data(self.BROKEN, policy="drop")
        assert "bad_rows('error')" in caught.value.remedy
        report = minio.validate_data(self.BROKEN)
        assert self.BROKEN[~report.bad_rows("error")].empty

    @pytest.mark.parametrize("thing", [None, [1, 2], {"close": [1.0]}, pd.Series([1.0])])
    def test_only_frames(self, minio: MinIODataIntegration, thing: Any) -> None:
        with pytest.raises(DataError, match="DataFrame"):
            minio.validate_data(thing)
