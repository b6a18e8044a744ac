"""Intraday stamps without an offset in the nights in which the clocks change."""

from __future__ import annotations

import pytest

from stockdb import errors
from stockdb.settings import Dataset
from tests.conftest import ClientFactory
from tests.contract.front_door_tools import Fill

#: 01:30 was shown twice on 3 November 2024 in New York: at 05:30 and 06:30 UTC.
FILE = b"""datetime,open,high,low,close,volume
2024-11-03 00:30:00,1,1,1,1,10
2024-11-03 01:30:00,2,2,2,2,10
2024-11-03 02:30:00,3,3,3,3,10
"""


def test_the_policy_of_the_dataset_decides(
    make_bucket: Fill, client_factory: ClientFactory
) -> None:
    bucket = make_bucket({"hours/XX.csv": FILE})
    expected = {"earlier": "05:30", "later": "06:30", "quarantine": None}

    def read(policy: str, folder: object = None) -> tuple[list[str], list[object]]:
        hours = Dataset(key="hours/{SYMBOL}.csv", interval="1h", dst_policy=policy)
        client = client_factory(bucket, datasets={"hours": hours}, cache_dir=folder)
        frame = client.get_historical_data("XX", "2024-11-03", "2024-11-03", "1h")
        (origin,) = client.provenance(frame).origins
        return [f"{at:%H:%M}" for at in frame.index.tz_convert("UTC")], origin.bad_rows

    with pytest.raises(errors.DataError, match="happened twice") as caught:
        read("raise")
    assert "dst_policy" in caught.value.remedy and caught.value.line == 3
    for policy, middle in expected.items():
        stamps, bad = read(policy)
        assert stamps == ["04:30", *([middle] if middle else []), "07:30"]
        assert [line for line, *_ in bad] == ([] if middle else [3])


def test_another_policy_is_not_served_what_the_first_one_kept(
    make_bucket: Fill, client_factory: ClientFactory, tmp_path: object
) -> None:
    bucket = make_bucket({"hours/XX.csv": FILE})
    found = []
    for policy in ("earlier", "later"):
        hours = Dataset(key="hours/{SYMBOL}.csv", interval="1h", dst_policy=policy)
        client = client_factory(bucket, datasets={"hours": hours}, cache_dir=tmp_path)
        frame = client.get_historical_data("XX", "2024-11-03", "2024-11-03", "1h")
        found.append(f"{frame.index[1].tz_convert('UTC'):%H:%M}")
    assert found == ["05:30", "06:30"]
