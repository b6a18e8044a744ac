"""From frames to what the caller asked for: long form, Arrow, Polars."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from stockdb.access.provenance import ATTRS
from stockdb.errors import ConfigurationError

__all__ = ["check_output", "long_form", "output"]

_FORMATS = ("pandas", "arrow", "polars")


def check_output(name: str) -> None:
    """Refuse an unknown output format before anything is read."""
    if name not in _FORMATS:
        raise ConfigurationError(
            f"Unknown output_format {name!r}.", remedy=f"Use one of: {', '.join(_FORMATS)}."
        )


def long_form(frames: Mapping[str, pd.DataFrame], note: Mapping[str, Any]) -> pd.DataFrame:
    """Stack frames under a MultiIndex (symbol, date), in the order given.

    Parameters
    ----------
    frames : mapping of str to pandas.DataFrame
    note : mapping
        Goes into ``attrs['stockdb']``: one for all symbols, those without rows included,
        because pandas copies it on every column selection.
    """
    filled = {symbol: frame for symbol, frame in frames.items() if len(frame)}
    some = filled or dict(frames)
    if some:
        result = pd.concat(
            {symbol: frame.set_axis(frame.index, axis=0) for symbol, frame in some.items()},
            names=["symbol", "date"],
        )
    else:
        days = pd.DatetimeIndex([]).as_unit("ns")
        index = pd.MultiIndex.from_arrays([[], days], names=["symbol", "date"])
        columns = ["open", "high", "low", "close", "volume"]
        result = pd.DataFrame(index=index, columns=columns, dtype="float64")
    result.attrs = {ATTRS: dict(note)}
    return result


def output(frame: pd.DataFrame, name: str) -> Any:
    """Convert a frame to the format asked for.

    Returns
    -------
    pandas.DataFrame, pyarrow.Table or polars.DataFrame
        For Arrow and Polars the index becomes columns; Arrow keeps the note in the schema's
        metadata under ``stockdb``.

    Raises
    ------
    ConfigurationError
        Polars is asked for and not installed.
    """
    if name == "pandas":
        return frame
    import pyarrow as pa

    table = pa.Table.from_pandas(frame.reset_index(), preserve_index=False)
    note = json.dumps(frame.attrs.get(ATTRS, {}))
    table = table.replace_schema_metadata({ATTRS: note})
    if name == "arrow":
        return table
    try:
        import polars
    except ImportError:
        raise ConfigurationError(
            "output_format='polars' needs polars.", remedy="pip install polars"
        ) from None
    return polars.from_arrow(table)
