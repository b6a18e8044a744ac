"""Features of option chains, on the rows of the bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from stockdb.access import Access, HistoryRequest, Provenance
from stockdb.access.chain_days import chain_days
from stockdb.access.smiles import SMILE_INPUTS
from stockdb.errors import DateNotFoundError, SymbolNotFoundError
from stockdb.processing.evaluate import evaluate, warmup
from stockdb.processing.nans import count_nans
from stockdb.processing.optionflow import INPUTS
from stockdb.processing.spec import Column

__all__ = ["OPTION_INPUTS", "OptionDays", "option_days"]

OPTION_INPUTS: Final = frozenset(INPUTS)


@dataclass(frozen=True)
class OptionDays:
    """Columns of one symbol's chains.

    Attributes
    ----------
    frame : pandas.DataFrame
        On the rows asked for; NaN on days without a chain.
    nans : dict of str to dict of str to int
    note : dict
        Days with a chain; why there are none.
    provenance : list of Provenance
    """

    frame: pd.DataFrame
    nans: dict[str, dict[str, int]]
    note: dict[str, Any]
    provenance: list[Provenance] = field(default_factory=list)


def option_days(
    access: Access,
    symbol: str,
    columns: Sequence[Column],
    rows: pd.DatetimeIndex,
    request: HistoryRequest,
    rate: float | None = None,
) -> OptionDays:
    """Compute columns of option chains where they exist.

    Every day in the range costs a ranged read of its file the first time.

    Parameters
    ----------
    columns : sequence of Column
        With inputs of :data:`stockdb.processing.optionflow.INPUTS`.
    rows : pandas.DatetimeIndex
        Sessions to give values on.
    request : HistoryRequest
    rate : float, optional
        For volatilities; None takes the bucket's treasury table.
    """
    names = [column.name for column in columns]
    nothing = pd.DataFrame(np.nan, index=rows, columns=names)
    absent = {name: {"no_chain": len(rows)} for name in names if len(rows)}
    if not len(rows):
        return OptionDays(nothing, absent, {"days": 0})
    policy = request.policy
    reading = {
        "max_age": policy.max_age,
        "offline": policy.offline,
        "allow_stale": policy.allow_stale,
        "rate": rate,
    }
    smiles = any(set(SMILE_INPUTS) & set(column.inputs) for column in columns)
    wanted, last = len(rows) + warmup(columns), rows[-1].date()
    try:
        days = chain_days(access, symbol, wanted, last, reading, volatilities=smiles)
    except (SymbolNotFoundError, DateNotFoundError) as error:
        return OptionDays(nothing, absent, {"days": 0, "reason": error.message})
    values = evaluate(days.frame, columns)
    inside = np.asarray(values.index.isin(rows))
    nans = count_nans(days.frame, values, inside, columns)
    failed = int(rows.isin(pd.DatetimeIndex(list(days.failed))).sum())
    missing = {"chain_failed": failed, "no_chain": len(rows) - int(inside.sum()) - failed}
    more = {reason: count for reason, count in missing.items() if count}
    if more:
        nans = {name: {**nans.get(name, {}), **more} for name in names}
    origin = [] if days.provenance is None else [days.provenance]
    note = {"days": int(inside.sum()), "failed": failed, **days.notes}
    return OptionDays(values.reindex(rows), nans, note, origin + _tables(access, symbol, rate))


def _tables(access: Access, symbol: str, rate: float | None) -> list[Provenance]:
    """Say which tables the bars as traded and the volatilities rest on."""
    tables = [access.splits(symbol, required=False), access.dividends(symbol, required=False)]
    if rate is None:
        tables.append(access.treasury(percent=True, required=False))
    return [access.provenance.of(table) for table in tables if table is not None]
