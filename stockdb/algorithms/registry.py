"""All algorithms, by name: every module of this folder that defines an ``Algorithm``."""

from __future__ import annotations

import difflib
import pkgutil
from importlib import import_module
from typing import Final

from stockdb.algorithms.base import Algorithm
from stockdb.errors import ConfigurationError

__all__ = ["ALGORITHMS", "discover", "find"]

_FIRST: Final = (  # as the README has them; what comes later follows by name
    "momentum_tracker",
    "mean_reversion",
    "pairs_trading",
    "ml_predictions",
    "leaps_arbitrage",
    "options_flow",
    "volume_analysis",
)


def discover() -> dict[str, Algorithm]:
    """Import the modules of the folder and collect what they declare.

    Raises
    ------
    ConfigurationError
        Two modules declare an algorithm of one name.
    """
    found: dict[str, Algorithm] = {}
    package = __name__.rpartition(".")[0]
    for info in pkgutil.iter_modules(import_module(package).__path__):
        if __name__.endswith(f".{info.name}"):
            continue
        module = import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, Algorithm) and found.setdefault(value.name, value) is not value:
                raise ConfigurationError(f"Two modules declare the algorithm {value.name!r}.")
    order = {name: place for place, name in enumerate(_FIRST)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


ALGORITHMS: Final = discover()


def find(name: object) -> Algorithm:
    """Look an algorithm up; ``Momentum Tracker`` finds ``momentum_tracker``.

    Raises
    ------
    ConfigurationError
        There is none of that name; says which ones are spelt alike.
    """
    key = str(name).strip().lower().replace(" ", "_").replace("-", "_")
    if key in ALGORITHMS:
        return ALGORITHMS[key]
    near = difflib.get_close_matches(key, ALGORITHMS, 2)
    ask = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ConfigurationError(
        f"There is no algorithm {name!r}.",
        remedy=f"{ask}There are: {', '.join(ALGORITHMS)}.",
        algorithm=str(name),
    )
