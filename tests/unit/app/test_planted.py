"""Comparing what was found with what was planted: a difference is never called agreement."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pandas as pd
import pytest

from stockdb.app.planted import Comparison, arbitrage, defects

LEGS = [
    {"contract": "O:ABC260116C00100000", "side": "buy", "ratio": 1},
    {"contract": "O:ABC260116C00110000", "side": "sell", "ratio": 2},
    {"contract": "O:ABC260116C00120000", "side": "buy", "ratio": 1},
]
TRUTH = {"arbitrage": [{"symbol": "ABC", "kind": "butterfly", "edge": 0.124, "legs": LEGS}]}


def row(**changed: Any) -> dict[str, Any]:
    found = {"symbol": "ABC", "kind": "butterfly", "edge": 0.124, "legs": copy.deepcopy(LEGS)}
    return {**found, "suspect_count": 0, **changed}


def test_the_same_package_in_another_order_of_legs() -> None:
    compared = arbitrage(TRUTH, [pd.DataFrame([row(legs=LEGS[::-1])]), pd.DataFrame()])
    assert compared.agrees and str(compared) == "planted 1, found 1, nothing else"


@pytest.mark.parametrize(
    "changed",
    [
        {"edge": 0.134},
        {"kind": "slope"},
        {"symbol": "XYZ"},
        {"legs": LEGS[:2]},
        {"legs": [{**LEGS[0], "side": "sell"}, *LEGS[1:]]},
        {"legs": [{**LEGS[0], "ratio": 2}, *LEGS[1:]]},
        {"suspect_count": 1},
    ],
    ids=str,
)
def test_another_package_is_missed_and_not_planted(changed: dict[str, Any]) -> None:
    compared = arbitrage(TRUTH, [pd.DataFrame([row(**changed)])])
    assert not compared.agrees
    assert str(compared).startswith("planted 1, found 0; MISSED: ABC butterfly")
    assert "NOT PLANTED" in str(compared)


def test_twice_is_once_too_often() -> None:
    compared = arbitrage(TRUTH, [pd.DataFrame([row(), row()])])
    assert not compared.agrees
    assert str(compared).startswith("planted 1, found 1; NOT PLANTED: ABC butterfly")
    assert not arbitrage(TRUTH, []).agrees


def test_defects_are_counted_by_symbol_and_rule() -> None:
    truth = {
        "dirty_rows": {"F": [{"kind": "zero_price"}, {"kind": "zero_price"}, {"kind": "holiday"}]},
        "missing_sessions": {"BAC": ["2012-01-05", "2012-01-06"]},
        "splits": {"KO": [{"ratio": 2}]},
    }
    found = {
        "F": {"price_range": 2, "holiday": 1, "stale": 1},
        "BAC": {"missing_session": 2},
        "KO": {"split_jump": 1},
        "SPY": {},
    }
    assert defects(truth, found).agrees
    assert defects(truth, found).planted.total() == 7
    wrong = {**found, "BAC": {"missing_session": 1}, "SPY": {"price_range": 1}}
    assert str(defects(truth, wrong)) == (
        "planted 7, found 6; MISSED: BAC missing_session; NOT PLANTED: SPY price_range"
    )


def test_a_count_is_shown_once() -> None:
    compared = Comparison(Counter({"BAC missing_session": 8}), Counter())
    assert str(compared) == "planted 8, found 0; MISSED: 8 x BAC missing_session"
