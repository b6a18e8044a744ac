"""The option files of the simulated bucket: layout, fair quotes, and what is planted in them.

Fair prices come from QuantLib and textbook formulas, arbitrage from inequalities written out here:
none of the simulation's own functions takes part.
"""

from __future__ import annotations

import calendar
import csv
import datetime as dt
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import QuantLib as ql
from scipy.stats import norm

from stockdb.options.arbitrage import find_arbitrage, terms_of
from tests.unit.demo.bucket_tools import OPTION_DATES, Bucket

LAST = OPTION_DATES[-1]
CENT = 0.01
EXACT = 1e-9  # dollars: rounding of doubles, nothing more
PRICED = 0.004  # dollars: how well the simulation prices early exercise


def test_expirations(bucket: Bucket, sessions: list[str]) -> None:
    def third_friday_session(year: int, month: int) -> str:
        fridays = [week[4] for week in calendar.monthcalendar(year, month) if week[4]]
        return max(d for d in sessions if d <= dt.date(year, month, fridays[2]).isoformat())

    monthly = [third_friday_session(2026, month) for month in range(1, 9)]
    assert monthly[5] == "2026-06-18"  # Juneteenth falls on the third Friday
    leaps = [third_friday_session(year, 1) for year in (2027, 2028)]
    for date in OPTION_DATES:
        chain = bucket.chain(date)
        for _, contracts in chain.groupby("underlying"):
            assert list(contracts["expiration"].unique()) == monthly + leaps
        assert (chain.loc[chain["expiration"].isin(leaps), "years"] > 1).all()


def test_contracts_agree_with_their_columns_and_ascend(bucket: Bucket) -> None:
    pattern = re.compile(r"O:([A-Z]+)(\d\d)(\d\d)(\d\d)([CP])(\d{8})")
    halves = 0
    for date in OPTION_DATES:
        rows = list(csv.reader(bucket.lines(f"options-complete/{date}options.csv")[1:-1]))
        assert len({row[0] for row in rows}) == len(rows) and len({row[1] for row in rows}) == 12
        keys = [(*row[1:4], float(row[4])) for row in rows]
        assert keys == sorted(keys)
        for row in rows:
            match = pattern.fullmatch(row[0])
            assert match, row[0]
            symbol, year, month, day, letter, thousandths = match.groups()
            kind = {"C": "call", "P": "put"}[letter]
            assert row[1:4] == [symbol, f"20{year}-{month}-{day}", kind]
            assert re.fullmatch(r"[1-9]\d*(\.5)?", row[4]) and row[5] == "A"
            assert round(float(row[4]) * 1000) == int(thousandths)
            assert row[12:] == [date, "", "", "", "", ""]
            halves += row[4].endswith(".5")
    assert halves > 100


def test_strikes_surround_the_spot_and_contracts_last(bucket: Bucket) -> None:
    chains = {date: bucket.chain(date) for date in OPTION_DATES}
    assert len({frozenset(chain["contract"]) for chain in chains.values()}) == 1
    for chain in chains.values():
        groups = chain.groupby(["underlying", "expiration", "type"])
        strikes, spot = groups["strike"], groups["spot"].first()
        assert (strikes.min() < 0.75 * spot).all() and (strikes.max() > 1.3 * spot).all()
        # Evenly spaced, so that a butterfly has its neighbours.
        steps = strikes.diff().groupby(chain["underlying"])
        assert (strikes.count() >= 20).all() and (steps.min() == steps.max()).all()


def test_sizes_volume_and_open_interest(bucket: Bucket) -> None:
    previous = None
    for date in OPTION_DATES:
        chain = bucket.chain(date).set_index("contract")
        for size in ("bid_size", "ask_size"):
            assert chain[size].between(1, 500).all() and chain[size].nunique() > 100
        assert (chain["volume"].dropna() > 0).all() and 0.05 < chain["volume"].isna().mean() < 0.8
        assert (chain["open_interest"] >= 0).all() and chain["open_interest"].max() > 1000
        near = (chain["strike"] / chain["spot"] - 1).abs() < 0.05
        assert chain["volume"][near].mean() > 3 * chain["volume"][~near].mean()
        if previous is not None:
            change = chain["open_interest"] - previous["open_interest"]
            # Known at the open: it can only have moved by what traded the day before.
            assert (change.abs() <= previous["volume"].fillna(0)).all() and (change != 0).any()
        previous = chain


def test_spots_are_the_raw_closes_of_the_day(any_bucket: Bucket) -> None:
    spots = any_bucket.truth["spots"]
    assert list(spots) == OPTION_DATES
    for date, closes in spots.items():
        assert set(closes) == set(any_bucket.chain(date)["underlying"])
        for symbol, close in closes.items():
            assert any_bucket.bars(symbol)["Close"][date] == close


def sigma(chain: pd.DataFrame, smile: dict[str, Any]) -> np.ndarray:
    """Follow the formula that the truth states."""
    known = pd.DataFrame(smile["parameters"]).T.loc[chain["underlying"]].reset_index(drop=True)
    k, t = chain["strike"], chain["years"]
    forward = chain["spot"] * np.exp((chain["rate"] - chain["yield"]) * t)
    long, short, decay = known["long"], known["short"], known["decay"]
    a = np.sqrt(long**2 + (short**2 - long**2) * (1 - np.exp(-decay * t)) / (decay * t))
    away = np.tanh(np.log(k / forward) / (2 * a * np.sqrt(t)))
    return (a * np.sqrt(1 - known["skew"] * away)).to_numpy()


def european(chain: pd.DataFrame, vol: np.ndarray) -> np.ndarray:
    """Price with a yield (Merton, 1973; Hull, Options, Futures and Other Derivatives, ch. 17)."""
    s, k, t = (
        chain["spot"] * np.exp(-chain["yield"] * chain["years"]),
        chain["strike"],
        chain["years"],
    )
    k = k * np.exp(-chain["rate"] * t)
    d1 = np.log(s / k) / (vol * np.sqrt(t)) + vol * np.sqrt(t) / 2
    d2 = d1 - vol * np.sqrt(t)
    call = s * norm.cdf(d1) - k * norm.cdf(d2)
    put = k * norm.cdf(-d2) - s * norm.cdf(-d1)
    return np.where(chain["type"] == "call", call, put)


def american(chain: pd.DataFrame, vol: np.ndarray) -> np.ndarray:
    """Price row by row with QuantLib's QdFp engine, in its accurate scheme."""
    today = ql.Date(31, 12, 2025)
    ql.Settings.instance().evaluationDate = today
    day = ql.Actual365Fixed()
    spot, rate, carry, level = (ql.SimpleQuote(0.0) for _ in range(4))
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(spot),
        *(
            ql.YieldTermStructureHandle(ql.FlatForward(today, ql.QuoteHandle(x), day))
            for x in (carry, rate)
        ),
        ql.BlackVolTermStructureHandle(
            ql.BlackConstantVol(today, ql.NullCalendar(), ql.QuoteHandle(level), day)
        ),
    )
    engine = ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.accurateScheme())
    prices = []
    for row, volatility in zip(chain.itertuples(), vol.tolist(), strict=True):
        for quote, value in (
            (spot, row.spot),
            (rate, row.rate),
            (carry, chain["yield"][row.Index]),
            (level, volatility),
        ):
            quote.setValue(value)
        kind = ql.Option.Call if row.type == "call" else ql.Option.Put
        exercise = ql.AmericanExercise(today, today + round(row.years * 365))
        option = ql.VanillaOption(ql.PlainVanillaPayoff(kind, row.strike), exercise)
        option.setPricingEngine(engine)
        prices.append(option.NPV())
    return np.array(prices)


def test_the_rates_are_those_of_the_treasury_table(any_bucket: Bucket) -> None:
    """To half a year a yield is simple interest; beyond that the curve is nearly flat."""
    table = any_bucket.table("reference/treasury.csv", index_col="date")
    tenors = np.array([1 / 12, 0.25, 0.5, 1, 2, 3])
    for date in OPTION_DATES:
        par = table.loc[date].to_numpy()[:6] / 100
        for expiration, rate in any_bucket.truth["options"]["rates"][date].items():
            years = (pd.Timestamp(expiration) - pd.Timestamp(date)).days / 365
            if years <= 0.5:
                zeros = np.log1p(par[:3] * tenors[:3]) / tenors[:3]
                assert rate == pytest.approx(np.interp(years, tenors[:3], zeros), abs=1e-9)
            else:
                bond = 2 * np.log1p(np.interp(years, tenors, par) / 2)
                assert rate == pytest.approx(bond, abs=2e-4)


def test_the_yields_are_those_of_the_dividends_paid(any_bucket: Bucket) -> None:
    paid = any_bucket.table("reference/dividends.csv").query("ex_date >= '2025'")
    yields = any_bucket.truth["options"]["yields"]
    assert {symbol for symbol, rate in yields.items() if rate} == set(paid["symbol"])
    for symbol, rows in paid.groupby("symbol"):
        close = any_bucket.bars(str(symbol))["Close"].loc["2025":]
        assert rows["amount"].sum() / close.mean() == pytest.approx(yields[symbol], rel=0.15)


def assert_quoted_around(chain: pd.DataFrame, fair: np.ndarray, priced: float) -> None:
    """A tick off the fair price on either side, and not so wide that any surface would fit."""
    below, above = fair - chain["bid"], chain["ask"] - fair
    assert ((below >= CENT - priced) | (chain["bid"] == 0)).all()
    assert (below >= -priced).all() and (above >= CENT - priced).all()
    assert (np.maximum(below, above) <= 3 * CENT + 0.015 * fair).all()


def test_quotes_surround_the_fair_price(any_bucket: Bucket) -> None:
    smile = any_bucket.truth["options"]["sigma"]
    assert all(0.05 < p["short"] < 1 and 0.05 < p["long"] < 1 for p in smile["parameters"].values())
    for date in OPTION_DATES:
        chain = any_bucket.fair_chain(date)
        for side in ("bid", "ask"):
            cents = chain[side] * 100
            assert (cents - cents.round()).abs().max() < 1e-6
        assert (chain["bid"] >= 0).all() and (chain["bid"] == 0).any()
        # Without dividends nobody exercises a call early (Merton, 1973).
        never = chain[(chain["type"] == "call") & (chain["yield"] == 0)].reset_index(drop=True)
        assert len(never) > 2000
        assert_quoted_around(never, european(never, sigma(never, smile)), EXACT)
    sample = chain.sample(600, random_state=1).reset_index(drop=True)
    vol = sigma(sample, smile)
    fair = american(sample, vol)
    # With European prices it would not pass: early exercise is worth more than the quotes' width.
    assert (fair - european(sample, vol) > 0.02 * fair + 3 * CENT).sum() > 50
    assert_quoted_around(sample, fair, PRICED)


def static_profits(chain: pd.DataFrame) -> dict[str, float]:
    """Give the best profit a share of each kind of arbitrage: buy at asks, sell at bids.

    Hull, chapter 11; Carr and Madan (2005); with the stock at its close, and its yield known.
    American options: what may be exercised against the seller at any time is not discounted.
    """
    best: dict[str, float] = {}

    def note(kind: str, profits: np.ndarray) -> None:
        best[kind] = max(best.get(kind, -math.inf), float(np.nanmax(profits)))

    for _, group in chain.groupby("underlying"):
        spot = group["spot"].iloc[0]
        k = np.sort(group["strike"].unique())
        # Arrays (expiration, strike); NaN where a strike is not listed for that expiration.
        table = group.pivot(index="expiration", columns=["type", "strike"], values=["bid", "ask"])
        table = table.reindex(
            columns=pd.MultiIndex.from_product([["bid", "ask"], ["call", "put"], k])
        )
        cb, ca = (table[side]["call"].to_numpy() for side in ("bid", "ask"))
        pb, pa = (table[side]["put"].to_numpy() for side in ("bid", "ask"))
        market = group.groupby("expiration")[["years", "rate", "yield"]].first()
        bond = np.exp(-market["rate"] * market["years"]).to_numpy()[:, None]
        share = spot * np.exp(-market["yield"] * market["years"]).to_numpy()[:, None]
        step = np.diff(k)
        note("call monotonicity", cb[:, 1:] - ca[:, :-1])
        note("put monotonicity", pb[:, :-1] - pa[:, 1:])
        note("call slope", cb[:, :-1] - ca[:, 1:] - step)
        note("put slope", pb[:, 1:] - pa[:, :-1] - step)
        low = (k[2:] - k[1:-1]) / (k[2:] - k[:-2])
        for kind, bid, ask in (("call", cb, ca), ("put", pb, pa)):
            wings = low * ask[:, :-2] + (1 - low) * ask[:, 2:]
            note(f"{kind} butterfly", bid[:, 1:-1] - wings)
            for near in range(len(bid) - 1):
                note(f"{kind} calendar", bid[near] - ask[near + 1 :])
        note("conversion", cb - pa - spot + k * bond)
        note("reversal", share + pb - ca - k)
        note("call floor", np.maximum(spot - k, share - k * bond) - ca)
        note("put floor", np.maximum(k - spot, k * bond - share) - pa)
        note("call cap", cb - spot)
        note("put cap", pb - k)
        note("long box", step * bond - (ca[:, :-1] - cb[:, 1:] + pa[:, 1:] - pb[:, :-1]))
        note("crossed", np.maximum(cb - ca, pb - pa))
    return best


def test_no_executable_static_arbitrage(any_bucket: Bucket) -> None:
    for date in OPTION_DATES:
        profits = static_profits(any_bucket.fair_chain(date))
        assert len(profits) == 16
        assert {kind: p for kind, p in profits.items() if p > EXACT} == {}, date


PLANTS = {  # type, side, change in dollars -> what it makes possible, among others
    ("call", "bid", +15.0): {"call monotonicity", "call butterfly", "conversion"},
    ("put", "ask", -12.0): {"put monotonicity", "put butterfly", "put calendar", "conversion"},
    ("call", "ask", -40.0): {"call slope", "call calendar", "reversal", "long box"},
}


@pytest.mark.parametrize("plant", PLANTS, ids=str)
def test_the_arbitrage_scan_finds_a_planted_one(bucket: Bucket, plant: tuple[Any, ...]) -> None:
    type_, side, change = plant
    chain = bucket.fair_chain(LAST)
    listed = chain.query("underlying == 'SPY' and type == @type_ and expiration == '2026-02-20'")
    chain.loc[(listed["strike"] - listed["spot"]).abs().idxmin(), side] += change
    assert PLANTS[plant] <= {kind for kind, p in static_profits(chain).items() if p > EXACT}


def worth_at_least(item: dict[str, Any], chain: pd.DataFrame) -> float:
    """Give what a planted package pays whatever happens, by its textbook argument."""
    rows = chain.set_index("contract").loc[
        [leg["contract"] for leg in item["legs"] if leg["contract"] != item["symbol"]]
    ]
    bond = math.exp(-rows["rate"].iloc[0] * rows["years"].iloc[0])
    match item["kind"]:
        case "long_box":  # the difference of the strikes, at expiration or before
            return float(rows["strike"].max() - rows["strike"].min()) * bond
        case "conversion":  # the strike, at the latest at expiration
            return float(rows["strike"].iloc[0]) * bond
    return 0.0  # bought is worth no less than sold at any time


def test_planted_packages_pay_what_the_truth_says(any_bucket: Bucket) -> None:
    chain = any_bucket.chain(LAST)
    quotes = chain.set_index("contract")
    items = any_bucket.truth["arbitrage"]
    assert [(item["symbol"], item["kind"]) for item in items] == [
        ("GOOGL", "conversion"),
        *(("MSFT", kind) for kind in ("monotonicity", "calendar", "long_box", "butterfly")),
    ]
    assert (
        len(any_bucket.planted_contracts())
        == 1
        + sum(len(item["legs"]) for item in items if item["symbol"] == "MSFT")
        + len(items[0]["legs"])
        - 1
    ), "two packages share a contract"
    for item in items:
        assert item["quote_date"] == LAST
        debit = contracts = 0.0
        for leg in item["legs"]:
            buy = leg["side"] == "buy"
            if leg["contract"] == item["symbol"]:
                price = any_bucket.truth["stock_quotes"][item["symbol"]]["ask" if buy else "bid"]
                close = any_bucket.bars(item["symbol"])["Close"][LAST]
                assert price == pytest.approx(close + CENT if buy else close - CENT)
            else:
                price = quotes.loc[leg["contract"], "ask" if buy else "bid"]
                contracts += leg["ratio"]
            assert price == pytest.approx(leg["price"])
            debit += leg["ratio"] * (price if buy else -price)
        edge = worth_at_least(item, chain) - debit - 0.0065 * contracts
        assert edge == pytest.approx(item["edge"], abs=1e-6) and 0.05 < edge < 0.09


def test_butterfly_and_verticals_are_what_they_are_called(any_bucket: Bucket) -> None:
    quotes = any_bucket.chain(LAST).set_index("contract")
    by_kind = {item["kind"]: item for item in any_bucket.truth["arbitrage"]}
    legs = {
        kind: [
            (quotes.loc[leg["contract"]], leg)
            for leg in item["legs"]
            if leg["contract"] in quotes.index
        ]
        for kind, item in by_kind.items()
    }
    (low, _), (body, sold), (high, _) = legs["butterfly"]
    assert low["strike"] + high["strike"] == 2 * body["strike"] and sold["ratio"] == 2
    assert low["expiration"] == body["expiration"] == high["expiration"] > "2027"
    (short, sold), (long, bought) = legs["monotonicity"]
    assert (short["type"], sold["side"], bought["side"]) == ("call", "sell", "buy")
    assert short["strike"] > long["strike"] and short["expiration"] == long["expiration"]
    (short, sold), (long, bought) = legs["calendar"]
    assert (sold["side"], bought["side"]) == ("sell", "buy")
    assert short["strike"] == long["strike"] and short["expiration"] < long["expiration"]


@pytest.mark.parametrize("date", [OPTION_DATES[0], LAST])
def test_the_library_finds_what_is_planted_and_nothing_else(any_bucket: Bucket, date: str) -> None:
    chain = any_bucket.chain(date).rename(columns={"underlying": "symbol"})
    for name in ("expiration", "quote_date"):
        chain[name] = pd.to_datetime(chain[name])
    found = []
    for symbol, rows in chain.groupby("symbol"):
        rates = {  # the truth's own, by years
            years: rate for years, rate in zip(rows["years"], rows["rate"], strict=True)
        }
        close = any_bucket.truth["spots"][date][symbol]
        terms = terms_of(rate=rates, stock_bid=close - CENT, stock_ask=close + CENT)
        frame = find_arbitrage(rows.reset_index(drop=True), terms)
        assert (frame["suspect_count"] == 0).all() and (frame["flags"].str.len() == 0).all()
        found += [
            (
                row.symbol,
                row.kind,
                round(row.edge, 6),
                row.capacity,
                sorted((leg["contract"] or symbol, leg["side"], leg["ratio"]) for leg in row.legs),
            )
            for row in frame.itertuples()
        ]
    planted = [
        (
            item["symbol"],
            item["kind"],
            item["edge"],
            20 // max(leg["ratio"] for leg in item["legs"]),
            sorted((leg["contract"], leg["side"], leg["ratio"]) for leg in item["legs"]),
        )
        for item in any_bucket.truth["arbitrage"]
        if item["quote_date"] == date
    ]
    assert sorted(found) == sorted(planted)
