"""What a careful loader would ask about in a file that can be read; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stockdb.core.cells import is_contract
from stockdb.settings import Dataset

__all__ = ["doubts"]

#: Characters of an option symbol after its root: YYMMDD, C or P, strike times 1000.
_END: Final = 15


def doubts(
    table: pa.Table, dataset: Dataset, now: pd.Timestamp
) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Find rows that contradict themselves or the calendar.

    Parameters
    ----------
    table : pyarrow.Table
        As ``core.parse`` gives it.
    dataset : Dataset
        Its kind and time zone.
    now : pandas.Timestamp
        UTC.

    Yields
    ------
    rule : str
        ``future``: dated after today in the dataset's time zone. Of chains also
        ``bid_above_ask``, ``expired``: the expiration is before the quote date, and
        ``contradicts_contract``: the contract symbol names another expiration, type or strike
        than the columns.
    rows : pyarrow.ChunkedArray
        Date or contract of each row found.
    """
    if dataset.kind == "reference":  # splits and dividends are announced
        return
    chain = dataset.kind == "options"
    dates = table["quote_date" if chain else "date"]
    found = {"future": (pc.greater_equal(dates, _tomorrow(dates.type, dataset, now)), dates)}
    if chain:
        names = table["contract"]
        found["bid_above_ask"] = pc.greater(table["bid"], table["ask"]), names
        found["expired"] = pc.less(table["expiration"], table["quote_date"]), names
        found["contradicts_contract"] = _contradicts(table), names
    for rule, (mask, labels) in found.items():
        rows = labels.filter(mask)
        if len(rows):
            yield rule, rows


def _tomorrow(kind: pa.DataType, dataset: Dataset, now: pd.Timestamp) -> pa.Scalar:
    local = now.tz_convert(dataset.timezone)
    end: Any = local.normalize() + pd.DateOffset(days=1)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pa.scalar(end.tz_convert("UTC"), kind)
    return pa.scalar(end.tz_localize(None) if pa.types.is_timestamp(kind) else end.date(), kind)


def _contradicts(table: pa.Table) -> pa.ChunkedArray:
    """Compare contracts that are option symbols with the end that the columns give them."""
    days = pc.strftime(table["expiration"], "%y%m%d")
    rights = pc.if_else(pc.equal(table["type"], "call"), "C", "P")
    mills = pc.round(pc.multiply(table["strike"], 1000.0)).cast(pa.int64()).cast(pa.string())
    ends = pc.binary_join_element_wise(days, rights, pc.utf8_lpad(mills, 8, "0"), "")
    differs = pc.invert(pc.equal(pc.utf8_slice_codeunits(table["contract"], -_END), ends))
    return pc.and_(is_contract(table["contract"]), differs)
