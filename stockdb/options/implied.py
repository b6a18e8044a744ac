"""Implied volatility of American and European options, vectorised; undefined with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from stockdb.options import european
from stockdb.options.american import Scheme
from stockdb.options.pricing import Early, Greeks, scheme_for, sensitivities, shaped, values
from stockdb.options.terms import Terms, terms

__all__ = ["REASONS", "Implied", "implied_greeks", "implied_of", "implied_vol"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Evaluate = Callable[[Indices, Floats], tuple[Floats, Floats]]

REASONS: Final = {
    "": "defined",
    "bad_input": "a number is missing, or the stock or the strike is not above 0",
    "expired": "no time is left to the expiration",
    "below_intrinsic": "the price is below what the option is worth without volatility",
    "no_time_value": "the price is what the option is worth without volatility",
    "above_cap": "the price is at or above what the option can be worth at any volatility",
    "out_of_domain": "the volatility would be below .1 % or above 600 %",
}
_CODES: Final = tuple(REASONS)
_OK, _BAD, _EXPIRED, _BELOW, _NO_TIME, _ABOVE, _OUT = range(len(_CODES))

_RANGE: Final = (1e-3, 6.0)
_STEPS: Final = 80
_CLOSE: Final = 1e-6  # a Newton step this small leaves an error of its square


@np.errstate(all="ignore")
def implied_vol(
    S: Any,
    K: Any,
    T: Any,
    r: Any,
    q: Any,
    price: Any,
    option_type: Any,
    style: Any = "american",
    dividends: Sequence[tuple[float, float]] = (),
    *,
    return_reason: bool = False,
) -> Any:
    """Find the volatility at which an option is worth its price.

    Parameters
    ----------
    S, K, T, r, q, option_type, style, dividends
        As of :func:`stockdb.options.price`.
    price : float or array-like
        What is paid per share.
    return_reason : bool
        Also tell why a value is NaN.

    Returns
    -------
    float or numpy.ndarray
        1.00 is 100 % a year; NaN where no volatility gives the price.
    str or numpy.ndarray of str
        With ``return_reason``: ``""`` where the value is defined, else a key of
        :data:`stockdb.options.REASONS`.

    Raises
    ------
    ConfigurationError
        As of :func:`stockdb.options.price`.

    Notes
    -----
    European: after Jaeckel (2015). American: Newton within a bracket on the price of Andersen,
    Lake and Offengenden; the European volatility is the upper bound. American prices outside
    .1 % to 600 % are undefined. A thousand options and more that share rates and expirations, as
    a chain does, are solved to 1e-4 where vega is above 10 (S = 100; sigma from .03 to 5, T from
    a day to ten years), others to 1e-9.

    Examples
    --------
    >>> round(implied_vol(36.0, 40.0, 1.0, 0.06, 0.0, 4.4867, "put"), 4)
    0.2
    >>> implied_vol(100.0, 120.0, 1.0, 0.05, 0.0, 19.0, "put", return_reason=True)
    (nan, 'below_intrinsic')
    """
    known, value = terms(S, K, T, r, q, price, option_type, style, dividends)
    result, codes = np.full(len(value), np.nan), np.full(len(value), _BAD)
    good = np.flatnonzero(known.usable & np.isfinite(value) & (value >= 0.0))
    part = known.at(good)
    scheme = scheme_for(part)
    result[good], codes[good] = solve(part, value[good], scheme, Early(part, scheme))
    if not return_reason:
        return shaped(result, known.shape)
    return shaped(result, known.shape), shaped(words(codes), known.shape)


def words(codes: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Reasons' names of their numbers."""
    result: npt.NDArray[Any] = np.array(_CODES, dtype=object)[codes]
    return result


class Implied(NamedTuple):
    """Implied volatility of options, and what follows from it; arrays of one shape.

    Attributes
    ----------
    sigma : float or numpy.ndarray
    reason : str or numpy.ndarray of str
        Why sigma is NaN; ``""`` where it is not. Keys of ``REASONS``.
    greeks : Greeks
        At that volatility; NaN with it.
    """

    sigma: Any
    reason: Any
    greeks: Greeks


def implied_greeks(
    S: Any,
    K: Any,
    T: Any,
    r: Any,
    q: Any,
    price: Any,
    option_type: Any,
    style: Any = "american",
    dividends: Sequence[tuple[float, float]] = (),
) -> Implied:
    """Find the implied volatility and the Greeks at it; for a chain the fastest way to both.

    Parameters
    ----------
    S, K, T, r, q, price, option_type, style, dividends
        As of :func:`implied_vol`.

    Returns
    -------
    Implied

    Raises
    ------
    ConfigurationError
        As of :func:`stockdb.options.price`.
    """
    known, value = terms(S, K, T, r, q, price, option_type, style, dividends)
    found = implied_of(known, value)
    return Implied(
        shaped(found.sigma, known.shape),
        shaped(found.reason, known.shape),
        Greeks(
            **{name: shaped(column, known.shape) for name, column in dict(found.greeks).items()}
        ),
    )


@np.errstate(all="ignore")
def implied_of(known: Terms, value: Floats, scheme: Scheme | None = None) -> Implied:
    """Do the same for options that are broadcast already; all arrays 1-D."""
    result, codes = np.full(len(value), np.nan), np.full(len(value), _BAD)
    columns = {item.name: np.full(len(value), np.nan) for item in fields(Greeks)}
    good = np.flatnonzero(known.usable & np.isfinite(value) & (value >= 0.0))
    part = known.at(good)
    finely = scheme or scheme_for(part)
    early = Early(part, finely, rates=True)
    result[good], codes[good] = solve(part, value[good], finely, early)
    found = sensitivities(part, result[good], finely, early, only=np.isfinite(result[good]))
    for name, column in columns.items():
        column[good] = found[name]
    return Implied(result, words(codes), Greeks(**columns))


def solve(
    known: Terms, value: Floats, scheme: Scheme, early: Early
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Volatilities of checked options, and the numbers of the reasons where there is none."""
    codes = _bounds(known, value)
    result = np.full(len(value), np.nan)
    grid = known.paying | known.twice_bounded
    rows = np.flatnonzero((codes == _OK) & known.european & ~grid)
    part = known.at(rows)
    result[rows] = european.normalised_vol(
        part.S, part.K, part.T, part.r, part.q, value[rows], part.sign
    )
    codes[rows[np.isnan(result[rows])]] = _NO_TIME
    for evaluate, which in (
        (early.value_and_vega, ~known.european & ~grid),
        (_Differences(known, scheme), grid),
    ):
        rows = np.flatnonzero((codes == _OK) & which)
        if len(rows):
            start = _european_start(known.at(rows), value[rows])
            result[rows], codes[rows] = newton(evaluate, rows, value[rows], start)
    return result, codes


def _bounds(known: Terms, value: Floats) -> npt.NDArray[np.int64]:
    """Find the prices that no volatility gives, as far as bounds tell."""
    codes = np.full(len(value), _OK)
    spot, strike = known.S * np.exp(-known.q * known.T), known.K * np.exp(-known.r * known.T)
    call = known.sign > 0.0
    early = known.american
    cap = np.where(
        call,
        np.where(early, np.maximum(known.S, spot), spot),
        np.where(early, np.maximum(known.K, strike), strike),
    )
    # What it is worth without volatility; with cash dividends the exact floor is not known here.
    floor = np.where(known.paying, np.where(early, known.intrinsic, 0.0), known.certain())
    codes[value >= cap] = _ABOVE
    noise = np.where(floor > 0.0, 1e-14 * np.maximum(known.S, known.K), 0.0)
    codes[value <= floor + noise] = _NO_TIME
    codes[value < floor - noise] = _BELOW
    codes[known.T <= 0.0] = _EXPIRED
    return codes


def _european_start(known: Terms, value: Floats) -> Floats:
    """Volatility of the European option at the same price: above the American one's."""
    cash = np.zeros(len(value))
    for time, amount in known.dividends:
        cash += np.where(known.T >= time, amount * np.exp(-known.r * time), 0.0)
    S = np.maximum(known.S - cash, 0.05 * known.S)
    found = european.normalised_vol(S, known.K, known.T, known.r, known.q, value, known.sign)
    found = np.where(np.isfinite(found), found, 0.5)
    result: Floats = np.clip(found, *_RANGE)
    return result


class _Differences:
    """Prices by finite differences; vega by a bump at first, then from one step to the next."""

    def __init__(self, known: Terms, scheme: Scheme) -> None:
        self.known, self.scheme = known, scheme
        self.sigma = np.full(len(known.S), np.nan)
        self.value = np.full(len(known.S), np.nan)

    def __call__(self, rows: Indices, sigma: Floats) -> tuple[Floats, Floats]:
        part = self.known.at(rows)
        value = values(part, sigma, self.scheme)
        moved = sigma - self.sigma[rows]
        vega = (value - self.value[rows]) / moved
        first = np.flatnonzero(~(np.abs(moved) > 1e-5 * sigma))
        if len(first):
            step = 0.002 * sigma[first]
            up = values(part.at(first), sigma[first] + step, self.scheme)
            vega[first] = (up - value[first]) / step
        self.sigma[rows], self.value[rows] = sigma, value
        return value, vega


def newton(
    evaluate: Evaluate, rows: Indices, value: Floats, start: Floats
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Solve for volatilities, each within a bracket that shrinks with each step.

    Parameters
    ----------
    evaluate : callable
        (rows, sigma) -> (price, vega); the price rises with sigma.
    rows : numpy.ndarray of int64
        Which options; shape (n,).
    value, start : numpy.ndarray
        Shape (n,); start within the range of volatilities.
    """
    count = len(value)
    sigma, codes = start.copy(), np.full(count, _OK)
    low, high = np.full(count, _RANGE[0]), np.full(count, _RANGE[1])
    todo = np.arange(count)
    for _ in range(_STEPS):
        at, goal = sigma[todo], value[todo]
        found, vega = evaluate(rows[todo], at)
        miss = found - goal
        below = miss < 0.0
        low[todo] = np.where(below, at, low[todo])
        high[todo] = np.where(below, high[todo], at)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = miss / vega
        fresh = at - step
        bottom, top = low[todo], high[todo]
        inside = (vega > 0.0) & (fresh >= bottom) & (fresh <= top)
        done = (inside & (np.abs(step) <= _CLOSE * at)) | (miss == 0.0)
        middle = np.sqrt(bottom * top)
        done |= top <= bottom * (1.0 + 1e-12)
        # at the end of the range the price is still too low, or too high
        stuck = (top - at <= 1e-12) & below | (at - bottom <= 1e-12) & ~below & (
            bottom <= _RANGE[0]
        )
        sigma[todo] = np.where(inside, fresh, middle)
        sigma[todo] = np.where(miss == 0.0, at, sigma[todo])
        codes[todo] = np.where(stuck & ~done, _OUT, codes[todo])
        todo = todo[~(done | stuck)]
        if not len(todo):
            break
    edge = (sigma <= _RANGE[0] * (1.0 + 1e-9)) | (sigma >= _RANGE[1] * (1.0 - 1e-9))
    codes[edge] = _OUT
    return np.where(codes == _OK, sigma, np.nan), codes
