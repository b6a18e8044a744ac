"""Momentum: past returns, the volatility-scaled position, nearness to the year's high."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from stockdb.processing.spec import Column, Floats, Series, ratio
from stockdb.processing.statistics import ln_close
from stockdb.processing.windows import lag, rolling_max, rolling_sum

__all__ = ["MOMENTUM", "past_return", "rank_within", "simple_return"]

_COM: Final = 60
#: Returns after which the weight of all earlier ones together, (60/61)^n, is below 1e-6.
_WARM: Final = 836


def simple_return(series: Series, bars: int, skip: int = 0) -> Floats:
    """C[t-skip] / C[t-bars] - 1."""
    return ratio(lag(series.close, skip), lag(series.close, bars)) - 1.0


def past_return(bars: int) -> Column:
    """Return the column ``ret_<bars>``: C[t]/C[t-bars] - 1."""
    return Column(
        name=f"ret_{bars}",
        definition=f"C[t]/C[t-{bars}] - 1",
        unit="ratio",
        window=bars + 1,
        source="simple return",
        inputs=("close",),
        compute=lambda s: simple_return(s, bars),
    )


def rank_within(values: Floats, dates: npt.NDArray[np.datetime64]) -> Floats:
    """Rank within each date: 1 is the lowest, ties share their average, NaN has no rank."""
    ranks = pd.Series(values).groupby(dates).rank(method="average")
    return np.asarray(ranks, dtype=np.float64)


def _ewma_volatility(returns: Floats) -> Floats:
    """Volatility a year from the returns up to each bar of a run; NaN until warm."""
    variance = pd.Series(returns).ewm(com=_COM, adjust=True).var(bias=True).to_numpy(copy=True)
    variance[: _WARM - 1] = np.nan
    # Of a price that never moved only rounding is left, or nothing at all.
    still = pd.Series(returns).abs().cummax().to_numpy() == 0.0
    variance[still] = np.nan
    return np.asarray(np.sqrt(261.0 * variance), dtype=np.float64)


def _vol_mop(series: Series) -> Floats:
    def make() -> Floats:
        x = ln_close(series)
        volatility: Floats = series.apply(_ewma_volatility, x - lag(x, 1))
        return lag(volatility, 1)

    return series.once("vol_mop", make)


def _tsmom(series: Series) -> Floats:
    # The bill bought at the close of one session earns until the close of the next.
    bill = rolling_sum(np.log1p(lag(series.input("bill"), 1) / 252.0), 252)
    excess = ratio(series.close, lag(series.close, 252)) - np.exp(bill)
    return ratio(np.sign(excess) * 0.40, _vol_mop(series))


MOMENTUM: Final = (
    Column(
        name="mom_12_1",
        definition="C[t-21]/C[t-252] - 1",
        unit="ratio",
        window=253,
        source="Jegadeesh and Titman (1993)",
        inputs=("close",),
        compute=lambda s: simple_return(s, 252, 21),
    ),
    Column(
        name="mom_6_1",
        definition="C[t-21]/C[t-126] - 1",
        unit="ratio",
        window=127,
        source="Jegadeesh and Titman (1993)",
        inputs=("close",),
        compute=lambda s: simple_return(s, 126, 21),
    ),
    Column(
        name="vol_mop",
        definition="sqrt(261 x EWMA variance of the changes of ln C up to t-1), centre of mass 60 "
        f"bars, about their EWMA mean; NaN before {_WARM} changes",
        unit="a year",
        window=_WARM + 2,
        warmup=1400,
        source="Moskowitz, Ooi and Pedersen (2012), eq. 1",
        inputs=("close",),
        compute=_vol_mop,
    ),
    Column(
        name="tsmom_pos",
        definition="sign(C[t]/C[t-252] - 1 less the compounded 3-month bill over the same bars) "
        "x 0.40 / vol_mop; over 0 where no bill rate is known",
        unit="times capital",
        window=_WARM + 2,
        warmup=1400,
        source="Moskowitz, Ooi and Pedersen (2012), eq. 5",
        inputs=("close", "bill"),
        compute=_tsmom,
    ),
    Column(
        name="hi52",
        definition="C[t] / highest H of 252 bars, t included; 1 at a new high",
        unit="ratio",
        window=252,
        source="George and Hwang (2004)",
        inputs=("high", "close"),
        compute=lambda s: ratio(s.close, rolling_max(s.high, 252)),
    ),
    Column(
        name="xs_rank",
        definition="rank of mom_12_1 within the date among the symbols asked for: 1 is the "
        "weakest, ties share their average",
        unit="rank",
        window=253,
        source="Jegadeesh and Titman (1993)",
        inputs=("close",),
        compute=lambda s: simple_return(s, 252, 21),
        across=rank_within,
    ),
)
