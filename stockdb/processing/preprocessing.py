"""The columns that every algorithm starts from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockdb.errors import DataError

__all__ = ["preprocess"]


def preprocess(frame: pd.DataFrame) -> pd.DataFrame:
    """Add ``returns``, ``log_returns``, ``typical_price`` and ``vwap`` to daily bars.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns open, high, low, close, volume; one symbol, or MultiIndex (symbol, date).

    Returns
    -------
    pandas.DataFrame
        A new frame with float64 columns: ``returns`` C[t]/C[t-1]-1; ``log_returns``
        ln C[t]/C[t-1]; ``typical_price`` (H+L+C)/3; ``vwap``, for daily bars the session's
        typical price, NaN where nothing was traded. NaN in the first row of each symbol,
        and where a price is missing or not positive.

    Raises
    ------
    DataError
        A needed column is missing.
    """
    missing = [name for name in ("high", "low", "close", "volume") if name not in frame]
    if missing:
        raise DataError(
            f"Preprocessing needs the columns {', '.join(missing)}.",
            remedy="Give a frame as get_historical_data() returns it.",
        )
    close = frame["close"].where(frame["close"] > 0)
    if isinstance(frame.index, pd.MultiIndex):
        previous = close.groupby(level=0).shift(1)
    else:
        previous = close.shift(1)
    typical = (frame["high"] + frame["low"] + frame["close"]) / 3.0
    result = frame.assign(
        returns=close / previous - 1.0,
        log_returns=np.log(close / previous),
        typical_price=typical,
        vwap=typical.where(frame["volume"] > 0),
    )
    result.attrs = dict(frame.attrs)
    return result
