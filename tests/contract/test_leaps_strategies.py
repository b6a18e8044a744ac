"""Strategy searches through the front door, on real chains and a real server."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from stockdb.errors import ConfigurationError, SymbolNotFoundError

pytestmark = pytest.mark.shared_data
DAYS = ("2022-11-28", "2022-11-29", "2022-11-30", "2022-12-01")


@pytest.fixture(scope="module")
def objects(shared_data: Path) -> dict[str, bytes]:
    found = {
        f"options-complete/{day}options.csv": gzip.decompress(
            (shared_data / f"options-complete/{day}options.csv.gz").read_bytes()
        )
        for day in DAYS
    }
    found["stocks-2010-2025/AAPL.csv"] = (shared_data / "stocks-2010-2025/AAPL.csv").read_bytes()
    actions = shared_data / "corporate-actions"
    found["reference/dividends.csv"] = (actions / "dividends.csv").read_bytes()
    rates = shared_data / "rates/us_treasury_cmt_2010_2026.csv"
    found["reference/treasury.csv"] = rates.read_bytes()
    return found


@pytest.fixture(scope="module")
def leaps(
    objects: dict[str, bytes], module_clients: Any, make_bucket: Callable[..., str]
) -> LEAPSDataIntegration:
    return LEAPSDataIntegration(module_clients(make_bucket(objects)))


@pytest.mark.parametrize(
    ("call", "options"),
    [
        ("find_calendar_spreads", {}),
        (
            "find_diagonal_spreads",
            {"extrinsic_covered": False, "upside_covered": False, "max_debit_of_width": None},
        ),
        ("find_synthetic_positions", {"stock_bid": 148.20, "stock_ask": 148.22}),
        ("find_volatility_arbitrage", {"history_days": 3, "structure": "option"}),
    ],
)
def test_each_search(leaps: LEAPSDataIntegration, call: str, options: dict[str, Any]) -> None:
    frame = getattr(leaps, call)("AAPL", max_rows=20, **options)
    assert 0 < len(frame) <= 20
    assert (frame["quote_date"] == pd.Timestamp(DAYS[-1])).all()
    numbers = frame.select_dtypes("number")
    assert not np.isinf(numbers.to_numpy(dtype=float)).any()
    assert frame["measure"].str.contains("risk-neutral").all()
    note = frame.attrs["stockdb"]
    assert note["numbers"]["rate"]["as_of"] == DAYS[-1]
    assert note["symbol"] == "AAPL"


def test_the_past_is_read_from_the_days_before(leaps: LEAPSDataIntegration) -> None:
    frame = leaps.find_volatility_arbitrage("AAPL", history_days=3, beats_spread=False)
    assert (frame["history_days"] == 3).all()
    assert frame["iv_percentile"].isin([0, 1 / 3, 2 / 3, 1]).all()
    assert frame.attrs["stockdb"]["history"] == {"days": 3, "failed": 0}
    assert frame.attrs["stockdb"]["closes"]["last"] == DAYS[-1]
    first = leaps.find_volatility_arbitrage("AAPL", DAYS[0], history_days=3, beats_spread=False)
    assert (first["history_days"] == 0).all()  # nothing later is looked at


def test_the_stock_quote_is_what_stock_trades_at(leaps: LEAPSDataIntegration) -> None:
    frame = leaps.find_synthetic_positions(
        "AAPL", kinds=("conversion",), stock_bid=148.20, stock_ask=148.22
    )
    stock = frame["legs"].iloc[0][0]
    assert (stock["type"], stock["fill"]) == ("stock", 148.22)
    without = leaps.find_synthetic_positions("AAPL", kinds=("conversion",))
    assert "stock_at_implied_price" in without["flags"].iloc[0]


def test_without_a_rate_the_reason_is_given(
    objects: dict[str, bytes], module_clients: Any, make_bucket: Callable[..., str]
) -> None:
    some = {key: data for key, data in objects.items() if "reference" not in key}
    bare = LEAPSDataIntegration(module_clients(make_bucket(some)))
    frame = bare.find_calendar_spreads("AAPL")
    assert frame.empty
    assert "no_rate" in frame.attrs["stockdb"]["empty_reason"]
    assert len(bare.find_calendar_spreads("AAPL", rate="implied"))


def test_why_nothing_is_found(leaps: LEAPSDataIntegration) -> None:
    strict = leaps.find_diagonal_spreads("AAPL").attrs["stockdb"]
    assert "breaks a rule" in strict["empty_reason"]
    assert strict["rejected"]["pairs"] > 0
    none = leaps.find_diagonal_spreads("AAPL", long_days=(2000, None)).attrs["stockdb"]
    assert "quoted" in none["empty_reason"]


def test_wrong_names_and_symbols(leaps: LEAPSDataIntegration) -> None:
    with pytest.raises(ConfigurationError, match="stockbid"):
        leaps.find_calendar_spreads("AAPL", stockbid=1.0)
    with pytest.raises(SymbolNotFoundError):
        leaps.find_calendar_spreads("NOPE")
