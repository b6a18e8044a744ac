"""Writing a user's own files into the bucket, asked for through ``MinIODataIntegration``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from stockdb.types import DateLike

if TYPE_CHECKING:  # loaded with the first client
    from stockdb.access import Access
    from stockdb.scale.ingest import Ingested

__all__ = ["IngestMethods"]


class IngestMethods:
    """What a client can put into the bucket; mixed into the front door."""

    _access: Access

    def ingest(
        self,
        path: str | Path,
        *,
        dataset: str | None = None,
        symbol: str | None = None,
        date: DateLike | None = None,
        replace: bool = False,
        accept_findings: bool = False,
        dry_run: bool = False,
        max_workers: int | None = None,
        progress: bool | None = None,
        on_file: Callable[[Ingested], object] | None = None,
    ) -> pd.DataFrame:
        """Put your own CSV or Parquet files into the bucket's layout, validated first.

        A file is read as every later read would read it, and held against the validation
        rules; what does not pass is not written. An object is written in one piece or not at
        all, and never over other bytes that are there, unless ``replace`` says so. What is
        there already is left alone, so that a run that was broken off goes on where it was.
        Of two files of a folder that are the same symbol or day, neither is written.

        Parameters
        ----------
        path : str or pathlib.Path
            A file, or a folder with all that is in it (``.csv``, ``.txt``, ``.parquet``,
            ``.pq``, each also with ``.gz``; hidden files are left out).
        dataset : str, optional
            One of :meth:`list_datasets`. By default the name of a file decides:
            ``AAPL.csv`` is bars of a symbol, ``2024-01-03options.csv`` a day of option chains,
            ``splits.csv``, ``dividends.csv`` and ``treasury.csv`` reference tables.
        symbol : str, optional
            Of a single file that is not named like it.
        date : date-like, optional
            Of a single file of one day that is not named like it.
        replace : bool
            Write also where the bucket holds other bytes, over exactly the version seen.
        accept_findings : bool
            Write also what the validation rules call an error; malformed files never.
        dry_run : bool
            Do everything but write.
        max_workers : int, optional
            Files at a time, 4 by default.
        progress : bool, optional
            None shows a bar in a terminal or notebook only.
        on_file : callable, optional
            Takes each file as it is done, with the attributes of a row of the result.

        Returns
        -------
        pandas.DataFrame
            One row a file: path, dataset, symbol, key, state (``to write``, ``to replace``,
            ``written``, ``replaced``, ``current``, ``conflict``, ``invalid`` or ``failed``),
            rows, bytes, warnings (findings that do not keep it out), findings (text: each rule,
            how many rows, the first of them), reason, remedy. Besides the validation rules these
            are ``no_rows``, ``future`` (dates after today), and of chains ``bid_above_ask``,
            ``expired`` and ``contradicts_contract``.
            ``attrs['stockdb']['conditional_writes']`` says whether the server heeds
            conditions, None where nothing had to be written: where it does not, what is there
            is looked at before and after instead, and two writers at the same instant can
            still meet.

        Raises
        ------
        NotFoundError
            No such file or folder.
        ConfigurationError
            A dataset that is none, or that nothing is written into; ``on_file`` or
            ``max_workers`` that are none.
        DataError
            ``path`` is none, or empty.
        UnavailableError, AccessDeniedError ...
            The bucket cannot even be listed; later failures are those of their files.

        Notes
        -----
        A file is stored as it is where the dataset's layout allows it. One of another format,
        or a day of options whose underlyings do not ascend as the dataset declares, is
        written anew with the same rows.
        """
        from stockdb.scale.ingest import ingest

        return ingest(
            self._access,
            path,
            dataset=dataset,
            symbol=symbol,
            date=date,
            replace=replace,
            accept_findings=accept_findings,
            dry_run=dry_run,
            max_workers=max_workers,
            progress=progress,
            on_file=on_file,
        )
