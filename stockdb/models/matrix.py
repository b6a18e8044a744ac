"""The feature matrix: read and compute symbol by symbol, in parallel, then stack."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.access import Access, HistoryRequest
from stockdb.access.callers import callers_level
from stockdb.access.load import widest_adjustment
from stockdb.access.parallel import each
from stockdb.access.provenance import ATTRS
from stockdb.core.reader import ReadPolicy
from stockdb.errors import ConfigurationError, DataError
from stockdb.models.arguments import whole
from stockdb.models.note import note_of
from stockdb.models.part import Part, Task
from stockdb.models.sets import Plan
from stockdb.types import DateLike, parse_symbol, parse_symbols

__all__ = ["ask", "build", "compare", "run_here", "stack"]

#: Bytes of an array that several parts share: beyond what glibc keeps for itself (32 MiB).
_SLAB: Final = 48 * 1024**2
_POLICY: Final = ("max_age", "offline", "allow_stale")


def run_here(task: Task, symbols: Sequence[str], max_workers: int | None) -> Iterator[Part]:
    """Run by joblib: threads, or whatever the caller's ``joblib.parallel_config`` says."""
    yield from each(task.access, task, symbols, max_workers)


def ask(
    access: Access,
    symbols: Iterable[str],
    start: DateLike | None,
    end: DateLike | None,
    interval: str,
    adjust: str,
    reading: dict[str, Any],
) -> tuple[list[str], HistoryRequest, str | None]:
    """Parse what is asked: symbols in their order, rows, and why not adjusted further."""
    if not isinstance(symbols, Iterable):
        parse_symbols(symbols)  # says what symbols are
    names = sorted({parse_symbol(symbol) for symbol in symbols})
    if not names:
        raise ConfigurationError("No symbol is asked for.", remedy="Give one or more.")
    held = {name: reading[name] for name in _POLICY if name in reading}
    chosen, why = widest_adjustment(access, adjust, ReadPolicy(**held))
    request = access.request(start, end, interval, adjust=chosen, **reading)
    if request.interval.name in {"weekly", "monthly"}:
        raise ConfigurationError(
            f"A feature matrix has no {request.interval.name} rows.",
            remedy="Use daily or intraday bars, with longer windows.",
        )
    return names, request, why


def build(
    access: Access,
    symbols: Iterable[str],
    plan: Plan,
    start: DateLike | None,
    end: DateLike | None,
    *,
    interval: str = "daily",
    adjust: str = "auto",
    rate: float | None = None,
    max_workers: int | None = None,
    run: Callable[[Task, Sequence[str], int | None], Iterable[Part]] = run_here,
    **reading: Any,
) -> pd.DataFrame:
    """Compute a feature matrix; see ``UnifiedDataInterface.get_feature_matrix``.

    Parameters
    ----------
    run : callable
        Does the task for each symbol, wherever, and gives the parts in any order.
    **reading
        ``validate``, ``max_age``, ``offline``, ``allow_stale``.
    """
    names, request, why = ask(access, symbols, start, end, interval, adjust, reading)
    if max_workers is not None:
        max_workers = whole(max_workers, "max_workers", 1, "workers")
    parts = _gathered(run(Task(access, request, plan, rate), names, max_workers))
    for part in parts:
        for known in part.provenance:
            access.provenance.add(known)
    call = {
        "symbols": names,
        "features": plan.named,
        "labels": list(plan.asked[1]),
        "start": _text(request.wanted.start),
        "end": _text(request.wanted.end),
        "interval": request.interval.name,
        "adjust": request.adjust,
        "rate": rate,
        "validate": request.validate,
        "today": str(access.pins.today if access.pins else dt.datetime.now(dt.UTC).date()),
    }
    note = note_of(access, parts, plan, call)
    if why:
        note["adjustment_reason"] = why
    frame = stack(parts, plan)
    note["made"] = json.dumps({"rows": len(frame), "columns": list(frame.columns)})
    if not len(frame):
        alone = access.history(names[0], request)  # without the bars to warm up on
        note["empty_reason"] = alone.attrs[ATTRS]["empty_reason"]
    frame.attrs = {ATTRS: note}
    _warn_of(note["carried"], parts)
    return frame


def _warn_of(carried: dict[str, str], parts: list[Part]) -> None:
    if carried:
        symbol, day = next(iter(carried.items()))
        warnings.warn(
            f"{len(carried)} symbols are declared as unadjusted and do not step at their splits: "
            f"{symbol} on {day}. If their prices are adjusted already, they have now been divided "
            "twice: say adjustment='splits' (or 'all') for the dataset in minio_config.py.",
            stacklevel=callers_level(),
        )
    chains = {part.symbol: part.notes.get("chains", {}) for part in parts}
    failed = {symbol: note for symbol, note in chains.items() if note.get("failed")}
    if failed:
        symbol, first = next(iter(failed.items()))
        day, reason = next(iter(first["days_failed"].items()))
        warnings.warn(
            f"Days of chains could not be read for {len(failed)} symbols, and are NaN: "
            f"{symbol} on {day}: {reason}",
            stacklevel=callers_level(),
        )


def _gathered(parts: Iterable[Part]) -> list[Part]:
    """Take parts as they come, in any order; their blocks move into a few large arrays.

    Of many small ones the allocator gives nothing back when they are freed: the matrix and all
    of its parts would be in memory at once.
    """
    found: list[Part] = []
    slab, used, total = np.empty((0, 0), np.float32), 0, 0
    for part in parts:
        columns, rows = part.block.shape
        if columns != len(slab) or used + rows > slab.shape[1]:
            most = _SLAB // (part.block.itemsize * max(columns, 1))
            size = max(rows, min(most, 4 * (total + rows)))
            slab, used = np.empty((columns, size), np.float32), 0
        place = slab[:, used : used + rows]
        place[:] = part.block
        part.block, used, total = place, used + rows, total + rows
        found.append(part)
    return sorted(found, key=lambda part: part.symbol)


def _text(stamp: pd.Timestamp | None) -> str | None:
    return None if stamp is None else stamp.isoformat()


def stack(
    parts: list[Part], plan: Plan, compared: dict[str, npt.NDArray[np.float64]] | None = None
) -> pd.DataFrame:
    """Stack parts, letting go of each as it is copied.

    Parameters
    ----------
    compared : dict of str to ndarray, optional
        Cross-sectional columns, where more symbols than these were compared.
    """
    filled = [part for part in parts if len(part.index)]
    some = filled or parts[:1]
    names = some[0].names
    different = next((part for part in some if part.names != names), None)
    if different is not None:
        raise DataError(
            f"The feature functions gave other columns for {different.symbol} than for "
            f"{some[0].symbol}.",
            remedy="Columns must not depend on the data.",
            symbol=different.symbol,
        )
    rows = [len(part.index) for part in some]
    index = _index(some, rows)
    edges = np.cumsum([0, *rows])
    block = np.empty((len(names), edges[-1]), np.float32)
    if compared is None:
        compared = compare([(part.index, part.across) for part in some], plan)
    stamps = {name: np.concatenate([part.dates[name] for part in some]) for name in some[0].dates}
    for part, begin, end in zip(some, edges[:-1], edges[1:], strict=True):
        block[:, begin:end] = part.block
        part.block = np.empty((len(names), 0), np.float32)  # a view would keep all of it
    for name, values in compared.items():
        block[names.index(name)] = values
    frame = pd.DataFrame(block.T, index=index, columns=pd.Index(names), copy=False)
    for name, values in stamps.items():
        label = next(n for n, c in enumerate(plan.labels) if c.name == name)
        frame.insert(len(names) - (len(plan.labels) - len(stamps)) + label, name, values)
    return frame


def compare(
    known: Sequence[tuple[pd.DatetimeIndex, dict[str, npt.NDArray[np.float64]]]], plan: Plan
) -> dict[str, npt.NDArray[np.float64]]:
    """Compute the columns that compare symbols, over all rows in the order given."""
    columns = [column for column in plan.columns if column.across is not None]
    if not columns:
        return {}
    naive = (index if index.tz is None else index.tz_convert(None) for index, _ in known)
    dates = np.concatenate([index.to_numpy() for index in naive])
    return {
        column.name: column.across(np.concatenate([held[column.name] for _, held in known]), dates)
        for column in columns
        if column.across is not None
    }


def _index(parts: list[Part], rows: list[int]) -> pd.MultiIndex:
    dates = parts[0].index
    for part in parts[1:]:
        if not part.index.equals(dates):
            dates = dates.union(part.index)
    codes = [
        np.repeat(np.arange(len(parts)), rows),
        np.concatenate([dates.get_indexer(part.index) for part in parts]),
    ]
    return pd.MultiIndex(
        levels=[pd.Index([part.symbol for part in parts]), dates],  # type: ignore[list-item]
        codes=codes,  # type: ignore[arg-type]
        names=["symbol", "date"],
        verify_integrity=False,
    )
