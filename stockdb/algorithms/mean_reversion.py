"""Mean reversion: how far from the mean, how fast back, and whether that is more than chance."""

from stockdb.algorithms.base import Algorithm
from stockdb.processing.indicators import indicator

__all__ = ["MEAN_REVERSION"]

MEAN_REVERSION = Algorithm(
    name="mean_reversion",
    summary="Distance from the mean, half-life, unit-root test, Hurst exponent, variance ratio.",
    columns=lambda values: tuple(
        indicator(name)
        for name in ("z_20", "pct_b", "half_life", "adf_p", "hurst", "vr_5", "rsi_2")
    ),
    notes=("half_life is finite on most random walks too: read it with adf_p",),
)
