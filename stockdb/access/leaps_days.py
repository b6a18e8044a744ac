"""Long-dated options of many days, each day's chain turned into rows as it is read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stockdb.access import load
from stockdb.access.access import Access
from stockdb.access.chains import history_note, of_file_date, parse_filter, read_chain
from stockdb.access.market import read_market
from stockdb.access.numbers import NumbersRequest, with_numbers
from stockdb.access.provenance import ATTRS, Provenance
from stockdb.core.days import Place
from stockdb.core.reader import Origin
from stockdb.errors import DateNotFoundError, StockDBError, SymbolNotFoundError
from stockdb.options.book import book_of
from stockdb.options.leaps_rows import leaps_rows

__all__ = ["LeapsDays", "leaps_days"]


@dataclass
class LeapsDays:
    """What the chains of one underlying gave.

    Attributes
    ----------
    frame : pandas.DataFrame
        Index (date, contract): the columns of :func:`stockdb.options.leaps_rows.leaps_rows`,
        and quote_age.
    notes : dict
    provenance : Provenance
    """

    frame: pd.DataFrame
    notes: dict[str, Any] = field(default_factory=dict)
    provenance: Provenance | None = None


def leaps_days(
    access: Access, symbol: str, wanted: int, end: dt.date | None, values: Mapping[str, Any]
) -> LeapsDays:
    """Read the newest days with a chain on or before a date.

    Raises
    ------
    DateNotFoundError
        The bucket has no options file up to the date.
    SymbolNotFoundError
        No file among the newest ones quotes the symbol.
    StockDBError
        Every day failed.
    """
    policy = load.policy_of(values)
    places = list(access.chains.places(None, end, policy=policy).values())[-wanted:]
    if not places:
        raise DateNotFoundError(
            f"The bucket has no options file up to {end}.",
            remedy="list_option_dates() has the dates that are there.",
        )
    closes, origins, adjusted = _closes(access, symbol, end, values)
    outcomes = load.each(access, places, lambda p: _day(access, symbol, p, closes, values))
    parts: dict[pd.Timestamp, pd.DataFrame] = {}
    sources: set[str] = set()
    failed: dict[str, str] = {}
    absent = others = 0
    for place, outcome in zip(places, outcomes, strict=True):
        if isinstance(outcome, SymbolNotFoundError):
            absent += 1
        elif isinstance(outcome, StockDBError):
            failed[str(place.date)] = outcome.message
        else:
            rows, source, some, other = outcome
            others += other
            parts[pd.Timestamp(place.date).as_unit("ns")] = rows
            sources.add(source)
            origins += some
    if not parts:
        raise next(error for error in outcomes if isinstance(error, StockDBError))
    frame = pd.concat(parts, names=["date", "contract"])
    notes = {
        "days": len(parts),
        "days_absent": absent,
        "days_failed": dict(list(failed.items())[:20]),
        "other_quote_dates": others,
        "spot_source": sorted(sources),
        "closes_adjusted": adjusted,
    }
    note = history_note(access.provenance, symbol, tuple(origins))
    note |= {"interval": "daily", "validation": None}
    return LeapsDays(frame, notes, Provenance(note["provenance"], note, tuple(origins)))


def _closes(
    access: Access, symbol: str, end: dt.date | None, values: Mapping[str, Any]
) -> tuple[pd.Series, list[Origin], str | None]:
    """Read the stock's closes up to a date, adjusted as far as the bucket knows how."""
    adjust, _ = load.widest_adjustment(access, "auto", load.policy_of(values))
    request = access.request(
        None, end, "daily", adjust=adjust, validate=False,
        max_age=values["max_age"], offline=values["offline"], allow_stale=values["allow_stale"],
    )  # fmt: skip
    try:
        frame = access.history(symbol, request)
    except SymbolNotFoundError:
        return pd.Series(dtype=np.float64, index=pd.DatetimeIndex([])), [], None
    origins = list(access.provenance.of(frame).origins)
    closes = frame["close"]
    return closes[closes > 0.0], origins, str(frame.attrs[ATTRS]["adjustment"])


def _day(
    access: Access, symbol: str, place: Place, closes: pd.Series, values: Mapping[str, Any]
) -> tuple[pd.DataFrame, str, list[Origin], int]:
    policy = load.policy_of(values)
    chain = read_chain(
        access.chains, access.provenance, symbol, place, parse_filter(), policy,
        verify=access.verifies(None),
    )  # fmt: skip
    origins = list(access.provenance.of(chain).origins)
    chain = of_file_date(chain)
    enriched = with_numbers(access, chain, NumbersRequest(rate=values["rate"], policy=policy))
    market = read_market(access.reference, symbol, place.date, rate=0.0, policy=policy)
    known = closes[closes.index <= pd.Timestamp(place.date)]  # a row is blind to later bars
    book = book_of(enriched)
    rows = leaps_rows(
        book,
        known.to_numpy(np.float64),
        min_days=values["min_days"],
        dividends=market.dividends,
    )
    rows["quote_age"] = float((known.index > book.quote_date).sum()) if len(known) else np.nan
    note = enriched.attrs[ATTRS]
    return rows, str(note["numbers"]["spot_source"]), origins, note["other_quote_dates"]
