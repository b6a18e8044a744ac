"""American options against QuantLib (BSD-3), which computes each apart and in C++."""

from __future__ import annotations

import numpy as np
import pytest

from stockdb.options import greeks, implied_greeks, price
from tests.answers.option_accuracy import chain_errors, draw, errors

# largest error, and the error of 99 in 100; per share at S = 100, per 1.00 of vol and rate.
# The bumps that differentiate QuantLib's prices cost it more digits than are lost here, most of
# all where they reach over the exercise boundary, at which gamma jumps.
BOUNDS = {
    "price": (2e-4, 3e-5),
    "delta": (1e-2, 1e-4),
    "gamma": (2e-2, 1e-3),
    "theta": (0.5, 0.02),
    "vega": (1e-2, 1e-3),
    "rho": (0.3, 5e-3),
    "dividend_rho": (0.3, 5e-3),
    "implied_vol": (1e-5, 1e-6),
}


MANY = pytest.param(2000, marks=[pytest.mark.stress, pytest.mark.timeout(900)])


@pytest.mark.parametrize("count", [60, MANY])
def test_prices_and_greeks_of_random_options(count: int) -> None:
    """QuantLib's high precision takes 5 ms a price and 13 prices an option: 2,000 take minutes."""
    found = errors(draw(count), "high")
    for name, (largest, most) in BOUNDS.items():
        column = found[name][np.isfinite(found[name])]
        assert len(column) > count / 8, name
        assert column.max() < largest, name
        assert np.quantile(column, 0.99) < most, name


def test_a_chain_is_as_good_as_it_says() -> None:
    of_price, of_vol = chain_errors()
    assert len(of_vol) > 15_000
    assert of_price.max() < 2e-4 and of_vol.max() < 1e-4


def test_greeks_of_a_chain_are_those_of_each_option_apart() -> None:
    """The boundaries of a chain are interpolated, those of a single option are not."""
    K = np.linspace(60.0, 160.0, 600)
    kinds = np.where(np.arange(600) % 2, "call", "put")
    sigma = 0.2 + 0.2 * np.abs(np.log(K / 100.0))
    market = (1.7, 0.045, 0.012)
    exact = np.array([
        price(100.0, k, *market, s, kind) for k, s, kind in zip(K, sigma, kinds, strict=True)
    ])  # fmt: skip
    both = [np.concatenate([column, column]) for column in (K, exact, sigma, kinds)]
    found = implied_greeks(100.0, both[0], *market, both[1], both[3])
    for number in range(0, 600, 25):
        apart = greeks(100.0, K[number], *market, sigma[number], kinds[number])
        if apart.vega < 1.0:
            continue
        assert found.sigma[number] == pytest.approx(sigma[number], abs=1e-4)
        assert found.greeks.delta[number] == pytest.approx(apart.delta, abs=2e-4)
        assert found.greeks.gamma[number] == pytest.approx(apart.gamma, abs=5e-5)
        assert found.greeks.vega[number] == pytest.approx(apart.vega, abs=0.05)
        assert found.greeks.theta[number] == pytest.approx(apart.theta, abs=0.02)
        assert found.greeks.rho[number] == pytest.approx(apart.rho, abs=0.2)
        assert found.greeks.dividend_rho[number] == pytest.approx(apart.dividend_rho, abs=0.2)
