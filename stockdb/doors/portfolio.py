"""Portfolios and scans of ``LEAPSDataIntegration``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stockdb.settings import Leaps
from stockdb.types import DateLike

if TYPE_CHECKING:  # loaded with the first client
    from matplotlib.figure import Figure

    from stockdb.access import Access
    from stockdb.options.portfolio import Portfolio
    from stockdb.scale.scan import ScanResult

__all__ = ["PortfolioMethods"]


class PortfolioMethods:
    """Many positions, many underlyings; mixed into the front door."""

    @property
    def config(self) -> Leaps:
        """Settings of the front door."""
        raise NotImplementedError

    @property
    def _access(self) -> Access:
        raise NotImplementedError

    def scan(
        self,
        symbols: Sequence[str] | None = None,
        date: DateLike | None = None,
        *,
        what: str | Sequence[str] = "arbitrage",
        quotes: Mapping[str, tuple[float, float]] | None = None,
        dividends: Mapping[str, Any] | None = None,
        rules: Mapping[str, Mapping[str, Any]] | None = None,
        whole_day: bool | None = None,
        strict: bool = False,
        progress: bool | None = None,
        **options: Any,
    ) -> ScanResult:
        """Search the chains of many underlyings on one day.

        Parameters
        ----------
        symbols : sequence of str, optional
            By default those of LEAPS_CONFIG.
        date : date-like, optional
            None takes the newest file, the same for all.
        what : str or sequence of str
            ``arbitrage``, ``calendar``, ``diagonal``, ``synthetic``, ``volatility``.
        quotes : mapping of symbol to (bid, ask), optional
            The stocks' quotes from the moment of the chains.
        dividends : mapping of symbol to dividends, optional
        rules : mapping of search to mapping, optional
            Parameters of a search: ``{"calendar": {"option_type": "call"}}``.
        whole_day : bool, optional
            True reads the day's file once as a whole and takes every underlying out of the
            local copy; False reads each underlying by ranges. By default as a whole from 25
            underlyings on.
        strict : bool
            Raise, after all have been searched, where any failed.
        progress : bool, optional
            None shows a bar in a terminal or notebook only.
        **options
            For every search: ``rate``, ``fees_per_contract``, ``max_rows``, ``max_age`` ...

        Returns
        -------
        ScanResult
            Mapping (search -> frame of all underlyings, best first, with the columns of that
            search), with ``errors`` (symbol -> error) and ``summary()`` (one row a symbol).

        Raises
        ------
        ConfigurationError
            An unknown search or option.
        StockDBError
            With ``strict`` any underlying's; otherwise where all failed, the first one's.
        """
        from stockdb.scale.scan import scan

        return scan(
            self._access,
            list(self.config.symbols) if symbols is None else symbols,
            date,
            what=what,
            quotes=quotes,
            dividends=dividends,
            rules=rules,
            whole_day=whole_day,
            strict=strict,
            progress=progress,
            options=options,
        )

    def analyze_portfolio(
        self,
        positions_or_symbols: Any,
        date: DateLike | None = None,
        *,
        quantity: float = 1.0,
        min_days: int | None = None,
        rate: Any = None,
        dividends: Mapping[str, Any] | None = None,
        spots: Mapping[str, float] | None = None,
        betas: Mapping[str, float] | None = None,
        benchmark: str | None = "auto",
        spot_moves: float | Sequence[float] = (
            -0.20,
            -0.15,
            -0.10,
            -0.05,
            0.0,
            0.05,
            0.10,
            0.15,
            0.20,
        ),
        vol_moves: float | Sequence[float] = (-0.10, -0.05, 0.0, 0.05, 0.10),
        days: float | Sequence[float] = (0, 30, 90),
        participation: float = 0.1,
        **reading: Any,
    ) -> Portfolio:
        """Measure a portfolio of options and stock over many underlyings.

        Parameters
        ----------
        positions_or_symbols : mapping, Series, frame, list
            Contract or symbol -> quantity (contracts or shares, negative where sold), also as a
            Series or as pairs; a frame or list of dicts with ``contract`` or ``symbol``, and
            ``quantity``; candidates of the strategy searches (their rows); a list of contracts;
            or a list of symbols: then of each the call nearest the forward of the first
            expiration ``min_days`` away, ``quantity`` times. What is named twice counts twice.
            Stock needs no options: it is priced at ``spots``, else by its bars.
        date : date-like, optional
            Quote date; None takes the newest file.
        quantity : float
        min_days : int, optional
            LEAPS_CONFIG by default (365).
        rate
            As for :meth:`get_leaps_chain`.
        dividends, spots, betas : mapping of symbol, optional
            By default of the bucket: its dividends, closes, and betas of 252 daily returns.
        benchmark : str, optional
            What betas are against: a symbol whose bars have to be there, ``auto`` for SPY where
            the bucket has it (``notes`` say), None for no betas.
        spot_moves, vol_moves, days
            Axes of the scenarios, one number or several: relative, absolute (.1 is ten points),
            calendar days.
        participation : float
            Share of a day's volume that can be sold.
        **reading
            ``verify``, ``max_age``, ``offline``, ``allow_stale``.

        Returns
        -------
        Portfolio
            See :class:`stockdb.options.portfolio.Portfolio`: ``positions``, ``greeks``,
            ``vega_buckets``, ``scenarios``, ``concentration``, ``calendar``, ``liquidation``,
            ``notes``; prints as a summary.

        Raises
        ------
        ConfigurationError
            A quantity, price, beta, move or number of days that cannot be one.
        DataError
            No positions, only flat ones, or a stock without a price.
        NotFoundError
            A contract that the chain of the day does not quote; bars that are not there, of a
            stock without a price or of a benchmark that is named.
        StockDBError
            An underlying that cannot be read: a portfolio is measured as a whole or not.
        """
        from stockdb.access.portfolio import analyze_positions
        from stockdb.access.strategies import Asked

        return analyze_positions(
            self._access,
            positions_or_symbols,
            date,
            Asked.of({"rate": rate, **reading}),
            min_days=self.config.min_days_to_expiration if min_days is None else min_days,
            quantity=quantity,
            dividends=dividends,
            betas=betas,
            benchmark=benchmark,
            spots=spots,
            spot_moves=spot_moves,
            vol_moves=vol_moves,
            days=days,
            participation=participation,
        )

    def plot_scenarios(
        self, portfolio: Portfolio, days: float | Sequence[float] | None = None
    ) -> Figure:
        """Draw a portfolio's scenarios as heat maps, one for each number of days.

        Parameters
        ----------
        portfolio : Portfolio
            Of :meth:`analyze_portfolio`.
        days : float or sequence of float, optional
            Of those that were computed; all by default.

        Returns
        -------
        matplotlib.figure.Figure
            Needs matplotlib; nothing is shown or saved.
        """
        from stockdb.options.plots import plot_scenarios

        return plot_scenarios(portfolio, days)
