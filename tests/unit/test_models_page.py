"""``docs/features-and-models.md`` says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from stockdb.models import MODEL_TYPES, audit
from stockdb.models.sets import sets
from tests.unit.processing.bars import bars

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "features-and-models.md").read_text()
WORDS = {"robust": "robust", "z-score": "zscore", "none": "none"}
MISSING = {"window dropped": "drop", "kept": "keep", "mask": "mask"}


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_model_type_with_its_scaling_and_its_nan() -> None:
    told = {name: row for row in rows() if len(row) == 4 for name in re.findall(r"`(\w+)`", row[0])}
    assert set(told) == set(MODEL_TYPES)
    for name, kind in MODEL_TYPES.items():
        assert WORDS[told[name][3]] == kind.scaling
        if told[name][2] in MISSING:
            assert MISSING[told[name][2]] == kind.missing


def test_every_set_with_the_number_of_its_columns() -> None:
    told = {row[0].strip("`"): int(row[1]) for row in rows() if len(row) == 3}
    assert told == {label: len(held.names) for label, held in sets().items()}


def test_the_audit_prints_what_the_page_shows() -> None:
    def centred(frame):  # type: ignore[no-untyped-def]
        return frame["close"] / frame["close"].rolling(53, center=True).mean()

    assert str(audit(centred, bars(420), cuts=500)) in PAGE
