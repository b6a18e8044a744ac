"""Pure: how to get one underlying out of a day's file, and what each way would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Facts", "Step", "plan"]

Strategy = Literal["twin", "index", "shared_twin", "search", "select", "scan"]

#: Smaller files are read whole: a search would not move much less.
SMALL: Final = 2 * 1024**2
#: What a search moves at most beside the rows themselves, and how many requests it sends.
SEARCH_BYTES: Final = 400 * 1024
SEARCH_REQUESTS: Final = 24
#: Rows of one underlying, in bytes, where nothing is known about them.
CHAIN_BYTES: Final = 350 * 1024
#: Bytes a second that a server scans for S3 Select, as measured on MinIO with two cores.
SELECT_RATE: Final = 50e6
#: Bytes of a full read's requests.
READ: Final = 2 * 1024**2
#: Bytes of a shared twin's end, which says where everything is in it.
FOOTER: Final = 128 * 1024
#: Bytes asked of an archive or a twin to see which version it is.
MAGIC: Final = 4
#: Bytes from the beginning that every way reads: the header, and which version this is.
HEAD: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known before the first row is read.

    Attributes
    ----------
    size : int
        Bytes of the object.
    ordered : bool
        Whether its dataset declares an order.
    verify : bool
        Whether only what is proved may be used.
    ranged : bool
        Whether rows can be read by byte range: plain CSV.
    index_bytes : int or None
        Bytes of the symbol's rows by a proved index of this version; None without one, or
        where the rows are not together.
    twin : bool
        Whether the columnar twin of this version is here.
    shared_bytes : int or None
        Bytes of the row groups that hold the symbol in the twin that ``compact`` wrote; None
        where there is no such twin of this version.
    archived : bool
        Whether it is a member of an archive, which can only be inflated as a whole.
    selectable : bool
        Whether the server may know S3 Select.
    bandwidth : float
        Bytes a second between here and the server, measured or assumed.
    """

    size: int
    ordered: bool
    verify: bool = False
    ranged: bool = True
    index_bytes: int | None = None
    twin: bool = False
    shared_bytes: int | None = None
    archived: bool = False
    selectable: bool = False
    bandwidth: float = 20e6


@dataclass(frozen=True, slots=True)
class Step:
    """One way, with its estimated cost.

    Attributes
    ----------
    strategy : {'twin', 'index', 'shared_twin', 'search', 'select', 'scan'}
    bytes, requests : int
        Estimates.
    proved : bool
        Whether the result is exact, or assumes the declared order.
    """

    strategy: Strategy
    bytes: int
    requests: int
    proved: bool


def plan(facts: Facts) -> tuple[Step, ...]:
    """Order the ways to read: the first is tried, the next where it contradicts or fails.

    The last step is always exact, so absence is only ever found, never assumed.

    Examples
    --------
    >>> [step.strategy for step in plan(Facts(140_000_000, ordered=True))]
    ['search', 'scan']
    >>> [step.strategy for step in plan(Facts(140_000_000, ordered=True, verify=True))]
    ['scan']
    """
    head = MAGIC if facts.archived else min(HEAD, facts.size)
    steps = []
    if facts.twin:
        steps.append(Step("twin", head, 1, True))
    if facts.index_bytes is not None:
        steps.append(Step("index", head + facts.index_bytes, 2, True))
    if facts.shared_bytes is not None:
        steps.append(Step("shared_twin", head + MAGIC + FOOTER + facts.shared_bytes, 4, True))
    large = facts.ranged and not facts.archived and facts.size > SMALL
    whole = facts.twin or facts.index_bytes is not None  # it was read in full here
    if large and facts.ordered and not (whole or facts.verify):
        steps.append(Step("search", head + SEARCH_BYTES + CHAIN_BYTES, SEARCH_REQUESTS, False))
    slow = facts.size / facts.bandwidth > facts.size / SELECT_RATE + 0.1
    if large and facts.selectable and slow:
        steps.append(Step("select", head + CHAIN_BYTES, 3, True))
    return (*steps, Step("scan", head + facts.size, -(-facts.size // READ) + 1, True))
