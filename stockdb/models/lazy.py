"""The feature matrix as a lazy Dask frame: computed where the cluster is, kept where it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.access import Access
from stockdb.access.parallel import sent
from stockdb.errors import ConfigurationError
from stockdb.models.arguments import whole
from stockdb.models.matrix import ask, compare, stack
from stockdb.models.part import Part, Task
from stockdb.models.sets import Plan
from stockdb.types import DateLike

if TYPE_CHECKING:
    from dask.dataframe import DataFrame as DaskFrame

__all__ = ["lazy_matrix"]

Across: TypeAlias = tuple[pd.DatetimeIndex, dict[str, npt.NDArray[np.float64]]]


def lazy_matrix(
    access: Access,
    symbols: Iterable[str],
    plan: Plan,
    start: DateLike | None,
    end: DateLike | None,
    *,
    interval: str,
    adjust: str,
    rate: float | None,
    partition_symbols: int,
    **reading: Any,
) -> DaskFrame:
    """Describe a feature matrix; see ``UnifiedDataInterface.get_feature_matrix``.

    The first symbol is computed at once: its columns are those of all, and a name that is
    misspelt in the settings shows now and not on a cluster.
    """
    partition_symbols = whole(partition_symbols, "partition_symbols", 1, "symbols of a part")
    try:
        import dask.dataframe as dd
        from dask.delayed import delayed
    except ImportError:
        raise ConfigurationError(
            "engine='dask' needs Dask.",
            remedy="pip install 'minio-data-integration[dask]'",
        ) from None
    names, request, _ = ask(access, symbols, start, end, interval, adjust, reading)
    task = Task(access, request, plan, rate)
    meta = _by_symbol(stack([task(names[0])], plan)).iloc[:0]
    groups = [names[n : n + partition_symbols] for n in range(0, len(names), partition_symbols)]
    read = [delayed(_read, pure=False)(task, group) for group in groups]
    compared: list[Any] = [{}] * len(groups)
    if any(column.across is not None for column in plan.columns):
        # Each date needs all symbols: their inputs meet in one place, and nothing else does.
        met = delayed(_compare)([delayed(_across)(parts) for parts in read], plan)
        compared = [met[place] for place in range(len(groups))]
    frames = [delayed(_frame)(*each, plan) for each in zip(read, compared, strict=True)]
    divisions = (*(group[0] for group in groups), names[-1])
    lazy: DaskFrame = dd.from_delayed(frames, meta=meta, divisions=divisions, prefix="features")
    return lazy


def _read(task: Task, symbols: Sequence[str]) -> list[Part]:
    return [sent(task, symbol) for symbol in symbols]


def _filled(parts: list[Part]) -> list[Part]:
    return [part for part in parts if len(part.index)] or parts[:1]


def _across(parts: list[Part]) -> list[Across]:
    return [(part.index, part.across) for part in _filled(parts)]


def _compare(groups: list[list[Across]], plan: Plan) -> list[dict[str, npt.NDArray[np.float64]]]:
    """Compare all symbols, and give each group its rows."""
    compared = compare([known for group in groups for known in group], plan)
    edges = np.cumsum([0, *(sum(len(index) for index, _ in group) for group in groups)])
    return [
        {name: values[begin:end] for name, values in compared.items()}
        for begin, end in zip(edges[:-1], edges[1:], strict=True)
    ]


def _frame(
    parts: list[Part], compared: dict[str, npt.NDArray[np.float64]], plan: Plan
) -> pd.DataFrame:
    copies = [replace(part) for part in parts]  # which are emptied: the task's result stays
    return _by_symbol(stack(copies, plan, compared or None))


def _by_symbol(frame: pd.DataFrame) -> pd.DataFrame:
    """Give rows an index that Dask knows: symbols, with the date as a column."""
    flat = frame.reset_index("date")
    flat.attrs = {}
    return flat
