"""What is cheap or dear by a model: labelled so, never riskless."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from stockdb.options._packages import BUY, NOISE, SELL, Found, Terms, package, per_share, take
from stockdb.options._parity import pairs_of_strikes
from stockdb.options.pricing import price
from stockdb.options.quotes import Bools, Floats, Ints, Quotes

__all__ = ["NEEDS", "statistical_tests", "with_implied_spot"]

NEEDS: Final = ("spot", "iv", "rate", "q", "forward")
_DEVIATIONS: Final = 4.0  # robust standard deviations from the smile
_LEAST: Final = 8  # quotes of a smile
_MAD: Final = 1.4826  # median absolute deviation -> standard deviation of a normal


def with_implied_spot(terms: Terms, chain: pd.DataFrame) -> Terms:
    """Take the chain's own spot where the caller gives no quote: what rests on it is no fact."""
    if terms.stock_bid is not None or terms.stock_ask is not None or "spot" not in chain.columns:
        return terms
    spots = chain["spot"].dropna()
    if spots.empty:
        return terms
    spot = float(spots.iloc[0])
    return replace(terms, stock_bid=spot, stock_ask=spot, implied_spot=True)


def statistical_tests(quotes: Quotes, terms: Terms, chain: pd.DataFrame) -> list[Found]:
    """Find synthetic stock off its fair price, and options off the smile around them.

    Parameters
    ----------
    quotes : Quotes
    terms : Terms
    chain : pandas.DataFrame
        Enriched: has the columns `NEEDS`.

    Notes
    -----
    Synthetic: the call less the put, at executable prices, against the same difference priced at
    the mean of both implied volatilities. Outlier: more than four robust standard deviations off
    a parabola in ln(K/F) / sqrt(T) through the volatilities of its type and expiration, and worth
    trading at the bid or the ask after fees.
    """
    if not set(NEEDS) <= set(chain.columns) or not len(quotes):
        return []
    numbers = {
        name: chain[name].to_numpy(np.float64, na_value=np.nan)[quotes.row] for name in NEEDS
    }
    return [
        *_synthetics(quotes, terms, numbers),
        *_outliers(quotes, terms, numbers),
    ]


def _value(quotes: Quotes, numbers: dict[str, Floats], rows: Ints, iv: Floats) -> Floats:
    found: Floats = price(
        numbers["spot"][rows],
        quotes.strike[rows],
        quotes.years[rows],
        numbers["rate"][rows],
        numbers["q"][rows],
        iv,
        np.where(quotes.call[rows], "call", "put"),
        np.where(quotes.european[rows], "european", "american"),
    )
    return found


def _synthetics(quotes: Quotes, terms: Terms, numbers: dict[str, Floats]) -> list[Found]:
    call, put = pairs_of_strikes(quotes)
    iv = (numbers["iv"][call] + numbers["iv"][put]) / 2.0
    known = np.isfinite(iv)
    call, put, iv = call[known], put[known], iv[known]
    if not len(call):
        return []
    fair = _value(quotes, numbers, call, iv) - _value(quotes, numbers, put, iv)
    found = [
        package("synthetic_long", [put, call], (SELL, BUY), fair, klass="statistical"),
        package("synthetic_short", [put, call], (BUY, SELL), -fair, klass="statistical"),
    ]
    return _paying(found, quotes, terms)


def _outliers(quotes: Quotes, terms: Terms, numbers: dict[str, Floats]) -> list[Found]:
    fitted, far = _smiles(quotes, numbers)
    rows = np.flatnonzero(far & np.isfinite(fitted))
    if not len(rows):
        return []
    worth = _value(quotes, numbers, rows, fitted[rows])
    dear = numbers["iv"][rows] > fitted[rows]
    found = [
        package(
            f"iv_outlier_{name}", [rows[some]], (side,), side * worth[some], klass="statistical"
        )
        for name, side, some in (("dear", SELL, dear), ("cheap", BUY, ~dear))
    ]
    return _paying(found, quotes, terms)


def _smiles(quotes: Quotes, numbers: dict[str, Floats]) -> tuple[Floats, Bools]:
    """Fit each smile, and mark what is far off it."""
    fitted = np.full(len(quotes), np.nan)
    far = np.zeros(len(quotes), np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log(quotes.strike / numbers["forward"]) / np.sqrt(quotes.years)
    good = np.isfinite(x) & np.isfinite(numbers["iv"])
    groups = pd.DataFrame({"dte": quotes.dte, "call": quotes.call, "root": quotes.root.astype(str)})
    for rows in groups[good].groupby(["root", "dte", "call"]).indices.values():
        at = np.flatnonzero(good)[rows]
        if len(at) < _LEAST:
            continue
        iv, held = numbers["iv"][at], np.ones(len(at), np.bool_)
        scale = 0.0
        for _ in range(3):
            curve = np.polynomial.polynomial.polyfit(x[at][held], iv[held], 2)
            off = iv - np.polynomial.polynomial.polyval(x[at], curve)
            scale = _MAD * float(np.median(np.abs(off[held])))
            held = np.abs(off) <= max(_DEVIATIONS * scale, 1e-6)
            if held.sum() < _LEAST:
                break
        fitted[at] = iv - off
        far[at] = np.abs(off) > max(_DEVIATIONS * scale, 1e-6)
    return np.where(fitted > 0.0, fitted, np.nan), far


def _paying(found: list[Found], quotes: Quotes, terms: Terms) -> list[Found]:
    kept = []
    for item in found:
        edges, _ = per_share(item, quotes, terms)
        good = np.flatnonzero(edges > NOISE)
        if len(good):
            kept.append(take(item, good))
    return kept
