"""The simulated demo bucket: every object of it, and the truth about what was planted.

Nothing here reads or writes: the bucket comes as pairs of key and bytes, from a seed alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from stockdb.demo.simulate_options import (
    UNDERLYINGS,
    YIELDS,
    Days,
    expirations,
    option_files,
    planted,
    volatilities,
)
from stockdb.demo.simulate_stocks import (
    SPLITS,
    SYMBOLS,
    Bars,
    Dates,
    Floats,
    Market,
    normals,
    simulate_market,
    uniforms,
)
from stockdb.options.market import RateCurve

__all__ = ["DEFAULT_SEED", "demo_objects", "demo_truth"]

DEFAULT_SEED: Final = 20240131
FIRST_SESSION: Final = "2010-01-04"
LAST_SESSION: Final = "2025-12-31"
_CALENDAR_END: Final = "2028-12-31"  # beyond the last option expiration
_OPTION_FILES: Final = 5

_GAPS: Final = {"BAC": (1, 8), "DIS": (3, 1), "INTC": (140, 1)}  # runs, sessions in each run
_DIRTY: Final = {
    "F": ("zero_price", "zero_price", "duplicate"),
    "HD": ("zero_volume", "negative_volume"),
    "PEP": ("holiday", "high_below_low"),
}
_HOLIDAY: Final = "2023-01-02"

# Treasury: a short rate and a long one between these turning points, in percent. The short rate is
# a shadow rate (Black, 1995): below zero, bills and short notes yield 0.
_TENORS: Final = {
    "DGS1MO": 1 / 12,
    "DGS3MO": 0.25,
    "DGS6MO": 0.5,
    "DGS1": 1.0,
    "DGS2": 2.0,
    "DGS3": 3.0,
    "DGS5": 5.0,
    "DGS7": 7.0,
    "DGS10": 10.0,
    "DGS20": 20.0,
    "DGS30": 30.0,
}
_RATES: Final = (  # from, short, long
    ("2010-01-01", -0.2, 5.6),
    ("2012-07-01", -0.6, 3.2),
    ("2015-12-01", 0.2, 3.4),
    ("2018-12-01", 2.4, 3.4),
    ("2020-03-01", 0.1, 1.6),
    ("2021-12-01", 0.1, 2.4),
    ("2023-07-01", 5.4, 4.0),
    ("2024-08-01", 5.2, 4.4),
    ("2025-06-01", 4.2, 4.6),
    ("2026-01-01", 3.6, 4.4),
)


class _Plan(NamedTuple):
    """What is wrong with the bars on purpose: missing sessions, and dirty rows (kind, date)."""

    missing: dict[str, list[str]]
    dirty: dict[str, list[tuple[str, str]]]


def demo_objects(seed: int = DEFAULT_SEED) -> Iterator[tuple[str, bytes]]:
    """Make every object of the demo bucket.

    Parameters
    ----------
    seed : int, default 20240131
        0 or more. The same seed gives the same bytes on any machine.

    Yields
    ------
    tuple of (str, bytes)
        Key and content, in the layout of a ``stockdb`` bucket: daily bars (raw, neither split-
        nor dividend-adjusted), reference tables, option files of the last five sessions (fair
        but for the arbitrage planted in the last), and the truth about what was planted under
        ``_simulated/``.

    Raises
    ------
    ValueError
        The seed is negative.

    Examples
    --------
    >>> key, content = next(demo_objects())
    >>> key, content[:37]
    ('stocks-2010-2025/AAPL.csv', b'trade_date,Open,High,Low,Close,Volume')
    """
    world = _world(seed)
    market, plan = world.market, world.plan
    for symbol in SYMBOLS:
        yield f"stocks-2010-2025/{symbol}.csv", _stock_csv(seed, symbol, market, plan)
    yield "reference/splits.csv", _splits_csv()
    yield "reference/dividends.csv", _dividends_csv(market)
    yield "reference/treasury.csv", _treasury_csv(world)
    yield from option_files(seed, world.days)
    truth = json.dumps(_truth(world), indent=1, sort_keys=True)
    yield "_simulated/truth.json", f"{truth}\n".encode()
    yield (
        "_simulated/README.txt",
        "Everything in this bucket is simulated from the seed "
        f"{seed} by stockdb.demo.simulate: no price, quote or rate in it is real.\n".encode(),
    )


def demo_truth(seed: int = DEFAULT_SEED) -> dict[str, Any]:
    """Tell what was planted in the bucket of this seed, for tests and the tour to compare with.

    Parameters
    ----------
    seed : int, default 20240131
        0 or more.

    Returns
    -------
    dict
        JSON values only, the same as the object ``_simulated/truth.json``:

        - ``splits``: symbol -> list of ``ex_date``, ``ratio``
        - ``missing_sessions``: symbol -> ISO dates that its file lacks
        - ``dirty_rows``: symbol -> list of ``kind``, ``date``; kinds are ``zero_price`` (all four
          prices), ``duplicate`` (the row stands twice), ``zero_volume``, ``negative_volume``,
          ``high_below_low`` (the two are swapped), ``holiday`` (a row where no session is)
        - ``spots``: option quote date -> underlying -> raw close in dollars
        - ``options``: what prices them: ``model``, ``sigma`` (formula and parameters),
          ``yields`` by underlying, and ``rates`` by quote date and expiration (all continuous,
          a year; 0.05 is 5 %)
        - ``stock_quotes``: the stocks' bid and ask at the last quote date's close, dollars
        - ``arbitrage``: list of the packages planted: ``symbol``, ``quote_date``, ``kind``,
          ``legs`` (contract, or the symbol of the stock; side, ratio, price), ``edge`` in
          dollars a share after ``fees_per_contract``. No leg of them is a quote that
          contradicts the rest of its chain: none is to be called suspect. Nothing else pays.
    """
    return _truth(_world(seed))


class _World(NamedTuple):
    """The market of a seed, and what is wrong with its files."""

    seed: int
    sessions: Dates
    market: Market
    plan: _Plan
    treasury: Floats  # percent, (sessions, tenors)
    days: Days


def _world(seed: int) -> _World:
    calendar = _sessions()
    sessions = calendar[calendar <= np.datetime64(LAST_SESSION)]
    market = simulate_market(seed, sessions)
    treasury = _treasury(seed, sessions)
    spots = _spots(market, sessions)
    curves = {
        day: RateCurve.from_treasury(dict(zip(_TENORS, row, strict=True)))
        for day, row in zip(spots, treasury[-_OPTION_FILES:].tolist(), strict=True)
    }
    days = Days(spots, curves, calendar)
    return _World(seed, sessions, market, _plan(seed, market), treasury, days)


def _sessions() -> Dates:
    """List the sessions of the New York Stock Exchange."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar("XNYS", start=FIRST_SESSION, end=_CALENDAR_END)
    sessions: Dates = calendar.sessions.to_numpy().astype("datetime64[D]")
    return sessions


def _spots(market: Market, sessions: Dates) -> dict[str, dict[str, float]]:
    """Give the raw closes of the underlyings on the last sessions."""
    return {
        str(sessions[i]): {symbol: float(market.bars[symbol].close[i]) for symbol in UNDERLYINGS}
        for i in range(-_OPTION_FILES, 0)
    }


def _truth(world: _World) -> dict[str, Any]:
    seed, plan, days = world.seed, world.plan, world.days
    packages = planted(seed, days)
    return {
        "simulated": True,
        "seed": seed,
        "first_session": str(world.sessions[0]),
        "last_session": str(world.sessions[-1]),
        "splits": {
            symbol: [{"ex_date": day, "ratio": ratio} for day, ratio in splits.items()]
            for symbol, splits in SPLITS.items()
        },
        "missing_sessions": plan.missing,
        "dirty_rows": {
            symbol: [{"kind": kind, "date": day} for kind, day in rows]
            for symbol, rows in plan.dirty.items()
        },
        "spots": days.spots,
        "options": {
            "model": "American, continuous yield, T in days / 365, rates of the Treasury curve",
            "sigma": {
                "formula": "a * sqrt(1 - skew*tanh(ln(K/F) / (2*a*sqrt(T)))), F the forward, "
                "a = sqrt(long**2 + (short**2 - long**2) * (1 - exp(-decay*T)) / (decay*T))",
                "parameters": {s: curve._asdict() for s, curve in volatilities(seed).items()},
            },
            "yields": YIELDS,
            "rates": _rates(days),
        },
        "stock_quotes": {
            symbol: {"bid": round(close - 0.01, 2), "ask": round(close + 0.01, 2)}
            for symbol, close in days.spots[list(days.spots)[-1]].items()
        },
        "arbitrage": [package.describe() for package in packages],
    }


def _rates(days: Days) -> dict[str, dict[str, float]]:
    """Give the rate to each expiration; rounded, as the last bits are the processor's own."""
    found: dict[str, dict[str, float]] = {}
    for date, curve in days.curves.items():
        last = expirations(list(days.spots), days.sessions)
        years = (np.array(last, "datetime64[D]") - np.datetime64(date)).astype(np.float64) / 365
        rates = [round(rate, 10) for rate in curve.rate(years).tolist()]
        found[date] = dict(zip(last, rates, strict=True))
    return found


def _plan(seed: int, market: Market) -> _Plan:
    """Choose where the defects go: after the first year, before the last month."""

    def draw(symbol: str, count: int) -> list[int]:
        days = market.bars[symbol].sessions
        free = np.arange(252, len(days) - 30)
        # The holiday row copies the session before it, so that one stays clean.
        free = free[np.abs(free - np.searchsorted(days, np.datetime64(_HOLIDAY))) > 2]
        order = np.argsort(uniforms(seed, f"defects/{symbol}", len(free)), kind="stable")
        return [int(i) for i in free[order[:count]]]

    missing = {}
    for symbol, (runs, length) in _GAPS.items():
        days = market.bars[symbol].sessions
        gone = {i + k for i in draw(symbol, runs) for k in range(length)}
        missing[symbol] = [str(days[i]) for i in sorted(gone)]
    dirty = {}
    for symbol, kinds in _DIRTY.items():
        bars = market.bars[symbol]
        rows = draw(symbol, len(kinds))
        dirty[symbol] = [
            (kind, _HOLIDAY if kind == "holiday" else str(bars.sessions[i]))
            for kind, i in zip(kinds, rows, strict=True)
        ]
    return _Plan(missing, dirty)


def _csv(header: str, rows: Sequence[str]) -> bytes:
    return "\n".join((header, *rows, "")).encode()


def _stock_csv(seed: int, symbol: str, market: Market, plan: _Plan) -> bytes:
    """Write one symbol's bars with its defects; a few volumes are spelled as floats."""
    rows = _clean_rows(seed, symbol, market.bars[symbol])
    for day in plan.missing.get(symbol, ()):
        del rows[day]
    for kind, day in plan.dirty.get(symbol, ()):
        rows[day] = _defective(kind, day, rows)
    return _csv("trade_date,Open,High,Low,Close,Volume", [rows[day] for day in sorted(rows)])


def _clean_rows(seed: int, symbol: str, bars: Bars) -> dict[str, str]:
    """Format the bars by date."""
    floats = uniforms(seed, f"spelling/{symbol}", len(bars.sessions)) < 0.01
    days = bars.sessions.astype(str).tolist()
    volumes = [
        f"{volume}.0" if spelled else str(volume)
        for volume, spelled in zip(bars.volume.tolist(), floats.tolist(), strict=True)
    ]
    prices = (bars.open.tolist(), bars.high.tolist(), bars.low.tolist(), bars.close.tolist())
    return {
        day: f"{day},{open_:.2f},{high:.2f},{low:.2f},{close:.2f},{volume}"
        for day, open_, high, low, close, volume in zip(days, *prices, volumes, strict=True)
    }


def _defective(kind: str, day: str, rows: Mapping[str, str]) -> str:
    """Spoil one row, or make one where none should be; a duplicate is two lines."""
    source = max(other for other in rows if other <= day)
    _, open_, high, low, close, volume = rows[source].split(",")
    match kind:
        case "duplicate":
            return f"{rows[day]}\n{rows[day]}"
        case "zero_price":
            prices = ("0.00",) * 4
        case "high_below_low":
            prices = (open_, low, high, close)
        case _:
            prices = (open_, high, low, close)
    volume = {"zero_volume": "0", "negative_volume": f"-{volume}"}.get(kind, volume)
    return ",".join((day, *prices, volume))


def _splits_csv() -> bytes:
    rows = [f"{s},{day},{ratio}" for s in SYMBOLS for day, ratio in SPLITS.get(s, {}).items()]
    return _csv("symbol,ex_date,ratio", rows)


def _dividends_csv(market: Market) -> bytes:
    rows = [
        f"{s},{day},{amount:.2f}" for s, paid in market.dividends.items() for day, amount in paid
    ]
    return _csv("symbol,ex_date,amount", rows)


def _treasury(seed: int, sessions: Dates) -> Floats:
    """Give yields in percent for each session and tenor, smooth between the turning points."""
    turns = np.array([day for day, _, _ in _RATES], dtype="datetime64[D]").astype(np.int64)
    days = sessions.astype(np.int64)
    wobble = _smooth_noise(seed, len(days))
    short = np.interp(days, turns, [rate for _, rate, _ in _RATES]) + 0.05 * wobble
    long = np.interp(days, turns, [rate for _, _, rate in _RATES]) + 0.15 * wobble
    tenors = np.array(list(_TENORS.values()))
    weight = tenors / (tenors + 7)
    shadow = short[:, None] + (long - short)[:, None] * weight
    yields: Floats = np.maximum(np.round(shadow, 2), 0.0) + 0.0  # no minus zero anywhere
    return yields


def _treasury_csv(world: _World) -> bytes:
    rows = [
        ",".join((day, *(f"{value:.2f}" for value in row)))
        for day, row in zip(
            world.sessions.astype(str).tolist(), world.treasury.tolist(), strict=True
        )
    ]
    return _csv(",".join(("date", *_TENORS)), rows)


def _smooth_noise(seed: int, count: int) -> Floats:
    """Give a slow wander of about unit size, shape (count,)."""
    level, path = 0.0, []
    for shock in normals(seed, "treasury", count).tolist():
        level = 0.99 * level + 0.14 * shock
        path.append(level)
    return np.array(path)
