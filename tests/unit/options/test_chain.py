"""A chain with numbers: what is filled, in which unit, and why not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import ConfigurationError
from stockdb.options import REASONS, greeks
from stockdb.options.chain import COLUMNS, QUOTE_REASONS, enrich
from tests.answers.test_option_cash import Option, by_differences
from tests.unit.options.chains import DAY, SPOT, Q, R, fair_chain, smile


def test_the_volatility_that_quantlib_priced_with_is_found() -> None:
    found = enrich(fair_chain().copy(), SPOT, R)
    assert list(found.columns[-len(COLUMNS) :]) == list(COLUMNS)
    felt = found["vega"] > 0.05
    assert felt.sum() > 40
    expected = found["strike"].map(smile)
    assert found["iv"][felt].to_numpy() == pytest.approx(expected[felt].to_numpy(), abs=1e-4)
    assert (found["reason"][felt] == "").all()


def test_units_are_those_of_the_frame() -> None:
    found = enrich(fair_chain().copy(), SPOT, R, q=Q)
    row = found[(found["dte"] == 730) & (found["strike"] == 110.0)]
    apart = greeks(SPOT, 110.0, 2.0, R, Q, row["iv"], row["type"])
    for name, scale in (("delta", 1), ("gamma", 1), ("theta", 365), ("vega", 100), ("rho", 1)):
        assert row[name].to_numpy() * scale == pytest.approx(apart[name], rel=2e-3), name
    assert row["moneyness"].iloc[0] == pytest.approx(110.0 / (100.0 * np.exp(2 * (R - Q))))
    assert row["years"].tolist() == [2.0, 2.0] and (row["spot"] == SPOT).all()
    put = row[row["type"] == "put"].iloc[0]
    assert put["intrinsic"] == 10.0
    assert put["time_value"] == pytest.approx(put["mid"] - 10.0)
    assert put["spread_pct"] == pytest.approx(0.02 / put["mid"])
    assert put["iv_error"] == pytest.approx(0.01 / (put["vega"] * 100), rel=1e-9)


def spoilt() -> pd.DataFrame:
    chain = fair_chain().copy()
    chain.loc[0, "bid"] = 0.0
    chain.loc[1, ["bid", "ask"]] = [5.0, 4.0]
    chain.loc[2, "ask"] = np.nan
    chain.loc[3, "quote_date"] = DAY - pd.Timedelta(days=1)
    chain.loc[4, "expiration"] = DAY
    chain.loc[5, "contract"] = "XYZ1" + chain.loc[5, "contract"][3:]
    chain.loc[6, ["bid", "ask"]] = [1.0, 1.02]  # a call for less than it pays at once
    chain.loc[7, ["bid", "ask"]] = [0.5, 1.5]
    chain.loc[8, ["open_interest", "volume"]] = 0.0
    return chain


def test_every_row_has_a_number_or_a_reason() -> None:
    chain = spoilt()
    before = chain.copy()
    found = enrich(chain, SPOT, R)
    pd.testing.assert_frame_equal(chain, before)
    assert found["reason"].tolist()[:7] == [
        "zero_bid", "crossed", "no_quote", "wrong_quote_date", "expired", "adjusted_root",
        "below_intrinsic",
    ]  # fmt: skip
    assert ((found["reason"] == "") == found["iv"].notna()).all()
    assert set(found["reason"]) <= set(QUOTE_REASONS) | set(REASONS)
    assert found["flags"].tolist()[7:9] == ["wide_spread", "dead_quote"]
    assert np.isfinite(found.loc[found["reason"] == "", list(COLUMNS)[:-2]].to_numpy(float)).all()


def test_without_a_rate_what_needs_none_is_filled() -> None:
    found = enrich(fair_chain().query("mid > .02").reset_index(drop=True), SPOT)
    assert (found["reason"] == "no_rate").all()
    assert found[["iv", "delta", "forward"]].isna().all(axis=None)
    assert found["spread_pct"].notna().all() and found["intrinsic"].notna().all()
    assert found["moneyness"].iloc[0] == 0.7


def test_without_a_spot_parity_gives_one() -> None:
    found = enrich(fair_chain().copy(), None, R)
    assert found["spot"].iloc[0] == pytest.approx(SPOT, abs=0.25)
    near = found["strike"].between(85.0, 115.0) & (found["vega"] > 0.1)
    error = found["iv"] - found["strike"].map(smile)
    assert error[near].abs().max() < 3e-3  # the yields take up what the spot lacks
    lonely = fair_chain().query("type == 'put' and mid > .02").reset_index(drop=True)
    assert (enrich(lonely, None, R)["reason"] == "no_spot").all()
    assert (enrich(lonely, SPOT, R)["reason"] == "no_forward").all()
    assert (enrich(lonely, SPOT, R, q=Q)["reason"] == "").any()


def test_cash_dividends_are_honoured() -> None:
    """Priced by QuantLib's finite differences, spot model."""
    chain = fair_chain().query("dte == 365 and strike in (90, 100, 110)").reset_index(drop=True)
    paid = [(60, 1.0), (151, 1.0), (242, 1.0), (333, 1.0)]
    value = np.array([
        by_differences(Option(row.strike, 365, R, 0.0, 0.3, row.type, "american", paid), 600)[0]
        for row in chain.itertuples()
    ])  # fmt: skip
    chain["bid"], chain["ask"] = value - 0.01, value + 0.01
    # ex at the open: six and a half hours before the close that QuantLib counts from
    schedule = {DAY + pd.Timedelta(days=day): cash for day, cash in paid}
    found = enrich(chain, SPOT, R, dividends=schedule)
    assert found["iv"].to_numpy() == pytest.approx([0.3] * 6, abs=4e-4)
    assert (found["q"] == 0.0).all()
    grown = sum(cash * np.exp(R * (365 - day) / 365) for day, cash in paid)
    assert found["forward"].iloc[0] == pytest.approx(SPOT * np.exp(R) - grown, abs=2e-3)


def test_european_style_is_priced_so() -> None:
    """An in-the-money European put may be worth less than exercise pays."""
    chain = fair_chain().copy()
    chain["style"] = "E"
    deep = (chain["strike"] == 140.0) & (chain["type"] == "put") & (chain["dte"] == 730)
    chain.loc[deep, ["bid", "ask"]] = [34.9, 35.1]
    found = enrich(chain, SPOT, R, q=Q)
    assert found.loc[deep, "intrinsic"].item() == 40.0
    assert found.loc[deep, "reason"].item() == "" and 0.1 < found.loc[deep, "iv"].item() < 0.5


@pytest.mark.parametrize(
    "given, words",
    [
        ({"spot": -1.0}, "spot in dollars, above 0"),
        ({"q": 0.01, "dividends": {}}, "one of q= and dividends="),
        ({"rate": 4.5}, "4.5 % is 0.045"),
        ({"rate": "much"}, "not a rate curve"),
    ],
)
def test_what_makes_no_sense(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        enrich(fair_chain().copy(), **{"spot": SPOT, "rate": R, **given})
