"""Counters of many processes: the sum is right, whoever was killed, and when."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from stockdb.core import counters as module
from stockdb.core.counters import NAMES, Counters
from stockdb.core.locks import opened, try_lock

pytest.importorskip("fcntl", reason="needs POSIX: locks and forks")
pytestmark = pytest.mark.timeout(60)


def child(work: Callable[[], None]) -> int:
    """Fork; the child does the work and leaves without any of pytest's business."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_after(work: Callable[[], None]) -> None:
    """Do the work in a process of its own that is then killed with signal 9."""

    def suicide() -> None:
        work()
        os.kill(os.getpid(), signal.SIGKILL)

    assert status(child(suicide)) == -signal.SIGKILL


def hits(folder: Path) -> int:
    return Counters(folder).totals()["hits"]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_name_counts_by_itself(tmp_path: Path) -> None:
    counters = Counters(tmp_path)
    assert counters.totals() == dict.fromkeys(NAMES, 0)
    counters.add(hits=1, bytes_saved=2**40)
    counters.add(hits=2, evictions=0)
    assert counters.totals() == dict.fromkeys(NAMES, 0) | {"hits": 3, "bytes_saved": 2**40}
    with pytest.raises(KeyError):
        counters.add(nonsense=1)


def test_threads_lose_nothing(tmp_path: Path) -> None:
    counters = Counters(tmp_path)

    def work() -> None:
        for _ in range(5000):
            counters.add(hits=1, misses=2)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counters.totals()["hits"], counters.totals()["misses"]) == (40_000, 80_000)


def test_processes_add_up_while_they_live_and_after_a_kill(tmp_path: Path) -> None:
    ready, go = os.pipe(), os.pipe()

    def work() -> None:
        counters = Counters(tmp_path)
        for _ in range(100):
            counters.add(hits=1)
        os.write(ready[1], b"!")
        os.read(go[0], 1)

    pids = [child(work) for _ in range(3)]
    for _ in pids:
        os.read(ready[0], 1)
    assert hits(tmp_path) == 300
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        assert status(pid) == -signal.SIGKILL
    assert hits(tmp_path) == 300
    Counters(tmp_path).fold()
    assert hits(tmp_path) == 300
    assert files(tmp_path) == ["total"]


def test_folding_again_and_again_changes_nothing(tmp_path: Path) -> None:
    for number in range(1, 4):
        killed_after(lambda: Counters(tmp_path).add(hits=5))
        Counters(tmp_path).fold()
        Counters(tmp_path).fold()
        assert hits(tmp_path) == 5 * number


def test_the_file_of_a_living_process_is_not_folded(tmp_path: Path) -> None:
    counters = Counters(tmp_path)
    counters.add(hits=1)
    (own,) = files(tmp_path)
    assert status(child(Counters(tmp_path).fold)) == 0
    Counters(tmp_path).fold()  # nor by another cache of the same process
    assert files(tmp_path) == [own]
    counters.add(hits=1)
    assert hits(tmp_path) == 2


def test_a_fold_between_creating_and_locking_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has its lock, a new process's file looks like that of a dead one."""
    counters = Counters(tmp_path)
    others = [True, True]

    def fold_first(descriptor: int) -> bool:
        if others and os.fstat(descriptor).st_size == 0:
            others.pop()
            assert status(child(Counters(tmp_path).fold)) == 0
        return try_lock(descriptor)

    monkeypatch.setattr(module, "try_lock", fold_first)
    counters.add(hits=7)
    monkeypatch.undo()
    assert not others
    assert hits(tmp_path) == 7
    assert counters.totals()["hits"] == 7


@pytest.mark.parametrize("call", ["write", "replace", "unlink", "close"])
@pytest.mark.parametrize("before", [True, False])
def test_a_kill_within_a_fold_neither_loses_nor_doubles(
    tmp_path: Path, call: str, before: bool
) -> None:
    for amount in (1, 10, 100):
        killed_after(partial(Counters(tmp_path).add, hits=amount))

    def fold() -> None:
        real = getattr(os, call)

        def deadly(*args: object, **options: object) -> object:
            if not before:
                real(*args, **options)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

        setattr(os, call, deadly)
        Counters(tmp_path).fold()

    for _ in range(2):
        assert status(child(fold)) == -signal.SIGKILL
        assert hits(tmp_path) == 111
    Counters(tmp_path).fold()
    assert hits(tmp_path) == 111
    assert set(files(tmp_path)) == {"total"}


def test_a_sum_taken_during_folds_is_right(tmp_path: Path) -> None:
    """A file may be moved into the total before, while or after it is read."""
    for _ in range(30):
        killed_after(lambda: Counters(tmp_path).add(hits=1))
    begin = os.pipe()

    def fold() -> None:
        os.read(begin[0], 1)
        Counters(tmp_path).fold()

    pid = child(fold)
    reader = Counters(tmp_path)
    os.write(begin[1], b"!")
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert reader.totals()["hits"] == 30
    assert files(tmp_path) == ["total"]
    assert hits(tmp_path) == 30


def test_two_folds_at_once_count_once(tmp_path: Path) -> None:
    for _ in range(10):
        killed_after(lambda: Counters(tmp_path).add(hits=1))
    pids = [child(Counters(tmp_path).fold) for _ in range(6)]
    assert [status(pid) for pid in pids] == [0] * 6
    assert hits(tmp_path) == 10


def test_a_child_counts_in_a_file_of_its_own(tmp_path: Path) -> None:
    counters = Counters(tmp_path)
    counters.add(hits=1)
    assert status(child(lambda: counters.add(hits=10))) == 0
    counters.add(hits=100)
    assert counters.totals()["hits"] == 111


def test_counting_goes_on_when_the_folder_vanishes(tmp_path: Path) -> None:
    folder = tmp_path / "counters"
    folder.mkdir()
    counters = Counters(folder)
    counters.add(hits=1)
    (folder / files(folder)[0]).unlink()
    folder.rmdir()
    counters.add(hits=1)
    assert counters.totals()["hits"] == 2


def test_counting_goes_on_without_a_folder(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "absent")
    counters.fold()
    counters.add(hits=2)
    assert counters.totals()["hits"] == 2


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"counts": 3}', b"\xff\x00"])
def test_a_damaged_total_is_no_error(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "total").write_bytes(garbage)
    (tmp_path / "7-short").write_bytes(b"abc")
    killed_after(lambda: Counters(tmp_path).add(hits=2))
    assert hits(tmp_path) == 2
    Counters(tmp_path).fold()
    assert hits(tmp_path) == 2


def test_a_full_disk_does_not_damage_the_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(lambda: Counters(tmp_path).add(hits=1))
    Counters(tmp_path).fold()
    killed_after(lambda: Counters(tmp_path).add(hits=1))
    real = os.write
    with monkeypatch.context() as patch:  # a full disk first writes what has room
        patch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:5]))
        Counters(tmp_path).fold()
    assert hits(tmp_path) == 2


def test_a_counter_added_later_reads_old_totals(tmp_path: Path) -> None:
    (tmp_path / "total").write_text(json.dumps({"counts": {"hits": 4}, "folded": []}))
    assert Counters(tmp_path).totals() == dict.fromkeys(NAMES, 0) | {"hits": 4}


def test_files_are_private_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    folder = tmp_path / "counters"
    folder.mkdir()
    (folder / "1-link").symlink_to(outside)
    (folder / "total.new").symlink_to(outside)
    killed_after(lambda: Counters(folder).add(hits=1))
    Counters(folder).fold()
    assert outside.read_bytes() == b"precious"
    counters = Counters(folder)
    counters.add(hits=1)
    kept = [path for path in folder.iterdir() if not path.is_symlink()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert counters.totals()["hits"] == 2


def test_counters_that_are_gone_keep_neither_file_nor_lock(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(50):
        Counters(tmp_path).add(hits=1)
    assert len(os.listdir("/dev/fd")) == before
    Counters(tmp_path).fold()
    assert files(tmp_path) == ["total"]
    assert hits(tmp_path) == 50


def test_a_child_does_not_keep_its_parents_file_alive(tmp_path: Path) -> None:
    """The lock says that the process lives, not that some descendant of it does."""

    def parent() -> None:
        counters = Counters(tmp_path)
        counters.add(hits=3)
        (own,) = files(tmp_path)
        del counters
        with opened(tmp_path / own, os.O_RDWR) as descriptor:
            assert try_lock(descriptor)

    assert status(child(parent)) == 0


def test_counting_is_fast(tmp_path: Path) -> None:
    counters = Counters(tmp_path)
    counters.add(hits=1)
    best = min(_seconds(counters) for _ in range(5))
    assert best < 20e-6  # about 2 us; a hit has 15


def _seconds(counters: Counters) -> float:
    began = time.perf_counter()
    for _ in range(1000):
        counters.add(hits=1, requests_saved=1, bytes_saved=1)
    return (time.perf_counter() - began) / 1000
