"""Strategy rows of a real chain, recomputed from their legs by QuantLib and plain arithmetic."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.options.book import Book, book_of
from stockdb.options.calendars import (
    CalendarRules,
    DiagonalRules,
    calendar_spreads,
    diagonal_spreads,
    forward_vol,
)
from stockdb.options.chain import enrich
from stockdb.options.market import DividendSchedule
from stockdb.options.plots import payoff_curve
from stockdb.options.synthetics import SyntheticRules, synthetic_positions
from stockdb.options.volatility import VolatilityRules, realised_vol, volatility_trades

ql = pytest.importorskip("QuantLib")
pytestmark = pytest.mark.shared_data

DAY, SPOT, RATE = "2022-12-01", 148.31, 0.045
DIVIDENDS = DividendSchedule.of({"2023-02-10": 0.23, "2023-05-12": 0.24})
LOOSE = DiagonalRules(extrinsic_covered=False, upside_covered=False, max_debit_of_width=None)


@lru_cache(maxsize=1)
def enriched(folder: Path) -> pd.DataFrame:
    raw = pd.read_csv(folder / "options-complete" / f"{DAY}options.csv.gz")
    chain = raw[raw["underlying"] == "AAPL"].rename(columns={"underlying": "symbol"})
    for name in ("expiration", "quote_date"):
        chain[name] = pd.to_datetime(chain[name]).astype("datetime64[ns]")
    chain["dte"] = (chain["expiration"] - chain["quote_date"]).dt.days
    return enrich(chain.reset_index(drop=True), SPOT, RATE)


@pytest.fixture
def chain(shared_data: Path) -> pd.DataFrame:
    return enriched(shared_data)


@pytest.fixture
def book(chain: pd.DataFrame) -> Book:
    return book_of(chain)


@pytest.fixture
def closes(shared_data: Path) -> pd.Series:
    bars = pd.read_csv(shared_data / "stocks-2010-2025/AAPL.csv", index_col=0, parse_dates=True)
    return bars.loc[:DAY, "Close"]


def value(
    leg: dict[str, Any], chain: pd.DataFrame, spot: float, days: int, vol: float = 0
) -> float:
    """One share of a leg, by QuantLib's QdFp engine at the leg's own volatility."""
    if leg["type"] == "stock":
        return spot
    sign = 1 if leg["type"] == "call" else -1
    if leg["dte"] <= days:
        return max(sign * (spot - leg["strike"]), 0.0)
    row = chain[chain["contract"] == leg["contract"]].iloc[0]
    today = ql.Date(1, 12, 2022)
    ql.Settings.instance().evaluationDate = today
    counter = ql.Actual365Fixed()
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(spot)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, float(row["q"]), counter)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, RATE, counter)),
        ql.BlackVolTermStructureHandle(
            ql.BlackConstantVol(today, ql.NullCalendar(), leg["iv"] + vol, counter)
        ),
    )
    code = ql.Option.Call if sign > 0 else ql.Option.Put
    option = ql.VanillaOption(
        ql.PlainVanillaPayoff(code, leg["strike"]),
        ql.AmericanExercise(today, today + (leg["dte"] - days)),
    )
    option.setPricingEngine(ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.fastScheme()))
    return float(option.NPV())


def package(row: Any, chain: pd.DataFrame, spot: float, days: int, vol: float = 0) -> float:
    total = 0.0
    for leg in row["legs"]:
        sign = leg["ratio"] * (1 if leg["side"] == "buy" else -1)
        total += sign * value(leg, chain, spot, days, vol)
    return total


def cash(row: Any) -> float:
    """What is paid for the package, each leg at its executable side."""
    paid = 0.0
    for leg in row["legs"]:
        price = leg["ask"] if leg["side"] == "buy" else leg["bid"]
        paid += leg["ratio"] * price * (1 if leg["side"] == "buy" else -1)
    return paid


def some(frame: pd.DataFrame, count: int = 4) -> list[Any]:
    assert len(frame) >= count
    rows = np.linspace(0, len(frame) - 1, count).astype(int)
    return [frame.iloc[row] for row in rows]


def check_common(row: Any, chain: pd.DataFrame) -> None:
    assert row["net_debit"] == pytest.approx(cash(row), abs=1e-9)
    assert row["capital"] == pytest.approx(row["margin"] + row["net_debit"])
    assert row["fees"] == pytest.approx(0.65 * sum(leg["ratio"] for leg in row["legs"]))
    if math.isfinite(row["max_profit"]):
        gain = row["max_profit"] / row["capital"]
        assert row["return"] == pytest.approx(gain)
        assert row["annualised"] == pytest.approx((1 + gain) ** (365 / row["dte"]) - 1)
    else:
        assert "unlimited_profit" in row["flags"]
    step = 0.5
    up, down = (package(row, chain, SPOT + d, 0) for d in (step, -step))
    here = package(row, chain, SPOT, 0)
    assert row["delta"] == pytest.approx((up - down) / (2 * step), abs=2e-3)
    assert row["gamma"] == pytest.approx((up - 2 * here + down) / step**2, abs=2e-3)
    bump = 0.005
    vega = (package(row, chain, SPOT, 0, bump) - package(row, chain, SPOT, 0, -bump)) / 2 / bump
    assert row["vega"] == pytest.approx(vega / 100, abs=5e-3)
    theta = package(row, chain, SPOT, 1) - here
    assert row["theta"] == pytest.approx(theta, abs=4e-3)


def test_calendars(book: Book, chain: pd.DataFrame) -> None:
    frame = calendar_spreads(book, dividends=DIVIDENDS)
    assert frame["iv_difference"].is_monotonic_decreasing or "suspect_quote" in set(
        frame["flags"].explode()
    )
    for row in some(frame):
        check_common(row, chain)
        front, back = row["legs"]
        assert (front["side"], back["side"]) == ("sell", "buy")
        assert front["strike"] == back["strike"] == row["strike"]
        assert 20 <= front["dte"] <= 90
        assert back["dte"] >= 365
        assert row["max_loss"] == pytest.approx(back["ask"] - front["bid"])
        assert row["model_based"] == "max_profit"
        days = front["dte"]
        spots = row["strike"] * np.linspace(0.94, 1.06, 7)
        best = max(package(row, chain, spot, days) for spot in spots)
        assert row["max_profit"] == pytest.approx(best - row["net_debit"], abs=0.05)
        for spot in row["breakevens"]:
            assert package(row, chain, spot, days) == pytest.approx(row["net_debit"], abs=0.05)
        assert row["back_value_at_strike"] == pytest.approx(
            value(back, chain, row["strike"], days), abs=0.01
        )
        variance = back["iv"] ** 2 * back["dte"] - front["iv"] ** 2 * front["dte"]
        between = math.sqrt(variance / (back["dte"] - front["dte"]))
        assert row["forward_vol"] == pytest.approx(between)


def test_rules_of_calendars_hold_and_count(book: Book) -> None:
    rules = CalendarRules("put", (20, 60), (400, 500), (0.95, 1.05), -0.03, 0.1, 100, 20.0)
    frame = calendar_spreads(book, rules)
    assert len(frame)
    for row in frame.to_dict("records"):
        front, back = row["legs"]
        assert front["type"] == back["type"] == "put"
        assert 20 <= front["dte"] <= 60 and 400 <= back["dte"] <= 500
        assert 0.95 <= front["strike"] / SPOT <= 1.05
        assert front["iv"] >= back["iv"] - 0.03
        for leg in (front, back):
            assert (leg["ask"] - leg["bid"]) / ((leg["ask"] + leg["bid"]) / 2) <= 0.1
            assert leg["open_interest"] >= 100
        assert row["net_debit"] <= 20.0
    rejected = frame.attrs["stockdb"]["rejected"]
    assert rejected["pairs"] >= len(frame)
    assert rejected["iv_difference"] > 0


def test_forward_vol_of_a_falling_variance_is_undefined() -> None:
    assert math.isnan(float(forward_vol(0.5, 0.25, 0.2, 0.5)))


def test_diagonals(book: Book, chain: pd.DataFrame) -> None:
    frame = diagonal_spreads(book, LOOSE, dividends=DIVIDENDS)
    for row in some(frame):
        check_common(row, chain)
        short, long = row["legs"]
        assert 0.20 <= short["delta"] <= 0.30 and 30 <= short["dte"] <= 45
        assert 0.70 <= long["delta"] <= 0.90 and long["dte"] > 365
        width = short["strike"] - long["strike"]
        assert row["width"] == pytest.approx(width)
        assert row["debit_of_width"] == pytest.approx((long["ask"] - short["bid"]) / width)
        assert row["upside"] == pytest.approx(width + short["bid"] - long["ask"])
        intrinsic = max(SPOT - long["strike"], 0.0)
        middle = (long["bid"] + long["ask"]) / 2
        assert row["extrinsic_long"] == pytest.approx(middle - intrinsic)
        assert row["max_loss"] == pytest.approx(row["net_debit"])
        assert row["roll_date"] == short["expiration"] - pd.Timedelta(days=7)
        days = short["dte"]
        for spot in row["breakevens"]:
            assert package(row, chain, spot, days) == pytest.approx(row["net_debit"], abs=0.05)


def test_the_strict_rules_say_what_they_turn_down(book: Book) -> None:
    frame = diagonal_spreads(book)
    assert frame.empty
    rejected = frame.attrs["stockdb"]["rejected"]
    assert rejected["extrinsic"] == rejected["pairs"] > 0
    assert list(frame.columns) == list(diagonal_spreads(book, LOOSE).columns)


def test_synthetics(book: Book, chain: pd.DataFrame) -> None:
    frame = synthetic_positions(book, dividends=DIVIDENDS, max_rows=1000)
    assert set(frame["strategy"]) == {
        "synthetic_long", "synthetic_short", "conversion", "reversal",
    }  # fmt: skip
    for kind, part in frame.groupby("strategy"):
        for row in some(part.reset_index(drop=True), 2):
            legs = {leg["type"]: leg for leg in row["legs"]}
            call, put = legs["call"], legs["put"]
            years, strike = call["dte"] / 365, call["strike"]
            present = sum(
                cash * math.exp(-RATE * time)
                for time, cash in DIVIDENDS.until(DAY, call["expiration"])
            )
            assert row["known_dividends"] == pytest.approx(present)
            low, high = SPOT - present - strike, SPOT - strike * math.exp(-RATE * years)
            gap = (call["bid"] + call["ask"] - put["bid"] - put["ask"]) / 2
            assert row["band_position"] == pytest.approx((gap - low) / (high - low))
            assert row["next_ex_date"] == pd.Timestamp("2023-02-10")
            paid = cash_of(row)
            if kind == "synthetic_long":
                check_common(row, chain)
                assert row["breakevens"] == [pytest.approx(strike + paid)]
                assert row["max_loss"] == pytest.approx(strike + paid)  # the stock at 0
                assert math.isnan(row["max_profit"]) and "unlimited_profit" in row["flags"]
                out = max(SPOT - strike, 0.0)
                naked = max(0.2 * SPOT - out, 0.1 * strike) + put["bid"]
                assert row["margin"] == pytest.approx(naked)
            if kind == "synthetic_short":
                assert math.isnan(row["max_loss"]) and "unlimited_loss" in row["flags"]
            if kind == "conversion":
                # the strike, whatever the stock does
                assert row["max_profit"] == pytest.approx(strike - paid)
                assert row["max_loss"] == pytest.approx(paid - strike)
                assert row["margin"] == pytest.approx(0.0)
                locked = math.log(strike / (paid - present)) / years
                assert row["locked_rate"] == pytest.approx(locked)
                assert row["rate_pickup"] == pytest.approx(locked - RATE)


def cash_of(row: Any) -> float:
    return cash(row)


def test_volatility(book: Book, chain: pd.DataFrame, closes: pd.Series) -> None:
    returns = np.log(closes).diff().dropna()
    frame = volatility_trades(book, closes, VolatilityRules(beats_spread=False, days=(20, None)))
    assert len(frame) > 3
    assert set(frame["action"]) == {"buy", "sell"}
    for action in ("buy", "sell"):
        row = frame[frame["action"] == action].iloc[0]
        check_common(row, chain)
        for window in (20, 60, 252, 504):
            wanted = returns.tail(window).std() * math.sqrt(252)
            assert row[f"rv_{window}"] == pytest.approx(wanted)
        call, put = row["legs"]
        assert call["strike"] == put["strike"]
        assert row["iv"] == pytest.approx((call["iv"] + put["iv"]) / 2)
        assert row["action"] == ("sell" if row["iv"] > row["rv"] else "buy")
        half = (call["ask"] - call["bid"] + put["ask"] - put["bid"]) / 2
        gain = abs(row["iv"] - row["rv"]) * 100 * abs(row["vega"])
        assert row["edge"] == pytest.approx(gain - 2 * half)
        assert row["hedge_shares"] == pytest.approx(-100 * row["delta"])
        if row["action"] == "sell":  # the larger of both requirements, and the other premium
            needs = {}
            for leg in (call, put):
                sign = 1 if leg["type"] == "call" else -1
                out = max(sign * (leg["strike"] - SPOT), 0.0)
                least = 0.1 * (SPOT if sign > 0 else leg["strike"])
                needs[leg["type"]] = max(0.2 * SPOT - out, least) + leg["bid"]
            larger = max(needs, key=needs.__getitem__)
            other = call if larger == "put" else put
            assert row["margin"] == pytest.approx(needs[larger] + other["bid"])
            assert math.isnan(row["max_loss"])
        if row["action"] == "buy":
            paid = row["net_debit"]
            assert row["breakevens"] == pytest.approx(
                [call["strike"] - paid, call["strike"] + paid]
            )
            assert row["max_loss"] == pytest.approx(paid)


def test_the_odds_are_those_of_the_stated_measure(book: Book, closes: pd.Series) -> None:
    """By a million draws of the lognormal stock."""
    frame = volatility_trades(book, closes, VolatilityRules(beats_spread=False, days=(20, None)))
    table = book.at_the_money()
    random = np.random.default_rng(5).standard_normal(1_000_000)
    for row in some(frame, 3):
        days = row["dte"]
        sigma, forward = table.loc[days, "iv"], table.loc[days, "forward"]
        years = days / 365
        stock = forward * np.exp(sigma * math.sqrt(years) * random - sigma**2 * years / 2)
        worth = np.zeros_like(stock)
        for leg in row["legs"]:
            sign = 1 if leg["type"] == "call" else -1
            side = 1 if leg["side"] == "buy" else -1
            worth += side * np.maximum(sign * (stock - leg["strike"]), 0.0)
        assert row["probability_of_profit"] == pytest.approx(
            (worth > row["net_debit"]).mean(), abs=3e-3
        )
        mean = worth.mean() * math.exp(-RATE * years) - row["net_debit"]
        assert row["expected_value"] == pytest.approx(mean, abs=0.15)


def test_ranks_of_past_volatility(book: Book, closes: pd.Series) -> None:
    past = pd.DataFrame({365: [0.2, 0.3, 0.4, 0.5], 730: [0.2, 0.3, 0.4, 0.5]})
    frame = volatility_trades(book, closes, VolatilityRules(beats_spread=False), history=past)
    row = frame.iloc[0]
    assert 0.3 < row["iv"] < 0.4
    assert row["iv_rank"] == pytest.approx((row["iv"] - 0.2) / 0.3)
    assert row["iv_percentile"] == 0.5
    assert row["iv_zscore"] == pytest.approx((row["iv"] - 0.35) / np.std([2, 3, 4, 5], ddof=1) * 10)
    assert row["history_days"] == 4


def test_too_few_returns_are_no_volatility() -> None:
    assert math.isnan(realised_vol([100.0] * 20, 20))


def test_rows_on_suspect_quotes_come_last(shared_data: Path) -> None:
    frame = enriched(shared_data).copy()
    rows = frame.index[(frame["type"] == "call") & (frame["dte"] == 414)]
    near = rows[(frame.loc[rows, "strike"] - 150).abs().argmin()]
    frame.loc[near, ["bid", "ask"]] += 40.0
    found = synthetic_positions(book_of(frame), SyntheticRules(days=(414, 414)))
    flags = found["flags"].map(lambda names: "suspect_quote" in names).to_numpy()
    assert 0 < flags.sum() < len(flags)
    assert not flags[: len(flags) - flags.sum()].any()


def test_the_odds_of_a_calendar_by_drawing_stocks(book: Book) -> None:
    """Each draw is priced on its own, where the search prices a grid and interpolates."""
    row = calendar_spreads(book).iloc[0]
    table = book.at_the_money()
    days = row["dte"]
    sigma, forward, years = table.loc[days, "iv"], table.loc[days, "forward"], days / 365
    z = np.random.default_rng(11).standard_normal(2000)
    z = np.concatenate([z, -z])
    stock = forward * np.exp(sigma * math.sqrt(years) * z - sigma**2 * years / 2)
    gain = payoff_curve(row, stock, days) / 100
    assert row["probability_of_profit"] == pytest.approx((gain > 0).mean(), abs=0.02)
    paid = row["net_debit"]
    mean = (gain + paid).mean() * math.exp(-RATE * years) - paid
    assert row["expected_value"] == pytest.approx(mean, abs=4 * gain.std() / math.sqrt(len(z)))
