"""Files of options whose rows say another date than their name: the date asked for decides."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from leaps_data_integration import LEAPSDataIntegration
from minio_data_integration import MinIODataIntegration
from stockdb.errors import DataError, NotFoundError
from stockdb.options.arbitrage import find_arbitrage
from tests.contract.test_leaps_arbitrage import HEADER, REFERENCE, line
from trading_data_adapter import TradingDataAdapter

FRIDAY, MONDAY, TUESDAY = "2026-01-02", "2026-01-05", "2026-01-06"
EXPIRATION = "2027-01-05"
OTHERS = "rows of ABC in the options file of"


def strip(day: str, *strikes: int) -> list[str]:
    """Fair quotes of a stock at 100 and their file's lines, a call and a put a strike."""
    fair = {90: (17.4, 3.0), 100: (11.0, 6.1), 110: (6.4, 11.0)}
    return [
        line(kind, strike, middle - 0.1, middle + 0.1).replace(MONDAY, day)
        for strike in strikes
        for kind, middle in zip(("call", "put"), fair[strike], strict=True)
    ]


def key(day: str) -> str:
    return f"options-complete/{day}options.csv"


#: A call of 120 for more than the one of 110 costs: what Friday's row would be sold for.
LATE = line("call", 120, 8.0, 8.2).replace(MONDAY, FRIDAY)
WRONG = "".join([HEADER, *strip(FRIDAY, 90, 100, 110)])
MOSTLY = "".join([HEADER, *strip(FRIDAY, 90, 100), LATE, *strip(MONDAY, 110)])
SOME = "".join([HEADER, *strip(MONDAY, 90, 100, 110), LATE])


@pytest.fixture(scope="module")
def open_with(module_clients: Any, make_bucket: Callable[..., str]) -> Callable[..., Any]:
    def make(files: dict[str, str]) -> MinIODataIntegration:
        held = {key(day): content.encode() for day, content in files.items()}
        client: MinIODataIntegration = module_clients(make_bucket({**held, **REFERENCE}))
        return client

    return make


@pytest.fixture(scope="module")
def wrong(open_with: Callable[..., Any]) -> MinIODataIntegration:
    client: MinIODataIntegration = open_with({MONDAY: WRONG})
    return client


@pytest.fixture(scope="module")
def some(open_with: Callable[..., Any]) -> MinIODataIntegration:
    friday = "".join([HEADER, *strip(FRIDAY, 90, 100, 110)])
    client: MinIODataIntegration = open_with({FRIDAY: friday, MONDAY: SOME})
    return client


class TestAllOfAnother:
    @pytest.mark.parametrize("date", [MONDAY, None])
    def test_a_raw_chain_is_given_and_says_it(
        self, wrong: MinIODataIntegration, date: str | None
    ) -> None:
        with pytest.warns(UserWarning, match=f"6 of 6 {OTHERS} {MONDAY}") as caught:
            chain = wrong.get_option_chain("ABC", date)
        assert caught[0].filename == __file__
        assert set(chain["quote_date"]) == {pd.Timestamp(FRIDAY)}
        note = chain.attrs["stockdb"]
        assert (note["file_date"], note["other_quote_dates"]) == (MONDAY, 6)

    @pytest.mark.parametrize("date", [MONDAY, None])
    def test_nothing_is_found_in_it(self, wrong: MinIODataIntegration, date: str | None) -> None:
        with pytest.warns(UserWarning, match=OTHERS):
            frame = LEAPSDataIntegration(wrong).find_arbitrage_opportunities("ABC", date)
        assert frame.empty
        note = frame.attrs["stockdb"]
        assert note["dropped"] == {"wrong_quote_date": 6}
        assert note["empty_reason"] == "no quote can be traded at: 6 wrong_quote_date"
        assert note["other_quote_dates"] == 6

    def test_it_has_no_numbers(self, wrong: MinIODataIntegration) -> None:
        leaps = LEAPSDataIntegration(wrong)
        with pytest.warns(UserWarning, match=OTHERS):
            chain = leaps.get_leaps_chain("ABC", MONDAY, 0, spot=100.0)
        assert len(chain) == 6
        assert set(chain["reason"]) == {"wrong_quote_date"}
        assert chain["iv"].isna().all()
        with pytest.warns(UserWarning, match=OTHERS):
            trades = leaps.find_synthetic_positions("ABC", MONDAY)
        assert trades.empty
        assert "wrong_quote_date" in trades.attrs["stockdb"]["empty_reason"]

    def test_it_prices_no_position(self, wrong: MinIODataIntegration) -> None:
        book = LEAPSDataIntegration(wrong)
        with pytest.warns(UserWarning, match=OTHERS), pytest.raises(NotFoundError):
            book.analyze_portfolio({"ABC270105C00100000": 1}, MONDAY)

    def test_a_range_without_another_day_fails(self, wrong: MinIODataIntegration) -> None:
        with pytest.raises(DataError, match="All 6 rows of ABC"):
            wrong.get_options_data("ABC", MONDAY, MONDAY)

    @pytest.mark.parametrize("algorithm", ["options_flow", "leaps_arbitrage"])
    def test_algorithms_take_no_row_of_it(
        self, wrong: MinIODataIntegration, algorithm: str
    ) -> None:
        with pytest.raises(DataError, match="All 6 rows of ABC"):
            TradingDataAdapter(wrong).get_data_for_algorithm(algorithm, "ABC", lookback_days=1)


def test_most_rows_do_not_outvote_the_name(open_with: Callable[..., Any]) -> None:
    leaps = LEAPSDataIntegration(open_with({MONDAY: MOSTLY}))
    with pytest.warns(UserWarning, match=f"5 of 7 {OTHERS} {MONDAY}"):
        frame = leaps.find_arbitrage_opportunities("ABC")
    assert frame.attrs["stockdb"]["dropped"] == {"wrong_quote_date": 5}
    assert frame.empty
    with pytest.warns(UserWarning, match=OTHERS):
        chain = leaps.get_leaps_chain("ABC", None, 0, spot=100.0, rate=0.04)
    mine = chain["quote_date"] == pd.Timestamp(MONDAY)
    assert (chain["reason"] == "wrong_quote_date").tolist() == (~mine).tolist()
    assert chain.loc[mine, "iv"].between(0.1, 0.5).all()


class TestSomeOfAnother:
    def test_a_late_row_makes_no_opportunity(self, some: MinIODataIntegration) -> None:
        leaps = LEAPSDataIntegration(some)
        with pytest.warns(UserWarning, match=f"1 of 7 {OTHERS} {MONDAY}"):
            frame = leaps.find_arbitrage_opportunities("ABC", MONDAY)
        assert frame.empty
        assert frame.attrs["stockdb"]["dropped"] == {"wrong_quote_date": 1}
        # were it of Monday, it would be sold against the call of 110
        with pytest.warns(UserWarning, match=OTHERS):
            chain = some.get_option_chain("ABC", MONDAY)
        assert find_arbitrage(chain).empty
        known = chain.assign(quote_date=pd.Timestamp(MONDAY))
        assert "monotonicity" in set(find_arbitrage(known)["kind"])

    def test_a_range_leaves_it_out(self, some: MinIODataIntegration) -> None:
        with pytest.warns(UserWarning, match=f"1 rows of ABC.*left out.*{MONDAY}"):
            frame = some.get_options_data("ABC", FRIDAY, MONDAY)
        assert frame.groupby("quote_date").size().to_dict() == {
            pd.Timestamp(FRIDAY): 6,
            pd.Timestamp(MONDAY): 6,
        }
        assert frame.attrs["stockdb"]["other_quote_dates"] == 1

    def test_algorithms_leave_it_out_and_count_it(self, some: MinIODataIntegration) -> None:
        adapter = TradingDataAdapter(some)
        frame = adapter.get_data_for_algorithm("leaps_arbitrage", "ABC", lookback_days=2)
        names = frame.xs(pd.Timestamp(MONDAY), level="date").index.get_level_values("contract")
        assert sorted({name[9] + name[-6:-3] for name in names}) == [
            f"{kind}{strike:03d}" for kind in "CP" for strike in (90, 100, 110)
        ]
        assert frame.attrs["stockdb"]["chains"]["ABC"]["other_quote_dates"] == 1


def test_a_file_of_its_own_day_says_nothing(some: MinIODataIntegration) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        chain = some.get_option_chain("ABC", FRIDAY)
    assert chain.attrs["stockdb"]["other_quote_dates"] == 0
