"""Reads the bars of many symbols; one that fails is a result like any other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd

from stockdb.access.access import Access
from stockdb.access.provenance import Provenance
from stockdb.core.reader import ReadPolicy
from stockdb.errors import StockDBError
from stockdb.processing.spec import BARS
from stockdb.types import DateLike, parse_symbol

__all__ = ["Loaded", "bars", "bill", "each", "policy_of", "widest_adjustment"]

log = logging.getLogger("stockdb.access")
T = TypeVar("T")
#: How long a rate stands for later days: over holidays, not over a table that has ended.
_RATE_HOLDS: Final = pd.Timedelta(14, "D")


@dataclass
class Loaded:
    """What was read.

    Attributes
    ----------
    frames : dict of str to pandas.DataFrame
        Columns of `BARS`, all of them, all bars held up to the end date, in the order asked.
    errors : dict of str to StockDBError
    provenance : dict of str to Provenance
    notes : dict of str to object
        What the frame's attrs say beside: adjustment, rate ...
    """

    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    errors: dict[str, StockDBError] = field(default_factory=dict)
    provenance: dict[str, Provenance] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def policy_of(values: Mapping[str, Any]) -> ReadPolicy:
    """Say how old data may be."""
    return ReadPolicy(values["max_age"], values["offline"], values["allow_stale"])


def each(access: Access, items: Iterable[T], read: Callable[[T], Any]) -> list[Any]:
    """Call a function for each item in threads; what it raises of ours is its result."""

    def safely(item: T) -> Any:
        try:
            return read(item)
        except StockDBError as error:
            return error

    with ThreadPoolExecutor(access.settings.performance.max_workers) as pool:
        return list(pool.map(safely, items))


def bars(
    access: Access,
    symbols: list[str],
    end: DateLike | None,
    interval: str,
    values: Mapping[str, Any],
) -> Loaded:
    """Read all bars on or before a date.

    Raises
    ------
    StockDBError
        No symbol could be read: the first one's error.
    """
    adjust, why = widest_adjustment(access, values["adjust"], policy_of(values))
    request = access.request(
        None,
        end,
        interval,
        adjust=adjust,
        max_age=values["max_age"],
        offline=values["offline"],
        allow_stale=values["allow_stale"],
    )
    result = Loaded(notes={"adjustment_reason": why} if why else {})
    read = each(access, symbols, lambda symbol: access.history(parse_symbol(symbol), request))
    for symbol, frame in zip(symbols, read, strict=True):
        if isinstance(frame, StockDBError):
            result.errors[symbol] = frame
            log.warning("%s: %s", symbol, frame)
            continue
        result.provenance[symbol] = access.provenance.of(frame)
        complete = frame.reindex(columns=list(BARS))
        complete.attrs = {}  # pandas would copy them with every step that follows
        result.frames[symbol] = complete
    if not result.frames:
        raise next(iter(result.errors.values()))
    return result


def widest_adjustment(
    access: Access, wanted: str, policy: ReadPolicy | None = None
) -> tuple[str, str | None]:
    """Choose how far prices can be adjusted, and say why not farther."""
    if wanted != "auto":
        return wanted, None
    held = {
        dataset.adjustment
        for dataset in access.settings.datasets.values()
        if dataset.kind in {"bars", "day_bars"} and dataset.duplicate_of is None
    }
    if held == {"all"}:
        return "none", None  # as it is
    has_splits = access.splits(required=False, policy=policy) is not None
    has_dividends = access.dividends(required=False, policy=policy) is not None
    if has_dividends and (has_splits or "none" not in held):
        return "all", None
    missing = [n for n, has in (("splits", has_splits), ("dividends", has_dividends)) if not has]
    reason = f"the bucket has no table of {' and of '.join(missing)}: returns leave them out"
    return ("splits" if has_splits else "none"), reason


def bill(
    access: Access,
    dates: pd.DatetimeIndex,
    rate: float | None,
    policy: ReadPolicy | None = None,
) -> tuple[pd.Series, dict[str, Any]]:
    """Give the 3-month bill's yield, a fraction a year, as known on each date.

    Returns
    -------
    (pandas.Series, dict)
        0 where no rate is known; the note says so and counts the dates.
    """
    if rate is not None:
        return pd.Series(rate, index=dates), {"source": "caller", "rate": rate}
    table = access.treasury(percent=True, required=False, policy=policy)
    if table is None or 0.25 not in table:
        why = "the bucket has no treasury table" if table is None else "it has no 3-month yield"
        return pd.Series(0.0, index=dates), {"source": None, "reason": f"{why}: rate 0 assumed"}
    quoted = table[0.25].dropna() / 100.0
    known = quoted.reindex(dates, method="ffill", tolerance=_RATE_HOLDS)
    missing = int(np.isnan(known.to_numpy()).sum())
    note: dict[str, Any] = {"source": "treasury, 3-month constant maturity"}
    if missing:
        note |= {"dates_without": missing, "reason": "no yield published: rate 0 assumed there"}
    return known.fillna(0.0), note
