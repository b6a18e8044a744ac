"""Feature functions of the caller's own."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np
import pandas as pd

from stockdb.errors import DataError
from stockdb.models.arguments import demand_numbers

__all__ = ["Own"]

Function = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True, slots=True)
class Own:
    """A function from the bars of one symbol to one or more columns.

    Attributes
    ----------
    function : callable
        Takes a frame (open, high, low, close, volume; index ``date``) and gives a Series or a
        DataFrame with the same index. It never sees two symbols at once.
    name : str
        Of the column, where a Series without a name is given.
    warmup : int or None
        Bars before the first row that must be right; None loads all that are held.
    """

    function: Function = field(repr=False)
    name: str
    warmup: int | None = None

    @classmethod
    def of(cls, function: Function, warmup: int | None = None) -> Own:
        """Wrap a function under its own name."""
        name = getattr(function, "__name__", type(function).__name__)
        return cls(function, "own" if name == "<lambda>" else name, warmup)

    def describe(self) -> dict[str, Any]:
        """Return its name and a hash of its source (or its byte code), as JSON values."""
        return {"name": self.name, "warmup": self.warmup, "source": _digest(self.function)}

    def columns(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Call it.

        Parameters
        ----------
        bars : pandas.DataFrame

        Returns
        -------
        pandas.DataFrame
            float64; infinite values are NaN.

        Raises
        ------
        DataError
            It gives another index, or no numbers: numbers as text are none.
        """
        found = self.function(bars.copy())
        if isinstance(found, pd.Series):
            found = found.to_frame(self.name if found.name in {None, *bars.columns} else found.name)
        if not isinstance(found, pd.DataFrame) or not found.index.equals(bars.index):
            raise DataError(
                f"The feature function {self.name!r} did not return one row for each bar.",
                remedy="Return a Series or DataFrame with the index that it was given, NaN where "
                "there is no value.",
                column=self.name,
            )
        demand_numbers(found, self.name)
        values = found.to_numpy(np.float64, na_value=np.nan)
        values = np.where(np.isinf(values), np.nan, values)
        return pd.DataFrame(values, index=found.index, columns=[str(n) for n in found.columns])


def _digest(function: Function) -> str:
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):  # typed into a shell, or a callable object
        code = getattr(function, "__code__", None)
        text = type(function).__qualname__ if code is None else _text(code)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(code: CodeType) -> str:
    """Write code without the addresses that its representation has."""
    held = [_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return " ".join([code.co_code.hex(), *code.co_names, *held])
