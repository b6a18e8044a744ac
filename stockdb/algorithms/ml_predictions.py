"""Features and labels for models that predict returns."""

from stockdb.algorithms.base import Algorithm, Param, Values, positive_number, whole_numbers
from stockdb.processing.indicators import indicator
from stockdb.processing.labels import forward_return, triple_barrier
from stockdb.processing.momentum import past_return
from stockdb.processing.spec import Column

__all__ = ["ML_PREDICTIONS"]

#: Indicators as ratios of prices, the same for a share of 10 and of 1,000 dollars.
_RATIOS = (
    "c_over_sma_5",
    "c_over_sma_20",
    "c_over_sma_50",
    "c_over_sma_200",
    "c_over_ema_12",
    "c_over_ema_26",
    "macd_over_c",
    "macd_signal_over_c",
    "macd_hist_over_c",
    "linreg_slope_20_over_c",
)


def _columns(values: Values) -> tuple[Column, ...]:
    return (
        *(past_return(bars) for bars in (1, 5, 21, 63)),
        *(indicator(name) for name in _RATIOS),
        *(indicator(name) for name in ("vol_pk", "vol_gk", "vol_yz")),
        *(forward_return(horizon) for horizon in values["horizons"]),
        *triple_barrier(values["sigmas"], values["sessions"]),
    )


def _one(value: object) -> int:
    (number,) = whole_numbers(value)
    return number


ML_PREDICTIONS = Algorithm(
    name="ml_predictions",
    summary="Returns, ratios and range volatilities as features; forward returns, triple-barrier "
    "labels and uniqueness weights as labels.",
    columns=_columns,
    params=(
        Param("horizons", (1, 5, 21), "sessions ahead of the labels y_fwd_h", whole_numbers),
        Param("sigmas", 2.0, "distance of the barriers in daily sd", positive_number),
        Param("sessions", 21, "sessions after which an untouched label ends", _one),
    ),
    notes=(
        "columns with the role label read the future and never enter X",
        "a bar that touches both barriers counts as the stop",
    ),
)
