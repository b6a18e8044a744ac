"""P9: what ``import minio_data_integration`` costs beside the libraries it stands on."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks.common import paired

PAIRS = 20
BAR = 1.2


def _import(what: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {what}"], check=True)


def run() -> dict[str, Any]:
    """Fresh interpreters, in turn."""
    _import("minio_data_integration")
    _import("pandas, pyarrow, minio")
    own, other, ratio = paired(
        lambda _: _import("minio_data_integration"),
        lambda _: _import("pandas, pyarrow, minio"),
        PAIRS,
    )
    return {
        "ours": own,
        "peer": other,
        "ratio": own / other,
        "median_of_ratios": ratio,
        "bar": BAR,
        "ok": own / other <= BAR,
        "bytes": 0,
        "unit": "s",
        "peer_is": "import pandas, pyarrow, minio",
    }
