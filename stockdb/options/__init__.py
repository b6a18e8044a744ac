"""Chain to numbers: prices, implied volatility, Greeks. No I/O, nothing mutated."""

from stockdb.options.implied import REASONS, Implied, implied_greeks, implied_vol
from stockdb.options.pricing import Greeks, greeks, price

__all__ = ["REASONS", "Greeks", "Implied", "greeks", "implied_greeks", "implied_vol", "price"]
