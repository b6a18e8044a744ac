"""Chains without arbitrage, priced by QuantLib: no test may call any of their packages riskless.

Source of the prices: QuantLib's finite differences (FdBlackScholesVanillaEngine, cash dividends
in the spot model), one volatility for all options, so that any static arbitrage found is false.
"""

from __future__ import annotations

import datetime as dt
import math
from functools import cache
from typing import Any

import pandas as pd
import pytest

from stockdb.options.arbitrage import find_arbitrage, terms_of
from tests.unit.options.quoted import DAY, chain, quote

ql = pytest.importorskip("QuantLib")

STRIKES = (60, 80, 90, 95, 100, 105, 110, 125, 150)
DAYS = (32, 200, 430, 760)
SPOT, VOL = 100.0, 0.30
#: Ex-dates in days from the quote date, and what is paid.
SCHEDULES = {
    0: {},
    1: {150: 5.0},
    4: {20: 0.6, 110: 0.6, 200: 0.6, 290: 0.6},
    8: {31 + 91 * i: 0.9 + 0.1 * i for i in range(8)},
}


def day(days: int) -> dt.date:
    return DAY + dt.timedelta(days=days)


@cache
def prices(count: int, rate: float) -> dict[tuple[str, int, int], float]:
    today = ql.Date(DAY.day, DAY.month, DAY.year)
    ql.Settings.instance().evaluationDate = today
    counter = ql.Actual365Fixed()
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(SPOT)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, counter)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, rate, counter)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), VOL, counter)),
    )
    found = {}
    for days in DAYS:
        dividends = [
            ql.FixedDividend(amount, today + ex)
            for ex, amount in SCHEDULES[count].items()
            if ex <= days
        ]
        engine = ql.FdBlackScholesVanillaEngine(process, dividends, 100, 300)
        for kind, code in (("call", ql.Option.Call), ("put", ql.Option.Put)):
            for strike in STRIKES:
                option = ql.VanillaOption(
                    ql.PlainVanillaPayoff(code, strike), ql.AmericanExercise(today, today + days)
                )
                option.setPricingEngine(engine)
                found[kind, strike, days] = option.NPV()
    return found


def fair(count: int, rate: float, moved: dict[tuple[str, int, int], float] | None = None) -> Any:
    """Bids and asks around the prices, rounded outwards to cents."""
    quotes = []
    for key, price in prices(count, rate).items():
        kind, strike, days = key
        worth = price + (moved or {}).get(key, 0.0)
        bid, ask = math.floor(worth * 100 - 1) / 100, math.ceil(worth * 100 + 1) / 100
        if bid > 0:
            quotes.append(quote(kind, strike, bid, ask, day(days), sizes=(20, 20)))
    return chain(quotes)


def market(count: int, rate: float, **more: Any) -> Any:
    dividends = {day(ex).isoformat(): amount for ex, amount in SCHEDULES[count].items()}
    return terms_of(
        stock_bid=SPOT - 0.01,
        stock_ask=SPOT + 0.01,
        rate=rate,
        dividends=dividends,
        fees_per_contract=0.0,
        **more,
    )


@pytest.mark.parametrize("count", list(SCHEDULES))
@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_a_fair_chain_holds_no_arbitrage(count: int, rate: float) -> None:
    frame = find_arbitrage(fair(count, rate), market(count, rate))
    assert frame.empty, frame[["kind", "class", "edge", "explanation"]].head()


@pytest.mark.parametrize("count", [0, 8])
def test_the_short_box_would_cry_wolf(count: int) -> None:
    frame = find_arbitrage(fair(count, 0.05), market(count, 0.05), include_statistical=True)
    assert set(frame["kind"]) == {"short_box"}  # deep American puts are worth their strikes now
    assert set(frame["class"]) == {"statistical"}
    assert frame["edge"].max() > 1.0


#: What is moved by how much, and the package that has to be found for it.
PLANTED = {
    "conversion": ({("call", 100, 32): 1.0}, [("sell", "call", 100), ("buy", "put", 100)]),
    "reversal": ({("put", 100, 32): 1.0}, [("buy", "call", 100), ("sell", "put", 100)]),
    "monotonicity": ({("call", 105, 200): 3.0}, [("sell", "call", 105), ("buy", "call", 100)]),
    "slope": ({("put", 110, 430): 3.0}, [("sell", "put", 110), ("buy", "put", 105)]),
    "calendar": ({("put", 95, 430): 6.0}, [("sell", "put", 95), ("buy", "put", 95)]),
    "butterfly": (
        {("call", 95, 760): 0.5},
        [("buy", "call", 90), ("sell", "call", 95), ("buy", "call", 100)],
    ),
    "long_box": (
        {("call", 90, 760): -0.8},
        [("buy", "call", 90), ("sell", "call", 95), ("sell", "put", 90), ("buy", "put", 95)],
    ),
    "put_floor": ({("put", 150, 32): -1.0}, [("buy", "put", 150)]),
    "call_floor": ({("call", 60, 32): -1.5}, [("buy", "call", 60)]),
}


@pytest.mark.parametrize("kind", list(PLANTED))
def test_what_is_planted_in_a_fair_chain_is_found(kind: str) -> None:
    moved, wanted = PLANTED[kind]
    quotes = fair(1, 0.05, moved)
    (contract,) = {
        row["contract"]
        for row in quotes.to_dict("records")
        if (row["type"], row["strike"], (row["expiration"].date() - DAY).days) in moved
    }
    frame = find_arbitrage(quotes, market(1, 0.05))
    found = [
        row
        for row in frame[frame["kind"] == kind].to_dict("records")
        if sorted(
            (leg["side"], leg["type"], leg["strike"])
            for leg in row["legs"]
            if leg["type"] != "stock"
        )
        == sorted(wanted)
    ]
    assert len(found) >= 1
    row = max(found, key=lambda item: item["edge"])
    # every finding rests on the quote that was moved, for the rest of the chain is fair
    for legs in frame["legs"]:
        assert contract in {leg["contract"] for leg in legs}
    # to the cent, from the legs alone
    cash = 0.0
    for leg in row["legs"]:
        price = leg["ask"] if leg["side"] == "buy" else leg["bid"]
        assert leg["fill"] == price
        cash -= leg["ratio"] * price * (1 if leg["side"] == "buy" else -1)
    assert row["net_debit"] == pytest.approx(-cash, abs=1e-9)
    assert row["edge"] == pytest.approx(cash + worst(kind, row), abs=1e-4)
    assert row["capacity"] == 20 // max(leg["ratio"] for leg in row["legs"])
    assert row["profit"] == pytest.approx(row["edge"] * 100 * row["capacity"], abs=0.005)


def worst(kind: str, row: dict[str, Any]) -> float:
    """Least value of what is held afterwards, by a search over all days and stock prices."""
    if kind in ("monotonicity", "calendar", "butterfly"):
        return 0.0
    strikes = [leg["strike"] for leg in row["legs"] if leg["type"] != "stock"]
    discount = lambda days: math.exp(-0.05 * days / 365)  # noqa: E731
    if kind == "slope":
        return -(max(strikes) - min(strikes))
    if kind == "long_box":
        return (max(strikes) - min(strikes)) * discount(row["dte"])
    ex, amount = 150, SCHEDULES[1][150]
    values = [
        strikes[0] * discount(days) + (amount * discount(ex - 6.5 / 24) if days >= ex else 0.0)
        for days in range(row["dte"] + 1)
    ]
    before = strikes[0] * discount(ex - 6.5 / 24)
    values += [before, before + amount * discount(ex - 6.5 / 24)] if row["dte"] >= ex else []
    return {
        "conversion": min(values),
        "reversal": -max(values),
        "put_floor": max(values),
        "call_floor": -min(values),
    }[kind]


def test_stale_quotes_are_told_from_fresh_ones() -> None:
    """Every tenth quote is that of a stock three per cent lower."""
    fresh = prices(0, 0.05)
    ratio = 0.97
    moved = {}
    for number, (kind, strike, days) in enumerate(fresh):
        if number % 10 == 3:
            # homogeneous of degree one: a stock at 97 is this chain with strikes / 0.97
            near = sorted(STRIKES, key=lambda other: abs(other - strike / ratio))[:2]
            low, high = sorted(near)
            share = (strike / ratio - low) / (high - low)
            there = (1 - share) * fresh[kind, low, days] + share * fresh[kind, high, days]
            moved[kind, strike, days] = ratio * there - fresh[kind, strike, days]
    frame = find_arbitrage(fair(0, 0.05, moved), market(0, 0.05))
    assert len(frame) > 5
    stale = {
        f"{kind}{strike}{day(days)}" for kind, strike, days in moved if moved[kind, strike, days]
    }
    for row in frame[frame["class"] == "suspect"].to_dict("records"):
        names = {
            f"{leg['type']}{leg['strike']:g}{leg['expiration'].date()}"
            for leg in row["legs"]
            if leg["type"] != "stock"
        }
        assert names & stale
    assert (frame["class"] == "suspect").mean() > 0.5, pd.crosstab(frame["kind"], frame["class"])
