"""The table of validation rules: what each marks, how grave it is, how it reads.

A new rule is one function that marks rows and one line in `RULES`; it may use everything
that `Bars` offers and costs a clean frame a vectorised pass or two. Rules about several
rows live in `levels`, `rhythm` and `payouts`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from stockdb.core.barview import BAR, PRICES, Bars, Mask
from stockdb.core.levels import levels_of
from stockdb.core.payouts import (
    adj_close_range,
    missing_adjustment,
    unexplained_adjustment,
    wrong_dividend,
)
from stockdb.core.report import Severity
from stockdb.core.rhythm import intraday_gap, long_gap, padded_tail, stale
from stockdb.errors import ConfigurationError
from stockdb.settings.sections import Validation

__all__ = ["FRAME_RULES", "RULES", "Rule", "chosen", "severity_of"]


class Rule(NamedTuple):
    """One line of the table; the report lists findings in its order, gravest first."""

    name: str
    severity: Severity
    reason: str  # one plain sentence; {rules.max_price:,.9g} and the like are filled in
    mark: Callable[[Bars], Mask]  # the rows found, shape (rows,)
    columns: tuple[str, ...] = ()  # whose cells, or notes, the report shows
    frame_level: bool = False  # the frame as a whole is wrong: dropping rows does not heal it


def _unsorted(bars: Bars) -> Mask:
    if bars.ascending:
        return bars.nothing
    found = bars.nothing.copy()
    found[np.flatnonzero(bars.dated)[1:]] = bars.steps < 0
    return found


def _zero_volume(bars: Bars) -> Mask:
    return bars.nothing if bars.rules.allow_zero_volume else bars.volume(lambda v: v == 0)


def _fractional_volume(bars: Bars) -> Mask:
    volume = bars.columns.get("volume")
    if volume is None:
        return bars.nothing
    return np.asarray((np.floor(volume) != volume) & ~np.isnan(volume))


def _weekend(bars: Bars) -> Mask:
    # 1970-01-01 was a Thursday. Futures trade on Sunday evenings, so intraday bars may.
    return ((bars.days + 3) % 7 >= 5) & bars.dated if bars.daily else bars.nothing


_VOLUME: Final = ("volume",)
_BOUNDS: Final = "A price is not above {rules.min_price:,.9g} or is above {rules.max_price:,.9g}."
_OPEN, _CLOSE = ("low", "open", "high"), ("low", "close", "high")
_LEVEL: Final = ("close", "volume", "ratio")
_PAID: Final = ("close", "adj_close", "dividends")
# fmt: off
RULES: Final[tuple[Rule, ...]] = (
    Rule("missing_date", "error", "The row has no usable date.", lambda bars: ~bars.dated, BAR),
    Rule("unsorted", "error", "The date is before that of the row above.", _unsorted, (), True),
    Rule("conflicting_duplicate", "error", "Rows of one date have different values.",
         lambda bars: bars.repeats[1], BAR),
    Rule("duplicate", "warning", "The row repeats an earlier one.", lambda b: b.repeats[0], BAR),
    Rule("missing_price", "error", "A price is missing.", lambda b: b.any_price(np.isnan), PRICES),
    Rule("price_range", "error", _BOUNDS, lambda b: b.any_price(b.out_of_range), PRICES),
    Rule("high_low", "error", "The high is below the low.",
         lambda bars: bars.below("high", "low"), ("high", "low")),
    Rule("open_outside_range", "error", "The open is not between low and high.",
         lambda bars: bars.outside("open"), _OPEN),
    Rule("close_outside_range", "error", "The close is not between low and high.",
         lambda bars: bars.outside("close"), _CLOSE),
    Rule("price_scale", "error", "Prices are off by a factor, as pence for pounds.",
         lambda bars: levels_of(bars).scale, _LEVEL),
    Rule("volume_range", "error", "The volume is negative or infinite.",
         lambda bars: bars.volume(lambda volume: (volume < 0) | (volume == np.inf)), _VOLUME),
    Rule("split_jump", "warning", "The price level changes as by a split that is not applied.",
         lambda bars: levels_of(bars).split, _LEVEL),
    Rule("recycled_ticker", "warning", "After a long silence this looks like another company.",
         lambda bars: levels_of(bars).recycled, _LEVEL),
    Rule("price_spike", "warning", "The price leaves its level and returns within days.",
         lambda bars: levels_of(bars).spike, _LEVEL),
    Rule("wrong_dividend", "warning", "The dividend does not fit price, adjustment or the others.",
         wrong_dividend, _PAID),
    Rule("missing_adjustment", "warning", "The adjusted close takes no notice of a dividend.",
         missing_adjustment, _PAID),
    Rule("unexplained_adjustment", "warning", "The adjusted close steps without a dividend.",
         unexplained_adjustment, _PAID),
    Rule("adj_close_range", "warning", "The adjusted close is not above 0, or infinite.",
         adj_close_range, ("close", "adj_close")),
    Rule("missing_volume", "warning", "The volume is missing.",
         lambda bars: bars.volume(np.isnan), _VOLUME),
    Rule("zero_volume", "warning", "The volume is zero.", _zero_volume, _VOLUME),
    Rule("padded_tail", "warning", "The last rows hold no price, or repeat one untraded.",
         padded_tail, ("close", "volume")),
    Rule("stale", "warning", "Prices and volume repeat those of the row before.", stale, BAR),
    Rule("long_gap", "warning", "No row for longer than {rules.max_gap_days:,.9g} days before.",
         long_gap, ("close", "volume")),
    Rule("intraday_gap", "warning", "Bars of the same day are missing before this one.",
         intraday_gap, ("close", "volume")),
    Rule("time_of_day", "warning", "A daily row carries a time of day.",
         lambda bars: bars.times if bars.daily else bars.nothing),
    Rule("weekend", "warning", "A daily row falls on a weekend.", _weekend, ("close", "volume")),
    Rule("fractional_volume", "info", "The volume has a fraction, as adjusted volumes do.",
         _fractional_volume, _VOLUME),
    Rule("price_jump", "info", "The price moves far from one row to the next, as by news.",
         lambda bars: levels_of(bars).jump, _LEVEL),
)
# fmt: on

#: Rules about a frame's columns, or about rows that are not there: not lines of the table.
FRAME_RULES: Final[tuple[str, ...]] = (
    *("required_columns", "duplicate_columns", "column_names", "not_numeric"),
    *("missing_session", "missing_bars", "holiday"),
)


def chosen(rules: Validation) -> tuple[Rule, ...]:
    """Give the lines of the table that the settings leave in, with the severities they give.

    Raises
    ------
    ConfigurationError
        The settings name a rule that there is not.
    """
    if not rules.ignore_rules and not rules.rule_severities:
        return RULES
    return _chosen(rules.ignore_rules, tuple(sorted(rules.rule_severities.items())))


@lru_cache(maxsize=32)
def _chosen(
    ignored: tuple[str, ...], severities: tuple[tuple[str, Severity], ...]
) -> tuple[Rule, ...]:
    names = [*(rule.name for rule in RULES), *FRAME_RULES]
    for name in (*ignored, *(name for name, _ in severities)):
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise ConfigurationError(
                f"There is no validation rule {name!r}.",
                remedy=f"Did you mean {near[0]!r}?" if near else f"The rules: {', '.join(names)}.",
            )
    given = dict(severities)
    return tuple(
        rule._replace(severity=given.get(rule.name, rule.severity))
        for rule in RULES
        if rule.name not in ignored
    )


def severity_of(name: str, usual: Severity, rules: Validation) -> Severity | None:
    """How grave a rule outside the table is by the settings; None where it is left out."""
    chosen(rules)  # names that there are not are refused
    return None if name in rules.ignore_rules else rules.rule_severities.get(name, usual)
