"""Feature functions that write into the bars that they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from stockdb.processing.leaks import Leak

__all__ = ["Watched"]

Function = Callable[[pd.DataFrame], pd.DataFrame | pd.Series]


class Watched:
    """A feature function that is watched for what it writes into its argument.

    Parameters
    ----------
    function : callable
        Takes a frame of bars.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self._changed: dict[str, Leak] = {}

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame | pd.Series:
        """Call it, and compare the bars before with those after."""
        before = frame.copy()
        found = self.function(frame)
        found = found.copy() if isinstance(found, pd.DataFrame | pd.Series) else found
        if not frame.equals(before):
            for name in [*before.columns, *frame.columns]:
                self._look(str(name), name, before, frame)
            if not frame.index.equals(before.index):
                self._note("index", before, 0, "of the bars that the function is given is changed")
        return found

    def _look(self, text: str, name: Any, before: pd.DataFrame, after: pd.DataFrame) -> None:
        if name not in before:
            self._note(text, before, 0, "is added to the bars that the function is given")
        elif name not in after:
            self._note(text, before, 0, "is taken out of the bars that the function is given")
        elif after.index.equals(before.index) and not after[name].equals(before[name]):
            one, other = before[name].to_numpy(object), after[name].to_numpy(object)
            row = int(np.argmax(~((one == other) | (pd.isna(one) & pd.isna(other)))))
            self._note(text, before, row, "is written into the bars that the function is given")

    def _note(self, name: str, frame: pd.DataFrame, row: int, detail: str) -> None:
        label: Any = frame.index[row]
        symbol, date = (str(label[0]), label[-1]) if isinstance(label, tuple) else (None, label)
        leak = Leak("argument", name, symbol, pd.Timestamp(date), None, detail)
        self._changed.setdefault(name, leak)

    def written(self) -> list[Leak]:
        """Give the columns of the bars that it has changed, added or taken out."""
        return list(self._changed.values())
