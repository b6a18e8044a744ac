"""Prices and Greeks: shapes, units, limits; values are in tests/answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import ConfigurationError
from stockdb.options import greeks, price

MARKET = (100.0, 100.0, 1.0, 0.05, 0.02, 0.3)


def test_a_scalar_gives_a_float_and_arrays_broadcast() -> None:
    assert type(price(*MARKET, "call")) is float
    K, T = np.array([[90.0], [100.0], [110.0]]), np.array([0.5, 2.0])
    both = price(100.0, K, T, 0.05, 0.02, 0.3, "put")
    assert both.shape == (3, 2)
    assert both[2, 1] == price(100.0, 110.0, 2.0, 0.05, 0.02, 0.3, "put")
    mixed = price(*MARKET, pd.Series(["call", "put"]), ["american", "european"])
    assert mixed[1] == price(*MARKET, "p", "european")


def test_what_is_unusable_is_nan_and_the_rest_is_not() -> None:
    found = price([100.0, np.nan, -1.0, 100.0], 100.0, [1.0, 1.0, 1.0, -0.1], 0.05, 0.0, 0.3, "put")
    assert np.isfinite(found).tolist() == [True, False, False, False]
    assert np.isnan(greeks(np.nan, 100.0, 1.0, 0.05, 0.0, 0.3, "put").delta)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"option_type": "straddle"}, "'call'"),
        ({"style": "bermudan"}, "'european'"),
        ({"S": [1.0, 2.0], "K": [1.0, 2.0, 3.0]}, "broadcast"),
        ({"S": "much"}, "numbers"),
        ({"dividends": [0.25, 0.5]}, "pairs"),
        ({"dividends": [(0.25, -1.0)]}, "no sense"),
    ],
)
def test_bad_input_names_the_remedy(change: dict[str, object], words: str) -> None:
    given = dict(zip(("S", "K", "T", "r", "q", "sigma"), MARKET, strict=True))
    with pytest.raises(ConfigurationError, match=words):
        price(**{**given, "option_type": "call", **change})


def test_american_is_worth_more_and_where_exercise_never_pays_the_same() -> None:
    K = np.linspace(60.0, 160.0, 11)
    market = (100.0, K, 2.0, 0.05, 0.02, 0.3)
    for kind in ("call", "put"):
        early, late = price(*market, kind), price(*market, kind, "european")
        assert (early >= late - 1e-12).all() and (early > late + 1e-4).any()
        assert (early >= np.maximum((100.0 - K) * (1 if kind == "call" else -1), 0)).all()
    no_yield = (100.0, K, 2.0, 0.05, 0.0, 0.3, "call")
    assert price(*no_yield) == pytest.approx(price(*no_yield, "european"), abs=1e-12)
    no_rate = (100.0, K, 2.0, 0.0, 0.02, 0.3, "put")
    assert price(*no_rate) == pytest.approx(price(*no_rate, "european"), abs=1e-12)


def test_a_call_is_the_put_with_stock_and_strike_and_rates_exchanged() -> None:
    for style in ("american", "european"):
        call = price(95.0, 110.0, 2.0, 0.03, 0.06, 0.4, "call", style)
        assert call == pytest.approx(price(110.0, 95.0, 2.0, 0.06, 0.03, 0.4, "put", style))


def test_what_is_best_exercised_at_once() -> None:
    found = greeks(50.0, 100.0, 1.0, 0.08, 0.0, 0.2, ["put"])
    assert dict(found)["price"].tolist() == [50.0]
    assert [float(found[name][0]) for name in list(found.keys())[1:]] == [-1.0, 0, 0, 0, 0, 0]


def test_greeks_are_the_derivatives_of_the_price() -> None:
    """By differences of our own price: the price itself is compared elsewhere."""
    for kind, style, paid in (
        ("put", "american", ()),
        ("call", "european", ()),
        ("put", "american", [(0.3, 2.0)]),
    ):
        S, K, T, r, q, sigma = 100.0, 105.0, 1.5, 0.05, 0.03, 0.3

        def at(kind=kind, style=style, paid=paid, **change: float) -> float:  # type: ignore[no-untyped-def]
            given = {"S": 100.0, "K": 105.0, "T": 1.5, "r": 0.05, "q": 0.03, "sigma": 0.3}
            return price(**{**given, **change}, option_type=kind, style=style, dividends=paid)  # type: ignore[no-any-return]

        found = greeks(S, K, T, r, q, sigma, kind, style, paid)
        assert found.price == at()
        for name, key, value, step in (
            ("delta", "S", S, 0.1),
            ("vega", "sigma", sigma, 1e-3),
            ("rho", "r", r, 1e-4),
            ("dividend_rho", "q", q, 1e-4),
        ):
            slope = (at(**{key: value + step}) - at(**{key: value - step})) / (2.0 * step)
            assert found[name] == pytest.approx(slope, rel=2e-3, abs=1e-3), (name, kind, paid)
        bend = (at(S=S + 1.0) - 2.0 * at() + at(S=S - 1.0)) / 1.0
        assert found.gamma == pytest.approx(bend, rel=5e-3)
        if not paid:
            slide = (at(T=T - 1e-3) - at(T=T + 1e-3)) / 2e-3
            assert found.theta == pytest.approx(slide, rel=1e-3)


def test_without_volatility_or_time() -> None:
    assert price(100.0, 90.0, 1.0, 0.05, 0.0, 0.0, "call") == pytest.approx(
        100.0 - 90.0 * np.exp(-0.05)
    )
    assert price(100.0, 110.0, 1.0, 0.05, 0.0, 0.0, "put") == 10.0  # at once, not later
    assert price(100.0, 110.0, 0.0, 0.05, 0.0, 0.3, "put") == 10.0
    # r K - q S changes sign on the way: exercise in between is best
    found = price(100.0, 100.0, 2.0, 0.02, 0.01, 0.0, "call")
    assert found == pytest.approx(100.0 * (np.exp(-0.02) - np.exp(-0.04)))


def test_a_dividend_after_the_expiration_does_not_count() -> None:
    late = price(100.0, 100.0, [0.5, 1.5], 0.05, 0.0, 0.3, "call", dividends=[(1.0, 5.0)])
    none = price(100.0, 100.0, [0.5, 1.5], 0.05, 0.0, 0.3, "call")
    assert late[0] == none[0] and late[1] < none[1] - 0.5


def test_many_options_of_one_market_cost_no_boundary_each() -> None:
    """Strikes and volatilities of one expiration share a table; what comes out is the same."""
    K, sigma = np.linspace(60.0, 150.0, 40), np.linspace(0.1, 0.7, 40)
    together = price(100.0, K, 1.3, 0.05, 0.02, sigma, "put")
    apart = [price(100.0, k, 1.3, 0.05, 0.02, s, "put") for k, s in zip(K, sigma, strict=True)]
    assert together == pytest.approx(apart, abs=1e-7)
