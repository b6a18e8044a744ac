"""Every test of static arbitrage on chains written by hand; the figures are worked out beside."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pandas as pd
import pytest

from stockdb.errors import ConfigurationError, DataError
from stockdb.options.arbitrage import find_arbitrage, terms_of
from tests.unit.options.quoted import DAY, LATER, YEAR, chain, quote

RISKLESS = {"riskless", "riskless_declared"}


def legs(row: Any) -> list[tuple[str, int, str, float]]:
    return [(leg["side"], leg["ratio"], leg["type"], leg["strike"]) for leg in row["legs"]]


def only(frame: pd.DataFrame) -> Any:
    assert len(frame) == 1, frame[["kind", "class", "edge"]]
    return frame.iloc[0]


class TestPlanted:
    """One violation of a known size, nothing else in the chain."""

    def test_call_monotonicity(self) -> None:
        row = only(
            find_arbitrage(
                chain(
                    [
                        quote("call", 100, 9.90, 10.00, sizes=(3, 7)),
                        quote("call", 105, 10.60, 10.70, sizes=(12, 4)),
                    ]
                )
            )
        )
        assert (row["kind"], row["class"], row["style"]) == ("monotonicity", "riskless", "A")
        assert legs(row) == [("sell", 1, "call", 105), ("buy", 1, "call", 100)]
        # 10.60 - 10.00 - 2 x 0.65 / 100 = 0.587; 7 can be bought
        assert row["edge"] == pytest.approx(0.587, abs=1e-12)
        assert row["capacity"] == 7
        assert row["profit"] == pytest.approx(410.90, abs=1e-9)
        # a credit of 0.60 that owes no difference of strikes: what the bought calls cost
        assert row["capital"] == pytest.approx(7000.0, abs=1e-9)
        assert row["annualised"] == pytest.approx(0.0587, abs=1e-9)  # 365 days
        assert row["dte"] == 365
        assert row["survives_one_tick"]

    def test_put_monotonicity_across_expirations(self) -> None:
        row = only(
            find_arbitrage(
                chain([quote("put", 95, 6.00, 6.10), quote("put", 100, 5.30, 5.50, LATER)])
            )
        )
        assert row["kind"] == "monotonicity"
        assert legs(row) == [("sell", 1, "put", 95), ("buy", 1, "put", 100)]
        assert row["edge"] == pytest.approx(6.00 - 5.50 - 0.013, abs=1e-12)
        assert row["dte"] == 365  # when the sold one ends
        assert row["largest_dividend"] == 0.0  # a sold put owes none

    def test_nothing_where_the_long_expires_first(self) -> None:
        frame = find_arbitrage(
            chain([quote("put", 95, 6.00, 6.10, LATER), quote("put", 100, 5.30, 5.50)])
        )
        assert frame.empty
        assert frame.attrs["stockdb"]["empty_reason"]

    def test_call_slope(self) -> None:
        row = only(
            find_arbitrage(chain([quote("call", 100, 9.00, 9.10), quote("call", 105, 3.50, 3.60)]))
        )
        assert row["kind"] == "slope"
        assert legs(row) == [("sell", 1, "call", 100), ("buy", 1, "call", 105)]
        assert row["edge"] == pytest.approx(9.00 - 3.60 - 5.0 - 0.013, abs=1e-12)  # 0.387
        assert row["net_debit"] == pytest.approx(-5.40)
        assert row["capital"] == pytest.approx(5.0 * 100 * 10)  # the strikes' difference
        assert row["annualised"] == pytest.approx(0.387 / 5.0, abs=1e-9)

    def test_put_slope(self) -> None:
        row = only(
            find_arbitrage(chain([quote("put", 100, 3.50, 3.60), quote("put", 105, 9.00, 9.10)]))
        )
        assert row["kind"] == "slope"
        assert legs(row) == [("sell", 1, "put", 105), ("buy", 1, "put", 100)]
        assert row["edge"] == pytest.approx(0.387, abs=1e-12)

    def test_calendar(self) -> None:
        row = only(
            find_arbitrage(
                chain([quote("call", 100, 8.40, 8.50), quote("call", 100, 7.80, 8.00, LATER)])
            )
        )
        assert row["kind"] == "calendar"
        assert [leg["expiration"] for leg in row["legs"]] == [
            pd.Timestamp(YEAR),
            pd.Timestamp(LATER),
        ]
        assert row["edge"] == pytest.approx(0.387, abs=1e-12)
        assert math.isnan(row["largest_dividend"])  # dividends are unknown

    def test_butterfly_of_uneven_strikes(self) -> None:
        frame = find_arbitrage(
            chain(
                [
                    quote("call", 100, 11.80, 12.00, sizes=(9, 9)),
                    quote("call", 105, 10.00, 10.20, sizes=(20, 20)),
                    quote("call", 115, 2.80, 3.00, sizes=(9, 9)),
                ]
            )
        )
        row = only(frame)
        assert row["kind"] == "butterfly"
        # lambda = 10/15: ratios 10 : 15 : 5, over 5
        assert legs(row) == [
            ("buy", 2, "call", 100),
            ("sell", 3, "call", 105),
            ("buy", 1, "call", 115),
        ]
        # a package: 3 x 10 - 2 x 12 - 3 = 3; six contracts' fees 0.039
        assert row["edge"] == pytest.approx(2.961, abs=1e-12)
        # as the inequality is written: 10 - 2/3 x 12 - 1/3 x 3 - 2 x 0.0065
        assert row["edge_per_short"] == pytest.approx(0.987, abs=1e-12)
        assert row["capacity"] == 4  # 9 // 2
        assert row["profit"] == pytest.approx(1184.40, abs=1e-9)
        assert row["capital"] == pytest.approx(2700.0 * 4)

    def test_butterfly_with_later_wings(self) -> None:
        row = only(
            find_arbitrage(
                chain(
                    [
                        quote("put", 90, 3.80, 4.00, LATER),
                        quote("put", 100, 7.50, 7.70),
                        quote("put", 110, 9.80, 10.00, LATER),
                    ]
                )
            )
        )
        assert row["kind"] == "butterfly"
        assert row["edge"] == pytest.approx(2 * 7.50 - 4.00 - 10.00 - 0.026, abs=1e-12)
        assert row["dte"] == 365

    def test_put_ray(self) -> None:
        row = only(
            find_arbitrage(
                chain(
                    [
                        quote("put", 90, 5.00, 5.10, sizes=(55, 55)),
                        quote("put", 100, 5.10, 5.20, sizes=(55, 55)),
                    ]
                )
            )
        )
        assert row["kind"] == "put_ray"
        assert legs(row) == [("sell", 10, "put", 90), ("buy", 9, "put", 100)]
        assert row["edge"] == pytest.approx(10 * 5.0 - 9 * 5.2 - 19 * 0.0065, abs=1e-12)
        assert row["edge_per_short"] == pytest.approx(5 - 0.9 * 5.2 - 1.9 * 0.0065, abs=1e-12)
        assert row["capacity"] == 5

    def test_call_ray(self) -> None:
        row = only(
            find_arbitrage(
                chain(
                    [
                        quote("call", 40, 13.00, 13.10, sizes=(50, 50)),
                        quote("call", 50, 2.90, 3.00, sizes=(50, 50)),
                    ]
                ),
                terms_of(stock_bid=49.90, stock_ask=50.00),
            )
        )
        assert row["kind"] == "call_ray"
        assert [leg[:3] for leg in legs(row)] == [
            ("buy", 1, "stock"),
            ("sell", 5, "call"),
            ("buy", 4, "call"),
        ]
        # 13 - 0.2 x 50 - 0.8 x 3 = 0.6 for each call sold
        assert row["edge"] == pytest.approx(5 * 0.6 - 9 * 0.0065, abs=1e-12)

    def test_conversion_with_a_dividend(self) -> None:
        ex_date = DAY + dt.timedelta(days=100)
        row = only(
            find_arbitrage(
                chain([quote("call", 100, 12.00, 12.20), quote("put", 100, 6.80, 7.00)]),
                terms_of(
                    stock_bid=99.90, stock_ask=100.00, rate=0.05, dividends={str(ex_date): 4.0}
                ),
            )
        )
        assert (row["kind"], row["class"]) == ("conversion", "riskless_declared")
        # assigned at expiry: 100 e^-.05 + 4 e^(-.05 t) = 99.07; the night before the ex-date:
        # 100 e^(-.05 t) = 98.64, the least; the stock goes ex at the open of day 100
        t = (100 - 6.5 / 24) / 365
        least = min(100 * math.exp(-0.05) + 4 * math.exp(-0.05 * t), 100 * math.exp(-0.05 * t))
        assert least == pytest.approx(98.6431, abs=1e-4)
        assert row["edge"] == pytest.approx(12.0 - 7.0 - 100.0 + least - 0.013, abs=1e-5)
        assert row["net_debit"] == pytest.approx(95.0)
        assert row["capital"] == pytest.approx(95.0 * 100 * 10)
        assert any("rate" in text for text in row["disclosures"])

    def test_reversal(self) -> None:
        row = only(
            find_arbitrage(
                chain([quote("call", 100, 5.00, 5.20), quote("put", 100, 6.80, 7.00)]),
                terms_of(
                    stock_bid=100.0, stock_ask=100.1, rate=0.05, dividends={}, borrow_rate=0.002
                ),
            )
        )
        # the assigned put costs 100 at once at worst; borrow 0.2 a year
        assert (row["kind"], row["class"]) == ("reversal", "conditional")
        assert row["edge"] == pytest.approx(100 + 6.8 - 5.2 - 100 - 0.2 - 0.013, abs=1e-9)
        assert any("recall" in text for text in row["disclosures"])

    def test_call_floor_at_once(self) -> None:
        row = only(
            find_arbitrage(chain([quote("call", 80, 18.0, 19.0)]), terms_of(stock_bid=100.0))
        )
        assert (row["kind"], row["class"]) == ("call_floor", "riskless")
        assert row["edge"] == pytest.approx(100 - 80 - 19 - 0.0065, abs=1e-12)
        assert "exercise_now" in row["flags"]

    def test_call_floor_by_waiting(self) -> None:
        frame = find_arbitrage(
            chain([quote("call", 80, 20.0, 22.0)]),
            terms_of(stock_bid=100.0, rate=0.05, dividends=[]),
        )
        row = only(frame)
        # exercised at expiry: 100 - 80 e^-.05 - 22
        assert (row["kind"], row["class"]) == ("call_floor", "riskless_declared")
        assert row["edge"] == pytest.approx(100 - 80 * math.exp(-0.05) - 22 - 0.0065, abs=1e-9)
        assert "exercise_now" not in row["flags"]

    def test_put_floor(self) -> None:
        row = only(
            find_arbitrage(chain([quote("put", 120, 18.0, 19.0)]), terms_of(stock_ask=100.0))
        )
        assert (row["kind"], row["class"]) == ("put_floor", "riskless")
        assert row["edge"] == pytest.approx(120 - 100 - 19 - 0.0065, abs=1e-12)
        assert row["disclosures"] == []  # all is done at once
        assert row["explanation"] == (
            "ABC: buy 100 shares at 100.00, buy 2027-01-05 120 put at 19.00. The put costs less "
            "than exercising it with the bought stock brings. Exercise the put with the stock. "
            "At least 99.35 dollars a package are left after fees."
        )

    def test_call_cap(self) -> None:
        row = only(find_arbitrage(chain([quote("call", 1, 100.5, 101)]), terms_of(stock_ask=100.0)))
        assert (row["kind"], row["class"]) == ("call_cap", "riskless")
        assert row["edge"] == pytest.approx(0.5 - 0.0065, abs=1e-12)

    def test_put_cap(self) -> None:
        row = only(find_arbitrage(chain([quote("put", 50, 50.4, 51)])))
        assert row["kind"] == "put_cap"
        assert row["edge"] == pytest.approx(0.4 - 0.0065, abs=1e-12)
        assert row["capital"] == pytest.approx(50 * 100 * 10)  # the strike in cash

    def test_long_box(self) -> None:
        quotes = [
            quote("call", 100, 11.8, 12.0),
            quote("call", 110, 7.0, 7.2),
            quote("put", 100, 7.0, 7.2),
            quote("put", 110, 10.8, 11.0),
        ]
        row = only(find_arbitrage(chain(quotes), terms_of(rate=0.05)))
        assert (row["kind"], row["class"]) == ("long_box", "riskless")
        # pays 10 in a year; costs 12 - 7 + 11 - 7 = 9
        assert row["edge"] == pytest.approx(10 * math.exp(-0.05) - 9 - 0.026, abs=1e-12)
        assert {leg[:1] + leg[2:] for leg in legs(row)} == {
            ("buy", "call", 100),
            ("sell", "call", 110),
            ("sell", "put", 100),
            ("buy", "put", 110),
        }


SHORT_BOX = [
    ("call", 100, 13.0, 13.2),
    ("call", 110, 6.8, 7.0),
    ("put", 100, 6.8, 7.0),
    ("put", 110, 12.0, 12.2),
]


class TestStyles:
    def test_a_short_box_of_american_options_is_never_riskless(self) -> None:
        american = chain(quote(*item) for item in SHORT_BOX)
        assert find_arbitrage(american, terms_of(rate=0.05)).empty
        row = only(find_arbitrage(american, terms_of(rate=0.05), include_statistical=True))
        assert (row["kind"], row["class"]) == ("short_box", "statistical")
        assert any("early" in text for text in row["disclosures"])

    def test_a_short_box_of_european_options_is(self) -> None:
        european = chain(quote(*item, style="E") for item in SHORT_BOX)
        row = only(find_arbitrage(european, terms_of(rate=0.05)))
        assert (row["kind"], row["class"], row["style"]) == ("short_box", "riskless", "E")
        # brings 13 - 7 + 12 - 7 = 11, costs 10 in a year
        assert row["edge"] == pytest.approx(11 - 10 * math.exp(-0.05) - 0.026, abs=1e-12)
        assert row["capital"] == pytest.approx(10 * 100 * 10)

    def test_nothing_that_needs_early_exercise_on_european_options(self) -> None:
        frame = find_arbitrage(
            chain(
                [
                    quote("put", 100, 9.0, 9.2, style="E"),
                    quote("put", 100, 8.0, 8.2, LATER, style="E"),
                    quote("put", 130, 20.0, 20.2, LATER, style="E"),
                    quote("call", 60, 30.0, 30.2, LATER, style="E"),
                ]
            ),
            terms_of(stock_bid=100.0, stock_ask=100.0, rate=0.05, dividends=[]),
        )
        assert frame.empty
        skipped = {item["test"] for item in frame.attrs["stockdb"]["skipped"]}
        assert {"calendar", "call_floor", "put_floor", "put_ray", "call_ray"} <= skipped

    def test_european_slope_is_discounted(self) -> None:
        quotes = [quote("put", 100, 3.5, 3.6, style="E"), quote("put", 110, 13.3, 13.4, style="E")]
        row = only(find_arbitrage(chain(quotes), terms_of(rate=0.05)))
        assert row["kind"] == "slope"
        assert row["edge"] == pytest.approx(13.3 - 3.6 - 10 * math.exp(-0.05) - 0.013, abs=1e-12)
        assert find_arbitrage(chain(quotes)).empty  # 9.70 is below 10 undiscounted

    @pytest.mark.parametrize("root", ["SPX", "SPXW", "XSP", "VIX"])
    def test_index_options_are_european_where_the_file_is_silent(self, root: str) -> None:
        quotes = [
            quote("call", 100, 8.4, 8.5, root=root, style=""),
            quote("call", 100, 7.8, 8.0, LATER, root=root, style=""),
        ]
        assert find_arbitrage(chain(quotes)).empty

    def test_nobody_can_hold_the_vix(self) -> None:
        quotes = [
            quote("call", 20, 9.0, 9.1, root="VIX", style="E"),
            quote("put", 20, 1.0, 1.1, root="VIX", style="E"),
        ]
        terms = terms_of(stock_bid=18.0, stock_ask=18.1, rate=0.05, dividends=[])
        frame = find_arbitrage(chain(quotes), terms)
        assert frame.empty
        reasons = {item["test"]: item["reason"] for item in frame.attrs["stockdb"]["skipped"]}
        assert "future" in reasons["conversion"]

    def test_vix_against_its_own_future(self) -> None:
        quotes = [
            quote("call", 20, 3.0, 3.1, root="VIX", style="E"),
            quote("put", 20, 1.0, 1.1, root="VIX", style="E"),
        ]
        terms = terms_of(rate=0.05, futures={YEAR: (20.9, 21.0)})
        row = only(find_arbitrage(chain(quotes), terms))
        assert (row["kind"], row["class"]) == ("future_conversion", "riskless")
        assert legs(row) == [
            ("buy", 1, "future", pytest.approx(math.nan, nan_ok=True)),
            ("buy", 1, "put", 20),
            ("sell", 1, "call", 20),
        ]
        # 3.0 - 1.1 now, 20 - 21 at expiration
        assert row["edge"] == pytest.approx(1.9 - math.exp(-0.05) - 0.013, abs=1e-12)
        other = terms_of(rate=0.05, futures={YEAR: (23.0, 23.1)})
        row = only(find_arbitrage(chain(quotes), other))
        assert row["kind"] == "future_reversal"
        # 1.0 - 3.1 now, 23 - 20 at expiration
        assert row["edge"] == pytest.approx(3 * math.exp(-0.05) - 2.1 - 0.013, abs=1e-12)
        assert find_arbitrage(chain(quotes), terms_of(rate=0.05, futures={LATER: (23, 23)})).empty

    def test_european_conversion_waits_for_expiry(self) -> None:
        quotes = [quote("call", 100, 12.0, 12.2, style="E"), quote("put", 100, 6.8, 7.0, style="E")]
        terms = terms_of(stock_bid=99.9, stock_ask=100.0, rate=0.04, dividends={"2026-06-01": 4.0})
        row = only(find_arbitrage(chain(quotes), terms))
        t = (147 - 6.5 / 24) / 365
        worth = 100 * math.exp(-0.04) + 4 * math.exp(-0.04 * t)
        assert row["edge"] == pytest.approx(12 - 7 - 100 + worth - 0.013, abs=1e-6)


class TestInputs:
    def test_what_is_left_out_is_counted(self) -> None:
        quotes = [
            quote("call", 90, 0.0, 12.0),
            quote("call", 95, 11.0, 10.0),
            quote("call", 96, 10.0, 10.0),
            quote("call", 97, 9.0, 9.2, sizes=(0, 5)),
            quote("call", 98, 9.0, 9.2, root="ABC1"),
            quote("call", 99, 9.0, 9.2),
            quote("call", 99, 9.0, 9.2),
            quote("call", 100, 8.5, 8.7),
            quote("call", 100, 9.5, 9.7),
            quote("call", 101, 8.0, 8.2, quote_date=pd.Timestamp("2026-01-02")),
            quote("call", 102, 8.0, float("nan")),
        ]
        frame = find_arbitrage(chain(quotes))
        assert frame.empty
        assert frame.attrs["stockdb"]["dropped"] == {
            "wrong_quote_date": 1,
            "adjusted_root": 1,
            "no_quote": 1,
            "zero_bid": 1,
            "crossed": 1,
            "locked": 1,
            "zero_size": 1,
            "duplicate": 1,
            "conflicting_duplicates": 2,
        }
        errors = frame.attrs["stockdb"]["data_errors"]
        assert errors["crossed"] == ["O:ABC270105C00095000"]
        assert errors["locked"] == ["O:ABC270105C00096000"]
        assert errors["conflicting_duplicates"] == ["O:ABC270105C00100000"] * 2

    def test_mids_are_refused(self) -> None:
        quotes = [quote("call", 100 + k, 10 - k / 3, 10 - k / 3) for k in range(12)]
        with pytest.raises(DataError, match="bid equals ask"):
            find_arbitrage(chain(quotes))

    def test_mids_would_find_what_quotes_do_not(self) -> None:
        wide = chain([quote("call", 100, 9.0, 11.0), quote("call", 105, 9.5, 11.5)])
        assert wide.loc[1, ["bid", "ask"]].mean() > wide.loc[0, ["bid", "ask"]].mean()
        assert find_arbitrage(wide).empty

    def test_a_chain_without_quotes_is_refused(self) -> None:
        frame = chain([quote("call", 100, 9.0, 9.1)]).drop(columns="bid").assign(mid=9.05)
        with pytest.raises(DataError, match="no column bid"):
            find_arbitrage(frame)

    def test_without_sizes_one_package_is_counted(self) -> None:
        nan = float("nan")
        quotes = [
            quote("call", 100, 9.90, 10.00, sizes=(nan, nan)),
            quote("call", 105, 10.60, 10.70, sizes=(nan, nan)),
        ]
        row = only(find_arbitrage(chain(quotes)))
        assert row["capacity"] == 1
        assert "size_unknown" in row["flags"]
        assert row["profit"] == pytest.approx(58.70)

    def test_one_tick_worse(self) -> None:
        quotes = [quote("call", 100, 10.00, 10.05), quote("call", 105, 10.10, 10.15)]
        row = only(find_arbitrage(chain(quotes)))  # 0.037; five-cent steps
        assert not row["survives_one_tick"]
        assert only(find_arbitrage(chain(quotes), tick=0.01))["survives_one_tick"]

    def test_fees_decide(self) -> None:
        quotes = chain([quote("call", 100, 9.9, 10.0), quote("call", 105, 10.01, 10.1)])
        assert find_arbitrage(quotes).empty
        assert len(find_arbitrage(quotes, terms_of(fees_per_contract=0.0))) == 1

    def test_flags_of_quotes(self) -> None:
        quotes = [
            quote("call", 100, 0.50, 1.00, volume=0.0, open_interest=0.0),
            quote("call", 105, 1.60, 1.70),
        ]
        assert {"wide_spread", "dead_quote"} <= set(only(find_arbitrage(chain(quotes)))["flags"])
        nan = float("nan")
        for volume, interest, dead in ((nan, 0.0, True), (nan, nan, False), (nan, 3.0, False)):
            quotes[0] |= {"volume": volume, "open_interest": interest}
            assert ("dead_quote" in only(find_arbitrage(chain(quotes)))["flags"]) == dead

    def test_skipped_tests_say_why(self) -> None:
        note = find_arbitrage(chain([quote("call", 100, 9.0, 9.1)])).attrs["stockdb"]
        reasons = {item["test"]: item["reason"] for item in note["skipped"]}
        assert "rate" in reasons["long_box"]
        assert "stock" in reasons["call_floor"]
        assert "rate" in reasons["conversion"] and "stock" in reasons["conversion"]
        assert "dividends" in reasons["reversal"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"stock_bid": 101.0, "stock_ask": 100.0},
            {"stock_bid": -1.0},
            {"fees_per_contract": -1.0},
            {"rate": 4.5},
        ],
    )
    def test_what_cannot_be_is_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ConfigurationError):
            terms_of(**wrong)

    def test_two_underlyings_are_refused(self) -> None:
        frame = chain([quote("call", 100, 9.0, 9.1), quote("call", 105, 6.0, 6.1, symbol="DEF")])
        with pytest.raises(DataError, match="more than one underlying"):
            find_arbitrage(frame)
