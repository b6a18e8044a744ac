"""What packages of options and stock are worth on the day their first option expires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from stockdb.options.book import STOCK, Book
from stockdb.options.pricing import price
from stockdb.options.quotes import Floats, Ints

__all__ = ["Profile", "Side", "profile", "worth"]

_REACH: Final = 4.0  # standard deviations of the grid
_NODES: Final = 45
_FINE: Final = 1501


@dataclass(frozen=True, slots=True)
class Side:
    """The legs of packages of one shape.

    Attributes
    ----------
    rows : numpy.ndarray
        int64, shape (packages, legs): rows of the book, or ``STOCK``.
    signs : tuple of int
        Signed ratios, one a leg: 1 bought, -1 sold.
    """

    rows: Ints
    signs: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Profile:
    """Numbers of each package at its horizon, the first expiration of its legs.

    Attributes
    ----------
    max_loss, max_profit : numpy.ndarray
        float64, dollars a share, before fees; NaN where unlimited.
    breakevens : list of tuple of float
        Stock prices at the horizon at which nothing is made or lost, ascending.
    probability : numpy.ndarray
        Of a profit at the horizon, under the risk-neutral lognormal measure.
    expected : numpy.ndarray
        Discounted expected profit under it, dollars a share.
    model_based : numpy.ndarray of str
        Which of the extremes rest on a repricing of legs that outlive the horizon, each at its
        own implied volatility: ``""``, ``max_profit`` or ``max_loss, max_profit``.
    """

    max_loss: Floats
    max_profit: Floats
    breakevens: list[tuple[float, ...]]
    probability: Floats
    expected: Floats
    model_based: npt.NDArray[np.object_]


def worth(
    book: Book, side: Side, days: Floats | Ints, spots: Floats, *, vol_shift: float = 0.0
) -> Floats:
    """Value packages after some days at some stock prices, each leg at its implied volatility.

    Parameters
    ----------
    book : Book
    side : Side
    days : numpy.ndarray
        Calendar days from the quote date, shape (packages,).
    spots : numpy.ndarray
        Shape (packages, prices).
    vol_shift : float
        Added to every implied volatility.

    Returns
    -------
    numpy.ndarray
        Dollars a share, shape (packages, prices). Legs that have expired count at intrinsic.
    """
    total = np.zeros_like(spots, dtype=np.float64)
    for column, sign in enumerate(side.signs):
        rows = side.rows[:, column]
        stock = rows == STOCK
        total[stock] += sign * spots[stock]
        some = np.flatnonzero(~stock)
        if not len(some):
            continue
        at = rows[some]
        left = np.maximum(book.dte[at] - np.asarray(days)[some], 0)[:, None] / 365.0
        strike = book.strike[at][:, None]
        direction = np.where(book.call[at], 1.0, -1.0)[:, None]
        value = np.maximum(direction * (spots[some] - strike), 0.0)
        alive = np.flatnonzero(left[:, 0] > 0.0)
        if len(alive):
            part = at[alive]
            value[alive] = price(
                np.maximum(spots[some][alive], 1e-8),
                strike[alive],
                left[alive],
                book.numbers["rate"][part][:, None],
                book.numbers["q"][part][:, None],
                np.maximum(book.numbers["iv"][part][:, None] + vol_shift, 0.01),
                np.where(book.call[part], "call", "put")[:, None],
                np.where(book.american[part], "american", "european")[:, None],
            )
        total[some] += sign * value
    return total


def profile(book: Book, side: Side, debit: Floats, sigma: Floats) -> Profile:
    """Work out profit and loss at the horizon.

    Parameters
    ----------
    book : Book
    side : Side
    debit : numpy.ndarray
        Paid for each package, dollars a share; negative for a credit.
    sigma : numpy.ndarray
        Volatility of the stock until the horizon, shape (packages,).

    Notes
    -----
    Where all legs expire together the payoff is piecewise linear: its corners give exact
    extremes and break-evens. Else the legs that live on are repriced on a grid of stock prices
    out to 4 standard deviations. Their loss is bounded without a model where every sold option
    is covered by a bought one that lasts longer: by the debit and the difference of strikes.
    """
    options = side.rows != STOCK
    at = np.where(options, side.rows, 0)
    horizon = np.where(options, book.dte[at], np.iinfo(np.int64).max).min(axis=1)
    later = bool(((book.dte[at] > horizon[:, None]) & options).any())
    first = at[np.arange(len(side)), np.where(options, book.dte[at], 10**9).argmin(axis=1)]
    years = horizon / 365.0
    forward = book.numbers["forward"][first]
    deviation = sigma * np.sqrt(years)
    if later:
        z = np.linspace(-_REACH, _REACH, _NODES)
        spots = forward[:, None] * np.exp(deviation[:, None] * z - 0.5 * deviation[:, None] ** 2)
        corners = np.where(options, book.strike[at], forward[:, None])
        spots = np.sort(np.concatenate([spots, corners], axis=1), axis=1)
        gain = worth(book, side, horizon, spots) - debit[:, None]
        slope = np.zeros(len(side))
        most = gain.max(axis=1)
        least = _covered_loss(book, side, debit)
        bounded = np.isfinite(least)
        loss = np.where(bounded, least, -gain.min(axis=1))
        model = np.where(bounded, "max_profit", "max_loss, max_profit").astype(object)
    else:
        strikes = np.where(options, book.strike[at], 0.0)
        top = np.maximum(strikes.max(axis=1), forward)[:, None] * 2.0
        spots = np.sort(np.concatenate([np.zeros((len(side), 1)), strikes, top], axis=1), axis=1)
        gain = worth(book, side, horizon, spots) - debit[:, None]
        slope = _slope(book, side)
        most = np.where(slope > 0.0, np.nan, gain.max(axis=1))
        loss = np.where(slope < 0.0, np.nan, -gain.min(axis=1))
        model = np.full(len(side), "", dtype=object)
    roots = [_roots(s, g, k) for s, g, k in zip(spots, gain, slope, strict=True)]
    chance, mean = _expectations(spots, gain, slope, roots, forward, deviation)
    discount = np.exp(-book.numbers["rate"][first] * years)
    return Profile(loss, most, roots, chance, discount * (mean + debit) - debit, model)


def _slope(book: Book, side: Side) -> Floats:
    """Slope of the payoff above all strikes."""
    total = np.zeros(len(side))
    for column, sign in enumerate(side.signs):
        rows = side.rows[:, column]
        total += sign * np.where(rows == STOCK, 1.0, np.where(book.call[rows], 1.0, 0.0))
    return total


def _covered_loss(book: Book, side: Side, debit: Floats) -> Floats:
    """Bound the loss of one sold option under one bought that lasts longer; NaN for others."""
    if sorted(side.signs) != [-1, 1]:
        return np.full(len(side), np.nan)
    sold, bought = (side.rows[:, side.signs.index(sign)] for sign in (-1, 1))
    sign = np.where(book.call[sold], 1.0, -1.0)
    same = (book.call[sold] == book.call[bought]) & (book.dte[bought] >= book.dte[sold])
    same &= book.american[bought]
    owed = np.maximum(sign * (book.strike[bought] - book.strike[sold]), 0.0)
    return np.where(same, debit + owed, np.nan)


def _roots(spots: Floats, gain: Floats, slope: float) -> tuple[float, ...]:
    """Stock prices at which a piecewise linear gain crosses 0."""
    found = []
    for i in np.flatnonzero(gain[:-1] * gain[1:] < 0.0):
        share = gain[i] / (gain[i] - gain[i + 1])
        found.append(float(spots[i] + share * (spots[i + 1] - spots[i])))
    inside = np.flatnonzero(gain == 0.0)
    found += [float(spots[i]) for i in inside if _changes(gain, int(i), slope)]
    if slope and gain[-1] * slope < 0.0:
        found.append(float(spots[-1] - gain[-1] / slope))
    return tuple(sorted(set(found)))


def _changes(gain: Floats, i: int, slope: float) -> bool:
    """Say whether a corner at 0 parts profit from loss (or from nothing)."""
    before = gain[i - 1] if i > 0 else 0.0
    after = gain[i + 1] if i + 1 < len(gain) else slope
    return bool(np.sign(before) != np.sign(after))


def _expectations(
    spots: Floats,
    gain: Floats,
    slope: Floats,
    roots: list[tuple[float, ...]],
    forward: Floats,
    deviation: Floats,
) -> tuple[Floats, Floats]:
    """Probability of a gain, and the mean gain, under the lognormal measure."""
    z = np.linspace(-8.0, 8.0, _FINE)
    weight = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi) * (z[1] - z[0])
    chance, mean = np.full(len(spots), np.nan), np.full(len(spots), np.nan)
    for i in range(len(spots)):
        if not (np.isfinite(deviation[i]) and deviation[i] > 0.0 and np.isfinite(gain[i]).all()):
            continue
        s = forward[i] * np.exp(deviation[i] * z - 0.5 * deviation[i] ** 2)
        g = np.interp(s, spots[i], gain[i])
        g = np.where(s > spots[i][-1], gain[i][-1] + slope[i] * (s - spots[i][-1]), g)
        mean[i] = float(g @ weight)
        edges = np.array([0.0, *roots[i], np.inf])
        with np.errstate(divide="ignore"):
            ends = ndtr(np.log(edges / forward[i]) / deviation[i] + 0.5 * deviation[i])
        last = 2.0 * edges[-2] + forward[i]  # any price above the last break-even
        inside = np.append((edges[:-2] + edges[1:-1]) / 2.0, last)
        gains = np.interp(inside, spots[i], gain[i])
        beyond = inside > spots[i][-1]
        gains = np.where(beyond, gain[i][-1] + slope[i] * (inside - spots[i][-1]), gains)
        chance[i] = float(np.diff(ends)[gains > 0.0].sum())
    return chance, mean
