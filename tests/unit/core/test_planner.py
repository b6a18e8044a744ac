"""The planner: which ways, in which order, and what they are said to cost."""

from __future__ import annotations

from typing import Any

import pytest

from stockdb.core.planner import HEAD, SMALL, Facts, plan

BIG = 140_000_000


def ways(**facts: Any) -> list[str]:
    return [step.strategy for step in plan(Facts(**{"size": BIG, "ordered": True, **facts}))]


@pytest.mark.parametrize(
    "facts, expected",
    [
        ({}, ["search", "scan"]),
        ({"verify": True}, ["scan"]),
        ({"ordered": False}, ["scan"]),
        ({"ranged": False}, ["scan"]),
        ({"size": SMALL}, ["scan"]),
        ({"size": SMALL + 1}, ["search", "scan"]),
        ({"twin": True}, ["twin", "scan"]),
        ({"index_bytes": 900}, ["index", "scan"]),
        ({"twin": True, "index_bytes": 900}, ["twin", "index", "scan"]),  # a shard may go
        ({"twin": True, "verify": True}, ["twin", "scan"]),
        ({"index_bytes": 0}, ["index", "scan"]),
        ({"selectable": True, "bandwidth": 1e9}, ["search", "scan"]),
        ({"selectable": True, "bandwidth": 20e6}, ["search", "select", "scan"]),
        ({"selectable": True, "bandwidth": 20e6, "verify": True}, ["select", "scan"]),
        ({"selectable": True, "bandwidth": 1e6, "ranged": False}, ["scan"]),
        ({"selectable": True, "bandwidth": 1.0, "size": SMALL}, ["scan"]),
    ],
)
def test_the_order(facts: dict[str, Any], expected: list[str]) -> None:
    assert ways(**facts) == expected


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("ranged", [True, False])
@pytest.mark.parametrize("bandwidth", [1.0, 20e6, 1e9])
def test_the_last_way_is_exact_and_only_the_search_assumes(
    verify: bool, ranged: bool, bandwidth: float
) -> None:
    steps = plan(
        Facts(BIG, True, verify=verify, ranged=ranged, selectable=True, bandwidth=bandwidth)
    )
    assert steps[-1].strategy == "scan" and steps[-1].bytes >= BIG
    assert [step.strategy for step in steps if not step.proved] in ([], ["search"])
    assert not verify or all(step.proved for step in steps)


def test_costs() -> None:
    index, scan = plan(Facts(BIG, True, index_bytes=1000))
    assert (index.bytes, index.requests) == (HEAD + 1000, 2)
    assert (scan.bytes, scan.requests) == (HEAD + BIG, 1 + 67)  # 66.8 parts of 2 MiB
    (search, _) = plan(Facts(BIG, True))
    assert search.bytes <= 0.015 * BIG and search.requests <= 40  # bar P1
    assert plan(Facts(1000, True))[0].bytes == 2000
