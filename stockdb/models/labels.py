"""What a row's label reads: its value, its weight, and the last session it looks at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError, DataError
from stockdb.models.rows import Array, Rows

__all__ = ["Labels", "align_labels", "bars_read"]

_FORWARD: Final = re.compile(r"y_fwd_(\d+)", re.ASCII)
_BARRIER: Final = "y_tb"
_BARRIER_BARS: Final = 22  # the default of triple_barrier: 21 sessions from t + 1


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels aligned with the rows of a feature frame.

    Attributes
    ----------
    y : numpy.ndarray of float32, shape (n,)
        NaN where there is no label yet.
    weight : numpy.ndarray of float32, shape (n,)
    reach : numpy.ndarray of int32, shape (n,)
        Place in ``Rows.sessions`` of the last session that the label reads.
    horizon : int
        Sessions that the label looks ahead: the default embargo.
    """

    y: Array
    weight: Array
    reach: Array
    horizon: int


def bars_read(label: str, horizon: int | None, declared: Mapping[str, int]) -> tuple[int, int]:
    """Say how many bars a label reads ahead, and how many sessions its horizon has.

    Parameters
    ----------
    label : str
    horizon : int or None
        Both of them, from a caller who knows.
    declared : mapping of str to int
        Bars that the frame's own labels read ahead.

    Returns
    -------
    (int, int)
        ``y_fwd_h`` is C[t+1+h]/C[t+1]-1: it reads h + 1 bars ahead, its horizon is h. So with
        every declared label: what is decided at t is traded at t + 1.

    Raises
    ------
    ConfigurationError
        Nobody knows.
    """
    if horizon is not None:
        if horizon < 0:
            raise ConfigurationError(f"horizon={horizon}: a label cannot end before its row.")
        return horizon, horizon
    forward = _FORWARD.fullmatch(label)
    if forward is not None:
        return int(forward[1]) + 1, int(forward[1])
    if label in declared or label == _BARRIER:
        ahead = declared.get(label, _BARRIER_BARS)
        return ahead, max(0, ahead - 1)
    raise ConfigurationError(
        f"How far ahead the label {label!r} reads is unknown: no training row could be purged.",
        remedy="Give horizon=: the bars from a row to the last bar that its label reads.",
    )


def align_labels(
    frame: pd.DataFrame,
    rows: Rows,
    label: str,
    horizon: int | None,
    weight: str | None,
    declared: Mapping[str, int],
) -> Labels:
    """Take the label, its weight and its interval out of a sorted feature frame.

    Parameters
    ----------
    frame : pandas.DataFrame
    rows : Rows
        The same frame, taken apart.
    label : str
    horizon : int or None
        See :func:`bars_read`; the interval of ``y_tb`` ends at ``t1`` instead.
    weight : str or None
        Column of the weights; None takes ``weight`` for ``y_tb``, whose uniqueness it is,
        and 1 for any other label: with a fixed horizon all labels are equally unique.
    declared : mapping of str to int
        See :func:`bars_read`.

    Raises
    ------
    ConfigurationError
        A column is missing.
    DataError
        A label is infinite, or a label interval ends before its row.
    """
    y = _column(frame, label, "the label")
    ahead, length = bars_read(label, horizon, declared)
    if weight is None and label == _BARRIER and "weight" in frame:
        weight = "weight"
    ones = np.broadcast_to(np.float32(1.0), len(frame))  # takes no memory
    weights = ones if weight is None else _column(frame, weight, "weights")
    if label == _BARRIER and horizon is None:
        return Labels(y, weights, _reach_of_t1(frame, rows), length)
    return Labels(y, weights, _reach_of_bars(rows, ahead), length)


def _column(frame: pd.DataFrame, name: str, role: str) -> Array:
    if name not in frame:
        held = [column for column in map(str, frame.columns) if column.startswith("y_")]
        raise ConfigurationError(
            f"There is no column {name!r} for {role}.",
            remedy=f"Labels in this frame: {', '.join(held) or 'none'}. get_feature_matrix() "
            "adds those named in its labels=.",
        )
    values = frame[name].to_numpy(np.float32, na_value=np.nan)
    if np.isinf(values).any():
        raise DataError(f"The column {name!r} holds infinite values.")
    return np.asarray(values)


def _reach_of_bars(rows: Rows, ahead: int) -> Array:
    """Session of the bar that stands ``ahead`` bars later; the symbol's last at its end."""
    where = np.arange(len(rows))
    last = np.searchsorted(rows.code, rows.code, side="right") - 1
    return np.asarray(rows.day[np.minimum(where + ahead, last)])


def _reach_of_t1(frame: pd.DataFrame, rows: Rows) -> Array:
    if "t1" not in frame:
        raise ConfigurationError(
            f"The label {_BARRIER!r} needs the column 't1', the date of its first touch.",
            remedy="Keep 't1' in the frame, or give horizon=, the longest it can be.",
        )
    stamps = pd.DatetimeIndex(frame["t1"])
    # The first session at or after t1; a row without a label has no interval.
    reach = rows.sessions.searchsorted(stamps.fillna(rows.sessions[0]), side="left")
    reach = np.minimum(reach, len(rows.sessions) - 1).astype(np.int32)
    missing = np.asarray(stamps.isna())
    early = ~missing & (reach < rows.day)
    if early.any():
        row = frame.index[int(np.flatnonzero(early)[0])]
        raise DataError(f"The label of {row} ends before its row.")
    lost = missing & frame[_BARRIER].notna().to_numpy()
    if lost.any():
        row = frame.index[int(np.flatnonzero(lost)[0])]
        raise DataError(f"The label of {row} has no end: 't1' is missing.")
    return np.where(missing, rows.day, reach).astype(np.int32)
