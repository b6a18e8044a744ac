"""Searches of the chains of many underlyings on one day."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access import Access
from stockdb.access.leaps import find_opportunities
from stockdb.access.parallel import each
from stockdb.access.strategies import Asked, candidates
from stockdb.arguments import parse_by_symbol, parse_choice, parse_pair
from stockdb.core.reader import ReadPolicy
from stockdb.errors import ConfigurationError, StockDBError
from stockdb.options.calendars import CalendarRules, DiagonalRules
from stockdb.options.market import parse_quote
from stockdb.options.synthetics import SyntheticRules
from stockdb.options.volatility import VolatilityRules
from stockdb.scale.bulk import bar, names_of
from stockdb.types import DateLike

__all__ = ["ScanResult", "scan"]

log = logging.getLogger("stockdb.scan")
_MANY: Final = 25
_RULES: Final[dict[str, Callable[..., Any]]] = {
    "calendar": CalendarRules,
    "diagonal": DiagonalRules,
    "synthetic": SyntheticRules,
    "volatility": VolatilityRules,
}
_BEST: Final = {
    "arbitrage": "annualised",
    "calendar": "iv_difference",
    "diagonal": "annualised",
    "synthetic": "band_position",
    "volatility": "edge",
}
_TIER: Final = {"statistical": 1, "suspect": 2}
_READING: Final = ("verify", "max_age", "offline", "allow_stale")
_ARBITRAGE: Final = (
    "rate", "fees_per_contract", "borrow_rate", "include_statistical", "include_suspect",
    "min_days", "tick", "max_rows",
)  # fmt: skip


@dataclass(frozen=True)
class ScanResult(Mapping[str, pd.DataFrame]):
    """What each search found over all underlyings; ``result["calendar"]``, ``result["KO"]``.

    Attributes
    ----------
    frames : dict of str to pandas.DataFrame
        Search -> rows of all underlyings, best first.
    errors : dict of str to StockDBError
        Symbol -> why it could not be searched.
    searched : list of str
        Symbols that were, in the order asked.
    notes : dict
        Search -> symbol -> the note of its frame: skipped tests, rejected pairs, empty reason.
    """

    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    errors: dict[str, StockDBError] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Rows of a search; of a symbol those of the first search, or its error."""
        if name in self.frames:
            return self.frames[name]
        if name in self.errors:
            raise self.errors[name]
        if name not in self.searched:
            raise KeyError(name)
        first = self.to_frame()
        return first[first["symbol"] == name].reset_index(drop=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        found = ", ".join(f"{name}: {len(frame)} rows" for name, frame in self.frames.items())
        return (
            f"<ScanResult of {len(self.searched)} underlyings: {found}; {len(self.errors)} errors>"
        )

    def to_frame(self) -> pd.DataFrame:
        """Give the rows of the first search: of the only one, mostly."""
        return next(iter(self.frames.values()))

    def summary(self) -> pd.DataFrame:
        """Count rows by symbol and search; failed symbols have NaN and the error."""
        table = pd.DataFrame(
            {
                name: frame.groupby("symbol").size().reindex(self.searched, fill_value=0)
                for name, frame in self.frames.items()
            },
            index=pd.Index([*self.searched, *self.errors], name="symbol"),
        )
        table["error"] = [
            self.errors[name].message if name in self.errors else "" for name in table.index
        ]
        return table


@dataclass(frozen=True, slots=True)
class _Task:
    """What is done for each underlying; crosses to another process."""

    access: Access
    searches: Mapping[str, Any]
    day: DateLike
    market: Mapping[str, Any]
    reading: Mapping[str, Any]
    quoted: Mapping[str, tuple[float | None, float | None]]
    paid: Mapping[str, Any]

    def __call__(self, symbol: str) -> dict[str, pd.DataFrame] | StockDBError:
        bid, ask = self.quoted.get(symbol, (None, None))
        own = {"stock_bid": bid, "stock_ask": ask, "dividends": self.paid.get(symbol)}
        market = {**self.market, **own}
        try:
            return {
                name: _search(self.access, name, symbol, self.day, made, market, dict(self.reading))
                for name, made in self.searches.items()
            }
        except StockDBError as error:
            return error


def scan(
    access: Access,
    symbols: Sequence[str],
    date: DateLike | None,
    *,
    what: str | Sequence[str],
    quotes: Mapping[str, tuple[float, float]] | None,
    dividends: Mapping[str, Any] | None,
    rules: Mapping[str, Mapping[str, Any]] | None,
    whole_day: bool | None,
    strict: bool,
    progress: bool | None,
    options: Mapping[str, Any],
) -> ScanResult:
    """Search many underlyings; see ``LEAPSDataIntegration.scan``."""
    searches = _searches(what, rules, options)
    names = names_of(symbols)
    reading = {"verify": None} | {name: options[name] for name in _READING if name in options}
    day = date if date is not None else access.chains.place(None, _policy(reading)).date
    market = {name: value for name, value in options.items() if name not in _READING}
    quoted = {
        symbol: parse_quote(
            *parse_pair(f"quotes[{symbol!r}]", quote, "Give quotes={'AAPL': (bid, ask)}.")
        )
        for symbol, quote in parse_by_symbol("quotes", quotes).items()
    }
    paid = parse_by_symbol("dividends", dividends)

    task = _Task(access, searches, day, market, reading, quoted, paid)
    whole = len(names) >= _MANY if whole_day is None else whole_day
    outcomes: dict[str, dict[str, pd.DataFrame] | StockDBError] = {}
    with bar(len(names), progress) as advance:
        rest = names
        if whole and names:  # the first read proves the file, and keeps it: the rest are local
            proving = replace(task, reading={**reading, "verify": True})
            outcomes[names[0]] = proving(names[0])
            advance()
            rest = names[1:]
        for symbol, outcome in zip(rest, each(access, task, rest, None), strict=True):
            if isinstance(outcome, StockDBError):
                log.warning("%s: %s", symbol, outcome)
            outcomes[symbol] = outcome
            advance()
    return _gathered(outcomes, searches, strict=strict)


def _searches(
    what: str | Sequence[str],
    rules: Mapping[str, Mapping[str, Any]] | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Check names before anything is read."""
    several = isinstance(what, Iterable) and not isinstance(what, str)
    asked: list[Any] = list(what) if several else [what]
    searches = ("arbitrage", *_RULES)
    names = [parse_choice("search", name, searches) for name in asked]
    if not names:
        raise ConfigurationError(
            "There is no search asked for.", remedy=f"Use {', '.join(searches)}."
        )
    of = _rules_of(rules, searches)
    found: dict[str, Any] = {}
    for name in names:
        given = dict(of.get(name, {}))
        if name == "arbitrage":
            _known_only(given, (*_ARBITRAGE, "futures"))
            found[name] = given
            continue
        history = {key: given.pop(key) for key in ("history_days", "bars_symbol") if key in given}
        try:
            found[name] = (_RULES[name](**given), history)
        except TypeError as error:
            raise ConfigurationError(
                f"The search {name} has no such rule: {error}.",
                remedy=f"See LEAPSDataIntegration.find_{name}...",
            ) from error
    _known_only(options, (*_READING, *_ARBITRAGE))
    return found


def _rules_of(rules: Any, searches: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Check that rules are mappings by search."""
    remedy = "Give rules={'calendar': {'option_type': 'call'}}."
    if rules is None:
        return {}
    if not isinstance(rules, Mapping):
        raise ConfigurationError(f"rules={rules!r} are no mapping by search.", remedy=remedy)
    found = {}
    for name, given in rules.items():
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"The rules of {name} are {given!r}.", remedy=remedy)
        found[parse_choice("search", name, searches)] = given
    return found


def _known_only(given: Iterable[str], known: Iterable[str]) -> None:
    wrong = sorted(set(given) - set(known))
    if wrong:
        raise ConfigurationError(
            f"Unknown option {', '.join(wrong)}.", remedy=f"Known are {', '.join(sorted(known))}."
        )


def _search(
    access: Access,
    name: str,
    symbol: str,
    day: DateLike,
    made: Any,
    market: dict[str, Any],
    reading: dict[str, Any],
) -> pd.DataFrame:
    if name == "arbitrage":
        values: dict[str, Any] = {"rate": None, "fees_per_contract": None, "borrow_rate": 0.0}
        values |= {**market, **made}
        return find_opportunities(
            access, symbol, day, min_days=values.pop("min_days", None), policy=_policy(reading),
            verify=reading.get("verify"), **values,
        )  # fmt: skip
    rules, history = made
    only = {key: value for key, value in market.items() if key not in _ARBITRAGE}
    common: dict[str, Any] = {
        key: market[key] for key in ("rate", "fees_per_contract", "max_rows") if key in market
    }
    return candidates(
        access, symbol, day, rules, Asked.of({**only, **common, **reading}), **history
    )


def _policy(reading: Mapping[str, Any]) -> ReadPolicy:
    return ReadPolicy(
        reading.get("max_age"), reading.get("offline", False), reading.get("allow_stale", False)
    )


def _gathered(
    outcomes: Mapping[str, dict[str, pd.DataFrame] | StockDBError],
    searches: Mapping[str, Any],
    *,
    strict: bool,
) -> ScanResult:
    result = ScanResult()
    for symbol, outcome in outcomes.items():
        if isinstance(outcome, StockDBError):
            result.errors[symbol] = outcome
        else:
            result.searched.append(symbol)
    if result.errors and (strict or not result.searched):
        raise next(iter(result.errors.values()))
    for name in searches:
        parts = []
        for symbol in result.searched:
            found = outcomes[symbol]
            assert isinstance(found, dict)
            frame = found[name]
            result.notes.setdefault(name, {})[symbol] = dict(frame.attrs.get("stockdb", {}))
            parts.append(frame)
        result.frames[name] = _best_first(name, parts)
    return result


def _best_first(name: str, parts: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    if not filled:
        return parts[0].iloc[:0]
    for part in filled:
        part.attrs = {}
    frame = pd.concat(filled, ignore_index=True)
    if name == "arbitrage":
        tier = frame["class"].map(_TIER).fillna(0).to_numpy()
        # Without bound (NaN), an annualised return is larger than any other.
        value = frame["annualised"].fillna(np.inf).to_numpy(np.float64)
    else:
        tier = frame["flags"].map(lambda flags: "suspect_quote" in flags).to_numpy(int)
        value = frame[_BEST[name]].fillna(-np.inf).to_numpy(np.float64)
        if name == "synthetic":
            value = np.abs(value - 0.5)
    return frame.iloc[np.lexsort((-value, tier))].reset_index(drop=True)
