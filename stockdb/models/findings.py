"""What the leak tests found in a feature function, and how far they looked."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from stockdb.processing.leaks import Leak

__all__ = ["TESTS", "AuditReport"]

#: What each test does.
TESTS: Final = {
    "prefix": "computed from the bars up to t alone, rows up to t are the same, bit for bit",
    "perturb": "with other bars after t, rows up to t are the same, bit for bit",
    "argument": "the bars that the function is given are left as they are",
    "other_symbols": "with other bars of one symbol, the others' rows are the same",
    "alone": "a symbol computed alone gives the same rows as among others",
    "training": "with other bars from the first date of valid on, train X is the same, byte for "
    "byte",
    "label_reach": "no label reads farther ahead than it says, which training is purged by",
    "look_back": "the last rows from few bars and from all agree to 1e-6",
    "later_event": "a later split or dividend leaves every row as it is, to 1e-9",
}


@dataclass(frozen=True)
class AuditReport:
    """What the tests found; true where nothing.

    Attributes
    ----------
    leaks : tuple of Leak
        Each names the column, the symbol and date, and how far ahead that row reads. One whose
        test is ``argument`` is no leak: the function writes into the bars that it is given.
    tests : tuple of str
        Tests that were run; :data:`TESTS` says what they do.
    skipped : dict of str to str
        The others, and why.
    dates : int
        Dates t at which the data can be cut.
    cuts : dict of str to int
        Of these, how many ``prefix`` and ``perturb`` have tried. A row that reads the next bar
        shows at its own date alone, one that reads h bars ahead at any of h dates.
    refused : dict of str to str
        Tests whose function raised an error on some of the dates that were tried, and which.
    settled : bool
        Whether every column leaks, and ``prefix`` had nothing more to look for.
    """

    leaks: tuple[Leak, ...]
    tests: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    dates: int = 0
    cuts: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    settled: bool = False

    @property
    def ok(self) -> bool:
        """Whether no test found anything."""
        return not self.leaks

    @property
    def coverage(self) -> float:
        """Share of the dates at which ``prefix`` has cut, 0 to 1: of 1, no date was left out."""
        return self.cuts.get("prefix", 0) / self.dates if self.dates else 0.0

    def __bool__(self) -> bool:
        return self.ok

    def __iter__(self) -> Iterator[Leak]:
        return iter(self.leaks)

    def __len__(self) -> int:
        return len(self.leaks)

    def __str__(self) -> str:
        count = sum(leak.test != "argument" for leak in self.leaks)
        found = f"{count} leak{'s' if count != 1 else ''}" if count else "no leak found"
        written = len(self.leaks) - count
        if written:
            found += f", and {written} column{'s' if written != 1 else ''} written into"
        lines = [f"{found}; tests: {', '.join(self.tests)}"]
        lines += [f"  {leak}" for leak in self.leaks]
        lines += self._looked()
        lines += [f"  not tried: {name}: {why}" for name, why in self.refused.items()]
        lines += [f"  not tested: {name}: {why}" for name, why in self.skipped.items()]
        if any(leak.test in {"other_symbols", "alone"} for leak in self.leaks):
            lines.append(
                "  If the function is only ever given one symbol's bars, as get_feature_matrix() "
                "does, audit it with by_symbol=True."
            )
        if written:
            lines.append("  Begin the function with frame = frame.copy().")
        return "\n".join(lines)

    def _looked(self) -> list[str]:
        if not self.dates:
            return []
        tried = self.cuts.get("prefix", 0)
        line = f"  dates tried: {tried:,} of {self.dates:,} ({100 * self.coverage:.3g} %)"
        if self.settled:
            line += "; every column leaks, more were not needed"
        elif tried < self.dates:
            line += "; a leak confined to dates that were not tried would not be seen"
        return [line]

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def to_frame(self) -> pd.DataFrame:
        """One row a leak: test, column, symbol, date, reach (bars ahead), detail."""
        names = ["test", "column", "symbol", "date", "reach", "detail"]
        rows = [[getattr(leak, name) for name in names] for leak in self.leaks]
        return pd.DataFrame(rows, columns=names)
