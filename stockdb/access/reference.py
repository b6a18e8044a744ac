"""The reference tables of the bucket: splits, dividends and Treasury rates."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from stockdb.access.provenance import ATTRS, ProvenanceLog
from stockdb.core.cache import Cached, DiskCache, NoCache
from stockdb.core.catalog import spellings
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.core.parse import parse_reference
from stockdb.core.reader import SCHEMA_VERSION, Origin, ReadPolicy, iso
from stockdb.core.store import NotModified, ObjectStore
from stockdb.core.transport import Deadline
from stockdb.errors import ConfigurationError, DataError, NotFoundError
from stockdb.settings import Dataset, Settings

__all__ = ["Reference", "tenor_years"]

Kind = Literal["splits", "dividends", "treasury"]
_REMEDY: Final = {
    "splits": "Put reference/splits.csv (symbol, ex_date, ratio) into the bucket, or give splits=.",
    "dividends": "Put reference/dividends.csv (symbol, ex_date, amount) into the bucket, or give "
    "dividends=.",
    "treasury": "Put reference/treasury.csv (date and tenors, in percent) into the bucket, or "
    "give the rate.",
}
_TENOR: Final = re.compile(
    r"(?:dgs|bc_)?(\d+(?:_\d+)?)_?(m|mo|mos|months?|y|yr|yrs|years?)?", re.ASCII
)


@dataclass
class Reference:
    """Reads the tables named ``splits``, ``dividends`` and ``treasury`` in the settings.

    Parameters
    ----------
    settings : Settings
    store : ObjectStore
    cache : DiskCache or NoCache
    log : ProvenanceLog
    """

    settings: Settings
    store: ObjectStore
    cache: DiskCache | NoCache
    log: ProvenanceLog
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)
    _absent: dict[str, float] = field(init=False, default_factory=dict, repr=False)
    _parsed: dict[str, tuple[str | None, Any]] = field(init=False, default_factory=dict, repr=False)

    def events(
        self,
        kind: Literal["splits", "dividends"],
        symbol: str | None = None,
        *,
        policy: ReadPolicy | None = None,
        required: bool = True,
    ) -> pd.DataFrame | None:
        """Read splits or dividends.

        Parameters
        ----------
        kind : {'splits', 'dividends'}
        symbol : str, optional
            Upper case; ``BRK.B`` also finds ``BRK-B``. None gives all, in file order.
        policy : ReadPolicy, optional
        required : bool
            False gives None where the bucket has no such table.

        Returns
        -------
        pandas.DataFrame or None
            Index ``ex_date`` (datetime64[ns], ascending; dates repeat where two dividends
            fall on one), column ``ratio`` (new shares for one old; 7.0 for 7:1) or
            ``amount`` (dollars a share), and ``symbol`` where all are asked for. Empty where
            the table has nothing for the symbol. ``attrs['stockdb']['adjustment']`` is
            ``splits`` where the dataset declares amounts on a split-adjusted basis.

        Raises
        ------
        NotFoundError
            The bucket has no such table, or none is configured.
        DataError
            A ratio or an amount that is not positive, or two ratios for one date.
        """
        found = self._table(kind, policy or ReadPolicy(), required)
        if found is None:
            return None
        cached, dataset = found
        groups = self._groups(kind, cached)
        if symbol is None:
            frame: pd.DataFrame = groups[""].copy()
        else:
            parts = [groups[name] for name in spellings(symbol) if name in groups]
            some = pd.concat(parts) if parts else groups[""].iloc[:0]
            frame = some.drop(columns="symbol").sort_index(kind="stable")
        return self._noted(frame, kind, symbol, cached, dataset)

    def treasury(
        self,
        *,
        percent: bool = False,
        policy: ReadPolicy | None = None,
        required: bool = True,
    ) -> pd.DataFrame | None:
        """Read the Treasury's constant-maturity yields.

        Parameters
        ----------
        percent : bool
            True gives them as published: par yields in percent, bond equivalent.
        policy, required
            As for :meth:`events`.

        Returns
        -------
        pandas.DataFrame or None
            Index ``date`` (datetime64[ns], ascending, unique); columns are the tenors in
            years, ascending (1/12, 0.25 ... 30.0), float64; NaN where none was published.
            By default continuously compounded rates as fractions (0.05 is 5 %): of a yield
            y to T years, ln(1 + y T)/T to half a year (simple interest), 2 ln(1 + y/2)
            beyond (half-yearly compounding). Par yields are not stripped to zero rates
            here. Columns that are no tenor (fed funds, SOFR) are left out.

        Raises
        ------
        NotFoundError
            The bucket has no such table, or none is configured.
        DataError
            No column is a tenor, or a date stands twice.

        Notes
        -----
        US Treasury, "Treasury Yield Curve Methodology": yields are on a bond-equivalent
        basis.
        """
        found = self._table("treasury", policy or ReadPolicy(), required)
        if found is None:
            return None
        cached, dataset = found
        yields = self._once("treasury", cached, lambda: _yields(cached, dataset.key))
        frame = yields.copy() if percent else _continuous(yields)
        return self._noted(frame, "treasury", None, cached, dataset)

    def _table(
        self, kind: Kind, policy: ReadPolicy, required: bool
    ) -> tuple[Cached, Dataset] | None:
        dataset = self.settings.datasets.get(kind)
        try:
            if dataset is None or dataset.kind != "reference":
                raise NotFoundError(
                    f"No reference dataset {kind!r} is configured.",
                    remedy=f"Add {kind!r} with kind='reference' to DATASETS in minio_config.py.",
                    dataset=kind,
                )
            if "{" in dataset.key:
                raise ConfigurationError(
                    f"The key of the dataset {kind!r} varies: {dataset.key}.",
                    remedy="A reference table is one object: give its whole key.",
                )
            return self._read(kind, dataset, policy), dataset
        except NotFoundError as error:
            if required or error.values.get("code") == "NoSuchBucket":
                raise
            return None

    def _read(self, kind: Kind, dataset: Dataset, policy: ReadPolicy) -> Cached:
        absent = NotFoundError(
            f"The bucket holds no table of {kind} ({dataset.key}).",
            remedy=_REMEDY[kind],
            key=dataset.key,
            dataset=kind,
        )
        known = self._absent.get(kind)
        age = self.settings.cache.listing_ttl_seconds if policy.max_age is None else policy.max_age
        if known is not None and time.monotonic() - known < age:
            raise absent  # many symbols ask, one after the other
        bad_rows = self.settings.validation.on_bad_rows
        endpoint, bucket = self.store.identity
        deadline = Deadline(self.settings.performance.object_deadline)

        def fetch(held: dict[str, Any] | None) -> Entry | None:
            try:
                blob = self.store.get(
                    dataset.key, if_none_match=held["etag"] if held else None, deadline=deadline
                )
            except NotModified:
                return None
            parsed = parse_reference(
                memoryview(blob.data), key=dataset.key, kind=kind, on_bad_rows=bad_rows
            )
            metadata = {
                "dataset": kind,
                "key": dataset.key,
                "endpoint": endpoint,
                "bucket": bucket,
                "etag": blob.info.etag,
                "version_id": blob.info.version_id,
                "size": blob.info.size,
                "fetched_at": iso(time.time()),
                "requests": blob.requests,
                "received": blob.received,
                "bad_rows": [[row.line, row.reason, row.text] for row in parsed.bad_rows],
                "simulated": blob.headers.get("x-amz-meta-simulated") == "true",
            }
            return Entry(parsed.table, metadata)

        ttl = self.settings.cache.cache_ttl_seconds
        fresh = Freshness(
            ttl if dataset.ttl_seconds is None else dataset.ttl_seconds,
            policy.max_age,
            policy.offline,
            policy.allow_stale,
        )
        parts = ["reference", endpoint, bucket, dataset.key, kind, bad_rows, str(SCHEMA_VERSION)]
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        try:
            found = self.cache.get(name, fresh, fetch, wait=deadline.seconds / 2)
        except NotFoundError as error:
            if error.values.get("code") == "NoSuchBucket":
                raise
            self._absent[kind] = time.monotonic()
            raise absent from error
        self._absent.pop(kind, None)
        return found

    def _groups(
        self, kind: Literal["splits", "dividends"], cached: Cached
    ) -> dict[str, pd.DataFrame]:
        key = self.settings.datasets[kind].key
        groups: dict[str, pd.DataFrame] = self._once(
            kind, cached, lambda: _by_symbol(kind, cached, key)
        )
        return groups

    def _once(self, kind: Kind, cached: Cached, make: Any) -> Any:
        """Keep what was made of the last version of a table: every symbol asks for it."""
        etag = f"{cached.entry.metadata['etag']} {cached.entry.metadata['fetched_at']}"
        with self._lock:
            held = self._parsed.get(kind)
            if held is None or held[0] != etag:
                held = self._parsed[kind] = (etag, make())
        return held[1]

    def _noted(
        self,
        frame: pd.DataFrame,
        kind: Kind,
        symbol: str | None,
        cached: Cached,
        dataset: Dataset,
    ) -> pd.DataFrame:
        metadata = cached.entry.metadata
        asked = cached.state in {"fetched", "replaced"}
        origin = Origin(
            dataset=kind,
            key=dataset.key,
            etag=metadata["etag"],
            version_id=metadata["version_id"],
            adjustment=dataset.adjustment,
            state=cached.state,
            fetched_at=metadata["fetched_at"],
            validated_at=iso(cached.validated),
            requests=metadata["requests"] if asked else int(cached.state == "revalidated"),
            received=metadata["received"] if asked else 0,
            rows=len(frame),
            bad_rows=metadata["bad_rows"],
            simulated=metadata["simulated"],
        )
        empty = f"the table of {kind} has nothing for {symbol}" if symbol else "it has no rows"
        summary = {
            "symbol": symbol,
            "dataset": kind,
            "adjustment": dataset.adjustment,
            "freshness": cached.state,
            "validated_at": origin.validated_at,
            "simulated": origin.simulated,
            "empty_reason": None if len(frame) else empty,
        }
        frame.attrs = {ATTRS: self.log.note(summary, (origin,))}
        return frame


def tenor_years(name: str) -> float | None:
    """Read the name of a column as a time to maturity, in years; None where it is none.

    Examples
    --------
    >>> tenor_years("dgs3mo"), tenor_years("10_yr"), tenor_years("1_5_month"), tenor_years("sofr")
    (0.25, 10.0, 0.125, None)
    """
    match = _TENOR.fullmatch(name.lower())
    if match is None or (match[2] is None and not name.lower().startswith("dgs")):
        return None
    number = float(match[1].replace("_", "."))
    return number / 12.0 if (match[2] or "y").startswith("m") else number


def _by_symbol(
    kind: Literal["splits", "dividends"], cached: Cached, key: str
) -> dict[str, pd.DataFrame]:
    """Check a table and take it apart; the whole of it stands under the empty name."""
    table = cached.entry.table
    column = "ratio" if kind == "splits" else "amount"
    symbols = pd.Series(table.column("symbol").to_pylist(), dtype="str")
    frame = pd.DataFrame(
        {
            "ex_date": table.column("ex_date").to_numpy().astype("datetime64[ns]"),
            "symbol": symbols.str.strip().str.upper(),
            column: table.column(column).to_numpy().copy(),
        }
    )
    # Vendors write 0 for "no split" and "no dividend"; anything else that is not positive lies.
    frame = frame[frame[column] != 0.0].drop_duplicates()
    wrong = frame[~(np.isfinite(frame[column]) & (frame[column] > 0.0))]
    if kind == "splits":
        wrong = pd.concat([wrong, frame[frame.duplicated(["symbol", "ex_date"])]])
    if len(wrong):
        row = wrong.iloc[0]
        raise DataError(
            f"{key}: {row['symbol']} {row['ex_date'].date()} has the {column} {row[column]:g}"
            + (", and another one" if row[column] > 0 else "")
            + ".",
            remedy="Correct the row: one positive number for each event.",
            key=key,
            symbol=row["symbol"],
        )
    frame = frame.set_index("ex_date")
    groups = {str(name): part for name, part in frame.groupby("symbol", sort=False)}
    return {**groups, "": frame}


def _yields(cached: Cached, key: str) -> pd.DataFrame:
    """Take the tenors of a table of rates, in percent."""
    table = cached.entry.table
    tenors = {
        years: name
        for name in table.column_names
        if name != "date" and (years := tenor_years(name)) is not None
    }
    if not tenors:
        raise DataError(
            f"{key}: no column is a tenor; found {', '.join(table.column_names)}.",
            remedy="Name the columns by tenor: 1m, 3m, 1y ..., or as FRED does: DGS1MO, DGS10.",
            key=key,
        )
    date = pd.DatetimeIndex(table.column("date").to_numpy().astype("datetime64[ns]"), name="date")
    if not date.is_unique:
        raise DataError(
            f"{key}: {date[date.duplicated()][0].date()} stands twice.",
            remedy="Leave one row a date.",
            key=key,
        )
    order = sorted(tenors)
    block = np.array([table.column(tenors[years]).to_numpy() for years in order])
    return pd.DataFrame(block.T, index=date, columns=pd.Index(order, name="tenor"))


def _continuous(yields: pd.DataFrame) -> pd.DataFrame:
    """Par yields in percent -> continuously compounded fractions."""
    years = yields.columns.to_numpy(dtype=np.float64)
    fraction = yields.to_numpy() / 100.0
    simple = np.log1p(fraction * years) / np.where(years > 0.0, years, 1.0)
    rates = np.where(years <= 0.5, simple, 2.0 * np.log1p(fraction / 2.0))
    return pd.DataFrame(rates, index=yields.index, columns=yields.columns)
