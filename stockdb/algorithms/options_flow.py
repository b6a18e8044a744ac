"""Option flow: what is traded and held in an underlying's options, and how they are priced."""

from stockdb.algorithms.base import RATE, Algorithm
from stockdb.processing.optionflow import OPTION_FLOW

__all__ = ["OPTIONS_FLOW"]

OPTIONS_FLOW = Algorithm(
    name="options_flow",
    summary="Put-call ratios, volume against open interest, skew, gamma exposure, max pain.",
    columns=lambda values: OPTION_FLOW,
    params=(RATE,),
    basic=False,
    notes=(
        "gex assumes that dealers are long the calls and short the puts",
        "net_premium needs the side of trades, which end-of-day files do not have",
    ),
    pending="its chains are not joined yet",
)
