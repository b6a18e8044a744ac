"""What can be watched: the bars of a symbol, the options files of all days."""

from __future__ import annotations

import datetime as dt
import os

import numpy as np
import pandas as pd

from stockdb.access import Access, HistoryRequest
from stockdb.core.catalog import spellings, template
from stockdb.core.freshness import ReadPolicy
from stockdb.errors import NotFoundError, ObjectChangedError, StockDBError
from stockdb.scale.updates import DOWN, HOPELESS, Update, now

__all__ = ["OptionFiles", "SymbolBars", "difference"]


class SymbolBars:
    """The bars of one symbol.

    Parameters
    ----------
    access : Access
    symbol : str
    request : HistoryRequest
        All rows, asked anew.
    """

    def __init__(self, access: Access, symbol: str, request: HistoryRequest) -> None:
        self._access, self._symbol, self._request = access, symbol, request
        self._spellings = spellings(symbol)
        self._rows: pd.DataFrame | None = None
        self._problem = ""
        self._templates = [
            template(dataset)
            for dataset in access.settings.datasets.values()
            if dataset.kind == "bars" and dataset.duplicate_of is None
        ]
        self.prefix = os.path.commonprefix([known.prefix for known in self._templates])

    def concerns(self, key: str) -> bool:
        """Whether the key is the symbol's, in any spelling."""
        found = (known.symbol_of(key) for known in self._templates)
        return any(name is not None and name.upper() in self._spellings for name in found)

    def look(self, first: bool) -> list[Update]:
        """Read the symbol and tell what is different.

        Raises
        ------
        SymbolNotFoundError, ConfigurationError, AccessDeniedError ...
            With ``first`` only.
        UnavailableError, DeadlineError
            Nothing can be said.
        """
        symbol = self._symbol
        try:
            rows = self._access.history(symbol, self._request)
        except ObjectChangedError:  # its writer is at work: the next look will find it done
            return []
        except NotFoundError:
            if first:
                raise
            gone, self._rows, self._problem = self._rows, None, ""
            if gone is None:
                return []
            index = pd.DatetimeIndex(gone.index)
            return [Update("removed", symbol, now(), removed=index, new=gone.iloc[:0])]
        except StockDBError as error:
            _raise_what_is_no_news(error, first)
            if error.message == self._problem:
                return []
            self._problem = error.message
            return [Update("error", symbol, now(), reason=error.message)]
        healed, self._problem = bool(self._problem), ""
        before = rows.iloc[:0] if self._rows is None else self._rows
        self._rows = rows
        new, changed, removed = difference(before, rows)
        if not (len(new) or len(changed) or len(removed) or healed):
            return []
        origin = self._access.provenance.of(rows).origins[-1]
        return [Update("rows", symbol, now(), new, changed, removed, origin.etag, key=origin.key)]


class OptionFiles:
    """The options files of all days.

    Parameters
    ----------
    access : Access
    initial : bool
        Tell also the files that are there when they can first be listed after an error.
    """

    def __init__(self, access: Access, initial: bool) -> None:
        self._access, self._initial = access, initial
        self._templates = {
            name: template(dataset)
            for name, dataset in access.settings.datasets.items()
            if dataset.kind == "options" and dataset.duplicate_of is None
        }
        prefixes = [known.prefix for known in self._templates.values()]
        self.prefix = os.path.commonprefix(prefixes)
        self._held: dict[str, str | None] | None = None
        self._problem = ""

    def concerns(self, key: str) -> bool:
        """Whether the key is that of an options file."""
        return self._date(key) is not None

    def look(self, first: bool) -> list[Update]:
        """List the files and tell which are new, were replaced or are gone.

        Raises
        ------
        NotFoundError, ConfigurationError, AccessDeniedError ...
            With ``first`` only.
        UnavailableError, DeadlineError
            Nothing can be said.
        """
        found: dict[str, str | None] = {}
        try:
            for name in self._templates:
                for info in self._access.reader.discovery.objects(name, ReadPolicy(0.0)):
                    found[info.key] = info.etag
        except StockDBError as error:
            _raise_what_is_no_news(error, first)
            if error.message == self._problem:
                return []
            self._problem = error.message
            return [Update("error", None, now(), reason=error.message)]
        healed, self._problem = bool(self._problem), ""
        unknown = found if healed and not self._initial else {}  # perhaps there before
        before, self._held = (unknown if self._held is None else self._held), found
        changed = [key for key, etag in found.items() if before.get(key, "") != etag]
        updates = [
            Update("day", None, now(), etag=found[key], date=self._date(key), key=key)
            for key in changed
        ]
        gone = [key for key in before if key not in found]
        updates += [Update("removed", None, now(), date=self._date(key), key=key) for key in gone]
        updates.sort(key=lambda update: str(update.date))
        return [Update("recovered", None, now()), *updates] if healed else updates

    def _date(self, key: str) -> dt.date | None:
        dates = (known.date_of(key) for known in self._templates.values())
        return next(filter(None, dates), None)


def _raise_what_is_no_news(error: StockDBError, first: bool) -> None:
    if isinstance(error, DOWN) or (first and isinstance(error, HOPELESS)):
        raise error


def difference(
    before: pd.DataFrame, after: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DatetimeIndex]:
    """Compare two states of one symbol's bars.

    Returns
    -------
    new, changed : pandas.DataFrame
        Rows of ``after``; NaN equals NaN.
    removed : pandas.DatetimeIndex
    """
    new = after[~after.index.isin(before.index)]
    removed = pd.DatetimeIndex(before.index[~before.index.isin(after.index)])
    both = after.index.intersection(before.index)
    if list(before.columns) != list(after.columns):
        return new, after.loc[both] if len(before.columns) else after.iloc[:0], removed
    one, other = before.loc[both].to_numpy(np.float64), after.loc[both].to_numpy(np.float64)
    differs = ((one != other) & ~(np.isnan(one) & np.isnan(other))).any(axis=1)
    return new, after.loc[both][differs], removed
