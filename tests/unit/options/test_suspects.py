"""Quotes that contradict their chain are named, and so are the rows that rest on them."""

from __future__ import annotations

from typing import Any

import pytest

from stockdb.options.arbitrage import find_arbitrage, suspect_quotes, terms_of
from tests.unit.options.quoted import chain, quote


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
