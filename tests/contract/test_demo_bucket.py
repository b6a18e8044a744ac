"""The demo bucket through the front doors: what is planted is found, at the bucket's own rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from stockdb.demo.simulate import demo_objects, demo_truth

LAST = "2025-12-31"


@pytest.fixture(scope="module")
def leaps(module_clients: Any, make_bucket: Callable[..., str]) -> LEAPSDataIntegration:
    return LEAPSDataIntegration(module_clients(make_bucket(dict(demo_objects()))))


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    return demo_truth()


def packages(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return sorted(
        (
            row["symbol"],
            row["kind"],
            round(row["edge"], 5),
            sorted((leg["contract"] or row["symbol"], leg["side"]) for leg in row["legs"]),
        )
        for row in frame.to_dict("records")
    )


def planted(truth: dict[str, Any], symbol: str) -> list[tuple[Any, ...]]:
    return sorted(
        (
            symbol,
            item["kind"],
            round(item["edge"], 5),
            sorted((leg["contract"], leg["side"]) for leg in item["legs"]),
        )
        for item in truth["arbitrage"]
        if item["symbol"] == symbol
    )


def test_the_readme_call_finds_what_is_planted(
    leaps: LEAPSDataIntegration, truth: dict[str, Any]
) -> None:
    frame = leaps.find_arbitrage_opportunities("MSFT")
    assert len(frame) == 4 and packages(frame) == planted(truth, "MSFT")
    assert (frame["class"] == "riskless").all() and (frame["suspect_count"] == 0).all()
    assert frame["survives_one_tick"].all()
    assert frame.attrs["stockdb"]["suspect_quotes"] == 0


def test_with_the_stocks_quotes_parity_is_found_too_and_nothing_elsewhere(
    leaps: LEAPSDataIntegration, truth: dict[str, Any]
) -> None:
    found = {}
    for symbol, quote in truth["stock_quotes"].items():
        frame = leaps.find_arbitrage_opportunities(
            symbol, stock_bid=quote["bid"], stock_ask=quote["ask"]
        )
        found[symbol] = packages(frame)
    assert len(found) == 12
    assert found == {symbol: planted(truth, symbol) for symbol in found}
    assert [item[1] for item in found["GOOGL"]] == ["conversion"]


def test_the_days_before_hold_nothing_even_without_fees(
    leaps: LEAPSDataIntegration, truth: dict[str, Any]
) -> None:
    days = [day for day in truth["spots"] if day != LAST]
    assert len(days) == 4
    for date in days:
        quotes = {name: (c - 0.01, c + 0.01) for name, c in truth["spots"][date].items()}
        result = leaps.scan(
            list(quotes), date, quotes=quotes, progress=False, fees_per_contract=0.0
        )
        assert not result.errors and len(result.summary()) == 12
        assert result["arbitrage"].empty


def test_without_fees_the_same_packages_pay_that_much_more(
    leaps: LEAPSDataIntegration, truth: dict[str, Any]
) -> None:
    quotes = {name: (quote["bid"], quote["ask"]) for name, quote in truth["stock_quotes"].items()}
    scan = leaps.scan(list(quotes), quotes=quotes, progress=False, fees_per_contract=0.0)
    contracts = {"conversion": 2, "monotonicity": 2, "calendar": 2, "long_box": 4, "butterfly": 4}
    expected = {
        item["kind"]: item["edge"] + 0.0065 * contracts[item["kind"]] for item in truth["arbitrage"]
    }
    found = scan["arbitrage"].set_index("kind")["edge"].to_dict()
    assert len(scan["arbitrage"]) == 5 and found == pytest.approx(expected, abs=1e-5)


def test_numbers_are_those_that_were_simulated(
    leaps: LEAPSDataIntegration, truth: dict[str, Any]
) -> None:
    """Rates of the table, the yield by parity, and each volatility within the quotes' width."""
    known = truth["options"]
    for symbol in ("MSFT", "SPY", "KO", "TSLA"):
        chain = leaps.get_leaps_chain(symbol, "2025-12-30")
        assert set(chain["expiration"].astype(str)) == {"2027-01-15", "2028-01-21"}
        rates = chain["expiration"].astype(str).map(known["rates"]["2025-12-30"])
        assert np.abs(chain["rate"] - rates).max() < 1e-9
        carry = known["yields"][symbol]
        assert np.abs(chain["q"] - carry).max() < 5e-4
        p = known["sigma"]["parameters"][symbol]
        t, k = chain["years"], chain["strike"]
        forward = truth["spots"]["2025-12-30"][symbol] * np.exp((rates - carry) * t)
        faded = (1 - np.exp(-p["decay"] * t)) / (p["decay"] * t)
        a = np.sqrt(p["long"] ** 2 + (p["short"] ** 2 - p["long"] ** 2) * faded)
        away = np.tanh(np.log(k / forward) / (2 * a * np.sqrt(t)))
        off = (chain["iv"] - a * np.sqrt(1 - p["skew"] * away)).abs()
        with_iv = chain["iv"].notna()
        assert with_iv.mean() > 0.6
        assert (off <= chain["iv_error"])[with_iv].all()  # half the spread
        assert off[with_iv].median() < 0.0015
