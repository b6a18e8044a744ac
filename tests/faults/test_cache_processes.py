"""Several processes on one cache: one fetch for all, and no harm from whoever is killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stockdb.core.cache import DiskCache
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness

pytest.importorskip("fcntl", reason="needs POSIX: locks and forks")

pytestmark = pytest.mark.timeout(120)
NOW = 1_700_000_000.0
HOUR = Freshness(ttl=3600)
ASK = Freshness(ttl=3600, max_age=0)
SOON = 5.0  # what "at once" may take on a busy machine; nobody would have to wait below 60 s
PROCESSES = 8


def name_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def child(work: Callable[[], None]) -> int:
    """Fork; the child does the work and leaves without any of pytest's business."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(60)  # ends a child that hangs
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class World:
    """A cache folder, and a server whose state is in files that all processes share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "cache"
        self.questions = folder / "questions"
        self.answers = folder / "answers"
        self.version = folder / "version"
        for path in (self.questions, self.answers):
            path.touch()
        self.version.write_text("1")

    def open(self, now: float = NOW, max_bytes: int = 10**9) -> DiskCache:
        return DiskCache(self.folder, max_bytes=max_bytes, max_entry_age=1e9, clock=lambda: now)

    def fetch(self, key: str, during: Callable[[], object] = lambda: None) -> Callable[..., Any]:
        def answer(held: dict[str, Any] | None) -> Entry | None:
            self.say(self.questions, key)
            version = int(self.version.read_text())
            during()
            if held and held["etag"] == version:
                return None
            return Entry(table(key, version), {"etag": version, "size": 1000})

        return answer

    def get(self, cache: DiskCache, key: str, wanted: Freshness = HOUR, **more: Any) -> Any:
        return cache.get(name_of(key), wanted, self.fetch(key, **more), wait=60)

    @staticmethod
    def say(path: Path, text: object) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, f"{json.dumps(text)}\n".encode())
        os.close(descriptor)

    @staticmethod
    def said(path: Path) -> list[Any]:
        return [json.loads(line) for line in path.read_text().splitlines()]


def table(key: str, version: int) -> pa.Table:
    """Columns that say three times which key and version they are."""
    seed = int(name_of(key)[:8], 16)
    rows = 20_000
    return pa.table(
        {
            "version": pa.array(np.full(rows, version)),
            "key": pa.array(np.full(rows, seed)),
            "mix": pa.array(np.arange(rows) * 31 + version * 7 + seed),
        }
    )


def digest(found: pa.Table) -> str:
    return hashlib.sha256(b"".join(column.to_numpy().tobytes() for column in found)).hexdigest()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def together(work: Callable[[int], None], processes: int = PROCESSES) -> None:
    """Run the work in several processes that begin at one instant."""
    inlet, outlet = os.pipe()

    def begin(number: int) -> None:
        os.close(outlet)
        os.read(inlet, 1)  # returns when the last writer has closed
        work(number)

    pids = [child(lambda number=number: begin(number)) for number in range(processes)]
    os.close(outlet)
    os.close(inlet)
    assert [status(pid) for pid in pids] == [0] * processes


# ------------------------------------------------------------------ one fetch for all


@pytest.mark.parametrize("seconds", [0.0, 0.2], ids=["fast server", "slow server"])
def test_eight_processes_with_a_cold_key_fetch_it_once(world: World, seconds: float) -> None:
    keys = [f"{number}" for number in range(6)]

    def work(number: int) -> None:
        cache = world.open()
        for key in keys:
            found = world.get(cache, key, during=lambda: time.sleep(seconds))
            world.say(world.answers, [key, digest(found.entry.table)])

    together(work)
    assert sorted(world.said(world.questions)) == keys
    answers = world.said(world.answers)
    assert len(answers) == PROCESSES * len(keys)
    assert {tuple(answer) for answer in answers} == {(key, digest(table(key, 1))) for key in keys}
    assert world.open().statistics()["misses"] == len(keys)


@pytest.mark.parametrize("replaced", [False, True], ids=["not modified", "replaced"])
def test_eight_processes_after_the_ttl_ask_once(world: World, replaced: bool) -> None:
    world.get(world.open(), "a")
    if replaced:
        world.version.write_text("2")

    def work(number: int) -> None:
        found = world.get(world.open(NOW + 7200), "a", during=lambda: time.sleep(0.1))
        world.say(world.answers, digest(found.entry.table))

    together(work)
    assert len(world.said(world.questions)) == 2
    assert world.said(world.answers) == [digest(table("a", 1 + replaced))] * PROCESSES


def test_eight_processes_with_a_damaged_entry_fetch_it_once(world: World) -> None:
    """Nobody removes what another one has just put right."""
    for round_ in range(5):
        key = f"{round_}"
        world.get(world.open(), key)
        (path,) = world.folder.glob(f"entries/*/{name_of(key)}*")
        with path.open("r+b") as file:
            file.seek(1000)
            file.write(b"????????")

        def work(number: int, key: str = key) -> None:
            found = world.get(world.open(), key)
            world.say(world.answers, [key, digest(found.entry.table)])

        together(work)
        assert world.said(world.questions).count(key) == 2
    assert {tuple(answer) for answer in world.said(world.answers)} == {
        (f"{number}", digest(table(f"{number}", 1))) for number in range(5)
    }


def test_when_the_fetching_process_is_killed_the_others_go_on_at_once(world: World) -> None:
    fetching, go = os.pipe()

    def stuck() -> None:
        os.write(go, b"!")
        time.sleep(60)

    holder = child(lambda: world.get(world.open(), "a", during=stuck))
    os.read(fetching, 1)

    def wait() -> None:
        found = world.get(world.open(), "a")
        world.say(world.answers, digest(found.entry.table))

    waiters = [child(wait) for _ in range(PROCESSES - 1)]
    time.sleep(0.3)
    assert world.said(world.answers) == []
    killed = time.monotonic()
    os.kill(holder, signal.SIGKILL)
    assert [status(pid) for pid in waiters] == [0] * len(waiters)
    assert time.monotonic() - killed < SOON
    assert status(holder) == -signal.SIGKILL
    assert world.said(world.questions) == ["a", "a"]  # the dead one's and one more
    assert world.said(world.answers) == [digest(table("a", 1))] * len(waiters)


# ------------------------------------------------------------------ killed in mid-write

CALLS = ("open", "write", "utime", "replace", "unlink", "close", "mkdir")


def interpose(at_call: Callable[[str, Callable[[], Any]], Any]) -> None:
    """Let all that changes a file system go through one function; a write goes in pieces."""
    for call in CALLS:
        real = getattr(os, call)

        def wrapped(*args: Any, real: Any = real, call: str = call, **options: Any) -> Any:
            if call == "write":
                args = (args[0], bytes(args[1])[:50_000])
            return at_call(call, lambda: real(*args, **options))

        setattr(os, call, wrapped)


def work_through(world: World, version: int) -> None:
    """A run with all that a cache does: open, fetch, replace, confirm, evict."""
    cache = world.open(NOW + version, max_bytes=1_200_000)  # two entries
    for key in ("a", "b"):
        world.get(cache, key, ASK)
    world.get(world.open(NOW + version + 0.5), "a", ASK)
    world.get(cache, f"only {version}")


def count_calls(world: World, version: int) -> int:
    inlet, outlet = os.pipe()

    def work() -> None:
        count, write = 0, os.write

        def counted(call: str, do: Callable[[], Any]) -> Any:
            nonlocal count
            count += 1
            return do()

        interpose(counted)
        work_through(world, version)
        write(outlet, count.to_bytes(4, "big"))

    assert status(child(work)) == 0
    return int.from_bytes(os.read(inlet, 4), "big")


def killed_at(world: World, version: int, number: int, afterwards: bool) -> bool:
    """Run until the n-th call, and die before or after it; tells whether it came so far."""

    def work() -> None:
        count = 0

        def deadly(call: str, do: Callable[[], Any]) -> Any:
            nonlocal count
            count += 1
            if count == number and not afterwards:
                os.kill(os.getpid(), signal.SIGKILL)
            result = do()
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        interpose(deadly)
        work_through(world, version)

    return status(child(work)) == -signal.SIGKILL


def check_next_run(world: World, version: int) -> None:
    """Whatever was killed: the next run finds nothing wrong and gives the right data."""
    later = world.open(NOW + version + 0.75)
    assert list((world.folder / "tmp").iterdir()) == []
    assert later.check() == []
    for key in ("a", "b"):
        held = None
        with suppress(ConnectionError):  # evicted
            held = world.get(later, key, Freshness(0, offline=True)).entry
        if held is not None:
            assert held.metadata["etag"] in (version - 1, version)
            assert held.table.equals(table(key, held.metadata["etag"]))
        found = world.get(later, key, ASK)
        assert found.entry.table.equals(table(key, version))
    assert later.statistics()["healed"] == later.statistics()["write_errors"] == 0


def kills(world: World, wanted: int) -> None:
    work_through(world, 1)
    world.version.write_text("2")
    total = count_calls(world, 2)
    assert total > 60
    done = drafts = 0
    for turn in range(wanted):
        version = 3 + turn
        world.version.write_text(f"{version}")
        number = 1 + turn * (total - 1) // wanted
        done += killed_at(world, version, number, afterwards=bool(turn % 2))
        drafts += len(list((world.folder / "tmp").iterdir()))
        check_next_run(world, version)
    assert done >= 0.9 * wanted  # the last calls may not come every time
    assert drafts >= 0.2 * wanted  # so many died with a file half written


def test_forty_kills_anywhere_leave_nothing_wrong(world: World) -> None:
    kills(world, 40)


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_two_hundred_kills_anywhere_leave_nothing_wrong(world: World) -> None:
    kills(world, 200)


def test_counts_survive_the_kills(world: World) -> None:
    def work() -> None:
        cache = world.open()
        for _ in range(10):
            world.get(cache, "a")
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        assert status(child(work)) == -signal.SIGKILL
    counts = world.open().statistics()
    assert (counts["misses"], counts["hits"], counts["requests"]) == (1, 29, 1)


# ------------------------------------------------------------------ forks


def test_a_fork_while_threads_hold_every_lock(world: World) -> None:
    """Children get a cache that works, whatever the other threads were about."""
    cache = world.open()
    stop = threading.Event()
    failures: list[BaseException] = []

    def busy(number: int) -> None:
        turn = 0
        try:
            while not stop.is_set():
                turn += 1
                world.get(cache, f"thread {number} {turn % 20}", ASK)
                cache.statistics()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(30):

            def work(turn: int = turn) -> None:
                for key in ("common", "thread 1 3", f"child {turn}"):
                    found = world.get(cache, key)
                    assert found.entry.table.equals(table(key, 1))
                assert len(os.listdir("/dev/fd")) < 100

            pid = child(work)
            assert status(pid) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert world.said(world.questions).count("common") == 1
    assert world.open().check() == []


def test_a_child_has_locks_that_nobody_holds(world: World) -> None:
    """At the instant of a fork, another thread may be inside any of them."""
    cache = world.open()
    world.get(cache, "a")

    def work() -> None:
        assert world.get(cache, "a").state == "fresh"
        assert world.get(cache, "b").state == "fetched"
        assert cache.statistics()["misses"] == 2

    with cache._guard, cache._flights._guard, cache.counters._lock:
        began = time.monotonic()
        pid = child(work)
        assert status(pid) == 0
    assert time.monotonic() - began < SOON


def test_a_living_child_holds_up_nobody(world: World) -> None:
    """A worker forked in the midst of a fetch, which then lives on for hours."""
    cache = world.open()
    fetching, leave = threading.Event(), threading.Event()

    def slow() -> None:
        fetching.set()
        leave.wait()

    thread = threading.Thread(target=lambda: world.get(cache, "a", during=slow))
    thread.start()
    fetching.wait()
    worker = child(lambda: time.sleep(50))
    leave.set()
    thread.join()
    try:
        began = time.monotonic()
        assert world.get(world.open(NOW + 7200), "a").state == "revalidated"
        assert time.monotonic() - began < SOON
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
