"""Static arbitrage in one chain: every test at executable prices, one row a finding."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.arguments import parse_number, parse_optional, parse_pair, parse_whole
from stockdb.errors import ConfigurationError, DataError
from stockdb.options._butterflies import butterfly_tests, call_rays
from stockdb.options._packages import Found, Terms
from stockdb.options._parity import NO_SPOT, box_tests, future_tests, parity_tests, stock_tests
from stockdb.options._rows import COLUMNS, rows_of
from stockdb.options._statistical import NEEDS, statistical_tests, with_implied_spot
from stockdb.options._verticals import put_rays, two_option_pairs, two_option_tests
from stockdb.options.market import DividendSchedule, RateCurve, parse_quote
from stockdb.options.quotes import Quotes, executable_quotes
from stockdb.options.suspects import Suspects, find_suspects, judge_stock
from stockdb.types import DateLike, parse_date

__all__ = ["find_arbitrage", "suspect_quotes", "terms_of"]

ATTRS: Final = "stockdb"
MOST: Final = 1000  # rows of one kind
_TIER: Final = {"statistical": 2, "suspect": 3}
#: Reasons for leaving a quote out that are errors of the data; their contracts are named.
_ERRORS: Final = ("crossed", "locked", "conflicting_duplicates")
_NAMED: Final = 20
_NO_RATE: Final = "no interest rate is known; give rate"
_NO_STOCK: Final = "no bid and ask of the stock from the same moment; give stock_bid and stock_ask"
_NO_DIVIDENDS: Final = "dividends are unknown; give dividends (empty for none)"
_DIVIDENDS_END: Final = "the table of dividends ends {}: not run for later expirations"
_EUROPEAN: Final = "needs early exercise, which European options do not have"
_NO_FUTURES: Final = "no quotes of the futures are known; give futures={expiration: (bid, ask)}"
_NO_UNDERLYING: Final = "options on VIX follow futures of their own; nobody can hold the index"


def terms_of(
    *,
    stock_bid: float | None = None,
    stock_ask: float | None = None,
    rate: Any = None,
    dividends: Any = None,
    declared_until: DateLike | None = None,
    known_until: DateLike | None = None,
    fees_per_contract: float = 0.65,
    borrow_rate: float = 0.0,
    futures: Mapping[DateLike, tuple[float, float]] | None = None,
) -> Terms:
    """Check what a caller says about the market around a chain.

    Raises
    ------
    ConfigurationError
        A price that is not positive, a stock bid above its ask, a negative fee.
    """
    bid, ask = parse_quote(stock_bid, stock_ask)
    return Terms(
        stock_bid=bid,
        stock_ask=ask,
        curve=None if rate is None else RateCurve.of(rate),
        dividends=None if dividends is None else DividendSchedule.of(dividends),
        declared_until=(
            None if declared_until is None else parse_date(declared_until, "declared_until")
        ),
        known_until=None if known_until is None else parse_date(known_until, "known_until"),
        fee=parse_number("fees_per_contract", fees_per_contract, least=0.0),
        borrow_rate=parse_number("borrow_rate", borrow_rate, least=0.0),
        futures=_futures(futures),
    )


def _futures(given: Any) -> tuple[tuple[dt.date, float, float], ...]:
    """Read the quotes of futures by expiration."""
    if given is None:
        return ()
    remedy = "Give futures={expiration: (bid, ask)} of the moment of the chain."
    if not isinstance(given, (Mapping, pd.Series)):
        raise ConfigurationError(f"futures={given!r} is no mapping by expiration.", remedy=remedy)
    found = []
    pairs: Any = given.items()
    for day, quote in pairs:
        name = f"futures[{str(day)!r}]"
        bid, ask = parse_quote(*parse_pair(name, quote, remedy), (f"{name}[0]", f"{name}[1]"))
        if bid is None or ask is None:
            raise ConfigurationError(f"{name} lacks a bid or an ask.", remedy=remedy)
        found.append((parse_date(day, "futures"), bid, ask))
    return tuple(found)


def find_arbitrage(
    chain: pd.DataFrame,
    terms: Terms | None = None,
    *,
    quote_date: DateLike | None = None,
    include_statistical: bool = False,
    include_suspect: bool = True,
    tick: float | None = None,
    max_rows: int = MOST,
) -> pd.DataFrame:
    """Hold the quotes of one chain against each other, and against the stock.

    Parameters
    ----------
    chain : pandas.DataFrame
        As ``get_option_chain`` gives it, with bids and asks; see
        :func:`stockdb.options.quotes.executable_quotes` for what is left out.
    terms : Terms, optional
        Stock quote, rates, dividends, fees; see :func:`terms_of`. What is not known is not
        guessed: the tests that need it are skipped.
    quote_date : date-like, optional
        Rows of another one are left out; by default as :func:`executable_quotes` has it.
    include_statistical : bool
        Also rows that are no arbitrage, labelled ``statistical``: short boxes of American
        options; of an enriched chain (:func:`stockdb.options.chain.enrich`) also synthetic stock
        off its fair price, options off the smile of their neighbours, and, without a stock
        quote, the tests against the stock at the price that the chain implies.
    include_suspect : bool
        False leaves out the rows that rest on a quote which contradicts its chain.
    tick : float, optional
        Price step of the options, dollars; by default read off the quotes.
    max_rows : int
        Rows of one kind. Of more findings, each sold option (butterflies: each body; boxes:
        each lower call) keeps its best ones; ``found`` in attrs counts all. Butterflies are
        looked for with every pair of wings of the body's expiration, and with the cheapest
        wing at each strike among the later ones.

    Returns
    -------
    pandas.DataFrame
        Best first: by annualised return, statistical rows below, suspect ones last. Columns:
        symbol, quote_date, kind, class (``riskless``, ``riskless_declared``, ``conditional``,
        ``statistical``, ``suspect``), style (``A``, ``E``), legs (list of dicts: contract, side,
        ratio, type, strike, expiration, dte, bid, ask, fill, sizes, open_interest, volume), edge
        (dollars a share of one package, ratios counted, fees taken off), edge_per_short (the
        same for each contract sold in a butterfly or ray, as its inequality is written),
        capacity (packages that the sizes shown allow; 1 where none is shown), profit (dollars:
        edge x 100 x capacity), capital (dollars: the debit, or the margin of a credit),
        annualised ((1 + profit/capital)^(365/dte) - 1; NaN where that has no bound), dte (days
        to the first expiration of the package), net_debit (dollars a share, before fees), fees
        (dollars a package), survives_one_tick, flags, suspect_count and suspects (quotes that
        contradict the chain), largest_dividend (dollars a share that a sold call assigned the
        night before an ex-date may owe; NaN where dividends are unknown), disclosures,
        explanation. ``attrs['stockdb']``: ``skipped`` lists the tests that were not run, and why;
        ``dropped`` counts the quotes that were left out by reason; ``data_errors`` names crossed,
        locked and conflicting ones (20 of each at most).

    Raises
    ------
    DataError
        A needed column is missing; more than one underlying; mids in place of quotes.

    Notes
    -----
    Merton (1973), "Theory of rational option pricing"; Stoll (1969) for parity with early
    exercise; Ronn and Ronn (1989) for boxes. Each inequality is written at the ask of what is
    bought and the bid of what is sold. A margin of a credit is: the difference of strikes that
    may be owed (slope, short box), half the stock sold short, a put's strike, else what the
    bought options cost.
    """
    terms = terms or Terms()
    tick = parse_optional("tick", tick, above=0.0)
    max_rows = parse_whole("max_rows", max_rows, least=1)
    if "symbol" in chain.columns and chain["symbol"].nunique() > 1:
        raise DataError(
            "The chain holds more than one underlying.",
            remedy="Give one symbol's rows at a time, or use scan().",
        )
    if not len(chain):
        return _with_note(_empty(), chain, Suspects.none(), {"skipped": [], "dropped": {}})
    quotes = executable_quotes(chain, quote_date=quote_date, tick=tick)
    asked = terms
    if include_statistical:
        terms = with_implied_spot(terms, chain)
    pairs = two_option_pairs(quotes, terms)
    suspects = find_suspects(quotes, pairs)
    findings = list(_all_tests(quotes, terms, pairs, max_rows, include_statistical))
    if include_statistical:
        findings += statistical_tests(quotes, terms, chain)
    suspects = judge_stock(suspects, findings, quotes, terms)
    found: dict[str, int] = {}
    for item in findings:
        found[item.kind] = found.get(item.kind, 0) + item.total
    frames = [rows_of(item, quotes, terms, suspects) for item in findings if len(item)]
    frame = _ranked(pd.concat(frames, ignore_index=True)) if frames else _empty()
    if not include_suspect:
        frame = frame[frame["class"] != "suspect"].reset_index(drop=True)
    note = {
        "skipped": _skipped(quotes, asked, chain, include_statistical),
        "dropped": {reason: len(names) for reason, names in quotes.dropped.items()},
        "data_errors": {
            reason: list(quotes.dropped[reason][:_NAMED])
            for reason in _ERRORS
            if reason in quotes.dropped
        },
        "found": found,
    }
    return _with_note(frame, chain, suspects, note)


def suspect_quotes(chain: pd.DataFrame, *, quote_date: DateLike | None = None) -> pd.DataFrame:
    """List the quotes of a chain that contradict the rest of it.

    Returns
    -------
    pandas.DataFrame
        Worst first: contract, type, strike, expiration, dte, bid, ask, open_interest, volume,
        conflicts (other quotes it contradicts, those with more conflicts set aside), distance
        (dollars beyond what its neighbours allow), reason.
    """
    quotes = executable_quotes(chain, quote_date=quote_date)
    suspects = find_suspects(quotes, two_option_pairs(quotes, Terms()))
    rows = np.flatnonzero(suspects.marked)
    columns = ["contract", "type", "strike", "expiration", "bid", "ask"]
    frame = chain.iloc[quotes.row[rows]][columns].reset_index(drop=True)
    frame.insert(4, "dte", quotes.dte[rows])
    frame["open_interest"], frame["volume"] = quotes.open_interest[rows], quotes.volume[rows]
    frame["conflicts"], frame["distance"] = suspects.conflicts[rows], suspects.distance[rows]
    many, far = suspects.many[rows], suspects.far[rows]
    frame["reason"] = np.select(
        [many & far, many],
        ["contradicts_many, far_from_neighbours", "contradicts_many"],
        "far_from_neighbours",
    )
    return frame.sort_values(["conflicts", "distance"], ascending=False, ignore_index=True)


def _all_tests(
    quotes: Quotes, terms: Terms, pairs: dict[str, Any], most: int, statistical: bool
) -> Iterator[Found]:
    yield from two_option_tests(pairs, quotes, terms, most)
    yield from put_rays(quotes, terms, most)
    yield from butterfly_tests(quotes, terms, most)
    yield from call_rays(quotes, terms, most)
    yield from box_tests(quotes, terms, most, american_short=statistical)
    yield from parity_tests(quotes, terms)
    yield from stock_tests(quotes, terms)
    yield from future_tests(quotes, terms)


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    tier = frame["class"].map(_TIER).fillna(0)
    tier = tier.mask((tier == 0) & (frame["capacity"] == 0), 1)
    order = np.lexsort((-frame["profit"], -frame["growth"], tier))
    ranked = frame.iloc[order].reset_index(drop=True)
    return ranked[list(COLUMNS)]


def _empty() -> pd.DataFrame:
    kinds: dict[str, Any] = dict.fromkeys(COLUMNS, "object")
    kinds |= dict.fromkeys(("symbol", "kind", "class", "style", "explanation"), "str")
    kinds |= dict.fromkeys(("capacity", "dte", "suspect_count"), "int64")
    kinds |= dict.fromkeys(
        ("edge", "edge_per_short", "profit", "capital", "annualised", "net_debit", "fees"),
        "float64",
    )
    kinds |= {
        "quote_date": "datetime64[ns]",
        "survives_one_tick": "bool",
        "largest_dividend": "float64",
    }
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def _skipped(
    quotes: Quotes, terms: Terms, chain: pd.DataFrame, statistical: bool
) -> list[dict[str, str]]:
    """Name the tests that were not run, and why."""
    missing: list[tuple[tuple[str, ...], str]] = []
    if terms.curve is None:
        missing.append((("conversion", "reversal", "long_box", "short_box"), _NO_RATE))
    if terms.stock_ask is None:
        missing.append((("conversion", "put_floor", "call_cap", "call_ray"), _NO_STOCK))
    if terms.stock_bid is None:
        missing.append((("reversal", "call_floor"), _NO_STOCK))
    if terms.dividends is None:
        missing.append((("reversal",), _NO_DIVIDENDS))
    elif terms.known_until is not None:
        missing.append((("reversal",), _DIVIDENDS_END.format(terms.known_until)))
    if quotes.european.any():
        early = (
            "calendar",
            "call_floor",
            "put_floor",
            "call_cap",
            "put_cap",
            "put_ray",
            "call_ray",
        )
        missing.append((early, _EUROPEAN))
    if np.isin(quotes.root.astype(str), NO_SPOT).any():
        missing.append((("conversion", "reversal"), _NO_UNDERLYING))
        if not terms.futures:
            missing.append((("future_conversion", "future_reversal"), _NO_FUTURES))
        elif terms.curve is None:
            missing.append((("future_conversion", "future_reversal"), _NO_RATE))
    if len(quotes) and not quotes.european.all():
        missing.append((("short_box",), "American options may be assigned early: never riskless"))
    if statistical and not (set(NEEDS) <= set(chain.columns) and chain["iv"].notna().any()):
        missing.append((("synthetic", "iv_outlier"), "the chain has no implied volatilities"))
    reasons: dict[str, list[str]] = {}
    for tests, reason in missing:
        for test in tests:
            reasons.setdefault(test, []).append(reason)
    return [{"test": test, "reason": "; ".join(why)} for test, why in reasons.items()]


def _why_empty(dropped: dict[str, int], suspects: Suspects) -> str:
    if dropped and not len(suspects.conflicts):
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        return f"no quote can be traded at: {reasons}"
    return "no test that was run is violated"


def _with_note(
    frame: pd.DataFrame,
    chain: pd.DataFrame,
    suspects: Suspects,
    more: dict[str, Any],
) -> pd.DataFrame:
    note: dict[str, Any] = {
        **chain.attrs.get(ATTRS, {}),
        **more,
        "suspect_quotes": int(suspects.marked.sum()),
        "chain_not_synchronous": suspects.mixed,
        "stock_not_synchronous": suspects.stock,
    }
    if not len(frame):
        note["empty_reason"] = note.get("empty_reason") or _why_empty(more["dropped"], suspects)
    frame.attrs = {ATTRS: note}
    return frame
