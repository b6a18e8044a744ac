"""The front door: market data out of a MinIO bucket, as validated frames.

>>> from minio_data_integration import MinIODataIntegration
>>> minio = MinIODataIntegration()                                    # doctest: +SKIP
>>> df = minio.get_historical_data(symbol='AAPL', start_date='2024-01-01',
...                                end_date='2024-01-31', interval='daily')  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from stockdb.doors.cache import CacheMethods
from stockdb.doors.ingest import IngestMethods
from stockdb.doors.live import LiveMethods
from stockdb.doors.models import ModelMethods
from stockdb.doors.options import OptionMethods
from stockdb.doors.processing import ProcessingMethods
from stockdb.doors.quality import QualityMethods
from stockdb.types import (
    Adjustment,
    DateLike,
    OutputFormat,
    parse_path,
    parse_symbol,
)

if TYPE_CHECKING:  # loaded with the first client: importing this module stays cheap
    from stockdb.access import HistoryRequest, Provenance
    from stockdb.core.diagnose import ConnectionReport
    from stockdb.core.store import ObjectInfo
    from stockdb.errors import StockDBError
    from stockdb.processing.spec import Column
    from stockdb.scale.bulk import BulkResult
    from stockdb.settings import Settings

__all__ = ["MinIODataIntegration"]


class MinIODataIntegration(
    CacheMethods,
    IngestMethods,
    LiveMethods,
    ModelMethods,
    OptionMethods,
    ProcessingMethods,
    QualityMethods,
):
    """Read access to a bucket of market data, with a local cache and validation.

    Parameters
    ----------
    config : Settings, mapping, path or None
        Ready settings, a mapping of setting names, or the ``minio_config.py`` to read.
    endpoint, access_key, secret_key, bucket_name : str, optional
        Where the bucket is; see ``minio_config.py``. What is not given comes from the
        environment (``MINIO_ENDPOINT`` ...), ``.env`` or the nearest ``minio_config.py``.
    secure : bool, optional
        TLS; follows the endpoint's scheme where it is not given.
    cache_dir : str or pathlib.Path, optional
    **settings
        Any other setting by name: ``cache_ttl_seconds``, ``max_workers``, ``datasets`` ...

    Raises
    ------
    ConfigurationError
        No endpoint, or a setting that is wrong; the message says what to do.

    Notes
    -----
    Nothing is sent before the first call. An instance may be shared by threads; it is also
    a context manager. It can be pickled, credentials included: in another process (joblib,
    Dask) its copies share connections and cache. Only :meth:`ingest` and
    :meth:`compact_options` write to the bucket.
    """

    def __init__(
        self,
        config: Settings | Mapping[str, Any] | str | Path | None = None,
        *,
        endpoint: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        bucket_name: str | None = None,
        secure: bool | None = None,
        cache_dir: str | Path | None = None,
        **settings: Any,
    ) -> None:
        from stockdb.access import Access
        from stockdb.logs import log_to_files
        from stockdb.scale.background import Background
        from stockdb.settings import load_settings

        self.settings = load_settings(
            config,
            endpoint=endpoint,
            access_key=access_key,
            secret_key=secret_key,
            bucket_name=bucket_name,
            secure=secure,
            cache_dir=cache_dir,
            **settings,
        )
        self._access = Access(self.settings)
        self._background = Background(self.settings.performance.max_workers)
        self.log_file = log_to_files(self.settings.logs)

    def __enter__(self) -> MinIODataIntegration:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_background"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from stockdb.scale.background import Background

        self.__dict__.update(state)
        self._background = Background(self.settings.performance.max_workers)

    def __repr__(self) -> str:
        return f"MinIODataIntegration({self._access.store!r})"

    def close(self) -> None:
        """Let go of connections; the cache stays."""
        self._background.close()
        self._access.close()

    def check_connection(self) -> ConnectionReport:
        """Diagnose DNS, connection, TLS, clock, credentials and bucket, one by one.

        Returns
        -------
        ConnectionReport
            Prints as text and in notebooks; true where all is well. Never raises for what
            it finds: each failure carries its remedy.
        """
        return self._access.diagnose()

    def list_datasets(self) -> pd.DataFrame:
        """List the configured datasets and whether the bucket holds them.

        Returns
        -------
        pandas.DataFrame
            Index ``dataset``; columns kind, interval, key, adjustment, available (bool).
        """
        return self._access.datasets()

    def list_symbols(self, dataset: str = "stocks") -> list[str]:
        """List the symbols of a dataset, from a listing of the bucket.

        Parameters
        ----------
        dataset : str
            A name of :meth:`list_datasets`.

        Returns
        -------
        list of str
            Upper case, sorted.

        Raises
        ------
        NotFoundError
            No such dataset is configured.
        """
        return sorted(self._access.reader.discovery.symbols(dataset))

    def get_historical_data(
        self,
        symbol: str | Sequence[str],
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        interval: str = "daily",
        *,
        adjust: Adjustment = "none",
        validate: bool = True,
        preprocess: bool | str | Sequence[str | Column] = False,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
        output_format: OutputFormat = "pandas",
        splits: pd.DataFrame | pd.Series | None = None,
        dividends: pd.DataFrame | pd.Series | None = None,
        dataset: str | None = None,
        start: DateLike | None = None,
        end: DateLike | None = None,
    ) -> Any:
        """Read historical bars.

        Parameters
        ----------
        symbol : str or list of str
            A string gives a flat frame, a list the long form.
        start_date, end_date : str, date, datetime or Timestamp, optional
            None is open-ended; a bare end date includes that session. ``start`` and
            ``end`` are aliases. Years that the bucket holds by day (2002-2009) are read
            where ``start_date`` reaches back to them.
        interval : str
            ``daily weekly monthly`` or ``1m 5m 15m 30m 1h 1d 1wk 1mo``; what the bucket
            does not hold of the symbol is made of shorter bars that it does (``made_of`` in the
            note). A daily bar is made of the bars within its session's hours.
        adjust : {'none', 'splits', 'all'}
            What prices must be adjusted for at least; what the dataset has been adjusted
            for already stays. Events come from ``reference/splits.csv`` and
            ``reference/dividends.csv`` of the bucket, or from ``splits`` and ``dividends``; the
            adjustment of the result is recorded.
        validate : bool
            Hold the rows against the rules of VALIDATION_CONFIG and act by its policy.
        preprocess : bool, str or list
            True adds returns, log_returns, typical_price, vwap; ``'standard'`` a standard set;
            else names of indicators or columns of your own, see :meth:`preprocess_data`.
            Earlier bars are loaded on top, so that the first row returned is warm; where fewer
            are held than ``attrs['stockdb']['warmup']`` needs, averages are still settling.
        max_age : float, optional
            Seconds since the server last confirmed the data; 0 asks it now.
        offline : bool
            Serve from the cache only.
        allow_stale : bool
            Where the server cannot be reached, serve the last good version, flagged.
        output_format : {'pandas', 'arrow', 'polars'}
        splits, dividends : pandas.DataFrame or pandas.Series, optional
            Your own events, instead of the bucket's: ex_date (index or column) and ratio (new
            shares for one old) or amount (cash a share, as paid; named adjusted_amount where
            it is on today's shares), and symbol where there are several.
        dataset : str, optional
            The dataset of bars to read, a name of :meth:`list_datasets`. By default all that
            hold the symbol, where one continues the other; where they are of different
            exchanges, or contradict each other, an error names them.

        Returns
        -------
        pandas.DataFrame
            Columns open, high, low, close, volume (float64; prices in the dataset's
            currency, volume in shares), adj_close where the source has it. Index: sorted,
            unique DatetimeIndex ``date``, naive datetime64[ns] for daily and longer bars,
            zoned for intraday; for a list MultiIndex (symbol, date). Weekly and monthly
            rows are labelled by the last session they hold; ``partial`` (bool) marks cut
            periods. A missing price is NaN and reported. ``df.attrs['stockdb']`` says
            where the data came from, why a frame is empty, and for a list which symbols
            failed (``failed``, ``errors``). Also as Arrow or Polars.

        Raises
        ------
        SymbolNotFoundError
            With suggestions; for a list, only where every symbol failed.
        RangeError
            Not a date, a reversed range, or one end given twice.
        ConfigurationError
            An interval that is neither held nor can be made of what is.
        DataError, ValidationError
            Malformed content; a finding under the policy ``raise``; an adjustment for
            which the data are missing; datasets that hold the symbol and are no one series.
        NotFoundError
            No dataset of that name is configured.
        UnavailableError, DeadlineError, AccessDeniedError ...
            As their names say, never an empty frame instead; see ``docs/errors.md``.
        """
        self._access.check_output(output_format)
        request = self._access.request(
            start_date,
            end_date,
            interval,
            aliases=(start, end),
            adjust=adjust,
            validate=validate,
            preprocess=preprocess,
            max_age=max_age,
            offline=offline,
            allow_stale=allow_stale,
            splits=splits,
            dividends=dividends,
            dataset=dataset,
        )
        if isinstance(symbol, str):
            frame = self._access.history(parse_symbol(symbol), request)
            return self._access.output(frame, output_format)
        from stockdb.scale import bulk

        result = self._bulk(symbol, request)
        if not result.frames:
            raise next(iter(result.errors.values()))
        bulk.warn_of(result)
        return self._access.output(result.to_frame(), output_format)

    def bulk_download(
        self,
        symbols: Sequence[str],
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        interval: str = "daily",
        *,
        max_workers: int | None = None,
        progress: bool | None = None,
        strict: bool = False,
        adjust: Adjustment = "none",
        validate: bool = True,
        preprocess: bool | str | Sequence[str | Column] = False,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
        splits: pd.DataFrame | pd.Series | None = None,
        dividends: pd.DataFrame | pd.Series | None = None,
        dataset: str | None = None,
        start: DateLike | None = None,
        end: DateLike | None = None,
    ) -> BulkResult:
        """Read many symbols in parallel; one that fails does not stop the rest.

        Parameters
        ----------
        symbols : list of str
            What is no symbol at all fails alone, too.
        start_date, end_date, interval, adjust, validate, preprocess, max_age, offline, \
allow_stale, splits, dividends, dataset, start, end
            As for :meth:`get_historical_data`.
        max_workers : int, optional
            By default that of PERFORMANCE_CONFIG. Another joblib backend is chosen with
            ``joblib.parallel_config`` around the call.
        progress : bool, optional
            None shows a bar in a terminal or notebook only.
        strict : bool
            Raise, after all have finished, where any failed.

        Returns
        -------
        BulkResult
            A mapping symbol -> frame in the order asked, with ``errors`` (symbol -> error)
            and ``to_frame()`` (the long form).

        Raises
        ------
        StockDBError
            With ``strict``: of the first failure's kind; ``error.errors`` has all and
            ``error.result`` what succeeded.
        """
        request = self._access.request(
            start_date,
            end_date,
            interval,
            aliases=(start, end),
            adjust=adjust,
            validate=validate,
            preprocess=preprocess,
            max_age=max_age,
            offline=offline,
            allow_stale=allow_stale,
            splits=splits,
            dividends=dividends,
            dataset=dataset,
        )
        return self._bulk(
            symbols, request, max_workers=max_workers, progress=progress, strict=strict
        )

    def iter_historical_data(
        self,
        symbols: Sequence[str],
        start_date: DateLike | None = None,
        end_date: DateLike | None = None,
        interval: str = "daily",
        *,
        max_workers: int | None = None,
        start: DateLike | None = None,
        end: DateLike | None = None,
        **options: Any,
    ) -> Iterator[tuple[str, pd.DataFrame | StockDBError]]:
        """Yield (symbol, frame or error) in order, with only a few symbols in memory.

        Parameters
        ----------
        symbols, start_date, end_date, interval, max_workers, start, end
            As for :meth:`bulk_download`.
        **options
            ``adjust``, ``validate``, ``preprocess``, ``max_age``, ``offline``, ``allow_stale``,
            ``splits``, ``dividends``, ``dataset``.

        Yields
        ------
        (str, pandas.DataFrame or StockDBError)
            In the order asked; a frame as of :meth:`get_historical_data`.

        Raises
        ------
        RangeError, ConfigurationError
            Before anything is read: an argument that cannot be understood.
        """
        from stockdb.scale import bulk

        request = self._access.request(
            start_date, end_date, interval, aliases=(start, end), **options
        )
        names = bulk.names_of(symbols)
        return bulk.iterate(self._access, names, request, max_workers=max_workers)

    def provenance(self, df: Any) -> Provenance:
        """Say where a frame of this client came from.

        Parameters
        ----------
        df : pandas.DataFrame
            As a read of this client returned it; ``attrs['stockdb']`` must be there.

        Returns
        -------
        Provenance
            ``summary`` (dict), ``origins`` (key, ETag, version, time, rows, strategy of each
            object), ``requests`` and ``received`` (bytes); for several symbols ``symbols`` and
            ``errors``.

        Raises
        ------
        NotFoundError
            Not a frame of this client, or its note was lost (concat and merge drop it).
        """
        return self._access.provenance.of(df)

    def list_files(self, dataset: str) -> list[ObjectInfo]:
        """List the objects of a dataset.

        Parameters
        ----------
        dataset : str
            A name of :meth:`list_datasets`.

        Returns
        -------
        list of ObjectInfo
            Each with ``key``, ``size`` (bytes), ``etag`` and ``last_modified``; by key.

        Raises
        ------
        NotFoundError
            No such dataset is configured.
        """
        return self._access.reader.discovery.objects(dataset)

    def download_file(self, key: str, path: str | Path) -> Path:
        """Copy one object to a file, verified, all of it or nothing.

        Parameters
        ----------
        key : str
            As :meth:`list_files` gives it.
        path : str or pathlib.Path
            A file, or a folder that the file goes into under its own name.

        Returns
        -------
        pathlib.Path
            Where the file is.

        Raises
        ------
        NotFoundError
            No such object, or no such folder.
        DataError
            What cannot be a key or a path.
        """
        return self._access.download(key, parse_path(path, "path"))

    def _bulk(self, symbols: object, request: HistoryRequest, **options: Any) -> BulkResult:
        from stockdb.scale import bulk

        return bulk.bulk_download(self._access, bulk.names_of(symbols), request, **options)
