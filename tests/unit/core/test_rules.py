"""Rules about several rows: a planted defect is found, its harmless look-alike is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stockdb.core.rules import RULES
from stockdb.core.validation import validate_bars
from stockdb.errors import ConfigurationError
from stockdb.settings.sections import Validation

ROWS = 120
RULE_NAMES = {rule.name for rule in RULES}


def walk(rows: int = ROWS, seed: int = 3, price: float = 100.0) -> pd.DataFrame:
    """A quiet stock: 1 % a day, 2 % between high and low, about a million shares."""
    chance = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(chance.normal(0, 0.01, rows)))
    opened = close * np.exp(chance.normal(0, 0.004, rows))
    frame = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.006,
            "low": np.minimum(opened, close) * 0.994,
            "close": close,
            "volume": np.round(1e6 * np.exp(chance.normal(0, 0.25, rows))),
        },
        index=pd.bdate_range("2023-01-02", periods=rows, name="date", unit="ns"),
    )
    return frame.round({name: 4 for name in ("open", "high", "low", "close")})


def rescaled(frame: pd.DataFrame, first: int, stop: int, factor: float) -> pd.DataFrame:
    changed = frame.copy()
    changed.iloc[first:stop, :4] *= factor
    return changed


def found(frame: pd.DataFrame, rule: str, rules: Validation | None = None) -> list[int]:
    assert rule in RULE_NAMES
    for finding in validate_bars(frame, rules).findings:
        if finding.rule == rule:
            return finding.positions.tolist()
    return []


def names(frame: pd.DataFrame, rules: Validation | None = None) -> set[str]:
    return {finding.rule for finding in validate_bars(frame, rules).findings}


@pytest.mark.parametrize("seed", range(5))
def test_a_quiet_stock_gives_nothing(seed: int) -> None:
    assert names(walk(seed=seed)) == set()


# ------------------------------------------------------------------ levels


def split(ratio: float, at: int = 60) -> pd.DataFrame:
    """Prices fall by the ratio and shares multiply: the money stays what it was."""
    frame = rescaled(walk(), at, ROWS, 1 / ratio)
    frame.iloc[at:, 4] = np.round(frame.iloc[at:, 4] * ratio)
    return frame


@pytest.mark.parametrize("ratio", [2, 3, 4, 7, 10, 20, 1.5, 0.5, 0.1, 1 / 15])
def test_a_split_that_is_not_applied(ratio: float) -> None:
    report = validate_bars(split(ratio))
    assert [finding.rule for finding in report.findings] == ["split_jump"]
    (finding,) = report.findings
    assert finding.positions.tolist() == [60]
    assert finding.severity == "warning"
    moved = split(ratio)["close"].iloc[60] / split(ratio)["close"].iloc[59]
    assert finding.values["ratio"] == pytest.approx([moved])


def test_a_large_split_on_a_busy_day() -> None:
    """Saipem 2022: 19 to one, while a capital increase tripled the money that was traded."""
    frame = split(19.0)
    frame.iloc[60:65, 4] *= [3.5, 2.5, 2.5, 4, 5]
    assert names(frame) - {"fractional_volume"} == {"split_jump"}


def test_a_collapse_on_extreme_trading_is_no_split() -> None:
    """Kala 2025: nine tenths lost overnight on a hundred times the shares."""
    frame = rescaled(walk(), 60, ROWS, 0.08)
    frame.iloc[60:68, 4] *= [160, 20, 14, 7, 7, 4, 5, 3]
    assert names(frame) == {"price_jump"}


@pytest.mark.parametrize("recorded", [60, 66, 54])
def test_a_split_of_an_odd_ratio_that_the_frame_records(recorded: int) -> None:
    """Without a trade that could confirm it, and not on its own day."""
    frame = rescaled(walk(), 60, ROWS, 1 / 0.4406)
    frame["volume"] = 0.0
    assert "split_jump" not in names(frame.assign(stock_splits=0.0))
    frame = frame.assign(stock_splits=0.0)
    frame.iloc[recorded, 5] = 0.4406
    assert found(frame, "split_jump") == [60]
    frame.iloc[recorded, 5] = 3.0
    assert found(frame, "split_jump") == []


def test_a_split_that_is_recorded_and_applied() -> None:
    frame = walk().assign(stock_splits=0.0)
    frame.iloc[60, 5] = 4.0
    assert names(frame) == set()


@pytest.mark.parametrize("fall", [0.6, 0.5, 0.33, 1.45, 2.0])
def test_news_is_no_split(fall: float) -> None:
    """An earnings gap: the money traded multiplies with the shares."""
    frame = rescaled(walk(), 60, ROWS, fall)
    frame.iloc[60:63, 4] *= np.array([12, 6, 3])
    report = validate_bars(frame)
    assert {finding.rule for finding in report.findings} == {"price_jump"}
    assert {finding.severity for finding in report.findings} == {"info"}


def test_a_crash_after_which_as_few_shares_trade_as_before_is_no_split() -> None:
    """Two thirds lost overnight on six times the shares: twice the money, a third of it later."""
    frame = rescaled(walk(), 60, ROWS, 1 / 3)
    frame.iloc[60:63, 4] *= np.array([6, 3, 1.5])
    assert names(frame) == {"price_jump"}


def test_a_fall_that_was_traded_all_the_way_is_no_split() -> None:
    frame = split(2.0)
    frame.iloc[60, 1] = frame.iloc[59, 3]  # its high touches the bar before
    assert found(frame, "split_jump") == []


@pytest.mark.parametrize("factor", [100.0, 0.01])
@pytest.mark.parametrize("first, stop", [(40, 41), (40, 49), (0, 20), (100, ROWS), (119, ROWS)])
def test_prices_in_another_unit(first: int, stop: int, factor: float) -> None:
    frame = rescaled(walk(), first, stop, factor)
    report = validate_bars(frame)
    (finding,) = report.findings
    assert (finding.rule, finding.severity) == ("price_scale", "error")
    assert finding.positions.tolist() == list(range(first, stop))
    if first:  # over the last close before that is right
        assert finding.values["ratio"] == pytest.approx([factor] * min(stop - first, 20), rel=0.2)


@pytest.mark.parametrize("ratio", [100, 1 / 100])
def test_a_split_of_a_hundred_is_no_other_unit(ratio: float) -> None:
    """A hundred times the shares: the money stays what it was."""
    frame = split(ratio)
    assert names(frame) - {"fractional_volume"} == {"split_jump"}


def test_without_volumes_a_change_for_good_may_be_a_split() -> None:
    frame = rescaled(walk(), 60, ROWS, 100.0).drop(columns="volume")
    rules = Validation(required_columns=("close",))
    assert names(frame, rules) == {"split_jump"}


def test_one_price_of_a_row_a_hundred_times_too_large() -> None:
    frame = walk()
    frame.iloc[50, 1] *= 100  # the high alone
    assert found(frame, "price_scale") == [50]


def test_a_spike_there_and_back() -> None:
    assert found(rescaled(walk(), 40, 42, 3.0), "price_spike") == [40, 41]
    assert found(rescaled(walk(), 40, 42, 1.3), "price_spike") == []


def silent(days: int) -> pd.DatetimeIndex:
    index = walk().index.to_series().reset_index(drop=True)
    return pd.DatetimeIndex(index.where(index.index < 60, index + pd.Timedelta(days, "D")))


def test_a_recycled_ticker() -> None:
    other = rescaled(walk(), 60, ROWS, 0.13)
    other.index = silent(400)
    assert found(other, "recycled_ticker") == [60]
    same = walk()
    same.index = silent(400)
    assert found(same, "recycled_ticker") == []
    other_volume = walk()
    other_volume.iloc[60:, 4] *= 30
    other_volume.index = silent(400)
    assert found(other_volume, "recycled_ticker") == [60]
    soon = rescaled(walk(), 60, ROWS, 0.13)
    soon.index = silent(20)
    assert found(soon, "recycled_ticker") == []


def test_a_stock_that_seldom_trades_is_no_other_company() -> None:
    """Trades of a few shares or thousands: the usual ones differ by luck."""
    frame = walk()
    frame["volume"] = 0.0
    frame.iloc[:6, 4] = [9, 4000, 15, 700, 20, 25]
    frame.iloc[70:76, 4] = [2500, 30, 8, 1200, 500, 3000]
    assert found(frame, "recycled_ticker") == []
    frame.iloc[70:76, 4] *= 100
    assert found(frame, "recycled_ticker") == [70]


def test_rows_with_wrong_prices_are_no_silence() -> None:
    frame = walk()
    frame.iloc[60:, 4] *= 30
    frame.iloc[10:59, 3] *= 1.2  # closes above their high: wrong, and traded
    assert found(frame, "close_outside_range") == list(range(10, 59))
    assert found(frame, "recycled_ticker") == []


# ------------------------------------------------------------------ rhythm


def test_a_long_gap() -> None:
    gap = walk()
    gap.index = silent(21)
    assert found(gap, "long_gap") == [60]
    holidays = walk()
    holidays.index = silent(7)
    assert found(holidays, "long_gap") == []


def test_monthly_bars_have_no_gaps() -> None:
    frame = walk(24)
    frame.index = pd.date_range("2020-01-31", periods=24, freq="ME", name="date")
    assert "long_gap" not in names(frame)


def test_a_stale_repeat() -> None:
    frame = walk()
    frame.iloc[51] = frame.iloc[50]
    assert found(frame, "stale") == [51]
    frame.iloc[51, 4] += 1  # the same prices, other shares: somebody traded
    assert found(frame, "stale") == []


def test_a_flat_quiet_stock_may_repeat_itself_once() -> None:
    frame = walk()
    frame.iloc[50:52] = [10.0, 10.0, 10.0, 10.0, 100.0]
    assert found(frame, "stale") == []


def test_a_nan_padded_tail() -> None:
    frame = walk()
    frame.iloc[110:] = np.nan
    assert found(frame, "padded_tail") == list(range(110, ROWS))
    hole = walk()
    hole.iloc[100:105] = np.nan
    assert found(hole, "padded_tail") == []


def test_a_tail_that_repeats_the_last_price_untraded() -> None:
    frame = walk()
    frame.iloc[110:, :4] = frame.iloc[109, 3]
    frame.iloc[110:, 4] = 0.0
    assert found(frame, "padded_tail") == list(range(110, ROWS))


def minutes(
    days: int = 10, tz: str = "America/New_York", start: str = "2024-05-13"
) -> pd.DataFrame:
    """Five-minute bars from 09:30 to 16:00."""
    index = pd.DatetimeIndex(
        [
            day + pd.Timedelta(570 + 5 * number, "min")
            for day in pd.bdate_range(start, periods=days)
            for number in range(78)
        ]
    ).tz_localize(tz)
    frame = walk(len(index))
    frame.index = index
    return frame


def test_an_intraday_gap() -> None:
    full = minutes()
    assert names(full) == set()
    assert found(full.drop(full.index[100:103]), "intraday_gap") == [100]


def test_a_half_day_and_a_clock_change_are_no_gap() -> None:
    half = minutes()
    half = half.drop(half.index[78 + 42 : 2 * 78])  # closed at 13:00
    assert found(half, "intraday_gap") == []
    assert found(minutes(start="2024-03-06"), "intraday_gap") == []  # the clocks change on the 10th


@pytest.mark.parametrize("day, hours", [("2024-03-10", 23), ("2024-11-03", 25)])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_market_that_never_closes_on_the_day_the_clocks_change(
    day: str, hours: int, as_text: bool
) -> None:
    """Neither the hour that is skipped nor the one that comes twice is a finding."""
    first = pd.Timestamp(day) - pd.Timedelta(3, "D")
    index = pd.date_range(first, periods=7 * 24, freq="h", tz="America/New_York", unit="ns")
    assert (index.strftime("%Y-%m-%d") == day).sum() == hours
    frame = walk(len(index)).set_axis(index.astype(str) if as_text else index)
    assert names(frame) == set()
    assert found(frame.drop(frame.index[100:103]), "intraday_gap") == [100]


# ------------------------------------------------------------------ sessions


def told(frame: pd.DataFrame) -> dict[str, list[str]]:
    """What validation says with the New York calendar: labels by rule."""
    report = validate_bars(frame, calendar="XNYS")
    return {finding.rule: [str(label) for label in finding.labels] for finding in report.findings}


def session_minutes(*, tz: str | None, ends: bool = False) -> pd.DataFrame:
    """A fortnight around the change of clocks of 2023-11-05, and the half day of 2023-11-24."""
    opening, closing = pd.Timedelta(570, "min"), pd.Timedelta(960, "min")
    noon = pd.Timedelta(780, "min")
    days = pd.bdate_range("2023-10-30", "2023-11-28").drop(pd.Timestamp("2023-11-23"))
    stamps = [
        stamp
        for day in days
        for stamp in pd.date_range(
            day + opening,
            day + (noon if day == pd.Timestamp("2023-11-24") else closing),
            freq="5min",
            inclusive="right" if ends else "left",
        )
    ]
    index = pd.DatetimeIndex(stamps).as_unit("ns")
    if tz is not None:
        index = index.tz_localize("America/New_York").tz_convert(tz)
    return walk(len(index)).set_axis(index)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("tz", [None, "America/New_York", "UTC", "Europe/Berlin"])
def test_intraday_bars_against_the_sessions(tz: str | None, ends: bool) -> None:
    frame = session_minutes(tz=tz, ends=ends)
    assert told(frame) == {}
    truncated = frame.drop(frame.index[78 * 5 - 3 : 78 * 5])  # the last three of Friday the 3rd
    late = pd.Timedelta(5 if ends else 0, "min")
    gone = [pd.Timestamp(f"2023-11-03 15:{minute}") + late for minute in (45, 50, 55)]
    assert told(truncated) == {"missing_bars": [str(stamp) for stamp in gone]}


def test_sessions_that_cross_midnight_by_the_labels_clock() -> None:
    said = told(session_minutes(tz="Asia/Tokyo"))
    assert not {"missing_bars", "missing_session", "holiday"} & set(said)


def test_a_half_day_that_ends_too_early() -> None:
    frame = session_minutes(tz="America/New_York")
    day = frame.index[frame.index.strftime("%Y-%m-%d") == "2023-11-24"]
    assert len(day) == 42
    assert told(frame.drop(day[-2:])) == {
        "missing_bars": ["2023-11-24 12:50:00", "2023-11-24 12:55:00"]
    }
    assert told(frame.drop(day)) == {"missing_session": ["2023-11-24 00:00:00"]}


def test_hours_that_stand_elsewhere_are_not_said_to_be_missing() -> None:
    index = pd.DatetimeIndex(
        [
            day + pd.Timedelta(hour, "h")
            for day in pd.bdate_range("2023-10-30", "2023-11-10")
            for hour in range(10, 16)
        ]
    ).as_unit("ns")
    assert told(walk(len(index)).set_axis(index)) == {}


# ------------------------------------------------------------------ dividends


def paying(*, adjust: Callable[[float, float], float]) -> pd.DataFrame:
    """1 % every 30 rows; `adjust` says what factor the vendor makes of (dividend, close)."""
    frame = walk().assign(dividends=0.0)
    factor = np.ones(ROWS)
    for at in (30, 60, 90):
        dividend = round(0.01 * frame["close"].iloc[at - 1], 2)
        frame.iloc[at, 5] = dividend
        factor[:at] *= adjust(dividend, frame["close"].iloc[at - 1])
    return frame.assign(adj_close=frame["close"] * factor)


def test_dividends_that_fit() -> None:
    assert names(paying(adjust=lambda paid, close: 1 - paid / close)) == set()


def test_an_adjustment_that_is_missing() -> None:
    frame = paying(adjust=lambda paid, close: 1.0)
    assert found(frame, "missing_adjustment") == [30, 60, 90]


def test_a_dividend_in_another_unit() -> None:
    frame = paying(adjust=lambda paid, close: 1 - paid / close)
    frame.iloc[60, 5] *= 100
    assert found(frame, "wrong_dividend") == [60]


def test_prices_in_another_unit_do_not_spoil_the_dividend() -> None:
    frame = paying(adjust=lambda paid, close: 1 - paid / close)
    chance = walk(4 * ROWS)
    frame = frame.reindex(columns=[*chance.columns, "dividends", "adj_close"])
    frame.iloc[80:, [0, 1, 2, 3, 5, 6]] *= 100  # from here on in pence, dividends too
    assert found(frame, "wrong_dividend") == []


def test_an_adjustment_without_a_dividend() -> None:
    frame = paying(adjust=lambda paid, close: 1 - paid / close)
    frame.iloc[60, 5] = 0.0
    assert found(frame, "unexplained_adjustment") == [60]


def test_an_adjusted_close_below_zero() -> None:
    frame = paying(adjust=lambda paid, close: 1 - paid / close)
    frame.iloc[:10, 6] *= -1
    assert found(frame, "adj_close_range") == list(range(10))


# ------------------------------------------------------------------ settings


def test_thresholds_are_settings() -> None:
    frame = rescaled(walk(), 60, ROWS, 1.3)
    assert "price_jump" not in names(frame)
    assert "price_jump" in names(frame, Validation(jump_ratio=1.2)) or "split_jump" in names(
        frame, Validation(jump_ratio=1.2)
    )
    gap = walk()
    gap.index = silent(21)
    assert found(gap, "long_gap", Validation(max_gap_days=30)) == []


def test_rules_can_be_left_out_and_weighed() -> None:
    frame = split(4.0)
    assert names(frame, Validation(ignore_rules=("split_jump",))) == set()
    report = validate_bars(frame, Validation(rule_severities={"split_jump": "error"}))
    assert [finding.rule for finding in report.errors] == ["split_jump"]


def test_a_misspelt_rule_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigurationError, match="'split_jump'"):
        validate_bars(walk(), Validation(ignore_rules=("split_jmp",)))


def test_findings_of_many_symbols_keep_their_ratio() -> None:
    both = pd.concat({"B": split(4.0), "A": walk()}, names=["symbol", "date"])
    (finding,) = validate_bars(both).findings
    assert finding.rule == "split_jump" and finding.rows[0][0] == "B"
    assert finding.values["ratio"] == pytest.approx([0.25], rel=0.05)
