"""Pairs: hedge ratios, cointegration and spread of every ordered pair."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from stockdb.access import Access, load
from stockdb.access.load import Loaded
from stockdb.algorithms.base import Algorithm, Param, Values
from stockdb.algorithms.engine import finish
from stockdb.errors import ConfigurationError, DataError
from stockdb.processing.nans import count_nans
from stockdb.processing.pairs import PAIRS, WARMUP, pair_block
from stockdb.processing.spec import Column
from stockdb.types import DateLike, parse_symbol

__all__ = ["PAIRS_TRADING"]

#: Pairs computed at a time, which bounds memory.
_AT_ONCE = 128

_TESTED = Column(
    name="n_pairs_tested",
    definition="ordered pairs in the call, both orders of a pair counted: of so many tests 5 % "
    "fall below a coint_p of .05 by chance",
    unit="count",
    window=1,
    source="multiple testing",
    inputs=("n_pairs_tested",),
    compute=lambda s: s.input("n_pairs_tested").copy(),
)
Pair = tuple[str, str]


def _frame(
    access: Access,
    algorithm: Algorithm,
    names: list[str],
    sessions: int,
    end: DateLike | None,
    values: Values,
) -> tuple[pd.DataFrame, Loaded]:
    """Compute one row a pair and session that both legs have."""
    if len(names) < 2:
        raise ConfigurationError(
            "pairs_trading needs two symbols or more.", remedy="Give ['KO', 'PEP'], for example."
        )
    wanted = values["pairs"] or tuple(itertools.permutations(names, 2))
    unknown = {leg for pair in wanted for leg in pair} - set(names)
    if unknown:
        raise ConfigurationError(
            f"pairs names {', '.join(sorted(unknown))}, which symbols does not.",
            remedy="Name every leg in symbols.",
        )
    loaded = load.bars(access, names, end, "daily", values)
    closes = {symbol: frame["close"] for symbol, frame in loaded.frames.items()}
    pairs = [pair for pair in wanted if pair[0] in closes and pair[1] in closes]
    if not pairs:
        raise DataError(
            "No pair has both legs.",
            remedy="; ".join(f"{s}: {error.message}" for s, error in loaded.errors.items()),
        )
    parts = {pair: _legs(closes[pair[0]], closes[pair[1]], sessions + WARMUP) for pair in pairs}
    loaded.notes["n_pairs_tested"] = len(pairs)
    whole = pd.concat(parts, names=["y", "x", "date"]).assign(n_pairs_tested=float(len(pairs)))
    computed = _computed(parts, len(pairs)).set_axis(whole.index, axis=0)
    keep = np.concatenate([np.arange(len(p)) >= len(p) - sessions for p in parts.values()])
    columns = algorithm.computed(values)
    nans = count_nans(_two_levels(whole), computed, keep, columns)
    frame = pd.concat(
        [whole[["close", "x"]].set_axis(["close_y", "close_x"], axis=1), computed], axis=1
    )[keep]
    finish(access, algorithm, frame, loaded, sessions, values, nans)
    return frame, loaded


def _legs(y: pd.Series, x: pd.Series, rows: int) -> pd.DataFrame:
    """Join the closes on the sessions that both have; a price that is none is NaN."""
    both = pd.concat({"close": y, "x": x}, axis=1, join="inner").iloc[-rows:]
    return both.where(both > 0.0)


def _computed(parts: dict[Pair, pd.DataFrame], tested: int) -> pd.DataFrame:
    """Compute pairs that share their dates together."""
    groups: dict[bytes, list[Pair]] = {}
    for pair, part in parts.items():
        groups.setdefault(pd.DatetimeIndex(part.index).asi8.tobytes(), []).append(pair)
    done: dict[Pair, dict[str, Any]] = {}
    for members in groups.values():
        date = pd.DatetimeIndex(parts[members[0]].index).to_numpy()
        for first in range(0, len(members), _AT_ONCE):
            some = members[first : first + _AT_ONCE]
            y, x = (
                np.log(np.column_stack([parts[pair][leg].to_numpy() for pair in some]))
                for leg in ("close", "x")
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                block = pair_block(y, x, date)
            for place, pair in enumerate(some):
                done[pair] = {name: values[:, place] for name, values in block.items()}
    columns = {
        column.name: np.concatenate([done[pair][column.name] for pair in parts]) for column in PAIRS
    }
    return pd.DataFrame(columns).assign(n_pairs_tested=float(tested))


def _two_levels(frame: pd.DataFrame) -> pd.DataFrame:
    pair = frame.groupby(level=["y", "x"], sort=False).ngroup().to_numpy()
    index = pd.MultiIndex.from_arrays([pair, frame.index.get_level_values("date")])
    return frame.set_axis(index, axis=0)


def _pairs(value: Any) -> tuple[Pair, ...] | None:
    if value is None:
        return None
    chosen = tuple((parse_symbol(y), parse_symbol(x)) for y, x in value)
    if not chosen or any(y == x for y, x in chosen):
        raise ValueError("give [(y, x), ...] of different symbols.")
    return tuple(dict.fromkeys(chosen))


PAIRS_TRADING = Algorithm(
    name="pairs_trading",
    summary="Hedge ratios, Engle-Granger test, spread and its z-score for each ordered pair.",
    columns=lambda values: (*PAIRS, _TESTED),
    params=(
        Param("pairs", None, "[(y, x), ...] of the symbols; None takes every ordered pair", _pairs),
    ),
    basic=False,
    index=("y", "x", "date"),
    notes=(
        "of n_pairs_tested tests 5 % fall below .05 by chance",
        "half_life is finite on most random walks too: read it with coint_p",
    ),
    make=_frame,
)
