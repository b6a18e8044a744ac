"""Twins that ``compact`` writes of random files in any order: what the csv module finds."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockdb.core import scan, twins
from stockdb.core.compact import compact
from stockdb.errors import SymbolNotFoundError
from stockdb.settings import load_settings
from tests.property.test_chain_property import (
    DISORDERS,
    NAMES,
    Dialect,
    ask,
    by_csv_module,
    dialects,
    groups,
    in_order,
    reader_of,
    rows_of,
    seeds,
    store_of,
    text_of,
)

CONFIG = load_settings(
    endpoint="http://127.0.0.1:9",
    access_key="dummy",
    secret_key="dummy-secret",
    twin_prefix="twins/",
)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Some blocks, batches and row groups, whatever the file's size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "BLOCK", 4000)
        patch.setattr(scan, "READ", 8000)
        patch.setattr(twins, "SORT_ROWS", 30)
        patch.setattr(twins, "GROUP_ROWS", 12)
        yield


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(groups, dialects, seeds, st.sampled_from(["in order", *sorted(DISORDERS)]))
def test_a_twin_gives_what_a_full_scan_gives(
    chosen: list[tuple[str, int]], dialect: Dialect, seed: int, disorder: str
) -> None:
    names = in_order(chosen)
    if disorder != "in order":
        names = DISORDERS[disorder](names, random.Random(seed))
    data = text_of(names, dialect, seed)
    store = store_of(data)
    (done,) = compact(reader_of(store, CONFIG))
    assert (done.state, done.rows, done.underlyings) == ("written", len(names), len(set(names)))
    for symbol in NAMES:
        expected = by_csv_module(data, symbol)
        reader = reader_of(store, CONFIG)  # one that knows nothing of its own
        if expected:
            chain = ask(reader, symbol)
            assert rows_of(chain) == expected
            assert (chain.origin.strategy, chain.origin.grouping) == ("shared_twin", "proved")
        else:
            with pytest.raises(SymbolNotFoundError):
                ask(reader, symbol)
    (again,) = compact(reader_of(store, CONFIG))
    assert again.state == "current"
