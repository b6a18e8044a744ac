"""Rank a universe by momentum: what a trading script does each evening.

python examples/rank_momentum.py AAPL MSFT NVDA     # your bucket, as configured
python examples/rank_momentum.py --demo             # a simulated one
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack

from minio_data_integration import MinIODataIntegration
from stockdb.errors import StockDBError
from trading_data_adapter import TradingDataAdapter


def main() -> int:
    """Print the five strongest symbols of the newest session."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("symbols", nargs="*", help="all that the bucket has, by default")
    parser.add_argument("--demo", action="store_true", help="use a simulated bucket")
    asked = parser.parse_args()
    with ExitStack() as stack:
        settings = None
        if asked.demo:
            from stockdb.demo.bucket import DemoBucket

            settings = stack.enter_context(DemoBucket()).settings
        minio = stack.enter_context(MinIODataIntegration(settings))
        symbols = asked.symbols or minio.list_symbols()
        data = TradingDataAdapter(minio).get_data_for_algorithm(
            "momentum_tracker", symbols, lookback_days=1
        )
        newest = data.index.get_level_values("date").max()
        today = data[data.index.get_level_values("date") == newest].droplevel("date")
        ranked = today.sort_values("mom_12_1", ascending=False)
        print(f"{newest:%Y-%m-%d}: {len(ranked)} of {len(symbols)} symbols have a bar")
        print(ranked[["close", "mom_12_1", "mom_6_1"]].head(5).round(3).to_string())
    return 0


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except StockDBError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)
