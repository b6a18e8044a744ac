"""Draw our volatility of real chains against the vendor's: ``... vendor_picture FILE.png``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from stockdb.options.chain import enrich
from stockdb.options.market import RateCurve
from stockdb.options.plots import new_figure

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TERMS = {"under 5 weeks": (0.0, 0.1), "5 weeks to a year": (0.1, 1.0), "over a year": (1.0, 3.0)}
COLOURS = ("tab:blue", "tab:orange", "tab:green")


def gaps(day: str, symbol: str) -> pd.DataFrame:
    """Our volatility minus the vendor's, in points, of quotes that leave a point open at most."""
    folder = DATA / "options-complete"
    frame = pd.read_csv(folder / f"{day}options.csv.gz", parse_dates=["expiration", "quote_date"])
    frame = frame.rename(columns={"underlying": "symbol", "implied_volatility": "vendor_iv"})
    stock = pd.read_csv(folder / "_underlying_snapshots.csv").set_index(["quote_date", "symbol"])
    (path,) = (DATA / "rates").glob("*.csv")
    rates = pd.read_csv(path, index_col=0, parse_dates=True)
    curve = RateCurve.from_treasury(rates.loc[:day].dropna(how="all").iloc[-1])
    chain = frame[frame["symbol"] == symbol].reset_index(drop=True)
    found = enrich(chain, float(stock.loc[(day, symbol), "last"]), curve)
    sure = (found["vendor_iv"] > 0) & (found["iv_error"] < 0.01)
    return found[sure].assign(gap=100 * (found["iv"] - found["vendor_iv"]))


def panel(axes: Axes, frame: pd.DataFrame, title: str, reach: float) -> None:
    """Draw one day: a colour for each term, calls as dots, puts as crosses."""
    for (label, (low, high)), colour in zip(TERMS.items(), COLOURS, strict=True):
        for kind, marker in (("call", "."), ("put", "x")):
            rows = (frame["years"] > low) & (frame["years"] <= high) & (frame["type"] == kind)
            part = frame[rows]
            name = f"{label}, {kind}s"
            axes.plot(
                part["moneyness"], part["gap"], marker, color=colour, ms=4, alpha=0.6, label=name
            )
    axes.axhline(0.0, color="0.4", lw=0.8)
    axes.set_ylim(-reach, reach)
    axes.set_xlim(0.5, 1.6)
    axes.set_xlabel("strike / forward")
    axes.set_ylabel("ours - vendor's (vol points)")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)


def main() -> None:
    """Write the picture."""
    figure = new_figure(11.0, 4.6)
    left, right = figure.subplots(1, 2)
    panel(left, gaps("2023-01-03", "AAPL"), "AAPL 2023-01-03: the same model", 1.5)
    panel(right, gaps("2026-07-15", "AAPL"), "AAPL 2026-07-15: a vendor without a rate", 15.0)
    left.legend(frameon=False, fontsize=7, ncols=2, loc="lower right")
    figure.savefig(sys.argv[1], dpi=90)
    print(
        np.round(gaps("2023-01-03", "AAPL")["gap"].abs().quantile([0.5, 0.9, 0.99]).to_numpy(), 3)
    )


if __name__ == "__main__":
    main()
