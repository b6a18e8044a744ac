"""Questions about the data's quality, asked through ``MinIODataIntegration``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from stockdb.types import DateLike, parse_range, parse_symbol

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access, HistoryRequest
    from stockdb.core.report import ValidationReport

__all__ = ["QualityMethods"]


class QualityMethods:
    """What a client can ask about the quality of data; mixed into the front door."""

    _access: Access

    def validate_data(
        self, df: pd.DataFrame, *, calendar: str | None = "auto", **rules: Any
    ) -> ValidationReport:
        """Hold a frame of bars against the validation rules.

        Parameters
        ----------
        df : pandas.DataFrame
            As :meth:`get_historical_data` gives it, or your own: with a DatetimeIndex, a
            ``date`` column or a MultiIndex (symbol, date).
        calendar : str or None
            Exchange whose sessions daily bars are held against, by its market identifier code
            (``XNYS``, ``XLON``, ``XTKS`` ...). ``auto`` takes that of the frame's dataset, for
            a frame of your own that of the first dataset of bars; None asks no calendar.
        **rules
            Settings of VALIDATION_CONFIG to use instead: ``min_price=``, ``jump_ratio=``,
            ``ignore_rules=`` ... ``policy="raise"`` raises where there is an error.

        Returns
        -------
        ValidationReport
            Prints as text and in notebooks; ``to_frame()``, ``ok``, ``errors``, ``warnings``.

        Raises
        ------
        ConfigurationError
            No such calendar, a rule's setting that is none, or ``policy="drop"``: a report
            drops nothing.
        ValidationError
            ``policy="raise"``, and the report, in ``error.report``, has an error.
        DataError
            Not a DataFrame.
        """
        return self._access.validate(df, calendar, **rules)

    def coverage(
        self,
        symbol: str | Sequence[str],
        start: DateLike | None = None,
        end: DateLike | None = None,
        interval: str = "daily",
        *,
        dataset: str | None = None,
    ) -> pd.DataFrame:
        """Say how much of what the exchange's calendar expects is held.

        Parameters
        ----------
        symbol : str or list of str
            ``"options"`` asks about the daily options files instead.
        start, end : date-like, optional
            Dates, both included; None is the first bar held, and today.
        interval : str
            ``daily`` or an intraday interval.
        dataset : str, optional
            As for :meth:`get_historical_data`.

        Returns
        -------
        pandas.DataFrame
            Index ``symbol``; columns first, last (sessions held), expected, held,
            missing (sessions), share (held / expected, NaN where nothing is expected),
            not_published (sessions so recent that their bars may be on their way), closed_days
            (rows on days without a session), half_days (expected), intraday_gaps,
            missing_bars, reason (why a symbol of a list could not be read, else empty).

        Raises
        ------
        SymbolNotFoundError
            A single symbol that the bucket does not hold; in a list its row says so.
        ConfigurationError
            A weekly or monthly interval.
        StockDBError
            As :meth:`get_historical_data`.
        """
        rows = {
            name: {**summary, "reason": reason}
            for name, (_, summary, reason) in self._examine(
                symbol, start, end, interval, dataset
            ).items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("symbol")

    def find_gaps(
        self,
        symbol: str | Sequence[str],
        start: DateLike | None = None,
        end: DateLike | None = None,
        interval: str = "daily",
        *,
        dataset: str | None = None,
    ) -> pd.DataFrame:
        """List what is missing, gap by gap, before a back-test finds it.

        Parameters
        ----------
        symbol, start, end, interval, dataset
            As for :meth:`coverage`.

        Returns
        -------
        pandas.DataFrame
            One row a gap: symbol, start, end, sessions (whole ones missing), bars, kind,
            half_days, explanation. Kinds: ``missing`` (the exchange was open, and the symbol's
            object, or the day's file, has no row of it), ``object_missing`` (of files by day:
            the bucket holds none of that day), ``before_first``, ``after_last``,
            ``not_published`` (the newest sessions), ``intraday`` (bars within a session; half
            days and clock changes are known), ``closed_day`` (no gap but the contrary: bars
            held on a day without a session). Holidays are no gaps.

        Raises
        ------
        StockDBError
            As :meth:`coverage`; symbols of a list that cannot be read are left out, with a
            warning.
        """
        examined = self._examine(symbol, start, end, interval, dataset)
        found = [gaps for gaps, _, _ in examined.values() if gaps is not None]
        filled = [gaps for gaps in found if len(gaps)]
        return pd.concat(filled, ignore_index=True) if filled else found[0].copy()

    def _examine(
        self,
        symbol: str | Sequence[str],
        start: DateLike | None,
        end: DateLike | None,
        interval: str,
        dataset: str | None,
    ) -> dict[str, tuple[pd.DataFrame | None, dict[str, Any], str]]:
        if symbol == "options":
            found, summary = self._access.option_gaps(parse_range(start, end))
            found.insert(0, "symbol", "options")
            return {"options": (found, summary, "")}
        request = self._access.request(start, end, interval, validate=False, dataset=dataset)
        if isinstance(symbol, str):
            name = parse_symbol(symbol)
            return {
                name: (*self._access.gaps(self._access.history(name, request), name, request), "")
            }
        return self._examine_many(symbol, request)

    def _examine_many(
        self, symbols: Sequence[str], request: HistoryRequest
    ) -> dict[str, tuple[pd.DataFrame | None, dict[str, Any], str]]:
        from stockdb.scale import bulk

        names = bulk.names_of(symbols)
        result = bulk.bulk_download(self._access, names, request)
        if not result.frames:
            raise next(iter(result.errors.values()))
        bulk.warn_of(result)
        examined: dict[str, tuple[pd.DataFrame | None, dict[str, Any], str]] = {}
        for name in names:
            if name in result.errors:
                examined[name] = (None, {}, result.errors[name].message)
            else:
                examined[name] = (*self._access.gaps(result[name], name, request), "")
        return examined
