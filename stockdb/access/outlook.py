"""What a read would cost, without doing it: objects, bytes, requests."""

from __future__ import annotations

import datetime as dt
import functools
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import pandas as pd

from stockdb.access.history import HistoryRequest
from stockdb.access.provenance import ATTRS
from stockdb.core.catalog import (
    bars_datasets,
    chosen_datasets,
    day_datasets,
    overlaps,
    source_intervals,
    spellings,
    symbol_not_found,
)
from stockdb.core.chains import ChainReader
from stockdb.core.freshness import Verdict, decide
from stockdb.core.planner import plan
from stockdb.core.reader import Reader
from stockdb.core.store import ObjectInfo
from stockdb.settings import Dataset

__all__ = ["outlook_of_bars", "outlook_of_chain", "outlook_of_chains"]


def outlook_of_bars(
    reader: Reader, symbols: Sequence[str], request: HistoryRequest
) -> pd.DataFrame:
    """Say for each symbol which objects would be read, by the listing and by what is cached.

    Parameters
    ----------
    reader : Reader
    symbols : sequence of str
    request : HistoryRequest

    Returns
    -------
    pandas.DataFrame
        A row an object: symbol, dataset, strategy (``cache``, ``revalidate``, ``object``), bytes
        and requests (int64; of the bodies, as listed), key, size (bytes of the object).

    Raises
    ------
    SymbolNotFoundError
        No dataset lists one of the symbols.

    Notes
    -----
    ``attrs['stockdb']['left_out']`` says where the range reaches into years that are held by day.
    """
    chosen = chosen_datasets(reader.settings.datasets, request.dataset)
    intervals = [interval.name for interval in source_intervals(chosen, request.interval)]

    @functools.cache
    def listed(interval: str) -> dict[str, _Listed]:
        return {
            name: _Listed(dataset, reader.discovery.symbols(name), _sizes(reader, name))
            for name, dataset in bars_datasets(chosen, interval)
            if overlaps(dataset, request.wanted)
        }

    rows: list[dict[str, Any]] = []
    for symbol in symbols:
        # Of the first length that is held of the symbol, as the read itself.
        found = next(filter(None, (_of(listed(interval), symbol) for interval in intervals)), None)
        if found is None:
            places = {name: place for one in intervals for name, place in listed(one).items()}
            known = [key for place in places.values() for key in place.keys]
            raise symbol_not_found(symbol, known, datasets=[*places])
        for name, (dataset, info) in found.items():
            row = _object(reader, dataset, info, request)
            rows.append({"symbol": symbol, "dataset": name, **row})
    frame = pd.DataFrame(rows)
    start = request.wanted.first_day("UTC")
    if start is not None and day_datasets(chosen, request.interval.name, request.wanted):
        frame.attrs[ATTRS] = {"left_out": "years that are held by day: they cost a file a day"}
    return frame


class _Listed(NamedTuple):
    """A dataset, its symbols' keys, and its objects by key."""

    dataset: Dataset
    keys: dict[str, str]
    objects: dict[str, ObjectInfo]


def _of(listed: dict[str, _Listed], symbol: str) -> dict[str, tuple[Dataset, ObjectInfo]]:
    """Find a symbol's objects, by dataset."""
    found = {}
    for name, (dataset, keys, objects) in listed.items():
        key = next((keys[s] for s in spellings(symbol) if s in keys), None)
        if key is not None:
            found[name] = (dataset, objects[key])
    return found


def _sizes(reader: Reader, name: str) -> dict[str, ObjectInfo]:
    return {info.key: info for info in reader.discovery.objects(name)}


def _object(
    reader: Reader, dataset: Dataset, info: ObjectInfo, request: HistoryRequest
) -> dict[str, Any]:
    """Judge one object as the read itself would."""
    held = reader.cache.peek(reader.entry_name(dataset, info.key))
    verdict = decide(
        None if held is None else held[1],
        time.time(),
        reader.freshness(dataset, request.policy),
    )
    strategy, nbytes, requests = "object", info.size, 1
    if verdict is Verdict.FRESH:
        strategy, nbytes, requests = "cache", 0, 0
    elif held is not None and held[0].metadata["etag"] == info.etag:
        strategy, nbytes = "revalidate", 0
    return {
        "strategy": strategy,
        "bytes": nbytes,
        "requests": requests,
        "key": info.key,
        "size": info.size,
    }


def outlook_of_chain(
    chains: ChainReader, symbol: str, date: dt.date | None, *, verify: bool
) -> pd.DataFrame:
    """List the ways to read one chain, in the order tried, with what each would cost."""
    place = chains.place(date)
    facts = chains.explain(symbol, place, verify=verify)
    rows = [{**asdict(step), "key": place.where, "size": facts.size} for step in plan(facts)]
    return pd.DataFrame(rows)


def outlook_of_chains(
    chains: ChainReader,
    symbol: str,
    first: dt.date | None,
    last: dt.date | None,
    *,
    verify: bool,
) -> pd.DataFrame:
    """Give the way that each day of a chain's history would be read first."""
    days = {
        date: outlook_of_chain(chains, symbol, date, verify=verify).iloc[:1]
        for date in chains.places(first, last)
    }
    if not days:
        return pd.DataFrame(columns=["date", "strategy", "bytes", "requests", "proved"])
    return pd.concat(
        [frame.assign(date=pd.Timestamp(date).as_unit("ns")) for date, frame in days.items()],
        ignore_index=True,
    )
