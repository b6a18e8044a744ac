"""The simulated demo bucket: same bytes everywhere, the stated layout, only the planted defects.

What the files must hold is worked out here from the calendar, from textbook formulas and from the
truth that the simulation declares: none of its own functions takes part.
"""

from __future__ import annotations

import calendar
import csv
import datetime as dt
import functools
import hashlib
import io
import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import stockdb
from stockdb.demo.simulate import demo_objects, demo_truth

SEED = 20240131
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
OPTION_DATES = ["2025-12-24", "2025-12-26", "2025-12-29", "2025-12-30", "2025-12-31"]
OPTION_HEADER = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility"
)
TENORS = "DGS1MO DGS3MO DGS6MO DGS1 DGS2 DGS3 DGS5 DGS7 DGS10 DGS20 DGS30".split()
CENT = 0.01
EXACT = 1e-9  # dollars: rounding of doubles, nothing more


@dataclass
class Bucket:
    objects: dict[str, bytes]
    truth: dict[str, Any]
    seconds: float  # of processor time

    @property
    def symbols(self) -> list[str]:
        return [k.split("/")[1][:-4] for k in self.objects if k.startswith("stocks-2010-2025/")]

    def lines(self, key: str) -> list[str]:
        return self.objects[key].decode("ascii").split("\n")

    def stock_rows(self, symbol: str) -> list[list[str]]:
        return list(csv.reader(self.lines(f"stocks-2010-2025/{symbol}.csv")[1:-1]))

    def table(self, key: str, **kwargs: Any) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(self.objects[key]), **kwargs)

    def bars(self, symbol: str) -> pd.DataFrame:
        """Bars as the file has them, defects left out."""
        bad = {row["date"] for row in self.truth["dirty_rows"].get(symbol, ())}
        frame = self.table(f"stocks-2010-2025/{symbol}.csv", index_col="trade_date")
        return frame[~frame.index.isin(bad)]

    def chain(self, date: str) -> pd.DataFrame:
        frame = self.table(f"options-complete/{date}options.csv")
        expiration = pd.to_datetime(frame["expiration"])
        frame["years"] = (expiration - pd.Timestamp(date)).dt.days / 365
        frame["spot"] = frame["underlying"].map(self.truth["spots"][date])
        return frame


@functools.cache
def make(seed: int) -> Bucket:
    start = time.process_time()
    pairs = list(demo_objects(seed))
    bucket = Bucket(dict(pairs), demo_truth(seed), time.process_time() - start)
    assert len(bucket.objects) == len(pairs), "a key comes twice"
    return bucket


@pytest.fixture
def bucket() -> Bucket:
    return make(SEED)


@pytest.fixture(params=[SEED, 0, 7], ids="seed {}".format)
def any_bucket(request: pytest.FixtureRequest) -> Bucket:
    """What must hold by construction holds for other seeds too."""
    return make(request.param)


@pytest.fixture(scope="module")
def sessions() -> list[str]:
    calendar_ = exchange_calendars.get_calendar("XNYS", start="2010-01-01", end="2028-12-31")
    return [str(day.date()) for day in calendar_.sessions]


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
    """NumPy and the C library are told to do without the vector units of this processor.

    On x86-64 Linux this changes the last bits of exp, log and ndtr, as another machine would.
    """
    vector_units = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    here = digests_in_a_fresh_interpreter(PYTHONHASHSEED="1")
    elsewhere = digests_in_a_fresh_interpreter(
        PYTHONHASHSEED="2",
        NPY_DISABLE_CPU_FEATURES=" ".join(vector_units),
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
    for part in ("missing_sessions", "dirty_rows", "spots", "sigma"):
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


def test_treasury_is_a_smooth_curve_that_agrees_with_the_options(
    any_bucket: Bucket, sessions: list[str]
) -> None:
    table = any_bucket.table("reference/treasury.csv", index_col="date")
    assert list(table.columns) == TENORS
    assert list(table.index) == [day for day in sessions if day <= "2025-12-31"]
    assert b"-0.00" not in any_bucket.objects["reference/treasury.csv"]
    assert table.to_numpy().min() >= 0 and table.to_numpy().max() < 7
    assert table.diff().abs().max().max() < 0.3 and (table.max() > 3).all()
    # The options are priced without interest: a rate on their dates would make reversals of them.
    assert (table.loc[OPTION_DATES, "DGS1MO":"DGS3"] == 0).all(axis=None)


def test_expirations(bucket: Bucket, sessions: list[str]) -> None:
    def third_friday_session(year: int, month: int) -> str:
        fridays = [week[4] for week in calendar.monthcalendar(year, month) if week[4]]
        return max(d for d in sessions if d <= dt.date(year, month, fridays[2]).isoformat())

    monthly = [third_friday_session(2026, month) for month in range(1, 9)]
    assert monthly[5] == "2026-06-18"  # Juneteenth falls on the third Friday
    leaps = [third_friday_session(year, 1) for year in (2027, 2028)]
    for date in OPTION_DATES:
        chain = bucket.chain(date)
        for _, contracts in chain.groupby("underlying"):
            assert list(contracts["expiration"].unique()) == monthly + leaps
        assert (chain.loc[chain["expiration"].isin(leaps), "years"] > 1).all()


def test_contracts_agree_with_their_columns_and_ascend(bucket: Bucket) -> None:
    pattern = re.compile(r"O:([A-Z]+)(\d\d)(\d\d)(\d\d)([CP])(\d{8})")
    halves = 0
    for date in OPTION_DATES:
        rows = list(csv.reader(bucket.lines(f"options-complete/{date}options.csv")[1:-1]))
        assert len({row[0] for row in rows}) == len(rows) and len({row[1] for row in rows}) == 12
        keys = [(*row[1:4], float(row[4])) for row in rows]
        assert keys == sorted(keys)
        for row in rows:
            match = pattern.fullmatch(row[0])
            assert match, row[0]
            symbol, year, month, day, letter, thousandths = match.groups()
            kind = {"C": "call", "P": "put"}[letter]
            assert row[1:4] == [symbol, f"20{year}-{month}-{day}", kind]
            assert re.fullmatch(r"[1-9]\d*(\.5)?", row[4]) and row[5] == "A"
            assert round(float(row[4]) * 1000) == int(thousandths)
            assert row[12:] == [date, "", "", "", "", ""]
            halves += row[4].endswith(".5")
    assert halves > 100


def test_strikes_surround_the_spot_and_contracts_last(bucket: Bucket) -> None:
    chains = {date: bucket.chain(date) for date in OPTION_DATES}
    assert len({frozenset(chain["contract"]) for chain in chains.values()}) == 1
    for chain in chains.values():
        groups = chain.groupby(["underlying", "expiration", "type"])
        strikes, spot = groups["strike"], groups["spot"].first()
        assert (strikes.min() < 0.75 * spot).all() and (strikes.max() > 1.3 * spot).all()
        # Evenly spaced, so that a butterfly has its neighbours.
        steps = strikes.diff().groupby(chain["underlying"])
        assert (strikes.count() >= 20).all() and (steps.min() == steps.max()).all()


def test_sizes_volume_and_open_interest(bucket: Bucket) -> None:
    previous = None
    for date in OPTION_DATES:
        chain = bucket.chain(date).set_index("contract")
        for size in ("bid_size", "ask_size"):
            assert chain[size].between(1, 500).all() and chain[size].nunique() > 100
        assert (chain["volume"].dropna() > 0).all() and 0.05 < chain["volume"].isna().mean() < 0.8
        assert (chain["open_interest"] >= 0).all() and chain["open_interest"].max() > 1000
        near = (chain["strike"] / chain["spot"] - 1).abs() < 0.05
        assert chain["volume"][near].mean() > 3 * chain["volume"][~near].mean()
        if previous is not None:
            change = chain["open_interest"] - previous["open_interest"]
            # Known at the open: it can only have moved by what traded the day before.
            assert (change.abs() <= previous["volume"].fillna(0)).all() and (change != 0).any()
        previous = chain


def test_spots_are_the_raw_closes_of_the_day(any_bucket: Bucket) -> None:
    spots = any_bucket.truth["spots"]
    assert list(spots) == OPTION_DATES
    for date, closes in spots.items():
        assert set(closes) == set(any_bucket.chain(date)["underlying"])
        for symbol, close in closes.items():
            assert any_bucket.bars(symbol)["Close"][date] == close


def black_scholes(chain: pd.DataFrame, parameters: dict[str, dict[str, float]]) -> np.ndarray:
    """Price with r = q = 0 (Hull, Options, Futures and Other Derivatives, chapter 15)."""
    known = pd.DataFrame(parameters).T.loc[chain["underlying"]].reset_index(drop=True)
    s, k, t = chain["spot"], chain["strike"], chain["years"]
    a, b, c = known["long"], known["short"], known["decay"]
    sigma = np.sqrt(a * a + (b * b - a * a) * (1 - np.exp(-c * t)) / (c * t))
    d1 = (np.log(s / k) + sigma**2 / 2 * t) / (sigma * np.sqrt(t))
    d2 = d1 - sigma * np.sqrt(t)
    call = s * norm.cdf(d1) - k * norm.cdf(d2)
    put = k * norm.cdf(-d2) - s * norm.cdf(-d1)
    return np.where(chain["type"] == "call", call, put)


def test_quotes_surround_the_black_scholes_price(any_bucket: Bucket) -> None:
    parameters = any_bucket.truth["sigma"]["parameters"]
    assert all(0.05 < p["short"] < 1 and 0.05 < p["long"] < 1 for p in parameters.values())
    for date in OPTION_DATES:
        chain = any_bucket.chain(date)
        fair = black_scholes(chain, parameters)
        for side in ("bid", "ask"):
            cents = chain[side] * 100
            assert (cents - cents.round()).abs().max() < 1e-6
        # A tick off the fair price on either side, and not so wide that any surface would fit.
        below, above = fair - chain["bid"], chain["ask"] - fair
        assert ((below >= CENT - EXACT) | (chain["bid"] == 0)).all()
        assert (below >= -EXACT).all() and (above >= CENT - EXACT).all()
        assert (np.maximum(below, above) <= 3 * CENT + 0.015 * fair).all()
        assert (chain["bid"] >= 0).all() and (chain["bid"] == 0).any()
        assert ((chain["bid"] == 0) == (fair < 0.02)).mean() > 0.99


def static_profits(chain: pd.DataFrame) -> dict[str, float]:
    """Give the best profit a share of each kind of arbitrage: buy at asks, sell at bids.

    Hull, chapter 11; Carr and Madan (2005). The stock trades at its close; no interest, no cash.
    """
    best: dict[str, float] = {}

    def note(kind: str, profits: np.ndarray) -> None:
        best[kind] = max(best.get(kind, -math.inf), float(np.nanmax(profits)))

    for _, group in chain.groupby("underlying"):
        spot = group["spot"].iloc[0]
        k = np.sort(group["strike"].unique())
        # Arrays (expiration, strike); NaN where a strike is not listed for that expiration.
        table = group.pivot(index="expiration", columns=["type", "strike"], values=["bid", "ask"])
        table = table.sort_index(axis=1)
        cb, ca = (table[side]["call"].to_numpy() for side in ("bid", "ask"))
        pb, pa = (table[side]["put"].to_numpy() for side in ("bid", "ask"))
        step = np.diff(k)
        note("call monotonicity", cb[:, 1:] - ca[:, :-1])
        note("put monotonicity", pb[:, :-1] - pa[:, 1:])
        note("call slope", cb[:, :-1] - ca[:, 1:] - step)
        note("put slope", pb[:, 1:] - pa[:, :-1] - step)
        low = (k[2:] - k[1:-1]) / (k[2:] - k[:-2])
        for kind, bid, ask in (("call", cb, ca), ("put", pb, pa)):
            wings = low * ask[:, :-2] + (1 - low) * ask[:, 2:]
            note(f"{kind} butterfly", bid[:, 1:-1] - wings)
            for near in range(len(bid) - 1):
                note(f"{kind} calendar", bid[near] - ask[near + 1 :])
        note("conversion", cb - pa - spot + k)
        note("reversal", spot + pb - ca - k)
        note("call floor", spot - k - ca)
        note("put floor", k - spot - pa)
        note("call cap", cb - spot)
        note("put cap", pb - k)
        note("long box", step - (ca[:, :-1] - cb[:, 1:] + pa[:, 1:] - pb[:, :-1]))
        note("short box", cb[:, :-1] - ca[:, 1:] + pb[:, 1:] - pa[:, :-1] - step)
        note("crossed", np.maximum(cb - ca, pb - pa))
    return best


def test_no_executable_static_arbitrage(any_bucket: Bucket) -> None:
    for date in OPTION_DATES:
        profits = static_profits(any_bucket.chain(date))
        assert len(profits) == 17
        assert {kind: p for kind, p in profits.items() if p > EXACT} == {}, date


PLANTS = {  # type, side, change in dollars -> what it makes possible, among others
    ("call", "bid", +15.0): {"call monotonicity", "call butterfly", "conversion"},
    ("put", "ask", -12.0): {"put monotonicity", "put butterfly", "put calendar", "conversion"},
    ("call", "ask", -40.0): {"call slope", "call calendar", "reversal", "long box"},
}


@pytest.mark.parametrize("plant", PLANTS, ids=str)
def test_the_arbitrage_scan_finds_a_planted_one(bucket: Bucket, plant: tuple[Any, ...]) -> None:
    type_, side, change = plant
    chain = bucket.chain(OPTION_DATES[-1])
    listed = chain.query("underlying == 'SPY' and type == @type_ and expiration == '2026-02-20'")
    chain.loc[(listed["strike"] - listed["spot"]).abs().idxmin(), side] += change
    assert PLANTS[plant] <= {kind for kind, p in static_profits(chain).items() if p > EXACT}
