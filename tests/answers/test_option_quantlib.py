"""American options against QuantLib (BSD-3), which computes each apart and in C++."""

from __future__ import annotations

import numpy as np
import pytest
import QuantLib as ql

from stockdb.options import greeks, implied_greeks, implied_vol, price
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


def tree(S: float, K: float, T: float, r: float, q: float, sigma: float, sign: float) -> float:
    """Binomial tree of Cox, Ross and Rubinstein (1979)."""
    steps = 2000
    dt = T / steps
    up = np.exp(sigma * np.sqrt(dt))
    chance = (np.exp((r - q) * dt) - 1.0 / up) / (up - 1.0 / up)
    stock = S * up ** np.arange(-steps, steps + 1, 2, dtype=float)
    value = np.maximum(sign * (stock - K), 0.0)
    for _ in range(steps):
        value = np.exp(-r * dt) * (chance * value[1:] + (1.0 - chance) * value[:-1])
        stock = stock[1:] / up
        value = np.maximum(value, sign * (stock - K))
    (found,) = value
    return float(found)


@pytest.mark.parametrize("kind, r, q", [("put", -0.008, -0.03), ("call", -0.01, -0.004)])
@pytest.mark.parametrize("K", [80.0, 100.0, 125.0])
def test_two_boundaries_against_a_tree(kind: str, r: float, q: float, K: float) -> None:
    """Puts with q < r < 0 and calls with r < q < 0, which QuantLib refuses."""
    for T, sigma in ((0.5, 0.2), (3.0, 0.35)):
        expected = tree(100.0, K, T, r, q, sigma, 1.0 if kind == "call" else -1.0)
        assert price(100.0, K, T, r, q, sigma, kind) == pytest.approx(expected, abs=8e-3)


def by_differences(
    S: float, K: float, days: int, r: float, sigma: float, kind: str, paid: list[tuple[int, float]]
) -> float:
    """QuantLib's finite differences with cash dividends, spot model."""
    today = ql.Date(1, 1, 2025)
    ql.Settings.instance().evaluationDate = today
    count = ql.Actual365Fixed()
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(S)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, count)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, r, count)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), sigma, count)),
    )
    option = ql.VanillaOption(
        ql.PlainVanillaPayoff(ql.Option.Call if kind == "call" else ql.Option.Put, K),
        ql.AmericanExercise(today, today + days),
    )
    cash = ql.DividendVector([today + day for day, _ in paid], [amount for _, amount in paid])
    option.setPricingEngine(
        ql.FdBlackScholesVanillaEngine(
            process,
            cash,
            300,
            1200,
            0,
            ql.FdmSchemeDesc.Douglas(),
            False,
            -1.0,
            ql.FdBlackScholesVanillaEngine.Spot,
        )  # fmt: skip
    )
    return float(option.NPV())


def test_cash_dividends_against_finite_differences() -> None:
    random = np.random.default_rng(11)
    for number in range(24):
        days = int(random.integers(60, 1000))
        paid = [(day, float(random.uniform(0.2, 2.0))) for day in range(40, days, 91)][:8]
        K, r = float(random.uniform(70, 140)), float(random.uniform(0.0, 0.07))
        sigma, kind = float(random.uniform(0.15, 0.6)), ("call", "put")[number % 2]
        expected = by_differences(100.0, K, days, r, sigma, kind, paid)
        dividends = [(day / 365.0, cash) for day, cash in paid]
        ours = price(100.0, K, days / 365.0, r, 0.0, sigma, kind, dividends=dividends)
        assert ours == pytest.approx(expected, abs=5e-3), (K, days, r, sigma, kind, paid)
        back = implied_vol(100.0, K, days / 365.0, r, 0.0, ours, kind, dividends=dividends)
        vega = greeks(100.0, K, days / 365.0, r, 0.0, sigma, kind, dividends=dividends).vega
        if vega > 1.0:
            assert back == pytest.approx(sigma, abs=1e-6)


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
