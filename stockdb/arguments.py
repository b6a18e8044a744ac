"""Numbers, ranges, words and mappings that a caller gives, checked once at the boundary.

Text is no number, NaN is none, and a reversed range is no range: what they would lead to further
down is an empty frame, or another library's error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Real
from reprlib import repr as _short
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.errors import ConfigurationError
from stockdb.types import parse_symbol

__all__ = [
    "Bounds",
    "OptionType",
    "parse_array",
    "parse_bounds",
    "parse_by_symbol",
    "parse_choice",
    "parse_number",
    "parse_numbers",
    "parse_option_type",
    "parse_optional",
    "parse_pair",
    "parse_whole",
    "shown",
]

OptionType = Literal["call", "put"]
#: Least and most, both included; None is open.
Bounds = tuple[float | None, float | None]


def parse_option_type(value: object) -> OptionType:
    """Read ``call`` or ``put``; their first letters and plurals too, in any case.

    Examples
    --------
    >>> parse_option_type("C"), parse_option_type("puts")
    ('call', 'put')
    """
    word = value.strip().lower().removesuffix("s") if isinstance(value, str) else ""
    if word in ("c", "call"):
        return "call"
    if word in ("p", "put"):
        return "put"
    raise ConfigurationError(
        f"Unknown option_type {shown(value)}.", remedy="Use 'call' or 'put'.", value=shown(value)
    )


def parse_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Read one of a few words, in any case.

    Examples
    --------
    >>> parse_choice("structure", "Straddle", ("straddle", "option"))
    'straddle'
    """
    known = list(choices)
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in known:
        raise ConfigurationError(
            f"Unknown {name} {shown(value)}.", remedy=f"Use one of {', '.join(map(repr, known))}."
        )
    return word


def parse_number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    remedy: str | None = None,
) -> float:
    """Read one finite number.

    Parameters
    ----------
    name : str
        Of the argument, for the message.
    value : float
        Any real number or Decimal; text, booleans, NaN and infinity are none.
    least, most : float, optional
        What is still allowed.
    above : float, optional
        What is no longer allowed.
    remedy : str, optional

    Raises
    ------
    ConfigurationError
        Not such a number.

    Examples
    --------
    >>> parse_number("fees_per_contract", 0.65, least=0)
    0.65
    """
    number = float(value) if _is_number(value) else math.nan  # type: ignore[arg-type]
    good = (
        math.isfinite(number)
        and (least is None or number >= least)
        and (most is None or number <= most)
        and (above is None or number > above)
    )
    if good:
        return number
    if above is not None:
        allowed = f" above {above:g}" + ("" if most is None else f", {most:g} at most")
    elif most is not None:
        allowed = f" from {least:g} to {most:g}" if least is not None else f" of {most:g} at most"
    else:
        allowed = "" if least is None else f" of {least:g} or more"
    raise ConfigurationError(
        f"{name}={shown(value)} is not a finite number{allowed}.",
        remedy=remedy or f"Give {name} as a number{allowed}.",
        value=shown(value),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (Real, Decimal)) and not isinstance(value, bool)


def parse_optional(name: str, value: object, **allowed: Any) -> float | None:
    """Read a number as :func:`parse_number` does, or None."""
    return None if value is None else parse_number(name, value, **allowed)


def parse_whole(name: str, value: object, *, least: int = 0, most: int = 10**9) -> int:
    """Read a whole number from ``least`` to ``most``.

    Examples
    --------
    >>> parse_whole("max_rows", 200, least=1)
    200
    """
    remedy = f"Give {name} as a whole number from {least} to {most}."
    number = parse_number(name, value, least=least, most=most, remedy=remedy)
    if not number.is_integer():
        raise ConfigurationError(f"{name}={shown(value)} is not a whole number.", remedy=remedy)
    return int(number)


def parse_numbers(name: str, value: object, **allowed: Any) -> tuple[float, ...]:
    """Read one number or several, as :func:`parse_number` does; repeats are dropped.

    Raises
    ------
    ConfigurationError
        One is no such number, or there is none.

    Examples
    --------
    >>> parse_numbers("days", 30), parse_numbers("days", (0, 30, 90), least=0)
    ((30.0,), (0.0, 30.0, 90.0))
    """
    one = not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping))
    items: list[Any] = [value] if one else list(value)  # type: ignore[call-overload]
    if not items:
        raise ConfigurationError(f"{name} is empty.", remedy=f"Give at least one of {name}.")
    return tuple(dict.fromkeys(parse_number(name, item, **allowed) for item in items))


def parse_array(name: str, value: object) -> npt.NDArray[np.float64]:
    """Read a number or an array of numbers of any shape; NaN stays what it is.

    Raises
    ------
    ConfigurationError
        Dates, text, None, or rows of different lengths.

    Examples
    --------
    >>> parse_array("moneyness", [0.9, 1.1])
    array([0.9, 1.1])
    """
    try:
        found = np.asarray(value)  # of dates float64 would make nanoseconds
    except ValueError:
        found = np.empty(0, object)
    if found.dtype.kind not in "iuf":
        raise ConfigurationError(
            f"{name}={shown(value)} is neither a number nor an array of numbers.",
            remedy=f"Give {name} as numbers.",
        )
    return found.astype(np.float64)


def parse_pair(name: str, value: object, remedy: str) -> tuple[Any, Any]:
    """Take two values apart.

    Examples
    --------
    >>> parse_pair("quotes", [543.0, 543.1], "Give (bid, ask).")
    (543.0, 543.1)
    """
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) != 2:
        raise ConfigurationError(f"{name}={shown(value)} is not a pair.", remedy=remedy)
    return value[0], value[1]


def parse_bounds(
    name: str, value: object, *, least: float | None = None, most: float | None = None
) -> Bounds:
    """Read a range ``(low, high)``; None, for one of them or for both, is open.

    Raises
    ------
    ConfigurationError
        Not a pair of numbers, a bound outside ``least`` to ``most``, or a reversed range.

    Examples
    --------
    >>> parse_bounds("front_days", (20, None))
    (20.0, None)
    """
    if value is None:
        return None, None
    ends = []
    pair = parse_pair(name, value, f"Give {name}=(low, high), None is open.")
    for item, open_ in zip(pair, (-math.inf, math.inf), strict=True):
        end = None if _is_number(item) and item == open_ else item
        ends.append(parse_optional(name, end, least=least, most=most))
    low, high = ends
    if low is not None and high is not None and low > high:
        raise ConfigurationError(f"{name}={shown(value)} is reversed.", remedy="Swap the two.")
    return low, high


def shown(value: object) -> str:
    """Write a value for a message: one line, whatever it is."""
    return " ".join(_short(value).split())


def parse_by_symbol(name: str, value: object) -> dict[str, Any]:
    """Read a mapping (or Series) by symbol; None is an empty one.

    Examples
    --------
    >>> parse_by_symbol("spots", {"pep": 130})
    {'PEP': 130}
    """
    if value is None:
        return {}
    if not isinstance(value, (Mapping, pd.Series)):
        raise ConfigurationError(
            f"{name}={shown(value)} is no mapping by symbol.",
            remedy=f"Give {name}={{'AAPL': ...}}, one entry for each symbol.",
        )
    return {parse_symbol(symbol): item for symbol, item in value.items()}
