"""What a caller gives, broadcast and checked once; and how the options part by method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.arguments import parse_choice, parse_option_type
from stockdb.errors import ConfigurationError

__all__ = ["Terms", "terms"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_SIGN: Final = {"call": 1.0, "put": -1.0}
_AMERICAN: Final = {"a": True, "american": True, "e": False, "european": False}
_NOTHING: Final = 1e-12  # a rate; smaller ones would only overflow something
_FLAT: Final = 1e-7  # of sigma sqrt(T): below, the stock is as good as certain


@dataclass(frozen=True, slots=True)
class Terms:
    """Options, 1-D arrays of one length.

    Attributes
    ----------
    S, K, T, r, q : numpy.ndarray
    sign : numpy.ndarray
        1 for calls, -1 for puts.
    american : numpy.ndarray of bool
    dividends : tuple of (float, float)
        Years and cash, ascending; of all of them.
    shape : tuple of int
        What the caller's arrays broadcast to.
    """

    S: Floats
    K: Floats
    T: Floats
    r: Floats
    q: Floats
    sign: Floats
    american: Flags
    dividends: tuple[tuple[float, float], ...]
    shape: tuple[int, ...]

    def at(self, rows: Any) -> Terms:
        """Take some of them."""
        return Terms(
            self.S[rows],
            self.K[rows],
            self.T[rows],
            self.r[rows],
            self.q[rows],
            self.sign[rows],
            self.american[rows],
            self.dividends,
            (len(self.S[rows]),),
        )

    @property
    def usable(self) -> Flags:
        """Rows with finite numbers, S and K above 0, T not below."""
        finite = np.isfinite(self.S + self.K + self.T + self.r + self.q)
        return finite & (self.S > 0.0) & (self.K > 0.0) & (self.T >= 0.0)

    @property
    def intrinsic(self) -> Floats:
        """What exercise now pays."""
        return np.maximum(self.sign * (self.S - self.K), 0.0)

    @property
    def paying(self) -> Flags:
        """Rows before whose expiration the stock pays cash."""
        if not self.dividends:
            return np.zeros(len(self.S), dtype=np.bool_)
        first = min(time for time, _ in self.dividends)
        return self.T >= first

    @property
    def put_rates(self) -> tuple[Floats, Floats]:
        """Rates r and q of the put that each is: for a call they change places."""
        call = self.sign > 0.0
        return np.where(call, self.q, self.r), np.where(call, self.r, self.q)

    @property
    def european(self) -> Flags:
        """Rows that are never exercised early, by style or because that never pays."""
        r, q = self.put_rates
        return ~self.american | ((r <= 0.0) & (q >= r))

    @property
    def twice_bounded(self) -> Flags:
        """American rows with two exercise boundaries (put: q < r < 0)."""
        r, q = self.put_rates
        return self.american & (r < 0.0) & (q < r)

    def flat(self, sigma: Floats) -> Flags:
        """Rows whose stock is as good as certain."""
        return sigma * np.sqrt(self.T) <= _FLAT

    def certain(self) -> Floats:
        """Price without volatility and cash dividends: the best time to exercise."""

        def paid(time: Floats) -> Floats:
            value = self.S * np.exp(-self.q * time) - self.K * np.exp(-self.r * time)
            return np.maximum(self.sign * value, 0.0)

        end = paid(self.T)
        gap = self.r - self.q
        with np.errstate(divide="ignore", invalid="ignore"):
            turn = np.log(self.r * self.K / (self.q * self.S)) / gap
        inside = np.isfinite(turn) & (turn > 0.0) & (turn < self.T)
        best = np.maximum(np.maximum(end, self.intrinsic), paid(np.where(inside, turn, 0.0)))
        return np.where(self.american, best, end)


def terms(
    S: Any,
    K: Any,
    T: Any,
    r: Any,
    q: Any,
    other: Any,
    option_type: Any,
    style: Any,
    dividends: Sequence[tuple[float, float]],
) -> tuple[Terms, Floats]:
    """Broadcast and check what a caller gave; ``other`` is the volatility or the price.

    Raises
    ------
    ConfigurationError
        The shapes do not broadcast; a word that is no type or style; dividends that are not
        pairs of years and cash.
    """
    sign = _named(option_type, lambda word: _SIGN[parse_option_type(word)], "type")
    american = _named(style, _style, "style")
    try:
        numbers = [np.asarray(value, dtype=np.float64) for value in (S, K, T, r, q, other)]
        arrays = np.broadcast_arrays(*numbers, sign, american)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"These are not numbers of shapes that broadcast: {error}",
            remedy="Give numbers or arrays of one length for S, K, T, r, q and the sixth.",
        ) from None
    shape = arrays[0].shape
    columns = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    s, k, t, rate, carry, value, signs, styles = columns
    known = Terms(s, k, t, rate, carry, signs, styles.astype(np.bool_), _schedule(dividends), shape)
    return known, value


def _style(word: Any) -> bool:
    return _AMERICAN[parse_choice("style", word, _AMERICAN)]


def _named(value: Any, read: Callable[[Any], Any], what: str) -> npt.NDArray[Any]:
    """Translate words, each different one once."""
    flat = pd.Series(np.asarray(value, dtype=object).reshape(-1))
    codes, words = pd.factorize(flat)
    found = [read(word) for word in words]
    if (codes < 0).any():
        raise ConfigurationError(f"An option's {what} is missing.")
    return np.asarray(found)[codes].reshape(np.shape(value))


def _schedule(dividends: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    try:
        pairs = sorted((float(time), float(cash)) for time, cash in dividends)
    except (TypeError, ValueError):
        raise ConfigurationError(
            "Dividends are not pairs of years and cash.",
            remedy="Give [(0.25, 0.5), ...], or DividendSchedule.until(quote_date, expiration).",
        ) from None
    for time, cash in pairs:
        if not (np.isfinite(time) and np.isfinite(cash) and cash >= 0.0):
            raise ConfigurationError(f"A dividend of {cash} in {time} years makes no sense.")
    return tuple((time, cash) for time, cash in pairs if time > 0.0 and cash > 0.0)
