"""Series, columns and their application to frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import talib

from stockdb.errors import ConfigurationError, DataError
from stockdb.processing.evaluate import evaluate, split, warmup
from stockdb.processing.runs import by_runs, run_length
from stockdb.processing.spec import Column, Series, ratio


def bars(rows: int = 60, seed: int = 1, start: str = "2024-01-02") -> pd.DataFrame:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, rows)))
    index = pd.bdate_range(start, periods=rows, name="date").as_unit("ns")
    return pd.DataFrame(
        {
            "open": close * 0.999,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": random.integers(1, 1000, rows).astype(float),
        },
        index=index,
    )


def column(name: str = "c", **values: object) -> Column:
    given = {
        "definition": "C",
        "unit": "dollars",
        "window": 1,
        "source": "-",
        "inputs": ("close",),
        "compute": lambda series: series.close.copy(),
        **values,
    }
    return Column(name=name, **given)  # type: ignore[arg-type]


def test_of_gives_contiguous_float64_and_leaves_the_frame_alone() -> None:
    frame = bars().assign(volume=lambda f: f["volume"].astype("int64"))
    frame.iloc[3, frame.columns.get_loc("close")] = 0.0
    before = frame.copy(deep=True)
    series = Series.of(frame)
    for name in ("open", "high", "low", "close", "volume"):
        values = series.input(name)
        assert values.dtype == np.float64 and values.flags["C_CONTIGUOUS"]
    assert np.isnan(series.close[3]) and series.close[4] == frame["close"].iloc[4]
    assert series.date.dtype == "datetime64[ns]"
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("close", 0.0), ("low", -1.0), ("high", np.inf), ("volume", -5.0), ("volume", np.inf)],
)
def test_impossible_values_are_missing(name: str, value: float) -> None:
    frame = bars()
    frame.iloc[7, frame.columns.get_loc(name)] = value
    assert np.flatnonzero(np.isnan(Series.of(frame).input(name))).tolist() == [7]


def test_zero_volume_is_a_volume() -> None:
    frame = bars()
    frame.iloc[7, frame.columns.get_loc("volume")] = 0.0
    assert Series.of(frame).volume[7] == 0.0


def test_intraday_sessions_are_local_dates() -> None:
    # 23:30 UTC is still the 2nd in New York; 04:30 UTC is the 2nd there as well.
    index = pd.DatetimeIndex(["2024-01-02 23:30", "2024-01-03 04:30", "2024-01-03 14:30"], tz="UTC")
    frame = bars(3).set_axis(index.tz_convert("America/New_York"), axis=0)
    series = Series.of(frame)
    assert series.session is not None
    assert series.session.astype(str).tolist() == ["2024-01-02", "2024-01-02", "2024-01-03"]
    assert series.date[0] == np.datetime64("2024-01-02T23:30")


def test_dates_must_ascend_and_be_unique() -> None:
    frame = bars()
    with pytest.raises(DataError, match="ascending"):
        Series.of(frame.iloc[::-1])
    with pytest.raises(DataError, match="2024-01-03.*repeats"):
        Series.of(frame.iloc[[0, 1, 1, 2]])
    with pytest.raises(DataError, match="ascending"):
        Series.of(frame.reset_index(drop=True))


def test_text_is_refused() -> None:
    with pytest.raises(DataError, match="'close' is not numeric"):
        Series.of(bars().assign(close="a"))


def test_apply_starts_anew_after_a_gap() -> None:
    frame = bars()
    frame.iloc[30, frame.columns.get_loc("close")] = np.nan
    series = Series.of(frame)
    got = series.apply(lambda close: talib.RSI(close, 14), "close")
    close = frame["close"].to_numpy()
    expected = np.concatenate((talib.RSI(close[:30], 14), [np.nan], talib.RSI(close[31:], 14)))
    np.testing.assert_array_equal(got, expected)
    assert np.isfinite(got[31 + 14 :]).all() and np.isnan(got[30 : 31 + 14]).all()


def test_apply_with_several_outputs() -> None:
    frame = bars(90)
    whole = talib.MACD(frame["close"].to_numpy())
    frame.iloc[0, frame.columns.get_loc("close")] = np.nan
    got = Series.of(frame).apply(talib.MACD, "close", outputs=3)
    after = talib.MACD(frame["close"].to_numpy()[1:])
    assert len(got) == len(whole) == 3
    for mine, theirs in zip(got, after, strict=True):
        np.testing.assert_array_equal(mine, np.append(np.nan, theirs))


def test_runs_shorter_than_the_look_back_are_nan() -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0, 4.0, 5.0])
    got = by_runs(lambda x: talib.SMA(x, 3), [values], np.isnan(values))
    np.testing.assert_array_equal(got, [np.nan] * 5 + [4.0])


def test_run_length_against_a_loop() -> None:
    flags = np.random.default_rng(3).random(200) < 0.7
    expected, count = [], 0
    for flag in flags:
        count = count + 1 if flag else 0
        expected.append(count)
    assert run_length(flags).tolist() == expected


def test_still_and_unchanged_and_untraded() -> None:
    frame = bars(8)
    price = frame["close"].iloc[2]
    frame.iloc[3:6, :4] = price  # three bars at the close before them
    frame.iloc[3:5, 4] = 0.0
    series = Series.of(frame)
    assert series.still.tolist() == [0, 0, 0, 1, 2, 3, 0, 0]
    assert series.unchanged.tolist() == [0, 0, 0, 1, 2, 3, 0, 0]
    assert series.untraded.tolist() == [0, 0, 0, 1, 2, 0, 0, 0]


def test_a_still_bar_at_another_price_begins_a_new_stretch() -> None:
    frame = bars(4)
    frame.iloc[1:3, :4] = 5.0
    frame.iloc[3, :4] = 6.0
    assert Series.of(frame).still.tolist() == [0, 1, 2, 1]


def test_once_computes_once() -> None:
    series, calls = Series.of(bars()), []
    for _ in range(3):
        assert series.once("key", lambda: calls.append(1) or 7) == 7
    assert len(calls) == 1
    assert series[:10].once("key", lambda: 8) == 8  # a cut knows nothing of the whole


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"window": 5, "warmup": 3},
        {"reach": 1},
        {"role": "label", "reach": -1},
        {"across": lambda values, dates: values},
        {"name": "xs_c"},
    ],
)
def test_a_column_is_held_to_its_declaration(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        column(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "compute",
    [
        lambda s: s.close[1:],
        lambda s: s.close.astype("float32"),
        lambda s: list(s.close),
        lambda s: 1.0,
    ],
)
def test_a_wrong_result_is_refused(compute: object) -> None:
    with pytest.raises(DataError, match="c"):
        column(compute=compute).values(Series.of(bars()))


def test_infinite_becomes_nan() -> None:
    values = column(compute=lambda s: s.close / (s.close - s.close[0])).values(Series.of(bars()))
    assert np.isnan(values[0]) and np.isfinite(values[1:]).all()


def test_ratio_by_zero_is_undefined() -> None:
    got = ratio(np.array([1.0, 0.0, -1.0]), np.array([0.0, 0.0, 2.0]))
    np.testing.assert_array_equal(got, [np.nan, np.nan, -0.5])


def test_a_missing_input_is_named() -> None:
    frame = bars().drop(columns="volume")
    with pytest.raises(DataError, match="v needs volume"):
        evaluate(frame, [column("v", inputs=("close", "volume"))])
    with pytest.raises(DataError, match="r needs rate"):
        evaluate(frame, [column("r", inputs=("rate",))])
    assert len(evaluate(frame, [column()])) == len(frame)


def test_extra_inputs_come_from_the_frame() -> None:
    frame = bars().assign(rate=0.05)
    got = evaluate(frame, [column("r", inputs=("rate",), compute=lambda s: s.input("rate") * 2)])
    assert (got["r"] == 0.1).all()


def long_frame() -> pd.DataFrame:
    parts = {"B": bars(40, 2), "A": bars(30, 3, "2024-02-01")}
    return pd.concat(parts, names=["symbol", "date"])


def test_each_symbol_is_computed_on_its_own() -> None:
    frame = long_frame()
    change = column(window=2, compute=lambda s: np.append(np.nan, np.diff(s.close)))
    got = evaluate(frame, [change])
    pd.testing.assert_index_equal(got.index, frame.index)
    expected = frame["close"].groupby(level=0, sort=False).diff()
    np.testing.assert_array_equal(got["c"], expected)
    # rows of the two symbols mixed, as sort_index(level="date") leaves them
    mixed = frame.sort_index(level="date", sort_remaining=False, kind="stable")
    pd.testing.assert_series_equal(evaluate(mixed, [change])["c"], got["c"].loc[mixed.index])
    assert sorted(symbol for symbol, _, _ in split(frame)) == ["A", "B"]


def test_cross_sectional_compares_within_a_date() -> None:
    def rank(values: np.ndarray, dates: np.ndarray) -> np.ndarray:
        return pd.Series(values).groupby(dates).rank().to_numpy()

    frame = long_frame()
    got = evaluate(frame, [column("xs_c", across=rank)])["xs_c"]
    both = frame["close"].unstack(0).dropna()
    day = both.index[5]
    assert got["A", day] == (1.0 if both.loc[day, "A"] < both.loc[day, "B"] else 2.0)
    assert (got["B"].loc[: pd.Timestamp("2024-01-31")] == 1.0).all()  # alone on these dates


def test_a_name_twice_is_refused_and_an_empty_frame_is_empty() -> None:
    with pytest.raises(DataError, match="twice: c"):
        evaluate(bars(), [column(), column()])
    got = evaluate(bars().iloc[:0], [column()])
    assert got.shape == (0, 1) and got.dtypes.tolist() == [np.float64]


def test_warmup_is_the_longest() -> None:
    assert warmup([column(window=5), column("d", window=3, warmup=9)]) == 9
    assert warmup([]) == 0


def test_describe_is_json() -> None:
    import json

    told = json.loads(json.dumps(column(window=3).describe()))
    assert (told["warmup"], told["role"], told["cross_sectional"]) == (2, "feature", False)
