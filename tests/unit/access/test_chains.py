"""Filters, option symbols, typed columns and the implied spot, against values worked by hand."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.access.chains import (
    ChainFilter,
    chain_frame,
    implied_spot,
    one_contract,
    parse_contract,
    parse_filter,
    typed,
)
from stockdb.core.chains import Chain
from stockdb.core.parse import parse_options
from stockdb.errors import ConfigurationError, DataError, RangeError, StockDBError
from stockdb.settings import Dataset

DATE = dt.date(2023, 1, 3)
HEADER = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility\n"
)
#: The line that the bucket's description quotes.
QUOTED = "O:A230120C00050000,A,2023-01-20,call,50,A,98,13,101.6,13,,0,2023-01-03,,,,,\n"


def chain_of(text: str) -> Chain:
    dataset = Dataset(key="o/{YYYY-MM-DD}options.csv", kind="options")
    table = parse_options((HEADER + text).encode(), dataset, key="k.csv").table
    return Chain("A", DATE, table, None)  # type: ignore[arg-type]


def line(expiry: str, kind: str, strike: float, bid: Any, ask: Any, volume: Any = "") -> str:
    contract = f"A{expiry[2:].replace('-', '')}{kind[0].upper()}{round(strike * 1000):08d}"
    return f"{contract},A,{expiry},{kind},{strike},A,{bid},,{ask},,{volume},,2023-01-03,,,,,\n"


class TestTyped:
    def test_the_documented_line(self) -> None:
        frame = typed(chain_of(QUOTED).table, "A")
        (row,) = frame.to_dict("records")
        assert row["symbol"] == "A" and row["contract"] == "O:A230120C00050000"
        assert (row["expiration"], row["quote_date"]) == (
            pd.Timestamp("2023-01-20"),
            pd.Timestamp("2023-01-03"),
        )
        assert (row["dte"], row["type"], row["strike"], row["style"]) == (17, "call", 50.0, "A")
        assert (row["bid"], row["ask"], row["mid"]) == (98.0, 101.6, 99.8)
        assert row["spread"] == pytest.approx(3.6)
        assert math.isnan(row["volume"]) and row["open_interest"] == 0.0
        assert math.isnan(row["vendor_implied_volatility"])
        assert list(frame)[:10] == [
            "symbol", "contract", "expiration", "dte", "type", "strike", "bid", "ask", "mid",
            "spread",
        ]  # fmt: skip
        assert "underlying" not in frame and "delta" not in frame

    def test_types(self) -> None:
        kinds = typed(chain_of(QUOTED).table, "A").dtypes
        assert all(kinds[name] == "str" for name in ("symbol", "contract", "type", "style"))
        assert kinds["expiration"] == kinds["quote_date"] == "datetime64[ns]"
        assert kinds["dte"] == np.int64
        numbers = set(kinds.index) - {
            "symbol", "contract", "type", "style", "expiration", "quote_date", "dte",
        }  # fmt: skip
        assert all(kinds[name] == np.float64 for name in numbers)

    def test_blank_is_not_zero(self) -> None:
        rows = [line("2023-01-20", "call", 50 + n, 1, 2, v) for n, v in enumerate(("", 0, 7))]
        volume = typed(chain_of("".join(rows)).table, "A")["volume"]
        assert volume.isna().tolist() == [True, False, False] and volume[1:].tolist() == [0, 7]

    def test_a_quote_without_a_side_has_no_middle_and_a_bid_of_zero_is_a_side(self) -> None:
        quotes = (("", 2), (1, ""), (0, 2))
        rows = [line("2023-01-20", "call", 50 + n, *q) for n, q in enumerate(quotes)]
        frame = typed(chain_of("".join(rows)).table, "A")
        assert frame["mid"].isna().tolist() == [True, True, False] and frame["mid"][2] == 1.0
        assert frame["spread"].isna().tolist() == [True, True, False]

    def test_the_frame_may_be_written_to(self) -> None:
        chain = chain_of(QUOTED)
        frame = typed(chain.table, "A")
        frame.loc[0, "bid"] = 1.0
        assert chain.table["bid"][0].as_py() == 98.0


#: Spot 100, no carry: C - P = S - K. At 20 days C - P is exactly that; at 80 it is 3 above.
PARITY = "".join(
    line(day, "call", strike, call - 0.05, call + 0.05)
    + line(day, "put", strike, call - (100 - strike) - over - 0.05, call - (100 - strike)
           - over + 0.05)
    for day, over in (("2023-01-23", 0.0), ("2023-03-24", 3.0))
    for strike, call in ((80, 21.0), (90, 12.0), (100, 5.0), (110, 2.0), (120, 25.0))
)  # fmt: skip


class TestImpliedSpot:
    def test_by_hand(self) -> None:
        frame = typed(chain_of(PARITY).table, "A")
        assert implied_spot(frame) == pytest.approx(100.0)
        assert implied_spot(frame[frame["dte"] > 30]) == pytest.approx(103.0)

    def test_only_the_five_strikes_nearest_the_money_count(self) -> None:
        far = "".join(  # K + C - P is 190 to 205 here
            line("2023-01-23", "call", strike, 1.95, 2.05)
            + line("2023-01-23", "put", strike, 31.95, 32.05)
            for strike in (220, 225, 230, 235)
        )
        near = (
            PARITY + line("2023-01-23", "call", 60, 89.9, 90) + line("2023-01-23", "put", 60, 1, 2)
        )
        assert implied_spot(typed(chain_of(near + far).table, "A")) == pytest.approx(100.0)

    def test_quotes_that_say_nothing_are_left_out(self) -> None:
        junk = line("2023-01-10", "call", 50, 0, 9) + line("2023-01-10", "put", 50, 1, 1.5)
        crossed = line("2023-01-11", "call", 50, 9, 1) + line("2023-01-11", "put", 50, 1, 1.5)
        today = line("2023-01-03", "call", 50, 9, 10) + line("2023-01-03", "put", 50, 1, 1.5)
        frame = typed(chain_of(junk + crossed + today + PARITY).table, "A")
        assert implied_spot(frame) == pytest.approx(100.0)
        assert implied_spot(typed(chain_of(junk).table, "A")) is None
        assert implied_spot(typed(chain_of(QUOTED).table, "A")) is None

    def test_moneyness_goes_by_it(self) -> None:
        frame, spot = chain_frame(chain_of(PARITY), "A", parse_filter(moneyness=(0.9, 1.1)))
        assert spot == pytest.approx(100.0)
        assert set(frame["strike"]) == {90.0, 100.0, 110.0}
        with pytest.raises(DataError, match="implies no spot"):
            chain_frame(chain_of(QUOTED), "A", parse_filter(moneyness=(0.9, 1.1)))


class TestFilters:
    CHAIN = chain_of(
        "".join(
            line(day, kind, strike, 1, 2)
            for day in ("2023-01-20", "2023-02-17", "2025-01-17")
            for kind in ("call", "put")
            for strike in (90, 100, 104.29)
        )
    )

    def rows(self, **filters: Any) -> list[tuple[str, str, float]]:
        frame, _ = chain_frame(self.CHAIN, "A", parse_filter(**filters))
        assert list(frame.index) == list(range(len(frame)))
        days = frame["expiration"].dt.strftime("%y%m%d")
        return list(zip(days, frame["type"], frame["strike"], strict=True))

    @pytest.mark.parametrize(
        "filters, count",
        [
            ({}, 18),
            ({"expiration": "2023-02-17"}, 6),
            ({"expiration": ["2023-02-17", dt.date(2025, 1, 17)]}, 12),
            ({"expiration": pd.DatetimeIndex(["2023-02-17"])}, 6),
            ({"expiration": np.array(["2023-02-17"], "datetime64[D]")}, 6),
            ({"expiration": "2023-02-18"}, 0),
            ({"expiration": ("2023-01-20", "2023-12-31")}, 12),
            ({"expiration": ["2023-01-20", "2023-12-31"]}, 6),
            ({"expiration": ("2023-01-21", dt.date(2025, 1, 17))}, 12),
            ({"expiration": ("2023-02-17", "2023-02-17")}, 6),
            ({"expiration": ("2023-02-18", None)}, 6),
            ({"expiration": (None, "2023-02-16")}, 6),
            ({"expiration": (None, None)}, 18),
            ({"expiration": []}, 0),
            ({"dte": 17}, 6),  # 2023-01-03 to 01-20 are 17 days: included
            ({"dte": 16}, 0),
            ({"dte": np.int64(45)}, 12),
            ({"dte": (45, None)}, 12),
            ({"dte": [18, 45]}, 6),
            ({"dte": (None, None)}, 18),
            ({"option_type": "call"}, 9),
            ({"option_type": "P"}, 9),
            ({"option_type": "Puts"}, 9),
            ({"strikes": 100}, 6),
            ({"strikes": np.int64(100)}, 6),
            ({"strikes": Decimal("104.29")}, 6),
            ({"strikes": [90, 104.29, 7]}, 12),
            ({"strikes": {90}}, 6),
            ({"strikes": (90, 104.29)}, 18),
            ({"strikes": (90.01, None)}, 12),
            ({"strikes": []}, 0),
            ({"option_type": "call", "strikes": 90, "dte": (365, None)}, 1),
        ],
    )
    def test_what_is_left(self, filters: dict[str, Any], count: int) -> None:
        assert len(self.rows(**filters)) == count

    def test_combined(self) -> None:
        found = self.rows(option_type="put", strikes=(100, 104), expiration="2025-01-17")
        assert found == [("250117", "put", 100.0)]

    @pytest.mark.parametrize(
        "filters",
        [
            {"option_type": "straddle"},
            {"dte": (60, 30)},
            {"dte": (1, 2, 3)},
            {"dte": "30"},
            {"dte": math.nan},
            {"dte": True},
            {"dte": ("a", 3)},
            {"strikes": "150"},
            {"expiration": ("2023-02-17",)},
            {"expiration": ("2023-01-20", "2023-02-17", "2025-01-17")},
            {"strikes": (1,)},
            {"strikes": (5, 1)},
            {"strikes": ["x"]},
            {"strikes": [None]},
            {"moneyness": 1.0},
            {"moneyness": (1.1, 0.9)},
            {"moneyness": (math.nan, 1)},
        ],
    )
    def test_what_cannot_be_understood(self, filters: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            parse_filter(**filters)

    def test_an_expiration_that_is_no_date(self) -> None:
        with pytest.raises(RangeError):
            parse_filter(expiration="soon")
        with pytest.raises(RangeError):
            parse_filter(expiration=("2023-01-20", "soon"))
        with pytest.raises(RangeError, match="reversed"):
            parse_filter(expiration=("2023-02-17", "2023-01-20"))

    def test_none_takes_all(self) -> None:
        assert parse_filter() == ChainFilter()


class TestContract:
    @pytest.mark.parametrize(
        "text, root, name",
        [
            ("A020518C00015000", "A", "A020518C00015000"),  # 2002
            ("O:A230120C00050000", "A", "A230120C00050000"),  # 2023
            (" o:aapl230120p00150000 ", "AAPL", "AAPL230120P00150000"),
            ("AAPL1230120C00150000", "AAPL1", "AAPL1230120C00150000"),  # adjusted root
            ("O:BRK.B230120C00300000", "BRK.B", "BRK.B230120C00300000"),
            ("C230120C00050000", "C", "C230120C00050000"),
            ("P230120P00050000", "P", "P230120P00050000"),
        ],
    )
    def test_both_formats(self, text: str, root: str, name: str) -> None:
        assert parse_contract(text) == (root, name)

    @pytest.mark.parametrize(
        "text",
        [
            "", "AAPL", "230120C00050000", "A230120X00050000", "A230120C0005000",
            "A231320C00050000", "A230230C00050000", "X:A230120C00050000", None, 7,
            "A230120C000\u0665\u06650000",
        ],
    )  # fmt: skip
    def test_no_contract(self, text: Any) -> None:
        with pytest.raises(StockDBError):
            parse_contract(text)

    def test_one_contracts_days(self) -> None:
        frame = pd.DataFrame(
            {
                "quote_date": pd.to_datetime(["2023-01-04", "2023-01-03", "2023-01-03"]),
                "contract": ["A1", "O:A1", "O:A12"],
                "bid": [2.0, 1.0, 9.0],
            }
        )
        found = one_contract(frame, "A1")
        assert found["bid"].tolist() == [1.0, 2.0] and found.index.name == "quote_date"
        assert one_contract(frame, "B").attrs["stockdb"]["empty_reason"]
