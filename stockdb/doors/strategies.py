"""Searches for option strategies of ``LEAPSDataIntegration``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from stockdb.arguments import Bounds
from stockdb.types import DateLike

if TYPE_CHECKING:  # loaded with the first client
    from matplotlib.figure import Figure

    from stockdb.access import Access

__all__ = ["StrategyMethods"]


class StrategyMethods:
    """Calendars, diagonals, synthetic positions, volatility; mixed into the front door.

    Each search reads the whole chain of one day once. Beside its rules each takes as keywords:
    ``stock_bid``, ``stock_ask`` (the stock's quote from the moment of the chain), ``spot``,
    ``rate``, ``dividends``, ``q`` (as :meth:`get_leaps_chain`; dividends serve flags and present
    values), ``fees_per_contract`` (LEAPS_CONFIG by default), ``max_rows`` (200), ``verify``,
    ``max_age``, ``offline`` and ``allow_stale`` (as ``get_option_chain``).

    Every frame has the columns of :func:`stockdb.options.candidates.build`: symbol, quote_date,
    strategy, legs, net debit at executable prices and at mids, max_loss, max_profit (and which of
    them are ``model_based``), breakevens, net Greeks, margin, capital, return, annualised,
    probability of profit with its measure, expected value, liquidity, fees, dte, flags. Rows that
    rest on a quote which contradicts its chain are flagged ``suspect_quote`` and come last.
    Without a rate no implied volatility is computed: the frame is empty and says so.
    """

    @property
    def _access(self) -> Access:
        raise NotImplementedError

    def find_calendar_spreads(
        self,
        symbol: str,
        date: DateLike | None = None,
        *,
        option_type: str | None = None,
        front_days: Bounds = (20, 90),
        back_days: Bounds = (365, None),
        moneyness: Bounds = (0.9, 1.1),
        min_iv_difference: float | None = None,
        max_spread_pct: float | None = 0.25,
        min_open_interest: float = 0.0,
        max_debit: float | None = None,
        **market: Any,
    ) -> pd.DataFrame:
        """Find calendar spreads: a near option sold, the same strike bought as a LEAPS.

        Parameters
        ----------
        symbol : str
        date : date-like, optional
            Quote date; None takes the newest file.
        option_type : {'call', 'put'}, optional
        front_days, back_days : (least, most)
            Calendar days to expiration; None is open.
        moneyness : (least, most)
            Strike / spot.
        min_iv_difference : float, optional
            Least iv of the front less that of the back; .02 is two vol points.
        max_spread_pct : float, optional
            Most (ask - bid) / mid of either leg.
        min_open_interest : float
        max_debit : float, optional
            Dollars a share.
        **market
            See :class:`StrategyMethods`.

        Returns
        -------
        pandas.DataFrame
            See :func:`stockdb.options.calendars.calendar_spreads`.

        Raises
        ------
        ConfigurationError
            A rule, rate, dividend or spot that cannot be one.
        StockDBError
            As :meth:`get_leaps_chain`.
        """
        from stockdb.access.strategies import Asked, candidates
        from stockdb.options.calendars import CalendarRules

        rules = CalendarRules(
            option_type, front_days, back_days, moneyness, min_iv_difference, max_spread_pct,
            min_open_interest, max_debit,
        )  # fmt: skip
        return candidates(self._access, symbol, date, rules, Asked.of(market))

    def find_diagonal_spreads(
        self,
        symbol: str,
        date: DateLike | None = None,
        *,
        option_type: str | None = "call",
        long_delta: Bounds = (0.70, 0.90),
        short_delta: Bounds = (0.20, 0.30),
        long_days: Bounds = (366, None),
        short_days: Bounds = (30, 45),
        max_debit_of_width: float | None = 0.75,
        extrinsic_covered: bool = True,
        upside_covered: bool = True,
        max_spread_pct: float | None = 0.25,
        min_open_interest: float = 0.0,
        roll_days: int = 7,
        **market: Any,
    ) -> pd.DataFrame:
        """Find diagonal spreads: the poor man's covered call, or its twin of puts.

        Parameters
        ----------
        symbol : str
        date : date-like, optional
        option_type : {'call', 'put'}, optional
            None searches both.
        long_delta, short_delta : (least, most)
            Of absolute deltas.
        long_days, short_days : (least, most)
            Calendar days to expiration.
        max_debit_of_width : float, optional
            Most debit / difference of strikes; None asks nothing.
        extrinsic_covered : bool
            The sold extrinsic value is at least the bought one. Few chains have such a pair, for
            a year of time value costs more than a month of it brings: ``rejected`` in attrs
            counts what each rule turns down.
        upside_covered : bool
            Difference of strikes and sold premium exceed what the bought option costs.
        max_spread_pct, min_open_interest
            As for :meth:`find_calendar_spreads`.
        roll_days : int
            Days before its expiration at which the sold option is to be rolled.
        **market
            See :class:`StrategyMethods`.

        Returns
        -------
        pandas.DataFrame
            See :func:`stockdb.options.calendars.diagonal_spreads`.

        Raises
        ------
        ConfigurationError
            A rule, rate, dividend or spot that cannot be one.
        StockDBError
            As :meth:`get_leaps_chain`.
        """
        from stockdb.access.strategies import Asked, candidates
        from stockdb.options.calendars import DiagonalRules

        rules = DiagonalRules(
            option_type, long_delta, short_delta, long_days, short_days, max_debit_of_width,
            extrinsic_covered, upside_covered, max_spread_pct, min_open_interest, roll_days,
        )  # fmt: skip
        return candidates(self._access, symbol, date, rules, Asked.of(market))

    def find_synthetic_positions(
        self,
        symbol: str,
        date: DateLike | None = None,
        *,
        kinds: str | Sequence[str] = (
            "synthetic_long",
            "synthetic_short",
            "conversion",
            "reversal",
        ),
        days: Bounds = (365, None),
        moneyness: Bounds = (0.8, 1.2),
        max_spread_pct: float | None = 0.25,
        min_open_interest: float = 0.0,
        **market: Any,
    ) -> pd.DataFrame:
        """Measure synthetic stock, conversions and reversals against the stock.

        Parameters
        ----------
        symbol : str
        date : date-like, optional
        kinds : str or sequence of str
        days : (least, most)
            Calendar days to expiration.
        moneyness : (least, most)
            Strike / spot.
        max_spread_pct, min_open_interest
            As for :meth:`find_calendar_spreads`.
        **market
            See :class:`StrategyMethods`.

        Returns
        -------
        pandas.DataFrame
            See :func:`stockdb.options.synthetics.synthetic_positions`.

        Raises
        ------
        ConfigurationError
            A rule, rate, dividend or spot that cannot be one.
        StockDBError
            As :meth:`get_leaps_chain`.
        """
        from stockdb.access.strategies import Asked, candidates
        from stockdb.options.synthetics import SyntheticRules

        rules = SyntheticRules(kinds, days, moneyness, max_spread_pct, min_open_interest)
        return candidates(self._access, symbol, date, rules, Asked.of(market))

    def find_volatility_arbitrage(
        self,
        symbol: str,
        date: DateLike | None = None,
        *,
        structure: str = "straddle",
        days: Bounds = (365, None),
        moneyness: Bounds = (0.8, 1.2),
        window: int | None = None,
        min_difference: float | None = None,
        beats_spread: bool = True,
        max_spread_pct: float | None = 0.25,
        min_open_interest: float = 0.0,
        history_days: int = 20,
        bars_symbol: str | None = None,
        **market: Any,
    ) -> pd.DataFrame:
        """Find options whose implied volatility differs from what the stock did.

        A bet on volatility, not an arbitrage in the strict sense: nothing here is riskless.

        Parameters
        ----------
        symbol : str
        date : date-like, optional
        structure : {'straddle', 'option'}
        days : (least, most)
            Calendar days to expiration.
        moneyness : (least, most)
            Strike / forward.
        window : int, optional
            Sessions of the realised volatility that counts; by time to expiration by default.
        min_difference : float, optional
            Least |iv - rv|.
        beats_spread : bool
            |iv - rv| x vega exceeds the half-spreads of going in and out.
        max_spread_pct, min_open_interest
            As for :meth:`find_calendar_spreads`.
        history_days : int
            Option days before the date that are read for rank, percentile and z-score of iv:
            one read each. 0 reads none.
        bars_symbol : str, optional
            Whose bars give the realised volatility; the symbol's own by default. Bars that are
            named here have to be there.
        **market
            See :class:`StrategyMethods`.

        Returns
        -------
        pandas.DataFrame
            See :func:`stockdb.options.volatility.volatility_trades`.

        Raises
        ------
        ConfigurationError
            A rule, rate, dividend or spot that cannot be one.
        StockDBError
            As :meth:`get_leaps_chain`.
        """
        from stockdb.access.strategies import Asked, candidates
        from stockdb.options.volatility import VolatilityRules

        rules = VolatilityRules(
            structure, days, moneyness, window, min_difference, beats_spread, max_spread_pct,
            min_open_interest,
        )  # fmt: skip
        return candidates(
            self._access,
            symbol,
            date,
            rules,
            Asked.of(market),
            history_days=history_days,
            bars_symbol=bars_symbol,
        )

    def plot_payoff(self, candidate: Any, *, spot: float | None = None) -> Figure:
        """Draw profit and loss of one candidate now and when its first option expires.

        Parameters
        ----------
        candidate : pandas.Series or mapping
            A row of any search: ``leaps.find_calendar_spreads("AAPL").iloc[0]``. Rows of
            ``find_arbitrage_opportunities`` have no volatilities: they show the payoff only.
        spot : float, optional
            The stock now, where the row does not say.

        Returns
        -------
        matplotlib.figure.Figure
            Needs matplotlib; nothing is shown or saved.

        Raises
        ------
        DataError
            Not a row of a search, or one without an option leg.
        ConfigurationError
            A spot that is no price.
        """
        from stockdb.options.plots import plot_payoff

        return plot_payoff(candidate, spot=spot)
