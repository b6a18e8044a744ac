"""Keys, spellings and suggestions; every expected key is written out."""

from __future__ import annotations

import datetime as dt
import pickle

import pytest

from stockdb.core.catalog import (
    bars_datasets,
    source_intervals,
    spellings,
    suggest,
    symbol_not_found,
    template,
)
from stockdb.errors import ConfigurationError, SymbolNotFoundError
from stockdb.settings import Dataset
from stockdb.types import INTERVALS

STOCKS = Dataset(key="stocks-2010-2025/{SYMBOL}.csv", interval="daily")
DAY = dt.date(2023, 1, 3)


class TestTemplates:
    @pytest.mark.parametrize(
        ("text", "prefix", "key"),
        [
            ("stocks-2010-2025/{SYMBOL}.csv", "stocks-2010-2025/", "stocks-2010-2025/KO.csv"),
            ("{SYMBOL}.csv.gz", "", "KO.csv.gz"),
            ("a/{SYMBOL}/5min.csv", "a/", "a/KO/5min.csv"),
            ("a/x-{SYMBOL}.csv", "a/x-", "a/x-KO.csv"),
            ("options-complete/{YYYY-MM-DD}options.csv", "options-complete/",
             "options-complete/2023-01-03options.csv"),
            ("options/{YYYY}/{YYYY-MM-DD}stocks.csv", "options/",
             "options/2023/2023-01-03stocks.csv"),
            ("{YYYY}.zip", "", "2023.zip"),
            ("d/{YYYYMMDD}.csv", "d/", "d/20230103.csv"),
            ("reference/splits.csv", "reference/splits.csv", "reference/splits.csv"),
            ("financials/", "financials/", "financials/"),
        ],
    )  # fmt: skip
    def test_prefix_and_key(self, text: str, prefix: str, key: str) -> None:
        made = template(Dataset(key=text))
        assert made.prefix == prefix
        assert made.key(symbol="KO", date=DAY) == key

    @pytest.mark.parametrize(
        ("text", "flat"),
        [
            ("stocks-2010-2025/{SYMBOL}.csv", True),
            ("{YYYY}.zip", True),
            ("reference/splits.csv", True),
            ("options/{YYYY}/{YYYY-MM-DD}stocks.csv", False),
            ("a/{SYMBOL}/5min.csv", False),
            ("financials/", False),  # a folder with whatever it holds
        ],
    )
    def test_how_deep_to_list(self, text: str, flat: bool) -> None:
        assert template(Dataset(key=text)).flat is flat

    def test_a_field_without_a_value(self) -> None:
        with pytest.raises(ValueError, match="needs SYMBOL"):
            template(STOCKS).key(date=DAY)
        with pytest.raises(ValueError, match="needs YYYY-MM-DD"):
            template(Dataset(key="{YYYY-MM-DD}.csv")).key(symbol="KO")

    def test_an_unknown_field(self) -> None:
        with pytest.raises(ConfigurationError, match="TICKER") as caught:
            template(Dataset(key="stocks/{TICKER}.csv"))
        assert "{SYMBOL}" in caught.value.remedy

    @pytest.mark.parametrize(
        ("key", "symbol"),
        [
            ("stocks-2010-2025/AAPL.csv", "AAPL"),
            ("stocks-2010-2025/brk-b.csv", "brk-b"),
            ("stocks-2010-2025/BRK.B.csv", "BRK.B"),
            ("stocks-2010-2025/^GSPC.csv", "^GSPC"),
            ("stocks-2010-2025/sub/AAPL.csv", None),
            ("stocks-2010-2025/AAPL.csv.gz", None),
            ("stocks-2010-2025/.csv", None),
            ("stocks-2010-2025/.hidden.csv", None),
            ("stocks-2010-2025/AAPLxcsv", None),  # the dot is a dot
            ("other/AAPL.csv", None),
            ("stocks-2010-2025/AAPL.csv\n", None),
        ],
    )
    def test_symbols_out_of_keys(self, key: str, symbol: str | None) -> None:
        assert template(STOCKS).symbol_of(key) == symbol

    @pytest.mark.parametrize(
        ("text", "key", "date"),
        [
            ("o/{YYYY-MM-DD}options.csv", "o/2023-01-03options.csv", DAY),
            ("o/{YYYY-MM-DD}options.csv", "o/2023-02-31options.csv", None),
            ("o/{YYYY-MM-DD}options.csv", "o/2023-01-03options(Partial).csv", None),
            ("o/{YYYY-MM-DD}options.csv", "o/23-01-03options.csv", None),
            ("o/{YYYYMMDD}.csv", "o/20230103.csv", DAY),
            ("o/{YYYYMMDD}.csv", "o/20231303.csv", None),
            ("o/{YYYY}/{YYYY-MM-DD}options.csv", "o/2023/2023-01-03options.csv", DAY),
            ("o/{YYYY}/x{YYYY}.csv", "o/2023/x2023.csv", None),
        ],
    )
    def test_dates_out_of_keys(self, text: str, key: str, date: dt.date | None) -> None:
        assert template(Dataset(key=text)).date_of(key) == date

    def test_a_year_said_twice_is_one_year(self) -> None:
        pattern = template(Dataset(key="o/{YYYY}/x{YYYY}.csv")).pattern
        assert pattern.fullmatch("o/2023/x2023.csv")
        assert not pattern.fullmatch("o/2023/x2022.csv")

    def test_special_characters_of_a_key_stand_for_themselves(self) -> None:
        made = template(Dataset(key="a+b (1)/{SYMBOL}[x].csv"))
        assert made.symbol_of("a+b (1)/KO[x].csv") == "KO"
        assert made.symbol_of("aab (1)/KOx.csv") is None

    @pytest.mark.parametrize("symbol", ["KO", "BRK.B", "BRK-B", "^GSPC", "ES=F"])
    def test_there_and_back(self, symbol: str) -> None:
        made = template(STOCKS)
        assert made.symbol_of(made.key(symbol=symbol)) == symbol


class TestSpellings:
    @pytest.mark.parametrize(
        ("symbol", "expected"),
        [
            ("AAPL", {"AAPL"}),
            ("BRK.B", {"BRK.B", "BRK-B", "BRK_B"}),
            ("BRK-B", {"BRK.B", "BRK-B", "BRK_B"}),
            ("A.B-C", {"A.B-C", "A.B.C", "A-B-C", "A_B_C"}),
        ],
    )
    def test_all_of_them_the_one_asked_for_first(self, symbol: str, expected: set[str]) -> None:
        found = spellings(symbol)
        assert found[0] == symbol
        assert set(found) == expected and len(found) == len(expected)


class TestSuggestions:
    KNOWN = ("AAPL", "AMZN", "APA", "APLS", "BRK-B", "GOOG", "GOOGL", "META", "MSFT", "SPY")

    @pytest.mark.parametrize(
        ("typed", "meant"),
        [("APPL", "AAPL"), ("AAPLX", "AAPL"), ("GOGL", "GOOGL"), ("MFST", "MSFT"),
         ("BRKB", "BRK-B"), ("META1", "META"), ("SPYY", "SPY")],
    )  # fmt: skip
    def test_the_symbol_that_was_meant_comes_first(self, typed: str, meant: str) -> None:
        found = suggest(typed, self.KNOWN)
        assert found[0] == meant
        assert len(found) <= 3 and len(set(found)) == len(found)

    def test_nothing_alike(self) -> None:
        assert suggest("QQQQQ", self.KNOWN) == ()
        error = symbol_not_found("QQQQQ", self.KNOWN, "dataset 'stocks'")
        assert "list_symbols()" in error.remedy and error.suggestions == ()

    def test_the_error_carries_them(self) -> None:
        error = symbol_not_found("APPL", self.KNOWN, "dataset 'stocks'")
        assert isinstance(error, SymbolNotFoundError)
        assert error.symbol == "APPL" and error.suggestions[0] == "AAPL"
        assert "Did you mean 'AAPL'" in str(error) and "dataset 'stocks'" in str(error)
        assert pickle.loads(pickle.dumps(error)).suggestions == error.suggestions


class TestDatasets:
    DATASETS = {
        "stocks": STOCKS,
        "minutes": Dataset(key="m/{SYMBOL}.csv", interval="5m"),
        "more": Dataset(key="n/{SYMBOL}.csv"),  # daily where nothing is said
        "copy": Dataset(key="c/{SYMBOL}.csv", interval="daily", duplicate_of="stocks"),
        "options": Dataset(key="o/{YYYY-MM-DD}.csv", kind="options"),
        "days": Dataset(key="d/{YYYY-MM-DD}.csv", kind="day_bars", interval="daily"),
    }

    def test_in_the_order_of_the_settings_without_copies(self) -> None:
        found = bars_datasets(self.DATASETS, "daily")
        assert [name for name, _ in found] == ["stocks", "more"]
        assert [name for name, _ in bars_datasets(self.DATASETS, "5m")] == ["minutes"]

    def test_what_is_not_held(self) -> None:
        with pytest.raises(ConfigurationError, match="no 1m bars") as caught:
            bars_datasets(self.DATASETS, "1m")
        assert "5m, daily" in caught.value.remedy
        with pytest.raises(ConfigurationError, match="no daily bars") as caught:
            bars_datasets({}, "daily")
        assert "none" in caught.value.remedy


class TestSource:
    @pytest.mark.parametrize(
        ("held", "wanted", "sources"),
        [
            (["daily"], "daily", ["daily"]),
            (["daily"], "weekly", ["daily"]),
            (["weekly", "daily"], "weekly", ["weekly", "daily"]),
            (["weekly", "daily"], "monthly", ["daily"]),
            (["5m"], "5m", ["5m"]),
            (["5m"], "1h", ["5m"]),
            (["1m", "5m", "15m"], "1h", ["15m", "5m", "1m"]),
            (["1m", "15m", "1h"], "30m", ["15m", "1m"]),
            (["30m", "5m"], "15m", ["5m"]),
            (["5m"], "1m", ["1m"]),  # cannot be made: the reader refuses it by its own name
            (["1h"], "30m", ["30m"]),
            (["daily"], "5m", ["5m"]),
            (["1m"], "daily", ["1m"]),
            (["1m", "daily", "1h"], "daily", ["daily", "1h", "1m"]),
            (["5m", "daily", "1h"], "monthly", ["daily", "1h", "5m"]),
            ([], "daily", ["daily"]),
        ],
    )
    def test_itself_then_the_longest_bars_that_make_it_up(
        self, held: list[str], wanted: str, sources: list[str]
    ) -> None:
        datasets = {name: Dataset(key=f"{name}/{{SYMBOL}}.csv", interval=name) for name in held}
        found = source_intervals(datasets, INTERVALS[wanted])
        assert [interval.name for interval in found] == sources

    def test_copies_and_other_kinds_do_not_count(self) -> None:
        datasets = {
            "copy": Dataset(key="c/{SYMBOL}.csv", interval="15m", duplicate_of="m"),
            "m": Dataset(key="m/{SYMBOL}.csv", interval="5m"),
            "day": Dataset(key="d/{YYYY-MM-DD}.csv", kind="day_bars", interval="30m"),
        }
        assert source_intervals(datasets, INTERVALS["1h"]) == [INTERVALS["5m"]]
