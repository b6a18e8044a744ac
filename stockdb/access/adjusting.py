"""Adjusts what was read by the caller's events, or by those of the bucket's reference tables."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access.provenance import ATTRS
from stockdb.access.reference import Reference
from stockdb.core.reader import Bars, Origin, ReadPolicy
from stockdb.errors import DataError
from stockdb.processing.adjust import Events, Factors, carried, events_of, factors, session_days
from stockdb.types import Adjustment

__all__ = ["Adjusted", "EventTables", "adjustment_of"]

_RANK: Final = {"none": 0, "splits": 1, "all": 2}


@dataclass(frozen=True)
class EventTables:
    """A caller's own tables; None takes the bucket's.

    Attributes
    ----------
    splits, dividends : pandas.DataFrame, pandas.Series or None
        See :func:`stockdb.processing.adjust.events_of`.
    """

    splits: pd.DataFrame | pd.Series | None = None
    dividends: pd.DataFrame | pd.Series | None = None


def needed(held: str, wanted: str) -> bool:
    """Whether prices have to be adjusted: not where they are as asked for, or more."""
    return _RANK[wanted] > _RANK[held]


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What bars are multiplied by, and why.

    Attributes
    ----------
    factors : Factors
    note : dict
        What a frame's note says: from, to, how many splits and dividends have an effect,
        whose tables they are of (``caller``, or a key of the bucket), and ``carried``: splits
        at which the prices as held do not step, as they would where nobody had adjusted them.
    origins : tuple of Origin
        Of the bucket's tables.
    """

    factors: Factors
    note: dict[str, Any]
    origins: tuple[Origin, ...]


def adjustment_of(
    bars: Bars,
    wanted: Adjustment,
    tables: EventTables,
    reference: Reference,
    policy: ReadPolicy,
    *,
    intraday: bool,
    today: dt.date,
) -> Adjusted:
    """Compute the factors for bars.

    Parameters
    ----------
    bars : Bars
        Up to the last one held, whatever the range: dividends need the close before them.
    intraday : bool
        Dates are UTC instants; ex-dates are local ones.
    today : datetime.date
        Splits that are announced for a later day have not happened.

    Raises
    ------
    DataError
        Splits or dividends are needed and nobody has them.
    """
    held: Adjustment = bars.adjustment  # type: ignore[assignment]
    splits = _table("splits", bars, tables.splits, reference, policy)
    dividends = (
        _table("dividends", bars, tables.dividends, reference, policy) if wanted == "all" else None
    )
    # Splits are needed even where prices have them: amounts may be on older shares.
    missing = []
    if splits is None and held == "none":
        missing.append("splits")
    if wanted == "all" and dividends is None:
        missing.append("dividends")
    if missing:
        raise DataError(
            f"The prices of {bars.symbol} are adjusted for {held!r} only; adjusting them for "
            f"{wanted!r} needs {' and '.join(missing)} that are not available.",
            remedy="Put reference/splits.csv and reference/dividends.csv into the bucket, give "
            "splits= and dividends=, or declare the dataset's adjustment in minio_config.py.",
            symbol=bars.symbol,
        )
    if splits is not None:
        splits = splits[splits.index <= pd.Timestamp(today)]
    basis = tables.dividends is None and _declared(reference, "dividends") == "splits"
    events = Events.of(splits, dividends, amounts_adjusted=basis)
    date = bars.date
    if intraday:
        date = session_days(pd.DatetimeIndex(date).tz_localize("UTC").tz_convert(bars.timezone))
    found = factors(date, np.asarray(bars.columns["close"]), events, held=held, wanted=wanted)
    origins: list[Origin] = []
    used: dict[str, str] = {}
    for kind, table in (("splits", splits), ("dividends", dividends)):
        if table is not None:
            own = reference.log.of(table).origins if ATTRS in table.attrs else ()
            origins += own
            used[kind] = own[0].key if own else "caller"
    note: dict[str, Any] = {
        "from": held,
        "to": wanted,
        "splits": found.splits,
        "dividends": found.dividends,
        "tables": used,
    }
    twice = carried(date, np.asarray(bars.columns["close"]), events) if held == "none" else []
    if twice:
        note["carried"] = [str(day)[:10] for day in twice]
    return Adjusted(found, note, tuple(origins))


def _table(
    kind: str,
    bars: Bars,
    given: pd.DataFrame | pd.Series | None,
    reference: Reference,
    policy: ReadPolicy,
) -> pd.DataFrame | None:
    if given is not None:
        return events_of(given, "ratio" if kind == "splits" else "amount", bars.symbol)
    return reference.events(kind, bars.symbol, policy=policy, required=False)  # type: ignore[arg-type]


def _declared(reference: Reference, kind: str) -> str:
    dataset = reference.settings.datasets.get(kind)
    return "none" if dataset is None else dataset.adjustment
