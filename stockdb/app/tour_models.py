"""The tour: data for algorithms, and inputs of models."""

from __future__ import annotations

from minio_data_integration import MinIODataIntegration
from stockdb.app.show import Show
from trading_data_adapter import TradingDataAdapter

__all__ = ["algorithms", "unified"]


def algorithms(show: Show, minio: MinIODataIntegration) -> None:
    """Print the README's algorithm, and the sizes of the others."""
    adapter = TradingDataAdapter(minio)
    with show.step("adapter.get_data_for_algorithm('momentum_tracker', 'AAPL', lookback_days=60)"):
        momentum = adapter.get_data_for_algorithm("momentum_tracker", "AAPL", lookback_days=60)
    names = ["close", "mom_12_1", "hi52", "rsi_14", "adx_14", "tsmom_pos"]
    show.table(momentum[names].tail(3).reset_index())
    show.line(f"{momentum.shape[0]} rows x {momentum.shape[1]} columns", end=True)
    with show.step("the other algorithms"):
        shapes = {
            name: adapter.get_data_for_algorithm(
                name, ["KO", "PEP"] if name == "pairs_trading" else "MSFT", lookback_days=60
            ).shape
            for name in adapter.list_algorithms()
            if name != "momentum_tracker" and adapter.describe(name)["available"]
        }
    sizes = ", ".join(f"{name} {rows} x {columns}" for name, (rows, columns) in shapes.items())
    show.line(sizes, end=True)


def unified(show: Show, minio: MinIODataIntegration) -> None:
    """Go from a bucket to the inputs of an LSTM, and catch a leak."""
    interface = minio.create_unified_interface()
    with show.step("unified.get_feature_matrix(['AAPL', 'MSFT', 'GOOGL'])"):
        features = interface.get_feature_matrix(["AAPL", "MSFT", "GOOGL"])
    names = ["ret_1", "rsi_14", "c_over_sma_20", "natr_14", "y_fwd_5"]
    show.table(features[names].dropna().tail(3).reset_index())
    show.line(f"{features.shape[0]:,} rows x {features.shape[1]} columns", end=True)
    with show.step("unified.prepare_for_model(features, model_type='lstm')"):
        lstm = interface.prepare_for_model(features, model_type="lstm")
    sizes = ", ".join(f"{name} {part.X.shape}" for name, part in lstm.segments.items())
    show.line(f"{sizes}, all lazy; {lstm.dropped['purged']} rows purged", end=True)
    with show.step("unified.audit(a centred average, 'AAPL')"):
        report = interface.audit(lambda f: f["close"].rolling(53, center=True).mean(), "AAPL")
    show.line(str(report.leaks[0]), end=True)
