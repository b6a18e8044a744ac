"""Published values of option prices, Greeks and implied volatilities; sources are in the files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.options import REASONS, greeks, implied_vol, price

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def oracle() -> Callable[[str], pd.DataFrame]:
    beside = Path(__file__).resolve().parents[3] / "shared" / "oracles"
    folder = Path(os.environ.get("STOCKDB_ORACLES") or beside)
    if not folder.is_dir():
        pytest.skip(f"no published values at {folder}; set STOCKDB_ORACLES")

    def read(name: str) -> pd.DataFrame:
        frame = pd.read_csv(folder / f"{name}.csv")
        assert len(frame)
        return frame

    return read


def ours(row: Any, dividends: list[tuple[float, float]] | None = None) -> float:
    q = 0.0 if dividends else row.q
    market = (row.S, row.K, row.T, row.r, q, row.sigma, row.type)
    if row.quantity == "price":
        return float(price(*market, row.style, dividends or ()))
    if row.quantity == "early_exercise_premium":
        return float(price(*market, "american") - price(*market, "european"))
    found = greeks(*market, row.style)
    others = {
        "elasticity": found.delta * row.S / found.price,
        "theta_per_day": found.theta / 365.0,
    }
    return float(others[row.quantity] if row.quantity in others else found[row.quantity])


def check(frame: pd.DataFrame, tolerance: float | None = None) -> None:
    for row in frame.itertuples():
        allowed = row.tolerance if tolerance is None else tolerance
        assert ours(row) == pytest.approx(row.expected, abs=allowed), (row.id, row.quantity)


@pytest.mark.parametrize(
    "name",
    [
        "european_prices_haug",
        "european_prices_hull",
        "european_greeks",
        "american_leaps_quantlib_hp",
        "american_edges_any_model",
    ],
)
def test_exact_values(oracle: Callable[[str], pd.DataFrame], name: str) -> None:
    check(oracle(name))


def test_leaps_are_much_closer_than_asked(oracle: Callable[[str], pd.DataFrame]) -> None:
    frame = oracle("american_leaps_quantlib_hp")
    check(frame[frame.quantity == "price"], 2e-5)


def test_andersen_lake_offengenden(oracle: Callable[[str], pd.DataFrame]) -> None:
    frame = oracle("american_andersen_lake")
    check(frame[frame.model.str.startswith("exact")])


def test_longstaff_schwartz(oracle: Callable[[str], pd.DataFrame]) -> None:
    """50 exercise dates a year: worth less than any date, by no more than a cent."""
    for row in oracle("american_longstaff_schwartz").itertuples():
        assert -1e-3 < ours(row) - row.expected < 1.1e-2, row.id


def test_ju(oracle: Callable[[str], pd.DataFrame]) -> None:
    check(oracle("american_ju"), 0.08)


def test_cash_dividends(oracle: Callable[[str], pd.DataFrame]) -> None:
    frame = oracle("discrete_dividends")
    for row in frame[frame.model == "spot"].itertuples():
        pairs = [
            pair.split(":")
            for pair in row[frame.columns.get_loc("dividends_t:amount") + 1].split(";")
        ]
        paid = [(float(time), float(cash)) for time, cash in pairs]
        assert ours(row, paid) == pytest.approx(row.expected, abs=row.tolerance), row.id


def test_european_implied_vol(oracle: Callable[[str], pd.DataFrame]) -> None:
    frame = oracle("european_implied_vol")
    found = implied_vol(
        frame.S, frame.K, frame["T"], frame.r, frame.q, frame.price, frame.type, "european"
    )
    assert (np.abs(found - frame.expected_sigma) <= frame.tolerance).all()


def test_undefined(oracle: Callable[[str], pd.DataFrame]) -> None:
    for row in oracle("implied_vol_undefined").itertuples():
        for style in ("american", "european") if row.style == "any" else (row.style,):
            found, reason = implied_vol(
                row.S, row.K, row.T, row.r, row.q, row.price, row.type, style, return_reason=True
            )
            assert np.isnan(found) and reason in set(REASONS) - {""}, row.id
