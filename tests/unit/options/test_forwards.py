"""Yields, rates and forwards out of American quotes that QuantLib priced."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import ConfigurationError
from stockdb.options.chain import forwards
from stockdb.options.forwards import implied_spot
from stockdb.options.market import RateCurve
from stockdb.options.quotes import executable_quotes
from tests.unit.options.chains import DAY, SPOT, R, fair_chain


def test_the_yield_is_found_at_which_call_and_put_agree() -> None:
    """The textbook's European regression gives -.15 % on such quotes, not 1.5 %."""
    table = forwards(fair_chain().copy(), SPOT, R)
    assert table.index.tolist() == [DAY + pd.Timedelta(days=days) for days in (45, 365, 730)]
    assert table["q"].to_numpy() == pytest.approx([0.015] * 3, abs=2e-5)
    expected = SPOT * np.exp((0.045 - 0.015) * np.array([45, 365, 730]) / 365.0)
    assert table["forward"].to_numpy() == pytest.approx(expected, abs=5e-3)
    assert (table["confidence"] == "high").all() and (table["q_source"] == "parity").all()
    assert (table["pairs"] == 3).all()


def test_the_rate_is_found_only_when_asked_for() -> None:
    table = forwards(fair_chain().copy(), SPOT, "implied")
    assert table["rate"].to_numpy() == pytest.approx([0.045] * 3, abs=3e-4)
    assert table["q"].to_numpy() == pytest.approx([0.015] * 3, abs=3e-4)
    with pytest.raises(ConfigurationError, match="'implied'"):
        forwards(fair_chain().copy(), SPOT)


def test_without_a_pair_the_neighbours_are_taken_and_said_so() -> None:
    chain = fair_chain()
    chain = chain[~((chain["dte"] == 365) & (chain["type"] == "put"))].reset_index(drop=True)
    table = forwards(chain, SPOT, R)
    assert table["q_source"].tolist() == ["parity", "neighbour", "parity"]
    assert table["q"].iloc[1] == pytest.approx(0.015, abs=3e-5)
    assert table["confidence"].tolist()[1] == "none" and np.isnan(table["forward_error"].iloc[1])


def test_quotes_that_disagree_cost_confidence() -> None:
    chain = fair_chain().copy()
    off = (chain["dte"] == 730) & (chain["strike"] == 100.0) & (chain["type"] == "call")
    near = (chain["dte"] == 730) & (chain["strike"] == 95.0) & (chain["type"] == "call")
    chain.loc[off, ["bid", "ask"]] += 1.0
    chain.loc[near, ["bid", "ask"]] -= 1.0
    table = forwards(chain, SPOT, R)
    assert table["confidence"].tolist() == ["high", "high", "low"]
    assert table["forward_error"].iloc[2] > 10 * table["forward_error"].iloc[1]


def test_what_the_caller_knows_comes_first() -> None:
    table = forwards(fair_chain().copy(), SPOT, R, q=0.02)
    assert (table["q"] == 0.02).all() and (table["q_source"] == "caller").all()
    table = forwards(fair_chain().copy(), SPOT, R, dividends={"2023-06-01": 1.0})
    assert (table["q"] == 0.0).all() and (table["q_source"] == "dividends").all()


def test_the_stock_is_found_at_the_nearest_expiration() -> None:
    quotes = executable_quotes(fair_chain())
    found = implied_spot(quotes, RateCurve.of(R))
    # parity without dividends until then: too low by 45 days of 1.5 %
    assert found == pytest.approx(SPOT * np.exp(-0.015 * 45 / 365), abs=0.03)
    assert (
        implied_spot(executable_quotes(fair_chain().query("type == 'put'")), RateCurve.of(R))
        is None
    )
