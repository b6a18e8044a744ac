"""Option reads of ``MinIODataIntegration``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from stockdb.errors import ConfigurationError
from stockdb.types import (
    DateLike,
    OutputFormat,
    parse_date,
    parse_range,
    parse_symbol,
    parse_symbols,
)

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access

__all__ = ["OptionMethods"]


class OptionMethods:
    """What a client can ask about options; mixed into the front door."""

    _access: Access

    def list_option_dates(self, symbol: str | None = None) -> pd.DatetimeIndex:
        """List the dates for which the bucket holds options, ascending.

        Files of their own and members of the yearly archives count alike; of an archive only
        the directory is read, once for each version of it. One that cannot be read is warned of.

        Parameters
        ----------
        symbol : str, optional
            Checked only: one file holds every underlying of its day.

        Returns
        -------
        pandas.DatetimeIndex
            datetime64[ns], ascending, unique.

        Raises
        ------
        StockDBError
            The bucket cannot be listed.
        """
        if symbol is not None:
            parse_symbol(symbol)
        return self._access.option_dates()

    def get_option_chain(
        self,
        symbol: str,
        date: DateLike | None = None,
        *,
        expiration: DateLike | Sequence[DateLike | None] | None = None,
        dte: int | Sequence[float | None] | None = None,
        option_type: str | None = None,
        strikes: float | Sequence[float | None] | None = None,
        moneyness: Sequence[float | None] | None = None,
        verify: bool | None = None,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
        output_format: OutputFormat = "pandas",
    ) -> Any:
        """Read the option chain of one underlying on one day.

        Parameters
        ----------
        symbol : str
        date : str, date, datetime or Timestamp, optional
            None takes the newest file.
        expiration : date-like, (first, last) or list, optional
            One expiration, a range (tuple, None is open) or several expirations (list).
        dte : int or (int, int), optional
            Calendar days to expiration: at most, or a range with None open.
        option_type : {'call', 'put'}, optional
        strikes : float, (low, high) or list, optional
            One strike, a range (tuple) or several strikes (list).
        moneyness : (low, high), optional
            Strike / spot; the spot is implied by put-call parity and recorded.
        verify : bool, optional
            True never relies on the declared order of the file; by default as
            VALIDATION_CONFIG says.
        max_age, offline, allow_stale, output_format
            As for :meth:`get_historical_data`.

        Returns
        -------
        pandas.DataFrame
            One row a contract, in the file's order: symbol, contract, expiration
            (datetime64[ns]), dte (int64, days), type (``call``/``put``), strike, bid, ask,
            mid, spread (dollars a share), bid_size, ask_size, volume, open_interest
            (contracts; NaN where the file is blank, which 0 is not), style, quote_date, and
            the vendor's own Greeks as ``vendor_*``, which nothing here relies on.
            ``df.attrs['stockdb']['other_quote_dates']`` counts the rows whose ``quote_date`` is
            not the file's date (``file_date``): they are given as they are, with ``dte`` from
            their own date, and a warning; whatever is computed of a chain leaves them out.
            ``grouping`` there is ``assumed`` where the rows were found by
            the declared order of a file that was never read in full.

        Raises
        ------
        DateNotFoundError
            No file for the date; names the nearest dates.
        SymbolNotFoundError
            The file was read in full, or is known, and does not hold the symbol.
        StockDBError
            As :meth:`get_historical_data`.
        """
        from stockdb.access.chains import parse_filter
        from stockdb.core.reader import ReadPolicy

        self._access.check_output(output_format)
        frame = self._access.chain(
            parse_symbol(symbol),
            None if date is None else parse_date(date),
            parse_filter(expiration, dte, option_type, strikes, moneyness),
            ReadPolicy(max_age, offline, allow_stale),
            verify,
        )
        return self._access.output(frame, output_format)

    def get_options_data(
        self,
        symbol: str,
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        *,
        expiration: DateLike | Sequence[DateLike | None] | None = None,
        dte: int | Sequence[float | None] | None = None,
        option_type: str | None = None,
        strikes: float | Sequence[float | None] | None = None,
        moneyness: Sequence[float | None] | None = None,
        verify: bool | None = None,
        max_workers: int | None = None,
        progress: bool | None = None,
        strict: bool = False,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
        output_format: OutputFormat = "pandas",
    ) -> Any:
        """Read the chains of one underlying over many days, in parallel.

        Parameters
        ----------
        symbol : str
        start_date, end_date : date-like, optional
            Quote dates, both included; None is open-ended. Days that only an archive holds are
            read where the range begins somewhere; otherwise ``df.attrs['stockdb']`` counts them
            in ``archived_days_left_out``.
        expiration, dte, option_type, strikes, moneyness, verify
            As for :meth:`get_option_chain`, applied to each day.
        max_workers, progress
            As for :meth:`bulk_download`.
        strict : bool
            Raise, after all days have been read, where any failed.
        max_age, offline, allow_stale, output_format
            As for :meth:`get_historical_data`.

        Returns
        -------
        pandas.DataFrame
            Long form: the columns of :meth:`get_option_chain`, ordered by ``quote_date``. A
            day that failed is not in it: a warning names it, and so does
            ``df.attrs['stockdb']['errors']`` (date -> message). Days whose file does not
            quote the symbol are counted in ``absent_days``. Rows quoted on another date than
            their file's are left out, warned of, and counted in ``other_quote_dates``.

        Raises
        ------
        DateNotFoundError
            The bucket holds no options file in the range.
        SymbolNotFoundError
            No file of the range holds the symbol.
        StockDBError
            Every day failed, or with ``strict`` any.
        """
        from stockdb.access.chains import parse_filter
        from stockdb.core.reader import ReadPolicy
        from stockdb.scale.history import chain_history

        self._access.check_output(output_format)
        frame = chain_history(
            self._access,
            parse_symbol(symbol),
            parse_range(start_date, end_date),
            parse_filter(expiration, dte, option_type, strikes, moneyness),
            ReadPolicy(max_age, offline, allow_stale),
            verify=verify,
            max_workers=max_workers,
            progress=progress,
            strict=strict,
        )
        return self._access.output(frame, output_format)

    def get_contract_history(
        self,
        contract: str,
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        **options: Any,
    ) -> pd.DataFrame:
        """Follow one option contract over the days that quote it.

        Parameters
        ----------
        contract : str
            ``O:AAPL230120C00150000`` or ``AAPL230120C00150000``.
        start_date, end_date : date-like, optional
        **options
            As for :meth:`get_options_data`: ``verify``, ``max_workers``, ``progress`` ...

        Returns
        -------
        pandas.DataFrame
            Index ``quote_date`` (datetime64[ns], ascending), the other columns of
            :meth:`get_option_chain`; empty, with the reason in attrs, where no day quotes it.

        Raises
        ------
        DataError
            Not an option contract.
        StockDBError
            As :meth:`get_options_data`.
        """
        from stockdb.access.chains import one_contract, parse_contract

        underlying, name = parse_contract(contract)
        frame = self.get_options_data(underlying, start_date, end_date, **options)
        return one_contract(frame, name)

    def explain(
        self,
        call: str,
        symbol: str | Sequence[str],
        date: DateLike | None = None,
        end_date: DateLike | None = None,
        *,
        start_date: DateLike | None = None,
        interval: str = "daily",
        max_age: float | None = None,
        verify: bool | None = None,
        dataset: str | None = None,
    ) -> pd.DataFrame:
        """Say what a read would do and cost, without reading it.

        Parameters
        ----------
        call : {'get_option_chain', 'get_options_data', 'get_historical_data', 'bulk_download'}
        symbol : str or list of str
            A list for reads of bars only.
        date, end_date : date-like, optional
            The day of a chain (None is the newest file); for the other calls both ends of the
            range, where ``start_date`` says the same as ``date``.
        interval : str
            For reads of bars.
        max_age : float, optional
            As in :meth:`get_historical_data`.
        verify : bool, optional
            For chains, as in :meth:`get_option_chain`.
        dataset : str, optional
            For bars, as in :meth:`get_historical_data`.

        Returns
        -------
        pandas.DataFrame
            For a chain one row a way, in the order tried: strategy, bytes and requests
            (estimates), proved (bool), key, size (bytes of the file). For a history of chains
            the first way of each day, and a column date (datetime64[ns]).

            For bars one row an object: symbol, dataset, strategy (``cache``, ``revalidate`` or
            ``object``), bytes and requests of the read, by the listing and by what the cache
            holds, key, size. Where the range reaches into years that are held by day,
            ``attrs['stockdb']['left_out']`` says so.

        Raises
        ------
        ConfigurationError
            Another call, or a list of symbols for a chain.
        SymbolNotFoundError
            No bars are listed for one of the symbols.
        DateNotFoundError
            No options file for the day.
        """
        from stockdb.access.outlook import outlook_of_bars, outlook_of_chain, outlook_of_chains

        start = date if start_date is None else start_date
        if call in {"get_historical_data", "bulk_download"}:
            request = self._access.request(
                start, end_date, interval, max_age=max_age, dataset=dataset
            )
            return outlook_of_bars(self._access.reader, parse_symbols(symbol)[0], request)
        if call not in {"get_option_chain", "get_options_data"}:
            raise ConfigurationError(
                f"There is nothing to explain about {call!r}.",
                remedy="Ask about get_historical_data, bulk_download, get_option_chain or "
                "get_options_data.",
            )
        chains, verifies = self._access.chains, self._access.verifies(verify)
        name = parse_symbol(symbol)
        if call == "get_option_chain":
            day = None if start is None else parse_date(start)
            return outlook_of_chain(chains, name, day, verify=verifies)
        wanted = parse_range(start, end_date)
        first, last = wanted.first_day("UTC"), wanted.last_day("UTC")
        return outlook_of_chains(
            chains,
            name,
            None if first is None else first.date(),
            None if last is None else last.date(),
            verify=verifies,
        )

    def compact_options(
        self,
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        *,
        dry_run: bool = False,
        on_day: Callable[[Any], None] | None = None,
    ) -> pd.DataFrame:
        """Write columnar twins of options files, which make every machine's chain reads cheap.

        A twin is the day sorted by underlying, as Parquet, under ``twin_prefix`` or in
        ``twin_bucket`` of CACHE_CONFIG. It is used only while the file that it was made of has
        the same ETag, and is never written over a file of the bucket. Days whose twin stands
        are left alone, so that a run that was broken off goes on where it was.

        Parameters
        ----------
        start_date, end_date : date-like, optional
            Both included; None is open-ended.
        dry_run : bool
            Say what would be written, and write nothing.
        on_day : callable, optional
            Takes each day as it is done, with the attributes of a row of the result.

        Returns
        -------
        pandas.DataFrame
            One row a day: date, key, twin, state (``current``, ``to write``, ``written`` or
            ``failed``), source_bytes, twin_bytes, underlyings, rows, seconds, reason.

        Raises
        ------
        ConfigurationError
            No place for twins is configured, or one where they would be taken for originals.
        """
        from stockdb.access.files import compact_options

        return compact_options(
            self._access.chains, parse_range(start_date, end_date), dry_run=dry_run, on_day=on_day
        )
