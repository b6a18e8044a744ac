"""Implied volatility: reasons, and the way in and out; values are in tests/answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockdb.options import REASONS, implied_greeks, implied_vol, price


@pytest.mark.parametrize(
    "change, reason",
    [
        ({}, ""),
        ({"price": np.nan}, "bad_input"),
        ({"price": -0.1}, "bad_input"),
        ({"S": 0.0}, "bad_input"),
        ({"T": 0.0}, "expired"),
        ({"price": 19.9}, "below_intrinsic"),
        ({"price": 20.0}, "no_time_value"),
        ({"K": 50.0, "price": 0.0}, "no_time_value"),
        ({"price": 120.0}, "above_cap"),
        ({"price": 119.99}, "out_of_domain"),
    ],
)
def test_each_reason(change: dict[str, float], reason: str) -> None:
    given = {"S": 100.0, "K": 120.0, "T": 1.0, "r": 0.05, "q": 0.01, "price": 22.0, **change}
    found, why = implied_vol(**given, option_type="put", return_reason=True)
    assert why == reason and reason in REASONS
    assert np.isnan(found) == bool(reason)


def test_every_reason_can_be_told_apart_in_one_call() -> None:
    prices = [22.0, np.nan, 19.9, 20.0, 120.0]
    found, why = implied_vol(
        100.0, 120.0, 1.0, 0.05, 0.01, pd.Series(prices), "put", return_reason=True
    )
    assert why.tolist() == ["", "bad_input", "below_intrinsic", "no_time_value", "above_cap"]
    assert np.isfinite(found).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("style", ["american", "european"])
@pytest.mark.parametrize("kind", ["call", "put"])
def test_round_trip_over_the_domain(style: str, kind: str) -> None:
    """Where vega is worth a hundred-thousandth of a dollar a vol point."""
    sigma = np.geomspace(0.01, 5.0, 25)[:, None]
    K = 100.0 * np.exp(np.linspace(-1.0, 1.0, 9))
    seen = 0
    for T in (1 / 365, 0.1, 1.0, 10.0):
        for r, q in ((0.05, 0.0), (0.0, 0.04), (0.15, 0.1), (-0.01, 0.02), (0.03, 0.03)):
            value = price(100.0, K, T, r, q, sigma, kind, style)
            back = implied_greeks(100.0, K, T, r, q, value, kind, style)
            felt = back.greeks.vega > 1e-3
            seen += int(felt.sum())
            error = np.abs(back.sigma / sigma - 1.0)[felt]
            assert error.max() < 1e-6, (T, r, q)
            again = price(100.0, K, T, r, q, back.sigma, kind, style)
            assert np.nanmax(np.abs(again - value)) < 1e-8
    assert seen > 1500


def test_the_greeks_are_those_at_the_volatility_found_and_nan_with_it() -> None:
    value = price(100.0, 110.0, 2.0, 0.05, 0.01, 0.3, "put")
    found = implied_greeks(100.0, 110.0, 2.0, 0.05, 0.01, [value, 1.0], "put")
    assert found.sigma[0] == pytest.approx(0.3, abs=1e-9)
    assert found.reason.tolist() == ["", "below_intrinsic"]
    assert found.greeks.price[0] == pytest.approx(value)
    for name in found.greeks.keys():  # noqa: SIM118 - the object is no mapping
        assert np.isfinite(found.greeks[name]).tolist() == [True, False]
