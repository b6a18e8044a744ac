"""Why values are NaN: counted for each column, so that a frame can say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.processing.spec import Column

__all__ = ["REASONS", "count_nans", "merge"]

#: What the reasons in a frame's attrs mean.
REASONS: Final = {
    "warm_up": "fewer bars are held before the row than the column's window",
    "missing_input": "a bar of the window lacks a value that the column needs",
    "future": "the bars that the label waits for are not held yet",
    "undefined": "the column's definition has no value there",
}
Mask = npt.NDArray[np.bool_]


def count_nans(
    bars: pd.DataFrame, computed: pd.DataFrame, keep: Mask, columns: Sequence[Column]
) -> dict[str, dict[str, int]]:
    """Count the NaN of each column by reason, in the rows that are kept.

    Parameters
    ----------
    bars : pandas.DataFrame
        What the columns were computed from; MultiIndex, rows of a symbol together.
    computed : pandas.DataFrame
    keep : ndarray of bool, shape (rows,)
    columns : sequence of Column

    Returns
    -------
    dict of str to dict of str to int
        Column -> reason -> number; columns without NaN are left out.
    """
    codes = np.asarray(bars.index.codes[0]) if isinstance(bars.index, pd.MultiIndex) else None
    rows = len(bars)
    begin = np.zeros(rows, np.int64)
    end = np.full(rows, rows)
    if codes is not None and rows:
        edges = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
        lengths = np.diff(np.append(edges, rows))
        begin = np.repeat(edges, lengths)
        end = np.repeat(edges + lengths, lengths)
    place = np.arange(rows)
    holes = {
        name: np.concatenate(([0], np.cumsum(bars[name].isna().to_numpy())))
        for name in {name for column in columns for name in column.inputs}
        if name in bars
    }
    result: dict[str, dict[str, int]] = {}
    nan = np.isnan(computed[[column.name for column in columns]].to_numpy(np.float64))
    nan &= keep[:, None]
    for place_of, column in enumerate(columns):
        left: Any = nan[:, place_of]
        if not left.any():
            continue
        first = place - column.window + 1
        missing = np.zeros(rows, bool)
        for name in column.inputs:
            if name in holes:
                missing |= holes[name][place + 1] > holes[name][np.maximum(first, begin)]
        reasons = {
            "warm_up": first < begin,
            "future": place + column.reach >= end,
            "missing_input": missing,
            "undefined": np.ones(rows, bool),
        }
        found: dict[str, int] = {}
        for reason, rows_of_it in reasons.items():
            here = left & rows_of_it
            if here.any():
                found[reason] = int(here.sum())
            left = left & ~rows_of_it
        result[column.name] = found
    return result


def merge(nans: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Add what the reasons mean, those that occur."""
    used = {reason for counts in nans.values() for reason in counts}
    return {
        "columns": nans,
        "reasons": {name: text for name, text in REASONS.items() if name in used},
    }
