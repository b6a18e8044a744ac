"""Adjustment of prices and volumes for splits and dividends: factors, applied and taken back.

Prices before an ex-date are multiplied so that no return shows the event: by old shares over
new at a split, by 1 - D/C at a dividend, C being the last close before the ex-date (the method
of CRSP; Center for Research in Security Prices, "Data Definitions: Price Adjustment Factors").
Volumes are divided by the split factor; dividends leave them alone. A spin-off that a vendor
writes as an odd ratio (1.0027) is a split like any other: prices are divided by it and volumes
multiplied. Of intraday bars C is the close of the last bar before the ex-date, extended hours
included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import DataError
from stockdb.types import Adjustment

__all__ = ["Events", "Factors", "adjust", "carried", "events_of", "factors", "unadjust"]

Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]

_PRICES: Final = ("open", "high", "low", "close", "vwap")
_RANK: Final = {"none": 0, "splits": 1, "all": 2}
#: Column of dividends on today's shares, as many vendors publish them.
_ADJUSTED: Final = "adjusted_amount"
#: Splits whose step no news is mistaken for.
_LARGE_SPLIT: Final = float(np.log(1.4))


@dataclass(frozen=True)
class Events:
    """What happened to one symbol.

    Attributes
    ----------
    split_dates : ndarray of datetime64[ns], shape (splits,)
        Ex-dates, ascending.
    ratios : ndarray of float64, shape (splits,)
        New shares for one old: 7.0 for 7:1, 0.1 for one new for ten old. Spin-offs that a
        vendor writes as odd ratios count as splits.
    dividend_dates : ndarray of datetime64[ns], shape (dividends,)
    amounts : ndarray of float64, shape (dividends,)
        Cash a share.
    amounts_adjusted : bool
        Whether amounts are on today's shares (divided by later splits) or as they were paid.
    """

    split_dates: Dates
    ratios: Floats
    dividend_dates: Dates
    amounts: Floats
    amounts_adjusted: bool = False

    @classmethod
    def of(
        cls,
        splits: pd.DataFrame | None,
        dividends: pd.DataFrame | None,
        *,
        amounts_adjusted: bool = False,
    ) -> Events:
        """Take tables with the index ``ex_date`` and a column ``ratio`` or ``amount``.

        Instead of ``amount`` a table may have ``adjusted_amount``: then its amounts are on
        today's shares, whatever ``amounts_adjusted`` says.
        """
        dates, ratios = _column(splits, "ratio")
        own = dividends is not None and _ADJUSTED in dividends
        paid, amounts = _column(dividends, _ADJUSTED if own else "amount")
        return cls(dates, ratios, paid, amounts, amounts_adjusted or own)


@dataclass(frozen=True)
class Factors:
    """What the values of each row are multiplied by.

    Attributes
    ----------
    price, volume : ndarray of float64, shape (rows,)
    splits, dividends : int
        Events that have an effect on these rows.
    """

    price: Floats
    volume: Floats
    splits: int = 0
    dividends: int = 0


def events_of(table: pd.DataFrame | pd.Series, name: str, symbol: str) -> pd.DataFrame:
    """Read a caller's table of events.

    Parameters
    ----------
    table : pandas.DataFrame or pandas.Series
        Ex-dates as index or column ``ex_date``; ``ratio`` or ``amount`` (a Series: its
        values); a column ``symbol`` where the table has several. Amounts are as they were
        paid; where they are on today's shares (divided by later splits, as yfinance gives
        them) the column, or the Series, is named ``adjusted_amount``.
    name : {'ratio', 'amount'}
    symbol : str

    Returns
    -------
    pandas.DataFrame
        Index ``ex_date``, ascending; column ``name``, or ``adjusted_amount``.

    Raises
    ------
    DataError
        The columns are missing, or a value is not positive; or amounts are given in both ways.

    Examples
    --------
    >>> events_of(pd.Series({"2024-06-10": 10.0}), "ratio", "NVDA")["ratio"].tolist()
    [10.0]
    """
    if isinstance(table, pd.Series):
        frame = table.to_frame(_ADJUSTED if table.name == _ADJUSTED else name)
    else:
        frame = table
    if "ex_date" in frame:
        frame = frame.set_index("ex_date")
    if name == "amount" and _ADJUSTED in frame:
        if name in frame:
            raise DataError(
                f"A table of dividends has both amount and {_ADJUSTED}.",
                remedy=f"Keep amount where it is as paid, {_ADJUSTED} where it is on today's "
                "shares.",
            )
        name = _ADJUSTED
    if name not in frame:
        raise DataError(
            f"A table of events needs the columns ex_date and {name}; it has "
            f"{', '.join(map(str, table.columns)) if isinstance(table, pd.DataFrame) else name}.",
            remedy=f"Give a frame with ex_date and {name}, and symbol where it has several.",
        )
    if "symbol" in frame:
        frame = frame[frame["symbol"].astype(str).str.upper() == symbol]
    index = pd.DatetimeIndex(pd.to_datetime(frame.index), name="ex_date").as_unit("ns")
    values = frame[name].to_numpy(dtype=np.float64)
    if not (np.isfinite(values) & (values > 0.0)).all():
        raise DataError(
            f"{symbol}: a {name} that is not a positive number.", remedy="Correct the table."
        )
    return pd.DataFrame({name: values}, index=index).sort_index(kind="stable")


def factors(
    date: Dates,
    close: Floats,
    events: Events,
    *,
    held: Adjustment,
    wanted: Adjustment,
    undo: bool = False,
) -> Factors:
    """Compute the factors of each row.

    Parameters
    ----------
    date : ndarray of datetime64[ns], shape (rows,)
        Session dates, ascending; those of intraday bars repeat.
    close : ndarray of float64, shape (rows,)
        As held; with ``undo`` as adjusted.
    events : Events
        Splits after the last row count, too: prices are on today's shares. A dividend needs a
        close before it and a row on or after its ex-date.
    held, wanted : {'none', 'splits', 'all'}
        What the prices are adjusted for, and what they are to be; ``wanted`` at least ``held``.
    undo : bool
        ``close`` has been adjusted from ``held`` to ``wanted``: find the factors that did it.

    Raises
    ------
    DataError
        A dividend that is not smaller than the close before it.
    """
    if _RANK[wanted] < _RANK[held]:
        raise DataError(
            f"Prices adjusted for {held!r} cannot be turned into {wanted!r} by adjusting.",
            remedy="Use unadjust() with the same events.",
        )
    rows = len(date)
    split = _later_product(date, events.split_dates, events.ratios)
    shares = split if held == "none" and wanted != "none" else np.ones(rows)
    price, volume = 1.0 / shares, shares.copy()
    used = int((events.split_dates > date[0]).sum()) if rows and held == "none" != wanted else 0
    paid = 0
    if wanted == "all" and held != "all":
        effect, paid = _dividends(date, close if undo else close * price, events, undo)
        price = price * effect
    return Factors(price, volume, used, paid)


def carried(date: Dates, close: Floats, events: Events) -> list[np.datetime64]:
    """Find splits that prices declared as unadjusted carry already.

    Returns
    -------
    list of datetime64
        Ex-dates of large splits (beyond 1.4:1) at which the close does not step; none where at
        any of them it does: then the prices are as they were paid.
    """
    found = []
    for ex_date, ratio in zip(events.split_dates, events.ratios, strict=True):
        row = int(np.searchsorted(date, ex_date))
        step = abs(float(np.log(ratio)))
        if not 0 < row < len(date) or step < _LARGE_SPLIT:
            continue
        moved = np.log(close[row] / close[row - 1]) if close[row] > 0 < close[row - 1] else np.nan
        if np.isnan(moved):
            continue
        if abs(moved + np.log(ratio)) < step / 2:
            return []
        if abs(moved) < step / 2:
            found.append(ex_date)
    return found


def adjust(
    frame: pd.DataFrame,
    events: Events,
    *,
    held: Adjustment = "none",
    wanted: Adjustment = "all",
) -> pd.DataFrame:
    """Adjust the bars of one symbol; a new frame, the events' effects multiplied in.

    Parameters
    ----------
    frame : pandas.DataFrame
        Index ``date``, ascending; columns open, high, low, close, volume as far as there.
    events, held, wanted
        As for :func:`factors`.
    """
    return _apply(frame, events, held, wanted, undo=False)


def unadjust(
    frame: pd.DataFrame,
    events: Events,
    *,
    held: Adjustment = "none",
    wanted: Adjustment = "all",
) -> pd.DataFrame:
    """Take :func:`adjust` back, with the same events, rows, ``held`` and ``wanted``."""
    return _apply(frame, events, held, wanted, undo=True)


def split_part(found: Factors) -> Factors:
    """Leave dividends out."""
    return replace(found, price=1.0 / found.volume, dividends=0)


def session_days(index: pd.DatetimeIndex) -> Dates:
    """Give what is compared with ex-dates: of zoned, intraday bars the local date."""
    if index.tz is not None:
        index = index.tz_localize(None).normalize()
    return np.asarray(index.as_unit("ns").to_numpy())


def apply_to(
    columns: Mapping[str, Floats], found: Factors, *, undo: bool = False
) -> dict[str, Floats]:
    """Multiply prices and volumes; other columns stay."""
    price = 1.0 / found.price if undo else found.price
    volume = 1.0 / found.volume if undo else found.volume
    return {
        name: values * price
        if name in _PRICES
        else (values * volume if name == "volume" else values)
        for name, values in columns.items()
    }


def _apply(
    frame: pd.DataFrame, events: Events, held: Adjustment, wanted: Adjustment, *, undo: bool
) -> pd.DataFrame:
    date = session_days(pd.DatetimeIndex(frame.index))
    close = frame["close"].to_numpy(dtype=np.float64)
    found = factors(date, close, events, held=held, wanted=wanted, undo=undo)
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    changed = apply_to(columns, found, undo=undo)
    result = pd.DataFrame(changed, index=frame.index, columns=frame.columns)
    result.attrs = dict(frame.attrs)
    return result


def _column(table: pd.DataFrame | None, name: str) -> tuple[Dates, Floats]:
    if table is None or not len(table):
        return np.empty(0, "datetime64[ns]"), np.empty(0)
    ordered = table.sort_index(kind="stable")
    return (
        pd.DatetimeIndex(ordered.index).as_unit("ns").to_numpy(),
        ordered[name].to_numpy(dtype=np.float64),
    )


def _later_product(date: Dates, events: Dates, ratios: Floats) -> Floats:
    """Product of the ratios of events after each date."""
    product = np.append(np.cumprod(ratios[::-1])[::-1], 1.0)
    return np.asarray(product[np.searchsorted(events, date, side="right")])


def _amounts(events: Events) -> Floats:
    """Give the amounts on today's shares."""
    if events.amounts_adjusted:
        return events.amounts
    return events.amounts / _later_product(events.dividend_dates, events.split_dates, events.ratios)


def _dividends(date: Dates, close: Floats, events: Events, undo: bool) -> tuple[Floats, int]:
    """Multiply 1 - D/C over the dividends after each row; closes are on today's shares.

    With ``undo`` the closes carry the factors already: C = C_adjusted / later factors + D.
    """
    amounts = _amounts(events)
    usable = np.flatnonzero(np.isfinite(close) & (close > 0.0))
    before = np.searchsorted(date[usable], events.dividend_dates) - 1
    there = before >= 0
    if len(date):
        there &= events.dividend_dates <= date[-1]
    single = np.ones(len(amounts))
    later = 1.0
    for number in np.flatnonzero(there)[::-1]:
        last = float(close[usable[before[number]]])
        if undo:
            last = last / later + float(amounts[number])
        single[number] = 1.0 - float(amounts[number]) / last
        if single[number] <= 0.0:
            day = pd.Timestamp(events.dividend_dates[number]).date()
            raise DataError(
                f"The dividend of {amounts[number]:g} on {day} is not smaller than the close "
                f"of {last:g} before it.",
                remedy="Correct the table of dividends, or say on which shares its amounts are.",
            )
        later *= single[number]
    return _later_product(date, events.dividend_dates, single), int(there.sum())
