"""Chain to numbers: prices, implied volatility, Greeks. No I/O, nothing mutated."""
