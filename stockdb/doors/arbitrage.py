"""Arbitrage searches of ``LEAPSDataIntegration``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from stockdb.types import DateLike

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access

__all__ = ["ArbitrageMethods"]


class ArbitrageMethods:
    """Static arbitrage; mixed into the front door."""

    @property
    def _access(self) -> Access:
        raise NotImplementedError

    def find_suspect_quotes(
        self,
        symbol: str,
        date: DateLike | None = None,
        *,
        verify: bool | None = None,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
    ) -> pd.DataFrame:
        """List the quotes of one day's chain that contradict the rest of it.

        Parameters
        ----------
        symbol : str
        date : date-like, optional
        verify, max_age, offline, allow_stale
            As for :meth:`MinIODataIntegration.get_option_chain`.

        Returns
        -------
        pandas.DataFrame
            Worst first; see :func:`stockdb.options.arbitrage.suspect_quotes`.
        """
        from stockdb.access.leaps import suspects_of
        from stockdb.core.reader import ReadPolicy

        return suspects_of(
            self._access, symbol, date, ReadPolicy(max_age, offline, allow_stale), verify
        )

    def find_arbitrage_opportunities(
        self,
        symbol: str,
        date: DateLike | None = None,
        *,
        stock_bid: float | None = None,
        stock_ask: float | None = None,
        rate: Any = None,
        dividends: Any = None,
        fees_per_contract: float | None = None,
        borrow_rate: float = 0.0,
        futures: Any = None,
        include_statistical: bool = False,
        include_suspect: bool = True,
        min_days: int | None = None,
        tick: float | None = None,
        max_rows: int = 1000,
        verify: bool | None = None,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
    ) -> pd.DataFrame:
        """Look for static arbitrage at executable prices in one day's chain.

        Bought options pay their ask, sold ones get their bid, fees are taken off; mids are
        never looked at. What is not known is not guessed: the tests that need it are listed in
        ``df.attrs['stockdb']['skipped']`` with the reason.

        Parameters
        ----------
        symbol : str
        date : date-like, optional
            Quote date; None takes the newest file.
        stock_bid, stock_ask : float, optional
            The stock's quote from the moment of the chain. The daily file has none; without
            it conversions, reversals, floors and caps are skipped.
        rate : float, mapping tenor -> rate, or RateCurve, optional
            Continuously compounded, 0.05 is 5 %. By default the bucket's Treasury yields of
            the quote date, where it has them.
        dividends : mapping ex-date -> dollars, Series, frame or DividendSchedule, optional
            All to come; empty for none. By default the bucket's table, whose later ex-dates
            count as forecasts.
        fees_per_contract : float, optional
            Dollars; by default as LEAPS_CONFIG says (0.65).
        borrow_rate : float
            Yearly fee for borrowed stock, as a fraction of its price.
        futures : mapping expiration -> (bid, ask), optional
            Of options on VIX, which follow the future of their own expiration, not the index.
        include_statistical : bool
            Also rows that are no arbitrage, labelled so: short boxes of American options,
            synthetic stock off its fair price, options off the smile of their neighbours, and
            tests against the stock at the price that the chain implies where no quote is given.
        include_suspect : bool
            False leaves out rows that rest on a quote which contradicts its chain.
        min_days : int, optional
            Least days to expiration; by default every expiration, for a LEAPS is held against
            shorter options, too.
        tick, max_rows
            See :func:`stockdb.options.arbitrage.find_arbitrage`.
        verify, max_age, offline, allow_stale
            As for :meth:`MinIODataIntegration.get_option_chain`.

        Returns
        -------
        pandas.DataFrame
            Best first; the columns are described at
            :func:`stockdb.options.arbitrage.find_arbitrage`. Empty, with the reason in attrs,
            where nothing was found.

        Raises
        ------
        ConfigurationError
            A price, rate, dividend or fee that cannot be one.
        DataError
            The chain holds mids in place of quotes.
        StockDBError
            As :meth:`MinIODataIntegration.get_option_chain`.
        """
        from stockdb.access.leaps import find_opportunities
        from stockdb.core.reader import ReadPolicy

        return find_opportunities(
            self._access,
            symbol,
            date,
            min_days=min_days,
            policy=ReadPolicy(max_age, offline, allow_stale),
            verify=verify,
            stock_bid=stock_bid,
            stock_ask=stock_ask,
            rate=rate,
            dividends=dividends,
            fees_per_contract=fees_per_contract,
            borrow_rate=borrow_rate,
            futures=futures,
            include_statistical=include_statistical,
            include_suspect=include_suspect,
            tick=tick,
            max_rows=max_rows,
        )
