"""Bulk reads: joblib runs them, so any joblib backend can.

A failing symbol is a result like any other; the caller decides at the end.
"""

from __future__ import annotations

import functools
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import pandas as pd

from stockdb.access import Access, HistoryRequest, Provenance
from stockdb.access.callers import callers_level
from stockdb.access.parallel import each
from stockdb.access.shape import long_form
from stockdb.core.scope import Scope, current, entered
from stockdb.errors import DataError, StockDBError
from stockdb.types import parse_symbol, parse_symbols, parse_workers

__all__ = [
    "BulkResult",
    "bar",
    "bulk_download",
    "iterate",
    "names_of",
    "warn_of",
]

log = logging.getLogger("stockdb.bulk")
#: Symbols in flight, per worker, in the iterator form: what back-pressure allows.
_WINDOW: Final = 4
Outcome = tuple[str, pd.DataFrame | StockDBError, Provenance | None]


@dataclass(frozen=True)
class BulkResult(Mapping[str, pd.DataFrame]):
    """Frames by symbol, in the order asked, and the errors of the rest.

    Attributes
    ----------
    frames : dict of str to pandas.DataFrame
    errors : dict of str to StockDBError
    note : dict
        What ``to_frame().attrs['stockdb']`` says: the sum of the frames' own notes.
    """

    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    errors: dict[str, StockDBError] = field(default_factory=dict)
    note: dict[str, Any] = field(default_factory=dict, repr=False)

    def __getitem__(self, symbol: str) -> pd.DataFrame:
        if symbol in self.errors:
            raise self.errors[symbol]
        return self.frames[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<BulkResult: {len(self.frames)} frames, {len(self.errors)} errors>"

    def to_frame(self) -> pd.DataFrame:
        """All frames under a MultiIndex (symbol, date); failed symbols are not in it."""
        return long_form(self.frames, self.note)


def names_of(symbols: object) -> list[str]:
    """Give the symbols in the order asked, each once; what is no symbol stays and fails alone.

    Raises
    ------
    DataError
        Not a list at all, or an empty one.
    """
    if isinstance(symbols, Iterator):
        symbols = list(symbols)
    try:
        return parse_symbols(symbols)[0]
    except DataError as error:
        if error.symbol is None or not isinstance(symbols, Iterable) or isinstance(symbols, str):
            raise
    return list(dict.fromkeys(_name(item) for item in symbols))


def _name(item: object) -> str:
    try:
        return parse_symbol(item)
    except DataError:
        # Not 'nan' for NaN: that could be a ticker.
        return item if isinstance(item, str) else f"{item!r} ({type(item).__name__})"


def bulk_download(
    access: Access,
    symbols: list[str],
    request: HistoryRequest,
    *,
    max_workers: int | None = None,
    progress: bool | None = None,
    strict: bool = False,
) -> BulkResult:
    """Read many symbols.

    Parameters
    ----------
    access : Access
    symbols : list of str
        As :func:`names_of` gives them.
    request : HistoryRequest
    max_workers : int, optional
        ``max_workers`` of the settings by default.
    progress : bool, optional
        None shows a bar in a terminal or notebook only.
    strict : bool
        Raise after all have finished, where any failed.

    Raises
    ------
    StockDBError
        ``strict`` only: the first error, with all of them in ``errors``.
    """
    result = BulkResult()
    with bar(len(symbols), progress) as advance:
        parts: dict[str, Provenance] = {}
        for symbol, outcome, known in _run(access, symbols, request, max_workers, len(symbols)):
            if isinstance(outcome, StockDBError):
                result.errors[symbol] = outcome
                log.warning("%s: %s", symbol, outcome)
            else:
                result.frames[symbol] = outcome
            if known is not None:
                parts[symbol] = known
            advance()
    result.note.update(access.provenance.note_all(parts, result.errors))
    if strict and result.errors:
        raise _summary(result)
    return result


def iterate(
    access: Access,
    symbols: list[str],
    request: HistoryRequest,
    *,
    max_workers: int | None = None,
) -> Iterator[tuple[str, pd.DataFrame | StockDBError]]:
    """Yield one symbol after the other, in order, while only a few are held in memory."""
    workers = parse_workers(max_workers) or access.settings.performance.max_workers
    for symbol, outcome, _ in _run(access, symbols, request, max_workers, workers * _WINDOW):
        yield symbol, outcome


def warn_of(result: BulkResult) -> None:
    """Warn whoever called the library of the symbols that failed."""
    if result.errors:
        warnings.warn(
            f"{len(result.errors)} of {len(result.errors) + len(result.frames)} symbols failed: "
            + "; ".join(f"{symbol}: {error.message}" for symbol, error in result.errors.items()),
            stacklevel=callers_level(),
        )


def _run(
    access: Access,
    symbols: list[str],
    request: HistoryRequest,
    max_workers: int | None,
    window: int,
) -> Iterator[Outcome]:
    read = functools.partial(_read, access, request, current())
    for symbol, outcome, known in each(access, read, symbols, max_workers, window=window):
        if known is not None:
            access.provenance.add(known)
        yield symbol, outcome, known


def _read(access: Access, request: HistoryRequest, scope: Scope | None, symbol: str) -> Outcome:
    if scope is not None:
        scope.check()
    try:
        with entered(scope):
            frame = access.history(parse_symbol(symbol), request)
    except StockDBError as error:
        return symbol, error, None
    except Exception as error:  # whatever it is, the other symbols have not deserved it
        failure = StockDBError(
            f"{symbol}: unexpected {type(error).__name__}.",
            remedy="This is a defect of the library: read this symbol alone to see where.",
            symbol=symbol,
        )
        return symbol, failure, None
    return symbol, frame, access.provenance.of(frame)


@contextmanager
def bar(total: int, wanted: bool | None, unit: str = "symbol") -> Iterator[Callable[[], object]]:
    """Show progress where somebody looks: in a terminal or a notebook, unless told."""
    if wanted is None:
        wanted = total > 1 and (sys.stderr.isatty() or _in_notebook())
    if not wanted:
        yield lambda: None
        return
    # Without ipywidgets a notebook's own bar only warns: text does as well.
    drawn = "auto" if find_spec("ipywidgets") else "std"
    with import_module(f"tqdm.{drawn}").tqdm(total=total, unit=unit) as bar:
        yield bar.update


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def _summary(result: BulkResult) -> StockDBError:
    """Make the error of strict mode: of the first failure's kind, with all of them."""
    symbol, first = next(iter(result.errors.items()))
    others = len(result.errors) - 1
    more = f" ({others} more failed: {', '.join(list(result.errors)[1:6])})" if others else ""
    values = {**first.values, "errors": result.errors, "result": result, "symbol": symbol}
    return type(first)(f"{symbol}: {first.message}{more}", remedy=first.remedy, **values)
