"""The cache's directory: damage, full and forbidden disks, foreign owners, other people's eyes.

A fault is real wherever the system lets a test make it: file systems that are mounted for it,
limits set on a child process. Only then is a call replaced.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stockdb.core.cache import Cached, DiskCache
from stockdb.core.cachefiles import SUFFIX, CacheFiles
from stockdb.core.entry import Entry
from stockdb.core.freshness import Freshness
from stockdb.core.locks import opened, try_lock
from stockdb.errors import ConfigurationError, UnavailableError

pytest.importorskip("fcntl", reason="needs POSIX: locks, forks, limits")
resource = pytest.importorskip("resource")

pytestmark = pytest.mark.timeout(60)
HOUR = Freshness(ttl=3600)
OFFLINE = Freshness(ttl=3600, offline=True)
A = "a" * 64
NOBODY = 65534
ROWS = 40_000  # 0.3 MB


def make(folder: Path, now: float = 1_700_000_000.0) -> DiskCache:
    return DiskCache(folder, max_bytes=10**9, max_entry_age=1e9, clock=lambda: now)


class Server:
    """Answers with numbers that follow from the name."""

    def __init__(self) -> None:
        self.asked = 0

    def fetch(self, held: dict[str, Any] | None) -> Entry:
        self.asked += 1
        return Entry(pa.table({"x": np.arange(ROWS)}), {"etag": "v1", "size": 8 * ROWS})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def read(cache: DiskCache, server: Server, name: str = A, wanted: Freshness = HOUR) -> Cached:
    found = cache.get(name, wanted, server.fetch, wait=5)
    assert np.array_equal(found.entry.table["x"].to_numpy(), np.arange(ROWS))
    return found


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"entries/*/*{SUFFIX}"))


def child(work: Callable[[], None]) -> None:
    """Do the work in a process of its own, which may take limits upon itself."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# ------------------------------------------------------------------ damage

DAMAGE = {
    "columns: first byte": lambda size, columns, text: 0,
    "columns: middle": lambda size, columns, text: columns // 2,
    "columns: last byte": lambda size, columns, text: columns - 1,
    "metadata: first byte": lambda size, columns, text: columns,
    "metadata: middle": lambda size, columns, text: columns + text // 2,
    "metadata: last byte": lambda size, columns, text: columns + text - 1,
    "footer: magic": lambda size, columns, text: size - 40,
    "footer: length of the columns": lambda size, columns, text: size - 32,
    "footer: length of the metadata": lambda size, columns, text: size - 24,
    "footer: checksum of the columns": lambda size, columns, text: size - 16,
    "footer: checksum of the metadata": lambda size, columns, text: size - 12,
    "footer: magic at the end": lambda size, columns, text: size - 1,
}


def flip(path: Path, where: Callable[[int, int, int], int]) -> None:
    data = bytearray(path.read_bytes())
    columns, text = struct.unpack("<QQ", data[-32:-16])
    data[where(len(data), columns, text)] ^= 0x10
    with path.open("r+b") as file:  # in place: the same file, as a bad disk leaves it
        file.write(data)


def shorten(path: Path, size: int) -> None:
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)


def heals(folder: Path, server: Server, cache: DiskCache, damage: Callable[[Path], None]) -> None:
    read(cache, server)
    read(cache, server)
    (path,) = entries(folder)
    damage(path)
    assert [problem.path for problem in cache.check()] == [path]
    with pytest.raises(UnavailableError):
        read(make(folder), server, wanted=OFFLINE)
    assert entries(folder) == []  # and nobody will stumble over it again
    read(cache, server)
    assert (read(cache, server).state, server.asked) == ("fresh", 2)
    assert cache.check() == []
    assert cache.statistics()["healed"] == 1


@pytest.mark.parametrize("where", DAMAGE.values(), ids=DAMAGE)
def test_a_flipped_byte_is_found_deleted_and_fetched_again(
    folder: Path, server: Server, where: Callable[[int, int, int], int]
) -> None:
    heals(folder, server, make(folder), lambda path: flip(path, where))


@pytest.mark.parametrize("size", [0, 1, 39, 40, 4096, 8 * ROWS, -41, -40, -39, -1])
def test_a_truncated_entry_is_found_deleted_and_fetched_again(
    folder: Path, server: Server, size: int
) -> None:
    heals(folder, server, make(folder), lambda path: shorten(path, size))


@pytest.mark.parametrize(
    "damage",
    [lambda path: flip(path, DAMAGE["columns: middle"]), lambda path: shorten(path, 4096)],
    ids=["flipped", "truncated"],
)
def test_damage_is_found_by_who_has_the_entry_mapped(
    folder: Path, server: Server, damage: Callable[[Path], None]
) -> None:
    cache = make(folder)
    read(cache, server)
    read(cache, server)
    damage(entries(folder)[0])
    read(cache, server)
    assert (server.asked, cache.statistics()["healed"]) == (2, 1)


def test_a_truncation_that_keeps_the_time_is_found_too(folder: Path, server: Server) -> None:
    """By its size: reading on beyond the end of a map would kill the process (SIGBUS)."""

    def work() -> None:
        cache = make(folder)
        read(cache, server)
        read(cache, server)
        (path,) = entries(folder)
        before = path.stat()
        shorten(path, 4096)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        read(cache, server)
        assert (server.asked, cache.statistics()["healed"]) == (2, 1)

    child(work)


def test_the_audit_finds_what_does_not_belong_here(folder: Path, server: Server) -> None:
    cache = make(folder)
    read(cache, server)
    assert cache.check() == []
    (folder / "tmp" / "1-dead").write_bytes(b"half")
    (folder / "thumbs.db").touch()
    link = entries(folder)[0].with_name(f"b{SUFFIX}")
    link.symlink_to(entries(folder)[0])
    with opened(folder / "tmp" / "1-alive", os.O_RDWR | os.O_CREAT) as descriptor:
        assert try_lock(descriptor)
        assert {problem.path.name for problem in cache.check()} == {
            "1-dead",
            "thumbs.db",
            link.name,
        }
        make(folder)
        assert [path.name for path in (folder / "tmp").iterdir()] == ["1-alive"]


# ------------------------------------------------------------------ disks


def mount(folder: Path, *options: str) -> None:
    folder.mkdir()
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if sys.platform != "linux" or os.getuid():
        pytest.skip("mounting needs root on Linux")
    mount(folder, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_full_disk_costs_one_warning_and_no_read(
    small_disk: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make(small_disk)
    for number in range(20):
        assert read(cache, server, f"{number:064x}").state == "fetched"
    (warning,) = warnings(caplog)
    assert os.strerror(errno.ENOSPC) in warning and str(small_disk) in warning
    counts = cache.statistics()
    assert counts["write_errors"] == 20 - counts["entries"] > 0
    assert cache.check() == [] and not list((small_disk / "tmp").iterdir())
    for path in entries(small_disk)[:2]:  # room again
        path.unlink()
    read(cache, server, A)
    assert read(cache, server, A).state == "fresh"


def test_a_disk_that_is_full_from_the_start(small_disk: Path, server: Server) -> None:
    with pytest.raises(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    cache = make(small_disk)
    assert [read(cache, server).state for _ in range(2)] == ["fetched"] * 2
    assert cache.statistics()["write_errors"] == 2


def test_a_read_only_disk_still_serves(
    small_disk: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    read(make(small_disk), server)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    cache = make(small_disk)
    assert warnings(caplog) == []
    assert read(cache, server).state == "fresh"
    assert [read(cache, server, "b" * 64).state for _ in range(2)] == ["fetched"] * 2
    assert len(warnings(caplog)) == 1
    assert cache.statistics()["write_errors"] == 2
    assert (cache.clear().entries, cache.check()) == (0, [])
    later = make(small_disk, now=1_700_010_000.0)
    assert [read(later, server).state for _ in range(2)] == ["replaced"] * 2


def test_an_empty_read_only_disk_caches_nothing(small_disk: Path, server: Server) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    cache = make(small_disk)
    assert [read(cache, server).state for _ in range(2)] == ["fetched"] * 2


def test_a_file_size_limit_costs_one_warning_and_no_read(
    folder: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        cache = make(folder)
        assert [read(cache, server).state for _ in range(3)] == ["fetched"] * 3
        (warning,) = warnings(caplog)
        assert os.strerror(errno.EFBIG) in warning
        assert cache.statistics()["write_errors"] == 3
        assert entries(folder) == [] and not list((folder / "tmp").iterdir())

    child(limited)


def test_no_descriptor_left_costs_one_warning_and_no_read(
    folder: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    read(make(folder), server)

    def exhausted() -> None:
        cache = make(folder)
        read(cache, server)  # mapped: needs no descriptor any more
        lowest = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, lowest))
        assert read(cache, server).state == "fresh"
        assert [read(cache, server, "b" * 64).state for _ in range(2)] == ["fetched"] * 2
        (warning,) = warnings(caplog)
        assert os.strerror(errno.EMFILE) in warning
        assert cache.counters.totals()["write_errors"] == 2

    child(exhausted)


def test_many_tables_in_use_leave_descriptors_for_others(folder: Path, server: Server) -> None:
    """macOS gives a process 256 files, Linux 1,024."""

    def limited() -> None:
        lowest = os.open(os.devnull, os.O_RDONLY)  # tests before may have left some open
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 50, lowest + 50))
        cache = make(folder)
        names = [f"{number:064x}" for number in range(100)]
        tables = [read(cache, server, name).entry.table for name in names * 2]
        assert len({id(table) for table in tables}) == 200
        assert (server.asked, cache.counters.totals()["write_errors"]) == (100, 0)

    child(limited)


def test_memory_maps_are_bounded(folder: Path, server: Server) -> None:
    cache = make(folder)
    for number in range(300):
        for _ in range(2):
            cache.get(f"{number:064x}", HOUR, lambda held: Entry(pa.table({"x": [1]}), {}), wait=1)
    assert len(cache._mapped) == 256
    before = len(Path("/proc/self/maps").read_text().splitlines())
    cache.clear()
    assert len(cache._mapped) == 0
    assert len(Path("/proc/self/maps").read_text().splitlines()) < before - 200


@pytest.mark.parametrize("removed", ["", "entries", "tmp", "locks", "counters"])
def test_a_folder_removed_underneath_is_made_again(
    folder: Path, server: Server, removed: str
) -> None:
    cache = make(folder)
    read(cache, server)
    subprocess.run(["rm", "-rf", str(folder / removed)], check=True)
    read(cache, server, "b" * 64)
    assert read(cache, server, "b" * 64).state == "fresh"
    assert cache.statistics()["write_errors"] == 0
    assert cache.statistics()["misses"] == 2
    make(folder)
    assert {path.name for path in folder.iterdir()} == {"entries", "tmp", "locks", "counters"}


@pytest.mark.parametrize("place", ["", "entries", "tmp", "locks", "counters"])
def test_a_file_where_a_folder_should_be(folder: Path, server: Server, place: str) -> None:
    if place:
        folder.mkdir()
    (folder / place).touch()
    cache = make(folder)
    states = [read(cache, server).state for _ in range(2)]
    assert states == ["fetched", "fresh" if place in {"locks", "counters"} else "fetched"]
    assert cache.counters.totals()["misses"] == server.asked


# ------------------------------------------------------------------ privacy


def test_folders_are_0700_and_files_0600_whatever_the_umask(folder: Path, server: Server) -> None:
    before = os.umask(0)
    try:
        read(make(folder), server)
    finally:
        os.umask(before)
    found = [folder, *folder.rglob("*")]
    assert len(found) > 7
    for path in found:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    if os.getuid():
        return Path("/")  # root's
    (tmp_path / "foreign").mkdir(mode=0o777)
    os.chown(tmp_path / "foreign", NOBODY, NOBODY)
    return tmp_path / "foreign"


def test_a_directory_of_another_user_is_refused_and_left_alone(foreign: Path) -> None:
    before = sorted(foreign.iterdir())
    with pytest.raises(ConfigurationError, match="another user") as caught:
        make(foreign)
    assert "MINIO_CACHE_DIR" in caught.value.remedy
    assert sorted(foreign.iterdir()) == before


def needs_root() -> None:
    if os.getuid():
        pytest.skip("only root can give a file away")


def test_a_folder_of_another_user_within_is_refused(folder: Path) -> None:
    needs_root()
    (folder / "entries").mkdir(parents=True)
    os.chown(folder / "entries", NOBODY, NOBODY)
    with pytest.raises(ConfigurationError):
        make(folder)


def test_what_another_user_put_into_a_directory_is_not_read(folder: Path, server: Server) -> None:
    """As in /tmp, where a cleaner removes it and somebody else makes it again."""
    needs_root()
    cache = make(folder)
    read(cache, server)
    os.chown(entries(folder)[0], NOBODY, NOBODY)
    with pytest.raises(UnavailableError):
        read(cache, server, wanted=OFFLINE)
    assert [read(cache, server).state for _ in range(2)] == ["fetched", "fresh"]


@pytest.mark.parametrize("target", ["somewhere", "an entry"])
def test_a_link_at_an_entrys_place_is_not_followed(
    folder: Path, server: Server, target: str
) -> None:
    cache = make(folder)
    read(cache, server)
    (path,) = entries(folder)
    outside = folder.parent / "outside"
    if target == "an entry":
        path.rename(outside)
    else:
        outside.write_bytes(b"precious")
        path.unlink()
    path.symlink_to(outside)
    before = outside.read_bytes()
    assert read(make(folder), server).state == "fetched"
    assert outside.read_bytes() == before
    assert not path.is_symlink() and read(make(folder), server).state == "fresh"


def test_a_draft_swept_before_it_was_locked_is_written_again(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make(folder)
    cache.clean()
    real, drafts = os.open, []

    def swept(path: Any, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        if Path(path).parent.name == "tmp" and not drafts:
            drafts.append(path)
            CacheFiles(folder).sweep()
        return descriptor

    monkeypatch.setattr(os, "open", swept)
    read(cache, server)
    assert drafts and read(cache, server).state == "fresh"
    assert cache.statistics()["write_errors"] == 0


def test_a_hit_is_fast(folder: Path, server: Server) -> None:
    cache = make(folder)
    read(cache, server)
    cache.get(A, HOUR, server.fetch, wait=1)
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(200):
            cache.get(A, HOUR, server.fetch, wait=1)
        best = min(best, (time.perf_counter() - began) / 200)
    assert best < 60e-6  # 9 us on a machine that does nothing else


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "wall").write_text("")
    assert CacheFiles(tmp_path / "wall" / "cache").trouble() == "Not a directory"
    assert CacheFiles(tmp_path / "cache").trouble() == ""
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
