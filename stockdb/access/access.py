"""One client's store, cache and reader, and the historical read on top of them."""

from __future__ import annotations

import datetime as dt
import pickle
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stockdb.access import files, shape
from stockdb.access.adjusting import EventTables
from stockdb.access.callers import callers_level
from stockdb.access.chains import ChainFilter, read_chain
from stockdb.access.history import HistoryRequest, read_history
from stockdb.access.provenance import ATTRS, ProvenanceLog
from stockdb.access.quality import calendar_of, days_without_a_file, gaps_of, option_gaps
from stockdb.access.reference import Reference
from stockdb.core.cache import open_cache
from stockdb.core.catalog import chosen_datasets
from stockdb.core.chains import ChainReader
from stockdb.core.diagnose import ConnectionReport, diagnose
from stockdb.core.pinned import PinnedStore, Pins
from stockdb.core.reader import Reader, ReadPolicy
from stockdb.core.report import ValidationReport
from stockdb.core.store import ObjectStore
from stockdb.core.validation import validate_bars
from stockdb.errors import ConfigurationError, DataError, RangeError, ValidationError
from stockdb.processing.indicators import indicators
from stockdb.processing.spec import Column
from stockdb.settings import Settings, load_settings
from stockdb.types import DateLike, DateRange, parse_adjustment, parse_interval, parse_range

__all__ = ["Access"]


class Access:
    """Everything that a read needs; crosses to another process as its settings.

    Parameters
    ----------
    settings : Settings
    pins : Pins, optional
        Reads the objects of a moment gone by, as they were then.

    Raises
    ------
    ConfigurationError
        No endpoint is configured.
    """

    def __init__(self, settings: Settings, pins: Pins | None = None) -> None:
        self.settings = settings
        self.pins = pins
        self.store = ObjectStore(settings) if pins is None else PinnedStore(settings, pins)
        self.cache = open_cache(settings.cache)
        self.reader = Reader(settings, self.store, self.cache)
        self.chains = ChainReader(settings, self.store, self.cache, self.reader.days)
        self.provenance = ProvenanceLog()
        self.reference = Reference(settings, self.store, self.cache, self.provenance)

    def __repr__(self) -> str:
        return f"Access({self.store!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self.settings, self.pins)

    def history(self, symbol: str, request: HistoryRequest) -> pd.DataFrame:
        """Read one symbol; see :func:`stockdb.access.history.read_history`."""
        today = dt.datetime.now(dt.UTC).date() if self.pins is None else self.pins.today
        return read_history(self.reader, self.reference, self.provenance, symbol, request, today)

    def chain(
        self,
        symbol: str,
        date: dt.date | None,
        wanted: ChainFilter,
        policy: ReadPolicy,
        verify: bool | None = None,
    ) -> pd.DataFrame:
        """Read one chain; see :func:`stockdb.access.chains.read_chain`.

        Warns of rows that are quoted on another date than the file's.
        """
        frame = read_chain(
            self.chains,
            self.provenance,
            symbol,
            date,
            wanted,
            policy,
            verify=self.verifies(verify),
        )
        note = frame.attrs[ATTRS]
        if note["other_quote_dates"]:
            warnings.warn(
                f"{note['other_quote_dates']} of {len(frame)} rows of {symbol} in the options file "
                f"of {note['file_date']} are quoted on another date.",
                stacklevel=callers_level(),
            )
        return frame

    def verifies(self, verify: bool | None) -> bool:
        """Whether a chain read may use only what is proved: as asked, else as configured."""
        return self.settings.validation.verify_order if verify is None else verify

    def request(
        self,
        start: DateLike | None,
        end: DateLike | None,
        interval: str,
        *,
        aliases: tuple[DateLike | None, DateLike | None] = (None, None),
        adjust: str = "none",
        validate: bool = True,
        preprocess: bool | str | Sequence[str | Column] = False,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
        splits: pd.DataFrame | pd.Series | None = None,
        dividends: pd.DataFrame | pd.Series | None = None,
        dataset: str | None = None,
    ) -> HistoryRequest:
        """Parse what a caller asked for, before anything is read.

        Raises
        ------
        RangeError
            No range; or one of its ends is given twice, as itself and by its alias.
        ConfigurationError
            An interval, an adjustment or an indicator that does not exist; a dataset without
            bars.
        NotFoundError
            No dataset of that name is configured.
        """
        columns = preprocess if isinstance(preprocess, bool | str) else _each(preprocess)
        if not isinstance(columns, bool):
            indicators(columns)
        chosen_datasets(self.settings.datasets, dataset)
        return HistoryRequest(
            parse_range(_either(start, aliases[0], "start"), _either(end, aliases[1], "end")),
            parse_interval(interval),
            parse_adjustment(adjust),
            validate,
            columns,
            ReadPolicy(max_age, offline, allow_stale),
            EventTables(splits, dividends),
            dataset,
        )

    def validate(self, frame: pd.DataFrame, calendar: str | None, **rules: Any) -> ValidationReport:
        """Hold a frame against the settings' rules, some of them replaced.

        The settings' policy is for reads; one that is given here is obeyed.
        """
        if not isinstance(frame, pd.DataFrame):
            raise DataError(
                f"Bars are a DataFrame, not {type(frame).__name__}.",
                remedy="Give a frame as get_historical_data() returns it.",
            )
        if rules.get("policy") == "drop":
            raise ConfigurationError(
                "A report drops no rows.",
                remedy="Use df[~report.bad_rows('error')], or read with that policy in the "
                "settings.",
            )
        chosen = load_settings(self.settings, **rules).validation
        if calendar == "auto":
            calendar = calendar_of(self.settings, frame)
        report = validate_bars(frame, chosen, calendar=calendar)
        if rules.get("policy") == "raise" and not report.ok:
            reasons = "; ".join(finding.reason for finding in report.errors)
            raise ValidationError(f"The frame breaks rules: {reasons}", report=report)
        return report

    def gaps(
        self, frame: pd.DataFrame, symbol: str, request: HistoryRequest
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Say what is missing in bars that were read; see :mod:`stockdb.access.quality`."""
        absent = days_without_a_file(self.reader, request)
        return gaps_of(self.settings, frame, symbol, request, pd.Timestamp.now("UTC"), absent)

    def option_gaps(self, wanted: DateRange) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Say which sessions lack an options file."""
        return option_gaps(self.settings, self.option_dates(), wanted, pd.Timestamp.now("UTC"))

    def diagnose(self) -> ConnectionReport:
        """Look at everything between here and the bucket."""
        return diagnose(
            self.store,
            connect_timeout=self.settings.performance.connect_timeout,
            now=lambda: dt.datetime.now(dt.UTC),
        )

    def datasets(self) -> pd.DataFrame:
        """List the configured datasets and whether the bucket holds them."""
        return files.datasets(self.settings, self.store)

    def splits(
        self,
        symbol: str | None = None,
        *,
        required: bool = True,
        policy: ReadPolicy | None = None,
    ) -> pd.DataFrame | None:
        """Read splits; see :meth:`stockdb.access.reference.Reference.events`."""
        return self.reference.events("splits", symbol, required=required, policy=policy)

    def dividends(
        self,
        symbol: str | None = None,
        *,
        required: bool = True,
        policy: ReadPolicy | None = None,
    ) -> pd.DataFrame | None:
        """Read dividends; see :meth:`stockdb.access.reference.Reference.events`."""
        return self.reference.events("dividends", symbol, required=required, policy=policy)

    def treasury(
        self, *, percent: bool = False, required: bool = True, policy: ReadPolicy | None = None
    ) -> pd.DataFrame | None:
        """Read rates; see :meth:`stockdb.access.reference.Reference.treasury`."""
        return self.reference.treasury(percent=percent, required=required, policy=policy)

    def option_dates(self) -> pd.DatetimeIndex:
        """All dates with an options file, over all options datasets."""
        return files.option_dates(self.chains)

    def download(self, key: str, path: Path) -> Path:
        """Copy one object to a file, all of it or nothing."""
        return files.download(self.store, key, path)

    check_output = staticmethod(shape.check_output)
    output = staticmethod(shape.output)

    def close(self) -> None:
        """Let go of connections."""
        self.chains.twins.close()
        self.store.close()


def _each(items: object) -> tuple[Any, ...]:
    """Make a tuple of a list; what is none stays one thing, to be refused as what it is."""
    return tuple(items) if isinstance(items, Iterable) else (items,)


def _either(date: DateLike | None, alias: DateLike | None, name: str) -> DateLike | None:
    if date is not None and alias is not None:
        raise RangeError(f"{name}_date and {name} are the same.", remedy="Give one of the two.")
    return alias if date is None else date


_opened: dict[bytes, Access] = {}


def _open(settings: Settings, pins: Pins | None = None) -> Access:
    """Give a worker process one client per settings, not one per task."""
    identity = pickle.dumps((settings, pins))
    if identity not in _opened:
        _opened[identity] = Access(settings, pins)
    return _opened[identity]
