"""Every feature that a matrix can hold passes the leak tests; one planted among them does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockdb.models.sets import catalogue, make_plan, sets
from stockdb.processing import leaks
from stockdb.processing.alpha import ALPHA
from stockdb.processing.evaluate import evaluate, warmup
from stockdb.processing.optionflow import INPUTS
from stockdb.processing.spec import Column, Series
from tests.unit.processing.bars import bars

ALL = tuple(column for column in catalogue().values() if column.role == "feature")
GROUPS = {"default": sets()["default@1"].names, "alpha": tuple(column.name for column in ALPHA)}
GROUPS["rest"] = tuple(c.name for c in ALL if not any(c.name in names for names in GROUPS.values()))


def columns(group: str) -> tuple[Column, ...]:
    return tuple(catalogue()[name] for name in GROUPS[group])


def frame_of(rows: int, symbols: int = 2) -> pd.DataFrame:
    """Bars with every input that any column has."""
    parts = {}
    for number in range(symbols):
        chance = np.random.default_rng(40 + number)
        own = bars(rows, number, 20.0 * (number + 1))
        own["bill"] = 0.02 + 0.001 * chance.normal(size=rows).cumsum()
        parts[f"S{number}"] = own.assign(
            **{name: chance.uniform(10, 1000, rows) for name in INPUTS}
        )
    return pd.concat(parts, names=["symbol", "date"])


@pytest.mark.parametrize("group", GROUPS)
class TestEveryFeature:
    def test_1_prefix(self, group: str) -> None:
        rows = 1000 if group == "rest" else 420
        found = leaks.prefix(lambda f: evaluate(f, columns(group)), frame_of(rows), 2)
        assert [str(leak) for leak in found] == []

    def test_2_perturbed_future(self, group: str) -> None:
        rows = 1000 if group == "rest" else 420
        found = leaks.perturbed(lambda f: evaluate(f, columns(group)), frame_of(rows), 2)
        assert [str(leak) for leak in found] == []

    def test_3_other_symbols(self, group: str) -> None:
        found = leaks.other_symbols(lambda f: evaluate(f, columns(group)), frame_of(420))
        assert [str(leak) for leak in found] == []

    def test_7_look_back(self, group: str) -> None:
        chosen = columns(group)
        frame = frame_of(warmup(chosen) + 600, 1)
        found = leaks.look_back(lambda f: evaluate(f, chosen), frame, warmup(chosen))
        assert [str(leak) for leak in found] == []

    def test_8_later_event(self, group: str) -> None:
        chosen = [column for column in columns(group) if column.scale_free]
        rows = 1000 if group == "rest" else 420
        found = leaks.later_event(lambda f: evaluate(f, chosen), frame_of(rows, 1))
        assert [str(leak) for leak in found] == []

    def test_a_planted_leak_is_caught(self, group: str) -> None:
        def peek(series: Series) -> np.ndarray:
            values = series.close.copy()
            values[:-3] = series.close[3:] / series.close[:-3]
            return values

        planted = Column(
            name="planted", definition="-", unit="-", window=1, source="-", compute=peek
        )
        chosen = (*columns(group)[:10], planted)
        (leak,) = leaks.perturbed(lambda f: evaluate(f, chosen), frame_of(420), 2)
        assert (leak.column, leak.reach) == ("planted", 3)


def test_the_sets() -> None:
    assert len(sets()["default@1"].names) == 30
    for each in sets().values():
        assert len(set(each.names)) == len(each.names)
        assert all(catalogue()[name].scale_free for name in each.names)
        assert not any(catalogue()[name].cross_sectional for name in each.names)
    assert {"default@1", "alpha@1", "options@1", "options@2"} == set(sets())
    assert make_plan("options", ()).sets == ("options@2",)
    assert make_plan("options@1", ()).columns == make_plan("options", ()).columns[:5]
