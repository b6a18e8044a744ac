"""Draw options_flow of AAPL out of real chains of 2022-23: ``... flow_picture FILE.png``."""

from __future__ import annotations

import gzip
import io
import sys
import tempfile
from pathlib import Path

import pandas as pd
from minio import Minio

from minio_data_integration import MinIODataIntegration
from stockdb.core.store import ObjectStore
from stockdb.demo.bucket import demo_settings
from stockdb.demo.server import EmbeddedServer
from stockdb.options.plots import new_figure
from trading_data_adapter import TradingDataAdapter

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PANELS = (("close",), ("pcr_vol", "pcr_oi"), ("skew_25d", "smirk"), ("cw_spread",), ("gex",))


def objects() -> dict[str, bytes]:
    """The real files under the bucket's own names."""
    files = {
        f"options-complete/{path.name[:-3]}": gzip.decompress(path.read_bytes())
        for path in sorted((DATA / "options-complete").glob("202[23]-*options.csv.gz"))
    }
    files["stocks-2010-2025/AAPL.csv"] = (DATA / "stocks-2010-2025" / "AAPL.csv").read_bytes()
    (rates,) = (DATA / "rates").glob("*.csv")
    files["reference/treasury.csv"] = rates.read_bytes()
    for name in ("dividends", "splits"):
        path = DATA / "corporate-actions" / f"{name}.csv"
        files[f"reference/{name}.csv"] = path.read_bytes()
    return files


def series(days: int = 94) -> pd.DataFrame:
    """Compute them through the front door, on a server of its own."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer() as server:
        settings = demo_settings(server, cache_dir=f"{folder}/cache", log_dir=f"{folder}/logs")
        ObjectStore(settings).make_bucket()
        bare = Minio(settings.endpoint().netloc, server.access_key, server.secret_key, secure=False)
        for key, data in objects().items():
            bare.put_object(settings.connection.bucket_name, key, io.BytesIO(data), len(data))
        with MinIODataIntegration(settings) as minio:
            frame: pd.DataFrame = TradingDataAdapter(minio).get_data_for_algorithm(
                "options_flow", "AAPL", days, end_date="2023-01-31"
            )
    return frame


def main() -> None:
    """Write the picture and print the ranges."""
    frame = series()
    figure = new_figure(10.0, 8.0)
    for axes, names in zip(figure.subplots(len(PANELS), 1, sharex=True), PANELS, strict=True):
        for name in names:
            axes.plot(frame.index, frame[name], lw=1.2, label=name)
        axes.legend(loc="upper right", fontsize=8, frameon=False)
        axes.grid(alpha=0.25)
    figure.suptitle("AAPL: options_flow out of 94 real chains", fontsize=11)
    figure.savefig(sys.argv[1], dpi=75)
    print(frame.describe().T[["count", "mean", "min", "max"]].round(4).to_string())


if __name__ == "__main__":
    main()
