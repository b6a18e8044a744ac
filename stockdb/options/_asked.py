"""What the searches for strategies ask of legs, checked once for all of them."""

from __future__ import annotations

from typing import Any

from stockdb.arguments import parse_optional

__all__ = ["settle"]


def settle(rules: Any, **values: Any) -> None:
    """Put parsed values, and those that all rules share, into frozen rules.

    Raises
    ------
    ConfigurationError
        A width or an open interest that cannot be one.
    """
    values["max_spread_pct"] = parse_optional("max_spread_pct", rules.max_spread_pct, least=0.0)
    interest = parse_optional("min_open_interest", rules.min_open_interest, least=0.0)
    values["min_open_interest"] = interest or 0.0
    for name, value in values.items():
        object.__setattr__(rules, name, value)
