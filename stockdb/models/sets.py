"""Named, versioned sets of features, and what a caller may name beside them."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from stockdb.errors import ConfigurationError
from stockdb.models.own import Own
from stockdb.processing.evaluate import spec_hash, warmup
from stockdb.processing.spec import Column

__all__ = [
    "DEFAULT_LABELS",
    "FeatureSet",
    "Plan",
    "catalogue",
    "list_features",
    "make_plan",
    "sets",
]

_FORWARD: Final = re.compile(r"y_fwd_([1-9]\d*)", re.ASCII)
_RETURN: Final = re.compile(r"ret_([1-9]\d*)", re.ASCII)
#: Labels that a feature matrix carries unless others are asked for.
DEFAULT_LABELS: Final = ("y_fwd_1", "y_fwd_5", "y_fwd_21")


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Some features under a name; another choice of columns is another version.

    Attributes
    ----------
    name : str
    version : int
    summary : str
    names : tuple of str
        Columns, in order.
    """

    name: str
    version: int
    summary: str
    names: tuple[str, ...]

    @property
    def label(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a feature matrix holds.

    Attributes
    ----------
    columns : tuple of Column
        Features that the library computes.
    own : tuple of Own
        The caller's functions; their columns come after.
    labels : tuple of Column
    sets : tuple of str
        Sets that were asked for, as ``name@version``.
    asked : tuple of (tuple, tuple of str)
        What it was made of: functions of TA-Lib do not cross to another process, names do.
    """

    columns: tuple[Column, ...]
    own: tuple[Own, ...]
    labels: tuple[Column, ...]
    sets: tuple[str, ...]
    asked: tuple[tuple[Any, ...], tuple[str, ...]]

    def __reduce__(self) -> tuple[Any, ...]:
        return make_plan, self.asked

    @property
    def computed(self) -> tuple[Column, ...]:
        """Features and labels."""
        return (*self.columns, *self.labels)

    @property
    def named(self) -> list[str] | None:
        """What names it all, sets by their version; None where functions or columns were given."""
        items = self.asked[0]
        if not all(isinstance(item, str) for item in items):
            return None
        return [_named(item)[0] or item for item in items]

    @property
    def warmup(self) -> int | None:
        """Bars to load on top; None means all: how many a caller's function needs is unknown."""
        if any(own.warmup is None for own in self.own):
            return None
        return max(warmup(self.computed), *(own.warmup or 0 for own in self.own), 0)

    @property
    def spec(self) -> str:
        """Hash of every description, and of the source of the caller's functions."""
        return spec_hash((*self.computed, *self.own))  # type: ignore[arg-type]


@functools.cache
def catalogue() -> dict[str, Column]:
    """All features by name, but for those with a length of their own choice (``ret_17``)."""
    from stockdb.processing.alpha import ALPHA
    from stockdb.processing.indicators import CATALOGUE
    from stockdb.processing.momentum import MOMENTUM, past_return
    from stockdb.processing.optionflow import OPTION_FLOW
    from stockdb.processing.volume import VOLUME

    returns = (past_return(bars) for bars in (1, 5, 21, 63))
    columns = (*returns, *CATALOGUE.values(), *MOMENTUM, *VOLUME, *ALPHA, *OPTION_FLOW)
    return {column.name: column for column in columns}


_DEFAULT: Final = (
    *("ret_1", "ret_5", "ret_21", "ret_63", "mom_12_1", "mom_6_1", "hi52"),
    *("c_over_sma_20", "c_over_sma_50", "c_over_sma_200", "c_over_ema_12", "c_over_ema_26"),
    *("macd_hist_over_c", "linreg_slope_20_over_c", "adx_14", "aroon_osc_25"),
    *("rsi_14", "rsi_2", "stoch_k_14", "cci_20"),
    *("natr_14", "pct_b", "bb_width", "sd_ret_20", "vol_gk", "vol_yz"),
    *("obv_diff", "cmf_20", "mfi_14", "rvol_20"),
)


_FLOW: Final = ("pcr_vol", "pcr_oi", "pcr_dollar", "vol_oi", "unusual")


def _alpha() -> tuple[str, ...]:
    from stockdb.processing.alpha import ALPHA

    return tuple(column.name for column in ALPHA)


@functools.cache
def sets() -> dict[str, FeatureSet]:
    """All sets, by ``name@version``."""
    found = (
        FeatureSet("default", 1, "30 scale-free columns of price, range and volume", _DEFAULT),
        FeatureSet("alpha", 1, "157 ratios after Qlib's Alpha158", _alpha()),
        FeatureSet(
            "options",
            1,
            "put-call ratios and activity of the options, on days with a chain",
            _FLOW,
        ),
        FeatureSet(
            "options",
            2,
            "the same and skews of implied volatilities, where a rate is known",
            (*_FLOW, "skew_25d", "smirk", "cw_spread"),
        ),
    )
    return {each.label: each for each in found}


def make_plan(features: Any, labels: Iterable[str] | str | None) -> Plan:
    """Turn what a caller names into a plan.

    Parameters
    ----------
    features : None, str, Column, callable, or iterable of them
        None is the default set; a string names a set (``alpha``, or ``alpha@1``) or a column;
        a callable takes the bars of one symbol.
    labels : str, iterable of str, or None
        ``y_fwd_<sessions>``, ``y_tb`` (brings ``t1`` and ``weight``); None is
        :data:`DEFAULT_LABELS`.

    Raises
    ------
    ConfigurationError
        Nothing of that name, a name given twice with another meaning, or a label among the
        features.
    """
    wanted = ("default",) if features is None else features
    if isinstance(wanted, str | Column | Own) or not isinstance(wanted, Iterable):
        wanted = (wanted,)
    wanted = tuple(wanted)
    columns: dict[str, Column] = {}
    own: list[Own] = []
    asked: list[str] = []
    for item in wanted:
        if isinstance(item, Own):
            own.append(item)
        elif isinstance(item, Column):
            _add(columns, item)
        elif callable(item):
            own.append(Own.of(item))
        else:
            label, chosen = _named(item)
            asked += [label] if label else []
            for column in chosen:
                _add(columns, column)
    names = [each.name for each in own]
    twice = [name for name in names if names.count(name) > 1 or name in columns]
    if twice:
        raise ConfigurationError(f"Two features are named {twice[0]!r}.", remedy="Rename one.")
    if not columns and not own:
        raise ConfigurationError("No feature is asked for.", remedy="features=None is a set of 30.")
    to_come = DEFAULT_LABELS if labels is None else labels
    if not isinstance(to_come, Iterable):
        raise _no_label(to_come)
    chosen_labels = (to_come,) if isinstance(to_come, str) else tuple(to_come)
    return Plan(
        columns=tuple(columns.values()),
        own=tuple(own),
        labels=_labels(chosen_labels),
        sets=tuple(asked),
        asked=(wanted, chosen_labels),
    )


def _add(columns: dict[str, Column], column: Column) -> None:
    if column.role == "label":
        raise ConfigurationError(
            f"{column.name} is a label: it reads the future.", remedy="Name it in labels=."
        )
    held = columns.setdefault(column.name, column)
    if held is not column and held.describe() != column.describe():
        raise ConfigurationError(f"Two features are named {column.name!r}.", remedy="Rename one.")


def _named(name: Any) -> tuple[str | None, tuple[Column, ...]]:
    """Look a set or a column up."""
    if not isinstance(name, str):
        raise ConfigurationError(
            f"{name!r} is no feature.", remedy="Give names, Column objects or functions of bars."
        )
    found = sets()
    versions = [each for label, each in found.items() if name in (label, each.name)]
    if versions:
        newest = max(versions, key=lambda each: each.version)
        return newest.label, tuple(catalogue()[column] for column in newest.names)
    if name in catalogue():
        return None, (catalogue()[name],)
    past = _RETURN.fullmatch(name)
    if past is not None:
        from stockdb.processing.momentum import past_return

        return None, (past_return(int(past[1])),)
    if name.startswith("y_") or name in {"t1", "weight"}:
        raise ConfigurationError(f"{name} is a label.", remedy="Name it in labels=.")
    near = difflib.get_close_matches(name, [*catalogue(), *found], 3)
    raise ConfigurationError(
        f"There is no feature or set {name!r}.",
        remedy=f"Did you mean {', '.join(near)}?" if near else "list_features() has them all.",
        feature=name,
    )


def _labels(wanted: Iterable[str]) -> tuple[Column, ...]:
    from stockdb.processing.labels import forward_return, triple_barrier

    columns: dict[str, Column] = {}
    for name in wanted:
        if not isinstance(name, str):
            raise _no_label(name)
        forward = _FORWARD.fullmatch(name)
        if forward is not None:
            columns[name] = forward_return(int(forward[1]))
        elif name == "y_tb":
            columns |= {column.name: column for column in triple_barrier()}
        else:
            raise _no_label(name)
    return tuple(columns.values())


def _no_label(name: Any) -> ConfigurationError:
    return ConfigurationError(
        f"There is no label {name!r}.", remedy="Use y_fwd_<sessions>, such as y_fwd_5, or y_tb."
    )


def list_features() -> pd.DataFrame:
    """List all features and the sets they are in.

    Returns
    -------
    pandas.DataFrame
        Index ``name``; columns sets, definition, unit, window, warmup, source, role,
        scale_free, cross_sectional, reach, inputs.
    """
    rows = [column.describe() for column in catalogue().values()]
    table = pd.DataFrame(rows).set_index("name")
    table.insert(
        0,
        "sets",
        [", ".join(s.label for s in sets().values() if name in s.names) for name in table.index],
    )
    return table
