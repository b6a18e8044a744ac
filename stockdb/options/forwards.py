"""Forward, dividend yield and interest rate of each expiration, out of the chain's own quotes.

Put-call parity holds for European options. An American quote minus its early-exercise premium is
the European one: the yield is found at which parity holds for the prices so corrected, and that is
the yield at which call and put have the same implied volatility. European regression on American
prices finds something else (Pimbley, 2011; measured on a fair two-year chain: r 2.20 % and q
-0.15 % where 4.5 % and 1.5 % were true).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.options import european
from stockdb.options.american import FAST
from stockdb.options.market import RateCurve
from stockdb.options.pricing import Early
from stockdb.options.quotes import Quotes
from stockdb.options.terms import Terms

__all__ = ["Forwards", "forward_curve", "implied_spot"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_NEAR: Final = 3  # strikes an expiration: those nearest to the money
_WIDER: Final = 12  # where the rate is wanted, too, whose lever is the strikes' distance
_REACH: Final = 0.3  # of ln(K / S)
_PASSES: Final = 5
_LIMIT: Final = 0.5  # of a yield or rate a year; beyond, a quote is wrong


@dataclass(frozen=True, slots=True)
class Forwards:
    """What a chain says of each expiration.

    Attributes
    ----------
    table : pandas.DataFrame
        Index ``expiration`` (datetime64[ns], ascending). Columns, float64 but where noted:
        ``years`` (ACT/365), ``rate`` and ``q`` (continuous, a year), ``forward`` (dollars),
        ``forward_error`` (dollars: the larger of half the quotes' spread and the spread among
        strikes, over the root of their number), ``pairs`` (int64, strikes with both quotes),
        ``q_source`` (``parity``, ``neighbour`` where no pair is quoted, ``dividends`` or
        ``caller``), ``confidence`` (``high``: three pairs and more that agree within their
        spreads; ``low``; ``none``: no pair).
    spot : float
    """

    table: pd.DataFrame
    spot: float


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Strikes with a call and a put quoted, of all expirations."""

    group: Indices
    K: Floats
    T: Floats
    call: Floats
    put: Floats
    half: Floats  # half the sum of both spreads
    american: npt.NDArray[np.bool_]


def forward_curve(
    quotes: Quotes,
    spot: float,
    rate: RateCurve | None,
    *,
    q: float | None = None,
    cash: bool = False,
) -> Forwards:
    """Find the yield of each expiration, and the interest rate where none is given.

    Parameters
    ----------
    quotes : Quotes
    spot : float
        Dollars, of the moment of the quotes.
    rate : RateCurve or None
        None finds the rate too: a caller must ask for that by name, as the quotes hold it only
        to within a few tenths of a percent.
    q : float, optional
        A yield to use instead.
    cash : bool
        Dividends are known in cash: the yield is 0.

    Returns
    -------
    Forwards
    """
    days, group = np.unique(quotes.expiration, return_inverse=True)
    years = (days - np.datetime64(quotes.quote_date)).astype(np.int64) / 365.0
    found = np.zeros(len(days)) if rate is None else np.asarray(rate.rate(years), np.float64)
    pairs = _pairs(quotes, group.astype(np.int64), spot, _NEAR if rate is not None else _WIDER)
    carry, found, apart = _settle(pairs, spot, found, free_rate=rate is None)
    source = "parity"
    if cash or q is not None:
        carry = np.full(len(days), 0.0 if q is None else q)
        source = "dividends" if cash else "caller"
    return Forwards(_table(days, years, found, carry, pairs, apart, spot, source), spot)


def implied_spot(quotes: Quotes, rate: RateCurve) -> float | None:
    """Find the stock price that parity implies at the nearest expiration; None without a pair.

    Dividends until then are taken as none: the estimate is too low by one that falls in between.
    """
    for day in np.unique(quotes.expiration):
        rows = quotes.expiration == day
        frame = pd.DataFrame({
            "K": quotes.strike[rows], "call": quotes.call[rows], "mid": quotes.mid[rows],
        })  # fmt: skip
        both = frame.pivot_table(index="K", columns="call", values="mid").reindex(
            columns=[False, True]
        )
        both = both.dropna()
        if both.empty:
            continue
        apart = (both[True] - both[False]).abs()
        near = both.loc[apart.nsmallest(3).index]
        years = float((day - np.datetime64(quotes.quote_date)).astype(np.int64)) / 365.0
        strike = near.index.to_numpy(np.float64) * float(rate.discount(years))
        return float(np.median(near[True].to_numpy() - near[False].to_numpy() + strike))
    return None


def _pairs(quotes: Quotes, group: Indices, spot: float, most: int) -> _Pairs:
    """Match calls with puts of one strike, the nearest to the money of each expiration."""
    near = np.abs(np.log(quotes.strike / spot)) <= _REACH
    mid, half = quotes.mid, (quotes.ask - quotes.bid) / 2.0
    frame = pd.DataFrame({
        "group": group, "K": quotes.strike, "call": quotes.call, "mid": mid, "half": half,
        "american": ~quotes.european, "T": quotes.years, "wide": quotes.wide,
    })[near]  # fmt: skip
    calls, puts = frame[frame["call"]], frame[~frame["call"]]
    both = calls.merge(puts, on=["group", "K", "american"], suffixes=("", "_put"))
    both["half"] += both["half_put"]
    both["far"] = np.abs(np.log(both["K"] / spot)) + 1.0 * (both["wide"] | both["wide_put"])
    both = both.sort_values(["group", "far"], kind="stable")
    both = both[both.groupby("group").cumcount() < most]
    K, years, call, put, half_spread = (
        both[name].to_numpy(np.float64) for name in ("K", "T", "mid", "mid_put", "half")
    )
    american = both["american"].to_numpy(bool)
    return _Pairs(both["group"].to_numpy(np.int64), K, years, call, put, half_spread, american)


def _settle(
    pairs: _Pairs, spot: float, rate: Floats, *, free_rate: bool
) -> tuple[Floats, Floats, Floats]:
    """Find the yields at which parity holds without the premiums of early exercise.

    Returns the yield and rate of each expiration, and C - P of each pair without premiums.
    """
    count, n = len(rate), len(pairs.K)
    carry = np.zeros(count)
    sigma, premium = np.full((2, n), 0.3), np.zeros((2, n))
    value = np.stack([pairs.call, pairs.put])
    apart = value[0] - value[1]
    for number in range(2 * _PASSES if free_rate else _PASSES):
        if free_rate:
            rate = np.full(count, _flat_rate(pairs, apart))
        r = rate[pairs.group]
        with np.errstate(invalid="ignore", divide="ignore"):
            each = -np.log((apart + pairs.K * np.exp(-r * pairs.T)) / spot) / pairs.T
        carry = _median(pairs.group, np.where(np.abs(each) < _LIMIT, each, np.nan), count)
        q = carry[pairs.group]
        for side, sign in enumerate((1.0, -1.0)):
            known = _terms(pairs, spot, r, q, sign)
            if number == 0:
                sigma[side] = _start(known, value[side])
            sigma[side], premium[side] = _step(known, value[side], sigma[side])
        apart = value[0] - premium[0] - value[1] + premium[1]
    return carry, rate, apart


def _terms(pairs: _Pairs, spot: float, r: Floats, q: Floats, sign: float) -> Terms:
    n = len(pairs.K)
    q = np.nan_to_num(q)
    return Terms(
        np.full(n, spot), pairs.K, pairs.T, r, q, np.full(n, sign), pairs.american, (), (n,)
    )


def _start(known: Terms, value: Floats) -> Floats:
    found = european.normalised_vol(known.S, known.K, known.T, known.r, known.q, value, known.sign)
    result: Floats = np.clip(np.where(np.isfinite(found), found, 0.3), 0.02, 3.0)
    return result


def _step(known: Terms, value: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Take one step of the volatility, by the European vega, and give the premium before it."""
    base = european.sensitivities(known.S, known.K, known.T, known.r, known.q, sigma, known.sign)
    found = base.value.copy()
    rows = np.flatnonzero(~known.european)
    if len(rows):
        early = Early(known.at(rows), FAST)
        with np.errstate(all="ignore"):
            found[rows] = early.value(np.arange(len(rows)), sigma[rows])
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.clip((found - value) / base.vega, -0.1, 0.1)
    fresh = np.clip(sigma - np.nan_to_num(step), 0.02, 3.0)
    return fresh, np.maximum(found - base.value, 0.0)


def _flat_rate(pairs: _Pairs, apart: Floats) -> float:
    """Rate of all expirations together: minus the slope of C - P over K discounts one dollar.

    Each expiration counts by how well its strikes determine it: their distance and years against
    the quotes' spread.
    """
    rates, weights = [], []
    for number in np.unique(pairs.group):
        rows = pairs.group == number
        K, y, trust = pairs.K[rows], apart[rows], np.maximum(pairs.half[rows], 1e-3) ** -2.0
        lever = K - np.average(K, weights=trust)
        if len(K) < 3 or not lever.any():
            continue
        inverse = np.sum(trust * lever**2)
        slope = -np.sum(trust * lever * y) / inverse
        years = pairs.T[rows][0]
        rate = -np.log(slope) / years if slope > 0.0 else np.nan
        if abs(rate) < _LIMIT:
            rates.append(rate)
            weights.append(inverse * years**2)
    return float(np.average(rates, weights=weights)) if rates else 0.0


def _median(group: Indices, values: Floats, count: int) -> Floats:
    """Median by group; NaN without a value."""
    found = pd.Series(values).groupby(group).median()
    result: Floats = np.asarray(found.reindex(range(count)), dtype=np.float64)
    return result


def _table(
    days: npt.NDArray[np.datetime64],
    years: Floats,
    rate: Floats,
    carry: Floats,
    pairs: _Pairs,
    apart: Floats,
    spot: float,
    source: str,
) -> pd.DataFrame:
    count = len(days)
    number = np.bincount(pairs.group, minlength=count)
    seen = np.isfinite(carry)
    filled = np.interp(years, years[seen], carry[seen]) if seen.any() else carry
    origin = np.where(seen, source, "neighbour" if seen.any() else "none").astype(object)
    grown = np.exp(rate[pairs.group] * pairs.T)
    half = _median(pairs.group, pairs.half * grown, count)
    each = pairs.K + grown * apart  # each strike's forward
    middle = _median(pairs.group, each, count)
    spread = _median(pairs.group, np.abs(each - middle[pairs.group]), count)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.fmax(half, spread) / np.sqrt(number)
    agree = (number >= 3) & (spread <= 2.0 * half)
    confidence = np.where(agree, "high", np.where(number > 0, "low", "none"))
    return pd.DataFrame(
        {
            "years": years,
            "rate": rate,
            "q": filled,
            "forward": spot * np.exp((rate - filled) * years),
            "forward_error": np.where(number > 0, error, np.nan),
            "pairs": number.astype(np.int64),
            "q_source": origin,
            "confidence": confidence.astype(object),
        },
        index=pd.DatetimeIndex(days.astype("datetime64[ns]"), name="expiration"),
    )


def describe(forwards: Forwards) -> dict[str, Any]:
    """Sum the table up, in JSON's own types."""
    counts = forwards.table["confidence"].value_counts()
    return {str(name): int(number) for name, number in counts.items()}
