"""What the tour found beside what was planted in the simulated bucket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.demo.simulate_options import Volatility

__all__ = ["Comparison", "arbitrage", "defects", "simulated_volatility"]

_RULES: Final = {  # of validation, by the kind of defect; a holiday's row repeats the one before
    "zero_price": ("price_range",),
    "duplicate": ("duplicate",),
    "zero_volume": ("zero_volume",),
    "negative_volume": ("volume_range",),
    "high_below_low": ("high_low",),
    "holiday": ("holiday", "stale"),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Things planted and things found, each with its count.

    Examples
    --------
    >>> print(Comparison(Counter("aab"), Counter("aab")))
    planted 3, found 3, nothing else
    >>> print(Comparison(Counter("aab"), Counter("ac")))
    planted 3, found 1; MISSED: a, b; NOT PLANTED: c
    >>> print(Comparison(Counter("aa"), Counter()))
    planted 2, found 0; MISSED: 2 x a
    """

    planted: Counter[str]
    found: Counter[str]

    @property
    def agrees(self) -> bool:
        """Whether everything planted was found, and nothing else."""
        return self.planted == self.found

    def __str__(self) -> str:
        both = (self.planted & self.found).total()
        text = f"planted {self.planted.total()}, found {both}"
        if self.agrees:
            return f"{text}, nothing else"
        for what, things in (
            ("MISSED", self.planted - self.found),
            ("NOT PLANTED", self.found - self.planted),
        ):
            if things:
                names = (f"{n} x {name}" if n > 1 else name for name, n in things.items())
                text += f"; {what}: {', '.join(names)}"
        return text


def arbitrage(truth: Mapping[str, Any], frames: Iterable[pd.DataFrame]) -> Comparison:
    """Compare packages: underlying, kind, edge to a hundredth of a cent, and every leg.

    Parameters
    ----------
    truth : mapping
        As ``_simulated/truth.json`` has it.
    frames : iterable of pandas.DataFrame
        As ``find_arbitrage_opportunities`` gives them, for all underlyings.
    """
    planted = Counter(
        _package(item["symbol"], item["kind"], item["edge"], item["legs"])
        for item in truth["arbitrage"]
    )
    found = Counter(
        _package(row["symbol"], row["kind"], row["edge"], row["legs"])
        + (" (suspect)" if row["suspect_count"] else "")
        for frame in frames
        for row in frame.to_dict("records")
    )
    return Comparison(planted, found)


def _package(symbol: str, kind: str, edge: float, legs: Iterable[Mapping[str, Any]]) -> str:
    parts = sorted(
        f"{leg['side']} {leg['ratio']} {leg['contract'] or symbol}".replace(" 1 ", " ")
        for leg in legs
    )
    return f"{symbol} {kind} of ${edge:.4f} ({', '.join(parts)})"


def defects(truth: Mapping[str, Any], findings: Mapping[str, Mapping[str, int]]) -> Comparison:
    """Compare dirty rows, missing sessions and splits with what validation reports.

    Parameters
    ----------
    truth : mapping
    findings : mapping
        Symbol -> rule -> how often validation found it broken in the whole history, unadjusted.
    """
    planted: Counter[str] = Counter()
    for symbol, rows in truth["dirty_rows"].items():
        planted.update(f"{symbol} {rule}" for row in rows for rule in _RULES[row["kind"]])
    for symbol, days in truth["missing_sessions"].items():
        planted[f"{symbol} missing_session"] += len(days)
    for symbol, splits in truth["splits"].items():
        planted[f"{symbol} split_jump"] += len(splits)
    found: Counter[str] = Counter()
    for symbol, rules in findings.items():
        found.update({f"{symbol} {rule}": count for rule, count in rules.items()})
    return Comparison(planted, found)


def simulated_volatility(truth: Mapping[str, Any], chain: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Give the volatility that each option of a chain was priced with.

    Parameters
    ----------
    truth : mapping
    chain : pandas.DataFrame
        One underlying and day; needs symbol, quote_date, expiration, strike, years.

    Returns
    -------
    numpy.ndarray
        float64, shape (rows,); 1.00 is 100 % a year.
    """
    known = truth["options"]
    symbol = str(chain["symbol"].iloc[0])
    date = f"{chain['quote_date'].iloc[0]:%Y-%m-%d}"
    rates = chain["expiration"].dt.strftime("%Y-%m-%d").map(known["rates"][date])
    years = chain["years"].to_numpy(np.float64)
    carry = rates.to_numpy(np.float64) - known["yields"][symbol]
    forward = truth["spots"][date][symbol] * np.exp(carry * years)
    smile = Volatility(**known["sigma"]["parameters"][symbol])
    return smile.sigma(years, np.log(chain["strike"].to_numpy(np.float64) / forward))
