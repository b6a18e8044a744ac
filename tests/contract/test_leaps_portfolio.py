"""Portfolios and scans through the front door, on real chains of seven underlyings."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from stockdb.errors import ConfigurationError, DataError, NotFoundError, SymbolNotFoundError

pytestmark = pytest.mark.shared_data
DAY = "2022-12-01"
MIXED = "2026-08-21"


@pytest.fixture(scope="module")
def objects(shared_data: Path) -> dict[str, bytes]:
    found = {
        f"options-complete/{day}options.csv": gzip.decompress(
            (shared_data / f"options-complete/{day}options.csv.gz").read_bytes()
        )
        for day in (DAY, MIXED)
    }
    for symbol in ("AAPL", "SPY"):
        bars = shared_data / f"stocks-2010-2025/{symbol}.csv"
        found[f"stocks-2010-2025/{symbol}.csv"] = bars.read_bytes()
    found["reference/dividends.csv"] = (
        shared_data / "corporate-actions/dividends.csv"
    ).read_bytes()
    rates = shared_data / "rates/us_treasury_cmt_2010_2026.csv"
    found["reference/treasury.csv"] = rates.read_bytes()
    return found


@pytest.fixture(scope="module")
def leaps(
    objects: dict[str, bytes], module_clients: Any, make_bucket: Callable[..., str]
) -> LEAPSDataIntegration:
    return LEAPSDataIntegration(module_clients(make_bucket(objects)))


class TestPortfolio:
    def test_positions(self, leaps: LEAPSDataIntegration) -> None:
        held = {"AAPL240119C00150000": 2, "O:AAPL230120C00160000": -2, "AAPL": -100}
        found = leaps.analyze_portfolio(held, DAY)
        positions = found.positions.set_index("contract")
        chain = leaps.get_leaps_chain("AAPL", DAY, min_days=0)
        row = chain[chain["contract"] == "O:AAPL240119C00150000"].iloc[0]
        assert positions.loc["AAPL240119C00150000", "delta_shares"] == pytest.approx(
            200 * row["delta"]
        )
        assert positions.loc["AAPL", "market_value"] == pytest.approx(-100 * row["spot"])
        assert 0.8 < found.greeks.loc["AAPL", "beta"] < 1.8  # of 252 returns against SPY
        assert "ex_dividend" in set(found.calendar["event"])
        assert found.notes["quote_dates"] == [DAY]
        assert np.isfinite(found.scenarios.to_numpy()).all()

    def test_symbols_stand_for_one_leaps_call_each(self, leaps: LEAPSDataIntegration) -> None:
        found = leaps.analyze_portfolio(["AAPL", "MSFT"], MIXED, quantity=3, benchmark=None)
        assert list(found.positions["symbol"]) == ["AAPL", "MSFT"]
        assert (found.positions["dte"] >= 365).all()
        assert (found.positions["quantity"] == 3).all()
        assert found.positions["delta"].between(0.4, 0.75).all()

    def test_a_contract_that_nobody_bids_for(self, leaps: LEAPSDataIntegration) -> None:
        chain = leaps.minio.get_option_chain("AAPL", DAY)
        worthless = chain[(chain["bid"] == 0) & (chain["dte"] > 100) & (chain["type"] == "call")]
        found = leaps.analyze_portfolio([worthless["contract"].iloc[0]], DAY, benchmark=None)
        row = found.positions.iloc[0]
        assert row["iv_source"] == "expiry"
        assert 0 < row["delta"] < 0.2 and row["vega"] > 0
        assert found.notes["unpriced"] == []
        assert np.isfinite(found.scenarios.to_numpy()).all()

    def test_forms_of_the_same(self, leaps: LEAPSDataIntegration) -> None:
        name = "AAPL240119C00150000"
        forms = [
            {name: 1},
            [name],
            [{"contract": name, "quantity": 1}],
            pd.DataFrame({"contract": [name], "quantity": [1]}),
        ]
        values = [
            leaps.analyze_portfolio(form, DAY, benchmark=None).greeks.loc["total", "vega_dollars"]
            for form in forms
        ]
        assert values == pytest.approx([values[0]] * 4)

    def test_what_is_wrong_is_named(self, leaps: LEAPSDataIntegration) -> None:
        with pytest.raises(NotFoundError, match="AAPL240119C00151000"):
            leaps.analyze_portfolio({"AAPL240119C00151000": 1}, DAY)
        with pytest.raises(DataError, match="no positions"):
            leaps.analyze_portfolio([], DAY)
        with pytest.raises(DataError, match="quantity"):
            leaps.analyze_portfolio([{"contract": "AAPL240119C00150000"}], DAY)
        with pytest.raises(SymbolNotFoundError):
            leaps.analyze_portfolio({"NOPE": 5}, DAY)


def test_the_culprits_of_a_day(leaps: LEAPSDataIntegration) -> None:
    named = leaps.find_suspect_quotes("KO", MIXED)
    frame = leaps.find_arbitrage_opportunities("KO", MIXED)
    in_rows = {name for names in frame["suspects"] for name in names}
    assert in_rows <= set(named["contract"])
    assert named["conflicts"].is_monotonic_decreasing
    assert leaps.find_suspect_quotes("AAPL", DAY).empty


class TestScan:
    def test_one_bad_symbol_stops_nothing(self, leaps: LEAPSDataIntegration) -> None:
        found = leaps.scan(["KO", "NOPE", "F"], MIXED, rate=0.04)
        assert list(found.errors) == ["NOPE"]
        assert found.searched == ["KO", "F"]
        frame = found["arbitrage"]
        assert set(frame["symbol"]) == {"KO", "F"}
        # both chains hold quotes that contradict each other: nothing of them is riskless
        assert set(frame["class"]) == {"suspect"}
        table = found.summary()
        assert table.loc["KO", "arbitrage"] == (frame["symbol"] == "KO").sum()
        assert "NOPE" in table.loc["NOPE", "error"]
        one = leaps.find_arbitrage_opportunities("KO", MIXED, rate=0.04)
        mine = frame[frame["symbol"] == "KO"].reset_index(drop=True)
        pd.testing.assert_series_equal(one["profit"], mine["profit"])
        pd.testing.assert_frame_equal(found["KO"], mine)
        with pytest.raises(SymbolNotFoundError):
            found["NOPE"]
        with pytest.raises(KeyError):
            found["AAPL"]  # was not asked for
        with pytest.raises(SymbolNotFoundError):
            leaps.scan(["KO", "NOPE"], MIXED, strict=True)

    def test_many_searches_at_once(self, leaps: LEAPSDataIntegration) -> None:
        found = leaps.scan(
            ["KO", "JPM"],
            MIXED,
            what=["calendar", "synthetic", "volatility"],
            rules={"calendar": {"option_type": "call"}, "volatility": {"history_days": 0}},
            max_rows=5,
        )
        assert list(found) == ["calendar", "synthetic", "volatility"]
        assert all(leg["type"] == "call" for legs in found["calendar"]["legs"] for leg in legs)
        assert found["calendar"].groupby("symbol").size().max() <= 5

    def test_a_whole_day_is_read_once(
        self, objects: dict[str, bytes], module_clients: Any, make_bucket: Callable[..., str]
    ) -> None:
        client = module_clients(make_bucket(objects))
        leaps = LEAPSDataIntegration(client)
        symbols = ["AAPL", "MSFT", "GOOGL", "KO", "XOM", "JPM", "F"]
        found = leaps.scan(symbols, MIXED, whole_day=True)
        assert found.searched == symbols
        size = len(objects[f"options-complete/{MIXED}options.csv"])
        origins = []
        for symbol in symbols:
            told = pd.DataFrame()
            told.attrs = {"stockdb": found.notes["arbitrage"][symbol]}
            origins += client.provenance(told).origins
        options = [origin for origin in origins if origin.dataset == "options"]
        assert len(options) == len(symbols)
        assert size <= options[0].received < 1.1 * size
        # of the others one small request each, for the version of the file
        assert all(origin.requests == 1 for origin in options[1:])
        assert all(origin.received <= 65_536 for origin in options[1:])

    def test_unknown_names(self, leaps: LEAPSDataIntegration) -> None:
        with pytest.raises(ConfigurationError, match="butterflies"):
            leaps.scan(["KO"], MIXED, what="butterflies")
        with pytest.raises(ConfigurationError, match="rte"):
            leaps.scan(["KO"], MIXED, rte=0.04)
        with pytest.raises(ConfigurationError, match="calendar"):
            leaps.scan(["KO"], MIXED, what="calendar", rules={"calendar": {"strike": 1}})
