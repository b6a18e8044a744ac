"""What the text of one field means: numbers, dates, call or put, option symbols.

Each rule exists once for a single text, where its refusal names the reason, and where speed
matters once more for a whole Arrow column, which only says that something is wrong.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from stockdb.types import DstPolicy

__all__ = [
    "BLANK",
    "NS",
    "UTC",
    "CellError",
    "basic_to_iso",
    "call_or_put",
    "check_day_range",
    "check_stamp_range",
    "contract_parts",
    "date_shape",
    "is_contract",
    "is_number",
    "localize",
    "localize_one",
    "read_contract",
    "read_day",
    "read_number",
    "read_stamp",
]

NS: Final = pa.timestamp("ns")
UTC: Final = pa.timestamp("ns", "UTC")

#: What stands for "no value" in a column of numbers.
BLANK: Final = frozenset(
    "|NaN|nan|NAN|-nan|null|NULL|Null|NA|N/A|n/a|#N/A|<NA>|None".split("|")  # the first is ""
)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_THOUSANDS: Final = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_INFINITE: Final = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
_DATE: Final = re.compile(
    r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})"
    r"(?:[ T]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?)?"
    r" ?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_CONTRACT: Final = (
    r"^(?:O:)?(?P<root>[A-Z0-9.^]{1,6}?) *(?P<year>[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    r"(?P<right>[CP])(?P<strike>[0-9]{8})$"
)
_CONTRACT_TEXT: Final = re.compile(_CONTRACT)
_TYPES: Final = {"call": "call", "c": "call", "put": "put", "p": "put"}

_EPOCH: Final = dt.date(1970, 1, 1).toordinal()
_SECOND: Final = 10**9
_DAY: Final = 86_400 * _SECOND
#: Whole years that nanoseconds since 1970 can express, in days since 1970.
_FIRST_DAY: Final = dt.date(1678, 1, 1).toordinal() - _EPOCH
_LAST_DAY: Final = dt.date(2261, 12, 31).toordinal() - _EPOCH


class CellError(ValueError):
    """A row that cannot be read, and why.

    Attributes
    ----------
    reason : str
    remedy : str or None
        None takes the usual one.
    dst : bool
        Whether a change of the clocks is the reason: that has a policy of its own.
    """

    def __init__(self, reason: str, remedy: str | None = None, *, dst: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.dst = dst


def is_number(text: str) -> bool:
    """Whether a text is written as a finite number."""
    return _NUMBER.fullmatch(text.strip(" \t")) is not None


def read_number(text: str, name: str, blank: bool = True) -> float:
    """Read a number; blank is NaN.

    Raises
    ------
    CellError
        Text, an infinity (also by overflow), thousands separators, or a blank that may not be.
    """
    text = text.strip(" \t")
    if text in BLANK:
        if blank:
            return math.nan
        raise CellError(f"{name} is blank")
    if _NUMBER.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
        raise CellError(f"{name} is too large for a number: {text!r}")
    if _THOUSANDS.fullmatch(text):
        raise CellError(
            f"{name} has thousands separators: {text!r}",
            f"Write it without them: {text.replace(',', '')}.",
        )
    if _INFINITE.fullmatch(text):
        raise CellError(f"{name} is infinite: {text!r}")
    raise CellError(f"{name} is not a number: {text[:40]!r}")


def _read_date(text: str, name: str) -> tuple[int, int, int | None]:
    """Days since 1970, nanoseconds of the day, offset from UTC in seconds or None."""
    text = text.strip(" \t")
    if text in BLANK:
        raise CellError(f"{name} is blank")
    match = _DATE.fullmatch(text)
    if match is None:
        raise CellError(
            f"{name} is not a date: {text[:40]!r}",
            "Write dates as YYYY-MM-DD, with the time of day after a blank.",
        )
    year, month, day = int(match[1]), int(match[3]), int(match[4])
    hour, minute, second = int(match[5] or 0), int(match[6] or 0), int(match[7] or 0)
    offset = None if match[9] is None else _offset(match[9])
    try:
        days = dt.date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        raise CellError(f"{name} does not exist in the calendar: {text!r}") from None
    if hour > 23 or minute > 59 or second > 59 or (offset is not None and abs(offset) >= 86_400):
        raise CellError(f"{name} has no such time of day: {text!r}")
    of_day = (hour * 3600 + minute * 60 + second) * _SECOND + int((match[8] or "").ljust(9, "0"))
    return days, of_day, offset


def _offset(text: str) -> int:
    if text == "Z":
        return 0
    digits = text[1:].replace(":", "")
    minutes = int(digits[2:] or 0)
    seconds = int(digits[:2]) * 3600 + minutes * 60
    return (86_400 if minutes > 59 else seconds) * (-1 if text[0] == "-" else 1)


def read_day(text: str, name: str) -> int:
    """Days from 1970 to the date as written: never shifted by an offset behind it."""
    days = _read_date(text, name)[0]
    if not _FIRST_DAY <= days <= _LAST_DAY:
        raise _out_of_range(text, name)
    return days


def read_stamp(text: str, name: str, zone: str, policy: DstPolicy) -> int:
    """Nanoseconds from 1970 to an instant; without an offset, wall-clock time of the zone."""
    days, of_day, offset = _read_date(text, name)
    stamp = days * _DAY + of_day - (offset or 0) * _SECOND
    if not _FIRST_DAY * _DAY <= stamp < (_LAST_DAY + 1) * _DAY:
        raise _out_of_range(text, name)
    if offset is not None:
        return stamp
    return localize_one(stamp, zone, policy, f"{name} {text.strip()!r}")


def _out_of_range(text: str, name: str) -> CellError:
    return CellError(f"{name} lies outside 1678-2261: {text!r}")


def localize_one(wall: int, zone: str, policy: DstPolicy, what: str) -> int:
    """Read one naive stamp (nanoseconds) as wall-clock time; see :func:`localize`."""
    naive = pa.array([wall], pa.int64()).view(NS)
    try:
        return int(localize(naive, zone, policy).view(pa.int64())[0].as_py())
    except pa.ArrowInvalid as error:
        ambiguous = "ambiguous" in str(error)
    problem = "happened twice" if ambiguous else "never happened"
    raise CellError(
        f"{what} {problem} in {zone}: the clocks changed",
        "Set the dataset's dst_policy to 'earlier', 'later' or 'quarantine', or write stamps with "
        "their UTC offset.",
        dst=True,
    )


def localize(naive: pa.Array, zone: str, policy: DstPolicy) -> pa.Array:
    """Read naive stamps as wall-clock time of a zone.

    Parameters
    ----------
    naive : Array of timestamp[ns]
    zone : str
    policy : {'raise', 'earlier', 'later', 'quarantine'}
        What a stamp in a change of the clocks means. ``earlier`` and ``later`` choose
        between the two instants of an ambiguous stamp; one that does not exist becomes the
        last nanosecond before the gap, or the first instant after it.

    Returns
    -------
    Array of timestamp[ns, zone]

    Raises
    ------
    pyarrow.ArrowInvalid
        There is such a stamp, and the policy does not say what it means.
    """
    choice = {"earlier": "earliest", "later": "latest"}.get(policy, "raise")
    return pc.assume_timezone(naive, zone, ambiguous=choice, nonexistent=choice)


def date_shape(text: str) -> str:
    """How a date is written: ``iso``, ``basic`` (eight digits), ``naive`` (with time), ``aware``.

    Examples
    --------
    >>> date_shape("2023-01-03"), date_shape("2023-01-03 09:30:00-05:00")
    ('iso', 'aware')
    """
    text = text.strip(" \t")
    match = _DATE.fullmatch(text)
    if match is None or not match[2]:
        return "basic"  # what is no date at all fails there as well
    if match[9] is not None:
        return "aware"
    return "iso" if match[5] is None else "naive"


def basic_to_iso(array: pa.Array) -> pa.Array:
    """Write dates of eight digits with hyphens."""
    if not pc.all(pc.match_substring_regex(array, "^[0-9]{8}$")).as_py():
        raise CellError("not eight digits")
    parts = [pc.utf8_slice_codeunits(array, a, b) for a, b in ((0, 4), (4, 6), (6, 8))]
    return pc.binary_join_element_wise(*parts, "-")


def check_day_range(days: pa.Array) -> pa.Array:
    """Hand back a date32 column whose dates are all there and fit into nanoseconds."""
    if days.null_count:
        raise CellError("a date is blank")
    seen = days.view(pa.int32()).to_numpy()
    if len(seen) and not (_FIRST_DAY <= seen.min() and seen.max() <= _LAST_DAY):
        raise CellError("a date is out of range")
    return days


def check_stamp_range(stamps: pa.Array) -> pa.Array:
    """Hand back a timestamp[ns] column whose stamps are all there and within whole years."""
    if stamps.null_count:
        raise CellError("a date is blank")
    seen = stamps.view(pa.int64()).to_numpy()
    if len(seen) and not (_FIRST_DAY * _DAY <= seen.min() and seen.max() < (_LAST_DAY + 1) * _DAY):
        raise CellError("a date is out of range")
    return stamps


def call_or_put(text: str, name: str = "type") -> str:
    """Read ``call`` or ``put`` out of any usual spelling.

    Examples
    --------
    >>> call_or_put("C"), call_or_put("Put")
    ('call', 'put')
    """
    word = _TYPES.get(text.strip().lower())
    if word is None:
        raise CellError(f"{name} is neither call nor put: {text[:40]!r}")
    return word


def read_contract(text: str, name: str = "contract") -> str:
    """Check an option symbol from which other columns are to be taken."""
    match = _CONTRACT_TEXT.fullmatch(text)
    if match is None:
        raise CellError(f"{name} is not an option symbol: {text[:40]!r}")
    _read_date(f"20{match['year']}-{match['month']}-{match['day']}", f"{name} {text!r}")
    return text


def is_contract(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether texts have the form of an option symbol; null is null."""
    return pc.match_substring_regex(values, _CONTRACT)


def contract_parts(contracts: pa.Array) -> dict[str, pa.Array]:
    """Take underlying, expiration, type and strike out of option symbols.

    Parameters
    ----------
    contracts : Array of string
        ``A020518C00015000`` or ``O:A230120C00050000``: root, YYMMDD, C or P, strike times
        1000. The root stands for the underlying, also where a corporate action gave it a
        digit (``AAPL7``).

    Returns
    -------
    dict of str to Array

    Raises
    ------
    CellError, pyarrow.ArrowInvalid
        A symbol is not of that form.
    """
    parts = pc.extract_regex(contracts, _CONTRACT)
    if parts.null_count:
        raise CellError("not an option symbol")
    field = {name: pc.struct_field(parts, name) for name in ("year", "month", "day")}
    year = pc.binary_join_element_wise("20", field["year"], "")
    dates = pc.binary_join_element_wise(year, field["month"], field["day"], "-")
    call = pc.equal(pc.struct_field(parts, "right"), "C")
    strikes = pc.struct_field(parts, "strike").cast(pa.float64())
    return {
        "underlying": pc.struct_field(parts, "root"),
        "expiration": dates.cast(pa.date32()),
        "type": pc.if_else(call, "call", "put"),
        "strike": pc.divide(strikes, 1000.0),
    }
