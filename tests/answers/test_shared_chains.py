"""Every real option chain beside the project equals its file, read here by the csv module.

Source of every expected value: the files of ``options-complete`` themselves (see their
MANIFEST), unpacked and put on a real S3 server under the bucket's own names.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from minio_data_integration import MinIODataIntegration
from stockdb.core import planner, search
from stockdb.errors import SymbolNotFoundError

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]

#: Column of the file -> ours.
NUMBERS = {
    "strike": "strike", "bid": "bid", "bid_size": "bid_size", "ask": "ask", "ask_size": "ask_size",
    "volume": "volume", "open_interest": "open_interest", "delta": "vendor_delta",
    "gamma": "vendor_gamma", "theta": "vendor_theta", "vega": "vendor_vega",
    "implied_volatility": "vendor_implied_volatility",
}  # fmt: skip
TEXTS = ("contract", "type", "style")
DATES = ("expiration", "quote_date")
Rows = list[dict[str, str]]


@dataclass
class Bucket:
    """The real files on a server, and what the csv module finds in them."""

    name: str
    files: dict[str, bytes]
    chains: dict[tuple[str, str], Rows]
    """(symbol, day) -> rows."""

    @property
    def symbols(self) -> list[str]:
        return sorted({symbol for symbol, _ in self.chains})


@pytest.fixture(scope="module")
def bucket(shared_data: Path, make_bucket: Callable[..., str]) -> Bucket:
    files, chains = {}, defaultdict(list)
    for path in sorted((shared_data / "options-complete").glob("*options.csv.gz")):
        data = gzip.decompress(path.read_bytes())
        day = path.name[:10]
        files[day] = data
        for row in csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True):
            chains[row["underlying"], day].append(row)
    objects = {f"options-complete/{day}options.csv": data for day, data in files.items()}
    return Bucket(make_bucket(objects), files, dict(chains))


def assert_chain(frame: pd.DataFrame, rows: Rows, symbol: str, day: str) -> None:
    """Compare every column of every row, in the file's order."""
    assert len(frame) == len(rows)
    assert set(frame["symbol"]) == {symbol}
    for name in TEXTS:
        assert frame[name].tolist() == [row[name] for row in rows], name
    for name in DATES:
        assert frame[name].dt.strftime("%Y-%m-%d").tolist() == [row[name] for row in rows], name
    for theirs, ours in NUMBERS.items():
        expected = np.array([float(row[theirs] or "nan") for row in rows])
        np.testing.assert_array_equal(frame[ours].to_numpy(), expected, err_msg=ours)
    quoted = dt.date.fromisoformat(day)
    days = [(dt.date.fromisoformat(row["expiration"]) - quoted).days for row in rows]
    assert frame["dte"].tolist() == days
    bid, ask = (np.array([float(row[side] or "nan") for row in rows]) for side in ("bid", "ask"))
    np.testing.assert_allclose(frame["mid"], (bid + ask) / 2, rtol=1e-12)
    np.testing.assert_allclose(frame["spread"], ask - bid, atol=1e-12)


def test_what_the_manifest_says_is_here(bucket: Bucket) -> None:
    """By its own words: 94 sessions of AAPL in 2022-23 with 189,934 rows, 61 days of SPX."""
    aapl = [rows for (s, day), rows in bucket.chains.items()
            if s == "AAPL" and "2022-09-01" <= day <= "2023-01-31"]  # fmt: skip
    assert (len(aapl), sum(map(len, aapl))) == (94, 189_934)
    assert sum(symbol == "SPX" for symbol, _ in bucket.chains) == 61
    summer = [rows for (_, day), rows in bucket.chains.items() if day >= "2026-01-01"]
    assert sum(map(len, summer)) == 66_791


@pytest.mark.timeout(300)
def test_every_chain_equals_its_file(
    bucket: Bucket, module_clients: Callable[..., MinIODataIntegration]
) -> None:
    client = module_clients(bucket.name)
    assert [str(day)[:10] for day in client.list_option_dates()] == sorted(bucket.files)
    seen = set()
    for symbol in bucket.symbols:
        frame = client.get_options_data(symbol)
        note = frame.attrs["stockdb"]
        days = [day for name, day in bucket.chains if name == symbol]
        assert (note["days"], note["failed_days"]) == (len(days), 0)
        assert note["absent_days"] == len(bucket.files) - len(days)
        assert note["grouping"] == "proved"
        for date, part in frame.groupby("quote_date"):
            day = f"{date:%Y-%m-%d}"
            assert_chain(part, bucket.chains[symbol, day], symbol, day)
            seen.add((symbol, day))
    assert seen == set(bucket.chains)


@pytest.mark.timeout(300)
def test_searched_all_the_same_they_are_right_or_marked_and_never_absent(
    bucket: Bucket,
    module_clients: Callable[..., MinIODataIntegration],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files that are too small to be searched, half of them out of order, searched."""
    monkeypatch.setattr(planner, "SMALL", 0)
    monkeypatch.setattr(search, "SLACK", 4096)
    many = [day for day in bucket.files if sum(d == day for _, d in bucket.chains) > 1]
    few = [day for day in bucket.files if day not in many][::12]
    outcomes: Counter[str] = Counter()
    for symbol, day in sorted(bucket.chains):
        if day not in many and day not in few:
            continue
        client = module_clients(bucket.name)  # one that knows nothing
        frame = client.get_option_chain(symbol, day)
        (origin,) = client.provenance(frame).origins
        expected = [row["contract"] for row in bucket.chains[symbol, day]]
        if origin.grouping == "assumed" and frame["contract"].tolist() != expected:
            outcomes["wrong, assumed"] += 1
        else:
            assert_chain(frame, bucket.chains[symbol, day], symbol, day)
            outcomes[f"right, {origin.grouping}, by {origin.strategy}"] += 1
        proved = client.get_option_chain(symbol, day, verify=True)
        assert_chain(proved, bucket.chains[symbol, day], symbol, day)
        with pytest.raises(SymbolNotFoundError):
            client.get_option_chain("AAQ", day)
    with capsys.disabled():
        print("\n ", ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items())))
    assert outcomes["wrong, assumed"] == 0  # these files are grouped
    assert outcomes.total() > 40
