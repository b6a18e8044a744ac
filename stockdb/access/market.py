"""Rates and dividends of one underlying on one day: a caller's own, else the bucket's."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from stockdb.access.reference import Reference
from stockdb.core.reader import ReadPolicy
from stockdb.options.market import DividendSchedule, RateCurve

__all__ = ["Market", "read_market"]

_STALE_RATES: Final = 10  # calendar days


@dataclass(frozen=True, slots=True)
class Market:
    """What is known about rates and dividends.

    Attributes
    ----------
    curve : RateCurve or None
    dividends : DividendSchedule or None
        None: unknown.
    known_until : datetime.date or None
        Last ex-date that the bucket's table covers; None where the caller gave the schedule.
    declared_until : datetime.date or None
        Later ex-dates are forecasts: of the bucket's table all of them, for it does not say
        when a dividend was declared. None where the caller gave the schedule.
    """

    curve: RateCurve | None
    dividends: DividendSchedule | None
    known_until: dt.date | None = None
    declared_until: dt.date | None = None

    def describe(self) -> dict[str, Any]:
        """Say what was used, in JSON's own types."""
        return {
            "rate": None if self.curve is None else self.curve.describe(),
            "dividends": None if self.dividends is None else self.dividends.describe(),
            "dividends_known_until": None
            if self.known_until is None
            else self.known_until.isoformat(),
        }


def read_market(
    reference: Reference,
    symbol: str,
    day: dt.date,
    *,
    rate: Any = None,
    dividends: Any = None,
    policy: ReadPolicy | None = None,
) -> Market:
    """Take what a caller gives; what he does not give, from the bucket's reference tables.

    Parameters
    ----------
    reference : Reference
    symbol : str
    day : datetime.date
        Quote date. Rates are the newest of the ten days up to it.
    rate, dividends
        See :meth:`RateCurve.of` and :meth:`DividendSchedule.of`; None looks into the bucket.
    policy : ReadPolicy, optional
        For the bucket's tables.

    Returns
    -------
    Market
        With None where neither knows. A symbol that is not in the table of dividends has
        unknown ones.
    """
    curve = _curve(reference, day, policy) if rate is None else RateCurve.of(rate)
    if dividends is not None:
        return Market(curve, DividendSchedule.of(dividends))
    return _with_dividends(curve, reference, symbol, day, policy)


def _curve(reference: Reference, day: dt.date, policy: ReadPolicy | None) -> RateCurve | None:
    table = reference.treasury(percent=True, required=False, policy=policy)
    if table is None:
        return None
    end = pd.Timestamp(day)
    held = table.loc[end - pd.Timedelta(days=_STALE_RATES) : end].dropna(how="all")
    if held.empty:
        return None
    return RateCurve.from_treasury(held.iloc[-1], source="treasury")


def _with_dividends(
    curve: RateCurve | None,
    reference: Reference,
    symbol: str,
    day: dt.date,
    policy: ReadPolicy | None,
) -> Market:
    table = reference.events("dividends", required=False, policy=policy)
    mine = reference.events("dividends", symbol, required=False, policy=policy)
    if table is None or mine is None or mine.empty:
        return Market(curve, None)
    today = pd.Timestamp(day)
    to_come = mine.loc[mine.index > today, "amount"]
    basis = reference.settings.datasets["dividends"].adjustment
    splits = reference.events("splits", symbol, required=False, policy=policy)
    paid = []
    for ex_date, amount in zip(to_come.index, to_come.to_numpy(), strict=True):
        ratio: Any = 1.0
        if splits is not None and len(splits):
            later = splits.index > today
            if basis != "splits":  # as paid: only splits in between changed the share
                later &= splits.index <= ex_date
            ratio = splits.loc[later, "ratio"].prod()
        paid.append((ex_date, float(amount) * float(ratio)))
    schedule = DividendSchedule.of(paid, source="dividends")
    return Market(curve, schedule, table.index.max().date(), day)
