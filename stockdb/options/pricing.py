"""Prices and Greeks of American and European options, vectorised.

European: closed form. American with a continuous yield: exercise boundary and premium
(:mod:`stockdb.options.american`). Cash dividends, and the rare American option with two exercise
boundaries: finite differences (:mod:`stockdb.options.finite`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stockdb.options import european
from stockdb.options.american import ACCURATE, FAST, Scheme
from stockdb.options.finite import GridValues, finite_differences
from stockdb.options.fronts import SHARED, Fronts, markets
from stockdb.options.premium import premium
from stockdb.options.terms import Terms, terms

__all__ = ["Greeks", "greeks", "price", "sensitivities", "values"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LEAST_SIGMA: Final = 1e-3  # of the finite-difference grid
_RATE_BUMP: Final = 1e-3  # smaller ones would show the grid
_MANY: Final = 1000


@dataclass(frozen=True, slots=True)
class Greeks:
    """Price and sensitivities; floats for scalar input, else arrays of the broadcast shape.

    Attributes are also items: ``greeks["delta"]``, ``pandas.DataFrame(dict(greeks))``.

    Attributes
    ----------
    price : float or numpy.ndarray
        In the currency of S and K, per share, as all that follows.
    delta, gamma : float or numpy.ndarray
        First and second derivative by S.
    theta : float or numpy.ndarray
        Derivative by the passing of time, per year: usually negative.
    vega : float or numpy.ndarray
        Per 1.00 of sigma (100 vol points).
    rho, dividend_rho : float or numpy.ndarray
        Per 1.00 of r and of q.
    """

    price: Any
    delta: Any
    gamma: Any
    theta: Any
    vega: Any
    rho: Any
    dividend_rho: Any

    def keys(self) -> Iterator[str]:
        """Names of the columns."""
        return iter([item.name for item in fields(self)])

    def __getitem__(self, name: str) -> Any:
        """One column."""
        if name not in list(self.keys()):
            raise KeyError(name)
        return getattr(self, name)


@np.errstate(all="ignore")
def price(
    S: Any,
    K: Any,
    T: Any,
    r: Any,
    q: Any,
    sigma: Any,
    option_type: Any,
    style: Any = "american",
    dividends: Sequence[tuple[float, float]] = (),
) -> Any:
    """Price options.

    Parameters
    ----------
    S, K : float or array-like
        Stock and strike, above 0.
    T : float or array-like
        Years to expiration, not negative.
    r, q : float or array-like
        Interest rate and dividend yield a year, continuous; 0.05 is 5 %.
    sigma : float or array-like
        Volatility a year; 1.00 is 100 %; not negative.
    option_type : str or array-like of str
        ``call`` or ``put`` (or ``c``, ``p``).
    style : str or array-like of str
        ``american`` or ``european``.
    dividends : sequence of (float, float)
        Years from now and cash a share: the stock drops by the cash (spot model), on top of the
        yield q. The same for all options; those after an expiration do not count for it.

    Returns
    -------
    float or numpy.ndarray
        float64; NaN where an input is not finite, or S or K not above 0, or T or sigma negative.

    Raises
    ------
    ConfigurationError
        Shapes that do not broadcast, an unknown type or style, dividends that are no pairs.

    Notes
    -----
    Black, Scholes (1973) and Merton (1973); Andersen, Lake and Offengenden (2015); Crank-Nicolson
    with operator splitting for cash dividends. Tested for T from a day to 10 years, sigma from
    .01 to 5, r from -.01 to .15.

    Examples
    --------
    >>> round(price(36.0, 40.0, 1.0, 0.06, 0.0, 0.2, "put"), 4)  # Longstaff, Schwartz: 4.478
    4.4867
    """
    known, vol = terms(S, K, T, r, q, sigma, option_type, style, dividends)
    result = np.full(len(vol), np.nan)
    good = np.flatnonzero(known.usable & np.isfinite(vol) & (vol >= 0.0))
    result[good] = values(known.at(good), vol[good])
    return shaped(result, known.shape)


@np.errstate(all="ignore")
def greeks(
    S: Any,
    K: Any,
    T: Any,
    r: Any,
    q: Any,
    sigma: Any,
    option_type: Any,
    style: Any = "american",
    dividends: Sequence[tuple[float, float]] = (),
) -> Greeks:
    """Price options and differentiate the price; parameters as of :func:`price`.

    Returns
    -------
    Greeks
        theta per year, vega and rho per 1.00; NaN where the price is, and where T or sigma is 0.
        An American option that is best exercised at once has delta 1 or -1, all else 0.

    Raises
    ------
    ConfigurationError
        As :func:`price`.

    Examples
    --------
    >>> found = greeks(100.0, 100.0, 2.0, 0.05, 0.015, 0.25, ["call", "put"])
    >>> found.delta.round(3).tolist()
    [0.627, -0.388]
    """
    known, vol = terms(S, K, T, r, q, sigma, option_type, style, dividends)
    good = np.flatnonzero(known.usable & np.isfinite(vol) & (vol > 0.0) & (known.T > 0.0))
    part = known.at(good)
    scheme = scheme_for(part)
    found = sensitivities(part, vol[good], scheme, Early(part, scheme, rates=True))
    columns = []
    for item in fields(Greeks):
        column = np.full(len(vol), np.nan)
        column[good] = found[item.name]
        columns.append(column)
    only = np.flatnonzero(known.usable & np.isfinite(vol) & (vol >= 0.0) & np.isnan(columns[0]))
    columns[0][only] = values(known.at(only), vol[only])
    return Greeks(*(shaped(column, known.shape) for column in columns))


def shaped(result: npt.NDArray[Any], shape: tuple[int, ...]) -> Any:
    """Give back the caller's shape; a scalar for scalars."""
    return result.reshape(shape) if shape else result.tolist()[0]


def values(known: Terms, sigma: Floats, scheme: Scheme = ACCURATE) -> Floats:
    """Prices of checked options."""
    flat = known.flat(sigma) & ~known.paying
    grid = ~flat & (known.paying | known.twice_bounded)
    closed = ~flat & ~grid & known.european
    early = ~(flat | grid | closed)
    result = np.where(flat, known.certain(), np.nan)
    rows = np.flatnonzero(closed)
    part = known.at(rows)
    result[rows] = european.black(part.S, part.K, part.T, part.r, part.q, sigma[rows], part.sign)
    rows = np.flatnonzero(early)
    if len(rows):
        result[rows] = Early(known.at(rows), scheme).value(np.arange(len(rows)), sigma[rows])
    for time, rows in _by_expiration(known.T, grid):
        result[rows] = _finite(known.at(rows), time, sigma[rows]).value
    return result


def scheme_for(known: Terms) -> Scheme:
    """Choose how finely: a chain's many options on few boundaries are worth less time each."""
    early = np.flatnonzero(~known.european)
    if len(early) < _MANY:
        return ACCURATE
    part = known.at(early)
    _, first = markets(part.r, part.q, part.T)
    return FAST if len(first) * SHARED <= len(early) else ACCURATE


def sensitivities(
    known: Terms,
    sigma: Floats,
    scheme: Scheme,
    early: Early,
    only: npt.NDArray[np.bool_] | None = None,
) -> Greeks:
    """Prices and Greeks of checked options with sigma and T above 0; NaN but for ``only``."""
    wanted = np.ones(len(sigma), dtype=np.bool_) if only is None else only
    grid = wanted & (known.paying | known.twice_bounded | known.flat(sigma))
    closed = wanted & ~grid & known.european
    apart = wanted & ~(grid | closed)
    result = {item.name: np.full(len(sigma), np.nan) for item in fields(Greeks)}

    def put(rows: Indices, found: Greeks) -> None:
        for name, column in result.items():
            column[rows] = found[name]

    rows = np.flatnonzero(closed)
    if len(rows):
        part = known.at(rows)
        put(rows, Greeks(*european.sensitivities(
            part.S, part.K, part.T, part.r, part.q, sigma[rows], part.sign
        )))  # fmt: skip
    rows = np.flatnonzero(apart)
    if len(rows):
        put(rows, early.greeks(rows, sigma[rows]))
    for time, rows in _by_expiration(known.T, grid):
        put(rows, _finite_greeks(known.at(rows), time, sigma[rows]))
    return Greeks(**result)


class Early:
    """American options with one exercise boundary, at whatever volatility.

    Everything is computed of the put on a unit strike that each option is: a call on S struck at
    K is a put on K struck at S with r and q exchanged (McDonald and Schroder, 1998).
    """

    def __init__(self, known: Terms, scheme: Scheme, *, rates: bool = False) -> None:
        self.known = known
        self.scheme = scheme
        call = known.sign > 0.0
        self._call = call
        self._r, self._q = known.put_rates
        self._x = np.where(call, -1.0, 1.0) * np.log(known.S / known.K)
        self._unit = np.where(call, known.S, known.K)
        self._fronts = Fronts(self._r, self._q, known.T, scheme, rates=rates)

    def value(self, rows: Indices, sigma: Floats) -> Floats:
        """Prices of some of them."""
        return self._evaluate(rows, sigma, False)[0]

    def value_and_vega(self, rows: Indices, sigma: Floats) -> tuple[Floats, Floats]:
        """Prices, and derivatives by sigma, of some of them."""
        value, vega = self._evaluate(rows, sigma, True)
        return value, vega

    def _evaluate(self, rows: Indices, sigma: Floats, vega: bool) -> tuple[Floats, Floats]:
        x, r, q, T = self._x[rows], self._r[rows], self._q[rows], self.known.T[rows]
        front = self._fronts.at(rows, sigma, vega=vega)
        held = x > front.log[:, -1]
        extra = premium(x, r, q, sigma, T, front, self.scheme)
        spot, one = np.exp(x), np.ones_like(x)
        if vega:
            known = european.sensitivities(spot, one, T, r, q, sigma, -one)
            slope = known.vega + (0.0 if extra.sigma is None else extra.sigma)
            value = known.value + extra.value
        else:
            value = european.black(spot, one, T, r, q, sigma, -one) + extra.value
            slope = np.empty(0)
        paid = np.maximum(-np.expm1(x), 0.0)
        value = np.where(held, np.maximum(value, paid), paid)
        unit = self._unit[rows]
        return unit * value, np.where(held, unit * slope, 0.0) if vega else slope

    def greeks(self, rows: Indices, sigma: Floats) -> Greeks:
        """Prices and Greeks of some of them; made with ``rates``."""
        x, r, q, T = self._x[rows], self._r[rows], self._q[rows], self.known.T[rows]
        front = self._fronts.at(rows, sigma, vega=True, rates=True)
        held = x > front.log[:, -1]
        extra = premium(x, r, q, sigma, T, front, self.scheme)
        spot, one = np.exp(x), np.ones_like(x)
        base = european.sensitivities(spot, one, T, r, q, sigma, -one)
        # of the unit put; the derivative by x of the European part is spot * delta
        by_x = spot * base.delta + _known(extra.x)
        curved = spot * spot * base.gamma + _known(extra.xx) - _known(extra.x)  # u_xx - u_x
        paid = np.maximum(-np.expm1(x), 0.0)
        value = np.where(held, np.maximum(base.value + extra.value, paid), paid)
        by_x, curved = np.where(held, by_x, -spot), np.where(held, curved, 0.0)
        vega, by_r, by_q = (
            np.where(held, _known(a) + _known(b), 0.0)
            for a, b in (
                (base.vega, extra.sigma),
                (base.rho, extra.r),
                (base.dividend_rho, extra.q),
            )
        )
        call, unit, part = self._call[rows], self._unit[rows], self.known.at(rows)
        delta = np.where(call, value - by_x, unit * by_x / part.S)
        gamma = np.where(call, curved / part.S, unit * curved / part.S**2)
        price = unit * value
        theta = (
            part.r * price
            - (part.r - part.q) * part.S * delta
            - 0.5 * (sigma * part.S) ** 2 * gamma
        )
        return Greeks(
            price,
            delta,
            gamma,
            np.where(held, theta, 0.0),
            unit * vega,
            unit * np.where(call, by_q, by_r),
            unit * np.where(call, by_r, by_q),
        )


def _known(column: Floats | None) -> Floats:
    if column is None:  # pragma: no cover - a front with rates brings all
        raise AssertionError("the premium came without a derivative that was asked for")
    return column


def _by_expiration(T: Floats, which: npt.NDArray[np.bool_]) -> Iterator[tuple[float, Indices]]:
    rows = np.flatnonzero(which)
    for time in np.unique(T[rows]):
        yield float(time), rows[T[rows] == time]


def _finite(
    known: Terms, time: float, sigma: Floats, *, dr: float = 0.0, dq: float = 0.0
) -> GridValues:
    """Finite differences of options with one expiration, one style at a time."""
    sigma = np.maximum(sigma, _LEAST_SIGMA)
    result = GridValues(*(np.empty(len(sigma)) for _ in GridValues._fields))

    def on_grid(rows: Indices, american: bool) -> GridValues:
        part = known.at(rows)
        return finite_differences(
            part.S,
            part.K,
            time,
            part.r + dr,
            part.q + dq,
            sigma[rows],
            part.sign,
            known.dividends,
            american=american,
        )

    for american in (True, False):
        rows = np.flatnonzero(known.american == american)
        if len(rows):
            for column, values_ in zip(result, on_grid(rows, american), strict=True):
                column[rows] = values_
    # Without cash the European twin has a closed form: only what exercise adds is the grid's.
    rows = np.flatnonzero(known.twice_bounded & ~known.paying)
    if len(rows):
        part = known.at(rows)
        closed = european.black(
            part.S, part.K, part.T, part.r + dr, part.q + dq, sigma[rows], part.sign
        )
        extra = np.maximum(result.value[rows] - on_grid(rows, False).value, 0.0)
        held = result.value[rows] > part.intrinsic * (1.0 + 1e-9)
        result.value[rows] = np.where(
            held, np.maximum(closed + extra, part.intrinsic), part.intrinsic
        )
    return result


def _finite_greeks(known: Terms, time: float, sigma: Floats) -> Greeks:
    base = _finite(known, time, sigma)
    step = 0.01 * np.maximum(sigma, _LEAST_SIGMA)
    low, high = (
        _finite(known, time, np.maximum(sigma, _LEAST_SIGMA) + sign * step).value
        for sign in (-1.0, 1.0)
    )

    def slope(dr: float, dq: float) -> Floats:
        up, down = (
            _finite(known, time, sigma, dr=sign * dr, dq=sign * dq).value for sign in (1.0, -1.0)
        )
        result: Floats = (up - down) / (2.0 * _RATE_BUMP)
        return result

    return Greeks(
        base.value,
        base.delta,
        base.gamma,
        base.theta,
        (high - low) / (2.0 * step),
        slope(_RATE_BUMP, 0.0),
        slope(0.0, _RATE_BUMP),
    )
