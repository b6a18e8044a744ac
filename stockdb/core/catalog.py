"""Pure: dataset, symbol and date to object key and back; spellings and suggestions."""

from __future__ import annotations

import datetime as dt
import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from stockdb.errors import ConfigurationError, SymbolNotFoundError
from stockdb.settings import Dataset
from stockdb.types import DateRange

__all__ = [
    "KeyTemplate",
    "bars_datasets",
    "day_datasets",
    "overlaps",
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


def symbol_not_found(symbol: str, known: Iterable[str], where: str) -> SymbolNotFoundError:
    """Build the error for an unknown symbol, with suggestions where there are any."""
    suggestions = suggest(symbol, known)
    remedy = (
        f"Did you mean {' or '.join(repr(name) for name in suggestions)}?"
        if suggestions
        else "Call list_symbols() for the symbols that the bucket holds."
    )
    return SymbolNotFoundError(
        f"There is no symbol {symbol!r} in {where}.",
        remedy=remedy,
        symbol=symbol,
        suggestions=suggestions,
    )


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
        raise ConfigurationError(
            f"The bucket holds no {interval} bars.",
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
