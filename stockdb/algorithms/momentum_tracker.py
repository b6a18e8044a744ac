"""Momentum: past returns, time-series position, nearness to the year's high, strength."""

from stockdb.algorithms.base import RATE, Algorithm
from stockdb.processing.indicators import indicator
from stockdb.processing.momentum import MOMENTUM

__all__ = ["MOMENTUM_TRACKER"]

MOMENTUM_TRACKER = Algorithm(
    name="momentum_tracker",
    summary="Cross-sectional and time-series momentum with volatility scaling.",
    columns=lambda values: (
        *MOMENTUM[:-1],
        *(indicator(name) for name in ("rsi_14", "adx_14", "macd_hist_over_c")),
        MOMENTUM[-1],
    ),
    params=(RATE,),
    rate=True,
    notes=(
        "xs_rank compares the symbols asked for, and no others",
        "tsmom_pos is the return over the 3-month bill, or over 0 where attrs say so under 'bill'",
    ),
)
