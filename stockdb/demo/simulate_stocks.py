"""Daily bars of the simulated market, raw as an exchange prints them.

One market factor drives every symbol with its beta; each adds noise of its own, and both
volatilities wander mildly. Splits and cash dividends fall on their ex-dates.

The same seed must give the same bytes on every machine. So this module draws from the raw bits
of PCG64, whose stream NumPy keeps fixed (NEP 19), and then only adds, multiplies, divides, takes
square roots and rounds, in a fixed order: each of these is exact to the last bit under IEEE 754.
``exp``, ``log``, BLAS and NumPy's own normal sampler may differ between processors or versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Dates = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SESSIONS_A_YEAR: Final = 252
_MARKET_VOLATILITY: Final = 0.16  # a year
_VOLATILITY_MEMORY: Final = 0.98  # a day: shocks to volatility halve in about 34 sessions


class Stock(NamedTuple):
    """One symbol of the simulated market.

    ``start`` and ``end`` are raw prices in dollars: where the simulation starts, and about where
    it ends. ``own_volatility`` is a year's, beside the market's share; ``volume`` counts the
    shares of a usual day at the end of the data.
    """

    symbol: str
    start: float
    end: float
    beta: float
    own_volatility: float
    volume: int
    first: str = "2010-01-04"


STOCKS: Final = (
    Stock("AAPL", 214.0, 270.0, 1.10, 0.21, 48_000_000),
    Stock("AMZN", 134.0, 230.0, 1.20, 0.26, 42_000_000),
    Stock("BAC", 15.7, 55.0, 1.25, 0.20, 36_000_000),
    Stock("BRK-B", 3310.0, 500.0, 0.80, 0.11, 4_300_000),
    Stock("CVX", 79.0, 150.0, 0.95, 0.19, 8_200_000),
    Stock("DIS", 32.1, 112.0, 1.05, 0.19, 9_500_000),
    Stock("F", 10.3, 13.3, 1.20, 0.27, 62_000_000),
    Stock("GOOGL", 627.0, 312.0, 1.10, 0.20, 34_000_000),
    Stock("HD", 28.7, 345.0, 0.95, 0.17, 3_900_000),
    Stock("INTC", 20.9, 37.0, 1.10, 0.26, 88_000_000),
    Stock("IWM", 64.0, 248.0, 1.15, 0.08, 34_000_000),
    Stock("JNJ", 64.7, 207.0, 0.60, 0.13, 8_000_000),
    Stock("JPM", 42.8, 322.0, 1.15, 0.19, 9_000_000),
    Stock("KO", 57.0, 70.0, 0.60, 0.12, 16_000_000),
    Stock("META", 38.2, 655.0, 1.20, 0.30, 14_000_000, "2012-05-18"),
    Stock("MSFT", 30.9, 485.0, 1.10, 0.17, 22_000_000),
    Stock("NVDA", 18.5, 187.0, 1.65, 0.38, 180_000_000),
    Stock("PEP", 61.2, 144.0, 0.60, 0.12, 6_700_000),
    Stock("PG", 61.1, 143.0, 0.55, 0.13, 8_800_000),
    Stock("QQQ", 46.4, 615.0, 1.12, 0.06, 56_000_000),
    Stock("SPY", 113.3, 682.0, 1.00, 0.02, 78_000_000),
    Stock("TSLA", 17.0, 450.0, 1.50, 0.48, 85_000_000, "2010-06-29"),
    Stock("V", 88.1, 351.0, 0.95, 0.15, 6_200_000),
    Stock("WMT", 54.2, 112.0, 0.60, 0.15, 17_000_000),
    Stock("XOM", 69.2, 120.0, 0.90, 0.18, 15_000_000),
)
SYMBOLS: Final = tuple(stock.symbol for stock in STOCKS)

SPLITS: Final[dict[str, dict[str, int]]] = {  # symbol -> ex-date -> new shares for an old one
    "AAPL": {"2014-06-09": 7, "2020-08-31": 4},
    "AMZN": {"2022-06-06": 20},
    "BRK-B": {"2010-01-21": 50},
    "GOOGL": {"2022-07-18": 20},
    "KO": {"2012-08-13": 2},
    "NVDA": {"2021-07-20": 4, "2024-06-10": 10},
    "TSLA": {"2020-08-31": 5, "2022-08-25": 3},
    "V": {"2015-03-19": 4},
    "WMT": {"2024-02-26": 3},
}


class Payer(NamedTuple):
    """Who pays cash four times a year: the yield a year, and the ex-dates.

    An ex-date is the first session on or after ``day`` of each of ``months``. None falls in the
    last ten days of December, between the quote dates of the option files.
    """

    annual_yield: float
    months: tuple[int, int, int, int]
    day: int
    since: str = "2010-01-04"


PAYERS: Final = {
    "AAPL": Payer(0.010, (2, 5, 8, 11), 8, "2012-08-01"),
    "JPM": Payer(0.026, (1, 4, 7, 10), 5),
    "KO": Payer(0.030, (3, 6, 9, 11), 13),
    "MSFT": Payer(0.015, (2, 5, 8, 11), 17),
    "SPY": Payer(0.017, (3, 6, 9, 12), 16),
    "XOM": Payer(0.035, (2, 5, 8, 11), 11),
}


@dataclass(frozen=True, slots=True)
class Bars:
    """Raw daily bars of one symbol; arrays of one length, prices in dollars and whole cents."""

    sessions: Dates
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Ints


@dataclass(frozen=True, slots=True)
class Market:
    """Every symbol's bars, and the cash paid: symbol -> [(ex-date, dollars a share, as paid)]."""

    bars: dict[str, Bars]
    dividends: dict[str, list[tuple[str, float]]]


def uniforms(seed: int, stream: str, count: int) -> Floats:
    """Draw from [0, 1): one independent stream a name, so that a new one disturbs no other.

    Parameters
    ----------
    seed : int
        0 or more.
    stream : str
        Any name.
    count : int
        How many.

    Returns
    -------
    numpy.ndarray
        float64, shape (count,), multiples of 2**-53.

    Examples
    --------
    >>> uniforms(1, "coin", 2).tolist() == uniforms(1, "coin", 3)[:2].tolist()
    True
    """
    entropy = (seed, int.from_bytes(stream.encode(), "big"))
    bits = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(count)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(seed: int, stream: str, count: int) -> Floats:
    """Draw nearly normal numbers: mean 0, variance 1, within ±6, shape (count,).

    A sum of twelve uniforms (Irwin-Hall) less 6: good to three standard deviations, and made of
    additions only, unlike every exact method. Fatter tails come from the wandering volatility.
    """
    twelve = uniforms(seed, stream, 12 * count).reshape(12, count)
    total = np.full(count, -6.0)
    for part in twelve:  # not sum(): its order of additions may depend on the processor
        total += part
    return total


def simulate_market(seed: int, sessions: Dates) -> Market:
    """Simulate every symbol of `STOCKS` over the sessions.

    Parameters
    ----------
    seed : int
        0 or more.
    sessions : numpy.ndarray
        datetime64[D], ascending; every ex-date of `SPLITS` must be one of them.

    Returns
    -------
    Market
        Bars clean of defects: no gap, no zero, low <= open, close <= high.
    """
    listed = np.array([sessions >= np.datetime64(stock.first) for stock in STOCKS]).T
    ratios = np.column_stack([_ratios(symbol, sessions) for symbol in SYMBOLS])
    payouts = np.column_stack([_payouts(symbol, sessions) for symbol in SYMBOLS])
    relatives, spreads = _relatives(seed, listed, ratios, payouts)

    shape = relatives.shape
    bases, cash, closes = np.empty(shape), np.empty(shape), np.empty(shape)
    price = np.array([stock.start for stock in STOCKS])
    for i in range(len(sessions)):
        cash[i] = np.round(price / ratios[i] * payouts[i], 2)
        bases[i] = price / ratios[i] - cash[i]  # what yesterday's close is worth this morning
        price = closes[i] = np.round(bases[i] * relatives[i], 2)

    bars = {}
    dividends: dict[str, list[tuple[str, float]]] = {}
    for j, stock in enumerate(STOCKS):
        rows = np.flatnonzero(listed[:, j])
        later_splits = np.prod(ratios[:, j]) / np.multiply.accumulate(ratios[:, j])
        bars[stock.symbol] = _bars(
            seed,
            stock,
            sessions[rows],
            bases[rows, j],
            closes[rows, j],
            spreads[rows, j],
            later_splits[rows],
        )
        if stock.symbol in PAYERS:
            dividends[stock.symbol] = [
                (str(sessions[i]), float(cash[i, j])) for i in np.flatnonzero(cash[:, j])
            ]
    return Market(bars, dividends)


def _ratios(symbol: str, sessions: Dates) -> Floats:
    """Give the split ratio of each session: 1 on most."""
    ratios = np.ones(len(sessions))
    for day, ratio in SPLITS.get(symbol, {}).items():
        ratios[sessions == np.datetime64(day)] = ratio
    return ratios


def _payouts(symbol: str, sessions: Dates) -> Floats:
    """Give the share of the price that is paid out on each session: 0 on most."""
    payouts = np.zeros(len(sessions))
    if symbol in PAYERS:
        payer = PAYERS[symbol]
        months = sessions.astype("datetime64[M]")
        in_month = months.astype(np.int64) % 12 + 1
        due = np.isin(in_month, payer.months) & (sessions >= np.datetime64(payer.since))
        due &= sessions - months.astype("datetime64[D]") >= np.timedelta64(payer.day - 1, "D")
        _, firsts = np.unique(months[due], return_index=True)
        payouts[np.flatnonzero(due)[firsts]] = payer.annual_yield / 4
    return payouts


def _relatives(
    seed: int, listed: npt.NDArray[np.bool_], ratios: Floats, payouts: Floats
) -> tuple[Floats, Floats]:
    """Give each session's gross return and its volatility, both (sessions, symbols).

    The drift is set so that a symbol ends within 15 % of its `Stock.end`, whatever the shocks
    were: a free random walk of 16 years would put AAPL anywhere between $60 and $1,200.
    """
    count = len(listed)
    names = ("market", *SYMBOLS)
    noise = np.column_stack([normals(seed, f"volatility/{name}", count) for name in names])
    level = np.zeros(len(names))
    wander = np.empty(noise.shape)
    step = float(np.sqrt(1 - _VOLATILITY_MEMORY * _VOLATILITY_MEMORY))
    for i in range(count):
        level = _VOLATILITY_MEMORY * level + step * noise[i]
        wander[i] = 1 + 0.3 * level
    wander = np.clip(wander, 0.4, 2.2)

    year = float(np.sqrt(_SESSIONS_A_YEAR))
    betas = np.array([stock.beta for stock in STOCKS])
    own = np.array([stock.own_volatility for stock in STOCKS]) / year * wander[:, 1:]
    market_spread = _MARKET_VOLATILITY / year * wander[:, 0]
    market = market_spread * normals(seed, "market", count)
    shocks = np.column_stack([normals(seed, f"returns/{s}", count) for s in SYMBOLS])
    relatives = np.where(listed, 1 + betas * market[:, None] + own * shocks, 1.0)

    aims = uniforms(seed, "aims", len(STOCKS))
    for j, stock in enumerate(STOCKS):
        grown = np.multiply.accumulate(relatives[:, j] * (1 - payouts[:, j]) / ratios[:, j])[-1]
        wanted = stock.end * (0.85 + 0.3 * aims[j]) / stock.start
        # The power is the C library's, so its last bit may vary: nine decimals do not.
        drift = round(float(wanted / grown) ** (1 / int(listed[:, j].sum())), 9)
        relatives[listed[:, j], j] *= drift
    return relatives, betas * market_spread[:, None] + own


def _bars(
    seed: int,
    stock: Stock,
    sessions: Dates,
    base: Floats,
    close: Floats,
    spread: Floats,
    later_splits: Floats,
) -> Bars:
    """Put an open, a high, a low and a volume around the closes of one symbol."""
    count = len(sessions)
    gap, above, below, busy = uniforms(seed, f"bars/{stock.symbol}", 4 * count).reshape(4, count)
    move = close / base - 1
    open_ = np.round(base * (1 + 0.4 * move + 0.5 * spread * (gap - 0.5)), 2)
    # Rounding keeps order, so a high above the body stays above it.
    high = np.round(np.maximum(open_, close) * (1 + 0.6 * spread * above), 2)
    low = np.round(np.minimum(open_, close) * (1 - 0.6 * spread * below), 2)
    usual = stock.volume / later_splits
    volume = np.rint(usual * (0.6 + 0.6 * busy) * (0.8 + 14 * np.abs(move))).astype(np.int64)
    return Bars(sessions, open_, high, low, close, volume)
