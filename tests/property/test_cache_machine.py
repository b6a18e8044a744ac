"""The disk cache against a model of it: any order of reads, changes, damage and lost races.

The model keeps, for each key, at most one entry: a version, when it was validated, and which
file it is. It says exactly what a read must give, and whether the server is asked. What it says
is itself held against history: a version served as fresh was the current one at some time that
the caller's limit allows.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from os import utime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stockdb.core.cache import DiskCache
from stockdb.core.cachefiles import SUFFIX
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.errors import NotFoundError, UnavailableError

KEYS = ("a", "b")
NAMES = {key: hashlib.sha256(key.encode()).hexdigest() for key in KEYS}
MAX_AGE = 1000.0
HUGE = 10**9

keys = st.sampled_from(KEYS)
versions = st.integers(1, 3)  # few, so that an earlier one comes back
caches = st.integers(0, 1)
seconds = st.sampled_from([1, 5, 9, 10, 11, 50, 99, 100, 600])
wishes = st.builds(
    Freshness,
    ttl=st.sampled_from([0.0, 10.0, 100.0]),
    max_age=st.sampled_from([None, None, 0.0, 5.0, 500.0]),
    offline=st.sampled_from([False, False, False, True]),
    allow_stale=st.booleans(),
)
mostly = st.sampled_from([True, True, True, False])
#: What happens between a question and the end of its answer.
meanwhile = st.lists(
    st.one_of(
        st.tuples(st.just("put"), versions),
        st.tuples(st.just("delete"), st.none()),
        st.tuples(st.just("wait"), seconds),
        st.tuples(st.just("read"), wishes),
        st.tuples(st.just("slow read"), wishes),
        st.tuples(st.just("clear"), st.none()),
    ),
    max_size=3,
)


def table(key: str, version: int) -> pa.Table:
    rows = 50
    return pa.table(
        {"version": np.full(rows, version), "key": [key] * rows, "row": np.arange(rows)}
    )


TABLES = {(key, version): table(key, version) for key in KEYS for version in range(1, 4)}


@dataclass
class Held:
    """What the model believes to be on disk for one key."""

    version: int
    validated: float
    true_time: float
    file: object = field(default_factory=object)
    damaged: bool = False


@dataclass
class Outcome:
    """What a read must give: an entry in a state, or an error."""

    state: str = ""
    version: int = 0
    validated: float = 0.0
    error: type[Exception] | None = None


class CacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cache-machine-"))
        self.now = 1_700_000_000.0
        self.true_time = 0.0  # goes on whatever is done to the clock
        self.set_back = False
        self.up = True
        self.objects: dict[str, int] = {}
        self.history: dict[str, list[tuple[float, int | None]]] = {key: [] for key in KEYS}
        self.held: dict[str, Held] = {}
        self.asked = 0
        self.caches = [self.open(), self.open()]
        self.scanned = [False, False]
        self.lag = 0.0  # how long ago the read that is going on began

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def open(self, max_bytes: int = HUGE) -> DiskCache:
        return DiskCache(
            self.folder / "cache",
            max_bytes=max_bytes,
            max_entry_age=MAX_AGE,
            clock=lambda: self.now - self.lag,
        )

    # -------------------------------------------------------------- the bucket

    @initialize()
    def fill(self) -> None:
        for key in KEYS:
            self.put(key, 1)

    @rule(key=keys, version=versions)
    def put(self, key: str, version: int) -> None:
        self.objects[key] = version
        self.history[key].append((self.true_time, version))

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.objects.pop(key, None)
        self.history[key].append((self.true_time, None))

    @rule(passed=seconds)
    def wait(self, passed: float) -> None:
        self.now += passed
        self.true_time += passed

    @rule(back=seconds)
    def set_the_clock_back(self, back: float) -> None:
        self.now -= back
        self.set_back = True

    # -------------------------------------------------------------- the disk

    def path(self, key: str) -> Path:
        name = NAMES[key]
        return self.folder / "cache" / "entries" / name[:1] / f"{name}{SUFFIX}"

    def damage(self, key: str, change: Callable[[bytearray], bytearray]) -> None:
        path = self.path(key)
        before = path.stat()
        data = change(bytearray(path.read_bytes()))
        with path.open("r+b") as file:
            file.write(data)
            file.truncate(len(data))
        # The model knows times to the second; who has the entry mapped sees that it changed.
        utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
        self.held[key].damaged = True

    @precondition(lambda self: self.intact())
    @rule(data=st.data(), bit=st.integers(0, 7))
    def flip_a_bit(self, data: st.DataObject, bit: int) -> None:
        key = data.draw(st.sampled_from(self.intact()))
        where = data.draw(st.integers(0, self.path(key).stat().st_size - 1))

        def flipped(content: bytearray) -> bytearray:
            content[where] ^= 1 << bit
            return content

        self.damage(key, flipped)

    @precondition(lambda self: self.intact())
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.intact()))
        size = data.draw(st.integers(0, self.path(key).stat().st_size - 1))
        self.damage(key, lambda content: content[:size])

    def intact(self) -> list[str]:
        return sorted(key for key, held in self.held.items() if not held.damaged)

    @rule(limit=st.integers(1, 8000), reverse=st.booleans())
    def evict(self, limit: int, reverse: bool) -> None:
        """Another process with a smaller limit cleans up."""
        self.forget_what_is_too_old()
        order = sorted(self.held, reverse=reverse)
        for used, key in enumerate(order):  # else the order of use would hang on real time
            utime(self.path(key), ns=(used * 10**9, self.path(key).stat().st_mtime_ns))
        sizes = {key: self.path(key).stat().st_size for key in order}
        self.open(limit).clean()
        if sum(sizes.values()) > limit:
            while sum(sizes.values()) > 0.9 * limit:
                key = order.pop(0)
                del self.held[key], sizes[key]

    @rule(index=caches, older_than=st.sampled_from([None, 0.0, 10.0, 100.0]))
    def clear(self, index: int, older_than: float | None) -> None:
        gone = {
            key
            for key, held in self.held.items()
            if older_than is None or self.now - held.validated > older_than
        }
        result = self.caches[index].clear(older_than=older_than)
        assert (result.entries, result.remaining_entries) == (len(gone), len(self.held) - len(gone))
        for key in gone:
            del self.held[key]

    @rule(index=caches)
    def begin_anew(self, index: int) -> None:
        self.caches[index] = self.open()
        self.scanned[index] = False

    def forget_what_is_too_old(self) -> None:
        self.held = {
            key: held for key, held in self.held.items() if self.now - held.validated <= MAX_AGE
        }

    # -------------------------------------------------------------- reading

    # Rules are chosen with equal chances: reading has several of them.

    @rule(index=caches, key=keys, wanted=wishes, up=mostly)
    def read_simply(self, index: int, key: str, wanted: Freshness, up: bool) -> None:
        self.up = up
        self.read(index, key, wanted)
        self.up = True

    @rule(
        index=caches,
        key=keys,
        wanted=wishes,
        passed=seconds,
        version=st.integers(0, 3),
        up=mostly,
    )
    def read_before_and_after_a_change(
        self, index: int, key: str, wanted: Freshness, passed: float, version: int, up: bool
    ) -> None:
        self.read(index, key, Freshness(10.0))
        self.wait(passed)
        if version:
            self.put(key, version)
        else:
            self.delete(key)
        self.up = up
        self.read(1 - index, key, wanted)
        self.up = True
        self.read(index, key, Freshness(100.0, offline=True))

    @rule(index=caches, key=keys, wanted=wishes, earlier=versions, version=versions)
    def read_and_be_overtaken_by_an_older_answer(
        self, index: int, key: str, wanted: Freshness, earlier: int, version: int
    ) -> None:
        self.put(key, earlier)
        self.wait(6)
        self.put(key, version)
        self.read(index, key, wanted, [("slow read", Freshness(0.0))])
        self.wait(6)
        self.read(1 - index, key, Freshness(10.0))

    @rule(index=caches, key=keys, wanted=wishes, then=meanwhile, first=st.booleans())
    def read_and(self, index: int, key: str, wanted: Freshness, then: Any, first: bool) -> None:
        """Read; meanwhile other things happen, before or after the server has decided."""
        self.read(index, key, wanted, then, first)

    def read(
        self,
        index: int,
        key: str,
        wanted: Freshness,
        then: Any = (),
        first: bool = True,
        lag: float = 0.0,
    ) -> None:
        """Read; or finish one that asked some time ago, and got the answer of that time."""
        self.lag = lag
        began, asked = self.true_time - lag, self.asked
        known = self.held.get(key)
        if known is not None and known.damaged:
            known = None
            del self.held[key]
        expected = self.without_asking(known, wanted)
        answers: list[Outcome] = []
        questioned = self.now - lag

        def fetch(etag: dict[str, Any] | None) -> Entry | None:
            self.asked += 1
            assert (etag and etag["etag"]) == (known and known.version)
            self.lag = 0.0
            verdict = (self.up, self.version_at(key, began), began)
            for action, value in then:
                self.happen(action, value, key, 1 - index)
            if not first:
                verdict = (self.up, self.objects.get(key), self.true_time)
            answers.append(self.after_asking(index, key, known, wanted, questioned, *verdict))
            up, version, _ = verdict
            if not up:
                raise UnavailableError("down")
            if version is None:
                raise NotFoundError("gone")
            if etag and etag["etag"] == version:
                return None
            return Entry(TABLES[key, version], {"etag": version, "size": 100})

        outcome = self.outcome(index, key, wanted, fetch)
        self.lag = 0.0
        assert (expected is None) == (self.asked > asked)
        assert outcome == (expected or answers[0])
        if outcome.state in {"fresh", "fetched", "replaced", "revalidated"} and not self.set_back:
            limit = wanted.ttl if wanted.max_age is None else wanted.max_age
            assert self.was_current(key, outcome.version, began - limit)

    def happen(self, action: str, value: Any, key: str, other: int) -> None:
        if action == "put":
            self.put(key, value)
        elif action == "delete":
            self.delete(key)
        elif action == "wait":
            self.wait(value)
        elif action == "clear":
            self.clear(other, None)
        else:
            self.read(other, key, value, lag=5.0 if action == "slow read" else 0.0)

    def outcome(self, index: int, key: str, wanted: Freshness, fetch: Any) -> Outcome:
        try:
            found = self.caches[index].get(NAMES[key], wanted, fetch, wait=0)
        except (NotFoundError, UnavailableError) as error:
            return Outcome(error=type(error))
        version = found.entry.metadata["etag"]
        assert found.entry.table.equals(TABLES[key, version])
        return Outcome(found.state, version, found.validated)

    def without_asking(self, known: Held | None, wanted: Freshness) -> Outcome | None:
        """Say what must be given where the server is not asked; None where it must be."""
        if wanted.offline:
            if known is None:
                return Outcome(error=UnavailableError)
            return Outcome("offline", known.version, known.validated)
        if known is None:
            return None
        limit = wanted.ttl if wanted.max_age is None else wanted.max_age
        age = self.now - self.lag - known.validated
        # Nothing is fresher than what was validated in this very instant.
        if 0 <= age < limit or age == 0:
            return Outcome("fresh", known.version, known.validated)
        return None

    def after_asking(
        self,
        index: int,
        key: str,
        known: Held | None,
        wanted: Freshness,
        asked: float,
        up: bool,
        version: int | None,
        true_time: float,
    ) -> Outcome:
        """Say what must be given and what must be held after a question sent at ``asked``."""
        if not up:
            if known is None or not wanted.allow_stale:
                return Outcome(error=UnavailableError)
            return Outcome("stale", known.version, known.validated)
        if version is None:
            self.held.pop(key, None)
            return Outcome(error=NotFoundError)
        there = self.held.get(key)
        if known is not None and known.version == version:
            before = known.validated
            if there is not None and there.file is known.file:
                self.held[key] = Held(version, asked, true_time, known.file)
            assert before != asked
            return Outcome("revalidated", version, asked)
        if there is None or not asked < there.validated <= self.now:
            self.held[key] = Held(version, asked, true_time)
            if not self.scanned[index]:
                self.scanned[index] = True
                self.forget_what_is_too_old()
        return Outcome("replaced" if known else "fetched", version, asked)

    def version_at(self, key: str, time: float) -> int | None:
        """Return the version that was the current one at some time."""
        return next((was for since, was in reversed(self.history[key]) if since <= time), None)

    def was_current(self, key: str, version: int, since: float) -> bool:
        """Tell whether the version was the current one at some time not before ``since``."""
        changes = self.history[key]
        ends = [time for time, _ in changes[1:]] + [self.true_time]
        return any(
            was == version and end >= since for (_, was), end in zip(changes, ends, strict=True)
        )

    # -------------------------------------------------------------- always

    @invariant()
    def what_is_held_is_on_disk(self) -> None:
        for key in KEYS:
            held = self.held.get(key)
            assert self.path(key).exists() == (held is not None)
            if held is not None and not held.damaged:
                assert self.path(key).stat().st_mtime == held.validated
                assert self.was_current(key, held.version, held.true_time)

    @invariant()
    def the_audit_finds_the_damage_and_nothing_else(self) -> None:
        damaged = {self.path(key) for key, held in self.held.items() if held.damaged}
        assert {problem.path for problem in self.caches[0].check()} == damaged
        assert list((self.folder / "cache" / "tmp").iterdir()) == []


COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


class TestCache(CacheMachine.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(COMMON, max_examples=60, stateful_step_count=50)


@pytest.mark.stress
@pytest.mark.timeout(1800)
class TestCacheAtLength(CacheMachine.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(COMMON, max_examples=1500, stateful_step_count=60)
