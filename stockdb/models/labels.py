"""What a row's label reads: its value, its weight, and the last session it looks at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError, DataError
from stockdb.models.arguments import whole
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
        Nobody knows, or ``horizon`` is less than what is known.
    """
    forward = _FORWARD.fullmatch(label)
    known = int(forward[1]) + 1 if forward is not None else declared.get(label)
    if horizon is not None:
        horizon = whole(horizon, "horizon", 0, "bars from a row to the last that its label reads")
        if known is not None and horizon < known:
            raise _too_short(horizon, f"the label {label!r} reads {known} bars ahead", known)
        return horizon, horizon
    if known is None and label == _BARRIER:
        known = _BARRIER_BARS
    if known is not None:
        return known, max(0, known - 1)
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
        A label is infinite or no number, or a label interval ends before its row.
    """
    y = _column(frame, label, "the label")
    ahead, length = bars_read(label, horizon, declared)
    if weight is None and label == _BARRIER and "weight" in frame:
        weight = "weight"
    ones = np.broadcast_to(np.float32(1.0), len(frame))  # takes no memory
    weights = ones if weight is None else _column(frame, weight, "weights")
    if (weights < 0.0).any():
        raise DataError(
            f"{weight} holds negative weights.", remedy="A sample counts 0 or more.", column=weight
        )
    if label == _BARRIER and horizon is None:
        return Labels(y, weights, _reach_of_t1(frame, rows), length)
    reach = _reach_of_bars(rows, ahead)
    if label == _BARRIER and "t1" in frame:
        _demand_t1_within(frame, rows, reach, ahead)
    return Labels(y, weights, reach, length)


def _too_short(horizon: int, why: str, least: int) -> ConfigurationError:
    return ConfigurationError(
        f"horizon={horizon}: {why}; rows that read the next segment would be trained on.",
        remedy=f"Leave horizon out, or give {least} or more.",
    )


def _demand_t1_within(frame: pd.DataFrame, rows: Rows, reach: Array, ahead: int) -> None:
    """Refuse a horizon of the caller's that ends before the interval which the frame says."""
    late = np.flatnonzero(_reach_of_t1(frame, rows) > reach)
    if len(late):
        row = frame.index[int(late[0])]
        why = f"'t1' of {row} ends later"
        raise _too_short(ahead, why, max(ahead + 1, _BARRIER_BARS))


def _column(frame: pd.DataFrame, name: str, role: str) -> Array:
    if name not in frame:
        held = [column for column in map(str, frame.columns) if column.startswith("y_")]
        raise ConfigurationError(
            f"There is no column {name!r} for {role}.",
            remedy=f"Labels in this frame: {', '.join(held) or 'none'}. get_feature_matrix() "
            "adds those named in its labels=.",
        )
    dtype = frame[name].dtype
    if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
        raise DataError(
            f"The column {name!r} for {role} holds {dtype}, not numbers.",
            remedy="Convert it with .astype(float), or encode classes as numbers.",
        )
    values = frame[name].to_numpy(np.float32, na_value=np.nan)
    if np.isinf(values).any():
        raise DataError(
            f"The column {name!r} holds infinite values.",
            remedy="Write NaN where there is no value.",
        )
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
        raise DataError(
            f"The label of {row} ends before its row.",
            remedy="Correct 't1': the last date that the label reads.",
        )
    lost = missing & frame[_BARRIER].notna().to_numpy()
    if lost.any():
        row = frame.index[int(np.flatnonzero(lost)[0])]
        raise DataError(
            f"The label of {row} has no end: 't1' is missing.",
            remedy="Give 't1' wherever there is a label, or NaN for the label.",
        )
    return np.where(missing, rows.day, reach).astype(np.int32)
