"""Rate curves and dividend schedules."""

from __future__ import annotations

import datetime as dt
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import ConfigurationError, DataError, RangeError
from stockdb.options.market import DividendSchedule, RateCurve, year_fraction


def test_a_number_is_a_flat_curve() -> None:
    curve = RateCurve.of(0.05)
    assert curve.rate(0.1) == curve.rate(30.0) == 0.05
    assert curve.discount(2.0) == pytest.approx(0.9048374180359595)  # exp(-0.1)


def test_a_mapping_is_linear_between_its_tenors_and_flat_outside() -> None:
    curve = RateCurve.of({2.0: 0.05, "6m": 0.02})
    np.testing.assert_allclose(curve.rate([0.1, 0.5, 1.25, 2, 9]), [0.02, 0.02, 0.035, 0.05, 0.05])
    np.testing.assert_allclose(curve.discount(np.array([[2.0]])), [[np.exp(-0.1)]])


def test_a_series_and_a_curve_are_taken_as_they_are() -> None:
    curve = RateCurve.of(pd.Series({"1y": 0.03, "3mo": 0.01}))
    assert curve.tenors == (0.25, 1.0)
    assert RateCurve.of(curve) is curve


def test_treasury_yields_are_stripped_so_that_a_par_bond_prices_at_par() -> None:
    row = pd.Series({"DGS3MO": 4.0, "DGS6MO": 4.4, "DGS1": 4.8, "DGS2": 5.2, "DFF": 9.0})
    row.name = pd.Timestamp("2023-01-03")
    curve = RateCurve.from_treasury(row)
    assert curve.as_of == dt.date(2023, 1, 3)
    assert curve.discount(0.25) == pytest.approx(1 / (1 + 0.04 / 4), abs=1e-12)
    assert curve.discount(0.5) == pytest.approx(1 / (1 + 0.044 / 2), abs=1e-12)
    one = 0.024 * (curve.discount(0.5) + curve.discount(1.0)) + curve.discount(1.0)
    assert one == pytest.approx(1.0, abs=1e-12)
    # The coupon at 1.5 years is discounted between two tenors: linear rates cost 1e-5 there.
    paid = sum(0.026 * curve.discount(t) for t in (0.5, 1.0, 1.5, 2.0)) + curve.discount(2.0)
    assert paid == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize("name", ["1m", "1mo", "DGS1MO", "1 Mo", "1 month", "BC_1MONTH"])
def test_spellings_of_a_month(name: str) -> None:
    assert RateCurve.from_treasury({name: 1.2}).tenors == (1 / 12,)


@pytest.mark.parametrize("name", ["10y", "DGS10", "10 Yr", "10year", "BC_10YEAR"])
def test_spellings_of_ten_years(name: str) -> None:
    assert RateCurve.from_treasury({name: 1.2}).tenors == (10.0,)


@pytest.mark.parametrize(
    "row", [{}, {"date": "2023-01-03", "SOFR": 4.3}, {"1y": float("nan")}, {"10": 3.0}]
)
def test_a_row_without_yields_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(DataError, match="no Treasury yield"):
        RateCurve.from_treasury(row)


@pytest.mark.parametrize(
    "value", [4.5, {1.0: 4.5}, float("nan"), {}, "0.05", None, True, {"x": 0.1}, {1.0: "a"}]
)
def test_what_is_no_curve_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError):
        RateCurve.of(value)


def test_dividends_count_from_the_close_to_the_open_of_the_ex_date() -> None:
    schedule = DividendSchedule.of({"2023-02-10": 0.23, "2023-05-12": 0.24, "2022-11-04": 0.23})
    assert schedule.ex_dates[0] == dt.date(2022, 11, 4)
    found = schedule.until("2023-01-31", "2023-05-12")
    assert [amount for _, amount in found] == [0.23, 0.24]
    assert found[0][0] == pytest.approx((10 - 6.5 / 24) / 365, abs=1e-6)
    assert found[1][0] < year_fraction("2023-01-31", "2023-05-12")


def test_a_dividend_of_the_quote_date_is_already_paid() -> None:
    assert DividendSchedule.of({"2023-02-10": 0.23}).until("2023-02-10", "2024-01-19") == ()


def test_dividends_come_as_frame_series_or_pairs() -> None:
    frame = pd.DataFrame({"ex_date": pd.to_datetime(["2023-02-10"]), "amount": [0.23]})
    expected = DividendSchedule((dt.date(2023, 2, 10),), (0.23,))
    assert DividendSchedule.of(frame) == expected
    assert DividendSchedule.of(frame.set_index("ex_date")) == expected
    assert DividendSchedule.of(frame.set_index("ex_date")["amount"]) == expected
    assert DividendSchedule.of([(dt.date(2023, 2, 10), 0.23)]) == expected
    assert DividendSchedule.of([]).until("2023-01-01", "2033-01-01") == ()


def test_two_dividends_of_one_day_are_added_up() -> None:
    both = [("2023-02-10", 0.25), ("2023-02-10", 1.0)]
    assert DividendSchedule.of(both).amounts == (1.25,)


@pytest.mark.parametrize("value", ["2023-02-10", 3, None, [1, 2], [("2023-02-10", -1.0)]])
def test_what_is_no_schedule_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError):
        DividendSchedule.of(value)


def test_an_ex_date_that_is_no_date_is_refused() -> None:
    with pytest.raises(RangeError):
        DividendSchedule.of({"soon": 0.25})


def test_both_survive_pickling_and_describe_themselves_as_json() -> None:
    curve = RateCurve.of({"6m": 0.02}, "treasury", "2023-01-03")
    schedule = DividendSchedule.of({"2023-02-10": 0.23})
    for item in (curve, schedule):
        assert pickle.loads(pickle.dumps(item)) == item
        with pytest.raises(AttributeError):
            item.source = "me"  # type: ignore[misc]
    assert json.loads(json.dumps(curve.describe()))["as_of"] == "2023-01-03"
    assert json.loads(json.dumps(schedule.describe()))["ex_dates"] == ["2023-02-10"]
