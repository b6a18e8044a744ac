"""Chains that are read, with their numbers: the stock's price and the rates joined to them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access.access import Access
from stockdb.access.chains import ChainFilter, inside
from stockdb.access.market import read_market
from stockdb.access.provenance import ATTRS
from stockdb.core.reader import ReadPolicy
from stockdb.errors import ConfigurationError, DataError, NotFoundError
from stockdb.options.chain import COLUMNS, enrich
from stockdb.options.forwards import implied_spot
from stockdb.options.market import DividendSchedule, RateCurve, parse_price, parse_yield
from stockdb.options.quotes import executable_quotes, file_date

__all__ = ["NumbersRequest", "last_traded", "long_dated", "with_numbers"]

_APART: Final = 0.03  # a close this far from what parity implies is of another moment or basis
_UNITS: Final = {
    "theta": "dollars a calendar day",
    "vega": "dollars a vol point",
    "iv": "1.00 = 100 %",
}


@dataclass(frozen=True, slots=True)
class NumbersRequest:
    """What a caller says of the market, checked before anything is read; the rest is the bucket's.

    Raises
    ------
    ConfigurationError
        A price, rate, yield or schedule that cannot be one.
    """

    spot: float | None = None
    rate: Any = None
    dividends: Any = None
    q: float | None = None
    policy: ReadPolicy | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "spot", parse_price("spot", self.spot))
        object.__setattr__(self, "q", parse_yield(self.q))
        if self.rate is not None and not _implied(self.rate):
            object.__setattr__(self, "rate", RateCurve.of(self.rate))
        if self.dividends is not None:
            object.__setattr__(self, "dividends", DividendSchedule.of(self.dividends))


def long_dated(
    access: Access, chain: pd.DataFrame, request: NumbersRequest, wanted: ChainFilter
) -> pd.DataFrame:
    """Add the numbers to those rows of a chain that a filter by days and type keeps.

    Both types are computed with, as together they give the forward.
    """
    days = wanted.dte or (None, None)
    frame = with_numbers(access, chain, request, lambda rows: inside(rows["dte"].to_numpy(), days))
    if wanted.option_type is not None:
        frame = frame[frame["type"] == wanted.option_type].reset_index(drop=True)
    if frame.empty and len(chain):
        low, high = (end if end is None else f"{end:.0f}" for end in days)
        held = f"{chain['dte'].min()} to {chain['dte'].max()}"
        reason = (
            f"none of {len(chain)} rows is a {wanted.option_type or 'call or put'} with {low} days "
            f"to expiration or more{'' if high is None else f' and {high} or less'}: the chain "
            f"has {held}"
        )
        frame.attrs = {**frame.attrs, ATTRS: {**frame.attrs[ATTRS], "empty_reason": reason}}
    return frame


def with_numbers(
    access: Access, chain: pd.DataFrame, wanted: NumbersRequest, keep: Any = None
) -> pd.DataFrame:
    """Add the numbers to a chain, or to the chains of many days.

    Parameters
    ----------
    access : Access
    chain : pandas.DataFrame
        Needs ``symbol`` and ``quote_date``.
    wanted : NumbersRequest
    keep : callable, optional
        Chain -> mask of the rows wanted. The stock's price is checked against all rows.
    """
    missing = [name for name in ("symbol", "quote_date") if name not in chain.columns]
    if missing:
        raise DataError(
            f"The chain has no column {', '.join(missing)}.",
            remedy="Give a chain as get_option_chain or get_options_data returns it.",
        )
    symbols = chain["symbol"].unique()
    if len(symbols) > 1:
        raise ConfigurationError(
            f"The chain holds {len(symbols)} underlyings.",
            remedy="Give one underlying at a time: chain[chain['symbol'] == 'AAPL'].",
        )
    if chain.empty:
        return _without_rows(chain)
    parts, notes = [], {}
    for day, part in _days(chain).items():
        numbers, note = _of_day(access, str(symbols[0]), day, part, wanted, keep)
        parts.append(numbers)
        notes[day.isoformat()] = note
    frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    summary = dict(chain.attrs.get(ATTRS, {}))
    first = notes[min(notes)]
    summary["numbers"] = {**first, "units": dict(_UNITS)} if len(notes) == 1 else {
        "days": len(notes), "spot_source": sorted({note["spot_source"] for note in notes.values()}),
        "units": dict(_UNITS),
    }  # fmt: skip
    frame.attrs = {**chain.attrs, ATTRS: summary}
    return frame


def _days(chain: pd.DataFrame) -> dict[dt.date, pd.DataFrame]:
    """Part a chain by day: rows out of one file are its date's, whatever they say themselves."""
    day = file_date(chain)
    if day is not None:
        return {day: chain}
    return {
        pd.Timestamp(quoted).date(): chain[chain["quote_date"] == quoted].reset_index(drop=True)
        for quoted in sorted(chain["quote_date"].dropna().unique())
    }


def _without_rows(chain: pd.DataFrame) -> pd.DataFrame:
    result = chain.copy()
    for name in COLUMNS:
        result[name] = pd.Series(dtype="object" if name in ("reason", "flags") else "float64")
    result.attrs = dict(chain.attrs)
    return result


def _of_day(
    access: Access,
    symbol: str,
    day: dt.date,
    chain: pd.DataFrame,
    wanted: NumbersRequest,
    keep: Any,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    rate = wanted.rate
    implied = _implied(rate)
    if not implied:
        rate = read_market(
            access.reference, symbol, day, rate=rate, dividends=(), policy=wanted.policy
        ).curve
    spot, source, note = _spot(access, symbol, day, chain, wanted, None if implied else rate)
    part = chain if keep is None else chain[keep(chain)].reset_index(drop=True)
    if part.empty:
        frame = _without_rows(part)
    else:
        frame = enrich(part, spot, rate, dividends=wanted.dividends, q=wanted.q, quote_date=day)
    if spot is None and len(frame) and frame["spot"].notna().any():
        spot = float(frame["spot"].dropna().iloc[0])
    cash = wanted.dividends
    return frame, {
        "spot": spot,
        "spot_source": source,
        "synchronous": source == "caller",
        **({"note": note} if note else {}),
        "rate": "implied" if implied else None if rate is None else rate.describe(),
        "dividends": None if cash is None else cash.describe(),
        "price": "mid",
    }


def _implied(rate: Any) -> bool:
    return isinstance(rate, str) and rate == "implied"


def _spot(
    access: Access,
    symbol: str,
    day: dt.date,
    chain: pd.DataFrame,
    wanted: NumbersRequest,
    rate: RateCurve | None,
) -> tuple[float | None, str, str]:
    """Find the stock's price: the caller's, the day's close, or what parity implies."""
    if wanted.spot is not None:
        return wanted.spot, "caller", ""
    close = _close(access, symbol, day, wanted.policy or ReadPolicy())
    quotes = executable_quotes(chain, quote_date=day)
    parity = implied_spot(quotes, rate or RateCurve((0.0,), (0.0,)))
    if close is None:
        return parity, "parity", "the bucket has no close of the day"
    if parity is not None and abs(parity / close - 1.0) > _APART:
        gap = f"the close of the day is {close:g}, the quotes imply {parity:g}"
        return parity, "parity", f"{gap}: another basis or moment"
    return close, "daily close", "the close is not of the moment of the quotes"


def _close(access: Access, symbol: str, day: dt.date, policy: ReadPolicy) -> float | None:
    """Close of the day on the share count of that day; None where the bucket has none."""
    try:
        request = access.request(
            day, day, "daily", validate=False,
            max_age=policy.max_age, offline=policy.offline, allow_stale=policy.allow_stale,
        )  # fmt: skip
        frame = access.history(symbol, request)
    except NotFoundError:
        return None
    return None if frame.empty else last_traded(access, symbol, frame, policy)[0]


def last_traded(
    access: Access, symbol: str, bars: pd.DataFrame, policy: ReadPolicy | None = None
) -> tuple[float, float]:
    """Give the last close and volume of daily bars on the share count of their day."""
    close, volume = (float(bars[name].to_numpy(np.float64)[-1]) for name in ("close", "volume"))
    if bars.attrs[ATTRS].get("adjustment") != "splits":
        return close, volume
    splits = access.splits(symbol, required=False, policy=policy)
    if splits is None or splits.empty:
        return close, volume
    later = splits["ratio"].to_numpy(np.float64)[splits.index > bars.index[-1]]
    ratio = float(later.prod())
    return close * ratio, volume / ratio
