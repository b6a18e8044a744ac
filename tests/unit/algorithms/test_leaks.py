"""No feature of any algorithm reads the future, another symbol, or where data begin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stockdb.algorithms import ALGORITHMS
from stockdb.processing import leaks
from stockdb.processing.evaluate import evaluate, warmup
from stockdb.processing.optionflow import INPUTS
from stockdb.processing.spec import Column
from tests.unit.processing.bars import bars

Function = Callable[[pd.DataFrame], pd.DataFrame]
#: leaps_arbitrage is computed of chains: tests/contract/test_leaps_algorithm.py.
TESTED = [name for name in ALGORITHMS if name != "leaps_arbitrage"]
#: 60 rows and what they need to warm up.
ROWS = {"momentum_tracker": 1500, "pairs_trading": 420}


def features(name: str) -> tuple[Column, ...]:
    algorithm = ALGORITHMS[name]
    columns = algorithm.computed(algorithm.values({}))
    return tuple(column for column in columns if column.role == "feature")


def frame_of(name: str) -> pd.DataFrame:
    """Bars with every input that the algorithm has, of three symbols; pairs are one series."""
    parts, rows = {}, ROWS.get(name, 760)
    for number, symbol in enumerate(("AAA", "BBB", "CCC")):
        chance = np.random.default_rng(100 + number)
        frame = bars(rows, number, 20.0 * (number + 1))
        if name == "momentum_tracker":
            frame["bill"] = 0.02 + 0.001 * chance.normal(size=rows).cumsum()
        if name == "pairs_trading":
            frame = frame.assign(x=bars(rows, 50 + number)["close"], n_pairs_tested=6.0)
        if name == "options_flow":
            frame = frame.assign(**{held: chance.uniform(10, 1000, rows) for held in INPUTS})
        parts[symbol] = frame
    return pd.concat(parts, names=["symbol", "date"])


def function_of(name: str) -> Function:
    columns = features(name)
    return lambda frame: evaluate(frame, columns)


@pytest.mark.parametrize("name", TESTED)
class TestLeaks:
    def test_1_prefix(self, name: str) -> None:
        assert leaks.prefix(function_of(name), frame_of(name), cuts=3) == []

    def test_2_perturbed_future(self, name: str) -> None:
        assert leaks.perturbed(function_of(name), frame_of(name), cuts=3) == []

    def test_3_other_symbols(self, name: str) -> None:
        assert leaks.other_symbols(function_of(name), frame_of(name)) == []

    def test_7_look_back(self, name: str) -> None:
        needed = warmup(features(name))
        assert leaks.look_back(function_of(name), frame_of(name), needed) == []

    def test_8_later_event(self, name: str) -> None:
        scale_free = [column.name for column in features(name) if column.scale_free]
        frame = frame_of(name)
        assert leaks.later_event(function_of(name), frame, scale_free) == []
        if name == "pairs_trading":  # the other leg's split
            function = function_of(name)
            one, other = function(frame), function(frame.assign(x=frame["x"] / 7.0))
            np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9)

    def test_a_planted_leak_is_caught(self, name: str) -> None:
        columns = features(name)
        clean = {column.name: column for column in columns}.get("spread", columns[0])

        def leaky(frame: pd.DataFrame) -> pd.DataFrame:
            computed = evaluate(frame, columns)
            later = computed[clean.name].groupby(level=0).shift(-3)
            return computed.assign(**{clean.name: computed[clean.name].fillna(0.0) + later})

        found = leaks.perturbed(leaky, frame_of(name), cuts=2)
        assert [leak.column for leak in found] == [clean.name]


def test_a_column_that_peeks_is_caught_in_each_test() -> None:
    close = bars(400, 3)
    peek = Column(
        name="peek",
        definition="C[t+1]/C[t] - 1, said to read nothing ahead",
        unit="ratio",
        window=1,
        source="-",
        inputs=("close",),
        compute=lambda s: np.append(s.close[1:], np.nan) / s.close - 1.0,
    )
    level = Column(
        name="level",
        definition="C, said to be free of scale",
        unit="ratio",
        window=1,
        source="-",
        inputs=("close",),
        compute=lambda s: s.close.copy(),
    )
    slow = Column(
        name="slow",
        definition="running mean, said to need one bar",
        unit="ratio",
        window=1,
        source="-",
        inputs=("close",),
        compute=lambda s: s.close / (np.cumsum(s.close) / np.arange(1, len(s) + 1)),
    )

    def of(column: Column) -> Function:
        return lambda frame: evaluate(frame, [column])

    assert leaks.prefix(of(peek), close) and leaks.perturbed(of(peek), close)
    assert leaks.later_event(of(level), close)
    assert leaks.look_back(of(slow), close, 0)
