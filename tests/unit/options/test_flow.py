"""A chain in single numbers, against values worked out elsewhere and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stockdb.options.flow import gamma_exposure, max_pain, parity_spread, skew_at, smirk

STRIKES = np.array([90.0, 95.0, 100.0, 105.0, 110.0])
CALLS = np.array([100.0, 200.0, 500.0, 800.0, 1000.0])
PUTS = np.array([900.0, 700.0, 500.0, 200.0, 50.0])
BOTH = np.concatenate([STRIKES, STRIKES])
IS_CALL = np.repeat([True, False], 5)


def test_maximum_pain_of_a_known_chain() -> None:
    assert max_pain(BOTH, IS_CALL, np.concatenate([CALLS, PUTS])) == 100.0


def test_maximum_pain_by_plain_loops_lowest_of_several() -> None:
    chance = np.random.default_rng(0)
    for _ in range(50):
        held = chance.integers(0, 4, 10).astype(float) * chance.integers(0, 2)
        held[0] += 1
        pains = []
        for k in STRIKES:
            paid = sum(
                oi * max((k - strike) if call else (strike - k), 0.0)
                for strike, call, oi in zip(BOTH, IS_CALL, held, strict=True)
            )
            pains.append((paid, k))
        assert max_pain(BOTH, IS_CALL, held) == min(pains)[1]
    assert math.isnan(max_pain(BOTH, IS_CALL, np.zeros(10)))
    assert math.isnan(max_pain(BOTH, IS_CALL, np.full(10, np.nan)))


def test_gamma_exposure_of_a_thousand_calls() -> None:
    # Hull, S 49, K 50, r .05, sigma .2, T .3846: gamma .065545, here by its closed form.
    s, k, r, sigma, t = 49.0, 50.0, 0.05, 0.2, 0.3846
    d1 = (math.log(s / k) + (r + sigma**2 / 2) * t) / (sigma * math.sqrt(t))
    gamma = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi) / (s * sigma * math.sqrt(t))
    assert gamma == pytest.approx(0.065545, abs=1e-6)
    one = (np.array([gamma]), np.array([1000.0]))
    assert gamma_exposure(*one, np.array([True]), s) == pytest.approx(157374, abs=2)
    assert gamma_exposure(*one, np.array([False]), s) == pytest.approx(-157374, abs=2)
    assert math.isnan(gamma_exposure(np.array([np.nan]), np.array([1.0]), np.array([True]), s))


def chain(volatility: object) -> dict[str, np.ndarray]:
    """Two expirations, 20 and 50 days, strikes from 80 to 120; spot 100."""
    strike = np.tile(np.arange(80.0, 121.0, 2.5), 4)
    size = len(strike) // 4
    years = np.repeat([20 / 365, 50 / 365], 2 * size)
    is_call = np.tile(np.repeat([True, False], size), 2)
    iv = volatility(strike, years, is_call)  # type: ignore[operator]
    # Any monotone delta serves: these functions take deltas as they are given.
    call = 1 / (1 + np.exp((np.log(strike / 100)) / (0.3 * np.sqrt(years)) * 1.7))
    return {
        "years": years,
        "strike": strike,
        "iv": iv,
        "is_call": is_call,
        "delta": np.where(is_call, call, call - 1.0),
    }


def test_a_flat_smile_has_no_skew() -> None:
    held = chain(lambda strike, years, is_call: np.full(len(strike), 0.3))
    strike, delta = held.pop("strike"), held.pop("delta")
    assert skew_at(**held, delta=delta) == pytest.approx(0.0, abs=1e-15)
    assert smirk(**held, strike=strike, spot=100.0) == 0.0
    assert parity_spread(**held, strike=strike, open_interest=np.ones(len(strike))) == 0.0


def test_skew_of_a_smile_linear_in_delta() -> None:
    held = chain(lambda strike, years, is_call: np.full(len(strike), 0.3))
    put = np.where(held["is_call"], 0.0, 1.0)
    held.pop("strike")
    held["iv"] = 0.3 + put * 0.1 * -held["delta"]  # puts: .3 + .1 |delta|
    assert skew_at(**held) == pytest.approx(0.025, abs=1e-12)
    # Two expirations of other levels: total variance is linear in time between them.
    far = held["years"] > 0.1
    held["iv"] = np.where(held["is_call"], np.where(far, 0.5, 0.2), np.where(far, 0.6, 0.4))

    def at_30(near: float, later: float) -> float:
        weight = (30 - 20) / (50 - 20)
        variance = (1 - weight) * near**2 * 20 / 365 + weight * later**2 * 50 / 365
        return math.sqrt(variance / (30 / 365))

    assert skew_at(**held) == pytest.approx(at_30(0.4, 0.6) - at_30(0.2, 0.5), rel=1e-12)
    assert math.isnan(skew_at(**held, target=10 / 365))  # nothing is extrapolated
    held["iv"] = np.where(far, np.nan, held["iv"])
    assert math.isnan(skew_at(**held))


def test_smirk_takes_the_put_at_95_and_the_call_at_100() -> None:
    held = chain(lambda strike, years, is_call: 0.3 + (100 - strike) / 500)
    held.pop("delta")
    assert smirk(**held, spot=100.0) == pytest.approx(0.01, abs=1e-12)
    # Of a spot of 104 the put of 97.5 is at .9375, that of 100 above .95; the call is 105.
    assert smirk(**held, spot=104.0) == pytest.approx((105 - 97.5) / 500, abs=1e-12)
    assert math.isnan(smirk(**held, spot=400.0))


def test_parity_spread_is_weighted_by_open_interest() -> None:
    years, strike = np.full(4, 0.1), np.array([100.0, 100.0, 110.0, 110.0])
    is_call = np.array([True, False, True, False])
    iv, held = np.array([0.32, 0.30, 0.20, 0.25]), np.array([10.0, 20.0, 60.0, 10.0])
    expected = (30 * 0.02 - 70 * 0.05) / 100
    assert parity_spread(years, strike, iv, is_call, held) == pytest.approx(expected, rel=1e-12)
    assert math.isnan(parity_spread(years, strike, iv, is_call, np.zeros(4)))
    assert math.isnan(parity_spread(years, strike, np.full(4, np.nan), is_call, held))
