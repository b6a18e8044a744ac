"""The disk cache against a bucket that is a dictionary; time is a number that the test moves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stockdb import errors
from stockdb.core import cachefiles
from stockdb.core.cache import Cached, ClearResult, DiskCache, NoCache, open_cache
from stockdb.core.counters import NAMES
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.errors import DeadlineError, NotFoundError, UnavailableError
from stockdb.settings import Cache

pytestmark = pytest.mark.timeout(60)
DAY = 86400.0
HOUR = Freshness(ttl=3600)
ASK = Freshness(ttl=3600, max_age=0)
OFFLINE = Freshness(ttl=3600, offline=True)
LENIENT = Freshness(ttl=3600, max_age=0, allow_stale=True)


def name_of(number: int) -> str:
    return f"{number:064x}"


A = name_of(0xA << 252)


@dataclass
class Bucket:
    """Objects with versions; counts the questions, fails where it is told to."""

    now: float = 1_700_000_000.0
    versions: dict[str, int] = field(default_factory=lambda: {A: 1})
    asked: int = 0
    failure: BaseException | None = None
    rows: int = 100
    during: Callable[[], None] = staticmethod(lambda: None)

    def clock(self) -> float:
        return self.now

    def fetch(self, name: str) -> Callable[[dict[str, Any] | None], Entry | None]:
        def answer(held: dict[str, Any] | None) -> Entry | None:
            self.asked += 1
            self.during()
            if self.failure:
                raise self.failure
            if name not in self.versions:
                raise NotFoundError("gone", key=name)
            version = self.versions[name]
            if held and held["etag"] == f"v{version}":
                return None
            table = pa.table({"version": [version] * self.rows, "row": range(self.rows)})
            return Entry(
                table, {"etag": f"v{version}", "size": 1000, "received": 1100, "symbol": name[:1]}
            )

        return answer


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


class Opened:
    """Makes caches on one directory: each stands for a process of its own."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.bucket, self.folder = bucket, folder

    def __call__(self, max_bytes: int = 10**9, max_entry_age: float = 30 * DAY) -> DiskCache:
        return DiskCache(
            self.folder, max_bytes=max_bytes, max_entry_age=max_entry_age, clock=self.bucket.clock
        )

    def get(
        self, wanted: Freshness = HOUR, name: str = A, cache: DiskCache | None = None
    ) -> Cached:
        return (cache or self()).get(name, wanted, self.bucket.fetch(name), wait=5)

    @property
    def entries(self) -> list[Path]:
        return sorted(self.folder.glob("entries/*/*"))


@pytest.fixture
def opening(bucket: Bucket, tmp_path: Path) -> Opened:
    return Opened(bucket, tmp_path / "cache")


def version(cached: Cached) -> int:
    (found,) = set(cached.entry.table["version"].to_pylist())
    assert cached.entry.table["row"].to_pylist() == list(range(cached.entry.table.num_rows))
    assert cached.entry.metadata["etag"] == f"v{found}"
    return int(found)


# ------------------------------------------------------------------ when it asks


@pytest.mark.parametrize("same", [True, False], ids=["same process", "another"])
def test_within_the_ttl_the_server_is_not_asked(
    opening: Opened, bucket: Bucket, same: bool
) -> None:
    cache = opening()
    assert opening.get(cache=cache).state == "fetched"
    bucket.versions[A] = 2
    bucket.now += 3599
    found = opening.get(cache=cache if same else opening())
    assert (found.state, version(found), bucket.asked) == ("fresh", 1, 1)
    assert found.validated == bucket.now - 3599


@pytest.mark.parametrize("same", [True, False], ids=["same process", "another"])
def test_after_the_ttl_one_question_renews_it(opening: Opened, bucket: Bucket, same: bool) -> None:
    cache = opening()
    opening.get(cache=cache)
    bucket.now += 3600
    found = opening.get(cache=cache if same else opening())
    assert (found.state, version(found), found.validated) == ("revalidated", 1, bucket.now)
    bucket.now += 3599
    assert opening.get(cache=cache).state == "fresh"
    assert bucket.asked == 2


def test_after_the_ttl_a_replaced_object_is_fetched(opening: Opened, bucket: Bucket) -> None:
    cache = opening()
    old = opening.get(cache=cache)
    bucket.versions[A] = 2
    bucket.now += 3600
    new = opening.get(cache=cache)
    assert (new.state, version(new), version(old)) == ("replaced", 2, 1)
    assert version(opening.get(OFFLINE)) == 2


def test_a_max_age_of_zero_always_asks(opening: Opened, bucket: Bucket) -> None:
    cache = opening()
    assert [opening.get(ASK, cache=cache).state for _ in range(3)] == ["fetched", "fresh", "fresh"]
    for count in (2, 3):  # time stood still above: what was validated now is as fresh as can be
        bucket.now += 1
        assert opening.get(ASK, cache=cache).state == "revalidated"
        assert bucket.asked == count


def test_validated_means_when_the_question_was_sent(opening: Opened, bucket: Bucket) -> None:
    """What changes while the answer is on its way is not covered by it."""

    def slow() -> None:
        bucket.now += 40

    bucket.during = slow
    began = bucket.now
    assert opening.get().validated == opening.get().validated == began
    bucket.now = began + 3600
    assert opening.get().validated == opening.get(OFFLINE).validated == began + 3600


def test_offline_serves_what_is_held_and_asks_nothing(opening: Opened, bucket: Bucket) -> None:
    with pytest.raises(UnavailableError) as caught:
        opening.get(OFFLINE)
    assert not caught.value.retryable and "online" in caught.value.remedy
    opening.get()
    bucket.now += 1000 * DAY
    found = opening.get(OFFLINE)
    assert (found.state, found.validated, bucket.asked) == ("offline", bucket.now - 1000 * DAY, 1)


@pytest.mark.parametrize("error", [UnavailableError("down"), DeadlineError("slow")])
def test_stale_data_are_served_only_to_who_allowed_it(
    opening: Opened, bucket: Bucket, error: Exception
) -> None:
    opening.get()
    bucket.now, bucket.failure = bucket.now + 7200, error
    with pytest.raises(type(error)):
        opening.get()
    found = opening.get(LENIENT)
    assert (found.state, version(found), found.validated) == ("stale", 1, bucket.now - 7200)
    with pytest.raises(type(error)):
        opening.get(LENIENT, name_of(5))  # nothing is held
    bucket.failure = None
    assert opening.get().state == "revalidated"


def test_a_404_drops_the_entry_for_everybody(opening: Opened, bucket: Bucket) -> None:
    other = opening()
    opening.get(cache=other)
    del bucket.versions[A]
    bucket.now += 1
    with pytest.raises(NotFoundError):
        opening.get(LENIENT)
    assert opening.entries == []
    bucket.failure = UnavailableError("down")
    for wanted in (HOUR, OFFLINE, LENIENT):
        with pytest.raises(UnavailableError):
            opening.get(wanted, cache=other)


KEEPS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.StockDBError)
    if not issubclass(error, NotFoundError)
]


@pytest.mark.parametrize(
    "error", [*KEEPS, KeyboardInterrupt, MemoryError], ids=lambda e: e.__name__
)
def test_every_other_failure_keeps_the_last_good_version(
    opening: Opened, bucket: Bucket, error: type[BaseException]
) -> None:
    opening.get()
    bucket.now, bucket.failure = bucket.now + 7200, error("no")
    with pytest.raises(error):
        opening.get()
    assert version(opening.get(OFFLINE)) == 1
    if not issubclass(error, UnavailableError | DeadlineError):
        with pytest.raises(error):
            opening.get(LENIENT)


def test_a_clock_set_back_makes_it_ask(opening: Opened, bucket: Bucket) -> None:
    """An entry from the future says nothing, neither by its TTL nor as a neighbour's answer."""
    opening.get()
    bucket.now -= 7200
    bucket.versions[A] = 2
    found = opening.get()
    assert (found.state, version(found), bucket.asked) == ("replaced", 2, 2)
    assert opening.get().state == "fresh"
    bucket.now -= 7200
    assert opening.get().validated == bucket.now  # the same for one that is confirmed
    assert opening.get().state == "fresh"


# ------------------------------------------------------------------ several at once


def test_eight_threads_with_one_cold_key_fetch_once(opening: Opened, bucket: Bucket) -> None:
    cache, begin = opening(), threading.Barrier(8)

    def work(_: int) -> str:
        begin.wait()
        return opening.get(cache=cache).state

    bucket.during = lambda: time.sleep(0.1)
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(work, range(8)))
    assert sorted(states) == ["fetched"] + ["fresh"] * 7
    assert bucket.asked == 1


def test_not_modified_confirms_only_what_was_asked_about(opening: Opened, bucket: Bucket) -> None:
    """While the answer for version 1 is on its way, a slow process publishes version 2."""
    cache, fetched, publish = opening(), threading.Event(), threading.Event()
    opening.get(cache=cache)
    first, table = bucket.now, opening.get(cache=cache).entry.table

    def slow(held: dict[str, Any] | None) -> Entry:
        fetched.set()
        publish.wait()
        return Entry(table.set_column(0, "version", pa.array([2] * 100)), {"etag": "v2"})

    bucket.now = first + 3600
    other = threading.Thread(target=lambda: opening().get(A, HOUR, slow, wait=0))
    other.start()
    fetched.wait()
    bucket.now += 10
    bucket.during = lambda: (publish.set(), other.join()) and None
    assert cache.get(A, HOUR, bucket.fetch(A), wait=0).state == "revalidated"
    assert (version(opening.get(OFFLINE)), len(opening.entries)) == (2, 1)
    bucket.now = first + 7205  # version 2 was confirmed an hour ago, the other one less
    bucket.during = lambda: None
    assert version(opening.get()) == version(opening.get(cache=cache)) == 1


def test_an_older_answer_does_not_replace_a_later_one(opening: Opened, bucket: Bucket) -> None:
    def meanwhile() -> None:
        bucket.during = lambda: None
        old = bucket.versions[A]
        bucket.now += 30
        bucket.versions[A] = 2
        assert version(opening().get(A, HOUR, bucket.fetch(A), wait=0)) == 2
        bucket.versions[A] = old  # what the slow answer brings

    bucket.during = meanwhile
    assert version(opening.get()) == 1
    bucket.versions[A] = 2
    assert version(opening.get(OFFLINE)) == 2


def test_a_damaged_entry_that_was_just_replaced_is_kept(
    opening: Opened, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening.get()
    (path,) = opening.entries
    with path.open("r+b") as file:
        file.write(b"?" * 8)
    real = cachefiles.load

    def replaced_meanwhile(descriptor: int) -> Entry:
        monkeypatch.setattr(cachefiles, "load", real)
        opening.get(ASK)
        return real(descriptor)

    monkeypatch.setattr(cachefiles, "load", replaced_meanwhile)
    assert version(opening.get()) == 1
    assert bucket.asked == 2 and len(opening.entries) == 1


def test_an_entry_replaced_between_looking_and_opening(
    opening: Opened, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that counts is that of the file that is read, not of the one looked at."""
    opening.get()
    first, cache, real = bucket.now, opening(), os.stat
    bucket.now += 100

    def replaced_after(path: Any, **options: Any) -> os.stat_result:
        status = real(path, **options)
        if str(path).endswith(cachefiles.SUFFIX):
            monkeypatch.undo()
            bucket.versions[A] = 2
            opening.get(ASK)
        return status

    monkeypatch.setattr(os, "stat", replaced_after)
    found = opening.get(cache=cache)
    assert (version(found), found.validated) == (2, first + 100)


def test_noting_an_access_never_renews_another_file(
    opening: Opened, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, real = opening(), os.stat
    assert [opening.get(cache=cache).state for _ in range(2)] == ["fetched", "fresh"]
    bucket.now += 100
    (path,) = opening.entries

    def replaced_after(where: Any, **options: Any) -> os.stat_result:
        status = real(where, **options)
        if str(where).endswith(cachefiles.SUFFIX):
            monkeypatch.undo()
            path.unlink()
            opening.get()
            os.utime(path, (bucket.now, bucket.now - 3000))  # another file, confirmed earlier
        return status

    monkeypatch.setattr(os, "stat", replaced_after)
    opening.get(cache=cache)
    assert path.stat().st_mtime == bucket.now - 3000


# ------------------------------------------------------------------ keeping house


def fill(opening: Opened, cache: DiskCache, names: list[str]) -> int:
    """Read each name once, a minute apart; returns the size of one entry."""
    for name in names:
        opening.bucket.versions[name] = 1
        opening.bucket.now += 60
        opening.get(name=name, cache=cache)
    return opening.entries[0].stat().st_size


def held(opening: Opened) -> set[str]:
    return {path.name.removesuffix(cachefiles.SUFFIX) for path in opening.entries}


NAMED = [name_of(number << 248) for number in range(10)]


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "loaded"])
def test_beyond_the_limit_the_least_recently_used_go(opening: Opened, mapped: bool) -> None:
    size = fill(opening, opening(), NAMED[:1])
    cache, limit = opening(max_bytes=int(10.5 * size)), int(10.5 * size)
    if mapped:
        opening.get(name=NAMED[0], cache=cache)
    fill(opening, opening(), NAMED[1:])
    opening.bucket.now += 100
    opening.get(OFFLINE, NAMED[0], cache)
    assert opening.entries[0].stat().st_atime == opening.bucket.now
    opening.get(name=A, cache=cache)  # the eleventh
    # Down to nine tenths; the first one was used last but one.
    assert held(opening) == {NAMED[0], *NAMED[3:], A}
    assert opening().statistics()["bytes"] <= limit
    assert opening().statistics()["evictions"] == 2


def test_a_growing_cache_stays_near_its_limit(opening: Opened) -> None:
    size = fill(opening, opening(), [A])
    cache, largest = opening(max_bytes=50 * size), 0
    for number in range(200):
        fill(opening, cache, [name_of((number << 240) + 1)])
        largest = max(largest, cache.statistics()["bytes"])
    assert largest <= 50 * size * 1.05 + size


def test_an_entry_larger_than_the_limit_is_served_and_not_kept(opening: Opened) -> None:
    cache = opening(max_bytes=100)
    assert [version(opening.get(cache=cache)) for _ in range(2)] == [1, 1]
    assert opening.entries == [] and opening.bucket.asked == 2


def test_what_was_not_validated_for_long_goes(opening: Opened, bucket: Bucket) -> None:
    fill(opening, opening(), NAMED[:3])
    bucket.now += 20 * DAY
    opening.get(name=NAMED[1])  # confirmed
    opening.get(OFFLINE, NAMED[2])  # used, yet not confirmed
    bucket.now += 20 * DAY
    opening.get(name=A)  # a write looks after the rest
    assert held(opening) == {NAMED[1], A}
    assert opening().statistics()["evictions"] == 2


def test_a_ttl_that_is_over_removes_nothing(opening: Opened, bucket: Bucket) -> None:
    fill(opening, opening(), NAMED[:3])
    bucket.now += 29 * DAY
    opening().clean()
    assert held(opening) == set(NAMED[:3])


def test_clearing_by_age_counts_from_the_last_validation(opening: Opened, bucket: Bucket) -> None:
    size = fill(opening, opening(), NAMED[:2])
    bucket.now += 5 * DAY
    opening.get(name=NAMED[0])  # 304
    bucket.now += 5 * DAY
    opening.get(OFFLINE, NAMED[1])
    assert opening().clear(older_than=7 * DAY) == ClearResult(1, size, 1, size)
    assert held(opening) == {NAMED[0]}
    assert opening().clear(older_than=7 * DAY) == ClearResult(0, 0, 1, size)
    assert opening().clear() == ClearResult(1, size, 0, 0)


def test_clearing_by_symbol(opening: Opened, bucket: Bucket) -> None:
    size = fill(opening, opening(), [A, name_of((0xA << 252) + 1), name_of(0xB << 252)])
    opening.entries[0].write_bytes(b"damaged")
    assert opening().clear(symbol="a") == ClearResult(1, size, 2, size + 7)
    assert opening().clear(symbol="x").entries == 0


def test_a_table_outlives_its_entry(opening: Opened) -> None:
    cache = opening()
    opening.get(cache=cache)
    table = opening.get(cache=cache).entry.table
    cache.clear()
    assert opening.entries == []
    assert table["row"].to_pylist() == list(range(100))


def test_statistics_say_what_happened_in_all_processes(opening: Opened, bucket: Bucket) -> None:
    assert opening().statistics()["hit_ratio"] == 0
    opening.get()  # a miss
    opening.get()  # a hit
    bucket.now += 3600
    opening.get()  # revalidated
    bucket.versions[A] = 2
    opening.get(Freshness(ttl=0))  # as fresh as can be: a hit
    bucket.now += 1
    opening.get(ASK)  # replaced: a miss
    bucket.now, bucket.failure = bucket.now + 1, UnavailableError("down")
    opening.get(LENIENT)  # stale
    opening.get(OFFLINE)  # a hit
    size = opening.entries[0].stat().st_size
    expected = {"hits": 3, "misses": 2, "revalidations": 1, "replaced": 1, "stale_serves": 1}
    expected |= {"bytes_saved": 4000, "requests_saved": 3, "bytes_fetched": 2200, "requests": 3}
    expected |= {"entries": 1, "bytes": size, "max_bytes": 777, "hit_ratio": 5 / 7, "problem": ""}
    found = opening(max_bytes=777).statistics()
    assert found == dict.fromkeys(NAMES, 0) | expected | {"directory": str(opening.folder)}


def test_a_cache_that_is_switched_off_asks_every_time(bucket: Bucket, tmp_path: Path) -> None:
    cache = open_cache(Cache(cache_enabled=False, cache_dir=tmp_path / "cache"))
    assert isinstance(cache, NoCache)
    for _ in range(2):
        assert cache.get(A, HOUR, bucket.fetch(A), wait=1).state == "fetched"
    with pytest.raises(UnavailableError):
        cache.get(A, OFFLINE, bucket.fetch(A), wait=1)
    assert (bucket.asked, cache.check(), cache.clear()) == (2, [], ClearResult(0, 0, 0, 0))
    assert not (tmp_path / "cache").exists()
    on = open_cache(Cache(cache_dir=tmp_path / "cache", cache_max_entry_age_days=2))
    assert isinstance(on, DiskCache)
    assert cache.statistics().keys() == on.statistics().keys()
    assert on.directory == tmp_path / "cache"
    for each in (on, cache):  # "not modified", and nothing was asked about
        with pytest.raises(UnavailableError):
            each.get(A, HOUR, lambda held: None, wait=1)
