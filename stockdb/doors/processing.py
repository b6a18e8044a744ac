"""Computed columns, asked for through ``MinIODataIntegration``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.processing.spec import Column

__all__ = ["ProcessingMethods"]


class ProcessingMethods:
    """What a client can have computed of bars; mixed into the front door."""

    def preprocess_data(
        self, df: pd.DataFrame, indicators: str | Sequence[str | Column] | None = None
    ) -> pd.DataFrame:
        """Add indicators to a copy of a frame of bars.

        Parameters
        ----------
        df : pandas.DataFrame
            Bars of one symbol, or of many (MultiIndex symbol, date); dates ascend.
        indicators : None, str, or list of str and Column
            None adds returns, log_returns, typical_price and vwap; ``'standard'`` a standard
            set, ``'all'`` the whole catalogue; else names out of :meth:`list_indicators`, or
            ``stockdb.processing.spec.Column`` objects of your own.

        Returns
        -------
        pandas.DataFrame
            One float64 column more for each; NaN until warm and where undefined, never
            infinite. Rows before the frame are not loaded: ask ``get_historical_data(...,
            preprocess=...)`` for rows that are warm from the first on.

        Raises
        ------
        DataError
            A needed column is missing.
        ConfigurationError
            An unknown indicator; names those that are spelt alike.
        """
        from stockdb.processing.preprocessing import preprocess

        return preprocess(df, indicators)

    def list_indicators(self) -> pd.DataFrame:
        """List the indicators: definition, unit, window and warm-up in bars, source.

        Returns
        -------
        pandas.DataFrame
            Index ``name``.
        """
        from stockdb.processing.indicators import catalogue

        return catalogue()
