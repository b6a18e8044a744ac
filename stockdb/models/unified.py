"""One interface from a bucket to what models are trained on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import pandas as pd

from stockdb.access import Access
from stockdb.access.load import bars
from stockdb.errors import ConfigurationError
from stockdb.models.arguments import finite
from stockdb.models.audit import AuditReport, audit
from stockdb.models.lazy import lazy_matrix
from stockdb.models.manifest import Manifest, freeze, rebuild
from stockdb.models.matrix import build
from stockdb.models.prepare import prepare_for_model
from stockdb.models.prepared import Prepared
from stockdb.models.sets import list_features, make_plan
from stockdb.types import DateLike, parse_symbols

__all__ = ["UnifiedDataInterface"]

_AS_USUAL: Final = {"adjust": "auto", "max_age": None, "offline": False, "allow_stale": False}


class UnifiedDataInterface:
    """Features of many symbols, and inputs of models without leaks.

    Made by ``MinIODataIntegration.create_unified_interface()``.

    Parameters
    ----------
    access : Access
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def __repr__(self) -> str:
        return f"UnifiedDataInterface({self._access.store!r})"

    def list_features(self) -> pd.DataFrame:
        """List all features: the sets they are in, definition, unit, window, warm-up, source.

        Returns
        -------
        pandas.DataFrame
            Index ``name``.
        """
        return list_features()

    def get_feature_matrix(
        self,
        symbols: str | Iterable[str] | None = None,
        features: Any = None,
        start: DateLike | None = None,
        end: DateLike | None = None,
        *,
        labels: str | Iterable[str] | None = None,
        interval: str = "daily",
        adjust: str = "auto",
        rate: float | None = None,
        max_workers: int | None = None,
        validate: bool = True,
        max_age: float | None = None,
        offline: bool = False,
        allow_stale: bool = False,
        as_of: Manifest | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        engine: Literal["pandas", "dask"] = "pandas",
        partition_symbols: int = 50,
    ) -> Any:
        """Compute features and labels of many symbols.

        Parameters
        ----------
        symbols : str or iterable of str
            The result is the same in whatever order they are given.
        features : None, str, Column, callable, or a list of them
            None is the set ``default`` (30 scale-free columns). A string names a set
            (``default``, ``alpha``, ``options``; ``alpha@1`` pins its version) or a column of
            :meth:`list_features`. A callable takes the bars of one symbol (open, high, low,
            close, volume; index ``date``) and gives a Series or DataFrame on the same index;
            hold it against :meth:`audit` first.
        start, end : str, date, datetime or Timestamp, optional
            Rows that are returned. Bars before ``start`` are loaded on top, as many as the
            slowest feature needs (all that are held, for callables); no bar after ``end`` is
            read, not by a label either.
        labels : str or list of str, optional
            ``y_fwd_<sessions>``: C[t+1+h]/C[t+1] - 1; ``y_tb``: triple barrier, with ``t1``
            and ``weight``. By default y_fwd_1, y_fwd_5 and y_fwd_21; ``()`` for none.
        interval : str
            ``daily`` or an intraday interval.
        adjust : {'auto', 'none', 'splits', 'all'}
            ``auto`` goes as far as the bucket's splits and dividends allow; recorded.
        rate : float, optional
            Of a 3-month bill, for ``tsmom_pos``; else the bucket's treasury table.
        max_workers : int, optional
            Another joblib backend is chosen with ``joblib.parallel_config`` around the call.
        validate, max_age, offline, allow_stale
            As for ``get_historical_data``.
        as_of : Manifest, mapping or path, optional
            What :meth:`freeze` made: builds the same bytes again, from the same versions of
            the same objects. All else comes from the manifest; ``symbols``, ``start``, ``end``
            and the like are not to be given, ``features`` only where functions or columns of
            your own were.

        engine : {'pandas', 'dask'}
            ``dask`` gives a lazy Dask frame instead, whose parts are computed by Dask, on a
            cluster where there is a ``distributed.Client``. It needs the extra ``dask``.
        partition_symbols : int
            Symbols in each part of a Dask frame.

        Returns
        -------
        pandas.DataFrame
            float32 (computed in float64), ``t1`` datetime64[ns]; MultiIndex (symbol, date),
            sorted and unique; one row for each bar that is held on a session, none invented.
            NaN where a value is undefined or not yet known, never infinite. Columns that
            compare symbols begin with ``xs_``, labels with ``y_``.
            ``attrs['stockdb']`` has the spec hash, ``objects`` (a JSON text, key -> ETag and
            version), adjustment, warm-up, and NaN counts by column and by reason.

            With ``engine='dask'`` a ``dask.dataframe.DataFrame`` of the same rows and columns,
            indexed by symbol (with known divisions), ``date`` as its first column, without
            ``attrs``: ``.compute().set_index('date', append=True)`` is the other.

        Raises
        ------
        SymbolNotFoundError
            A symbol is unknown: with suggestions.
        ConfigurationError
            An unknown feature, set or label; says which ones are spelt alike.
        DataError
            A feature function gives another index, or no numbers; with ``as_of``, the same
            objects gave other numbers (names the libraries that have changed).
        ObjectChangedError
            With ``as_of``: names the objects that have changed and are not kept.
        RangeError, UnavailableError ...
            As for ``get_historical_data``.
        """
        if engine not in ("pandas", "dask"):
            raise ConfigurationError(f"There is no engine {engine!r}.", remedy="pandas or dask.")
        if as_of is not None:
            if engine == "dask":
                raise ConfigurationError(
                    "A manifest is rebuilt here, not by Dask.", remedy="Leave engine out."
                )
            if any(value is not None for value in (symbols, start, end, labels, rate)):
                raise ConfigurationError(
                    "as_of says which symbols, dates and labels.",
                    remedy="Give as_of alone, and features where they are your own.",
                )
            return rebuild(self._access, Manifest.load(as_of), features, max_workers)
        if symbols is None:
            raise ConfigurationError("No symbol is asked for.", remedy="Give one or more.")
        plan = make_plan(features, labels)
        if rate is not None:
            rate = finite(rate, "rate", "Give a fraction a year, such as 0.04.")
        asked = (self._access, [symbols] if isinstance(symbols, str) else symbols, plan, start, end)
        reading: dict[str, Any] = {
            "interval": interval,
            "adjust": adjust,
            "rate": rate,
            "validate": validate,
            "max_age": max_age,
            "offline": offline,
            "allow_stale": allow_stale,
        }
        if engine == "dask":
            return lazy_matrix(*asked, partition_symbols=partition_symbols, **reading)
        return build(*asked, max_workers=max_workers, **reading)

    def prepare_for_model(
        self,
        features: pd.DataFrame,
        model_type: str,
        label: str = "y_fwd_5",
        seq_len: int = 60,
        split_dates: Any = None,
        embargo: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Prepared:
        """Make leak-free inputs for one type of model: ``stockdb.models.prepare_for_model``.

        Parameters
        ----------
        features : pandas.DataFrame
            As :meth:`get_feature_matrix` gives it, or one of your own.
        model_type : str
            lstm, gru, transformer, cnn, xgboost, lightgbm, random_forest, linear, arima_garch
            or rl.
        label, seq_len, split_dates, embargo, seed
            See there.
        **options
            ``horizon``, ``weight``, ``returns``, ``calendar``.

        Returns
        -------
        Prepared
        """
        return prepare_for_model(
            features, model_type, label, seq_len, split_dates, embargo, seed, **options
        )

    def freeze(
        self, features: pd.DataFrame, path: str | os.PathLike[str] | None = None
    ) -> Manifest:
        """Write down what a feature matrix was made of.

        Parameters
        ----------
        features : pandas.DataFrame
            As :meth:`get_feature_matrix` returned it.
        path : str or path, optional
            JSON file to write.

        Returns
        -------
        Manifest
            ``get_feature_matrix(as_of=manifest)`` builds the same bytes again, or says which
            object has changed. Where the bucket keeps versions, the old ones are read.

        Raises
        ------
        DataError
            The frame has lost its note, or was changed.
        ConfigurationError
            The file cannot be written there.
        """
        manifest = freeze(features, self._access.store.bucket)
        if path is not None:
            manifest.save(path)
        return manifest

    def audit(self, function: Any, data: Any, **options: Any) -> AuditReport:
        """Look for leaks in a feature function; see ``stockdb.models.audit``.

        Parameters
        ----------
        function : callable, Column or str
            Takes bars, gives a DataFrame or Series on the same index; or the name of a feature.
        data : pandas.DataFrame, str or list of str
            Bars of one symbol or the long form of several; or symbols, whose bars are read.
        **options
            ``by_symbol=True`` where the function is meant for :meth:`get_feature_matrix`,
            which gives it one symbol at a time; ``warmup``, ``labels``, ``cross_sectional``,
            ``scale_free``, ``cuts``, ``seed``.

        Returns
        -------
        AuditReport
            True where nothing was found; prints what was: the column, the row, and how far
            ahead it reads; and at how many of the dates it looked.
        """
        if not isinstance(data, pd.DataFrame):
            names, single = parse_symbols(data)
            loaded = bars(self._access, names, None, "daily", _AS_USUAL)
            frames = {name: loaded.frames[name] for name in names if name in loaded.frames}
            if loaded.errors:
                raise next(iter(loaded.errors.values()))
            data = frames[names[0]] if single else pd.concat(frames, names=["symbol", "date"])
        return audit(function, data, **options)
