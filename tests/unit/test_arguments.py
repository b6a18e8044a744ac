"""What a caller gives, read or refused; words of refusals are part of the product."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stockdb.arguments import (
    parse_array,
    parse_bounds,
    parse_by_symbol,
    parse_choice,
    parse_number,
    parse_numbers,
    parse_option_type,
    parse_optional,
    parse_whole,
)
from stockdb.errors import ConfigurationError, DataError


@pytest.mark.parametrize("value", [1, 1.5, np.float32(2.5), np.int64(3), Decimal("0.25")])
def test_every_real_number_is_one(value: Any) -> None:
    assert parse_number("x", value) == float(value)
    assert isinstance(parse_number("x", value), float)


@pytest.mark.parametrize(
    "value",
    ["1", None, True, np.True_, math.nan, math.inf, Decimal("NaN"), 1j, [1], pd.NA, pd.NaT,
     np.array(1.0), pd.Series([1.0])],
)  # fmt: skip
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="x=.* is not a finite number"):
        parse_number("x", value)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "words"),
    [
        ({"least": 0.0}, (0, 1e9), (-1e-9,), "of 0 or more"),
        ({"above": 0.0}, (1e-9,), (0, -1), "above 0"),
        ({"above": 0.0, "most": 1.0}, (1e-9, 1), (0, 1.1), "above 0, 1 at most"),
        ({"least": -0.5, "most": 1.0}, (-0.5, 1), (-0.6, 1.1), "from -0.5 to 1"),
    ],
)
def test_limits(
    allowed: dict[str, float], inside: tuple[float, ...], outside: tuple[float, ...], words: str
) -> None:
    for value in inside:
        assert parse_number("x", value, **allowed) == value
    for value in outside:
        with pytest.raises(ConfigurationError, match=words):
            parse_number("x", value, **allowed)


def test_ranges() -> None:
    assert parse_bounds("x", None) == (None, None)
    assert parse_bounds("x", [1, None]) == (1.0, None)
    assert parse_bounds("x", (-math.inf, math.inf)) == (None, None)
    assert parse_bounds("x", np.array([1, 1])) == (1.0, 1.0)
    for wrong in ((math.inf, None), (None, -math.inf), (2, 1), (math.nan, 1), "ab", {1, 2}, (1,)):
        with pytest.raises(ConfigurationError, match="x="):
            parse_bounds("x", wrong)


def test_lists_of_numbers() -> None:
    assert parse_numbers("x", pd.Series([1, 2, 1])) == (1.0, 2.0)
    assert parse_numbers("x", range(2)) == (0.0, 1.0)
    for wrong in ([], "12", {1: 2}, None, [1, None]):
        with pytest.raises(ConfigurationError, match="x"):
            parse_numbers("x", wrong)


def test_whole_numbers() -> None:
    assert parse_whole("x", 3.0) == 3 and isinstance(parse_whole("x", np.int8(3)), int)
    for wrong in (2.5, -1, "2", 10**12):
        with pytest.raises(ConfigurationError, match="whole number from 0"):
            parse_whole("x", wrong)
    assert parse_optional("x", None) is None


def test_words() -> None:
    assert [parse_option_type(word) for word in ("c", "Calls", " CALL ")] == ["call"] * 3
    assert [parse_option_type(word) for word in ("P", "puts")] == ["put"] * 2
    for wrong in ("cs!", "", None, 1, ["call"]):
        with pytest.raises(ConfigurationError, match="Use 'call' or 'put'"):
            parse_option_type(wrong)
    with pytest.raises(ConfigurationError, match="Unknown x 'c'. Use one of 'a', 'b'"):
        parse_choice("x", "c", ("a", "b"))


def test_arrays() -> None:
    assert parse_array("x", [[1, 2]]).shape == (1, 2)
    assert np.isnan(parse_array("x", math.nan))
    for wrong in ("1", [True], pd.Timestamp("2024-01-01"), [1, "2"], [[1], [1, 2]], None):
        with pytest.raises(ConfigurationError, match="x="):
            parse_array("x", wrong)


def test_mappings_by_symbol() -> None:
    assert parse_by_symbol("x", pd.Series({"brk.b": 1})) == {"BRK.B": 1}
    with pytest.raises(ConfigurationError, match="x="):
        parse_by_symbol("x", [("AAPL", 1)])
    with pytest.raises(DataError, match="symbol"):
        parse_by_symbol("x", {5: 1})
