"""All algorithms, by name."""

from __future__ import annotations

import difflib
from typing import Final

from stockdb.algorithms.base import Algorithm
from stockdb.algorithms.leaps_arbitrage import LEAPS_ARBITRAGE
from stockdb.algorithms.mean_reversion import MEAN_REVERSION
from stockdb.algorithms.ml_predictions import ML_PREDICTIONS
from stockdb.algorithms.momentum_tracker import MOMENTUM_TRACKER
from stockdb.algorithms.options_flow import OPTIONS_FLOW
from stockdb.algorithms.pairs_trading import PAIRS_TRADING
from stockdb.algorithms.volume_analysis import VOLUME_ANALYSIS
from stockdb.errors import ConfigurationError

__all__ = ["ALGORITHMS", "find"]

ALGORITHMS: Final[dict[str, Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (
        MOMENTUM_TRACKER,
        MEAN_REVERSION,
        PAIRS_TRADING,
        ML_PREDICTIONS,
        LEAPS_ARBITRAGE,
        OPTIONS_FLOW,
        VOLUME_ANALYSIS,
    )
}


def find(name: object) -> Algorithm:
    """Look an algorithm up; ``Momentum Tracker`` finds ``momentum_tracker``.

    Raises
    ------
    ConfigurationError
        There is none of that name; says which ones are spelt alike.
    """
    key = str(name).strip().lower().replace(" ", "_").replace("-", "_")
    if key in ALGORITHMS:
        return ALGORITHMS[key]
    near = difflib.get_close_matches(key, ALGORITHMS, 2)
    ask = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ConfigurationError(
        f"There is no algorithm {name!r}.",
        remedy=f"{ask}There are: {', '.join(ALGORITHMS)}.",
        algorithm=str(name),
    )
