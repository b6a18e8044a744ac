"""Bars with computed columns beside them."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from stockdb.errors import DataError
from stockdb.processing.evaluate import evaluate
from stockdb.processing.indicators import indicators as chosen
from stockdb.processing.spec import Column

__all__ = ["preprocess"]


def preprocess(
    frame: pd.DataFrame, indicators: str | Iterable[str | Column] | None = None
) -> pd.DataFrame:
    """Add indicators to a copy of bars.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns open, high, low, close, volume; one symbol, or MultiIndex (symbol, date);
        the dates of each symbol ascend.
    indicators : None, str, or iterable of str and Column
        See :func:`stockdb.processing.indicators.indicators`. By default ``returns``
        C[t]/C[t-1]-1, ``log_returns`` ln C[t]/C[t-1], ``typical_price`` (H+L+C)/3 and
        ``vwap``: for daily bars the session's typical price, for intraday bars the
        volume-weighted average since the session began; NaN where nothing was traded.

    Returns
    -------
    pandas.DataFrame
        A new frame with one float64 column more for each; of the frame's own columns of the
        same names the new ones take the place. NaN until warm, and where an input is missing
        or not positive.

    Raises
    ------
    DataError
        No frame; a needed column is missing, dates do not ascend or are not unique.
    ConfigurationError
        An unknown indicator; names those that are spelt alike.
    """
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"Bars are a pandas DataFrame, not {type(frame).__name__}.",
            remedy="Give a frame as get_historical_data() returns it.",
        )
    computed = evaluate(frame, chosen(indicators))
    kept = frame[[name for name in frame.columns if name not in computed.columns]]
    result = pd.concat([kept, computed], axis=1)
    result.attrs = dict(frame.attrs)
    return result
