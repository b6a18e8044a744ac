"""Rules against bars: planted defects, one by one. Real files are in test_report.py."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from stockdb.core.validation import Bars, apply_policy, validate_arrays, validate_bars
from stockdb.errors import ValidationError
from stockdb.settings.sections import Validation

COLUMNS = ["open", "high", "low", "close", "volume"]


def bars(rows: int = 8, start: str = "2024-01-02") -> pd.DataFrame:
    """Clean daily bars; the first eight sessions of 2024 hold one weekend."""
    days = pd.bdate_range(start, periods=rows, name="date", unit="ns")
    close = 100.0 + np.arange(rows)
    data = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame(data | {"volume": 1000.0 + np.arange(rows)}, index=days)


def planted(*cells: tuple[int, str, float]) -> pd.DataFrame:
    frame = bars()
    for row, column, value in cells:
        frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


def counts(frame: pd.DataFrame, rules: Validation | None = None) -> dict[str, int]:
    return validate_bars(frame, rules).summary()["rules"]


# ------------------------------------------------------------------ rules about rows


def test_clean_bars_give_nothing() -> None:
    report = validate_bars(bars(), symbol="AAPL")
    assert report.ok and report.findings == ()
    assert (report.rows_checked, report.symbol) == (8, "AAPL")


ONE_DEFECT = [
    ("missing_price", "error", [(3, "open", math.nan)]),
    ("missing_price", "error", [(3, "close", math.nan)]),
    ("price_range", "error", [(3, "open", 0.0)]),
    ("price_range", "error", [(3, "low", -5.0)]),
    ("price_range", "error", [(3, "high", 1_000_001.0)]),
    ("price_range", "error", [(3, "close", math.inf)]),
    ("price_range", "error", [(3, "low", -math.inf)]),
    ("price_range", "error", [(3, c, 0.0) for c in COLUMNS[:4]]),
    ("high_low", "error", [(3, "high", 102.0), (3, "low", 104.0)]),
    ("open_outside_range", "error", [(3, "open", 104.01)]),
    ("open_outside_range", "error", [(3, "open", 101.99)]),
    ("close_outside_range", "error", [(3, "close", 104.01)]),
    ("close_outside_range", "error", [(3, "close", 101.99)]),
    ("volume_range", "error", [(3, "volume", -1.0)]),
    ("volume_range", "error", [(3, "volume", math.inf)]),
    ("volume_range", "error", [(3, "volume", -math.inf)]),
    ("missing_volume", "warning", [(3, "volume", math.nan)]),
    ("zero_volume", "warning", [(3, "volume", 0.0)]),
    ("fractional_volume", "info", [(3, "volume", 1710178.5)]),
]


@pytest.mark.parametrize(("rule", "severity", "cells"), ONE_DEFECT)
def test_one_defect_is_one_finding(
    rule: str, severity: str, cells: list[tuple[int, str, float]]
) -> None:
    frame = planted(*cells)
    report = validate_bars(frame)
    (finding,) = report.findings
    assert (finding.rule, finding.severity, finding.count) == (rule, severity, 1)
    assert finding.positions.tolist() == [3]
    assert finding.rows == (frame.index[3],)
    for _, column, value in cells:
        assert finding.values[column] == pytest.approx([value], nan_ok=True)
    assert finding.reason.endswith(".") and len(finding.reason) < 70
    assert report.ok == (severity != "error")


@pytest.mark.parametrize("column", ["open", "close"])
@pytest.mark.parametrize(("beyond", "found"), [(0.9e-6, 0), (1.2e-6, 1)])
def test_vendor_rounding_is_no_error(column: str, beyond: float, found: int) -> None:
    above = planted((3, column, 104.0 * (1 + beyond)))
    below = planted((3, column, 102.0 * (1 - beyond)))
    for frame in (above, below):
        assert counts(frame) == ({f"{column}_outside_range": 1} if found else {})


def test_rounding_of_a_high_and_low_that_are_equal() -> None:
    flat = planted(*[(3, column, 103.0) for column in COLUMNS[:4]])
    flat.iloc[3, 1] = 103.0 * (1 - 0.9e-6)
    assert counts(flat) == {}


def test_bounds_are_the_settings_own() -> None:
    rules = Validation(min_price=102.0, max_price=104.0)
    frame = bars(5)
    outside = [not all(102 < price <= 104 for price in row[:4]) for row in frame.to_numpy()]
    report = validate_bars(frame, rules)
    (finding,) = report.findings
    assert finding.positions.tolist() == np.flatnonzero(outside).tolist() == [0, 1, 2, 3, 4]
    assert "102" in finding.reason and "104" in finding.reason
    assert counts(bars(5), Validation(min_price=98.9, max_price=105.0)) == {}
    assert counts(bars(5), Validation(max_price=104.9)) == {"price_range": 1}


def test_zero_volume_can_be_allowed() -> None:
    assert counts(planted((3, "volume", 0.0)), Validation(allow_zero_volume=True)) == {}


# ------------------------------------------------------------------ dates


def test_an_exact_repeat_is_a_warning_on_the_later_row() -> None:
    frame = bars()
    report = validate_bars(pd.concat([frame.iloc[:3], frame.iloc[2:]]))
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("duplicate", "warning")
    assert finding.positions.tolist() == [3]


def test_of_many_repeats_the_first_row_stays() -> None:
    frame = bars(100).iloc[np.tile(np.arange(100), 3)]
    (finding,) = validate_bars(frame).warnings
    assert finding.positions.tolist() == list(range(100, 300))


def test_repeats_of_nan_are_exact() -> None:
    frame = planted((2, "volume", math.nan))
    assert counts(pd.concat([frame.iloc[:3], frame.iloc[2:]])) == {
        "duplicate": 1,
        "missing_volume": 2,
    }


def test_rows_of_one_date_that_differ_conflict_all() -> None:
    frame = bars().iloc[[0, 1, 2, 2, 2, 3, 4]].copy()
    frame.iloc[4, 4] = 7.0  # one volume differs; the exact repeat beside it is no second finding
    report = validate_bars(frame)
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("conflicting_duplicate", "error")
    assert finding.positions.tolist() == [2, 3, 4]
    assert finding.values["volume"] == [1002.0, 1002.0, 7.0]


def test_a_further_column_can_make_rows_differ() -> None:
    frame = bars().assign(dividends=0.0).iloc[[0, 1, 1, 2]].copy()
    assert counts(frame) == {"duplicate": 1}
    frame.iloc[2, 5] = 0.24
    assert counts(frame) == {"conflicting_duplicate": 2}


def test_unsorted_dates_are_an_error_of_the_frame() -> None:
    frame = bars().iloc[[0, 2, 1, 3, 4, 5, 7, 6]]
    report = validate_bars(frame)
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("unsorted", "error")
    assert finding.rows == (frame.index[2], frame.index[7])
    assert not report.bad_rows().any()


def test_repeats_far_apart_are_found_too() -> None:
    frame = bars().iloc[[0, 1, 2, 3, 1]]
    report = validate_bars(frame)
    assert report.summary()["rules"] == {"unsorted": 1, "duplicate": 1}
    assert report.warnings[0].positions.tolist() == [4]


def test_a_row_without_date_is_an_error_and_hides_nothing() -> None:
    frame = bars().iloc[[0, 1, 2, 4, 3]]
    frame.index = frame.index.where(frame.index != frame.index[1], pd.NaT)
    report = validate_bars(frame)
    assert report.summary()["rules"] == {"missing_date": 1, "unsorted": 1}
    assert report.errors[0].positions.tolist() == [1]
    assert report.errors[0].rows == (pd.NaT,)
    assert "no date" in str(report)


def test_a_date_that_is_a_placeholder_is_none() -> None:
    frame = bars()
    frame.index = pd.DatetimeIndex([*frame.index[:7].astype(str), "9999-12-31"]).as_unit("s")
    (finding,) = validate_bars(frame).errors
    assert (finding.rule, finding.positions.tolist()) == ("missing_date", [7])


def test_two_rows_without_date_do_not_repeat_each_other() -> None:
    frame = bars()
    frame.index = frame.index.where(frame.index > frame.index[1], pd.NaT)
    assert counts(frame) == {"missing_date": 2}


def test_weekend_rows_of_daily_frames() -> None:
    frame = bars(10)
    frame.index = pd.date_range("2024-01-04", periods=10, name="date")  # a Thursday
    report = validate_bars(frame)
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("weekend", "warning")
    assert [day.isoformat()[:10] for day in finding.rows] == ["2024-01-06", "2024-01-07"] + [
        "2024-01-13"
    ]


def test_weekends_before_1970() -> None:
    frame = bars(7)
    frame.index = pd.date_range("1969-12-25", periods=7, name="date")  # a Thursday
    assert validate_bars(frame).findings[0].positions.tolist() == [2, 3]


def test_time_of_day_in_daily_rows() -> None:
    frame = bars()
    frame.index = frame.index.where(
        frame.index != frame.index[2], frame.index[2] + pd.Timedelta("5h")
    )
    report = validate_bars(frame)
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("time_of_day", "warning")
    assert finding.positions.tolist() == [2]
    frame.index = bars().index + pd.Timedelta("16h")
    assert counts(frame) == {"time_of_day": 8}
    assert counts(frame.iloc[[0, 1, 1, 2]]) == {"time_of_day": 4, "duplicate": 1}
    assert counts(frame.iloc[::-1]) == {"time_of_day": 8, "unsorted": 7}


def test_intraday_bars_have_times_and_weekends() -> None:
    frame = bars()
    frame.index = pd.date_range("2024-01-06 22:00", periods=8, freq="30min", tz="America/New_York")
    assert counts(frame) == {}
    assert validate_bars(frame, intraday=False).summary()["rules"] == {
        "time_of_day": 7,
        "weekend": 8,
    }
    once_a_day = bars()
    once_a_day.index = once_a_day.index + pd.Timedelta("16h")
    assert validate_bars(once_a_day, intraday=True).findings == ()
    assert counts(frame.iloc[:1]) == {}  # one bar alone is no daily frame


def test_an_hour_that_the_clock_repeats_is_no_duplicate() -> None:
    frame = bars(24)
    frame.index = pd.date_range("2024-11-02 21:00", periods=24, freq="30min", tz="America/New_York")
    assert frame.index.tz_localize(None).has_duplicates
    assert counts(frame) == {}


def test_sessions_are_local_dates() -> None:
    frame = bars()
    frame.index = frame.index.tz_localize("Asia/Tokyo")  # Monday there is still Sunday in UTC
    report = validate_bars(frame.iloc[[0, 3, 2]])
    assert report.summary()["rules"] == {"unsorted": 1}
    assert report.errors[0].rows == (frame.index[2],)


# ------------------------------------------------------------------ columns and shapes


def test_missing_columns_are_named_with_what_they_may_be() -> None:
    frame = bars().rename(columns={"close": "clsoe", "volume": "volumne"}).drop(columns="low")
    report = validate_bars(frame)
    (finding,) = report.findings
    assert (finding.rule, finding.severity, finding.count) == ("required_columns", "error", 3)
    assert finding.columns == ("low", "close", "volume")
    assert "low, close, volume" in finding.reason
    assert "'clsoe' is close" in finding.reason and "'volumne' is volume" in finding.reason
    assert not report.bad_rows().any() and finding.rows == () and finding.values == {}
    asked = Validation(required_columns=("close", "adj_close", "currency"))
    (finding,) = validate_bars(bars().assign(currency="USD"), asked).errors
    assert finding.reason == "Required columns are missing: adj_close."


def test_rules_go_on_with_the_columns_that_are_there() -> None:
    frame = planted((1, "close", 0.0), (2, "close", 999.0)).drop(columns=["low", "volume"])
    assert counts(frame, Validation(required_columns=("close",))) == {
        "price_range": 1,
        "close_outside_range": 1,
    }
    assert counts(frame.drop(columns=COLUMNS[:2]), Validation(required_columns=())) == {
        "price_range": 1,
        "price_scale": 1,  # 999 between 100 and 103: nothing else says so here
    }


def test_names_of_other_hands_are_read_and_said() -> None:
    frame = planted((2, "close", 0.0)).rename(columns=str.title).rename_axis("trade_date")
    for shape in (frame, frame.reset_index(), frame.reset_index().astype({"trade_date": str})):
        report = validate_bars(shape)
        assert report.summary()["rules"] == {
            "price_range": 1,
            "column_names": 5 + ("trade_date" in shape),
        }
        assert report.errors[0].rows == (pd.Timestamp("2024-01-04"),)
        renamed = ", trade_date as date" if "trade_date" in shape else ""
        assert report.infos[0].reason == f"Column names are read in lower case{renamed}."


def test_yfinance_heads_columns_twice() -> None:
    frame = planted((2, "close", 0.0))
    frame.columns = pd.MultiIndex.from_product([[c.title() for c in COLUMNS], ["AAPL"]])
    assert counts(frame) == {"price_range": 1, "column_names": 5}
    two = pd.concat([bars(), bars()], axis=1)
    assert counts(two)["duplicate_columns"] == 5


def test_our_own_spelling_wins_over_others() -> None:
    assert counts(bars().assign(Close=0.0, c=0.0, note="x")) == {}
    assert counts(bars().assign(date="2024-01-06")) == {}  # the index says when
    assert counts(pd.concat([bars(), pd.DataFrame(0.0, bars().index, ["x", "x"])], axis=1)) == {}


def test_two_foreign_spellings_of_one_column_are_refused() -> None:
    frame = bars().drop(columns="close").assign(Close=1.0, CLOSE=2.0)
    report = validate_bars(frame)
    assert [finding.rule for finding in report.errors if finding.frame_level] == [
        "duplicate_columns"
    ]
    assert report.errors[0].columns == ("close",)


def test_text_where_numbers_belong() -> None:
    frame = bars().astype({"close": object})
    frame.iloc[2, 3], frame.iloc[3, 3] = "n/a", None
    report = validate_bars(frame)
    assert report.summary()["rules"] == {"not_numeric": 1, "missing_price": 2}
    assert "Column close holds text, 1 of 8 are not numbers." in str(report)
    assert counts(bars().astype(str)) == {"not_numeric": 5}


@pytest.mark.parametrize("kind", ["float32", "Float64", "double[pyarrow]"])
def test_other_number_types_are_read(kind: str) -> None:
    frame = planted((2, "close", math.nan), (3, "low", 0.0)).astype(kind)
    assert counts(frame) == {"missing_price": 1, "price_range": 1}
    frame = bars().astype("int64").astype({"volume": "Int64"})
    frame.iloc[2, 4] = pd.NA
    assert counts(frame) == {"missing_volume": 1}


def test_a_frame_without_dates_is_refused() -> None:
    for frame in (bars().reset_index(drop=True), bars().set_axis(list("abcdefgh"))):
        report = validate_bars(frame)
        assert [(f.rule, f.frame_level) for f in report.errors] == [("missing_date", True)]
        with pytest.raises(ValidationError, match="no dates"):
            apply_policy(frame, report, "drop")


@pytest.mark.parametrize("rows", [0, 1])
def test_short_frames(rows: int) -> None:
    assert validate_bars(bars().iloc[:rows]).findings == ()
    assert validate_bars(long_form().iloc[:rows]).findings == ()
    assert counts(pd.DataFrame()) == {"required_columns": 5}


# ------------------------------------------------------------------ several symbols


def long_form() -> pd.DataFrame:
    clean, dirty = bars(), planted((2, "close", 0.0), (5, "volume", 0.0))
    return pd.concat({"KO": clean, "PEP": dirty}, names=["symbol", "date"])


@pytest.mark.parametrize("order", ["symbol", "date"])
def test_every_symbol_is_checked_by_itself(order: str) -> None:
    frame = long_form().sort_index(level=order, sort_remaining=False, kind="stable")
    report = validate_bars(frame)
    assert report.summary()["rules"] == {"price_range": 1, "zero_volume": 1}
    (error,) = report.errors
    assert error.rows == (("PEP", pd.Timestamp("2024-01-04")),)
    assert frame.loc[error.rows[0], "close"] == 0.0
    assert frame.iloc[error.positions[0]]["close"] == 0.0
    assert "PEP 2024-01-04" in str(report)
    assert report.to_frame()["symbol"].tolist() == ["PEP", "PEP"]


def test_disorder_inside_one_symbol_is_found() -> None:
    frame = long_form().iloc[[0, 1, 2, 3, 4, 5, 6, 7, 9, 8, 10, 11]]
    (finding,) = (f for f in validate_bars(frame).errors if f.rule == "unsorted")
    assert finding.rows == (("PEP", pd.Timestamp("2024-01-02")),)


def test_findings_of_several_symbols_are_one() -> None:
    frame = pd.concat({"A": planted((7, "close", 0.0)), "B": planted((1, "close", 0.0))})
    (error,) = validate_bars(frame.rename_axis(["symbol", "date"])).errors
    assert error.count == 2 and error.positions.tolist() == [7, 9]
    assert [symbol for symbol, _ in error.rows] == ["A", "B"]


def test_a_symbol_column_parts_symbols_too() -> None:
    report = validate_bars(long_form().reset_index("symbol"))
    assert report.summary()["rules"] == {"price_range": 1, "zero_volume": 1}
    assert report.errors[0].rows == (("PEP", pd.Timestamp("2024-01-04")),)


# ------------------------------------------------------------------ arrays, purity


def test_arrays_and_frames_give_the_same_report() -> None:
    frame = planted((1, "close", 0.0), (2, "volume", 0.0), (4, "high", 1.0)).iloc[[0, 1, 2, 4, 4]]
    one = validate_bars(frame, symbol="KO")
    columns = {name: frame[name].to_numpy() for name in frame}
    other = validate_arrays(frame.index.to_numpy(), columns, Validation(), symbol="KO")
    assert len(one.findings) == 4
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())
    assert str(one) == str(other)
    assert validate_arrays(frame.index.to_numpy(), {}).summary()["rules"]["required_columns"] == 5


def test_nothing_is_mutated() -> None:
    frame = (
        planted((1, "close", 0.0), (2, "volume", 0.0))
        .iloc[[0, 2, 1, 1, 4]]
        .rename(columns=str.title)
    )
    frame.attrs["stockdb"] = {"dataset": "stocks"}
    before = frame.copy(deep=True)
    report = validate_bars(frame)
    for policy in ("flag", "drop"):
        try:
            apply_policy(frame, report, policy)
        except ValidationError:
            pass
    str(report), report.to_frame(), report._repr_html_()
    pd.testing.assert_frame_equal(frame, before)
    dates, columns = before.index.to_numpy(), {c: before[c].to_numpy() for c in before}
    for array in (dates, *columns.values()):
        array.setflags(write=False)  # a rule that writes fails here
    validate_arrays(dates, columns)


def test_a_rule_cannot_spoil_the_others() -> None:
    nothing = Bars(*[bars().index.to_numpy()] * 2, {}, Validation()).nothing
    with pytest.raises(ValueError, match="read-only"):
        nothing[0] = True
