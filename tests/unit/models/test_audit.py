"""Leaks that were planted are found, named and measured; clean functions are not accused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import ConfigurationError, DataError
from stockdb.models import audit as audit_all
from stockdb.models.findings import AuditReport
from stockdb.processing.indicators import indicator
from stockdb.processing.momentum import MOMENTUM
from tests.unit.processing.bars import bars, many

FLAT, LONG = bars(420), many(3, 320)
FIFTEEN_YEARS = bars(3770)


def audit(function: Any, data: Any, cuts: int | None = 30, **options: Any) -> AuditReport:
    """At few dates, where that is enough."""
    return audit_all(function, data, cuts=cuts, **options)


def clean(frame: pd.DataFrame) -> pd.DataFrame:
    close = frame["close"]
    return pd.DataFrame({"over": close / close.rolling(20).mean(), "ret": close.pct_change()})


def of_each(function: Any) -> Any:
    def compute(frame: pd.DataFrame) -> Any:
        return frame.groupby(level=0, group_keys=False).apply(function)

    return compute


def test_clean_functions_pass() -> None:
    report = audit(clean, FLAT, warmup=19)
    assert report and report.ok
    assert len(report) == 0 and list(report) == []
    tests = ("prefix", "perturb", "argument", "training", "look_back", "later_event")
    assert report.tests == tests
    assert report.skipped["other_symbols"] == "the data have one symbol"
    assert report.skipped["label_reach"] == "no labels are named"
    long = audit(of_each(clean), LONG, warmup=19)
    assert long.ok, str(long)
    assert {"other_symbols", "alone", "training"} <= set(long.tests)
    assert audit(clean, LONG, by_symbol=True, warmup=19).ok


@pytest.mark.parametrize("name", ["rsi_14", "adx_14", "natr_14", "obv_diff", "hurst"])
def test_columns_of_the_library_pass(name: str) -> None:
    rows = 1000 if name == "adx_14" else 480
    report = audit(indicator(name), bars(rows))
    assert report.ok, str(report)
    assert "look_back" in report.tests


@pytest.mark.parametrize(("window", "reach"), [(53, 26), (11, 5), (3, 1)])
def test_a_centred_window(window: int, reach: int) -> None:
    def centred(frame: pd.DataFrame) -> pd.Series:
        return frame["close"] / frame["close"].rolling(window, center=True).mean()

    report = audit(centred, FLAT)
    assert not report
    found = {leak.test: leak for leak in report.leaks}
    assert {"prefix", "perturb"} <= set(found)
    for test in ("prefix", "perturb"):
        assert found[test].column == "close"
        assert found[test].reach == reach
        assert f"reads {reach} bar" in found[test].detail
    row = FLAT.index.get_loc(found["perturb"].date)
    later = FLAT.index[row + reach]
    # That bar is the first that was changed: the rows before this one read none of them.
    assert later > found["perturb"].date
    assert f"reads {reach} bar" in str(report)
    assert list(report) == list(report.leaks) and len(report) == len(report.leaks)
    assert report.to_frame()["reach"].iloc[0] == reach


def test_a_scaler_of_the_full_sample() -> None:
    def scaled(frame: pd.DataFrame) -> pd.DataFrame:
        change = frame["close"].pct_change()
        return pd.DataFrame({"clean": change, "scaled": (change - change.mean()) / change.std()})

    report = audit(scaled, FLAT)
    assert {leak.column for leak in report.leaks} == {"scaled"}
    assert {"prefix", "perturb", "training"} <= {leak.test for leak in report.leaks}
    assert "the whole sample" in str(report)
    (trained,) = [leak for leak in report.leaks if leak.test == "training"]
    assert "where valid begins" in trained.detail


def test_a_window_across_symbols() -> None:
    def across(frame: pd.DataFrame) -> pd.Series:
        return frame["close"] / frame["close"].rolling(20).mean()

    report = audit(across, LONG)
    tests = {leak.test: leak for leak in report.leaks}
    assert {"other_symbols", "alone"} <= set(tests)
    assert tests["alone"].symbol == "S1"
    assert tests["alone"].date == LONG.loc["S1"].index[0]
    assert "by_symbol=True" in str(report)
    assert audit(across, LONG, by_symbol=True).ok


def test_what_compares_symbols_within_a_date_may() -> None:
    def rank(frame: pd.DataFrame) -> pd.DataFrame:
        change = frame.groupby(level=0)["close"].pct_change()
        by_date = change.groupby(level=1)
        return pd.DataFrame({"xs_rank": by_date.rank(), "mine": by_date.rank(pct=True)})

    assert audit(rank, LONG, cross_sectional=["mine"]).ok
    report = audit(rank, LONG)
    assert {leak.column for leak in report.leaks} == {"mine"}

    def later(frame: pd.DataFrame) -> pd.DataFrame:  # compares with other dates
        change = frame.groupby(level=0)["close"].pct_change()
        return pd.DataFrame({"xs_z": change - change.mean()})

    assert not audit(later, LONG).ok


def test_too_short_a_warm_up() -> None:
    def slow(frame: pd.DataFrame) -> pd.Series:
        return frame["close"] / frame["close"].ewm(span=26, adjust=False).mean()

    report = audit(slow, FLAT, warmup=60)
    assert [leak.test for leak in report.leaks] == ["look_back"]
    assert "more than 60 bars" in str(report)
    assert audit(slow, FLAT, warmup=326).ok


def test_levels_change_with_a_later_split() -> None:
    def level(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"level": frame["close"].rolling(5).mean()})

    report = audit(level, FLAT)
    assert [leak.test for leak in report.leaks] == ["later_event"]
    assert "later split" in str(report)
    assert audit(level, FLAT, scale_free=()).ok
    assert audit(indicator("sma_20"), FLAT).ok


def test_labels_may_read_ahead_as_far_as_they_say() -> None:
    def labelled(frame: pd.DataFrame) -> pd.DataFrame:
        close = frame["close"]
        return clean(frame).assign(mine=close.shift(-6) / close.shift(-1) - 1)

    assert audit(labelled, FLAT, labels={"mine": 6}).ok
    report = audit(labelled, FLAT, labels={"mine": 5})
    assert [str(leak.test) for leak in report.leaks] == ["label_reach"]
    assert "reads 6 bars ahead and says 5" in str(report)
    assert {leak.column for leak in audit(labelled, FLAT).leaks} == {"mine"}


def test_xs_columns_of_the_library() -> None:
    rank = next(column for column in MOMENTUM if column.name == "xs_rank")
    assert audit(rank, many(3, 360)).ok


def test_short_and_bare_data() -> None:
    short = audit(clean, FLAT.iloc[:40])
    assert short.ok and short.skipped["training"] == "40 dates are too few to be split"
    assert audit(clean, FLAT.iloc[:60]).tests[3] == "training"
    bare = FLAT.rename(columns={"close": "price"})
    report = audit(lambda frame: frame["price"].shift(-2) / frame["price"], bare)
    assert report.skipped["training"] == "the data have no close to make a label of"
    assert {leak.reach for leak in report} == {2}


def test_errors() -> None:
    with pytest.raises(DataError, match="with the index it was given"):
        audit(lambda frame: frame["close"].dropna().iloc[5:], FLAT)
    with pytest.raises(DataError, match="Too few bars"):
        audit(clean, FLAT.iloc[:2])
    with pytest.raises(DataError):
        audit(lambda frame: np.zeros(len(frame)), FLAT)  # type: ignore[arg-type,return-value]


def wednesdays(frame: pd.DataFrame) -> pd.Series:
    change = frame["close"].pct_change()
    return change.where(frame.index.day_of_week != 2).bfill()


def filled_warm_up(frame: pd.DataFrame) -> pd.Series:
    return (frame["close"] / frame["close"].rolling(200).mean() - 1).bfill()


def mean_of_the_beginning(frame: pd.DataFrame) -> pd.Series:
    change = frame["close"].pct_change()
    change.iloc[:500] = change.iloc[:500].mean()
    return change


def one_month(frame: pd.DataFrame) -> pd.Series:
    change = frame["close"].pct_change()
    january = (frame.index.year == 2018) & (frame.index.month == 1)
    return change.where(~january, change.shift(-1))


def ends_of_months(frame: pd.DataFrame) -> pd.Series:
    change, month = frame["close"].pct_change(), frame.index.month
    last = np.r_[month[1:] != month[:-1], False]
    return change.where(~last, change.shift(-1))


REACH = {
    wednesdays: 1,
    filled_warm_up: 199,
    mean_of_the_beginning: 499,
    one_month: 1,
    ends_of_months: 1,
}
LEAKS_IN_FEW_ROWS = list(REACH)


class TestLeaksInFewRows:
    """Five dates, spread over the end, see none of these."""

    @pytest.mark.parametrize(("leaking", "reach"), REACH.items())
    def test_are_found_and_measured(self, leaking: Any, reach: int) -> None:
        report = audit_all(leaking, FIFTEEN_YEARS)
        assert not report.ok
        (leak,) = [leak for leak in report.leaks if leak.test == "prefix"]
        assert leak.reach == reach
        if leaking is wednesdays:
            assert leak.date.day_name() == "Wednesday"
        if leaking is one_month:
            assert f"{leak.date:%Y-%m}" == "2018-01"

    def test_with_few_cuts(self) -> None:
        """Those that are tried first see what happens on certain days, and at the beginning."""
        for leaking in (wednesdays, filled_warm_up, mean_of_the_beginning, ends_of_months):
            assert not audit(leaking, FIFTEEN_YEARS, cuts=20).ok

    def test_a_label_that_reads_farther_in_few_rows(self) -> None:
        def labelled(frame: pd.DataFrame) -> pd.DataFrame:
            close, place = frame["close"], np.arange(len(frame))
            few = (place >= 200) & (place < 206)
            label = (close.shift(-6) / close).where(~few, close.shift(-10) / close)
            return pd.DataFrame({"ret": close.pct_change(), "mine": label})

        (leak,) = audit_all(labelled, FLAT, labels={"mine": 6})
        assert (leak.test, leak.reach) == ("label_reach", 10)
        assert FLAT.index.get_loc(leak.date) in range(200, 206)
        assert "reads 10 bars ahead and says 6" in leak.detail


class TestCoverage:
    def test_all_dates_of_a_quick_function(self) -> None:
        report = audit(clean, FLAT, cuts=1000)
        assert report.dates == report.cuts["prefix"] == 419 and report.coverage == 1.0
        assert "dates tried: 419 of 419 (100 %)" in str(report)
        assert "would not be seen" not in str(report) and not report.settled

    def test_what_was_not_tried_is_told(self) -> None:
        report = audit(clean, FLAT, cuts=7)
        assert report.ok and report.cuts == {"prefix": 7, "perturb": 7}
        assert report.coverage == pytest.approx(7 / 419)
        assert "dates tried: 7 of 419 (1.67 %); a leak confined to dates that were" in str(report)

    @pytest.mark.parametrize(("seconds", "tried"), [(0.2, 40), (0.0625, 65), (0.015625, 257)])
    def test_a_slow_function_is_tried_at_fewer(
        self, monkeypatch: pytest.MonkeyPatch, seconds: float, tried: int
    ) -> None:
        """Four seconds for prefix, but 40 dates at least; one second and 20 for perturb."""
        now = [0.0]
        monkeypatch.setattr("time.perf_counter", lambda: now[0])

        def slow(frame: pd.DataFrame) -> pd.Series:
            now[0] += seconds
            return frame["close"].pct_change()

        cuts = audit_all(slow, FLAT).cuts
        assert cuts == {"prefix": tried, "perturb": max(20, int(1 / seconds) + 1)}

    def test_a_leak_in_every_column_ends_the_search(self) -> None:
        def one_of_two(frame: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"clean": frame["close"], "leak": frame["close"].shift(-1)})

        both = audit(lambda frame: one_of_two(frame)[["leak"]], FLAT)
        assert both.settled and both.cuts["prefix"] == 1
        assert "every column leaks" in str(both) and "would not be seen" not in str(both)
        one = audit(one_of_two, FLAT)
        assert not one.settled and one.cuts["prefix"] == 30
        assert "would not be seen" in str(one)

    def test_a_function_that_fails_on_few_bars(self) -> None:
        def needs_30(frame: pd.DataFrame) -> pd.Series:
            if len(frame) < 30:
                raise IndexError("too short")
            return frame["close"].pct_change()

        report = audit(needs_30, FLAT, cuts=1000)
        assert report.ok and report.cuts["prefix"] == 419 - 29
        assert "not tried: prefix: it raised an error at 29 dates" in str(report)
        assert "with bars of 29 dates: IndexError: too short" in str(report)

        def needs_all(frame: pd.DataFrame) -> pd.Series:
            if len(frame) < len(FLAT):
                raise ZeroDivisionError("no")
            return frame["close"].shift(-1)

        with pytest.raises(DataError, match="of all bars and of no part of them.*no"):
            audit_all(needs_all, FLAT)


class TestArgument:
    """A function that writes into its bars: the caller's stay whole, and the report says so."""

    @staticmethod
    def zero(frame: pd.DataFrame) -> pd.Series:
        change = frame["close"].pct_change()
        frame["close"] = 0.0
        return change

    @staticmethod
    def add(frame: pd.DataFrame) -> pd.Series:
        frame["mine"] = frame["close"].pct_change()
        return frame["mine"]

    @staticmethod
    def one_cell(frame: pd.DataFrame) -> pd.Series:
        frame.iloc[7, 3] = 1.0
        return frame["open"].pct_change()

    @staticmethod
    def take_out(frame: pd.DataFrame) -> pd.Series:
        return frame.pop("volume").pct_change()

    @pytest.mark.parametrize("by_symbol", [False, True])
    @pytest.mark.parametrize(
        ("name", "column", "said"),
        [("zero", "close", "is written into"), ("add", "mine", "is added to"),
         ("one_cell", "close", "is written into"), ("take_out", "volume", "is taken out of")],
    )  # fmt: skip
    def test_is_a_finding(self, name: str, column: str, said: str, by_symbol: bool) -> None:
        data = LONG.copy() if by_symbol else FLAT.copy()
        report = audit(getattr(self, name), data, by_symbol=by_symbol, cuts=5)
        pd.testing.assert_frame_equal(data, LONG if by_symbol else FLAT)
        (found,) = report.leaks
        assert (found.test, found.column) == ("argument", column) and said in found.detail
        assert not report.ok
        assert str(report).startswith("no leak found, and 1 column written into;")
        assert "frame = frame.copy()" in str(report)
        if name == "one_cell":
            assert found.date == FLAT.index[7]

    def test_another_index(self) -> None:
        def moved(frame: pd.DataFrame) -> pd.Series:
            change = frame["close"].pct_change()
            frame.index = frame.index + pd.Timedelta(1, "D")
            return change

        (found,) = audit(moved, FLAT, cuts=5)
        assert (found.test, found.column) == ("argument", "index")


def test_sums_in_another_order_are_no_leak() -> None:
    def convolved(frame: pd.DataFrame) -> pd.Series:  # numpy swaps the two where bars are few
        total = np.convolve(frame["close"].pct_change().fillna(0), np.ones(30) / 30)
        return pd.Series(total[: len(frame)], frame.index)

    assert audit(convolved, FLAT).ok

    def small(frame: pd.DataFrame) -> pd.Series:
        change = frame["close"].pct_change()
        return change * (1 + 1e-14 * frame["close"].shift(-1).ffill())

    assert {leak.reach for leak in audit(small, FLAT) if leak.test == "prefix"} == {1}


def test_features_by_name() -> None:
    report = audit("rsi_14", FLAT, cuts=10)
    assert report.ok and "look_back" in report.tests
    both = audit("default", bars(1200), cuts=3)
    assert both.ok, str(both)
    with pytest.raises(ConfigurationError, match="options@1 is not computed of bars alone"):
        audit("options@1", FLAT)
    with pytest.raises(ConfigurationError, match="no feature or set 'rsi_x'"):
        audit("rsi_x", FLAT)


def test_columns_that_are_named_by_numbers() -> None:
    numbered = audit(lambda frame: clean(frame).set_axis([0, 1], axis=1), FLAT, cuts=5)
    assert numbered.ok and "training" in numbered.tests


@pytest.mark.parametrize(
    "wrong",
    [{"cuts": [1, 2]}, {"cuts": 0}, {"cuts": 2.5}, {"seed": "x"}, {"warmup": -1},
     {"warmup": 1.5}, {"labels": ["y"]}, {"labels": {"none": 5}}, {"labels": {"ret": 1.5}},
     {"function": None}, {"function": 5}],
    ids=str,
)  # fmt: skip
def test_arguments_of_the_wrong_kind(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        audit(**{"function": clean, "data": FLAT} | wrong)
    assert raised.value.remedy != ConfigurationError.default_remedy


@pytest.mark.parametrize("data", [None, FLAT.to_numpy(), FLAT.reset_index(drop=True)])
def test_data_of_the_wrong_kind(data: Any) -> None:
    with pytest.raises(DataError, match="get_historical_data|get_feature_matrix"):
        audit(clean, data)


def test_numbers_as_text_are_none() -> None:
    for data in (FLAT, FLAT.iloc[:40]):
        with pytest.raises(DataError, match="did not return numbers.*astype"):
            audit(lambda frame: frame["close"].astype(str), data)
