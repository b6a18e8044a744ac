"""Whether a cached entry may be served: decided purely, time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stockdb.types import parse_age

__all__ = ["Freshness", "ReadPolicy", "Verdict", "decide"]


class Verdict(Enum):
    """What to do with what the cache holds."""

    FRESH = "serve it"
    REVALIDATE = "ask the server whether it changed"
    MISS = "fetch it"


@dataclass(frozen=True, slots=True)
class Freshness:
    """What the caller accepts.

    Attributes
    ----------
    ttl : float
        Seconds since the last validation for which an entry counts as fresh.
    max_age : float or None
        The caller's own, stricter or looser, limit; 0 always asks the server.
    offline : bool
        Never ask the server; whatever is held is served.
    allow_stale : bool
        Serve what is held, flagged, where the server cannot be reached.
    """

    ttl: float
    max_age: float | None = None
    offline: bool = False
    allow_stale: bool = False


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """How fresh data must be, and what may be served instead.

    Attributes
    ----------
    max_age : float or None
        Seconds since the server confirmed them; None leaves it to the dataset's TTL.
    offline, allow_stale : bool

    Raises
    ------
    ConfigurationError
        ``max_age`` is no age.
    """

    max_age: float | None = None
    offline: bool = False
    allow_stale: bool = False

    def __post_init__(self) -> None:
        parse_age(self.max_age, "max_age")


def decide(validated: float | None, now: float, wanted: Freshness) -> Verdict:
    """Judge an entry.

    Parameters
    ----------
    validated : float or None
        When the server last confirmed the entry, seconds since the epoch; None where
        there is no entry.
    now : float
        The same clock, now.
    wanted : Freshness

    Examples
    --------
    >>> decide(100.0, 150.0, Freshness(ttl=60)).name
    'FRESH'
    >>> decide(100.0, 150.0, Freshness(ttl=60, max_age=0)).name
    'REVALIDATE'
    """
    if validated is None:
        return Verdict.MISS
    if wanted.offline:
        return Verdict.FRESH
    limit = wanted.ttl if wanted.max_age is None else wanted.max_age
    age = now - validated
    # A time in the future means that a clock was set back: nothing can be said, so ask.
    return Verdict.FRESH if 0 <= age < limit else Verdict.REVALIDATE
