"""What arrays of a thousand options and more lose, over the whole domain."""

from __future__ import annotations

import numpy as np
import pytest
import QuantLib as ql

from stockdb.options import greeks, implied_greeks, price
from tests.answers.option_accuracy import Reference


def test_implied_vol_of_chains_over_the_domain() -> None:
    """T a day to ten years, sigma .03 to 5: 1e-4 of vol where vega is above 10, at S = 100."""
    random = np.random.default_rng(91)
    compared = 0
    for _ in range(2):
        columns = []
        for _ in range(25):
            T = np.exp(random.uniform(np.log(1.0 / 365.0), np.log(10.0)))
            r, q = random.uniform(0.0, 0.15), random.uniform(0.0, 0.12)
            sigma = np.exp(random.uniform(np.log(0.03), np.log(5.0), 60))
            spread = np.minimum(sigma * np.sqrt(T), 1.0)
            K = 100.0 * np.exp(random.uniform(-1.5, 1.5, 60) * spread)
            kind = np.where(random.random() < 0.5, 1.0, -1.0)
            columns.append(np.column_stack(np.broadcast_arrays(K, T, r, q, sigma, kind)))
        K, T, r, q, sigma, sign = np.concatenate(columns).T
        kind = np.where(sign > 0.0, "call", "put")
        exact = price(100.0, K, T, r, q, sigma, kind)
        found = implied_greeks(100.0, K, T, r, q, exact, kind)
        felt = found.greeks.vega > 10.0
        compared += int(felt.sum())
        assert np.abs(found.sigma - sigma)[felt].max() < 1e-4
    assert compared > 1000


@pytest.mark.parametrize(
    "T, sigma, K", [(2.0, 2.876, 450.0), (10.0, 2.0, 300.0), (10.0, 0.16, 107.0)]
)
def test_a_wide_option_among_many_against_quantlib(T: float, sigma: float, K: float) -> None:
    """1,200 options of one market, of which the first is compared with QuantLib's price."""
    days = round(T * 365)
    theirs = Reference("accurate").price(100.0, K, days, 0.045, 0.015, sigma, "put")
    strikes = np.linspace(60.0, 160.0, 1200)
    strikes[0] = K
    vols = np.linspace(0.2, 0.6, 1200)
    vols[0] = sigma
    market = (100.0, strikes, days / 365.0, 0.045, 0.015)
    ours = greeks(*market, vols, "put")
    assert ours.price[0] == pytest.approx(theirs, abs=1e-4 * max(10.0, ours.vega[0])), (
        ql.__version__
    )
    values = ours.price.copy()
    values[0] = theirs
    assert implied_greeks(*market, values, "put").sigma[0] == pytest.approx(sigma, abs=1e-4)
