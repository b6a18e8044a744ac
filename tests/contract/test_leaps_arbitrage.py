"""Arbitrage through the front door, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leaps_data_integration import LEAPSDataIntegration
from stockdb.errors import SymbolNotFoundError

HEADER = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility\n"
)
DAY = "2026-01-05"


def line(kind: str, strike: int, bid: float, ask: float, expiration: str = "2027-01-05") -> str:
    letter, code = kind[0].upper(), expiration[2:].replace("-", "")
    return (
        f"O:ABC{code}{letter}{strike * 1000:08d},ABC,{expiration},{kind},{strike},A,{bid},10,"
        f"{ask},10,,50,{DAY},,,,,\n"
    )


CHAIN = HEADER + "".join(
    [
        line("call", 100, 11.8, 12.0),
        line("call", 110, 7.0, 7.2),
        line("put", 100, 7.0, 7.2),
        line("put", 110, 10.8, 11.0),
    ]
)
REFERENCE = {
    # a year at 5.0945 % twice-yearly coupons is about 5.03 % continuous
    "reference/treasury.csv": b"date,3m,1y\n2026-01-02,5.0,5.0945\n2026-01-20,9.0,9.0\n",
    "reference/dividends.csv": b"symbol,ex_date,amount\nABC,2025-12-01,0.5\nABC,2026-06-01,0.5\n",
}


@pytest.fixture(scope="module")
def leaps(module_clients: Any, make_bucket: Callable[..., str]) -> LEAPSDataIntegration:
    bucket = make_bucket({f"options-complete/{DAY}options.csv": CHAIN.encode(), **REFERENCE})
    return LEAPSDataIntegration(module_clients(bucket))


@pytest.fixture(scope="module")
def bare(module_clients: Any, make_bucket: Callable[..., str]) -> LEAPSDataIntegration:
    bucket = make_bucket({f"options-complete/{DAY}options.csv": CHAIN.encode()})
    return LEAPSDataIntegration(module_clients(bucket))


def test_the_call_of_the_readme(bare: LEAPSDataIntegration) -> None:
    frame = bare.find_arbitrage_opportunities("ABC")
    assert frame.empty  # without a rate no box
    skipped = {item["test"] for item in frame.attrs["stockdb"]["skipped"]}
    assert {"conversion", "reversal", "long_box", "call_floor", "put_floor"} <= skipped


def test_the_rates_of_the_bucket_are_used_and_recorded(leaps: LEAPSDataIntegration) -> None:
    frame = leaps.find_arbitrage_opportunities("abc", DAY)
    assert list(frame["kind"]) == ["long_box"]
    market = frame.attrs["stockdb"]["market"]
    assert market["rate"]["as_of"] == "2026-01-02"  # not the later row
    assert market["dividends"]["ex_dates"] == ["2026-06-01"]
    # 10 at 5.03 % is 9.509; 9 and fees are paid
    assert frame["edge"].iloc[0] == pytest.approx(9.5093 - 9 - 0.026, abs=2e-3)


def test_a_given_rate_wins(leaps: LEAPSDataIntegration) -> None:
    frame = leaps.find_arbitrage_opportunities("ABC", rate=0.2, dividends={})
    assert frame.empty  # at 20 % a box of 10 is worth 8.19
    assert frame.attrs["stockdb"]["market"]["rate"]["source"] == "caller"


def test_forecast_dividends_are_no_declared_ones(leaps: LEAPSDataIntegration) -> None:
    frame = leaps.find_arbitrage_opportunities("ABC", stock_bid=95.0, stock_ask=95.1)
    conversions = frame[frame["kind"] == "conversion"]
    assert len(conversions)
    assert set(conversions["class"]) == {"conditional"}
    given = leaps.find_arbitrage_opportunities(
        "ABC", stock_bid=95.0, stock_ask=95.1, dividends={"2026-06-01": 0.5}
    )
    assert set(given[given["kind"] == "conversion"]["class"]) == {"riskless_declared"}


def test_reversals_end_with_the_table_of_dividends(leaps: LEAPSDataIntegration) -> None:
    quote = {"stock_bid": 115.0, "stock_ask": 115.1}
    frame = leaps.find_arbitrage_opportunities("ABC", **quote)
    assert "reversal" not in set(frame["kind"])
    assert "reversal" in {item["test"] for item in frame.attrs["stockdb"]["skipped"]}
    known = leaps.find_arbitrage_opportunities("ABC", dividends={}, **quote)
    assert "reversal" in set(known["kind"])


def test_the_least_days(leaps: LEAPSDataIntegration) -> None:
    frame = leaps.find_arbitrage_opportunities("ABC", min_days=366)
    assert frame.empty
    assert "filters" in frame.attrs["stockdb"]["empty_reason"]


def test_an_unknown_symbol_is_an_error(leaps: LEAPSDataIntegration) -> None:
    with pytest.raises(SymbolNotFoundError):
        leaps.find_arbitrage_opportunities("NOPE")
