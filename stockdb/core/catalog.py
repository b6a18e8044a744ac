"""Pure: dataset, symbol and date to object key and back; spellings and suggestions."""

from __future__ import annotations

import datetime as dt
import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from stockdb.errors import (
    ConfigurationError,
    NotFoundError,
    StockDBError,
    SymbolNotFoundError,
)
from stockdb.settings import Dataset
from stockdb.types import INTERVALS, DateRange, Interval

__all__ = [
    "KeyTemplate",
    "bars_datasets",
    "chosen_datasets",
    "dataset_named",
    "day_datasets",
    "held_nowhere",
    "not_held",
    "overlaps",
    "source_intervals",
    "spellings",
    "suggest",
    "symbol_not_found",
    "template",
]

_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_PATTERNS: Final = {
    "SYMBOL": r"(?P<symbol>[A-Za-z0-9^][A-Za-z0-9.\-^=_]*)",
    "YYYY-MM-DD": r"(?P<date>\d{4}-\d{2}-\d{2})",
    "YYYYMMDD": r"(?P<compact>\d{8})",
    "YYYY": r"(?P<year>\d{4})",
}
_SEPARATORS: Final = ".-_"


@dataclass(frozen=True)
class KeyTemplate:
    """A key with fields: ``stocks-2010-2025/{SYMBOL}.csv``.

    Attributes
    ----------
    text : str
    prefix : str
        What every key begins with: what a listing is asked for.
    """

    text: str
    prefix: str
    pattern: re.Pattern[str]

    @property
    def fields(self) -> set[str]:
        """Names of the fields, as written between the braces."""
        return set(_FIELD.findall(self.text))

    @property
    def flat(self) -> bool:
        """Whether one level of listing suffices: not for a folder, nor for a ``/`` further on."""
        return not self.text.endswith("/") and "/" not in self.text[len(self.prefix) :]

    def key(self, *, symbol: str | None = None, date: dt.date | None = None) -> str:
        """Fill the fields in."""
        values = {"SYMBOL": symbol}
        if date is not None:
            values |= {
                "YYYY-MM-DD": date.isoformat(),
                "YYYYMMDD": f"{date:%Y%m%d}",
                "YYYY": f"{date.year:04d}",
            }

        def fill(match: re.Match[str]) -> str:
            value = values.get(match[1])
            if value is None:
                raise ValueError(f"{self.text!r} needs {match[1]}")
            return value

        return _FIELD.sub(fill, self.text)

    def symbol_of(self, key: str) -> str | None:
        """Return the symbol in a key, as spelt there, or None where the key is another's."""
        match = self.pattern.fullmatch(key)
        return match.groupdict().get("symbol") if match else None

    def date_of(self, key: str) -> dt.date | None:
        """Return the date in a key, or None where it has none or is another dataset's."""
        match = self.pattern.fullmatch(key)
        text = match and (match.groupdict().get("date") or match.groupdict().get("compact"))
        if not text:
            return None
        try:
            return dt.date.fromisoformat(text)
        except ValueError:  # 2023-02-31 in a file name
            return None


def template(dataset: Dataset) -> KeyTemplate:
    """Compile a dataset's key template.

    Raises
    ------
    ConfigurationError
        An unknown field.
    """
    return _compile(dataset.key)


@functools.lru_cache(maxsize=256)
def _compile(text: str) -> KeyTemplate:
    parts, last, seen = [], 0, set()
    for match in _FIELD.finditer(text):
        if match[1] not in _PATTERNS:
            raise ConfigurationError(
                f"Key template {text!r} has an unknown field {{{match[1]}}}.",
                remedy=f"Use {', '.join('{' + name + '}' for name in _PATTERNS)}.",
            )
        pattern = _PATTERNS[match[1]]
        if match[1] in seen:  # {YYYY} twice must be the same year
            pattern = f"(?P={re.findall(r'P<(.*?)>', pattern)[0]})"
        seen.add(match[1])
        parts += [re.escape(text[last : match.start()]), pattern]
        last = match.end()
    parts.append(re.escape(text[last:]))
    prefix = text[: first.start()] if (first := _FIELD.search(text)) else text
    return KeyTemplate(text, prefix, re.compile("".join(parts)))


def spellings(symbol: str) -> list[str]:
    """All ways to write a share class: ``BRK.B`` is also ``BRK-B`` and ``BRK_B``.

    Examples
    --------
    >>> spellings("BRK.B")
    ['BRK.B', 'BRK-B', 'BRK_B']
    >>> spellings("AAPL")
    ['AAPL']
    """
    found = [symbol]
    for separator in _SEPARATORS:
        found.append(re.sub(f"[{re.escape(_SEPARATORS)}]", separator, symbol))
    return list(dict.fromkeys(found))


def suggest(symbol: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return at most three known symbols that look most like this one, best first."""
    # Tickers are short: two letters swapped or one too many must still be close enough.
    close = difflib.get_close_matches(symbol, list(known), n=100, cutoff=0.5)
    # Among 11,000 of them many are one letter away; the wrong one doubled is the usual slip.
    close.sort(key=lambda name: (_edits(symbol, name), set(name) != set(symbol)))
    return tuple(close[:3])


def _edits(a: str, b: str) -> int:
    """Count the letters to change, add, drop or swap with their neighbour."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        above, before_that = row, before
        row = [i]
        for j, other in enumerate(b, 1):
            best = min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                best = min(best, before_that[j - 2] + 1)
            row.append(best)
        before = above
    return row[-1]


def symbol_not_found(
    symbol: str, known: Iterable[str], where: str = "", *, datasets: Sequence[str] = ()
) -> SymbolNotFoundError:
    """Build the error for an unknown symbol, with suggestions where there are any.

    Parameters
    ----------
    symbol : str
    known : iterable of str
        Symbols that are held.
    where : str
        What was looked through, where it is not ``datasets``.
    datasets : sequence of str
    """
    suggestions = suggest(symbol, known)
    remedy = (
        f"Did you mean {' or '.join(repr(name) for name in suggestions)}?"
        if suggestions
        else "Call list_symbols() for the symbols that the bucket holds."
    )
    if datasets:
        where = f"dataset{'s' * (len(datasets) > 1)} {', '.join(map(repr, datasets))}"
    return SymbolNotFoundError(
        f"There is no symbol {symbol!r} in {where}.",
        remedy=remedy,
        symbol=symbol,
        suggestions=suggestions,
        datasets=list(datasets),
    )


def not_held(error: StockDBError) -> bool:
    """Whether a dataset does not hold the symbol, as far as its last listing tells."""
    return isinstance(error, SymbolNotFoundError) or error.values.get("listed") is False


def held_nowhere(errors: Sequence[StockDBError]) -> StockDBError:
    """Make one error of those of several datasets that do not hold a symbol."""
    for error in errors:  # who could not ask cannot say that there is none
        if not isinstance(error, SymbolNotFoundError):
            return error
    if len(errors) == 1:
        return errors[0]
    names = dict.fromkeys(name for error in errors for name in error.values["datasets"])
    close = {name for error in errors for name in error.values["suggestions"]}
    return symbol_not_found(str(errors[0].symbol), sorted(close), datasets=[*names])


def source_intervals(datasets: Mapping[str, Dataset], wanted: Interval) -> list[Interval]:
    """List the bars that are held of which others can be made: themselves, then the longest first.

    Parameters
    ----------
    datasets : mapping of str to Dataset
    wanted : Interval

    Returns
    -------
    list of Interval
        ``wanted`` alone where there are none: asking for it says what is there.
    """
    bars = [one for one in datasets.values() if one.kind == "bars" and one.duplicate_of is None]
    by_day = [one for one in datasets.values() if one.kind == "day_bars"]
    held = {INTERVALS[dataset.interval or "daily"] for dataset in bars or by_day}
    longest = sorted(held, key=lambda interval: (not interval.intraday, interval.minutes))[::-1]
    found = [
        interval
        for interval in longest
        if interval == wanted
        or (interval.name == "daily" and not wanted.intraday)
        or (interval.intraday and (not wanted.intraday or wanted.minutes % interval.minutes == 0))
    ]
    found.sort(key=lambda interval: interval != wanted)
    return found or [wanted]


def dataset_named(datasets: Mapping[str, Dataset], name: str) -> Dataset:
    """Look a dataset up by name.

    Raises
    ------
    NotFoundError
        No dataset of that name is configured.
    """
    found = datasets.get(name) if isinstance(name, str) else None
    if found is None:
        known = ", ".join(datasets)
        raise NotFoundError(
            f"There is no dataset {name!r}.", remedy=f"Configured are: {known}.", dataset=name
        )
    return found


def chosen_datasets(datasets: Mapping[str, Dataset], name: str | None) -> Mapping[str, Dataset]:
    """Keep the one dataset of bars that a caller named, a copy of another one included.

    Raises
    ------
    NotFoundError
        No dataset of that name is configured.
    ConfigurationError
        It holds no bars.
    """
    if name is None:
        return datasets
    found = dataset_named(datasets, name)
    if found.kind not in {"bars", "day_bars"}:
        usable = [one for one, held in datasets.items() if held.kind in {"bars", "day_bars"}]
        raise ConfigurationError(
            f"Dataset {name!r} holds no bars, but {found.kind}.",
            remedy=f"Bars are held by: {', '.join(usable)}.",
            dataset=name,
        )
    return {name: found.model_copy(update={"duplicate_of": None})}


def bars_datasets(datasets: Mapping[str, Dataset], interval: str) -> list[tuple[str, Dataset]]:
    """Return the datasets that hold bars of an interval, in the order of the settings.

    Raises
    ------
    ConfigurationError
        There are none; the message lists the intervals that are there.
    """
    usable = [
        (name, dataset)
        for name, dataset in datasets.items()
        if dataset.kind == "bars" and dataset.duplicate_of is None
    ]
    found = [item for item in usable if (item[1].interval or "daily") == interval]
    if not found:
        held = sorted({dataset.interval or "daily" for _, dataset in usable})
        who = f"Dataset {next(iter(datasets))!r}" if len(datasets) == 1 else "The bucket"
        raise ConfigurationError(
            f"{who} holds no {interval} bars.",
            remedy=f"Held are: {', '.join(held) or 'none'}. Another folder of bars is one entry "
            "in DATASETS of minio_config.py.",
            interval=interval,
            held=held,
        )
    return found


def day_datasets(
    datasets: Mapping[str, Dataset], interval: str, wanted: DateRange
) -> list[Dataset]:
    """Return the datasets of bars in a file a day that may hold part of a range."""
    return [
        dataset
        for dataset in datasets.values()
        if dataset.kind == "day_bars"
        and (dataset.interval or "daily") == interval
        and dataset.duplicate_of is None
        and overlaps(dataset, wanted)
    ]


def overlaps(dataset: Dataset, wanted: DateRange) -> bool:
    """Whether a dataset may hold part of a range, by the dates that the settings give it."""
    first, last = wanted.first_day(dataset.timezone), wanted.last_day(dataset.timezone)
    begins = None if dataset.start is None else pd.Timestamp(dataset.start)
    ends = None if dataset.end is None else pd.Timestamp(dataset.end)
    too_late = first is not None and ends is not None and first > ends
    too_early = last is not None and begins is not None and last < begins
    return not (too_late or too_early)
