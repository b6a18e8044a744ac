"""A feature frame with everything that goes wrong, for tests of model inputs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockdb.processing.evaluate import evaluate
from stockdb.processing.indicators import indicators
from stockdb.processing.labels import forward_return, triple_barrier
from stockdb.sessions import sessions
from tests.unit.processing.bars import bars

START, END = pd.Timestamp("2018-01-02"), pd.Timestamp("2019-12-31")
FEATURES = ("ret_1", "rsi_14", "c_over_sma_20", "natr_14", "hole")
#: A session that BBB lacks, and one on which CCC has a feature that is undefined.
GONE, UNDEFINED = pd.Timestamp("2018-09-18"), pd.Timestamp("2018-11-06")
SEQ_LEN = 10


def closes() -> pd.DataFrame:
    """Bars of four symbols: AAA whole, BBB with a hole, CCC ends early, DDD is listed late."""
    days = sessions("XNYS", START, END)
    parts = {}
    for number, symbol in enumerate(("AAA", "BBB", "CCC", "DDD")):
        frame = bars(len(days), number, 30.0 * (number + 1))
        frame.index = pd.DatetimeIndex(days, name="date")
        parts[symbol] = frame
    parts["BBB"] = parts["BBB"].drop(index=GONE)
    parts["CCC"] = parts["CCC"].loc[:"2019-09-30"]
    parts["DDD"] = parts["DDD"].loc["2019-10-01":]  # after the last training date
    return pd.concat(parts, names=["symbol", "date"])


def feature_frame(stamp: bool = False) -> pd.DataFrame:
    """Features and labels of :func:`closes`; ``stamp`` adds the row's own number as a feature."""
    found = closes()
    columns = (
        *indicators(["returns", "rsi_14", "c_over_sma_20", "natr_14"]),
        forward_return(5),
        *triple_barrier(),
    )
    frame = evaluate(found, columns).rename(columns={"returns": "ret_1"})
    frame["t1"] = pd.to_datetime(frame["t1"])
    holes = np.random.default_rng(5).normal(size=len(frame))
    frame.insert(4, "hole", holes)
    frame.loc[("CCC", UNDEFINED), "hole"] = np.nan
    if stamp:
        frame.insert(0, "stamp", stamps(frame.index))
    return frame


def stamps(index: pd.MultiIndex | pd.Index) -> np.ndarray:
    """1,000 x the symbol's place in the alphabet + the session's number."""
    days = sessions("XNYS", START, END)
    symbol = index.get_level_values(0).map(lambda name: ord(name[0]) - ord("A")).to_numpy()
    place = days.get_indexer(index.get_level_values(1))
    return (1000 * symbol + place).astype(np.float64)
