"""Chains with numbers of ``LEAPSDataIntegration``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from stockdb.settings import Leaps
from stockdb.types import DateLike, parse_date, parse_symbol

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access
    from stockdb.options.surface import Surface

__all__ = ["NumberMethods"]


class NumberMethods:
    """Implied volatility, Greeks and forwards; mixed into the front door."""

    @property
    def config(self) -> Leaps:
        """Settings of the front door."""
        raise NotImplementedError

    @property
    def _access(self) -> Access:
        raise NotImplementedError

    def get_leaps_chain(
        self,
        symbol: str,
        date: DateLike | None = None,
        min_days: int | None = None,
        *,
        max_days: int | None = None,
        option_type: str | None = None,
        rate: Any = None,
        dividends: Any = None,
        q: float | None = None,
        spot: float | None = None,
        verify: bool | None = None,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
    ) -> pd.DataFrame:
        """Read the long-dated options of one underlying, with their numbers.

        Parameters
        ----------
        symbol : str
        date : date-like, optional
            Quote date; None takes the newest file.
        min_days, max_days : int, optional
            Calendar days to expiration, both included; at least what LEAPS_CONFIG says (365)
            by default, 0 gives the whole chain.
        option_type : {'call', 'put'}, optional
            Which rows to return; both kinds are read, as together they give the forward.
        rate : float, mapping tenor -> rate, RateCurve or 'implied', optional
            Continuously compounded, 0.05 is 5 %. By default the bucket's Treasury yields of
            the quote date; without them, the columns that need a rate are NaN with the reason
            ``no_rate``. ``'implied'`` takes the rate that the quotes imply.
        dividends : mapping ex-date -> dollars, Series, frame or DividendSchedule, optional
            Cash dividends to come: honoured in place of a yield, which takes about ten
            milliseconds a contract. By default the yield of each expiration is found at which
            its calls and puts have the same implied volatility.
        q : float, optional
            A continuous dividend yield to use instead.
        spot : float, optional
            Stock price at the moment of the quotes. By default the bucket's close of the
            quote date (which is of another moment, and said so), or what parity implies where
            that close is absent or lies more than 3 % away.
        verify, max_age, offline, allow_stale
            As for :meth:`MinIODataIntegration.get_option_chain`.

        Returns
        -------
        pandas.DataFrame
            The rows and columns of :meth:`MinIODataIntegration.get_option_chain`, and float64
            columns: spot (dollars), years (ACT/365), rate and q (continuous, a year), forward
            (dollars), moneyness (strike / forward), intrinsic, time_value (dollars a share),
            spread_pct, iv (at the mid; 1.00 is 100 %), implied_volatility (the same, by its long
            name) and iv_error (half the spread in vol),
            delta, gamma, theta (dollars a calendar day), vega (dollars a vol point), rho and
            dividend_rho (per 1.00); ``reason`` (str) says why an iv is NaN, ``flags`` (str)
            what speaks against a quote. ``df.attrs['stockdb']['numbers']`` records the spot,
            its source, and the rates; ``empty_reason`` why there is no row.

        Raises
        ------
        ConfigurationError
            A rate, dividend, yield or spot that cannot be one.
        StockDBError
            As :meth:`MinIODataIntegration.get_option_chain`.

        Notes
        -----
        American options: Andersen, Lake and Offengenden (2015), within 1e-4 of iv where vega
        exceeds ten cents a point at a stock of 100; see docs/option-accuracy.md.
        """
        from stockdb.access.chains import parse_filter
        from stockdb.access.numbers import NumbersRequest, long_dated
        from stockdb.core.reader import ReadPolicy

        least = self.config.min_days_to_expiration if min_days is None else min_days
        wanted = parse_filter(dte=(least, max_days), option_type=option_type)
        policy = ReadPolicy(max_age, offline, allow_stale)
        request = NumbersRequest(spot, rate, dividends, q, policy)
        chain = self._access.chain(
            parse_symbol(symbol),
            None if date is None else parse_date(date),
            parse_filter(),
            policy,
            verify,
        )
        return long_dated(self._access, chain, request, wanted)

    def enrich_chain(
        self,
        chain: pd.DataFrame,
        *,
        rate: Any = None,
        dividends: Any = None,
        q: float | None = None,
        spot: float | None = None,
    ) -> pd.DataFrame:
        """Add the numbers to any chain of one underlying, of one day or many.

        Parameters
        ----------
        chain : pandas.DataFrame
            As ``get_option_chain`` or ``get_options_data`` gives it; is not changed. Each
            expiration should have both calls and puts: together they give the forward.
        rate, dividends, q, spot
            As for :meth:`get_leaps_chain`; the same for every day.

        Returns
        -------
        pandas.DataFrame
            Rows ordered by ``quote_date``; the columns of :meth:`get_leaps_chain`.

        Raises
        ------
        DataError
            A column is missing.
        ConfigurationError
            More than one underlying, or a number that makes no sense.
        """
        from stockdb.access.numbers import NumbersRequest, with_numbers

        return with_numbers(self._access, chain, NumbersRequest(spot, rate, dividends, q))

    def get_vol_surface(
        self,
        symbol: str,
        date: DateLike | None = None,
        *,
        rate: Any = None,
        dividends: Any = None,
        q: float | None = None,
        spot: float | None = None,
        max_age: float | None = None,
        offline: bool = False,
    ) -> Surface:
        """Read a whole chain and build its smiles and term structure.

        Parameters
        ----------
        symbol, date, rate, dividends, q, spot, max_age, offline
            As for :meth:`get_leaps_chain`.

        Returns
        -------
        stockdb.options.surface.Surface
            ``term_structure()``, ``constant_maturity(days)``, ``iv(moneyness, days)``, and a
            smile by expiration with ``at_moneyness`` and ``at_delta``. Drawn by
            ``stockdb.options.plots``.

        Raises
        ------
        StockDBError
            As :meth:`get_leaps_chain`.
        """
        from stockdb.options.surface import vol_surface

        chain = self.get_leaps_chain(
            symbol, date, 0, rate=rate, dividends=dividends, q=q, spot=spot,
            max_age=max_age, offline=offline,
        )  # fmt: skip
        return vol_surface(chain)
