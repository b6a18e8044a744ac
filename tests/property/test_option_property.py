"""Options over the whole domain: no crash, nothing undefined without a reason, round trips."""

from __future__ import annotations

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stockdb.options import REASONS, greeks, implied_vol, price

# What fails is said as it was found: to shrink it takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
OPTION = {
    "S": st.floats(1e-2, 1e5),
    "K": st.floats(1e-2, 1e5),
    "T": st.floats(1 / 365, 10.0),
    "r": st.floats(-0.01, 0.15),
    "q": st.floats(-0.03, 0.15),
    "sigma": st.floats(0.01, 5.0),
    "option_type": st.sampled_from(["call", "put"]),
    "style": st.sampled_from(["american", "european"]),
}
WILD = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(-1.0, 2.0))
CASH = st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 30.0)), max_size=3)


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(**OPTION)
def test_price_to_volatility_and_back(**option: object) -> None:
    value = price(**option)
    assert np.isfinite(value) and value >= 0.0
    known = {name: option[name] for name in option if name != "sigma"}
    vol, reason = implied_vol(**known, price=value, return_reason=True)
    if reason:
        # then volatility hardly shows in the price
        assert reason in REASONS and np.isnan(vol)
        scale = max(option["S"], option["K"])  # type: ignore[type-var]
        lower = price(**{**known, "sigma": 0.0})
        cap = option["S"] if option["option_type"] == "call" else option["K"]
        near_cap = value > cap * (1.0 - 1e-6)  # type: ignore[operator]
        assert value - lower <= 1e-9 * scale or near_cap or reason == "above_cap"  # type: ignore[operator]
        return
    back = price(**{**known, "sigma": vol})
    assert abs(back - value) <= 1e-7 * max(option["S"], option["K"])  # type: ignore[operator, type-var]


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(**OPTION)
def test_greeks_are_finite_and_of_the_right_sign(**option: object) -> None:
    found = greeks(**option)
    sign = 1.0 if option["option_type"] == "call" else -1.0
    for name in found.keys():  # noqa: SIM118 - the object is no mapping
        assert np.isfinite(found[name]), name
    grown = np.exp(max(0.0, -option["q"] * option["T"]))  # type: ignore[operator]
    assert -1e-5 <= sign * found.delta <= grown + 1e-5
    assert found.gamma >= -1e-5 and found.vega >= -1e-4 * option["S"]  # type: ignore[operator]


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(S=WILD, K=WILD, T=WILD, r=WILD, q=WILD, price=WILD, option_type=OPTION["option_type"])
def test_whatever_comes_in_nothing_infinite_comes_out(**option: object) -> None:
    for style in ("american", "european"):
        vol, reason = implied_vol(**option, style=style, return_reason=True)
        assert np.isfinite(vol) if reason == "" else np.isnan(vol) and reason in REASONS


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(**OPTION, dividends=CASH)
def test_cash_dividends(dividends: list[tuple[float, float]], **option: object) -> None:
    value = price(**option, dividends=dividends)
    assert np.isfinite(value) and value >= 0.0
    vol, reason = implied_vol(
        **{name: option[name] for name in option if name != "sigma"},
        price=value, dividends=dividends, return_reason=True,
    )  # fmt: skip
    assert np.isfinite(vol) == (reason == "")
