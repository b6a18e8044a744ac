"""ArcticDB in its own interpreter (it wants pandas < 3): one command a line, seconds back.

Run by ``benchmarks.peers``; nothing of this library is imported here.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import arcticdb
import numpy as np
import pandas as pd


def frame(seed: int, rows: int) -> pd.DataFrame:
    """Make bars of the same shape as the files that the other side reads."""
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.015, rows))), 4)
    index = pd.bdate_range("2010-01-04", periods=rows, name="date")
    volume = random.integers(1_000_000, 90_000_000, rows).astype(float)
    columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    return pd.DataFrame({**columns, "volume": volume}, index=index)


def main() -> None:
    """Serve commands until standard input ends."""
    library: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        begin = time.perf_counter()
        rows = 0
        if command["do"] == "open":
            library = arcticdb.Arctic(command["uri"]).get_library("bars", create_if_missing=True)
            for number in range(command["symbols"]):
                library.write(f"S{number:03d}", frame(number, command["rows"]))
        elif command["do"] == "month":
            span = (pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-31"))
            rows = len(library.read(command["symbol"], date_range=span).data)
        elif command["do"] == "batch":
            results = library.read_batch([f"S{n:03d}" for n in range(command["symbols"])])
            rows = sum(len(result.data) for result in results)
        spent = time.perf_counter() - begin
        print(json.dumps({"seconds": spent, "rows": rows}), flush=True)


if __name__ == "__main__":
    main()
