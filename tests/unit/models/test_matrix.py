"""Stacking the parts of a feature matrix: in order, with the memory of one matrix."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from stockdb.errors import DataError
from stockdb.models.matrix import _gathered, stack
from stockdb.models.part import Part
from stockdb.models.sets import make_plan

DAYS = pd.bdate_range("2010-01-04", periods=2000, unit="ns", name="date")
PLAN = make_plan(["ret_1", "rsi_14", "xs_rank"], ["y_fwd_5", "y_tb"])
NAMES = ("ret_1", "rsi_14", "xs_rank", "y_fwd_5", "y_tb", "weight")


def part(number: int, rows: int = 2000, names: tuple[str, ...] = NAMES) -> Part:
    chance = np.random.default_rng(number)
    return Part(
        f"S{number:04d}",
        DAYS[len(DAYS) - rows :],
        chance.random((len(names), rows), np.float32),
        names,
        across={"xs_rank": chance.random(rows)},
        dates={"t1": np.full(rows, np.datetime64("2020-01-02", "ns"))},
    )


def test_parts_in_any_order_of_any_length() -> None:
    lengths = {0: 2000, 1: 3, 2: 0, 3: 1999, 4: 700}
    frame = stack(_gathered(part(n, lengths[n]) for n in (3, 1, 4, 0, 2)), PLAN)
    assert list(frame.columns) == ["ret_1", "rsi_14", "xs_rank", "y_fwd_5", "y_tb", "t1", "weight"]
    assert frame.index.is_monotonic_increasing and frame.index.is_unique
    for number, rows in lengths.items():
        if rows:
            own = frame.loc[f"S{number:04d}"]
            assert own.index.equals(DAYS[len(DAYS) - rows :])
            np.testing.assert_array_equal(own["rsi_14"], part(number, rows).block[1])
    assert "S0002" not in frame.index.get_level_values(0)
    # On the last three days four symbols are compared, before them three or two or one.
    last = pd.Series({s: frame.loc[s, "xs_rank"].iloc[-1] for s in frame.index.unique(0)})
    raw = {f"S{n:04d}": part(n, lengths[n]).across["xs_rank"][-1] for n in (0, 1, 3, 4)}
    assert last.to_dict() == pd.Series(raw).rank().to_dict()
    assert frame.loc["S0000", "xs_rank"].iloc[0] == 1.0


def test_parts_are_let_go_of_as_they_are_copied() -> None:
    """They lie in a few large arrays, which are freed whole, and none outlives the copy."""
    plan = make_plan(None, "y_fwd_5")
    names = tuple(column.name for column in plan.computed)

    def parts(count: int) -> Iterator[Part]:
        for number in range(count):
            block = np.full((len(names), 2000), number, np.float32)
            yield Part(f"S{number:04d}", DAYS, block, names)

    found = _gathered(parts(400))
    slabs = {id(part.block.base): part.block.base for part in found}
    assert len(slabs) < 10
    assert sum(slab.nbytes for slab in slabs.values()) < 1.6 * 400 * 2000 * 31 * 4
    alive = [weakref.ref(slab) for slab in slabs.values()]
    slabs.clear()
    frame = stack(found, plan)
    assert all(ref() is None for ref in alive)  # though the parts are still there
    assert len(frame) == 400 * 2000
    assert (frame["ret_1"].groupby(level=0).first() == np.arange(400)).all()


def test_columns_that_depend_on_the_data() -> None:
    other = part(1, names=(*NAMES[:-1], "other"))
    with pytest.raises(DataError, match="other columns for S0001 than for S0000"):
        stack(_gathered([part(0), other]), PLAN)
