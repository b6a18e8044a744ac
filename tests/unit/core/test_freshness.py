"""Freshness is decided purely: a table of ages and wishes, and the verdict for each."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockdb.core.freshness import Freshness, Verdict, decide

NOW = 1_700_000_000.0
FRESH, ASK, MISS = Verdict.FRESH, Verdict.REVALIDATE, Verdict.MISS


@pytest.mark.parametrize(
    ("age", "wanted", "verdict"),
    [
        (0, Freshness(ttl=60), FRESH),
        (59.9, Freshness(ttl=60), FRESH),
        (60, Freshness(ttl=60), ASK),  # a TTL of n seconds is over after n seconds
        (1e9, Freshness(ttl=60), ASK),
        (0, Freshness(ttl=0), ASK),
        (1e9, Freshness(ttl=math.inf), FRESH),
        # The caller's own limit counts instead of the dataset's, whichever is stricter.
        (0, Freshness(ttl=60, max_age=0), ASK),
        (30, Freshness(ttl=60, max_age=10), ASK),
        (9, Freshness(ttl=60, max_age=10), FRESH),
        (90, Freshness(ttl=60, max_age=100), FRESH),
        # Readiness to take stale data changes what is served when the server is down, not this.
        (61, Freshness(ttl=60, allow_stale=True), ASK),
        # Offline, whatever is held is served.
        (1e9, Freshness(ttl=60, offline=True), FRESH),
        (1e9, Freshness(ttl=60, max_age=0, offline=True), FRESH),
        (-3600, Freshness(ttl=60, offline=True), FRESH),
        # A clock was set back: the entry says nothing about now.
        (-1, Freshness(ttl=60), ASK),
        (-3600, Freshness(ttl=1e9, max_age=1e9), ASK),
    ],
)
def test_the_verdict_on_an_entry(age: float, wanted: Freshness, verdict: Verdict) -> None:
    assert decide(NOW - age, NOW, wanted) is verdict


@pytest.mark.parametrize(
    "wanted", [Freshness(60), Freshness(60, 0), Freshness(60, None, True), Freshness(60, 5, True)]
)
def test_without_an_entry_everything_is_a_miss(wanted: Freshness) -> None:
    assert decide(None, NOW, wanted) is MISS


@given(age=st.floats(0, 1e9), older=st.floats(0, 1e9), ttl=st.floats(0, 1e9))
def test_what_is_too_old_does_not_become_fresh_by_waiting(
    age: float, older: float, ttl: float
) -> None:
    if decide(NOW - age, NOW, Freshness(ttl)) is ASK:
        assert decide(NOW - age - older, NOW, Freshness(ttl)) is ASK
