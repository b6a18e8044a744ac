"""Random quotes, mostly absurd: every package pays as said, and none is missed.

The checks know nothing of how packages are found: payoffs are added up leg by leg at many stock
prices, and counts come from loops over all pairs, triples and quadruples.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockdb.options.arbitrage import find_arbitrage, terms_of
from tests.unit.options.quoted import DAY, chain, quote

STRIKES = (80, 90, 95, 100, 110, 130)
DAYS = (40, 400)
RATE, FEE = 0.05, 0.65
SPOT = (99.9, 100.1)
GRID = np.array([0.01, *STRIKES, *np.linspace(1, 300, 40)])

sizes = st.integers(1, 30)
quotes = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["call", "put"]),
        "strike": st.sampled_from(STRIKES),
        "days": st.sampled_from(DAYS),
        "bid": st.integers(5, 4000).map(lambda cents: cents / 100),
        "spread": st.integers(1, 200).map(lambda cents: cents / 100),
        "sizes": st.tuples(sizes, sizes),
    }
)
chains = st.lists(
    quotes, min_size=2, max_size=14, unique_by=lambda q: (q["kind"], q["strike"], q["days"])
)


def made(drawn: list[dict[str, Any]], style: str) -> pd.DataFrame:
    return chain(
        quote(
            item["kind"], item["strike"], item["bid"], round(item["bid"] + item["spread"], 2),
            DAY + dt.timedelta(days=item["days"]), item["sizes"], style=style,
        )
        for item in drawn
    )  # fmt: skip


def search(frame: pd.DataFrame) -> pd.DataFrame:
    terms = terms_of(
        stock_bid=SPOT[0], stock_ask=SPOT[1], rate=RATE, dividends={}, fees_per_contract=FEE
    )
    return find_arbitrage(frame, terms, max_rows=10**6)


def exercised(row: dict[str, Any]) -> np.ndarray:
    """Sum of intrinsic values, signed: all is exercised at one moment."""
    total = np.zeros(len(GRID))
    for leg in row["legs"]:
        sign = leg["ratio"] * (1 if leg["side"] == "buy" else -1)
        if leg["type"] == "stock":
            total += sign * GRID
        else:
            direction = 1 if leg["type"] == "call" else -1
            total += sign * np.maximum(direction * (GRID - leg["strike"]), 0.0)
    return total


@settings(max_examples=120, deadline=None)
@given(chains, st.sampled_from(["A", "E"]))
def test_every_package_pays_what_it_says(drawn: list[dict[str, Any]], style: str) -> None:
    for row in search(made(drawn, style)).to_dict("records"):
        cash = fees = 0.0
        sizes = []
        for leg in row["legs"]:
            bought = leg["side"] == "buy"
            cash -= leg["ratio"] * (leg["ask"] if bought else -leg["bid"])
            if leg["type"] != "stock":
                fees += leg["ratio"] * FEE / 100
                sizes.append((leg["ask_size"] if bought else leg["bid_size"]) // leg["ratio"])
        assert row["capacity"] == min(sizes)
        assert row["profit"] == pytest.approx(100 * row["capacity"] * row["edge"])
        assert row["net_debit"] == pytest.approx(-cash)
        assert row["edge"] > 0
        # Least worth today of what follows, as the row has it:
        floor = row["edge"] - cash + fees
        worth = exercised(row)
        later = math.exp(-RATE * row["dte"] / 365)
        if row["kind"] in ("conversion", "long_box", "reversal", "short_box"):
            face = worth[0]
            assert worth == pytest.approx(face)  # whatever the stock does
            # American ones that are owed may be asked for at once
            early = row["style"] == "A" and row["kind"] == "reversal"
            assert floor == pytest.approx(face * (1.0 if early else later))
        elif row["kind"] in ("call_floor", "put_floor"):
            # bought: exercised when it is best
            options = [worth.min(), worth.min() * later]
            assert floor == pytest.approx(max(options))
        elif row["kind"] == "slope" and style == "E":
            assert worth.min() * later >= floor - 1e-9
        else:
            assert worth.min() >= floor - 1e-9
        # sold options end no later than the ones that answer for them
        sold = [leg["dte"] for leg in row["legs"] if leg["side"] == "sell" and leg["dte"]]
        bought_days = [leg["dte"] for leg in row["legs"] if leg["side"] == "buy" and leg["dte"]]
        if sold and bought_days:
            assert max(sold) <= min(bought_days)
        if style == "E":
            assert len({leg["dte"] for leg in row["legs"] if leg["type"] != "stock"}) == 1


@settings(max_examples=80, deadline=None)
@given(chains)
def test_none_is_missed(drawn: list[dict[str, Any]]) -> None:
    frame = search(made(drawn, "A"))
    found = {
        kind: {
            tuple((leg["side"], leg["contract"]) for leg in row["legs"])
            for row in part.to_dict("records")
        }
        for kind, part in frame.groupby("kind")
    }
    rows = made(drawn, "A").to_dict("records")
    wanted: dict[str, set[Any]] = {}
    fees = FEE / 100
    for short, long in itertools.permutations(rows, 2):
        if short["type"] != long["type"] or short["dte"] > long["dte"]:
            continue
        sign = 1 if short["type"] == "call" else -1
        gap = sign * (long["strike"] - short["strike"])
        if short["bid"] - long["ask"] - max(gap, 0) - 2 * fees > 1e-9:
            kind = "slope" if gap > 0 else "monotonicity" if gap < 0 else "calendar"
            wanted.setdefault(kind, set()).add(
                (("sell", short["contract"]), ("buy", long["contract"]))
            )
    for body in rows:
        for low, high in itertools.permutations(rows, 2):
            if not (low["type"] == body["type"] == high["type"]):
                continue
            if not low["strike"] < body["strike"] < high["strike"]:
                continue
            if not low["dte"] == body["dte"] == high["dte"]:
                continue  # of later wings only the cheapest at each strike are reported
            weight = (high["strike"] - body["strike"]) / (high["strike"] - low["strike"])
            edge = body["bid"] - weight * low["ask"] - (1 - weight) * high["ask"] - 2 * fees
            if edge > 1e-9:
                wanted.setdefault("butterfly", set()).add(
                    tuple(
                        zip(
                            ("buy", "sell", "buy"),
                            (x["contract"] for x in (low, body, high)),
                            strict=True,
                        )
                    )
                )
    by = {(row["type"], row["strike"], row["dte"]): row for row in rows}
    for days in DAYS:
        for k1, k2 in itertools.combinations(STRIKES, 2):
            legs = [by.get(key) for key in (
                ("call", k1, days), ("call", k2, days), ("put", k1, days), ("put", k2, days),
            )]  # fmt: skip
            if None in legs:
                continue
            c1, c2, p1, p2 = legs
            worth = (k2 - k1) * math.exp(-RATE * days / 365)
            if worth - (c1["ask"] - c2["bid"] + p2["ask"] - p1["bid"]) - 4 * fees > 1e-9:
                wanted.setdefault("long_box", set()).add(
                    (("buy", c1["contract"]), ("sell", c2["contract"]),
                     ("sell", p1["contract"]), ("buy", p2["contract"]))
                )  # fmt: skip
    for kind in ("monotonicity", "slope", "calendar", "long_box"):
        assert found.get(kind, set()) == wanted.get(kind, set()), kind
    assert found.get("butterfly", set()) >= wanted.get("butterfly", set())
    assert "short_box" not in found


@settings(max_examples=60, deadline=None)
@given(chains)
def test_wings_that_expire_later_are_found_wherever_any_are(drawn: list[dict[str, Any]]) -> None:
    """For each body: if any pair of wings that expire no earlier violates it, one is reported."""
    frame = search(made(drawn, "A"))
    rows = made(drawn, "A").to_dict("records")
    bodies = {
        leg["contract"]
        for legs in frame.loc[frame["kind"] == "butterfly", "legs"]
        for leg in legs
        if leg["side"] == "sell"
    }
    wanted = set()
    for body in rows:
        for low, high in itertools.permutations(rows, 2):
            same = low["type"] == body["type"] == high["type"]
            inside = low["strike"] < body["strike"] < high["strike"]
            if same and inside and min(low["dte"], high["dte"]) >= body["dte"]:
                weight = (high["strike"] - body["strike"]) / (high["strike"] - low["strike"])
                cost = weight * low["ask"] + (1 - weight) * high["ask"]
                if body["bid"] - cost - 2 * FEE / 100 > 1e-9:
                    wanted.add(body["contract"])
    assert bodies == wanted
