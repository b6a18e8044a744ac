"""Option files of the simulated market: Black-Scholes prices with quotes around them.

Without rates and dividends an American option is worth its European twin, and one volatility for
all strikes of an expiration, with a total variance that grows with time, leaves no static
arbitrage between fair prices. Bids are rounded down and asks up, so none is left in the quotes.

``log``, ``exp`` and ``ndtr`` may differ in their last bits between processors. Rounding to cents
hides that: one quote in some 10^11 would lie close enough to a cent to show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtr

from stockdb.demo.simulate_stocks import Dates, Floats, Ints, uniforms

HEADER: Final = (
    "contract,underlying,expiration,type,strike,style,bid,bid_size,ask,ask_size,volume,"
    "open_interest,quote_date,delta,gamma,theta,vega,implied_volatility"
)
_MONTHLIES: Final = 8
_LEAPS: Final = 2
_STEPS: Final = (  # spot below -> dollars between strikes, in thousandths
    (30.0, 1000),
    (75.0, 2500),
    (400.0, 5000),
    (float("inf"), 10000),
)
_DECAY: Final = 2.0  # a year: short-dated volatility fades into the long-dated one

_UNDERLYINGS: Final = {  # volatility a year at once and in the long run; contracts a busy day
    "AAPL": (0.24, 0.29, 9000),
    "AMZN": (0.30, 0.33, 6000),
    "GOOGL": (0.28, 0.31, 5000),
    "JPM": (0.21, 0.25, 2000),
    "KO": (0.15, 0.18, 1500),
    "META": (0.33, 0.35, 4000),
    "MSFT": (0.21, 0.25, 5000),
    "NVDA": (0.38, 0.43, 15000),
    "QQQ": (0.17, 0.22, 12000),
    "SPY": (0.13, 0.18, 20000),
    "TSLA": (0.48, 0.52, 14000),
    "XOM": (0.22, 0.26, 2000),
}
UNDERLYINGS: Final = tuple(_UNDERLYINGS)


class Volatility(NamedTuple):
    """Volatility by time to expiration, the same for every strike; 0.20 is 20 % a year."""

    short: float
    long: float
    decay: float = _DECAY

    def sigma(self, years: Floats) -> Floats:
        """Give the volatility of expirations so many years (of 365 days) away.

        The average of a variance that moves from ``short**2`` to ``long**2`` at the rate
        ``decay``, so the total variance ``sigma**2 * T`` always grows (the expected variance
        of Heston, 1993).
        """
        faded = -np.expm1(-self.decay * years) / (self.decay * years)
        variance: Floats = self.long**2 + (self.short**2 - self.long**2) * faded
        return np.sqrt(variance)


def volatilities(seed: int) -> dict[str, Volatility]:
    """Give each underlying's volatility: its usual level, up or down by a tenth at most."""
    draws = uniforms(seed, "volatility of options", len(_UNDERLYINGS))
    return {
        symbol: Volatility(round(short * (0.9 + 0.2 * u), 4), round(long * (0.9 + 0.2 * u), 4))
        for (symbol, (short, long, _)), u in zip(_UNDERLYINGS.items(), draws.tolist(), strict=True)
    }


def expirations(quote_dates: Sequence[str], sessions: Dates) -> list[str]:
    """List the next monthly expirations and the Januaries more than a year away.

    Parameters
    ----------
    quote_dates : sequence of str
        Ascending ISO dates.
    sessions : numpy.ndarray
        datetime64[D]: must reach beyond the last expiration. A third Friday that is a holiday
        (2026-06-19) gives way to the session before it.

    Returns
    -------
    list of str
        ISO dates, ascending.
    """
    first, last = np.datetime64(quote_dates[0]), np.datetime64(quote_dates[-1])
    months = np.arange(first.astype("datetime64[M]"), sessions[-1].astype("datetime64[M]"))
    fridays = np.busday_offset(months.astype("datetime64[D]"), 2, roll="forward", weekmask="Fri")
    days = sessions[np.searchsorted(sessions, fridays, side="right") - 1]
    is_january = months.astype(np.int64) % 12 == 0
    leaps = days[is_january & (days > last + np.timedelta64(365, "D"))][:_LEAPS]
    return [str(day) for day in (*days[days > last][:_MONTHLIES], *leaps)]


@dataclass(frozen=True, slots=True)
class _Book:
    """The contracts of one underlying, in file order; arrays of one length."""

    symbol: str
    row_starts: list[str]  # a row up to its bid
    expirations: Dates
    is_call: Floats  # 1 call, 0 put
    strikes: Floats


def option_files(
    seed: int, spots: Mapping[str, Mapping[str, float]], sessions: Dates
) -> Iterator[tuple[str, bytes]]:
    """Make the end-of-day file of each quote date.

    Parameters
    ----------
    seed : int
        0 or more.
    spots : mapping
        Quote date (ISO, ascending) -> underlying -> raw close in dollars.
    sessions : numpy.ndarray
        See `expirations`.

    Yields
    ------
    tuple of (str, bytes)
        Key and CSV. Rows ascend by underlying, expiration, type, strike. Volume is blank where
        nothing traded; open interest is the one known at the open of the quote date, and moves
        overnight by no more than the volume of the day before.
    """
    dates = list(spots)
    days = expirations(dates, sessions)
    books = [_book(symbol, spots[dates[0]][symbol], days) for symbol in UNDERLYINGS]
    curves = volatilities(seed)
    interest = {book.symbol: _first_interest(seed, book, spots[dates[0]]) for book in books}
    for date in dates:
        rows = [HEADER]
        for book in books:
            spot = spots[date][book.symbol]
            bid, ask = _quotes(seed, date, book, spot, curves[book.symbol])
            volume = _volume(seed, date, book, spot)
            rows += _rows(seed, date, book, bid, ask, volume, interest[book.symbol])
            swing = 2 * uniforms(seed, f"interest/{date}/{book.symbol}", len(volume)) - 1
            moved = interest[book.symbol] + np.trunc(swing * volume).astype(np.int64)
            interest[book.symbol] = np.maximum(moved, 0)
        rows.append("")
        yield f"options-complete/{date}options.csv", "\n".join(rows).encode()


def _book(symbol: str, spot: float, days: Sequence[str]) -> _Book:
    """List the contracts around a spot: fixed for all dates, so that each has a history."""
    step = next(step for below, step in _STEPS if spot < below)
    starts: list[str] = []
    columns: list[tuple[str, float, float]] = []
    for day in days:
        low, high = (0.4, 2.0) if day in days[-_LEAPS:] else (0.6, 1.5)
        thousandths = range(
            int(spot * low * 1000 / step) * step, int(spot * high * 1000) + step, step
        )
        for kind in ("call", "put"):
            root = f"O:{symbol}{day[2:].replace('-', '')}{kind[0].upper()}"
            for strike in thousandths:
                text = f"{strike / 1000:.10g}"
                starts.append(f"{root}{strike:08d},{symbol},{day},{kind},{text},A,")
                columns.append((day, float(kind == "call"), strike / 1000))
    expiration, is_call, strikes = zip(*columns, strict=True)
    return _Book(
        symbol,
        starts,
        np.array(expiration, dtype="datetime64[D]"),
        np.array(is_call),
        np.array(strikes),
    )


def _quotes(seed: int, date: str, book: _Book, spot: float, curve: Volatility) -> tuple[Ints, Ints]:
    """Give bids and asks in cents: at least a cent from the fair price on either side."""
    years = (book.expirations - np.datetime64(date)).astype(np.float64) / 365
    deviation = curve.sigma(years) * np.sqrt(years)
    d1 = np.log(spot / book.strikes) / deviation + deviation / 2
    sign = 2 * book.is_call - 1
    # Black and Scholes (1973) with r = q = 0.
    fair = sign * (spot * ndtr(sign * d1) - book.strikes * ndtr(sign * (d1 - deviation)))
    width = uniforms(seed, f"width/{date}/{book.symbol}", len(fair))
    half = 0.01 + fair * (0.004 + 0.008 * width)
    bid = np.floor(100 * (fair - half)).astype(np.int64)
    ask = np.ceil(100 * (fair + half)).astype(np.int64)
    return np.maximum(bid, 0), ask


def _weight(book: _Book, spot: float) -> Floats:
    """Say how much a contract trades beside one at the money: 1 there, falling with distance."""
    distance = (book.strikes / spot - 1) / 0.08
    return 1 / (1 + distance * distance)


def _first_interest(seed: int, book: _Book, spots: Mapping[str, float]) -> Ints:
    draws = uniforms(seed, f"interest/{book.symbol}", len(book.strikes))
    busy = 6 * _UNDERLYINGS[book.symbol][2] * _weight(book, spots[book.symbol])
    return (busy * draws * draws).astype(np.int64)


def _volume(seed: int, date: str, book: _Book, spot: float) -> Ints:
    draws = uniforms(seed, f"volume/{date}/{book.symbol}", len(book.strikes))
    cube = draws * draws * draws  # its square leaves most contracts with next to no trade
    busy = _UNDERLYINGS[book.symbol][2] * _weight(book, spot)
    return (busy * cube * cube).astype(np.int64)


def _rows(
    seed: int, date: str, book: _Book, bid: Ints, ask: Ints, volume: Ints, interest: Ints
) -> list[str]:
    count = len(bid)
    sizes = uniforms(seed, f"sizes/{date}/{book.symbol}", 2 * count).reshape(2, count)
    bid_size, ask_size = (1 + 500 * sizes * sizes).astype(np.int64).tolist()
    end = f",{date},,,,,"
    columns = (bid.tolist(), bid_size, ask.tolist(), ask_size, volume.tolist(), interest.tolist())
    return [
        f"{start}{b / 100:.10g},{b_size},{a / 100:.10g},{a_size},{traded or ''},{held}{end}"
        for start, b, b_size, a, a_size, traded, held in zip(book.row_starts, *columns, strict=True)
    ]
