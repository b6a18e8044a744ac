"""Real defects, file by file, as their collectors documented them (MANIFEST.md of the data).

The collectors are the test data of yfinance (100x errors, splits and dividends, each with the
twin that its repair made), and the vendors' files that MANIFEST.md names.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from stockdb.core.report import ValidationReport
from stockdb.core.validation import validate_bars
from stockdb.settings.sections import Validation

pytestmark = pytest.mark.shared_data

RULES = Validation(required_columns=("close",))


def report_of(path: Path, calendar: str | None = None) -> ValidationReport:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        first = file.readline()
    frame = pd.read_csv(path, skiprows=[1, 2] if first.startswith("Price,") else None)
    frame = frame.rename(columns={frame.columns[0]: "date"})
    return validate_bars(frame, RULES, symbol=path.name, calendar=calendar)


def dates(report: ValidationReport, rule: str) -> list[str]:
    return [
        str(label)[:10]
        for finding in report.findings
        if finding.rule == rule
        for label in finding.labels
    ]


# Not here: that COL is not the company that bore this symbol until 2018. Its file is the other
# company's from the first row on, so that nothing in it tells.
#: File, calendar, rule, dates (or their number) of the documented defect.
DEFECTS = [
    ("4063-T-1d-bad-stock-split.csv", "XTKS", "split_jump", ["2023-03-29"]),
    ("8TRA-DE-1d-missing-div-adjust.csv", "XETR", "missing_adjustment", ["2023-06-02"]),
    # Nine closes of 14.55 pence among fourteen of 0.1455 pounds.
    ("AET-L-1d-100x-error.csv", "XLON", "price_scale", 9),
    ("ALPHA-PA-1d-bad-stock-split.csv", "XPAR", "price_scale", ["2023-05-08"]),
    ("CHK_2013-2018_close_outside_range.csv", "XNYS", "close_outside_range", ["2014-06-30"]),
    ("COKE_1973_open_zero.csv.gz", None, "price_range", 1307),
    ("COL_zero_volume_recycled_ticker.csv.gz", None, "zero_volume", 518),
    ("DHR_2013-2018_nan_and_missing_days.csv", "XNYS", "missing_session", 16),
    ("DHR_2013-2018_nan_and_missing_days.csv", "XNYS", "missing_price", 2),
    (
        "LSC-L-1d-bad-div.csv",
        None,
        "wrong_dividend",
        ["2022-06-09", "2022-11-03", "2023-06-08", "2023-11-09"],
    ),
    ("MSFT_stooq_fractional_volume.csv.gz", "XNYS", "fractional_volume", 1500),
    ("PBG_high_below_low_nan_padded_delisted.csv.gz", None, "high_low", 4),
    ("PBG_high_below_low_nan_padded_delisted.csv.gz", None, "missing_price", 446),
    ("PBG_high_below_low_nan_padded_delisted.csv.gz", None, "padded_tail", 207),
    # 0.14 a share in July, 120 in October: not the same company.
    ("PBG_high_below_low_nan_padded_delisted.csv.gz", None, "recycled_ticker", ["2018-10-31"]),
    ("UA_ohlc_inconsistent.csv.gz", None, "open_outside_range", 1),
]


@pytest.mark.parametrize(("name", "calendar", "rule", "expected"), DEFECTS)
def test_the_documented_defect_is_reported(
    shared_data: Path, name: str, calendar: str | None, rule: str, expected: int | list[str]
) -> None:
    report = report_of(shared_data / "dirty" / name, calendar)
    found = dates(report, rule)
    assert (len(found) if isinstance(expected, int) else sorted(found)) == expected, str(report)


def test_no_file_of_defects_is_left_out(shared_data: Path) -> None:
    """The options file in a vendor's layout is refused by the parser: see its own test."""
    names = {path.name for path in (shared_data / "dirty").glob("*.csv*")}
    told = {name for name, *_ in DEFECTS}
    left = {name for name in names - told if "-fixed" not in name}
    assert left == {"spy_cboe_quotedata_original_2025-05-16.csv.gz"}


#: Folders of clean files, and how many there are.
CLEAN = {"stocks-2010-2025": 15, "stocks-2026": 5, "stocks-total-return-adjusted": 4}


@pytest.mark.parametrize("folder", CLEAN)
def test_clean_files_give_nothing_above_info(shared_data: Path, folder: str) -> None:
    """Every session of the calendar is there, and no day without one; no earnings day tells."""
    paths = sorted((shared_data / folder).glob("*.csv*"))
    assert len(paths) == CLEAN[folder]
    for path in paths:
        report = report_of(path, "XNYS")
        assert report.rows_checked > 150 and set(report.summary()["rules"]) <= {
            "column_names",
            "price_jump",
        }, str(report)


@pytest.mark.parametrize("symbol", ["AAPL", "NVDA", "SPY"])
def test_clean_minutes_with_a_half_day(shared_data: Path, symbol: str) -> None:
    """78 bars a day, 42 on 2024-07-03; without the half day's last bar just that is missing."""
    path = shared_data / "intraday" / f"{symbol}_5min.csv.gz"
    assert set(report_of(path, "XNYS").summary()["rules"]) <= {"column_names", "price_jump"}
    frame = pd.read_csv(path, index_col=0, parse_dates=True)
    last = pd.Timestamp("2024-07-03 12:55")
    report = validate_bars(frame.drop(last), RULES, calendar="XNYS")
    assert dates(report, "missing_bars") == ["2024-07-03"]


@pytest.mark.parametrize("ratio", [2.0, 3.0, 7.0, 20.0, 1.5, 0.1])
def test_splits_put_back_into_real_bars_are_found(shared_data: Path, ratio: float) -> None:
    """Where real bars are told apart from their neighbours by a split, on days of all kinds."""
    hits = tries = 0
    for path in sorted((shared_data / "stocks-2010-2025").glob("*.csv")):
        frame = pd.read_csv(path, index_col=0, parse_dates=True).astype(float)
        at = len(frame) * (7 + len(path.stem)) // 20
        frame.iloc[:at, :4] *= ratio
        frame.iloc[:at, 4] /= ratio
        tries += 1
        hits += dates(validate_bars(frame), "split_jump") == [str(frame.index[at])[:10]]
    assert tries == 15 and hits >= 14


@pytest.mark.parametrize("fall", [0.5, 0.6, 2.0])
def test_shocks_on_the_busiest_real_days_are_no_splits(shared_data: Path, fall: float) -> None:
    """The three days of each symbol on which trading swelled most, with a jump of the price."""
    for path in sorted((shared_data / "stocks-2010-2025").glob("*.csv")):
        frame = pd.read_csv(path, index_col=0, parse_dates=True).astype(float)
        usual = frame["Volume"].rolling(20).median().shift()
        for day in (frame["Volume"] / usual).iloc[30:-30].nlargest(3).index:
            shocked, at = frame.copy(), frame.index.get_loc(day)
            shocked.iloc[at:, :4] *= fall
            shocked.iloc[at, 4] = max(shocked.iloc[at, 4], 8 * usual[day])
            report = validate_bars(shocked)
            assert not report.errors and not report.warnings, f"{path.stem} {day} {report}"


@pytest.mark.parametrize(
    ("name", "calendar", "rules"),
    [
        ("4063-T-1d-bad-stock-split-fixed.csv", "XTKS", {"split_jump"}),
        ("8TRA-DE-1d-missing-div-adjust-fixed.csv", "XETR", {"missing_adjustment"}),
        ("AET-L-1d-100x-error-fixed.csv", "XLON", {"price_scale", "price_spike"}),
        ("ALPHA-PA-1d-bad-stock-split-fixed.csv", "XPAR", {"price_scale", "split_jump"}),
        ("LSC-L-1d-bad-div-fixed.csv.gz", "XLON", {"wrong_dividend", "adj_close_range"}),
    ],
)
def test_the_repaired_twin_is_clean_of_it(
    shared_data: Path, name: str, calendar: str, rules: set[str]
) -> None:
    report = report_of(shared_data / "dirty" / name, calendar)
    assert not rules & set(report.summary()["rules"]), str(report)


@pytest.mark.parametrize(
    ("symbol", "splits"),
    [("AAPL", ["2014-06-09", "2020-08-31"]), ("GOOG", ["2014-04-03"]), ("SPY", [])],
)
def test_unadjusted_prices_show_their_splits(
    shared_data: Path, symbol: str, splits: list[str]
) -> None:
    """Splits as the exchanges announced them; no earnings day of eleven years is taken for one."""
    report = report_of(shared_data / "stocks-unadjusted" / f"{symbol}.csv.gz", "XNYS")
    assert dates(report, "split_jump") == splits, str(report)


def test_two_lows_of_a_real_file_lack_a_digit(shared_data: Path) -> None:
    """25.3 for 241-odd and 32.65 for 325-odd: the file's own defects, found by the rule."""
    report = report_of(shared_data / "stocks-unadjusted" / "AAPL.csv.gz", "XNYS")
    assert dates(report, "price_scale") == ["2010-08-31", "2011-01-03"]


def test_a_removed_session_is_told_from_a_holiday(shared_data: Path) -> None:
    path = shared_data / "stocks-2010-2025" / "AAPL.csv"
    frame = pd.read_csv(path, index_col=0, parse_dates=True).rename_axis("date")
    frame.columns = frame.columns.str.lower()
    half_day, ordinary = pd.Timestamp("2023-11-24"), pd.Timestamp("2023-05-10")
    report = validate_bars(frame.drop([half_day, ordinary]), calendar="XNYS")
    (finding,) = (one for one in report.findings if one.rule == "missing_session")
    assert list(finding.labels) == [ordinary, half_day]
    assert "1 of them half days" in finding.reason
    closed = frame.loc[["2023-05-10"]].set_axis(pd.DatetimeIndex(["2023-01-02"]))
    more = pd.concat([frame, closed]).sort_index()
    report = validate_bars(more, calendar="XNYS")
    assert dates(report, "holiday") == ["2023-01-02"]
