"""Chains with numbers through the front door, on a real server."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from stockdb.errors import ConfigurationError, DataError
from stockdb.options.chain import COLUMNS
from tests.conftest import ClientFactory
from tests.unit.options.chains import fair_chain, smile

DAY = "2023-01-03"
KEY = f"options-complete/{DAY}options.csv"
STOCK = b"trade_date,Open,High,Low,Close,Volume\n2023-01-03,99,101,98,%s,1000\n"
# 4.5525 % on half-yearly coupons is 4.5014 % continuous
TREASURY = b"date,1m,6m,1y,2y\n2023-01-03,4.52,4.55,4.5525,4.5525\n"


def csv_of(chain: pd.DataFrame) -> bytes:
    blank = {name: "" for name in ("delta", "gamma", "theta", "vega", "implied_volatility")}
    frame = chain.assign(underlying="XYZ", bid_size=10, ask_size=10, **blank)
    frame["contract"] = "O:" + frame["contract"]
    names = (
        "contract underlying expiration type strike style bid bid_size ask ask_size volume "
        "open_interest quote_date delta gamma theta vega implied_volatility"
    ).split()
    text: str = frame[names].to_csv(index=False, date_format="%Y-%m-%d")
    return text.encode()


@pytest.fixture(scope="module")
def leaps(module_clients: ClientFactory, make_bucket: Callable[..., str]) -> LEAPSDataIntegration:
    objects = {
        KEY: csv_of(fair_chain()),
        "stocks-2010-2025/XYZ.csv": STOCK % b"100",
        "reference/treasury.csv": TREASURY,
    }
    return LEAPSDataIntegration(module_clients(make_bucket(objects)))


@pytest.fixture
def bare(client_factory: ClientFactory, make_bucket: Callable[..., str]) -> LEAPSDataIntegration:
    return LEAPSDataIntegration(client_factory(make_bucket({KEY: csv_of(fair_chain())})))


def test_the_call_of_the_readme(leaps: LEAPSDataIntegration) -> None:
    chain = leaps.get_leaps_chain("XYZ")
    assert set(chain["dte"]) == {365, 730} and set(COLUMNS) <= set(chain.columns)
    felt = chain["vega"] > 0.1
    expected = chain["strike"].map(smile)
    assert chain["iv"][felt].to_numpy() == pytest.approx(expected[felt].to_numpy(), abs=3e-4)
    assert chain["q"].to_numpy() == pytest.approx([0.015] * len(chain), abs=2e-4)
    note = chain.attrs["stockdb"]["numbers"]
    assert note["spot"] == 100.0 and note["spot_source"] == "daily close"
    assert not note["synchronous"] and "not of the moment" in note["note"]
    assert note["rate"]["source"] == "treasury" and note["rate"]["as_of"] == DAY
    assert json.loads(json.dumps(chain.attrs)) == chain.attrs


def test_days_and_types_can_be_chosen(leaps: LEAPSDataIntegration) -> None:
    assert set(leaps.get_leaps_chain("XYZ", DAY, 0)["dte"]) == {45, 365, 730}
    assert set(leaps.get_leaps_chain("XYZ", min_days=30, max_days=400)["dte"]) == {45, 365}
    puts = leaps.get_leaps_chain("XYZ", option_type="put")
    assert set(puts["type"]) == {"put"} and puts["iv"].notna().any()
    none = leaps.get_leaps_chain("XYZ", min_days=2000)
    assert none.empty and set(COLUMNS) <= set(none.columns)


def test_without_rates_the_reason_is_given(bare: LEAPSDataIntegration) -> None:
    chain = bare.get_leaps_chain("XYZ")
    assert set(chain["reason"]) <= {"no_rate", "zero_bid"} and chain["iv"].isna().all()
    note = chain.attrs["stockdb"]["numbers"]
    assert note["rate"] is None and note["spot_source"] == "parity"
    chain = bare.get_leaps_chain("XYZ", rate="implied", spot=100.0)
    assert chain["rate"].iloc[0] == pytest.approx(0.045, abs=1e-3)
    assert chain.attrs["stockdb"]["numbers"]["synchronous"]


def test_a_close_of_another_basis_is_not_used(
    client_factory: ClientFactory, make_bucket: Callable[..., str]
) -> None:
    """A two-for-one split later on, and prices that were adjusted for it."""
    objects = {
        KEY: csv_of(fair_chain()), "stocks-2010-2025/XYZ.csv": STOCK % b"50",
        "reference/treasury.csv": TREASURY,
    }  # fmt: skip
    leaps = LEAPSDataIntegration(client_factory(make_bucket(objects)))
    note = leaps.get_leaps_chain("XYZ").attrs["stockdb"]["numbers"]
    assert note["spot_source"] == "parity" and "another basis" in note["note"]
    assert note["spot"] == pytest.approx(100.0, abs=0.3)


def test_any_chain_of_one_day_or_many(leaps: LEAPSDataIntegration) -> None:
    chain = leaps.minio.get_option_chain("XYZ", DAY, strikes=(90.0, 110.0))
    found = leaps.enrich_chain(chain)
    assert len(found) == len(chain) and found["contract"].tolist() == chain["contract"].tolist()
    many = leaps.minio.get_options_data("XYZ", DAY, DAY)
    again = leaps.enrich_chain(many)
    assert again["iv"].notna().sum() > 40
    both = pd.concat([many, many.assign(symbol="ABC")])
    with pytest.raises(ConfigurationError, match="2 underlyings"):
        leaps.enrich_chain(both)
    with pytest.raises(DataError, match="no column symbol"):
        leaps.enrich_chain(many.drop(columns="symbol"))


def test_cash_dividends_take_the_place_of_a_yield(leaps: LEAPSDataIntegration) -> None:
    chain = leaps.enrich_chain(
        leaps.minio.get_option_chain("XYZ", DAY, strikes=(95.0, 105.0), dte=(300, 400)),
        dividends={"2023-04-03": 0.75, "2023-10-03": 0.75},
    )
    assert (chain["q"] == 0.0).all() and np.isfinite(chain["iv"]).all()
    noted = chain.attrs["stockdb"]["numbers"]["dividends"]
    assert noted["amounts"] == [0.75, 0.75]


def test_the_surface_of_a_chain(leaps: LEAPSDataIntegration) -> None:
    surface = leaps.get_vol_surface("XYZ", DAY)
    table = surface.term_structure()
    assert table["years"].tolist() == [45 / 365, 1.0, 2.0]
    assert table["atm_iv"].to_numpy() == pytest.approx([0.25] * 3, abs=1e-3)
