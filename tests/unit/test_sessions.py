"""Sessions against dates that the exchanges themselves published.

NYSE closings: September 11 to 14, 2001 (attacks), October 29 and 30, 2012 (Sandy), January 9,
2025 (mourning for Jimmy Carter), and the holidays of 2024. LSE: the early May holiday of 2024.
"""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from stockdb import sessions
from stockdb.errors import ConfigurationError


def days(name: str, start: str, end: str) -> list[str]:
    found = sessions.sessions(name, pd.Timestamp(start), pd.Timestamp(end))
    return [str(day.date()) for day in found]


def open_on(name: str, start: str, end: str | None = None) -> bool:
    return sessions.has_session(name, pd.Timestamp(start), pd.Timestamp(end or start))


def test_january_2024() -> None:
    found = days("XNYS", "2024-01-01", "2024-01-31")
    assert len(found) == 21
    assert found[0] == "2024-01-02" and found[-1] == "2024-01-31"
    assert "2024-01-15" not in found


def test_type() -> None:
    found = sessions.sessions("XNYS", pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-05"))
    assert str(found.dtype) == "datetime64[ns]" and len(found) == 4


def test_both_ends_belong() -> None:
    assert days("XNYS", "2024-01-05", "2024-01-08") == ["2024-01-05", "2024-01-08"]
    assert days("XNYS", "2024-01-08", "2024-01-05") == []


@pytest.mark.parametrize(
    "day",
    ["2024-01-01", "2024-01-15", "2024-02-19", "2024-03-29", "2024-05-27", "2024-06-19",
     "2024-07-04", "2024-09-02", "2024-11-28", "2024-12-25", "2001-09-11", "2001-09-14",
     "2012-10-29", "2012-10-30", "2025-01-09", "2024-01-06", "2024-01-07"],
)  # fmt: skip
def test_closed_in_new_york(day: str) -> None:
    assert not open_on("XNYS", day)


@pytest.mark.parametrize("day", ["2024-07-03", "2024-11-29", "2001-09-17", "1995-01-03"])
def test_open_in_new_york(day: str) -> None:
    assert open_on("XNYS", day)
    assert open_on("NYSE", day)  # a name that people use


def test_other_exchanges() -> None:
    assert not open_on("XLON", "2024-05-06") and open_on("XNYS", "2024-05-06")
    assert open_on("24/7", "2024-01-06")  # a Saturday


def test_a_weekend_needs_no_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr(sessions, "calendar", refuse)
    assert not open_on("XNYS", "2024-01-06", "2024-01-07")
    assert not open_on("XNYS", "2024-01-08", "2024-01-07")
    with pytest.raises(AssertionError):
        open_on("XNYS", "2024-01-08")


def test_an_unknown_exchange() -> None:
    with pytest.raises(ConfigurationError, match="'WALLST'") as caught:
        open_on("WALLST", "2024-01-08")
    assert "XNYS" in caught.value.remedy


@pytest.mark.parametrize("name", ["XLON", "XTKS", "XETR", "XBOM", "CMES"])
def test_calendars_of_many_exchanges_load(name: str) -> None:
    assert days(name, "2024-01-08", "2024-01-12")


def test_importing_it_loads_no_calendar() -> None:
    code = "import sys, stockdb.sessions; print('exchange_calendars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
