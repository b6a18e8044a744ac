"""Option files of the simulated market: American prices with quotes around them.

Prices follow the simulated Treasury yields, a dividend yield, and one smile for calls and puts.
Rates and yield are the same for all strikes of an expiration, the smile is mild, and total variance
grows with time, which leaves no static arbitrage between fair prices. Bids are rounded down and
asks up, a cent away at least, so none is left in the quotes but what `stockdb.demo.plant` puts in.

``log``, ``exp`` and ``ndtr`` may differ in their last bits between processors. Rounding to cents
hides that: one quote in some 10^9 would lie close enough to a cent to show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from stockdb.demo.plant import PLANTED_IN, Book, Planted, plant
from stockdb.demo.simulate_stocks import PAYERS, Dates, Floats, Ints, uniforms
from stockdb.options.american import FAST
from stockdb.options.market import RateCurve
from stockdb.options.pricing import values
from stockdb.options.terms import terms

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


class _Kind(NamedTuple):
    """Volatility a year at once and in the long run, its skew, contracts on a busy day."""

    short: float
    long: float
    skew: float
    busy: int


_UNDERLYINGS: Final = {
    "AAPL": _Kind(0.24, 0.29, 0.15, 9000),
    "AMZN": _Kind(0.30, 0.33, 0.15, 6000),
    "GOOGL": _Kind(0.28, 0.31, 0.15, 5000),
    "JPM": _Kind(0.21, 0.25, 0.20, 2000),
    "KO": _Kind(0.15, 0.18, 0.15, 1500),
    "META": _Kind(0.33, 0.35, 0.15, 4000),
    "MSFT": _Kind(0.21, 0.25, 0.15, 5000),
    "NVDA": _Kind(0.38, 0.43, 0.10, 15000),
    "QQQ": _Kind(0.17, 0.22, 0.25, 12000),
    "SPY": _Kind(0.13, 0.18, 0.25, 20000),
    "TSLA": _Kind(0.48, 0.52, 0.10, 14000),
    "XOM": _Kind(0.22, 0.26, 0.20, 2000),
}
UNDERLYINGS: Final = tuple(_UNDERLYINGS)
YIELDS: Final = {  # continuous, a year: what four payments of a quarter each take off the price
    symbol: round(-4 * float(np.log1p(-PAYERS[symbol].annual_yield / 4)), 6)
    if symbol in PAYERS
    else 0.0
    for symbol in UNDERLYINGS
}


class Volatility(NamedTuple):
    """Volatility by time to expiration and strike; 0.20 is 20 % a year."""

    short: float
    long: float
    skew: float
    decay: float = _DECAY

    def sigma(self, years: Floats, log_moneyness: Floats) -> Floats:
        """Give the volatility of options so many years (of 365 days) away.

        At the forward it is the average of a variance that moves from ``short**2`` to ``long**2``
        at the rate ``decay``, so the total variance ``sigma**2 * T`` always grows (the expected
        variance of Heston, 1993). Lower strikes have more, by the hyperbolic tangent of half
        their distance ``ln(K / forward)`` in standard deviations: bounded in both wings, and
        too mild for a butterfly that costs less than nothing.
        """
        faded = -np.expm1(-self.decay * years) / (self.decay * years)
        variance = self.long**2 + (self.short**2 - self.long**2) * faded
        distance = log_moneyness / np.sqrt(variance * years)
        sigma: Floats = np.sqrt(variance * (1 - self.skew * np.tanh(distance / 2)))
        return sigma


def volatilities(seed: int) -> dict[str, Volatility]:
    """Give each underlying's volatility: its usual level, up or down by a tenth at most."""
    draws = uniforms(seed, "volatility of options", len(_UNDERLYINGS))
    return {
        symbol: Volatility(
            round(kind.short * (0.9 + 0.2 * u), 4), round(kind.long * (0.9 + 0.2 * u), 4), kind.skew
        )
        for (symbol, kind), u in zip(_UNDERLYINGS.items(), draws.tolist(), strict=True)
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


class Days(NamedTuple):
    """What the option files are made of.

    ``spots`` goes from quote date (ISO, ascending) to underlying to raw close in dollars,
    ``curves`` from quote date to the rates; ``sessions`` are as for `expirations`.
    """

    spots: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, RateCurve]
    sessions: Dates


def option_files(seed: int, days: Days) -> Iterator[tuple[str, bytes]]:
    """Make the end-of-day file of each quote date.

    Parameters
    ----------
    seed : int
        0 or more.
    days : Days

    Yields
    ------
    tuple of (str, bytes)
        Key and CSV. Rows ascend by underlying, expiration, type, strike. Volume is blank where
        nothing traded; open interest is the one known at the open of the quote date, and moves
        overnight by no more than the volume of the day before.
    """
    dates = list(days.spots)
    books = _books(days)
    interest = {book.symbol: _first_interest(seed, book, days.spots[dates[0]]) for book in books}
    for date in dates:
        rows = [HEADER]
        for book in books:
            spot = days.spots[date][book.symbol]
            quotes, _ = _quotes(seed, date, book, days)
            volume = _volume(seed, date, book, spot)
            rows += _rows(date, book, quotes, volume, interest[book.symbol])
            swing = 2 * uniforms(seed, f"interest/{date}/{book.symbol}", len(volume)) - 1
            moved = interest[book.symbol] + np.trunc(swing * volume).astype(np.int64)
            interest[book.symbol] = np.maximum(moved, 0)
        rows.append("")
        yield f"options-complete/{date}options.csv", "\n".join(rows).encode()


def planted(seed: int, days: Days) -> list[Planted]:
    """Tell what arbitrage is planted in the file of the last quote date."""
    date = list(days.spots)[-1]
    wanted = [book for book in _books(days) if book.symbol in PLANTED_IN]
    return [item for book in wanted for item in _quotes(seed, date, book, days)[1]]


def _books(days: Days) -> list[Book]:
    """List the contracts around the first day's spots: the same on all dates."""
    dates = list(days.spots)
    expire = expirations(dates, days.sessions)
    return [_book(symbol, days.spots[dates[0]][symbol], expire) for symbol in UNDERLYINGS]


def _book(symbol: str, spot: float, days: Sequence[str]) -> Book:
    """List the contracts around a spot."""
    step = next(step for below, step in _STEPS if spot < below)
    starts: list[str] = []
    columns: list[tuple[str, bool, float]] = []
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
                columns.append((day, kind == "call", strike / 1000))
    expiration, is_call, strikes = zip(*columns, strict=True)
    return Book(
        symbol,
        starts,
        np.array(expiration, dtype="datetime64[D]"),
        np.array(is_call),
        np.array(strikes),
    )


def fair_prices(book: Book, date: str, spot: float, curve: RateCurve, smile: Volatility) -> Floats:
    """Price every contract of a book, dollars a share.

    American options on a continuous yield (Andersen, Lake and Offengenden, 2015), good to a
    third of a cent; the volatility is the smile's, the rate that of the expiration.
    """
    years = book.years(date)
    rate = curve.rate(years)
    carry = YIELDS[book.symbol]
    forward = spot * np.exp((rate - carry) * years)
    sigma = smile.sigma(years, np.log(book.strikes / forward))
    kinds = np.where(book.is_call, "call", "put")
    known, sigma = terms(spot, book.strikes, years, rate, carry, sigma, kinds, "american", ())
    return values(known, sigma, FAST)


class Quotes(NamedTuple):
    """Quotes of a book on one day: cents, contracts."""

    bid: Ints
    ask: Ints
    bid_size: Ints
    ask_size: Ints


def _quotes(seed: int, date: str, book: Book, days: Days) -> tuple[Quotes, list[Planted]]:
    """Quote at least a cent from the fair price on either side, and plant on the last date."""
    spot, curve = days.spots[date][book.symbol], days.curves[date]
    fair = fair_prices(book, date, spot, curve, volatilities(seed)[book.symbol])
    count = len(fair)
    half = 0.01 + fair * (0.004 + 0.008 * uniforms(seed, f"width/{date}/{book.symbol}", count))
    bid = np.maximum(np.floor(100 * (fair - half)).astype(np.int64), 0)
    ask = np.ceil(100 * (fair + half)).astype(np.int64)
    sizes = uniforms(seed, f"sizes/{date}/{book.symbol}", 2 * count).reshape(2, count)
    bid_size, ask_size = (1 + 500 * sizes * sizes).astype(np.int64)
    quotes = Quotes(bid, ask, bid_size, ask_size)
    if book.symbol not in PLANTED_IN or date != list(days.spots)[-1]:
        return quotes, []
    found = plant(book, date, spot, curve, fair)
    for leg in (leg for item in found for leg in item.legs if leg.row is not None):
        bid[leg.row], ask[leg.row] = leg.bid, leg.ask
        bid_size[leg.row] = ask_size[leg.row] = leg.size
    return quotes, found


def _weight(book: Book, spot: float) -> Floats:
    """Say how much a contract trades beside one at the money: 1 there, falling with distance."""
    distance = (book.strikes / spot - 1) / 0.08
    return 1 / (1 + distance * distance)


def _first_interest(seed: int, book: Book, spots: Mapping[str, float]) -> Ints:
    draws = uniforms(seed, f"interest/{book.symbol}", len(book.strikes))
    busy = 6 * _UNDERLYINGS[book.symbol].busy * _weight(book, spots[book.symbol])
    return (busy * draws * draws).astype(np.int64)


def _volume(seed: int, date: str, book: Book, spot: float) -> Ints:
    draws = uniforms(seed, f"volume/{date}/{book.symbol}", len(book.strikes))
    cube = draws * draws * draws  # its square leaves most contracts with next to no trade
    busy = _UNDERLYINGS[book.symbol].busy * _weight(book, spot)
    return (busy * cube * cube).astype(np.int64)


def _rows(date: str, book: Book, quotes: Quotes, volume: Ints, interest: Ints) -> list[str]:
    end = f",{date},,,,,"
    bid, ask = quotes.bid.tolist(), quotes.ask.tolist()
    sizes = (quotes.bid_size.tolist(), quotes.ask_size.tolist())
    columns = (bid, sizes[0], ask, sizes[1], volume.tolist(), interest.tolist())
    return [
        f"{start}{b / 100:.10g},{b_size},{a / 100:.10g},{a_size},{traded or ''},{held}{end}"
        for start, b, b_size, a, a_size, traded, held in zip(book.row_starts, *columns, strict=True)
    ]
