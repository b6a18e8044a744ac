"""What a caller may give as positions."""

from __future__ import annotations

import pandas as pd
import pytest

from stockdb.access.positions import parse_positions

CANDIDATE = pd.Series({
    "symbol": "XYZ",
    "net_debit": 1.0,
    "legs": [
        {"contract": "O:XYZ240119C00100000", "side": "buy", "ratio": 1, "type": "call"},
        {"contract": "O:XYZ240119P00100000", "side": "sell", "ratio": 2, "type": "put"},
        {"contract": "XYZ", "side": "sell", "ratio": 1, "type": "stock"},
    ],
})  # fmt: skip
EXPECTED = {"XYZ240119C00100000": 1.0, "XYZ240119P00100000": -2.0, "": -100.0}


@pytest.mark.parametrize("given", [CANDIDATE, [CANDIDATE], pd.DataFrame([CANDIDATE])])
def test_a_candidate_is_its_legs(given: object) -> None:
    found = parse_positions(given)
    assert dict(zip(found["contract"], found["quantity"], strict=True)) == EXPECTED
    assert set(found["symbol"]) == {"XYZ"}


def test_two_candidates_add_up() -> None:
    found = parse_positions([CANDIDATE, CANDIDATE])
    assert found["quantity"].tolist() == [2.0, -4.0, -200.0]
