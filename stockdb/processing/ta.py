"""TA-Lib's functions of arrays.

What ``talib`` exports first looks at every argument for a pandas or Polars series, which takes
a third as long as the shorter functions themselves; ours are arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any, Final

import talib

Function = Callable[..., Any]

AD: Final[Function] = unwrap(talib.AD)
ADX: Final[Function] = unwrap(talib.ADX)
AROONOSC: Final[Function] = unwrap(talib.AROONOSC)
ATR: Final[Function] = unwrap(talib.ATR)
BBANDS: Final[Function] = unwrap(talib.BBANDS)
BOP: Final[Function] = unwrap(talib.BOP)
CCI: Final[Function] = unwrap(talib.CCI)
CMO: Final[Function] = unwrap(talib.CMO)
EMA: Final[Function] = unwrap(talib.EMA)
KAMA: Final[Function] = unwrap(talib.KAMA)
LINEARREG_SLOPE: Final[Function] = unwrap(talib.LINEARREG_SLOPE)
MACD: Final[Function] = unwrap(talib.MACD)
MFI: Final[Function] = unwrap(talib.MFI)
MINUS_DI: Final[Function] = unwrap(talib.MINUS_DI)
NATR: Final[Function] = unwrap(talib.NATR)
OBV: Final[Function] = unwrap(talib.OBV)
PLUS_DI: Final[Function] = unwrap(talib.PLUS_DI)
ROC: Final[Function] = unwrap(talib.ROC)
RSI: Final[Function] = unwrap(talib.RSI)
SMA: Final[Function] = unwrap(talib.SMA)
STDDEV: Final[Function] = unwrap(talib.STDDEV)
STOCH: Final[Function] = unwrap(talib.STOCH)
TRANGE: Final[Function] = unwrap(talib.TRANGE)
TRIX: Final[Function] = unwrap(talib.TRIX)
ULTOSC: Final[Function] = unwrap(talib.ULTOSC)
WILLR: Final[Function] = unwrap(talib.WILLR)
