"""Cash dividends and two exercise boundaries: against quadrature, QuantLib and a binomial tree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import QuantLib as ql
from scipy.special import ndtr

from stockdb.options import greeks, implied_greeks, implied_vol, price

Floats = npt.NDArray[np.float64]
Paid = list[tuple[float, float]]


class Option(NamedTuple):
    """An option on a stock at 100; dividends in days and cash."""

    K: float
    days: int
    r: float
    q: float
    sigma: float
    kind: str
    style: str
    paid: list[tuple[int, float]]

    @property
    def ours(self) -> tuple[object, ...]:
        """Arguments of our functions, with the price or volatility left out."""
        return 100.0, self.K, self.days / 365.0, self.r, self.q

    @property
    def dividends(self) -> Paid:
        """Years and cash."""
        return [(day / 365.0, cash) for day, cash in self.paid]


def by_differences(option: Option, steps: int) -> Floats:
    """QuantLib's finite differences, spot model: price, delta and gamma on a grid twice as wide."""
    today = ql.Date(1, 1, 2025)
    ql.Settings.instance().evaluationDate = today
    count = ql.Actual365Fixed()
    curves = [
        ql.YieldTermStructureHandle(ql.FlatForward(today, rate, count))
        for rate in (option.q, option.r)
    ]
    vol = ql.BlackConstantVol(today, ql.NullCalendar(), option.sigma, count)
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(100.0)), *curves, ql.BlackVolTermStructureHandle(vol)
    )
    end = today + option.days
    early = option.style == "american"
    contract = ql.VanillaOption(
        ql.PlainVanillaPayoff(ql.Option.Call if option.kind == "call" else ql.Option.Put, option.K),
        ql.AmericanExercise(today, end) if early else ql.EuropeanExercise(end),
    )
    cash = ql.DividendVector(
        [today + day for day, _ in option.paid], [amount for _, amount in option.paid]
    )
    contract.setPricingEngine(
        ql.FdBlackScholesVanillaEngine(
            process,
            cash,
            steps,
            2 * steps,
            0,
            ql.FdmSchemeDesc.Douglas(),
            False,
            -1.0,
            ql.FdBlackScholesVanillaEngine.Spot,
        )  # fmt: skip
    )
    return np.array([contract.NPV(), contract.delta(), contract.gamma()])


def extrapolated(option: Option, steps: int) -> Floats:
    """The same of two grids, extrapolated: their errors fall with the square of the mesh."""
    fine, coarse = by_differences(option, steps), by_differences(option, steps // 2)
    result: Floats = fine + (fine - coarse) / 3.0
    return result


def draw(count: int, seed: int) -> list[Option]:
    """Draw ordinary options: 30 to 730 days, one to four dividends, vol .15 to .8."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        days = int(random.integers(30, 731))
        when = np.sort(random.choice(np.arange(2, days - 1), random.integers(1, 5), replace=False))
        sigma = float(random.uniform(0.15, 0.8))
        spread = sigma * np.sqrt(days / 365.0)
        found.append(
            Option(
                float(100.0 * np.exp(random.uniform(-1.2, 1.2) * spread)),
                days,
                float(random.uniform(0.0, 0.08)),
                float(random.choice([0.0, 0.0, 0.01, 0.02])),
                sigma,
                ("call", "put")[number % 2],
                "european" if number % 5 == 0 else "american",
                [(int(day), float(random.uniform(0.2, 2.0))) for day in when],
            )
        )
    return found


def value(option: Option) -> float:
    """Our price."""
    market = (*option.ours, option.sigma, option.kind, option.style)
    return float(price(*market, dividends=option.dividends))


SHORT = Option(109.08435, 60, 0.074613, 0.0, 0.648785, "put", "american", [(15, 0.949135)])
LATE = Option(111.497, 351, 0.044, 0.0, 0.201, "put", "american", [(79, 1.0), (344, 1.98)])


@pytest.mark.parametrize(
    "options, steps",
    [
        ([LATE, *draw(10, 17)], 800),
        pytest.param(draw(100, 18), 1600, marks=[pytest.mark.stress, pytest.mark.timeout(900)]),
    ],
)
def test_cash_dividends_against_finite_differences(options: list[Option], steps: int) -> None:
    """Where QuantLib's own price has settled: deep in the money it moves by 3e-3 a grid."""
    errors = []
    for option in options:
        fine, coarse = by_differences(option, steps)[0], by_differences(option, steps // 2)[0]
        if abs(fine - coarse) < 5e-4:
            errors.append(abs(value(option) - (fine + (fine - coarse) / 3.0)))
    assert len(errors) > 0.7 * len(options)
    assert max(errors) < 8e-4
    assert np.quantile(errors, 0.9) < 5e-4


def test_a_short_put_with_a_dividend() -> None:
    assert value(SHORT) == pytest.approx(extrapolated(SHORT, 1600)[0], abs=5e-4)


def test_greeks_with_cash_dividends() -> None:
    """QuantLib's prices a day and a bump apart; in delta and gamma its own."""
    compared = sure = 0
    for option in draw(6, 19):
        if option.paid[0][0] < 4 or option.r < 0.002:
            continue
        compared += 1
        found = greeks(
            *option.ours, option.sigma, option.kind, option.style, dividends=option.dividends
        )

        def slope(name: str, step: float, option: Option = option) -> float:
            at = getattr(option, name)
            up, down = (
                extrapolated(option._replace(**{name: at + sign * step}), 800)[0]
                for sign in (1.0, -1.0)
            )
            return float(up - down) / (2.0 * step)

        _, delta, gamma = by_differences(option, 800)
        assert found.delta == pytest.approx(delta, abs=1e-4)
        # QuantLib's gamma does not settle at a stock beside the exercise boundary
        if gamma == pytest.approx(by_differences(option, 400)[2], abs=1e-5):
            sure += 1
            assert found.gamma == pytest.approx(gamma, abs=1e-5)
        assert found.vega == pytest.approx(slope("sigma", 2e-3), abs=2e-2), option
        assert found.rho == pytest.approx(slope("r", 1e-3), abs=0.15), option
        assert found.dividend_rho == pytest.approx(slope("q", 1e-3), abs=0.15), option
        later, sooner = (
            option._replace(
                days=option.days + day, paid=[(when + day, cash) for when, cash in option.paid]
            )
            for day in (2, -2)
        )
        theta = (extrapolated(sooner, 400)[0] - extrapolated(later, 400)[0]) * 365.0 / 4.0
        assert found.theta == pytest.approx(theta, abs=3e-2), option
    assert compared > 4 and sure > 3


def test_implied_vol_with_cash_dividends_comes_back() -> None:
    for option in draw(12, 20):
        given = value(option)
        market = (*option.ours, given, option.kind, option.style)
        found = implied_greeks(*market, dividends=option.dividends)
        if found.greeks.vega > 1.0:
            assert found.sigma == pytest.approx(option.sigma, abs=1e-6)
            assert implied_vol(*market, dividends=option.dividends) == found.sigma
            assert found.greeks.price == pytest.approx(given, abs=1e-5)


def black(S: Floats, K: float, T: float, r: float, sigma: float) -> Floats:
    """Black and Scholes (1973), a call; 0 of a stock that is worth nothing."""
    width = sigma * np.sqrt(T)
    with np.errstate(divide="ignore"):
        d = (np.log(S / K) + r * T) / width + width / 2.0
    result: Floats = S * ndtr(d) - K * np.exp(-r * T) * ndtr(d - width)
    return result


def quadrature(
    S: Floats, K: float, T: float, r: float, sigma: float, paid: Paid, points: int = 400
) -> Floats:
    """European call: integrals over the stock at each ex-date, above what it pays."""
    if not paid:
        return black(S, K, T, r, sigma)
    (time, cash), *later = paid
    width = sigma * np.sqrt(time)
    drift = (r - sigma**2 / 2.0) * time
    low = np.clip((np.log(cash / S) - drift) / width, -12.0, width + 11.0)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    half = (width + 12.0 - low) / 2.0
    z = low[..., None] + half[..., None] * (1.0 + nodes)
    after = np.maximum(S[..., None] * np.exp(drift + width * z) - cash, 1e-12)
    rest = [(when - time, amount) for when, amount in later]
    held = quadrature(after, K, T - time, r, sigma, rest, points)
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    result: Floats = np.exp(-r * time) * half * ((held * density) @ weights)
    return result


@pytest.mark.parametrize(
    "K, T, r, sigma, paid",
    [
        (36.787944, 3.0, 0.05, 2.0, [(463 / 365, 0.1), (730 / 365, 0.5)]),
        (100.0, 2.0, 0.05, 3.0, [(1.0, 1.0)]),
        (300.0, 3.0, 0.02, 0.9, [(1.0, 1.0), (2.0, 1.0)]),
        (90.0, 0.2, 0.03, 0.25, [(0.1, 1.5)]),
        (150.0, 9.0, 0.04, 1.2, [(3.0, 5.0)]),
    ],
)
def test_european_calls_against_quadrature(
    K: float, T: float, r: float, sigma: float, paid: Paid
) -> None:
    (expected,) = quadrature(np.array([100.0]), K, T, r, sigma, paid)
    (again,) = quadrature(np.array([100.0]), K, T, r, sigma, paid, 300)
    assert again == pytest.approx(expected, abs=1e-6)  # the reference itself has settled
    found = price(100.0, K, T, r, 0.0, sigma, "call", "european", dividends=paid)
    assert found == pytest.approx(expected, abs=4e-4 * max(1.0, sigma * np.sqrt(T)))
    assert price(100.0, K, T, r, 0.0, sigma, "call", dividends=paid) >= found - 1e-9


@pytest.mark.parametrize("kind", ["call", "put"])
@pytest.mark.parametrize("T, sigma", [(0.1, 0.2), (2.0, 0.4), (2.0, 3.0), (10.0, 1.5)])
def test_next_to_no_cash_is_none(kind: str, T: float, sigma: float) -> None:
    """The boundary's engine, which knows no grid, is the reference."""
    market = (100.0, [80.0, 100.0, 130.0], T, 0.05, 0.01, sigma, kind)
    none = price(*market)
    assert price(*market, dividends=[(T / 2.0, 1e-9)]) == pytest.approx(
        none, abs=6e-4 * max(1.7, sigma * np.sqrt(T))
    )


def tree(
    S: float, K: float, T: float, r: float, q: float, sigma: float, sign: float, early: bool = True
) -> float:
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
        if early:
            value = np.maximum(value, sign * (stock - K))
    (found,) = value
    return float(found)


@pytest.mark.parametrize("kind, r, q", [("put", -0.008, -0.03), ("call", -0.01, -0.004)])
@pytest.mark.parametrize("K", [80.0, 100.0, 125.0])
def test_two_boundaries_against_a_tree(kind: str, r: float, q: float, K: float) -> None:
    """Puts with q < r < 0 and calls with r < q < 0, which QuantLib refuses.

    What exercise adds is the tree's, the rest the closed form's.
    """
    sign = 1.0 if kind == "call" else -1.0
    for T, sigma in ((0.5, 0.2), (3.0, 0.35), (10.0, 2.0)):
        late = price(100.0, K, T, r, q, sigma, kind, "european")
        market = (100.0, K, T, r, q, sigma)
        extra = tree(*market, sign) - tree(*market, sign, early=False)
        found = price(*market, kind)
        assert found == pytest.approx(late + extra, abs=4e-3)
        assert found >= late


@pytest.mark.parametrize(
    "K, T, r, q, sigma",
    [
        (100.0, 10.0, -0.01, -0.009, 2.0),
        (200.0, 5.0, -0.01, -0.009, 3.0),
        (448.17, 10.0, -0.006, -0.005, 2.0),
    ],
)
def test_wide_options_with_two_boundaries_are_worth_no_less_than_european(
    K: float, T: float, r: float, q: float, sigma: float
) -> None:
    market = (100.0, K, T, r, q, sigma, "call")
    early, late = price(*market), price(*market, "european")
    assert late <= early < late + 1e-4  # the tree adds less than 1e-5
    assert greeks(*market).price == early
