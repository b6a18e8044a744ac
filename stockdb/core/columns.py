"""Which column of a file is which: header spellings, kinds and the order handed out.

Nothing here reads data; :func:`arrange` turns the names of a header into a :class:`Layout`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

__all__ = [
    "BARS",
    "BARS_UNDATED",
    "DAY_BARS",
    "DIVIDENDS",
    "FROM_CONTRACT",
    "GREEKS",
    "OPTIONS",
    "SPLITS",
    "TREASURY",
    "Column",
    "INTRADAY_BARS",
    "HeaderError",
    "Kind",
    "Known",
    "Layout",
    "Spec",
    "arrange",
    "fold",
    "snake",
]

#: ``day`` is a session date, ``stamp`` an instant, ``contract`` an option symbol from which
#: missing columns are taken, ``type`` call or put, ``probe`` a number if its values are.
Kind = Literal["day", "stamp", "float", "text", "contract", "type", "probe", "skip"]

FROM_CONTRACT: Final = ("underlying", "expiration", "type", "strike")
GREEKS: Final = ("delta", "gamma", "theta", "vega", "implied_volatility")


class HeaderError(ValueError):
    """A header that cannot be read; the caller knows key and line and raises a DataError."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return HeaderError, (self.message, self.remedy)


@dataclass(frozen=True, slots=True)
class Known:
    """A column that we have a name for.

    Attributes
    ----------
    name : str
        Our name.
    kind : Kind
    spellings : tuple of str
        Names in files, folded (see :func:`fold`), besides our own.
    blank : bool
        Whether a field may be empty.
    """

    name: str
    kind: Kind
    spellings: tuple[str, ...] = ()
    blank: bool = True


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: quick
class Spec:
    """What a kind of file may hold.

    Attributes
    ----------
    what : str
        For messages.
    known : tuple of Known
        In the order handed out.
    required : tuple of tuple of str
        Each entry lists alternatives, each of them blank-separated names; one must be there.
    extras : bool
        Whether other numeric columns are kept.
    date : str or None
        Column that an unnamed first column stands for: pandas writes its index so.
    """

    what: str
    known: tuple[Known, ...]
    required: tuple[tuple[str, ...], ...] = ()
    extras: bool = False
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one file, at its position."""

    name: str
    kind: Kind
    blank: bool = True
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """All columns of one file, in file order; those of kind ``skip`` are only counted.

    Attributes
    ----------
    columns : tuple of Column
    kept : tuple of (int, Column)
        Position and column of what is read.
    """

    columns: tuple[Column, ...]
    kept: tuple[tuple[int, Column], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Find what is kept, once: many files share a layout."""
        kept = tuple((i, c) for i, c in enumerate(self.columns) if c.kind != "skip")
        object.__setattr__(self, "kept", kept)


_DATE: Final = ("tradedate", "quotedate", "datetime", "timestamp", "time", "t")
_PRICES: Final = (
    Known("open", "float", ("o",)),
    Known("high", "float", ("h",)),
    Known("low", "float", ("l",)),
    Known("close", "float", ("c",)),
    Known("volume", "float", ("vol", "v")),
    Known("adj_close", "float", ("adjustclose", "adjustedclose")),
    Known("dividends", "float"),
    Known("stock_splits", "float"),
)
_SYMBOL: Final = ("ticker",)
_INDEX: Final = {"unnamed:0", "indexlevel0"}  # pandas, in CSV and in Parquet
_ANY_PRICE: Final = ("open", "high", "low", "close", "adj_close")


def _bars(what: str, kind: Kind, *required: tuple[str, ...]) -> Spec:
    date = Known("date", kind, _DATE, blank=False)
    known = (date, *_PRICES, Known("symbol", "text", _SYMBOL))
    return Spec(what, known, (*required, _ANY_PRICE), extras=True, date="date")


BARS: Final = _bars("bars", "day", ("date",))
BARS_UNDATED: Final = _bars("bars", "day")
INTRADAY_BARS: Final = _bars("intraday bars", "stamp", ("date",))
DAY_BARS: Final = Spec(
    "bars of a day",
    (
        Known("date", "day", _DATE, blank=False),
        *_PRICES,
        Known("symbol", "text", _SYMBOL, blank=False),
    ),
    (("symbol",), _ANY_PRICE),
    extras=True,
)
OPTIONS: Final = Spec(
    "an option chain",
    (
        Known("contract", "contract", ("optionsymbol", "contractsymbol", "optionid")),
        Known("underlying", "text", ("underlyingsymbol", "symbol", "ticker"), blank=False),
        Known("expiration", "day", ("expirationdate", "expiry", "expirydate"), blank=False),
        Known("type", "type", ("optiontype", "callput", "putcall", "cp"), blank=False),
        Known("strike", "float", ("strikeprice",), blank=False),
        Known("style", "text", ("exercisestyle",)),
        Known("bid", "float"),
        Known("bid_size", "float"),
        Known("ask", "float"),
        Known("ask_size", "float"),
        Known("volume", "float", ("vol",)),
        Known("open_interest", "float", ("oi",)),
        Known("quote_date", "day", ("tradedate", "date"), blank=False),
        *(
            Known(f"vendor_{name}", "float", (name.replace("_", ""),) + more)
            for name, more in zip(GREEKS, ((), (), (), (), ("iv", "impliedvol")), strict=True)
        ),
    ),
    (("contract", " ".join(FROM_CONTRACT)), ("bid",), ("ask",)),
)


def _events(what: str, amount: str, *spellings: str) -> Spec:
    known = (
        Known("symbol", "text", _SYMBOL, blank=False),
        Known("ex_date", "day", ("date", "exdividenddate"), blank=False),
        Known(amount, "float", spellings, blank=False),
    )
    return Spec(what, known, (("symbol",), ("ex_date",), (amount,)))


SPLITS: Final = _events("a table of splits", "ratio", "splitratio", "stocksplits", "split")
DIVIDENDS: Final = _events("a table of dividends", "amount", "dividend", "dividends")
TREASURY: Final = Spec(
    "a table of rates",
    (Known("date", "day", ("observationdate", *_DATE), blank=False),),
    (("date",),),
    extras=True,
    date="date",
)


def fold(name: str) -> str:
    """Drop case, blanks, underscores, hyphens and dots: what spellings differ in.

    Examples
    --------
    >>> fold("Adj Close") == fold("adj_close")
    True
    """
    return re.sub(r"[\s_.\-]+", "", name).casefold()


def snake(name: str) -> str:
    """Our style for a column that we have no name for.

    Examples
    --------
    >>> snake("barCount"), snake("Chg %")
    ('bar_count', 'chg_pct')
    """
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("%", " pct "))
    return re.sub(r"\W+|_+", "_", text).strip("_").lower()


def arrange(names: Iterable[str], spec: Spec, spellings: tuple[tuple[str, str], ...]) -> Layout:
    """Give every column of a header its name and kind.

    Parameters
    ----------
    names : iterable of str
        The header, in file order.
    spec : Spec
    spellings : tuple of (str, str)
        The dataset's own: name in the file, our name. They win over the usual ones; an
        empty name leaves the column out.

    Raises
    ------
    HeaderError
        A name appears twice, two columns mean the same, or a required one is missing.
    """
    labels = [name.strip() for name in names]
    folded = [fold(label) for label in labels]
    _refuse_twins(labels, folded)
    usual = {fold(s): known for known in spec.known for s in (known.name, *known.spellings)}
    own = {fold(theirs): ours for theirs, ours in spellings}
    claimed = {usual.get(fold(own[name])) for name in folded if name in own}
    columns = [
        _claim(label, own[name], spec, usual)
        if name in own
        else _recognise(label, name, spec, usual, claimed)
        for label, name in zip(labels, folded, strict=True)
    ]
    _name_index(columns, folded, spec)
    _refuse_synonyms(columns)
    _require(columns, spec, labels)
    have = {column.name for column in columns if column.kind != "skip"}
    if not have.issuperset(FROM_CONTRACT):  # they come from the contract: it must be readable
        columns = [replace(c, blank=c.blank and c.kind != "contract") for c in columns]
    return Layout(tuple(columns))


def _claim(label: str, ours: str, spec: Spec, usual: dict[str, Known]) -> Column:
    """Take a column for what the dataset's settings call it."""
    known = usual.get(fold(ours))
    if known is not None:
        return Column(known.name, known.kind, known.blank, label)
    if ours and not spec.extras:
        names = ", ".join(known.name for known in spec.known)
        raise HeaderError(
            f"the dataset's settings call {label!r} {ours!r}, which {spec.what} does not have",
            f"Use one of: {names}.",
        )
    return Column(ours, "float" if ours else "skip", True, label)


def _recognise(
    label: str, name: str, spec: Spec, usual: dict[str, Known], claimed: set[Known | None]
) -> Column:
    """Take a column by the usual spellings, unless another one claims its place."""
    known = usual.get(name)
    if known is not None:
        kind = "skip" if known in claimed else known.kind
        return Column(known.name, kind, known.blank, label)
    extra = snake(label)
    return Column(extra, "probe" if extra and spec.extras else "skip", True, label)


def _refuse_twins(labels: list[str], folded: list[str]) -> None:
    places: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(folded):
        if name:  # a comma too many at the end of a line makes an unnamed column
            places[name].append(position)
    twins = [[labels[i] for i in where] for where in places.values() if len(where) > 1]
    if twins:
        listed = "; ".join(" and ".join(repr(label) for label in group) for group in twins)
        raise HeaderError(
            f"the header names a column twice: {listed}",
            "Rename or remove one of them in the file.",
        )


def _name_index(columns: list[Column], folded: list[str], spec: Spec) -> None:
    unnamed = (i for i, name in enumerate(folded) if name in _INDEX or not (name or i))
    position = next(unnamed, None)
    if position is None:
        return
    dated = any(column.name == spec.date and column.kind != "skip" for column in columns)
    if spec.date is None or dated:  # a row counter
        columns[position] = Column("", "skip")
    else:
        known = next(known for known in spec.known if known.name == spec.date)
        columns[position] = Column(known.name, known.kind, known.blank, "(unnamed)")


def _refuse_synonyms(columns: list[Column]) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        if column.kind == "skip":
            continue
        if column.name in seen:
            first = seen[column.name]
            raise HeaderError(
                f"the columns {first!r} and {column.label!r} both mean {column.name!r}",
                "Say which one counts in the dataset's settings: "
                f"columns={{{first!r}: {column.name!r}}}.",
            )
        seen[column.name] = column.label


def _require(columns: list[Column], spec: Spec, labels: list[str]) -> None:
    have = {column.name for column in columns if column.kind != "skip"}
    missing = [
        " or ".join(
            f"({', '.join(option.split())})" if " " in option else option for option in options
        )
        for options in spec.required
        if not any(have.issuperset(option.split()) for option in options)
    ]
    if not missing:
        return
    found = ", ".join(repr(label) for label in labels[:40])
    separator = next((s for s in ";\t|" if len(labels) == 1 and s in labels[0]), None)
    if separator is not None:
        raise HeaderError(
            f"the columns are separated by {separator!r}, not by commas",
            "Write the file with commas.",
        )
    raise HeaderError(
        f"{spec.what} without a column {'; '.join(missing)}; found {found}",
        "Check that the first line is the header, or name the spelling in the dataset's "
        "settings: columns={'name in the file': 'our name'}.",
    )
