"""Algorithms are found in their folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import stockdb.algorithms
from stockdb.algorithms.registry import ALGORITHMS, discover
from stockdb.errors import ConfigurationError

EIGHTH = """
from stockdb.algorithms.base import Algorithm
from stockdb.processing.indicators import CATALOGUE

EIGHTH = Algorithm(
    name="{name}", summary="Buys what fell.", columns=lambda values: (CATALOGUE["rsi_2"],)
)
"""


def test_the_seven_come_in_the_order_of_the_readme() -> None:
    assert list(ALGORITHMS) == [
        "momentum_tracker", "mean_reversion", "pairs_trading", "ml_predictions",
        "leaps_arbitrage", "options_flow", "volume_analysis",
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = [*stockdb.algorithms.__path__, str(tmp_path)]
    monkeypatch.setattr(stockdb.algorithms, "__path__", path)
    return tmp_path


def test_an_eighth_is_one_file(folder: Path) -> None:
    (folder / "an_eighth.py").write_text(EIGHTH.format(name="buy_the_dip"))
    found = discover()
    assert list(found)[-1] == "buy_the_dip" and len(found) == 8
    assert found["buy_the_dip"].describe()["columns"][-1]["name"] == "rsi_2"


def test_two_of_one_name_are_refused(folder: Path) -> None:
    (folder / "a_second.py").write_text(EIGHTH.format(name="mean_reversion"))
    with pytest.raises(ConfigurationError, match="Two modules"):
        discover()
