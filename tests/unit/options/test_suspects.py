"""Quotes that contradict their chain are named, and so are the rows that rest on them."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from typing import Any

import numpy as np
import pytest

from stockdb.options import price
from stockdb.options.arbitrage import find_arbitrage, suspect_quotes, terms_of
from tests.unit.options.quoted import DAY, chain, quote


def smooth(count: int = 21) -> list[dict[str, Any]]:
    """Calls of strikes 50, 55 ... that fall convexly, with ten cents of spread."""
    prices = [(150 - strike) ** 2 / 200 for strike in range(50, 50 + 5 * count, 5)]
    return [
        quote("call", 50 + 5 * i, price + 1.0 - 0.05, price + 1.0 + 0.05)
        for i, price in enumerate(prices)
    ]


class TestSuspects:
    def test_a_smooth_chain_has_none(self) -> None:
        frame = find_arbitrage(chain(smooth()))
        assert frame.empty
        assert frame.attrs["stockdb"]["suspect_quotes"] == 0

    def test_a_stale_quote_is_named_and_its_rows_are_suspect(self) -> None:
        quotes = smooth()
        stale = quotes[10]  # strike 100, worth 13.5
        stale["bid"], stale["ask"] = 33.45, 33.55
        frame = find_arbitrage(chain(quotes))
        assert len(frame) > 10
        assert set(frame["class"]) == {"suspect"}
        assert {name for names in frame["suspects"] for name in names} == {stale["contract"]}
        assert (frame["suspect_count"] == 1).all()
        assert (
            frame["explanation"]
            .str.contains(f"Check first: the quote of {stale['contract']}")
            .all()
        )
        assert (frame["edge"] > 0).all()  # they keep their numbers
        assert find_arbitrage(chain(quotes), include_suspect=False).empty
        named = suspect_quotes(chain(quotes))
        assert list(named["contract"]) == [stale["contract"]]
        # above what the calls beside it allow by its bid less their chord: 33.45 - 13.625
        assert named["distance"].iloc[0] == pytest.approx(33.45 - (16.125 + 11.125) / 2)

    def test_others_rank_above_them(self) -> None:
        quotes = smooth()
        quotes[10]["bid"], quotes[10]["ask"] = 33.45, 33.55
        quotes.append(quote("put", 50, 50.05, 50.5))  # for more than its strike: not much
        frame = find_arbitrage(chain(quotes))
        assert frame["kind"].iloc[0] == "put_cap"
        assert frame["class"].iloc[0] == "riskless"
        assert frame["annualised"].iloc[0] < frame["annualised"].iloc[1]


def straight() -> list[dict[str, Any]]:
    """Calls and puts of seven strikes that are worth no more than their exercise, and a dime."""
    return [
        quote(kind, strike, worth + 0.05, worth + 0.15)
        for strike in range(85, 120, 5)
        for kind, worth in (("call", max(100 - strike, 0.0)), ("put", max(strike - 100, 0.0)))
    ]


def test_a_stock_quote_that_many_options_contradict_is_the_culprit() -> None:
    fresh = find_arbitrage(chain(straight()), terms_of(stock_bid=99.98, stock_ask=100.02))
    assert fresh.empty
    late = find_arbitrage(chain(straight()), terms_of(stock_bid=101.98, stock_ask=102.02))
    floors = late[late["kind"] == "call_floor"]
    assert len(floors) == 4  # 85 to 100: a dollar and more above what they cost
    assert set(floors["class"]) == {"riskless"}  # four options are too few to blame the stock
    more = [*straight(), quote("call", 80, 20.05, 20.15)]
    blamed = find_arbitrage(chain(more), terms_of(stock_bid=101.98, stock_ask=102.02))
    floors = blamed[blamed["kind"] == "call_floor"]
    assert len(floors) == 5
    assert set(floors["class"]) == {"suspect"}
    assert all(names == ["ABC"] for names in floors["suspects"])
    assert all("stock_not_synchronous" in flags for flags in floors["flags"])


Fair = dict[tuple[str, int, float], dict[str, Any]]


def fair(step: float = 5.0) -> Fair:
    """Quotes around the prices of American options: stock 100, rate 4 %, volatility 30 %."""
    kinds, days, strikes = ("call", "put"), (45, 200, 410, 690), np.arange(70.0, 135.1, step)
    where = list(itertools.product(kinds, days, strikes.tolist()))
    kind, day, strike = (np.array(column) for column in zip(*where, strict=True))
    middle = price(100.0, strike, day / 365, 0.04, 0.0, 0.3, kind)
    bids = np.maximum(0.0, np.floor((middle - 0.05) * 100) / 100)
    asks = np.ceil((middle + 0.05) * 100) / 100
    return {
        key: quote(key[0], key[2], float(bid), float(ask), DAY + dt.timedelta(days=key[1]))
        for key, bid, ask in zip(where, bids, asks, strict=True)
    }


def overprice(quotes: Fair, kind: str, days: int, strike: float, by: float, step: float) -> str:
    """Bid more for an option than for the better one beside it costs."""
    better = strike - step if kind == "call" else strike + step
    bid = quotes[kind, days, better]["ask"] + by
    moved = quotes[kind, days, strike]
    moved["bid"], moved["ask"] = bid, bid + 0.1
    return str(moved["contract"])


def underprice(quotes: Fair, days: int, strike: float, by: float, step: float) -> str:
    """Offer a call for less than the one beside it, exercised against it, brings."""
    ask = quotes["call", days, strike - step]["bid"] - step - by
    moved = quotes["call", days, strike]
    moved["bid"], moved["ask"] = ask - 0.1, ask
    return str(moved["contract"])


class TestTheCulpritAlone:
    """One quote of a fair chain is moved: whatever it is put next to has no fault."""

    @pytest.mark.parametrize("step", [5.0, 2.5])
    @pytest.mark.parametrize("by", [0.11, 0.5, 1.0, 3.0, 8.0])
    def test_is_named(self, by: float, step: float) -> None:
        for kind, days, strike in (("call", 410, 105.0), ("put", 410, 95.0)):
            quotes = fair(step)
            culprit = overprice(quotes, kind, days, strike, by, step)
            assert list(suspect_quotes(chain(quotes.values()))["contract"]) == [culprit]
        quotes = fair(step)
        culprit = underprice(quotes, 690, 105.0, by, step)
        assert list(suspect_quotes(chain(quotes.values()))["contract"]) == [culprit]

    def test_at_either_end_of_a_ladder(self) -> None:
        for strike, bid in ((70.0, 45.0), (135.0, 12.0)):
            quotes = fair()
            moved = quotes["call", 410, strike]
            moved["bid"], moved["ask"] = bid, bid + 0.1
            named = list(suspect_quotes(chain(quotes.values()))["contract"])
            assert named == [moved["contract"]]

    def test_two_that_support_each_other(self) -> None:
        quotes = fair()
        moved = [quotes["call", 410, strike] for strike in (100.0, 105.0)]
        for one in moved:  # as it was when the stock was lower
            one["bid"], one["ask"] = one["bid"] - 6.0, one["ask"] - 6.0
        named = suspect_quotes(chain(quotes.values()))
        assert set(named["contract"]) == {one["contract"] for one in moved}

    def test_none_where_it_is_too_little(self) -> None:
        """Off by 90 cents, and so its neighbours by more than a dollar: by the bad quote alone."""
        quotes = fair()
        moved = quotes["call", 410, 105.0]
        moved["bid"], moved["ask"] = moved["bid"] + 0.9, moved["ask"] + 0.9
        assert suspect_quotes(chain(quotes.values())).empty


def with_a_box(quotes: Fair) -> None:
    """Offer the put of 105 for eight cents less than makes a box of 45 days worth its cost."""
    near = {(kind, strike): quotes[kind, 45, strike] for kind, _, strike in quotes}
    worth = 5.0 * math.exp(-0.04 * 45 / 365)
    rest = near["call", 100.0]["ask"] - near["call", 105.0]["bid"] - near["put", 100.0]["bid"]
    ask = round(worth - rest - 0.08, 2)
    near["put", 105.0]["bid"], near["put", 105.0]["ask"] = round(ask - 0.05, 2), ask


def box_class(quotes: Fair) -> tuple[str, Any]:
    frame = find_arbitrage(chain(quotes.values()), terms_of(rate=0.04))
    boxes = frame[(frame["kind"] == "long_box") & (frame["dte"] == 45)]
    mine = [
        row
        for row in boxes.to_dict("records")
        if {leg["strike"] for leg in row["legs"]} == {100.0, 105.0}
    ]
    assert len(mine) == 1
    assert mine[0]["edge"] == pytest.approx(0.0494, abs=0.006)
    return mine[0]["class"], frame


class TestBadQuotesElsewhere:
    """What else is wrong with a chain, and what it says of an untouched package."""

    def test_a_handful_says_nothing(self) -> None:
        quotes = fair()
        with_a_box(quotes)
        assert box_class(quotes)[0] == "riskless"
        for kind, days, strike in (("call", 410, 105.0), ("put", 410, 80.0), ("call", 690, 100.0)):
            overprice(quotes, kind, days, strike, 0.5, 5.0)
        found, frame = box_class(quotes)
        assert found == "riskless"
        assert frame.attrs["stockdb"]["suspect_quotes"] == 3
        assert not frame.attrs["stockdb"]["chain_not_synchronous"]

    def test_many_in_one_expiration_say_nothing_of_another(self) -> None:
        quotes = fair()
        with_a_box(quotes)
        for kind in ("call", "put"):
            for strike in (75.0, 90.0, 105.0, 120.0):
                quotes[kind, 690, strike]["bid"] += 7.0
                quotes[kind, 690, strike]["ask"] += 7.0
        found, frame = box_class(quotes)
        assert found == "riskless"
        assert not frame.attrs["stockdb"]["chain_not_synchronous"]
        there = frame[frame["legs"].map(lambda legs: any(leg["dte"] == 690 for leg in legs))]
        assert len(there) > 20
        assert set(there["class"]) == {"suspect"}
        assert all("expiration_not_synchronous" in flags for flags in there["flags"])
        unnamed = there[there["suspects"].map(len) == 0]
        assert unnamed["explanation"].str.contains("an expiration of it was not quoted").all()

    def test_many_in_most_expirations_speak_against_all(self) -> None:
        quotes = fair()
        with_a_box(quotes)
        for days in (200, 410, 690):
            for kind in ("call", "put"):
                for strike in (80.0, 110.0):
                    quotes[kind, days, strike]["bid"] += 7.0
                    quotes[kind, days, strike]["ask"] += 7.0
        found, frame = box_class(quotes)
        assert found == "suspect"
        assert frame.attrs["stockdb"]["suspect_quotes"] == 12
        assert frame.attrs["stockdb"]["chain_not_synchronous"]
        assert set(frame["class"]) == {"suspect"}
