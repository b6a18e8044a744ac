"""Say in plain English what a package of static arbitrage is and what to do with it."""

from __future__ import annotations

from typing import Final

import pandas as pd

__all__ = ["REASONS", "doubt", "leg_text", "sentence"]

#: Why the package pays, one sentence a kind.
REASONS: Final = {
    "monotonicity": "The bought option gives the better strike and lasts no less, yet costs less "
    "than the sold one brings.",
    "slope": "The two differ in price by more than their strikes differ, which is the most that "
    "an assignment can cost.",
    "calendar": "The bought option has the same strike and lasts longer, yet costs less than the "
    "sold one brings.",
    "butterfly": "The wings around the sold strike cost less than it brings, though together they "
    "always pay at least as much.",
    "put_ray": "Per dollar of strike the lower put costs more than the higher one, which always "
    "pays more.",
    "call_ray": "The mix of stock and higher call always pays at least what the sold call costs.",
    "conversion": "Stock and put bought and call sold deliver the strike, early or late; what it "
    "is worth today exceeds what they cost.",
    "reversal": "Stock and put sold and call bought cost the strike at last; they bring in more "
    "than it and the dividends are worth today.",
    "future_conversion": "Future and put bought and call sold deliver the strike at expiration; "
    "what is gained over the future's price exceeds what the options cost.",
    "future_reversal": "Future and put sold and call bought take the strike at expiration; what is "
    "gained over it exceeds what the options cost.",
    "call_floor": "The call costs less than exercising it against the sold stock brings.",
    "put_floor": "The put costs less than exercising it with the bought stock brings.",
    "call_cap": "The call brings more than the stock itself costs.",
    "put_cap": "The put brings more than its strike, the most that it can ever cost.",
    "long_box": "The box pays the difference of strikes at expiration, and costs less than that is "
    "worth today.",
    "synthetic_long": "The call less the put costs less than the two are worth at one volatility.",
    "synthetic_short": "The call less the put brings more than the two are worth at one "
    "volatility.",
    "iv_outlier_dear": "Its volatility is far above the smile of its neighbours.",
    "iv_outlier_cheap": "Its volatility is far below the smile of its neighbours.",
    "short_box": "The box costs the difference of strikes at expiration, and brings more than that "
    "is worth today.",
}
_HOW: Final = {
    "monotonicity": "If assigned, exercise the bought option.",
    "slope": "If assigned, exercise the bought option.",
    "calendar": "If assigned, exercise the bought option.",
    "butterfly": "If assigned, exercise the wing that is in the money.",
    "put_ray": "If assigned, exercise the bought puts.",
    "call_ray": "If assigned, deliver the stock and exercise the bought calls for the rest.",
    "conversion": "Hold to expiration, or deliver the stock when assigned.",
    "reversal": "Hold to expiration, or take the stock when assigned; the short stock must stay "
    "borrowed.",
    "future_conversion": "Hold to expiration, and settle the future's gains and losses each day.",
    "future_reversal": "Hold to expiration, and settle the future's gains and losses each day.",
    "call_floor": "Exercise the call and deliver the stock.",
    "put_floor": "Exercise the put with the stock.",
    "call_cap": "Keep the stock to deliver it when assigned.",
    "put_cap": "Keep the strike in cash to pay for the stock when assigned.",
    "long_box": "Hold to expiration; if assigned early, exercise the bought option of that type.",
    "synthetic_long": "Hedge with the stock sold; it may go on being cheap.",
    "synthetic_short": "Hedge with the stock bought; it may go on being dear.",
    "iv_outlier_dear": "Hedge the delta; it may go on being dear.",
    "iv_outlier_cheap": "Hedge the delta; it may go on being cheap.",
    "short_box": "Hold to expiration.",
}


def leg_text(leg: dict[str, object]) -> str:
    """Write one leg: buy 2 x 2027-01-15 150 call at 12.35."""
    count = "" if leg["ratio"] == 1 else f"{leg['ratio']} x "
    if leg["type"] == "stock":
        return f"{leg['side']} {count}100 shares at {leg['fill']:.2f}"
    if leg["type"] == "future":
        return f"{leg['side']} {count}future at {leg['fill']:.2f}"
    day = pd.Timestamp(leg["expiration"]).date()  # type: ignore[arg-type]
    return f"{leg['side']} {count}{day} {leg['strike']:g} {leg['type']} at {leg['fill']:.2f}"


def sentence(kind: str, symbol: str, legs: list[dict[str, object]], edge: float) -> str:
    """Explain one package."""
    trade = ", ".join(leg_text(leg) for leg in legs)
    modelled = kind.startswith(("synthetic", "iv_outlier"))
    gain = f"{edge * 100:,.2f} dollars a package"
    left = f"By the model {gain} are in it" if modelled else f"At least {gain} are left"
    return f"{symbol}: {trade}. {REASONS[kind]} {_HOW[kind]} {left} after fees."


def doubt(named: list[str], suspects: int, *, whole: bool) -> str:
    """Say what speaks against a package; nothing where nothing does."""
    if named:
        return (
            f" Check first: the quote of {' and '.join(named)} contradicts the rest of the chain."
        )
    if not suspects:
        return ""
    what = "this chain" if whole else "an expiration of it"
    return f" Check first: {what} was not quoted at one moment."
