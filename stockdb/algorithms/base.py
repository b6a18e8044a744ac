"""What an algorithm declares: columns, parameters, and where its data come from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Final

from stockdb.errors import ConfigurationError
from stockdb.processing.evaluate import spec_hash, warmup
from stockdb.processing.indicators import BASIC
from stockdb.processing.spec import BARS, Column
from stockdb.types import INTERVALS, parse_adjustment, parse_interval

__all__ = [
    "COMMON",
    "RATE",
    "Algorithm",
    "Param",
    "Values",
    "interval_of",
    "positive_number",
    "whole_numbers",
]

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Param:
    """One parameter of an algorithm.

    Attributes
    ----------
    name : str
    default : object
    meaning : str
        One sentence, for ``describe()``.
    parse : callable
        Takes what the caller gave, returns the value; raises ConfigurationError, TypeError or
        ValueError where it cannot be understood.
    """

    name: str
    default: Any
    meaning: str
    parse: Callable[[Any], Any]

    def read(self, algorithm: str, value: Any) -> Any:
        """Check a value.

        Raises
        ------
        ConfigurationError
            Names the algorithm, the parameter and what it means.
        """
        try:
            return self.parse(value)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{algorithm}: {self.name}={value!r} cannot be used: {error}",
                remedy=f"{self.name}: {self.meaning}",
                parameter=self.name,
            ) from None


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """One algorithm, declared.

    Attributes
    ----------
    name, summary : str
    columns : callable
        Parameters -> the columns to compute, in the order of the frame.
    params : tuple of Param
        Those of its own; `COMMON` is added.
    rate : bool
        Whether the columns have the input ``bill``.
    basic : bool
        Whether returns, log_returns, typical_price and vwap come before the columns.
    adjusts : bool
        Whether bars are adjusted, and ``adjust`` is a parameter.
    index : tuple of str
        Levels of a frame of several symbols.
    notes : tuple of str
        Assumptions and approximations, repeated in every frame's attrs.
    make : callable or None
        Computes the frame where it is not one row a symbol and bar; see
        :mod:`stockdb.algorithms.engine`.
    pending : str or None
        Why this release has no data for it.
    """

    name: str
    summary: str
    columns: Callable[[Values], tuple[Column, ...]]
    params: tuple[Param, ...] = ()
    rate: bool = False
    basic: bool = True
    adjusts: bool = True
    index: tuple[str, ...] = ("symbol", "date")
    notes: tuple[str, ...] = ()
    make: Callable[..., Any] | None = field(default=None, repr=False)
    pending: str | None = None

    @property
    def parameters(self) -> tuple[Param, ...]:
        """All parameters, those of every algorithm last."""
        common = COMMON if self.adjusts else COMMON[1:]
        return (*self.params, *common)

    def values(self, given: Values) -> dict[str, Any]:
        """Check parameters and fill in the defaults.

        Raises
        ------
        ConfigurationError
            An unknown name, with the nearest ones; or a value that cannot be used.
        """
        known = {param.name: param for param in self.parameters}
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, 2)
                ask = f"Did you mean {' or '.join(near)}?" if near else ""
                raise ConfigurationError(
                    f"{self.name} has no parameter {name!r}.",
                    remedy=f"{ask} It takes: {', '.join(known)}.".strip(),
                    parameter=name,
                )
        return {
            name: param.read(self.name, given[name]) if name in given else param.default
            for name, param in known.items()
        }

    def computed(self, values: Values) -> tuple[Column, ...]:
        """All columns, each name once."""
        first = BASIC if self.basic else ()
        return tuple({column.name: column for column in (*first, *self.columns(values))}.values())

    def describe(self, values: Values | None = None) -> dict[str, Any]:
        """Return the specification, as JSON values.

        Returns
        -------
        dict
            ``algorithm, summary, available`` (bool), ``index, bars, columns`` (each with name,
            definition, unit, window, warmup, source, role, scale_free, cross_sectional, reach,
            inputs), ``parameters`` (name, default, meaning), ``notes, warmup`` (bars loaded on
            top), ``spec`` (hash of the columns).
        """
        chosen = self.values({}) if values is None else values
        columns = self.computed(chosen)
        described = [column.describe() for column in columns]
        return {
            "algorithm": self.name,
            "summary": self.summary,
            "available": self.pending is None,
            "index": list(self.index),
            "bars": list(BARS) if self.basic else [],
            "columns": described,
            "parameters": [
                {"name": p.name, "default": _plain(p.default), "meaning": p.meaning}
                for p in self.parameters
            ],
            "notes": list(self.notes),
            "warmup": warmup(columns),
            "spec": spec_hash(columns),
        }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def positive_number(value: Any) -> float:
    """Read a number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) > 0.0:
        raise ValueError("it is not a number above 0.")
    return float(value)


def whole_numbers(value: Any) -> tuple[int, ...]:
    """Read one whole number above 0, or several."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if not numbers or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers):
        raise ValueError("these are not whole numbers above 0.")
    return tuple(dict.fromkeys(numbers))


def interval_of(value: Any) -> str:
    """Read ``daily`` or the name of an intraday interval."""
    interval = parse_interval(value)
    if not interval.intraday and interval.name != "daily":
        intraday = [name for name, held in INTERVALS.items() if held.intraday]
        raise ValueError(f"use daily or one of {', '.join(intraday)}.")
    return interval.name


def _adjust(value: Any) -> str:
    return "auto" if value == "auto" else parse_adjustment(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it is neither True nor False.")
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or float(value) < 0:
        raise ValueError("it is not a number of seconds.")
    return float(value)


def _rate(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not -0.05 <= float(value) <= 0.5:
        raise ValueError("it is not a fraction: 0.05 is 5 %.")
    return float(value)


RATE: Final = Param(
    "rate",
    None,
    "interest a year as a fraction (0.05 is 5 %); None takes the bucket's treasury table, if any",
    _rate,
)

COMMON: Final = (
    Param(
        "adjust",
        "auto",
        "'none', 'splits' or 'all' adjusts prices at least so far, or raises; 'auto' goes as far "
        "as the bucket's splits and dividends allow, and the frame says how far",
        _adjust,
    ),
    Param("max_age", None, "seconds since the server last confirmed the data; 0 asks it", _seconds),
    Param("offline", False, "serve from the cache only", _flag),
    Param("allow_stale", False, "serve the last good version where the server is away", _flag),
)
