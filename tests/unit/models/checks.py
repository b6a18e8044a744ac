"""The leak and alignment tests of model inputs, so that they can be shown what they must catch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def broken_windows(windows: np.ndarray, end: np.ndarray) -> list[int]:
    """List the windows that do not hold consecutive sessions of one symbol up to their end.

    Parameters
    ----------
    windows : ndarray, shape (batch, seq_len)
        The feature ``stamp`` of each row of each window.
    end : ndarray, shape (batch,)
        What the last row's must be.
    """
    found = []
    for number, (window, last) in enumerate(zip(np.rint(windows).astype(int), end, strict=True)):
        wanted = list(range(int(last) - len(window) + 1, int(last) + 1))
        if window.tolist() != wanted or len({value // 1000 for value in wanted}) > 1:
            found.append(number)
    return found


def label_intervals(index: pd.MultiIndex, frame: pd.DataFrame, bars: int) -> list[tuple[Any, Any]]:
    """Count the interval of each label in the frame's own rows, symbol by symbol."""
    dates = {s: part.index.get_level_values(1).tolist() for s, part in frame.groupby(level=0)}
    result = []
    for symbol, date in index:
        own = dates[symbol]
        place = own.index(date)
        result.append((date, own[min(place + bars, len(own) - 1)]))
    return result


def overlaps(train: list[tuple[Any, Any]], other: list[tuple[Any, Any]]) -> int:
    """Count the pairs whose closed intervals have a day in common: every one with every one."""
    first = np.array([[a.value, b.value] for a, b in train], np.int64).reshape(-1, 2)
    count = 0
    for begin, end in other:
        count += int(((first[:, 0] <= end.value) & (first[:, 1] >= begin.value)).sum())
    return count


def state(prepared: Any) -> list[bytes]:
    """Everything that training sees, as bytes."""
    X = prepared.train.X
    if isinstance(X, dict):
        parts = [np.asarray(values) for values in X.values()]
    else:
        parts = [np.asarray(X), np.asarray(prepared.train.y), np.asarray(prepared.train.weight)]
    return [part.tobytes() for part in (*parts, prepared.scaler.center, prepared.scaler.scale)]
