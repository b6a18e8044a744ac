"""Checks of what callers give: a wrong kind is an error that names the argument and a remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stockdb.errors import ConfigurationError, DataError

__all__ = ["demand_numbers", "finite", "frame_of", "text", "whole"]


def whole(value: Any, name: str, least: int, what: str) -> int:
    """Read a whole number.

    Parameters
    ----------
    value : int or numpy.integer
    name : str
        Of the argument.
    least : int
    what : str
        What it counts, for the message.

    Raises
    ------
    ConfigurationError
        It is none (a bool and 5.0 are none: NaN and 1.5 would pass with them), or too small.

    Examples
    --------
    >>> whole(5, "embargo", 0, "sessions")
    5
    """
    good = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not good or value < least:
        raise ConfigurationError(
            f"{name}={value!r}: it counts {what}.",
            remedy=f"Give a whole number, {least} or more.",
        )
    return int(value)


def finite(value: Any, name: str, remedy: str) -> float:
    """Read a real number.

    Raises
    ------
    ConfigurationError
        It is none, NaN or infinite.
    """
    good = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not good or not np.isfinite(value):
        raise ConfigurationError(f"{name}={value!r} is no number.", remedy=remedy)
    return float(value)


def text(value: Any, name: str, remedy: str) -> str:
    """Read a name.

    Raises
    ------
    ConfigurationError
        It is no string.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name}={value!r} is no name.", remedy=remedy)
    return value


def frame_of(features: Any) -> pd.DataFrame:
    """Check that a feature frame is one; name its columns by strings where they are not.

    Raises
    ------
    DataError
        It is no DataFrame, or two of its columns have one name.
    """
    if not isinstance(features, pd.DataFrame):
        raise DataError(
            f"Features are a pandas DataFrame, not {type(features).__name__}.",
            remedy="Give a frame as get_feature_matrix() returns it.",
        )
    if not features.columns.is_unique:
        twice = features.columns[features.columns.duplicated()][0]
        raise DataError(
            f"The feature frame has the column {str(twice)!r} twice.",
            remedy="Rename one, or drop it.",
        )
    names = [str(name) for name in features.columns]
    return features if names == list(features.columns) else features.set_axis(names, axis=1)


def demand_numbers(found: pd.DataFrame, name: str) -> None:
    """Check that a feature function gave numbers: real, or yes and no.

    Raises
    ------
    DataError
        A column holds something else: numbers as text or as objects, dates, complex numbers.
    """
    for column, dtype in zip(found.columns, found.dtypes, strict=True):
        if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
            raise DataError(
                f"The feature function {name!r} did not return numbers: its column "
                f"{str(column)!r} holds {dtype}, not numbers.",
                remedy="Convert it with .astype(float), or encode classes as numbers.",
                column=str(column),
            )
