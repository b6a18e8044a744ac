"""The disk cache under everything at once: replacements, evictions, kills, and no wrong read.

The server is a file for each key that says which version is current; one process alone changes
it and keeps the history. What the workers were served is written down with the time, and held
against that history at the end. All clocks are the machine's monotonic one, which all processes
share and nobody sets.

``STOCKDB_STRESS_SECONDS`` (default 120) says how long the first test runs.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import struct
import threading
import time
import traceback
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stockdb.core.cache import DiskCache
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.errors import NotFoundError, UnavailableError

pytest.importorskip("fcntl", reason="needs POSIX: locks and forks")

SECONDS = float(os.environ.get("STOCKDB_STRESS_SECONDS", "120"))
pytestmark = [pytest.mark.stress, pytest.mark.timeout(SECONDS + 300)]

PROCESSES, THREADS, KEYS = 8, 4, 12
KILL_EVERY = 0.5
REPLACE_EVERY = 0.01
SLACK = 1e-6  # a file's time is that of the clock, cut to what a double and a disk can hold
RECORD = struct.Struct("<ddqqd8s")  # begin, end, key, version, limit, state
WISHES = (
    Freshness(ttl=0.5),
    Freshness(ttl=0.05),
    Freshness(ttl=0.5, max_age=0),
    Freshness(ttl=0.05, allow_stale=True),
    Freshness(ttl=0.5, offline=True),
)


def name_of(key: int) -> str:
    return hashlib.sha256(b"%d" % key).hexdigest()


def table(key: int, version: int, rows: int = 4000) -> pa.Table:
    return pa.table(
        {
            "key": np.full(rows, key),
            "version": np.full(rows, version),
            "mix": np.arange(rows) * 31 + version * 7919 + key,
        }
    )


def version_of(found: pa.Table, key: int, rows: int = 4000) -> int:
    """Read the version and check every number beside it."""
    version = int(found["version"][0].as_py())
    assert found.equals(table(key, version, rows)), f"torn: key {key}, version {version}"
    return version


def child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(int(SECONDS) + 60)  # ends a child that hangs
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@dataclass
class Server:
    """Versions in files: 0 is an absent object. Each is written twice, to see a torn read."""

    folder: Path
    history: dict[int, list[tuple[float, float, int]]] = field(default_factory=dict)
    last: int = 0

    def set(self, key: int, version: int | None = None) -> None:
        """Make a version current; a new one by default. Only one process does this."""
        if version is None:
            self.last += 1
            version = self.last
        before = time.monotonic()
        descriptor = os.open(self.folder / f"{key}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, struct.pack("<qq", version, version), 0)
        os.close(descriptor)
        self.history.setdefault(key, []).append((before, time.monotonic(), version))

    def current(self, key: int) -> int:
        while True:
            one, two = struct.unpack("<qq", (self.folder / f"{key}").read_bytes())
            if one == two:
                return int(one)

    def was_current(self, key: int, version: int, since: float, until: float) -> bool:
        """Tell whether the version was the current one at some time of this span."""
        changes = self.history[key]
        # The last change before the span, and all within it.
        first = max(0, bisect_left(changes, (since,)) - 2)
        for number in range(first, len(changes)):
            begin, _, was = changes[number]
            end = changes[number + 1][1] if number + 1 < len(changes) else float("inf")
            if was == version and begin <= until and end >= since:
                return True
            if begin > until:
                return False
        return False


class Worker:
    """One process: four threads that read whatever they like, and write down what they got."""

    def __init__(self, folder: Path, server: Server, seed: int) -> None:
        self.cache = open_cache(folder)
        self.server = server
        self.seed = seed
        self.stop = folder / "stop"
        self.parent = os.getppid()
        log = folder / "served" / f"{os.getpid()}"
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.failures: list[BaseException] = []

    def run(self) -> None:
        threads = [threading.Thread(target=self.guarded, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def guarded(self, number: int) -> None:
        try:
            self.loop(random.Random(f"{self.seed} {number}"))
        except BaseException as error:
            self.failures.append(error)
            self.stop.touch()

    def loop(self, chance: random.Random) -> None:
        kept: deque[tuple[pa.Table, int, int]] = deque(maxlen=8)
        # Whoever kills the test's own process does not leave eight busy ones behind.
        while not self.stop.exists() and os.getppid() == self.parent:
            key = chance.randrange(KEYS)
            wanted = chance.choice(WISHES)
            fetch = self.fetch(key, chance, may_fail=wanted.allow_stale)
            begin = time.monotonic()
            try:
                found = self.cache.get(name_of(key), wanted, fetch, wait=10)
            except NotFoundError:
                self.write(begin, key, 0, 0.0, "absent")
            except UnavailableError:
                pass
            else:
                version = version_of(found.entry.table, key)
                limit = wanted.ttl if wanted.max_age is None else wanted.max_age
                self.write(begin, key, version, limit, found.state)
                kept.append((found.entry.table, key, version))
            if kept:  # tables stay what they were, whatever became of their files
                old, key, version = chance.choice(kept)
                assert version_of(old, key) == version
            time.sleep(chance.random() * 0.01)

    def write(self, begin: float, key: int, version: int, limit: float, state: str) -> None:
        end = time.monotonic()
        os.write(self.log, RECORD.pack(begin, end, key, version, limit, state[:8].encode()))

    def fetch(self, key: int, chance: random.Random, may_fail: bool) -> Callable[..., Any]:
        def answer(held: dict[str, Any] | None) -> Entry | None:
            time.sleep(chance.random() * 0.005)
            if may_fail and chance.random() < 0.3:
                raise UnavailableError("down")
            version = self.server.current(key)
            time.sleep(chance.random() * 0.005)
            if not version:
                raise NotFoundError("gone")
            if held and held["etag"] == version:
                return None
            return Entry(table(key, version), {"etag": version, "size": 1})

        return answer


def open_cache(folder: Path) -> DiskCache:
    # Room for five of twelve entries, each good for two seconds without a question.
    return DiskCache(folder / "cache", max_bytes=500_000, max_entry_age=2.0, clock=time.monotonic)


def test_nothing_wrong_is_ever_served(tmp_path: Path) -> None:
    for name in ("server", "served"):
        (tmp_path / name).mkdir()
    server, chance = Server(tmp_path / "server"), random.Random(1)
    for key in range(KEYS):
        server.set(key)
    seeds = iter(range(1_000_000))

    def spawn() -> int:
        seed = next(seeds)
        return child(lambda: Worker(tmp_path, server, seed).run())

    workers = [spawn() for _ in range(PROCESSES)]
    until, kills = time.monotonic() + SECONDS, 0
    next_kill = time.monotonic() + KILL_EVERY
    while time.monotonic() < until and not (tmp_path / "stop").exists():
        # One in eight changes removes the object; the next one brings it back.
        server.set(chance.randrange(KEYS), 0 if chance.random() < 0.125 else None)
        if time.monotonic() >= next_kill:
            victim = chance.randrange(PROCESSES)
            os.kill(workers[victim], signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(workers[victim], 0)[1])
            assert code == -signal.SIGKILL
            workers[victim] = spawn()
            kills, next_kill = kills + 1, next_kill + KILL_EVERY
        time.sleep(chance.random() * 2 * REPLACE_EVERY)
    (tmp_path / "stop").touch()
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
    assert codes == [0] * PROCESSES

    states = check_served(tmp_path / "served", server)
    print(f"\n{kills} kills, {server.last} versions, served {dict(states)}")
    assert kills >= 0.8 * SECONDS / KILL_EVERY
    assert min(states[state] for state in ("fresh", "revalida", "replaced", "fetched")) > SECONDS
    check_cache(tmp_path, states, kills)


def check_served(folder: Path, server: Server) -> Counter[str]:
    """Hold every record against the history."""
    states: Counter[str] = Counter()
    for path in folder.iterdir():
        data = path.read_bytes()
        usable = len(data) - len(data) % RECORD.size  # a kill may cut the last one
        for begin, end, key, version, limit, text in RECORD.iter_unpack(data[:usable]):
            state = text.rstrip(b"\0").decode()
            states[state] += 1
            since = 0.0 if state in {"stale", "offline"} else begin - limit - SLACK
            assert server.was_current(key, version, since, end), (
                f"{state}: key {key}, version {version} at {begin:.6f}, limit {limit}: "
                f"{[change for change in server.history[key] if abs(change[0] - begin) < 1]}"
            )
    return states


def check_cache(folder: Path, states: Counter[str], kills: int) -> None:
    """Hold the directory and the statistics against what is known."""
    cache = open_cache(folder)  # sweeps
    assert cache.check() == []
    assert list((folder / "cache" / "tmp").iterdir()) == []
    counts = cache.statistics()
    assert counts["healed"] == counts["write_errors"] == 0
    assert counts["evictions"] > 0
    assert counts["bytes"] <= 500_000 * (1 + 0.05 * PROCESSES) + 100_000
    served = sum(states.values()) - states["absent"]
    counted = sum(counts[name] for name in ("hits", "misses", "revalidations", "stale_serves"))
    # Counted before it is served and written down: a kill may come between.
    assert served <= counted <= served + kills * THREADS


def test_two_hundred_kills_in_mid_download_and_mid_write(tmp_path: Path) -> None:
    """At any instant, of an object of 5 MB that arrives in pieces."""
    rows, kills, chance = 200_000, 200, random.Random(2)
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    phases = Counter[str]()
    inlet, outlet = os.pipe()  # each letter a phase: download, write, over

    def open_big() -> DiskCache:
        return DiskCache(
            tmp_path / "cache", max_bytes=10**9, max_entry_age=1e9, clock=time.monotonic
        )

    def fetch(held: dict[str, Any] | None) -> Entry | None:
        version = server.current(0)
        if held and held["etag"] == version:
            return None
        os.write(outlet, b"d")
        time.sleep(0.004)
        found = table(0, version, rows)
        os.write(outlet, b"w")
        return Entry(found, {"etag": version})

    def read(cache: DiskCache, ttl: float = 0, offline: bool = False) -> int:
        found = cache.get(name_of(0), Freshness(ttl, offline=offline), fetch, wait=10)
        return version_of(found.entry.table, 0, rows)

    def work() -> None:
        read(open_big())
        os.write(outlet, b"o")

    server.set(0)
    read(open_big())
    os.read(inlet, 100)
    while phases["d"] + phases["w"] < kills:
        server.set(0)
        pid = child(work)
        phase = os.read(inlet, 1)
        time.sleep(chance.random() * 0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.write(outlet, b"!")
        seen = phase + os.read(inlet, 100)
        phases[chr(seen[-2])] += 1
        cache = open_big()
        assert list((tmp_path / "cache" / "tmp").iterdir()) == []
        assert cache.check() == []
        assert read(cache, offline=True) in (server.last - 1, server.last)
        assert read(cache) == server.last
        os.write(outlet, b"!")
        os.read(inlet, 100)
        assert phases.total() < 10 * kills
    print(f"\nkilled in {dict(phases)}")
    assert min(phases["d"], phases["w"]) > 10
    assert open_big().statistics()["healed"] == 0
