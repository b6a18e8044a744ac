"""What a caller gives as positions, or as symbols, read into one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from stockdb.access.chains import parse_contract
from stockdb.arguments import parse_number
from stockdb.errors import DataError
from stockdb.types import parse_symbol

__all__ = ["parse_positions"]

_SHARES: Final = 100.0  # of a contract
_COLUMNS: Final = ("symbol", "contract", "quantity", "bare")
_FORMS: Final = (
    "Give {'AAPL250117C00150000': 2, 'AAPL': -100}, pairs such as ('AAPL', -100), a frame with "
    "contract or symbol and quantity, or symbols."
)
_QUANTITY: Final = "Give contracts or shares as a number, negative where sold: {'AAPL': -100}."


def parse_positions(given: Any) -> pd.DataFrame:
    """Read positions, or symbols.

    Parameters
    ----------
    given : mapping, Series, DataFrame, or list
        Contract (OCC symbol) or symbol -> quantity (contracts or shares, negative where sold), as
        a mapping, a Series, or pairs; a frame or a list of dicts with ``contract`` (empty for
        stock) or ``symbol``, and ``quantity``; a list of contracts, one of each; a list of
        symbols. Candidates of the strategy searches, one or many (rows with ``legs``): one
        contract a leg and ratio, and 100 shares.

    Returns
    -------
    pandas.DataFrame
        symbol, contract (without ``O:``; empty for stock), quantity (of what was named more than
        once, the sum), bare (whether a symbol stands for an option that is still to be chosen;
        quantity counts how often it was named).

    Raises
    ------
    DataError
        Nothing of these, or an empty one.
    ConfigurationError
        A quantity that is no number.
    """
    frame = pd.DataFrame(list(_entries(given)), columns=list(_COLUMNS))
    if frame.empty:
        raise DataError("There are no positions.", remedy="Give contracts, or symbols.")
    by = ["symbol", "contract", "bare"]
    return frame.groupby(by, sort=False)["quantity"].sum().reset_index()[list(_COLUMNS)]


_Entry = tuple[str, str, float, bool]


def _entries(given: Any) -> Iterable[_Entry]:
    if isinstance(given, pd.DataFrame):
        given = given.reset_index().to_dict("records")
    elif isinstance(given, (Mapping, pd.Series)):
        given = [given] if _is_record(given) else _pairs(given)
    elif isinstance(given, str):
        given = [given]
    if not isinstance(given, Iterable):
        raise DataError(f"{type(given).__name__} holds no positions.", remedy=_FORMS)
    for item in given:
        if isinstance(item, (Mapping, pd.Series)):
            yield from _record(dict(item))
        elif isinstance(item, (tuple, list)):
            if len(item) != 2:
                raise DataError(f"{item!r} is no contract and quantity.", remedy=_FORMS)
            yield _held(*item)
        else:
            symbol, contract = _named(item)
            yield symbol, contract, 1.0, not contract


def _is_record(given: Mapping[Any, Any] | pd.Series) -> bool:
    """Tell one position, or one candidate, from a mapping of many."""
    names = set(given.keys())
    return "legs" in names or ("quantity" in names and bool(names & {"symbol", "contract"}))


def _pairs(given: Mapping[Any, Any] | pd.Series) -> Iterable[Any]:
    """Take a mapping apart; a Series of names that are only numbered is a list of them."""
    if isinstance(given, pd.Series) and is_integer_dtype(given.index):
        return given if not is_numeric_dtype(given) else given.items()
    return given.items()


def _record(item: Mapping[Any, Any]) -> Iterable[_Entry]:
    if "legs" in item:
        yield from _legs(item)
        return
    contract, symbol = item.get("contract"), item.get("symbol")
    bare = contract is None or contract != contract or contract == ""
    name = symbol if bare else contract
    if "quantity" not in item:
        raise DataError(f"{name} has no quantity.", remedy=_QUANTITY)
    of, contract, quantity, _ = _held(name, item["quantity"])
    if not bare and isinstance(symbol, str):
        of = parse_symbol(symbol)  # an index has roots of other names
    yield of, contract, quantity, False


def _legs(candidate: Mapping[Any, Any]) -> Iterable[_Entry]:
    """Take the legs of one candidate, once."""
    try:
        of, legs = parse_symbol(candidate["symbol"]), list(candidate["legs"])
        sides = [(leg["side"], leg["type"], leg["contract"], leg["ratio"]) for leg in legs]
    except (KeyError, TypeError):
        raise DataError(
            "A candidate has a symbol and legs with side, type, contract and ratio.",
            remedy="Give rows of a search as they are.",
        ) from None
    for side, kind, contract, ratio in sides:
        sign = 1.0 if side == "buy" else -1.0
        stock = kind == "stock"
        size = _SHARES if stock else 1.0
        yield of, "" if stock else _named(contract)[1], sign * _quantity(ratio, of) * size, False


def _held(name: Any, quantity: Any) -> _Entry:
    symbol, contract = _named(name)
    return symbol, contract, _quantity(quantity, name), False


def _named(name: Any) -> tuple[str, str]:
    """Tell a contract from a symbol."""
    if not isinstance(name, str):
        raise DataError(f"{name!r} is neither contract nor symbol.", remedy=_FORMS)
    text = name.strip().upper()
    if len(text) > 15 and text[-8:].isdigit():
        return parse_contract(text)
    return parse_symbol(name), ""


def _quantity(value: Any, name: Any) -> float:
    return parse_number(f"quantity of {name}", value, remedy=_QUANTITY)
