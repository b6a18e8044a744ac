"""Option chains as frames: typed, filtered, labelled."""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from stockdb.access.provenance import ATTRS, ProvenanceLog, worst_freshness
from stockdb.arguments import Bounds, parse_bounds, parse_number, parse_option_type, parse_pair
from stockdb.core.chains import Chain, ChainReader
from stockdb.core.days import Place
from stockdb.core.reader import Origin, ReadPolicy
from stockdb.errors import DataError, RangeError
from stockdb.types import DateLike, parse_date, parse_symbol

__all__ = [
    "ChainFilter",
    "chain_frame",
    "history_note",
    "inside",
    "of_file_date",
    "one_contract",
    "parse_contract",
    "parse_filter",
    "read_chain",
]

_CONTRACT: Final = re.compile(
    r"(?:O:)?(?P<root>[A-Z0-9.\-^]{1,8}?)(?P<date>\d{6})(?P<type>[CP])(?P<strike>\d{8})", re.ASCII
)
_FIRST: Final = (
    "symbol", "contract", "expiration", "dte", "type", "strike", "bid", "ask", "mid", "spread",
    "bid_size", "ask_size", "volume", "open_interest", "style", "quote_date",
)  # fmt: skip
_LISTS: Final = (list, tuple, set, frozenset, np.ndarray, pd.Index, pd.Series)


@dataclass(frozen=True, slots=True)
class ChainFilter:
    """Which rows of a chain are wanted; None takes all.

    Attributes
    ----------
    expirations : frozenset of datetime.date or None
    expires : tuple or None
        First and last expiration, both included.
    dte : tuple or None
        Least and most days to expiration, both included.
    option_type : {'call', 'put'} or None
    strikes : tuple or None
        Least and greatest strike.
    strike_set : frozenset of float or None
    moneyness : tuple or None
        Least and greatest strike / spot, the spot implied by the chain.
    """

    expirations: frozenset[dt.date] | None = None
    expires: tuple[dt.date | None, dt.date | None] | None = None
    dte: Bounds | None = None
    option_type: str | None = None
    strikes: Bounds | None = None
    strike_set: frozenset[float] | None = None
    moneyness: Bounds | None = None


def parse_filter(
    expiration: DateLike | Iterable[DateLike | None] | None = None,
    dte: int | Sequence[float | None] | None = None,
    option_type: str | None = None,
    strikes: float | Sequence[float | None] | None = None,
    moneyness: Sequence[float | None] | None = None,
) -> ChainFilter:
    """Read the filters of a chain call.

    Parameters
    ----------
    expiration : date-like, (first, last) tuple, or list
        One expiration; a tuple is a range, a list the expirations themselves.
    dte : int or (int, int)
        One number is the most; a pair is least and most, None open.
    option_type : str
        ``call``, ``put``, ``C`` or ``P``.
    strikes : float, (low, high) tuple, or list
        One strike; a tuple is a range, a list the strikes themselves.
    moneyness : (low, high)
        Strike / spot.

    Raises
    ------
    ConfigurationError
        A filter that cannot be understood.
    RangeError
        An expiration that is no date, or a reversed range of them.
    """
    expirations = expires = None
    if isinstance(expiration, tuple):
        expires = _dates("expiration", expiration)
    elif expiration is not None:
        many = isinstance(expiration, _LISTS)
        items: Iterable[Any] = expiration if many else [expiration]  # type: ignore[assignment]
        expirations = frozenset(parse_date(item, "expiration") for item in items)
    kind = None if option_type is None else parse_option_type(option_type)
    days = (None, parse_number("dte", dte)) if isinstance(dte, Real) else _pair("dte", dte)
    listed: frozenset[float] | None = None
    bounds: Bounds | None = None
    if isinstance(strikes, tuple):
        bounds = _pair("strikes", strikes)
    elif isinstance(strikes, _LISTS):
        listed = frozenset(parse_number("strikes", strike) for strike in strikes)
    elif strikes is not None:
        listed = frozenset([parse_number("strikes", strikes)])
    share = _pair("moneyness", moneyness)
    return ChainFilter(expirations, expires, days, kind, bounds, listed, share)


def _dates(name: str, value: tuple[Any, ...]) -> tuple[dt.date | None, dt.date | None]:
    ends = parse_pair(name, value, f"Give {name}=(first, last), None is open, or a list of dates.")
    first, last = (None if end is None else parse_date(end, name) for end in ends)
    if first is not None and last is not None and first > last:
        raise RangeError(f"{name}=({first}, {last}) is reversed.", remedy="Swap the two.")
    return first, last


def _pair(name: str, value: Any) -> Bounds | None:
    return None if value is None else parse_bounds(name, value)


def parse_contract(text: str) -> tuple[str, str]:
    """Read an option symbol in either format of the bucket.

    Returns
    -------
    (str, str)
        The underlying, and the contract without its ``O:`` prefix.

    Raises
    ------
    DataError
        Not an option symbol.

    Examples
    --------
    >>> parse_contract("O:A230120C00050000")
    ('A', 'A230120C00050000')
    """
    cleaned = text.strip().upper() if isinstance(text, str) else ""
    match = _CONTRACT.fullmatch(cleaned)
    if match is None or not _is_date(match["date"]):
        raise DataError(
            f"{text!r} is not an option contract.",
            remedy="Use the OCC form: root, yymmdd, C or P, strike x 1000 in eight digits.",
        )
    return parse_symbol(match["root"]), cleaned.removeprefix("O:")


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(f"20{text}")
    except ValueError:
        return False
    return True


def read_chain(
    reader: ChainReader,
    log: ProvenanceLog,
    symbol: str,
    day: dt.date | Place | None,
    wanted: ChainFilter,
    policy: ReadPolicy,
    *,
    verify: bool,
) -> pd.DataFrame:
    """Read one chain as a frame; see ``MinIODataIntegration.get_option_chain``."""
    if isinstance(day, Place):
        chain = reader.chain(symbol, day, policy, verify=verify)
    else:
        chain = reader.on(symbol, day, policy, verify=verify)
    frame, spot = chain_frame(chain, symbol, wanted)
    reason = None
    if frame.empty:
        reason = f"the filters leave none of {chain.table.num_rows} rows{_unmet(chain, wanted)}"
    note = _summary(symbol, (chain.origin,), spot, reason)
    note["file_date"] = str(chain.date)
    note["other_quote_dates"] = int((frame["quote_date"] != pd.Timestamp(chain.date)).sum())
    frame.attrs = {ATTRS: log.note(note, (chain.origin,))}
    return frame


def _unmet(chain: Chain, wanted: ChainFilter) -> str:
    """Say which expirations there are, where it is for them that no row is left."""
    held = sorted(day for day in set(chain.table["expiration"].to_pylist()) if day is not None)
    asked, (first, last) = wanted.expirations, wanted.expires or (None, None)
    met = [
        day
        for day in held
        if (asked is None or day in asked)
        and (first is None or day >= first)
        and (last is None or day <= last)
    ]
    if met or not held or asked == frozenset():
        return ""
    edge = min(asked) if asked else first or last or held[0]
    near = sorted(sorted(held, key=lambda day: abs((day - edge).days))[:2])
    return f": none expires then; near {edge} do {' and '.join(map(str, near))}"


def of_file_date(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave the rows of a chain out that are quoted on another date than their file's.

    Raises
    ------
    DataError
        All of them are.
    """
    note = frame.attrs[ATTRS]
    others = note["other_quote_dates"]
    if not others:
        return frame
    if others == len(frame):
        raise DataError(
            f"All {others} rows of {note['symbol']} in the options file of {note['file_date']} "
            "are quoted on another date.",
            remedy="get_option_chain() shows what the file holds; give it its right name.",
            symbol=note["symbol"],
        )
    mine = frame["quote_date"] == pd.Timestamp(note["file_date"])
    return frame[mine].reset_index(drop=True)


def _summary(
    symbol: str, origins: tuple[Origin, ...], spot: float | None, reason: str | None
) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "dataset": ",".join(dict.fromkeys(origin.dataset for origin in origins)),
        "adjustment": "none",
        "freshness": worst_freshness(origins),
        "validated_at": min((origin.validated_at for origin in origins), default=None),
        "simulated": any(origin.simulated for origin in origins),
        "grouping": "assumed" if any(o.grouping == "assumed" for o in origins) else "proved",
        "spot": spot,
        "spot_source": None if spot is None else "put-call parity of the chain",
        "empty_reason": reason,
    }


def chain_frame(
    chain: Chain, symbol: str, wanted: ChainFilter
) -> tuple[pd.DataFrame, float | None]:
    """Make the frame of a chain, filtered.

    Returns
    -------
    (pandas.DataFrame, float or None)
        The rows, and the spot that a moneyness filter went by.
    """
    frame = typed(chain.table, symbol)
    keep = np.ones(len(frame), bool)
    spot = None
    if wanted.expirations is not None:
        days = pd.DatetimeIndex([pd.Timestamp(day) for day in wanted.expirations])
        keep &= frame["expiration"].isin(days).to_numpy()
    for end, fits in zip(wanted.expires or (), (operator.ge, operator.le), strict=False):
        if end is not None:
            keep &= fits(frame["expiration"], pd.Timestamp(end)).to_numpy()
    if wanted.dte is not None:
        keep &= inside(frame["dte"].to_numpy(), wanted.dte)
    if wanted.option_type is not None:
        keep &= (frame["type"] == wanted.option_type).to_numpy()
    if wanted.strikes is not None:
        keep &= inside(frame["strike"].to_numpy(), wanted.strikes)
    if wanted.strike_set is not None:
        keep &= frame["strike"].isin(list(wanted.strike_set)).to_numpy()
    if wanted.moneyness is not None:
        spot = implied_spot(frame)
        if spot is None:
            raise DataError(
                f"The chain of {symbol} on {chain.date} implies no spot: no strike has both a "
                "call and a put quoted on both sides.",
                remedy="Filter by strikes instead of moneyness.",
                symbol=symbol,
            )
        keep &= inside(frame["strike"].to_numpy() / spot, wanted.moneyness)
    if not keep.all():
        frame = frame[keep].reset_index(drop=True)
    return frame, spot


def typed(table: pa.Table, symbol: str) -> pd.DataFrame:
    """Turn rows of options into a frame with the derived columns.

    Notes
    -----
    ``mid`` and ``spread`` are NaN where either side of the quote is missing; a bid of 0 is a
    quote. ``dte`` counts calendar days from the quote date to the expiration.
    """
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_date(column.type):
            columns[name] = column.cast(pa.timestamp("s")).to_numpy().astype("datetime64[ns]")
        elif pa.types.is_floating(column.type):
            columns[name] = column.to_numpy().copy()
        else:
            columns[name] = pd.array(column.combine_chunks().cast(pa.string()), dtype="str")
    bid, ask = columns["bid"], columns["ask"]
    days = columns["expiration"] - columns["quote_date"]
    columns["symbol"] = pd.array([symbol] * len(bid), dtype="str")
    columns["dte"] = days.astype("timedelta64[D]").astype(np.int64)
    columns["mid"] = (bid + ask) / 2.0
    columns["spread"] = ask - bid
    columns.pop("underlying", None)
    names: list[str] = [name for name in _FIRST if name in columns]
    names += [name for name in columns if name not in names]  # the vendor's own figures
    return pd.DataFrame({name: columns[name] for name in names})


def one_contract(frame: pd.DataFrame, contract: str) -> pd.DataFrame:
    """Take one contract's rows out of a chain history, by quote date."""
    mine = frame["contract"].str.removeprefix("O:") == contract
    result = frame[mine].set_index("quote_date").sort_index()
    note = dict(frame.attrs.get(ATTRS, {}))
    if result.empty:
        note["empty_reason"] = f"no day of the range quotes {contract}"
    result.attrs = {ATTRS: {**note, "contract": contract}}
    return result


def history_note(log: ProvenanceLog, symbol: str, origins: tuple[Origin, ...]) -> dict[str, Any]:
    """Sum up where the days of a chain history came from."""
    return log.note(_summary(symbol, origins, None, None), origins)


def implied_spot(frame: pd.DataFrame) -> float | None:
    """Estimate the spot from put-call parity at the nearest expiration.

    Returns
    -------
    float or None
        Median over the five strikes nearest the money of K + C - P at mid prices: carry and
        early exercise are left out, which a few weeks to expiration allow. None where no
        strike has both sides of both options.

    Notes
    -----
    Stoll (1969), "The relationship between put and call option prices".
    """
    quoted = frame[(frame["bid"] > 0) & (frame["ask"] > frame["bid"]) & (frame["dte"] > 0)]
    pairs = quoted.pivot_table(index=["dte", "strike"], columns="type", values="mid")
    if not {"call", "put"} <= set(pairs.columns):
        return None
    pairs = pairs.dropna(subset=["call", "put"]).reset_index()
    if pairs.empty:
        return None
    nearest = pairs[pairs["dte"] == pairs["dte"].min()]
    gap = nearest["call"] - nearest["put"]
    money = nearest.assign(spot=nearest["strike"] + gap, gap=gap.abs()).nsmallest(5, "gap")
    return float(money["spot"].median())


def inside(values: np.ndarray[Any, np.dtype[Any]], bounds: Bounds) -> np.ndarray[Any, Any]:
    """Mark the values within a range."""
    low, high = bounds
    keep = np.ones(len(values), bool)
    if low is not None:
        keep &= values >= low
    if high is not None:
        keep &= values <= high
    return keep
