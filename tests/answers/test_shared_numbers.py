"""Numbers of real chains against the vendor's, the stock, and what is known of the companies.

Sources: the vendor's implied volatilities and the stock's prices beside the chains in
``options-complete`` (see MANIFEST), US Treasury yields in ``rates``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stockdb.options.chain import enrich, forwards
from stockdb.options.market import RateCurve

pytestmark = pytest.mark.shared_data
Load = Callable[[str, str], tuple[pd.DataFrame, float, RateCurve]]


@pytest.fixture(scope="module")
def load(shared_data: Path) -> Load:
    folder = shared_data / "options-complete"
    stock = pd.read_csv(folder / "_underlying_snapshots.csv").set_index(["quote_date", "symbol"])
    (path,) = (shared_data / "rates").glob("*.csv")
    rates = pd.read_csv(path, index_col=0, parse_dates=True)

    def read(day: str, symbol: str) -> tuple[pd.DataFrame, float, RateCurve]:
        frame = pd.read_csv(
            folder / f"{day}options.csv.gz", parse_dates=["expiration", "quote_date"]
        )
        frame = frame.rename(columns={"underlying": "symbol", "implied_volatility": "vendor_iv"})
        chain = frame[frame["symbol"] == symbol].reset_index(drop=True)
        known = rates.loc[:day].dropna(how="all").iloc[-1]
        return chain, float(stock.loc[(day, symbol), "last"]), RateCurve.from_treasury(known)

    return read


DAYS = ("2022-09-01", "2022-10-03", "2022-11-10", "2022-12-15", "2023-01-03", "2023-01-31")


@pytest.mark.parametrize("day", DAYS)
def test_aapl_as_the_vendor_has_it(load: Load, day: str) -> None:
    """Within a fifth of a vol point in the middle, half a point in nine of ten quotes."""
    chain, spot, curve = load(day, "AAPL")
    found = enrich(chain, spot, curve)
    sure = (found["vendor_iv"] > 0) & (found["iv_error"] < 0.01)
    assert sure.sum() > 500
    points = 100 * (found["iv"] - found["vendor_iv"])[sure]
    by_years = points.groupby(pd.cut(found["years"][sure], [0, 0.1, 0.5, 1.0, 1.5, 3.0])).median()
    assert by_years.abs().max() < 0.6
    assert abs(points.median()) < 0.2 and points.abs().quantile(0.9) < 0.8


@pytest.mark.parametrize("day", DAYS)
def test_aapl_forwards_against_the_stock(load: Load, day: str) -> None:
    """Apple paid .6 to .7 % a year; short of a year the quotes leave that open."""
    chain, spot, curve = load(day, "AAPL")
    table = forwards(chain, spot, curve)
    assert (table["confidence"] == "high").mean() > 0.9
    year = table[table["years"] > 0.5]
    assert year["q"].between(-0.006, 0.012).all()
    implied = table["forward"] * np.exp(-table["rate"] * table["years"])
    assert (implied / spot - 1.0).abs().max() < 0.02
    short = table[table["years"] < 0.1]
    assert (implied[short.index] / spot - 1.0).abs().max() < 0.004


@pytest.mark.parametrize(
    "symbol, least, most", [("KO", 0.015, 0.032), ("XOM", 0.015, 0.035), ("F", 0.02, 0.05)]
)
def test_yields_of_companies_that_pay(load: Load, symbol: str, least: float, most: float) -> None:
    """Coca-Cola, Exxon and Ford paid about 2.4 %, 2.8 % and 4.2 % in 2026."""
    chain, spot, curve = load("2026-07-15", symbol)
    table = forwards(chain, spot, curve)
    year = table[(table["years"] > 0.7) & (table["confidence"] == "high")]
    assert len(year) >= 2 and year["q"].between(least, most).all()


@pytest.mark.parametrize("symbol", ["AAPL", "MSFT"])
def test_the_vendor_of_2026_leaves_out_the_interest_rate(load: Load, symbol: str) -> None:
    """His calls have 4 to 13 points more than his puts at one strike: no forward allows that.

    With a rate and a yield of zero his numbers come out, rounded up to a percent's tenth or so;
    with the rate, call and put agree.
    """
    chain, spot, curve = load("2026-07-15", symbol)
    as_his, ours = enrich(chain, spot, 0.0, q=0.0), enrich(chain, spot, curve)
    sure = (ours["vendor_iv"] > 0) & (ours["iv_error"] < 0.01) & (ours["years"] > 0.5)
    assert sure.sum() > 100
    for kind in ("call", "put"):
        mine = sure & (ours["type"] == kind)
        assert abs(100 * (as_his["iv"] - as_his["vendor_iv"])[mine].median()) < 1.0
        assert abs(100 * (ours["iv"] - ours["vendor_iv"])[mine].median()) > 2.0
    near = sure & ours["moneyness"].between(0.95, 1.05)
    pivot = {
        name: ours[near].pivot_table(index=["expiration", "strike"], columns="type", values=name)
        for name in ("iv", "vendor_iv")
    }
    gap = {name: 100 * (table["call"] - table["put"]).median() for name, table in pivot.items()}
    assert abs(gap["iv"]) < 0.3 and gap["vendor_iv"] > 4.0


def test_spx_is_european(load: Load) -> None:
    """Four contracts without a pair: the yield must be given (the index paid about 2 %)."""
    chain, spot, curve = load("2015-03-13", "SPX")
    assert (chain["style"] == "E").all()
    bare = enrich(chain, spot, curve)
    assert set(bare["reason"]) <= {"no_forward", "zero_bid"}
    found = enrich(chain, spot, curve, q=0.02)
    assert found["iv"].notna().any() and found["iv"].dropna().between(0.08, 0.4).all()
