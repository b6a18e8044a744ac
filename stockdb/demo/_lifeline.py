"""Our end of the pipe to ``_supervisor.py``.

A thread reads the supervisor's news into the attributes of `Lifeline`; everybody else
sends commands and waits, with a deadline, for an attribute to change.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from stockdb.errors import UnavailableError

__all__ = ["TEMPORARY_PREFIX", "Lifeline"]

TEMPORARY_PREFIX = "stockdb-server-"
GRACE_SECONDS = 2.0  # from SIGTERM to SIGKILL; the gateway needs some 10 ms
ANSWER_SECONDS = GRACE_SECONDS + 2.0  # then the supervisor itself hangs and is replaced
REPORT_LINES = 8
NEW_GROUP_NO_WINDOW = 0x08000200 if os.name == "nt" else 0


class Lifeline:
    """A supervisor process; it ends its server and itself when the line is cut.

    Parameters
    ----------
    directory : Path
        Where the server runs; made when missing, locked against a second server.
    log : Path
        Where programs write, inside `directory`.
    environment : dict of str
        The whole environment of supervisor and server.
    temporary : bool
        Whether `directory` goes when the supervisor ends.

    Attributes
    ----------
    alive, ready, busy : bool
        The supervisor runs; it has the directory; another server has it.
    pid, code : int or None
        Of the program: its process id while it runs, its exit code when it has ended.
    complaint : str
        What the supervisor said besides, such as why a program cannot be executed.
    """

    def __init__(
        self, directory: Path, log: Path, environment: dict[str, str], temporary: bool
    ) -> None:
        self.owner = os.getpid()
        self.alive, self.ready, self.busy = True, False, False
        self.pid: int | None = None
        self.code: int | None = None
        self.complaint = ""
        self._directory, self._log, self._temporary = directory, log, temporary
        self._log_start = 0
        self._changed = threading.Condition()
        plan = {"directory": str(directory), "log": str(log), "temporary": temporary}
        limits = {"prefix": TEMPORARY_PREFIX, "grace": GRACE_SECONDS, "parent": self.owner}
        script = Path(__file__).with_name("_supervisor.py")
        self._process = subprocess.Popen(
            # Isolated and without site-packages: it starts in some 50 ms.
            [sys.executable, "-I", "-S", str(script), json.dumps(plan | limits)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
            creationflags=NEW_GROUP_NO_WINDOW,
        )
        threading.Thread(target=self._read, name="stockdb-server-news", daemon=True).start()

    def check_owner(self) -> None:
        """Raise UnavailableError in a forked child, whose parent owns the server."""
        if self.owner != os.getpid():
            raise UnavailableError(
                f"This embedded server belongs to process {self.owner}.",
                remedy="Start one of this process's own: EmbeddedServer().start().",
            )

    def wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait until the condition on the attributes holds; False at the deadline."""
        with self._changed:
            return self._changed.wait_for(condition, max(0.0, deadline - time.monotonic()))

    def launch(self, argv: list[str], deadline: float) -> bool:
        """Run a program, one at a time; False when it cannot be executed."""
        self.check_owner()
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self.code, self.complaint = None, ""
        self._send("start", argv)
        self.wait(lambda: self.pid is not None or self.code is not None, deadline)
        return not self.complaint

    def end(self, how: str) -> None:
        """End the program by ``"term"`` (SIGTERM, then SIGKILL) or ``"kill"`` (SIGKILL)."""
        self.check_owner()
        if self.pid is not None:
            self._send(how)
            if not self.wait(lambda: self.pid is None, time.monotonic() + ANSWER_SECONDS):
                self._abandon()

    def close(self, *, keep_files: bool = False) -> None:
        """Cut the line and wait until all has ended; nothing happens in a forked child."""
        if self.owner != os.getpid():
            return
        # Said aloud: a forked child may hold a copy of the pipe, so closing is not enough.
        self._send("stop")
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._abandon()
        if self._temporary and not keep_files:
            self._remove_files()

    def report(self) -> str:
        """Return the last lines that the program wrote to its log."""
        if not self._log.exists():
            return self.complaint
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-REPORT_LINES:])

    def _send(self, *words: object) -> None:
        # A supervisor that is gone shows by the end of its news.
        with contextlib.suppress(OSError):
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.write(json.dumps(words).encode() + b"\n")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as news:
            for line in news:
                with self._changed:
                    self._note(line.decode(errors="replace"))
                    self._changed.notify_all()
        with self._changed:
            self.alive = False
            self._program_ended(-signal.SIGTERM)
            self._changed.notify_all()

    def _note(self, line: str) -> None:
        match json.loads(line) if line.startswith('["') else []:
            case ["busy"]:
                self.busy = True
            case ["ready"]:
                self.ready = True
            case ["pid", int(pid)]:
                self.pid = pid
            case ["exit", int(code)]:
                self.pid, self.code = None, code
            case ["failed", str(complaint)]:
                self.complaint, self.code = complaint, 1
            case _:  # the last line of a traceback says what went wrong
                self.complaint = line.strip()

    def _program_ended(self, code: int) -> None:
        # The supervisor takes its program along. Killed, it cannot; on Linux the kernel
        # then does it, elsewhere it falls to us.
        if self.pid is not None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGTERM)
        self.pid = None
        self.code = code if self.code is None else self.code

    def _abandon(self) -> None:
        self._process.kill()
        self._process.wait()
        self.wait(lambda: not self.alive, time.monotonic() + ANSWER_SECONDS)

    def _remove_files(self) -> None:
        # The supervisor did it, unless it was killed; its server may be writing still.
        for _ in range(50):
            if not self._directory.exists():
                return
            shutil.rmtree(self._directory, ignore_errors=True)
            time.sleep(0.02)
