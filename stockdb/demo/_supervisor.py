"""The small process between us and an embedded server, so that no server is orphaned.

Run as a script (``python -I -S _supervisor.py PLAN``), never imported by the package.
It owns the server's directory and the server itself, and outlives its parent just long
enough to clear both away: the parent holds the only write end of our standard input,
and however the parent ends, even by SIGKILL, the kernel closes that end.

Commands arrive as JSON lines on standard input, news leaves as JSON lines on standard
output; see `main`. Standard library only, since it has to be up within milliseconds.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

POSIX = os.name == "posix"
LOCK_NAME = "lock"
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
ABANDONED_SECONDS = 60.0  # younger directories may belong to a supervisor still starting

Event = list[Any] | None  # None: the parent is gone, or wants the end


def main() -> None:
    """Serve the plan in ``argv[1]`` until told to stop, or until standard input ends.

    Commands are ``["start", argv]``, ``["term"]``, ``["kill"]``, ``["stop"]``; news are
    ``["busy"]`` (another server uses the directory), ``["ready"]``, ``["pid", n]``,
    ``["exit", code]`` and ``["failed", text]``.
    """
    plan = json.loads(sys.argv[1])
    directory, grace = plan["directory"], plan["grace"]
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    _set_signals(events)
    threading.Thread(target=_listen, args=(events,), daemon=True).start()
    os.umask(0o077)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    lock = open(os.path.join(directory, LOCK_NAME), "wb")  # held for life
    if not _lock(lock, events):
        return
    server: subprocess.Popen[bytes] | None = None
    try:
        _say("ready")
        while (event := _next(events, plan["parent"])) is not None:
            if event[0] == "start":
                server = _spawn(event[1], plan, lock, events)
            elif event[0] == "exit":
                _say("exit", event[1])
            elif server is not None and event[0] == "kill":
                server.kill()
            elif server is not None and event[0] == "term":
                _end(server, grace)
    finally:
        if server is not None:
            _end(server, grace)
        lock.close()
        if plan["temporary"]:
            _remove(directory)
            _sweep(os.path.dirname(directory), plan["prefix"])


def _set_signals(events: queue.SimpleQueue[Event]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, lambda *_: events.put(None))


def _listen(events: queue.SimpleQueue[Event]) -> None:
    # Unbuffered: a daemon thread that waits inside a buffered reader holds its lock,
    # and the interpreter aborts when it finds that lock taken while it shuts down.
    with open(0, "rb", buffering=0, closefd=False) as commands:
        for line in commands:
            event = json.loads(line)
            events.put(None if event == ["stop"] else event)
    events.put(None)


def _say(*words: object) -> None:
    try:
        os.write(1, json.dumps(words).encode() + b"\n")
    except OSError:
        pass  # nobody listens any more; the end of standard input says so too


def _next(events: queue.SimpleQueue[Event], parent: int) -> Event:
    while True:
        try:
            return events.get(timeout=1.0)
        except queue.Empty:
            # A forked child of the parent keeps a copy of the pipe's write end, so its
            # end does not show while that child lives; a new parent of ours does.
            if POSIX and os.getppid() != parent:
                return None


def _lock(lock: BinaryIO, events: queue.SimpleQueue[Event]) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not told:
                _say("busy")
                told = True
        try:
            events.get(timeout=0.02)
        except queue.Empty:
            continue
        return False  # before "ready" nothing but the end can arrive


def _spawn(
    argv: list[str], plan: dict[str, Any], lock: BinaryIO, events: queue.SimpleQueue[Event]
) -> subprocess.Popen[bytes] | None:
    # The server inherits the lock: were we killed, the directory stays taken until the
    # server is really gone, and no second one starts on the same files.
    try:
        with open(plan["log"], "ab") as log:
            server = subprocess.Popen(
                argv,
                cwd=plan["directory"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_death_bond(),
                pass_fds=(lock.fileno(),) if POSIX else (),
            )
    except OSError as error:
        _say("failed", str(error))
        return None
    _say("pid", server.pid)
    threading.Thread(target=lambda: events.put(["exit", server.wait()]), daemon=True).start()
    return server


def _death_bond() -> Callable[[], None] | None:
    # The kernel kills the server when the thread that forked it ends. That is right
    # here, where the main thread forks, and would be wrong in the parent, where it may
    # be any worker thread; this is why the supervisor exists.
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes
    except ImportError:  # a Python built without libffi
        return None
    prctl = ctypes.CDLL(None).prctl
    supervisor = os.getpid()

    def bond() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it died before the bond was made
            os._exit(1)

    return bond


def _end(server: subprocess.Popen[bytes], grace: float) -> None:
    server.terminate()
    try:
        server.wait(timeout=grace)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _remove(directory: str) -> None:
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


def _sweep(parent: str, prefix: str) -> None:
    """Remove our temporary directories whose supervisor and parent both were killed."""
    if sys.platform == "win32":
        return
    import fcntl

    for entry in os.scandir(parent):
        if not entry.name.startswith(prefix):
            continue
        try:
            about = entry.stat(follow_symlinks=False)
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < ABANDONED_SECONDS:
                continue
            with open(os.path.join(entry.path, LOCK_NAME), "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(entry.path)
        except OSError:
            continue  # in use, or not one of ours


if __name__ == "__main__":
    main()
