"""Books of any kind and shape: stock without options, pairs, Series; what cannot be is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from stockdb.demo.simulate import demo_objects
from stockdb.errors import (
    ConfigurationError,
    DataError,
    StockDBError,
    SymbolNotFoundError,
)

NAN = math.nan
LAST = "2025-12-31"


@pytest.fixture(scope="module")
def leaps(module_clients: Any, make_bucket: Callable[..., str]) -> LEAPSDataIntegration:
    return LEAPSDataIntegration(module_clients(make_bucket(dict(demo_objects()))))


@pytest.fixture(scope="module")
def contract(leaps: LEAPSDataIntegration) -> str:
    chain = leaps.get_leaps_chain("MSFT", option_type="call")
    return str(chain.loc[chain["iv"].notna(), "contract"].iloc[0])


def close_of(leaps: LEAPSDataIntegration, symbol: str) -> float:
    return float(leaps.minio.get_historical_data(symbol, end_date=LAST)["close"].iloc[-1])


class TestStockWithoutOptions:
    def test_beside_options(self, leaps: LEAPSDataIntegration, contract: str) -> None:
        found = leaps.analyze_portfolio({"PEP": 100, contract: -1})
        held = found.positions.set_index("symbol")
        close = close_of(leaps, "PEP")
        assert held.loc["PEP", "market_value"] == pytest.approx(100 * close)
        assert held.loc["PEP", "volume"] > 0
        assert found.notes["quote_dates"] == [LAST]
        alone = leaps.analyze_portfolio({contract: -1})
        column = found.scenarios.loc[0].loc[0.0] - alone.scenarios.loc[0].loc[0.0]
        assert column.to_numpy() == pytest.approx(100 * close * column.index.to_numpy())

    @pytest.mark.parametrize("symbol", ["PEP", "BRK.B"])
    def test_alone(self, leaps: LEAPSDataIntegration, symbol: str) -> None:
        found = leaps.analyze_portfolio({symbol: 100})
        assert found.greeks.loc[symbol, "delta_shares"] == 100
        assert found.greeks.loc["total", "market_value"] == pytest.approx(
            100 * close_of(leaps, symbol)
        )
        assert np.isfinite(found.greeks.loc[symbol, "beta"])
        assert found.notes["quote_dates"] == [LAST]
        assert "1 positions" in found.summary()
        past = leaps.analyze_portfolio({symbol: 100}, "2025-06-02")
        bars = leaps.minio.get_historical_data(symbol, end_date="2025-06-02")
        assert past.positions["spot"].iloc[0] == pytest.approx(bars["close"].iloc[-1])

    def test_at_a_price_of_ones_own(self, leaps: LEAPSDataIntegration) -> None:
        found = leaps.analyze_portfolio({"PEP": 100}, spots={"pep": 130})
        assert found.greeks.loc["total", "market_value"] == 13_000
        unknown = leaps.analyze_portfolio({"NOPE": 5}, LAST, spots=pd.Series({"NOPE": 20.0}))
        assert unknown.greeks.loc["total", "market_value"] == 100
        assert unknown.liquidation["reason"].tolist() == ["volume unknown"]

    def test_without_bars_and_price(self, leaps: LEAPSDataIntegration) -> None:
        with pytest.raises(SymbolNotFoundError, match=r"spots=\{'NOPE'"):
            leaps.analyze_portfolio({"NOPE": 5})
        with pytest.raises(DataError, match=r"spots=\{'PEP'"):
            leaps.analyze_portfolio({"PEP": 5}, "2035-01-02")
        with pytest.raises(DataError, match="date="):
            leaps.analyze_portfolio({"NOPE": 5}, spots={"NOPE": 20.0})


class TestForms:
    def test_pairs_and_series(self, leaps: LEAPSDataIntegration, contract: str) -> None:
        forms: list[Any] = [
            {contract: 2, "PEP": -10},
            [(contract, 2), ("PEP", -10)],
            [[contract, 1], ("PEP", -10), (contract, 1)],
            pd.Series({contract: 2, "PEP": -10}),
            pd.Series([2.0, -10.0], index=[contract, "pep"], dtype=object),
            pd.DataFrame({"contract": [contract, "PEP"], "quantity": [2, -10]}),
        ]
        tables = [leaps.analyze_portfolio(form, benchmark=None).greeks for form in forms]
        for table in tables[1:]:
            pd.testing.assert_frame_equal(table, tables[0])

    def test_one_position_on_its_own(self, leaps: LEAPSDataIntegration) -> None:
        one = {"symbol": "PEP", "quantity": 3}
        for form in (one, pd.Series(one)):
            found = leaps.analyze_portfolio(form, benchmark=None)
            assert found.positions["quantity"].tolist() == [3]

    def test_what_is_named_twice_counts_twice(
        self, leaps: LEAPSDataIntegration, contract: str
    ) -> None:
        for form in (["MSFT", "MSFT"], [contract, contract], pd.Series(["MSFT", "MSFT"])):
            found = leaps.analyze_portfolio(form, benchmark=None)
            assert found.positions["quantity"].tolist() == [2.0]
        three = leaps.analyze_portfolio(["MSFT", "MSFT"], quantity=3, benchmark=None)
        assert three.positions["quantity"].tolist() == [6.0]

    def test_flat_positions_are_named(self, leaps: LEAPSDataIntegration, contract: str) -> None:
        found = leaps.analyze_portfolio([("PEP", 5), ("MSFT", 0), (contract, 1), (contract, -1)])
        assert found.positions["symbol"].tolist() == ["PEP"]
        assert found.notes["flat"] == ["MSFT", contract.removeprefix("O:")]
        for flat in ({"MSFT": 0}, [("PEP", 1), ("PEP", -1)]):
            with pytest.raises(DataError, match="flat"):
                leaps.analyze_portfolio(flat)
        with pytest.raises(DataError, match="flat"):
            leaps.analyze_portfolio(["MSFT"], quantity=0)

    @pytest.mark.parametrize(
        "given",
        [
            5, None, [5], [None], ("PEP", 100), [("PEP",)], [("PEP", 1, 2)], [("PEP", "MSFT")],
            {"PEP": NAN}, {"PEP": "x"}, {"PEP": None}, {5: 5}, pd.Series({"PEP": "x"}),
            pd.DataFrame({"quantity": [1]}), pd.DataFrame({"contract": ["PEP"]}),
            [{"legs": 5, "symbol": "PEP"}], [{"legs": [{}], "symbol": "PEP"}],
        ],
    )  # fmt: skip
    def test_what_is_no_book(self, leaps: LEAPSDataIntegration, given: Any) -> None:
        with pytest.raises(StockDBError) as caught:
            leaps.analyze_portfolio(given)
        assert "Correct the file" not in str(caught.value)


class TestScenarioArguments:
    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("days", ([NAN], [-1], [], "x", [None], ["x"], None)),
            ("spot_moves", ([-2], [], [NAN], "x", [100], None)),
            ("vol_moves", ([-5], [], [NAN], "x", [5], None)),
            ("participation", (NAN, 0, -1, 2, "x", None)),
            ("quantity", (NAN, "x", None)),
            ("betas", ("x", 5, {"PEP": "x"}, {"PEP": NAN})),
            ("spots", ("x", 5, {"PEP": "x"}, {"PEP": NAN}, {"PEP": -5})),
            ("dividends", ("x", 5, {"PEP": 5})),
            ("benchmark", (5, "", [])),
            ("min_days", ("x", NAN, -1)),
        ],
    )
    def test_what_cannot_be(
        self, leaps: LEAPSDataIntegration, name: str, values: tuple[Any, ...]
    ) -> None:
        words = {"benchmark": "symbol", "dividends": "dividend"}
        for value in values:
            with pytest.raises(StockDBError, match=words.get(name, name)):
                leaps.analyze_portfolio({"PEP": 100}, **{name: value})

    def test_one_number_is_a_list_of_one(self, leaps: LEAPSDataIntegration) -> None:
        found = leaps.analyze_portfolio({"PEP": 100}, days=30, spot_moves=-1, vol_moves=0.1)
        close = close_of(leaps, "PEP")
        assert found.scenarios.index.tolist() == [(30, 0.1)]
        assert found.scenarios.to_numpy().tolist() == [[pytest.approx(-100 * close)]]
        assert all(isinstance(day, int) for day in found.scenarios.index.levels[0])


class TestScanArguments:
    @pytest.mark.parametrize(
        "options",
        [
            {"quotes": {"MSFT": 543}},
            {"quotes": {"MSFT": (543.1, 543.0)}},
            {"quotes": {"MSFT": ("x", 543.0)}},
            {"quotes": 5},
            {"dividends": 5},
            {"rules": 5},
            {"rules": {"calendar": 5}},
            {"rules": {"arbitrage": {"foo": 1}}},
            {"what": 5},
            {"what": [5]},
        ],
    )
    def test_what_cannot_be(self, leaps: LEAPSDataIntegration, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            leaps.scan(["MSFT"], **options)
