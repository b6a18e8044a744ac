"""Static arbitrage on real chains: what is there, what rests on quotes that are wrong."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.options.arbitrage import find_arbitrage, suspect_quotes, terms_of
from stockdb.options.market import RateCurve

pytestmark = pytest.mark.shared_data
DIRTY = ("2026-07-15", "2026-07-16", "2026-08-19", "2026-08-20", "2026-08-21")
SYMBOLS = ("AAPL", "MSFT", "GOOGL", "KO", "XOM", "JPM", "F")


def read(folder: Path, day: str, symbol: str) -> pd.DataFrame:
    frame = pd.read_csv(folder / "options-complete" / f"{day}options.csv.gz")
    frame = frame[frame["underlying"] == symbol].rename(columns={"underlying": "symbol"})
    for name in ("expiration", "quote_date"):
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[ns]")
    return frame.reset_index(drop=True)


def curve(folder: Path, day: str) -> RateCurve:
    table = pd.read_csv(folder / "rates/us_treasury_cmt_2010_2026.csv", index_col=0)
    return RateCurve.from_treasury(table.loc[:day].drop(columns=["DFF", "SOFR"]).iloc[-1])


def test_clean_chains_hold_nothing_riskless(shared_data: Path) -> None:
    """AAPL from September 2022 to January 2023: 94 sessions, quotes of the close."""
    days = sorted(
        path.name[:10]
        for path in (shared_data / "options-complete").glob("202[23]-*options.csv.gz")
    )
    assert len(days) == 94
    for day in days[::4]:
        frame = find_arbitrage(
            read(shared_data, day, "AAPL"), terms_of(rate=curve(shared_data, day))
        )
        assert frame.empty, (day, frame[["kind", "class", "edge", "explanation"]].head())


def test_a_stock_quote_of_another_minute_is_named(shared_data: Path) -> None:
    """The stock's quote of 2022-09-30 is minutes younger: 434 conversions and 253 floors."""
    stocks = pd.read_csv(shared_data / "options-complete/_underlying_snapshots.csv")
    stock = stocks[(stocks["quote_date"] == "2022-09-30") & (stocks["symbol"] == "AAPL")].iloc[0]
    frame = find_arbitrage(
        read(shared_data, "2022-09-30", "AAPL"),
        terms_of(
            stock_bid=float(stock["bid"]),
            stock_ask=float(stock["ask"]),
            rate=curve(shared_data, "2022-09-30"),
        ),
    )
    assert len(frame) > 300
    assert set(frame["class"]) == {"suspect"}
    assert frame.attrs["stockdb"]["stock_not_synchronous"]
    assert all("AAPL" in names for names in frame["suspects"])


@pytest.mark.parametrize("day", DIRTY)
def test_no_row_of_the_files_of_2026_is_called_riskless(shared_data: Path, day: str) -> None:
    for symbol in SYMBOLS:
        chain = read(shared_data, day, symbol)
        frame = find_arbitrage(chain, terms_of(rate=curve(shared_data, day)))
        assert len(frame)
        assert set(frame["class"]) == {"suspect"}
        assert (frame["suspect_count"] > 0).all()
        assert (frame["edge"] > 0).all()
        assert find_arbitrage(chain, include_suspect=False).empty


def test_few_quotes_are_behind_nearly_all_rows(shared_data: Path) -> None:
    """A quote named is one whose removal takes the contradictions with it."""
    found = left = named = quotes = 0
    for symbol in SYMBOLS:
        chain = read(shared_data, "2026-08-19", symbol)
        culprits = suspect_quotes(chain)
        rest = chain[~chain["contract"].isin(culprits["contract"])]
        found += sum(find_arbitrage(chain).attrs["stockdb"]["found"].values())
        left += sum(find_arbitrage(rest).attrs["stockdb"]["found"].values())
        named += len(culprits)
        quotes += int((chain["bid"] > 0).sum())
        assert culprits["open_interest"].median() < 20 or symbol == "F"
    assert found > 500_000
    assert left < 0.05 * found
    assert named < 0.05 * quotes


def test_adjacent_strikes_by_brute_force(shared_data: Path) -> None:
    """Every violation between strikes side by side is in the rows, with its edge."""
    count = 0
    for symbol in ("KO", "XOM"):
        chain = read(shared_data, "2026-08-19", symbol)
        frame = find_arbitrage(chain, terms_of(fees_per_contract=0.0), max_rows=10**6)
        rows = frame[frame["kind"] == "monotonicity"]
        have = {
            tuple(sorted((leg["side"], leg["contract"]) for leg in row["legs"])): row["edge"]
            for row in rows.to_dict("records")
        }
        good = chain[(chain["bid"] > 0) & (chain["bid"] < chain["ask"])]
        for (_, kind), part in good.groupby(["expiration", "type"]):
            part = part.sort_values("strike", ascending=kind == "call")
            quoted = part[["contract", "bid", "ask"]].to_dict("records")
            for better, worse in zip(quoted, quoted[1:], strict=False):
                if worse["bid"] > better["ask"]:
                    key = tuple(sorted([("buy", better["contract"]), ("sell", worse["contract"])]))
                    assert have[key] == pytest.approx(worse["bid"] - better["ask"])
                    count += 1
    assert count > 15


def test_european_index_options(shared_data: Path) -> None:
    for day in ("2014-12-15", "2015-01-05", "2015-03-13"):
        chain = read(shared_data, day, "SPX")
        assert set(chain["style"]) == {"E"}
        frame = find_arbitrage(
            chain,
            terms_of(stock_bid=2000.0, stock_ask=2000.5, rate=0.005, dividends={}),
            include_statistical=True,
        )
        early = {
            "calendar",
            "call_floor",
            "put_floor",
            "call_cap",
            "put_cap",
            "put_ray",
            "call_ray",
        }
        assert not early & set(frame["kind"])
        skipped = {item["test"]: item["reason"] for item in frame.attrs["stockdb"]["skipped"]}
        assert all("early exercise" in skipped[name] for name in early)


@pytest.mark.slow
def test_all_clean_sessions(shared_data: Path) -> None:
    for path in sorted((shared_data / "options-complete").glob("202[23]-*options.csv.gz")):
        day = path.name[:10]
        frame = find_arbitrage(
            read(shared_data, day, "AAPL"), terms_of(rate=curve(shared_data, day))
        )
        assert frame.empty, day


def test_a_big_chain_takes_well_under_a_second(shared_data: Path) -> None:
    chain = read(shared_data, "2026-08-19", "GOOGL")
    assert len(chain) > 3600
    taken: list[float] = []
    frame: Any = None
    for _ in range(3):
        begin = time.process_time()
        frame = find_arbitrage(chain, terms_of(rate=0.04))
        taken.append(time.process_time() - begin)
    assert len(frame) > 1000
    assert statistics.median(taken) < 1.0
    clean = read(shared_data, "2025-05-16", "SPY")
    begin = time.process_time()
    assert np.asarray(find_arbitrage(clean, terms_of(rate=0.04))["edge"]).size == 0
    assert time.process_time() - begin < 0.5


def test_the_quotes_named_are_those_that_stand_still(shared_data: Path) -> None:
    """Of named quotes half are unchanged after five weeks, of the others one in two hundred.

    The rule looks at one day only, so that another day is an independent witness.
    """
    counts = {True: [0, 0], False: [0, 0]}
    for symbol in ("AAPL", "KO", "XOM"):
        old, new = (read(shared_data, day, symbol) for day in ("2026-07-16", "2026-08-21"))
        names = {*suspect_quotes(old)["contract"], *suspect_quotes(new)["contract"]}
        both = old[old["bid"] > 0].merge(new, on="contract")
        for row in both.to_dict("records"):
            same = row["bid_x"] == row["bid_y"] and row["ask_x"] == row["ask_y"]
            held = counts[row["contract"] in names]
            held[0] += same
            held[1] += 1
    named, others = (counts[key][0] / counts[key][1] for key in (True, False))
    assert counts[True][1] > 50
    assert named > 0.3
    assert others < 0.01
