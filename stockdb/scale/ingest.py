"""A user's own files into the bucket: validated first, never over what is there unasked."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from stockdb.access import Access
from stockdb.core.reader import ReadPolicy
from stockdb.core.store import ObjectInfo
from stockdb.errors import (
    ArchiveError,
    ConfigurationError,
    DataError,
    NotFoundError,
    ObjectChangedError,
    StockDBError,
    ValidationError,
)
from stockdb.scale.bulk import bar
from stockdb.scale.intake import ENDINGS, Fit, Target, dated, findings_of, fit, target
from stockdb.types import DateLike, parse_date, parse_path, parse_workers

__all__ = ["BAD", "Ingested", "ingest"]

State = Literal[
    "to write", "to replace", "written", "replaced", "current", "conflict", "invalid", "failed"
]
#: States of files that are not in the bucket as they should be.
BAD: Final = ("conflict", "invalid", "failed")
#: Files at a time: a day of options is in memory several times over.
_WORKERS: Final = 4


@dataclass(frozen=True)
class Ingested:
    """What became of one file; see ``MinIODataIntegration.ingest``."""

    path: str
    dataset: str = ""
    symbol: str = ""
    key: str = ""
    state: State = "failed"
    rows: int = 0
    bytes: int = 0
    warnings: int = 0
    findings: str = ""
    reason: str = ""
    remedy: str = ""


def ingest(
    access: Access,
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
    """Take a file or a folder in; see ``MinIODataIntegration.ingest``."""
    root = parse_path(path, "path").expanduser()
    if on_file is not None and not callable(on_file):
        raise ConfigurationError(
            f"on_file must be callable, not {type(on_file).__name__}.",
            remedy="Give a function that takes each file's outcome, or None.",
        )
    day = None if date is None else parse_date(date)
    if root.is_dir():
        if symbol is not None or day is not None:
            raise ConfigurationError(
                "A symbol or a date is one file's.", remedy="Name the files of a folder by them."
            )
        files = sorted(found for found in root.rglob("*") if _is_data(found.relative_to(root)))
        files = [found for found in files if found.is_file()]
    elif root.is_file():
        files, root = [root], root.parent
    else:
        raise NotFoundError(f"There is no file or folder {str(root)!r}.", remedy="Check the path.")
    workers = parse_workers(max_workers) or _WORKERS
    run = _Run(access, replace, accept_findings, dry_run)
    jobs: list[tuple[Path, Target | StockDBError]] = []
    for each in files:
        try:
            place = each.relative_to(root)
            found = target(access.settings, place, dataset=dataset, symbol=symbol, date=day)
            run.list_keys(found)
            jobs.append((each, found))
        except DataError as error:
            jobs.append((each, error))
    run.find_rivals(jobs, root)
    done: list[Ingested] = []
    with bar(len(jobs), progress, "file") as advance:
        for outcome in run.each(jobs, workers):
            done.append(outcome)
            advance()
            if on_file is not None:
                on_file(outcome)
    run.refresh(done)
    frame = pd.DataFrame([asdict(one) for one in done], columns=[f.name for f in fields(Ingested)])
    frame.attrs = {"stockdb": {"conditional_writes": run.heeds}}
    return frame


class _Run:
    """One run: what it goes by, and what its threads must know of each other."""

    def __init__(self, access: Access, replace: bool, accept_findings: bool, dry_run: bool) -> None:
        self._access, self._store = access, access.store
        self._replace, self._accept, self._dry_run = replace, accept_findings, dry_run
        self._lock = threading.Lock()
        self._rivals: dict[Path, DataError] = {}
        #: For each dataset of one file a symbol: symbol -> key that is there.
        self._spelt: dict[str, dict[str, str]] = {}
        #: Whether the server heeds conditions; None until something was written.
        self.heeds: bool | None = None

    def list_keys(self, found: Target) -> None:
        """Learn how the dataset spells its symbols, once."""
        if found.dataset.kind == "bars" and found.name not in self._spelt:
            held = self._access.reader.discovery.symbols(found.name, max_age=0.0)
            self._spelt[found.name] = held

    def find_rivals(self, jobs: list[tuple[Path, Target | StockDBError]], root: Path) -> None:
        """Find files that are the same symbol or day: which one is right, nobody has said."""
        if len(jobs) < 2:
            return
        same: dict[str, list[Path]] = {}
        for path, found in jobs:
            if not isinstance(found, StockDBError):
                with suppress(DataError, ArchiveError, OSError):  # which its own turn tells
                    known = dated(path.read_bytes(), path, found) if found.undated else found
                    same.setdefault(known.what, []).append(path)
        for what, paths in same.items():
            for path in paths if len(paths) > 1 else ():
                others = ", ".join(str(p.relative_to(root)) for p in paths if p != path)
                self._rivals[path] = DataError(
                    f"{others} is {what}, too.", remedy="Leave one of the files; none is written."
                )

    def each(
        self, jobs: list[tuple[Path, Target | StockDBError]], workers: int
    ) -> Iterator[Ingested]:
        """Take the files in, some at a time; yields in the order given."""
        from joblib import Parallel, delayed

        pool = Parallel(workers, backend="threading", return_as="generator", batch_size=1)
        yield from pool(delayed(self._one)(path, found) for path, found in jobs)

    def refresh(self, done: Iterable[Ingested]) -> None:
        """Let this machine's cache know what was written."""
        written = [one for one in done if one.state in {"written", "replaced"}]
        datasets = self._access.settings.datasets
        for name in {one.dataset for one in written}:
            if datasets[name].kind == "reference":
                policy = ReadPolicy(max_age=0)
                if name == "treasury":
                    self._access.reference.treasury(policy=policy)
                else:
                    self._access.reference.events(name, policy=policy)  # type: ignore[arg-type]
            else:
                self._access.reader.discovery.objects(name, ReadPolicy(0.0))
        for one in written:
            if one.state == "replaced" and one.symbol:
                self._access.cache.clear(symbol=one.symbol)

    def _one(self, path: Path, found: Target | StockDBError) -> Ingested:
        if isinstance(found, StockDBError):
            return _outcome(path, "invalid", reason=found)
        if path in self._rivals:
            return _outcome(path, "invalid", found, reason=self._rivals[path])
        try:
            fitting = fit(
                path.read_bytes(),
                path,
                found,
                self._access.settings,
                self._spelt.get(found.name, {}),
                pd.Timestamp.now("UTC"),
                accept_findings=self._accept,
            )
        except (DataError, ArchiveError) as error:
            return _outcome(path, "invalid", found, reason=error)
        except OSError as error:
            unread = DataError(
                f"{path.name} cannot be read: {error.strerror}.", remedy="Check its permissions."
            )
            return _outcome(path, "failed", found, reason=unread)
        try:
            state, reason = self._write(fitting)
        except StockDBError as error:
            return _outcome(path, "failed", found, fitting, error)
        return _outcome(path, state, found, fitting, reason)

    def _write(self, fitting: Fit) -> tuple[State, StockDBError | None]:
        key, data = fitting.key, fitting.data
        held = self._held(key)
        if held is not None and self._same(held, data):
            return "current", None
        if held is not None and not self._replace:
            when = f" of {held.last_modified:%Y-%m-%d}" if held.last_modified else ""
            return "conflict", ObjectChangedError(
                f"The bucket holds another {key}{when}, {held.size:,} bytes.",
                remedy="Compare the two; then replace it on purpose: replace=True (--replace).",
            )
        if self._dry_run:
            return ("to write" if held is None else "to replace"), None
        condition = {"If-None-Match": "*"} if held is None else {"If-Match": f'"{held.etag}"'}
        try:
            self._store.put(key, data, only_if=condition)
        except ObjectChangedError:
            pass  # by somebody else; or by us, where the answer to a first attempt was lost
        after = self._held(key)
        if after is None or not self._same(after, data):
            return "conflict", ObjectChangedError(f"Somebody else wrote {key} at the same time.")
        if held is None:
            self._ask(key, data)
        return ("written" if held is None else "replaced"), None

    def _held(self, key: str) -> ObjectInfo | None:
        try:
            return self._store.stat(key)
        except NotFoundError as error:
            if error.values.get("code") == "NoSuchBucket":
                raise
            return None

    def _same(self, held: ObjectInfo, data: bytes) -> bool:
        """Compare with what is there, by its bytes where its ETag is none of an MD5."""
        if held.etag == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return True
        return held.size == len(data) and self._store.get(held.key).data == data

    def _ask(self, key: str, data: bytes) -> None:
        """Find out whether the server heeds conditions: write again what was just written."""
        with self._lock:
            if self.heeds is None:
                try:
                    self._store.put(key, data, only_if={"If-None-Match": "*"})
                    self.heeds = False
                except ObjectChangedError:
                    self.heeds = True


def _is_data(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.name.lower().removesuffix(".gz").endswith(ENDINGS)


def _outcome(
    path: Path,
    state: State,
    found: Target | None = None,
    fitting: Fit | None = None,
    reason: StockDBError | None = None,
) -> Ingested:
    return Ingested(
        path=str(path),
        dataset="" if found is None else found.name,
        symbol=(found.symbol or "") if found is not None else "",
        key="" if fitting is None else fitting.key,
        state=state,
        rows=0 if fitting is None else fitting.rows,
        bytes=0 if fitting is None else len(fitting.data),
        warnings=0 if fitting is None else fitting.warnings,
        findings=_findings(fitting, reason),
        reason="" if reason is None else reason.message,
        remedy="" if reason is None else reason.remedy,
    )


def _findings(fitting: Fit | None, reason: StockDBError | None) -> str:
    if isinstance(reason, ValidationError):
        return "; ".join(findings_of(reason.values["report"]))
    return "" if fitting is None else fitting.findings
