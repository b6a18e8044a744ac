"""Chains of many days: read in parallel, never ended by one bad day."""

from __future__ import annotations

import functools
import logging
import warnings
from typing import Final

import pandas as pd

from stockdb.access import Access, Provenance
from stockdb.access.callers import callers_level
from stockdb.access.chains import ChainFilter, history_note, of_file_date, read_chain
from stockdb.access.parallel import each
from stockdb.core.days import Place
from stockdb.core.reader import ReadPolicy
from stockdb.core.scope import Scope, current, entered
from stockdb.errors import ArchiveError, DateNotFoundError, StockDBError, SymbolNotFoundError
from stockdb.scale.bulk import bar
from stockdb.types import DateRange

__all__ = ["chain_history"]

#: Messages of failed days that a frame's note carries.
_SHOWN: Final = 20
log = logging.getLogger("stockdb.bulk")
Outcome = tuple[str, pd.DataFrame | StockDBError, Provenance | None]


def chain_history(
    access: Access,
    symbol: str,
    wanted: DateRange,
    filters: ChainFilter,
    policy: ReadPolicy,
    *,
    verify: bool | None = None,
    max_workers: int | None = None,
    progress: bool | None = None,
    strict: bool = False,
) -> pd.DataFrame:
    """Read every day's chain in a range; see ``MinIODataIntegration.get_options_data``."""
    broken: list[ArchiveError] = []
    places, left_out = _places(access, wanted, policy, broken)
    frames: list[pd.DataFrame] = []
    # An archive that cannot be read is one failure; its days are not known.
    errors: dict[str, StockDBError] = {error.key or "archive": error for error in broken}
    absent: dict[str, StockDBError] = {}
    others: dict[str, int] = {}
    origins = []
    read = functools.partial(_read, access, symbol, filters, policy, verify, current())
    with bar(len(places), progress, "day") as advance:
        for day, outcome, provenance in each(access, read, places, max_workers):
            if isinstance(outcome, SymbolNotFoundError):
                absent[day] = outcome  # that day's file is known, and does not quote it
            elif isinstance(outcome, StockDBError):
                errors[day] = outcome
                log.warning("%s %s: %s", symbol, day, outcome)
            else:
                frames.append(outcome)
                if provenance is not None:
                    origins += list(provenance.origins)
                    if count := provenance.summary["other_quote_dates"]:
                        others[day] = count
            advance()
    asked = len(places) + len(broken)
    if not frames and not errors:
        first_absent = next(iter(absent.values()))
        if len(places) == 1:
            raise first_absent
        raise type(first_absent)(
            f"None of the {len(places)} files of the range holds options of {symbol!r}.",
            remedy=first_absent.remedy,
            **first_absent.values,
        )
    if errors and (strict or not frames):
        first = next(iter(errors.values()))
        values = {**first.values, "errors": errors}
        more = f" ({len(errors)} of {asked} days failed)"
        raise type(first)(first.message + more, remedy=first.remedy, **values)
    if errors:
        warnings.warn(
            f"{len(errors)} of {asked} days of {symbol} failed: "
            + "; ".join(f"{day}: {error.message}" for day, error in list(errors.items())[:5]),
            stacklevel=callers_level(),
        )
    if others:
        warnings.warn(
            f"{sum(others.values())} rows of {symbol} are quoted on another date than their "
            f"file's, and left out; in the files of {', '.join(list(others)[:5])}.",
            stacklevel=callers_level(),
        )
    filled = [frame for frame in frames if len(frame)]
    result = pd.concat(filled or frames[:1], ignore_index=True)
    note = history_note(access.provenance, symbol, tuple(origins))
    # Small, because pandas copies it with every selection.
    note["errors"] = {day: error.message for day, error in list(errors.items())[:_SHOWN]}
    note |= {"days": len(frames), "failed_days": len(errors), "absent_days": len(absent)}
    note["other_quote_dates"] = sum(others.values())
    if left_out:
        note["archived_days_left_out"] = left_out
    if result.empty:
        note["empty_reason"] = "the filters leave no row of any day"
    result.attrs = {"stockdb": note}
    return result


def _places(
    access: Access, wanted: DateRange, policy: ReadPolicy, broken: list[ArchiveError]
) -> tuple[list[Place], int]:
    """Find the days of a range, and how many of an open-ended one stay in their archives.

    A day in an archive has to be inflated as a whole, and an open-ended range would move years
    of them: as for bars, they are read only for a range that begins somewhere.
    """
    zone = "America/New_York"
    first, last = wanted.first_day(zone), wanted.last_day(zone)
    found = access.chains.places(
        None if first is None else first.date(),
        None if last is None else last.date(),
        policy=policy,
        broken=broken,
    )
    own = [place for place in found.values() if place.member is None]
    chosen = own if first is None and own else list(found.values())
    if not chosen and not broken:
        held = access.chains.places(policy=policy, broken=[])
        listed = f"{min(held)} to {max(held)}" if held else "none at all"
        raise DateNotFoundError(
            "The bucket holds no options file in the range.",
            remedy=f"Files are held from {listed}; list_option_dates() has all.",
        )
    return chosen, len(found) - len(chosen)


def _read(
    access: Access,
    symbol: str,
    filters: ChainFilter,
    policy: ReadPolicy,
    verify: bool | None,
    scope: Scope | None,
    place: Place,
) -> Outcome:
    day = str(place.date)
    proved = access.verifies(verify)
    if scope is not None:
        scope.check()
    try:
        with entered(scope):
            read = read_chain(
                access.chains, access.provenance, symbol, place, filters, policy, verify=proved
            )
            frame = of_file_date(read)
    except StockDBError as error:
        return day, error, None
    except Exception as error:  # whatever it is, the other days have not deserved it
        failure = StockDBError(
            f"{symbol} on {day}: unexpected {type(error).__name__}.",
            remedy="This is a defect of the library: read this day alone to see where.",
            symbol=symbol,
        )
        return day, failure, None
    known = access.provenance.of(read)
    frame.attrs = {}
    return day, frame, known
