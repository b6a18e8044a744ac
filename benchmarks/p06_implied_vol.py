"""P6: American implied volatility and Greeks of 20,000 contracts, against QuantLib's quickest way.

Time is processor time: what one core needs. Prices come from QuantLib's accurate scheme, so that
the error is against another implementation; nothing is kept between rounds.
"""

from __future__ import annotations

import gzip
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stockdb.options import implied_greeks, price
from stockdb.options.chain import enrich
from tests.answers.option_accuracy import Reference

GROUPS = 20
STRIKES = 500
ROUNDS = 5
SAMPLE = 300
BAR = 80_000
BAR_ERROR = 1e-4
BAR_CHAIN_MS = 100.0


def market() -> tuple[np.ndarray[Any, Any], ...]:
    """20 expirations, calls and puts, 500 strikes each; S = 100."""
    random = np.random.default_rng(6)
    rows = []
    for _ in range(GROUPS):
        days, r, q = random.integers(20, 1100), random.uniform(0.01, 0.06), random.uniform(0, 0.03)
        for sign in (1.0, -1.0):
            K = 100.0 * np.exp(np.linspace(-0.6, 0.6, STRIKES))
            sigma = 0.2 + 0.15 * np.abs(np.log(K / 100.0)) + random.uniform(-0.1, 0.4, STRIKES)
            rows.append(np.column_stack(np.broadcast_arrays(K, days, r, q, sigma, sign)))
    K, days, r, q, sigma, sign = np.concatenate(rows).T
    return K, days, r, q, sigma, np.where(sign > 0.0, "call", "put")


def secant(price: Callable[[float], float], target: float) -> float:
    """Solve for a volatility as a user of QuantLib would, by the secant method."""
    a, b = 0.3, 0.35
    at_a, at_b = price(a) - target, price(b) - target
    for _ in range(30):
        if abs(at_b) < 1e-7 or at_b == at_a:
            break
        a, b, at_a = b, min(max(b - at_b * (b - a) / (at_b - at_a), 0.01), 5.0), at_b
        at_b = price(b) - target
    return b


def simulated_chain() -> pd.DataFrame:
    """2,000 quotes two cents wide, of 20 expirations."""
    K, days, r, q, sigma, kind = (column[::10] for column in market())
    value = price(100.0, K, days / 365.0, 0.045, q, sigma, kind)
    day = pd.Timestamp("2023-01-03")
    return pd.DataFrame({
        "symbol": "SIM", "contract": [f"SIM{n}" for n in range(len(K))], "type": kind, "strike": K,
        "expiration": day + pd.to_timedelta(days, "D"), "quote_date": day, "style": "A",
        "bid": value - 0.01, "ask": value + 0.01,
    })  # fmt: skip


def real_chain() -> tuple[pd.DataFrame, float, str]:
    """AAPL of 2023-01-03 where the shared data lie beside the project, else a simulated chain."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "options-complete"
    path = beside / "2023-01-03options.csv.gz"
    if path.is_file():
        frame = pd.read_csv(io.BytesIO(gzip.decompress(path.read_bytes())))
        frame = frame.rename(columns={"underlying": "symbol"})
        spot, what = 125.07, "AAPL 2023-01-03"
    else:
        frame, spot, what = simulated_chain(), 100.0, "simulated"
    for name in ("expiration", "quote_date"):
        frame[name] = pd.to_datetime(frame[name])
    return frame, spot, what


def run() -> dict[str, Any]:
    """Time both, and measure the error of ours."""
    chain, spot, what = real_chain()
    taken = []
    for _ in range(ROUNDS + 1):  # each from nothing: yields, boundaries, volatilities, Greeks
        begin = time.perf_counter()
        enriched = enrich(chain, spot, 0.045)
        taken.append((time.perf_counter() - begin) * 1e3)
    chain_ms = statistics.median(taken[1:])
    assert enriched["iv"].notna().sum() > 0.5 * len(chain)

    K, days, r, q, sigma, kind = market()
    accurate, fast = Reference("accurate"), Reference("fast")
    values = np.array([
        accurate.price(100.0, *row) for row in zip(K, days, r, q, sigma, kind, strict=True)
    ])  # fmt: skip
    own = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        found = implied_greeks(100.0, K, days / 365.0, r, q, values, kind)
        own.append(time.process_time() - begin)
    felt = found.greeks.vega > 10.0
    error = float(np.abs(found.sigma - sigma)[felt].max())

    some = np.random.default_rng(0).choice(np.flatnonzero(felt), SAMPLE, replace=False)
    begin = time.process_time()
    for i in some:
        option = (K[i], days[i], r[i], q[i])
        secant(lambda s, o=option, i=i: fast.price(100.0, *o, s, kind[i]), values[i])  # type: ignore[misc]
    other = (time.process_time() - begin) / SAMPLE * len(K)
    ours = statistics.median(own)
    rate = len(K) / ours
    return {
        "ours": ours,
        "peer": other,
        "ratio": ours / other,
        "bar": BAR,
        "ok": rate >= BAR and error <= BAR_ERROR and chain_ms <= BAR_CHAIN_MS,
        "bytes": 0,
        "unit": "s of one core for 20,000 implied vols with Greeks (peer: implied vols alone)",
        "contracts_per_second": round(rate),
        "max_error": error,
        "compared": int(felt.sum()),
        "chain_rows": len(chain),
        "chain_cold_ms": round(chain_ms, 1),
        "chain_first_in_process_ms": round(taken[0], 1),
        "chain": what,
        "peer_is": "QuantLib QdFp fast scheme in a secant loop, 300 contracts scaled up",
    }
