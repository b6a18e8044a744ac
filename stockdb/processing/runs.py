"""Runs of rows: those without NaN, on which TA-Lib is called, and those of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["by_runs", "run_length"]


def by_runs(
    function: Callable[..., Any],
    arrays: Sequence[npt.NDArray[np.float64]],
    gaps: npt.NDArray[np.bool_],
    outputs: int = 1,
) -> Any:
    """Call a function on each run of rows outside the gaps, and put the results in place.

    Parameters
    ----------
    function : callable
        Takes the arrays, cut to one run, and gives one array of its length, or a tuple; NaN
        where a run is shorter than what it looks back on.
    arrays : sequence of ndarray of float64, shape (rows,)
    gaps : ndarray of bool, shape (rows,)
    outputs : int
        How many arrays the function gives.

    Returns
    -------
    ndarray of float64, shape (rows,), or a tuple of them
        NaN in the gaps.

    Examples
    --------
    >>> values = np.array([1.0, 2.0, np.nan, 5.0, 6.0])
    >>> by_runs(np.cumsum, [values], np.isnan(values))
    array([ 1.,  3., nan,  5., 11.])
    """
    block = np.full((outputs, len(gaps)), np.nan)
    edges = np.flatnonzero(np.diff(np.concatenate(([True], gaps, [True])).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2).tolist():
        block[:, begin:end] = function(*(values[begin:end] for values in arrays))
    return block[0] if outputs == 1 else tuple(block)


def run_length(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Count how many flags in a row are set, up to and including each.

    Examples
    --------
    >>> run_length(np.array([True, True, False, True]))
    array([1, 2, 0, 1])
    """
    if not flags.any():
        return np.zeros(len(flags), np.int64)
    position = np.arange(1, len(flags) + 1)
    last_clear = np.maximum.accumulate(np.where(flags, 0, position))
    return position - last_clear
