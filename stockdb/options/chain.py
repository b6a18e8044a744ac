"""A chain with numbers: implied volatility, Greeks, forward and moneyness of every quote."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import ConfigurationError
from stockdb.options.american import FAST
from stockdb.options.forwards import Forwards, forward_curve, implied_spot
from stockdb.options.implied import implied_of
from stockdb.options.market import DividendSchedule, RateCurve, parse_price, parse_yield
from stockdb.options.quotes import Quotes, executable_quotes
from stockdb.options.terms import Terms
from stockdb.types import DateLike

__all__ = ["COLUMNS", "QUOTE_REASONS", "enrich", "forwards"]

Floats = npt.NDArray[np.float64]

#: Column added -> what it is and its unit.
COLUMNS: Final = {
    "spot": "stock price the numbers rest on, dollars",
    "years": "ACT/365 to the expiration",
    "rate": "continuous interest rate to the expiration, a year",
    "q": "continuous yield at which call and put agree, a year; 0 with cash dividends",
    "forward": "dollars",
    "moneyness": "strike / forward; strike / spot without a rate",
    "intrinsic": "dollars a share if exercised now",
    "time_value": "mid - intrinsic, dollars a share",
    "spread_pct": "(ask - bid) / mid",
    "iv": "implied volatility at the mid, a year; 1.00 is 100 %",
    "implied_volatility": "the same as iv, by the name that calling code expects",
    "iv_error": "half the spread / vega: what the quote leaves open, a year",
    "delta": "per dollar of the stock",
    "gamma": "change of delta per dollar of the stock",
    "theta": "dollars a share per calendar day",
    "vega": "dollars a share per vol point (.01 of iv)",
    "rho": "dollars a share per 1.00 of rate",
    "dividend_rho": "dollars a share per 1.00 of yield",
    "reason": "why iv is NaN; empty where it is not",
    "flags": "wide_spread, dead_quote, neighbour_forward; separated by commas",
}
#: Why a quote has no numbers, beside the reasons of ``implied_vol``.
QUOTE_REASONS: Final = {
    "wrong_quote_date": "the row is of another day",
    "expired": "no time is left to the expiration",
    "adjusted_root": "the contract delivers something other than 100 shares",
    "no_quote": "a side is missing",
    "zero_bid": "nobody bids",
    "crossed": "the bid is above the ask",
    "locked": "the bid is at the ask",
    "zero_size": "a side has no size",
    "duplicate": "a copy of another row",
    "conflicting_duplicates": "the contract is quoted twice, differently",
    "no_spot": "no stock price is known, and no pair of quotes implies one",
    "no_rate": "no interest rate is known; give rate=",
    "no_forward": "no expiration has a call and a put of one strike quoted; give q= or dividends=",
}
_TEXT: Final = ("reason", "flags")
_MANY_DAYS: Final = 365.0


def enrich(
    chain: pd.DataFrame,
    spot: float | None = None,
    rate: Any = None,
    *,
    dividends: Any = None,
    q: float | None = None,
    quote_date: DateLike | None = None,
) -> pd.DataFrame:
    """Compute the numbers of a chain.

    Parameters
    ----------
    chain : pandas.DataFrame
        One underlying on one day, as ``get_option_chain`` gives it; is not changed.
    spot : float, optional
        Stock price at the moment of the quotes, dollars; else what parity implies at the
        nearest expiration.
    rate : RateCurve, float, mapping or 'implied', optional
        See :meth:`RateCurve.of`. ``'implied'`` takes the one rate that the quotes of all
        expirations imply together. Without any, only what needs no rate is filled.
    dividends : DividendSchedule, mapping or the like, optional
        Cash dividends to come (see :meth:`DividendSchedule.of`); honoured by finite
        differences, which takes about ten milliseconds a contract.
    q : float, optional
        A dividend yield to use instead of the ones the quotes imply.
    quote_date : date-like, optional
        By default that of the file which the chain was read from, else the one that most rows
        have.

    Returns
    -------
    pandas.DataFrame
        The chain with the columns of ``stockdb.options.chain.COLUMNS`` added, float64 but for
        ``reason`` and ``flags`` (str). NaN where a number cannot be: ``reason`` says why, by a
        key of ``QUOTE_REASONS`` or of ``stockdb.options.REASONS``.

    Raises
    ------
    DataError
        A needed column is missing.
    ConfigurationError
        The spot is not above 0, both q and dividends are given, or a rate makes no sense.

    Notes
    -----
    Numbers are of the mid. American where the style of the row says so (all but the
    cash-settled index roots where it is silent). See :func:`forwards` for the yields.
    """
    quotes, found = _prepare(chain, spot, rate, dividends, q, quote_date)
    count = len(chain)
    columns: dict[str, Any] = {
        name: np.full(count, "" if name in _TEXT else np.nan, object if name in _TEXT else float)
        for name in COLUMNS
    }
    _explain_dropped(columns["reason"], chain, quotes)
    price = found.spot if isinstance(found, Forwards) else spot
    _fill_quotes(columns, chain, quotes, price)
    if isinstance(found, Forwards):
        _fill_numbers(
            columns, quotes, found, DividendSchedule.of(() if dividends is None else dividends)
        )
    else:
        columns["reason"][quotes.row] = found
    result = chain.copy()
    for name, column in columns.items():
        result[name] = column
    result.attrs = dict(chain.attrs)
    return result


def forwards(
    chain: pd.DataFrame,
    spot: float | None = None,
    rate: Any = None,
    *,
    dividends: Any = None,
    q: float | None = None,
    quote_date: DateLike | None = None,
) -> pd.DataFrame:
    """Find the forward of each expiration out of the chain's quotes.

    Parameters
    ----------
    chain, spot, rate, dividends, q, quote_date
        As for :func:`enrich`.

    Returns
    -------
    pandas.DataFrame
        See ``stockdb.options.forwards.Forwards``.

    Raises
    ------
    ConfigurationError
        As :func:`enrich`, and where no rate is given or no spot can be found.
    """
    _, found = _prepare(chain, spot, rate, dividends, q, quote_date)
    if not isinstance(found, Forwards):
        raise ConfigurationError(
            f"There is no forward: {QUOTE_REASONS[found]}.",
            remedy="Give spot= and rate= (a number, a curve, or 'implied').",
        )
    return found.table


def _prepare(
    chain: pd.DataFrame,
    spot: float | None,
    rate: Any,
    dividends: Any,
    q: float | None,
    quote_date: DateLike | None,
) -> tuple[Quotes, Forwards | str]:
    """Take quotes and forwards; the reason where there are no forwards."""
    spot, q = parse_price("spot", spot), parse_yield(q)
    if q is not None and dividends is not None:
        raise ConfigurationError(
            "Both a yield and cash dividends are given.", remedy="Give one of q= and dividends=."
        )
    quotes = executable_quotes(chain, quote_date=quote_date)
    free = isinstance(rate, str) and rate == "implied"
    curve = None if rate is None or free else RateCurve.of(rate)
    if curve is None and not free:
        return quotes, "no_rate"
    if spot is None:
        spot = implied_spot(quotes, curve or RateCurve((0.0,), (0.0,)))
        if spot is None:
            return quotes, "no_spot"
    return quotes, forward_curve(quotes, spot, curve, q=q, cash=dividends is not None)


def _explain_dropped(reason: npt.NDArray[np.object_], chain: pd.DataFrame, quotes: Quotes) -> None:
    why = {name: what for what, names in quotes.dropped.items() for name in names}
    contract = chain["contract"].to_numpy(dtype=object, na_value="")
    kept = np.zeros(len(chain), dtype=bool)
    kept[quotes.row] = True
    for row in np.flatnonzero(~kept):
        reason[row] = why.get(contract[row], "no_quote")


def _fill_quotes(
    columns: dict[str, Any], chain: pd.DataFrame, quotes: Quotes, spot: float | None
) -> None:
    """Fill what needs neither rate nor volatility."""
    rows = quotes.row
    columns["spread_pct"][rows] = (quotes.ask - quotes.bid) / quotes.mid
    columns["years"][rows] = quotes.years
    flags = np.where(quotes.wide, "wide_spread", "").astype(object)
    both = quotes.wide & quotes.dead
    flags = np.where(quotes.dead, np.where(both, "wide_spread,dead_quote", "dead_quote"), flags)
    columns["flags"][rows] = flags
    if spot is None:
        return
    strike = chain["strike"].to_numpy(np.float64, na_value=np.nan)
    sign = np.where((chain["type"] == "call").to_numpy(bool), 1.0, -1.0)
    columns["spot"][:] = spot
    columns["moneyness"][:] = strike / spot
    columns["intrinsic"][:] = np.maximum(sign * (spot - strike), 0.0)
    columns["time_value"][rows] = quotes.mid - columns["intrinsic"][rows]


def _fill_numbers(
    columns: dict[str, Any], quotes: Quotes, found: Forwards, dividends: DividendSchedule
) -> None:
    """Fill what follows from the forwards."""
    table, rows = found.table, quotes.row
    place = table.index.get_indexer(pd.DatetimeIndex(quotes.expiration.astype("datetime64[ns]")))
    r, carry = table["rate"].to_numpy()[place], table["q"].to_numpy()[place]
    forward = table["forward"].to_numpy()[place]
    if len(rows) and dividends.ex_dates:
        paid = dividends.until(quotes.quote_date, pd.Timestamp(quotes.expiration.max()))
        forward = _with_cash(found.spot, r, quotes.years, paid)
    else:
        paid = ()
    count = len(rows)
    known = Terms(
        np.full(count, found.spot),
        quotes.strike,
        quotes.years,
        r,
        carry,
        np.where(quotes.call, 1.0, -1.0),
        ~quotes.european,
        paid,
        (count,),
    )
    numbers = implied_of(known, quotes.mid, FAST)
    scale = {"theta": 1.0 / _MANY_DAYS, "vega": 0.01}
    for name in ("delta", "gamma", "theta", "vega", "rho", "dividend_rho"):
        columns[name][rows] = numbers.greeks[name] * scale.get(name, 1.0)
    columns["iv"][rows] = columns["implied_volatility"][rows] = numbers.sigma
    with np.errstate(divide="ignore", invalid="ignore"):
        open_ = (quotes.ask - quotes.bid) / 2.0 / numbers.greeks.vega
    columns["iv_error"][rows] = np.where(np.isfinite(open_), open_, np.nan)
    columns["rate"][rows], columns["q"][rows], columns["forward"][rows] = r, carry, forward
    columns["moneyness"][rows] = np.where(
        np.isfinite(forward), quotes.strike / forward, columns["moneyness"][rows]
    )
    reason = np.where(np.isnan(carry), "no_forward", numbers.reason)
    columns["reason"][rows] = reason
    neighbour = (table["q_source"] == "neighbour").to_numpy()[place]
    flags = columns["flags"]
    for row in rows[neighbour]:
        flags[row] = ",".join(filter(None, (flags[row], "neighbour_forward")))


def _with_cash(
    spot: float, r: Floats, years: Floats, paid: tuple[tuple[float, float], ...]
) -> Floats:
    """Forward of a stock that drops by cash: grown, less the cash grown from its day on."""
    result: Floats = spot * np.exp(r * years)
    for time, cash in paid:
        result -= np.where(years >= time, cash * np.exp(r * (years - time)), 0.0)
    return result
