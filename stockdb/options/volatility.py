"""Volatility against volatility: implied, realised, its term structure and its own past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.arguments import Bounds, parse_bounds, parse_choice, parse_optional, parse_whole
from stockdb.options._asked import settle
from stockdb.options.book import Book
from stockdb.options.calendars import forward_vol
from stockdb.options.candidates import build
from stockdb.options.market import DividendSchedule
from stockdb.options.payoff import Side
from stockdb.options.quotes import Bools, Floats, Ints

__all__ = ["VolatilityRules", "iv_at", "realised_vol", "volatility_trades"]

WINDOWS: Final = (20, 60, 252, 504)
STRUCTURES: Final = ("straddle", "option")
_SESSIONS: Final = 252.0


@dataclass(frozen=True, slots=True)
class VolatilityRules:
    """Which volatility trades to look at; None asks nothing.

    Attributes
    ----------
    structure : {'straddle', 'option'}
        A straddle at the strike nearest each forward, or every option on its own, to be
        hedged with stock.
    days : tuple
        Least and most calendar days to expiration.
    moneyness : tuple
        Strike / forward.
    window : int or None
        Sessions of the realised volatility that iv is held against; None takes 252 up to
        a year and a half to expiration, 504 beyond, 20 and 60 below 45 and 120 days.
    min_difference : float or None
        Least |iv - rv|.
    beats_spread : bool
        |iv - rv| x vega exceeds the half-spreads of going in and out.
    max_spread_pct : float or None
    min_open_interest : float

    Raises
    ------
    ConfigurationError
        A value that is none, or a reversed range.
    """

    structure: str = "straddle"
    days: Bounds = (365, None)
    moneyness: Bounds = (0.8, 1.2)
    window: int | None = None
    min_difference: float | None = None
    beats_spread: bool = True
    max_spread_pct: float | None = 0.25
    min_open_interest: float = 0.0

    def __post_init__(self) -> None:
        window = None if self.window is None else parse_whole("window", self.window, least=2)
        settle(
            self,
            structure=parse_choice("structure", self.structure, STRUCTURES),
            days=parse_bounds("days", self.days),
            moneyness=parse_bounds("moneyness", self.moneyness),
            window=window,
            min_difference=parse_optional("min_difference", self.min_difference, least=0.0),
        )


def realised_vol(closes: Sequence[float] | Floats | pd.Series, window: int) -> float:
    """Annualised standard deviation of the last daily log returns; NaN where too few are known.

    Parameters
    ----------
    closes : sequence of float
        Oldest first; adjusted for splits.
    window : int
        Returns.

    Notes
    -----
    Close to close, mean taken off, ddof 1, times the root of 252.

    Examples
    --------
    >>> round(realised_vol([100, 101, 100, 101, 100], 4), 4)
    0.1824
    """
    prices = np.asarray(closes, dtype=np.float64)
    if len(prices) < window + 1:
        return float("nan")
    returns = np.diff(np.log(prices[-window - 1 :]))
    return float(np.std(returns, ddof=1) * np.sqrt(_SESSIONS))


def iv_at(table: pd.DataFrame, days: Any) -> Any:
    """At-the-money implied volatility at some days to expiration.

    Total variance is linear in time between expirations; outside, iv is that of the nearest.

    Parameters
    ----------
    table : pandas.DataFrame
        Of :meth:`stockdb.options.book.Book.at_the_money`.
    days : float or array-like
    """
    if not len(table):
        return np.full(np.shape(days), np.nan) if np.ndim(days) else float("nan")
    dte = table.index.to_numpy(np.float64)
    at = np.clip(np.asarray(days, dtype=np.float64), dte[0], dte[-1])
    variance = np.interp(at, dte, table["iv"].to_numpy() ** 2 * dte)
    found = np.sqrt(variance / at)
    return float(found) if np.ndim(found) == 0 else found


def volatility_trades(
    book: Book,
    closes: Sequence[float] | Floats | pd.Series,
    rules: VolatilityRules | None = None,
    *,
    history: pd.DataFrame | None = None,
    fee: float = 0.65,
    dividends: DividendSchedule | None = None,
    max_rows: int = 200,
) -> pd.DataFrame:
    """Find options whose implied volatility differs from what the stock did.

    Parameters
    ----------
    book : Book
    closes : sequence of float
        The stock's closes up to the quote date, oldest first, adjusted for splits.
    rules : VolatilityRules, optional
    history : pandas.DataFrame, optional
        Past at-the-money volatilities: index date (before the quote date), columns days to
        expiration. Ranks and z-scores are NaN without.
    fee, dividends, max_rows
        As for the other strategies.

    Returns
    -------
    pandas.DataFrame
        By ``edge`` for each dollar of capital, best first: the columns of
        :func:`stockdb.options.candidates.build` and action (``buy`` or ``sell`` volatility),
        iv, rv_20, rv_60, rv_252, rv_504 (and that of ``window``), rv (the one it is held against),
        iv_minus_rv, iv_over_rv, edge (|iv - rv| x vega less the half-spreads of going in and out,
        dollars a share),
        iv_rank (0 to 1: between the least and the most of the past), iv_percentile (share of past
        days below), iv_zscore, history_days, term_slope (a year), forward_vol (from the expiration
        before), skew_25d (iv of the put with delta -.25 less that of the call with .25, of the
        expiration, from American vols), hedge_shares (of stock for each package).
    """
    rules = rules or VolatilityRules()
    sell, rows = _structures(book, rules)
    table = book.at_the_money()
    windows = sorted({*WINDOWS, rules.window or WINDOWS[0]})
    known = {window: realised_vol(closes, window) for window in windows}
    first = rows[:, 0]
    iv = book.numbers["iv"][rows].mean(axis=1)
    rv = np.array([known[_window(days, rules.window, known)] for days in book.dte[first]])
    vega = book.numbers["vega"][rows].sum(axis=1)
    half = ((book.ask - book.bid) / 2.0)[rows].sum(axis=1)
    edge = np.abs(iv - rv) * 100.0 * vega - 2.0 * half
    sell = iv > rv
    keep = np.isfinite(edge)
    tests = {
        "numbers": keep,
        "beats_spread": (edge > 0.0) | (not rules.beats_spread),
        "difference": np.abs(iv - rv) >= (rules.min_difference or 0.0),
    }
    rejected = {"structures": len(rows)}
    for name, passed in tests.items():
        rejected[name] = int((~passed).sum())
        keep &= passed
    frames = []
    for sold in (True, False):
        some = np.flatnonzero(keep & (sell == sold))
        sign = -1 if sold else 1
        side = Side(rows[some], (sign,) * rows.shape[1])
        extra: dict[str, Any] = {
            "action": np.full(len(some), "sell" if sold else "buy", dtype=object),
            "iv": iv[some],
            **{f"rv_{window}": np.full(len(some), value) for window, value in known.items()},
            "rv": rv[some],
            "iv_minus_rv": (iv - rv)[some],
            "iv_over_rv": (iv / rv)[some],
            "edge": edge[some],
            **_past(book.dte[first[some]], iv[some], history),
            **_shape_of(book, table, first[some]),
        }
        delta = book.numbers["delta"][rows[some]].sum(axis=1) * sign
        extra["hedge_shares"] = -100.0 * delta
        name = f"{'short' if sold else 'long'}_{rules.structure}"
        frames.append(build(book, name, side, fee=fee, dividends=dividends, extra=extra))
    filled = [frame for frame in frames if len(frame)]
    frame = pd.concat(filled, ignore_index=True) if filled else frames[0]
    suspect = frame["flags"].map(lambda flags: "suspect_quote" in flags).to_numpy(bool)
    yielded = (frame["edge"] / frame["capital"]).fillna(-np.inf).to_numpy(np.float64)
    frame = frame.iloc[np.lexsort((-yielded, suspect))[:max_rows]].reset_index(drop=True)
    frame.attrs = {"stockdb": {"rejected": rejected}}
    return frame


def _structures(book: Book, rules: VolatilityRules) -> tuple[Bools, Ints]:
    forward = book.numbers["forward"]
    good: Bools = np.isfinite(book.numbers["iv"]) & (book.dte >= (rules.days[0] or 0))
    if rules.days[1] is not None:
        good &= book.dte <= rules.days[1]
    if rules.max_spread_pct is not None:
        good &= (book.ask - book.bid) / book.mid <= rules.max_spread_pct
    if rules.min_open_interest > 0.0:
        good &= book.open_interest >= rules.min_open_interest
    ratio = book.strike / forward
    low, high = rules.moneyness
    good &= (ratio >= (low or 0.0)) & (ratio <= (np.inf if high is None else high))
    if rules.structure == "option":
        rows = np.flatnonzero(good)[:, None]
        return np.zeros(len(rows), np.bool_), rows
    frame = pd.DataFrame(
        {
            "row": np.arange(len(book)),
            "dte": book.dte,
            "strike": book.strike,
            "call": book.call,
            "away": np.abs(np.log(ratio)),
        }
    )[good]
    both = frame[frame["call"]].merge(frame[~frame["call"]], on=["dte", "strike"])
    both = both.sort_values(["dte", "away_x"]).drop_duplicates("dte")
    pairs = both[["row_x", "row_y"]].to_numpy(np.int64).reshape(-1, 2)
    return np.zeros(len(pairs), np.bool_), pairs


def _window(days: int, wanted: int | None, known: dict[int, float]) -> int:
    if wanted is not None:
        return wanted
    if days < 45:
        return 20
    if days < 120:
        return 60
    long = 504 if days > 548 else 252
    return long if np.isfinite(known[long]) else 252


def _past(days: Ints, iv: Floats, history: pd.DataFrame | None) -> dict[str, Floats]:
    """Rank each implied volatility among past ones of the same time to expiration."""
    count = len(days)
    found = {name: np.full(count, np.nan) for name in ("iv_rank", "iv_percentile", "iv_zscore")}
    found["history_days"] = np.zeros(count)
    if history is None or not len(history):
        return found
    tenors = history.columns.to_numpy(np.float64)
    for i in range(count):
        past = np.array([np.interp(days[i], tenors, row) for row in history.to_numpy(np.float64)])
        past = past[np.isfinite(past)]
        found["history_days"][i] = len(past)
        if len(past) < 2:
            continue
        low, high, spread = past.min(), past.max(), past.std(ddof=1)
        if high > low:
            found["iv_rank"][i] = np.clip((iv[i] - low) / (high - low), 0.0, 1.0)
            found["iv_zscore"][i] = (iv[i] - past.mean()) / spread
        found["iv_percentile"][i] = (past < iv[i]).mean()
    return found


def _shape_of(book: Book, table: pd.DataFrame, rows: Ints) -> dict[str, Floats]:
    """Slope of the term structure, forward volatility and skew at each expiration."""
    slope, between = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    skew = np.full(len(rows), np.nan)
    days = table.index.to_numpy(np.int64)
    years, iv = table["years"].to_numpy(), table["iv"].to_numpy()
    if len(table) > 1:
        slope[:] = np.polyfit(years, iv, 1)[0]
    skews: dict[int, float] = {}
    for i, row in enumerate(rows):
        here = int(np.searchsorted(days, book.dte[row]))
        if 0 < here < len(days) and days[here] == book.dte[row]:
            between[i] = forward_vol(iv[here - 1], years[here - 1], iv[here], years[here])
        if int(book.dte[row]) not in skews:
            skews[int(book.dte[row])] = _skew(book, int(book.dte[row]))
        skew[i] = skews[int(book.dte[row])]
    return {"term_slope": slope, "forward_vol": between, "skew_25d": skew}


def _skew(book: Book, days: int) -> float:
    """25-delta skew of one expiration, linear in delta; NaN where deltas do not surround it."""
    mine = (book.dte == days) & np.isfinite(book.numbers["iv"]) & ~book.suspect
    found = []
    for call, wanted in ((False, -0.25), (True, 0.25)):
        rows = np.flatnonzero(mine & (book.call == call))
        delta, iv = book.numbers["delta"][rows], book.numbers["iv"][rows]
        order = np.argsort(delta)
        delta, iv = delta[order], iv[order]
        if not len(delta) or not delta[0] <= wanted <= delta[-1]:
            return float("nan")
        found.append(float(np.interp(wanted, delta, iv)))
    return found[0] - found[1]
