"""The front door to data prepared for one trading algorithm.

>>> from trading_data_adapter import TradingDataAdapter
>>> adapter = TradingDataAdapter()                                       # doctest: +SKIP
>>> adapter.get_data_for_algorithm('momentum_tracker', 'AAPL', lookback_days=60)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from minio_data_integration import MinIODataIntegration
from stockdb.types import DateLike

__all__ = ["TradingDataAdapter"]


class TradingDataAdapter:
    """Data per algorithm, out of the same bucket and cache.

    Parameters
    ----------
    minio : MinIODataIntegration, optional
        A client to share; one from the settings otherwise.

    Raises
    ------
    ConfigurationError
        No endpoint is configured.
    """

    def __init__(self, minio: MinIODataIntegration | None = None) -> None:
        self.minio = minio if minio is not None else MinIODataIntegration()

    def list_algorithms(self) -> list[str]:
        """List the algorithms.

        Returns
        -------
        list of str
            Names for :meth:`describe` and :meth:`get_data_for_algorithm`.
        """
        from stockdb.algorithms import ALGORITHMS

        return list(ALGORITHMS)

    def describe(self, algorithm: str) -> dict[str, Any]:
        """Return an algorithm's specification as JSON values.

        Parameters
        ----------
        algorithm : str
            A name of :meth:`list_algorithms`.

        Returns
        -------
        dict
            ``algorithm``, ``summary``, ``available`` (False where this release has the
            specification but not the data), ``index``, ``bars`` (columns of the bars that come
            first), ``columns`` (each with name, definition, unit, window and warm-up in bars,
            source, role ``feature`` or ``label``, scale_free, cross_sectional, reach in bars,
            inputs), ``parameters`` (name, default, meaning), ``notes`` (assumptions and
            approximations), ``warmup`` (bars loaded on top), ``spec`` (hash of the columns).

        Raises
        ------
        ConfigurationError
            No such algorithm; suggests the nearest names.
        """
        from stockdb.algorithms import find

        return find(algorithm).describe()

    def get_data_for_algorithm(
        self,
        algorithm: str,
        symbols: str | Sequence[str],
        lookback_days: int = 252,
        end_date: DateLike | None = None,
        **params: Any,
    ) -> pd.DataFrame:
        """Compute the data of one algorithm.

        Parameters
        ----------
        algorithm : str
            A name of :meth:`list_algorithms`.
        symbols : str or list of str
        lookback_days : int
            Sessions returned, counted in bars held. What windows and averages look back on is
            loaded on top, so that the first row is as warm as the last: 60 sessions are the
            last 60 of what ten years would give, to 1e-6.
        end_date : date-like, optional
            The data end at the newest held bar on or before it; None is the newest.
        **params
            As ``describe(algorithm)['parameters']`` says. All algorithms take ``adjust``
            (``auto`` goes as far as the bucket's splits and dividends allow; ``none``,
            ``splits``, ``all`` raise where that cannot be done), ``max_age``, ``offline`` and
            ``allow_stale``.

        Returns
        -------
        pandas.DataFrame
            The bars, then the columns of ``describe(algorithm)['columns']``, float64 (``t1`` a
            date). A string gives the index ``date``, a list MultiIndex (symbol, date);
            pairs_trading always has (y, x, date). NaN where undefined, never infinite;
            ``df.attrs['stockdb']['nan']`` counts them by reason. The attrs also hold the hash
            of the specification, the adjustment, what was assumed, and the symbols that failed.

        Raises
        ------
        ConfigurationError
            No such algorithm or parameter, or one without data in this release.
        SymbolNotFoundError
            No symbol could be read; where some could, the others are warned of and listed.
        StockDBError
            As :meth:`MinIODataIntegration.get_historical_data`.
        """
        from stockdb.algorithms import find, get_data

        return get_data(
            self.minio._access, find(algorithm), symbols, lookback_days, end_date, **params
        )
