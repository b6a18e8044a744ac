"""Peers that cannot share our environment, run in a second one beside us."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any


class Peer:
    """ArcticDB in the interpreter that ``BENCH_PEERS_PYTHON`` names (``make bench-peers``)."""

    def __init__(self) -> None:
        python = os.environ.get("BENCH_PEERS_PYTHON", "")
        if not python or not Path(python).exists():
            raise FileNotFoundError("no peers: run `make bench-peers`, then `make bench`")
        script = Path(__file__).with_name("peer_arctic.py")
        self._process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Send one command; the answer has its seconds, measured over there, and its rows."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended with {self._process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def missing(error: FileNotFoundError, bar: float) -> dict[str, Any]:
    """Say that a benchmark could not be measured; that is no pass."""
    return {"ours": None, "peer": None, "ratio": None, "bar": bar, "ok": None, "why": str(error)}
