"""Single flight: one at a time, bounded, and free again whatever happened to the holder."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stockdb.core import locks
from stockdb.core.locks import SingleFlight, opened, try_lock

fcntl = pytest.importorskip("fcntl", reason="needs POSIX: locks and forks")
resource = pytest.importorskip("resource")

pytestmark = pytest.mark.timeout(60)
SOON = 5.0  # what "at once" may take on a busy machine; the waits below are far longer
LONG = 30.0


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


def succeeded(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class Signal:
    """An event across processes: a pipe."""

    def __init__(self) -> None:
        self.inlet, self.outlet = os.pipe()

    def __call__(self) -> None:
        os.write(self.outlet, b"!")

    def wait(self) -> None:
        assert os.read(self.inlet, 1) == b"!"


@pytest.fixture(params=["bytes", "stripes"])
def flights(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SingleFlight:
    """Both ways to lock; a system without locks of single bytes has the second only."""
    if request.param == "stripes":
        monkeypatch.setattr(locks, "_BYTES", None)
    elif locks._BYTES is None:
        pytest.skip("this system locks whole files only")
    return SingleFlight(tmp_path)


@pytest.fixture
def holder(flights: SingleFlight, tmp_path: Path) -> Iterator[int]:
    """Another process that holds "a" until it is killed."""
    ready = Signal()

    def hold() -> None:
        with SingleFlight(tmp_path).hold("a", 1):
            ready()
            time.sleep(LONG)

    pid = child(hold)
    ready.wait()
    yield pid
    end(pid)


def seconds_until_held(flights: SingleFlight, name: str = "a", wait: float = LONG) -> float:
    began = time.monotonic()
    with flights.hold(name, wait) as got:
        assert got
        return time.monotonic() - began


def test_of_many_threads_one_is_inside(flights: SingleFlight) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with flights.hold("a", LONG) as got:
                assert got
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_other_names_do_not_wait(flights: SingleFlight) -> None:
    with flights.hold("a", 1), flights.hold("b", 1) as got:
        assert got


def test_waiting_for_a_thread_is_bounded(flights: SingleFlight) -> None:
    with flights.hold("a", 1):
        began = time.monotonic()
        with flights.hold("a", 0.2) as got:
            assert not got
        assert 0.2 <= time.monotonic() - began < SOON


def test_waiting_for_a_process_is_bounded(flights: SingleFlight, holder: int) -> None:
    began = time.monotonic()
    with flights.hold("a", 0.2) as got:
        assert not got
    assert time.monotonic() - began < SOON


def test_a_killed_holder_lets_go_at_once(flights: SingleFlight, holder: int) -> None:
    threading.Timer(0.2, os.kill, (holder, signal.SIGKILL)).start()
    assert seconds_until_held(flights) < SOON


def test_an_error_inside_lets_go(flights: SingleFlight) -> None:
    with pytest.raises(ZeroDivisionError), flights.hold("a", 1):
        raise ZeroDivisionError
    assert seconds_until_held(flights) < SOON


def test_an_interrupt_while_waiting_keeps_nothing_open(
    flights: SingleFlight, holder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    before = sorted(os.listdir("/dev/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", interrupted)
        with pytest.raises(KeyboardInterrupt), flights.hold("a", LONG):
            pass
    assert sorted(os.listdir("/dev/fd")) == before
    os.kill(holder, signal.SIGKILL)
    assert seconds_until_held(flights) < SOON


# ------------------------------------------------------------------ a lock that cannot be had


@pytest.mark.parametrize("folder", ["absent", "file/locks"])
def test_without_a_folder_one_goes_without(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    began = time.monotonic()
    with SingleFlight(tmp_path / folder).hold("a", LONG) as got:
        assert not got
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_not_waited_for(
    flights: SingleFlight, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    monkeypatch.setattr(fcntl, "fcntl", unsupported)
    began = time.monotonic()
    with flights.hold("a", LONG) as got:
        assert not got
    assert time.monotonic() - began < SOON


def test_without_descriptors_one_goes_without(flights: SingleFlight) -> None:
    def exhausted() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        began = time.monotonic()
        with flights.hold("a", LONG) as got:
            assert not got
        assert time.monotonic() - began < SOON

    assert succeeded(child(exhausted))


def test_a_link_in_place_of_a_lock_is_not_followed(flights: SingleFlight, tmp_path: Path) -> None:
    with flights.hold("a", 1):
        pass
    (stripe,) = tmp_path.iterdir()
    stripe.unlink()
    stripe.symlink_to(tmp_path / "elsewhere")
    with flights.hold("a", 1) as got:
        assert not got
    assert not (tmp_path / "elsewhere").exists()


def test_names_leave_few_private_files_and_no_memory(flights: SingleFlight, tmp_path: Path) -> None:
    for number in range(3000):
        with flights.hold(str(number), 1):
            pass
    files = list(tmp_path.iterdir())
    assert len(files) == 1 if locks._BYTES is not None else 100 < len(files) <= 128
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert len(flights._named) == 0


def test_strangers_in_another_process_do_not_wait(tmp_path: Path) -> None:
    """With 300 names held, a stripe would be shared by chance; a byte is not."""
    if locks._BYTES is None:
        pytest.skip("this system locks whole files only")
    ready = Signal()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for number in range(300):
                assert stack.enter_context(SingleFlight(tmp_path).hold(f"theirs {number}", 1))
            ready()
            time.sleep(LONG)

    pid = child(hold)
    ready.wait()
    try:
        mine = SingleFlight(tmp_path)
        for number in range(300):
            with mine.hold(f"mine {number}", 0) as got:
                assert got
        with mine.hold("theirs 7", 0) as got:
            assert not got
    finally:
        end(pid)


# ------------------------------------------------------------------ forks


def test_a_child_does_not_keep_its_parents_locks(flights: SingleFlight, tmp_path: Path) -> None:
    """Forked while another thread is inside: the usual state of a pool of workers."""
    inside, leave, forked = threading.Event(), threading.Event(), Signal()

    def live() -> None:
        forked()
        time.sleep(LONG)

    def work() -> None:
        with flights.hold("a", 1):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    lives = child(live)
    forked.wait()
    leave.set()
    thread.join()
    try:
        assert seconds_until_held(flights) < SOON
        held = {os.readlink(link) for link in Path(f"/proc/{lives}/fd").iterdir()}
        assert not {path for path in held if path.startswith(str(tmp_path))}
    finally:
        end(lives)


def test_a_copy_of_the_descriptor_does_not_keep_the_lock(tmp_path: Path) -> None:
    """What a child has that was forked in the instant after opening."""
    flags = os.O_RDWR | os.O_CREAT
    with opened(tmp_path / "x", flags) as descriptor:
        assert try_lock(descriptor)
        copy = os.dup(descriptor)
    with opened(tmp_path / "x", flags) as other:
        assert try_lock(other)
    os.close(copy)


def test_a_child_of_a_killed_holder_does_not_keep_the_lock(
    flights: SingleFlight, tmp_path: Path
) -> None:
    ready, pids = Signal(), os.pipe()

    def hold() -> None:
        with flights.hold("a", 1):
            grandchild = child(lambda: time.sleep(LONG))
            os.write(pids[1], grandchild.to_bytes(8, "big"))
            ready()
            time.sleep(LONG)

    parent = child(hold)
    ready.wait()
    grandchild = int.from_bytes(os.read(pids[0], 8), "big")
    end(parent)
    try:
        assert seconds_until_held(flights) < SOON
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_a_child_that_leaves_the_block_closes_nothing_of_its_own(flights: SingleFlight) -> None:
    """The forking thread itself may be inside; the number may be another file's by then."""

    def leave() -> None:
        with flights.hold("a", 1):
            before = set(os.listdir("/dev/fd"))
            if not (pid := os.fork()):
                # The lowest free number: the one that the lock had.
                mine = os.open(os.devnull, os.O_RDONLY)
                assert str(mine) in before
        if pid:
            assert succeeded(pid)
        else:
            os.fstat(mine)

    assert succeeded(child(leave))


def test_try_lock_tells_a_holder_from_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = os.O_RDWR | os.O_CREAT
    with opened(tmp_path / "x", flags) as one, opened(tmp_path / "x", flags) as two:
        assert try_lock(one)
        assert try_lock(one)  # again: it is ours
        assert not try_lock(two)
    with opened(tmp_path / "x", flags) as three:
        assert try_lock(three)
