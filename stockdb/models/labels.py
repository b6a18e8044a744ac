"""What a row's label reads: its value, its weight, and the last session it looks at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError, DataError
from stockdb.models.rows import Array, Rows

__all__ = ["Labels", "align_labels", "bars_read"]

_FORWARD: Final = re.compile(r"y_fwd_(\d+)", re.ASCII)
_BARRIER: Final = "y_tb"


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


def bars_read(label: str, horizon: int | None) -> int | None:
    """Bars from a row to the last bar that its label reads; None where ``t1`` says it.

    ``y_fwd_h`` is C[t+1+h]/C[t+1]-1 and reads h + 1 bars ahead.

    Raises
    ------
    ConfigurationError
        A label of the user's own, and no horizon.
    """
    if horizon is not None:
        if horizon < 0:
            raise ConfigurationError(f"horizon={horizon}: a label cannot end before its row.")
        return horizon
    forward = _FORWARD.fullmatch(label)
    if forward is not None:
        return int(forward[1]) + 1
    if label == _BARRIER:
        return None
    raise ConfigurationError(
        f"Nobody knows how far ahead the label {label!r} reads, so no training row could be purged.",
        remedy="Give horizon=: the bars from a row to the last bar that its label reads.",
    )


def align_labels(
    frame: pd.DataFrame, rows: Rows, label: str, horizon: int | None, weight: str | None
) -> Labels:
    """Take the label, its weight and its interval out of a sorted feature frame.

    Parameters
    ----------
    frame : pandas.DataFrame
    rows : Rows
        The same frame, taken apart.
    label : str
    horizon : int or None
        See :func:`bars_read`.
    weight : str or None
        Column of the weights; None takes ``weight`` for ``y_tb``, whose uniqueness it is,
        and 1 for any other label: with a fixed horizon all labels are equally unique.

    Raises
    ------
    ConfigurationError
        A column is missing.
    DataError
        A label is infinite, or a label interval ends before its row.
    """
    y = _column(frame, label, "the label")
    ahead = bars_read(label, horizon)
    if weight is None and label == _BARRIER and "weight" in frame:
        weight = "weight"
    ones = np.broadcast_to(np.float32(1.0), len(frame))  # takes no memory
    weights = ones if weight is None else _column(frame, weight, "weights")
    if ahead is None:
        reach = _reach_of_t1(frame, rows)
        length = int((reach - rows.day)[~np.isnan(y)].max(initial=1))
        return Labels(y, weights, reach, length)
    forward = _FORWARD.fullmatch(label)
    length = int(forward[1]) if forward is not None and horizon is None else ahead
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
    missing = stamps.isna()
    early = ~missing & (reach < rows.day)
    if early.any():
        row = frame.index[int(np.flatnonzero(early)[0])]
        raise DataError(f"The label of {row} ends before its row.")
    lost = missing & frame[_BARRIER].notna().to_numpy()
    if lost.any():
        row = frame.index[int(np.flatnonzero(lost)[0])]
        raise DataError(f"The label of {row} has no end: 't1' is missing.")
    return np.where(missing, rows.day, reach).astype(np.int32)
