"""Statistical signals: only on request, labelled, and at executable prices."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from stockdb.options import price
from stockdb.options.arbitrage import find_arbitrage, terms_of
from stockdb.options.chain import enrich
from tests.unit.options.quoted import LATER, YEAR, chain, quote

SPOT, RATE, VOL = 100.0, 0.04, 0.30
STRIKES = range(70, 131, 5)


def worth(kind: str, strike: float, days: int) -> float:
    return float(price(SPOT, strike, days / 365, RATE, 0.0, VOL, kind))


def flat(moved: dict[tuple[str, int, int], float] | None = None) -> pd.DataFrame:
    """A chain of one volatility; quotes five cents to either side of the price."""
    quotes: list[dict[str, Any]] = []
    for expiration, days in ((YEAR, 365), (LATER, 546)):
        for kind in ("call", "put"):
            for strike in STRIKES:
                middle = worth(kind, strike, days) + (moved or {}).get((kind, strike, days), 0.0)
                quotes.append(quote(kind, strike, middle - 0.05, middle + 0.05, expiration))
    return enrich(chain(quotes), SPOT, RATE)


def test_a_flat_smile_has_no_signal() -> None:
    frame = find_arbitrage(flat(), terms_of(rate=RATE), include_statistical=True)
    assert set(frame["kind"]) <= {"short_box"}  # interest on deep puts, early exercise


def test_an_option_off_its_smile() -> None:
    moved = flat({("call", 110, 546): 0.15})
    assert find_arbitrage(moved, terms_of(rate=RATE)).empty
    frame = find_arbitrage(moved, terms_of(rate=RATE), include_statistical=True)
    row = frame[frame["kind"] == "iv_outlier_dear"].iloc[0]
    assert row["class"] == "statistical"
    assert row["legs"][0]["contract"] == "O:ABC270705C00110000"
    # sold at the bid, 0.10 above what it is worth, less a fee
    assert row["edge"] == pytest.approx(0.10 - 0.0065, abs=0.01)
    assert any("No arbitrage" in text for text in row["disclosures"])


def test_synthetic_stock_off_its_price_within_the_band() -> None:
    moved = flat({("put", 100, 365): 0.30})
    frame = find_arbitrage(moved, terms_of(rate=RATE), include_statistical=True)
    row = frame[frame["kind"] == "synthetic_long"].iloc[0]
    assert [(leg["side"], leg["type"], leg["strike"]) for leg in row["legs"]] == [
        ("sell", "put", 100),
        ("buy", "call", 100),
    ]
    # the put brings .25 more than it is worth, the call costs .05 more, two fees
    assert row["edge"] == pytest.approx(0.20 - 0.013, abs=0.02)


def test_what_rests_on_an_implied_spot_says_so() -> None:
    moved = flat({("call", 70, 365): -6.0})  # below 100 - 70
    known = find_arbitrage(moved, terms_of(rate=RATE, stock_bid=99.99, stock_ask=100.01))
    assert "call_floor" in set(known["kind"])
    assert not known.empty
    frame = find_arbitrage(moved, terms_of(rate=RATE), include_statistical=True)
    row = frame[frame["kind"] == "call_floor"].iloc[0]
    assert row["class"] in ("statistical", "suspect")
    assert "implied_spot" in row["flags"]
    assert "call_floor" not in set(find_arbitrage(moved, terms_of(rate=RATE))["kind"])


def test_without_volatilities_the_reason_is_given() -> None:
    plain = chain([quote("call", 100, 9.0, 9.1), quote("put", 100, 6.0, 6.1)])
    note = find_arbitrage(plain, include_statistical=True).attrs["stockdb"]
    reasons = {item["test"]: item["reason"] for item in note["skipped"]}
    assert "volatilities" in reasons["iv_outlier"]
