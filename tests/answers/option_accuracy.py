"""Errors against QuantLib over random options: ``python -m tests.answers.option_accuracy``.

Prints the table of ``docs/option-accuracy.md``.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import QuantLib as ql

from stockdb.options import greeks, implied_greeks, implied_vol, price

Floats = npt.NDArray[np.float64]
SEED = 20_261_126
QUANTITIES = ("price", "delta", "gamma", "theta", "vega", "rho", "dividend_rho", "implied_vol")


class Options(NamedTuple):
    """Random options, S = 100."""

    K: Floats
    days: npt.NDArray[np.int64]
    r: Floats
    q: Floats
    sigma: Floats
    kind: npt.NDArray[np.str_]

    @property
    def T(self) -> Floats:
        """Years."""
        return self.days / 365.0


def draw(count: int, seed: int = SEED) -> Options:
    """Draw options over the domain; QuantLib refuses q < r < 0 (puts), r < q < 0 (calls)."""
    random = np.random.default_rng(seed)
    return Options(
        100.0 * np.exp(random.uniform(-0.7, 0.7, count)),
        np.exp(random.uniform(np.log(1.0), np.log(3650.0), count)).astype(np.int64),
        random.uniform(-0.01, 0.15, count),
        random.uniform(0.0, 0.12, count),
        np.exp(random.uniform(np.log(0.01), np.log(5.0), count)),
        np.where(random.random(count) < 0.5, "call", "put"),
    )


class Reference:
    """QuantLib's fixed-point engine (Andersen, Lake and Offengenden), one option at a time."""

    def __init__(self, scheme: str) -> None:
        ql.Settings.instance().evaluationDate = self.today = ql.Date(1, 1, 2025)
        count = ql.Actual365Fixed()
        self.quotes = [ql.SimpleQuote(value) for value in (100.0, 0.05, 0.02, 0.3)]
        spot, rate, carry, vol = (ql.QuoteHandle(quote) for quote in self.quotes)
        process = ql.BlackScholesMertonProcess(
            spot,
            ql.YieldTermStructureHandle(ql.FlatForward(self.today, carry, count)),
            ql.YieldTermStructureHandle(ql.FlatForward(self.today, rate, count)),
            ql.BlackVolTermStructureHandle(
                ql.BlackConstantVol(self.today, ql.NullCalendar(), vol, count)
            ),
        )
        kinds = {
            "high": ql.QdFpAmericanEngine.highPrecisionScheme,
            "accurate": ql.QdFpAmericanEngine.accurateScheme,
            "fast": ql.QdFpAmericanEngine.fastScheme,
        }
        self.engine = ql.QdFpAmericanEngine(process, kinds[scheme]())

    def price(
        self, S: float, K: float, days: int, r: float, q: float, sigma: float, kind: str
    ) -> float:
        """Price of one American option."""
        for quote, value in zip(self.quotes, (S, r, q, sigma), strict=True):
            quote.setValue(float(value))
        payoff = ql.PlainVanillaPayoff(
            ql.Option.Call if kind == "call" else ql.Option.Put, float(K)
        )
        option = ql.VanillaOption(payoff, ql.AmericanExercise(self.today, self.today + int(days)))
        option.setPricingEngine(self.engine)
        return float(option.NPV())

    def greeks(self, options: Options) -> dict[str, Floats]:
        """Prices, and Greeks by central bumps; theta by a day, from a month to expiration on."""
        rows = list(zip(*options, strict=True))

        def each(
            S: float = 100.0, dr: float = 0.0, dq: float = 0.0, up: float = 1.0, day: int = 0
        ) -> Floats:
            return np.array([
                self.price(S, K, max(1, days + day), r + dr, q + dq, s * up, k)
                for K, days, r, q, s, k in rows
            ])  # fmt: skip

        base, bump, step = each(), 0.05, 1e-4
        up, down = each(100.0 + bump), each(100.0 - bump)
        found = {
            "price": base,
            "delta": (up - down) / (2.0 * bump),
            "gamma": (up - 2.0 * base + down) / bump**2,
            "vega": (each(up=1.002) - each(up=0.998)) / (0.004 * options.sigma),
            "rho": (each(dr=step) - each(dr=-step)) / (2.0 * step),
            "dividend_rho": (each(dq=step) - each(dq=-step)) / (2.0 * step),
        }
        theta = (each(day=-1) - each(day=1)) * 365.0 / 2.0
        found["theta"] = np.where(options.days >= 30, theta, np.nan)
        return found


def errors(options: Options, scheme: str) -> dict[str, Floats]:
    """Absolute errors by quantity; of the implied vol where vega is above 10 (.1 a point)."""
    theirs = Reference(scheme).greeks(options)
    K, _, r, q, sigma, kind = options
    ours = greeks(100.0, K, options.T, r, q, sigma, kind)
    found = {name: np.abs(ours[name] - theirs[name]) for name in QUANTITIES[:-1]}
    vol = implied_vol(100.0, K, options.T, r, q, theirs["price"], kind)
    found["implied_vol"] = np.abs(vol - sigma)[theirs["vega"] > 10.0]
    return found


def chain_errors(scheme: str = "accurate") -> tuple[Floats, Floats]:
    """Errors of price and implied vol where 20,000 options share 40 boundaries."""
    random = np.random.default_rng(SEED)
    columns = []
    for _ in range(20):
        days, r, q = random.integers(20, 1100), random.uniform(0.0, 0.06), random.uniform(0, 0.04)
        for kind in (1.0, -1.0):
            K = 100.0 * np.exp(np.linspace(-0.7, 0.7, 500))
            sigma = random.uniform(0.1, 0.9, 500)
            columns.append(np.column_stack(np.broadcast_arrays(K, days, r, q, sigma, kind)))
    K, days, r, q, sigma, sign = np.concatenate(columns).T
    kinds = np.where(sign > 0, "call", "put")
    exact = price(100.0, K, days / 365.0, r, q, sigma, kinds)
    found = implied_greeks(100.0, K, days / 365.0, r, q, exact, kinds)
    reference = Reference(scheme)
    some = random.choice(len(K), 2000, replace=False)
    theirs = np.array([
        reference.price(100.0, K[i], days[i], r[i], q[i], sigma[i], kinds[i]) for i in some
    ])  # fmt: skip
    return np.abs(exact[some] - theirs), np.abs(found.sigma - sigma)[found.greeks.vega > 10.0]


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{count} options against QuantLib {ql.__version__}, QdFp high precision, seed {SEED}\n")
    print("| quantity | median | 99 % | 99.9 % | largest |\n|---|---|---|---|---|")
    for name, column in errors(draw(count), "high").items():
        known = column[np.isfinite(column)]
        cells = [*np.quantile(known, [0.5, 0.99, 0.999]), known.max()]
        print(f"| {name} | " + " | ".join(f"{cell:.1e}" for cell in cells) + " |")
    of_price, of_vol = chain_errors()
    print(f"\nchain of 20,000: price {of_price.max():.1e}, implied vol {of_vol.max():.1e}")


if __name__ == "__main__":
    main()
