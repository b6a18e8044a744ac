"""``docs/validation.md`` names every rule with its severity, every setting and kind of gap."""

from __future__ import annotations

import re
from pathlib import Path

from stockdb.core.held import EXPLANATIONS
from stockdb.core.rules import FRAME_RULES, RULES
from stockdb.settings.sections import Validation

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "validation.md").read_text()
SEVERITIES = {"error", "warning", "info"}


def rows() -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("| `")
    ]


def test_every_rule_stands_there_with_its_severity() -> None:
    told = {
        name: cells[1]
        for cells in rows()
        if cells[1] in SEVERITIES
        for name in re.findall(r"`(\w+)`", cells[0])
    }
    assert set(told) == {*(rule.name for rule in RULES), *FRAME_RULES}
    for rule in RULES:
        assert told[rule.name] == rule.severity, rule.name


def test_thresholds_are_the_settings_defaults() -> None:
    defaults = Validation()
    told = re.findall(r"`(\w+)` \(([\d.]+)\)", PAGE)
    assert len(told) >= 5
    for name, value in told:
        assert float(value) == getattr(defaults, name), name


def test_every_kind_of_gap_is_explained() -> None:
    kinds = {cells[0].strip("`") for cells in rows() if cells[1] not in SEVERITIES}
    assert kinds == set(EXPLANATIONS)
