"""What the front door to options cannot do, it says: no empty frame, no foreign error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from stockdb.demo.simulate import demo_objects
from stockdb.errors import ConfigurationError, DataError, SymbolNotFoundError

NAN = math.nan
SEARCHES = (
    "find_calendar_spreads",
    "find_diagonal_spreads",
    "find_synthetic_positions",
    "find_volatility_arbitrage",
)


@pytest.fixture(scope="module")
def leaps(module_clients: Any, make_bucket: Callable[..., str]) -> LEAPSDataIntegration:
    return LEAPSDataIntegration(module_clients(make_bucket(dict(demo_objects()))))


class TestOptionTypes:
    """One reading: get_option_chain's."""

    @pytest.mark.parametrize("word", ["call", "calls", "C", "CALL"])
    def test_calls_by_any_name_are_calls(self, leaps: LEAPSDataIntegration, word: str) -> None:
        frame = leaps.find_calendar_spreads("MSFT", option_type=word, max_rows=20)
        assert {leg["type"] for legs in frame["legs"] for leg in legs} == {"call"}

    def test_diagonals_of_puts(self, leaps: LEAPSDataIntegration) -> None:
        frame = leaps.find_diagonal_spreads(
            "MSFT", option_type="P", extrinsic_covered=False, upside_covered=False,
            max_debit_of_width=None, short_days=(20, 90), short_delta=(0.1, 0.5),
        )  # fmt: skip
        assert {leg["type"] for legs in frame["legs"] for leg in legs} == {"put"}

    @pytest.mark.parametrize("search", SEARCHES[:2])
    @pytest.mark.parametrize("word", ["x", 1, ""])
    def test_what_is_no_type(self, leaps: LEAPSDataIntegration, search: str, word: Any) -> None:
        with pytest.raises(ConfigurationError, match="Use 'call' or 'put'"):
            getattr(leaps, search)("MSFT", option_type=word)
        with pytest.raises(ConfigurationError, match="Use 'call' or 'put'"):
            leaps.minio.get_option_chain("MSFT", option_type=word)


class TestStructures:
    def test_only_what_is_built(self, leaps: LEAPSDataIntegration) -> None:
        for word in ("strangle", "x", 5, None):
            with pytest.raises(ConfigurationError, match="'straddle', 'option'"):
                leaps.find_volatility_arbitrage("MSFT", structure=word, history_days=0)
        frame = leaps.find_volatility_arbitrage(
            "MSFT", structure="Straddle", beats_spread=False, history_days=0
        )
        assert set(frame["strategy"]) <= {"short_straddle", "long_straddle"} and len(frame)

    def test_kinds(self, leaps: LEAPSDataIntegration) -> None:
        one = leaps.find_synthetic_positions("MSFT", kinds="Conversion")
        assert set(one["strategy"]) == {"conversion"}
        for kinds in (("x",), "x", (), 5, (None,)):
            with pytest.raises(ConfigurationError, match="synthetic_long"):
                leaps.find_synthetic_positions("MSFT", kinds=kinds)

    def test_any_window_is_measured(self, leaps: LEAPSDataIntegration) -> None:
        frame = leaps.find_volatility_arbitrage(
            "MSFT", window=100, beats_spread=False, history_days=0
        )
        assert len(frame) and (frame["rv"] == frame["rv_100"]).all()
        for window in (0, 1, -20, 2.5, "x", NAN):
            with pytest.raises(ConfigurationError, match="window"):
                leaps.find_volatility_arbitrage("MSFT", window=window)


class TestNamedSymbols:
    """What the caller named and is not there is no empty table."""

    def test_bars_symbol(self, leaps: LEAPSDataIntegration) -> None:
        with pytest.raises(SymbolNotFoundError, match="APPL"):
            leaps.find_volatility_arbitrage("MSFT", bars_symbol="APPL", history_days=0)
        for wrong in (5, [], {}, "", pd.Series(["AAPL"])):
            with pytest.raises(DataError):
                leaps.find_volatility_arbitrage("MSFT", bars_symbol=wrong, history_days=0)
            with pytest.raises(DataError):
                leaps.analyze_portfolio({"PEP": 1}, benchmark=wrong)

    def test_benchmark(self, leaps: LEAPSDataIntegration) -> None:
        with pytest.raises(SymbolNotFoundError, match="XXX"):
            leaps.analyze_portfolio(["MSFT"], benchmark="XXX")
        found = leaps.analyze_portfolio(["MSFT"], benchmark="AAPL")
        assert np.isfinite(found.greeks.loc["MSFT", "beta"])
        assert found.notes["benchmark"] == "AAPL"

    def test_too_few_closes_are_the_reason(self, leaps: LEAPSDataIntegration) -> None:
        frame = leaps.find_volatility_arbitrage("MSFT", window=100_000, history_days=0)
        reason = frame.attrs["stockdb"]["empty_reason"]
        assert frame.empty and "closes" in reason and "rule" not in reason


RANGES = [
    ("find_calendar_spreads", "front_days", (90, 20)),
    ("find_calendar_spreads", "back_days", (900, 400)),
    ("find_calendar_spreads", "moneyness", (1.1, 0.9)),
    ("find_diagonal_spreads", "long_delta", (0.9, 0.7)),
    ("find_diagonal_spreads", "short_delta", (0.3, 0.2)),
    ("find_diagonal_spreads", "long_days", (900, 366)),
    ("find_diagonal_spreads", "short_days", (45, 30)),
    ("find_synthetic_positions", "days", (900, 365)),
    ("find_synthetic_positions", "moneyness", (1.2, 0.8)),
    ("find_volatility_arbitrage", "days", (900, 365)),
    ("find_volatility_arbitrage", "moneyness", (1.2, 0.8)),
]


class TestRules:
    @pytest.mark.parametrize(("search", "rule", "value"), RANGES)
    def test_ranges(
        self, leaps: LEAPSDataIntegration, search: str, rule: str, value: tuple[float, float]
    ) -> None:
        call = getattr(leaps, search)
        with pytest.raises(ConfigurationError, match=f"{rule}.* is reversed. Swap the two"):
            call("MSFT", **{rule: value})
        for wrong in (1, [0.9], (1, 2, 3), "x", ("a", "b"), (NAN, None), NAN, {1, 2}):
            with pytest.raises(ConfigurationError, match=rule):
                call("MSFT", **{rule: wrong})

    @pytest.mark.parametrize("search", SEARCHES)
    @pytest.mark.parametrize(
        "rule",
        ["max_spread_pct", "min_open_interest", "stock_bid", "fees_per_contract", "spot", "q",
         "max_rows"],
    )  # fmt: skip
    def test_numbers(self, leaps: LEAPSDataIntegration, search: str, rule: str) -> None:
        for wrong in ("x", [543], NAN, -1.5, True):
            with pytest.raises(ConfigurationError, match=rule):
                getattr(leaps, search)("MSFT", **{rule: wrong})

    @pytest.mark.parametrize(
        ("search", "rule", "values"),
        [
            ("find_calendar_spreads", "min_iv_difference", ("x", NAN)),
            ("find_calendar_spreads", "max_debit", ("x", NAN)),
            ("find_diagonal_spreads", "max_debit_of_width", ("x", NAN, -1)),
            ("find_diagonal_spreads", "roll_days", ("x", NAN, -1, 1.5, None)),
            ("find_volatility_arbitrage", "min_difference", ("x", NAN, -1)),
            ("find_volatility_arbitrage", "history_days", ("x", NAN, -1, 1.5, None)),
            ("find_arbitrage_opportunities", "stock_bid", ("x", [543], NAN, -1)),
            ("find_arbitrage_opportunities", "stock_ask", ("x", [543], NAN, -1)),
            ("find_arbitrage_opportunities", "fees_per_contract", ("x", NAN, -1)),
            ("find_arbitrage_opportunities", "borrow_rate", ("x", NAN, -1)),
            ("find_arbitrage_opportunities", "max_rows", ("x", NAN, -1, 0, 1.5)),
            ("find_diagonal_spreads", "roll_days", (1e300,)),
            ("find_calendar_spreads", "max_age", ("x", NAN, -1, True, [1])),
            ("get_leaps_chain", "max_age", ("x", NAN, -1, True, [1])),
            ("get_leaps_chain", "min_days", ("x", NAN, math.inf, [1])),
            ("get_leaps_chain", "max_days", ("x", NAN, -math.inf, [1])),
            ("find_arbitrage_opportunities", "tick", ("x", NAN, -1, 0)),
            ("find_arbitrage_opportunities", "futures", (5, "x", {"2027-01-15": 20.0}, [1])),
            ("get_leaps_chain", "spot", ("x", NAN, -1, 0, math.inf, [543])),
            ("get_leaps_chain", "q", ("x", NAN, 5, -5)),
            ("get_vol_surface", "q", ("x", NAN, 5)),
            ("get_vol_surface", "spot", ("x", NAN, 0)),
        ],
    )
    def test_other_numbers(
        self, leaps: LEAPSDataIntegration, search: str, rule: str, values: tuple[Any, ...]
    ) -> None:
        words = {"min_days": "dte", "max_days": "dte"}
        for wrong in values:
            with pytest.raises(ConfigurationError, match=words.get(rule, rule)):
                getattr(leaps, search)("MSFT", **{rule: wrong})

    def test_a_crossed_quote_of_the_stock(self, leaps: LEAPSDataIntegration) -> None:
        for search in (*SEARCHES, "find_arbitrage_opportunities"):
            with pytest.raises(ConfigurationError, match="above its ask"):
                getattr(leaps, search)("MSFT", stock_bid=543.1, stock_ask=543.0)

    @pytest.mark.parametrize("rate", [4.0, 4, -0.5, -4.2, NAN, "x", {"1y": -0.5}])
    def test_rates(self, leaps: LEAPSDataIntegration, rate: Any) -> None:
        for search in (*SEARCHES, "find_arbitrage_opportunities", "get_leaps_chain"):
            with pytest.raises(ConfigurationError, match="rate"):
                getattr(leaps, search)("MSFT", rate=rate)

    def test_open_ranges(self, leaps: LEAPSDataIntegration) -> None:
        pairs = [
            leaps.find_calendar_spreads("MSFT", moneyness=value, max_rows=1).attrs["stockdb"]
            for value in (None, [None, None], (0.9, 1.1))
        ]
        turned_down = [note["rejected"]["moneyness"] for note in pairs]
        assert turned_down[:2] == [0, 0] and turned_down[2] > 0


DIVIDENDS = {
    "series": pd.Series([0.9], index=["2026-02-18"]),
    "frame": pd.DataFrame({"ex_date": ["2026-02-18"], "amount": [0.9]}),
    "pairs": [("2026-02-18", 0.9)],
    "array": np.array([["2026-02-18", 0.9]], dtype=object),
}


@pytest.mark.parametrize("form", DIVIDENDS)
def test_dividends_in_every_documented_form(leaps: LEAPSDataIntegration, form: str) -> None:
    chain = leaps.minio.get_option_chain("MSFT", dte=(700, 800), moneyness=(0.98, 1.02))
    wanted = leaps.enrich_chain(chain, dividends={"2026-02-18": 0.9}, spot=540.0)
    assert wanted["iv"].notna().any()
    found = leaps.enrich_chain(chain, dividends=DIVIDENDS[form], spot=540.0)
    pd.testing.assert_frame_equal(found, wanted)


class TestTheChain:
    def test_what_calling_code_expects(self, leaps: LEAPSDataIntegration) -> None:
        names = (
            "symbol type strike expiration bid ask spread volume open_interest "
            "implied_volatility delta gamma theta vega"
        ).split()
        chain = leaps.get_leaps_chain("MSFT")
        assert set(names) <= set(chain.columns)
        pd.testing.assert_series_equal(chain["implied_volatility"], chain["iv"], check_names=False)
        assert chain["implied_volatility"].notna().any()
        empty = leaps.get_leaps_chain("MSFT", min_days=10**6)
        assert empty.empty and set(names) <= set(empty.columns)
        any_chain = leaps.enrich_chain(leaps.minio.get_option_chain("MSFT", dte=60))
        assert set(names) <= set(any_chain.columns)

    def test_why_it_is_empty(self, leaps: LEAPSDataIntegration) -> None:
        rows = len(leaps.minio.get_option_chain("MSFT"))
        note = leaps.get_leaps_chain("MSFT", min_days=10**6).attrs["stockdb"]
        assert f"none of {rows} rows" in note["empty_reason"]
        assert "1000000" in note["empty_reason"]
        assert leaps.get_leaps_chain("MSFT").attrs["stockdb"]["empty_reason"] is None

    def test_nothing_suspect_and_nothing_deep_enough(self, leaps: LEAPSDataIntegration) -> None:
        note = leaps.find_suspect_quotes("MSFT").attrs["stockdb"]
        assert "contradicts" in note["empty_reason"]
        deep = leaps.find_synthetic_positions("MSFT", min_open_interest=1e9).attrs["stockdb"]
        assert "open interest" in deep["empty_reason"]
