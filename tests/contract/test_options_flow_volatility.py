"""Columns of options_flow that need volatilities, on chains that QuantLib priced."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stockdb.access.smiles import trailing_yield
from tests.answers.option_accuracy import Options, Reference
from tests.conftest import ClientFactory
from tests.contract.test_leaps_chain import KEY, STOCK, TREASURY, csv_of
from tests.unit.options.chains import DAY, R, fair_chain
from trading_data_adapter import TradingDataAdapter

DIVIDENDS = b"symbol,ex_date,amount\nXYZ,2022-03-01,0.75\nXYZ,2022-09-01,0.75\nXYZ,2023-03-01,9\n"
# 1.5 of 100 dollars is a yield of ln 1.015; the chain was priced with 1.5 %
COLUMNS = ["skew_25d", "smirk", "cw_spread", "gex"]


def flat(K: float) -> float:
    return 0.25


@pytest.fixture(scope="module")
def chain() -> pd.DataFrame:
    strikes = tuple(float(K) for K in range(70, 145, 5))
    return fair_chain((20, 45, 100), strikes, 0.001, flat)


@pytest.fixture
def flow_of(
    chain: pd.DataFrame, make_bucket: Callable[..., str], client_factory: ClientFactory
) -> Callable[..., pd.Series]:
    def read(change: Callable[[pd.DataFrame], object] | None = None, **objects: bytes) -> pd.Series:
        frame = chain.copy()
        if change is not None:
            change(frame)
        files = {"stocks-2010-2025/XYZ.csv": STOCK % b"100", KEY: csv_of(frame)}
        files |= {f"reference/{name}.csv": data for name, data in objects.items()}
        adapter = TradingDataAdapter(client_factory(make_bucket(files)))
        found = adapter.get_data_for_algorithm("options_flow", "XYZ", 1)
        return found[COLUMNS].iloc[0]

    return read


def test_a_flat_smile_gives_nothing_and_gamma_what_quantlib_says(
    flow_of: Callable[..., pd.Series], chain: pd.DataFrame
) -> None:
    row = flow_of(treasury=TREASURY, dividends=DIVIDENDS)
    assert abs(row["skew_25d"]) < 1e-3 and abs(row["smirk"]) < 1e-3
    assert abs(row["cw_spread"]) < 5e-3
    options = Options(
        chain["strike"].to_numpy(), chain["dte"].to_numpy(), np.full(len(chain), R),
        np.full(len(chain), 0.015), np.full(len(chain), 0.25), chain["type"].to_numpy(str),
    )  # fmt: skip
    gamma = Reference("accurate").greeks(options)["gamma"]
    sign = np.where(chain["type"] == "call", 1.0, -1.0)
    expected = (sign * gamma * chain["open_interest"] * 100.0).sum() * 100.0**2 * 0.01
    size = (gamma * chain["open_interest"] * 100.0).sum() * 100.0**2 * 0.01
    assert abs(row["gex"] - expected) < 0.01 * size


def test_puts_that_cost_more_and_calls_above_parity_show(
    flow_of: Callable[..., pd.Series],
) -> None:
    def dear_puts(frame: pd.DataFrame) -> None:
        out = (frame["type"] == "put") & (frame["strike"] < 99.0)
        frame.loc[out, ["bid", "ask"]] += 0.30

    row = flow_of(dear_puts, treasury=TREASURY, dividends=DIVIDENDS)
    assert row["skew_25d"] > 0.01 and row["smirk"] > 0.01 and row["cw_spread"] < -0.005

    def dear_calls(frame: pd.DataFrame) -> None:
        frame.loc[frame["type"] == "call", ["bid", "ask"]] += 0.30

    row = flow_of(dear_calls, treasury=TREASURY, dividends=DIVIDENDS)
    assert row["cw_spread"] > 0.005


def test_what_is_not_known_is_nan(flow_of: Callable[..., pd.Series]) -> None:
    assert flow_of().isna().all()
    row = flow_of(treasury=TREASURY)
    assert np.isnan(row["cw_spread"]) and np.isfinite(row[["skew_25d", "smirk", "gex"]]).all()


@pytest.mark.parametrize("basis, paid", [("splits", 3.0), ("none", 1.5)])
def test_dividends_on_later_shares_are_taken_back(
    basis: str, paid: float, make_bucket: Callable[..., str], client_factory: ClientFactory
) -> None:
    """A two-for-one split in between: .75 on today's shares were 1.50 on those of the day."""
    files = {
        "reference/dividends.csv": DIVIDENDS,
        "reference/splits.csv": b"symbol,ex_date,ratio\nXYZ,2021-01-04,5\nXYZ,2023-06-01,2\n",
    }
    bucket = make_bucket(files)
    held = client_factory(bucket).settings.datasets
    table = held["dividends"].model_copy(update={"adjustment": basis})
    access = client_factory(bucket, datasets={**held, "dividends": table})._access
    found = trailing_yield(access, "XYZ", DAY.date(), 100.0)
    assert found == pytest.approx(np.log1p(paid / 100.0))


def test_the_day_is_that_of_the_chain() -> None:
    assert KEY == f"options-complete/{DAY:%Y-%m-%d}options.csv"
