"""Chains of many days, each summed up as it is read, so that few are in memory at a time."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access import load
from stockdb.access.access import Access
from stockdb.access.chains import ChainFilter, history_note, of_file_date, read_chain
from stockdb.access.provenance import Provenance
from stockdb.access.smiles import volatility_inputs
from stockdb.core.days import Place
from stockdb.core.reader import Origin
from stockdb.errors import DateNotFoundError, StockDBError, SymbolNotFoundError
from stockdb.options import flow
from stockdb.processing.adjust import Events, unadjust
from stockdb.processing.optionflow import INPUTS
from stockdb.processing.spec import BARS

__all__ = ["ChainDays", "chain_days", "known_interest", "stock_bars", "sum_up"]

_SHARES: Final = 100.0


@dataclass
class ChainDays:
    """What the chains of one underlying gave.

    Attributes
    ----------
    frame : pandas.DataFrame
        Index ``date``, one row a day with a chain; bars as traded and the inputs of
        :data:`stockdb.processing.optionflow.INPUTS`.
    absent : int
        Days whose file does not quote the symbol.
    failed : dict of str to str
        Days that could not be read, with the reason.
    notes : dict
    """

    frame: pd.DataFrame
    absent: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    provenance: Provenance | None = None


def chain_days(
    access: Access,
    symbol: str,
    wanted: int,
    end: dt.date | None,
    values: Mapping[str, Any],
    *,
    volatilities: bool = True,
) -> ChainDays:
    """Read and sum up the newest days with a chain on or before a date.

    Parameters
    ----------
    volatilities : bool
        False leaves the inputs that need implied volatilities NaN: they take most of the time.

    Raises
    ------
    SymbolNotFoundError
        No file among the newest ones quotes the symbol.
    StockDBError
        Every day failed.
    """
    places = list(access.chains.places(None, end, policy=load.policy_of(values)).values())
    own = [place for place in places if place.member is None]
    places = own if len(own) >= wanted else places  # days in archives are inflated as a whole
    before = {place.date: earlier for earlier, place in itertools.pairwise(places)}
    bars, origins = stock_bars(access, symbol, end, values)
    rows: list[dict[str, Any]] = []
    result = ChainDays(pd.DataFrame())
    errors: list[StockDBError] = []
    while places and len(rows) < wanted:
        part = places[len(rows) - wanted :]
        places = places[: len(places) - len(part)]

        def read(place: Place) -> dict[str, Any]:
            close = bars["close"].get(pd.Timestamp(place.date), np.nan)
            found = _day(access, symbol, place, before.get(place.date), values)
            origins, chain = found.pop("origins"), found.pop("chain")
            if volatilities:
                rate = values.get("rate")
                found |= volatility_inputs(
                    access, symbol, place.date, chain, float(close), rate, load.policy_of(values)
                )
            return {**found, "origins": origins}

        outcomes = load.each(access, part, read)
        found = [outcome for outcome in outcomes if isinstance(outcome, dict)]
        for place, outcome in zip(part, outcomes, strict=True):
            if isinstance(outcome, StockDBError):
                errors.append(outcome)
                if isinstance(outcome, SymbolNotFoundError):
                    result.absent += 1
                else:
                    result.failed[str(place.date)] = outcome.message
        if not found:
            break  # not quoted in so many files: looking farther costs a read each
        rows = [*found, *rows]
    if not rows:
        raise _nothing(symbol, end, errors)
    days = pd.DataFrame(rows).set_index("date")
    days.index = pd.DatetimeIndex(days.index, name="date").as_unit("ns")
    result.notes = {
        "days_absent": result.absent,
        "days_failed": dict(list(result.failed.items())[:20]),
        "other_quote_dates": int(days["other"].sum()),
    }
    inputs = days.reindex(columns=list(INPUTS))
    for some in days["origins"]:
        origins += some
    note = history_note(access.provenance, symbol, tuple(origins))
    note |= {"interval": "daily", "validation": None}
    result.provenance = Provenance(note["provenance"], note, tuple(origins))
    result.frame = pd.concat([bars.reindex(days.index), inputs], axis=1)
    return result


def stock_bars(
    access: Access, symbol: str, end: dt.date | None, values: Mapping[str, Any]
) -> tuple[pd.DataFrame, list[Origin]]:
    """Read the stock as it was traded: chains and their contracts are on the day's own shares.

    Returns
    -------
    (pandas.DataFrame, list of Origin)
        Columns of `BARS`; no rows where the bucket has no bars of the symbol (an index). Where
        the dataset is adjusted and the bucket has the events, the adjustment is taken back.
    """
    held = access.settings.datasets
    request = access.request(
        None, end, "daily",
        max_age=values["max_age"], offline=values["offline"], allow_stale=values["allow_stale"],
    )  # fmt: skip
    try:
        frame = access.history(symbol, request)
    except SymbolNotFoundError:
        none = pd.DataFrame(columns=list(BARS), index=pd.DatetimeIndex([]), dtype=np.float64)
        return none, []
    origins = list(access.provenance.of(frame).origins)
    adjusted = frame.attrs["stockdb"]["adjustment"]
    frame = frame.reindex(columns=list(BARS))
    policy = load.policy_of(values)
    splits = access.splits(symbol, required=False, policy=policy)
    dividends = None
    if adjusted == "all":
        dividends = access.dividends(symbol, required=False, policy=policy)
    if adjusted == "none" or splits is None or (adjusted == "all" and dividends is None):
        return frame, origins
    basis = "dividends" in held and held["dividends"].adjustment == "splits"
    events = Events.of(splits, dividends, amounts_adjusted=basis)
    return unadjust(frame, events, held="none", wanted=adjusted), origins


def known_interest(chain: pd.DataFrame, previous: pd.DataFrame | None) -> pd.DataFrame:
    """Replace open interest published after the session by that of the day before.

    Parameters
    ----------
    chain : pandas.DataFrame
    previous : pandas.DataFrame or None
        The chain of the day before; None or without the contract: not known.
    """
    if previous is None:
        return chain.assign(open_interest=np.nan)
    held = previous.drop_duplicates("contract").set_index("contract")["open_interest"]
    return chain.assign(open_interest=held.reindex(chain["contract"]).to_numpy())


def sum_up(chain: pd.DataFrame) -> dict[str, float]:
    """Sum a chain up to the inputs that need neither spot nor rate.

    Parameters
    ----------
    chain : pandas.DataFrame
        As ``get_option_chain()`` returns it, open interest as known at the open.

    Returns
    -------
    dict of str to float
        NaN where no contract has the value: the dataset leaves it blank.
    """
    chain = chain.drop_duplicates("contract")
    calls = (chain["type"] == "call").to_numpy()
    result = {"signed_premium": float("nan")}
    dollars = chain["volume"] * chain["mid"] * _SHARES
    # What was not traded has no premium, quoted or not.
    dollars = dollars.where(chain["volume"] != 0.0, 0.0)
    for side, rows in (("call", calls), ("put", ~calls)):
        for name, column in (
            ("volume", chain["volume"]),
            ("oi", chain["open_interest"]),
            ("dollars", dollars),
        ):
            result[f"{side}_{name}"] = float(column[rows].sum(min_count=1))
    alive = chain[(chain["dte"] > 0) & (chain["open_interest"] > 0.0)]
    nearest = alive[alive["dte"] == alive["dte"].min()]
    result["day_max_pain"] = flow.max_pain(
        nearest["strike"].to_numpy(),
        (nearest["type"] == "call").to_numpy(),
        nearest["open_interest"].to_numpy(),
    )
    return result


def _day(
    access: Access,
    symbol: str,
    place: Place,
    before: Place | None,
    values: Mapping[str, Any],
) -> dict[str, Any]:
    chain = of_file_date(_chain(access, symbol, place, values))
    origins = access.provenance.of(chain).origins
    if place.dataset.oi_asof == "close":
        chain = known_interest(chain, _previous(access, symbol, before, values))
    date = pd.Timestamp(place.date)
    other = chain.attrs["stockdb"]["other_quote_dates"]
    return {
        "date": date, "origins": origins, "chain": chain, "other": other, **sum_up(chain),
    }  # fmt: skip


def _previous(
    access: Access, symbol: str, place: Place | None, values: Mapping[str, Any]
) -> pd.DataFrame | None:
    if place is None:
        return None
    try:
        chain = _chain(access, symbol, place, values)
    except SymbolNotFoundError:
        return None
    mine = chain["quote_date"] == pd.Timestamp(place.date)
    return chain[mine] if mine.any() else None


def _chain(access: Access, symbol: str, place: Place, values: Mapping[str, Any]) -> pd.DataFrame:
    return read_chain(
        access.chains,
        access.provenance,
        symbol,
        place,
        ChainFilter(),
        load.policy_of(values),
        verify=access.settings.validation.verify_order,
    )


def _nothing(symbol: str, end: dt.date | None, errors: list[StockDBError]) -> StockDBError:
    real = [error for error in errors if not isinstance(error, SymbolNotFoundError)]
    if real:
        return real[0]
    if errors:
        return SymbolNotFoundError(
            f"None of the newest {len(errors)} options files"
            f"{'' if end is None else f' up to {end}'} holds options of {symbol!r}.",
            symbol=symbol,
        )
    return DateNotFoundError(
        "The bucket holds no options file" + ("." if end is None else f" up to {end}."),
        remedy="list_option_dates() has the dates held.",
    )
