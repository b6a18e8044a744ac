"""The simulated demo bucket: same bytes everywhere, the stated layout, only the planted defects.

What the files must hold is worked out here from the calendar, from textbook formulas and from the
truth that the simulation declares: none of its own functions takes part.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import stockdb
from stockdb.demo.simulate import demo_objects
from tests.unit.demo.bucket_tools import OPTION_DATES, SEED, Bucket, make

CLEAN = {"AAPL", "MSFT", "GOOGL", "SPY"}
NAMED = CLEAN | {"AMZN", "NVDA", "META", "TSLA", "JPM", "KO", "PEP", "XOM", "QQQ", "IWM", "BRK-B"}
# fmt: off
SPLITS = {  # from the companies' announcements
    ("AAPL", "2014-06-09"): 7, ("AAPL", "2020-08-31"): 4, ("AMZN", "2022-06-06"): 20,
    ("BRK-B", "2010-01-21"): 50, ("GOOGL", "2022-07-18"): 20, ("KO", "2012-08-13"): 2,
    ("NVDA", "2021-07-20"): 4, ("NVDA", "2024-06-10"): 10, ("TSLA", "2020-08-31"): 5,
    ("TSLA", "2022-08-25"): 3, ("V", "2015-03-19"): 4, ("WMT", "2024-02-26"): 3,
}
# fmt: on
KINDS = {*"duplicate high_below_low holiday negative_volume zero_price zero_volume".split()}
LATE = {"META": "2012-05-18", "TSLA": "2010-06-29"}  # first trading days
OPTION_HEADER = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility"
)
TENORS = "DGS1MO DGS3MO DGS6MO DGS1 DGS2 DGS3 DGS5 DGS7 DGS10 DGS20 DGS30".split()


def digests_in_a_fresh_interpreter(**environment: str) -> dict[str, str]:
    code = """if True:
        import hashlib
        from stockdb.demo.simulate import demo_objects
        for key, content in demo_objects():
            print(key, hashlib.sha256(content).hexdigest())"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    root = Path(stockdb.__file__).parents[1]
    out = subprocess.check_output(command, cwd=root, env={**os.environ, **environment}, text=True)
    return dict(line.rsplit(" ", 1) for line in out.splitlines())


def test_same_seed_gives_the_same_bytes_on_another_processor(bucket: Bucket) -> None:
    """NumPy, BLAS and the C library are told to do without the vector units of this processor.

    On x86-64 Linux this changes the last bits of exp, log, ndtr and products of matrices, as
    another machine would.
    """
    vector_units = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    here = digests_in_a_fresh_interpreter(PYTHONHASHSEED="1")
    elsewhere = digests_in_a_fresh_interpreter(
        PYTHONHASHSEED="2",
        NPY_DISABLE_CPU_FEATURES=" ".join(vector_units),
        OPENBLAS_CORETYPE="Prescott",
        GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4",
        TZ="Asia/Tokyo",
    )
    assert here == elsewhere
    assert here == {k: hashlib.sha256(v).hexdigest() for k, v in bucket.objects.items()}


def test_another_seed_gives_other_bytes(bucket: Bucket) -> None:
    other = make(0)
    assert other.objects.keys() == bucket.objects.keys()
    same = {key for key, content in other.objects.items() if content == bucket.objects[key]}
    assert same == {"reference/splits.csv"}  # the splits are history, not chance
    for part in ("missing_sessions", "dirty_rows", "spots", "options", "arbitrage"):
        assert other.truth[part] != bucket.truth[part]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError):
        next(demo_objects(-1))


def test_small_and_quick(bucket: Bucket) -> None:
    assert sum(map(len, bucket.objects.values())) < 60e6 and bucket.seconds < 8


def test_keys(bucket: Bucket) -> None:
    assert len(bucket.symbols) == 25 == len(set(bucket.symbols))
    assert set(bucket.symbols) >= NAMED
    assert set(bucket.objects) == {
        *(f"stocks-2010-2025/{symbol}.csv" for symbol in bucket.symbols),
        *(f"options-complete/{date}options.csv" for date in OPTION_DATES),
        *(f"reference/{name}.csv" for name in ("splits", "dividends", "treasury")),
        "_simulated/truth.json",
        "_simulated/README.txt",
    }


def test_headers_and_line_ends(bucket: Bucket) -> None:
    headers = {
        "stocks-2010-2025": "trade_date,Open,High,Low,Close,Volume",
        "options-complete": OPTION_HEADER,
        "reference/splits.csv": "symbol,ex_date,ratio",
        "reference/dividends.csv": "symbol,ex_date,amount",
        "reference/treasury.csv": ",".join(["date", *TENORS]),
    }
    for key, content in bucket.objects.items():
        assert b"\r" not in content and content.endswith(b"\n") and not content.endswith(b"\n\n")
        if key.endswith(".csv"):
            header, *rows, _ = bucket.lines(key)
            assert header == headers.get(key, headers.get(key.split("/")[0])), key
            assert {row.count(",") for row in rows} == {header.count(",")}, key


def test_the_bucket_says_that_it_is_simulated(bucket: Bucket) -> None:
    readme = bucket.objects["_simulated/README.txt"].decode()
    assert "simulated" in readme and str(SEED) in readme and readme.count("\n") == 1
    assert json.loads(bucket.objects["_simulated/truth.json"]) == bucket.truth
    assert bucket.truth["simulated"] is True and bucket.truth["seed"] == SEED


def scan(rows: list[list[str]], sessions: set[str]) -> list[tuple[str, str]]:
    """Find what is wrong with a file's rows, by the plain meaning of each defect."""
    found = []
    for i, row in enumerate(rows):
        day, (open_, high, low, close, volume) = row[0], map(float, row[1:])
        if i and row == rows[i - 1]:
            found.append(("duplicate", day))
            continue
        if i and day <= rows[i - 1][0]:
            found.append(("out of order", day))
        if day not in sessions:
            found.append(("holiday", day))
        if min(open_, high, low, close) <= 0:
            found.append(("zero_price", day))
        elif high < low:
            found.append(("high_below_low", day))
        elif not low <= min(open_, close) <= max(open_, close) <= high:
            found.append(("outside the range", day))
        if volume <= 0:
            found.append(("negative_volume" if volume < 0 else "zero_volume", day))
    return sorted(found)


def test_defects_are_those_of_the_truth(any_bucket: Bucket, sessions: list[str]) -> None:
    dirty = any_bucket.truth["dirty_rows"]
    for symbol in any_bucket.symbols:
        found = scan(any_bucket.stock_rows(symbol), set(sessions))
        assert found == sorted((row["kind"], row["date"]) for row in dirty.get(symbol, ()))


def test_missing_sessions_are_those_of_the_truth(any_bucket: Bucket, sessions: list[str]) -> None:
    missing = any_bucket.truth["missing_sessions"]
    for symbol in any_bucket.symbols:
        first = LATE.get(symbol, "2010-01-04")
        due = [day for day in sessions if first <= day <= "2025-12-31"]
        present = {row[0] for row in any_bucket.stock_rows(symbol)}
        assert [day for day in due if day not in present] == missing.get(symbol, []), symbol
        assert min(present) == first and max(present) == "2025-12-31"


def test_the_truth_plants_enough_and_not_too_much(any_bucket: Bucket) -> None:
    missing, dirty = any_bucket.truth["missing_sessions"], any_bucket.truth["dirty_rows"]
    assert len(missing) == 3 and all(missing.values())
    assert len(dirty) == 3 and all(1 <= len(rows) <= 5 for rows in dirty.values())
    assert not missing.keys() & dirty.keys()
    assert not (missing.keys() | dirty.keys()) & (CLEAN | {symbol for symbol, _ in SPLITS})
    planted = [(row["kind"], row["date"]) for rows in dirty.values() for row in rows]
    assert {kind for kind, _ in planted} == KINDS
    assert [day for kind, day in planted if kind == "holiday"] == ["2023-01-02"]


def test_prices_are_printed_in_cents_and_volumes_in_two_spellings(bucket: Bucket) -> None:
    for symbol in bucket.symbols:
        rows = bucket.stock_rows(symbol)
        assert all(re.fullmatch(r"\d+\.\d{2}", price) for row in rows for price in row[1:5])
        assert all(re.fullmatch(r"-?\d+(\.0)?", row[5]) for row in rows)
        assert 5 <= sum(row[5].endswith(".0") for row in rows) <= 0.03 * len(rows), symbol


def test_splits_are_declared(bucket: Bucket) -> None:
    table = bucket.table("reference/splits.csv")
    keys = list(zip(table["symbol"], table["ex_date"], strict=True))
    assert keys == sorted(keys)
    assert dict(zip(keys, table["ratio"], strict=True)) == SPLITS
    told = bucket.truth["splits"].items()
    assert SPLITS == {(s, x["ex_date"]): x["ratio"] for s, splits in told for x in splits}


def test_only_a_split_looks_like_one(any_bucket: Bucket) -> None:
    """On its ex-date the raw price falls and the volume rises by the ratio, and on no other day."""
    for symbol in any_bucket.symbols:
        bars = any_bucket.bars(symbol)
        days, close, volume = list(bars.index), bars["Close"].to_numpy(), bars["Volume"].to_numpy()
        holes = any_bucket.truth["missing_sessions"].get(symbol, [])
        after_holes = np.isin(np.arange(1, len(days)), np.searchsorted(days, holes))
        allowed = np.where(after_holes, 1.6, 1.23)  # after a hole: the move of several sessions
        ratio = np.array([SPLITS.get((symbol, day), 1) for day in days[1:]])
        relative = close[1:] / close[:-1] * ratio
        assert ((1 / allowed < relative) & (relative < allowed)).all(), symbol
        for i in np.flatnonzero(ratio > 1) + 1:
            span = min(i, 20)
            rise = np.median(volume[i : i + span]) / np.median(volume[i - span : i])
            assert 0.6 < rise / ratio[i - 1] < 1.7, (symbol, days[i])
            assert 0.8 < bars["Open"].iloc[i] * ratio[i - 1] / close[i - 1] < 1.25


def test_the_price_drops_by_the_cash(bucket: Bucket) -> None:
    table = bucket.table("reference/dividends.csv")
    assert set(table["symbol"]) == {"AAPL", "JPM", "KO", "MSFT", "SPY", "XOM"}
    surprises, shares = [], []
    for symbol, paid in table.groupby("symbol"):
        bars = bucket.bars(str(symbol))
        assert paid["ex_date"].is_monotonic_increasing and 50 <= len(paid) <= 64
        assert paid["ex_date"].str[:7].is_unique and (paid["ex_date"].str[5:] < "12-22").all()
        at = bars.index.get_indexer(paid["ex_date"])
        assert (at > 0).all()
        before, cash = bars["Close"].to_numpy()[at - 1], paid["amount"].to_numpy()
        # As paid: a share of the raw price on the day, before a split as after it.
        assert ((cash / before > 0.001) & (cash / before < 0.012)).all()
        surprises += list((bars["Open"].to_numpy()[at] - (before - cash)) / before)
        shares += list(cash / before)
    # About 370 opens with a standard deviation of 0.5 %: the mean is known to 0.03 %.
    assert np.mean(shares) > 0.004 and abs(np.mean(surprises)) < 0.001


def test_returns_are_plausible(bucket: Bucket) -> None:
    returns = {}
    for symbol in bucket.symbols:
        bars = bucket.bars(symbol)
        ratio = pd.Series([SPLITS.get((symbol, day), 1) for day in bars.index], bars.index)
        returns[symbol] = np.log(bars["Close"] / bars["Close"].shift() * ratio)
        assert 0.08 < returns[symbol].std() * math.sqrt(252) < 0.9, symbol
        assert 3 < bars["Close"].iloc[-1] < 1500, symbol
    frame = pd.DataFrame(returns)
    assert (frame.corr()["SPY"] > 0.25).all()
    # Volatility clusters: a constant one would give 0 here, with a standard deviation of 0.004.
    squares = frame["SPY"] ** 2
    assert np.mean([squares.autocorr(lag) for lag in range(1, 21)]) > 0.03


def test_treasury_is_a_smooth_curve(any_bucket: Bucket, sessions: list[str]) -> None:
    table = any_bucket.table("reference/treasury.csv", index_col="date")
    assert list(table.columns) == TENORS
    assert list(table.index) == [day for day in sessions if day <= "2025-12-31"]
    assert b"-0.00" not in any_bucket.objects["reference/treasury.csv"]
    assert table.to_numpy().min() >= 0 and table.to_numpy().max() < 7
    assert table.diff().abs().max().max() < 0.3 and (table.max() > 3).all()
    # A rate that early exercise, boxes and parity are worth something at.
    assert table.loc[OPTION_DATES, "DGS1MO":"DGS3"].stack().between(3, 5).all()
