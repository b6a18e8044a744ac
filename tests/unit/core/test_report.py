"""The report: how it reads, what policies make of it, and what it says of real files.

The expected counts of the real files come from plain Python over the CSV's own lines.
"""

from __future__ import annotations

import csv
import gzip
import html.parser
import io
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stockdb.core.validation import apply_policy, validate_bars
from stockdb.errors import ConfigurationError, DataError, ValidationError

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


# ------------------------------------------------------------------ the report


def test_at_most_twenty_rows_are_kept_and_all_are_counted() -> None:
    frame = bars(60)
    frame["volume"] = 0.0
    report = validate_bars(frame)
    (finding,) = report.findings
    assert finding.count == 60 and len(finding.positions) == 60
    assert finding.rows == tuple(frame.index[:20])
    assert finding.values == {"volume": [0.0] * 20}
    assert len(report.to_frame()) == 60


def test_severities_and_bad_rows() -> None:
    report = validate_bars(planted((1, "close", 0.0), (2, "volume", 0.0), (3, "volume", 0.5)))
    assert [f.severity for f in report.findings] == ["error", "warning", "info"]
    assert [f.rule for f in report.errors + report.warnings + report.infos] == [
        "price_range",
        "zero_volume",
        "fractional_volume",
    ]
    assert np.flatnonzero(report.bad_rows()).tolist() == [1]
    assert np.flatnonzero(report.bad_rows("warning")).tolist() == [1, 2]
    assert np.flatnonzero(report.bad_rows("info")).tolist() == [1, 2, 3]
    assert report.bad_rows().dtype == np.bool_ and len(report.bad_rows()) == 8


def test_graver_findings_come_first() -> None:
    frame = bars().iloc[[0, 1, 1, 2, 3]].copy()  # a warning, of a rule before that of the error
    frame.iloc[4, 3] = 0.0
    assert [f.severity for f in validate_bars(frame).findings] == ["warning", "error"][::-1]


def test_summary_is_small_and_json() -> None:
    summary = validate_bars(planted((1, "close", 0.0), (2, "close", 0.0))).summary()
    assert summary == {"errors": 1, "warnings": 0, "infos": 0, "rules": {"price_range": 2}}
    assert json.loads(json.dumps(summary)) == summary


def test_to_frame_has_a_line_per_row() -> None:
    frame = planted((1, "open", 0.0), (2, "volume", 0.0)).drop(columns="low")
    table = validate_bars(frame, symbol="KO").to_frame()
    assert table.columns.tolist() == [
        *("rule", "severity", "symbol", "date", "columns", "value", "reason")
    ]
    assert table["rule"].tolist() == ["required_columns", "price_range", "zero_volume"]
    assert table["date"].tolist()[1:] == [pd.Timestamp("2024-01-03"), pd.Timestamp("2024-01-04")]
    assert table["date"].isna().tolist() == [True, False, False]
    assert table["columns"].tolist() == ["low", "open, high, close", "volume"]
    assert table["value"].tolist() == ["", "0, 102, 101", "0"]
    assert set(table["symbol"]) == {"KO"}
    assert table["date"].dtype.kind == "M"
    empty = validate_bars(bars()).to_frame()
    assert empty.empty and empty.columns.equals(table.columns) and empty["date"].dtype.kind == "M"


def test_truth_is_refused() -> None:
    with pytest.raises(TypeError, match=r"report\.ok"):
        bool(validate_bars(bars()))


def test_text_for_people() -> None:
    frame = planted((1, "close", 0.0), (2, "volume", 0.0), (3, "volume", 0.0))
    assert str(validate_bars(frame, symbol="KO")).splitlines() == [
        "KO: 8 rows checked, 1 error, 1 warning",
        "  severity  rule         count  first row   last row    what (first case)",
        "  error     price_range      1  2024-01-03  2024-01-03  A price is not above 0 or is "
        "above 1,000,000 (open=100.5 high=102 low=100 close=0).",
        "  warning   zero_volume      2  2024-01-04  2024-01-05  The volume is zero (volume=0).",
    ]
    assert str(validate_bars(bars(), symbol="KO")) == "KO: 8 rows checked, nothing found"
    assert repr(validate_bars(bars().iloc[:1])) == (
        "<ValidationReport Bars: 1 row checked, nothing found>"
    )
    assert "price_range, count=1" in repr(validate_bars(frame).findings[0])


def test_volumes_are_shown_with_all_their_digits() -> None:
    text = str(validate_bars(planted((1, "volume", 1496329307.41), (2, "close", 999.0000001))))
    assert "volume=1,496,329,307.41)" in text and "close=999 " in text


def test_times_are_shown_where_there_are_any() -> None:
    frame = planted((2, "volume", 0.0))
    frame.index = pd.date_range("2024-01-05 09:30", periods=8, freq="5min", tz="America/New_York")
    assert "2024-01-05 09:40:00-05:00" in str(validate_bars(frame))


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x>', "a & b"])
def test_html_escapes_what_users_bring(evil: str) -> None:
    frame = bars().rename(columns={"close": f"close{evil}"})
    dirty = pd.concat({evil: planted((1, "close", 0.0))}, names=["symbol", "date"])
    for report in (validate_bars(frame, symbol=evil), validate_bars(dirty)):
        tags = Tags()
        tags.feed(report._repr_html_())
        assert set(tags.names) <= {"p", "b", "table", "thead", "tbody", "tr", "th", "td"}
        assert evil in tags.text


def test_html_without_findings_is_a_line() -> None:
    assert validate_bars(bars(), symbol="KO")._repr_html_() == (
        "<p><b>KO: 8 rows checked, nothing found</b></p>"
    )


# ------------------------------------------------------------------ policies


def test_flag_gives_the_frame_as_it_is() -> None:
    frame = planted((1, "close", 0.0))
    assert apply_policy(frame, validate_bars(frame), "flag") is frame


def test_drop_removes_rows_with_errors_only() -> None:
    frame = planted((1, "close", 0.0), (2, "volume", 0.0), (4, "open", math.nan))
    frame.attrs["stockdb"] = {"dataset": "stocks"}
    kept = apply_policy(frame, validate_bars(frame), "drop")
    pd.testing.assert_frame_equal(kept, frame.iloc[[0, 2, 3, 5, 6, 7]])
    assert kept.attrs == frame.attrs
    assert validate_bars(kept).ok


def test_drop_takes_all_rows_of_a_disputed_date() -> None:
    frame = bars().iloc[[0, 1, 1, 2]].copy()
    frame.iloc[2, 3] = 101.5
    kept = apply_policy(frame, validate_bars(frame), "drop")
    assert kept.index.tolist() == [frame.index[0], frame.index[3]]


def test_raise_carries_the_report() -> None:
    frame = planted((1, "close", 0.0), (3, "volume", 0.0))
    report = validate_bars(frame, symbol="KO")
    with pytest.raises(
        ValidationError, match=r"KO failed validation\. price_range \(1\)"
    ) as caught:
        apply_policy(frame, report, "raise")
    assert caught.value.report is report and caught.value.symbol == "KO"
    assert "zero_volume" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again.report) == str(report)
    assert again.report.to_frame().equals(report.to_frame())


@pytest.mark.parametrize("policy", ["raise", "drop"])
def test_warnings_lead_to_nothing(policy: str) -> None:
    frame = planted((3, "volume", 0.0))
    assert apply_policy(frame, validate_bars(frame), policy) is frame


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda frame: frame.drop(columns="low"), "required_columns"),
        (lambda frame: frame.iloc[::-1], "unsorted"),
        (lambda frame: frame.astype({"low": str}), "not_numeric"),
    ],
)
def test_what_dropping_cannot_heal_raises(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], match: str
) -> None:
    frame = spoil(planted((1, "close", 0.0)))
    report = validate_bars(frame)
    with pytest.raises(ValidationError, match=match) as caught:
        apply_policy(frame, report, "drop")
    assert "price_range" not in str(caught.value)
    assert caught.value.remedy.startswith("Dropping rows does not heal this")
    assert apply_policy(frame, report, "flag") is frame


def test_a_policy_that_is_none_and_a_report_of_another_frame() -> None:
    frame = bars()
    report = validate_bars(frame)
    with pytest.raises(ConfigurationError, match="'keep'"):
        apply_policy(frame, report, "keep")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="8 rows, the frame has 7"):
        apply_policy(frame.iloc[1:], report, "drop")


# ------------------------------------------------------------------ real files


def lines(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV with lower-case names; the first column is the date, whatever its name."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    head, *rows = csv.reader(io.StringIO(raw.decode()))
    names = ["date", *(name.lower() for name in head[1:])]
    return [dict(zip(names, row, strict=True)) for row in rows if row[0][:4].isdigit()]


def frame_of(path: Path) -> pd.DataFrame:
    """The same file as pandas reads it; yfinance writes three header lines."""
    head = (gzip.open if path.suffix == ".gz" else open)(path, "rt")
    with head as file:
        yfinance = file.readline().startswith("Price,")
    frame = pd.read_csv(
        path, index_col=0, parse_dates=True, skiprows=[1, 2] if yfinance else None
    ).rename(columns=lambda name: name.lower().replace(" ", "_"))
    return frame.rename_axis("date")


def number(row: dict[str, str], name: str) -> float:
    return float(row[name] or "nan")


def outside(row: dict[str, str], name: str) -> bool:
    value, high, low = (number(row, key) for key in (name, "high", "low"))
    if not (value > 0 and high > 0 and low > 0 and high >= low):
        return False  # a missing or zero price and swapped bounds have findings of their own
    return value > high + 2e-6 * high or value < low - 2e-6 * low


EXPECTED: dict[str, Callable[[dict[str, str]], bool]] = {
    "missing_price": lambda row: any(not row[name] for name in COLUMNS[:4]),
    "price_range": lambda row: any(number(row, name) <= 0 for name in COLUMNS[:4]),
    "high_low": lambda row: number(row, "high") < number(row, "low"),
    "open_outside_range": lambda row: outside(row, "open"),
    "close_outside_range": lambda row: outside(row, "close"),
    "missing_volume": lambda row: not row["volume"],
    "zero_volume": lambda row: number(row, "volume") == 0,
    "fractional_volume": lambda row: number(row, "volume") % 1 > 0,
}

DIRTY = [
    ("CHK_2013-2018_close_outside_range.csv", {"close_outside_range": 1}),
    ("COKE_1973_open_zero.csv.gz", {"price_range": 1307}),
    ("COL_zero_volume_recycled_ticker.csv.gz", {"zero_volume": 518}),
    ("DHR_2013-2018_nan_and_missing_days.csv", {"missing_price": 2, "open_outside_range": 1}),
    ("LSC-L-1d-bad-div.csv", {"zero_volume": 553}),
    ("MSFT_stooq_fractional_volume.csv.gz", {"fractional_volume": 1500}),
    (
        "PBG_high_below_low_nan_padded_delisted.csv.gz",
        {"high_low": 4, "missing_price": 446, "missing_volume": 446},
    ),
    ("UA_ohlc_inconsistent.csv.gz", {"open_outside_range": 1}),
]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "known"), DIRTY)
def test_real_defects_are_found_and_counted(
    shared_data: Path, name: str, known: dict[str, int]
) -> None:
    path = shared_data / "dirty" / name
    rows = lines(path)
    expected = {
        rule: [number for number, row in enumerate(rows) if holds(row)]
        for rule, holds in EXPECTED.items()
    }
    frame = frame_of(path)
    assert len(frame) == len(rows)
    report = validate_bars(frame)
    found = {
        finding.rule: finding.positions.tolist()
        for finding in report.findings
        if finding.rule
        in EXPECTED  # rules about several rows: tests/answers/test_shared_quality.py
    }
    assert found == {rule: where for rule, where in expected.items() if where}
    assert {rule: len(found[rule]) for rule in known} == known
    kept = apply_policy(frame, report, "drop")
    assert validate_bars(kept).ok and len(kept) == len(frame) - report.bad_rows().sum()


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "folder", ["stocks-2010-2025", "stocks-2026", "stocks-total-return-adjusted"]
)
def test_clean_real_files_give_nothing_but_news(shared_data: Path, folder: str) -> None:
    paths = sorted((shared_data / folder).glob("*.csv*"))
    assert paths
    for path in paths:
        frame = frame_of(path)
        report = validate_bars(frame, symbol=path.name, calendar="XNYS")
        assert len(frame) > 100 and not report.errors and not report.warnings, str(report)


@pytest.mark.shared_data
def test_real_intraday_files_have_no_errors(shared_data: Path) -> None:
    for path in sorted((shared_data / "intraday").glob("*.csv*")):
        report = validate_bars(pd.read_csv(path), symbol=path.name)
        expected = {"column_names", "zero_volume"}
        if path.name == "AAPL_1min_lean.csv.gz":  # 7:1 within; and one minute before the opening
            expected |= {"split_jump", "intraday_gap"}
        rules = set(report.summary()["rules"])
        assert report.ok and rules <= expected, str(report)
        assert ("split_jump" in rules) == (path.name == "AAPL_1min_lean.csv.gz")


@pytest.mark.shared_data
@pytest.mark.parametrize("policy", ["drop", "raise"])
def test_a_file_that_runs_backwards_is_refused(shared_data: Path, policy: str) -> None:
    frame = frame_of(shared_data / "dirty" / "4063-T-1d-bad-stock-split.csv")
    report = validate_bars(frame)
    assert report.errors[0].count == len(frame) - 1
    with pytest.raises(ValidationError, match="unsorted"):
        apply_policy(frame, report, policy)
    assert validate_bars(frame.iloc[::-1]).ok
