"""Coverage and gaps of what the bucket holds: joins what was read with the calendar's view."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stockdb.access.history import HistoryRequest
from stockdb.access.provenance import ATTRS
from stockdb.core.catalog import chosen_datasets, day_datasets
from stockdb.core.held import Window, coverage, gaps
from stockdb.core.reader import Reader
from stockdb.errors import ConfigurationError
from stockdb.settings import Dataset, Settings
from stockdb.types import DateRange

__all__ = ["calendar_of", "days_without_a_file", "gaps_of", "option_gaps"]


def calendar_of(settings: Settings, frame: pd.DataFrame) -> str:
    """Name the calendar of the dataset that a frame came from; else that of the first bars."""
    return dataset_of(settings, frame).calendar


def gaps_of(
    settings: Settings,
    frame: pd.DataFrame,
    symbol: str,
    request: HistoryRequest,
    now: pd.Timestamp,
    absent: pd.DatetimeIndex | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Find the gaps of one symbol's bars, and sum them up.

    Parameters
    ----------
    settings : Settings
    frame : pandas.DataFrame
        Bars as they were read for ``request``.
    symbol : str
    request : HistoryRequest
    now : pandas.Timestamp
        Zoned.
    absent : pandas.DatetimeIndex, optional
        As :func:`days_without_a_file` gives it.

    Returns
    -------
    gaps : pandas.DataFrame
        As :func:`stockdb.core.held.gaps` gives it, behind a column ``symbol``.
    summary : dict
        As :func:`stockdb.core.held.coverage` gives it.

    Raises
    ------
    ConfigurationError
        Weekly or monthly bars, which have no sessions of their own.
    """
    interval = request.interval
    if not interval.intraday and interval.name != "daily":
        raise ConfigurationError(
            f"{interval.name} bars have no sessions that could be missing.",
            remedy="Ask for interval='daily' or an intraday interval.",
        )
    dataset = dataset_of(settings, frame)
    index = pd.DatetimeIndex(frame.index)
    window = _window(request.wanted, dataset, now)
    minutes = interval.minutes if interval.intraday else None
    found = gaps(index, dataset.calendar, window, minutes=minutes, absent=absent)
    found.insert(0, "symbol", symbol)
    return found, coverage(index, found, dataset.calendar, window)


def days_without_a_file(reader: Reader, request: HistoryRequest) -> pd.DatetimeIndex | None:
    """List the dates of the years held by day that the bucket holds no file of.

    Returns
    -------
    pandas.DatetimeIndex or None
        Naive, weekends and holidays among them. None where a read of the request takes
        nothing from files by day.
    """
    chosen = chosen_datasets(reader.settings.datasets, request.dataset)
    datasets = day_datasets(chosen, request.interval.name, request.wanted)
    first = request.wanted.first_day(datasets[0].timezone) if datasets else None
    if first is None:  # as an open range reads none of them
        return None
    last = request.wanted.last_day(datasets[0].timezone)
    policy = request.policy
    places = reader.days.places(
        "day_bars",
        first.date(),
        None if last is None else last.date(),
        policy=policy,
        datasets=chosen,
    )
    if not places:
        return None
    held = pd.DatetimeIndex(pd.to_datetime(list(places))).as_unit("ns")
    ends = [pd.Timestamp(dataset.end) for dataset in datasets if dataset.end]
    stop = max([held[-1], *ends])
    return _others(held, held[0], stop if last is None else min(stop, last))


def option_gaps(
    settings: Settings, held: pd.DatetimeIndex, wanted: DateRange, now: pd.Timestamp
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Find the sessions without an options file; returns as :func:`gaps_of`, without a symbol."""
    chosen = next(
        (one for one in settings.datasets.values() if one.kind == "options"), Dataset(key="-")
    )
    window = _window(wanted, chosen, now)
    absent = _others(held, held[0], held[-1]) if len(held) else None
    found = gaps(held, chosen.calendar, window, absent=absent)
    return found, coverage(held, found, chosen.calendar, window)


def _others(held: pd.DatetimeIndex, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    return pd.date_range(first, last, unit="ns").difference(held)


def _window(wanted: DateRange, dataset: Dataset, now: pd.Timestamp) -> Window:
    return Window(wanted.first_day(dataset.timezone), wanted.last_day(dataset.timezone), now)


def dataset_of(settings: Settings, frame: pd.DataFrame) -> Dataset:
    note = frame.attrs.get(ATTRS)
    names = str(note.get("dataset", "")).split(",") if isinstance(note, dict) else []
    known = [settings.datasets[name] for name in names if name in settings.datasets]
    bars = [one for one in settings.datasets.values() if one.kind == "bars"]
    return (known or bars or [Dataset(key="{SYMBOL}")])[-1 if known else 0]
