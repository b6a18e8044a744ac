"""Volume: average prices, flow, liquidity, volume by price."""

from stockdb.algorithms.base import Algorithm, Param, interval_of
from stockdb.processing.indicators import indicator
from stockdb.processing.volume import VOLUME

__all__ = ["VOLUME_ANALYSIS"]

_BY_NAME = {column.name: column for column in VOLUME}

VOLUME_ANALYSIS = Algorithm(
    name="volume_analysis",
    summary="Volume-weighted prices, money flow, illiquidity, volume by price, order imbalance.",
    columns=lambda values: (
        _BY_NAME["vwap_20"],
        *(indicator(name) for name in ("obv_diff", "cmf_20", "mfi_14", "ad_slope")),
        _BY_NAME["amihud_21"],
        indicator("rvol_20"),
        *(_BY_NAME[name] for name in ("poc", "va_lo", "va_hi", "vpin_bvc")),
    ),
    params=(
        Param(
            "interval",
            "daily",
            "daily, or an intraday interval (1m 5m 15m 30m 1h): vwap is then cumulative within "
            "the session, windows count bars",
            interval_of,
        ),
    ),
    notes=(
        "poc, va_lo, va_hi are approximations: a bar's volume is spread evenly over its range",
        "vpin_bvc is an approximation from bars of time, its trades classified in bulk",
        "dollar volume is adjusted C x adjusted V",
    ),
)
