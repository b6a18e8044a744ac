"""``docs/errors.md`` names every error of the tree, with its built-ins and whether to retry."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

from stockdb import errors

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


def rows() -> dict[str, tuple[set[str], str]]:
    """Read the table: error -> built-ins and the retryable column."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].startswith("`"):
            found[cells[0].strip("`")] = (set(re.findall(r"`(\w+)`", cells[1])), cells[2])
    return found


def test_every_error_has_its_row() -> None:
    assert set(rows()) == set(errors.__all__) - {"StockDBError"}


def test_built_ins_and_retryable_are_those_of_the_code() -> None:
    for name, (written, retryable) in rows().items():
        kind = getattr(errors, name)
        inherited = {
            base.__name__
            for base in kind.__mro__
            if getattr(builtins, base.__name__, None) is base
            and base not in {Exception, BaseException, object, LookupError}
        }
        # The most special ones: ConnectionError is an OSError anyway.
        special = {
            name
            for name in inherited
            if not any(
                other != name and issubclass(getattr(builtins, other), getattr(builtins, name))
                for other in inherited
            )
        }
        assert written == special, name
        assert retryable == ("yes" if kind.retryable else "no"), name
